/* SPDX-License-Identifier: Apache-2.0
 * copy.c - copying nodes: marks what is needed from the last node to the first, then copies region
 * by region in order. Every copy goes through lap_emit, so it is inferred, folded and shared anew. */
#include "ir/copy.h"

void lap_copier_init(lap_copier *c, lap_graph *from, lap_graph *to, lap_region_id root)
{
    lap_arena *arena = lap_graph_ctx(to)->arena;
    size_t n = (size_t)lap_graph_n_nodes(from) + 1;
    *c = (lap_copier){.from = from, .to = to, .root = root};
    c->mapped = lap_arena_array(arena, n, sizeof *c->mapped);
    c->needed = lap_arena_array(arena, n, sizeof *c->needed);
    c->regions = lap_arena_array(arena, lap_graph_n_regions(from), sizeof *c->regions);
}

/* ---- what is needed ------------------------------------------------------------------------- */

void lap_copier_need(lap_copier *c, lap_ref ref)
{
    c->needed[ref.ix] = true; /* entry 0 collects the absent ones */
}

void lap_copier_need_body(lap_copier *c, lap_region_id id)
{
    const lap_region *r = lap_region_at(c->from, id);
    for (uint32_t i = 0; i < r->n_results; i++) {
        lap_copier_need(c, r->results[i]);
    }
    for (uint32_t i = 0; i < r->n_params; i++) {
        lap_copier_need(c, r->params[i]);
    }
    uint32_t n;
    const lap_ref *nodes = lap_region_nodes(c->from, id, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (lap_op_traits(lap_node_at(c->from, nodes[i])->op) & LAP_TRAIT_EFFECT) {
            lap_copier_need(c, nodes[i]);
        }
    }
}

/* Operands and bodies have smaller ids than their readers: one pass from the end reaches all. */
void lap_copier_need_operands(lap_copier *c)
{
    for (uint32_t ix = (uint32_t)lap_graph_n_nodes(c->from); ix > 0; ix--) {
        if (!c->needed[ix]) {
            continue;
        }
        const lap_node *n = lap_node_at(c->from, (lap_ref){ix});
        for (uint32_t i = 0; i < n->n_args; i++) {
            lap_copier_need(c, n->args[i]);
        }
        for (uint32_t i = 0; i < n->n_axes; i++) {
            lap_copier_need(c, n->axes[i].count);
        }
        for (uint32_t i = 0; i < n->n_regions; i++) {
            lap_copier_need_body(c, n->regions[i]);
        }
    }
}

/* ---- copying -------------------------------------------------------------------------------- */

static bool is_inside_root(const lap_copier *c, lap_region_id id)
{
    while (id.ix != c->root.ix && id.ix != 0) {
        id = lap_region_at(c->from, id)->parent;
    }
    return id.ix == c->root.ix;
}

lap_ref lap_copier_map(lap_copier *c, lap_ref old)
{
    if (!lap_ref_some(old) || lap_ref_some(c->mapped[old.ix])) {
        return c->mapped[old.ix];
    }
    if (!is_inside_root(c, lap_node_at(c->from, old)->region)) {
        c->mapped[old.ix] = c->outer ? c->outer(c->user, old) : old;
    }
    return c->mapped[old.ix];
}

lap_type lap_copier_type(lap_copier *c, const lap_node *old)
{
    lap_axis *axes = lap_arena_array(lap_graph_ctx(c->to)->arena, old->n_axes, sizeof *axes);
    for (uint32_t i = 0; i < old->n_axes; i++) {
        axes[i] = old->axes[i];
        axes[i].count = lap_copier_map(c, axes[i].count);
    }
    return (lap_type){old->dtype, old->n_axes, axes};
}

lap_region_id lap_copier_region(lap_copier *c, lap_region_id id)
{
    if (c->regions[id.ix]) {
        return (lap_region_id){c->regions[id.ix] - 1};
    }
    lap_arena *arena = lap_graph_ctx(c->to)->arena;
    const lap_region *r = lap_region_at(c->from, id);
    lap_type *types = lap_arena_array(arena, r->n_params, sizeof *types);
    lap_ref *params = lap_arena_array(arena, r->n_params, sizeof *params);
    for (uint32_t i = 0; i < r->n_params; i++) {
        types[i] = lap_copier_type(c, lap_node_at(c->from, r->params[i]));
    }
    lap_region_id made = lap_region_begin(c->to, r->n_params, types, params);
    for (uint32_t i = 0; i < r->n_params; i++) {
        c->mapped[r->params[i].ix] = params[i];
    }
    lap_copier_body(c, id);
    lap_ref *results = lap_arena_array(arena, r->n_results, sizeof *results);
    for (uint32_t i = 0; i < r->n_results; i++) {
        results[i] = lap_copier_map(c, r->results[i]);
    }
    lap_region_end(c->to, made, r->n_results, results);
    c->regions[id.ix] = made.ix + 1;
    return made;
}

/* A rename that only renames is inferred again, since its operand may have changed; one that states
 * sizes or run-time extents says so again. */
static bool only_renames(const lap_graph *g, const lap_node *n)
{
    const lap_node *x = lap_node_at(g, n->args[0]);
    lap_names from = lap_attr_names(n, LAP_ATTR_FROM);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        const lap_axis *a = &x->axes[i], *b = &n->axes[i];
        bool follows = false;
        if (lap_ref_some(a->count) && lap_ref_some(b->count)) {
            const lap_node *count = lap_node_at(g, a->count);
            for (uint32_t k = 0; k < count->n_axes; k++) {
                follows = follows || lap_names_has(from, count->axes[k].name);
            }
        }
        if (!lap_dim_same(a->size, b->size) || (!lap_ref_same(a->count, b->count) && !follows)) {
            return false;
        }
    }
    return true;
}

lap_ref lap_copier_node(lap_copier *c, const lap_node *old, const lap_ref *new_args)
{
    lap_region_id *regions = lap_arena_array(lap_graph_ctx(c->to)->arena, old->n_regions, sizeof *regions);
    for (uint32_t i = 0; i < old->n_regions; i++) {
        regions[i] = lap_copier_region(c, old->regions[i]);
    }
    lap_type type = lap_copier_type(c, old);
    bool inferred = old->op == LAP_OP_RENAME && only_renames(c->from, old);
    lap_set_loc(c->to, old->loc);
    return lap_emit(c->to, &(lap_emit_args){
                               .op = old->op,
                               .n_args = old->n_args,
                               .args = new_args,
                               .n_attrs = old->n_attrs,
                               .attrs = old->attrs,
                               .n_regions = old->n_regions,
                               .regions = regions,
                               .type = inferred ? NULL : &type,
                           });
}

void lap_copier_body(lap_copier *c, lap_region_id id)
{
    uint32_t n;
    const lap_ref *nodes = lap_region_nodes(c->from, id, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (!c->needed[nodes[i].ix] || lap_ref_some(c->mapped[nodes[i].ix])) {
            continue;
        }
        const lap_node *old = lap_node_at(c->from, nodes[i]);
        lap_ref *args = lap_arena_array(lap_graph_ctx(c->to)->arena, old->n_args, sizeof *args);
        for (uint32_t k = 0; k < old->n_args; k++) {
            args[k] = lap_copier_map(c, old->args[k]);
        }
        lap_ref made = LAP_NONE;
        if (c->rewrite && c->rewrite->rule) {
            lap_set_loc(c->to, old->loc);
            made = c->rewrite->rule(c->rewrite, old, nodes[i], args);
        }
        c->mapped[nodes[i].ix] = lap_ref_some(made) ? made : lap_copier_node(c, old, args);
    }
}
