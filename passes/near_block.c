/* SPDX-License-Identifier: Apache-2.0
 * near_block.c - the register blocks of attends over windows of a grid.
 *
 * Scores have queries in lanes: a key vector is loaded once and used by every query of the block whose window
 * it is in. Weighing has the channels of the values in lanes, so that values and results stay as memory has
 * them: a value is loaded once for the queries of a tile, and each weight is one element for all lanes. */
#include "passes/near_job.h"

#include <string.h>

enum { MOST_BLOCK = 64 };

/* An address that others are a known distance from: the distance then stands in the instruction. */
static lap_coord anchor(lap_near_job *j, lap_coord at)
{
    return lap_coord_opaque(j->k->c, lap_coord_ref(j->k->c, at));
}

static lap_ref load(lap_near_job *j, lap_ref buffer, lap_coord base, int64_t offset)
{
    lap_coord at = lap_near_sum(j, base, lap_near_i(j, offset));
    return lap_k_load(j->k->k, buffer, lap_coord_ref(j->k->c, at), LAP_NONE);
}

static lap_ref multiply_add(lap_near_job *j, lap_ref acc, lap_ref a, lap_ref b)
{
    return lap_map2(j->k->k, LAP_FN_ADD, acc, lap_map2(j->k->k, LAP_FN_MUL, a, b));
}

static lap_k_loop serial(lap_near_job *j, int64_t n, uint32_t n_acc, const lap_ref *acc, lap_coord *out)
{
    return lap_kctx_for(j->k, LAP_LOOP_SERIAL, lap_near_d(j, n), LAP_NONE, n_acc, acc, out);
}

static lap_k_loop lanes(lap_near_job *j, lap_coord *lane)
{
    return lap_kctx_for(j->k, LAP_LOOP_VECTOR, lap_near_d(j, j->lanes), LAP_NONE, 0, NULL, lane);
}

/* Keys of a step: offsets of the outer axis and of the middle one, the first of `n` of the inner one. */
typedef struct place {
    lap_coord wz, wy, wx;
    uint32_t n;
} place;

/* Does `make` for all keys along the inner axis, `at_once` at a time. */
typedef void step(lap_near_job *j, place *p, void *with);
static void for_parts(lap_near_job *j, place *p, int64_t at_once, step *make, uint32_t n_acc, lap_ref *acc,
                      void *with)
{
    int64_t whole = j->kx / at_once;
    lap_coord part;
    if (whole > 0) {
        lap_k_loop parts = serial(j, whole, n_acc, acc, &part);
        for (uint32_t i = 0; i < n_acc; i++) {
            acc[i] = parts.carried[i];
        }
        p->wx = lap_near_times(j, part, lap_near_i(j, at_once));
        p->n = (uint32_t)at_once;
        make(j, p, with);
        lap_kctx_end(j->k, &parts, acc, acc);
    }
    if (j->kx % at_once != 0) {
        p->wx = lap_near_i(j, whole * at_once);
        p->n = (uint32_t)(j->kx % at_once);
        make(j, p, with);
    }
}

/* ---- scores ---- */

/* Rows of keys at once: query t of the block meets row[t], counted from the block's first; queries of one
 * group meet the same. */
typedef struct score_rows {
    lap_coord row[MOST_BLOCK];
    int64_t group[MOST_BLOCK];
} score_rows;

/* Keys of queries that all see the same row: neighbouring vectors of it. */
static void add_across(lap_near_job *j, const place *p, const score_rows *rows, lap_coord d, lap_coord lane,
                       const lap_ref *q, lap_ref *acc)
{
    lap_coord column = lap_near_sum(j, lap_near_times(j, j->tile, lap_near_i(j, j->lanes)), lane);
    lap_near_spot at = {.slot = lap_near_sum(j, j->z_slot, p->wz),
                        .part = lap_near_i(j, 0),
                        .plane = d,
                        .column = lap_near_sum(j, column, p->wx)};
    for (int64_t t = 0, end; t < j->rows; t = end) {
        end = t + 1;
        while (end < j->rows && rows->group[end] == rows->group[t]) {
            end++;
        }
        at.row = lap_near_sum(j, j->row, rows->row[t]);
        lap_coord base = anchor(j, lap_near_at(j, &j->keys_in, &at));
        for (uint32_t i = 0; i < p->n; i++) {
            lap_ref key = load(j, j->keys_in.strip, base, i);
            for (int64_t s = t; s < end; s++) {
                acc[s * p->n + i] = multiply_add(j, acc[s * p->n + i], q[s], key);
            }
        }
    }
}

