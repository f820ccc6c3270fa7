/* SPDX-License-Identifier: Apache-2.0
 * dim_eval.c - values of extents, and their postfix code for the runtime. */
#include <string.h>

#include "ir/dim_table.h"
#include "runtime/program.h"

typedef struct values {
    lap_ctx *ctx;
    lap_dim_value *value;
    void *user;
} values;

static bool eval(const values *v, lap_dim d, int64_t *out);

static bool quotient(const lap_atom *atom, int64_t a, int64_t b, int64_t *out)
{
    if (atom->kind == LAP_ATOM_EXACT && (b == 0 || (b != -1 && a % b != 0))) {
        return false;
    }
    if (b == 0 || b == -1) {
        *out = 0;
        return b == 0 || !__builtin_sub_overflow(0, a, out);
    }
    *out = a / b - (a % b != 0 && (a < 0) != (b < 0));
    return true;
}

static bool eval_atom(const values *v, const lap_atom *atom, int64_t *out)
{
    int64_t a, b = 0;
    if (atom->kind == LAP_ATOM_SYMBOL) {
        return v->value(v->user, atom->name, out);
    }
    if (!eval(v, atom->a, &a) || !eval(v, atom->b, &b)) {
        return false;
    }
    switch (atom->kind) {
    case LAP_ATOM_FLOOR:
    case LAP_ATOM_EXACT:
        return quotient(atom, a, b, out);
    case LAP_ATOM_MIN:
        *out = a < b ? a : b;
        return true;
    case LAP_ATOM_MAX:
        *out = a > b ? a : b;
        return true;
    case LAP_ATOM_TRUNC:
        return lap_dim_trunc_value(atom->c, a, out);
    case LAP_ATOM_SYMBOL:
        break;
    }
    return false;
}

static bool eval_mono(const values *v, uint32_t mono, int64_t *out)
{
    lap_mono m = v->ctx->dims->monos[mono];
    *out = 1;
    for (uint32_t i = 0; i < m.n; i++) {
        lap_atom atom = v->ctx->dims->atoms[m.at[i].atom];
        int64_t factor;
        if (!eval_atom(v, &atom, &factor)) {
            return false;
        }
        for (uint32_t e = 0; e < m.at[i].exp; e++) {
            if (__builtin_mul_overflow(*out, factor, out)) {
                return false;
            }
        }
    }
    return true;
}

static bool eval(const values *v, lap_dim d, int64_t *out)
{
    if (lap_dim_is_bad(d)) {
        return false;
    }
    lap_poly p = lap_poly_of(v->ctx, d);
    int64_t sum = 0;
    for (uint32_t i = 0; i < p.n; i++) {
        int64_t x;
        if (!eval_mono(v, p.at[i].mono, &x) ||
            __builtin_mul_overflow(x, p.at[i].c.num * (p.den / p.at[i].c.den), &x) ||
            __builtin_add_overflow(sum, x, &sum)) {
            return false;
        }
    }
    *out = sum / p.den;
    return sum % p.den == 0;
}

bool lap_dim_eval(lap_ctx *ctx, lap_dim d, lap_dim_value *value, void *user, int64_t *out)
{
    return eval(&(values){ctx, value, user}, d, out);
}

typedef struct encoder {
    lap_ctx *ctx;
    uint32_t (*symbol)(void *user, lap_name name);
    void (*put)(void *user, int64_t word);
    void *user;
} encoder;

static void encode(const encoder *e, lap_dim d);

static void put_const(const encoder *e, int64_t value)
{
    e->put(e->user, LAP_DIM_CONST);
    e->put(e->user, value);
}

