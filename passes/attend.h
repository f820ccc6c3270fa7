/* SPDX-License-Identifier: Apache-2.0
 * attend.h - what the lowerings of attend share. */
#ifndef LAP_PASSES_ATTEND_H
#define LAP_PASSES_ATTEND_H

#include "passes/contract.h"

/* The streaming lowering: tiles of queries against blocks of keys, nothing of their product stored.
 * False where the attend does not have its shape; nothing is emitted then. */
bool lap_attend_tiles(lap_lowering *l, lap_ref attend);
/* Whether it takes this attend with this contraction as its score's; the plan remembers it. */
bool lap_attend_tiles_take(lap_lowering *l, lap_ref attend, lap_ref contraction);
/* Windows of a grid (near.h): shifted vectors. False where the attend does not have that shape. */
bool lap_attend_near(lap_lowering *l, lap_ref attend);

/* A block of rows and keys of an attend, as its predicate sees them: `row` and `key` are the variables
 * (stand-ins) counted from the block's start, the environment of the predicate is written in them. */
typedef struct lap_skip {
    lap_kctx *k;
    lap_coord row, key, n_rows, n_keys;
} lap_skip;
/* A condition that holds wherever the block has a pair that `where` admits; NONE: always. */
lap_ref lap_attend_possible(const lap_skip *s, lap_ref where, const lap_coord *env);

#endif
