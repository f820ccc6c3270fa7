/* SPDX-License-Identifier: Apache-2.0
 * attend_tiles.c - streaming attend: a block of queries against one block of keys after another.
 *
 *   pack K and V into panels; grid: batch x blocks of query rows
 *     for each block of keys: S = Q K' (register tiles), score edits and mask on S in cache,
 *       running maximum, P = exp(S - max), sum, rescale only when the maximum moved, acc += P V
 *     out = acc / sum
 *
 * Takes attends of one part whose score is elementwise around one contraction of queries and keys.
 * Milakov and Gimelshein 2018 (online normaliser), Dao et al. 2022 (tiling). */
#include "passes/attend.h"
#include "passes/tiles.h"

#include <string.h>

enum { TILES_PER_BLOCK = 8, PANELS_PER_BLOCK = 4 };

static bool has_all(lap_axis_list axes, lap_names names)
{
    for (uint32_t i = 0; i < names.n; i++) {
        if (lap_axis_find(axes.at, axes.n, names.at[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* Roles of the score's contraction with the keys on the vector side. */
static bool score_roles(lap_lowering *l, lap_ref contraction, lap_names keys, lap_roles *r)
{
    if (!lap_contract_roles(l, contraction, r)) {
        return false;
    }
    if (has_all(r->m, keys)) {
        lap_roles_swap(r);
    }
    return r->n.n == keys.n && has_all(r->n, keys);
}

/* Value as the second contraction's B: batch from the score's batch, n new axes, k the keys. */
static bool value_roles(lap_lowering *l, const lap_node *op, const lap_part *part, const lap_roles *score,
                        lap_roles *r)
{
    lap_ref value = op->args[part->value];
    const lap_node *v = lap_node_at(l->g, value);
    lap_axis *lists = lap_arena_array(l->ctx->arena, 3 * (v->n_axes + 1), sizeof *lists);
    lap_axis *batch = lists, *n = lists + v->n_axes + 1, *k = n + v->n_axes + 1;
    *r = (lap_roles){.b = {1, {value}}, .batch = {0, batch}, .n = {0, n}, .k = {0, k}};
    for (uint32_t i = 0; i < score->n.n; i++) { /* keys in the order of the score's panels */
        const lap_axis *a = lap_node_axis(v, score->n.at[i].name);
        if (a == NULL) {
            return false;
        }
        k[r->k.n++] = *a;
        r->has_ragged_k = r->has_ragged_k || lap_ref_some(a->count);
    }
    for (uint32_t i = 0; i < v->n_axes; i++) {
        lap_name name = v->axes[i].name;
        if (lap_axis_find(score->n.at, score->n.n, name) != NULL) {
            continue;
        }
        if (lap_axis_find(score->batch.at, score->batch.n, name) != NULL) {
            batch[r->batch.n++] = v->axes[i];
        } else if (lap_axis_find(score->m.at, score->m.n, name) != NULL) {
            return false;
        } else {
            n[r->n.n++] = v->axes[i];
        }
    }
    return r->n.n > 0 && v->dtype == LAP_F32 && !lap_plan_of(l, value)->may_fail;
}

static bool within_rows(const lap_node *x, const lap_roles *r)
{
    for (uint32_t i = 0; i < x->n_axes; i++) {
        lap_name name = x->axes[i].name;
        if (lap_axis_find(r->batch.at, r->batch.n, name) == NULL &&
            lap_axis_find(r->m.at, r->m.n, name) == NULL && lap_axis_find(r->n.at, r->n.n, name) == NULL) {
            return false;
        }
    }
    return true;
}

static bool asks_only(lap_lowering *l, lap_ref op)
{
    uint32_t n;
    const lap_ref *results = lap_results_of(l, op, &n);
    for (uint32_t i = 0; i < n; i++) {
        const char *which = lap_text(l->ctx, lap_attr_name(lap_node_at(l->g, results[i]), LAP_ATTR_WHICH));
        if (strncmp(which, "weights", 7) == 0) {
            return false;
        }
    }
    return lap_ref_some(lap_result_named(l, op, "out"));
}

bool lap_attend_tiles_take(lap_lowering *l, lap_ref op, lap_ref contraction)
{
    const lap_node *n = lap_node_at(l->g, op);
    if (n->op != LAP_OP_ATTEND || lap_ref_some(lap_plan_of(l, op)->anchor) ||
        lap_attr_f(n, LAP_ATTR_EMPTY, 0) != 0) {
        return false;
    }
    lap_parts parts = lap_node_attr(n, LAP_ATTR_PARTS)->parts;
    const lap_part *part = &parts.at[0];
    lap_roles score, value;
    if (parts.n != 1 || part->after >= 0 || part->value < 0 ||
        !score_roles(l, contraction, part->keys, &score) || !value_roles(l, n, part, &score, &value) ||
        !asks_only(l, op)) {
        return false;
    }
    lap_ref score_value = n->args[part->score];
    const lap_name *names;
    if (lap_plan_of(l, score_value)->may_fail || !within_rows(lap_node_at(l->g, score_value), &score) ||
        (!lap_ref_same(score_value, contraction) && lap_plan_of(l, score_value)->kind != LAP_STORE_INLINE) ||
        !lap_plan_trace(l, contraction, score_value, &names)) {
        return false;
    }
    if (part->where >= 0 && (!within_rows(lap_node_at(l->g, n->args[part->where]), &score) ||
                             lap_plan_trace(l, contraction, n->args[part->where], &names))) {
        return false;
    }
    for (uint32_t i = 0; i < lap_node_at(l->g, contraction)->n_axes; i++) {
        lap_plan_trace(l, contraction, score_value, &names);
        if (!lap_name_same(names[i], lap_node_at(l->g, contraction)->axes[i].name)) {
            return false; /* renamed on the way: the rows' names would not match */
        }
    }
    lap_plan_of(l, op)->anchor = contraction;
    return true;
}

typedef struct job {
    lap_lowering *l;
    lap_kctx *k;
    lap_ref op;
    const lap_node *n;
    const lap_part *part;
    lap_norm norm;
    lap_ref contraction;
    lap_tiles t;
    lap_roles value;
    lap_panels kp, vp;
    lap_ref s, acc, max, sum; /* scratch: block of scores, of results, per row */
    uint32_t block_keys;
    lap_dim n_keys, n_wide, wide; /* keys, value width, width padded to panels */
    lap_coord key0, keys;         /* first key of the block, keys in it */
} job;

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
    return lap_coord_add(j->k->c, lap_coord_mul(j->k->c, row, c_int(j, j->block_keys)), key);
}

static lap_coord acc_at(job *j, lap_coord row, lap_coord e)
{
    return lap_coord_add(j->k->c, lap_coord_mul(j->k->c, row, lap_coord_dim(j->k->c, j->wide)), e);
}

static lap_k_loop rows_loop(job *j, lap_coord *row)
{
    return lap_kctx_for(j->k, LAP_LOOP_SERIAL, d_int(j, (int64_t)j->t.rows * TILES_PER_BLOCK),
                        lap_coord_ref(j->k->c, j->t.m_rows), 0, NULL, row);
}

static void clear(job *j)
{
    lap_coord row, e;
    lap_k_loop rows = lap_kctx_for(j->k, LAP_LOOP_SERIAL, d_int(j, (int64_t)j->t.rows * TILES_PER_BLOCK),
                                   LAP_NONE, 0, NULL, &row);
    row_store(j, j->max, row, f32(j, -__builtin_inf()));
    row_store(j, j->sum, row, f32(j, 0));
    lap_k_loop wide = lap_kctx_for(j->k, LAP_LOOP_VECTOR, j->wide, LAP_NONE, 0, NULL, &e);
    row_store(j, j->acc, acc_at(j, row, e), f32(j, 0));
    lap_kctx_end(j->k, &wide, NULL, NULL);
    lap_kctx_end(j->k, &rows, NULL, NULL);
}

/* S = Q K' for the block. */
static void multiply(job *j, lap_coord block)
{
    lap_kctx *k = j->k;
    lap_coord p, tile;
    lap_coord first = lap_coord_mul(k->c, block, c_int(j, PANELS_PER_BLOCK));
    lap_coord n = lap_coord_clip(k, j->kp.n_panels, first, PANELS_PER_BLOCK);
    lap_k_loop panels =
        lap_kctx_for(k, LAP_LOOP_SERIAL, d_int(j, PANELS_PER_BLOCK), lap_coord_ref(k->c, n), 0, NULL, &p);
    lap_coord b0 = lap_panel_offset(k, &j->kp, &j->t.env, lap_coord_add(k->c, first, p));
    lap_k_loop tiles = lap_kctx_for(k, LAP_LOOP_SERIAL, d_int(j, TILES_PER_BLOCK),
                                    lap_coord_ref(k->c, lap_tiles_n(&j->t)), 0, NULL, &tile);
    lap_coord at =
        s_at(j, lap_coord_mul(k->c, tile, c_int(j, j->t.rows)), lap_coord_mul(k->c, p, c_int(j, j->t.cols)));
    lap_tiles_mma(&j->t, tile, j->s, at, d_int(j, j->block_keys), lap_kctx_buffer(k, j->kp.buffer), b0);
    lap_kctx_end(k, &tiles, NULL, NULL);
    lap_kctx_end(k, &panels, NULL, NULL);
}

static lap_k_loop keys_loop(job *j, uint32_t n, const lap_ref *init, lap_coord *key)
{
    return lap_kctx_for(j->k, LAP_LOOP_VECTOR, d_int(j, j->block_keys), lap_coord_ref(j->k->c, j->keys), n,
                        init, key);
}

/* Score edits and mask of one row, in place; the row's maximum. */
static lap_ref edit_row(job *j, lap_coord row)
{
    lap_kctx *k = j->k;
    lap_coord key;
    lap_ref start = f32(j, -__builtin_inf());
    lap_tiles_split(&j->t, j->t.m, lap_coord_add(k->c, j->t.m0, row));
    lap_k_loop keys = keys_loop(j, 1, &start, &key);
    lap_tiles_split(&j->t, j->t.r.n, lap_coord_add(k->c, j->key0, key));
    lap_coord at = s_at(j, row, key);
    k->n_overrides = 1;
    k->overrides[0] =
        (lap_override){.node = j->contraction,
                       .buffer = j->s,
                       .index = at,
                       .env = lap_env_for(k, j->contraction, j->t.env.n, j->t.axes, j->t.coords)};
    lap_ref score = j->n->args[j->part->score];
    const lap_node *sn = lap_node_at(j->l->g, score);
    const lap_coord *env = lap_env_for(k, score, j->t.env.n, j->t.axes, j->t.coords);
    lap_ref ok = lap_present(k, sn->n_axes, sn->axes, env, &j->part->keys);
    if (j->part->where >= 0) {
        lap_ref where = j->n->args[j->part->where];
        ok = lap_mask_both(
            k, ok, lap_pull_ref(k, where, lap_env_for(k, where, j->t.env.n, j->t.axes, j->t.coords), ok));
    }
    lap_ref s = lap_pull_ref(k, score, env, LAP_NONE);
    k->n_overrides = 0;
    if (lap_ref_some(ok)) {
        s = lap_map3(k->k, LAP_FN_SELECT, ok, s, f32(j, j->norm == LAP_NORM_SOFTMAX ? -__builtin_inf() : 0));
    }
    row_store(j, j->s, at, s);
    lap_ref next = lap_map2(k->k, LAP_FN_MAX, keys.carried[0], s), out;
    lap_kctx_end(k, &keys, &next, &out);
    return out;
}

/* P and its sum; old results shrink when the maximum grew. */
static void weigh_row(job *j, lap_coord row, lap_ref block_max)
{
    lap_kctx *k = j->k;
    lap_graph *g = k->k;
    bool soft = j->norm == LAP_NORM_SOFTMAX;
    lap_coord key, e;
    lap_ref old = row_load(j, j->max, row), grown = soft ? lap_map2(g, LAP_FN_MAX, old, block_max) : old;
    lap_ref live = lap_map2(g, LAP_FN_GT, grown, f32(j, -__builtin_inf()));
    lap_ref base = lap_map3(g, LAP_FN_SELECT, live, grown, f32(j, 0)), start = f32(j, 0);
    lap_k_loop keys = keys_loop(j, 1, &start, &key);
    lap_ref p = row_load(j, j->s, s_at(j, row, key));
    if (soft) {
        p = lap_map1(g, LAP_FN_EXP, lap_map2(g, LAP_FN_SUB, p, base));
        row_store(j, j->s, s_at(j, row, key), p);
    }
    lap_ref next = lap_map2(g, LAP_FN_ADD, keys.carried[0], p), total;
    lap_kctx_end(k, &keys, &next, &total);
    if (!soft) {
        row_store(j, j->sum, row, lap_map2(g, LAP_FN_ADD, row_load(j, j->sum, row), total));
        return;
    }
    lap_ref shrink = lap_map1(g, LAP_FN_EXP, lap_map2(g, LAP_FN_SUB, old, base));
    lap_ref kept = lap_map2(g, LAP_FN_MUL, row_load(j, j->sum, row), shrink);
    row_store(j, j->sum, row, lap_map2(g, LAP_FN_ADD, kept, total));
    row_store(j, j->max, row, grown);
    lap_ref moved = lap_map2(g, LAP_FN_NE, shrink, f32(j, 1));
    lap_region_id region = lap_k_if(g, moved);
    k->stack[k->depth++] = region;
    lap_k_loop wide = lap_kctx_for(k, LAP_LOOP_VECTOR, j->wide, LAP_NONE, 0, NULL, &e);
    lap_coord at = acc_at(j, row, e);
    row_store(j, j->acc, at, lap_map2(g, LAP_FN_MUL, row_load(j, j->acc, at), shrink));
    lap_kctx_end(k, &wide, NULL, NULL);
    lap_k_end_if(g, region, moved);
    k->depth--;
}

/* acc += P V */
static void accumulate(job *j)
{
    lap_kctx *k = j->k;
    lap_coord p, tile;
    lap_k_loop panels = lap_kctx_for(k, LAP_LOOP_SERIAL, j->vp.n_panels, LAP_NONE, 0, NULL, &p);
    lap_coord b0 = lap_coord_add(k->c, lap_panel_offset(k, &j->vp, &j->t.env, p),
                                 lap_coord_mul(k->c, j->key0, c_int(j, j->vp.cols)));
    lap_k_loop tiles = lap_kctx_for(k, LAP_LOOP_SERIAL, d_int(j, TILES_PER_BLOCK),
                                    lap_coord_ref(k->c, lap_tiles_n(&j->t)), 0, NULL, &tile);
    lap_coord row = lap_coord_mul(k->c, tile, c_int(j, j->t.rows));
    lap_k_mma(k->k, &(lap_k_mma_args){.acc = j->acc,
                                      .acc0 = lap_coord_ref(
                                          k->c, acc_at(j, row, lap_coord_mul(k->c, p, c_int(j, j->vp.cols)))),
                                      .ld = lap_dim_node(k->k, j->wide),
                                      .a = j->s,
                                      .a0 = lap_coord_ref(k->c, s_at(j, row, c_int(j, 0))),
                                      .sm = lap_const_i(k->k, j->block_keys),
                                      .sk = lap_const_i(k->k, 1),
                                      .m = lap_coord_ref(k->c, lap_tiles_rows(&j->t, tile)),
                                      .b = lap_kctx_buffer(k, j->vp.buffer),
                                      .b0 = lap_coord_ref(k->c, b0),
                                      .depth = lap_coord_ref(k->c, j->keys),
                                      .rows = j->t.rows,
                                      .cols = j->vp.cols,
                                      .init = false});
    lap_kctx_end(k, &tiles, NULL, NULL);
    lap_kctx_end(k, &panels, NULL, NULL);
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
    return lap_map3(g, LAP_FN_SELECT, none, f32(j, 0), lap_map2(g, LAP_FN_DIV, f32(j, 1), d));
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

static void finish_row(job *j, lap_coord row)
{
    lap_kctx *k = j->k;
    lap_graph *g = k->k;
    lap_ref out = lap_result_named(j->l, j->op, "out");
    const lap_node *node = lap_node_at(j->l->g, out);
    lap_tiles_split(&j->t, j->t.m, lap_coord_add(k->c, j->t.m0, row));
    lap_ref sum = row_load(j, j->sum, row), max = row_load(j, j->max, row);
    lap_ref zero = f32(j, 0), live = lap_map2(g, LAP_FN_GT, max, f32(j, -__builtin_inf()));
    lap_ref base = j->norm == LAP_NORM_SOFTMAX ? lap_map3(g, LAP_FN_SELECT, live, max, zero) : zero;
    store_statistic(j, "sum", sum);
    store_statistic(j, "max", j->norm == LAP_NORM_SOFTMAX ? max : zero);
    if (lap_ref_some(lap_result_named(j->l, j->op, "lse"))) {
        store_statistic(j, "lse", lap_map2(g, LAP_FN_ADD, lap_map1(g, LAP_FN_LOG, sum), base));
    }
    lap_ref scale = denominator(j, sum);
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

static void start(job *j)
{
    lap_lowering *l = j->l;
    j->part = &lap_node_attr(j->n, LAP_ATTR_PARTS)->parts.at[0];
    j->t = (lap_tiles){.l = l, .rows = l->target->mma_rows, .tiles_per_block = TILES_PER_BLOCK};
    LAP_ENSURE(score_roles(l, j->contraction, j->part->keys, &j->t.r));
    LAP_ENSURE(value_roles(l, j->n, j->part, &j->t.r, &j->value));
    j->k = j->t.k = lap_kctx_new(l, j->n->loc);
    j->t.cols = lap_panel_cols(l, lap_axes_product(l, j->t.r.n));
    j->block_keys = PANELS_PER_BLOCK * j->t.cols;
    lap_tiles_plan(&j->t);
    j->kp = lap_pack_panels(l, &j->t.r, j->t.cols, j->n->loc);
    j->vp = lap_pack_panels(l, &j->value, lap_panel_cols(l, lap_axes_product(l, j->value.n)), j->n->loc);
    j->n_keys = j->kp.n_total;
    j->n_wide = j->vp.n_total;
    j->wide = lap_dim_mul(l->ctx, j->vp.n_panels, d_int(j, j->vp.cols));
    lap_coord one;
    lap_tiles_grid(&j->t, d_int(j, 1), &one);
    int64_t rows = (int64_t)j->t.rows * TILES_PER_BLOCK;
    j->s = lap_kctx_scratch(j->k, LAP_F32, d_int(j, rows * j->block_keys));
    j->acc = lap_kctx_scratch(j->k, LAP_F32, lap_dim_mul(l->ctx, d_int(j, rows), j->wide));
    j->max = lap_kctx_scratch(j->k, LAP_F32, d_int(j, rows));
    j->sum = lap_kctx_scratch(j->k, LAP_F32, d_int(j, rows));
}

/* Whether the predicate admits any pair of this block of rows and this block of keys. */
static lap_ref possible(job *j)
{
    if (j->part->where < 0) {
        return LAP_NONE;
    }
    lap_kctx *k = j->k;
    lap_ref where = j->n->args[j->part->where];
    lap_dim rows = d_int(j, (int64_t)j->t.rows * TILES_PER_BLOCK), keys = d_int(j, j->block_keys);
    lap_skip s = {.k = k,
                  .n_rows = j->t.m_rows,
                  .n_keys = j->keys,
                  .row = lap_coord_var(k->c, (lap_ref){UINT32_MAX - 3}, rows),
                  .key = lap_coord_var(k->c, (lap_ref){UINT32_MAX - 4}, keys)};
    lap_tiles_split(&j->t, j->t.m, lap_coord_add(k->c, j->t.m0, s.row));
    lap_tiles_split(&j->t, j->t.r.n, lap_coord_add(k->c, j->key0, s.key));
    return lap_attend_possible(&s, where, lap_env_for(k, where, j->t.env.n, j->t.axes, j->t.coords));
}

bool lap_attend_tiles(lap_lowering *l, lap_ref attend)
{
    const lap_plan_node *plan = lap_plan_of(l, attend);
    if (!lap_ref_some(plan->anchor)) {
        return false;
    }
    job j = {.l = l, .op = attend, .n = lap_node_at(l->g, attend), .contraction = plan->anchor};
    j.norm = (lap_norm)lap_attr_i(j.n, LAP_ATTR_NORM, LAP_NORM_SOFTMAX);
    start(&j);
    clear(&j);
    lap_kctx *k = j.k;
    lap_coord block, row;
    lap_dim n_blocks = lap_dim_ceildiv(l->ctx, j.n_keys, d_int(&j, j.block_keys));
    lap_k_loop blocks = lap_kctx_for(k, LAP_LOOP_SERIAL, n_blocks, LAP_NONE, 0, NULL, &block);
    j.key0 = lap_coord_mul(k->c, block, c_int(&j, j.block_keys));
    j.keys = lap_coord_clip(k, j.n_keys, j.key0, j.block_keys);
    lap_ref seen = possible(&j);
    lap_region_id region = {0};
    if (lap_ref_some(seen)) {
        region = lap_k_if(k->k, seen);
        k->stack[k->depth++] = region;
    }
    multiply(&j, block);
    lap_k_loop rows = rows_loop(&j, &row);
    weigh_row(&j, row, edit_row(&j, row));
    lap_kctx_end(k, &rows, NULL, NULL);
    accumulate(&j);
    if (lap_ref_some(seen)) {
        lap_k_end_if(k->k, region, seen);
        k->depth--;
    }
    lap_kctx_end(k, &blocks, NULL, NULL);
    rows = rows_loop(&j, &row);
    finish_row(&j, row);
    lap_kctx_end(k, &rows, NULL, NULL);
    lap_kctx_launch(k, "attend");
    return true;
}
