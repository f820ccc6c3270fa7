/* SPDX-License-Identifier: Apache-2.0
 * near.h - attends whose keys are a small window of each query on a grid: key = place(query, w) along
 * each axis, with place = r + step * (lo(p) + w) for the query r + step * p, r < step, and
 * lo(p) = min(max(run * (p // run) - before, first), last). Queries of one residue r see keys of the same
 * residue. Windows of runs (strides) stand still while p moves on: they lie in windows that move, of
 * count + run - 1 places. */
#ifndef LAP_PASSES_NEAR_H
#define LAP_PASSES_NEAR_H

#include "passes/contract.h"

enum { LAP_NEAR_AXES = 3 };

typedef struct lap_near_axis {
    lap_name grid, key;
    lap_ref place;
    uint32_t number;          /* among the axes */
    lap_dim size;             /* queries along the axis */
    int64_t step, count, run; /* distance of keys, keys of a window, queries of a run */
    int64_t places, back;     /* of the window that moves, and those before the query */
} lap_near_axis;

typedef struct lap_near {
    const lap_part *part;
    lap_ref contraction, score, where, q, k, v; /* where: none, or its node */
    lap_names over;
    uint32_t n;
    lap_near_axis axis[LAP_NEAR_AXES]; /* as the keys are given */
    lap_axis_list batch, depth, wide;  /* other rows; summed axes; axes of the values alone */
    bool has_runs;
    bool edits_by_key; /* the score or the mask depends on the key, not only on the product */
} lap_near;

/* Whether the attend has this form, its score being elementwise around `contraction`. */
bool lap_near_find(lap_lowering *l, lap_ref attend, lap_ref contraction, lap_near *out);

/* At residue r: lo(p), and the window that moves as a clamp of p (near.axis[a].back apart). */
lap_coord lap_near_first(lap_kctx *k, const lap_near_axis *a, lap_coord p, lap_coord r);
bool lap_near_window(lap_kctx *k, const lap_near_axis *a, lap_coord r, lap_coord_window *out);

#endif
