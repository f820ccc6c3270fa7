/* SPDX-License-Identifier: Apache-2.0
 * test_eval_index.c - reads, writes, poison, topk and ragged axes in the evaluator; numbers worked out by
 * hand. */
#include "tests/support/eval_rows.h"

#define AT(fill) "%2 = input i64[m=M] {name=\"i\" layout=\"m\"}\n%3 = at %1 %2 {src=\"n\"" fill "}\n"
#define OUT_M(v) "output \"o\" %" v " {layout=\"m\"}\n"

static void test_at(void **state)
{
    (void)state;
    static const test_eval_row rows[] = {
        {"gather", X AT("") OUT_M("3"), "x f32[3] 10 20 30; i i64[4] 2 0 0 1", "o f32[4] 30 10 10 20"},
        {"fill", X AT(" fill=-1.0") OUT_M("3"), "x f32[3] 10 20 30; i i64[4] 3 0 -1 1",
         "o f32[4] -1 10 -1 20"},
        {"outside", X AT("") OUT_M("3"), "x f32[3] 10 20 30; i i64[2] 3 0", "! index outside axis 'n' of 3"},
        {"the error's place",
         X "%2 = input i64[m=M] {name=\"i\" layout=\"m\"}\n%3 = at %1 %2 {src=\"n\"}  ; model.lua:12\n" OUT_M(
             "3"),
         "x f32[3] 10 20 30; i i64[2] 3 0", "! model.lua:12"},
        {"aligned with the rest",
         MATRIX "%2 = input i64[a=A] {name=\"i\" layout=\"a\"}\n%3 = at %1 %2 {src=\"b\"}\n"
                "output \"o\" %3 {layout=\"a\"}\n",
         "x f32[2 3] 1 2 3 4 5 6; i i64[2] 2 0", "o f32[2] 3 4"},
        {"two axes",
         MATRIX
         "%2 = input i64[m=M] {name=\"i\" layout=\"m\"}\n%3 = input i64[m=M] {name=\"j\" layout=\"m\"}\n"
         "%4 = at %1 %2 %3 {src=\"a b\"}\n" OUT_M("4"),
         "x f32[2 3] 1 2 3 4 5 6; i i64[2] 1 0; j i64[2] 0 2", "o f32[2] 4 3"},
        {"shift",
         X "%2 = index i64[n=N] {axis=n}\n%3 = const {value=1}\n%4 = map %2 %3 {fn=sub}\n"
           "%5 = at %1 %4 {src=\"n\" fill=0.0}\n" OUT("5"),
         "x f32[3] 10 20 30", "o f32[3] 0 10 20"},
        {"of nothing", X AT(" fill=5.0") OUT_M("3"), "x f32[0]; i i64[1] 0", "o f32[1] 5"},
    };
    CHECK_ROWS(rows);
}

#define SHIFTED                                                                                              \
    X "%2 = index i64[n=N] {axis=n}\n%3 = const {value=1}\n%4 = map %2 %3 {fn=add}\n%5 = at %1 %4 "          \
      "{src=\"n\"}\n"                                                                                        \
      "%6 = dim {dim=N-1}\n%7 = map %2 %6 {fn=lt}\n"

