/* SPDX-License-Identifier: Apache-2.0
 * dim_div.c - quotients, minima and maxima of extents.
 *
 * A symbolic divisor is taken to be positive: an axis of extent 0 makes everything sized by it empty,
 * so no value depends on the difference. Where nothing can be decided the result is an atom. */
#include <math.h>

#include "ir/dim_table.h"

static bool provably_less(lap_ctx *ctx, lap_dim a, lap_dim b)
{
    return lap_dim_compare(ctx, a, LAP_REL_LT, b) == LAP_YES;
}

/* 0 <= r < b */
static bool is_remainder(lap_ctx *ctx, lap_dim r, lap_dim b)
{
    return lap_dim_compare(ctx, r, LAP_REL_GE, LAP_DIM_ZERO) == LAP_YES && provably_less(ctx, r, b);
}

/* Largest integer that divides all coefficients (but for a constant term when `varying`). */
static int64_t content(const lap_ctx *ctx, lap_dim d, bool varying, int64_t gcd)
{
    lap_poly p = lap_poly_of(ctx, d);
    for (uint32_t i = 0; i < p.n; i++) {
        if (!varying || p.at[i].mono) {
            gcd = lap_gcd(gcd, p.at[i].c.num);
        }
    }
    return gcd;
}

/* a = q*b + r for b of one term c*m, coefficients of r in [0, c) where m divides. */
static lap_dim pull_whole(lap_ctx *ctx, lap_dim a, lap_dim b, lap_dim *out_r)
{
    lap_poly p = lap_poly_of(ctx, a);
    lap_term t = lap_poly_of(ctx, b).at[0];
    lap_dim q = LAP_DIM_ZERO, r = a;
    for (uint32_t i = 0; i < p.n; i++) {
        lap_term step;
        int64_t whole = lap_floor_quotient(p.at[i].c.num, t.c.num);
        if (whole && lap_mono_div(ctx, p.at[i].mono, t.mono, &step.mono)) {
            step.c = (lap_rat){whole, 1};
            q = lap_dim_add(ctx, q, lap_dim_of_terms(ctx, &step, 1));
            r = lap_dim_sub(ctx, r, lap_dim_term_mul(ctx, b, step));
        }
    }
    *out_r = r;
    return q;
}

/* The same for a divisor of several terms, where the rest is provably a remainder. */
static lap_dim pull_sum(lap_ctx *ctx, lap_dim a, lap_dim b, lap_dim *out_r)
{
    lap_dim q, r;
    if (lap_dim_long_div(ctx, a, b, &q, &r) && lap_poly_of(ctx, q).den == 1 && is_remainder(ctx, r, b)) {
        *out_r = r;
        return q;
    }
    *out_r = a;
    return LAP_DIM_ZERO;
}

/* floor((floor(e/k) + rest) / b) = floor((e + k*rest) / (k*b)) for constants k, b. */
static bool unnest(lap_ctx *ctx, lap_dim r, int64_t b, lap_dim *out)
{
    lap_poly p = lap_poly_of(ctx, r);
    for (uint32_t i = 0; i < p.n; i++) {
        lap_mono m = ctx->dims->monos[p.at[i].mono];
        if (m.degree != 1 || p.at[i].c.num != 1) {
            continue;
        }
        lap_atom atom = ctx->dims->atoms[m.at[0].atom];
        int64_t k, divisor;
        lap_dim one, rest;
        if (atom.kind == LAP_ATOM_FLOOR && lap_dim_is_const(ctx, atom.b, &k) && k > 0 &&
            !__builtin_mul_overflow(k, b, &divisor) && lap_dim_split(ctx, r, m.at[0].atom, &one, &rest) &&
            lap_dim_same(one, lap_dim_const(ctx, 1))) {
            lap_dim above = lap_dim_add(ctx, atom.a, lap_dim_scale(ctx, rest, (lap_rat){k, 1}));
            if (!lap_dim_is_bad(above)) {
                *out = lap_dim_floordiv(ctx, above, lap_dim_const(ctx, divisor));
                return true;
            }
        }
    }
    return false;
}

