/* SPDX-License-Identifier: Apache-2.0
 * eval_round.c - rounding of numbers to storage types, from the definition of the formats.
 *
 * Written with ldexp and rint instead of bit patterns, so that it shares nothing with the runtime
 * and the backends, which it checks. */
#include <math.h>

#include "ir/eval_state.h"

/* Nearest number with `digits` binary digits and exponents >= least, ties to even; beyond `most` an infinity.
 */
static double round_binary(double x, int digits, int least, double most)
{
    if (x == 0 || !isfinite(x)) {
        return x;
    }
    int exponent;
    frexp(x, &exponent); /* |x| = m * 2^exponent with 0.5 <= m < 1 */
    int unit = exponent - digits;
    if (unit < least) {
        unit = least;
    }
    double y = ldexp(rint(ldexp(x, -unit)), unit);
    return fabs(y) > most ? copysign(INFINITY, x) : y;
}

/* Values are singles before they are stored: two roundings, as on every target. */
static double round_single(double x) { return round_binary(x, 24, -149, 0x1.fffffep127); }

double lap_eval_round_f16(double x) { return round_binary(round_single(x), 11, -24, 65504.0); }

double lap_eval_round_bf16(double x) { return round_binary(round_single(x), 8, -133, 0x1.fep127); }

int64_t lap_eval_to_int(double x)
{
    if (isnan(x)) {
        return 0;
    }
    if (x >= 0x1p63) {
        return INT64_MAX;
    }
    return x <= -0x1p63 ? INT64_MIN : (int64_t)x;
}

int64_t lap_eval_saturate(lap_dtype type, int64_t x)
{
    unsigned bits = lap_dtype_bits(type);
    if (bits >= 64) {
        return x;
    }
    int64_t most = ((int64_t)1 << (bits - 1)) - 1;
    return x > most ? most : x < -most - 1 ? -most - 1 : x;
}
