/* SPDX-License-Identifier: Apache-2.0
 * layout.c - layout strings: "b (y=H x=W) c=dim 1".
 *
 * A word is an axis; a group in parentheses is one memory axis; 1 is a memory axis without a name.
 * `=` gives a size: an expression over the model's parameters, where any other name is a symbol. */
#include "frontends/lua/binding.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_AXES = 64, MAX_NESTING = 50 };

typedef struct reader {
    lua_State *L;
    lap_ctx *ctx;
    const char *spec, *p;
    int sizes, nesting;
    lap_unsized unsized;
    lap_lua_layout out;
} reader;

/* A size under construction: parameters may be fractions until the whole is an integer again. */
typedef struct number {
    bool is_fraction;
    double f;
    lap_dim d;
} number;

_Noreturn static void bad(const reader *r, const char *what)
{
    lap_lua_fail(r->L, "layout '%s': %s at '%.20s'", r->spec, what, r->p);
}

static number expression(reader *r);

static number of_double(const reader *r, double f)
{
    if (f == floor(f) && fabs(f) < 9e15) {
        return (number){.d = lap_dim_const(r->ctx, (int64_t)f)};
    }
    return (number){.is_fraction = true, .f = f};
}

static bool as_double(const reader *r, number a, double *out)
{
    int64_t c = 0;
    if (!a.is_fraction && !lap_dim_is_const(r->ctx, a.d, &c)) {
        return false;
    }
    *out = a.is_fraction ? a.f : (double)c;
    return true;
}

/* A parameter, or else a symbol. */
static number named(reader *r, const char *name, size_t length)
{
    lua_State *L = r->L;
    int top = lua_gettop(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "lap.p");
    int type = LUA_TNIL;
    if (lua_istable(L, -1)) {
        lua_pushlstring(L, name, length);
        type = lua_rawget(L, -2);
    }
    number n = {0};
    if (type == LUA_TNIL) {
        n.d = lap_dim_symbol(r->ctx, lap_intern_n(r->ctx, name, length));
    } else if (type != LUA_TNUMBER) {
        lap_lua_fail(L, "layout '%s': parameter '%.*s' is %s, not a size", r->spec, (int)length, name,
                     lap_lua_kind(L, -1));
    } else if (lua_isinteger(L, -1)) {
        n.d = lap_dim_const(r->ctx, lua_tointeger(L, -1));
    } else {
        n = of_double(r, lua_tonumber(L, -1));
    }
    lua_settop(L, top);
    return n;
}

static lap_dim whole(const reader *r, number n)
{
    if (n.is_fraction) {
        lap_lua_fail(r->L, "layout '%s': the size %g is not whole", r->spec, n.f);
    }
    return n.d;
}

static number call(reader *r, const char *name, size_t length)
{
    r->p++;
    lap_dim a = whole(r, expression(r));
    while (*r->p == ',') {
        r->p++;
        lap_dim b = whole(r, expression(r));
        if (length == 3 && memcmp(name, "min", 3) == 0) {
            a = lap_dim_min(r->ctx, a, b);
        } else if (length == 3 && memcmp(name, "max", 3) == 0) {
            a = lap_dim_max(r->ctx, a, b);
        } else {
            bad(r, "only min(..) and max(..) can be called");
        }
    }
    if (*r->p != ')') {
        bad(r, "expected ')'");
    }
    r->p++;
    return (number){.d = a};
}

/* The length of a list parameter. */
static number length_of(reader *r)
{
    const char *start = ++r->p;
    while (isalnum((unsigned char)*r->p) || *r->p == '_') {
        r->p++;
    }
    lua_State *L = r->L;
    lua_getfield(L, LUA_REGISTRYINDEX, "lap.p");
    lua_pushlstring(L, start, (size_t)(r->p - start));
    if (lua_rawget(L, -2) != LUA_TTABLE) {
        bad(r, "expected a list parameter after '#'");
    }
    number n = {.d = lap_dim_const(r->ctx, (int64_t)lua_rawlen(L, -1))};
    lua_pop(L, 2);
    return n;
}

