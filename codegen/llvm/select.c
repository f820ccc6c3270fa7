/* SPDX-License-Identifier: Apache-2.0
 * select.c - the first k of n floats in order, for small k: the k-th by bisection, then a sort of those kept.
 *
 * Floats in order are integers in order, so that bisecting between the bits of the least and of the largest
 * finds the k-th in a few passes that compare vectors. What is kept becomes one integer each, key above,
 * place below: all differ, and the rank of each is how many are larger. */
#include "codegen/llvm/emitter.h"

typedef struct chosen {
    lap_emitter *e;
    lap_memory keys, out;
    bool smallest;
    LLVMValueRef n, count, whole; /* whole: keys in whole vectors */
    uint32_t lanes;
    LLVMTypeRef floats;
    LLVMValueRef kept; /* packed, LAP_MOST_SELECTED of them and a vector more */
} chosen;

enum { PACKED_LANES = 8 };

static LLVMValueRef infinity(const chosen *s, int sign)
{
    return LLVMConstBitCast(LLVMConstInt(s->e->i32, sign > 0 ? 0x7f800000u : 0xff800000u, false), s->e->f32);
}

/* Between the bits of a float and an integer in the same order, both ways; i64 in and out. */
static LLVMValueRef turned(lap_emitter *e, LLVMValueRef bits)
{
    LLVMValueRef sign = LLVMBuildAShr(e->b, bits, lap_i64(e, 63), "");
    return LLVMBuildXor(e->b, bits, LLVMBuildAnd(e->b, sign, lap_i64(e, 0x7fffffff), ""), "");
}

static LLVMValueRef order_of(lap_emitter *e, LLVMValueRef x)
{
    x = LLVMBuildFAdd(e->b, x, LLVMConstReal(e->f32, 0.0), ""); /* one zero */
    return turned(e, LLVMBuildSExt(e->b, LLVMBuildBitCast(e->b, x, e->i32, ""), e->i64, ""));
}

static LLVMValueRef float_of(lap_emitter *e, LLVMValueRef order)
{
    LLVMValueRef bits = LLVMBuildTrunc(e->b, turned(e, order), e->i32, "");
    return LLVMBuildBitCast(e->b, bits, e->f32, "");
}

/* A vector of keys, so that the larger comes first. `mask` NULL: all are there; else the others are -inf. */
static LLVMValueRef keys_at(const chosen *s, LLVMValueRef at, LLVMValueRef mask)
{
    lap_emitter *e = s->e;
    LLVMValueRef v, place = lap_element(e, s->keys, at);
    if (mask == NULL) {
        v = LLVMBuildLoad2(e->b, s->floats, place, "");
        LLVMSetAlignment(v, 4);
    } else {
        LLVMValueRef args[4] = {place, LLVMConstInt(e->i32, 4, false), mask,
                                lap_splat(e, infinity(s, s->smallest ? 1 : -1), s->lanes)};
        LLVMTypeRef types[2] = {s->floats, e->ptr};
        v = lap_intrinsic2(e, "llvm.masked.load", types, 2, 4, args);
    }
    return s->smallest ? LLVMBuildFNeg(e->b, v, "") : v;
}

static LLVMValueRef tail_mask(const chosen *s)
{
    lap_emitter *e = s->e;
    LLVMValueRef rest = LLVMBuildTrunc(e->b, LLVMBuildSub(e->b, s->n, s->whole, ""), e->i32, "");
    LLVMValueRef lane = lap_iota(e, e->i32, s->lanes, 1);
    return LLVMBuildICmp(e->b, LLVMIntSLT, lane, lap_splat(e, rest, s->lanes), "");
}

/* Folds all keys: next = fn(carried, keys, mask of those that are there or NULL). */
typedef void folder(const chosen *s, LLVMValueRef const *carried, LLVMValueRef keys, LLVMValueRef mask,
                    LLVMValueRef at, void *user, LLVMValueRef *out_next);
static void fold(const chosen *s, uint32_t n, LLVMValueRef *init, folder *fn, void *user, LLVMValueRef *out)
{
    lap_emitter *e = s->e;
    LLVMValueRef next[4], so_far[4];
    lap_counted loop = lap_counted_begin(e, lap_i64(e, 0), s->whole, lap_i64(e, s->lanes), n, init);
    fn(s, loop.phi, keys_at(s, loop.index, NULL), NULL, loop.index, user, next);
    lap_counted_end(e, &loop, next, so_far);
    LLVMValueRef mask = tail_mask(s);
    fn(s, so_far, keys_at(s, s->whole, mask), mask, s->whole, user, out);
}

