/* SPDX-License-Identifier: Apache-2.0
 * bound.c - which i64 values fit 32 bits, and what must hold of the sizes for that.
 *
 * Addresses need only the low bits of what they are made of: sums and products wrap alike in 32 and in
 * 64 bits. A value must be exact where it is compared, divided, converted, stored or counts a loop.
 * Every such value whose magnitude is a polynomial of extents is an `int`, and that polynomial becomes
 * a limit that the host checks when sizes are bound. */
#include <string.h>

#include "codegen/carried.h"
#include "codegen/spirv/emitter.h"

enum { MOST_LIMIT_TEXT = 1000 };

static lap_glsl_bound of_const(lap_shader *e, int64_t v)
{
    bool fits = v > INT32_MIN && v <= INT32_MAX;
    return (lap_glsl_bound){.is_known = fits,
                            .is_natural = v >= 0,
                            .most = fits ? lap_dim_const(e->ctx, v < 0 ? -v : v) : (lap_dim){0}};
}

static lap_glsl_bound of_dim(lap_shader *e, lap_dim d)
{
    int64_t low, c;
    if (lap_dim_is_const(e->ctx, d, &c)) {
        return of_const(e, c);
    }
    if (lap_dim_lower(e->ctx, d, &low) && low >= 0) {
        return (lap_glsl_bound){.is_known = true, .is_natural = true, .most = d};
    }
    lap_dim minus = lap_dim_sub(e->ctx, (lap_dim){0}, d);
    return (lap_glsl_bound){.is_known = true, .most = lap_dim_max(e->ctx, d, minus)};
}

static lap_glsl_bound unknown(bool is_natural) { return (lap_glsl_bound){.is_natural = is_natural}; }

/* A polynomial that is above every limit whatever the sizes, or has grown out of hand, says no more than that
 * the value is not known. */
static lap_glsl_bound made(lap_shader *e, lap_dim most, bool is_natural)
{
    int64_t c, low;
    bool is_const = lap_dim_is_const(e->ctx, most, &c);
    bool is_above = !is_const && lap_dim_lower(e->ctx, most, &low) && low >= LAP_VK_MOST_INDEX;
    if (is_above || (is_const ? c > INT32_MAX : strlen(lap_dim_show(e->ctx, most)) > MOST_LIMIT_TEXT)) {
        return unknown(is_natural);
    }
    return (lap_glsl_bound){.is_known = true, .is_natural = is_natural, .most = most};
}

static lap_glsl_bound bound_of(lap_shader *e, lap_ref ref)
{
    const lap_node *n = lap_node_at(e->g, ref);
    if (lap_dtype_compute(n->dtype) == LAP_BOOL) {
        return of_const(e, 1);
    }
    return lap_dtype_compute(n->dtype) == LAP_I64 ? e->bound[ref.ix] : unknown(false);
}

/* Of two bounds the one to take: a constant below what sizes mostly are, then what is no constant. */
static bool is_better(const lap_shader *e, lap_dim a, lap_dim b)
{
    enum { SMALL = 1 << 16 };
    int64_t c = 0, d = 0;
    bool is_a = lap_dim_is_const(e->ctx, a, &c), is_b = lap_dim_is_const(e->ctx, b, &d);
    return is_a && is_b ? c <= d : is_a ? c <= SMALL : !is_b || d > SMALL;
}

/* One of two values that fit 32 bits each: so does it, though their bound may be 2^31. */
static lap_glsl_bound one_of(lap_shader *e, lap_glsl_bound a, lap_glsl_bound b, bool is_natural)
{
    int64_t c, d;
    if (lap_dim_is_const(e->ctx, a.most, &c) && lap_dim_is_const(e->ctx, b.most, &d)) {
        return (lap_glsl_bound){.is_known = true, .is_natural = is_natural, .most = c > d ? a.most : b.most};
    }
    return made(e, lap_dim_max(e->ctx, a.most, b.most), is_natural);
}

static lap_glsl_bound min_bound(lap_shader *e, lap_glsl_bound a, lap_glsl_bound b)
{
    if (a.is_natural && b.is_natural) {
        bool takes_a = a.is_known && (!b.is_known || is_better(e, a.most, b.most));
        return takes_a ? a : b;
    }
    return a.is_known && b.is_known ? one_of(e, a, b, false) : unknown(false);
}

