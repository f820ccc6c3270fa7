/* SPDX-License-Identifier: Apache-2.0
 * case.h - runs case files: inputs, weights and expected outputs of a pattern in one safetensors file.
 *
 * Tensors `in.<name>`, `w.<name>`, `out.<name>`; metadata `pattern` (slug), `params` (JSON object),
 * `rtol`, `atol`. Outputs beyond those expected are ignored. */
#ifndef LAP_FRONTENDS_COMPILER_CASE_H
#define LAP_FRONTENDS_COMPILER_CASE_H

#include <signal.h>

#include "frontends/compiler/session.h"

typedef struct lap_case_options {
    lap_engine engine;
    const char *const *plugin_path;
    uint32_t n_plugin_path;
    const char *cpu; /* NULL: this machine */
    uint32_t n_threads;
    const char *schedule;     /* as of lap_compile_options */
    const lap_tuning *tuning; /* schedules of single kernels, or NULL */
    const volatile sig_atomic_t *interrupted; /* becomes 1 when the run is to stop, or NULL */
    const lap_foreign_table *foreign;         /* or NULL */
} lap_case_options;

typedef struct lap_case_report {
    lap_code code;   /* OK passed; MISMATCH another result; BAD_INPUT the case or what it asks for; ... */
    char text[2048]; /* why not, or "" */
    double compile_s, run_s;
    char warning[512]; /* about tuning records, or "" */
} lap_case_report;

/* True when the case passed. */
bool lap_case_run(const char *path, const lap_case_options *options, lap_case_report *out);

typedef struct lap_case_tensors {
    const lap_tensors *inputs, *weights, *outputs;
} lap_case_tensors;

/* Writes what a session was given and gave as a case of the model `load` names. */
LAP_MUST_CHECK bool lap_case_write(const char *path, lap_session *s, const lap_load_options *load,
                                   const lap_case_tensors *t);

#endif
