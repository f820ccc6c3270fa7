/* SPDX-License-Identifier: Apache-2.0
 * attend_tiles.c - streaming attend: a block of queries against one block of keys after another.
 *
 *   pack K and V into panels; grid: batch x blocks of query rows
 *     for each block of keys (attend_block.c): S = Q K' (register tiles), score edits and mask on S in cache,
 *       running maximum, P = exp(S - max), sum, rescale only when the maximum moved, acc += P V
 *     out = acc / sum
 *
 * Takes attends of one part whose score is elementwise around one contraction of queries and keys.
 * Milakov and Gimelshein 2018 (online normaliser), Dao et al. 2022 (tiling). */
#include "passes/attend_job.h"

#include <math.h>

typedef lap_attend_job job;

enum { LEAST_EXPONENT = -90 };

static lap_ref f32(job *j, double v) { return lap_const_f(j->k->k, v); }
static lap_coord c_int(job *j, int64_t v) { return lap_coord_const(j->k->c, v); }
static lap_dim d_int(job *j, int64_t v) { return lap_dim_const(j->l->ctx, v); }

static lap_ref row_load(job *j, lap_ref buffer, lap_coord row)
{
    return lap_k_load(j->k->k, buffer, lap_coord_ref(j->k->c, row), LAP_NONE);
}

static void row_store(job *j, lap_ref buffer, lap_coord row, lap_ref v)
{
    lap_k_store(j->k->k, buffer, lap_coord_ref(j->k->c, row), v, LAP_NONE);
}

static lap_coord s_at(job *j, lap_coord row, lap_coord key)
{
    return lap_coord_add(j->k->c, lap_coord_mul(j->k->c, row, c_int(j, j->s_stride)), key);
}

static lap_coord acc_at(job *j, lap_coord row, lap_coord e)
{
    return lap_coord_add(j->k->c, lap_coord_mul(j->k->c, row, lap_coord_dim(j->k->c, j->wide)), e);
}

static lap_k_loop rows_loop(job *j, lap_coord *row)
{
    return lap_kctx_for(j->k, LAP_LOOP_SERIAL, d_int(j, lap_attend_block_rows(j)),
                        lap_coord_ref(j->k->c, j->t.m_rows), 0, NULL, row);
}

static void clear(job *j)
{
    lap_coord row, e;
    lap_k_loop rows =
        lap_kctx_for(j->k, LAP_LOOP_SERIAL, d_int(j, lap_attend_block_rows(j)), LAP_NONE, 0, NULL, &row);
    row_store(j, j->max, row, f32(j, -__builtin_inf()));
    row_store(j, j->sum, row, f32(j, 0));
    if (j->has_out) {
        lap_k_loop wide = lap_kctx_for(j->k, LAP_LOOP_VECTOR, j->wide, LAP_NONE, 0, NULL, &e);
        row_store(j, j->acc, acc_at(j, row, e), f32(j, 0));
        lap_kctx_end(j->k, &wide, NULL, NULL);
    }
    lap_kctx_end(j->k, &rows, NULL, NULL);
}

static lap_k_loop panels_loop(job *j, lap_coord *slot)
{
    return lap_kctx_for(j->k, LAP_LOOP_SERIAL, d_int(j, j->panels), lap_coord_ref(j->k->c, j->n_live), 0,
                        NULL, slot);
}

