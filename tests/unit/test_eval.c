/* SPDX-License-Identifier: Apache-2.0
 * test_eval.c - every operation of the evaluator on small graphs, against numbers worked out by hand.
 *
 * A row is a graph without its frame, the tensors given (weights start with "w."), and the outputs
 * expected, or "! words" that the only error contains. */
#include "tests/unit/graphs.h"

#include "tests/support/tensor_text.h"

typedef struct row { const char *what, *graph, *given, *expected; } row;

/* Splits "w.x" tensors off as weights "x". */
static void split_weights(lap_arena *arena, const lap_eval_io *all, lap_eval_io *inputs, lap_eval_io *weights)
{
    const char **names[2];
    lap_tensor *tensors[2];
    uint32_t n[2] = {0, 0};
    for (int k = 0; k < 2; k++) {
        names[k] = lap_arena_array(arena, all->n + 1, sizeof **names);
        tensors[k] = lap_arena_array(arena, all->n + 1, sizeof **tensors);
    }
    for (uint32_t i = 0; i < all->n; i++) {
        int k = strncmp(all->names[i], "w.", 2) == 0;
        names[k][n[k]] = all->names[i] + 2 * k;
        tensors[k][n[k]++] = all->tensors[i];
    }
    *inputs = (lap_eval_io){n[0], names[0], tensors[0]};
    *weights = (lap_eval_io){n[1], names[1], tensors[1]};
}

static void expect_error(lap_ctx *ctx, const row *r)
{
    if (lap_error_count(ctx) != 1 || !strstr(lap_error_text(ctx, 0), r->expected + 2)) {
        fail_msg("%s: expected '%s', found %zu errors: '%s'", r->what, r->expected + 2, lap_error_count(ctx),
                 lap_error_count(ctx) ? lap_error_text(ctx, 0) : "");
    }
}

static void expect_outputs(lap_ctx *ctx, const row *r, const lap_eval_result *got)
{
    lap_eval_io want = test_tensors(ctx->arena, r->expected);
    assert_int_equal(got->n, want.n);
    for (uint32_t i = 0; i < want.n; i++) {
        const char *why = NULL;
        assert_string_equal(got->names[i], want.names[i]);
        if (!test_tensor_close(ctx->arena, &got->tensors[i], &want.tensors[i], 1e-6, 1e-7, &why)) {
            fail_msg("%s: %s: %s", r->what, want.names[i], why);
        }
    }
}

static void check_row(const row *r)
{
    lap_ctx *ctx = lap_ctx_new(0);
    const char *text = lap_arena_printf(ctx->arena, "lap 1\ngraph @test {\n%s}\n", r->graph);
    lap_graph *g;
    if (!lap_graph_parse(ctx, "test.lap", text, strlen(text), &g) || !lap_graph_verify(g)) {
        fail_msg("%s: %s", r->what, lap_error_text(ctx, 0));
    }
    lap_eval_io all = test_tensors(ctx->arena, r->given), inputs, weights;
    split_weights(ctx->arena, &all, &inputs, &weights);
    lap_eval_result got;
    bool ok = lap_eval(g, &inputs, &weights, &got);
    if (r->expected[0] == '!') {
        assert_false(ok);
        expect_error(ctx, r);
    } else if (!ok) {
        fail_msg("%s: %s", r->what, lap_error_text(ctx, 0));
    } else {
        expect_outputs(ctx, r, &got);
    }
    lap_ctx_free(ctx);
}

#define CHECK_ROWS(rows)                                            \
    for (size_t i = 0; i < sizeof(rows) / sizeof *(rows); i++) {    \
        check_row(&(rows)[i]);                                      \
    }

#define X "%1 = input f32[n=N] {name=\"x\" layout=\"n\"}\n"
#define XI "%1 = input i64[n=N] {name=\"x\" layout=\"n\"}\n"
#define XY X "%2 = input f32[n=N] {name=\"y\" layout=\"n\"}\n"
#define OUT(v) "output \"o\" %" v " {layout=\"n\"}\n"
#define MATRIX "%1 = input f32[a=A b=B] {name=\"x\" layout=\"a b\"}\n"

