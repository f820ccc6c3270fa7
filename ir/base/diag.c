/* SPDX-License-Identifier: Apache-2.0
 * diag.c - errors are rendered when they are recorded and kept as text. */
#include <string.h>

#include "ir/base/tables.h"

enum { MOST_NOTES = 32 }; /* a script that recurses should not bury its message */

lap_diag_list *lap_diag_list_new(lap_arena *arena) { return lap_arena_alloc(arena, sizeof(lap_diag_list)); }

bool lap_verror(lap_ctx *ctx, lap_loc loc, const char *format, va_list args)
{
    const char *message = lap_arena_vprintf(ctx->arena, format, args);
    const char *hint = strstr(message, "\nhint: ");
    int length = (int)(hint ? (size_t)(hint - message) : strlen(message));
    const char *text =
        loc.ix ? lap_arena_printf(ctx->arena, "%s: error: %.*s", lap_loc_show(ctx, loc), length, message)
               : lap_arena_printf(ctx->arena, "error: %.*s", length, message);
    int notes = 0;
    for (lap_loc p = lap_loc_parent(ctx, loc); p.ix && notes < MOST_NOTES;
         p = lap_loc_parent(ctx, p), notes++) {
        text = lap_arena_printf(ctx->arena, "%s\n%s: note: called from here", text, lap_loc_show(ctx, p));
    }
    if (hint) {
        text = lap_arena_printf(ctx->arena, "%s%s", text, hint);
    }
    lap_diag_list *list = ctx->diags;
    lap_arena_grow(ctx->arena, &list->texts, list->n, 1, &list->capacity, sizeof *list->texts);
    list->texts[list->n++] = text;
    return false;
}

bool lap_error(lap_ctx *ctx, lap_loc loc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    lap_verror(ctx, loc, format, args);
    va_end(args);
    return false;
}

size_t lap_error_count(const lap_ctx *ctx) { return ctx->diags->n; }

const char *lap_error_text(const lap_ctx *ctx, size_t i)
{
    LAP_ENSURE(i < ctx->diags->n);
    return ctx->diags->texts[i];
}

void lap_errors_print(const lap_ctx *ctx, FILE *to)
{
    for (size_t i = 0; i < ctx->diags->n; i++) {
        fprintf(to, "%s\n", ctx->diags->texts[i]);
    }
}

void lap_errors_clear(lap_ctx *ctx) { ctx->diags->n = 0; }
