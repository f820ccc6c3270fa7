/* SPDX-License-Identifier: Apache-2.0
 * attend_few.h - attends in which few queries share their keys (decoding): its form, and what the files
 * of its kernels share.
 *
 *   score = edits of sum over depth of Q K, Q free of the keys, K and the values free of the rows
 *
 * Rows are the axes of the result that neither keys nor values have: queries, and the heads of a group.
 * Batch are the others. */
#ifndef LAP_PASSES_ATTEND_FEW_H
#define LAP_PASSES_ATTEND_FEW_H

#include "passes/contract.h"

typedef struct lap_few {
    const lap_part *part;
    lap_ref contraction, score, where, after, value; /* where, after: none, or their nodes */
    lap_factors q, k, v;
    lap_factors k_outer, v_outer;                 /* factors of keys free of depth; of values free of wide */
    lap_axis_list batch, rows, keys, depth, wide; /* the axis that is fastest in memory stands last */
    lap_dim n_rows, n_keys, n_depth, n_wide;
    bool is_always; /* there are never more rows than the form takes */
    int64_t most;   /* rows that a kernel has room for */
} lap_few;

/* Whether the attend has this form, its score being elementwise around `contraction`. */
bool lap_few_find(lap_lowering *l, lap_ref attend, lap_ref contraction, lap_few *out);

/* Whether the count of this axis, the only key axis, is the same for all rows of a batch. */
bool lap_few_counts_by_batch(lap_lowering *l, const lap_few *few, const lap_axis *key);

/* One kernel of such an attend: a context, and the coordinates of all axes in it. */
typedef struct lap_few_kernel {
    lap_lowering *l;
    lap_kctx *k;
    lap_ref op;
    const lap_node *n;
    lap_norm norm;
    const lap_few *few;
    lap_env_list env;
    lap_coord *coords; /* env.coords */
} lap_few_kernel;

lap_few_kernel lap_few_kernel_new(lap_lowering *l, lap_ref attend, const lap_few *few);
/* Sets the coordinates of merged axes from a flat one. */
void lap_few_set(lap_few_kernel *j, lap_axis_list axes, lap_coord flat);
const lap_coord *lap_few_env(lap_few_kernel *j, lap_ref node);
/* Writes what the attend results in for the row whose coordinates are set. acc[at + e]: weighed sums. */
void lap_few_finish(lap_few_kernel *j, lap_ref max, lap_ref sum, lap_ref acc, lap_coord at);

/* Results of parts of the keys, joined in order (attend_merge.c). Buffers of f32: [batch][part][row] each,
 * and [wide] in `acc`. */
typedef struct lap_few_parts {
    uint32_t max, sum, acc;
    lap_dim n_parts, n_rows;
} lap_few_parts;
lap_few_parts lap_few_parts_new(lap_lowering *l, const lap_few *few, lap_dim n_parts);
void lap_few_merge(lap_lowering *l, lap_ref attend, const lap_few *few, const lap_few_parts *parts);

/* exp(x - base), the base of rows without keys being 0. */
lap_ref lap_few_base(lap_few_kernel *j, lap_ref max);
lap_ref lap_few_exp(lap_few_kernel *j, lap_ref x, lap_ref base);

#endif
