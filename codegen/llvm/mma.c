/* SPDX-License-Identifier: Apache-2.0
 * mma.c - the register tile: rows x cols accumulators stay in registers over the whole depth.
 *
 * One function per shape and element types, so that its registers are allocated alone. Each step
 * loads the columns of b once, and broadcasts one element of each row of a. */
#include <string.h>

#include "codegen/llvm/emitter.h"

enum { STEP_UNROLL = 2, MAX_TILE = 1024 };
enum { ARG_ACC, ARG_LD, ARG_A, ARG_SM, ARG_SK, ARG_M, ARG_B, ARG_SB, ARG_DEPTH, N_ARGS };

typedef struct tile {
    uint32_t rows, cols, lanes, n_vectors;
    bool init;
    lap_dtype a, b;
    LLVMValueRef args[N_ARGS];
    LLVMValueRef *row; /* pointers to the rows of a */
} tile;

static LLVMValueRef offset(lap_emitter *e, LLVMTypeRef type, LLVMValueRef pointer, LLVMValueRef index)
{
    return LLVMBuildGEP2(e->b, type, pointer, &index, 1, "");
}

static LLVMValueRef scaled(lap_emitter *e, LLVMValueRef v, int64_t by)
{
    return LLVMBuildMul(e->b, v, lap_i64(e, by), "");
}

static LLVMValueRef acc_pointer(lap_emitter *e, const tile *t, uint32_t i, uint32_t j)
{
    LLVMValueRef at =
        LLVMBuildAdd(e->b, scaled(e, t->args[ARG_LD], i), lap_i64(e, (int64_t)j * t->lanes), "");
    return offset(e, e->f32, t->args[ARG_ACC], at);
}

/* acc += one column of a times one row of b. */
static void emit_step(lap_emitter *e, const tile *t, LLVMValueRef b, LLVMValueRef at, LLVMValueRef *acc)
{
    LLVMTypeRef b_type = lap_stored_type(e, t->b), a_type = lap_stored_type(e, t->a);
    LLVMValueRef columns[MAX_TILE];
    for (uint32_t j = 0; j < t->n_vectors; j++) {
        LLVMValueRef pointer = offset(e, b_type, b, lap_i64(e, (int64_t)j * t->lanes));
        LLVMValueRef v = LLVMBuildLoad2(e->b, lap_vector_of(b_type, t->lanes), pointer, "");
        LLVMSetAlignment(v, lap_dtype_bits(t->b) / 8);
        columns[j] = lap_convert(e, lap_from_stored(e, v, t->b), t->b, LAP_F32);
    }
    for (uint32_t i = 0; i < t->rows; i++) {
        LLVMValueRef v = LLVMBuildLoad2(e->b, a_type, offset(e, a_type, t->row[i], at), "");
        LLVMSetAlignment(v, lap_dtype_bits(t->a) / 8);
        LLVMValueRef x = lap_splat(e, lap_convert(e, lap_from_stored(e, v, t->a), t->a, LAP_F32), t->lanes);
        for (uint32_t j = 0; j < t->n_vectors; j++) {
            LLVMValueRef *c = &acc[i * t->n_vectors + j];
            LLVMValueRef args[3] = {x, columns[j], *c};
            *c = lap_intrinsic(e, "llvm.fmuladd", LLVMTypeOf(*c), 3, args);
        }
    }
}

/* The loop over depth, `unroll` steps a round, from `at` steps on; leaves the sums in acc. */
static void emit_depth(lap_emitter *e, const tile *t, LLVMValueRef from, LLVMValueRef to, uint32_t unroll,
                       LLVMValueRef *acc)
{
    uint32_t n = t->rows * t->n_vectors;
    LLVMValueRef *carried = lap_arena_array(e->ctx->arena, n + 2, sizeof *carried);
    LLVMValueRef *next = lap_arena_array(e->ctx->arena, n + 2, sizeof *next);
    LLVMTypeRef b_type = lap_stored_type(e, t->b);
    memcpy(carried, acc, n * sizeof *acc);
    carried[n] = offset(e, b_type, t->args[ARG_B], LLVMBuildMul(e->b, from, t->args[ARG_SB], ""));
    carried[n + 1] = LLVMBuildMul(e->b, from, t->args[ARG_SK], "");
    lap_counted loop = lap_counted_begin(e, from, to, lap_i64(e, unroll), n + 2, carried);
    memcpy(next, loop.phi, (n + 2) * sizeof *next);
    for (uint32_t u = 0; u < unroll; u++) {
        emit_step(e, t, next[n], next[n + 1], next);
        next[n] = offset(e, b_type, next[n], t->args[ARG_SB]);
        next[n + 1] = LLVMBuildAdd(e->b, next[n + 1], t->args[ARG_SK], "");
    }
    lap_counted_end(e, &loop, next, carried);
    memcpy(acc, carried, n * sizeof *acc);
}

