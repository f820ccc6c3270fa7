/* SPDX-License-Identifier: Apache-2.0
 * emit.c - kernels: one function per kernel, its regions walked in node order.
 *
 * The entry of the ABI only loads its arguments and calls the body, whose pointers are noalias: two
 * operands of a launch never overlap, and that is where LLVM reads it. Constants, extents and maps
 * are made where their node stands; loops are in loop.c and vector.c. */
#include <stdlib.h>
#include <string.h>

#include "codegen/llvm/emitter.h"

LLVMBasicBlockRef lap_block(lap_emitter *e, const char *name)
{
    return LLVMAppendBasicBlockInContext(e->llvm, e->fn, name);
}

static lap_lval emit_const(lap_emitter *e, const lap_node *n)
{
    const lap_attr *a = lap_node_attr(n, LAP_ATTR_VALUE);
    LAP_ENSURE(a != NULL);
    switch (lap_dtype_compute(a->scalar.dtype)) {
    case LAP_I64:
        return lap_uniform(lap_i64(e, a->scalar.i));
    case LAP_BOOL:
        return lap_uniform(LLVMConstInt(e->i1, a->scalar.i != 0, false));
    default:
        return lap_uniform(LLVMConstReal(e->f32, (float)a->scalar.f));
    }
}

/* Value of an extent: a constant, or an argument of the kernel. */
static LLVMValueRef extent_value(lap_emitter *e, lap_dim d)
{
    int64_t c;
    if (lap_dim_is_const(e->ctx, d, &c)) {
        return lap_i64(e, c);
    }
    for (uint32_t i = 0; i < e->dims.n; i++) {
        if (lap_dim_same(e->dims.at[i], d)) {
            return e->dim_values[i];
        }
    }
    LAP_BUG("kernel '%s' has no extent %s", lap_graph_name(e->g), lap_dim_show(e->ctx, d));
}

static lap_lval emit_result(lap_emitter *e, const lap_node *n)
{
    const char *which = lap_text(e->ctx, lap_attr_name(n, LAP_ATTR_WHICH));
    unsigned long i = strtoul(which, NULL, 10);
    lap_lval *finals = e->finals[n->args[0].ix];
    LAP_ENSURE(finals && i + 1 < lap_node_at(e->g, n->args[0])->n_args);
    return finals[i];
}

/* Effects where the condition holds; lanes that disagree become a mask, and the branch is taken
 * when any of them is on. */
static void emit_if(lap_emitter *e, const lap_node *n)
{
    LLVMValueRef cond = lap_value(e, n->args[0]).v;
    LLVMValueRef outer = e->mask, test = cond;
    if (lap_is_vector(cond)) {
        e->mask = lap_mask_and(e, cond, outer);
        test = lap_bool_any(e, e->mask);
    }
    LLVMBasicBlockRef then = lap_block(e, "if"), join = lap_block(e, "endif");
    LLVMBuildCondBr(e->b, test, then, join);
    LLVMPositionBuilderAtEnd(e->b, then);
    lap_emit_region(e, n->regions[0]);
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, join);
    e->mask = outer;
}

static void emit_fail(lap_emitter *e, const lap_node *n)
{
    const char *message = lap_text(e->ctx, lap_attr_name(n, LAP_ATTR_MESSAGE));
    uint32_t number = lap_program_message(e->program, message, n->loc);
    LLVMValueRef cond = lap_value(e, n->args[0]).v;
    if (e->mask) {
        cond = lap_is_vector(cond) ? cond : lap_splat(e, cond, e->lanes);
        cond = lap_mask_and(e, cond, e->mask);
    }
    LLVMBasicBlockRef fail = lap_block(e, "fail"), next = lap_block(e, "holds");
    LLVMBuildCondBr(e->b, lap_bool_any(e, cond), fail, next);
    LLVMPositionBuilderAtEnd(e->b, fail);
    LLVMBuildRet(e->b, LLVMConstInt(e->i32, (uint64_t)number + 1, false));
    LLVMPositionBuilderAtEnd(e->b, next);
}

