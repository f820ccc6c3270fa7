/* SPDX-License-Identifier: Apache-2.0
 * test_random_vulkan.c - random graphs: on a Vulkan device against the reference evaluator. The
 * validation layer listens where LAPPET_VULKAN_CHECKS is set, and its messages are failures. */
#include "codegen/spirv/spirv.h"
#include "runtime/vk/vk.h"

enum { N_GRAPHS = 500 };

#include "tests/differential/random_rig.h"

struct backend {
    lap_vk *vk;
};

struct compiled {
    lap_exec *exec;
};

static backend *backend_open(lap_fault *fault)
{
    lap_vk *vk = lap_vk_open(NULL, fault);
    backend *b = vk ? calloc(1, sizeof *b) : NULL;
    if (b) {
        b->vk = vk;
    }
    return b;
}

static void backend_close(backend *b)
{
    if (b) {
        lap_vk_close(b->vk);
        free(b);
    }
}

static lap_exec *exec_of(const compiled *c) { return c->exec; }

static void release(compiled *c)
{
    if (c) {
        lap_exec_close(c->exec);
        free(c);
    }
}

static compiled *compile(lap_ctx *ctx, lap_graph *g, const backend *b, lap_fault *fault)
{
    lap_program *program;
    lap_spirv code;
    const lap_target *target = lap_vk_target(lap_vk_info_of(b->vk)->subgroup_size);
    if (!lap_lower(g, target, &(lap_pass_options){.verify = true}, &program)) {
        const char *why = lap_error_count(ctx) ? lap_error_text(ctx, 0) : "no reason given";
        lap_fault_set(fault, LAP_BAD_INPUT, "lower: %s", why);
        return NULL;
    }
    if (!lap_spirv_make(program, target, &code, fault)) {
        return NULL;
    }
    compiled *c = calloc(1, sizeof *c);
    c->exec = lap_vk_exec_open(b->vk, code.image, code.n_image, code.kernels, NULL, fault);
    if (!c->exec) {
        release(c);
        return NULL;
    }
    return c;
}

int main(void) { return random_main(); }
