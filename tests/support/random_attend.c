/* SPDX-License-Identifier: Apache-2.0
 * random_attend.c - attend with one or two parts, masks, edits, every norm, every result, keys and values
 * that rows share, of any storage type; attend over windows of a grid: 1 to 3 axes, dilated, clamped or not,
 * larger than the grid too; and over lists of keys. */
#include <math.h>

#include "tests/support/random_maker.h"

typedef struct attend_maker {
    lap_norm norm;
    bool has_value, may_be_empty;
    bool is_plain; /* one part, a product of rows and keys that nobody else reads, results per row */
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

/* Floats as caches keep them: of any storage type, integers with a scale along some of the axes. */
static random_value make_stored(random_maker *m, random_axes axes, double size)
{
    if (random_chance(m, 50)) {
        return random_float_leaf(m, axes, -size, size, random_chance(m, 60));
    }
    random_value whole = random_map1(m, LAP_FN_FLOAT, random_int_leaf(m, axes, -7, 7));
    random_value scale =
        random_float_leaf(m, random_chance(m, 70) ? random_subset(m, axes) : 0, 0, size / 7, false);
    return random_map2(m, LAP_FN_MUL, whole, scale);
}

/* Rows that keys and values have as well: the sequence, the head of a group. */
static random_axes make_shared(random_maker *m, random_axes rows, random_axes keys)
{
    random_axes shared = random_chance(m, 60) ? random_subset(m, rows & ~random_ragged(m, rows)) : 0;
    return random_count(m, shared | keys) * 9 > RANDOM_MOST_ELEMENTS ? 0 : shared;
}

static random_value make_score(random_maker *m, attend_maker *a, random_axes keys)
{
    random_axes rows = a->rows & ~random_ragged(m, a->rows);
    if (a->is_plain || random_chance(m, 60)) {
        /* a product of rows and keys, summed over features */
        int64_t n = random_int(m, 1, 9);
        random_axes feature = (random_axes)1 << random_new_axis(m, "f", lap_dim_const(m->ctx, n), n);
        random_value q = random_float_leaf(m, rows | feature, -1, 1, false);
        random_value k = make_stored(m, keys | feature | make_shared(m, rows, keys), 1);
        uint32_t made = m->n_values;
        random_value s = random_map2(m, LAP_FN_MUL, q, k);
        m->n_values = made;
        s.lo = (double)-n;
        s.hi = (double)n;
        s.err = 4e-7 * (double)n;
        s.ref = lap_reduce(m->g, LAP_RED_SUM, s.ref, random_names_of(m, feature));
        return random_add(m, s);
    }
    return random_float_leaf(m, (random_chance(m, 80) ? rows : 0) | keys, -2, 2, random_chance(m, 30));
}

/* One axis of these, its number; none where they are empty or have no elements. */
static bool one_of(random_maker *m, random_axes axes, uint32_t *out)
{
    for (uint32_t i = 0; i < m->n_axes; i++) {
        if ((axes >> i & 1) && m->axis[i].size > 0 && !lap_ref_some(m->axis[i].count)) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* A mask of blocks that is data, stored by a fold, read at the blocks of row and key. */
static bool block_mask(random_maker *m, random_axes rows, random_axes keys, random_value *out)
{
    uint32_t of[2];
    if (!one_of(m, rows, &of[0]) || !one_of(m, keys, &of[1]) || m->n_axes + 3 >= RANDOM_MOST_AXES) {
        return false;
    }
    lap_name src[2];
    lap_ref index[2];
    random_axes axes = (random_axes)1 << random_new_axis(m, "f", lap_dim_const(m->ctx, 2), 2), folded = axes;
    for (int i = 0; i < 2; i++) {
        const random_axis *a = &m->axis[of[i]];
        int64_t block = random_int(m, 1, 5), n = (a->size + block - 1) / block;
        lap_ref at = lap_index(m->g, (lap_axis){a->name, a->dim, LAP_NONE});
        index[i] = lap_map2(m->g, LAP_FN_IDIV, at, lap_const_i(m->g, block));
        uint32_t made = random_new_axis(m, "b", lap_dim_const(m->ctx, n), n);
        axes |= (random_axes)1 << made;
        src[i] = m->axis[made].name;
    }
    random_value data = random_int_leaf(m, axes, 0, 5);
    lap_ref live = lap_map2(m->g, LAP_FN_GT, data.ref, lap_const_i(m->g, 3));
    live = lap_reduce(m->g, LAP_RED_ANY, live, random_names_of(m, folded));
    lap_ref seen = lap_at(m->g, live, (lap_names){2, src}, index, NULL);
    *out = random_add(m, (random_value){.ref = seen, .kind = LAP_BOOL, .hi = 1});
    return true;
}

static void make_part(random_maker *m, attend_maker *a, random_axes keys)
{
    lap_part *p = &a->parts[a->n_parts++];
    *p = (lap_part){.keys = random_names_of(m, keys), .score = -1, .where = -1, .after = -1, .value = -1};
    uint32_t made = m->n_values;
    random_value s = suit(m, a->norm, make_score(m, a, keys));
    m->n_values = a->is_plain ? made : m->n_values;
    a->score_err = fmax(a->score_err, s.err);
    a->score_size = fmax(a->score_size, random_size(s));
    a->n_keys += (double)random_count(m, keys);
    a->may_be_empty = a->may_be_empty || random_count(m, keys) == 0;
    p->score = add_operand(a, s);
    random_axes both = a->rows | keys;
    if (random_chance(m, 45)) {
        random_value seen;
        bool is_data = random_chance(m, 25) && block_mask(m, a->rows, keys, &seen);
        p->where = add_operand(a, is_data ? seen : random_condition(m, both));
        a->may_be_empty = true;
    }
    if (!a->is_plain && random_chance(m, 20)) {
        random_value after =
            random_float_leaf(m, random_subset(m, both & ~random_ragged(m, both)), -1, 1, true);
        p->after = add_operand(a, after);
    }
    if (a->has_value) {
        if (a->is_plain && random_chance(m, 80)) {
            int64_t n = random_int(m, 1, 20);
            a->extra |= (random_axes)1 << random_new_axis(m, "w", lap_dim_const(m->ctx, n), n);
        }
        random_axes some = random_chance(m, 80) ? keys : random_subset(m, keys);
        random_value v = make_stored(m, some | a->extra | make_shared(m, a->rows, some | a->extra), 2);
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

/* Weights as others read them: summed over a row axis, or of one row. */
static void read_weights(random_maker *m, const attend_maker *a, lap_ref node, double weight, double err)
{
    uint32_t axis;
    lap_ref weights = lap_result(m->g, node, "weights");
    if (!one_of(m, a->rows, &axis) || lap_node_axis(lap_node_at(m->g, weights), m->axis[axis].name) == NULL) {
        return;
    }
    lap_name row = m->axis[axis].name;
    double times = random_chance(m, 50) ? (double)m->axis[axis].size : 0;
    random_value v = {.kind = LAP_F32, .frac = -1};
    if (times > 0) {
        v.ref = lap_reduce(m->g, LAP_RED_SUM, weights, (lap_names){1, &row});
    } else {
        lap_ref at = lap_const_i(m->g, random_int(m, 0, m->axis[axis].size - 1));
        v.ref = lap_at(m->g, weights, (lap_names){1, &row}, &at, NULL);
        times = 1;
    }
    v.hi = weight * times;
    v.lo = -v.hi;
    v.err = (err + 1e-6 * weight) * times;
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
    if (!a->has_value || (!a->is_plain && random_chance(m, 20))) {
        add_result(m, a, node, "weights", weight, weight_err, false);
        if (random_chance(m, 50)) {
            read_weights(m, a, node, weight, weight_err);
        }
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
        int64_t size = random_int(m, 1, random_chance(m, 30) ? 30 : 9);
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
             (random_chance(m, 40) ? (random_axes)1 << random_any_axis(m) : 0) |
             (random_chance(m, 20) ? (random_axes)1 << random_any_axis(m) : 0);
    a.extra = random_chance(m, 70) ? (random_axes)1 << random_any_axis(m) & ~a.rows : 0;
    a.is_plain = a.has_value && random_chance(m, 50);
    uint32_t n_parts = !a.is_plain && random_chance(m, 40) ? 2 : 1;
    for (uint32_t i = 0; i < n_parts; i++) {
        random_axes keys = make_keys(m, &a);
        if (random_count(m, keys | a.rows | a.extra) > RANDOM_MOST_ELEMENTS * 2) {
            return;
        }
        make_part(m, &a, keys);
    }
    double empty = a.is_plain ? 0 : (double)random_int(m, -1, 1);
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

/* ---- windows of a grid ---- */

typedef struct window_axis {
    uint32_t grid, key; /* axes of the maker */
    lap_ref place;      /* index of the key of each query and offset */
} window_axis;

static lap_ref plus(random_maker *m, lap_ref a, int64_t b)
{
    return lap_map2(m->g, LAP_FN_ADD, a, lap_const_i(m->g, b));
}

/* place = r + step * (clamp(p - back) + w) for the query r + step * p; perhaps runs of p share a window. */
static void make_window(random_maker *m, int64_t most, window_axis *a)
{
    lap_graph *g = m->g;
    int64_t size = random_int(m, 1, most), step = random_chance(m, 60) ? 1 : random_int(m, 2, 3);
    int64_t count = random_int(m, 1, 5);
    lap_dim dim = lap_dim_const(m->ctx, size);
    if (random_chance(m, 40)) {
        const char *symbol =
            lap_arena_printf(m->ctx->arena, "%c%lld", 'N' + (char)(m->n_symbols++ % 6), (long long)size);
        dim = lap_dim_symbol(m->ctx, lap_intern(m->ctx, symbol));
    }
    a->grid = random_new_axis(m, "a", dim, size);
    a->key = random_new_axis(m, "w", lap_dim_const(m->ctx, count), count);
    lap_ref i = lap_index(g, (lap_axis){.name = m->axis[a->grid].name, .size = dim});
    lap_ref w = lap_index(g, (lap_axis){.name = m->axis[a->key].name, .size = m->axis[a->key].dim});
    lap_ref by = lap_const_i(g, step);
    lap_ref rest = lap_map2(g, LAP_FN_MOD, i, by), p = lap_map2(g, LAP_FN_IDIV, i, by);
    lap_ref n = lap_map2(g, LAP_FN_SUB, plus(m, lap_dim_node(g, dim), step - 1), rest);
    if (random_chance(m, 40)) {
        lap_ref run = lap_const_i(g, random_int(m, 2, 4));
        p = lap_map2(g, LAP_FN_MUL, lap_map2(g, LAP_FN_IDIV, p, run), run);
    }
    lap_ref last = plus(m, lap_map2(g, LAP_FN_IDIV, n, by), -count),
            lo = plus(m, p, -random_int(m, 0, count));
    bool is_low_first = random_chance(m, 50);
    for (int k = 0; k < 2; k++) {
        if (random_chance(m, 20)) {
            continue;
        }
        bool is_low = (k == 0) == is_low_first;
        lo = lap_map2(g, is_low ? LAP_FN_MAX : LAP_FN_MIN, lo, is_low ? lap_const_i(g, 0) : last);
    }
    a->place = lap_map2(g, LAP_FN_ADD, rest, lap_map2(g, LAP_FN_MUL, lap_map2(g, LAP_FN_ADD, lo, w), by));
}

static lap_ref read_places(random_maker *m, lap_ref x, uint32_t n, const window_axis *axes)
{
    lap_name src[3];
    lap_ref index[3];
    for (uint32_t i = 0; i < n; i++) {
        src[i] = m->axis[axes[i].grid].name;
        index[i] = axes[i].place;
    }
    lap_scalar fill = {.dtype = LAP_F32, .f = (double)random_int(m, 0, 1)};
    return lap_at(m->g, x, (lap_names){n, src}, index, &fill);
}

static random_value window_score(random_maker *m, attend_maker *a, uint32_t n, const window_axis *axes)
{
    lap_graph *g = m->g;
    random_axes depth = (random_axes)1 << random_new_axis(m, "f", lap_dim_const(m->ctx, 3), 3), keys = 0;
    random_value q = random_float_leaf(m, a->rows | depth, -1, 1, false);
    random_value k = random_float_leaf(m, a->rows | depth, -1, 1, false);
    for (uint32_t i = 0; i < n; i++) {
        keys |= (random_axes)1 << axes[i].key;
    }
    lap_ref left = random_chance(m, 40) ? lap_map2(g, LAP_FN_MUL, q.ref, lap_const_f(g, 0.5)) : q.ref;
    lap_ref product = lap_map2(g, LAP_FN_MUL, left, read_places(m, k.ref, n, axes));
    random_value s = {.kind = LAP_F32, .lo = -3, .hi = 3, .err = 1e-6, .frac = -1};
    s.ref = lap_reduce(g, LAP_RED_SUM, product, random_names_of(m, depth));
    s = random_add(m, s);
    if (random_chance(m, 40)) { /* a table by offset, by place, or by query */
        random_axes by = random_chance(m, 50) ? keys : (random_axes)1 << axes[n - 1].grid;
        random_value table = random_float_leaf(m, by, -1, 1, false);
        if (by != keys && random_chance(m, 60)) {
            lap_scalar fill = {.dtype = LAP_F32, .f = 0};
            table.ref = lap_at(g, table.ref, (lap_names){1, &m->axis[axes[n - 1].grid].name},
                               &axes[n - 1].place, &fill);
            table = random_add(m, table);
        }
        s = random_map2(m, LAP_FN_ADD, s, table);
    }
    return suit(m, a->norm, s);
}

/* Keys on the grid alone, or some pattern. */
static lap_ref window_mask(random_maker *m, const attend_maker *a, uint32_t n, const window_axis *axes)
{
    lap_graph *g = m->g;
    random_axes both = a->rows;
    lap_ref all = LAP_NONE;
    for (uint32_t i = 0; i < n; i++) {
        both |= (random_axes)1 << axes[i].key;
        lap_ref low = lap_map2(g, LAP_FN_GE, axes[i].place, lap_const_i(g, 0));
        lap_ref high = lap_map2(g, LAP_FN_LT, axes[i].place, lap_dim_node(g, m->axis[axes[i].grid].dim));
        lap_ref one = lap_map2(g, LAP_FN_AND, low, high);
        all = lap_ref_some(all) ? lap_map2(g, LAP_FN_AND, all, one) : one;
    }
    return random_chance(m, 70) ? all : random_condition(m, both).ref;
}

void random_make_near(random_maker *m)
{
    static const int64_t most[] = {40, 9, 5};
    if (m->n_axes + 12 >= RANDOM_MOST_AXES) {
        return;
    }
    attend_maker a = {.has_value = true};
    a.norm = random_chance(m, 60) ? LAP_NORM_SOFTMAX : (lap_norm)random_int(m, 0, 2);
    window_axis axes[3];
    uint32_t n = (uint32_t)random_int(m, 1, 3);
    random_axes keys = 0;
    for (uint32_t i = 0; i < n; i++) {
        make_window(m, most[n - 1], &axes[i]);
        keys |= (random_axes)1 << axes[i].key;
        a.rows |= (random_axes)1 << axes[i].grid;
    }
    if (random_chance(m, 30)) {
        a.rows |= (random_axes)1 << random_new_axis(m, "a", lap_dim_const(m->ctx, 2), 2);
    }
    a.extra = (random_axes)1 << random_new_axis(m, "e", lap_dim_const(m->ctx, 2), 2);
    if (random_count(m, keys | a.rows) > 4 * RANDOM_MOST_ELEMENTS) {
        return;
    }
    lap_part *p = &a.parts[a.n_parts++];
    *p = (lap_part){.keys = random_names_of(m, keys), .score = -1, .where = -1, .after = -1, .value = -1};
    random_value s = window_score(m, &a, n, axes), v = random_float_leaf(m, a.rows | a.extra, -2, 2, false);
    v.ref = read_places(m, v.ref, n, axes);
    a.score_err = s.err;
    a.score_size = random_size(s);
    a.value_err = v.err;
    a.value_size = random_size(v);
    a.n_keys = (double)random_count(m, keys);
    p->score = add_operand(&a, s);
    p->value = add_operand(&a, v);
    if (random_chance(m, 40)) {
        p->where = (int32_t)a.n_args;
        a.args[a.n_args++] = window_mask(m, &a, n, axes);
        a.may_be_empty = true;
    }
    lap_attr attrs[3] = {
        lap_attr_make_parts(LAP_ATTR_PARTS, (lap_parts){a.n_parts, a.parts}),
        lap_attr_make_i(LAP_ATTR_NORM, a.norm),
        lap_attr_make_f(LAP_ATTR_EMPTY, 0),
    };
    lap_ref node = lap_emit(
        m->g, &(lap_emit_args){
                  .op = LAP_OP_ATTEND, .n_args = a.n_args, .args = a.args, .n_attrs = 3, .attrs = attrs});
    add_results(m, &a, node, 0);
}

/* ---- keys in lists ---- */

/* Blocks of queries that read blocks of keys, or queries that read keys, by numbers that are data. */
void random_make_listed(random_maker *m)
{
    static const int64_t blocks[] = {1, 8, 16, 32, 48};
    if (m->n_axes + 10 >= RANDOM_MOST_AXES) {
        return;
    }
    attend_maker a = {.norm = (lap_norm)random_int(m, 0, 2), .has_value = true};
    int64_t n_blocks = random_int(m, 1, 4), block = blocks[random_int(m, 0, 4)];
    uint32_t p = random_new_axis(m, "a", lap_dim_const(m->ctx, 3), 3),
             i = random_new_axis(m, "a", lap_dim_const(m->ctx, 5), 5);
    uint32_t r = random_new_axis(m, "r", lap_dim_const(m->ctx, 2), 2);
    uint32_t source = random_new_axis(m, "m", lap_dim_const(m->ctx, n_blocks), n_blocks);
    uint32_t j = random_new_axis(m, "j", lap_dim_const(m->ctx, block), block);
    uint32_t f = random_new_axis(m, "f", lap_dim_const(m->ctx, 4), 4),
             e = random_new_axis(m, "e", lap_dim_const(m->ctx, 3), 3);
    random_axes inner = (random_axes)1 << j,
                rows = (random_axes)1 << p | (random_chance(m, 80) ? (random_axes)1 << i : 0);
    lap_name src = m->axis[source].name;
    lap_ref list = random_int_leaf(m, (random_axes)1 << p | (random_axes)1 << r, 0, n_blocks - 1).ref;
    random_value k =
        random_float_leaf(m, (random_axes)1 << source | inner | (random_axes)1 << f, -1, 1, false);
    random_value v =
        random_float_leaf(m, (random_axes)1 << source | inner | (random_axes)1 << e, -2, 2, false);
    random_value q = random_float_leaf(m, rows | (random_axes)1 << f, -1, 1, false);
    random_value s = {.kind = LAP_F32, .lo = -4, .hi = 4, .err = 1e-6, .frac = -1};
    s.ref = lap_map2(m->g, LAP_FN_MUL, q.ref, lap_at(m->g, k.ref, (lap_names){1, &src}, &list, NULL));
    s.ref = lap_reduce(m->g, LAP_RED_SUM, s.ref, random_names_of(m, (random_axes)1 << f));
    s = suit(m, a.norm, random_add(m, s));
    v.ref = lap_at(m->g, v.ref, (lap_names){1, &src}, &list, NULL);
    a.rows = rows;
    a.score_err = s.err;
    a.score_size = random_size(s);
    a.value_err = v.err;
    a.value_size = random_size(v);
    a.n_keys = (double)(2 * block);
    lap_part *part = &a.parts[a.n_parts++];
    *part = (lap_part){.keys = random_names_of(m, inner | (random_axes)1 << r), .where = -1, .after = -1};
    part->score = add_operand(&a, s);
    part->value = add_operand(&a, v);
    lap_attr attrs[3] = {
        lap_attr_make_parts(LAP_ATTR_PARTS, (lap_parts){a.n_parts, a.parts}),
        lap_attr_make_i(LAP_ATTR_NORM, a.norm),
        lap_attr_make_f(LAP_ATTR_EMPTY, 0),
    };
    lap_ref node = lap_emit(
        m->g, &(lap_emit_args){
                  .op = LAP_OP_ATTEND, .n_args = a.n_args, .args = a.args, .n_attrs = 3, .attrs = attrs});
    add_results(m, &a, node, 0);
}
