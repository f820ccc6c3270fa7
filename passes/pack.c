/* SPDX-License-Identifier: Apache-2.0
 * pack.c - the right operand of register tiles: panels of some columns, one row per step of k.
 *
 * Lanes run along what is contiguous in the source: over the columns; where k is, a panel is a transposed
 * copy, or, when n does not come in even steps, short runs of k are scattered into rows still in cache. */
#include "passes/tiles.h"

#include <string.h>

enum { RUN = 16 };

static const lap_dim *list_sizes(lap_lowering *l, lap_axis_list axes)
{
    lap_dim *sizes = lap_arena_array(l->ctx->arena, axes.n + 1, sizeof *sizes);
    for (uint32_t i = 0; i < axes.n; i++) {
        sizes[i] = axes.at[i].size;
    }
    return sizes;
}

typedef struct job {
    lap_lowering *l;
    const lap_roles *r;
    const lap_panels *p;
    lap_kctx *k;
    lap_env_list env; /* batch, n, k */
    lap_coord *coords;
    lap_coord base, panel;
    bool by_runs;  /* lanes along k, which is contiguous in the source */
    bool by_turns; /* and n comes in even steps of `step`: panels are transposed copies */
    lap_dim step;
} job;

static lap_coord *n_coords(const job *j) { return j->coords + j->p->batch.n; }
static lap_coord *k_coords(const job *j) { return n_coords(j) + j->r->n.n; }

/* Where elements are read: batch, n and k axes, at coordinates that the loops fill in. */
static void set_axes(job *j)
{
    uint32_t nb = j->p->batch.n, total = nb + j->r->n.n + j->r->k.n;
    lap_axis *axes = lap_arena_array(j->l->ctx->arena, total + 1, sizeof *axes);
    memcpy(axes, j->p->batch.at, nb * sizeof *axes);
    memcpy(axes + nb, j->r->n.at, j->r->n.n * sizeof *axes);
    memcpy(axes + nb + j->r->n.n, j->r->k.at, j->r->k.n * sizeof *axes);
    j->coords = lap_arena_array(j->l->ctx->arena, total + 2, sizeof *j->coords);
    j->env = (lap_env_list){total, axes, j->coords};
}

/* Fills the batch coordinates from env. */
static void set_batch(job *j, const lap_env_list *env)
{
    for (uint32_t i = 0; i < j->p->batch.n; i++) {
        const lap_axis *a = lap_axis_find(env->axes, env->n, j->p->batch.at[i].name);
        LAP_ENSURE(a != NULL);
        j->coords[i] = env->coords[a - env->axes];
    }
}

/* Address of B, one view of floats, at these flat coordinates of n and k; false when it is not such a view.
 */
static bool view_at(job *j, lap_coord n, lap_coord depth, uint32_t *out_buffer, lap_coord *out_address)
{
    lap_coord_split(j->k, n, j->r->n.n, list_sizes(j->l, j->r->n), n_coords(j));
    lap_coord_split(j->k, depth, j->r->k.n, list_sizes(j->l, j->r->k), k_coords(j));
    const lap_coord *env = lap_env_for(j->k, j->r->b.at[0], j->env.n, j->env.axes, j->coords);
    return lap_view_address(j->k, j->r->b.at[0], env, out_buffer, out_address);
}

typedef struct strides {
    uint32_t buffer;
    lap_dim n, k;
    bool has_n, has_k;
} strides;

/* Steps of B's address along n and k; false when B is not one view. Asked at stand-in coordinates. */
static bool find_strides(job *j, strides *out)
{
    *out = (strides){0};
    if (j->r->b.n != 1 || j->r->has_ragged_k) {
        return false;
    }
    lap_coords *c = j->k->c;
    for (uint32_t i = 0; i < j->p->batch.n; i++) {
        j->coords[i] = lap_coord_stand_in(c, j->env.axes[i].size);
    }
    lap_coord n = lap_coord_stand_in(c, j->p->n_total), depth = lap_coord_stand_in(c, j->p->k_total);
    lap_coord address, rest;
    if (!view_at(j, n, depth, &out->buffer, &address)) {
        return false;
    }
    out->has_n = lap_coord_affine(c, address, n, &out->n, &rest);
    out->has_k = lap_coord_affine(c, address, depth, &out->k, &rest);
    return true;
}

static bool is_one(const job *j, lap_dim d) { return lap_dim_same(d, lap_dim_const(j->l->ctx, 1)); }

static void choose_way(job *j)
{
    strides s;
    j->by_runs = find_strides(j, &s) && s.has_k && is_one(j, s.k);
    j->by_turns = j->by_runs && s.has_n;
    j->step = s.n;
}

