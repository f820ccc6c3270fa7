/* SPDX-License-Identifier: Apache-2.0
 * fuzz_lua.c - any bytes as a model script, built with its defaults: refused with a message, or a
 * graph. The script is a file, as a user's is; LAPPET_PLUGINS names the folder that it may require. */
#include "frontends/lua/lua.h"

#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char path[64];

static void out_of_memory(void *user) { longjmp(*(jmp_buf *)user, 1); }

static void remove_file(void) { unlink(path); }

static void write_script(const uint8_t *data, size_t n)
{
    if (path[0] == '\0') {
        snprintf(path, sizeof path, "/tmp/lappet-fuzz-%ld.lua", (long)getpid());
        atexit(remove_file);
    }
    FILE *f = fopen(path, "wb");
    LAP_ENSURE(f != NULL && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    write_script(data, n);
    const char *plugins = getenv("LAPPET_PLUGINS");
    lap_lua_options limits = {.plugin_path = &plugins,
                              .n_plugin_path = plugins != NULL,
                              .max_bytes = 32 << 20,
                              .max_instructions = 2000000};
    lap_ctx *ctx = lap_ctx_new((size_t)128 << 20);
    jmp_buf spent;
    lap_model *volatile kept = NULL;
    lap_arena_on_oom(ctx->arena, out_of_memory, &spent);
    if (setjmp(spent) == 0) {
        lap_model *model;
        if (!lap_model_load(ctx, path, &limits, &model)) {
            LAP_ENSURE(lap_error_count(ctx) > 0);
        } else {
            kept = model;
            lap_graph *g;
            LAP_ENSURE(lap_model_build(model, NULL, &g) ? lap_graph_verify(g) : lap_error_count(ctx) > 0);
        }
        lap_model_free(kept);
    }
    lap_ctx_free(ctx);
    return 0;
}
