/* SPDX-License-Identifier: Apache-2.0
 * verify_form.c - a node against its row of ops.def and the kinds of attrs.def.
 *
 * What holds here lets type rules read operands and attributes without looking. */
#include "ir/text.h"
#include "ir/verify.h"

static bool verify_level(lap_verifier *v)
{
    return (lap_op_level(v->n->op) & (unsigned)lap_graph_level(v->g)) ||
           lap_verify_fail(v, "is not an operation of this level");
}

static bool verify_counts(lap_verifier *v)
{
    int min = lap_op_min_args(v->n->op), max = lap_op_max_args(v->n->op);
    bool ok = true;
    if ((int64_t)v->n->n_args < min || (max >= 0 && (int64_t)v->n->n_args > max)) {
        ok = lap_verify_fail(v, "has %u operands, expected %d to %d", v->n->n_args, min, max);
    }
    if (v->n->n_regions != lap_op_regions(v->n->op)) {
        ok = lap_verify_fail(v, "has %u regions, expected %u", v->n->n_regions, lap_op_regions(v->n->op));
    }
    if (v->n->region.ix >= lap_graph_n_regions(v->g)) {
        ok = lap_verify_fail(v, "stands in region %u, which the graph lacks", v->n->region.ix);
    }
    return ok;
}

static bool is_in_range(const lap_attr *a)
{
    lap_attr_kind kind = lap_attr_kind_of(a->key);
    if (kind == LAP_KIND_BOOL) {
        return a->i == 0 || a->i == 1;
    }
    if (kind == LAP_KIND_SCALAR) {
        lap_dtype t = a->scalar.dtype;
        return t == LAP_F32 || t == LAP_I64 || (t == LAP_BOOL && (a->scalar.i == 0 || a->scalar.i == 1));
    }
    return !lap_kind_is_enum(kind) || lap_enum_text(kind, a->i);
}

static bool verify_attrs(lap_verifier *v)
{
    bool ok = true;
    for (uint32_t i = 0; i < v->n->n_attrs; i++) {
        const lap_attr *a = &v->n->attrs[i];
        if ((unsigned)a->key >= LAP_N_ATTRS) {
            return lap_verify_fail(v, "has an unknown attribute");
        }
        if (i > 0 && v->n->attrs[i - 1].key >= a->key) {
            ok = lap_verify_fail(v, "has attribute '%s' out of order or twice", lap_attr_text(a->key));
        }
        if (!lap_op_takes(v->n->op, a->key, NULL)) {
            ok = lap_verify_fail(v, "takes no attribute '%s'", lap_attr_text(a->key));
        }
        if (!is_in_range(a)) {
            ok = lap_verify_fail(v, "has attribute '%s' out of range", lap_attr_text(a->key));
        }
    }
    for (unsigned key = 0; key < LAP_N_ATTRS; key++) {
        bool is_required = false;
        if (lap_op_takes(v->n->op, (lap_attr_key)key, &is_required) && is_required &&
            !lap_node_attr(v->n, (lap_attr_key)key)) {
            ok = lap_verify_fail(v, "needs attribute '%s'", lap_attr_text((lap_attr_key)key));
        }
    }
    return ok;
}

bool lap_verify_form(lap_verifier *v)
{
    if (v->n->op == LAP_OP_NONE || (unsigned)v->n->op >= LAP_N_OPS) {
        return lap_verify_fail_at(v, v->n->loc, "broken graph: node %u is no operation", v->ref.ix);
    }
    bool ok = verify_level(v);
    ok = verify_counts(v) && ok;
    return verify_attrs(v) && ok;
}
