/* SPDX-License-Identifier: Apache-2.0
 * view.h - a tensor as a file holds it, and its conversion to the element types that programs use.
 *
 * Files know more types (u8, f64, ..) than programs do, and their bytes need not be aligned: a view
 * is never read in place unless lap_view_as says that it can be. */
#ifndef LAP_RUNTIME_VIEW_H
#define LAP_RUNTIME_VIEW_H

#include "runtime/tensor.h"

typedef enum lap_storage {
#define LAP_STORAGE(enum_, file_name, npy, bits, kind, nearest) LAP_ST_##enum_,
#include "runtime/storages.def"
#undef LAP_STORAGE
    LAP_N_STORAGES
} lap_storage;

typedef struct lap_tensor_view {
    lap_storage storage;
    uint32_t rank;
    int64_t shape[LAP_MAX_RANK];
    const void *data; /* not owned, read-only, any alignment */
    size_t n_bytes;
} lap_tensor_view;

const char *lap_storage_name(lap_storage s); /* as in safetensors */
const char *lap_storage_npy(lap_storage s);  /* "" when npy files cannot hold it */
unsigned lap_storage_bits(lap_storage s);
/* The element type that holds the most of it: U8 and I16 give i32, U32 and U64 i64, F64 f32. */
lap_dtype lap_storage_nearest(lap_storage s);
lap_storage lap_storage_of(lap_dtype dtype);
bool lap_storage_find(const char *name, size_t n, lap_storage *out);
/* Elements and bytes of a shape; false on overflow, a negative extent, or a rank above LAP_MAX_RANK.
 * Extents beside a zero must not overflow either, so that partial products are safe. */
bool lap_shape_count(uint32_t rank, const int64_t *shape, size_t *out);
bool lap_storage_bytes(lap_storage s, size_t n, size_t *out);

lap_tensor_view lap_view_of(const lap_tensor *t);
/* The view as a tensor of its own type, in place; false when the type is none of a program's or the
 * bytes are not aligned for it. The result must not be written to. */
bool lap_view_as(const lap_tensor_view *v, lap_dtype dtype, lap_tensor *out);
/* Copies into `out` (dtype as given, memory from lap_memory_new, owned by the caller), converting:
 * floats round to nearest; integers must fit and floats must be whole where integers are asked for;
 * bool is "not zero". `name` is for the message. */
bool lap_tensor_convert(const lap_tensor_view *v, lap_dtype dtype, const char *name, lap_tensor *out,
                        lap_fault *fault);
/* The same into memory of enough room that `out` (dtype, shape, data, n_bytes) already describes. */
bool lap_tensor_convert_into(const lap_tensor_view *v, const char *name, lap_tensor *out, lap_fault *fault);

/* Memory aligned to 64 bytes, at least one byte, not cleared; NULL when there is none. */
void *lap_memory_new(size_t n_bytes);
void lap_memory_free(void *memory);

#endif