/* S = Q K' for the panels of the block; a tile without a pair keeps what it has, to be masked. */
static void multiply(job *j)
{
    lap_kctx *k = j->k;
    lap_coord slot, tile;
    lap_k_loop panels = panels_loop(j, &slot);
    lap_coord panel = lap_attend_panel(j, slot);
    lap_span keys = lap_attend_panel_keys(j, panel, 1);
    if (j->is_listed) {
        panel = lap_coord_floordiv(k->c, lap_listed_key(&j->t, &j->listed, keys.first), c_int(j, j->t.cols));
    }
    lap_coord b0 = lap_panel_offset(k, &j->kp, &j->t.env, panel);
    lap_k_loop tiles = lap_kctx_for(k, LAP_LOOP_SERIAL, d_int(j, j->t.tiles_per_block),
                                    lap_coord_ref(k->c, lap_tiles_n(&j->t)), 0, NULL, &tile);
    lap_coord at = s_at(j, lap_coord_mul(k->c, tile, c_int(j, j->t.rows)),
                        lap_coord_mul(k->c, slot, c_int(j, j->t.cols)));
    lap_ref seen = lap_attend_admits(j, lap_attend_tile_rows(j, tile), keys, LAP_OF_SOME);
    lap_region_id region = lap_attend_if(j, seen);
    lap_tiles_mma(&j->t, tile, j->s, at, d_int(j, j->s_stride), &j->kp, b0);
    lap_attend_end_if(j, region, seen);
    lap_kctx_end(k, &tiles, NULL, NULL);
    lap_kctx_end(k, &panels, NULL, NULL);
}

static lap_k_loop keys_loop(job *j, uint32_t n, const lap_ref *init, lap_coord *key)
{
    return lap_kctx_for(j->k, LAP_LOOP_VECTOR, d_int(j, j->block_keys), lap_coord_ref(j->k->c, j->keys), n,
                        init, key);
}

/* exp((score - shift) * factor), beside the largest, which is 1; the difference comes first, since masks by
 * the lowest float would overflow. What counts nothing beside it is 0: its products with values could be
 * subnormal, which processors take a hundred times longer for. */
static lap_ref power(job *j, lap_ref score, lap_ref shift)
{
    lap_graph *g = j->k->k;
    lap_ref x = lap_map2(g, LAP_FN_MUL, lap_map2(g, LAP_FN_SUB, score, shift), f32(j, j->factor * M_LOG2E));
    return lap_map3(g, LAP_FN_SELECT, lap_map2(g, LAP_FN_LT, x, f32(j, LEAST_EXPONENT)), f32(j, 0),
                    lap_map1(g, LAP_FN_EXP2, x));
}

/* A run of keys of the block: from the column `column` of S on. */
typedef struct run {
    lap_coord column;
    lap_span keys;
    int64_t most;
} run;

static lap_ref nothing(job *j) { return f32(j, j->norm == LAP_NORM_SOFTMAX ? -__builtin_inf() : 0); }

static bool is_edited(const job *j) { return !lap_ref_same(j->score, j->contraction); }

/* The score at `at` of S after its edits, where it is seen; *out_ok says where, NONE: everywhere. */
static lap_ref edited(job *j, lap_coord at, bool is_masked, lap_ref *out_ok)
{
    lap_kctx *k = j->k;
    k->n_overrides = 1;
    k->overrides[0] =
        (lap_override){.node = j->contraction,
                       .buffer = j->s,
                       .index = at,
                       .env = lap_env_for(k, j->contraction, j->t.env.n, j->t.axes, j->t.coords)};
    const lap_node *score = lap_node_at(j->l->g, j->score);
    const lap_coord *env = lap_env_for(k, j->score, j->t.env.n, j->t.axes, j->t.coords);
    bool may_fail = lap_plan_of(j->l, j->score)->may_fail; /* then no more is read than is seen */
    bool by_pair = may_fail || j->tests_pairs;
    lap_ref ok = LAP_NONE;
    if (is_masked || by_pair) {
        ok = lap_present(k, score->n_axes, score->axes, env, by_pair ? NULL : &j->part->keys);
    }
    if (is_masked && j->part->where >= 0) {
        lap_ref where = j->n->args[j->part->where];
        ok = lap_mask_both(
            k, ok, lap_pull_ref(k, where, lap_env_for(k, where, j->t.env.n, j->t.axes, j->t.coords), ok));
    }
    lap_attend_test_pair(j, ok);
    lap_ref s = lap_pull_ref(k, j->score, env, may_fail ? ok : LAP_NONE);
    k->n_overrides = 0;
    *out_ok = ok;
    return lap_ref_some(ok) ? lap_map3(k->k, LAP_FN_SELECT, ok, s, nothing(j)) : s;
}

