/* SPDX-License-Identifier: Apache-2.0
 * test_hostile.c - the command line against those who wish it ill: scripts that never end, files that
 * lie, sizes that overflow, disks that are full. Each is refused with a message, quickly. */
#include "tests/support/command_rig.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include "runtime/npy.h"
#include "runtime/safetensors.h"

#define LINEAR "tests/cli/models/linear.lua"

static void refuse(const char *arguments, const char *said) { expect(arguments, 2, "", said); }

/* ---- scripts ------------------------------------------------------------------------------- */

static void test_scripts(void **state)
{
    (void)state;
    static const struct {
        const char *script, *said;
    } rows[] = {
        {"", "hostile.lua:1: error: a model script returns a table"},
        {"\33Lua", "binary chunk"},
        {"return ('x'):rep(1 << 40)", "hostile.lua:1: error: the repeated string is too long"},
        {"return select('#', table.unpack({}, 1, 1 << 62))", "hostile.lua:1: error: the script ran for more"},
        {"table.move({}, 1, 1 << 62, 2)", "hostile.lua:1: error: the script ran for more"},
        {"local s = ('a'):rep(200000)\nreturn s:find(('.*'):rep(30) .. 'b')",
         "hostile.lua:2: error: the script ran for more"},
        {"while true do print(('x'):rep(80)) end", "xxx"}, /* the end is beyond what is caught */
        {"while true do pcall(function() while true do end end) end",
         "hostile.lua:1: error: the script ran for more"},
        {"local function f() return 1 + f() end\nreturn f()", "hostile.lua:1: error: stack overflow"},
        {"setmetatable({}, { __gc = print })", "hostile.lua:1: error: scripts have no finalisers"},
        {"return { name = 'm', params = {}, inputs = { x = 'b=4611686018427387904' }, build = print }",
         "hostile.lua:1: error: layout"},
        {"return { name = 'm', params = {}, inputs = { x = 'b=N//0' }, build = print }", "division by zero"},
        {"return { name = 'm', params = {}, inputs = { x = 'b=-1' }, build = print }",
         "axis 'b' has the size -1"},
        {"error({})", "hostile.lua:1: error: the script raised a table"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_text("hostile.lua", rows[i].script);
        refuse("run @/hostile.lua --target ref -o @/out.npy", rows[i].said);
        assert_false(exists("out.npy"));
    }
}

/* A model whose build function is `body`. */
static void write_model(const char *body)
{
    char text[2048];
    snprintf(text, sizeof text,
             "return { name = 'm', params = {}, inputs = { x = 'b=B i=N' },\n"
             "  build = function(g, p, t)\n    %s\n  end }\n",
             body);
    write_text("model.lua", text);
}

static void test_graphs_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *said;
    } rows[] = {
        {"local v = t.x for k = 1, 64 do v = v * g:index('a' .. k, 2) end g:output('y', v:sum('b'), 'i')",
         "map has 33 axes, at most 32 are allowed"},
        {"local n = t.x:size 'i' for k = 1, 64 do n = n * n end g:output('y', g:index('z', n), 'z')",
         "model.lua:3: error: "},
        {"g:output('y', t.x:at{ i = t.x:index 'i' * (1 << 62) }, 'b i')",
         "model.lua:3: error: index outside axis 'i'"},
        {"g:output('y', t.x:topk('i -> k', 1 << 40).values, 'b k')", "largest of axis 'i'"},
        {"local function f(x) return g:call(f, x) end g:output('y', f(t.x), 'b i')",
         "model.lua:3: error: C stack overflow"},
        {"g:output('y', t.x:dot(g:weight('w', 'o i', { o = 1 << 62, i = t.x:size 'i' }), 'i'), 'b o')",
         "'w' cannot be made up"},
        {"local v, l = t.x, 'b i' for k = 1, 15 do v = v + g:index('a' .. k, 1) l = l .. ' a' .. k end"
         " g:output('y', v, l)",
         "model.lua:3: error: output 'y' has 17 axes in memory, at most 16 are possible"},
        {"local s, v, keys = t.x, t.x, '' for k = 1, 20 do s = s + g:index('s' .. k, 1) * 1.0"
         " v = v + g:index('v' .. k, 1) * 1.0 keys = keys .. ' s' .. k .. ' v' .. k end"
         " g:output('y', g:attend{ score = s, value = v, keys = keys }.out, 'b i')",
         "model.lua:3: error: attend has 42 axes, at most 32 are allowed"},
    };
    static const char *const targets[] = {"cpu", "ref"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t k = 0; k < 2; k++) {
            char line[256];
            snprintf(line, sizeof line, "run @/model.lua --target %s --dim B=2 --dim N=3", targets[k]);
            write_model(rows[i].body);
            refuse(line, rows[i].said);
        }
    }
}

