/* SPDX-License-Identifier: Apache-2.0
 * tiles.c - see tiles.h. */
#include "passes/tiles.h"

#include <string.h>

lap_coord *lap_tiles_coord(lap_tiles *t, lap_name name)
{
    const lap_axis *a = lap_axis_find(t->axes, t->env.n, name);
    LAP_ENSURE(a != NULL);
    return &t->coords[a - t->axes];
}

void lap_tiles_split(lap_tiles *t, lap_axis_list axes, lap_coord flat)
{
    lap_dim sizes[64] = {{0}};
    lap_coord out[64];
    LAP_ENSURE(axes.n <= 64);
    for (uint32_t i = 0; i < axes.n; i++) {
        sizes[i] = axes.at[i].size;
    }
    lap_coord_split(t->k, flat, axes.n, sizes, out);
    for (uint32_t i = 0; i < axes.n; i++) {
        *lap_tiles_coord(t, axes.at[i].name) = out[i];
    }
}

lap_dim lap_axes_product(lap_lowering *l, lap_axis_list axes)
{
    lap_dim total = lap_dim_const(l->ctx, 1);
    for (uint32_t i = 0; i < axes.n; i++) {
        total = lap_dim_mul(l->ctx, total, axes.at[i].size);
    }
    return total;
}

lap_coord lap_coord_clip(lap_kctx *k, lap_dim total, lap_coord start, int64_t most)
{
    lap_coord rest = lap_coord_sub(k->c, lap_coord_dim(k->c, total), start);
    return lap_coord_min(k->c, rest, lap_coord_const(k->c, most));
}

uint32_t lap_panel_cols(lap_lowering *l, lap_dim n, lap_knob knob)
{
    int64_t size;
    uint32_t lanes = l->target->vector_f32;
    uint32_t most = ((uint32_t)lap_knob_value(l, knob) + lanes - 1) / lanes * lanes;
    if (!lap_dim_is_const(l->ctx, n, &size) || size >= most) {
        return most;
    }
    uint32_t cols = ((uint32_t)size + lanes - 1) / lanes * lanes;
    return cols == 0 ? lanes : cols;
}

uint32_t lap_tile_rows(lap_lowering *l, lap_dim m, uint32_t cols, lap_knob knob)
{
    enum { MOST = 14, LEAST = 4 };
    uint32_t lanes = l->target->vector_f32, n_vectors = (cols + lanes - 1) / lanes;
    uint32_t most = (uint32_t)lap_knob_value(l, knob);
    uint32_t fit =
        l->target->n_registers > n_vectors + 1 ? (l->target->n_registers - 1 - n_vectors) / n_vectors : 1;
    if (cols < l->target->mma_cols && l->target->group_size == 0) {
        fit = fit < MOST ? fit : MOST;
        most = most > fit ? most : fit;
    }
    int64_t size;
    if (!lap_dim_is_const(l->ctx, m, &size) || size < 1) {
        return most;
    }
    uint32_t best = most;
    int64_t least = INT64_MAX; /* rows that are computed, and half a row for each tile that is begun */
    uint32_t low = size < LEAST ? (uint32_t)size : LEAST;
    for (uint32_t rows = most; rows >= low; rows--) {
        int64_t tiles = (size + rows - 1) / rows, cost = tiles * (2 * (int64_t)rows + 1);
        if (cost < least) {
            least = cost;
            best = rows;
        }
    }
    return best;
}

/* Is A one affine view over merged m and merged k? Tried with stand-in variables. */
static bool a_is_affine(lap_tiles *t)
{
    if (t->r.a.n != 1 || t->r.has_ragged_k) {
        return false;
    }
    lap_coord m = lap_coord_stand_in(t->k->c, t->m_total);
    lap_coord k = lap_coord_stand_in(t->k->c, t->k_total);
    lap_tiles_split(t, t->m, m);
    lap_tiles_split(t, t->r.k, k);
    const lap_coord *env = lap_env_for(t->k, t->r.a.at[0], t->env.n, t->axes, t->coords);
    lap_coord address, rest;
    return lap_view_address(t->k, t->r.a.at[0], env, &t->a_buffer, &address) &&
           t->l->buffers[t->a_buffer].elem == lap_packed_as(t->dot) &&
           lap_coord_affine(t->k->c, address, m, &t->a_sm, &rest) &&
           lap_coord_affine(t->k->c, rest, k, &t->a_sk, &t->a_rest) &&
           (!t->dot || lap_dim_same(t->a_sk, lap_dim_const(t->l->ctx, 1)));
}

