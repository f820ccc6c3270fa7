/* SPDX-License-Identifier: Apache-2.0
 * lower_attend.c - attend of any form, one row at a time: scores of the row in scratch, then its
 * maximum, its sum, and the weighed values. No score matrix exists.
 *
 * The tiled lowering (attend_tiles.c) takes the forms that are worth it; this one takes all. */
#include "passes/attend.h"
#include "passes/attend_few.h"
#include "passes/near.h"

#include <string.h>

typedef struct row_job {
    lap_lowering *l;
    lap_kctx *k;
    lap_ref op;
    const lap_node *n;
    const lap_part *part;
    lap_norm norm;
    uint32_t n_axes; /* rows and keys */
    lap_axis *axes;
    lap_coord *env; /* their coordinates */
    lap_names keys;
    uint32_t n_rows;
    lap_axis *rows;
    lap_coord *row_env;
    lap_ref present; /* whether the row is there; none: always */
    lap_ref scores;  /* scratch: of the row's keys */
    lap_ref max, safe, sum, scale, any;
} row_job;

static void add_axes(lap_axis *list, uint32_t *n, const lap_axis *axes, uint32_t n_axes, const lap_names *but)
{
    for (uint32_t i = 0; i < n_axes; i++) {
        lap_axis *known = (lap_axis *)lap_axis_find(list, *n, axes[i].name);
        if (known != NULL) {
            known->count = lap_ref_some(known->count) ? known->count : axes[i].count;
        } else if (but == NULL || !lap_names_has(*but, axes[i].name)) {
            list[(*n)++] = axes[i];
        }
    }
}

static uint32_t total_axes(const row_job *j)
{
    uint32_t most = 1;
    for (uint32_t i = 0; i < j->n->n_args; i++) {
        most += lap_node_at(j->l->g, j->n->args[i])->n_axes;
    }
    return most;
}

static void collect(row_job *j)
{
    lap_lowering *l = j->l;
    uint32_t most = total_axes(j);
    j->part = &lap_node_attr(j->n, LAP_ATTR_PARTS)->parts.at[0];
    j->rows = lap_arena_array(l->ctx->arena, most, sizeof *j->rows);
    j->axes = lap_arena_array(l->ctx->arena, most, sizeof *j->axes);
    j->env = lap_arena_array(l->ctx->arena, most, sizeof *j->env);
    const int32_t args[3] = {j->part->score, j->part->where, j->part->after};
    for (int a = 0; a < 3; a++) {
        if (args[a] >= 0) {
            const lap_node *x = lap_node_at(l->g, j->n->args[args[a]]);
            add_axes(j->axes, &j->n_axes, x->axes, x->n_axes, NULL);
        }
    }
    add_axes(j->rows, &j->n_rows, j->axes, j->n_axes, &j->part->keys);
    if (j->part->value >= 0) { /* keys that only the value has still count */
        const lap_node *x = lap_node_at(l->g, j->n->args[j->part->value]);
        for (uint32_t a = 0; a < x->n_axes; a++) {
            if (lap_names_has(j->part->keys, x->axes[a].name)) {
                add_axes(j->axes, &j->n_axes, &x->axes[a], 1, NULL);
            }
        }
    }
}

static const lap_coord *env_of(row_job *j, lap_ref node)
{
    return lap_env_for(j->k, node, j->n_axes, j->axes, j->env);
}

typedef struct key_loops {
    uint32_t n;
    lap_k_loop at[LAP_MAX_AXES];
    lap_coord flat;
} key_loops;

