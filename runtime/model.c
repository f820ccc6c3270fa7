/* SPDX-License-Identifier: Apache-2.0
 * model.c - the C interface of an artefact over lap_exec. */
#include "runtime/model.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/cpu.h"
#include "runtime/version.h"

enum { MESSAGE = sizeof(lap_fault) + 16 };

struct lap_model {
    lap_exec *exec;
    struct lap_vk *vulkan; /* NULL: on the processor */
    const char *device;
    lap_safetensors *weights;
    lap_tensor *inputs, *outputs;
    lap_code code;
    char message[MESSAGE];
};

/* Why the last open of this thread failed: there is no model then that could hold it. */
static _Thread_local struct {
    lap_code code;
    char message[MESSAGE];
} opening;

/* ---- opening ------------------------------------------------------------------------------- */

static const lap_model_level *choose_level(lap_fault *fault)
{
    uint64_t features = lap_cpu_features(), lacking = 0;
    for (const lap_model_level *level = lap_model_levels; level->image; level++) {
        lacking = level->needs & ~features;
        if (lacking == 0) {
            return level;
        }
    }
    if (lacking == 0) {
        lap_fault_set(fault, LAP_NO_DEVICE, "the model has code for Vulkan devices alone");
    } else {
        lap_fault_set(fault, LAP_NO_DEVICE, "this processor lacks %s", lap_cpu_text(lacking));
    }
    return NULL;
}

static bool open_cpu(lap_model *model, const char *device, lap_fault *fault)
{
    (void)device;
    const lap_model_level *level = choose_level(fault);
    if (!level) {
        return false;
    }
    model->device = level->cpu;
    model->exec = lap_exec_open(level->image, (size_t)level->image_size, level->kernels, NULL, fault);
    return model->exec;
}

static void leave_device(lap_model *model)
{
    if (model->vulkan) {
        lap_model_devices->close(model->vulkan);
    }
    model->vulkan = NULL;
}

static bool open_vulkan(lap_model *model, const char *device, lap_fault *fault)
{
    if (!lap_model_devices) {
        return lap_fault_set(fault, LAP_NO_DEVICE, "the model has code for processors alone");
    }
    model->vulkan = lap_model_devices->open(device, fault);
    model->exec = model->vulkan ? lap_model_devices->bind(model->vulkan, fault) : NULL;
    if (!model->exec) {
        leave_device(model);
        return false;
    }
    model->device = lap_model_devices->name(model->vulkan);
    return true;
}

static const struct {
    const char *name;
    bool (*open)(lap_model *model, const char *device, lap_fault *fault);
} targets[] = {{"cpu", open_cpu}, {"vulkan", open_vulkan}};
enum { N_TARGETS = sizeof targets / sizeof targets[0] };

/* The target that the first n characters name, N_TARGETS: none. */
static int find_target(const char *text, size_t n)
{
    int i = 0;
    while (i < N_TARGETS && (strlen(targets[i].name) != n || memcmp(targets[i].name, text, n) != 0)) {
        i++;
    }
    return i;
}

static bool check_targets(const char *list, lap_fault *fault)
{
    for (const char *at = list;; at++) {
        size_t n = strcspn(at, ",");
        if (find_target(at, n) == N_TARGETS) {
            return lap_fault_set(fault, LAP_BAD_INPUT,
                                 "there is no target '%.*s'\nhint: targets are cpu, vulkan and 'vulkan,cpu'",
                                 n < 64 ? (int)n : 64, at);
        }
        at += n;
        if (*at == '\0') {
            return true;
        }
    }
}

/* Goes on to the next target of the list where one is not there, and for no other reason. Where none is,
 * the fault is that of the first. */
static bool open_first(lap_model *model, const char *list, const char *device, lap_fault *fault)
{
    lap_fault first = {0};
    if (!check_targets(list, fault)) {
        return false;
    }
    for (const char *at = list;; at++) {
        size_t n = strcspn(at, ",");
        if (targets[find_target(at, n)].open(model, device, fault)) {
            return true;
        }
        if (fault->code != LAP_NO_DEVICE) {
            return false;
        }
        first = at == list ? *fault : first;
        at += n;
        if (*at == '\0') {
            *fault = first;
            return false;
        }
    }
}

static bool open_exec(lap_model *model, const char *list, const char *device, lap_fault *fault)
{
    list = list ? list : getenv("LAPPET_TARGET");
    return open_first(model, list && *list ? list : lap_model_devices ? "vulkan" : "cpu", device, fault);
}

static bool open_weights(lap_model *model, const char *path, lap_fault *fault)
{
    if (path) {
        model->weights = lap_safetensors_open(path, fault);
    } else if (lap_model_weights_size > 0) {
        model->weights = lap_safetensors_parse(lap_model_weights, (size_t)lap_model_weights_size,
                                               "embedded weights", fault);
    } else {
        return lap_exec_n_weights(model->exec) == 0 ||
               lap_fault_set(fault, LAP_BAD_INPUT, "the model needs its weights: a safetensors file");
    }
    return model->weights && lap_exec_set_weights(model->exec, model->weights, fault);
}

