/* SPDX-License-Identifier: Apache-2.0
 * test_fold.c - simplification when nodes are made: known identities, and random integer expressions
 * whose nodes must have the value that the expression has. */
#include "tests/unit/graphs.h"

#include <math.h>
#include <stdlib.h>

static lap_scalar number_of(lap_graph *g, lap_ref x)
{
    const lap_node *n = lap_node_at(g, x);
    assert_true(n->op == LAP_OP_CONST || n->op == LAP_OP_FULL);
    return lap_node_attr(n, LAP_ATTR_VALUE)->scalar;
}

static lap_fn fn_of(lap_graph *g, lap_ref x)
{
    assert_int_equal(lap_node_at(g, x)->op, LAP_OP_MAP);
    return (lap_fn)lap_attr_i(lap_node_at(g, x), LAP_ATTR_FN, -1);
}

static void test_idle(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=N"), i = input_of(g, "i", LAP_I64, "n=N"),
            m = input_of(g, "m", LAP_BOOL, "n=N");
    lap_ref zero = lap_const_i(g, 0), one = lap_const_i(g, 1), yes = lap_const_b(g, true),
            no = lap_const_b(g, false);
    assert_same(lap_map2(g, LAP_FN_ADD, x, zero), x);
    assert_same(lap_map2(g, LAP_FN_ADD, zero, x), x);
    assert_same(lap_map2(g, LAP_FN_MUL, lap_const_f(g, 1), x), x);
    assert_same(lap_map2(g, LAP_FN_SUB, i, zero), i);
    assert_same(lap_map2(g, LAP_FN_DIV, x, one), x);
    assert_same(lap_map2(g, LAP_FN_IDIV, i, one), i);
    assert_int_equal(fn_of(g, lap_map2(g, LAP_FN_IDIV, x, one)), LAP_FN_IDIV); /* floors */
    assert_int_equal(number_of(g, lap_map2(g, LAP_FN_MOD, i, one)).i, 0);
    assert_same(lap_map1(g, LAP_FN_NEG, lap_map1(g, LAP_FN_NEG, x)), x);
    assert_same(lap_map1(g, LAP_FN_NOT, lap_map1(g, LAP_FN_NOT, m)), m);
    assert_same(lap_map2(g, LAP_FN_AND, m, yes), m);
    assert_same(lap_map2(g, LAP_FN_OR, no, m), m);
    assert_int_equal(number_of(g, lap_map2(g, LAP_FN_AND, m, no)).i, 0);
    assert_string_equal(shown(g, lap_map2(g, LAP_FN_OR, m, yes)), "bool[n=N]");
    assert_same(lap_map3(g, LAP_FN_SELECT, m, x, x), x);
    assert_same(lap_map3(g, LAP_FN_SELECT, lap_map2(g, LAP_FN_GT, lap_const_i(g, 2), one), x, zero), x);
    assert_same(lap_map1(g, LAP_FN_INT, i), i);
}

/* What looks idle but changes axes, element type or special values. */
static void test_not_idle(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=N"), h = input_of(g, "h", LAP_BF16, "n=N"),
            m = input_of(g, "m", LAP_BOOL, "n=N");
    lap_axis k = axis_of(g, "k=3");
    lap_ref zeros = lap_full(g, lap_scalar_f(0), 1, &k);
    assert_string_equal(shown(g, lap_map2(g, LAP_FN_ADD, x, zeros)), "f32[n=N k=3]");
    assert_string_equal(shown(g, lap_map2(g, LAP_FN_ADD, h, lap_const_i(g, 0))), "f32[n=N]");
    assert_string_equal(shown(g, lap_map2(g, LAP_FN_ADD, m, lap_const_i(g, 0))), "i64[n=N]");
    assert_int_equal(fn_of(g, lap_map2(g, LAP_FN_MUL, x, lap_const_i(g, 0))), LAP_FN_MUL);
    assert_int_equal(fn_of(g, lap_map2(g, LAP_FN_EQ, x, x)), LAP_FN_EQ);
    assert_int_equal(fn_of(g, lap_map2(g, LAP_FN_SUB, x, x)), LAP_FN_SUB);
    lap_ref not_less = lap_map1(g, LAP_FN_NOT, lap_map2(g, LAP_FN_LT, x, lap_const_f(g, 1)));
    assert_int_equal(fn_of(g, not_less), LAP_FN_NOT);
    lap_ref sides = lap_map3(g, LAP_FN_SELECT, lap_const_b(g, true), lap_const_f(g, 2), zeros);
    assert_string_equal(shown(g, sides), "f32[k=3]");
}

