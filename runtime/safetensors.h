/* SPDX-License-Identifier: Apache-2.0
 * safetensors.h - reads (memory-mapped, validated before use) and writes safetensors files. */
#ifndef LAP_RUNTIME_SAFETENSORS_H
#define LAP_RUNTIME_SAFETENSORS_H

#include "runtime/tensor.h"

typedef struct lap_safetensors lap_safetensors;

/* Opens and validates: header size and syntax, UTF-8, unique names, known types, extents that do not
 * overflow, offsets in range, without holes or overlaps, sizes that match shapes. */
lap_safetensors *lap_safetensors_open(const char *path, lap_fault *fault);
/* The same over bytes that outlive the result. */
lap_safetensors *lap_safetensors_parse(const void *bytes, size_t n, const char *name, lap_fault *fault);
void lap_safetensors_close(lap_safetensors *file);

uint32_t lap_safetensors_n(const lap_safetensors *file);
const char *lap_safetensors_name(const lap_safetensors *file, uint32_t i);
/* The tensor, pointing into the mapping (treat as read-only). U8, U16 and U32 read as the next wider
 * signed type after conversion by lap_safetensors_read; F64 likewise as f32: see the .c file. */
bool lap_safetensors_find(const lap_safetensors *file, const char *name, lap_tensor *out);
bool lap_safetensors_at(const lap_safetensors *file, uint32_t i, lap_tensor *out);
/* Metadata string, or NULL. */
const char *lap_safetensors_meta(const lap_safetensors *file, const char *key);

/* Writes to a temporary file beside `path`, then renames. meta: key, value, key, value, ..., NULL. */
bool lap_safetensors_write(const char *path, uint32_t n, const char *const *names, const lap_tensor *tensors,
                           const char *const *meta, lap_fault *fault);

#endif
