/* SPDX-License-Identifier: Apache-2.0
 * test_quasi.c - the simplifier against brute force: every point of small boxes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/quasi.h"

enum { N_LEAVES = 3, N_SYMBOLS = 2, MOST_OPS = 4096 };

/* A little world: two symbolic extents, three leaves with ranges, the current point. */
typedef struct world {
    lap_ctx *ctx;
    lap_quasi *q;
    lap_dim symbols[N_SYMBOLS], lo[N_LEAVES], end[N_LEAVES];
    lap_qx leaves[N_LEAVES];
    int64_t symbol[N_SYMBOLS], leaf[N_LEAVES];
} world;

static bool symbol_value(void *user, lap_name symbol, int64_t *out)
{
    const world *w = user;
    *out = w->symbol[lap_text(w->ctx, symbol)[0] == 'W'];
    return true;
}

static int64_t dim_value(world *w, lap_dim d)
{
    int64_t v = 0;
    assert_true(lap_dim_eval(w->ctx, d, symbol_value, w, &v));
    return v;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return b == 0 ? 0 : a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t apply(lap_quasi_op op, int64_t a, int64_t b)
{
    switch (op) {
    case LAP_QUASI_ADD:
        return a + b;
    case LAP_QUASI_SUB:
        return a - b;
    case LAP_QUASI_MUL:
        return a * b;
    case LAP_QUASI_FLOORDIV:
        return floor_div(a, b);
    case LAP_QUASI_MOD:
        return a - b * floor_div(a, b);
    case LAP_QUASI_MIN:
        return a < b ? a : b;
    case LAP_QUASI_MAX:
        return a > b ? a : b;
    }
    return 0;
}

static lap_qx combine(lap_quasi *q, lap_quasi_op op, lap_qx a, lap_qx b)
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
    return a;
}

/* ---- code: what emit or the generator makes, run at a point ---- */

typedef enum code_kind { CODE_DIM, CODE_LEAF, CODE_BINARY } code_kind;
typedef struct op {
    code_kind kind;
    lap_dim d;
    uint32_t id;
    lap_quasi_op op;
    uint32_t a, b;
} op;
typedef struct code {
    op at[MOST_OPS];
    uint32_t n;
    int64_t value[MOST_OPS];
} code;

static uint32_t put(code *c, op o)
{
    assert_true(c->n < MOST_OPS);
    c->at[c->n] = o;
    return c->n++;
}

static uint32_t put_dim(void *user, lap_dim d) { return put(user, (op){.kind = CODE_DIM, .d = d}); }
static uint32_t put_leaf(void *user, uint32_t id) { return put(user, (op){.kind = CODE_LEAF, .id = id}); }
static uint32_t put_binary(void *user, lap_quasi_op o, uint32_t a, uint32_t b)
{
    return put(user, (op){.kind = CODE_BINARY, .op = o, .a = a, .b = b});
}

static uint32_t emit(world *w, lap_qx e, code *c)
{
    c->n = 0;
    return lap_quasi_emit(w->q, e, &(lap_quasi_visitor){c, put_dim, put_leaf, put_binary});
}

static int64_t run(world *w, code *c, uint32_t result)
{
    for (uint32_t i = 0; i <= result; i++) {
        const op *o = &c->at[i];
        c->value[i] = o->kind == CODE_DIM    ? dim_value(w, o->d)
                      : o->kind == CODE_LEAF ? w->leaf[o->id]
                                             : apply(o->op, c->value[o->a], c->value[o->b]);
    }
    return c->value[result];
}

static lap_qx rebuild(world *w, const code *c, uint32_t result)
{
    static lap_qx made[MOST_OPS];
    for (uint32_t i = 0; i <= result; i++) {
        const op *o = &c->at[i];
        made[i] = o->kind == CODE_DIM    ? lap_quasi_dim(w->q, o->d)
                  : o->kind == CODE_LEAF ? w->leaves[o->id]
                                         : combine(w->q, o->op, made[o->a], made[o->b]);
    }
    return made[result];
}

static uint32_t count(const code *c, lap_quasi_op wanted)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        n += c->at[i].kind == CODE_BINARY && c->at[i].op == wanted;
    }
    return n;
}

/* ---- a world with chosen ranges, read from text ---- */

static lap_dim dim(lap_ctx *ctx, const char *text)
{
    lap_dim d = {0};
    const char *error = NULL;
    if (!lap_dim_parse(ctx, text, strlen(text), &d, &error)) {
        fail_msg("'%s': %s", text, error);
    }
    return d;
}

