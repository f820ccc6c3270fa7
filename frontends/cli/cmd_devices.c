/* SPDX-License-Identifier: Apache-2.0
 * cmd_devices.c - lappet devices: what models can run on here. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/llvm/measure.h"
#include "codegen/spirv/measure.h"
#include "frontends/cli/document.h"
#include "frontends/cli/setup.h"
#include "runtime/cpu.h"

typedef struct device {
    lap_machine *machine;
    uint32_t threads;
    bool is_measured;
    double peak_f32, peak_bf16, bandwidth; /* GFLOP/s, GB/s; 0 where there is none */
    lap_vk_info *vulkan;
    uint32_t n_vulkan;
    double *rates;          /* by Vulkan device: GFLOP/s, GB/s */
    lap_fault vulkan_fault; /* why there is none, or why one was not measured */
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

static void find_vulkan(device *d)
{
    if (!lap_vk_list(&d->vulkan, &d->n_vulkan, &d->vulkan_fault)) {
        d->n_vulkan = 0;
        return;
    }
    d->rates = calloc(d->n_vulkan, 2 * sizeof *d->rates);
    for (uint32_t i = 0; d->is_measured && d->rates && i < d->n_vulkan; i++) {
        char number[16];
        snprintf(number, sizeof number, "%u", i);
        lap_vk *vk = d->vulkan[i].lacks[0] == '\0' ? lap_vk_open(number, &d->vulkan_fault) : NULL;
        if (vk && !(lap_vk_measure_peak(vk, &d->rates[2 * i], &d->vulkan_fault) &&
                    lap_vk_measure_bandwidth(vk, &d->rates[2 * i + 1], &d->vulkan_fault))) {
            d->rates[2 * i] = 0.0;
        }
        lap_vk_close(vk);
    }
}

static const char *kind_text(lap_vk_kind kind)
{
    static const char *const texts[] = {"other", "integrated", "discrete", "virtual", "software"};
    return texts[kind];
}

/* Names of the features, each as lap_vk_need has it, up to the bracket. */
static void show_features(uint32_t has, void (*show)(void *user, const char *name), void *user)
{
    static const char *const texts[] = {
#define LAP_VK_ROW(enum_, text) text,
        LAP_VK_NEEDS(LAP_VK_ROW)
#undef LAP_VK_ROW
    };
    for (int i = 0; i < LAP_N_VK_NEEDS; i++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(texts[i], "("), texts[i]);
        name[strlen(name) - 1] = '\0';
        if ((has >> i & 1) != 0) {
            show(user, name);
        }
    }
}

static void print_feature(void *user, const char *name)
{
    bool *is_first = user;
    printf("%s %s", *is_first ? "" : ",", name);
    *is_first = false;
}

static void print_vulkan(const device *d)
{
    for (uint32_t i = 0; i < d->n_vulkan; i++) {
        const lap_vk_info *v = &d->vulkan[i];
        bool is_first = true;
        printf("vulkan  %u: %s, %s; Vulkan %u.%u, %s\n", i, v->name, kind_text(v->kind), v->version >> 22,
               v->version >> 12 & 1023, v->driver);
        if (v->lacks[0] != '\0') {
            printf("        no programs: it lacks %s\n", v->lacks);
            continue;
        }
        printf("        subgroups of %u, workgroups of %u, %u KiB shared, %u buffers of %llu MiB, memory "
               "%llu MiB\n",
               v->subgroup_size, v->group_size, v->shared_bytes >> 10, v->storage_buffers,
               (unsigned long long)(v->buffer_bytes >> 20), (unsigned long long)(v->memory_bytes >> 20));
        printf("        features:");
        show_features(v->has, print_feature, &is_first);
        putchar('\n');
        if (d->rates && d->rates[2 * i] > 0.0) {
            printf("        multiply-adds %.1f GFLOP/s f32; copies %.1f GB/s\n", d->rates[2 * i],
                   d->rates[2 * i + 1]);
        } else if (d->is_measured) {
            printf("        not measured: %s\n", d->vulkan_fault.text);
        }
    }
    if (d->n_vulkan == 0) {
        printf("vulkan  none: %s\n", d->vulkan_fault.text);
    }
}

static void document_feature(void *user, const char *name)
{
    cJSON_AddItemToArray(user, cJSON_CreateString(name));
}

static void document_vulkan(const device *d, cJSON *list)
{
    for (uint32_t i = 0; i < d->n_vulkan; i++) {
        const lap_vk_info *v = &d->vulkan[i];
        cJSON *one = cJSON_CreateObject();
        cJSON_AddItemToArray(list, one);
        lap_document_text(one, "target", "vulkan");
        cJSON_AddNumberToObject(one, "number", i);
        lap_document_text(one, "name", v->name);
        lap_document_text(one, "kind", kind_text(v->kind));
        lap_document_text(one, "driver", v->driver);
        lap_document_text(one, "lacks", v->lacks);
        cJSON_AddNumberToObject(one, "subgroup_size", v->subgroup_size);
        cJSON_AddNumberToObject(one, "group_size", v->group_size);
        cJSON_AddNumberToObject(one, "shared_bytes", v->shared_bytes);
        cJSON_AddNumberToObject(one, "storage_buffers", v->storage_buffers);
        cJSON_AddNumberToObject(one, "buffer_bytes", (double)v->buffer_bytes);
        cJSON_AddNumberToObject(one, "memory_bytes", (double)v->memory_bytes);
        show_features(v->has, document_feature, cJSON_AddArrayToObject(one, "features"));
        if (d->rates && d->rates[2 * i] > 0.0) {
            cJSON_AddNumberToObject(one, "peak_gflops_f32", d->rates[2 * i]);
            cJSON_AddNumberToObject(one, "bandwidth_gbytes", d->rates[2 * i + 1]);
        }
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
    print_vulkan(d);
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
    document_vulkan(d, list);
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
    find_vulkan(&d);
    (lap_args_has(args, LAP_OPT_JSON) ? document : print)(&d);
    lap_machine_free(d.machine);
    free(d.vulkan);
    free(d.rates);
    return LAP_OK;
}
