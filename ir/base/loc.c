/* SPDX-License-Identifier: Apache-2.0
 * loc.c - source places with the places that led to them, interned. */
#include "ir/base/tables.h"

typedef struct wanted {
    const lap_interns *in;
    lap_place place;
} wanted;

static bool same_place(const void *user, uint32_t id)
{
    const wanted *w = user;
    const lap_place *p = &w->in->places[id];
    return p->file.ix == w->place.file.ix && p->line == w->place.line && p->parent.ix == w->place.parent.ix;
}

lap_loc lap_loc_make(lap_ctx *ctx, const char *file, int line, lap_loc parent)
{
    lap_interns *in = ctx->interns;
    LAP_ENSURE(parent.ix < in->n_places);
    wanted w = {in, {lap_intern(ctx, file), line, parent}};
    uint32_t hash = lap_hash(0, &w.place, sizeof w.place);
    uint32_t id = lap_idset_find(&in->place_ids, hash, same_place, &w);
    if (id == LAP_NO_ID) {
        lap_arena_grow(ctx->arena, &in->places, in->n_places, 1, &in->places_capacity, sizeof *in->places);
        id = (uint32_t)in->n_places;
        in->places[id] = w.place;
        lap_idset_add(ctx->arena, &in->place_ids, hash, id);
        in->n_places++;
    }
    return (lap_loc){id};
}

static const lap_place *place_of(const lap_ctx *ctx, lap_loc loc)
{
    LAP_ENSURE(loc.ix < ctx->interns->n_places);
    return &ctx->interns->places[loc.ix];
}

const char *lap_loc_file(const lap_ctx *ctx, lap_loc loc) { return lap_text(ctx, place_of(ctx, loc)->file); }

int lap_loc_line(const lap_ctx *ctx, lap_loc loc) { return place_of(ctx, loc)->line; }

lap_loc lap_loc_parent(const lap_ctx *ctx, lap_loc loc) { return place_of(ctx, loc)->parent; }

const char *lap_loc_show(lap_ctx *ctx, lap_loc loc)
{
    if (!loc.ix) {
        return "?";
    }
    return lap_arena_printf(ctx->arena, "%s:%d", lap_loc_file(ctx, loc), lap_loc_line(ctx, loc));
}
