/* SPDX-License-Identifier: Apache-2.0
 * infer_rules.h - one type rule per op, for infer.c alone. */
#ifndef LAP_IR_INFER_RULES_H
#define LAP_IR_INFER_RULES_H

#include "ir/infer.h"

typedef bool lap_infer_rule(lap_graph *g, const lap_emit_args *e, lap_type *out);

lap_infer_rule lap_infer_at, lap_infer_scatter, lap_infer_rename, lap_infer_topk;
lap_infer_rule lap_infer_attend;
lap_infer_rule lap_infer_scan, lap_infer_loop, lap_infer_branch, lap_infer_call, lap_infer_custom;
lap_infer_rule lap_infer_for, lap_infer_if, lap_infer_load, lap_infer_store, lap_infer_fail, lap_infer_mma,
    lap_infer_turn, lap_infer_sort, lap_infer_buffer;

/* Results of ops with several; they report an unknown result. */
typedef bool lap_infer_result_rule(lap_graph *g, const lap_node *multi, const char *which, lap_type *out);
lap_infer_result_rule lap_infer_attend_result, lap_infer_topk_result, lap_infer_scan_result,
    lap_infer_loop_result, lap_infer_branch_result, lap_infer_call_result, lap_infer_for_result;

/* Reports "no result 'x'" and returns false. */
bool lap_infer_no_result(lap_graph *g, const lap_node *multi, const char *which);
/* Reports when `name` is not an axis of x. */
LAP_MUST_CHECK bool lap_infer_need(lap_graph *g, const lap_node *x, lap_name name);
/* Reports more axes than a value, or the parts of an operation together, may have. */
LAP_MUST_CHECK bool lap_infer_axes(lap_graph *g, lap_op op, uint32_t n);
/* Reports a name that stands twice in a list; `what` it names begins the message. */
LAP_MUST_CHECK bool lap_infer_unique(lap_graph *g, const char *what, lap_names names);
/* The axis's count, if it has one, is a value of integers. */
LAP_MUST_CHECK bool lap_infer_count(lap_graph *g, const lap_axis *a);
/* States that two sizes of the axis `name` are equal: proved, refused, or a check. */
LAP_MUST_CHECK bool lap_infer_same_size(lap_graph *g, lap_name name, lap_dim a, lap_dim b);
/* Every axis of `have` must be one of `want`, of the same size; `what` begins the message. */
LAP_MUST_CHECK bool lap_infer_fits(lap_graph *g, const char *what, const lap_type *have,
                                   const lap_type *want);
/* A constant of the dtype's compute type: an int fits a float; a float must be integral to fit an int. */
LAP_MUST_CHECK bool lap_infer_scalar(lap_graph *g, const char *what, lap_dtype dtype, lap_scalar *value);

#endif
