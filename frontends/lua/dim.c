/* SPDX-License-Identifier: Apache-2.0
 * dim.c - extents in Lua: exact integer arithmetic on symbols; constants are plain integers.
 *
 * An extent that meets a tensor or a fraction becomes a scalar of the graph. `/` is exact: what is
 * not proved to divide is checked when sizes are bound. */
#include "frontends/lua/binding.h"

#include <math.h>
#include <string.h>

#define EXTENT "extent"

bool lap_lua_is_dim(lua_State *L, int at) { return luaL_testudata(L, at, EXTENT) != NULL; }

bool lap_lua_to_dim(lua_State *L, int at, lap_dim *out)
{
    const lap_dim *d = luaL_testudata(L, at, EXTENT);
    if (d) {
        *out = *d;
        return true;
    }
    int is_whole = 0;
    lua_Integer i = lua_type(L, at) == LUA_TNUMBER ? lua_tointegerx(L, at, &is_whole) : 0;
    if (!is_whole) {
        return false;
    }
    *out = lap_dim_const(lap_lua_of(L)->ctx, i);
    return true;
}

lap_dim lap_lua_check_dim(lua_State *L, int at, const char *what)
{
    lap_dim d = {0};
    if (!lap_lua_to_dim(L, at, &d)) {
        lap_lua_fail(L, "%s must be an integer or an extent, found %s%s", what, lap_lua_kind(L, at),
                     lap_lua_is_value(L, at)
                         ? "\nhint: a length known only at run time is x:ragged(axis, count)"
                         : "");
    }
    return d;
}

void lap_lua_push_dim(lua_State *L, lap_dim d)
{
    int64_t c;
    if (lap_dim_is_const(lap_lua_of(L)->ctx, d, &c)) {
        lua_pushinteger(L, c);
        return;
    }
    lap_dim *box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = d;
    luaL_setmetatable(L, EXTENT);
}

const char *lap_lua_kind(lua_State *L, int at)
{
    if (lap_lua_is_value(L, at)) {
        return "a tensor";
    }
    if (lap_lua_is_dim(L, at)) {
        return "an extent";
    }
    switch (lua_type(L, at)) {
    case LUA_TNONE:
    case LUA_TNIL:
        return "nothing";
    case LUA_TNUMBER:
        return lua_isinteger(L, at) ? "an integer" : "a fraction";
    case LUA_TSTRING:
        return "a string";
    case LUA_TBOOLEAN:
        return "a boolean";
    case LUA_TTABLE:
        return "a table";
    case LUA_TFUNCTION:
        return "a function";
    default:
        return "something else";
    }
}

lap_dim lap_lua_divide(lua_State *L, lap_dim a, lap_dim b)
{
    lap_lua *l = lap_lua_of(L);
    lap_ctx *ctx = l->ctx;
    lap_dim out = {0};
    int64_t zero;
    if (lap_dim_is_const(ctx, b, &zero) && zero == 0) {
        lap_lua_fail(L, "division of %s by zero", lap_dim_show(ctx, a));
    }
    const char *why = lap_arena_printf(ctx->arena, "%s is not a multiple of %s", lap_dim_show(ctx, a),
                                       lap_dim_show(ctx, b));
    if (!lap_dim_div(ctx, a, b, &out)) {
        lap_lua_fail(L, "%s", why);
    }
    if (l->graph) {
        lap_graph *g = lap_lua_graph(L);
        if (!lap_graph_assume(g, lap_dim_mod(ctx, a, b), LAP_REL_EQ, lap_dim_const(ctx, 0), why)) {
            lap_lua_raise(L);
        }
    }
    return out;
}

static lap_dim floor_divide(lua_State *L, lap_dim a, lap_dim b, bool is_mod)
{
    lap_ctx *ctx = lap_lua_of(L)->ctx;
    int64_t zero;
    if (lap_dim_is_const(ctx, b, &zero) && zero == 0) {
        lap_lua_fail(L, "division of %s by zero", lap_dim_show(ctx, a));
    }
    return is_mod ? lap_dim_mod(ctx, a, b) : lap_dim_floordiv(ctx, a, b);
}

/* A tensor or a fraction makes the whole a scalar of the graph. */
static bool becomes_scalar(lua_State *L, int at)
{
    return lap_lua_is_value(L, at) || (lua_type(L, at) == LUA_TNUMBER && !lua_isinteger(L, at));
}

