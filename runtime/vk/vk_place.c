/* SPDX-License-Identifier: Apache-2.0
 * vk_place.c - the memory plan of a program on a device: the CPU's, with the device's alignment. */
#include <stdlib.h>
#include <string.h>

#include "runtime/vk/vk_exec.h"

static size_t align_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* Offsets of storage buffers; a multiple of the plan's lines. */
static size_t alignment(const lap_vk_exec *x)
{
    size_t a = (size_t)x->vk->storage_align;
    return a > LAP_PLAN_ALIGN ? a : LAP_PLAN_ALIGN;
}

static bool is_absent(const lap_exec *exec, const lap_image_buffer *b)
{
    return (b->kind == LAP_BUF_INPUT && !exec->is_given[b->leaf]) ||
           exec->dim_state[b->count] != LAP_EXTENT_OK;
}

/* ---- scratch ------------------------------------------------------------------------------- */

size_t lap_vk_scratch_bytes(const lap_vk_exec *x, uint32_t kernel, uint32_t scratch)
{
    const lap_vk_kernel *k = &x->kernels[kernel];
    const lap_image_kernel *record = &x->exec->image.kernels[kernel];
    uint32_t dim = record->dims[k->scratch_count[scratch]];
    int64_t count = x->exec->dim_state[dim] == LAP_EXTENT_OK ? x->exec->dims[dim] : 0;
    size_t bytes = 0;
    if (count <= 0 || __builtin_mul_overflow((size_t)count, (size_t)k->scratch_elem_bits[scratch], &bytes)) {
        return count <= 0 ? 0 : SIZE_MAX / 16;
    }
    return bytes / 8 + 1;
}

static size_t scratch_of_group(const lap_vk_exec *x, uint32_t kernel)
{
    size_t sum = 0;
    for (uint32_t i = 0; i < x->kernels[kernel].n_scratch; i++) {
        sum += lap_vk_scratch_bytes(x, kernel, i);
    }
    return sum;
}

/* As many workgroups as there are iterations, and as scratch memory allows: enough to fill a device. */
uint32_t lap_vk_groups(const lap_vk_exec *x, uint32_t kernel)
{
    enum { SCRATCH = 64 << 20, LEAST = 16, MOST = 4096 };
    const lap_exec *exec = x->exec;
    int64_t n = exec->dims[exec->image.kernels[kernel].grid];
    size_t bytes = scratch_of_group(x, kernel);
    if (bytes > 0) {
        size_t fit = SCRATCH / bytes;
        int64_t most = fit < LEAST ? LEAST : fit > MOST ? MOST : (int64_t)fit;
        n = n < most ? n : most;
    }
    return n < 0 ? 0 : n < (int64_t)x->vk->max_groups ? (uint32_t)n : x->vk->max_groups;
}

/* ---- shares ---------------------------------------------------------------------------------- */

static int64_t extent_from_end(const lap_vk_exec *x, uint32_t kernel, uint32_t place)
{
    const lap_image_kernel *record = &x->exec->image.kernels[kernel];
    uint32_t dim = record->dims[record->n_dims - place];
    int64_t v = x->exec->dim_state[dim] == LAP_EXTENT_OK ? x->exec->dims[dim] : INT32_MAX;
    return v < 1 ? 1 : v < INT32_MAX ? v : INT32_MAX;
}

bool lap_vk_has_full_subgroups(const lap_vk_info *info, const lap_vk_kernel *kernel, uint32_t *out_group)
{
    *out_group = kernel->group_size < info->group_size ? kernel->group_size : info->group_size;
    return info->has_full_subgroups && *out_group % info->subgroup_size == 0;
}

