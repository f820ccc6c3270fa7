/* SPDX-License-Identifier: Apache-2.0
 * test_foreign.c - operations of C libraries from outside: the example, harder models, bad libraries.
 *
 * The libraries are compiled with `cc`. */
#include "tests/support/command_rig.h"

#include "frontends/compiler/compare.h"
#include "runtime/npy.h"

static void compile(const char *source, const char *library)
{
    char line[1024];
    snprintf(line, sizeof line, "cc -std=c17 -O2 -Wall -Wextra -Werror -shared -fPIC -I%s %s -o @/%s",
             LAP_SOURCE_DIR, source, library);
    expect_line(line, 0, "", "");
}

static int set_up(void **state)
{
    make_folder(state);
    compile(LAP_SOURCE_DIR "/examples/foreign/ops.c", "ops.so");
    return 0;
}

/* ---- results ------------------------------------------------------------------------------- */

static void read_results(lap_ctx *ctx, const char *name, lap_safetensors **file, lap_views *out)
{
    *file = lap_safetensors_open(folder_path(folder, name), NULL);
    assert_non_null(*file);
    lap_views_read(ctx, out, *file, "");
}

static void take(lap_ctx *ctx, const lap_views *views, const char *name, lap_tensor *out)
{
    const lap_tensor_view *view = lap_views_find(views, name);
    assert_non_null(view);
    assert_true(lap_tensor_take(ctx, view, LAP_NO_DTYPE, name, out, NULL));
}

/* The model gives the same as the evaluator; n_same pairs of its outputs are equal. */
static void check_engine(const char *engine, const char *model, const char *options, uint32_t n_same,
                         const char *const (*same)[2])
{
    char line[1024];
    snprintf(line, sizeof line, "run %s --foreign @/ops.so %s --target ref -o @/ref.safetensors", model,
             options);
    expect(line, 0, "", "");
    snprintf(line, sizeof line, "run %s --foreign @/ops.so %s --target %s -o @/cpu.safetensors", model,
             options, engine);
    expect(line, 0, "", "");
    lap_ctx *ctx = lap_ctx_new(0);
    lap_safetensors *files[2];
    lap_views ref = {0}, cpu = {0};
    read_results(ctx, "ref.safetensors", &files[0], &ref);
    read_results(ctx, "cpu.safetensors", &files[1], &cpu);
    assert_true(ref.n > 0);
    assert_int_equal(ref.n, cpu.n);
    const lap_tolerance tolerance = {1e-4, 1e-4};
    lap_tensor a, b;
    for (uint32_t i = 0; i < ref.n; i++) {
        take(ctx, &ref, ref.names[i], &a);
        take(ctx, &cpu, ref.names[i], &b);
        const char *difference = lap_tensor_difference(ctx, ref.names[i], &b, &a, tolerance);
        if (difference != NULL) {
            print_error("%s: %s\n", model, difference);
        }
        assert_null(difference);
    }
    for (uint32_t i = 0; i < n_same; i++) {
        take(ctx, &ref, same[i][0], &a);
        take(ctx, &ref, same[i][1], &b);
        assert_null(lap_tensor_difference(ctx, same[i][0], &b, &a, tolerance));
    }
    lap_safetensors_close(files[0]);
    lap_safetensors_close(files[1]);
    lap_ctx_free(ctx);
}

static void check_model(const char *model, const char *options, uint32_t n_same, const char *const (*same)[2])
{
    check_engine("cpu", model, options, n_same, same);
    check_engine("vulkan", model, options, n_same, same);
}

static void test_example(void **state)
{
    (void)state;
    check_model(LAP_SOURCE_DIR "/examples/foreign/model.lua", "", 0, NULL);
    check_model(LAP_SOURCE_DIR "/examples/foreign/model.lua", "--dim J=33 --dim I=1 --threads 2", 0, NULL);
}

static const char *write_model(const char *name, const char *inputs, const char *build)
{
    char text[4096];
    int n = snprintf(text, sizeof text,
                     "return { name = 'm', doc = 'd', inputs = { %s }, dims = { N = 6, B = 3 },\n"
                     "build = function(g, p, t)\n"
                     "local function sums(x, axes) return g:foreign('sums', { { x, axes } }, { y = 'f32 ' .. "
                     "axes }).y end\n"
                     "%s\nend }\n",
                     inputs, build);
    return folder_write(folder, name, text, (size_t)n);
}

/* Operands handed over where they stand, transposed, computed, ragged, of a function, of a scan's body,
 * of weights alone; each beside the same in the language. */
