/* SPDX-License-Identifier: Apache-2.0
 * random_map.c - elementwise productions, with the range and error of what they make. */
#include <math.h>

#include "tests/support/random_maker.h"

#define EPS    2.4e-7 /* of one operation in single precision, with room */
#define EPS_FN 4e-6   /* of exp and its like */

double random_size(random_value v) { return fmax(fabs(v.lo), fabs(v.hi)); }

random_value random_rounded(random_value v)
{
    if (v.kind == LAP_F32 && (v.frac < 0 || random_size(v) * exp2(v.frac) > 4e6)) {
        v.frac = -1;
        v.err += EPS * random_size(v);
    }
    return v;
}

random_value random_const_f(random_maker *m, double v)
{
    double scaled = v * 64;
    return (random_value){.ref = lap_const_f(m->g, v),
                          .kind = LAP_F32,
                          .lo = v,
                          .hi = v,
                          .err = scaled == floor(scaled) ? 0 : EPS * fabs(v),
                          .frac = scaled == floor(scaled) ? 6 : -1};
}

random_value random_const_i(random_maker *m, int64_t v)
{
    return (random_value){.ref = lap_const_i(m->g, v), .kind = LAP_I64, .lo = (double)v, .hi = (double)v};
}

/* ---- one operand */

static random_value monotone(random_value a, double lo, double hi, double slope)
{
    a.lo = lo;
    a.hi = hi;
    a.frac = -1;
    a.err = a.err * slope + EPS_FN * fmax(1e-3, fmax(fabs(lo), fabs(hi)));
    return a;
}

static random_value negated(random_value a)
{
    double lo = a.lo;
    a.lo = -a.hi;
    a.hi = -lo;
    return a;
}

static random_value absolute(random_value a)
{
    double most = random_size(a);
    a.lo = a.lo > 0 ? a.lo : a.hi < 0 ? -a.hi : 0;
    a.hi = most;
    return a;
}

static random_value stepped(random_value a, lap_dtype kind, double lo, double hi)
{
    return (random_value){.ref = a.ref, .kind = kind, .lo = lo, .hi = hi};
}

/* Range, error and kind of fn(a); the caller keeps to the function's domain. */
static random_value after_map1(lap_fn fn, random_value a)
{
    switch (fn) {
    case LAP_FN_NEG:
        return negated(a);
    case LAP_FN_ABS:
        return absolute(a);
    case LAP_FN_SIGN:
        return stepped(a, a.kind == LAP_F32 ? LAP_F32 : LAP_I64, -1, 1);
    case LAP_FN_EXP:
        return monotone(a, exp(a.lo), exp(a.hi), exp(a.hi));
    case LAP_FN_EXP2:
        return monotone(a, exp2(a.lo), exp2(a.hi), exp2(a.hi));
    case LAP_FN_LOG:
        return monotone(a, log(a.lo), log(a.hi), 1 / a.lo);
    case LAP_FN_SQRT:
        return monotone(a, sqrt(a.lo), sqrt(a.hi), 0.5 / sqrt(a.lo));
    case LAP_FN_TANH:
    case LAP_FN_ERF:
    case LAP_FN_SIN:
    case LAP_FN_COS:
        return monotone(a, -1, 1, 1.13);
    case LAP_FN_SIGMOID:
        return monotone(a, 0, 1, 0.25);
    case LAP_FN_FLOOR:
        return stepped(a, LAP_F32, floor(a.lo), floor(a.hi));
    case LAP_FN_ROUND:
        return stepped(a, LAP_F32, rint(a.lo), rint(a.hi));
    case LAP_FN_INT:
    case LAP_FN_TO_I32:
    case LAP_FN_TO_I8:
        return stepped(a, LAP_I64, trunc(a.lo), trunc(a.hi));
    case LAP_FN_TO_I4:
        return stepped(a, LAP_I64, -8, 7);
    case LAP_FN_FLOAT:
    case LAP_FN_TO_F16:
    case LAP_FN_TO_BF16:
        a.kind = LAP_F32;
        a.lo *= 1.01;
        a.hi *= 1.01;
        return a;
    case LAP_FN_NOT:
        return stepped(a, LAP_BOOL, 0, 1);
    default:
        LAP_BUG("'%s' does not have one operand", lap_fn_text(fn));
    }
}

random_value random_map1(random_maker *m, lap_fn fn, random_value a)
{
    random_value v = random_rounded(after_map1(fn, a));
    v.ref = lap_map1(m->g, fn, a.ref);
    return random_add(m, v);
}

/* ---- two operands */

