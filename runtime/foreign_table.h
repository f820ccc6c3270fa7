/* SPDX-License-Identifier: Apache-2.0
 * foreign_table.h - the foreign operations that this process has: checks, look-up, calls. */
#ifndef LAP_RUNTIME_FOREIGN_TABLE_H
#define LAP_RUNTIME_FOREIGN_TABLE_H

#include "runtime/foreign.h"
#include "runtime/tensor.h"

enum { LAP_FOREIGN_MOST = 1024 };

typedef struct lap_foreign_table {
    uint32_t n;
    const lap_foreign_op *ops[LAP_FOREIGN_MOST];
} lap_foreign_table;

/* Adds the operations of one library, named `from` in messages: all of them or none. */
bool lap_foreign_add(lap_foreign_table *table, const lap_foreign_op *const *ops, const char *from,
                     lap_fault *fault);
/* The operation for a use with so many operands and results; `table` may be NULL. An operation that
 * was not loaded is LAP_NO_DEVICE. */
const lap_foreign_op *lap_foreign_find(const lap_foreign_table *table, const char *name, uint32_t n_inputs,
                                       uint32_t n_outputs, const char *place, lap_fault *fault);
/* Type by which results are handed over. */
lap_dtype lap_foreign_storage(lap_dtype dtype);
/* Asks `shape`, then calls `fn` of the operation (its reference or cpu). */
bool lap_foreign_call(const lap_foreign_op *op, lap_foreign_fn *fn, const lap_foreign_tensor *inputs,
                      const lap_foreign_tensor *outputs, const char *place, lap_fault *fault);

#endif
