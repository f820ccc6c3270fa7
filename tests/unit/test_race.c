/* SPDX-License-Identifier: Apache-2.0
 * test_race.c - candidates that are wrong, crash, hang, leave or write astray: each is rejected with its
 * reason, and the race goes on. The entries here are C functions; the race does not know what it times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "frontends/tune/race.h"

enum { N = 1000 };

static lap_guarded output;

typedef struct fake {
    const char *what;
    unsigned ms; /* of one run */
} fake;

static void spend(unsigned ms)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    double end = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec + 1e-3 * ms;
    do {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    } while ((double)t.tv_sec + 1e-9 * (double)t.tv_nsec < end);
}

static bool is(const fake *f, const char *what) { return strcmp(f->what, what) == 0; }

static bool prepare(void *user, lap_fault *fault)
{
    const fake *f = user;
    if (is(f, "dies early")) {
        abort();
    }
    return !is(f, "refuses") || lap_fault_set(fault, LAP_BAD_INPUT, "no such tile");
}

static bool run(void *user, lap_fault *fault)
{
    const fake *f = user;
    static unsigned n_runs;
    float *out = (float *)(void *)output.data;
    n_runs++;
    spend(f->ms);
    for (int i = 0; i < N; i++) {
        out[i] = sinf((float)i);
    }
    if (is(f, "wrong")) {
        out[N / 2] += 0.01f;
    } else if (is(f, "rounded")) {
        out[N / 2] += 1e-6f;
    } else if (is(f, "nan")) {
        out[3] = NAN;
    } else if (is(f, "lazy")) {
        memset(out + N - 1, 0xff, sizeof *out);
    } else if (is(f, "crashes")) {
        raise(SIGSEGV);
    } else if (is(f, "crashes later") && n_runs > 6) {
        raise(SIGFPE);
    } else if (is(f, "before")) {
        ((volatile unsigned char *)output.data)[-1] = 0;
    } else if (is(f, "behind")) {
        ((volatile unsigned char *)output.data)[output.n] = 0;
    } else if (is(f, "far behind")) {
        ((volatile unsigned char *)output.data)[output.n + 64] = 0;
    } else if (is(f, "hangs")) {
        for (;;) {
            pause();
        }
    } else if (is(f, "spins")) {
        for (volatile int i = 0;; i++) {
        }
    } else if (is(f, "leaves")) {
        _exit(7);
    } else if (is(f, "fails")) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    }
    return true;
}

static bool race(uint32_t n, fake *fakes, lap_entry *entries, double budget,
                 const volatile sig_atomic_t *stop, uint32_t *out_winner)
{
    lap_tensor shape = {.dtype = LAP_F32, .rank = 1, .shape = {N}, .n_bytes = N * sizeof(float)};
    for (uint32_t i = 0; i < n; i++) {
        entries[i] = (lap_entry){.runner = {prepare, run, &fakes[i]}};
    }
    lap_race r = {.n = n,
                  .entries = entries,
                  .n_outputs = 1,
                  .outputs = &output,
                  .shapes = &shape,
                  .budget = budget,
                  .by_cpu = true,
                  .interrupted = stop};
    bool done = lap_race_run(&r);
    *out_winner = r.winner;
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left behind */
    assert_int_equal(errno, ECHILD);
    return done;
}

static int make_output(void **state)
{
    (void)state;
    return lap_guarded_new(N * sizeof(float), &output) ? 0 : 1;
}

static int free_output(void **state)
{
    (void)state;
    lap_guarded_free(&output);
    return 0;
}

