/* SPDX-License-Identifier: Apache-2.0
 * measure.c - peak arithmetic and bandwidth, through the code generator itself.
 *
 * The peak is a kernel of independent multiply-add chains over registers, or of the register tile where
 * bf16 has dot products; the bandwidth a sum over more bytes than caches hold: best of several rounds, all
 * threads at once. */
#include "codegen/llvm/measure.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { N_CHAINS = 12, N_ROUNDS = 5, MAX_THREADS = 1024, PEAK_STEPS = 400000 };

typedef struct work {
    lap_kernel_fn *fn;
    void *buffers[2];
    int64_t dims[2];
    atomic_uint *waiting;
    double seconds;
} work;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Waits for the others, so that all run at the same time. */
static void *run_work(void *user)
{
    work *w = user;
    atomic_fetch_sub(w->waiting, 1);
    while (atomic_load(w->waiting) > 0) {
    }
    double start = now();
    w->fn(w->buffers, w->dims, 0, 1, NULL);
    w->seconds = now() - start;
    return NULL;
}

/* Seconds of the slowest thread; negative when threads cannot be made. */
static double run_round(work *all, uint32_t n)
{
    pthread_t threads[MAX_THREADS];
    atomic_uint waiting = n;
    uint32_t started = 0;
    for (uint32_t i = 0; i < n; i++) {
        all[i].waiting = &waiting;
        if (i > 0 && pthread_create(&threads[i], NULL, run_work, &all[i]) != 0) {
            break;
        }
        started++;
    }
    bool is_whole = started == n;
    atomic_fetch_sub(&waiting, n - started);
    run_work(&all[0]);
    double slowest = all[0].seconds;
    for (uint32_t i = 1; i < started; i++) {
        pthread_join(threads[i], NULL);
        slowest = all[i].seconds > slowest ? all[i].seconds : slowest;
    }
    return is_whole ? slowest : -1;
}

static uint32_t thread_count(uint32_t asked)
{
    long here = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t all = here <= 0 ? 1 : here < MAX_THREADS ? (uint32_t)here : MAX_THREADS;
    return asked > 0 && asked < all ? asked : all; /* more share the processors and add nothing */
}

/* ---- kernels ---- */

static lap_ref plus(lap_graph *k, lap_ref a, lap_ref b) { return lap_map2(k, LAP_FN_ADD, a, b); }

/* x = x * m + a in N_CHAINS chains of one vector each, dim 0 times. */
static void build_peak(lap_ctx *ctx, lap_graph *k, uint32_t lanes)
{
    lap_ref data = lap_k_global(k, 0, LAP_F32);
    lap_ref steps = lap_dim_node(k, lap_dim_symbol(ctx, lap_intern(ctx, "steps")));
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, lap_const_i(k, 1), 0, NULL);
    lap_k_loop v = lap_k_for(k, LAP_LOOP_VECTOR, lap_const_i(k, lanes), 0, NULL);
    lap_ref m = lap_k_load(k, data, v.index, LAP_NONE);
    lap_ref a = lap_k_load(k, data, plus(k, v.index, lap_const_i(k, lanes)), LAP_NONE);
    lap_ref init[N_CHAINS], next[N_CHAINS], last[N_CHAINS];
    for (int i = 0; i < N_CHAINS; i++) {
        init[i] = plus(k, m, lap_const_f(k, i));
    }
    lap_k_loop s = lap_k_for(k, LAP_LOOP_SERIAL, steps, N_CHAINS, init);
    for (int i = 0; i < N_CHAINS; i++) {
        next[i] = plus(k, lap_map2(k, LAP_FN_MUL, s.carried[i], m), a);
    }
    lap_k_end(k, &s, next, last);
    lap_ref sum = last[0];
    for (int i = 1; i < N_CHAINS; i++) {
        sum = plus(k, sum, last[i]);
    }
    lap_k_store(k, data, plus(k, v.index, lap_const_i(k, 2 * lanes)), sum, LAP_NONE);
    lap_k_end(k, &v, NULL, NULL);
    lap_k_end(k, &grid, NULL, NULL);
}

enum { PEAK_DEPTH = 512 };

/* A tall tile: what is done for its columns beside the dot products hardly counts. */
static uint32_t dot_cols(const lap_target *t) { return 2 * t->vector_f32; }
static uint32_t dot_rows(const lap_target *t) { return t->n_registers / 2 - 2; }

/* Dot products of one row with the same few columns, dim 0 tiles of them. */
static void build_dots(lap_ctx *ctx, lap_graph *k, const lap_target *t)
{
    lap_ref data = lap_k_global(k, 0, LAP_BF16), acc = lap_k_global(k, 1, LAP_F32);
    lap_ref steps = lap_dim_node(k, lap_dim_symbol(ctx, lap_intern(ctx, "steps"))), zero = lap_const_i(k, 0);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, lap_const_i(k, 1), 0, NULL);
    lap_k_loop s = lap_k_for(k, LAP_LOOP_SERIAL, steps, 0, NULL);
    lap_k_mma(k, &(lap_k_mma_args){.acc = acc,
                                   .acc0 = zero,
                                   .ld = lap_const_i(k, dot_cols(t)),
                                   .a = data,
                                   .a0 = zero,
                                   .sm = zero,
                                   .sk = lap_const_i(k, 1),
                                   .m = lap_const_i(k, 1),
                                   .b = data,
                                   .b0 = zero,
                                   .sb = zero,
                                   .depth = lap_const_i(k, PEAK_DEPTH),
                                   .rows = dot_rows(t),
                                   .cols = dot_cols(t),
                                   .dot = true});
    lap_k_end(k, &s, NULL, NULL);
    lap_k_end(k, &grid, NULL, NULL);
}

