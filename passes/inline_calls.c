/* SPDX-License-Identifier: Apache-2.0
 * inline_calls.c - see inline_calls.h. Functions that call functions take another round. */
#include "passes/inline_calls.h"

#include <string.h>

typedef struct inlined {
    const lap_ref **results;
} inlined;

static lap_ref outer_value(void *user, lap_ref outer)
{
    const lap_rewrite *rw = user;
    return rw->mapped[outer.ix];
}

static lap_ref inline_call(lap_rewrite *rw, const lap_node *old, lap_ref old_ref, const lap_ref *new_args)
{
    inlined *done = rw->user;
    if (old->op == LAP_OP_CALL) {
        const lap_region *body = lap_region_at(rw->from, old->regions[0]);
        lap_ref *results =
            lap_arena_array(lap_graph_ctx(rw->to)->arena, body->n_results + 1, sizeof *results);
        lap_region_inline(rw->to, rw->from, old->regions[0], new_args, outer_value, rw, results);
        done->results[old_ref.ix] = results;
        return lap_const_b(rw->to, true); /* nothing reads it: its results are replaced */
    }
    if (old->op == LAP_OP_RESULT && lap_node_at(rw->from, old->args[0])->op == LAP_OP_CALL) {
        const lap_node *call = lap_node_at(rw->from, old->args[0]);
        lap_names outs = lap_attr_names(call, LAP_ATTR_OUTS);
        for (uint32_t i = 0; i < outs.n; i++) {
            if (lap_name_same(outs.at[i], lap_attr_name(old, LAP_ATTR_WHICH))) {
                return done->results[old->args[0].ix][i];
            }
        }
    }
    return LAP_NONE;
}

static bool has_calls(const lap_graph *g)
{
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        if (lap_node_at(g, (lap_ref){i})->op == LAP_OP_CALL) {
            return true;
        }
    }
    return false;
}

lap_graph *lap_inline_calls(lap_graph *g, const lap_target *target, const lap_pass_options *options)
{
    (void)target;
    (void)options;
    do {
        inlined done = {
            lap_arena_array(lap_graph_ctx(g)->arena, lap_graph_n_nodes(g) + 1, sizeof(lap_ref *))};
        g = lap_graph_rewrite(g, inline_call, &done);
    } while (g != NULL && has_calls(g));
    return g;
}
