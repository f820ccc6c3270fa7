/* SPDX-License-Identifier: Apache-2.0
 * test_llvm.c - loops, loads and stores in generated code against plain loops: every element type,
 * every tail, masks, gathers, reductions, nested loops, on every processor level. */
#include <math.h>

#include "tests/unit/llvm_rig.h"

enum { MAX_N = 100, GUARD = 16, MAX_BYTES = (MAX_N + 2 * GUARD) * 8 };

/* Extents: 0 .. 40 at run time, and these as constants. */
static const int64_t constant_sizes[] = {3, 8, 17, 49, 100};
enum { N_CONSTANT = sizeof constant_sizes / sizeof *constant_sizes, N_RUN = 41 };

/* Body of a vector loop over N, in a grid of one. */
typedef void body_fn(rig *r, lap_graph *k, lap_ref index, void *user);

static void vector_kernel(rig *r, const char *name, int64_t constant, body_fn *body, void *user)
{
    lap_graph *k = rig_kernel(r, name);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, rig_size(r, k, "G", 1), 0, NULL);
    lap_ref extent = constant > 0 ? lap_const_i(k, constant) : rig_size(r, k, "N", 0);
    lap_k_loop v = lap_k_for(k, LAP_LOOP_VECTOR, extent, 0, NULL);
    body(r, k, v.index, user);
    lap_k_end(k, &v, NULL, NULL);
    lap_k_end(k, &grid, NULL, NULL);
}

/* Kernel 0 takes its extent at run time, kernel 1 + i is constant_sizes[i]. */
static void all_sizes(rig *r, body_fn *body, void *user)
{
    for (uint32_t i = 0; i <= N_CONSTANT; i++) {
        vector_kernel(r, lap_arena_printf(r->ctx->arena, "k%u", i), i ? constant_sizes[i - 1] : 0, body,
                      user);
    }
}

typedef void check_fn(rig *r, uint32_t kernel, int64_t n, void *user);

/* On every `step`-th processor level and this machine's own. */
static void check_sizes(rig *r, check_fn *check, void *user, size_t step)
{
    const char *cpus[8];
    size_t n_cpus = rig_cpus(cpus);
    for (size_t c = 0; c < n_cpus; c += step) {
        rig_compile(r, cpus[c]);
        for (int64_t n = 0; n < N_RUN; n++) {
            rig_size(r, r->kernels[0].graph, "N", n);
            check(r, 0, n, user);
        }
        for (uint32_t i = 0; i < N_CONSTANT; i++) {
            check(r, i + 1, constant_sizes[i], user);
        }
    }
}

/* ---- copies between element types ---- */

typedef struct copy {
    lap_dtype from, to;
    int64_t from_at, to_at;
} copy;

static void copy_body(rig *r, lap_graph *k, lap_ref index, void *user)
{
    (void)r;
    const copy *c = user;
    lap_ref x = lap_k_global(k, 0, c->from), y = lap_k_global(k, 1, c->to);
    lap_ref v = lap_k_load(k, x, lap_map2(k, LAP_FN_ADD, index, lap_const_i(k, c->from_at)), LAP_NONE);
    lap_dtype from = lap_dtype_compute(c->from), to = lap_dtype_compute(c->to);
    if (from != to) {
        v = to == LAP_F32 ? lap_map1(k, LAP_FN_FLOAT, v)
            : to == LAP_I64
                ? lap_map1(k, LAP_FN_INT, v)
                : lap_map2(k, LAP_FN_NE, v, from == LAP_F32 ? lap_const_f(k, 0) : lap_const_i(k, 0));
    }
    lap_k_store(k, y, lap_map2(k, LAP_FN_ADD, index, lap_const_i(k, c->to_at)), v, LAP_NONE);
}

