/* SPDX-License-Identifier: Apache-2.0
 * quasi_prove.c - what ranges and assumptions say about an expression.
 *
 * To bound e from below, atoms are eliminated one by one, the highest first: a leaf goes to the end of
 * its range that makes e smallest, b*floor(a/b) becomes a - (b-1) or a, a minimum becomes one of its
 * operands. Correlated parts cancel on the way, which plain interval arithmetic would miss. Each
 * question has a fixed amount of fuel; "not proved" is always an answer. */
#include "ir/quasi_table.h"

enum { FUEL = 400, FACT_STEPS = 2 };

/* Lower estimates of an expression: one of them is enough, or all of them are needed. */
typedef struct estimates {
    bool all;
    uint32_t n;
    lap_qx at[3];
} estimates;

typedef struct parts {
    lap_qatom atom;
    lap_dim c;
    lap_qx rest;
    lap_truth is_positive;
} parts;

static bool lower(lap_quasi *q, lap_qx e, lap_dim *out);
static bool prove(lap_quasi *q, lap_qx e, int fact_steps);

static bool is_bad(lap_quasi *q, lap_dim d)
{
    return lap_dim_compare(q->ctx, d, LAP_REL_EQ, d) == LAP_UNKNOWN;
}

/* The highest atom of e, its coefficient and what is left. */
static parts take_atom(lap_quasi *q, lap_qx e)
{
    lap_qexpr x = lap_qexpr_of(q, e);
    uint32_t best = 0;
    for (uint32_t i = 1; i < x.n; i++) {
        if (q->atoms[x.at[i].atom].height > q->atoms[x.at[best].atom].height) {
            best = i;
        }
    }
    lap_qterm t = x.at[best];
    lap_qterm minus = {t.atom, lap_dim_sub(q->ctx, lap_dim_const(q->ctx, 0), t.c)};
    return (parts){q->atoms[t.atom], t.c, lap_quasi_add(q, e, lap_quasi_of_term(q, minus)),
                   lap_dim_compare(q->ctx, t.c, LAP_REL_GE, lap_dim_const(q->ctx, 0))};
}

static void add_estimate(estimates *out, lap_qx e) { out->at[out->n++] = e; }

static lap_qx plus_dim(lap_quasi *q, lap_qx e, lap_dim c, lap_dim d)
{
    return lap_quasi_add(q, e, lap_quasi_dim(q, lap_dim_mul(q->ctx, c, d)));
}

static void leaf_estimates(lap_quasi *q, const parts *p, estimates *out)
{
    if (!p->atom.is_bounded) {
        return;
    }
    lap_dim last = lap_dim_sub(q->ctx, p->atom.end, lap_dim_const(q->ctx, 1));
    if (p->is_positive != LAP_NO) {
        add_estimate(out, plus_dim(q, p->rest, p->c, p->atom.lo));
    }
    if (p->is_positive != LAP_YES) {
        add_estimate(out, plus_dim(q, p->rest, p->c, last));
    }
    out->all = true;
}

static bool upper(lap_quasi *q, lap_qx e, lap_dim *out)
{
    lap_dim lo;
    if (!lower(q, lap_quasi_neg(q, e), &lo)) {
        return false;
    }
    *out = lap_dim_sub(q->ctx, lap_dim_const(q->ctx, 0), lo);
    return true;
}

/* Bound of e on the side that makes c * e small. */
static bool bound_for(lap_quasi *q, lap_qx e, bool positive, lap_dim *out)
{
    return positive ? lower(q, e, out) : upper(q, e, out);
}

