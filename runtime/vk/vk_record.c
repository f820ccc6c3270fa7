/* SPDX-License-Identifier: Apache-2.0
 * vk_record.c - from steps to parts: command buffers, and the places between them where the host acts.
 *
 * Recorded once per binding. Every command waits for the one before it: the kernels of a model are
 * mostly a chain. */
#include <stdlib.h>
#include <string.h>

#include "runtime/vk/vk_exec.h"

enum { MOST_COMMANDS = 4096 }; /* of a loop that is recorded round by round */

typedef struct recorder {
    lap_vk_exec *x;
    lap_vk_parts *parts;  /* being filled */
    VkCommandBuffer open; /* NULL: no command buffer is being recorded */
    uint32_t launch;      /* number of the next one */
    lap_fault *fault;
} recorder;

static bool out_of_memory(lap_fault *fault) { return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory"); }

static lap_vk_part *add_part(recorder *r, lap_vk_part_kind kind, const lap_image_step *step)
{
    lap_vk_parts *p = r->parts;
    if (p->n == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 8;
        lap_vk_part *at = realloc(p->at, capacity * sizeof *at);
        if (!at) {
            out_of_memory(r->fault);
            return NULL;
        }
        p->at = at;
        p->capacity = capacity;
    }
    p->at[p->n] = (lap_vk_part){.kind = kind, .step = step};
    return &p->at[p->n++];
}

/* ---- command buffers ----------------------------------------------------------------------- */

static void barrier(const recorder *r, VkPipelineStageFlags to_stage, VkAccessFlags to)
{
    const VkPipelineStageFlags work = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    VkMemoryBarrier memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                              .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                              .dstAccessMask = to};
    r->x->vk->api.CmdPipelineBarrier(r->open, work, to_stage, 0, 1, &memory, 0, NULL, 0, NULL);
}

static void barrier_between(const recorder *r)
{
    barrier(r, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
            VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT |
                VK_ACCESS_TRANSFER_WRITE_BIT);
}

/* A command may follow: opens a buffer, or waits for what stands in it. */
static bool ready(recorder *r)
{
    lap_vk *vk = r->x->vk;
    if (r->open) {
        barrier_between(r);
        return true;
    }
    VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                        .commandPool = r->x->commands,
                                        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                        .commandBufferCount = 1};
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    VkCommandBuffer commands;
    VkResult result = vk->api.AllocateCommandBuffers(vk->device, &info, &commands);
    if (result != VK_SUCCESS || (result = vk->api.BeginCommandBuffer(commands, &begin)) != VK_SUCCESS) {
        return lap_vk_failed(vk, result, "commands", r->fault);
    }
    lap_vk_part *part = add_part(r, LAP_VK_COMMANDS, NULL);
    if (!part) {
        return false;
    }
    part->commands = commands;
    r->open = commands;
    return true;
}

