/* SPDX-License-Identifier: Apache-2.0
 * test_random_aot.c - random graphs as artefacts, called through their C interface, against the reference
 * evaluator.
 *
 * LAP_GRAPHS sets how many (default 2000), LAP_SEED the first. Running linkers takes most of the time, so
 * many objects are linked to one library, as a program with several models would be, and one graph of each
 * batch is a library of its own; the work is shared by LAP_WORKERS processes (default 2). A graph that fails
 * or crashes is printed with its seed. */
#include "tests/unit/graphs.h"

#include <dlfcn.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "codegen/aot/aot.h"
#include "passes/passes.h"
#include "runtime/safetensors.h"
#include "tests/support/process.h"
#include "tests/support/random_graph.h"

static uint64_t setting(const char *name, uint64_t missing)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : missing;
}

/* The folder of runtimes stands beside the compiler. */
static const char *runtime_folder(lap_ctx *ctx)
{
    const char *lappet = getenv("LAPPET");
    char *copy = lap_arena_printf(ctx->arena, "%s", lappet ? lappet : "build/lappet");
    return lap_arena_printf(ctx->arena, "%s/lib", dirname(copy));
}

static const lap_tensor *tensor_of(const lap_eval_io *from, const char *name)
{
    for (uint32_t i = 0; i < from->n; i++) {
        if (strcmp(from->names[i], name) == 0) {
            return &from->tensors[i];
        }
    }
    fail_msg("no tensor '%s'", name);
    return NULL;
}

/* The header's structs: per tensor a pointer, then its extents. */
static void **inputs_of(lap_ctx *ctx, const lap_program *p, const lap_eval_io *inputs)
{
    size_t n = 0;
    for (uint32_t i = 0; i < p->n_inputs; i++) {
        n += 1 + p->inputs[i].rank;
    }
    void **out = lap_arena_array(ctx->arena, n + 1, sizeof *out), **at = out;
    for (uint32_t i = 0; i < p->n_inputs; i++) {
        const lap_tensor *t = tensor_of(inputs, lap_text(ctx, p->inputs[i].name));
        *at++ = t->data;
        memcpy(at, t->shape, t->rank * sizeof *at);
        at += p->inputs[i].rank;
    }
    return out;
}

static lap_eval_result results_of(lap_ctx *ctx, const lap_program *p, void *const *outputs)
{
    lap_eval_result r = {.n = p->n_outputs,
                         .names = lap_arena_array(ctx->arena, p->n_outputs + 1, sizeof *r.names),
                         .tensors = lap_arena_array(ctx->arena, p->n_outputs + 1, sizeof *r.tensors)};
    for (uint32_t i = 0; i < p->n_outputs; i++) {
        lap_tensor *t = &r.tensors[i];
        r.names[i] = lap_text(ctx, p->outputs[i].name);
        *t = (lap_tensor){.dtype = p->outputs[i].dtype, .rank = p->outputs[i].rank, .data = *outputs++};
        memcpy(t->shape, outputs, t->rank * sizeof *t->shape);
        outputs += t->rank;
        size_t n;
        assert_true(lap_tensor_count(t, &n) && lap_dtype_bytes(t->dtype, n, &t->n_bytes));
    }
    return r;
}

static void *symbol(void *library, const char *model, const char *function)
{
    char name[64];
    snprintf(name, sizeof name, "%s_%s", model, function);
    void *s = dlsym(library, name);
    assert_non_null(s);
    return s;
}

/* A graph that has been made an artefact. */
typedef struct trial {
    uint64_t seed;
    lap_ctx *ctx;
    const lap_program *program;
    lap_eval_io inputs;
    lap_eval_result want;
    char name[16];
    const char *weights;
    lap_aot_result made;
} trial;

static void run_trial(const trial *t, void *library)
{
    const lap_program *p = t->program;
    void *(*open)(const char *) = (void *(*)(const char *))symbol(library, t->name, "open");
    int (*run)(void *, const void *, void *) =
        (int (*)(void *, const void *, void *))symbol(library, t->name, "run");
    void (*close)(void *) = (void (*)(void *))symbol(library, t->name, "close");
    const char *(*error)(const void *) = (const char *(*)(const void *))symbol(library, t->name, "error");
    size_t n = 1;
    for (uint32_t i = 0; i < p->n_outputs; i++) {
        n += 1 + p->outputs[i].rank;
    }
    void **outputs = lap_arena_array(t->ctx->arena, n, sizeof *outputs);
    void *model = open(t->weights);
    if (!model || run(model, inputs_of(t->ctx, p, &t->inputs), outputs) != 0) {
        fail_msg("seed %llu: %s", (unsigned long long)t->seed, error(model));
    }
    lap_eval_result got = results_of(t->ctx, p, outputs);
    const char *why;
    if (!test_results_close(t->ctx->arena, &got, &t->want, &why)) {
        fail_msg("seed %llu: %s", (unsigned long long)t->seed, why);
    }
    close(model);
}

static void *open_library(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fail_msg("%s", dlerror());
    }
    return library;
}

static lap_graph *graph_of(lap_ctx *ctx, uint64_t seed)
{
    return test_random_graph(ctx, seed, 3 + (unsigned)(seed % 14));
}