/* The only axis is that of the rows: windows of neighbouring queries overlap along it. */
static void add_along(lap_near_job *j, const place *p, lap_coord d, lap_coord lane, const lap_ref *q,
                      lap_ref *acc)
{
    lap_coord zero = lap_near_i(j, 0);
    lap_near_spot at = {zero, lap_near_sum(j, j->row, p->wx), zero, d, lane};
    lap_coord base = anchor(j, lap_near_at(j, &j->keys_in, &at));
    for (int64_t u = 0; u < j->rows + p->n - 1; u++) {
        lap_ref key = load(j, j->keys_in.strip, base, u * j->lanes);
        for (int64_t t = 0; t < j->rows; t++) {
            if (u >= t && u < t + p->n) {
                lap_ref *one = &acc[t * p->n + u - t];
                *one = multiply_add(j, *one, q[t], key);
            }
        }
    }
}

/* One step of the sum. */
static void score_step(lap_near_job *j, const place *p, const score_rows *rows, lap_coord d, lap_coord lane,
                       lap_ref *acc)
{
    lap_coord zero = lap_near_i(j, 0);
    lap_coord base = anchor(j, lap_near_at(j, &j->queries_in, &(lap_near_spot){zero, zero, zero, d, lane}));
    lap_ref q[MOST_BLOCK];
    for (int64_t t = 0; t < j->rows; t++) {
        q[t] = load(j, j->queries_in.strip, base, t * j->lanes);
    }
    if (j->is_folded) {
        add_along(j, p, d, lane, q, acc);
    } else {
        add_across(j, p, rows, d, lane, q, acc);
    }
}

static void store_scores(lap_near_job *j, const place *p, const score_rows *rows, lap_coord lane,
                         const lap_ref *sum)
{
    lap_kctx *k = j->k;
    lap_coord wy = j->is_folded ? p->wy : rows->row[0];
    lap_coord base = anchor(j, lap_near_s(j, lap_near_i(j, 0), p->wz, wy, p->wx, lane));
    for (int64_t i = 0; i < j->rows * p->n; i++) {
        int64_t t = i / p->n, up = j->is_folded ? 0 : (rows->group[t] - rows->group[0]) * j->ky - t;
        int64_t offset = ((t * j->kz * j->ky + up) * j->kx + i % p->n) * j->lanes;
        lap_coord at = lap_near_sum(j, base, lap_near_i(j, offset));
        lap_k_store(k->k, j->s, lap_coord_ref(k->c, at), sum[i], LAP_NONE);
    }
}

static void score_block(lap_near_job *j, place *p, void *with)
{
    lap_kctx *k = j->k;
    const score_rows *rows = with;
    int64_t n = j->rows * p->n;
    lap_coord lane, d;
    lap_ref acc[MOST_BLOCK], out[MOST_BLOCK];
    LAP_ENSURE(n <= MOST_BLOCK);
    lap_k_loop vector = lanes(j, &lane);
    for (int64_t i = 0; i < n; i++) {
        acc[i] = lap_const_f(k->k, 0);
    }
    lap_k_loop sum = lap_kctx_for(k, LAP_LOOP_SERIAL, j->n_depth, LAP_NONE, (uint32_t)n, acc, &d);
    memcpy(acc, sum.carried, (size_t)n * sizeof *acc);
    score_step(j, p, rows, d, lane, acc);
    lap_kctx_end(k, &sum, acc, out);
    store_scores(j, p, rows, lane, out);
    lap_kctx_end(k, &vector, NULL, NULL);
}

/* Every query of the block against the row of its window that is `i` after the block's first row, modulo the
 * rows of a window: so all have one, and but for the first few i it is the same. */
static void score_row(lap_near_job *j, place *p, score_rows *rows, lap_coord i, int64_t known)
{
    for (int64_t t = 0; t < j->rows; t++) {
        rows->group[t] = known < t ? (t - known + j->ky - 1) / j->ky : 0;
        rows->row[t] = lap_near_sum(j, i, lap_near_i(j, rows->group[t] * j->ky));
    }
    for_parts(j, p, j->cols, score_block, 0, NULL, rows);
}