static world new_world_from(const char *const ends[N_LEAVES], int64_t lowest)
{
    world w = {.ctx = lap_ctx_new(0)};
    w.q = lap_quasi_new(w.ctx);
    w.symbols[0] = dim(w.ctx, "H");
    w.symbols[1] = dim(w.ctx, "W");
    for (uint32_t i = 0; i < N_LEAVES; i++) {
        w.lo[i] = lap_dim_const(w.ctx, i == 2 ? lowest : 0);
        w.end[i] = dim(w.ctx, ends[i]);
        w.leaves[i] = lap_quasi_opaque_in(w.q, i, w.lo[i], w.end[i]);
    }
    return w;
}

static world new_world(const char *const ends[N_LEAVES]) { return new_world_from(ends, 0); }

static void free_world(world *w) { lap_ctx_free(w->ctx); }

/* Reverse Polish: x y z leaves, H W symbols, digits, ops + - * / (floor) % < (min) > (max). */
static lap_qx read(world *w, const char *text)
{
    lap_qx stack[32];
    size_t n = 0;
    for (const char *s = text; *s; s++) {
        static const char ops[] = "+-*/%<>";
        const char *o = strchr(ops, *s);
        if (*s == ' ') {
            continue;
        }
        if (o) {
            assert_true(n >= 2);
            n--;
            stack[n - 1] = combine(w->q, (lap_quasi_op)(o - ops), stack[n - 1], stack[n]);
        } else if (*s >= '0' && *s <= '9') {
            stack[n++] = lap_quasi_const(w->q, strtol(s, (char **)&s, 10));
            s--;
        } else if (*s == 'H' || *s == 'W') {
            stack[n++] = lap_quasi_dim(w->q, w->symbols[*s == 'W']);
        } else {
            stack[n++] = w->leaves[*s - 'x'];
        }
    }
    assert_int_equal(n, 1);
    return stack[0];
}

