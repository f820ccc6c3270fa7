/* SPDX-License-Identifier: Apache-2.0
 * session.c - the one compile entry.
 *
 * Everything hangs on one context; running out of its memory jumps back to the step that is running
 * and becomes its failure. Steps therefore keep nothing of their own across such a jump. */
#include "frontends/compiler/session.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "codegen/image.h"
#include "codegen/needs.h"
#include "codegen/spirv/spirv.h"
#include "frontends/compiler/make.h"
#include "frontends/compiler/retype.h"
#include "ir/eval.h"
#include "passes/passes.h"
#include "runtime/vk/vk.h"

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
    lap_jit *jit;
    lap_exec *exec;
    lap_tensors weights; /* for the evaluator */
    const lap_foreign_table *foreign;
    lap_session_times times;
};

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

static bool fail_with_errors(lap_session *s)
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
static bool guarded(lap_session *s, bool (*step)(lap_session *s, void *args), void *args)
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
lap_session_times lap_session_timing(const lap_session *s) { return s->times; }

/* ---- load ---------------------------------------------------------------------------------- */

static bool open_model(lap_session *s, void *args)
{
    const lap_load_options *o = args;
    lap_lua_options lua = {.plugin_path = o->plugin_path, .n_plugin_path = o->n_plugin_path};
    return lap_model_load(s->ctx, o->model, &lua, &s->model) || fail_with_errors(s);
}

bool lap_session_open_model(lap_session *s, const lap_load_options *options)
{
    lap_load_options copy = *options;
    return guarded(s, open_model, &copy);
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
        return fail_with_errors(s);
    }
    if (lap_dtype_compute(o->dtype) == LAP_F32 && o->dtype != LAP_F32) {
        s->graph = lap_graph_retype(s->graph, o->dtype);
        if (lap_error_count(s->ctx) > 0) {
            return fail_with_errors(s);
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
    return guarded(s, load, &copy);
}

/* ---- fill ---------------------------------------------------------------------------------- */

typedef struct fill_args {
    const lap_fill_options *options;
    lap_tensors *inputs, *weights;
} fill_args;

static bool check_input_names(lap_session *s, const lap_views *given)
{
    for (uint32_t i = 0; i < given->n; i++) {
        if (lap_specs_find(s->leaves.inputs, given->names[i]) != NULL) {
            continue;
        }
        const char *known = "";
        for (uint32_t k = 0; k < s->leaves.inputs.n; k++) {
            known = lap_arena_printf(s->ctx->arena, "%s%s%s", known, k > 0 ? ", " : "",
                                     s->leaves.inputs.at[k].name);
        }
        return lap_session_fail(s, LAP_BAD_INPUT, "the model reads no input '%s'\nhint: its inputs are: %s",
                                given->names[i], known);
    }
    return true;
}

static bool set_dims(lap_session *s, const lap_fill_options *o)
{
    for (uint32_t i = 0; i < o->n_dims; i++) {
        lap_name symbol = lap_intern(s->ctx, o->dim_names[i]);
        if (!lap_sizes_uses(s->graph, &s->leaves, symbol)) {
            return lap_session_fail(s, LAP_BAD_INPUT,
                                    "no input or weight has a size named '%s'\nhint: sizes are named in "
                                    "input layouts, as N in \"b i=N d\"",
                                    o->dim_names[i]);
        }
        lap_sizes_set(&s->sizes, symbol, o->dims[i]);
    }
    return true;
}

/* Sizes that the model proposes, where neither the user nor a tensor fixes them; one may be made
 * of others, in any order. */
static void propose_dims(lap_session *s)
{
    for (bool progress = true; progress;) {
        progress = false;
        lap_model_extents dims = lap_model_dims(s->model);
        for (uint32_t i = 0; i < dims.n; i++) {
            lap_name symbol = lap_intern(s->ctx, dims.at[i].name);
            int64_t value;
            if (!lap_sizes_value(&s->sizes, symbol, &value) && lap_sizes_uses(s->graph, &s->leaves, symbol) &&
                lap_dim_eval(s->ctx, dims.at[i].extent, lap_sizes_value, &s->sizes, &value)) {
                lap_sizes_set(&s->sizes, symbol, value);
                progress = true;
            }
        }
    }
}

/* A proposal that nothing reads would go unseen; that of an absent input may. An axis without a size in
 * its layout has its own name in capitals as size: its plain name is the mistake to be expected. */
static bool check_dims(lap_session *s)
{
    lap_model_extents dims = lap_model_dims(s->model);
    for (uint32_t i = 0; i < dims.n; i++) {
        char *size = lap_arena_printf(s->ctx->arena, "%s", dims.at[i].name);
        for (char *c = size; *c != '\0'; c++) {
            *c = (char)toupper((unsigned char)*c);
        }
        if (!lap_sizes_uses(s->graph, &s->leaves, lap_intern(s->ctx, dims.at[i].name)) &&
            lap_sizes_uses(s->graph, &s->leaves, lap_intern(s->ctx, size))) {
            return lap_session_fail(s, LAP_BAD_INPUT,
                                    "the dims of '%s' name no size '%s'\nhint: the size of an axis is '%s'",
                                    lap_model_name(s->model), dims.at[i].name, size);
        }
    }
    return true;
}

typedef bool maker(lap_graph *g, lap_sizes *sizes, const lap_spec *spec, uint64_t seed, lap_tensor *out,
                   lap_fault *fault);

/* As the model says, else by `make`. */
static bool make_up(lap_session *s, const lap_spec *spec, maker *make, uint64_t seed, lap_tensor *out,
                    lap_fault *fault)
{
    lap_model_extents made = lap_model_made(s->model);
    for (uint32_t i = 0; i < made.n; i++) {
        if (strcmp(made.at[i].name, spec->name) == 0) {
            return lap_make_by_place(s->graph, &s->sizes, spec, made.at[i].extent, out, fault);
        }
    }
    return make(s->graph, &s->sizes, spec, seed, out, fault);
}

static bool fill_inputs(lap_session *s, const fill_args *a, lap_fault *fault)
{
    const lap_fill_options *o = a->options;
    for (uint32_t i = 0; i < s->leaves.inputs.n; i++) {
        const lap_spec *spec = &s->leaves.inputs.at[i];
        const lap_tensor_view *view = lap_views_find(o->inputs, spec->name);
        lap_tensor t;
        if (view != NULL) {
            if (!lap_tensor_take(s->ctx, view, spec->dtype, spec->name, &t, fault)) {
                return false;
            }
        } else if (o->make_inputs) {
            if (!make_up(s, spec, lap_make_input, o->seed, &t, fault)) {
                return false;
            }
        } else if (spec->is_optional) {
            continue;
        } else {
            return lap_fault_set(fault, LAP_BAD_INPUT, "input '%s' is missing", spec->name);
        }
        lap_tensors_add(s->ctx, a->inputs, spec->name, &t);
    }
    return true;
}

static bool fill_weights(lap_session *s, const fill_args *a, lap_fault *fault)
{
    const lap_fill_options *o = a->options;
    for (uint32_t i = 0; i < s->leaves.weights.n; i++) {
        const lap_spec *spec = &s->leaves.weights.at[i];
        lap_tensor t;
        bool found = false;
        if (!lap_views_weight(s->ctx, o->weights, spec->name, spec->dtype, &t, &found, fault)) {
            return false;
        }
        if (!found && !o->make_weights) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "weight '%s' is missing", spec->name);
        }
        if (!found && !make_up(s, spec, lap_make_weight, o->seed, &t, fault)) {
            return false;
        }
        lap_tensors_add(s->ctx, a->weights, spec->name, &t);
    }
    return true;
}

