/* SPDX-License-Identifier: Apache-2.0
 * table.c - the data that ties compiled levels to the runtime (runtime/model.h): which processors
 * each needs, where its image and kernels are, and the embedded weights. */
#include <stdlib.h>
#include <string.h>

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

#include "codegen/aot/parts.h"
#include "codegen/image.h"
#include "codegen/llvm/machine.h"
#include "codegen/needs.h"

void lap_aot_prefix(uint32_t level, char out[32]) { snprintf(out, 32, "lap_level_%u", level); }

static LLVMValueRef external(const lap_aot_data *w, const char *prefix, const char *suffix, LLVMTypeRef type)
{
    char name[64];
    snprintf(name, sizeof name, "%s_%s", prefix, suffix);
    LLVMValueRef global = LLVMAddGlobal(w->module, type, name);
    LLVMSetVisibility(global, LLVMHiddenVisibility);
    return global;
}

static LLVMValueRef text(const lap_aot_data *w, const char *string)
{
    LLVMValueRef value = LLVMConstStringInContext2(w->llvm, string, strlen(string), false);
    LLVMValueRef global = lap_aot_define(w, "lap_model_text", value, 1);
    LLVMSetLinkage(global, LLVMPrivateLinkage);
    return global;
}

/* { cpu, needs, image, image size, kernels }; the last entry is all zero. */
static LLVMValueRef level_entry(const lap_aot_data *w, const lap_aot_level *level, uint32_t i)
{
    char prefix[32];
    lap_aot_prefix(i, prefix);
    size_t size;
    lap_image_write(level->program, &size);
    LLVMValueRef fields[] = {
        text(w, lap_machine_cpu(level->machine)),
        LLVMConstInt(w->word, lap_machine_needs(level->machine), false),
        external(w, prefix, "image", LLVMInt8TypeInContext(w->llvm)),
        LLVMConstInt(w->word, size, false),
        external(w, prefix, "kernels", w->pointer),
    };
    return LLVMConstStructInContext(w->llvm, fields, 5, false);
}

static LLVMValueRef last_entry(const lap_aot_data *w)
{
    LLVMValueRef null = LLVMConstNull(w->pointer), zero = LLVMConstInt(w->word, 0, false);
    LLVMValueRef fields[] = {null, zero, null, zero, null};
    return LLVMConstStructInContext(w->llvm, fields, 5, false);
}

static void write_tables(const lap_aot_data *w, const lap_aot_options *o, LLVMValueRef *entries)
{
    for (uint32_t i = 0; i < o->n_levels; i++) {
        entries[i] = level_entry(w, &o->levels[i], i);
    }
    entries[o->n_levels] = last_entry(w);
    LLVMTypeRef type = LLVMTypeOf(entries[0]);
    lap_aot_define(w, "lap_model_levels", LLVMConstArray2(type, entries, o->n_levels + 1), 8);
    const char *bytes = o->weights != NULL ? o->weights : "";
    lap_aot_define(w, "lap_model_weights",
                   LLVMConstStringInContext2(w->llvm, bytes, o->n_weights, o->weights != NULL), 64);
    lap_aot_define(w, "lap_model_weights_size", LLVMConstInt(w->word, o->n_weights, false), 8);
}

static bool emit(LLVMModuleRef module, const lap_machine *machine, char **out_bytes, size_t *out_size,
                 lap_fault *fault)
{
    char *error = NULL;
    LLVMMemoryBufferRef buffer = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine->llvm, module, LLVMObjectFile, &error, &buffer)) {
        lap_fault_set(fault, LAP_INTERNAL, "cannot write the model's table: %s", error != NULL ? error : "");
        LLVMDisposeMessage(error);
        return false;
    }
    *out_size = LLVMGetBufferSize(buffer);
    *out_bytes = malloc(*out_size);
    if (*out_bytes != NULL) {
        memcpy(*out_bytes, LLVMGetBufferStart(buffer), *out_size);
    }
    LLVMDisposeMemoryBuffer(buffer);
    return *out_bytes != NULL || lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
}

bool lap_aot_table(const lap_aot_options *o, char **out_bytes, size_t *out_size, lap_fault *fault)
{
    const lap_machine *machine = lap_aot_machine(o);
    lap_aot_data w = {.llvm = LLVMContextCreate()};
    w.module = LLVMModuleCreateWithNameInContext("table", w.llvm);
    w.pointer = LLVMPointerTypeInContext(w.llvm, 0);
    w.word = LLVMInt64TypeInContext(w.llvm);
    LLVMSetTarget(w.module, machine->triple);
    LLVMSetModuleDataLayout(w.module, machine->layout);
    LLVMValueRef *entries = calloc(o->n_levels + 1u, sizeof(LLVMValueRef));
    bool good = entries != NULL || lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    if (good) {
        write_tables(&w, o, entries);
        good = lap_aot_tiers(&w, o, fault) && emit(w.module, machine, out_bytes, out_size, fault);
    }
    free(entries);
    LLVMDisposeModule(w.module);
    LLVMContextDispose(w.llvm);
    return good;
}
