/* SPDX-License-Identifier: Apache-2.0
 * attend_skip.c - the class of a block of rows and keys, empty, full or partial: interval arithmetic on
 * the predicate, over rows m0 .. m0 + rows - 1 and keys key0 .. key0 + keys - 1.
 *
 * Integers from data count where they are the same for the whole block. A mask tensor read at such ranges (a
 * live list of blocks) is looked up at their ends, where the block meets no more than two of its elements per
 * axis. What is not understood (other data, floats) counts as partial, so nothing that is seen is skipped. */
#include "passes/attend.h"

typedef struct range {
    lap_coord lo, hi;
    bool is_known;
} range;

static range unknown(void) { return (range){{0}, {0}, false}; }

/* e = row stride * row + key stride * key + rest, each stride of a known sign. */
static range affine_range(const lap_skip *s, lap_coord e)
{
    lap_ctx *ctx = s->k->l->ctx;
    lap_coords *c = s->k->c;
    const lap_coord vars[2] = {s->row, s->key}, counts[2] = {s->n_rows, s->n_keys};
    lap_coord rest = e, zero = lap_coord_const(c, 0);
    range r = {zero, zero, true};
    for (int i = 0; i < 2; i++) {
        lap_dim stride;
        int64_t value;
        if (!lap_coord_affine(c, rest, vars[i], &stride, &rest) || !lap_dim_is_const(ctx, stride, &value)) {
            return unknown();
        }
        lap_coord last = lap_coord_sub(c, counts[i], lap_coord_const(c, 1));
        lap_coord reach = lap_coord_mul(c, last, lap_coord_const(c, value));
        r.lo = value < 0 ? lap_coord_add(c, r.lo, reach) : r.lo;
        r.hi = value > 0 ? lap_coord_add(c, r.hi, reach) : r.hi;
    }
    return (range){lap_coord_add(c, r.lo, rest), lap_coord_add(c, r.hi, rest), true};
}

/* x mod d: from 0 on when the range reaches over a multiple of d. */
static range mod_range(lap_coords *c, range x, lap_coord d)
{
    lap_coord first = lap_coord_floordiv(c, x.lo, d), start = lap_coord_mul(c, first, d);
    lap_coord wraps = lap_coord_sub(c, lap_coord_floordiv(c, x.hi, d), first);
    lap_coord zero = lap_coord_const(c, 0), last = lap_coord_sub(c, d, lap_coord_const(c, 1));
    lap_coord lo = lap_coord_sub(c, lap_coord_sub(c, x.lo, start), lap_coord_mul(c, wraps, d));
    return (range){lap_coord_max(c, lo, zero), lap_coord_min(c, lap_coord_sub(c, x.hi, start), last), true};
}

static range times(lap_coords *c, range x, int64_t factor)
{
    lap_coord by = lap_coord_const(c, factor);
    lap_coord lo = lap_coord_mul(c, x.lo, by), hi = lap_coord_mul(c, x.hi, by);
    return factor < 0 ? (range){hi, lo, true} : (range){lo, hi, true};
}

static range abs_range(lap_coords *c, range x)
{
    lap_coord zero = lap_coord_const(c, 0);
    lap_coord minus_lo = lap_coord_sub(c, zero, x.lo), minus_hi = lap_coord_sub(c, zero, x.hi);
    return (range){lap_coord_max(c, lap_coord_max(c, x.lo, minus_hi), zero), lap_coord_max(c, minus_lo, x.hi),
                   true};
}

