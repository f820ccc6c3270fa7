/* SPDX-License-Identifier: Apache-2.0
 * whole.c - the whole model by default and by the chosen schedules: a race of two.
 *
 * Kernels were timed alone, with caches of their own; here they meet. It is a check of results too: at the
 * real sizes, through all kernels. */
#include <string.h>

#include "frontends/tune/race.h"
#include "frontends/tune/tuner.h"
#include "passes/passes.h"

static const double BUDGET = 1.0;

typedef struct whole {
    lap_tuner *t;
    const lap_tune_report *report; /* whose schedules to take; NULL: default ones */
    lap_guarded *outputs;
    lap_exec *exec; /* in the child */
    lap_tensor *in, *out;
} whole;

static bool choose(void *user, const lap_site *site, lap_schedule *out)
{
    const whole *w = user;
    char bucket[LAP_RECORD_WORD];
    lap_bucket_of(site, lap_sizes_value, lap_session_sizes(w->t->session), bucket);
    for (uint32_t i = 0; i < w->report->n; i++) {
        const lap_tuned_kernel *k = &w->report->at[i];
        if (k->site->key == site->key && strcmp(k->bucket, bucket) == 0) {
            *out = k->schedule;
            return true;
        }
    }
    return false;
}

static bool prepare(void *user, lap_fault *fault)
{
    whole *w = user;
    lap_tuner *t = w->t;
    lap_program *p = t->program;
    lap_pass_options passes = {
        .schedule = &t->base, .choose = w->report != NULL ? choose : NULL, .choose_user = w};
    if (!lap_lower(lap_session_graph(t->session), t->target, &passes, &p)) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "it cannot be lowered");
    }
    w->exec = lap_tuner_open(t, p, fault);
    w->in = lap_arena_array(t->ctx->arena, p->n_inputs + 1u, sizeof *w->in);
    w->out = lap_arena_array(t->ctx->arena, p->n_outputs + 1u, sizeof *w->out);
    if (w->exec == NULL) {
        return false;
    }
    lap_exec_set_foreign(w->exec, t->o->load->foreign);
    return lap_run_whole(t, w->exec, t->inputs, t->weights, w->out, fault);
}

/* Weights are bound by now; what is cropped is not compared, since the rest of its memory is anything. */
static bool run(void *user, lap_fault *fault)
{
    whole *w = user;
    lap_tuner *t = w->t;
    const lap_program *p = t->program;
    for (uint32_t i = 0; i < p->n_inputs; i++) {
        const lap_tensor *given = lap_tensors_find(t->inputs, lap_text(t->ctx, p->inputs[i].name));
        w->in[i] = given != NULL ? *given : (lap_tensor){.dtype = p->inputs[i].dtype};
    }
    for (uint32_t i = 0; i < p->n_outputs; i++) {
        w->out[i] = (lap_tensor){.data = w->outputs[i].data, .n_bytes = w->outputs[i].n};
    }
    return lap_exec_run(w->exec, w->in, w->out, fault);
}

/* Memory and shapes of the outputs; those that are cropped at run time are not compared: of no size. */
static bool make_outputs(lap_tuner *t, lap_guarded *outputs, lap_tensor *shapes)
{
    const lap_program *p = t->program;
    for (uint32_t i = 0; i < p->n_outputs; i++) {
        int64_t count = 1, size;
        bool is_cropped = false;
        for (uint32_t axis = 0; axis < p->outputs[i].rank; axis++) {
            if (!lap_dim_eval(t->ctx, p->outputs[i].shape[axis], lap_sizes_value,
                              lap_session_sizes(t->session), &size) ||
                size < 0 || __builtin_mul_overflow(count, size, &count)) {
                return false;
            }
            is_cropped = is_cropped || (p->outputs[i].crop != NULL && p->outputs[i].crop[axis] >= 0);
        }
        size_t n_bytes;
        if (!lap_dtype_bytes(p->outputs[i].dtype, (size_t)count, &n_bytes) ||
            !lap_guarded_new(n_bytes, &outputs[i])) {
            return false;
        }
        shapes[i] = (lap_tensor){.dtype = p->outputs[i].dtype, .rank = 1};
        if (!is_cropped) {
            shapes[i].shape[0] = count;
            shapes[i].n_bytes = n_bytes;
        }
    }
    return true;
}

bool lap_whole_gains(lap_tuner *t, lap_tune_report *r)
{
    uint32_t n = t->program->n_outputs;
    lap_guarded *outputs = lap_arena_array(t->ctx->arena, n + 1u, sizeof *outputs);
    lap_tensor *shapes = lap_arena_array(t->ctx->arena, n + 1u, sizeof *shapes);
    whole both[2] = {{.t = t, .outputs = outputs}, {.t = t, .report = r, .outputs = outputs}};
    lap_entry entries[2] = {{.runner = {prepare, run, &both[0]}}, {.runner = {prepare, run, &both[1]}}};
    lap_race race = {.n = 2,
                     .entries = entries,
                     .n_outputs = n,
                     .outputs = outputs,
                     .shapes = shapes,
                     .budget = BUDGET,
                     .start_all = true,
                     .by_cpu = t->machine != NULL && t->n_threads == 1,
                     .interrupted = t->o->interrupted};
    bool ran = make_outputs(t, outputs, shapes) && lap_race_run(&race);
    for (uint32_t i = 0; i < n; i++) {
        lap_guarded_free(&outputs[i]);
    }
    r->before = entries[0].seconds;
    r->after = entries[1].seconds;
    bool is_right = ran && entries[1].outcome != LAP_REJECTED;
    if (is_right && r->after <= (1.0 + LAP_TIE) * r->before) {
        return true;
    }
    r->taken_back =
        is_right ? "slower in the whole model"
                 : lap_arena_printf(t->ctx->arena, "in the whole model: %s", entries[ran ? 1 : 0].reason);
    return false;
}
