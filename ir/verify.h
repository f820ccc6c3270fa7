/* SPDX-License-Identifier: Apache-2.0
 * verify.h - what the parts of the verifier share. */
#ifndef LAP_IR_VERIFY_H
#define LAP_IR_VERIFY_H

#include "ir/build.h"

typedef struct lap_verifier {
    lap_graph *g;
    lap_ctx *ctx;
    lap_ref ref; /* the node at hand */
    const lap_node *n;
    lap_ref *owner;          /* by region: the first node that owns it */
    lap_region_id *captured; /* by region: deepest region outside that its nodes read from */
    uint32_t *n_uses;        /* by node: operands and results that name it */
    bool is_broken;
} lap_verifier;

/* Reports a broken invariant of the node at hand; false. */
bool lap_verify_fail(lap_verifier *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Reports one of the whole graph, at `loc`; false. */
bool lap_verify_fail_at(lap_verifier *v, lap_loc loc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Arity, attributes, regions and level of the node at hand (verify_form.c). */
bool lap_verify_form(lap_verifier *v);
/* Rules of the kernel level that no type rule states (verify_level.c). */
void lap_verify_kernel_node(lap_verifier *v);
void lap_verify_kernel(lap_verifier *v);

#endif
