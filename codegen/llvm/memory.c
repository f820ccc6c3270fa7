/* SPDX-License-Identifier: Apache-2.0
 * memory.c - loads and stores: element types, lanes, masks.
 *
 * Lanes at distance 1 are one vector access, equal lanes a scalar one, others gather or scatter.
 * Pointers of users are aligned to their element only, so vector accesses promise no more. */
#include "codegen/llvm/emitter.h"

LLVMTypeRef lap_stored_type(const lap_emitter *e, lap_dtype elem)
{
    switch (elem) {
    case LAP_F32:
        return e->f32;
    case LAP_F16:
        return e->machine->can.half ? e->f16 : e->i16;
    case LAP_BF16:
        return e->i16;
    case LAP_I64:
        return e->i64;
    case LAP_I32:
        return e->i32;
    default:
        return e->i8;
    }
}

static unsigned stored_bytes(lap_dtype elem) { return elem == LAP_I4 ? 1 : lap_dtype_bits(elem) / 8; }

lap_memory lap_memory_of(lap_emitter *e, lap_ref buffer)
{
    const lap_node *n = lap_node_at(e->g, buffer);
    LAP_ENSURE(n->op == LAP_OP_BUFFER);
    uint32_t slot = (uint32_t)lap_attr_i(n, LAP_ATTR_SLOT, 0);
    bool is_global = lap_attr_i(n, LAP_ATTR_SPACE, LAP_SPACE_GLOBAL) == LAP_SPACE_GLOBAL;
    LAP_ENSURE(slot < (is_global ? e->n_globals : e->n_scratch));
    return (lap_memory){is_global ? e->globals[slot] : e->scratch[slot],
                        (lap_dtype)lap_attr_i(n, LAP_ATTR_ELEM, LAP_F32)};
}

LLVMValueRef lap_element(lap_emitter *e, lap_memory m, LLVMValueRef index)
{
    return LLVMBuildGEP2(e->b, lap_stored_type(e, m.elem), m.pointer, &index, 1, "");
}

/* ---- bits to values ---- */

static LLVMValueRef as_bits(lap_emitter *e, LLVMValueRef v)
{
    return LLVMBuildBitCast(e->b, v, lap_like(v, e->i32), "");
}

static LLVMValueRef as_float(lap_emitter *e, LLVMValueRef v)
{
    return LLVMBuildBitCast(e->b, v, lap_like(v, e->f32), "");
}

static LLVMValueRef word(LLVMValueRef like, uint32_t bits)
{
    return lap_const_of(LLVMTypeOf(like), (double)(int32_t)bits);
}

/* f16 without the instruction: shift the fields into place and correct the exponent by a
 * multiplication, which also makes denormals right; infinities and NaN keep the full exponent. */
static LLVMValueRef half_widen(lap_emitter *e, LLVMValueRef v)
{
    LLVMBuilderRef b = e->b;
    LLVMValueRef bits = LLVMBuildZExt(b, v, lap_like(v, e->i32), "");
    LLVMValueRef sign = LLVMBuildShl(b, LLVMBuildAnd(b, bits, word(bits, 0x8000), ""), word(bits, 16), "");
    LLVMValueRef rest = LLVMBuildShl(b, LLVMBuildAnd(b, bits, word(bits, 0x7fff), ""), word(bits, 13), "");
    LLVMValueRef scaled = LLVMBuildFMul(b, as_float(e, rest), lap_const_of(lap_like(v, e->f32), 0x1p112), "");
    LLVMValueRef is_special = LLVMBuildICmp(b, LLVMIntUGE, rest, word(bits, 0x0f800000), "");
    LLVMValueRef special = LLVMBuildOr(b, rest, word(bits, 0x7f800000), "");
    LLVMValueRef magnitude = LLVMBuildSelect(b, is_special, special, as_bits(e, scaled), "");
    return as_float(e, LLVMBuildOr(b, magnitude, sign, ""));
}

/* The inverse: normal results round in integers, denormal ones by adding a number whose last place
 * is theirs. */
