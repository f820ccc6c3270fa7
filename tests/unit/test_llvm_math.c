/* SPDX-License-Identifier: Apache-2.0
 * test_llvm_math.c - scalar functions in generated code against libm, on every processor level. */
#include <math.h>

#include "tests/unit/llvm_rig.h"

enum { N_POINTS = 4096, N_SPECIAL = 24 };

typedef struct unary_case {
    lap_fn fn;
    double (*want)(double);
    float lo, hi; /* the scanned range */
    double relative, absolute;
} unary_case;

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }

static double negate(double x) { return -x; }

static const unary_case unary[] = {
    {LAP_FN_EXP, exp, -110, 95, 3e-7, 1.2e-38},
    {LAP_FN_EXP, exp, -1, 1, 2e-7, 0},
    {LAP_FN_EXP2, exp2, -150, 130, 3e-7, 1.2e-38},
    {LAP_FN_EXP2, exp2, -1, 1, 2e-7, 0},
    {LAP_FN_LOG, log, 1e-30f, 10, 3e-7, 0},
    {LAP_FN_LOG, log, 0.5f, 2, 3e-7, 0},
    {LAP_FN_LOG, log, 1e-44f, 1e-38f, 3e-7, 0},
    {LAP_FN_SQRT, sqrt, 0, 1e30f, 1e-7, 0},
    {LAP_FN_TANH, tanh, -12, 12, 4e-7, 0},
    {LAP_FN_TANH, tanh, -0.7f, 0.7f, 4e-7, 0},
    {LAP_FN_SIGMOID, sigmoid, -80, 40, 4e-7, 0},
    {LAP_FN_ERF, erf, -5, 5, 6e-7, 0},
    {LAP_FN_ERF, erf, -1e-3f, 1e-3f, 6e-7, 0},
    {LAP_FN_SIN, sin, -50, 50, 4e-7, 1e-10},
    {LAP_FN_SIN, sin, 1e5f, 2e5f, 4e-7, 2e-8},
    {LAP_FN_COS, cos, -50, 50, 4e-7, 1e-10},
    {LAP_FN_COS, cos, -2e6f, -1e6f, 4e-7, 2e-8},
    {LAP_FN_FLOOR, floor, -40, 40, 0, 0},
    {LAP_FN_ROUND, rint, -40, 40, 0, 0},
    {LAP_FN_ROUND, rint, 4e6f, 2e7f, 0, 0},
    {LAP_FN_ABS, fabs, -3, 3, 0, 0},
    {LAP_FN_SIGN, sign, -3, 3, 0, 0},
    {LAP_FN_NEG, negate, -3, 3, 0, 0},
};
enum { N_UNARY = sizeof unary / sizeof *unary };

static const float special[N_SPECIAL] = {
    0.0f,   -0.0f,  INFINITY, -INFINITY, NAN,     1.0f,    -1.0f,    0.5f,   -0.5f,  1.5f,    2.5f,   -2.5f,
    88.72f, 88.73f, -87.3f,   -87.4f,    -104.0f, 3.4e38f, -3.4e38f, 1e-38f, 1e-45f, -1e-45f, 0.625f, 1e7f};

static bool is_close(double got, double want, double relative, double absolute)
{
    want = (double)(float)want;
    if (isnan(want) || isinf(want) || isnan(got) || isinf(got)) {
        return isnan(want) ? isnan(got) : got == want;
    }
    return fabs(got - want) <= absolute + relative * fabs(want) || (relative == 0 && got == want);
}

/* y[j] = fn(x[j]) over a vector loop. */
static void unary_kernel(rig *r, lap_fn fn, const char *name)
{
    lap_graph *k = rig_kernel(r, name);
    lap_ref x = lap_k_global(k, 0, LAP_F32), y = lap_k_global(k, 1, LAP_F32);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, rig_size(r, k, "G", 1), 0, NULL);
    lap_k_loop v = lap_k_for(k, LAP_LOOP_VECTOR, rig_size(r, k, "N", N_POINTS + N_SPECIAL), 0, NULL);
    lap_k_store(k, y, v.index, lap_map1(k, fn, lap_k_load(k, x, v.index, LAP_NONE)), LAP_NONE);
    lap_k_end(k, &v, NULL, NULL);
    lap_k_end(k, &grid, NULL, NULL);
}

static void fill_unary(const unary_case *c, float *x)
{
    for (int i = 0; i < N_POINTS; i++) {
        double t = (double)i / (N_POINTS - 1);
        x[i] = (float)(c->lo + t * ((double)c->hi - c->lo));
    }
    memcpy(x + N_POINTS, special, sizeof special);
}

