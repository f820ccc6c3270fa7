/* SPDX-License-Identifier: Apache-2.0
 * near_pack.c - the operands of attends over windows of a grid, brought into scratch: planes of neighbouring
 * queries and keys by channel, values as rows of channels.
 *
 * Where an operand is a view of memory and the columns of a strip are plain places of it, a whole row of the
 * strip is one transposing copy. What remains, places beside the grid and any other expression, is read
 * element by element. */
#include "passes/near_job.h"

/* An extent whose bound is known but not seen in it: devices count their rounds. */
static lap_ref at_most(lap_near_job *j, lap_coord extent, int64_t most)
{
    return lap_coord_ref(j->k->c, lap_coord_min(j->k->c, extent, lap_near_i(j, most)));
}

/* A view of floats in memory: its flat address, and the extents of the axes that places index. */
typedef struct view {
    uint32_t buffer;
    lap_coord address, base;
    lap_dim column, plane;       /* strides */
    lap_dim size[LAP_NEAR_AXES]; /* of the source along each key axis */
} view;

static bool is_float(lap_near_job *j, uint32_t buffer)
{
    lap_dtype elem = j->l->buffers[buffer].elem;
    return elem == LAP_F32 || elem == LAP_F16 || elem == LAP_BF16;
}

static int axis_of_place(lap_near_job *j, lap_ref index)
{
    for (uint32_t i = 0; i < j->near.n; i++) {
        if (lap_ref_same(j->near.axis[i].place, index)) {
            return (int)i;
        }
    }
    return -1;
}

static bool is_within(lap_near_job *j, lap_coord at, lap_dim size)
{
    lap_coords *c = j->k->c;
    return lap_coord_compare(c, at, LAP_REL_GE, lap_near_i(j, 0)) == LAP_YES &&
           lap_coord_compare(c, at, LAP_REL_LT, lap_coord_dim(c, size)) == LAP_YES;
}

/* Places are taken to be inside: who reads there makes sure. */
static bool find_view(lap_near_job *j, lap_ref r, const lap_coord *env, view *v)
{
    lap_lowering *l = j->l;
    const lap_node *n = lap_node_at(l->g, r);
    const lap_plan_node *p = lap_plan_of(l, r);
    if (p->kind != LAP_STORE_INLINE && p->kind != LAP_STORE_ALIAS) {
        v->buffer = p->buffer;
        v->address = lap_address(j->k, r, env);
        return is_float(j, p->buffer);
    }
    if (p->kind != LAP_STORE_INLINE || n->op != LAP_OP_AT) {
        return false;
    }
    const lap_node *x = lap_node_at(l->g, n->args[0]);
    lap_names src = lap_attr_names(n, LAP_ATTR_SRC);
    lap_coord *sub = lap_arena_array(l->ctx->arena, x->n_axes + 1, sizeof *sub);
    for (uint32_t i = 0; i < x->n_axes; i++) {
        uint32_t s = 0;
        while (s < src.n && !lap_name_same(src.at[s], x->axes[i].name)) {
            s++;
        }
        if (s == src.n) {
            sub[i] = env[lap_node_axis(n, x->axes[i].name) - n->axes];
            continue;
        }
        lap_ref index = n->args[1 + s];
        int axis = axis_of_place(j, index);
        if (!lap_plan_of(l, index)->is_plain) {
            return false;
        }
        sub[i] = lap_pull(j->k, index, lap_env_for(j->k, index, n->n_axes, n->axes, env), LAP_NONE).coord;
        if (axis < 0 && !is_within(j, sub[i], x->axes[i].size)) {
            return false;
        }
        if (axis >= 0) {
            v->size[axis] = x->axes[i].size;
        }
    }
    return find_view(j, n->args[0], sub, v);
}

void lap_near_set_merged(lap_near_job *j, lap_axis_list axes, lap_coord flat)
{
    lap_dim sizes[64] = {{0}};
    lap_coord at[64];
    LAP_ENSURE(axes.n <= 64);
    for (uint32_t i = 0; i < axes.n; i++) {
        sizes[i] = axes.at[i].size;
    }
    lap_coord_split(j->k, flat, axes.n, sizes, at);
    for (uint32_t i = 0; i < axes.n; i++) {
        lap_near_set(j, axes.at[i].name, at[i]);
    }
}

