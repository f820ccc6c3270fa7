/* SPDX-License-Identifier: Apache-2.0
 * eval_attend.c - attend row by row: all scores of a row, its normaliser, its weights, its values.
 *
 * Nothing is streamed or rescaled: the greatest score of a row is known before any weight is made. A
 * row is empty when no key is present in any part, or when every score of a softmax is -infinity. */
#include <math.h>

#include "ir/eval_state.h"

#define MOST_PARTS 8

typedef enum operand { SCORE, WHERE, AFTER, ABSENT, N_OPERANDS } operand;

typedef struct part {
    const lap_part *spec;
    lap_view view[N_OPERANDS]; /* no buffer where the part lacks it */
    lap_view value, weights;   /* weights: a result, where asked for */
    lap_space_axes keys;
    int64_t n_keys;
    lap_eval_buffer *offset[N_OPERANDS], *value_key, *value_extra, *weights_key;
    lap_eval_buffer *weight, *present, *poison; /* of the row's keys */
    lap_walk walk;
} part;

typedef struct attend {
    lap_eval_run *run;
    lap_ref ref;
    const lap_node *node;
    lap_norm norm;
    bool has_eps;
    double eps, empty;
    uint32_t n;
    part part[MOST_PARTS];
    lap_space_axes rows, extra; /* extra: axes of values that are neither rows nor keys */
    lap_view out, lse, max, sum;
    lap_eval_buffer *out_extra;
    lap_walk walk;
    uint8_t row_poison;
} attend;

/* ---- what the parts are made of */

static bool add_axes(lap_eval_run *run, const lap_node *node, lap_space_axes *space, lap_names keys,
                     lap_loc loc)
{
    for (uint32_t i = 0; i < node->n_axes; i++) {
        int64_t size;
        if (lap_names_has(keys, node->axes[i].name)) {
            continue;
        }
        if (!lap_eval_size(run, node->axes[i].size, loc, &size)) {
            return false;
        }
        if (space->n == LAP_EVAL_AXES) {
            return lap_error(run->ctx, loc, "the reference evaluator takes at most %d axes", LAP_EVAL_AXES);
        }
        lap_space_add(space, node->axes[i].name, size);
    }
    return true;
}

/* Adds an operand's axes to the list; a count on either side stays. */
static uint32_t join_axes(const lap_node *node, lap_axis *axes, uint32_t n, lap_names keys, bool keys_only)
{
    for (uint32_t i = 0; i < node->n_axes; i++) {
        const lap_axis *known = lap_axis_find(axes, n, node->axes[i].name);
        if (known && !lap_ref_some(known->count)) {
            axes[known - axes].count = node->axes[i].count;
        } else if (!known && n < LAP_EVAL_AXES && (!keys_only || lap_names_has(keys, node->axes[i].name))) {
            axes[n++] = node->axes[i];
        }
    }
    return n;
}

