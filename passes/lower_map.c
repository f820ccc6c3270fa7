/* SPDX-License-Identifier: Apache-2.0
 * lower_map.c - kernels that compute an elementwise value, with the row reductions fused into it.
 *
 * The grid runs over rows where reductions join in, else over all but the fastest axes; the fastest
 * axes of the destination run in lanes. Reductions are computed when their row is entered. */
#include "passes/window.h"

#include <string.h>

/* A row value of DEAR operations is kept in scratch, unless the row is known to have more than ROW_MOST. */
enum { LANES_ENOUGH = 16, DEAR = 12, ROW_MOST = 8192 };

lap_dest lap_dest_of(lap_lowering *l, lap_ref node)
{
    const lap_plan_node *p = lap_plan_of(l, node);
    return (lap_dest){.buffer = p->buffer,
                      .n = p->n_order,
                      .order = p->order,
                      .size = p->size,
                      .stride = p->stride,
                      .merge = p->merge};
}

lap_dest lap_dest_make(lap_lowering *l, lap_ref node, uint32_t buffer, uint32_t n, const lap_name *order)
{
    const lap_node *x = lap_node_at(l->g, node);
    lap_dim *size = lap_arena_array(l->ctx->arena, n + 1, sizeof *size),
            *stride = lap_arena_array(l->ctx->arena, n + 1, sizeof *stride);
    lap_dim below = lap_dim_const(l->ctx, 1);
    for (uint32_t i = n; i-- > 0;) {
        const lap_axis *a = lap_node_axis(x, order[i]);
        LAP_ENSURE(a != NULL);
        size[i] = a->size;
        stride[i] = below;
        below = lap_dim_mul(l->ctx, below, a->size);
    }
    return (lap_dest){.buffer = buffer, .n = n, .order = order, .size = size, .stride = stride};
}

/* Splits the destination's axes: the first `n_grid` of `order` run in the grid, then serial loops,
 * then the last n_lanes together in lanes. */
typedef struct map_shape {
    uint32_t n;
    lap_name *order;
    lap_dim *size, *stride;
    uint32_t n_grid, n_lanes;
} map_shape;

static map_shape choose_shape(lap_lowering *l, lap_ref node, const lap_dest *dest, bool own)
{
    const lap_plan_node *p = lap_plan_of(l, node);
    map_shape s = {.order = lap_arena_array(l->ctx->arena, dest->n + 1, sizeof *s.order),
                   .size = lap_arena_array(l->ctx->arena, dest->n + 1, sizeof *s.size),
                   .stride = lap_arena_array(l->ctx->arena, dest->n + 1, sizeof *s.stride)};
    bool rows = own && p->has_rows;
    for (int inner = 0; inner < 2; inner++) {
        for (uint32_t i = 0; i < dest->n; i++) {
            if ((rows && !lap_names_has(p->rows, dest->order[i])) == (inner == 1)) {
                s.order[s.n] = dest->order[i];
                s.stride[s.n] = dest->stride[i];
                s.size[s.n++] = dest->size[i];
            }
        }
        s.n_grid = inner == 0 ? s.n : s.n_grid;
    }
    if (!rows) {
        s.n_grid = s.n;
        int64_t lanes = 1, size;
        while (s.n_grid > 0 && lanes < LANES_ENOUGH) {
            s.n_grid--;
            lanes = lap_dim_is_const(l->ctx, s.size[s.n_grid], &size) && size < LANES_ENOUGH ? lanes * size
                                                                                             : LANES_ENOUGH;
        }
        s.n_lanes = s.n - s.n_grid;
    } else {
        s.n_lanes = s.n > s.n_grid ? 1 : 0;
    }
    if (l->buffers[dest->buffer].elem == LAP_I4) { /* packed pairs: one iteration writes all, in order */
        s.n_grid = s.n_lanes = 0;
    }
    return s;
}

/* Whether the kernel of `home` reads r more than once: another operation than `reader` does. */
static bool is_read_again(lap_lowering *l, lap_ref r, lap_ref reader, lap_ref home)
{
    for (uint32_t i = r.ix + 1; i <= home.ix; i++) {
        const lap_node *n = lap_node_at(l->g, (lap_ref){i});
        for (uint32_t a = 0; a < n->n_args && i != reader.ix; a++) {
            if (lap_ref_same(n->args[a], r) && lap_plan_of(l, (lap_ref){i})->is_live) {
                return true;
            }
        }
    }
    return false;
}

