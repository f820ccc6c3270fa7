/* SPDX-License-Identifier: Apache-2.0
 * main.c - the executable kind of artefact: tensors from files in, a safetensors file out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/file_signals.h"
#include "runtime/model.h"
#include "runtime/npy.h"

typedef struct option_list {
    int n;
    const char **at;
} option_list;

/* What the command line asks for. `in` holds NAME=FILE texts. */
typedef struct request {
    const char *program, *weights, *out, *targets, *device;
    uint32_t n_threads;
    option_list in;
    bool help;
} request;

/* Files that hold inputs stay open until the end of the run. */
typedef struct job {
    lap_exec *exec;
    lap_tensor *inputs, *outputs;
    const char **names;
    lap_npy **npys;
    lap_safetensors **tensors;
} job;

static int complain(const lap_fault *fault)
{
    char text[sizeof(lap_fault) + 16];
    fprintf(stderr, "%s\n", lap_fault_show(fault, text, sizeof text));
    return (int)fault->code;
}

static void print_tensors(lap_exec *exec, unsigned kind, uint32_t n, const char *title)
{
    for (uint32_t i = 0; i < n; i++) {
        printf("%s %s: %s, %u axes\n", title, lap_exec_name(exec, kind, i),
               lap_dtype_text(lap_exec_dtype(exec, kind, i)), lap_exec_rank(exec, kind, i));
    }
}

static void print_usage(const char *program)
{
    printf("usage: %s [--weights F.safetensors] [--threads N] [--target LIST] [--device NAME] --in "
           "NAME=F.npy ... "
           "-o OUT.safetensors\n"
           "       an input may also be NAME=F.safetensors:TENSOR\n"
           "       LIST: cpu, vulkan, or vulkan,cpu to take the processor where there is no device\n"
           "       (LAPPET_TARGET); NAME: a Vulkan device's number or a part of its name (LAPPET_DEVICE)\n",
           program);
}

/* ---- the command line ---------------------------------------------------------------------- */

static bool take_count(const char *text, uint32_t *out, lap_fault *fault)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || value > 1024) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "--threads must be a number from 0 to 1024");
    }
    *out = (uint32_t)value;
    return true;
}

static bool take_option(request *r, const char *option, const char *value, lap_fault *fault)
{
    if (strcmp(option, "--in") == 0) {
        r->in.at[r->in.n++] = value;
        return strchr(value, '=') ||
               lap_fault_set(fault, LAP_BAD_INPUT, "--in must be NAME=FILE, not '%s'", value);
    }
    if (strcmp(option, "--weights") == 0) {
        r->weights = value;
        return true;
    }
    if (strcmp(option, "-o") == 0) {
        r->out = value;
        return true;
    }
    if (strcmp(option, "--target") == 0) {
        r->targets = value;
        return true;
    }
    if (strcmp(option, "--device") == 0) {
        r->device = value;
        return true;
    }
    return take_count(value, &r->n_threads, fault);
}

static bool parse_arguments(int argc, char **argv, request *r, lap_fault *fault)
{
    static const char *const options[] = {"--in", "--weights", "-o", "--threads", "--target", "--device"};
    for (int i = 1; i < argc; i++) {
        bool known = false;
        if (strcmp(argv[i], "--help") == 0) {
            r->help = true;
            return true;
        }
        for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
            known |= strcmp(argv[i], options[k]) == 0;
        }
        if (!known) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "unknown argument '%s'; --help lists what there is",
                                 argv[i]);
        }
        if (i + 1 == argc) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "%s needs a value", argv[i]);
        }
        if (!take_option(r, argv[i], argv[i + 1], fault)) {
            return false;
        }
        i++;
    }
    return r->out || lap_fault_set(fault, LAP_BAD_INPUT, "-o OUT.safetensors is missing");
}

/* ---- inputs and outputs -------------------------------------------------------------------- */

/* Number of the input that NAME=... names. */
static bool find_input(const job *j, const char *text, uint32_t *out, lap_fault *fault)
{
    size_t n = (size_t)(strchr(text, '=') - text);
    for (uint32_t i = 0; i < lap_exec_n_inputs(j->exec); i++) {
        const char *name = lap_exec_name(j->exec, LAP_LEAF_INPUT, i);
        if (strlen(name) == n && memcmp(name, text, n) == 0) {
            *out = i;
            return true;
        }
    }
    return lap_fault_set(fault, LAP_BAD_INPUT, "the model has no input '%.*s'", (int)n, text);
}

static bool read_from_safetensors(job *j, uint32_t i, const char *path, const char *tensor, lap_fault *fault)
{
    j->tensors[i] = lap_safetensors_open(path, fault);
    if (!j->tensors[i]) {
        return false;
    }
    for (uint32_t k = 0; k < lap_safetensors_n(j->tensors[i]); k++) {
        if (strcmp(lap_safetensors_name(j->tensors[i], k), tensor) == 0) {
            return lap_safetensors_read(j->tensors[i], k, lap_exec_dtype(j->exec, LAP_LEAF_INPUT, i),
                                        &j->inputs[i], fault);
        }
    }
    return lap_fault_set(fault, LAP_BAD_INPUT, "'%s' has no tensor '%s'", path, tensor);
}

