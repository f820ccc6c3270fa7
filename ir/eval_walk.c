/* SPDX-License-Identifier: Apache-2.0
 * eval_walk.c - iteration over named axes: which elements of several views belong together.
 *
 * Neighbouring axes over which every operand moves evenly are merged, so dense values are walked in
 * long rows whatever their shape. */
#include "ir/eval_state.h"

void lap_space_of(lap_space_axes *space, const lap_view *view)
{
    space->n = view->n_axes;
    for (uint32_t i = 0; i < view->n_axes; i++) {
        space->name[i] = view->name[i];
        space->size[i] = view->size[i];
    }
}

void lap_space_add(lap_space_axes *space, lap_name name, int64_t size)
{
    for (uint32_t i = 0; i < space->n; i++) {
        if (lap_name_same(space->name[i], name)) {
            return;
        }
    }
    LAP_ENSURE(space->n < LAP_EVAL_AXES);
    space->name[space->n] = name;
    space->size[space->n++] = size;
}

int64_t lap_space_count(const lap_space_axes *space)
{
    int64_t total = 1;
    bool is_empty = false;
    for (uint32_t i = 0; i < space->n; i++) {
        is_empty = is_empty || space->size[i] == 0;
    }
    if (is_empty) {
        return 0;
    }
    for (uint32_t i = 0; i < space->n; i++) {
        if (__builtin_mul_overflow(total, space->size[i], &total) || total > (int64_t)1 << 40) {
            return -1;
        }
    }
    return total;
}

/* Appends axis `i` of the space, merged into the axis before it where all operands allow. */
static void append_axis(lap_walk *walk, int64_t size, const int64_t *strides)
{
    uint32_t last = walk->n_axes - 1;
    bool merges = walk->n_axes > 0;
    for (uint32_t v = 0; merges && v < walk->n_operands; v++) {
        merges = walk->stride[v][last] == strides[v] * size;
    }
    uint32_t to = merges ? last : walk->n_axes++;
    walk->size[to] = merges ? walk->size[last] * size : size;
    for (uint32_t v = 0; v < walk->n_operands; v++) {
        walk->stride[v][to] = strides[v];
    }
}

void lap_walk_points(lap_walk *walk, const lap_space_axes *space, uint32_t n, const lap_view *const *views)
{
    LAP_ENSURE(n <= LAP_EVAL_OPERANDS);
    walk->n_axes = 0;
    walk->n_operands = n;
    walk->inner = 1;
    walk->is_over = false;
    for (uint32_t i = 0; i < space->n; i++) {
        if (space->size[i] == 0) {
            walk->is_over = true;
        }
        if (space->size[i] <= 1) {
            continue;
        }
        int64_t strides[LAP_EVAL_OPERANDS];
        for (uint32_t v = 0; v < n; v++) {
            strides[v] = lap_view_stride(views[v], space->name[i]);
        }
        append_axis(walk, space->size[i], strides);
    }
    for (uint32_t i = 0; i < walk->n_axes; i++) {
        walk->index[i] = 0;
    }
    for (uint32_t v = 0; v < n; v++) {
        walk->at[v] = views[v]->at;
        walk->step[v] = 0;
    }
}

void lap_walk_init(lap_walk *walk, const lap_space_axes *space, uint32_t n, const lap_view *const *views)
{
    lap_walk_points(walk, space, n, views);
    if (walk->n_axes > 0) {
        walk->n_axes--;
        walk->inner = walk->size[walk->n_axes];
        for (uint32_t v = 0; v < n; v++) {
            walk->step[v] = walk->stride[v][walk->n_axes];
        }
    }
}

void lap_walk_next(lap_walk *walk)
{
    for (uint32_t i = walk->n_axes; i-- > 0;) {
        bool carries = ++walk->index[i] == walk->size[i];
        int64_t by = carries ? 1 - walk->size[i] : 1;
        for (uint32_t v = 0; v < walk->n_operands; v++) {
            walk->at[v] += by * walk->stride[v][i];
        }
        if (!carries) {
            return;
        }
        walk->index[i] = 0;
    }
    walk->is_over = true;
}

lap_eval_buffer *lap_walk_offsets(lap_eval_run *run, const lap_space_axes *space, const lap_view *view,
                                  lap_loc loc)
{
    int64_t count = lap_space_count(space);
    if (count < 0) {
        lap_error(run->ctx, loc, "the reference evaluator cannot walk so many elements");
        return NULL;
    }
    lap_eval_buffer *out = lap_eval_alloc(run, (size_t)count, sizeof(int64_t), loc);
    if (!out) {
        return NULL;
    }
    int64_t *offset = out->data;
    lap_walk walk;
    for (lap_walk_init(&walk, space, 1, &view); !walk.is_over; lap_walk_next(&walk)) {
        for (int64_t i = 0; i < walk.inner; i++) {
            *offset++ = walk.at[0] - view->at + i * walk.step[0];
        }
    }
    return out;
}
