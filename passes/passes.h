/* SPDX-License-Identifier: Apache-2.0
 * passes.h - from a graph to a program of kernels, in one readable list (pipeline.c). */
#ifndef LAP_PASSES_PASSES_H
#define LAP_PASSES_PASSES_H

#include "ir/kernel.h"
#include "passes/schedule.h"
#include "passes/site.h"

typedef struct lap_pass_options {
    bool verify;                  /* verify after every pass; always on in debug builds */
    const lap_schedule *schedule; /* the base of all kernels; NULL: the target's default */
    lap_choose_schedule *choose;  /* schedules of single sites (site.h), or NULL */
    void *choose_user;
    lap_lowering **kept; /* where to leave the lowering, for its sites, or NULL; the context owns it */
    bool writes_classes; /* the program has outputs beside the graph's: classes of tiles (lap_attend_use) */
} lap_pass_options;

/* Graph passes alone: canonical, no dead code (the `graph` stage after passes). */
LAP_MUST_CHECK bool lap_passes_run(lap_graph *g, const lap_target *target, const lap_pass_options *options,
                                   lap_graph **out);
/* All the way to loops. Reports to the context what cannot be compiled. */
LAP_MUST_CHECK bool lap_lower(lap_graph *g, const lap_target *target, const lap_pass_options *options,
                              lap_program **out);

#endif
