/* SPDX-License-Identifier: Apache-2.0
 * tuner.h - what one tuning run shares: the lowered model, its tensors, and how its programs are run. */
#ifndef LAP_FRONTENDS_TUNE_TUNER_H
#define LAP_FRONTENDS_TUNE_TUNER_H

#include "frontends/tune/child.h"
#include "frontends/tune/tune.h"

typedef struct lap_tuner {
    lap_session *session;
    const lap_tune_options *o;
    lap_ctx *ctx;
    const lap_tensors *inputs, *weights;
    const lap_target *target;
    lap_machine *machine; /* for processors */
    uint32_t n_threads;
    lap_lowering *lowering;
    lap_program *program; /* whole, by default schedules */
    lap_schedule base;
    lap_guarded *captured; /* by buffer of the program: its contents, once captured */
    void *zeros;           /* for the inputs that are there for their size alone */
} lap_tuner;

/* In a child: compiles a program for the target; NULL with the fault. */
lap_exec *lap_tuner_open(lap_tuner *t, const lap_program *p, lap_fault *fault);
/* Bytes of a buffer of the whole program. */
bool lap_buffer_bytes(lap_tuner *t, uint32_t buffer, size_t *out_count, size_t *out_bytes);

/* capture.c: runs the whole model by default schedules and keeps the contents of these buffers. */
bool lap_capture(lap_tuner *t, uint32_t n, const uint32_t *buffers, lap_fault *fault);
/* check.c: compares the default with the evaluator, at sizes that it can do. *out says what came of it;
 * false: it differs. */
bool lap_check_default(lap_tuner *t, const char **out);

/* A site's program with its tensors, for a runner (race.h). */
typedef struct lap_bench_site {
    lap_tuner *tuner;
    const lap_site *site;
    lap_schedule schedule;
    uint32_t n_outputs; /* of lap_site_alone by the base schedule, by buffer of the whole program */
    const uint32_t *output_buffers;
    const lap_guarded *outputs;
    lap_exec *exec; /* in the child */
    lap_tensor *in, *out;
} lap_bench_site;
bool lap_bench_prepare(void *bench_site, lap_fault *fault);
bool lap_bench_run(void *bench_site, lap_fault *fault);

#endif