/* What the evaluator may wrap or refuse to hold, and compiled code can neither count nor finish. */
static void test_numbers_beyond_the_machine(void **state)
{
    (void)state;
    write_model("g:output('y', t.x:at{ i = g:index('i', 4) * (1 << 40) * (1 << 30) }, 'b i')");
    refuse("run @/model.lua --target cpu --dim B=2 --dim N=3", "model.lua:3: error: a size or an index here");
    write_model("g:output('y', t.x + g:index('a', 1 << 62):sum 'a', 'b i')");
    refuse("run @/model.lua --target cpu --dim B=2 --dim N=3", "model.lua:3: error: this would take years");
    refuse("run @/model.lua --target ref --dim B=2 --dim N=3", "cannot hold so many elements");
}

/* An operation of many results gives all of them. */
static void test_many_results(void **state)
{
    (void)state;
    write_model("local r = g:scan{ along = 'i', state = { s = t.x:sum 'i' }, inputs = { x = t.x },\n"
                "  body = function(s, t) local o = {} for k = 1, 100 do o['y' .. k] = s.s * 0 + k end\n"
                "    return { s = s.s + t.x }, o end }\n"
                "for k = 1, 100 do g:output('y' .. k, r['y' .. k], 'b i') end");
    expect("run @/model.lua --target cpu --dim B=2 --dim N=3", 0, "mean 100, from 100 to 100", "");
    expect("run @/model.lua --target ref --dim B=2 --dim N=3", 0, "mean 100, from 100 to 100", "");
}

/* Deep and shared expressions: neither the stack nor the time may grow with them beyond measure. */
static void test_deep_graphs(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "local v = t.x for k = 1, 3000 do v = (v * 0.5 + k):exp() end g:output('y', v, 'b i')",
        "local v = t.x for k = 1, 60 do v = v * v:sum('i') + v end g:output('y', v, 'b i')",
        "local v = t.x for k = 1, 200 do v = v * v + v end g:output('y', v, 'b i')",
        "local j = t.x:index 'i' for k = 1, 3000 do j = (j * 3 + k) % 7 end g:output('y', t.x + j, 'b i')",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        write_model(bodies[i]);
        expect("run @/model.lua --target cpu --dim B=2 --dim N=3", 0, "f32[2, 3]", "");
    }
}

/* ---- files and options --------------------------------------------------------------------- */

static void write_header(const char *name, const char *json, size_t n_data)
{
    char bytes[1024] = {0};
    size_t n = strlen(json);
    memcpy(bytes, &(uint64_t){n}, 8);
    memcpy(bytes + 8, json, n);
    folder_write(folder, name, bytes, 8 + n + n_data);
}

