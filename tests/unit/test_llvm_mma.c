/* SPDX-License-Identifier: Apache-2.0
 * test_llvm_mma.c - the register tile, the transposing copy and the sort in generated code against plain
 * loops. */
#include <math.h>

#include "tests/unit/llvm_rig.h"

/* ---- tiles ---- */

typedef struct tile_case {
    uint32_t rows, cols;
    bool init;
    lap_dtype a, b;
    bool dot;
} tile_case;

static const tile_case tiles[] = {
    {6, 64, true, LAP_F32, LAP_F32, false},   {6, 64, false, LAP_F32, LAP_F32, false},
    {6, 16, true, LAP_F32, LAP_F32, false},   {8, 12, false, LAP_F32, LAP_F32, false},
    {1, 64, true, LAP_F32, LAP_F32, false},   {4, 4, false, LAP_F32, LAP_F32, false},
    {3, 1, true, LAP_F32, LAP_F32, false},    {2, 2, false, LAP_F32, LAP_F32, false},
    {6, 16, true, LAP_BF16, LAP_BF16, false}, {6, 16, true, LAP_F32, LAP_I8, false},
    {4, 16, false, LAP_F16, LAP_F32, false},  {6, 64, false, LAP_BF16, LAP_BF16, true},
    {6, 48, true, LAP_BF16, LAP_BF16, true},  {3, 8, false, LAP_BF16, LAP_BF16, true},
    {8, 12, true, LAP_BF16, LAP_BF16, true},  {2, 2, false, LAP_BF16, LAP_BF16, true},
};
enum { N_TILES = sizeof tiles / sizeof *tiles, MAX_DEPTH = 9, LD = 72, GAP = 3 };

static void tile_kernel(rig *r, const tile_case *c, const char *name)
{
    lap_graph *k = rig_kernel(r, name);
    lap_ref acc = lap_k_scratch(k, 0, LAP_F32, lap_dim_const(r->ctx, 16 * LD));
    lap_ref a = lap_k_global(k, 0, c->a), b = lap_k_global(k, 1, c->b), out = lap_k_global(k, 2, LAP_F32);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, rig_size(r, k, "G", 1), 0, NULL);
    lap_ref n = lap_const_i(k, 16 * LD);
    lap_k_loop fill = lap_k_for(k, LAP_LOOP_VECTOR, n, 0, NULL);
    lap_k_store(k, acc, fill.index, lap_const_f(k, 0.5), LAP_NONE);
    lap_k_end(k, &fill, NULL, NULL);
    lap_k_mma_args m = {.acc = acc,
                        .acc0 = lap_const_i(k, 3),
                        .ld = lap_const_i(k, LD),
                        .a = a,
                        .a0 = lap_const_i(k, 2),
                        .sm = rig_size(r, k, "sm", 0),
                        .sk = rig_size(r, k, "sk", 0),
                        .m = rig_size(r, k, "m", 0),
                        .b = b,
                        .b0 = lap_const_i(k, 1),
                        .sb = rig_size(r, k, "sb", 0),
                        .depth = rig_size(r, k, "K", 0),
                        .rows = c->rows,
                        .cols = c->cols,
                        .init = c->init,
                        .dot = c->dot};
    lap_k_mma(k, &m);
    lap_k_loop copy = lap_k_for(k, LAP_LOOP_VECTOR, n, 0, NULL);
    lap_k_store(k, out, copy.index, lap_k_load(k, acc, copy.index, LAP_NONE), LAP_NONE);
    lap_k_end(k, &copy, NULL, NULL);
    lap_k_end(k, &grid, NULL, NULL);
}

static void fill_tensor(lap_tensor *t, uint32_t *seed)
{
    for (int64_t i = 0; i < t->shape[0]; i++) {
        lap_tensor_set(t, (size_t)i,
                       t->dtype == LAP_I8 ? (double)(rig_random(seed) % 255) - 127 : (double)rig_float(seed));
    }
}

