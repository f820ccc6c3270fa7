/* SPDX-License-Identifier: Apache-2.0
 * rewrite.c - making a graph anew from another, node by node, and copying one body. */
#include "ir/copy.h"

lap_region_id lap_rewrite_region(lap_rewrite *rw, lap_region_id old)
{
    return lap_copier_region(rw->copier, old);
}

lap_type lap_rewrite_type(lap_rewrite *rw, const lap_node *old) { return lap_copier_type(rw->copier, old); }

lap_ref lap_rewrite_copy(lap_rewrite *rw, const lap_node *old, const lap_ref *new_args)
{
    return lap_copier_node(rw->copier, old, new_args);
}

/* Checks come first, so that they keep their own messages and places. */
static bool copy_checks(const lap_graph *from, lap_graph *to)
{
    bool ok = true;
    for (uint32_t i = 0; i < lap_graph_n_checks(from); i++) {
        const lap_check *c = lap_graph_check(from, i);
        lap_set_loc(to, c->loc);
        ok = lap_graph_assume(to, c->a, c->rel, c->b, c->message) && ok;
    }
    return ok;
}

static void need_outputs(lap_copier *c)
{
    for (uint32_t i = 0; i < lap_graph_n_outputs(c->from); i++) {
        const lap_output *o = lap_graph_output(c->from, i);
        lap_copier_need(c, o->value);
        for (uint32_t k = 0; k < o->n_crops; k++) {
            lap_copier_need(c, o->crop_counts[k]);
        }
    }
}

/* Leaves stay though nothing reads them: their shapes decide sizes. */
static void need_leaves(lap_copier *c)
{
    for (uint32_t i = 1; i <= lap_graph_n_nodes(c->from); i++) {
        if ((lap_op_traits(lap_node_at(c->from, (lap_ref){i})->op) & LAP_TRAIT_LEAF) != 0) {
            lap_copier_need(c, (lap_ref){i});
        }
    }
}

static bool copy_outputs(lap_copier *c)
{
    for (uint32_t i = 0; i < lap_graph_n_outputs(c->from); i++) {
        lap_output o = *lap_graph_output(c->from, i);
        lap_ref *crops = lap_arena_array(lap_graph_ctx(c->to)->arena, o.n_crops, sizeof *crops);
        o.value = lap_copier_map(c, o.value);
        bool ok = lap_ref_some(o.value);
        for (uint32_t k = 0; k < o.n_crops; k++) {
            crops[k] = lap_copier_map(c, o.crop_counts[k]);
            ok = ok && lap_ref_some(crops[k]);
        }
        o.crop_counts = crops;
        if (!ok) {
            return false;
        }
        lap_graph_add_output(c->to, &o);
    }
    return true;
}

/* Every needed node has a copy; false when one could not be made, which has been reported. */
static bool all_copied(const lap_copier *c)
{
    uint32_t n;
    const lap_ref *nodes = lap_region_nodes(c->from, c->root, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (c->needed[nodes[i].ix] && !lap_ref_some(c->mapped[nodes[i].ix])) {
            return false;
        }
    }
    return true;
}

lap_graph *lap_graph_rewrite(lap_graph *old, lap_rewrite_rule *rule, void *user)
{
    lap_graph *to = lap_graph_new(lap_graph_ctx(old), lap_graph_name(old), lap_graph_level(old));
    const lap_region_id body = {0};
    lap_copier c;
    lap_copier_init(&c, old, to, body);
    lap_rewrite rw = {.from = old, .to = to, .rule = rule, .user = user, .mapped = c.mapped, .copier = &c};
    c.rewrite = &rw;
    need_outputs(&c);
    need_leaves(&c);
    lap_copier_need_body(&c, body);
    lap_copier_need_operands(&c);
    if (!copy_checks(old, to)) {
        return NULL;
    }
    lap_copier_body(&c, body);
    bool ok = all_copied(&c) && copy_outputs(&c);
    lap_set_loc(to, lap_get_loc(old));
    return ok ? to : NULL;
}

void lap_region_inline(lap_graph *g, lap_graph *from, lap_region_id id, const lap_ref *args,
                       lap_ref (*map)(void *user, lap_ref outer), void *user, lap_ref *out_results)
{
    const lap_region *r = lap_region_at(from, id);
    lap_loc loc = lap_get_loc(g);
    lap_copier c;
    lap_copier_init(&c, from, g, id);
    c.outer = map;
    c.user = user;
    for (uint32_t i = 0; i < r->n_params; i++) {
        c.mapped[r->params[i].ix] = args[i];
    }
    lap_copier_need_body(&c, id);
    lap_copier_need_operands(&c);
    lap_copier_body(&c, id);
    for (uint32_t i = 0; i < r->n_results; i++) {
        out_results[i] = lap_copier_map(&c, r->results[i]);
    }
    lap_set_loc(g, loc);
}
