/* SPDX-License-Identifier: Apache-2.0
 * eval_index.c - reads and writes at computed places: `at` and `scatter`.
 *
 * A read outside the static bound of an axis gives the fill, or a poisoned element. Writes outside
 * are dropped; several writes to one place happen in the row-major order of the axes `over`. */
#include <math.h>

#include "ir/eval_state.h"

/* Coordinates of one element: `n` index operands into a source of these strides and sizes. */
typedef struct places {
    uint32_t n;
    const lap_view *index[LAP_EVAL_AXES];
    lap_name axis[LAP_EVAL_AXES];
    int64_t size[LAP_EVAL_AXES], stride[LAP_EVAL_AXES];
} places;

static bool find_places(lap_eval_run *run, const lap_node *node, lap_names axes, const lap_view *target,
                        places *out)
{
    *out = (places){.n = axes.n};
    if (axes.n + 1 != node->n_args || axes.n > LAP_EVAL_AXES) {
        return lap_error(run->ctx, node->loc, "one index per axis is needed");
    }
    for (uint32_t i = 0; i < axes.n; i++) {
        int a = lap_view_find(target, axes.at[i]);
        if (a < 0) {
            return lap_error(run->ctx, node->loc, "there is no axis '%s'", lap_text(run->ctx, axes.at[i]));
        }
        out->index[i] = lap_eval_arg(run, node, i + 1);
        out->axis[i] = axes.at[i];
        out->size[i] = target->size[a];
        out->stride[i] = target->stride[a];
    }
    return true;
}

/* Offset into the target from the index operands at walk->at[first ...]; the number of the first
 * axis that is missed, or -1. */
static int locate(const places *p, const lap_walk *walk, uint32_t first, int64_t *out_offset,
                  uint8_t *out_poison)
{
    int missed = -1;
    *out_offset = 0;
    *out_poison = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        int64_t at = walk->at[first + i];
        int64_t v = lap_view_int(p->index[i], at);
        if (!*out_poison) {
            *out_poison = lap_view_poison(p->index[i], at);
        }
        if (v < 0 || v >= p->size[i]) {
            missed = missed < 0 ? (int)i : missed;
        } else {
            *out_offset += v * p->stride[i];
        }
    }
    return missed;
}

static void copy_element(const lap_view *from, int64_t at, const lap_view *to, int64_t to_at)
{
    if (to->kind == LAP_F32) {
        ((double *)to->buffer->data)[to_at] = lap_view_double(from, at);
    } else if (to->kind == LAP_I64) {
        ((int64_t *)to->buffer->data)[to_at] = lap_view_int(from, at);
    } else {
        ((uint8_t *)to->buffer->data)[to_at] = lap_view_double(from, at) != 0;
    }
}

static void set_scalar(const lap_view *to, int64_t at, lap_scalar s)
{
    bool is_float = s.dtype == LAP_F32;
    if (to->kind == LAP_F32) {
        ((double *)to->buffer->data)[at] = is_float ? s.f : (double)s.i;
    } else if (to->kind == LAP_I64) {
        ((int64_t *)to->buffer->data)[at] = is_float ? lap_eval_to_int(s.f) : s.i;
    } else {
        ((uint8_t *)to->buffer->data)[at] = is_float ? s.f != 0 : s.i != 0;
    }
}

/* ---- at */

static uint8_t miss(lap_eval_run *run, const lap_node *node, const places *p, int axis)
{
    const char *text = lap_arena_printf(run->ctx->arena, "index outside axis '%s' of %lld",
                                        lap_text(run->ctx, p->axis[axis]), (long long)p->size[axis]);
    return lap_eval_origin_of(run, node->loc, text);
}

typedef struct read_walk {
    const lap_node *node;
    const lap_view *x;
    const lap_view *out;
    const places *places;
    const lap_attr *fill;
    uint8_t missed[LAP_EVAL_AXES];
} read_walk;

