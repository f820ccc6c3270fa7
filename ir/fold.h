/* SPDX-License-Identifier: Apache-2.0
 * fold.h - simplification at the moment a node is made.
 *
 * A rule returns a node of exactly the inferred type (element type, axes, counts), or LAP_NONE to
 * keep the node. Rules only shorten or canonicalise, so folding ends. On floats they are exact but
 * for the sign of zero and NaN; x * 0.0 is not 0. */
#ifndef LAP_IR_FOLD_H
#define LAP_IR_FOLD_H

#include "ir/build.h"

lap_ref lap_fold(lap_graph *g, const lap_emit_args *e, const lap_type *type);
lap_ref lap_fold_map(lap_graph *g, lap_fn fn, const lap_ref *args, const lap_type *type);
lap_ref lap_fold_at(lap_graph *g, const lap_emit_args *e, const lap_type *type);
lap_ref lap_fold_rename(lap_graph *g, const lap_emit_args *e, const lap_type *type);

/* The one number that a node is everywhere (const and full). */
bool lap_fold_splat(const lap_graph *g, lap_ref x, lap_scalar *out);
/* A number of the given type: `const`, or `full` over its axes. */
lap_ref lap_fold_number(lap_graph *g, lap_scalar value, const lap_type *type);
/* The extent that an integer const or dim node is. */
bool lap_fold_extent(const lap_graph *g, lap_ref x, lap_dim *out);
/* The relation between two extents that a condition is. */
bool lap_fold_relation(const lap_graph *g, lap_ref x, lap_dim *out_a, lap_rel *out_rel, lap_dim *out_b);
/* fn of numbers, in double precision or wrapping 64-bit integers; false where fn has no value here. */
bool lap_fold_scalar(lap_fn fn, lap_dtype dtype, const lap_scalar *args, lap_scalar *out);

#endif
