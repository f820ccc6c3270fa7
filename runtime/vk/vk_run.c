/* SPDX-License-Identifier: Apache-2.0
 * vk_run.c - runs recorded parts: submits, waits, looks at tests where steps depend on them. */
#include <string.h>

#include "runtime/foreign.h"
#include "runtime/vk/vk_exec.h"

/* ---- submitting ---------------------------------------------------------------------------- */

/* Longer than any step may take; a device that does not answer by then counts as lost. */
#define PATIENCE_NS UINT64_C(120000000000)

static bool submit(lap_vk_exec *x, VkCommandBuffer commands, lap_fault *fault)
{
    lap_vk *vk = x->vk;
    if (vk->is_lost) {
        return lap_vk_failed(vk, VK_ERROR_DEVICE_LOST, "commands", fault);
    }
    VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &commands};
    VkResult result = vk->api.ResetFences(vk->device, 1, &x->fence);
    if (result == VK_SUCCESS) {
        result = lap_vk_mishap_now(vk, LAP_VK_LOSS) ? VK_ERROR_DEVICE_LOST
                                                    : vk->api.QueueSubmit(vk->queue, 1, &info, x->fence);
    }
    if (result == VK_SUCCESS) {
        result = vk->api.WaitForFences(vk->device, 1, &x->fence, VK_TRUE, PATIENCE_NS);
        result = lap_vk_mishap_now(vk, LAP_VK_HANG) ? VK_TIMEOUT : result;
    }
    if (result == VK_TIMEOUT) {
        vk->is_lost = true;
        return lap_fault_set(fault, LAP_NO_DEVICE, "the device %s does not answer", vk->info.name);
    }
    return result == VK_SUCCESS || lap_vk_failed(vk, result, "commands", fault);
}

/* ---- single contents ----------------------------------------------------------------------- */

/* n bytes between the start of the staging block and the buffer at `offset`. */
static bool transfer(lap_vk_exec *x, const lap_vk_place *p, size_t offset, size_t n, bool is_in,
                     lap_fault *fault)
{
    lap_vk *vk = x->vk;
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    VkMemoryBarrier seen = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                            .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                            .dstAccessMask = VK_ACCESS_HOST_READ_BIT};
    VkBufferCopy region = {is_in ? 0 : p->offset + offset, is_in ? p->offset + offset : 0, n};
    VkResult result = vk->api.BeginCommandBuffer(x->transfer, &begin);
    if (result == VK_SUCCESS) {
        vk->api.CmdCopyBuffer(x->transfer, is_in ? x->stage.buffer : p->block->buffer,
                              is_in ? p->block->buffer : x->stage.buffer, 1, &region);
        vk->api.CmdPipelineBarrier(x->transfer, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0,
                                   1, &seen, 0, NULL, 0, NULL);
        result = vk->api.EndCommandBuffer(x->transfer);
    }
    return result == VK_SUCCESS ? submit(x, x->transfer, fault)
                                : lap_vk_failed(vk, result, "commands", fault);
}

/* In pieces of what the staging block's start holds. */
enum { PIECE = 1 << 20 };

bool lap_vk_write(lap_vk_exec *x, uint32_t buffer, const void *from, size_t n, lap_fault *fault)
{
    const lap_vk_place *p = &x->places[buffer];
    if (p->block->host) {
        if (n > 0) {
            memcpy(p->block->host + p->offset, from, n);
        }
        return true;
    }
    for (size_t at = 0; at < n; at += PIECE) {
        size_t piece = n - at < PIECE ? n - at : PIECE;
        memcpy(x->stage.host, (const char *)from + at, piece);
        if (!transfer(x, p, at, piece, true, fault)) {
            return false;
        }
    }
    return true;
}

bool lap_vk_read(lap_vk_exec *x, uint32_t buffer, void *to, size_t n, lap_fault *fault)
{
    const lap_vk_place *p = &x->places[buffer];
    if (p->block->host) {
        if (n > 0) {
            memcpy(to, p->block->host + p->offset, n);
        }
        return true;
    }
    for (size_t at = 0; at < n; at += PIECE) {
        size_t piece = n - at < PIECE ? n - at : PIECE;
        if (!transfer(x, p, at, piece, false, fault)) {
            return false;
        }
        memcpy((char *)to + at, x->stage.host, piece);
    }
    return true;
}

/* ---- status -------------------------------------------------------------------------------- */

void lap_vk_clear_status(lap_vk_exec *x) { memset(x->host.host, 0xff, sizeof(uint32_t)); }

bool lap_vk_check_status(lap_vk_exec *x, lap_fault *fault)
{
    uint32_t status;
    memcpy(&status, x->host.host, sizeof status);
    if (status == UINT32_MAX) {
        return true;
    }
    uint32_t number = status & 0xffff;
    if (number >= x->exec->image.n_messages) {
        return lap_fault_set(fault, LAP_INTERNAL, "a kernel gave the unknown code %u", number);
    }
    const lap_image_message *m = &x->exec->image.messages[number];
    return lap_fault_at(fault, LAP_BAD_INPUT, m->place, "%s", m->text);
}

/* ---- parts --------------------------------------------------------------------------------- */