/* What A is read from, as far as its first operands tell. */
static const lap_plan_node *source_of(lap_lowering *l, const lap_roles *r)
{
    lap_ref base = r->a.at[0];
    while (lap_plan_of(l, base)->kind == LAP_STORE_INLINE && lap_node_at(l->g, base)->n_args > 0) {
        base = lap_node_at(l->g, base)->args[0];
    }
    return lap_plan_of(l, base);
}

/* Orders k so that A's fastest axis comes last: packing then reads along memory. */
static void order_k(lap_lowering *l, lap_roles *r)
{
    lap_axis *k = lap_arena_copy(l->ctx->arena, r->k.at, r->k.n * sizeof *k);
    const lap_plan_node *p = source_of(l, r);
    for (uint32_t o = 0; o < p->n_order; o++) {
        for (uint32_t i = 0; i + 1 < r->k.n; i++) {
            if (lap_name_same(k[i].name, p->order[o])) {
                lap_axis moved = k[i];
                memmove(k + i, k + i + 1, (r->k.n - i - 1) * sizeof *k);
                k[r->k.n - 1] = moved;
                break;
            }
        }
    }
    r->k.at = k;
}

/* All axes of both factors, at stand-in coordinates until loops give them real ones. */
static void collect_axes(lap_tiles *t)
{
    const lap_axis_list lists[4] = {t->r.batch, t->r.m, t->r.n, t->r.k};
    uint32_t total = 0;
    for (int i = 0; i < 4; i++) {
        total += lists[i].n;
    }
    t->axes = lap_arena_array(t->l->ctx->arena, total + 1, sizeof *t->axes);
    t->coords = lap_arena_array(t->l->ctx->arena, total + 1, sizeof *t->coords);
    for (int i = 0; i < 4; i++) {
        for (uint32_t a = 0; a < lists[i].n; a++) {
            t->coords[t->env.n] = lap_coord_stand_in(t->k->c, lists[i].at[a].size);
            t->axes[t->env.n++] = lists[i].at[a];
        }
    }
    t->env.axes = t->axes;
    t->env.coords = t->coords;
}

/* Moves leading axes of m into the grid until the rest is affine in A; gives up at short rests. */
static void choose_m(lap_tiles *t)
{
    int64_t size;
    for (uint32_t skip = 0; skip < t->r.m.n; skip++) {
        t->m = (lap_axis_list){t->r.m.n - skip, t->r.m.at + skip};
        t->m_total = lap_axes_product(t->l, t->m);
        if (skip > 0 && lap_dim_is_const(t->l->ctx, t->m_total, &size) && size < 2 * t->rows) {
            break;
        }
        t->a_direct = a_is_affine(t);
        if (t->a_direct) {
            return;
        }
    }
    t->a_direct = false;
    t->m = t->r.m;
    t->m_total = lap_axes_product(t->l, t->m);
}

/* Whether m's last axis is what lies together in memory, in runs worth lanes. Pairs lie along k;
 * devices have more lanes than such runs, and limits to the loops around them. */
static bool goes_across(const lap_tiles *t)
{
    enum { LEAST = 4 };
    const lap_plan_node *p = source_of(t->l, &t->r);
    int64_t size;
    const lap_axis *last = &t->m.at[t->m.n - 1];
    return !t->dot && t->l->target->group_size == 0 && p->n_order > 0 &&
           lap_name_same(p->order[p->n_order - 1], last->name) &&
           !(lap_dim_is_const(t->l->ctx, last->size, &size) && size < LEAST);
}

