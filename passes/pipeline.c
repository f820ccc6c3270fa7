/* SPDX-License-Identifier: Apache-2.0
 * pipeline.c - the passes in order, from a graph to a program.
 *
 * Folding and common subexpressions happen whenever a node is made, so a rebuild is the canonical
 * form; what nothing needs is not rebuilt. */
#include "passes/passes.h"

#include "passes/attend_graph.h"
#include "passes/inline_calls.h"
#include "passes/lower.h"
#include "passes/raise.h"

typedef lap_graph *graph_pass(lap_graph *g, const lap_target *target, const lap_pass_options *options);

static const struct {
    const char *name;
    graph_pass *run;
} graph_passes[] = {
    {"inline-calls", lap_inline_calls}, {"raise-attention", lap_raise_attention},
    {"weigh-again", lap_weigh_again},   {"own-scores", lap_own_scores},
    {"join-parts", lap_join_parts},
};

bool lap_passes_run(lap_graph *g, const lap_target *target, const lap_pass_options *options, lap_graph **out)
{
    for (size_t i = 0; i < sizeof graph_passes / sizeof *graph_passes; i++) {
        g = graph_passes[i].run(g, target, options);
        if (g == NULL || (options != NULL && options->verify && !lap_graph_verify(g))) {
            return false;
        }
    }
    *out = g;
    return true;
}

bool lap_lower(lap_graph *g, const lap_target *target, const lap_pass_options *options, lap_program **out)
{
    lap_graph *ready;
    if (!lap_passes_run(g, target, options, &ready)) {
        return false;
    }
    *out = lap_lower_graph(ready, target, options);
    return *out != NULL;
}
