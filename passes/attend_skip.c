/* SPDX-License-Identifier: Apache-2.0
 * attend_skip.c - the class of a block of rows and keys, empty, full or partial: interval arithmetic on
 * the predicate, over rows m0 .. m0 + rows - 1 and keys key0 .. key0 + keys - 1.
 *
 * What is not understood (data, floats) counts as partial, so nothing that is seen is skipped. */
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

static range integer_range(const lap_skip *s, lap_ref r, const lap_coord *env)
{
    lap_lowering *l = s->k->l;
    lap_coords *c = s->k->c;
    const lap_node *n = lap_node_at(l->g, r);
    if (lap_plan_of(l, r)->is_plain) {
        range whole = affine_range(s, lap_pull(s->k, r, env, LAP_NONE).coord);
        if (whole.is_known) {
            return whole;
        }
    }
    if (n->op != LAP_OP_MAP || n->dtype == LAP_F32 || n->n_args > 2) {
        return unknown();
    }
    range v[2] = {unknown(), unknown()};
    for (uint32_t i = 0; i < n->n_args; i++) {
        v[i] = integer_range(s, n->args[i], lap_env_for(s->k, n->args[i], n->n_axes, n->axes, env));
        if (!v[i].is_known) {
            return unknown();
        }
    }
    lap_coord zero = lap_coord_const(c, 0);
    switch ((lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0)) {
    case LAP_FN_ADD:
        return (range){lap_coord_add(c, v[0].lo, v[1].lo), lap_coord_add(c, v[0].hi, v[1].hi), true};
    case LAP_FN_SUB:
        return (range){lap_coord_sub(c, v[0].lo, v[1].hi), lap_coord_sub(c, v[0].hi, v[1].lo), true};
    case LAP_FN_ABS: {
        lap_coord minus_lo = lap_coord_sub(c, zero, v[0].lo), minus_hi = lap_coord_sub(c, zero, v[0].hi);
        lap_coord least = lap_coord_max(c, lap_coord_max(c, v[0].lo, minus_hi), zero);
        return (range){least, lap_coord_max(c, minus_lo, v[0].hi), true};
    }
    case LAP_FN_IDIV:
        if (lap_node_at(l->g, n->args[1])->op != LAP_OP_CONST || !lap_coord_divides(c, v[1].lo)) {
            return unknown();
        }
        return (range){lap_coord_floordiv(c, v[0].lo, v[1].lo), lap_coord_floordiv(c, v[0].hi, v[1].lo),
                       true};
    default:
        return unknown();
    }
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

lap_ref lap_attend_holds(const lap_skip *s, lap_ref where, const lap_coord *env, lap_extent_of of)
{
    lap_lowering *l = s->k->l;
    lap_graph *g = s->k->k;
    const lap_node *n = lap_node_at(l->g, where);
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
