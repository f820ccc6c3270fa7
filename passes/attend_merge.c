/* SPDX-License-Identifier: Apache-2.0
 * attend_merge.c - results of attends by few queries: rows as they end, and the parts of the keys joined.
 *
 * Parts are joined in their order, so that the result does not depend on who computed them. */
#include "passes/attend_few.h"
#include "passes/tiles.h"

static lap_ref f32(lap_few_kernel *j, double v) { return lap_const_f(j->k->k, v); }

lap_few_kernel lap_few_kernel_new(lap_lowering *l, lap_ref attend, const lap_few *few)
{
    lap_few_kernel j = {.l = l, .op = attend, .n = lap_node_at(l->g, attend), .few = few};
    j.norm = (lap_norm)lap_attr_i(j.n, LAP_ATTR_NORM, LAP_NORM_SOFTMAX);
    j.k = lap_kctx_new(l, j.n->loc);
    const lap_axis_list lists[5] = {few->batch, few->rows, few->keys, few->depth, few->wide};
    uint32_t total = 1;
    for (int i = 0; i < 5; i++) {
        total += lists[i].n;
    }
    lap_axis *axes = lap_arena_array(l->ctx->arena, total, sizeof *axes);
    j.coords = lap_arena_array(l->ctx->arena, total, sizeof *j.coords);
    for (int i = 0; i < 5; i++) {
        for (uint32_t a = 0; a < lists[i].n; a++) {
            j.coords[j.env.n] = lap_coord_const(j.k->c, 0);
            axes[j.env.n++] = lists[i].at[a];
        }
    }
    j.env.axes = axes;
    j.env.coords = j.coords;
    return j;
}

void lap_few_set(lap_few_kernel *j, lap_axis_list axes, lap_coord flat)
{
    lap_dim sizes[64] = {{0}};
    lap_coord out[64];
    LAP_ENSURE(axes.n <= 64);
    for (uint32_t i = 0; i < axes.n; i++) {
        sizes[i] = axes.at[i].size;
    }
    lap_coord_split(j->k, flat, axes.n, sizes, out);
    for (uint32_t i = 0; i < axes.n; i++) {
        const lap_axis *a = lap_axis_find(j->env.axes, j->env.n, axes.at[i].name);
        LAP_ENSURE(a != NULL);
        j->coords[a - j->env.axes] = out[i];
    }
}

const lap_coord *lap_few_env(lap_few_kernel *j, lap_ref node)
{
    return lap_env_for(j->k, node, j->env.n, j->env.axes, j->coords);
}

lap_ref lap_few_base(lap_few_kernel *j, lap_ref max)
{
    lap_ref live = lap_map2(j->k->k, LAP_FN_GT, max, f32(j, -__builtin_inf()));
    return lap_map3(j->k->k, LAP_FN_SELECT, live, max, f32(j, 0));
}

lap_ref lap_few_exp(lap_few_kernel *j, lap_ref x, lap_ref base)
{
    return lap_map1(j->k->k, LAP_FN_EXP, lap_map2(j->k->k, LAP_FN_SUB, x, base));
}

static void store_row(lap_few_kernel *j, const char *which, lap_ref v)
{
    lap_ref result = lap_result_named(j->l, j->op, which);
    if (lap_ref_some(result)) {
        lap_ref at = lap_coord_ref(j->k->c, lap_address(j->k, result, lap_few_env(j, result)));
        lap_k_store(j->k->k, lap_kctx_buffer(j->k, lap_plan_of(j->l, result)->buffer), at, v, LAP_NONE);
    }
}

/* What weighed sums are multiplied by. */
static lap_ref factor_of(lap_few_kernel *j, lap_ref sum)
{
    lap_graph *g = j->k->k;
    lap_ref zero = f32(j, 0), one = f32(j, 1);
    if (j->norm == LAP_NORM_NONE) {
        return one;
    }
    const lap_attr *eps = lap_node_attr(j->n, LAP_ATTR_EPS);
    lap_ref d = eps != NULL ? lap_map2(g, LAP_FN_MAX, sum, f32(j, eps->f)) : sum;
    return lap_map3(g, LAP_FN_SELECT, lap_map2(g, LAP_FN_EQ, d, zero), zero, lap_map2(g, LAP_FN_DIV, one, d));
}

