/* SPDX-License-Identifier: Apache-2.0
 * lower_near.c - attend over windows of a grid (near.h): neighbourhood attention in 1, 2 or 3 axes.
 *
 *   grid: batch x residues x runs of queries
 *     for blocks of a few rows of queries: the rows of K and V that its windows need beyond those before it
 * come into rings in scratch: K as planes by channel, V as rows of channels for vectors of queries across: S
 * = Q K', and after the edits and weights the results, P V
 *
 * For a vector of queries the keys at one offset are one shifted vector, so nothing outside the windows is
 * computed. Clamped windows are made runs of places too: see lap_near_pad. With one axis only, lanes are far
 * segments of it, no vector is unaligned, and scratch holds the whole run; with three the ring is of outer
 * rows. Dilation is residues, each with strips of its own. Strides are masks: see near.h. */
#include "passes/attend.h"
#include "passes/near_job.h"

#include <string.h>

enum { USUAL_ROWS = 64 }; /* of a grid, for the choice of blocks */

lap_coord lap_near_i(lap_near_job *j, int64_t v) { return lap_coord_const(j->k->c, v); }
lap_dim lap_near_d(lap_near_job *j, int64_t v) { return lap_dim_const(j->l->ctx, v); }
lap_coord lap_near_sum(lap_near_job *j, lap_coord a, lap_coord b) { return lap_coord_add(j->k->c, a, b); }
lap_coord lap_near_times(lap_near_job *j, lap_coord a, lap_coord b) { return lap_coord_mul(j->k->c, a, b); }

void lap_near_set(lap_near_job *j, lap_name name, lap_coord at)
{
    const lap_axis *a = lap_axis_find(j->axes, j->n_axes, name);
    LAP_ENSURE(a != NULL);
    j->env[a - j->axes] = at;
}

void lap_near_set_query(lap_near_job *j, int axis, lap_coord p)
{
    const lap_near_axis *a = &j->near.axis[axis];
    lap_near_set(j, a->grid, lap_near_sum(j, lap_near_times(j, p, lap_near_i(j, a->step)), j->r[axis]));
}

const lap_coord *lap_near_env(lap_near_job *j, lap_ref node)
{
    return lap_env_for(j->k, node, j->n_axes, j->axes, j->env);
}

lap_coord lap_near_s(lap_near_job *j, lap_coord t, lap_coord wz, lap_coord wy, lap_coord wx, lap_coord lane)
{
    lap_coord flat = lap_near_sum(j, lap_near_times(j, t, lap_near_i(j, j->kz)), wz);
    flat = lap_near_sum(j, lap_near_times(j, flat, lap_near_i(j, j->ky)), wy);
    flat = lap_near_sum(j, lap_near_times(j, flat, lap_near_i(j, j->kx)), wx);
    return lap_near_sum(j, lap_near_times(j, flat, lap_near_i(j, j->lanes)), lane);
}

lap_coord lap_near_at(lap_near_job *j, const lap_near_strip *strip, const lap_near_spot *at)
{
    lap_coord slot =
        strip->n_slots == 0 ? at->slot : lap_coord_mod(j->k->c, at->slot, lap_near_i(j, strip->n_slots));
    lap_coord row =
        strip->n_rows == 0 ? at->row : lap_coord_mod(j->k->c, at->row, lap_near_i(j, strip->n_rows));
    lap_coord flat = lap_near_times(j, slot, lap_coord_dim(j->k->c, strip->slot));
    flat = lap_near_sum(j, flat, lap_near_times(j, row, lap_coord_dim(j->k->c, strip->row)));
    flat = lap_near_sum(j, flat, lap_near_times(j, at->part, lap_coord_dim(j->k->c, strip->part)));
    flat = lap_near_sum(j, flat, lap_near_times(j, at->plane, lap_coord_dim(j->k->c, strip->plane)));
    lap_coord column = lap_near_sum(j, at->column, lap_near_i(j, strip->lead));
    return lap_near_sum(j, flat, lap_near_times(j, column, lap_coord_dim(j->k->c, strip->column)));
}

