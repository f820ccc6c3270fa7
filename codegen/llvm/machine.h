/* SPDX-License-Identifier: Apache-2.0
 * machine.h - what the emitter may know of a processor beyond lap_target. */
#ifndef LAP_CODEGEN_LLVM_MACHINE_H
#define LAP_CODEGEN_LLVM_MACHINE_H

#include <llvm-c/TargetMachine.h>

#include "codegen/llvm/llvm.h"

/* Instructions that exist; without them LLVM would call a library, which kernels must not. */
typedef struct lap_abilities {
    bool round; /* round to integral */
    bool half;  /* f16 conversions */
    bool scale; /* x * 2^n on vectors */
} lap_abilities;

struct lap_machine {
    LLVMTargetMachineRef llvm;
    LLVMTargetDataRef layout;
    char *triple, *cpu, *features;
    lap_target target;
    lap_abilities can;
};

#endif
