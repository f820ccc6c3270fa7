/* SPDX-License-Identifier: Apache-2.0
 * attend_few.c - attend by few queries that share their keys: at the speed of memory.
 *
 *   grid: batch x parts of the keys
 *     for each block of keys: scores of all rows, lanes along d; edits, weights, keys in lanes;
 *       acc += weights * values, lanes along the values
 *   merge the parts
 *
 * Keys and values are read once, in place and in order, through their own expression: no panels. Some keys
 * and some rows meet in registers, so that a key that is loaded serves all rows. The number of parts follows
 * from sizes and schedule alone. */
#include "passes/attend.h"
#include "passes/attend_few.h"
#include "passes/tiles.h"

#include <string.h>

enum { MOST_BLOCK = 64, MOST_KEYS = 8, LINE = 16 };

typedef struct job {
    lap_few_kernel f;
    const lap_few *few;
    lap_kctx *k;
    int64_t rows, keys, groups, block, part; /* rows x keys in registers; groups of rows; keys of a block */
    int64_t s_stride;
    lap_ref q, s, acc, max, sum; /* scratch */
    lap_coord n_rows, n_groups;
    lap_coord end, key0, n; /* of the keys of this part; first key of the block, and how many */
    bool masks_values;      /* keys that do not exist are read */
} job;

static lap_ref f32(job *j, double v) { return lap_const_f(j->k->k, v); }
static lap_coord c_int(job *j, int64_t v) { return lap_coord_const(j->k->c, v); }
static lap_dim d_int(job *j, int64_t v) { return lap_dim_const(j->f.l->ctx, v); }
static lap_coord plus(job *j, lap_coord a, lap_coord b) { return lap_coord_add(j->k->c, a, b); }
static lap_coord minus(job *j, lap_coord a, lap_coord b) { return lap_coord_sub(j->k->c, a, b); }
static lap_coord times(job *j, lap_coord a, int64_t by) { return lap_coord_mul(j->k->c, a, c_int(j, by)); }
static lap_coord ceil_of(job *j, lap_coord a, int64_t by)
{
    return lap_coord_floordiv(j->k->c, plus(j, a, c_int(j, by - 1)), c_int(j, by));
}

static lap_ref load(job *j, lap_ref buffer, lap_coord at)
{
    return lap_k_load(j->k->k, buffer, lap_coord_ref(j->k->c, at), LAP_NONE);
}

static void store(job *j, lap_ref buffer, lap_coord at, lap_ref v)
{
    lap_k_store(j->k->k, buffer, lap_coord_ref(j->k->c, at), v, LAP_NONE);
}

static lap_ref as_float(job *j, lap_ref v)
{
    return lap_node_at(j->k->k, v)->dtype == LAP_F32 ? v : lap_map1(j->k->k, LAP_FN_FLOAT, v);
}

static lap_ref multiply_add(job *j, lap_ref acc, lap_ref a, lap_ref b)
{
    return lap_map2(j->k->k, LAP_FN_ADD, acc, lap_map2(j->k->k, LAP_FN_MUL, a, b));
}

static lap_k_loop serial(job *j, int64_t most, lap_coord extent, lap_coord *out)
{
    return lap_kctx_for(j->k, LAP_LOOP_SERIAL, d_int(j, most), lap_coord_ref(j->k->c, extent), 0, NULL, out);
}

static void end(job *j, lap_k_loop *loop) { lap_kctx_end(j->k, loop, NULL, NULL); }

static lap_coord s_at(job *j, lap_coord row, lap_coord key)
{
    return plus(j, times(j, row, j->s_stride), key);
}

static lap_coord row_at(job *j, lap_coord row, lap_dim stride, lap_coord e)
{
    return plus(j, lap_coord_mul(j->k->c, row, lap_coord_dim(j->k->c, stride)), e);
}

