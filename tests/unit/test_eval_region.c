/* SPDX-License-Identifier: Apache-2.0
 * test_eval_region.c - attend, bodies and the solving of sizes in the evaluator; numbers worked out by hand.
 */
#include "tests/support/eval_rows.h"

#define QK                                                                                                   \
    "%1 = input f32[i=I j=J] {name=\"s\" layout=\"i j\"}\n%2 = input f32[j=J c=C] {name=\"v\" layout=\"j "   \
    "c\"}\n"
#define GIVEN "s f32[2 2] 0 1.0986122886681098 2 2; v f32[2 1] 4 8"

static void test_attend(void **state)
{
    (void)state;
    static const test_eval_row rows[] = {
        /* exp(log 3) = 3: weights 1/4, 3/4 */
        {"softmax",
         QK "%3 = attend %1 %2 {parts=[{keys=\"j\" score=0 value=1}] norm=softmax empty=0.0}\n"
            "%4 = result %3 {which=\"out\"}\noutput \"o\" %4 {layout=\"i c\"}\n",
         GIVEN, "o f32[2 1] 7 6"},
        {"statistics",
         QK "%3 = attend %1 %2 {parts=[{keys=\"j\" score=0 value=1}] norm=softmax empty=0.0}\n"
            "%4 = result %3 {which=\"lse\"}\n%5 = result %3 {which=\"max\"}\n%6 = result %3 {which=\"sum\"}\n"
            "%7 = result %3 {which=\"weights\"}\noutput \"l\" %4 {layout=\"i\"}\noutput \"m\" %5 "
            "{layout=\"i\"}\n"
            "output \"s\" %6 {layout=\"i\"}\noutput \"w\" %7 {layout=\"j i\"}\n",
         GIVEN,
         "l f32[2] 1.3862943611 2.6931471806; m f32[2] 1.0986122887 2; s f32[2] 1.3333333333 2; w f32[2 2] "
         "0.25 0.5 0.75 0.5"},
        {"where, empty",
         QK "%3 = input bool[i=I j=J] {name=\"w\" layout=\"i j\"}\n"
            "%4 = attend %1 %3 %2 {parts=[{keys=\"j\" score=0 where=1 value=2}] norm=softmax empty=-5.0}\n"
            "%5 = result %4 {which=\"out\"}\noutput \"o\" %5 {layout=\"i c\"}\n",
         GIVEN "; w bool[2 2] 0 1 0 0", "o f32[2 1] 8 -5"},
        {"after keeps the denominator",
         QK "%3 = input f32[j=J] {name=\"a\" layout=\"j\"}\n"
            "%4 = attend %1 %3 %2 {parts=[{keys=\"j\" score=0 after=1 value=2}] norm=softmax empty=0.0}\n"
            "%5 = result %4 {which=\"out\"}\noutput \"o\" %5 {layout=\"i c\"}\n",
         GIVEN "; a f32[2] 0 1", "o f32[2 1] 6 4"},
        {"norm sum with eps",
         QK "%3 = attend %1 %2 {parts=[{keys=\"j\" score=0 value=1}] norm=sum empty=0.0 eps=8.0}\n"
            "%4 = result %3 {which=\"out\"}\noutput \"o\" %4 {layout=\"i c\"}\n",
         "s f32[2 2] 1 3 8 8; v f32[2 1] 4 8", "o f32[2 1] 3.5 6"},
        {"norm none",
         QK "%3 = attend %1 %2 {parts=[{keys=\"j\" score=0 value=1}] norm=none empty=0.0}\n"
            "%4 = result %3 {which=\"out\"}\noutput \"o\" %4 {layout=\"i c\"}\n",
         "s f32[2 2] 1 3 8 8; v f32[2 1] 4 8", "o f32[2 1] 28 96"},
        {"two parts",
         QK "%3 = input f32[m=M] {name=\"t\" layout=\"m\"}\n%4 = input f32[m=M c=C] {name=\"u\" layout=\"m "
            "c\"}\n"
            "%5 = attend %1 %2 %3 %4 {parts=[{keys=\"j\" score=0 value=1} {keys=\"m\" score=2 value=3}] "
            "norm=sum empty=0.0}\n"
            "%6 = result %5 {which=\"out\"}\n%7 = result %5 {which=\"weights2\"}\noutput \"o\" %6 "
            "{layout=\"i c\"}\n"
            "output \"w\" %7 {layout=\"i m\"}\n",
         "s f32[2 2] 1 3 8 8; v f32[2 1] 4 8; t f32[1] 4; u f32[1 1] 10",
         "o f32[2 1] 8.5 6.8; w f32[2 1] 0.5 0.2"},
        {"scores of -inf are an empty row",
         QK "%3 = attend %1 %2 {parts=[{keys=\"j\" score=0 value=1}] norm=softmax empty=9.0}\n"
            "%4 = result %3 {which=\"out\"}\noutput \"o\" %4 {layout=\"i c\"}\n",
         "s f32[2 2] -inf -inf -inf 1; v f32[2 1] 4 8", "o f32[2 1] 9 8"},
        {"an infinite score",
         QK "%3 = attend %1 %2 {parts=[{keys=\"j\" score=0 value=1}] norm=softmax empty=0.0}\n"
            "%4 = result %3 {which=\"out\"}\noutput \"o\" %4 {layout=\"i c\"}\n",
         "s f32[1 2] inf 1; v f32[2 1] 4 8", "o f32[1 1] nan"},
    };
    CHECK_ROWS(rows);
}

