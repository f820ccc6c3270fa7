/* SPDX-License-Identifier: Apache-2.0
 * fold_map.c - rules for scalar functions: constants, extents, idle operands.
 *
 * An operand may only stand for the result when its type is the result's, so x + 0 over an axis that
 * x lacks stays. Constants stand on the right where the function allows it. */
#include "ir/fold.h"

#include <math.h>

static lap_ref number(lap_graph *g, lap_scalar value, const lap_type *type)
{
    if (type->dtype == LAP_F32 && value.dtype != LAP_F32) {
        value = lap_scalar_f((double)value.i);
    }
    value.dtype = type->dtype;
    return lap_fold_number(g, value, type);
}

static lap_ref same_if_fits(const lap_graph *g, lap_ref x, const lap_type *type)
{
    return lap_node_has_type(lap_node_at(g, x), type) ? x : LAP_NONE;
}

static bool is_integer(const lap_graph *g, lap_ref x)
{
    lap_dtype t = lap_dtype_compute(lap_node_at(g, x)->dtype);
    return t == LAP_I64 || t == LAP_BOOL;
}

/* The operand of a map of this one function. */
static bool is_map_of(const lap_graph *g, lap_ref x, lap_fn fn, lap_ref *out_arg)
{
    const lap_node *n = lap_node_at(g, x);
    if (n->op != LAP_OP_MAP || lap_attr_i(n, LAP_ATTR_FN, LAP_N_FNS) != fn) {
        return false;
    }
    *out_arg = n->args[0];
    return true;
}

static bool value_is(lap_scalar s, double value)
{
    return s.dtype == LAP_F32 ? s.f == value : (double)s.i == value;
}

/* ---- constants ------------------------------------------------------------------------------ */

static lap_ref fold_constants(lap_graph *g, lap_fn fn, const lap_ref *args, const lap_type *type)
{
    lap_scalar values[3], out;
    for (unsigned i = 0; i < lap_fn_arity(fn); i++) {
        if (!lap_fold_splat(g, args[i], &values[i])) {
            return LAP_NONE;
        }
    }
    return lap_fold_scalar(fn, type->dtype, values, &out) ? number(g, out, type) : LAP_NONE;
}

/* An integer constant that meets floats is a float constant. */
static lap_ref promote(lap_graph *g, lap_fn fn, const lap_ref *args, const lap_type *type)
{
    unsigned n = lap_fn_arity(fn);
    lap_ref mapped[3];
    bool changed = false;
    for (unsigned i = 0; i < n; i++) {
        const lap_node *a = lap_node_at(g, args[i]);
        lap_scalar value;
        mapped[i] = args[i];
        bool condition = fn == LAP_FN_SELECT && i == 0;
        if (!condition && a->dtype == LAP_I64 && lap_fold_splat(g, args[i], &value)) {
            lap_type as_float = {LAP_F32, a->n_axes, a->axes};
            mapped[i] = number(g, value, &as_float);
            changed = true;
        }
    }
    bool compares = type->dtype == LAP_BOOL && n == 2 && fn != LAP_FN_AND && fn != LAP_FN_OR &&
                    (lap_dtype_compute(lap_node_at(g, args[0])->dtype) == LAP_F32 ||
                     lap_dtype_compute(lap_node_at(g, args[1])->dtype) == LAP_F32);
    if (!changed || (type->dtype != LAP_F32 && !compares) || n < 2) {
        return LAP_NONE;
    }
    return n == 2 ? lap_map2(g, fn, mapped[0], mapped[1]) : lap_map3(g, fn, mapped[0], mapped[1], mapped[2]);
}

/* The same function with its operands the other way round; LAP_N_FNS: there is none. */
static lap_fn mirrored(lap_fn fn)
{
    switch (fn) {
    case LAP_FN_ADD:
    case LAP_FN_MUL:
    case LAP_FN_MIN:
    case LAP_FN_MAX:
    case LAP_FN_EQ:
    case LAP_FN_NE:
    case LAP_FN_AND:
    case LAP_FN_OR:
        return fn;
    case LAP_FN_LT:
        return LAP_FN_GT;
    case LAP_FN_LE:
        return LAP_FN_GE;
    case LAP_FN_GT:
        return LAP_FN_LT;
    case LAP_FN_GE:
        return LAP_FN_LE;
    default:
        return LAP_N_FNS;
    }
}