static void test_numbers(void **state)
{
    lap_graph *g = *state;
    lap_ref big = lap_const_i(g, INT64_MAX), least = lap_const_i(g, INT64_MIN), minus = lap_const_i(g, -1);
    lap_ref seven = lap_const_i(g, -7), two = lap_const_i(g, 2), zero = lap_const_i(g, 0);
    assert_true(number_of(g, lap_map2(g, LAP_FN_ADD, big, lap_const_i(g, 1))).i == INT64_MIN);
    assert_true(number_of(g, lap_map2(g, LAP_FN_IDIV, least, minus)).i == INT64_MIN);
    assert_int_equal(number_of(g, lap_map2(g, LAP_FN_MOD, least, minus)).i, 0);
    assert_int_equal(number_of(g, lap_map2(g, LAP_FN_IDIV, seven, two)).i, -4);
    assert_int_equal(number_of(g, lap_map2(g, LAP_FN_MOD, seven, two)).i, 1);
    assert_int_equal(number_of(g, lap_map2(g, LAP_FN_IDIV, seven, zero)).i, 0);
    assert_int_equal(number_of(g, lap_map2(g, LAP_FN_MOD, seven, zero)).i, 0);
    assert_true(number_of(g, lap_map1(g, LAP_FN_ABS, least)).i == INT64_MIN);
    assert_true(number_of(g, lap_map2(g, LAP_FN_DIV, seven, two)).f == -3.5);
    assert_true(number_of(g, lap_map1(g, LAP_FN_SQRT, lap_const_f(g, 2))).f == sqrt(2));
    assert_int_equal(number_of(g, lap_map1(g, LAP_FN_INT, lap_const_f(g, -2.75))).i, -2);
    assert_true(number_of(g, lap_map1(g, LAP_FN_INT, lap_const_f(g, 1e30))).i == INT64_MAX);
    assert_int_equal(number_of(g, lap_map1(g, LAP_FN_INT, lap_const_f(g, NAN))).i, 0);
    assert_true(number_of(g, lap_map1(g, LAP_FN_ROUND, lap_const_f(g, 2.5))).f == 2);
    assert_int_equal(number_of(g, lap_map2(g, LAP_FN_LT, lap_const_f(g, NAN), zero)).i, 0);
    assert_int_equal(number_of(g, lap_map2(g, LAP_FN_GE, lap_const_f(g, NAN), zero)).i, 0);
    assert_int_equal(number_of(g, lap_map2(g, LAP_FN_NE, lap_const_f(g, NAN), zero)).i, 1);
}

static void test_promotion(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=N"), i = input_of(g, "i", LAP_I64, "n=N");
    assert_same(lap_map2(g, LAP_FN_MUL, x, lap_const_i(g, 2)), lap_map2(g, LAP_FN_MUL, x, lap_const_f(g, 2)));
    assert_same(lap_map2(g, LAP_FN_GT, x, lap_const_i(g, 2)), lap_map2(g, LAP_FN_LT, lap_const_f(g, 2), x));
    assert_same(lap_map2(g, LAP_FN_DIV, i, lap_const_i(g, 2)), lap_map2(g, LAP_FN_DIV, i, lap_const_f(g, 2)));
    lap_ref kept = lap_map2(g, LAP_FN_MUL, i, lap_const_i(g, 2));
    assert_int_equal(lap_node_at(g, lap_node_at(g, kept)->args[1])->dtype, LAP_I64);
}

static void test_powers(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=N"), i = input_of(g, "i", LAP_I64, "n=N");
    assert_same(lap_map2(g, LAP_FN_POW, x, lap_const_i(g, 1)), x);
    assert_same(lap_map2(g, LAP_FN_POW, x, lap_const_i(g, 2)), lap_map2(g, LAP_FN_MUL, x, x));
    assert_same(lap_map2(g, LAP_FN_POW, x, lap_const_f(g, 0.5)), lap_map1(g, LAP_FN_SQRT, x));
    assert_true(number_of(g, lap_map2(g, LAP_FN_POW, x, lap_const_i(g, 0))).f == 1);
    assert_int_equal(fn_of(g, lap_map2(g, LAP_FN_POW, x, lap_const_i(g, 3))), LAP_FN_POW);
    assert_string_equal(shown(g, lap_map2(g, LAP_FN_POW, i, lap_const_i(g, 2))), "f32[n=N]");
}