static void test_weights(void **state)
{
    (void)state;
#define TENSOR(dtype, shape, offsets)                                                                        \
    "{\"weight\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
    static const struct {
        const char *json;
        size_t n;
        const char *said;
    } rows[] = {
        {TENSOR("F32", "[2,3]", "[0,24]"), 20, "tensor 'weight' is at bytes 0 to 24 of the 20 there are"},
        {TENSOR("F32", "[2,3]", "[0,28]"), 28, "tensor 'weight' has 28 bytes, its shape needs 24"},
        {TENSOR("F32", "[2,3]", "[0,24]"), 27, "3 bytes after the last tensor"},
        {TENSOR("F32", "[4611686018427387904,4]", "[0,24]"), 24, "tensor 'weight' is too large"},
        {TENSOR("Q9", "[2,3]", "[0,24]"), 24, "tensor 'weight' has an element type"},
        {TENSOR("F32", "[3,2]", "[0,24]"), 24, "linear.lua:6: error: weight has an axis of 3, expected 2"},
        {TENSOR("F32", "[-2,-3]", "[0,24]"), 24, "byte 34: expected a whole number"},
        {"{\"wieght\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", 24,
         "did you mean 'wieght'?"},
        {"{", 0, "header, byte 1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_header("w.safetensors", rows[i].json, rows[i].n);
        refuse("run " LINEAR " --param out=2 --dim N=3 --weights @/w.safetensors -o @/out.npy", rows[i].said);
    }
    write_header("w.safetensors", TENSOR("F32", "[0,4611686018427387904]", "[0,0]"), 0);
    refuse("run " LINEAR " --weights @/w.safetensors",
           "weight has an axis of 4611686018427387904, which is too");
    folder_write(folder, "w.safetensors", "\377\0\0\0\0\0\0\0{}", 10);
    refuse("run " LINEAR " --weights @/w.safetensors", "a header of 255 bytes, with 2 bytes in the file");
    assert_false(exists("out.npy"));
    assert_no_leftovers();
}

static void test_odd_files(void **state)
{
    (void)state;
    char path[4096];
    assert_int_equal(mkfifo(folder_path(folder, "fifo.npy"), 0600), 0);
    assert_int_equal(mkfifo(folder_path(folder, "fifo.lua"), 0600), 0);
    assert_int_equal(symlink("/dev/zero", folder_path(folder, "zero.safetensors")), 0);
    snprintf(path, sizeof path, "%s", folder_path(folder, "huge.npy"));
    write_text("huge.npy", "");
    assert_int_equal(truncate(path, (off_t)1 << 36), 0);
    refuse("run @/fifo.lua", "fifo.lua' is no file");
    refuse("run " LINEAR " --in x=@/fifo.npy", "not a regular file");
    refuse("run " LINEAR " --in x=@/huge.npy", "no npy signature");
    refuse("run " LINEAR " --weights @/zero.safetensors", "not a regular file");
    expect("check @/zero.safetensors", 2, "not a regular file", "");
    float x[] = {1, 2, 3};
    lap_tensor t = {.dtype = LAP_F32, .rank = 1, .shape = {3}, .data = x, .n_bytes = sizeof x};
    assert_true(lap_npy_write(folder_path(folder, "x.npy"), &t, NULL));
    assert_int_equal(truncate(folder_path(folder, "x.npy"), 130), 0);
    refuse("run " LINEAR " --in x=@/x.npy", "has 2 bytes of elements, its shape needs 12");
}

static void test_options(void **state)
{
    (void)state;
    static const struct {
        const char *line, *said;
    } rows[] = {
        {"run " LINEAR " --dim N=3 --dim N=4", "--dim N is given twice"},
        {"run " LINEAR " --param out=1 --param out=2", "--param out is given twice"},
        {"run " LINEAR " --in x=a.npy --in x=b.npy", "--in x is given twice"},
        {"run " LINEAR " --param out=1e400", "parameter 'out' must be int, found '1e400'"},
        {"run " LINEAR " --param out=4611686018427387904", "error: "},
        {"run " LINEAR " --dim N=99999999999999999999", "not a whole number"},
        {"run " LINEAR " --dim N=1000000000000000000",
         "'x' cannot be made up: a tensor of shape [8, 1000000000000000000] is too large"},
        {"run " LINEAR " --dim B=200000000000000",
         "'x' cannot be made up: a tensor of shape [200000000000000, 8] needs"},
        {"run " LINEAR " --threads 1e9", "--threads needs a whole number from 1"},
        {"run " LINEAR " --weights /nowhere --dim N=-1 --param oot=1 -o /dev/full", "error: "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        refuse(rows[i].line, rows[i].said);
    }
    expect("run " LINEAR " --dim N=0 --dim B=2", 0, "f32[2, 4]", "");
    expect("run " LINEAR " --dim N=3 --dim B=0", 0, "f32[0, 4]", "");
    expect("bench " LINEAR " --dim N=3 --dim B=2 --threads 4096", 0, "linear", "");
}

static void test_tolerances(void **state)
{
    (void)state;
    static const char *const bad[] = {"inf", "1e999", "nan", "-1", "1x", ""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char json[256];
        snprintf(
            json, sizeof json,
            "{\"__metadata__\":{\"pattern\":\"attention\",\"params\":\"{}\",\"rtol\":\"%s\",\"atol\":\"0\"},"
            "\"out.o\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}",
            bad[i]);
        write_header("case.safetensors", json, 4);
        expect("check @/case.safetensors --target ref", 2, "metadata 'rtol' is not a tolerance", "");
    }
}

/* ---- output -------------------------------------------------------------------------------- */

static void test_output(void **state)
{
    (void)state;
    assert_int_equal(mkdir(folder_path(folder, "dir.npy"), 0700), 0);
    refuse("run " LINEAR " -o @/dir.npy", "Is a directory");
    refuse("dump " LINEAR " -o @/dir.npy", "Is a directory");
    refuse("dump " LINEAR " -o @/none/graph.lap", "No such file or directory");
    write_text("file", "kept");
    refuse("build " LINEAR " --kind object -o @/file", "error: ");
    if (access("/dev/full", W_OK) == 0) {
        refuse("run " LINEAR " -o /dev/full", "No space left on device");
        refuse("dump " LINEAR " -o /dev/full", "No space left on device");
    }
    assert_no_leftovers();
}

/* A file may grow to 4 KiB only: as a full disk, an error and nothing half-written. */
static void test_size_limit(void **state)
{
    (void)state;
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){4096, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    run_line("! run " LINEAR " --dim B=100 --dim N=100 --param out=100 -o @/out.safetensors");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(result.status, 2);
    assert_non_null(strstr(result.err, "File too large"));
    assert_false(exists("out.safetensors"));
    assert_no_leftovers();
}

static void test_interrupts(void **state)
{
    (void)state;
    char out[4096];
    snprintf(out, sizeof out, "%s", folder_path(folder, "out.safetensors"));
    for (unsigned us = 20000; us < 400000; us *= 3) {
        const char *argv[] = {lappet_path(), "run",     LINEAR,     "--dim", "N=2000", "--dim",
                              "B=3000",      "--param", "out=1000", "-o",    out,      NULL};
        process_interrupt(argv, us, &result);
        if (result.status == 0) {
            assert_true(exists("out.safetensors"));
            break;
        }
        assert_false(exists("out.safetensors"));
        assert_no_leftovers();
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        TEST(test_scripts),
        TEST(test_graphs_that_are_refused),
        TEST(test_numbers_beyond_the_machine),
        TEST(test_many_results),
        TEST(test_deep_graphs),
        TEST(test_weights),
        TEST(test_odd_files),
        TEST(test_options),
        TEST(test_tolerances),
        TEST(test_size_limit),
        TEST(test_output),
        TEST(test_interrupts),
    };
    return cmocka_run_group_tests_name("hostile", tests, NULL, NULL);
}
