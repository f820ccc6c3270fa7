/* SPDX-License-Identifier: Apache-2.0
 * fold.c - simplification when a node is made: constants as values, and the table of rules. */
#include "ir/fold.h"

#include <math.h>

bool lap_fold_splat(const lap_graph *g, lap_ref x, lap_scalar *out)
{
    const lap_node *n = lap_node_at(g, x);
    if (n->op != LAP_OP_CONST && n->op != LAP_OP_FULL) {
        return false;
    }
    *out = lap_node_attr(n, LAP_ATTR_VALUE)->scalar;
    return true;
}

lap_ref lap_fold_number(lap_graph *g, lap_scalar value, const lap_type *type)
{
    if (type->n_axes > 0) {
        return lap_full(g, value, type->n_axes, type->axes);
    }
    switch (value.dtype) {
    case LAP_F32:
        return lap_const_f(g, value.f);
    case LAP_BOOL:
        return lap_const_b(g, value.i != 0);
    default:
        return lap_const_i(g, value.i);
    }
}

bool lap_fold_extent(const lap_graph *g, lap_ref x, lap_dim *out)
{
    const lap_node *n = lap_node_at(g, x);
    if (n->op == LAP_OP_DIM) {
        *out = lap_attr_dim(n, LAP_ATTR_DIM);
        return true;
    }
    if (n->op != LAP_OP_CONST || n->dtype != LAP_I64) {
        return false;
    }
    *out = lap_dim_const(lap_graph_ctx(g), lap_node_attr(n, LAP_ATTR_VALUE)->scalar.i);
    return true;
}

