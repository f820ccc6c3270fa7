/* SPDX-License-Identifier: Apache-2.0
 * eval_value.c - values of the evaluator: counted buffers, strided views, absent elements, poison. */
#include <stdlib.h>
#include <string.h>

#include "ir/eval_state.h"

static size_t kind_bytes(lap_dtype kind) { return kind == LAP_BOOL ? sizeof(uint8_t) : sizeof(double); }

static bool symbol_value(void *user, lap_name symbol, int64_t *out)
{
    const lap_eval_run *run = user;
    for (uint32_t i = 0; i < run->n_symbols; i++) {
        if (lap_name_same(run->symbols[i].name, symbol)) {
            *out = run->symbols[i].value;
            return true;
        }
    }
    return false;
}

bool lap_eval_size(lap_eval_run *run, lap_dim dim, lap_loc loc, int64_t *out)
{
    if (!lap_dim_eval(run->ctx, dim, symbol_value, run, out)) {
        return lap_error(run->ctx, loc, "the extent %s has no value for these shapes",
                         lap_dim_show(run->ctx, dim));
    }
    return true;
}

/* ---- buffers */

lap_eval_buffer *lap_eval_alloc(lap_eval_run *run, size_t n, size_t size, lap_loc loc)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > LAP_EVAL_MAX_BYTES - run->live_bytes) {
        lap_error(run->ctx, loc, "the reference evaluator needs more than 4 GiB here");
        return NULL;
    }
    lap_eval_buffer *b = calloc(1, sizeof *b);
    void *data = calloc(bytes ? bytes : 1, 1);
    if (!b || !data) {
        free(b);
        free(data);
        lap_error(run->ctx, loc, "out of memory");
        return NULL;
    }
    *b = (lap_eval_buffer){.next = run->buffers, .refs = 1, .n = n, .bytes = bytes, .data = data};
    if (run->buffers) {
        run->buffers->previous = b;
    }
    run->buffers = b;
    run->live_bytes += bytes;
    return b;
}

void lap_eval_release(lap_eval_run *run, lap_eval_buffer *b)
{
    if (!b || --b->refs > 0) {
        return;
    }
    run->live_bytes -= b->bytes;
    if (b->next) {
        b->next->previous = b->previous;
    }
    if (b->previous) {
        b->previous->next = b->next;
    } else {
        run->buffers = b->next;
    }
    free(b->data);
    free(b->poison);
    free(b);
}

bool lap_eval_add_poison(lap_eval_run *run, lap_eval_buffer *b, lap_loc loc)
{
    if (b->poison) {
        return true;
    }
    if (b->n > LAP_EVAL_MAX_BYTES - run->live_bytes) {
        return lap_error(run->ctx, loc, "the reference evaluator needs more than 4 GiB here");
    }
    b->poison = calloc(b->n ? b->n : 1, 1);
    if (!b->poison) {
        return lap_error(run->ctx, loc, "out of memory");
    }
    b->bytes += b->n;
    run->live_bytes += b->n;
    return true;
}

/* ---- views */

bool lap_view_new(lap_eval_run *run, lap_dtype kind, uint32_t n, const lap_name *names, const int64_t *sizes,
                  lap_loc loc, lap_view *out)
{
    if (n > LAP_EVAL_AXES) {
        return lap_error(run->ctx, loc, "the reference evaluator takes at most %d axes", LAP_EVAL_AXES);
    }
    lap_space_axes space = {.n = n};
    *out = (lap_view){.kind = kind, .n_axes = n};
    for (uint32_t i = 0; i < n; i++) {
        out->name[i] = names[i];
        out->size[i] = space.size[i] = sizes[i];
    }
    int64_t count = lap_space_count(&space);
    if (count < 0) {
        return lap_error(run->ctx, loc, "the reference evaluator cannot hold so many elements");
    }
    int64_t stride = 1;
    for (uint32_t i = n; i-- > 0;) {
        out->stride[i] = stride;
        stride *= sizes[i] ? sizes[i] : 1;
    }
    out->buffer = lap_eval_alloc(run, (size_t)count, kind_bytes(kind), loc);
    return out->buffer != NULL;
}

bool lap_view_of_node(lap_eval_run *run, const lap_node *node, lap_view *out)
{
    lap_name names[LAP_EVAL_AXES];
    int64_t sizes[LAP_EVAL_AXES];
    if (node->n_axes > LAP_EVAL_AXES) {
        return lap_error(run->ctx, node->loc, "the reference evaluator takes at most %d axes", LAP_EVAL_AXES);
    }
    for (uint32_t i = 0; i < node->n_axes; i++) {
        names[i] = node->axes[i].name;
        if (!lap_eval_size(run, node->axes[i].size, node->loc, &sizes[i])) {
            return false;
        }
        if (sizes[i] < 0) {
            return lap_error(run->ctx, node->loc, "axis '%s' would have the extent %lld",
                             lap_text(run->ctx, names[i]), (long long)sizes[i]);
        }
    }
    return lap_view_new(run, lap_dtype_compute(node->dtype), node->n_axes, names, sizes, node->loc, out);
}