/* fn of integers in these ranges; b is of no meaning where fn takes one operand. */
static range range_of(lap_coords *c, lap_fn fn, range a, range b)
{
    int64_t v;
    switch (fn) {
    case LAP_FN_ADD:
        return (range){lap_coord_add(c, a.lo, b.lo), lap_coord_add(c, a.hi, b.hi), true};
    case LAP_FN_SUB:
        return (range){lap_coord_sub(c, a.lo, b.hi), lap_coord_sub(c, a.hi, b.lo), true};
    case LAP_FN_NEG:
        return times(c, a, -1);
    case LAP_FN_ABS:
        return abs_range(c, a);
    case LAP_FN_MIN:
        return (range){lap_coord_min(c, a.lo, b.lo), lap_coord_min(c, a.hi, b.hi), true};
    case LAP_FN_MAX:
        return (range){lap_coord_max(c, a.lo, b.lo), lap_coord_max(c, a.hi, b.hi), true};
    case LAP_FN_MUL:
        if (lap_coord_same(b.lo, b.hi) && lap_coord_is_const(c, b.lo, &v)) {
            return times(c, a, v);
        }
        return lap_coord_same(a.lo, a.hi) && lap_coord_is_const(c, a.lo, &v) ? times(c, b, v) : unknown();
    case LAP_FN_IDIV:
    case LAP_FN_MOD:
        if (!lap_coord_same(b.lo, b.hi) || !lap_coord_is_const(c, b.lo, &v) || v < 1) {
            return unknown();
        }
        return fn == LAP_FN_MOD
                   ? mod_range(c, a, b.lo)
                   : (range){lap_coord_floordiv(c, a.lo, b.lo), lap_coord_floordiv(c, a.hi, b.lo), true};
    default:
        return unknown();
    }
}

static bool is_free_of_block(const lap_skip *s, lap_coord e)
{
    const lap_coord vars[2] = {s->row, s->key};
    for (int i = 0; i < 2; i++) {
        lap_dim stride;
        lap_coord rest;
        if (!lap_coord_affine(s->k->c, e, vars[i], &stride, &rest) ||
            !lap_dim_same(stride, lap_dim_const(s->k->l->ctx, 0))) {
            return false;
        }
    }
    return true;
}

/* Data that is the same for all of the block (a length, a first place) is one number. */
static range uniform_range(const lap_skip *s, lap_ref r, const lap_coord *env)
{
    enum { DEAR = 12 }; /* it is computed for each test */
    lap_lowering *l = s->k->l;
    const lap_node *n = lap_node_at(l->g, r);
    if (n->dtype == LAP_F32 || n->dtype == LAP_BOOL || lap_plan_of(l, r)->may_fail ||
        n->op == LAP_OP_REDUCE) {
        return unknown();
    }
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (!is_free_of_block(s, env[i])) {
            return unknown();
        }
    }
    lap_coord v = lap_coord_opaque(s->k->c, lap_pull_ref(s->k, r, env, LAP_NONE));
    return (range){v, v, true};
}

static range integer_range(const lap_skip *s, lap_ref r, const lap_coord *env)
{
    lap_lowering *l = s->k->l;
    const lap_node *n = lap_node_at(l->g, r);
    if (lap_plan_of(l, r)->is_plain) {
        range whole = affine_range(s, lap_pull(s->k, r, env, LAP_NONE).coord);
        if (whole.is_known) {
            return whole;
        }
    }
    range same = uniform_range(s, r, env);
    if (same.is_known || n->op != LAP_OP_MAP || n->dtype == LAP_F32 || n->n_args > 2) {
        return same;
    }
    range v[2] = {unknown(), unknown()};
    for (uint32_t i = 0; i < n->n_args; i++) {
        v[i] = integer_range(s, n->args[i], lap_env_for(s->k, n->args[i], n->n_axes, n->axes, env));
        if (!v[i].is_known) {
            return unknown();
        }
    }
    return range_of(s->k->c, (lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0), v[0], v[1]);
}

typedef struct bounds {
    lap_ref lo, hi;
} bounds;