static void test_regions(void **state)
{
    (void)state;
#define SCAN(reverse)                                                                                        \
    X "%2 = const {value=0.0}\n"                                                                             \
      "%3 = scan %2 %1 {along=n steps=N reverse=" reverse                                                    \
      " states=\"s\" outs=\"y\"} {\n(%4 f32, %5 f32, %6 i64)\n"                                              \
      "%7 = map %4 %5 {fn=add}\n%8 = map %7 %6 {fn=mul}\nyield %7 %8\n}\n"                                   \
      "%9 = result %3 {which=\"y\"}\n%10 = result %3 {which=\"last_s\"}\noutput \"y\" %9 {layout=\"n\"}\n"   \
      "output \"s\" %10 {layout=\"\"}\n"
    static const test_eval_row rows[] = {
        {"scan", SCAN("false"), "x f32[3] 1 2 3", "y f32[3] 0 3 12; s f32[] 6"},
        {"reverse", SCAN("true"), "x f32[3] 1 2 3", "y f32[3] 0 5 6; s f32[] 6"},
        {"no steps", SCAN("false"), "x f32[0]", "y f32[0]; s f32[] 0"},
        /* doubles while below the limit, at most 4 times */
        {"loop",
         "%1 = input f32 {name=\"x\" layout=\"\"}\n%2 = const {value=2.0}\n%3 = const {value=100.0}\n"
         "%4 = loop %1 {limit=4 states=\"s\"} {\n(%5 f32)\n%6 = map %5 %2 {fn=mul}\n%7 = map %5 %3 "
         "{fn=lt}\nyield %6 %7\n}\n"
         "%8 = result %4 {which=\"s\"}\noutput \"o\" %8 {layout=\"\"}\n",
         "x f32[] 30", "o f32[] 120"},
        {"loop to its limit",
         "%1 = input f32 {name=\"x\" layout=\"\"}\n%2 = const {value=2.0}\n%3 = const {value=100.0}\n"
         "%4 = loop %1 {limit=4 states=\"s\"} {\n(%5 f32)\n%6 = map %5 %2 {fn=mul}\n%7 = map %5 %3 "
         "{fn=lt}\nyield %6 %7\n}\n"
         "%8 = result %4 {which=\"s\"}\noutput \"o\" %8 {layout=\"\"}\n",
         "x f32[] 1", "o f32[] 16"},
        /* the side not taken reads outside */
        {"branch",
         X "%2 = input bool {name=\"c\" layout=\"\"}\n%3 = const {value=5}\n"
           "%4 = branch %2 {outs=\"y\"} {\n%5 = reduce %1 {red=sum over=\"n\"}\nyield %5\n} {\n%6 = at %1 %3 "
           "{src=\"n\"}\nyield %6\n}\n"
           "%7 = result %4 {which=\"y\"}\noutput \"o\" %7 {layout=\"\"}\n",
         "x f32[2] 1 2; c bool[] 1", "o f32[] 3"},
        {"the other side",
         X "%2 = input bool {name=\"c\" layout=\"\"}\n%3 = const {value=5}\n"
           "%4 = branch %2 {outs=\"y\"} {\n%5 = reduce %1 {red=sum over=\"n\"}\nyield %5\n} {\n%6 = at %1 %3 "
           "{src=\"n\"}\nyield %6\n}\n"
           "%7 = result %4 {which=\"y\"}\noutput \"o\" %7 {layout=\"\"}\n",
         "x f32[2] 1 2; c bool[] 0", "! index outside"},
        {"a function called twice",
         X "func @1 {\n(%2 f32[n=N])\n%3 = map %2 %2 {fn=mul}\nyield %3\n}\n"
           "%4 = call %1 {name=\"f\" outs=\"y\"} @1\n%5 = result %4 {which=\"y\"}\n%6 = call %5 {name=\"f\" "
           "outs=\"y\"} @1\n"
           "%7 = result %6 {which=\"y\"}\n" OUT("7"),
         "x f32[2] 2 3", "o f32[2] 16 81"},
        {"custom",
         X "%2 = map %1 {fn=exp}\n%3 = custom %2 %1 {\n(%4 f32[n=N])\n%5 = map %4 %2 {fn=mul}\nyield "
           "%5\n}\n" OUT("3"),
         "x f32[1] 0", "o f32[1] 1"},
        {"foreign",
         X "%2 = foreign f32[n=N] %1 {name=\"fft\" outs=\"y\"}\n%3 = result %2 {which=\"y\"}\n" OUT("3"),
         "x f32[1] 0", "! no foreign operation 'fft' is loaded"},
        {"require",
         X
         "%2 = const {value=0.0}\n%3 = map %1 %2 {fn=gt}\nrequire %3 {message=\"x must be positive\"}\n" OUT(
             "1"),
         "x f32[2] 1 0", "! x must be positive"},
    };
    CHECK_ROWS(rows);
}

