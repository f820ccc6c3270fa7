/* SPDX-License-Identifier: Apache-2.0
 * image.h - writes a program as the image that the runtime reads (runtime/program.h). */
#ifndef LAP_CODEGEN_IMAGE_H
#define LAP_CODEGEN_IMAGE_H

#include "ir/kernel.h"

/* Extents of kernel k in the order in which its function's `dim` argument holds them. */
typedef struct lap_kernel_dims {
    uint32_t n;
    const lap_dim *at;
} lap_kernel_dims;
/* All `dim` nodes and scratch sizes that the kernel reads, each once, in order of first use, in the
 * arena. Backends index their `dim` argument by this list. */
lap_kernel_dims lap_kernel_dims_of(const lap_program *p, uint32_t kernel);
/* Scratch buffers of kernel k by number: byte offset of each as an extent, 64-byte aligned, total last. */
typedef struct lap_kernel_scratch {
    uint32_t n;
    const lap_dim *offset;
    lap_dim total;
} lap_kernel_scratch;
lap_kernel_scratch lap_kernel_scratch_of(const lap_program *p, uint32_t kernel);
/* `fail` messages of all kernels, each once per (message, place); number of one. */
uint32_t lap_program_message(const lap_program *p, const char *message, lap_loc loc);

/* The image, in the context's arena. */
const void *lap_image_write(const lap_program *p, size_t *out_size);
/* The same for a backend whose kernels have other extents: dims[k] in place of lap_kernel_dims_of. */
const void *lap_image_write_with(const lap_program *p, const lap_kernel_dims *dims, size_t *out_size);

#endif