/* What a reduction along the row reads is kept where it is dear and read again, as exp of a softmax is. */
static void keep_row_value(lap_kctx *k, lap_ref home, const lap_node *reduce, lap_ref reader,
                           const lap_coord *env)
{
    lap_lowering *l = k->l;
    lap_ref r = reduce->args[0];
    const lap_node *n = lap_node_at(l->g, r);
    const lap_plan_node *p = lap_plan_of(l, r);
    lap_names over = lap_attr_names(reduce, LAP_ATTR_OVER);
    int64_t size;
    if (n->op != LAP_OP_MAP || n->dtype != LAP_F32 || p->kind != LAP_STORE_INLINE || p->cost < DEAR ||
        p->n_homes != 1 || !lap_ref_same(p->home, home) || over.n != 1 || p->may_fail ||
        k->n_row_values == sizeof k->row_values / sizeof *k->row_values || n->n_axes != reduce->n_axes + 1 ||
        !is_read_again(l, r, reader, home)) {
        return;
    }
    const lap_axis *along = lap_node_axis(n, over.at[0]);
    if (lap_ref_some(along->count) || (lap_dim_is_const(l->ctx, along->size, &size) && size > ROW_MOST)) {
        return;
    }
    lap_coord *at = lap_arena_array(l->ctx->arena, n->n_axes + 1, sizeof *at), lane;
    for (uint32_t i = 0; i < n->n_axes; i++) {
        const lap_axis *a = lap_node_axis(reduce, n->axes[i].name);
        at[i] = a != NULL ? env[a - reduce->axes] : lap_coord_const(k->c, 0);
    }
    lap_ref scratch = lap_kctx_scratch(k, LAP_F32, along->size);
    lap_k_loop loop = lap_kctx_for(k, LAP_LOOP_VECTOR, along->size, LAP_NONE, 0, NULL, &lane);
    at[along - n->axes] = lane;
    lap_k_store(k->k, scratch, lap_coord_ref(k->c, lane), lap_pull_ref(k, r, at, LAP_NONE), LAP_NONE);
    lap_kctx_end(k, &loop, NULL, NULL);
    k->row_values[k->n_row_values++] =
        (lap_row_value){.node = r, .axis = (uint32_t)(along - n->axes), .env = at, .scratch = scratch};
}

/* Computes, at the row's coordinates, every reduction that joined this kernel. */
static void enter_row(lap_kctx *k, lap_ref node, const map_shape *s, const lap_coord *coords)
{
    lap_lowering *l = k->l;
    for (uint32_t i = 1; i < node.ix; i++) {
        lap_ref r = {i};
        const lap_node *n = lap_node_at(l->g, r);
        const lap_plan_node *p = lap_plan_of(l, r);
        const lap_name *names;
        if (n->op != LAP_OP_REDUCE || p->kind != LAP_STORE_INLINE || !p->is_live ||
            !lap_ref_same(p->home, node) || p->n_homes != 1 || p->is_contraction ||
            !lap_plan_trace(l, r, node, &names)) {
            continue;
        }
        lap_coord *env = lap_arena_array(l->ctx->arena, n->n_axes + 1, sizeof *env);
        bool known = true;
        for (uint32_t a = 0; a < n->n_axes; a++) {
            uint32_t o = 0;
            while (o < s->n_grid && !lap_name_same(s->order[o], names[a])) {
                o++;
            }
            known = known && o < s->n_grid;
            env[a] = known ? coords[o] : env[a];
        }
        if (known) {
            keep_row_value(k, node, n, r, env);
            lap_pull(k, r, env, LAP_NONE);
        }
    }
}

/* Whether an element of a value that stands in an output is inside. */
static lap_ref below_bound(lap_kctx *k, const lap_dest *dest, const map_shape *s, const lap_coord *coords)
{
    const lap_merge *m = dest->merge;
    lap_coord at = lap_coord_const(k->c, 0);
    if (dest->has_counter) {
        lap_ref t = lap_k_load(k->k, lap_kctx_buffer(k, dest->counter), lap_const_i(k->k, 0), LAP_NONE);
        at = lap_coord_mul(k->c, lap_coord_opaque(k->c, t), lap_coord_dim(k->c, m->width));
    }
    for (uint32_t i = 0; i < s->n; i++) {
        bool is_outer = lap_name_same(s->order[i], m->outer);
        if (is_outer || lap_name_same(s->order[i], m->inner)) {
            lap_coord weight = is_outer ? lap_coord_dim(k->c, m->width) : lap_coord_const(k->c, 1);
            at = lap_coord_add(k->c, at, lap_coord_mul(k->c, coords[i], weight));
        }
    }
    if (lap_coord_compare(k->c, at, LAP_REL_LT, lap_coord_dim(k->c, m->bound)) == LAP_YES) {
        return LAP_NONE;
    }
    return lap_map2(k->k, LAP_FN_LT, lap_coord_ref(k->c, at), lap_dim_node(k->k, m->bound));
}

