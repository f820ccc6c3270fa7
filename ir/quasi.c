/* SPDX-License-Identifier: Apache-2.0
 * quasi.c - the table of expressions, leaves, sums and products. */
#include "ir/quasi.h"

#include <string.h>

#include "ir/quasi_table.h"

enum { FEW_TERMS = 16 };

typedef struct wanted {
    const lap_quasi *q;
    const void *item;
} wanted;

lap_qexpr lap_qexpr_of(const lap_quasi *q, lap_qx e)
{
    LAP_ENSURE(e.ix < q->n_exprs);
    return q->exprs[e.ix];
}

static bool same_expr(const void *user, uint32_t id)
{
    const wanted *w = user;
    const lap_qexpr *x = w->item, *y = &w->q->exprs[id];
    if (x->n != y->n || x->c.ix != y->c.ix) {
        return false;
    }
    for (uint32_t i = 0; i < x->n; i++) {
        if (x->at[i].atom != y->at[i].atom || x->at[i].c.ix != y->at[i].c.ix) {
            return false;
        }
    }
    return true;
}

static lap_qx make(lap_quasi *q, const lap_qterm *terms, uint32_t n, lap_dim c)
{
    lap_qexpr e = {.n = n, .at = terms, .c = c};
    uint32_t hash = lap_hash(lap_hash(0, &c.ix, sizeof c.ix), terms, n * sizeof *terms);
    wanted w = {q, &e};
    uint32_t id = lap_idset_find(&q->expr_ids, hash, same_expr, &w);
    if (id != LAP_NO_ID) {
        return (lap_qx){id};
    }
    lap_arena *arena = q->ctx->arena;
    e.at = lap_arena_copy(arena, terms, n * sizeof *terms);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t height = q->atoms[terms[i].atom].height;
        e.height = height > e.height ? height : e.height;
    }
    lap_arena_grow(arena, &q->exprs, q->n_exprs, 1, &q->exprs_capacity, sizeof *q->exprs);
    id = (uint32_t)q->n_exprs;
    q->exprs[id] = e;
    lap_idset_add(arena, &q->expr_ids, hash, id);
    q->n_exprs++;
    return (lap_qx){id};
}

lap_quasi *lap_quasi_new(lap_ctx *ctx)
{
    lap_quasi *q = lap_arena_alloc(ctx->arena, sizeof *q);
    q->ctx = ctx;
    q->epoch = 1;
    make(q, NULL, 0, lap_dim_const(ctx, 0));
    return q;
}

lap_qx lap_quasi_dim(lap_quasi *q, lap_dim d) { return make(q, NULL, 0, d); }

lap_qx lap_quasi_const(lap_quasi *q, int64_t value) { return lap_quasi_dim(q, lap_dim_const(q->ctx, value)); }

lap_qx lap_quasi_of_term(lap_quasi *q, lap_qterm t)
{
    return make(q, &t, t.c.ix != 0, lap_dim_const(q->ctx, 0));
}

static bool same_atom(const void *user, uint32_t id)
{
    const wanted *w = user;
    const lap_qatom *x = w->item, *y = &w->q->atoms[id];
    if (x->kind != y->kind) {
        return false;
    }
    return x->kind == LAP_Q_LEAF ? x->id == y->id : x->a.ix == y->a.ix && x->b.ix == y->b.ix;
}

static uint32_t highest_id(const lap_quasi *q, lap_qx e)
{
    lap_qexpr x = lap_qexpr_of(q, e);
    uint32_t highest = 0;
    for (uint32_t i = 0; i < x.n; i++) {
        uint32_t id = q->atoms[x.at[i].atom].id;
        highest = id > highest ? id : highest;
    }
    return highest;
}

lap_qx lap_quasi_of_atom(lap_quasi *q, const lap_qatom *atom)
{
    uint32_t key[4] = {atom->kind, atom->id, atom->a.ix, atom->b.ix};
    uint32_t hash = lap_hash(0, key, sizeof key);
    wanted w = {q, atom};
    uint32_t found = lap_idset_find(&q->atom_ids, hash, same_atom, &w);
    if (found == LAP_NO_ID) {
        lap_arena_grow(q->ctx->arena, &q->atoms, q->n_atoms, 1, &q->atoms_capacity, sizeof *q->atoms);
        found = (uint32_t)q->n_atoms;
        lap_qatom *made = &q->atoms[found];
        *made = *atom;
        if (atom->kind != LAP_Q_LEAF) {
            uint32_t id_a = highest_id(q, atom->a), id_b = highest_id(q, atom->b);
            uint32_t height_a = q->exprs[atom->a.ix].height, height_b = q->exprs[atom->b.ix].height;
            made->id = id_a > id_b ? id_a : id_b;
            made->height = 1 + (height_a > height_b ? height_a : height_b);
        }
        lap_idset_add(q->ctx->arena, &q->atom_ids, hash, found);
        q->n_atoms++;
    }
    return lap_quasi_of_term(q, (lap_qterm){found, lap_dim_const(q->ctx, 1)});
}

