/* SPDX-License-Identifier: Apache-2.0
 * random_attend.c - attend with one or two parts, masks, edits, every norm, every result. */
#include <math.h>

#include "tests/support/random_maker.h"

typedef struct attend_maker {
    lap_norm norm;
    bool has_value, may_be_empty;
    random_axes rows, extra;
    lap_ref args[8];
    uint32_t n_args;
    lap_part parts[2];
    uint32_t n_parts;
    double score_err, score_size, value_err, value_size, n_keys, after;
} attend_maker;

static int32_t add_operand(attend_maker *a, random_value v)
{
    a->args[a->n_args] = v.ref;
    return (int32_t)a->n_args++;
}

/* Scores in a range that suits the norm: positive for `sum`, whose denominator must stay away from 0. */
static random_value suit(random_maker *m, lap_norm norm, random_value s)
{
    if (norm == LAP_NORM_SUM) {
        s = random_map1(m, LAP_FN_SIGMOID, random_clamp(m, s, -8, 8));
        return random_map2(m, LAP_FN_ADD, s, random_const_f(m, 0.25));
    }
    return random_clamp(m, s, -6, 6);
}

static random_value make_score(random_maker *m, attend_maker *a, random_axes keys)
{
    random_axes rows = a->rows & ~random_ragged(m, a->rows);
    if (random_chance(m, 60)) {
        /* a product of rows and keys, summed over features */
        random_axes feature = (random_axes)1 << random_new_axis(m, "f", lap_dim_const(m->ctx, 3), 3);
        random_value q = random_float_leaf(m, rows | feature, -1, 1, false);
        random_value k = random_float_leaf(m, keys | feature, -1, 1, false);
        uint32_t made = m->n_values;
        random_value s = random_map2(m, LAP_FN_MUL, q, k);
        m->n_values = made;
        s.lo = -3;
        s.hi = 3;
        s.err = 1e-6;
        s.ref = lap_reduce(m->g, LAP_RED_SUM, s.ref, random_names_of(m, feature));
        return random_add(m, s);
    }
    return random_float_leaf(m, (random_chance(m, 80) ? rows : 0) | keys, -2, 2, random_chance(m, 30));
}

static void make_part(random_maker *m, attend_maker *a, random_axes keys)
{
    lap_part *p = &a->parts[a->n_parts++];
    *p = (lap_part){.keys = random_names_of(m, keys), .score = -1, .where = -1, .after = -1, .value = -1};
    random_value s = suit(m, a->norm, make_score(m, a, keys));
    a->score_err = fmax(a->score_err, s.err);
    a->score_size = fmax(a->score_size, random_size(s));
    a->n_keys += (double)random_count(m, keys);
    a->may_be_empty = a->may_be_empty || random_count(m, keys) == 0;
    p->score = add_operand(a, s);
    random_axes both = a->rows | keys;
    if (random_chance(m, 45)) {
        p->where = add_operand(a, random_condition(m, both));
        a->may_be_empty = true;
    }
    if (random_chance(m, 20)) {
        random_value after =
            random_float_leaf(m, random_subset(m, both & ~random_ragged(m, both)), -1, 1, true);
        p->after = add_operand(a, after);
    }
    if (a->has_value) {
        random_axes some = random_chance(m, 80) ? keys : random_subset(m, keys);
        random_value v = random_float_leaf(m, some | a->extra, -2, 2, random_chance(m, 30));
        a->value_err = fmax(a->value_err, v.err);
        a->value_size = fmax(a->value_size, random_size(v));
        p->value = add_operand(a, v);
    }
}

static void add_result(random_maker *m, const attend_maker *a, lap_ref node, const char *which, double size,
                       double err, bool is_final)
{
    random_value v = {.kind = LAP_F32, .lo = -size, .hi = size, .err = err + 1e-6 * size, .frac = -1};
    v.is_final = is_final || (a->may_be_empty && (which[0] == 'l' || which[0] == 'm'));
    v.ref = lap_result(m->g, node, which);
    random_add(m, v);
}