static void test_extents(void **state)
{
    lap_graph *g = *state;
    lap_ref n = lap_dim_node(g, dim_of(g, "N")), two = lap_const_i(g, 2);
    assert_same(lap_map2(g, LAP_FN_ADD, lap_map2(g, LAP_FN_MUL, n, two), n),
                lap_dim_node(g, dim_of(g, "3*N")));
    assert_same(lap_map2(g, LAP_FN_IDIV, lap_map2(g, LAP_FN_MUL, n, two), two), n);
    assert_same(lap_map2(g, LAP_FN_SUB, n, n), lap_const_i(g, 0));
    assert_int_equal(number_of(g, lap_map2(g, LAP_FN_GE, lap_map2(g, LAP_FN_ADD, n, two), two)).i, 1);
    assert_int_equal(number_of(g, lap_map2(g, LAP_FN_EQ, lap_map2(g, LAP_FN_ADD, n, two), n)).i, 0);
    assert_int_equal(fn_of(g, lap_map2(g, LAP_FN_EQ, n, two)), LAP_FN_EQ);
    assert_same(lap_dim_node(g, dim_of(g, "7")), lap_const_i(g, 7));
}

/* What follows from the range of a coordinate. */
static void test_coordinates(void **state)
{
    lap_graph *g = *state;
    lap_ref i = lap_index(g, axis_of(g, "n=N")), n = lap_dim_node(g, dim_of(g, "N")),
            zero = lap_const_i(g, 0);
    lap_ref inside = lap_map2(g, LAP_FN_LT, i, n);
    assert_int_equal(number_of(g, inside).i, 1);
    assert_string_equal(shown(g, inside), "bool[n=N]");
    assert_int_equal(number_of(g, lap_map2(g, LAP_FN_LE, zero, i)).i, 1);
    assert_int_equal(number_of(g, lap_map2(g, LAP_FN_GE, i, n)).i, 0);
    assert_same(lap_map2(g, LAP_FN_MAX, i, zero), i);
    assert_same(lap_map2(g, LAP_FN_MOD, i, n), i);
    assert_int_equal(number_of(g, lap_map2(g, LAP_FN_IDIV, i, n)).i, 0);
    assert_int_equal(fn_of(g, lap_map2(g, LAP_FN_GT, i, zero)), LAP_FN_GT);
    assert_int_equal(fn_of(g, lap_map2(g, LAP_FN_LT, i, lap_const_i(g, 5))), LAP_FN_LT);
    lap_ref m = input_of(g, "m", LAP_BOOL, "n=N"), yes = lap_const_b(g, true), no = lap_const_b(g, false);
    assert_same(lap_map3(g, LAP_FN_SELECT, m, yes, no), m);
    assert_same(lap_map3(g, LAP_FN_SELECT, m, no, yes), lap_map1(g, LAP_FN_NOT, m));
}

static void test_reads(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=N d=8"), n = lap_index(g, axis_of(g, "n=N")),
            m = lap_index(g, axis_of(g, "m=N"));
    lap_ref short_index = lap_index(g, axis_of(g, "m=4"));
    assert_same(lap_at(g, x, names_of(g, "n"), &n, NULL), x);
    assert_same(lap_at(g, x, names_of(g, "n"), &m, NULL),
                lap_rename(g, x, names_of(g, "n"), names_of(g, "m")));
    assert_int_equal(lap_node_at(g, lap_at(g, x, names_of(g, "n"), &short_index, NULL))->op, LAP_OP_AT);
    lap_ref d = lap_index(g, axis_of(g, "d=8"));
    lap_ref diagonal = lap_at(g, input_of(g, "y", LAP_F32, "n=8 d=8"), names_of(g, "n"), &d, NULL);
    assert_string_equal(shown(g, diagonal), "f32[d=8]");
    assert_same(lap_at(g, x, names_of(g, "n d"), (lap_ref[]){short_index, d}, NULL),
                lap_at(g, x, names_of(g, "n"), &short_index, NULL));
    lap_axis axes[] = {axis_of(g, "n=8")};
    lap_ref ones = lap_full(g, lap_scalar_f(1), 1, axes), wild = input_of(g, "w", LAP_I64, "q=3");
    lap_scalar one = lap_scalar_f(1), zero = lap_scalar_f(0);
    assert_true(number_of(g, lap_at(g, ones, names_of(g, "n"), &short_index, &zero)).f == 1);
    assert_true(number_of(g, lap_at(g, ones, names_of(g, "n"), &wild, &one)).f == 1);
    assert_int_equal(lap_node_at(g, lap_at(g, ones, names_of(g, "n"), &wild, &zero))->op, LAP_OP_AT);
}

