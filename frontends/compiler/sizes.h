/* SPDX-License-Identifier: Apache-2.0
 * sizes.h - values of the symbols in a graph's extents: given, solved from shapes, or chosen.
 *
 * Only made-up tensors need this: the runtime and the evaluator solve and check sizes themselves. */
#ifndef LAP_FRONTENDS_COMPILER_SIZES_H
#define LAP_FRONTENDS_COMPILER_SIZES_H

#include "frontends/compiler/leaves.h"
#include "frontends/compiler/tensors.h"

typedef struct lap_size {
    lap_name symbol;
    int64_t value;
} lap_size;
typedef struct lap_sizes {
    lap_ctx *ctx;
    uint32_t n;
    size_t capacity;
    lap_size *at;
} lap_sizes;

/* Sets a symbol. */
void lap_sizes_set(lap_sizes *sizes, lap_name symbol, int64_t value);
/* Whether an axis of an input or weight has the symbol in its extent. */
bool lap_sizes_uses(lap_graph *g, const lap_leaves *leaves, lap_name symbol);
/* Solves what it can from the shapes of the tensors that exist; false when they contradict each other, the
 * sizes set or the model. */
LAP_MUST_CHECK bool lap_sizes_solve(lap_sizes *sizes, lap_graph *g, const lap_leaves *leaves,
                                    const lap_views *inputs, const lap_views *weights, lap_fault *fault);
/* Chooses small values for the symbols still open such that the graph's checks hold; reports to the
 * context when none of those tried does. */
LAP_MUST_CHECK bool lap_sizes_choose(lap_sizes *sizes, lap_graph *g, const lap_leaves *leaves);
/* For lap_dim_eval; `user` is the lap_sizes. */
bool lap_sizes_value(void *user, lap_name symbol, int64_t *out);
/* Extents of `spec`; false when a symbol is open, an extent is negative, or it overflows. */
LAP_MUST_CHECK bool lap_sizes_shape(lap_sizes *sizes, const lap_spec *spec, int64_t *out_shape);

#endif