static void check_copy(rig *r, uint32_t kernel, int64_t n, void *user)
{
    static uint32_t seed = 3;
    const copy *c = user;
    int64_t in[MAX_BYTES / 8], out[MAX_BYTES / 8], want_bytes[MAX_BYTES / 8];
    memset(in, 0, sizeof in);
    memset(out, 0x55, sizeof out);
    memset(want_bytes, 0x55, sizeof want_bytes);
    lap_tensor x = {.dtype = c->from, .rank = 1, .shape = {MAX_N + GUARD}, .data = in};
    lap_tensor want = {.dtype = c->to, .rank = 1, .shape = {MAX_N + GUARD}, .data = want_bytes};
    for (int64_t i = 0; i < n; i++) {
        double v = c->from == LAP_BOOL                     ? rig_random(&seed) % 2
                   : lap_dtype_compute(c->from) == LAP_I64 ? (double)(rig_random(&seed) % 16) - 8
                                                           : 20 * (double)rig_float(&seed);
        lap_tensor_set(&x, (size_t)(i + c->from_at), v);
        v = lap_tensor_get(&x, (size_t)(i + c->from_at));
        if (lap_dtype_compute(c->to) == LAP_BOOL) {
            v = v != 0;
        } else if (lap_dtype_compute(c->to) == LAP_I64) {
            v = trunc(v);
            v = c->to == LAP_I4 ? fmin(fmax(v, -8), 7) : v;
        }
        lap_tensor_set(&want, (size_t)(i + c->to_at), v);
    }
    void *buffers[] = {in, out};
    assert_int_equal(rig_call(r, kernel, buffers, 0, 1, NULL), 0);
    if (memcmp(out, want_bytes, sizeof out) != 0) {
        fail_msg("%s to %s, %lld elements", lap_dtype_text(c->from), lap_dtype_text(c->to), (long long)n);
    }
}

static void test_types(void **state)
{
    (void)state;
    static const lap_dtype pairs[][2] = {
        {LAP_F32, LAP_F32},  {LAP_F32, LAP_F16},  {LAP_F16, LAP_F32},   {LAP_F32, LAP_BF16},
        {LAP_BF16, LAP_F32}, {LAP_I64, LAP_I64},  {LAP_I32, LAP_I64},   {LAP_F32, LAP_I32},
        {LAP_I8, LAP_F32},   {LAP_I64, LAP_I8},   {LAP_I4, LAP_F32},    {LAP_I8, LAP_I4},
        {LAP_BOOL, LAP_F32}, {LAP_F32, LAP_BOOL}, {LAP_BOOL, LAP_BOOL},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        rig r = rig_new();
        copy c = {pairs[i][0], pairs[i][1], (int64_t)(i % 3), (int64_t)(i % 2)};
        all_sizes(&r, copy_body, &c);
        check_sizes(&r, check_copy, &c, 1 + i % 3);
        rig_free(&r);
    }
}

/* ---- addressing ---- */

/* out[i] gets elements read in several ways: by table, backwards, at strides, one for all, under a
 * mask; written in several ways. */
static void address_body(rig *r, lap_graph *k, lap_ref i, void *user)
{
    (void)user;
    lap_ref x = lap_k_global(k, 0, LAP_F32), table = lap_k_global(k, 1, LAP_I32),
            out = lap_k_global(k, 2, LAP_F32);
    lap_ref flags = lap_k_global(k, 3, LAP_BOOL), bytes = lap_k_global(k, 4, LAP_I8);
    lap_ref three = lap_const_i(k, 3), stride = rig_size(r, k, "stride", 2);
    lap_ref flag = lap_k_load(k, flags, i, LAP_NONE);
    lap_ref by_table = lap_k_load(k, x, lap_k_load(k, table, i, LAP_NONE), LAP_NONE);
    lap_ref backwards = lap_k_load(k, x, lap_map2(k, LAP_FN_SUB, lap_const_i(k, MAX_N), i), LAP_NONE);
    lap_ref third = lap_k_load(k, x, lap_map2(k, LAP_FN_MUL, i, three), LAP_NONE);
    lap_ref run_time = lap_k_load(k, x, lap_map2(k, LAP_FN_MUL, i, stride), LAP_NONE);
    lap_ref one = lap_k_load(k, x, stride, flag);
    lap_ref masked = lap_k_load(k, x, i, flag);
    lap_ref byte = lap_map1(k, LAP_FN_FLOAT, lap_k_load(k, bytes, lap_map2(k, LAP_FN_MUL, i, three), flag));
    lap_ref below = lap_map2(k, LAP_FN_LT, lap_map2(k, LAP_FN_MUL, i, three), lap_const_i(k, 40));
    lap_ref few = lap_k_load(k, x, i, below);
    const lap_ref parts[] = {by_table, backwards, third, run_time, one, masked, byte, few};
    for (uint32_t j = 0; j < 8; j++) {
        lap_ref at = lap_map2(k, LAP_FN_ADD, i, lap_const_i(k, j * MAX_N));
        lap_k_store(k, out, at, parts[j], LAP_NONE);
    }
    lap_ref at = lap_map2(k, LAP_FN_ADD, lap_map2(k, LAP_FN_MUL, i, three), lap_const_i(k, 8 * MAX_N));
    lap_k_store(k, out, at, masked, LAP_NONE);
    at = lap_map2(k, LAP_FN_SUB, lap_const_i(k, 12 * MAX_N), i);
    lap_k_store(k, out, at, by_table, flag);
    lap_region_id region = lap_k_if(k, flag);
    at = lap_map2(k, LAP_FN_ADD, lap_k_load(k, table, i, LAP_NONE), lap_const_i(k, 12 * MAX_N + 1));
    lap_k_store(k, out, at, lap_k_load(k, x, stride, LAP_NONE), LAP_NONE);
    lap_k_end_if(k, region, flag);
}

