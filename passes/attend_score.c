/* SPDX-License-Identifier: Apache-2.0
 * attend_score.c - see attend_score.h. */
#include "passes/attend_score.h"

typedef struct finder {
    const lap_graph *g;
    lap_names keys;
    uint32_t steps;
} finder;

enum { MOST_STEPS = 256 };

static bool is_fn(const lap_node *n, lap_fn fn)
{
    return n->op == LAP_OP_MAP && (lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0) == fn;
}

bool lap_score_has_any(const lap_node *n, lap_names names)
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

/* The sum of products with all keys that the score is elementwise around. */
static lap_ref find_contraction(finder *f, lap_ref r)
{
    const lap_node *n = lap_node_at(f->g, r);
    if (++f->steps > MOST_STEPS || !lap_score_has_any(n, f->keys)) {
        return LAP_NONE;
    }
    if (n->op == LAP_OP_REDUCE) {
        bool is_sum = lap_attr_i(n, LAP_ATTR_RED, -1) == LAP_RED_SUM;
        return is_sum && has_all(n, f->keys) && is_fn(lap_node_at(f->g, n->args[0]), LAP_FN_MUL) ? r
                                                                                                 : LAP_NONE;
    }
    lap_ref found = LAP_NONE;
    for (uint32_t i = 0; n->op == LAP_OP_MAP && i < n->n_args && !lap_ref_some(found); i++) {
        found = find_contraction(f, n->args[i]);
    }
    return found;
}

/* Whether a factor with keys has this axis too. */
static bool is_keyed(finder *f, lap_ref r, lap_name axis)
{
    const lap_node *n = lap_node_at(f->g, r);
    if (!lap_score_has_any(n, f->keys) || lap_node_axis(n, axis) == NULL) {
        return false;
    }
    if (++f->steps > MOST_STEPS || !is_fn(n, LAP_FN_MUL)) {
        return true;
    }
    return is_keyed(f, n->args[0], axis) || is_keyed(f, n->args[1], axis);
}

static bool is_counted_by(const lap_graph *g, const lap_node *n, lap_name axis)
{
    for (uint32_t i = 0; i < n->n_axes; i++) {
        const lap_axis *a = &n->axes[i];
        if (lap_ref_some(a->count) &&
            (lap_name_same(a->name, axis) || lap_node_axis(lap_node_at(g, a->count), axis) != NULL)) {
            return true;
        }
    }
    return false;
}

/* Whether how many rows there are along the axis, or how many of others by it, is data. */
static bool is_ragged_row(const lap_graph *g, const lap_node *attend, const lap_part *p, lap_name axis)
{
    const int32_t operands[] = {p->score, p->where, p->after};
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++) {
        if (operands[i] >= 0 && is_counted_by(g, lap_node_at(g, attend->args[operands[i]]), axis)) {
            return true;
        }
    }
    return false;
}

bool lap_score_find(const lap_graph *g, lap_ref attend, uint32_t part, lap_score *out)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    const lap_node *n = lap_node_at(g, attend);
    const lap_part *p = &lap_node_attr(n, LAP_ATTR_PARTS)->parts.at[part];
    const lap_node *score = lap_node_at(g, n->args[p->score]);
    finder f = {g, p->keys, 0};
    *out = (lap_score){.attend = attend, .part = part, .keys = p->keys};
    out->contraction = find_contraction(&f, n->args[p->score]);
    if (!lap_ref_some(out->contraction) || !has_all(score, p->keys)) {
        return false;
    }
    const lap_node *sum = lap_node_at(g, out->contraction);
    lap_names over = lap_attr_names(sum, LAP_ATTR_OVER);
    for (uint32_t i = 0; i < over.n; i++) {
        if (lap_ref_some(lap_node_axis(lap_node_at(g, sum->args[0]), over.at[i])->count)) {
            return false;
        }
    }
    lap_name *rows = lap_arena_array(ctx->arena, sum->n_axes + 1, sizeof *rows);
    f.steps = 0;
    for (uint32_t i = 0; i < sum->n_axes; i++) {
        lap_name axis = sum->axes[i].name;
        if (!lap_names_has(p->keys, axis) && lap_node_axis(score, axis) != NULL &&
            !is_keyed(&f, sum->args[0], axis) && !is_ragged_row(g, n, p, axis)) {
            rows[out->rows.n++] = axis;
        }
    }
    out->rows.at = rows;
    return out->rows.n > 0;
}

/* ---- the score at other rows ----------------------------------------------------------------- */

