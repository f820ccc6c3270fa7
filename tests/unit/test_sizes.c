/* SPDX-License-Identifier: Apache-2.0
 * test_sizes.c - sizes solved from shapes or chosen, and the tensors made up for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "frontends/compiler/make.h"
#include "ir/build.h"

typedef struct bench {
    lap_ctx *ctx;
    lap_graph *g;
    lap_leaves leaves;
    lap_sizes sizes;
} bench;

static bench open_bench(const char *body)
{
    bench b = {.ctx = lap_ctx_new(0)};
    const char *text = lap_arena_printf(b.ctx->arena, "lap 1\ngraph @test {\n%s}\n", body);
    if (!lap_graph_parse(b.ctx, "test", text, strlen(text), &b.g)) {
        lap_errors_print(b.ctx, stderr);
        fail();
    }
    b.leaves = lap_leaves_of(b.g);
    b.sizes.ctx = b.ctx;
    return b;
}

static int64_t size_of(bench *b, const char *name)
{
    int64_t value = -1;
    lap_sizes_value(&b->sizes, lap_intern(b->ctx, name), &value);
    return value;
}

static void give(bench *b, lap_views *given, const char *name, uint32_t rank, int64_t s0, int64_t s1)
{
    lap_views_add(b->ctx, given, name,
                  &(lap_tensor_view){.storage = LAP_ST_F32, .rank = rank, .shape = {s0, s1}});
}

static const char square[] = "%1 = input f32[b=B y=S x=S] {name=\"x\" layout=\"b (y x)\"}\n"
                             "%2 = weight f32[o=4 i=3*K+1] {name=\"w\" layout=\"o i\"}\n"
                             "%3 = reduce f32 %1 {red=sum over=\"b y x\"}\n"
                             "%4 = reduce f32 %2 {red=sum over=\"o i\"}\n"
                             "%5 = map f32 %3 %4 {fn=add}\n"
                             "output \"y\" %5 {layout=\"\"}\n";

static void test_solve(void **state)
{
    (void)state;
    bench b = open_bench(square);
    lap_views inputs = {0}, weights = {0};
    give(&b, &inputs, "x", 2, 3, 1048576);
    give(&b, &weights, "w", 2, 4, 3 * 500 + 1);
    lap_fault fault = {0};
    assert_true(lap_sizes_solve(&b.sizes, b.g, &b.leaves, &inputs, &weights, &fault));
    assert_int_equal(size_of(&b, "B"), 3);
    assert_int_equal(size_of(&b, "S"), 1024);
    assert_int_equal(size_of(&b, "K"), 500);
    lap_ctx_free(b.ctx);
}

static void test_no_solution(void **state)
{
    (void)state;
    bench b = open_bench(square);
    lap_views inputs = {0};
    give(&b, &inputs, "x", 2, 3, 37);
    lap_fault fault = {0};
    assert_false(lap_sizes_solve(&b.sizes, b.g, &b.leaves, &inputs, &(lap_views){0}, &fault));
    assert_string_equal(fault.text, "x has an axis of 37, which is not S*S for any S");
    lap_ctx_free(b.ctx);
}

/* A size that the user set counts; one that has several values is the least of them, as in a run. */
static void test_solve_further(void **state)
{
    (void)state;
    bench b = open_bench("%1 = input f32[n=N//2 m=N+M] {name=\"x\" layout=\"n m\"}\n"
                         "%2 = reduce f32 %1 {red=sum over=\"n m\"}\noutput \"y\" %2 {layout=\"\"}\n");
    lap_views inputs = {0};
    give(&b, &inputs, "x", 2, 3, 10);
    lap_fault fault = {0};
    assert_true(lap_sizes_solve(&b.sizes, b.g, &b.leaves, &inputs, &(lap_views){0}, &fault));
    assert_int_equal(size_of(&b, "N"), 6);
    assert_int_equal(size_of(&b, "M"), 4);
    lap_sizes other = {.ctx = b.ctx};
    lap_sizes_set(&other, lap_intern(b.ctx, "N"), 7);
    assert_true(lap_sizes_solve(&other, b.g, &b.leaves, &inputs, &(lap_views){0}, &fault));
    lap_sizes_set(&other, lap_intern(b.ctx, "N"), 9);
    assert_false(lap_sizes_solve(&other, b.g, &b.leaves, &inputs, &(lap_views){0}, &fault));
    assert_string_equal(fault.text, "x has an axis of 3, expected N//2 = 4");
    lap_ctx_free(b.ctx);
}

