/* SPDX-License-Identifier: Apache-2.0
 * soft_mask.h - the predicate that a mask inside a score says. */
#ifndef LAP_PASSES_SOFT_MASK_H
#define LAP_PASSES_SOFT_MASK_H

#include "ir/build.h"

/* f32 numbers beyond are 8 apart: no score with a meaning is one, and its weight beside any other is 0. */
#define LAP_SOFT_LOW -1e8

typedef struct lap_soft_mask {
    lap_ref score; /* without the masks; none where no attend gives what the form does */
    lap_ref where; /* the keys that they leave, or none where there is no mask */
} lap_soft_mask;

/* What the form gives a row whose scores are all too low for any weight, yet finite. */
typedef enum lap_low_rows {
    LAP_LOW_EVEN,    /* what differences between them say: as an attend over such scores does */
    LAP_LOW_NAN,     /* as where they are -inf */
    LAP_LOW_UNKNOWN, /* something else */
} lap_low_rows;

/* Masks are scores of -inf, chosen or added, and numbers too low for any weight (-1e9) where rows of
 * nothing but such numbers are as those of -inf, or every row provably keeps a key. */
lap_soft_mask lap_soft_mask_split(lap_graph *g, lap_ref score, lap_names keys, lap_low_rows low);

#endif
