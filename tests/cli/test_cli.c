/* SPDX-License-Identifier: Apache-2.0
 * test_cli.c - the command line from outside: exit codes, messages, files, hostile input. */
#include "tests/support/command_rig.h"

#include <cjson/cJSON.h>
#include <math.h>

#include "runtime/npy.h"
#include "runtime/safetensors.h"

static lap_tensor floats(float *values, uint32_t rank, int64_t a, int64_t b)
{
    return (lap_tensor){.dtype = LAP_F32,
                        .rank = rank,
                        .shape = {a, b},
                        .data = values,
                        .n_bytes = sizeof(float) * (size_t)(rank == 0   ? 1
                                                            : rank == 1 ? a
                                                                        : a * b)};
}

static void write_npy(const char *name, lap_tensor t)
{
    assert_true(lap_npy_write(folder_path(folder, name), &t, NULL));
}

static void write_tensors(const char *name, uint32_t n, const char *const *names, const lap_tensor *tensors,
                          const char *const *meta)
{
    assert_true(lap_safetensors_write(folder_path(folder, name), n, names, tensors, meta, NULL));
}

/* ---- usage --------------------------------------------------------------------------------- */

static void test_usage(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int status;
        const char *out, *err;
    } rows[] = {
        {"", 2, "", "usage: lappet"},
        {"--help", 0, "usage: lappet", ""},
        {"help", 0, "usage: lappet", ""},
        {"--version", 0, "lappet ", ""},
        {"rnu x", 2, "", "did you mean 'run'?"},
        {"--json list", 2, "", "the first argument is a command"},
        {"run", 2, "", "'run' needs MODEL"},
        {"run a b", 2, "", "'b' is too many"},
        {"run --help", 0, "--seed N", ""},
        {"list --help", 0, "--json", ""},
        {"run m --taget ref", 2, "", "did you mean '--target'?"},
        {"list --seed 1", 2, "", "'list' takes no option '--seed'"},
        {"run m --seed", 2, "", "--seed needs N"},
        {"run m --seed 1 --seed 2", 2, "", "given twice"},
        {"run m --seed 1x", 2, "", "--seed needs a whole number"},
        {"run m --threads 0", 2, "", "--threads needs a whole number from 1"},
        {"run m --json=1", 2, "", "--json takes no value"},
        {"run m --target gpu", 2, "", "there is no target 'gpu'"},
        {"run m --dtype f64", 2, "", "--dtype is f32, bf16 or f16"},
        {"run m --param x", 2, "", "--param needs NAME=VALUE"},
        {"run m --dim N=", 2, "", "--dim needs NAME=N, not"},
        {"run m --dim N=-3", 2, "", "not a whole number"},
        {"run m --in x", 2, "", "--in needs NAME=FILE"},
        {"run m --in x=y.txt", 2, "", "neither .npy nor .safetensors"},
        {"dump m --stage lop", 2, "", "did you mean 'loop'?"},
        {"build tests/cli/models/linear.lua", 2, "", "needs -o DIR"},
        {"build tests/cli/models/linear.lua -o @/o --kind dll", 2, "", "--kind is exe"},
        {"build tests/cli/models/linear.lua -o @/o --name ../x", 2, "", "hint: such as 'm___x'"},
        {"build tests/cli/models/linear.lua -o @/o --name int", 2, "", "hint: such as 'int_'"},
        {"build tests/cli/models/linear.lua -o @/o --embed-weights", 2, "", "needs --weights"},
        {"run tests/cli/models/linear.lua --target vulkan --device none-such", 3, "",
         "no Vulkan device 'none-such'"},
        {"dump tests/cli/models/linear.lua --stage glsl --device 99", 3, "", "no Vulkan device '99'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect(rows[i].line, rows[i].status, rows[i].out, rows[i].err);
    }
}

/* ---- scripts ------------------------------------------------------------------------------- */