static void test_poison(void **state)
{
    (void)state;
    static const test_eval_row rows[] = {
        {"not chosen", SHIFTED "%8 = map %7 %5 %1 {fn=select}\n" OUT("8"), "x f32[3] 1 2 3",
         "o f32[3] 2 3 3"},
        {"chosen", SHIFTED "%8 = map %7 %1 %5 {fn=select}\n" OUT("8"), "x f32[3] 1 2 3",
         "! index outside axis 'n' of 3"},
        {"through arithmetic",
         SHIFTED "%8 = const {value=0.0}\n%9 = map %5 %8 {fn=min}\n%10 = map %9 {fn=exp}\n" OUT("10"),
         "x f32[3] 1 2 3", "! index outside axis 'n' of 3"},
        {"and decides",
         SHIFTED "%8 = const {value=1.5}\n%9 = map %5 %8 {fn=gt}\n%10 = map %7 %9 {fn=and}\n" OUT("10"),
         "x f32[3] 1 2 3", "o bool[3] 1 1 0"},
        {"or does not",
         SHIFTED "%8 = const {value=1.5}\n%9 = map %5 %8 {fn=gt}\n%10 = map %7 %9 {fn=or}\n" OUT("10"),
         "x f32[3] 1 2 3", "! index outside"},
        {"a sum", SHIFTED "%8 = reduce %5 {red=sum over=\"n\"}\noutput \"o\" %8 {layout=\"\"}\n",
         "x f32[3] 1 2 3", "! index outside"},
        {"a sum of a product",
         SHIFTED "%8 = map %5 %1 {fn=mul}\n%9 = reduce %8 {red=sum over=\"n\"}\n"
                 "output \"o\" %9 {layout=\"\"}\n",
         "x f32[3] 1 2 3", "! index outside"},
        {"nobody reads it", SHIFTED OUT("1"), "x f32[3] 1 2 3", "o f32[3] 1 2 3"},
        {"a masked key",
         SHIFTED "%8 = attend %5 %7 %1 {parts=[{keys=\"n\" score=0 where=1 value=2}] norm=sum empty=0.0}\n"
                 "%9 = result %8 {which=\"out\"}\noutput \"o\" %9 {layout=\"\"}\n",
         "x f32[3] 1 2 3", "o f32[] 1.6"},
        {"an attended key",
         SHIFTED "%8 = attend %5 %1 {parts=[{keys=\"n\" score=0 value=1}] norm=sum empty=0.0}\n"
                 "%9 = result %8 {which=\"out\"}\noutput \"o\" %9 {layout=\"\"}\n",
         "x f32[3] 1 2 3", "! index outside"},
        {"topk",
         SHIFTED "%8 = topk %5 {axis=n into=k dim=1 smallest=false}\n%9 = result %8 {which=\"values\"}\n"
                 "output \"o\" %9 {layout=\"k\"}\n",
         "x f32[3] 1 2 3", "! index outside"},
        {"a requirement", SHIFTED "%8 = map %5 %1 {fn=gt}\nrequire %8 {message=\"rising\"}\n" OUT("1"),
         "x f32[3] 1 2 3", "! index outside"},
    };
    CHECK_ROWS(rows);
}

static void test_scatter(void **state)
{
    (void)state;
#define SCATTER(mode, base)                                                                                  \
    X "%2 = input i64[n=N] {name=\"i\" layout=\"n\"}\n"                                                      \
      "%3 = scatter %1 %2 {over=\"n\" target=\"m\" sizes=[4] mode=" mode " base=" base "}\n" OUT_M("3")
    static const test_eval_row rows[] = {
        {"add", SCATTER("add", "0.0"), "x f32[3] 1 2 4; i i64[3] 1 3 1", "o f32[4] 0 5 0 2"},
        {"set, last wins", SCATTER("set", "-1.0"), "x f32[3] 1 2 4; i i64[3] 1 3 1", "o f32[4] -1 4 -1 2"},
        {"max", SCATTER("max", "1.5"), "x f32[3] 1 2 4; i i64[3] 0 3 1", "o f32[4] 1.5 4 1.5 2"},
        {"outside is dropped", SCATTER("add", "0.0"), "x f32[3] 1 2 4; i i64[3] -1 4 2", "o f32[4] 0 0 4 0"},
        {"rows",
         MATRIX "%2 = input i64[b=B] {name=\"i\" layout=\"b\"}\n"
                "%3 = scatter %1 %2 {over=\"b\" target=\"m\" sizes=[2] mode=add base=0.0}\noutput \"o\" %3 "
                "{layout=\"a m\"}\n",
         "x f32[2 3] 1 2 3 4 5 6; i i64[3] 1 0 1", "o f32[2 2] 2 4 5 10"},
    };
    CHECK_ROWS(rows);
}