/* B at (depth, column of the panel) to its place. Columns beyond n hold anything finite or not: nobody reads
 * what comes of them. Runs along k repeat the last column, lanes over columns are masked. */
static void write_element(job *j, lap_coord depth, lap_coord column)
{
    lap_kctx *k = j->k;
    lap_ctx *ctx = j->l->ctx;
    lap_dim cols = lap_dim_const(ctx, j->p->cols);
    lap_coord_split(k, depth, j->r->k.n, list_sizes(j->l, j->r->k), k_coords(j));
    lap_coord n = lap_coord_add(k->c, lap_coord_mul(k->c, j->panel, lap_coord_dim(k->c, cols)), column);
    lap_ref mask = LAP_NONE;
    if (lap_dim_compare(ctx, lap_dim_mul(ctx, j->p->n_panels, cols), LAP_REL_EQ, j->p->n_total) != LAP_YES) {
        lap_coord last = lap_coord_sub(k->c, lap_coord_dim(k->c, j->p->n_total), lap_coord_const(k->c, 1));
        if (j->by_runs) {
            n = lap_coord_min(k->c, n, last);
        } else {
            mask = lap_map2(k->k, LAP_FN_LE, lap_coord_ref(k->c, n), lap_coord_ref(k->c, last));
        }
    }
    lap_coord_split(k, n, j->r->n.n, list_sizes(j->l, j->r->n), n_coords(j));
    k->is_lenient = j->r->is_lenient;
    lap_ref v = lap_factors_value(k, &j->r->b, &j->env, mask, j->r->has_ragged_k);
    k->is_lenient = false;
    lap_coord row = lap_coord_add(k->c, j->base, lap_coord_mul(k->c, depth, lap_coord_dim(k->c, cols)));
    lap_ref at = lap_coord_ref(k->c, lap_coord_add(k->c, row, column));
    lap_k_store(k->k, lap_panels_buffer(k, j->p), at, v, LAP_NONE);
}

static void pack_by_columns(job *j)
{
    lap_kctx *k = j->k;
    lap_coord depth, column;
    lap_k_loop rows = lap_kctx_for(k, LAP_LOOP_SERIAL, j->p->k_total, LAP_NONE, 0, NULL, &depth);
    lap_dim cols = lap_dim_const(j->l->ctx, j->p->cols);
    lap_k_loop lanes = lap_kctx_for(k, LAP_LOOP_VECTOR, cols, LAP_NONE, 0, NULL, &column);
    write_element(j, depth, column);
    lap_kctx_end(k, &lanes, NULL, NULL);
    lap_kctx_end(k, &rows, NULL, NULL);
}

static void pack_by_runs(job *j)
{
    lap_kctx *k = j->k;
    lap_ctx *ctx = j->l->ctx;
    lap_coord run, column, lane;
    lap_dim length = lap_dim_const(ctx, RUN);
    lap_k_loop runs = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_dim_ceildiv(ctx, j->p->k_total, length), LAP_NONE,
                                   0, NULL, &run);
    lap_coord start = lap_coord_mul(k->c, run, lap_coord_dim(k->c, length));
    lap_coord left = lap_coord_sub(k->c, lap_coord_dim(k->c, j->p->k_total), start);
    lap_coord extent = lap_coord_min(k->c, left, lap_coord_dim(k->c, length));
    lap_k_loop columns =
        lap_kctx_for(k, LAP_LOOP_SERIAL, lap_dim_const(ctx, j->p->cols), LAP_NONE, 0, NULL, &column);
    lap_k_loop lanes = lap_kctx_for(k, LAP_LOOP_VECTOR, length, lap_coord_ref(k->c, extent), 0, NULL, &lane);
    write_element(j, lap_coord_add(k->c, start, lane), column);
    lap_kctx_end(k, &lanes, NULL, NULL);
    lap_kctx_end(k, &columns, NULL, NULL);
    lap_kctx_end(k, &runs, NULL, NULL);
}

static lap_coord offset_in_place(lap_kctx *k, const lap_panels *p, const lap_env_list *env, lap_coord panel)
{
    job j = {.l = k->l, .r = p->r, .p = p, .k = k};
    set_axes(&j);
    set_batch(&j, env);
    lap_coord n = lap_coord_mul(k->c, panel, lap_coord_const(k->c, p->cols)), address;
    uint32_t buffer;
    LAP_ENSURE(view_at(&j, n, lap_coord_const(k->c, 0), &buffer, &address) && buffer == p->buffer);
    return address;
}

