/* SPDX-License-Identifier: Apache-2.0
 * llvm.h - programs to machine code through LLVM: in memory, or as an object file. */
#ifndef LAP_CODEGEN_LLVM_LLVM_H
#define LAP_CODEGEN_LLVM_LLVM_H

#include "ir/kernel.h"
#include "passes/target.h"
#include "runtime/program.h"
#include "runtime/tensor.h"

/* The processor to generate for: triple NULL = this machine; cpu NULL or "native" = this processor,
 * else an LLVM name ("x86-64-v3", "cortex-a72", ...). */
typedef struct lap_machine lap_machine;
lap_machine *lap_machine_new(const char *triple, const char *cpu, lap_fault *fault);
void lap_machine_free(lap_machine *machine);
const lap_target *lap_machine_target(const lap_machine *machine);
const char *lap_machine_triple(const lap_machine *machine);
const char *lap_machine_cpu(const lap_machine *machine);
const char *lap_machine_features(const lap_machine *machine);

/* Code in this process (ORC). Pages are never writable and executable at once. */
typedef struct lap_jit lap_jit;
lap_jit *lap_jit_new(const lap_program *program, const lap_machine *machine, lap_fault *fault);
void lap_jit_free(lap_jit *jit);
lap_kernel_fn *const *lap_jit_kernels(const lap_jit *jit);

typedef enum lap_emit_form { LAP_EMIT_LLVM, LAP_EMIT_ASM, LAP_EMIT_OBJECT } lap_emit_form;
/* The program's module. `prefix` names its symbols: PREFIX_image (u8 array), PREFIX_image_size
 * (u64) and PREFIX_kernels (table), hidden visibility; kernels are internal. Result by malloc. */
bool lap_llvm_emit(const lap_program *program, const lap_machine *machine, const char *prefix,
                   lap_emit_form form, char **out_bytes, size_t *out_size, lap_fault *fault);

#endif
