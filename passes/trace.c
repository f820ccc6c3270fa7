/* SPDX-License-Identifier: Apache-2.0
 * trace.c - at which coordinates of its reader's kernel a fused value is read. */
#include "passes/lower.h"

#include <string.h>

typedef struct trace {
    lap_lowering *l;
    lap_ref target;
    const lap_name **seen;
    lap_name *found;
    bool is_found, is_unclear;
    uint32_t steps;
} trace;

static void trace_down(trace *t, lap_ref r, const lap_name *names);

static void trace_arg(trace *t, const lap_node *n, const lap_name *names, lap_ref arg)
{
    const lap_node *a = lap_node_at(t->l->g, arg);
    lap_names from = lap_attr_names(n, LAP_ATTR_FROM), to = lap_attr_names(n, LAP_ATTR_TO);
    lap_name *sub = lap_arena_array(t->l->ctx->arena, a->n_axes + 1, sizeof *sub);
    for (uint32_t i = 0; i < a->n_axes; i++) {
        uint32_t s = lap_names_find(from, a->axes[i].name); /* of a rename: others have none */
        const lap_axis *axis = lap_node_axis(n, s < from.n ? to.at[s] : a->axes[i].name);
        sub[i] = axis != NULL ? names[axis - n->axes] : (lap_name){0};
    }
    trace_down(t, arg, sub);
}

/* names[i]: the axis of the home that coordinate i of `r` is, or 0 where it is another. */
static void trace_down(trace *t, lap_ref r, const lap_name *names)
{
    const lap_node *n = lap_node_at(t->l->g, r);
    if (r.ix < t->target.ix || t->is_unclear || ++t->steps > 4096) {
        t->is_unclear = t->is_unclear || t->steps > 4096;
        return;
    }
    if (lap_ref_same(r, t->target)) {
        for (uint32_t i = 0; i < n->n_axes; i++) {
            t->is_unclear =
                t->is_unclear || names[i].ix == 0 || (t->is_found && !lap_name_same(t->found[i], names[i]));
            t->found[i] = names[i];
        }
        t->is_found = true;
        return;
    }
    if (t->seen[r.ix] != NULL &&
        (n->n_axes == 0 || memcmp(t->seen[r.ix], names, n->n_axes * sizeof *names) == 0)) {
        return;
    }
    t->seen[r.ix] = names;
    if ((lap_op_traits(n->op) & LAP_TRAIT_LEAF) != 0 ||
        (t->steps > 1 && lap_plan_of(t->l, r)->kind != LAP_STORE_INLINE)) {
        return;
    }
    for (uint32_t i = 0; i < n->n_args; i++) {
        if (n->op == LAP_OP_AT && i == 0) {
            lap_name *none =
                lap_arena_array(t->l->ctx->arena, lap_node_at(t->l->g, n->args[0])->n_axes + 1, sizeof *none);
            trace_down(t, n->args[0], none);
        } else {
            trace_arg(t, n, names, n->args[i]);
        }
    }
}

bool lap_plan_trace(lap_lowering *l, lap_ref r, lap_ref home, const lap_name **out_names)
{
    const lap_node *n = lap_node_at(l->g, r), *h = lap_node_at(l->g, home);
    trace t = {.l = l,
               .target = r,
               .seen = lap_arena_array(l->ctx->arena, home.ix + 1, sizeof *t.seen),
               .found = lap_arena_array(l->ctx->arena, n->n_axes + 1, sizeof *t.found)};
    trace_down(&t, home, lap_node_names(l->ctx, h).at);
    *out_names = t.found;
    return t.is_found && !t.is_unclear;
}