static void check_address(rig *r, uint32_t kernel, int64_t n, void *user)
{
    (void)user;
    static uint32_t seed = 5;
    static float x[4 * MAX_N], out[14 * MAX_N], want[14 * MAX_N];
    static int32_t table[MAX_N];
    static uint8_t flags[MAX_N];
    static int8_t bytes[4 * MAX_N];
    for (int i = 0; i < 4 * MAX_N; i++) {
        x[i] = rig_float(&seed);
        bytes[i] = (int8_t)rig_random(&seed);
    }
    for (int64_t i = 0; i < MAX_N; i++) {
        table[i] = (int32_t)(i * 37 % MAX_N);
        flags[i] = rig_random(&seed) % 3 != 0;
    }
    for (int i = 0; i < 14 * MAX_N; i++) {
        out[i] = want[i] = -7;
    }
    for (int64_t i = 0; i < n; i++) {
        float masked = flags[i] ? x[i] : 0;
        const float parts[] = {x[table[i]],
                               x[MAX_N - i],
                               x[3 * i],
                               x[2 * i],
                               flags[i] ? x[2] : 0,
                               masked,
                               flags[i] ? bytes[3 * i] : 0,
                               3 * i < 40 ? x[i] : 0};
        for (int j = 0; j < 8; j++) {
            want[i + j * MAX_N] = parts[j];
        }
        want[8 * MAX_N + 3 * i] = masked;
        if (flags[i]) {
            want[12 * MAX_N - i] = x[table[i]];
            want[12 * MAX_N + 1 + table[i]] = x[2];
        }
    }
    void *buffers[] = {x, table, out, flags, bytes};
    assert_int_equal(rig_call(r, kernel, buffers, 0, 1, NULL), 0);
    for (int i = 0; i < 14 * MAX_N; i++) {
        if (memcmp(&out[i], &want[i], sizeof *out) != 0) {
            fail_msg("%lld elements: out[%d * %d + %d] = %g, expected %g", (long long)n, i / MAX_N, MAX_N,
                     i % MAX_N, (double)out[i], (double)want[i]);
        }
    }
}

static void test_addresses(void **state)
{
    (void)state;
    rig r = rig_new();
    all_sizes(&r, address_body, NULL);
    check_sizes(&r, check_address, NULL, 1);
    rig_free(&r);
}

/* ---- reductions ---- */

enum { N_FOLDS = 8 };