static bool read_input(job *j, uint32_t i, const char *file, lap_fault *fault)
{
    static const char mark[] = ".safetensors:";
    const char *found = strstr(file, mark);
    if (found) {
        char *path = strndup(file, (size_t)(found - file) + sizeof mark - 2);
        bool ok = path ? read_from_safetensors(j, i, path, found + sizeof mark - 1, fault)
                       : lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
        free(path);
        return ok;
    }
    j->npys[i] = lap_npy_open(file, fault);
    return j->npys[i] &&
           lap_npy_read(j->npys[i], lap_exec_dtype(j->exec, LAP_LEAF_INPUT, i), &j->inputs[i], fault);
}

static bool read_inputs(job *j, const request *r, lap_fault *fault)
{
    for (int k = 0; k < r->in.n; k++) {
        uint32_t i = 0;
        if (!find_input(j, r->in.at[k], &i, fault)) {
            return false;
        }
        if (j->npys[i] || j->tensors[i]) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "input '%s' is given twice",
                                 lap_exec_name(j->exec, LAP_LEAF_INPUT, i));
        }
        if (!read_input(j, i, strchr(r->in.at[k], '=') + 1, fault)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < lap_exec_n_inputs(j->exec); i++) {
        if (!j->npys[i] && !j->tensors[i] && !lap_exec_is_optional(j->exec, i)) {
            const char *name = lap_exec_name(j->exec, LAP_LEAF_INPUT, i);
            return lap_fault_set(fault, LAP_BAD_INPUT, "input '%s' is missing; give --in %s=F.npy", name,
                                 name);
        }
    }
    return true;
}

static bool run_job(job *j, const request *r, lap_fault *fault)
{
    uint32_t n_out = lap_exec_n_outputs(j->exec);
    for (uint32_t i = 0; i < n_out; i++) {
        j->names[i] = lap_exec_name(j->exec, LAP_LEAF_OUTPUT, i);
    }
    return read_inputs(j, r, fault) &&
           (r->n_threads == 0 || lap_exec_set_threads(j->exec, r->n_threads, fault)) &&
           lap_exec_run(j->exec, j->inputs, j->outputs, fault) &&
           lap_safetensors_write(r->out, n_out, j->names, j->outputs, NULL, fault);
}

static bool run_model(lap_model *model, const request *r, lap_fault *fault)
{
    job j = {.exec = lap_model_exec(model)};
    uint32_t n_in = lap_exec_n_inputs(j.exec), n_out = lap_exec_n_outputs(j.exec);
    j.inputs = calloc(n_in + 1u, sizeof *j.inputs);
    j.outputs = calloc(n_out + 1u, sizeof *j.outputs);
    j.names = calloc(n_out + 1u, sizeof(const char *));
    j.npys = calloc(n_in + 1u, sizeof(lap_npy *));
    j.tensors = calloc(n_in + 1u, sizeof(lap_safetensors *));
    bool ok = j.inputs && j.outputs && j.names && j.npys && j.tensors;
    ok = ok ? run_job(&j, r, fault) : lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    for (uint32_t i = 0; i < n_in && j.npys && j.tensors; i++) {
        lap_npy_close(j.npys[i]);
        lap_safetensors_close(j.tensors[i]);
    }
    free(j.inputs);
    free(j.outputs);
    free(j.names);
    free(j.npys);
    free(j.tensors);
    return ok;
}

static int run_request(const request *r)
{
    lap_fault fault = {0};
    lap_model *model = lap_model_open_on(r->weights, r->targets, r->device);
    if (!model) {
        fprintf(stderr, "%s\n", lap_model_error(NULL));
        return (int)lap_model_code(NULL);
    }
    bool ok = run_model(model, r, &fault);
    lap_model_close(model);
    return ok ? 0 : complain(&fault);
}

/* Usage, and the tensors where the model can be opened without a weights file. */
static int help(const request *r)
{
    print_usage(r->program);
    lap_model *model = lap_model_open_on(r->weights, r->targets, r->device);
    if (model) {
        lap_exec *exec = lap_model_exec(model);
        print_tensors(exec, LAP_LEAF_INPUT, lap_exec_n_inputs(exec), "input");
        print_tensors(exec, LAP_LEAF_WEIGHT, lap_exec_n_weights(exec), "weight");
        print_tensors(exec, LAP_LEAF_OUTPUT, lap_exec_n_outputs(exec), "output");
        lap_model_close(model);
    }
    return 0;
}

int main(int argc, char **argv)
{
    lap_file_signals_catch();
    lap_fault fault = {0};
    request r = {.program = argc > 0 ? argv[0] : "model"};
    r.in.at = calloc((size_t)argc + 1, sizeof(const char *));
    if (!r.in.at) {
        lap_fault_set(&fault, LAP_BAD_INPUT, "out of memory");
        return complain(&fault);
    }
    bool ok = parse_arguments(argc, argv, &r, &fault);
    int code = !ok ? complain(&fault) : r.help ? help(&r) : run_request(&r);
    free(r.in.at);
    return code;
}