static lap_coord pick(lap_near_job *j, lap_fn fn, lap_coord a, lap_coord b, lap_coord yes, lap_coord no)
{
    lap_coords *c = j->k->c;
    lap_ref cond = lap_map2(j->k->k, fn, lap_coord_ref(c, a), lap_coord_ref(c, b));
    return lap_coord_opaque(
        c, lap_map3(j->k->k, LAP_FN_SELECT, cond, lap_coord_ref(c, yes), lap_coord_ref(c, no)));
}

/* A window that is clamped to start at `lo` sees lo .. lo + count - 1; unclamped it would be count places in
 * a row, some below lo. Those are taken to hold key lo + (place - lo) mod count: the same set. */
lap_coord lap_near_pad(lap_near_job *j, int axis, lap_coord u)
{
    lap_coords *c = j->k->c;
    const lap_coord_window *w = &j->window[axis];
    lap_coord count = lap_near_i(j, j->near.axis[axis].places), place = u;
    if (w->has_lo) {
        lap_coord lo = w->has_hi ? lap_coord_min(c, w->lo, w->hi) : w->lo;
        lap_coord wrapped = lap_near_sum(j, lo, lap_coord_mod(c, lap_coord_sub(c, u, lo), count));
        place = pick(j, LAP_FN_LT, u, lo, wrapped, place);
    }
    if (w->has_hi) {
        lap_coord end = lap_near_sum(j, w->hi, count);
        lap_coord wrapped = lap_near_sum(j, w->hi, lap_coord_mod(c, lap_coord_sub(c, place, w->hi), count));
        place = pick(j, LAP_FN_GE, place, end, wrapped, place);
    }
    return place;
}

lap_coord lap_near_row(lap_near_job *j, lap_coord t, lap_coord lane)
{
    lap_coord p = lap_near_sum(j, lap_near_sum(j, j->start[j->t], j->row), t);
    return j->is_folded ? lap_near_sum(j, p, lap_near_times(j, lane, lap_coord_dim(j->k->c, j->segment))) : p;
}

void lap_near_set_row(lap_near_job *j, lap_coord t, lap_coord lane)
{
    if (j->z >= 0) {
        lap_near_set_query(j, j->z, j->start[j->z]);
    }
    lap_near_set_query(j, j->t, lap_near_row(j, t, lane));
    if (j->x >= 0) {
        lap_near_set_query(j, j->x, lap_near_lane(j, lane));
    }
}

lap_coord lap_near_lane(lap_near_job *j, lap_coord lane)
{
    lap_coord first = lap_near_times(j, j->tile, lap_near_i(j, j->lanes));
    return lap_near_sum(j, lap_near_sum(j, j->start[j->x], first), lane);
}

lap_coord lap_near_across(lap_near_job *j)
{
    lap_coord left = lap_coord_sub(j->k->c, j->limit[j->x], j->start[j->x]);
    return lap_coord_min(j->k->c, left, lap_near_i(j, j->span[j->x]));
}

lap_coord lap_near_lanes(lap_near_job *j, lap_coord t)
{
    lap_coords *c = j->k->c;
    lap_coord zero = lap_near_i(j, 0), most = lap_near_i(j, j->lanes);
    if (!j->is_folded) {
        return lap_coord_min(c, lap_coord_sub(c, j->limit[j->x], lap_near_lane(j, zero)), most);
    }
    lap_dim up = lap_dim_sub(j->l->ctx, j->segment, lap_near_d(j, 1));
    lap_coord left = lap_coord_sub(c, j->limit[j->t], lap_near_row(j, t, zero));
    left = lap_near_sum(j, left, lap_coord_dim(c, up));
    return lap_coord_min(c, lap_coord_floordiv(c, left, lap_coord_dim(c, j->segment)), most);
}

lap_coord lap_near_rows(lap_near_job *j)
{
    lap_coord left = lap_coord_sub(j->k->c, j->n_rows, j->row);
    return lap_coord_min(j->k->c, left, lap_near_i(j, j->rows));
}