/* Score edits, and the mask where `is_masked`, of one row, in place; its maximum goes to shift when the run
 * is all of the block. */
static void edit_row(job *j, lap_coord row, run r, bool is_masked, bool is_all)
{
    lap_kctx *k = j->k;
    lap_coord key;
    lap_ref start = f32(j, -__builtin_inf()), ok, out;
    lap_tiles_split(&j->t, j->t.m, lap_coord_add(k->c, j->t.m0, row));
    lap_k_loop keys = lap_kctx_for(k, LAP_LOOP_VECTOR, d_int(j, r.most), lap_coord_ref(k->c, r.keys.n),
                                   is_all, &start, &key);
    lap_tiles_split(&j->t, j->t.r.n, lap_coord_add(k->c, r.keys.first, key));
    lap_coord at = s_at(j, row, lap_coord_add(k->c, r.column, key));
    lap_ref s = edited(j, at, is_masked, &ok);
    if (lap_ref_some(ok) || is_edited(j)) {
        row_store(j, j->s, at, s);
    }
    lap_ref next = is_all ? lap_map2(k->k, LAP_FN_LARGER, keys.carried[0], s) : LAP_NONE;
    lap_kctx_end(k, &keys, &next, &out);
    if (is_all) {
        row_store(j, j->shift, row, out); /* a score that is NaN shows in the sum */
    }
}

/* Scores of a row that sees none of these keys. */
static void clear_row(job *j, lap_coord row, run r)
{
    lap_kctx *k = j->k;
    lap_coord key;
    lap_k_loop keys =
        lap_kctx_for(k, LAP_LOOP_VECTOR, d_int(j, r.most), lap_coord_ref(k->c, r.keys.n), 0, NULL, &key);
    row_store(j, j->s, s_at(j, row, lap_coord_add(k->c, r.column, key)), nothing(j));
    lap_kctx_end(k, &keys, NULL, NULL);
}

/* The mask of a row is data: looked up once, it often holds for all of the panel or for none. */
static void mask_row(job *j, lap_coord row, run r)
{
    lap_graph *g = j->k->k;
    lap_span one = {row, c_int(j, 1)};
    lap_ref some = LAP_NONE, all = LAP_NONE;
    if (j->part->where >= 0 && lap_plan_of(j->l, j->n->args[j->part->where])->n_reads > 0) {
        some = lap_attend_admits(j, one, r.keys, LAP_OF_SOME);
        all = lap_attend_admits(j, one, r.keys, LAP_OF_ALL);
    }
    if (!lap_ref_some(some) || !lap_ref_some(all)) {
        edit_row(j, row, r, true, false);
        return;
    }
    lap_ref none = lap_map1(g, LAP_FN_NOT, some);
    lap_region_id region = lap_attend_if(j, none);
    clear_row(j, row, r);
    lap_attend_end_if(j, region, none);
    if (is_edited(j)) {
        region = lap_attend_if(j, all);
        edit_row(j, row, r, false, false);
        lap_attend_end_if(j, region, all);
    }
    lap_ref mixed = lap_map2(g, LAP_FN_AND, some, lap_map1(g, LAP_FN_NOT, all));
    region = lap_attend_if(j, mixed);
    edit_row(j, row, r, true, false);
    lap_attend_end_if(j, region, mixed);
}

/* Edits and mask of a panel; where all see all of it there is no mask. */
static void edit_panel(job *j, run r)
{
    lap_coord row;
    lap_ref full = lap_attend_admits(j, lap_attend_all_rows(j), r.keys, LAP_OF_ALL);
    lap_ref partial = lap_ref_some(full) ? lap_map1(j->k->k, LAP_FN_NOT, full) : LAP_NONE;
    if (lap_ref_some(full) && is_edited(j)) {
        lap_region_id region = lap_attend_if(j, full);
        lap_k_loop rows = rows_loop(j, &row);
        edit_row(j, row, r, false, false);
        lap_kctx_end(j->k, &rows, NULL, NULL);
        lap_attend_end_if(j, region, full);
    }
    lap_region_id region = lap_attend_if(j, partial);
    lap_k_loop rows = rows_loop(j, &row);
    mask_row(j, row, r);
    lap_kctx_end(j->k, &rows, NULL, NULL);
    lap_attend_end_if(j, region, partial);
}

