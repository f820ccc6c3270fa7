/* SPDX-License-Identifier: Apache-2.0
 * attend_few_form.c - recognises attends in which few queries share their keys: see attend_few.h.
 *
 * Keys and values are read in place, once, so they need not be stored: a dequantisation is part of their
 * expression. Lanes run along the summed axes and along the values' own, so these must be fastest. */
#include "passes/attend.h"
#include "passes/attend_few.h"

#include "passes/near.h"
#include "passes/tiles.h"

#include <string.h>

enum { DEEPEST = 64, KEYS_PER_ROW = 8 };

static bool has_any(const lap_node *n, lap_names names)
{
    for (uint32_t i = 0; i < names.n; i++) {
        if (lap_node_axis(n, names.at[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static bool has_all(const lap_node *n, lap_names names)
{
    for (uint32_t i = 0; i < names.n; i++) {
        if (lap_node_axis(n, names.at[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static bool is_product(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    return n->op == LAP_OP_MAP && n->dtype == LAP_F32 && lap_attr_i(n, LAP_ATTR_FN, 0) == LAP_FN_MUL;
}

/* A product's factors with some of these axes, and those without: once per key is enough for them. */
static bool split_inner(lap_lowering *l, lap_ref r, lap_names inner, lap_factors *with, lap_factors *without,
                        int depth)
{
    const lap_node *n = lap_node_at(l->g, r);
    bool has = has_any(n, inner);
    if (has && is_product(l, r) && depth < DEEPEST) {
        return split_inner(l, n->args[0], inner, with, without, depth + 1) &&
               split_inner(l, n->args[1], inner, with, without, depth + 1);
    }
    lap_factors *side = has ? with : without;
    if (side->n == LAP_MAX_FACTORS) {
        return false;
    }
    side->at[side->n++] = r;
    return true;
}

/* Factors with a key axis go to k, those without to q; k's are split until they are free of `rows`. */
static bool split_factors(lap_lowering *l, lap_ref r, lap_few *f, lap_names rows, int depth)
{
    const lap_node *n = lap_node_at(l->g, r);
    bool by_key = has_any(n, f->part->keys);
    if (by_key && has_any(n, rows) && is_product(l, r) && depth < DEEPEST) {
        return split_factors(l, n->args[0], f, rows, depth + 1) &&
               split_factors(l, n->args[1], f, rows, depth + 1);
    }
    if (f->q.n == LAP_MAX_FACTORS) {
        return false;
    }
    if (by_key) {
        lap_names over = lap_attr_names(lap_node_at(l->g, f->contraction), LAP_ATTR_OVER);
        return split_inner(l, r, over, &f->k, &f->k_outer, 0);
    }
    f->q.at[f->q.n++] = r;
    return true;
}

/* The product of a sum: its two sides, where both are there. */
static bool take_sides(lap_lowering *l, lap_few *f)
{
    const lap_node *sum = lap_node_at(l->g, f->contraction), *x = lap_node_at(l->g, sum->args[0]);
    if (sum->op != LAP_OP_REDUCE || lap_attr_i(sum, LAP_ATTR_RED, 0) != LAP_RED_SUM ||
        !is_product(l, sum->args[0])) {
        return false;
    }
    /* axes that only one operand of the outermost product has, and that are no keys */
    const lap_node *a = lap_node_at(l->g, x->args[0]), *b = lap_node_at(l->g, x->args[1]);
    lap_name *rows = lap_arena_array(l->ctx->arena, sum->n_axes + 1, sizeof *rows);
    uint32_t n_rows = 0;
    for (uint32_t i = 0; i < sum->n_axes; i++) {
        lap_name name = sum->axes[i].name;
        bool in_both = lap_node_axis(a, name) != NULL && lap_node_axis(b, name) != NULL;
        if (!lap_names_has(f->part->keys, name) && !in_both) {
            rows[n_rows++] = name;
        }
    }
    lap_names only = {n_rows, rows};
    return split_factors(l, x->args[0], f, only, 0) && split_factors(l, x->args[1], f, only, 0) &&
           f->q.n > 0 && f->k.n > 0;
}

static const lap_axis *factors_axis(lap_lowering *l, const lap_factors *f, lap_name name)
{
    for (uint32_t i = 0; i < f->n; i++) {
        const lap_axis *a = lap_node_axis(lap_node_at(l->g, f->at[i]), name);
        if (a != NULL) {
            return a;
        }
    }
    return NULL;
}

static void last_fastest(lap_axis *axes, uint32_t n, lap_name fastest)
{
    for (uint32_t i = 0; i + 1 < n; i++) {
        if (lap_name_same(axes[i].name, fastest)) {
            lap_axis moved = axes[i];
            memmove(axes + i, axes + i + 1, (n - i - 1) * sizeof *axes);
            axes[n - 1] = moved;
            return;
        }
    }
}

/* The fastest axis of the largest factor of the keys. */
static lap_name fastest_of(lap_lowering *l, const lap_factors *f)
{
    const lap_plan_node *best = lap_plan_of(l, f->at[0]);
    for (uint32_t i = 1; i < f->n; i++) {
        const lap_plan_node *p = lap_plan_of(l, f->at[i]);
        best = p->fastest_of > best->fastest_of ? p : best;
    }
    return best->fastest;
}

static bool sort_result_axes(lap_lowering *l, lap_few *f)
{
    const lap_node *sum = lap_node_at(l->g, f->contraction), *v = lap_node_at(l->g, f->value);
    lap_axis *lists = lap_arena_array(l->ctx->arena, 3 * (sum->n_axes + 1), sizeof *lists);
    lap_axis *batch = lists, *rows = batch + sum->n_axes, *keys = rows + sum->n_axes;
    for (uint32_t i = 0; i < sum->n_axes; i++) {
        lap_axis a = sum->axes[i];
        if (lap_names_has(f->part->keys, a.name)) {
            if (factors_axis(l, &f->q, a.name) != NULL || lap_node_axis(v, a.name) == NULL) {
                return false;
            }
            keys[f->keys.n++] = a;
        } else if (factors_axis(l, &f->k, a.name) != NULL || factors_axis(l, &f->k_outer, a.name) != NULL ||
                   lap_node_axis(v, a.name) != NULL) {
            batch[f->batch.n++] = a;
        } else {
            rows[f->rows.n++] = a;
        }
    }
    f->batch.at = batch;
    f->rows.at = rows;
    f->keys.at = keys;
    return f->keys.n == f->part->keys.n;
}

static bool sort_inner_axes(lap_lowering *l, lap_few *f)
{
    const lap_node *sum = lap_node_at(l->g, f->contraction), *v = lap_node_at(l->g, f->value);
    const lap_node *x = lap_node_at(l->g, sum->args[0]);
    lap_axis *depth = lap_arena_array(l->ctx->arena, x->n_axes + 1, sizeof *depth);
    lap_axis *wide = lap_arena_array(l->ctx->arena, v->n_axes + 1, sizeof *wide);
    for (uint32_t i = 0; i < x->n_axes; i++) {
        if (lap_node_axis(sum, x->axes[i].name) == NULL) {
            if (lap_ref_some(x->axes[i].count)) {
                return false;
            }
            depth[f->depth.n++] = x->axes[i];
        }
    }
    for (uint32_t i = 0; i < v->n_axes; i++) {
        if (lap_node_axis(sum, v->axes[i].name) == NULL) {
            wide[f->wide.n++] = v->axes[i];
        }
    }
    lap_name *names = lap_arena_array(l->ctx->arena, f->wide.n + 1, sizeof *names);
    for (uint32_t i = 0; i < f->wide.n; i++) {
        names[i] = wide[i].name;
    }
    if (!split_inner(l, f->value, (lap_names){f->wide.n, names}, &f->v, &f->v_outer, 0)) {
        return false;
    }
    f->depth = (lap_axis_list){f->depth.n, depth};
    f->wide = (lap_axis_list){f->wide.n, wide};
    lap_name by_depth = fastest_of(l, &f->k), by_wide = lap_plan_of(l, f->value)->fastest;
    last_fastest(depth, f->depth.n, by_depth);
    last_fastest(wide, f->wide.n, by_wide);
    return f->depth.n > 0 && f->wide.n > 0 && lap_name_same(depth[f->depth.n - 1].name, by_depth) &&
           lap_name_same(wide[f->wide.n - 1].name, by_wide);
}

static bool within(lap_lowering *l, lap_ref r, const lap_node *sum)
{
    const lap_node *n = lap_node_at(l->g, r);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_node_axis(sum, n->axes[i].name) == NULL) {
            return false;
        }
    }
    return true;
}

/* An operand over the axes of the score that does not read its contraction; or none. */
static bool is_beside(lap_lowering *l, const lap_few *f, lap_ref r)
{
    const lap_name *names;
    return !lap_ref_some(r) ||
           (within(l, r, lap_node_at(l->g, f->contraction)) && !lap_plan_trace(l, f->contraction, r, &names));
}

/* The score reads the contraction at its own coordinates, the mask and the edit behind not at all. */
static bool reads_own(lap_lowering *l, const lap_few *f)
{
    const lap_node *sum = lap_node_at(l->g, f->contraction);
    const lap_name *names;
    if (!within(l, f->score, sum) || !has_all(sum, f->part->keys) ||
        !lap_plan_trace(l, f->contraction, f->score, &names)) {
        return false;
    }
    for (uint32_t i = 0; i < sum->n_axes; i++) {
        if (!lap_name_same(names[i], sum->axes[i].name)) {
            return false;
        }
    }
    return is_beside(l, f, f->where) && is_beside(l, f, f->after) &&
           (!lap_ref_some(f->after) || !lap_plan_of(l, f->after)->may_fail);
}

bool lap_few_counts_by_batch(lap_lowering *l, const lap_few *f, const lap_axis *key)
{
    const lap_node *n = lap_node_at(l->g, key->count);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_axis_find(f->batch.at, f->batch.n, n->axes[i].name) == NULL) {
            return false;
        }
    }
    return f->keys.n == 1;
}

static bool is_ragged(lap_axis_list axes)
{
    for (uint32_t i = 0; i < axes.n; i++) {
        if (lap_ref_some(axes.at[i].count)) {
            return true;
        }
    }
    return false;
}

/* Nothing is read that only a condition or a count would exclude: so what fails should. */
static bool reads_what_is_there(lap_lowering *l, const lap_few *f)
{
    const lap_node *sides[2] = {lap_node_at(l->g, f->score), lap_node_at(l->g, f->value)};
    for (uint32_t i = 0; i < 2 * f->keys.n; i++) {
        const lap_axis *key = lap_node_axis(sides[i % 2], f->keys.at[i / 2].name);
        if (key != NULL && lap_ref_some(key->count) && !lap_few_counts_by_batch(l, f, key)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < f->q.n; i++) {
        if (lap_plan_of(l, f->q.at[i])->may_fail && is_ragged(f->batch)) {
            return false;
        }
    }
    return !lap_ref_some(f->where) && !is_ragged(f->rows);
}

static bool may_fail(lap_lowering *l, const lap_few *f)
{
    lap_ref product = lap_node_at(l->g, f->contraction)->args[0];
    return lap_plan_of(l, f->score)->may_fail || lap_plan_of(l, f->value)->may_fail ||
           lap_plan_of(l, product)->may_fail;
}

/* Few rows always, or perhaps: then few rows is what a run may come to. Some more than one register block
 * holds are few only where there are so many keys that packing them would not pay. */
static bool count_rows(lap_lowering *l, lap_few *f)
{
    f->n_rows = lap_axes_product(l, f->rows);
    f->n_keys = lap_axes_product(l, f->keys);
    f->n_depth = lap_axes_product(l, f->depth);
    f->n_wide = lap_axes_product(l, f->wide);
    int64_t n, keys, most = lap_knob_planned(l, LAP_KNOB_FEW_MOST);
    int64_t own = lap_knob_planned(l, LAP_KNOB_FEW_ROWS);
    f->is_always = lap_dim_is_const(l->ctx, f->n_rows, &n);
    f->most = f->is_always ? n : most;
    bool has_many = !lap_dim_is_const(l->ctx, f->n_keys, &keys) || keys / KEYS_PER_ROW >= f->most;
    return f->most >= 1 && f->most <= most && (f->most <= own || has_many);
}

bool lap_few_find(lap_lowering *l, lap_ref attend, lap_ref contraction, lap_few *out)
{
    const lap_node *n = lap_node_at(l->g, attend);
    if (n->op != LAP_OP_ATTEND || lap_attr_f(n, LAP_ATTR_EMPTY, 0) != 0) {
        return false;
    }
    lap_parts parts = lap_node_attr(n, LAP_ATTR_PARTS)->parts;
    const lap_part *part = &parts.at[0];
    if (parts.n != 1 || part->value < 0 || !lap_attend_asks_only_rows(l, attend) ||
        !lap_ref_some(lap_result_named(l, attend, "out"))) {
        return false;
    }
    *out = (lap_few){.part = part,
                     .contraction = contraction,
                     .score = n->args[part->score],
                     .where = part->where >= 0 ? n->args[part->where] : LAP_NONE,
                     .after = part->after >= 0 ? n->args[part->after] : LAP_NONE,
                     .value = n->args[part->value]};
    return take_sides(l, out) && sort_result_axes(l, out) && sort_inner_axes(l, out) && reads_own(l, out) &&
           (!may_fail(l, out) || reads_what_is_there(l, out)) && count_rows(l, out);
}

static bool hopes(lap_lowering *l, lap_ref attend, lap_ref r, uint32_t *steps)
{
    const lap_node *n = lap_node_at(l->g, r);
    lap_few few;
    lap_near near;
    if (n->op == LAP_OP_REDUCE) {
        return lap_few_find(l, attend, r, &few) && few.is_always && !lap_near_find(l, attend, r, &near);
    }
    for (uint32_t i = 0; n->op == LAP_OP_MAP && i < n->n_args && ++*steps < DEEPEST; i++) {
        if (hopes(l, attend, n->args[i], steps)) {
            return true;
        }
    }
    return false;
}

bool lap_attend_few_hopes(lap_lowering *l, lap_ref attend)
{
    const lap_node *n = lap_node_at(l->g, attend);
    lap_parts parts = lap_node_attr(n, LAP_ATTR_PARTS)->parts;
    uint32_t steps = 0;
    return hopes(l, attend, n->args[parts.at[0].score], &steps);
}
