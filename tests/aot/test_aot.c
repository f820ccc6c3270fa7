/* SPDX-License-Identifier: Apache-2.0
 * test_aot.c - artefacts from outside: built, inspected, linked from C, run, also for another processor.
 *
 * LAPPET names the binary; the working folder is the source tree. */
#include "tests/aot/linear_rig.h"

#include <signal.h>
#include <sys/stat.h>

#define LINEAR "build tests/cli/models/linear.lua --param out=2 "

static void assert_only(const char *const *names)
{
    run("ls -A @/out", 0);
    char want[512] = "";
    for (; *names != NULL; names++) {
        strcat(want, *names);
        strcat(want, "\n");
    }
    assert_string_equal(result.out, want);
}

/* ---- kinds --------------------------------------------------------------------------------- */

static void test_header(void **state)
{
    (void)state;
    run("! " LINEAR "-o @/out --kind object", 0);
    assert_only((const char *[]){"linear.h", "linear.o", NULL});
    static const char only[] = "#include \"out/linear.h\"\nint x;\n";
    folder_write(folder, "only.c", only, sizeof only - 1);
    run("cc -std=c99 -Wall -Wextra -Wpedantic -Werror -c @/only.c -o @/only.o", 0);
    run("cc -x c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -c @/only.c -o @/only.o",
        process_has("c++") ? 0 : 1);
    run("cat @/out/linear.h", 0);
    assert_non_null(strstr(result.out, "weight: f32 [2, N]"));
    assert_non_null(strstr(result.out, "x: f32 [B, N]"));
}

static void test_object(void **state)
{
    (void)state;
    run("! " LINEAR "-o @/out --kind object", 0);
    run("cc -std=c99 -Wall -Werror -I@/out tests/aot/call.c @/out/linear.o -lm -lpthread -o @/call", 0);
    run("@/call @/w.safetensors", 0);
    assert_string_equal(result.out, "good\n");
    run("@/call @/x.npy", 1);
    assert_non_null(strstr(result.out, "open: "));
}

static void test_static(void **state)
{
    (void)state;
    run("! " LINEAR "-o @/out --kind static", 0);
    assert_only((const char *[]){"liblinear.a", "linear.h", NULL});
    run("cc -std=c99 -I@/out tests/aot/call.c -L@/out -llinear -lm -lpthread -o @/call", 0);
    run("@/call @/w.safetensors", 0);
    run("ar t @/out/liblinear.a", 0);
    assert_string_equal(result.out, "linear.o\n");
}

static void test_shared(void **state)
{
    (void)state;
    run("! " LINEAR "-o @/out --kind shared", 0);
    assert_only((const char *[]){"liblinear.so", "linear.h", NULL});
    char line[1024];
    snprintf(line, sizeof line,
             "cc -std=c99 -I@/out tests/aot/call.c -L@/out -llinear -Wl,-rpath,%s/out -o @/call", folder);
    run(line, 0);
    run("@/call @/w.safetensors", 0);
}

static void test_exe(void **state)
{
    (void)state;
    run("! " LINEAR "-o @/out --kind exe", 0);
    assert_only((const char *[]){"linear", "linear.h", NULL});
    run("@/out/linear --in x=@/x.npy --weights @/w.safetensors -o @/y.safetensors", 0);
    run("! run tests/cli/models/linear.lua --param out=2 --in x=@/x.npy --weights @/w.safetensors -o "
        "@/z.safetensors",
        0);
    run("cmp @/y.safetensors @/z.safetensors", 0);
    run("@/out/linear --in x=@/x.npy -o @/y2.safetensors", 2);
    run("@/out/linear --in x=@/w.npy --weights @/w.safetensors -o @/y2.safetensors", 2);
    run("@/out/linear --in q=@/x.npy --weights @/w.safetensors -o @/y2.safetensors", 2);
    run("@/out/linear --nonsense", 2);
    assert_int_equal(access(folder_path(folder, "y2.safetensors"), F_OK), -1);
}

