/* SPDX-License-Identifier: Apache-2.0
 * jit.c - a program's object file linked into this process (ORC).
 *
 * The same object as ahead of time; the table PREFIX_kernels is the only symbol looked up. Code sees
 * no symbol of the process. */
#include <stdlib.h>
#include <string.h>

#include <llvm-c/LLJIT.h>
#include <llvm-c/Target.h>

#include "codegen/llvm/emitter.h"

struct lap_jit {
    LLVMOrcLLJITRef llvm;
    lap_kernel_fn *const *kernels;
};

static bool take_error(LLVMErrorRef error, lap_fault *fault)
{
    if (!error) {
        return true;
    }
    char *text = LLVMGetErrorMessage(error);
    lap_fault_set(fault, LAP_INTERNAL, "cannot load generated code: %s", text);
    LLVMDisposeErrorMessage(text);
    return false;
}

static bool load(lap_jit *jit, LLVMMemoryBufferRef object, lap_fault *fault)
{
    if (!take_error(LLVMOrcCreateLLJIT(&jit->llvm, NULL), fault)) {
        LLVMDisposeMemoryBuffer(object);
        return false;
    }
    LLVMOrcJITDylibRef main = LLVMOrcLLJITGetMainJITDylib(jit->llvm);
    if (!take_error(LLVMOrcLLJITAddObjectFile(jit->llvm, main, object), fault)) {
        return false;
    }
    LLVMOrcExecutorAddress address = 0;
    if (!take_error(LLVMOrcLLJITLookup(jit->llvm, &address, "lap_kernels"), fault)) {
        return false;
    }
    jit->kernels = (lap_kernel_fn *const *)(uintptr_t)address;
    return true;
}

lap_jit *lap_jit_new(const lap_program *program, const lap_machine *machine, lap_fault *fault)
{
    lap_module m;
    if (!lap_module_make(program, machine, "lap", &m, fault)) {
        return NULL;
    }
    LLVMMemoryBufferRef object = NULL;
    bool is_made = lap_module_object(&m, machine, LLVMObjectFile, &object, fault);
    lap_module_free(&m);
    if (!is_made) {
        return NULL;
    }
    lap_jit *jit = calloc(1, sizeof *jit);
    if (!jit) {
        LLVMDisposeMemoryBuffer(object);
        lap_fault_set(fault, LAP_INTERNAL, "out of memory");
        return NULL;
    }
    if (!load(jit, object, fault)) {
        lap_jit_free(jit);
        return NULL;
    }
    return jit;
}

void lap_jit_free(lap_jit *jit)
{
    if (!jit) {
        return;
    }
    if (jit->llvm) {
        LLVMConsumeError(LLVMOrcDisposeLLJIT(jit->llvm));
    }
    free(jit);
}

lap_kernel_fn *const *lap_jit_kernels(const lap_jit *jit) { return jit->kernels; }