static number primary(reader *r)
{
    const char *start = r->p;
    if (*start == '#') {
        return length_of(r);
    }
    if (isdigit((unsigned char)*start)) {
        char *end;
        double f = strtod(start, &end);
        r->p = end;
        return of_double(r, f);
    }
    if (isalpha((unsigned char)*start) || *start == '_') {
        while (isalnum((unsigned char)*r->p) || *r->p == '_') {
            r->p++;
        }
        return *r->p == '(' ? call(r, start, (size_t)(r->p - start))
                            : named(r, start, (size_t)(r->p - start));
    }
    if (*start != '(') {
        bad(r, "expected a size");
    }
    r->p++;
    number n = expression(r);
    if (*r->p != ')') {
        bad(r, "expected ')'");
    }
    r->p++;
    return n;
}

static number apply(reader *r, char op, bool is_floor, number a, number b)
{
    double x, y;
    if ((a.is_fraction || b.is_fraction) && as_double(r, a, &x) && as_double(r, b, &y)) {
        double q = op == '+'   ? x + y
                   : op == '-' ? x - y
                   : op == '*' ? x * y
                   : op == '%' ? x - floor(x / y) * y
                               : x / y;
        return of_double(r, is_floor ? floor(q) : q);
    }
    lap_dim d = whole(r, a), e = whole(r, b);
    int64_t zero;
    if ((op == '/' || op == '%') && lap_dim_is_const(r->ctx, e, &zero) && zero == 0) {
        bad(r, "division by zero");
    }
    number out = {0};
    out.d = op == '+'   ? lap_dim_add(r->ctx, d, e)
            : op == '-' ? lap_dim_sub(r->ctx, d, e)
            : op == '*' ? lap_dim_mul(r->ctx, d, e)
            : op == '%' ? lap_dim_mod(r->ctx, d, e)
            : is_floor  ? lap_dim_floordiv(r->ctx, d, e)
                        : lap_lua_divide(r->L, d, e);
    return out;
}

static number term(reader *r)
{
    bool is_negative = *r->p == '-';
    r->p += is_negative;
    number a = primary(r);
    if (is_negative) {
        a = apply(r, '-', false, (number){.d = lap_dim_const(r->ctx, 0)}, a);
    }
    while (*r->p == '*' || *r->p == '/' || *r->p == '%') {
        char op = *r->p++;
        bool is_floor = op == '/' && *r->p == '/';
        r->p += is_floor;
        a = apply(r, op, is_floor, a, primary(r));
    }
    return a;
}

static number expression(reader *r)
{
    if (++r->nesting > MAX_NESTING) {
        bad(r, "parentheses nest too deeply");
    }
    number a = term(r);
    while (*r->p == '+' || *r->p == '-') {
        char op = *r->p++;
        a = apply(r, op, false, a, term(r));
    }
    r->nesting--;
    return a;
}

static bool size_from_table(reader *r, lap_name name, lap_dim *out)
{
    if (!r->sizes) {
        return false;
    }
    lua_getfield(r->L, r->sizes, lap_text(r->ctx, name));
    bool is_given = !lua_isnil(r->L, -1);
    if (is_given) {
        *out = lap_lua_check_dim(
            r->L, -1, lap_arena_printf(r->ctx->arena, "the size of axis '%s'", lap_text(r->ctx, name)));
    }
    lua_pop(r->L, 1);
    return is_given;
}

/* Without a size: the parameter of the axis's name in capitals, else a symbol: shared by inputs under
 * that name, so that their axes agree; of its own for a weight. */
