/* SPDX-License-Identifier: Apache-2.0
 * test_cost.c - useful work against counts made by hand and by brute force. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "passes/cost.h"

typedef struct size {
    const char *name;
    int64_t value;
} size;
typedef struct sizes {
    lap_ctx *ctx;
    const size *at;
} sizes;

static bool size_of(void *user, lap_name symbol, int64_t *out)
{
    const sizes *s = user;
    for (const size *at = s->at; at->name != NULL; at++) {
        if (strcmp(at->name, lap_text(s->ctx, symbol)) == 0) {
            *out = at->value;
            return true;
        }
    }
    return false;
}

static lap_cost cost_of(const char *body, const size *at)
{
    lap_ctx *ctx = lap_ctx_new(0);
    char text[4096];
    snprintf(text, sizeof text, "lap 1\ngraph @test {\n%s}\n", body);
    lap_graph *g;
    if (!lap_graph_parse(ctx, "test", text, strlen(text), &g)) {
        lap_errors_print(ctx, stderr);
        fail();
    }
    lap_cost cost;
    assert_true(lap_cost_of(g, size_of, &(sizes){ctx, at}, &cost));
    lap_ctx_free(ctx);
    return cost;
}

static void test_contraction(void **state)
{
    (void)state;
    static const char body[] = "%1 = input f32[b=B i=N] {name=\"x\" layout=\"b i\"}\n"
                               "%2 = weight f32[o=4 i=N] {name=\"w\" layout=\"o i\"}\n"
                               "%3 = map f32[b=B i=N o=4] %1 %2 {fn=mul}\n"
                               "%4 = reduce f32[b=B o=4] %3 {red=sum over=\"i\"}\n"
                               "%5 = map f32[b=B o=4] %4 {fn=exp}\n"
                               "output \"y\" %5 {layout=\"b o\"}\n";
    lap_cost c = cost_of(body, (const size[]){{"B", 3}, {"N", 5}, {NULL, 0}});
    assert_float_equal(c.flops, 2 * 3 * 5 * 4 + 3 * 4, 0);
    assert_float_equal(c.density, 1, 0);
}

static void test_weights_are_free(void **state)
{
    (void)state;
    static const char body[] = "%1 = input f32[o=4] {name=\"x\" layout=\"o\"}\n"
                               "%2 = weight f32[o=4 i=N] {name=\"w\" layout=\"o i\"}\n"
                               "%3 = reduce f32[o=4] %2 {red=sum over=\"i\"}\n"
                               "%4 = map f32[o=4] %1 %3 {fn=add}\n"
                               "output \"y\" %4 {layout=\"o\"}\n";
    assert_float_equal(cost_of(body, (const size[]){{"N", 100}, {NULL, 0}}).flops, 4, 0);
}

static const char attention[] =
    "%1 = input f32[h=H j=M d=D] {name=\"k\" layout=\"h j d\"}\n"
    "%2 = input f32[h=H i=N d=D] {name=\"q\" layout=\"h i d\"}\n"
    "%3 = input f32[h=H j=M e=E] {name=\"v\" layout=\"h j e\"}\n"
    "%4 = map f32[h=H i=N d=D j=M] %2 %1 {fn=mul}\n"
    "%5 = reduce f32[h=H i=N j=M] %4 {red=sum over=\"d\"}\n"
    "%6 = const f32 {value=0.5}\n"
    "%7 = map f32[h=H i=N j=M] %5 %6 {fn=mul}\n"
    "%8 = index i64[j=M] {axis=j}\n"
    "%9 = index i64[i=N] {axis=i}\n"
    "%s"
    "%11 = attend %7 %10 %3 {parts=[{keys=\"j\" score=0 where=1 value=2}] norm=softmax empty=0.0}\n"
    "%12 = result f32[h=H i=N e=E] %11 {which=\"out\"}\n"
    "output \"o\" %12 {layout=\"h i e\"}\n";

static lap_cost attention_cost(const char *where, const size *at)
{
    char body[4096];
    const char *mark = strstr(attention, "%s");
    snprintf(body, sizeof body, "%.*s%s%s", (int)(mark - attention), attention, where, mark + 2);
    return cost_of(body, at);
}

static void test_causal(void **state)
{
    (void)state;
    lap_cost c =
        attention_cost("%10 = map bool[j=M i=N] %8 %9 {fn=le}\n",
                       (const size[]){{"H", 2}, {"N", 100}, {"M", 100}, {"D", 8}, {"E", 3}, {NULL, 0}});
    double pairs = 2.0 * 100 * 101 / 2;
    assert_float_equal(c.pairs, pairs, 1e-9);
    assert_float_equal(c.flops, pairs * 2 * (8 + 3), 1e-6);
    assert_float_equal(c.density, 0.505, 1e-12);
}

static void test_window(void **state)
{
    (void)state;
    static const char where[] = "%13 = map i64[j=M i=N] %8 %9 {fn=sub}\n"
                                "%14 = map i64[j=M i=N] %13 {fn=abs}\n"
                                "%15 = const i64 {value=7}\n"
                                "%10 = map bool[j=M i=N] %14 %15 {fn=le}\n";
    double pairs = 0;
    for (int i = 0; i < 700; i++) {
        for (int j = 0; j < 1300; j++) {
            pairs += i - j <= 7 && j - i <= 7;
        }
    }
    lap_cost c = attention_cost(
        where, (const size[]){{"H", 1}, {"N", 700}, {"M", 1300}, {"D", 4}, {"E", 4}, {NULL, 0}});
    assert_float_equal(c.pairs, pairs, 1e-6);
}

/* Beyond the number of points that are counted one by one. */
static void test_sampled(void **state)
{
    (void)state;
    double n = 1 << 16;
    lap_cost c = attention_cost(
        "%10 = map bool[j=M i=N] %8 %9 {fn=le}\n",
        (const size[]){{"H", 1}, {"N", 1 << 16}, {"M", 1 << 16}, {"D", 1}, {"E", 1}, {NULL, 0}});
    assert_float_equal(c.pairs / (n * (n + 1) / 2), 1, 1e-4);
}

