/* SPDX-License-Identifier: Apache-2.0
 * extent.h - values of an image's extents, and symbols from the shapes of tensors. */
#ifndef LAP_RUNTIME_EXTENT_H
#define LAP_RUNTIME_EXTENT_H

#include "runtime/image.h"

typedef enum lap_extent_state {
    LAP_EXTENT_NONE, /* not computed */
    LAP_EXTENT_OK,
    LAP_EXTENT_UNKNOWN, /* needs a symbol that has no value */
    LAP_EXTENT_INEXACT, /* a quotient that does not come out */
    LAP_EXTENT_OVERFLOW
} lap_extent_state;

typedef struct lap_symbols {
    int64_t *value;
    bool *is_known;
} lap_symbols; /* by symbol number */

lap_extent_state lap_extent_eval(const lap_image_dim *dim, const lap_symbols *symbols, int64_t *out);
/* What a state means, for messages: "is not a whole number", ... */
const char *lap_extent_trouble(lap_extent_state state);

/* One memory axis of a tensor that was given: value of dims[dim] = actual. */
typedef struct lap_equation {
    uint32_t dim;
    int64_t actual;
    const lap_image_leaf *leaf;
} lap_equation;

/* What to do with a symbol that has several values which fit (n // 2 = 3): leave it unknown, or take
 * the least positive one, as the language says. */
typedef enum lap_ambiguity { LAP_LEAVE_OPEN, LAP_TAKE_LEAST } lap_ambiguity;

/* Finds values of symbols from equations with one unknown until none is left, then checks all
 * equations without unknowns. What stays unknown is no error here. */
bool lap_extent_solve(const lap_image *image, const lap_equation *equations, size_t n, lap_symbols *symbols,
                      lap_ambiguity ambiguity, lap_fault *fault);

#endif
