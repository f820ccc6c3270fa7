/* SPDX-License-Identifier: Apache-2.0
 * retype.h - the same graph with its f32 tensors stored in a narrower type. */
#ifndef LAP_FRONTENDS_COMPILER_RETYPE_H
#define LAP_FRONTENDS_COMPILER_RETYPE_H

#include "ir/graph.h"

/* f32 inputs and weights become `dtype` (F16 or BF16); arithmetic and outputs stay f32. */
lap_graph *lap_graph_retype(lap_graph *g, lap_dtype dtype);

#endif
