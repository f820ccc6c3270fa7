/* SPDX-License-Identifier: Apache-2.0
 * math.c - exp, log and friends without a library: branch-free, on scalars and vectors alike.
 *
 * Ranges are reduced, then polynomials follow (fitted for least relative error); coefficients stand
 * from the highest power down. No flag but contraction is set: reductions rely on the order of
 * operations. Results are within a few units of the last place; denormal results may be 0. */
#include <math.h>

#include "codegen/llvm/emitter.h"

static LLVMValueRef k(LLVMValueRef like, double v) { return lap_const_of(LLVMTypeOf(like), v); }

static LLVMValueRef mul(lap_emitter *e, LLVMValueRef a, LLVMValueRef b)
{
    return lap_flags(LLVMBuildFMul(e->b, a, b, ""), LLVMFastMathAllowContract);
}

/* a * b + c, fused where the processor can. */
static LLVMValueRef madd(lap_emitter *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
    LLVMValueRef args[3] = {a, b, c};
    return lap_intrinsic(e, "llvm.fmuladd", LLVMTypeOf(a), 3, args);
}

static LLVMValueRef polynomial(lap_emitter *e, LLVMValueRef x, const double *c, uint32_t n)
{
    LLVMValueRef v = k(x, c[0]);
    for (uint32_t i = 1; i < n; i++) {
        v = madd(e, v, x, k(x, c[i]));
    }
    return v;
}
#define POLYNOMIAL(e, x, c) polynomial((e), (x), (c), sizeof(c) / sizeof *(c))

static LLVMValueRef pick(lap_emitter *e, LLVMValueRef cond, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildSelect(e->b, cond, a, b, "");
}

static LLVMValueRef is(lap_emitter *e, LLVMRealPredicate p, LLVMValueRef a, double v)
{
    return LLVMBuildFCmp(e->b, p, a, k(a, v), "");
}

static LLVMValueRef bits_of(lap_emitter *e, LLVMValueRef x)
{
    return LLVMBuildBitCast(e->b, x, lap_like(x, e->i32), "");
}

static LLVMValueRef float_of(lap_emitter *e, LLVMValueRef bits)
{
    return LLVMBuildBitCast(e->b, bits, lap_like(bits, e->f32), "");
}

static LLVMValueRef one_arg(lap_emitter *e, const char *name, LLVMValueRef x)
{
    return lap_intrinsic(e, name, LLVMTypeOf(x), 1, &x);
}

static LLVMValueRef with_sign(lap_emitter *e, LLVMValueRef size, LLVMValueRef sign)
{
    LLVMValueRef args[2] = {size, sign};
    return lap_intrinsic(e, "llvm.copysign", LLVMTypeOf(size), 2, args);
}

/* ---- rounding ---- */

/* Adding and taking away 2^23 leaves the nearest integer; larger numbers are integers. */
LLVMValueRef lap_math_round(lap_emitter *e, LLVMValueRef x)
{
    if (e->machine->can.round) {
        return one_arg(e, "llvm.roundeven", x);
    }
    LLVMValueRef size = one_arg(e, "llvm.fabs", x), big = k(x, 0x1p23);
    LLVMValueRef near = LLVMBuildFSub(e->b, LLVMBuildFAdd(e->b, size, big, ""), big, "");
    return pick(e, is(e, LLVMRealOLT, size, 0x1p23), with_sign(e, near, x), x);
}

LLVMValueRef lap_math_floor(lap_emitter *e, LLVMValueRef x)
{
    if (e->machine->can.round) {
        return one_arg(e, "llvm.floor", x);
    }
    LLVMValueRef near = lap_math_round(e, x);
    LLVMValueRef is_above = LLVMBuildFCmp(e->b, LLVMRealOGT, near, x, "");
    return LLVMBuildFSub(e->b, near, pick(e, is_above, k(x, 1), k(x, 0)), "");
}

/* ---- exponential, logarithm ---- */

#define SMALLEST_EXPONENT (-87.33654) /* of e^x that is a normal number */

