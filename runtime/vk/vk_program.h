/* SPDX-License-Identifier: Apache-2.0
 * vk_program.h - the contract between SPIR-V code and the Vulkan runtime: what a module is given.
 *
 * A program is the image of runtime/program.h and one module per kernel. A module's entry is `main`;
 * workgroup w of n takes iterations first + w, first + w + n, .. of the grid loop that are below `last`.
 *   pushed       first, last, from, to (32 bits each): of an iteration's steps those in [from, to); a launch
 *                that begins with from > 0 goes on with what the same workgroup has left in its scratch.
 *                `to` = 2^31 - 1: all steps, nothing need be left
 *   constant 0   invocations in a workgroup
 *   constant 1   invocations in a subgroup, 0 where that is not known
 *   binding 0    uniform: 32-bit integers in rows of four: the launch's number, the grid's extent,
 *                then the first n_params extents of the image's kernel record (their low 32 bits)
 *   binding 1    storage: one 32-bit word, all ones; a kernel that fails lowers it to
 *                launch << 16 | message
 *   binding 2+   storage: the launch's operands (none of them where the kernel reads by address: then the
 *                parameters end with a 64-bit address for each), then scratch buffers, each with room for all
 * workgroups The kernel record's remaining extents are limits: each must be below LAP_VK_MOST_INDEX, or
 * 32-bit arithmetic in the module would be wrong. The last three are no limits but the number of steps of an
 * iteration of the grid, and how often one step goes round its loops, at most: in a workgroup that is one
 * subgroup, and in others. Includes nothing of the compiler and no Vulkan header. */
#ifndef LAP_RUNTIME_VK_PROGRAM_H
#define LAP_RUNTIME_VK_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LAP_VK_PARAMS = 0, LAP_VK_STATUS = 1, LAP_VK_FIRST_BUFFER = 2, LAP_VK_MOST_INDEX = 1 << 30 };
enum { LAP_VK_STEPS = 3, LAP_VK_ROUNDS = 2, LAP_VK_ROUNDS_MET = 1 }; /* places in the record, from its end */

/* What a launch is given beside the parameters. */
typedef struct lap_vk_share {
    int32_t first, last, from, to;
} lap_vk_share;

/* Features beyond Vulkan 1.2 with its memory model. LAP_VK_NEED(enum, what it is called) */
#define LAP_VK_NEEDS(ROW)                                                                                    \
    ROW(INT64, "64-bit integers (shaderInt64)")                                                              \
    ROW(FLOAT64, "64-bit floats (shaderFloat64)")                                                            \
    ROW(BYTES, "8-bit storage (storageBuffer8BitAccess)")                                                    \
    ROW(HALVES, "16-bit storage (storageBuffer16BitAccess)")                                                 \
    ROW(ADDRESSES, "addresses of buffers (bufferDeviceAddress)")

typedef enum lap_vk_need {
#define LAP_VK_ROW(enum_, text) LAP_VK_NEED_##enum_,
    LAP_VK_NEEDS(LAP_VK_ROW)
#undef LAP_VK_ROW
        LAP_N_VK_NEEDS
} lap_vk_need;

typedef struct lap_vk_kernel {
    const uint32_t *words;
    uint32_t n_words;
    uint32_t n_params;   /* extents that the module reads */
    uint32_t needs;      /* bits 1 << lap_vk_need */
    uint32_t n_operands; /* buffers of the launch */
    bool by_address;     /* they are no bindings */
    uint32_t n_scratch;  /* scratch buffers in storage: */
    const uint32_t *scratch_elem_bits;
    const uint32_t *scratch_count; /* number of each one's element count among the kernel's extents */
    uint32_t shared_bytes;
    uint32_t group_size; /* invocations wished for */
} lap_vk_kernel;

#endif
