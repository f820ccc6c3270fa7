/* SPDX-License-Identifier: Apache-2.0
 * race.h - which of several ways to compute the same is fastest, where some may be wrong, crash or never end.
 *
 * Entry 0 is the reference: the others must give what it gives. Each entry lives in a child of its own; only
 * one of them works at a time. */
#ifndef LAP_FRONTENDS_TUNE_RACE_H
#define LAP_FRONTENDS_TUNE_RACE_H

#include <stdint.h>

#include "frontends/tune/child.h"
#include "runtime/tensor.h"

typedef enum lap_outcome {
    LAP_UNTRIED,  /* the time was used up before */
    LAP_REJECTED, /* for the reason given */
    LAP_LOST,     /* slower, or not faster beyond the noise */
    LAP_WON
} lap_outcome;

/* What an entry does, in its child. */
typedef struct lap_runner {
    bool (*prepare)(void *user, lap_fault *fault); /* compile */
    bool (*run)(void *user, lap_fault *fault);     /* once, into the outputs of the race */
    void *user;
} lap_runner;

typedef struct lap_entry {
    lap_runner runner;
    lap_outcome outcome;
    double seconds; /* of one run; 0: never timed */
    char reason[LAP_REASON];
} lap_entry;

typedef struct lap_race {
    uint32_t n;
    lap_entry *entries;
    uint32_t n_outputs;
    lap_guarded *outputs; /* where entries write; `shapes` says what */
    const lap_tensor *shapes;
    double budget;  /* seconds in all */
    bool start_all; /* whatever the budget says */
    bool by_cpu;    /* entries have one thread: its own time counts, whatever else the machine does */
    const volatile sig_atomic_t *interrupted;
    /* Called between steps: seconds gone, entries looked at, the best so far. */
    void (*progress)(void *user, double seconds, uint32_t n_done, uint32_t best);
    void *progress_user;
    uint32_t winner;
} lap_race;

/* Within this part of each other two times are the same, and the earlier entry is taken. */
#define LAP_TIE 0.02

/* False, with the reason in entry 0, when the reference itself does not run, or when interrupted. */
bool lap_race_run(lap_race *r);
/* NULL when `got` is what `want` is, up to `much` times what another order of sums may do in its element
 * type; else what differs, in `out`. */
const char *lap_output_differs(const lap_tensor *got, const lap_tensor *want, double much, char *out,
                               size_t n);

#endif
