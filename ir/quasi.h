/* SPDX-License-Identifier: Apache-2.0
 * quasi.h - the simplifier: quasi-affine integer expressions in one normal form, with ranges.
 *
 * An expression is a sum of extents times atoms, plus an extent. An atom is a leaf (a loop variable
 * with a range, or any other integer value), floor(e / e), min, max, or a product of two expressions
 * that both have atoms. e % k is e - k*floor(e / k), so k*(e//k) + e%k is e by itself. Expressions are
 * hash-consed: equal ids are equal values. What may be dropped is dropped when an expression is
 * made, as far as ranges and assumptions of that moment prove it. Divisors that are not constant are
 * taken to be positive; a constant 0 gives 0. Everything lives in the context's arena. */
#ifndef LAP_IR_QUASI_H
#define LAP_IR_QUASI_H

#include "ir/dim.h"

typedef struct lap_quasi lap_quasi;
typedef struct lap_qx {
    uint32_t ix;
} lap_qx; /* 0 is the constant 0 */

lap_quasi *lap_quasi_new(lap_ctx *ctx);

lap_qx lap_quasi_const(lap_quasi *q, int64_t value);
lap_qx lap_quasi_dim(lap_quasi *q, lap_dim d);
/* Leaves. `id` is the caller's, and one id keeps the range that it was first given. Sums are emitted
 * in rising order of ids, so give inner loops higher ids. */
lap_qx lap_quasi_var(lap_quasi *q, uint32_t id, lap_dim extent); /* 0 <= v < extent */
lap_qx lap_quasi_opaque(lap_quasi *q, uint32_t id);
lap_qx lap_quasi_opaque_in(lap_quasi *q, uint32_t id, lap_dim lo, lap_dim end); /* lo <= v < end */

lap_qx lap_quasi_add(lap_quasi *q, lap_qx a, lap_qx b);
lap_qx lap_quasi_sub(lap_quasi *q, lap_qx a, lap_qx b);
lap_qx lap_quasi_neg(lap_quasi *q, lap_qx a);
lap_qx lap_quasi_mul(lap_quasi *q, lap_qx a, lap_qx b);
lap_qx lap_quasi_scale(lap_quasi *q, lap_qx a, lap_dim by);
lap_qx lap_quasi_floordiv(lap_quasi *q, lap_qx a, lap_qx b);
lap_qx lap_quasi_mod(lap_quasi *q, lap_qx a, lap_qx b);
lap_qx lap_quasi_min(lap_quasi *q, lap_qx a, lap_qx b);
lap_qx lap_quasi_max(lap_quasi *q, lap_qx a, lap_qx b);

typedef enum lap_quasi_op {
    LAP_QUASI_ADD,
    LAP_QUASI_SUB,
    LAP_QUASI_MUL,
    LAP_QUASI_FLOORDIV,
    LAP_QUASI_MOD,
    LAP_QUASI_MIN,
    LAP_QUASI_MAX
} lap_quasi_op;
lap_qx lap_quasi_binary(lap_quasi *q, lap_quasi_op op, lap_qx a, lap_qx b);

static inline bool lap_quasi_same(lap_qx a, lap_qx b) { return a.ix == b.ix; }
/* Whether e has no atoms; its value then. */
bool lap_quasi_is_dim(const lap_quasi *q, lap_qx e, lap_dim *out);
bool lap_quasi_is_const(const lap_quasi *q, lap_qx e, int64_t *out);
bool lap_quasi_uses(lap_quasi *q, lap_qx e, uint32_t id);
/* Calls fn for each leaf of e once. */
void lap_quasi_leaves(lap_quasi *q, lap_qx e, void (*fn)(void *user, uint32_t id), void *user);

/* ---- what is known ---- */

lap_truth lap_quasi_compare(lap_quasi *q, lap_qx a, lap_rel rel, lap_qx b);
/* Bounds that hold at all points (inclusive); false: none found. */
bool lap_quasi_lower(lap_quasi *q, lap_qx e, lap_dim *out_lo);
bool lap_quasi_upper(lap_quasi *q, lap_qx e, lap_dim *out_hi);
/* Scopes of assumptions: from `assume` to the `release` of an earlier mark the relation holds, and
 * comparisons and new expressions rely on it. An expression made inside is only equal to itself
 * where the assumptions hold. Use `simplify` for one that was made before. */
size_t lap_quasi_mark(const lap_quasi *q);
void lap_quasi_assume(lap_quasi *q, lap_qx a, lap_rel rel, lap_qx b);
void lap_quasi_release(lap_quasi *q, size_t mark);
lap_qx lap_quasi_simplify(lap_quasi *q, lap_qx e);

/* ---- taking expressions apart ---- */

/* e with leaf `id` replaced. */
lap_qx lap_quasi_subst(lap_quasi *q, lap_qx e, uint32_t id, lap_qx by);
/* Whether e = stride * leaf + rest with rest free of the leaf (stride 0 when e is). */
bool lap_quasi_affine(lap_quasi *q, lap_qx e, uint32_t id, lap_dim *out_stride, lap_qx *out_rest);
bool lap_quasi_stride(lap_quasi *q, lap_qx e, uint32_t id, lap_dim *out_stride);
/* Whether e = min(max(run * (leaf // run) + shift, lo), hi), the others free of the leaf: a window that stops
 * at borders, and stands still for runs of the leaf (1: for none). A bound may be absent; hi wins where the
 * two cross. */
typedef struct lap_quasi_window {
    lap_qx shift, lo, hi;
    int64_t run;
    bool has_lo, has_hi;
} lap_quasi_window;
bool lap_quasi_clamped(lap_quasi *q, lap_qx e, uint32_t id, lap_quasi_window *out);

/* Makes the caller's values (any 32-bit handles, say node ids) from the bottom up. */
typedef struct lap_quasi_visitor {
    void *user;
    uint32_t (*dim)(void *user, lap_dim d);
    uint32_t (*leaf)(void *user, uint32_t id);
    uint32_t (*binary)(void *user, lap_quasi_op op, uint32_t a, uint32_t b);
} lap_quasi_visitor;
/* Each distinct subexpression once per call; e - k*(e//k) comes out as a remainder. The visitor must not
 * use q. */
uint32_t lap_quasi_emit(lap_quasi *q, lap_qx e, const lap_quasi_visitor *visitor);

/* Text for dumps and tests; leaves are v<id>. */
const char *lap_quasi_show(lap_quasi *q, lap_qx e);

#endif