static void fold_kernel(rig *r, const char *name, int64_t constant)
{
    lap_graph *k = rig_kernel(r, name);
    lap_ref x = lap_k_global(k, 0, LAP_F32), n = lap_k_global(k, 1, LAP_I64);
    lap_ref out = lap_k_global(k, 2, LAP_F32), out_n = lap_k_global(k, 3, LAP_I64);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, rig_size(r, k, "G", 1), 0, NULL);
    lap_ref init[N_FOLDS] = {lap_const_f(k, 3),     lap_const_f(k, 2),    lap_const_f(k, 0.25),
                             lap_const_f(k, -0.25), lap_const_i(k, 5),    lap_const_i(k, -100),
                             lap_const_b(k, true),  lap_const_b(k, false)};
    lap_ref extent = constant > 0 ? lap_const_i(k, constant) : rig_size(r, k, "N", 0);
    lap_k_loop v = lap_k_for(k, LAP_LOOP_VECTOR, extent, N_FOLDS, init);
    lap_ref a = lap_k_load(k, x, v.index, LAP_NONE), b = lap_k_load(k, n, v.index, LAP_NONE);
    lap_ref near =
        lap_map2(k, LAP_FN_ADD, lap_map2(k, LAP_FN_MUL, a, lap_const_f(k, 0.125)), lap_const_f(k, 1));
    lap_ref is_up = lap_map2(k, LAP_FN_GT, a, lap_const_f(k, -0.9));
    lap_ref is_far = lap_map2(k, LAP_FN_GT, a, lap_const_f(k, 0.9));
    lap_ref next[N_FOLDS] = {
        lap_map2(k, LAP_FN_ADD, lap_map2(k, LAP_FN_ADD, v.carried[0], a), lap_const_f(k, 0.5)),
        lap_map2(k, LAP_FN_MUL, v.carried[1], near),
        lap_map2(k, LAP_FN_MIN, a, v.carried[2]),
        lap_map2(k, LAP_FN_MAX, v.carried[3], a),
        lap_map2(k, LAP_FN_ADD, v.carried[4], b),
        lap_map2(k, LAP_FN_MAX, v.carried[5], lap_map2(k, LAP_FN_SUB, b, v.index)),
        lap_map2(k, LAP_FN_AND, v.carried[6], is_up),
        lap_map2(k, LAP_FN_OR, v.carried[7], is_far)};
    lap_ref final[N_FOLDS];
    lap_k_end(k, &v, next, final);
    for (uint32_t i = 0; i < N_FOLDS; i++) {
        lap_ref value = i < 6 ? final[i] : lap_map1(k, LAP_FN_INT, final[i]);
        lap_k_store(k, i < 4 ? out : out_n, lap_const_i(k, i), value, LAP_NONE);
    }
    lap_k_end(k, &grid, NULL, NULL);
}

static void check_fold(rig *r, uint32_t kernel, int64_t n, void *user)
{
    (void)user;
    static uint32_t seed = 9;
    float x[MAX_N], out[N_FOLDS];
    int64_t b[MAX_N], out_n[N_FOLDS];
    double want[4] = {3, 2, 0.25, -0.25};
    int64_t want_n[4] = {5, -100, 1, 0};
    for (int64_t i = 0; i < MAX_N; i++) {
        x[i] = rig_float(&seed);
        b[i] = (int64_t)rig_random(&seed) - (1 << 23);
    }
    for (int64_t i = 0; i < n; i++) {
        want[0] += (double)x[i] + 0.5;
        want[1] *= (double)x[i] * 0.125 + 1;
        want[2] = fmin(want[2], (double)x[i]);
        want[3] = fmax(want[3], (double)x[i]);
        want_n[0] += b[i];
        want_n[1] = b[i] - i > want_n[1] ? b[i] - i : want_n[1];
        want_n[2] = want_n[2] && x[i] > -0.9f;
        want_n[3] = want_n[3] || x[i] > 0.9f;
    }
    void *buffers[] = {x, b, out, out_n};
    assert_int_equal(rig_call(r, kernel, buffers, 0, 1, NULL), 0);
    for (int i = 0; i < 4; i++) {
        if (fabs((double)out[i] - want[i]) > 1e-5 * (1 + fabs(want[i]))) {
            fail_msg("fold %d of %lld: %g, expected %g", i, (long long)n, (double)out[i], want[i]);
        }
        assert_int_equal(out_n[i + 4], want_n[i]);
    }
    if (n > 0) {
        x[n / 2] = NAN;
        assert_int_equal(rig_call(r, kernel, buffers, 0, 1, NULL), 0);
        for (int i = 0; i < 4; i++) {
            assert_true(isnan(out[i]));
        }
    }
}