static void check_tile(rig *r, uint32_t i, int64_t m, int64_t depth, bool is_transposed)
{
    static uint32_t seed = 7;
    const tile_case *c = &tiles[i];
    static float a_bytes[2 + 16 * MAX_DEPTH], b_bytes[1 + (64 + GAP) * MAX_DEPTH], out[16 * LD],
        scratch[16 * LD + 16];
    lap_tensor a = {.dtype = c->a, .rank = 1, .shape = {2 + 16 * MAX_DEPTH}, .data = a_bytes};
    lap_tensor b = {.dtype = c->b, .rank = 1, .shape = {1 + (64 + GAP) * MAX_DEPTH}, .data = b_bytes};
    fill_tensor(&a, &seed);
    fill_tensor(&b, &seed);
    is_transposed = is_transposed && !c->dot; /* pairs are read along k */
    int64_t sm = is_transposed ? 1 : depth, sk = is_transposed ? m : 1;
    lap_graph *k = r->kernels[i].graph;
    rig_size(r, k, "sm", sm);
    rig_size(r, k, "sk", sk);
    rig_size(r, k, "m", m);
    int64_t sb = (int64_t)c->cols + (depth % 3 == 0 ? GAP : 0);
    rig_size(r, k, "sb", sb);
    rig_size(r, k, "K", depth);
    void *aligned = (void *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63);
    void *buffers[] = {a_bytes, b_bytes, out};
    assert_int_equal(rig_call(r, i, buffers, 0, 1, aligned), 0);
    for (uint32_t at = 0; at < 16 * LD; at++) {
        uint32_t row = at < 3 ? 16 : (at - 3) / LD, col = at < 3 ? 0 : (at - 3) % LD;
        double want = 0.5;
        if (row < c->rows && col < c->cols) {
            want = c->init ? 0 : want;
            for (int64_t d = 0; d < depth; d++) {
                int64_t have = row < m ? row : m - 1;
                want += lap_tensor_get(&a, (size_t)(2 + have * sm + d * sk)) *
                        lap_tensor_get(&b, (size_t)(1 + d * sb + col));
            }
        }
        if (fabs((double)out[at] - want) > 1e-5 * (1 + fabs(want))) {
            fail_msg("tile %u, m %lld, depth %lld: [%u, %u] = %g, expected %g", i, (long long)m,
                     (long long)depth, row, col, (double)out[at], want);
        }
    }
}

static void test_tiles(void **state)
{
    (void)state;
    const char *cpus[8];
    size_t n = rig_cpus(cpus);
    rig r = rig_new();
    for (uint32_t i = 0; i < N_TILES; i++) {
        tile_kernel(&r, &tiles[i], lap_arena_printf(r.ctx->arena, "tile%u", i));
    }
    for (size_t c = 0; c < n; c++) {
        rig_compile(&r, cpus[c]);
        for (uint32_t i = 0; i < N_TILES; i++) {
            for (int64_t depth = 0; depth <= MAX_DEPTH; depth++) {
                check_tile(&r, i, tiles[i].rows, depth, false);
                check_tile(&r, i, 1, depth, depth % 2 == 0);
                check_tile(&r, i, tiles[i].rows > 2 ? 2 : 1, depth, true);
            }
        }
    }
    rig_free(&r);
}

/* ---- transposing copies ---- */

static const struct turn_case {
    lap_dtype from, to;
} turns[] = {
    {LAP_F32, LAP_F32}, {LAP_BF16, LAP_F32}, {LAP_F16, LAP_F32}, {LAP_F32, LAP_BF16}, {LAP_BF16, LAP_BF16}};
enum { N_TURNS = sizeof turns / sizeof *turns, MOST_ROWS = 37, MOST_COLS = 21 };

static void check_turn(rig *r, uint32_t i, int64_t rows, int64_t cols, uint32_t *seed)
{
    enum { STRIDE = MOST_COLS + 2, LEADING = MOST_ROWS + 3, FROM = 3, TO = 5 };
    static float from_bytes[FROM + MOST_ROWS * STRIDE], to_bytes[TO + (MOST_COLS + 1) * LEADING];
    lap_tensor from = {
        .dtype = turns[i].from, .rank = 1, .shape = {FROM + MOST_ROWS * STRIDE}, .data = from_bytes};
    lap_tensor to = {
        .dtype = turns[i].to, .rank = 1, .shape = {TO + (MOST_COLS + 1) * LEADING}, .data = to_bytes};
    for (int64_t at = 0; at < from.shape[0]; at++) { /* exact in every type */
        lap_tensor_set(&from, (size_t)at, (double)(rig_random(seed) % 255) - 127);
    }
    for (int64_t at = 0; at < to.shape[0]; at++) {
        lap_tensor_set(&to, (size_t)at, 1000);
    }
    rig_size(r, r->kernels[i].graph, "rows", rows);
    rig_size(r, r->kernels[i].graph, "cols", cols);
    void *buffers[] = {from_bytes, to_bytes};
    assert_int_equal(rig_call(r, i, buffers, 0, 1, NULL), 0);
    for (int64_t at = 0; at < to.shape[0]; at++) {
        int64_t row = at < TO ? LEADING : (at - TO) % LEADING, col = at < TO ? 0 : (at - TO) / LEADING;
        double want =
            row < rows && col < cols ? lap_tensor_get(&from, (size_t)(FROM + row * STRIDE + col)) : 1000;
        assert_true(lap_tensor_get(&to, (size_t)at) == want);
    }
}

static void turn_kernel(rig *r, uint32_t i)
{
    lap_graph *k = rig_kernel(r, lap_arena_printf(r->ctx->arena, "turn%u", i));
    lap_ref from = lap_k_global(k, 0, turns[i].from), to = lap_k_global(k, 1, turns[i].to);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, rig_size(r, k, "G", 1), 0, NULL);
    lap_k_turn(k, &(lap_k_turn_args){.to = to,
                                     .to0 = lap_const_i(k, 5),
                                     .ld = lap_const_i(k, MOST_ROWS + 3),
                                     .from = from,
                                     .from0 = lap_const_i(k, 3),
                                     .stride = lap_const_i(k, MOST_COLS + 2),
                                     .rows = rig_size(r, k, "rows", 0),
                                     .cols = rig_size(r, k, "cols", 0)});
    lap_k_end(k, &grid, NULL, NULL);
}

