/* SPDX-License-Identifier: Apache-2.0
 * space.c - a beam search over the knobs that a site's lowering asked for, judged by the model.
 *
 * Every value of every knob is a lowering of its own that could be the first to have it: the search runs in a
 * child, which leaves what it is looking at in shared memory. When it dies that schedule is left out, and
 * another one starts. */
#include "frontends/tune/space.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/tune/child.h"
#include "frontends/tune/model.h"

enum {
    KEPT = LAP_MOST_CANDIDATES - 1, /* beside the base */
    BEAM = 7,                       /* of them that the next knob is tried on */
    MOST_FOUND = KEPT + (BEAM + 1) * LAP_MAX_TRIES + 1,
    MOST_SEEN = 4096,
    MOST_BAD = 4
};
static const double PATIENCE = 20.0, SAME = 1e-3;

typedef struct found {
    lap_schedule schedule;
    double predicted;
} found;

typedef struct scout {
    const lap_space_query *q;
    lap_schedule *looking_at; /* shared */
    uint32_t n_bad;
    lap_schedule bad[MOST_BAD];
    uint32_t n_seen;
    uint64_t *seen;
    uint32_t n;
    found *at;
} scout;

typedef struct verdict {
    uint32_t n;
    lap_candidate at[LAP_MOST_CANDIDATES];
} verdict;

static uint64_t hash_of(const lap_alone *a)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (uint32_t k = 0; k < a->program.n_kernels; k++) {
        for (const char *c = a->texts[k]; *c != '\0'; c++) {
            h = (h ^ (unsigned char)*c) * UINT64_C(1099511628211);
        }
    }
    return h;
}

/* Whether nothing equal was seen before; remembers it. */
static bool is_new(scout *s, uint64_t hash)
{
    for (uint32_t i = 0; i < s->n_seen; i++) {
        if (s->seen[i] == hash) {
            return false;
        }
    }
    if (s->n_seen < MOST_SEEN) {
        s->seen[s->n_seen++] = hash;
    }
    return true;
}

static bool is_bad(const scout *s, const lap_schedule *schedule)
{
    for (uint32_t i = 0; i < s->n_bad; i++) {
        if (lap_schedule_same(&s->bad[i], schedule)) {
            return true;
        }
    }
    return false;
}

/* Adds a schedule that makes something new; the base whatever is thought of it. */
static bool consider(scout *s, const lap_schedule *schedule)
{
    const lap_space_query *q = s->q;
    if (is_bad(s, schedule) || s->n == MOST_FOUND) {
        return false;
    }
    *s->looking_at = *schedule;
    const lap_alone *a = lap_site_alone(q->lowering, q->site, schedule, q->value, q->user);
    if (a == NULL || !is_new(s, hash_of(a))) {
        return false;
    }
    double seconds = lap_model_seconds(&a->program, q->target, q->n_threads, q->value, q->user);
    if (isfinite(seconds) || s->n == 0) {
        s->at[s->n++] = (found){*schedule, seconds};
    }
    return true;
}

/* By time, then by the numbers: the same order in each process. */
static int by_prediction(const void *a, const void *b)
{
    const found *x = a, *y = b;
    return x->predicted != y->predicted ? (x->predicted > y->predicted ? 1 : -1)
                                        : memcmp(&x->schedule, &y->schedule, sizeof x->schedule);
}

/* Whether some value of the knob makes something else of the base. */
static bool matters(scout *s, lap_knob knob, uint32_t n, const int32_t *tries)
{
    bool any = false;
    for (uint32_t i = 0; i < n; i++) {
        lap_schedule schedule = s->at[0].schedule;
        schedule.v[knob] = tries[i];
        any |= consider(s, &schedule);
    }
    return any;
}

static void keep_best(scout *s)
{
    qsort(s->at + 1, s->n - 1, sizeof *s->at, by_prediction);
    s->n = s->n > KEPT + 1 ? KEPT + 1 : s->n;
}

