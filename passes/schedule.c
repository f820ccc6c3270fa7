/* SPDX-License-Identifier: Apache-2.0
 * schedule.c - see schedule.h. */
#include "passes/schedule.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct knob_row {
    const char *name; /* "attend.tiles" */
    int32_t least, most;
    const char *doc;
} knob_row;

static const knob_row rows[LAP_N_KNOBS] = {
#define LAP_KNOB(enum_, lowering_, knob_, default_, least_, most_, tries_, doc_)                             \
    {#lowering_ "." #knob_, least_, most_, doc_},
#include "passes/schedules.def"
#undef LAP_KNOB
};

lap_schedule lap_schedule_default(const lap_target *t)
{
    return (lap_schedule){{
#define LAP_KNOB(enum_, lowering_, knob_, default_, least_, most_, tries_, doc_) (int32_t)(default_),
#include "passes/schedules.def"
#undef LAP_KNOB
    }};
}

bool lap_schedule_same(const lap_schedule *a, const lap_schedule *b) { return memcmp(a, b, sizeof *a) == 0; }

const char *lap_schedule_show(const lap_schedule *s, const lap_schedule *base, char *out)
{
    size_t n = 0;
    out[0] = '\0';
    for (int i = 0; i < LAP_N_KNOBS; i++) {
        if (s->v[i] != base->v[i]) {
            n += (size_t)snprintf(out + n, LAP_SCHEDULE_TEXT - n, "%s%s=%d", n > 0 ? "," : "", rows[i].name,
                                  (int)s->v[i]);
        }
    }
    return out;
}

/* Below every bound; ends each row of tries. */
#define LAP_NO_TRY   INT32_MIN
#define LAP_TRY(...) __VA_ARGS__

uint32_t lap_knob_tries(lap_knob knob, const lap_target *t, int32_t *out)
{
    const int32_t tries[LAP_N_KNOBS][LAP_MAX_TRIES] = {
#define LAP_KNOB(enum_, lowering_, knob_, default_, least_, most_, tries_, doc_) {tries_, LAP_NO_TRY},
#include "passes/schedules.def"
#undef LAP_KNOB
    };
    uint32_t n = 0;
    for (uint32_t i = 0; i < LAP_MAX_TRIES && tries[knob][i] != LAP_NO_TRY; i++) {
        if (tries[knob][i] >= rows[knob].least && tries[knob][i] <= rows[knob].most) {
            out[n++] = tries[knob][i];
        }
    }
    return n;
}

static bool find_knob(const char *text, size_t n, lap_knob *out)
{
    for (int i = 0; i < LAP_N_KNOBS; i++) {
        if (strlen(rows[i].name) == n && memcmp(rows[i].name, text, n) == 0) {
            *out = (lap_knob)i;
            return true;
        }
    }
    return false;
}

static bool unknown(const char *text, size_t n, lap_fault *fault)
{
    char names[1024] = "";
    for (int i = 0; i < LAP_N_KNOBS; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", rows[i].name);
    }
    return lap_fault_set(fault, LAP_BAD_INPUT, "there is no schedule knob '%.*s'\nhint: knobs are %s",
                         (int)(n < 80 ? n : 80), text, names);
}

bool lap_schedule_parse(const char *text, lap_schedule *inout, lap_fault *fault)
{
    for (const char *at = text; *at != '\0';) {
        size_t n = strcspn(at, "=,");
        lap_knob knob;
        if (!find_knob(at, n, &knob)) {
            return unknown(at, n, fault);
        }
        char *end = NULL;
        errno = 0;
        long value = at[n] == '=' ? strtol(at + n + 1, &end, 10) : 0;
        if (end == NULL || end == at + n + 1 || (*end != ',' && *end != '\0') || errno != 0 ||
            value < rows[knob].least || value > rows[knob].most) {
            return lap_fault_set(fault, LAP_BAD_INPUT,
                                 "schedule knob '%s' takes a number from %d to %d, found '%s'",
                                 rows[knob].name, rows[knob].least, rows[knob].most, at + n);
        }
        inout->v[knob] = (int32_t)value;
        at = *end == ',' ? end + 1 : end;
    }
    return true;
}
