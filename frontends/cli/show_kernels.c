/* SPDX-License-Identifier: Apache-2.0
 * show_kernels.c - the kernels of a program as a document: what `dump --stage fused` prints, with buffers,
 * bytes and useful operations at the sizes in use. */
#include "frontends/cli/document.h"
#include "frontends/cli/show.h"
#include "passes/cost.h"

#include <string.h>

typedef struct writer {
    lap_setup *s;
    const lap_program *p;
    double *flops; /* by node of the graph, those of fused nodes at the root that reads them */
    cJSON *launches;
} writer;

/* ---- useful operations ---------------------------------------------------------------------- */

static void mark_roots(const lap_program *p, uint32_t n, const lap_step *steps, bool *is_root)
{
    for (uint32_t i = 0; i < n; i++) {
        is_root[steps[i].launch.root.ix] |= steps[i].kind == LAP_STEP_LAUNCH;
        mark_roots(p, steps[i].n_body, steps[i].body, is_root);
        mark_roots(p, steps[i].n_other, steps[i].other, is_root);
    }
}

/* What no kernel is made for is part of the first one that reads it. */
static double gather_flops(writer *w)
{
    lap_graph *g = w->p->source;
    lap_arena *arena = lap_session_ctx(w->s->session)->arena;
    uint32_t n = lap_graph_n_nodes(g);
    bool *is_root = lap_arena_array(arena, (size_t)n + 1, sizeof *is_root);
    uint32_t *home = lap_arena_array(arena, (size_t)n + 1, sizeof *home);
    w->flops = lap_arena_array(arena, (size_t)n + 1, sizeof *w->flops);
    const double *by_node;
    double all = 0.0;
    if (!lap_cost_of_nodes(g, lap_sizes_value, lap_session_sizes(w->s->session), &by_node)) {
        return 0.0;
    }
    mark_roots(w->p, w->p->n_steps, w->p->steps, is_root);
    for (uint32_t i = n; i > 0; i--) {
        home[i] = is_root[i] || home[i] == 0 ? i : home[i];
        w->flops[home[i]] += by_node[i];
        all += by_node[i];
        const lap_node *node = lap_node_at(g, (lap_ref){i});
        for (uint32_t k = 0; k < node->n_args; k++) {
            home[node->args[k].ix] = home[node->args[k].ix] == 0 ? home[i] : home[node->args[k].ix];
        }
    }
    return all;
}

/* ---- buffers -------------------------------------------------------------------------------- */

static double bytes_of(writer *w, uint32_t buffer)
{
    const lap_buffer *b = &w->p->buffers[buffer];
    int64_t count;
    size_t bytes = 0;
    bool is_known =
        lap_dim_eval(w->p->ctx, b->count, lap_sizes_value, lap_session_sizes(w->s->session), &count) &&
        count >= 0 && lap_dtype_bytes(b->elem, (size_t)count, &bytes);
    return is_known ? (double)bytes : 0.0;
}

static const char *name_of(writer *w, const lap_buffer *b)
{
    switch (b->kind) {
    case LAP_BUF_INPUT:
        return lap_text(w->p->ctx, w->p->inputs[b->leaf].name);
    case LAP_BUF_WEIGHT:
        return lap_text(w->p->ctx, w->p->weights[b->leaf].name);
    case LAP_BUF_OUTPUT:
        return lap_text(w->p->ctx, w->p->outputs[b->leaf].name);
    default:
        return "";
    }
}

static const char *const kinds[] = {"input", "weight", "const", "temp", "packed", "output"};

/* The buffer as the page calls it. */
static const char *text_of(writer *w, int32_t buffer)
{
    const lap_buffer *b = &w->p->buffers[buffer];
    const char *name = name_of(w, b);
    return *name != '\0' ? name : lap_arena_printf(w->p->ctx->arena, "%s %d", kinds[b->kind], buffer);
}

static void add_buffers(writer *w, cJSON *document)
{
    cJSON *list = cJSON_AddArrayToObject(document, "buffers");
    for (uint32_t i = 0; i < w->p->n_buffers; i++) {
        const lap_buffer *b = &w->p->buffers[i];
        cJSON *entry = cJSON_CreateObject();
        lap_document_text(entry, "kind", kinds[b->kind]);
        lap_document_text(entry, "name", name_of(w, b));
        lap_document_text(entry, "type", lap_dtype_text(b->elem));
        cJSON_AddNumberToObject(entry, "bytes", bytes_of(w, i));
        cJSON_AddItemToArray(list, entry);
    }
}

/* ---- launches ------------------------------------------------------------------------------- */

/* The kernel's number in `dump` and `bench --kernels`, which have none of those that were added to see
 * classes. */
