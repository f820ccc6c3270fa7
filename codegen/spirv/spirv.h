/* SPDX-License-Identifier: Apache-2.0
 * spirv.h - programs to SPIR-V: kernels become GLSL, glslang compiles it in this process, SPIRV-Tools
 * checks it. What a device must have is found out per kernel, so that a program that needs nothing
 * special runs on any device. */
#ifndef LAP_CODEGEN_SPIRV_SPIRV_H
#define LAP_CODEGEN_SPIRV_SPIRV_H

#include "ir/kernel.h"
#include "passes/target.h"
#include "runtime/tensor.h"
#include "runtime/vk/vk_program.h"

/* The row of passes/target.h for devices whose subgroups have so many invocations. */
const lap_target *lap_vk_target(uint32_t subgroup_size);
/* All rows, for code whose device is not known yet: row i serves devices whose subgroups have at least
 * *out_least invocations and that no row before it serves. */
enum { LAP_N_VK_TARGETS = 2 };
const lap_target *lap_vk_target_at(uint32_t i, uint32_t *out_least);

/* GLSL of one kernel, in the context's arena. */
const char *lap_spirv_glsl(const lap_program *p, const lap_target *target, uint32_t kernel);
/* One kernel as SPIR-V assembly, in the context's arena. */
bool lap_spirv_text(const lap_program *p, const lap_target *target, uint32_t kernel, const char **out,
                    lap_fault *fault);
/* The image and all kernels; both live in the context's arena. */
typedef struct lap_spirv {
    const void *image;
    size_t n_image;
    lap_vk_kernel *kernels; /* n_kernels of the program */
} lap_spirv;
bool lap_spirv_make(const lap_program *p, const lap_target *target, lap_spirv *out, lap_fault *fault);

#endif
