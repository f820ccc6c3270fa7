/* SPDX-License-Identifier: Apache-2.0
 * safetensors.h - reads (memory-mapped, validated before use) and writes safetensors files. */
#ifndef LAP_RUNTIME_SAFETENSORS_H
#define LAP_RUNTIME_SAFETENSORS_H

#include "runtime/tensor.h"
#include "runtime/view.h"

typedef struct lap_safetensors lap_safetensors;

/* Opens and validates: header size and syntax, UTF-8, unique names, known types, extents that do not
 * overflow, offsets in range, without holes or overlaps, sizes that match shapes. */
lap_safetensors *lap_safetensors_open(const char *path, lap_fault *fault);
/* The same over bytes that outlive the result. */
lap_safetensors *lap_safetensors_parse(const void *bytes, size_t n, const char *name, lap_fault *fault);
void lap_safetensors_close(lap_safetensors *file);

uint32_t lap_safetensors_n(const lap_safetensors *file);
/* Names are in the order of the header. */
const char *lap_safetensors_name(const lap_safetensors *file, uint32_t i);
/* The tensor as stored, pointing into the mapping. */
const lap_tensor_view *lap_safetensors_at(const lap_safetensors *file, uint32_t i);
/* The same by name; NULL when there is none. */
const lap_tensor_view *lap_safetensors_find(const lap_safetensors *file, const char *name);
/* Tensor i as `dtype` (LAP_NO_DTYPE: the nearest one), in place where possible (treat as read-only),
 * else converted into memory that the file owns, until it is read again. Not for two threads at once. */
bool lap_safetensors_read(lap_safetensors *file, uint32_t i, lap_dtype dtype, lap_tensor *out,
                          lap_fault *fault);
/* Metadata string, or NULL. */
const char *lap_safetensors_meta(const lap_safetensors *file, const char *key);

uint32_t lap_safetensors_n_meta(const lap_safetensors *file);
const char *lap_safetensors_meta_key(const lap_safetensors *file, uint32_t i);

/* Writes to a temporary file beside `path`, then renames. meta: key, value, key, value, ..., NULL. */
bool lap_safetensors_write(const char *path, uint32_t n, const char *const *names, const lap_tensor *tensors,
                           const char *const *meta, lap_fault *fault);

#endif
