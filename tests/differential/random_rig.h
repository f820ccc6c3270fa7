/* SPDX-License-Identifier: Apache-2.0
 * random_rig.h - random graphs through a backend against the reference evaluator: shared by the tests
 * that bring one, which define N_GRAPHS and the functions declared below.
 *
 * LAP_GRAPHS sets how many graphs, LAP_SEED the first, LAP_NODES their size; the work is shared by
 * LAP_WORKERS processes (default 2), so that a crash of compiled code is a failure with a seed too.
 * LAP_GRAPH_FILE runs one graph text instead. A graph that fails is printed smaller. */
#ifndef LAP_TESTS_DIFFERENTIAL_RANDOM_RIG_H
#define LAP_TESTS_DIFFERENTIAL_RANDOM_RIG_H

#include "tests/unit/graphs.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "codegen/image.h"
#include "passes/passes.h"
#include "runtime/exec.h"
#include "tests/support/random_graph.h"
#include "tests/support/tensor_text.h"

typedef enum verdict { AGREES, INVALID, REFUSED, DIFFERS } verdict;

static uint64_t setting(const char *name, uint64_t missing)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : missing;
}

/* ---- what a test brings: a backend, opened in the process that uses it */

typedef struct backend backend;
typedef struct compiled compiled;
static backend *backend_open(lap_fault *fault);
static void backend_close(backend *b);
/* The exec is NULL after a failure. */
static compiled *compile(lap_ctx *ctx, lap_graph *g, const backend *b, lap_fault *fault);
static lap_exec *exec_of(const compiled *c);
static void release(compiled *c);
/* and the graph of a seed, if not any */
#ifndef RANDOM_GRAPH
#define RANDOM_GRAPH test_random_graph
#endif

/* The exec's tensors of one kind, by name from `from`. */
static bool match(lap_ctx *ctx, const lap_exec *exec, unsigned kind, uint32_t n, const lap_eval_io *from,
                  lap_tensor **out, lap_fault *fault)
{
    *out = lap_arena_array(ctx->arena, n + 1, sizeof **out);
    for (uint32_t i = 0; i < n; i++) {
        const char *name = lap_exec_name(exec, kind, i);
        bool found = false;
        for (uint32_t k = 0; k < from->n && !found; k++) {
            if (strcmp(from->names[k], name) == 0) {
                (*out)[i] = from->tensors[k];
                found = true;
            }
        }
        if (!found) {
            return lap_fault_set(fault, LAP_INTERNAL,
                                 "the program asks for '%s', which the graph does not have", name);
        }
    }
    return true;
}

/* Results stay valid until the exec is closed. */
static bool run(lap_ctx *ctx, lap_exec *exec, const lap_eval_io *inputs, const lap_eval_io *weights,
                lap_eval_result *out, lap_fault *fault)
{
    lap_tensor *in, *w;
    uint32_t n = lap_exec_n_outputs(exec);
    if (!match(ctx, exec, LAP_LEAF_INPUT, lap_exec_n_inputs(exec), inputs, &in, fault) ||
        !match(ctx, exec, LAP_LEAF_WEIGHT, lap_exec_n_weights(exec), weights, &w, fault) ||
        !lap_exec_set_weight_tensors(exec, w, fault)) {
        return false;
    }
    *out = (lap_eval_result){.n = n,
                             .names = lap_arena_array(ctx->arena, n + 1, sizeof *out->names),
                             .tensors = lap_arena_array(ctx->arena, n + 1, sizeof *out->tensors)};
    for (uint32_t i = 0; i < n; i++) {
        out->names[i] = lap_exec_name(exec, LAP_LEAF_OUTPUT, i);
    }
    return lap_exec_run(exec, in, out->tensors, fault);
}

/* ---- both */

static verdict judge(lap_ctx *ctx, lap_graph *g, const backend *b, const char **out_why)
{
    lap_eval_io inputs, weights;
    lap_eval_result want, got;
    lap_fault fault = {0};
    compiled *c = NULL;
    *out_why = "its leaves have no shapes";
    if (!test_random_tensors(g, &inputs, &weights)) {
        return INVALID;
    }
    if (!lap_eval(g, &inputs, &weights, &want)) {
        *out_why = lap_error_count(ctx) ? lap_error_text(ctx, 0) : "no reason given";
        return INVALID;
    }
    verdict v = REFUSED;
    c = compile(ctx, g, b, &fault);
    if (c && run(ctx, exec_of(c), &inputs, &weights, &got, &fault)) {
        v = test_results_close(ctx->arena, &got, &want, out_why) ? AGREES : DIFFERS;
    } else {
        *out_why = lap_arena_printf(ctx->arena, "%s", fault.text);
    }
    release(c);
    return v;
}

