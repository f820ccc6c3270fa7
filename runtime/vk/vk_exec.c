/* SPDX-License-Identifier: Apache-2.0
 * vk_exec.c - a program on a device, behind lap_exec: the same sizes and checks, other memory and
 * other kernels. */
#include <stdlib.h>
#include <string.h>

#include "runtime/vk/vk_exec.h"

/* ---- the load phase ------------------------------------------------------------------------ */

/* Constants and weights to the device. */
static bool upload(lap_vk_exec *x, lap_fault *fault)
{
    const lap_image *image = &x->exec->image;
    for (uint32_t i = 0; i < image->n_buffers; i++) {
        const lap_image_buffer *b = &image->buffers[i];
        const void *from = b->kind == LAP_BUF_CONST    ? b->bytes
                           : b->kind == LAP_BUF_WEIGHT ? x->exec->weights[b->leaf].data
                                                       : NULL;
        if (from && x->places[i].block && !lap_vk_write(x, i, from, x->places[i].size, fault)) {
            return false;
        }
    }
    return true;
}

/* A run on a device that checks itself fails where the layer has complained. */
static bool heard_nothing(lap_vk *vk, lap_fault *fault)
{
    const char *text = lap_vk_complaint(vk);
    return !text || lap_fault_set(fault, LAP_INTERNAL, "Vulkan validation: %s", text);
}

static bool load(void *self, lap_exec *exec, lap_fault *fault)
{
    (void)exec;
    lap_vk_exec *x = self;
    lap_vk_clear_status(x);
    return upload(x, fault) && lap_vk_run_parts(x, &x->load_parts, fault) && lap_vk_check_status(x, fault) &&
           heard_nothing(x->vk, fault);
}

static bool bind(void *self, lap_exec *exec, lap_fault *fault)
{
    lap_vk_exec *x = self;
    x->exec = exec;
    return lap_vk_place_buffers(x, fault) && lap_vk_record(x, fault);
}

/* ---- a run --------------------------------------------------------------------------------- */

static void put_inputs(lap_vk_exec *x)
{
    const lap_exec *exec = x->exec;
    for (uint32_t i = 0; i < exec->image.n_buffers; i++) {
        const lap_vk_place *p = &x->places[i];
        if (exec->image.buffers[i].kind == LAP_BUF_INPUT && p->block && p->size > 0) {
            char *to = p->staged != SIZE_MAX ? x->stage.host + p->staged : p->block->host + p->offset;
            memcpy(to, exec->at[i], p->size);
        }
    }
}

static void take_outputs(lap_vk_exec *x)
{
    const lap_exec *exec = x->exec;
    for (uint32_t i = 0; i < exec->image.n_buffers; i++) {
        const lap_vk_place *p = &x->places[i];
        if (exec->image.buffers[i].kind == LAP_BUF_OUTPUT && p->block && p->size > 0) {
            const char *from = p->staged != SIZE_MAX ? x->stage.host + p->staged : p->block->host + p->offset;
            memcpy(exec->at[i], from, p->size);
        }
    }
}

/* Counts by which outputs are cropped, where the host looks for them. */
static bool take_counts(lap_vk_exec *x, lap_fault *fault)
{
    lap_exec *exec = x->exec;
    for (uint32_t i = 0; i < exec->image.n_leaves[LAP_LEAF_OUTPUT]; i++) {
        const lap_image_leaf *leaf = &exec->image.leaves[LAP_LEAF_OUTPUT][i];
        for (uint32_t axis = 0; axis < leaf->rank; axis++) {
            uint32_t b = leaf->crop[axis] - 1;
            if (leaf->crop[axis] == 0 || !x->places[b].block || x->places[b].size < sizeof *x->cells) {
                continue;
            }
            if (!lap_vk_read(x, b, &x->cells[b], sizeof *x->cells, fault)) {
                return false;
            }
            lap_buffer_kind kind = exec->image.buffers[b].kind;
            if (kind != LAP_BUF_INPUT && kind != LAP_BUF_OUTPUT) {
                exec->at[b] = &x->cells[b];
            }
        }
    }
    return true;
}

