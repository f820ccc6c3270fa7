/* SPDX-License-Identifier: Apache-2.0
 * wide_target.h - a processor that no machine has to be, for tests of passes. */
#ifndef LAP_TESTS_WIDE_TARGET_H
#define LAP_TESTS_WIDE_TARGET_H

#include "passes/target.h"

static const lap_target wide = {.name = "test",
                                .vector_f32 = 16,
                                .n_registers = 32,
                                .mma_rows = 6,
                                .mma_cols = 64,
                                .l1_bytes = 32768,
                                .l2_bytes = 1 << 20,
                                .l3_bytes = 1 << 24,
                                .has_masked = true};

#endif
