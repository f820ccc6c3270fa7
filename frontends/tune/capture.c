/* SPDX-License-Identifier: Apache-2.0
 * capture.c - what the kernels of a model read, when the model runs. */
#include <string.h>

#include "frontends/tune/tuner.h"

static const double PATIENCE = 600.0, CHECK_PATIENCE = 10.0;

typedef struct capture {
    lap_tuner *t;
    uint32_t n; /* buffers to show beside the outputs */
    const uint32_t *buffers;
    lap_tensor *outputs; /* the model's, then those */
} capture;

typedef struct answer {
    uint32_t good;
    char text[LAP_REASON];
} answer;

bool lap_run_whole(lap_tuner *t, lap_exec *exec, const lap_tensors *inputs, const lap_tensors *weights,
                   lap_tensor *outputs, lap_fault *fault)
{
    const lap_program *p = t->program;
    lap_tensor *in = lap_arena_array(t->ctx->arena, p->n_inputs + 1u, sizeof *in);
    lap_tensor *bound = lap_arena_array(t->ctx->arena, p->n_weights + 1u, sizeof *bound);
    for (uint32_t i = 0; i < p->n_inputs; i++) {
        const lap_tensor *given = lap_tensors_find(inputs, lap_text(t->ctx, p->inputs[i].name));
        in[i] = given != NULL ? *given : (lap_tensor){.dtype = p->inputs[i].dtype};
    }
    for (uint32_t i = 0; i < p->n_weights; i++) {
        const lap_tensor *given = lap_tensors_find(weights, lap_text(t->ctx, p->weights[i].name));
        if (given == NULL) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "a weight is missing");
        }
        bound[i] = *given;
    }
    return lap_exec_set_weight_tensors(exec, bound, fault) && lap_exec_run(exec, in, outputs, fault);
}

/* The contents first: they are there even when the check does not come to an end. */
static void work(void *user, int in, int out)
{
    (void)in;
    const capture *c = user;
    lap_tuner *t = c->t;
    lap_fault fault = {0};
    const lap_program *p = lap_program_showing(t->program, c->n, c->buffers);
    lap_exec *exec = lap_tuner_open(t, p, &fault);
    if (exec != NULL) {
        lap_exec_set_foreign(exec, t->o->load->foreign);
    }
    answer a = {.good = exec != NULL && lap_run_whole(t, exec, t->inputs, t->weights, c->outputs, &fault)};
    snprintf(a.text, sizeof a.text, "%.*s", (int)sizeof a.text - 1, fault.text);
    if (lap_write_whole(out, &a, sizeof a) && a.good) {
        lap_verdict v;
        lap_check_small(t, exec, p->n_outputs, &v);
        (void)lap_write_whole(out, &v, sizeof v);
    }
}

/* Memory for the contents, and who fills it. */
static bool prepare(capture *c, uint32_t n, const uint32_t *buffers, lap_fault *fault)
{
    lap_tuner *t = c->t;
    uint32_t *shown = lap_arena_array(t->ctx->arena, n + 1u, sizeof *shown);
    c->outputs = lap_arena_array(t->ctx->arena, (size_t)t->program->n_outputs + n + 1, sizeof *c->outputs);
    c->buffers = shown;
    for (uint32_t i = 0; i < n; i++) {
        const lap_buffer *b = &t->program->buffers[buffers[i]];
        lap_guarded *g = &t->captured[buffers[i]];
        size_t count, n_bytes;
        if (b->kind == LAP_BUF_INPUT || b->kind == LAP_BUF_WEIGHT || b->kind == LAP_BUF_CONST ||
            g->data != NULL) {
            continue;
        }
        if (!lap_buffer_bytes(t, buffers[i], &count, &n_bytes) || !lap_guarded_new(n_bytes, g)) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory for what kernels read");
        }
        uint32_t leaf = b->kind == LAP_BUF_OUTPUT ? b->leaf : t->program->n_outputs + c->n;
        if (b->kind != LAP_BUF_OUTPUT) {
            shown[c->n++] = buffers[i];
        }
        c->outputs[leaf] = (lap_tensor){.data = g->data, .n_bytes = n_bytes};
    }
    return true;
}

static void hear_verdict(const lap_tuner *t, lap_child *child, lap_verdict *out)
{
    if (!lap_child_receive(child, out, sizeof *out, CHECK_PATIENCE, t->o->interrupted)) {
        *out = (lap_verdict){.kind = LAP_CHECK_UNKNOWN};
        snprintf(out->text, sizeof out->text, "%s", child->reason);
    }
    out->text[sizeof out->text - 1] = out->sizes[sizeof out->sizes - 1] = '\0';
}

bool lap_capture(lap_tuner *t, uint32_t n, const uint32_t *buffers, lap_verdict *out, lap_fault *fault)
{
    capture c = {.t = t};
    lap_child child;
    answer a = {0};
    if (!prepare(&c, n, buffers, fault)) {
        return false;
    }
    bool heard = lap_child_start(&child, work, &c) &&
                 lap_child_receive(&child, &a, sizeof a, PATIENCE, t->o->interrupted);
    a.text[sizeof a.text - 1] = '\0';
    if (heard && a.good) {
        hear_verdict(t, &child, out);
    }
    lap_child_stop(&child);
    for (uint32_t i = 0; i < n; i++) {
        if (t->captured[buffers[i]].data != NULL) {
            lap_guarded_seal(&t->captured[buffers[i]]);
        }
    }
    return (heard && a.good) ||
           lap_fault_set(fault, LAP_BAD_INPUT, "the model does not run by default schedules: %s",
                         heard ? a.text : child.reason);
}