static void test_data_predicate(void **state)
{
    (void)state;
    lap_cost c =
        attention_cost("%10 = input bool[i=N j=M] {name=\"mask\" layout=\"i j\"}\n",
                       (const size[]){{"H", 1}, {"N", 10}, {"M", 10}, {"D", 1}, {"E", 1}, {NULL, 0}});
    assert_float_equal(c.pairs, 100, 0);
}

static void test_unknown_size(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    static const char text[] = "lap 1\ngraph @t {\n%1 = input f32[i=N] {name=\"x\" layout=\"i\"}\n"
                               "%2 = map f32[i=N] %1 {fn=exp}\noutput \"y\" %2 {layout=\"i\"}\n}\n";
    lap_graph *g;
    assert_true(lap_graph_parse(ctx, "test", text, strlen(text), &g));
    lap_cost cost;
    assert_false(lap_cost_of(g, size_of, &(sizes){ctx, (const size[]){{NULL, 0}}}, &cost));
    lap_ctx_free(ctx);
}

/* Only what is asked for counts: a map of each element, or a product of matrices. */
static void test_evaluating(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    static const char text[] = "lap 1\ngraph @t {\n%1 = input f32[i=N k=K] {name=\"a\" layout=\"i k\"}\n"
                               "%2 = input f32[k=K j=M] {name=\"b\" layout=\"k j\"}\n"
                               "%3 = map f32[i=N k=K] %1 {fn=exp}\n"
                               "%4 = map f32[i=N k=K j=M] %3 %2 {fn=mul}\n"
                               "%5 = reduce f32[i=N j=M] %4 {red=sum over=\"k\"}\n"
                               "output \"y\" %5 {layout=\"i j\"}\n}\n";
    lap_graph *g;
    assert_true(lap_graph_parse(ctx, "test", text, strlen(text), &g));
    sizes s = {ctx, (const size[]){{"N", 30}, {"K", 40}, {"M", 50}, {NULL, 0}}};
    double map, all;
    assert_true(lap_cost_of_evaluating(g, 1, &(lap_ref){3}, size_of, &s, &map));
    assert_float_equal(map, 30 * 40 * 2, 0);
    assert_true(lap_cost_of_evaluating(g, 2, (lap_ref[]){{3}, {5}}, size_of, &s, &all));
    assert_float_equal(all, map + 40 * 50 + (30 * 50 + 30 * 40 * 50) / 8.0, 1e-9);
    lap_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contraction),  cmocka_unit_test(test_weights_are_free),
        cmocka_unit_test(test_causal),       cmocka_unit_test(test_window),
        cmocka_unit_test(test_sampled),      cmocka_unit_test(test_data_predicate),
        cmocka_unit_test(test_unknown_size), cmocka_unit_test(test_evaluating),
    };
    return cmocka_run_group_tests_name("cost", tests, NULL, NULL);
}
