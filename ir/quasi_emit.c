/* SPDX-License-Identifier: Apache-2.0
 * quasi_emit.c - expressions as the caller's values, and as text.
 *
 * Sums are made in rising order of the highest leaf inside each term, so that a prefix that only
 * depends on outer loops is one value which can stand outside the inner ones. */
#include <stdlib.h>
#include <string.h>

#include "ir/quasi_table.h"

enum { NOTHING = UINT32_MAX, LONGEST_TEXT = 4000 };

/* coefficient * value, a term of a sum being made */
typedef struct piece {
    uint32_t id, order, value;
    lap_dim c;
} piece;

typedef struct emitter {
    lap_quasi *q;
    const lap_quasi_visitor *to;
    piece *pieces;
    uint32_t n;
    size_t capacity;
} emitter;

static uint32_t emitted(const emitter *m, lap_qx e) { return m->q->exprs[e.ix].memo; }

static uint32_t emit_atom(emitter *m, uint32_t number)
{
    static const lap_quasi_op ops[] = {[LAP_Q_FLOOR] = LAP_QUASI_FLOORDIV,
                                       [LAP_Q_MIN] = LAP_QUASI_MIN,
                                       [LAP_Q_MAX] = LAP_QUASI_MAX,
                                       [LAP_Q_MUL] = LAP_QUASI_MUL};
    lap_qatom atom = m->q->atoms[number];
    if (atom.stamp != m->q->stamp) {
        atom.memo = atom.kind == LAP_Q_LEAF
                        ? m->to->leaf(m->to->user, atom.id)
                        : m->to->binary(m->to->user, ops[atom.kind], emitted(m, atom.a), emitted(m, atom.b));
        m->q->atoms[number].memo = atom.memo;
        m->q->atoms[number].stamp = m->q->stamp;
    }
    return atom.memo;
}

static void add_piece(emitter *m, uint32_t id, uint32_t value, lap_dim c)
{
    lap_arena_grow(m->q->ctx->arena, &m->pieces, m->n, 1, &m->capacity, sizeof *m->pieces);
    m->pieces[m->n] = (piece){id, m->n, value, c};
    m->n++;
}

/* Whether the term is -k * b * floor(a / b). */
static bool is_quotient(const lap_quasi *q, lap_qterm t, lap_dim *out_k, lap_qatom *out_floor)
{
    lap_qatom atom = q->atoms[t.atom];
    lap_dim b, rest, minus = lap_dim_sub(q->ctx, lap_dim_const(q->ctx, 0), t.c);
    if (atom.kind == LAP_Q_FLOOR && lap_quasi_is_dim(q, atom.b, &b)) {
        *out_floor = atom;
        *out_k = lap_dim_whole(q->ctx, minus, b, &rest);
        return out_k->ix && !rest.ix;
    }
    for (int side = 0; side < 2 && atom.kind == LAP_Q_MUL; side++) {
        lap_qexpr x = lap_qexpr_of(q, side ? atom.b : atom.a);
        lap_qx other = side ? atom.a : atom.b;
        if (x.n != 1 || x.c.ix || !lap_dim_same(x.at[0].c, lap_dim_const(q->ctx, 1))) {
            continue;
        }
        *out_floor = q->atoms[x.at[0].atom];
        if (out_floor->kind == LAP_Q_FLOOR && lap_quasi_same(out_floor->b, other)) {
            *out_k = minus;
            return true;
        }
    }
    return false;
}

static uint32_t size_of(const lap_quasi *q, lap_qx e)
{
    lap_qexpr x = lap_qexpr_of(q, e);
    return x.n + (x.c.ix != 0);
}

/* Takes one remainder out of e: k*a - k*b*floor(a/b) becomes a piece. */
static bool take_mod(emitter *m, lap_qx *e)
{
    lap_quasi *q = m->q;
    lap_qexpr x = lap_qexpr_of(q, *e);
    for (uint32_t i = 0; i < x.n; i++) {
        lap_qatom floor;
        lap_dim k;
        if (!is_quotient(q, x.at[i], &k, &floor)) {
            continue;
        }
        lap_qx quotient = lap_quasi_of_term(q, x.at[i]);
        lap_qx rest = lap_quasi_sub(q, *e, lap_quasi_add(q, quotient, lap_quasi_scale(q, floor.a, k)));
        if (size_of(q, rest) < size_of(q, *e)) {
            uint32_t value =
                m->to->binary(m->to->user, LAP_QUASI_MOD, emitted(m, floor.a), emitted(m, floor.b));
            add_piece(m, floor.id, value, k);
            *e = rest;
            return true;
        }
    }
    return false;
}

