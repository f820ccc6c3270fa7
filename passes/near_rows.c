/* SPDX-License-Identifier: Apache-2.0
 * near_rows.c - rows of attends over windows of a grid, queries in lanes: score edits and mask in place,
 * maximum, weights, their sum, and the results.
 *
 * Where the window of every lane is the plain one, keys are numbered alike in all lanes and edits read
 * uniform values; at borders the number of a key differs between lanes, and edits gather. Where windows stand
 * still for runs of queries, keys of the window that moves are masked that are not of the query's own. */
#include "passes/near_job.h"

#include <math.h>

enum { MOST_AT_ONCE = 8 };

/* Key axes at work: offsets of the outer axis and of the rows' axis. */
typedef struct row_work {
    lap_near_job *j;
    lap_coord t, lane, wz, wy;
    lap_ref power, shift; /* weights: what the exponents are multiplied by, less this, to the base of two */
    bool is_plain;
} row_work;

typedef lap_ref element(row_work *w, lap_coord key);

static lap_ref combine(row_work *w, lap_fn fn, lap_ref acc, element *make, lap_coord first, int64_t n)
{
    lap_graph *g = w->j->k->k;
    lap_ref v[MOST_AT_ONCE];
    for (int64_t i = 0; i < n; i++) {
        v[i] = make(w, lap_near_sum(w->j, first, lap_near_i(w->j, i)));
    }
    for (; n > 1; n = (n + 1) / 2) { /* pairs, so that no long chain forms */
        for (int64_t i = 0; i < n / 2; i++) {
            v[i] = lap_map2(g, fn, v[i], v[n - 1 - i]);
        }
    }
    return lap_map2(g, fn, acc, v[0]);
}

/* Folds `make` over all keys of the window. */
static lap_ref fold_keys(row_work *w, lap_fn fn, lap_ref start, element *make)
{
    lap_near_job *j = w->j;
    lap_kctx *k = j->k;
    int64_t at_once = j->kx < MOST_AT_ONCE ? j->kx : MOST_AT_ONCE, whole = j->kx / at_once;
    lap_coord part;
    lap_k_loop z = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_near_d(j, j->kz), LAP_NONE, 1, &start, &w->wz);
    lap_k_loop y = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_near_d(j, j->ky), LAP_NONE, 1, z.carried, &w->wy);
    lap_k_loop parts = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_near_d(j, whole), LAP_NONE, 1, y.carried, &part);
    lap_coord first = lap_near_times(j, part, lap_near_i(j, at_once));
    lap_ref acc = combine(w, fn, parts.carried[0], make, first, at_once);
    lap_kctx_end(k, &parts, &acc, &acc);
    if (j->kx % at_once != 0) {
        acc = combine(w, fn, acc, make, lap_near_i(j, whole * at_once), j->kx % at_once);
    }
    lap_kctx_end(k, &y, &acc, &acc);
    lap_kctx_end(k, &z, &acc, &acc);
    return acc;
}

/* Number of the key in the window of this query, whose place is `offset` after the start of the unclamped
 * window that moves. */
static lap_coord key_number(row_work *w, int axis, lap_coord p, lap_coord offset)
{
    lap_near_job *j = w->j;
    const lap_near_axis *a = &j->near.axis[axis];
    if (w->is_plain && a->run == 1) {
        return offset;
    }
    lap_coord place = lap_near_sum(j, lap_near_sum(j, p, lap_near_i(j, -a->back)), offset);
    place = w->is_plain ? place : lap_near_pad(j, axis, place);
    return lap_coord_sub(j->k->c, place, lap_near_first(j->k, a, p, j->r[axis]));
}

/* Sets the key, or some key where the query's own window has none; NONE: it has all, else whether it does. */
static lap_ref set_key(row_work *w, int axis, lap_coord p, lap_coord offset)
{
    lap_near_job *j = w->j;
    lap_coords *c = j->k->c;
    const lap_near_axis *a = &j->near.axis[axis];
    lap_coord number = key_number(w, axis, p, offset), first = lap_near_i(j, 0),
              last = lap_near_i(j, a->count - 1);
    if (a->run == 1) {
        lap_near_set(j, a->key, number);
        return LAP_NONE;
    }
    lap_near_set(j, a->key, lap_coord_min(c, lap_coord_max(c, number, first), last));
    lap_ref at = lap_coord_ref(c, number);
    return lap_mask_both(j->k, lap_map2(j->k->k, LAP_FN_GE, at, lap_coord_ref(c, first)),
                         lap_map2(j->k->k, LAP_FN_LE, at, lap_coord_ref(c, last)));
}

/* The same for all axes of the window. */
static lap_ref set_keys(row_work *w, lap_coord key)
{
    lap_near_job *j = w->j;
    const lap_near_axis *axis = j->near.axis;
    lap_coord along = j->is_folded ? key : w->wy;
    lap_ref ok = set_key(w, j->t, lap_near_row(j, w->t, w->lane), along);
    if (j->x >= 0) {
        ok = lap_mask_both(j->k, ok, set_key(w, j->x, lap_near_lane(j, w->lane), key));
    }
    if (j->z >= 0) {
        lap_near_set(j, axis[j->z].key, w->wz);
    }
    return ok;
}