/* floor(r / b) after the whole parts are out; b > 0. */
static lap_dim floor_rest(lap_ctx *ctx, lap_dim r, lap_dim b)
{
    int64_t k = 0, lo, hi;
    if (!r.ix || lap_dim_is_bad(r) || is_remainder(ctx, r, b)) {
        return lap_dim_is_bad(r) ? r : LAP_DIM_ZERO;
    }
    bool constant = lap_dim_is_const(ctx, b, &k);
    if (constant && lap_dim_lower(ctx, r, &lo) && lap_dim_upper(ctx, r, &hi) &&
        lap_floor_quotient(lo, k) == lap_floor_quotient(hi, k)) {
        return lap_dim_const(ctx, lap_floor_quotient(lo, k));
    }
    int64_t gcd = content(ctx, r, true, content(ctx, b, false, 0));
    if (gcd > 1) {
        lap_poly p = lap_poly_of(ctx, r);
        lap_term *terms = lap_arena_array(ctx->arena, p.n, sizeof *terms);
        uint32_t n = 0;
        for (uint32_t i = 0; i < p.n; i++) {
            terms[n] = (lap_term){{lap_floor_quotient(p.at[i].c.num, gcd), 1}, p.at[i].mono};
            n += terms[n].c.num != 0;
        }
        return lap_dim_floordiv(ctx, lap_dim_of_terms(ctx, terms, n),
                                lap_dim_scale(ctx, b, (lap_rat){1, gcd}));
    }
    lap_dim out;
    if (constant && unnest(ctx, r, k, &out)) {
        return out;
    }
    return lap_dim_of_atom(ctx, &(lap_atom){.kind = LAP_ATOM_FLOOR, .a = r, .b = b});
}

lap_dim lap_dim_floordiv(lap_ctx *ctx, lap_dim a, lap_dim b)
{
    if (lap_dim_is_bad(a) || lap_dim_is_bad(b)) {
        return LAP_DIM_OVERFLOW;
    }
    if (!b.ix || !a.ix) {
        return LAP_DIM_ZERO;
    }
    int64_t den_a = lap_poly_of(ctx, a).den, den_b = lap_poly_of(ctx, b).den;
    int64_t sign = lap_poly_of(ctx, b).at[0].c.num < 0 ? -1 : 1;
    lap_rat scale;
    if (!lap_rat_mul((lap_rat){den_a, 1}, (lap_rat){den_b * sign, 1}, &scale)) {
        return LAP_DIM_OVERFLOW;
    }
    a = lap_dim_scale(ctx, a, scale);
    b = lap_dim_scale(ctx, b, scale);
    if (lap_dim_is_bad(a) || lap_dim_is_bad(b)) {
        return LAP_DIM_OVERFLOW;
    }
    lap_dim r;
    lap_dim q = lap_poly_of(ctx, b).n == 1 ? pull_whole(ctx, a, b, &r) : pull_sum(ctx, a, b, &r);
    return lap_dim_add(ctx, q, floor_rest(ctx, r, b));
}

lap_dim lap_dim_whole(lap_ctx *ctx, lap_dim a, lap_dim b, lap_dim *out_rest)
{
    lap_poly x = lap_poly_of(ctx, a), y = lap_poly_of(ctx, b);
    lap_dim r = a, q = LAP_DIM_ZERO;
    if (!lap_dim_is_bad(a) && x.den == 1 && y.den == 1 && y.n == 1 && y.at[0].c.num > 0) {
        q = pull_whole(ctx, a, b, &r);
    } else if (!lap_dim_is_bad(a) && y.n > 0 &&
               !(lap_dim_long_div(ctx, a, b, &q, &r) && !r.ix && lap_poly_of(ctx, q).den == 1)) {
        q = LAP_DIM_ZERO;
        r = a;
    }
    *out_rest = r;
    return q;
}

lap_dim lap_dim_ceildiv(lap_ctx *ctx, lap_dim a, lap_dim b)
{
    lap_dim last = lap_dim_sub(ctx, b, lap_dim_const(ctx, 1));
    return lap_dim_floordiv(ctx, lap_dim_add(ctx, a, last), b);
}

