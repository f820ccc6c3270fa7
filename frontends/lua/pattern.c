/* SPDX-License-Identifier: Apache-2.0
 * pattern.c - Lua patterns and string repetition with every step counted.
 *
 * The library's own matcher can take exponential time inside one call, where the step limit of a
 * sandbox does not reach; this one charges each step. Same patterns, same results. */
#include "frontends/lua/binding.h"

#include <ctype.h>
#include <lualib.h>
#include <string.h>

enum { MAX_CAPTURES = 32, MAX_DEPTH = 190, OPEN = -1, POSITION = -2 };

typedef struct capture {
    const char *start;
    ptrdiff_t length;
} capture;

typedef struct matcher {
    lua_State *L;
    const char *subject, *subject_end, *pattern_end;
    int n_captures, depth;
    capture captures[MAX_CAPTURES];
} matcher;

static const char *match_here(matcher *m, const char *s, const char *p);

/* One past a single-character class that starts at p. */
static const char *class_end(matcher *m, const char *p)
{
    char c = *p++;
    if (c == '%') {
        if (p == m->pattern_end) {
            luaL_error(m->L, "malformed pattern (ends with '%%')");
        }
        return p + 1;
    }
    if (c != '[') {
        return p;
    }
    p += p < m->pattern_end && *p == '^';
    for (bool is_first = true; is_first || p >= m->pattern_end || *p != ']'; is_first = false) {
        if (p >= m->pattern_end) {
            luaL_error(m->L, "malformed pattern (missing ']')");
        }
        p += *p == '%' && p + 1 < m->pattern_end ? 2 : 1;
    }
    return p + 1;
}

static bool in_named_class(int c, int name)
{
    static const struct {
        char name;
        int (*test)(int);
    } classes[] = {{'a', isalpha}, {'c', iscntrl}, {'d', isdigit}, {'g', isgraph}, {'l', islower},
                   {'p', ispunct}, {'s', isspace}, {'u', isupper}, {'w', isalnum}, {'x', isxdigit}};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (tolower(name) == classes[i].name) {
            return (classes[i].test(c) != 0) == (islower(name) != 0);
        }
    }
    return name == c;
}

/* p is at '[', end one past ']'. */
static bool in_set(int c, const char *p, const char *end)
{
    bool is_negated = p[1] == '^';
    end--;
    for (p += 1 + is_negated; p < end; p++) {
        if (*p == '%' && p + 1 < end) {
            p++;
            if (in_named_class(c, (unsigned char)*p)) {
                return !is_negated;
            }
        } else if (p + 2 < end && p[1] == '-') {
            if ((unsigned char)p[0] <= c && c <= (unsigned char)p[2]) {
                return !is_negated;
            }
            p += 2;
        } else if ((unsigned char)*p == c) {
            return !is_negated;
        }
    }
    return is_negated;
}

static bool matches_one(matcher *m, const char *s, const char *p, const char *end)
{
    lap_lua_charge(m->L, 1 + (uint64_t)(end - p) / 4);
    if (s >= m->subject_end) {
        return false;
    }
    int c = (unsigned char)*s;
    switch (*p) {
    case '.':
        return true;
    case '%':
        return in_named_class(c, (unsigned char)p[1]);
    case '[':
        return in_set(c, p, end);
    default:
        return (unsigned char)*p == c;
    }
}

static const char *match_balance(matcher *m, const char *s, const char *p)
{
    if (p + 1 >= m->pattern_end) {
        luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    }
    if (s >= m->subject_end || *s != p[0]) {
        return NULL;
    }
    lap_lua_charge(m->L, (uint64_t)(m->subject_end - s));
    int level = 1;
    while (++s < m->subject_end) {
        if (*s == p[1]) {
            if (--level == 0) {
                return s + 1;
            }
        } else if (*s == p[0]) {
            level++;
        }
    }
    return NULL;
}

static const char *longest(matcher *m, const char *s, const char *p, const char *end)
{
    ptrdiff_t i = 0;
    while (matches_one(m, s + i, p, end)) {
        i++;
    }
    for (; i >= 0; i--) {
        const char *r = match_here(m, s + i, end + 1);
        if (r) {
            return r;
        }
    }
    return NULL;
}

