/* SPDX-License-Identifier: Apache-2.0
 * extent.c - values of an image's extents, and symbols from the shapes of tensors.
 *
 * An equation with one unknown is solved by bisection, since extents are monotone in a symbol nearly
 * always; what is found is then checked with the exact value. A value that is not the only one (n // 2 = 3)
 * is taken only when no other equation decides: the least positive one then. */
#include "runtime/extent.h"

#include <math.h>
#include <string.h>

typedef struct problem {
    const lap_image *image;
    const lap_image_dim *dim;
    lap_symbols *symbols;
    uint32_t unknown;
    int64_t actual;
} problem;

/* Quotients that do not come out are rounded down where only the order matters. */
typedef enum quotients { EXACTLY, ROUNDED } quotients;

static lap_extent_state floor_quotient(int64_t a, int64_t b, int64_t *out)
{
    if (b == 0) {
        *out = 0;
        return LAP_EXTENT_OK;
    }
    if (a == INT64_MIN && b == -1) {
        return LAP_EXTENT_OVERFLOW;
    }
    *out = a / b - (a % b != 0 && (a < 0) != (b < 0));
    return LAP_EXTENT_OK;
}

static lap_extent_state binary(lap_dim_op op, int64_t a, int64_t b, quotients q, int64_t *out)
{
    bool overflow = false;
    switch (op) {
    case LAP_DIM_ADD:
        overflow = __builtin_add_overflow(a, b, out);
        break;
    case LAP_DIM_SUB:
        overflow = __builtin_sub_overflow(a, b, out);
        break;
    case LAP_DIM_MUL:
        overflow = __builtin_mul_overflow(a, b, out);
        break;
    case LAP_DIM_EXACT:
        if (q == EXACTLY && (b == 0 || (b != -1 && a % b != 0))) {
            return LAP_EXTENT_INEXACT;
        }
        return floor_quotient(a, b, out);
    case LAP_DIM_FLOOR:
        return floor_quotient(a, b, out);
    case LAP_DIM_MIN:
        *out = a < b ? a : b;
        break;
    default:
        *out = a > b ? a : b;
    }
    return overflow ? LAP_EXTENT_OVERFLOW : LAP_EXTENT_OK;
}

static lap_extent_state scaled(int64_t bits, int64_t a, int64_t *out)
{
    double c;
    memcpy(&c, &bits, sizeof c);
    double value = trunc(c * (double)a);
    if (!(value >= -0x1p63 && value < 0x1p63)) {
        return LAP_EXTENT_OVERFLOW;
    }
    *out = (int64_t)value;
    return LAP_EXTENT_OK;
}

static lap_extent_state evaluate(const lap_image_dim *dim, const lap_symbols *symbols, quotients q,
                                 int64_t *out)
{
    int64_t stack[LAP_EXTENT_STACK];
    uint32_t top = 0;
    for (uint32_t i = 0; i < dim->n_words; i++) {
        lap_dim_op op = (lap_dim_op)dim->words[i];
        lap_extent_state state = LAP_EXTENT_OK;
        if (op == LAP_DIM_CONST) {
            stack[top++] = dim->words[++i];
        } else if (op == LAP_DIM_SYMBOL) {
            int64_t symbol = dim->words[++i];
            if (!symbols->is_known[symbol]) {
                return LAP_EXTENT_UNKNOWN;
            }
            stack[top++] = symbols->value[symbol];
        } else if (op == LAP_DIM_TRUNC) {
            state = scaled(dim->words[++i], stack[top - 1], &stack[top - 1]);
        } else {
            top--;
            state = binary(op, stack[top - 1], stack[top], q, &stack[top - 1]);
        }
        if (state != LAP_EXTENT_OK) {
            return state;
        }
    }
    *out = stack[0];
    return LAP_EXTENT_OK;
}

