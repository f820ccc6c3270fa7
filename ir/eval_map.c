/* SPDX-License-Identifier: Apache-2.0
 * eval_map.c - scalar functions, a chunk of elements at a time.
 *
 * Operands are brought to the domain that the function computes in (double or int64_t) in chunks, so
 * each function is one loop per domain. Poison: of either operand; `select` takes that of the arm it
 * chose; `and` and `or` drop it where the other operand decides. */
#include <math.h>
#include <string.h>

#include "ir/eval_state.h"

typedef union chunk {
    double f[LAP_EVAL_CHUNK];
    int64_t i[LAP_EVAL_CHUNK];
} chunk;

/* Elements of a view from `at` in steps, as doubles or integers. */
static void load(const lap_view *view, int64_t at, int64_t step, int64_t n, bool as_int, chunk *out)
{
    if (view->kind == LAP_F32 && !as_int) {
        const double *x = (const double *)view->buffer->data + at;
        for (int64_t k = 0; k < n; k++) {
            out->f[k] = x[k * step];
        }
    } else if (view->kind == LAP_I64 && as_int) {
        const int64_t *x = (const int64_t *)view->buffer->data + at;
        for (int64_t k = 0; k < n; k++) {
            out->i[k] = x[k * step];
        }
    } else if (as_int) {
        for (int64_t k = 0; k < n; k++) {
            out->i[k] = lap_view_int(view, at + k * step);
        }
    } else {
        for (int64_t k = 0; k < n; k++) {
            out->f[k] = lap_view_double(view, at + k * step);
        }
    }
}

static void store(const lap_view *view, int64_t at, int64_t n, bool as_int, const chunk *x)
{
    for (int64_t k = 0; k < n; k++) {
        if (view->kind == LAP_F32) {
            ((double *)view->buffer->data)[at + k] = as_int ? (double)x->i[k] : x->f[k];
        } else if (view->kind == LAP_I64) {
            ((int64_t *)view->buffer->data)[at + k] = as_int ? x->i[k] : lap_eval_to_int(x->f[k]);
        } else {
            ((uint8_t *)view->buffer->data)[at + k] = as_int ? x->i[k] != 0 : x->f[k] != 0;
        }
    }
}

static int64_t wrap_add(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }
static int64_t wrap_sub(int64_t a, int64_t b) { return (int64_t)((uint64_t)a - (uint64_t)b); }
static int64_t wrap_mul(int64_t a, int64_t b) { return (int64_t)((uint64_t)a * (uint64_t)b); }

