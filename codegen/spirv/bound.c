/* SPDX-License-Identifier: Apache-2.0
 * bound.c - which i64 values fit 32 bits, and what must hold of the sizes for that.
 *
 * Addresses need only the low bits of what they are made of: sums and products wrap alike in 32 and in
 * 64 bits. A value must be exact where it is compared, divided, converted, stored or counts a loop.
 * Every such value whose magnitude is a polynomial of extents is an `int`, and that polynomial becomes
 * a limit that the host checks when sizes are bound. */
#include <string.h>

#include "codegen/spirv/emitter.h"

enum { MOST_LIMIT_TEXT = 400 };

static lap_glsl_bound of_const(lap_shader *e, int64_t v)
{
    bool fits = v > INT32_MIN && v <= INT32_MAX;
    return (lap_glsl_bound){fits, v >= 0, fits ? lap_dim_const(e->ctx, v < 0 ? -v : v) : (lap_dim){0}};
}

static lap_glsl_bound of_dim(lap_shader *e, lap_dim d)
{
    int64_t low, c;
    if (lap_dim_is_const(e->ctx, d, &c)) {
        return of_const(e, c);
    }
    if (lap_dim_lower(e->ctx, d, &low) && low >= 0) {
        return (lap_glsl_bound){true, true, d};
    }
    lap_dim minus = lap_dim_sub(e->ctx, (lap_dim){0}, d);
    return (lap_glsl_bound){true, false, lap_dim_max(e->ctx, d, minus)};
}

static lap_glsl_bound unknown(bool is_natural) { return (lap_glsl_bound){false, is_natural, {0}}; }

/* A polynomial that has grown out of hand says no more than that the value is not known. */
static lap_glsl_bound made(lap_shader *e, lap_dim most, bool is_natural)
{
    int64_t c;
    if (lap_dim_is_const(e->ctx, most, &c) ? c > INT32_MAX
                                           : strlen(lap_dim_show(e->ctx, most)) > MOST_LIMIT_TEXT) {
        return unknown(is_natural);
    }
    return (lap_glsl_bound){true, is_natural, most};
}

static lap_glsl_bound bound_of(lap_shader *e, lap_ref ref)
{
    const lap_node *n = lap_node_at(e->g, ref);
    if (lap_dtype_compute(n->dtype) == LAP_BOOL) {
        return of_const(e, 1);
    }
    return lap_dtype_compute(n->dtype) == LAP_I64 ? e->bound[ref.ix] : unknown(false);
}

static lap_glsl_bound min_bound(lap_shader *e, lap_glsl_bound a, lap_glsl_bound b)
{
    int64_t c;
    if (a.is_natural && b.is_natural) {
        bool takes_a = a.is_known && (!b.is_known || lap_dim_is_const(e->ctx, a.most, &c));
        return takes_a ? a : b;
    }
    return a.is_known && b.is_known ? made(e, lap_dim_max(e->ctx, a.most, b.most), false) : unknown(false);
}

static lap_glsl_bound either_bound(lap_shader *e, lap_glsl_bound a, lap_glsl_bound b, bool is_natural)
{
    return a.is_known && b.is_known ? made(e, lap_dim_max(e->ctx, a.most, b.most), is_natural)
                                    : unknown(is_natural);
}

static lap_glsl_bound map_bound(lap_shader *e, const lap_node *n)
{
    lap_glsl_bound a = bound_of(e, n->args[0]), b = n->n_args > 1 ? bound_of(e, n->args[1]) : a;
    bool both = a.is_known && b.is_known, natural = a.is_natural && b.is_natural;
    switch ((lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0)) {
    case LAP_FN_ADD:
        return both ? made(e, lap_dim_add(e->ctx, a.most, b.most), natural) : unknown(natural);
    case LAP_FN_SUB:
        return both ? made(e, lap_dim_add(e->ctx, a.most, b.most), false) : unknown(false);
    case LAP_FN_MUL:
        return both ? made(e, lap_dim_mul(e->ctx, a.most, b.most), natural) : unknown(natural);
    case LAP_FN_IDIV:
        return a.is_known ? made(e, a.most, natural) : unknown(natural);
    case LAP_FN_MOD:
        return b.is_known ? made(e, b.most, b.is_natural) : unknown(b.is_natural);
    case LAP_FN_MIN:
        return min_bound(e, a, b);
    case LAP_FN_MAX:
        return either_bound(e, a, b, a.is_natural || b.is_natural);
    case LAP_FN_NEG:
        return a.is_known ? made(e, a.most, false) : unknown(false);
    case LAP_FN_ABS:
        return a.is_known ? made(e, a.most, true) : unknown(false);
    case LAP_FN_SIGN:
        return of_const(e, -1);
    case LAP_FN_SELECT:
        a = bound_of(e, n->args[2]);
        return either_bound(e, a, b, natural && a.is_natural);
    case LAP_FN_INT:
        return a;
    case LAP_FN_TO_I8:
        return of_const(e, -128);
    case LAP_FN_TO_I4:
        return of_const(e, -8);
    default:
        return unknown(false);
    }
}

static lap_glsl_bound load_bound(lap_shader *e, const lap_node *n)
{
    switch (lap_glsl_buffer_elem(e, n->args[0])) {
    case LAP_I32: /* fits as it is; what is made of it may not */
        return (lap_glsl_bound){true, false, lap_dim_const(e->ctx, INT64_C(1) << 31)};
    case LAP_I8:
    case LAP_I4:
        return of_const(e, -128);
    default:
        return unknown(false);
    }
}

