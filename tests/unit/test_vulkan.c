/* SPDX-License-Identifier: Apache-2.0
 * test_vulkan.c - what can go wrong with a Vulkan device: none, lost, hung, out of memory, without a
 * feature, too small; pipeline caches that are damaged or of another device. Each is an error that says
 * so, or a cache made anew. And functions of shaders against the C library in double precision. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "codegen/spirv/spirv.h"
#include "passes/passes.h"
#include "runtime/vk/vk.h"

/* y = 2 x and the sum of all x, on a device. */
typedef struct rig {
    lap_ctx *ctx;
    lap_vk *vk;
    lap_exec *exec;
    lap_fault fault;
} rig;

static const char doubling[] = "lap 1\n"
                               "graph @doubling {\n"
                               "  %1 = input i64[n=N] {name=\"x\" layout=\"n\"}\n"
                               "  %2 = const i64 {value=2}\n"
                               "  %3 = map i64[n=N] %1 %2 {fn=mul}\n"
                               "  %4 = reduce i64 %1 {red=sum over=\"n\"}\n"
                               "  output \"sum\" %4 {layout=\"\"}\n"
                               "  output \"y\" %3 {layout=\"n\"}\n"
                               "}\n";

static rig rig_open(void)
{
    rig r = {.ctx = lap_ctx_new(0)};
    r.vk = lap_vk_open(NULL, &r.fault);
    if (!r.vk) {
        fail_msg("no device: %s", r.fault.text);
    }
    return r;
}

static bool rig_compile_text(rig *r, const char *text)
{
    lap_graph *g;
    lap_program *program;
    lap_spirv code;
    const lap_target *target = lap_vk_target(lap_vk_info_of(r->vk)->subgroup_size);
    assert_true(lap_graph_parse(r->ctx, "text", text, strlen(text), &g));
    assert_true(lap_lower(g, target, &(lap_pass_options){.verify = true}, &program));
    assert_true(lap_spirv_make(program, target, &code, &r->fault));
    r->exec = lap_vk_exec_open(r->vk, code.image, code.n_image, code.kernels, NULL, &r->fault);
    return r->exec != NULL;
}

static bool rig_compile(rig *r) { return rig_compile_text(r, doubling); }

static void rig_free(rig *r)
{
    if (r->exec) {
        lap_exec_close(r->exec);
    }
    lap_vk_close(r->vk);
    lap_ctx_free(r->ctx);
}

static bool rig_run(rig *r, int64_t n)
{
    int64_t x[64], sum = 0;
    assert_true(n <= 64);
    for (int64_t i = 0; i < n; i++) {
        x[i] = (i << 33) - 5;
        sum += x[i];
    }
    lap_tensor in = {.dtype = LAP_I64, .rank = 1, .shape = {n}, .data = x, .n_bytes = (size_t)n * 8};
    lap_tensor out[2] = {{.data = NULL}, {.data = NULL}};
    r->fault = (lap_fault){0};
    if (!lap_exec_run(r->exec, &in, out, &r->fault)) {
        return false;
    }
    assert_int_equal(lap_tensor_get_int(&out[0], 0), sum);
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(lap_tensor_get_int(&out[1], (size_t)i), 2 * x[i]);
    }
    return true;
}

static void assert_fault(const rig *r, lap_code code, const char *part)
{
    if (r->fault.code != code || !strstr(r->fault.text, part)) {
        fail_msg("code %d, '%s'; expected code %d, '..%s..'", (int)r->fault.code, r->fault.text, (int)code,
                 part);
    }
}

/* The device's description, to take features away. */
static lap_vk_info *facts_of(rig *r) { return (lap_vk_info *)(uintptr_t)lap_vk_info_of(r->vk); }

static void test_runs(void **state)
{
    (void)state;
    rig r = rig_open();
    assert_true(rig_compile(&r));
    for (int64_t n = 0; n <= 64; n += 7) {
        assert_true(rig_run(&r, n));
    }
    assert_true(lap_exec_workspace(r.exec) > 0);
    rig_free(&r);
}

