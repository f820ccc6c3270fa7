/* SPDX-License-Identifier: Apache-2.0
 * raise.c - see raise.h: forms of soft_form.h that nothing else reads into become `attend`.
 *
 * One attend is better than two contractions with a softmax between them where the streaming lowering
 * takes it, so that is asked of the plan: what comes out otherwise stays as it was written. */
#include "passes/raise.h"

#include "passes/lower.h"
#include "passes/soft_form.h"

typedef struct raiser {
    const bool *is_in_scan; /* of each region: a scan of attends would not be one kernel */
    bool *is_refused;       /* of each node: not worth it */
    lap_ref *made;          /* of each node: the attend in its place */
    uint32_t n_made;
} raiser;

/* ---- what is asked of the graph ------------------------------------------------------------- */

static bool *find_scans(const lap_graph *g)
{
    uint32_t n = lap_graph_n_regions(g);
    bool *is_in_scan = lap_arena_array(lap_graph_ctx(g)->arena, (size_t)n + 1, sizeof *is_in_scan);
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        const lap_node *x = lap_node_at(g, (lap_ref){i});
        for (uint32_t k = 0; k < x->n_regions && x->op == LAP_OP_SCAN; k++) {
            is_in_scan[x->regions[k].ix] = true;
        }
    }
    for (uint32_t i = 1; i < n; i++) { /* a region's parent has a smaller id */
        is_in_scan[i] = is_in_scan[i] || is_in_scan[lap_region_at(g, (lap_region_id){i})->parent.ix];
    }
    return is_in_scan;
}

static bool takes(const lap_graph *g, const raiser *r, lap_ref root, lap_soft_form *f)
{
    return !r->is_refused[root.ix] && !r->is_in_scan[lap_node_at(g, root)->region.ix] &&
           lap_soft_form_of(g, root, f) && lap_soft_form_is_closed(g, root, f);
}

/* ---- the rewrite ---------------------------------------------------------------------------- */

static lap_ref attend_of(const lap_graph *g, lap_ref out)
{
    const lap_node *n = lap_node_at(g, out);
    while (n->op == LAP_OP_MAP) { /* 0 where there are no keys */
        n = lap_node_at(g, n->args[2]);
    }
    return n->args[0];
}

static lap_ref raise(lap_rewrite *rw, const lap_node *old, lap_ref old_ref, const lap_ref *new_args)
{
    (void)new_args;
    raiser *r = rw->user;
    lap_soft_form f;
    if (!takes(rw->from, r, old_ref, &f)) {
        return LAP_NONE;
    }
    f.score = rw->mapped[f.score.ix];
    f.value = rw->mapped[f.value.ix];
    f.seen = rw->mapped[f.seen.ix];
    lap_type want = lap_rewrite_type(rw, old);
    lap_ref out = lap_soft_form_attend(rw->to, &f, &want);
    if (lap_ref_some(out)) {
        r->made[old_ref.ix] = attend_of(rw->to, out);
        r->n_made++;
    }
    return out;
}

/* A gradient reads it as well. */
static bool is_shared(const lap_graph *g, lap_ref attend)
{
    uint32_t n = 0;
    for (uint32_t i = attend.ix + 1; i <= lap_graph_n_nodes(g); i++) {
        const lap_node *x = lap_node_at(g, (lap_ref){i});
        n += x->op == LAP_OP_RESULT && lap_ref_same(x->args[0], attend);
    }
    return n > 1;
}

/* Refuses what the streaming lowering does not take; whether there was any. */
static bool refuse_slow(raiser *r, uint32_t n_old, const lap_lowering *l)
{
    bool any = false;
    for (uint32_t i = 1; i <= n_old; i++) {
        lap_ref attend = r->made[i];
        if (lap_ref_some(attend) && !lap_ref_some(lap_plan_of(l, attend)->anchor) &&
            !is_shared(l->g, attend)) {
            r->is_refused[i] = any = true;
        }
        r->made[i] = LAP_NONE;
    }
    return any;
}

static bool has_candidates(const lap_graph *g, const raiser *r)
{
    lap_soft_form f;
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        if (takes(g, r, (lap_ref){i}, &f)) {
            return true;
        }
    }
    return false;
}

lap_graph *lap_raise_attention(lap_graph *g, const lap_target *target, const lap_pass_options *options)
{
    lap_arena *arena = lap_graph_ctx(g)->arena;
    uint32_t n = lap_graph_n_nodes(g);
    raiser r = {.is_in_scan = find_scans(g),
                .is_refused = lap_arena_array(arena, (size_t)n + 1, sizeof(bool)),
                .made = lap_arena_array(arena, (size_t)n + 1, sizeof(lap_ref))};
    while (has_candidates(g, &r)) {
        r.n_made = 0;
        lap_graph *raised = lap_graph_rewrite(g, raise, &r);
        if (raised == NULL || r.n_made == 0) {
            return raised == NULL ? NULL : g;
        }
        lap_lowering *l = lap_lowering_new(raised, target, options);
        if (!lap_plan_make(l)) {
            return NULL;
        }
        if (!refuse_slow(&r, n, l)) {
            return lap_graph_rewrite(raised, NULL, NULL); /* without what the attends replaced */
        }
    }
    return g;
}