static lap_dim combine(lua_State *L, lap_fn fn, lap_dim a, lap_dim b)
{
    lap_ctx *ctx = lap_lua_of(L)->ctx;
    if (fn == LAP_FN_ADD) {
        return lap_dim_add(ctx, a, b);
    }
    if (fn == LAP_FN_SUB) {
        return lap_dim_sub(ctx, a, b);
    }
    if (fn == LAP_FN_MUL) {
        return lap_dim_mul(ctx, a, b);
    }
    if (fn == LAP_FN_DIV) {
        return lap_lua_divide(L, a, b);
    }
    return floor_divide(L, a, b, fn == LAP_FN_MOD);
}

static int arithmetic(lua_State *L)
{
    lap_fn fn = (lap_fn)lua_tointeger(L, lua_upvalueindex(1));
    if (fn == LAP_FN_POW || becomes_scalar(L, 1) || becomes_scalar(L, 2)) {
        lap_graph *g = lap_lua_graph(L);
        lap_ref a = lap_lua_lift(L, 1), b = lap_lua_lift(L, 2);
        lap_lua_push_value(L, lap_map2(g, fn, a, b));
        return 1;
    }
    lap_dim a = lap_lua_check_dim(L, 1, "an operand of an extent");
    lap_dim b = lap_lua_check_dim(L, 2, "an operand of an extent");
    lap_lua_push_dim(L, combine(L, fn, a, b));
    return 1;
}

static int negate(lua_State *L)
{
    lap_ctx *ctx = lap_lua_of(L)->ctx;
    lap_lua_push_dim(L, lap_dim_sub(ctx, lap_dim_const(ctx, 0), lap_lua_check_dim(L, 1, "the operand")));
    return 1;
}

static int compare(lua_State *L)
{
    lap_ctx *ctx = lap_lua_of(L)->ctx;
    lap_rel rel = (lap_rel)lua_tointeger(L, lua_upvalueindex(1));
    lap_dim a = lap_lua_check_dim(L, 1, "a compared extent"),
            b = lap_lua_check_dim(L, 2, "a compared extent");
    lap_truth t = lap_dim_compare(ctx, a, rel, b);
    if (t == LAP_UNKNOWN && rel != LAP_REL_EQ) {
        lap_lua_fail(L,
                     "whether %s %s %s is not known before sizes are bound\n"
                     "hint: use g:require, g:branch, lap.dim.min or lap.dim.max",
                     lap_dim_show(ctx, a), rel == LAP_REL_LT ? "<" : "<=", lap_dim_show(ctx, b));
    }
    lua_pushboolean(L, t == LAP_YES);
    return 1;
}

static int show(lua_State *L)
{
    lua_pushstring(L, lap_dim_show(lap_lua_of(L)->ctx, lap_lua_check_dim(L, 1, "the operand")));
    return 1;
}

static int dim_symbol(lua_State *L)
{
    lap_name name = lap_lua_check_name(L, 1, "symbol name");
    lap_lua_push_dim(L, lap_dim_symbol(lap_lua_of(L)->ctx, name));
    return 1;
}

static int dim_exact(lua_State *L)
{
    lap_dim a = lap_lua_check_dim(L, 1, "the dividend"), b = lap_lua_check_dim(L, 2, "the divisor");
    lap_lua_push_dim(L, lap_lua_divide(L, a, b));
    return 1;
}

static int dim_ceil(lua_State *L)
{
    lap_ctx *ctx = lap_lua_of(L)->ctx;
    lap_dim a = lap_lua_check_dim(L, 1, "the dividend"), b = lap_lua_check_dim(L, 2, "the divisor");
    lap_dim less = lap_dim_sub(ctx, lap_dim_add(ctx, a, b), lap_dim_const(ctx, 1));
    lap_lua_push_dim(L, floor_divide(L, less, b, false));
    return 1;
}

static int extreme(lua_State *L, lap_dim (*pick)(lap_ctx *, lap_dim, lap_dim))
{
    int n = lua_gettop(L);
    lap_dim d = lap_lua_check_dim(L, 1, "operand 1");
    for (int i = 2; i <= n; i++) {
        d = pick(lap_lua_of(L)->ctx, d, lap_lua_check_dim(L, i, "an operand"));
    }
    lap_lua_push_dim(L, d);
    return 1;
}
static int dim_min(lua_State *L) { return extreme(L, lap_dim_min); }
static int dim_max(lua_State *L) { return extreme(L, lap_dim_max); }

static int dim_trunc(lua_State *L)
{
    double c = luaL_checknumber(L, 1);
    if (!isfinite(c)) {
        lap_lua_fail(L, "trunc by a factor that is not finite");
    }
    lap_lua_push_dim(L, lap_dim_trunc(lap_lua_of(L)->ctx, c, lap_lua_check_dim(L, 2, "the operand")));
    return 1;
}