lap_mover lap_mover_new(lap_graph *g, lap_names from)
{
    lap_arena *arena = lap_graph_ctx(g)->arena;
    lap_mover m = {.g = g, .from = from, .n_nodes = lap_graph_n_nodes(g)};
    for (int i = 0; i < 2; i++) {
        m.made[i] = lap_arena_array(arena, (size_t)m.n_nodes + 1, sizeof(lap_ref));
    }
    return m;
}

/* Names that no script can write. */
lap_names lap_score_own_names(lap_ctx *ctx, lap_names rows, const char *suffix)
{
    lap_name *own = lap_arena_array(ctx->arena, rows.n, sizeof *own);
    for (uint32_t i = 0; i < rows.n; i++) {
        own[i] = lap_intern(ctx, lap_arena_printf(ctx->arena, "%s.%s", lap_text(ctx, rows.at[i]), suffix));
    }
    return (lap_names){rows.n, own};
}

lap_ref lap_mover_place(lap_mover *m, lap_ref r)
{
    const lap_node *n = lap_node_at(m->g, r);
    lap_arena *arena = lap_graph_ctx(m->g)->arena;
    lap_name *from = lap_arena_array(arena, m->from.n, sizeof *from),
             *to = lap_arena_array(arena, m->from.n, sizeof *to);
    lap_ref *index = lap_arena_array(arena, m->from.n, sizeof *index);
    uint32_t k = 0;
    for (uint32_t i = 0; i < m->from.n; i++) {
        if (lap_node_axis(n, m->from.at[i]) != NULL) {
            from[k] = m->from.at[i];
            to[k] = m->index == NULL ? m->to.at[i] : from[k];
            index[k++] = m->index == NULL ? LAP_NONE : m->index[i];
        }
    }
    return k == 0             ? r
           : m->index == NULL ? lap_rename(m->g, r, (lap_names){k, from}, (lap_names){k, to})
                              : lap_at(m->g, r, (lap_names){k, from}, index, NULL);
}

static lap_ref move_map(lap_mover *m, lap_ref r, lap_ref (*move)(lap_mover *m, lap_ref r))
{
    const lap_node n = *lap_node_at(m->g, r);
    lap_ref args[3];
    bool is_same = true;
    for (uint32_t i = 0; i < n.n_args; i++) {
        args[i] = move(m, n.args[i]);
        is_same = is_same && lap_ref_same(args[i], n.args[i]);
    }
    return is_same ? r
                   : lap_emit(m->g, &(lap_emit_args){.op = LAP_OP_MAP,
                                                     .n_args = n.n_args,
                                                     .args = args,
                                                     .n_attrs = n.n_attrs,
                                                     .attrs = n.attrs});
}

/* A factor of the contraction, or a product of them. */
static lap_ref move_inside(lap_mover *m, lap_ref r)
{
    if (lap_ref_some(m->made[1][r.ix])) {
        return m->made[1][r.ix];
    }
    bool is_product = is_fn(lap_node_at(m->g, r), LAP_FN_MUL);
    return m->made[1][r.ix] = is_product ? move_map(m, r, move_inside) : lap_mover_place(m, r);
}

lap_mover lap_mover_twin(lap_graph *g, lap_ref contraction, const char *suffix)
{
    lap_names over = lap_attr_names(lap_node_at(g, contraction), LAP_ATTR_OVER);
    lap_mover m = lap_mover_new(g, over);
    m.contraction = contraction;
    m.to = lap_score_own_names(lap_graph_ctx(g), over, suffix);
    m.is_twin = true;
    return m;
}

static lap_ref move_contraction(lap_mover *m)
{
    const lap_node sum = *lap_node_at(m->g, m->contraction);
    lap_names over = m->is_twin ? m->to : lap_attr_names(&sum, LAP_ATTR_OVER);
    return lap_reduce(m->g, LAP_RED_SUM, move_inside(m, sum.args[0]), over);
}

/* A value that is elementwise around the contraction, or not around it at all. */
lap_ref lap_mover_move(lap_mover *m, lap_ref r)
{
    if (!lap_ref_some(r)) {
        return r;
    }
    if (r.ix <= m->n_nodes && lap_ref_some(m->made[0][r.ix])) {
        return m->made[0][r.ix];
    }
    bool is_map = lap_node_at(m->g, r)->op == LAP_OP_MAP;
    lap_ref moved = lap_ref_same(r, m->contraction) ? move_contraction(m)
                    : is_map                        ? move_map(m, r, lap_mover_move)
                    : m->is_twin                    ? r
                                                    : lap_mover_place(m, r);
    if (r.ix <= m->n_nodes) {
        m->made[0][r.ix] = moved;
    }
    return moved;
}
