/* SPDX-License-Identifier: Apache-2.0
 * test_lua.c - the Lua surface: messages, limits, sandbox, determinism and what a script builds.
 *
 * tests/lua/NAME.cases holds many small scripts:
 *     === title | params={"n": 3} | inputs=x,y | weights=w | steps=100000 | bytes=4000000 | script
 *     body of `build`, or with `script` a whole file
 *     >>> expected warning or error, "@" for the script's path; no error: it must build
 *     +++ op=count ..., counts of operations in the graph
 * LAP_BLESS=1 in the environment rewrites the expected messages. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "frontends/lua/lua.h"
#include "tests/support/process.h"

#ifndef LAP_SOURCE_DIR
#define LAP_SOURCE_DIR "."
#endif

enum { MAX_TEXT = 1 << 16, MAX_NAMES = 16 };

static const char prefix[] =
    "return { params = { n = { 'int', 4 }, f = { 'float', 0.5 }, s = { 'str', 'a' }, l = { 'list', { 1, 2 } "
    "} }, "
    "inputs = { x = 'b n=10 d', k = 'b m=M d', i = 'int b n=10', w = '? b n=10', z = 'b' }, "
    "build = function(g, p, t) ";
static const char suffix[] = " g:output('done', t.z, 'b') end }";

typedef struct text {
    size_t n;
    char at[MAX_TEXT];
} text;

static void add(text *t, const char *from, size_t n)
{
    assert_true(t->n + n + 1 < sizeof t->at);
    memcpy(t->at + t->n, from, n);
    t->n += n;
    t->at[t->n] = '\0';
}

typedef struct script {
    char title[512];
    text body, expected, counts;
} script;

static const char *option(const script *s, const char *name, char *out, size_t size)
{
    char key[32];
    snprintf(key, sizeof key, "| %s=", name);
    const char *at = strstr(s->title, key);
    if (!at) {
        return NULL;
    }
    at += strlen(key);
    const char *end = strstr(at, " |");
    snprintf(out, size, "%.*s", (int)(end ? end - at : (long)strlen(at)), at);
    return out;
}

static uint32_t split(char *list, const char **out)
{
    uint32_t n = 0;
    for (char *p = list; p && *p && n < MAX_NAMES; n++) {
        out[n] = p;
        p = strchr(p, ',');
        if (p) {
            *p++ = '\0';
        }
    }
    return n;
}

/* Operations of one kind in the whole graph. */
static unsigned count_op(const lap_graph *g, const char *name, size_t length)
{
    lap_op op;
    assert_true(lap_op_find(name, length, &op));
    unsigned n = 0;
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        n += lap_node_at(g, (lap_ref){i})->op == op;
    }
    return n;
}

static void check_counts(const script *s, const lap_graph *g)
{
    for (const char *p = s->counts.at; *p;) {
        p += strspn(p, " \n");
        const char *eq = strchr(p, '=');
        if (!eq) {
            break;
        }
        unsigned want = (unsigned)strtoul(eq + 1, NULL, 10), have = count_op(g, p, (size_t)(eq - p));
        if (want != have) {
            fail_msg("%s: %u of %.*s, expected %u", s->title, have, (int)(eq - p), p, want);
        }
        p = eq + 1 + strcspn(eq + 1, " \n");
    }
}

/* A message with the path of the script as "@". */
static void collect_one(const char *message, const char *path, text *out)
{
    for (const char *hit; (hit = strstr(message, path)) != NULL; message = hit + strlen(path)) {
        add(out, message, (size_t)(hit - message));
        add(out, "@", 1);
    }
    add(out, message, strlen(message));
    add(out, "\n", 1);
}

static void collect(const lap_ctx *ctx, const char *path, text *out)
{
    out->n = 0;
    out->at[0] = '\0';
    for (size_t i = 0; i < lap_warning_count(ctx); i++) {
        collect_one(lap_warning_text(ctx, i), path, out);
    }
    for (size_t i = 0; i < lap_error_count(ctx); i++) {
        collect_one(lap_error_text(ctx, i), path, out);
    }
}

