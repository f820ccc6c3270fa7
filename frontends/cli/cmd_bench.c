/* SPDX-License-Identifier: Apache-2.0
 * cmd_bench.c - lappet bench: how long a model takes, and how near that is to what the machine can do. */
#include <stdlib.h>
#include <time.h>

#include "codegen/llvm/measure.h"
#include "codegen/spirv/measure.h"
#include "frontends/cli/document.h"
#include "frontends/cli/kernels.h"
#include "frontends/cli/setup.h"
#include "frontends/compiler/case.h"
#include "passes/cost.h"

enum { MAX_RUNS = 100000, MIN_RUNS = 3 };

typedef struct figures {
    double compile_s, min, median, max;
    double
        processor; /* least processor time of a run, all threads together: busy machines change it little */
    uint32_t n_runs, threads;
    uint32_t n_kernels, n_tuned; /* with knobs; by tuning records */
    lap_cost cost;
    double gflops, peak_gflops;
    size_t workspace;
    lap_kernel_times kernels;
} figures;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Runs until the time is used up; the first run, which plans memory, does not count. */
static bool time_runs(lap_setup *s, const lap_tensors *inputs, double seconds, figures *f, lap_tensors *out)
{
    double *times = lap_arena_array(lap_session_ctx(s->session)->arena, MAX_RUNS, sizeof *times);
    if (!lap_session_run(s->session, inputs, out)) {
        return false;
    }
    double start = lap_seconds(), now = start;
    uint32_t n = 0;
    while (n < MAX_RUNS && (n < MIN_RUNS || now - start < seconds)) {
        double before = lap_seconds(), worked = processor_seconds();
        if (!lap_session_run(s->session, inputs, out)) {
            return false;
        }
        now = lap_seconds();
        times[n++] = now - before;
        worked = processor_seconds() - worked;
        f->processor = n == 1 || worked < f->processor ? worked : f->processor;
    }
    qsort(times, n, sizeof *times, by_value);
    f->n_runs = n;
    f->min = times[0];
    f->median = n % 2 != 0 ? times[n / 2] : 0.5 * (times[n / 2 - 1] + times[n / 2]);
    f->max = times[n - 1];
    return true;
}

/* Kernels that have knobs, and those of them that a tuning record is for. */
static void count_tuned(const lap_session *s, figures *f)
{
    uint32_t n = 0;
    const lap_lowering *l = lap_session_lowering(s);
    const lap_site *sites = l != NULL ? lap_sites_of(l, &n) : NULL;
    f->n_kernels = n;
    for (uint32_t i = 0; i < n; i++) {
        f->n_tuned += lap_session_record(s, &sites[i]) != NULL;
    }
}

static bool measure(lap_setup *s, figures *f)
{
    double seconds;
    lap_tensors inputs = {0}, weights = {0}, out = {0};
    if (!lap_args_number(s->args, LAP_OPT_SECONDS, 0.0, 3600.0, 1.0, &seconds) || !lap_setup_load(s) ||
        !lap_setup_fill(s, &inputs, &weights)) {
        return false;
    }
    lap_session *session = s->session;
    double start = lap_seconds();
    bool done = lap_session_compile(session, &s->compile);
    f->compile_s = lap_session_timing(session).load + lap_seconds() - start;
    bool with_kernels = lap_args_has(s->args, LAP_OPT_KERNELS);
    const char *kept = lap_args_get(s->args, LAP_OPT_CASE, NULL);
    lap_case_tensors all = {&inputs, &weights, &out};
    if (!done || !lap_session_bind(session, &weights) || !time_runs(s, &inputs, seconds, f, &out) ||
        (with_kernels && !lap_kernel_times_take(session, &inputs, seconds, &f->kernels)) ||
        (kept != NULL && !lap_case_write(kept, session, &s->load, &all))) {
        lap_setup_failure(s);
        return false;
    }
    lap_setup_tuning_warn(s);
    count_tuned(session, f);
    lap_sizes *sizes = lap_session_sizes(session);
    if (!lap_cost_of(lap_session_graph(session), lap_sizes_value, sizes, &f->cost)) {
        f->cost = (lap_cost){0};
    }
    f->gflops = f->cost.flops / f->median * 1e-9;
    f->threads = 1;
    lap_fault fault = {0};
    lap_vk *vk = lap_session_device(session);
    bool measured = false;
    if (s->compile.engine == LAP_ENGINE_CPU) {
        f->threads = lap_exec_threads(lap_session_exec(session));
        f->workspace = lap_exec_workspace(lap_session_exec(session));
        measured = lap_measure_peak(lap_session_machine(session),
                                    lap_program_computed_in(lap_session_program(session)), f->threads,
                                    &f->peak_gflops, &fault);
    } else if (vk != NULL) {
        f->workspace = lap_exec_workspace(lap_session_exec(session));
        measured = lap_vk_measure_peak(vk, &f->peak_gflops, &fault);
    }
    f->peak_gflops = measured ? f->peak_gflops : 0.0;
    return true;
}