/* The host goes on here. */
static bool end_commands(recorder *r)
{
    if (!r->open) {
        return true;
    }
    barrier(r, VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
    VkResult result = r->x->vk->api.EndCommandBuffer(r->open);
    r->open = NULL;
    return result == VK_SUCCESS || lap_vk_failed(r->x->vk, result, "commands", r->fault);
}

/* ---- launches ------------------------------------------------------------------------------ */

/* Keeps why the step cannot run, for when it is reached. */
static bool refuse(recorder *r, const lap_fault *why)
{
    if (!end_commands(r)) {
        return false;
    }
    lap_vk_part *part = add_part(r, LAP_VK_REFUSAL, NULL);
    if (!part) {
        return false;
    }
    part->fault = malloc(sizeof *part->fault);
    if (!part->fault) {
        return out_of_memory(r->fault);
    }
    *part->fault = *why;
    return true;
}

static bool fits_device(const lap_vk_exec *x, const lap_image_step *s, lap_fault *why)
{
    const lap_vk_info *info = &x->vk->info;
    const lap_image_kernel *record = &x->exec->image.kernels[s->kernel];
    const lap_vk_kernel *k = &x->kernels[s->kernel];
    for (uint32_t i = 0; i + LAP_VK_STEPS <= record->n_dims - k->n_params; i++) { /* the grid is one too */
        uint32_t dim = i == 0 ? record->grid : record->dims[k->n_params + i - 1];
        if (x->exec->dims[dim] >= LAP_VK_MOST_INDEX) {
            return lap_fault_at(why, LAP_NO_DEVICE, record->place,
                                "kernel %s counts to %lld (%s): too much for 32 bits on a device",
                                record->name, (long long)x->exec->dims[dim], x->exec->image.dims[dim].text);
        }
    }
    lap_vk_shares shares = lap_vk_share_out(x, s->kernel);
    if (shares.n == 0) {
        return lap_fault_at(why, LAP_NO_DEVICE, record->place,
                            "kernel %s may go round its loops %llu times in one step, %s stops after %llu",
                            record->name, (unsigned long long)shares.rounds, info->name,
                            (unsigned long long)info->most_rounds);
    }
    for (uint32_t i = 0; i < s->n_buffers; i++) {
        if (!k->by_address && x->places[s->buffers[i]].size > info->buffer_bytes) {
            return lap_fault_at(why, LAP_NO_DEVICE, record->place,
                                "kernel %s needs a buffer of %zu bytes, %s has at most %llu", record->name,
                                x->places[s->buffers[i]].size, info->name,
                                (unsigned long long)info->buffer_bytes);
        }
    }
    return true;
}

/* Whether the launch can run with these sizes on this device. */
static bool can_launch(const lap_vk_exec *x, const lap_image_step *s, lap_fault *why)
{
    if (!lap_exec_can_launch(x->exec, &x->exec->image.kernels[s->kernel], why)) {
        return false;
    }
    for (uint32_t i = 0; i < s->n_buffers; i++) {
        if (!x->places[s->buffers[i]].block) {
            return lap_exec_no_operand(x->exec, s->buffers[i], why);
        }
    }
    return fits_device(x, s, why);
}

static void write_addresses(const lap_vk_exec *x, const lap_image_step *s, uint32_t *to)
{
    for (uint32_t i = 0; i < s->n_buffers; i++) {
        const lap_vk_place *p = &x->places[s->buffers[i]];
        uint64_t address = p->block->address + p->offset;
        to[2 * i] = (uint32_t)(address & UINT32_MAX);
        to[2 * i + 1] = (uint32_t)(address >> 32);
    }
}

static void write_params(recorder *r, uint32_t step, const lap_image_step *s)
{
    const lap_exec *exec = r->x->exec;
    const lap_image_kernel *record = &exec->image.kernels[s->kernel];
    uint32_t *to = (uint32_t *)(void *)(r->x->host.host + lap_vk_params_at(r->x, step));
    to[0] = r->launch < 0xfffe ? r->launch : 0xfffe;
    to[1] = (uint32_t)exec->dims[record->grid];
    for (uint32_t i = 0; i < r->x->kernels[s->kernel].n_params; i++) {
        to[2 + i] = (uint32_t)(uint64_t)exec->dims[record->dims[i]];
    }
    if (r->x->kernels[s->kernel].by_address) {
        write_addresses(r->x, s, to + 2 + r->x->kernels[s->kernel].n_params);
    }
    r->launch++;
}

static VkDescriptorBufferInfo whole(const lap_vk_place *p)
{
    enum { WORD = 4, LEAST = 16 };
    size_t size = (p->size + WORD - 1) / WORD * WORD;
    return (VkDescriptorBufferInfo){p->block->buffer, p->offset, size < LEAST ? LEAST : size};
}

/* What the kernel's bindings are, in order. */
static void list_bindings(const recorder *r, uint32_t step, const lap_image_step *s,
                          VkDescriptorBufferInfo *out)
{
    const lap_vk_exec *x = r->x;
    size_t at = x->scratch_at, line = (size_t)x->vk->storage_align;
    uint32_t n = LAP_VK_FIRST_BUFFER, groups = lap_vk_groups(x, s->kernel);
    line = line > LAP_PLAN_ALIGN ? line : LAP_PLAN_ALIGN;
    out[LAP_VK_PARAMS] = (VkDescriptorBufferInfo){x->host.buffer, lap_vk_params_at(x, step),
                                                  lap_vk_words(&x->kernels[s->kernel]) * sizeof(uint32_t)};
    out[LAP_VK_STATUS] = (VkDescriptorBufferInfo){x->host.buffer, 0, sizeof(uint32_t)};
    for (uint32_t i = 0; !x->kernels[s->kernel].by_address && i < x->kernels[s->kernel].n_operands; i++) {
        out[n++] = whole(&x->places[s->buffers[i]]);
    }
    for (uint32_t i = 0; i < x->kernels[s->kernel].n_scratch; i++) {
        size_t size = lap_vk_scratch_bytes(x, s->kernel, i) * groups;
        lap_vk_place place = {(lap_vk_block *)&x->run, at, size, SIZE_MAX};
        out[n++] = whole(&place);
        at += (size + line - 1) / line * line;
    }
}

static bool make_set(recorder *r, uint32_t step, const lap_image_step *s)
{
    lap_vk_exec *x = r->x;
    lap_vk *vk = x->vk;
    const lap_vk_kernel *k = &x->kernels[s->kernel];
    uint32_t n = lap_vk_bindings(k);
    VkDescriptorSetAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                        .descriptorPool = x->sets,
                                        .descriptorSetCount = 1,
                                        .pSetLayouts = &x->pipelines[s->kernel].set};
    VkResult result = vk->api.AllocateDescriptorSets(vk->device, &info, &x->set[step]);
    if (result != VK_SUCCESS) {
        x->set[step] = VK_NULL_HANDLE;
        return lap_vk_failed(vk, result, "descriptors", r->fault);
    }
    VkDescriptorBufferInfo *infos = calloc(n, sizeof *infos);
    VkWriteDescriptorSet *writes = calloc(n, sizeof *writes);
    if (infos && writes) {
        list_bindings(r, step, s, infos);
        for (uint32_t i = 0; i < n; i++) {
            writes[i] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                               .dstSet = x->set[step],
                                               .dstBinding = i,
                                               .descriptorCount = 1,
                                               .descriptorType = i == LAP_VK_PARAMS
                                                                     ? VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER
                                                                     : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                               .pBufferInfo = &infos[i]};
        }
        vk->api.UpdateDescriptorSets(vk->device, n, writes, 0, NULL);
        write_params(r, step, s);
    }
    bool ok = infos && writes;
    free(infos);
    free(writes);
    return ok || out_of_memory(r->fault);
}

