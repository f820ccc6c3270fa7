/* SPDX-License-Identifier: Apache-2.0
 * scan_flow.c - at which axes of the results each value of a scan's body is read.
 *
 * One walk down from the results; a value read at two places is read elsewhere. */
#include "passes/scan_flow.h"

static const lap_name UNSEEN = {UINT32_MAX}, ELSEWHERE = {0};

lap_scan_facts *lap_scan_fact(const lap_scan_former *m, lap_ref r)
{
    const lap_node *n = lap_node_at(m->l->g, r);
    return n->region.ix == m->f->region.ix ? &m->at[r.ix - m->f->first] : NULL;
}

bool lap_scan_result_lives(const lap_scan_former *m, uint32_t i)
{
    return i < m->f->n_states || lap_ref_some(m->f->result[i - m->f->n_states]);
}

static void see(lap_name *seen, lap_name name)
{
    *seen = lap_name_same(*seen, UNSEEN) || lap_name_same(*seen, name) ? name : ELSEWHERE;
}

static void see_axes(lap_scan_former *m, lap_ref r)
{
    const lap_node *n = lap_node_at(m->l->g, r);
    lap_scan_facts *f = lap_scan_fact(m, r);
    for (uint32_t i = 0; f != NULL && i < n->n_axes; i++) {
        see(&f->axes[i], n->axes[i].name);
    }
}

static void flow_to(lap_scan_former *m, lap_ref r, uint32_t operand)
{
    const lap_node *n = lap_node_at(m->l->g, r);
    lap_ref arg = n->args[operand];
    lap_scan_facts *from = lap_scan_fact(m, r), *to = lap_scan_fact(m, arg);
    if (to == NULL) {
        return;
    }
    const lap_node *x = lap_node_at(m->l->g, arg);
    bool is_source = n->op == LAP_OP_AT && operand == 0;
    lap_names gone = is_source ? lap_attr_names(n, LAP_ATTR_SRC) : (lap_names){0};
    lap_names old = n->op == LAP_OP_RENAME ? lap_attr_names(n, LAP_ATTR_FROM) : (lap_names){0};
    for (uint32_t i = 0; i < x->n_axes; i++) {
        lap_name name = x->axes[i].name;
        for (uint32_t j = 0; j < old.n; j++) {
            name = lap_name_same(old.at[j], x->axes[i].name) ? lap_attr_names(n, LAP_ATTR_TO).at[j] : name;
        }
        const lap_axis *a = lap_names_has(gone, x->axes[i].name) ? NULL : lap_node_axis(n, name);
        see(&to->axes[i], a != NULL ? from->axes[a - n->axes] : ELSEWHERE);
    }
}

static void forget_axes(lap_scan_former *m)
{
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        lap_scan_facts *f = lap_scan_fact(m, m->nodes[i]);
        for (uint32_t a = 0; a < lap_node_at(m->l->g, m->nodes[i])->n_axes; a++) {
            f->axes[a] = UNSEEN;
        }
    }
}

bool lap_scan_is_seen(const lap_scan_former *m, lap_ref r)
{
    const lap_node *n = lap_node_at(m->l->g, r);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (!lap_name_same(lap_scan_fact(m, r)->axes[i], UNSEEN)) {
            return true;
        }
    }
    return n->n_axes == 0;
}

/* From `root`, or from all results, down to the operands; stops at locals unless from all. */
static void flow_down(lap_scan_former *m, lap_ref root)
{
    for (uint32_t i = m->n_nodes; i-- > 0;) {
        lap_ref r = m->nodes[i];
        const lap_node *n = lap_node_at(m->l->g, r);
        bool stops = lap_ref_some(root) && lap_scan_fact(m, r)->is_local && !lap_ref_same(r, root);
        if (stops || !lap_scan_is_seen(m, r) || (lap_ref_some(root) && r.ix > root.ix)) {
            continue;
        }
        for (uint32_t a = 0; a < lap_scan_n_operands(n); a++) {
            flow_to(m, r, a);
        }
    }
}

/* Whether computing `root` reads `what` at its own coordinates only. */
bool lap_scan_reads_own(lap_scan_former *m, lap_ref root, lap_ref what)
{
    forget_axes(m);
    see_axes(m, root);
    flow_down(m, root);
    const lap_node *n = lap_node_at(m->l->g, what);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        lap_name seen = lap_scan_fact(m, what)->axes[i];
        if (!lap_name_same(seen, UNSEEN) && !lap_name_same(seen, n->axes[i].name)) {
            return false;
        }
    }
    return true;
}

void lap_scan_flow(lap_scan_former *m)
{
    forget_axes(m);
    for (uint32_t i = 0; i < m->f->body->n_results; i++) {
        if (lap_scan_result_lives(m, i)) {
            see_axes(m, m->f->body->results[i]);
        }
    }
    flow_down(m, LAP_NONE);
}

bool lap_scan_seen_as(lap_name seen, lap_name own)
{
    return lap_name_same(seen, UNSEEN) || lap_name_same(seen, own);
}

bool lap_scan_seen_elsewhere(lap_name seen) { return lap_name_same(seen, ELSEWHERE); }