/* Loops over the keys, the last in lanes where asked; acc is carried through. */
static key_loops enter_keys(row_job *j, bool lanes, uint32_t n_acc, lap_ref *acc)
{
    lap_kctx *k = j->k;
    key_loops loops = {.flat = lap_coord_const(k->c, 0)};
    lap_ref carried[4] = {{0}};
    memcpy(carried, acc, n_acc * sizeof *acc);
    LAP_ENSURE(j->keys.n <= LAP_MAX_AXES && n_acc <= 4);
    for (uint32_t i = 0; i < j->keys.n; i++) {
        const lap_axis *a = lap_axis_find(j->axes, j->n_axes, j->keys.at[i]);
        lap_ref extent = lap_axis_extent(k, a, j->n_axes, j->axes, j->env, j->present);
        if (lap_ref_some(j->present)) { /* an absent row has no keys */
            lap_ref all = lap_ref_some(extent) ? extent : lap_coord_ref(k->c, lap_coord_dim(k->c, a->size));
            extent = lap_map3(k->k, LAP_FN_SELECT, j->present, all, lap_const_i(k->k, 0));
        }
        lap_coord index;
        bool is_last = i + 1 == j->keys.n;
        loops.at[i] = lap_kctx_for(k, is_last && lanes ? LAP_LOOP_VECTOR : LAP_LOOP_SERIAL, a->size, extent,
                                   n_acc, carried, &index);
        for (uint32_t c = 0; c < n_acc; c++) {
            carried[c] = loops.at[i].carried[c];
        }
        j->env[a - j->axes] = index;
        loops.flat =
            lap_coord_add(k->c, lap_coord_mul(k->c, loops.flat, lap_coord_dim(k->c, a->size)), index);
    }
    loops.n = j->keys.n;
    memcpy(acc, carried, n_acc * sizeof *acc);
    return loops;
}

static void leave_keys(row_job *j, key_loops *loops, lap_ref *acc)
{
    for (uint32_t i = loops->n; i-- > 0;) {
        lap_ref out[4] = {{0}};
        lap_kctx_end(j->k, &loops->at[i], acc, out);
        memcpy(acc, out, loops->at[i].n * sizeof *out);
    }
}

static lap_ref to_float(lap_kctx *k, lap_ref v)
{
    return lap_node_at(k->k, v)->dtype == LAP_F32 ? v : lap_map1(k->k, LAP_FN_FLOAT, v);
}

static void score_row(row_job *j)
{
    lap_kctx *k = j->k;
    bool soft = j->norm == LAP_NORM_SOFTMAX;
    lap_ref acc[2] = {j->max, j->any};
    key_loops loops = enter_keys(j, true, 2, acc);
    lap_ref ok = lap_present(k, j->n_axes, j->axes, j->env, &j->part->keys);
    if (j->part->where >= 0) {
        lap_ref where = j->n->args[j->part->where];
        ok = lap_mask_both(k, ok, lap_pull_ref(k, where, env_of(j, where), ok));
    }
    lap_ref score = j->n->args[j->part->score];
    lap_ref s = to_float(k, lap_pull_ref(k, score, env_of(j, score), ok));
    if (lap_ref_some(ok)) {
        s = lap_map3(k->k, LAP_FN_SELECT, ok, s, lap_const_f(k->k, soft ? -__builtin_inf() : 0));
    }
    lap_k_store(k->k, j->scores, lap_coord_ref(k->c, loops.flat), s, LAP_NONE);
    lap_ref next[2] = {lap_map2(k->k, LAP_FN_MAX, acc[0], s),
                       lap_map2(k->k, LAP_FN_OR, acc[1], lap_ref_some(ok) ? ok : lap_const_b(k->k, true))};
    leave_keys(j, &loops, next);
    j->max = next[0];
    j->any = next[1];
}

static void weigh_row(row_job *j)
{
    lap_kctx *k = j->k;
    key_loops loops = enter_keys(j, true, 1, &j->sum);
    lap_ref at = lap_coord_ref(k->c, loops.flat);
    lap_ref e = lap_k_load(k->k, j->scores, at, LAP_NONE);
    if (j->norm == LAP_NORM_SOFTMAX) {
        e = lap_map1(k->k, LAP_FN_EXP, lap_map2(k->k, LAP_FN_SUB, e, j->safe));
        lap_k_store(k->k, j->scores, at, e, LAP_NONE);
    }
    lap_ref next = lap_map2(k->k, LAP_FN_ADD, j->sum, e);
    leave_keys(j, &loops, &next);
    j->sum = next;
}

