/* SPDX-License-Identifier: Apache-2.0
 * compile.h - GLSL to checked SPIR-V. */
#ifndef LAP_CODEGEN_SPIRV_COMPILE_H
#define LAP_CODEGEN_SPIRV_COMPILE_H

#include "ir/kernel.h"
#include "runtime/tensor.h"

/* Words in the arena. Whatever is refused here is a mistake of ours: the fault shows the Lua place. */
bool lap_spirv_compile(lap_ctx *ctx, const char *name, const char *glsl, const uint32_t **out_words,
                       uint32_t *out_n, lap_fault *fault);
bool lap_spirv_disassemble(lap_ctx *ctx, const uint32_t *words, uint32_t n, const char **out,
                           lap_fault *fault);

#endif
