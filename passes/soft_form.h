/* SPDX-License-Identifier: Apache-2.0
 * soft_form.h - attention that a script wrote by hand: softmax of scores over keys, then a product
 * with values summed over the same keys.
 *
 * Its parts are recognised in the graph, and the `attend` that means the same is made of them. Where a
 * row has no key both give NaN, as the quotient of two zeros does. */
#ifndef LAP_PASSES_SOFT_FORM_H
#define LAP_PASSES_SOFT_FORM_H

#include "ir/build.h"

enum { LAP_SOFT_INNER = 20 };

typedef struct lap_soft_form {
    lap_ref score, value;
    lap_ref seen; /* condition that sets weights to 0 after the exponential, or none */
    lap_names keys;
    bool is_quotient; /* divided after the sum over keys */
    bool is_log;      /* exp(z - log sum exp z) */
    double least_shift; /* what is subtracted from the scores is never less: 0 where nothing is */
    uint32_t n_inner;
    lap_ref inner[LAP_SOFT_INNER]; /* nodes between score, value and the result */
} lap_soft_form;

/* Whether `root` is such a result. */
bool lap_soft_form_of(const lap_graph *g, lap_ref root, lap_soft_form *out);
/* Whether nothing else in the graph reads its inner nodes. */
bool lap_soft_form_is_closed(const lap_graph *g, lap_ref root, const lap_soft_form *f);
/* The `out` of an attend over score, value and seen, which are nodes of `g`; with masks of the score as
 * its predicate. NONE where it would not have the type `want` or might give other numbers. */
lap_ref lap_soft_form_attend(lap_graph *g, const lap_soft_form *f, const lap_type *want);

#endif
