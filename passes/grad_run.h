/* SPDX-License-Identifier: Apache-2.0
 * grad_run.h - what the rules of reverse mode share.
 *
 * Nodes are gone through from the largest id down, so that a value's gradient has arrived when its
 * rule runs, which calls lap_grad_push for each operand. What arrives later (a rule may make nodes
 * that are equal to old ones) is passed on in a second turn: rules are linear in the gradient. */
#ifndef LAP_PASSES_GRAD_RUN_H
#define LAP_PASSES_GRAD_RUN_H

#include "ir/build.h"

/* The gradients of a node with several results: those that were read, by name. */
typedef struct lap_grad_results {
    uint32_t n;
    const lap_name *which;
    const lap_ref *d;
} lap_grad_results;

/* By node. */
typedef struct lap_grad_entry {
    bool is_wanted, leads; /* leads: a wanted value is it or reaches it through gradients */
    bool is_handed;        /* a result: stands in the list of its node */
    lap_ref d;             /* what has arrived and was not passed on yet */
    lap_ref total;         /* wanted values: all that has arrived */
    lap_ref first_result;  /* of several: the result read last whose gradient has arrived */
    lap_ref next_result;
} lap_grad_entry;

typedef struct lap_grad_run {
    lap_graph *g;
    lap_ctx *ctx;
    uint32_t stop;    /* nodes up to this one are values from outside: not followed */
    uint32_t next;    /* the largest node that is still to be gone through */
    uint32_t n_known; /* entries 1 .. n_known are valid */
    lap_grad_entry *entries;
    size_t capacity;
    bool is_failed;
} lap_grad_run;

/* lap_grad for the inside of a region: nodes up to `stop` count as leaves. */
LAP_MUST_CHECK bool lap_grad_from(lap_graph *g, uint32_t stop, uint32_t n_seeds, const lap_ref *values,
                                  const lap_ref *cotangents, uint32_t n_wrt, const lap_ref *wrt,
                                  lap_ref *out);

/* Whether a gradient of x is of use. */
bool lap_grad_leads(lap_grad_run *r, lap_ref x);
/* Adds d, fitted to x, to the gradient of x; nothing when it is of no use. */
void lap_grad_push(lap_grad_run *r, lap_ref x, lap_ref d);
bool lap_grad_fail(lap_grad_run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

bool lap_grad_is_float(const lap_node *n);
/* d with exactly the axes of `type`: summed over the others, 0 where d is absent and the type is not. */
lap_ref lap_grad_fit(lap_grad_run *r, lap_ref d, const lap_type *type);
/* d without the run-time extents that vary over an axis of `names`: 0 where it was absent. */
lap_ref lap_grad_settle(lap_grad_run *r, lap_ref d, lap_names names);
/* Zeros of that type, f32. */
lap_ref lap_grad_zeros(lap_grad_run *r, const lap_type *type);
/* Axes of a that b lacks. */
lap_names lap_grad_axes_beyond(lap_grad_run *r, lap_ref a, lap_ref b);
lap_ref lap_grad_sum(lap_grad_run *r, lap_ref x, lap_names over);
/* The gradient of a result; none where it was not read. */
lap_ref lap_grad_of(const lap_grad_run *r, const lap_grad_results *d, const char *which);
/* a + b, where either may be none. */
lap_ref lap_grad_add(lap_grad_run *r, lap_ref a, lap_ref b);
lap_ref lap_grad_scatter(lap_grad_run *r, lap_ref x, lap_names over, lap_names target, const lap_dim *sizes,
                         const lap_ref *index, lap_mode mode, lap_scalar base);

/* The f32 values from outside that the nodes and results of a region read and whose gradient is of
 * use, each once; their number. */
uint32_t lap_grad_captured(lap_grad_run *r, lap_region_id region, const lap_ref **out);

void lap_grad_map(lap_grad_run *r, const lap_node *n, lap_ref v, lap_ref d);
/* Whether the derivative of fn by operand i is zero almost everywhere. */
bool lap_grad_is_flat(lap_fn fn, uint32_t i);
void lap_grad_reduce(lap_grad_run *r, const lap_node *n, lap_ref v, lap_ref d);
void lap_grad_rename(lap_grad_run *r, const lap_node *n, lap_ref v, lap_ref d);
void lap_grad_at(lap_grad_run *r, const lap_node *n, lap_ref v, lap_ref d);
void lap_grad_scattered(lap_grad_run *r, const lap_node *n, lap_ref v, lap_ref d);
void lap_grad_custom(lap_grad_run *r, const lap_node *n, lap_ref v, lap_ref d);
void lap_grad_attend(lap_grad_run *r, const lap_node *n, lap_ref v, const lap_grad_results *d);
void lap_grad_topk(lap_grad_run *r, const lap_node *n, lap_ref v, const lap_grad_results *d);
void lap_grad_scan(lap_grad_run *r, const lap_node *n, lap_ref v, const lap_grad_results *d);
void lap_grad_branch(lap_grad_run *r, const lap_node *n, lap_ref v, const lap_grad_results *d);
void lap_grad_call(lap_grad_run *r, const lap_node *n, lap_ref v, const lap_grad_results *d);

#endif