static void test_choose(void **state)
{
    (void)state;
    bench b = open_bench(square);
    lap_sizes_set(&b.sizes, lap_intern(b.ctx, "B"), 5);
    assert_true(lap_graph_assume(
        b.g, lap_dim_mod(b.ctx, lap_dim_symbol(b.ctx, lap_intern(b.ctx, "S")), lap_dim_const(b.ctx, 7)),
        LAP_REL_EQ, lap_dim_const(b.ctx, 0), "S is a multiple of 7"));
    assert_true(lap_sizes_choose(&b.sizes, b.g, &b.leaves));
    assert_int_equal(size_of(&b, "B"), 5);
    assert_int_equal(size_of(&b, "S") % 7, 0);
    assert_true(size_of(&b, "S") > 0);
    lap_ctx_free(b.ctx);
}

static void test_choose_fails(void **state)
{
    (void)state;
    bench b = open_bench(square);
    assert_true(lap_graph_assume(b.g, lap_dim_symbol(b.ctx, lap_intern(b.ctx, "S")), LAP_REL_GT,
                                 lap_dim_const(b.ctx, 1000000), "S is huge"));
    assert_false(lap_sizes_choose(&b.sizes, b.g, &b.leaves));
    assert_non_null(strstr(lap_error_text(b.ctx, 0), "--dim NAME=N"));
    lap_ctx_free(b.ctx);
}

/* What the given sizes break already is said, not that the others cannot be found. */
static void test_choose_reports(void **state)
{
    (void)state;
    bench b = open_bench(square);
    lap_sizes_set(&b.sizes, lap_intern(b.ctx, "B"), 5);
    assert_true(lap_graph_assume(b.g, lap_dim_symbol(b.ctx, lap_intern(b.ctx, "B")), LAP_REL_LT,
                                 lap_dim_const(b.ctx, 3), "few rows"));
    assert_false(lap_sizes_choose(&b.sizes, b.g, &b.leaves));
    assert_non_null(strstr(lap_error_text(b.ctx, 0), "few rows (B = 5, 3)"));
    lap_ctx_free(b.ctx);
}

static const char gather[] =
    "%1 = input i64[b=4 n=1000] {name=\"ids\" layout=\"b n\"}\n"
    "%2 = weight f32[v=50 d=2] {name=\"table.weight\" layout=\"v d\"}\n"
    "%3 = at f32[b=4 n=1000 d=2] %2 %1 {src=\"v\"}\n"
    "%4 = weight f32[d=2000] {name=\"norm.weight\" layout=\"d\"}\n"
    "%5 = weight f32[d=2000] {name=\"bn.running_var\" layout=\"d\"}\n"
    "%6 = weight f32[o=100 i=400] {name=\"fc.weight\" layout=\"o i\"}\n"
    "output \"y\" %3 {layout=\"b n d\"}\n"
    "output \"n\" %4 {layout=\"d\"}\noutput \"v\" %5 {layout=\"d\"}\noutput \"w\" %6 {layout=\"o i\"}\n";

static lap_tensor made(bench *b, const char *name, uint64_t seed)
{
    lap_tensor t;
    lap_fault fault = {0};
    const lap_spec *input = lap_specs_find(b->leaves.inputs, name),
                   *weight = lap_specs_find(b->leaves.weights, name);
    assert_true(input != NULL ? lap_make_input(b->g, &b->sizes, input, seed, &t, &fault)
                              : lap_make_weight(b->g, &b->sizes, weight, seed, &t, &fault));
    return t;
}

static void test_indices_fit(void **state)
{
    (void)state;
    bench b = open_bench(gather);
    lap_tensor ids = made(&b, "ids", 1);
    int64_t most = 0;
    for (size_t i = 0; i < 4000; i++) {
        int64_t v = lap_tensor_get_int(&ids, i);
        assert_in_range(v, 0, 49);
        most = v > most ? v : most;
    }
    assert_int_equal(most, 49);
    lap_ctx_free(b.ctx);
}