/* ---- shrinking: in a process of its own, since compiled code may crash or never end */

typedef struct failure {
    int status; /* of the process that judged the whole graph */
} failure;

enum { SECONDS_FOR_ONE = 20 };

static verdict judge_text(const char *text, bool shows)
{
    lap_ctx *ctx = lap_ctx_new(0);
    lap_fault fault = {0};
    backend *b = backend_open(&fault);
    lap_graph *g;
    const char *why = "no graph, or no backend";
    verdict v = INVALID;
    if (b && lap_graph_parse(ctx, "text", text, strlen(text), &g)) {
        v = judge(ctx, g, b, &why);
    }
    if (shows) {
        fprintf(stderr, "%s\n", v == AGREES ? "agrees" : why);
    }
    backend_close(b);
    lap_ctx_free(ctx);
    return v;
}

/* The test library's handlers would turn a crash of a child into a report of this test. */
static void die_plainly(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        signal(signals[i], SIG_DFL);
    }
}

/* Exit status of a process that judges the text: the verdict, or a signal. */
static int judge_apart(const char *text, bool shows)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        die_plainly();
        if (!shows && !freopen("/dev/null", "w", stderr)) {
            _exit(INVALID);
        }
        alarm(SECONDS_FOR_ONE);
        _exit((int)judge_text(text, shows));
    }
    waitpid(pid, &status, 0);
    return status;
}

static bool fails_alike(void *user, const char *text)
{
    const failure *f = user;
    return judge_apart(text, false) == f->status;
}

static void report(uint64_t seed, const char *text)
{
    lap_arena *arena = lap_arena_new(0);
    failure f = {judge_apart(text, false)};
    const char *least = test_shrink(arena, text, fails_alike, &f);
    fprintf(stderr, "seed %llu:\n%s", (unsigned long long)seed, least);
    judge_apart(least, true);
    lap_arena_free(arena);
}

/* ---- many */

static unsigned size_of(uint64_t seed) { return 3 + (unsigned)(seed * 5 % 14); }

typedef struct work {
    uint64_t first, n, step;
    unsigned n_nodes, most_reports;
} work;

/* Judges every graph of the share; the seeds that fail go to `out`. Progress is written so that the
 * parent knows where a crash happened. */
static void do_share(const work *w, int out)
{
    die_plainly();
    lap_fault fault = {0};
    backend *b = backend_open(&fault);
    if (!b) {
        fprintf(stderr, "%s\n", fault.text);
        _exit(3);
    }
    for (uint64_t seed = w->first; seed < w->first + w->n; seed += w->step) {
        lap_ctx *ctx = lap_ctx_new(0);
        const char *why;
        lap_graph *g = RANDOM_GRAPH(ctx, seed, w->n_nodes ? w->n_nodes : size_of(seed));
        struct {
            uint64_t seed, verdict;
        } line = {seed, UINT64_MAX};
        alarm(SECONDS_FOR_ONE);
        bool told = write(out, &line, sizeof line) == sizeof line;
        line.verdict = judge(ctx, g, b, &why);
        if (line.verdict != AGREES) {
            fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, why);
        }
        told = told && write(out, &line, sizeof line) == sizeof line;
        lap_ctx_free(ctx);
        if (!told) {
            _exit(3);
        }
    }
    _exit(0);
}

typedef struct tally {
    uint64_t agree, fail;
    uint64_t failed[16];
} tally;

static void note_failure(tally *t, uint64_t seed)
{
    if (t->fail < sizeof t->failed / sizeof *t->failed) {
        t->failed[t->fail] = seed;
    }
    t->fail++;
}

