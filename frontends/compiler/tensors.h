/* SPDX-License-Identifier: Apache-2.0
 * tensors.h - named sets of tensors, as given by files and as a program takes them.
 *
 * Sets grow in a context's arena. Views point into open files; tensors have element types of
 * programs. A name added twice: the last one counts. */
#ifndef LAP_FRONTENDS_COMPILER_TENSORS_H
#define LAP_FRONTENDS_COMPILER_TENSORS_H

#include "ir/base/ctx.h"
#include "runtime/safetensors.h"
#include "runtime/tensor.h"
#include "runtime/view.h"

typedef struct lap_views {
    uint32_t n;
    size_t capacity;
    const char **names;
    lap_tensor_view *at;
    size_t capacity_at;
} lap_views;
typedef struct lap_tensors {
    uint32_t n;
    size_t capacity;
    const char **names;
    lap_tensor *at;
    size_t capacity_at;
} lap_tensors;

void lap_views_add(lap_ctx *ctx, lap_views *set, const char *name, const lap_tensor_view *view);
const lap_tensor_view *lap_views_find(const lap_views *set, const char *name);
/* Adds the tensors of `file` whose names start with `prefix` ("" for all), without it. */
void lap_views_read(lap_ctx *ctx, lap_views *set, const lap_safetensors *file, const char *prefix);

void lap_tensors_add(lap_ctx *ctx, lap_tensors *set, const char *name, const lap_tensor *tensor);
const lap_tensor *lap_tensors_find(const lap_tensors *set, const char *name);

/* Stands for the number in the name of a family of weights. */
#define LAP_FAMILY_MARK "{k}"

/* A tensor of this type and shape with zeroed arena memory, aligned to 64 bytes. */
LAP_MUST_CHECK bool lap_tensor_make(lap_ctx *ctx, lap_dtype dtype, uint32_t rank, const int64_t *shape,
                                    lap_tensor *out, lap_fault *fault);
/* A view as element type `dtype` (LAP_NO_DTYPE: the nearest), in place where that is possible. */
LAP_MUST_CHECK bool lap_tensor_take(lap_ctx *ctx, const lap_tensor_view *view, lap_dtype dtype,
                                    const char *name, lap_tensor *out, lap_fault *fault);
/* The tensor of a weight: the one of that name, or for a family "a.{k}.b" the tensors a.0.b, a.1.b,
 * ... stacked along a new first axis. *out_found says whether there is any. */
LAP_MUST_CHECK bool lap_views_weight(lap_ctx *ctx, const lap_views *set, const char *name, lap_dtype dtype,
                                     lap_tensor *out, bool *out_found, lap_fault *fault);

/* "f32[2, 64, 16]" and "[2, 64, 16]", in the arena. */
const char *lap_tensor_show(lap_ctx *ctx, const lap_tensor *t);
const char *lap_shape_show(lap_ctx *ctx, uint32_t rank, const int64_t *shape);

#endif