/* ---- what is inside ------------------------------------------------------------------------ */

/* Every line of `text` starts (after columns) with a name that has the prefix. */
static void assert_all_named(const char *text, const char *prefix)
{
    unsigned n = 0;
    char *copy = strdup(text);
    for (char *rest = copy, *line; (line = strtok_r(rest, "\n", &rest)) != NULL; n++) {
        const char *name = strrchr(line, ' ');
        name = name != NULL ? name + 1 : line;
        if (strncmp(name, prefix, strlen(prefix)) != 0) {
            print_error("unexpected symbol '%s'\n", name);
            fail();
        }
    }
    free(copy);
    assert_int_equal(n, 8);
}

static void test_symbols(void **state)
{
    (void)state;
    run("! " LINEAR "-o @/out --kind shared", 0);
    run("nm -D --defined-only @/out/liblinear.so", 0);
    assert_all_named(result.out, "linear_");
    run("readelf -d @/out/liblinear.so", 0);
    static const char *const allowed[] = {"libc.so.6", "libm.so.6", "libpthread.so.0",
                                          "ld-linux-x86-64.so.2"};
    for (char *rest = result.out, *line; (line = strtok_r(rest, "\n", &rest)) != NULL;) {
        bool known = strstr(line, "(NEEDED)") == NULL;
        for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
            known = known || strstr(line, allowed[i]) != NULL;
        }
        assert_true(known);
        assert_null(strstr(line, "TEXTREL"));
    }
    run("! " LINEAR "-o @/out --kind object", 0);
    run("nm -g --defined-only @/out/linear.o", 0);
    assert_all_named(result.out, "linear_");
    run("readelf -lW @/out/liblinear.so", 0);
    assert_null(strstr(result.out, "RWE"));
}

static void test_two_in_one(void **state)
{
    (void)state;
    run("! " LINEAR "-o @/out --kind object --name first", 0);
    run("! " LINEAR "-o @/out --kind static --name second", 0);
    run("cc -std=c99 -I@/out tests/aot/two.c @/out/first.o @/out/libsecond.a -lm -lpthread -o @/two", 0);
    run("@/two @/w.safetensors", 0);
}

static void test_embedded(void **state)
{
    (void)state;
    run("! " LINEAR "-o @/out --kind object --weights @/w.safetensors --embed-weights", 0);
    run("cc -std=c99 -I@/out tests/aot/call.c @/out/linear.o -lm -lpthread -o @/call", 0);
    run("@/call", 0);
    run("! " LINEAR "-o @/exe --kind exe --weights @/w.safetensors --embed-weights", 0);
    run("@/exe/linear --in x=@/x.npy -o @/y.safetensors", 0);
}

static void test_levels(void **state)
{
    (void)state;
    run("! " LINEAR "-o @/out --kind object --cpu x86-64,x86-64-v3,x86-64-v4 --json", 0);
    assert_non_null(strstr(result.out, "\"cpus\":\t[\"x86-64-v4\", \"x86-64-v3\", \"x86-64\"]"));
    run("cc -std=c99 -I@/out tests/aot/call.c @/out/linear.o -lm -lpthread -o @/call", 0);
    run("@/call @/w.safetensors", 0);
    if (process_has("qemu-x86_64")) {
        run("qemu-x86_64 -cpu Nehalem @/call @/w.safetensors", 0);
        run("! " LINEAR "-o @/out --kind object --cpu x86-64-v4", 0);
        run("cc -std=c99 -I@/out tests/aot/call.c @/out/linear.o -lm -lpthread -o @/call", 0);
        run("qemu-x86_64 -cpu Nehalem @/call @/w.safetensors", 1);
        assert_non_null(strstr(result.out, "open: "));
    }
}