static bool open_part(attend *a, part *p, const lap_part *spec)
{
    lap_eval_run *run = a->run;
    const int32_t numbers[] = {spec->score, spec->where, spec->after};
    lap_axis axes[LAP_EVAL_AXES];
    uint32_t n = 0;
    p->spec = spec;
    for (uint32_t i = 0; i < 3; i++) {
        if (numbers[i] < 0) {
            continue;
        }
        const lap_node *x = lap_node_at(run->g, a->node->args[numbers[i]]);
        p->view[i] = lap_view_keep(lap_eval_arg(run, a->node, (uint32_t)numbers[i]));
        n = join_axes(x, axes, n, spec->keys, false);
        if (!add_axes(run, x, &a->rows, spec->keys, a->node->loc)) {
            return false;
        }
    }
    if (spec->value >= 0) {
        const lap_node *x = lap_node_at(run->g, a->node->args[spec->value]);
        n = join_axes(x, axes, n, spec->keys, true);
        if (!lap_view_convert(run, lap_eval_arg(run, a->node, (uint32_t)spec->value), LAP_F32, a->node->loc,
                              &p->value)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < spec->keys.n; i++) {
        const lap_axis *axis = lap_axis_find(axes, n, spec->keys.at[i]);
        int64_t size;
        if (!axis || !lap_eval_size(run, axis->size, a->node->loc, &size)) {
            return lap_error(run->ctx, a->node->loc, "no key axis '%s'",
                             lap_text(run->ctx, spec->keys.at[i]));
        }
        lap_space_add(&p->keys, spec->keys.at[i], size);
    }
    p->n_keys = lap_space_count(&p->keys);
    return lap_eval_absent(run, n, axes, &spec->keys, a->node->loc, &p->view[ABSENT]);
}

/* Axes of the values beyond the rows, in all parts. */
static bool find_extra(attend *a)
{
    for (uint32_t i = 0; i < a->n; i++) {
        const lap_part *spec = a->part[i].spec;
        lap_space_axes all = a->rows;
        if (spec->value < 0) {
            continue;
        }
        const lap_node *value = lap_node_at(a->run->g, a->node->args[spec->value]);
        if (!add_axes(a->run, value, &all, spec->keys, a->node->loc)) {
            return false;
        }
        for (uint32_t x = a->rows.n; x < all.n; x++) {
            lap_space_add(&a->extra, all.name[x], all.size[x]);
        }
    }
    return true;
}

/* A result over the rows and `more`, with room for poison; nothing where nobody asks for it. */
static bool new_result(attend *a, const char *which, const lap_space_axes *more, lap_view *out)
{
    if (!lap_eval_is_asked(a->run, a->ref, lap_intern(a->run->ctx, which))) {
        return true;
    }
    if (a->rows.n + more->n > LAP_EVAL_AXES) {
        return lap_error(a->run->ctx, a->node->loc, "the reference evaluator takes at most %d axes",
                         LAP_EVAL_AXES);
    }
    lap_space_axes space = a->rows;
    for (uint32_t i = 0; i < more->n; i++) {
        lap_space_add(&space, more->name[i], more->size[i]);
    }
    return lap_view_new(a->run, LAP_F32, space.n, space.name, space.size, a->node->loc, out);
}

static const char *weights_name(attend *a, uint32_t i)
{
    return i == 0 ? "weights" : lap_arena_printf(a->run->ctx->arena, "weights%u", i + 1);
}

static bool open_buffers(attend *a, part *p)
{
    lap_eval_run *run = a->run;
    lap_loc loc = a->node->loc;
    for (int v = 0; v < N_OPERANDS; v++) {
        p->offset[v] = lap_walk_offsets(run, &p->keys, &p->view[v], loc);
        if (!p->offset[v]) {
            return false;
        }
    }
    p->value_key = lap_walk_offsets(run, &p->keys, &p->value, loc);
    p->value_extra = p->value_key ? lap_walk_offsets(run, &a->extra, &p->value, loc) : NULL;
    p->weights_key = p->value_extra ? lap_walk_offsets(run, &p->keys, &p->weights, loc) : NULL;
    p->weight = p->weights_key ? lap_eval_alloc(run, (size_t)p->n_keys, sizeof(double), loc) : NULL;
    p->present = p->weight ? lap_eval_alloc(run, (size_t)p->n_keys, 1, loc) : NULL;
    p->poison = p->present ? lap_eval_alloc(run, (size_t)p->n_keys, 1, loc) : NULL;
    if (!p->poison) {
        return false;
    }
    const lap_view *views[] = {&p->view[SCORE],  &p->view[WHERE], &p->view[AFTER],
                               &p->view[ABSENT], &p->value,       &p->weights};
    lap_walk_points(&p->walk, &a->rows, sizeof views / sizeof *views, views);
    return true;
}

static bool open_all(attend *a, lap_parts parts)
{
    static const lap_space_axes none;
    if (parts.n > MOST_PARTS) {
        return lap_error(a->run->ctx, a->node->loc, "the reference evaluator takes at most %d parts",
                         MOST_PARTS);
    }
    a->n = parts.n;
    for (uint32_t i = 0; i < a->n; i++) {
        if (!open_part(a, &a->part[i], &parts.at[i])) {
            return false;
        }
    }
    if (!find_extra(a) || (parts.at[0].value >= 0 && !new_result(a, "out", &a->extra, &a->out)) ||
        !new_result(a, "lse", &none, &a->lse) || !new_result(a, "max", &none, &a->max) ||
        !new_result(a, "sum", &none, &a->sum)) {
        return false;
    }
    for (uint32_t i = 0; i < a->n; i++) {
        part *p = &a->part[i];
        if (!new_result(a, weights_name(a, i), &p->keys, &p->weights) || !open_buffers(a, p)) {
            return false;
        }
    }
    a->out_extra = lap_walk_offsets(a->run, &a->extra, &a->out, a->node->loc);
    lap_walk_points(&a->walk, &a->rows, 4, (const lap_view *[]){&a->out, &a->lse, &a->max, &a->sum});
    return a->out_extra != NULL;
}

static void close_all(attend *a)
{
    for (uint32_t i = 0; i < MOST_PARTS; i++) {
        part *p = &a->part[i];
        for (int v = 0; v < N_OPERANDS; v++) {
            lap_view_drop(a->run, &p->view[v]);
            lap_eval_release(a->run, p->offset[v]);
        }
        lap_view_drop(a->run, &p->value);
        lap_eval_release(a->run, p->value_key);
        lap_eval_release(a->run, p->value_extra);
        lap_eval_release(a->run, p->weights_key);
        lap_eval_release(a->run, p->weight);
        lap_eval_release(a->run, p->present);
        lap_eval_release(a->run, p->poison);
    }
    lap_eval_release(a->run, a->out_extra);
}

/* ---- one row */

static int64_t place(const part *p, operand v, int64_t k)
{
    return p->walk.at[v] + ((const int64_t *)p->offset[v]->data)[k];
}

/* Which keys of the part the row sees. */
static void find_present(attend *a, part *p)
{
    uint8_t *present = p->present->data;
    for (int64_t k = 0; k < p->n_keys; k++) {
        present[k] = !p->view[ABSENT].buffer || !lap_view_int(&p->view[ABSENT], place(p, ABSENT, k));
        if (!present[k] || !p->view[WHERE].buffer) {
            continue;
        }
        uint8_t poison = lap_view_poison(&p->view[WHERE], place(p, WHERE, k));
        a->row_poison = a->row_poison ? a->row_poison : poison;
        present[k] = lap_view_int(&p->view[WHERE], place(p, WHERE, k)) != 0;
    }
}

/* Loads the scores of the keys seen; the greatest of them and `greatest`, NaN if any is. */
static double load_scores(attend *a, part *p, double greatest, bool *out_any)
{
    const uint8_t *present = p->present->data;
    double *weight = p->weight->data;
    for (int64_t k = 0; k < p->n_keys; k++) {
        weight[k] = 0;
        if (!present[k]) {
            continue;
        }
        *out_any = true;
        int64_t at = place(p, SCORE, k);
        uint8_t poison = lap_view_poison(&p->view[SCORE], at);
        a->row_poison = a->row_poison ? a->row_poison : poison;
        weight[k] = lap_view_double(&p->view[SCORE], at);
        greatest = isnan(greatest) || isnan(weight[k]) ? NAN : weight[k] > greatest ? weight[k] : greatest;
    }
    return greatest;
}

static double weigh(const attend *a, part *p, double shift)
{
    const uint8_t *present = p->present->data;
    double *weight = p->weight->data, total = 0;
    for (int64_t k = 0; k < p->n_keys; k++) {
        if (present[k]) {
            weight[k] = a->norm == LAP_NORM_SOFTMAX ? exp(weight[k] - shift) : weight[k];
            total += weight[k];
        }
    }
    return total;
}

/* Divides by the normaliser, applies `after`; poisoned weights are noted per key. */
static void normalise(part *p, double norm)
{
    const uint8_t *present = p->present->data;
    double *weight = p->weight->data;
    uint8_t *poison = p->poison->data;
    for (int64_t k = 0; k < p->n_keys; k++) {
        poison[k] = 0;
        if (!present[k]) {
            continue;
        }
        weight[k] = norm != 0 ? weight[k] / norm : 0;
        if (p->view[AFTER].buffer) {
            weight[k] *= lap_view_double(&p->view[AFTER], place(p, AFTER, k));
            poison[k] = lap_view_poison(&p->view[AFTER], place(p, AFTER, k));
        }
    }
}

static bool set_result(attend *a, const lap_view *view, int64_t at, double value, uint8_t poison)
{
    if (!view->buffer) {
        return true;
    }
    ((double *)view->buffer->data)[at] = value;
    if (poison && !lap_eval_add_poison(a->run, view->buffer, a->node->loc)) {
        return false;
    }
    if (poison) {
        view->buffer->poison[at] = poison;
    }
    return true;
}

/* Adds the part's weighed values to the row of `out`. */
static bool add_values(attend *a, part *p)
{
    const uint8_t *present = p->present->data, *poison = p->poison->data;
    const double *weight = p->weight->data;
    const int64_t *key = p->value_key->data, *extra = p->value_extra->data, *to = a->out_extra->data;
    double *out = (double *)a->out.buffer->data + a->walk.at[0];
    size_t n_extra = a->out_extra->n;
    for (int64_t k = 0; k < p->n_keys; k++) {
        if (!present[k]) {
            continue;
        }
        int64_t from = p->walk.at[4] + key[k];
        const double *value = (const double *)p->value.buffer->data + from;
        for (size_t x = 0; x < n_extra; x++) {
            out[to[x]] += weight[k] * value[extra[x]];
        }
        if (!p->value.buffer->poison && !poison[k]) {
            continue;
        }
        for (size_t x = 0; x < n_extra; x++) {
            uint8_t bad = poison[k] ? poison[k] : lap_view_poison(&p->value, from + extra[x]);
            if (bad && !set_result(a, &a->out, a->walk.at[0] + to[x], out[to[x]], bad)) {
                return false;
            }
        }
    }
    return true;
}

static bool store_weights(attend *a, part *p)
{
    const double *weight = p->weight->data;
    const uint8_t *poison = p->poison->data;
    const int64_t *to = p->weights_key->data;
    for (int64_t k = 0; p->weights.buffer && k < p->n_keys; k++) {
        uint8_t bad = a->row_poison ? a->row_poison : poison[k];
        if (!set_result(a, &p->weights, p->walk.at[5] + to[k], weight[k], bad)) {
            return false;
        }
    }
    return true;
}

static bool store_out(attend *a, bool is_empty)
{
    const int64_t *to = a->out_extra->data;
    for (uint32_t i = 0; a->out.buffer && !is_empty && i < a->n; i++) {
        if (!add_values(a, &a->part[i])) {
            return false;
        }
    }
    for (size_t x = 0; a->out.buffer && x < a->out_extra->n; x++) {
        int64_t at = a->walk.at[0] + to[x];
        double value = is_empty ? a->empty : ((double *)a->out.buffer->data)[at];
        if (!set_result(a, &a->out, at, value, a->row_poison)) {
            return false;
        }
    }
    return true;
}

static bool eval_row(attend *a)
{
    double greatest = -INFINITY, total = 0;
    bool any = false;
    a->row_poison = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        find_present(a, &a->part[i]);
        greatest = load_scores(a, &a->part[i], greatest, &any);
    }
    if (a->norm != LAP_NORM_SOFTMAX) {
        greatest = 0;
    }
    double shift = isfinite(greatest) ? greatest : 0;
    for (uint32_t i = 0; i < a->n; i++) {
        total += weigh(a, &a->part[i], shift);
    }
    double norm = a->norm == LAP_NORM_NONE ? 1 : a->has_eps && total < a->eps ? a->eps : total;
    bool is_empty = !any || (a->norm == LAP_NORM_SOFTMAX && total == 0);
    for (uint32_t i = 0; i < a->n; i++) {
        normalise(&a->part[i], norm);
        if (!store_weights(a, &a->part[i])) {
            return false;
        }
    }
    return store_out(a, is_empty) &&
           set_result(a, &a->lse, a->walk.at[1], log(total) + shift, a->row_poison) &&
           set_result(a, &a->max, a->walk.at[2], greatest, a->row_poison) &&
           set_result(a, &a->sum, a->walk.at[3], total, a->row_poison);
}