/* carried: largest, least, whether any is no number. */
static void fold_range(const chosen *s, LLVMValueRef const *carried, LLVMValueRef keys, LLVMValueRef mask,
                       LLVMValueRef at, void *user, LLVMValueRef *out)
{
    (void)at, (void)user;
    lap_emitter *e = s->e;
    LLVMValueRef is_more = LLVMBuildFCmp(e->b, LLVMRealOGT, keys, carried[0], "");
    LLVMValueRef is_less = LLVMBuildFCmp(e->b, LLVMRealOLT, keys, carried[1], "");
    is_less = lap_mask_and(e, is_less, mask);
    out[0] = LLVMBuildSelect(e->b, is_more, keys, carried[0], "");
    out[1] = LLVMBuildSelect(e->b, is_less, keys, carried[1], "");
    out[2] = LLVMBuildOr(e->b, carried[2], LLVMBuildFCmp(e->b, LLVMRealUNO, keys, keys, ""), "");
}

typedef struct bound {
    LLVMValueRef least; /* of those that count, in all lanes */
    LLVMRealPredicate is;
} bound;

static void fold_count(const chosen *s, LLVMValueRef const *carried, LLVMValueRef keys, LLVMValueRef mask,
                       LLVMValueRef at, void *user, LLVMValueRef *out)
{
    (void)at;
    lap_emitter *e = s->e;
    const bound *b = user;
    LLVMValueRef counts = lap_mask_and(e, LLVMBuildFCmp(e->b, b->is, keys, b->least, ""), mask);
    LLVMValueRef ones = LLVMBuildZExt(e->b, counts, LLVMTypeOf(carried[0]), "");
    out[0] = LLVMBuildAdd(e->b, carried[0], ones, "");
}

static LLVMValueRef reduced(lap_emitter *e, const char *name, LLVMValueRef v)
{
    return lap_intrinsic(e, name, LLVMTypeOf(v), 1, &v);
}

/* How many keys are at least (or more than) the float of this order. */
static LLVMValueRef counted(const chosen *s, LLVMValueRef order, LLVMRealPredicate is)
{
    lap_emitter *e = s->e;
    bound b = {lap_splat(e, float_of(e, order), s->lanes), is};
    LLVMValueRef none = LLVMConstNull(LLVMVectorType(e->i32, s->lanes)), sum;
    fold(s, 1, &none, fold_count, &b, &sum);
    return LLVMBuildZExt(e->b, reduced(e, "llvm.vector.reduce.add", sum), e->i64, "");
}

/* The largest order that at least `count` keys have: lo has that, what is above hi has not. */
static LLVMValueRef bisect(const chosen *s, LLVMValueRef lo, LLVMValueRef hi)
{
    lap_emitter *e = s->e;
    LLVMBuilderRef b = e->b;
    LLVMValueRef one = lap_i64(e, 1);
    LLVMBasicBlockRef entry = LLVMGetInsertBlock(b), head = lap_block(e, "bisect");
    LLVMBasicBlockRef body = lap_block(e, "halve"), done = lap_block(e, "found");
    LLVMBuildBr(b, head);
    LLVMPositionBuilderAtEnd(b, head);
    LLVMValueRef low = LLVMBuildPhi(b, e->i64, ""), high = LLVMBuildPhi(b, e->i64, "");
    LLVMAddIncoming(low, &lo, &entry, 1);
    LLVMAddIncoming(high, &hi, &entry, 1);
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, low, high, ""), body, done);
    LLVMPositionBuilderAtEnd(b, body);
    LLVMValueRef gap = LLVMBuildAdd(b, LLVMBuildSub(b, high, low, ""), one, "");
    LLVMValueRef mid = LLVMBuildAdd(b, low, LLVMBuildAShr(b, gap, one, ""), "");
    LLVMValueRef have = counted(s, mid, LLVMRealOGE);
    LLVMValueRef enough = LLVMBuildICmp(b, LLVMIntSGE, have, s->count, "");
    LLVMValueRef exact = LLVMBuildICmp(b, LLVMIntEQ, have, s->count, "");
    LLVMValueRef next_low = LLVMBuildSelect(b, enough, mid, low, "");
    LLVMValueRef next_high = LLVMBuildSelect(b, enough, high, LLVMBuildSub(b, mid, one, ""), "");
    next_high = LLVMBuildSelect(b, exact, mid, next_high, "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(b);
    LLVMBuildBr(b, head);
    LLVMAddIncoming(low, &next_low, &latch, 1);
    LLVMAddIncoming(high, &next_high, &latch, 1);
    LLVMPositionBuilderAtEnd(b, done);
    return low;
}