static lap_glsl_bound either_bound(lap_shader *e, lap_glsl_bound a, lap_glsl_bound b, bool is_natural)
{
    return a.is_known && b.is_known ? one_of(e, a, b, is_natural) : unknown(is_natural);
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

/* The smaller of two that are both above the value: a constant where there is one. */
static lap_dim less_of(lap_shader *e, lap_glsl_bound a, lap_glsl_bound b)
{
    return !b.has_upper || (a.has_upper && is_better(e, a.upper, b.upper)) ? a.upper : b.upper;
}

static lap_dim above_zero(lap_shader *e, lap_glsl_bound b)
{
    return b.is_natural ? b.upper : lap_dim_max(e->ctx, b.upper, (lap_dim){0});
}

/* A bound from above alone, which loops need: the size of `min(n - i, 8)` would say nothing of it. */
static void bound_above(lap_shader *e, const lap_node *n, lap_glsl_bound *out)
{
    lap_glsl_bound a = bound_of(e, n->args[0]), b = n->n_args > 1 ? bound_of(e, n->args[1]) : a;
    bool both = a.has_upper && b.has_upper;
    int64_t c;
    switch ((lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0)) {
    case LAP_FN_ADD:
        out->has_upper = both;
        out->upper = both ? lap_dim_add(e->ctx, a.upper, b.upper) : (lap_dim){0};
        break;
    case LAP_FN_SUB:
        out->has_upper = a.has_upper && (b.is_natural || b.is_known);
        out->upper = b.is_natural ? a.upper : out->has_upper ? lap_dim_add(e->ctx, a.upper, b.most) : a.upper;
        break;
    case LAP_FN_MUL:
        out->has_upper = both && (a.is_natural || b.is_natural);
        out->upper = out->has_upper ? lap_dim_mul(e->ctx, above_zero(e, a), above_zero(e, b)) : (lap_dim){0};
        break;
    case LAP_FN_IDIV:
        out->has_upper = both && lap_dim_is_const(e->ctx, b.upper, &c) && c > 0 && b.is_natural;
        out->upper = out->has_upper ? lap_dim_floordiv(e->ctx, a.upper, b.upper) : (lap_dim){0};
        break;
    case LAP_FN_MOD:
        out->has_upper = b.has_upper && b.is_natural;
        out->upper = b.upper;
        break;
    case LAP_FN_MIN:
        out->has_upper = a.has_upper || b.has_upper;
        out->upper = less_of(e, a, b);
        break;
    case LAP_FN_MAX:
        out->has_upper = both;
        out->upper = both ? lap_dim_max(e->ctx, a.upper, b.upper) : (lap_dim){0};
        break;
    default:
        break;
    }
    if (!out->has_upper && out->is_known) {
        out->has_upper = true;
        out->upper = out->most;
    }
}

static lap_glsl_bound load_bound(lap_shader *e, const lap_node *n)
{
    switch (lap_glsl_buffer_elem(e, n->args[0])) {
    case LAP_I32: /* fits as it is; what is made of it may not */
        return (lap_glsl_bound){.is_known = true, .most = lap_dim_const(e->ctx, INT64_C(1) << 31)};
    case LAP_I8:
    case LAP_I4:
        return of_const(e, -128);
    default:
        return unknown(false);
    }
}

static lap_glsl_bound node_bound(lap_shader *e, const lap_node *n)
{
    lap_glsl_bound b = unknown(false);
    if (n->op == LAP_OP_CONST) {
        int64_t v = lap_node_attr(n, LAP_ATTR_VALUE)->scalar.i;
        b = of_const(e, v);
        b.has_upper = true;
        b.upper = lap_dim_const(e->ctx, v);
    } else if (n->op == LAP_OP_DIM) {
        b = of_dim(e, lap_attr_dim(n, LAP_ATTR_DIM));
        b.has_upper = true;
        b.upper = lap_attr_dim(n, LAP_ATTR_DIM);
    } else if (n->op == LAP_OP_MAP) {
        b = map_bound(e, n);
        bound_above(e, n, &b);
    } else if (n->op == LAP_OP_LOAD) {
        b = load_bound(e, n);
        b.has_upper = b.is_known;
        b.upper = b.most;
    }
    return b;
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
    enum { MMA_M = 7, MMA_DEPTH = 11, TURN_ROWS = 6, TURN_COLS = 7, SORT_N = 2, SORT_COUNT = 5 };
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
    case LAP_OP_TURN:
        mark(e, n->args[TURN_ROWS]);
        mark(e, n->args[TURN_COLS]);
        break;
    case LAP_OP_SORT:
        mark(e, n->args[SORT_N]);
        mark(e, n->args[SORT_COUNT]);
        break;
    default:
        break;
    }
}

/* ---- what loops carry ---- */