static void test_map(void **state)
{
    (void)state;
    static const row rows[] = {
        {"add", XY "%3 = map %1 %2 {fn=add}\n" OUT("3"), "x f32[2] 1 2; y f32[2] 10 20", "o f32[2] 11 22"},
        {"div", XY "%3 = map %1 %2 {fn=div}\n" OUT("3"), "x f32[3] 1 2 -1; y f32[3] 4 0 0", "o f32[3] 0.25 inf -inf"},
        {"pow", XY "%3 = map %1 %2 {fn=pow}\n" OUT("3"), "x f32[2] 2 9; y f32[2] 3 0.5", "o f32[2] 8 3"},
        {"float idiv", XY "%3 = map %1 %2 {fn=idiv}\n" OUT("3"), "x f32[2] -7 7; y f32[2] 2 2", "o f32[2] -4 3"},
        {"float mod", XY "%3 = map %1 %2 {fn=mod}\n" OUT("3"), "x f32[2] -7 7; y f32[2] 2 -2", "o f32[2] 1 -1"},
        {"min of nan", XY "%3 = map %1 %2 {fn=min}\n" OUT("3"), "x f32[3] nan 1 1; y f32[3] 1 nan -1", "o f32[3] nan nan -1"},
        {"max of nan", XY "%3 = map %1 %2 {fn=max}\n" OUT("3"), "x f32[3] nan 1 1; y f32[3] 1 nan -1", "o f32[3] nan nan 1"},
        {"less", XY "%3 = map %1 %2 {fn=lt}\n" OUT("3"), "x f32[3] 1 2 nan; y f32[3] 2 2 1", "o bool[3] 1 0 0"},
        {"not equal", XY "%3 = map %1 %2 {fn=ne}\n" OUT("3"), "x f32[3] 1 2 nan; y f32[3] 2 2 nan", "o bool[3] 1 0 1"},
        {"neg", X "%2 = map %1 {fn=neg}\n" OUT("2"), "x f32[2] 1 -2", "o f32[2] -1 2"},
        {"abs", X "%2 = map %1 {fn=abs}\n" OUT("2"), "x f32[2] 1 -2", "o f32[2] 1 2"},
        {"sign", X "%2 = map %1 {fn=sign}\n" OUT("2"), "x f32[3] 7 -2 0", "o f32[3] 1 -1 0"},
        {"exp", X "%2 = map %1 {fn=exp}\n" OUT("2"), "x f32[2] 0 1", "o f32[2] 1 2.718281828"},
        {"log", X "%2 = map %1 {fn=log}\n" OUT("2"), "x f32[3] 1 0 -1", "o f32[3] 0 -inf nan"},
        {"sqrt", X "%2 = map %1 {fn=sqrt}\n" OUT("2"), "x f32[2] 9 2", "o f32[2] 3 1.414213562"},
        {"tanh", X "%2 = map %1 {fn=tanh}\n" OUT("2"), "x f32[2] 0 1", "o f32[2] 0 0.761594156"},
        {"sigmoid", X "%2 = map %1 {fn=sigmoid}\n" OUT("2"), "x f32[3] 0 2 -1000", "o f32[3] 0.5 0.880797078 0"},
        {"erf", X "%2 = map %1 {fn=erf}\n" OUT("2"), "x f32[2] 0 0.5", "o f32[2] 0 0.520499878"},
        {"sin", X "%2 = map %1 {fn=sin}\n" OUT("2"), "x f32[2] 0 1", "o f32[2] 0 0.841470985"},
        {"cos", X "%2 = map %1 {fn=cos}\n" OUT("2"), "x f32[2] 0 1", "o f32[2] 1 0.540302306"},
        {"floor", X "%2 = map %1 {fn=floor}\n" OUT("2"), "x f32[3] 1.5 -1.5 2", "o f32[3] 1 -2 2"},
        {"round", X "%2 = map %1 {fn=round}\n" OUT("2"), "x f32[5] 0.5 1.5 2.5 -0.5 -1.5", "o f32[5] 0 2 2 0 -2"},
        {"int", X "%2 = map %1 {fn=int}\n" OUT("2"), "x f32[5] 1.9 -1.9 nan inf -inf",
         "o i64[5] 1 -1 0 9223372036854775807 -9223372036854775808"},
    };
    CHECK_ROWS(rows);
}

static void test_integers(void **state)
{
    (void)state;
    static const row rows[] = {
        {"exact", XI "%2 = const {value=1}\n%3 = map %1 %2 {fn=add}\n" OUT("3"), "x i64[1] 9007199254740993",
         "o i64[1] 9007199254740994"},
        {"wraps", XI "%2 = const {value=1}\n%3 = map %1 %2 {fn=add}\n" OUT("3"), "x i64[1] 9223372036854775807",
         "o i64[1] -9223372036854775808"},
        {"idiv", XI "%2 = const {value=-2}\n%3 = map %1 %2 {fn=idiv}\n" OUT("3"), "x i64[3] 7 -7 6", "o i64[3] -4 3 -3"},
        {"mod", XI "%2 = const {value=-2}\n%3 = map %1 %2 {fn=mod}\n" OUT("3"), "x i64[3] 7 -7 6", "o i64[3] -1 -1 0"},
        {"by zero", XI "%2 = map %1 %1 {fn=sub}\n%3 = map %1 %2 {fn=idiv}\n%4 = map %1 %2 {fn=mod}\n"
         "output \"p\" %3 {layout=\"n\"}\noutput \"q\" %4 {layout=\"n\"}\n", "x i64[1] 7", "p i64[1] 0; q i64[1] 0"},
        {"least by -1", XI "%2 = const {value=-1}\n%3 = map %1 %2 {fn=idiv}\n" OUT("3"), "x i64[1] -9223372036854775808",
         "o i64[1] -9223372036854775808"},
        {"true division", XI "%2 = const {value=2}\n%3 = map %1 %2 {fn=div}\n" OUT("3"), "x i64[1] 7", "o f32[1] 3.5"},
        {"mixed", XI "%2 = const {value=0.5}\n%3 = map %1 %2 {fn=mul}\n" OUT("3"), "x i64[1] 7", "o f32[1] 3.5"},
        {"logic", XI "%2 = const {value=2}\n%3 = map %1 %2 {fn=lt}\n%4 = map %1 %2 {fn=gt}\n%5 = map %3 %4 {fn=or}\n"
         "%6 = map %5 {fn=not}\n%7 = map %5 %3 {fn=and}\noutput \"p\" %6 {layout=\"n\"}\noutput \"q\" %7 {layout=\"n\"}\n",
         "x i64[3] 1 2 3", "p bool[3] 0 1 0; q bool[3] 1 0 0"},
        {"select of an int and a float", XI "%2 = const {value=2}\n%3 = map %1 %2 {fn=lt}\n%4 = const {value=0.5}\n"
         "%5 = map %3 %1 %4 {fn=select}\n" OUT("5"), "x i64[2] 1 2", "o f32[2] 1 0.5"},
        {"saturates", X "%2 = map %1 {fn=i8}\n%3 = map %1 {fn=i4}\noutput \"p\" %2 {layout=\"n\"}\n"
         "output \"q\" %3 {layout=\"n\"}\n", "x f32[4] 200 -200 7.9 -8.9", "p i8[4] 127 -128 7 -8; q i4[4] 7 -8 7 -8"},
        {"i32", XI "%2 = map %1 {fn=i32}\n" OUT("2"), "x i64[2] 3000000000 -5", "o i32[2] 2147483647 -5"},
    };
    CHECK_ROWS(rows);
}

