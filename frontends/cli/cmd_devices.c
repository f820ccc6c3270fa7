/* SPDX-License-Identifier: Apache-2.0
 * cmd_devices.c - lappet devices: what models can run on here. */
#include <sched.h>

#include "codegen/llvm/measure.h"
#include "frontends/cli/document.h"
#include "frontends/cli/setup.h"
#include "runtime/cpu.h"

typedef struct device {
    lap_machine *machine;
    uint32_t threads;
    bool is_measured;
    double peak_f32, peak_bf16, bandwidth; /* GFLOP/s, GB/s; 0 where there is none */
} device;

static uint32_t n_processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
}

static void measure(device *d)
{
    lap_fault fault = {0};
    d->is_measured = true;
    if (!lap_measure_peak(d->machine, LAP_F32, d->threads, &d->peak_f32, &fault)) {
        d->peak_f32 = 0.0;
    }
    if (!lap_measure_peak(d->machine, LAP_BF16, d->threads, &d->peak_bf16, &fault)) {
        d->peak_bf16 = 0.0;
    }
    if (!lap_measure_bandwidth(d->threads, &d->bandwidth, &fault)) {
        d->bandwidth = 0.0;
    }
}

static void print(const device *d)
{
    const lap_target *t = lap_machine_target(d->machine);
    printf("cpu     %s (%s), %s\n", lap_machine_cpu(d->machine), t->name, lap_machine_triple(d->machine));
    printf("        %u thread%s, vectors of %u f32, %u registers, caches %u / %u / %u KiB\n", d->threads,
           d->threads == 1 ? "" : "s", t->vector_f32, t->n_registers, t->l1_bytes >> 10, t->l2_bytes >> 10,
           t->l3_bytes >> 10);
    printf("        features:");
    for (uint64_t bits = lap_cpu_features(); bits != 0; bits &= bits - 1) {
        printf(" %s", lap_cpu_text(bits));
    }
    putchar('\n');
    if (d->is_measured) {
        printf("        peak %.1f GFLOP/s f32", d->peak_f32);
        if (d->peak_bf16 > 0.0) {
            printf(", %.1f GFLOP/s bf16", d->peak_bf16);
        }
        printf("; memory %.1f GB/s\n", d->bandwidth);
    }
    printf("aot     shared, static, object and exe for this processor and others\n");
    printf("ref     the reference evaluator: slow, in double precision\n");
}

static void document(const device *d)
{
    const lap_target *t = lap_machine_target(d->machine);
    cJSON *list = cJSON_CreateArray(), *cpu = cJSON_CreateObject();
    cJSON_AddItemToArray(list, cpu);
    lap_document_text(cpu, "target", "cpu");
    lap_document_text(cpu, "name", lap_machine_cpu(d->machine));
    lap_document_text(cpu, "level", t->name);
    lap_document_text(cpu, "triple", lap_machine_triple(d->machine));
    cJSON_AddNumberToObject(cpu, "threads", d->threads);
    cJSON_AddNumberToObject(cpu, "vector_f32", t->vector_f32);
    cJSON_AddNumberToObject(cpu, "l1_bytes", t->l1_bytes);
    cJSON_AddNumberToObject(cpu, "l2_bytes", t->l2_bytes);
    cJSON_AddNumberToObject(cpu, "l3_bytes", t->l3_bytes);
    cJSON *features = cJSON_AddArrayToObject(cpu, "features");
    for (uint64_t bits = lap_cpu_features(); bits != 0; bits &= bits - 1) {
        cJSON_AddItemToArray(features, cJSON_CreateString(lap_cpu_text(bits)));
    }
    if (d->is_measured) {
        cJSON_AddNumberToObject(cpu, "peak_gflops_f32", d->peak_f32);
        cJSON_AddNumberToObject(cpu, "peak_gflops_bf16", d->peak_bf16);
        cJSON_AddNumberToObject(cpu, "bandwidth_gbytes", d->bandwidth);
    }
    cJSON *ref = cJSON_CreateObject();
    lap_document_text(ref, "target", "ref");
    cJSON_AddItemToArray(list, ref);
    lap_document_print(list);
}

lap_code lap_cmd_devices(const lap_args *args)
{
    device d = {0};
    int64_t threads;
    lap_fault fault = {0};
    if (!lap_args_int(args, LAP_OPT_THREADS, 1, 4096, n_processors(), &threads)) {
        return LAP_BAD_INPUT;
    }
    d.threads = (uint32_t)threads;
    d.machine = lap_machine_new(NULL, NULL, &fault);
    if (d.machine == NULL) {
        lap_cli_error("%s", fault.text);
        return fault.code;
    }
    if (lap_args_has(args, LAP_OPT_MEASURE)) {
        measure(&d);
    }
    (lap_args_has(args, LAP_OPT_JSON) ? document : print)(&d);
    lap_machine_free(d.machine);
    return LAP_OK;
}
