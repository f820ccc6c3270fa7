/* SPDX-License-Identifier: Apache-2.0
 * artefact.c - builds the shared library of a model and calls it as a C program would. */
#include "frontends/compiler/artefact.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codegen/aot/aot.h"
#include "frontends/compiler/plugin_path.h"

#define NAME "model"

typedef struct api {
    void *(*open)(const char *weights_path);
    int (*run)(void *model, const void *inputs, void *outputs);
    void (*close)(void *model);
    const char *(*error)(const void *model);
} api;

struct lap_artefact {
    lap_session *session;
    char folder[LAP_AOT_PATH];
    lap_aot_result files;
    char weights[LAP_AOT_PATH + 32];
    void *library, *model;
    api api;
};

static bool find(lap_artefact *a, const char *name, void *out_function, lap_fault *fault)
{
    void *symbol = dlsym(a->library, name);
    if (symbol == NULL) {
        return lap_fault_set(fault, LAP_INTERNAL, "the library does not export %s", name);
    }
    memcpy(out_function, &symbol, sizeof symbol);
    return true;
}

static bool build(lap_artefact *a, const volatile sig_atomic_t *interrupted, lap_fault *fault)
{
    lap_ctx *ctx = lap_session_ctx(a->session);
    lap_aot_level level = {lap_session_program(a->session), lap_session_machine(a->session)};
    lap_aot_options options = {.name = NAME,
                               .kind = LAP_AOT_SHARED,
                               .folder = a->folder,
                               .runtime = lap_runtime_folder(ctx),
                               .n_levels = 1,
                               .levels = &level,
                               .interrupted = interrupted};
    return lap_aot_build(&options, &a->files, fault);
}

/* The weights as a checkpoint holds them: names, members of families, storage types. */
static bool write_weights(lap_artefact *a, const lap_views *weights, lap_fault *fault)
{
    lap_ctx *ctx = lap_session_ctx(a->session);
    lap_tensor *tensors = lap_arena_array(ctx->arena, weights->n + 1, sizeof *tensors);
    for (uint32_t i = 0; i < weights->n; i++) {
        if (!lap_tensor_take(ctx, &weights->at[i], LAP_NO_DTYPE, weights->names[i], &tensors[i], fault)) {
            return false;
        }
    }
    snprintf(a->weights, sizeof a->weights, "%s/weights.safetensors", a->folder);
    return lap_safetensors_write(a->weights, weights->n, weights->names, tensors, NULL, fault);
}

/* The model's message, "error: text" or "place: error: text", as a fault. */
static bool model_fault(lap_fault *fault, lap_code code, const char *message)
{
    const char *mark = strstr(message, "error: ");
    if (mark == NULL || mark == message) {
        return lap_fault_set(fault, code, "%s", mark != NULL ? mark + strlen("error: ") : message);
    }
    char place[sizeof fault->place];
    int n = (int)(mark - message) - (int)strlen(": ");
    snprintf(place, sizeof place, "%.*s", n > 0 ? n : 0, message);
    return lap_fault_at(fault, code, place, "%s", mark + strlen("error: "));
}

static bool load(lap_artefact *a, lap_fault *fault)
{
    a->library = dlopen(a->files.artefact, RTLD_NOW | RTLD_LOCAL);
    if (a->library == NULL) {
        return lap_fault_set(fault, LAP_INTERNAL, "cannot load the library: %s", dlerror());
    }
    if (!find(a, NAME "_open", &a->api.open, fault) || !find(a, NAME "_run", &a->api.run, fault) ||
        !find(a, NAME "_close", &a->api.close, fault) || !find(a, NAME "_error", &a->api.error, fault)) {
        return false;
    }
    a->model = a->api.open(a->weights);
    return a->model != NULL || model_fault(fault, LAP_BAD_INPUT, a->api.error(NULL));
}

/* The library and the weights are mapped by now: their names are not needed any more. */
static void remove_files(const lap_artefact *a)
{
    unlink(a->files.artefact);
    unlink(a->files.header);
    unlink(a->weights);
    rmdir(a->folder);
}