static lap_coord s_at(row_work *w, lap_coord key)
{
    return lap_near_s(w->j, w->t, w->wz, w->wy, key, w->lane);
}

/* Whether scores are the products but for a factor: they are not written again before the weights are. */
static bool is_raw(lap_near_job *j)
{
    return lap_ref_same(j->near.score, j->product) && !lap_ref_some(j->near.where) && !j->near.has_runs &&
           j->norm == LAP_NORM_SOFTMAX;
}

static lap_ref edited(row_work *w, lap_coord key)
{
    lap_near_job *j = w->j;
    lap_kctx *k = j->k;
    lap_ref at = lap_coord_ref(k->c, s_at(w, key)), product = lap_k_load(k->k, j->s, at, LAP_NONE);
    if (lap_ref_some(j->factor)) {
        product = lap_map2(k->k, LAP_FN_MUL, product, j->factor);
    }
    if (is_raw(j)) {
        return product;
    }
    lap_ref ok = set_keys(w, key);
    if (lap_ref_some(j->near.where)) {
        ok = lap_mask_both(k, ok, lap_pull_ref(k, j->near.where, lap_near_env(j, j->near.where), LAP_NONE));
    }
    /* reads that may fail are of what is seen alone */
    lap_ref mask = lap_plan_of(j->l, j->near.score)->may_fail ? ok : LAP_NONE;
    lap_know(k, j->product, lap_near_env(j, j->product), mask, lap_val_of(k, product));
    lap_ref s = lap_pull_ref(k, j->near.score, lap_near_env(j, j->near.score), mask);
    if (lap_ref_some(ok)) {
        double none = j->norm == LAP_NORM_SOFTMAX ? -__builtin_inf() : 0;
        s = lap_map3(k->k, LAP_FN_SELECT, ok, s, lap_const_f(k->k, none));
    }
    lap_k_store(k->k, j->s, at, s, LAP_NONE);
    return s;
}

static lap_coord top_at(lap_near_job *j, lap_coord t, lap_coord lane)
{
    return lap_near_sum(j, lap_near_times(j, t, lap_near_i(j, j->lanes)), lane);
}

static void edit_lanes(lap_near_job *j, lap_coord t, bool is_plain)
{
    lap_kctx *k = j->k;
    row_work w = {.j = j, .t = t, .is_plain = is_plain};
    lap_k_loop vector = lap_kctx_for(k, LAP_LOOP_VECTOR, lap_near_d(j, j->lanes),
                                     lap_coord_ref(k->c, lap_near_lanes(j, t)), 0, NULL, &w.lane);
    lap_near_set_row(j, t, w.lane);
    lap_ref most = fold_keys(&w, LAP_FN_LARGER, lap_const_f(k->k, -__builtin_inf()), edited);
    lap_k_store(k->k, j->top, lap_coord_ref(k->c, top_at(j, t, w.lane)), most, LAP_NONE);
    lap_kctx_end(k, &vector, NULL, NULL);
}

/* Whether no lane's window is clamped along the axis, first .. last being its positions. */
static lap_ref is_inside(lap_near_job *j, int axis, lap_coord first, lap_coord last)
{
    lap_kctx *k = j->k;
    const lap_near_axis *a = &j->near.axis[axis];
    lap_ref ok = LAP_NONE;
    lap_coord_window *w = &j->window[axis];
    if (w->has_lo) {
        lap_coord at = lap_near_sum(j, first, lap_near_i(j, -a->back));
        ok = lap_map2(k->k, LAP_FN_GE, lap_coord_ref(k->c, at), lap_coord_ref(k->c, w->lo));
    }
    if (w->has_hi) {
        lap_coord at = lap_near_sum(j, last, lap_near_i(j, -a->back));
        ok = lap_mask_both(k, ok,
                           lap_map2(k->k, LAP_FN_LE, lap_coord_ref(k->c, at), lap_coord_ref(k->c, w->hi)));
    }
    return ok;
}

static void edit_either(lap_near_job *j, lap_coord t)
{
    lap_kctx *k = j->k;
    lap_coord none = lap_near_i(j, 0), last = lap_coord_sub(k->c, lap_near_lanes(j, t), lap_near_i(j, 1));
    lap_ref ok = is_inside(j, j->t, lap_near_row(j, t, none), lap_near_row(j, t, last));
    if (j->x >= 0) {
        ok = lap_mask_both(k, ok, is_inside(j, j->x, lap_near_lane(j, none), lap_near_lane(j, last)));
    }
    if (!j->near.edits_by_key || !lap_ref_some(ok)) {
        edit_lanes(j, t, true);
        return;
    }
    for (int is_plain = 1; is_plain >= 0; is_plain--) {
        lap_ref cond = is_plain ? ok : lap_map1(k->k, LAP_FN_NOT, ok);
        lap_region_id region = lap_k_if(k->k, cond);
        k->stack[k->depth++] = region;
        edit_lanes(j, t, is_plain);
        lap_k_end_if(k->k, region, cond);
        k->depth--;
    }
}

