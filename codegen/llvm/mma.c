/* SPDX-License-Identifier: Apache-2.0
 * mma.c - the register tile: rows x cols accumulators stay in registers over the whole depth.
 *
 * One function per shape and element types, so that its registers are allocated alone. Each step
 * loads the columns of b once, and broadcasts one element of each row of a.
 *
 * With dot products a step is two rows of b, of which one vector of pairs is woven for each vector of
 * sums, and a pair of each row of a. Weaving within quarters of registers costs a shuffle for each vector;
 * the sums then stand in its order, and are put into theirs once for the whole depth. */
#include <string.h>

#include "codegen/llvm/emitter.h"

enum { STEP_UNROLL = 2, MAX_TILE = 1024 };
enum { ARG_ACC, ARG_LD, ARG_A, ARG_SM, ARG_SK, ARG_M, ARG_B, ARG_SB, ARG_DEPTH, N_ARGS };

typedef struct tile {
    uint32_t rows, cols, lanes, n_vectors;
    bool init, dot;
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

/* Rows of b that stand AHEAD steps further on: a tile that is the first to read a panel would wait for each
 * page of it, where the processor's own prefetching begins anew. */
static void emit_prefetch(lap_emitter *e, const tile *t, LLVMValueRef b)
{
    enum { LINE = 64, AHEAD = 24 };
    LLVMTypeRef b_type = lap_stored_type(e, t->b);
    int64_t per_line = LINE / (lap_dtype_bits(t->b) / 8);
    LLVMValueRef row = offset(e, b_type, b, scaled(e, t->args[ARG_SB], AHEAD));
    for (int64_t at = 0; at < t->cols; at += per_line) {
        LLVMValueRef args[4] = {offset(e, b_type, row, lap_i64(e, at)), LLVMConstInt(e->i32, 0, false),
                                LLVMConstInt(e->i32, 3, false), LLVMConstInt(e->i32, 1, false)};
        lap_intrinsic(e, "llvm.prefetch", e->ptr, 4, args);
    }
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

/* ---- dot products of pairs ---- */

enum { QUARTER = 4 }; /* elements of f32, pairs of bf16 */

/* Elements of a and b by number, those of b after those of a. */
static LLVMValueRef pick(lap_emitter *e, LLVMValueRef a, LLVMValueRef b, const uint32_t *from, uint32_t n)
{
    LLVMValueRef order[MAX_TILE];
    for (uint32_t i = 0; i < n; i++) {
        order[i] = LLVMConstInt(e->i32, from[i], false);
    }
    return LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(order, n), "");
}

/* Which column of a row of bf16 stands in lane i of vector `which` of two: their quarters alternate. */
static uint32_t woven_column(uint32_t i, uint32_t which)
{
    return i / QUARTER * 2 * QUARTER + which * QUARTER + i % QUARTER;
}

/* Two vectors of sums, columns in order, to the order of woven pairs; or back. */
static void weave_sums(lap_emitter *e, const tile *t, LLVMValueRef *x, bool back)
{
    uint32_t from[2][MAX_TILE];
    for (uint32_t at = 0; at < 2 * t->lanes; at++) {
        uint32_t which = at / t->lanes, i = at % t->lanes, column = woven_column(i, which);
        if (back) {
            from[column / t->lanes][column % t->lanes] = at;
        } else {
            from[which][i] = column;
        }
    }
    LLVMValueRef first = pick(e, x[0], x[1], from[0], t->lanes);
    x[1] = pick(e, x[0], x[1], from[1], t->lanes);
    x[0] = first;
}

static void weave_all(lap_emitter *e, const tile *t, LLVMValueRef *acc, bool back)
{
    for (uint32_t i = 0; t->dot && i < t->rows; i++) {
        for (uint32_t j = 0; j + 1 < t->n_vectors; j += 2) {
            weave_sums(e, t, &acc[i * t->n_vectors + j], back);
        }
    }
}

/* Pairs along k of the columns of one or two vectors of sums, from the row of b at `upper` and the next;
 * past the last row there are zeros. */
static void weave_columns(lap_emitter *e, const tile *t, LLVMValueRef upper, LLVMValueRef lower, uint32_t n,
                          LLVMValueRef *out)
{
    LLVMTypeRef row = LLVMVectorType(e->i16, n * t->lanes);
    LLVMValueRef a = LLVMBuildLoad2(e->b, row, upper, ""), b = LLVMConstNull(row);
    LLVMSetAlignment(a, 2);
    if (lower) {
        b = LLVMBuildLoad2(e->b, row, lower, "");
        LLVMSetAlignment(b, 2);
    }
    for (uint32_t which = 0; which < n; which++) {
        uint32_t from[MAX_TILE];
        for (uint32_t i = 0; i < t->lanes; i++) {
            from[2 * i] = n == 1 ? i : woven_column(i, which);
            from[2 * i + 1] = from[2 * i] + n * t->lanes;
        }
        out[which] = pick(e, a, b, from, 2 * t->lanes);
    }
}

static LLVMValueRef dot(lap_emitter *e, const tile *t, LLVMValueRef sum, LLVMValueRef a, LLVMValueRef b)
{
    bool is_x86 = strncmp(e->machine->triple, "x86_64", 6) == 0;
    const char *name = !is_x86          ? "llvm.aarch64.neon.bfdot"
                       : t->lanes == 16 ? "llvm.x86.avx512bf16.dpbf16ps.512"
                       : t->lanes == 8  ? "llvm.x86.avx512bf16.dpbf16ps.256"
                                        : "llvm.x86.avx512bf16.dpbf16ps.128";
    LLVMTypeRef pairs = LLVMVectorType(LLVMBFloatTypeInContext(e->llvm), 2 * t->lanes);
    LLVMTypeRef types[2] = {LLVMTypeOf(sum), pairs};
    LLVMValueRef args[3] = {sum, LLVMBuildBitCast(e->b, a, pairs, ""), LLVMBuildBitCast(e->b, b, pairs, "")};
    return lap_intrinsic2(e, name, types, is_x86 ? 0 : 2, 3, args);
}

/* acc += two columns of a times two rows of b, or the last of each. */
static void emit_pair(lap_emitter *e, const tile *t, LLVMValueRef b, LLVMValueRef at, bool is_last,
                      LLVMValueRef *acc)
{
    LLVMValueRef columns[MAX_TILE];
    LLVMValueRef next = is_last ? NULL : offset(e, e->i16, b, t->args[ARG_SB]);
    for (uint32_t j = 0; j < t->n_vectors; j += 2) {
        LLVMValueRef skip = lap_i64(e, (int64_t)j * t->lanes);
        weave_columns(e, t, offset(e, e->i16, b, skip), next ? offset(e, e->i16, next, skip) : NULL,
                      j + 1 < t->n_vectors ? 2 : 1, &columns[j]);
    }
    for (uint32_t i = 0; i < t->rows; i++) {
        LLVMValueRef pointer = offset(e, e->i16, t->row[i], at);
        LLVMValueRef v = LLVMBuildLoad2(e->b, is_last ? e->i16 : e->i32, pointer, "");
        LLVMSetAlignment(v, 2);
        v = lap_splat(e, is_last ? LLVMBuildZExt(e->b, v, e->i32, "") : v, t->lanes);
        for (uint32_t j = 0; j < t->n_vectors; j++) {
            LLVMValueRef *c = &acc[i * t->n_vectors + j];
            *c = dot(e, t, *c, v, columns[j]);
        }
    }
}

/* ---- the loop ---- */

/* The loop over depth, `unroll` steps of `width` a round, from `from` on; leaves the sums in acc. */
static void emit_depth(lap_emitter *e, const tile *t, LLVMValueRef from, LLVMValueRef to, uint32_t unroll,
                       uint32_t width, LLVMValueRef *acc)
{
    uint32_t n = t->rows * t->n_vectors;
    LLVMValueRef *carried = lap_arena_array(e->ctx->arena, n + 2, sizeof *carried);
    LLVMValueRef *next = lap_arena_array(e->ctx->arena, n + 2, sizeof *next);
    LLVMTypeRef b_type = lap_stored_type(e, t->b);
    memcpy(carried, acc, n * sizeof *acc);
    carried[n] = offset(e, b_type, t->args[ARG_B], LLVMBuildMul(e->b, from, t->args[ARG_SB], ""));
    carried[n + 1] = LLVMBuildMul(e->b, from, t->args[ARG_SK], "");
    lap_counted loop = lap_counted_begin(e, from, to, lap_i64(e, (int64_t)unroll * width), n + 2, carried);
    memcpy(next, loop.phi, (n + 2) * sizeof *next);
    for (uint32_t u = 0; u < unroll; u++) {
        if (unroll > 1) {
            emit_prefetch(e, t, next[n]);
        }
        if (t->dot) {
            emit_pair(e, t, next[n], next[n + 1], width == 1, next);
        } else {
            emit_step(e, t, next[n], next[n + 1], next);
        }
        next[n] = offset(e, b_type, next[n], scaled(e, t->args[ARG_SB], width));
        next[n + 1] = LLVMBuildAdd(e->b, next[n + 1], scaled(e, t->args[ARG_SK], width), "");
    }
    lap_counted_end(e, &loop, next, carried);
    memcpy(acc, carried, n * sizeof *acc);
}

/* The whole depth: rounds of a few steps, then what is left of it. */
static void emit_sums(lap_emitter *e, const tile *t, LLVMValueRef *acc)
{
    LLVMValueRef depth = t->args[ARG_DEPTH], at = lap_i64(e, 0);
    uint32_t width = t->dot ? 2 : 1;
    for (uint32_t step = STEP_UNROLL * width; step > 0; step /= 2) {
        LLVMValueRef to = LLVMBuildAnd(e->b, depth, lap_i64(e, -(int64_t)step), "");
        width = step < width ? step : width;
        emit_depth(e, t, at, to, step / width, width, acc);
        at = to;
    }
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
    weave_all(e, t, acc, false);
    emit_sums(e, t, acc);
    weave_all(e, t, acc, true);
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
    const char *name =
        lap_arena_printf(e->ctx->arena, "lap.mma.%ux%u.%s.%s%s%s", t->rows, t->cols, lap_dtype_text(t->a),
                         lap_dtype_text(t->b), t->dot ? ".dot" : "", t->init ? ".init" : "");
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
    bool fits = t.lanes >= QUARTER && (t.lanes & (t.lanes - 1)) == 0;
    t.dot = lap_attr_i(n, LAP_ATTR_DOT, 0) != 0 && e->machine->target.has_dot && fits;
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