static void write_script(const script *s, const char *path)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    if (strstr(s->title, "| script")) {
        fwrite(s->body.at, 1, s->body.n, f);
    } else {
        fprintf(f, "%s%s%s", prefix, s->body.at, suffix);
    }
    fclose(f);
}

static lap_lua_options limits_of(const script *s)
{
    static const char *const path[] = {LAP_SOURCE_DIR "/tests/lua/plugins", LAP_SOURCE_DIR "/plugins"};
    char buffer[64];
    lap_lua_options o = {.plugin_path = path, .n_plugin_path = 2, .max_instructions = 20000000};
    if (option(s, "steps", buffer, sizeof buffer)) {
        o.max_instructions = strtoull(buffer, NULL, 10);
    }
    if (option(s, "bytes", buffer, sizeof buffer)) {
        o.max_bytes = strtoul(buffer, NULL, 10);
    }
    return o;
}

static void run_script(const script *s, const char *path, text *out)
{
    char params[256], inputs[256], weights[256];
    const char *input_names[MAX_NAMES], *weight_names[MAX_NAMES];
    lap_ctx *ctx = lap_ctx_new(0);
    lap_lua_options o = limits_of(s);
    lap_build_options b = {.params_json = option(s, "params", params, sizeof params)};
    if (option(s, "inputs", inputs, sizeof inputs)) {
        b.n_inputs = split(inputs, input_names);
        b.inputs = input_names;
    }
    if (option(s, "weights", weights, sizeof weights)) {
        b.n_weights = split(weights, weight_names);
        b.weights = weight_names;
    }
    write_script(s, path);
    lap_model *m = NULL;
    lap_graph *g = NULL;
    bool ok = lap_model_load(ctx, path, &o, &m) && lap_model_build(m, &b, &g);
    if (ok == (lap_error_count(ctx) > 0)) {
        fail_msg("%s: result and messages disagree", s->title);
    }
    if (ok) {
        check_counts(s, g);
        lap_graph *again; /* one script, one graph */
        if (lap_model_build(m, &b, &again)) {
            assert_string_equal(lap_graph_text(g), lap_graph_text(again));
        }
    }
    collect(ctx, path, out);
    lap_model_free(m);
    lap_ctx_free(ctx);
}

static bool starts(const char *line, const char *mark) { return strncmp(line, mark, strlen(mark)) == 0; }

/* Reads the next script; false at the end. `*at` is moved on. */
static bool next_script(const char **at, script *s)
{
    memset(s, 0, sizeof *s);
    const char *p = *at;
    if (*p == '\0') {
        return false;
    }
    assert_true(starts(p, "=== "));
    bool is_title = true;
    while (*p && (is_title || !starts(p, "=== "))) {
        size_t n = strcspn(p, "\n") + (p[strcspn(p, "\n")] == '\n');
        if (is_title) {
            snprintf(s->title, sizeof s->title, "%.*s", (int)n - 5, p + 4);
        } else if (starts(p, ">>> ")) {
            add(&s->expected, p + 4, n - 4);
        } else if (starts(p, "+++ ")) {
            add(&s->counts, p + 4, n - 4);
        } else {
            add(&s->body, p, n);
        }
        is_title = false;
        p += n;
    }
    *at = p;
    return true;
}