static random_value product(random_value a, random_value b)
{
    double c[] = {a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi};
    random_value v = a;
    v.lo = fmin(fmin(c[0], c[1]), fmin(c[2], c[3]));
    v.hi = fmax(fmax(c[0], c[1]), fmax(c[2], c[3]));
    v.err = a.err * random_size(b) + b.err * random_size(a) + a.err * b.err;
    v.frac = a.frac < 0 || b.frac < 0 ? -1 : a.frac + b.frac;
    return v;
}

static random_value quotient(random_value a, random_value b)
{
    double least = b.lo > 0 ? b.lo : -b.hi;
    random_value v = a;
    v.hi = random_size(a) / least;
    v.lo = -v.hi;
    v.err = a.err / least + b.err * v.hi / least;
    v.frac = -1;
    return v;
}

/* Remainder and floor of the quotient, of exact values or integers. */
static random_value divided(lap_fn fn, random_value a, random_value b)
{
    random_value v = stepped(a, a.kind == LAP_F32 || b.kind == LAP_F32 ? LAP_F32 : LAP_I64, 0, 0);
    double least = v.kind == LAP_F32 ? (b.lo > 0 ? b.lo : -b.hi) : 1;
    double most = fn == LAP_FN_MOD ? random_size(b) : random_size(a) / least + 1;
    v.lo = -most;
    v.hi = most;
    v.frac = fn == LAP_FN_MOD ? (int)fmax(a.frac, b.frac) : 0;
    return v;
}

static random_value after_map2(lap_fn fn, random_value a, random_value b)
{
    bool is_float = a.kind == LAP_F32 || b.kind == LAP_F32;
    random_value v = a;
    a.frac = a.kind == LAP_F32 ? a.frac : 0;
    b.frac = b.kind == LAP_F32 ? b.frac : 0;
    v.err = fmax(a.err, b.err);
    v.frac = a.frac < 0 || b.frac < 0 ? -1 : (int)fmax(a.frac, b.frac);
    switch (fn) {
    case LAP_FN_ADD:
        v.lo = a.lo + b.lo;
        v.hi = a.hi + b.hi;
        v.err = a.err + b.err;
        break;
    case LAP_FN_SUB:
        v.lo = a.lo - b.hi;
        v.hi = a.hi - b.lo;
        v.err = a.err + b.err;
        break;
    case LAP_FN_MUL:
        v = product(a, b);
        break;
    case LAP_FN_DIV:
        v = quotient(a, b);
        is_float = true;
        break;
    case LAP_FN_POW:
        v = (random_value){.lo = 0, .hi = 16.1, .err = 40 * a.err + 25 * b.err + 1e-4, .frac = -1};
        break;
    case LAP_FN_MIN:
        v.lo = fmin(a.lo, b.lo);
        v.hi = fmin(a.hi, b.hi);
        break;
    case LAP_FN_MAX:
    case LAP_FN_LARGER:
        v.lo = fmax(a.lo, b.lo);
        v.hi = fmax(a.hi, b.hi);
        break;
    case LAP_FN_IDIV:
    case LAP_FN_MOD:
        return divided(fn, a, b);
    default:
        return stepped(a, LAP_BOOL, 0, 1); /* comparisons, and, or */
    }
    v.kind = is_float ? LAP_F32 : LAP_I64;
    return v;
}

random_value random_map2(random_maker *m, lap_fn fn, random_value a, random_value b)
{
    random_value v = random_rounded(after_map2(fn, a, b));
    v.ref = lap_map2(m->g, fn, a.ref, b.ref);
    return random_add(m, v);
}

random_value random_select(random_maker *m, random_value c, random_value a, random_value b)
{
    random_value v = a;
    v.lo = fmin(a.lo, b.lo);
    v.hi = fmax(a.hi, b.hi);
    v.err = fmax(a.err, b.err);
    v.kind = a.kind == b.kind ? a.kind : LAP_F32;
    a.frac = a.kind == LAP_F32 ? a.frac : 0;
    b.frac = b.kind == LAP_F32 ? b.frac : 0;
    v.frac = a.frac < 0 || b.frac < 0 ? -1 : (int)fmax(a.frac, b.frac);
    v.ref = lap_map3(m->g, LAP_FN_SELECT, c.ref, a.ref, b.ref);
    return random_add(m, v);
}

random_value random_clamp(random_maker *m, random_value v, double lo, double hi)
{
    if (v.lo < lo) {
        v = random_map2(m, LAP_FN_MAX, v, random_const_f(m, lo));
    }
    return v.hi > hi ? random_map2(m, LAP_FN_MIN, v, random_const_f(m, hi)) : v;
}