/* A view whose address is affine in both stand-ins, along one of them by ones. */
static bool is_turnable(lap_near_job *j, lap_ref side, lap_coord column, lap_coord plane, view *v)
{
    lap_dim one = lap_near_d(j, 1);
    lap_coord rest;
    return find_view(j, side, lap_near_env(j, side), v) &&
           lap_coord_affine(j->k->c, v->address, column, &v->column, &rest) &&
           lap_coord_affine(j->k->c, rest, plane, &v->plane, &v->base) &&
           (lap_dim_same(v->plane, one) || lap_dim_same(v->column, one));
}

/* Columns from memory to scratch. */
typedef struct copy {
    const view *v;
    lap_ref to;
    lap_coord first;       /* where the first column goes */
    lap_dim plane, column; /* strides there */
    lap_coord n, planes;   /* columns, at most `most`; planes, at most `most_planes` */
    int64_t most;
    lap_dim most_planes;
} copy;

static void copy_turned(lap_near_job *j, const copy *m, bool by_plane)
{
    lap_kctx *k = j->k;
    lap_ref n = lap_coord_ref(k->c, m->n), planes = lap_coord_ref(k->c, m->planes);
    lap_k_turn(k->k, &(lap_k_turn_args){.to = m->to,
                                        .to0 = lap_coord_ref(k->c, m->first),
                                        .ld = lap_dim_node(k->k, by_plane ? m->plane : m->column),
                                        .from = lap_kctx_buffer(k, m->v->buffer),
                                        .from0 = lap_coord_ref(k->c, m->v->base),
                                        .stride = lap_dim_node(k->k, by_plane ? m->v->column : m->v->plane),
                                        .rows = by_plane ? n : planes,
                                        .cols = by_plane ? planes : n});
}

/* All planes; what lies together stays together, or is turned. */
static void copy_columns(lap_near_job *j, const copy *m)
{
    lap_kctx *k = j->k;
    lap_coords *c = k->c;
    lap_dim one = lap_near_d(j, 1);
    bool from_plane = lap_dim_same(m->v->plane, one), to_plane = lap_dim_same(m->plane, one);
    if (from_plane != to_plane) {
        copy_turned(j, m, from_plane);
        return;
    }
    lap_coord plane, column, *outer = to_plane ? &column : &plane, *inner = to_plane ? &plane : &column;
    lap_dim most = lap_near_d(j, m->most), bound[2] = {m->most_planes, most};
    lap_ref extent[2] = {lap_coord_ref(c, m->planes), lap_coord_ref(c, m->n)};
    lap_k_loop rows = lap_kctx_for(k, LAP_LOOP_SERIAL, bound[to_plane], extent[to_plane], 0, NULL, outer);
    lap_k_loop lanes = lap_kctx_for(k, LAP_LOOP_VECTOR, bound[!to_plane], extent[!to_plane], 0, NULL, inner);
    lap_coord at = lap_near_sum(j, m->v->base, lap_near_times(j, column, lap_coord_dim(c, m->v->column)));
    at = lap_near_sum(j, at, lap_near_times(j, plane, lap_coord_dim(c, m->v->plane)));
    lap_coord in = lap_near_sum(j, m->first, lap_near_times(j, column, lap_coord_dim(c, m->column)));
    in = lap_near_sum(j, in, lap_near_times(j, plane, lap_coord_dim(c, m->plane)));
    lap_ref v = lap_k_load(k->k, lap_kctx_buffer(k, m->v->buffer), lap_coord_ref(c, at), LAP_NONE);
    lap_k_store(k->k, m->to, lap_coord_ref(c, in), v, LAP_NONE);
    lap_kctx_end(k, &lanes, NULL, NULL);
    lap_kctx_end(k, &rows, NULL, NULL);
}

/* ---- keys and values ---- */

typedef struct strip_work {
    lap_near_job *j;
    lap_ref side;
    const lap_near_strip *to;
    lap_axis_list axes;
    lap_dim total;          /* planes at most */
    lap_coord part, planes; /* part of them, those in it */
    lap_coord slot, u;      /* outer row and row of the strip */
    lap_coord row;          /* place of the row; folded: of its first lane */
} strip_work;

/* The last place that some query's unclamped window has. */
static lap_coord last_place(lap_near_job *j, int axis)
{
    const lap_near_axis *a = &j->near.axis[axis];
    return lap_near_sum(j, j->limit[axis], lap_near_i(j, a->places - a->back - 2));
}

/* The key axis such that the key is at this place, seen from the first query of the run. */
static void set_place(lap_near_job *j, int axis, lap_coord place)
{
    const lap_near_axis *a = &j->near.axis[axis];
    lap_near_set_query(j, axis, j->start[axis]);
    lap_near_set(j, a->key,
                 lap_coord_sub(j->k->c, place, lap_near_first(j->k, a, j->start[axis], j->r[axis])));
}