static void test_sizes(void **state)
{
    (void)state;
    static const test_eval_row rows[] = {
        {"square",
         "%1 = input f32[y=S x=S] {name=\"x\" layout=\"(y x)\"}\n%2 = reduce %1 {red=sum over=\"x\"}\n"
         "output \"o\" %2 {layout=\"y\"}\n",
         "x f32[4] 1 2 3 4", "o f32[2] 3 7"},
        {"no square",
         "%1 = input f32[y=S x=S] {name=\"x\" layout=\"(y x)\"}\n%2 = reduce %1 {red=sum over=\"x\"}\n"
         "output \"o\" %2 {layout=\"y\"}\n",
         "x f32[37]", "! x has an axis of 37, which is not"},
        {"one after the other",
         "%1 = input f32[a=A*B] {name=\"x\" layout=\"a\"}\n%2 = input f32[b=B] {name=\"y\" layout=\"b\"}\n"
         "%3 = dim {dim=A}\noutput \"o\" %3 {layout=\"\"}\n",
         "x f32[6]; y f32[2]", "o i64[] 3"},
        {"even",
         "%1 = input f32[a=2*M] {name=\"x\" layout=\"a\"}\n%2 = dim {dim=M}\noutput \"o\" %2 {layout=\"\"}\n",
         "x f32[7]", "! x has an axis of 7, which is not 2*M for any M"},
        {"no monomial",
         "%1 = input f32[a=M+3] {name=\"x\" layout=\"a\"}\n%2 = dim {dim=M}\noutput \"o\" %2 {layout=\"\"}\n",
         "x f32[7]", "o i64[] 4"},
        {"a bound that was reached",
         "%1 = input f32[a=min(4,N)] {name=\"x\" layout=\"a\"}\n"
         "%2 = input f32[n=N] {name=\"y\" layout=\"n\"}\n%3 = dim {dim=N}\noutput \"o\" %3 {layout=\"\"}\n",
         "x f32[4]; y f32[9]", "o i64[] 9"},
        {"unknown",
         "%1 = input f32[a=A b=B] {name=\"x\" layout=\"(a b)\"}\noutput \"o\" %1 {layout=\"a b\"}\n",
         "x f32[6]", "! cannot tell the extents of"},
        {"two shapes disagree",
         X "%2 = input f32[n=N] {name=\"y\" layout=\"n\"}\n%3 = map %1 %2 {fn=add}\n" OUT("3"),
         "x f32[2]; y f32[3]", "! y has an axis of 3, expected N = 2"},
        {"fixed", "%1 = input f32[a=4] {name=\"x\" layout=\"a\"}\noutput \"o\" %1 {layout=\"a\"}\n",
         "x f32[3]", "! x has an axis of 3, expected 4"},
        {"rank", X OUT("1"), "x f32[3 1]", "! x has 2 axes, expected 1"},
        {"missing", X OUT("1"), "y f32[3]", "! there is no input 'x'"},
        {"a check", "assume N le 3 \"too long\"  ; model.lua:4\n" X OUT("1"), "x f32[4]",
         "! model.lua:4: error: too long (N = 4, 3)"},
        {"a family",
         "%1 = weight f32[k=K n=N] {name=\"m.{k}.w\" layout=\"k n\"}\noutput \"o\" %1 {layout=\"k n\"}\n",
         "w.m.0.w f32[2] 1 2; w.m.1.w f32[2] 3 4", "o f32[2 2] 1 2 3 4"},
        {"a stacked family",
         "%1 = weight f32[k=K n=N] {name=\"m.{k}.w\" layout=\"k n\"}\noutput \"o\" %1 {layout=\"k n\"}\n",
         "w.m.{k}.w f32[2 2] 1 2 3 4", "o f32[2 2] 1 2 3 4"},
        {"an odd family",
         "%1 = weight f32[k=K n=N] {name=\"m.{k}.w\" layout=\"k n\"}\noutput \"o\" %1 {layout=\"k n\"}\n",
         "w.m.0.w f32[2] 1 2; w.m.1.w f32[1] 3", "! differ in shape"},
        {"left out, not read", X "%2 = input f32[n=N] {name=\"y\" layout=\"n\" optional=true}\n" OUT("1"),
         "x f32[1] 1", "o f32[1] 1"},
        {"left out, read",
         X "%2 = input f32[n=N] {name=\"y\" layout=\"n\" optional=true}\n%3 = map %1 %2 {fn=add}\n" OUT("3"),
         "x f32[1] 1", "! the input 'y' was left out"},
        {"too much",
         "%1 = input f32[n=N] {name=\"x\" layout=\"n\"}\n%2 = rename f32[m=N] %1 {from=\"n\" to=\"m\"}\n"
         "%3 = rename f32[k=N] %1 {from=\"n\" to=\"k\"}\n%4 = map %1 %2 {fn=add}\n%5 = map %4 %3 {fn=add}\n"
         "output \"o\" %5 {layout=\"n m k\"}\n",
         "x f32[2000]", "! more than 4 GiB"},
    };
    CHECK_ROWS(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attend),
        cmocka_unit_test(test_regions),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