static void check_unary(rig *r, const char *cpu, uint32_t i)
{
    static float x[N_POINTS + N_SPECIAL], y[N_POINTS + N_SPECIAL];
    fill_unary(&unary[i], x);
    void *buffers[] = {x, y};
    assert_int_equal(rig_call(r, i, buffers, 0, 1, NULL), 0);
    for (int j = 0; j < N_POINTS + N_SPECIAL; j++) {
        bool is_scan = j < N_POINTS;
        double want = unary[i].want((double)x[j]);
        double relative = is_scan || unary[i].relative == 0 ? unary[i].relative : 1e-6;
        double absolute = is_scan ? unary[i].absolute : fmax(unary[i].absolute, 1.2e-38);
        bool is_wild = (unary[i].fn == LAP_FN_SIN || unary[i].fn == LAP_FN_COS) && fabs((double)x[j]) > 1e9;
        if (!is_wild && !is_close((double)y[j], want, relative, absolute)) {
            fail_msg("%s on %s: f(%.9g) = %.9g, expected %.9g", lap_fn_text(unary[i].fn),
                     cpu ? cpu : "native", (double)x[j], (double)y[j], want);
        }
    }
}

static void test_unary(void **state)
{
    (void)state;
    const char *cpus[8];
    size_t n = rig_cpus(cpus);
    rig r = rig_new();
    for (uint32_t i = 0; i < N_UNARY; i++) {
        unary_kernel(&r, unary[i].fn, lap_arena_printf(r.ctx->arena, "unary%u", i));
    }
    for (size_t c = 0; c < n; c++) {
        rig_compile(&r, cpus[c]);
        for (uint32_t i = 0; i < N_UNARY; i++) {
            check_unary(&r, cpus[c], i);
        }
    }
    rig_free(&r);
}

/* ---- two operands ---- */

typedef struct binary_case {
    lap_fn fn;
    double (*want)(double, double);
    double relative;
} binary_case;

static double float_mod(double a, double b) { return a - floor((double)(float)(a / b)) * b; }

static double float_idiv(double a, double b) { return floor((double)(float)(a / b)); }

static double smaller(double a, double b) { return isnan(a) || isnan(b) ? NAN : a < b ? a : b; }

static double larger(double a, double b) { return isnan(a) || isnan(b) ? NAN : a > b ? a : b; }

static double plus(double a, double b) { return a + b; }

static double quotient(double a, double b) { return a / b; }

static const binary_case binary[] = {
    {LAP_FN_POW, pow, 6e-7},      {LAP_FN_MOD, float_mod, 1e-5}, {LAP_FN_IDIV, float_idiv, 0},
    {LAP_FN_MIN, smaller, 0},     {LAP_FN_MAX, larger, 0},       {LAP_FN_ADD, plus, 1e-7},
    {LAP_FN_DIV, quotient, 3e-7},
};
enum { N_BINARY = sizeof binary / sizeof *binary };

static void binary_kernel(rig *r, lap_fn fn, const char *name, lap_dtype type)
{
    lap_graph *k = rig_kernel(r, name);
    lap_ref a = lap_k_global(k, 0, type), b = lap_k_global(k, 1, type), y = lap_k_global(k, 2, type);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, rig_size(r, k, "G", 1), 0, NULL);
    lap_k_loop v = lap_k_for(k, LAP_LOOP_VECTOR, rig_size(r, k, "N", 0), 0, NULL);
    lap_ref x = lap_k_load(k, a, v.index, LAP_NONE), z = lap_k_load(k, b, v.index, LAP_NONE);
    lap_k_store(k, y, v.index, lap_map2(k, fn, x, z), LAP_NONE);
    lap_k_end(k, &v, NULL, NULL);
    lap_k_end(k, &grid, NULL, NULL);
}

static const float bases[] = {0.0f,     -0.0f,     1.0f,  -1.0f,      2.0f,    -2.0f, 0.5f,
                              -0.5f,    3.7f,      -3.7f, 10.0f,      1e-3f,   1e10f, 1e-40f,
                              INFINITY, -INFINITY, NAN,   1.0000001f, 0.9999f, -7.0f};
enum { N_BASES = sizeof bases / sizeof *bases };