static void emit_node(lap_emitter *e, lap_ref ref)
{
    const lap_node *n = lap_node_at(e->g, ref);
    lap_lval *out = &e->values[ref.ix];
    switch (n->op) {
    case LAP_OP_CONST:
        *out = emit_const(e, n);
        break;
    case LAP_OP_DIM:
        *out = lap_uniform(extent_value(e, lap_attr_dim(n, LAP_ATTR_DIM)));
        break;
    case LAP_OP_MAP:
        *out = lap_emit_map(e, n);
        break;
    case LAP_OP_RESULT:
        *out = emit_result(e, n);
        break;
    case LAP_OP_LOAD:
        *out = lap_emit_load(e, n);
        break;
    case LAP_OP_STORE:
        lap_emit_store(e, n);
        break;
    case LAP_OP_FOR:
        lap_emit_for(e, ref, n);
        break;
    case LAP_OP_IF:
        emit_if(e, n);
        break;
    case LAP_OP_FAIL:
        emit_fail(e, n);
        break;
    case LAP_OP_MMA:
        lap_emit_mma(e, n);
        break;
    case LAP_OP_TURN:
        lap_emit_turn(e, n);
        break;
    case LAP_OP_SORT:
        lap_emit_sort(e, n);
        break;
    case LAP_OP_BUFFER:
    case LAP_OP_PARAM:
        break;
    default:
        LAP_BUG("kernel '%s' holds a %s", lap_graph_name(e->g), lap_op_text(n->op));
    }
}

void lap_emit_region(lap_emitter *e, lap_region_id id)
{
    uint32_t n = 0;
    const lap_ref *nodes = lap_region_nodes(e->g, id, &n);
    for (uint32_t i = 0; i < n; i++) {
        emit_node(e, nodes[i]);
    }
}

/* ---- functions ---- */

static void count_buffers(lap_emitter *e)
{
    e->n_globals = 0;
    e->n_scratch = 0;
    for (uint32_t i = 1; i <= lap_graph_n_nodes(e->g); i++) {
        const lap_node *n = lap_node_at(e->g, (lap_ref){i});
        if (n->op != LAP_OP_BUFFER) {
            continue;
        }
        uint32_t count = (uint32_t)lap_attr_i(n, LAP_ATTR_SLOT, 0) + 1;
        bool is_global = lap_attr_i(n, LAP_ATTR_SPACE, LAP_SPACE_GLOBAL) == LAP_SPACE_GLOBAL;
        uint32_t *total = is_global ? &e->n_globals : &e->n_scratch;
        *total = *total > count ? *total : count;
    }
}

/* Arguments of the body: pointers of globals, pointers of scratch, extents, begin, end. */
static LLVMTypeRef body_type(lap_emitter *e, uint32_t n_pointers, uint32_t n_args)
{
    LLVMTypeRef *types = lap_arena_array(e->ctx->arena, n_args, sizeof *types);
    for (uint32_t i = 0; i < n_args; i++) {
        types[i] = i < n_pointers ? e->ptr : e->i64;
    }
    return LLVMFunctionType(e->i32, types, n_args, false);
}

static LLVMValueRef emit_body(lap_emitter *e, LLVMTypeRef type, const char *name)
{
    lap_arena *arena = e->ctx->arena;
    uint32_t n_pointers = e->n_globals + e->n_scratch;
    e->fn = LLVMAddFunction(e->module, name, type);
    lap_function_mark(e, e->fn);
    lap_function_alone(e, e->fn);
    for (uint32_t i = 0; i < n_pointers; i++) {
        lap_pointer_mark(e, e->fn, i, "noalias", 0);
        if (i >= e->n_globals) {
            lap_pointer_mark(e, e->fn, i, "align", 64);
        }
    }
    e->globals = lap_arena_array(arena, n_pointers + 1, sizeof *e->globals);
    e->scratch = e->globals + e->n_globals;
    e->dim_values = lap_arena_array(arena, e->dims.n + 1, sizeof *e->dim_values);
    for (uint32_t i = 0; i < n_pointers; i++) {
        e->globals[i] = LLVMGetParam(e->fn, i);
    }
    for (uint32_t i = 0; i < e->dims.n; i++) {
        e->dim_values[i] = LLVMGetParam(e->fn, n_pointers + i);
    }
    e->begin = LLVMGetParam(e->fn, n_pointers + e->dims.n);
    e->end = LLVMGetParam(e->fn, n_pointers + e->dims.n + 1);
    LLVMPositionBuilderAtEnd(e->b, lap_block(e, "entry"));
    e->lanes = 1;
    e->mask = NULL;
    lap_emit_region(e, (lap_region_id){0});
    LLVMBuildRet(e->b, LLVMConstInt(e->i32, 0, false));
    return e->fn;
}