/* Number i of the keys of register block b; beyond the last key, the last. */
static void set_key(job *j, lap_coord b, int64_t i)
{
    lap_coord key = plus(j, j->key0, plus(j, times(j, b, j->keys), c_int(j, i)));
    int64_t n;
    bool is_whole = lap_dim_is_const(j->f.l->ctx, j->few->n_keys, &n) && n % j->keys == 0 &&
                    j->part % j->keys == 0 && j->block % j->keys == 0 && !j->masks_values;
    if (!is_whole) {
        key = lap_coord_min(j->k->c, key, minus(j, j->end, c_int(j, 1)));
    }
    lap_few_set(&j->f, j->few->keys, key);
}

static lap_ref product(job *j, const lap_factors *f)
{
    lap_ref all = LAP_NONE;
    for (uint32_t i = 0; i < f->n; i++) {
        lap_ref v = as_float(j, lap_pull_ref(j->k, f->at[i], lap_few_env(&j->f, f->at[i]), LAP_NONE));
        all = lap_ref_some(all) ? lap_map2(j->k->k, LAP_FN_MUL, all, v) : v;
    }
    return all;
}

/* The same of values, 0 for keys that do not exist. */
static lap_ref value_of(job *j, const lap_factors *f)
{
    return j->masks_values ? lap_factors_value(j->k, f, &j->f.env, LAP_NONE, true) : product(j, f);
}

/* ---- scores ---- */

static void pack_queries(job *j)
{
    lap_coord row, d;
    lap_coord padded = times(j, j->n_groups, j->rows);
    lap_k_loop rows = serial(j, j->groups * j->rows, padded, &row);
    lap_few_set(&j->f, j->few->rows, lap_coord_min(j->k->c, row, minus(j, j->n_rows, c_int(j, 1))));
    lap_k_loop depth = lap_kctx_for(j->k, LAP_LOOP_VECTOR, j->few->n_depth, LAP_NONE, 0, NULL, &d);
    lap_few_set(&j->f, j->few->depth, d);
    store(j, j->q, row_at(j, row, j->few->n_depth, d), product(j, &j->few->q));
    end(j, &depth);
    end(j, &rows);
}

/* Whether a list of the keys' places is read for one of these values. */
static bool is_listed(lap_lowering *l, uint32_t n, const lap_ref *at, uint32_t *steps)
{
    enum { MOST_STEPS = 64 };
    for (uint32_t i = 0; i < n && ++*steps < MOST_STEPS; i++) {
        const lap_node *x = lap_node_at(l->g, at[i]);
        const lap_plan_node *p = lap_plan_of(l, at[i]);
        bool is_here = p->kind == LAP_STORE_INLINE && !p->is_affine;
        if (is_here && ((x->op == LAP_OP_AT && !p->is_view) || is_listed(l, x->n_args, x->args, steps))) {
            return true;
        }
    }
    return false;
}

/* Reads one element of each key of register block b: the entries of lists that this finds, and their checks,
 * are then known to the loop over all elements. */
static void find_keys(job *j, lap_axis_list inner, lap_coord b, const lap_factors *f)
{
    uint32_t steps = 0;
    if (!is_listed(j->f.l, f->n, f->at, &steps) || j->masks_values) {
        return;
    }
    lap_few_set(&j->f, inner, c_int(j, 0));
    for (int64_t i = 0; i < j->keys; i++) {
        set_key(j, b, i);
        product(j, f);
    }
}

/* Some rows against some keys, in registers. */
/* How far ahead rows of these factors are fetched; those that a list names do not follow each other. */
static int64_t ahead_of(job *j, const lap_factors *f)
{
    uint32_t steps = 0;
    return is_listed(j->f.l, f->n, f->at, &steps) ? 0 : lap_knob_value(j->f.l, LAP_KNOB_FEW_AHEAD);
}