static void test_scripts(void **state)
{
    (void)state;
    static const struct {
        const char *model, *err;
    } rows[] = {
        {"endless", "endless.lua:1: error: "},
        {"bomb", "bomb.lua:2: error: "},
        {"syntax", "syntax.lua:3: error: "},
        {"sandbox", "sandbox.lua:1: error: "},
        {"shapes", "shapes.lua:4: error: axis 'i' is 3 here and 4 there"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char line[256];
        snprintf(line, sizeof line, "run tests/cli/models/%s.lua --target ref", rows[i].model);
        expect(line, 2, "", rows[i].err);
    }
    expect("info no_such_model", 2, "", "no model 'no_such_model'");
    expect("info tests/cli/models/none.lua", 2, "", "none.lua");
    expect("info tests/cli", 2, "", "error: ");
}

/* A warning is said on standard error and changes neither the exit code nor the result. */
static void test_warnings(void **state)
{
    (void)state;
    static const char warning[] = "shared.lua:4: warning: queries and keys share the axis 'n'";
    expect("info tests/cli/models/shared.lua", 0, "o ", warning);
    expect("dump tests/cli/models/shared.lua", 0, "attend", warning);
    expect("run tests/cli/models/shared.lua --json", 0, "\"outputs\"", warning);
    cJSON *json = cJSON_Parse(result.out);
    assert_non_null(json);
    cJSON_Delete(json);
    expect("run tests/cli/models/linear.lua --dim N=2 --target ref", 0, "", "");
    assert_null(strstr(result.err, "warning"));
}

/* Sizes that a model proposes are those of made-up inputs; the name of an axis is none. */
static void test_proposed_sizes(void **state)
{
    (void)state;
    static const char script[] = "return { name = 'm', inputs = { x = 'b n' }, dims = { %s = 3, N = 5 },"
                                 " build = function(g, p, t) g:output('y', t.x, 'b n') end }\n";
    char text[512];
    snprintf(text, sizeof text, script, "B");
    write_text("m.lua", text);
    expect("run @/m.lua --target ref", 0, "f32[3, 5]", "");
    snprintf(text, sizeof text, script, "b");
    write_text("m.lua", text);
    expect("run @/m.lua --target ref", 2, "",
           "the dims of 'm' name no size 'b'\nhint: the size of an axis is 'B'");
}

/* ---- run ----------------------------------------------------------------------------------- */

static void test_run_files(void **state)
{
    (void)state;
    float x[] = {1, 2, 3, 4, 5, 6}, w[] = {1, 0, 0, 0, 1, 0};
    write_npy("x.npy", floats(x, 2, 2, 3));
    lap_tensor weight = floats(w, 2, 2, 3);
    write_tensors("w.safetensors", 1, (const char *[]){"weight"}, &weight, NULL);
    write_tensors("two.safetensors", 2, (const char *[]){"old", "weight"},
                  (const lap_tensor[]){weight, weight}, NULL);
    expect(
        "run tests/cli/models/linear.lua --target ref --param out=2 --in x=@/x.npy --weights @/w.safetensors "
        "-o @/y.safetensors",
        0, "", "");
    lap_safetensors *file = lap_safetensors_open(folder_path(folder, "y.safetensors"), NULL);
    assert_non_null(file);
    lap_tensor y;
    assert_int_equal(lap_safetensors_n(file), 1);
    assert_true(lap_safetensors_read(file, 0, LAP_F32, &y, NULL));
    const float want[] = {1, 2, 4, 5};
    assert_int_equal(y.n_bytes, sizeof want);
    assert_memory_equal(y.data, want, sizeof want);
    lap_safetensors_close(file);
    expect("run tests/cli/models/linear.lua --target ref --param out=2 --in x=@/y.safetensors:y --dim N=2 -o "
           "@/z.npy",
           0, "", "");
    assert_true(exists("z.npy"));
    expect("run tests/cli/models/linear.lua --target ref --param out=2 --in x=@/x.npy --weights "
           "@/two.safetensors",
           0, "y", "does not read 1 of the 2 tensors of the weights file, such as 'old'");
    expect("run tests/cli/models/two.lua --target ref --in x=@/x.npy -o @/two.npy", 2, "", "2 outputs");
    expect("run tests/cli/models/two.lua --target ref --in @/w.safetensors", 2, "", "no input 'weight'");
    assert_false(exists("two.npy"));
    assert_no_leftovers();
}

static void test_run_mistakes(void **state)
{
    (void)state;
    float x[] = {1, 2, 3, 4, 5, 6};
    write_npy("x.npy", floats(x, 2, 2, 3));
    write_npy("x1.npy", floats(x, 1, 6, 0));
    lap_tensor other = floats(x, 2, 2, 2);
    write_tensors("bad.safetensors", 1, (const char *[]){"weight"}, &other, NULL);
    write_tensors("none.safetensors", 1, (const char *[]){"bias"}, &other, NULL);
    static const struct {
        const char *line, *err;
    } rows[] = {
        {"run tests/cli/models/linear.lua --target ref --in x=@/x1.npy", "x"},
        {"run tests/cli/models/linear.lua --target ref --in q=@/x.npy", "no input 'q'"},
        {"run tests/cli/models/linear.lua --target ref --in x=@/missing.npy", "missing.npy"},
        {"run tests/cli/models/linear.lua --target ref --in x=@/bad.safetensors:nope",
         "has no tensor 'nope'"},
        {"run tests/cli/models/linear.lua --target ref --in x=@/x.npy --weights @/bad.safetensors", "weight"},
        {"run tests/cli/models/linear.lua --target ref --in x=@/x.npy --weights @/none.safetensors",
         "weight"},
        {"run tests/cli/models/linear.lua --target ref --param out=0", "out"},
        {"run tests/cli/models/linear.lua --target ref --param out=many", "out"},
        {"run tests/cli/models/linear.lua --target ref --param oot=3", "oot"},
        {"run tests/cli/models/linear.lua --target ref --dim Q=3", "size named 'Q'"},
        {"run tests/cli/models/linear.lua --target ref --dim N=1000000 --dim B=10000000000", "error"},
        {"run tests/cli/models/grid.lua --target ref --in x=@/x.npy", "x"},
        {"run tests/cli/models/linear.lua --target ref -o @/no/such/folder/y.safetensors", "folder"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect(rows[i].line, 2, "", rows[i].err);
    }
    assert_no_leftovers();
}

static void test_run_seeds(void **state)
{
    (void)state;
    expect("run tests/cli/models/linear.lua --target ref --seed 7 -o @/a.safetensors", 0, "", "");
    expect("run tests/cli/models/linear.lua --target ref --seed 7 -o @/b.safetensors", 0, "", "");
    expect("run tests/cli/models/linear.lua --target ref --seed 8 -o @/c.safetensors", 0, "", "");
    process_result r;
    process_run((const char *[]){"cmp", "-s", folder_path(folder, "a.safetensors"),
                                 folder_path(folder, "b.safetensors"), NULL},
                &r);
    assert_int_equal(r.status, 0);
    process_run((const char *[]){"cmp", "-s", folder_path(folder, "a.safetensors"),
                                 folder_path(folder, "c.safetensors"), NULL},
                &r);
    assert_int_equal(r.status, 1);
    expect("run tests/cli/models/two.lua --target ref --with y --dim B=2 --dim N=5 --json", 0, "\"outputs\"",
           "");
    cJSON *d = cJSON_Parse(result.out);
    assert_non_null(d);
    cJSON *first = cJSON_GetArrayItem(cJSON_GetObjectItem(d, "outputs"), 0);
    assert_string_equal(cJSON_GetObjectItem(first, "name")->valuestring, "sum");
    assert_int_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(first, "shape"), 0)->valueint, 2);
    cJSON_Delete(d);
}