/* a REL b for some pair of values from both ranges, or for all. */
static lap_ref relation(lap_graph *g, lap_fn fn, bounds a, bounds b, lap_extent_of of)
{
    bool all = of == LAP_OF_ALL;
    switch (fn) {
    case LAP_FN_LT:
    case LAP_FN_LE:
        return lap_map2(g, fn, all ? a.hi : a.lo, all ? b.lo : b.hi);
    case LAP_FN_GT:
    case LAP_FN_GE:
        return lap_map2(g, fn, all ? a.lo : a.hi, all ? b.hi : b.lo);
    case LAP_FN_EQ: { /* all: both ranges are the same one value */
        lap_fn order = all ? LAP_FN_GE : LAP_FN_LE;
        return lap_map2(g, LAP_FN_AND, lap_map2(g, order, a.lo, b.hi), lap_map2(g, order, b.lo, a.hi));
    }
    case LAP_FN_NE: { /* all: the ranges do not meet; some: not both the same one value */
        lap_ref alike = relation(g, LAP_FN_EQ, a, b, all ? LAP_OF_SOME : LAP_OF_ALL);
        return lap_map1(g, LAP_FN_NOT, alike);
    }
    default:
        return LAP_NONE;
    }
}

static lap_ref both(const lap_skip *s, lap_fn fn, lap_ref a, lap_ref b, lap_extent_of of)
{
    if (lap_ref_some(a) && lap_ref_some(b)) {
        return lap_map2(s->k->k, fn, a, b);
    }
    /* unknown: holds for some, perhaps not for all */
    bool is_and = fn == LAP_FN_AND, is_some = of == LAP_OF_SOME;
    return is_and == is_some ? (lap_ref_some(a) ? a : b) : LAP_NONE;
}

/* ---- masks that are data -------------------------------------------------------------------- */

enum { MOST_INDICES = 3 };

/* The ends of each index of a read, and whether they are all that there is between them. */
typedef struct lookup {
    const lap_node *n;
    lap_ref source;
    uint32_t n_indices;
    range index[MOST_INDICES];
    lap_ref is_near;
} lookup;

static bool begin_lookup(const lap_skip *s, lap_ref at, const lap_coord *env, lookup *out)
{
    lap_lowering *l = s->k->l;
    lap_graph *g = s->k->k;
    const lap_node *n = lap_node_at(l->g, at);
    lap_names src = lap_attr_names(n, LAP_ATTR_SRC);
    *out = (lookup){.n = n, .source = n->args[0], .n_indices = src.n, .is_near = lap_const_b(g, true)};
    if (n->dtype != LAP_BOOL || src.n > MOST_INDICES || lap_node_attr(n, LAP_ATTR_FILL) != NULL ||
        lap_plan_of(l, out->source)->kind == LAP_STORE_INLINE ||
        lap_node_is_ragged(lap_node_at(l->g, out->source))) {
        return false;
    }
    for (uint32_t i = 0; i < src.n; i++) {
        lap_ref index = n->args[i + 1];
        out->index[i] = integer_range(s, index, lap_env_for(s->k, index, n->n_axes, n->axes, env));
        if (!out->index[i].is_known) {
            return false;
        }
        lap_coord between = lap_coord_sub(s->k->c, out->index[i].hi, out->index[i].lo);
        lap_ref few = lap_map2(g, LAP_FN_LE, lap_coord_ref(s->k->c, between), lap_const_i(g, 1));
        out->is_near = lap_map2(g, LAP_FN_AND, out->is_near, few);
    }
    return true;
}

/* The mask where index i is at its upper end when bit i is set; `outside` where it has no such element, which
 * the rows and keys themselves will find out. */
static lap_ref mask_at(const lap_skip *s, const lookup *k, const lap_coord *env, uint32_t ends, bool outside)
{
    lap_lowering *l = s->k->l;
    lap_graph *g = s->k->k;
    const lap_node *x = lap_node_at(l->g, k->source);
    lap_names src = lap_attr_names(k->n, LAP_ATTR_SRC);
    lap_coord *at = lap_arena_array(l->ctx->arena, x->n_axes + 1, sizeof *at);
    lap_ref inside = lap_const_b(g, true);
    for (uint32_t i = 0; i < x->n_axes; i++) {
        uint32_t which = lap_names_find(src, x->axes[i].name);
        if (which == src.n) {
            const lap_axis *a = lap_node_axis(k->n, x->axes[i].name);
            at[i] = env[a - k->n->axes];
            if (!is_free_of_block(s, at[i])) {
                return LAP_NONE;
            }
            continue;
        }
        at[i] = ends >> which & 1 ? k->index[which].hi : k->index[which].lo;
        lap_ref v = lap_coord_ref(s->k->c, at[i]);
        inside = lap_map2(g, LAP_FN_AND, inside, lap_map2(g, LAP_FN_GE, v, lap_const_i(g, 0)));
        inside = lap_map2(g, LAP_FN_AND, inside, lap_map2(g, LAP_FN_LT, v, lap_dim_node(g, x->axes[i].size)));
    }
    lap_ref seen = lap_pull_ref(s->k, k->source, at, inside);
    return lap_map3(g, LAP_FN_SELECT, inside, seen, lap_const_b(g, outside));
}

