/* SPDX-License-Identifier: Apache-2.0
 * random_reduce.c - folds, sums of products, places of extremes. */
#include <math.h>

#include "tests/support/random_maker.h"

/* Axes of v to fold over, with all whose counts vary over them. */
static random_axes some_axes(random_maker *m, random_value v)
{
    return random_closed(m, random_subset(m, v.axes), v.axes);
}

/* Whether a fold over these axes may meet no element. */
static bool may_be_empty(const random_maker *m, random_axes over)
{
    for (uint32_t i = 0; i < m->n_axes; i++) {
        bool is_short = m->axis[i].size == 0 || (lap_ref_some(m->axis[i].count) && m->axis[i].least < 1);
        if ((over >> i & 1) && is_short) {
            return true;
        }
    }
    return false;
}

random_value random_fold(random_maker *m, lap_red red, random_value v, random_axes over)
{
    double n = (double)random_count(m, over);
    random_value r = v;
    r.ref = lap_reduce(m->g, red, v.ref, random_names_of(m, over));
    if (red == LAP_RED_SUM) {
        r.kind = v.kind == LAP_BOOL ? LAP_I64 : v.kind;
        r.lo = fmin(0, v.lo * n);
        r.hi = fmax(0, v.hi * n);
        r.err = v.err * n + (v.frac < 0 && v.kind == LAP_F32 ? 1e-7 * n * random_size(v) : 0);
    } else if (red == LAP_RED_PROD) {
        r.hi = fmax(1, pow(random_size(v), n));
        r.lo = -r.hi;
        r.err = n * v.err * fmax(1, pow(random_size(v), n - 1));
        r.frac = v.frac < 0 ? -1 : v.frac * (int)n;
    } else if (may_be_empty(m, over)) {
        r.is_final = v.kind == LAP_F32;
    }
    return random_add(m, random_rounded(r));
}

void random_make_reduce(random_maker *m)
{
    static const lap_red reds[] = {LAP_RED_SUM, LAP_RED_SUM, LAP_RED_MAX, LAP_RED_MIN, LAP_RED_PROD};
    static const lap_red logic[] = {LAP_RED_ANY, LAP_RED_ALL, LAP_RED_SUM};
    lap_dtype kind = random_chance(m, 70) ? LAP_F32 : random_chance(m, 50) ? LAP_I64 : LAP_BOOL;
    random_value v = random_pick(m, kind);
    lap_red red = kind == LAP_BOOL ? logic[random_int(m, 0, 2)] : reds[random_int(m, 0, 4)];
    random_axes over = some_axes(m, v);
    bool is_extreme = red == LAP_RED_MAX || red == LAP_RED_MIN;
    if (over == 0 || (kind == LAP_I64 && is_extreme && may_be_empty(m, over)) ||
        (red == LAP_RED_PROD && (random_count(m, over) > 4 || random_size(v) > 4))) {
        return;
    }
    random_fold(m, red, v, over);
}

/* Two or three factors, often with an axis in common. */
void random_make_dot(random_maker *m)
{
    random_value a = random_pick(m, LAP_F32), b = random_pick(m, LAP_F32);
    if (!(a.axes & b.axes) && a.axes) {
        random_axes plain = a.axes & ~random_ragged(m, a.axes);
        b = random_float_leaf(m, random_subset(m, plain) | (random_axes)1 << random_any_axis(m), -2, 2,
                              random_chance(m, 50));
    }
    random_axes all = a.axes | b.axes;
    if (random_count(m, all) > RANDOM_MOST_ELEMENTS * 4 || random_size(a) * random_size(b) > 200) {
        return;
    }
    random_axes common = a.axes & b.axes;
    random_axes over = random_closed(m, random_subset(m, random_chance(m, 70) && common ? common : all), all);
    if (over == 0) {
        return;
    }
    uint32_t made = m->n_values;
    random_value p = random_map2(m, LAP_FN_MUL, a, b);
    if (random_chance(m, 15)) {
        random_value c = random_pick(m, LAP_F32);
        if (!(c.axes & ~all) && random_size(c) * random_size(p) < 200) {
            p = random_map2(m, LAP_FN_MUL, p, c);
        }
    }
    m->n_values = made; /* the product has no other reader */
    random_fold(m, LAP_RED_SUM, p, over);
}

void random_make_arg(random_maker *m)
{
    random_value v = random_chance(m, 70) ? random_pick_exact(m) : random_pick(m, LAP_I64);
    random_axes one = random_subset(m, v.axes);
    one &= ~(one - 1);
    if (one == 0 || random_closed(m, one, v.axes) != one || may_be_empty(m, one)) {
        return;
    }
    random_value r = {.kind = LAP_I64, .hi = (double)(random_count(m, one) - 1)};
    r.ref = lap_reduce(m->g, random_chance(m, 50) ? LAP_RED_ARGMAX : LAP_RED_ARGMIN, v.ref,
                       random_names_of(m, one));
    random_add(m, r);
}
