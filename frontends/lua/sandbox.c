/* SPDX-License-Identifier: Apache-2.0
 * sandbox.c - what a script may call: base, string, table, math and utf8 without the parts that reach
 * outside, differ between runs, or run long without counting steps; `require` on the plugin path.
 *
 * Scripts see a read-only view of the globals: a forgotten `local` is an error, not a leak. */
#include "frontends/lua/binding.h"

#include <lualib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void drop_fields(lua_State *L, const char *const *names)
{
    for (; *names; names++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *names);
    }
}

static int print_to_stderr(lua_State *L)
{
    int n = lua_gettop(L);
    for (int i = 1; i <= n; i++) {
        size_t length;
        const char *text = luaL_tolstring(L, i, &length);
        lap_lua_charge(L, 10000 + length); /* a terminal is slow */
        fprintf(stderr, "%s%.*s", i > 1 ? "\t" : "", (int)(length > 65536 ? 65536 : length), text);
        lua_pop(L, 1);
    }
    fputc('\n', stderr);
    return 0;
}

/* Errors of the language and spent limits pass through; a script catches only its own errors. */
static int finish_pcall(lua_State *L, int status, uint32_t depth)
{
    lap_lua *l = lap_lua_of(L);
    if (status == LUA_OK) {
        lua_pushboolean(L, 1);
        lua_insert(L, 1);
        return lua_gettop(L);
    }
    if (status == LUA_ERRMEM && !l->is_failed) {
        l->is_failed = true;
        (void)lap_error(l->ctx, lap_lua_where(L), "the script needs more than %llu MiB of memory",
                        (unsigned long long)(l->max_bytes >> 20));
    }
    if (l->is_failed) {
        lap_lua_raise(L);
    }
    if (l->depth != depth) {
        lap_lua_fail(L, "an error inside the body of a region cannot be caught outside: %s",
                     lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : lap_lua_kind(L, -1));
    }
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

static int safe_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    uint32_t depth = lap_lua_of(L)->depth;
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    return finish_pcall(L, status, depth);
}

/* The handler runs after the error, not inside it: there a loop would run with the step count off. */
static int safe_xpcall(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TFUNCTION);
    uint32_t depth = lap_lua_of(L)->depth;
    lua_pushvalue(L, 2); /* f handler args.. -> handler f args.. */
    lua_insert(L, 1);
    lua_remove(L, 3);
    int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
    if (status == LUA_OK) {
        lua_remove(L, 1);
        return finish_pcall(L, status, depth);
    }
    (void)finish_pcall(L, status, depth); /* handler false message */
    lua_remove(L, 2);
    lua_call(L, 1, 1);
    lua_pushboolean(L, 0);
    lua_insert(L, 1);
    return 2;
}

/* A finaliser runs with the step count off. */
static int safe_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL) {
            return luaL_error(L, "scripts have no finalisers (__gc)");
        }
        lua_pop(L, 1);
    }
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL) {
        return luaL_error(L, "the metatable is protected");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

/* Calls the library's function that is wrapped, with the same arguments. */
static int call_wrapped(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* The ranges of the library's own loops are counted before they run. */
static int counted_range(lua_State *L, int first, int last)
{
    lua_Integer i = luaL_optinteger(L, first, 1);
    lua_Integer j = lua_isnoneornil(L, last) ? (lua_istable(L, 1) ? (lua_Integer)lua_rawlen(L, 1) : 0)
                                             : luaL_checkinteger(L, last);
    if (j > i) {
        lap_lua_charge(L, (uint64_t)j - (uint64_t)i);
    }
    return call_wrapped(L);
}
static int safe_move(lua_State *L) { return counted_range(L, 2, 3); }
static int safe_concat(lua_State *L) { return counted_range(L, 3, 4); }
static int safe_unpack(lua_State *L) { return counted_range(L, 2, 3); }

static int shift(lua_State *L, bool has_place)
{
    if (has_place && lua_istable(L, 1)) {
        lap_lua_charge(L, lua_rawlen(L, 1));
    }
    return call_wrapped(L);
}
static int safe_insert(lua_State *L) { return shift(L, lua_gettop(L) > 2); }
static int safe_remove(lua_State *L) { return shift(L, lua_gettop(L) > 1); }

static int safe_sort(lua_State *L)
{
    lap_lua_charge(L, lua_istable(L, 1) ? 20 * lua_rawlen(L, 1) : 0);
    return call_wrapped(L);
}

static void wrap(lua_State *L, const char *name, lua_CFunction f)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, f, 1);
    lua_setfield(L, -2, name);
}

static bool is_module_name(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_./");
    return n > 0 && n < 200 && name[n] == '\0' && !strstr(name, "..") && !strstr(name, "//") &&
           name[0] != '/' && name[0] != '.';
}