static lap_ref constant_right(lap_graph *g, lap_fn fn, const lap_ref *args)
{
    lap_scalar value;
    if (lap_fn_arity(fn) != 2 || mirrored(fn) == LAP_N_FNS || !lap_fold_splat(g, args[0], &value) ||
        lap_fold_splat(g, args[1], &value)) {
        return LAP_NONE;
    }
    return lap_map2(g, mirrored(fn), args[1], args[0]);
}

/* ---- extents -------------------------------------------------------------------------------- */

static lap_ref truth_number(lap_graph *g, lap_truth t)
{
    return t == LAP_UNKNOWN ? LAP_NONE : lap_const_b(g, t == LAP_YES);
}

static lap_ref fold_extents(lap_graph *g, lap_fn fn, const lap_ref *args)
{
    static const struct {
        lap_fn fn;
        lap_rel rel;
    } relations[] = {
        {LAP_FN_LT, LAP_REL_LT}, {LAP_FN_LE, LAP_REL_LE}, {LAP_FN_GT, LAP_REL_GT},
        {LAP_FN_GE, LAP_REL_GE}, {LAP_FN_EQ, LAP_REL_EQ}, {LAP_FN_NE, LAP_REL_NE},
    };
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_dim a, b = lap_dim_const(ctx, 0);
    unsigned n = lap_fn_arity(fn);
    if (n > 2 || !lap_fold_extent(g, args[0], &a) || (n == 2 && !lap_fold_extent(g, args[1], &b))) {
        return LAP_NONE;
    }
    for (size_t i = 0; i < sizeof relations / sizeof *relations; i++) {
        if (relations[i].fn == fn) {
            return truth_number(g, lap_dim_compare(ctx, a, relations[i].rel, b));
        }
    }
    /* Both quotients are 0 where the divisor is, but the remainders differ there. */
    lap_dim zero = lap_dim_const(ctx, 0);
    bool divides = lap_dim_compare(ctx, b, LAP_REL_GE, zero) == LAP_YES && !lap_dim_same(b, zero);
    bool positive = lap_dim_compare(ctx, b, LAP_REL_GT, zero) == LAP_YES;
    switch (fn) {
    case LAP_FN_ADD:
        return lap_dim_node(g, lap_dim_add(ctx, a, b));
    case LAP_FN_SUB:
        return lap_dim_node(g, lap_dim_sub(ctx, a, b));
    case LAP_FN_MUL:
        return lap_dim_node(g, lap_dim_mul(ctx, a, b));
    case LAP_FN_MIN:
        return lap_dim_node(g, lap_dim_min(ctx, a, b));
    case LAP_FN_MAX:
        return lap_dim_node(g, lap_dim_max(ctx, a, b));
    case LAP_FN_NEG:
        return lap_dim_node(g, lap_dim_sub(ctx, lap_dim_const(ctx, 0), a));
    case LAP_FN_IDIV:
        return divides ? lap_dim_node(g, lap_dim_floordiv(ctx, a, b)) : LAP_NONE;
    case LAP_FN_MOD:
        return positive ? lap_dim_node(g, lap_dim_mod(ctx, a, b)) : LAP_NONE;
    case LAP_FN_INT:
        return args[0];
    default:
        return LAP_NONE;
    }
}

/* ---- idle operands -------------------------------------------------------------------------- */

static lap_ref fold_power(lap_graph *g, lap_ref x, lap_scalar exponent, const lap_type *type)
{
    if (value_is(exponent, 1)) {
        lap_ref same = same_if_fits(g, x, type);
        return lap_ref_some(same) ? same : LAP_NONE;
    }
    if (value_is(exponent, 0)) {
        return number(g, lap_scalar_f(1), type);
    }
    if (lap_node_at(g, x)->n_axes != type->n_axes) {
        return LAP_NONE;
    }
    if (value_is(exponent, 0.5)) {
        return lap_map1(g, LAP_FN_SQRT, x);
    }
    if (value_is(exponent, -1)) {
        return lap_map2(g, LAP_FN_DIV, lap_const_f(g, 1), x);
    }
    bool is_float = lap_dtype_compute(lap_node_at(g, x)->dtype) == LAP_F32;
    return value_is(exponent, 2) && is_float ? lap_map2(g, LAP_FN_MUL, x, x) : LAP_NONE;
}