static void test_rounding(void **state)
{
    (void)state;
    static const row rows[] = {
        /* f16 has 11 digits: 2049 and 2051 are ties; 65520 rounds to infinity */
        {"f16 ties", X "%2 = map %1 {fn=f16}\n%3 = map %2 {fn=float}\n" OUT("3"), "x f32[6] 2049 2051 1e-8 65519 65520 -7e4",
         "o f32[6] 2048 2052 0 65504 inf -inf"},
        {"f16 small", X "%2 = map %1 {fn=f16}\n%3 = map %2 {fn=float}\n" OUT("3"), "x f32[2] 8.9406967e-8 2.9802322e-8",
         "o f32[2] 1.1920929e-7 0"},
        /* bf16 has 8 digits: 257 and 259 are ties */
        {"bf16 ties", X "%2 = map %1 {fn=bf16}\n%3 = map %2 {fn=float}\n" OUT("3"), "x f32[4] 257 259 -1.00390625 3.4e38",
         "o f32[4] 256 260 -1 inf"},
        {"a stored input", "%1 = input bf16[n=N] {name=\"x\" layout=\"n\"}\n%2 = const {value=1.0}\n"
         "%3 = map %1 %2 {fn=add}\n" OUT("3"), "x bf16[2] 3 4", "o f32[2] 4 5"},
        {"an input stored wider than declared", "%1 = weight f16[n=N] {name=\"x\" layout=\"n\"}\n%2 = map %1 {fn=float}\n" OUT("2"),
         "w.x f32[2] 2049 1", "o f32[2] 2048 1"},
        {"a packed input", "%1 = weight i4[n=N] {name=\"x\" layout=\"n\"}\n%2 = const {value=2}\n%3 = map %1 %2 {fn=mul}\n"
         OUT("3"), "w.x i4[3] -8 7 1", "o i64[3] -16 14 2"},
        {"floats for ints", XI OUT("1"), "x f32[1] 1", "! x is f32, expected i64"},
    };
    CHECK_ROWS(rows);
}

static void test_align(void **state)
{
    (void)state;
    static const row rows[] = {
        {"outer product", "%1 = input f32[a=A] {name=\"x\" layout=\"a\"}\n%2 = input f32[b=B] {name=\"y\" layout=\"b\"}\n"
         "%3 = map %1 %2 {fn=mul}\noutput \"o\" %3 {layout=\"b a\"}\n", "x f32[2] 1 2; y f32[3] 1 10 100",
         "o f32[3 2] 1 2 10 20 100 200"},
        {"by name, not by place", MATRIX "%2 = input f32[b=B a=A] {name=\"y\" layout=\"b a\"}\n%3 = map %1 %2 {fn=sub}\n"
         "output \"o\" %3 {layout=\"a b\"}\n", "x f32[2 2] 1 2 3 4; y f32[2 2] 1 3 2 4", "o f32[2 2] 0 0 0 0"},
        {"groups and unit axes", MATRIX "output \"o\" %1 {layout=\"1 (b a)\"}\n", "x f32[2 3] 1 2 3 4 5 6",
         "o f32[1 6] 1 4 2 5 3 6"},
        {"index, dim, full", "%1 = input f32[n=N] {name=\"x\" layout=\"n\"}\n%2 = index i64[n=N] {axis=n}\n"
         "%3 = dim {dim=2*N}\n%4 = full f32[n=N] {value=0.5}\n%5 = map %2 %3 {fn=add}\n%6 = map %5 %4 {fn=mul}\n"
         OUT("6"), "x f32[3]", "o f32[3] 3 3.5 4"},
        {"rename", MATRIX "%2 = rename f32[b=A a=B] %1 {from=\"a b\" to=\"b a\"}\noutput \"o\" %2 {layout=\"a b\"}\n",
         "x f32[2 3] 1 2 3 4 5 6", "o f32[3 2] 1 4 2 5 3 6"},
        {"no elements", MATRIX "%2 = map %1 {fn=exp}\n%3 = reduce %2 {red=sum over=\"b\"}\noutput \"o\" %3 {layout=\"a\"}\n",
         "x f32[2 0]", "o f32[2] 0 0"},
    };
    CHECK_ROWS(rows);
}

