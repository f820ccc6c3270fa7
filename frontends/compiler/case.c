/* SPDX-License-Identifier: Apache-2.0
 * case.c - one case file: load, run on an engine, compare. */
#include "frontends/compiler/case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/compiler/artefact.h"
#include "frontends/compiler/compare.h"

typedef struct trial {
    const lap_case_options *options;
    lap_session *session;
    lap_safetensors *file;
    const char *pattern, *params;
    lap_tolerance tolerance;
    lap_views inputs, weights, wants;
    lap_artefact *artefact;
    lap_case_report *report;
} trial;

static bool report(trial *t, lap_code code, const char *text)
{
    t->report->code = code;
    snprintf(t->report->text, sizeof t->report->text, "%s", text);
    return false;
}

static bool report_session(trial *t)
{
    return report(t, lap_session_code(t->session), lap_session_message(t->session));
}

static bool report_fault(trial *t, const lap_fault *fault)
{
    lap_session_fault(t->session, fault);
    return report_session(t);
}

static bool read_tolerance(trial *t, const char *key, double *out)
{
    const char *text = lap_safetensors_meta(t->file, key);
    if (text == NULL) {
        return report(t, LAP_BAD_INPUT,
                      lap_arena_printf(lap_session_ctx(t->session)->arena,
                                       "error: the case lacks the metadata '%s'", key));
    }
    char *end;
    *out = strtod(text, &end);
    if (end == text || *end != '\0' || !(*out >= 0.0) || !isfinite(*out)) {
        return report(t, LAP_BAD_INPUT,
                      lap_arena_printf(lap_session_ctx(t->session)->arena,
                                       "error: metadata '%s' is not a tolerance", key));
    }
    return true;
}

static bool read_case(trial *t, const char *path)
{
    lap_fault fault = {0};
    t->file = lap_safetensors_open(path, &fault);
    if (t->file == NULL) {
        return report_fault(t, &fault);
    }
    t->pattern = lap_safetensors_meta(t->file, "pattern");
    t->params = lap_safetensors_meta(t->file, "params");
    if (t->pattern == NULL) {
        return report(t, LAP_BAD_INPUT, "error: the case lacks the metadata 'pattern'");
    }
    /* Never a path: a case must not choose which file is run. */
    if (!lap_model_is_slug(t->pattern, strlen(t->pattern))) {
        return report(t, LAP_BAD_INPUT, "error: the case's metadata 'pattern' is not a slug");
    }
    lap_ctx *ctx = lap_session_ctx(t->session);
    lap_views_read(ctx, &t->inputs, t->file, "in.");
    lap_views_read(ctx, &t->weights, t->file, "w.");
    lap_views_read(ctx, &t->wants, t->file, "out.");
    if (t->wants.n == 0) {
        return report(t, LAP_BAD_INPUT, "error: the case expects no outputs");
    }
    return read_tolerance(t, "rtol", &t->tolerance.rtol) && read_tolerance(t, "atol", &t->tolerance.atol);
}

static bool load(trial *t)
{
    static const char *const none[] = {""};
    lap_load_options load = {
        .model = t->pattern,
        .params_json = t->params,
        .dtype = LAP_F32,
        .foreign = t->options->foreign,
        .plugin_path = t->options->plugin_path,
        .n_plugin_path = t->options->n_plugin_path,
        .n_inputs = t->inputs.n,
        .inputs = t->inputs.names,
        .n_weights = t->weights.n,
        .weights = t->weights.n > 0 ? t->weights.names : none,
    };
    return lap_session_load(t->session, &load) || report_session(t);
}

static bool run_here(trial *t, lap_tensors *inputs, lap_tensors *weights, lap_tensors *got)
{
    lap_compile_options compile = {.engine = t->options->engine,
                                   .cpu = t->options->cpu,
                                   .n_threads = t->options->n_threads,
                                   .schedule = t->options->schedule,
                                   .tuning = t->options->tuning};
    double start = lap_seconds();
    if (!lap_session_compile(t->session, &compile)) {
        return report_session(t);
    }
    t->report->compile_s = lap_seconds() - start;
    start = lap_seconds();
    if (!lap_session_bind(t->session, weights) || !lap_session_run(t->session, inputs, got)) {
        return report_session(t);
    }
    t->report->run_s = lap_seconds() - start;
    return true;
}

static bool run_artefact(trial *t, lap_tensors *inputs, lap_tensors *got)
{
    lap_fault fault = {0};
    double start = lap_seconds();
    lap_compile_options compile = {.engine = LAP_ENGINE_AOT,
                                   .cpu = t->options->cpu,
                                   .schedule = t->options->schedule,
                                   .tuning = t->options->tuning};
    if (!lap_session_lower(t->session, &compile)) {
        return report_session(t);
    }
    t->artefact = lap_artefact_build(t->session, &t->weights, t->options->interrupted, &fault);
    if (t->artefact == NULL) {
        return report_fault(t, &fault);
    }
    t->report->compile_s = lap_seconds() - start;
    start = lap_seconds();
    if (!lap_artefact_run(t->artefact, inputs, got, &fault)) {
        return report_fault(t, &fault);
    }
    t->report->run_s = lap_seconds() - start;
    return true;
}

static bool compare(trial *t, const lap_tensors *got)
{
    lap_ctx *ctx = lap_session_ctx(t->session);
    for (uint32_t i = 0; i < t->wants.n; i++) {
        const char *name = t->wants.names[i];
        const lap_tensor *result = lap_tensors_find(got, name);
        if (result == NULL) {
            return report(t, LAP_MISMATCH,
                          lap_arena_printf(ctx->arena, "the model gives no output '%s'", name));
        }
        lap_tensor want;
        lap_fault fault = {0};
        if (!lap_tensor_take(ctx, &t->wants.at[i], LAP_NO_DTYPE, name, &want, &fault)) {
            return report_fault(t, &fault);
        }
        const char *difference = lap_tensor_difference(ctx, name, result, &want, t->tolerance);
        if (difference != NULL) {
            return report(t, LAP_MISMATCH, difference);
        }
    }
    return true;
}

static bool run_case(trial *t, const char *path)
{
    lap_tensors inputs = {0}, weights = {0}, got = {0};
    if (!read_case(t, path) || !load(t)) {
        return false;
    }
    lap_fill_options fill = {.inputs = &t->inputs, .weights = &t->weights};
    if (!lap_session_fill(t->session, &fill, &inputs, &weights)) {
        return report_session(t);
    }
    bool ran = t->options->engine == LAP_ENGINE_AOT ? run_artefact(t, &inputs, &got)
                                                    : run_here(t, &inputs, &weights, &got);
    return ran && compare(t, &got);
}

bool lap_case_run(const char *path, const lap_case_options *options, lap_case_report *out)
{
    *out = (lap_case_report){0};
    trial t = {.options = options, .session = lap_session_new(), .report = out};
    if (t.session == NULL) {
        return report(&t, LAP_BAD_INPUT, "error: out of memory");
    }
    bool passed = run_case(&t, path);
    snprintf(out->warning, sizeof out->warning, "%s", lap_session_warning(t.session));
    lap_artefact_free(t.artefact);
    lap_session_free(t.session);
    lap_safetensors_close(t.file);
    return passed;
}