static void find_maximum(job *j, lap_coord row)
{
    lap_coord key;
    lap_ref start = f32(j, -__builtin_inf()), out;
    lap_k_loop keys = keys_loop(j, 1, &start, &key);
    lap_ref next = lap_map2(j->k->k, LAP_FN_LARGER, keys.carried[0], row_load(j, j->s, s_at(j, row, key)));
    lap_kctx_end(j->k, &keys, &next, &out);
    row_store(j, j->shift, row, out);
}

/* Scores as the normaliser sees them, and their maximum in shift. */
static void edit(job *j)
{
    lap_coord row, slot;
    if (j->is_picked) {
        lap_k_loop panels = panels_loop(j, &slot);
        lap_span keys = lap_attend_panel_keys(j, lap_attend_panel(j, slot), 1);
        edit_panel(j, (run){lap_coord_mul(j->k->c, slot, c_int(j, j->t.cols)), keys, j->t.cols});
        lap_kctx_end(j->k, &panels, NULL, NULL);
        if (j->norm != LAP_NORM_SOFTMAX) {
            return;
        }
    }
    lap_k_loop rows = rows_loop(j, &row);
    if (j->is_picked) {
        find_maximum(j, row);
    } else {
        edit_row(j, row, (run){c_int(j, 0), {j->key0, j->keys}, j->block_keys}, j->is_ragged, true);
    }
    lap_kctx_end(j->k, &rows, NULL, NULL);
}

/* The new maximum of all rows of the block, rows in lanes. Exponents are to the base of two. */
static void grow(job *j)
{
    lap_kctx *k = j->k;
    lap_graph *g = k->k;
    lap_coord row;
    lap_k_loop rows = lap_kctx_for(k, LAP_LOOP_VECTOR, d_int(j, lap_attend_block_rows(j)),
                                   lap_coord_ref(k->c, j->t.m_rows), 0, NULL, &row);
    lap_ref old = j->is_single ? LAP_NONE : row_load(j, j->max, row), grown = row_load(j, j->shift, row);
    if (!j->is_single) {
        grown = lap_map2(g, LAP_FN_MAX, old, grown);
    }
    lap_ref live = lap_map2(g, LAP_FN_GT, grown, f32(j, -__builtin_inf()));
    lap_ref shift = lap_map3(g, LAP_FN_SELECT, live, grown, f32(j, 0));
    row_store(j, j->max, row, grown);
    row_store(j, j->shift, row, shift);
    if (!j->is_single) {
        row_store(j, j->shrink, row, power(j, old, shift));
    }
    lap_kctx_end(k, &rows, NULL, NULL);
}

/* acc of a row shrinks where its maximum grew. */
static void shrink_row(job *j, lap_coord row, lap_ref shrink)
{
    lap_kctx *k = j->k;
    lap_graph *g = k->k;
    lap_coord e;
    lap_ref moved = lap_map2(g, LAP_FN_NE, shrink, f32(j, 1));
    lap_region_id region = lap_attend_if(j, moved);
    lap_k_loop wide = lap_kctx_for(k, LAP_LOOP_VECTOR, j->wide, LAP_NONE, 0, NULL, &e);
    lap_coord at = acc_at(j, row, e);
    row_store(j, j->acc, at, lap_map2(g, LAP_FN_MUL, row_load(j, j->acc, at), shrink));
    lap_kctx_end(k, &wide, NULL, NULL);
    lap_attend_end_if(j, region, moved);
}

