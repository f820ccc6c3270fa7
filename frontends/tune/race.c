/* SPDX-License-Identifier: Apache-2.0
 * race.c - entries are started one by one, checked, and dropped as soon as they are clearly slower; those
 * left are timed in turns, so that whatever else the machine does meets all of them.
 *
 * The least time of an entry counts: noise only ever adds. Among equals the first wins, the reference before
 * all, so that the same machine makes the same choice again. */
#include "frontends/tune/race.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_ROUNDS = 10, LEAST_ROUNDS = 3, QUICK_RUNS = 3 };
/* A run may take so many times the reference's before it counts as hung; so many times the best, to be
 * dropped. */
static const double PATIENCE = 3.0, SLACK = 0.5, DROP_AT_ONCE = 1.25, DROP = 1.06, SLICE = 0.008,
                    PREPARE_LEAST = 5.0, STARTING_SHARE = 0.7, LONG = 0.05; /* one run is enough to know */

typedef struct command {
    double seconds; /* run at least so long, but not more often than */
    uint32_t most;
    bool by_cpu;
} command;
typedef struct answer {
    uint32_t good, n;
    double least, wall; /* of one run: as it counts, and how long the last one took */
    char reason[LAP_REASON];
} answer;

typedef struct trial {
    lap_child child;
    double rounds[MOST_ROUNDS];
    uint32_t n_rounds;
} trial;

typedef struct state {
    lap_race *race;
    trial *trials;
    lap_tensor *expected;
    double start, best, prepare;
    double run; /* how long the reference took, once: what counts as patience */
    uint32_t leader, n_done;
} state;

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double now(void) { return seconds_of(CLOCK_MONOTONIC); }

/* ---- in the child -------------------------------------------------------------------------- */

static bool obey(const lap_runner *r, const command *c, answer *a, lap_fault *fault)
{
    clockid_t clock = c->by_cpu ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    double begin = now();
    a->least = HUGE_VAL;
    do {
        double before = seconds_of(clock), wall = now();
        if (!r->run(r->user, fault)) {
            return false;
        }
        a->least = fmin(a->least, seconds_of(clock) - before);
        a->wall = now() - wall;
        a->n++;
    } while (a->n < c->most && now() - begin < c->seconds);
    return true;
}

static void work(void *user, int in, int out)
{
    const lap_runner *r = user;
    lap_fault fault = {0};
    command c;
    answer a = {.good = r->prepare(r->user, &fault)};
    for (;;) {
        if (!a.good) {
            snprintf(a.reason, sizeof a.reason, "%.*s", (int)sizeof a.reason - 1, fault.text);
        }
        if (!lap_write_whole(out, &a, sizeof a) || !a.good || !lap_read_whole(in, &c, sizeof c)) {
            return;
        }
        a = (answer){0};
        a.good = obey(r, &c, &a, &fault);
    }
}

/* ---- in the parent ------------------------------------------------------------------------- */

static double tolerance(lap_dtype dtype) { return dtype == LAP_BF16 ? 2e-2 : dtype == LAP_F16 ? 3e-3 : 2e-4; }

/* The size that errors are measured by, beside the element's own. */
static double scale_of(const lap_tensor *t, size_t n)
{
    double sum = 0.0;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        double v = lap_tensor_get(t, i);
        if (isfinite(v)) {
            sum += v * v;
            count++;
        }
    }
    return count > 0 ? sqrt(sum / (double)count) : 0.0;
}

const char *lap_output_differs(const lap_tensor *got, const lap_tensor *want, double much, char *out,
                               size_t n)
{
    size_t count, n_wrong = 0, first = 0;
    if (!lap_tensor_count(want, &count) || memcmp(got->data, want->data, want->n_bytes) == 0) {
        return NULL;
    }
    bool is_float = lap_dtype_compute(want->dtype) == LAP_F32;
    double eps = is_float ? much * tolerance(want->dtype) : 0.0,
           scale = is_float ? scale_of(want, count) : 0.0;
    for (size_t i = 0; i < count; i++) {
        double a = lap_tensor_get(got, i), b = lap_tensor_get(want, i);
        bool same = is_float ? a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= eps * (fabs(b) + scale)
                             : lap_tensor_get_int(got, i) == lap_tensor_get_int(want, i);
        first = !same && n_wrong == 0 ? i : first;
        n_wrong += !same;
    }
    if (n_wrong == 0) {
        return NULL;
    }
    snprintf(out, n, "wrong: %zu of %zu values, the first at %zu: %.6g, expected %.6g", n_wrong, count, first,
             lap_tensor_get(got, first), lap_tensor_get(want, first));
    return out;
}

static double left(const state *s) { return s->race->budget - (now() - s->start); }