/* x fn c, with c a constant. */
static lap_ref fold_right(lap_graph *g, lap_fn fn, lap_ref x, lap_scalar c, const lap_type *type)
{
    bool integers = type->dtype == LAP_I64;
    switch (fn) {
    case LAP_FN_ADD:
    case LAP_FN_SUB:
        return value_is(c, 0) ? same_if_fits(g, x, type) : LAP_NONE;
    case LAP_FN_MUL:
        return value_is(c, 1)               ? same_if_fits(g, x, type)
               : integers && value_is(c, 0) ? number(g, lap_scalar_i(0), type)
                                            : LAP_NONE;
    case LAP_FN_DIV:
        return value_is(c, 1) ? same_if_fits(g, x, type) : LAP_NONE;
    case LAP_FN_IDIV:
        return integers && value_is(c, 1) ? same_if_fits(g, x, type) : LAP_NONE;
    case LAP_FN_MOD:
        return integers && value_is(c, 1) ? number(g, lap_scalar_i(0), type) : LAP_NONE;
    case LAP_FN_POW:
        return fold_power(g, x, c, type);
    case LAP_FN_MIN:
        return c.dtype == LAP_F32 && c.f == INFINITY ? same_if_fits(g, x, type) : LAP_NONE;
    case LAP_FN_MAX:
        return c.dtype == LAP_F32 && c.f == -INFINITY ? same_if_fits(g, x, type) : LAP_NONE;
    case LAP_FN_AND:
        return value_is(c, 0) ? number(g, lap_scalar_b(false), type) : same_if_fits(g, x, type);
    case LAP_FN_OR:
        return value_is(c, 0) ? same_if_fits(g, x, type) : number(g, lap_scalar_b(true), type);
    default:
        return LAP_NONE;
    }
}

/* x fn x. */
static lap_ref fold_same(lap_graph *g, lap_fn fn, lap_ref x, const lap_type *type)
{
    bool integers = is_integer(g, x);
    switch (fn) {
    case LAP_FN_AND:
    case LAP_FN_OR:
    case LAP_FN_MIN:
    case LAP_FN_LARGER:
    case LAP_FN_MAX:
        return same_if_fits(g, x, type);
    case LAP_FN_SUB:
        return integers ? number(g, lap_scalar_i(0), type) : LAP_NONE;
    case LAP_FN_EQ:
    case LAP_FN_LE:
    case LAP_FN_GE:
        return integers ? number(g, lap_scalar_b(true), type) : LAP_NONE;
    case LAP_FN_NE:
    case LAP_FN_LT:
    case LAP_FN_GT:
        return integers ? number(g, lap_scalar_b(false), type) : LAP_NONE;
    default:
        return LAP_NONE;
    }
}

/* A coordinate is at least 0 and less than its axis's size. */
static lap_ref fold_coordinate(lap_graph *g, lap_fn fn, const lap_ref *args, const lap_type *type)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    const lap_node *i = lap_node_at(g, args[0]);
    lap_dim bound;
    if (i->op != LAP_OP_INDEX || !lap_fold_extent(g, args[1], &bound)) {
        return LAP_NONE;
    }
    lap_dim size = i->axes[0].size, zero = lap_dim_const(ctx, 0);
    lap_dim past = lap_dim_add(ctx, bound, lap_dim_const(ctx, 1));
    bool below = lap_dim_compare(ctx, size, LAP_REL_LE, bound) == LAP_YES;    /* every i < bound */
    bool at_most = lap_dim_compare(ctx, size, LAP_REL_LE, past) == LAP_YES;   /* every i <= bound */
    bool at_least = lap_dim_compare(ctx, bound, LAP_REL_LE, zero) == LAP_YES; /* every i >= bound */
    bool above = lap_dim_compare(ctx, bound, LAP_REL_LT, zero) == LAP_YES;    /* every i > bound */
    switch (fn) {
    case LAP_FN_LT:
        return below || at_least ? number(g, lap_scalar_b(below), type) : LAP_NONE;
    case LAP_FN_LE:
        return at_most || above ? number(g, lap_scalar_b(at_most), type) : LAP_NONE;
    case LAP_FN_GE:
        return at_least || below ? number(g, lap_scalar_b(at_least), type) : LAP_NONE;
    case LAP_FN_GT:
        return above || at_most ? number(g, lap_scalar_b(above), type) : LAP_NONE;
    case LAP_FN_MIN:
        return at_most ? args[0] : LAP_NONE;
    case LAP_FN_MAX:
        return at_least ? args[0] : LAP_NONE;
    case LAP_FN_MOD:
        return below ? args[0] : LAP_NONE;
    case LAP_FN_IDIV:
        return below ? number(g, lap_scalar_i(0), type) : LAP_NONE;
    default:
        return LAP_NONE;
    }
}