static void add_results(random_maker *m, const attend_maker *a, lap_ref node, double empty)
{
    double weight_err = a->norm == LAP_NORM_NONE ? a->score_err : 4 * a->score_err + 2e-6;
    double weight = a->norm == LAP_NORM_NONE ? a->score_size : 1;
    double terms = a->norm == LAP_NORM_NONE ? a->n_keys : 1;
    bool softmax = a->norm == LAP_NORM_SOFTMAX;
    if (a->has_value) {
        double size = fmax(fabs(empty), weight * a->value_size * terms);
        add_result(m, a, node, "out", size, (weight_err * a->value_size + weight * a->value_err) * terms,
                   false);
    }
    double sum = softmax ? a->n_keys : a->score_size * a->n_keys;
    if (softmax && random_chance(m, 20)) {
        add_result(m, a, node, "lse", a->score_size + log(a->n_keys), 2 * a->score_err, false);
    }
    if (softmax && random_chance(m, 10)) {
        add_result(m, a, node, "max", a->score_size, a->score_err, false);
    }
    if (random_chance(m, 10)) {
        add_result(m, a, node, "sum", sum, a->n_keys * 2 * a->score_err, false);
    }
    if (!a->has_value || random_chance(m, 20)) {
        add_result(m, a, node, "weights", weight, weight_err, false);
        if (a->n_parts > 1) {
            add_result(m, a, node, "weights2", weight, weight_err, false);
        }
    }
}

/* Keys that exist already, or fresh ones; never rows. */
static random_axes make_keys(random_maker *m, const attend_maker *a)
{
    random_axes keys = 0;
    for (int i = 0; i < (random_chance(m, 25) ? 2 : 1); i++) {
        keys |= (random_axes)1 << random_any_axis(m);
    }
    keys &= ~a->rows & ~a->extra;
    if (keys == 0) {
        int64_t size = random_int(m, 1, 9);
        keys = (random_axes)1 << random_new_axis(m, "j", lap_dim_const(m->ctx, size), size);
    }
    return keys;
}

void random_make_attend(random_maker *m)
{
    attend_maker a = {.norm = (lap_norm)random_int(m, 0, 2), .has_value = random_chance(m, 85)};
    a.norm = random_chance(m, 50) ? LAP_NORM_SOFTMAX : a.norm;
    if (m->n_axes + 8 >= RANDOM_MOST_AXES) {
        return;
    }
    a.rows = (random_axes)1 << random_any_axis(m) |
             (random_chance(m, 40) ? (random_axes)1 << random_any_axis(m) : 0);
    a.extra = random_chance(m, 70) ? (random_axes)1 << random_any_axis(m) & ~a.rows : 0;
    uint32_t n_parts = random_chance(m, 20) ? 2 : 1;
    for (uint32_t i = 0; i < n_parts; i++) {
        random_axes keys = make_keys(m, &a);
        if (random_count(m, keys | a.rows | a.extra) > RANDOM_MOST_ELEMENTS * 2) {
            return;
        }
        make_part(m, &a, keys);
    }
    double empty = (double)random_int(m, -1, 1);
    lap_attr attrs[4] = {
        lap_attr_make_parts(LAP_ATTR_PARTS, (lap_parts){a.n_parts, a.parts}),
        lap_attr_make_i(LAP_ATTR_NORM, a.norm),
        lap_attr_make_f(LAP_ATTR_EMPTY, empty),
    };
    uint32_t n_attrs = 3;
    if (a.norm == LAP_NORM_SUM && random_chance(m, 50)) {
        attrs[n_attrs++] = lap_attr_make_f(LAP_ATTR_EPS, 0.5);
    }
    lap_ref node = lap_emit(
        m->g,
        &(lap_emit_args){
            .op = LAP_OP_ATTEND, .n_args = a.n_args, .args = a.args, .n_attrs = n_attrs, .attrs = attrs});
    add_results(m, &a, node, empty);
}
