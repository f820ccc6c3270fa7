/* SPDX-License-Identifier: Apache-2.0
 * quasi_div.c - quotients, remainders, minima and maxima of expressions.
 *
 * A quotient is taken apart in this order: whole multiples of the divisor leave it, a rest inside the
 * divisor's range vanishes, a common factor is divided out, a quotient inside is merged. Everything
 * that splits and merges axes comes down to these four. */
#include "ir/quasi_table.h"

/* A coefficient's part that the divisor divides. Constants round towards zero: -x stays -x rather than
 * (k-1)*x - k*x, which would be as canonical but costs more to compute. */
static lap_dim whole_part(lap_ctx *ctx, lap_dim c, lap_dim b, lap_dim *out_rest)
{
    int64_t x, k;
    if (lap_dim_is_const(ctx, c, &x) && lap_dim_is_const(ctx, b, &k)) {
        *out_rest = lap_dim_const(ctx, x % k);
        return lap_dim_const(ctx, x / k);
    }
    lap_dim whole = lap_dim_whole(ctx, c, b, out_rest);
    lap_dim negative = lap_dim_sub(ctx, lap_dim_const(ctx, 0), c), rest;
    lap_dim other = lap_dim_whole(ctx, negative, b, &rest);
    if (!rest.ix) {
        *out_rest = rest;
        return lap_dim_sub(ctx, lap_dim_const(ctx, 0), other);
    }
    return whole;
}

/* a = q*b + r. */
static lap_qx pull_whole(lap_quasi *q, lap_qx a, lap_dim b, lap_qx *out_r)
{
    lap_qexpr x = lap_qexpr_of(q, a);
    lap_dim rest;
    lap_qx whole = lap_quasi_dim(q, lap_dim_whole(q->ctx, x.c, b, &rest));
    lap_qx r = lap_quasi_dim(q, rest);
    for (uint32_t i = 0; i < x.n; i++) {
        lap_dim part = whole_part(q->ctx, x.at[i].c, b, &rest);
        whole = lap_quasi_add(q, whole, lap_quasi_of_term(q, (lap_qterm){x.at[i].atom, part}));
        r = lap_quasi_add(q, r, lap_quasi_of_term(q, (lap_qterm){x.at[i].atom, rest}));
    }
    *out_r = r;
    return whole;
}

/* The whole multiple of b that all values of r share beyond a remainder: r in [t*b, t*b + b). */
static bool in_one_block(lap_quasi *q, lap_qx r, lap_dim b, lap_dim *out_t)
{
    lap_dim low;
    if (!lap_quasi_lower(q, r, &low)) {
        return false;
    }
    *out_t = lap_dim_floordiv(q->ctx, low, b);
    lap_qx base = lap_quasi_sub(q, r, lap_quasi_dim(q, lap_dim_mul(q->ctx, *out_t, b)));
    return lap_quasi_is_below(q, base, lap_quasi_dim(q, b));
}

static lap_dim common_factor(lap_ctx *ctx, lap_dim c, lap_dim b)
{
    int64_t x, k;
    if (lap_dim_is_const(ctx, c, &x) && lap_dim_is_const(ctx, b, &k)) {
        while (k) {
            int64_t rest = x % k;
            x = k;
            k = rest;
        }
        return lap_dim_const(ctx, x < 0 ? -x : x);
    }
    lap_dim rest;
    lap_dim times = lap_dim_whole(ctx, b, c, &rest);
    return times.ix && !rest.ix ? c : lap_dim_const(ctx, 1);
}

/* r = g*r1 + r0 with 0 <= r0 < g and b = g*b1: floor(r/b) = floor(r1/b1). */
static bool divide_out(lap_quasi *q, lap_qx r, lap_dim b, lap_qx *out)
{
    lap_qexpr x = lap_qexpr_of(q, r);
    for (uint32_t i = 0; i < x.n; i++) {
        lap_dim g = common_factor(q->ctx, x.at[i].c, b), rest;
        lap_dim b1 = lap_dim_whole(q->ctx, b, g, &rest);
        int64_t one;
        if (rest.ix || !b1.ix || lap_dim_same(b1, b) || (lap_dim_is_const(q->ctx, b1, &one) && one == 1)) {
            continue;
        }
        lap_qx r0;
        lap_qx r1 = pull_whole(q, r, g, &r0);
        if (lap_quasi_is_below(q, r0, lap_quasi_dim(q, g))) {
            *out = lap_quasi_floordiv(q, r1, lap_quasi_dim(q, b1));
            return true;
        }
    }
    return false;
}