static void test_aarch64(void **state)
{
    (void)state;
    if (!process_has("aarch64-linux-gnu-gcc") || !process_has("qemu-aarch64")) {
        return;
    }
    run("! " LINEAR "-o @/out --kind object --triple aarch64-linux-gnu", 0);
    run("aarch64-linux-gnu-gcc -std=c99 -I@/out tests/aot/call.c @/out/linear.o -lm -lpthread -o @/call", 0);
    run("qemu-aarch64 -L /usr/aarch64-linux-gnu @/call @/w.safetensors", 0);
    run("! " LINEAR "-o @/exe --kind exe --triple aarch64-linux-gnu", 0);
    run("qemu-aarch64 -L /usr/aarch64-linux-gnu @/exe/linear --in x=@/x.npy --weights @/w.safetensors -o "
        "@/y.safetensors",
        0);
    run("! run tests/cli/models/linear.lua --param out=2 --in x=@/x.npy --weights @/w.safetensors -o "
        "@/z.safetensors",
        0);
    run("cmp @/y.safetensors @/z.safetensors", 0);
    run("! " LINEAR "-o @/shared --kind shared --triple aarch64-linux-gnu", 0);
    run("aarch64-linux-gnu-readelf -h @/shared/liblinear.so", 0);
    assert_non_null(strstr(result.out, "AArch64"));
}

/* ---- mistakes ------------------------------------------------------------------------------ */

static void test_mistakes(void **state)
{
    (void)state;
    folder_write(folder, "file", "", 0);
    run("! " LINEAR "-o @/file", 2);
    run("! " LINEAR "-o @/no/such/folder", 2);
    run("! " LINEAR "-o @/out --triple riscv64-linux-gnu", 3);
    run("! " LINEAR "-o @/out --triple x86_64-pc-windows-msvc", 3);
    run("! " LINEAR "-o @/out --cpu none-such", 3);
    run("! " LINEAR "-o @/out --cpu x86-64,,x86-64-v3", 2);
    run("! " LINEAR "-o @/out --weights @/x.npy", 2);
    char *path = strdup(getenv("PATH"));
    setenv("PATH", folder, 1);
    process_result r;
    const char *out = folder_path(folder, "out");
    process_run((const char *[]){lappet_path(), "build", "tests/cli/models/linear.lua", "-o", out, NULL}, &r);
    setenv("PATH", path, 1);
    free(path);
    assert_int_equal(r.status, 3);
    assert_non_null(strstr(r.err, "found no linker"));
    assert_only((const char *[]){NULL});
}

/* Whenever a build is stopped, the folder holds all of the result or nothing. */
static void test_interrupt(void **state)
{
    (void)state;
    char *out = strdup(folder_path(folder, "out"));
    const char *argv[] = {lappet_path(), "build", "tests/cli/models/linear.lua", "-o", out, NULL};
    for (unsigned delay = 0; delay < 300000; delay += 20000) {
        process_interrupt(argv, delay, &result);
        assert_true(result.status == 0 || result.status == 2 || result.status == 128 + SIGINT);
        run("find @ -name .lappet*", 0);
        assert_string_equal(result.out, "");
        bool has_library = access(folder_path(folder, "out/liblinear.so"), F_OK) == 0;
        assert_int_equal(has_library, access(folder_path(folder, "out/linear.h"), F_OK) == 0);
        unlink(folder_path(folder, "out/liblinear.so"));
        unlink(folder_path(folder, "out/linear.h"));
    }
    free(out);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_inputs, remove_folder)
    const struct CMUnitTest tests[] = {
        TEST(test_header), TEST(test_object),  TEST(test_static),     TEST(test_shared),
        TEST(test_exe),    TEST(test_symbols), TEST(test_two_in_one), TEST(test_embedded),
        TEST(test_levels), TEST(test_aarch64), TEST(test_mistakes),   TEST(test_interrupt),
    };
    return cmocka_run_group_tests_name("aot", tests, NULL, NULL);
}
