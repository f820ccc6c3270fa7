/* SPDX-License-Identifier: Apache-2.0
 * session.h - the one compile entry of every command: script -> graph -> program -> code -> run.
 *
 *   new -> load -> [fill] -> compile -> run, run, ... -> free
 *
 * Each step returns false after recording what was wrong; nothing of a failed step may be used.
 * Running out of memory is such a failure too, not the end of the process. */
#ifndef LAP_FRONTENDS_COMPILER_SESSION_H
#define LAP_FRONTENDS_COMPILER_SESSION_H

#include "codegen/llvm/llvm.h"
#include "frontends/compiler/leaves.h"
#include "frontends/compiler/sizes.h"
#include "frontends/compiler/tensors.h"
#include "frontends/compiler/tuned.h"
#include "frontends/lua/lua.h"
#include "runtime/exec.h"
#include "runtime/vk/vk.h"

typedef struct lap_session lap_session;

/* How a model is run. */
typedef enum lap_engine {
    LAP_ENGINE_CPU,
    LAP_ENGINE_REF,
    LAP_ENGINE_AOT,
    LAP_ENGINE_VULKAN,
    LAP_N_ENGINES
} lap_engine;
const char *lap_engine_text(lap_engine engine);
bool lap_engine_find(const char *text, lap_engine *out);

typedef struct lap_load_options {
    const char *model;       /* a Lua file or a slug */
    const char *params_json; /* object, or NULL */
    const char *const *plugin_path;
    uint32_t n_plugin_path;
    uint32_t n_inputs;
    const char *const *inputs; /* inputs that exist, for the optional ones */
    uint32_t n_weights;
    const char *const *weights;       /* weights that exist; NULL: all that are asked for */
    const lap_foreign_table *foreign; /* operations of C libraries, or NULL; outlives the session */
    bool for_bench;                   /* the model's parameters for `bench`, where it has some */
    lap_dtype dtype;                  /* BF16 or F16: store float tensors so; F32: as declared */
} lap_load_options;

typedef struct lap_compile_options {
    lap_engine engine;
    const char *triple, *cpu; /* NULL: this machine */
    const char *device;       /* for Vulkan: a number or a part of a name; NULL: the best */
    const lap_target *tier;   /* for Vulkan: lower for such devices, none is opened; or NULL */
    uint32_t n_threads;       /* 0: all */
    bool writes_classes;      /* the program has the outputs of lap_attend_use too */
    const char *schedule;     /* knobs of passes/schedules.def, "attend.tiles=4,..."; NULL: defaults */
    const lap_tuning *tuning; /* where to find schedules of single kernels, or NULL; not beside `schedule` */
} lap_compile_options;

/* Seconds. */
typedef struct lap_session_times {
    double load, lower, codegen;
} lap_session_times;

lap_session *lap_session_new(void);
void lap_session_free(lap_session *s);

/* After a failure: lines to show ("file:line: error: ..."), and the exit code they call for. */
const char *lap_session_message(const lap_session *s);
lap_code lap_session_code(const lap_session *s);
/* Records a failure that a command found itself; returns false. */
bool lap_session_fail(lap_session *s, lap_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool lap_session_fault(lap_session *s, const lap_fault *fault);

/* open_model runs and checks the script; load does that, where it is not done, and makes the graph. */
LAP_MUST_CHECK bool lap_session_open_model(lap_session *s, const lap_load_options *options);
LAP_MUST_CHECK bool lap_session_load(lap_session *s, const lap_load_options *options);
/* Tensors for all inputs (but absent optional ones) and weights, of the declared types, families
 * stacked: the given ones converted, the others made up from `seed` where `make_inputs` or
 * `make_weights` allow it, else missing ones are errors. Unknown names are errors for inputs. */
typedef struct lap_fill_options {
    const lap_views *inputs, *weights;
    bool make_inputs, make_weights;
    uint64_t seed;
    uint32_t n_dims;
    const char *const *dim_names;
    const int64_t *dims;
} lap_fill_options;
LAP_MUST_CHECK bool lap_session_fill(lap_session *s, const lap_fill_options *options, lap_tensors *out_inputs,
                                     lap_tensors *out_weights);
/* Sizes as made-up tensors would have, as far as the model proposes some: what schedules are chosen for
 * where no tensors are at hand. */
void lap_session_guess_sizes(lap_session *s);
LAP_MUST_CHECK bool lap_session_compile(lap_session *s, const lap_compile_options *options);
/* Graph to program only (dump, build). */
LAP_MUST_CHECK bool lap_session_lower(lap_session *s, const lap_compile_options *options);
/* Binds the weights (once, before the first run). */
LAP_MUST_CHECK bool lap_session_bind(lap_session *s, const lap_tensors *weights);
/* Outputs belong to the session and stay until the next run. Inputs by name; absent optional ones
 * are left out. */
LAP_MUST_CHECK bool lap_session_run(lap_session *s, const lap_tensors *inputs, lap_tensors *out);

lap_ctx *lap_session_ctx(lap_session *s);
lap_model *lap_session_model(lap_session *s);
lap_graph *lap_session_graph(lap_session *s);
const lap_leaves *lap_session_leaves(const lap_session *s);
lap_sizes *lap_session_sizes(lap_session *s);
const lap_program *lap_session_program(const lap_session *s);
const lap_target *lap_session_target(const lap_session *s);
const lap_machine *lap_session_machine(const lap_session *s);
lap_vk *lap_session_device(const lap_session *s); /* NULL: code runs on this processor */
lap_exec *lap_session_exec(const lap_session *s);
/* The lowering of the program, for its sites; the record that the schedule of a site came from, or NULL. */
lap_lowering *lap_session_lowering(const lap_session *s);
const lap_record *lap_session_record(const lap_session *s, const lap_site *site);
/* What the records were found for, "" where none were asked for; and what was wrong with them, or "". */
const char *lap_session_tuned_for(const lap_session *s);
const char *lap_session_warning(const lap_session *s);
lap_session_times lap_session_timing(const lap_session *s);

/* Seconds of a steady clock. */
double lap_seconds(void);

#endif
