/* SPDX-License-Identifier: Apache-2.0
 * value.c - values of the emitter: scalars, lanes at a constant distance, vectors. */
#include <math.h>
#include <string.h>

#include "codegen/llvm/emitter.h"

bool lap_is_vector(LLVMValueRef v) { return LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind; }

uint32_t lap_lanes_of(LLVMValueRef v) { return lap_is_vector(v) ? LLVMGetVectorSize(LLVMTypeOf(v)) : 1; }

LLVMTypeRef lap_scalar_type(const lap_emitter *e, lap_dtype compute)
{
    switch (lap_dtype_compute(compute)) {
    case LAP_I64:
        return e->i64;
    case LAP_BOOL:
        return e->i1;
    default:
        return e->f32;
    }
}

LLVMTypeRef lap_vector_of(LLVMTypeRef scalar, uint32_t lanes)
{
    return lanes == 1 ? scalar : LLVMVectorType(scalar, lanes);
}

LLVMTypeRef lap_like(LLVMValueRef like, LLVMTypeRef scalar)
{
    return lap_vector_of(scalar, lap_lanes_of(like));
}

LLVMValueRef lap_i64(const lap_emitter *e, int64_t v)
{
    return LLVMConstInt(e->i64, (unsigned long long)v, true);
}

enum { MAX_LANES = 256 };

static LLVMValueRef const_splat(LLVMValueRef one, uint32_t lanes)
{
    LLVMValueRef all[MAX_LANES];
    LAP_ENSURE(lanes <= MAX_LANES);
    for (uint32_t i = 0; i < lanes; i++) {
        all[i] = one;
    }
    return LLVMConstVector(all, lanes);
}

LLVMValueRef lap_const_of(LLVMTypeRef type, double value)
{
    bool is_many = LLVMGetTypeKind(type) == LLVMVectorTypeKind;
    LLVMTypeRef scalar = is_many ? LLVMGetElementType(type) : type;
    LLVMValueRef one = LLVMGetTypeKind(scalar) == LLVMIntegerTypeKind
                           ? LLVMConstInt(scalar, (unsigned long long)(int64_t)value, true)
                           : LLVMConstReal(scalar, value);
    return is_many ? const_splat(one, LLVMGetVectorSize(type)) : one;
}

LLVMValueRef lap_iota(lap_emitter *e, LLVMTypeRef scalar, uint32_t lanes, int64_t stride)
{
    (void)e;
    LLVMValueRef all[MAX_LANES];
    LAP_ENSURE(lanes <= MAX_LANES);
    for (uint32_t i = 0; i < lanes; i++) {
        all[i] = LLVMConstInt(scalar, (unsigned long long)stride * i, true);
    }
    return lanes == 1 ? all[0] : LLVMConstVector(all, lanes);
}

LLVMValueRef lap_splat(lap_emitter *e, LLVMValueRef scalar, uint32_t lanes)
{
    if (lanes == 1) {
        return scalar;
    }
    if (LLVMIsConstant(scalar)) {
        return const_splat(scalar, lanes);
    }
    LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(scalar), lanes);
    LLVMValueRef poison = LLVMGetPoison(type);
    LLVMValueRef first = LLVMBuildInsertElement(e->b, poison, scalar, LLVMConstInt(e->i32, 0, false), "");
    return LLVMBuildShuffleVector(e->b, first, poison, LLVMConstNull(LLVMVectorType(e->i32, lanes)), "");
}

LLVMValueRef lap_spread(lap_emitter *e, lap_lval x)
{
    if (e->lanes == 1 || lap_is_vector(x.v)) {
        return x.v;
    }
    LLVMValueRef base = lap_splat(e, x.v, e->lanes);
    if (!x.stride) {
        return base;
    }
    LLVMValueRef steps;
    if (LLVMIsAConstantInt(x.stride)) {
        steps = lap_iota(e, e->i64, e->lanes, LLVMConstIntGetSExtValue(x.stride));
    } else {
        LLVMValueRef stride = lap_splat(e, x.stride, e->lanes);
        steps = LLVMBuildMul(e->b, stride, lap_iota(e, e->i64, e->lanes, 1), "");
    }
    return LLVMBuildAdd(e->b, base, steps, "");
}

lap_lval lap_value(lap_emitter *e, lap_ref ref)
{
    lap_lval x = e->values[ref.ix];
    if (!x.v) {
        LAP_BUG("kernel '%s': node %u is read before it is made", lap_graph_name(e->g), ref.ix);
    }
    return x;
}

