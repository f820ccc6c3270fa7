/* SPDX-License-Identifier: Apache-2.0
 * plan_facts.c - what is known of a value from its operands alone, before anything is decided: affine,
 * view, static, may fail, cost, the axis that is fastest in memory. */
#include <string.h>

#include "passes/lower.h"

enum { LARGE = 160 }; /* no expression counts as more */

static bool is_pure_scalar(const lap_node *n)
{
    return n->op == LAP_OP_CONST || n->op == LAP_OP_DIM || n->op == LAP_OP_INDEX || n->op == LAP_OP_FULL;
}

/* The fastest axis, as `r` names it, of the largest tensor that r's expression reads; none when an
 * index replaces it. */
static void learn_fastest(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    lap_plan_node *p = lap_plan_of(l, r);
    if (n->op != LAP_OP_MAP && n->op != LAP_OP_AT && n->op != LAP_OP_RENAME && n->op != LAP_OP_CUSTOM) {
        p->fastest_of = is_pure_scalar(n) ? 0 : n->n_axes;
        p->fastest = n->n_axes > 0 ? n->axes[n->n_axes - 1].name : (lap_name){0};
        return;
    }
    uint32_t n_operands = n->op == LAP_OP_MAP ? n->n_args : 1;
    for (uint32_t i = 0; i < n_operands; i++) {
        const lap_plan_node *a = lap_plan_of(l, n->args[i]);
        if (!a->is_affine && a->fastest_of > p->fastest_of) {
            p->fastest_of = a->fastest_of;
            p->fastest = a->fastest;
        }
    }
    lap_names from = lap_attr_names(n, n->op == LAP_OP_AT ? LAP_ATTR_SRC : LAP_ATTR_FROM);
    for (uint32_t i = 0; i < from.n; i++) {
        if (lap_name_same(from.at[i], p->fastest)) {
            p->fastest = n->op == LAP_OP_AT ? (lap_name){0} : lap_attr_names(n, LAP_ATTR_TO).at[i];
            return;
        }
    }
}

/* Integer expressions that the normal form of coordinates holds without any node of a kernel. */
static bool is_plain(const lap_lowering *l, const lap_node *n)
{
    if (n->op != LAP_OP_MAP) {
        return is_pure_scalar(n) || (n->op == LAP_OP_RENAME && lap_plan_of(l, n->args[0])->is_plain);
    }
    for (uint32_t i = 0; i < n->n_args; i++) {
        if (!lap_plan_of(l, n->args[i])->is_plain) {
            return false;
        }
    }
    switch ((lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0)) {
    case LAP_FN_ADD:
    case LAP_FN_SUB:
    case LAP_FN_MUL:
    case LAP_FN_MIN:
    case LAP_FN_MAX:
    case LAP_FN_NEG:
        return true;
    case LAP_FN_IDIV:
    case LAP_FN_MOD: {
        lap_op divisor = lap_node_at(l->g, n->args[1])->op;
        return divisor == LAP_OP_CONST || divisor == LAP_OP_DIM;
    }
    default:
        return false;
    }
}

/* Places along an axis: what topk and argmax find, and what is picked from them. */
static void learn_places(lap_lowering *l, const lap_node *n, lap_plan_node *p)
{
    const lap_node *x = n->n_args > 0 ? lap_node_at(l->g, n->args[0]) : NULL;
    bool picks = n->op == LAP_OP_RENAME || (n->op == LAP_OP_AT && lap_node_attr(n, LAP_ATTR_FILL) == NULL);
    lap_ref from = picks ? n->args[0] : LAP_NONE;
    if (n->op == LAP_OP_RESULT && x->op == LAP_OP_TOPK) {
        if (strcmp(lap_text(l->ctx, lap_attr_name(n, LAP_ATTR_WHICH)), "index") == 0) {
            p->places = lap_node_axis(lap_node_at(l->g, x->args[0]), lap_attr_name(x, LAP_ATTR_AXIS))->size;
            p->is_place = true;
            return;
        }
        from = x->args[0];
    }
    if (n->op == LAP_OP_REDUCE && n->dtype == LAP_I64) {
        int64_t red = lap_attr_i(n, LAP_ATTR_RED, -1), size;
        p->places = lap_node_axis(x, lap_attr_names(n, LAP_ATTR_OVER).at[0])->size;
        p->is_place = (red == LAP_RED_ARGMAX || red == LAP_RED_ARGMIN) &&
                      lap_dim_is_const(l->ctx, p->places, &size) && size > 0;
        return;
    }
    if (lap_ref_some(from) && lap_plan_of(l, from)->is_place) {
        p->places = lap_plan_of(l, from)->places;
        p->is_place = true;
    }
}

void lap_plan_learn(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    lap_plan_node *p = lap_plan_of(l, r);
    bool all_affine = true, all_static = true;
    uint32_t depth = 0;
    for (uint32_t i = 0; i < n->n_args; i++) {
        const lap_plan_node *a = lap_plan_of(l, n->args[i]);
        all_affine = all_affine && a->is_affine;
        all_static = all_static && a->is_static;
        p->may_fail = p->may_fail || a->may_fail;
        p->cost += a->is_affine ? 0 : a->cost;
        depth = a->affine_depth > depth ? a->affine_depth : depth;
    }
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_ref_some(n->axes[i].count)) {
            all_static = all_static && lap_plan_of(l, n->axes[i].count)->is_static;
        }
    }
    all_affine = all_affine && depth < LAP_DEEPEST;
    p->is_affine = is_pure_scalar(n) || (n->op == LAP_OP_MAP && all_affine && n->dtype != LAP_F32) ||
                   (n->op == LAP_OP_RENAME && all_affine);
    p->affine_depth = p->is_affine ? depth + 1 : 0;
    p->is_plain = p->is_affine && is_plain(l, n);
    p->is_static = n->op == LAP_OP_WEIGHT || (is_pure_scalar(n) && all_static) ||
                   (n->op != LAP_OP_INPUT && n->op != LAP_OP_PARAM && n->n_regions == 0 &&
                    n->region.ix == 0 && all_static && n->n_args > 0);
    if (n->op == LAP_OP_MAP) {
        p->cost += lap_fn_cost((lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0));
    } else if (n->op == LAP_OP_REDUCE || (lap_op_traits(n->op) & (LAP_TRAIT_ROOT | LAP_TRAIT_LEAF)) != 0) {
        p->cost = n->op == LAP_OP_REDUCE ? LARGE : 0;
    } else if (n->op == LAP_OP_RESULT || n->op == LAP_OP_PARAM) {
        p->cost = 0;
    }
    if (p->cost > LARGE) {
        p->cost = LARGE;
    }
    learn_places(l, n, p);
    if (n->op == LAP_OP_AT) {
        p->is_view = true;
        for (uint32_t i = 1; i < n->n_args; i++) {
            p->is_view = p->is_view && lap_plan_of(l, n->args[i])->is_affine;
        }
        p->may_fail = p->may_fail || (lap_node_attr(n, LAP_ATTR_FILL) == NULL && !lap_reads_inside(l, r));
    }
    p->is_view = p->is_view || n->op == LAP_OP_RENAME;
    p->may_fail = p->may_fail && n->op != LAP_OP_REDUCE && n->op != LAP_OP_RESULT && n->op != LAP_OP_SCATTER;
    p->is_contraction = n->op == LAP_OP_REDUCE && lap_contract_roles_ok(l, r);
    learn_fastest(l, r);
}