static void test_places(void **state)
{
    (void)state;
    static const char *const same[][2] = {{"a", "a2"}, {"b", "b2"}, {"f", "f2"}, {"s", "s2"},
                                          {"w", "w2"}, {"r", "r2"}, {"c", "c2"}};
    const char *model =
        write_model("places.lua", "x = 'b n', z = 'n b', k = 'int b'",
                    "local function plain(x) return x:cumsum 'n' end\n"
                    "g:output('a', sums(t.x, 'b n'), 'b n') g:output('a2', plain(t.x), 'b n')\n"
                    "g:output('b', sums(t.z, 'b n'), 'n b') g:output('b2', plain(t.z), 'n b')\n"
                    "g:output('c', sums(t.x + t.z, 'b n') + sums(t.z + t.x, 'b n'), 'n b') g:output('c2', 2 "
                    "* plain(t.x + t.z), 'n b')\n"
                    "local f = lap.func('f', function(x) return sums(x * 2, 'b n') end)\n"
                    "g:output('f', f(t.z), 'b n') g:output('f2', 2 * plain(t.z), 'b n')\n"
                    "local s = g:scan { along = 'b', state = { s = t.x:sum 'b' * 0 }, inputs = { x = t.x }, "
                    "body = function(s, x)\n"
                    "  local y = sums(s.s + x.x, 'n') return { s = y }, { y = y } end }\n"
                    "local s2 = g:scan { along = 'b', state = { s = t.x:sum 'b' * 0 }, inputs = { x = t.x }, "
                    "body = function(s, x)\n"
                    "  local y = plain(s.s + x.x) return { s = y }, { y = y } end }\n"
                    "g:output('s', s.y + s.last_s, 'b n') g:output('s2', s2.y + s2.last_s, 'b n')\n"
                    "local r = t.x:ragged('n', g:index('b', t.x:size 'b') + 1)\n"
                    "g:output('r', sums(r, 'b n') * 2, 'b n') g:output('r2', plain(r) * 2, 'b n')\n"
                    "local w = g:weight('w', 'n b', { n = t.x:size 'n', b = t.x:size 'b' })\n"
                    "g:output('w', sums(w, 'b n') * t.x, 'b n') g:output('w2', plain(w) * t.x, 'b n')\n");
    check_model(model, "", 7, same);
    check_model(model, "--dtype bf16 --dim N=17 --dim B=5", 7, same);
}

static void test_unread(void **state)
{
    (void)state;
    const char *model = write_model(
        "unread.lua", "k = 'int n'",
        "local r = g:foreign('counts', { t.k * 0 + 1 }, { counts = { 'int c', c = 3 }, total = 'int' })\n"
        "g:output('t', r.total, '')");
    check_model(model, "", 0, NULL);
}

/* ---- mistakes ------------------------------------------------------------------------------ */

static void test_uses(void **state)
{
    (void)state;
    write_model("sum.lua", "x = 'b n'", "g:output('y', sums(t.x, 'b n'), 'b n')");
    write_model("count.lua", "x = 'b n'",
                "g:output('y', g:foreign('sums', { t.x, t.x }, { y = 'f32 b n' }).y, 'b n')");
    write_model("type.lua", "x = 'b n'",
                "g:output('y', g:foreign('sums', { t.x }, { y = 'int b n' }).y, 'b n')");
    write_model(
        "size.lua", "x = 'b n'",
        "g:output('y', g:foreign('sums', { t.x }, { y = { 'f32 b n', n = t.x:size 'n' + 1 } }).y, 'b n')");
    write_model("fails.lua", "x = 'b n'",
                "g:output('y', g:foreign('counts', { (t.x * 0):int() - 1 }, { c = { 'int c', c = 2 }, t = "
                "'int' }).c, 'c')");
    static const struct {
        const char *model, *options;
        int status;
        const char *err;
    } rows[] = {
        {"sum", "", 3, "sum.lua:3: error: no foreign operation 'sums' is loaded"},
        {"count", "--foreign @/ops.so", 2,
         "'sums' takes 1 operands and gives 1 results, here it has 2 and 1"},
        {"type", "--foreign @/ops.so", 2, "'sums': takes and gives f32 tensors of the same axes"},
        {"size", "--foreign @/ops.so", 2, "'sums': axis 1 has 6 elements in and 7 out"},
        {"fails", "--foreign @/ops.so", 2, "'counts': element 0 is -1, and there are 2 counts"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int k = 0; k < 2; k++) {
            char line[512];
            snprintf(line, sizeof line, "run @/%s.lua %s --target %s", rows[i].model, rows[i].options,
                     k == 0 ? "ref" : "cpu");
            expect(line, rows[i].status, "", rows[i].err);
        }
    }
    expect("build @/sum.lua -o @/made", 3, "", "an artefact cannot call the foreign operation 'sums'");
    expect("run @/sum.lua --foreign", 2, "", "--foreign needs LIB.so");
    expect("list --foreign @/ops.so", 2, "", "'list' takes no option '--foreign'");
}

