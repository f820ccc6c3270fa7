/* SPDX-License-Identifier: Apache-2.0
 * test_compare.c - when an output is as expected, and what is said when it is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "frontends/compiler/compare.h"

static const lap_tolerance tight = {.rtol = 1e-4, .atol = 1e-5};

static int make(void **state)
{
    *state = lap_ctx_new(0);
    return 0;
}

static int drop(void **state)
{
    lap_ctx_free(*state);
    return 0;
}

static lap_tensor floats(float *at, int64_t n)
{
    return (lap_tensor){.dtype = LAP_F32, .rank = 1, .shape = {n}, .data = at, .n_bytes = (size_t)n * 4};
}

static const char *compare(lap_ctx *ctx, float got, float want)
{
    lap_tensor a = floats(&got, 1), b = floats(&want, 1);
    return lap_tensor_difference(ctx, "y", &a, &b, tight);
}

static void test_floats(void **state)
{
    lap_ctx *ctx = *state;
    assert_null(compare(ctx, 1.0f, 1.0f));
    assert_null(compare(ctx, 1.0001f, 1.0f));
    assert_non_null(compare(ctx, 1.00013f, 1.0f));
    assert_null(compare(ctx, 0.000009f, 0.0f));
    assert_non_null(compare(ctx, 0.000011f, 0.0f));
    assert_null(compare(ctx, INFINITY, INFINITY));
    assert_non_null(compare(ctx, INFINITY, -INFINITY));
    assert_non_null(compare(ctx, 3e38f, INFINITY));
    assert_non_null(compare(ctx, NAN, 1.0f));
    assert_non_null(compare(ctx, 1.0f, NAN));
    assert_non_null(compare(ctx, NAN, NAN));
}

static void test_place(void **state)
{
    float got[] = {1, 2, 3, 4.5f, 5, 7}, want[] = {1, 2, 3, 4, 5, 6};
    lap_tensor a = {.dtype = LAP_F32, .rank = 2, .shape = {2, 3}, .data = got, .n_bytes = sizeof got};
    lap_tensor b = a;
    b.data = want;
    assert_string_equal(lap_tensor_difference(*state, "y", &a, &b, tight),
                        "output 'y': 2 of 6 elements differ, most at [1, 2]: got 7, expected 6");
    a.shape[0] = 3;
    a.shape[1] = 2;
    assert_string_equal(lap_tensor_difference(*state, "y", &a, &b, tight),
                        "output 'y' is [3, 2], expected [2, 3]");
}

static void test_integers(void **state)
{
    int64_t big[] = {(INT64_C(1) << 60) + 1}, other[] = {INT64_C(1) << 60};
    uint8_t one[] = {1};
    int64_t single[] = {1};
    lap_tensor a = {.dtype = LAP_I64, .rank = 1, .shape = {1}, .data = big, .n_bytes = 8}, b = a, c = a;
    b.data = other;
    assert_null(lap_tensor_difference(*state, "y", &a, &a, (lap_tolerance){1, 1}));
    assert_non_null(lap_tensor_difference(*state, "y", &a, &b, (lap_tolerance){1, 1}));
    lap_tensor mask = {.dtype = LAP_BOOL, .rank = 1, .shape = {1}, .data = one, .n_bytes = 1};
    c.data = single;
    assert_null(lap_tensor_difference(*state, "y", &mask, &c, tight));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {TEST(test_floats), TEST(test_place), TEST(test_integers)};
    return cmocka_run_group_tests_name("compare", tests, NULL, NULL);
}
