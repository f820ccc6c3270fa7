/* SPDX-License-Identifier: Apache-2.0
 * dim_text.c - extents as text and back.
 *
 * extent  := product (('+' | '-') product)*
 * product := unary (('*' | '//' | '/' | '%') unary)*        from the left; `/` is exact
 * unary   := '-' unary | integer | name | '(' extent ')' | 'overflow()'
 *          | ('min' | 'max') '(' extent ',' extent ')' | 'trunc' '(' number '*' unary ')' */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "ir/dim_table.h"

enum { DEEPEST = 100 };

/* ---- writing ---- */

typedef struct text {
    lap_arena *arena;
    char *at;
    size_t n, capacity;
} text;

static void put(text *t, const char *s)
{
    size_t n = strlen(s);
    lap_arena_grow(t->arena, &t->at, t->n, n + 1, &t->capacity, 1);
    memcpy(t->at + t->n, s, n + 1);
    t->n += n;
}

static void put_int(text *t, int64_t v)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)v);
    put(t, digits);
}

static void put_dim(lap_ctx *ctx, text *t, lap_dim d);

static bool stands_alone(const lap_ctx *ctx, lap_dim d)
{
    lap_poly p = lap_poly_of(ctx, d);
    if (lap_dim_is_bad(d) || !p.n) {
        return true;
    }
    if (p.n > 1 || p.den != 1 || p.at[0].c.num < 0) {
        return false;
    }
    lap_mono m = ctx->dims->monos[p.at[0].mono];
    if (!m.n) {
        return true;
    }
    lap_atom_kind kind = ctx->dims->atoms[m.at[0].atom].kind;
    return p.at[0].c.num == 1 && m.degree == 1 && kind != LAP_ATOM_FLOOR && kind != LAP_ATOM_EXACT;
}

static void put_wrapped(lap_ctx *ctx, text *t, lap_dim d)
{
    bool wrap = !stands_alone(ctx, d);
    put(t, wrap ? "(" : "");
    put_dim(ctx, t, d);
    put(t, wrap ? ")" : "");
}

static void put_atom(lap_ctx *ctx, text *t, const lap_atom *atom)
{
    switch (atom->kind) {
    case LAP_ATOM_SYMBOL:
        put(t, lap_text(ctx, atom->name));
        return;
    case LAP_ATOM_FLOOR:
    case LAP_ATOM_EXACT:
        put_wrapped(ctx, t, atom->a);
        put(t, atom->kind == LAP_ATOM_FLOOR ? "//" : "/");
        put_wrapped(ctx, t, atom->b);
        return;
    case LAP_ATOM_MIN:
    case LAP_ATOM_MAX:
        put(t, atom->kind == LAP_ATOM_MIN ? "min(" : "max(");
        put_dim(ctx, t, atom->a);
        put(t, ",");
        put_dim(ctx, t, atom->b);
        put(t, ")");
        return;
    case LAP_ATOM_TRUNC: {
        char digits[40];
        snprintf(digits, sizeof digits, "trunc(%.17g*", atom->c);
        put(t, digits);
        put_wrapped(ctx, t, atom->a);
        put(t, ")");
        return;
    }
    }
}

/* |num| times the monomial. A quotient is bare only where nothing stands before it. */
static void put_term(lap_ctx *ctx, text *t, int64_t num, uint32_t mono, bool after_minus)
{
    lap_mono m = ctx->dims->monos[mono];
    int64_t size = num < 0 ? -num : num;
    bool first = true;
    if (size != 1 || !m.n) {
        put_int(t, size);
        first = false;
    }
    for (uint32_t i = 0; i < m.n; i++) {
        lap_atom atom = ctx->dims->atoms[m.at[i].atom];
        bool quotient = atom.kind == LAP_ATOM_FLOOR || atom.kind == LAP_ATOM_EXACT;
        bool wrap = quotient && (!first || m.degree > 1 || after_minus);
        for (uint32_t e = 0; e < m.at[i].exp; e++) {
            put(t, first ? "" : "*");
            put(t, wrap ? "(" : "");
            put_atom(ctx, t, &atom);
            put(t, wrap ? ")" : "");
            first = false;
        }
    }
}

static void put_dim(lap_ctx *ctx, text *t, lap_dim d)
{
    if (lap_dim_is_bad(d)) {
        put(t, "overflow()");
        return;
    }
    lap_poly p = lap_poly_of(ctx, d);
    bool wrap = p.den != 1 && p.n > 1;
    put(t, !p.n ? "0" : wrap ? "(" : "");
    for (uint32_t i = 0; i < p.n; i++) {
        int64_t num = p.at[i].c.num * (p.den / p.at[i].c.den);
        put(t, num < 0 ? "-" : i ? "+" : "");
        put_term(ctx, t, num, p.at[i].mono, num < 0 && i == 0);
    }
    put(t, wrap ? ")" : "");
    if (p.den != 1) {
        put(t, "/");
        put_int(t, p.den);
    }
}

const char *lap_dim_show(lap_ctx *ctx, lap_dim d)
{
    text t = {.arena = ctx->arena};
    put_dim(ctx, &t, d);
    return t.at;
}

/* ---- reading ---- */

typedef struct reader {
    lap_ctx *ctx;
    const char *at, *end;
    const char *error;
    int depth;
} reader;

static bool fail(reader *r, const char *message)
{
    if (!r->error) {
        r->error = message;
    }
    return false;
}

static void skip_blanks(reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t')) {
        r->at++;
    }
}

static bool accept(reader *r, const char *token)
{
    skip_blanks(r);
    size_t n = strlen(token);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, token, n) != 0) {
        return false;
    }
    r->at += n;
    return true;
}

