/* SPDX-License-Identifier: Apache-2.0
 * plan_scan.c - what a scan that is one kernel reads: computed in its steps, or stored before.
 *
 * An operand that is read once per step and element is computed there; what is read again and again,
 * by several elements of a step or in every step, is stored if it costs more than a load. */
#include "passes/plan.h"

void lap_plan_want_repeated(lap_lowering *l, lap_ref r, lap_ref home)
{
    lap_plan_node *p = lap_plan_of(l, r);
    const lap_scan_form *f = lap_plan_of(l, home)->scan;
    const lap_node *n = lap_node_at(l->g, r);
    if (n->op == LAP_OP_REDUCE || p->cost > LAP_PLAN_CHEAP) {
        lap_plan_want_operand(l, r, home);
        if (f->has_lanes && p->inner.n == 0 && lap_node_axis(n, f->rows[f->n_rows - 1].name) != NULL) {
            p->inner = (lap_names){1, &f->rows[f->n_rows - 1].name};
        }
    } else {
        lap_plan_want(l, r, home);
    }
}

void lap_plan_scan(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    const lap_scan_form *f = lap_plan_of(l, r)->scan;
    lap_name along = lap_attr_name(n, LAP_ATTR_ALONG);
    l->scans[f->region.ix] = f;
    for (uint32_t i = 0; i < f->n_locals; i++) {
        lap_plan_of(l, f->locals[i].node)->kind = LAP_STORE_LOCAL;
    }
    for (uint32_t i = 0; i < f->body->n_params; i++) {
        lap_plan_of(l, f->body->params[i])->kind = LAP_STORE_LOCAL;
        if (i < f->n_states || (i < n->n_args && f->reads[i] == 1 &&
                                lap_node_axis(lap_node_at(l->g, n->args[i]), along) != NULL)) {
            lap_plan_want(l, n->args[i], r);
        } else if (i < n->n_args && f->reads[i] > 0) {
            lap_plan_want_repeated(l, n->args[i], r);
        }
    }
    for (uint32_t i = 0; i < f->body->n_results; i++) {
        if (i >= f->n_states && !lap_ref_some(f->result[i - f->n_states])) {
            continue;
        }
        lap_ref result = f->body->results[i];
        if (lap_node_at(l->g, result)->region.ix == f->region.ix && lap_scan_depends(f, result)) {
            lap_plan_want(l, result, r);
        } else {
            lap_plan_want_repeated(l, result, r);
        }
    }
    for (uint32_t i = 0; i < f->n_outs && f->has_lanes; i++) {
        const lap_name *lane = &f->rows[f->n_rows - 1].name;
        if (lap_ref_some(f->result[i]) && lap_node_axis(lap_node_at(l->g, f->result[i]), *lane) != NULL &&
            lap_plan_of(l, f->result[i])->inner.n == 0) {
            lap_plan_of(l, f->result[i])->inner = (lap_names){1, lane};
        }
    }
}

void lap_plan_in_scan(lap_lowering *l, lap_ref r, const lap_scan_form *f)
{
    const lap_node *n = lap_node_at(l->g, r);
    lap_plan_node *p = lap_plan_of(l, r);
    uint32_t n_operands = n->op == LAP_OP_CUSTOM ? 1 : n->n_args;
    for (uint32_t i = 0; i < n_operands; i++) {
        lap_plan_node *a = lap_plan_of(l, n->args[i]);
        const lap_node *x = lap_node_at(l->g, n->args[i]);
        bool is_arm = i > 0 && n->op == LAP_OP_MAP && lap_attr_i(n, LAP_ATTR_FN, 0) == LAP_FN_SELECT;
        a->is_guarded = a->is_guarded || is_arm || p->is_guarded;
        bool is_inside = x->region.ix == f->region.ix && lap_scan_depends(f, n->args[i]);
        if (is_inside || (a->is_guarded && a->may_fail)) {
            lap_plan_want(l, n->args[i], f->op);
        } else {
            lap_plan_want_repeated(l, n->args[i], f->op);
        }
    }
}
