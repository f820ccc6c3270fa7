/* SPDX-License-Identifier: Apache-2.0
 * eval.h - the reference evaluator: slow, obvious, in double precision; the oracle of every test.
 *
 * Shares no numeric code with the backends. A read outside without a fill poisons the element; a
 * poisoned element that reaches an output, a decision or an index is an error at the reading line. */
#ifndef LAP_IR_EVAL_H
#define LAP_IR_EVAL_H

#include "ir/graph.h"
#include "runtime/foreign_table.h"
#include "runtime/tensor.h"

typedef struct lap_eval_io {
    uint32_t n;
    const char *const *names;
    const lap_tensor *tensors;
} lap_eval_io;

typedef struct lap_eval_result {
    uint32_t n;
    const char **names;
    lap_tensor *tensors;
} lap_eval_result;

/* Runs the graph. Results are f32, i64 or bool (or the storage type), row-major in the output
 * layouts, ragged tails 0, crops applied; they live in the context's arena. Mistakes (missing
 * tensors, shapes that do not solve, failed checks and requirements, reads outside) are reported to
 * the context. */
LAP_MUST_CHECK bool lap_eval(lap_graph *g, const lap_eval_io *inputs, const lap_eval_io *weights,
                             lap_eval_result *out);
/* The same with foreign operations, whose references are called. */
LAP_MUST_CHECK bool lap_eval_with(lap_graph *g, const lap_foreign_table *foreign, const lap_eval_io *inputs,
                                  const lap_eval_io *weights, lap_eval_result *out);
/* The values of `n` outputs that the graph need not have, and nothing else of it: no requirement is asked. */
LAP_MUST_CHECK bool lap_eval_values(lap_graph *g, uint32_t n, const lap_output *values,
                                    const lap_foreign_table *foreign, const lap_eval_io *inputs,
                                    const lap_eval_io *weights, lap_eval_result *out);

#endif
