/* SPDX-License-Identifier: Apache-2.0
 * random_index.c - productions that move elements: reads, writes, orders, names, ragged axes. */
#include <math.h>

#include "tests/support/random_maker.h"

/* One axis of these, as a bit; 0 of none. */
static random_axes one_of(random_maker *m, random_axes axes)
{
    random_axes one = random_subset(m, axes);
    while (one & (one - 1)) {
        one = random_subset(m, one);
    }
    return one;
}

static uint32_t number_of(random_axes one) { return (uint32_t)__builtin_ctzll(one); }

/* Axes of the value that are not ragged and that no count varies over. */
static random_axes free_axes(random_maker *m, random_value v)
{
    random_axes out = 0;
    for (uint32_t i = 0; i < m->n_axes; i++) {
        random_axes bit = (random_axes)1 << i;
        if ((v.axes & bit) && !lap_ref_some(m->axis[i].count) && random_closed(m, bit, v.axes) == bit) {
            out |= bit;
        }
    }
    return out;
}

static random_value pick_any(random_maker *m)
{
    return random_pick(m, random_chance(m, 75) ? LAP_F32 : random_chance(m, 60) ? LAP_I64 : LAP_BOOL);
}

static lap_scalar scalar_of(lap_dtype kind, int64_t i)
{
    return kind == LAP_F32   ? lap_scalar_f((double)i / 2)
           : kind == LAP_I64 ? lap_scalar_i(i)
                             : lap_scalar_b(i & 1);
}

static double scalar_value(lap_scalar s) { return s.dtype == LAP_F32 ? s.f : (double)s.i; }

/* The value with these numbers among its own. */
static random_value widened(random_value v, double lo, double hi)
{
    v.lo = fmin(v.lo, lo);
    v.hi = fmax(v.hi, hi);
    return v;
}

static void read_at(random_maker *m, random_value x, random_axes src, const random_value *index, bool fills)
{
    lap_ref refs[RANDOM_MOST_AXES];
    lap_scalar fill = scalar_of(x.kind, random_int(m, -2, 2));
    uint32_t n = 0;
    for (random_axes rest = src; rest; rest &= rest - 1) {
        refs[n] = index[n].ref;
        n++;
    }
    random_value v = x;
    v.ref = lap_at(m->g, x.ref, random_names_of(m, src), refs, fills ? &fill : NULL);
    random_add(m, fills ? widened(v, scalar_value(fill), scalar_value(fill)) : v);
}

/* Random places on one or two axes. */
void random_make_at(random_maker *m)
{
    random_value x = pick_any(m), index[2];
    random_axes src = one_of(m, free_axes(m, x)), made = x.axes;
    if (random_chance(m, 30)) {
        src |= one_of(m, free_axes(m, x));
    }
    if (src == 0 || random_count(m, src) == 0) {
        return;
    }
    bool fills = random_chance(m, 50);
    uint32_t n = 0;
    random_axes room =
        (x.axes & ~src) | (random_axes)1 << random_any_axis(m) | (random_axes)1 << random_any_axis(m);
    room &= ~random_ragged(m, room);
    for (random_axes rest = src; rest; rest &= rest - 1) {
        int64_t size = m->axis[number_of(rest)].size;
        index[n] = random_index_within(m, room, fills ? -2 : 0, fills ? size + 1 : size - 1);
        made |= index[n++].axes;
    }
    if (random_count(m, made & ~src) <= RANDOM_MOST_ELEMENTS) {
        read_at(m, x, src, index, fills);
    }
}

/* i * stride + w * dilation - pad over axis `src`: windows, whose extents follow from it. The value is the
 * last one added; false where nothing was. */
