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

/* In a child: runs the whole model, or that with more outputs, with these tensors. */
bool lap_run_whole(lap_tuner *t, lap_exec *exec, const lap_tensors *inputs, const lap_tensors *weights,
                   lap_tensor *outputs, lap_fault *fault);

typedef struct lap_verdict {
    enum { LAP_CHECK_AGREES, LAP_CHECK_DIFFERS, LAP_CHECK_UNKNOWN } kind;
    char text[LAP_REASON], sizes[LAP_REASON]; /* why; at which sizes */
} lap_verdict;
/* In a child: compares the default with the evaluator, at sizes that it can do (check.c). */
void lap_check_small(lap_tuner *t, lap_exec *exec, uint32_t n_outputs, lap_verdict *out);

/* Runs the whole model by default schedules, keeps the contents of these buffers, and has it checked
 * (capture.c). */
bool lap_capture(lap_tuner *t, uint32_t n, const uint32_t *buffers, lap_verdict *out, lap_fault *fault);

/* Runs the whole model by default and by the chosen schedules, in turns (whole.c). False: the chosen ones are
 * no better for it, or wrong: see r->taken_back. */
bool lap_whole_gains(lap_tuner *t, lap_tune_report *r);

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