bool lap_fold_relation(const lap_graph *g, lap_ref x, lap_dim *out_a, lap_rel *out_rel, lap_dim *out_b)
{
    static const struct {
        lap_fn fn;
        lap_rel rel;
    } relations[] = {{LAP_FN_EQ, LAP_REL_EQ}, {LAP_FN_NE, LAP_REL_NE}, {LAP_FN_LT, LAP_REL_LT},
                     {LAP_FN_LE, LAP_REL_LE}, {LAP_FN_GT, LAP_REL_GT}, {LAP_FN_GE, LAP_REL_GE}};
    const lap_node *n = lap_node_at(g, x);
    if (n->op != LAP_OP_MAP) {
        return false;
    }
    for (size_t i = 0; i < sizeof relations / sizeof *relations; i++) {
        if (lap_attr_i(n, LAP_ATTR_FN, LAP_N_FNS) == (int64_t)relations[i].fn) {
            *out_rel = relations[i].rel;
            return lap_fold_extent(g, n->args[0], out_a) && lap_fold_extent(g, n->args[1], out_b);
        }
    }
    return false;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static int64_t wrap(uint64_t x) { return (int64_t)x; }

static bool integer_scalar(lap_fn fn, int64_t a, int64_t b, int64_t *out)
{
    /* INT64_MIN / -1 wraps; both it and a zero divisor must not reach the processor. */
    int64_t q = b == 0 ? 0 : b == -1 ? wrap(0 - (uint64_t)a) : a / b - (a % b != 0 && (a < 0) != (b < 0));
    switch (fn) {
    case LAP_FN_ADD:
        *out = wrap((uint64_t)a + (uint64_t)b);
        return true;
    case LAP_FN_SUB:
        *out = wrap((uint64_t)a - (uint64_t)b);
        return true;
    case LAP_FN_MUL:
        *out = wrap((uint64_t)a * (uint64_t)b);
        return true;
    case LAP_FN_IDIV:
        *out = q;
        return true;
    case LAP_FN_MOD:
        *out = b == 0 ? 0 : wrap((uint64_t)a - (uint64_t)q * (uint64_t)b);
        return true;
    case LAP_FN_MIN:
        *out = a < b ? a : b;
        return true;
    case LAP_FN_MAX:
        *out = a > b ? a : b;
        return true;
    case LAP_FN_NEG:
        *out = wrap(0 - (uint64_t)a);
        return true;
    case LAP_FN_ABS:
        *out = a < 0 ? wrap(0 - (uint64_t)a) : a;
        return true;
    case LAP_FN_SIGN:
        *out = (a > 0) - (a < 0);
        return true;
    case LAP_FN_INT:
        *out = a;
        return true;
    default:
        return false;
    }
}

static double float_mod(double a, double b)
{
    double r = fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static double sigmoid(double a) { return 1 / (1 + exp(-a)); }

static bool float_scalar(lap_fn fn, double a, double b, double *out)
{
    typedef double function(double);
    static function *const functions[LAP_N_FNS] = {
        [LAP_FN_EXP] = exp,   [LAP_FN_EXP2] = exp2,       [LAP_FN_LOG] = log,     [LAP_FN_SQRT] = sqrt,
        [LAP_FN_TANH] = tanh, [LAP_FN_SIGMOID] = sigmoid, [LAP_FN_ERF] = erf,     [LAP_FN_SIN] = sin,
        [LAP_FN_COS] = cos,   [LAP_FN_ABS] = fabs,        [LAP_FN_FLOOR] = floor, [LAP_FN_ROUND] = nearbyint,
    };
    if (functions[fn]) {
        *out = functions[fn](a);
        return true;
    }
    switch (fn) {
    case LAP_FN_LARGER:
        *out = b > a ? b : a;
        return true;
    case LAP_FN_ADD:
        *out = a + b;
        return true;
    case LAP_FN_SUB:
        *out = a - b;
        return true;
    case LAP_FN_MUL:
        *out = a * b;
        return true;
    case LAP_FN_DIV:
        *out = a / b;
        return true;
    case LAP_FN_IDIV:
        *out = floor(a / b);
        return b != 0;
    case LAP_FN_MOD:
        *out = float_mod(a, b);
        return b != 0;
    case LAP_FN_POW:
        *out = pow(a, b);
        return true;
    case LAP_FN_MIN:
        *out = a < b ? a : b;
        return !isnan(a) && !isnan(b);
    case LAP_FN_MAX:
        *out = a > b ? a : b;
        return !isnan(a) && !isnan(b);
    case LAP_FN_NEG:
        *out = -a;
        return true;
    case LAP_FN_SIGN:
        *out = (a > 0) - (a < 0);
        return !isnan(a);
    case LAP_FN_FLOAT:
        *out = a;
        return true;
    default:
        return false;
    }
}

static bool compare_scalar(lap_fn fn, bool less, bool same, bool ordered, bool *out)
{
    switch (fn) {
    case LAP_FN_LT:
        *out = less;
        return true;
    case LAP_FN_LE:
        *out = less || same;
        return true;
    case LAP_FN_GT:
        *out = ordered && !less && !same;
        return true;
    case LAP_FN_GE:
        *out = ordered && !less;
        return true;
    case LAP_FN_EQ:
        *out = same;
        return true;
    case LAP_FN_NE:
        *out = !same;
        return true;
    default:
        return false;
    }
}

static double as_float(lap_scalar s) { return s.dtype == LAP_F32 ? s.f : (double)s.i; }

static bool truth(lap_scalar s) { return s.dtype == LAP_F32 ? s.f != 0 : s.i != 0; }

static bool bool_scalar(lap_fn fn, lap_scalar a, lap_scalar b, bool *out)
{
    switch (fn) {
    case LAP_FN_AND:
        *out = truth(a) && truth(b);
        return true;
    case LAP_FN_OR:
        *out = truth(a) || truth(b);
        return true;
    case LAP_FN_NOT:
        *out = !truth(a);
        return true;
    default:
        break;
    }
    if (a.dtype == LAP_F32 || b.dtype == LAP_F32) {
        double x = as_float(a), y = as_float(b);
        return compare_scalar(fn, x < y, x == y, !isnan(x) && !isnan(y), out);
    }
    return compare_scalar(fn, a.i < b.i, a.i == b.i, true, out);
}

static int64_t towards_zero(double f)
{
    if (isnan(f)) {
        return 0;
    }
    return f >= 0x1p63 ? INT64_MAX : f < -0x1p63 ? INT64_MIN : (int64_t)f;
}

bool lap_fold_scalar(lap_fn fn, lap_dtype dtype, const lap_scalar *args, lap_scalar *out)
{
    lap_scalar b = lap_fn_arity(fn) > 1 ? args[1] : lap_scalar_i(0);
    if (fn == LAP_FN_SELECT) {
        *out = truth(args[0]) ? args[1] : args[2];
        if (dtype == LAP_F32) {
            *out = lap_scalar_f(as_float(*out));
        }
        return out->dtype == dtype;
    }
    if (dtype == LAP_BOOL) {
        bool held = false;
        bool ok = bool_scalar(fn, args[0], b, &held);
        *out = lap_scalar_b(held);
        return ok;
    }
    if (dtype == LAP_F32) {
        *out = lap_scalar_f(0);
        return float_scalar(fn, as_float(args[0]), as_float(b), &out->f);
    }
    if (fn == LAP_FN_INT && args[0].dtype == LAP_F32) {
        *out = lap_scalar_i(towards_zero(args[0].f));
        return true;
    }
    if (dtype != LAP_I64 || args[0].dtype == LAP_F32 || b.dtype == LAP_F32) {
        return false;
    }
    *out = lap_scalar_i(0);
    return integer_scalar(fn, args[0].i, b.i, &out->i);
}

/* ---- the table ------------------------------------------------------------------------------ */

static lap_ref fold_leaf(lap_graph *g, const lap_emit_args *e, const lap_type *type)
{
    int64_t value;
    if (e->op == LAP_OP_DIM && lap_dim_is_const(lap_graph_ctx(g), e->attrs[0].dim, &value)) {
        return lap_const_i(g, value);
    }
    if (e->op == LAP_OP_FULL && type->n_axes == 0) {
        return lap_fold_number(g, e->attrs[0].scalar, type);
    }
    return LAP_NONE;
}

lap_ref lap_fold(lap_graph *g, const lap_emit_args *e, const lap_type *type)
{
    switch (e->op) {
    case LAP_OP_DIM:
    case LAP_OP_FULL:
        return fold_leaf(g, e, type);
    case LAP_OP_MAP:
        return lap_fold_map(g, (lap_fn)e->attrs[0].i, e->args, type);
    case LAP_OP_REDUCE:
        for (uint32_t i = 0; i < e->n_attrs; i++) {
            if (e->attrs[i].key == LAP_ATTR_OVER && e->attrs[i].names.n == 0 &&
                lap_node_has_type(lap_node_at(g, e->args[0]), type)) {
                return e->args[0];
            }
        }
        return LAP_NONE;
    case LAP_OP_AT:
        return lap_fold_at(g, e, type);
    case LAP_OP_RENAME:
        return lap_fold_rename(g, e, type);
    default:
        return LAP_NONE;
    }
}
