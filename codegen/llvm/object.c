/* SPDX-License-Identifier: Apache-2.0
 * object.c - a program's module as LLVM text, assembly or an object file. */
#include <stdlib.h>
#include <string.h>

#include "codegen/llvm/emitter.h"

static bool copy_out(const char *bytes, size_t size, char **out_bytes, size_t *out_size, lap_fault *fault)
{
    char *copy = malloc(size + 1);
    if (!copy) {
        return lap_fault_set(fault, LAP_INTERNAL, "out of memory");
    }
    memcpy(copy, bytes, size);
    copy[size] = 0;
    *out_bytes = copy;
    *out_size = size;
    return true;
}

bool lap_llvm_emit(const lap_program *program, const lap_machine *machine, const char *prefix,
                   lap_emit_form form, char **out_bytes, size_t *out_size, lap_fault *fault)
{
    lap_module m;
    if (!lap_module_make(program, machine, prefix, &m, fault)) {
        return false;
    }
    bool is_done = false;
    if (form == LAP_EMIT_LLVM) {
        char *text = LLVMPrintModuleToString(m.module);
        is_done = copy_out(text, strlen(text), out_bytes, out_size, fault);
        LLVMDisposeMessage(text);
    } else {
        LLVMMemoryBufferRef buffer = NULL;
        LLVMCodeGenFileType kind = form == LAP_EMIT_ASM ? LLVMAssemblyFile : LLVMObjectFile;
        if (lap_module_object(&m, machine, kind, &buffer, fault)) {
            is_done =
                copy_out(LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer), out_bytes, out_size, fault);
            LLVMDisposeMemoryBuffer(buffer);
        }
    }
    lap_module_free(&m);
    return is_done;
}