static void score_keys(job *j, lap_coord row0, lap_coord b)
{
    lap_kctx *k = j->k;
    uint32_t n = (uint32_t)(j->rows * j->keys);
    lap_ref acc[MOST_BLOCK], key[MOST_KEYS];
    lap_coord d;
    LAP_ENSURE(n <= MOST_BLOCK && j->keys <= MOST_KEYS);
    for (uint32_t i = 0; i < n; i++) {
        acc[i] = f32(j, 0);
    }
    find_keys(j, j->few->depth, b, &j->few->k);
    lap_k_loop depth = lap_kctx_for(k, LAP_LOOP_VECTOR, j->few->n_depth, LAP_NONE, n, acc, &d);
    memcpy(acc, depth.carried, n * sizeof *acc);
    lap_few_set(&j->f, j->few->depth, d);
    k->ahead = ahead_of(j, &j->few->k);
    for (int64_t i = 0; i < j->keys; i++) {
        set_key(j, b, i);
        key[i] = product(j, &j->few->k);
    }
    k->ahead = 0;
    for (int64_t r = 0; r < j->rows; r++) {
        lap_ref q = load(j, j->q, row_at(j, plus(j, row0, c_int(j, r)), j->few->n_depth, d));
        for (int64_t i = 0; i < j->keys; i++) {
            acc[r * j->keys + i] = multiply_add(j, acc[r * j->keys + i], q, key[i]);
        }
    }
    lap_kctx_end(k, &depth, acc, acc);
    for (int64_t i = 0; i < n; i++) {
        lap_coord row = plus(j, row0, c_int(j, i / j->keys));
        store(j, j->s, s_at(j, row, plus(j, times(j, b, j->keys), c_int(j, i % j->keys))), acc[i]);
    }
}

static void scores(job *j)
{
    lap_coord g, b;
    lap_k_loop groups = serial(j, j->groups, j->n_groups, &g);
    lap_k_loop blocks = serial(j, (j->block + j->keys - 1) / j->keys, ceil_of(j, j->n, j->keys), &b);
    score_keys(j, times(j, g, j->rows), b);
    end(j, &blocks);
    end(j, &groups);
}

/* ---- weights ---- */

static lap_k_loop keys_loop(job *j, const lap_ref *init, lap_coord *key)
{
    return lap_kctx_for(j->k, LAP_LOOP_VECTOR, d_int(j, j->block), lap_coord_ref(j->k->c, j->n),
                        init != NULL ? 1 : 0, init, key);
}

/* Score edits and mask, in place; the largest score. */
static lap_ref edit_row(job *j, lap_coord row)
{
    lap_kctx *k = j->k;
    const lap_few *few = j->few;
    bool soft = j->f.norm == LAP_NORM_SOFTMAX;
    lap_coord key;
    lap_ref most = f32(j, -__builtin_inf());
    lap_few_set(&j->f, few->rows, row);
    lap_k_loop keys = keys_loop(j, &most, &key);
    lap_few_set(&j->f, few->keys, plus(j, j->key0, key));
    if (few->k_outer.n > 0) {
        lap_ref raw = load(j, j->s, s_at(j, row, key));
        store(j, j->s, s_at(j, row, key), lap_map2(k->k, LAP_FN_MUL, raw, product(j, &few->k_outer)));
    }
    k->n_overrides = 1;
    k->overrides[0] = (lap_override){.node = few->contraction,
                                     .buffer = j->s,
                                     .index = s_at(j, row, key),
                                     .env = lap_few_env(&j->f, few->contraction)};
    const lap_node *score = lap_node_at(j->f.l->g, few->score);
    lap_ref ok = lap_present(k, score->n_axes, score->axes, lap_few_env(&j->f, few->score), &few->part->keys);
    if (lap_ref_some(few->where)) {
        ok = lap_mask_both(k, ok, lap_pull_ref(k, few->where, lap_few_env(&j->f, few->where), ok));
    }
    lap_ref s = as_float(j, lap_pull_ref(k, few->score, lap_few_env(&j->f, few->score), LAP_NONE));
    k->n_overrides = 0;
    if (lap_ref_some(ok)) {
        s = lap_map3(k->k, LAP_FN_SELECT, ok, s, f32(j, soft ? -__builtin_inf() : 0));
    }
    if (lap_ref_some(ok) || !lap_ref_same(few->score, few->contraction)) {
        store(j, j->s, s_at(j, row, key), s);
    }
    most = lap_map2(k->k, LAP_FN_LARGER, keys.carried[0], s);
    lap_kctx_end(k, &keys, &most, &most);
    return most;
}

