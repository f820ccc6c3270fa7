/* SPDX-License-Identifier: Apache-2.0
 * names.c - axis names in strings such as "y x" and "n d -> m e".
 *
 * A name is an identifier; one with a dot is accepted only where `lap.axis` made it for this graph,
 * so what a library binds cannot meet what a script names. */
#include "frontends/lua/binding.h"

#include <ctype.h>
#include <string.h>

#define FRESH "lap.fresh" /* registry: set of fresh names */

static bool is_plain(const char *text, size_t length)
{
    if (length == 0 || length > 100 || !(isalpha((unsigned char)text[0]) || text[0] == '_')) {
        return false;
    }
    for (size_t i = 1; i < length; i++) {
        if (!(isalnum((unsigned char)text[i]) || text[i] == '_')) {
            return false;
        }
    }
    return true;
}

static bool is_fresh(lua_State *L, const char *text, size_t length)
{
    if (!memchr(text, '.', length)) {
        return false;
    }
    lua_getfield(L, LUA_REGISTRYINDEX, FRESH);
    lua_pushlstring(L, text, length);
    bool is_known = lua_rawget(L, -2) != LUA_TNIL;
    lua_pop(L, 2);
    return is_known;
}

lap_name lap_lua_name(lua_State *L, const char *text, size_t length, const char *what)
{
    if (!is_plain(text, length) && !is_fresh(L, text, length)) {
        lap_lua_fail(L, "'%.*s' is no %s", (int)(length > 100 ? 100 : length), text, what);
    }
    return lap_intern_n(lap_lua_of(L)->ctx, text, length);
}

lap_name lap_lua_check_name(lua_State *L, int at, const char *what)
{
    size_t length;
    if (lua_type(L, at) != LUA_TSTRING) {
        lap_lua_fail(L, "expected %s, found %s", what, lap_lua_kind(L, at));
    }
    const char *text = lua_tolstring(L, at, &length);
    return lap_lua_name(L, text, length, what);
}

lap_names lap_lua_names(lua_State *L, int at)
{
    at = lua_absindex(L, at);
    if (!lua_istable(L, at)) {
        lap_lua_fail(L, "expected a list of axis names, found %s", lap_lua_kind(L, at));
    }
    lua_Unsigned n = lua_rawlen(L, at);
    if (n > 1000) {
        lap_lua_fail(L, "a list of %llu axis names is too long", (unsigned long long)n);
    }
    lap_name *names = lap_arena_array(lap_lua_of(L)->ctx->arena, n + 1, sizeof *names);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, at, (lua_Integer)i + 1);
        names[i] = lap_lua_check_name(L, -1, "axis name");
        lua_pop(L, 1);
    }
    return (lap_names){(uint32_t)n, names};
}

/* Pushes the list of words up to `end`. */
static void push_words(lua_State *L, const char *text, const char *end)
{
    lua_newtable(L);
    lua_Integer n = 0;
    for (const char *p = text; p < end;) {
        if (isspace((unsigned char)*p)) {
            p++;
            continue;
        }
        const char *start = p;
        while (p < end && !isspace((unsigned char)*p)) {
            p++;
        }
        (void)lap_lua_name(L, start, (size_t)(p - start), "axis name");
        lua_pushlstring(L, start, (size_t)(p - start));
        lua_rawseti(L, -2, ++n);
    }
}

static const char *check_spec(lua_State *L, const char *what)
{
    if (lua_isnoneornil(L, 1)) {
        lap_lua_fail(L, "expected %s, found nothing", what);
    }
    if (lua_istable(L, 1) ? luaL_getmetafield(L, 1, "__tostring") == LUA_TNIL
                          : lua_type(L, 1) != LUA_TSTRING) {
        lap_lua_fail(L, "expected %s, found %s", what, lap_lua_kind(L, 1));
    }
    return luaL_tolstring(L, 1, NULL);
}

/* words "y x" -> { "y", "x" } */
static int prim_words(lua_State *L)
{
    const char *text = check_spec(L, "axis names");
    push_words(L, text, text + strlen(text));
    return 1;
}

/* arrow "n d -> m e" -> { "n", "d" }, { "m", "e" } */
static int prim_arrow(lua_State *L)
{
    const char *text = check_spec(L, "'from -> to'");
    const char *arrow = strstr(text, "->");
    if (!arrow) {
        lap_lua_fail(L, "expected 'from -> to', found '%s'", text);
    }
    push_words(L, text, arrow);
    push_words(L, arrow + 2, arrow + strlen(arrow));
    return 2;
}

static int prim_fresh(lua_State *L)
{
    lap_lua *l = lap_lua_of(L);
    size_t length;
    const char *stem = luaL_checklstring(L, 1, &length);
    const char *dot = memchr(stem, '.', length);
    length = dot ? (size_t)(dot - stem) : length;
    if (!is_plain(stem, length)) {
        lap_lua_fail(L, "'%s' is no axis name", stem);
    }
    lua_getfield(L, LUA_REGISTRYINDEX, FRESH);
    lua_pushfstring(L, "%s.%d", lua_pushlstring(L, stem, length), (int)++l->n_fresh);
    lua_pushvalue(L, -1);
    lua_pushboolean(L, 1);
    lua_rawset(L, -5);
    return 1;
}

/* Forgets fresh names: each graph numbers its own, so the same script gives the same graph. */
static int prim_fresh_reset(lua_State *L)
{
    lap_lua_of(L)->n_fresh = 0;
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, FRESH);
    return 0;
}

void lap_lua_open_names(lua_State *L)
{
    static const luaL_Reg functions[] = {{"words", prim_words},
                                         {"arrow", prim_arrow},
                                         {"fresh", prim_fresh},
                                         {"fresh_reset", prim_fresh_reset},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, FRESH);
}
