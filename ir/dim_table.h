/* SPDX-License-Identifier: Apache-2.0
 * dim_table.h - how extents are stored; only the dim*.c files include it.
 *
 * An extent is a list of terms, falling in graded lexicographic order of their monomials (structural,
 * not by id, so that text does not depend on what was made before). Monomials are products of atoms
 * in atom order. All three are hash-consed. Extent 0 is zero and extent 1 is the one that stands for
 * whatever overflowed: it absorbs everything, has no bounds and no value. */
#ifndef LAP_IR_DIM_TABLE_H
#define LAP_IR_DIM_TABLE_H

#include "ir/base/idset.h"
#include "ir/dim.h"

typedef enum lap_atom_kind {
    LAP_ATOM_SYMBOL,
    LAP_ATOM_FLOOR,
    LAP_ATOM_EXACT,
    LAP_ATOM_MIN,
    LAP_ATOM_MAX,
    LAP_ATOM_TRUNC
} lap_atom_kind;

typedef struct lap_atom {
    lap_atom_kind kind;
    lap_name name;
    lap_dim a, b;
    double c;
} lap_atom;
typedef struct lap_factor {
    uint32_t atom, exp;
} lap_factor;
typedef struct lap_mono {
    uint32_t n, degree;
    const lap_factor *at;
} lap_mono; /* id 0: the empty product */
typedef struct lap_rat {
    int64_t num, den;
} lap_rat; /* lowest terms, den > 0, never INT64_MIN */
typedef struct lap_term {
    lap_rat c;
    uint32_t mono;
} lap_term;
typedef struct lap_bounds {
    bool has_lo, has_hi;
    int64_t lo, hi;
} lap_bounds;
typedef struct lap_poly {
    uint32_t n, weight; /* terms; nodes of the whole tree */
    const lap_term *at;
    int64_t den; /* common denominator */
    bool has_bounds;
    lap_bounds bounds;
} lap_poly;

struct lap_dims {
    lap_poly *polys;
    lap_mono *monos;
    lap_atom *atoms;
    size_t n_polys, n_monos, n_atoms, polys_capacity, monos_capacity, atoms_capacity;
    lap_idset poly_ids, mono_ids, atom_ids;
    uint32_t fuel, depth; /* what a question about bounds may still spend */
};

#define LAP_DIM_ZERO ((lap_dim){0})
static inline bool lap_dim_is_bad(lap_dim d) { return d.ix == 1; }

/* dim_rat.c: false when the result does not fit. */
bool lap_rat_make(__int128 num, __int128 den, lap_rat *out);
bool lap_rat_add(lap_rat a, lap_rat b, lap_rat *out);
bool lap_rat_mul(lap_rat a, lap_rat b, lap_rat *out);
int64_t lap_gcd(int64_t a, int64_t b);
int64_t lap_floor_quotient(int64_t a, int64_t b); /* b > 0 */

/* dim_mono.c */
uint32_t lap_atom_id(lap_ctx *ctx, const lap_atom *atom);
uint32_t lap_mono_of_atom(lap_ctx *ctx, uint32_t atom);
bool lap_mono_mul(lap_ctx *ctx, uint32_t a, uint32_t b, uint32_t *out); /* false: degree too high */
bool lap_mono_div(lap_ctx *ctx, uint32_t a, uint32_t b, uint32_t *out); /* false: b does not divide a */
int lap_mono_order(const lap_ctx *ctx, uint32_t a, uint32_t b);         /* < 0: a stands first */
int lap_atom_order(const lap_ctx *ctx, uint32_t a, uint32_t b);
int lap_dim_order(const lap_ctx *ctx, lap_dim a, lap_dim b);

/* dim.c */
lap_poly lap_poly_of(const lap_ctx *ctx, lap_dim d);
lap_dim lap_dim_of_terms(lap_ctx *ctx, const lap_term *terms, uint32_t n); /* in order, no zeros */
lap_dim lap_dim_of_atom(lap_ctx *ctx, const lap_atom *atom);
lap_dim lap_dim_scale(lap_ctx *ctx, lap_dim d, lap_rat c);
lap_dim lap_dim_term_mul(lap_ctx *ctx, lap_dim d, lap_term t);
/* d = q * atom + rest with q and rest free of the atom; false when its degree in d is not 1. */
bool lap_dim_split(lap_ctx *ctx, lap_dim d, uint32_t atom, lap_dim *out_q, lap_dim *out_rest);
/* Long division by leading terms: a = q * b + r. False when a coefficient overflows. */
bool lap_dim_long_div(lap_ctx *ctx, lap_dim a, lap_dim b, lap_dim *out_q, lap_dim *out_r);
/* dim_div.c */
bool lap_dim_trunc_value(double c, int64_t x, int64_t *out);

#endif
