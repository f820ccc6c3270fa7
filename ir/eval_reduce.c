/* SPDX-License-Identifier: Apache-2.0
 * eval_reduce.c - folds over axes; elements beyond a run-time extent are skipped. */
#include <math.h>

#include "ir/eval_state.h"

typedef struct reduce_walk {
    lap_red red;
    const lap_view *x, *absent, *out;
    int64_t n; /* elements folded into one */
    const int64_t *x_offset, *absent_offset;
} reduce_walk;

static bool is_absent(const reduce_walk *r, int64_t at, int64_t k)
{
    return r->absent->buffer && ((const uint8_t *)r->absent->buffer->data)[at + r->absent_offset[k]];
}

static bool wins(lap_red red, double x, double best)
{
    if (isnan(best)) {
        return false;
    }
    return isnan(x) || (red == LAP_RED_MAX || red == LAP_RED_ARGMAX ? x > best : x < best);
}

static double fold_float(const reduce_walk *r, int64_t x_at, int64_t absent_at, int64_t *out_place)
{
    const double *x = (const double *)r->x->buffer->data + x_at;
    bool grows = r->red == LAP_RED_MAX || r->red == LAP_RED_ARGMAX;
    double acc = r->red == LAP_RED_SUM ? 0 : r->red == LAP_RED_PROD ? 1 : grows ? -INFINITY : INFINITY;
    int64_t place = -1;
    for (int64_t k = 0; k < r->n; k++) {
        if (is_absent(r, absent_at, k)) {
            continue;
        }
        double v = x[r->x_offset[k]];
        if (r->red == LAP_RED_SUM) {
            acc += v;
        } else if (r->red == LAP_RED_PROD) {
            acc *= v;
        } else if (place < 0 || wins(r->red, v, acc)) {
            acc = v;
            place = k;
        }
    }
    *out_place = place < 0 ? 0 : place;
    return acc;
}

static int64_t int_start(const reduce_walk *r)
{
    bool is_bool = r->x->kind == LAP_BOOL;
    switch (r->red) {
    case LAP_RED_SUM:
    case LAP_RED_ANY:
        return 0;
    case LAP_RED_PROD:
    case LAP_RED_ALL:
        return 1;
    case LAP_RED_MAX:
    case LAP_RED_ARGMAX:
        return is_bool ? 0 : INT64_MIN;
    case LAP_RED_MIN:
    case LAP_RED_ARGMIN:
        return is_bool ? 1 : INT64_MAX;
    case LAP_N_REDS:
        break;
    }
    LAP_BUG("reduction %d", (int)r->red);
}

static int64_t fold_int(const reduce_walk *r, int64_t x_at, int64_t absent_at, int64_t *out_place)
{
    int64_t acc = int_start(r), place = -1;
    bool grows = r->red == LAP_RED_MAX || r->red == LAP_RED_ARGMAX;
    for (int64_t k = 0; k < r->n; k++) {
        if (is_absent(r, absent_at, k)) {
            continue;
        }
        int64_t v = lap_view_int(r->x, x_at + r->x_offset[k]);
        if (r->red == LAP_RED_SUM) {
            acc = (int64_t)((uint64_t)acc + (uint64_t)v);
        } else if (r->red == LAP_RED_PROD) {
            acc = (int64_t)((uint64_t)acc * (uint64_t)v);
        } else if (r->red == LAP_RED_ANY) {
            acc = acc || v;
        } else if (r->red == LAP_RED_ALL) {
            acc = acc && v;
        } else if (place < 0 || (grows ? v > acc : v < acc)) {
            acc = v;
            place = k;
        }
    }
    *out_place = place < 0 ? 0 : place;
    return acc;
}

static uint8_t fold_poison(const reduce_walk *r, int64_t x_at, int64_t absent_at)
{
    for (int64_t k = 0; k < r->n; k++) {
        uint8_t p = r->x->buffer->poison[x_at + r->x_offset[k]];
        if (p && !is_absent(r, absent_at, k)) {
            return p;
        }
    }
    return 0;
}

