/* SPDX-License-Identifier: Apache-2.0
 * state.c - one sandboxed Lua state: memory and step limits, protected calls, loading of files.
 *
 * The step limit is a count hook plus charges from C functions that may run long; a limit of time
 * stands behind it for steps that are long themselves (comparing huge strings). Once one is spent
 * every further step fails, so a script that catches the error gains nothing. */
#include "frontends/lua/binding.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { HOOK_STEPS = 1000, MAX_SOURCE = 4 << 20, MAX_SECONDS = 20 };

static double processor_seconds(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *limited_alloc(void *user, void *block, size_t old_size, size_t new_size)
{
    lap_lua *l = user;
    size_t had = block ? old_size : 0;
    if (new_size == 0) {
        l->bytes -= had;
        free(block);
        return NULL;
    }
    if (new_size > had && new_size - had > l->max_bytes - l->bytes) {
        return NULL;
    }
    void *grown = realloc(block, new_size);
    if (grown) {
        l->bytes += new_size - had;
    }
    return grown;
}

void lap_lua_charge(lua_State *L, uint64_t steps)
{
    lap_lua *l = lap_lua_of(L);
    if (steps <= l->max_steps - l->steps) {
        l->steps += steps;
        return;
    }
    l->steps = l->max_steps;
    if (l->is_failed) {
        lap_lua_raise(L);
    }
    lap_lua_fail(L, "the script ran for more than %llu steps\nhint: is there a loop that does not end?",
                 (unsigned long long)l->max_steps);
}

static void count_hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    lap_lua *l = lap_lua_of(L);
    lap_lua_charge(L, HOOK_STEPS);
    if (processor_seconds() - l->started > MAX_SECONDS && !l->is_failed) {
        l->steps = l->max_steps;
        lap_lua_fail(L, "the script ran for more than %d seconds", MAX_SECONDS);
    }
}

static int open_all(lua_State *L)
{
    lap_lua_open_sandbox(L);
    lua_newtable(L);
    lap_lua_open_names(L);
    lap_lua_open_dim(L);
    lap_lua_open_value(L);
    lap_lua_open_graph(L);
    lap_lua_open_model(L);
    lap_lua_open_grad(L);
    lap_lua_open_sharing(L);
    lap_lua_open_prelude(L);
    return 0;
}

bool lap_lua_new(lap_ctx *ctx, const lap_lua_options *options, lap_lua **out)
{
    lap_lua *l = lap_arena_alloc(ctx->arena, sizeof *l);
    *l = (lap_lua){.ctx = ctx, .max_bytes = (size_t)512 << 20, .max_steps = 500000000};
    if (options && options->max_bytes) {
        l->max_bytes = options->max_bytes;
    }
    if (options && options->max_instructions) {
        l->max_steps = options->max_instructions;
    }
    uint32_t n = options ? options->n_plugin_path : 0;
    const char **path = lap_arena_array(ctx->arena, n + 1, sizeof *path);
    for (uint32_t i = 0; i < n; i++) {
        path[i] = lap_arena_printf(ctx->arena, "%s", options->plugin_path[i]);
    }
    l->path = path;
    l->n_path = n;
    l->state = lua_newstate(limited_alloc, l);
    if (!l->state) {
        return lap_error(ctx, (lap_loc){0}, "not enough memory for the script");
    }
    *(lap_lua **)lua_getextraspace(l->state) = l;
    lua_sethook(l->state, count_hook, LUA_MASKCOUNT, HOOK_STEPS);
    lua_pushcfunction(l->state, open_all);
    if (!lap_lua_call(l, 0, 0)) {
        lap_lua_free(l);
        return false;
    }
    *out = l;
    return true;
}

void lap_lua_free(lap_lua *l)
{
    if (l && l->state) {
        lua_close(l->state);
        l->state = NULL;
    }
}

bool lap_lua_call(lap_lua *l, int n_args, int n_results)
{
    lua_State *L = l->state;
    int base = lua_gettop(L) - n_args;
    l->started = processor_seconds();
    lua_pushcfunction(L, lap_lua_on_error); /* needs no memory */
    lua_insert(L, base);
    int status = lua_pcall(L, n_args, n_results, base);
    lua_remove(L, base);
    if (status == LUA_OK) {
        return !l->is_failed;
    }
    if (!l->is_failed) { /* the handler did not run, or ran out itself */
        l->is_failed = true;
        (void)lap_error(l->ctx, l->model_loc,
                        status == LUA_ERRMEM
                            ? "the script needs more than %llu MiB of memory"
                            : "the script failed while its error was handled (limit %llu MiB)",
                        (unsigned long long)(l->max_bytes >> 20));
    }
    lua_pop(L, 1);
    return false;
}

bool lap_lua_read(lap_lua *l, lap_loc at, const char *path, char **out_text, size_t *out_length)
{
    struct stat st;
    FILE *f = NULL;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        return lap_error(l->ctx, at, "'%s' is no file", path);
    }
    f = fopen(path, "rb");
    if (!f) {
        return lap_error(l->ctx, at, "cannot open '%s': %s", path, strerror(errno));
    }
    if (fstat(fileno(f), &st) != 0 || st.st_size > MAX_SOURCE) {
        fclose(f);
        return lap_error(l->ctx, at, "'%s' is larger than %d MiB", path, MAX_SOURCE >> 20);
    }
    size_t size = (size_t)st.st_size;
    char *text = lap_arena_alloc(l->ctx->arena, size + 1);
    size_t got = fread(text, 1, size, f);
    bool is_bad = ferror(f) != 0;
    fclose(f);
    if (is_bad) {
        return lap_error(l->ctx, at, "cannot read '%s'", path);
    }
    *out_text = text;
    *out_length = got;
    return true;
}

/* "file:12: what" as a report at that line. */
static void report_syntax(lap_lua *l, const char *chunk, const char *message)
{
    const char *file = chunk + 1;
    const char *rest = strchr(message, ':');
    for (const char *p = message; (p = strchr(p, ':')) != NULL; p++) { /* the first ":digits:" */
        char *end;
        long line = strtol(p + 1, &end, 10);
        if (end > p + 1 && *end == ':' && line > 0 && line < 1 << 30) {
            (void)lap_error(l->ctx, lap_loc_make(l->ctx, file, (int)line, (lap_loc){0}), "%s",
                            end + 1 + (end[1] == ' '));
            return;
        }
    }
    (void)lap_error(l->ctx, lap_loc_make(l->ctx, file, 1, (lap_loc){0}), "%s", rest ? rest + 1 : message);
}

bool lap_lua_load(lap_lua *l, const char *chunk, const char *text, size_t length)
{
    lua_State *L = l->state;
    if (luaL_loadbufferx(L, text, length, chunk, "t") != LUA_OK) {
        report_syntax(l, chunk, lua_tostring(L, -1));
        lua_pop(L, 1);
        l->is_failed = true;
        return false;
    }
    lua_getfield(L, LUA_REGISTRYINDEX, "lap.env");
    lua_setupvalue(L, -2, 1);
    return true;
}