static void floor_estimates(lap_quasi *q, const parts *p, estimates *out)
{
    lap_ctx *ctx = q->ctx;
    lap_dim b, rest, bound;
    if (p->is_positive == LAP_UNKNOWN) {
        return;
    }
    bool positive = p->is_positive == LAP_YES;
    if (!lap_quasi_is_dim(q, p->atom.b, &b)) {
        /* floor(a/b) lies in [0, a] for a >= 0 and any divisor */
        if (prove(q, p->atom.a, 0) && prove(q, p->atom.b, 0)) {
            add_estimate(out,
                         positive ? p->rest : lap_quasi_add(q, p->rest, lap_quasi_scale(q, p->atom.a, p->c)));
        }
        return;
    }
    lap_dim times = lap_dim_whole(ctx, p->c, b, &rest);
    if (!rest.ix) {
        lap_qx whole = lap_quasi_add(q, p->rest, lap_quasi_scale(q, p->atom.a, times));
        lap_dim slack = positive ? lap_dim_sub(ctx, times, p->c) : lap_dim_const(ctx, 0);
        add_estimate(out, lap_quasi_add(q, whole, lap_quasi_dim(q, slack)));
    }
    if (bound_for(q, p->atom.a, positive, &bound)) {
        add_estimate(out, plus_dim(q, p->rest, p->c, lap_dim_floordiv(ctx, bound, b)));
    }
}

static void extreme_estimates(lap_quasi *q, const parts *p, estimates *out)
{
    if (p->is_positive == LAP_UNKNOWN) {
        return;
    }
    add_estimate(out, lap_quasi_add(q, p->rest, lap_quasi_scale(q, p->atom.a, p->c)));
    add_estimate(out, lap_quasi_add(q, p->rest, lap_quasi_scale(q, p->atom.b, p->c)));
    out->all = (p->atom.kind == LAP_Q_MIN) == (p->is_positive == LAP_YES);
}

static void product_estimates(lap_quasi *q, const parts *p, estimates *out)
{
    lap_dim a, b;
    bool positive = p->is_positive == LAP_YES;
    if (p->is_positive == LAP_UNKNOWN || !prove(q, p->atom.a, 0) || !prove(q, p->atom.b, 0)) {
        return;
    }
    if (bound_for(q, p->atom.a, positive, &a) && bound_for(q, p->atom.b, positive, &b)) {
        lap_dim zero = lap_dim_const(q->ctx, 0);
        if (positive) { /* a bound below 0 says less than the sign does */
            a = lap_dim_max(q->ctx, a, zero);
            b = lap_dim_max(q->ctx, b, zero);
        }
        add_estimate(out, plus_dim(q, p->rest, p->c, lap_dim_mul(q->ctx, a, b)));
    } else if (positive) {
        add_estimate(out, p->rest);
    }
}

static estimates estimate(lap_quasi *q, const parts *p)
{
    estimates out = {0};
    switch (p->atom.kind) {
    case LAP_Q_LEAF:
        leaf_estimates(q, p, &out);
        break;
    case LAP_Q_FLOOR:
        floor_estimates(q, p, &out);
        break;
    case LAP_Q_MIN:
    case LAP_Q_MAX:
        extreme_estimates(q, p, &out);
        break;
    case LAP_Q_MUL:
        product_estimates(q, p, &out);
        break;
    }
    return out;
}

/* A lower bound that an assumption gives at once. */
static bool fact_lower(lap_quasi *q, lap_qx e, lap_dim *out)
{
    for (size_t i = 0; i < q->n_facts; i++) {
        if (lap_quasi_is_dim(q, lap_quasi_sub(q, e, q->facts[i]), out)) {
            return true;
        }
    }
    return false;
}

/* The better of two lower bounds, or the weaker when both cases can occur. */
static lap_dim combine(lap_quasi *q, bool all, lap_dim a, lap_dim b)
{
    if (all) {
        return lap_dim_min(q->ctx, a, b);
    }
    return lap_dim_compare(q->ctx, b, LAP_REL_GT, a) == LAP_YES ? b : a;
}

static bool lower(lap_quasi *q, lap_qx e, lap_dim *out)
{
    if (lap_quasi_is_dim(q, e, out)) {
        return !is_bad(q, *out);
    }
    if (!q->fuel) {
        return false;
    }
    q->fuel--;
    parts p = take_atom(q, e);
    estimates found = estimate(q, &p);
    lap_dim bound;
    bool any = fact_lower(q, e, out);
    bool whole = found.n > 0;
    lap_dim best = {0};
    uint32_t n = 0;
    for (uint32_t i = 0; i < found.n; i++) {
        if (lower(q, found.at[i], &bound)) {
            best = n++ ? combine(q, found.all, best, bound) : bound;
        } else if (found.all) {
            whole = false;
            break;
        }
    }
    if (!whole || !n) {
        return any;
    }
    *out = any ? combine(q, false, *out, best) : best;
    return !is_bad(q, *out);
}

