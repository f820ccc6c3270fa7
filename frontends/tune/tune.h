/* SPDX-License-Identifier: Apache-2.0
 * tune.h - searches schedules: each kernel of a model alone, on this machine, with the contents that the
 * model gives it. What is found goes to the user's records (frontends/compiler/records.h), from where every
 * compile takes it. */
#ifndef LAP_FRONTENDS_TUNE_TUNE_H
#define LAP_FRONTENDS_TUNE_TUNE_H

#include <signal.h>

#include "frontends/compiler/session.h"
#include "frontends/tune/progress.h"

typedef struct lap_tune_options {
    const lap_compile_options *compile; /* engine cpu or vulkan, what of, threads */
    const lap_load_options *load; /* as the session was loaded and filled: for the check at small sizes */
    const lap_fill_options *fill;
    double budget; /* seconds in all; 0: some for each kernel */
    const volatile sig_atomic_t *interrupted;
    lap_progress *progress;
} lap_tune_options;

/* One kernel, however often the model has it. */
typedef struct lap_tuned_kernel {
    const lap_site *site;
    uint32_t n_uses;
    char bucket[LAP_RECORD_WORD];
    double before, after; /* seconds of one run: default and chosen schedule; 0: not measured */
    lap_schedule schedule;
    uint32_t n_timed, n_rejected;
    uint32_t n_records; /* of all that were tried, the best among them */
    lap_record *records;
    const char *trouble; /* why it was not tuned, or "" */
} lap_tuned_kernel;

typedef struct lap_tune_report {
    uint32_t n;
    lap_tuned_kernel *at; /* by price, the dearest first */
    lap_schedule base;
    char target[LAP_TARGET_TEXT];
    const char *path;       /* of the records, or "" */
    const char *checked;    /* how the default was compared with the evaluator */
    double before, after;   /* seconds of a run of the whole model; 0: nothing changed */
    const char *taken_back; /* why all schedules are default ones after all, or "" */
    double seconds;
    bool is_complete; /* no kernel was left out for lack of time */
} lap_tune_report;

/* The session is loaded; inputs and weights are its tensors. False: see the fault; what was found until then
 * is in the records. */
bool lap_tune(lap_session *s, const lap_tune_options *o, const lap_tensors *inputs,
              const lap_tensors *weights, lap_tune_report *out, lap_fault *fault);

/* Predicted seconds of a site with the schedule in use; 0 where there is no prediction. */
double lap_tune_predict(lap_session *s, const lap_site *site, uint32_t n_threads);

#endif