/* ---- the schedule ---- */

/* The time of some loads and multiplications, two of either at once; a load across two lines of the cache
 * takes three times as long. Of two equal ones the one with fewer loads is better. */
static int64_t time_of(int64_t aligned, int64_t shifted, int64_t sums)
{
    enum { FINE = 16 };
    int64_t loads = aligned + 3 * shifted;
    return (loads > sums ? loads : sums) * FINE + loads;
}

/* A step of the sum over `cols` keys of each of `rows` queries, for all rows of the window (lap_near_scores).
 */
static int64_t score_step_time(const lap_near_job *j, int64_t rows, int64_t cols)
{
    if (j->is_folded) {
        return time_of(rows + cols - 1 + rows, 0, rows * cols);
    }
    int64_t time = 0;
    for (int64_t i = 0; i < j->ky; i++) {
        int64_t groups = i < rows - 1 ? (rows - 1 - i + j->ky - 1) / j->ky + 1 : 1;
        time += time_of(rows, groups * cols, rows * cols);
    }
    return time;
}

enum { SHARE = 4096 }; /* unit of the cost of one pair */

/* Of a pair and a channel of its score. */
static int64_t score_cost(const lap_near_job *j, int64_t rows, int64_t cols)
{
    int64_t rest = j->kx % cols, time = j->kx / cols * score_step_time(j, rows, cols);
    time += rest > 0 ? score_step_time(j, rows, rest) : 0;
    int64_t blocks = (USUAL_ROWS + rows - 1) / rows;
    return time * SHARE * blocks / (USUAL_ROWS * j->kx * j->ky);
}

/* Of a pair and a vector of channels of its value; a sum takes HIDES multiplications to be ready again. */
static int64_t tile_cost(const lap_near_job *j, int64_t queries, int64_t vectors)
{
    enum { HIDES = 10 };
    int64_t sums = queries * vectors, keys = j->keys_at_once;
    int64_t loads = (queries + keys - 1) * vectors + queries * keys, all = sums * keys;
    return time_of(loads, 0, sums < HIDES ? HIDES * keys : all) * SHARE / all;
}

/* Vectors of channels for a tile of so many queries, and the cost. */
static int64_t choose_vectors(lap_near_job *j, int64_t queries, int64_t *out_vectors)
{
    enum { USUAL_WIDE = 32 };
    int64_t best = INT64_MAX, wide = USUAL_WIDE;
    lap_dim_is_const(j->l->ctx, j->n_wide, &wide);
    wide = (wide + j->lanes - 1) / j->lanes;
    for (int64_t vectors = 1; wide % vectors == 0; vectors *= 2) {
        bool fits = queries * vectors + vectors + 1 <= j->l->target->n_registers;
        int64_t cost = fits || vectors == 1 ? tile_cost(j, queries, vectors) : INT64_MAX;
        if (cost < best) {
            best = cost;
            *out_vectors = vectors;
        }
    }
    return best;
}

static int64_t choose_tile(lap_near_job *j, int64_t queries)
{
    int64_t vectors = 1, best = INT64_MAX;
    for (int64_t n = j->is_folded ? queries : 1; n <= (j->is_folded ? queries : j->lanes); n *= 2) {
        int64_t cost = choose_vectors(j, n, &vectors);
        if (cost < best) {
            best = cost;
            j->queries_at_once = n;
            j->vectors = vectors;
        }
    }
    return best;
}

/* Register blocks; folded, those of weighing have the rows of those of the scores. */
static void choose_blocks(lap_near_job *j)
{
    enum { MOST_ROWS = 8, MOST_KEYS = 8, MANY = 32 };
    int64_t best = INT64_MAX, most = j->l->target->n_registers;
    most -= most < MANY ? 1 : 0; /* for the key; of many registers one sum may as well lie in memory */
    int64_t parts = (j->kx + MOST_KEYS - 1) / MOST_KEYS;
    j->keys_at_once = (j->kx + parts - 1) / parts;
    for (int64_t rows = 1; rows <= MOST_ROWS; rows++) {
        int64_t tile = choose_tile(j, rows);
        for (int64_t cols = 1; cols <= j->kx && rows * cols + rows <= most; cols++) {
            int64_t cost = tile + score_cost(j, rows, cols);
            if (cost < best) {
                best = cost;
                j->rows = rows;
                j->cols = cols;
            }
        }
    }
    choose_tile(j, j->rows);
}

