/* SPDX-License-Identifier: Apache-2.0
 * random_graph.h - random valid graphs, tensors for them, and shrinking of those that fail.
 *
 * A graph says all that is needed to run it: the name of a leaf states the range of its numbers
 * ("x3:e:-2:2": floats that are multiples of 1/8, "x3:r:-2:2": any floats, "i3:0:5": integers) and
 * the name of a symbol its value ("N3" is 3). So the text alone reproduces a failure.
 *
 * Numbers stay comparable between double and single precision: the maker bounds the range and the
 * error of every value, and takes steps (comparisons, rounding, orders) only on values that both
 * compute exactly. */
#ifndef LAP_TESTS_SUPPORT_RANDOM_GRAPH_H
#define LAP_TESTS_SUPPORT_RANDOM_GRAPH_H

#include "ir/build.h"
#include "ir/eval.h"

/* Differences that a correct compiler may show in such a graph. */
#define TEST_RANDOM_ATOL 1e-3
#define TEST_RANDOM_RTOL 1e-3

/* About `n` operations; the same seed gives the same graph. */
lap_graph *test_random_graph(lap_ctx *ctx, uint64_t seed, unsigned n);
/* Tensors for all leaves, from their names, in the order of the nodes. */
bool test_random_tensors(lap_graph *g, lap_eval_io *out_inputs, lap_eval_io *out_weights);
/* Compares all results; out_why names the output and the element. */
bool test_results_close(lap_arena *arena, const lap_eval_result *got, const lap_eval_result *want,
                        const char **out_why);

typedef bool test_fails(void *user, const char *text);
/* The smallest text found that still fails; `text` is one that does. */
const char *test_shrink(lap_arena *arena, const char *text, test_fails *fails, void *user);

#endif
