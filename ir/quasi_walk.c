/* SPDX-License-Identifier: Apache-2.0
 * quasi_walk.c - rebuilding, substituting and reading off expressions.
 *
 * Parts have smaller numbers than what contains them, so a walk collects the parts and visits them in
 * rising order; nothing recurses, however deep an expression is. */
#include <stdlib.h>

#include "ir/quasi_table.h"

static void reach(lap_quasi *q, lap_qx e, lap_id_list *list)
{
    if (q->exprs[e.ix].stamp != q->stamp) {
        q->exprs[e.ix].stamp = q->stamp;
        lap_arena_grow(q->ctx->arena, &list->at, list->n, 1, &list->capacity, sizeof *list->at);
        list->at[list->n++] = e.ix;
    }
}

static int rising(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

lap_id_list lap_quasi_parts(lap_quasi *q, lap_qx e)
{
    lap_id_list list = {0};
    q->stamp++;
    reach(q, e, &list);
    for (size_t i = 0; i < list.n; i++) {
        lap_qexpr x = lap_qexpr_of(q, (lap_qx){list.at[i]});
        for (uint32_t j = 0; j < x.n; j++) {
            lap_qatom atom = q->atoms[x.at[j].atom];
            if (atom.kind != LAP_Q_LEAF) {
                reach(q, atom.a, &list);
                reach(q, atom.b, &list);
            }
        }
    }
    qsort(list.at, list.n, sizeof *list.at, rising);
    return list;
}

static lap_qx memo(const lap_quasi *q, lap_qx e) { return (lap_qx){q->exprs[e.ix].memo}; }

static lap_qx rebuild_atom(lap_quasi *q, const lap_qatom *atom)
{
    lap_qx a = memo(q, atom->a), b = memo(q, atom->b);
    switch (atom->kind) {
    case LAP_Q_FLOOR:
        return lap_quasi_floordiv(q, a, b);
    case LAP_Q_MIN:
        return lap_quasi_min(q, a, b);
    case LAP_Q_MAX:
        return lap_quasi_max(q, a, b);
    case LAP_Q_MUL:
        return lap_quasi_mul(q, a, b);
    case LAP_Q_LEAF:
        break;
    }
    LAP_BUG("a leaf has no parts");
}

/* Makes e again from its leaves, `id` (when `by` is given) replaced. */
static lap_qx rebuild(lap_quasi *q, lap_qx e, uint32_t id, const lap_qx *by)
{
    lap_id_list parts = lap_quasi_parts(q, e);
    for (size_t i = 0; i < parts.n; i++) {
        lap_qexpr x = lap_qexpr_of(q, (lap_qx){parts.at[i]});
        lap_qx sum = lap_quasi_dim(q, x.c);
        for (uint32_t j = 0; j < x.n; j++) {
            lap_qterm t = x.at[j];
            lap_qatom atom = q->atoms[t.atom];
            lap_qx term;
            if (atom.kind == LAP_Q_LEAF) {
                term = by && atom.id == id ? lap_quasi_scale(q, *by, t.c) : lap_quasi_of_term(q, t);
            } else {
                term = lap_quasi_scale(q, rebuild_atom(q, &atom), t.c);
            }
            sum = lap_quasi_add(q, sum, term);
        }
        q->exprs[parts.at[i]].memo = sum.ix;
    }
    return memo(q, e);
}

lap_qx lap_quasi_subst(lap_quasi *q, lap_qx e, uint32_t id, lap_qx by)
{
    return lap_quasi_uses(q, e, id) ? rebuild(q, e, id, &by) : e;
}

lap_qx lap_quasi_simplify(lap_quasi *q, lap_qx e) { return rebuild(q, e, 0, NULL); }

bool lap_quasi_uses(lap_quasi *q, lap_qx e, uint32_t id)
{
    lap_id_list parts = lap_quasi_parts(q, e);
    for (size_t i = 0; i < parts.n; i++) {
        lap_qexpr x = lap_qexpr_of(q, (lap_qx){parts.at[i]});
        for (uint32_t j = 0; j < x.n; j++) {
            lap_qatom *atom = &q->atoms[x.at[j].atom];
            if (atom->kind == LAP_Q_LEAF && atom->id == id) {
                return true;
            }
        }
    }
    return false;
}

void lap_quasi_leaves(lap_quasi *q, lap_qx e, void (*fn)(void *user, uint32_t id), void *user)
{
    lap_id_list parts = lap_quasi_parts(q, e), ids = {0};
    for (size_t i = 0; i < parts.n; i++) {
        lap_qexpr x = lap_qexpr_of(q, (lap_qx){parts.at[i]});
        for (uint32_t j = 0; j < x.n; j++) {
            lap_qatom *atom = &q->atoms[x.at[j].atom];
            if (atom->kind == LAP_Q_LEAF) {
                lap_arena_grow(q->ctx->arena, &ids.at, ids.n, 1, &ids.capacity, sizeof *ids.at);
                ids.at[ids.n++] = atom->id;
            }
        }
    }
    if (ids.n) {
        qsort(ids.at, ids.n, sizeof *ids.at, rising);
    }
    for (size_t i = 0; i < ids.n; i++) {
        if (i == 0 || ids.at[i] != ids.at[i - 1]) {
            fn(user, ids.at[i]);
        }
    }
}

bool lap_quasi_affine(lap_quasi *q, lap_qx e, uint32_t id, lap_dim *out_stride, lap_qx *out_rest)
{
    lap_qexpr x = lap_qexpr_of(q, e);
    *out_stride = lap_dim_const(q->ctx, 0);
    *out_rest = e;
    for (uint32_t i = 0; i < x.n; i++) {
        const lap_qatom *atom = &q->atoms[x.at[i].atom];
        if (atom->kind == LAP_Q_LEAF && atom->id == id) {
            *out_stride = x.at[i].c;
            *out_rest = lap_quasi_sub(q, e, lap_quasi_of_term(q, x.at[i]));
            break;
        }
    }
    return !lap_quasi_uses(q, *out_rest, id);
}

bool lap_quasi_stride(lap_quasi *q, lap_qx e, uint32_t id, lap_dim *out_stride)
{
    lap_qx rest;
    return lap_quasi_affine(q, e, id, out_stride, &rest);
}