static bool expect(reader *r, const char *token, const char *message)
{
    return accept(r, token) || fail(r, message);
}

static bool read_sum(reader *r, lap_dim *out);
static bool read_unary(reader *r, lap_dim *out);

static bool read_integer(reader *r, lap_dim *out)
{
    int64_t value = 0;
    for (; r->at < r->end && isdigit((unsigned char)*r->at); r->at++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *r->at - '0', &value)) {
            return fail(r, "an integer of at most 64 bits was expected");
        }
    }
    *out = lap_dim_const(r->ctx, value);
    return true;
}

static bool read_real(reader *r, double *out)
{
    char digits[64];
    size_t n = 0;
    skip_blanks(r);
    while (r->at < r->end && n + 1 < sizeof digits && *r->at && strchr("0123456789.eE+-", *r->at)) {
        digits[n++] = *r->at++;
    }
    digits[n] = '\0';
    char *rest;
    *out = strtod(digits, &rest);
    return (n && !*rest) || fail(r, "a number was expected after 'trunc('");
}

static bool read_trunc(reader *r, lap_dim *out)
{
    double c;
    lap_dim a;
    if (!read_real(r, &c) || !expect(r, "*", "'*' was expected in trunc(c*d)") || !read_unary(r, &a) ||
        !expect(r, ")", "')' was expected")) {
        return false;
    }
    *out = lap_dim_trunc(r->ctx, c, a);
    return true;
}

static bool read_extreme(reader *r, bool is_min, lap_dim *out)
{
    lap_dim a, b;
    if (!read_sum(r, &a) || !expect(r, ",", "',' was expected") || !read_sum(r, &b) ||
        !expect(r, ")", "')' was expected")) {
        return false;
    }
    *out = is_min ? lap_dim_min(r->ctx, a, b) : lap_dim_max(r->ctx, a, b);
    return true;
}

static bool read_name(reader *r, lap_dim *out)
{
    const char *start = r->at;
    while (r->at < r->end && (isalnum((unsigned char)*r->at) || *r->at == '_' || *r->at == '.')) {
        r->at++;
    }
    size_t n = (size_t)(r->at - start);
    if (n == 3 && !memcmp(start, "min", 3) && accept(r, "(")) {
        return read_extreme(r, true, out);
    }
    if (n == 3 && !memcmp(start, "max", 3) && accept(r, "(")) {
        return read_extreme(r, false, out);
    }
    if (n == 5 && !memcmp(start, "trunc", 5) && accept(r, "(")) {
        return read_trunc(r, out);
    }
    if (n == 8 && !memcmp(start, "overflow", 8) && accept(r, "(")) {
        *out = LAP_DIM_OVERFLOW;
        return expect(r, ")", "')' was expected");
    }
    *out = lap_dim_symbol(r->ctx, lap_intern_n(r->ctx, start, n));
    return true;
}

static bool read_inner(reader *r, lap_dim *out)
{
    if (accept(r, "-")) {
        if (!read_unary(r, out)) {
            return false;
        }
        *out = lap_dim_sub(r->ctx, LAP_DIM_ZERO, *out);
        return true;
    }
    if (accept(r, "(")) {
        return read_sum(r, out) && expect(r, ")", "')' was expected");
    }
    if (r->at < r->end && isdigit((unsigned char)*r->at)) {
        return read_integer(r, out);
    }
    if (r->at < r->end && (isalpha((unsigned char)*r->at) || *r->at == '_')) {
        return read_name(r, out);
    }
    return fail(r, "a number, a name or '(' was expected");
}

static bool read_unary(reader *r, lap_dim *out)
{
    if (r->depth >= DEEPEST) {
        return fail(r, "an extent nested less deeply was expected");
    }
    r->depth++;
    bool ok = read_inner(r, out);
    r->depth--;
    return ok;
}

static bool read_product(reader *r, lap_dim *out)
{
    if (!read_unary(r, out)) {
        return false;
    }
    for (;;) {
        const char *op = accept(r, "*")    ? "*"
                         : accept(r, "//") ? "//"
                         : accept(r, "/")  ? "/"
                         : accept(r, "%")  ? "%"
                                           : NULL;
        lap_dim b;
        if (!op) {
            return true;
        }
        if (!read_unary(r, &b)) {
            return false;
        }
        if (!strcmp(op, "/")) {
            if (!lap_dim_div(r->ctx, *out, b, out)) {
                return fail(r, "a divisor that divides exactly was expected after '/'");
            }
        } else {
            *out = *op == '*'   ? lap_dim_mul(r->ctx, *out, b)
                   : *op == '%' ? lap_dim_mod(r->ctx, *out, b)
                                : lap_dim_floordiv(r->ctx, *out, b);
        }
    }
}

static bool read_sum(reader *r, lap_dim *out)
{
    if (!read_product(r, out)) {
        return false;
    }
    for (;;) {
        bool plus = accept(r, "+");
        lap_dim b;
        if (!plus && !accept(r, "-")) {
            return true;
        }
        if (!read_product(r, &b)) {
            return false;
        }
        *out = plus ? lap_dim_add(r->ctx, *out, b) : lap_dim_sub(r->ctx, *out, b);
    }
}

bool lap_dim_parse(lap_ctx *ctx, const char *text_, size_t length, lap_dim *out, const char **out_error)
{
    reader r = {ctx, text_, text_ + length, NULL, 0};
    bool ok = read_sum(&r, out);
    skip_blanks(&r);
    if (ok && r.at < r.end) {
        ok = fail(&r, "an operator or the end of the extent was expected");
    }
    *out_error = r.error;
    return ok;
}
