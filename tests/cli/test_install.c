/* SPDX-License-Identifier: Apache-2.0
 * test_install.c - an installation works from wherever it lies, without the tree it was built from. */
#include "tests/support/command_rig.h"

static int install(void **state)
{
    make_folder(state);
    unsetenv("LAPPET_PLUGINS");
    run_line("cmake --install " LAP_BINARY_DIR " --prefix @/first");
    if (result.status != 0) {
        print_error("%s\n", result.err);
        return -1;
    }
    return rename(folder_path(folder, "first"), folder_path(folder, "moved"));
}

static void test_patterns(void **state)
{
    (void)state;
    expect_line("@/moved/bin/lappet list", 0, "attention", "");
    expect_line("@/moved/bin/lappet run attention --dim N=5 --target ref", 0, "f32[", "");
}

static void test_artefacts(void **state)
{
    (void)state;
    expect_line("@/moved/bin/lappet build tests/cli/models/linear.lua -o @/out --kind exe", 0, "/out/linear",
                "");
    expect_line("@/out/linear --help", 0, "usage: ", "");
}

static void test_operations_in_c(void **state)
{
    (void)state;
    expect_line("cc -std=c17 -shared -fPIC -I@/moved/include/lappet examples/foreign/ops.c -o @/ops.so", 0,
                "", "");
    expect_line("@/moved/bin/lappet run examples/foreign/model.lua --foreign @/ops.so --target ref", 0,
                "f32[", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_artefacts),
        cmocka_unit_test(test_operations_in_c),
    };
    return cmocka_run_group_tests_name("install", tests, install, remove_folder);
}
