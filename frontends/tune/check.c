/* SPDX-License-Identifier: Apache-2.0
 * check.c - whether default schedules are right, since all others are compared with them.
 *
 * The evaluator is too slow for sizes that are worth tuning. It sees the same model at sizes that are halved
 * until it can do them; candidates are then compared with the default at the real ones. */
#include <string.h>

#include "frontends/tune/race.h"
#include "frontends/tune/tuner.h"
#include "passes/cost.h"

static const double MOST_FLOPS = 1e8, MUCH = 20.0;

typedef struct sizes {
    lap_tuner *t;
    uint32_t n;
    const char **names;
    int64_t *at;
} sizes;

static bool size_value(void *user, lap_name symbol, int64_t *out)
{
    const sizes *c = user;
    const char *text = lap_text(c->t->ctx, symbol);
    for (uint32_t i = 0; i < c->n; i++) {
        if (strcmp(c->names[i], text) == 0) {
            *out = c->at[i];
            return true;
        }
    }
    return false;
}

/* Halves the largest size until the work is little. */
static bool shrink(sizes *c)
{
    lap_cost cost;
    while (lap_cost_of(lap_session_graph(c->t->session), size_value, c, &cost) && cost.flops > MOST_FLOPS) {
        uint32_t largest = 0;
        for (uint32_t i = 1; i < c->n; i++) {
            largest = c->at[i] > c->at[largest] ? i : largest;
        }
        if (c->n == 0 || c->at[largest] < 2) {
            return false;
        }
        c->at[largest] /= 2;
    }
    return true;
}

static const char *show(const sizes *c)
{
    const char *text = "";
    for (uint32_t i = 0; i < c->n; i++) {
        text = lap_arena_printf(c->t->ctx->arena, "%s %s=%lld", text, c->names[i], (long long)c->at[i]);
    }
    return c->n > 0 ? lap_arena_printf(c->t->ctx->arena, " at%s", text) : "";
}

/* What the evaluator makes of made-up inputs of these sizes. */
static bool evaluate(const sizes *c, lap_session *s, lap_tensors *inputs, lap_tensors *weights,
                     lap_tensors *out)
{
    const lap_tune_options *o = c->t->o;
    lap_compile_options compile = {.engine = LAP_ENGINE_REF};
    lap_fill_options fill = {.inputs = &(lap_views){0},
                             .weights = o->fill->weights,
                             .make_inputs = true,
                             .make_weights = o->fill->make_weights,
                             .seed = o->fill->seed,
                             .n_dims = c->n,
                             .dim_names = c->names,
                             .dims = c->at};
    return lap_session_load(s, o->load) && lap_session_fill(s, &fill, inputs, weights) &&
           lap_session_compile(s, &compile) && lap_session_bind(s, weights) &&
           lap_session_run(s, inputs, out);
}

static void compare(const lap_tuner *t, const lap_tensor *got, const lap_tensors *want, lap_verdict *v)
{
    for (uint32_t i = 0; i < t->program->n_outputs && v->kind == LAP_CHECK_AGREES; i++) {
        const char *name = lap_text(t->ctx, t->program->outputs[i].name);
        const lap_tensor *w = lap_tensors_find(want, name);
        bool same = w != NULL && w->rank == got[i].rank &&
                    memcmp(w->shape, got[i].shape, w->rank * sizeof w->shape[0]) == 0;
        if (!same && t->program->outputs[i].crop == NULL) {
            v->kind = LAP_CHECK_DIFFERS;
            snprintf(v->text, sizeof v->text, "output '%.60s' has another shape", name);
        } else if (same && lap_output_differs(&got[i], w, MUCH, v->text, sizeof v->text) != NULL) {
            v->kind = LAP_CHECK_DIFFERS;
        }
    }
}

void lap_check_small(lap_tuner *t, lap_exec *exec, uint32_t n_outputs, lap_verdict *v)
{
    const lap_sizes *all = lap_session_sizes(t->session);
    sizes c = {.t = t, .n = all->n};
    lap_fault fault = {0};
    lap_session *ref = lap_session_new();
    lap_tensors inputs = {0}, weights = {0}, want = {0};
    lap_tensor *got = lap_arena_array(t->ctx->arena, n_outputs + 1u, sizeof *got);
    c.names = lap_arena_array(t->ctx->arena, c.n + 1u, sizeof *c.names);
    c.at = lap_arena_array(t->ctx->arena, c.n + 1u, sizeof *c.at);
    for (uint32_t i = 0; i < c.n; i++) {
        c.names[i] = lap_text(t->ctx, all->at[i].symbol);
        c.at[i] = all->at[i].value;
    }
    *v = (lap_verdict){.kind = LAP_CHECK_UNKNOWN};
    if (!shrink(&c)) {
        snprintf(v->text, sizeof v->text, "no sizes are small enough for it");
    } else if (ref == NULL || !evaluate(&c, ref, &inputs, &weights, &want)) {
        snprintf(v->text, sizeof v->text, "the model does not run at small sizes");
    } else if (!lap_run_whole(t, exec, &inputs, &weights, got, &fault)) {
        snprintf(v->text, sizeof v->text, "%.*s", (int)sizeof v->text - 1, fault.text);
    } else {
        v->kind = LAP_CHECK_AGREES;
        compare(t, got, &want, v);
        snprintf(v->sizes, sizeof v->sizes, "%.*s", (int)sizeof v->sizes - 1, show(&c));
    }
}