/* out[0] = the sum of dim 0 elements. */
static void build_read(lap_ctx *ctx, lap_graph *k)
{
    lap_ref data = lap_k_global(k, 0, LAP_F32), out = lap_k_global(k, 1, LAP_F32);
    lap_ref n = lap_dim_node(k, lap_dim_symbol(ctx, lap_intern(ctx, "n"))), zero = lap_const_f(k, 0), sum;
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, lap_const_i(k, 1), 0, NULL);
    lap_k_loop v = lap_k_for(k, LAP_LOOP_VECTOR, n, 1, &zero);
    lap_ref next = plus(k, v.carried[0], lap_k_load(k, data, v.index, LAP_NONE));
    lap_k_end(k, &v, &next, &sum);
    lap_k_store(k, out, lap_const_i(k, 0), sum, LAP_NONE);
    lap_k_end(k, &grid, NULL, NULL);
}

typedef enum work_kind { WORK_MULTIPLY, WORK_DOT, WORK_READ } work_kind;

static lap_jit *compile(lap_ctx *ctx, const lap_machine *machine, work_kind kind, lap_fault *fault)
{
    lap_graph *k = lap_graph_new(ctx, "measure", LAP_LEVEL_KERNEL);
    const lap_target *t = lap_machine_target(machine);
    if (kind == WORK_MULTIPLY) {
        build_peak(ctx, k, t->vector_f32);
    } else if (kind == WORK_DOT) {
        build_dots(ctx, k, t);
    } else {
        build_read(ctx, k);
    }
    lap_kernel kernel = {.graph = k, .name = "measure"};
    lap_program program = {.ctx = ctx, .name = "measure", .n_kernels = 1, .kernels = &kernel};
    return lap_jit_new(&program, machine, fault);
}

/* Best time of several rounds over memory of `bytes` per thread. */
static bool best_time(const lap_jit *jit, uint32_t n_threads, size_t bytes, int64_t dim, double *out,
                      lap_fault *fault)
{
    enum { EXTRA = 4096 };
    bool is_done = true;
    work *all = calloc(n_threads, sizeof *all);
    for (uint32_t i = 0; all && i < n_threads; i++) {
        char *memory = malloc(bytes + EXTRA);
        is_done = is_done && memory;
        all[i] = (work){.fn = lap_jit_kernels(jit)[0],
                        .buffers = {memory, memory ? memory + bytes : NULL},
                        .dims = {dim}};
        if (memory) {
            memset(memory, 0, bytes + EXTRA);
        }
    }
    is_done = (all && is_done) || lap_fault_set(fault, LAP_BAD_INPUT, "not enough memory to measure with");
    *out = 0;
    for (int i = 0; is_done && i < N_ROUNDS; i++) {
        double seconds = run_round(all, n_threads);
        is_done = seconds > 0 || lap_fault_set(fault, LAP_BAD_INPUT, "cannot start %u threads", n_threads);
        *out = i == 0 || seconds < *out ? seconds : *out;
    }
    for (uint32_t i = 0; all && i < n_threads; i++) {
        free(all[i].buffers[0]);
    }
    free(all);
    return is_done;
}

bool lap_measure_peak(const lap_machine *machine, lap_dtype computed_in, uint32_t n_threads,
                      double *out_gflops, lap_fault *fault)
{
    if (computed_in != LAP_F32 && computed_in != LAP_BF16) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "no peak is known for %s", lap_dtype_text(computed_in));
    }
    const lap_target *t = lap_machine_target(machine);
    work_kind kind = computed_in == LAP_BF16 && t->has_dot ? WORK_DOT : WORK_MULTIPLY;
    size_t bytes = kind == WORK_DOT ? 2 * PEAK_DEPTH : 3 * 4 * t->vector_f32;
    int64_t steps = kind == WORK_DOT ? PEAK_STEPS / PEAK_DEPTH : PEAK_STEPS;
    double each = kind == WORK_DOT ? 1.0 * PEAK_DEPTH * dot_rows(t) * dot_cols(t) : N_CHAINS * t->vector_f32;
    lap_ctx *ctx = lap_ctx_new(0);
    lap_jit *jit = compile(ctx, machine, kind, fault);
    double seconds = 0;
    n_threads = thread_count(n_threads);
    bool is_done = jit && best_time(jit, n_threads, bytes, steps, &seconds, fault);
    if (is_done) {
        *out_gflops = 2.0 * (double)steps * each * n_threads / seconds * 1e-9;
    }
    lap_jit_free(jit);
    lap_ctx_free(ctx);
    return is_done;
}

bool lap_measure_bandwidth(uint32_t n_threads, double *out_gbytes, lap_fault *fault)
{
    const size_t usual = 256u << 20;
    lap_machine *machine = lap_machine_new(NULL, NULL, fault);
    if (!machine) {
        return false;
    }
    n_threads = thread_count(n_threads);
    size_t cached = 2 * (size_t)lap_machine_target(machine)->l3_bytes;
    size_t bytes = (cached > usual ? cached : usual) / n_threads & ~(size_t)4095;
    lap_ctx *ctx = lap_ctx_new(0);
    lap_jit *jit = compile(ctx, machine, WORK_READ, fault);
    double seconds = 0;
    bool is_done = jit && best_time(jit, n_threads, bytes, (int64_t)(bytes / 4), &seconds, fault);
    if (is_done) {
        *out_gbytes = (double)bytes * n_threads / seconds * 1e-9;
    }
    lap_jit_free(jit);
    lap_ctx_free(ctx);
    lap_machine_free(machine);
    return is_done;
}