static lap_ref fold_select(lap_graph *g, const lap_ref *args, const lap_type *type)
{
    lap_scalar c, yes, no;
    lap_ref inner;
    if (type->dtype == LAP_BOOL && lap_fold_splat(g, args[1], &yes) && lap_fold_splat(g, args[2], &no) &&
        yes.i != no.i && lap_node_at(g, args[0])->n_axes == type->n_axes) {
        return yes.i ? args[0] : lap_map1(g, LAP_FN_NOT, args[0]);
    }
    if (lap_ref_same(args[1], args[2])) {
        return same_if_fits(g, args[1], type);
    }
    if (lap_fold_splat(g, args[0], &c)) {
        return same_if_fits(g, args[value_is(c, 0) ? 2 : 1], type);
    }
    if (is_map_of(g, args[0], LAP_FN_NOT, &inner)) {
        return lap_map3(g, LAP_FN_SELECT, inner, args[2], args[1]);
    }
    return LAP_NONE;
}

/* The opposite comparison; only integers are always ordered. */
static lap_ref fold_not(lap_graph *g, lap_ref x, const lap_type *type)
{
    static const lap_fn opposite[LAP_N_FNS] = {
        [LAP_FN_LT] = LAP_FN_GE, [LAP_FN_GE] = LAP_FN_LT, [LAP_FN_GT] = LAP_FN_LE,
        [LAP_FN_LE] = LAP_FN_GT, [LAP_FN_EQ] = LAP_FN_NE, [LAP_FN_NE] = LAP_FN_EQ,
    };
    const lap_node *n = lap_node_at(g, x);
    if (n->op != LAP_OP_MAP) {
        return LAP_NONE;
    }
    lap_fn fn = (lap_fn)lap_attr_i(n, LAP_ATTR_FN, LAP_FN_NOT);
    if (fn == LAP_FN_NOT) {
        return same_if_fits(g, n->args[0], type);
    }
    if (opposite[fn] == LAP_FN_ADD || !is_integer(g, n->args[0]) || !is_integer(g, n->args[1])) {
        return LAP_NONE;
    }
    return lap_map2(g, opposite[fn], n->args[0], n->args[1]);
}

static lap_ref fold_unary(lap_graph *g, lap_fn fn, lap_ref x, const lap_type *type)
{
    lap_ref inner;
    switch (fn) {
    case LAP_FN_NEG:
        return is_map_of(g, x, fn, &inner) ? same_if_fits(g, inner, type) : LAP_NONE;
    case LAP_FN_NOT:
        return fold_not(g, x, type);
    case LAP_FN_ABS:
    case LAP_FN_SIGN:
    case LAP_FN_FLOOR:
    case LAP_FN_ROUND:
        return is_map_of(g, x, fn, &inner) ? x : LAP_NONE;
    case LAP_FN_INT:
    case LAP_FN_FLOAT:
    case LAP_FN_TO_F16:
    case LAP_FN_TO_BF16:
    case LAP_FN_TO_I32:
    case LAP_FN_TO_I8:
    case LAP_FN_TO_I4:
        return same_if_fits(g, x, type);
    default:
        return LAP_NONE;
    }
}

lap_ref lap_fold_map(lap_graph *g, lap_fn fn, const lap_ref *args, const lap_type *type)
{
    lap_ref out = fold_constants(g, fn, args, type);
    if (!lap_ref_some(out)) {
        out = fold_extents(g, fn, args);
    }
    if (!lap_ref_some(out)) {
        out = promote(g, fn, args, type);
    }
    if (!lap_ref_some(out)) {
        out = constant_right(g, fn, args);
    }
    if (lap_ref_some(out)) {
        return out;
    }
    unsigned n = lap_fn_arity(fn);
    lap_scalar c;
    if (n == 1) {
        return fold_unary(g, fn, args[0], type);
    }
    if (n == 3) {
        return fold_select(g, args, type);
    }
    if (lap_ref_same(args[0], args[1])) {
        out = fold_same(g, fn, args[0], type);
    }
    if (!lap_ref_some(out) && lap_fold_splat(g, args[1], &c)) {
        out = fold_right(g, fn, args[0], c, type);
    }
    if (!lap_ref_some(out)) {
        out = fold_coordinate(g, fn, args, type);
    }
    return out;
}