enum { CURRENT_ROUNDING = 4, N_WIDTHS = 3 }; /* 128, 256, 512 bits */

/* An AVX-512 function of x and `second` (a vector like x, or a constant of the instruction). */
static LLVMValueRef by_instruction(lap_emitter *e, const char *const names[N_WIDTHS], LLVMValueRef x,
                                   LLVMValueRef second)
{
    uint32_t lanes = lap_lanes_of(x);
    bool is_whole = lanes == 16;
    if (lanes > 16) {
        bool is_vector = LLVMTypeOf(second) == LLVMTypeOf(x);
        LLVMValueRef low = is_vector ? lap_half(e, second, 0) : second;
        LLVMValueRef high = is_vector ? lap_half(e, second, 1) : second;
        return lap_concat(e, by_instruction(e, names, lap_half(e, x, 0), low),
                          by_instruction(e, names, lap_half(e, x, 1), high));
    }
    LLVMTypeRef bits = is_whole ? e->i16 : e->i8;
    LLVMValueRef args[5] = {x, second, LLVMConstNull(LLVMTypeOf(x)), LLVMConstAllOnes(bits),
                            LLVMConstInt(e->i32, CURRENT_ROUNDING, false)};
    return lap_intrinsic2(e, names[lanes / 8], NULL, 0, is_whole ? 5 : 4, args);
}

/* x * 2^floor(n): overflow and underflow come out right. */
static LLVMValueRef scale(lap_emitter *e, LLVMValueRef x, LLVMValueRef n)
{
    static const char *const names[N_WIDTHS] = {"llvm.x86.avx512.mask.scalef.ps.128",
                                                "llvm.x86.avx512.mask.scalef.ps.256",
                                                "llvm.x86.avx512.mask.scalef.ps.512"};
    return by_instruction(e, names, x, n);
}

/* x - floor(x); 0 for the infinities. */
static LLVMValueRef fraction(lap_emitter *e, LLVMValueRef x)
{
    static const char *const names[N_WIDTHS] = {"llvm.x86.avx512.mask.reduce.ps.128",
                                                "llvm.x86.avx512.mask.reduce.ps.256",
                                                "llvm.x86.avx512.mask.reduce.ps.512"};
    enum { DOWN = 1, QUIET = 8 };
    return by_instruction(e, names, x, LLVMConstInt(e->i32, DOWN | QUIET, false));
}

static bool can_scale(lap_emitter *e, LLVMValueRef x)
{
    return e->machine->can.scale && lap_lanes_of(x) >= 4;
}

/* p * 2^n with n in the low bits of `shifted`, moved into the exponent; x decides at the borders: 0
 * below `least`, x + infinity above `most`. */
static LLVMValueRef scale_by_bits(lap_emitter *e, LLVMValueRef p, LLVMValueRef shifted, LLVMValueRef x,
                                  double least, double most)
{
    LLVMValueRef power = LLVMBuildShl(e->b, bits_of(e, shifted), lap_const_of(lap_like(x, e->i32), 23), "");
    LLVMValueRef v = float_of(e, LLVMBuildAdd(e->b, bits_of(e, p), power, ""));
    v = pick(e, is(e, LLVMRealOLT, x, least), k(x, 0), v);
    return pick(e, is(e, LLVMRealOLE, x, most), v, LLVMBuildFAdd(e->b, x, k(x, INFINITY), ""));
}

/* e^x = 2^n e^r with n the integer next to x / ln 2: adding 1.5 * 2^23 rounds. */
static LLVMValueRef exponential(lap_emitter *e, LLVMValueRef x)
{
    static const double c[] = {
        1.384355943e-03, 8.374235593e-03, 4.166800901e-02, 1.666643023e-01, 4.999999404e-01, 1, 1};
    LLVMValueRef is_tiny = is(e, LLVMRealOLT, x, SMALLEST_EXPONENT);
    if (can_scale(e, x)) { /* subnormal results would take a hundred cycles each: they are 0 */
        x = pick(e, is_tiny, k(x, SMALLEST_EXPONENT), x);
        x = pick(e, is(e, LLVMRealOGT, x, 89), k(x, 89), x);
    }
    LLVMValueRef shifted = madd(e, x, k(x, 1.44269504088896341), k(x, 0x1.8p23));
    LLVMValueRef n = LLVMBuildFSub(e->b, shifted, k(x, 0x1.8p23), "");
    LLVMValueRef r = madd(e, n, k(x, -0x1.62e4p-1), x);
    r = madd(e, n, k(x, -0x1.7f7d1cp-20), r);
    LLVMValueRef p = POLYNOMIAL(e, r, c);
    return can_scale(e, x) ? pick(e, is_tiny, k(x, 0), scale(e, p, n))
                           : scale_by_bits(e, p, shifted, x, SMALLEST_EXPONENT, 88.722839);
}

