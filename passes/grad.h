/* SPDX-License-Identifier: Apache-2.0
 * grad.h - reverse mode: gradients as ordinary nodes of the same graph.
 *
 * An operand's gradient is the result's, summed over the axes that the operand lacks and zero where
 * it was absent. Only paths that lead from a wanted value to a seed are followed. An operation
 * without a rule on such a path is an error that names it, never a zero; functions that are flat
 * almost everywhere (floor, round, sign, comparisons, integers) end a path. */
#ifndef LAP_PASSES_GRAD_H
#define LAP_PASSES_GRAD_H

#include "ir/build.h"

/* out[i] = sum over seeds of (d values[s] / d wrt[i]) * cotangents[s], of the type of wrt[i] as f32.
 * A cotangent may lack axes of its value: it holds for all of them. Values must be f32 and live
 * where the call is made. Reports and returns false on a mistake. */
LAP_MUST_CHECK bool lap_grad(lap_graph *g, uint32_t n_seeds, const lap_ref *values, const lap_ref *cotangents,
                             uint32_t n_wrt, const lap_ref *wrt, lap_ref *out);

#endif