static void widen(scout *s, lap_knob knob)
{
    int32_t tries[LAP_MAX_TRIES];
    uint32_t n = lap_knob_tries(knob, s->q->target, tries), n_before = s->n;
    if (!matters(s, knob, n, tries)) {
        return;
    }
    for (uint32_t i = 1; i < n_before && i <= BEAM; i++) {
        for (uint32_t k = 0; k < n; k++) {
            lap_schedule schedule = s->at[i].schedule;
            schedule.v[knob] = tries[k];
            consider(s, &schedule);
        }
    }
    keep_best(s);
}

/* Different in one number, or for these sizes not at all: the model sees no difference. */
static bool is_close(const found *a, const lap_candidate *b)
{
    uint32_t n = 0;
    for (int i = 0; i < LAP_N_KNOBS; i++) {
        n += a->schedule.v[i] != b->schedule.v[i];
    }
    return n <= 1 || fabs(a->predicted - b->predicted) < SAME * b->predicted;
}

/* The base, then by time; of those that are close only the first counts at first, since time may
 * end before all were tried. */
static void select_some(const scout *s, verdict *v)
{
    bool *is_taken = calloc(s->n + 1u, sizeof *is_taken);
    for (int pass = 0; pass < 2 && is_taken != NULL; pass++) {
        for (uint32_t i = 0; i < s->n && v->n < LAP_MOST_CANDIDATES; i++) {
            bool is_far = true;
            for (uint32_t k = 1; k < v->n && pass == 0; k++) {
                is_far = is_far && !is_close(&s->at[i], &v->at[k]);
            }
            if (is_far && !is_taken[i]) {
                is_taken[i] = true;
                v->at[v->n].schedule = s->at[i].schedule;
                v->at[v->n++].predicted = isfinite(s->at[i].predicted) ? s->at[i].predicted : 0.0;
            }
        }
    }
    free(is_taken);
}

static void look(void *user, int in, int out)
{
    (void)in;
    scout *s = user;
    verdict v = {0};
    s->seen = calloc(MOST_SEEN, sizeof *s->seen);
    s->at = calloc(MOST_FOUND, sizeof *s->at);
    if (s->seen == NULL || s->at == NULL || !consider(s, &s->q->site->schedule)) {
        return;
    }
    for (int knob = 0; knob < LAP_N_KNOBS; knob++) {
        if ((s->q->site->knobs >> knob & 1) != 0) {
            widen(s, (lap_knob)knob);
        }
    }
    keep_best(s);
    select_some(s, &v);
    (void)lap_write_whole(out, &v, sizeof v);
}

static uint32_t hand_over(const scout *s, const verdict *v, lap_candidate *out, const char *reason)
{
    uint32_t n = v->n < LAP_MOST_CANDIDATES ? v->n : LAP_MOST_CANDIDATES;
    memcpy(out, v->at, n * sizeof *out);
    for (uint32_t i = 0; i < s->n_bad && n > 0 && n < LAP_MOST_CANDIDATES; i++) {
        out[n] = (lap_candidate){.schedule = s->bad[i], .is_bad = true};
        snprintf(out[n++].reason, sizeof out->reason, "while it was lowered: %.150s", reason);
    }
    return n;
}

uint32_t lap_tune_space(const lap_space_query *q, lap_candidate *out)
{
    lap_guarded shared;
    char reason[LAP_REASON] = "";
    if (!lap_guarded_new(sizeof(lap_schedule), &shared)) {
        return 0;
    }
    scout s = {.q = q, .looking_at = (lap_schedule *)(void *)shared.data};
    verdict v = {0};
    for (;;) {
        lap_child child;
        bool good = lap_child_start(&child, look, &s) &&
                    lap_child_receive(&child, &v, sizeof v, PATIENCE, q->interrupted);
        lap_child_stop(&child);
        if (good || s.n_bad == MOST_BAD || (q->interrupted != NULL && *q->interrupted)) {
            v.n = good ? v.n : 0;
            break;
        }
        s.bad[s.n_bad++] = *s.looking_at;
        snprintf(reason, sizeof reason, "%s", child.reason);
    }
    uint32_t n = hand_over(&s, &v, out, reason);
    lap_guarded_free(&shared);
    return n;
}
