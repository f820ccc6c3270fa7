/* SPDX-License-Identifier: Apache-2.0
 * dim.h - extents: integers that may be symbolic, in one canonical form.
 *
 * An extent is a polynomial with rational coefficients over atoms: symbols (solved from the shapes
 * of inputs and weights), floor quotients, minima, maxima, and trunc(c * d) in double precision.
 * Canonical and hash-consed: two extents are provably equal when their ids are equal. Extents are
 * never negative where they size an axis; intermediate values may be. A symbolic divisor is taken to
 * be positive. What overflows becomes one extent, "overflow()", without value, bounds or relations. */
#ifndef LAP_IR_DIM_H
#define LAP_IR_DIM_H

#include "ir/base/ctx.h"

typedef struct lap_dim {
    uint32_t ix;
} lap_dim; /* 0 is the constant 0 */

typedef enum lap_rel { LAP_REL_EQ, LAP_REL_NE, LAP_REL_LT, LAP_REL_LE, LAP_REL_GT, LAP_REL_GE } lap_rel;
bool lap_rel_holds(int64_t a, lap_rel rel, int64_t b);
typedef enum lap_truth { LAP_NO, LAP_YES, LAP_UNKNOWN } lap_truth;

lap_dims *lap_dims_new(lap_ctx *ctx); /* made by lap_ctx_new */

lap_dim lap_dim_const(lap_ctx *ctx, int64_t value);
lap_dim lap_dim_symbol(lap_ctx *ctx, lap_name name);
lap_dim lap_dim_add(lap_ctx *ctx, lap_dim a, lap_dim b);
lap_dim lap_dim_sub(lap_ctx *ctx, lap_dim a, lap_dim b);
lap_dim lap_dim_mul(lap_ctx *ctx, lap_dim a, lap_dim b);
/* Exact quotient: the caller must record that b divides a (graph checks) unless it is proved.
 * Returns false when both are constants and b does not divide a, or b is 0. */
LAP_MUST_CHECK bool lap_dim_div(lap_ctx *ctx, lap_dim a, lap_dim b, lap_dim *out);
lap_dim lap_dim_floordiv(lap_ctx *ctx, lap_dim a, lap_dim b); /* 0 when b is 0 */
/* The evident whole part q of a / b: a = q*b + rest; rest is a where nothing divides evidently. */
lap_dim lap_dim_whole(lap_ctx *ctx, lap_dim a, lap_dim b, lap_dim *out_rest);
lap_dim lap_dim_ceildiv(lap_ctx *ctx, lap_dim a, lap_dim b);
lap_dim lap_dim_mod(lap_ctx *ctx, lap_dim a, lap_dim b);
lap_dim lap_dim_min(lap_ctx *ctx, lap_dim a, lap_dim b);
lap_dim lap_dim_max(lap_ctx *ctx, lap_dim a, lap_dim b);
lap_dim lap_dim_trunc(lap_ctx *ctx, double c, lap_dim a); /* trunc(c * a) in double */

/* What overflowed: it has no value. */
#define LAP_DIM_OVERFLOW ((lap_dim){1})
static inline bool lap_dim_same(lap_dim a, lap_dim b) { return a.ix == b.ix; }
bool lap_dim_is_const(const lap_ctx *ctx, lap_dim d, int64_t *out_value);
/* Decides from canonical forms and from the range of symbols (>= 0); UNKNOWN is always allowed. */
lap_truth lap_dim_compare(lap_ctx *ctx, lap_dim a, lap_rel rel, lap_dim b);
/* Bounds that hold for all symbol values >= 0; false: unbounded on that side. */
bool lap_dim_lower(const lap_ctx *ctx, lap_dim d, int64_t *out_lo);
bool lap_dim_upper(const lap_ctx *ctx, lap_dim d, int64_t *out_hi);

/* Text such as "2*H//s+1"; parses back to the same id. Lives in the arena. */
const char *lap_dim_show(lap_ctx *ctx, lap_dim d);
/* Reads one extent; on error *out_error says what was expected (no place). */
LAP_MUST_CHECK bool lap_dim_parse(lap_ctx *ctx, const char *text, size_t length, lap_dim *out,
                                  const char **out_error);

/* Value of d where value(user, symbol, &v) gives the symbols; false on an unknown symbol or
 * overflow of 64 bits. Exact divisions that do not come out also give false. */
typedef bool lap_dim_value(void *user, lap_name symbol, int64_t *out);
LAP_MUST_CHECK bool lap_dim_eval(lap_ctx *ctx, lap_dim d, lap_dim_value *value, void *user, int64_t *out);

/* Postfix code of d for the runtime (runtime/program.h, lap_dim_op); `symbol(user, name)` numbers
 * the symbols. Words are appended through `put`. */
void lap_dim_encode(lap_ctx *ctx, lap_dim d, uint32_t (*symbol)(void *user, lap_name name),
                    void (*put)(void *user, int64_t word), void *user);
/* Calls fn for each symbol of d once. */
void lap_dim_symbols(lap_ctx *ctx, lap_dim d, void (*fn)(void *user, lap_name symbol), void *user);

#endif