static lap_region_id begin_if(job *j, lap_ref cond)
{
    lap_region_id region = {0};
    if (lap_ref_some(cond)) {
        region = lap_k_if(j->k->k, cond);
        j->k->stack[j->k->depth++] = region;
    }
    return region;
}

static void end_if(job *j, lap_region_id region, lap_ref cond)
{
    if (lap_ref_some(cond)) {
        lap_k_end_if(j->k->k, region, cond);
        j->k->depth--;
    }
}

static void shrink_row(job *j, lap_coord row, lap_ref shrink)
{
    lap_graph *g = j->k->k;
    lap_coord e;
    lap_ref moved = lap_map2(g, LAP_FN_NE, shrink, f32(j, 1));
    lap_region_id region = begin_if(j, moved);
    lap_k_loop wide = lap_kctx_for(j->k, LAP_LOOP_VECTOR, j->few->n_wide, LAP_NONE, 0, NULL, &e);
    lap_coord at = row_at(j, row, j->few->n_wide, e);
    store(j, j->acc, at, lap_map2(g, LAP_FN_MUL, load(j, j->acc, at), shrink));
    end(j, &wide);
    end_if(j, region, moved);
}

/* Weights of a row in place of its scores, their sum and maximum brought up to date. */
static void weigh_row(job *j, lap_coord row)
{
    lap_graph *g = j->k->k;
    bool soft = j->f.norm == LAP_NORM_SOFTMAX;
    lap_coord key;
    lap_ref most = edit_row(j, row), total = f32(j, 0), base = LAP_NONE, sum = load(j, j->sum, row);
    if (soft) {
        lap_ref old = load(j, j->max, row), grown = lap_map2(g, LAP_FN_LARGER, old, most);
        base = lap_few_base(&j->f, grown);
        lap_ref shrink = lap_few_exp(&j->f, old, base);
        store(j, j->max, row, grown);
        sum = lap_map2(g, LAP_FN_MUL, sum, shrink);
        shrink_row(j, row, shrink);
    }
    lap_k_loop keys = keys_loop(j, &total, &key);
    lap_ref p = load(j, j->s, s_at(j, row, key));
    if (soft) {
        p = lap_few_exp(&j->f, p, base);
    }
    lap_ref weight = p;
    lap_few_set(&j->f, j->few->keys, plus(j, j->key0, key));
    if (j->few->v_outer.n > 0) {
        weight = lap_map2(g, LAP_FN_MUL, p, value_of(j, &j->few->v_outer));
    }
    if (lap_ref_some(j->few->after)) {
        lap_ref by = lap_pull_ref(j->k, j->few->after, lap_few_env(&j->f, j->few->after), LAP_NONE);
        weight = lap_map2(g, LAP_FN_MUL, weight, as_float(j, by));
    }
    if (!lap_ref_same(weight, p) || soft) {
        store(j, j->s, s_at(j, row, key), weight);
    }
    total = lap_map2(g, LAP_FN_ADD, keys.carried[0], p);
    lap_kctx_end(j->k, &keys, &total, &total);
    store(j, j->sum, row, lap_map2(g, LAP_FN_ADD, sum, total));
    lap_coord beyond = minus(j, times(j, ceil_of(j, j->n, j->keys), j->keys), j->n);
    lap_k_loop rest = serial(j, j->keys, beyond, &key); /* of the last register block */
    store(j, j->s, s_at(j, row, plus(j, j->n, key)), f32(j, 0));
    end(j, &rest);
}

