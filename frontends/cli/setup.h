/* SPDX-License-Identifier: Apache-2.0
 * setup.h - from options to a session: parameters, files, sizes. */
#ifndef LAP_FRONTENDS_CLI_SETUP_H
#define LAP_FRONTENDS_CLI_SETUP_H

#include "frontends/cli/args.h"
#include "frontends/compiler/foreign_library.h"
#include "frontends/compiler/session.h"
#include "runtime/npy.h"

typedef struct lap_setup {
    const lap_args *args;
    lap_session *session;
    uint32_t n_files, n_arrays;
    lap_safetensors **files; /* open until free: views point into them */
    lap_npy **arrays;
    lap_views inputs, weights;
    lap_foreign_libraries foreign;
    bool has_weights;
    lap_load_options load;
    lap_compile_options compile;
    lap_tuning tuning;
    int64_t seed;
    uint32_t n_dims;
    const char **dim_names;
    int64_t *dims;
} lap_setup;

/* Reads the options that the command has. False after saying what was wrong; setup_free either way. */
bool lap_setup_init(lap_setup *s, const lap_args *args);
void lap_setup_free(lap_setup *s);
/* Prints what the session warns of. */
void lap_setup_warn(lap_setup *s);
/* Loads the model and makes its graph. Prints warnings, and what was wrong. */
bool lap_setup_load(lap_setup *s);
/* Tensors given and made up. */
bool lap_setup_fill(lap_setup *s, lap_tensors *inputs, lap_tensors *weights);
/* Says what was wrong with tuning records, once the session has looked at them. */
void lap_setup_tuning_warn(const lap_setup *s);
/* Prints the session's message; its exit code. */
lap_code lap_setup_failure(lap_setup *s);

/* Prints "file:line: error: .." as it is, and "error: .." as "lappet: error: ..". */
void lap_cli_message(const char *message);

#endif
