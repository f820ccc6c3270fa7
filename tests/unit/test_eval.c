/* SPDX-License-Identifier: Apache-2.0
 * test_eval.c - scalar functions, reductions and alignment in the evaluator; numbers worked out by hand. */
#include "tests/support/eval_rows.h"

static void test_map(void **state)
{
    (void)state;
    static const test_eval_row rows[] = {
        {"add", XY "%3 = map %1 %2 {fn=add}\n" OUT("3"), "x f32[2] 1 2; y f32[2] 10 20", "o f32[2] 11 22"},
        {"div", XY "%3 = map %1 %2 {fn=div}\n" OUT("3"), "x f32[3] 1 2 -1; y f32[3] 4 0 0",
         "o f32[3] 0.25 inf -inf"},
        {"pow", XY "%3 = map %1 %2 {fn=pow}\n" OUT("3"), "x f32[2] 2 9; y f32[2] 3 0.5", "o f32[2] 8 3"},
        {"float idiv", XY "%3 = map %1 %2 {fn=idiv}\n" OUT("3"), "x f32[2] -7 7; y f32[2] 2 2",
         "o f32[2] -4 3"},
        {"float mod", XY "%3 = map %1 %2 {fn=mod}\n" OUT("3"), "x f32[2] -7 7; y f32[2] 2 -2",
         "o f32[2] 1 -1"},
        {"min of nan", XY "%3 = map %1 %2 {fn=min}\n" OUT("3"), "x f32[3] nan 1 1; y f32[3] 1 nan -1",
         "o f32[3] nan nan -1"},
        {"max of nan", XY "%3 = map %1 %2 {fn=max}\n" OUT("3"), "x f32[3] nan 1 1; y f32[3] 1 nan -1",
         "o f32[3] nan nan 1"},
        {"less", XY "%3 = map %1 %2 {fn=lt}\n" OUT("3"), "x f32[3] 1 2 nan; y f32[3] 2 2 1",
         "o bool[3] 1 0 0"},
        {"not equal", XY "%3 = map %1 %2 {fn=ne}\n" OUT("3"), "x f32[3] 1 2 nan; y f32[3] 2 2 nan",
         "o bool[3] 1 0 1"},
        {"neg", X "%2 = map %1 {fn=neg}\n" OUT("2"), "x f32[2] 1 -2", "o f32[2] -1 2"},
        {"abs", X "%2 = map %1 {fn=abs}\n" OUT("2"), "x f32[2] 1 -2", "o f32[2] 1 2"},
        {"sign", X "%2 = map %1 {fn=sign}\n" OUT("2"), "x f32[3] 7 -2 0", "o f32[3] 1 -1 0"},
        {"exp", X "%2 = map %1 {fn=exp}\n" OUT("2"), "x f32[2] 0 1", "o f32[2] 1 2.718281828"},
        {"log", X "%2 = map %1 {fn=log}\n" OUT("2"), "x f32[3] 1 0 -1", "o f32[3] 0 -inf nan"},
        {"sqrt", X "%2 = map %1 {fn=sqrt}\n" OUT("2"), "x f32[2] 9 2", "o f32[2] 3 1.414213562"},
        {"tanh", X "%2 = map %1 {fn=tanh}\n" OUT("2"), "x f32[2] 0 1", "o f32[2] 0 0.761594156"},
        {"sigmoid", X "%2 = map %1 {fn=sigmoid}\n" OUT("2"), "x f32[3] 0 2 -1000",
         "o f32[3] 0.5 0.880797078 0"},
        {"erf", X "%2 = map %1 {fn=erf}\n" OUT("2"), "x f32[2] 0 0.5", "o f32[2] 0 0.520499878"},
        {"sin", X "%2 = map %1 {fn=sin}\n" OUT("2"), "x f32[2] 0 1", "o f32[2] 0 0.841470985"},
        {"cos", X "%2 = map %1 {fn=cos}\n" OUT("2"), "x f32[2] 0 1", "o f32[2] 1 0.540302306"},
        {"floor", X "%2 = map %1 {fn=floor}\n" OUT("2"), "x f32[3] 1.5 -1.5 2", "o f32[3] 1 -2 2"},
        {"round", X "%2 = map %1 {fn=round}\n" OUT("2"), "x f32[5] 0.5 1.5 2.5 -0.5 -1.5",
         "o f32[5] 0 2 2 0 -2"},
        {"int", X "%2 = map %1 {fn=int}\n" OUT("2"), "x f32[5] 1.9 -1.9 nan inf -inf",
         "o i64[5] 1 -1 0 9223372036854775807 -9223372036854775808"},
    };
    CHECK_ROWS(rows);
}