/* A run kept as a case passes on another engine; families of weights lie in it one by one. */
static void test_run_case(void **state)
{
    (void)state;
    expect("run volo --target ref --seed 3 --param dim=16 --param num_heads=2 --dim B=1 --dim H=8 --dim W=8 "
           "--case @/volo.safetensors",
           0, "", "");
    expect("check @/volo.safetensors --target cpu", 0, "1 passed", "");
    expect("run ulsam --case @/ulsam.safetensors --target ref --dim B=1", 0, "", "");
    expect("check @/ulsam.safetensors --target cpu", 0, "1 passed", "");
    expect("run lalm --case @/lalm.safetensors --target cpu", 0, "", ""); /* reads a weight at two places */
    expect("check @/lalm.safetensors --target cpu", 0, "1 passed", "");
    expect("run volo --dim B=1 --dim H=8 --dim W=8 --target ref --case @/no/such/folder/volo.safetensors", 2,
           "", "error: ");
    expect("run tests/cli/models/linear.lua --target ref --case /dev/full", 2, "", "error: ");
    expect("run tests/cli/models/linear.lua --target ref -o @/one.safetensors --case @/./one.safetensors", 2,
           "", "the same file");
}

/* ---- check --------------------------------------------------------------------------------- */

static const char *const good_meta[] = {"pattern", "attention", "params", "{\"heads\": 1, \"dim_head\": 2}",
                                        "rtol",    "0.0001",    "atol",   "1e-5",
                                        NULL};

/* One query and one key: the output is the value. */
static void write_case(const char *name, const char *const *meta, float result_value, const char *out_name)
{
    float q[] = {1, 2}, k[] = {3, 4}, v[] = {5, 6}, o[] = {result_value, 6};
    lap_tensor tensors[4];
    float *data[] = {q, k, v, o};
    for (int i = 0; i < 4; i++) {
        tensors[i] =
            (lap_tensor){.dtype = LAP_F32, .rank = 4, .shape = {1, 1, 1, 2}, .data = data[i], .n_bytes = 8};
    }
    write_tensors(name, 4, (const char *[]){"in.q", "in.k", "in.v", out_name}, tensors, meta);
}

