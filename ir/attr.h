/* SPDX-License-Identifier: Apache-2.0
 * attr.h - attributes as values: making, copying, hashing, comparing. */
#ifndef LAP_IR_ATTR_H
#define LAP_IR_ATTR_H

#include "ir/graph.h"

/* A deep copy in the arena: later changes of the caller's lists do not show. */
lap_attr lap_attr_copy(lap_arena *arena, const lap_attr *a);
uint64_t lap_attr_hash(uint64_t h, const lap_attr *a);
/* Floats are compared by their bits, so -0.0 is not 0.0 and a NaN is itself. */
bool lap_attr_same(const lap_attr *a, const lap_attr *b);
bool lap_scalar_same(lap_scalar a, lap_scalar b);

lap_names lap_names_copy(lap_arena *arena, uint32_t n, const lap_name *at);
/* The words of "y x c", interned. */
lap_names lap_names_of(lap_ctx *ctx, const char *words);

uint64_t lap_hash_word(uint64_t h, uint64_t word);
uint64_t lap_axes_hash(uint64_t h, uint32_t n, const lap_axis *axes);

static inline lap_scalar lap_scalar_f(double f) { return (lap_scalar){.dtype = LAP_F32, .f = f}; }
static inline lap_scalar lap_scalar_i(int64_t i) { return (lap_scalar){.dtype = LAP_I64, .i = i}; }
static inline lap_scalar lap_scalar_b(bool b) { return (lap_scalar){.dtype = LAP_BOOL, .i = b}; }

/* INT BOOL FN RED MODE NORM LOOP SPACE DTYPE */
static inline lap_attr lap_attr_make_i(lap_attr_key key, int64_t i) { return (lap_attr){.key = key, .i = i}; }
static inline lap_attr lap_attr_make_f(lap_attr_key key, double f) { return (lap_attr){.key = key, .f = f}; }
/* STR NAME */
static inline lap_attr lap_attr_make_name(lap_attr_key key, lap_name name)
{
    return (lap_attr){.key = key, .name = name};
}
static inline lap_attr lap_attr_make_names(lap_attr_key key, lap_names names)
{
    return (lap_attr){.key = key, .names = names};
}
static inline lap_attr lap_attr_make_dim(lap_attr_key key, lap_dim dim)
{
    return (lap_attr){.key = key, .dim = dim};
}
static inline lap_attr lap_attr_make_dims(lap_attr_key key, lap_dim_list dims)
{
    return (lap_attr){.key = key, .dims = dims};
}
static inline lap_attr lap_attr_make_scalar(lap_attr_key key, lap_scalar scalar)
{
    return (lap_attr){.key = key, .scalar = scalar};
}
static inline lap_attr lap_attr_make_layout(lap_attr_key key, lap_layout layout)
{
    return (lap_attr){.key = key, .layout = layout};
}
static inline lap_attr lap_attr_make_parts(lap_attr_key key, lap_parts parts)
{
    return (lap_attr){.key = key, .parts = parts};
}

#endif
