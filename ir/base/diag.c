/* SPDX-License-Identifier: Apache-2.0
 * diag.c - errors and warnings are rendered when they are recorded and kept as text. */
#include <string.h>

#include "ir/base/tables.h"

/* A script that recurses should not bury its message, one that loops not warn for ever. */
enum { MOST_NOTES = 32, MOST_WARNINGS = 64 };

lap_diag_list *lap_diag_list_new(lap_arena *arena) { return lap_arena_alloc(arena, sizeof(lap_diag_list)); }

static const char *render(lap_ctx *ctx, const char *severity, lap_loc loc, const char *format, va_list args)
{
    const char *message = lap_arena_vprintf(ctx->arena, format, args);
    const char *hint = strstr(message, "\nhint: ");
    int length = (int)(hint ? (size_t)(hint - message) : strlen(message));
    const char *text = loc.ix ? lap_arena_printf(ctx->arena, "%s: %s: %.*s", lap_loc_show(ctx, loc), severity,
                                                 length, message)
                              : lap_arena_printf(ctx->arena, "%s: %.*s", severity, length, message);
    int notes = 0;
    for (lap_loc p = lap_loc_parent(ctx, loc); p.ix && notes < MOST_NOTES;
         p = lap_loc_parent(ctx, p), notes++) {
        text = lap_arena_printf(ctx->arena, "%s\n%s: note: called from here", text, lap_loc_show(ctx, p));
    }
    return hint ? lap_arena_printf(ctx->arena, "%s%s", text, hint) : text;
}

static void add(lap_ctx *ctx, lap_diag_texts *list, const char *text)
{
    lap_arena_grow(ctx->arena, &list->at, list->n, 1, &list->capacity, sizeof *list->at);
    list->at[list->n++] = text;
}

bool lap_verror(lap_ctx *ctx, lap_loc loc, const char *format, va_list args)
{
    add(ctx, &ctx->diags->errors, render(ctx, "error", loc, format, args));
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

size_t lap_error_count(const lap_ctx *ctx) { return ctx->diags->errors.n; }

const char *lap_error_text(const lap_ctx *ctx, size_t i)
{
    LAP_ENSURE(i < ctx->diags->errors.n);
    return ctx->diags->errors.at[i];
}

void lap_errors_print(const lap_ctx *ctx, FILE *to)
{
    for (size_t i = 0; i < ctx->diags->errors.n; i++) {
        fprintf(to, "%s\n", ctx->diags->errors.at[i]);
    }
}

void lap_errors_clear(lap_ctx *ctx) { ctx->diags->errors.n = 0; }

void lap_warning(lap_ctx *ctx, lap_loc loc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = render(ctx, "warning", loc, format, args);
    va_end(args);
    lap_diag_texts *list = &ctx->diags->warnings;
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->at[i], text) == 0) {
            return;
        }
    }
    if (list->n < MOST_WARNINGS) {
        add(ctx, list, text);
    }
}

size_t lap_warning_count(const lap_ctx *ctx) { return ctx->diags->warnings.n; }

const char *lap_warning_text(const lap_ctx *ctx, size_t i)
{
    LAP_ENSURE(i < ctx->diags->warnings.n);
    return ctx->diags->warnings.at[i];
}