static LLVMValueRef half_narrow(lap_emitter *e, LLVMValueRef v)
{
    LLVMBuilderRef b = e->b;
    LLVMValueRef bits = as_bits(e, v);
    LLVMValueRef sign =
        LLVMBuildLShr(b, LLVMBuildAnd(b, bits, word(bits, 0x80000000u), ""), word(bits, 16), "");
    LLVMValueRef size = LLVMBuildAnd(b, bits, word(bits, 0x7fffffff), "");
    LLVMValueRef odd = LLVMBuildAnd(b, LLVMBuildLShr(b, size, word(bits, 13), ""), word(bits, 1), "");
    LLVMValueRef bias = LLVMBuildAdd(b, odd, word(bits, 0xc8000fffu), "");
    LLVMValueRef normal = LLVMBuildLShr(b, LLVMBuildAdd(b, size, bias, ""), word(bits, 13), "");
    LLVMValueRef half = lap_const_of(lap_like(v, e->f32), 0.5);
    LLVMValueRef small =
        LLVMBuildSub(b, as_bits(e, LLVMBuildFAdd(b, as_float(e, size), half, "")), as_bits(e, half), "");
    LLVMValueRef is_small = LLVMBuildICmp(b, LLVMIntULT, size, word(bits, 0x38800000), "");
    LLVMValueRef out = LLVMBuildSelect(b, is_small, small, normal, "");
    LLVMValueRef is_large = LLVMBuildICmp(b, LLVMIntUGE, size, word(bits, 0x47800000), "");
    out = LLVMBuildSelect(b, is_large, word(bits, 0x7c00), out, "");
    LLVMValueRef is_nan = LLVMBuildICmp(b, LLVMIntUGT, size, word(bits, 0x7f800000), "");
    out = LLVMBuildSelect(b, is_nan, word(bits, 0x7e00), out, "");
    return LLVMBuildTrunc(b, LLVMBuildOr(b, out, sign, ""), lap_like(v, e->i16), "");
}

static LLVMValueRef bf16_widen(lap_emitter *e, LLVMValueRef v)
{
    LLVMValueRef bits = LLVMBuildZExt(e->b, v, lap_like(v, e->i32), "");
    return as_float(e, LLVMBuildShl(e->b, bits, word(bits, 16), ""));
}

static LLVMValueRef bf16_narrow(lap_emitter *e, LLVMValueRef v)
{
    LLVMBuilderRef b = e->b;
    LLVMValueRef bits = as_bits(e, v);
    LLVMValueRef odd = LLVMBuildAnd(b, LLVMBuildLShr(b, bits, word(bits, 16), ""), word(bits, 1), "");
    LLVMValueRef rounded = LLVMBuildAdd(b, bits, LLVMBuildAdd(b, odd, word(bits, 0x7fff), ""), "");
    LLVMValueRef is_nan = LLVMBuildFCmp(b, LLVMRealUNO, v, v, "");
    LLVMValueRef quiet = LLVMBuildOr(b, bits, word(bits, 0x400000), "");
    LLVMValueRef out = LLVMBuildSelect(b, is_nan, quiet, rounded, "");
    return LLVMBuildTrunc(b, LLVMBuildLShr(b, out, word(bits, 16), ""), lap_like(v, e->i16), "");
}

LLVMValueRef lap_from_stored(lap_emitter *e, LLVMValueRef v, lap_dtype elem)
{
    switch (elem) {
    case LAP_F16:
        return e->machine->can.half ? LLVMBuildFPExt(e->b, v, lap_like(v, e->f32), "") : half_widen(e, v);
    case LAP_BF16:
        return bf16_widen(e, v);
    case LAP_I32:
    case LAP_I8:
        return LLVMBuildSExt(e->b, v, lap_like(v, e->i64), "");
    case LAP_BOOL:
        return LLVMBuildICmp(e->b, LLVMIntNE, v, LLVMConstNull(LLVMTypeOf(v)), "");
    default:
        return v;
    }
}

static LLVMValueRef saturate(lap_emitter *e, LLVMValueRef v, double lo, double hi)
{
    LLVMValueRef low[2] = {v, lap_const_of(LLVMTypeOf(v), lo)};
    LLVMValueRef raised = lap_intrinsic(e, "llvm.smax", LLVMTypeOf(v), 2, low);
    LLVMValueRef high[2] = {raised, lap_const_of(LLVMTypeOf(v), hi)};
    return lap_intrinsic(e, "llvm.smin", LLVMTypeOf(v), 2, high);
}