/* 2^x = 2^n 2^r; subnormal results are 0. p(0) is exactly 1. */
static LLVMValueRef power_of_two(lap_emitter *e, LLVMValueRef x)
{
    static const double above[] = {/* 0 <= r < 1 */
                                   1.867130166e-03, 9.017029777e-03, 5.579991266e-02,
                                   2.401644439e-01, 6.931512952e-01, 1};
    static const double around[] = {/* |r| <= 1/2 */
                                    1.326472382e-03, 9.671512991e-03, 5.550733581e-02,
                                    2.402224243e-01, 6.931470037e-01, 1};
    if (can_scale(e, x)) {
        LLVMValueRef p = POLYNOMIAL(e, fraction(e, x), above);
        return pick(e, is(e, LLVMRealOLT, x, -126), k(x, 0), scale(e, p, x));
    }
    LLVMValueRef shifted = LLVMBuildFAdd(e->b, x, k(x, 0x1.8p23), "");
    LLVMValueRef n = LLVMBuildFSub(e->b, shifted, k(x, 0x1.8p23), "");
    LLVMValueRef p = POLYNOMIAL(e, LLVMBuildFSub(e->b, x, n, ""), around);
    return scale_by_bits(e, p, shifted, x, -126, 127.99999);
}

/* x = 2^n (1 + m), 1 + m between the square roots of 1/2 and 2. */
static LLVMValueRef logarithm(lap_emitter *e, LLVMValueRef x)
{
    static const double c[] = {6.746638566e-02,  -1.167565137e-01, 1.188816279e-01,
                               -1.240558922e-01, 1.421955228e-01,  -1.666799635e-01,
                               2.000211924e-01,  -2.500000894e-01, 3.333331347e-01};
    LLVMBuilderRef b = e->b;
    LLVMValueRef is_tiny = is(e, LLVMRealOLT, x, 0x1p-126);
    LLVMValueRef scaled = pick(e, is_tiny, LLVMBuildFMul(b, x, k(x, 0x1p23), ""), x);
    LLVMValueRef bits = bits_of(e, scaled);
    LLVMValueRef root = lap_const_of(LLVMTypeOf(bits), 0x3f3504f3);
    LLVMValueRef above = LLVMBuildSub(b, bits, root, "");
    LLVMValueRef n = LLVMBuildAShr(b, above, lap_const_of(LLVMTypeOf(bits), 23), "");
    LLVMValueRef low = LLVMBuildAnd(b, above, lap_const_of(LLVMTypeOf(bits), 0x7fffff), "");
    LLVMValueRef m = LLVMBuildFSub(b, float_of(e, LLVMBuildAdd(b, low, root, "")), k(x, 1), "");
    LLVMValueRef power = LLVMBuildSIToFP(b, n, LLVMTypeOf(x), "");
    power = LLVMBuildFSub(b, power, pick(e, is_tiny, k(x, 23), k(x, 0)), "");
    LLVMValueRef square = LLVMBuildFMul(b, m, m, "");
    LLVMValueRef tail = mul(e, LLVMBuildFMul(b, m, square, ""), POLYNOMIAL(e, m, c));
    tail = madd(e, square, k(x, -0.5), tail);
    tail = madd(e, power, k(x, 0x1.7f7d1cp-20), tail);
    LLVMValueRef v = madd(e, power, k(x, 0x1.62e4p-1), LLVMBuildFAdd(b, m, tail, ""));
    v = pick(e, is(e, LLVMRealOLT, x, INFINITY), v, x);
    v = pick(e, is(e, LLVMRealOEQ, x, 0), k(x, -INFINITY), v);
    return pick(e, is(e, LLVMRealOLT, x, 0), k(x, NAN), v);
}

