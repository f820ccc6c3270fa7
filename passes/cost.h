/* SPDX-License-Identifier: Apache-2.0
 * cost.h - useful work of a graph: what any implementation has to compute, given sizes. */
#ifndef LAP_PASSES_COST_H
#define LAP_PASSES_COST_H

#include "ir/graph.h"

typedef struct lap_cost {
    double flops;   /* multiply and add count one each; attention counts pairs inside the pattern only */
    double pairs;   /* (query, key) pairs inside the patterns, over batches and heads */
    double density; /* those by all pairs; 1 where there is no attend */
} lap_cost;

/* Contractions count 2 per product, attends 2 per pair and feature in scores and values, other f32
 * results 1 per element. What depends on weights alone is free, since it is computed at load. Run-time
 * extents count as their bounds, loops as their limits, branches half. False when a size is unknown. */
LAP_MUST_CHECK bool lap_cost_of(lap_graph *g, lap_dim_value *value, void *user, lap_cost *out);
/* The flops of each node, by ref.ix. */
LAP_MUST_CHECK bool lap_cost_of_nodes(lap_graph *g, lap_dim_value *value, void *user,
                                      const double **out_flops);
/* Elements that evaluating these values alone goes through, node by node and without leaving any out: what
 * the reference evaluator takes its time for. A product within a sum counts an eighth. */
LAP_MUST_CHECK bool lap_cost_of_evaluating(lap_graph *g, uint32_t n, const lap_ref *values,
                                           lap_dim_value *value, void *user, double *out_steps);

/* Part of the elements of a boolean value that hold, where it depends on coordinates alone (counted,
 * or sampled evenly beyond 2^27 of them); 1 where it depends on data. */
double lap_cost_density(lap_graph *g, lap_ref predicate, lap_dim_value *value, void *user);

#endif