LLVMValueRef lap_to_stored(lap_emitter *e, LLVMValueRef v, lap_dtype elem)
{
    switch (elem) {
    case LAP_F16:
        return e->machine->can.half ? LLVMBuildFPTrunc(e->b, v, lap_like(v, e->f16), "") : half_narrow(e, v);
    case LAP_BF16:
        return bf16_narrow(e, v);
    case LAP_I32:
        return LLVMBuildTrunc(e->b, saturate(e, v, INT32_MIN, INT32_MAX), lap_like(v, e->i32), "");
    case LAP_I8:
        return LLVMBuildTrunc(e->b, saturate(e, v, -128, 127), lap_like(v, e->i8), "");
    case LAP_I4:
        return LLVMBuildTrunc(e->b, saturate(e, v, -8, 7), lap_like(v, e->i8), "");
    case LAP_BOOL:
        return LLVMBuildZExt(e->b, v, lap_like(v, e->i8), "");
    default:
        return v;
    }
}

/* ---- shapes of access ---- */

typedef enum access { ACCESS_UNIFORM, ACCESS_RUN, ACCESS_MIRROR, ACCESS_STRIDE, ACCESS_ANY } access;

static access access_of(lap_lval index)
{
    if (lap_is_vector(index.v)) {
        return ACCESS_ANY;
    }
    if (!index.stride) {
        return ACCESS_UNIFORM;
    }
    if (LLVMIsAConstantInt(index.stride)) {
        int64_t stride = LLVMConstIntGetSExtValue(index.stride);
        return stride == 0    ? ACCESS_UNIFORM
               : stride == 1  ? ACCESS_RUN
               : stride == -1 ? ACCESS_MIRROR
                              : ACCESS_STRIDE;
    }
    return ACCESS_STRIDE;
}

static LLVMValueRef mirror(lap_emitter *e, LLVMValueRef v)
{
    uint32_t n = lap_lanes_of(v);
    LLVMValueRef order[256];
    for (uint32_t i = 0; i < n; i++) {
        order[i] = LLVMConstInt(e->i32, n - 1 - i, false);
    }
    return LLVMBuildShuffleVector(e->b, v, LLVMGetPoison(LLVMTypeOf(v)), LLVMConstVector(order, n), "");
}

/* Addresses of the lanes of a gather or scatter. */
static LLVMValueRef addresses(lap_emitter *e, lap_memory m, lap_lval index, access how)
{
    LLVMTypeRef type = lap_stored_type(e, m.elem);
    if (how == ACCESS_STRIDE) {
        LLVMValueRef base = lap_element(e, m, index.v);
        lap_lval steps = {lap_i64(e, 0), index.stride};
        LLVMValueRef offsets = lap_spread(e, steps);
        return LLVMBuildGEP2(e->b, type, base, &offsets, 1, "");
    }
    LLVMValueRef offsets = lap_spread(e, index);
    return LLVMBuildGEP2(e->b, type, m.pointer, &offsets, 1, "");
}

static LLVMValueRef all_lanes(lap_emitter *e, LLVMValueRef mask)
{
    return mask ? mask : lap_const_of(LLVMVectorType(e->i1, e->lanes), -1);
}

static LLVMValueRef const_i32(lap_emitter *e, uint32_t v) { return LLVMConstInt(e->i32, v, false); }

static LLVMValueRef load_run(lap_emitter *e, lap_memory m, LLVMValueRef pointer, LLVMValueRef mask)
{
    LLVMTypeRef type = LLVMVectorType(lap_stored_type(e, m.elem), e->lanes);
    if (!mask) {
        LLVMValueRef v = LLVMBuildLoad2(e->b, type, pointer, "");
        LLVMSetAlignment(v, stored_bytes(m.elem));
        return v;
    }
    LLVMTypeRef types[2] = {type, e->ptr};
    LLVMValueRef args[4] = {pointer, const_i32(e, stored_bytes(m.elem)), mask, LLVMConstNull(type)};
    return lap_intrinsic2(e, "llvm.masked.load", types, 2, 4, args);
}

static LLVMValueRef gather(lap_emitter *e, LLVMTypeRef elem, unsigned align, LLVMValueRef pointers,
                           LLVMValueRef mask)
{
    LLVMTypeRef type = LLVMVectorType(elem, e->lanes);
    LLVMTypeRef types[2] = {type, LLVMTypeOf(pointers)};
    LLVMValueRef args[4] = {pointers, const_i32(e, align), all_lanes(e, mask), LLVMConstNull(type)};
    return lap_intrinsic2(e, "llvm.masked.gather", types, 2, 4, args);
}