static bool record_launch(recorder *r, const lap_image_step *s)
{
    lap_vk_exec *x = r->x;
    lap_vk *vk = x->vk;
    lap_fault why = {0};
    uint32_t step = (uint32_t)(s - x->exec->image.steps);
    if (!can_launch(x, s, &why)) {
        return refuse(r, &why);
    }
    uint32_t groups = lap_vk_groups(x, s->kernel);
    if (groups == 0) {
        return true;
    }
    lap_vk_pipeline *p = &x->pipelines[s->kernel];
    if (!p->pipeline && !lap_vk_pipeline_make(vk, &x->kernels[s->kernel],
                                              x->exec->image.kernels[s->kernel].name, p, r->fault)) {
        return false;
    }
    if ((!x->set[step] && !make_set(r, step, s)) || !ready(r)) {
        return false;
    }
    vk->api.CmdBindPipeline(r->open, VK_PIPELINE_BIND_POINT_COMPUTE, p->pipeline);
    vk->api.CmdBindDescriptorSets(r->open, VK_PIPELINE_BIND_POINT_COMPUTE, p->layout, 0, 1, &x->set[step], 0,
                                  NULL);
    lap_vk_shares shares = lap_vk_share_out(x, s->kernel);
    for (uint64_t i = 0; i < shares.n; i++) {
        lap_vk_share share = lap_vk_share_at(&shares, i);
        if (i > 0) {
            barrier_between(r);
        }
        vk->api.CmdPushConstants(r->open, p->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof share, &share);
        vk->api.CmdDispatch(r->open, groups, 1, 1);
    }
    return true;
}

/* ---- other steps --------------------------------------------------------------------------- */

static bool record_steps(recorder *r, uint32_t first, uint32_t n);

static bool record_copy(recorder *r, const lap_image_step *s)
{
    lap_vk_exec *x = r->x;
    const lap_vk_place *from = &x->places[s->from], *to = &x->places[s->to];
    lap_fault why = {0};
    if (!from->block || !to->block) {
        lap_exec_no_operand(x->exec, from->block ? s->to : s->from, &why);
        return refuse(r, &why);
    }
    if (from->size != to->size) {
        return lap_fault_set(r->fault, LAP_INTERNAL, "buffers %u and %u of the program differ in size",
                             s->from, s->to);
    }
    if (from->size == 0) {
        return true;
    }
    VkBufferCopy region = {from->offset, to->offset, from->size};
    if (!ready(r)) {
        return false;
    }
    x->vk->api.CmdCopyBuffer(r->open, from->block->buffer, to->block->buffer, 1, &region);
    return true;
}

