/* SPDX-License-Identifier: Apache-2.0
 * dim_bounds.c - ranges of extents for symbols >= 0, and comparisons.
 *
 * Besides the interval of each term, an atom that occurs to the first power is replaced by what it
 * stands for: b*floor(a/b) is a minus something in [0, b-1], and a minimum is one of its operands.
 * That proves x - x//2*2 <= 1 and max(x,y) >= x. Each question has a fixed amount of fuel. */
#include "ir/dim_table.h"

enum { FUEL = 96, DEPTH = 6 };

static const lap_bounds anything = {false, false, 0, 0};

static lap_bounds bounds_of(lap_ctx *ctx, lap_dim d);

static lap_bounds add_bounds(lap_bounds a, lap_bounds b)
{
    lap_bounds sum = {a.has_lo && b.has_lo, a.has_hi && b.has_hi, 0, 0};
    sum.has_lo = sum.has_lo && !__builtin_add_overflow(a.lo, b.lo, &sum.lo);
    sum.has_hi = sum.has_hi && !__builtin_add_overflow(a.hi, b.hi, &sum.hi);
    return sum;
}

static lap_bounds scale_bounds(lap_bounds a, int64_t c)
{
    if (c < 0) {
        a = (lap_bounds){a.has_hi, a.has_lo, a.hi, a.lo};
    }
    a.has_lo = a.has_lo && !__builtin_mul_overflow(a.lo, c, &a.lo);
    a.has_hi = a.has_hi && !__builtin_mul_overflow(a.hi, c, &a.hi);
    return a;
}

static bool is_zero(lap_bounds a) { return a.has_lo && a.has_hi && a.lo == 0 && a.hi == 0; }

static lap_bounds mul_bounds(lap_bounds a, lap_bounds b)
{
    lap_bounds out = anything;
    if (is_zero(a) || is_zero(b)) {
        return (lap_bounds){true, true, 0, 0};
    }
    if (a.has_lo && b.has_lo && a.lo >= 0 && b.lo >= 0) {
        out.has_lo = !__builtin_mul_overflow(a.lo, b.lo, &out.lo);
        out.has_hi = a.has_hi && b.has_hi && !__builtin_mul_overflow(a.hi, b.hi, &out.hi);
        return out;
    }
    if (!(a.has_lo && a.has_hi && b.has_lo && b.has_hi)) {
        if (a.has_hi && a.hi <= 0) {
            return scale_bounds(mul_bounds(scale_bounds(a, -1), b), -1);
        }
        if (b.has_hi && b.hi <= 0 && a.has_lo && a.lo >= 0) {
            return scale_bounds(mul_bounds(a, scale_bounds(b, -1)), -1);
        }
        return out;
    }
    int64_t x[4];
    if (__builtin_mul_overflow(a.lo, b.lo, &x[0]) || __builtin_mul_overflow(a.lo, b.hi, &x[1]) ||
        __builtin_mul_overflow(a.hi, b.lo, &x[2]) || __builtin_mul_overflow(a.hi, b.hi, &x[3])) {
        return out;
    }
    out = (lap_bounds){true, true, x[0], x[0]};
    for (int i = 1; i < 4; i++) {
        out.lo = x[i] < out.lo ? x[i] : out.lo;
        out.hi = x[i] > out.hi ? x[i] : out.hi;
    }
    return out;
}

/* Both hold. */
static lap_bounds meet(lap_bounds a, lap_bounds b)
{
    if (b.has_lo && (!a.has_lo || b.lo > a.lo)) {
        a.has_lo = true;
        a.lo = b.lo;
    }
    if (b.has_hi && (!a.has_hi || b.hi < a.hi)) {
        a.has_hi = true;
        a.hi = b.hi;
    }
    return a;
}

/* One of them holds. */
static lap_bounds join(lap_bounds a, lap_bounds b)
{
    return (lap_bounds){a.has_lo && b.has_lo, a.has_hi && b.has_hi, a.lo < b.lo ? a.lo : b.lo,
                        a.hi > b.hi ? a.hi : b.hi};
}

/* Bounds of an integer from bounds of den times it. */
static lap_bounds divide_bounds(lap_bounds a, int64_t den)
{
    if (a.has_lo) {
        a.lo = -lap_floor_quotient(-a.lo, den);
    }
    if (a.has_hi) {
        a.hi = lap_floor_quotient(a.hi, den);
    }
    return a;
}

static lap_bounds floor_bounds(lap_bounds a, lap_bounds b)
{
    lap_bounds out = anything;
    if (b.has_lo && b.has_hi && b.lo == b.hi && b.lo > 0) {
        out = a;
        out.lo = out.has_lo ? lap_floor_quotient(a.lo, b.lo) : 0;
        out.hi = out.has_hi ? lap_floor_quotient(a.hi, b.lo) : 0;
    } else if (b.has_lo && b.lo >= 0) {
        out.has_lo = a.has_lo;
        out.lo = a.has_lo && a.lo < 0 ? a.lo : 0;
        out.has_hi = a.has_hi;
        out.hi = a.has_hi && a.hi > 0 ? a.hi : 0;
    }
    return out;
}