static const char *shortest(matcher *m, const char *s, const char *p, const char *end)
{
    for (;; s++) {
        const char *r = match_here(m, s, end + 1);
        if (r) {
            return r;
        }
        if (!matches_one(m, s, p, end)) {
            return NULL;
        }
    }
}

static const char *open_capture(matcher *m, const char *s, const char *p, ptrdiff_t kind)
{
    if (m->n_captures >= MAX_CAPTURES) {
        luaL_error(m->L, "too many captures");
    }
    m->captures[m->n_captures++] = (capture){s, kind};
    const char *r = match_here(m, s, p);
    if (!r) {
        m->n_captures--;
    }
    return r;
}

static const char *close_capture(matcher *m, const char *s, const char *p)
{
    int i = m->n_captures;
    while (--i >= 0 && m->captures[i].length != OPEN) {
    }
    if (i < 0) {
        luaL_error(m->L, "invalid pattern capture");
    }
    m->captures[i].length = s - m->captures[i].start;
    const char *r = match_here(m, s, p);
    if (!r) {
        m->captures[i].length = OPEN;
    }
    return r;
}

static const char *match_back(matcher *m, const char *s, int digit)
{
    int i = digit - '1';
    if (i < 0 || i >= m->n_captures || m->captures[i].length < 0) {
        luaL_error(m->L, "invalid capture index %%%d", i + 1);
    }
    size_t length = (size_t)m->captures[i].length;
    lap_lua_charge(m->L, length);
    return (size_t)(m->subject_end - s) >= length && memcmp(m->captures[i].start, s, length) == 0 ? s + length
                                                                                                  : NULL;
}

static bool at_frontier(matcher *m, const char *s, const char *p, const char *end)
{
    int before = s == m->subject ? 0 : (unsigned char)s[-1];
    int here = s == m->subject_end ? 0 : (unsigned char)*s;
    return !in_set(before, p, end) && in_set(here, p, end);
}

static const char *match_item(matcher *m, const char *s, const char *p)
{
    for (; p < m->pattern_end;) {
        if (*p == '(') {
            return p + 1 < m->pattern_end && p[1] == ')' ? open_capture(m, s, p + 2, POSITION)
                                                         : open_capture(m, s, p + 1, OPEN);
        }
        if (*p == ')') {
            return close_capture(m, s, p + 1);
        }
        if (*p == '$' && p + 1 == m->pattern_end) {
            return s == m->subject_end ? s : NULL;
        }
        int escaped = *p == '%' && p + 1 < m->pattern_end ? (unsigned char)p[1] : 0;
        if (escaped == 'b') {
            s = match_balance(m, s, p + 2);
            p += 4;
        } else if (escaped == 'f') {
            p += 2;
            if (p >= m->pattern_end || *p != '[') {
                luaL_error(m->L, "missing '[' after '%%f' in pattern");
            }
            const char *end = class_end(m, p);
            s = at_frontier(m, s, p, end) ? s : NULL;
            p = end;
        } else if (isdigit(escaped)) {
            s = match_back(m, s, escaped);
            p += 2;
        } else {
            const char *end = class_end(m, p);
            char suffix = end < m->pattern_end ? *end : '\0';
            if (suffix == '?') {
                const char *r = matches_one(m, s, p, end) ? match_here(m, s + 1, end + 1) : NULL;
                if (r) {
                    return r;
                }
                p = end + 1;
                continue;
            }
            if (suffix == '+') {
                return matches_one(m, s, p, end) ? longest(m, s + 1, p, end) : NULL;
            }
            if (suffix == '*') {
                return longest(m, s, p, end);
            }
            if (suffix == '-') {
                return shortest(m, s, p, end);
            }
            s = matches_one(m, s, p, end) ? s + 1 : NULL;
            p = end;
        }
        if (!s) {
            return NULL;
        }
    }
    return s;
}

static const char *match_here(matcher *m, const char *s, const char *p)
{
    lap_lua_charge(m->L, 1);
    if (++m->depth > MAX_DEPTH) {
        luaL_error(m->L, "pattern too complex");
    }
    const char *r = match_item(m, s, p);
    m->depth--;
    return r;
}

