/* SPDX-License-Identifier: Apache-2.0
 * fuzz_image.c - any bytes as a program image: refused, or bound and run with kernels that do nothing. */
#include <stdlib.h>

#include "runtime/exec.h"
#include "runtime/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MOST = 64, MOST_BYTES = 1 << 22 };

static int32_t nothing(void *const *buffer, const int64_t *dim, int64_t begin, int64_t end, void *scratch)
{
    (void)buffer;
    (void)dim;
    (void)begin;
    (void)end;
    (void)scratch;
    return 0;
}

/* Loops may be as long as an image says; those are not run. */
static bool is_short(const uint8_t *data, size_t n)
{
    lap_image image;
    if (!lap_image_open(&image, data, n, NULL)) {
        return false;
    }
    bool ok = image.n_kernels <= MOST && image.n_leaves[LAP_LEAF_INPUT] <= MOST &&
              image.n_leaves[LAP_LEAF_WEIGHT] <= MOST && image.n_leaves[LAP_LEAF_OUTPUT] <= MOST;
    for (uint32_t i = 0; i < image.n_steps; i++) {
        ok &= image.steps[i].kind != LAP_STEP_LOOP;
    }
    lap_image_close(&image);
    return ok;
}

static void fill(lap_exec *exec, unsigned kind, uint32_t n, lap_tensor *tensors, char *memory)
{
    for (uint32_t i = 0; i < n; i++) {
        tensors[i] = (lap_tensor){.dtype = lap_exec_dtype(exec, kind, i),
                                  .rank = lap_exec_rank(exec, kind, i),
                                  .data = memory,
                                  .n_bytes = MOST_BYTES};
        for (uint32_t axis = 0; axis < tensors[i].rank; axis++) {
            tensors[i].shape[axis] = axis + 2;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!is_short(data, n)) {
        return 0;
    }
    lap_kernel_fn *table[MOST];
    for (int i = 0; i < MOST; i++) {
        table[i] = nothing;
    }
    lap_exec *exec = lap_exec_open(data, n, table, &(lap_exec_options){1, MOST_BYTES}, NULL);
    char *memory = calloc(1, MOST_BYTES);
    lap_tensor inputs[MOST], weights[MOST], outputs[MOST] = {0};
    if (exec && memory) {
        fill(exec, LAP_LEAF_INPUT, lap_exec_n_inputs(exec), inputs, memory);
        fill(exec, LAP_LEAF_WEIGHT, lap_exec_n_weights(exec), weights, memory);
        if (lap_exec_set_weight_tensors(exec, weights, NULL)) {
            lap_exec_run(exec, inputs, outputs, NULL);
        }
    }
    lap_exec_close(exec);
    free(memory);
    return 0;
}
