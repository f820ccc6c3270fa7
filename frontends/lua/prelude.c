/* SPDX-License-Identifier: Apache-2.0
 * prelude.c - the Lua part of the surface, embedded in the binary and run in each new state.
 *
 * The assembler includes the files as they are (its search path is the compiler's), so no generated
 * source stands between prelude/NAME.lua and the build. */
#include "frontends/lua/binding.h"

#define PRELUDE(name)                                                                                        \
    __asm__(".pushsection .rodata\n"                                                                         \
            ".global lap_prelude_" #name "\n.global lap_prelude_" #name "_end\n"                             \
            ".hidden lap_prelude_" #name "\n.hidden lap_prelude_" #name "_end\n"                             \
            "lap_prelude_" #name ":\n.incbin \"frontends/lua/prelude/" #name ".lua\"\n"                      \
            "lap_prelude_" #name "_end:\n.byte 0\n.popsection\n");                                           \
    extern const char lap_prelude_##name[], lap_prelude_##name##_end[];

PRELUDE(base)
PRELUDE(views)
PRELUDE(reduce)
PRELUDE(attend)
PRELUDE(regions)
PRELUDE(schema)

void lap_lua_open_prelude(lua_State *L)
{
#define PART(name)                                                                                           \
    {                                                                                                        \
        "=lappet " #name, lap_prelude_##name, lap_prelude_##name##_end                                       \
    }
    static const struct {
        const char *chunk, *text, *end;
    } parts[] = {PART(base), PART(views), PART(reduce), PART(attend), PART(regions), PART(schema)};
#undef PART
    int prim = lua_gettop(L);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (luaL_loadbufferx(L, parts[i].text, (size_t)(parts[i].end - parts[i].text), parts[i].chunk, "t") !=
            LUA_OK) {
            LAP_BUG("%s", lua_tostring(L, -1));
        }
        lua_pushvalue(L, prim);
        lua_call(L, 1, 0);
    }
    lua_getfield(L, prim, "lap"); /* the module that scripts require, and a global */
    lua_pushvalue(L, -1);
    lua_setglobal(L, "lap");
    lua_getfield(L, LUA_REGISTRYINDEX, "lap.loaded");
    lua_insert(L, -2);
    lua_setfield(L, -2, "lap");
    lua_getfield(L, prim, "unknown");
    lua_setfield(L, LUA_REGISTRYINDEX, "lap.unknown");
    lua_pushvalue(L, prim);
    lua_setfield(L, LUA_REGISTRYINDEX, "lap.prim");
    lua_settop(L, prim - 1);
}
