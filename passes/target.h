/* SPDX-License-Identifier: Apache-2.0
 * target.h - hardware as data: all that passes and schedules may know of a processor. */
#ifndef LAP_PASSES_TARGET_H
#define LAP_PASSES_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lap_target {
    const char *name;            /* "x86-64-v4", "x86-64-v3", "armv8-a", ... */
    uint32_t vector_f32;         /* f32 lanes of one register: 16, 8, 4 */
    uint32_t n_registers;        /* vector registers */
    uint32_t mma_rows, mma_cols; /* register tile of the default contraction: 14 x 32, 6 x 16, 8 x 12 */
    uint32_t l1_bytes, l2_bytes, l3_bytes;
    bool has_masked;   /* masked vector loads and stores are cheap */
    bool has_dot;      /* instructions add two products of bf16 at a time */
    bool has_fast_dot; /* and do more of them than multiply-adds of f32 would */
    /* devices whose workgroups run an iteration of the grid together; 0 on processors */
    uint32_t group_size;         /* invocations */
    uint32_t own_rows, own_cols; /* most rows and columns of a register tile that one invocation keeps */
    uint32_t block_tiles;        /* register tiles of a block of rows, panels of a group */
    uint32_t shared_bytes;       /* of scratch memory that may lie in the workgroup's shared memory */
    uint32_t most_rounds;        /* of loops in a launch that every such device allows; 0: any number */
} lap_target;

#endif