static void choose(lap_near_job *j)
{
    const lap_near_axis *a = j->near.axis;
    int n = (int)j->near.n;
    j->is_folded = n == 1;
    j->z = n == 3 ? 0 : -1;
    j->t = n == 3 ? 1 : 0;
    j->x = n - 1 > j->t ? n - 1 : -1;
    j->kz = j->z >= 0 ? a[j->z].count : 1;
    j->ky = j->is_folded ? 1 : a[j->t].places;
    j->kx = a[n - 1].places;
    j->lanes = j->l->target->vector_f32;
    choose_blocks(j);
    j->tiles = lap_knob_value(j->l, j->z >= 0 ? LAP_KNOB_NEAR_TILES_OUTER : LAP_KNOB_NEAR_TILES);
    j->tiles = j->is_folded ? 1 : j->tiles;
    j->run = lap_knob_value(j->l, j->z >= 0 ? LAP_KNOB_NEAR_RUN_INNER : LAP_KNOB_NEAR_RUN);
    int64_t least = j->is_folded ? 4 * j->kx : j->ky; /* windows that a run repeats from the one before */
    j->run = j->run < least ? least : j->run;
    j->run = (j->run + j->rows - 1) / j->rows * j->rows;
    j->z_run = j->z >= 0 ? lap_knob_value(j->l, LAP_KNOB_NEAR_RUN_OUTER) : 1;
    j->columns = j->is_folded ? j->lanes : j->tiles * j->lanes + j->kx - 1;
}

/* ---- the kernel ---- */

static lap_dim list_product(lap_near_job *j, lap_axis_list list)
{
    lap_dim all = lap_near_d(j, 1);
    for (uint32_t i = 0; i < list.n; i++) {
        all = lap_dim_mul(j->l->ctx, all, list.at[i].size);
    }
    return all;
}

static void collect(lap_near_job *j)
{
    const lap_axis_list lists[3] = {j->near.batch, j->near.depth, j->near.wide};
    uint32_t most = 2 * j->near.n;
    for (int i = 0; i < 3; i++) {
        most += lists[i].n;
    }
    j->axes = lap_arena_array(j->l->ctx->arena, most, sizeof *j->axes);
    j->env = lap_arena_array(j->l->ctx->arena, most, sizeof *j->env);
    for (int i = 0; i < 3; i++) {
        for (uint32_t a = 0; a < lists[i].n; a++) {
            j->axes[j->n_axes++] = lists[i].at[a];
        }
    }
    for (uint32_t i = 0; i < j->near.n; i++) {
        const lap_near_axis *a = &j->near.axis[i];
        j->axes[j->n_axes++] = (lap_axis){.name = a->grid, .size = a->size};
        j->axes[j->n_axes++] = (lap_axis){.name = a->key, .size = lap_near_d(j, a->count)};
    }
    for (uint32_t i = 0; i < j->n_axes; i++) {
        j->env[i] = lap_near_i(j, 0);
    }
}

static lap_dim residue_size(lap_near_job *j, int axis)
{
    const lap_near_axis *a = &j->near.axis[axis];
    return lap_dim_ceildiv(j->l->ctx, a->size, lap_near_d(j, a->step));
}

/* Odd, so that the lanes' places do not fall into one set of a cache. */
static lap_dim segment_size(lap_near_job *j)
{
    lap_ctx *ctx = j->l->ctx;
    lap_dim least = lap_dim_ceildiv(ctx, residue_size(j, j->t), lap_near_d(j, j->lanes));
    lap_dim half = lap_dim_floordiv(ctx, least, lap_near_d(j, 2));
    return lap_dim_add(ctx, lap_dim_mul(ctx, half, lap_near_d(j, 2)), lap_near_d(j, 1));
}

