/* SPDX-License-Identifier: Apache-2.0
 * inline_calls.h - replaces calls by their function's nodes. Kernels of equal calls come out equal
 * and are compiled once, so nothing is lost by it. */
#ifndef LAP_PASSES_INLINE_CALLS_H
#define LAP_PASSES_INLINE_CALLS_H

#include "passes/passes.h"

lap_graph *lap_inline_calls(lap_graph *g, const lap_target *target, const lap_pass_options *options);

#endif