static void test_topk(void **state)
{
    (void)state;
#define TOPK(k, smallest)                                                                                    \
    X "%2 = topk %1 {axis=n into=k dim=" k " smallest=" smallest "}\n%3 = result %2 {which=\"values\"}\n"    \
      "%4 = result %2 {which=\"index\"}\noutput \"v\" %3 {layout=\"k\"}\noutput \"i\" %4 {layout=\"k\"}\n"
    static const test_eval_row rows[] = {
        {"falling", TOPK("3", "false"), "x f32[5] 1 3 2 3 0", "v f32[3] 3 3 2; i i64[3] 1 3 2"},
        {"rising", TOPK("3", "true"), "x f32[5] 1 3 1 3 0", "v f32[3] 0 1 1; i i64[3] 4 0 2"},
        {"nan last", TOPK("3", "false"), "x f32[3] nan 3 -inf", "v f32[3] 3 -inf nan; i i64[3] 1 2 0"},
        {"too many", TOPK("3", "false"), "x f32[2] 1 2", "! topk takes 3"},
        {"a ragged row",
         X "%2 = const {value=2}\n%3 = rename f32[n=N?%2] %1 {from=\"\" to=\"\"}\n"
           "%4 = topk %3 {axis=n into=k dim=3 smallest=false}\n%5 = result %4 {which=\"values\"}\n"
           "output \"v\" %5 {layout=\"k\"}\n",
         "x f32[4] 1 2 7 9", "v f32[3] 2 1 0"},
    };
    CHECK_ROWS(rows);
}

#define RAGGED                                                                                               \
    "%1 = input f32[a=A b=B] {name=\"x\" layout=\"a b\"}\n%2 = input i64[a=A] {name=\"len\" layout=\"a\"}\n" \
    "%3 = rename f32[a=A b=B?%2] %1 {from=\"\" to=\"\"}\n"
#define OUT_A(v) "output \"o\" %" v " {layout=\"a\"}\n"

static void test_ragged(void **state)
{
    (void)state;
    static const test_eval_row rows[] = {
        {"tails are zero", RAGGED "output \"o\" %3 {layout=\"a b\"}\n", "x f32[2 2] 1 2 3 4; len i64[2] 1 2",
         "o f32[2 2] 1 0 3 4"},
        {"sum", RAGGED "%4 = reduce %3 {red=sum over=\"b\"}\n" OUT_A("4"),
         "x f32[2 2] 1 nan 3 4; len i64[2] 1 2", "o f32[2] 1 7"},
        {"max", RAGGED "%4 = reduce %3 {red=max over=\"b\"}\n" OUT_A("4"),
         "x f32[2 2] 1 2 3 4; len i64[2] 1 0", "o f32[2] 1 -inf"},
        {"argmax", RAGGED "%4 = reduce %3 {red=argmax over=\"b\"}\n" OUT_A("4"),
         "x f32[2 2] 1 2 3 4; len i64[2] 1 2", "o i64[2] 0 1"},
        {"contraction", RAGGED "%4 = map %3 %1 {fn=mul}\n%5 = reduce %4 {red=sum over=\"b\"}\n" OUT_A("5"),
         "x f32[2 2] 1 nan 3 4; len i64[2] 1 2", "o f32[2] 1 25"},
        {"attend",
         RAGGED "%4 = attend %3 %3 {parts=[{keys=\"b\" score=0 value=1}] norm=sum empty=-1.0}\n"
                "%5 = result %4 {which=\"out\"}\n" OUT_A("5"),
         "x f32[3 2] 1 2 3 1 5 5; len i64[3] 1 2 0", "o f32[3] 1 2.5 -1"},
        {"outside, but absent",
         X "%2 = const {value=2}\n%3 = index i64[m=4?%2] {axis=m}\n%4 = at %1 %3 {src=\"n\"}\n"
           "%5 = reduce %4 {red=sum over=\"m\"}\noutput \"o\" %5 {layout=\"\"}\n",
         "x f32[2] 1 2", "o f32[] 3"},
        {"require skips what is absent",
         RAGGED "%4 = const {value=0.0}\n%5 = map %3 %4 {fn=gt}\n"
                "require %5 {message=\"positive\"}\n%6 = reduce %3 {red=sum over=\"b\"}\n" OUT_A("6"),
         "x f32[2 2] 1 -1 3 4; len i64[2] 1 2", "o f32[2] 1 7"},
        {"crop", X "%2 = input i64 {name=\"k\" layout=\"\"}\noutput \"o\" %1 {layout=\"n\" crop=[n=%2]}\n",
         "x f32[3] 1 2 3; k i64[] 2", "o f32[2] 1 2"},
    };
    CHECK_ROWS(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at),   cmocka_unit_test(test_poison), cmocka_unit_test(test_scatter),
        cmocka_unit_test(test_topk), cmocka_unit_test(test_ragged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
