/* SPDX-License-Identifier: Apache-2.0
 * npy.h - reads (memory-mapped, versions 1 to 3, C order, little endian) and writes npy files. */
#ifndef LAP_RUNTIME_NPY_H
#define LAP_RUNTIME_NPY_H

#include "runtime/tensor.h"
#include "runtime/view.h"

typedef struct lap_npy lap_npy;

lap_npy *lap_npy_open(const char *path, lap_fault *fault);
/* The same over bytes that outlive the result. */
lap_npy *lap_npy_parse(const void *bytes, size_t n, const char *name, lap_fault *fault);
void lap_npy_close(lap_npy *file);

const lap_tensor_view *lap_npy_view(const lap_npy *file);
/* The tensor as `dtype` (LAP_NO_DTYPE: the nearest one), in place where possible (treat as
 * read-only), else converted into memory that the file owns. */
bool lap_npy_read(lap_npy *file, lap_dtype dtype, lap_tensor *out, lap_fault *fault);

/* Writes to a temporary file beside `path`, then renames. bf16 and i4 have no npy type: an error. */
bool lap_npy_write(const char *path, const lap_tensor *tensor, lap_fault *fault);

#endif
