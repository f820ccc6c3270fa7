/* SPDX-License-Identifier: Apache-2.0
 * sort.c - the first k of n keys in order, as a heap of the k best so far in the output itself.
 *
 * The root is the worst of the chosen; each further key that comes before it takes its place: vectors of
 * keys are compared with it, and most have none. Then the worst moves to the end, again and again.
 * O(n log k), no memory but the output. A few of many floats are found faster (select.c). */
#include "codegen/llvm/emitter.h"

typedef struct sorting {
    lap_memory keys, out;
    bool smallest;
    LLVMValueRef n, count;
} sorting;

enum { ARG_KEYS, ARG_N, ARG_OUT, ARG_COUNT, N_ARGS };
enum { SIFT_KEYS, SIFT_OUT, SIFT_FROM, SIFT_COUNT, N_SIFT_ARGS };

static LLVMValueRef get(lap_emitter *e, const sorting *s, LLVMValueRef position)
{
    LLVMValueRef v =
        LLVMBuildLoad2(e->b, lap_stored_type(e, s->out.elem), lap_element(e, s->out, position), "");
    return lap_from_stored(e, v, s->out.elem);
}

static void put(lap_emitter *e, const sorting *s, LLVMValueRef position, LLVMValueRef index)
{
    LLVMBuildStore(e->b, lap_to_stored(e, index, s->out.elem), lap_element(e, s->out, position));
}

/* Of what is in memory, one or a vector. */
static LLVMValueRef as_key(lap_emitter *e, const sorting *s, LLVMValueRef v)
{
    v = lap_from_stored(e, v, s->keys.elem);
    return lap_dtype_compute(s->keys.elem) == LAP_BOOL ? lap_convert(e, v, LAP_BOOL, LAP_I64) : v;
}

static LLVMValueRef key(lap_emitter *e, const sorting *s, LLVMValueRef index)
{
    LLVMValueRef v =
        LLVMBuildLoad2(e->b, lap_stored_type(e, s->keys.elem), lap_element(e, s->keys, index), "");
    LLVMSetAlignment(v, lap_dtype_bits(s->keys.elem) / 8);
    return as_key(e, s, v);
}

/* Whether the key at index a comes before the one at index b. */
static LLVMValueRef before(lap_emitter *e, const sorting *s, LLVMValueRef a, LLVMValueRef b)
{
    LLVMBuilderRef build = e->b;
    LLVMValueRef x = key(e, s, s->smallest ? b : a), y = key(e, s, s->smallest ? a : b);
    LLVMValueRef is_lower = LLVMBuildICmp(build, LLVMIntSLT, a, b, "");
    if (lap_dtype_compute(s->keys.elem) != LAP_F32) {
        LLVMValueRef is_tie = LLVMBuildAnd(build, LLVMBuildICmp(build, LLVMIntEQ, x, y, ""), is_lower, "");
        return LLVMBuildOr(build, LLVMBuildICmp(build, LLVMIntSGT, x, y, ""), is_tie, "");
    }
    LLVMValueRef mine = s->smallest ? y : x, other = s->smallest ? x : y;
    LLVMValueRef is_nan = LLVMBuildFCmp(build, LLVMRealUNO, mine, mine, "");
    LLVMValueRef is_last = LLVMBuildFCmp(build, LLVMRealUNO, other, other, "");
    LLVMValueRef both = LLVMBuildAnd(build, is_nan, is_last, "");
    LLVMValueRef is_tie = LLVMBuildOr(build, LLVMBuildFCmp(build, LLVMRealOEQ, x, y, ""), both, "");
    LLVMValueRef is_first = LLVMBuildAnd(build, LLVMBuildNot(build, is_nan, ""), is_last, "");
    is_first = LLVMBuildOr(build, is_first, LLVMBuildFCmp(build, LLVMRealOGT, x, y, ""), "");
    return LLVMBuildOr(build, is_first, LLVMBuildAnd(build, is_tie, is_lower, ""), "");
}

/* ---- functions of their own ---- */

typedef struct place {
    LLVMValueRef fn;
    LLVMBasicBlockRef block;
} place;

static place function_begin(lap_emitter *e, const char *name, LLVMTypeRef type)
{
    place outer = {e->fn, LLVMGetInsertBlock(e->b)};
    e->fn = LLVMAddFunction(e->module, name, type);
    lap_function_mark(e, e->fn);
    lap_function_alone(e, e->fn);
    LLVMPositionBuilderAtEnd(e->b, lap_block(e, "entry"));
    return outer;
}

