/* SPDX-License-Identifier: Apache-2.0
 * cmd_run.c - lappet run: compile in memory, run once, write or summarise the outputs. */
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frontends/cli/document.h"
#include "frontends/cli/setup.h"
#include "frontends/compiler/case.h"

/* Of the elements that are numbers. */
typedef struct summary {
    double least, most, mean;
    size_t n, n_nan;
} summary;

static summary summarise(const lap_tensor *t)
{
    summary s = {INFINITY, -INFINITY, 0.0, 0, 0};
    size_t count;
    if (!lap_tensor_count(t, &count)) {
        return s;
    }
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        double v = lap_tensor_get(t, i);
        if (isnan(v)) {
            s.n_nan++;
            continue;
        }
        s.n++;
        s.least = fmin(s.least, v);
        s.most = fmax(s.most, v);
        sum += v;
    }
    s.mean = s.n > 0 ? sum / (double)s.n : 0.0;
    return s;
}

static void print_outputs(lap_ctx *ctx, const lap_tensors *out)
{
    for (uint32_t i = 0; i < out->n; i++) {
        summary s = summarise(&out->at[i]);
        printf("%-16s %-24s", out->names[i], lap_tensor_show(ctx, &out->at[i]));
        if (s.n > 0) {
            /* Infinities of both signs have no mean, and the sign of a NaN says nothing. */
            printf(" mean %.6g, from %.6g to %.6g", isnan(s.mean) ? (double)NAN : s.mean, s.least, s.most);
        }
        if (s.n_nan > 0) {
            printf("%s%zu NaN", s.n > 0 ? ", " : " ", s.n_nan);
        }
        putchar('\n');
    }
}

static void add_number(cJSON *object, const char *key, double value)
{
    cJSON_AddItemToObject(object, key, isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull());
}

static void document_outputs(const lap_tensors *out, double compile_s, double run_s)
{
    cJSON *d = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(d, "outputs");
    for (uint32_t i = 0; i < out->n; i++) {
        summary s = summarise(&out->at[i]);
        cJSON *entry = cJSON_CreateObject();
        lap_document_text(entry, "name", out->names[i]);
        lap_document_text(entry, "dtype", lap_dtype_text(out->at[i].dtype));
        cJSON_AddItemToObject(entry, "shape", lap_document_shape(out->at[i].rank, out->at[i].shape));
        add_number(entry, "mean", s.n > 0 ? s.mean : (double)NAN);
        add_number(entry, "min", s.least);
        add_number(entry, "max", s.most);
        add_number(entry, "nan", (double)s.n_nan);
        cJSON_AddItemToArray(list, entry);
    }
    cJSON_AddNumberToObject(d, "compile_s", compile_s);
    cJSON_AddNumberToObject(d, "run_s", run_s);
    lap_document_print(d);
}

static bool is_npy(const char *path)
{
    size_t n = strlen(path);
    return n >= 4 && strcmp(path + n - 4, ".npy") == 0;
}

static lap_code write_outputs(lap_setup *s, const char *path, const lap_tensors *out)
{
    lap_fault fault = {0};
    if (is_npy(path) && out->n != 1) {
        lap_cli_error("the model has %u outputs, and %s holds one\nhint: write a .safetensors file", out->n,
                      path);
        return LAP_BAD_INPUT;
    }
    bool written = is_npy(path) ? lap_npy_write(path, &out->at[0], &fault)
                                : lap_safetensors_write(path, out->n, out->names, out->at, NULL, &fault);
    if (!written) {
        lap_session_fault(s->session, &fault);
        return lap_setup_failure(s);
    }
    return LAP_OK;
}

/* The outputs have just been written, so they are found there under whatever name. */
static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && S_ISREG(x.st_mode) && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

static lap_code write_files(lap_setup *s, const lap_case_tensors *all)
{
    const char *path = lap_args_get(s->args, LAP_OPT_OUTPUT, NULL);
    const char *kept = lap_args_get(s->args, LAP_OPT_CASE, NULL);
    lap_code code = path != NULL ? write_outputs(s, path, all->outputs) : LAP_OK;
    if (code != LAP_OK || kept == NULL) {
        return code;
    }
    if (path != NULL && is_same_file(path, kept)) {
        lap_cli_error("--case and --output name the same file, which holds the outputs now");
        return LAP_BAD_INPUT;
    }
    return lap_case_write(kept, s->session, &s->load, all) ? LAP_OK : lap_setup_failure(s);
}

static lap_code run(lap_setup *s)
{
    lap_tensors inputs = {0}, weights = {0}, out = {0};
    if (s->compile.engine == LAP_ENGINE_AOT) {
        lap_cli_error("'run' compiles in memory\nhint: use --target cpu, or 'lappet build'");
        return LAP_BAD_INPUT;
    }
    if (!lap_setup_load(s) || !lap_setup_fill(s, &inputs, &weights)) {
        return lap_session_code(s->session);
    }
    double start = lap_seconds();
    if (!lap_session_compile(s->session, &s->compile)) {
        return lap_setup_failure(s);
    }
    double compiled = lap_seconds();
    lap_setup_tuning_warn(s);
    if (!lap_session_bind(s->session, &weights) || !lap_session_run(s->session, &inputs, &out)) {
        return lap_setup_failure(s);
    }
    double done = lap_seconds();
    lap_code code = write_files(s, &(lap_case_tensors){&inputs, &weights, &out});
    double compile_s = lap_session_timing(s->session).load + compiled - start;
    if (code == LAP_OK && lap_args_has(s->args, LAP_OPT_JSON)) {
        document_outputs(&out, compile_s, done - compiled);
    } else if (code == LAP_OK && !lap_args_has(s->args, LAP_OPT_OUTPUT)) {
        print_outputs(lap_session_ctx(s->session), &out);
    }
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "compiled in %.3f s, ran in %.6f s\n", compile_s, done - compiled);
    }
    return code;
}

lap_code lap_cmd_run(const lap_args *args)
{
    lap_setup s;
    lap_code code = lap_setup_init(&s, args) ? run(&s) : LAP_BAD_INPUT;
    lap_setup_free(&s);
    return code;
}