/* Elements over the coordinates of all axes, those of a group too, and over sizes. */
static void test_by_place(void **state)
{
    (void)state;
    bench b = open_bench("%1 = input f32[b=2 y=2 x=3] {name=\"x\" layout=\"b (y x)\"}\n"
                         "output \"o\" %1 {layout=\"b y x\"}\n");
    lap_sizes_set(&b.sizes, lap_intern(b.ctx, "N"), 100);
    static const char text[] = "N*b + 10*y + x // 2", unknown[] = "M*b";
    lap_dim value;
    const char *why;
    lap_tensor t;
    lap_fault fault = {0};
    assert_true(lap_dim_parse(b.ctx, text, strlen(text), &value, &why));
    assert_true(lap_make_by_place(b.g, &b.sizes, &b.leaves.inputs.at[0], value, &t, &fault));
    static const double want[] = {0, 0, 1, 10, 10, 11, 100, 100, 101, 110, 110, 111};
    for (size_t i = 0; i < 12; i++) {
        assert_float_equal(lap_tensor_get(&t, i), want[i], 0);
    }
    assert_true(lap_dim_parse(b.ctx, unknown, strlen(unknown), &value, &why));
    assert_false(lap_make_by_place(b.g, &b.sizes, &b.leaves.inputs.at[0], value, &t, &fault));
    assert_non_null(strstr(fault.text, "M*b has no value"));
    lap_ctx_free(b.ctx);
}

static void moments(const lap_tensor *t, double *mean, double *deviation, double *least)
{
    size_t n;
    assert_true(lap_tensor_count(t, &n));
    double sum = 0, squares = 0;
    *least = INFINITY;
    for (size_t i = 0; i < n; i++) {
        double v = lap_tensor_get(t, i);
        sum += v;
        squares += v * v;
        *least = v < *least ? v : *least;
    }
    *mean = sum / (double)n;
    *deviation = sqrt(squares / (double)n - *mean * *mean);
}

static void test_weights(void **state)
{
    (void)state;
    bench b = open_bench(gather);
    double mean, deviation, least;
    lap_tensor t = made(&b, "norm.weight", 1);
    moments(&t, &mean, &deviation, &least);
    assert_float_equal(mean, 1, 0.02);
    t = made(&b, "bn.running_var", 1);
    moments(&t, &mean, &deviation, &least);
    assert_true(least > 0);
    t = made(&b, "fc.weight", 1);
    moments(&t, &mean, &deviation, &least);
    assert_float_equal(deviation, 1 / sqrt(400), 0.002);
    lap_tensor again = made(&b, "fc.weight", 1), other = made(&b, "fc.weight", 2);
    assert_memory_equal(t.data, again.data, t.n_bytes);
    assert_memory_not_equal(t.data, other.data, t.n_bytes);
    lap_ctx_free(b.ctx);
}

static void test_families(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    float values[] = {1, 2, 3, 4};
    lap_views set = {0};
    for (int k = 0; k < 2; k++) {
        lap_tensor_view v = {
            .storage = LAP_ST_F32, .rank = 1, .shape = {2}, .data = values + 2 * k, .n_bytes = 8};
        lap_views_add(ctx, &set, k == 0 ? "m.0.w" : "m.1.w", &v);
    }
    lap_tensor t;
    bool found;
    lap_fault fault = {0};
    assert_true(lap_views_weight(ctx, &set, "m.{k}.w", LAP_F32, &t, &found, &fault));
    assert_true(found);
    assert_string_equal(lap_tensor_show(ctx, &t), "f32[2, 2]");
    assert_memory_equal(t.data, values, sizeof values);
    assert_true(lap_views_weight(ctx, &set, "n.{k}.w", LAP_F32, &t, &found, &fault));
    assert_false(found);
    lap_tensor_view odd = {.storage = LAP_ST_F32, .rank = 1, .shape = {3}, .data = values, .n_bytes = 12};
    lap_views_add(ctx, &set, "m.2.w", &odd);
    assert_false(lap_views_weight(ctx, &set, "m.{k}.w", LAP_F32, &t, &found, &fault));
    assert_string_equal(fault.text, "weight 'm.2.w' is [3], but 'm.0.w' is [2]");
    lap_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_solve),          cmocka_unit_test(test_no_solution),
        cmocka_unit_test(test_solve_further),  cmocka_unit_test(test_choose),
        cmocka_unit_test(test_choose_fails),   cmocka_unit_test(test_indices_fit),
        cmocka_unit_test(test_weights),        cmocka_unit_test(test_families),
        cmocka_unit_test(test_choose_reports), cmocka_unit_test(test_by_place),
    };
    return cmocka_run_group_tests_name("sizes", tests, NULL, NULL);
}