static void test_folds(void **state)
{
    (void)state;
    rig r = rig_new();
    for (uint32_t i = 0; i <= N_CONSTANT; i++) {
        fold_kernel(&r, lap_arena_printf(r.ctx->arena, "fold%u", i), i ? constant_sizes[i - 1] : 0);
    }
    check_sizes(&r, check_fold, NULL, 1);
    rig_free(&r);
}

/* ---- loops inside vector loops ---- */

/* out[i] = sum over j < len[i] of x[j*i] * j, ragged; out2[i] = sum over j < 5 of x[i+j]; and
 * out3[i] = number of halvings of i until 0, at most 7. */
static void nest_body(rig *r, lap_graph *k, lap_ref i, void *user)
{
    (void)user;
    lap_ref x = lap_k_global(k, 0, LAP_F32), lengths = lap_k_global(k, 1, LAP_I64),
            out = lap_k_global(k, 2, LAP_F32);
    lap_ref zero = lap_const_f(k, 0);
    lap_k_loop ragged = lap_k_for(k, LAP_LOOP_SERIAL, lap_k_load(k, lengths, i, LAP_NONE), 1, &zero);
    lap_ref at = lap_map2(k, LAP_FN_MUL, ragged.index, i);
    lap_ref term = lap_map2(k, LAP_FN_MUL, lap_k_load(k, x, at, LAP_NONE), ragged.index);
    lap_ref next = lap_map2(k, LAP_FN_ADD, ragged.carried[0], term), final;
    lap_k_store(k, out, lap_map2(k, LAP_FN_ADD, i, lap_const_i(k, 3 * MAX_N)), next, LAP_NONE);
    lap_k_end(k, &ragged, &next, &final);
    lap_k_store(k, out, i, final, LAP_NONE);
    lap_k_loop even = lap_k_for(k, LAP_LOOP_SERIAL, rig_size(r, k, "taps", 5), 1, &zero);
    term = lap_k_load(k, x, lap_map2(k, LAP_FN_ADD, i, even.index), LAP_NONE);
    next = lap_map2(k, LAP_FN_ADD, even.carried[0], term);
    lap_k_end(k, &even, &next, &final);
    lap_k_store(k, out, lap_map2(k, LAP_FN_ADD, i, lap_const_i(k, MAX_N)), final, LAP_NONE);
    lap_ref init[2] = {i, lap_const_i(k, 0)}, two[2], ends[2];
    lap_k_loop halve = lap_k_for(k, LAP_LOOP_UNROLL, lap_const_i(k, 7), 2, init);
    lap_ref is_left = lap_map2(k, LAP_FN_GT, halve.carried[0], lap_const_i(k, 0));
    two[0] = lap_map2(k, LAP_FN_IDIV, halve.carried[0], lap_const_i(k, 2));
    two[1] = lap_map2(k, LAP_FN_ADD, halve.carried[1], is_left);
    lap_k_end(k, &halve, two, ends);
    at = lap_map2(k, LAP_FN_ADD, i, lap_const_i(k, 2 * MAX_N));
    lap_k_store(k, out, at, lap_map1(k, LAP_FN_FLOAT, ends[1]), LAP_NONE);
}

static void check_nest(rig *r, uint32_t kernel, int64_t n, void *user)
{
    (void)user;
    static uint32_t seed = 13;
    static float x[10 * MAX_N], out[4 * MAX_N], want[4 * MAX_N];
    int64_t lengths[MAX_N];
    for (int i = 0; i < 10 * MAX_N; i++) {
        x[i] = rig_float(&seed);
    }
    for (int i = 0; i < 4 * MAX_N; i++) {
        out[i] = want[i] = -7;
    }
    for (int64_t i = 0; i < n; i++) {
        lengths[i] = rig_random(&seed) % 10;
        want[i] = want[i + MAX_N] = want[i + 2 * MAX_N] = 0;
        for (int64_t j = 0; j < lengths[i]; j++) {
            want[i] += x[j * i] * (float)j;
            want[i + 3 * MAX_N] = want[i];
        }
        for (int64_t j = 0; j < 5; j++) {
            want[i + MAX_N] += x[i + j];
        }
        for (int64_t v = i; v > 0; v /= 2) {
            want[i + 2 * MAX_N]++;
        }
    }
    void *buffers[] = {x, lengths, out};
    assert_int_equal(rig_call(r, kernel, buffers, 0, 1, NULL), 0);
    for (int i = 0; i < 4 * MAX_N; i++) {
        if (fabsf(out[i] - want[i]) > 1e-5f * (1 + fabsf(want[i]))) {
            fail_msg("%lld elements: out[%d * %d + %d] = %g, expected %g", (long long)n, i / MAX_N, MAX_N,
                     i % MAX_N, (double)out[i], (double)want[i]);
        }
    }
}