static LLVMValueRef function_end(lap_emitter *e, place outer)
{
    LLVMValueRef made = e->fn;
    LLVMBuildRetVoid(e->b);
    e->fn = outer.fn;
    LLVMPositionBuilderAtEnd(e->b, outer.block);
    return made;
}

static LLVMTypeRef sift_type(lap_emitter *e)
{
    LLVMTypeRef types[N_SIFT_ARGS] = {e->ptr, e->ptr, e->i64, e->i64};
    return LLVMFunctionType(e->none, types, N_SIFT_ARGS, false);
}

/* Moves the index at a position down until none below it comes later in the order. */
static void emit_sift(lap_emitter *e, const sorting *s)
{
    LLVMBuilderRef b = e->b;
    LLVMValueRef from = LLVMGetParam(e->fn, SIFT_FROM), count = LLVMGetParam(e->fn, SIFT_COUNT);
    LLVMValueRef one = lap_i64(e, 1), moved = get(e, s, from);
    LLVMBasicBlockRef entry = LLVMGetInsertBlock(b), head = lap_block(e, "head"), pair = lap_block(e, "pair");
    LLVMBasicBlockRef two = lap_block(e, "two"), test = lap_block(e, "test"), up = lap_block(e, "up");
    LLVMBasicBlockRef stop = lap_block(e, "stop");
    LLVMBuildBr(b, head);
    LLVMPositionBuilderAtEnd(b, head);
    LLVMValueRef at = LLVMBuildPhi(b, e->i64, "");
    LLVMValueRef left = LLVMBuildAdd(b, LLVMBuildShl(b, at, one, ""), one, "");
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, left, count, ""), pair, stop);
    LLVMPositionBuilderAtEnd(b, pair);
    LLVMValueRef right = LLVMBuildAdd(b, left, one, "");
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, right, count, ""), two, test);
    LLVMPositionBuilderAtEnd(b, two);
    LLVMValueRef is_later = before(e, s, get(e, s, left), get(e, s, right));
    LLVMValueRef later = LLVMBuildSelect(b, is_later, right, left, "");
    LLVMBuildBr(b, test);
    LLVMPositionBuilderAtEnd(b, test);
    LLVMValueRef child = LLVMBuildPhi(b, e->i64, "");
    LLVMAddIncoming(child, &left, &pair, 1);
    LLVMAddIncoming(child, &later, &two, 1);
    LLVMValueRef below = get(e, s, child);
    LLVMBuildCondBr(b, before(e, s, moved, below), up, stop);
    LLVMPositionBuilderAtEnd(b, up);
    put(e, s, at, below);
    LLVMBuildBr(b, head);
    LLVMAddIncoming(at, &from, &entry, 1);
    LLVMAddIncoming(at, &child, &up, 1);
    LLVMPositionBuilderAtEnd(b, stop);
    put(e, s, at, moved);
}

static LLVMValueRef sift_function(lap_emitter *e, const sorting *outer, const char *name)
{
    const char *full = lap_arena_printf(e->ctx->arena, "%s.sift", name);
    LLVMValueRef fn = LLVMGetNamedFunction(e->module, full);
    if (fn) {
        return fn;
    }
    place back = function_begin(e, full, sift_type(e));
    sorting s = *outer;
    s.keys.pointer = LLVMGetParam(e->fn, SIFT_KEYS);
    s.out.pointer = LLVMGetParam(e->fn, SIFT_OUT);
    emit_sift(e, &s);
    return function_end(e, back);
}

static void call_sift(lap_emitter *e, const sorting *s, LLVMValueRef sift, LLVMValueRef from,
                      LLVMValueRef count)
{
    LLVMValueRef args[N_SIFT_ARGS] = {s->keys.pointer, s->out.pointer, from, count};
    LLVMBuildCall2(e->b, sift_type(e), sift, args, N_SIFT_ARGS, "");
}

static void emit_choice(lap_emitter *e, const sorting *s, LLVMValueRef sift, LLVMValueRef index)
{
    LLVMBasicBlockRef take = lap_block(e, "take"), next = lap_block(e, "next");
    LLVMValueRef zero = lap_i64(e, 0);
    LLVMBuildCondBr(e->b, before(e, s, index, get(e, s, zero)), take, next);
    LLVMPositionBuilderAtEnd(e->b, take);
    put(e, s, zero, index);
    call_sift(e, s, sift, zero, s->count);
    LLVMBuildBr(e->b, next);
    LLVMPositionBuilderAtEnd(e->b, next);
}