static void test_no_device(void **state)
{
    (void)state;
    rig r = {.ctx = NULL};
    assert_null(lap_vk_open("no such device", &r.fault));
    assert_fault(&r, LAP_NO_DEVICE, "no Vulkan device 'no such device'");
    assert_null(lap_vk_open("9999", &r.fault));
    assert_fault(&r, LAP_NO_DEVICE, "no Vulkan device '9999'");
    setenv("LAPPET_VULKAN_LOADER", "/nowhere/libvulkan.so.1", 1);
    assert_null(lap_vk_open(NULL, &r.fault));
    assert_fault(&r, LAP_NO_DEVICE, "no Vulkan loader (/nowhere/libvulkan.so.1)");
    lap_vk_info *all;
    uint32_t n;
    assert_false(lap_vk_list(&all, &n, &r.fault));
    setenv("LAPPET_VULKAN_LOADER", "libm.so.6", 1);
    assert_null(lap_vk_open(NULL, &r.fault));
    assert_fault(&r, LAP_NO_DEVICE, "has no vkGetInstanceProcAddr");
    unsetenv("LAPPET_VULKAN_LOADER");
    assert_true(lap_vk_list(&all, &n, &r.fault));
    assert_true(n > 0 && all[0].name[0] != '\0' && all[0].subgroup_size > 0);
    free(all);
}

