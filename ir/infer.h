/* SPDX-License-Identifier: Apache-2.0
 * infer.h - type rules: the element type and axes of a node from its operands and attributes.
 *
 * Axes with one name are one axis. Sizes that are provably equal unify; provably different ones are
 * an error that names the axis and hints at `as`; the rest becomes a check of the graph. A count on
 * either side stays; two different counts are an error. */
#ifndef LAP_IR_INFER_H
#define LAP_IR_INFER_H

#include "ir/build.h"

/* Type of the node that `e` would make; reports and returns false on a mistake. For ops with
 * several results the type is LAP_NO_DTYPE without axes. */
LAP_MUST_CHECK bool lap_infer(lap_graph *g, const lap_emit_args *e, lap_type *out);
/* Type of result `which` of a node with several. */
LAP_MUST_CHECK bool lap_infer_result(lap_graph *g, lap_ref multi, lap_name which, lap_type *out);
/* Union of the axes of two types, with the checks above. */
LAP_MUST_CHECK bool lap_axes_union(lap_graph *g, uint32_t na, const lap_axis *a, uint32_t nb,
                                   const lap_axis *b, uint32_t *out_n, const lap_axis **out);

#endif