static bool run(void *self, lap_exec *exec, lap_fault *fault)
{
    (void)exec;
    lap_vk_exec *x = self;
    put_inputs(x);
    lap_vk_clear_status(x);
    if (!lap_vk_run_parts(x, &x->run_parts, fault) || !lap_vk_check_status(x, fault) ||
        !heard_nothing(x->vk, fault)) {
        return false;
    }
    take_outputs(x);
    return take_counts(x, fault);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void drop(void *self)
{
    lap_vk_exec *x = self;
    lap_vk *vk = x->vk;
    if (x->exec && x->set) {
        lap_vk_forget(x);
    }
    for (uint32_t k = 0; x->exec && x->pipelines && k < x->exec->image.n_kernels; k++) {
        lap_vk_pipeline_free(vk, &x->pipelines[k]);
    }
    lap_vk_block *const blocks[] = {&x->keep, &x->run, &x->host, &x->stage};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        lap_vk_block_free(vk, blocks[i]);
    }
    if (x->commands) {
        vk->api.DestroyCommandPool(vk->device, x->commands, NULL);
    }
    if (x->fence) {
        vk->api.DestroyFence(vk->device, x->fence, NULL);
    }
    for (uint32_t i = 0; x->exec && x->rooms && i < x->exec->image.n_buffers; i++) {
        lap_room_free(&x->rooms[i]);
    }
    free(x->rooms);
    free(x->pipelines);
    free(x->places);
    free(x->set);
    free(x->cells);
    free(x);
}

static const lap_device_ops ops = {.bind = bind, .load = load, .run = run, .close = drop};

static bool make_objects(lap_vk_exec *x, lap_fault *fault)
{
    lap_vk *vk = x->vk;
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                    .queueFamilyIndex = vk->family};
    VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                        .commandBufferCount = 1};
    VkResult result = vk->api.CreateCommandPool(vk->device, &pool, NULL, &x->commands);
    if (result == VK_SUCCESS) {
        info.commandPool = x->commands;
        result = vk->api.AllocateCommandBuffers(vk->device, &info, &x->transfer);
    }
    if (result == VK_SUCCESS) {
        result = vk->api.CreateFence(vk->device, &fence, NULL, &x->fence);
    }
    return result == VK_SUCCESS || lap_vk_failed(vk, result, "commands", fault);
}

static bool make_arrays(lap_vk_exec *x, lap_fault *fault)
{
    const lap_image *image = &x->exec->image;
    x->pipelines = calloc(image->n_kernels + 1u, sizeof *x->pipelines);
    x->places = calloc(image->n_buffers + 1u, sizeof *x->places);
    x->set = calloc(image->n_steps + 1u, sizeof *x->set);
    x->cells = calloc(image->n_buffers + 1u, sizeof *x->cells);
    x->rooms = calloc(image->n_buffers + 1u, sizeof *x->rooms);
    return (x->pipelines && x->places && x->set && x->cells && x->rooms) ||
           lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
}

static const char *need_text(uint32_t lacking)
{
    static const char *const texts[] = {
#define LAP_VK_ROW(enum_, text) text,
        LAP_VK_NEEDS(LAP_VK_ROW)
#undef LAP_VK_ROW
    };
    return texts[__builtin_ctz(lacking)];
}

static bool can_run(const lap_vk_exec *x, lap_fault *fault)
{
    const lap_vk_info *info = &x->vk->info;
    for (uint32_t i = 0; i < x->exec->image.n_kernels; i++) {
        const lap_vk_kernel *k = &x->kernels[i];
        const char *name = x->exec->image.kernels[i].name, *place = x->exec->image.kernels[i].place;
        uint32_t lacking = k->needs & ~info->has;
        if (lacking != 0) {
            return lap_fault_at(fault, LAP_NO_DEVICE, place, "%s lacks %s, which kernel %s needs", info->name,
                                need_text(lacking), name);
        }
        if (lap_vk_bindings(k) - 1 > info->storage_buffers) {
            return lap_fault_at(fault, LAP_NO_DEVICE, place, "kernel %s needs %u buffers, %s has %u", name,
                                lap_vk_bindings(k) - 1, info->name, info->storage_buffers);
        }
        if (k->shared_bytes > info->shared_bytes) {
            return lap_fault_at(fault, LAP_NO_DEVICE, place,
                                "kernel %s needs %u bytes of shared memory, %s has %u", name, k->shared_bytes,
                                info->name, info->shared_bytes);
        }
    }
    return true;
}

lap_exec *lap_vk_exec_open(lap_vk *vk, const void *image, size_t n_bytes, const lap_vk_kernel *kernels,
                           const lap_exec_options *options, lap_fault *fault)
{
    lap_vk_exec *x = calloc(1, sizeof *x);
    if (!x) {
        lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
        return NULL;
    }
    x->vk = vk;
    x->kernels = kernels;
    lap_exec *exec = lap_exec_open_on(image, n_bytes, &ops, x, options, fault);
    if (!exec) {
        drop(x);
        return NULL;
    }
    x->exec = exec;
    if (!can_run(x, fault) || !make_arrays(x, fault) || !make_objects(x, fault)) {
        lap_exec_close(exec);
        return NULL;
    }
    return exec;
}