lap_extent_state lap_extent_eval(const lap_image_dim *dim, const lap_symbols *symbols, int64_t *out)
{
    return evaluate(dim, symbols, EXACTLY, out);
}

const char *lap_extent_trouble(lap_extent_state state)
{
    static const char *const texts[] = {
        [LAP_EXTENT_NONE] = "has no value",
        [LAP_EXTENT_OK] = "is right",
        [LAP_EXTENT_UNKNOWN] = "cannot be found from the shapes given",
        [LAP_EXTENT_INEXACT] = "is not a whole number",
        [LAP_EXTENT_OVERFLOW] = "is too large",
    };
    return texts[state];
}

/* ---- one equation -------------------------------------------------------------------------- */

enum { MAX_PLATEAU = 1 << 16 };
#define HIGHEST (INT64_C(1) << 62)

/* Value at x; too large counts as infinite on the side where the search goes. */
static int64_t value_at(const problem *p, int64_t x, int64_t direction)
{
    int64_t value;
    p->symbols->value[p->unknown] = x;
    p->symbols->is_known[p->unknown] = true;
    lap_extent_state state = evaluate(p->dim, p->symbols, ROUNDED, &value);
    p->symbols->is_known[p->unknown] = false;
    return state == LAP_EXTENT_OK ? value : direction > 0 ? INT64_MAX : INT64_MIN;
}