static lap_bounds trunc_bounds(double c, lap_bounds a)
{
    if (c < 0) {
        a = (lap_bounds){a.has_hi, a.has_lo, a.hi, a.lo};
    }
    a.has_lo = a.has_lo && lap_dim_trunc_value(c, a.lo, &a.lo);
    a.has_hi = a.has_hi && lap_dim_trunc_value(c, a.hi, &a.hi);
    return a;
}

static lap_bounds atom_bounds(lap_ctx *ctx, uint32_t id)
{
    lap_atom atom = ctx->dims->atoms[id];
    if (atom.kind == LAP_ATOM_SYMBOL) {
        return (lap_bounds){.has_lo = true};
    }
    lap_bounds a = bounds_of(ctx, atom.a), b = bounds_of(ctx, atom.b);
    switch (atom.kind) {
    case LAP_ATOM_FLOOR:
        return floor_bounds(a, b);
    case LAP_ATOM_TRUNC:
        return trunc_bounds(atom.c, a);
    case LAP_ATOM_EXACT:
        return floor_bounds(a, b);
    case LAP_ATOM_MIN: {
        lap_bounds both = join(a, b);
        return meet(both, (lap_bounds){false, a.has_hi || b.has_hi, 0,
                                       !b.has_hi || (a.has_hi && a.hi < b.hi) ? a.hi : b.hi});
    }
    case LAP_ATOM_MAX: {
        lap_bounds both = join(a, b);
        return meet(both, (lap_bounds){a.has_lo || b.has_lo, false,
                                       !b.has_lo || (a.has_lo && a.lo > b.lo) ? a.lo : b.lo, 0});
    }
    case LAP_ATOM_SYMBOL:
        break;
    }
    return anything;
}

/* Sum of the terms' own intervals; integer coefficients. */
static lap_bounds plain_bounds(lap_ctx *ctx, lap_poly p)
{
    lap_bounds sum = {true, true, 0, 0};
    for (uint32_t i = 0; i < p.n; i++) {
        lap_mono m = ctx->dims->monos[p.at[i].mono];
        lap_bounds product = {true, true, 1, 1};
        for (uint32_t j = 0; j < m.n; j++) {
            lap_bounds factor = atom_bounds(ctx, m.at[j].atom);
            for (uint32_t e = 0; e < m.at[j].exp; e++) {
                product = mul_bounds(product, factor);
            }
        }
        sum = add_bounds(sum, scale_bounds(product, p.at[i].c.num));
    }
    return sum;
}

/* d = q*floor(a/b) + rest, with b*floor(a/b) = a - r and r in [0, b-1]. */
static lap_bounds floor_case(lap_ctx *ctx, lap_atom atom, lap_dim q, lap_dim rest)
{
    int64_t times = 1, factor;
    lap_dim ratio, r;
    if (lap_dim_is_const(ctx, atom.b, &times)) {
        if (times <= 0 || !lap_dim_is_const(ctx, q, &factor)) {
            return anything;
        }
        int64_t gcd = lap_gcd(times, factor);
        times /= gcd;
        factor /= gcd;
    } else if (!lap_dim_long_div(ctx, q, atom.b, &ratio, &r) || r.ix ||
               !lap_dim_is_const(ctx, ratio, &factor)) {
        return anything;
    } else {
        times = 1;
    }
    lap_dim scaled = lap_dim_scale(ctx, rest, (lap_rat){times, 1});
    lap_dim whole = lap_dim_add(ctx, scaled, lap_dim_scale(ctx, atom.a, (lap_rat){factor, 1}));
    lap_dim widest =
        lap_dim_scale(ctx, lap_dim_sub(ctx, atom.b, lap_dim_const(ctx, 1)), (lap_rat){factor, 1});
    lap_bounds at_zero = bounds_of(ctx, whole);
    lap_bounds at_widest = bounds_of(ctx, lap_dim_sub(ctx, whole, widest));
    lap_bounds low = factor > 0 ? at_widest : at_zero, high = factor > 0 ? at_zero : at_widest;
    return divide_bounds((lap_bounds){low.has_lo, high.has_hi, low.lo, high.hi}, times);
}

/* d = q*min(a, b) + rest: it equals one replacement, and lies on one side of both. */
static lap_bounds extreme_case(lap_ctx *ctx, lap_atom atom, lap_dim q, lap_dim rest)
{
    int64_t factor;
    if (!lap_dim_is_const(ctx, q, &factor)) {
        return anything;
    }
    lap_rat c = {factor, 1};
    lap_bounds with_a = bounds_of(ctx, lap_dim_add(ctx, rest, lap_dim_scale(ctx, atom.a, c)));
    lap_bounds with_b = bounds_of(ctx, lap_dim_add(ctx, rest, lap_dim_scale(ctx, atom.b, c)));
    lap_bounds out = join(with_a, with_b);
    bool is_least = (atom.kind == LAP_ATOM_MIN) == (factor > 0);
    lap_bounds both = meet(with_a, with_b);
    if (is_least) {
        both.has_lo = false;
    } else {
        both.has_hi = false;
    }
    return meet(out, both);
}

