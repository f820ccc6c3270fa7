/* SPDX-License-Identifier: Apache-2.0
 * eval_output.c - results in the memory order of their layouts: tails zeroed, crops applied. */
#include <string.h>

#include "ir/eval_state.h"

/* Run-time extent of a cropped axis, within its bound. */
static bool crop_size(lap_eval_run *run, lap_ref count, int64_t bound, int64_t *out)
{
    static const lap_view none;
    const lap_view *view = run->slots[count.ix].view;
    if (!lap_eval_no_poison(run, view, &none)) {
        return false;
    }
    int64_t n = view->buffer->n ? lap_view_int(view, view->at) : 0;
    *out = n < 0 ? 0 : n > bound ? bound : n;
    return true;
}

/* The axes in memory order with their extents after cropping; the tensor's shape from the groups. */
static bool output_space(lap_eval_run *run, const lap_output *o, const lap_view *value, lap_space_axes *space,
                         lap_tensor *tensor)
{
    LAP_ENSURE(o->layout.n <= LAP_MAX_RANK);
    tensor->rank = o->layout.n;
    for (uint32_t i = 0; i < o->layout.n; i++) {
        tensor->shape[i] = 1;
        for (uint32_t k = 0; k < o->layout.groups[i].n; k++) {
            lap_name name = o->layout.groups[i].at[k];
            int place = lap_view_find(value, name);
            if (place < 0) {
                return lap_error(run->ctx, o->loc, "output '%s' has no axis '%s'",
                                 lap_text(run->ctx, o->name), lap_text(run->ctx, name));
            }
            int64_t size = value->size[place];
            for (uint32_t c = 0; c < o->n_crops; c++) {
                if (lap_name_same(o->crop_axes[c], name) && !crop_size(run, o->crop_counts[c], size, &size)) {
                    return false;
                }
            }
            lap_space_add(space, name, size);
            tensor->shape[i] *= size;
        }
    }
    return space->n == value->n_axes ||
           lap_error(run->ctx, o->loc, "output '%s' does not say where every axis goes",
                     lap_text(run->ctx, o->name));
}

static bool copy_output(lap_eval_run *run, const lap_view *value, const lap_view *absent,
                        const lap_space_axes *space, lap_tensor *tensor)
{
    const uint8_t *gone = absent->buffer ? absent->buffer->data : NULL;
    size_t to = 0;
    lap_walk walk;
    lap_walk_points(&walk, space, 2, (const lap_view *[]){value, absent});
    for (; !walk.is_over; lap_walk_next(&walk), to++) {
        bool is_absent = gone && gone[walk.at[1]];
        uint8_t poison = lap_view_poison(value, walk.at[0]);
        if (poison && !is_absent) {
            return lap_eval_poisoned(run, poison);
        }
        if (value->kind == LAP_F32) {
            lap_tensor_set(tensor, to, is_absent ? 0 : lap_view_double(value, walk.at[0]));
        } else {
            lap_tensor_set_int(tensor, to, is_absent ? 0 : lap_view_int(value, walk.at[0]));
        }
    }
    return true;
}

static bool eval_output(lap_eval_run *run, const lap_output *o, lap_tensor *out)
{
    if (!lap_eval_demand(run, 1, &o->value) || !lap_eval_demand(run, o->n_crops, o->crop_counts)) {
        return false;
    }
    const lap_node *node = lap_node_at(run->g, o->value);
    const lap_view *value = run->slots[o->value.ix].view;
    lap_space_axes space = {0};
    lap_view absent;
    size_t n;
    *out = (lap_tensor){.dtype = node->dtype};
    if (!output_space(run, o, value, &space, out)) {
        return false;
    }
    if (!lap_tensor_count(out, &n) || !lap_dtype_bytes(out->dtype, n, &out->n_bytes) ||
        out->n_bytes > LAP_EVAL_MAX_BYTES) {
        return lap_error(run->ctx, o->loc, "output '%s' is too large", lap_text(run->ctx, o->name));
    }
    if (!lap_eval_absent(run, node->n_axes, node->axes, NULL, o->loc, &absent)) {
        return false;
    }
    char *bytes = lap_arena_alloc(run->ctx->arena, out->n_bytes + 64);
    out->data = bytes + (64 - (uintptr_t)bytes % 64);
    bool ok = copy_output(run, value, &absent, &space, out);
    lap_view_drop(run, &absent);
    return ok;
}

bool lap_eval_outputs(lap_eval_run *run, lap_eval_result *out)
{
    lap_arena *arena = run->ctx->arena;
    uint32_t n = run->n_outputs;
    *out = (lap_eval_result){.n = n,
                             .names = lap_arena_array(arena, n, sizeof *out->names),
                             .tensors = lap_arena_array(arena, n, sizeof *out->tensors)};
    for (uint32_t i = 0; i < n; i++) {
        const lap_output *o = lap_eval_output_at(run, i);
        out->names[i] = lap_text(run->ctx, o->name);
        if (!eval_output(run, o, &out->tensors[i])) {
            return false;
        }
    }
    return true;
}