static int by_leaf(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    return x->id != y->id ? (x->id > y->id) - (x->id < y->id) : (x->order > y->order) - (x->order < y->order);
}

static uint32_t append(emitter *m, uint32_t sum, const piece *p)
{
    const lap_quasi_visitor *to = m->to;
    lap_ctx *ctx = m->q->ctx;
    int64_t c;
    bool minus = sum != NOTHING && lap_dim_is_const(ctx, p->c, &c) && c < 0;
    lap_dim factor = minus ? lap_dim_const(ctx, -c) : p->c;
    uint32_t value = p->value;
    if (!lap_dim_same(factor, lap_dim_const(ctx, 1))) {
        value = to->binary(to->user, LAP_QUASI_MUL, value, to->dim(to->user, factor));
    }
    return sum == NOTHING ? value : to->binary(to->user, minus ? LAP_QUASI_SUB : LAP_QUASI_ADD, sum, value);
}

static uint32_t emit_sum(emitter *m, lap_qx e)
{
    m->n = 0;
    while (take_mod(m, &e)) {
    }
    lap_qexpr x = lap_qexpr_of(m->q, e);
    for (uint32_t i = 0; i < x.n; i++) {
        add_piece(m, m->q->atoms[x.at[i].atom].id, emit_atom(m, x.at[i].atom), x.at[i].c);
    }
    if (m->n) {
        qsort(m->pieces, m->n, sizeof *m->pieces, by_leaf);
    }
    uint32_t sum = x.c.ix || !m->n ? m->to->dim(m->to->user, x.c) : NOTHING;
    for (uint32_t i = 0; i < m->n; i++) {
        sum = append(m, sum, &m->pieces[i]);
    }
    return sum;
}

uint32_t lap_quasi_emit(lap_quasi *q, lap_qx e, const lap_quasi_visitor *visitor)
{
    lap_id_list parts = lap_quasi_parts(q, e);
    emitter m = {.q = q, .to = visitor};
    for (size_t i = 0; i < parts.n; i++) {
        uint32_t value = emit_sum(&m, (lap_qx){parts.at[i]});
        q->exprs[parts.at[i]].memo = value;
    }
    return emitted(&m, e);
}

/* ---- text ---- */

typedef struct texts {
    lap_ctx *ctx;
    const char **at;
    size_t n, capacity;
} texts;

static uint32_t keep(texts *t, const char *text)
{
    lap_arena_grow(t->ctx->arena, &t->at, t->n, 1, &t->capacity, sizeof *t->at);
    t->at[t->n] = strlen(text) > LONGEST_TEXT ? "..." : text;
    return (uint32_t)t->n++;
}

static uint32_t dim_text(void *user, lap_dim d)
{
    texts *t = user;
    const char *text = lap_dim_show(t->ctx, d);
    return keep(t, !strpbrk(text, "+-*/") ? text : lap_arena_printf(t->ctx->arena, "(%s)", text));
}

static uint32_t leaf_text(void *user, uint32_t id)
{
    texts *t = user;
    return keep(t, lap_arena_printf(t->ctx->arena, "v%u", id));
}

static uint32_t binary_text(void *user, lap_quasi_op op, uint32_t a, uint32_t b)
{
    static const char *const signs[] = {" + ", " - ", "*", " // ", " % ", ", ", ", "};
    texts *t = user;
    const char *left = op == LAP_QUASI_MIN   ? "min("
                       : op == LAP_QUASI_MAX ? "max("
                       : op == LAP_QUASI_MUL ? ""
                                             : "(";
    return keep(t, lap_arena_printf(t->ctx->arena, "%s%s%s%s%s", left, t->at[a], signs[op], t->at[b],
                                    *left ? ")" : ""));
}

const char *lap_quasi_show(lap_quasi *q, lap_qx e)
{
    texts t = {.ctx = q->ctx};
    lap_quasi_visitor visitor = {&t, dim_text, leaf_text, binary_text};
    uint32_t whole = lap_quasi_emit(q, e, &visitor);
    return t.at[whole];
}