/* Opens the grid; sets batch, residues, and the first query of the run along each axis. */
static void open_grid(lap_near_job *j)
{
    lap_ctx *ctx = j->l->ctx;
    uint32_t nb = j->near.batch.n, n = nb;
    lap_dim *sizes = lap_arena_array(ctx->arena, nb + 7, sizeof *sizes);
    lap_coord *at = lap_arena_array(ctx->arena, nb + 7, sizeof *at);
    for (uint32_t i = 0; i < nb; i++) {
        sizes[i] = j->near.batch.at[i].size;
    }
    for (uint32_t i = 0; i < j->near.n; i++) {
        sizes[n++] = lap_near_d(j, j->near.axis[i].step);
    }
    for (uint32_t i = 0; i < j->near.n; i++) {
        j->span[i] = (int)i == j->z ? j->z_run : (int)i == j->t ? j->run : j->tiles * j->lanes;
        lap_dim length = j->is_folded ? j->segment : residue_size(j, (int)i);
        sizes[n++] = lap_dim_ceildiv(ctx, length, lap_near_d(j, j->span[i]));
    }
    lap_coord flat = lap_kctx_grid(j->k, lap_dims_product(ctx, n, sizes));
    lap_coord_split(j->k, flat, n, sizes, at);
    for (uint32_t i = 0; i < nb; i++) {
        lap_near_set(j, j->near.batch.at[i].name, at[i]);
    }
    for (uint32_t i = 0; i < j->near.n; i++) {
        const lap_near_axis *a = &j->near.axis[i];
        lap_dim step = lap_near_d(j, a->step);
        lap_coord residue = lap_coord_var(j->k->c, lap_coord_ref(j->k->c, at[nb + i]), step);
        j->r[i] = a->step == 1 ? lap_near_i(j, 0) : residue;
        j->start[i] = lap_near_times(j, at[nb + j->near.n + i], lap_near_i(j, j->span[i]));
        lap_coord up = lap_coord_dim(j->k->c, lap_dim_add(ctx, a->size, lap_near_d(j, a->step - 1)));
        j->limit[i] =
            lap_coord_floordiv(j->k->c, lap_coord_sub(j->k->c, up, j->r[i]), lap_near_i(j, a->step));
        LAP_ENSURE(lap_near_window(j->k, a, j->r[i], &j->window[i]));
    }
}

/* Whether the run has any query. */
static lap_ref has_queries(lap_near_job *j)
{
    lap_ref ok = LAP_NONE;
    for (uint32_t i = 0; i < j->near.n; i++) {
        lap_ref one = lap_map2(j->k->k, LAP_FN_LT, lap_coord_ref(j->k->c, j->start[i]),
                               lap_coord_ref(j->k->c, j->limit[i]));
        ok = lap_mask_both(j->k, ok, one);
    }
    return ok;
}

lap_region_id lap_near_begin_if(lap_near_job *j, lap_ref cond)
{
    lap_region_id region = lap_k_if(j->k->k, cond);
    j->k->stack[j->k->depth++] = region;
    return region;
}

void lap_near_end_if(lap_near_job *j, lap_region_id region, lap_ref cond)
{
    lap_k_end_if(j->k->k, region, cond);
    j->k->depth--;
}

/* Whether the value is the same for all pairs of a batch. */
static bool is_of_batch(lap_near_job *j, lap_ref r)
{
    const lap_node *n = lap_node_at(j->l->g, r);
    bool is = n->dtype == LAP_F32;
    for (uint32_t a = 0; a < n->n_axes; a++) {
        is = is && lap_axis_find(j->near.batch.at, j->near.batch.n, n->axes[a].name) != NULL;
    }
    return is;
}