static void test_integers(void **state)
{
    (void)state;
    static const test_eval_row rows[] = {
        {"exact", XI "%2 = const {value=1}\n%3 = map %1 %2 {fn=add}\n" OUT("3"), "x i64[1] 9007199254740993",
         "o i64[1] 9007199254740994"},
        {"wraps", XI "%2 = const {value=1}\n%3 = map %1 %2 {fn=add}\n" OUT("3"),
         "x i64[1] 9223372036854775807", "o i64[1] -9223372036854775808"},
        {"idiv", XI "%2 = const {value=-2}\n%3 = map %1 %2 {fn=idiv}\n" OUT("3"), "x i64[3] 7 -7 6",
         "o i64[3] -4 3 -3"},
        {"mod", XI "%2 = const {value=-2}\n%3 = map %1 %2 {fn=mod}\n" OUT("3"), "x i64[3] 7 -7 6",
         "o i64[3] -1 -1 0"},
        {"by zero",
         XI "%2 = map %1 %1 {fn=sub}\n%3 = map %1 %2 {fn=idiv}\n%4 = map %1 %2 {fn=mod}\n"
            "output \"p\" %3 {layout=\"n\"}\noutput \"q\" %4 {layout=\"n\"}\n",
         "x i64[1] 7", "p i64[1] 0; q i64[1] 0"},
        {"least by -1", XI "%2 = const {value=-1}\n%3 = map %1 %2 {fn=idiv}\n" OUT("3"),
         "x i64[1] -9223372036854775808", "o i64[1] -9223372036854775808"},
        {"true division", XI "%2 = const {value=2}\n%3 = map %1 %2 {fn=div}\n" OUT("3"), "x i64[1] 7",
         "o f32[1] 3.5"},
        {"mixed", XI "%2 = const {value=0.5}\n%3 = map %1 %2 {fn=mul}\n" OUT("3"), "x i64[1] 7",
         "o f32[1] 3.5"},
        {"logic",
         XI "%2 = const {value=2}\n%3 = map %1 %2 {fn=lt}\n%4 = map %1 %2 {fn=gt}\n%5 = map %3 %4 {fn=or}\n"
            "%6 = map %5 {fn=not}\n%7 = map %5 %3 {fn=and}\noutput \"p\" %6 {layout=\"n\"}\noutput \"q\" %7 "
            "{layout=\"n\"}\n",
         "x i64[3] 1 2 3", "p bool[3] 0 1 0; q bool[3] 1 0 0"},
        {"select of an int and a float",
         XI "%2 = const {value=2}\n%3 = map %1 %2 {fn=lt}\n%4 = const {value=0.5}\n"
            "%5 = map %3 %1 %4 {fn=select}\n" OUT("5"),
         "x i64[2] 1 2", "o f32[2] 1 0.5"},
        {"saturates",
         X "%2 = map %1 {fn=i8}\n%3 = map %1 {fn=i4}\noutput \"p\" %2 {layout=\"n\"}\n"
           "output \"q\" %3 {layout=\"n\"}\n",
         "x f32[4] 200 -200 7.9 -8.9", "p i8[4] 127 -128 7 -8; q i4[4] 7 -8 7 -8"},
        {"i32", XI "%2 = map %1 {fn=i32}\n" OUT("2"), "x i64[2] 3000000000 -5", "o i32[2] 2147483647 -5"},
    };
    CHECK_ROWS(rows);
}

