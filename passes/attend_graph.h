/* SPDX-License-Identifier: Apache-2.0
 * attend_graph.h - passes that write attends as simpler ones, which the fast lowerings take. */
#ifndef LAP_PASSES_ATTEND_GRAPH_H
#define LAP_PASSES_ATTEND_GRAPH_H

#include "ir/build.h"
#include "passes/passes.h"

/* Weights that are asked for become expressions of the rows' results (attend_weights.c). NULL: reported. */
lap_graph *lap_weigh_again(lap_graph *g, const lap_target *target, const lap_pass_options *options);
/* Attends whose scores have other readers compute their own (attend_shared.c). NULL: reported. */
lap_graph *lap_own_scores(lap_graph *g, const lap_target *target, const lap_pass_options *options);
/* Attends of several parts become joined ones of one part each (attend_parts.c). NULL: reported. */
lap_graph *lap_join_parts(lap_graph *g, const lap_target *target, const lap_pass_options *options);

/* The part whose weights this result of an attend is; -1: it is another result. */
int32_t lap_attend_weights_of(const lap_graph *g, const lap_node *result);
/* An attend of one part without eps, whose empty rows are 0. */
lap_ref lap_attend_one_part(lap_graph *g, const lap_part *part, uint32_t n_args, const lap_ref *args,
                            lap_norm norm);

#endif