const char *lap_lua_find(lap_lua *l, const char *name, const char **out_shown)
{
    lap_arena *arena = l->ctx->arena;
    char *file = lap_arena_printf(arena, "%s.lua", name);
    for (char *c = file; c < file + strlen(name); c++) {
        *c = *c == '.' ? '/' : *c;
    }
    for (uint32_t i = 0; i < l->n_path; i++) {
        const char *path = lap_arena_printf(arena, "%s/%s", l->path[i], file);
        if (access(path, R_OK) != 0) {
            continue;
        }
        size_t end = strlen(l->path[i]); /* shown from the folder's own name on */
        while (end > 1 && l->path[i][end - 1] == '/') {
            end--;
        }
        size_t start = end;
        while (start > 0 && l->path[i][start - 1] != '/') {
            start--;
        }
        *out_shown = lap_arena_printf(arena, "%.*s/%s", (int)(end - start), l->path[i] + start, file);
        return path;
    }
    return NULL;
}

static int safe_require(lua_State *L)
{
    lap_lua *l = lap_lua_of(L);
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "lap.loaded");
    lua_pushvalue(L, 1);
    if (lua_rawget(L, 2) != LUA_TNIL) {
        if (lua_islightuserdata(L, -1)) {
            lap_lua_fail(L, "module '%s' requires itself", name);
        }
        return 1;
    }
    const char *shown = NULL;
    const char *path = is_module_name(name) ? lap_lua_find(l, name, &shown) : NULL;
    if (!path) {
        lap_lua_fail(L, "no module '%s' on the plugin path\nhint: modules are named like \"lib.nn\"", name);
    }
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, l); /* in progress */
    lua_rawset(L, 2);
    char *text;
    size_t length;
    if (!lap_lua_read(l, lap_lua_where(L), path, &text, &length) ||
        !lap_lua_load(l, lap_arena_printf(l->ctx->arena, "@%s", shown), text, length)) {
        lap_lua_raise(L);
    }
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1)) {
        lap_lua_fail(L, "module '%s' returns nothing", name);
    }
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, 2);
    return 1;
}

static int refuse_global(lua_State *L)
{
    lap_lua_fail(L, "assignment to the global '%s'\nhint: write `local %s`", luaL_tolstring(L, 2, NULL),
                 luaL_tolstring(L, 2, NULL));
}

static int unknown_global(lua_State *L)
{
    lua_getfield(L, lua_upvalueindex(1), "_G");
    lua_pushvalue(L, 2);
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lap_lua_fail(L, "no global '%s'", luaL_tolstring(L, 2, NULL));
    }
    return 1;
}

static void open_env(lua_State *L)
{
    lua_newtable(L); /* the scripts' globals */
    lua_newtable(L);
    lua_newtable(L);
    lua_pushglobaltable(L);
    lua_setfield(L, -2, "_G");
    lua_pushcclosure(L, unknown_global, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, refuse_global);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_setfield(L, LUA_REGISTRYINDEX, "lap.env");
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "lap.loaded");
}

static void open_tables(lua_State *L)
{
    lua_getglobal(L, LUA_TABLIBNAME);
    wrap(L, "move", safe_move);
    wrap(L, "concat", safe_concat);
    wrap(L, "unpack", safe_unpack);
    wrap(L, "insert", safe_insert);
    wrap(L, "remove", safe_remove);
    wrap(L, "sort", safe_sort);
    lua_pop(L, 1);
    lua_getglobal(L, LUA_MATHLIBNAME);
    drop_fields(L, (const char *const[]){"random", "randomseed", NULL});
    lua_pop(L, 1);
    lua_getglobal(L, LUA_STRLIBNAME);
    drop_fields(L, (const char *const[]){"dump", "pack", "unpack", "packsize", NULL});
    lua_pop(L, 1);
    lap_lua_open_pattern(L);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

void lap_lua_open_sandbox(lua_State *L)
{
    static const luaL_Reg libraries[] = {{LUA_GNAME, luaopen_base},
                                         {LUA_STRLIBNAME, luaopen_string},
                                         {LUA_TABLIBNAME, luaopen_table},
                                         {LUA_MATHLIBNAME, luaopen_math},
                                         {LUA_UTF8LIBNAME, luaopen_utf8}};
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        luaL_requiref(L, libraries[i].name, libraries[i].func, 1);
        lua_pop(L, 1);
    }
    static const luaL_Reg base[] = {{"print", print_to_stderr}, {"pcall", safe_pcall},
                                    {"xpcall", safe_xpcall},    {"setmetatable", safe_setmetatable},
                                    {"require", safe_require},  {NULL, NULL}};
    lua_pushglobaltable(L);
    luaL_setfuncs(L, base, 0);
    drop_fields(L, (const char *const[]){"load", "loadfile", "dofile", "collectgarbage", "warn", "_G", NULL});
    lua_pop(L, 1);
    open_tables(L);
    open_env(L);
}