/* Runs a share in a process, again after the seed where it died. */
static void watch_share(work w, int out_tally)
{
    tally t = {0};
    uint64_t end = w.first + w.n;
    while (w.first < end) {
        int ends[2];
        if (pipe(ends) != 0) {
            break;
        }
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            close(ends[0]);
            do_share(&w, ends[1]);
        }
        close(ends[1]);
        struct {
            uint64_t seed, verdict;
        } line;
        uint64_t open = UINT64_MAX, last = w.first;
        while (read(ends[0], &line, sizeof line) == sizeof line) {
            open = line.verdict == UINT64_MAX ? line.seed : UINT64_MAX;
            last = line.seed;
            t.agree += line.verdict == AGREES;
            if (line.verdict != UINT64_MAX && line.verdict != AGREES) {
                note_failure(&t, line.seed);
            }
        }
        close(ends[0]);
        int status;
        waitpid(pid, &status, 0);
        if (open != UINT64_MAX) {
            fprintf(stderr, "seed %llu: ended by status %d\n", (unsigned long long)open, status);
            note_failure(&t, open);
        } else if (status != 0) {
            note_failure(&t, last);
            break;
        }
        w.n = end - last - w.step < end ? end - last - w.step : 0;
        w.first = last + w.step;
    }
    if (write(out_tally, &t, sizeof t) != sizeof t) {
        _exit(3);
    }
    _exit(0);
}

static tally run_all(uint64_t first, uint64_t n, uint64_t n_workers, unsigned n_nodes)
{
    tally all = {0};
    int ends[64];
    n_workers = n_workers < 1 ? 1 : n_workers > 64 ? 64 : n_workers;
    fflush(NULL);
    for (uint64_t i = 0; i < n_workers; i++) {
        int both[2];
        assert_int_equal(pipe(both), 0);
        if (fork() == 0) {
            close(both[0]);
            watch_share(
                (work){.first = first + i, .n = n > i ? n - i : 0, .step = n_workers, .n_nodes = n_nodes},
                both[1]);
        }
        close(both[1]);
        ends[i] = both[0];
    }
    for (uint64_t i = 0; i < n_workers; i++) {
        tally t;
        assert_int_equal(read(ends[i], &t, sizeof t), sizeof t);
        all.agree += t.agree;
        for (uint64_t k = 0; k < t.fail; k++) {
            note_failure(&all, k < sizeof t.failed / sizeof *t.failed ? t.failed[k] : 0);
        }
        close(ends[i]);
        wait(NULL);
    }
    return all;
}

static void test_graphs(void **state)
{
    (void)state;
    uint64_t first = setting("LAP_SEED", 1), n = setting("LAP_GRAPHS", N_GRAPHS),
             workers = setting("LAP_WORKERS", 2);
    unsigned n_nodes = (unsigned)setting("LAP_NODES", 0);
    tally t = run_all(first, n, workers, n_nodes);
    printf("seeds %llu to %llu: %llu agree, %llu fail\n", (unsigned long long)first,
           (unsigned long long)(first + n - 1), (unsigned long long)t.agree, (unsigned long long)t.fail);
    uint64_t shown = setting("LAP_REPORTS", 4);
    for (uint64_t i = 0; i < t.fail && i < shown && i < sizeof t.failed / sizeof *t.failed; i++) {
        lap_ctx *ctx = lap_ctx_new(0);
        uint64_t seed = t.failed[i];
        lap_graph *g = RANDOM_GRAPH(ctx, seed, n_nodes ? n_nodes : size_of(seed));
        report(seed, lap_graph_text(g));
        lap_ctx_free(ctx);
    }
    assert_int_equal(t.fail, 0);
    assert_int_equal(t.agree, n);
}

/* One text, for work on a failure. */
static void test_file(void **state)
{
    (void)state;
    const char *path = getenv("LAP_GRAPH_FILE");
    assert_non_null(path);
    static char text[1 << 20];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    assert_int_equal(judge_text(text, true), AGREES);
}

/* The tests of a file that has defined the backend. */
static int random_main(void)
{
    const struct CMUnitTest files[] = {cmocka_unit_test(test_file)};
    const struct CMUnitTest graphs[] = {cmocka_unit_test(test_graphs)};
    return getenv("LAP_GRAPH_FILE") ? cmocka_run_group_tests(files, NULL, NULL)
                                    : cmocka_run_group_tests(graphs, NULL, NULL);
}

#endif
