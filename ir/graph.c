/* SPDX-License-Identifier: Apache-2.0
 * graph.c - storage of a graph and access to its nodes, regions, outputs and checks. */
#include "ir/store.h"

#include <string.h>

lap_graph *lap_graph_new(lap_ctx *ctx, const char *name, lap_level level)
{
    lap_graph *g = lap_arena_alloc(ctx->arena, sizeof *g);
    g->ctx = ctx;
    g->name = lap_text(ctx, lap_intern(ctx, name ? name : ""));
    g->level = level;
    lap_store_add_region(g);
    g->open = (lap_region_id){0};
    return g;
}

lap_ctx *lap_graph_ctx(const lap_graph *g) { return g->ctx; }

const char *lap_graph_name(const lap_graph *g) { return g->name; }

lap_level lap_graph_level(const lap_graph *g) { return g->level; }

/* ---- storage -------------------------------------------------------------------------------- */

lap_region_store *lap_store_region(const lap_graph *g, lap_region_id id)
{
    if (id.ix >= g->n_regions) {
        LAP_BUG("graph '%s' has no region %u", g->name, id.ix);
    }
    return g->regions[id.ix];
}

lap_region_id lap_store_add_region(lap_graph *g)
{
    lap_region_store *r = lap_arena_alloc(g->ctx->arena, sizeof *r);
    r->is_open = true;
    if (g->n_regions > 0) {
        r->pub.parent = g->open;
        r->pub.depth = lap_store_region(g, g->open)->pub.depth + 1;
    }
    lap_arena_grow(g->ctx->arena, &g->regions, g->n_regions, 1, &g->region_capacity,
                   sizeof(lap_region_store *));
    lap_region_id id = {(uint32_t)g->n_regions};
    g->regions[g->n_regions++] = r;
    g->open = id;
    return id;
}

lap_ref lap_store_add(lap_graph *g, const lap_node *node)
{
    lap_ref ref = {g->n_nodes + 1};
    if (ref.ix >> LAP_CHUNK_BITS >= g->n_chunks) {
        lap_arena_grow(g->ctx->arena, &g->chunks, g->n_chunks, 1, &g->chunk_capacity, sizeof(lap_node *));
        g->chunks[g->n_chunks++] = lap_arena_array(g->ctx->arena, LAP_CHUNK_SIZE, sizeof(lap_node));
    }
    g->chunks[ref.ix >> LAP_CHUNK_BITS][ref.ix & (LAP_CHUNK_SIZE - 1)] = *node;
    g->n_nodes++;
    if (node->op != LAP_OP_PARAM) {
        lap_region_store *r = lap_store_region(g, node->region);
        lap_arena_grow(g->ctx->arena, &r->nodes, r->n_nodes, 1, &r->capacity, sizeof(lap_ref));
        r->nodes[r->n_nodes++] = ref;
    }
    return ref;
}

/* ---- access --------------------------------------------------------------------------------- */

uint32_t lap_graph_n_nodes(const lap_graph *g) { return g->n_nodes; }

const lap_node *lap_node_at(const lap_graph *g, lap_ref ref)
{
    if (ref.ix == 0 || ref.ix > g->n_nodes) {
        LAP_BUG("graph '%s' has no node %u", g->name, ref.ix);
    }
    return &g->chunks[ref.ix >> LAP_CHUNK_BITS][ref.ix & (LAP_CHUNK_SIZE - 1)];
}

const lap_region *lap_region_at(const lap_graph *g, lap_region_id id)
{
    return &lap_store_region(g, id)->pub;
}

uint32_t lap_graph_n_regions(const lap_graph *g) { return (uint32_t)g->n_regions; }

const lap_ref *lap_region_nodes(lap_graph *g, lap_region_id id, uint32_t *out_n)
{
    const lap_region_store *r = lap_store_region(g, id);
    *out_n = (uint32_t)r->n_nodes;
    return r->nodes;
}

uint32_t lap_graph_n_outputs(const lap_graph *g) { return (uint32_t)g->n_outputs; }

const lap_output *lap_graph_output(const lap_graph *g, uint32_t i)
{
    LAP_ENSURE(i < g->n_outputs);
    return &g->outputs[i];
}

uint32_t lap_graph_n_checks(const lap_graph *g) { return (uint32_t)g->n_checks; }

const lap_check *lap_graph_check(const lap_graph *g, uint32_t i)
{
    LAP_ENSURE(i < g->n_checks);
    return &g->checks[i];
}

