/* SPDX-License-Identifier: Apache-2.0
 * map.c - scalar functions on uniform, affine and varying values.
 *
 * i64 sums and products of affine values stay affine, so addresses cost scalar arithmetic only, and
 * comparing affine values compares small lane numbers. Where LLVM leaves a case undefined (division
 * by 0, INT64_MIN / -1, conversion out of range) the language's answer is made explicit. */
#include <math.h>

#include "codegen/llvm/emitter.h"

/* Contraction is allowed; NaN and infinities are values (masks use them), and the order of operations
 * is the program's: only vector loops reorder, in their reductions. */
enum { FLAGS = LLVMFastMathAllowContract | LLVMFastMathNoSignedZeros | LLVMFastMathAllowReciprocal };

typedef enum operand_rule { TAKES_RESULT, TAKES_COMMON, TAKES_BOOL, TAKES_FLOAT, TAKES_OWN } operand_rule;

static operand_rule rule_of(lap_fn fn)
{
    switch (fn) {
    case LAP_FN_ADD:
    case LAP_FN_SUB:
    case LAP_FN_MUL:
    case LAP_FN_IDIV:
    case LAP_FN_MOD:
    case LAP_FN_MIN:
    case LAP_FN_MAX:
    case LAP_FN_NEG:
    case LAP_FN_ABS:
    case LAP_FN_SIGN:
        return TAKES_RESULT;
    case LAP_FN_LT:
    case LAP_FN_LE:
    case LAP_FN_GT:
    case LAP_FN_GE:
    case LAP_FN_EQ:
    case LAP_FN_NE:
        return TAKES_COMMON;
    case LAP_FN_AND:
    case LAP_FN_OR:
    case LAP_FN_NOT:
        return TAKES_BOOL;
    case LAP_FN_SELECT:
    case LAP_FN_INT:
    case LAP_FN_FLOAT:
    case LAP_FN_TO_F16:
    case LAP_FN_TO_BF16:
    case LAP_FN_TO_I32:
    case LAP_FN_TO_I8:
    case LAP_FN_TO_I4:
        return TAKES_OWN;
    default:
        return TAKES_FLOAT;
    }
}

/* ---- integers ---- */

static LLVMValueRef number(lap_emitter *e, LLVMValueRef like, int64_t v)
{
    return lap_splat(e, lap_i64(e, v), lap_lanes_of(like));
}

static LLVMValueRef int_pair(lap_emitter *e, const char *name, LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef args[2] = {a, b};
    return lap_intrinsic(e, name, LLVMTypeOf(a), 2, args);
}

/* The constant that all lanes of v hold, if any. */
static bool same_constant(LLVMValueRef v, int64_t *out)
{
    LLVMValueRef one = v;
    if (lap_is_vector(v)) {
        one = LLVMIsConstant(v) ? LLVMGetAggregateElement(v, 0) : NULL;
    }
    if (!one || !LLVMIsAConstantInt(one)) {
        return false;
    }
    for (uint32_t i = 1; i < lap_lanes_of(v); i++) {
        if (LLVMGetAggregateElement(v, i) != one) {
            return false;
        }
    }
    *out = LLVMConstIntGetSExtValue(one);
    return true;
}

/* Rounds the truncated quotient down: one less where the remainder has the other sign. */
static LLVMValueRef floor_quotient(lap_emitter *e, LLVMValueRef a, LLVMValueRef d)
{
    LLVMValueRef q = LLVMBuildSDiv(e->b, a, d, "");
    LLVMValueRef r = LLVMBuildSub(e->b, a, LLVMBuildMul(e->b, q, d, ""), "");
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(a));
    LLVMValueRef is_off = LLVMBuildICmp(e->b, LLVMIntSLT, LLVMBuildXor(e->b, r, d, ""), zero, "");
    is_off = LLVMBuildAnd(e->b, is_off, LLVMBuildICmp(e->b, LLVMIntNE, r, zero, ""), "");
    return LLVMBuildSub(e->b, q, LLVMBuildZExt(e->b, is_off, LLVMTypeOf(q), ""), "");
}

