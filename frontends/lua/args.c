/* SPDX-License-Identifier: Apache-2.0
 * args.c - attributes of an operation from a Lua table, by the kinds of attrs.def.
 *
 * The table's keys are the attributes' names; they are read in the order of attrs.def, so nothing
 * depends on the order of a Lua table. */
#include "frontends/lua/binding.h"

#include <limits.h>
#include <math.h>
#include <string.h>

static int64_t find_text(lua_State *L, int at, const char *what, int n, const char *(*text)(int))
{
    const char *wanted = luaL_checkstring(L, at);
    for (int i = 0; i < n; i++) {
        if (strcmp(text(i), wanted) == 0) {
            return i;
        }
    }
    lap_lua_fail(L, "no %s '%s'", what, wanted);
}
static const char *red_text(int i) { return lap_red_text((lap_red)i); }
static const char *mode_text(int i) { return lap_mode_text((lap_mode)i); }
static const char *norm_text(int i) { return lap_norm_text((lap_norm)i); }

lap_dtype lap_lua_check_dtype(lua_State *L, int at)
{
    size_t length;
    const char *text = luaL_checklstring(L, at, &length);
    lap_dtype t;
    if (strcmp(text, "int") == 0) {
        return LAP_I64;
    }
    if (strcmp(text, "float") == 0) {
        return LAP_F32;
    }
    if (!lap_dtype_find(text, length, &t)) {
        lap_lua_fail(L, "no element type '%s'", text);
    }
    return t;
}

/* A constant in the compute type `want`, or in its own where that is LAP_NO_DTYPE. */
static lap_scalar read_scalar(lua_State *L, int at, lap_dtype want)
{
    lap_scalar s = {.dtype = LAP_F32};
    int type = lua_type(L, at);
    if (type == LUA_TBOOLEAN) {
        s.dtype = LAP_BOOL;
        s.i = lua_toboolean(L, at);
    } else if (type == LUA_TNUMBER && lua_isinteger(L, at)) {
        s.dtype = LAP_I64;
        s.i = lua_tointeger(L, at);
    } else if (type == LUA_TNUMBER) {
        s.f = lua_tonumber(L, at);
    } else {
        lap_lua_fail(L, "expected a number, found %s", lap_lua_kind(L, at));
    }
    if (want == LAP_NO_DTYPE || want == s.dtype) {
        return s;
    }
    double f = s.dtype == LAP_F32 ? s.f : (double)s.i;
    if (want == LAP_F32) {
        return (lap_scalar){.dtype = LAP_F32, .f = f};
    }
    if (s.dtype == LAP_F32 && (f != floor(f) || fabs(f) > 9e15)) {
        lap_lua_fail(L, "the constant %g does not fit an integer tensor", f);
    }
    int64_t i = s.dtype == LAP_F32 ? (int64_t)f : s.i;
    return (lap_scalar){.dtype = want, .i = want == LAP_BOOL ? i != 0 : i};
}

static lap_dim_list read_dims(lua_State *L, int at)
{
    luaL_checktype(L, at, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, at);
    lap_dim *dims = lap_arena_array(lap_lua_of(L)->ctx->arena, (size_t)n + 1, sizeof *dims);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, at, (lua_Integer)i + 1);
        dims[i] = lap_lua_check_dim(L, -1, "a size");
        lua_pop(L, 1);
    }
    return (lap_dim_list){(uint32_t)n, dims};
}

static int32_t operand(lua_State *L, int at, const char *field)
{
    lua_getfield(L, at, field);
    int32_t i = lua_isnil(L, -1) ? -1 : (int32_t)luaL_checkinteger(L, -1);
    lua_pop(L, 1);
    return i;
}

