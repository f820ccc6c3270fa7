/* SPDX-License-Identifier: Apache-2.0
 * attend_roles.c - which attends the streaming lowering takes, and the roles of their axes. */
#include <math.h>
#include <string.h>

#include "ir/fold.h"
#include "passes/attend.h"

static bool has_all(lap_axis_list axes, lap_names names)
{
    for (uint32_t i = 0; i < names.n; i++) {
        if (lap_axis_find(axes.at, axes.n, names.at[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* Axes that keys have and queries lack: rows of the batch, for which the queries are the same. */
static void rows_beside_keys(lap_lowering *l, lap_roles *r, lap_names keys)
{
    lap_axis *lists = lap_arena_array(l->ctx->arena, r->batch.n + 2 * r->n.n + 1, sizeof *lists);
    lap_axis *batch = lists, *n = lists + r->batch.n + r->n.n;
    uint32_t n_batch = r->batch.n, n_keys = 0;
    memcpy(batch, r->batch.at, r->batch.n * sizeof *batch);
    for (uint32_t i = 0; i < r->n.n; i++) {
        if (lap_names_has(keys, r->n.at[i].name)) {
            n[n_keys++] = r->n.at[i];
        } else {
            batch[n_batch++] = r->n.at[i];
        }
    }
    r->batch = (lap_axis_list){n_batch, batch};
    r->n = (lap_axis_list){n_keys, n};
}

bool lap_attend_score_roles(lap_lowering *l, lap_ref contraction, lap_names keys, lap_roles *r)
{
    if (!lap_contract_roles(l, contraction, r)) {
        return false;
    }
    if (has_all(r->m, keys)) {
        lap_roles_swap(r);
    }
    rows_beside_keys(l, r, keys);
    return r->n.n == keys.n && has_all(r->n, keys);
}

bool lap_attend_value_roles(lap_lowering *l, const lap_node *op, const lap_part *part, const lap_roles *score,
                            lap_roles *r)
{
    lap_ref value = op->args[part->value];
    const lap_node *v = lap_node_at(l->g, value);
    lap_axis *lists = lap_arena_array(l->ctx->arena, 3 * (v->n_axes + 1), sizeof *lists);
    lap_axis *batch = lists, *n = lists + v->n_axes + 1, *k = n + v->n_axes + 1;
    *r = (lap_roles){.b = {1, {value}}, .batch = {0, batch}, .n = {0, n}, .k = {0, k}};
    for (uint32_t i = 0; i < score->n.n; i++) { /* keys in the order of the score's panels */
        const lap_axis *a = lap_node_axis(v, score->n.at[i].name);
        if (a == NULL) {
            return false;
        }
        k[r->k.n++] = *a;
        r->has_ragged_k = r->has_ragged_k || lap_ref_some(a->count);
    }
    for (uint32_t i = 0; i < v->n_axes; i++) {
        lap_name name = v->axes[i].name;
        if (lap_axis_find(score->n.at, score->n.n, name) != NULL) {
            continue;
        }
        if (lap_axis_find(score->batch.at, score->batch.n, name) != NULL) {
            batch[r->batch.n++] = v->axes[i];
        } else if (lap_axis_find(score->m.at, score->m.n, name) != NULL) {
            return false;
        } else {
            n[r->n.n++] = v->axes[i];
        }
    }
    return r->n.n > 0 && lap_dtype_compute(v->dtype) == LAP_F32;
}

static bool within_rows(const lap_node *x, const lap_roles *r)
{
    for (uint32_t i = 0; i < x->n_axes; i++) {
        lap_name name = x->axes[i].name;
        if (lap_axis_find(r->batch.at, r->batch.n, name) == NULL &&
            lap_axis_find(r->m.at, r->m.n, name) == NULL && lap_axis_find(r->n.at, r->n.n, name) == NULL) {
            return false;
        }
    }
    return true;
}

bool lap_attend_asks_only_rows(lap_lowering *l, lap_ref op)
{
    uint32_t n;
    const lap_ref *results = lap_results_of(l, op, &n);
    for (uint32_t i = 0; i < n; i++) {
        const char *which = lap_text(l->ctx, lap_attr_name(lap_node_at(l->g, results[i]), LAP_ATTR_WHICH));
        if (strncmp(which, "weights", 7) == 0) {
            return false;
        }
    }
    return n > 0;
}

bool lap_attend_may_scale_empty(const lap_node *attend)
{
    double empty = lap_attr_f(attend, LAP_ATTR_EMPTY, 0);
    return empty == 0 || (isnan(empty) && lap_attr_i(attend, LAP_ATTR_NORM, 0) == LAP_NORM_SOFTMAX);
}

/* An operand over the axes of the score that does not read its contraction; or none. */
static bool is_beside(lap_lowering *l, const lap_node *op, int32_t operand, lap_ref contraction,
                      const lap_roles *r)
{
    const lap_name *names;
    return operand < 0 || (within_rows(lap_node_at(l->g, op->args[operand]), r) &&
                           !lap_plan_trace(l, contraction, op->args[operand], &names));
}

/* Whether the value has a key axis, or the count of one, that the score lacks: of weight without being read.
 */
static bool has_own_keys(lap_lowering *l, const lap_node *op, const lap_part *part)
{
    const lap_node *score = lap_node_at(l->g, op->args[part->score]);
    const lap_node *value = part->value >= 0 ? lap_node_at(l->g, op->args[part->value]) : score;
    for (uint32_t i = 0; i < part->keys.n; i++) {
        const lap_axis *a = lap_node_axis(score, part->keys.at[i]),
                       *b = lap_node_axis(value, part->keys.at[i]);
        if (a == NULL || (b != NULL && lap_ref_some(b->count) && !lap_ref_same(a->count, b->count))) {
            return true;
        }
    }
    return false;
}

bool lap_attend_tiles_take(lap_lowering *l, lap_ref op, lap_ref contraction)
{
    const lap_node *n = lap_node_at(l->g, op);
    if (n->op != LAP_OP_ATTEND || lap_ref_some(lap_plan_of(l, op)->anchor) ||
        !lap_attend_may_scale_empty(n)) {
        return false;
    }
    lap_parts parts = lap_node_attr(n, LAP_ATTR_PARTS)->parts;
    const lap_part *part = &parts.at[0];
    lap_roles score, value;
    bool has_out = lap_ref_some(lap_result_named(l, op, "out"));
    if (parts.n != 1 || !lap_attend_score_roles(l, contraction, part->keys, &score) ||
        !lap_attend_asks_only_rows(l, op) || has_own_keys(l, n, part)) {
        return false;
    }
    if ((has_out && !lap_attend_value_roles(l, n, part, &score, &value)) ||
        lap_attend_reads(l, part, &score, has_out ? &value : NULL) == LAP_TEST_IMPOSSIBLE) {
        return false;
    }
    lap_ref score_value = n->args[part->score];
    const lap_name *names;
    if (!within_rows(lap_node_at(l->g, score_value), &score) ||
        (!lap_ref_same(score_value, contraction) && lap_plan_of(l, score_value)->kind != LAP_STORE_INLINE) ||
        !lap_plan_trace(l, contraction, score_value, &names)) {
        return false;
    }
    if (!is_beside(l, n, part->where, contraction, &score) ||
        !is_beside(l, n, part->after, contraction, &score) ||
        (part->after >= 0 && lap_plan_of(l, n->args[part->after])->may_fail)) {
        return false;
    }
    for (uint32_t i = 0; i < lap_node_at(l->g, contraction)->n_axes; i++) {
        lap_plan_trace(l, contraction, score_value, &names);
        if (!lap_name_same(names[i], lap_node_at(l->g, contraction)->axes[i].name)) {
            return false; /* renamed on the way: the rows' names would not match */
        }
    }
    lap_plan_of(l, op)->anchor = contraction;
    return true;
}

lap_ref lap_attend_unscaled(lap_lowering *l, lap_ref score, lap_ref contraction, lap_norm norm,
                            double *out_factor)
{
    const lap_node *n = lap_node_at(l->g, score);
    *out_factor = 1;
    if (norm != LAP_NORM_SOFTMAX || lap_ref_same(score, contraction) || n->op != LAP_OP_MAP ||
        lap_attr_i(n, LAP_ATTR_FN, 0) != LAP_FN_MUL) {
        return score;
    }
    for (int i = 0; i < 2; i++) {
        lap_scalar c;
        if (lap_fold_splat(l->g, n->args[i], &c) && c.dtype == LAP_F32 && c.f > 1e-6 && c.f < 1e6) {
            *out_factor = c.f;
            return n->args[1 - i];
        }
    }
    return score;
}