/* P of one row in place of its scores, or rounded beside them, and their sum. */
static void weigh_row(job *j, lap_coord row)
{
    lap_kctx *k = j->k;
    lap_graph *g = k->k;
    bool soft = j->norm == LAP_NORM_SOFTMAX;
    lap_coord key;
    lap_ref shift = soft ? row_load(j, j->shift, row) : LAP_NONE, start = f32(j, 0);
    lap_k_loop keys = keys_loop(j, 1, &start, &key);
    lap_ref p = row_load(j, j->s, s_at(j, row, key));
    if (soft) {
        p = power(j, p, shift);
    }
    if (j->has_out && (soft || j->dot_values)) {
        row_store(j, j->p, s_at(j, row, key), p);
    }
    lap_ref next = lap_map2(g, LAP_FN_ADD, keys.carried[0], p), total;
    lap_kctx_end(k, &keys, &next, &total);
    if (j->is_single) {
        row_store(j, j->sum, row, total);
        return;
    }
    lap_ref old = row_load(j, j->sum, row);
    if (soft) {
        lap_ref shrink = row_load(j, j->shrink, row);
        old = lap_map2(g, LAP_FN_MUL, old, shrink);
        if (j->has_out) {
            shrink_row(j, row, shrink);
        }
    }
    row_store(j, j->sum, row, lap_map2(g, LAP_FN_ADD, old, total));
}

/* From scores to weights, all rows of the block. */
static void weigh(job *j)
{
    lap_coord row;
    edit(j);
    if (j->norm == LAP_NORM_SOFTMAX) {
        grow(j);
    }
    lap_k_loop rows = rows_loop(j, &row);
    weigh_row(j, row);
    lap_kctx_end(j->k, &rows, NULL, NULL);
}

/* P of a row as it meets the values, at a run of keys. */
static void edit_row_after(job *j, lap_coord row, run r)
{
    lap_kctx *k = j->k;
    lap_coord key;
    lap_ref after = j->n->args[j->part->after];
    lap_tiles_split(&j->t, j->t.m, lap_coord_add(k->c, j->t.m0, row));
    lap_k_loop keys =
        lap_kctx_for(k, LAP_LOOP_VECTOR, d_int(j, r.most), lap_coord_ref(k->c, r.keys.n), 0, NULL, &key);
    lap_tiles_split(&j->t, j->t.r.n, lap_coord_add(k->c, r.keys.first, key));
    lap_ref by = lap_pull_ref(k, after, lap_env_for(k, after, j->t.env.n, j->t.axes, j->t.coords), LAP_NONE);
    by = lap_node_at(k->k, by)->dtype == LAP_F32 ? by : lap_map1(k->k, LAP_FN_FLOAT, by);
    lap_coord at = s_at(j, row, lap_coord_add(k->c, r.column, key));
    row_store(j, j->p, at, lap_map2(k->k, LAP_FN_MUL, row_load(j, j->p, at), by));
    lap_kctx_end(k, &keys, NULL, NULL);
}

/* What edits the weights behind the normaliser: their sum has been taken. */
static void edit_after(job *j)
{
    lap_coord row, slot;
    if (j->part->after < 0) {
        return;
    }
    run r = {c_int(j, 0), {j->key0, j->keys}, j->block_keys};
    lap_k_loop panels;
    if (j->is_picked) {
        panels = panels_loop(j, &slot);
        lap_span keys = lap_attend_panel_keys(j, lap_attend_panel(j, slot), 1);
        r = (run){lap_coord_mul(j->k->c, slot, c_int(j, j->t.cols)), keys, j->t.cols};
    }
    lap_k_loop rows = rows_loop(j, &row);
    edit_row_after(j, row, r);
    lap_kctx_end(j->k, &rows, NULL, NULL);
    if (j->is_picked) {
        lap_kctx_end(j->k, &panels, NULL, NULL);
    }
}

