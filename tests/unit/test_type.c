/* SPDX-License-Identifier: Apache-2.0
 * test_type.c - element types and the result types of scalar functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ir/type.h"

static void dtypes(void **state)
{
    (void)state;
    lap_dtype found;
    size_t bytes = 0;
    for (unsigned i = 0; i < LAP_N_DTYPES; i++) {
        const char *text = lap_dtype_text((lap_dtype)i);
        assert_true(lap_dtype_find(text, strlen(text), &found));
        assert_int_equal(found, i);
    }
    assert_false(lap_dtype_find("f3", 2, &found));
    assert_false(lap_dtype_find("f320", 4, &found));
    assert_int_equal(lap_dtype_compute(LAP_BF16), LAP_F32);
    assert_int_equal(lap_dtype_compute(LAP_I4), LAP_I64);
    assert_int_equal(lap_dtype_compute(LAP_NO_DTYPE), LAP_NO_DTYPE);
    assert_true(lap_dtype_bytes(LAP_I4, 5, &bytes));
    assert_int_equal(bytes, 3);
    assert_true(lap_dtype_bytes(LAP_F16, 5, &bytes));
    assert_int_equal(bytes, 10);
    assert_true(lap_dtype_bytes(LAP_I4, SIZE_MAX, &bytes));
    assert_int_equal(bytes, SIZE_MAX / 2 + 1);
    assert_false(lap_dtype_bytes(LAP_I64, SIZE_MAX / 4, &bytes));
}

static void functions(void **state)
{
    (void)state;
    static const struct {
        lap_fn fn;
        lap_dtype a, b, c, result;
    } rows[] = {
        {LAP_FN_ADD, LAP_I8, LAP_BOOL, LAP_F32, LAP_I64},
        {LAP_FN_ADD, LAP_I64, LAP_F16, LAP_I64, LAP_F32},
        {LAP_FN_MAX, LAP_BF16, LAP_BF16, LAP_F32, LAP_F32},
        {LAP_FN_DIV, LAP_I64, LAP_I64, LAP_F32, LAP_F32},
        {LAP_FN_LT, LAP_F32, LAP_F32, LAP_F32, LAP_BOOL},
        {LAP_FN_SELECT, LAP_BOOL, LAP_I8, LAP_I64, LAP_I64},
        {LAP_FN_SELECT, LAP_BOOL, LAP_BOOL, LAP_BOOL, LAP_BOOL},
        {LAP_FN_SELECT, LAP_BOOL, LAP_I64, LAP_F32, LAP_F32},
        {LAP_FN_INT, LAP_F32, LAP_F32, LAP_F32, LAP_I64},
        {LAP_FN_NEG, LAP_BOOL, LAP_F32, LAP_F32, LAP_I64},
        {LAP_FN_TO_BF16, LAP_F32, LAP_F32, LAP_F32, LAP_BF16},
        {LAP_FN_TO_I4, LAP_I64, LAP_F32, LAP_F32, LAP_I4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(lap_fn_type(rows[i].fn, (lap_dtype[]){rows[i].a, rows[i].b, rows[i].c}),
                         rows[i].result);
    }
    lap_fn found;
    for (unsigned i = 0; i < LAP_N_FNS; i++) {
        const char *text = lap_fn_text((lap_fn)i);
        assert_true(lap_fn_find(text, strlen(text), &found));
        assert_int_equal(found, i);
        assert_in_range(lap_fn_arity((lap_fn)i), 1, 3);
    }
    assert_false(lap_fn_find("cosh", 4, &found));
}

static void enums(void **state)
{
    (void)state;
    assert_string_equal(lap_red_text(LAP_RED_ARGMIN), "argmin");
    assert_string_equal(lap_mode_text(LAP_MODE_ADD), "add");
    assert_string_equal(lap_norm_text(LAP_NORM_NONE), "none");
    assert_string_equal(lap_loop_text(LAP_LOOP_UNROLL), "unroll");
    assert_string_equal(lap_space_text(LAP_SPACE_SCRATCH), "scratch");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(dtypes), cmocka_unit_test(functions),
                                       cmocka_unit_test(enums)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
