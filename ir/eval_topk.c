/* SPDX-License-Identifier: Apache-2.0
 * eval_topk.c - the k first of each row in a stable order: ties to the lower index, NaN after every
 * number, absent elements last. */
#include <math.h>
#include <stdlib.h>

#include "ir/eval_state.h"

typedef struct entry {
    double f;
    int64_t i, place;
    bool is_absent, rises;
} entry;

static int compare(const void *left, const void *right)
{
    const entry *a = left, *b = right;
    if (a->is_absent != b->is_absent) {
        return a->is_absent ? 1 : -1;
    }
    if (isnan(a->f) != isnan(b->f)) {
        return isnan(a->f) ? 1 : -1;
    }
    int order = a->f != b->f ? (a->f > b->f) - (a->f < b->f) : (a->i > b->i) - (a->i < b->i);
    if (order != 0) {
        return a->rises ? order : -order;
    }
    return (a->place > b->place) - (a->place < b->place);
}

typedef struct topk_walk {
    const lap_view *x, *absent, *values, *index;
    int64_t n, k, x_step, absent_step, values_step, index_step;
    bool rises;
    entry *entries;
} topk_walk;

static void pick_row(const topk_walk *t, const int64_t *at)
{
    const uint8_t *absent = t->absent->buffer ? t->absent->buffer->data : NULL;
    for (int64_t i = 0; i < t->n; i++) {
        int64_t from = at[0] + i * t->x_step;
        bool is_int = t->x->kind != LAP_F32;
        t->entries[i] = (entry){.f = is_int ? 0 : lap_view_double(t->x, from),
                                .i = is_int ? lap_view_int(t->x, from) : 0,
                                .place = i,
                                .is_absent = absent && absent[at[1] + i * t->absent_step],
                                .rises = t->rises};
    }
    qsort(t->entries, (size_t)t->n, sizeof *t->entries, compare);
    for (int64_t i = 0; i < t->k; i++) {
        int64_t value_at = at[2] + i * t->values_step;
        ((int64_t *)t->index->buffer->data)[at[3] + i * t->index_step] = t->entries[i].place;
        if (t->values->kind == LAP_F32) {
            ((double *)t->values->buffer->data)[value_at] = t->entries[i].f;
        } else if (t->values->kind == LAP_I64) {
            ((int64_t *)t->values->buffer->data)[value_at] = t->entries[i].i;
        } else {
            ((uint8_t *)t->values->buffer->data)[value_at] = t->entries[i].i != 0;
        }
    }
}

/* Everything a row's order may depend on must be readable. */
static bool check_operand(lap_eval_run *run, const lap_node *node)
{
    const lap_node *source = lap_node_at(run->g, node->args[0]);
    lap_view absent;
    if (!lap_eval_absent(run, source->n_axes, source->axes, NULL, node->loc, &absent)) {
        return false;
    }
    bool ok = lap_eval_no_poison(run, lap_eval_arg(run, node, 0), &absent);
    lap_view_drop(run, &absent);
    return ok;
}

static bool pick_all(lap_eval_run *run, const lap_node *node, topk_walk *t, int place, lap_name into)
{
    lap_eval_buffer *entries = lap_eval_alloc(run, (size_t)t->n, sizeof(entry), node->loc);
    if (!entries) {
        return false;
    }
    t->entries = entries->data;
    t->x_step = t->n > 1 ? t->x->stride[place] : 0;
    t->absent_step = lap_view_stride(t->absent, t->x->name[place]);
    t->values_step = lap_view_stride(t->values, into);
    t->index_step = lap_view_stride(t->index, into);
    lap_space_axes space = {0};
    for (uint32_t i = 0; i < t->x->n_axes; i++) {
        if ((int)i != place) {
            lap_space_add(&space, t->x->name[i], t->x->size[i]);
        }
    }
    lap_walk walk;
    lap_walk_points(&walk, &space, 4, (const lap_view *[]){t->x, t->absent, t->values, t->index});
    for (; !walk.is_over; lap_walk_next(&walk)) {
        pick_row(t, walk.at);
    }
    lap_eval_release(run, entries);
    return true;
}

bool lap_eval_topk(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    const lap_view *x = lap_eval_arg(run, node, 0);
    const lap_node *source = lap_node_at(run->g, node->args[0]);
    lap_name axis = lap_attr_name(node, LAP_ATTR_AXIS), into = lap_attr_name(node, LAP_ATTR_INTO);
    lap_names along = {1, &axis};
    int place = lap_view_find(x, axis);
    topk_walk t = {
        .x = x, .n = place < 0 ? 0 : x->size[place], .rises = lap_attr_i(node, LAP_ATTR_SMALLEST, 0)};
    if (place < 0 || !lap_eval_size(run, lap_attr_dim(node, LAP_ATTR_DIM), node->loc, &t.k) || t.k < 0 ||
        t.k > t.n) {
        return lap_error(run->ctx, node->loc, "topk takes %lld of the %lld entries of axis '%s'",
                         (long long)t.k, (long long)t.n, lap_text(run->ctx, axis));
    }
    lap_view values, index = {0}, absent = {0}, shape = *x;
    shape.name[place] = into;
    shape.size[place] = t.k;
    if (!check_operand(run, node) ||
        !lap_view_new(run, x->kind, shape.n_axes, shape.name, shape.size, node->loc, &values)) {
        return false;
    }
    bool ok = lap_view_new(run, LAP_I64, shape.n_axes, shape.name, shape.size, node->loc, &index) &&
              lap_eval_absent(run, source->n_axes, source->axes, &along, node->loc, &absent);
    t.values = &values;
    t.index = &index;
    t.absent = &absent;
    ok = ok && pick_all(run, node, &t, place, into);
    lap_view_drop(run, &absent);
    if (!ok) {
        lap_view_drop(run, &values);
        lap_view_drop(run, &index);
        return false;
    }
    return lap_eval_give_result(run, ref, lap_intern(run->ctx, "values"), &values) &&
           lap_eval_give_result(run, ref, lap_intern(run->ctx, "index"), &index);
}