/* ---- values ---- */

static void weigh_values(job *j, lap_coord row0, lap_coord b)
{
    lap_kctx *k = j->k;
    lap_ref weight[MOST_BLOCK], value[MOST_KEYS];
    lap_coord e;
    for (int64_t i = 0; i < j->rows * j->keys; i++) {
        lap_coord row = plus(j, row0, c_int(j, i / j->keys));
        weight[i] = load(j, j->s, s_at(j, row, plus(j, times(j, b, j->keys), c_int(j, i % j->keys))));
    }
    find_keys(j, j->few->wide, b, &j->few->v);
    lap_k_loop wide = lap_kctx_for(k, LAP_LOOP_VECTOR, j->few->n_wide, LAP_NONE, 0, NULL, &e);
    lap_few_set(&j->f, j->few->wide, e);
    k->ahead = ahead_of(j, &j->few->v);
    for (int64_t i = 0; i < j->keys; i++) {
        set_key(j, b, i);
        value[i] = value_of(j, &j->few->v);
    }
    k->ahead = 0;
    for (int64_t r = 0; r < j->rows; r++) {
        lap_coord at = row_at(j, plus(j, row0, c_int(j, r)), j->few->n_wide, e);
        lap_ref acc = load(j, j->acc, at);
        for (int64_t i = 0; i < j->keys; i++) {
            acc = multiply_add(j, acc, weight[r * j->keys + i], value[i]);
        }
        store(j, j->acc, at, acc);
    }
    lap_kctx_end(k, &wide, NULL, NULL);
}

static void values(job *j)
{
    lap_coord g, b;
    lap_k_loop groups = serial(j, j->groups, j->n_groups, &g);
    lap_k_loop blocks = serial(j, (j->block + j->keys - 1) / j->keys, ceil_of(j, j->n, j->keys), &b);
    weigh_values(j, times(j, g, j->rows), b);
    end(j, &blocks);
    end(j, &groups);
}

/* ---- the kernel ---- */

static void choose(job *j)
{
    lap_lowering *l = j->f.l;
    int64_t rows = lap_knob_value(l, LAP_KNOB_FEW_ROWS), keys = lap_knob_value(l, LAP_KNOB_FEW_KEYS);
    j->groups = (j->few->most + rows - 1) / rows;
    j->rows = (j->few->most + j->groups - 1) / j->groups;
    for (j->keys = 1; 2 * j->keys * j->rows <= keys * rows && 2 * j->keys <= MOST_KEYS;) {
        j->keys *= 2;
    }
    j->block = lap_knob_value(l, LAP_KNOB_FEW_BLOCK);
    j->part = lap_knob_value(l, LAP_KNOB_FEW_PART);
    j->s_stride = (j->block + j->keys - 1) / j->keys * j->keys + LINE;
}

static void make_scratch(job *j)
{
    lap_ctx *ctx = j->f.l->ctx;
    lap_dim rows = d_int(j, j->groups * j->rows);
    j->q = lap_kctx_scratch(j->k, LAP_F32, lap_dim_mul(ctx, rows, j->few->n_depth));
    j->s = lap_kctx_scratch(j->k, LAP_F32, lap_dim_mul(ctx, rows, d_int(j, j->s_stride)));
    j->acc = lap_kctx_scratch(j->k, LAP_F32, lap_dim_mul(ctx, rows, j->few->n_wide));
    j->max = lap_kctx_scratch(j->k, LAP_F32, rows);
    j->sum = lap_kctx_scratch(j->k, LAP_F32, rows);
}