lap_coord lap_panel_offset(lap_kctx *k, const lap_panels *p, const lap_env_list *env, lap_coord panel)
{
    if (p->in_place) {
        return offset_in_place(k, p, env, panel);
    }
    lap_coord flat = lap_coord_const(k->c, 0);
    for (uint32_t i = 0; i < p->batch.n && !lap_ref_some(p->scratch); i++) {
        const lap_axis *a = lap_axis_find(env->axes, env->n, p->batch.at[i].name);
        LAP_ENSURE(a != NULL);
        flat = lap_coord_add(k->c, lap_coord_mul(k->c, flat, lap_coord_dim(k->c, p->batch.at[i].size)),
                             env->coords[a - env->axes]);
    }
    flat = lap_coord_add(k->c, lap_coord_mul(k->c, flat, lap_coord_dim(k->c, p->n_panels)), panel);
    lap_dim size = lap_dim_mul(k->l->ctx, p->k_total, lap_dim_const(k->l->ctx, p->cols));
    return lap_coord_mul(k->c, flat, lap_coord_dim(k->c, size));
}

/* Nobody reads what comes of columns beyond n, but subnormal leftovers in them would slow every product. */
static void clear_beyond(job *j, lap_coord n_cols)
{
    lap_kctx *k = j->k;
    lap_dim cols = lap_dim_const(j->l->ctx, j->p->cols);
    if (lap_dim_compare(j->l->ctx, lap_dim_mul(j->l->ctx, j->p->n_panels, cols), LAP_REL_EQ, j->p->n_total) ==
        LAP_YES) {
        return;
    }
    lap_coord depth, column, beyond = lap_coord_sub(k->c, lap_coord_dim(k->c, cols), n_cols);
    lap_k_loop rows = lap_kctx_for(k, LAP_LOOP_SERIAL, j->p->k_total, LAP_NONE, 0, NULL, &depth);
    lap_k_loop lanes = lap_kctx_for(k, LAP_LOOP_VECTOR, cols, lap_coord_ref(k->c, beyond), 0, NULL, &column);
    lap_coord at = lap_coord_add(k->c, j->base, lap_coord_mul(k->c, depth, lap_coord_dim(k->c, cols)));
    at = lap_coord_add(k->c, at, lap_coord_add(k->c, n_cols, column));
    lap_k_store(k->k, lap_panels_buffer(k, j->p), lap_coord_ref(k->c, at), lap_const_f(k->k, 0), LAP_NONE);
    lap_kctx_end(k, &lanes, NULL, NULL);
    lap_kctx_end(k, &rows, NULL, NULL);
}

static void pack_by_turns(job *j)
{
    lap_kctx *k = j->k;
    lap_coord n = lap_coord_mul(k->c, j->panel, lap_coord_const(k->c, j->p->cols)), from;
    lap_coord n_cols = lap_coord_min(k->c, lap_coord_sub(k->c, lap_coord_dim(k->c, j->p->n_total), n),
                                     lap_coord_const(k->c, j->p->cols));
    uint32_t buffer;
    LAP_ENSURE(view_at(j, n, lap_coord_const(k->c, 0), &buffer, &from));
    lap_k_turn(k->k, &(lap_k_turn_args){.to = lap_panels_buffer(k, j->p),
                                        .to0 = lap_coord_ref(k->c, j->base),
                                        .ld = lap_const_i(k->k, j->p->cols),
                                        .from = lap_kctx_buffer(k, buffer),
                                        .from0 = lap_coord_ref(k->c, from),
                                        .stride = lap_dim_node(k->k, j->step),
                                        .rows = lap_coord_ref(k->c, n_cols),
                                        .cols = lap_dim_node(k->k, j->p->k_total)});
    clear_beyond(j, n_cols);
}

static void pack_panel(job *j)
{
    j->base = lap_panel_offset(j->k, j->p, &j->env, j->panel);
    if (j->by_turns) {
        pack_by_turns(j);
    } else if (j->by_runs) {
        pack_by_runs(j);
    } else {
        pack_by_columns(j);
    }
}

