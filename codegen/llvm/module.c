/* SPDX-License-Identifier: Apache-2.0
 * module.c - a program as one LLVM module: kernels, the table of them, the image; then a short list
 * of passes. Vectors and tiles are chosen here already, so LLVM only cleans up and schedules. */
#include <stdlib.h>
#include <string.h>

#include <llvm-c/Analysis.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include "codegen/llvm/emitter.h"

static const char passes[] = "function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,"
                             "loop-mssa(licm),gvn,instcombine<no-verify-fixpoint>,simplifycfg,adce)";

static void add_attribute(lap_emitter *e, LLVMValueRef fn, const char *key, const char *value)
{
    LLVMAttributeRef a =
        LLVMCreateStringAttribute(e->llvm, key, (unsigned)strlen(key), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, a);
}

static void add_flag(lap_emitter *e, LLVMValueRef fn, const char *name)
{
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(e->llvm, kind, 0));
}

void lap_function_mark(lap_emitter *e, LLVMValueRef fn)
{
    const lap_machine *m = e->machine;
    add_attribute(e, fn, "target-cpu", m->cpu);
    add_attribute(e, fn, "target-features", m->features);
    add_attribute(e, fn, "no-builtins", "");
    add_attribute(e, fn, "no-trapping-math", "true");
    if (m->target.vector_f32 == 16) {
        add_attribute(e, fn, "prefer-vector-width", "512");
    }
    add_flag(e, fn, "nounwind");
}

void lap_function_alone(lap_emitter *e, LLVMValueRef fn)
{
    LLVMSetLinkage(fn, LLVMInternalLinkage);
    add_flag(e, fn, "noinline");
}

void lap_pointer_mark(lap_emitter *e, LLVMValueRef fn, uint32_t param, const char *name, uint64_t value)
{
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(fn, param + 1, LLVMCreateEnumAttribute(e->llvm, kind, value));
}

static void set_types(lap_emitter *e)
{
    e->f16 = LLVMHalfTypeInContext(e->llvm);
    e->f32 = LLVMFloatTypeInContext(e->llvm);
    e->f64 = LLVMDoubleTypeInContext(e->llvm);
    e->i1 = LLVMInt1TypeInContext(e->llvm);
    e->i8 = LLVMInt8TypeInContext(e->llvm);
    e->i16 = LLVMInt16TypeInContext(e->llvm);
    e->i32 = LLVMInt32TypeInContext(e->llvm);
    e->i64 = LLVMInt64TypeInContext(e->llvm);
    e->ptr = LLVMPointerTypeInContext(e->llvm, 0);
    e->none = LLVMVoidTypeInContext(e->llvm);
}

static void add_global(lap_emitter *e, const char *prefix, const char *suffix, LLVMValueRef value)
{
    const char *name = lap_arena_printf(e->ctx->arena, "%s_%s", prefix, suffix);
    LLVMValueRef global = LLVMAddGlobal(e->module, LLVMTypeOf(value), name);
    LLVMSetInitializer(global, value);
    LLVMSetGlobalConstant(global, true);
    LLVMSetVisibility(global, LLVMHiddenVisibility);
    LLVMSetAlignment(global, 64);
}

static void emit_program(lap_emitter *e, const char *prefix)
{
    const lap_program *p = e->program;
    LLVMValueRef *kernels = lap_arena_array(e->ctx->arena, p->n_kernels + 1, sizeof *kernels);
    for (uint32_t i = 0; i < p->n_kernels; i++) {
        kernels[i] = lap_emit_kernel(e, i);
    }
    size_t n_bytes = 0;
    const void *image = lap_image_write(p, &n_bytes);
    add_global(e, prefix, "kernels", LLVMConstArray2(e->ptr, kernels, p->n_kernels));
    add_global(e, prefix, "image", LLVMConstStringInContext2(e->llvm, image, n_bytes, true));
    add_global(e, prefix, "image_size", lap_i64(e, (int64_t)n_bytes));
}

static bool take_error(LLVMErrorRef error, const char *what, lap_fault *fault)
{
    if (!error) {
        return true;
    }
    char *text = LLVMGetErrorMessage(error);
    lap_fault_set(fault, LAP_INTERNAL, "%s: %s", what, text);
    LLVMDisposeErrorMessage(text);
    return false;
}

static bool verify(LLVMModuleRef module, lap_fault *fault)
{
    char *text = NULL;
    bool is_broken = LLVMVerifyModule(module, LLVMReturnStatusAction, &text);
    if (is_broken) {
        lap_fault_set(fault, LAP_INTERNAL, "LLVM refuses the generated code: %s", text);
    }
    LLVMDisposeMessage(text);
    return !is_broken;
}

static bool optimise(LLVMModuleRef module, const lap_machine *machine, lap_fault *fault)
{
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(module, passes, machine->llvm, options);
    LLVMDisposePassBuilderOptions(options);
    return take_error(error, "LLVM's passes failed", fault);
}

/* The context's arena disposes of what is left when memory runs out on the way. */
static void drop(void *user) { lap_module_free(user); }

bool lap_module_make(const lap_program *p, const lap_machine *machine, const char *prefix, lap_module *out,
                     lap_fault *fault)
{
    lap_module *made = lap_arena_alloc(p->ctx->arena, sizeof *made);
    lap_arena_cleanup(p->ctx->arena, drop, made);
    made->llvm = LLVMContextCreate();
    made->module = LLVMModuleCreateWithNameInContext(p->name ? p->name : "program", made->llvm);
    made->builder = LLVMCreateBuilderInContext(made->llvm);
    lap_emitter e = {.program = p,
                     .machine = machine,
                     .ctx = p->ctx,
                     .llvm = made->llvm,
                     .module = made->module,
                     .b = made->builder,
                     .lanes = 1};
    LLVMSetTarget(made->module, machine->triple);
    LLVMSetModuleDataLayout(made->module, machine->layout);
    set_types(&e);
    emit_program(&e, prefix);
    if (!verify(made->module, fault) || !optimise(made->module, machine, fault)) {
        lap_module_free(made);
        return false;
    }
    *out = *made;
    *made = (lap_module){NULL, NULL, NULL};
    return true;
}

void lap_module_free(lap_module *m)
{
    if (m->builder) {
        LLVMDisposeBuilder(m->builder);
    }
    if (m->module) {
        LLVMDisposeModule(m->module);
    }
    if (m->llvm) {
        LLVMContextDispose(m->llvm);
    }
    *m = (lap_module){NULL, NULL, NULL};
}

bool lap_module_object(const lap_module *m, const lap_machine *machine, LLVMCodeGenFileType form,
                       LLVMMemoryBufferRef *out, lap_fault *fault)
{
    char *text = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine->llvm, m->module, form, &text, out)) {
        lap_fault_set(fault, LAP_INTERNAL, "LLVM cannot generate code: %s", text ? text : "unknown");
        LLVMDisposeMessage(text);
        return false;
    }
    return true;
}