static void test_reduce(void **state)
{
    (void)state;
#define REDUCE(red, over, layout, given, expected)                                                              \
    {red, MATRIX "%2 = reduce %1 {red=" red " over=\"" over "\"}\noutput \"o\" %2 {layout=\"" layout "\"}\n", given, expected}
    static const row rows[] = {
        REDUCE("sum", "b", "a", "x f32[2 3] 1 2 3 4 5 6", "o f32[2] 6 15"),
        REDUCE("sum", "a", "b", "x f32[2 3] 1 2 3 4 5 6", "o f32[3] 5 7 9"),
        REDUCE("sum", "a b", "", "x f32[2 3] 1 2 3 4 5 6", "o f32[] 21"),
        REDUCE("prod", "b", "a", "x f32[2 3] 1 2 3 4 5 6", "o f32[2] 6 120"),
        REDUCE("max", "b", "a", "x f32[2 3] 1 7 3 nan 5 6", "o f32[2] 7 nan"),
        REDUCE("min", "b", "a", "x f32[2 3] 1 7 3 4 -5 6", "o f32[2] 1 -5"),
        REDUCE("max", "b", "a", "x f32[2 0]", "o f32[2] -inf -inf"),
        REDUCE("argmax", "b", "a", "x f32[2 3] 1 7 7 4 5 nan", "o i64[2] 1 2"),
        REDUCE("argmin", "b", "a", "x f32[2 3] 1 7 1 4 -5 6", "o i64[2] 0 1"),
        {"any, all", MATRIX "%2 = const {value=2.0}\n%3 = map %1 %2 {fn=lt}\n%4 = reduce %3 {red=any over=\"b\"}\n"
         "%5 = reduce %3 {red=all over=\"b\"}\noutput \"p\" %4 {layout=\"a\"}\noutput \"q\" %5 {layout=\"a\"}\n",
         "x f32[3 2] 0 0 0 5 5 5", "p bool[3] 1 1 0; q bool[3] 1 0 0"},
        {"counts truths", MATRIX "%2 = const {value=2.0}\n%3 = map %1 %2 {fn=lt}\n%4 = reduce %3 {red=sum over=\"b\"}\n"
         "output \"o\" %4 {layout=\"a\"}\n", "x f32[3 2] 0 0 0 5 5 5", "o i64[3] 2 1 0"},
        {"contraction", MATRIX "%2 = input f32[b=B c=C] {name=\"y\" layout=\"b c\"}\n%3 = map %1 %2 {fn=mul}\n"
         "%4 = reduce %3 {red=sum over=\"b\"}\noutput \"o\" %4 {layout=\"a c\"}\n",
         "x f32[2 2] 1 2 3 4; y f32[2 3] 1 0 2 0 1 3", "o f32[2 3] 1 2 8 3 4 18"},
        {"three factors", MATRIX "%2 = input f32[b=B c=C] {name=\"y\" layout=\"b c\"}\n"
         "%3 = input f32[c=C d=D] {name=\"z\" layout=\"c d\"}\n%4 = map %1 %2 {fn=mul}\n%5 = map %4 %3 {fn=mul}\n"
         "%6 = reduce %5 {red=sum over=\"b c\"}\noutput \"o\" %6 {layout=\"a d\"}\n",
         "x f32[2 2] 1 2 3 4; y f32[2 2] 1 0 2 1; z f32[2 1] 1 10", "o f32[2 1] 25 51"},
        {"square", MATRIX "%2 = map %1 %1 {fn=mul}\n%3 = reduce %2 {red=sum over=\"b\"}\noutput \"o\" %3 {layout=\"a\"}\n",
         "x f32[2 2] 1 2 3 4", "o f32[2] 5 25"},
    };
    CHECK_ROWS(rows);
}

#define AT(fill) "%2 = input i64[m=M] {name=\"i\" layout=\"m\"}\n%3 = at %1 %2 {src=\"n\"" fill "}\n"
#define OUT_M(v) "output \"o\" %" v " {layout=\"m\"}\n"

static void test_at(void **state)
{
    (void)state;
    static const row rows[] = {
        {"gather", X AT("") OUT_M("3"), "x f32[3] 10 20 30; i i64[4] 2 0 0 1", "o f32[4] 30 10 10 20"},
        {"fill", X AT(" fill=-1.0") OUT_M("3"), "x f32[3] 10 20 30; i i64[4] 3 0 -1 1", "o f32[4] -1 10 -1 20"},
        {"outside", X AT("") OUT_M("3"), "x f32[3] 10 20 30; i i64[2] 3 0", "! index outside axis 'n' of 3"},
        {"the error's place", X "%2 = input i64[m=M] {name=\"i\" layout=\"m\"}\n%3 = at %1 %2 {src=\"n\"}  ; model.lua:12\n"
         OUT_M("3"), "x f32[3] 10 20 30; i i64[2] 3 0", "! model.lua:12"},
        {"aligned with the rest", MATRIX "%2 = input i64[a=A] {name=\"i\" layout=\"a\"}\n%3 = at %1 %2 {src=\"b\"}\n"
         "output \"o\" %3 {layout=\"a\"}\n", "x f32[2 3] 1 2 3 4 5 6; i i64[2] 2 0", "o f32[2] 3 4"},
        {"two axes", MATRIX "%2 = input i64[m=M] {name=\"i\" layout=\"m\"}\n%3 = input i64[m=M] {name=\"j\" layout=\"m\"}\n"
         "%4 = at %1 %2 %3 {src=\"a b\"}\n" OUT_M("4"), "x f32[2 3] 1 2 3 4 5 6; i i64[2] 1 0; j i64[2] 0 2",
         "o f32[2] 4 3"},
        {"shift", X "%2 = index i64[n=N] {axis=n}\n%3 = const {value=1}\n%4 = map %2 %3 {fn=sub}\n"
         "%5 = at %1 %4 {src=\"n\" fill=0.0}\n" OUT("5"), "x f32[3] 10 20 30", "o f32[3] 0 10 20"},
        {"of nothing", X AT(" fill=5.0") OUT_M("3"), "x f32[0]; i i64[1] 0", "o f32[1] 5"},
    };
    CHECK_ROWS(rows);
}

#define SHIFTED X "%2 = index i64[n=N] {axis=n}\n%3 = const {value=1}\n%4 = map %2 %3 {fn=add}\n%5 = at %1 %4 {src=\"n\"}\n" \
    "%6 = dim {dim=N-1}\n%7 = map %2 %6 {fn=lt}\n"