static lap_glsl_bound joined(lap_shader *e, lap_glsl_bound a, lap_glsl_bound b)
{
    if (!a.is_known || !b.is_known) {
        return unknown(false);
    }
    lap_glsl_bound both = made(e, lap_dim_max(e->ctx, a.most, b.most), a.is_natural && b.is_natural);
    both.has_upper = both.is_known && a.has_upper && b.has_upper;
    both.upper = both.has_upper ? lap_dim_max(e->ctx, a.upper, b.upper) : (lap_dim){0};
    return both;
}

/* Bound of all that flows into a carried value by choices alone: it can be nothing else. */
static lap_glsl_bound flow_bound(lap_shader *e, lap_ref ref, lap_ref carried, lap_glsl_bound so_far)
{
    const lap_node *n = lap_node_at(e->g, ref);
    int64_t fn = n->op == LAP_OP_MAP ? lap_attr_i(n, LAP_ATTR_FN, 0) : -1;
    if (lap_ref_same(ref, carried)) {
        return so_far;
    }
    if (bound_of(e, ref).is_known) {
        return joined(e, so_far, bound_of(e, ref));
    }
    if (fn == LAP_FN_SELECT || fn == LAP_FN_MIN || fn == LAP_FN_MAX) {
        for (uint32_t i = fn == LAP_FN_SELECT ? 1 : 0; i < n->n_args && so_far.is_known; i++) {
            so_far = flow_bound(e, n->args[i], carried, so_far);
        }
        return so_far;
    }
    return joined(e, so_far, bound_of(e, ref));
}

/* Gives the carried values of a loop, and its results, the bounds that are found; whether any is new. */
static bool bound_carried(lap_shader *e, const lap_node *loop, lap_glsl_bound *found)
{
    const lap_region *body = lap_region_at(e->g, loop->regions[0]);
    bool is_new = false;
    if (lap_attr_i(loop, LAP_ATTR_KIND, LAP_LOOP_SERIAL) == LAP_LOOP_VECTOR) {
        return false; /* partial results start at the neutral element, which no extent bounds */
    }
    for (uint32_t i = 1; i < loop->n_args; i++) {
        lap_ref param = body->params[i];
        bool is_int = lap_dtype_compute(lap_node_at(e->g, param)->dtype) == LAP_I64;
        if (is_int && !found[param.ix].is_known) {
            found[param.ix] = flow_bound(e, body->results[i - 1], param, bound_of(e, loop->args[i]));
            is_new = is_new || found[param.ix].is_known;
        }
    }
    return is_new;
}

static bool bound_loops(lap_shader *e, lap_glsl_bound *found)
{
    bool is_new = false;
    for (uint32_t i = 1; i <= lap_graph_n_nodes(e->g); i++) {
        const lap_node *n = lap_node_at(e->g, (lap_ref){i});
        if (n->op == LAP_OP_FOR) {
            is_new = bound_carried(e, n, found) || is_new;
        }
    }
    for (uint32_t i = 1; i <= lap_graph_n_nodes(e->g); i++) {
        const lap_node *n = lap_node_at(e->g, (lap_ref){i});
        const lap_node *loop = n->op == LAP_OP_RESULT ? lap_node_at(e->g, n->args[0]) : NULL;
        if (loop && loop->op == LAP_OP_FOR) {
            uint32_t which = lap_carried_result(e->g, n);
            found[i] = found[lap_region_at(e->g, loop->regions[0])->params[which + 1].ix];
        }
    }
    return is_new;
}

/* ---- all ---- */

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

static void bound_nodes(lap_shader *e, const lap_ref *extent, const lap_glsl_bound *found)
{
    for (uint32_t i = 1; i <= lap_graph_n_nodes(e->g); i++) {
        const lap_node *n = lap_node_at(e->g, (lap_ref){i});
        if (lap_ref_some(extent[i])) {
            e->bound[i] = bound_of(e, extent[i]);
            e->bound[i].is_natural = true;
        } else if (n->op == LAP_OP_PARAM || n->op == LAP_OP_RESULT) {
            e->bound[i] = found[i];
        } else {
            e->bound[i] = lap_dtype_compute(n->dtype) == LAP_I64 ? node_bound(e, n) : unknown(false);
        }
        e->type[i] = type_of(n->dtype, e->bound[i]);
    }
}

void lap_glsl_bound_all(lap_shader *e)
{
    enum { PASSES = 4 }; /* each finds what depends on one more level of loops */
    const lap_ref *extent = extents_of_indices(e);
    lap_glsl_bound *found = lap_arena_array(e->ctx->arena, lap_graph_n_nodes(e->g) + 1, sizeof *found);
    bound_nodes(e, extent, found);
    for (int pass = 0; pass < PASSES && bound_loops(e, found); pass++) {
        bound_nodes(e, extent, found);
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