static LLVMValueRef int_divide(lap_emitter *e, LLVMValueRef a, LLVMValueRef d)
{
    int64_t c;
    if (same_constant(d, &c)) {
        if (c == 0) {
            return LLVMConstNull(LLVMTypeOf(a));
        }
        if (c > 0 && (c & (c - 1)) == 0) {
            return LLVMBuildAShr(e->b, a, number(e, a, __builtin_ctzll((uint64_t)c)), "");
        }
        return c == -1 ? LLVMBuildNeg(e->b, a, "") : floor_quotient(e, a, d);
    }
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(a)), one = number(e, a, 1);
    LLVMValueRef is_zero = LLVMBuildICmp(e->b, LLVMIntEQ, d, zero, "");
    LLVMValueRef is_minus = LLVMBuildICmp(e->b, LLVMIntEQ, d, number(e, a, -1), "");
    LLVMValueRef safe = LLVMBuildSelect(e->b, LLVMBuildOr(e->b, is_zero, is_minus, ""), one, d, "");
    LLVMValueRef q = floor_quotient(e, a, safe);
    q = LLVMBuildSelect(e->b, is_minus, LLVMBuildNeg(e->b, a, ""), q, "");
    return LLVMBuildSelect(e->b, is_zero, zero, q, "");
}

static LLVMValueRef int_modulo(lap_emitter *e, LLVMValueRef a, LLVMValueRef d)
{
    int64_t c;
    if (same_constant(d, &c) && c > 0 && (c & (c - 1)) == 0) {
        return LLVMBuildAnd(e->b, a, number(e, a, c - 1), "");
    }
    LLVMValueRef rest = LLVMBuildSub(e->b, a, LLVMBuildMul(e->b, int_divide(e, a, d), d, ""), "");
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(a));
    return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, d, zero, ""), zero, rest, "");
}

static LLVMValueRef int_map(lap_emitter *e, lap_fn fn, LLVMValueRef a, LLVMValueRef b)
{
    switch (fn) {
    case LAP_FN_ADD:
        return LLVMBuildAdd(e->b, a, b, "");
    case LAP_FN_SUB:
        return LLVMBuildSub(e->b, a, b, "");
    case LAP_FN_MUL:
        return LLVMBuildMul(e->b, a, b, "");
    case LAP_FN_IDIV:
        return int_divide(e, a, b);
    case LAP_FN_MOD:
        return int_modulo(e, a, b);
    case LAP_FN_MIN:
        return int_pair(e, "llvm.smin", a, b);
    case LAP_FN_MAX:
        return int_pair(e, "llvm.smax", a, b);
    case LAP_FN_NEG:
        return LLVMBuildNeg(e->b, a, "");
    case LAP_FN_ABS:
        return int_pair(e, "llvm.smax", a, LLVMBuildNeg(e->b, a, ""));
    case LAP_FN_SIGN:
        return int_pair(e, "llvm.smax", int_pair(e, "llvm.smin", a, number(e, a, 1)), number(e, a, -1));
    default:
        LAP_BUG("no integer form of '%s'", lap_fn_text(fn));
    }
}

/* ---- floats ---- */

/* These return NaN when either operand is; the sign of zero does not matter. */
static LLVMValueRef float_extreme(lap_emitter *e, const char *name, LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef args[2] = {a, b};
    return lap_flags(lap_intrinsic(e, name, LLVMTypeOf(a), 2, args), LLVMFastMathNoSignedZeros);
}

static LLVMValueRef float_sign(lap_emitter *e, LLVMValueRef a)
{
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(a));
    LLVMValueRef up = LLVMBuildFCmp(e->b, LLVMRealOGT, a, zero, "");
    LLVMValueRef down = LLVMBuildFCmp(e->b, LLVMRealOLT, a, zero, "");
    LLVMValueRef low = LLVMBuildSelect(e->b, down, lap_const_of(LLVMTypeOf(a), -1), a, "");
    return LLVMBuildSelect(e->b, up, lap_const_of(LLVMTypeOf(a), 1), low, "");
}

static LLVMValueRef float_map(lap_emitter *e, lap_fn fn, LLVMValueRef a, LLVMValueRef b)
{
    switch (fn) {
    case LAP_FN_ADD:
        return lap_flags(LLVMBuildFAdd(e->b, a, b, ""), FLAGS);
    case LAP_FN_SUB:
        return lap_flags(LLVMBuildFSub(e->b, a, b, ""), FLAGS);
    case LAP_FN_MUL:
        return lap_flags(LLVMBuildFMul(e->b, a, b, ""), FLAGS);
    case LAP_FN_DIV:
        return lap_flags(LLVMBuildFDiv(e->b, a, b, ""), FLAGS);
    case LAP_FN_IDIV:
        return lap_math_floor(e, LLVMBuildFDiv(e->b, a, b, ""));
    case LAP_FN_MOD: {
        LLVMValueRef q = lap_math_floor(e, LLVMBuildFDiv(e->b, a, b, ""));
        LLVMValueRef part = lap_flags(LLVMBuildFMul(e->b, q, b, ""), LLVMFastMathAllowContract);
        return lap_flags(LLVMBuildFSub(e->b, a, part, ""), LLVMFastMathAllowContract);
    }
    case LAP_FN_LARGER:
        return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOGT, b, a, ""), b, a, "");
    case LAP_FN_POW:
        return lap_math_pow(e, a, b);
    case LAP_FN_MIN:
        return float_extreme(e, "llvm.minimum", a, b);
    case LAP_FN_MAX:
        return float_extreme(e, "llvm.maximum", a, b);
    case LAP_FN_NEG:
        return LLVMBuildFNeg(e->b, a, "");
    case LAP_FN_ABS:
        return lap_intrinsic(e, "llvm.fabs", LLVMTypeOf(a), 1, &a);
    case LAP_FN_SIGN:
        return float_sign(e, a);
    default:
        return lap_math(e, fn, a);
    }
}