static LLVMValueRef load_lanes(lap_emitter *e, lap_memory m, lap_lval index, access how, LLVMValueRef mask)
{
    if (how == ACCESS_RUN) {
        return load_run(e, m, lap_element(e, m, index.v), mask);
    }
    if (how == ACCESS_MIRROR) {
        LLVMValueRef last = LLVMBuildSub(e->b, index.v, lap_i64(e, (int64_t)e->lanes - 1), "");
        return mirror(e, load_run(e, m, lap_element(e, m, last), mask ? mirror(e, mask) : NULL));
    }
    return gather(e, lap_stored_type(e, m.elem), stored_bytes(m.elem), addresses(e, m, index, how), mask);
}

/* ---- packed nibbles ---- */

static LLVMValueRef nibble_shift(lap_emitter *e, LLVMValueRef index)
{
    LLVMValueRef odd = LLVMBuildAnd(e->b, index, lap_const_of(LLVMTypeOf(index), 1), "");
    LLVMValueRef narrow = LLVMBuildTrunc(e->b, odd, lap_like(index, e->i8), "");
    return LLVMBuildShl(e->b, narrow, lap_const_of(LLVMTypeOf(narrow), 2), "");
}

/* The nibble at `shift` of each byte as i64. */
static LLVMValueRef nibble_value(lap_emitter *e, LLVMValueRef bytes, LLVMValueRef shift)
{
    LLVMValueRef low = LLVMBuildLShr(e->b, bytes, shift, "");
    LLVMValueRef high = LLVMBuildShl(e->b, low, lap_const_of(LLVMTypeOf(low), 4), "");
    LLVMValueRef v = LLVMBuildAShr(e->b, high, lap_const_of(LLVMTypeOf(low), 4), "");
    return LLVMBuildSExt(e->b, v, lap_like(v, e->i64), "");
}

/* A run of nibbles: even lanes come from the bytes at `index`, odd ones from those at `index` + 1;
 * the two agree where the run starts at a low nibble. */
static LLVMValueRef nibble_run(lap_emitter *e, lap_memory m, LLVMValueRef index)
{
    uint32_t half = e->lanes / 2;
    LLVMTypeRef type = LLVMVectorType(e->i8, half);
    LLVMValueRef next = LLVMBuildAdd(e->b, index, lap_i64(e, 1), "");
    LLVMValueRef at[2] = {index, next}, part[2];
    for (int i = 0; i < 2; i++) {
        LLVMValueRef byte = LLVMBuildAShr(e->b, at[i], lap_i64(e, 1), "");
        LLVMValueRef v = LLVMBuildLoad2(e->b, type, lap_element(e, m, byte), "");
        LLVMSetAlignment(v, 1);
        LLVMValueRef shift = lap_splat(e, nibble_shift(e, at[i]), half);
        part[i] = LLVMBuildLShr(e->b, v, shift, "");
    }
    LLVMValueRef order[256];
    for (uint32_t i = 0; i < e->lanes; i++) {
        order[i] = const_i32(e, i % 2 * half + i / 2);
    }
    LLVMValueRef both = LLVMBuildShuffleVector(e->b, part[0], part[1], LLVMConstVector(order, e->lanes), "");
    return nibble_value(e, both, LLVMConstNull(LLVMTypeOf(both)));
}

static LLVMValueRef load_nibbles(lap_emitter *e, lap_memory m, lap_lval index, access how, LLVMValueRef mask)
{
    if (how == ACCESS_RUN && !mask && e->lanes % 4 == 0) {
        return nibble_run(e, m, index.v);
    }
    bool is_one = how == ACCESS_UNIFORM;
    LLVMValueRef at = is_one ? index.v : lap_spread(e, index);
    LLVMValueRef byte = LLVMBuildAShr(e->b, at, lap_const_of(LLVMTypeOf(at), 1), "");
    LLVMValueRef pointer = lap_element(e, m, byte);
    LLVMValueRef bytes =
        is_one ? LLVMBuildLoad2(e->b, e->i8, pointer, "") : gather(e, e->i8, 1, pointer, mask);
    return nibble_value(e, bytes, nibble_shift(e, at));
}