static void clear(job *j)
{
    lap_coord row, e;
    lap_k_loop rows = serial(j, j->groups * j->rows, times(j, j->n_groups, j->rows), &row);
    store(j, j->max, row, f32(j, -__builtin_inf()));
    store(j, j->sum, row, f32(j, 0));
    lap_k_loop wide = lap_kctx_for(j->k, LAP_LOOP_VECTOR, j->few->n_wide, LAP_NONE, 0, NULL, &e);
    store(j, j->acc, row_at(j, row, j->few->n_wide, e), f32(j, 0));
    end(j, &wide);
    end(j, &rows);
}

static lap_ref batch_is_there(job *j)
{
    const lap_axis_list batch = j->few->batch;
    lap_name names[LAP_MAX_AXES];
    LAP_ENSURE(batch.n <= LAP_MAX_AXES);
    for (uint32_t i = 0; i < batch.n; i++) {
        names[i] = batch.at[i].name;
    }
    return lap_present(j->k, j->f.env.n, j->f.env.axes, j->f.coords, &(lap_names){batch.n, names});
}

/* Keys that exist, as far as that is the same for all rows. */
static lap_coord limit(job *j)
{
    const lap_few *few = j->few;
    lap_coord all = lap_coord_dim(j->k->c, few->n_keys);
    const lap_node *sides[2] = {lap_node_at(j->f.l->g, few->score), lap_node_at(j->f.l->g, few->value)};
    for (int i = 0; i < 2; i++) {
        for (uint32_t a = 0; a < few->keys.n; a++) {
            const lap_axis *key = lap_node_axis(sides[i], few->keys.at[a].name);
            if (key == NULL || !lap_ref_some(key->count)) {
                continue;
            }
            if (!lap_few_counts_by_batch(j->f.l, few, key)) {
                j->masks_values = j->masks_values || i == 1;
                continue;
            }
            lap_ref count =
                lap_val_ref(j->k, lap_pull(j->k, key->count, lap_few_env(&j->f, key->count), LAP_NONE));
            all = lap_coord_min(j->k->c, all, lap_coord_opaque(j->k->c, count));
        }
    }
    lap_ref here = batch_is_there(j);
    if (lap_ref_some(here)) { /* an absent one has no keys */
        lap_ref some = lap_coord_ref(j->k->c, all), none = lap_const_i(j->k->k, 0);
        all = lap_coord_opaque(j->k->c, lap_map3(j->k->k, LAP_FN_SELECT, here, some, none));
    }
    return all;
}

/* Whether the mask admits some pair of the block. */
static lap_ref holds(job *j)
{
    lap_kctx *k = j->k;
    const lap_few *few = j->few;
    if (!lap_ref_some(few->where)) {
        return LAP_NONE;
    }
    lap_skip s = {.k = k,
                  .n_rows = j->n_rows,
                  .n_keys = j->n,
                  .row = lap_coord_stand_in(k->c, d_int(j, few->most)),
                  .key = lap_coord_stand_in(k->c, d_int(j, j->block))};
    lap_few_set(&j->f, few->rows, s.row);
    lap_few_set(&j->f, few->keys, plus(j, j->key0, s.key));
    return lap_attend_holds(&s, few->where, lap_few_env(&j->f, few->where), LAP_OF_SOME);
}

static void blocks(job *j, lap_coord start)
{
    lap_coord b, row, keys = lap_coord_max(j->k->c, minus(j, j->end, start), c_int(j, 0));
    lap_k_loop all = serial(j, (j->part + j->block - 1) / j->block, ceil_of(j, keys, j->block), &b);
    j->key0 = plus(j, start, times(j, b, j->block));
    j->n = lap_coord_min(j->k->c, minus(j, j->end, j->key0), c_int(j, j->block));
    lap_ref seen = holds(j);
    lap_region_id region = begin_if(j, seen);
    scores(j);
    lap_k_loop rows = serial(j, j->few->most, j->n_rows, &row);
    weigh_row(j, row);
    end(j, &rows);
    values(j);
    end_if(j, region, seen);
    end(j, &all);
}

