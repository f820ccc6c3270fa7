/* SPDX-License-Identifier: Apache-2.0
 * grad_map.c - derivatives of the scalar functions, one row each.
 *
 * At a tie of max and min the first operand takes all, so max(x, 0) has slope 1 at 0. */
#include <math.h>

#include "passes/grad_run.h"

/* Operands a, b, c and the result o of the node, its gradient d; fills `to` for the operands. */
typedef struct slope {
    lap_grad_run *r;
    lap_graph *g;
    lap_ref a, b, c, o, d;
    lap_ref to[3];
} slope;

static lap_ref f(const slope *s, double value) { return lap_const_f(s->g, value); }

static lap_ref one(const slope *s, lap_fn fn, lap_ref a) { return lap_map1(s->g, fn, a); }

static lap_ref two(const slope *s, lap_fn fn, lap_ref a, lap_ref b) { return lap_map2(s->g, fn, a, b); }

static lap_ref mul(const slope *s, lap_ref a, lap_ref b) { return two(s, LAP_FN_MUL, a, b); }

static lap_ref pick(const slope *s, lap_ref cond, lap_ref a, lap_ref b)
{
    return lap_map3(s->g, LAP_FN_SELECT, cond, a, b);
}

static void d_same(slope *s) { s->to[0] = s->d; }

static void d_add(slope *s)
{
    s->to[0] = s->d;
    s->to[1] = s->d;
}

static void d_sub(slope *s)
{
    s->to[0] = s->d;
    s->to[1] = one(s, LAP_FN_NEG, s->d);
}

/* Whether x is zero everywhere and the factor has its axes. */
static bool spreads_over(const slope *s, lap_ref x, lap_ref factor)
{
    const lap_node *zeros = lap_node_at(s->g, x), *other = lap_node_at(s->g, factor);
    const lap_attr *value = lap_node_attr(zeros, LAP_ATTR_VALUE);
    if (zeros->op != LAP_OP_FULL || zeros->dtype != LAP_F32 || value->scalar.f != 0.0) {
        return false;
    }
    for (uint32_t i = 0; i < zeros->n_axes; i++) {
        const lap_axis *axis = lap_node_axis(other, zeros->axes[i].name);
        if (axis == NULL || !lap_ref_same(axis->count, zeros->axes[i].count)) {
            return false;
        }
    }
    return true;
}

/* d * factor. A gradient that was spread over axes of the factor (d + zeros, from a sum over them)
 * is taken before: the product is then a contraction that nobody stores. */
static lap_ref times(const slope *s, lap_ref factor)
{
    lap_ref d = s->d;
    const lap_node *n = lap_node_at(s->g, d);
    if (n->op == LAP_OP_MAP && lap_attr_i(n, LAP_ATTR_FN, 0) == LAP_FN_ADD) {
        d = spreads_over(s, n->args[1], factor)   ? n->args[0]
            : spreads_over(s, n->args[0], factor) ? n->args[1]
                                                  : d;
    }
    return mul(s, d, factor);
}

static void d_mul(slope *s)
{
    s->to[0] = times(s, s->b);
    s->to[1] = times(s, s->a);
}

static void d_div(slope *s)
{
    s->to[0] = two(s, LAP_FN_DIV, s->d, s->b);
    s->to[1] = one(s, LAP_FN_NEG, two(s, LAP_FN_DIV, mul(s, s->d, s->o), s->b));
}

static void d_mod(slope *s)
{
    s->to[0] = s->d;
    s->to[1] = one(s, LAP_FN_NEG, mul(s, s->d, one(s, LAP_FN_FLOOR, two(s, LAP_FN_DIV, s->a, s->b))));
}

/* The exponent's share is 0 where the base is 0, as its limit from above. */
static void d_pow(slope *s)
{
    lap_ref less = two(s, LAP_FN_SUB, s->b, f(s, 1));
    s->to[0] = mul(s, mul(s, s->d, s->b), two(s, LAP_FN_POW, s->a, less));
    lap_ref safe = pick(s, two(s, LAP_FN_EQ, s->a, f(s, 0)), f(s, 1), s->a);
    s->to[1] = mul(s, mul(s, s->d, s->o), one(s, LAP_FN_LOG, safe));
}

static void share(slope *s, lap_ref is_first)
{
    s->to[0] = pick(s, is_first, s->d, f(s, 0));
    s->to[1] = pick(s, is_first, f(s, 0), s->d);
}