static void statistics(row_job *j)
{
    lap_kctx *k = j->k;
    lap_graph *g = k->k;
    j->any = lap_const_b(g, false);
    j->max = lap_const_f(g, -__builtin_inf());
    score_row(j);
    lap_ref zero = lap_const_f(g, 0);
    if (j->norm == LAP_NORM_SOFTMAX) { /* scores of -inf alone count as no key */
        j->any = lap_map2(g, LAP_FN_NE, j->max, lap_const_f(g, -__builtin_inf()));
    }
    lap_ref finite = lap_map2(g, LAP_FN_AND, lap_map2(g, LAP_FN_GT, j->max, lap_const_f(g, -__builtin_inf())),
                              lap_map2(g, LAP_FN_LT, j->max, lap_const_f(g, __builtin_inf())));
    j->safe = lap_map3(g, LAP_FN_SELECT, finite, j->max, zero);
    j->sum = zero;
    weigh_row(j);
    if (j->norm == LAP_NORM_NONE) {
        j->scale = lap_const_f(g, 1);
        return;
    }
    const lap_attr *eps = lap_node_attr(j->n, LAP_ATTR_EPS);
    lap_ref d = eps != NULL ? lap_map2(g, LAP_FN_MAX, j->sum, lap_const_f(g, eps->f)) : j->sum;
    lap_ref none = lap_map2(g, LAP_FN_EQ, d, zero);
    j->scale = lap_map3(g, LAP_FN_SELECT, none, zero, lap_map2(g, LAP_FN_DIV, lap_const_f(g, 1), d));
}

static void store_row(row_job *j, lap_ref result, lap_ref value)
{
    if (lap_ref_some(result)) {
        const lap_coord *env = lap_env_for(j->k, result, j->n_rows, j->rows, j->row_env);
        lap_ref at = lap_coord_ref(j->k->c, lap_address(j->k, result, env));
        lap_k_store(j->k->k, lap_kctx_buffer(j->k, lap_plan_of(j->l, result)->buffer), at, value, LAP_NONE);
    }
}

static lap_ref weight_at(row_job *j, lap_coord flat)
{
    lap_kctx *k = j->k;
    lap_ref w = lap_map2(k->k, LAP_FN_MUL, lap_k_load(k->k, j->scores, lap_coord_ref(k->c, flat), LAP_NONE),
                         j->scale);
    if (j->part->after >= 0) {
        lap_ref after = j->n->args[j->part->after];
        w = lap_map2(k->k, LAP_FN_MUL, w, to_float(k, lap_pull_ref(k, after, env_of(j, after), LAP_NONE)));
    }
    return w;
}

static void write_weights(row_job *j, lap_ref result)
{
    lap_kctx *k = j->k;
    const lap_node *out = lap_node_at(j->l->g, result);
    lap_nest loops = {0};
    lap_coord flat = lap_coord_const(k->c, 0);
    for (uint32_t i = 0; i < j->keys.n; i++) {
        const lap_axis *a = lap_axis_find(j->axes, j->n_axes, j->keys.at[i]);
        lap_nest_open(k, &loops, i + 1 == j->keys.n ? LAP_LOOP_VECTOR : LAP_LOOP_SERIAL, a->size,
                      &j->env[a - j->axes]);
        flat =
            lap_coord_add(k->c, lap_coord_mul(k->c, flat, lap_coord_dim(k->c, a->size)), j->env[a - j->axes]);
    }
    lap_ref live = lap_present(k, j->n_axes, j->axes, j->env, &j->part->keys);
    lap_ref w = weight_at(j, flat);
    if (lap_ref_some(live)) {
        w = lap_map3(k->k, LAP_FN_SELECT, live, w, lap_const_f(k->k, 0));
    }
    lap_coord *env = lap_arena_array(j->l->ctx->arena, out->n_axes + 1, sizeof *env);
    for (uint32_t i = 0; i < out->n_axes; i++) {
        const lap_axis *row = lap_axis_find(j->rows, j->n_rows, out->axes[i].name);
        env[i] = row != NULL ? j->row_env[row - j->rows]
                             : j->env[lap_axis_find(j->axes, j->n_axes, out->axes[i].name) - j->axes];
    }
    lap_ref at = lap_coord_ref(k->c, lap_address(k, result, env));
    lap_k_store(k->k, lap_kctx_buffer(k, lap_plan_of(j->l, result)->buffer), at, w, LAP_NONE);
    lap_nest_close(k, &loops);
}