random_value random_into(random_maker *m, random_value v, int64_t lo, int64_t hi)
{
    if (v.lo >= (double)lo && v.hi <= (double)hi) {
        return v;
    }
    if (random_chance(m, 50)) {
        random_value r = random_map2(m, LAP_FN_MOD, v, random_const_i(m, hi - lo + 1));
        r.lo = 0;
        r.hi = (double)(hi - lo);
        return lo == 0 ? r : random_map2(m, LAP_FN_ADD, r, random_const_i(m, lo));
    }
    v = random_map2(m, LAP_FN_MAX, v, random_const_i(m, lo));
    return random_map2(m, LAP_FN_MIN, v, random_const_i(m, hi));
}

/* The coordinate of one of these axes; none where there is none. */
static random_value coordinate(random_maker *m, random_axes axes)
{
    random_axes one = axes;
    while (one & (one - 1)) {
        one = random_subset(m, axes);
        one &= ~(one - 1);
    }
    for (uint32_t i = 0; i < m->n_axes; i++) {
        if (one >> i & 1) {
            const random_axis *a = &m->axis[i];
            /* a ragged coordinate would bring the axes of its count along */
            lap_ref ref = lap_index(m->g, (lap_axis){a->name, a->dim, LAP_NONE});
            return random_add(m, (random_value){.ref = ref, .kind = LAP_I64, .hi = (double)(a->size - 1)});
        }
    }
    return random_const_i(m, random_int(m, 0, 5));
}

random_value random_index_within(random_maker *m, random_axes axes, int64_t lo, int64_t hi)
{
    random_value v;
    if (random_chance(m, 50)) {
        v = coordinate(m, axes);
        if (random_chance(m, 50)) {
            v = random_map2(m, LAP_FN_ADD, v, random_const_i(m, random_int(m, -2, 3)));
        }
    } else if (random_chance(m, 60)) {
        v = random_int_leaf(m, axes ? random_subset(m, axes) & ~random_ragged(m, axes) : 0, lo, hi);
    } else {
        v = random_pick_within(m, LAP_I64, axes);
    }
    return random_into(m, v, lo, hi);
}

random_value random_condition(random_maker *m, random_axes axes)
{
    static const lap_fn fns[] = {LAP_FN_LT, LAP_FN_LE, LAP_FN_GT, LAP_FN_GE, LAP_FN_EQ, LAP_FN_NE};
    random_value a = random_chance(m, 60) ? coordinate(m, axes) : random_pick_within(m, LAP_I64, axes);
    random_value b = random_chance(m, 50) ? coordinate(m, axes) : random_const_i(m, random_int(m, 0, 4));
    if (random_chance(m, 30)) {
        a = random_map2(m, LAP_FN_SUB, a, b);
        b = random_const_i(m, random_int(m, -2, 2));
    }
    return random_map2(m, fns[random_int(m, 0, 5)], a, b);
}

/* ---- productions */

static bool fits(const random_maker *m, random_axes axes)
{
    return random_count(m, axes) <= RANDOM_MOST_ELEMENTS;
}

void random_make_unary(random_maker *m)
{
    static const struct {
        lap_fn fn;
        bool steps;
        double lo, hi;
    } fns[] = {
        {LAP_FN_NEG, false, -1e3, 1e3},    {LAP_FN_ABS, false, -1e3, 1e3},  {LAP_FN_SIGN, true, -1e3, 1e3},
        {LAP_FN_EXP, false, -9, 2.5},      {LAP_FN_EXP2, false, -12, 4},    {LAP_FN_LOG, false, 0.125, 1e3},
        {LAP_FN_SQRT, false, 0.0625, 1e3}, {LAP_FN_TANH, false, -1e3, 1e3}, {LAP_FN_SIGMOID, false, -40, 40},
        {LAP_FN_ERF, false, -9, 9},        {LAP_FN_SIN, false, -30, 30},    {LAP_FN_COS, false, -30, 30},
        {LAP_FN_FLOOR, true, -1e3, 1e3},   {LAP_FN_ROUND, true, -1e3, 1e3}, {LAP_FN_INT, true, -1e3, 1e3},
        {LAP_FN_FLOAT, false, -1e3, 1e3},
    };
    int64_t i = random_int(m, 0, (int64_t)(sizeof fns / sizeof *fns) - 1);
    random_value a = fns[i].steps ? random_pick_exact(m) : random_pick(m, LAP_F32);
    random_map1(m, fns[i].fn, random_clamp(m, a, fns[i].lo, fns[i].hi));
}

static random_value away_from_zero(random_maker *m, random_value b)
{
    if (b.lo >= 0.25 || b.hi <= -0.25) {
        return b;
    }
    return random_map2(m, LAP_FN_MAX, random_map1(m, LAP_FN_ABS, b), random_const_f(m, 0.5));
}