static void test_poison(void **state)
{
    (void)state;
    static const row rows[] = {
        {"not chosen", SHIFTED "%8 = map %7 %5 %1 {fn=select}\n" OUT("8"), "x f32[3] 1 2 3", "o f32[3] 2 3 3"},
        {"chosen", SHIFTED "%8 = map %7 %1 %5 {fn=select}\n" OUT("8"), "x f32[3] 1 2 3", "! index outside axis 'n' of 3"},
        {"through arithmetic", SHIFTED "%8 = const {value=0.0}\n%9 = map %5 %8 {fn=min}\n%10 = map %9 {fn=exp}\n" OUT("10"),
         "x f32[3] 1 2 3", "! index outside axis 'n' of 3"},
        {"and decides", SHIFTED "%8 = const {value=1.5}\n%9 = map %5 %8 {fn=gt}\n%10 = map %7 %9 {fn=and}\n" OUT("10"),
         "x f32[3] 1 2 3", "o bool[3] 1 1 0"},
        {"or does not", SHIFTED "%8 = const {value=1.5}\n%9 = map %5 %8 {fn=gt}\n%10 = map %7 %9 {fn=or}\n" OUT("10"),
         "x f32[3] 1 2 3", "! index outside"},
        {"a sum", SHIFTED "%8 = reduce %5 {red=sum over=\"n\"}\noutput \"o\" %8 {layout=\"\"}\n", "x f32[3] 1 2 3",
         "! index outside"},
        {"a sum of a product", SHIFTED "%8 = map %5 %1 {fn=mul}\n%9 = reduce %8 {red=sum over=\"n\"}\n"
         "output \"o\" %9 {layout=\"\"}\n", "x f32[3] 1 2 3", "! index outside"},
        {"nobody reads it", SHIFTED OUT("1"), "x f32[3] 1 2 3", "o f32[3] 1 2 3"},
        {"a masked key", SHIFTED "%8 = attend %5 %7 %1 {parts=[{keys=\"n\" score=0 where=1 value=2}] norm=sum empty=0.0}\n"
         "%9 = result %8 {which=\"out\"}\noutput \"o\" %9 {layout=\"\"}\n", "x f32[3] 1 2 3", "o f32[] 1.6"},
        {"an attended key", SHIFTED "%8 = attend %5 %1 {parts=[{keys=\"n\" score=0 value=1}] norm=sum empty=0.0}\n"
         "%9 = result %8 {which=\"out\"}\noutput \"o\" %9 {layout=\"\"}\n", "x f32[3] 1 2 3", "! index outside"},
        {"topk", SHIFTED "%8 = topk %5 {axis=n into=k dim=1 smallest=false}\n%9 = result %8 {which=\"values\"}\n"
         "output \"o\" %9 {layout=\"k\"}\n", "x f32[3] 1 2 3", "! index outside"},
        {"a requirement", SHIFTED "%8 = map %5 %1 {fn=gt}\nrequire %8 {message=\"rising\"}\n" OUT("1"), "x f32[3] 1 2 3",
         "! index outside"},
    };
    CHECK_ROWS(rows);
}

static void test_scatter(void **state)
{
    (void)state;
#define SCATTER(mode, base) X "%2 = input i64[n=N] {name=\"i\" layout=\"n\"}\n"                                 \
    "%3 = scatter %1 %2 {over=\"n\" target=\"m\" sizes=[4] mode=" mode " base=" base "}\n" OUT_M("3")
    static const row rows[] = {
        {"add", SCATTER("add", "0.0"), "x f32[3] 1 2 4; i i64[3] 1 3 1", "o f32[4] 0 5 0 2"},
        {"set, last wins", SCATTER("set", "-1.0"), "x f32[3] 1 2 4; i i64[3] 1 3 1", "o f32[4] -1 4 -1 2"},
        {"max", SCATTER("max", "1.5"), "x f32[3] 1 2 4; i i64[3] 0 3 1", "o f32[4] 1.5 4 1.5 2"},
        {"outside is dropped", SCATTER("add", "0.0"), "x f32[3] 1 2 4; i i64[3] -1 4 2", "o f32[4] 0 0 4 0"},
        {"rows", MATRIX "%2 = input i64[b=B] {name=\"i\" layout=\"b\"}\n"
         "%3 = scatter %1 %2 {over=\"b\" target=\"m\" sizes=[2] mode=add base=0.0}\noutput \"o\" %3 {layout=\"a m\"}\n",
         "x f32[2 3] 1 2 3 4 5 6; i i64[3] 1 0 1", "o f32[2 2] 2 4 5 10"},
    };
    CHECK_ROWS(rows);
}

static void test_topk(void **state)
{
    (void)state;
#define TOPK(k, smallest) X "%2 = topk %1 {axis=n into=k dim=" k " smallest=" smallest "}\n%3 = result %2 {which=\"values\"}\n" \
    "%4 = result %2 {which=\"index\"}\noutput \"v\" %3 {layout=\"k\"}\noutput \"i\" %4 {layout=\"k\"}\n"
    static const row rows[] = {
        {"falling", TOPK("3", "false"), "x f32[5] 1 3 2 3 0", "v f32[3] 3 3 2; i i64[3] 1 3 2"},
        {"rising", TOPK("3", "true"), "x f32[5] 1 3 1 3 0", "v f32[3] 0 1 1; i i64[3] 4 0 2"},
        {"nan last", TOPK("3", "false"), "x f32[3] nan 3 -inf", "v f32[3] 3 -inf nan; i i64[3] 1 2 0"},
        {"too many", TOPK("3", "false"), "x f32[2] 1 2", "! topk takes 3"},
        {"a ragged row", X "%2 = const {value=2}\n%3 = rename f32[n=N?%2] %1 {from=\"\" to=\"\"}\n"
         "%4 = topk %3 {axis=n into=k dim=3 smallest=false}\n%5 = result %4 {which=\"values\"}\n"
         "output \"v\" %5 {layout=\"k\"}\n", "x f32[4] 1 2 7 9", "v f32[3] 2 1 0"},
    };
    CHECK_ROWS(rows);
}

#define RAGGED "%1 = input f32[a=A b=B] {name=\"x\" layout=\"a b\"}\n%2 = input i64[a=A] {name=\"len\" layout=\"a\"}\n" \
    "%3 = rename f32[a=A b=B?%2] %1 {from=\"\" to=\"\"}\n"
#define OUT_A(v) "output \"o\" %" v " {layout=\"a\"}\n"

