/* SPDX-License-Identifier: Apache-2.0
 * foreign.c - the memory order of a foreign operation's operands.
 *
 * No rule of the language reads the order of a value's axes, so rewriting may change it; an operation
 * in C does, so its node keeps the order that the script meant. */
#include "ir/foreign.h"

lap_names lap_foreign_order(const lap_graph *g, const lap_node *foreign, uint32_t i)
{
    const lap_node *x = lap_node_at(g, foreign->args[i]);
    if (lap_node_attr(foreign, LAP_ATTR_ORDER)) {
        uint32_t at = 0;
        for (uint32_t k = 0; k < i; k++) {
            at += lap_node_at(g, foreign->args[k])->n_axes;
        }
        return (lap_names){x->n_axes, lap_attr_names(foreign, LAP_ATTR_ORDER).at + at};
    }
    return lap_node_names(lap_graph_ctx(g), x);
}

static bool is_same_type(const lap_node *a, const lap_node *b)
{
    bool same = a->dtype == b->dtype && a->n_axes == b->n_axes;
    for (uint32_t i = 0; same && i < a->n_axes; i++) {
        same =
            lap_name_same(a->axes[i].name, b->axes[i].name) && lap_dim_same(a->axes[i].size, b->axes[i].size);
    }
    return same;
}

bool lap_foreign_results(lap_graph *g, lap_ref foreign, lap_ref *out)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_names outs = lap_attr_names(lap_node_at(g, foreign), LAP_ATTR_OUTS);
    for (uint32_t k = 0; k < outs.n; k++) {
        out[k] = LAP_NONE;
    }
    for (uint32_t i = foreign.ix + 1; i <= lap_graph_n_nodes(g); i++) {
        const lap_node *n = lap_node_at(g, (lap_ref){i});
        if (n->op != LAP_OP_RESULT || !lap_ref_same(n->args[0], foreign)) {
            continue;
        }
        lap_name which = lap_attr_name(n, LAP_ATTR_WHICH);
        uint32_t k = lap_names_find(outs, which);
        if (lap_ref_some(out[k]) && !is_same_type(lap_node_at(g, out[k]), n)) {
            return lap_error(ctx, n->loc, "result '%s' has two types: %s and %s", lap_text(ctx, which),
                             lap_type_show(ctx, lap_node_at(g, out[k])), lap_type_show(ctx, n));
        }
        out[k] = lap_ref_some(out[k]) ? out[k] : (lap_ref){i};
    }
    return true;
}