static void store(const reduce_walk *r, int64_t at, double f, int64_t i)
{
    bool in_float = r->x->kind == LAP_F32;
    if (r->out->kind == LAP_F32) {
        ((double *)r->out->buffer->data)[at] = in_float ? f : (double)i;
    } else if (r->out->kind == LAP_I64) {
        ((int64_t *)r->out->buffer->data)[at] = in_float ? lap_eval_to_int(f) : i;
    } else {
        ((uint8_t *)r->out->buffer->data)[at] = in_float ? f != 0 : i != 0;
    }
}

static void reduce_one(const reduce_walk *r, int64_t x_at, int64_t absent_at, int64_t out_at)
{
    bool is_place = r->red == LAP_RED_ARGMAX || r->red == LAP_RED_ARGMIN;
    int64_t place = 0, i = 0;
    double f = 0;
    if (r->x->kind == LAP_F32) {
        f = fold_float(r, x_at, absent_at, &place);
    } else {
        i = fold_int(r, x_at, absent_at, &place);
    }
    if (is_place) {
        ((int64_t *)r->out->buffer->data)[out_at] = place;
    } else {
        store(r, out_at, f, i);
    }
    if (r->x->buffer->poison) {
        r->out->buffer->poison[out_at] = fold_poison(r, x_at, absent_at);
    }
}

static bool over_space(const lap_view *x, lap_names over, lap_space_axes *out)
{
    out->n = 0;
    for (uint32_t i = 0; i < over.n; i++) {
        int a = lap_view_find(x, over.at[i]);
        if (a < 0) {
            return false;
        }
        lap_space_add(out, over.at[i], x->size[a]);
    }
    return true;
}

static bool reduce_all(lap_eval_run *run, const lap_node *node, const lap_view *x, const lap_view *absent,
                       lap_view *out)
{
    reduce_walk r = {.red = (lap_red)lap_attr_i(node, LAP_ATTR_RED, 0), .x = x, .absent = absent, .out = out};
    if ((x->buffer->poison && !lap_eval_add_poison(run, out->buffer, node->loc))) {
        return false;
    }
    lap_space_axes over, space;
    if (!over_space(x, lap_attr_names(node, LAP_ATTR_OVER), &over)) {
        return lap_error(run->ctx, node->loc, "an axis reduced over is not there");
    }
    lap_eval_buffer *offsets = lap_walk_offsets(run, &over, x, node->loc);
    lap_eval_buffer *gaps = offsets ? lap_walk_offsets(run, &over, absent, node->loc) : NULL;
    if (gaps) {
        r.n = lap_space_count(&over);
        r.x_offset = offsets->data;
        r.absent_offset = gaps->data;
        lap_space_of(&space, out);
        lap_walk walk;
        lap_walk_points(&walk, &space, 3, (const lap_view *[]){x, absent, out});
        for (; !walk.is_over; lap_walk_next(&walk)) {
            reduce_one(&r, walk.at[0], walk.at[1], walk.at[2]);
        }
    }
    bool ok = gaps != NULL;
    lap_eval_release(run, offsets);
    lap_eval_release(run, gaps);
    return ok;
}

bool lap_eval_reduce(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    if (run->slots[node->args[0].ix].status == LAP_EVAL_DEFERRED) {
        return lap_eval_contract(run, ref, node);
    }
    const lap_node *source = lap_node_at(run->g, node->args[0]);
    const lap_view *x = lap_eval_arg(run, node, 0);
    lap_names over = lap_attr_names(node, LAP_ATTR_OVER);
    lap_view absent, out, bare = *x;
    if ((lap_red)lap_attr_i(node, LAP_ATTR_RED, 0) >= LAP_RED_ANY && x->kind == LAP_F32 &&
        (lap_red)lap_attr_i(node, LAP_ATTR_RED, 0) <= LAP_RED_ALL) {
        return lap_error(run->ctx, node->loc, "'%s' folds truth values",
                         lap_red_text((lap_red)lap_attr_i(node, LAP_ATTR_RED, 0)));
    }
    if (!lap_eval_absent(run, source->n_axes, source->axes, &over, node->loc, &absent)) {
        return false;
    }
    bool ok = lap_view_of_node(run, node, &out);
    if (ok && !reduce_all(run, node, &bare, &absent, &out)) {
        lap_view_drop(run, &out);
        ok = false;
    }
    lap_view_drop(run, &absent);
    return ok && lap_eval_give(run, ref, &out);
}