static int dim_is(lua_State *L)
{
    lua_pushboolean(L, lap_lua_is_dim(L, 1));
    return 1;
}

static int dim_same(lua_State *L)
{
    lap_dim a = lap_lua_check_dim(L, 1, "operand 1"), b = lap_lua_check_dim(L, 2, "operand 2");
    lua_pushboolean(L, lap_dim_same(a, b));
    return 1;
}

static lap_rel find_rel(lua_State *L, const char *text)
{
    static const struct {
        const char *text;
        lap_rel rel;
    } rels[] = {{"eq", LAP_REL_EQ}, {"ne", LAP_REL_NE}, {"lt", LAP_REL_LT},
                {"le", LAP_REL_LE}, {"gt", LAP_REL_GT}, {"ge", LAP_REL_GE}};
    for (size_t i = 0; i < sizeof rels / sizeof *rels; i++) {
        if (strcmp(rels[i].text, text) == 0) {
            return rels[i].rel;
        }
    }
    lap_lua_fail(L, "no relation '%s'", text);
}

/* assume(a, "ge", b, message): refused now when it is known to fail, else when sizes are bound. */
static int prim_assume(lua_State *L)
{
    lap_dim a = lap_lua_check_dim(L, 1, "operand 1"), b = lap_lua_check_dim(L, 3, "operand 2");
    lap_rel rel = find_rel(L, luaL_checkstring(L, 2));
    const char *message =
        lap_text(lap_lua_of(L)->ctx, lap_intern(lap_lua_of(L)->ctx, luaL_checkstring(L, 4)));
    if (!lap_graph_assume(lap_lua_graph(L), a, rel, b, message)) {
        lap_lua_raise(L);
    }
    return 0;
}

/* Whether a relation is known: true, false or nil. */
static int prim_decide(lua_State *L)
{
    lap_dim a = lap_lua_check_dim(L, 1, "operand 1"), b = lap_lua_check_dim(L, 3, "operand 2");
    lap_truth t = lap_dim_compare(lap_lua_of(L)->ctx, a, find_rel(L, luaL_checkstring(L, 2)), b);
    if (t == LAP_UNKNOWN) {
        return 0;
    }
    lua_pushboolean(L, t == LAP_YES);
    return 1;
}

static int refuse_field(lua_State *L)
{
    lap_lua_fail(L,
                 "an extent has no '%s'\nhint: g:number(x:size \"n\") makes a value of it, which has the "
                 "functions of values",
                 luaL_tolstring(L, 2, NULL));
}

static void open_metatable(lua_State *L)
{
    static const struct {
        const char *event;
        lap_fn fn;
    } operators[] = {{"__add", LAP_FN_ADD}, {"__sub", LAP_FN_SUB},   {"__mul", LAP_FN_MUL},
                     {"__div", LAP_FN_DIV}, {"__idiv", LAP_FN_IDIV}, {"__mod", LAP_FN_MOD},
                     {"__pow", LAP_FN_POW}};
    static const struct {
        const char *event;
        lap_rel rel;
    } relations[] = {{"__eq", LAP_REL_EQ}, {"__lt", LAP_REL_LT}, {"__le", LAP_REL_LE}};
    luaL_newmetatable(L, EXTENT);
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        lua_pushinteger(L, operators[i].fn);
        lua_pushcclosure(L, arithmetic, 1);
        lua_setfield(L, -2, operators[i].event);
    }
    for (size_t i = 0; i < sizeof relations / sizeof *relations; i++) {
        lua_pushinteger(L, relations[i].rel);
        lua_pushcclosure(L, compare, 1);
        lua_setfield(L, -2, relations[i].event);
    }
    lua_pushcfunction(L, negate);
    lua_setfield(L, -2, "__unm");
    lua_pushcfunction(L, show);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, refuse_field);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void lap_lua_open_dim(lua_State *L)
{
    static const luaL_Reg functions[] = {{"assume", prim_assume}, {"decide", prim_decide}, {NULL, NULL}};
    static const luaL_Reg dim[] = {{"symbol", dim_symbol}, {"exact", dim_exact}, {"ceil", dim_ceil},
                                   {"min", dim_min},       {"max", dim_max},     {"trunc", dim_trunc},
                                   {"is", dim_is},         {"same", dim_same},   {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    luaL_newlib(L, dim);
    lua_setfield(L, -2, "dim");
    open_metatable(L);
}