/* Grid over the batch and the panels from `first` on. */
static void pack_kernel(lap_lowering *l, const lap_roles *r, const lap_panels *p, lap_dim first, lap_loc loc)
{
    uint32_t nb = p->batch.n;
    lap_dim *sizes = lap_arena_array(l->ctx->arena, nb + 2, sizeof *sizes);
    memcpy(sizes, list_sizes(l, p->batch), nb * sizeof *sizes);
    sizes[nb] = lap_dim_sub(l->ctx, p->n_panels, first);
    job j = {.l = l, .r = r, .p = p, .k = lap_kctx_new(l, loc)};
    set_axes(&j);
    choose_way(&j);
    lap_coord flat = lap_kctx_grid(j.k, lap_dims_product(l->ctx, nb + 1, sizes));
    lap_coord *outer = lap_arena_array(l->ctx->arena, nb + 2, sizeof *outer);
    lap_coord_split(j.k, flat, nb + 1, sizes, outer);
    memcpy(j.coords, outer, nb * sizeof *outer);
    j.panel = lap_coord_add(j.k->c, outer[nb], lap_coord_dim(j.k->c, first));
    pack_panel(&j);
    lap_kctx_launch(j.k, "pack");
}

static lap_panels describe(lap_lowering *l, const lap_roles *r, uint32_t cols, lap_dtype elem)
{
    lap_axis *batch = lap_arena_array(l->ctx->arena, r->batch.n + 1, sizeof *batch);
    uint32_t nb = 0;
    for (uint32_t i = 0; i < r->batch.n; i++) {
        if (lap_factors_have(l, &r->b, r->batch.at[i].name)) {
            batch[nb++] = r->batch.at[i];
        }
    }
    lap_panels p = {.batch = {nb, batch},
                    .n_total = lap_axes_product(l, r->n),
                    .k_total = lap_axes_product(l, r->k),
                    .cols = cols,
                    .elem = elem,
                    .r = r,
                    .stride = lap_dim_const(l->ctx, cols)};
    p.n_panels = lap_dim_ceildiv(l->ctx, p.n_total, lap_dim_const(l->ctx, cols));
    return p;
}

/* Elements of the panels of one batch. */
static lap_dim batch_size(lap_lowering *l, const lap_panels *p)
{
    return lap_dim_mul(l->ctx, p->n_panels, lap_dim_mul(l->ctx, p->k_total, lap_dim_const(l->ctx, p->cols)));
}

lap_panels lap_pack_panels(lap_lowering *l, const lap_roles *r, uint32_t cols, lap_dtype elem, lap_dim first,
                           lap_loc loc)
{
    lap_panels p = describe(l, r, cols, elem);
    lap_dim count = lap_dim_mul(l->ctx, lap_axes_product(l, p.batch), batch_size(l, &p));
    bool once = lap_factors_static(l, &r->b);
    p.buffer = lap_program_buffer(
        l, (lap_buffer){.kind = once ? LAP_BUF_PACKED : LAP_BUF_TEMP, .elem = elem, .count = count});
    bool was = l->is_static;
    l->is_static = once;
    pack_kernel(l, r, &p, first, loc);
    l->is_static = was;
    return p;
}

bool lap_panels_in_place(lap_kctx *k, const lap_roles *r, uint32_t cols, lap_dtype elem, lap_panels *out)
{
    lap_lowering *l = k->l;
    lap_panels p = describe(l, r, cols, elem);
    if (lap_factors_static(l, &r->b)) {
        return false;
    }
    job j = {.l = l, .r = r, .p = &p, .k = k};
    strides s;
    set_axes(&j);
    if (!find_strides(&j, &s) || l->buffers[s.buffer].elem != elem || !s.has_n || !s.has_k ||
        !is_one(&j, s.n)) {
        return false;
    }
    p.buffer = s.buffer;
    p.stride = s.k;
    p.in_place = true;
    *out = p;
    return true;
}

lap_panels lap_panels_inside(lap_kctx *k, const lap_roles *r, uint32_t cols, lap_dtype elem)
{
    lap_panels p = describe(k->l, r, cols, elem);
    p.scratch = lap_kctx_scratch(k, elem, batch_size(k->l, &p));
    return p;
}

void lap_pack_inside(lap_kctx *k, const lap_roles *r, const lap_panels *p, const lap_env_list *env)
{
    if (!lap_ref_some(p->scratch)) {
        return;
    }
    job j = {.l = k->l, .r = r, .p = p, .k = k};
    set_axes(&j);
    choose_way(&j);
    set_batch(&j, env);
    lap_k_loop panels = lap_kctx_for(k, LAP_LOOP_SERIAL, p->n_panels, LAP_NONE, 0, NULL, &j.panel);
    pack_panel(&j);
    lap_kctx_end(k, &panels, NULL, NULL);
}

lap_ref lap_panels_buffer(lap_kctx *k, const lap_panels *p)
{
    return lap_ref_some(p->scratch) ? p->scratch : lap_kctx_buffer(k, p->buffer);
}