/* ---- sigmoids ---- */

static LLVMValueRef sigmoid(lap_emitter *e, LLVMValueRef x)
{
    LLVMValueRef one = k(x, 1);
    LLVMValueRef below = exponential(e, LLVMBuildFNeg(e->b, x, ""));
    return LLVMBuildFDiv(e->b, one, LLVMBuildFAdd(e->b, one, below, ""), "");
}

static LLVMValueRef hyperbolic_tangent(lap_emitter *e, LLVMValueRef x)
{
    static const double c[] = {-5.717044696e-03, 2.065058611e-02, -5.374349654e-02, 1.333149076e-01,
                               -3.333328366e-01};
    LLVMValueRef size = one_arg(e, "llvm.fabs", x), z = mul(e, x, x), one = k(x, 1);
    LLVMValueRef small = madd(e, mul(e, x, z), POLYNOMIAL(e, z, c), x);
    LLVMValueRef grown = exponential(e, LLVMBuildFAdd(e->b, size, size, ""));
    LLVMValueRef rest = LLVMBuildFDiv(e->b, k(x, 2), LLVMBuildFAdd(e->b, grown, one, ""), "");
    LLVMValueRef large = with_sign(e, LLVMBuildFSub(e->b, one, rest, ""), x);
    return pick(e, is(e, LLVMRealOLT, size, 0.625), small, large);
}

/* A polynomial of x near 0; beyond 1 the logarithm of the complement is one. */
static LLVMValueRef error_function(lap_emitter *e, LLVMValueRef x)
{
    static const double near[] = {7.889122935e-05, -8.020842215e-04, 5.189535674e-03, -2.685444430e-02,
                                  1.128360033e-01, -3.761262596e-01, 1.28379107e-01};
    static const double far[] = {1.855740702e-04,  -2.939607948e-03, 2.180531994e-02, -1.030373722e-01,
                                 -6.382256746e-01, -1.127040029e+00, -3.537187586e-04};
    LLVMValueRef size = one_arg(e, "llvm.fabs", x), z = mul(e, x, x);
    LLVMValueRef small = madd(e, x, POLYNOMIAL(e, z, near), x);
    LLVMValueRef bound = pick(e, is(e, LLVMRealOGT, size, 4), k(x, 4), size);
    LLVMValueRef rest = exponential(e, POLYNOMIAL(e, bound, far));
    LLVMValueRef large = with_sign(e, LLVMBuildFSub(e->b, k(x, 1), rest, ""), x);
    return pick(e, is(e, LLVMRealOLT, size, 1), small, large);
}

/* ---- circle ---- */

/* x = n pi/2 + r in double, so that large angles keep their fraction; n is split off by the shift
 * that rounds. `ahead` 1 gives the cosine. */
