/* SPDX-License-Identifier: Apache-2.0
 * session.c - the one compile entry.
 *
 * Everything hangs on one context; running out of its memory jumps back to the step that is running
 * and becomes its failure. Steps therefore keep nothing of their own across such a jump. */
#include "frontends/compiler/session.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "codegen/image.h"
#include "codegen/needs.h"
#include "codegen/spirv/spirv.h"
#include "frontends/compiler/retype.h"
#include "frontends/compiler/session_state.h"
#include "ir/eval.h"
#include "passes/passes.h"
#include "runtime/vk/vk.h"

double lap_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- engines ------------------------------------------------------------------------------- */

static const char *const engine_texts[LAP_N_ENGINES] = {"cpu", "ref", "aot", "vulkan"};

const char *lap_engine_text(lap_engine engine) { return engine_texts[engine]; }

bool lap_engine_find(const char *text, lap_engine *out)
{
    for (int i = 0; i < LAP_N_ENGINES; i++) {
        if (strcmp(text, engine_texts[i]) == 0) {
            *out = (lap_engine)i;
            return true;
        }
    }
    return false;
}

/* ---- failures ------------------------------------------------------------------------------ */

bool lap_session_fail_with_errors(lap_session *s)
{
    const char *text = "";
    for (size_t i = 0; i < lap_error_count(s->ctx); i++) {
        text = lap_arena_printf(s->ctx->arena, "%s%s%s", text, i > 0 ? "\n" : "", lap_error_text(s->ctx, i));
    }
    lap_errors_clear(s->ctx);
    s->message = text;
    s->code = LAP_BAD_INPUT;
    if (*text == '\0') {
        s->message = "error: a step failed without saying why";
        s->code = LAP_INTERNAL;
    }
    return false;
}

bool lap_session_fault(lap_session *s, const lap_fault *fault)
{
    char text[sizeof fault->text + sizeof fault->place + 64];
    lap_fault_show(fault, text, sizeof text);
    s->message = lap_arena_copy(s->ctx->arena, text, strlen(text) + 1);
    s->code = fault->code == LAP_OK ? LAP_INTERNAL : fault->code;
    return false;
}

bool lap_session_fail(lap_session *s, lap_code code, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->message = lap_arena_printf(s->ctx->arena, "error: %s", text);
    s->code = code;
    return false;
}

static void out_of_memory(void *user)
{
    lap_session *s = user;
    if (s->is_guarded) {
        s->is_guarded = false;
        longjmp(s->on_oom, 1);
    }
    fputs("lappet: error: out of memory\n", stderr);
    exit(LAP_BAD_INPUT);
}

static bool fail_out_of_memory(lap_session *s)
{
    s->message = "error: out of memory";
    s->code = LAP_BAD_INPUT;
    return false;
}

/* Runs one step so that memory running out inside it is its failure. */
bool lap_session_guarded(lap_session *s, bool (*step)(lap_session *s, void *args), void *args)
{
    lap_arena_on_oom(s->ctx->arena, out_of_memory, s);
    if (setjmp(s->on_oom) != 0) {
        return fail_out_of_memory(s);
    }
    s->is_guarded = true;
    bool done = step(s, args);
    s->is_guarded = false;
    return done;
}

/* ---- life ---------------------------------------------------------------------------------- */

/* Three quarters of the machine's memory: a hostile model ends here, not in the system's killer. */
static size_t memory_limit(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (size_t)pages / 4 * 3 * (size_t)page : 0;
}

lap_session *lap_session_new(void)
{
    lap_session *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->ctx = lap_ctx_new(memory_limit());
    s->sizes.ctx = s->ctx;
    s->message = "";
    s->warning = "";
    return s;
}

void lap_session_free(lap_session *s)
{
    if (s == NULL) {
        return;
    }
    lap_exec_close(s->exec);
    lap_jit_free(s->jit);
    lap_machine_free(s->machine);
    lap_vk_close(s->vk);
    lap_model_free(s->model);
    lap_records_free(&s->records);
    lap_ctx_free(s->ctx);
    free(s);
}

