/* SPDX-License-Identifier: Apache-2.0
 * intern.c - strings <-> ids. */
#include <ctype.h>
#include <string.h>

#include "ir/base/tables.h"

typedef struct wanted {
    const lap_interns *in;
    const char *text;
    size_t length;
} wanted;

static bool same_text(const void *user, uint32_t id)
{
    const wanted *w = user;
    return w->in->lengths[id] == w->length && memcmp(w->in->texts[id], w->text, w->length) == 0;
}

static lap_name add_text(lap_arena *arena, lap_interns *in, const char *text, size_t length)
{
    lap_arena_grow(arena, &in->texts, in->n_texts, 1, &in->texts_capacity, sizeof *in->texts);
    lap_arena_grow(arena, &in->lengths, in->n_texts, 1, &in->lengths_capacity, sizeof *in->lengths);
    char *copy = lap_arena_alloc(arena, length + 1);
    if (length) {
        memcpy(copy, text, length);
    }
    uint32_t id = (uint32_t)in->n_texts;
    in->texts[id] = copy;
    in->lengths[id] = length;
    lap_idset_add(arena, &in->names, lap_hash(0, text, length), id);
    in->n_texts++;
    return (lap_name){id};
}

lap_interns *lap_interns_new(lap_arena *arena)
{
    lap_interns *in = lap_arena_alloc(arena, sizeof *in);
    add_text(arena, in, "", 0);
    lap_arena_grow(arena, &in->places, 0, 1, &in->places_capacity, sizeof *in->places);
    in->places[0] = (lap_place){0};
    in->n_places = 1;
    return in;
}

lap_name lap_intern_n(lap_ctx *ctx, const char *text, size_t length)
{
    wanted w = {ctx->interns, text, length};
    uint32_t id = lap_idset_find(&ctx->interns->names, lap_hash(0, text, length), same_text, &w);
    return id != LAP_NO_ID ? (lap_name){id} : add_text(ctx->arena, ctx->interns, text, length);
}

lap_name lap_intern(lap_ctx *ctx, const char *text)
{
    return text ? lap_intern_n(ctx, text, strlen(text)) : (lap_name){0};
}

/* Length of `stem` without a number that an earlier call gave it. */
static size_t bare_length(const char *stem)
{
    size_t n = strlen(stem);
    size_t end = n;
    while (end && isdigit((unsigned char)stem[end - 1])) {
        end--;
    }
    return end && end < n && stem[end - 1] == '.' ? end - 1 : n;
}

lap_name lap_fresh(lap_ctx *ctx, const char *stem)
{
    size_t length = bare_length(stem);
    for (;;) {
        const char *text = lap_arena_printf(ctx->arena, "%.*s.%llu", (int)length, stem,
                                            (unsigned long long)++ctx->interns->fresh);
        size_t before = ctx->interns->n_texts;
        lap_name name = lap_intern(ctx, text);
        if (ctx->interns->n_texts > before) {
            return name;
        }
    }
}

const char *lap_text(const lap_ctx *ctx, lap_name name)
{
    LAP_ENSURE(name.ix < ctx->interns->n_texts);
    return ctx->interns->texts[name.ix];
}