static bool open_parts(lap_model *model, const char *weights_path, lap_fault *fault)
{
    model->inputs = calloc(lap_exec_n_inputs(model->exec) + 1u, sizeof *model->inputs);
    model->outputs = calloc(lap_exec_n_outputs(model->exec) + 1u, sizeof *model->outputs);
    if (!model->inputs || !model->outputs) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    }
    return open_weights(model, weights_path, fault);
}

lap_model *lap_model_open(const char *weights_path) { return lap_model_open_on(weights_path, NULL, NULL); }

lap_model *lap_model_open_on(const char *weights_path, const char *list, const char *device)
{
    lap_fault fault = {0};
    lap_model *model = calloc(1, sizeof *model);
    bool ok = model ? open_exec(model, list, device, &fault) && open_parts(model, weights_path, &fault)
                    : lap_fault_set(&fault, LAP_BAD_INPUT, "out of memory");
    opening.code = fault.code;
    opening.message[0] = '\0';
    if (!ok) {
        lap_fault_show(&fault, opening.message, sizeof opening.message);
        lap_model_close(model);
        return NULL;
    }
    return model;
}

void lap_model_close(lap_model *model)
{
    if (!model) {
        return;
    }
    lap_exec_close(model->exec);
    leave_device(model);
    lap_safetensors_close(model->weights);
    free(model->inputs);
    free(model->outputs);
    free(model);
}

/* ---- a run --------------------------------------------------------------------------------- */

static void *pointer_at(const char *field)
{
    void *pointer;
    memcpy(&pointer, field, sizeof pointer);
    return pointer;
}

/* Reads inputs from the caller's structure. Sizes that cannot be are left to the run to refuse. */
static void read_inputs(lap_model *model, const char *field)
{
    for (uint32_t i = 0; i < lap_exec_n_inputs(model->exec); i++) {
        uint32_t rank = lap_exec_rank(model->exec, LAP_LEAF_INPUT, i);
        lap_tensor t = {.dtype = lap_exec_dtype(model->exec, LAP_LEAF_INPUT, i), .data = pointer_at(field)};
        bool is_absent = !t.data && lap_exec_is_optional(model->exec, i);
        t.rank = is_absent ? 0 : rank;
        memcpy(t.shape, field + sizeof t.data, t.rank * sizeof *t.shape);
        size_t count;
        if (!lap_tensor_count(&t, &count) || !lap_dtype_bytes(t.dtype, count, &t.n_bytes)) {
            t.n_bytes = 0;
        }
        model->inputs[i] = t;
        field += sizeof t.data + rank * sizeof *t.shape;
    }
}

static void read_outputs(lap_model *model, const char *field)
{
    for (uint32_t i = 0; i < lap_exec_n_outputs(model->exec); i++) {
        uint32_t rank = lap_exec_rank(model->exec, LAP_LEAF_OUTPUT, i);
        model->outputs[i] = (lap_tensor){.data = pointer_at(field), .n_bytes = (size_t)PTRDIFF_MAX};
        field += sizeof(void *) + rank * sizeof(int64_t);
    }
}

static void write_outputs(const lap_model *model, char *field)
{
    for (uint32_t i = 0; i < lap_exec_n_outputs(model->exec); i++) {
        const lap_tensor *t = &model->outputs[i];
        memcpy(field, &t->data, sizeof t->data);
        memcpy(field + sizeof t->data, t->shape, t->rank * sizeof *t->shape);
        field += sizeof t->data + t->rank * sizeof *t->shape;
    }
}

static int settle(lap_model *model, bool ok, const lap_fault *fault)
{
    model->code = ok ? LAP_OK : fault->code;
    model->message[0] = '\0';
    if (!ok) {
        lap_fault_show(fault, model->message, sizeof model->message);
    }
    return (int)model->code;
}

int lap_model_run(lap_model *model, const void *inputs, void *outputs)
{
    lap_fault fault = {0};
    if (!model) {
        return LAP_BAD_INPUT;
    }
    if ((!inputs && lap_exec_n_inputs(model->exec) > 0) ||
        (!outputs && lap_exec_n_outputs(model->exec) > 0)) {
        return settle(model, lap_fault_set(&fault, LAP_BAD_INPUT, "inputs or outputs are NULL"), &fault);
    }
    read_inputs(model, inputs);
    read_outputs(model, outputs);
    bool ok = lap_exec_run(model->exec, model->inputs, model->outputs, &fault);
    if (ok) {
        write_outputs(model, outputs);
    }
    return settle(model, ok, &fault);
}

const char *lap_model_error(const lap_model *model) { return model ? model->message : opening.message; }

lap_code lap_model_code(const lap_model *model) { return model ? model->code : opening.code; }

void lap_model_threads(lap_model *model, uint32_t n)
{
    lap_fault fault = {0};
    if (model) {
        settle(model, lap_exec_set_threads(model->exec, n, &fault), &fault);
    }
}

int lap_model_version(void) { return LAP_API_VERSION; }

const char *lap_model_device(const lap_model *model) { return model ? model->device : ""; }

lap_exec *lap_model_exec(lap_model *model) { return model->exec; }
