/* SPDX-License-Identifier: Apache-2.0
 * soft_mask.h - the predicate that a mask inside a score says. */
#ifndef LAP_PASSES_SOFT_MASK_H
#define LAP_PASSES_SOFT_MASK_H

#include "ir/build.h"

typedef struct lap_soft_mask {
    lap_ref score; /* without the masks */
    lap_ref where; /* the keys that they leave, or none where there is no mask */
} lap_soft_mask;

/* Masks are scores of -inf, chosen or added, and numbers too low for any weight (-1e9) where every row
 * provably keeps a key: a row of nothing but such numbers would have weights. */
lap_soft_mask lap_soft_mask_split(lap_graph *g, lap_ref score, lap_names keys);

#endif
