/* SPDX-License-Identifier: Apache-2.0
 * image_life.c - between which steps the contents of each buffer are needed.
 *
 * A buffer lives in the innermost step list that holds all its uses: used in one loop body only, it
 * lives within the body's steps; used outside too, for the whole loop, since rounds follow each other. */
#include "codegen/image_kernel.h"

/* One step and where it stands: `list` is its list's number, `up` the record of the step around it. */
typedef struct record {
    uint32_t pos, end, list, depth;
    int32_t up;
    bool on_load;
} record;

/* Life so far of one buffer; `at` is a record in the list that holds all its uses, or -1. */
typedef struct life {
    uint32_t first, last;
    int32_t at;
    bool by_load, by_run;
} life;

typedef struct walker {
    const lap_program *p;
    record *records;
    size_t n, capacity;
    uint32_t n_lists;
    life *lives;
} walker;

static void widen(life *l, const record *r)
{
    l->first = r->pos < l->first ? r->pos : l->first;
    l->last = r->end > l->last ? r->end : l->last;
}

static void use(walker *w, int64_t buffer, int32_t at)
{
    if (buffer < 0) {
        return;
    }
    life *l = &w->lives[buffer];
    const record *r = &w->records[at];
    l->by_load |= r->on_load;
    l->by_run |= !r->on_load;
    if (l->at < 0) {
        *l = (life){r->pos, r->end, at, l->by_load, l->by_run};
        return;
    }
    const record *own = &w->records[l->at];
    while (own->list != r->list) {
        if (own->depth >= r->depth) {
            l->at = own->up;
            own = &w->records[l->at];
            widen(l, own);
        } else {
            r = &w->records[r->up];
        }
    }
    widen(l, r);
}

static void number(walker *w, const lap_step *steps, uint32_t n, int32_t up, bool on_load);

static void number_step(walker *w, const lap_step *s, uint32_t list, int32_t up, bool on_load)
{
    lap_arena_grow(w->p->ctx->arena, &w->records, w->n, 1, &w->capacity, sizeof *w->records);
    int32_t at = (int32_t)w->n++;
    uint32_t depth = up < 0 ? 0 : w->records[up].depth + 1;
    w->records[at] = (record){(uint32_t)at, (uint32_t)at, list, depth, up, up < 0 ? s->on_load : on_load};
    bool inner = w->records[at].on_load;
    if (s->kind == LAP_STEP_LOOP || s->kind == LAP_STEP_BRANCH) {
        number(w, s->body, s->n_body, at, inner);
        number(w, s->other, s->n_other, at, inner);
    }
    w->records[at].end = (uint32_t)w->n - 1;
}

static void number(walker *w, const lap_step *steps, uint32_t n, int32_t up, bool on_load)
{
    uint32_t list = w->n_lists++;
    for (uint32_t i = 0; i < n; i++) {
        number_step(w, &steps[i], list, up, on_load);
    }
}

/* In the order of `number`; *at is the next record. */
static void collect(walker *w, const lap_step *steps, uint32_t n, int32_t *at)
{
    for (uint32_t i = 0; i < n; i++) {
        const lap_step *s = &steps[i];
        int32_t self = (*at)++;
        switch (s->kind) {
        case LAP_STEP_LAUNCH:
            for (uint32_t b = 0; b < s->launch.n_buffers; b++) {
                use(w, s->launch.buffers[b], self);
            }
            break;
        case LAP_STEP_LOOP:
            use(w, s->counter, self);
            use(w, s->test, self);
            collect(w, s->body, s->n_body, at);
            collect(w, s->other, s->n_other, at);
            break;
        case LAP_STEP_BRANCH:
            use(w, s->test, self);
            collect(w, s->body, s->n_body, at);
            collect(w, s->other, s->n_other, at);
            break;
        case LAP_STEP_COPY:
            use(w, s->from, self);
            use(w, s->to, self);
            break;
        case LAP_STEP_FOREIGN:
            for (uint32_t o = 0; o < s->foreign->n_inputs + s->foreign->n_outputs; o++) {
                use(w, s->foreign->operands[o].buffer, self);
            }
            break;
        }
    }
}

/* Buffers that bound outputs are read when the run is over. */
static void keep_crops(walker *w)
{
    const lap_program *p = w->p;
    for (uint32_t i = 0; i < p->n_outputs; i++) {
        for (uint32_t axis = 0; p->outputs[i].crop && axis < p->outputs[i].rank; axis++) {
            int32_t buffer = p->outputs[i].crop[axis];
            if (buffer >= 0) {
                w->lives[buffer].last = w->n ? (uint32_t)w->n - 1 : 0;
                w->lives[buffer].by_run = true;
            }
        }
    }
}

const lap_image_life *lap_image_lives(const lap_program *p)
{
    lap_arena *arena = p->ctx->arena;
    walker w = {.p = p, .lives = lap_arena_array(arena, (size_t)p->n_buffers + 1, sizeof *w.lives)};
    lap_image_life *out = lap_arena_array(arena, (size_t)p->n_buffers + 1, sizeof *out);
    for (uint32_t i = 0; i < p->n_buffers; i++) {
        w.lives[i].at = -1;
    }
    number(&w, p->steps, p->n_steps, -1, false);
    int32_t at = 0;
    collect(&w, p->steps, p->n_steps, &at);
    keep_crops(&w);
    for (uint32_t i = 0; i < p->n_buffers; i++) {
        const life *l = &w.lives[i];
        out[i] = (lap_image_life){l->first, l->last, l->by_load && l->by_run};
    }
    return out;
}
