/* SPDX-License-Identifier: Apache-2.0
 * lower_index.c - kernels of topk, scatter and require. */
#include "passes/lower.h"

#include <string.h>

static lap_coord *grid_over(lap_kctx *k, uint32_t n, const lap_axis *axes)
{
    lap_dim *sizes = lap_arena_array(k->l->ctx->arena, n + 1, sizeof *sizes);
    lap_coord *coords = lap_arena_array(k->l->ctx->arena, n + 2, sizeof *coords);
    for (uint32_t i = 0; i < n; i++) {
        sizes[i] = axes[i].size;
    }
    lap_coord flat = lap_kctx_grid(k, lap_dims_product(k->l->ctx, n, sizes));
    lap_coord_split(k, flat, n, sizes, coords);
    return coords;
}

/* values and index of topk: keys to scratch, a stable sort of their numbers, then both written. */
static void topk_write(lap_kctx *k, lap_ref node, lap_ref result, lap_ref keys, lap_ref order, lap_coord kept,
                       uint32_t n_rows, const lap_axis *rows, const lap_coord *coords)
{
    lap_lowering *l = k->l;
    const lap_node *n = lap_node_at(l->g, node), *out = lap_node_at(l->g, result);
    bool wants_index = strcmp(lap_text(l->ctx, lap_attr_name(out, LAP_ATTR_WHICH)), "index") == 0;
    const lap_axis *into = lap_node_axis(out, lap_attr_name(n, LAP_ATTR_INTO));
    lap_coord r;
    lap_k_loop loop = lap_kctx_for(k, LAP_LOOP_VECTOR, into->size, LAP_NONE, 0, NULL, &r);
    lap_coord *env = lap_arena_array(l->ctx->arena, out->n_axes + 1, sizeof *env);
    for (uint32_t i = 0; i < out->n_axes; i++) {
        const lap_axis *a = lap_axis_find(rows, n_rows, out->axes[i].name);
        env[i] = a != NULL ? coords[a - rows] : r;
    }
    lap_ref live = lap_map2(k->k, LAP_FN_LT, lap_coord_ref(k->c, r), lap_coord_ref(k->c, kept));
    lap_ref index = lap_k_load(k->k, order, lap_coord_ref(k->c, r), live);
    lap_ref v = wants_index ? index : lap_k_load(k->k, keys, index, live);
    if (!wants_index && lap_dtype_compute(out->dtype) == LAP_BOOL) {
        v = lap_map2(k->k, LAP_FN_NE, v, lap_const_i(k->k, 0));
    }
    lap_ref at = lap_coord_ref(k->c, lap_address(k, result, env));
    lap_k_store(k->k, lap_kctx_buffer(k, lap_plan_of(l, result)->buffer), at, v, LAP_NONE);
    lap_kctx_end(k, &loop, NULL, NULL);
}