/* ---- the node */

static bool give_all(attend *a, bool ok)
{
    lap_ctx *ctx = a->run->ctx;
    const char *const names[] = {"out", "lse", "max", "sum"};
    lap_view *const views[] = {&a->out, &a->lse, &a->max, &a->sum};
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        if (!ok) {
            lap_view_drop(a->run, views[i]);
        } else if (views[i]->buffer) {
            ok = lap_eval_give_result(a->run, a->ref, lap_intern(ctx, names[i]), views[i]);
        }
    }
    for (uint32_t i = 0; i < a->n; i++) {
        lap_view *w = &a->part[i].weights;
        if (!ok) {
            lap_view_drop(a->run, w);
        } else if (w->buffer) {
            ok = lap_eval_give_result(a->run, a->ref, lap_intern(ctx, weights_name(a, i)), w);
        }
    }
    return ok;
}

bool lap_eval_attend(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    const lap_attr *eps = lap_node_attr(node, LAP_ATTR_EPS);
    lap_eval_buffer *room = lap_eval_alloc(run, 1, sizeof(attend), node->loc);
    if (!room) {
        return false;
    }
    attend *a = room->data;
    *a = (attend){.run = run,
                  .ref = ref,
                  .node = node,
                  .norm = (lap_norm)lap_attr_i(node, LAP_ATTR_NORM, 0),
                  .has_eps = eps != NULL,
                  .eps = eps ? eps->f : 0,
                  .empty = lap_attr_f(node, LAP_ATTR_EMPTY, 0)};
    bool ok = open_all(a, lap_node_attr(node, LAP_ATTR_PARTS)->parts);
    while (ok && !a->walk.is_over) {
        ok = eval_row(a);
        lap_walk_next(&a->walk);
        for (uint32_t i = 0; i < a->n; i++) {
            lap_walk_next(&a->part[i].walk);
        }
    }
    close_all(a);
    ok = give_all(a, ok);
    lap_eval_release(run, room);
    return ok;
}