static void test_rounding(void **state)
{
    (void)state;
    static const test_eval_row rows[] = {
        /* f16 has 11 digits: 2049 and 2051 are ties; 65520 rounds to infinity */
        {"f16 ties", X "%2 = map %1 {fn=f16}\n%3 = map %2 {fn=float}\n" OUT("3"),
         "x f32[6] 2049 2051 1e-8 65519 65520 -7e4", "o f32[6] 2048 2052 0 65504 inf -inf"},
        {"f16 small", X "%2 = map %1 {fn=f16}\n%3 = map %2 {fn=float}\n" OUT("3"),
         "x f32[2] 8.9406967e-8 2.9802322e-8", "o f32[2] 1.1920929e-7 0"},
        /* bf16 has 8 digits: 257 and 259 are ties */
        {"bf16 ties", X "%2 = map %1 {fn=bf16}\n%3 = map %2 {fn=float}\n" OUT("3"),
         "x f32[4] 257 259 -1.00390625 3.4e38", "o f32[4] 256 260 -1 inf"},
        {"a stored input",
         "%1 = input bf16[n=N] {name=\"x\" layout=\"n\"}\n%2 = const {value=1.0}\n"
         "%3 = map %1 %2 {fn=add}\n" OUT("3"),
         "x bf16[2] 3 4", "o f32[2] 4 5"},
        {"an input stored wider than declared",
         "%1 = weight f16[n=N] {name=\"x\" layout=\"n\"}\n%2 = map %1 {fn=float}\n" OUT("2"),
         "w.x f32[2] 2049 1", "o f32[2] 2048 1"},
        {"a packed input",
         "%1 = weight i4[n=N] {name=\"x\" layout=\"n\"}\n%2 = const {value=2}\n%3 = map %1 %2 {fn=mul}\n" OUT(
             "3"),
         "w.x i4[3] -8 7 1", "o i64[3] -16 14 2"},
        {"floats for ints", XI OUT("1"), "x f32[1] 1", "! x is f32, expected i64"},
    };
    CHECK_ROWS(rows);
}

static void test_align(void **state)
{
    (void)state;
    static const test_eval_row rows[] = {
        {"outer product",
         "%1 = input f32[a=A] {name=\"x\" layout=\"a\"}\n%2 = input f32[b=B] {name=\"y\" layout=\"b\"}\n"
         "%3 = map %1 %2 {fn=mul}\noutput \"o\" %3 {layout=\"b a\"}\n",
         "x f32[2] 1 2; y f32[3] 1 10 100", "o f32[3 2] 1 2 10 20 100 200"},
        {"by name, not by place",
         MATRIX "%2 = input f32[b=B a=A] {name=\"y\" layout=\"b a\"}\n%3 = map %1 %2 {fn=sub}\n"
                "output \"o\" %3 {layout=\"a b\"}\n",
         "x f32[2 2] 1 2 3 4; y f32[2 2] 1 3 2 4", "o f32[2 2] 0 0 0 0"},
        {"groups and unit axes", MATRIX "output \"o\" %1 {layout=\"1 (b a)\"}\n", "x f32[2 3] 1 2 3 4 5 6",
         "o f32[1 6] 1 4 2 5 3 6"},
        {"index, dim, full",
         "%1 = input f32[n=N] {name=\"x\" layout=\"n\"}\n%2 = index i64[n=N] {axis=n}\n"
         "%3 = dim {dim=2*N}\n%4 = full f32[n=N] {value=0.5}\n%5 = map %2 %3 {fn=add}\n%6 = map %5 %4 "
         "{fn=mul}\n" OUT("6"),
         "x f32[3]", "o f32[3] 3 3.5 4"},
        {"rename",
         MATRIX "%2 = rename f32[b=A a=B] %1 {from=\"a b\" to=\"b a\"}\noutput \"o\" %2 {layout=\"a b\"}\n",
         "x f32[2 3] 1 2 3 4 5 6", "o f32[3 2] 1 4 2 5 3 6"},
        {"no elements",
         MATRIX "%2 = map %1 {fn=exp}\n%3 = reduce %2 {red=sum over=\"b\"}\noutput \"o\" %3 {layout=\"a\"}\n",
         "x f32[2 0]", "o f32[2] 0 0"},
    };
    CHECK_ROWS(rows);
}