static void test_ragged(void **state)
{
    (void)state;
    static const row rows[] = {
        {"tails are zero", RAGGED "output \"o\" %3 {layout=\"a b\"}\n", "x f32[2 2] 1 2 3 4; len i64[2] 1 2",
         "o f32[2 2] 1 0 3 4"},
        {"sum", RAGGED "%4 = reduce %3 {red=sum over=\"b\"}\n" OUT_A("4"), "x f32[2 2] 1 nan 3 4; len i64[2] 1 2",
         "o f32[2] 1 7"},
        {"max", RAGGED "%4 = reduce %3 {red=max over=\"b\"}\n" OUT_A("4"), "x f32[2 2] 1 2 3 4; len i64[2] 1 0",
         "o f32[2] 1 -inf"},
        {"argmax", RAGGED "%4 = reduce %3 {red=argmax over=\"b\"}\n" OUT_A("4"), "x f32[2 2] 1 2 3 4; len i64[2] 1 2",
         "o i64[2] 0 1"},
        {"contraction", RAGGED "%4 = map %3 %1 {fn=mul}\n%5 = reduce %4 {red=sum over=\"b\"}\n" OUT_A("5"),
         "x f32[2 2] 1 nan 3 4; len i64[2] 1 2", "o f32[2] 1 25"},
        {"attend", RAGGED "%4 = attend %3 %3 {parts=[{keys=\"b\" score=0 value=1}] norm=sum empty=-1.0}\n"
         "%5 = result %4 {which=\"out\"}\n" OUT_A("5"), "x f32[3 2] 1 2 3 1 5 5; len i64[3] 1 2 0", "o f32[3] 1 2.5 -1"},
        {"outside, but absent", X "%2 = const {value=2}\n%3 = index i64[m=4?%2] {axis=m}\n%4 = at %1 %3 {src=\"n\"}\n"
         "%5 = reduce %4 {red=sum over=\"m\"}\noutput \"o\" %5 {layout=\"\"}\n", "x f32[2] 1 2", "o f32[] 3"},
        {"require skips what is absent", RAGGED "%4 = const {value=0.0}\n%5 = map %3 %4 {fn=gt}\n"
         "require %5 {message=\"positive\"}\n%6 = reduce %3 {red=sum over=\"b\"}\n" OUT_A("6"),
         "x f32[2 2] 1 -1 3 4; len i64[2] 1 2", "o f32[2] 1 7"},
        {"crop", X "%2 = input i64 {name=\"k\" layout=\"\"}\noutput \"o\" %1 {layout=\"n\" crop=[n=%2]}\n",
         "x f32[3] 1 2 3; k i64[] 2", "o f32[2] 1 2"},
    };
    CHECK_ROWS(rows);
}

#define QK "%1 = input f32[i=I j=J] {name=\"s\" layout=\"i j\"}\n%2 = input f32[j=J c=C] {name=\"v\" layout=\"j c\"}\n"
#define GIVEN "s f32[2 2] 0 1.0986122886681098 2 2; v f32[2 1] 4 8"

static void test_attend(void **state)
{
    (void)state;
    static const row rows[] = {
        /* exp(log 3) = 3: weights 1/4, 3/4 */
        {"softmax", QK "%3 = attend %1 %2 {parts=[{keys=\"j\" score=0 value=1}] norm=softmax empty=0.0}\n"
         "%4 = result %3 {which=\"out\"}\noutput \"o\" %4 {layout=\"i c\"}\n", GIVEN, "o f32[2 1] 7 6"},
        {"statistics", QK "%3 = attend %1 %2 {parts=[{keys=\"j\" score=0 value=1}] norm=softmax empty=0.0}\n"
         "%4 = result %3 {which=\"lse\"}\n%5 = result %3 {which=\"max\"}\n%6 = result %3 {which=\"sum\"}\n"
         "%7 = result %3 {which=\"weights\"}\noutput \"l\" %4 {layout=\"i\"}\noutput \"m\" %5 {layout=\"i\"}\n"
         "output \"s\" %6 {layout=\"i\"}\noutput \"w\" %7 {layout=\"j i\"}\n", GIVEN,
         "l f32[2] 1.3862943611 2.6931471806; m f32[2] 1.0986122887 2; s f32[2] 1.3333333333 2; w f32[2 2] 0.25 0.5 0.75 0.5"},
        {"where, empty", QK "%3 = input bool[i=I j=J] {name=\"w\" layout=\"i j\"}\n"
         "%4 = attend %1 %3 %2 {parts=[{keys=\"j\" score=0 where=1 value=2}] norm=softmax empty=-5.0}\n"
         "%5 = result %4 {which=\"out\"}\noutput \"o\" %5 {layout=\"i c\"}\n", GIVEN "; w bool[2 2] 0 1 0 0",
         "o f32[2 1] 8 -5"},
        {"after keeps the denominator", QK "%3 = input f32[j=J] {name=\"a\" layout=\"j\"}\n"
         "%4 = attend %1 %3 %2 {parts=[{keys=\"j\" score=0 after=1 value=2}] norm=softmax empty=0.0}\n"
         "%5 = result %4 {which=\"out\"}\noutput \"o\" %5 {layout=\"i c\"}\n", GIVEN "; a f32[2] 0 1", "o f32[2 1] 6 4"},
        {"norm sum with eps", QK "%3 = attend %1 %2 {parts=[{keys=\"j\" score=0 value=1}] norm=sum empty=0.0 eps=8.0}\n"
         "%4 = result %3 {which=\"out\"}\noutput \"o\" %4 {layout=\"i c\"}\n", "s f32[2 2] 1 3 8 8; v f32[2 1] 4 8",
         "o f32[2 1] 3.5 6"},
        {"norm none", QK "%3 = attend %1 %2 {parts=[{keys=\"j\" score=0 value=1}] norm=none empty=0.0}\n"
         "%4 = result %3 {which=\"out\"}\noutput \"o\" %4 {layout=\"i c\"}\n", "s f32[2 2] 1 3 8 8; v f32[2 1] 4 8",
         "o f32[2 1] 28 96"},
        {"two parts", QK "%3 = input f32[m=M] {name=\"t\" layout=\"m\"}\n%4 = input f32[m=M c=C] {name=\"u\" layout=\"m c\"}\n"
         "%5 = attend %1 %2 %3 %4 {parts=[{keys=\"j\" score=0 value=1} {keys=\"m\" score=2 value=3}] norm=sum empty=0.0}\n"
         "%6 = result %5 {which=\"out\"}\n%7 = result %5 {which=\"weights2\"}\noutput \"o\" %6 {layout=\"i c\"}\n"
         "output \"w\" %7 {layout=\"i m\"}\n", "s f32[2 2] 1 3 8 8; v f32[2 1] 4 8; t f32[1] 4; u f32[1 1] 10",
         "o f32[2 1] 8.5 6.8; w f32[2 1] 0.5 0.2"},
        {"scores of -inf are an empty row", QK "%3 = attend %1 %2 {parts=[{keys=\"j\" score=0 value=1}] norm=softmax empty=9.0}\n"
         "%4 = result %3 {which=\"out\"}\noutput \"o\" %4 {layout=\"i c\"}\n", "s f32[2 2] -inf -inf -inf 1; v f32[2 1] 4 8",
         "o f32[2 1] 9 8"},
        {"an infinite score", QK "%3 = attend %1 %2 {parts=[{keys=\"j\" score=0 value=1}] norm=softmax empty=0.0}\n"
         "%4 = result %3 {which=\"out\"}\noutput \"o\" %4 {layout=\"i c\"}\n", "s f32[1 2] inf 1; v f32[2 1] 4 8",
         "o f32[1 1] nan"},
    };
    CHECK_ROWS(rows);
}

