/* SPDX-License-Identifier: Apache-2.0
 * value.c - tensors in Lua: operators, fields, and what a script may ask of a value.
 *
 * A tensor is a node of the graph being built; one kept from another build is refused. */
#include "frontends/lua/binding.h"

#include <math.h>
#include <string.h>

#define TENSOR "tensor"

typedef struct value {
    lap_graph *graph;
    lap_ref ref;
} value;

static const value *to_value(lua_State *L, int at) { return luaL_testudata(L, at, TENSOR); }

bool lap_lua_is_value(lua_State *L, int at) { return to_value(L, at) != NULL; }

lap_graph *lap_lua_graph(lua_State *L)
{
    enum { MAX_NODES = 2000000 };
    lap_lua *l = lap_lua_of(L);
    if (!l->graph) {
        lap_lua_fail(L, "tensors exist only while `build` runs");
    }
    if (lap_graph_n_nodes(l->graph) > MAX_NODES) {
        lap_lua_fail(L, "the graph has more than %d operations", MAX_NODES);
    }
    lap_set_loc(l->graph, lap_lua_where(L));
    return l->graph;
}

lap_ref lap_lua_value(lua_State *L, int at)
{
    const value *v = to_value(L, at);
    if (!v) {
        lap_lua_fail(L, "expected a tensor, found %s", lap_lua_kind(L, at));
    }
    if (v->graph != lap_lua_of(L)->graph) {
        lap_lua_fail(L, "this tensor was made by another build\nhint: do not keep tensors in a module");
    }
    return v->ref;
}

lap_ref lap_lua_lift(lua_State *L, int at)
{
    if (lap_lua_is_value(L, at)) {
        return lap_lua_value(L, at);
    }
    lap_graph *g = lap_lua_graph(L);
    lap_dim d;
    if (lap_lua_is_dim(L, at) && lap_lua_to_dim(L, at, &d)) {
        return lap_dim_node(g, d);
    }
    if (lua_type(L, at) == LUA_TBOOLEAN) {
        return lap_const_b(g, lua_toboolean(L, at));
    }
    if (lua_type(L, at) != LUA_TNUMBER) {
        lap_lua_fail(L, "expected a tensor or a number, found %s", lap_lua_kind(L, at));
    }
    return lua_isinteger(L, at) ? lap_const_i(g, lua_tointeger(L, at)) : lap_const_f(g, lua_tonumber(L, at));
}

void lap_lua_push_value(lua_State *L, lap_ref ref)
{
    if (!lap_ref_some(ref)) {
        lap_lua_raise(L);
    }
    value *v = lua_newuserdatauv(L, sizeof *v, 0);
    *v = (value){lap_lua_of(L)->graph, ref};
    luaL_setmetatable(L, TENSOR);
}

static lap_ref map(lua_State *L, lap_fn fn, int first)
{
    lap_graph *g = lap_lua_graph(L);
    lap_ref a[3] = {{0}};
    unsigned n = lap_fn_arity(fn);
    for (unsigned i = 0; i < n; i++) {
        a[i] = lap_lua_lift(L, first + (int)i);
    }
    if (n == 2) {
        lap_lua_look_same(L, fn, a[0], a[1]);
    }
    return n == 1   ? lap_map1(g, fn, a[0])
           : n == 2 ? lap_map2(g, fn, a[0], a[1])
                    : lap_map3(g, fn, a[0], a[1], a[2]);
}

static int operator(lua_State *L)
{
    lap_lua_push_value(L, map(L, (lap_fn)lua_tointeger(L, lua_upvalueindex(1)), 1));
    return 1;
}

/* map("exp", x) */
static int prim_map(lua_State *L)
{
    size_t length;
    const char *name = luaL_checklstring(L, 1, &length);
    lap_fn fn;
    if (!lap_fn_find(name, length, &fn)) {
        lap_lua_fail(L, "no scalar function '%s'", name);
    }
    lua_settop(L, 1 + (int)lap_fn_arity(fn));
    lap_lua_push_value(L, map(L, fn, 2));
    return 1;
}

static int refuse_compare(lua_State *L)
{
    lap_lua_fail(L, "tensors are compared with :lt :le :gt :ge :eq :ne, since < must give true or false");
}

static int refuse_length(lua_State *L)
{
    lap_lua_fail(L, "a tensor has no length\nhint: x:size \"n\" is the extent of axis n");
}

static int is_same_value(lua_State *L)
{
    const value *a = to_value(L, 1), *b = to_value(L, 2);
    lua_pushboolean(L, a && b && a->graph == b->graph && lap_ref_same(a->ref, b->ref));
    return 1;
}

static const lap_node *node_at(lua_State *L, int at)
{
    lap_ref ref = lap_lua_value(L, at);
    return lap_node_at(lap_lua_of(L)->graph, ref);
}

static int show(lua_State *L)
{
    const value *v = to_value(L, 1);
    lua_pushstring(L, v ? lap_type_show(lap_graph_ctx(v->graph), lap_node_at(v->graph, v->ref)) : "tensor");
    return 1;
}