/* ---- comparisons, logic ---- */

typedef struct comparison {
    lap_fn fn;
    LLVMIntPredicate i;
    LLVMRealPredicate f;
} comparison;
static const comparison comparisons[] = {
    {LAP_FN_LT, LLVMIntSLT, LLVMRealOLT}, {LAP_FN_LE, LLVMIntSLE, LLVMRealOLE},
    {LAP_FN_GT, LLVMIntSGT, LLVMRealOGT}, {LAP_FN_GE, LLVMIntSGE, LLVMRealOGE},
    {LAP_FN_EQ, LLVMIntEQ, LLVMRealOEQ},  {LAP_FN_NE, LLVMIntNE, LLVMRealUNE},
};

static const comparison *comparison_of(lap_fn fn)
{
    for (size_t i = 0; i < sizeof comparisons / sizeof *comparisons; i++) {
        if (comparisons[i].fn == fn) {
            return &comparisons[i];
        }
    }
    return NULL;
}

static LLVMValueRef bool_map(lap_emitter *e, lap_fn fn, LLVMValueRef a, LLVMValueRef b)
{
    switch (fn) {
    case LAP_FN_AND:
        return LLVMBuildAnd(e->b, a, b, "");
    case LAP_FN_OR:
        return LLVMBuildOr(e->b, a, b, "");
    case LAP_FN_NOT:
        return LLVMBuildNot(e->b, a, "");
    default:
        LAP_BUG("no bool form of '%s'", lap_fn_text(fn));
    }
}

LLVMValueRef lap_combine(lap_emitter *e, lap_fn fn, lap_dtype type, LLVMValueRef a, LLVMValueRef b)
{
    switch (lap_dtype_compute(type)) {
    case LAP_I64:
        return int_map(e, fn, a, b);
    case LAP_BOOL:
        return bool_map(e, fn, a, b);
    default:
        return float_map(e, fn, a, b);
    }
}

/* ---- affine values ---- */

static bool is_affine(lap_lval x) { return !lap_is_vector(x.v); }

static LLVMValueRef stride_of(lap_emitter *e, lap_lval x) { return x.stride ? x.stride : lap_i64(e, 0); }

static lap_lval make_affine(LLVMValueRef base, LLVMValueRef stride)
{
    bool is_flat = !stride || (LLVMIsAConstantInt(stride) && LLVMConstIntGetSExtValue(stride) == 0);
    return (lap_lval){base, is_flat ? NULL : stride};
}

/* Sums, differences and products that stay affine; false: not such a case. */
static bool affine_map(lap_emitter *e, lap_fn fn, uint32_t n, const lap_lval *x, lap_lval *out)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!is_affine(x[i])) {
            return false;
        }
    }
    LLVMBuilderRef b = e->b;
    LLVMValueRef sa = x[0].stride, sb = n > 1 ? x[1].stride : NULL;
    switch (fn) {
    case LAP_FN_ADD:
        *out = make_affine(LLVMBuildAdd(b, x[0].v, x[1].v, ""), sa && sb ? LLVMBuildAdd(b, sa, sb, "")
                                                                : sa     ? sa
                                                                         : sb);
        return true;
    case LAP_FN_SUB:
        *out = make_affine(LLVMBuildSub(b, x[0].v, x[1].v, ""),
                           sb ? LLVMBuildSub(b, stride_of(e, x[0]), sb, "") : sa);
        return true;
    case LAP_FN_NEG:
        *out = make_affine(LLVMBuildNeg(b, x[0].v, ""), sa ? LLVMBuildNeg(b, sa, "") : NULL);
        return true;
    case LAP_FN_MUL:
        if (sa && sb) {
            return false;
        }
        *out = make_affine(LLVMBuildMul(b, x[0].v, x[1].v, ""), sa   ? LLVMBuildMul(b, sa, x[1].v, "")
                                                                : sb ? LLVMBuildMul(b, sb, x[0].v, "")
                                                                     : NULL);
        return true;
    default:
        return false;
    }
}