static lap_ref mask_holds(const lap_skip *s, lap_ref where, const lap_coord *env, lap_extent_of of)
{
    lap_graph *g = s->k->k;
    lookup k;
    if (!begin_lookup(s, where, env, &k)) {
        return LAP_NONE;
    }
    bool is_some = of == LAP_OF_SOME;
    lap_ref holds = LAP_NONE;
    for (uint32_t ends = 0; ends < 1u << k.n_indices; ends++) {
        lap_ref one = mask_at(s, &k, env, ends, is_some);
        if (!lap_ref_some(one)) {
            return LAP_NONE;
        }
        holds = lap_ref_some(holds) ? lap_map2(g, is_some ? LAP_FN_OR : LAP_FN_AND, holds, one) : one;
    }
    return is_some ? lap_map2(g, LAP_FN_OR, holds, lap_map1(g, LAP_FN_NOT, k.is_near))
                   : lap_map2(g, LAP_FN_AND, holds, k.is_near);
}

lap_ref lap_attend_holds(const lap_skip *s, lap_ref where, const lap_coord *env, lap_extent_of of)
{
    lap_lowering *l = s->k->l;
    lap_graph *g = s->k->k;
    const lap_node *n = lap_node_at(l->g, where);
    if (n->op == LAP_OP_CONST || n->op == LAP_OP_FULL) {
        return lap_const_b(g, lap_node_attr(n, LAP_ATTR_VALUE)->scalar.i != 0);
    }
    if (n->op == LAP_OP_AT) {
        return mask_holds(s, where, env, of);
    }
    if (n->op != LAP_OP_MAP || n->n_args > 2 || lap_plan_of(l, where)->kind != LAP_STORE_INLINE) {
        return LAP_NONE;
    }
    lap_fn fn = (lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0);
    const lap_coord *sub[2] = {NULL, NULL};
    for (uint32_t i = 0; i < n->n_args; i++) {
        sub[i] = lap_env_for(s->k, n->args[i], n->n_axes, n->axes, env);
    }
    if (fn == LAP_FN_NOT) {
        lap_extent_of other = of == LAP_OF_ALL ? LAP_OF_SOME : LAP_OF_ALL;
        lap_ref x = lap_attend_holds(s, n->args[0], sub[0], other);
        return lap_ref_some(x) ? lap_map1(g, LAP_FN_NOT, x) : LAP_NONE;
    }
    if (fn == LAP_FN_AND || fn == LAP_FN_OR) {
        return both(s, fn, lap_attend_holds(s, n->args[0], sub[0], of),
                    lap_attend_holds(s, n->args[1], sub[1], of), of);
    }
    if (n->n_args != 2 || lap_node_at(l->g, n->args[0])->dtype == LAP_F32 ||
        lap_node_at(l->g, n->args[1])->dtype == LAP_F32) {
        return LAP_NONE;
    }
    range r[2];
    bounds b[2];
    for (int i = 0; i < 2; i++) {
        r[i] = integer_range(s, n->args[i], sub[i]);
        if (!r[i].is_known) {
            return LAP_NONE;
        }
        b[i] = (bounds){lap_coord_ref(s->k->c, r[i].lo), lap_coord_ref(s->k->c, r[i].hi)};
    }
    return relation(g, fn, b[0], b[1], of);
}