static uint32_t number_of(const writer *w, uint32_t kernel)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < kernel; k++) {
        const char *what = strchr(w->p->kernels[k].name, '_');
        n += what == NULL || strcmp(what, "_classes") != 0;
    }
    return n;
}

static void add_launch(writer *w, const lap_step *s, const char *inside, bool *has_flops)
{
    const lap_launch *l = &s->launch;
    cJSON *entry = cJSON_CreateObject(), *reads = cJSON_CreateArray(), *writes = cJSON_CreateArray();
    double bytes = 0.0;
    for (uint32_t i = 0; i < l->n_buffers; i++) {
        bool is_written = lap_kernel_writes(w->p->kernels[l->kernel].graph, i);
        cJSON_AddItemToArray(is_written ? writes : reads, cJSON_CreateNumber(l->buffers[i]));
        bytes += bytes_of(w, l->buffers[i]);
    }
    bool is_main = strcmp(l->what, "pack") != 0 && strcmp(l->what, "few") != 0 && !has_flops[l->root.ix];
    has_flops[l->root.ix] |= is_main;
    cJSON_AddNumberToObject(entry, "kernel", number_of(w, l->kernel));
    lap_document_text(entry, "what", l->what);
    lap_document_text(entry, "roles", l->roles != NULL ? l->roles : "");
    lap_document_text(entry, "line", lap_show_place(w->s, l->loc));
    lap_document_text(entry, "inside", inside);
    cJSON_AddBoolToObject(entry, "on_load", s->on_load);
    cJSON_AddNumberToObject(entry, "bytes", bytes);
    cJSON_AddNumberToObject(entry, "flops", is_main ? w->flops[l->root.ix] : 0.0);
    cJSON_AddItemToObject(entry, "reads", reads);
    cJSON_AddItemToObject(entry, "writes", writes);
    cJSON_AddItemToArray(w->launches, entry);
}

static void add_foreign(writer *w, const lap_foreign_use *use, const char *inside)
{
    cJSON *entry = cJSON_CreateObject(), *reads = cJSON_CreateArray(), *writes = cJSON_CreateArray();
    for (uint32_t i = 0; i < use->n_inputs + use->n_outputs; i++) {
        if (use->operands[i].buffer >= 0) {
            cJSON_AddItemToArray(i < use->n_inputs ? reads : writes,
                                 cJSON_CreateNumber(use->operands[i].buffer));
        }
    }
    lap_document_text(entry, "what", "foreign");
    lap_document_text(entry, "roles", lap_text(w->p->ctx, use->name));
    lap_document_text(entry, "line", lap_show_place(w->s, use->loc));
    lap_document_text(entry, "inside", inside);
    cJSON_AddItemToObject(entry, "reads", reads);
    cJSON_AddItemToObject(entry, "writes", writes);
    cJSON_AddItemToArray(w->launches, entry);
}

static void add_steps(writer *w, uint32_t n, const lap_step *steps, const char *inside)
{
    lap_ctx *ctx = w->p->ctx;
    const char *and = *inside != '\0' ? ", " : "";
    bool *has_flops =
        lap_arena_array(ctx->arena, (size_t)lap_graph_n_nodes(w->p->source) + 1, sizeof *has_flops);
    for (uint32_t i = 0; i < n; i++) {
        const lap_step *s = &steps[i];
        if (s->kind == LAP_STEP_LAUNCH && strcmp(s->launch.what, "classes") != 0) {
            add_launch(w, s, inside, has_flops);
        } else if (s->kind == LAP_STEP_FOREIGN) {
            add_foreign(w, s->foreign, inside);
        } else if (s->kind == LAP_STEP_LOOP) {
            add_steps(
                w, s->n_body, s->body,
                lap_arena_printf(ctx->arena, "%s%sloop of %s", inside, and, lap_dim_show(ctx, s->limit)));
        } else if (s->kind == LAP_STEP_BRANCH) {
            add_steps(w, s->n_body, s->body,
                      lap_arena_printf(ctx->arena, "%s%sif %s", inside, and, text_of(w, s->test)));
            add_steps(w, s->n_other, s->other,
                      lap_arena_printf(ctx->arena, "%s%selse of %s", inside, and, text_of(w, s->test)));
        }
    }
}

void lap_show_kernels(lap_setup *s, cJSON *document)
{
    writer w = {.s = s, .p = lap_session_program(s->session)};
    cJSON_AddNumberToObject(document, "flops", gather_flops(&w));
    w.launches = cJSON_AddArrayToObject(document, "kernels");
    add_steps(&w, w.p->n_steps, w.p->steps, "");
    add_buffers(&w, document);
}