static void write_back(FILE *f, const script *s, const text *got)
{
    fprintf(f, "=== %s\n%s", s->title, s->body.at);
    for (const char *p = got->at; *p; p += strcspn(p, "\n") + 1) {
        fprintf(f, ">>> %.*s\n", (int)strcspn(p, "\n"), p);
    }
    if (s->counts.n) {
        fprintf(f, "+++ %s", s->counts.at);
    }
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *out = calloc(1, 1 << 20);
    assert_non_null(out);
    assert_true(fread(out, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    return out;
}

static unsigned run_file(const char *cases, const char *path)
{
    char *all = read_file(cases);
    char *blessed = NULL;
    size_t size = 0;
    FILE *bless = getenv("LAP_BLESS") ? open_memstream(&blessed, &size) : NULL;
    script *s = calloc(1, sizeof *s);
    text *got = calloc(1, sizeof *got);
    unsigned n_bad = 0;
    for (const char *at = all; next_script(&at, s);) {
        run_script(s, path, got);
        if (bless) {
            write_back(bless, s, got);
        } else if (strcmp(got->at, s->expected.at) != 0) {
            print_error("%s: %s\nexpected:\n%s\nfound:\n%s\n", cases, s->title, s->expected.at, got->at);
            n_bad++;
        }
    }
    if (bless) {
        fclose(bless);
        FILE *f = fopen(cases, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(blessed, 1, size, f), size);
        fclose(f);
        free(blessed);
    }
    free(got);
    free(s);
    free(all);
    return n_bad;
}

static void scripts_say_and_build_what_is_expected(void **state)
{
    (void)state;
    char *folder = folder_new(), path[1024];
    snprintf(path, sizeof path, "%s", folder_path(folder, "case.lua"));
    glob_t files;
    assert_int_equal(glob(LAP_SOURCE_DIR "/tests/lua/*.cases", 0, NULL, &files), 0);
    unsigned n_bad = 0;
    for (size_t i = 0; i < files.gl_pathc; i++) {
        n_bad += run_file(files.gl_pathv[i], path);
    }
    globfree(&files);
    folder_remove(folder);
    assert_int_equal(n_bad, 0);
}

static void missing_models_are_reported(void **state)
{
    (void)state;
    static const char *const names[] = {"",          "nothing_here", "../etc/passwd", "/nonexistent/x.lua",
                                        "/tmp/.lua", "a b"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lap_ctx *ctx = lap_ctx_new(0);
        lap_model *m = NULL;
        assert_false(lap_model_load(ctx, names[i], NULL, &m));
        assert_true(lap_error_count(ctx) == 1);
        lap_ctx_free(ctx);
    }
}

static void schema_is_described(void **state)
{
    (void)state;
    static const char *const path[] = {LAP_SOURCE_DIR "/tests/lua/plugins"};
    lap_lua_options o = {.plugin_path = path, .n_plugin_path = 1};
    lap_ctx *ctx = lap_ctx_new(0);
    lap_model *m = NULL;
    assert_true(lap_model_load(ctx, "described", &o, &m));
    assert_string_equal(lap_model_name(m), "described");
    assert_string_equal(lap_model_paper(m), "A Paper");
    assert_string_equal(lap_model_family(m), "windows");
    assert_null(lap_model_reference(m));
    assert_int_equal(lap_model_n_params(m), 4);
    const lap_model_param *size = lap_model_param_at(m, 3), *act = lap_model_param_at(m, 0);
    assert_string_equal(size->name, "size");
    assert_true(size->is_required && !size->default_json);
    assert_string_equal(act->type, "gelu|relu");
    assert_string_equal(act->default_json, "\"relu\"");
    assert_string_equal(act->doc, "activation");
    assert_string_equal(lap_model_param_at(m, 2)->default_json, "[1,2.5]");
    lap_graph *g = NULL;
    assert_true(lap_model_build(m, &(lap_build_options){.params_json = "{\"size\": 3}"}, &g));
    assert_int_equal(lap_model_n_inputs(m), 2);
    assert_string_equal(lap_model_input_at(m, 1)->name, "x");
    assert_string_equal(lap_model_input_at(m, 1)->layout, "b n=size");
    assert_true(lap_model_input_at(m, 0)->is_optional && lap_model_input_at(m, 0)->dtype == LAP_I64);
    lap_model_free(m);
    lap_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scripts_say_and_build_what_is_expected),
        cmocka_unit_test(missing_models_are_reported),
        cmocka_unit_test(schema_is_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
