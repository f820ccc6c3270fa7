/* SPDX-License-Identifier: Apache-2.0
 * schedule.h - schedules as data: the numbers that lowerings use, by name. */
#ifndef LAP_PASSES_SCHEDULE_H
#define LAP_PASSES_SCHEDULE_H

#include "passes/target.h"
#include "runtime/tensor.h"

typedef enum lap_knob {
#define LAP_KNOB(enum_, lowering_, knob_, default_, least_, most_, tries_, doc_) LAP_KNOB_##enum_,
#include "passes/schedules.def"
#undef LAP_KNOB
    LAP_N_KNOBS
} lap_knob;
_Static_assert(LAP_N_KNOBS <= 64, "sets of knobs are bits of one word");

typedef struct lap_schedule {
    int32_t v[LAP_N_KNOBS];
} lap_schedule;

enum { LAP_MAX_TRIES = 16, LAP_SCHEDULE_TEXT = 2048 };

lap_schedule lap_schedule_default(const lap_target *t);
/* Applies "attend.tiles=4,contract.rows=6". False with a message when a knob or value does not exist. */
bool lap_schedule_parse(const char *text, lap_schedule *inout, lap_fault *fault);
/* What parse makes of `base` to come to s, "" when they are the same; `out` of LAP_SCHEDULE_TEXT bytes. */
const char *lap_schedule_show(const lap_schedule *s, const lap_schedule *base, char *out);
bool lap_schedule_same(const lap_schedule *a, const lap_schedule *b);
/* The values worth trying for a knob on a target, within its bounds; how many of LAP_MAX_TRIES. */
uint32_t lap_knob_tries(lap_knob knob, const lap_target *t, int32_t *out);

#endif