/* acc += P V for keys that stand together, from the column `column` of P on. */
static void accumulate_run(job *j, lap_coord column, lap_span keys)
{
    lap_kctx *k = j->k;
    lap_coord p, tile;
    lap_coord key = j->is_listed ? lap_listed_key(&j->t, &j->listed, keys.first) : keys.first;
    lap_k_loop panels = lap_kctx_for(k, LAP_LOOP_SERIAL, j->vp.n_panels, LAP_NONE, 0, NULL, &p);
    lap_coord b0 = lap_coord_add(k->c, lap_panel_offset(k, &j->vp, &j->t.env, p),
                                 lap_coord_mul(k->c, key, lap_coord_dim(k->c, j->vp.stride)));
    lap_k_loop tiles = lap_kctx_for(k, LAP_LOOP_SERIAL, d_int(j, j->t.tiles_per_block),
                                    lap_coord_ref(k->c, lap_tiles_n(&j->t)), 0, NULL, &tile);
    lap_coord row = lap_coord_mul(k->c, tile, c_int(j, j->t.rows)), before;
    lap_ref seen = lap_attend_narrow(j, lap_attend_tile_rows(j, tile), &keys, &before);
    lap_region_id region = lap_attend_if(j, seen);
    b0 = lap_coord_add(k->c, b0, lap_coord_mul(k->c, before, lap_coord_dim(k->c, j->vp.stride)));
    column = lap_coord_add(k->c, column, before);
    lap_k_mma(k->k, &(lap_k_mma_args){.acc = j->acc,
                                      .acc0 = lap_coord_ref(
                                          k->c, acc_at(j, row, lap_coord_mul(k->c, p, c_int(j, j->vp.cols)))),
                                      .ld = lap_dim_node(k->k, j->wide),
                                      .a = j->p,
                                      .a0 = lap_coord_ref(k->c, s_at(j, row, column)),
                                      .sm = lap_const_i(k->k, j->s_stride),
                                      .sk = lap_const_i(k->k, 1),
                                      .m = lap_coord_ref(k->c, lap_tiles_rows(&j->t, tile)),
                                      .b = lap_panels_buffer(k, &j->vp),
                                      .b0 = lap_coord_ref(k->c, b0),
                                      .sb = lap_dim_node(k->k, j->vp.stride),
                                      .depth = lap_coord_ref(k->c, keys.n),
                                      .rows = j->t.rows,
                                      .cols = j->vp.cols,
                                      .init = j->is_single,
                                      .dot = j->dot_values});
    lap_attend_end_if(j, region, seen);
    lap_kctx_end(k, &tiles, NULL, NULL);
    lap_kctx_end(k, &panels, NULL, NULL);
}

/* acc += P V, a few keys at a time: their part of V stays in the first cache for all tiles. */
static void accumulate(job *j)
{
    lap_kctx *k = j->k;
    lap_coord step, depth = c_int(j, j->depth);
    lap_coord past = lap_coord_add(k->c, j->keys, c_int(j, j->depth - 1));
    lap_coord n_steps = lap_coord_floordiv(k->c, past, depth);
    if (j->is_picked) { /* a step is a panel */
        n_steps = j->n_live;
    }
    lap_k_loop steps = lap_kctx_for(k, LAP_LOOP_SERIAL, d_int(j, (j->block_keys + j->depth - 1) / j->depth),
                                    lap_coord_ref(k->c, n_steps), 0, NULL, &step);
    lap_coord column = lap_coord_mul(k->c, step, depth);
    if (j->is_picked) {
        accumulate_run(j, column, lap_attend_panel_keys(j, lap_attend_panel(j, step), 1));
    } else {
        lap_coord n = lap_coord_min(k->c, lap_coord_sub(k->c, j->keys, column), depth);
        accumulate_run(j, column, (lap_span){lap_coord_add(k->c, j->key0, column), n});
    }
    lap_kctx_end(k, &steps, NULL, NULL);
}

static lap_ref denominator(job *j, lap_ref sum)
{
    lap_graph *g = j->k->k;
    if (j->norm == LAP_NORM_NONE) {
        return f32(j, 1);
    }
    const lap_attr *eps = lap_node_attr(j->n, LAP_ATTR_EPS);
    lap_ref d = eps != NULL ? lap_map2(g, LAP_FN_MAX, sum, f32(j, eps->f)) : sum;
    lap_ref none = lap_map2(g, LAP_FN_EQ, d, f32(j, 0));
    lap_ref empty = f32(j, lap_attr_f(j->n, LAP_ATTR_EMPTY, 0));
    return lap_map3(g, LAP_FN_SELECT, none, empty, lap_map2(g, LAP_FN_DIV, f32(j, 1), d));
}

