/* SPDX-License-Identifier: Apache-2.0
 * lower_foreign.h - calls of C libraries' operations, as steps of the program. */
#ifndef LAP_PASSES_LOWER_FOREIGN_H
#define LAP_PASSES_LOWER_FOREIGN_H

#include "passes/lower.h"

/* Stores the operands in the order that the operation sees, makes room for its results, calls it. */
void lap_lower_foreign(lap_lowering *l, lap_ref foreign);

#endif
