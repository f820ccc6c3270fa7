/* SPDX-License-Identifier: Apache-2.0
 * leaves.c - reads the leaf nodes and outputs of a graph into memory shapes. */
#include "frontends/compiler/leaves.h"

#include <string.h>

static const lap_dim *layout_shape(lap_ctx *ctx, const lap_layout *layout, const lap_node *value)
{
    lap_dim *shape = lap_arena_array(ctx->arena, layout->n + 1, sizeof *shape);
    for (uint32_t i = 0; i < layout->n; i++) {
        lap_dim extent = lap_dim_const(ctx, 1);
        for (uint32_t k = 0; k < layout->groups[i].n; k++) {
            const lap_axis *axis = lap_node_axis(value, layout->groups[i].at[k]);
            LAP_ENSURE(axis != NULL);
            extent = lap_dim_mul(ctx, extent, axis->size);
        }
        shape[i] = extent;
    }
    return shape;
}

static lap_spec leaf_spec(lap_graph *g, lap_ref ref)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    const lap_node *n = lap_node_at(g, ref);
    const lap_layout *layout = &lap_node_attr(n, LAP_ATTR_LAYOUT)->layout;
    return (lap_spec){.name = lap_text(ctx, lap_attr_name(n, LAP_ATTR_NAME)),
                      .dtype = n->dtype,
                      .rank = layout->n,
                      .shape = layout_shape(ctx, layout, n),
                      .ref = ref,
                      .is_optional = lap_attr_i(n, LAP_ATTR_OPTIONAL, 0) != 0};
}

static lap_specs specs_of(lap_graph *g, lap_op op)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_spec *specs = NULL;
    size_t n = 0, capacity = 0;
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        if (lap_node_at(g, (lap_ref){i})->op == op) {
            lap_arena_grow(ctx->arena, &specs, n, 1, &capacity, sizeof *specs);
            specs[n++] = leaf_spec(g, (lap_ref){i});
        }
    }
    return (lap_specs){(uint32_t)n, specs};
}

static lap_specs outputs_of(lap_graph *g)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    uint32_t n = lap_graph_n_outputs(g);
    lap_spec *specs = lap_arena_array(ctx->arena, n + 1, sizeof *specs);
    for (uint32_t i = 0; i < n; i++) {
        const lap_output *o = lap_graph_output(g, i);
        const lap_node *value = lap_node_at(g, o->value);
        specs[i] = (lap_spec){.name = lap_text(ctx, o->name),
                              .dtype = value->dtype,
                              .rank = o->layout.n,
                              .shape = layout_shape(ctx, &o->layout, value),
                              .ref = o->value};
    }
    return (lap_specs){n, specs};
}

lap_leaves lap_leaves_of(lap_graph *g)
{
    return (lap_leaves){specs_of(g, LAP_OP_INPUT), specs_of(g, LAP_OP_WEIGHT), outputs_of(g)};
}

const lap_spec *lap_specs_find(lap_specs specs, const char *name)
{
    for (uint32_t i = 0; i < specs.n; i++) {
        if (strcmp(specs.at[i].name, name) == 0) {
            return &specs.at[i];
        }
    }
    return NULL;
}

const char *lap_spec_show(lap_ctx *ctx, const lap_spec *spec)
{
    const char *text = "[";
    for (uint32_t i = 0; i < spec->rank; i++) {
        text = lap_arena_printf(ctx->arena, "%s%s%s", text, i > 0 ? ", " : "",
                                lap_dim_show(ctx, spec->shape[i]));
    }
    return lap_arena_printf(ctx->arena, "%s]", text);
}