static void test_loss(void **state)
{
    (void)state;
    static const struct {
        lap_vk_mishap mishap;
        const char *text;
    } rows[] = {{LAP_VK_LOSS, "was lost"}, {LAP_VK_HANG, "does not answer"}};
    for (size_t i = 0; i < 2; i++) {
        rig r = rig_open();
        assert_true(rig_compile(&r));
        assert_true(rig_run(&r, 10));
        lap_vk_inject(r.vk, rows[i].mishap, 0);
        assert_false(rig_run(&r, 10));
        assert_fault(&r, LAP_NO_DEVICE, rows[i].text);
        assert_false(rig_run(&r, 12));
        assert_fault(&r, LAP_NO_DEVICE, "was lost");
        rig_free(&r);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    rig r = rig_open();
    assert_true(rig_compile(&r));
    for (uint32_t after = 0; after < 3; after++) {
        lap_vk_inject(r.vk, LAP_VK_NO_MEMORY, after);
        assert_false(rig_run(&r, 8));
        assert_fault(&r, LAP_BAD_INPUT, "out of memory on ");
        lap_vk_inject(r.vk, LAP_VK_NO_MEMORY, UINT32_MAX - 1);
        assert_true(rig_run(&r, 8));
        lap_exec_close(r.exec);
        assert_true(rig_compile(&r));
    }
    facts_of(&r)->allocation_bytes = 300;
    assert_false(rig_run(&r, 64));
    assert_fault(&r, LAP_BAD_INPUT, "bytes are needed at once");
    rig_free(&r);
}

static void test_lacks(void **state)
{
    (void)state;
    rig r = rig_open();
    uint32_t has = lap_vk_info_of(r.vk)->has;
    facts_of(&r)->has = 0;
    assert_false(rig_compile(&r));
    assert_fault(&r, LAP_NO_DEVICE, "lacks 64-bit integers (shaderInt64)");
    facts_of(&r)->has = has;
    facts_of(&r)->storage_buffers = 1;
    assert_false(rig_compile(&r));
    assert_fault(&r, LAP_NO_DEVICE, "buffers");
    facts_of(&r)->storage_buffers = 64;
    assert_true(rig_compile(&r));
    facts_of(&r)->buffer_bytes = 100;
    assert_true(rig_run(&r, 4));
    assert_false(rig_run(&r, 40));
    assert_fault(&r, LAP_NO_DEVICE, "needs a buffer of 320 bytes");
    facts_of(&r)->buffer_bytes = 1 << 20;
    facts_of(&r)->most_rounds = 2;
    assert_false(rig_run(&r, 41));
    assert_fault(&r, LAP_NO_DEVICE, "round its loops");
    rig_free(&r);
}

/* ---- launches in several shares ---- */

/* Attention of one head, the keys' maximum before it, and a sum that checks what it reads. */
static const char long_rows[] =
    "lap 1\n"
    "graph @long {\n"
    "  %q = input f32[i=N d=4] {name=\"q\" layout=\"i d\"}\n"
    "  %k = input f32[j=M d=4] {name=\"k\" layout=\"j d\"}\n"
    "  %p = input i64[j=M] {name=\"p\" layout=\"j\"}\n"
    "  %qk = map f32[i=N d=4 j=M] %q %k {fn=mul}\n"
    "  %s = reduce f32[i=N j=M] %qk {red=sum over=\"d\"}\n"
    "  %i = index i64[i=N] {axis=i}\n"
    "  %j = index i64[j=M] {axis=j}\n"
    "  %w = map bool[j=M i=N] %j %i {fn=ge}\n"
    "  %a = attend %s %w %k {parts=[{keys=\"j\" score=0 where=1 value=2}] norm=softmax empty=0.0}\n"
    "  %o = result f32[i=N d=4] %a {which=\"out\"}\n"
    "  %most = reduce f32[d=4] %k {red=max over=\"j\"}\n"
    "  %total = reduce i64 %p {red=sum over=\"j\"}\n"
    "  output \"o\" %o {layout=\"i d\"}\n"
    "  output \"most\" %most {layout=\"d\"}\n"
    "  output \"total\" %total {layout=\"\"}\n"
    "}\n";

enum { LONG_N = 37, LONG_M = 1500, LONG_D = 4, LONG_OUT = LONG_N * LONG_D + LONG_D + 1 };

static bool run_long(rig *r, double *out)
{
    static float q[LONG_N * LONG_D], k[LONG_M * LONG_D];
    static int64_t p[LONG_M];
    for (int i = 0; i < LONG_M * LONG_D; i++) {
        k[i] = (float)((i * 7919 + 13) % 1009) / 500 - 1;
        q[i % (LONG_N * LONG_D)] = (float)(i * 31 % 101) / 50 - 1;
        p[i / LONG_D] = (int64_t)i << 20;
    }
    lap_tensor in[] = {{LAP_F32, 2, {LONG_N, LONG_D}, q, sizeof q},
                       {LAP_F32, 2, {LONG_M, LONG_D}, k, sizeof k},
                       {LAP_I64, 1, {LONG_M}, p, sizeof p}};
    lap_tensor named[3], got[3] = {{.data = NULL}, {.data = NULL}, {.data = NULL}};
    for (uint32_t i = 0; i < 3; i++) {
        named[i] = in[strchr("qkp", lap_exec_name(r->exec, LAP_LEAF_INPUT, i)[0]) - "qkp"];
    }
    r->fault = (lap_fault){0};
    if (!lap_exec_run(r->exec, named, got, &r->fault)) {
        return false;
    }
    for (uint32_t i = 0, n = 0; i < 3; i++) {
        size_t count = 0;
        assert_true(lap_tensor_count(&got[i], &count));
        for (size_t at = 0; at < count; at++) {
            out[n++] = got[i].dtype == LAP_I64 ? (double)lap_tensor_get_int(&got[i], at)
                                               : lap_tensor_get(&got[i], at);
        }
    }
    return true;
}

/* A driver that ends loops early gives the same as one that does not: work is shared out among launches. */
static void test_shares(void **state)
{
    (void)state;
    static const uint64_t limits[] = {65535, 20000, 9000, 6000, 400};
    static double want[LONG_OUT], got[LONG_OUT];
    rig r = rig_open();
    facts_of(&r)->most_rounds = 0;
    assert_true(rig_compile_text(&r, long_rows));
    assert_true(run_long(&r, want));
    lap_exec_close(r.exec);
    uint32_t n_done = 0;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        facts_of(&r)->most_rounds = limits[i];
        assert_true(rig_compile_text(&r, long_rows));
        bool ran = run_long(&r, got);
        if (!ran) { /* a step alone is too much */
            assert_fault(&r, LAP_NO_DEVICE, "in one step");
        }
        for (int n = 0; ran && n < LONG_OUT; n++) {
            if (fabs(got[n] - want[n]) > 1e-5 * (1 + fabs(want[n]))) {
                fail_msg("limit %d, element %d: got %.9g, expected %.9g", (int)limits[i], n, got[n], want[n]);
            }
        }
        n_done += ran;
        lap_exec_close(r.exec);
    }
    r.exec = NULL;
    assert_true(n_done >= 3);
    rig_free(&r);
}