static void test_nests(void **state)
{
    (void)state;
    rig r = rig_new();
    all_sizes(&r, nest_body, NULL);
    check_sizes(&r, check_nest, NULL, 1);
    rig_free(&r);
}

/* A reduction that goes through an inner loop, and one that the rule does not allow, which must
 * then run in order. */
static void test_fold_through_loop(void **state)
{
    (void)state;
    rig r = rig_new();
    lap_graph *k = rig_kernel(&r, "through");
    lap_ref x = lap_k_global(k, 0, LAP_F32), out = lap_k_global(k, 1, LAP_F32);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, rig_size(&r, k, "G", 1), 0, NULL);
    lap_ref init[2] = {lap_const_f(k, 1), lap_const_f(k, 1)}, next[2], final[2];
    lap_k_loop v = lap_k_for(k, LAP_LOOP_VECTOR, rig_size(&r, k, "N", 37), 1, init);
    lap_k_loop s = lap_k_for(k, LAP_LOOP_SERIAL, rig_size(&r, k, "M", 3), 1, &v.carried[0]);
    lap_ref at = lap_map2(k, LAP_FN_ADD, lap_map2(k, LAP_FN_MUL, s.index, lap_const_i(k, 37)), v.index);
    next[0] = lap_map2(k, LAP_FN_ADD, s.carried[0], lap_k_load(k, x, at, LAP_NONE));
    lap_k_end(k, &s, next, final);
    lap_k_end(k, &v, final, next);
    lap_k_store(k, out, lap_const_i(k, 0), next[0], LAP_NONE);
    lap_k_loop o = lap_k_for(k, LAP_LOOP_VECTOR, lap_const_i(k, 37), 1, init + 1);
    lap_ref half = lap_map2(k, LAP_FN_MUL, o.carried[0], lap_const_f(k, 0.5));
    next[0] = lap_map2(k, LAP_FN_ADD, half, lap_k_load(k, x, o.index, LAP_NONE));
    lap_k_end(k, &o, next, final);
    lap_k_store(k, out, lap_const_i(k, 1), final[0], LAP_NONE);
    lap_k_end(k, &grid, NULL, NULL);
    float in[111], got[2];
    double sum = 1, last = 1;
    uint32_t seed = 21;
    for (int i = 0; i < 111; i++) {
        in[i] = rig_float(&seed);
        sum += (double)in[i];
        last = i < 37 ? last * 0.5 + (double)in[i] : last;
    }
    void *buffers[] = {in, got};
    rig_compile(&r, NULL);
    assert_int_equal(rig_call(&r, 0, buffers, 0, 1, NULL), 0);
    assert_true(fabs((double)got[0] - sum) < 1e-5);
    assert_true(fabs((double)got[1] - last) < 1e-5);
    rig_free(&r);
}

/* ---- scalar loops, failures, ranges ---- */