static bool is_interrupted(const state *s) { return s->race->interrupted != NULL && *s->race->interrupted; }

static void tell(const state *s)
{
    if (s->race->progress != NULL) {
        s->race->progress(s->race->progress_user, now() - s->start, s->n_done, s->leader);
    }
}

static bool reject(state *s, uint32_t i, const char *reason)
{
    lap_entry *e = &s->race->entries[i];
    e->outcome = is_interrupted(s) ? LAP_UNTRIED : LAP_REJECTED;
    snprintf(e->reason, sizeof e->reason, "%.*s", (int)sizeof e->reason - 1, reason);
    lap_child_stop(&s->trials[i].child);
    return false;
}

static bool hear(state *s, uint32_t i, double seconds, answer *a)
{
    lap_child *c = &s->trials[i].child;
    if (!lap_child_receive(c, a, sizeof *a, seconds, s->race->interrupted)) {
        return reject(s, i, c->reason);
    }
    a->reason[sizeof a->reason - 1] = '\0';
    return a->good || reject(s, i, a->reason);
}

static bool guards_hold(state *s, uint32_t i)
{
    for (uint32_t o = 0; o < s->race->n_outputs; o++) {
        if (!lap_guarded_is_whole(&s->race->outputs[o])) {
            return reject(s, i, "wrote outside its outputs");
        }
    }
    return true;
}

/* Runs at least so long, but not more than `most` times; the least time of one run. */
static bool order(state *s, uint32_t i, double seconds, uint32_t most, double *out)
{
    answer a;
    lap_entry *e = &s->race->entries[i];
    command c = {seconds, most, s->race->by_cpu};
    double patience = i == 0 && s->run == 0.0 ? fmax(s->race->budget, PREPARE_LEAST) : PATIENCE * s->run;
    if (!lap_child_send(&s->trials[i].child, &c, sizeof c)) {
        return reject(s, i, s->trials[i].child.reason);
    }
    if (!hear(s, i, seconds + patience * (most < QUICK_RUNS ? most : QUICK_RUNS) + SLACK, &a) ||
        !guards_hold(s, i)) {
        return false;
    }
    s->run = i == 0 ? fmax(s->run, a.wall) : s->run;
    e->seconds = e->seconds == 0.0 ? a.least : fmin(e->seconds, a.least);
    *out = a.least;
    return true;
}

/* Among those that are known to be right. */
static void find_best(state *s)
{
    s->best = HUGE_VAL;
    for (uint32_t i = 0; i < s->race->n; i++) {
        const lap_entry *e = &s->race->entries[i];
        if (e->outcome == LAP_LOST && s->trials[i].child.pid != 0 && e->seconds < s->best) {
            s->best = e->seconds;
            s->leader = i;
        }
    }
}

static bool compare(state *s, uint32_t i)
{
    char text[LAP_REASON];
    for (uint32_t o = 0; o < s->race->n_outputs; o++) {
        lap_tensor got = s->race->shapes[o];
        got.data = s->race->outputs[o].data;
        if (i == 0) {
            memcpy(s->expected[o].data, got.data, got.n_bytes);
        } else if (lap_output_differs(&got, &s->expected[o], 1.0, text, sizeof text) != NULL) {
            return reject(s, i, text);
        }
    }
    return true;
}

/* Starts an entry, checks its result, times it a little. */
static bool enter(state *s, uint32_t i)
{
    trial *t = &s->trials[i];
    lap_entry *e = &s->race->entries[i];
    double begin = now(), seconds = 0.0;
    answer a;
    for (uint32_t o = 0; o < s->race->n_outputs; o++) {
        lap_guarded_poison(&s->race->outputs[o]);
    }
    if (!lap_child_start(&t->child, work, &e->runner)) {
        return reject(s, i, t->child.reason);
    }
    double prepare = i == 0 ? 10.0 * PREPARE_LEAST : fmax(PREPARE_LEAST, 5.0 * s->prepare);
    if (!hear(s, i, prepare, &a)) {
        return false;
    }
    s->prepare = fmax(s->prepare, now() - begin);
    if (!order(s, i, 0.0, 1, &seconds) || !compare(s, i) ||
        (seconds < LONG && !order(s, i, SLICE, QUICK_RUNS, &seconds))) {
        return false;
    }
    e->outcome = LAP_LOST;
    find_best(s);
    if (i != 0 && e->seconds > DROP_AT_ONCE * s->best) {
        snprintf(e->reason, sizeof e->reason, "%.2f times the best", e->seconds / s->best);
        lap_child_stop(&t->child);
    }
    return true;
}