/* b*e + b-1 >= 0 proves e >= 0 for an integer e: frees floor(a/b) whose coefficient b does not divide. */
static bool prove_scaled(lap_quasi *q, const parts *p, int fact_steps)
{
    lap_dim b;
    int64_t k, c, slack;
    if (p->atom.kind != LAP_Q_FLOOR || !lap_quasi_is_dim(q, p->atom.b, &b) ||
        !lap_dim_is_const(q->ctx, b, &k) || !lap_dim_is_const(q->ctx, p->c, &c) || k <= 1 || c % k == 0 ||
        __builtin_mul_overflow(c > 0 ? -c : 0, k - 1, &slack) ||
        __builtin_add_overflow(slack, k - 1, &slack)) {
        return false;
    }
    lap_qx scaled = lap_quasi_add(q, lap_quasi_scale(q, p->rest, b), lap_quasi_scale(q, p->atom.a, p->c));
    return prove(q, lap_quasi_plus(q, scaled, slack), fact_steps);
}

/* How often the fact fits into e by their common atom; false when they share none that way. */
static bool fact_ratio(const lap_quasi *q, lap_qexpr e, lap_qexpr fact, int64_t *out)
{
    for (uint32_t i = 0, j = 0; i < e.n && j < fact.n;) {
        uint32_t a = e.at[i].atom, b = fact.at[j].atom;
        int64_t x, y;
        if (a == b && e.at[i].c.ix == fact.at[j].c.ix) {
            *out = 1;
            return true;
        }
        if (a == b && lap_dim_is_const(q->ctx, e.at[i].c, &x) && lap_dim_is_const(q->ctx, fact.at[j].c, &y) &&
            y != -1 && x % y == 0 && x / y > 0) {
            *out = x / y;
            return true;
        }
        if (a == b && lap_dim_is_const(q->ctx, e.at[i].c, &x) && x != INT64_MIN && x < 0 &&
            lap_dim_is_const(q->ctx, fact.at[j].c, &y) && y == -1) {
            *out = -x;
            return true;
        }
        i += a <= b;
        j += b <= a;
    }
    return false;
}

static bool prove_by_fact(lap_quasi *q, lap_qx e, int fact_steps)
{
    for (size_t i = 0; i < q->n_facts && fact_steps > 0; i++) {
        int64_t ratio;
        if (!fact_ratio(q, lap_qexpr_of(q, e), lap_qexpr_of(q, q->facts[i]), &ratio)) {
            continue;
        }
        lap_qx used = lap_quasi_scale(q, q->facts[i], lap_dim_const(q->ctx, ratio));
        if (prove(q, lap_quasi_sub(q, e, used), fact_steps - 1)) {
            return true;
        }
    }
    return false;
}

/* d >= 0, by itself or by an assumption about extents. */
static bool prove_dim(lap_quasi *q, lap_dim d)
{
    lap_dim fact = lap_dim_const(q->ctx, 0);
    bool holds = lap_dim_compare(q->ctx, d, LAP_REL_GE, fact) == LAP_YES;
    for (size_t i = 0; i < q->n_facts && !holds; i++) {
        holds = lap_quasi_is_dim(q, q->facts[i], &fact) &&
                lap_dim_compare(q->ctx, d, LAP_REL_GE, fact) == LAP_YES;
    }
    return holds;
}

static bool prove(lap_quasi *q, lap_qx e, int fact_steps)
{
    lap_dim d;
    if (lap_quasi_is_dim(q, e, &d)) {
        return prove_dim(q, d);
    }
    if (!q->fuel) {
        return false;
    }
    q->fuel--;
    parts p = take_atom(q, e);
    estimates found = estimate(q, &p);
    bool holds = found.all && found.n > 0;
    for (uint32_t i = 0; i < found.n && holds == found.all; i++) {
        holds = prove(q, found.at[i], fact_steps);
    }
    return holds || prove_scaled(q, &p, fact_steps) || prove_by_fact(q, e, fact_steps);
}

bool lap_quasi_is_natural(lap_quasi *q, lap_qx e)
{
    if (q->exprs[e.ix].asked != q->epoch) {
        q->fuel = FUEL;
        bool holds = prove(q, e, q->n_facts ? FACT_STEPS : 0);
        q->exprs[e.ix].asked = q->epoch;
        q->exprs[e.ix].is_natural = holds;
    }
    return q->exprs[e.ix].is_natural;
}