static bool slide(random_maker *m, random_value x, random_axes src, int64_t width, int64_t stride)
{
    if (src == 0 || m->n_axes + 2 >= RANDOM_MOST_AXES) {
        return false;
    }
    const random_axis a = m->axis[number_of(src)];
    int64_t dilation = random_int(m, 1, 2);
    int64_t pad = random_int(m, 0, 2), reach = (width - 1) * dilation + 1, whole = a.size + 2 * pad - reach;
    if (whole < 0 || random_count(m, x.axes) * width * 2 > RANDOM_MOST_ELEMENTS) {
        return false;
    }
    lap_dim dim = lap_dim_add(m->ctx, a.dim, lap_dim_const(m->ctx, 2 * pad - reach));
    dim = lap_dim_floordiv(m->ctx, dim, lap_dim_const(m->ctx, stride));
    dim = lap_dim_add(m->ctx, dim, lap_dim_const(m->ctx, 1));
    const random_axis *y = &m->axis[random_new_axis(m, "y", dim, whole / stride + 1)];
    const random_axis *w = &m->axis[random_new_axis(m, "w", lap_dim_const(m->ctx, width), width)];
    lap_ref place = lap_map2(m->g, LAP_FN_MUL, lap_index(m->g, (lap_axis){y->name, y->dim, LAP_NONE}),
                             lap_const_i(m->g, stride));
    lap_ref inside = lap_map2(m->g, LAP_FN_MUL, lap_index(m->g, (lap_axis){w->name, w->dim, LAP_NONE}),
                              lap_const_i(m->g, dilation));
    place = lap_map2(m->g, LAP_FN_ADD, place, inside);
    place = lap_map2(m->g, LAP_FN_SUB, place, lap_const_i(m->g, pad));
    read_at(m, x, src, &(random_value){.ref = place, .kind = LAP_I64}, pad > 0);
    return true;
}

void random_make_shift(random_maker *m)
{
    random_value x = pick_any(m);
    (void)slide(m, x, one_of(m, free_axes(m, x)), random_int(m, 1, 3), random_int(m, 1, 2));
}

/* A stencil or a pool: one or two windows that slide, most by one, and what they hold reduced. */
void random_make_window(random_maker *m)
{
    random_axes axes = (random_axes)1 << random_any_axis(m) | (random_axes)1 << random_any_axis(m);
    if (random_chance(m, 60)) { /* an axis for lanes */
        int64_t size = random_int(m, 8, 14);
        axes |= (random_axes)1 << random_new_axis(m, "c", lap_dim_const(m->ctx, size), size);
    }
    random_value x = random_float_leaf(m, axes, -2, 2, random_chance(m, 50));
    uint32_t made = m->n_values;
    random_axes taps = 0;
    for (random_axes rest = axes; rest; rest &= rest - 1) {
        if (random_chance(m, taps != 0 ? 40 : 20)) {
            continue;
        }
        uint32_t before = m->n_axes;
        if (slide(m, x, rest & (~rest + 1), random_int(m, 2, 4), random_chance(m, 80) ? 1 : 2)) {
            x = m->value[m->n_values - 1];
            taps |= (random_axes)1 << (before + 1);
        }
    }
    m->n_values = made; /* the windows have no other reader */
    if (taps == 0) {
        return;
    }
    bool is_pool = random_chance(m, 25);
    if (!is_pool) {
        random_axes of = taps | (random_chance(m, 30) ? x.axes & axes : 0);
        x = random_map2(m, LAP_FN_MUL, x, random_float_leaf(m, of, -1, 1, random_chance(m, 50)));
        m->n_values--;
    }
    random_fold(m, is_pool ? LAP_RED_MAX : LAP_RED_SUM, x, taps);
}

/* x[i + 1] where there is one, without a fill: the read outside is never chosen. */
void random_make_masked_read(random_maker *m)
{
    random_value x = random_pick(m, LAP_F32), other = random_pick(m, LAP_F32);
    random_axes src = one_of(m, free_axes(m, x));
    if (src == 0 || random_count(m, x.axes | other.axes) > RANDOM_MOST_ELEMENTS) {
        return;
    }
    const random_axis *a = &m->axis[number_of(src)];
    int64_t by = random_int(m, -2, 2);
    lap_ref i = lap_index(m->g, (lap_axis){a->name, a->dim, LAP_NONE});
    lap_ref place = lap_map2(m->g, LAP_FN_ADD, i, lap_const_i(m->g, by));
    lap_ref inside = by < 0 ? lap_map2(m->g, LAP_FN_GE, place, lap_const_i(m->g, 0))
                            : lap_map2(m->g, LAP_FN_LT, place, lap_dim_node(m->g, a->dim));
    random_value read = x;
    read.ref = lap_at(m->g, x.ref, random_names_of(m, src), &place, NULL);
    random_value c = {.ref = inside, .kind = LAP_BOOL, .hi = 1};
    random_select(m, c, read, other);
}