void lap_near_scores(lap_near_job *j)
{
    place p = {.wy = lap_near_i(j, 0)};
    score_rows rows;
    lap_k_loop z = serial(j, j->kz, 0, NULL, &p.wz);
    int64_t apart = j->is_folded ? 0 : j->rows - 1 < j->ky ? j->rows - 1 : j->ky;
    for (int64_t i = 0; i < apart; i++) {
        score_row(j, &p, &rows, lap_near_i(j, i), i);
    }
    if (apart < j->ky) {
        lap_coord i;
        lap_k_loop rest = serial(j, j->ky - apart, 0, NULL, &i);
        score_row(j, &p, &rows, lap_near_sum(j, i, lap_near_i(j, apart)), j->rows);
        lap_kctx_end(j->k, &rest, NULL, NULL);
    }
    lap_kctx_end(j->k, &z, NULL, NULL);
}

/* ---- weighing ---- */

/* A tile: neighbouring queries of one row of the block or, folded, of one lane, and `vectors` of channels. */
typedef struct tile {
    lap_coord t, first;    /* row of the block; first lane, or the only one */
    lap_coord part, plane; /* channels: part of the strip, the first within it */
    lap_coord lane;
    int64_t vectors;
    lap_ref acc[MOST_BLOCK];
} tile;

/* acc += P V for some keys of the inner axis. */
static void weigh_step(lap_near_job *j, place *p, void *with)
{
    tile *w = with;
    lap_coord tiles = lap_near_times(j, j->tile, lap_near_i(j, j->lanes));
    lap_near_spot at = {.slot = lap_near_sum(j, j->z_slot, p->wz),
                        .row = lap_near_sum(j, j->row, j->is_folded ? p->wx : lap_near_sum(j, w->t, p->wy)),
                        .part = w->part,
                        .plane = lap_near_sum(j, w->plane, w->lane),
                        .column = j->is_folded ? w->first
                                               : lap_near_sum(j, tiles, lap_near_sum(j, w->first, p->wx))};
    int64_t pitch = j->vectors * j->lanes; /* of keys in the strip, then of queries among the scores */
    int64_t query = j->is_folded ? j->kz * j->ky * j->kx * j->lanes : 1;
    lap_coord values = anchor(j, lap_near_at(j, &j->values_in, &at));
    lap_coord weights = anchor(j, lap_near_s(j, w->t, p->wz, p->wy, p->wx, w->first));
    for (int64_t u = 0; u < j->queries_at_once + p->n - 1; u++) {
        lap_ref v[MOST_BLOCK];
        for (int64_t e = 0; e < w->vectors; e++) {
            v[e] = load(j, j->values_in.strip, values, u * pitch + e * j->lanes);
        }
        for (int64_t i = 0; i < j->queries_at_once; i++) {
            if (u < i || u >= i + p->n) {
                continue;
            }
            lap_ref weight = load(j, j->s, weights, i * query + (u - i) * j->lanes);
            for (int64_t e = 0; e < w->vectors; e++) {
                lap_ref *one = &w->acc[i * w->vectors + e];
                *one = multiply_add(j, *one, weight, v[e]);
            }
        }
    }
}

/* Query i of the tile to memory. */
static void store_result(lap_near_job *j, const tile *w, int64_t i, bool is_masked)
{
    lap_kctx *k = j->k;
    lap_coord t = j->is_folded ? lap_near_i(j, i) : w->t;
    lap_coord lane = j->is_folded ? w->first : lap_near_sum(j, w->first, lap_near_i(j, i));
    lap_ref out = lap_result_named(j->l, j->op, "out");
    lap_ref buffer = lap_kctx_buffer(k, lap_plan_of(j->l, out)->buffer);
    lap_ref ok =
        lap_map2(k->k, LAP_FN_LT, lap_coord_ref(k->c, lane), lap_coord_ref(k->c, lap_near_lanes(j, t)));
    if (j->is_folded) {
        ok = lap_mask_both(
            k, ok, lap_map2(k->k, LAP_FN_LT, lap_coord_ref(k->c, t), lap_coord_ref(k->c, lap_near_rows(j))));
    }
    lap_region_id region = lap_near_begin_if(j, ok);
    lap_coord at = lap_near_sum(j, lap_near_times(j, t, lap_near_i(j, j->lanes)), lane);
    lap_ref scale = load(j, j->scale, at, 0);
    lap_near_set_row(j, t, lane);
    for (int64_t e = 0; e < w->vectors; e++) {
        lap_coord plane = lap_near_times(j, w->part, lap_near_i(j, j->vectors * j->lanes));
        plane = lap_near_sum(j, lap_near_sum(j, plane, w->plane), lap_near_i(j, e * j->lanes));
        plane = lap_near_sum(j, plane, w->lane);
        lap_ref mask = LAP_NONE;
        if (is_masked) {
            mask = lap_map2(k->k, LAP_FN_LT, lap_coord_ref(k->c, plane), lap_dim_node(k->k, j->n_wide));
        }
        lap_near_set_merged(j, j->near.wide, plane);
        lap_ref to = lap_coord_ref(k->c, lap_address(k, out, lap_near_env(j, out)));
        lap_k_store(k->k, buffer, to, lap_map2(k->k, LAP_FN_MUL, w->acc[i * w->vectors + e], scale), mask);
    }
    lap_near_end_if(j, region, ok);
}