static void store_statistic(job *j, const char *which, lap_ref v)
{
    lap_ref result = lap_result_named(j->l, j->op, which);
    if (lap_ref_some(result)) {
        const lap_coord *env = lap_env_for(j->k, result, j->t.env.n, j->t.axes, j->t.coords);
        lap_ref at = lap_coord_ref(j->k->c, lap_address(j->k, result, env));
        lap_k_store(j->k->k, lap_kctx_buffer(j->k, lap_plan_of(j->l, result)->buffer), at, v, LAP_NONE);
    }
}

/* The row's weighed values, scaled. */
static void finish_out(job *j, lap_coord row, lap_ref scale)
{
    lap_kctx *k = j->k;
    lap_graph *g = k->k;
    lap_ref out = lap_result_named(j->l, j->op, "out");
    const lap_node *node = lap_node_at(j->l->g, out);
    lap_coord e, wide[64];
    lap_dim sizes[64];
    LAP_ENSURE(j->value.n.n <= 64);
    lap_k_loop lanes = lap_kctx_for(k, LAP_LOOP_VECTOR, j->n_wide, LAP_NONE, 0, NULL, &e);
    for (uint32_t i = 0; i < j->value.n.n; i++) {
        sizes[i] = j->value.n.at[i].size;
    }
    lap_coord_split(k, e, j->value.n.n, sizes, wide);
    lap_coord *env = lap_arena_array(j->l->ctx->arena, node->n_axes + 1, sizeof *env);
    for (uint32_t i = 0; i < node->n_axes; i++) {
        const lap_axis *a = lap_axis_find(j->value.n.at, j->value.n.n, node->axes[i].name);
        env[i] = a != NULL ? wide[a - j->value.n.at] : *lap_tiles_coord(&j->t, node->axes[i].name);
    }
    lap_ref v = lap_map2(g, LAP_FN_MUL, row_load(j, j->acc, acc_at(j, row, e)), scale);
    lap_ref at = lap_coord_ref(k->c, lap_address(k, out, env));
    lap_k_store(g, lap_kctx_buffer(k, lap_plan_of(j->l, out)->buffer), at, v, LAP_NONE);
    lap_kctx_end(k, &lanes, NULL, NULL);
}

static void finish_row(job *j, lap_coord row)
{
    lap_kctx *k = j->k;
    lap_graph *g = k->k;
    lap_tiles_split(&j->t, j->t.m, lap_coord_add(k->c, j->t.m0, row));
    lap_ref sum = row_load(j, j->sum, row), max = row_load(j, j->max, row);
    lap_ref zero = f32(j, 0), live = lap_map2(g, LAP_FN_GT, max, f32(j, -__builtin_inf()));
    lap_ref base = j->norm == LAP_NORM_SOFTMAX ? lap_map3(g, LAP_FN_SELECT, live, max, zero) : zero;
    base = lap_map2(g, LAP_FN_MUL, base, f32(j, j->factor));
    store_statistic(j, "sum", sum);
    store_statistic(j, "max",
                    j->norm == LAP_NORM_SOFTMAX ? lap_map2(g, LAP_FN_MUL, max, f32(j, j->factor)) : zero);
    if (lap_ref_some(lap_result_named(j->l, j->op, "lse"))) {
        store_statistic(j, "lse", lap_map2(g, LAP_FN_ADD, lap_map1(g, LAP_FN_LOG, sum), base));
    }
    if (j->has_out) {
        finish_out(j, row, denominator(j, sum));
    }
}