static void push_capture(matcher *m, int i, const char *s, const char *end)
{
    if (i >= m->n_captures) {
        if (i != 0) {
            luaL_error(m->L, "invalid capture index %%%d", i + 1);
        }
        lua_pushlstring(m->L, s, (size_t)(end - s));
    } else if (m->captures[i].length == POSITION) {
        lua_pushinteger(m->L, m->captures[i].start - m->subject + 1);
    } else if (m->captures[i].length == OPEN) {
        luaL_error(m->L, "unfinished capture");
    } else {
        lua_pushlstring(m->L, m->captures[i].start, (size_t)m->captures[i].length);
    }
}

static int push_captures(matcher *m, const char *s, const char *end)
{
    int n = m->n_captures == 0 && s ? 1 : m->n_captures;
    luaL_checkstack(m->L, n, "too many captures");
    for (int i = 0; i < n; i++) {
        push_capture(m, i, s, end);
    }
    return n;
}

static const char *try_at(matcher *m, const char *s, const char *p)
{
    m->n_captures = m->depth = 0;
    return match_here(m, s, p);
}

/* A start position: 1-based, negative from the end; > length + 1 means no match. */
static size_t start_of(lua_State *L, int at, size_t length)
{
    lua_Integer i = luaL_optinteger(L, at, 1);
    if (i > 0) {
        return (size_t)i - 1;
    }
    return i == 0 || i < -(lua_Integer)length ? 0 : length + (size_t)i;
}

static int find_plain(lua_State *L, const char *s, size_t ls, const char *p, size_t lp, size_t init)
{
    lap_lua_charge(L, ls / 8);
    const char *hit = lp == 0 ? s + init : memmem(s + init, ls - init, p, lp);
    if (!hit) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, hit - s + 1);
    lua_pushinteger(L, hit - s + (lua_Integer)lp);
    return 2;
}

static int search(lua_State *L, bool is_find)
{
    size_t ls, lp;
    const char *s = luaL_checklstring(L, 1, &ls), *p = luaL_checklstring(L, 2, &lp);
    size_t init = start_of(L, 3, ls);
    if (init > ls) {
        lua_pushnil(L);
        return 1;
    }
    if (is_find && (lua_toboolean(L, 4) || strcspn(p, "^$*+?.([%-") == lp)) {
        return find_plain(L, s, ls, p, lp, init);
    }
    matcher m = {.L = L, .subject = s, .subject_end = s + ls, .pattern_end = p + lp};
    bool is_anchored = lp > 0 && *p == '^';
    p += is_anchored;
    for (const char *at = s + init; at <= m.subject_end; at++) {
        const char *end = try_at(&m, at, p);
        if (end && is_find) {
            lua_pushinteger(L, at - s + 1);
            lua_pushinteger(L, end - s);
            return 2 + push_captures(&m, NULL, NULL);
        }
        if (end) {
            return push_captures(&m, at, end);
        }
        if (is_anchored) {
            break;
        }
    }
    lua_pushnil(L);
    return 1;
}
static int find(lua_State *L) { return search(L, true); }
static int match(lua_State *L) { return search(L, false); }

/* Upvalues: subject, pattern, next start, end of the last match (offsets). */
static int next_match(lua_State *L)
{
    size_t ls, lp;
    const char *s = lua_tolstring(L, lua_upvalueindex(1), &ls),
               *p = lua_tolstring(L, lua_upvalueindex(2), &lp);
    const char *at = s + lua_tointeger(L, lua_upvalueindex(3));
    const char *last = lua_isnil(L, lua_upvalueindex(4)) ? NULL : s + lua_tointeger(L, lua_upvalueindex(4));
    matcher m = {.L = L, .subject = s, .subject_end = s + ls, .pattern_end = p + lp};
    for (; at <= m.subject_end; at++) {
        const char *end = try_at(&m, at, p);
        if (end && end != last) {
            lua_pushinteger(L, end - s);
            lua_copy(L, -1, lua_upvalueindex(3));
            lua_replace(L, lua_upvalueindex(4));
            return push_captures(&m, at, end);
        }
    }
    lua_pushinteger(L, (lua_Integer)ls + 1);
    lua_replace(L, lua_upvalueindex(3));
    return 0;
}