/* Commands that recording the steps would take; more than MOST_COMMANDS where the host must act. */
static int64_t count_commands(const lap_vk_exec *x, uint32_t first, uint32_t n)
{
    int64_t sum = 0;
    for (uint32_t i = first; i < first + n && sum <= MOST_COMMANDS; i++) {
        const lap_image_step *s = &x->exec->image.steps[i];
        lap_fault why = {0};
        bool is_plain = s->kind == LAP_STEP_LAUNCH ? can_launch(x, s, &why) : s->kind == LAP_STEP_COPY;
        if (s->kind == LAP_STEP_LOOP && s->test < 0 && x->exec->dim_state[s->limit] == LAP_EXTENT_OK) {
            int64_t body = count_commands(x, s->body, s->n_body) + 1;
            int64_t rounds = x->exec->dims[s->limit] > 0 ? x->exec->dims[s->limit] : 0;
            sum += rounds > MOST_COMMANDS ? MOST_COMMANDS + 1 : rounds * body;
        } else {
            uint64_t own = is_plain && s->kind == LAP_STEP_LAUNCH ? lap_vk_share_out(x, s->kernel).n : 1;
            sum += is_plain && own <= MOST_COMMANDS ? (int64_t)own : MOST_COMMANDS + 1;
        }
    }
    return sum;
}

static bool record_counter(recorder *r, const lap_image_step *s, int64_t value)
{
    if (s->counter < 0) {
        return true;
    }
    const lap_vk_place *p = &r->x->places[s->counter];
    if (!p->block || p->size < sizeof value) {
        return lap_fault_set(r->fault, LAP_INTERNAL, "buffer %d of the program has no element",
                             (int)s->counter);
    }
    if (!ready(r)) {
        return false;
    }
    r->x->vk->api.CmdUpdateBuffer(r->open, p->block->buffer, p->offset, sizeof value, &value);
    return true;
}

static bool record_into(recorder *r, lap_vk_parts *into, uint32_t first, uint32_t n)
{
    lap_vk_parts *outer = r->parts;
    r->parts = into;
    bool ok = record_steps(r, first, n) && end_commands(r);
    r->parts = outer;
    return ok;
}

/* The host looks at the test, or counts where there are too many rounds to record. */
static bool record_nested(recorder *r, lap_vk_part_kind kind, const lap_image_step *s)
{
    if (!end_commands(r) || !add_part(r, kind, s)) {
        return false;
    }
    size_t at = r->parts->n - 1;
    lap_vk_parts test = {0}, body = {0}, other = {0};
    uint32_t n_test = kind == LAP_VK_LOOP ? s->n_test : 0;
    bool ok = record_into(r, &test, s->body, n_test) &&
              record_into(r, &body, s->body + n_test, s->n_body - n_test) &&
              record_into(r, &other, s->other, s->n_other);
    r->parts->at[at].test = test;
    r->parts->at[at].body = body;
    r->parts->at[at].other = other;
    return ok;
}

static bool record_loop(recorder *r, const lap_image_step *s)
{
    const lap_exec *exec = r->x->exec;
    if (exec->dim_state[s->limit] != LAP_EXTENT_OK) {
        lap_fault why = {0};
        lap_fault_set(&why, LAP_BAD_INPUT, "%s %s", exec->image.dims[s->limit].text,
                      lap_extent_trouble((lap_extent_state)exec->dim_state[s->limit]));
        return refuse(r, &why);
    }
    int64_t limit = exec->dims[s->limit];
    if (s->test >= 0 || limit > MOST_COMMANDS ||
        limit * (count_commands(r->x, s->body, s->n_body) + 1) > MOST_COMMANDS) {
        return record_nested(r, LAP_VK_LOOP, s);
    }
    for (int64_t i = 0; i < limit; i++) {
        if (!record_counter(r, s, s->reverse ? limit - 1 - i : i) || !record_steps(r, s->body, s->n_body)) {
            return false;
        }
    }
    return true;
}

/* Host memory for what a foreign operation reads and makes. */
static bool make_rooms(recorder *r, const lap_image_step *s)
{
    const uint32_t *at = s->operands;
    for (uint32_t i = 0; i < s->n_inputs + s->n_outputs; i++, at += 2 + at[1]) {
        const lap_vk_place *p = at[0] ? &r->x->places[at[0] - 1] : NULL;
        if (p && p->block && !p->block->host && !lap_room_grow(&r->x->rooms[at[0] - 1], p->size, r->fault)) {
            return false;
        }
    }
    return true;
}