static lap_ref weight(row_work *w, lap_coord key)
{
    lap_kctx *k = w->j->k;
    lap_ref at = lap_coord_ref(k->c, s_at(w, key)), s = lap_k_load(k->k, w->j->s, at, LAP_NONE);
    if (w->j->norm != LAP_NORM_SOFTMAX) {
        return s;
    }
    lap_ref power = lap_map2(k->k, LAP_FN_MUL, s, w->power);
    lap_ref e = lap_map1(k->k, LAP_FN_EXP2, lap_map2(k->k, LAP_FN_SUB, power, w->shift));
    lap_k_store(k->k, w->j->s, at, e, LAP_NONE);
    return e;
}

static void store_row(lap_near_job *j, const char *which, lap_coord t, lap_coord lane, lap_ref v)
{
    lap_kctx *k = j->k;
    lap_ref result = lap_result_named(j->l, j->op, which);
    if (!lap_ref_some(result)) {
        return;
    }
    lap_ref inside =
        lap_map2(k->k, LAP_FN_LT, lap_coord_ref(k->c, lane), lap_coord_ref(k->c, lap_near_lanes(j, t)));
    lap_ref at = lap_coord_ref(k->c, lap_address(k, result, lap_near_env(j, result)));
    lap_k_store(k->k, lap_kctx_buffer(k, lap_plan_of(j->l, result)->buffer), at, v, inside);
}

static lap_ref factor_of(lap_near_job *j, lap_ref sum)
{
    lap_graph *g = j->k->k;
    lap_ref zero = lap_const_f(g, 0), one = lap_const_f(g, 1);
    if (j->norm == LAP_NORM_NONE) {
        return one;
    }
    const lap_attr *eps = lap_node_attr(j->n, LAP_ATTR_EPS);
    lap_ref d = eps != NULL ? lap_map2(g, LAP_FN_MAX, sum, lap_const_f(g, eps->f)) : sum;
    lap_ref empty = lap_const_f(g, lap_attr_f(j->n, LAP_ATTR_EMPTY, 0));
    return lap_map3(g, LAP_FN_SELECT, lap_map2(g, LAP_FN_EQ, d, zero), empty,
                    lap_map2(g, LAP_FN_DIV, one, d));
}

static void weigh_lanes(lap_near_job *j, lap_coord t)
{
    lap_kctx *k = j->k;
    lap_graph *g = k->k;
    bool soft = j->norm == LAP_NORM_SOFTMAX;
    row_work w = {.j = j, .t = t};
    lap_ref zero = lap_const_f(g, 0);
    lap_k_loop vector = lap_kctx_for(k, LAP_LOOP_VECTOR, lap_near_d(j, j->lanes), LAP_NONE, 0, NULL, &w.lane);
    lap_ref at = lap_coord_ref(k->c, top_at(j, t, w.lane)), most = lap_k_load(g, j->top, at, LAP_NONE);
    lap_ref is_finite =
        lap_map2(g, LAP_FN_AND, lap_map2(g, LAP_FN_GT, most, lap_const_f(g, -__builtin_inf())),
                 lap_map2(g, LAP_FN_LT, most, lap_const_f(g, __builtin_inf())));
    lap_ref base = lap_map3(g, LAP_FN_SELECT, is_finite, most, zero);
    w.power = lap_const_f(g, M_LOG2E);
    w.shift = lap_map2(g, LAP_FN_MUL, base, w.power);
    if (is_raw(j) && lap_ref_some(j->factor)) {
        w.power = lap_map2(g, LAP_FN_MUL, j->factor, w.power);
    }
    lap_ref sum = fold_keys(&w, LAP_FN_ADD, zero, weight);
    lap_k_store(g, j->scale, at, factor_of(j, sum), LAP_NONE);
    lap_near_set_row(j, t, w.lane);
    store_row(j, "max", t, w.lane, soft ? most : zero);
    store_row(j, "sum", t, w.lane, sum);
    if (lap_ref_some(lap_result_named(j->l, j->op, "lse"))) {
        lap_ref lse = lap_map2(g, LAP_FN_ADD, lap_map1(g, LAP_FN_LOG, sum), soft ? base : zero);
        store_row(j, "lse", t, w.lane, lse);
    }
    lap_kctx_end(k, &vector, NULL, NULL);
}

void lap_near_normalise(lap_near_job *j)
{
    lap_coord t;
    lap_k_loop rows = lap_kctx_for(j->k, LAP_LOOP_SERIAL, lap_near_d(j, j->rows),
                                   lap_coord_ref(j->k->c, lap_near_rows(j)), 0, NULL, &t);
    edit_either(j, t);
    weigh_lanes(j, t);
    lap_kctx_end(j->k, &rows, NULL, NULL);
}