/* carried: how many are kept, how many equal to the last may still be. */
static void fold_keep(const chosen *s, LLVMValueRef const *carried, LLVMValueRef keys, LLVMValueRef mask,
                      LLVMValueRef at, void *user, LLVMValueRef *out)
{
    lap_emitter *e = s->e;
    LLVMBuilderRef b = e->b;
    const bound *last = user;
    LLVMTypeRef bits_type = LLVMIntTypeInContext(e->llvm, s->lanes);
    LLVMValueRef none = LLVMConstNull(bits_type);
    LLVMValueRef is_in = lap_mask_and(e, LLVMBuildFCmp(b, LLVMRealOGE, keys, last->least, ""), mask);
    LLVMValueRef all = LLVMBuildBitCast(b, is_in, bits_type, "");
    LLVMBasicBlockRef entry = LLVMGetInsertBlock(b), some = lap_block(e, "some"), next = lap_block(e, "next");
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntNE, all, none, ""), some, next);
    LLVMPositionBuilderAtEnd(b, some);
    LLVMValueRef left = LLVMBuildPhi(b, bits_type, ""), n = LLVMBuildPhi(b, e->i64, "");
    LLVMValueRef ties = LLVMBuildPhi(b, e->i64, "");
    LLVMValueRef args[2] = {left, LLVMConstInt(e->i1, 1, false)};
    LLVMValueRef lane = LLVMBuildZExt(b, lap_intrinsic(e, "llvm.cttz", bits_type, 2, args), e->i64, "");
    LLVMValueRef x = LLVMBuildExtractElement(b, keys, lane, ""), place = LLVMBuildAdd(b, at, lane, "");
    LLVMValueRef limit = LLVMBuildExtractElement(b, last->least, lap_i64(e, 0), "");
    LLVMValueRef is_tie = LLVMBuildFCmp(b, LLVMRealOEQ, x, limit, "");
    LLVMValueRef keep = LLVMBuildOr(b, LLVMBuildNot(b, is_tie, ""),
                                    LLVMBuildICmp(b, LLVMIntSGT, ties, lap_i64(e, 0), ""), "");
    LLVMValueRef packed = LLVMBuildShl(b, order_of(e, x), lap_i64(e, 32), "");
    packed = LLVMBuildOr(b, packed, LLVMBuildSub(b, lap_i64(e, 0xffffffff), place, ""), "");
    LLVMBuildStore(b, packed, LLVMBuildGEP2(b, e->i64, s->kept, &n, 1, ""));
    LLVMValueRef more = LLVMBuildAdd(b, n, LLVMBuildZExt(b, keep, e->i64, ""), "");
    LLVMValueRef fewer_ties = LLVMBuildSub(b, ties, LLVMBuildZExt(b, is_tie, e->i64, ""), "");
    LLVMValueRef fewer =
        LLVMBuildAnd(b, left, LLVMBuildSub(b, left, LLVMConstInt(bits_type, 1, false), ""), "");
    LLVMValueRef first[3] = {all, carried[0], carried[1]}, then[3] = {fewer, more, fewer_ties};
    LLVMValueRef phis[3] = {left, n, ties};
    for (int i = 0; i < 3; i++) {
        LLVMAddIncoming(phis[i], &first[i], &entry, 1);
        LLVMAddIncoming(phis[i], &then[i], &some, 1);
    }
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntNE, fewer, none, ""), some, next);
    LLVMPositionBuilderAtEnd(b, next);
    for (int i = 0; i < 2; i++) {
        out[i] = LLVMBuildPhi(b, e->i64, "");
        LLVMAddIncoming(out[i], (LLVMValueRef *)&carried[i], &entry, 1);
        LLVMAddIncoming(out[i], &then[i + 1], &some, 1);
    }
}

