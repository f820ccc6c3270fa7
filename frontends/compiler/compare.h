/* SPDX-License-Identifier: Apache-2.0
 * compare.h - whether a tensor is what was expected. */
#ifndef LAP_FRONTENDS_COMPILER_COMPARE_H
#define LAP_FRONTENDS_COMPILER_COMPARE_H

#include "frontends/compiler/tensors.h"

typedef struct lap_tolerance {
    double rtol, atol;
} lap_tolerance;

/* Shapes equal; integers equal; floats |got - want| <= atol + rtol * |want| elementwise; NaN never
 * passes. NULL when so, else one line that says what differs, in the arena. */
const char *lap_tensor_difference(lap_ctx *ctx, const char *name, const lap_tensor *got,
                                  const lap_tensor *want, lap_tolerance tolerance);

#endif
