/* SPDX-License-Identifier: Apache-2.0
 * coord.h - integer expressions of a kernel under construction, kept in quasi-affine normal form.
 *
 * Index maps compose here, so that a view of a view of a tensor ends as one flat address. A coord
 * becomes kernel nodes only when it is needed (lap_coord_ref). */
#ifndef LAP_PASSES_COORD_H
#define LAP_PASSES_COORD_H

#include "ir/kernel.h"
#include "ir/quasi.h"

typedef struct lap_coord {
    uint32_t ix;
} lap_coord;
typedef struct lap_coords lap_coords;

lap_coords *lap_coords_new(lap_graph *kernel);

lap_coord lap_coord_const(lap_coords *c, int64_t value);
lap_coord lap_coord_dim(lap_coords *c, lap_dim d);
/* A loop index, or another value: 0 <= value < extent. */
lap_coord lap_coord_var(lap_coords *c, lap_ref index, lap_dim extent);
/* A variable of its own that stands for a coordinate in questions (affine? clamped? a range?) and is never
 * emitted. */
lap_coord lap_coord_stand_in(lap_coords *c, lap_dim extent);
/* Any other integer value of the kernel. */
lap_coord lap_coord_opaque(lap_coords *c, lap_ref value);

lap_coord lap_coord_add(lap_coords *c, lap_coord a, lap_coord b);
lap_coord lap_coord_sub(lap_coords *c, lap_coord a, lap_coord b);
lap_coord lap_coord_mul(lap_coords *c, lap_coord a, lap_coord b);
lap_coord lap_coord_floordiv(lap_coords *c, lap_coord a, lap_coord b);
lap_coord lap_coord_mod(lap_coords *c, lap_coord a, lap_coord b);
lap_coord lap_coord_min(lap_coords *c, lap_coord a, lap_coord b);
lap_coord lap_coord_max(lap_coords *c, lap_coord a, lap_coord b);
/* A function of two integers that the normal form knows; false for any other. */
bool lap_coord_map(lap_coords *c, lap_fn fn, lap_coord a, lap_coord b, lap_coord *out_value);
/* v brought into 0 .. most. */
lap_coord lap_coord_clamp(lap_coords *c, lap_coord v, lap_coord most);
lap_truth lap_coord_compare(lap_coords *c, lap_coord a, lap_rel rel, lap_coord b);
/* The operation of the simplifier that a scalar function of two integers is. */
bool lap_quasi_op_of(lap_fn fn, lap_quasi_op *out);
static inline bool lap_coord_same(lap_coord a, lap_coord b) { return a.ix == b.ix; }

/* Whether floordiv and mod may take this divisor: an extent or a positive constant. */
bool lap_coord_divides(lap_coords *c, lap_coord divisor);
/* Whether e = stride * var + rest with rest free of var. */
bool lap_coord_affine(lap_coords *c, lap_coord e, lap_coord var, lap_dim *out_stride, lap_coord *out_rest);
/* Whether e = min(max(run * (var // run) + shift, lo), hi), the others free of var; see lap_quasi_clamped. */
typedef struct lap_coord_window {
    lap_coord shift, lo, hi;
    int64_t run;
    bool has_lo, has_hi;
} lap_coord_window;
bool lap_coord_clamped(lap_coords *c, lap_coord e, lap_coord var, lap_coord_window *out);
bool lap_coord_is_const(lap_coords *c, lap_coord e, int64_t *out);
/* Kernel nodes that compute e. */
lap_ref lap_coord_ref(lap_coords *c, lap_coord e);

#endif