/* out[how many are larger] = place, of each that is kept. */
static void emit_ranks(const chosen *s)
{
    lap_emitter *e = s->e;
    LLVMBuilderRef b = e->b;
    LLVMTypeRef wide = LLVMVectorType(e->i64, PACKED_LANES);
    LLVMValueRef none = LLVMConstNull(wide), zero = lap_i64(e, 0);
    LLVMValueRef least = lap_splat(e, lap_i64(e, INT64_MIN), PACKED_LANES);
    LLVMValueRef behind = LLVMBuildGEP2(b, e->i64, s->kept, (LLVMValueRef *)&s->count, 1, "");
    LLVMValueRef end = LLVMBuildStore(b, least, behind);
    LLVMSetAlignment(end, 8);
    lap_counted each = lap_counted_begin(e, zero, s->count, lap_i64(e, 1), 0, NULL);
    LLVMValueRef mine = LLVMBuildLoad2(b, e->i64, LLVMBuildGEP2(b, e->i64, s->kept, &each.index, 1, ""), "");
    LLVMValueRef all = lap_splat(e, mine, PACKED_LANES);
    lap_counted loop = lap_counted_begin(e, zero, s->count, lap_i64(e, PACKED_LANES), 1, &none);
    LLVMValueRef others = LLVMBuildLoad2(b, wide, LLVMBuildGEP2(b, e->i64, s->kept, &loop.index, 1, ""), "");
    LLVMSetAlignment(others, 8);
    LLVMValueRef more = LLVMBuildZExt(b, LLVMBuildICmp(b, LLVMIntSGT, others, all, ""), wide, "");
    LLVMValueRef next = LLVMBuildAdd(b, loop.phi[0], more, ""), ranks;
    lap_counted_end(e, &loop, &next, &ranks);
    LLVMValueRef rank = reduced(e, "llvm.vector.reduce.add", ranks);
    LLVMValueRef low = LLVMBuildAnd(b, mine, lap_i64(e, 0xffffffff), "");
    LLVMValueRef place = LLVMBuildSub(b, lap_i64(e, 0xffffffff), low, "");
    LLVMBuildStore(b, lap_to_stored(e, place, s->out.elem), lap_element(e, s->out, rank));
    lap_counted_end(e, &each, NULL, NULL);
}

void lap_emit_select(lap_emitter *e, lap_memory keys, LLVMValueRef n, lap_memory out, LLVMValueRef count,
                     bool smallest, LLVMValueRef room, LLVMBasicBlockRef otherwise)
{
    chosen s = {.e = e, .keys = keys, .out = out, .smallest = smallest, .n = n, .count = count, .kept = room};
    LLVMBuilderRef b = e->b;
    s.lanes = e->machine->target.vector_f32;
    s.floats = LLVMVectorType(e->f32, s.lanes);
    s.whole = LLVMBuildAnd(b, n, lap_i64(e, -(int64_t)s.lanes), "");
    LLVMValueRef init[3] = {lap_splat(e, infinity(&s, -1), s.lanes), lap_splat(e, infinity(&s, 1), s.lanes),
                            LLVMConstNull(LLVMVectorType(e->i1, s.lanes))},
                 range[3];
    fold(&s, 3, init, fold_range, NULL, range);
    LLVMBasicBlockRef numbers = lap_block(e, "numbers");
    LLVMBuildCondBr(b, lap_bool_any(e, range[2]), otherwise, numbers);
    LLVMPositionBuilderAtEnd(b, numbers);
    LLVMValueRef most = order_of(e, reduced(e, "llvm.vector.reduce.fmax", range[0]));
    LLVMValueRef least = order_of(e, reduced(e, "llvm.vector.reduce.fmin", range[1]));
    LLVMValueRef last = bisect(&s, least, most);
    LLVMValueRef before = counted(&s, last, LLVMRealOGT);
    LLVMValueRef start[2] = {lap_i64(e, 0), LLVMBuildSub(b, count, before, "")}, ignored[2];
    bound limit = {lap_splat(e, float_of(e, last), s.lanes), LLVMRealOGE};
    fold(&s, 2, start, fold_keep, &limit, ignored);
    emit_ranks(&s);
}