/* Two neighbours share a byte, which another thread may be writing: both steps are atomic. */
static void store_nibble(lap_emitter *e, lap_memory m, LLVMValueRef index, LLVMValueRef v)
{
    LLVMValueRef pointer = lap_element(e, m, LLVMBuildAShr(e->b, index, lap_i64(e, 1), ""));
    LLVMValueRef shift = nibble_shift(e, index);
    LLVMValueRef field = LLVMConstInt(e->i8, 15, false);
    LLVMValueRef keep = LLVMBuildNot(e->b, LLVMBuildShl(e->b, field, shift, ""), "");
    LLVMValueRef bits = LLVMBuildShl(e->b, LLVMBuildAnd(e->b, v, field, ""), shift, "");
    LLVMBuildAtomicRMW(e->b, LLVMAtomicRMWBinOpAnd, pointer, keep, LLVMAtomicOrderingMonotonic, false);
    LLVMBuildAtomicRMW(e->b, LLVMAtomicRMWBinOpOr, pointer, bits, LLVMAtomicOrderingMonotonic, false);
}

/* ---- load and store ---- */

static LLVMValueRef load_value(lap_emitter *e, lap_memory m, lap_lval index, LLVMValueRef mask)
{
    access how = access_of(index);
    if (m.elem == LAP_I4) {
        return load_nibbles(e, m, index, how, mask);
    }
    LLVMValueRef v;
    if (how == ACCESS_UNIFORM) {
        v = LLVMBuildLoad2(e->b, lap_stored_type(e, m.elem), lap_element(e, m, index.v), "");
        LLVMSetAlignment(v, stored_bytes(m.elem));
    } else {
        v = load_lanes(e, m, index, how, mask);
    }
    return lap_from_stored(e, v, m.elem);
}

/* A load under a condition that is the same for all lanes, or of one element for lanes of which
 * some may be off: a branch around it. */
static LLVMValueRef load_guarded(lap_emitter *e, lap_memory m, lap_lval index, LLVMValueRef cond,
                                 LLVMValueRef mask)
{
    LLVMBasicBlockRef read = lap_block(e, "read"), join = lap_block(e, "join");
    LLVMBasicBlockRef skip = LLVMGetInsertBlock(e->b);
    LLVMBuildCondBr(e->b, cond, read, join);
    LLVMPositionBuilderAtEnd(e->b, read);
    LLVMValueRef v = load_value(e, m, index, mask);
    LLVMBasicBlockRef from = LLVMGetInsertBlock(e->b);
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, join);
    LLVMValueRef phi = LLVMBuildPhi(e->b, LLVMTypeOf(v), "");
    LLVMValueRef values[2] = {v, LLVMConstNull(LLVMTypeOf(v))};
    LLVMBasicBlockRef blocks[2] = {from, skip};
    LLVMAddIncoming(phi, values, blocks, 2);
    return phi;
}

/* Fetches what lies ahead of a run of lanes; addresses outside of memory do no harm. */
static void fetch_ahead(lap_emitter *e, lap_memory m, lap_lval index, int64_t ahead)
{
    if (ahead == 0 || e->lanes == 1 || m.elem == LAP_I4 || access_of(index) != ACCESS_RUN) {
        return;
    }
    LLVMValueRef at = lap_element(e, m, LLVMBuildAdd(e->b, index.v, lap_i64(e, ahead), ""));
    LLVMValueRef args[4] = {at, const_i32(e, 0), const_i32(e, 3), const_i32(e, 1)}; /* read, keep, data */
    lap_intrinsic(e, "llvm.prefetch", e->ptr, 4, args);
}

lap_lval lap_emit_load(lap_emitter *e, const lap_node *n)
{
    lap_memory m = lap_memory_of(e, n->args[0]);
    lap_lval index = lap_value(e, n->args[1]);
    fetch_ahead(e, m, index, lap_attr_i(n, LAP_ATTR_AHEAD, 0));
    if (n->n_args < 3 || !lap_ref_some(n->args[2])) {
        return lap_uniform(load_value(e, m, index, e->mask));
    }
    LLVMValueRef own = lap_value(e, n->args[2]).v;
    if (!lap_is_vector(own)) {
        return lap_uniform(load_guarded(e, m, index, own, e->mask));
    }
    LLVMValueRef mask = lap_mask_and(e, own, e->mask);
    if (access_of(index) != ACCESS_UNIFORM) {
        return lap_uniform(load_value(e, m, index, mask));
    }
    LLVMValueRef one = load_guarded(e, m, index, lap_bool_any(e, mask), NULL);
    LLVMValueRef all = lap_splat(e, one, e->lanes);
    return lap_uniform(LLVMBuildSelect(e->b, own, all, LLVMConstNull(LLVMTypeOf(all)), ""));
}

static LLVMValueRef lane(lap_emitter *e, LLVMValueRef v, uint32_t i)
{
    return lap_is_vector(v) ? LLVMBuildExtractElement(e->b, v, const_i32(e, i), "") : v;
}