static lap_parts read_parts(lua_State *L, int at)
{
    luaL_checktype(L, at, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, at);
    lap_part *parts = lap_arena_array(lap_lua_of(L)->ctx->arena, (size_t)n + 1, sizeof *parts);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, at, (lua_Integer)i + 1);
        int part = lua_gettop(L);
        luaL_checktype(L, part, LUA_TTABLE);
        lua_getfield(L, part, "keys");
        lap_names keys = lap_lua_names(L, -1);
        parts[i] = (lap_part){.keys = keys};
#define READ(field) parts[i].field = operand(L, part, #field);
        LAP_PART_OPERANDS(READ)
#undef READ
        lua_settop(L, part - 1);
    }
    return (lap_parts){(uint32_t)n, parts};
}

static lap_name read_text(lua_State *L, int at, lap_attr_key key, lap_attr_kind kind)
{
    if (kind == LAP_KIND_NAME) {
        return lap_lua_check_name(L, at, "axis name");
    }
    if (lua_type(L, at) != LUA_TSTRING) {
        lap_lua_fail(L, "'%s' must be a string, found %s", lap_attr_text(key), lap_lua_kind(L, at));
    }
    size_t length;
    const char *text = lua_tolstring(L, at, &length);
    if (strlen(text) != length || length > 4096) {
        lap_lua_fail(L, "'%s' holds a text that is too long or has a zero byte", lap_attr_text(key));
    }
    return lap_intern(lap_lua_of(L)->ctx, text);
}

static lap_attr read_attr(lua_State *L, int at, lap_attr_key key, lap_dtype fill)
{
    lap_attr a = {.key = key};
    lap_attr_kind kind = lap_attr_kind_of(key);
    switch (kind) {
    case LAP_KIND_INT:
        a.i = luaL_checkinteger(L, at);
        break;
    case LAP_KIND_FLOAT:
        a.f = luaL_checknumber(L, at);
        break;
    case LAP_KIND_BOOL:
        a.i = lua_toboolean(L, at);
        break;
    case LAP_KIND_STR:
    case LAP_KIND_NAME:
        a.name = read_text(L, at, key, kind);
        break;
    case LAP_KIND_NAMES:
        a.names = lap_lua_names(L, at);
        break;
    case LAP_KIND_DIM:
        a.dim = lap_lua_check_dim(L, at, lap_attr_text(key));
        break;
    case LAP_KIND_DIMS:
        a.dims = read_dims(L, at);
        break;
    case LAP_KIND_SCALAR:
        a.scalar = read_scalar(L, at, fill);
        break;
    case LAP_KIND_RED:
        a.i = find_text(L, at, "reduction", LAP_N_REDS, red_text);
        break;
    case LAP_KIND_MODE:
        a.i = find_text(L, at, "mode", LAP_N_MODES, mode_text);
        break;
    case LAP_KIND_NORM:
        a.i = find_text(L, at, "normaliser", LAP_N_NORMS, norm_text);
        break;
    case LAP_KIND_PARTS:
        a.parts = read_parts(L, at);
        break;
    case LAP_KIND_FN:
    case LAP_KIND_LOOP:
    case LAP_KIND_SPACE:
    case LAP_KIND_DTYPE:
    case LAP_KIND_LAYOUT:
    case LAP_KIND_TYPE:
        LAP_BUG("attribute '%s' is not read from Lua", lap_attr_text(key));
    }
    return a;
}

uint32_t lap_lua_attrs(lua_State *L, lap_op op, int at, lap_dtype fill, lap_attr *out)
{
    uint32_t n = 0;
    at = lua_absindex(L, at);
    for (lap_attr_key key = 0; key < LAP_N_ATTRS; key++) {
        bool is_required;
        if (!lap_op_takes(op, key, &is_required)) {
            continue;
        }
        lua_getfield(L, at, lap_attr_text(key));
        if (!lua_isnil(L, -1)) {
            out[n++] = read_attr(L, lua_gettop(L), key, fill);
        } else if (is_required) {
            lap_lua_fail(L, "'%s' needs '%s'", lap_op_text(op), lap_attr_text(key));
        }
        lua_pop(L, 1);
    }
    return n;
}
