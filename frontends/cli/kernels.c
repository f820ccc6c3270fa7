/* SPDX-License-Identifier: Apache-2.0
 * kernels.c - where a model's time goes: its kernels, the dearest first.
 *
 * Useful operations of a value count for the kernel that computes it, or that its expression is part of. */
#include "frontends/cli/kernels.h"

#include <stdio.h>

#include "frontends/cli/document.h"
#include "passes/cost.h"

static const double *flops_of(lap_session *s)
{
    const lap_program *p = lap_session_program(s);
    const double *by_node;
    if (!lap_cost_of_nodes(p->source, lap_sizes_value, lap_session_sizes(s), &by_node)) {
        return NULL;
    }
    double *flops = lap_arena_array(p->ctx->arena, p->n_kernels + 1, sizeof *flops);
    for (uint32_t i = 1; i <= lap_graph_n_nodes(p->source); i++) {
        if (p->homes[i] > 0) {
            flops[p->homes[i] - 1] += by_node[i];
        }
    }
    return flops;
}

bool lap_kernel_times_take(lap_session *s, const lap_tensors *inputs, double seconds, lap_kernel_times *out)
{
    lap_exec *exec = lap_session_exec(s);
    *out = (lap_kernel_times){.n = lap_exec_n_kernels(exec), .flops = flops_of(s)};
    out->spent = lap_arena_array(lap_session_ctx(s)->arena, out->n + 1, sizeof *out->spent);
    lap_tensors ignored = {0};
    double start = lap_seconds();
    bool done = true;
    lap_exec_measure(exec, out->spent);
    while (done && (out->n_runs == 0 || lap_seconds() - start < seconds)) {
        done = lap_session_run(s, inputs, &ignored);
        out->n_runs++;
    }
    lap_exec_measure(exec, NULL);
    return done;
}

/* Numbers of the kernels that ran, by falling time. */
static uint32_t *by_time(lap_session *s, const lap_kernel_times *t, uint32_t *out_n, double *out_total)
{
    uint32_t *order = lap_arena_array(lap_session_ctx(s)->arena, t->n + 1, sizeof *order), n = 0;
    *out_total = 0.0;
    for (uint32_t k = 0; k < t->n; k++) {
        if (t->spent[k].launches == 0) {
            continue;
        }
        uint32_t at = n++;
        for (; at > 0 && t->spent[order[at - 1]].seconds < t->spent[k].seconds; at--) {
            order[at] = order[at - 1];
        }
        order[at] = k;
        *out_total += t->spent[k].seconds;
    }
    *out_n = n;
    return order;
}

static double gflops_of(const lap_kernel_times *t, uint32_t k)
{
    return t->flops != NULL && t->spent[k].seconds > 0.0
               ? t->flops[k] * t->n_runs / t->spent[k].seconds * 1e-9
               : 0.0;
}

void lap_kernel_times_print(lap_session *s, const lap_kernel_times *t)
{
    const lap_program *p = lap_session_program(s);
    uint32_t n;
    double total;
    const uint32_t *order = by_time(s, t, &n, &total);
    printf("\n  %-18s %8s %9s %7s %8s  %s\n", "kernel", "launches", "ms", "share", "GFLOP/s", "line, axes");
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = order[i];
        const lap_kernel *kernel = &p->kernels[k];
        const lap_exec_spent *spent = &t->spent[k];
        printf("  %-18s %8llu %9.3f %5.1f %% %8.1f  %s %s\n", kernel->name,
               (unsigned long long)(spent->launches / t->n_runs), 1e3 * spent->seconds / t->n_runs,
               total > 0.0 ? 100.0 * spent->seconds / total : 0.0, gflops_of(t, k),
               lap_loc_show(p->ctx, kernel->loc), kernel->roles != NULL ? kernel->roles : "");
    }
}

cJSON *lap_kernel_times_document(lap_session *s, const lap_kernel_times *t)
{
    const lap_program *p = lap_session_program(s);
    uint32_t n;
    double total;
    const uint32_t *order = by_time(s, t, &n, &total);
    cJSON *list = cJSON_CreateArray();
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = order[i];
        const lap_kernel *kernel = &p->kernels[k];
        cJSON *entry = cJSON_CreateObject();
        lap_document_text(entry, "name", kernel->name);
        cJSON_AddNumberToObject(entry, "launches", (double)(t->spent[k].launches / t->n_runs));
        cJSON_AddNumberToObject(entry, "seconds", t->spent[k].seconds / t->n_runs);
        cJSON_AddNumberToObject(entry, "share", total > 0.0 ? t->spent[k].seconds / total : 0.0);
        cJSON_AddNumberToObject(entry, "gflops", gflops_of(t, k));
        lap_document_text(entry, "line", lap_loc_show(p->ctx, kernel->loc));
        lap_document_text(entry, "axes", kernel->roles);
        cJSON_AddItemToArray(list, entry);
    }
    return list;
}