/* One element: operands of the walk are x, out, absent, indices. */
static bool read_one(lap_eval_run *run, read_walk *r, const lap_walk *walk, const uint8_t *absent)
{
    int64_t offset, to = walk->at[1];
    uint8_t poison;
    int missed = locate(r->places, walk, 3, &offset, &poison);
    if (missed < 0) {
        copy_element(r->x, walk->at[0] + offset, r->out, to);
        if (!poison) {
            poison = lap_view_poison(r->x, walk->at[0] + offset);
        }
    } else if (r->fill) {
        set_scalar(r->out, to, r->fill->scalar);
    } else if (!poison) {
        if (!r->missed[missed]) {
            r->missed[missed] = miss(run, r->node, r->places, missed);
        }
        poison = r->missed[missed];
    }
    if (poison && !(absent && absent[walk->at[2]])) {
        if (!lap_eval_add_poison(run, r->out->buffer, r->node->loc)) {
            return false;
        }
        r->out->buffer->poison[to] = poison;
    }
    return true;
}

/* The source without the axes that the indices replace: what they leave is aligned by name. */
static lap_view without_axes(const lap_view *x, lap_names names)
{
    lap_view rest = *x;
    rest.n_axes = 0;
    for (uint32_t i = 0; i < x->n_axes; i++) {
        if (!lap_names_has(names, x->name[i])) {
            rest.name[rest.n_axes] = x->name[i];
            rest.size[rest.n_axes] = x->size[i];
            rest.stride[rest.n_axes++] = x->stride[i];
        }
    }
    return rest;
}

bool lap_eval_at(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    const lap_view *x = lap_eval_arg(run, node, 0);
    lap_names src = lap_attr_names(node, LAP_ATTR_SRC);
    places p;
    if (!find_places(run, node, src, x, &p)) {
        return false;
    }
    lap_view rest = without_axes(x, src), absent, out;
    if (!lap_eval_absent(run, node->n_axes, node->axes, NULL, node->loc, &absent)) {
        return false;
    }
    bool ok = lap_view_of_node(run, node, &out);
    read_walk r = {
        .node = node, .x = x, .out = &out, .places = &p, .fill = lap_node_attr(node, LAP_ATTR_FILL)};
    const lap_view *views[LAP_EVAL_OPERANDS] = {&rest, &out, &absent};
    for (uint32_t i = 0; i < p.n; i++) {
        views[3 + i] = p.index[i];
    }
    lap_space_axes space = {0};
    if (ok) {
        lap_space_of(&space, &out);
    }
    lap_walk walk;
    lap_walk_points(&walk, &space, ok ? 3 + p.n : 0, views);
    for (; ok && !walk.is_over; lap_walk_next(&walk)) {
        ok = read_one(run, &r, &walk, absent.buffer ? absent.buffer->data : NULL);
    }
    lap_view_drop(run, &absent);
    if (!ok) {
        lap_view_drop(run, &out);
    }
    return ok && lap_eval_give(run, ref, &out);
}

/* ---- scatter */

static void combine(lap_mode mode, const lap_view *x, int64_t at, const lap_view *out, int64_t to)
{
    if (mode == LAP_MODE_SET) {
        copy_element(x, at, out, to);
    } else if (out->kind == LAP_F32) {
        double v = lap_view_double(x, at), *slot = (double *)out->buffer->data + to;
        *slot = mode == LAP_MODE_ADD ? *slot + v : isnan(v) || isnan(*slot) ? NAN : v > *slot ? v : *slot;
    } else if (out->kind == LAP_I64) {
        int64_t v = lap_view_int(x, at), *slot = (int64_t *)out->buffer->data + to;
        *slot = mode == LAP_MODE_ADD ? (int64_t)((uint64_t)*slot + (uint64_t)v) : v > *slot ? v : *slot;
    } else {
        uint8_t *slot = (uint8_t *)out->buffer->data + to;
        *slot = *slot || lap_view_int(x, at) != 0;
    }
}

typedef struct write_walk {
    lap_mode mode;
    const lap_view *x, *out;
    const places *places;
} write_walk;