/* The results of a tile. */
static void weigh_tile(lap_near_job *j, tile *w, bool is_masked)
{
    lap_kctx *k = j->k;
    place p = {.wy = lap_near_i(j, 0)};
    uint32_t n = (uint32_t)(j->queries_at_once * w->vectors);
    LAP_ENSURE(n <= MOST_BLOCK);
    lap_k_loop vector = lanes(j, &w->lane);
    for (uint32_t i = 0; i < n; i++) {
        w->acc[i] = lap_const_f(k->k, 0);
    }
    lap_k_loop z = serial(j, j->kz, n, w->acc, &p.wz);
    lap_k_loop y = serial(j, j->ky, n, z.carried, &p.wy);
    memcpy(w->acc, y.carried, n * sizeof *w->acc);
    for_parts(j, &p, j->keys_at_once, weigh_step, n, w->acc, w);
    lap_kctx_end(k, &y, w->acc, w->acc);
    lap_kctx_end(k, &z, w->acc, w->acc);
    for (int64_t i = 0; i < j->queries_at_once; i++) {
        store_result(j, w, i, is_masked);
    }
    lap_kctx_end(k, &vector, NULL, NULL);
}

/* All channels: whole tiles, and single vectors for the rest. */
static void weigh_channels(lap_near_job *j, tile *w)
{
    lap_ctx *ctx = j->l->ctx;
    lap_kctx *k = j->k;
    lap_dim width = lap_near_d(j, j->vectors * j->lanes), whole = lap_dim_floordiv(ctx, j->n_wide, width);
    lap_dim rest = lap_dim_sub(ctx, j->n_wide, lap_dim_mul(ctx, whole, width));
    lap_dim last = lap_dim_ceildiv(ctx, rest, lap_near_d(j, j->lanes));
    int64_t n;
    if (!lap_dim_is_const(ctx, whole, &n) || n > 0) {
        lap_k_loop parts = lap_kctx_for(k, LAP_LOOP_SERIAL, whole, LAP_NONE, 0, NULL, &w->part);
        w->plane = lap_near_i(j, 0);
        w->vectors = j->vectors;
        weigh_tile(j, w, false);
        lap_kctx_end(k, &parts, NULL, NULL);
    }
    if (!lap_dim_is_const(ctx, last, &n) || n > 0) {
        lap_coord i;
        lap_k_loop parts = lap_kctx_for(k, LAP_LOOP_SERIAL, last, LAP_NONE, 0, NULL, &i);
        w->part = lap_coord_dim(k->c, whole);
        w->plane = lap_near_times(j, i, lap_near_i(j, j->lanes));
        w->vectors = 1;
        weigh_tile(j, w, true);
        lap_kctx_end(k, &parts, NULL, NULL);
    }
}

void lap_near_weigh(lap_near_job *j)
{
    lap_kctx *k = j->k;
    lap_coords *c = k->c;
    tile w = {.t = lap_near_i(j, 0)};
    if (j->is_folded) {
        lap_k_loop columns = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_near_d(j, j->lanes),
                                          lap_coord_ref(c, lap_near_lanes(j, w.t)), 0, NULL, &w.first);
        weigh_channels(j, &w);
        lap_kctx_end(k, &columns, NULL, NULL);
        return;
    }
    lap_coord group, at_once = lap_near_i(j, j->queries_at_once);
    lap_k_loop rows = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_near_d(j, j->rows),
                                   lap_coord_ref(c, lap_near_rows(j)), 0, NULL, &w.t);
    lap_coord n = lap_near_sum(j, lap_near_lanes(j, w.t), lap_near_i(j, j->queries_at_once - 1));
    lap_k_loop groups = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_near_d(j, j->lanes / j->queries_at_once),
                                     lap_coord_ref(c, lap_coord_floordiv(c, n, at_once)), 0, NULL, &group);
    w.first = lap_near_times(j, group, at_once);
    weigh_channels(j, &w);
    lap_kctx_end(k, &groups, NULL, NULL);
    lap_kctx_end(k, &rows, NULL, NULL);
}