/* floor((floor(e/k) + rest) / b) = floor((e + k*rest) / (k*b)). */
static bool unnest(lap_quasi *q, lap_qx r, lap_dim b, lap_qx *out)
{
    lap_qexpr x = lap_qexpr_of(q, r);
    lap_dim one = lap_dim_const(q->ctx, 1), k;
    for (uint32_t i = 0; i < x.n; i++) {
        lap_qatom atom = q->atoms[x.at[i].atom];
        if (atom.kind != LAP_Q_FLOOR || !lap_dim_same(x.at[i].c, one) || !lap_quasi_is_dim(q, atom.b, &k)) {
            continue;
        }
        lap_qterm minus = {x.at[i].atom, lap_dim_const(q->ctx, -1)};
        lap_qx rest = lap_quasi_add(q, r, lap_quasi_of_term(q, minus));
        lap_qx above = lap_quasi_add(q, atom.a, lap_quasi_scale(q, rest, k));
        *out = lap_quasi_floordiv(q, above, lap_quasi_dim(q, lap_dim_mul(q->ctx, k, b)));
        return true;
    }
    return false;
}

static lap_qx divide_by_dim(lap_quasi *q, lap_qx a, lap_dim b)
{
    lap_ctx *ctx = q->ctx;
    int64_t k;
    if (lap_dim_is_const(ctx, b, &k) && k < 0) {
        return divide_by_dim(q, lap_quasi_neg(q, a), lap_dim_const(ctx, -k));
    }
    lap_dim value, t;
    if (!b.ix || lap_quasi_is_dim(q, a, &value)) {
        return b.ix ? lap_quasi_dim(q, lap_dim_floordiv(ctx, value, b)) : lap_quasi_const(q, 0);
    }
    lap_qx r, out;
    lap_qx whole = pull_whole(q, a, b, &r);
    if (lap_quasi_is_dim(q, r, &value)) {
        return lap_quasi_add(q, whole, lap_quasi_dim(q, lap_dim_floordiv(ctx, value, b)));
    }
    if (lap_quasi_is_below(q, r, lap_quasi_dim(q, b))) {
        return whole;
    }
    if (in_one_block(q, r, b, &t)) {
        return lap_quasi_add(q, whole, lap_quasi_dim(q, t));
    }
    if (!divide_out(q, r, b, &out) && !unnest(q, r, b, &out)) {
        out = lap_quasi_of_atom(q, &(lap_qatom){.kind = LAP_Q_FLOOR, .a = r, .b = lap_quasi_dim(q, b)});
    }
    return lap_quasi_add(q, whole, out);
}

lap_qx lap_quasi_floordiv(lap_quasi *q, lap_qx a, lap_qx b)
{
    lap_dim d;
    if (lap_quasi_is_dim(q, b, &d)) {
        return divide_by_dim(q, a, d);
    }
    if (!a.ix || lap_quasi_is_below(q, a, b)) {
        return lap_quasi_const(q, 0);
    }
    return lap_quasi_of_atom(q, &(lap_qatom){.kind = LAP_Q_FLOOR, .a = a, .b = b});
}

lap_qx lap_quasi_mod(lap_quasi *q, lap_qx a, lap_qx b)
{
    return lap_quasi_sub(q, a, lap_quasi_mul(q, b, lap_quasi_floordiv(q, a, b)));
}

static lap_qx extreme(lap_quasi *q, lap_qatom_kind kind, lap_qx a, lap_qx b)
{
    if (lap_quasi_same(a, b)) {
        return a;
    }
    lap_qx gap = lap_quasi_sub(q, b, a);
    bool a_least = lap_quasi_is_natural(q, gap);
    if (a_least || lap_quasi_is_natural(q, lap_quasi_neg(q, gap))) {
        return a_least == (kind == LAP_Q_MIN) ? a : b;
    }
    lap_dim x, y;
    if (lap_quasi_is_dim(q, a, &x) && lap_quasi_is_dim(q, b, &y)) {
        return lap_quasi_dim(q, kind == LAP_Q_MIN ? lap_dim_min(q->ctx, x, y) : lap_dim_max(q->ctx, x, y));
    }
    bool swap = a.ix > b.ix;
    return lap_quasi_of_atom(q, &(lap_qatom){.kind = kind, .a = swap ? b : a, .b = swap ? a : b});
}

lap_qx lap_quasi_min(lap_quasi *q, lap_qx a, lap_qx b) { return extreme(q, LAP_Q_MIN, a, b); }

lap_qx lap_quasi_max(lap_quasi *q, lap_qx a, lap_qx b) { return extreme(q, LAP_Q_MAX, a, b); }

lap_qx lap_quasi_binary(lap_quasi *q, lap_quasi_op op, lap_qx a, lap_qx b)
{
    switch (op) {
    case LAP_QUASI_ADD:
        return lap_quasi_add(q, a, b);
    case LAP_QUASI_SUB:
        return lap_quasi_sub(q, a, b);
    case LAP_QUASI_MUL:
        return lap_quasi_mul(q, a, b);
    case LAP_QUASI_FLOORDIV:
        return lap_quasi_floordiv(q, a, b);
    case LAP_QUASI_MOD:
        return lap_quasi_mod(q, a, b);
    case LAP_QUASI_MIN:
        return lap_quasi_min(q, a, b);
    case LAP_QUASI_MAX:
        return lap_quasi_max(q, a, b);
    }
    LAP_BUG("no operation %u of integers", (unsigned)op);
}