const char *lap_session_message(const lap_session *s) { return s->message; }
lap_code lap_session_code(const lap_session *s) { return s->code; }
lap_ctx *lap_session_ctx(lap_session *s) { return s->ctx; }
lap_model *lap_session_model(lap_session *s) { return s->model; }
lap_graph *lap_session_graph(lap_session *s) { return s->graph; }
const lap_leaves *lap_session_leaves(const lap_session *s) { return &s->leaves; }
lap_sizes *lap_session_sizes(lap_session *s) { return &s->sizes; }
const lap_program *lap_session_program(const lap_session *s) { return s->program; }
const lap_machine *lap_session_machine(const lap_session *s) { return s->machine; }
const lap_target *lap_session_target(const lap_session *s) { return s->target; }
lap_vk *lap_session_device(const lap_session *s) { return s->vk; }
lap_exec *lap_session_exec(const lap_session *s) { return s->exec; }
lap_lowering *lap_session_lowering(const lap_session *s) { return s->lowering; }
const char *lap_session_tuned_for(const lap_session *s) { return s->tuned_for; }
const char *lap_session_warning(const lap_session *s) { return s->warning; }
lap_session_times lap_session_timing(const lap_session *s) { return s->times; }

/* ---- load ---------------------------------------------------------------------------------- */

static bool open_model(lap_session *s, void *args)
{
    const lap_load_options *o = args;
    lap_lua_options lua = {.plugin_path = o->plugin_path, .n_plugin_path = o->n_plugin_path};
    return lap_model_load(s->ctx, o->model, &lua, &s->model) || lap_session_fail_with_errors(s);
}

bool lap_session_open_model(lap_session *s, const lap_load_options *options)
{
    lap_load_options copy = *options;
    return lap_session_guarded(s, open_model, &copy);
}

static bool load(lap_session *s, void *args)
{
    const lap_load_options *o = args;
    double start = lap_seconds();
    if (s->model == NULL && !open_model(s, args)) {
        return false;
    }
    lap_build_options build = {.params_json = o->params_json,
                               .n_inputs = o->n_inputs,
                               .inputs = o->inputs,
                               .n_weights = o->n_weights,
                               .weights = o->weights,
                               .for_bench = o->for_bench};
    if (!lap_model_build(s->model, &build, &s->graph)) {
        return lap_session_fail_with_errors(s);
    }
    if (lap_dtype_compute(o->dtype) == LAP_F32 && o->dtype != LAP_F32) {
        s->graph = lap_graph_retype(s->graph, o->dtype);
        if (lap_error_count(s->ctx) > 0) {
            return lap_session_fail_with_errors(s);
        }
    }
    s->leaves = lap_leaves_of(s->graph);
    s->foreign = o->foreign;
    s->times.load = lap_seconds() - start;
    return true;
}

bool lap_session_load(lap_session *s, const lap_load_options *options)
{
    lap_load_options copy = *options;
    return lap_session_guarded(s, load, &copy);
}

/* ---- compile ------------------------------------------------------------------------------- */

/* The processor or the device to generate code for. */
static bool choose_target(lap_session *s, const lap_compile_options *o, lap_fault *fault)
{
    if (o->tier != NULL) {
        s->target = o->tier;
    } else if (o->engine == LAP_ENGINE_VULKAN) {
        s->vk = s->vk != NULL ? s->vk : lap_vk_open(o->device, fault);
        s->target = s->vk != NULL ? lap_vk_target(lap_vk_info_of(s->vk)->subgroup_size) : NULL;
    } else {
        lap_machine_free(s->machine);
        s->machine = lap_machine_new(o->triple, o->cpu, fault);
        s->target = s->machine != NULL ? lap_machine_target(s->machine) : NULL;
    }
    return s->target != NULL;
}

const lap_record *lap_session_record(const lap_session *s, const lap_site *site)
{
    char bucket[LAP_RECORD_WORD];
    lap_sizes sizes = s->sizes;
    return lap_records_best(&s->records, site->key, lap_bucket_of(site, lap_sizes_value, &sizes, bucket));
}

