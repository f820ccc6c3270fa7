/* SPDX-License-Identifier: Apache-2.0
 * dtype.c - the rows of dtypes.def as functions. */
#include "runtime/dtype.h"

#include <string.h>

typedef struct dtype_row { const char *text, *tensor_name; unsigned bits; lap_dtype compute; } dtype_row;

static const dtype_row rows[LAP_N_DTYPES] = {
#define LAP_DTYPE(enum_, text, tensor_name, bits, compute, doc) {#text, tensor_name, bits, LAP_##compute},
#include "runtime/dtypes.def"
#undef LAP_DTYPE
};

const char *lap_dtype_text(lap_dtype t)
{
    return t < LAP_N_DTYPES ? rows[t].text : "none";
}

const char *lap_dtype_tensor_name(lap_dtype t)
{
    return t < LAP_N_DTYPES ? rows[t].tensor_name : "";
}

unsigned lap_dtype_bits(lap_dtype t)
{
    return t < LAP_N_DTYPES ? rows[t].bits : 0;
}

lap_dtype lap_dtype_compute(lap_dtype t)
{
    return t < LAP_N_DTYPES ? rows[t].compute : LAP_NO_DTYPE;
}

bool lap_dtype_find(const char *text, size_t n, lap_dtype *out)
{
    for (int t = 0; t < LAP_N_DTYPES; t++) {
        if (strlen(rows[t].text) == n && memcmp(rows[t].text, text, n) == 0) {
            *out = (lap_dtype)t;
            return true;
        }
    }
    return false;
}

bool lap_dtype_bytes(lap_dtype t, size_t n, size_t *out)
{
    unsigned bits = lap_dtype_bits(t);
    if (bits < 8) {
        *out = bits == 4 ? n / 2 + n % 2 : 0;
        return bits == 4;
    }
    return !__builtin_mul_overflow(n, (size_t)(bits / 8), out);
}