static int64_t floor_div(int64_t a, int64_t b)
{
    if (b == 0) {
        return 0;
    }
    if (b == -1) {
        return wrap_sub(0, a);
    }
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t floor_mod(int64_t a, int64_t b)
{
    return b == 0 ? 0 : wrap_sub(a, wrap_mul(floor_div(a, b), b));
}

static double float_min(double a, double b) { return isnan(a) || isnan(b) ? NAN : a < b ? a : b; }
static double float_max(double a, double b) { return isnan(a) || isnan(b) ? NAN : a > b ? a : b; }
static double float_sign(double a) { return isnan(a) ? a : (a > 0) - (a < 0); }

/* clang-format off */
#define EACH(member, expression)                \
    for (int64_t k = 0; k < n; k++) {           \
        out->member[k] = (expression);          \
    }                                           \
    return

#define A (x[0].f[k])
#define B (x[1].f[k])

/* Functions of the float domain; comparisons leave 0 or 1. */
static void apply_float(lap_fn fn, const chunk *x, int64_t n, chunk *out)
{
    switch (fn) {
    case LAP_FN_ADD: EACH(f, A + B);
    case LAP_FN_SUB: EACH(f, A - B);
    case LAP_FN_MUL: EACH(f, A * B);
    case LAP_FN_DIV: EACH(f, A / B);
    case LAP_FN_IDIV: EACH(f, floor(A / B));
    case LAP_FN_MOD: EACH(f, A - floor(A / B) * B);
    case LAP_FN_POW: EACH(f, pow(A, B));
    case LAP_FN_MIN: EACH(f, float_min(A, B));
    case LAP_FN_MAX: EACH(f, float_max(A, B));
    case LAP_FN_LARGER: EACH(f, B > A ? B : A);
    case LAP_FN_LT: EACH(f, A < B);
    case LAP_FN_LE: EACH(f, A <= B);
    case LAP_FN_GT: EACH(f, A > B);
    case LAP_FN_GE: EACH(f, A >= B);
    case LAP_FN_EQ: EACH(f, A == B);
    case LAP_FN_NE: EACH(f, A != B);
    case LAP_FN_NEG: EACH(f, -A);
    case LAP_FN_ABS: EACH(f, fabs(A));
    case LAP_FN_SIGN: EACH(f, float_sign(A));
    case LAP_FN_EXP: EACH(f, exp(A));
    case LAP_FN_EXP2: EACH(f, exp2(A));
    case LAP_FN_LOG: EACH(f, log(A));
    case LAP_FN_SQRT: EACH(f, sqrt(A));
    case LAP_FN_TANH: EACH(f, tanh(A));
    case LAP_FN_SIGMOID: EACH(f, 1 / (1 + exp(-A)));
    case LAP_FN_ERF: EACH(f, erf(A));
    case LAP_FN_SIN: EACH(f, sin(A));
    case LAP_FN_COS: EACH(f, cos(A));
    case LAP_FN_FLOOR: EACH(f, floor(A));
    case LAP_FN_ROUND: EACH(f, rint(A));
    case LAP_FN_FLOAT: EACH(f, A);
    case LAP_FN_TO_F16: EACH(f, lap_eval_round_f16(A));
    case LAP_FN_TO_BF16: EACH(f, lap_eval_round_bf16(A));
    default: LAP_BUG("'%s' does not compute in floats", lap_fn_text(fn));
    }
}

#undef A
#undef B
#define A (x[0].i[k])
#define B (x[1].i[k])

/* Functions of the integer domain; booleans are 0 and 1. */
static void apply_int(lap_fn fn, const chunk *x, int64_t n, chunk *out)
{
    switch (fn) {
    case LAP_FN_ADD: EACH(i, wrap_add(A, B));
    case LAP_FN_SUB: EACH(i, wrap_sub(A, B));
    case LAP_FN_MUL: EACH(i, wrap_mul(A, B));
    case LAP_FN_IDIV: EACH(i, floor_div(A, B));
    case LAP_FN_MOD: EACH(i, floor_mod(A, B));
    case LAP_FN_MIN: EACH(i, A < B ? A : B);
    case LAP_FN_MAX: EACH(i, A > B ? A : B);
    case LAP_FN_LT: EACH(i, A < B);
    case LAP_FN_LE: EACH(i, A <= B);
    case LAP_FN_GT: EACH(i, A > B);
    case LAP_FN_GE: EACH(i, A >= B);
    case LAP_FN_EQ: EACH(i, A == B);
    case LAP_FN_NE: EACH(i, A != B);
    case LAP_FN_AND: EACH(i, A != 0 && B != 0);
    case LAP_FN_OR: EACH(i, A != 0 || B != 0);
    case LAP_FN_NOT: EACH(i, A == 0);
    case LAP_FN_NEG: EACH(i, wrap_sub(0, A));
    case LAP_FN_ABS: EACH(i, A < 0 ? wrap_sub(0, A) : A);
    case LAP_FN_SIGN: EACH(i, (A > 0) - (A < 0));
    case LAP_FN_INT: EACH(i, A);
    case LAP_FN_TO_I32: EACH(i, lap_eval_saturate(LAP_I32, A));
    case LAP_FN_TO_I8: EACH(i, lap_eval_saturate(LAP_I8, A));
    case LAP_FN_TO_I4: EACH(i, lap_eval_saturate(LAP_I4, A));
    default: LAP_BUG("'%s' does not compute in integers", lap_fn_text(fn));
    }
}

#undef A
#undef B
#undef EACH
/* clang-format on */

static bool is_comparison(lap_fn fn) { return fn >= LAP_FN_LT && fn <= LAP_FN_NE; }

/* Whether the function computes in integers, given its result and operands. */
static bool computes_in_int(lap_fn fn, lap_dtype result, uint32_t n, const lap_view *const *args)
{
    bool all_int = true;
    for (uint32_t i = 0; i < n; i++) {
        all_int = all_int && args[i]->kind != LAP_F32;
    }
    if (is_comparison(fn)) {
        return all_int;
    }
    return lap_dtype_compute(result) != LAP_F32;
}

/* Whether operand `other` = value decides an `and` or `or` alone. */
static bool decides(lap_fn fn, int64_t value)
{
    return (fn == LAP_FN_AND && value == 0) || (fn == LAP_FN_OR && value != 0);
}

typedef struct map_walk {
    lap_fn fn;
    uint32_t n;
    const lap_view *const *args;
    const lap_view *out;
    lap_walk walk;
    bool in_int;
} map_walk;

/* Poison of n results from element k0 of the row on; `x` holds the operands. */
static void spread_poison(const map_walk *m, int64_t k0, int64_t n, const chunk *x)
{
    uint8_t *to = m->out->buffer->poison + m->walk.at[m->n] + k0;
    for (int64_t k = 0; k < n; k++) {
        uint8_t p[3] = {0};
        for (uint32_t a = 0; a < m->n; a++) {
            p[a] = lap_view_poison(m->args[a], m->walk.at[a] + (k0 + k) * m->walk.step[a]);
        }
        if (m->fn == LAP_FN_SELECT) {
            int64_t cond = m->in_int ? x[0].i[k] != 0 : x[0].f[k] != 0;
            to[k] = p[0] ? p[0] : cond ? p[1] : p[2];
        } else if ((m->fn == LAP_FN_AND || m->fn == LAP_FN_OR) &&
                   ((!p[0] && decides(m->fn, x[0].i[k])) || (!p[1] && decides(m->fn, x[1].i[k])))) {
            to[k] = 0;
        } else {
            to[k] = p[0] ? p[0] : p[1] ? p[1] : p[2];
        }
    }
}

static void select_chunk(const map_walk *m, const chunk *x, int64_t n, chunk *out)
{
    for (int64_t k = 0; k < n; k++) {
        if (m->in_int) {
            out->i[k] = x[0].i[k] ? x[1].i[k] : x[2].i[k];
        } else {
            out->f[k] = x[0].f[k] != 0 ? x[1].f[k] : x[2].f[k];
        }
    }
}

static void map_row(const map_walk *m)
{
    for (int64_t k = 0; k < m->walk.inner; k += LAP_EVAL_CHUNK) {
        int64_t n = m->walk.inner - k < LAP_EVAL_CHUNK ? m->walk.inner - k : LAP_EVAL_CHUNK;
        chunk x[3], y;
        for (uint32_t a = 0; a < m->n; a++) {
            load(m->args[a], m->walk.at[a] + k * m->walk.step[a], m->walk.step[a], n, m->in_int, &x[a]);
        }
        bool result_in_int = m->in_int;
        if (m->fn == LAP_FN_SELECT) {
            select_chunk(m, x, n, &y);
        } else if (m->in_int) {
            apply_int(m->fn, x, n, &y);
        } else {
            apply_float(m->fn, x, n, &y);
        }
        store(m->out, m->walk.at[m->n] + k, n, result_in_int, &y);
        if (m->out->buffer->poison) {
            spread_poison(m, k, n, x);
        }
    }
}

bool lap_eval_map(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    lap_view out;
    if (!lap_view_of_node(run, node, &out)) {
        return false;
    }
    const lap_view *views[4];
    bool is_poisoned = false;
    for (uint32_t i = 0; i < node->n_args; i++) {
        views[i] = lap_eval_arg(run, node, i);
        is_poisoned = is_poisoned || views[i]->buffer->poison;
    }
    views[node->n_args] = &out;
    if (is_poisoned && !lap_eval_add_poison(run, out.buffer, node->loc)) {
        lap_view_drop(run, &out);
        return false;
    }
    map_walk m = {
        .fn = (lap_fn)lap_attr_i(node, LAP_ATTR_FN, 0), .n = node->n_args, .args = views, .out = &out};
    m.in_int = computes_in_int(m.fn, node->dtype, m.n, views);
    lap_space_axes space;
    lap_space_of(&space, &out);
    for (lap_walk_init(&m.walk, &space, m.n + 1, views); !m.walk.is_over; lap_walk_next(&m.walk)) {
        map_row(&m);
    }
    return lap_eval_give(run, ref, &out);
}
