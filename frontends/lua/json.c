/* SPDX-License-Identifier: Apache-2.0
 * json.c - JSON parameters as Lua values and back.
 *
 * Whole numbers become integers; the schema turns them to fractions where a parameter is a float. */
#include "frontends/lua/binding.h"

#include <cjson/cJSON.h>
#include <math.h>

void lap_lua_push_json(lua_State *L, const cJSON *j)
{
    luaL_checkstack(L, 4, "JSON nests too deeply");
    if (cJSON_IsBool(j)) {
        lua_pushboolean(L, cJSON_IsTrue(j));
    } else if (cJSON_IsNumber(j)) {
        double d = j->valuedouble;
        if (d == floor(d) && fabs(d) < 9007199254740992.0) {
            lua_pushinteger(L, (lua_Integer)d);
        } else {
            lua_pushnumber(L, d);
        }
    } else if (cJSON_IsString(j)) {
        lua_pushstring(L, j->valuestring);
    } else if (cJSON_IsArray(j)) {
        lua_newtable(L);
        lua_Integer i = 0;
        for (const cJSON *e = j->child; e; e = e->next) {
            lap_lua_push_json(L, e);
            lua_rawseti(L, -2, ++i);
        }
    } else if (cJSON_IsObject(j)) {
        lua_newtable(L);
        for (const cJSON *e = j->child; e; e = e->next) {
            lap_lua_push_json(L, e);
            lua_setfield(L, -2, e->string);
        }
    } else {
        lua_pushnil(L);
    }
}

static cJSON *to_json(lua_State *L, int at, int depth)
{
    enum { MAX_DEPTH = 20 };
    at = lua_absindex(L, at);
    switch (lua_type(L, at)) {
    case LUA_TBOOLEAN:
        return cJSON_CreateBool(lua_toboolean(L, at));
    case LUA_TNUMBER:
        return cJSON_CreateNumber(lua_tonumber(L, at));
    case LUA_TSTRING:
        return cJSON_CreateString(lua_tostring(L, at));
    case LUA_TTABLE:
        break;
    default:
        return NULL;
    }
    if (depth == MAX_DEPTH || !lua_checkstack(L, 4)) {
        return NULL;
    }
    cJSON *list = cJSON_CreateArray();
    lua_Unsigned n = lua_rawlen(L, at);
    for (lua_Unsigned i = 1; i <= n; i++) {
        lua_rawgeti(L, at, (lua_Integer)i);
        cJSON *item = to_json(L, -1, depth + 1);
        lua_pop(L, 1);
        if (item) {
            cJSON_AddItemToArray(list, item);
        }
    }
    return list;
}

cJSON *lap_lua_to_json(lua_State *L, int at) { return to_json(L, at, 0); }
