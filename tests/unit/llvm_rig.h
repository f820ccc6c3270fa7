/* SPDX-License-Identifier: Apache-2.0
 * llvm_rig.h - builds kernels by hand, compiles them for each processor level this machine has, and
 * calls them: shared by the tests of codegen/llvm. */
#ifndef LAP_TESTS_UNIT_LLVM_RIG_H
#define LAP_TESTS_UNIT_LLVM_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codegen/image.h"
#include "codegen/llvm/llvm.h"
#include "ir/kernel.h"

enum { RIG_MAX_KERNELS = 64, RIG_MAX_SIZES = 8 };

typedef struct rig {
    lap_ctx *ctx;
    lap_kernel kernels[RIG_MAX_KERNELS];
    lap_program program;
    lap_machine *machine;
    lap_jit *jit;
    const char *names[RIG_MAX_SIZES];
    int64_t sizes[RIG_MAX_SIZES];
    uint32_t n_sizes;
} rig;

static inline rig rig_new(void) { return (rig){.ctx = lap_ctx_new(0)}; }

static inline void rig_free(rig *r)
{
    lap_jit_free(r->jit);
    lap_machine_free(r->machine);
    lap_ctx_free(r->ctx);
}

static inline lap_graph *rig_kernel(rig *r, const char *name)
{
    lap_graph *k = lap_graph_new(r->ctx, name, LAP_LEVEL_KERNEL);
    assert_true(r->program.n_kernels < RIG_MAX_KERNELS);
    r->kernels[r->program.n_kernels++] = (lap_kernel){.graph = k, .name = name};
    return k;
}

/* A symbol of value `size`, as a node. */
static inline lap_ref rig_size(rig *r, lap_graph *k, const char *name, int64_t size)
{
    uint32_t i = 0;
    while (i < r->n_sizes && strcmp(r->names[i], name) != 0) {
        i++;
    }
    assert_true(i < RIG_MAX_SIZES);
    r->n_sizes = i == r->n_sizes ? i + 1 : r->n_sizes;
    r->names[i] = name;
    r->sizes[i] = size;
    return lap_dim_node(k, lap_dim_symbol(r->ctx, lap_intern(r->ctx, name)));
}

static inline bool rig_symbol(void *user, lap_name symbol, int64_t *out)
{
    const rig *r = user;
    for (uint32_t i = 0; i < r->n_sizes; i++) {
        if (strcmp(r->names[i], lap_text(r->ctx, symbol)) == 0) {
            *out = r->sizes[i];
            return true;
        }
    }
    return false;
}

static inline void rig_compile(rig *r, const char *cpu)
{
    lap_fault fault = {0};
    lap_jit_free(r->jit);
    lap_machine_free(r->machine);
    r->jit = NULL;
    r->program.ctx = r->ctx;
    r->program.name = "rig";
    r->program.kernels = r->kernels;
    r->machine = lap_machine_new(NULL, cpu, &fault);
    if (!r->machine) {
        fail_msg("machine '%s': %s", cpu != NULL ? cpu : "native", fault.text);
    }
    lap_errors_print(r->ctx, stderr);
    assert_int_equal(lap_error_count(r->ctx), 0);
    r->jit = lap_jit_new(&r->program, r->machine, &fault);
    if (!r->jit) {
        fail_msg("compile for '%s': %s", cpu != NULL ? cpu : "native", fault.text);
    }
}

static inline int32_t rig_call(rig *r, uint32_t kernel, void *const *buffers, int64_t begin, int64_t end,
                               void *scratch)
{
    lap_kernel_dims dims = lap_kernel_dims_of(&r->program, kernel);
    int64_t values[64];
    assert_true(dims.n <= 64);
    for (uint32_t i = 0; i < dims.n; i++) {
        assert_true(lap_dim_eval(r->ctx, dims.at[i], rig_symbol, r, &values[i]));
    }
    return lap_jit_kernels(r->jit)[kernel](buffers, values, begin, end, scratch);
}

/* Levels that this machine runs: NULL (itself), then those below its own; returns how many. */
static inline size_t rig_cpus(const char *out[8])
{
    static const char *const x86[] = {"x86-64-v4", "x86-64-v3", "x86-64-v2", "x86-64"};
    size_t n = 0;
    lap_machine *here = lap_machine_new(NULL, NULL, NULL);
    assert_non_null(here);
    const char *level = lap_machine_target(here)->name;
    out[n++] = NULL;
    bool is_below = false;
    for (size_t i = 0; i < 4; i++) {
        if (is_below) {
            out[n++] = x86[i];
        }
        is_below = is_below || strcmp(x86[i], level) == 0;
    }
    lap_machine_free(here);
    return n;
}

/* Numbers that look random and are the same every time. */
static inline uint32_t rig_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static inline float rig_float(uint32_t *state) { return (float)rig_random(state) / (float)(1 << 23) - 1.0f; }

#endif