lap_view lap_view_keep(const lap_view *view)
{
    view->buffer->refs++;
    return *view;
}

void lap_view_drop(lap_eval_run *run, lap_view *view)
{
    lap_eval_release(run, view->buffer);
    view->buffer = NULL;
}

int lap_view_find(const lap_view *view, lap_name name)
{
    for (uint32_t i = 0; i < view->n_axes; i++) {
        if (lap_name_same(view->name[i], name)) {
            return (int)i;
        }
    }
    return -1;
}

int64_t lap_view_stride(const lap_view *view, lap_name name)
{
    int i = lap_view_find(view, name);
    return i < 0 || view->size[i] == 1 ? 0 : view->stride[i];
}

double lap_view_double(const lap_view *view, int64_t at)
{
    return view->kind == LAP_F32   ? ((const double *)view->buffer->data)[at]
           : view->kind == LAP_I64 ? (double)((const int64_t *)view->buffer->data)[at]
                                   : (double)((const uint8_t *)view->buffer->data)[at];
}

int64_t lap_view_int(const lap_view *view, int64_t at)
{
    return view->kind == LAP_F32   ? lap_eval_to_int(((const double *)view->buffer->data)[at])
           : view->kind == LAP_I64 ? ((const int64_t *)view->buffer->data)[at]
                                   : (int64_t)((const uint8_t *)view->buffer->data)[at];
}

bool lap_view_align(lap_eval_run *run, const lap_view *view, const lap_node *like, lap_view *out)
{
    lap_view v = {.kind = view->kind, .at = view->at, .n_axes = like->n_axes};
    for (uint32_t i = 0; i < like->n_axes; i++) {
        int from = lap_view_find(view, like->axes[i].name);
        v.name[i] = like->axes[i].name;
        v.stride[i] = from < 0 ? 0 : view->stride[from];
        if (!lap_eval_size(run, like->axes[i].size, like->loc, &v.size[i])) {
            return false;
        }
        if (from >= 0 && view->size[from] != v.size[i]) {
            return lap_error(run->ctx, like->loc, "axis '%s' is %lld here and %lld there",
                             lap_text(run->ctx, v.name[i]), (long long)v.size[i],
                             (long long)view->size[from]);
        }
    }
    v.buffer = view->buffer;
    *out = lap_view_keep(&v);
    return true;
}

bool lap_view_convert(lap_eval_run *run, const lap_view *view, lap_dtype kind, lap_loc loc, lap_view *out)
{
    if (view->kind == kind) {
        *out = lap_view_keep(view);
        return true;
    }
    if (!lap_view_new(run, kind, view->n_axes, view->name, view->size, loc, out)) {
        return false;
    }
    if (view->buffer->poison && !lap_eval_add_poison(run, out->buffer, loc)) {
        lap_view_drop(run, out);
        return false;
    }
    lap_space_axes space;
    lap_space_of(&space, view);
    lap_walk walk;
    for (lap_walk_points(&walk, &space, 2, (const lap_view *[]){view, out}); !walk.is_over;
         lap_walk_next(&walk)) {
        int64_t from = walk.at[0], to = walk.at[1];
        if (kind == LAP_F32) {
            ((double *)out->buffer->data)[to] = lap_view_double(view, from);
        } else if (kind == LAP_I64) {
            ((int64_t *)out->buffer->data)[to] = lap_view_int(view, from);
        } else {
            ((uint8_t *)out->buffer->data)[to] = lap_view_double(view, from) != 0;
        }
        if (view->buffer->poison) {
            out->buffer->poison[to] = view->buffer->poison[from];
        }
    }
    return true;
}

/* ---- absent elements */

/* The space of the mask: the ragged axes and those their counts vary over. */
static bool absent_space(lap_eval_run *run, uint32_t n_axes, const lap_axis *axes, const lap_names *only,
                         lap_loc loc, lap_space_axes *out)
{
    out->n = 0;
    for (uint32_t i = 0; i < n_axes; i++) {
        if (!lap_ref_some(axes[i].count) || (only && !lap_names_has(*only, axes[i].name))) {
            continue;
        }
        int64_t size;
        if (!lap_eval_size(run, axes[i].size, loc, &size)) {
            return false;
        }
        lap_space_add(out, axes[i].name, size);
        const lap_node *count = lap_node_at(run->g, axes[i].count);
        for (uint32_t k = 0; k < count->n_axes; k++) {
            lap_name name = count->axes[k].name;
            if (!lap_axis_find(axes, n_axes, name)) {
                return lap_error(run->ctx, loc, "the extent of '%s' varies over '%s', the value does not",
                                 lap_text(run->ctx, axes[i].name), lap_text(run->ctx, name));
            }
            if (!lap_eval_size(run, count->axes[k].size, loc, &size)) {
                return false;
            }
            lap_space_add(out, name, size);
        }
    }
    return true;
}