void lap_tiles_plan(lap_tiles *t)
{
    order_k(t->l, &t->r);
    t->k_total = lap_axes_product(t->l, t->r.k);
    collect_axes(t);
    choose_m(t);
    t->a_across = !t->a_direct && goes_across(t);
    for (uint32_t i = 0; i < t->r.batch.n; i++) {
        t->outer[t->n_outer++] = t->r.batch.at[i];
    }
    for (uint32_t i = 0; i + t->m.n < t->r.m.n; i++) {
        t->outer[t->n_outer++] = t->r.m.at[i];
    }
    LAP_ENSURE(t->n_outer <= 60);
    t->k->roles = lap_arena_printf(
        t->l->ctx->arena, "batch=(%s) m=(%s) n=(%s) k=(%s)%s", lap_axes_text(t->l, t->n_outer, t->outer),
        lap_axes_text(t->l, t->m.n, t->m.at), lap_axes_text(t->l, t->r.n.n, t->r.n.at),
        lap_axes_text(t->l, t->r.k.n, t->r.k.at), t->a_direct ? "" : " packed");
}

static lap_dim block_rows(const lap_tiles *t)
{
    return lap_dim_const(t->l->ctx, (int64_t)t->rows * t->tiles_per_block);
}

/* Loops over axes `from` .. `to` of k, from the merged coordinate `at` of those before; gives that of all. */
static lap_coord enter_k(lap_tiles *t, lap_nest *loops, uint32_t from, uint32_t to, lap_loop_kind kind,
                         lap_coord at)
{
    lap_kctx *k = t->k;
    for (uint32_t i = from; i < to; i++) {
        const lap_axis *a = &t->r.k.at[i];
        lap_coord *c = lap_tiles_coord(t, a->name);
        lap_nest_open(k, loops, kind, a->size, c);
        at = lap_coord_add(k->c, lap_coord_mul(k->c, at, lap_coord_dim(k->c, a->size)), *c);
    }
    return at;
}

static void store_a(lap_tiles *t, lap_coord at)
{
    t->k->is_lenient = t->r.is_lenient;
    lap_ref v = lap_factors_value(t->k, &t->r.a, &t->env, LAP_NONE, t->r.has_ragged_k);
    t->k->is_lenient = false;
    lap_k_store(t->k->k, t->a_scratch, lap_coord_ref(t->k->c, at), v, LAP_NONE);
}

/* One row of the block after the other, lanes along k. */
static void pack_rows(lap_tiles *t)
{
    lap_kctx *k = t->k;
    lap_coord row;
    lap_k_loop rows =
        lap_kctx_for(k, LAP_LOOP_SERIAL, block_rows(t), lap_coord_ref(k->c, t->m_rows), 0, NULL, &row);
    lap_tiles_split(t, t->m, lap_coord_add(k->c, t->m0, row));
    lap_nest loops = {0};
    uint32_t last = t->r.k.n - 1;
    lap_coord at = enter_k(t, &loops, 0, last, LAP_LOOP_SERIAL, lap_coord_const(k->c, 0));
    at = enter_k(t, &loops, last, last + 1, LAP_LOOP_VECTOR, at);
    store_a(t, lap_coord_add(k->c, lap_coord_mul(k->c, row, lap_coord_dim(k->c, t->k_total)), at));
    lap_nest_close(k, &loops);
    lap_kctx_end(k, &rows, NULL, NULL);
}

/* Lanes along m's last axis: the rows of the block are cut where it begins anew. Inside runs the last axis
 * of k, which borders of windows do not depend on. */