/* Builds number `i` of a batch, of which the first is a library; false: the graph is not valid. */
static bool build_trial(trial *t, uint64_t seed, unsigned i, const lap_machine *machine, const char *folder)
{
    *t = (trial){.seed = seed, .ctx = lap_ctx_new(0)};
    lap_graph *g = graph_of(t->ctx, seed);
    lap_eval_io weights;
    lap_program *program;
    lap_fault fault = {0};
    if (!test_random_tensors(g, &t->inputs, &weights) || !lap_eval(g, &t->inputs, &weights, &t->want)) {
        lap_ctx_free(t->ctx);
        return false;
    }
    assert_true(lap_lower(g, lap_machine_target(machine), &(lap_pass_options){.verify = true}, &program));
    snprintf(t->name, sizeof t->name, "g%u", i);
    t->program = program;
    t->weights = lap_arena_printf(t->ctx->arena, "%s/%s.safetensors", folder, t->name);
    lap_aot_level level = {program, machine};
    lap_aot_options options = {.name = t->name,
                               .kind = i == 0 ? LAP_AOT_SHARED : LAP_AOT_OBJECT,
                               .folder = folder,
                               .n_levels = 1,
                               .runtime = runtime_folder(t->ctx),
                               .levels = &level};
    if (!lap_safetensors_write(t->weights, weights.n, weights.names, weights.tensors, NULL, &fault) ||
        !lap_aot_build(&options, &t->made, &fault)) {
        fail_msg("seed %llu: %s", (unsigned long long)seed, fault.text);
    }
    return true;
}

enum { BATCH = 16 };

/* The objects of a batch, all but the first, as one library. */
static const char *link_batch(const trial *trials, unsigned n, const char *folder)
{
    static char path[LAP_AOT_PATH];
    const char *args[BATCH + 8] = {"cc", "-shared", "-o", path};
    snprintf(path, sizeof path, "%s/batch.so", folder);
    unsigned k = 4;
    for (unsigned i = 1; i < n; i++) {
        args[k++] = trials[i].made.artefact;
    }
    args[k++] = "-lm";
    args[k++] = "-lpthread";
    args[k++] = "-ldl";
    process_result r;
    process_run(args, &r);
    if (r.status != 0) {
        fail_msg("%s", r.err);
    }
    return path;
}

static void run_batch(trial *trials, unsigned n, const char *folder, uint64_t *seed)
{
    void *own = n > 0 ? open_library(trials[0].made.artefact) : NULL;
    void *shared = n > 1 ? open_library(link_batch(trials, n, folder)) : NULL;
    for (unsigned i = 0; i < n; i++) {
        *seed = trials[i].seed;
        run_trial(&trials[i], i == 0 ? own : shared);
    }
    for (unsigned i = 0; i < n; i++) {
        unlink(trials[i].made.artefact);
        unlink(trials[i].made.header);
        unlink(trials[i].weights);
        lap_ctx_free(trials[i].ctx);
    }
    if (shared != NULL) {
        dlclose(shared);
    }
    if (own != NULL) {
        dlclose(own);
    }
}

/* Of one worker, in memory that the parent sees. */
typedef struct progress {
    uint64_t seed, valid;
    bool is_done;
} progress;

enum { MOST_WORKERS = 16 };

/* A check that fails here ends this process as it would end the test. */
static void do_share(uint64_t first, uint64_t end, uint64_t step, progress *p)
{
    lap_fault fault = {0};
    lap_machine *machine = lap_machine_new(NULL, NULL, &fault);
    assert_non_null(machine);
    char *folder = folder_new();
    trial trials[BATCH];
    unsigned n = 0;
    for (uint64_t seed = first; seed < end; seed += step) {
        p->seed = seed;
        n += build_trial(&trials[n], seed, n, machine, folder);
        if (n == BATCH || seed + step >= end) {
            p->valid += n;
            run_batch(trials, n, folder, &p->seed);
            n = 0;
        }
    }
    folder_remove(folder);
    lap_machine_free(machine);
    p->is_done = true;
}

static void show_graph(uint64_t seed)
{
    lap_ctx *ctx = lap_ctx_new(0);
    fprintf(stderr, "seed %llu:\n%s", (unsigned long long)seed, lap_graph_text(graph_of(ctx, seed)));
    lap_ctx_free(ctx);
}

static void test_graphs(void **state)
{
    (void)state;
    uint64_t first = setting("LAP_SEED", 1), n = setting("LAP_GRAPHS", 2000), valid = 0;
    uint64_t n_workers = setting("LAP_WORKERS", 2);
    n_workers = n_workers < 1 ? 1 : n_workers > MOST_WORKERS ? MOST_WORKERS : n_workers;
    progress *all =
        mmap(NULL, MOST_WORKERS * sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(all != MAP_FAILED);
    pid_t workers[MOST_WORKERS];
    fflush(NULL);
    for (uint64_t i = 0; i < n_workers; i++) {
        workers[i] = fork();
        assert_true(workers[i] >= 0);
        if (workers[i] == 0) {
            do_share(first + i, first + n, n_workers, &all[i]);
            _exit(0);
        }
    }
    bool all_agree = true;
    for (uint64_t i = 0; i < n_workers; i++) {
        int status;
        assert_int_equal(waitpid(workers[i], &status, 0), workers[i]);
        if (status != 0 || !all[i].is_done) {
            all_agree = false;
            show_graph(all[i].seed);
        }
        valid += all[i].valid;
    }
    printf("seeds %llu to %llu: %llu agree\n", (unsigned long long)first, (unsigned long long)(first + n - 1),
           (unsigned long long)valid);
    munmap(all, MOST_WORKERS * sizeof *all);
    assert_true(all_agree);
    assert_true(valid * 10 >= n * 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_graphs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
