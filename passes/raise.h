/* SPDX-License-Identifier: Apache-2.0
 * raise.h - attention written by hand becomes `attend`. */
#ifndef LAP_PASSES_RAISE_H
#define LAP_PASSES_RAISE_H

#include "passes/passes.h"

/* NULL: reported. */
lap_graph *lap_raise_attention(lap_graph *g, const lap_target *target, const lap_pass_options *options);

#endif
