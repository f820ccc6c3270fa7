/* SPDX-License-Identifier: Apache-2.0
 * vk.h - programs on Vulkan devices: what there is, opening one, running a program on it.
 *
 * The Vulkan loader is opened at run time; without it, or without a device that will do, opening fails
 * with LAP_NO_DEVICE and the reason. Nothing is ever run elsewhere instead. */
#ifndef LAP_RUNTIME_VK_VK_H
#define LAP_RUNTIME_VK_VK_H

#include "runtime/exec.h"
#include "runtime/vk/vk_program.h"

typedef struct lap_vk lap_vk; /* an open device */

typedef enum lap_vk_kind {
    LAP_VK_OTHER,
    LAP_VK_INTEGRATED,
    LAP_VK_DISCRETE,
    LAP_VK_VIRTUAL,
    LAP_VK_SOFTWARE
} lap_vk_kind;

typedef struct lap_vk_info {
    char name[256], driver[256];
    lap_vk_kind kind;
    uint32_t version, driver_version, vendor, device; /* version as Vulkan packs it */
    uint8_t uuid[16], driver_uuid[16], cache_uuid[16];
    uint32_t subgroup_size, group_size, shared_bytes, storage_buffers;
    bool has_full_subgroups;                 /* of the size asked for */
    uint64_t memory_bytes;                   /* of the largest device-local heap */
    uint64_t buffer_bytes, allocation_bytes; /* most bytes a kernel sees as one buffer; of one allocation */
    uint64_t most_rounds; /* of loops, after which the driver ends them; 0: no such bound */
    uint32_t has;         /* bits 1 << lap_vk_need */
    char lacks[256];      /* why no program can run here; empty: it can */
} lap_vk_info;

/* All devices in the loader's order, by malloc. False: no loader, or no device (LAP_NO_DEVICE). */
bool lap_vk_list(lap_vk_info **out, uint32_t *out_n, lap_fault *fault);

/* `which`: a number of that list, or a part of a name; NULL: what LAPPET_DEVICE says, else the first
 * that is a graphics processor, else the first. */
lap_vk *lap_vk_open(const char *which, lap_fault *fault);
void lap_vk_close(lap_vk *vk);
const lap_vk_info *lap_vk_info_of(const lap_vk *vk);

/* A program on the device, which must outlive it; kernels[i] is the module of the image's kernel i. */
lap_exec *lap_vk_exec_open(lap_vk *vk, const void *image, size_t n_bytes, const lap_vk_kernel *kernels,
                           const lap_exec_options *options, lap_fault *fault);

/* What the validation layer has said since the last call; NULL: nothing. It is there, and counts as a
 * failure of the run, where LAPPET_VULKAN_CHECKS is set. */
const char *lap_vk_complaint(lap_vk *vk);

/* For tests: the call of this kind after `after` more of them fails as a device would. */
typedef enum lap_vk_mishap { LAP_VK_LOSS, LAP_VK_NO_MEMORY, LAP_VK_HANG, LAP_N_VK_MISHAPS } lap_vk_mishap;
void lap_vk_inject(lap_vk *vk, lap_vk_mishap mishap, uint32_t after);

#endif