static lap_coord padded(lap_near_job *j, int axis, lap_coord u)
{
    return lap_near_pad(j, axis, lap_coord_min(j->k->c, u, last_place(j, axis)));
}

static int lane_axis(const lap_near_job *j) { return j->is_folded ? j->t : j->x; }

/* Place of a column before padding. */
static lap_coord column_place(strip_work *w, lap_coord column)
{
    lap_near_job *j = w->j;
    if (j->is_folded) {
        return lap_near_sum(j, w->row, lap_near_times(j, column, lap_coord_dim(j->k->c, j->segment)));
    }
    return lap_near_sum(j, lap_near_sum(j, j->start[j->x], lap_near_i(j, -j->near.axis[j->x].back)), column);
}

/* Columns that some query of the run sees. */
static lap_coord columns_seen(lap_near_job *j)
{
    return j->is_folded ? lap_near_i(j, j->lanes)
                        : lap_near_sum(j, lap_near_across(j), lap_near_i(j, j->kx - 1));
}

static void set_plane(strip_work *w, lap_coord plane)
{
    lap_coord first = lap_near_times(w->j, w->part, lap_near_i(w->j, w->to->width));
    lap_near_set_merged(w->j, w->axes, lap_near_sum(w->j, first, plane));
}

static lap_coord strip_address(strip_work *w, lap_coord plane, lap_coord column)
{
    return lap_near_at(w->j, w->to, &(lap_near_spot){w->slot, w->u, w->part, plane, column});
}

/* Places of a source axis with `size` elements: 0 .. this - 1. */
static lap_coord places(lap_near_job *j, int axis, lap_dim size)
{
    int64_t step = j->near.axis[axis].step;
    lap_coord up = lap_coord_dim(j->k->c, lap_dim_add(j->l->ctx, size, lap_near_d(j, step - 1)));
    return lap_coord_floordiv(j->k->c, lap_coord_sub(j->k->c, up, j->r[axis]), lap_near_i(j, step));
}

static lap_ref is_place(lap_near_job *j, int axis, lap_coord place, lap_dim size)
{
    lap_coords *c = j->k->c;
    lap_ref low = lap_map2(j->k->k, LAP_FN_GE, lap_coord_ref(c, place), lap_const_i(j->k->k, 0));
    return lap_map2(
        j->k->k, LAP_FN_AND, low,
        lap_map2(j->k->k, LAP_FN_LT, lap_coord_ref(c, place), lap_coord_ref(c, places(j, axis, size))));
}

/* First column at or after this place. */
static lap_coord column_of(strip_work *w, lap_coord place)
{
    lap_near_job *j = w->j;
    lap_coords *c = j->k->c;
    lap_coord away = lap_coord_sub(c, place, column_place(w, lap_near_i(j, 0)));
    if (j->is_folded) {
        lap_dim up = lap_dim_sub(j->l->ctx, j->segment, lap_near_d(j, 1));
        away =
            lap_coord_floordiv(c, lap_near_sum(j, away, lap_coord_dim(c, up)), lap_coord_dim(c, j->segment));
    }
    return lap_coord_min(c, lap_coord_max(c, away, lap_near_i(j, 0)), columns_seen(j));
}

static void copy_range(strip_work *w, const view *v, lap_coord lo, lap_coord hi)
{
    lap_near_job *j = w->j;
    lap_coords *c = j->k->c;
    view at = *v;
    at.base = lap_near_sum(j, v->base, lap_near_times(j, lo, lap_coord_dim(c, v->column)));
    copy_columns(j, &(copy){.v = &at,
                            .to = w->to->strip,
                            .first = strip_address(w, lap_near_i(j, 0), lo),
                            .plane = w->to->plane,
                            .column = w->to->column,
                            .n = lap_coord_min(c, lap_coord_sub(c, hi, lo), lap_near_i(j, j->columns)),
                            .most = j->columns,
                            .planes = w->planes,
                            .most_planes = w->total});
}