static bool is_inline(lap_near_job *j, lap_ref r, lap_fn fn)
{
    const lap_node *n = lap_node_at(j->l->g, r);
    return lap_plan_of(j->l, r)->kind == LAP_STORE_INLINE && n->op == LAP_OP_MAP && n->dtype == LAP_F32 &&
           lap_attr_i(n, LAP_ATTR_FN, 0) == fn;
}

static void multiply_factor(lap_near_job *j, lap_ref by)
{
    lap_ref v = lap_pull_ref(j->k, by, lap_near_env(j, by), LAP_NONE);
    j->factor = lap_ref_some(j->factor) ? lap_map2(j->k->k, LAP_FN_MUL, j->factor, v) : v;
}

/* What only scales all scores of a batch leaves the side; it is multiplied to the finished sums. */
static lap_ref take_factor(lap_near_job *j, lap_ref side)
{
    const lap_node *n = lap_node_at(j->l->g, side);
    for (uint32_t i = 0; i < 2 && is_inline(j, side, LAP_FN_MUL); i++) {
        if (is_of_batch(j, n->args[i])) {
            multiply_factor(j, n->args[i]);
            return take_factor(j, n->args[1 - i]);
        }
    }
    return side;
}

/* The product as the score reads it: scaled, where the score is that, or that plus what is free of it. */
static lap_ref take_scaled(lap_near_job *j, lap_ref score)
{
    const lap_node *n = lap_node_at(j->l->g, score);
    const lap_name *names;
    for (uint32_t i = 0; i < 2 && is_inline(j, score, LAP_FN_MUL); i++) {
        if (lap_ref_same(n->args[i], j->near.contraction) && is_of_batch(j, n->args[1 - i])) {
            multiply_factor(j, n->args[1 - i]);
            return score;
        }
    }
    for (uint32_t i = 0; i < 2 && is_inline(j, score, LAP_FN_ADD); i++) {
        if (is_inline(j, n->args[i], LAP_FN_MUL) &&
            !lap_plan_trace(j->l, j->near.contraction, n->args[1 - i], &names)) {
            return take_scaled(j, n->args[i]);
        }
    }
    return j->near.contraction;
}

/* Queries and keys: neighbouring places lie together, a row's planes after one another, or, where several
 * rows are read at once, planes of all rows. An odd number of vectors, since the planes of one place are read
 * one after the other and should not fall into few sets of a cache. */
static lap_near_strip make_planes(lap_near_job *j, int64_t before, int64_t columns, int64_t rows,
                                  int64_t slots, bool has_rows)
{
    lap_ctx *ctx = j->l->ctx;
    int64_t lead = (before + j->lanes - 1) / j->lanes * j->lanes - before;
    int64_t vectors = (lead + columns + j->lanes - 1) / j->lanes, plane = (has_rows ? rows : 1) * vectors | 1;
    lap_near_strip s = {
        .column = lap_near_d(j, 1), .part = lap_near_d(j, 0), .plane = lap_near_d(j, plane * j->lanes)};
    s.lead = lead;
    s.row = has_rows ? lap_near_d(j, vectors * j->lanes) : lap_dim_mul(ctx, j->n_depth, s.plane);
    s.slot = lap_dim_mul(ctx, lap_dim_mul(ctx, j->n_depth, s.plane), lap_near_d(j, has_rows ? 1 : rows));
    s.strip = lap_kctx_scratch(j->k, LAP_F32, lap_dim_mul(ctx, lap_near_d(j, slots), s.slot));
    return s;
}

/* Values: the channels of a register tile lie together, then neighbouring places; folded: rows. */
static lap_near_strip make_values(lap_near_job *j, int64_t columns, int64_t rows, int64_t slots)
{
    lap_ctx *ctx = j->l->ctx;
    lap_near_strip s = {.width = j->vectors * j->lanes, .plane = lap_near_d(j, 1)};
    lap_dim width = lap_near_d(j, s.width), parts = lap_dim_ceildiv(ctx, j->n_wide, width);
    s.column = lap_near_d(j, j->is_folded ? rows * s.width : s.width);
    s.row = lap_near_d(j, j->is_folded ? s.width : columns * s.width);
    s.slot = lap_near_d(j, rows * columns * s.width);
    s.part = lap_near_d(j, slots * rows * columns * s.width);
    s.strip = lap_kctx_scratch(j->k, LAP_F32, lap_dim_mul(ctx, parts, s.part));
    return s;
}