static int gmatch(lua_State *L)
{
    size_t ls;
    luaL_checklstring(L, 1, &ls);
    luaL_checkstring(L, 2);
    size_t init = start_of(L, 3, ls);
    lua_settop(L, 2);
    lua_pushinteger(L, (lua_Integer)(init > ls ? ls + 1 : init));
    lua_pushnil(L);
    lua_pushcclosure(L, next_match, 4);
    return 1;
}

static void add_template(matcher *m, luaL_Buffer *b, const char *s, const char *end)
{
    size_t length;
    const char *t = lua_tolstring(m->L, 3, &length);
    for (const char *p = t; p < t + length; p++) {
        if (*p != '%') {
            luaL_addchar(b, *p);
            continue;
        }
        p++;
        if (p < t + length && *p == '%') {
            luaL_addchar(b, '%');
        } else if (p < t + length && *p == '0') {
            luaL_addlstring(b, s, (size_t)(end - s));
        } else if (p < t + length && isdigit((unsigned char)*p)) {
            push_capture(m, *p - '1', s, end);
            luaL_tolstring(m->L, -1, NULL);
            lua_remove(m->L, -2);
            luaL_addvalue(b);
        } else {
            luaL_error(m->L, "invalid use of '%%' in replacement string");
        }
    }
}

static void add_value(matcher *m, luaL_Buffer *b, const char *s, const char *end)
{
    lua_State *L = m->L;
    int type = lua_type(L, 3);
    if (type == LUA_TSTRING || type == LUA_TNUMBER) {
        add_template(m, b, s, end);
        return;
    }
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, s, end), 1);
    } else {
        push_capture(m, 0, s, end);
        lua_gettable(L, 3);
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        lua_pushlstring(L, s, (size_t)(end - s));
    } else if (!lua_isstring(L, -1)) {
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    }
    luaL_addvalue(b);
}

static int gsub(lua_State *L)
{
    size_t ls, lp;
    const char *s = luaL_checklstring(L, 1, &ls), *p = luaL_checklstring(L, 2, &lp);
    int type = lua_type(L, 3);
    luaL_argexpected(
        L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
        "string/function/table");
    lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)ls + 1), n = 0;
    bool is_anchored = lp > 0 && *p == '^';
    p += is_anchored;
    matcher m = {.L = L, .subject = s, .subject_end = s + ls, .pattern_end = p + lp - is_anchored};
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    const char *last = NULL;
    while (n < most) {
        const char *end = try_at(&m, s, p);
        if (end && end != last) {
            n++;
            add_value(&m, &b, s, end);
            s = last = end;
        } else if (s < m.subject_end) {
            luaL_addchar(&b, *s);
            s++;
        } else {
            break;
        }
        if (is_anchored) {
            break;
        }
    }
    luaL_addlstring(&b, s, (size_t)(m.subject_end - s));
    luaL_pushresult(&b);
    lua_pushinteger(L, n);
    return 2;
}

static int rep(lua_State *L)
{
    size_t ls, lsep;
    const char *s = luaL_checklstring(L, 1, &ls);
    lua_Integer n = luaL_checkinteger(L, 2);
    const char *sep = luaL_optlstring(L, 3, "", &lsep);
    if (n <= 0 || ls + lsep == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if ((uint64_t)n > lap_lua_of(L)->max_bytes / (ls + lsep)) {
        return luaL_error(L, "the repeated string is too long");
    }
    lap_lua_charge(L, (uint64_t)n);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (lua_Integer i = 0; i < n; i++) {
        luaL_addlstring(&b, s, ls);
        if (i + 1 < n) {
            luaL_addlstring(&b, sep, lsep);
        }
    }
    luaL_pushresult(&b);
    return 1;
}

void lap_lua_open_pattern(lua_State *L)
{
    static const luaL_Reg functions[] = {{"find", find}, {"match", match}, {"gmatch", gmatch},
                                         {"gsub", gsub}, {"rep", rep},     {NULL, NULL}};
    lua_getglobal(L, LUA_STRLIBNAME);
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