/* Adds the weighed values at the result's coordinates. */
static lap_ref add_weighed(row_job *j, const lap_node *out, const lap_coord *env, bool lanes, lap_ref acc)
{
    lap_kctx *k = j->k;
    lap_lowering *l = j->l;
    key_loops keys = enter_keys(j, lanes, 1, &acc);
    lap_ref value = j->n->args[j->part->value];
    const lap_node *v = lap_node_at(l->g, value);
    lap_coord *sub = lap_arena_array(l->ctx->arena, v->n_axes + 1, sizeof *sub);
    for (uint32_t a = 0; a < v->n_axes; a++) {
        lap_name name = v->axes[a].name;
        sub[a] = lap_names_has(j->part->keys, name)
                     ? j->env[lap_axis_find(j->axes, j->n_axes, name) - j->axes]
                     : env[lap_node_axis(out, name) - out->axes];
    }
    /* keys that count nothing are not read: their place may not exist */
    lap_ref weight = lap_k_load(k->k, j->scores, lap_coord_ref(k->c, keys.flat), LAP_NONE);
    lap_ref live = lap_plan_of(l, value)->may_fail || j->part->where >= 0
                       ? lap_map2(k->k, LAP_FN_NE, weight, lap_const_f(k->k, 0))
                       : LAP_NONE;
    lap_ref x = to_float(k, lap_pull_ref(k, value, sub, live));
    lap_ref term = lap_map2(k->k, LAP_FN_MUL, weight_at(j, keys.flat), x);
    if (lap_ref_some(live)) {
        term = lap_map3(k->k, LAP_FN_SELECT, live, term, lap_const_f(k->k, 0));
    }
    lap_ref next = lap_map2(k->k, LAP_FN_ADD, acc, term);
    leave_keys(j, &keys, &next);
    return next;
}

/* Loops over the axes of the result that are no rows, the last in lanes; returns how many. */
static uint32_t enter_wide(row_job *j, lap_ref result, lap_nest *loops, lap_coord *env)
{
    const lap_node *out = lap_node_at(j->l->g, result);
    const lap_plan_node *plan = lap_plan_of(j->l, result);
    uint32_t n_wide = 0, seen = 0;
    for (uint32_t i = 0; i < plan->n_order; i++) {
        n_wide += lap_axis_find(j->rows, j->n_rows, plan->order[i]) == NULL;
    }
    for (uint32_t i = 0; i < plan->n_order; i++) {
        const lap_axis *a = lap_node_axis(out, plan->order[i]),
                       *row = lap_axis_find(j->rows, j->n_rows, plan->order[i]);
        if (row != NULL) {
            env[a - out->axes] = j->row_env[row - j->rows];
            continue;
        }
        bool is_last = ++seen == n_wide;
        lap_nest_open(j->k, loops, is_last ? LAP_LOOP_VECTOR : LAP_LOOP_SERIAL, a->size, &env[a - out->axes]);
    }
    return n_wide;
}