/* ---- the cache ---- */

static char folder[64];

static size_t read_cache(char *path, size_t n_path, unsigned char *bytes, size_t most)
{
    char command[128];
    snprintf(command, sizeof command, "ls %s/vulkan-* 2>/dev/null", folder);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    char *line = fgets(path, (int)n_path, list);
    pclose(list);
    if (!line) {
        return 0;
    }
    path[strcspn(path, "\n")] = '\0';
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(bytes, 1, most, f);
    fclose(f);
    return n;
}

static void run_once(void)
{
    rig r = rig_open();
    assert_true(rig_compile(&r));
    assert_true(rig_run(&r, 20));
    rig_free(&r);
}

static void test_cache(void **state)
{
    (void)state;
    static unsigned char good[1 << 20], now[1 << 20];
    char path[256];
    snprintf(folder, sizeof folder, "/tmp/lappet-cache-%ld/deep", (long)getpid());
    setenv("LAPPET_CACHE", folder, 1);
    run_once();
    size_t n = read_cache(path, sizeof path, good, sizeof good);
    assert_true(n > 0);
    /* a byte of the head (another device), of the contents, a file cut short, an empty one, one too long */
    const size_t at[] = {12, n - 1, n, n, n}, lengths[] = {n, n, n / 2, 0, n + 1};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        memcpy(now, good, n);
        now[at[i]] ^= 1;
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(now, 1, lengths[i], f), lengths[i]);
        fclose(f);
        run_once();
        assert_int_equal(read_cache(path, sizeof path, now, sizeof now), n);
        assert_memory_equal(now, good, 8);
        assert_true(memcmp(now + 12, good + 12, 16) == 0);
    }
    remove(path);
    remove(folder);
    *strrchr(folder, '/') = '\0';
    remove(folder);
    setenv("LAPPET_CACHE", "/proc/nowhere", 1); /* that cannot be written: no error */
    run_once();
    setenv("LAPPET_CACHE", "", 1);
}

/* ---- functions ---- */

enum { N_X = 4096 };

typedef struct function {
    const char *name;
    double (*of)(double);
    double ulps;
} function;

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static const function functions[] = {
    {"cos", cos, 4},    {"erf", erf, 8},         {"exp", exp, 4}, {"floor", floor, 0}, {"log", log, 4},
    {"round", rint, 0}, {"sigmoid", sigmoid, 8}, {"sin", sin, 4}, {"sqrt", sqrt, 4},   {"tanh", tanh, 8},
};
enum { N_FUNCTIONS = sizeof functions / sizeof *functions };

static void make_x(float *x)
{
    static const float special[] = {
        0,          -0.0f,      1,      -1,      INFINITY,   -INFINITY,  NAN,        88.7f,
        88.73f,     -87.3f,     -87.4f, -104,    0.5f,       1.5f,       2.5f,       -2.5f,
        1e5f,       -3e6f,      1e9f,   0.625f,  -0.6f,      4,          3.99f,      1e-30f,
        3.1415927f, 1.5707964f, -1e22f, 3.4e38f, 16367173.f, 0.7853982f, -4.712389f, 6381956970095103.f};
    enum { N_SPECIAL = sizeof special / sizeof *special };
    uint32_t seed = 1;
    for (int i = 0; i < N_X; i++) {
        seed = seed * 1664525u + 1013904223u;
        float unit = (float)(seed >> 8) / (float)(1 << 23) - 1;
        x[i] = i < N_SPECIAL ? special[i] : i % 2 ? 4 * unit : 80 * unit;
    }
}

/* In units of the last place of the result; results below the least normal number may be 0. */
static bool is_close(double got, double want, double ulps)
{
    const double least = 1.17549435e-38;
    if (isnan(want) || isinf(want) || fabs(want) > 3.4028235e38) {
        return isnan(want) ? isnan(got) : isinf(got) && (got > 0) == (want > 0);
    }
    int e;
    frexp(fabs(want) < least ? least : want, &e);
    return fabs(got - want) <= ldexp(ulps + 0.5, e - 24) + (fabs(want) < least ? least : 0);
}

