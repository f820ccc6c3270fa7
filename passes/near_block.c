/* SPDX-License-Identifier: Apache-2.0
 * near_block.c - the register blocks of attends over windows of a grid.
 *
 * For one offset of the lanes and `rows` neighbouring queries, the keys of all of them are rows + cols - 1
 * neighbouring vectors, each loaded once and used by every query whose window it is in. */
#include "passes/near_job.h"

#include <string.h>

enum { MOST_BLOCK = 64 };

static lap_ref load(lap_near_job *j, lap_ref buffer, lap_coord at)
{
    return lap_k_load(j->k->k, buffer, lap_coord_ref(j->k->c, at), LAP_NONE);
}

static void store(lap_near_job *j, lap_ref buffer, lap_coord at, lap_ref v)
{
    lap_k_store(j->k->k, buffer, lap_coord_ref(j->k->c, at), v, LAP_NONE);
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

/* ((plane * rows of a strip + row) * columns) + column, in the strips of K and V. */
static lap_coord strip_at(lap_near_job *j, lap_dim planes, lap_coord slot, lap_coord plane, lap_coord row,
                          lap_coord column)
{
    lap_coords *c = j->k->c;
    lap_coord flat = lap_coord_add(c, lap_coord_mul(c, slot, lap_coord_dim(c, planes)), plane);
    flat = lap_near_sum(j, lap_near_times(j, flat, lap_near_i(j, j->strip_rows)), row);
    return lap_near_sum(j, lap_near_times(j, flat, lap_near_i(j, j->strip)), column);
}

typedef struct place {
    lap_coord chunk, wz, wx, key; /* part of the summed axes; offsets; first key along the rows' axis */
    uint32_t n;                   /* keys along the rows' axis */
} place;

/* One step of the sum: every key vector against the queries that see it. */
static void score_step(lap_near_job *j, const place *p, lap_coord d, lap_coord lane, lap_ref *acc)
{
    lap_coord column =
        lap_near_sum(j, lap_near_sum(j, lap_near_times(j, j->tile, lap_near_i(j, j->lanes)), p->wx), lane);
    lap_coord slot = lap_near_sum(j, j->z_slot, p->wz), first = lap_near_sum(j, j->row, p->key);
    lap_ref q[MOST_BLOCK];
    for (int64_t t = 0; t < j->rows; t++) {
        lap_coord at = lap_near_sum(j, lap_near_times(j, d, lap_near_i(j, j->rows)), lap_near_i(j, t));
        q[t] = load(j, j->qs, lap_near_sum(j, lap_near_times(j, at, lap_near_i(j, j->lanes)), lane));
    }
    for (int64_t u = 0; u < j->rows + p->n - 1; u++) {
        lap_coord row = lap_near_sum(j, first, lap_near_i(j, u));
        lap_ref key = load(j, j->ks, strip_at(j, j->n_depth, slot, d, row, column));
        for (int64_t t = 0; t < j->rows; t++) {
            if (u >= t && u < t + p->n) {
                lap_ref *one = &acc[t * p->n + u - t];
                *one = multiply_add(j, *one, q[t], key);
            }
        }
    }
}

static void score_block(lap_near_job *j, const place *p)
{
    lap_kctx *k = j->k;
    int64_t depth, n = j->rows * p->n;
    bool is_whole = lap_dim_is_const(j->l->ctx, j->n_depth, &depth) && depth <= j->depth;
    lap_coord lane, d;
    lap_ref acc[MOST_BLOCK], out[MOST_BLOCK];
    LAP_ENSURE(n <= MOST_BLOCK);
    lap_k_loop vector = lanes(j, &lane);
    lap_ref zero = lap_const_f(k->k, 0);
    lap_ref is_first = lap_map2(k->k, LAP_FN_EQ, lap_coord_ref(k->c, p->chunk), lap_const_i(k->k, 0));
    for (int64_t i = 0; i < n; i++) {
        acc[i] = zero;
    }
    lap_coord d0 = lap_near_times(j, p->chunk, lap_near_i(j, j->depth));
    lap_coord left = lap_coord_min(k->c, lap_coord_sub(k->c, lap_coord_dim(k->c, j->n_depth), d0),
                                   lap_near_i(j, j->depth));
    lap_k_loop sum = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_near_d(j, j->depth), lap_coord_ref(k->c, left),
                                  (uint32_t)n, acc, &d);
    memcpy(acc, sum.carried, (size_t)n * sizeof *acc);
    score_step(j, p, lap_near_sum(j, d0, d), lane, acc);
    lap_kctx_end(k, &sum, acc, out);
    for (int64_t i = 0; i < n; i++) {
        lap_coord at = lap_near_s(j, lap_near_i(j, i / p->n), p->wz, p->wx,
                                  lap_near_sum(j, p->key, lap_near_i(j, i % p->n)), lane);
        lap_ref v = lap_ref_some(j->factor) ? lap_map2(k->k, LAP_FN_MUL, out[i], j->factor) : out[i];
        if (!is_whole) {
            lap_ref before = lap_map3(k->k, LAP_FN_SELECT, is_first, zero, load(j, j->s, at));
            v = lap_map2(k->k, LAP_FN_ADD, before, v);
        }
        store(j, j->s, at, v);
    }
    lap_kctx_end(k, &vector, NULL, NULL);
}