static void document(const lap_setup *s, const figures *f)
{
    cJSON *d = cJSON_CreateObject();
    lap_document_text(d, "model", s->load.model);
    lap_document_text(d, "target", lap_engine_text(s->compile.engine));
    const lap_machine *machine = lap_session_machine(s->session);
    lap_document_text(d, "cpu", machine != NULL ? lap_machine_cpu(machine) : NULL);
    const lap_vk *vk = lap_session_device(s->session);
    if (vk != NULL) {
        lap_document_text(d, "device", lap_vk_info_of(vk)->name);
    }
    cJSON_AddNumberToObject(d, "threads", f->threads);
    cJSON_AddNumberToObject(d, "compile_s", f->compile_s);
    cJSON *run = cJSON_AddObjectToObject(d, "run_s");
    cJSON_AddNumberToObject(run, "min", f->min);
    cJSON_AddNumberToObject(run, "median", f->median);
    cJSON_AddNumberToObject(run, "max", f->max);
    cJSON_AddNumberToObject(d, "processor_s", f->processor);
    cJSON_AddNumberToObject(d, "runs", f->n_runs);
    cJSON_AddNumberToObject(d, "flops", f->cost.flops);
    cJSON_AddNumberToObject(d, "pattern_density", f->cost.density);
    cJSON_AddNumberToObject(d, "gflops", f->gflops);
    cJSON_AddNumberToObject(d, "peak_gflops", f->peak_gflops);
    cJSON_AddNumberToObject(d, "fraction_of_peak", f->peak_gflops > 0.0 ? f->gflops / f->peak_gflops : 0.0);
    cJSON_AddNumberToObject(d, "workspace_bytes", (double)f->workspace);
    cJSON_AddBoolToObject(d, "tuned", f->n_tuned > 0);
    cJSON_AddNumberToObject(d, "tuned_kernels", f->n_tuned);
    cJSON_AddNumberToObject(d, "tunable_kernels", f->n_kernels);
    cJSON *sizes = cJSON_AddObjectToObject(d, "dims");
    const lap_sizes *all = lap_session_sizes(s->session);
    for (uint32_t i = 0; i < all->n; i++) {
        cJSON_AddNumberToObject(sizes, lap_text(all->ctx, all->at[i].symbol), (double)all->at[i].value);
    }
    if (f->kernels.n > 0) {
        cJSON_AddItemToObject(d, "kernels", lap_kernel_times_document(s->session, &f->kernels));
    }
    lap_document_print(d);
}

static void print(const lap_setup *s, const figures *f)
{
    printf("%s on %s, %u thread%s\n", s->load.model, lap_engine_text(s->compile.engine), f->threads,
           f->threads == 1 ? "" : "s");
    printf("  compile    %.3f s\n", f->compile_s);
    printf("  run        %.6f s median of %u (%.6f to %.6f)\n", f->median, f->n_runs, f->min, f->max);
    printf("  work       %.4g flop, %.1f %% of all pairs\n", f->cost.flops, 100.0 * f->cost.density);
    printf("  speed      %.1f GFLOP/s", f->gflops);
    if (f->peak_gflops > 0.0) {
        printf(", %.1f %% of a peak of %.1f", 100.0 * f->gflops / f->peak_gflops, f->peak_gflops);
    }
    printf("\n  workspace  %zu bytes\n", f->workspace);
    if (f->n_kernels > 0) {
        printf("  schedules  %u of %u tuned\n", f->n_tuned, f->n_kernels);
    }
    if (f->kernels.n > 0) {
        lap_kernel_times_print(s->session, &f->kernels);
    }
}

lap_code lap_cmd_bench(const lap_args *args)
{
    lap_setup s;
    figures f = {0};
    lap_code code = LAP_BAD_INPUT;
    if (lap_setup_init(&s, args)) {
        s.load.for_bench = true;
        if (s.compile.engine == LAP_ENGINE_AOT) {
            lap_cli_error("'bench' compiles in memory\nhint: use --target cpu");
        } else if (s.compile.engine != LAP_ENGINE_CPU && lap_args_has(args, LAP_OPT_KERNELS)) {
            lap_cli_error("--kernels measures on this processor only\nhint: use --target cpu");
        } else if (measure(&s, &f)) {
            (lap_args_has(args, LAP_OPT_JSON) ? document : print)(&s, &f);
            code = LAP_OK;
        } else {
            code = lap_session_code(s.session) != LAP_OK ? lap_session_code(s.session) : LAP_BAD_INPUT;
        }
    }
    lap_setup_free(&s);
    return code;
}
