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
    lap_fault_set(fault, LAP_NO_DEVICE, "this processor lacks %s", lap_cpu_text(lacking));
    return NULL;
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
    const lap_model_level *level = choose_level(fault);
    if (!level) {
        return false;
    }
    model->exec = lap_exec_open(level->image, (size_t)level->image_size, level->kernels, NULL, fault);
    if (!model->exec) {
        return false;
    }
    model->inputs = calloc(lap_exec_n_inputs(model->exec) + 1u, sizeof *model->inputs);
    model->outputs = calloc(lap_exec_n_outputs(model->exec) + 1u, sizeof *model->outputs);
    if (!model->inputs || !model->outputs) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    }
    return open_weights(model, weights_path, fault);
}

lap_model *lap_model_open(const char *weights_path)
{
    lap_fault fault = {0};
    lap_model *model = calloc(1, sizeof *model);
    bool ok = model ? open_parts(model, weights_path, &fault)
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

lap_exec *lap_model_exec(lap_model *model) { return model->exec; }