static LLVMValueRef circular(lap_emitter *e, LLVMValueRef x, int ahead)
{
    static const double s[] = {2.717939878e-06, -1.983929542e-04, 8.333329111e-03, -1.666666716e-01};
    static const double c[] = {-2.720678651e-07, 2.479947943e-05, -1.388888340e-03, 4.166666791e-02};
    LLVMBuilderRef b = e->b;
    LLVMValueRef wide = LLVMBuildFPExt(b, x, lap_like(x, e->f64), "");
    LLVMValueRef shifted =
        LLVMBuildFAdd(b, LLVMBuildFMul(b, wide, k(wide, 0x1.45f306dc9c883p-1), ""), k(wide, 0x1.8p52), "");
    LLVMValueRef n = LLVMBuildFSub(b, shifted, k(wide, 0x1.8p52), "");
    LLVMValueRef r = madd(e, n, k(wide, -0x1.921fb544p0), wide);
    r = madd(e, n, k(wide, -0x1.0b4611a6p-34), r);
    r = madd(e, n, k(wide, -0x1.3198a2e037073p-69), r);
    r = LLVMBuildFPTrunc(b, r, LLVMTypeOf(x), "");
    LLVMValueRef word = LLVMBuildBitCast(b, shifted, lap_like(x, e->i64), "");
    LLVMValueRef turn = LLVMBuildTrunc(b, word, lap_like(x, e->i32), "");
    turn = LLVMBuildAdd(b, turn, lap_const_of(LLVMTypeOf(turn), ahead), "");
    LLVMValueRef z = mul(e, r, r);
    LLVMValueRef sine = madd(e, mul(e, r, z), POLYNOMIAL(e, z, s), r);
    LLVMValueRef cosine = madd(e, mul(e, z, z), POLYNOMIAL(e, z, c), madd(e, z, k(x, -0.5), k(x, 1)));
    LLVMValueRef one = lap_const_of(LLVMTypeOf(turn), 1), two = lap_const_of(LLVMTypeOf(turn), 2);
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(turn));
    LLVMValueRef is_odd = LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, turn, one, ""), zero, "");
    LLVMValueRef is_below = LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, turn, two, ""), zero, "");
    LLVMValueRef v = pick(e, is_odd, cosine, sine);
    v = pick(e, is_below, LLVMBuildFNeg(b, v, ""), v);
    LLVMValueRef size = one_arg(e, "llvm.fabs", x);
    return pick(e, is(e, LLVMRealOLT, size, INFINITY), v, k(x, NAN));
}

LLVMValueRef lap_math(lap_emitter *e, lap_fn fn, LLVMValueRef x)
{
    switch (fn) {
    case LAP_FN_EXP:
        return exponential(e, x);
    case LAP_FN_EXP2:
        return power_of_two(e, x);
    case LAP_FN_LOG:
        return logarithm(e, x);
    case LAP_FN_SQRT:
        return one_arg(e, "llvm.sqrt", x);
    case LAP_FN_TANH:
        return hyperbolic_tangent(e, x);
    case LAP_FN_SIGMOID:
        return sigmoid(e, x);
    case LAP_FN_ERF:
        return error_function(e, x);
    case LAP_FN_SIN:
        return circular(e, x, 0);
    case LAP_FN_COS:
        return circular(e, x, 1);
    case LAP_FN_FLOOR:
        return lap_math_floor(e, x);
    case LAP_FN_ROUND:
        return lap_math_round(e, x);
    default:
        LAP_BUG("no float form of '%s'", lap_fn_text(fn));
    }
}

/* ---- powers ---- */

/* log |a| in double, so that b log |a| is exact enough for results of any size: with m the mantissa
 * between the roots of 1/2 and 2, log m = 2 atanh((m - 1) / (m + 1)). */
static LLVMValueRef wide_log(lap_emitter *e, LLVMValueRef a)
{
    static const double c[] = {2.0 / 13, 2.0 / 11, 2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3, 2.0};
    LLVMBuilderRef b = e->b;
    LLVMValueRef wide = LLVMBuildFPExt(b, a, lap_like(a, e->f64), "");
    LLVMTypeRef longs = lap_like(a, e->i64);
    LLVMValueRef bits = LLVMBuildBitCast(b, wide, longs, "");
    LLVMValueRef root = lap_splat(e, lap_i64(e, 0x3fe6a09e667f3bcd), lap_lanes_of(a));
    LLVMValueRef above = LLVMBuildSub(b, bits, root, "");
    LLVMValueRef n =
        LLVMBuildTrunc(b, LLVMBuildAShr(b, above, lap_const_of(longs, 52), ""), lap_like(a, e->i32), "");
    LLVMValueRef fraction = lap_splat(e, lap_i64(e, 0xfffffffffffff), lap_lanes_of(a));
    LLVMValueRef low = LLVMBuildAdd(b, LLVMBuildAnd(b, above, fraction, ""), root, "");
    LLVMValueRef m = LLVMBuildBitCast(b, low, LLVMTypeOf(wide), "");
    LLVMValueRef s = LLVMBuildFDiv(b, LLVMBuildFSub(b, m, k(m, 1), ""), LLVMBuildFAdd(b, m, k(m, 1), ""), "");
    LLVMValueRef log = LLVMBuildFMul(b, s, POLYNOMIAL(e, LLVMBuildFMul(b, s, s, ""), c), "");
    LLVMValueRef power = LLVMBuildSIToFP(b, n, LLVMTypeOf(wide), "");
    log = madd(e, power, k(m, 0.693147180559945309), log);
    log = pick(e, is(e, LLVMRealOEQ, wide, 0), k(m, -INFINITY), log);
    return pick(e, is(e, LLVMRealOLT, wide, INFINITY), log, wide);
}

