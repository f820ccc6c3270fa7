/* SPDX-License-Identifier: Apache-2.0
 * session_state.h - what a session holds; shared by the files that make it up.
 *
 * session.c loads, compiles and runs; session_fill.c makes tensors. */
#ifndef LAP_FRONTENDS_COMPILER_SESSION_STATE_H
#define LAP_FRONTENDS_COMPILER_SESSION_STATE_H

#include <setjmp.h>

#include "frontends/compiler/session.h"

struct lap_session {
    lap_ctx *ctx;
    jmp_buf on_oom;
    bool is_guarded; /* a step is running: on_oom is where to go */
    lap_code code;
    const char *message;
    lap_model *model;
    lap_load_options load;
    lap_graph *graph;
    lap_leaves leaves;
    lap_sizes sizes;
    lap_engine engine;
    lap_machine *machine;
    lap_vk *vk;
    const lap_target *target; /* of the machine, or of the device */
    lap_program *program;
    lap_lowering *lowering;
    lap_records records;
    char tuned_for[LAP_TARGET_TEXT];
    const char *warning;
    lap_jit *jit;
    lap_exec *exec;
    lap_tensors weights; /* for the evaluator */
    const lap_foreign_table *foreign;
    lap_session_times times;
};

/* Makes the context's errors the session's failure; false. */
bool lap_session_fail_with_errors(lap_session *s);
/* Runs one step so that memory running out inside it is its failure. */
bool lap_session_guarded(lap_session *s, bool (*step)(lap_session *s, void *args), void *args);

#endif
