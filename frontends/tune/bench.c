/* SPDX-License-Identifier: Apache-2.0
 * bench.c - runs programs of the tuner in its children: the kernels of one site, with real contents. */
#include <string.h>

#include "codegen/image.h"
#include "codegen/spirv/spirv.h"
#include "frontends/tune/tuner.h"

lap_exec *lap_tuner_open(lap_tuner *t, const lap_program *p, lap_fault *fault)
{
    lap_exec_options options = {.n_threads = t->n_threads};
    if (t->machine != NULL) {
        size_t n_image;
        const void *image = lap_image_write(p, &n_image);
        lap_jit *jit = lap_jit_new(p, t->machine, fault); /* lives as long as the child */
        return jit != NULL ? lap_exec_open(image, n_image, lap_jit_kernels(jit), &options, fault) : NULL;
    }
    lap_spirv code;
    lap_vk *vk = lap_vk_open(t->o->compile->device, fault);
    return vk != NULL && lap_spirv_make(p, t->target, &code, fault)
               ? lap_vk_exec_open(vk, code.image, code.n_image, code.kernels, &options, fault)
               : NULL;
}

bool lap_buffer_bytes(lap_tuner *t, uint32_t buffer, size_t *out_count, size_t *out_bytes)
{
    const lap_buffer *b = &t->program->buffers[buffer];
    int64_t count;
    if (!lap_dim_eval(t->ctx, b->count, lap_sizes_value, lap_session_sizes(t->session), &count) ||
        count < 0) {
        return false;
    }
    *out_count = (size_t)count;
    return lap_dtype_bytes(b->elem, (size_t)count, out_bytes);
}

/* Contents of a buffer of the whole program as a flat tensor. */
static bool contents(lap_tuner *t, uint32_t buffer, lap_tensor *out, lap_fault *fault)
{
    const lap_buffer *b = &t->program->buffers[buffer];
    const lap_tensor *given = NULL;
    size_t count, n_bytes;
    if (!lap_buffer_bytes(t, buffer, &count, &n_bytes)) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "a buffer has no size");
    }
    *out = (lap_tensor){.dtype = b->elem, .rank = 1, .shape = {(int64_t)count}, .n_bytes = n_bytes};
    if (b->kind == LAP_BUF_INPUT) {
        given = lap_tensors_find(t->inputs, lap_text(t->ctx, t->program->inputs[b->leaf].name));
    } else if (b->kind == LAP_BUF_WEIGHT) {
        given = lap_tensors_find(t->weights, lap_text(t->ctx, t->program->weights[b->leaf].name));
    }
    out->data = given != NULL ? given->data : t->captured[buffer].data;
    return out->data != NULL || lap_fault_set(fault, LAP_BAD_INPUT, "an operand is missing");
}

static bool set_leaves(lap_tuner *t, const lap_alone *a, lap_leaf_kind kind, uint32_t first, uint32_t n,
                       lap_tensor *out, lap_fault *fault)
{
    for (uint32_t i = first; i < n; i++) {
        if (!contents(t, a->buffers[kind][i], &out[i], fault)) {
            return false;
        }
    }
    return true;
}

static bool set_sizes(lap_tuner *t, const lap_alone *a, lap_tensor *out, lap_fault *fault)
{
    for (uint32_t i = 0; i < a->n_symbols; i++) {
        int64_t size;
        if (!lap_sizes_value(lap_session_sizes(t->session), a->symbols[i], &size)) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "a size is not known");
        }
        out[i] = (lap_tensor){
            .dtype = LAP_I8, .rank = 1, .shape = {size}, .data = t->zeros, .n_bytes = (size_t)size};
    }
    return true;
}

static bool set_outputs(lap_bench_site *b, const lap_alone *a, lap_fault *fault)
{
    for (uint32_t i = 0; i < a->program.n_outputs; i++) {
        uint32_t k = 0;
        while (k < b->n_outputs && b->output_buffers[k] != a->buffers[LAP_LEAF_OUTPUT][i]) {
            k++;
        }
        if (k == b->n_outputs) {
            return lap_fault_set(fault, LAP_INTERNAL, "it writes what the default does not");
        }
        b->out[i] = (lap_tensor){.data = b->outputs[k].data, .n_bytes = b->outputs[k].n};
    }
    return true;
}

bool lap_bench_prepare(void *bench_site, lap_fault *fault)
{
    lap_bench_site *b = bench_site;
    lap_tuner *t = b->tuner;
    const lap_alone *a =
        lap_site_alone(t->lowering, b->site, &b->schedule, lap_sizes_value, lap_session_sizes(t->session));
    if (a == NULL) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "it cannot be lowered");
    }
    lap_tensor *weights = lap_arena_array(t->ctx->arena, a->program.n_weights + 1u, sizeof *weights);
    b->in = lap_arena_array(t->ctx->arena, a->program.n_inputs + 1u, sizeof *b->in);
    b->out = lap_arena_array(t->ctx->arena, a->program.n_outputs + 1u, sizeof *b->out);
    if (!set_sizes(t, a, b->in, fault) ||
        !set_leaves(t, a, LAP_LEAF_INPUT, a->n_symbols, a->program.n_inputs, b->in, fault) ||
        !set_leaves(t, a, LAP_LEAF_WEIGHT, 0, a->program.n_weights, weights, fault) ||
        !set_outputs(b, a, fault)) {
        return false;
    }
    b->exec = lap_tuner_open(t, &a->program, fault);
    return b->exec != NULL && lap_exec_set_weight_tensors(b->exec, weights, fault) &&
           lap_exec_bind(b->exec, b->in, fault);
}

bool lap_bench_run(void *bench_site, lap_fault *fault)
{
    lap_bench_site *b = bench_site;
    return lap_exec_run(b->exec, b->in, b->out, fault);
}