/* Lanes of `keys` that may come before the root's key; a later index never wins a tie. */
static LLVMValueRef may_precede(lap_emitter *e, const sorting *s, LLVMValueRef keys, LLVMValueRef root)
{
    if (lap_dtype_compute(s->keys.elem) != LAP_F32) {
        return LLVMBuildICmp(e->b, s->smallest ? LLVMIntSLT : LLVMIntSGT, keys, root, "");
    }
    LLVMValueRef wins = LLVMBuildFCmp(e->b, s->smallest ? LLVMRealULT : LLVMRealUGT, keys, root, "");
    return LLVMBuildAnd(e->b, wins, LLVMBuildFCmp(e->b, LLVMRealORD, keys, keys, ""), "");
}

/* The further keys from `from` while below `to`, `lanes` at a time. */
static void emit_choices(lap_emitter *e, const sorting *s, LLVMValueRef sift, LLVMValueRef from,
                         LLVMValueRef to, uint32_t lanes)
{
    LLVMBuilderRef b = e->b;
    LLVMTypeRef bits_type = LLVMIntTypeInContext(e->llvm, lanes);
    lap_counted loop = lap_counted_begin(e, from, to, lap_i64(e, lanes), 0, NULL);
    LLVMTypeRef type = LLVMVectorType(lap_stored_type(e, s->keys.elem), lanes);
    LLVMValueRef keys = LLVMBuildLoad2(b, type, lap_element(e, s->keys, loop.index), "");
    LLVMSetAlignment(keys, lap_dtype_bits(s->keys.elem) / 8);
    LLVMValueRef root = lap_splat(e, key(e, s, get(e, s, lap_i64(e, 0))), lanes);
    keys = as_key(e, s, keys);
    LLVMValueRef mask = may_precede(e, s, keys, root);
    LLVMValueRef all = LLVMBuildBitCast(b, mask, bits_type, ""), none = LLVMConstNull(bits_type);
    LLVMBasicBlockRef before_loop = LLVMGetInsertBlock(b), some = lap_block(e, "some"),
                      next = lap_block(e, "next");
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntNE, all, none, ""), some, next);
    LLVMPositionBuilderAtEnd(b, some);
    LLVMValueRef left = LLVMBuildPhi(b, bits_type, "");
    LLVMValueRef args[2] = {left, LLVMConstInt(e->i1, 1, false)};
    LLVMValueRef lane = LLVMBuildZExt(b, lap_intrinsic(e, "llvm.cttz", bits_type, 2, args), e->i64, "");
    emit_choice(e, s, sift, LLVMBuildAdd(b, loop.index, lane, ""));
    LLVMValueRef fewer = LLVMBuildSub(b, left, LLVMConstInt(bits_type, 1, false), "");
    fewer = LLVMBuildAnd(b, left, fewer, "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(b);
    LLVMAddIncoming(left, &all, &before_loop, 1);
    LLVMAddIncoming(left, &fewer, &latch, 1);
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntNE, fewer, none, ""), some, next);
    LLVMPositionBuilderAtEnd(b, next);
    lap_counted_end(e, &loop, NULL, NULL);
}

static void emit_sorting(lap_emitter *e, const sorting *s, LLVMValueRef sift)
{
    LLVMBuilderRef b = e->b;
    LLVMValueRef zero = lap_i64(e, 0), one = lap_i64(e, 1);
    lap_counted loop = lap_counted_begin(e, zero, s->count, one, 0, NULL);
    put(e, s, loop.index, loop.index);
    lap_counted_end(e, &loop, NULL, NULL);
    LLVMValueRef half = LLVMBuildAShr(b, s->count, one, "");
    loop = lap_counted_begin(e, zero, half, one, 0, NULL);
    LLVMValueRef at = LLVMBuildSub(b, LLVMBuildSub(b, half, one, ""), loop.index, "");
    call_sift(e, s, sift, at, s->count);
    lap_counted_end(e, &loop, NULL, NULL);
    LLVMValueRef is_some = LLVMBuildICmp(b, LLVMIntSGT, s->count, zero, "");
    LLVMValueRef end = LLVMBuildSelect(b, is_some, s->n, s->count, "");
    uint32_t lanes = e->machine->target.vector_f32;
    LLVMValueRef whole = LLVMBuildAnd(b, LLVMBuildSub(b, end, s->count, ""), lap_i64(e, -(int64_t)lanes), "");
    LLVMValueRef rest = LLVMBuildAdd(b, s->count, whole, "");
    emit_choices(e, s, sift, s->count, rest, lanes);
    loop = lap_counted_begin(e, rest, end, one, 0, NULL);
    emit_choice(e, s, sift, loop.index);
    lap_counted_end(e, &loop, NULL, NULL);
    loop = lap_counted_begin(e, one, s->count, one, 0, NULL);
    LLVMValueRef last = LLVMBuildSub(b, s->count, loop.index, "");
    LLVMValueRef worst = get(e, s, zero), other = get(e, s, last);
    put(e, s, last, worst);
    put(e, s, zero, other);
    call_sift(e, s, sift, zero, last);
    lap_counted_end(e, &loop, NULL, NULL);
}

