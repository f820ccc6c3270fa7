/* SPDX-License-Identifier: Apache-2.0
 * attend_weights.c - weights that are asked of an attend, as an expression of its rows' results: the attend
 * itself then streams, and nobody keeps more weights than are read.
 *
 *   w = exp(score - max) / sum    all of them: the epilogue of one contraction
 *                                 some rows: the same, of those queries
 *                                 summed over rows: an attend whose keys are the rows, nothing stored
 *
 * Scores are computed twice, at the speed of a contraction. That pays where rows share their keys; elsewhere
 * the form that walks rows writes its weights. */
#include "passes/attend_score.h"
#include "passes/lower.h"

#include <float.h>

/* ---- weights there --------------------------------------------------------------------------- */

typedef struct moved {
    lap_ref weight, where; /* weight: of pairs that `where` admits */
} moved;

static lap_ref row_result(lap_mover *m, lap_ref attend, const char *which)
{
    lap_ref r = lap_result(m->g, attend, which);
    return m->is_twin ? r : lap_mover_place(m, r);
}

/* What weights are divided by. The largest of a softmax is 1 before: a smaller sum is of no keys. */
static lap_ref divisor(lap_mover *m, lap_ref attend, lap_norm norm, const lap_attr *eps)
{
    lap_ref sum = row_result(m, attend, "sum");
    double least = norm == LAP_NORM_SOFTMAX ? 1 : 0;
    least = eps != NULL && eps->f > least ? eps->f : least;
    return least > 0 ? lap_map2(m->g, LAP_FN_MAX, sum, lap_const_f(m->g, least)) : sum;
}

static lap_ref exponential(lap_mover *m, lap_ref attend, lap_ref score)
{
    lap_ref base = lap_map2(m->g, LAP_FN_MAX, row_result(m, attend, "max"), lap_const_f(m->g, -FLT_MAX));
    return lap_map1(m->g, LAP_FN_EXP, lap_map2(m->g, LAP_FN_SUB, score, base));
}

static moved weights_there(lap_mover *m, lap_ref attend, uint32_t number)
{
    lap_graph *g = m->g;
    const lap_node n = *lap_node_at(g, attend);
    const lap_part part = lap_node_attr(&n, LAP_ATTR_PARTS)->parts.at[number];
    const lap_norm norm = (lap_norm)lap_attr_i(&n, LAP_ATTR_NORM, LAP_NORM_SOFTMAX);
    const lap_attr *eps = lap_node_attr(&n, LAP_ATTR_EPS);
    moved out = {.weight = lap_mover_move(m, n.args[part.score]),
                 .where = part.where >= 0 ? lap_mover_move(m, n.args[part.where]) : LAP_NONE};
    if (norm == LAP_NORM_SOFTMAX) {
        out.weight = exponential(m, attend, out.weight);
    }
    if (norm != LAP_NORM_NONE) {
        lap_ref d = divisor(m, attend, norm, eps), zero = lap_const_f(g, 0);
        out.weight = lap_map2(g, LAP_FN_DIV, out.weight, d);
        if (norm == LAP_NORM_SUM) { /* weights that cancel count nothing */
            out.weight = lap_map3(g, LAP_FN_SELECT, lap_map2(g, LAP_FN_EQ, d, zero), zero, out.weight);
        }
    }
    if (part.after >= 0) {
        out.weight = lap_map2(g, LAP_FN_MUL, out.weight, lap_mover_move(m, n.args[part.after]));
    }
    return out;
}

static lap_ref masked(lap_graph *g, moved w)
{
    return lap_ref_some(w.where) ? lap_map3(g, LAP_FN_SELECT, w.where, w.weight, lap_const_f(g, 0))
                                 : w.weight;
}

/* ---- what is read of them -------------------------------------------------------------------- */

/* Whether r, a result, is the weights of an attend whose rows share keys. */
static bool find_weights(const lap_graph *g, lap_ref r, lap_score *out)
{
    const lap_node *n = lap_node_at(g, r);
    return n->op == LAP_OP_RESULT && lap_node_at(g, n->args[0])->op == LAP_OP_ATTEND &&
           lap_attend_weights_of(g, n) >= 0 &&
           lap_score_find(g, n->args[0], (uint32_t)lap_attend_weights_of(g, n), out);
}

static lap_ref all_weights(lap_rewrite *rw, const lap_score *s, lap_ref attend)
{
    lap_mover m = lap_mover_twin(rw->to, rw->mapped[s->contraction.ix], "own");
    return masked(rw->to, weights_there(&m, attend, s->part));
}

