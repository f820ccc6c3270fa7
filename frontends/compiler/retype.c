/* SPDX-License-Identifier: Apache-2.0
 * retype.c - narrower storage: leaves declare it, their readers convert, results stay f32. */
#include "frontends/compiler/retype.h"

#include "ir/build.h"

static lap_ref retype_leaf(lap_rewrite *rw, const lap_node *old, lap_ref old_ref, const lap_ref *new_args)
{
    (void)old_ref;
    (void)new_args;
    if ((old->op != LAP_OP_INPUT && old->op != LAP_OP_WEIGHT) || old->dtype != LAP_F32) {
        return LAP_NONE;
    }
    lap_type type = {*(const lap_dtype *)rw->user, old->n_axes, old->axes};
    return lap_emit(
        rw->to, &(lap_emit_args){.op = old->op, .n_attrs = old->n_attrs, .attrs = old->attrs, .type = &type});
}

lap_graph *lap_graph_retype(lap_graph *g, lap_dtype dtype)
{
    return lap_graph_rewrite(g, retype_leaf, &dtype);
}
