/* SPDX-License-Identifier: Apache-2.0
 * ctx.c - making and freeing a context, and the end of the line for our own mistakes.
 *
 * The context lives in its own arena, so freeing the arena frees all. */
#include "ir/base/ctx.h"

#include <stdlib.h>

#include "ir/base/tables.h"
#include "ir/dim.h"

lap_ctx *lap_ctx_new(size_t limit)
{
    lap_arena *arena = lap_arena_new(limit);
    lap_ctx *ctx = lap_arena_alloc(arena, sizeof *ctx);
    ctx->arena = arena;
    ctx->interns = lap_interns_new(arena);
    ctx->diags = lap_diag_list_new(arena);
    ctx->dims = lap_dims_new(ctx);
    return ctx;
}

void lap_ctx_free(lap_ctx *ctx)
{
    if (ctx) {
        lap_arena_free(ctx->arena);
    }
}

_Noreturn void lap_bug(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: internal error: ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    fflush(stderr);
    exit(4);
}