void lap_attend_plan(job *j)
{
    lap_lowering *l = j->l;
    j->n = lap_node_at(l->g, j->op);
    j->contraction = lap_plan_of(l, j->op)->anchor;
    j->norm = (lap_norm)lap_attr_i(j->n, LAP_ATTR_NORM, LAP_NORM_SOFTMAX);
    j->part = &lap_node_attr(j->n, LAP_ATTR_PARTS)->parts.at[0];
    j->score = lap_attend_unscaled(l, j->n->args[j->part->score], j->contraction, j->norm, &j->factor);
    j->t = (lap_tiles){.l = l};
    LAP_ENSURE(lap_attend_score_roles(l, j->contraction, j->part->keys, &j->t.r));
    j->has_out = lap_ref_some(lap_result_named(l, j->op, "out"));
    LAP_ENSURE(!j->has_out || lap_attend_value_roles(l, j->n, j->part, &j->t.r, &j->value));
    j->t.dot = lap_roles_take_dot(l, &j->t.r, LAP_KNOB_ATTEND_DOT);
    j->dot_values = j->has_out && lap_knob_value(l, LAP_KNOB_ATTEND_DOT) != 0 &&
                    lap_node_at(l->g, j->value.b.at[0])->dtype == LAP_BF16;
    j->is_listed = j->has_out && lap_attend_listed(l, j->n, j->part, &j->t.r, &j->value, &j->listed);
    j->tests_pairs = !j->is_listed &&
                     lap_attend_reads(l, j->part, &j->t.r, j->has_out ? &j->value : NULL) == LAP_TEST_PAIRS;
    j->t.r.is_lenient = j->value.is_lenient = j->tests_pairs;
    j->k = j->t.k = lap_kctx_new(l, j->n->loc);
    lap_attend_choose_sizes(j);
    lap_tiles_plan(&j->t);
    j->n_keys = lap_axes_product(l, j->t.r.n);
}

static void start(job *j)
{
    lap_lowering *l = j->l;
    lap_attend_plan(j);
    bool inside = !j->is_listed && lap_attend_packs_inside(j);
    lap_attend_make_panels(j, inside);
    lap_coord one;
    lap_tiles_grid(&j->t, d_int(j, 1), &one);
    int64_t rows = lap_attend_block_rows(j);
    j->s = lap_kctx_scratch(j->k, LAP_F32, d_int(j, rows * j->s_stride));
    j->p = j->dot_values ? lap_kctx_scratch(j->k, LAP_BF16, d_int(j, rows * j->s_stride)) : j->s;
    if (j->has_out) {
        j->acc = lap_kctx_scratch(j->k, LAP_F32, lap_dim_mul(l->ctx, d_int(j, rows), j->wide));
    }
    j->max = lap_kctx_scratch(j->k, LAP_F32, d_int(j, rows));
    j->sum = lap_kctx_scratch(j->k, LAP_F32, d_int(j, rows));
    j->shift = lap_kctx_scratch(j->k, LAP_F32, d_int(j, rows));
    j->shrink = lap_kctx_scratch(j->k, LAP_F32, d_int(j, rows));
    if (j->is_picked) {
        j->picked = lap_kctx_scratch(j->k, LAP_I64, d_int(j, (int64_t)2 * j->panels));
    }
    lap_pack_inside(j->k, &j->t.r, &j->kp, &j->t.env);
    if (j->has_out) {
        lap_pack_inside(j->k, &j->value, &j->vp, &j->t.env);
    }
}

static void attend_block(lap_attend_job *j)
{
    multiply(j);
    weigh(j);
    if (j->has_out) {
        edit_after(j);
        accumulate(j);
    }
}

bool lap_attend_tiles(lap_lowering *l, lap_ref attend)
{
    const lap_plan_node *plan = lap_plan_of(l, attend);
    if (!lap_ref_some(plan->anchor)) {
        return false;
    }
    job j = {.l = l, .op = attend};
    start(&j);
    lap_kctx *k = j.k;
    if (!j.is_single) {
        clear(&j);
    }
    lap_attend_each_block(&j, attend_block);
    lap_coord row;
    lap_k_loop rows = rows_loop(&j, &row);
    finish_row(&j, row);
    lap_kctx_end(k, &rows, NULL, NULL);
    lap_kctx_launch(k, "attend");
    return true;
}
