/* SPDX-License-Identifier: Apache-2.0
 * module.c - a program as the image and one SPIR-V module per kernel. */
#include <string.h>

#include "codegen/spirv/compile.h"
#include "codegen/spirv/kernel.h"

/* ---- extents of a kernel ---- */

typedef struct dim_list {
    lap_ctx *ctx;
    lap_dim *at;
    size_t n, capacity;
} dim_list;

static uint32_t add_dim(dim_list *list, lap_dim d)
{
    for (size_t i = 0; i < list->n; i++) {
        if (lap_dim_same(list->at[i], d)) {
            return (uint32_t)i;
        }
    }
    lap_arena_grow(list->ctx->arena, &list->at, list->n, 1, &list->capacity, sizeof *list->at);
    list->at[list->n] = d;
    return (uint32_t)list->n++;
}

static void add_variable(dim_list *list, lap_dim d)
{
    int64_t c;
    if (!lap_dim_is_const(list->ctx, d, &c)) {
        add_dim(list, d);
    }
}

lap_kernel_dims lap_shader_params(const lap_program *p, uint32_t kernel)
{
    const lap_graph *g = p->kernels[kernel].graph;
    dim_list list = {.ctx = p->ctx};
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        const lap_node *n = lap_node_at(g, (lap_ref){i});
        bool is_scratch =
            n->op == LAP_OP_BUFFER && lap_attr_i(n, LAP_ATTR_SPACE, LAP_SPACE_GLOBAL) == LAP_SPACE_SCRATCH;
        if (n->op == LAP_OP_DIM) {
            add_variable(&list, lap_attr_dim(n, LAP_ATTR_DIM));
        } else if (is_scratch) {
            add_variable(&list, lap_attr_dim(n, LAP_ATTR_COUNT));
        }
    }
    return (lap_kernel_dims){(uint32_t)list.n, list.at};
}

const char *lap_glsl_param(lap_shader *e, lap_dim d)
{
    uint32_t i = 0;
    while (i < e->params.n && !lap_dim_same(e->params.at[i], d)) {
        i++;
    }
    LAP_ENSURE(i < e->params.n);
    return lap_glsl_word(e, LAP_SHADER_FIRST_PARAM + i);
}

const char *lap_glsl_word(lap_shader *e, uint32_t i)
{
    return lap_glsl_print(e, "params[%u].%c", i / 4, "xyzw"[i % 4]);
}

/* ---- modules ---- */

static bool make_kernel(const lap_program *p, const lap_target *target, uint32_t k, lap_vk_kernel *out,
                        lap_kernel_dims *out_dims, lap_fault *fault)
{
    lap_shader_made made = lap_shader_make(p, target, k);
    lap_arena *arena = p->ctx->arena;
    dim_list list = {.ctx = p->ctx};
    lap_kernel_dims params = lap_shader_params(p, k);
    for (uint32_t i = 0; i < params.n; i++) {
        add_dim(&list, params.at[i]);
    }
    uint32_t *bits = lap_arena_array(arena, made.n_scratch + 2, sizeof *bits);
    uint32_t *counts = lap_arena_array(arena, made.n_scratch + 2, sizeof *counts);
    *out = (lap_vk_kernel){.n_params = params.n,
                           .needs = made.needs,
                           .n_operands = made.n_globals,
                           .by_address = made.by_address,
                           .scratch_elem_bits = bits,
                           .scratch_count = counts,
                           .shared_bytes = made.shared_bytes,
                           .group_size = target->group_size};
    for (uint32_t i = 0; i < made.n_scratch; i++) {
        if (lap_ref_some(made.scratch[i]) && !made.is_shared[i]) {
            const lap_node *n = lap_node_at(p->kernels[k].graph, made.scratch[i]);
            bits[out->n_scratch] = lap_dtype_bits((lap_dtype)lap_attr_i(n, LAP_ATTR_ELEM, LAP_F32));
            counts[out->n_scratch++] = add_dim(&list, lap_attr_dim(n, LAP_ATTR_COUNT));
        }
    }
    if (made.n_state > 0) {
        bits[out->n_scratch] = 32;
        counts[out->n_scratch++] = add_dim(&list, lap_dim_const(p->ctx, made.n_state));
    }
    lap_arena_grow(arena, &list.at, list.n, made.limits.n + 3, &list.capacity, sizeof *list.at);
    for (uint32_t i = 0; i < made.limits.n; i++) { /* a parameter may be a limit too */
        list.at[list.n++] = made.limits.at[i];
    }
    list.at[list.n++] = made.steps;
    list.at[list.n++] = made.rounds[0];
    list.at[list.n++] = made.rounds[1];
    *out_dims = (lap_kernel_dims){(uint32_t)list.n, list.at};
    return lap_spirv_compile(p->ctx, p->kernels[k].name, made.glsl, &out->words, &out->n_words, fault);
}

bool lap_spirv_make(const lap_program *p, const lap_target *target, lap_spirv *out, lap_fault *fault)
{
    lap_kernel_dims *dims = lap_arena_array(p->ctx->arena, p->n_kernels + 1, sizeof *dims);
    out->kernels = lap_arena_array(p->ctx->arena, p->n_kernels + 1, sizeof *out->kernels);
    for (uint32_t k = 0; k < p->n_kernels; k++) {
        if (!make_kernel(p, target, k, &out->kernels[k], &dims[k], fault)) {
            return false;
        }
    }
    out->image = lap_image_write_with(p, dims, &out->n_image);
    return true;
}

bool lap_spirv_text(const lap_program *p, const lap_target *target, uint32_t kernel, const char **out,
                    lap_fault *fault)
{
    const uint32_t *words;
    uint32_t n;
    return lap_spirv_compile(p->ctx, p->kernels[kernel].name, lap_spirv_glsl(p, target, kernel), &words, &n,
                             fault) &&
           lap_spirv_disassemble(p->ctx, words, n, out, fault);
}