static void make_strips(lap_near_job *j)
{
    bool by_rows = !j->is_folded && j->z < 0;
    int64_t ring = j->rows + j->ky - 1, rows = by_rows ? ring : j->run + j->near.axis[j->t].places - 1;
    int64_t before = j->is_folded ? 0 : j->near.axis[j->x].back;
    j->queries_in = make_planes(j, 0, j->lanes, j->rows, 1, true);
    j->keys_in = make_planes(j, before, j->columns, rows, j->kz, j->is_folded);
    j->values_in = make_values(j, j->columns, rows, j->kz);
    j->keys_in.n_slots = j->values_in.n_slots = j->z >= 0 ? j->kz : 0;
    j->keys_in.n_rows = j->values_in.n_rows = by_rows ? ring : 0;
}

static void make_scratch(lap_near_job *j)
{
    lap_dim rows = lap_near_d(j, j->rows * j->lanes);
    make_strips(j);
    j->s = lap_kctx_scratch(j->k, LAP_F32, lap_near_d(j, j->rows * j->lanes * j->kz * j->ky * j->kx));
    j->top = lap_kctx_scratch(j->k, LAP_F32, rows);
    j->scale = lap_kctx_scratch(j->k, LAP_F32, rows);
}

/* What the windows from number `i` on need beyond those before it: `from` .. `to` - 1. */
static lap_near_range beyond(lap_near_job *j, lap_coord i, lap_coord before, lap_coord to)
{
    lap_coord none = lap_near_i(j, 0);
    return (lap_near_range){pick(j, LAP_FN_GT, i, none, before, none), to};
}

/* The extent of a loop that goes round at least once: where it can be no more, that is known. */
static lap_ref several(lap_near_job *j, lap_coord n, int64_t most)
{
    return most == 1 ? LAP_NONE : lap_coord_ref(j->k->c, n);
}

static void run_block(lap_near_job *j, lap_coord block)
{
    lap_kctx *k = j->k;
    lap_coords *c = k->c;
    j->row = lap_near_times(j, block, lap_near_i(j, j->rows));
    if (j->keys_in.n_rows > 0) {
        lap_coord more = lap_near_i(j, j->ky - 1), none = lap_near_i(j, 0);
        lap_coord end = lap_near_sum(j, lap_near_sum(j, j->row, lap_near_rows(j)), more);
        lap_near_pack_keys(j, (lap_near_range){none, lap_near_i(j, 1)},
                           beyond(j, block, lap_near_sum(j, j->row, more), end));
    }
    lap_coord tiles = lap_near_i(j, 1);
    if (j->x >= 0) {
        tiles = lap_near_sum(j, lap_near_across(j), lap_near_i(j, j->lanes - 1));
        tiles = lap_coord_floordiv(c, tiles, lap_near_i(j, j->lanes));
    }
    lap_k_loop across = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_near_d(j, j->tiles), several(j, tiles, j->tiles),
                                     0, NULL, &j->tile);
    lap_near_pack_queries(j);
    lap_near_scores(j);
    lap_near_normalise(j);
    lap_near_weigh(j);
    lap_kctx_end(k, &across, NULL, NULL);
}

/* Outer row z of the run, whose first is `first`. */
static void set_outer(lap_near_job *j, lap_coord first, lap_coord z)
{
    lap_coords *c = j->k->c;
    const lap_near_axis *a = &j->near.axis[j->z];
    lap_coord before = lap_near_sum(j, lap_near_sum(j, first, z), lap_near_i(j, -1));
    lap_coord last = lap_coord_sub(c, lap_near_first(j->k, a, before, j->r[j->z]), j->z_first);
    j->start[j->z] = lap_near_sum(j, first, z);
    j->z_slot = lap_coord_sub(c, lap_near_first(j->k, a, j->start[j->z], j->r[j->z]), j->z_first);
    lap_coord more = lap_near_i(j, j->kz), rows = lap_near_sum(j, j->n_rows, lap_near_i(j, j->ky - 1));
    lap_near_pack_keys(j, beyond(j, z, lap_near_sum(j, last, more), lap_near_sum(j, j->z_slot, more)),
                       (lap_near_range){lap_near_i(j, 0), rows});
}

