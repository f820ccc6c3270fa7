/* SPDX-License-Identifier: Apache-2.0
 * random_soft.c - attention as a script would write it by hand: products, scale, mask, softmax, products,
 * in the shapes that passes/soft_form.h lists and in some that it must leave alone. */
#include <math.h>

#include "tests/support/random_maker.h"

typedef enum mask { UNMASKED, CHOSEN, CHOSEN_LOW, ADDED, ADDED_LOW, PENALTY, ZEROED, N_MASKS } mask;
typedef enum shape { DIVIDED, INVERSE, QUOTIENT, LOGARITHM, N_SHAPES } shape;

typedef struct soft_maker {
    random_maker *m;
    random_axes rows, keys, extra;
    lap_names over; /* the keys */
    mask mask;
    lap_ref seen;
    bool may_lack_keys; /* a row of masked keys alone gives NaN */
} soft_maker;

static lap_ref two(soft_maker *s, lap_fn fn, lap_ref a, lap_ref b) { return lap_map2(s->m->g, fn, a, b); }
static lap_ref number(soft_maker *s, double v) { return lap_const_f(s->m->g, v); }
static lap_ref pick(soft_maker *s, lap_ref c, double no, lap_ref yes)
{
    return lap_map3(s->m->g, LAP_FN_SELECT, c, yes, number(s, no));
}

/* An axis that is often long enough for register tiles. */
static random_axes some_axis(random_maker *m, const char *stem)
{
    if (random_chance(m, 25)) {
        return (random_axes)1 << random_any_axis(m);
    }
    int64_t size = random_int(m, 3, 10);
    return (random_axes)1 << random_new_axis(m, stem, lap_dim_const(m->ctx, size), size);
}

static lap_ref score_of(soft_maker *s)
{
    random_maker *m = s->m;
    random_axes feature = (random_axes)1 << random_new_axis(m, "f", lap_dim_const(m->ctx, 4), 4);
    random_axes batch = random_chance(m, 30) ? (random_axes)1 << random_any_axis(m) : 0;
    if (random_count(m, batch | s->rows | s->keys) > RANDOM_MOST_ELEMENTS / 2) {
        batch = 0;
    }
    random_value q = random_float_leaf(m, s->rows | feature | batch, -1, 1, random_chance(m, 50));
    random_value k = random_float_leaf(m, s->keys | feature | batch, -1, 1, random_chance(m, 50));
    s->rows |= batch & ~s->keys;
    lap_ref product =
        random_chance(m, 50) ? two(s, LAP_FN_MUL, q.ref, k.ref) : two(s, LAP_FN_MUL, k.ref, q.ref);
    lap_ref score = lap_reduce(m->g, LAP_RED_SUM, product, random_names_of(m, feature));
    return random_chance(m, 60) ? two(s, LAP_FN_MUL, score, number(s, 0.5)) : score;
}

/* Numbers in place of -inf differ in single precision where they are all that a row has: such rows get
 * conditions that leave a key. */
static lap_ref condition_of(soft_maker *s)
{
    random_maker *m = s->m;
    if (s->mask != ADDED_LOW && s->mask != PENALTY && random_chance(m, 40)) {
        s->may_lack_keys = s->mask != UNMASKED && s->mask != CHOSEN_LOW;
        return random_condition(m, s->rows | s->keys).ref;
    }
    random_value i = random_index_within(m, s->rows, 0, 9);
    s->may_lack_keys = random_count(m, s->keys) == 0;
    lap_ref j = LAP_NONE;
    for (uint32_t a = 0; a < m->n_axes; a++) {
        if (s->keys >> a & 1) {
            j = lap_index(m->g, (lap_axis){m->axis[a].name, m->axis[a].dim, LAP_NONE});
        }
    }
    return random_chance(m, 70) ? two(s, LAP_FN_LE, j, i.ref) : two(s, LAP_FN_LT, j, lap_const_i(m->g, 3));
}