lap_dim lap_dim_mod(lap_ctx *ctx, lap_dim a, lap_dim b)
{
    return lap_dim_sub(ctx, a, lap_dim_mul(ctx, lap_dim_floordiv(ctx, a, b), b));
}

bool lap_dim_div(lap_ctx *ctx, lap_dim a, lap_dim b, lap_dim *out)
{
    int64_t x, k;
    *out = LAP_DIM_OVERFLOW;
    if (lap_dim_is_bad(a) || lap_dim_is_bad(b)) {
        return true;
    }
    if (lap_dim_is_const(ctx, b, &k)) {
        if (k == 0 || (lap_dim_is_const(ctx, a, &x) && x % k != 0)) {
            return false;
        }
        *out = lap_dim_scale(ctx, a, (lap_rat){k < 0 ? -1 : 1, k < 0 ? -k : k});
        return true;
    }
    lap_dim q, r;
    if (lap_dim_long_div(ctx, a, b, &q, &r) && !r.ix) {
        *out = q;
        return !(lap_poly_of(ctx, q).n == 1 && lap_poly_of(ctx, q).at[0].mono == 0 &&
                 lap_poly_of(ctx, q).den != 1);
    }
    lap_poly p = lap_poly_of(ctx, b);
    b = lap_dim_scale(ctx, b, (lap_rat){p.den, 1});
    if (lap_dim_is_bad(b)) {
        return true;
    }
    int64_t whole = content(ctx, b, false, 0);
    int64_t sign = p.at[0].c.num < 0 ? -1 : 1;
    b = lap_dim_scale(ctx, b, (lap_rat){sign, whole});
    lap_rat scale;
    if (lap_rat_make((__int128)sign * p.den, whole, &scale)) {
        *out = lap_dim_scale(ctx, lap_dim_of_atom(ctx, &(lap_atom){.kind = LAP_ATOM_EXACT, .a = a, .b = b}),
                             scale);
    }
    return true;
}

static lap_dim extreme(lap_ctx *ctx, lap_atom_kind kind, lap_dim a, lap_dim b)
{
    if (lap_dim_is_bad(a) || lap_dim_is_bad(b)) {
        return LAP_DIM_OVERFLOW;
    }
    if (lap_dim_compare(ctx, a, LAP_REL_LE, b) == LAP_YES) {
        return kind == LAP_ATOM_MIN ? a : b;
    }
    if (lap_dim_compare(ctx, a, LAP_REL_GE, b) == LAP_YES) {
        return kind == LAP_ATOM_MIN ? b : a;
    }
    bool swap = lap_dim_order(ctx, a, b) > 0;
    return lap_dim_of_atom(ctx, &(lap_atom){.kind = kind, .a = swap ? b : a, .b = swap ? a : b});
}

lap_dim lap_dim_min(lap_ctx *ctx, lap_dim a, lap_dim b) { return extreme(ctx, LAP_ATOM_MIN, a, b); }

lap_dim lap_dim_max(lap_ctx *ctx, lap_dim a, lap_dim b) { return extreme(ctx, LAP_ATOM_MAX, a, b); }

bool lap_dim_trunc_value(double c, int64_t x, int64_t *out)
{
    double v = trunc(c * (double)x);
    if (!(v > -0x1p63 && v < 0x1p63)) {
        return false;
    }
    *out = (int64_t)v;
    return true;
}

lap_dim lap_dim_trunc(lap_ctx *ctx, double c, lap_dim a)
{
    int64_t x, value;
    if (lap_dim_is_bad(a) || !isfinite(c)) {
        return LAP_DIM_OVERFLOW;
    }
    if (c == 0 || c == 1) {
        return c == 0 ? LAP_DIM_ZERO : a;
    }
    if (lap_dim_is_const(ctx, a, &x)) {
        return lap_dim_trunc_value(c, x, &value) ? lap_dim_const(ctx, value) : LAP_DIM_OVERFLOW;
    }
    return lap_dim_of_atom(ctx, &(lap_atom){.kind = LAP_ATOM_TRUNC, .a = a, .c = c});
}