/* One element: operands of the walk are x, out, absent, indices. */
static bool write_one(lap_eval_run *run, const write_walk *w, const lap_walk *walk, const lap_node *node)
{
    int64_t offset;
    uint8_t poison;
    int missed = locate(w->places, walk, 3, &offset, &poison);
    if (poison) {
        return lap_eval_poisoned(run, poison);
    }
    if (missed >= 0) {
        return true;
    }
    int64_t to = walk->at[1] + offset;
    combine(w->mode, w->x, walk->at[0], w->out, to);
    poison = lap_view_poison(w->x, walk->at[0]);
    if (poison && !lap_eval_add_poison(run, w->out->buffer, node->loc)) {
        return false;
    }
    if (w->out->buffer->poison && (poison || w->mode == LAP_MODE_SET)) {
        w->out->buffer->poison[to] = poison;
    }
    return true;
}

/* All axes of the operands: rows first, then those scattered over, in their order. */
static bool source_space(lap_eval_run *run, const lap_node *node, lap_space_axes *out, lap_axis *axes,
                         uint32_t *out_n)
{
    lap_names over = lap_attr_names(node, LAP_ATTR_OVER);
    *out_n = 0;
    for (uint32_t i = 0; i < node->n_args; i++) {
        const lap_node *arg = lap_node_at(run->g, node->args[i]);
        for (uint32_t a = 0; a < arg->n_axes; a++) {
            const lap_axis *known = lap_axis_find(axes, *out_n, arg->axes[a].name);
            if (!known) {
                if (*out_n == LAP_EVAL_AXES) {
                    return lap_error(run->ctx, node->loc, "the reference evaluator takes at most %d axes",
                                     LAP_EVAL_AXES);
                }
                axes[(*out_n)++] = arg->axes[a];
            } else if (!lap_ref_some(known->count)) {
                axes[known - axes].count = arg->axes[a].count;
            }
        }
    }
    for (uint32_t i = 0; i < *out_n + over.n; i++) {
        const lap_axis *axis = i < *out_n ? &axes[i] : lap_axis_find(axes, *out_n, over.at[i - *out_n]);
        int64_t size;
        if (!axis) {
            return lap_error(run->ctx, node->loc, "no axis '%s' to scatter over",
                             lap_text(run->ctx, over.at[i - *out_n]));
        }
        if (!lap_eval_size(run, axis->size, node->loc, &size)) {
            return false;
        }
        if (i >= *out_n || !lap_names_has(over, axis->name)) {
            lap_space_add(out, axis->name, size);
        }
    }
    return true;
}

static bool scatter(lap_eval_run *run, const lap_node *node, const lap_space_axes *space,
                    const lap_view *absent, const lap_view *out)
{
    lap_names target = lap_attr_names(node, LAP_ATTR_TARGET);
    const lap_attr *base = lap_node_attr(node, LAP_ATTR_BASE);
    places p;
    if (!find_places(run, node, target, out, &p)) {
        return false;
    }
    for (size_t i = 0; base && i < out->buffer->n; i++) {
        set_scalar(out, (int64_t)i, base->scalar);
    }
    const lap_view *x = lap_eval_arg(run, node, 0);
    lap_view rest = without_axes(out, target);
    const lap_view *views[LAP_EVAL_OPERANDS] = {x, &rest, absent};
    for (uint32_t i = 0; i < p.n; i++) {
        views[3 + i] = p.index[i];
    }
    write_walk w = {.mode = (lap_mode)lap_attr_i(node, LAP_ATTR_MODE, 0), .x = x, .out = out, .places = &p};
    lap_walk walk;
    for (lap_walk_points(&walk, space, 3 + p.n, views); !walk.is_over; lap_walk_next(&walk)) {
        bool is_absent = absent->buffer && ((const uint8_t *)absent->buffer->data)[walk.at[2]];
        if (!is_absent && !write_one(run, &w, &walk, node)) {
            return false;
        }
    }
    return true;
}

bool lap_eval_scatter(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    lap_space_axes space = {0};
    lap_axis axes[LAP_EVAL_AXES];
    uint32_t n;
    lap_view absent, out;
    if (!source_space(run, node, &space, axes, &n) ||
        !lap_eval_absent(run, n, axes, NULL, node->loc, &absent)) {
        return false;
    }
    bool ok = lap_view_of_node(run, node, &out);
    if (ok && !scatter(run, node, &space, &absent, &out)) {
        lap_view_drop(run, &out);
        ok = false;
    }
    lap_view_drop(run, &absent);
    return ok && lap_eval_give(run, ref, &out);
}