void lap_lower_topk(lap_lowering *l, lap_ref node)
{
    const lap_node *n = lap_node_at(l->g, node), *x = lap_node_at(l->g, n->args[0]);
    lap_name axis = lap_attr_name(n, LAP_ATTR_AXIS);
    const lap_axis *along = lap_node_axis(x, axis);
    uint32_t n_results;
    const lap_ref *results = lap_results_of(l, node, &n_results);
    if (n_results == 0) {
        return;
    }
    lap_name into = lap_attr_name(n, LAP_ATTR_INTO);
    const lap_node *first = lap_node_at(l->g, results[0]);
    const lap_axis *rows;
    uint32_t n_rows = lap_axes_without(l->ctx, first->n_axes, first->axes, (lap_names){1, &into}, &rows);
    lap_kctx *k = lap_kctx_new(l, n->loc);
    lap_coord *coords = grid_over(k, n_rows, rows);
    lap_coord *env = lap_arena_array(l->ctx->arena, x->n_axes + 1, sizeof *env);
    for (uint32_t i = 0; i < x->n_axes; i++) {
        const lap_axis *a = lap_axis_find(rows, n_rows, x->axes[i].name);
        env[i] = a != NULL ? coords[a - rows] : lap_coord_const(k->c, 0);
    }
    lap_coord count = lap_coord_dim(k->c, along->size);
    if (lap_ref_some(along->count)) {
        const lap_coord *sub = lap_env_for(k, along->count, x->n_axes, x->axes, env);
        count = lap_coord_clamp(k->c, lap_pull(k, along->count, sub, LAP_NONE).coord, count);
    }
    bool is_float = lap_dtype_compute(x->dtype) == LAP_F32;
    lap_ref keys = lap_kctx_scratch(k, is_float ? LAP_F32 : LAP_I64, along->size);
    lap_ref order = lap_kctx_scratch(k, LAP_I64, along->size);
    lap_coord i;
    lap_k_loop loop = lap_kctx_for(k, LAP_LOOP_VECTOR, along->size, lap_coord_ref(k->c, count), 0, NULL, &i);
    env[along - x->axes] = i;
    lap_ref v = lap_pull_ref(k, n->args[0], env, LAP_NONE);
    v = lap_node_at(k->k, v)->dtype == LAP_BOOL ? lap_map1(k->k, LAP_FN_INT, v) : v;
    lap_k_store(k->k, keys, lap_coord_ref(k->c, i), v, LAP_NONE);
    lap_kctx_end(k, &loop, NULL, NULL);
    const lap_axis *new_axis = lap_node_axis(lap_node_at(l->g, results[0]), into);
    lap_coord kept = lap_coord_min(k->c, lap_coord_dim(k->c, new_axis->size), count);
    if (n->n_args > 1) {
        const lap_coord *sub = lap_env_for(k, n->args[1], n_rows, rows, coords);
        lap_coord asked = lap_pull(k, n->args[1], sub, LAP_NONE).coord;
        kept = lap_coord_clamp(k->c, asked, kept);
    }
    lap_ref zero = lap_const_i(k->k, 0);
    lap_k_sort(k->k, keys, zero, lap_coord_ref(k->c, count), order, zero, lap_coord_ref(k->c, kept),
               lap_attr_i(n, LAP_ATTR_SMALLEST, 0) != 0);
    for (uint32_t r = 0; r < n_results; r++) {
        topk_write(k, node, results[r], keys, order, kept, n_rows, rows, coords);
    }
    lap_kctx_launch(k, "topk");
}

/* ---- scatter ---- */

typedef struct scatter_job {
    lap_lowering *l;
    lap_kctx *k;
    lap_ref node;
    const lap_node *n;
    lap_names over, target;
    uint32_t n_src;
    lap_axis *src;
    lap_coord *at;
} scatter_job;

static void scatter_axes(scatter_job *j)
{
    lap_lowering *l = j->l;
    uint32_t most = 1;
    for (uint32_t i = 0; i < j->n->n_args; i++) {
        most += lap_node_at(l->g, j->n->args[i])->n_axes;
    }
    j->src = lap_arena_array(l->ctx->arena, most, sizeof *j->src);
    j->at = lap_arena_array(l->ctx->arena, most, sizeof *j->at);
    for (uint32_t i = 0; i < j->n->n_args; i++) {
        const lap_node *x = lap_node_at(l->g, j->n->args[i]);
        for (uint32_t a = 0; a < x->n_axes; a++) {
            lap_axis *known = (lap_axis *)lap_axis_find(j->src, j->n_src, x->axes[a].name);
            if (known == NULL) {
                j->src[j->n_src++] = x->axes[a];
            } else if (!lap_ref_some(known->count)) {
                known->count = x->axes[a].count;
            }
        }
    }
}

/* Fills the targets of this grid point with the base. */
static void scatter_fill(scatter_job *j, lap_coord *env)
{
    lap_nest loops = {0};
    for (uint32_t t = 0; t < j->target.n; t++) {
        const lap_axis *a = lap_node_axis(j->n, j->target.at[t]);
        lap_nest_open(j->k, &loops, LAP_LOOP_SERIAL, a->size, &env[a - j->n->axes]);
    }
    lap_ref at = lap_coord_ref(j->k->c, lap_address(j->k, j->node, env));
    lap_k_store(j->k->k, lap_kctx_buffer(j->k, lap_plan_of(j->l, j->node)->buffer), at,
                lap_scalar_as(j->k->k, lap_node_attr(j->n, LAP_ATTR_BASE)->scalar, j->n->dtype), LAP_NONE);
    lap_nest_close(j->k, &loops);
}