/* Marks what lies beyond the count of `axis`. */
static bool mark_absent(lap_eval_run *run, const lap_axis *axis, lap_view *mask)
{
    const lap_view *count = run->slots[axis->count.ix].view;
    if (!count || !count->buffer) {
        LAP_BUG("the extent of '%s' has not been evaluated", lap_text(run->ctx, axis->name));
    }
    uint8_t *to = mask->buffer->data;
    int place = lap_view_find(mask, axis->name);
    lap_view index = {
        .kind = LAP_I64, .n_axes = 1, .name = {axis->name}, .size = {mask->size[place]}, .stride = {1}};
    lap_space_axes space;
    lap_space_of(&space, mask);
    lap_walk walk;
    lap_walk_points(&walk, &space, 3, (const lap_view *[]){mask, count, &index});
    for (; !walk.is_over; lap_walk_next(&walk)) {
        if (walk.at[2] >= lap_view_int(count, walk.at[1]) && !lap_view_poison(count, walk.at[1])) {
            to[walk.at[0]] = 1;
        }
    }
    return true;
}

/* A poisoned extent is a mistake unless it is itself absent. */
static bool check_count(lap_eval_run *run, lap_ref ref)
{
    const lap_view *count = run->slots[ref.ix].view;
    if (!count || !count->buffer || !count->buffer->poison) {
        return true;
    }
    const lap_node *node = lap_node_at(run->g, ref);
    lap_view absent;
    if (!lap_eval_absent(run, node->n_axes, node->axes, NULL, node->loc, &absent)) {
        return false;
    }
    bool ok = lap_eval_no_poison(run, count, &absent);
    lap_view_drop(run, &absent);
    return ok;
}

bool lap_eval_absent(lap_eval_run *run, uint32_t n_axes, const lap_axis *axes, const lap_names *only,
                     lap_loc loc, lap_view *out)
{
    *out = (lap_view){.kind = LAP_BOOL};
    lap_space_axes space;
    if (!absent_space(run, n_axes, axes, only, loc, &space)) {
        return false;
    }
    if (space.n == 0) {
        return true;
    }
    if (!lap_view_new(run, LAP_BOOL, space.n, space.name, space.size, loc, out)) {
        return false;
    }
    for (uint32_t i = 0; i < n_axes; i++) {
        if (lap_ref_some(axes[i].count) && (!only || lap_names_has(*only, axes[i].name)) &&
            (!check_count(run, axes[i].count) || !mark_absent(run, &axes[i], out))) {
            lap_view_drop(run, out);
            return false;
        }
    }
    return true;
}

/* ---- poison */

uint8_t lap_eval_origin_of(lap_eval_run *run, lap_loc loc, const char *text)
{
    for (uint32_t i = 0; i < run->n_origins; i++) {
        if (run->origins[i].loc.ix == loc.ix && strcmp(run->origins[i].text, text) == 0) {
            return (uint8_t)(i + 1);
        }
    }
    if (run->n_origins == sizeof run->origins / sizeof *run->origins) {
        return (uint8_t)run->n_origins;
    }
    run->origins[run->n_origins] =
        (lap_eval_origin){loc, lap_arena_copy(run->ctx->arena, text, strlen(text) + 1)};
    return (uint8_t)++run->n_origins;
}

bool lap_eval_poisoned(lap_eval_run *run, uint8_t poison)
{
    const lap_eval_origin *o = &run->origins[poison - 1];
    return lap_error(run->ctx, o->loc, "%s", o->text);
}

bool lap_eval_no_poison(lap_eval_run *run, const lap_view *view, const lap_view *absent)
{
    if (!view->buffer->poison) {
        return true;
    }
    static const uint8_t present = 0;
    lap_view none = {.kind = LAP_BOOL};
    const uint8_t *gone = absent->buffer ? absent->buffer->data : &present;
    lap_space_axes space;
    lap_space_of(&space, view);
    lap_walk walk;
    lap_walk_points(&walk, &space, 2, (const lap_view *[]){view, absent->buffer ? absent : &none});
    for (; !walk.is_over; lap_walk_next(&walk)) {
        uint8_t p = view->buffer->poison[walk.at[0]];
        if (p && !gone[walk.at[1]]) {
            return lap_eval_poisoned(run, p);
        }
    }
    return true;
}