static void keep_row(job *j, const lap_few_parts *parts, lap_coord at, lap_coord row)
{
    lap_kctx *k = j->k;
    lap_coord e;
    lap_coord slot = plus(j, lap_coord_mul(k->c, at, lap_coord_dim(k->c, parts->n_rows)), row);
    store(j, lap_kctx_buffer(k, parts->max), slot, load(j, j->max, row));
    store(j, lap_kctx_buffer(k, parts->sum), slot, load(j, j->sum, row));
    lap_k_loop wide = lap_kctx_for(k, LAP_LOOP_VECTOR, j->few->n_wide, LAP_NONE, 0, NULL, &e);
    store(j, lap_kctx_buffer(k, parts->acc), row_at(j, slot, j->few->n_wide, e),
          load(j, j->acc, row_at(j, row, j->few->n_wide, e)));
    end(j, &wide);
}

/* Opens the grid; rows as wide as they are known. Returns the first key of this part. */
static lap_coord open_grid(job *j, lap_dim n_parts, lap_coord *out_flat)
{
    lap_ctx *ctx = j->f.l->ctx;
    lap_coord at[2];
    lap_dim sizes[2] = {lap_axes_product(j->f.l, j->few->batch), n_parts};
    *out_flat = lap_kctx_grid(j->k, lap_dims_product(ctx, 2, sizes));
    lap_coord_split(j->k, *out_flat, 2, sizes, at);
    lap_few_set(&j->f, j->few->batch, at[0]);
    lap_coord start = times(j, at[1], j->part);
    j->n_rows = lap_coord_dim(j->k->c, j->few->n_rows);
    j->n_groups = ceil_of(j, j->n_rows, j->rows);
    j->end = lap_coord_min(j->k->c, limit(j), plus(j, start, c_int(j, j->part)));
    return start;
}

void lap_attend_few(lap_lowering *l, lap_ref attend)
{
    lap_few few;
    LAP_ENSURE(lap_few_find(l, attend, lap_plan_of(l, attend)->anchor, &few));
    job j = {.f = lap_few_kernel_new(l, attend, &few), .few = &few};
    j.k = j.f.k;
    choose(&j);
    lap_dim n_parts = lap_dim_ceildiv(l->ctx, few.n_keys, d_int(&j, j.part));
    bool is_split = lap_dim_compare(l->ctx, n_parts, LAP_REL_LE, d_int(&j, 1)) != LAP_YES;
    lap_few_parts parts = {0};
    if (is_split) {
        parts = lap_few_parts_new(l, &few, n_parts);
    } else {
        n_parts = d_int(&j, 1);
    }
    lap_coord flat, row, start = open_grid(&j, n_parts, &flat);
    make_scratch(&j);
    pack_queries(&j);
    clear(&j);
    blocks(&j, start);
    lap_k_loop rows = serial(&j, few.most, j.n_rows, &row);
    if (is_split) {
        keep_row(&j, &parts, flat, row);
    } else {
        lap_few_set(&j.f, few.rows, row);
        lap_coord at = row_at(&j, row, few.n_wide, c_int(&j, 0));
        lap_few_finish(&j.f, load(&j, j.max, row), load(&j, j.sum, row), j.acc, at);
    }
    end(&j, &rows);
    j.k->roles = lap_arena_printf(
        l->ctx->arena, "few batch=(%s) rows=(%s) keys=(%s) block=%lldx%lld",
        lap_axes_text(l, few.batch.n, few.batch.at), lap_axes_text(l, few.rows.n, few.rows.at),
        lap_axes_text(l, few.keys.n, few.keys.at), (long long)j.rows, (long long)j.keys);
    lap_kctx_launch(j.k, "attend");
    if (is_split) {
        lap_few_merge(l, attend, &few, &parts);
    }
}