lap_artefact *lap_artefact_build(lap_session *s, const lap_views *weights,
                                 const volatile sig_atomic_t *interrupted, lap_fault *fault)
{
    lap_artefact *a = calloc(1, sizeof *a);
    if (a == NULL) {
        lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
        return NULL;
    }
    a->session = s;
    const char *temporary = getenv("TMPDIR");
    snprintf(a->folder, sizeof a->folder, "%.2048s/lappet-XXXXXX",
             temporary != NULL && *temporary != '\0' ? temporary : "/tmp");
    if (mkdtemp(a->folder) == NULL) {
        lap_fault_set(fault, LAP_BAD_INPUT, "cannot make a folder in '%s': %s", a->folder, strerror(errno));
        free(a);
        return NULL;
    }
    bool good = build(a, interrupted, fault) && write_weights(a, weights, fault) && load(a, fault);
    remove_files(a);
    if (!good) {
        lap_artefact_free(a);
        return NULL;
    }
    return a;
}

void lap_artefact_free(lap_artefact *a)
{
    if (a == NULL) {
        return;
    }
    if (a->model != NULL) {
        a->api.close(a->model);
    }
    if (a->library != NULL) {
        dlclose(a->library);
    }
    free(a);
}

/* ---- the structures of the header, field by field ------------------------------------------ */

static size_t n_fields(uint32_t n, const lap_leaf *leaves)
{
    size_t fields = 1;
    for (uint32_t i = 0; i < n; i++) {
        fields += 1u + leaves[i].rank;
    }
    return fields;
}

static bool pack_inputs(lap_artefact *a, const lap_tensors *inputs, int64_t *field, lap_fault *fault)
{
    const lap_program *p = lap_session_program(a->session);
    for (uint32_t i = 0; i < p->n_inputs; i++) {
        const lap_leaf *leaf = &p->inputs[i];
        const char *name = lap_text(p->ctx, leaf->name);
        const lap_tensor *t = lap_tensors_find(inputs, name);
        if (t != NULL && t->rank != leaf->rank) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "input '%s' has %u axes, expected %u", name, t->rank,
                                 leaf->rank);
        }
        *field++ = t != NULL ? (int64_t)(intptr_t)t->data : 0;
        for (uint32_t k = 0; k < leaf->rank; k++) {
            *field++ = t != NULL ? t->shape[k] : 0;
        }
    }
    return true;
}

static bool unpack_outputs(lap_artefact *a, const int64_t *field, lap_tensors *out, lap_fault *fault)
{
    const lap_program *p = lap_session_program(a->session);
    out->n = 0;
    for (uint32_t i = 0; i < p->n_outputs; i++) {
        const lap_leaf *leaf = &p->outputs[i];
        lap_tensor t = {.dtype = leaf->dtype, .rank = leaf->rank, .data = (void *)(intptr_t)*field++};
        for (uint32_t k = 0; k < leaf->rank; k++) {
            t.shape[k] = *field++;
        }
        size_t n;
        if (!lap_tensor_count(&t, &n) || !lap_dtype_bytes(t.dtype, n, &t.n_bytes)) {
            return lap_fault_set(fault, LAP_INTERNAL, "output %u has a bad shape", i);
        }
        lap_tensors_add(p->ctx, out, lap_text(p->ctx, leaf->name), &t);
    }
    return true;
}

bool lap_artefact_run(lap_artefact *a, const lap_tensors *inputs, lap_tensors *out, lap_fault *fault)
{
    const lap_program *p = lap_session_program(a->session);
    int64_t *in_fields = calloc(n_fields(p->n_inputs, p->inputs), sizeof *in_fields);
    int64_t *out_fields = calloc(n_fields(p->n_outputs, p->outputs), sizeof *out_fields);
    bool good = in_fields != NULL && out_fields != NULL;
    if (!good) {
        lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    }
    good = good && pack_inputs(a, inputs, in_fields, fault);
    if (good) {
        int code = a->api.run(a->model, in_fields, out_fields);
        good = code == 0 ? unpack_outputs(a, out_fields, out, fault)
                         : model_fault(fault, (lap_code)code, a->api.error(a->model));
    }
    free(in_fields);
    free(out_fields);
    return good;
}