static lap_ref masked(soft_maker *s, lap_ref score)
{
    switch (s->mask) {
    case CHOSEN:
        return pick(s, s->seen, -INFINITY, score);
    case CHOSEN_LOW:
        return pick(s, s->seen, -1e9, score);
    case ADDED:
        return two(s, LAP_FN_ADD, score, pick(s, s->seen, -INFINITY, number(s, 0)));
    case ADDED_LOW:
        return two(s, LAP_FN_ADD, pick(s, s->seen, -1e9, number(s, 0)), score);
    case PENALTY: {
        lap_ref not_seen = two(s, LAP_FN_SUB, number(s, 1), lap_map1(s->m->g, LAP_FN_FLOAT, s->seen));
        return two(s, LAP_FN_ADD, score, two(s, LAP_FN_MUL, not_seen, number(s, -1e9)));
    }
    default:
        return score;
    }
}

static lap_ref sum(soft_maker *s, lap_ref x) { return lap_reduce(s->m->g, LAP_RED_SUM, x, s->over); }

/* softmax(score) times value, summed; the weights go to out_weights where there are any. */
static lap_ref weighed(soft_maker *s, lap_ref score, lap_ref value, shape form, lap_ref *out_weights)
{
    lap_graph *g = s->m->g;
    bool is_shifted = random_chance(s->m, 85);
    lap_ref z = is_shifted ? two(s, LAP_FN_SUB, score, lap_reduce(g, LAP_RED_MAX, score, s->over)) : score;
    s->may_lack_keys = s->may_lack_keys || (!is_shifted && s->mask == CHOSEN_LOW);
    lap_ref e = lap_map1(g, LAP_FN_EXP, z), w;
    if (s->mask == ZEROED) {
        e = pick(s, s->seen, 0, e);
    }
    switch (form) {
    case QUOTIENT:
        return two(s, LAP_FN_DIV, sum(s, two(s, LAP_FN_MUL, e, value)), sum(s, e));
    case INVERSE:
        w = two(s, LAP_FN_MUL, e, two(s, LAP_FN_DIV, number(s, 1), sum(s, e)));
        break;
    case LOGARITHM:
        w = lap_map1(g, LAP_FN_EXP, two(s, LAP_FN_SUB, z, lap_map1(g, LAP_FN_LOG, sum(s, e))));
        break;
    default:
        w = two(s, LAP_FN_DIV, e, sum(s, e));
    }
    *out_weights = w;
    return sum(s, two(s, LAP_FN_MUL, w, value));
}

static void add(soft_maker *s, lap_ref ref, double size)
{
    random_value v = {.ref = ref, .kind = LAP_F32, .lo = -size, .hi = size, .err = 2e-5 * size, .frac = -1};
    v.is_final = s->may_lack_keys;
    random_add(s->m, v);
}

void random_make_soft(random_maker *m)
{
    if (m->n_axes + 8 >= RANDOM_MOST_AXES) {
        return;
    }
    soft_maker s = {.m = m, .mask = (mask)random_int(m, 0, N_MASKS - 1)};
    s.rows = some_axis(m, "i");
    s.keys = some_axis(m, "j");
    s.extra = some_axis(m, "e");
    s.keys &= ~s.rows;
    s.extra &= ~s.rows & ~s.keys;
    if (s.keys == 0 || s.extra == 0 || random_ragged(m, s.rows | s.keys | s.extra) != 0) {
        return;
    }
    s.over = random_names_of(m, s.keys);
    lap_ref score = score_of(&s), weights = LAP_NONE;
    if (random_count(m, s.rows | s.keys | s.extra) > RANDOM_MOST_ELEMENTS * 4) {
        return;
    }
    s.seen = condition_of(&s);
    shape form = (shape)random_int(m, 0, N_SHAPES - 1);
    if (s.mask == ZEROED && form == LOGARITHM) {
        form = DIVIDED;
    }
    random_value value = random_float_leaf(m, s.keys | s.extra, -2, 2, random_chance(m, 50));
    lap_ref out = weighed(&s, masked(&s, score), value.ref, form, &weights);
    add(&s, out, 2);
    if (lap_ref_some(weights) && random_chance(m, 10)) {
        add(&s, weights, 1);
    }
}
