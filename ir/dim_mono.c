/* SPDX-License-Identifier: Apache-2.0
 * dim_mono.c - atoms and their products, with a structural order. */
#include <string.h>

#include "ir/dim_table.h"

enum { HIGHEST_DEGREE = 64 };

typedef struct wanted {
    const lap_dims *dims;
    const void *item;
} wanted;

static bool same_atom(const void *user, uint32_t id)
{
    const wanted *w = user;
    const lap_atom *x = w->item, *y = &w->dims->atoms[id];
    return x->kind == y->kind && x->name.ix == y->name.ix && x->a.ix == y->a.ix && x->b.ix == y->b.ix &&
           memcmp(&x->c, &y->c, sizeof x->c) == 0;
}

uint32_t lap_atom_id(lap_ctx *ctx, const lap_atom *atom)
{
    lap_dims *dims = ctx->dims;
    uint32_t key[4] = {atom->kind, atom->name.ix, atom->a.ix, atom->b.ix};
    uint32_t hash = lap_hash(lap_hash(0, key, sizeof key), &atom->c, sizeof atom->c);
    wanted w = {dims, atom};
    uint32_t id = lap_idset_find(&dims->atom_ids, hash, same_atom, &w);
    if (id == LAP_NO_ID) {
        lap_arena_grow(ctx->arena, &dims->atoms, dims->n_atoms, 1, &dims->atoms_capacity,
                       sizeof *dims->atoms);
        id = (uint32_t)dims->n_atoms;
        dims->atoms[id] = *atom;
        lap_idset_add(ctx->arena, &dims->atom_ids, hash, id);
        dims->n_atoms++;
    }
    return id;
}

static bool same_mono(const void *user, uint32_t id)
{
    const wanted *w = user;
    const lap_mono *x = w->item, *y = &w->dims->monos[id];
    return x->n == y->n && (!x->n || memcmp(x->at, y->at, x->n * sizeof *x->at) == 0);
}

static uint32_t mono_id(lap_ctx *ctx, const lap_factor *factors, uint32_t n)
{
    lap_dims *dims = ctx->dims;
    lap_mono mono = {n, 0, factors};
    uint32_t hash = lap_hash(0, factors, n * sizeof *factors);
    wanted w = {dims, &mono};
    uint32_t id = lap_idset_find(&dims->mono_ids, hash, same_mono, &w);
    if (id != LAP_NO_ID) {
        return id;
    }
    for (uint32_t i = 0; i < n; i++) {
        mono.degree += factors[i].exp;
    }
    mono.at = lap_arena_copy(ctx->arena, factors, n * sizeof *factors);
    lap_arena_grow(ctx->arena, &dims->monos, dims->n_monos, 1, &dims->monos_capacity, sizeof *dims->monos);
    id = (uint32_t)dims->n_monos;
    dims->monos[id] = mono;
    lap_idset_add(ctx->arena, &dims->mono_ids, hash, id);
    dims->n_monos++;
    return id;
}

uint32_t lap_mono_of_atom(lap_ctx *ctx, uint32_t atom) { return mono_id(ctx, &(lap_factor){atom, 1}, 1); }

bool lap_mono_mul(lap_ctx *ctx, uint32_t a, uint32_t b, uint32_t *out)
{
    lap_mono x = ctx->dims->monos[a], y = ctx->dims->monos[b];
    if (!x.n || !y.n) {
        *out = x.n ? a : b;
        return true;
    }
    if (x.degree + y.degree > HIGHEST_DEGREE) {
        return false;
    }
    lap_factor product[HIGHEST_DEGREE];
    uint32_t n = 0, i = 0, j = 0;
    while (i < x.n || j < y.n) {
        int order = i == x.n ? 1 : j == y.n ? -1 : lap_atom_order(ctx, x.at[i].atom, y.at[j].atom);
        product[n] = order <= 0 ? x.at[i] : y.at[j];
        if (order == 0) {
            product[n].exp += y.at[j].exp;
        }
        i += order <= 0;
        j += order >= 0;
        n++;
    }
    *out = mono_id(ctx, product, n);
    return true;
}

bool lap_mono_div(lap_ctx *ctx, uint32_t a, uint32_t b, uint32_t *out)
{
    lap_mono x = ctx->dims->monos[a], y = ctx->dims->monos[b];
    lap_factor quotient[HIGHEST_DEGREE];
    uint32_t n = 0, j = 0;
    for (uint32_t i = 0; i < x.n; i++) {
        lap_factor f = x.at[i];
        if (j < y.n && y.at[j].atom == f.atom) {
            if (y.at[j].exp > f.exp) {
                return false;
            }
            f.exp -= y.at[j++].exp;
        }
        if (f.exp) {
            quotient[n++] = f;
        }
    }
    if (j < y.n) {
        return false;
    }
    *out = mono_id(ctx, quotient, n);
    return true;
}

int lap_atom_order(const lap_ctx *ctx, uint32_t a, uint32_t b)
{
    if (a == b) {
        return 0;
    }
    const lap_atom *x = &ctx->dims->atoms[a], *y = &ctx->dims->atoms[b];
    if (x->kind != y->kind) {
        return x->kind < y->kind ? -1 : 1;
    }
    if (x->kind == LAP_ATOM_SYMBOL) {
        return strcmp(lap_text(ctx, x->name), lap_text(ctx, y->name));
    }
    if (x->c != y->c) {
        return x->c < y->c ? -1 : 1;
    }
    int order = lap_dim_order(ctx, x->a, y->a);
    return order ? order : lap_dim_order(ctx, x->b, y->b);
}

int lap_mono_order(const lap_ctx *ctx, uint32_t a, uint32_t b)
{
    if (a == b) {
        return 0;
    }
    const lap_mono *x = &ctx->dims->monos[a], *y = &ctx->dims->monos[b];
    if (x->degree != y->degree) {
        return x->degree > y->degree ? -1 : 1;
    }
    for (uint32_t i = 0; i < x->n && i < y->n; i++) {
        int order = lap_atom_order(ctx, x->at[i].atom, y->at[i].atom);
        if (order) {
            return order;
        }
        if (x->at[i].exp != y->at[i].exp) {
            return x->at[i].exp > y->at[i].exp ? -1 : 1;
        }
    }
    return 0;
}

int lap_dim_order(const lap_ctx *ctx, lap_dim a, lap_dim b)
{
    if (a.ix == b.ix) {
        return 0;
    }
    lap_poly x = lap_poly_of(ctx, a), y = lap_poly_of(ctx, b);
    for (uint32_t i = 0; i < x.n && i < y.n; i++) {
        int order = lap_mono_order(ctx, x.at[i].mono, y.at[i].mono);
        if (order) {
            return order;
        }
        lap_rat p = x.at[i].c, q = y.at[i].c;
        if (p.num != q.num || p.den != q.den) {
            return (__int128)p.num * q.den < (__int128)q.num * p.den ? -1 : 1;
        }
    }
    return x.n < y.n ? -1 : x.n > y.n ? 1 : a.ix < b.ix ? -1 : 1;
}