/* Methods, then the fields g and dtype. Upvalues: methods, what to say about others. */
static int index_value(lua_State *L)
{
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) {
        return 1;
    }
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    if (strcmp(key, "g") == 0) {
        lua_getfield(L, LUA_REGISTRYINDEX, "lap.g");
        return 1;
    }
    if (strcmp(key, "dtype") == 0) {
        lua_pushstring(L, lap_dtype_text(node_at(L, 1)->dtype));
        return 1;
    }
    lua_getfield(L, LUA_REGISTRYINDEX, "lap.unknown");
    lua_pushliteral(L, "a tensor");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 2);
    lua_call(L, 3, 0);
    return 0;
}

static int refuse_assignment(lua_State *L) { lap_lua_fail(L, "a tensor has no fields to assign"); }

static const lap_axis *axis_of(lua_State *L)
{
    const lap_node *n = node_at(L, 1);
    size_t length;
    const char *name = luaL_checklstring(L, 2, &length);
    return lap_node_axis(n, lap_intern_n(lap_lua_of(L)->ctx, name, length));
}

/* size(x, axis) -> extent or nil */
static int prim_size(lua_State *L)
{
    const lap_axis *a = axis_of(L);
    if (!a) {
        return 0;
    }
    lap_lua_push_dim(L, a->size);
    return 1;
}

/* count(x, axis) -> run-time extent or nil */
static int prim_count(lua_State *L)
{
    const lap_axis *a = axis_of(L);
    if (!a || !lap_ref_some(a->count)) {
        return 0;
    }
    lap_lua_push_value(L, a->count);
    return 1;
}

static int prim_axes(lua_State *L)
{
    const lap_node *n = node_at(L, 1);
    lua_createtable(L, (int)n->n_axes, 0);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        lua_pushstring(L, lap_text(lap_lua_of(L)->ctx, n->axes[i].name));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* The number or boolean that a scalar is known to be, else nil. */
static int prim_const(lua_State *L)
{
    if (!lap_lua_is_value(L, 1)) {
        lua_settop(L, 1);
        return 1;
    }
    const lap_node *n = node_at(L, 1);
    const lap_attr *a = n->op == LAP_OP_CONST ? lap_node_attr(n, LAP_ATTR_VALUE) : NULL;
    if (!a) {
        return 0;
    }
    if (a->scalar.dtype == LAP_BOOL) {
        lua_pushboolean(L, a->scalar.i != 0);
    } else if (a->scalar.dtype == LAP_I64) {
        lua_pushinteger(L, a->scalar.i);
    } else {
        lua_pushnumber(L, a->scalar.f);
    }
    return 1;
}

static int prim_is_value(lua_State *L)
{
    lua_pushboolean(L, lap_lua_is_value(L, 1));
    return 1;
}

static int prim_lift(lua_State *L)
{
    lap_lua_push_value(L, lap_lua_lift(L, 1));
    return 1;
}

static int prim_show(lua_State *L)
{
    const lap_node *n = node_at(L, 1);
    const char *text = lap_type_show(lap_lua_of(L)->ctx, n);
    lua_pushstring(L, text);
    return 1;
}

static int prim_kind(lua_State *L)
{
    lua_pushstring(L, lap_lua_kind(L, 1));
    return 1;
}

static int prim_fail(lua_State *L) { lap_lua_fail(L, "%s", luaL_tolstring(L, 1, NULL)); }

static int call_framed(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* framed(f): f as a C function. */
static int prim_framed(lua_State *L)
{
    lua_settop(L, 1);
    lua_pushcclosure(L, call_framed, 1);
    return 1;
}

static void open_metatable(lua_State *L)
{
    static const struct {
        const char *event;
        lap_fn fn;
    } operators[] = {{"__add", LAP_FN_ADD}, {"__sub", LAP_FN_SUB},   {"__mul", LAP_FN_MUL},
                     {"__div", LAP_FN_DIV}, {"__idiv", LAP_FN_IDIV}, {"__mod", LAP_FN_MOD},
                     {"__pow", LAP_FN_POW}, {"__band", LAP_FN_AND},  {"__bor", LAP_FN_OR},
                     {"__unm", LAP_FN_NEG}, {"__bnot", LAP_FN_NOT}};
    static const luaL_Reg others[] = {{"__lt", refuse_compare},
                                      {"__le", refuse_compare},
                                      {"__len", refuse_length},
                                      {"__eq", is_same_value},
                                      {"__tostring", show},
                                      {"__newindex", refuse_assignment},
                                      {NULL, NULL}};
    luaL_newmetatable(L, TENSOR);
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        lua_pushinteger(L, operators[i].fn);
        lua_pushcclosure(L, operator, 1);
        lua_setfield(L, -2, operators[i].event);
    }
    luaL_setfuncs(L, others, 0);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_newtable(L); /* methods: filled by the prelude */
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, "V");
    lua_pushcclosure(L, index_value, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

void lap_lua_open_value(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"map", prim_map},     {"size", prim_size},         {"count", prim_count},   {"axes", prim_axes},
        {"const", prim_const}, {"is_value", prim_is_value}, {"lift", prim_lift},     {"show", prim_show},
        {"kind", prim_kind},   {"fail", prim_fail},         {"framed", prim_framed}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    open_metatable(L);
}
