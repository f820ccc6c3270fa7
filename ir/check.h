/* SPDX-License-Identifier: Apache-2.0
 * check.h - a relation between extents, decided where sizes are known: when tensors are bound, and before
 * some are made up. */
#ifndef LAP_IR_CHECK_H
#define LAP_IR_CHECK_H

#include "ir/graph.h"

typedef enum lap_verdict { LAP_HOLDS, LAP_BROKEN, LAP_UNDECIDED } lap_verdict;

/* UNDECIDED when `value` does not know a symbol, or a division does not come out. */
lap_verdict lap_check_decide(lap_ctx *ctx, const lap_check *c, lap_dim_value *value, void *user);
/* The error of a check that does not hold, at its line with the sizes; false. */
bool lap_check_report(lap_ctx *ctx, const lap_check *c, lap_dim_value *value, void *user);

#endif
