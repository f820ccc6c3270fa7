/* SPDX-License-Identifier: Apache-2.0
 * foreign.h - what a `foreign` node says of its operands, for all who carry it out. */
#ifndef LAP_IR_FOREIGN_H
#define LAP_IR_FOREIGN_H

#include "ir/graph.h"

/* Memory order in which the operation sees operand i. */
lap_names lap_foreign_order(const lap_graph *g, const lap_node *foreign, uint32_t i);
/* A node that reads each result, LAP_NONE where there is none. An error when two nodes give one
 * result different types. */
LAP_MUST_CHECK bool lap_foreign_results(lap_graph *g, lap_ref foreign, lap_ref *out);

#endif
