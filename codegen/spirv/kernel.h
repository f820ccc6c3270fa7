/* SPDX-License-Identifier: Apache-2.0
 * kernel.h - one kernel as a shader, between the emitter and the compiler of modules. */
#ifndef LAP_CODEGEN_SPIRV_KERNEL_H
#define LAP_CODEGEN_SPIRV_KERNEL_H

#include "codegen/spirv/emitter.h"

typedef struct lap_shader_made {
    const char *glsl;
    bool by_address;
    uint32_t needs, n_globals, n_scratch, shared_bytes;
    const bool *is_shared; /* by scratch buffer */
    const lap_ref *scratch;
    lap_kernel_dims limits;
    lap_dim steps, rounds[2]; /* rounds of one step: of workgroups that are one subgroup, or several */
    uint32_t n_state;         /* words of one more scratch buffer, 0: there is none */
} lap_shader_made;

/* In the context's arena. */
lap_shader_made lap_shader_make(const lap_program *p, const lap_target *target, uint32_t kernel);
/* Extents that the shader of a kernel reads, in order. */
lap_kernel_dims lap_shader_params(const lap_program *p, uint32_t kernel);

#endif