static void check_binary(rig *r, const char *cpu, uint32_t i)
{
    float a[N_BASES * N_BASES], b[N_BASES * N_BASES], y[N_BASES * N_BASES];
    for (int j = 0; j < N_BASES * N_BASES; j++) {
        a[j] = bases[j / N_BASES];
        b[j] = bases[j % N_BASES];
    }
    void *buffers[] = {a, b, y};
    assert_int_equal(rig_call(r, i, buffers, 0, 1, NULL), 0);
    for (int j = 0; j < N_BASES * N_BASES; j++) {
        double want = binary[i].want((double)a[j], (double)b[j]);
        bool is_mod = binary[i].fn == LAP_FN_MOD || binary[i].fn == LAP_FN_IDIV;
        bool is_wild = is_mod && (isinf(b[j]) || b[j] == 0 || fabs((double)a[j] / (double)b[j]) > 1e5);
        double absolute = binary[i].fn == LAP_FN_MOD ? 1.2e-7 * fabs((double)a[j]) : 1.2e-38;
        if (!is_wild && !is_close((double)y[j], want, binary[i].relative, absolute)) {
            fail_msg("%s on %s: f(%.9g, %.9g) = %.9g, expected %.9g", lap_fn_text(binary[i].fn),
                     cpu ? cpu : "native", (double)a[j], (double)b[j], (double)y[j], want);
        }
    }
}

static void test_binary(void **state)
{
    (void)state;
    const char *cpus[8];
    size_t n = rig_cpus(cpus);
    rig r = rig_new();
    for (uint32_t i = 0; i < N_BINARY; i++) {
        binary_kernel(&r, binary[i].fn, lap_arena_printf(r.ctx->arena, "binary%u", i), LAP_F32);
    }
    rig_size(&r, r.kernels[0].graph, "N", N_BASES * N_BASES);
    for (size_t c = 0; c < n; c++) {
        rig_compile(&r, cpus[c]);
        for (uint32_t i = 0; i < N_BINARY; i++) {
            check_binary(&r, cpus[c], i);
        }
    }
    rig_free(&r);
}

/* ---- integers ---- */

static int64_t int_want(lap_fn fn, int64_t a, int64_t b)
{
    int64_t q = b == 0 ? 0 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
    bool is_off = b != 0 && b != -1 && a % b != 0 && (a < 0) != (b < 0);
    q -= is_off;
    switch (fn) {
    case LAP_FN_IDIV:
        return q;
    case LAP_FN_MOD:
        return b == 0 ? 0 : (int64_t)((uint64_t)a - (uint64_t)q * (uint64_t)b);
    case LAP_FN_MIN:
        return a < b ? a : b;
    case LAP_FN_MAX:
        return a > b ? a : b;
    case LAP_FN_MUL:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    default:
        return (int64_t)((uint64_t)a - (uint64_t)b);
    }
}

static void test_integers(void **state)
{
    (void)state;
    static const lap_fn fns[] = {LAP_FN_IDIV, LAP_FN_MOD, LAP_FN_MIN, LAP_FN_MAX, LAP_FN_MUL, LAP_FN_SUB};
    static const int64_t values[] = {0,  1,  -1,  2,       -2,        3,         -3,       7,
                                     -7, 16, -16, 1000003, INT64_MAX, INT64_MIN, 1ll << 40};
    enum { N_VALUES = sizeof values / sizeof *values, N_PAIRS = N_VALUES * N_VALUES };
    const char *cpus[8];
    size_t n = rig_cpus(cpus);
    rig r = rig_new();
    for (uint32_t i = 0; i < 6; i++) {
        binary_kernel(&r, fns[i], lap_arena_printf(r.ctx->arena, "int%u", i), LAP_I64);
    }
    rig_size(&r, r.kernels[0].graph, "N", N_PAIRS);
    for (size_t c = 0; c < n; c++) {
        rig_compile(&r, cpus[c]);
        for (uint32_t i = 0; i < 6; i++) {
            int64_t a[N_PAIRS], b[N_PAIRS], y[N_PAIRS];
            for (int j = 0; j < N_PAIRS; j++) {
                a[j] = values[j / N_VALUES];
                b[j] = values[j % N_VALUES];
            }
            void *buffers[] = {a, b, y};
            assert_int_equal(rig_call(&r, i, buffers, 0, 1, NULL), 0);
            for (int j = 0; j < N_PAIRS; j++) {
                if (y[j] != int_want(fns[i], a[j], b[j])) {
                    fail_msg("%s(%lld, %lld) = %lld", lap_fn_text(fns[i]), (long long)a[j], (long long)b[j],
                             (long long)y[j]);
                }
            }
        }
    }
    rig_free(&r);
}

