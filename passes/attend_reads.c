/* SPDX-License-Identifier: Apache-2.0
 * attend_reads.c - queries, keys and values whose reads may fail: places that data names.
 *
 * They are packed for all pairs. Where some pairs are not wanted, what lies outside is packed as 0, and each
 * pair that is wanted is tested as its score is edited. */
#include "passes/attend_job.h"

enum { MOST_STEPS = 64 };

typedef struct reads {
    lap_lowering *l;
    lap_names inner;         /* axes within a query, a key or a value */
    bool may_fail, is_inner; /* is_inner: in a way that differs between elements of one */
    uint32_t steps;
} reads;

static bool has_any(const lap_node *n, lap_names names)
{
    for (uint32_t i = 0; i < names.n; i++) {
        if (lap_node_axis(n, names.at[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static void look(reads *r, lap_ref at)
{
    const lap_node *n = lap_node_at(r->l->g, at);
    const lap_plan_node *p = lap_plan_of(r->l, at);
    if (p->kind != LAP_STORE_INLINE || !p->may_fail) {
        return;
    }
    r->may_fail = true;
    r->is_inner = r->is_inner || ++r->steps > MOST_STEPS ||
                  (n->op != LAP_OP_AT && n->op != LAP_OP_MAP && n->op != LAP_OP_RENAME);
    bool is_at = n->op == LAP_OP_AT;
    for (uint32_t i = 0; i < n->n_args && !r->is_inner; i++) {
        look(r, n->args[i]);
        r->is_inner = r->is_inner || (is_at && i > 0 && has_any(lap_node_at(r->l->g, n->args[i]), r->inner));
    }
}

static lap_names names_of(lap_lowering *l, lap_axis_list axes)
{
    lap_name *names = lap_arena_array(l->ctx->arena, axes.n + 1, sizeof *names);
    for (uint32_t i = 0; i < axes.n; i++) {
        names[i] = axes.at[i].name;
    }
    return (lap_names){axes.n, names};
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

lap_attend_test lap_attend_reads(lap_lowering *l, const lap_part *part, const lap_roles *score,
                                 const lap_roles *value)
{
    const lap_factors *sides[3] = {&score->a, &score->b, value != NULL ? &value->b : NULL};
    const lap_axis_list inner[3] = {score->k, score->k, value != NULL ? value->n : (lap_axis_list){0}};
    reads r = {.l = l};
    for (int i = 0; i < 3 && sides[i] != NULL; i++) {
        r.inner = names_of(l, inner[i]);
        for (uint32_t k = 0; k < sides[i]->n; k++) {
            look(&r, sides[i]->at[k]);
        }
    }
    bool wants_all = part->where < 0 && !is_ragged(score->batch) && !is_ragged(score->m) &&
                     !is_ragged(score->n) && (value == NULL || !is_ragged(value->k));
    return !r.may_fail || wants_all ? LAP_TEST_NONE : r.is_inner ? LAP_TEST_IMPOSSIBLE : LAP_TEST_PAIRS;
}

static void test_factors(lap_attend_job *j, const lap_factors *f, const lap_env_list *env, lap_ref wanted)
{
    for (uint32_t i = 0; i < f->n; i++) {
        if (lap_plan_of(j->l, f->at[i])->may_fail) {
            (void)lap_pull(j->k, f->at[i], lap_env_for(j->k, f->at[i], env->n, env->axes, env->coords),
                           wanted);
        }
    }
}

/* One element of each: the others lie at the same places. */
void lap_attend_test_pair(lap_attend_job *j, lap_ref wanted)
{
    if (!j->tests_pairs) {
        return;
    }
    lap_arena *arena = j->l->ctx->arena;
    lap_env_list env = {.n = j->t.env.n};
    lap_axis *axes = lap_arena_array(arena, env.n + j->value.n.n + 1, sizeof *axes);
    lap_coord *coords = lap_arena_array(arena, env.n + j->value.n.n + 1, sizeof *coords);
    for (uint32_t i = 0; i < env.n; i++) {
        bool is_inner = lap_axis_find(j->t.r.k.at, j->t.r.k.n, j->t.axes[i].name) != NULL;
        axes[i] = j->t.axes[i];
        coords[i] = is_inner ? lap_coord_const(j->k->c, 0) : j->t.coords[i];
    }
    env.axes = axes;
    env.coords = coords;
    test_factors(j, &j->t.r.a, &env, wanted);
    test_factors(j, &j->t.r.b, &env, wanted);
    for (uint32_t i = 0; i < j->value.n.n; i++) {
        axes[env.n] = j->value.n.at[i];
        coords[env.n++] = lap_coord_const(j->k->c, 0);
    }
    test_factors(j, &j->value.b, &env, wanted);
}