LLVMValueRef lap_flags(LLVMValueRef v, LLVMFastMathFlags flags)
{
    if (LLVMIsAInstruction(v) && LLVMCanValueUseFastMathFlags(v)) {
        LLVMSetFastMathFlags(v, flags);
    }
    return v;
}

LLVMValueRef lap_intrinsic2(lap_emitter *e, const char *name, const LLVMTypeRef *overloads,
                            uint32_t n_overloads, uint32_t n, LLVMValueRef *args)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LAP_ENSURE(id != 0);
    LLVMTypeRef types[4];
    LAP_ENSURE(n_overloads <= 4);
    for (uint32_t i = 0; i < n_overloads; i++) {
        types[i] = overloads[i];
    }
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(e->module, id, types, n_overloads);
    return LLVMBuildCall2(e->b, LLVMIntrinsicGetType(e->llvm, id, types, n_overloads), fn, args, n, "");
}

LLVMValueRef lap_intrinsic(lap_emitter *e, const char *name, LLVMTypeRef overload, uint32_t n,
                           LLVMValueRef *args)
{
    return lap_intrinsic2(e, name, &overload, 1, n, args);
}

/* Integers in memory are widened on load; a conversion to f32 reads the narrow value, which
 * processors convert faster. */
static LLVMValueRef int_to_float(lap_emitter *e, LLVMValueRef v)
{
    if (LLVMIsASExtInst(v)) {
        v = LLVMGetOperand(v, 0);
        unsigned bits =
            LLVMGetIntTypeWidth(lap_is_vector(v) ? LLVMGetElementType(LLVMTypeOf(v)) : LLVMTypeOf(v));
        if (bits < 32) {
            v = LLVMBuildSExt(e->b, v, lap_like(v, e->i32), "");
        }
    }
    return LLVMBuildSIToFP(e->b, v, lap_like(v, e->f32), "");
}

static LLVMValueRef float_to_int(lap_emitter *e, LLVMValueRef v)
{
    LLVMTypeRef types[2] = {lap_like(v, e->i64), LLVMTypeOf(v)};
    return lap_intrinsic2(e, "llvm.fptosi.sat", types, 2, 1, &v);
}

LLVMValueRef lap_convert(lap_emitter *e, LLVMValueRef v, lap_dtype from, lap_dtype to)
{
    from = lap_dtype_compute(from);
    to = lap_dtype_compute(to);
    if (from == to) {
        return v;
    }
    if (to == LAP_F32) {
        return from == LAP_I64 ? int_to_float(e, v) : LLVMBuildUIToFP(e->b, v, lap_like(v, e->f32), "");
    }
    if (to == LAP_I64) {
        return from == LAP_F32 ? float_to_int(e, v) : LLVMBuildZExt(e->b, v, lap_like(v, e->i64), "");
    }
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(v));
    return from == LAP_F32 ? LLVMBuildFCmp(e->b, LLVMRealUNE, v, zero, "")
                           : LLVMBuildICmp(e->b, LLVMIntNE, v, zero, "");
}

LLVMValueRef lap_bool_any(lap_emitter *e, LLVMValueRef mask)
{
    if (!lap_is_vector(mask)) {
        return mask;
    }
    LLVMTypeRef bits = LLVMIntTypeInContext(e->llvm, lap_lanes_of(mask));
    LLVMValueRef word = LLVMBuildBitCast(e->b, mask, bits, "");
    return LLVMBuildICmp(e->b, LLVMIntNE, word, LLVMConstNull(bits), "");
}

LLVMValueRef lap_mask_and(lap_emitter *e, LLVMValueRef a, LLVMValueRef b)
{
    if (!a || !b) {
        return a ? a : b;
    }
    return LLVMBuildAnd(e->b, a, b, "");
}

LLVMValueRef lap_half(lap_emitter *e, LLVMValueRef v, uint32_t which)
{
    uint32_t n = lap_lanes_of(v) / 2;
    if (n == 1) {
        return LLVMBuildExtractElement(e->b, v, LLVMConstInt(e->i32, which, false), "");
    }
    LLVMValueRef order[MAX_LANES];
    for (uint32_t i = 0; i < n; i++) {
        order[i] = LLVMConstInt(e->i32, which * n + i, false);
    }
    return LLVMBuildShuffleVector(e->b, v, LLVMGetPoison(LLVMTypeOf(v)), LLVMConstVector(order, n), "");
}

LLVMValueRef lap_concat(lap_emitter *e, LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef order = lap_iota(e, e->i32, 2 * lap_lanes_of(a), 1);
    return LLVMBuildShuffleVector(e->b, a, b, order, "");
}
