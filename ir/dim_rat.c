/* SPDX-License-Identifier: Apache-2.0
 * dim_rat.c - rational coefficients, checked: 128 bits inside, 64 outside. */
#include "ir/dim_table.h"

bool lap_rat_make(__int128 num, __int128 den, lap_rat *out)
{
    __int128 a = num < 0 ? -num : num, b = den;
    while (b) {
        __int128 rest = a % b;
        a = b;
        b = rest;
    }
    num /= a;
    den /= a;
    if (num > INT64_MAX || num < -(__int128)INT64_MAX || den > INT64_MAX) {
        return false;
    }
    *out = (lap_rat){(int64_t)num, (int64_t)den};
    return true;
}

bool lap_rat_add(lap_rat a, lap_rat b, lap_rat *out)
{
    __int128 left = (__int128)a.num * b.den, right = (__int128)b.num * a.den, sum;
    return !__builtin_add_overflow(left, right, &sum) && lap_rat_make(sum, (__int128)a.den * b.den, out);
}

bool lap_rat_mul(lap_rat a, lap_rat b, lap_rat *out)
{
    return lap_rat_make((__int128)a.num * b.num, (__int128)a.den * b.den, out);
}

int64_t lap_gcd(int64_t a, int64_t b)
{
    a = a < 0 ? -a : a;
    b = b < 0 ? -b : b;
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

int64_t lap_floor_quotient(int64_t a, int64_t b) { return a / b - (a % b < 0); }
