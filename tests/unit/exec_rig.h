/* SPDX-License-Identifier: Apache-2.0
 * exec_rig.h - puts together programs with kernels written in C, for tests of the runtime. */
#ifndef LAP_TESTS_EXEC_RIG_H
#define LAP_TESTS_EXEC_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "codegen/image.h"
#include "runtime/exec.h"

enum { MAX = 16 };

/* A program being put together, and what came of it. */
typedef struct rig {
    lap_ctx *ctx;
    lap_program p;
    lap_leaf inputs[MAX], weights[MAX], outputs[MAX];
    lap_buffer buffers[MAX];
    lap_kernel kernels[MAX];
    lap_kernel_fn *fns[MAX];
    lap_step steps[MAX];
    lap_check checks[MAX];
    uint32_t n_slots[MAX];
    const void *image;
    size_t n_image;
    lap_exec *exec;
    lap_fault fault;
} rig;

static inline rig *rig_new(void)
{
    rig *r = calloc(1, sizeof *r);
    r->ctx = lap_ctx_new(0);
    r->p = (lap_program){.ctx = r->ctx,
                         .name = "toy",
                         .inputs = r->inputs,
                         .weights = r->weights,
                         .outputs = r->outputs,
                         .buffers = r->buffers,
                         .kernels = r->kernels,
                         .steps = r->steps,
                         .checks = r->checks};
    return r;
}

static inline void rig_free(rig *r)
{
    lap_exec_close(r->exec);
    lap_ctx_free(r->ctx);
    free(r);
}

static inline lap_dim dim(rig *r, const char *text)
{
    lap_dim d;
    const char *error;
    if (!lap_dim_parse(r->ctx, text, strlen(text), &d, &error)) {
        fail_msg("%s: %s", text, error);
    }
    return d;
}

/* A leaf with axes "N 2*M ..": each text up to a space is an extent. */
static inline lap_leaf leaf(rig *r, const char *name, lap_dtype dtype, const char *axes)
{
    lap_dim *shape = lap_arena_array(r->ctx->arena, LAP_MAX_RANK, sizeof *shape);
    int32_t *crop = lap_arena_array(r->ctx->arena, LAP_MAX_RANK, sizeof *crop);
    uint32_t rank = 0;
    for (const char *at = axes; *at; rank++) {
        size_t n = strcspn(at, " ");
        shape[rank] = dim(r, lap_arena_printf(r->ctx->arena, "%.*s", (int)n, at));
        crop[rank] = -1;
        at += n + (at[n] == ' ');
    }
    return (lap_leaf){lap_intern(r->ctx, name),
                      dtype,
                      rank,
                      shape,
                      false,
                      lap_loc_make(r->ctx, "m.lua", 7, (lap_loc){0}),
                      crop};
}

static inline uint32_t buffer(rig *r, lap_buffer_kind kind, lap_dtype elem, const char *count, uint32_t of)
{
    r->buffers[r->p.n_buffers] = (lap_buffer){.kind = kind, .elem = elem, .count = dim(r, count), .leaf = of};
    return r->p.n_buffers++;
}

/* A kernel over `grid`; its graph has the grid loop, and a `fail` when there is a message. */
static inline uint32_t kernel(rig *r, lap_kernel_fn *fn, const char *grid, const char *message)
{
    lap_graph *g = lap_graph_new(r->ctx, "k", LAP_LEVEL_KERNEL);
    lap_k_loop loop = lap_k_for(g, LAP_LOOP_GRID, lap_dim_node(g, dim(r, grid)), 0, NULL);
    if (message) {
        lap_k_fail(g, lap_map2(g, LAP_FN_LT, loop.index, lap_const_i(g, 0)), message);
    }
    lap_k_end(g, &loop, NULL, NULL);
    uint32_t k = r->p.n_kernels++;
    r->kernels[k] = (lap_kernel){.graph = g, .name = lap_arena_printf(r->ctx->arena, "k%u", k)};
    r->fns[k] = fn;
    return k;
}

static inline lap_step launch(rig *r, uint32_t k, uint32_t n, const uint32_t *buffers)
{
    const uint32_t *copy = lap_arena_copy(r->ctx->arena, buffers, n * sizeof *buffers);
    return (lap_step){.kind = LAP_STEP_LAUNCH, .launch = {k, n, copy}, .counter = -1, .test = -1};
}
#define LAUNCH(r, k, ...)                                                                                    \
    launch(r, k, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), (uint32_t[]){__VA_ARGS__})

static inline void start(rig *r, uint32_t n_threads)
{
    r->image = lap_image_write(&r->p, &r->n_image);
    r->exec =
        lap_exec_open(r->image, r->n_image, r->fns, &(lap_exec_options){.n_threads = n_threads}, &r->fault);
    if (!r->exec) {
        fail_msg("%s", r->fault.text);
    }
}

static inline lap_tensor floats(float *data, int64_t n)
{
    return (lap_tensor){LAP_F32, 1, {n}, data, (size_t)n * sizeof *data};
}

static inline void ok(rig *r, bool result)
{
    if (!result) {
        fail_msg("%s", r->fault.text);
    }
}

static inline void says(rig *r, bool result, const char *message)
{
    assert_false(result);
    if (!strstr(r->fault.text, message)) {
        fail_msg("'%s' does not say '%s'", r->fault.text, message);
    }
}

#endif