/* Affine values at a constant relative stride compare as lane * stride against the distance of the
 * bases, saturated to where every lane decides the same: 32-bit lanes instead of 64-bit ones. */
static bool affine_compare(lap_emitter *e, const comparison *c, const lap_lval *x, lap_lval *out)
{
    const int64_t limit = 1 << 28;
    if (!is_affine(x[0]) || !is_affine(x[1])) {
        return false;
    }
    LLVMValueRef stride = x[0].stride == x[1].stride
                              ? lap_i64(e, 0)
                              : LLVMBuildSub(e->b, stride_of(e, x[0]), stride_of(e, x[1]), "");
    if (!LLVMIsAConstantInt(stride)) {
        return false;
    }
    int64_t step = LLVMConstIntGetSExtValue(stride);
    if (step == 0) {
        *out = lap_uniform(LLVMBuildICmp(e->b, c->i, x[0].v, x[1].v, ""));
        return true;
    }
    if (step <= -limit / 1024 || step >= limit / 1024) {
        return false;
    }
    LLVMValueRef distance = int_pair(e, "llvm.ssub.sat", x[1].v, x[0].v);
    distance = int_pair(e, "llvm.smax", distance, lap_i64(e, -limit));
    distance = int_pair(e, "llvm.smin", distance, lap_i64(e, limit));
    LLVMValueRef bound = lap_splat(e, LLVMBuildTrunc(e->b, distance, e->i32, ""), e->lanes);
    *out = lap_uniform(LLVMBuildICmp(e->b, c->i, lap_iota(e, e->i32, e->lanes, step), bound, ""));
    return true;
}

/* ---- maps ---- */

static LLVMValueRef own_map(lap_emitter *e, lap_fn fn, LLVMValueRef v, lap_dtype from)
{
    switch (fn) {
    case LAP_FN_INT:
        return lap_convert(e, v, from, LAP_I64);
    case LAP_FN_TO_F16:
        return lap_from_stored(e, lap_to_stored(e, lap_convert(e, v, from, LAP_F32), LAP_F16), LAP_F16);
    case LAP_FN_TO_BF16:
        return lap_from_stored(e, lap_to_stored(e, lap_convert(e, v, from, LAP_F32), LAP_BF16), LAP_BF16);
    case LAP_FN_TO_I32:
    case LAP_FN_TO_I8:
    case LAP_FN_TO_I4: {
        lap_dtype to = fn == LAP_FN_TO_I32 ? LAP_I32 : fn == LAP_FN_TO_I8 ? LAP_I8 : LAP_I4;
        LLVMValueRef bits = lap_to_stored(e, lap_convert(e, v, from, LAP_I64), to);
        return LLVMBuildSExt(e->b, bits, lap_like(bits, e->i64), "");
    }
    default:
        return lap_convert(e, v, from, LAP_F32);
    }
}

/* Operands as scalars when all are uniform, else as vectors. */
static void level_out(lap_emitter *e, uint32_t n, const lap_lval *x, LLVMValueRef *out)
{
    bool is_uniform = true;
    for (uint32_t i = 0; i < n; i++) {
        is_uniform = is_uniform && is_affine(x[i]) && !x[i].stride;
    }
    for (uint32_t i = 0; i < n; i++) {
        out[i] = is_uniform ? x[i].v : lap_spread(e, x[i]);
    }
}

/* x of a comparison x < c with the same number c in all lanes; NULL: v is none. */
static LLVMValueRef is_below(LLVMValueRef v, double *out_c)
{
    if (!LLVMIsAFCmpInst(v) || LLVMGetFCmpPredicate(v) != LLVMRealOLT ||
        !LLVMIsConstant(LLVMGetOperand(v, 1))) {
        return NULL;
    }
    LLVMValueRef c = LLVMGetOperand(v, 1), one = lap_is_vector(c) ? LLVMGetAggregateElement(c, 0) : c;
    LLVMBool is_rounded;
    bool is_same = one && LLVMIsAConstantFP(one);
    for (uint32_t i = 1; is_same && i < lap_lanes_of(c); i++) {
        is_same = LLVMGetAggregateElement(c, i) == one;
    }
    *out_c = is_same ? LLVMConstRealGetDouble(one, &is_rounded) : NAN;
    return LLVMGetOperand(v, 0);
}

