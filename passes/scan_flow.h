/* SPDX-License-Identifier: Apache-2.0
 * scan_flow.h - what is known of the values of a scan's body while its form is made. */
#ifndef LAP_PASSES_SCAN_FLOW_H
#define LAP_PASSES_SCAN_FLOW_H

#include "passes/scan.h"

enum { LAP_SCAN_LOCALS = 60, LAP_SCAN_MANY = -1 }; /* masks have a bit per local and per state */

typedef struct lap_scan_facts {
    bool depends, is_repeated, is_local;
    int64_t reader;  /* of the results and locals that read it: 0 none, MANY, else its number */
    lap_name *axes;  /* by axis: the axis of the result at which it is read */
    uint64_t locals; /* that it reads without another local between */
    uint64_t states;
} lap_scan_facts;

typedef struct lap_scan_former {
    lap_lowering *l;
    const lap_node *n;
    lap_scan_form *f;
    const lap_ref *nodes; /* parameters, then the nodes of the body */
    uint32_t n_nodes;
    lap_scan_facts *at; /* by node from f->first */
    lap_axis *rows;
    uint32_t n_rows;
    lap_ref local[LAP_SCAN_LOCALS]; /* in order of nodes */
    uint32_t n_locals;
} lap_scan_former;

/* Of a node of the body, else NULL. */
lap_scan_facts *lap_scan_fact(const lap_scan_former *m, lap_ref r);
/* Operands whose values a node of the body takes. */
static inline uint32_t lap_scan_n_operands(const lap_node *n)
{
    return n->op == LAP_OP_CUSTOM ? 1 : n->n_args;
}
/* Whether the result has a reader. */
bool lap_scan_result_lives(const lap_scan_former *m, uint32_t i);

/* Sets the axes of all facts: where the results read each value. */
void lap_scan_flow(lap_scan_former *m);
bool lap_scan_is_seen(const lap_scan_former *m, lap_ref r);
/* An axis that nothing reads, or that is read at its own place. */
bool lap_scan_seen_as(lap_name seen, lap_name own);
/* One whose place differs between readers, is computed, or is reduced. */
bool lap_scan_seen_elsewhere(lap_name seen);
/* Whether computing `root` reads `what` at its own coordinates only; overwrites the axes of all facts. */
bool lap_scan_reads_own(lap_scan_former *m, lap_ref root, lap_ref what);

#endif
