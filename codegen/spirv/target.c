/* SPDX-License-Identifier: Apache-2.0
 * target.c - Vulkan devices as rows of passes/target.h.
 *
 * The row decides tile sizes alone; limits and features are the runtime's to check. Narrow devices are
 * software and small integrated ones: their workgroups are one subgroup, which makes barriers free. */
#include "codegen/spirv/spirv.h"

static const lap_target narrow = {.name = "vulkan-narrow",
                                  .vector_f32 = 8,
                                  .n_registers = 16,
                                  .mma_rows = 16,
                                  .mma_cols = 16,
                                  .l1_bytes = 32 << 10,
                                  .l2_bytes = 512 << 10,
                                  .l3_bytes = 8 << 20,
                                  .group_size = 8,
                                  .own_rows = 2,
                                  .own_cols = 16,
                                  .block_tiles = 2,
                                  .shared_bytes = 0,
                                  .most_rounds = 65535};
static const lap_target wide = {.name = "vulkan",
                                .vector_f32 = 32,
                                .n_registers = 64,
                                .mma_rows = 16,
                                .mma_cols = 64,
                                .l1_bytes = 32 << 10,
                                .l2_bytes = 4 << 20,
                                .l3_bytes = 32 << 20,
                                .group_size = 64,
                                .own_rows = 4,
                                .own_cols = 4,
                                .block_tiles = 4,
                                .shared_bytes = 16 << 10};

static const struct {
    const lap_target *target;
    uint32_t least;
} rows[LAP_N_VK_TARGETS] = {{&wide, 16}, {&narrow, 0}};

const lap_target *lap_vk_target_at(uint32_t i, uint32_t *out_least)
{
    *out_least = rows[i].least;
    return rows[i].target;
}

const lap_target *lap_vk_target(uint32_t subgroup_size)
{
    uint32_t i = 0;
    while (subgroup_size < rows[i].least) {
        i++;
    }
    return rows[i].target;
}
