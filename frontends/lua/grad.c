/* SPDX-License-Identifier: Apache-2.0
 * grad.c - lap.grad: reverse mode from Lua. */
#include "frontends/lua/binding.h"
#include "passes/grad.h"

static lap_ref *read_list(lua_State *L, int at, uint32_t *out_n)
{
    luaL_checktype(L, at, LUA_TTABLE);
    uint32_t n = (uint32_t)lua_rawlen(L, at);
    lap_ref *refs = lap_arena_array(lap_lua_of(L)->ctx->arena, n + 1, sizeof *refs);
    for (uint32_t i = 0; i < n; i++) {
        lua_rawgeti(L, at, (lua_Integer)i + 1);
        refs[i] = lap_lua_value(L, -1);
        lua_pop(L, 1);
    }
    *out_n = n;
    return refs;
}

/* grad(values, cotangents, inputs) -> list of gradients */
static int prim_grad(lua_State *L)
{
    lap_graph *g = lap_lua_graph(L);
    uint32_t n, n_cotangents, n_inputs;
    const lap_ref *values = read_list(L, 1, &n), *cotangents = read_list(L, 2, &n_cotangents);
    const lap_ref *inputs = read_list(L, 3, &n_inputs);
    if (n != n_cotangents) {
        lap_lua_fail(L, "a seed of grad is { value, cotangent }");
    }
    lap_ref *out = lap_arena_array(lap_lua_of(L)->ctx->arena, n_inputs + 1, sizeof *out);
    if (!lap_grad(g, n, values, cotangents, n_inputs, inputs, out)) {
        lap_lua_raise(L);
    }
    lua_createtable(L, (int)n_inputs, 0);
    for (uint32_t i = 0; i < n_inputs; i++) {
        lap_lua_push_value(L, out[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

void lap_lua_open_grad(lua_State *L)
{
    lua_pushcfunction(L, prim_grad);
    lua_setfield(L, -2, "grad");
}