void random_make_scatter(random_maker *m)
{
    random_value x = random_pick(m, random_chance(m, 75) ? LAP_F32 : LAP_I64);
    random_axes over = random_closed(m, random_subset(m, x.axes), x.axes);
    if (over == 0 || m->n_axes + 1 >= RANDOM_MOST_AXES ||
        random_size(x) * (double)random_count(m, over) > 250) {
        return;
    }
    const random_axis like = m->axis[random_any_axis(m)];
    if (random_count(m, x.axes & ~over) * like.size > RANDOM_MOST_ELEMENTS) {
        return;
    }
    random_value index = random_index_within(m, x.axes, -1, like.size);
    lap_mode mode = (lap_mode)random_int(m, 0, 2);
    lap_scalar base = scalar_of(x.kind, random_int(m, -2, 2));
    uint32_t to = random_new_axis(m, "t", like.dim, like.size);
    const lap_attr attrs[] = {
        lap_attr_make_names(LAP_ATTR_OVER, random_names_of(m, over)),
        lap_attr_make_names(LAP_ATTR_TARGET, (lap_names){1, &m->axis[to].name}),
        lap_attr_make_dims(LAP_ATTR_SIZES, (lap_dim_list){1, &m->axis[to].dim}),
        lap_attr_make_i(LAP_ATTR_MODE, mode),
        lap_attr_make_scalar(LAP_ATTR_BASE, base),
    };
    const lap_ref args[] = {x.ref, index.ref};
    random_value v = x;
    double n = mode == LAP_MODE_ADD ? (double)random_count(m, over) : 1;
    v.ref = lap_emit(
        m->g,
        &(lap_emit_args){.op = LAP_OP_SCATTER, .n_args = 2, .args = args, .n_attrs = 5, .attrs = attrs});
    v.lo = fmin(x.lo, 0) * n;
    v.hi = fmax(x.hi, 0) * n;
    v.err *= n;
    double b = scalar_value(base);
    random_add(m, random_rounded(widened(v, v.lo + fmin(b, 0), v.hi + fmax(b, 0))));
}

/* A new ragged axis as the type of `ref` has it. */
static void learn_count(random_maker *m, uint32_t axis, lap_ref ref, int64_t least)
{
    const lap_axis *a = lap_node_axis(lap_node_at(m->g, ref), m->axis[axis].name);
    m->axis[axis].count = a->count;
    m->axis[axis].least = least;
    m->axis[axis].needs = lap_ref_some(a->count) ? random_axes_of(m, a->count) : 0;
}

void random_make_topk(random_maker *m)
{
    random_value x = random_chance(m, 70) ? random_pick_exact(m) : random_pick(m, LAP_I64);
    random_axes one = one_of(m, x.axes);
    if (one == 0 || random_closed(m, one, x.axes) != one || m->n_axes + 1 >= RANDOM_MOST_AXES) {
        return;
    }
    const random_axis a = m->axis[number_of(one)];
    bool is_plain = !lap_ref_some(a.count), takes_value = is_plain && random_chance(m, 30);
    int64_t k = random_int(m, a.size > 1 ? 1 : 0, a.size), least = takes_value   ? 0
                                                                   : a.least < k ? a.least
                                                                                 : k;
    bool is_whole = takes_value || random_chance(m, 25);
    random_value count = {0};
    if (takes_value) {
        count = random_index_within(m, x.axes & ~one & ~random_ragged(m, x.axes), 0, a.size);
    }
    lap_dim dim = is_whole ? a.dim : lap_dim_const(m->ctx, k);
    uint32_t into = random_new_axis(m, "k", dim, is_whole ? a.size : k);
    const lap_attr attrs[] = {
        lap_attr_make_name(LAP_ATTR_AXIS, a.name),
        lap_attr_make_name(LAP_ATTR_INTO, m->axis[into].name),
        lap_attr_make_dim(LAP_ATTR_DIM, dim),
        lap_attr_make_i(LAP_ATTR_SMALLEST, random_chance(m, 50)),
    };
    const lap_ref args[] = {x.ref, count.ref};
    uint32_t n_args = takes_value ? 2 : 1;
    lap_ref node = lap_emit(
        m->g,
        &(lap_emit_args){.op = LAP_OP_TOPK, .n_args = n_args, .args = args, .n_attrs = 4, .attrs = attrs});
    random_value values = x, index = {.kind = LAP_I64, .hi = (double)(a.size - 1)};
    values.ref = lap_result(m->g, node, "values");
    index.ref = lap_result(m->g, node, "index");
    random_add(m, values);
    learn_count(m, into, values.ref, least);
    if (random_chance(m, 60)) {
        random_add(m, index);
    }
}