static void test_turns(void **state)
{
    (void)state;
    const char *cpus[8];
    size_t n = rig_cpus(cpus);
    rig r = rig_new();
    uint32_t seed = 5;
    for (uint32_t i = 0; i < N_TURNS; i++) {
        turn_kernel(&r, i);
    }
    for (size_t c = 0; c < n; c++) {
        rig_compile(&r, cpus[c]);
        for (uint32_t i = 0; i < N_TURNS; i++) {
            for (int64_t rows = 0; rows <= MOST_ROWS; rows += rows < 18 ? 1 : 7) {
                for (int64_t cols = 0; cols <= MOST_COLS; cols += cols < 9 ? 1 : 4) {
                    check_turn(&r, i, rows, cols, &seed);
                }
            }
        }
    }
    rig_free(&r);
}

/* ---- sorting ---- */

typedef struct sort_case {
    lap_dtype keys, out;
    bool smallest;
} sort_case;

static const sort_case sorts[] = {{LAP_F32, LAP_I64, false},
                                  {LAP_F32, LAP_I32, true},
                                  {LAP_I64, LAP_I64, false},
                                  {LAP_BF16, LAP_I64, true},
                                  {LAP_BOOL, LAP_I64, false}};
enum { N_SORTS = sizeof sorts / sizeof *sorts, MAX_KEYS = 70 };

static bool comes_before(const lap_tensor *keys, bool smallest, int64_t a, int64_t b)
{
    double x = lap_tensor_get(keys, (size_t)a), y = lap_tensor_get(keys, (size_t)b);
    if (isnan(x) || isnan(y)) {
        return isnan(x) && isnan(y) ? a < b : isnan(y);
    }
    return x == y ? a < b : smallest ? x < y : x > y;
}

static void check_sort(rig *r, uint32_t i, int64_t n, int64_t count, uint32_t *seed)
{
    int64_t key_bytes[MAX_KEYS], out_bytes[MAX_KEYS], want[MAX_KEYS];
    lap_tensor keys = {.dtype = sorts[i].keys, .rank = 1, .shape = {n}, .data = key_bytes};
    lap_tensor out = {.dtype = sorts[i].out, .rank = 1, .shape = {count}, .data = out_bytes};
    bool is_float = lap_dtype_compute(keys.dtype) == LAP_F32;
    for (int64_t j = 0; j < n; j++) {
        uint32_t v = rig_random(seed) % 20;
        lap_tensor_set(&keys, (size_t)j,
                       is_float && v == 19      ? NAN
                       : keys.dtype == LAP_BOOL ? v % 2
                                                : (double)v - 8);
        want[j] = j;
        for (int64_t at = j; at > 0 && comes_before(&keys, sorts[i].smallest, want[at], want[at - 1]); at--) {
            int64_t other = want[at];
            want[at] = want[at - 1];
            want[at - 1] = other;
        }
    }
    rig_size(r, r->kernels[i].graph, "n", n);
    rig_size(r, r->kernels[i].graph, "count", count);
    void *buffers[] = {key_bytes, out_bytes};
    assert_int_equal(rig_call(r, i, buffers, 0, 1, NULL), 0);
    for (int64_t j = 0; j < count; j++) {
        assert_int_equal(lap_tensor_get_int(&out, (size_t)j), want[j]);
    }
}

static void test_sorts(void **state)
{
    (void)state;
    rig r = rig_new();
    for (uint32_t i = 0; i < N_SORTS; i++) {
        lap_graph *k = rig_kernel(&r, lap_arena_printf(r.ctx->arena, "sort%u", i));
        lap_ref keys = lap_k_global(k, 0, sorts[i].keys), out = lap_k_global(k, 1, sorts[i].out);
        lap_ref zero = lap_const_i(k, 0);
        lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, rig_size(&r, k, "G", 1), 0, NULL);
        lap_k_sort(k, keys, zero, rig_size(&r, k, "n", 0), out, zero, rig_size(&r, k, "count", 0),
                   sorts[i].smallest);
        lap_k_end(k, &grid, NULL, NULL);
    }
    rig_compile(&r, NULL);
    uint32_t seed = 11;
    for (uint32_t i = 0; i < N_SORTS; i++) {
        for (int64_t n = 0; n <= MAX_KEYS; n += n < 12 ? 1 : 29) {
            for (int64_t count = 0; count <= n; count += count < 6 ? 1 : 7) {
                check_sort(&r, i, n, count, &seed);
            }
        }
    }
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tiles), cmocka_unit_test(test_turns),
                                       cmocka_unit_test(test_sorts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
