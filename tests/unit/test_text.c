/* SPDX-License-Identifier: Apache-2.0
 * test_text.c - the text form: every file of tests/ir reads and prints to a fixed point, or is
 * refused with exactly the messages that its `; error:` comments state, on their lines. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/build.h"
#include "tests/support/random_graph.h"

#ifndef LAP_SOURCE_DIR
#define LAP_SOURCE_DIR "."
#endif

static char *read_file(const char *path, size_t *out_n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = NULL;
    size_t n = 0, got;
    char block[4096];
    while ((got = fread(block, 1, sizeof block, f)) > 0) {
        text = realloc(text, n + got + 1);
        memcpy(text + n, block, got);
        n += got;
    }
    assert_non_null(text);
    text[n] = '\0';
    fclose(f);
    *out_n = n;
    return text;
}

static lap_graph *parse(lap_ctx *ctx, const char *name, const char *text, size_t n)
{
    lap_graph *g = NULL;
    if (!lap_graph_parse(ctx, name, text, n, &g)) {
        lap_errors_print(ctx, stderr);
        fail_msg("%s does not parse", name);
    }
    return g;
}

/* ---- files ---------------------------------------------------------------------------------- */

static void round_trip(const char *name, const char *text, size_t n)
{
    lap_ctx *ctx = lap_ctx_new(0);
    const char *first = lap_graph_text(parse(ctx, name, text, n));
    lap_ctx *other = lap_ctx_new(0); /* nothing is remembered from the first reading */
    const char *second = lap_graph_text(parse(other, "again.lap", first, strlen(first)));
    assert_string_equal(first, second);
    lap_ctx_free(other);
    lap_ctx_free(ctx);
}

/* Each expectation is met by a message on its line, and there are no other messages. */
static void is_refused(const char *name, const char *text, size_t n)
{
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *g = NULL;
    bool ok = lap_graph_parse(ctx, name, text, n, &g);
    size_t n_expected = 0;
    int line = 1;
    for (const char *at = text; *at; line++) {
        const char *end = strchrnul(at, '\n');
        char *copy = strndup(at, (size_t)(end - at)), *want = strstr(copy, "; error: ");
        if (want) {
            want += strlen("; error: ");
            char place[300];
            snprintf(place, sizeof place, "%s:%d: ", name, line);
            bool found = false;
            for (size_t i = 0; i < lap_error_count(ctx); i++) {
                const char *m = lap_error_text(ctx, i);
                found = found || (strncmp(m, place, strlen(place)) == 0 && strstr(m, want));
            }
            if (!found) {
                lap_errors_print(ctx, stderr);
                fail_msg("%s no message '%s'", place, want);
            }
            n_expected++;
        }
        free(copy);
        at = *end ? end + 1 : end;
    }
    if (lap_error_count(ctx) != n_expected) {
        lap_errors_print(ctx, stderr);
    }
    assert_false(ok);
    assert_int_equal(lap_error_count(ctx), n_expected);
    lap_ctx_free(ctx);
}

