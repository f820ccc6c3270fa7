/* SPDX-License-Identifier: Apache-2.0
 * near.c - recognises attends over windows of a grid: see near.h.
 *
 * Only the index expressions count. Each key axis must reach keys and values through the index of one
 * axis, the same in both, and that index must have the form of near.h, decided in normal form. */
#include "passes/near.h"

#include <string.h>

#include "passes/attend.h"

enum { MOST_COUNT = 512 };

typedef struct finder {
    lap_lowering *l;
    lap_near *near;
    lap_ref seen[32]; /* values read at the query's own coordinates */
    lap_names hidden[32];
    uint32_t n_seen;
    bool all_filled; /* reads by a place have a value for places outside */
} finder;

static bool has_any(const lap_node *n, lap_names names)
{
    for (uint32_t i = 0; i < names.n; i++) {
        if (lap_node_axis(n, names.at[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static bool note(finder *f, lap_ref r, lap_names hidden)
{
    if (f->n_seen == sizeof f->seen / sizeof *f->seen) {
        return false;
    }
    f->seen[f->n_seen] = r;
    f->hidden[f->n_seen++] = hidden;
    return true;
}

/* An index along a key axis: over that and one axis of the queries. */
static bool take_place(finder *f, lap_ref index, lap_names hidden)
{
    const lap_node *n = lap_node_at(f->l->g, index);
    lap_names keys = f->near->part->keys;
    if (!lap_plan_of(f->l, index)->is_plain || n->n_axes != 2 || n->dtype != LAP_I64) {
        return false;
    }
    uint32_t key = lap_names_has(keys, n->axes[0].name) ? 0 : 1;
    const lap_axis *grid = &n->axes[1 - key];
    if (!lap_names_has(keys, n->axes[key].name) || lap_names_has(keys, grid->name) ||
        lap_names_has(hidden, grid->name)) {
        return false;
    }
    for (uint32_t i = 0; i < f->near->n; i++) {
        lap_near_axis *a = &f->near->axis[i];
        if (!lap_name_same(a->key, n->axes[key].name)) {
            if (lap_name_same(a->grid, grid->name)) {
                return false;
            }
            continue;
        }
        if (lap_ref_some(a->place)) {
            return lap_ref_same(a->place, index);
        }
        a->place = index;
        a->grid = grid->name;
        a->size = grid->size;
        return lap_dim_is_const(f->l->ctx, n->axes[key].size, &a->count) && a->count <= MOST_COUNT;
    }
    return false;
}

static bool walk_side(finder *f, lap_ref r, lap_names hidden);

static bool walk_at(finder *f, const lap_node *n, lap_names hidden)
{
    lap_names src = lap_attr_names(n, LAP_ATTR_SRC);
    lap_name *below = lap_arena_array(f->l->ctx->arena, hidden.n + src.n + 1, sizeof *below);
    if (hidden.n > 0) {
        memcpy(below, hidden.at, hidden.n * sizeof *below);
    }
    memcpy(below + hidden.n, src.at, src.n * sizeof *below);
    for (uint32_t i = 0; i < src.n; i++) {
        lap_ref index = n->args[1 + i];
        bool by_key = has_any(lap_node_at(f->l->g, index), f->near->part->keys);
        f->all_filled = f->all_filled && (!by_key || lap_node_attr(n, LAP_ATTR_FILL) != NULL);
        if (!(by_key ? take_place(f, index, hidden) : note(f, index, hidden))) {
            return false;
        }
    }
    return walk_side(f, n->args[0], (lap_names){hidden.n + src.n, below});
}

/* Keys reach what is read only through places. `hidden`: axes of the source that an `at` replaces. */
static bool walk_side(finder *f, lap_ref r, lap_names hidden)
{
    const lap_node *n = lap_node_at(f->l->g, r);
    if (!has_any(n, f->near->part->keys)) {
        return note(f, r, hidden);
    }
    if (lap_plan_of(f->l, r)->kind != LAP_STORE_INLINE) {
        return false;
    }
    if (n->op == LAP_OP_AT) {
        return walk_at(f, n, hidden);
    }
    for (uint32_t i = 0; n->op == LAP_OP_MAP && i < n->n_args; i++) {
        if (!walk_side(f, n->args[i], hidden)) {
            return false;
        }
    }
    return n->op == LAP_OP_MAP;
}

/* What is read beside the places is free of the grid: it is the same for all queries that see a key. */
static bool rest_is_free(const finder *f)
{
    for (uint32_t i = 0; i < f->n_seen; i++) {
        const lap_node *n = lap_node_at(f->l->g, f->seen[i]);
        for (uint32_t a = 0; a < f->near->n; a++) {
            lap_name name = f->near->axis[a].grid;
            if (lap_node_axis(n, name) != NULL && !lap_names_has(f->hidden[i], name)) {
                return false;
            }
        }
    }
    return true;
}

static lap_coord pull_place(lap_kctx *k, const lap_near_axis *a, lap_coord query, lap_coord w)
{
    const lap_node *n = lap_node_at(k->l->g, a->place);
    lap_coord env[2];
    for (uint32_t i = 0; i < 2; i++) {
        env[i] = lap_name_same(n->axes[i].name, a->grid) ? query : w;
    }
    return lap_pull(k, a->place, env, LAP_NONE).coord;
}

static lap_coord query_at(lap_kctx *k, const lap_near_axis *a, lap_coord p, lap_coord r)
{
    return lap_coord_add(k->c, lap_coord_mul(k->c, p, lap_coord_const(k->c, a->step)), r);
}

lap_coord lap_near_first(lap_kctx *k, const lap_near_axis *a, lap_coord p, lap_coord r)
{
    lap_coord at = pull_place(k, a, query_at(k, a, p, r), lap_coord_const(k->c, 0));
    return lap_coord_floordiv(k->c, lap_coord_sub(k->c, at, r), lap_coord_const(k->c, a->step));
}

bool lap_near_window(lap_kctx *k, const lap_near_axis *a, lap_coord r, lap_coord_window *out)
{
    lap_ctx *ctx = k->l->ctx;
    lap_dim most = lap_dim_ceildiv(ctx, a->size, lap_dim_const(ctx, a->step));
    lap_coord p = lap_coord_stand_in(k->c, most);
    lap_coord lo = lap_near_first(k, a, p, r),
              at = pull_place(k, a, query_at(k, a, p, r), lap_coord_const(k->c, 0));
    if (!lap_coord_same(query_at(k, a, lo, r), at) || !lap_coord_clamped(k->c, lo, p, out)) {
        return false;
    }
    lap_coord more = lap_coord_const(k->c, out->run - 1); /* the window that moves starts as much earlier */
    out->shift = lap_coord_sub(k->c, out->shift, more);
    out->hi = out->has_hi ? lap_coord_sub(k->c, out->hi, more) : out->hi;
    return true;
}

/* What the axis is: from the place in normal form, at stand-in coordinates. */
static bool learn_axis(lap_lowering *l, lap_near_axis *a, bool *is_closed)
{
    lap_ctx *ctx = l->ctx;
    lap_kctx *k = lap_kctx_new(l, lap_node_at(l->g, a->place)->loc);
    lap_coord w = lap_coord_stand_in(k->c, lap_dim_const(ctx, a->count)), rest;
    lap_coord query = lap_coord_stand_in(k->c, a->size);
    lap_dim stride;
    if (a->count < 2 || !lap_coord_affine(k->c, pull_place(k, a, query, w), w, &stride, &rest) ||
        !lap_dim_is_const(ctx, stride, &a->step) || a->step < 1) {
        return false;
    }
    bool is_one = a->step == 1; /* residue, which a variable would hide in the places of runs */
    lap_coord r = is_one ? lap_coord_const(k->c, 0) : lap_coord_stand_in(k->c, lap_dim_const(ctx, a->step));
    lap_coord_window window;
    int64_t shift;
    if (!lap_near_window(k, a, r, &window) || !lap_coord_is_const(k->c, window.shift, &shift)) {
        return false;
    }
    a->back = -shift;
    a->run = window.run;
    a->places = a->count + a->run - 1;
    *is_closed = *is_closed && window.has_lo && window.has_hi && a->run == 1;
    return a->run <= a->count; /* else windows leave gaps */
}

/* Whether `r` depends on the keys otherwise than through the contraction. */
static bool reads_keys(lap_lowering *l, lap_ref r, const lap_near *near, bool *seen)
{
    const lap_node *n = lap_node_at(l->g, r);
    if (seen[r.ix] || lap_ref_same(r, near->contraction) || !has_any(n, near->part->keys)) {
        return false;
    }
    seen[r.ix] = true;
    bool any = n->op != LAP_OP_MAP;
    for (uint32_t i = 0; i < n->n_args && !any; i++) {
        any = reads_keys(l, n->args[i], near, seen);
    }
    return any;
}

static bool is_ragged(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_ref_some(n->axes[i].count)) {
            return true;
        }
    }
    return false;
}

/* The product of the queries' side and the keys' side, the same names as seen by the score. */
static bool take_sides(lap_lowering *l, lap_near *near, const lap_node *op)
{
    const lap_node *sum = lap_node_at(l->g, near->contraction), *x = lap_node_at(l->g, sum->args[0]);
    if (sum->op != LAP_OP_REDUCE || lap_attr_i(sum, LAP_ATTR_RED, 0) != LAP_RED_SUM || x->op != LAP_OP_MAP ||
        x->dtype != LAP_F32 || lap_attr_i(x, LAP_ATTR_FN, 0) != LAP_FN_MUL) {
        return false;
    }
    bool first = has_any(lap_node_at(l->g, x->args[0]), near->part->keys);
    near->k = x->args[first ? 0 : 1];
    near->q = x->args[first ? 1 : 0];
    near->v = op->args[near->part->value];
    near->over = lap_attr_names(sum, LAP_ATTR_OVER);
    return !has_any(lap_node_at(l->g, near->q), near->part->keys) && !is_ragged(l, near->q) &&
           !is_ragged(l, near->k) && !is_ragged(l, near->v) && !is_ragged(l, near->score) &&
           !(lap_ref_some(near->where) && is_ragged(l, near->where));
}

static bool same_names(lap_lowering *l, lap_ref contraction, lap_ref score)
{
    const lap_name *names;
    if (!lap_plan_trace(l, contraction, score, &names)) {
        return false;
    }
    const lap_node *n = lap_node_at(l->g, contraction);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (!lap_name_same(names[i], n->axes[i].name)) {
            return false;
        }
    }
    return true;
}

static const lap_near_axis *axis_of(const lap_near *near, lap_name name)
{
    for (uint32_t i = 0; i < near->n; i++) {
        if (lap_name_same(near->axis[i].grid, name) || lap_name_same(near->axis[i].key, name)) {
            return &near->axis[i];
        }
    }
    return NULL;
}

/* The rest of the axes: other rows, summed ones, those of the values alone. */
static bool sort_axes(lap_lowering *l, lap_near *near)
{
    const lap_node *score = lap_node_at(l->g, near->score), *v = lap_node_at(l->g, near->v);
    const lap_node *x = lap_node_at(l->g, lap_node_at(l->g, near->contraction)->args[0]);
    const lap_node *where = lap_ref_some(near->where) ? lap_node_at(l->g, near->where) : NULL;
    uint32_t most = score->n_axes + v->n_axes + x->n_axes + 1;
    lap_axis *batch = lap_arena_array(l->ctx->arena, 3 * most, sizeof *batch), *depth = batch + most,
             *wide = depth + most;
    for (uint32_t i = 0; i < score->n_axes; i++) {
        if (axis_of(near, score->axes[i].name) == NULL) {
            batch[near->batch.n++] = score->axes[i];
        }
    }
    for (uint32_t i = 0; i < x->n_axes; i++) {
        if (lap_names_has(near->over, x->axes[i].name)) {
            depth[near->depth.n++] = x->axes[i];
        }
    }
    for (uint32_t i = 0; i < v->n_axes; i++) {
        if (lap_node_axis(score, v->axes[i].name) == NULL) {
            wide[near->wide.n++] = v->axes[i];
        }
    }
    near->batch.at = batch;
    near->depth.at = depth;
    near->wide.at = wide;
    for (uint32_t i = 0; i < near->n; i++) {
        if (lap_node_axis(score, near->axis[i].grid) == NULL || lap_node_axis(v, near->axis[i].key) == NULL ||
            lap_node_axis(x, near->axis[i].key) == NULL) {
            return false;
        }
    }
    for (uint32_t i = 0; where != NULL && i < where->n_axes; i++) {
        if (lap_node_axis(score, where->axes[i].name) == NULL) {
            return false;
        }
    }
    return near->depth.n > 0 && near->wide.n > 0;
}

static bool asks_only_rows(lap_lowering *l, lap_ref op)
{
    uint32_t n;
    const lap_ref *results = lap_results_of(l, op, &n);
    for (uint32_t i = 0; i < n; i++) {
        const char *which = lap_text(l->ctx, lap_attr_name(lap_node_at(l->g, results[i]), LAP_ATTR_WHICH));
        if (strncmp(which, "weights", 7) == 0) {
            return false;
        }
    }
    return lap_ref_some(lap_result_named(l, op, "out"));
}

bool lap_near_find(lap_lowering *l, lap_ref attend, lap_ref contraction, lap_near *out)
{
    const lap_node *n = lap_node_at(l->g, attend);
    if (n->op != LAP_OP_ATTEND || !lap_attend_may_scale_empty(n)) {
        return false;
    }
    lap_parts parts = lap_node_attr(n, LAP_ATTR_PARTS)->parts;
    const lap_part *part = &parts.at[0];
    if (parts.n != 1 || part->after >= 0 || part->value < 0 || part->keys.n > LAP_NEAR_AXES ||
        !asks_only_rows(l, attend)) {
        return false;
    }
    *out = (lap_near){.part = part,
                      .contraction = contraction,
                      .score = n->args[part->score],
                      .where = part->where >= 0 ? n->args[part->where] : LAP_NONE,
                      .n = part->keys.n};
    for (uint32_t i = 0; i < out->n; i++) {
        out->axis[i].key = part->keys.at[i];
        out->axis[i].number = i;
    }
    const lap_name *names;
    finder f = {.l = l, .near = out, .all_filled = true};
    if (!take_sides(l, out, n) || !walk_side(&f, out->k, (lap_names){0}) ||
        !walk_side(&f, out->v, (lap_names){0}) || !rest_is_free(&f) || !sort_axes(l, out) ||
        !same_names(l, contraction, out->score) ||
        (lap_ref_some(out->where) && lap_plan_trace(l, contraction, out->where, &names))) {
        return false;
    }
    bool is_closed = true;
    for (uint32_t i = 0; i < out->n; i++) {
        if (!lap_ref_some(out->axis[i].place) || !learn_axis(l, &out->axis[i], &is_closed)) {
            return false;
        }
        out->has_runs = out->has_runs || out->axis[i].run > 1;
    }
    if (out->has_runs && !f.all_filled) {
        return false; /* windows that move reach beyond those that are asked for */
    }
    bool may_fail = lap_plan_of(l, out->k)->may_fail || lap_plan_of(l, out->v)->may_fail;
    if (may_fail && (!is_closed || lap_ref_some(out->where))) {
        return false; /* keys that nobody sees would be read */
    }
    bool *seen = lap_arena_array(l->ctx->arena, lap_graph_n_nodes(l->g) + 1, sizeof *seen);
    out->edits_by_key = reads_keys(l, out->score, out, seen) || lap_ref_some(out->where) || out->has_runs;
    return true;
}