static void write_element(lap_kctx *k, lap_ref node, const lap_dest *dest, bool own, const map_shape *s,
                          const lap_coord *coords)
{
    const lap_node *n = lap_node_at(k->l->g, node);
    lap_coord *env = lap_arena_array(k->l->ctx->arena, n->n_axes + 1, sizeof *env);
    lap_coord address = lap_coord_const(k->c, 0);
    for (uint32_t i = 0; i < s->n; i++) {
        const lap_axis *a = lap_node_axis(n, s->order[i]);
        if (a != NULL) { /* else the value is the same all along the axis */
            env[a - n->axes] = coords[i];
        }
        lap_coord step = lap_coord_mul(k->c, coords[i], lap_coord_dim(k->c, s->stride[i]));
        address = lap_coord_add(k->c, address, step);
    }
    address = lap_coord_add(k->c, address, lap_dest_base(k, dest));
    lap_ref present = lap_present(k, n->n_axes, n->axes, env, NULL);
    lap_val v = own ? lap_pull_expr(k, node, env, present) : lap_pull(k, node, env, present);
    lap_ref value = lap_val_ref(k, v);
    lap_ref mask = present;
    if ((dest->zero_absent || lap_plan_of(k->l, node)->is_place) && lap_ref_some(present)) {
        lap_ref zero = lap_zero_as(k->k, lap_node_at(k->k, value)->dtype);
        value = lap_map3(k->k, LAP_FN_SELECT, present, value, zero);
        mask = LAP_NONE;
    }
    if (dest->merge != NULL) {
        mask = lap_mask_both(k, mask, below_bound(k, dest, s, coords));
    }
    lap_k_store(k->k, lap_kctx_buffer(k, dest->buffer), lap_coord_ref(k->c, address), value, mask);
}

void lap_lower_map(lap_lowering *l, lap_ref node, const lap_dest *dest, bool own)
{
    const lap_node *n = lap_node_at(l->g, node);
    if (own && lap_lower_window(l, node, dest)) {
        return;
    }
    map_shape s = choose_shape(l, node, dest, own);
    lap_kctx *k = lap_kctx_new(l, n->loc);
    k->roles = lap_arena_printf(l->ctx->arena, "(%s)%s", lap_axes_text(l, n->n_axes, n->axes),
                                own && lap_plan_of(l, node)->has_rows ? " rows" : "");
    k->ahead = lap_knob_value(l, LAP_KNOB_MAP_AHEAD);
    lap_coord flat = lap_kctx_grid(k, lap_dims_product(l->ctx, s.n_grid, s.size));
    lap_coord *coords = lap_arena_array(l->ctx->arena, s.n + 1, sizeof *coords);
    lap_coord_split(k, flat, s.n_grid, s.size, coords);
    if (own && lap_plan_of(l, node)->has_rows) {
        enter_row(k, node, &s, coords);
    }
    lap_nest loops = {0};
    for (uint32_t i = s.n_grid; i + s.n_lanes < s.n; i++) {
        lap_nest_open(k, &loops, LAP_LOOP_SERIAL, s.size[i], &coords[i]);
    }
    if (s.n_lanes > 0) {
        lap_coord lane;
        uint32_t first = s.n - s.n_lanes;
        lap_dim extent = lap_dims_product(l->ctx, s.n_lanes, s.size + first);
        lap_nest_open(k, &loops, LAP_LOOP_VECTOR, extent, &lane);
        lap_coord_split(k, lane, s.n_lanes, s.size + first, coords + first);
    }
    write_element(k, node, dest, own, &s, coords);
    lap_nest_close(k, &loops);
    lap_kctx_launch(k, own ? lap_op_text(n->op) : "copy");
}