static void test_files(void **state)
{
    (void)state;
    glob_t files;
    assert_int_equal(glob(LAP_SOURCE_DIR "/tests/ir/*.lap", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        size_t n;
        char *text = read_file(files.gl_pathv[i], &n);
        const char *name = strrchr(files.gl_pathv[i], '/') + 1;
        if (strstr(text, "; error: ")) {
            is_refused(name, text, n);
        } else {
            round_trip(name, text, n);
        }
        free(text);
    }
    assert_true(files.gl_pathc > 20);
    globfree(&files);
}

/* Each operation of the table stands in at least one file that reads. */
static void test_every_op(void **state)
{
    (void)state;
    bool seen[LAP_N_OPS] = {false};
    glob_t files;
    assert_int_equal(glob(LAP_SOURCE_DIR "/tests/ir/*.lap", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        size_t n;
        char *text = read_file(files.gl_pathv[i], &n);
        if (!strstr(text, "; error: ")) {
            lap_ctx *ctx = lap_ctx_new(0);
            lap_graph *g = parse(ctx, files.gl_pathv[i], text, n);
            for (uint32_t ix = 1; ix <= lap_graph_n_nodes(g); ix++) {
                seen[lap_node_at(g, (lap_ref){ix})->op] = true;
            }
            lap_ctx_free(ctx);
        }
        free(text);
    }
    globfree(&files);
    for (unsigned op = 1; op < LAP_N_OPS; op++) {
        if (!seen[op]) {
            fail_msg("no file of tests/ir has the operation '%s'", lap_op_text((lap_op)op));
        }
    }
}

/* ---- details -------------------------------------------------------------------------------- */

static void test_numbers(void **state)
{
    (void)state;
    const double values[] = {0.0,      -0.0,      1.0,         -1.5, 0.1,  1e300,
                             5e-324,   1.0 / 3.0, 123456789.0, 1e17, 1e16, 1.7976931348623157e308,
                             INFINITY, -INFINITY, NAN};
    lap_ctx *ctx = lap_ctx_new(0);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        lap_graph *g = lap_graph_new(ctx, "numbers", LAP_LEVEL_GRAPH);
        lap_const_f(g, values[i]);
        const char *text = lap_graph_text(g);
        lap_graph *back = parse(ctx, "numbers.lap", text, strlen(text));
        lap_scalar got = lap_node_attr(lap_node_at(back, (lap_ref){1}), LAP_ATTR_VALUE)->scalar;
        assert_int_equal(got.dtype, LAP_F32);
        assert_memory_equal(&got.f, &values[i], sizeof(double));
    }
    const int64_t integers[] = {0, -1, INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        lap_graph *g = lap_graph_new(ctx, "numbers", LAP_LEVEL_GRAPH);
        lap_const_i(g, integers[i]);
        const char *text = lap_graph_text(g);
        lap_graph *back = parse(ctx, "numbers.lap", text, strlen(text));
        assert_int_equal(lap_node_attr(lap_node_at(back, (lap_ref){1}), LAP_ATTR_VALUE)->scalar.i,
                         integers[i]);
    }
    lap_ctx_free(ctx);
}

/* Names and files of any spelling survive. */
static void test_odd_names(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *g = lap_graph_new(ctx, "odd \"graph\"\n", LAP_LEVEL_GRAPH);
    lap_loc outer = lap_loc_make(ctx, "a file; with <- blanks:7", 3, (lap_loc){0});
    lap_set_loc(g, lap_loc_make(ctx, "[string \"x\\\"]", 12, outer));
    const char *names[] = {"a b", "(", "1", "\\e", "x=y", "\xc3\xa9", "k.3", "\"", ""};
    lap_axis axes[9];
    lap_names groups[9];
    for (size_t i = 0; i < 9; i++) {
        axes[i] = (lap_axis){lap_intern(ctx, names[i]), lap_dim_const(ctx, (int64_t)i), LAP_NONE};
        groups[i] = (lap_names){1, &axes[i].name};
    }
    lap_attr attrs[] = {lap_attr_make_name(LAP_ATTR_NAME, lap_intern(ctx, "in\tput")),
                        lap_attr_make_layout(LAP_ATTR_LAYOUT, (lap_layout){9, groups})};
    lap_type type = {LAP_BF16, 9, axes};
    lap_ref x =
        lap_emit(g, &(lap_emit_args){.op = LAP_OP_INPUT, .n_attrs = 2, .attrs = attrs, .type = &type});
    assert_true(lap_ref_some(x));
    const char *text = lap_graph_text(g);
    lap_graph *back = parse(ctx, "odd.lap", text, strlen(text));
    assert_string_equal(lap_graph_text(back), text);
    const lap_node *n = lap_node_at(back, (lap_ref){1});
    for (size_t i = 0; i < 9; i++) {
        assert_string_equal(lap_text(ctx, n->axes[i].name), names[i]);
    }
    assert_string_equal(lap_loc_file(ctx, n->loc), "[string \"x\\\"]");
    assert_int_equal(lap_loc_line(ctx, lap_loc_parent(ctx, n->loc)), 3);
    assert_string_equal(lap_loc_file(ctx, lap_loc_parent(ctx, n->loc)), "a file; with <- blanks:7");
    lap_ctx_free(ctx);
}

/* A node without a place still has none after reading; one without a comment has the text's line. */
static void test_places(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    const char *text =
        "lap 1\ngraph @g {\n  %1 = const f32 {value=1.0}  ; ?\n  %2 = const f32 {value=2.0}\n"
        "  %3 = const f32 {value=3.0}  ; x.lua:4 <- y.lua:5\n  %4 = const f32 {value=4.0}  ; x.lua:4 and\n}";
    lap_graph *g = parse(ctx, "p.lap", text, strlen(text));
    assert_int_equal(lap_node_at(g, (lap_ref){1})->loc.ix, 0);
    assert_string_equal(lap_loc_show(ctx, lap_node_at(g, (lap_ref){2})->loc), "p.lap:4");
    assert_string_equal(lap_loc_show(ctx, lap_node_at(g, (lap_ref){3})->loc), "x.lua:4");
    assert_string_equal(lap_loc_show(ctx, lap_loc_parent(ctx, lap_node_at(g, (lap_ref){3})->loc)), "y.lua:5");
    assert_string_equal(lap_loc_show(ctx, lap_node_at(g, (lap_ref){4})->loc), "p.lap:6");
    lap_ctx_free(ctx);
}

static void append(char **text, size_t *n, const char *more)
{
    size_t m = strlen(more);
    *text = realloc(*text, *n + m + 1);
    memcpy(*text + *n, more, m + 1);
    *n += m;
}

static void refuses(const char *text, size_t n, const char *want)
{
    lap_ctx *ctx = lap_ctx_new(256u << 20);
    lap_graph *g = NULL;
    assert_false(lap_graph_parse(ctx, "t.lap", text, n, &g));
    assert_true(lap_error_count(ctx) > 0);
    if (!strstr(lap_error_text(ctx, 0), want)) {
        fail_msg("expected '%s', found '%s'", want, lap_error_text(ctx, 0));
    }
    lap_ctx_free(ctx);
}

static void test_limits(void **state)
{
    (void)state;
    char *text = NULL;
    size_t n = 0;
    append(&text, &n, "lap 1\ngraph @g {\n");
    for (int i = 0; i < 5000; i++) {
        append(&text, &n, "func @f { ");
    }
    refuses(text, n, "t.lap:3: error: expected less deep nesting");
    n = 0;
    append(&text, &n, "lap 1 graph @g { %x = const {value=1.0} %y = attend");
    for (int i = 0; i < 5000; i++) {
        append(&text, &n, " %x");
    }
    refuses(text, n, "expected fewer operands");
    n = 0;
    append(&text, &n, "lap 1 graph @g { %x = dim {dim=");
    for (int i = 0; i < 100000; i++) {
        append(&text, &n, "(");
    }
    refuses(text, n, "expected");
    n = 0;
    append(&text, &n, "lap 1 graph @g {");
    for (int i = 0; i < 5000; i++) {
        append(&text, &n, " %x = map %y {fn=neg}\n");
    }
    refuses(text, n, "no value '%y' before here");
    free(text);
    refuses("lap 1 graph @g {\0}", 18, "t.lap:1: error: expected an operation, found byte 0x00");
    const char *open_string = "lap 1 graph @g { %1 = const {value=\"x }\n}";
    refuses(open_string, strlen(open_string), "expected a number, true or false, found '\"'");
    refuses("", 0, "expected 'lap', found the end of the text");
    refuses("lap 2", 5, "expected version 1, found '2'");
}

/* Every prefix of a good text, and every text with one byte changed, is read or refused cleanly. */
static void test_damage(void **state)
{
    (void)state;
    glob_t files;
    assert_int_equal(glob(LAP_SOURCE_DIR "/tests/ir/*.lap", 0, NULL, &files), 0);
    unsigned seed = 20261122;
    for (size_t i = 0; i < files.gl_pathc; i++) {
        size_t n;
        char *text = read_file(files.gl_pathv[i], &n);
        for (int k = 0; k < 40; k++) {
            lap_ctx *ctx = lap_ctx_new(256u << 20);
            lap_graph *g = NULL;
            size_t at = (size_t)rand_r(&seed) % n;
            char before = text[at];
            size_t length = k % 4 == 0 ? at : n;
            text[at] = "%@{}[]()=;\"\\ \n019xn?*/-,"[rand_r(&seed) % 24];
            if (lap_graph_parse(ctx, "damaged.lap", text, length, &g)) {
                const char *first = lap_graph_text(g);
                assert_string_equal(lap_graph_text(parse(ctx, "d.lap", first, strlen(first))), first);
            } else {
                assert_true(lap_error_count(ctx) > 0);
            }
            text[at] = before;
            lap_ctx_free(ctx);
        }
        free(text);
    }
    globfree(&files);
}

/* Random graphs verify, read back as printed, and so do their rewritten copies. */
static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        lap_ctx *ctx = lap_ctx_new(0);
        lap_graph *graphs[2] = {test_random_graph(ctx, seed, 10 + (unsigned)seed % 40), NULL};
        graphs[1] = lap_graph_rewrite(graphs[0], NULL, NULL);
        for (int i = 0; i < 2; i++) {
            if (!graphs[i] || !lap_graph_verify(graphs[i])) {
                lap_errors_print(ctx, stderr);
                fail_msg("seed %d: the graph is broken", (int)seed);
            }
            lap_ctx *other = lap_ctx_new(0);
            const char *text = lap_graph_text(graphs[i]);
            assert_string_equal(lap_graph_text(parse(other, "random.lap", text, strlen(text))), text);
            lap_ctx_free(other);
        }
        lap_ctx_free(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),     cmocka_unit_test(test_every_op), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_odd_names), cmocka_unit_test(test_places),   cmocka_unit_test(test_limits),
        cmocka_unit_test(test_damage),    cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