/* Few of many: branches between the two ways, and ends where the heap is to begin. */
static void emit_selecting(lap_emitter *e, const sorting *s)
{
    if (s->keys.elem != LAP_F32) {
        return;
    }
    LLVMBuilderRef b = e->b;
    LLVMBasicBlockRef select = lap_block(e, "select"), done = lap_block(e, "selected");
    LLVMBasicBlockRef heap = lap_block(e, "heap");
    LLVMValueRef room = LLVMBuildArrayAlloca(b, e->i64, lap_i64(e, LAP_MOST_SELECTED + 16), "");
    LLVMValueRef is_few = LLVMBuildICmp(b, LLVMIntSLE, s->count, lap_i64(e, LAP_MOST_SELECTED), "");
    LLVMValueRef is_some = LLVMBuildICmp(b, LLVMIntSGT, s->count, lap_i64(e, 0), "");
    LLVMValueRef fits = LLVMBuildICmp(b, LLVMIntSLE, s->n, lap_i64(e, INT32_MAX), "");
    LLVMValueRef all = LLVMBuildAnd(b, LLVMBuildAnd(b, is_few, is_some, ""), fits, "");
    LLVMBuildCondBr(b, all, select, heap);
    LLVMPositionBuilderAtEnd(b, select);
    lap_emit_select(e, s->keys, s->n, s->out, s->count, s->smallest, room, heap);
    LLVMBuildBr(b, done);
    LLVMPositionBuilderAtEnd(b, done);
    LLVMBuildRetVoid(b);
    LLVMPositionBuilderAtEnd(b, heap);
}

static LLVMTypeRef sort_type(lap_emitter *e)
{
    LLVMTypeRef types[N_ARGS] = {e->ptr, e->i64, e->ptr, e->i64};
    return LLVMFunctionType(e->none, types, N_ARGS, false);
}

static LLVMValueRef sort_function(lap_emitter *e, const sorting *outer)
{
    const char *name = lap_arena_printf(e->ctx->arena, "lap.sort.%s.%s%s", lap_dtype_text(outer->keys.elem),
                                        lap_dtype_text(outer->out.elem), outer->smallest ? ".smallest" : "");
    LLVMValueRef fn = LLVMGetNamedFunction(e->module, name);
    if (fn) {
        return fn;
    }
    LLVMValueRef sift = sift_function(e, outer, name);
    place back = function_begin(e, name, sort_type(e));
    sorting s = *outer;
    s.keys.pointer = LLVMGetParam(e->fn, ARG_KEYS);
    s.n = LLVMGetParam(e->fn, ARG_N);
    s.out.pointer = LLVMGetParam(e->fn, ARG_OUT);
    s.count = LLVMGetParam(e->fn, ARG_COUNT);
    emit_selecting(e, &s);
    emit_sorting(e, &s, sift);
    return function_end(e, back);
}

void lap_emit_sort(lap_emitter *e, const lap_node *n)
{
    enum { KEYS = 0, KEYS_AT = 1, N = 2, OUT = 3, OUT_AT = 4, COUNT = 5 };
    LAP_ENSURE(e->lanes == 1);
    sorting s = {.keys = lap_memory_of(e, n->args[KEYS]), .out = lap_memory_of(e, n->args[OUT])};
    LAP_ENSURE(s.keys.elem != LAP_I4 && s.out.elem != LAP_I4);
    s.smallest = lap_attr_i(n, LAP_ATTR_SMALLEST, 0) != 0;
    LLVMValueRef args[N_ARGS] = {[ARG_KEYS] = lap_element(e, s.keys, lap_value(e, n->args[KEYS_AT]).v),
                                 [ARG_N] = lap_value(e, n->args[N]).v,
                                 [ARG_OUT] = lap_element(e, s.out, lap_value(e, n->args[OUT_AT]).v),
                                 [ARG_COUNT] = lap_value(e, n->args[COUNT]).v};
    LLVMValueRef fn = sort_function(e, &s);
    LLVMBuildCall2(e->b, sort_type(e), fn, args, N_ARGS, "");
}
