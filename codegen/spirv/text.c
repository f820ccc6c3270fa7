/* SPDX-License-Identifier: Apache-2.0
 * text.c - GLSL as it grows: pieces, lines, blocks. */
#include <stdarg.h>
#include <string.h>

#include "codegen/spirv/emitter.h"

static void put(lap_shader *e, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    LAP_ENSURE(n >= 0);
    lap_glsl_text *t = &e->out;
    lap_arena_grow(e->ctx->arena, &t->at, t->n, (size_t)n + 1, &t->capacity, 1);
    vsnprintf(t->at + t->n, (size_t)n + 1, format, args);
    t->n += (size_t)n;
}

void lap_glsl_put(lap_shader *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put(e, format, args);
    va_end(args);
}

static void indent(lap_shader *e)
{
    for (uint32_t i = 0; i < e->depth; i++) {
        lap_glsl_put(e, "  ");
    }
}

void lap_glsl_line(lap_shader *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    indent(e);
    put(e, format, args);
    lap_glsl_put(e, "\n");
    va_end(args);
}

void lap_glsl_open(lap_shader *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    indent(e);
    put(e, format, args);
    lap_glsl_put(e, "{\n");
    va_end(args);
    e->depth++;
}

void lap_glsl_close(lap_shader *e, const char *tail)
{
    e->depth--;
    lap_glsl_line(e, "}%s", tail);
}

char *lap_glsl_print(lap_shader *e, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    LAP_ENSURE(n >= 0);
    char *text = lap_arena_alloc(e->ctx->arena, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}
