/* SPDX-License-Identifier: Apache-2.0
 * test_ctx.c - names, places and diagnostics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/base/ctx.h"

static void names(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    lap_name a = lap_intern(ctx, "axis");
    assert_true(lap_name_same(a, lap_intern_n(ctx, "axis7", 4)));
    assert_false(lap_name_same(a, lap_intern(ctx, "axis7")));
    assert_int_equal(lap_intern(ctx, "").ix, 0);
    assert_string_equal(lap_text(ctx, (lap_name){0}), "");
    char text[16];
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof text, "n%d", i);
        assert_string_equal(lap_text(ctx, lap_intern(ctx, text)), text);
    }
    assert_string_equal(lap_text(ctx, a), "axis");
    lap_intern(ctx, "ky.2");
    lap_name first = lap_fresh(ctx, "ky"), second = lap_fresh(ctx, lap_text(ctx, first)),
             third = lap_fresh(ctx, "ky");
    assert_string_equal(lap_text(ctx, first), "ky.1");
    assert_string_equal(lap_text(ctx, second), "ky.3");
    assert_string_equal(lap_text(ctx, third), "ky.4");
    lap_ctx_free(ctx);
    lap_ctx_free(NULL);
}

static void places(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    lap_loc script = lap_loc_make(ctx, "model.lua", 12, (lap_loc){0});
    lap_loc inner = lap_loc_make(ctx, "lib.lua", 3, script);
    assert_int_equal(inner.ix, lap_loc_make(ctx, "lib.lua", 3, script).ix);
    assert_int_not_equal(inner.ix, lap_loc_make(ctx, "lib.lua", 3, (lap_loc){0}).ix);
    assert_string_equal(lap_loc_show(ctx, inner), "lib.lua:3");
    assert_string_equal(lap_loc_file(ctx, lap_loc_parent(ctx, inner)), "model.lua");
    assert_int_equal(lap_loc_line(ctx, script), 12);
    assert_string_equal(lap_loc_show(ctx, (lap_loc){0}), "?");
    lap_ctx_free(ctx);
}

static void errors(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    lap_loc script = lap_loc_make(ctx, "model.lua", 12, (lap_loc){0});
    lap_loc inner = lap_loc_make(ctx, "lib.lua", 3, script);
    assert_false(lap_error(ctx, inner, "axis '%s' is missing\nhint: name it", "j"));
    assert_false(lap_error(ctx, (lap_loc){0}, "no place"));
    assert_int_equal(lap_error_count(ctx), 2);
    assert_string_equal(lap_error_text(ctx, 0), "lib.lua:3: error: axis 'j' is missing\n"
                                                "model.lua:12: note: called from here\nhint: name it");
    assert_string_equal(lap_error_text(ctx, 1), "error: no place");
    lap_errors_clear(ctx);
    assert_int_equal(lap_error_count(ctx), 0);
    lap_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(places),
                                       cmocka_unit_test(errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
