/* SPDX-License-Identifier: Apache-2.0
 * space.h - which schedules of a kernel are worth timing. */
#ifndef LAP_FRONTENDS_TUNE_SPACE_H
#define LAP_FRONTENDS_TUNE_SPACE_H

#include <signal.h>

#include "passes/site.h"

enum { LAP_MOST_CANDIDATES = 16 };

typedef struct lap_candidate {
    lap_schedule schedule;
    double predicted;
    bool is_bad; /* it could not even be lowered: `reason` */
    char reason[200];
} lap_candidate;

typedef struct lap_space_query {
    lap_lowering *lowering;
    const lap_site *site;
    const lap_target *target;
    uint32_t n_threads;
    lap_dim_value *value;
    void *user;
    const volatile sig_atomic_t *interrupted;
} lap_space_query;

/* The base schedule first, then others by predicted time, all different in what they make; those that brought
 * down the process that looked at them last, marked bad. At most LAP_MOST_CANDIDATES; 0 when not even the
 * base can be made. */
uint32_t lap_tune_space(const lap_space_query *q, lap_candidate *out);

#endif
