/* SPDX-License-Identifier: Apache-2.0
 * leaves.h - the inputs, weights and outputs of a graph as tensors in memory. */
#ifndef LAP_FRONTENDS_COMPILER_LEAVES_H
#define LAP_FRONTENDS_COMPILER_LEAVES_H

#include "ir/graph.h"

typedef struct lap_spec {
    const char *name;
    lap_dtype dtype;
    uint32_t rank;
    const lap_dim *shape; /* one extent per memory axis */
    bool is_optional;
    lap_ref ref; /* the leaf, or the output's value */
} lap_spec;

typedef struct lap_specs {
    uint32_t n;
    const lap_spec *at;
} lap_specs;

typedef struct lap_leaves {
    lap_specs inputs, weights, outputs;
} lap_leaves;

/* In the order of the graph; everything in its arena. */
lap_leaves lap_leaves_of(lap_graph *g);
const lap_spec *lap_specs_find(lap_specs specs, const char *name);
/* "[B, 2*H, 16]", in the arena. */
const char *lap_spec_show(lap_ctx *ctx, const lap_spec *spec);

#endif