/* The best one turned out to be bad: those that it drove out come back. */
static void revive(state *s)
{
    for (uint32_t i = 1; i < s->race->n && !is_interrupted(s); i++) {
        lap_entry *e = &s->race->entries[i];
        if (e->outcome == LAP_LOST && s->trials[i].child.pid == 0 && e->seconds <= DROP_AT_ONCE * s->best) {
            e->reason[0] = '\0';
            (void)enter(s, i);
        }
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(const trial *t)
{
    double rounds[MOST_ROUNDS];
    memcpy(rounds, t->rounds, sizeof rounds);
    qsort(rounds, t->n_rounds, sizeof *rounds, by_value);
    return rounds[t->n_rounds / 2];
}

/* One turn of each that is left; how many are left. */
static uint32_t take_turn(state *s)
{
    lap_race *r = s->race;
    uint32_t n_alive = 0;
    for (uint32_t i = 0; i < r->n && !is_interrupted(s); i++) {
        trial *t = &s->trials[i];
        double least;
        if (t->child.pid == 0) {
            continue;
        }
        if (order(s, i, fmax(SLICE, s->best), 1000, &least)) {
            t->rounds[t->n_rounds++] = least;
            r->entries[i].seconds = middle(t);
        } else {
            find_best(s);
            revive(s);
        }
    }
    find_best(s);
    for (uint32_t i = 0; i < r->n; i++) {
        trial *t = &s->trials[i];
        if (i != 0 && t->n_rounds >= 2 && r->entries[i].seconds > DROP * s->best) {
            lap_child_stop(&t->child);
        }
        n_alive += t->child.pid != 0;
    }
    return n_alive;
}

static void take_turns(state *s)
{
    for (uint32_t round = 1; round <= MOST_ROUNDS; round++) {
        uint32_t n_alive = take_turn(s);
        tell(s);
        bool may_end = n_alive <= 1 || left(s) < 0.0;
        if (is_interrupted(s) || (may_end && round >= LEAST_ROUNDS)) {
            return;
        }
    }
}

/* The first one within the tie band of the best: the reference, where it is. */
static void choose(state *s)
{
    lap_race *r = s->race;
    find_best(s);
    r->winner = 0;
    while (r->winner < r->n && !(s->trials[r->winner].child.pid != 0 && s->trials[r->winner].n_rounds > 0 &&
                                 r->entries[r->winner].seconds <= (1.0 + LAP_TIE) * s->best)) {
        r->winner++;
    }
    r->winner = r->winner < r->n ? r->winner : 0;
    for (uint32_t i = 0; i < r->n; i++) {
        lap_entry *e = &r->entries[i];
        if (e->outcome == LAP_LOST && i != r->winner && e->reason[0] == '\0') {
            snprintf(e->reason, sizeof e->reason, "%.3f times the best", e->seconds / s->best);
        }
    }
    r->entries[r->winner].outcome = LAP_WON;
    r->entries[r->winner].reason[0] = '\0';
}

static bool run(state *s)
{
    lap_race *r = s->race;
    if (!enter(s, 0)) {
        return false;
    }
    s->n_done = 1;
    tell(s);
    for (uint32_t i = 1; i < r->n && !is_interrupted(s); i++) {
        double each = (now() - s->start) / i;
        if (!r->start_all && left(s) - each < (1.0 - STARTING_SHARE) * r->budget) {
            break;
        }
        (void)enter(s, i);
        s->n_done = i + 1;
        tell(s);
    }
    take_turns(s);
    if (is_interrupted(s)) {
        return false;
    }
    choose(s);
    return true;
}

static bool allocate(state *s)
{
    lap_race *r = s->race;
    s->trials = calloc(r->n, sizeof *s->trials);
    s->expected = calloc(r->n_outputs + 1u, sizeof *s->expected);
    bool ok = s->trials != NULL && s->expected != NULL;
    for (uint32_t i = 0; ok && i < r->n_outputs; i++) {
        s->expected[i] = r->shapes[i];
        s->expected[i].data = malloc(r->shapes[i].n_bytes + 1);
        ok = s->expected[i].data != NULL;
    }
    return ok;
}

bool lap_race_run(lap_race *r)
{
    state s = {.race = r, .start = now(), .best = HUGE_VAL};
    bool done = false;
    if (allocate(&s)) {
        done = run(&s);
    } else {
        snprintf(r->entries[0].reason, sizeof r->entries[0].reason, "out of memory");
    }
    for (uint32_t i = 0; i < r->n && s.trials != NULL; i++) {
        lap_child_stop(&s.trials[i].child);
    }
    for (uint32_t i = 0; i < r->n_outputs && s.expected != NULL; i++) {
        free(s.expected[i].data);
    }
    free(s.trials);
    free(s.expected);
    return done;
}