static void test_renames(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=N d=8");
    lap_ref m = lap_rename(g, x, names_of(g, "n"), names_of(g, "m"));
    assert_same(lap_rename(g, m, names_of(g, "m"), names_of(g, "n")), x);
    assert_same(lap_rename(g, x, names_of(g, "n"), names_of(g, "n")), x);
    lap_ref both = lap_rename(g, m, names_of(g, "d m"), names_of(g, "e k"));
    assert_same(lap_node_at(g, both)->args[0], x);
    assert_same(both, lap_rename(g, x, names_of(g, "n d"), names_of(g, "k e")));
    lap_ref swapped =
        lap_rename(g, input_of(g, "y", LAP_F32, "a=8 b=8"), names_of(g, "a b"), names_of(g, "b a"));
    assert_int_equal(lap_node_at(g, swapped)->op, LAP_OP_RENAME);
    assert_same(lap_rename(g, lap_index(g, axis_of(g, "n=N")), names_of(g, "n"), names_of(g, "m")),
                lap_index(g, axis_of(g, "m=N")));
}

/* ---- random expressions --------------------------------------------------------------------- */

enum { N_LEAVES = 4 };

typedef struct world {
    lap_graph *g;
    lap_ref leaf[N_LEAVES];
    int64_t value[N_LEAVES];
    int64_t symbol;
    unsigned seed;
} world;

typedef struct term {
    lap_ref ref;
    int64_t value;
} term;

/* The definitions of fns.def, written down a second time. */
static int64_t apply(lap_fn fn, int64_t a, int64_t b, int64_t c)
{
    __int128 q = b == 0 ? 0 : (__int128)a / b - (a % (b == -1 ? 1 : b) != 0 && (a < 0) != (b < 0));
    switch (fn) {
    case LAP_FN_ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case LAP_FN_SUB:
        return (int64_t)((uint64_t)a - (uint64_t)b);
    case LAP_FN_MUL:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    case LAP_FN_IDIV:
        return (int64_t)q;
    case LAP_FN_MOD:
        return b == 0 ? 0 : (int64_t)(a - q * b);
    case LAP_FN_MIN:
        return a < b ? a : b;
    case LAP_FN_MAX:
        return a < b ? b : a;
    case LAP_FN_NEG:
        return (int64_t)(0 - (uint64_t)a);
    case LAP_FN_ABS:
        return a < 0 ? (int64_t)(0 - (uint64_t)a) : a;
    case LAP_FN_SIGN:
        return a < 0 ? -1 : a > 0;
    case LAP_FN_LT:
        return a < b;
    case LAP_FN_LE:
        return a <= b;
    case LAP_FN_GT:
        return a > b;
    case LAP_FN_GE:
        return a >= b;
    case LAP_FN_EQ:
        return a == b;
    case LAP_FN_NE:
        return a != b;
    case LAP_FN_AND:
        return a && b;
    case LAP_FN_OR:
        return a || b;
    case LAP_FN_NOT:
        return !a;
    case LAP_FN_SELECT:
        return a ? b : c;
    case LAP_FN_INT:
        return a;
    default:
        fail_msg("no value for %s", lap_fn_text(fn));
        return 0;
    }
}

static bool symbol_value(void *user, lap_name symbol, int64_t *out)
{
    (void)symbol;
    *out = ((world *)user)->symbol;
    return true;
}

static int64_t value_of(world *w, lap_ref x)
{
    const lap_node *n = lap_node_at(w->g, x);
    int64_t v[3] = {0, 0, 0};
    for (int i = 0; i < N_LEAVES; i++) {
        if (lap_ref_same(w->leaf[i], x)) {
            return w->value[i];
        }
    }
    if (n->op == LAP_OP_CONST) {
        return number_of(w->g, x).i;
    }
    if (n->op == LAP_OP_DIM) {
        assert_true(lap_dim_eval(lap_graph_ctx(w->g), lap_attr_dim(n, LAP_ATTR_DIM), symbol_value, w, &v[0]));
        return v[0];
    }
    for (uint32_t i = 0; i < n->n_args; i++) {
        v[i] = value_of(w, n->args[i]);
    }
    return apply(fn_of(w->g, x), v[0], v[1], v[2]);
}