static void pack_across(lap_tiles *t)
{
    lap_kctx *k = t->k;
    lap_coords *c = k->c;
    lap_dim size = t->m.at[t->m.n - 1].size, one = lap_dim_const(t->l->ctx, 1);
    lap_coord width = lap_coord_dim(c, size), end = lap_coord_add(c, t->m0, t->m_rows), cut, lane;
    lap_coord first = lap_coord_floordiv(c, t->m0, width);
    lap_coord last = lap_coord_floordiv(c, lap_coord_sub(c, end, lap_coord_const(c, 1)), width);
    lap_coord n = lap_coord_add(c, lap_coord_sub(c, last, first), lap_coord_const(c, 1));
    lap_dim most = lap_dim_add(t->l->ctx, lap_dim_ceildiv(t->l->ctx, block_rows(t), size), one);
    lap_k_loop cuts = lap_kctx_for(k, LAP_LOOP_SERIAL, most, lap_coord_ref(c, n), 0, NULL, &cut);
    lap_coord outer = lap_coord_add(c, first, cut), begin = lap_coord_mul(c, outer, width);
    lap_coord from = lap_coord_max(c, t->m0, begin),
              to = lap_coord_min(c, end, lap_coord_add(c, begin, width));
    lap_tiles_split(t, (lap_axis_list){t->m.n - 1, t->m.at}, outer);
    lap_nest loops = {0};
    lap_coord at = enter_k(t, &loops, 0, t->r.k.n - 1, LAP_LOOP_SERIAL, lap_coord_const(c, 0));
    lap_k_loop lanes = lap_kctx_for(k, LAP_LOOP_VECTOR, block_rows(t),
                                    lap_coord_ref(c, lap_coord_sub(c, to, from)), 0, NULL, &lane);
    lap_coord inner = lap_coord_add(c, lap_coord_sub(c, from, begin), lane);
    *lap_tiles_coord(t, t->m.at[t->m.n - 1].name) = lap_coord_var(c, lap_coord_ref(c, inner), size);
    lap_nest inside = {0};
    at = enter_k(t, &inside, t->r.k.n - 1, t->r.k.n, LAP_LOOP_SERIAL, at);
    at = lap_coord_mul(c, at, lap_coord_dim(c, block_rows(t)));
    store_a(t, lap_coord_add(c, at, lap_coord_add(c, lap_coord_sub(c, from, t->m0), lane)));
    lap_nest_close(k, &inside);
    lap_kctx_end(k, &lanes, NULL, NULL);
    lap_nest_close(k, &loops);
    lap_kctx_end(k, &cuts, NULL, NULL);
}

static bool varies_over(const lap_node *n, const lap_axis *axes, uint32_t n_axes)
{
    for (uint32_t i = 0; i < n_axes; i++) {
        if (lap_node_axis(n, axes[i].name) != NULL) {
            return true;
        }
    }
    return false;
}

/* Rows of the block up to the count of a ragged axis of m: what is not there is not computed. A block that
 * reaches into the next round of the axes before it keeps all its rows. */
static lap_coord rows_there(lap_tiles *t)
{
    lap_kctx *k = t->k;
    lap_coords *c = k->c;
    uint32_t i = 0;
    while (i < t->m.n && !lap_ref_some(t->m.at[i].count)) {
        i++;
    }
    bool counts_rounds = t->l->target->group_size > 0; /* a device has no bound for what is read */
    if (counts_rounds || i == t->m.n ||
        varies_over(lap_node_at(t->l->g, t->m.at[i].count), t->m.at + i, t->m.n - i)) {
        return t->m_rows;
    }
    const lap_axis *a = &t->m.at[i];
    lap_axis_list inner = {t->m.n - i - 1, t->m.at + i + 1};
    lap_coord step = lap_coord_dim(c, lap_axes_product(t->l, inner));
    lap_coord round = lap_coord_mul(c, lap_coord_dim(c, a->size), step);
    lap_coord start = i == 0 ? t->m0 : lap_coord_mod(c, t->m0, round);
    lap_tiles_split(t, t->m, t->m0);
    lap_ref count = lap_axis_extent(k, a, t->env.n, t->axes, t->coords, LAP_NONE);
    lap_coord there = lap_coord_sub(c, lap_coord_mul(c, lap_coord_opaque(c, count), step), start);
    lap_coord rows = lap_coord_clamp(c, there, t->m_rows);
    if (i == 0) {
        return rows;
    }
    lap_ref is_inside = lap_map2(k->k, LAP_FN_LE, lap_coord_ref(c, lap_coord_add(c, start, t->m_rows)),
                                 lap_coord_ref(c, round));
    return lap_coord_opaque(
        c, lap_map3(k->k, LAP_FN_SELECT, is_inside, lap_coord_ref(c, rows), lap_coord_ref(c, t->m_rows)));
}

