/* SPDX-License-Identifier: Apache-2.0
 * test_types.c - the annotations for editors name what the surface has: no more, no less. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "frontends/lua/binding.h"

#ifndef LAP_SOURCE_DIR
#define LAP_SOURCE_DIR "."
#endif

static char *read_types(void)
{
    FILE *f = fopen(LAP_SOURCE_DIR "/plugins/types/lap.lua", "rb");
    assert_non_null(f);
    char *text = calloc(1, 1 << 18);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 18) - 1, f) > 0);
    fclose(f);
    return text;
}

/* Where the table at the top of the stack has its names declared. */
typedef struct surface {
    const char *table, *declares[2], *ends;
} surface;

static bool is_declared(const char *types, const surface *s, const char *name)
{
    for (int i = 0; i < 2 && s->declares[i] != NULL; i++) {
        char line[256];
        size_t n = (size_t)snprintf(line, sizeof line, "\n%s%s", s->declares[i], name);
        for (const char *at = types; (at = strstr(at, line)) != NULL; at += n) {
            if (strchr(" (\n", at[n]) != NULL) {
                return true;
            }
        }
    }
    return false;
}

/* Names of the table without a declaration. */
static unsigned missing(lua_State *L, const char *types, const surface *s)
{
    unsigned n = 0;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "_";
        if (name[0] != '_' && lua_type(L, -1) == LUA_TFUNCTION && !is_declared(types, s, name)) {
            print_error("plugins/types/lap.lua lacks %s of %s\n", name, s->table);
            n++;
        }
    }
    return n;
}

/* Declarations without a name in the table. */
static unsigned unknown(lua_State *L, const char *types, const surface *s)
{
    unsigned n = 0;
    for (int i = 0; i < 2 && s->declares[i] != NULL; i++) {
        char start[64];
        snprintf(start, sizeof start, "\n%s", s->declares[i]);
        const char *first = i == 0 && s->ends != NULL ? strstr(types, s->ends) : types;
        for (const char *at = first; (at = strstr(at, start)) != NULL;) {
            at += strlen(start);
            char name[64];
            snprintf(name, sizeof name, "%.*s", (int)strcspn(at, " (.:\n?"), at);
            bool is_call = at[strlen(name)] == '(' || strncmp(at + strlen(name), " fun(", 5) == 0;
            if (is_call && lua_getfield(L, -1, name) != LUA_TFUNCTION) {
                print_error("plugins/types/lap.lua has %s, which %s lacks\n", name, s->table);
                n++;
            }
            lua_settop(L, is_call ? -2 : -1);
        }
    }
    return n;
}

static void annotations_are_in_step(void **state)
{
    (void)state;
    static const surface all[] = {
        {"V", {"---@field ", NULL}, "---@class lap.Tensor"},
        {"G", {"function G:", NULL}, NULL},
        {"lap", {"function lap.", NULL}, NULL},
        {"dim", {"function lap.dim.", NULL}, NULL},
    };
    char *types = read_types();
    lap_ctx *ctx = lap_ctx_new(0);
    lap_lua *l;
    lap_lua_options options = {0};
    assert_true(lap_lua_new(ctx, &options, &l));
    lua_State *L = l->state;
    unsigned n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        lua_getfield(L, LUA_REGISTRYINDEX, "lap.prim");
        assert_int_equal(lua_getfield(L, -1, all[i].table), LUA_TTABLE);
        n += missing(L, types, &all[i]) + unknown(L, types, &all[i]);
        lua_settop(L, 0);
    }
    lap_lua_free(l);
    lap_ctx_free(ctx);
    free(types);
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(annotations_are_in_step)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
