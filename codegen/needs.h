/* SPDX-License-Identifier: Apache-2.0
 * needs.h - which instruction sets code for a processor may use. */
#ifndef LAP_CODEGEN_NEEDS_H
#define LAP_CODEGEN_NEEDS_H

#include "codegen/llvm/llvm.h"

/* Bits of runtime/cpu.h: those of the processor's level, and features that it names itself. */
uint64_t lap_machine_needs(const lap_machine *machine);
/* Whether this processor can run code for `machine`; else says what it lacks. */
bool lap_machine_runs_here(const lap_machine *machine, lap_fault *fault);

#endif