static LLVMValueRef load_word(lap_emitter *e, LLVMTypeRef type, LLVMValueRef table, uint32_t i)
{
    LLVMValueRef index = lap_i64(e, i);
    return LLVMBuildLoad2(e->b, type, LLVMBuildGEP2(e->b, type, table, &index, 1, ""), "");
}

/* The function of the ABI: int32_t (buffer, dim, begin, end, scratch). */
static LLVMValueRef emit_entry(lap_emitter *e, uint32_t kernel, LLVMTypeRef type, LLVMValueRef body,
                               uint32_t n_args)
{
    LLVMTypeRef params[5] = {e->ptr, e->ptr, e->i64, e->i64, e->ptr};
    const char *name = e->program->kernels[kernel].name;
    e->fn = LLVMAddFunction(e->module, name, LLVMFunctionType(e->i32, params, 5, false));
    LLVMSetLinkage(e->fn, LLVMInternalLinkage);
    lap_function_mark(e, e->fn);
    LLVMPositionBuilderAtEnd(e->b, lap_block(e, "entry"));
    LLVMValueRef *args = lap_arena_array(e->ctx->arena, n_args, sizeof *args);
    uint32_t at = 0;
    LLVMValueRef dims = LLVMGetParam(e->fn, 1), scratch = LLVMGetParam(e->fn, 4);
    for (uint32_t i = 0; i < e->n_globals; i++) {
        args[at++] = load_word(e, e->ptr, LLVMGetParam(e->fn, 0), i);
    }
    for (uint32_t i = 0; i < e->dims.n; i++) {
        e->dim_values[i] = load_word(e, e->i64, dims, i);
    }
    lap_kernel_scratch layout = lap_kernel_scratch_of(e->program, kernel);
    LAP_ENSURE(layout.n >= e->n_scratch);
    for (uint32_t i = 0; i < e->n_scratch; i++) {
        LLVMValueRef offset = extent_value(e, layout.offset[i]);
        args[at++] = LLVMBuildGEP2(e->b, e->i8, scratch, &offset, 1, "");
    }
    for (uint32_t i = 0; i < e->dims.n; i++) {
        args[at++] = e->dim_values[i];
    }
    args[at++] = LLVMGetParam(e->fn, 2);
    args[at++] = LLVMGetParam(e->fn, 3);
    LLVMBuildRet(e->b, LLVMBuildCall2(e->b, type, body, args, n_args, ""));
    return e->fn;
}

LLVMValueRef lap_emit_kernel(lap_emitter *e, uint32_t kernel)
{
    lap_arena *arena = e->ctx->arena;
    e->g = e->program->kernels[kernel].graph;
    e->dims = lap_kernel_dims_of(e->program, kernel);
    uint32_t n_nodes = lap_graph_n_nodes(e->g) + 1;
    e->values = lap_arena_array(arena, n_nodes, sizeof *e->values);
    e->finals = lap_arena_array(arena, n_nodes, sizeof *e->finals);
    e->varying = lap_arena_array(arena, n_nodes, sizeof *e->varying);
    count_buffers(e);
    uint32_t n_pointers = e->n_globals + e->n_scratch;
    uint32_t n_args = n_pointers + e->dims.n + 2;
    LLVMTypeRef type = body_type(e, n_pointers, n_args);
    const char *name = lap_arena_printf(arena, "%s.body", e->program->kernels[kernel].name);
    LLVMValueRef body = emit_body(e, type, name);
    return emit_entry(e, kernel, type, body, n_args);
}