static bool record_step(recorder *r, const lap_image_step *s)
{
    switch (s->kind) {
    case LAP_STEP_LAUNCH:
        return record_launch(r, s);
    case LAP_STEP_COPY:
        return record_copy(r, s);
    case LAP_STEP_LOOP:
        return record_loop(r, s);
    case LAP_STEP_BRANCH:
        return record_nested(r, LAP_VK_BRANCH, s);
    case LAP_STEP_FOREIGN:
        return end_commands(r) && add_part(r, LAP_VK_FOREIGN, s) && make_rooms(r, s);
    }
    return false;
}

static bool record_steps(recorder *r, uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++) {
        if (!record_step(r, &r->x->exec->image.steps[i])) {
            return false;
        }
    }
    return true;
}

/* ---- the whole ----------------------------------------------------------------------------- */

/* Contents of inputs to the device, of outputs from it, where that takes a copy. */
static bool record_staging(recorder *r, lap_buffer_kind kind)
{
    const lap_exec *exec = r->x->exec;
    for (uint32_t i = 0; i < exec->image.n_buffers; i++) {
        const lap_vk_place *p = &r->x->places[i];
        if (exec->image.buffers[i].kind != kind || !p->block || p->staged == SIZE_MAX || p->size == 0) {
            continue;
        }
        bool is_in = kind == LAP_BUF_INPUT;
        VkBufferCopy region = {is_in ? p->staged : p->offset, is_in ? p->offset : p->staged, p->size};
        if (!ready(r)) {
            return false;
        }
        r->x->vk->api.CmdCopyBuffer(r->open, is_in ? r->x->stage.buffer : p->block->buffer,
                                    is_in ? p->block->buffer : r->x->stage.buffer, 1, &region);
    }
    return true;
}

static bool record_top(recorder *r, lap_vk_parts *into, bool on_load)
{
    const lap_image *image = &r->x->exec->image;
    r->parts = into;
    bool ok = on_load || record_staging(r, LAP_BUF_INPUT);
    for (uint32_t i = 0; ok && i < image->n_top; i++) {
        ok = image->steps[i].on_load != on_load || record_step(r, &image->steps[i]);
    }
    return ok && (on_load || record_staging(r, LAP_BUF_OUTPUT)) && end_commands(r);
}

/* Room for the descriptors of every launch of the image. */
static bool make_pool(lap_vk_exec *x, lap_fault *fault)
{
    const lap_image *image = &x->exec->image;
    uint32_t n_sets = 1, n_buffers = 1;
    for (uint32_t i = 0; i < image->n_steps; i++) {
        if (image->steps[i].kind == LAP_STEP_LAUNCH) {
            const lap_vk_kernel *k = &x->kernels[image->steps[i].kernel];
            n_sets++;
            n_buffers += lap_vk_bindings(k);
        }
    }
    VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, n_sets},
                                    {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, n_buffers}};
    VkDescriptorPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                       .maxSets = n_sets,
                                       .poolSizeCount = 2,
                                       .pPoolSizes = sizes};
    VkResult result = x->vk->api.CreateDescriptorPool(x->vk->device, &info, NULL, &x->sets);
    if (result != VK_SUCCESS) {
        x->sets = VK_NULL_HANDLE;
        return lap_vk_failed(x->vk, result, "descriptors", fault);
    }
    return true;
}

bool lap_vk_record(lap_vk_exec *x, lap_fault *fault)
{
    lap_vk_forget(x);
    recorder r = {.x = x, .fault = fault};
    return make_pool(x, fault) && record_top(&r, &x->load_parts, true) &&
           record_top(&r, &x->run_parts, false);
}

static void free_parts(lap_vk_exec *x, lap_vk_parts *parts)
{
    for (size_t i = 0; i < parts->n; i++) {
        lap_vk_part *p = &parts->at[i];
        if (p->commands) {
            x->vk->api.FreeCommandBuffers(x->vk->device, x->commands, 1, &p->commands);
        }
        free_parts(x, &p->test);
        free_parts(x, &p->body);
        free_parts(x, &p->other);
        free(p->fault);
    }
    free(parts->at);
    *parts = (lap_vk_parts){0};
}

void lap_vk_forget(lap_vk_exec *x)
{
    free_parts(x, &x->load_parts);
    free_parts(x, &x->run_parts);
    if (x->sets) {
        x->vk->api.DestroyDescriptorPool(x->vk->device, x->sets, NULL);
        x->sets = VK_NULL_HANDLE;
    }
    memset(x->set, 0, (x->exec->image.n_steps + 1u) * sizeof *x->set);
}