static bool choose(void *user, const lap_site *site, lap_schedule *out)
{
    const lap_record *r = lap_session_record(user, site);
    if (r != NULL) {
        *out = r->schedule;
    }
    return r != NULL;
}

/* The records of earlier tuning. A device that is not opened has none: it could be any. */
static bool read_records(lap_session *s, const lap_compile_options *o, const lap_schedule *base,
                         lap_fault *fault)
{
    lap_records_free(&s->records);
    s->tuned_for[0] = '\0';
    if (o->tuning == NULL || o->schedule != NULL || o->tier != NULL) {
        return true;
    }
    if (s->vk != NULL) {
        lap_target_of_device(lap_vk_info_of(s->vk), s->tuned_for);
    } else {
        lap_target_of_machine(s->machine, o->n_threads, s->tuned_for);
    }
    return lap_tuning_read(s->ctx, o->tuning, s->tuned_for, base, &s->records, &s->warning, fault);
}

static bool lower(lap_session *s, void *args)
{
    const lap_compile_options *o = args;
    lap_fault fault = {0};
    double start = lap_seconds();
    s->engine = o->engine;
    if (!choose_target(s, o, &fault)) {
        return lap_session_fault(s, &fault);
    }
    lap_schedule schedule = lap_schedule_default(s->target);
    if (o->schedule != NULL && !lap_schedule_parse(o->schedule, &schedule, &fault)) {
        return lap_session_fault(s, &fault);
    }
    if (!read_records(s, o, &schedule, &fault)) {
        return lap_session_fault(s, &fault);
    }
    lap_pass_options passes = {.schedule = &schedule,
                               .writes_classes = o->writes_classes,
                               .choose = s->records.n > 0 ? choose : NULL,
                               .choose_user = s,
                               .kept = o->tuning != NULL ? &s->lowering : NULL};
    if (!lap_lower(s->graph, s->target, &passes, &s->program)) {
        return lap_session_fail_with_errors(s);
    }
    s->times.lower = lap_seconds() - start;
    return true;
}

bool lap_session_lower(lap_session *s, const lap_compile_options *options)
{
    lap_compile_options copy = *options;
    return lap_session_guarded(s, lower, &copy);
}

/* Both engines would find this out, but not before they run. */
static bool find_foreign(lap_session *s, lap_fault *fault)
{
    for (uint32_t i = 1; i <= lap_graph_n_nodes(s->graph); i++) {
        const lap_node *n = lap_node_at(s->graph, (lap_ref){i});
        if (n->op == LAP_OP_FOREIGN &&
            lap_foreign_find(s->foreign, lap_text(s->ctx, lap_attr_name(n, LAP_ATTR_NAME)), n->n_args,
                             lap_attr_names(n, LAP_ATTR_OUTS).n, lap_loc_show(s->ctx, n->loc),
                             fault) == NULL) {
            return false;
        }
    }
    return true;
}

static lap_exec *open_here(lap_session *s, const lap_exec_options *options, lap_fault *fault)
{
    if (!lap_machine_runs_here(s->machine, fault)) {
        return NULL;
    }
    size_t n_image;
    const void *image = lap_image_write(s->program, &n_image);
    s->jit = lap_jit_new(s->program, s->machine, fault);
    return s->jit != NULL ? lap_exec_open(image, n_image, lap_jit_kernels(s->jit), options, fault) : NULL;
}

static lap_exec *open_on_device(lap_session *s, const lap_exec_options *options, lap_fault *fault)
{
    lap_spirv code;
    return lap_spirv_make(s->program, s->target, &code, fault)
               ? lap_vk_exec_open(s->vk, code.image, code.n_image, code.kernels, options, fault)
               : NULL;
}