static void encode_atom(const encoder *e, const lap_atom *atom)
{
    static const lap_dim_op codes[] = {[LAP_ATOM_SYMBOL] = LAP_DIM_SYMBOL, [LAP_ATOM_FLOOR] = LAP_DIM_FLOOR,
                                       [LAP_ATOM_EXACT] = LAP_DIM_EXACT,   [LAP_ATOM_MIN] = LAP_DIM_MIN,
                                       [LAP_ATOM_MAX] = LAP_DIM_MAX,       [LAP_ATOM_TRUNC] = LAP_DIM_TRUNC};
    int64_t word = 0;
    if (atom->kind == LAP_ATOM_SYMBOL) {
        word = e->symbol(e->user, atom->name);
    } else {
        encode(e, atom->a);
    }
    if (atom->kind == LAP_ATOM_TRUNC) {
        memcpy(&word, &atom->c, sizeof word);
    } else if (atom->kind != LAP_ATOM_SYMBOL) {
        encode(e, atom->b);
    }
    e->put(e->user, codes[atom->kind]);
    if (atom->kind == LAP_ATOM_SYMBOL || atom->kind == LAP_ATOM_TRUNC) {
        e->put(e->user, word);
    }
}

static void encode_term(const encoder *e, int64_t num, uint32_t mono)
{
    lap_mono m = e->ctx->dims->monos[mono];
    bool first = num == 1 && m.n;
    if (!first) {
        put_const(e, num);
    }
    for (uint32_t i = 0; i < m.n; i++) {
        lap_atom atom = e->ctx->dims->atoms[m.at[i].atom];
        for (uint32_t k = 0; k < m.at[i].exp; k++) {
            encode_atom(e, &atom);
            if (!first) {
                e->put(e->user, LAP_DIM_MUL);
            }
            first = false;
        }
    }
}

static void encode(const encoder *e, lap_dim d)
{
    lap_poly p = lap_poly_of(e->ctx, d);
    if (lap_dim_is_bad(d)) { /* 1 / 0: an error when it is asked for */
        put_const(e, 1);
        put_const(e, 0);
        e->put(e->user, LAP_DIM_EXACT);
        return;
    }
    if (!p.n) {
        put_const(e, 0);
    }
    for (uint32_t i = 0; i < p.n; i++) {
        int64_t num = p.at[i].c.num * (p.den / p.at[i].c.den);
        bool minus = i && num < 0;
        encode_term(e, minus ? -num : num, p.at[i].mono);
        if (i) {
            e->put(e->user, minus ? LAP_DIM_SUB : LAP_DIM_ADD);
        }
    }
    if (p.den != 1) {
        put_const(e, p.den);
        e->put(e->user, LAP_DIM_EXACT);
    }
}

void lap_dim_encode(lap_ctx *ctx, lap_dim d, uint32_t (*symbol)(void *user, lap_name name),
                    void (*put)(void *user, int64_t word), void *user)
{
    encode(&(encoder){ctx, symbol, put, user}, d);
}

typedef struct name_list {
    lap_name *at;
    size_t n, capacity;
} name_list;

static void collect(lap_ctx *ctx, lap_dim d, name_list *list)
{
    lap_poly p = lap_poly_of(ctx, d);
    for (uint32_t i = 0; i < p.n; i++) {
        lap_mono m = ctx->dims->monos[p.at[i].mono];
        for (uint32_t j = 0; j < m.n; j++) {
            lap_atom atom = ctx->dims->atoms[m.at[j].atom];
            if (atom.kind != LAP_ATOM_SYMBOL) {
                collect(ctx, atom.a, list);
                collect(ctx, atom.b, list);
                continue;
            }
            bool known = false;
            for (size_t k = 0; k < list->n && !known; k++) {
                known = lap_name_same(list->at[k], atom.name);
            }
            if (!known) {
                lap_arena_grow(ctx->arena, &list->at, list->n, 1, &list->capacity, sizeof *list->at);
                list->at[list->n++] = atom.name;
            }
        }
    }
}

void lap_dim_symbols(lap_ctx *ctx, lap_dim d, void (*fn)(void *user, lap_name symbol), void *user)
{
    name_list list = {0};
    collect(ctx, d, &list);
    for (size_t i = 0; i < list.n; i++) {
        fn(user, list.at[i]);
    }
}

bool lap_rel_holds(int64_t a, lap_rel rel, int64_t b)
{
    switch (rel) {
    case LAP_REL_EQ:
        return a == b;
    case LAP_REL_NE:
        return a != b;
    case LAP_REL_LT:
        return a < b;
    case LAP_REL_LE:
        return a <= b;
    case LAP_REL_GT:
        return a > b;
    case LAP_REL_GE:
        return a >= b;
    }
    LAP_BUG("relation %d", (int)rel);
}