static void test_grid_and_fail(void **state)
{
    (void)state;
    rig r = rig_new();
    lap_graph *k = rig_kernel(&r, "grid");
    lap_ref x = lap_k_global(k, 0, LAP_I64), out = lap_k_global(k, 1, LAP_I64);
    lap_ref rest = lap_k_scratch(k, 0, LAP_I64, lap_dim_const(r.ctx, 4));
    lap_ref more = lap_k_scratch(k, 1, LAP_F32, lap_dim_const(r.ctx, 3));
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, rig_size(&r, k, "N", 8), 0, NULL);
    lap_k_store(k, more, lap_const_i(k, 2), lap_const_f(k, 9), LAP_NONE);
    lap_ref n = lap_k_load(k, x, grid.index, LAP_NONE);
    lap_k_fail(k, lap_map2(k, LAP_FN_LT, n, lap_const_i(k, 0)), "a negative count");
    lap_ref init[2] = {lap_const_i(k, 0), lap_const_i(k, 1)}, next[2], final[2];
    lap_k_loop fib = lap_k_for(k, LAP_LOOP_SERIAL, n, 2, init);
    next[0] = fib.carried[1];
    next[1] = lap_map2(k, LAP_FN_ADD, fib.carried[0], fib.carried[1]);
    lap_k_end(k, &fib, next, final);
    lap_k_store(k, rest, lap_const_i(k, 3), final[0], LAP_NONE);
    lap_k_store(k, out, grid.index, lap_k_load(k, rest, lap_const_i(k, 3), LAP_NONE), LAP_NONE);
    lap_k_end(k, &grid, NULL, NULL);
    rig_compile(&r, NULL);
    int64_t in[8] = {0, 1, 2, 3, 10, -1, 20, 5}, got[8] = {-7, -7, -7, -7, -7, -7, -7, -7};
    _Alignas(64) char scratch[256];
    void *buffers[] = {in, got};
    assert_int_equal(rig_call(&r, 0, buffers, 1, 5, scratch), 0);
    const int64_t want[8] = {-7, 1, 1, 2, 55, -7, -7, -7};
    assert_memory_equal(got, want, sizeof want);
    int32_t failed = rig_call(&r, 0, buffers, 4, 8, scratch);
    lap_loc where = {0};
    assert_int_equal(failed, 1 + (int32_t)lap_program_message(&r.program, "a negative count", where));
    assert_int_equal(got[6], -7);
    rig_free(&r);
}

/* ---- other forms ---- */

static void test_emit(void **state)
{
    (void)state;
    static const struct {
        const char *triple, *cpu;
    } machines[] = {{NULL, NULL},
                    {"x86_64-linux-gnu", "x86-64-v3"},
                    {"aarch64-linux-gnu", NULL},
                    {"aarch64-linux-gnu", "cortex-a72"}};
    rig r = rig_new();
    all_sizes(&r, address_body, NULL);
    r.program.ctx = r.ctx;
    r.program.name = "rig";
    r.program.kernels = r.kernels;
    for (size_t i = 0; i < 4; i++) {
        lap_machine *m = lap_machine_new(machines[i].triple, machines[i].cpu, NULL);
        assert_non_null(m);
        for (int form = LAP_EMIT_LLVM; form <= LAP_EMIT_OBJECT; form++) {
            char *bytes = NULL;
            size_t size = 0;
            assert_true(lap_llvm_emit(&r.program, m, "some", (lap_emit_form)form, &bytes, &size, NULL));
            assert_true(size > 100);
            assert_true(form == LAP_EMIT_OBJECT || strstr(bytes, "some_kernels") != NULL);
            free(bytes);
        }
        lap_machine_free(m);
    }
    rig_free(&r);
}

static void test_machines(void **state)
{
    (void)state;
    lap_fault fault = {0};
    assert_null(lap_machine_new("nowhere-none-none", NULL, &fault));
    assert_int_equal(fault.code, LAP_NO_DEVICE);
    assert_null(lap_machine_new(NULL, "no-such-cpu", &fault));
    assert_int_equal(fault.code, LAP_NO_DEVICE);
    lap_machine *arm = lap_machine_new("aarch64-linux-gnu", "cortex-a72", &fault);
    assert_non_null(arm);
    assert_int_equal(lap_machine_target(arm)->vector_f32, 4);
    assert_int_equal(lap_machine_target(arm)->n_registers, 32);
    lap_machine_free(arm);
    lap_machine *v4 = lap_machine_new("x86_64-linux-gnu", "x86-64-v4", &fault);
    assert_non_null(v4);
    assert_int_equal(lap_machine_target(v4)->vector_f32, 16);
    assert_true(lap_machine_target(v4)->has_masked);
    lap_machine_free(v4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_folds),
        cmocka_unit_test(test_nests),
        cmocka_unit_test(test_fold_through_loop),
        cmocka_unit_test(test_grid_and_fail),
        cmocka_unit_test(test_emit),
        cmocka_unit_test(test_machines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
