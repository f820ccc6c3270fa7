/* SPDX-License-Identifier: Apache-2.0
 * bounds.c - whether a read can leave its source, decided on the graph: index expressions over
 * coordinates in normal form, each coordinate within its axis. */
#include "passes/lower.h"

static lap_qx map_expression(lap_lowering *l, lap_quasi *q, lap_ref r, const lap_node *n)
{
    lap_fn fn = (lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0);
    lap_quasi_op op;
    if (lap_quasi_op_of(fn, &op)) {
        return lap_quasi_binary(q, op, lap_index_expression(l, q, n->args[0]),
                                lap_index_expression(l, q, n->args[1]));
    }
    return fn == LAP_FN_NEG ? lap_quasi_neg(q, lap_index_expression(l, q, n->args[0]))
                            : lap_quasi_opaque(q, UINT32_MAX - r.ix);
}

lap_qx lap_index_expression(lap_lowering *l, lap_quasi *q, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    if (!lap_plan_of(l, r)->is_affine) {
        return lap_quasi_opaque(q, UINT32_MAX - r.ix);
    }
    switch (n->op) {
    case LAP_OP_CONST:
        return lap_quasi_const(q, lap_node_attr(n, LAP_ATTR_VALUE)->scalar.i);
    case LAP_OP_DIM:
        return lap_quasi_dim(q, lap_attr_dim(n, LAP_ATTR_DIM));
    case LAP_OP_INDEX:
        return lap_quasi_var(q, n->axes[0].name.ix, n->axes[0].size);
    case LAP_OP_MAP:
        return map_expression(l, q, r, n);
    case LAP_OP_RENAME:
        if (lap_node_at(l->g, n->args[0])->op == LAP_OP_INDEX) {
            return lap_quasi_var(q, n->axes[0].name.ix, n->axes[0].size);
        }
        break;
    default:
        break;
    }
    return lap_quasi_opaque(q, UINT32_MAX - r.ix);
}

static bool is_ragged(const lap_node *n)
{
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_ref_some(n->axes[i].count)) {
            return true;
        }
    }
    return false;
}

/* The same, with what is known of places that data name. What is made of them is known only where all of it
 * is there: absent entries, once stored, may be anything. */
static lap_qx place_expression(lap_lowering *l, lap_quasi *q, lap_ref r, uint32_t depth)
{
    enum { DEEPEST = 8 };
    const lap_node *n = lap_node_at(l->g, r);
    const lap_plan_node *p = lap_plan_of(l, r);
    lap_quasi_op op;
    if (p->is_place) {
        return lap_quasi_var(q, UINT32_MAX - r.ix, p->places);
    }
    if (!p->is_affine && n->op == LAP_OP_MAP && depth < DEEPEST && !is_ragged(n) &&
        lap_quasi_op_of((lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0), &op)) {
        return lap_quasi_binary(q, op, place_expression(l, q, n->args[0], depth + 1),
                                place_expression(l, q, n->args[1], depth + 1));
    }
    return lap_index_expression(l, q, r);
}

bool lap_reads_inside(lap_lowering *l, lap_ref at)
{
    const lap_node *n = lap_node_at(l->g, at), *x = lap_node_at(l->g, n->args[0]);
    lap_names src = lap_attr_names(n, LAP_ATTR_SRC);
    lap_quasi *q = lap_quasi_new(l->ctx);
    for (uint32_t i = 0; i < src.n; i++) {
        const lap_node *index = lap_node_at(l->g, n->args[1 + i]);
        if (index->dtype == LAP_F32) {
            return false;
        }
        lap_qx e = place_expression(l, q, n->args[1 + i], 0);
        const lap_axis *axis = lap_node_axis(x, src.at[i]);
        if (lap_quasi_compare(q, e, LAP_REL_GE, lap_quasi_const(q, 0)) != LAP_YES ||
            lap_quasi_compare(q, e, LAP_REL_LT, lap_quasi_dim(q, axis->size)) != LAP_YES) {
            return false;
        }
    }
    return true;
}
