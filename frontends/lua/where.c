/* SPDX-License-Identifier: Apache-2.0
 * where.c - the Lua stack as a source place, and errors that carry it.
 *
 * User code are chunks named "@file"; the prelude and C are skipped. A tail call drops its frame,
 * so a chain that never reaches the model file ends at the line where its `build` is defined. */
#include "frontends/lua/binding.h"

#include <stdarg.h>
#include <string.h>

enum { MAX_PLACES = 8, MAX_LEVELS = 200 }; /* finding a level takes time that grows with it */

lap_loc lap_lua_where(lua_State *L)
{
    lap_lua *l = lap_lua_of(L);
    struct {
        const char *file;
        int line;
    } chain[MAX_PLACES];
    int n = 0;
    bool is_in_model = false;
    lua_Debug ar;
    for (int level = 0; n < MAX_PLACES && level < MAX_LEVELS && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline <= 0 || ar.source[0] != '@') {
            continue;
        }
        is_in_model = is_in_model || (l->model_source && strcmp(ar.source, l->model_source) == 0);
        if (n > 0 && chain[n - 1].line == ar.currentline && strcmp(chain[n - 1].file, ar.source + 1) == 0) {
            continue;
        }
        chain[n].file = ar.source + 1;
        chain[n++].line = ar.currentline;
    }
    lap_loc loc = is_in_model ? (lap_loc){0} : l->model_loc;
    while (n > 0) {
        n--;
        loc = lap_loc_make(l->ctx, chain[n].file, chain[n].line, loc);
    }
    return loc;
}

_Noreturn void lap_lua_raise(lua_State *L)
{
    lap_lua_of(L)->is_failed = true;
    lua_pushliteral(L, "reported");
    lua_error(L);
    __builtin_unreachable();
}

_Noreturn void lap_lua_fail(lua_State *L, const char *format, ...)
{
    lap_lua *l = lap_lua_of(L);
    va_list args;
    va_start(args, format);
    (void)lap_verror(l->ctx, lap_lua_where(L), format, args);
    va_end(args);
    lap_lua_raise(L);
}

/* Lua puts "file:line: " before a message; the place is reported on its own. */
static const char *without_place(lua_State *L, const char *message)
{
    lua_Debug ar;
    for (int level = 0; level < 12 && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        const char *prefix = lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
        size_t length = strlen(prefix);
        bool is_same = strncmp(message, prefix, length) == 0;
        lua_pop(L, 1);
        if (is_same) {
            return message + length;
        }
    }
    return message;
}

int lap_lua_on_error(lua_State *L)
{
    lap_lua *l = lap_lua_of(L);
    if (l->is_failed) {
        return 1;
    }
    l->is_failed = true;
    lap_loc loc = lap_lua_where(L);
    if (lua_type(L, 1) == LUA_TSTRING) {
        (void)lap_error(l->ctx, loc, "%s", without_place(L, lua_tostring(L, 1)));
    } else {
        (void)lap_error(l->ctx, loc, "the script raised %s instead of a message", lap_lua_kind(L, 1));
    }
    return 1;
}
