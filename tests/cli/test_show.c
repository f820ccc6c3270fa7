/* SPDX-License-Identifier: Apache-2.0
 * test_show.c - lappet show from outside: the page, the drawing with characters, mistakes. */
#include "tests/support/command_rig.h"

#include <cjson/cJSON.h>

#include "runtime/file.h"

/* The page's text; freed with it. */
static char *read_page(const char *name)
{
    lap_mapping m;
    assert_true(lap_file_read(folder_path(folder, name), &m, NULL));
    char *text = calloc(m.n + 1, 1);
    assert_non_null(text);
    memcpy(text, m.bytes, m.n);
    lap_file_unmap(&m);
    return text;
}

static void test_drawing(void **state)
{
    (void)state;
    expect("show examples/alibi_window.lua --param window=3 --dim I=6 --dim J=6 --text", 0,
           "       0  # . . . . .\n"
           "       1  # # . . . .\n"
           "       2  # # # . . .\n"
           "       3  . # # # . .\n"
           "       4  . . # # # .\n"
           "       5  . . . # # #\n",
           "");
    expect("show tests/cli/models/linear.lua --dim N=2", 0, "the model has no attend", "");
}

/* Nothing is loaded from elsewhere, and what a script says cannot become a part of the page. */
static void test_page(void **state)
{
    (void)state;
    write_text("m.lua",
               "return { name = '</script><b>', doc = '<img onerror=alert(1)>&amp;', inputs = { q = 'b i d', "
               "k = 'b j d' }, dims = { B = 1, I = 3, J = 4, D = 2 }, build = function(g, p, t)\n"
               "g:output('</script>', g:attend { keys = 'j', score = t.q:dot(t.k, 'd'), value = t.k, "
               "where = t.k:index('j'):le(t.q:index 'i') }.out, 'b i d') end }");
    expect("show @/m.lua -o @/page.html", 0, "", "");
    char *page = read_page("page.html");
    assert_non_null(strstr(page, "<!doctype html>"));
    assert_null(strstr(page, "@DATA@"));
    assert_null(strstr(page, "</script><b>"));
    assert_null(strstr(page, "<img"));
    assert_null(strstr(page, "src="));
    assert_null(strstr(page, "href="));
    char *data = strstr(page, "type=\"application/json\">") + strlen("type=\"application/json\">");
    *strstr(data, "</script>") = '\0';
    cJSON *d = cJSON_Parse(data);
    assert_non_null(d);
    assert_string_equal(cJSON_GetObjectItem(d, "name")->valuestring, "</script><b>");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(d, "patterns")), 1);
    const cJSON *kernels = cJSON_GetObjectItem(d, "kernels");
    assert_true(cJSON_GetArraySize(kernels) > 0);
    /* Numbered as `lappet dump` does: the kernel that finds the classes of tiles, which is not shown, is not
     * counted. */
    assert_int_equal(cJSON_GetObjectItem(cJSON_GetArrayItem(kernels, 0), "kernel")->valueint, 0);
    cJSON_Delete(d);
    free(page);
    assert_no_leftovers();
}

static void test_mistakes(void **state)
{
    (void)state;
    expect("show", 2, "", "'show' needs MODEL");
    expect("show tests/cli/models/linear.lua -o @/none/page.html", 2, "", "none/page.html");
    expect("show tests/cli/models/linear.lua -o @", 2, "", "error:");
    expect("show tests/cli/models/shapes.lua", 2, "", "shapes.lua:4: error:");
    expect("show tests/cli/models/linear.lua --dim Q=2", 2, "", "no input or weight has a size named 'Q'");
    expect("show tests/cli/models/linear.lua --weights @/none.safetensors", 2, "", "none.safetensors");
    expect("show tests/cli/models/linear.lua --cpu no-such", 3, "", "no-such");
    assert_no_leftovers();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_drawing), TEST(test_page), TEST(test_mistakes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