/* out[row, e] = sum over keys of weight * value: e in lanes, keys in order. */
static void write_out(row_job *j, lap_ref result)
{
    lap_kctx *k = j->k;
    const lap_node *out = lap_node_at(j->l->g, result);
    lap_coord *env = lap_arena_array(j->l->ctx->arena, out->n_axes + 1, sizeof *env);
    lap_nest loops = {0};
    uint32_t n_wide = enter_wide(j, result, &loops, env);
    lap_ref acc = lap_const_f(k->k, 0);
    acc = add_weighed(j, out, env, n_wide == 0, acc);
    double empty = lap_attr_f(j->n, LAP_ATTR_EMPTY, 0);
    if (empty != 0) {
        acc = lap_map3(k->k, LAP_FN_SELECT, j->any, acc, lap_const_f(k->k, empty));
    }
    lap_ref at = lap_coord_ref(k->c, lap_address(k, result, env));
    lap_k_store(k->k, lap_kctx_buffer(k, lap_plan_of(j->l, result)->buffer), at, acc, LAP_NONE);
    lap_nest_close(k, &loops);
}

static void start_rows(row_job *j)
{
    lap_lowering *l = j->l;
    lap_kctx *k = j->k;
    lap_dim *sizes = lap_arena_array(l->ctx->arena, j->n_rows + 1, sizeof *sizes);
    for (uint32_t i = 0; i < j->n_rows; i++) {
        sizes[i] = j->rows[i].size;
    }
    j->row_env = lap_arena_array(l->ctx->arena, j->n_rows + 1, sizeof *j->row_env);
    lap_coord flat = lap_kctx_grid(k, lap_dims_product(l->ctx, j->n_rows, sizes));
    lap_coord_split(k, flat, j->n_rows, sizes, j->row_env);
    j->present = lap_present(k, j->n_rows, j->rows, j->row_env, NULL);
    for (uint32_t a = 0; a < j->n_axes; a++) {
        const lap_axis *row = lap_axis_find(j->rows, j->n_rows, j->axes[a].name);
        j->env[a] = row != NULL ? j->row_env[row - j->rows] : lap_coord_const(k->c, 0);
    }
    j->keys = lap_order_ragged(l, j->part->keys, j->n_axes, j->axes);
    lap_dim total = lap_dim_const(l->ctx, 1);
    for (uint32_t a = 0; a < j->keys.n; a++) {
        total = lap_dim_mul(l->ctx, total, lap_axis_find(j->axes, j->n_axes, j->keys.at[a])->size);
    }
    j->scores = lap_kctx_scratch(k, LAP_F32, total);
}

static void attend_rows(lap_lowering *l, lap_ref op)
{
    row_job j = {.l = l, .op = op, .n = lap_node_at(l->g, op)};
    j.norm = (lap_norm)lap_attr_i(j.n, LAP_ATTR_NORM, LAP_NORM_SOFTMAX);
    collect(&j);
    j.k = lap_kctx_new(l, j.n->loc);
    start_rows(&j);
    statistics(&j);
    store_row(&j, lap_result_named(l, op, "max"),
              j.norm == LAP_NORM_SOFTMAX ? j.max : lap_const_f(j.k->k, 0));
    store_row(&j, lap_result_named(l, op, "sum"), j.sum);
    lap_ref lse = lap_result_named(l, op, "lse");
    if (lap_ref_some(lse)) {
        lap_ref base = j.norm == LAP_NORM_SOFTMAX ? j.safe : lap_const_f(j.k->k, 0);
        store_row(&j, lse, lap_map2(j.k->k, LAP_FN_ADD, lap_map1(j.k->k, LAP_FN_LOG, j.sum), base));
    }
    lap_ref weights = lap_result_named(l, op, "weights");
    if (lap_ref_some(weights)) {
        write_weights(&j, weights);
    }
    lap_ref out = lap_result_named(l, op, "out");
    if (lap_ref_some(out)) {
        write_out(&j, out);
    }
    lap_kctx_launch(j.k, "attend");
}