/* Smallest x in [0, HIGHEST] where the value has reached `goal`, going up or down. */
static int64_t first_reaching(const problem *p, int64_t goal, int64_t direction)
{
    int64_t low = 0, high = HIGHEST;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int64_t value = value_at(p, middle, direction);
        if (direction > 0 ? value >= goal : value <= goal) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static bool holds_at(const problem *p, int64_t x)
{
    int64_t value;
    p->symbols->value[p->unknown] = x;
    p->symbols->is_known[p->unknown] = true;
    lap_extent_state state = lap_extent_eval(p->dim, p->symbols, &value);
    p->symbols->is_known[p->unknown] = false;
    return state == LAP_EXTENT_OK && value == p->actual;
}

typedef enum solutions { NO_SOLUTION, ONE_SOLUTION, SEVERAL } solutions;

/* The least positive solution, or 0 when only that is one; -1 when none was met. */
static solutions search(const problem *p, int64_t direction, int64_t *out)
{
    int64_t begin = first_reaching(p, p->actual, direction);
    int64_t beyond = direction > 0 ? p->actual + 1 : p->actual - 1;
    int64_t end = first_reaching(p, beyond, direction);
    /* Where the end of the range was reached without the value, end is begin and is looked at once. */
    end += end == HIGHEST;
    bool is_cut = end - begin > MAX_PLATEAU;
    end = is_cut ? begin + MAX_PLATEAU : end;
    int n = 0;
    *out = -1;
    for (int64_t x = begin; x < end && (n < 2 || *out <= 0); x++) {
        if (holds_at(p, x)) {
            *out = *out <= 0 ? x : *out;
            n++;
        }
    }
    return n > 1 || is_cut ? SEVERAL : n == 1 ? ONE_SOLUTION : NO_SOLUTION;
}

static solutions solve_one(const problem *p, int64_t *out)
{
    if (p->actual >= HIGHEST) {
        return NO_SOLUTION;
    }
    solutions found = search(p, 1, out);
    return found == NO_SOLUTION ? search(p, -1, out) : found;
}

/* ---- all of them --------------------------------------------------------------------------- */

/* Number of different unknown symbols, at most 2 (then `out` is one of them). */
static int unknowns(const lap_image_dim *dim, const lap_symbols *symbols, uint32_t *out)
{
    int n = 0;
    for (uint32_t i = 0; i < dim->n_words; i++) {
        int64_t op = dim->words[i];
        bool has_operand = op == LAP_DIM_CONST || op == LAP_DIM_SYMBOL || op == LAP_DIM_TRUNC;
        i += has_operand;
        if (op == LAP_DIM_SYMBOL && !symbols->is_known[dim->words[i]]) {
            uint32_t symbol = (uint32_t)dim->words[i];
            if (n > 0 && symbol != *out) {
                return 2;
            }
            *out = symbol;
            n = 1;
        }
    }
    return n;
}

static bool no_value(const problem *p, const lap_equation *e, lap_fault *fault)
{
    if (e->actual >= HIGHEST) {
        return lap_fault_at(fault, LAP_BAD_INPUT, e->leaf->place, "%s has an axis of %lld, which is too long",
                            e->leaf->name, (long long)e->actual);
    }
    return lap_fault_at(fault, LAP_BAD_INPUT, e->leaf->place,
                        "%s has an axis of %lld, which is not %s for any %s", e->leaf->name,
                        (long long)e->actual, p->dim->text, p->image->symbols[p->unknown]);
}

static void settle(lap_symbols *symbols, uint32_t symbol, int64_t value)
{
    symbols->value[symbol] = value;
    symbols->is_known[symbol] = true;
}

/* Takes what follows from single equations; with `guess`, also one value that is not the only one. */
static bool solve_round(const lap_image *image, const lap_equation *equations, size_t n, lap_symbols *symbols,
                        bool guess, bool *out_progress, lap_fault *fault)
{
    for (size_t i = 0; i < n; i++) {
        const lap_equation *e = &equations[i];
        problem p = {image, &image->dims[e->dim], symbols, 0, e->actual};
        int64_t value = -1;
        if (unknowns(p.dim, symbols, &p.unknown) != 1) {
            continue;
        }
        solutions found = solve_one(&p, &value);
        if (found == NO_SOLUTION) {
            return no_value(&p, e, fault);
        }
        if (found == ONE_SOLUTION || (guess && value >= 0)) {
            settle(symbols, p.unknown, value);
            *out_progress = true;
            guess = false;
        }
    }
    return true;
}

static bool is_number(const char *text)
{
    return text[0] == '-' || (text[0] >= '0' && text[0] <= '9' && strspn(text, "0123456789") == strlen(text));
}

static bool check_equation(const lap_image *image, const lap_equation *e, const lap_symbols *symbols,
                           lap_fault *fault)
{
    const lap_image_dim *dim = &image->dims[e->dim];
    int64_t want;
    lap_extent_state state = lap_extent_eval(dim, symbols, &want);
    if (state == LAP_EXTENT_UNKNOWN || (state == LAP_EXTENT_OK && want == e->actual)) {
        return true;
    }
    if (state != LAP_EXTENT_OK) {
        return lap_fault_at(fault, LAP_BAD_INPUT, e->leaf->place,
                            "%s has an axis of %lld, expected %s, which %s", e->leaf->name,
                            (long long)e->actual, dim->text, lap_extent_trouble(state));
    }
    if (is_number(dim->text)) {
        return lap_fault_at(fault, LAP_BAD_INPUT, e->leaf->place, "%s has an axis of %lld, expected %lld",
                            e->leaf->name, (long long)e->actual, (long long)want);
    }
    return lap_fault_at(fault, LAP_BAD_INPUT, e->leaf->place, "%s has an axis of %lld, expected %s = %lld",
                        e->leaf->name, (long long)e->actual, dim->text, (long long)want);
}

bool lap_extent_solve(const lap_image *image, const lap_equation *equations, size_t n, lap_symbols *symbols,
                      lap_ambiguity ambiguity, lap_fault *fault)
{
    bool progress = true;
    while (progress) {
        progress = false;
        bool ok = solve_round(image, equations, n, symbols, false, &progress, fault);
        if (ok && !progress && ambiguity == LAP_TAKE_LEAST) {
            ok = solve_round(image, equations, n, symbols, true, &progress, fault);
        }
        if (!ok) {
            return false;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (!check_equation(image, &equations[i], symbols, fault)) {
            return false;
        }
    }
    return true;
}