static void test_regions(void **state)
{
    (void)state;
#define SCAN(reverse) X "%2 = const {value=0.0}\n"                                                              \
    "%3 = scan %2 %1 {along=n steps=N reverse=" reverse " states=\"s\" outs=\"y\"} {\n(%4 f32, %5 f32, %6 i64)\n"   \
    "%7 = map %4 %5 {fn=add}\n%8 = map %7 %6 {fn=mul}\nyield %7 %8\n}\n"                                            \
    "%9 = result %3 {which=\"y\"}\n%10 = result %3 {which=\"last_s\"}\noutput \"y\" %9 {layout=\"n\"}\n"            \
    "output \"s\" %10 {layout=\"\"}\n"
    static const row rows[] = {
        {"scan", SCAN("false"), "x f32[3] 1 2 3", "y f32[3] 0 3 12; s f32[] 6"},
        {"reverse", SCAN("true"), "x f32[3] 1 2 3", "y f32[3] 0 5 6; s f32[] 6"},
        {"no steps", SCAN("false"), "x f32[0]", "y f32[0]; s f32[] 0"},
        /* doubles while below the limit, at most 4 times */
        {"loop", "%1 = input f32 {name=\"x\" layout=\"\"}\n%2 = const {value=2.0}\n%3 = const {value=100.0}\n"
         "%4 = loop %1 {limit=4 states=\"s\"} {\n(%5 f32)\n%6 = map %5 %2 {fn=mul}\n%7 = map %5 %3 {fn=lt}\nyield %6 %7\n}\n"
         "%8 = result %4 {which=\"s\"}\noutput \"o\" %8 {layout=\"\"}\n", "x f32[] 30", "o f32[] 120"},
        {"loop to its limit", "%1 = input f32 {name=\"x\" layout=\"\"}\n%2 = const {value=2.0}\n%3 = const {value=100.0}\n"
         "%4 = loop %1 {limit=4 states=\"s\"} {\n(%5 f32)\n%6 = map %5 %2 {fn=mul}\n%7 = map %5 %3 {fn=lt}\nyield %6 %7\n}\n"
         "%8 = result %4 {which=\"s\"}\noutput \"o\" %8 {layout=\"\"}\n", "x f32[] 1", "o f32[] 16"},
        /* the side not taken reads outside */
        {"branch", X "%2 = input bool {name=\"c\" layout=\"\"}\n%3 = const {value=5}\n"
         "%4 = branch %2 {outs=\"y\"} {\n%5 = reduce %1 {red=sum over=\"n\"}\nyield %5\n} {\n%6 = at %1 %3 {src=\"n\"}\nyield %6\n}\n"
         "%7 = result %4 {which=\"y\"}\noutput \"o\" %7 {layout=\"\"}\n", "x f32[2] 1 2; c bool[] 1", "o f32[] 3"},
        {"the other side", X "%2 = input bool {name=\"c\" layout=\"\"}\n%3 = const {value=5}\n"
         "%4 = branch %2 {outs=\"y\"} {\n%5 = reduce %1 {red=sum over=\"n\"}\nyield %5\n} {\n%6 = at %1 %3 {src=\"n\"}\nyield %6\n}\n"
         "%7 = result %4 {which=\"y\"}\noutput \"o\" %7 {layout=\"\"}\n", "x f32[2] 1 2; c bool[] 0", "! index outside"},
        {"a function called twice", X "func @1 {\n(%2 f32[n=N])\n%3 = map %2 %2 {fn=mul}\nyield %3\n}\n"
         "%4 = call %1 {name=\"f\" outs=\"y\"} @1\n%5 = result %4 {which=\"y\"}\n%6 = call %5 {name=\"f\" outs=\"y\"} @1\n"
         "%7 = result %6 {which=\"y\"}\n" OUT("7"), "x f32[2] 2 3", "o f32[2] 16 81"},
        {"custom", X "%2 = map %1 {fn=exp}\n%3 = custom %2 %1 {\n(%4 f32[n=N])\n%5 = map %4 %2 {fn=mul}\nyield %5\n}\n" OUT("3"),
         "x f32[1] 0", "o f32[1] 1"},
        {"foreign", X "%2 = foreign f32[n=N] %1 {name=\"fft\" outs=\"y\"}\n%3 = result %2 {which=\"y\"}\n" OUT("3"),
         "x f32[1] 0", "! no operation 'fft' is registered"},
        {"require", X "%2 = const {value=0.0}\n%3 = map %1 %2 {fn=gt}\nrequire %3 {message=\"x must be positive\"}\n" OUT("1"),
         "x f32[2] 1 0", "! x must be positive"},
    };
    CHECK_ROWS(rows);
}

