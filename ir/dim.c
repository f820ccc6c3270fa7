/* SPDX-License-Identifier: Apache-2.0
 * dim.c - the ring of extents: constants, symbols, sums, products.
 *
 * Terms are kept in a monomial order that products respect, so sums merge and products are sums of
 * shifted copies; nothing is sorted. Whatever leaves 64 bits or grows past fixed sizes becomes the
 * overflow extent, which no graph can size an axis with. */
#include "ir/dim.h"

#include <string.h>

#include "ir/dim_table.h"

enum { MOST_TERMS = 512, MOST_WEIGHT = 4096, FEW_TERMS = 16 };

typedef struct wanted {
    const lap_dims *dims;
    const lap_term *at;
    uint32_t n;
} wanted;

lap_poly lap_poly_of(const lap_ctx *ctx, lap_dim d)
{
    LAP_ENSURE(d.ix < ctx->dims->n_polys);
    return ctx->dims->polys[d.ix];
}

static bool same_poly(const void *user, uint32_t id)
{
    const wanted *w = user;
    const lap_poly *p = &w->dims->polys[id];
    if (id == LAP_DIM_OVERFLOW.ix || p->n != w->n) {
        return false;
    }
    for (uint32_t i = 0; i < w->n; i++) {
        const lap_term *x = &p->at[i], *y = &w->at[i];
        if (x->mono != y->mono || x->c.num != y->c.num || x->c.den != y->c.den) {
            return false;
        }
    }
    return true;
}

/* Size of the tree behind the terms, cut off where it gets too large. */
static uint32_t weigh(const lap_ctx *ctx, const lap_term *terms, uint32_t n)
{
    const lap_dims *dims = ctx->dims;
    uint64_t weight = n;
    for (uint32_t i = 0; i < n && weight <= MOST_WEIGHT; i++) {
        const lap_mono *m = &dims->monos[terms[i].mono];
        for (uint32_t j = 0; j < m->n; j++) {
            const lap_atom *atom = &dims->atoms[m->at[j].atom];
            uint64_t inner = 1;
            if (atom->kind != LAP_ATOM_SYMBOL) {
                inner += dims->polys[atom->a.ix].weight + dims->polys[atom->b.ix].weight;
            }
            weight += inner * m->at[j].exp;
        }
    }
    return weight > MOST_WEIGHT ? MOST_WEIGHT + 1 : (uint32_t)weight;
}

/* The least common denominator; false when it or a coefficient over it does not fit. */
static bool common_denominator(const lap_term *terms, uint32_t n, int64_t *out)
{
    int64_t den = 1;
    for (uint32_t i = 0; i < n; i++) {
        int64_t step = terms[i].c.den / lap_gcd(den, terms[i].c.den);
        if (__builtin_mul_overflow(den, step, &den)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        int64_t num;
        if (__builtin_mul_overflow(terms[i].c.num, den / terms[i].c.den, &num) || num == INT64_MIN) {
            return false;
        }
    }
    *out = den;
    return true;
}

static lap_dim add_poly(lap_ctx *ctx, const lap_poly *poly, uint32_t hash)
{
    lap_dims *dims = ctx->dims;
    lap_arena_grow(ctx->arena, &dims->polys, dims->n_polys, 1, &dims->polys_capacity, sizeof *dims->polys);
    uint32_t id = (uint32_t)dims->n_polys;
    dims->polys[id] = *poly;
    lap_idset_add(ctx->arena, &dims->poly_ids, hash, id);
    dims->n_polys++;
    return (lap_dim){id};
}

lap_dims *lap_dims_new(lap_ctx *ctx)
{
    lap_dims *dims = lap_arena_alloc(ctx->arena, sizeof *dims);
    ctx->dims = dims;
    lap_arena_grow(ctx->arena, &dims->monos, 0, 1, &dims->monos_capacity, sizeof *dims->monos);
    dims->monos[0] = (lap_mono){0};
    dims->n_monos = 1;
    lap_idset_add(ctx->arena, &dims->mono_ids, lap_hash(0, NULL, 0), 0);
    add_poly(ctx, &(lap_poly){.den = 1, .has_bounds = true, .bounds = {true, true, 0, 0}},
             lap_hash(0, NULL, 0));
    add_poly(ctx, &(lap_poly){.den = 1, .has_bounds = true}, 1);
    return dims;
}

lap_dim lap_dim_of_terms(lap_ctx *ctx, const lap_term *terms, uint32_t n)
{
    uint32_t hash = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t key[3] = {(uint64_t)terms[i].c.num, (uint64_t)terms[i].c.den, terms[i].mono};
        hash = lap_hash(hash, key, sizeof key);
    }
    if (!n) {
        return LAP_DIM_ZERO;
    }
    wanted w = {ctx->dims, terms, n};
    uint32_t id = lap_idset_find(&ctx->dims->poly_ids, hash, same_poly, &w);
    if (id != LAP_NO_ID) {
        return (lap_dim){id};
    }
    lap_poly poly = {.n = n, .weight = weigh(ctx, terms, n)};
    if (n > MOST_TERMS || poly.weight > MOST_WEIGHT || !common_denominator(terms, n, &poly.den)) {
        return LAP_DIM_OVERFLOW;
    }
    poly.at = lap_arena_copy(ctx->arena, terms, n * sizeof *terms);
    return add_poly(ctx, &poly, hash);
}

