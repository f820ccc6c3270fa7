/* SPDX-License-Identifier: Apache-2.0
 * dtype.c - the table of element types. */
#include "runtime/dtype.h"

#include <string.h>

typedef struct row {
    const char *text, *tensor_name;
    unsigned bits;
    lap_dtype compute;
} row;

static const row rows[] = {
#define LAP_DTYPE(enum_, text, tensor_name, bits, compute, doc) {#text, tensor_name, bits, LAP_##compute},
#include "runtime/dtypes.def"
#undef LAP_DTYPE
    {"none", "", 0, LAP_NO_DTYPE},
};

static const row *row_of(lap_dtype t) { return &rows[(unsigned)t < LAP_N_DTYPES ? t : LAP_N_DTYPES]; }

const char *lap_dtype_text(lap_dtype t) { return row_of(t)->text; }

const char *lap_dtype_tensor_name(lap_dtype t) { return row_of(t)->tensor_name; }

unsigned lap_dtype_bits(lap_dtype t) { return row_of(t)->bits; }

lap_dtype lap_dtype_compute(lap_dtype t) { return row_of(t)->compute; }

bool lap_dtype_find(const char *text, size_t n, lap_dtype *out)
{
    for (unsigned i = 0; i < LAP_N_DTYPES; i++) {
        if (strlen(rows[i].text) == n && memcmp(rows[i].text, text, n) == 0) {
            *out = (lap_dtype)i;
            return true;
        }
    }
    return false;
}

bool lap_dtype_bytes(lap_dtype t, size_t n, size_t *out)
{
    unsigned bits = lap_dtype_bits(t);
    if (bits >= 8) {
        return !__builtin_mul_overflow(n, (size_t)bits / 8, out);
    }
    size_t per_byte = bits ? 8 / bits : 1;
    *out = bits ? n / per_byte + (n % per_byte != 0) : 0;
    return true;
}