static void d_max(slope *s) { share(s, two(s, LAP_FN_GE, s->a, s->b)); }

static void d_larger(slope *s) { share(s, one(s, LAP_FN_NOT, two(s, LAP_FN_GT, s->b, s->a))); }

static void d_min(slope *s) { share(s, two(s, LAP_FN_LE, s->a, s->b)); }

static void d_select(slope *s)
{
    s->to[1] = pick(s, s->a, s->d, f(s, 0));
    s->to[2] = pick(s, s->a, f(s, 0), s->d);
}

static void d_neg(slope *s) { s->to[0] = one(s, LAP_FN_NEG, s->d); }

static void d_abs(slope *s) { s->to[0] = mul(s, s->d, one(s, LAP_FN_SIGN, s->a)); }

static void d_exp(slope *s) { s->to[0] = mul(s, s->d, s->o); }

static void d_exp2(slope *s) { s->to[0] = mul(s, mul(s, s->d, s->o), f(s, M_LN2)); }

static void d_log(slope *s) { s->to[0] = two(s, LAP_FN_DIV, s->d, s->a); }

static void d_sqrt(slope *s) { s->to[0] = two(s, LAP_FN_DIV, s->d, mul(s, s->o, f(s, 2))); }

static void d_tanh(slope *s) { s->to[0] = mul(s, s->d, two(s, LAP_FN_SUB, f(s, 1), mul(s, s->o, s->o))); }

static void d_sigmoid(slope *s) { s->to[0] = mul(s, mul(s, s->d, s->o), two(s, LAP_FN_SUB, f(s, 1), s->o)); }

static void d_erf(slope *s)
{
    lap_ref bell = one(s, LAP_FN_EXP, one(s, LAP_FN_NEG, mul(s, s->a, s->a)));
    s->to[0] = mul(s, mul(s, s->d, f(s, M_2_SQRTPI)), bell);
}

static void d_sin(slope *s) { s->to[0] = mul(s, s->d, one(s, LAP_FN_COS, s->a)); }

static void d_cos(slope *s) { s->to[0] = one(s, LAP_FN_NEG, mul(s, s->d, one(s, LAP_FN_SIN, s->a))); }

/* Functions without a row are flat almost everywhere, or not on floats. Rounding to a storage type
 * passes the gradient through. */
static void (*const rules[LAP_N_FNS])(slope *) = {
    [LAP_FN_ADD] = d_add,     [LAP_FN_SUB] = d_sub,         [LAP_FN_MUL] = d_mul,
    [LAP_FN_DIV] = d_div,     [LAP_FN_MOD] = d_mod,         [LAP_FN_POW] = d_pow,
    [LAP_FN_MIN] = d_min,     [LAP_FN_MAX] = d_max, [LAP_FN_LARGER] = d_larger,         [LAP_FN_NEG] = d_neg,
    [LAP_FN_ABS] = d_abs,     [LAP_FN_SELECT] = d_select,   [LAP_FN_EXP] = d_exp,
    [LAP_FN_EXP2] = d_exp2,   [LAP_FN_LOG] = d_log,         [LAP_FN_SQRT] = d_sqrt,
    [LAP_FN_TANH] = d_tanh,   [LAP_FN_SIGMOID] = d_sigmoid, [LAP_FN_ERF] = d_erf,
    [LAP_FN_SIN] = d_sin,     [LAP_FN_COS] = d_cos,         [LAP_FN_FLOAT] = d_same,
    [LAP_FN_TO_F16] = d_same, [LAP_FN_TO_BF16] = d_same,
};

bool lap_grad_is_flat(lap_fn fn, uint32_t i) { return !rules[fn] || (fn == LAP_FN_SELECT && i == 0); }

void lap_grad_map(lap_grad_run *r, const lap_node *n, lap_ref v, lap_ref d)
{
    slope s = {.r = r, .g = r->g, .o = v, .d = d};
    lap_ref *const operands[] = {&s.a, &s.b, &s.c};
    for (uint32_t i = 0; i < n->n_args; i++) {
        *operands[i] = n->args[i];
    }
    lap_fn fn = (lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0);
    rules[fn](&s);
    for (uint32_t i = 0; i < n->n_args; i++) {
        if (!lap_grad_is_flat(fn, i) && lap_grad_leads(r, n->args[i])) {
            lap_grad_push(r, n->args[i], s.to[i]);
        }
    }
}
