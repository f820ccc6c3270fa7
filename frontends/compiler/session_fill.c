/* SPDX-License-Identifier: Apache-2.0
 * session_fill.c - tensors for the inputs and weights of a model: those given, the others made up. */
#include <ctype.h>
#include <string.h>

#include "frontends/compiler/make.h"
#include "frontends/compiler/session_state.h"

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

static bool guess_sizes(lap_session *s, void *args)
{
    (void)args;
    propose_dims(s);
    return lap_sizes_choose(&s->sizes, s->graph, &s->leaves) || lap_session_fail_with_errors(s);
}

void lap_session_guess_sizes(lap_session *s)
{
    if (!lap_session_guarded(s, guess_sizes, NULL)) {
        s->sizes.n = 0; /* then no schedule is chosen by sizes */
    }
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
        if (!guess_sizes(s, NULL)) {
            return false;
        }
    } else if (!lap_sizes_solve(&s->sizes, s->graph, &s->leaves, a->options->inputs, a->options->weights,
                                &fault)) {
        s->sizes.n = 0; /* they only choose schedules here: the run itself says what is wrong with a shape */
    }
    return (fill_inputs(s, a, &fault) && fill_weights(s, a, &fault)) || lap_session_fault(s, &fault);
}

bool lap_session_fill(lap_session *s, const lap_fill_options *options, lap_tensors *out_inputs,
                      lap_tensors *out_weights)
{
    return lap_session_guarded(s, fill, &(fill_args){options, out_inputs, out_weights});
}
