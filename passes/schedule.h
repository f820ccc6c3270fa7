/* SPDX-License-Identifier: Apache-2.0
 * schedule.h - schedules as data: the numbers that lowerings use, by name. */
#ifndef LAP_PASSES_SCHEDULE_H
#define LAP_PASSES_SCHEDULE_H

#include "passes/target.h"
#include "runtime/tensor.h"

typedef enum lap_knob {
#define LAP_KNOB(enum_, lowering_, knob_, default_, least_, most_, doc_) LAP_KNOB_##enum_,
#include "passes/schedules.def"
#undef LAP_KNOB
    LAP_N_KNOBS
} lap_knob;

typedef struct lap_schedule {
    int32_t v[LAP_N_KNOBS];
} lap_schedule;

lap_schedule lap_schedule_default(const lap_target *t);
/* Applies "attend.tiles=4,contract.rows=6". False with a message when a knob or value does not exist. */
bool lap_schedule_parse(const char *text, lap_schedule *inout, lap_fault *fault);

#endif