void lap_few_finish(lap_few_kernel *j, lap_ref max, lap_ref sum, lap_ref acc, lap_coord at)
{
    lap_kctx *k = j->k;
    lap_graph *g = k->k;
    bool soft = j->norm == LAP_NORM_SOFTMAX;
    lap_coord e;
    store_row(j, "sum", sum);
    store_row(j, "max", soft ? max : f32(j, 0));
    if (lap_ref_some(lap_result_named(j->l, j->op, "lse"))) {
        lap_ref base = soft ? lap_few_base(j, max) : f32(j, 0);
        store_row(j, "lse", lap_map2(g, LAP_FN_ADD, lap_map1(g, LAP_FN_LOG, sum), base));
    }
    lap_ref factor = factor_of(j, sum);
    lap_k_loop wide = lap_kctx_for(k, LAP_LOOP_VECTOR, j->few->n_wide, LAP_NONE, 0, NULL, &e);
    lap_few_set(j, j->few->wide, e);
    lap_ref v = lap_k_load(g, acc, lap_coord_ref(k->c, lap_coord_add(k->c, at, e)), LAP_NONE);
    store_row(j, "out", lap_map2(g, LAP_FN_MUL, v, factor));
    lap_kctx_end(k, &wide, NULL, NULL);
}

/* ---- parts of the keys ---- */

static uint32_t temp(lap_lowering *l, lap_dim count)
{
    return lap_program_buffer(l, (lap_buffer){.kind = LAP_BUF_TEMP, .elem = LAP_F32, .count = count});
}

lap_few_parts lap_few_parts_new(lap_lowering *l, const lap_few *few, lap_dim n_parts)
{
    lap_dim n_rows = lap_dim_const(l->ctx, few->most);
    lap_dim count =
        lap_dim_mul(l->ctx, lap_dim_mul(l->ctx, lap_axes_product(l, few->batch), n_parts), n_rows);
    return (lap_few_parts){.max = temp(l, count),
                           .sum = temp(l, count),
                           .acc = temp(l, lap_dim_mul(l->ctx, count, few->n_wide)),
                           .n_parts = n_parts,
                           .n_rows = n_rows};
}

typedef struct merge {
    lap_few_kernel j;
    const lap_few_parts *parts;
    lap_coord batch, row;
    lap_ref weight, acc; /* scratch: per part; of the row */
} merge;

static lap_coord part_at(merge *m, lap_coord part)
{
    lap_coords *c = m->j.k->c;
    lap_coord at = lap_coord_mul(c, m->batch, lap_coord_dim(c, m->parts->n_parts));
    at = lap_coord_mul(c, lap_coord_add(c, at, part), lap_coord_dim(c, m->parts->n_rows));
    return lap_coord_add(c, at, m->row);
}

static lap_ref part_load(merge *m, uint32_t buffer, lap_coord at)
{
    return lap_k_load(m->j.k->k, lap_kctx_buffer(m->j.k, buffer), lap_coord_ref(m->j.k->c, at), LAP_NONE);
}

static lap_k_loop parts_loop(merge *m, lap_loop_kind kind, uint32_t n, const lap_ref *init, lap_coord *part)
{
    return lap_kctx_for(m->j.k, kind, m->parts->n_parts, LAP_NONE, n, init, part);
}

static lap_ref join_max(merge *m)
{
    lap_coord part;
    lap_ref max = f32(&m->j, -__builtin_inf());
    lap_k_loop loop = parts_loop(m, LAP_LOOP_SERIAL, 1, &max, &part);
    max = lap_map2(m->j.k->k, LAP_FN_LARGER, loop.carried[0], part_load(m, m->parts->max, part_at(m, part)));
    lap_kctx_end(m->j.k, &loop, &max, &max);
    return max;
}