/* e^y for a double y as f32: the part that f32 drops multiplies the result. */
static LLVMValueRef wide_exp(lap_emitter *e, LLVMValueRef y, LLVMTypeRef narrow)
{
    LLVMValueRef top = LLVMBuildFPTrunc(e->b, y, narrow, "");
    LLVMValueRef rest = LLVMBuildFSub(e->b, y, LLVMBuildFPExt(e->b, top, LLVMTypeOf(y), ""), "");
    LLVMValueRef low = LLVMBuildFPTrunc(e->b, rest, narrow, "");
    LLVMValueRef size = one_arg(e, "llvm.fabs", top);
    low = pick(e, is(e, LLVMRealOLT, size, 128), low, k(low, 0));
    LLVMValueRef v = exponential(e, top);
    LLVMValueRef is_finite = is(e, LLVMRealOLT, v, INFINITY);
    return pick(e, is_finite, madd(e, v, low, v), v);
}

LLVMValueRef lap_math_pow(lap_emitter *e, LLVMValueRef a, LLVMValueRef b)
{
    LLVMBuilderRef build = e->b;
    LLVMValueRef size = one_arg(e, "llvm.fabs", a);
    LLVMValueRef log = wide_log(e, size);
    LLVMValueRef product = LLVMBuildFMul(build, LLVMBuildFPExt(build, b, LLVMTypeOf(log), ""), log, "");
    LLVMValueRef v = wide_exp(e, product, LLVMTypeOf(a));
    LLVMValueRef half = LLVMBuildFMul(build, b, k(b, 0.5), "");
    LLVMValueRef is_whole = LLVMBuildFCmp(build, LLVMRealOEQ, lap_math_floor(e, b), b, "");
    LLVMValueRef is_even = LLVMBuildFCmp(build, LLVMRealOEQ, lap_math_floor(e, half), half, "");
    LLVMValueRef sign = LLVMBuildLShr(build, bits_of(e, a), lap_const_of(lap_like(a, e->i32), 31), "");
    LLVMValueRef is_minus = LLVMBuildICmp(build, LLVMIntNE, sign, LLVMConstNull(LLVMTypeOf(sign)), "");
    LLVMValueRef is_odd = LLVMBuildAnd(build, is_whole, LLVMBuildNot(build, is_even, ""), "");
    v = pick(e, LLVMBuildAnd(build, is_minus, is_odd, ""), LLVMBuildFNeg(build, v, ""), v);
    LLVMValueRef is_below =
        LLVMBuildAnd(build, is(e, LLVMRealOLT, a, 0), is(e, LLVMRealOGT, a, -INFINITY), "");
    LLVMValueRef is_lost = LLVMBuildAnd(build, is_below, LLVMBuildNot(build, is_whole, ""), "");
    v = pick(e, is_lost, k(a, NAN), v);
    LLVMValueRef is_unit = LLVMBuildOr(build, is(e, LLVMRealOEQ, b, 0), is(e, LLVMRealOEQ, a, 1), "");
    LLVMValueRef is_turn = LLVMBuildAnd(build, is(e, LLVMRealOEQ, a, -1),
                                        is(e, LLVMRealOEQ, one_arg(e, "llvm.fabs", b), INFINITY), "");
    return pick(e, LLVMBuildOr(build, is_unit, is_turn, ""), k(a, 1), v);
}
