/* SPDX-License-Identifier: Apache-2.0
 * scan.h - scans that are one kernel: rows in the grid and in lanes, time inside.
 *
 * Rows are the axes along which steps do not mix: the grid runs over them, one of them in lanes. A local is
 * a value of the body that stands in scratch over its other axes, computed once per step. */
#ifndef LAP_PASSES_SCAN_H
#define LAP_PASSES_SCAN_H

#include "passes/lower.h"

typedef struct lap_scan_local {
    lap_ref node;
    int32_t state; /* it replaces this state in place; -1: memory of its own */
} lap_scan_local;

/* What a step does, in order: compute local `number`, or write emitted value `number`. */
typedef struct lap_scan_action {
    bool is_out;
    uint32_t number;
    bool joins; /* runs in the loops of the action before it */
} lap_scan_action;

struct lap_scan_form {
    lap_ref op;
    lap_region_id region;
    const lap_region *body;
    uint32_t n_states, n_outs;
    const lap_ref *result; /* by out: the node that reads it, or none */
    uint32_t n_rows;
    const lap_axis *rows; /* the last one runs in lanes, if any does */
    bool has_lanes;
    uint32_t n_locals, n_actions;
    const lap_scan_local *locals;
    const lap_scan_action *actions;
    const bool *depends; /* by node from `first`: on a parameter of the body */
    uint32_t first;
    const uint8_t *reads; /* by parameter: how often one element is, 0, 1 or 2 = many times */
};

/* Finds out whether the scan can be one kernel, and its form; NULL: steps around kernels (scan_form.c). */
const lap_scan_form *lap_scan_form_of(lap_lowering *l, lap_ref op);
/* Whether a node of the body is computed anew in each step. */
static inline bool lap_scan_depends(const lap_scan_form *f, lap_ref r) { return f->depends[r.ix - f->first]; }
void lap_lower_scan(lap_lowering *l, const lap_scan_form *form);
/* A parameter or a local, in the kernel of its scan. */
lap_val lap_scan_pull(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask);

#endif