static lap_glsl_bound node_bound(lap_shader *e, const lap_node *n)
{
    switch (n->op) {
    case LAP_OP_CONST:
        return of_const(e, lap_node_attr(n, LAP_ATTR_VALUE)->scalar.i);
    case LAP_OP_DIM:
        return of_dim(e, lap_attr_dim(n, LAP_ATTR_DIM));
    case LAP_OP_MAP:
        return map_bound(e, n);
    case LAP_OP_LOAD:
        return load_bound(e, n);
    default:
        return unknown(false);
    }
}

static lap_glsl_type type_of(lap_dtype dtype, lap_glsl_bound b)
{
    switch (lap_dtype_compute(dtype)) {
    case LAP_I64:
        return b.is_known ? LAP_GLSL_INT : LAP_GLSL_LONG;
    case LAP_BOOL:
        return LAP_GLSL_BOOL;
    default:
        return LAP_GLSL_FLOAT;
    }
}

/* ---- where values must be exact ---- */

static void mark(lap_shader *e, lap_ref ref)
{
    if (lap_ref_some(ref)) {
        e->is_exact[ref.ix] = true;
    }
}

static bool wraps(lap_shader *e, lap_ref ref, const lap_node *n)
{
    if (e->type[ref.ix] != LAP_GLSL_INT) {
        return false;
    }
    switch ((lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0)) {
    case LAP_FN_ADD:
    case LAP_FN_SUB:
    case LAP_FN_MUL:
    case LAP_FN_NEG:
    case LAP_FN_SELECT:
        return true;
    default:
        return false;
    }
}

static void mark_for(lap_shader *e, const lap_node *n)
{
    const lap_region *body = lap_region_at(e->g, n->regions[0]);
    for (uint32_t i = 0; i < n->n_args; i++) {
        mark(e, n->args[i]);
    }
    for (uint32_t i = 0; i < body->n_results; i++) {
        mark(e, body->results[i]);
    }
}

static void mark_operands(lap_shader *e, lap_ref ref, const lap_node *n)
{
    enum { MMA_M = 7, MMA_DEPTH = 10, SORT_N = 2, SORT_COUNT = 5 };
    switch (n->op) {
    case LAP_OP_MAP:
        for (uint32_t i = 0; !wraps(e, ref, n) && i < n->n_args; i++) {
            mark(e, n->args[i]);
        }
        break;
    case LAP_OP_STORE:
        mark(e, n->args[2]);
        break;
    case LAP_OP_FOR:
        mark_for(e, n);
        break;
    case LAP_OP_MMA:
        mark(e, n->args[MMA_M]);
        mark(e, n->args[MMA_DEPTH]);
        break;
    case LAP_OP_SORT:
        mark(e, n->args[SORT_N]);
        mark(e, n->args[SORT_COUNT]);
        break;
    default:
        break;
    }
}

/* Extent of the loop whose index each parameter is; NONE for carried values. A loop has a larger id
 * than what is in it. */
static lap_ref *extents_of_indices(lap_shader *e)
{
    lap_ref *extent = lap_arena_array(e->ctx->arena, lap_graph_n_nodes(e->g) + 1, sizeof *extent);
    for (uint32_t i = 1; i <= lap_graph_n_nodes(e->g); i++) {
        const lap_node *n = lap_node_at(e->g, (lap_ref){i});
        if (n->op == LAP_OP_FOR) {
            extent[lap_region_at(e->g, n->regions[0])->params[0].ix] = n->args[0];
        }
    }
    return extent;
}

void lap_glsl_bound_all(lap_shader *e)
{
    const lap_ref *extent = extents_of_indices(e);
    for (uint32_t i = 1; i <= lap_graph_n_nodes(e->g); i++) {
        const lap_node *n = lap_node_at(e->g, (lap_ref){i});
        if (lap_ref_some(extent[i])) {
            e->bound[i] = bound_of(e, extent[i]);
            e->bound[i].is_natural = true;
        } else {
            e->bound[i] = lap_dtype_compute(n->dtype) == LAP_I64 ? node_bound(e, n) : unknown(false);
        }
        e->type[i] = type_of(n->dtype, e->bound[i]);
    }
    for (uint32_t i = 1; i <= lap_graph_n_nodes(e->g); i++) {
        mark_operands(e, (lap_ref){i}, lap_node_at(e->g, (lap_ref){i}));
    }
}

lap_kernel_dims lap_glsl_bound_limits(lap_shader *e)
{
    uint32_t n_nodes = lap_graph_n_nodes(e->g), n = 0;
    lap_dim *at = lap_arena_array(e->ctx->arena, n_nodes + 1, sizeof *at);
    for (uint32_t i = 1; i <= n_nodes; i++) {
        int64_t c;
        lap_dim most = e->bound[i].most;
        if (e->type[i] != LAP_GLSL_INT || !e->is_exact[i] || lap_dim_is_const(e->ctx, most, &c)) {
            continue;
        }
        uint32_t known = 0;
        while (known < n && !lap_dim_same(at[known], most)) {
            known++;
        }
        at[n] = most;
        n += known == n;
    }
    return (lap_kernel_dims){n, at};
}