static void test_check(void **state)
{
    (void)state;
    write_case("good.safetensors", good_meta, 5.0f, "out.o");
    write_case("wrong.safetensors", good_meta, 5.5f, "out.o");
    write_case("nan.safetensors", good_meta, NAN, "out.o");
    write_case("other.safetensors", good_meta, 5.0f, "out.p");
    expect("check @/good.safetensors --target ref", 0, "1 passed, 0 failed", "");
    expect("check @/wrong.safetensors @/good.safetensors --target ref", 1, "1 passed, 1 failed", "");
    assert_non_null(strstr(result.out, "got 5, expected 5.5"));
    expect("check @/nan.safetensors --target ref", 1, "0 passed, 1 failed", "");
    expect("check @/other.safetensors --target ref", 1, "no output 'p'", "");
    expect("check @/good.safetensors @/wrong.safetensors --target ref --json", 1, "\"failed\":\t1", "");
    cJSON *d = cJSON_Parse(result.out);
    assert_non_null(d);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(d, "cases")), 2);
    cJSON_Delete(d);
}

static void test_check_bad_cases(void **state)
{
    (void)state;
    static const struct {
        const char *meta[10], *text;
    } rows[] = {
        {{"params", "{}", "rtol", "0", "atol", "0", NULL}, "lacks the metadata 'pattern'"},
        {{"pattern", "../../evil", "params", "{}", "rtol", "0", "atol", "0", NULL}, "not a slug"},
        {{"pattern", "/etc/x.lua", "params", "{}", "rtol", "0", "atol", "0", NULL}, "not a slug"},
        {{"pattern", "attention", "params", "{}", "rtol", "nan", "atol", "0", NULL}, "not a tolerance"},
        {{"pattern", "attention", "params", "{}", "rtol", "-1", "atol", "0", NULL}, "not a tolerance"},
        {{"pattern", "attention", "params", "{}", "atol", "0", NULL}, "lacks the metadata 'rtol'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_case("case.safetensors", rows[i].meta, 5.0f, "out.o");
        expect("check @/case.safetensors --target ref", 2, rows[i].text, "");
    }
    static const char *const broken[] = {
        "{", "[]", "{\"heads\": \"x\"}", "{\"heads\": 1e99}", "{\"nope\": 1}", "null"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        const char *meta[] = {"pattern", "attention", "params", broken[i], "rtol", "0", "atol", "0", NULL};
        write_case("case.safetensors", meta, 5.0f, "out.o");
        expect("check @/case.safetensors --target ref", 2, "FAIL", "");
    }
}

static void test_check_corrupt_files(void **state)
{
    (void)state;
#define BYTES(text)                                                                                          \
    {                                                                                                        \
        text, sizeof text - 1                                                                                \
    }
    static const struct {
        const char *bytes;
        size_t n;
    } rows[] = {
        BYTES(""),
        BYTES("\1\0\0"),
        BYTES("\xff\xff\xff\xff\xff\xff\xff\x7f{}"),
        BYTES("\2\0\0\0\0\0\0\0{}"),
        BYTES("\2\0\0\0\0\0\0\0[]"),
        BYTES("\x40\0\0\0\0\0\0\0{\"out.o\":{\"dtype\":\"F32\",\"shape\":[9999999],\"data_offsets\":[0,4]}}"
              "1234"),
        BYTES("not a case at all, but quite a long text"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        folder_write(folder, "broken.safetensors", rows[i].bytes, rows[i].n);
        expect("check @/broken.safetensors --target ref", 2, "FAIL", "");
        folder_write(folder, "broken.npy", rows[i].bytes, rows[i].n);
        expect("run tests/cli/models/linear.lua --target ref --in x=@/broken.npy", 2, "", "error: ");
    }
}

/* ---- looking ------------------------------------------------------------------------------- */

static void test_info(void **state)
{
    (void)state;
    expect("info tests/cli/models/linear.lua", 0, "one linear layer", "");
    assert_non_null(strstr(result.out, "outputs"));
    expect("info tests/cli/models/two.lua --with y --json", 0, "", "");
    cJSON *d = cJSON_Parse(result.out);
    assert_non_null(d);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(d, "inputs")), 2);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(d, "outputs")), 2);
    cJSON_Delete(d);
}

