/* SPDX-License-Identifier: Apache-2.0
 * vk_exec.h - a program bound to a device: memory, recorded commands, and how they are run; shared by
 * vk_exec.c, vk_place.c, vk_record.c and vk_run.c, and by nobody else.
 *
 * Binding turns the steps into parts. Launches and copies that follow each other become one command
 * buffer, loops whose rounds are known included. Where the host must look at a value (a loop's test, a
 * branch) or act (a foreign operation), the commands end and the host goes on when they are done. */
#ifndef LAP_RUNTIME_VK_VK_EXEC_H
#define LAP_RUNTIME_VK_VK_EXEC_H

#include "runtime/exec_state.h"
#include "runtime/vk/vk_state.h"

typedef enum lap_vk_part_kind {
    LAP_VK_COMMANDS, /* one command buffer */
    LAP_VK_LOOP,     /* test, then body, round by round */
    LAP_VK_BRANCH,   /* body or other, by the step's test */
    LAP_VK_FOREIGN,  /* a C library's operation, on the host */
    LAP_VK_REFUSAL   /* a step that cannot run with these sizes, reported when it is reached */
} lap_vk_part_kind;

typedef struct lap_vk_parts {
    struct lap_vk_part *at;
    size_t n, capacity;
} lap_vk_parts;

typedef struct lap_vk_part {
    lap_vk_part_kind kind;
    VkCommandBuffer commands;
    const lap_image_step *step;
    lap_vk_parts test, body, other;
    lap_fault *fault;
} lap_vk_part;

/* Where a buffer lies. */
typedef struct lap_vk_place {
    lap_vk_block *block; /* NULL: it may not be touched */
    size_t offset, size;
    size_t staged; /* in the staging block, where its contents cross; SIZE_MAX: they do not */
} lap_vk_place;

typedef struct lap_vk_exec {
    lap_vk *vk;
    lap_exec *exec;
    const lap_vk_kernel *kernels;
    lap_vk_pipeline *pipelines;
    lap_vk_block keep;  /* constants, weights, packed weights */
    lap_vk_block run;   /* the rest, scratch included */
    lap_vk_block host;  /* parameters of launches, status */
    lap_vk_block stage; /* contents on their way, where `run` or `keep` is not mapped */
    lap_vk_place *places;
    size_t scratch_at; /* in `run` */
    size_t param_stride;
    VkCommandPool commands;
    VkDescriptorPool sets;
    VkFence fence;
    VkDescriptorSet *set; /* by step */
    uint64_t *cells;      /* by buffer: an element that the host looks at */
    lap_room *rooms;      /* by buffer: contents that a foreign operation reads or makes, where not mapped */
    VkCommandBuffer transfer;
    lap_vk_parts load_parts, run_parts;
} lap_vk_exec;

/* Status word, then parameters of each step's launch. */
static inline size_t lap_vk_params_at(const lap_vk_exec *x, uint32_t step)
{
    return (step + 1) * x->param_stride;
}

/* Words of a launch's parameters, and buffers that are bound, of the kernel. */
static inline uint32_t lap_vk_words(const lap_vk_kernel *k)
{
    return (2 + k->n_params + (k->by_address ? 2 * k->n_operands : 0) + 3) / 4 * 4;
}
static inline uint32_t lap_vk_bindings(const lap_vk_kernel *k)
{
    return LAP_VK_FIRST_BUFFER + (k->by_address ? 0 : k->n_operands) + k->n_scratch;
}

/* ---- vk_place.c */
bool lap_vk_place_buffers(lap_vk_exec *x, lap_fault *fault);
/* Workgroups for a launch of the kernel, and the bytes of one scratch buffer for all of them. */
uint32_t lap_vk_groups(const lap_vk_exec *x, uint32_t kernel);
/* How the work of a launch is shared out so that no workgroup goes round its loops more often than the device
 * lets it: n commands. Number 0: one step alone is too much. */
typedef struct lap_vk_shares {
    uint64_t n, n_parts; /* in all; of one span of the grid */
    int64_t span, steps; /* iterations of the grid, steps of each, of one command */
    uint64_t rounds;     /* of one step */
} lap_vk_shares;
lap_vk_shares lap_vk_share_out(const lap_vk_exec *x, uint32_t kernel);
lap_vk_share lap_vk_share_at(const lap_vk_shares *shares, uint64_t i);
/* Whether workgroups of the kernel are one subgroup each, or several whole ones. */
bool lap_vk_has_full_subgroups(const lap_vk_info *info, const lap_vk_kernel *kernel, uint32_t *out_group);
size_t lap_vk_scratch_bytes(const lap_vk_exec *x, uint32_t kernel, uint32_t scratch);

/* ---- vk_record.c */
bool lap_vk_record(lap_vk_exec *x, lap_fault *fault);
void lap_vk_forget(lap_vk_exec *x);

/* ---- vk_run.c */
bool lap_vk_run_parts(lap_vk_exec *x, const lap_vk_parts *parts, lap_fault *fault);
bool lap_vk_write(lap_vk_exec *x, uint32_t buffer, const void *from, size_t n, lap_fault *fault);
bool lap_vk_read(lap_vk_exec *x, uint32_t buffer, void *to, size_t n, lap_fault *fault);
/* What kernels have reported since the status was cleared. */
void lap_vk_clear_status(lap_vk_exec *x);
bool lap_vk_check_status(lap_vk_exec *x, lap_fault *fault);

#endif
