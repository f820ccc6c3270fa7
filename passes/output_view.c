/* SPDX-License-Identifier: Apache-2.0
 * output_view.c - results that an output reads only through a merge and a slice: blocks of tokens, joined and
 * cut to the length. They can stand in the output itself, and what a scan emits need not be copied. */
#include "passes/lower.h"

/* The only reader of r in the whole graph, or none. */
static lap_ref only_reader(lap_lowering *l, lap_ref r)
{
    lap_ref found = LAP_NONE;
    for (uint32_t i = 1; i <= lap_graph_n_nodes(l->g); i++) {
        const lap_node *n = lap_node_at(l->g, (lap_ref){i});
        for (uint32_t a = 0; a < n->n_args; a++) {
            if (lap_ref_same(n->args[a], r) && lap_plan_of(l, (lap_ref){i})->is_live) {
                if (lap_ref_some(found)) {
                    return LAP_NONE;
                }
                found = (lap_ref){i};
            }
        }
    }
    return found;
}

static bool leaves(lap_lowering *l, lap_ref r)
{
    for (uint32_t i = 0; i < lap_graph_n_outputs(l->g); i++) {
        if (lap_ref_same(lap_graph_output(l->g, i)->value, r)) {
            return true;
        }
    }
    for (uint32_t i = 1; i < lap_graph_n_regions(l->g); i++) {
        const lap_region *region = lap_region_at(l->g, (lap_region_id){i});
        for (uint32_t j = 0; j < region->n_results; j++) {
            if (lap_ref_same(region->results[j], r)) {
                return true;
            }
        }
    }
    return false;
}

/* at(x, outer = n // width, inner = n % width) with inner's extent the width. */
static bool match_merge(lap_lowering *l, const lap_node *n, lap_merge *out)
{
    lap_names src = lap_attr_names(n, LAP_ATTR_SRC);
    if (n->op != LAP_OP_AT || src.n != 2) {
        return false;
    }
    const lap_node *x = lap_node_at(l->g, n->args[0]);
    for (uint32_t o = 0; o < 2; o++) {
        const lap_node *index = lap_node_at(l->g, n->args[1 + o]);
        if (index->n_axes != 1 || !lap_plan_of(l, n->args[1])->is_plain ||
            !lap_plan_of(l, n->args[2])->is_plain) {
            return false;
        }
        const lap_axis *inner = lap_node_axis(x, src.at[1 - o]),
                       *whole = lap_node_axis(n, index->axes[0].name);
        lap_quasi *q = lap_quasi_new(l->ctx);
        lap_qx at = lap_quasi_var(q, whole->name.ix, whole->size), width = lap_quasi_dim(q, inner->size);
        int64_t known;
        bool is_width = lap_dim_is_const(l->ctx, inner->size, &known) && known > 0;
        if (is_width &&
            lap_quasi_same(lap_index_expression(l, q, n->args[1 + o]), lap_quasi_floordiv(q, at, width)) &&
            lap_quasi_same(lap_index_expression(l, q, n->args[2 - o]), lap_quasi_mod(q, at, width))) {
            *out = (lap_merge){.outer = src.at[o],
                               .inner = src.at[1 - o],
                               .whole = whole->name,
                               .width = inner->size,
                               .bound = whole->size};
            return true;
        }
    }
    return false;
}

/* at(x, n = n): the first elements. */
static bool match_head(lap_lowering *l, const lap_node *n, lap_merge *merge)
{
    lap_names src = lap_attr_names(n, LAP_ATTR_SRC);
    if (n->op != LAP_OP_AT || src.n != 1 || !lap_name_same(src.at[0], merge->whole)) {
        return false;
    }
    const lap_node *index = lap_node_at(l->g, n->args[1]);
    if (index->op != LAP_OP_INDEX) {
        return false;
    }
    const lap_axis *axis = lap_node_axis(n, index->axes[0].name);
    merge->whole = axis->name;
    merge->bound = axis->size;
    return true;
}

static bool is_plain_output(lap_lowering *l, const lap_output *o, lap_dtype dtype)
{
    const lap_node *n = lap_node_at(l->g, o->value);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_ref_some(n->axes[i].count)) {
            return false;
        }
    }
    return o->n_crops == 0 && n->dtype == dtype && dtype != LAP_I4 && !lap_plan_of(l, o->value)->is_static;
}

/* The output that reads r, r being there. */
static bool find_output(lap_lowering *l, lap_ref r, lap_ref top, uint32_t *out_number)
{
    for (uint32_t i = 0; i < lap_graph_n_outputs(l->g); i++) {
        const lap_output *o = lap_graph_output(l->g, i);
        if (lap_ref_same(o->value, top) && is_plain_output(l, o, lap_node_at(l->g, r)->dtype)) {
            *out_number = i;
            return true;
        }
    }
    return false;
}

/* Strides of the merged axes from those of the output's order. */
static void place_merged(lap_lowering *l, lap_ref r, lap_ref top, uint32_t number, const lap_merge *merge)
{
    const lap_name *order;
    uint32_t rank = lap_layout_order(l, lap_graph_output(l->g, number)->layout, &order), n = 0;
    lap_dest whole = lap_dest_make(l, top, 0, rank, order);
    lap_name *names = lap_arena_array(l->ctx->arena, rank + 2, sizeof *names);
    lap_dim *size = lap_arena_array(l->ctx->arena, rank + 2, sizeof *size),
            *stride = lap_arena_array(l->ctx->arena, rank + 2, sizeof *stride);
    const lap_node *x = lap_node_at(l->g, r);
    for (uint32_t i = 0; i < rank; i++) {
        names[n] = order[i];
        stride[n] = whole.stride[i];
        if (lap_name_same(order[i], merge->whole)) {
            names[n] = merge->outer;
            stride[n] = lap_dim_mul(l->ctx, whole.stride[i], merge->width);
            size[n] = lap_node_axis(x, merge->outer)->size;
            names[++n] = merge->inner;
            stride[n] = whole.stride[i];
        }
        size[n] = lap_node_axis(x, names[n])->size;
        n++;
    }
    lap_dim count = lap_dims_product(l->ctx, whole.n, whole.size);
    uint32_t buffer = lap_program_buffer(
        l, (lap_buffer){.kind = LAP_BUF_OUTPUT, .elem = x->dtype, .count = count, .leaf = number});
    lap_dest d = {.buffer = buffer, .n = n, .order = names, .size = size, .stride = stride};
    lap_plan_put(l, r, &d);
    lap_plan_of(l, r)->merge = lap_arena_copy(l->ctx->arena, merge, sizeof *merge);
    l->is_written[number] = true;
}

bool lap_place_in_output(lap_lowering *l, lap_ref r)
{
    lap_merge merge;
    uint32_t number;
    lap_ref at = only_reader(l, r);
    if (!lap_ref_some(at) || leaves(l, r) || lap_node_at(l->g, r)->region.ix != 0 ||
        !match_merge(l, lap_node_at(l->g, at), &merge)) {
        return false;
    }
    if (!leaves(l, at)) {
        at = only_reader(l, at);
        if (!lap_ref_some(at) || !match_head(l, lap_node_at(l->g, at), &merge)) {
            return false;
        }
    }
    if (!find_output(l, r, at, &number) || l->is_written[number]) {
        return false;
    }
    place_merged(l, r, at, number, &merge);
    return true;
}