static void test_list(void **state)
{
    (void)state;
    expect("list", 0, "attention", "");
    expect("list --json", 0, "\"slug\"", "");
    cJSON *d = cJSON_Parse(result.out);
    assert_non_null(d);
    assert_true(cJSON_IsArray(d));
    cJSON_Delete(d);
    const char *old = getenv("LAPPET_PLUGINS");
    char *path = old != NULL ? strdup(old) : NULL;
    setenv("LAPPET_PLUGINS", folder, 1);
    write_text("My File.lua", "what cannot be a pattern is none");
    expect("list", 2, "", "found no patterns");
    if (path != NULL) {
        setenv("LAPPET_PLUGINS", path, 1);
    } else {
        unsetenv("LAPPET_PLUGINS");
    }
    free(path);
}

static void test_dump(void **state)
{
    (void)state;
    expect("dump tests/cli/models/linear.lua", 0, "lap 1", "");
    expect("dump tests/cli/models/linear.lua --stage graph -o @/graph.lap", 0, "", "");
    assert_true(exists("graph.lap"));
    expect("dump tests/cli/models/linear.lua --stage loop", 0, "kernel", "");
    expect("dump tests/cli/models/linear.lua --stage llvm", 0, "define", "");
    expect("dump tests/cli/models/linear.lua --stage asm --triple aarch64-linux-gnu", 0, "fmla", "");
    expect("dump tests/cli/models/linear.lua --stage asm --cpu pentium-of-dreams", 3, "",
           "pentium-of-dreams");
    expect("dump tests/cli/models/linear.lua --stage asm --triple vax-dec-ultrix", 3, "", "vax");
}

/* `bench` takes the parameters that the model proposes for it, and sizes made of them. */
static void test_bench(void **state)
{
    (void)state;
    write_text("timed.lua",
               "return { params = { k = { 'int', 2 }, m = { 'int', 1 } }, inputs = { x = 'b n' },\n"
               "dims = { B = 1, N = '5*k + m' }, bench = { k = 30, m = 7 },\n"
               "build = function(g, p, t) g:output('y', t.x * 2, 'b n') end }\n");
    write_text("wrong.lua",
               "return { params = { dim = { 'int', 2 } }, inputs = { x = 'b n' }, bench = { dims = 1 },\n"
               "build = function(g, p, t) g:output('y', t.x * 2, 'b n') end }\n");
    expect("bench @/timed.lua --seconds 0 --target ref --json", 0, "\"N\":\t157", "");
    expect("bench @/timed.lua --seconds 0 --target ref --json --param k=3", 0, "\"N\":\t22", "");
    expect("run @/timed.lua --seed 1 --target ref", 0, "[1, 11]", "");
    expect("run @/wrong.lua --seed 1 --target ref", 0, "", "");
    expect("bench @/wrong.lua --target ref", 2, "", "no parameter 'dims'");
}

/* --kernels names each kernel and its line; --case keeps what was timed. */
static void test_bench_kernels(void **state)
{
    (void)state;
    const char *linear = "bench tests/cli/models/linear.lua --seconds 0 --threads 1";
    char command[256];
    snprintf(command, sizeof command, "%s --kernels", linear);
    expect(command, 0, "contract", "");
    expect(command, 0, "tests/cli/models/linear.lua:", "");
    snprintf(command, sizeof command, "%s --kernels --json", linear);
    expect(command, 0, "\"share\":", "");
    snprintf(command, sizeof command, "%s --kernels --target ref", linear);
    expect(command, 2, "", "on this processor only");
    expect("bench attention --dim N=9 --param heads=2 --seconds 0 --case @/made.safetensors", 0, "", "");
    expect("check @/made.safetensors --target ref", 0, "1 passed, 0 failed", "");
}

static void test_full_disk(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0) {
        print_message("no /dev/full here: not tried\n");
        return;
    }
    expect("run tests/cli/models/linear.lua --target ref -o /dev/full", 2, "", "error: ");
    expect("dump tests/cli/models/linear.lua -o /dev/full", 2, "", "error: ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        TEST(test_usage),
        TEST(test_scripts),
        TEST(test_warnings),
        TEST(test_proposed_sizes),
        TEST(test_run_files),
        TEST(test_run_mistakes),
        TEST(test_run_seeds),
        TEST(test_run_case),
        TEST(test_check),
        TEST(test_check_bad_cases),
        TEST(test_check_corrupt_files),
        TEST(test_info),
        TEST(test_list),
        TEST(test_dump),
        TEST(test_bench),
        TEST(test_bench_kernels),
        TEST(test_full_disk),
    };
    return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