static void run(lap_near_job *j)
{
    lap_kctx *k = j->k;
    lap_coords *c = k->c;
    lap_coord zero = lap_near_i(j, 0), z = zero, end = j->limit[j->t], block;
    if (j->is_folded) {
        end = lap_coord_min(c, end, lap_coord_dim(c, j->segment));
    }
    j->n_rows = lap_coord_min(c, lap_coord_sub(c, end, j->start[j->t]), lap_near_i(j, j->span[j->t]));
    j->n_outer = lap_near_i(j, 1);
    j->z_slot = zero;
    if (j->z >= 0) {
        lap_coord left = lap_coord_sub(c, j->limit[j->z], j->start[j->z]);
        j->n_outer = lap_coord_min(c, left, lap_near_i(j, j->span[j->z]));
        j->z_first = lap_near_first(k, &j->near.axis[j->z], j->start[j->z], j->r[j->z]);
    }
    j->keys = take_factor(j, j->near.k);
    j->queries = take_factor(j, j->near.q);
    j->product = take_scaled(j, j->near.score);
    lap_coord first = j->z >= 0 ? j->start[j->z] : zero;
    lap_k_loop outer = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_near_d(j, j->z_run),
                                    several(j, j->n_outer, j->z_run), 0, NULL, &z);
    if (j->z >= 0) {
        set_outer(j, first, z);
    } else if (j->is_folded) {
        lap_near_pack_keys(j, (lap_near_range){zero, lap_near_i(j, 1)},
                           (lap_near_range){zero, lap_near_sum(j, j->n_rows, lap_near_i(j, j->kx - 1))});
    }
    lap_coord n = lap_near_sum(j, j->n_rows, lap_near_i(j, j->rows - 1));
    n = lap_coord_floordiv(c, n, lap_near_i(j, j->rows));
    lap_k_loop blocks = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_near_d(j, j->run / j->rows),
                                     several(j, n, j->run / j->rows), 0, NULL, &block);
    run_block(j, block);
    lap_kctx_end(k, &blocks, NULL, NULL);
    lap_kctx_end(k, &outer, NULL, NULL);
}

bool lap_attend_near(lap_lowering *l, lap_ref attend)
{
    lap_near_job j = {.l = l, .op = attend, .n = lap_node_at(l->g, attend)};
    if (!lap_near_find(l, attend, lap_plan_of(l, attend)->anchor, &j.near)) {
        return false; /* its keys came to be stored for other readers */
    }
    j.norm = (lap_norm)lap_attr_i(j.n, LAP_ATTR_NORM, LAP_NORM_SOFTMAX);
    j.k = lap_kctx_new(l, j.n->loc);
    j.n_depth = list_product(&j, j.near.depth);
    j.n_wide = list_product(&j, j.near.wide);
    choose(&j);
    j.segment = segment_size(&j);
    collect(&j);
    open_grid(&j);
    make_scratch(&j);
    lap_ref cond = has_queries(&j);
    lap_region_id region = lap_near_begin_if(&j, cond);
    run(&j);
    lap_near_end_if(&j, region, cond);
    j.k->roles = lap_arena_printf(l->ctx->arena, "windows batch=(%s) keys=(%lld %lld %lld) block=%lldx%lld",
                                  lap_axes_text(l, j.near.batch.n, j.near.batch.at), (long long)j.kz,
                                  (long long)j.ky, (long long)j.kx, (long long)j.rows, (long long)j.cols);
    lap_kctx_launch(j.k, "attend");
    return true;
}