static void test_functions(void **state)
{
    (void)state;
    static float x[N_X];
    char text[4096] = "lap 1\ngraph @f {\n  %1 = input f32[n=N] {name=\"x\" layout=\"n\"}\n";
    for (int i = 0; i < N_FUNCTIONS; i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n,
                 "  %%%d = map f32[n=N] %%1 {fn=%s}\n  output \"%s\" %%%d {layout=\"n\"}\n", i + 2,
                 functions[i].name, functions[i].name, i + 2);
    }
    size_t end = strlen(text);
    snprintf(text + end, sizeof text - end, "}\n");
    rig r = rig_open();
    assert_true(rig_compile_text(&r, text));
    make_x(x);
    lap_tensor in = {.dtype = LAP_F32, .rank = 1, .shape = {N_X}, .data = x, .n_bytes = sizeof x};
    lap_tensor out[N_FUNCTIONS] = {{.data = NULL}};
    assert_true(lap_exec_run(r.exec, &in, out, &r.fault));
    for (int f = 0; f < N_FUNCTIONS; f++) {
        assert_string_equal(lap_exec_name(r.exec, LAP_LEAF_OUTPUT, (uint32_t)f), functions[f].name);
        for (int i = 0; i < N_X; i++) {
            double got = lap_tensor_get(&out[f], (size_t)i), want = functions[f].of((double)x[i]);
            if (!is_close(got, want, functions[f].ulps)) {
                fail_msg("%s(%.9g) = %.9g, expected %.9g", functions[f].name, (double)x[i], got, want);
            }
        }
    }
    rig_free(&r);
}

/* All pairs of some bases and exponents, among them all that is special. */
static void test_pow(void **state)
{
    (void)state;
    static const float special[] = {0,     -0.0f, 1,     -1,    2,     -2,    INFINITY, -INFINITY,
                                    NAN,   0.5f,  -0.5f, 3,     -3,    1e-3f, 1e3f,     10,
                                    -10,   0.99f, 1.01f, 1.5f,  127,   -126,  1e9f,     1e-9f,
                                    7.25f, 20.f,  0.1f,  -0.1f, 3e38f, 1e-38f};
    enum { N_SPECIAL = sizeof special / sizeof *special, N_EACH = 64, N_PAIRS = N_EACH * N_EACH };
    static float a[N_PAIRS], b[N_PAIRS];
    for (int i = 0; i < N_PAIRS; i++) {
        int row = i / N_EACH, col = i % N_EACH;
        a[i] = row < N_SPECIAL ? special[row] : (float)exp2((row - 45) * 0.73);
        b[i] = col < N_SPECIAL ? special[col] : (float)((col - 45) * 0.817);
    }
    rig r = rig_open();
    assert_true(rig_compile_text(&r, "lap 1\n"
                                     "graph @f {\n"
                                     "  %1 = input f32[n=N] {name=\"a\" layout=\"n\"}\n"
                                     "  %2 = input f32[n=N] {name=\"b\" layout=\"n\"}\n"
                                     "  %3 = map f32[n=N] %1 %2 {fn=pow}\n"
                                     "  output \"y\" %3 {layout=\"n\"}\n"
                                     "}\n"));
    lap_tensor in[] = {{LAP_F32, 1, {N_PAIRS}, a, sizeof a}, {LAP_F32, 1, {N_PAIRS}, b, sizeof b}};
    lap_tensor out = {.data = NULL};
    assert_true(lap_exec_run(r.exec, in, &out, &r.fault));
    for (int i = 0; i < N_PAIRS; i++) {
        double got = lap_tensor_get(&out, (size_t)i), want = pow((double)a[i], (double)b[i]);
        if (!is_close(got, want, 4)) {
            fail_msg("pow(%.9g, %.9g) = %.9g, expected %.9g", (double)a[i], (double)b[i], got, want);
        }
    }
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),      cmocka_unit_test(test_no_device), cmocka_unit_test(test_loss),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_lacks),     cmocka_unit_test(test_cache),
        cmocka_unit_test(test_functions), cmocka_unit_test(test_shares),    cmocka_unit_test(test_pow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