/* Weights at rows that indices name, the same for all keys. */
static lap_ref some_rows(lap_rewrite *rw, const lap_node *at, const lap_score *s, lap_ref attend,
                         const lap_ref *new_args)
{
    lap_names src = lap_attr_names(at, LAP_ATTR_SRC);
    lap_names over = lap_attr_names(lap_node_at(rw->from, s->contraction), LAP_ATTR_OVER);
    for (uint32_t i = 0; i < src.n; i++) {
        const lap_node *index = lap_node_at(rw->from, at->args[1 + i]);
        if (!lap_names_has(s->rows, src.at[i]) || lap_score_has_any(index, s->keys) ||
            lap_score_has_any(index, over)) {
            return LAP_NONE;
        }
    }
    lap_mover m = lap_mover_new(rw->to, src);
    m.contraction = rw->mapped[s->contraction.ix];
    m.index = new_args + 1;
    return lap_node_attr(at, LAP_ATTR_FILL) == NULL ? masked(rw->to, weights_there(&m, attend, s->part))
                                                    : LAP_NONE;
}

/* Their sum over rows: rows as keys, and axes that are no rows of the contraction's one side after that. */
static lap_ref sum_of_rows(lap_rewrite *rw, const lap_node *sum, const lap_score *s, lap_ref attend)
{
    lap_ctx *ctx = lap_graph_ctx(rw->to);
    lap_names over = lap_attr_names(sum, LAP_ATTR_OVER), rows = {0}, rest = {0};
    lap_name *names = lap_arena_array(ctx->arena, 2 * over.n, sizeof *names);
    rows.at = names;
    rest.at = names + over.n;
    for (uint32_t i = 0; i < over.n; i++) {
        if (lap_names_has(s->keys, over.at[i])) {
            return LAP_NONE;
        }
        bool is_row = lap_names_has(s->rows, over.at[i]);
        names[is_row ? rows.n++ : over.n + rest.n++] = over.at[i];
    }
    lap_mover m = lap_mover_new(rw->to, rows);
    m.contraction = rw->mapped[s->contraction.ix];
    if (rows.n == 0) {
        return LAP_NONE;
    }
    m.to = lap_score_own_names(ctx, rows, "own");
    moved w = weights_there(&m, attend, s->part);
    lap_part part = {
        .keys = m.to, .score = 0, .where = lap_ref_some(w.where) ? 1 : -1, .after = -1, .value = -1};
    lap_ref args[2] = {w.weight, w.where};
    lap_ref total = lap_attend_one_part(rw->to, &part, 1 + lap_ref_some(w.where), args, LAP_NORM_NONE);
    total = lap_result(rw->to, total, "sum");
    return rest.n > 0 ? lap_reduce(rw->to, LAP_RED_SUM, total, rest) : total;
}

/* Whether it may be read everywhere: what only a condition keeps from failing stays behind it. */
static bool is_sure(const lap_lowering *l, lap_ref r) { return !lap_plan_of(l, r)->may_fail; }

static lap_ref weigh_again(lap_rewrite *rw, const lap_node *old, lap_ref old_ref, const lap_ref *new_args)
{
    lap_score s;
    lap_ref made = LAP_NONE;
    if (old->op == LAP_OP_RESULT && find_weights(rw->from, old_ref, &s)) {
        made = all_weights(rw, &s, new_args[0]);
    } else if (old->op == LAP_OP_AT && is_sure(rw->user, old_ref) &&
               find_weights(rw->from, old->args[0], &s)) {
        made = some_rows(rw, old, &s, rw->mapped[s.attend.ix], new_args);
    } else if (old->op == LAP_OP_REDUCE && lap_attr_i(old, LAP_ATTR_RED, -1) == LAP_RED_SUM &&
               find_weights(rw->from, old->args[0], &s)) {
        made = sum_of_rows(rw, old, &s, rw->mapped[s.attend.ix]);
    }
    if (lap_ref_some(made) && !is_sure(rw->user, lap_node_at(rw->from, s.contraction)->args[0])) {
        return LAP_NONE;
    }
    lap_type want = lap_rewrite_type(rw, old);
    return lap_ref_some(made) && lap_node_has_type(lap_node_at(rw->to, made), &want) ? made : LAP_NONE;
}

lap_graph *lap_weigh_again(lap_graph *g, const lap_target *target, const lap_pass_options *options)
{
    lap_score s;
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        if (find_weights(g, (lap_ref){i}, &s)) {
            lap_lowering *l = lap_lowering_new(g, target, options);
            lap_graph *made = lap_plan_make(l) ? lap_graph_rewrite(g, weigh_again, l) : NULL;
            return made == NULL ? NULL
                                : lap_graph_rewrite(made, NULL, NULL); /* without the weights that were */
        }
    }
    return g;
}
