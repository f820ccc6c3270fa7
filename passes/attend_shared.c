/* SPDX-License-Identifier: Apache-2.0
 * attend_shared.c - an attend whose scores others read too gets scores of its own: computing them twice costs
 * less than storing them, and they can stream. */
#include "passes/attend_score.h"

typedef struct readers {
    const lap_graph *g;
    uint32_t *n; /* of each node */
} readers;

static readers count_readers(const lap_graph *g)
{
    readers r = {
        g, lap_arena_array(lap_graph_ctx(g)->arena, (size_t)lap_graph_n_nodes(g) + 1, sizeof(uint32_t))};
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        const lap_node *n = lap_node_at(g, (lap_ref){i});
        for (uint32_t k = 0; k < n->n_args; k++) {
            r.n[n->args[k].ix]++;
        }
    }
    for (uint32_t i = 0; i < lap_graph_n_outputs(g); i++) {
        r.n[lap_graph_output(g, i)->value.ix]++;
    }
    return r;
}

typedef struct path {
    const readers *r;
    lap_ref contraction;
    uint32_t steps;
    bool is_shared; /* something on the way has readers besides */
} path;

static bool leads(path *p, lap_ref at)
{
    enum { MOST_STEPS = 256 };
    const lap_node *n = lap_node_at(p->r->g, at);
    bool is_on_it = lap_ref_same(at, p->contraction);
    for (uint32_t i = 0; n->op == LAP_OP_MAP && i < n->n_args && ++p->steps < MOST_STEPS; i++) {
        is_on_it = leads(p, n->args[i]) || is_on_it;
    }
    p->is_shared = p->is_shared || (is_on_it && p->r->n[at.ix] > 1);
    return is_on_it;
}

static bool is_shared(const readers *r, const lap_node *attend, uint32_t part, const lap_score *s)
{
    path p = {.r = r, .contraction = s->contraction};
    (void)leads(&p, attend->args[lap_node_attr(attend, LAP_ATTR_PARTS)->parts.at[part].score]);
    return p.is_shared;
}

static lap_ref own_score(lap_rewrite *rw, const lap_score *s, lap_ref score)
{
    lap_ctx *ctx = lap_graph_ctx(rw->to);
    const char *suffix = lap_arena_printf(ctx->arena, "a%u", s->attend.ix);
    lap_mover m = lap_mover_twin(rw->to, rw->mapped[s->contraction.ix], suffix);
    return lap_mover_move(&m, score);
}

static lap_ref with_own_scores(lap_rewrite *rw, const lap_node *old, lap_ref old_ref, const lap_ref *new_args)
{
    if (old->op != LAP_OP_ATTEND) {
        return LAP_NONE;
    }
    lap_parts parts = lap_node_attr(old, LAP_ATTR_PARTS)->parts;
    lap_ref *args = lap_arena_copy(lap_graph_ctx(rw->to)->arena, new_args, old->n_args * sizeof *args);
    for (uint32_t i = 0; i < parts.n; i++) {
        lap_score s;
        if (lap_score_find(rw->from, old_ref, i, &s) && is_shared(rw->user, old, i, &s)) {
            args[parts.at[i].score] = own_score(rw, &s, new_args[parts.at[i].score]);
        }
    }
    return lap_rewrite_copy(rw, old, args);
}

lap_graph *lap_own_scores(lap_graph *g, const lap_target *target, const lap_pass_options *options)
{
    (void)target;
    (void)options;
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        if (lap_node_at(g, (lap_ref){i})->op == LAP_OP_ATTEND) {
            readers r = count_readers(g);
            return lap_graph_rewrite(g, with_own_scores, &r);
        }
    }
    return g;
}