lap_dim lap_dim_const(lap_ctx *ctx, int64_t value)
{
    if (value == INT64_MIN) {
        return LAP_DIM_OVERFLOW;
    }
    return lap_dim_of_terms(ctx, &(lap_term){{value, 1}, 0}, value != 0);
}

lap_dim lap_dim_of_atom(lap_ctx *ctx, const lap_atom *atom)
{
    return lap_dim_of_terms(ctx, &(lap_term){{1, 1}, lap_mono_of_atom(ctx, lap_atom_id(ctx, atom))}, 1);
}

lap_dim lap_dim_symbol(lap_ctx *ctx, lap_name name)
{
    return lap_dim_of_atom(ctx, &(lap_atom){.kind = LAP_ATOM_SYMBOL, .name = name});
}

bool lap_dim_is_const(const lap_ctx *ctx, lap_dim d, int64_t *out_value)
{
    lap_poly p = lap_poly_of(ctx, d);
    if (lap_dim_is_bad(d) || p.n > 1 || (p.n == 1 && (p.at[0].mono != 0 || p.den != 1))) {
        return false;
    }
    if (out_value) {
        *out_value = p.n ? p.at[0].c.num : 0;
    }
    return true;
}

/* A constant that is no integer came from an exact division that was not exact. */
static lap_dim settle(const lap_ctx *ctx, lap_dim d)
{
    lap_poly p = lap_poly_of(ctx, d);
    return p.n == 1 && p.at[0].mono == 0 && p.den != 1 ? LAP_DIM_OVERFLOW : d;
}

/* The sum, which may be a constant fraction. */
static lap_dim sum_of(lap_ctx *ctx, lap_dim a, lap_dim b)
{
    if (lap_dim_is_bad(a) || lap_dim_is_bad(b)) {
        return LAP_DIM_OVERFLOW;
    }
    lap_poly x = lap_poly_of(ctx, a), y = lap_poly_of(ctx, b);
    lap_term few[FEW_TERMS];
    lap_term *sum = x.n + y.n <= FEW_TERMS ? few : lap_arena_array(ctx->arena, x.n + y.n, sizeof *sum);
    uint32_t n = 0, i = 0, j = 0;
    while (i < x.n || j < y.n) {
        int order = i == x.n ? 1 : j == y.n ? -1 : lap_mono_order(ctx, x.at[i].mono, y.at[j].mono);
        sum[n] = order <= 0 ? x.at[i] : y.at[j];
        if (order == 0 && !lap_rat_add(x.at[i].c, y.at[j].c, &sum[n].c)) {
            return LAP_DIM_OVERFLOW;
        }
        i += order <= 0;
        j += order >= 0;
        n += sum[n].c.num != 0;
    }
    return lap_dim_of_terms(ctx, sum, n);
}

lap_dim lap_dim_add(lap_ctx *ctx, lap_dim a, lap_dim b) { return settle(ctx, sum_of(ctx, a, b)); }

lap_dim lap_dim_term_mul(lap_ctx *ctx, lap_dim d, lap_term t)
{
    if (lap_dim_is_bad(d) || t.c.num == 0) {
        return lap_dim_is_bad(d) ? d : LAP_DIM_ZERO;
    }
    lap_poly p = lap_poly_of(ctx, d);
    lap_term few[FEW_TERMS];
    lap_term *product = p.n <= FEW_TERMS ? few : lap_arena_array(ctx->arena, p.n, sizeof *product);
    for (uint32_t i = 0; i < p.n; i++) {
        if (!lap_rat_mul(p.at[i].c, t.c, &product[i].c) ||
            !lap_mono_mul(ctx, p.at[i].mono, t.mono, &product[i].mono)) {
            return LAP_DIM_OVERFLOW;
        }
    }
    return lap_dim_of_terms(ctx, product, p.n);
}

lap_dim lap_dim_scale(lap_ctx *ctx, lap_dim d, lap_rat c)
{
    return lap_dim_term_mul(ctx, d, (lap_term){c, 0});
}

lap_dim lap_dim_sub(lap_ctx *ctx, lap_dim a, lap_dim b)
{
    return lap_dim_add(ctx, a, lap_dim_scale(ctx, b, (lap_rat){-1, 1}));
}

