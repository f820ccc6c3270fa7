/* SPDX-License-Identifier: Apache-2.0
 * tiers.c - the data of an artefact's code for Vulkan devices: per tier the image and, for each kernel,
 * what runtime/vk/vk_program.h says of it. The tables name lap_model_on_vulkan, and only they do: an
 * artefact without tiers is linked without the Vulkan runtime. */
#include "codegen/aot/parts.h"
#include "codegen/spirv/spirv.h"

LLVMValueRef lap_aot_define(const lap_aot_data *d, const char *name, LLVMValueRef value, unsigned alignment)
{
    LLVMValueRef global = LLVMAddGlobal(d->module, LLVMTypeOf(value), name);
    LLVMSetInitializer(global, value);
    LLVMSetGlobalConstant(global, true);
    LLVMSetVisibility(global, LLVMHiddenVisibility);
    LLVMSetAlignment(global, alignment);
    return global;
}

LLVMValueRef lap_aot_bytes(const lap_aot_data *d, const void *bytes, size_t n)
{
    if (n == 0) {
        return LLVMConstNull(d->pointer);
    }
    LLVMValueRef value = LLVMConstStringInContext2(d->llvm, bytes, n, true);
    LLVMValueRef global = lap_aot_define(d, "lap_model_bytes", value, 64);
    LLVMSetLinkage(global, LLVMPrivateLinkage);
    return global;
}

/* A lap_vk_kernel. Words are written as they are here: all platforms are little-endian. */
static LLVMValueRef kernel_entry(const lap_aot_data *d, const lap_vk_kernel *k)
{
    LLVMTypeRef u32 = LLVMInt32TypeInContext(d->llvm), u8 = LLVMInt8TypeInContext(d->llvm);
    LLVMValueRef fields[] = {
        lap_aot_bytes(d, k->words, k->n_words * sizeof *k->words),
        LLVMConstInt(u32, k->n_words, false),
        LLVMConstInt(u32, k->n_params, false),
        LLVMConstInt(u32, k->needs, false),
        LLVMConstInt(u32, k->n_operands, false),
        LLVMConstInt(u8, k->by_address, false),
        LLVMConstInt(u32, k->n_scratch, false),
        lap_aot_bytes(d, k->scratch_elem_bits, k->n_scratch * sizeof *k->scratch_elem_bits),
        lap_aot_bytes(d, k->scratch_count, k->n_scratch * sizeof *k->scratch_count),
        LLVMConstInt(u32, k->shared_bytes, false),
        LLVMConstInt(u32, k->group_size, false),
    };
    return LLVMConstStructInContext(d->llvm, fields, sizeof fields / sizeof fields[0], false);
}

static LLVMValueRef kernel_table(const lap_aot_data *d, lap_arena *arena, uint32_t n,
                                 const lap_vk_kernel *kernels)
{
    if (n == 0) {
        return LLVMConstNull(d->pointer);
    }
    LLVMValueRef *entries = lap_arena_array(arena, n, sizeof *entries);
    for (uint32_t i = 0; i < n; i++) {
        entries[i] = kernel_entry(d, &kernels[i]);
    }
    LLVMValueRef table = LLVMConstArray2(LLVMTypeOf(entries[0]), entries, n);
    LLVMValueRef global = lap_aot_define(d, "lap_model_shaders", table, 8);
    LLVMSetLinkage(global, LLVMPrivateLinkage);
    return global;
}

/* A lap_model_tier. */
static LLVMValueRef tier_entry(const lap_aot_data *d, uint32_t least, LLVMValueRef image, size_t n_image,
                               LLVMValueRef kernels)
{
    LLVMValueRef fields[] = {LLVMConstInt(d->word, least, false), image,
                             LLVMConstInt(d->word, n_image, false), kernels};
    return LLVMConstStructInContext(d->llvm, fields, sizeof fields / sizeof fields[0], false);
}

bool lap_aot_tiers(const lap_aot_data *d, const lap_aot_options *o, lap_fault *fault)
{
    lap_arena *arena = lap_aot_program(o)->ctx->arena;
    LLVMValueRef null = LLVMConstNull(d->pointer);
    LLVMValueRef *entries = lap_arena_array(arena, o->n_tiers + 1, sizeof *entries);
    for (uint32_t i = 0; i < o->n_tiers; i++) {
        const lap_aot_tier *t = &o->tiers[i];
        lap_spirv code;
        if (!lap_spirv_make(t->program, t->target, &code, fault)) {
            return false;
        }
        LLVMValueRef kernels = kernel_table(d, arena, t->program->n_kernels, code.kernels);
        entries[i] = tier_entry(d, t->least_subgroup, lap_aot_bytes(d, code.image, code.n_image),
                                code.n_image, kernels);
    }
    entries[o->n_tiers] = tier_entry(d, 0, null, 0, null);
    lap_aot_define(d, "lap_model_tiers", LLVMConstArray2(LLVMTypeOf(entries[0]), entries, o->n_tiers + 1), 8);
    LLVMValueRef opener = null;
    if (o->n_tiers > 0) {
        opener = LLVMAddGlobal(d->module, d->pointer, "lap_model_on_vulkan");
        LLVMSetVisibility(opener, LLVMHiddenVisibility);
    }
    lap_aot_define(d, "lap_model_devices", opener, 8);
    return true;
}