void lap_tiles_grid(lap_tiles *t, lap_dim extra, lap_coord *out_extra)
{
    lap_dim sizes[66];
    lap_coord at[66];
    for (uint32_t i = 0; i < t->n_outer; i++) {
        sizes[i] = t->outer[i].size;
    }
    /* blocks of m pass fastest: the panels of B stay in cache for all of them */
    sizes[t->n_outer] = extra;
    sizes[t->n_outer + 1] = lap_dim_ceildiv(t->l->ctx, t->m_total, block_rows(t));
    lap_coord flat = lap_kctx_grid(t->k, lap_dims_product(t->l->ctx, t->n_outer + 2, sizes));
    lap_coord_split(t->k, flat, t->n_outer + 2, sizes, at);
    for (uint32_t i = 0; i < t->n_outer; i++) {
        *lap_tiles_coord(t, t->outer[i].name) = at[i];
    }
    t->m0 = lap_coord_mul(t->k->c, at[t->n_outer + 1], lap_coord_dim(t->k->c, block_rows(t)));
    t->m_rows = lap_coord_clip(t->k, t->m_total, t->m0, (int64_t)t->rows * t->tiles_per_block);
    t->m_rows = rows_there(t);
    *out_extra = at[t->n_outer];
    if (t->a_direct) {
        LAP_ENSURE(a_is_affine(t)); /* now at the grid's coordinates */
        return;
    }
    t->a_scratch =
        lap_kctx_scratch(t->k, lap_packed_as(t->dot), lap_dim_mul(t->l->ctx, block_rows(t), t->k_total));
    (t->a_across ? pack_across : pack_rows)(t);
}

lap_coord lap_tiles_n(lap_tiles *t)
{
    lap_coords *c = t->k->c;
    return lap_coord_floordiv(c, lap_coord_add(c, t->m_rows, lap_coord_const(c, t->rows - 1)),
                              lap_coord_const(c, t->rows));
}

lap_coord lap_tiles_rows(lap_tiles *t, lap_coord tile)
{
    lap_coords *c = t->k->c;
    lap_coord inside = lap_coord_mul(c, tile, lap_coord_const(c, t->rows));
    return lap_coord_min(c, lap_coord_sub(c, t->m_rows, inside), lap_coord_const(c, t->rows));
}

void lap_tiles_mma(lap_tiles *t, lap_coord tile, lap_ref acc, lap_coord acc0, lap_dim ld, const lap_panels *b,
                   lap_coord b0)
{
    lap_kctx *k = t->k;
    lap_coords *c = k->c;
    lap_coord inside = lap_coord_mul(c, tile, lap_coord_const(c, t->rows));
    lap_coord row = lap_coord_add(c, t->m0, inside);
    lap_dim one = lap_dim_const(t->l->ctx, 1);
    lap_dim sm = t->a_direct ? t->a_sm : t->a_across ? one : t->k_total;
    lap_dim sk = t->a_direct ? t->a_sk : t->a_across ? block_rows(t) : one;
    lap_coord a0 = t->a_direct ? lap_coord_add(c, t->a_rest, lap_coord_mul(c, row, lap_coord_dim(c, sm)))
                               : lap_coord_mul(c, inside, lap_coord_dim(c, sm));
    lap_k_mma(k->k, &(lap_k_mma_args){.acc = acc,
                                      .acc0 = lap_coord_ref(c, acc0),
                                      .ld = lap_dim_node(k->k, ld),
                                      .a = t->a_direct ? lap_kctx_buffer(k, t->a_buffer) : t->a_scratch,
                                      .a0 = lap_coord_ref(c, a0),
                                      .sm = lap_dim_node(k->k, sm),
                                      .sk = lap_dim_node(k->k, sk),
                                      .m = lap_coord_ref(c, lap_tiles_rows(t, tile)),
                                      .b = lap_panels_buffer(k, b),
                                      .b0 = lap_coord_ref(c, b0),
                                      .sb = lap_dim_node(k->k, b->stride),
                                      .depth = lap_dim_node(k->k, t->k_total),
                                      .rows = t->rows,
                                      .cols = t->cols,
                                      .init = true,
                                      .dot = t->dot});
}