static bool fill(lap_session *s, void *args)
{
    const fill_args *a = args;
    lap_fault fault = {0};
    if (!check_input_names(s, a->options->inputs) || !set_dims(s, a->options)) {
        return false;
    }
    if (a->options->make_inputs || a->options->make_weights) {
        if (!lap_sizes_solve(&s->sizes, s->graph, &s->leaves, a->options->inputs, a->options->weights,
                             &fault)) {
            return lap_session_fault(s, &fault);
        }
        if (!check_dims(s)) {
            return false;
        }
        propose_dims(s);
        if (!lap_sizes_choose(&s->sizes, s->graph, &s->leaves)) {
            return fail_with_errors(s);
        }
    }
    return (fill_inputs(s, a, &fault) && fill_weights(s, a, &fault)) || lap_session_fault(s, &fault);
}

bool lap_session_fill(lap_session *s, const lap_fill_options *options, lap_tensors *out_inputs,
                      lap_tensors *out_weights)
{
    return guarded(s, fill, &(fill_args){options, out_inputs, out_weights});
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
        s->machine = lap_machine_new(o->triple, o->cpu, fault);
        s->target = s->machine != NULL ? lap_machine_target(s->machine) : NULL;
    }
    return s->target != NULL;
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
    lap_pass_options passes = {.schedule = &schedule};
    if (!lap_lower(s->graph, s->target, &passes, &s->program)) {
        return fail_with_errors(s);
    }
    s->times.lower = lap_seconds() - start;
    return true;
}

bool lap_session_lower(lap_session *s, const lap_compile_options *options)
{
    lap_compile_options copy = *options;
    return guarded(s, lower, &copy);
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
    return guarded(s, compile, &copy);
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
    return guarded(s, bind, &copy);
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
        return fail_with_errors(s);
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
    return guarded(s, run, &(run_args){inputs, out});
}