static bool compile(lap_session *s, void *args)
{
    const lap_compile_options *o = args;
    lap_fault fault = {0};
    if (!find_foreign(s, &fault)) {
        return lap_session_fault(s, &fault);
    }
    if (o->engine == LAP_ENGINE_REF) {
        s->engine = LAP_ENGINE_REF;
        return true;
    }
    if (!lower(s, args)) {
        return false;
    }
    double start = lap_seconds();
    lap_exec_options exec = {.n_threads = o->n_threads, .max_bytes = memory_limit()};
    s->exec = o->engine == LAP_ENGINE_VULKAN ? open_on_device(s, &exec, &fault) : open_here(s, &exec, &fault);
    if (s->exec == NULL) {
        return lap_session_fault(s, &fault);
    }
    lap_exec_set_foreign(s->exec, s->foreign);
    s->times.codegen = lap_seconds() - start;
    return true;
}

bool lap_session_compile(lap_session *s, const lap_compile_options *options)
{
    lap_compile_options copy = *options;
    return lap_session_guarded(s, compile, &copy);
}

/* ---- run ----------------------------------------------------------------------------------- */

static bool bind(lap_session *s, void *args)
{
    const lap_tensors *weights = args;
    if (s->engine == LAP_ENGINE_REF) {
        s->weights = *weights;
        return true;
    }
    uint32_t n = lap_exec_n_weights(s->exec);
    lap_tensor *ordered = lap_arena_array(s->ctx->arena, n + 1, sizeof *ordered);
    for (uint32_t i = 0; i < n; i++) {
        const lap_tensor *t = lap_tensors_find(weights, lap_exec_name(s->exec, 1, i));
        if (t == NULL) {
            return lap_session_fail(s, LAP_BAD_INPUT, "weight '%s' is missing", lap_exec_name(s->exec, 1, i));
        }
        ordered[i] = *t;
    }
    lap_fault fault = {0};
    return lap_exec_set_weight_tensors(s->exec, ordered, &fault) || lap_session_fault(s, &fault);
}

bool lap_session_bind(lap_session *s, const lap_tensors *weights)
{
    lap_tensors copy = *weights;
    return lap_session_guarded(s, bind, &copy);
}

typedef struct run_args {
    const lap_tensors *inputs;
    lap_tensors *out;
} run_args;

static bool run_reference(lap_session *s, const run_args *a)
{
    lap_eval_io inputs = {a->inputs->n, a->inputs->names, a->inputs->at};
    lap_eval_io weights = {s->weights.n, s->weights.names, s->weights.at};
    lap_eval_result result;
    if (!lap_eval_with(s->graph, s->foreign, &inputs, &weights, &result)) {
        return lap_session_fail_with_errors(s);
    }
    for (uint32_t i = 0; i < result.n; i++) {
        lap_tensors_add(s->ctx, a->out, result.names[i], &result.tensors[i]);
    }
    return true;
}

static bool run(lap_session *s, void *args)
{
    const run_args *a = args;
    a->out->n = 0;
    if (s->engine == LAP_ENGINE_REF) {
        return run_reference(s, a);
    }
    uint32_t n_in = lap_exec_n_inputs(s->exec), n_out = lap_exec_n_outputs(s->exec);
    lap_tensor *in = lap_arena_array(s->ctx->arena, n_in + 1, sizeof *in);
    lap_tensor *out = lap_arena_array(s->ctx->arena, n_out + 1, sizeof *out);
    for (uint32_t i = 0; i < n_in; i++) {
        const lap_tensor *t = lap_tensors_find(a->inputs, lap_exec_name(s->exec, 0, i));
        in[i] = t != NULL ? *t : (lap_tensor){.dtype = lap_exec_dtype(s->exec, 0, i)};
    }
    lap_fault fault = {0};
    if (!lap_exec_run(s->exec, in, out, &fault)) {
        return lap_session_fault(s, &fault);
    }
    for (uint32_t i = 0; i < n_out; i++) {
        lap_tensors_add(s->ctx, a->out, lap_exec_name(s->exec, 2, i), &out[i]);
    }
    return true;
}

bool lap_session_run(lap_session *s, const lap_tensors *inputs, lap_tensors *out)
{
    return lap_session_guarded(s, run, &(run_args){inputs, out});
}