bool lap_dim_split(lap_ctx *ctx, lap_dim d, uint32_t atom, lap_dim *out_q, lap_dim *out_rest)
{
    lap_poly p = lap_poly_of(ctx, d);
    lap_term few_q[FEW_TERMS], few_rest[FEW_TERMS];
    bool few = p.n <= FEW_TERMS;
    lap_term *q = few ? few_q : lap_arena_array(ctx->arena, p.n, sizeof *q);
    lap_term *rest = few ? few_rest : lap_arena_array(ctx->arena, p.n, sizeof *rest);
    uint32_t n_q = 0, n_rest = 0;
    uint32_t single = lap_mono_of_atom(ctx, atom);
    for (uint32_t i = 0; i < p.n; i++) {
        lap_term t = p.at[i];
        uint32_t again;
        if (!lap_mono_div(ctx, t.mono, single, &t.mono)) {
            rest[n_rest++] = t;
        } else if (lap_mono_div(ctx, t.mono, single, &again)) {
            return false;
        } else {
            q[n_q++] = t;
        }
    }
    *out_q = lap_dim_of_terms(ctx, q, n_q);
    *out_rest = lap_dim_of_terms(ctx, rest, n_rest);
    return n_q > 0 && !lap_dim_is_bad(*out_q) && !lap_dim_is_bad(*out_rest);
}

bool lap_dim_long_div(lap_ctx *ctx, lap_dim a, lap_dim b, lap_dim *out_q, lap_dim *out_r)
{
    lap_term lead = lap_poly_of(ctx, b).at[0];
    lap_rat inverse = {lead.c.num < 0 ? -lead.c.den : lead.c.den, lead.c.num < 0 ? -lead.c.num : lead.c.num};
    lap_dim q = LAP_DIM_ZERO, r = LAP_DIM_ZERO, rest = a;
    while (rest.ix) {
        if (lap_dim_is_bad(rest) || lap_dim_is_bad(q) || lap_dim_is_bad(r)) {
            return false;
        }
        lap_term t = lap_poly_of(ctx, rest).at[0];
        lap_term step;
        if (!lap_mono_div(ctx, t.mono, lead.mono, &step.mono)) {
            r = sum_of(ctx, r, lap_dim_of_terms(ctx, &t, 1));
            t.c.num = -t.c.num;
            rest = sum_of(ctx, rest, lap_dim_of_terms(ctx, &t, 1));
            continue;
        }
        if (!lap_rat_mul(t.c, inverse, &step.c)) {
            return false;
        }
        q = sum_of(ctx, q, lap_dim_of_terms(ctx, &step, 1));
        step.c.num = -step.c.num;
        rest = sum_of(ctx, rest, lap_dim_term_mul(ctx, b, step));
    }
    *out_q = q;
    *out_r = r;
    return !lap_dim_is_bad(q) && !lap_dim_is_bad(r);
}

/* (x/p + c) * p = x + c*p: an exact quotient meets its divisor. */
static bool cancel(lap_ctx *ctx, lap_dim a, lap_dim b, lap_dim *out)
{
    lap_poly p = lap_poly_of(ctx, a);
    for (uint32_t i = 0; i < p.n; i++) {
        lap_mono m = ctx->dims->monos[p.at[i].mono];
        for (uint32_t j = 0; j < m.n; j++) {
            lap_atom atom = ctx->dims->atoms[m.at[j].atom];
            lap_dim q, r, factor, rest;
            if (atom.kind == LAP_ATOM_EXACT && lap_dim_long_div(ctx, b, atom.b, &q, &r) && !r.ix &&
                lap_dim_split(ctx, a, m.at[j].atom, &factor, &rest)) {
                lap_dim whole = lap_dim_mul(ctx, lap_dim_mul(ctx, factor, atom.a), q);
                *out = lap_dim_add(ctx, whole, lap_dim_mul(ctx, rest, b));
                return true;
            }
        }
    }
    return false;
}

lap_dim lap_dim_mul(lap_ctx *ctx, lap_dim a, lap_dim b)
{
    if (lap_dim_is_bad(a) || lap_dim_is_bad(b)) {
        return LAP_DIM_OVERFLOW;
    }
    lap_poly x = lap_poly_of(ctx, a), y = lap_poly_of(ctx, b);
    if ((uint64_t)x.n * y.n > MOST_TERMS * 8) {
        return LAP_DIM_OVERFLOW;
    }
    lap_dim product = LAP_DIM_ZERO;
    bool constant = lap_dim_is_const(ctx, a, NULL) || lap_dim_is_const(ctx, b, NULL);
    if (!constant && (cancel(ctx, a, b, &product) || cancel(ctx, b, a, &product))) {
        return product;
    }
    for (uint32_t i = 0; i < x.n; i++) {
        product = sum_of(ctx, product, lap_dim_term_mul(ctx, b, x.at[i]));
    }
    return settle(ctx, product);
}