void lap_near_scores(lap_near_job *j)
{
    lap_kctx *k = j->k;
    place p;
    lap_coord part;
    lap_dim chunks = lap_dim_ceildiv(j->l->ctx, j->n_depth, lap_near_d(j, j->depth));
    lap_k_loop depth = lap_kctx_for(k, LAP_LOOP_SERIAL, chunks, LAP_NONE, 0, NULL, &p.chunk);
    lap_k_loop z = serial(j, j->kz, 0, NULL, &p.wz), x = serial(j, j->kx, 0, NULL, &p.wx);
    int64_t whole = j->kt / j->cols;
    if (whole > 0) {
        lap_k_loop parts = serial(j, whole, 0, NULL, &part);
        p.key = lap_near_times(j, part, lap_near_i(j, j->cols));
        p.n = (uint32_t)j->cols;
        score_block(j, &p);
        lap_kctx_end(k, &parts, NULL, NULL);
    }
    if (j->kt % j->cols != 0) {
        p.key = lap_near_i(j, whole * j->cols);
        p.n = (uint32_t)(j->kt % j->cols);
        score_block(j, &p);
    }
    lap_kctx_end(k, &x, NULL, NULL);
    lap_kctx_end(k, &z, NULL, NULL);
    lap_kctx_end(k, &depth, NULL, NULL);
}

/* acc += P V for some keys along the rows' axis. */
static void weigh_step(lap_near_job *j, const place *p, lap_coord lane, lap_ref *acc)
{
    lap_coord column =
        lap_near_sum(j, lap_near_sum(j, lap_near_times(j, j->tile, lap_near_i(j, j->lanes)), p->wx), lane);
    lap_coord slot = lap_near_sum(j, j->z_slot, p->wz), first = lap_near_sum(j, j->row, p->key);
    lap_coord e0 = lap_near_times(j, p->chunk, lap_near_i(j, j->wide));
    for (int64_t u = 0; u < j->rows + p->n - 1; u++) {
        lap_ref weight[MOST_BLOCK];
        for (int64_t t = 0; t < j->rows; t++) {
            if (u >= t && u < t + p->n) {
                lap_coord key = lap_near_sum(j, p->key, lap_near_i(j, u - t));
                weight[t] = load(j, j->s, lap_near_s(j, lap_near_i(j, t), p->wz, p->wx, key, lane));
            }
        }
        lap_coord row = lap_near_sum(j, first, lap_near_i(j, u));
        for (int64_t e = 0; e < j->wide; e++) {
            lap_coord plane = lap_near_sum(j, e0, lap_near_i(j, e));
            lap_ref v = load(j, j->vs, strip_at(j, j->planes, slot, plane, row, column));
            for (int64_t t = 0; t < j->rows; t++) {
                if (u >= t && u < t + p->n) {
                    acc[t * j->wide + e] = multiply_add(j, acc[t * j->wide + e], weight[t], v);
                }
            }
        }
    }
}

static void weigh_keys(lap_near_job *j, place *p, lap_coord lane, lap_ref *acc)
{
    lap_kctx *k = j->k;
    uint32_t n = (uint32_t)(j->rows * j->wide);
    int64_t whole = j->kt / j->cols;
    lap_coord part;
    if (whole > 0) {
        lap_k_loop parts = serial(j, whole, n, acc, &part);
        p->key = lap_near_times(j, part, lap_near_i(j, j->cols));
        p->n = (uint32_t)j->cols;
        memcpy(acc, parts.carried, n * sizeof *acc);
        weigh_step(j, p, lane, acc);
        lap_kctx_end(k, &parts, acc, acc);
    }
    if (j->kt % j->cols != 0) {
        p->key = lap_near_i(j, whole * j->cols);
        p->n = (uint32_t)(j->kt % j->cols);
        weigh_step(j, p, lane, acc);
    }
}

void lap_near_weigh(lap_near_job *j)
{
    lap_kctx *k = j->k;
    place p;
    lap_coord lane;
    uint32_t n = (uint32_t)(j->rows * j->wide);
    lap_ref acc[MOST_BLOCK];
    LAP_ENSURE(n <= MOST_BLOCK);
    lap_dim chunks = lap_dim_ceildiv(j->l->ctx, j->n_wide, lap_near_d(j, j->wide));
    lap_k_loop wide = lap_kctx_for(k, LAP_LOOP_SERIAL, chunks, LAP_NONE, 0, NULL, &p.chunk);
    lap_k_loop vector = lanes(j, &lane);
    for (uint32_t i = 0; i < n; i++) {
        acc[i] = lap_const_f(k->k, 0);
    }
    lap_k_loop z = serial(j, j->kz, n, acc, &p.wz);
    lap_k_loop x = serial(j, j->kx, n, z.carried, &p.wx);
    memcpy(acc, x.carried, n * sizeof *acc);
    weigh_keys(j, &p, lane, acc);
    lap_kctx_end(k, &x, acc, acc);
    lap_kctx_end(k, &z, acc, acc);
    for (uint32_t i = 0; i < n; i++) {
        lap_coord t = lap_near_i(j, i / j->wide), e = lap_near_i(j, i % j->wide);
        lap_coord plane = lap_near_sum(j, lap_near_times(j, p.chunk, lap_near_i(j, j->wide)), e);
        lap_coord flat = lap_near_sum(j, lap_near_times(j, t, lap_coord_dim(k->c, j->planes)), plane);
        lap_coord at = lap_near_sum(j, lap_near_times(j, flat, lap_near_i(j, j->lanes)), lane);
        lap_coord factor = lap_near_sum(j, lap_near_times(j, t, lap_near_i(j, j->lanes)), lane);
        store(j, j->acc, at, lap_map2(k->k, LAP_FN_MUL, acc[i], load(j, j->scale, factor)));
    }
    lap_kctx_end(k, &vector, NULL, NULL);
    lap_kctx_end(k, &wide, NULL, NULL);
}