static void test_sizes(void **state)
{
    (void)state;
    static const row rows[] = {
        {"square", "%1 = input f32[y=S x=S] {name=\"x\" layout=\"(y x)\"}\n%2 = reduce %1 {red=sum over=\"x\"}\n"
         "output \"o\" %2 {layout=\"y\"}\n", "x f32[4] 1 2 3 4", "o f32[2] 3 7"},
        {"no square", "%1 = input f32[y=S x=S] {name=\"x\" layout=\"(y x)\"}\n%2 = reduce %1 {red=sum over=\"x\"}\n"
         "output \"o\" %2 {layout=\"y\"}\n", "x f32[37]", "! x has an axis of 37, which is not"},
        {"one after the other", "%1 = input f32[a=A*B] {name=\"x\" layout=\"a\"}\n%2 = input f32[b=B] {name=\"y\" layout=\"b\"}\n"
         "%3 = dim {dim=A}\noutput \"o\" %3 {layout=\"\"}\n", "x f32[6]; y f32[2]", "o i64[] 3"},
        {"even", "%1 = input f32[a=2*M] {name=\"x\" layout=\"a\"}\n%2 = dim {dim=M}\noutput \"o\" %2 {layout=\"\"}\n",
         "x f32[7]", "! x has an axis of 7, which is not 2*M for any M"},
        {"no monomial", "%1 = input f32[a=M+3] {name=\"x\" layout=\"a\"}\n%2 = dim {dim=M}\noutput \"o\" %2 {layout=\"\"}\n",
         "x f32[7]", "o i64[] 4"},
        {"unknown", "%1 = input f32[a=A b=B] {name=\"x\" layout=\"(a b)\"}\noutput \"o\" %1 {layout=\"a b\"}\n", "x f32[6]",
         "! cannot tell the extents of"},
        {"two shapes disagree", X "%2 = input f32[n=N] {name=\"y\" layout=\"n\"}\n%3 = map %1 %2 {fn=add}\n" OUT("3"),
         "x f32[2]; y f32[3]", "! y has an axis of 3, expected N = 2"},
        {"fixed", "%1 = input f32[a=4] {name=\"x\" layout=\"a\"}\noutput \"o\" %1 {layout=\"a\"}\n", "x f32[3]",
         "! x has an axis of 3, expected 4"},
        {"rank", X OUT("1"), "x f32[3 1]", "! x has 2 axes, expected 1"},
        {"missing", X OUT("1"), "y f32[3]", "! there is no input 'x'"},
        {"a check", "assume N le 3 \"too long\"  ; model.lua:4\n" X OUT("1"), "x f32[4]", "! model.lua:4: error: too long (N = 4, 3)"},
        {"a family", "%1 = weight f32[k=K n=N] {name=\"m.{k}.w\" layout=\"k n\"}\noutput \"o\" %1 {layout=\"k n\"}\n",
         "w.m.0.w f32[2] 1 2; w.m.1.w f32[2] 3 4", "o f32[2 2] 1 2 3 4"},
        {"a stacked family", "%1 = weight f32[k=K n=N] {name=\"m.{k}.w\" layout=\"k n\"}\noutput \"o\" %1 {layout=\"k n\"}\n",
         "w.m.{k}.w f32[2 2] 1 2 3 4", "o f32[2 2] 1 2 3 4"},
        {"an odd family", "%1 = weight f32[k=K n=N] {name=\"m.{k}.w\" layout=\"k n\"}\noutput \"o\" %1 {layout=\"k n\"}\n",
         "w.m.0.w f32[2] 1 2; w.m.1.w f32[1] 3", "! differ in shape"},
        {"left out, not read", X "%2 = input f32[n=N] {name=\"y\" layout=\"n\" optional=true}\n" OUT("1"), "x f32[1] 1",
         "o f32[1] 1"},
        {"left out, read", X "%2 = input f32[n=N] {name=\"y\" layout=\"n\" optional=true}\n%3 = map %1 %2 {fn=add}\n" OUT("3"),
         "x f32[1] 1", "! the input 'y' was left out"},
        {"too much", "%1 = input f32[n=N] {name=\"x\" layout=\"n\"}\n%2 = rename f32[m=N] %1 {from=\"n\" to=\"m\"}\n"
         "%3 = rename f32[k=N] %1 {from=\"n\" to=\"k\"}\n%4 = map %1 %2 {fn=add}\n%5 = map %4 %3 {fn=add}\n"
         "output \"o\" %5 {layout=\"n m k\"}\n", "x f32[2000]", "! more than 4 GiB"},
    };
    CHECK_ROWS(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map), cmocka_unit_test(test_integers), cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_align), cmocka_unit_test(test_reduce), cmocka_unit_test(test_at),
        cmocka_unit_test(test_poison), cmocka_unit_test(test_scatter), cmocka_unit_test(test_topk),
        cmocka_unit_test(test_ragged), cmocka_unit_test(test_attend), cmocka_unit_test(test_regions),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