lap_vk_shares lap_vk_share_out(const lap_vk_exec *x, uint32_t kernel)
{
    const lap_vk_info *info = &x->vk->info;
    uint32_t group, n_groups = lap_vk_groups(x, kernel);
    bool is_one =
        lap_vk_has_full_subgroups(info, &x->kernels[kernel], &group) && group == info->subgroup_size;
    int64_t n = x->exec->dims[x->exec->image.kernels[kernel].grid];
    int64_t steps = extent_from_end(x, kernel, LAP_VK_STEPS);
    uint64_t rounds = (uint64_t)extent_from_end(x, kernel, is_one ? LAP_VK_ROUNDS : LAP_VK_ROUNDS_MET);
    lap_vk_shares s = {.n = 1, .n_parts = 1, .span = INT32_MAX, .steps = INT32_MAX, .rounds = rounds};
    uint64_t turns = n_groups > 0 ? ((uint64_t)n + n_groups - 1) / n_groups : 0;
    uint64_t most = info->most_rounds / rounds; /* steps; each launch walks through one more at least */
    if (info->most_rounds == 0 || turns == 0 || (uint64_t)steps * turns <= most) {
        return s;
    }
    if ((uint64_t)steps <= most) {
        s.span = (int64_t)(most / (uint64_t)steps) * n_groups;
    } else {
        s.span = n_groups;
        s.steps = (int64_t)most - 1;
        s.n_parts = s.steps > 0 ? ((uint64_t)steps + (uint64_t)s.steps - 1) / (uint64_t)s.steps : 0;
    }
    s.n = ((uint64_t)(n + s.span - 1) / (uint64_t)s.span) * s.n_parts;
    return s;
}

lap_vk_share lap_vk_share_at(const lap_vk_shares *s, uint64_t i)
{
    int64_t first = (int64_t)(i / s->n_parts) * s->span, from = (int64_t)(i % s->n_parts) * s->steps;
    int64_t last = first + s->span < INT32_MAX ? first + s->span : INT32_MAX;
    int64_t to = s->n_parts == 1 ? INT32_MAX : from + s->steps;
    return (lap_vk_share){(int32_t)first, (int32_t)last, (int32_t)from, (int32_t)to};
}

static bool scratch_total(const lap_vk_exec *x, size_t *out)
{
    *out = 0;
    for (uint32_t k = 0; k < x->exec->image.n_kernels; k++) {
        size_t sum = 0, groups = lap_vk_groups(x, k);
        for (uint32_t i = 0; i < x->kernels[k].n_scratch; i++) {
            size_t bytes;
            if (__builtin_mul_overflow(lap_vk_scratch_bytes(x, k, i), groups, &bytes) ||
                __builtin_add_overflow(sum, align_up(bytes, alignment(x)), &sum)) {
                return false;
            }
        }
        *out = sum > *out ? sum : *out;
    }
    return true;
}

/* ---- buffers ------------------------------------------------------------------------------- */

static bool append(lap_vk_exec *x, uint32_t buffer, lap_vk_block *block, size_t *total)
{
    size_t size = x->exec->n_bytes[buffer];
    x->places[buffer] = (lap_vk_place){block, *total, size, SIZE_MAX};
    return !__builtin_add_overflow(*total, align_up(size + 1, alignment(x)), total) && *total < SIZE_MAX / 4;
}

static bool plan_temps(lap_vk_exec *x, size_t *total)
{
    lap_exec *exec = x->exec;
    const lap_image *image = &exec->image;
    size_t line = alignment(x), size;
    uint32_t n = 0;
    for (uint32_t i = 0; i < image->n_buffers; i++) { /* in units of the device's lines */
        const lap_image_buffer *b = &image->buffers[i];
        if (b->kind == LAP_BUF_TEMP) {
            exec->items[n++] = (lap_plan_item){
                .size = (exec->n_bytes[i] / line + 1) * LAP_PLAN_ALIGN, .first = b->first, .last = b->last};
        }
    }
    if (!lap_plan(exec->items, n, &size) || __builtin_mul_overflow(size / LAP_PLAN_ALIGN, line, total)) {
        return false;
    }
    n = 0;
    for (uint32_t i = 0; i < image->n_buffers; i++) {
        if (image->buffers[i].kind == LAP_BUF_TEMP) {
            x->places[i] = (lap_vk_place){&x->run, exec->items[n++].offset / LAP_PLAN_ALIGN * line,
                                          exec->n_bytes[i], SIZE_MAX};
        }
    }
    return true;
}