static void emit_tile(lap_emitter *e, tile *t)
{
    uint32_t n = t->rows * t->n_vectors;
    LLVMTypeRef vector = lap_vector_of(e->f32, t->lanes);
    LLVMValueRef *acc = lap_arena_array(e->ctx->arena, n, sizeof *acc);
    t->row = lap_arena_array(e->ctx->arena, t->rows, sizeof *t->row);
    LLVMValueRef last = LLVMBuildSub(e->b, t->args[ARG_M], lap_i64(e, 1), "");
    for (uint32_t i = 0; i < t->rows; i++) {
        LLVMValueRef pair[2] = {lap_i64(e, i), last};
        LLVMValueRef at = i == 0 ? lap_i64(e, 0) : lap_intrinsic(e, "llvm.smin", e->i64, 2, pair);
        t->row[i] =
            offset(e, lap_stored_type(e, t->a), t->args[ARG_A], LLVMBuildMul(e->b, at, t->args[ARG_SM], ""));
        for (uint32_t j = 0; j < t->n_vectors; j++) {
            LLVMValueRef *c = &acc[i * t->n_vectors + j];
            *c = LLVMConstNull(vector);
            if (!t->init) {
                *c = LLVMBuildLoad2(e->b, vector, acc_pointer(e, t, i, j), "");
                LLVMSetAlignment(*c, 4);
            }
        }
    }
    LLVMValueRef depth = t->args[ARG_DEPTH];
    LLVMValueRef whole = LLVMBuildAnd(e->b, depth, lap_i64(e, -STEP_UNROLL), "");
    emit_depth(e, t, lap_i64(e, 0), whole, STEP_UNROLL, acc);
    emit_depth(e, t, whole, depth, 1, acc);
    for (uint32_t i = 0; i < n; i++) {
        LLVMValueRef pointer = acc_pointer(e, t, i / t->n_vectors, i % t->n_vectors);
        LLVMSetAlignment(LLVMBuildStore(e->b, acc[i], pointer), 4);
    }
    LLVMBuildRetVoid(e->b);
}

static LLVMTypeRef tile_type(lap_emitter *e)
{
    LLVMTypeRef types[N_ARGS];
    for (int i = 0; i < N_ARGS; i++) {
        types[i] = i == ARG_ACC || i == ARG_A || i == ARG_B ? e->ptr : e->i64;
    }
    return LLVMFunctionType(e->none, types, N_ARGS, false);
}

static LLVMValueRef tile_function(lap_emitter *e, tile *t)
{
    const char *name = lap_arena_printf(e->ctx->arena, "lap.mma.%ux%u.%s.%s%s", t->rows, t->cols,
                                        lap_dtype_text(t->a), lap_dtype_text(t->b), t->init ? ".init" : "");
    LLVMValueRef fn = LLVMGetNamedFunction(e->module, name);
    if (fn) {
        return fn;
    }
    LLVMValueRef outer = e->fn;
    LLVMBasicBlockRef block = LLVMGetInsertBlock(e->b);
    fn = e->fn = LLVMAddFunction(e->module, name, tile_type(e));
    lap_function_mark(e, fn);
    lap_function_alone(e, fn);
    for (int i = 0; i < N_ARGS; i++) {
        t->args[i] = LLVMGetParam(fn, (unsigned)i);
    }
    lap_pointer_mark(e, fn, ARG_ACC, "noalias", 0);
    LLVMPositionBuilderAtEnd(e->b, lap_block(e, "entry"));
    emit_tile(e, t);
    e->fn = outer;
    LLVMPositionBuilderAtEnd(e->b, block);
    return fn;
}

static LLVMValueRef operand_pointer(lap_emitter *e, const lap_node *n, uint32_t buffer)
{
    lap_memory m = lap_memory_of(e, n->args[buffer]);
    LAP_ENSURE(m.elem != LAP_I4);
    return lap_element(e, m, lap_value(e, n->args[buffer + 1]).v);
}

void lap_emit_mma(lap_emitter *e, const lap_node *n)
{
    enum { ACC = 0, LD = 2, A = 3, SM = 5, SK = 6, M = 7, B = 8, SB = 10, DEPTH = 11 };
    LAP_ENSURE(e->lanes == 1);
    uint32_t width = e->machine->target.vector_f32;
    tile t = {.rows = (uint32_t)lap_attr_i(n, LAP_ATTR_ROWS, 1),
              .cols = (uint32_t)lap_attr_i(n, LAP_ATTR_COLS, 1),
              .init = lap_attr_i(n, LAP_ATTR_INIT, 0) != 0,
              .a = lap_memory_of(e, n->args[A]).elem,
              .b = lap_memory_of(e, n->args[B]).elem};
    t.lanes = t.cols < width ? t.cols : width;
    while (t.cols % t.lanes != 0) {
        t.lanes /= 2;
    }
    t.n_vectors = t.cols / t.lanes;
    LAP_ENSURE(t.rows * t.n_vectors <= MAX_TILE);
    LLVMValueRef fn = tile_function(e, &t);
    LLVMValueRef args[N_ARGS] = {
        [ARG_ACC] = operand_pointer(e, n, ACC),      [ARG_LD] = lap_value(e, n->args[LD]).v,
        [ARG_A] = operand_pointer(e, n, A),          [ARG_SM] = lap_value(e, n->args[SM]).v,
        [ARG_SK] = lap_value(e, n->args[SK]).v,      [ARG_M] = lap_value(e, n->args[M]).v,
        [ARG_B] = operand_pointer(e, n, B),          [ARG_SB] = lap_value(e, n->args[SB]).v,
        [ARG_DEPTH] = lap_value(e, n->args[DEPTH]).v};
    LLVMBuildCall2(e->b, tile_type(e), fn, args, N_ARGS, "");
}
