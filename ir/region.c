/* SPDX-License-Identifier: Apache-2.0
 * region.c - bodies of nodes: opening, closing, copying. */
#include "ir/infer.h"
#include "ir/store.h"

lap_region_id lap_region_begin(lap_graph *g, uint32_t n_params, const lap_type *params, lap_ref *out_params)
{
    lap_region_id id = lap_store_add_region(g);
    lap_ref *refs = lap_arena_array(g->ctx->arena, n_params, sizeof *refs);
    for (uint32_t i = 0; i < n_params; i++) {
        refs[i] = lap_emit(g, &(lap_emit_args){.op = LAP_OP_PARAM, .type = &params[i]});
        if (out_params) {
            out_params[i] = refs[i];
        }
    }
    lap_region_store *r = lap_store_region(g, id);
    r->pub.n_params = n_params;
    r->pub.params = refs;
    return id;
}

/* Whether `inner` is `outer` or stands inside it. */
static bool inside(const lap_graph *g, lap_region_id inner, lap_region_id outer)
{
    while (inner.ix != outer.ix && inner.ix != 0) {
        inner = lap_store_region(g, inner)->pub.parent;
    }
    return inner.ix == outer.ix;
}

static void need_region(const lap_graph *g, lap_region_id body, lap_region_id other, lap_region_id *needs)
{
    if (!inside(g, other, body) &&
        lap_store_region(g, other)->pub.depth > lap_store_region(g, *needs)->pub.depth) {
        *needs = other;
    }
}

static void need_ref(const lap_graph *g, lap_region_id body, lap_ref ref, lap_region_id *needs)
{
    if (lap_ref_some(ref)) {
        need_region(g, body, lap_node_at(g, ref)->region, needs);
    }
}

static void need_node(const lap_graph *g, lap_region_id body, lap_ref ref, lap_region_id *needs)
{
    const lap_node *n = lap_node_at(g, ref);
    for (uint32_t i = 0; i < n->n_args; i++) {
        need_ref(g, body, n->args[i], needs);
    }
    for (uint32_t i = 0; i < n->n_axes; i++) {
        need_ref(g, body, n->axes[i].count, needs);
    }
    for (uint32_t i = 0; i < n->n_regions; i++) {
        need_region(g, body, lap_store_region(g, n->regions[i])->needs, needs);
    }
}

void lap_region_end(lap_graph *g, lap_region_id id, uint32_t n_results, const lap_ref *results)
{
    lap_region_store *r = lap_store_region(g, id);
    if (g->open.ix != id.ix || id.ix == 0) {
        LAP_BUG("region %u ends while region %u is open", id.ix, g->open.ix);
    }
    r->pub.n_results = n_results;
    r->pub.results = n_results ? lap_arena_copy(g->ctx->arena, results, n_results * sizeof *results) : NULL;
    for (uint32_t i = 0; i < r->pub.n_params; i++) {
        need_node(g, id, r->pub.params[i], &r->needs);
    }
    for (size_t i = 0; i < r->n_nodes; i++) {
        need_node(g, id, r->nodes[i], &r->needs);
    }
    for (uint32_t i = 0; i < n_results; i++) {
        need_ref(g, id, results[i], &r->needs);
    }
    r->is_open = false;
    g->open = r->pub.parent;
}
