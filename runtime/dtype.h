/* SPDX-License-Identifier: Apache-2.0
 * dtype.h - element types, shared by the compiler and the runtime. */
#ifndef LAP_RUNTIME_DTYPE_H
#define LAP_RUNTIME_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum lap_dtype {
#define LAP_DTYPE(enum_, text, tensor_name, bits, compute, doc) LAP_##enum_,
#include "runtime/dtypes.def"
#undef LAP_DTYPE
    LAP_N_DTYPES,
    LAP_NO_DTYPE = LAP_N_DTYPES /* an operation of several results */
} lap_dtype;

const char *lap_dtype_text(lap_dtype t);
const char *lap_dtype_tensor_name(lap_dtype t); /* as in safetensors */
unsigned lap_dtype_bits(lap_dtype t);
lap_dtype lap_dtype_compute(lap_dtype t); /* F32, I64 or BOOL */
bool lap_dtype_find(const char *text, size_t n, lap_dtype *out);
/* Bytes of n elements (packed for sub-byte types); false when that overflows. */
bool lap_dtype_bytes(lap_dtype t, size_t n, size_t *out);

#endif