/* One bad entry between a reference and a better one: the better one wins all the same. */
static void test_bad_entries(void **state)
{
    (void)state;
    static const struct {
        const char *what, *reason;
    } rows[] = {
        {"wrong", "wrong: 1 of 1000 values, the first at 500"},
        {"nan", "wrong: 1 of 1000 values, the first at 3"},
        {"lazy", "wrong: 1 of 1000 values, the first at 999"},
        {"crashes", "crashed: Segmentation fault"},
        {"crashes later", "crashed: Floating point exception"},
        {"dies early", "crashed: Aborted"},
        {"before", "wrote outside its outputs"},
        {"behind", "wrote outside its outputs"},
        {"far behind", "crashed: Segmentation fault"},
        {"hangs", "no answer within"},
        {"spins", "no answer within"},
        {"leaves", "ended with code 7"},
        {"fails", "out of memory"},
        {"refuses", "no such tile"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fake fakes[] = {{"good", 6}, {rows[i].what, 1}, {"good", 3}};
        lap_entry entries[3];
        uint32_t winner;
        assert_true(race(3, fakes, entries, 5.0, NULL, &winner));
        if (entries[1].outcome != LAP_REJECTED || strstr(entries[1].reason, rows[i].reason) == NULL) {
            fail_msg("%s: %s, expected %s", rows[i].what, entries[1].reason, rows[i].reason);
        }
        if (winner != 2) {
            fail_msg("%s: winner %u: %s; %s", rows[i].what, winner, entries[2].reason, entries[0].reason);
        }
        assert_int_equal(entries[2].outcome, LAP_WON);
        assert_int_equal(entries[0].outcome, LAP_LOST);
    }
}

/* What another order of sums does is no mistake. */
static void test_rounding(void **state)
{
    (void)state;
    fake fakes[] = {{"good", 6}, {"rounded", 3}};
    lap_entry entries[2];
    uint32_t winner;
    assert_true(race(2, fakes, entries, 5.0, NULL, &winner));
    assert_int_equal(winner, 1);
}

/* Equals: the reference, else the first. */
static void test_ties(void **state)
{
    (void)state;
    fake same[] = {{"good", 5}, {"good", 5}, {"good", 5}}, better[] = {{"good", 8}, {"good", 4}, {"good", 4}};
    lap_entry entries[3];
    uint32_t winner;
    for (int i = 0; i < 3; i++) {
        assert_true(race(3, same, entries, 5.0, NULL, &winner));
        assert_int_equal(winner, 0);
        assert_true(race(3, better, entries, 5.0, NULL, &winner));
        assert_int_equal(winner, 1);
    }
}

static void test_bad_reference(void **state)
{
    (void)state;
    fake fakes[] = {{"crashes", 1}, {"good", 1}};
    lap_entry entries[2];
    uint32_t winner;
    assert_false(race(2, fakes, entries, 5.0, NULL, &winner));
    assert_non_null(strstr(entries[0].reason, "crashed"));
}

/* Too little time for all: what was not tried is no loser. */
static void test_budget(void **state)
{
    (void)state;
    fake fakes[16];
    lap_entry entries[16];
    uint32_t winner;
    for (int i = 0; i < 16; i++) {
        fakes[i] = (fake){"good", 40};
    }
    assert_true(race(16, fakes, entries, 0.6, NULL, &winner));
    assert_int_equal(entries[15].outcome, LAP_UNTRIED);
    assert_int_equal(winner, 0);
}

static volatile sig_atomic_t stop;

static void set_stop(int signal)
{
    (void)signal;
    stop = 1;
}

static void test_interrupt(void **state)
{
    (void)state;
    fake fakes[] = {{"good", 1}, {"hangs", 1}, {"good", 1}};
    lap_entry entries[3];
    uint32_t winner;
    struct sigaction catch = {.sa_handler = set_stop}, old;
    sigaction(SIGALRM, &catch, &old);
    stop = 0;
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    ualarm(200000, 0);
    assert_false(race(3, fakes, entries, 1000.0, &stop, &winner));
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - begin.tv_sec < 20);
    sigaction(SIGALRM, &old, NULL);
}

/* A tuner that is killed leaves nothing running. */
static void test_orphans(void **state)
{
    (void)state;
    int link[2];
    assert_int_equal(pipe(link), 0);
    pid_t tuner = fork();
    if (tuner == 0) {
        close(link[0]); /* its children hold the other end open until they die */
        fake fakes[] = {{"hangs", 1}};
        lap_entry entries[1];
        uint32_t winner;
        race(1, fakes, entries, 1000.0, NULL, &winner);
        _exit(0);
    }
    close(link[1]);
    usleep(200000);
    kill(tuner, SIGKILL);
    waitpid(tuner, NULL, 0);
    char byte;
    alarm(30);
    assert_int_equal(read(link[0], &byte, 1), 0); /* the end: nobody has it open any more */
    alarm(0);
    close(link[0]);
}

static void test_guards(void **state)
{
    (void)state;
    for (size_t n = 0; n < 9000; n += 1 + n / 3) {
        lap_guarded g;
        assert_true(lap_guarded_new(n, &g));
        lap_guarded_poison(&g);
        assert_int_equal((uintptr_t)g.data % 64, 0);
        memset(g.data, 0, n);
        assert_true(lap_guarded_is_whole(&g));
        if (n % 64 != 0) { /* a whole number of them ends at the guard page */
            g.data[n] = 0;
            assert_false(lap_guarded_is_whole(&g));
        }
        lap_guarded_free(&g);
        n += n == 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bad_entries, make_output, free_output),
        cmocka_unit_test_setup_teardown(test_rounding, make_output, free_output),
        cmocka_unit_test_setup_teardown(test_ties, make_output, free_output),
        cmocka_unit_test_setup_teardown(test_bad_reference, make_output, free_output),
        cmocka_unit_test_setup_teardown(test_budget, make_output, free_output),
        cmocka_unit_test_setup_teardown(test_interrupt, make_output, free_output),
        cmocka_unit_test_setup_teardown(test_orphans, make_output, free_output),
        cmocka_unit_test(test_guards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