/* The sum; the weights of the parts stay in scratch. */
static lap_ref join_sum(merge *m, lap_ref max)
{
    lap_kctx *k = m->j.k;
    bool soft = m->j.norm == LAP_NORM_SOFTMAX;
    lap_coord part;
    lap_ref base = lap_few_base(&m->j, max), sum = f32(&m->j, 0);
    lap_k_loop loop = parts_loop(m, LAP_LOOP_SERIAL, 1, &sum, &part);
    lap_ref own = part_load(m, m->parts->sum, part_at(m, part));
    if (soft) {
        lap_ref weight = lap_few_exp(&m->j, part_load(m, m->parts->max, part_at(m, part)), base);
        lap_k_store(k->k, m->weight, lap_coord_ref(k->c, part), weight, LAP_NONE);
        own = lap_map2(k->k, LAP_FN_MUL, own, weight);
    }
    sum = lap_map2(k->k, LAP_FN_ADD, loop.carried[0], own);
    lap_kctx_end(k, &loop, &sum, &sum);
    return sum;
}

static void join_acc(merge *m)
{
    lap_kctx *k = m->j.k;
    lap_coord e, part;
    lap_k_loop wide = lap_kctx_for(k, LAP_LOOP_VECTOR, m->j.few->n_wide, LAP_NONE, 0, NULL, &e);
    lap_ref acc = f32(&m->j, 0);
    lap_k_loop loop = parts_loop(m, LAP_LOOP_SERIAL, 1, &acc, &part);
    lap_coord at = lap_coord_mul(k->c, part_at(m, part), lap_coord_dim(k->c, m->j.few->n_wide));
    lap_ref v = part_load(m, m->parts->acc, lap_coord_add(k->c, at, e));
    if (m->j.norm == LAP_NORM_SOFTMAX) {
        lap_ref weight = lap_k_load(k->k, m->weight, lap_coord_ref(k->c, part), LAP_NONE);
        v = lap_map2(k->k, LAP_FN_MUL, v, weight);
    }
    acc = lap_map2(k->k, LAP_FN_ADD, loop.carried[0], v);
    lap_kctx_end(k, &loop, &acc, &acc);
    lap_k_store(k->k, m->acc, lap_coord_ref(k->c, e), acc, LAP_NONE);
    lap_kctx_end(k, &wide, NULL, NULL);
}

void lap_few_merge(lap_lowering *l, lap_ref attend, const lap_few *few, const lap_few_parts *parts)
{
    merge m = {.j = lap_few_kernel_new(l, attend, few), .parts = parts};
    lap_kctx *k = m.j.k;
    lap_dim sizes[2] = {lap_axes_product(l, few->batch), few->n_rows};
    lap_coord at[2];
    lap_coord flat = lap_kctx_grid(k, lap_dims_product(l->ctx, 2, sizes));
    lap_coord_split(k, flat, 2, sizes, at);
    m.batch = at[0];
    m.row = at[1];
    m.weight = lap_kctx_scratch(k, LAP_F32, parts->n_parts);
    m.acc = lap_kctx_scratch(k, LAP_F32, few->n_wide);
    lap_few_set(&m.j, few->batch, m.batch);
    lap_few_set(&m.j, few->rows, m.row);
    lap_ref max = m.j.norm == LAP_NORM_SOFTMAX ? join_max(&m) : f32(&m.j, 0), sum = join_sum(&m, max);
    join_acc(&m);
    lap_few_finish(&m.j, max, sum, m.acc, lap_coord_const(k->c, 0));
    k->roles = lap_arena_printf(l->ctx->arena, "merge batch=(%s) rows=(%s)",
                                lap_axes_text(l, few->batch.n, few->batch.at),
                                lap_axes_text(l, few->rows.n, few->rows.at));
    lap_kctx_launch(k, "attend");
}