static lap_bounds replace_atoms(lap_ctx *ctx, lap_dim d, lap_bounds known)
{
    lap_poly p = lap_poly_of(ctx, d);
    for (uint32_t i = 0; i < p.n; i++) {
        lap_mono m = ctx->dims->monos[p.at[i].mono];
        for (uint32_t j = 0; j < m.n; j++) {
            lap_atom atom = ctx->dims->atoms[m.at[j].atom];
            bool is_floor = atom.kind == LAP_ATOM_FLOOR;
            bool is_extreme = atom.kind == LAP_ATOM_MIN || atom.kind == LAP_ATOM_MAX;
            lap_dim q, rest;
            if ((is_floor || is_extreme) && m.at[j].exp == 1 &&
                lap_dim_split(ctx, d, m.at[j].atom, &q, &rest)) {
                known =
                    meet(known, is_floor ? floor_case(ctx, atom, q, rest) : extreme_case(ctx, atom, q, rest));
            }
        }
    }
    return known;
}

static lap_bounds bounds_of(lap_ctx *ctx, lap_dim d)
{
    lap_dims *dims = ctx->dims;
    lap_poly p = lap_poly_of(ctx, d);
    int64_t value;
    if (lap_dim_is_const(ctx, d, &value)) {
        return (lap_bounds){true, true, value, value};
    }
    if (lap_dim_is_bad(d) || !dims->fuel) {
        return anything;
    }
    dims->fuel--;
    dims->depth++;
    lap_bounds out;
    if (p.den != 1) {
        out = divide_bounds(bounds_of(ctx, lap_dim_scale(ctx, d, (lap_rat){p.den, 1})), p.den);
    } else {
        out = plain_bounds(ctx, p);
        if (dims->depth < DEPTH && p.n <= 16) {
            out = replace_atoms(ctx, d, out);
        }
    }
    dims->depth--;
    return out;
}

/* Answers to outermost questions are remembered, and serve outermost questions alone: an answer must
 * not depend on what was asked before, or canonical forms would. */
static lap_bounds ask(lap_ctx *ctx, lap_dim d)
{
    lap_poly p = lap_poly_of(ctx, d);
    if (!p.has_bounds) {
        ctx->dims->fuel = FUEL;
        ctx->dims->depth = 0;
        p.bounds = bounds_of(ctx, d);
        ctx->dims->polys[d.ix].has_bounds = true;
        ctx->dims->polys[d.ix].bounds = p.bounds;
    }
    return p.bounds;
}

bool lap_dim_lower(const lap_ctx *ctx, lap_dim d, int64_t *out_lo)
{
    lap_bounds b = ask((lap_ctx *)ctx, d);
    *out_lo = b.lo;
    return b.has_lo;
}

bool lap_dim_upper(const lap_ctx *ctx, lap_dim d, int64_t *out_hi)
{
    lap_bounds b = ask((lap_ctx *)ctx, d);
    *out_hi = b.hi;
    return b.has_hi;
}

static lap_truth opposite(lap_truth t) { return t == LAP_UNKNOWN ? t : t == LAP_YES ? LAP_NO : LAP_YES; }

lap_truth lap_dim_compare(lap_ctx *ctx, lap_dim a, lap_rel rel, lap_dim b)
{
    switch (rel) {
    case LAP_REL_NE:
        return opposite(lap_dim_compare(ctx, a, LAP_REL_EQ, b));
    case LAP_REL_GE:
        return opposite(lap_dim_compare(ctx, a, LAP_REL_LT, b));
    case LAP_REL_GT:
        return opposite(lap_dim_compare(ctx, a, LAP_REL_LE, b));
    case LAP_REL_EQ:
    case LAP_REL_LT:
    case LAP_REL_LE:
        break;
    }
    lap_dim gap = lap_dim_sub(ctx, b, a);
    if (lap_dim_is_bad(gap)) {
        return LAP_UNKNOWN;
    }
    lap_bounds range = ask(ctx, gap);
    if (rel == LAP_REL_EQ) {
        return !gap.ix                                                            ? LAP_YES
               : (range.has_lo && range.lo > 0) || (range.has_hi && range.hi < 0) ? LAP_NO
                                                                                  : LAP_UNKNOWN;
    }
    int64_t least = rel == LAP_REL_LT;
    return range.has_lo && range.lo >= least  ? LAP_YES
           : range.has_hi && range.hi < least ? LAP_NO
                                              : LAP_UNKNOWN;
}
