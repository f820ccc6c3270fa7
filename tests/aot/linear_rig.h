/* SPDX-License-Identifier: Apache-2.0
 * linear_rig.h - the files of the linear model that tests of artefacts build and call. */
#ifndef LAP_TESTS_AOT_LINEAR_RIG_H
#define LAP_TESTS_AOT_LINEAR_RIG_H

#include "tests/support/command_rig.h"

#include "runtime/npy.h"
#include "runtime/safetensors.h"

static void run(const char *line, int status) { expect_line(line, status, "", ""); }

static int make_inputs(void **state)
{
    make_folder(state);
    float x[] = {1, 2, 3, 4, 5, 6}, w[] = {1, 0, 0, 0, 1, 0};
    lap_tensor t = {.dtype = LAP_F32, .rank = 2, .shape = {2, 3}, .data = x, .n_bytes = sizeof x};
    lap_tensor weight = {.dtype = LAP_F32, .rank = 2, .shape = {2, 3}, .data = w, .n_bytes = sizeof w};
    bool written = lap_npy_write(folder_path(folder, "x.npy"), &t, NULL) &&
                   lap_safetensors_write(folder_path(folder, "w.safetensors"), 1, (const char *[]){"weight"},
                                         &weight, NULL, NULL);
    return written ? 0 : 1;
}

#endif