static lap_ref rename_axis(random_maker *m, lap_ref x, lap_name from, lap_name to)
{
    return lap_rename(m->g, x, (lap_names){1, &from}, (lap_names){1, &to});
}

void random_make_rename(random_maker *m)
{
    random_value x = pick_any(m);
    random_axes one = one_of(m, free_axes(m, x));
    if (one == 0 || m->n_axes + 1 >= RANDOM_MOST_AXES) {
        return;
    }
    const random_axis a = m->axis[number_of(one)];
    uint32_t to = RANDOM_MOST_AXES;
    for (uint32_t i = 0; i < m->n_axes; i++) {
        bool same = lap_dim_same(m->axis[i].dim, a.dim) && !lap_ref_some(m->axis[i].count);
        if (same && !(x.axes >> i & 1) && random_chance(m, 50)) {
            to = i;
        }
    }
    if (to == RANDOM_MOST_AXES) {
        to = random_new_axis(m, "r", a.dim, a.size);
    }
    random_value v = x;
    v.ref = rename_axis(m, x.ref, a.name, m->axis[to].name);
    random_add(m, v);
}

void random_make_ragged(random_maker *m)
{
    random_value x = pick_any(m);
    random_axes one = one_of(m, free_axes(m, x));
    if (one == 0 || m->n_axes + 1 >= RANDOM_MOST_AXES || m->depth > 0) {
        return;
    }
    const random_axis a = m->axis[number_of(one)];
    int64_t least = random_int(m, 0, 1) < a.size ? random_int(m, 0, 1) : 0;
    random_value count = random_index_within(m, x.axes & ~one & ~random_ragged(m, x.axes), least, a.size);
    uint32_t to = random_new_axis(m, "g", a.dim, a.size);
    random_value v = x;
    v.ref = lap_ragged(m->g, rename_axis(m, x.ref, a.name, m->axis[to].name), m->axis[to].name, count.ref);
    random_add(m, v);
    learn_count(m, to, v.ref, least);
}

/* Rows of a ragged value read at an index: their counts follow them. */
void random_make_routed(random_maker *m)
{
    random_value x = pick_any(m);
    random_axes ragged = one_of(m, random_ragged(m, x.axes));
    if (ragged == 0 || m->n_axes + 1 >= RANDOM_MOST_AXES || m->depth > 0) {
        return;
    }
    const random_axis r = m->axis[number_of(ragged)];
    random_axes row = one_of(m, r.needs & ~random_ragged(m, r.needs));
    const lap_axis *typed = lap_node_axis(lap_node_at(m->g, x.ref), r.name);
    if (row == 0 || random_closed(m, row, x.axes) != (row | ragged) || !lap_ref_some(typed->count) ||
        m->axis[number_of(row)].size == 0) {
        return;
    }
    random_axes room = (random_axes)1 << random_any_axis(m) | (random_axes)1 << random_any_axis(m);
    random_value index =
        random_index_within(m, room & ~random_ragged(m, room), 0, m->axis[number_of(row)].size - 1);
    if (random_count(m, x.axes | index.axes) > RANDOM_MOST_ELEMENTS) {
        return;
    }
    uint32_t to = random_new_axis(m, "q", r.dim, r.size);
    random_value v = x;
    v.ref = lap_at(m->g, rename_axis(m, x.ref, r.name, m->axis[to].name), random_names_of(m, row), &index.ref,
                   NULL);
    random_add(m, v);
    learn_count(m, to, v.ref, r.least);
}
