/* SPDX-License-Identifier: Apache-2.0
 * random_maker.h - what the parts of the random graph maker share.
 *
 * The name of an axis stands for one extent and one count, so that values can be combined freely. */
#ifndef LAP_TESTS_SUPPORT_RANDOM_MAKER_H
#define LAP_TESTS_SUPPORT_RANDOM_MAKER_H

#include "ir/build.h"

#define RANDOM_MOST_AXES     48
#define RANDOM_MOST_VALUES   512
#define RANDOM_MOST_ELEMENTS 600 /* of one value */

typedef uint64_t random_axes; /* a bit per axis of the maker */

typedef struct random_axis {
    lap_name name;
    lap_dim dim;
    int64_t size;
    lap_ref count;     /* where it is ragged */
    int64_t least;     /* the smallest count */
    random_axes needs; /* axes that the count varies over */
} random_axis;

typedef struct random_value {
    lap_ref ref;
    lap_dtype kind; /* F32, I64 or BOOL */
    double lo, hi;
    double err;    /* bound of the difference between single and double precision */
    int frac;      /* binary digits after the point where exact, else -1 */
    bool is_final; /* may be infinite, or is too large: only good as an output */
    random_axes axes;
} random_value;

typedef struct random_maker {
    lap_ctx *ctx;
    lap_graph *g;
    uint64_t state;
    uint32_t n_axes, n_values, n_leaves, n_names, n_symbols, depth;
    random_axis axis[RANDOM_MOST_AXES];
    random_value value[RANDOM_MOST_VALUES];
    lap_name introduced[RANDOM_MOST_AXES]; /* symbols that an axis alone decides */
    uint32_t n_introduced;
} random_maker;

/* ---- random_graph.c */
uint64_t random_next(random_maker *m);
int64_t random_int(random_maker *m, int64_t lo, int64_t hi); /* both included */
bool random_chance(random_maker *m, int percent);
lap_name random_name(random_maker *m, const char *stem);
/* A new axis; the extent may be symbolic. */
uint32_t random_new_axis(random_maker *m, const char *stem, lap_dim dim, int64_t size);
uint32_t random_any_axis(random_maker *m);                     /* a plain one, new or not */
int64_t random_count(const random_maker *m, random_axes axes); /* elements */
lap_names random_names_of(random_maker *m, random_axes axes);
random_axes random_axes_of(random_maker *m, lap_ref ref);
/* All axes of `within` whose counts vary over one of `axes`, and `axes`: what must go when they go. */
random_axes random_closed(const random_maker *m, random_axes axes, random_axes within);
random_axes random_ragged(const random_maker *m, random_axes axes); /* those with a count */
/* A random nonempty subset, or 0 of 0. */
random_axes random_subset(random_maker *m, random_axes axes);
/* Takes a value into the list; v.ref none: nothing. Returns it with its axes filled in. */
random_value random_add(random_maker *m, random_value v);
/* A value of this kind, recent ones rather than old ones; made where there is none. */
random_value random_pick(random_maker *m, lap_dtype kind);
random_value random_pick_exact(random_maker *m);
/* One whose axes are among these. */
random_value random_pick_within(random_maker *m, lap_dtype kind, random_axes axes);
/* Fresh leaves over these axes. */
random_value random_float_leaf(random_maker *m, random_axes axes, double lo, double hi, bool exact);
random_value random_int_leaf(random_maker *m, random_axes axes, int64_t lo, int64_t hi);

/* ---- random_map.c */
random_value random_map1(random_maker *m, lap_fn fn, random_value a);
random_value random_map2(random_maker *m, lap_fn fn, random_value a, random_value b);
random_value random_select(random_maker *m, random_value c, random_value a, random_value b);
random_value random_const_f(random_maker *m, double v);
random_value random_const_i(random_maker *m, int64_t v);
random_value random_clamp(random_maker *m, random_value v, double lo, double hi);
/* Integers brought into [lo, hi] by a remainder or a clamp. */
random_value random_into(random_maker *m, random_value v, int64_t lo, int64_t hi);
/* An integer or a condition over some of these axes. */
random_value random_index_within(random_maker *m, random_axes axes, int64_t lo, int64_t hi);
random_value random_condition(random_maker *m, random_axes axes);
double random_size(random_value v); /* greatest magnitude */
/* What f32 arithmetic does to a value computed exactly up to now. */
random_value random_rounded(random_value v);

/* ---- random_reduce.c */
random_value random_fold(random_maker *m, lap_red red, random_value v, random_axes over);

/* ---- productions: each adds a value or gives up */
typedef void random_rule(random_maker *m);
random_rule random_make_unary, random_make_binary, random_make_compare, random_make_logic, random_make_select,
    random_make_cast, random_make_integer;                        /* random_map.c */
random_rule random_make_reduce, random_make_dot, random_make_arg; /* random_reduce.c */
random_rule random_make_at, random_make_shift, random_make_window, random_make_masked_read,
    random_make_scatter, random_make_topk, random_make_rename, random_make_ragged,
    random_make_routed;                                               /* random_index.c */
random_rule random_make_attend, random_make_near, random_make_listed; /* random_attend.c */
random_rule random_make_soft;                                         /* random_soft.c */
random_rule random_make_scan, random_make_loop, random_make_branch, random_make_call, random_make_custom,
    random_make_require; /* random_region.c */
/* One production, chosen at random; without regions where depth is spent. */
void random_step(random_maker *m);

#endif