bool lap_attend_takes(lap_lowering *l, lap_ref home, lap_ref r)
{
    lap_plan_node *plan = lap_plan_of(l, home);
    lap_near near;
    lap_few few;
    if (lap_ref_some(plan->anchor)) {
        return false;
    }
    /* a strip for each large group of a device would be too much */
    bool has_strips = l->target->group_size <= l->target->vector_f32;
    plan->is_near = has_strips && lap_near_find(l, home, r, &near);
    plan->is_few = !plan->is_near && lap_few_find(l, home, r, &few);
    if (plan->is_near || (plan->is_few && few.is_always)) {
        plan->anchor = r;
        lap_plan_of(l, r)->is_contraction = false; /* its factors are read once, at places of their own */
        return true;
    }
    bool is_tiled = lap_attend_tiles_take(l, home, r);
    plan->is_few = plan->is_few && is_tiled;
    return is_tiled;
}

/* Writes whether the rows are few. */
static uint32_t test_few(lap_lowering *l, const lap_few *few, lap_loc loc)
{
    lap_dim one = lap_dim_const(l->ctx, 1);
    uint32_t test = lap_program_buffer(l, (lap_buffer){.kind = LAP_BUF_TEMP, .elem = LAP_BOOL, .count = one});
    lap_kctx *k = lap_kctx_new(l, loc);
    lap_kctx_grid(k, one);
    lap_ref is_few = lap_map2(k->k, LAP_FN_LE, lap_dim_node(k->k, few->n_rows), lap_const_i(k->k, few->most));
    lap_k_store(k->k, lap_kctx_buffer(k, test), lap_const_i(k->k, 0), is_few, LAP_NONE);
    lap_kctx_launch(k, "few");
    return test;
}

static lap_steps collect_steps(lap_lowering *l, lap_ref attend,
                               void (*lower)(lap_lowering *l, lap_ref attend))
{
    lap_steps *outer = l->steps, inner = {0};
    l->steps = &inner;
    lower(l, attend);
    l->steps = outer;
    return inner;
}

static void tiles(lap_lowering *l, lap_ref attend) { LAP_ENSURE(lap_attend_tiles(l, attend)); }

/* The number of rows is known only when sizes are bound: both forms, one of which runs. */
static void few_or_tiles(lap_lowering *l, lap_ref attend, const lap_few *few)
{
    uint32_t test = test_few(l, few, lap_node_at(l->g, attend)->loc);
    lap_steps yes = collect_steps(l, attend, lap_attend_few), no = collect_steps(l, attend, tiles);
    lap_program_step(l, (lap_step){.kind = LAP_STEP_BRANCH,
                                   .counter = -1,
                                   .test = (int32_t)test,
                                   .n_body = yes.n,
                                   .body = yes.at,
                                   .n_other = no.n,
                                   .other = no.at});
}

void lap_lower_attend(lap_lowering *l, lap_ref attend)
{
    const lap_plan_node *plan = lap_plan_of(l, attend);
    lap_few few;
    if (plan->is_few) {
        LAP_ENSURE(lap_few_find(l, attend, plan->anchor, &few));
        lap_attend_note(l, attend, few.is_always ? LAP_ATTEND_FEW : LAP_ATTEND_FEW_OR_TILES);
        if (few.is_always) {
            lap_attend_few(l, attend);
        } else {
            few_or_tiles(l, attend, &few);
        }
    } else if (plan->is_near ? lap_attend_near(l, attend) : lap_attend_tiles(l, attend)) {
        lap_attend_note(l, attend, plan->is_near ? LAP_ATTEND_NEAR : LAP_ATTEND_TILES);
    } else {
        lap_attend_note(l, attend, LAP_ATTEND_ROWS);
        attend_rows(l, attend);
    }
}