/* ---- attributes and axes -------------------------------------------------------------------- */

const lap_attr *lap_node_attr(const lap_node *n, lap_attr_key key)
{
    for (uint32_t i = 0; i < n->n_attrs && n->attrs[i].key <= key; i++) {
        if (n->attrs[i].key == key) {
            return &n->attrs[i];
        }
    }
    return NULL;
}

int64_t lap_attr_i(const lap_node *n, lap_attr_key key, int64_t missing)
{
    const lap_attr *a = lap_node_attr(n, key);
    return a ? a->i : missing;
}

double lap_attr_f(const lap_node *n, lap_attr_key key, double missing)
{
    const lap_attr *a = lap_node_attr(n, key);
    return a ? a->f : missing;
}

lap_name lap_attr_name(const lap_node *n, lap_attr_key key)
{
    const lap_attr *a = lap_node_attr(n, key);
    return a ? a->name : (lap_name){0};
}

lap_names lap_attr_names(const lap_node *n, lap_attr_key key)
{
    const lap_attr *a = lap_node_attr(n, key);
    return a ? a->names : (lap_names){0, NULL};
}

lap_dim lap_attr_dim(const lap_node *n, lap_attr_key key)
{
    const lap_attr *a = lap_node_attr(n, key);
    return a ? a->dim : (lap_dim){0};
}

const lap_axis *lap_axis_find(const lap_axis *axes, uint32_t n, lap_name name)
{
    for (uint32_t i = 0; i < n; i++) {
        if (lap_name_same(axes[i].name, name)) {
            return &axes[i];
        }
    }
    return NULL;
}

const lap_axis *lap_node_axis(const lap_node *n, lap_name name)
{
    return lap_axis_find(n->axes, n->n_axes, name);
}

uint32_t lap_names_find(lap_names names, lap_name name)
{
    uint32_t i = 0;
    while (i < names.n && !lap_name_same(names.at[i], name)) {
        i++;
    }
    return i;
}

bool lap_names_has(lap_names names, lap_name name) { return lap_names_find(names, name) < names.n; }

lap_names lap_node_names(lap_ctx *ctx, const lap_node *n)
{
    lap_name *names = lap_arena_array(ctx->arena, n->n_axes, sizeof *names);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        names[i] = n->axes[i].name;
    }
    return (lap_names){n->n_axes, names};
}

bool lap_node_is_ragged(const lap_node *n)
{
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_ref_some(n->axes[i].count)) {
            return true;
        }
    }
    return false;
}

uint32_t lap_axes_without(lap_ctx *ctx, uint32_t n, const lap_axis *axes, lap_names drop,
                          const lap_axis **out)
{
    lap_axis *kept = lap_arena_array(ctx->arena, n, sizeof *kept);
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!lap_names_has(drop, axes[i].name)) {
            kept[n_kept++] = axes[i];
        }
    }
    *out = kept;
    return n_kept;
}

lap_type lap_node_type(const lap_node *n) { return (lap_type){n->dtype, n->n_axes, n->axes}; }

bool lap_node_has_type(const lap_node *n, const lap_type *type)
{
    bool same = n->dtype == type->dtype && n->n_axes == type->n_axes;
    for (uint32_t i = 0; same && i < n->n_axes; i++) {
        const lap_axis *a = lap_axis_find(type->axes, type->n_axes, n->axes[i].name);
        same = a && lap_dim_same(a->size, n->axes[i].size) && lap_ref_same(a->count, n->axes[i].count);
    }
    return same;
}

const char *lap_axes_show(lap_ctx *ctx, lap_dtype dtype, uint32_t n, const lap_axis *axes)
{
    const char *text = dtype == LAP_NO_DTYPE ? "several" : lap_dtype_text(dtype);
    for (uint32_t i = 0; i < n; i++) {
        text = lap_arena_printf(ctx->arena, "%s%s%s=%s%s", text, i ? " " : "[", lap_text(ctx, axes[i].name),
                                lap_dim_show(ctx, axes[i].size), lap_ref_some(axes[i].count) ? "?" : "");
    }
    return n ? lap_arena_printf(ctx->arena, "%s]", text) : text;
}

const char *lap_type_show(lap_ctx *ctx, const lap_node *n)
{
    return lap_axes_show(ctx, n->dtype, n->n_axes, n->axes);
}