/* Of (x < c ? 0 : (x < d ? 0 : v)) with d <= c the inner choice is not needed: exponentials end in one. */
static LLVMValueRef without_inner(LLVMValueRef cond, LLVMValueRef a, LLVMValueRef b)
{
    double c, d;
    if (!LLVMIsASelectInst(b) || !LLVMIsNull(a) || !LLVMIsNull(LLVMGetOperand(b, 1))) {
        return b;
    }
    LLVMValueRef x = is_below(cond, &c), y = is_below(LLVMGetOperand(b, 0), &d);
    return x && x == y && d <= c ? LLVMGetOperand(b, 2) : b;
}

static lap_lval select_map(lap_emitter *e, const lap_node *n, const lap_lval *x, const lap_dtype *from)
{
    lap_dtype type = lap_dtype_compute(n->dtype);
    LLVMValueRef cond = lap_convert(e, x[0].v, from[0], LAP_BOOL);
    bool is_int = type == LAP_I64 && from[1] == LAP_I64 && from[2] == LAP_I64;
    if (is_int && !lap_is_vector(cond) && is_affine(x[1]) && is_affine(x[2])) {
        LLVMValueRef a = stride_of(e, x[1]), b = stride_of(e, x[2]);
        LLVMValueRef stride = a == b ? a : LLVMBuildSelect(e->b, cond, a, b, "");
        return make_affine(LLVMBuildSelect(e->b, cond, x[1].v, x[2].v, ""), stride);
    }
    lap_lval choice[3] = {lap_uniform(cond), x[1], x[2]};
    LLVMValueRef v[3];
    level_out(e, 3, choice, v);
    if (!lap_is_vector(cond)) {
        v[0] = cond;
    }
    LLVMValueRef a = lap_convert(e, v[1], from[1], type), b = lap_convert(e, v[2], from[2], type);
    return lap_uniform(LLVMBuildSelect(e->b, v[0], a, without_inner(v[0], a, b), ""));
}

static lap_dtype operand_type(operand_rule rule, const lap_node *n, uint32_t n_args, const lap_dtype *from)
{
    switch (rule) {
    case TAKES_RESULT:
        return lap_dtype_compute(n->dtype);
    case TAKES_BOOL:
        return LAP_BOOL;
    case TAKES_FLOAT:
        return LAP_F32;
    case TAKES_COMMON:
        for (uint32_t i = 0; i < n_args; i++) {
            if (from[i] == LAP_F32) {
                return LAP_F32;
            }
        }
        return LAP_I64;
    default:
        return LAP_NO_DTYPE;
    }
}

lap_lval lap_emit_map(lap_emitter *e, const lap_node *n)
{
    lap_fn fn = (lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0);
    const comparison *c = comparison_of(fn);
    lap_lval x[3] = {{NULL, NULL}, {NULL, NULL}, {NULL, NULL}};
    lap_dtype from[3] = {LAP_F32, LAP_F32, LAP_F32};
    bool is_int = true;
    for (uint32_t i = 0; i < n->n_args; i++) {
        x[i] = lap_value(e, n->args[i]);
        from[i] = lap_dtype_compute(lap_node_at(e->g, n->args[i])->dtype);
        is_int = is_int && from[i] == LAP_I64;
    }
    if (fn == LAP_FN_SELECT) {
        return select_map(e, n, x, from);
    }
    lap_lval out;
    if (is_int && c && affine_compare(e, c, x, &out)) {
        return out;
    }
    if (is_int && lap_dtype_compute(n->dtype) == LAP_I64 && affine_map(e, fn, n->n_args, x, &out)) {
        return out;
    }
    LLVMValueRef v[3] = {NULL, NULL, NULL};
    level_out(e, n->n_args, x, v);
    operand_rule rule = rule_of(fn);
    if (rule == TAKES_OWN) {
        return lap_uniform(own_map(e, fn, v[0], from[0]));
    }
    lap_dtype type = operand_type(rule, n, n->n_args, from);
    for (uint32_t i = 0; i < n->n_args; i++) {
        v[i] = lap_convert(e, v[i], from[i], type);
    }
    if (!c) {
        return lap_uniform(lap_combine(e, fn, type, v[0], v[1]));
    }
    return lap_uniform(type == LAP_F32 ? LLVMBuildFCmp(e->b, c->f, v[0], v[1], "")
                                       : LLVMBuildICmp(e->b, c->i, v[0], v[1], ""));
}