static void store_run(lap_emitter *e, lap_memory m, LLVMValueRef pointer, LLVMValueRef v, LLVMValueRef mask)
{
    if (!mask) {
        LLVMSetAlignment(LLVMBuildStore(e->b, v, pointer), stored_bytes(m.elem));
        return;
    }
    LLVMTypeRef types[2] = {LLVMTypeOf(v), e->ptr};
    LLVMValueRef args[4] = {v, pointer, const_i32(e, stored_bytes(m.elem)), mask};
    lap_intrinsic2(e, "llvm.masked.store", types, 2, 4, args);
}

static void branch_begin(lap_emitter *e, LLVMValueRef cond, LLVMBasicBlockRef *out_join)
{
    LLVMBasicBlockRef then = lap_block(e, "then");
    *out_join = lap_block(e, "join");
    LLVMBuildCondBr(e->b, cond, then, *out_join);
    LLVMPositionBuilderAtEnd(e->b, then);
}

static void branch_end(lap_emitter *e, LLVMBasicBlockRef join)
{
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, join);
}

static void store_nibbles(lap_emitter *e, lap_memory m, lap_lval index, LLVMValueRef v, LLVMValueRef mask)
{
    LLVMValueRef at = lap_spread(e, index);
    for (uint32_t i = 0; i < e->lanes; i++) {
        LLVMBasicBlockRef join = NULL;
        if (mask) {
            branch_begin(e, lane(e, mask, i), &join);
        }
        store_nibble(e, m, lane(e, at, i), lane(e, v, i));
        if (join) {
            branch_end(e, join);
        }
    }
}

static void store_value(lap_emitter *e, lap_memory m, lap_lval index, LLVMValueRef v, LLVMValueRef mask)
{
    access how = access_of(index);
    bool is_one = e->lanes == 1 || (how == ACCESS_UNIFORM && !lap_is_vector(v));
    LLVMValueRef bits = lap_to_stored(e, is_one ? v : lap_spread(e, lap_uniform(v)), m.elem);
    if (is_one && m.elem == LAP_I4) {
        store_nibble(e, m, index.v, bits);
    } else if (is_one) {
        LLVMSetAlignment(LLVMBuildStore(e->b, bits, lap_element(e, m, index.v)), stored_bytes(m.elem));
    } else if (m.elem == LAP_I4) {
        store_nibbles(e, m, index, bits, mask);
    } else if (how == ACCESS_RUN) {
        store_run(e, m, lap_element(e, m, index.v), bits, mask);
    } else if (how == ACCESS_MIRROR) {
        LLVMValueRef last = LLVMBuildSub(e->b, index.v, lap_i64(e, (int64_t)e->lanes - 1), "");
        store_run(e, m, lap_element(e, m, last), mirror(e, bits), mask ? mirror(e, mask) : NULL);
    } else {
        LLVMValueRef pointers = addresses(e, m, index, how);
        LLVMTypeRef types[2] = {LLVMTypeOf(bits), LLVMTypeOf(pointers)};
        LLVMValueRef args[4] = {bits, pointers, const_i32(e, stored_bytes(m.elem)), all_lanes(e, mask)};
        lap_intrinsic2(e, "llvm.masked.scatter", types, 2, 4, args);
    }
}

void lap_emit_store(lap_emitter *e, const lap_node *n)
{
    lap_memory m = lap_memory_of(e, n->args[0]);
    lap_lval index = lap_value(e, n->args[1]);
    lap_lval value = lap_value(e, n->args[2]);
    LLVMValueRef v = value.stride ? lap_spread(e, value) : value.v;
    v = lap_convert(e, v, lap_node_at(e->g, n->args[2])->dtype, m.elem);
    LLVMValueRef own = n->n_args > 3 && lap_ref_some(n->args[3]) ? lap_value(e, n->args[3]).v : NULL;
    if (own && lap_is_vector(own)) {
        bool is_one = access_of(index) == ACCESS_UNIFORM && !lap_is_vector(v);
        LLVMValueRef mask = lap_mask_and(e, own, e->mask);
        own = is_one ? lap_bool_any(e, mask) : NULL;
        if (!is_one) {
            store_value(e, m, index, v, mask);
            return;
        }
    }
    LLVMBasicBlockRef join = NULL;
    if (own) {
        branch_begin(e, own, &join);
    }
    store_value(e, m, index, v, e->mask);
    if (join) {
        branch_end(e, join);
    }
}
