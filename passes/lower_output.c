/* SPDX-License-Identifier: Apache-2.0
 * lower_output.c - results in their layouts, cut to the extents that are decided at run time.
 *
 * An output whose value could not be written in place is copied. A cut axis bounds its memory axis:
 * a cell holds the bound, and inside a group of axes the elements move together, so that the memory
 * axis is dense up to the bound. */
#include "passes/lower.h"

static lap_ref crop_count(const lap_output *o, lap_name axis)
{
    for (uint32_t i = 0; i < o->n_crops; i++) {
        if (lap_name_same(o->crop_axes[i], axis)) {
            return o->crop_counts[i];
        }
    }
    return LAP_NONE;
}

/* Extent of one axis at run time: its size, or its count within it. */
static lap_coord extent_of(lap_kctx *k, const lap_output *o, const lap_axis *axis)
{
    lap_ref count = crop_count(o, axis->name);
    lap_coord size = lap_coord_dim(k->c, axis->size);
    if (!lap_ref_some(count)) {
        return size;
    }
    lap_coord c = lap_pull(k, count, NULL, LAP_NONE).coord;
    return lap_coord_clamp(k->c, c, size);
}

/* A cell with the extent of memory axis `group`, or -1 when it is fixed. */
static int32_t crop_cell(lap_lowering *l, const lap_output *o, lap_names group)
{
    const lap_node *v = lap_node_at(l->g, o->value);
    bool is_cut = false;
    for (uint32_t i = 0; i < group.n; i++) {
        is_cut = is_cut || lap_ref_some(crop_count(o, group.at[i]));
    }
    if (!is_cut) {
        return -1;
    }
    uint32_t cell = lap_program_buffer(
        l, (lap_buffer){.kind = LAP_BUF_TEMP, .elem = LAP_I64, .count = lap_dim_const(l->ctx, 1)});
    lap_kctx *k = lap_kctx_new(l, o->loc);
    lap_kctx_grid(k, lap_dim_const(l->ctx, 1));
    lap_coord total = lap_coord_const(k->c, 1);
    for (uint32_t i = 0; i < group.n; i++) {
        total = lap_coord_mul(k->c, total, extent_of(k, o, lap_node_axis(v, group.at[i])));
    }
    lap_k_store(k->k, lap_kctx_buffer(k, cell), lap_const_i(k->k, 0), lap_coord_ref(k->c, total), LAP_NONE);
    lap_kctx_launch(k, "extent");
    return (int32_t)cell;
}

/* Element by element, since the place in a group depends on the cut. */
static void copy_cut(lap_lowering *l, const lap_output *o, const lap_dest *d)
{
    const lap_node *v = lap_node_at(l->g, o->value);
    lap_kctx *k = lap_kctx_new(l, o->loc);
    bool is_packed = l->buffers[d->buffer].elem == LAP_I4; /* pairs share a byte: in order */
    lap_dim total = lap_dims_product(l->ctx, d->n, d->size), one = lap_dim_const(l->ctx, 1);
    lap_coord flat = lap_kctx_grid(k, is_packed ? one : total);
    lap_k_loop loop = lap_kctx_for(k, LAP_LOOP_SERIAL, is_packed ? total : one, LAP_NONE, 0, NULL,
                                   is_packed ? &flat : &(lap_coord){0});
    lap_coord *coords = lap_arena_array(l->ctx->arena, d->n + 1, sizeof *coords);
    lap_coord *env = lap_arena_array(l->ctx->arena, d->n + 1, sizeof *env);
    lap_coord_split(k, flat, d->n, d->size, coords);
    lap_coord address = lap_coord_const(k->c, 0);
    lap_ref kept = LAP_NONE;
    for (uint32_t g = 0, i = 0; g < o->layout.n; g++) {
        lap_coord at = lap_coord_const(k->c, 0), stride = lap_coord_const(k->c, 0);
        for (uint32_t a = 0; a < o->layout.groups[g].n; a++, i++) {
            const lap_axis *axis = lap_node_axis(v, d->order[i]);
            lap_coord extent = extent_of(k, o, axis);
            at = lap_coord_add(k->c, lap_coord_mul(k->c, at, extent), coords[i]);
            stride = lap_coord_dim(k->c, d->stride[i]);
            env[axis - v->axes] = coords[i];
            if (lap_ref_some(crop_count(o, axis->name))) {
                lap_ref below =
                    lap_map2(k->k, LAP_FN_LT, lap_coord_ref(k->c, coords[i]), lap_coord_ref(k->c, extent));
                kept = lap_mask_both(k, kept, below);
            }
        }
        address = lap_coord_add(k->c, address, lap_coord_mul(k->c, at, stride));
    }
    lap_ref present = lap_mask_both(k, kept, lap_present(k, v->n_axes, v->axes, env, NULL));
    lap_ref value = lap_pull_ref(k, o->value, env, present);
    if (lap_ref_some(present)) {
        lap_ref zero = lap_zero_as(k->k, lap_node_at(k->k, value)->dtype);
        value = lap_map3(k->k, LAP_FN_SELECT, present, value, zero);
    }
    lap_k_store(k->k, lap_kctx_buffer(k, d->buffer), lap_coord_ref(k->c, address), value, kept);
    lap_kctx_end(k, &loop, NULL, NULL);
    lap_kctx_launch(k, "cut");
}

static void lower_output(lap_lowering *l, uint32_t number)
{
    const lap_output *o = lap_graph_output(l->g, number);
    l->now = o->value;
    const lap_node *v = lap_node_at(l->g, o->value);
    bool has_cut_group = false;
    int32_t *crop = lap_arena_array(l->ctx->arena, o->layout.n + 1, sizeof *crop);
    for (uint32_t a = 0; a < o->layout.n; a++) {
        crop[a] = crop_cell(l, o, o->layout.groups[a]);
        has_cut_group = has_cut_group || (crop[a] >= 0 && o->layout.groups[a].n > 1);
    }
    l->outputs[number] = (lap_leaf){.name = o->name,
                                    .dtype = v->dtype,
                                    .rank = o->layout.n,
                                    .shape = lap_layout_shape(l, o->layout, v),
                                    .loc = o->loc,
                                    .crop = crop};
    if (l->is_written[number]) {
        return;
    }
    const lap_plan_node *p = lap_plan_of(l, o->value);
    if (p->kind != LAP_STORE_INLINE && p->kind != LAP_STORE_LEAF &&
        l->buffers[p->buffer].kind == LAP_BUF_OUTPUT && l->buffers[p->buffer].leaf == number) {
        return; /* written in place */
    }
    const lap_name *order;
    uint32_t rank = lap_layout_order(l, o->layout, &order);
    lap_dest d = lap_dest_make(l, o->value, 0, rank, order);
    lap_dim count = lap_dims_product(l->ctx, d.n, d.size);
    d.buffer = lap_program_buffer(
        l, (lap_buffer){.kind = LAP_BUF_OUTPUT, .elem = v->dtype, .count = count, .leaf = number});
    d.zero_absent = true;
    if (has_cut_group) {
        copy_cut(l, o, &d);
    } else {
        lap_lower_map(l, o->value, &d, false);
    }
}

void lap_lower_outputs(lap_lowering *l)
{
    uint32_t n = lap_graph_n_outputs(l->g);
    l->outputs = lap_arena_array(l->ctx->arena, (size_t)n + l->n_extra + 1, sizeof *l->outputs);
    for (uint32_t i = 0; i < n; i++) {
        lower_output(l, i);
    }
    for (uint32_t i = 0; i < l->n_extra; i++) {
        l->outputs[n + i] = l->extra[i];
    }
}