/* The columns lo .. hi - 1 of the row are plain places of the view; copies them. */
static void copy_plain(strip_work *w, view *v, lap_ref rows_ok, lap_coord *lo, lap_coord *hi)
{
    lap_near_job *j = w->j;
    lap_coords *c = j->k->c;
    int axis = lane_axis(j);
    const lap_coord_window *window = &j->window[axis];
    lap_coord first = lap_near_i(j, 0), end = places(j, axis, v->size[axis]);
    end = lap_coord_min(c, end, lap_near_sum(j, last_place(j, axis), lap_near_i(j, 1)));
    if (window->has_lo) {
        first =
            lap_coord_max(c, first, window->has_hi ? lap_coord_min(c, window->lo, window->hi) : window->lo);
    }
    if (window->has_hi) {
        end = lap_coord_min(c, end, lap_near_sum(j, window->hi, lap_near_i(j, j->near.axis[axis].places)));
    }
    *lo = column_of(w, first);
    *hi = lap_coord_max(c, column_of(w, end), *lo);
    if (lap_ref_some(rows_ok)) {
        lap_ref some =
            lap_map3(j->k->k, LAP_FN_SELECT, rows_ok, lap_coord_ref(c, *hi), lap_coord_ref(c, *lo));
        *hi = lap_coord_opaque(c, some);
    }
    if (w->to->lead == 0) {
        copy_range(w, v, *lo, *hi);
        return;
    }
    lap_coord whole = lap_near_i(j, j->near.axis[axis].back); /* from here on, vectors are whole */
    whole = lap_coord_min(c, lap_coord_max(c, whole, *lo), *hi);
    copy_range(w, v, *lo, whole);
    copy_range(w, v, whole, *hi);
}

/* The other columns, any value. */
static void copy_rest(strip_work *w, lap_coord lo, lap_coord hi)
{
    lap_near_job *j = w->j;
    lap_kctx *k = j->k;
    lap_coords *c = k->c;
    lap_coord i, plane, skipped = lap_coord_sub(c, hi, lo);
    lap_coord left = lap_coord_sub(c, columns_seen(j), skipped);
    lap_k_loop columns = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_near_d(j, j->columns),
                                      at_most(j, left, j->columns), 0, NULL, &i);
    lap_ref beyond = lap_map2(k->k, LAP_FN_GE, lap_coord_ref(c, i), lap_coord_ref(c, lo));
    lap_ref jump = lap_map3(k->k, LAP_FN_SELECT, beyond, lap_coord_ref(c, skipped), lap_const_i(k->k, 0));
    lap_coord column = lap_near_sum(j, i, lap_coord_opaque(c, jump));
    set_place(j, lane_axis(j), padded(j, lane_axis(j), column_place(w, column)));
    lap_k_loop lanes =
        lap_kctx_for(k, LAP_LOOP_VECTOR, w->total, lap_coord_ref(c, w->planes), 0, NULL, &plane);
    set_plane(w, plane);
    lap_ref v = lap_pull_ref(k, w->side, lap_near_env(j, w->side), LAP_NONE);
    v = lap_node_at(k->k, v)->dtype == LAP_F32 ? v : lap_map1(k->k, LAP_FN_FLOAT, v);
    lap_k_store(k->k, w->to->strip, lap_coord_ref(c, strip_address(w, plane, column)), v, LAP_NONE);
    lap_kctx_end(k, &lanes, NULL, NULL);
    lap_kctx_end(k, &columns, NULL, NULL);
}

static void copy_row(strip_work *w)
{
    lap_near_job *j = w->j;
    lap_coord column = lap_coord_stand_in(j->k->c, lap_near_d(j, j->columns)),
              plane = lap_coord_stand_in(j->k->c, w->total), lo = lap_near_i(j, 0), hi = lo, row = w->row;
    if (!j->is_folded) {
        row = padded(j, j->t, w->row);
        set_place(j, j->t, row);
    }
    set_place(j, lane_axis(j), column_place(w, column));
    set_plane(w, plane);
    view v = {0};
    if (is_turnable(j, w->side, column, plane, &v)) {
        lap_ref ok = j->is_folded ? LAP_NONE : is_place(j, j->t, row, v.size[j->t]);
        if (j->z >= 0) {
            ok = lap_mask_both(j->k, ok,
                               is_place(j, j->z, lap_near_sum(j, j->z_first, w->slot), v.size[j->z]));
        }
        copy_plain(w, &v, ok, &lo, &hi);
    }
    copy_rest(w, lo, hi);
}