static void test_reduce(void **state)
{
    (void)state;
#define REDUCE(red, over, layout, given, expected)                                                           \
    {                                                                                                        \
        red,                                                                                                 \
            MATRIX "%2 = reduce %1 {red=" red " over=\"" over "\"}\noutput \"o\" %2 {layout=\"" layout       \
                   "\"}\n",                                                                                  \
            given, expected                                                                                  \
    }
    static const test_eval_row rows[] = {
        REDUCE("sum", "b", "a", "x f32[2 3] 1 2 3 4 5 6", "o f32[2] 6 15"),
        REDUCE("sum", "a", "b", "x f32[2 3] 1 2 3 4 5 6", "o f32[3] 5 7 9"),
        REDUCE("sum", "a b", "", "x f32[2 3] 1 2 3 4 5 6", "o f32[] 21"),
        REDUCE("prod", "b", "a", "x f32[2 3] 1 2 3 4 5 6", "o f32[2] 6 120"),
        REDUCE("max", "b", "a", "x f32[2 3] 1 7 3 nan 5 6", "o f32[2] 7 nan"),
        REDUCE("min", "b", "a", "x f32[2 3] 1 7 3 4 -5 6", "o f32[2] 1 -5"),
        REDUCE("max", "b", "a", "x f32[2 0]", "o f32[2] -inf -inf"),
        REDUCE("argmax", "b", "a", "x f32[2 3] 1 7 7 4 5 nan", "o i64[2] 1 2"),
        REDUCE("argmin", "b", "a", "x f32[2 3] 1 7 1 4 -5 6", "o i64[2] 0 1"),
        {"any, all",
         MATRIX "%2 = const {value=2.0}\n%3 = map %1 %2 {fn=lt}\n%4 = reduce %3 {red=any over=\"b\"}\n"
                "%5 = reduce %3 {red=all over=\"b\"}\noutput \"p\" %4 {layout=\"a\"}\noutput \"q\" %5 "
                "{layout=\"a\"}\n",
         "x f32[3 2] 0 0 0 5 5 5", "p bool[3] 1 1 0; q bool[3] 1 0 0"},
        {"counts truths",
         MATRIX "%2 = const {value=2.0}\n%3 = map %1 %2 {fn=lt}\n%4 = reduce %3 {red=sum over=\"b\"}\n"
                "output \"o\" %4 {layout=\"a\"}\n",
         "x f32[3 2] 0 0 0 5 5 5", "o i64[3] 2 1 0"},
        {"contraction",
         MATRIX "%2 = input f32[b=B c=C] {name=\"y\" layout=\"b c\"}\n%3 = map %1 %2 {fn=mul}\n"
                "%4 = reduce %3 {red=sum over=\"b\"}\noutput \"o\" %4 {layout=\"a c\"}\n",
         "x f32[2 2] 1 2 3 4; y f32[2 3] 1 0 2 0 1 3", "o f32[2 3] 1 2 8 3 4 18"},
        {"three factors",
         MATRIX "%2 = input f32[b=B c=C] {name=\"y\" layout=\"b c\"}\n"
                "%3 = input f32[c=C d=D] {name=\"z\" layout=\"c d\"}\n%4 = map %1 %2 {fn=mul}\n%5 = map %4 "
                "%3 {fn=mul}\n"
                "%6 = reduce %5 {red=sum over=\"b c\"}\noutput \"o\" %6 {layout=\"a d\"}\n",
         "x f32[2 2] 1 2 3 4; y f32[2 2] 1 0 2 1; z f32[2 1] 1 10", "o f32[2 1] 25 51"},
        {"square",
         MATRIX
         "%2 = map %1 %1 {fn=mul}\n%3 = reduce %2 {red=sum over=\"b\"}\noutput \"o\" %3 {layout=\"a\"}\n",
         "x f32[2 2] 1 2 3 4", "o f32[2] 5 25"},
    };
    CHECK_ROWS(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map),   cmocka_unit_test(test_integers), cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_align), cmocka_unit_test(test_reduce),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