void random_make_binary(random_maker *m)
{
    static const lap_fn fns[] = {LAP_FN_ADD, LAP_FN_SUB, LAP_FN_MUL, LAP_FN_MUL,  LAP_FN_ADD, LAP_FN_DIV,
                                 LAP_FN_MIN, LAP_FN_MAX, LAP_FN_POW, LAP_FN_IDIV, LAP_FN_MOD};
    lap_fn fn = fns[random_int(m, 0, (int64_t)(sizeof fns / sizeof *fns) - 1)];
    bool steps = fn == LAP_FN_IDIV || fn == LAP_FN_MOD;
    random_value a = steps ? random_pick_exact(m) : random_pick(m, LAP_F32);
    random_value b = random_chance(m, 20) && !steps ? random_pick(m, LAP_I64)
                     : steps                        ? random_pick_exact(m)
                                                    : random_pick(m, LAP_F32);
    if (random_chance(m, 15)) {
        b = random_const_f(m, (double)random_int(m, -8, 8) / 4);
    }
    if (!fits(m, a.axes | b.axes) || (steps && (random_size(a) > 200 || a.frac > 6 || b.frac > 6))) {
        return;
    }
    if (fn == LAP_FN_POW) {
        a = random_clamp(m, a, 0.25, 4);
        b = random_clamp(m, b, -2, 2);
    } else if (fn == LAP_FN_DIV || steps) {
        b = away_from_zero(m, b);
    }
    random_map2(m, fn, a, b);
}

void random_make_compare(random_maker *m)
{
    static const lap_fn fns[] = {LAP_FN_LT, LAP_FN_LE, LAP_FN_GT, LAP_FN_GE, LAP_FN_EQ, LAP_FN_NE};
    random_value a = random_pick_exact(m),
                 b = random_chance(m, 50) ? random_pick_exact(m) : random_pick(m, LAP_I64);
    if (fits(m, a.axes | b.axes)) {
        random_map2(m, fns[random_int(m, 0, 5)], a, b);
    }
}

void random_make_logic(random_maker *m)
{
    random_value a = random_pick(m, LAP_BOOL), b = random_pick(m, LAP_BOOL);
    if (random_chance(m, 30)) {
        random_map1(m, LAP_FN_NOT, a);
    } else if (fits(m, a.axes | b.axes)) {
        random_map2(m, random_chance(m, 50) ? LAP_FN_AND : LAP_FN_OR, a, b);
    }
}

void random_make_select(random_maker *m)
{
    random_value c = random_pick(m, LAP_BOOL), a = random_pick(m, LAP_F32);
    random_value b = random_chance(m, 25)   ? random_const_f(m, (double)random_int(m, -4, 4) / 2)
                     : random_chance(m, 15) ? random_pick(m, LAP_I64)
                                            : random_pick(m, LAP_F32);
    if (fits(m, a.axes | b.axes | c.axes)) {
        random_select(m, c, a, b);
    }
}

void random_make_cast(random_maker *m)
{
    static const lap_fn fns[] = {LAP_FN_TO_F16, LAP_FN_TO_BF16, LAP_FN_TO_I32, LAP_FN_TO_I8, LAP_FN_TO_I4};
    lap_fn fn = fns[random_int(m, 0, 4)];
    random_value a = random_chance(m, 30) ? random_pick(m, LAP_I64) : random_pick_exact(m);
    if (fn == LAP_FN_TO_F16 || fn == LAP_FN_TO_BF16) {
        a.frac = a.kind == LAP_I64 ? 0 : a.frac;
    }
    random_value v = random_map1(m, fn, a);
    if (random_chance(m, 50) && v.kind == LAP_I64) {
        random_map1(m, LAP_FN_FLOAT, v);
    }
}

void random_make_integer(random_maker *m)
{
    static const lap_fn fns[] = {LAP_FN_ADD, LAP_FN_SUB, LAP_FN_MUL,  LAP_FN_IDIV, LAP_FN_MOD,  LAP_FN_MIN,
                                 LAP_FN_MAX, LAP_FN_ABS, LAP_FN_SIGN, LAP_FN_NEG,  LAP_FN_FLOAT};
    lap_fn fn = fns[random_int(m, 0, (int64_t)(sizeof fns / sizeof *fns) - 1)];
    random_value a = random_pick(m, LAP_I64);
    if (lap_fn_arity(fn) == 1) {
        random_map1(m, fn, a);
        return;
    }
    random_value b = random_chance(m, 50) ? random_const_i(m, random_int(m, -3, 5)) : random_pick(m, LAP_I64);
    if (random_chance(m, 10)) {
        uint32_t axis = random_any_axis(m);
        b = (random_value){.ref = lap_dim_node(m->g, m->axis[axis].dim),
                           .kind = LAP_I64,
                           .lo = (double)m->axis[axis].size,
                           .hi = (double)m->axis[axis].size};
    }
    if (fits(m, a.axes | b.axes) && random_size(a) < 1e6 && random_size(b) < 1e6) {
        random_map2(m, fn, a, b);
    }
}
