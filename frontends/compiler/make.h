/* SPDX-License-Identifier: Apache-2.0
 * make.h - made-up inputs and weights: the same for the same seed, on every machine. */
#ifndef LAP_FRONTENDS_COMPILER_MAKE_H
#define LAP_FRONTENDS_COMPILER_MAKE_H

#include "frontends/compiler/sizes.h"

/* A tensor for an input (floats from N(0, 1), masks 1, integers inside the axes that they index) or
 * for a weight (matrices from N(0, 1/fan_in), scales about 1, variances positive). The values
 * depend on the seed and the name alone. */
LAP_MUST_CHECK bool lap_make_input(lap_graph *g, lap_sizes *sizes, const lap_spec *spec, uint64_t seed,
                                   lap_tensor *out, lap_fault *fault);
/* An input or weight whose elements are `value` over the coordinates of its axes and the sizes. */
LAP_MUST_CHECK bool lap_make_by_place(lap_graph *g, lap_sizes *sizes, const lap_spec *spec, lap_dim value,
                                      lap_tensor *out, lap_fault *fault);
LAP_MUST_CHECK bool lap_make_weight(lap_graph *g, lap_sizes *sizes, const lap_spec *spec, uint64_t seed,
                                    lap_tensor *out, lap_fault *fault);

#endif
