/* SPDX-License-Identifier: Apache-2.0
 * test_random_aot.c - random graphs as shared libraries, called through their C interface, against
 * the reference evaluator.
 *
 * LAP_GRAPHS sets how many (default 2000), LAP_SEED the first. Linking takes most of the time, so the work is
 * shared by LAP_WORKERS processes (default 2); a graph that fails or crashes is printed with its seed. */
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

static void *symbol(void *library, const char *name)
{
    void *s = dlsym(library, name);
    assert_non_null(s);
    return s;
}

static void run_library(lap_ctx *ctx, const lap_program *p, const char *path, const char *weights,
                        const lap_eval_io *inputs, const lap_eval_result *want, uint64_t seed)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    void *(*open)(const char *) = (void *(*)(const char *))symbol(library, "g_open");
    int (*run)(void *, const void *, void *) =
        (int (*)(void *, const void *, void *))symbol(library, "g_run");
    void (*close)(void *) = (void (*)(void *))symbol(library, "g_close");
    const char *(*error)(const void *) = (const char *(*)(const void *))symbol(library, "g_error");
    size_t n = 1;
    for (uint32_t i = 0; i < p->n_outputs; i++) {
        n += 1 + p->outputs[i].rank;
    }
    void **outputs = lap_arena_array(ctx->arena, n, sizeof *outputs);
    void *model = open(weights);
    if (!model || run(model, inputs_of(ctx, p, inputs), outputs) != 0) {
        fail_msg("seed %llu: %s", (unsigned long long)seed, error(model));
    }
    lap_eval_result got = results_of(ctx, p, outputs);
    const char *why;
    if (!test_results_close(ctx->arena, &got, want, &why)) {
        fail_msg("seed %llu: %s", (unsigned long long)seed, why);
    }
    close(model);
    dlclose(library);
}

static lap_graph *graph_of(lap_ctx *ctx, uint64_t seed)
{
    return test_random_graph(ctx, seed, 3 + (unsigned)(seed % 14));
}

static bool try_seed(uint64_t seed, const lap_machine *machine, const char *folder)
{
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *g = graph_of(ctx, seed);
    lap_eval_io inputs, weights;
    lap_eval_result want;
    lap_program *program;
    lap_fault fault = {0};
    bool is_valid = test_random_tensors(g, &inputs, &weights) && lap_eval(g, &inputs, &weights, &want);
    if (is_valid) {
        assert_true(lap_lower(g, lap_machine_target(machine), &(lap_pass_options){.verify = true}, &program));
        const char *path = lap_arena_printf(ctx->arena, "%s/w.safetensors", folder);
        lap_aot_level level = {program, machine};
        lap_aot_options options = {.name = "g",
                                   .kind = LAP_AOT_SHARED,
                                   .folder = folder,
                                   .n_levels = 1,
                                   .runtime = runtime_folder(ctx),
                                   .levels = &level};
        lap_aot_result made;
        if (!lap_safetensors_write(path, weights.n, weights.names, weights.tensors, NULL, &fault) ||
            !lap_aot_build(&options, &made, &fault)) {
            fail_msg("seed %llu: %s", (unsigned long long)seed, fault.text);
        }
        run_library(ctx, program, made.artefact, path, &inputs, &want, seed);
        unlink(made.artefact);
        unlink(made.header);
        unlink(path);
    }
    lap_ctx_free(ctx);
    return is_valid;
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
    for (uint64_t seed = first; seed < end; seed += step) {
        p->seed = seed;
        p->valid += try_seed(seed, machine, folder);
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
