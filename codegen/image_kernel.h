/* SPDX-License-Identifier: Apache-2.0
 * image_kernel.h - what an image says of one kernel, beside the calls for backends in image.h. */
#ifndef LAP_CODEGEN_IMAGE_KERNEL_H
#define LAP_CODEGEN_IMAGE_KERNEL_H

#include "codegen/image.h"

typedef struct lap_image_fail {
    lap_name message;
    lap_loc loc;
} lap_image_fail;
typedef struct lap_image_messages {
    uint32_t n;
    lap_image_fail *at;
} lap_image_messages;
lap_image_messages lap_image_messages_of(const lap_program *p);

/* Extent of the grid loop, and a guess of the cost of one iteration in 1/16 ns. */
typedef struct lap_image_grid {
    lap_dim extent, cost;
} lap_image_grid;
lap_image_grid lap_image_grid_of(const lap_program *p, uint32_t kernel);

/* First and last step that needs a TEMP buffer, both included, by buffer; steps count in the order in
 * which they are met when bodies are read in place. `keeps`: used by load steps and by others, so the
 * contents must outlive the run. */
typedef struct lap_image_life {
    uint32_t first, last;
    bool keeps;
} lap_image_life;
const lap_image_life *lap_image_lives(const lap_program *p);

#endif