static void scatter_update(scatter_job *j, lap_coord *env)
{
    lap_kctx *k = j->k;
    lap_ref live = lap_present(k, j->n_src, j->src, j->at, NULL);
    lap_mode mode = (lap_mode)lap_attr_i(j->n, LAP_ATTR_MODE, 0);
    for (uint32_t t = 0; t < j->target.n; t++) {
        const lap_axis *a = lap_node_axis(j->n, j->target.at[t]);
        lap_ref arg = j->n->args[1 + t];
        lap_val v = lap_pull(k, arg, lap_env_for(k, arg, j->n_src, j->src, j->at), live);
        env[a - j->n->axes] =
            v.is_coord ? v.coord : lap_coord_opaque(k->c, lap_map1(k->k, LAP_FN_INT, v.ref));
    }
    lap_ref inside = live;
    for (uint32_t t = 0; t < j->target.n; t++) {
        const lap_axis *a = lap_node_axis(j->n, j->target.at[t]);
        lap_ref i = lap_coord_ref(k->c, env[a - j->n->axes]);
        inside = lap_mask_both(k, inside, lap_map2(k->k, LAP_FN_GE, i, lap_const_i(k->k, 0)));
        inside = lap_mask_both(k, inside, lap_map2(k->k, LAP_FN_LT, i, lap_dim_node(k->k, a->size)));
    }
    lap_ref v = lap_pull_ref(k, j->n->args[0], lap_env_for(k, j->n->args[0], j->n_src, j->src, j->at), live);
    lap_dtype want = lap_dtype_compute(j->n->dtype);
    if (lap_node_at(k->k, v)->dtype != want) {
        v = lap_map1(k->k, want == LAP_F32 ? LAP_FN_FLOAT : LAP_FN_INT, v);
    }
    lap_ref buffer = lap_kctx_buffer(k, lap_plan_of(j->l, j->node)->buffer);
    lap_ref at = lap_coord_ref(k->c, lap_address(k, j->node, env));
    if (mode != LAP_MODE_SET) {
        lap_fn fn = mode == LAP_MODE_ADD ? LAP_FN_ADD : want == LAP_BOOL ? LAP_FN_OR : LAP_FN_MAX;
        v = lap_map2(k->k, fn, lap_k_load(k->k, buffer, at, inside), v);
    }
    lap_k_store(k->k, buffer, at, v, inside);
}

/* Grid over the axes that are no targets; source elements in order, so the sum's order is fixed. */
void lap_lower_scatter(lap_lowering *l, lap_ref node)
{
    scatter_job j = {.l = l, .node = node, .n = lap_node_at(l->g, node)};
    j.over = lap_attr_names(j.n, LAP_ATTR_OVER);
    j.target = lap_attr_names(j.n, LAP_ATTR_TARGET);
    scatter_axes(&j);
    lap_kctx *k = j.k = lap_kctx_new(l, j.n->loc);
    const lap_axis *batch;
    uint32_t n_batch = lap_axes_without(l->ctx, j.n->n_axes, j.n->axes, j.target, &batch);
    lap_coord *grid = grid_over(k, n_batch, batch);
    lap_coord *env = lap_arena_array(l->ctx->arena, j.n->n_axes + 1, sizeof *env);
    for (uint32_t i = 0; i < n_batch; i++) {
        env[lap_node_axis(j.n, batch[i].name) - j.n->axes] = grid[i];
        const lap_axis *a = lap_axis_find(j.src, j.n_src, batch[i].name);
        if (a != NULL) {
            j.at[a - j.src] = grid[i];
        }
    }
    scatter_fill(&j, env);
    lap_nest loops = {0};
    for (uint32_t i = 0; i < j.over.n; i++) {
        const lap_axis *a = lap_axis_find(j.src, j.n_src, j.over.at[i]);
        lap_nest_open(k, &loops, LAP_LOOP_SERIAL, a->size, &j.at[a - j.src]);
    }
    scatter_update(&j, env);
    lap_nest_close(k, &loops);
    lap_kctx_launch(k, "scatter");
}

void lap_lower_require(lap_lowering *l, lap_ref node)
{
    const lap_node *n = lap_node_at(l->g, node), *cond = lap_node_at(l->g, n->args[0]);
    lap_kctx *k = lap_kctx_new(l, n->loc);
    lap_coord *env = grid_over(k, cond->n_axes, cond->axes);
    lap_ref present = lap_present(k, cond->n_axes, cond->axes, env, NULL);
    lap_ref holds = lap_pull_ref(k, n->args[0], env, present);
    lap_ref bad = lap_mask_both(k, present, lap_map1(k->k, LAP_FN_NOT, holds));
    lap_k_fail(k->k, bad, lap_text(l->ctx, lap_attr_name(n, LAP_ATTR_MESSAGE)));
    lap_kctx_launch(k, "require");
}
