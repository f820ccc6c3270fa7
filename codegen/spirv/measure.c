/* SPDX-License-Identifier: Apache-2.0
 * measure.c - times two kernels made for it, through the same code as a model's.
 *
 * A program repeats its kernel a number of times; the difference between many and few repetitions leaves
 * out what a run costs by itself. */
#include "codegen/spirv/measure.h"

#include <time.h>

#include "codegen/spirv/spirv.h"

typedef lap_graph *kernel_fn(lap_ctx *ctx);

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum { CHAINS = 8, ROUNDS = 256, FMA_LANES = 512, FMA_GROUPS = 256, COPY_LANES = 4096, COPY_GROUPS = 2048 };

/* Chains of multiply-adds, independent of each other, in every lane. */
static lap_graph *fma_kernel(lap_ctx *ctx)
{
    lap_graph *k = lap_graph_new(ctx, "fma", LAP_LEVEL_KERNEL);
    lap_ref to = lap_k_global(k, 1, LAP_F32), init[CHAINS], next[CHAINS], out[CHAINS];
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, lap_const_i(k, FMA_GROUPS), 0, NULL);
    lap_k_loop lanes = lap_k_for(k, LAP_LOOP_VECTOR, lap_const_i(k, FMA_LANES), 0, NULL);
    /* Not what stands in memory: subnormal numbers would be timed. */
    lap_ref x = lap_map2(k, LAP_FN_DIV, lanes.index, lap_const_f(k, 2 * FMA_LANES));
    for (int i = 0; i < CHAINS; i++) {
        init[i] = lap_map2(k, LAP_FN_ADD, x, lap_const_f(k, i));
    }
    lap_k_loop rounds = lap_k_for(k, LAP_LOOP_SERIAL, lap_const_i(k, ROUNDS), CHAINS, init);
    for (int i = 0; i < CHAINS; i++) {
        next[i] = lap_map2(k, LAP_FN_ADD, lap_map2(k, LAP_FN_MUL, rounds.carried[i], x), lap_const_f(k, 0.5));
    }
    lap_k_end(k, &rounds, next, out);
    for (int i = 1; i < CHAINS; i++) {
        out[0] = lap_map2(k, LAP_FN_ADD, out[0], out[i]);
    }
    lap_k_store(k, to, lanes.index, out[0], LAP_NONE);
    lap_k_end(k, &lanes, NULL, NULL);
    lap_k_end(k, &grid, NULL, NULL);
    return k;
}

static lap_graph *copy_kernel(lap_ctx *ctx)
{
    lap_graph *k = lap_graph_new(ctx, "copy", LAP_LEVEL_KERNEL);
    lap_ref from = lap_k_global(k, 0, LAP_F32), to = lap_k_global(k, 1, LAP_F32);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, lap_const_i(k, COPY_GROUPS), 0, NULL);
    lap_ref first = lap_map2(k, LAP_FN_MUL, grid.index, lap_const_i(k, COPY_LANES));
    lap_k_loop lanes = lap_k_for(k, LAP_LOOP_VECTOR, lap_const_i(k, COPY_LANES), 0, NULL);
    lap_ref at = lap_map2(k, LAP_FN_ADD, first, lanes.index);
    lap_k_store(k, to, at, lap_k_load(k, from, at, LAP_NONE), LAP_NONE);
    lap_k_end(k, &lanes, NULL, NULL);
    lap_k_end(k, &grid, NULL, NULL);
    return k;
}

/* Best time of a few runs of a program that launches the kernel `times` times, on buffers of n elements. */
static bool time_program(lap_vk *vk, kernel_fn *make, int64_t n, uint32_t times, double *out,
                         lap_fault *fault)
{
    enum { RUNS = 3 };
    lap_ctx *ctx = lap_ctx_new(0);
    lap_dim count = lap_dim_const(ctx, n), one = lap_dim_const(ctx, 0);
    lap_kernel kernel = {.graph = make(ctx), .name = "measured"};
    lap_leaf output = {
        .name = lap_intern(ctx, "y"), .dtype = LAP_F32, .rank = 1, .shape = &one, .crop = (int32_t[]){-1}};
    lap_buffer buffers[] = {{.kind = LAP_BUF_TEMP, .elem = LAP_F32, .count = count},
                            {.kind = LAP_BUF_TEMP, .elem = LAP_F32, .count = count},
                            {.kind = LAP_BUF_OUTPUT, .elem = LAP_F32, .count = one}};
    const uint32_t operands[] = {0, 1};
    lap_step *steps = lap_arena_array(ctx->arena, times, sizeof *steps);
    for (uint32_t i = 0; i < times; i++) {
        steps[i] = (lap_step){.kind = LAP_STEP_LAUNCH,
                              .counter = -1,
                              .test = -1,
                              .launch = {.kernel = 0, .n_buffers = 2, .buffers = operands}};
    }
    lap_program program = {.ctx = ctx,
                           .name = "measure",
                           .n_outputs = 1,
                           .outputs = &output,
                           .n_buffers = 3,
                           .buffers = buffers,
                           .n_kernels = 1,
                           .kernels = &kernel,
                           .n_steps = times,
                           .steps = steps};
    lap_spirv code;
    lap_exec *exec = NULL;
    if (lap_spirv_make(&program, lap_vk_target(lap_vk_info_of(vk)->subgroup_size), &code, fault)) {
        exec = lap_vk_exec_open(vk, code.image, code.n_image, code.kernels, NULL, fault);
    }
    bool ok = exec != NULL;
    *out = 1e30;
    for (int i = 0; ok && i <= RUNS; i++) { /* the first one compiles */
        lap_tensor y = {.data = NULL};
        double start = seconds();
        ok = lap_exec_run(exec, NULL, &y, fault);
        double took = seconds() - start;
        *out = i > 0 && took < *out ? took : *out;
    }
    if (exec) {
        lap_exec_close(exec);
    }
    lap_ctx_free(ctx);
    return ok;
}

static bool time_kernel(lap_vk *vk, kernel_fn *make, int64_t n, double *out, lap_fault *fault)
{
    enum { FEW = 1, MANY = 5 };
    double few, many;
    if (!time_program(vk, make, n, FEW, &few, fault) || !time_program(vk, make, n, MANY, &many, fault)) {
        return false;
    }
    *out = many > few ? (many - few) / (MANY - FEW) : many / MANY;
    return true;
}

bool lap_vk_measure_peak(lap_vk *vk, double *out_gflops, lap_fault *fault)
{
    double took;
    if (!time_kernel(vk, fma_kernel, FMA_LANES, &took, fault)) {
        return false;
    }
    *out_gflops = 2e-9 * CHAINS * ROUNDS * (double)FMA_LANES * FMA_GROUPS / took;
    return true;
}

bool lap_vk_measure_bandwidth(lap_vk *vk, double *out_gbytes, lap_fault *fault)
{
    double took, bytes = 2 * sizeof(float) * (double)COPY_LANES * COPY_GROUPS;
    if (!time_kernel(vk, copy_kernel, (int64_t)COPY_LANES * COPY_GROUPS, &took, fault)) {
        return false;
    }
    *out_gbytes = 1e-9 * bytes / took;
    return true;
}
