/* SPDX-License-Identifier: Apache-2.0
 * progress.h - how far tuning is: a bar that renews itself on a terminal, a line per kernel elsewhere. */
#ifndef LAP_FRONTENDS_TUNE_PROGRESS_H
#define LAP_FRONTENDS_TUNE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct lap_progress {
    FILE *to;
    bool is_terminal, is_dirty; /* a bar stands in the line */
    double budget, done;        /* seconds in all; of kernels that are finished */
    double shown;               /* when the bar was drawn last */
    uint32_t number, of;        /* kernels */
    const char *name;           /* of the present one */
} lap_progress;

void lap_progress_begin(lap_progress *p, FILE *to);
/* A kernel begins. */
void lap_progress_kernel(lap_progress *p, uint32_t number, uint32_t of, const char *name);
/* `seconds` of this kernel are gone; `n` of `all` schedules looked at; best and default times. */
void lap_progress_step(lap_progress *p, double seconds, uint32_t n, uint32_t all, double best, double base);
/* A line that stays. */
void lap_progress_say(lap_progress *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void lap_progress_end(lap_progress *p);

#endif