static void rules(void **state)
{
    (void)state;
    static const char *const constant[] = {"4", "8", "100"}, *const symbolic[] = {"W", "H", "H*W"};
    static const struct {
        const char *const *ends;
        const char *a, *b;
    } rows[] = {
        {symbolic, "W y * x + W /", "y"},
        {symbolic, "W y * x + W %", "x"},
        {symbolic, "W z W / * z W % +", "z"},
        {symbolic, "z W / H /", "0"},
        {symbolic, "z W / H %", "z W /"},
        {symbolic, "x W %", "x"},
        {symbolic, "x W /", "0"},
        {symbolic, "x 0 >", "x"},
        {symbolic, "x W 1 - <", "x"},
        {symbolic, "x 1 - W 1 - < 0 1 - >", "x 1 -"},
        {symbolic, "z z W / W * -", "z W %"},
        {constant, "8 x * y + 8 /", "x"},
        {constant, "z 2 / 3 /", "z 6 /"},
        {constant, "z 8 % 2 /", "z 2 / 4 %"},
        {constant, "z 4 / 4 * z 4 % +", "z"},
        {constant, "16 z * y + 64 /", "z 4 /"},
        {constant, "z 100 /", "0"},
        {constant, "y 8 + 8 /", "1"},
        {constant, "x y <", "x y <"},
        {constant, "x 4 y + <", "x"},
        {constant, "x 3 - 0 <", "x 3 -"},
        {constant, "z 12 / 4 * z 3 / 4 % +", "z 3 /"},
        {constant, "z 0 * x +", "x"},
        {constant, "z 5 % 5 %", "z 5 %"},
        {constant, "x x -", "0"},
        {constant, "z 8 * y + 8 % 4 /", "y 4 /"},
        {constant, "x 8 * y + x 8 * -", "y"},
        {constant, "x y * x y * -", "0"},
        {constant, "z z %", "z z %"},
        {constant, "x y 4 + %", "x"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        world w = new_world(rows[i].ends);
        lap_qx a = read(&w, rows[i].a), b = read(&w, rows[i].b);
        if (!lap_quasi_same(a, b)) {
            fail_msg("%s is %s, but %s is %s", rows[i].a, lap_quasi_show(w.q, a), rows[i].b,
                     lap_quasi_show(w.q, b));
        }
        free_world(&w);
    }
}

static void assumptions(void **state)
{
    (void)state;
    world w = new_world((const char *const[]){"H", "H", "100"});
    lap_qx zero = {0}, h = read(&w, "H"), below = read(&w, "x 1 -"), j_i = read(&w, "x y -");
    assert_int_equal(lap_quasi_compare(w.q, below, LAP_REL_GE, zero), LAP_UNKNOWN);
    assert_int_equal(lap_quasi_compare(w.q, below, LAP_REL_LT, h), LAP_YES);
    lap_qx clamp = read(&w, "x 1 - 0 >");
    size_t mark = lap_quasi_mark(w.q);
    lap_quasi_assume(w.q, below, LAP_REL_GE, zero);
    assert_int_equal(lap_quasi_compare(w.q, below, LAP_REL_GE, zero), LAP_YES);
    assert_true(lap_quasi_same(lap_quasi_simplify(w.q, clamp), below));
    lap_quasi_assume(w.q, j_i, LAP_REL_LE, zero);
    assert_int_equal(lap_quasi_compare(w.q, read(&w, "y"), LAP_REL_GE, read(&w, "x")), LAP_YES);
    assert_int_equal(lap_quasi_compare(w.q, read(&w, "y"), LAP_REL_GE, read(&w, "1")), LAP_YES);
    assert_int_equal(lap_quasi_compare(w.q, read(&w, "y 5 +"), LAP_REL_EQ, read(&w, "x")), LAP_NO);
    lap_quasi_assume(w.q, read(&w, "z 10 -"), LAP_REL_LT, read(&w, "10"));
    assert_true(lap_quasi_same(read(&w, "z 20 /"), zero));
    lap_quasi_release(w.q, mark);
    assert_int_equal(lap_quasi_compare(w.q, below, LAP_REL_GE, zero), LAP_UNKNOWN);
    assert_false(lap_quasi_same(read(&w, "z 20 /"), zero));
    lap_quasi_assume(w.q, h, LAP_REL_GE, read(&w, "7"));
    lap_qx start = read(&w, "x 3 - 0 > H 7 - <");
    assert_int_equal(lap_quasi_compare(w.q, start, LAP_REL_GE, zero), LAP_YES);
    assert_int_equal(lap_quasi_compare(w.q, lap_quasi_add(w.q, start, read(&w, "6")), LAP_REL_LT, h),
                     LAP_YES);
    assert_int_equal(lap_quasi_compare(w.q, h, LAP_REL_GT, read(&w, "6")), LAP_YES);
    free_world(&w);
}

static void strides(void **state)
{
    (void)state;
    world w = new_world((const char *const[]){"W", "H", "4"});
    lap_dim stride;
    lap_qx rest;
    lap_qx address = read(&w, "y W * x + 4 * z +");
    assert_true(lap_quasi_stride(w.q, address, 0, &stride));
    assert_string_equal(lap_dim_show(w.ctx, stride), "4");
    assert_true(lap_quasi_affine(w.q, address, 1, &stride, &rest));
    assert_string_equal(lap_dim_show(w.ctx, stride), "4*W");
    assert_true(lap_quasi_same(rest, read(&w, "x 4 * z +")));
    assert_true(lap_quasi_stride(w.q, address, 7, &stride));
    assert_int_equal(stride.ix, 0);
    assert_false(lap_quasi_stride(w.q, read(&w, "x 2 /"), 0, &stride));
    assert_false(lap_quasi_stride(w.q, read(&w, "x y *"), 0, &stride));
    lap_qx moved = lap_quasi_subst(w.q, address, 0, read(&w, "y 1 +"));
    assert_true(lap_quasi_same(moved, read(&w, "y W * y + 1 + 4 * z +")));
    assert_false(lap_quasi_uses(w.q, moved, 0));
    free_world(&w);
}

static void emission(void **state)
{
    (void)state;
    static code c;
    world w = new_world((const char *const[]){"100", "H", "W"});
    emit(&w, read(&w, "x 8 %"), &c);
    assert_int_equal(count(&c, LAP_QUASI_MOD), 1);
    assert_int_equal(count(&c, LAP_QUASI_FLOORDIV) + count(&c, LAP_QUASI_MUL), 0);
    emit(&w, read(&w, "x 1 + 8 % 3 * y +"), &c);
    assert_int_equal(count(&c, LAP_QUASI_MOD), 1);
    assert_int_equal(count(&c, LAP_QUASI_FLOORDIV), 0);
    emit(&w, read(&w, "x y 1 + %"), &c);
    assert_int_equal(count(&c, LAP_QUASI_MOD), 1);
    assert_int_equal(emit(&w, read(&w, "0"), &c), 0);
    free_world(&w);
}

/* ---- random expressions, all points ---- */

static uint64_t random_state;

static uint32_t pick(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % n;
}

static uint32_t random_leaf(world *w, code *c)
{
    switch (pick(5)) {
    case 0:
        return put_dim(c, w->symbols[pick(N_SYMBOLS)]);
    case 1:
        return put_dim(c, lap_dim_const(w->ctx, (int64_t)pick(12) - 3));
    default:
        return put_leaf(c, pick(N_LEAVES));
    }
}

static uint32_t random_code(world *w, code *c, int depth)
{
    if (depth == 0 || pick(7) == 0) {
        return random_leaf(w, c);
    }
    uint32_t a = random_code(w, c, depth - 1);
    switch (pick(10)) {
    case 0:
    case 1:
        return put_binary(c, LAP_QUASI_ADD, a, random_code(w, c, depth - 1));
    case 2:
        return put_binary(c, LAP_QUASI_SUB, a, random_code(w, c, depth - 1));
    case 3:
        return put_binary(c, LAP_QUASI_MIN, a, random_code(w, c, depth - 1));
    case 4:
        return put_binary(c, LAP_QUASI_MAX, a, random_code(w, c, depth - 1));
    case 5:
        return put_binary(c, LAP_QUASI_MUL, a, random_code(w, c, pick(3) ? 0 : depth - 1));
    default:
        break;
    }
    uint32_t b = pick(3) ? put_dim(c, lap_dim_const(w->ctx, (int64_t)pick(10) - 2))
                         : put_dim(c, w->symbols[pick(N_SYMBOLS)]);
    if (pick(12) == 0) {
        b = put_binary(c, LAP_QUASI_ADD, put_leaf(c, 0), put_dim(c, lap_dim_const(w->ctx, 1)));
    }
    return put_binary(c, pick(2) ? LAP_QUASI_FLOORDIV : LAP_QUASI_MOD, a, b);
}

static world random_world(void)
{
    static const char *const ends[] = {"1", "2", "3", "4", "5", "H", "W", "H+1", "2*W", "max(H,W)"};
    const char *chosen[N_LEAVES];
    for (int i = 0; i < N_LEAVES; i++) {
        chosen[i] = ends[pick(sizeof ends / sizeof *ends)];
    }
    return new_world_from(chosen, -(int64_t)pick(3));
}

typedef void visit(void *user);

/* Calls fn at every point of the box, for several values of the symbols. */
static void each_point(world *w, visit *fn, void *user)
{
    static const int64_t symbols[][N_SYMBOLS] = {{1, 1}, {1, 3}, {2, 1}, {3, 2}, {4, 4}, {5, 3}};
    for (size_t s = 0; s < sizeof symbols / sizeof *symbols; s++) {
        memcpy(w->symbol, symbols[s], sizeof w->symbol);
        int64_t lo[N_LEAVES], end[N_LEAVES];
        for (int i = 0; i < N_LEAVES; i++) {
            lo[i] = dim_value(w, w->lo[i]);
            end[i] = dim_value(w, w->end[i]);
        }
        for (w->leaf[0] = lo[0]; w->leaf[0] < end[0]; w->leaf[0]++) {
            for (w->leaf[1] = lo[1]; w->leaf[1] < end[1]; w->leaf[1]++) {
                for (w->leaf[2] = lo[2]; w->leaf[2] < end[2]; w->leaf[2]++) {
                    fn(user);
                }
            }
        }
    }
}

typedef struct trial {
    world w;
    unsigned seed;
    code source[2], made[2], inner;
    uint32_t from[2], to[2], inner_to;
    lap_qx e[2], simpler;
    lap_truth truth[6];
    bool has_lo, has_hi;
    lap_dim lo, hi;
    lap_rel guard;
} trial;

static bool holds(lap_rel rel, int64_t a, int64_t b)
{
    const bool table[] = {a == b, a != b, a<b, a <= b, a> b, a >= b};
    return table[rel];
}

static void check_point(void *user)
{
    trial *t = user;
    world *w = &t->w;
    int64_t v[2];
    for (int i = 0; i < 2; i++) {
        v[i] = run(w, &t->source[i], t->from[i]);
        int64_t got = run(w, &t->made[i], t->to[i]);
        if (got != v[i]) {
            fail_msg("seed %u: %s is %lld, expected %lld at H=%lld W=%lld v=%lld,%lld,%lld", t->seed,
                     lap_quasi_show(w->q, t->e[i]), (long long)got, (long long)v[i], (long long)w->symbol[0],
                     (long long)w->symbol[1], (long long)w->leaf[0], (long long)w->leaf[1],
                     (long long)w->leaf[2]);
        }
    }
    for (int rel = 0; rel < 6; rel++) {
        if (t->truth[rel] != LAP_UNKNOWN && (t->truth[rel] == LAP_YES) != holds((lap_rel)rel, v[0], v[1])) {
            fail_msg("seed %u: relation %d of %s and %s", t->seed, rel, lap_quasi_show(w->q, t->e[0]),
                     lap_quasi_show(w->q, t->e[1]));
        }
    }
    if ((t->has_lo && dim_value(w, t->lo) > v[0]) || (t->has_hi && dim_value(w, t->hi) < v[0])) {
        fail_msg("seed %u: bounds of %s", t->seed, lap_quasi_show(w->q, t->e[0]));
    }
    if (holds(t->guard, v[0], v[1]) &&
        run(w, &t->inner, t->inner_to) != run(w, &t->source[0], t->from[0]) + v[1]) {
        fail_msg("seed %u: %s under a guard", t->seed, lap_quasi_show(w->q, t->simpler));
    }
}

static void make_trial(trial *t, unsigned seed)
{
    random_state = seed * 0x9e3779b97f4a7c15u;
    t->seed = seed;
    t->w = random_world();
    world *w = &t->w;
    for (int i = 0; i < 2; i++) {
        t->source[i].n = 0;
        t->from[i] = random_code(w, &t->source[i], 4);
        t->e[i] = rebuild(w, &t->source[i], t->from[i]);
        t->to[i] = emit(w, t->e[i], &t->made[i]);
        lap_qx again = rebuild(w, &t->made[i], t->to[i]);
        if (!lap_quasi_same(again, t->e[i]) || !lap_quasi_same(lap_quasi_simplify(w->q, t->e[i]), t->e[i])) {
            fail_msg("seed %u: %s becomes %s", seed, lap_quasi_show(w->q, t->e[i]),
                     lap_quasi_show(w->q, again));
        }
    }
    for (int rel = 0; rel < 6; rel++) {
        t->truth[rel] = lap_quasi_compare(w->q, t->e[0], (lap_rel)rel, t->e[1]);
    }
    t->has_lo = lap_quasi_lower(w->q, t->e[0], &t->lo);
    t->has_hi = lap_quasi_upper(w->q, t->e[0], &t->hi);
    t->guard = (lap_rel)pick(6);
    size_t mark = lap_quasi_mark(w->q);
    lap_quasi_assume(w->q, t->e[0], t->guard, t->e[1]);
    t->simpler = lap_quasi_simplify(w->q, lap_quasi_add(w->q, t->e[0], t->e[1]));
    t->inner_to = emit(w, t->simpler, &t->inner);
    lap_quasi_release(w->q, mark);
}

static void random_expressions(void **state)
{
    (void)state;
    const char *given = getenv("LAP_SEED");
    unsigned first = given ? (unsigned)atoi(given) : 1, n = given ? 1 : 600;
    static trial t;
    for (unsigned seed = first; seed < first + n; seed++) {
        make_trial(&t, seed);
        each_point(&t.w, check_point, &t);
        free_world(&t.w);
    }
}

static void deep_chains(void **state)
{
    (void)state;
    world w = new_world((const char *const[]){"H", "W", "100"});
    lap_qx e = w.leaves[0];
    for (uint32_t i = 0; i < 3000; i++) {
        lap_qx other = lap_quasi_opaque(w.q, 100 + i);
        e = i % 2 ? lap_quasi_min(w.q, e, other) : lap_quasi_floordiv(w.q, e, other);
    }
    assert_true(lap_quasi_uses(w.q, e, 0));
    assert_true(lap_quasi_uses(w.q, e, 3099));
    assert_int_equal(lap_quasi_compare(w.q, e, LAP_REL_GE, (lap_qx){0}), LAP_UNKNOWN);
    assert_non_null(lap_quasi_show(w.q, e));
    free_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules),    cmocka_unit_test(assumptions),        cmocka_unit_test(strides),
        cmocka_unit_test(emission), cmocka_unit_test(random_expressions), cmocka_unit_test(deep_chains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