/* K or V to scratch. */
static void pack_strip(lap_near_job *j, strip_work *w, lap_near_range slots, lap_near_range rows)
{
    lap_kctx *k = j->k;
    lap_coords *c = k->c;
    const lap_near_axis *t = &j->near.axis[j->t];
    lap_coord slot, row;
    lap_k_loop outer =
        lap_kctx_for(k, LAP_LOOP_SERIAL, lap_near_d(j, j->kz),
                     at_most(j, lap_coord_sub(c, slots.to, slots.from), j->kz), 0, NULL, &slot);
    w->slot = lap_near_sum(j, slots.from, slot);
    if (j->z >= 0) {
        lap_near_set_query(j, j->z, j->start[j->z]);
        lap_near_set(j, j->near.axis[j->z].key, lap_coord_sub(c, w->slot, j->z_slot));
    }
    int64_t most = w->to->n_rows > 0 ? w->to->n_rows : j->run + t->places - 1;
    lap_k_loop inner = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_near_d(j, most),
                                    at_most(j, lap_coord_sub(c, rows.to, rows.from), most), 0, NULL, &row);
    w->u = lap_near_sum(j, rows.from, row);
    w->row = lap_near_sum(j, lap_near_sum(j, j->start[j->t], lap_near_i(j, -t->back)), w->u);
    lap_dim all = lap_near_d(j, w->to->width), parts = lap_near_d(j, 1);
    w->planes = lap_coord_dim(c, w->total);
    if (w->to->width > 0) {
        parts = lap_dim_ceildiv(j->l->ctx, w->total, all);
    }
    lap_k_loop by_part = lap_kctx_for(k, LAP_LOOP_SERIAL, parts, LAP_NONE, 0, NULL, &w->part);
    if (w->to->width > 0) {
        lap_coord left = lap_near_times(j, w->part, lap_near_i(j, w->to->width));
        w->planes = lap_coord_min(c, lap_coord_sub(c, w->planes, left), lap_coord_dim(c, all));
        w->total = all;
    }
    copy_row(w);
    lap_kctx_end(k, &by_part, NULL, NULL);
    lap_kctx_end(k, &inner, NULL, NULL);
    lap_kctx_end(k, &outer, NULL, NULL);
}

void lap_near_pack_keys(lap_near_job *j, lap_near_range slots, lap_near_range rows)
{
    strip_work k = {.j = j, .side = j->keys, .to = &j->keys_in, .axes = j->near.depth, .total = j->n_depth};
    strip_work v = {.j = j, .side = j->near.v, .to = &j->values_in, .axes = j->near.wide, .total = j->n_wide};
    pack_strip(j, &k, slots, rows);
    pack_strip(j, &v, slots, rows);
}

/* ---- queries ---- */

/* Q of the block's queries at j->tile. Lanes that are no query keep what was there. */
void lap_near_pack_queries(lap_near_job *j)
{
    lap_kctx *k = j->k;
    lap_coords *c = k->c;
    const lap_near_strip *to = &j->queries_in;
    lap_coord t, lane, d, zero = lap_near_i(j, 0);
    lap_k_loop rows = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_near_d(j, j->rows),
                                   lap_coord_ref(c, lap_near_rows(j)), 0, NULL, &t);
    lap_coord n = lap_near_lanes(j, t), some = lap_coord_stand_in(j->k->c, lap_near_d(j, j->lanes)),
              plane = lap_coord_stand_in(j->k->c, j->n_depth);
    lap_near_set_row(j, t, some);
    lap_near_set_merged(j, j->near.depth, plane);
    view v = {0};
    if (is_turnable(j, j->queries, some, plane, &v)) {
        copy_columns(j, &(copy){.v = &v,
                                .to = to->strip,
                                .first = lap_near_at(j, to, &(lap_near_spot){zero, t, zero, zero, zero}),
                                .plane = to->plane,
                                .column = to->column,
                                .n = n,
                                .most = j->lanes,
                                .planes = lap_coord_dim(c, j->n_depth),
                                .most_planes = j->n_depth});
        lap_kctx_end(k, &rows, NULL, NULL);
        return;
    }
    lap_k_loop lanes =
        lap_kctx_for(k, LAP_LOOP_SERIAL, lap_near_d(j, j->lanes), lap_coord_ref(c, n), 0, NULL, &lane);
    lap_near_set_row(j, t, lane);
    lap_k_loop depth = lap_kctx_for(k, LAP_LOOP_VECTOR, j->n_depth, LAP_NONE, 0, NULL, &d);
    lap_near_set_merged(j, j->near.depth, d);
    lap_ref q = lap_pull_ref(k, j->queries, lap_near_env(j, j->queries), LAP_NONE);
    q = lap_node_at(k->k, q)->dtype == LAP_F32 ? q : lap_map1(k->k, LAP_FN_FLOAT, q);
    lap_coord at = lap_near_at(j, to, &(lap_near_spot){zero, t, zero, d, lane});
    lap_k_store(k->k, to->strip, lap_coord_ref(c, at), q, LAP_NONE);
    lap_kctx_end(k, &depth, NULL, NULL);
    lap_kctx_end(k, &lanes, NULL, NULL);
    lap_kctx_end(k, &rows, NULL, NULL);
}