/* Division by constants: x // c and x % c for each c, over numbers around 0. */
static void test_constant_divisors(void **state)
{
    (void)state;
    static const int64_t divisors[] = {1, 2, 3, 8, 10, -1, -2, -3, 0, 1ll << 62, INT64_MIN};
    enum { N_DIVISORS = sizeof divisors / sizeof *divisors, N_X = 64 };
    rig r = rig_new();
    lap_graph *k = rig_kernel(&r, "divide");
    lap_ref x = lap_k_global(k, 0, LAP_I64), y = lap_k_global(k, 1, LAP_I64);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, rig_size(&r, k, "N", N_X), 0, NULL);
    lap_ref a = lap_k_load(k, x, grid.index, LAP_NONE);
    for (uint32_t i = 0; i < N_DIVISORS; i++) {
        lap_ref c = lap_const_i(k, divisors[i]);
        lap_ref at =
            lap_map2(k, LAP_FN_ADD, lap_map2(k, LAP_FN_MUL, grid.index, lap_const_i(k, 2 * N_DIVISORS)),
                     lap_const_i(k, 2 * i));
        lap_k_store(k, y, at, lap_map2(k, LAP_FN_IDIV, a, c), LAP_NONE);
        lap_k_store(k, y, lap_map2(k, LAP_FN_ADD, at, lap_const_i(k, 1)), lap_map2(k, LAP_FN_MOD, a, c),
                    LAP_NONE);
    }
    lap_k_end(k, &grid, NULL, NULL);
    rig_compile(&r, NULL);
    int64_t in[N_X], out[N_X * 2 * N_DIVISORS];
    for (int i = 0; i < N_X; i++) {
        in[i] = i == 0 ? INT64_MIN : i == 1 ? INT64_MAX : i - 32;
    }
    void *buffers[] = {in, out};
    assert_int_equal(rig_call(&r, 0, buffers, 0, N_X, NULL), 0);
    for (int i = 0; i < N_X; i++) {
        for (int j = 0; j < N_DIVISORS; j++) {
            const int64_t *got = &out[(i * N_DIVISORS + j) * 2];
            assert_int_equal(got[0], int_want(LAP_FN_IDIV, in[i], divisors[j]));
            assert_int_equal(got[1], int_want(LAP_FN_MOD, in[i], divisors[j]));
        }
    }
    rig_free(&r);
}

/* ---- conversions ---- */

typedef struct cast_case {
    lap_fn fn;
    float x;
    int64_t want;
} cast_case;

static void test_casts(void **state)
{
    (void)state;
    static const cast_case cases[] = {
        {LAP_FN_INT, 2.9f, 2},
        {LAP_FN_INT, -2.9f, -2},
        {LAP_FN_INT, NAN, 0},
        {LAP_FN_INT, 1e30f, INT64_MAX},
        {LAP_FN_INT, -INFINITY, INT64_MIN},
        {LAP_FN_TO_I8, 200, 127},
        {LAP_FN_TO_I8, -129, -128},
        {LAP_FN_TO_I4, 8, 7},
        {LAP_FN_TO_I4, -9, -8},
        {LAP_FN_TO_I32, 1e20f, INT32_MAX},
        {LAP_FN_TO_I32, NAN, 0},
        {LAP_FN_TO_I8, 5.7f, 5},
    };
    enum { N_CASES = sizeof cases / sizeof *cases };
    const char *cpus[8];
    size_t n = rig_cpus(cpus);
    rig r = rig_new();
    lap_graph *k = rig_kernel(&r, "casts");
    lap_ref x = lap_k_global(k, 0, LAP_F32), y = lap_k_global(k, 1, LAP_I64);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, rig_size(&r, k, "G", 1), 0, NULL);
    for (uint32_t i = 0; i < N_CASES; i++) {
        lap_ref at = lap_const_i(k, i);
        lap_ref cast = lap_map1(k, cases[i].fn, lap_k_load(k, x, at, LAP_NONE));
        lap_k_store(k, y, at, lap_map1(k, LAP_FN_INT, cast), LAP_NONE);
    }
    lap_k_end(k, &grid, NULL, NULL);
    float in[N_CASES];
    for (uint32_t i = 0; i < N_CASES; i++) {
        in[i] = cases[i].x;
    }
    for (size_t c = 0; c < n; c++) {
        int64_t out[N_CASES] = {0};
        void *buffers[] = {in, out};
        rig_compile(&r, cpus[c]);
        assert_int_equal(rig_call(&r, 0, buffers, 0, 1, NULL), 0);
        for (uint32_t i = 0; i < N_CASES; i++) {
            assert_int_equal(out[i], cases[i].want);
        }
    }
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unary),    cmocka_unit_test(test_binary),
        cmocka_unit_test(test_integers), cmocka_unit_test(test_constant_divisors),
        cmocka_unit_test(test_casts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