static void test_libraries(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *err;
    } rows[] = {
        {".version = 2", "bad.so: operation 0 is of version 2, expected 1"},
        {".version = 1, .struct_size = 8", "has a struct_size of 8, expected"},
        {".version = 1", "bad.so: 'bad' has no reference function"},
        {".version = 1, .reference = f, .name = 0", "operation 0 needs a name"},
        {".version = 1, .reference = f, .name = \"\"", "operation 0 needs a name"},
        {".version = 1, .reference = f, .n_inputs = 65", "'bad' has 65 operands and 1 results"},
        {".version = 1, .reference = f, .n_outputs = 0", "'bad' has 1 operands and 0 results"},
        {".version = 1, .reference = f, .name = \"sums\"", "there is an operation 'sums' already"},
    };
    write_model("none.lua", "x = 'n'", "g:output('y', t.x, 'n')");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[1024];
        int n = snprintf(
            text, sizeof text,
            "#pragma GCC diagnostic ignored \"-Woverride-init\"\n#include \"runtime/foreign.h\"\n"
            "int f(void *u, const lap_foreign_tensor *i, const lap_foreign_tensor *o, char *m, size_t n)"
            " { return u || i || o || m || n; }\n"
            "static const lap_foreign_op op = { .struct_size = sizeof op, .name = \"bad\", .n_inputs = 1, "
            ".n_outputs = 1, %s };\nconst lap_foreign_op *const *lap_foreign_ops(void)\n"
            "{ static const lap_foreign_op *const all[] = { &op, 0 }; return all; }\n",
            rows[i].fields);
        char source[4096];
        snprintf(source, sizeof source, "%s", folder_write(folder, "bad.c", text, (size_t)n));
        compile(source, "bad.so");
        expect("run @/none.lua --foreign @/ops.so --foreign @/bad.so", 2, "", rows[i].err);
    }
    static const char empty[] = "int nothing; const void *const *lap_foreign_ops(void) { return 0; }";
    char source[4096];
    snprintf(source, sizeof source, "%s", folder_write(folder, "bad.c", empty, sizeof empty - 1));
    compile(source, "bad.so");
    expect("run @/none.lua --foreign @/bad.so", 2, "", "lap_foreign_ops gave nothing");
    snprintf(source, sizeof source, "%s", folder_write(folder, "bad.c", empty, sizeof "int nothing;" - 1));
    compile(source, "bad.so");
    expect("run @/none.lua --foreign @/bad.so", 2, "", "it has no function lap_foreign_ops");
    expect("run @/none.lua --foreign @/bad.c", 2, "", "cannot load the library");
    expect("run @/none.lua --foreign libm.so.6", 2, "", "cannot load the library: ./libm.so.6");
    expect("run @/none.lua --foreign @/ops.so --foreign @/ops.so", 2, "",
           "there is an operation 'sums' already");
    expect("run @/none.lua --foreign @/ops.so", 0, "", "");
}

/* A library that cuts a file off as it is loaded, when the file is mapped and checked already. */
static void test_file_that_shrinks(void **state)
{
    (void)state;
    enum { N = 1 << 16 };
    float *values = calloc(N, sizeof *values);
    lap_tensor x = {.dtype = LAP_F32, .rank = 1, .shape = {N}, .data = values, .n_bytes = N * sizeof *values};
    write_model("sum.lua", "x = 'n'", "g:output('y', t.x:sum 'n', '')");
    char text[1024];
    snprintf(text, sizeof text,
             "#define _GNU_SOURCE\n#include <unistd.h>\n__attribute__((constructor)) static void cut(void)"
             " { if (truncate(\"%s\", 4096) != 0) { _exit(99); } }\n"
             "const void *const *lap_foreign_ops(void) { static const void *const none[1]; return none; }\n",
             folder_path(folder, "x.npy"));
    compile(write_text("cut.c", text), "cut.so");
    static const char *const targets[] = {"ref", "cpu"};
    for (int i = 0; i < 2; i++) {
        assert_true(lap_npy_write(folder_path(folder, "x.npy"), &x, NULL));
        char line[256];
        snprintf(line, sizeof line, "run @/sum.lua --in x=@/x.npy --foreign @/cut.so --target %s",
                 targets[i]);
        expect(line, 2, "", "x.npy' became shorter while it was read");
        assert_string_equal(result.out, "");
    }
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example),   cmocka_unit_test(test_places),
        cmocka_unit_test(test_unread),    cmocka_unit_test(test_uses),
        cmocka_unit_test(test_libraries), cmocka_unit_test(test_file_that_shrinks),
    };
    return cmocka_run_group_tests(tests, set_up, remove_folder);
}
