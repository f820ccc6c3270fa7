/* SPDX-License-Identifier: Apache-2.0
 * window.h - reductions over windows that slide by one: stencils, depthwise convolutions, pools.
 *
 * In sum over k of f(x[p + d*k], w[k]) neighbours along p read the same elements. A kernel reads them once
 * into scratch, with what stands outside filled in, and then computes several neighbours together. */
#ifndef LAP_PASSES_WINDOW_H
#define LAP_PASSES_WINDOW_H

#include "passes/lower.h"

enum { LAP_WINDOW_PAIRS = 4, LAP_WINDOW_TAPS = 128 };

/* One window: the place axis p of the result and the tap axis k of the reduction. */
typedef struct lap_window_pair {
    lap_name p, k;
    int64_t taps, dilation;
    lap_dim extent; /* of p */
    bool is_filled; /* reads outside have a value */
} lap_window_pair;

typedef struct lap_windows {
    lap_ref reduce, source; /* the source is what is read at p + d*k */
    uint32_t n, n_taps;
    lap_window_pair pairs[LAP_WINDOW_PAIRS];
} lap_windows;

/* Whether the kernel of `node` computes one reduction over windows, and which (window.c). */
bool lap_windows_of(lap_lowering *l, lap_ref node, lap_windows *out);
/* Lowers such a node; false: it is none, or too small (lower_window.c). */
bool lap_lower_window(lap_lowering *l, lap_ref node, const lap_dest *dest);
/* The source at env, in the kernel that holds it in scratch. */
bool lap_window_pull(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref *out);

#endif