bool lap_quasi_is_below(lap_quasi *q, lap_qx e, lap_qx end)
{
    return lap_quasi_is_natural(q, e) &&
           lap_quasi_is_natural(q, lap_quasi_plus(q, lap_quasi_sub(q, end, e), -1));
}

bool lap_quasi_lower(lap_quasi *q, lap_qx e, lap_dim *out_lo)
{
    q->fuel = FUEL;
    return lower(q, e, out_lo);
}

bool lap_quasi_upper(lap_quasi *q, lap_qx e, lap_dim *out_hi)
{
    q->fuel = FUEL;
    return upper(q, e, out_hi);
}

static lap_truth opposite(lap_truth t) { return t == LAP_UNKNOWN ? t : t == LAP_YES ? LAP_NO : LAP_YES; }

lap_truth lap_quasi_compare(lap_quasi *q, lap_qx a, lap_rel rel, lap_qx b)
{
    switch (rel) {
    case LAP_REL_NE:
        return opposite(lap_quasi_compare(q, a, LAP_REL_EQ, b));
    case LAP_REL_GE:
        return lap_quasi_compare(q, b, LAP_REL_LE, a);
    case LAP_REL_GT:
        return lap_quasi_compare(q, b, LAP_REL_LT, a);
    case LAP_REL_EQ:
    case LAP_REL_LT:
    case LAP_REL_LE:
        break;
    }
    lap_qx gap = lap_quasi_sub(q, b, a);
    lap_dim d;
    if (lap_quasi_is_dim(q, gap, &d)) {
        lap_truth plain = lap_dim_compare(q->ctx, lap_dim_const(q->ctx, 0), rel, d);
        if (plain != LAP_UNKNOWN || is_bad(q, d)) {
            return plain;
        }
    }
    if (rel == LAP_REL_EQ) {
        bool less = lap_quasi_is_natural(q, lap_quasi_plus(q, gap, -1));
        bool differ = less || lap_quasi_is_natural(q, lap_quasi_plus(q, lap_quasi_neg(q, gap), -1));
        bool equal =
            !differ && lap_quasi_is_natural(q, gap) && lap_quasi_is_natural(q, lap_quasi_neg(q, gap));
        return differ ? LAP_NO : equal ? LAP_YES : LAP_UNKNOWN;
    }
    int64_t least = rel == LAP_REL_LT;
    if (lap_quasi_is_natural(q, lap_quasi_plus(q, gap, -least))) {
        return LAP_YES;
    }
    return lap_quasi_is_natural(q, lap_quasi_plus(q, lap_quasi_neg(q, gap), least - 1)) ? LAP_NO
                                                                                        : LAP_UNKNOWN;
}

/* ---- assumptions ---- */

size_t lap_quasi_mark(const lap_quasi *q) { return q->n_facts; }

static void add_fact(lap_quasi *q, lap_qx e)
{
    lap_arena_grow(q->ctx->arena, &q->facts, q->n_facts, 1, &q->facts_capacity, sizeof *q->facts);
    q->facts[q->n_facts++] = e;
    q->epoch++;
}

void lap_quasi_assume(lap_quasi *q, lap_qx a, lap_rel rel, lap_qx b)
{
    if (rel == LAP_REL_GE || rel == LAP_REL_GT) {
        lap_quasi_assume(q, b, rel == LAP_REL_GE ? LAP_REL_LE : LAP_REL_LT, a);
        return;
    }
    if (rel == LAP_REL_NE) { /* no range */
        return;
    }
    lap_qx gap = lap_quasi_sub(q, b, a);
    add_fact(q, lap_quasi_plus(q, gap, rel == LAP_REL_LT ? -1 : 0));
    if (rel == LAP_REL_EQ) {
        add_fact(q, lap_quasi_neg(q, gap));
    }
}

void lap_quasi_release(lap_quasi *q, size_t mark)
{
    LAP_ENSURE(mark <= q->n_facts);
    if (mark < q->n_facts) {
        q->n_facts = mark;
        q->epoch++;
    }
}
