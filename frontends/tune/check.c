/* SPDX-License-Identifier: Apache-2.0
 * check.c - whether default schedules are right, since all others are compared with them.
 *
 * The evaluator is too slow for sizes that are worth tuning. It sees the same model at sizes that are halved
 * until it can do them; candidates are then compared with the default at the real ones. */
#include <string.h>

#include "frontends/tune/race.h"
#include "frontends/tune/tuner.h"
#include "passes/cost.h"

static const double MOST_FLOPS = 2e8, PATIENCE = 15.0, MUCH = 20.0;

typedef struct check {
    lap_tuner *t;
    uint32_t n;
    const char **names;
    int64_t *sizes;
} check;

typedef enum verdict { AGREES, DIFFERS, UNKNOWN } verdict;
typedef struct answer {
    verdict verdict;
    char text[LAP_REASON];
} answer;

static bool size_value(void *user, lap_name symbol, int64_t *out)
{
    const check *c = user;
    const char *text = lap_text(c->t->ctx, symbol);
    for (uint32_t i = 0; i < c->n; i++) {
        if (strcmp(c->names[i], text) == 0) {
            *out = c->sizes[i];
            return true;
        }
    }
    return false;
}

/* Halves the largest size until the work is little. */
static bool shrink(check *c)
{
    lap_cost cost;
    while (lap_cost_of(lap_session_graph(c->t->session), size_value, c, &cost) && cost.flops > MOST_FLOPS) {
        uint32_t largest = 0;
        for (uint32_t i = 1; i < c->n; i++) {
            largest = c->sizes[i] > c->sizes[largest] ? i : largest;
        }
        if (c->n == 0 || c->sizes[largest] < 2) {
            return false;
        }
        c->sizes[largest] /= 2;
    }
    return true;
}

static bool run(const check *c, lap_engine engine, lap_session *s, lap_tensors *out)
{
    const lap_tune_options *o = c->t->o;
    lap_compile_options compile = *o->compile;
    lap_fill_options fill = {.inputs = &(lap_views){0},
                             .weights = o->fill->weights,
                             .make_inputs = true,
                             .make_weights = o->fill->make_weights,
                             .seed = o->fill->seed,
                             .n_dims = c->n,
                             .dim_names = c->names,
                             .dims = c->sizes};
    lap_tensors inputs = {0}, weights = {0};
    compile.engine = engine;
    compile.tuning = NULL;
    compile.tier = NULL;
    return lap_session_load(s, o->load) && lap_session_fill(s, &fill, &inputs, &weights) &&
           lap_session_compile(s, &compile) && lap_session_bind(s, &weights) &&
           lap_session_run(s, &inputs, out);
}

static void compare(const check *c, answer *a)
{
    lap_session *own = lap_session_new(), *ref = lap_session_new();
    lap_tensors got = {0}, want = {0};
    *a = (answer){.verdict = UNKNOWN};
    if (own == NULL || ref == NULL || !run(c, c->t->o->compile->engine, own, &got) ||
        !run(c, LAP_ENGINE_REF, ref, &want)) {
        snprintf(a->text, sizeof a->text, "the model does not run at small sizes");
        return;
    }
    a->verdict = AGREES;
    for (uint32_t i = 0; i < want.n && a->verdict == AGREES; i++) {
        const lap_tensor *g = lap_tensors_find(&got, want.names[i]);
        if (g == NULL || g->rank != want.at[i].rank ||
            memcmp(g->shape, want.at[i].shape, g->rank * sizeof g->shape[0]) != 0) {
            a->verdict = DIFFERS;
            snprintf(a->text, sizeof a->text, "output '%.60s' has another shape", want.names[i]);
        } else if (lap_output_differs(g, &want.at[i], MUCH, a->text, sizeof a->text) != NULL) {
            a->verdict = DIFFERS;
        }
    }
}

static void work(void *user, int in, int out)
{
    (void)in;
    answer a;
    compare(user, &a);
    (void)lap_write_whole(out, &a, sizeof a);
}

static const char *sizes_text(const check *c)
{
    const char *text = "";
    for (uint32_t i = 0; i < c->n; i++) {
        text = lap_arena_printf(c->t->ctx->arena, "%s %s=%lld", text, c->names[i], (long long)c->sizes[i]);
    }
    return c->n > 0 ? lap_arena_printf(c->t->ctx->arena, " at%s", text) : "";
}

bool lap_check_default(lap_tuner *t, const char **out)
{
    const lap_sizes *sizes = lap_session_sizes(t->session);
    lap_arena *arena = t->ctx->arena;
    check c = {.t = t, .n = sizes->n};
    c.names = lap_arena_array(arena, c.n + 1u, sizeof *c.names);
    c.sizes = lap_arena_array(arena, c.n + 1u, sizeof *c.sizes);
    for (uint32_t i = 0; i < c.n; i++) {
        c.names[i] = lap_text(t->ctx, sizes->at[i].symbol);
        c.sizes[i] = sizes->at[i].value;
    }
    if (!shrink(&c)) {
        *out = "the default was not compared with the evaluator: no sizes are small enough for it";
        return true;
    }
    lap_child child;
    answer a;
    bool heard = lap_child_start(&child, work, &c) &&
                 lap_child_receive(&child, &a, sizeof a, PATIENCE, t->o->interrupted);
    lap_child_stop(&child);
    if (!heard || a.verdict == UNKNOWN) {
        *out = lap_arena_printf(arena, "the default was not compared with the evaluator: %s",
                                heard ? a.text : child.reason);
        return true;
    }
    *out = lap_arena_printf(arena, "the default %s the evaluator%s%s%s",
                            a.verdict == AGREES ? "agrees with" : "differs from", sizes_text(&c),
                            a.verdict == AGREES ? "" : ": ", a.verdict == AGREES ? "" : a.text);
    return a.verdict == AGREES;
}