static lap_dim unsized_size(reader *r, lap_name name)
{
    lap_lua *l = lap_lua_of(r->L);
    char *upper = lap_arena_printf(r->ctx->arena, "%s", lap_text(r->ctx, name));
    for (char *c = upper; *c; c++) {
        *c = (char)toupper((unsigned char)*c);
    }
    number n = named(r, upper, strlen(upper));
    int64_t c;
    if (r->unsized == LAP_UNSIZED_FRESH && !lap_dim_is_const(r->ctx, n.d, &c)) {
        char *dot = strchr(upper, '.');
        int length = dot ? (int)(dot - upper) : (int)strlen(upper);
        const char *own = lap_arena_printf(r->ctx->arena, "%.*s.%u", length, upper, (unsigned)++l->n_fresh);
        return lap_dim_symbol(r->ctx, lap_intern(r->ctx, own));
    }
    return whole(r, n);
}

static void axis(reader *r, lap_name *names, uint32_t *n_names)
{
    const char *start = r->p;
    while (isalnum((unsigned char)*r->p) || *r->p == '_' || *r->p == '.') {
        r->p++;
    }
    if (r->p == start) {
        bad(r, "expected an axis");
    }
    if (r->p - start == 1 && *start == '1') {
        return;
    }
    lap_name name = lap_lua_name(r->L, start, (size_t)(r->p - start), "axis name");
    if (lap_axis_find(r->out.axes, r->out.n_axes, name)) {
        lap_lua_fail(r->L, "layout '%s' names axis '%s' twice", r->spec, lap_text(r->ctx, name));
    }
    if (r->out.n_axes == MAX_AXES) {
        bad(r, "too many axes");
    }
    lap_axis *a = &r->out.axes[r->out.n_axes];
    bool *is_sized = &r->out.is_sized[r->out.n_axes++];
    a->name = name;
    names[(*n_names)++] = name;
    *is_sized = *r->p == '=';
    if (*is_sized) {
        r->p++;
        a->size = whole(r, expression(r));
    } else if (!size_from_table(r, name, &a->size) && r->unsized != LAP_UNSIZED_OUTPUT) {
        a->size = unsized_size(r, name);
    }
    int64_t c;
    if (lap_dim_is_const(r->ctx, a->size, &c) && c < 0) {
        lap_lua_fail(r->L, "layout '%s': axis '%s' has the size %lld", r->spec, lap_text(r->ctx, name),
                     (long long)c);
    }
}

static void skip_space(reader *r)
{
    while (isspace((unsigned char)*r->p)) {
        r->p++;
    }
}

static lap_names group(reader *r)
{
    lap_name *names = lap_arena_array(r->ctx->arena, MAX_AXES, sizeof *names);
    uint32_t n = 0;
    if (*r->p != '(') {
        axis(r, names, &n);
    } else {
        r->p++;
        skip_space(r);
        while (*r->p != ')') {
            axis(r, names, &n);
            skip_space(r);
        }
        r->p++;
    }
    if (*r->p && !isspace((unsigned char)*r->p)) {
        bad(r, "expected a space");
    }
    return (lap_names){n, names};
}

lap_lua_layout lap_lua_read_layout(lua_State *L, const char *spec, int sizes, lap_unsized unsized)
{
    lap_ctx *ctx = lap_lua_of(L)->ctx;
    luaL_checkstack(L, 2 * MAX_NESTING, "layout");
    reader r = {.L = L, .ctx = ctx, .p = spec, .spec = spec, .sizes = sizes, .unsized = unsized};
    r.out.axes = lap_arena_array(ctx->arena, MAX_AXES, sizeof *r.out.axes);
    r.out.is_sized = lap_arena_array(ctx->arena, MAX_AXES, sizeof *r.out.is_sized);
    lap_names *groups = lap_arena_array(ctx->arena, MAX_AXES, sizeof *groups);
    uint32_t n = 0;
    for (skip_space(&r); *r.p; skip_space(&r)) {
        if (n == MAX_AXES) {
            bad(&r, "too many memory axes");
        }
        groups[n++] = group(&r);
    }
    r.out.groups = (lap_layout){n, groups};
    return r.out;
}
