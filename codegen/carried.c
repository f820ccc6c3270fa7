/* SPDX-License-Identifier: Apache-2.0
 * carried.c - the combining function of a carried value, found by following it through the body. */
#include "codegen/carried.h"

#include <stdlib.h>

static int join(int a, int b)
{
    return a == LAP_CARRIED_SAME ? b : b == LAP_CARRIED_SAME || a == b ? a : LAP_CARRIED_NONE;
}

uint32_t lap_carried_result(const lap_graph *g, const lap_node *result)
{
    return (uint32_t)strtoul(lap_text(lap_graph_ctx(g), lap_attr_name(result, LAP_ATTR_WHICH)), NULL, 10);
}

static int through_loop(const lap_graph *g, const lap_node *result, lap_ref carried)
{
    const lap_node *loop = lap_node_at(g, result->args[0]);
    uint32_t i = lap_carried_result(g, result);
    if (loop->op != LAP_OP_FOR || i + 1 >= loop->n_args) {
        return LAP_CARRIED_NONE;
    }
    int outer = lap_carried_fn(g, loop->args[i + 1], carried);
    if (outer == LAP_CARRIED_NONE) {
        return outer;
    }
    const lap_region *body = lap_region_at(g, loop->regions[0]);
    return join(outer, lap_carried_fn(g, body->results[i], body->params[i + 1]));
}

int lap_carried_fn(const lap_graph *g, lap_ref next, lap_ref carried)
{
    if (lap_ref_same(next, carried)) {
        return LAP_CARRIED_SAME;
    }
    const lap_node *n = lap_node_at(g, next);
    if (n->op == LAP_OP_RESULT) {
        return through_loop(g, n, carried);
    }
    if (n->op != LAP_OP_MAP) {
        return LAP_CARRIED_NONE;
    }
    int fn = (int)lap_attr_i(n, LAP_ATTR_FN, 0);
    bool combines = fn == LAP_FN_ADD || fn == LAP_FN_MUL || fn == LAP_FN_MIN || fn == LAP_FN_MAX ||
                    fn == LAP_FN_LARGER || fn == LAP_FN_AND || fn == LAP_FN_OR;
    for (uint32_t i = 0; combines && i < n->n_args; i++) {
        int through = lap_carried_fn(g, n->args[i], carried);
        if (through != LAP_CARRIED_NONE) {
            return join(through, fn);
        }
    }
    return LAP_CARRIED_NONE;
}