lap_qx lap_quasi_var(lap_quasi *q, uint32_t id, lap_dim extent)
{
    return lap_quasi_opaque_in(q, id, lap_dim_const(q->ctx, 0), extent);
}

lap_qx lap_quasi_opaque(lap_quasi *q, uint32_t id)
{
    return lap_quasi_of_atom(q, &(lap_qatom){.kind = LAP_Q_LEAF, .id = id});
}

lap_qx lap_quasi_opaque_in(lap_quasi *q, uint32_t id, lap_dim lo, lap_dim end)
{
    return lap_quasi_of_atom(
        q, &(lap_qatom){.kind = LAP_Q_LEAF, .id = id, .is_bounded = true, .lo = lo, .end = end});
}

bool lap_quasi_is_dim(const lap_quasi *q, lap_qx e, lap_dim *out)
{
    lap_qexpr x = lap_qexpr_of(q, e);
    if (!x.n && out) {
        *out = x.c;
    }
    return !x.n;
}

bool lap_quasi_is_const(const lap_quasi *q, lap_qx e, int64_t *out)
{
    lap_dim d;
    return lap_quasi_is_dim(q, e, &d) && lap_dim_is_const(q->ctx, d, out);
}

lap_qx lap_quasi_add(lap_quasi *q, lap_qx a, lap_qx b)
{
    lap_qexpr x = lap_qexpr_of(q, a), y = lap_qexpr_of(q, b);
    lap_qterm few[FEW_TERMS];
    lap_qterm *sum = x.n + y.n <= FEW_TERMS ? few : lap_arena_array(q->ctx->arena, x.n + y.n, sizeof *sum);
    uint32_t n = 0, i = 0, j = 0;
    while (i < x.n || j < y.n) {
        bool left = j == y.n || (i < x.n && x.at[i].atom <= y.at[j].atom);
        bool right = i == x.n || (j < y.n && y.at[j].atom <= x.at[i].atom);
        sum[n] = left ? x.at[i] : y.at[j];
        if (left && right) {
            sum[n].c = lap_dim_add(q->ctx, x.at[i].c, y.at[j].c);
        }
        i += left;
        j += right;
        n += sum[n].c.ix != 0;
    }
    return make(q, sum, n, lap_dim_add(q->ctx, x.c, y.c));
}

lap_qx lap_quasi_plus(lap_quasi *q, lap_qx e, int64_t value)
{
    return lap_quasi_add(q, e, lap_quasi_const(q, value));
}

lap_qx lap_quasi_scale(lap_quasi *q, lap_qx a, lap_dim by)
{
    lap_qexpr x = lap_qexpr_of(q, a);
    lap_qterm few[FEW_TERMS];
    lap_qterm *terms = x.n <= FEW_TERMS ? few : lap_arena_array(q->ctx->arena, x.n, sizeof *terms);
    uint32_t n = 0;
    for (uint32_t i = 0; i < x.n; i++) {
        terms[n] = (lap_qterm){x.at[i].atom, lap_dim_mul(q->ctx, x.at[i].c, by)};
        n += terms[n].c.ix != 0;
    }
    return make(q, terms, n, lap_dim_mul(q->ctx, x.c, by));
}

lap_qx lap_quasi_neg(lap_quasi *q, lap_qx a) { return lap_quasi_scale(q, a, lap_dim_const(q->ctx, -1)); }

lap_qx lap_quasi_sub(lap_quasi *q, lap_qx a, lap_qx b) { return lap_quasi_add(q, a, lap_quasi_neg(q, b)); }

lap_qx lap_quasi_mul(lap_quasi *q, lap_qx a, lap_qx b)
{
    lap_dim by;
    if (lap_quasi_is_dim(q, b, &by)) {
        return lap_quasi_scale(q, a, by);
    }
    if (lap_quasi_is_dim(q, a, &by)) {
        return lap_quasi_scale(q, b, by);
    }
    bool swap = a.ix > b.ix;
    return lap_quasi_of_atom(q, &(lap_qatom){.kind = LAP_Q_MUL, .a = swap ? b : a, .b = swap ? a : b});
}