static term random_term(world *w, int depth);

static term random_bool(world *w, int depth)
{
    static const lap_fn compares[] = {LAP_FN_LT, LAP_FN_LE, LAP_FN_GT, LAP_FN_GE, LAP_FN_EQ, LAP_FN_NE};
    int pick = rand_r(&w->seed) % 10;
    if (depth <= 0 || pick == 0) {
        bool b = rand_r(&w->seed) % 2;
        return (term){lap_const_b(w->g, b), b};
    }
    if (pick < 6) {
        term a = random_term(w, depth - 1), b = rand_r(&w->seed) % 4 ? random_term(w, depth - 1) : a;
        lap_fn fn = compares[rand_r(&w->seed) % 6];
        return (term){lap_map2(w->g, fn, a.ref, b.ref), apply(fn, a.value, b.value, 0)};
    }
    term a = random_bool(w, depth - 1), b = random_bool(w, depth - 1);
    lap_fn fn = pick == 6 ? LAP_FN_NOT : pick == 7 ? LAP_FN_AND : LAP_FN_OR;
    lap_ref ref = fn == LAP_FN_NOT ? lap_map1(w->g, fn, a.ref) : lap_map2(w->g, fn, a.ref, b.ref);
    return (term){ref, apply(fn, a.value, b.value, 0)};
}

static term random_leaf(world *w)
{
    int pick = rand_r(&w->seed) % 8;
    if (pick < N_LEAVES) {
        return (term){w->leaf[pick], w->value[pick]};
    }
    if (pick == 4) {
        return (term){lap_dim_node(w->g, dim_of(w->g, "S")), w->symbol};
    }
    int64_t c = rand_r(&w->seed) % 7 - 3;
    return (term){lap_const_i(w->g, c), c};
}

static term random_term(world *w, int depth)
{
    static const lap_fn two[] = {LAP_FN_ADD, LAP_FN_SUB, LAP_FN_MUL, LAP_FN_IDIV,
                                 LAP_FN_MOD, LAP_FN_MIN, LAP_FN_MAX};
    static const lap_fn one[] = {LAP_FN_NEG, LAP_FN_ABS, LAP_FN_SIGN, LAP_FN_INT};
    int pick = rand_r(&w->seed) % 12;
    if (depth <= 0 || pick == 0) {
        return random_leaf(w);
    }
    term a = random_term(w, depth - 1);
    if (pick < 3) {
        lap_fn fn = one[rand_r(&w->seed) % 4];
        return (term){lap_map1(w->g, fn, a.ref), apply(fn, a.value, 0, 0)};
    }
    term b = random_term(w, depth - 1);
    if (pick == 3) {
        term c = random_bool(w, depth - 1);
        return (term){lap_map3(w->g, LAP_FN_SELECT, c.ref, a.ref, b.ref),
                      apply(LAP_FN_SELECT, c.value, a.value, b.value)};
    }
    lap_fn fn = two[rand_r(&w->seed) % 7];
    return (term){lap_map2(w->g, fn, a.ref, b.ref), apply(fn, a.value, b.value, 0)};
}

static void test_random(void **state)
{
    world w = {.g = *state};
    for (int i = 0; i < N_LEAVES; i++) {
        w.leaf[i] = input_of(w.g, (const char *[]){"a", "b", "c", "d"}[i], LAP_I64, "");
    }
    for (unsigned seed = 1; seed <= 4000; seed++) {
        w.seed = seed;
        for (int i = 0; i < N_LEAVES; i++) {
            w.value[i] = rand_r(&w.seed) % 11 - 5;
        }
        w.symbol = 1 + rand_r(&w.seed) % 5;
        term t = random_term(&w, 1 + (int)(seed % 4));
        assert_true(lap_ref_some(t.ref));
        if (value_of(&w, t.ref) != t.value) {
            fail_msg("seed %u: the node is %lld, the expression %lld", seed, (long long)value_of(&w, t.ref),
                     (long long)t.value);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_idle, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_not_idle, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_numbers, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_promotion, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_powers, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_extents, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_coordinates, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_reads, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_renames, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_random, make_graph, free_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