static bool plan(lap_vk_exec *x, size_t *keep, size_t *run)
{
    const lap_image *image = &x->exec->image;
    *keep = 0;
    bool ok = plan_temps(x, run);
    for (uint32_t i = 0; ok && i < image->n_buffers; i++) {
        lap_buffer_kind kind = image->buffers[i].kind;
        if (kind == LAP_BUF_INPUT || kind == LAP_BUF_OUTPUT) {
            ok = append(x, i, &x->run, run);
        } else if (kind != LAP_BUF_TEMP) {
            ok = append(x, i, &x->keep, keep);
        }
    }
    size_t scratch = 0;
    x->scratch_at = *run;
    /* one line more: scratch of no elements must start inside the block too */
    return ok && scratch_total(x, &scratch) && !__builtin_add_overflow(scratch, alignment(x), &scratch) &&
           !__builtin_add_overflow(*run, scratch, run);
}

/* Contents that cross in every run get a place in the staging block; others go through its start. */
static bool plan_staging(lap_vk_exec *x, lap_fault *fault)
{
    enum { LEAST = 1 << 20 };
    const lap_image *image = &x->exec->image;
    if (x->run.host && x->keep.host) {
        return true;
    }
    size_t total = LEAST;
    for (uint32_t i = 0; i < image->n_buffers; i++) {
        lap_buffer_kind kind = image->buffers[i].kind;
        if (kind == LAP_BUF_INPUT || kind == LAP_BUF_OUTPUT) {
            x->places[i].staged = total;
            total += align_up(x->places[i].size + 1, LAP_PLAN_ALIGN);
        }
    }
    return lap_vk_block_grow(x->vk, &x->stage, LAP_VK_ON_HOST, total, fault);
}

bool lap_vk_place_buffers(lap_vk_exec *x, lap_fault *fault)
{
    lap_exec *exec = x->exec;
    size_t keep = 0, run = 0;
    if (!plan(x, &keep, &run)) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "the program needs more memory than can be addressed");
    }
    if (exec->max_bytes && (run > exec->max_bytes || keep > exec->max_bytes - run)) {
        return lap_fault_set(fault, LAP_BAD_INPUT,
                             "the program needs %zu bytes of workspace, allowed are %zu", keep + run,
                             exec->max_bytes);
    }
    exec->workspace = keep + run;
    size_t had = x->keep.size;
    x->param_stride = 0;
    for (uint32_t k = 0; k < exec->image.n_kernels; k++) {
        size_t bytes = lap_vk_words(&x->kernels[k]) * sizeof(uint32_t);
        x->param_stride = bytes > x->param_stride ? bytes : x->param_stride;
    }
    x->param_stride = align_up(x->param_stride + 16, 256); /* the most that a device may ask for */
    if (!lap_vk_block_grow(x->vk, &x->keep, LAP_VK_ON_DEVICE, keep, fault) ||
        !lap_vk_block_grow(x->vk, &x->run, LAP_VK_ON_DEVICE, run, fault) ||
        !lap_vk_block_grow(x->vk, &x->host, LAP_VK_ON_HOST, (exec->image.n_steps + 2) * x->param_stride,
                           fault)) {
        return false;
    }
    exec->is_loaded = exec->is_loaded && had == x->keep.size;
    for (uint32_t i = 0; i < exec->image.n_buffers; i++) {
        if (is_absent(exec, &exec->image.buffers[i])) {
            x->places[i].block = NULL;
        }
    }
    return plan_staging(x, fault);
}