static bool has_cell(const lap_vk_exec *x, int32_t buffer, size_t size, lap_fault *fault)
{
    const lap_vk_place *p = &x->places[buffer];
    return (p->block && p->size >= size) ||
           lap_fault_set(fault, LAP_INTERNAL, "buffer %d of the program has no element", (int)buffer);
}

/* THE read-back: the host looks at a loop's or a branch's test. */
static bool read_test(lap_vk_exec *x, const lap_image_step *s, bool *out, lap_fault *fault)
{
    uint8_t test = 1;
    if (s->test >= 0 && (!has_cell(x, s->test, sizeof test, fault) ||
                         !lap_vk_read(x, (uint32_t)s->test, &test, sizeof test, fault))) {
        return false;
    }
    *out = test != 0;
    return lap_vk_check_status(x, fault);
}

static bool run_loop(lap_vk_exec *x, const lap_vk_part *part, lap_fault *fault)
{
    const lap_image_step *s = part->step;
    int64_t limit = x->exec->dims[s->limit];
    bool goes_on = true;
    for (int64_t i = 0; i < limit; i++) {
        int64_t counter = s->reverse ? limit - 1 - i : i;
        if (s->counter >= 0 && (!has_cell(x, s->counter, sizeof counter, fault) ||
                                !lap_vk_write(x, (uint32_t)s->counter, &counter, sizeof counter, fault))) {
            return false;
        }
        if (!lap_vk_run_parts(x, &part->test, fault) || !read_test(x, s, &goes_on, fault)) {
            return false;
        }
        if (!goes_on) {
            return true;
        }
        if (!lap_vk_run_parts(x, &part->body, fault)) {
            return false;
        }
    }
    return true;
}

static bool run_branch(lap_vk_exec *x, const lap_vk_part *part, lap_fault *fault)
{
    bool takes_body;
    return read_test(x, part->step, &takes_body, fault) &&
           lap_vk_run_parts(x, takes_body ? &part->body : &part->other, fault);
}

/* Where the host finds the contents of a buffer; NULL: it has none. */
static void *host_side(const lap_vk_exec *x, uint32_t buffer)
{
    const lap_vk_place *p = &x->places[buffer];
    return !p->block ? NULL : p->block->host ? p->block->host + p->offset : x->rooms[buffer].at;
}

/* Contents of a foreign operation's operands to the host, or of its results to the device. */
static bool move_foreign(lap_vk_exec *x, const lap_image_step *s, bool is_in, lap_fault *fault)
{
    const uint32_t *at = s->operands;
    for (uint32_t i = 0; i < s->n_inputs + s->n_outputs; i++, at += 2 + at[1]) {
        uint32_t b = at[0] - 1;
        bool crosses =
            at[0] != 0 && (i < s->n_inputs) == is_in && x->places[b].block && !x->places[b].block->host;
        size_t n = crosses ? x->places[b].size : 0;
        if (crosses && !(is_in ? lap_vk_read(x, b, x->rooms[b].at, n, fault)
                               : lap_vk_write(x, b, x->rooms[b].at, n, fault))) {
            return false;
        }
    }
    return true;
}

/* On the host, between commands: its operands are what the commands before have left. */
static bool run_foreign(lap_vk_exec *x, const lap_image_step *s, lap_fault *fault)
{
    lap_exec *exec = x->exec;
    if (!lap_vk_check_status(x, fault) || !move_foreign(x, s, true, fault)) {
        return false;
    }
    void *outside[2 * LAP_FOREIGN_MAX_OPERANDS]; /* inputs and outputs of the run lie there */
    const uint32_t *at = s->operands;
    for (uint32_t i = 0; i < s->n_inputs + s->n_outputs; i++, at += 2 + at[1]) {
        outside[i] = at[0] ? exec->at[at[0] - 1] : NULL;
        if (at[0]) {
            exec->at[at[0] - 1] = host_side(x, at[0] - 1);
        }
    }
    bool done = lap_exec_foreign(exec, s, fault);
    for (uint32_t i = s->n_inputs + s->n_outputs; i-- > 0;) { /* backwards: an operand may stand twice */
        at = s->operands;
        for (uint32_t k = 0; k < i; k++) {
            at += 2 + at[1];
        }
        if (at[0]) {
            exec->at[at[0] - 1] = outside[i];
        }
    }
    return done && move_foreign(x, s, false, fault);
}

static bool run_part(lap_vk_exec *x, const lap_vk_part *part, lap_fault *fault)
{
    switch (part->kind) {
    case LAP_VK_COMMANDS:
        return submit(x, part->commands, fault);
    case LAP_VK_LOOP:
        return run_loop(x, part, fault);
    case LAP_VK_BRANCH:
        return run_branch(x, part, fault);
    case LAP_VK_FOREIGN:
        return run_foreign(x, part->step, fault);
    case LAP_VK_REFUSAL:
        if (!lap_vk_check_status(x, fault)) {
            return false;
        }
        *fault = *part->fault;
        return false;
    }
    return false;
}

bool lap_vk_run_parts(lap_vk_exec *x, const lap_vk_parts *parts, lap_fault *fault)
{
    for (size_t i = 0; i < parts->n; i++) {
        if (!run_part(x, &parts->at[i], fault)) {
            return false;
        }
    }
    return true;
}
