/* SPDX-License-Identifier: Apache-2.0
 * test_aot_vulkan.c - artefacts for Vulkan devices from outside: linked, run, and without a device.
 *
 * LAPPET names the binary; the working folder is the source tree; LAPPET_DEVICE names a device. */
#include "tests/aot/linear_rig.h"

#define LINEAR     "! build tests/cli/models/linear.lua --param out=2 "
#define FILES      "--in x=@/x.npy --weights @/w.safetensors -o @/y.safetensors "
#define NO_LOADER  "env LAPPET_VULKAN_LOADER=/none "
#define CASE       "tests/patterns/attention/band.safetensors"
#define CASE_FILES "--in q=" CASE ":in.q --in k=" CASE ":in.k --in v=" CASE ":in.v "
#define CASE_MODEL "attention --param heads=2 --param dim_head=4 --param window=4 --param scale=0.7 "

static void test_kinds(void **state)
{
    (void)state;
    run(LINEAR "-o @/out --kind object --target vulkan", 0);
    run("cc -std=c99 -Wall -Wextra -Wpedantic -Werror -I@/out tests/aot/call.c @/out/linear.o -lm -lpthread "
        "-ldl -o @/call",
        0);
    run("@/call @/w.safetensors", 0);
    run(LINEAR "-o @/out --kind static --target cpu,vulkan", 0);
    run("cc -std=c99 -I@/out tests/aot/call.c -L@/out -llinear -lm -lpthread -ldl -o @/call", 0);
    run("@/call @/w.safetensors", 0);
    run("env LAPPET_TARGET=cpu @/call @/w.safetensors", 0);
    expect_line(NO_LOADER "@/call @/w.safetensors", 1, "there is no Vulkan loader", "");
    run(LINEAR "-o @/out --kind shared --target vulkan --weights @/w.safetensors --embed-weights", 0);
    char line[1024];
    snprintf(line, sizeof line,
             "cc -std=c99 -I@/out tests/aot/call.c -L@/out -llinear -Wl,-rpath,%s/out -o @/call", folder);
    run(line, 0);
    run("@/call", 0);
    run("readelf -d @/out/liblinear.so", 0);
    assert_null(strstr(result.out, "vulkan"));
}

/* The same bytes as a run in memory on the same device. */
static void test_attention(void **state)
{
    (void)state;
    run("! build " CASE_MODEL "-o @/out --kind exe --target cpu,vulkan", 0);
    run("! run " CASE_MODEL CASE_FILES "--target vulkan -o @/z.safetensors", 0);
    run("@/out/attention " CASE_FILES "-o @/y.safetensors", 0);
    run("cmp @/y.safetensors @/z.safetensors", 0);
    run("! run " CASE_MODEL CASE_FILES "--target cpu -o @/z.safetensors", 0);
    run("@/out/attention " CASE_FILES "--target cpu -o @/y.safetensors", 0);
    run("cmp @/y.safetensors @/z.safetensors", 0);
}

/* The processor is taken for a device only where that is asked for. */
static void test_choice(void **state)
{
    (void)state;
    run(LINEAR "-o @/both --kind exe --target cpu,vulkan", 0);
    run(LINEAR "-o @/device --kind exe --target vulkan", 0);
    run(LINEAR "-o @/cpu --kind exe", 0);
    expect_line(NO_LOADER "@/both/linear " FILES, 3, "", "there is no Vulkan loader");
    expect_line(NO_LOADER "@/device/linear " FILES, 3, "", "there is no Vulkan loader");
    expect_line("@/both/linear " FILES "--device no-such", 3, "", "there is no Vulkan device 'no-such'");
    expect_line("@/device/linear " FILES "--target cpu", 3, "", "code for Vulkan devices alone");
    expect_line("@/cpu/linear " FILES "--target vulkan", 3, "", "code for processors alone");
    expect_line("@/both/linear " FILES "--target vulkan,", 2, "", "there is no target ''");
    expect_line("@/both/linear " FILES "--target cpu,gpu", 2, "", "there is no target 'gpu'");
    expect_line(NO_LOADER "@/device/linear " FILES "--target vulkan,cpu", 3, "", "there is no Vulkan loader");
    assert_false(exists("y.safetensors"));
    run(NO_LOADER "@/both/linear " FILES "--target vulkan,cpu", 0);
    run(NO_LOADER "LAPPET_TARGET=vulkan,cpu @/both/linear " FILES, 0);
    run(NO_LOADER "@/both/linear " FILES "--target cpu", 0);
    run(NO_LOADER "@/cpu/linear " FILES, 0);
}

/* Artefacts for processors alone have nothing of the Vulkan runtime in them. */
static void test_contents(void **state)
{
    (void)state;
    run(LINEAR "-o @/out --kind object", 0);
    run("nm @/out/linear.o", 0);
    assert_null(strstr(result.out, "lap_vk_"));
    assert_null(strstr(result.out, "dlopen"));
    expect_line(LINEAR "-o @/out --kind object --target vulkan --json", 0, "\"targets\":\t[\"vulkan\"]", "");
    expect_line(LINEAR "-o @/out --kind object --target vulkan,cpu --json", 0, "[\"cpu\", \"vulkan\"]", "");
    expect_line("cat @/out/linear.h", 0, "LAPPET_TARGET=vulkan,cpu", "");
    expect_line(LINEAR "-o @/out --target ref", 2, "", "--target of 'build'");
    expect_line(LINEAR "-o @/out --target vulkan --cpu x86-64", 2, "", "--cpu is of no use");
    expect_line(LINEAR "-o @/out --target vulkan --triple none", 3, "", "error");
}

/* Another platform: no device there under emulation, but a clean refusal, and the processor's code. */
static void test_aarch64(void **state)
{
    (void)state;
    if (!process_has("aarch64-linux-gnu-gcc") || !process_has("qemu-aarch64")) {
        return;
    }
    run(LINEAR "-o @/out --kind exe --target cpu,vulkan --triple aarch64-linux-gnu", 0);
    expect_line("env LAPPET_VULKAN_LOADER=/none qemu-aarch64 -L /usr/aarch64-linux-gnu @/out/linear " FILES,
                3, "", "there is no Vulkan loader");
    run("qemu-aarch64 -L /usr/aarch64-linux-gnu @/out/linear " FILES "--target cpu", 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_inputs, remove_folder)
    const struct CMUnitTest tests[] = {
        TEST(test_kinds), TEST(test_attention), TEST(test_choice), TEST(test_contents), TEST(test_aarch64),
    };
    return cmocka_run_group_tests_name("aot_vulkan", tests, NULL, NULL);
}
