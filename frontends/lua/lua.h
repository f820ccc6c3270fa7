/* SPDX-License-Identifier: Apache-2.0
 * lua.h - runs a model script in a sandbox and builds its graph. */
#ifndef LAP_FRONTENDS_LUA_LUA_H
#define LAP_FRONTENDS_LUA_LUA_H

#include "ir/graph.h"

typedef struct lap_model lap_model; /* a loaded module: schema, not yet built */

typedef struct lap_model_param {
    const char *name, *type, *doc;
    const char *default_json;
    bool is_required;
} lap_model_param;
typedef struct lap_model_input {
    const char *name, *layout;
    lap_dtype dtype;
    bool is_optional;
} lap_model_input;

/* What a model says of a size or an input by name; sorted by name. */
typedef struct lap_model_extent {
    const char *name;
    lap_dim extent;
} lap_model_extent;
typedef struct lap_model_extents {
    uint32_t n;
    const lap_model_extent *at;
} lap_model_extents;

typedef struct lap_lua_options {
    const char *const *plugin_path;
    uint32_t n_plugin_path;    /* folders searched for slugs and for require */
    size_t max_bytes;          /* of the Lua state; 0: 512 MiB */
    uint64_t max_instructions; /* 0: 500 million */
} lap_lua_options;

/* Whether the text can be the name of a pattern: a file of the plugin path without folder and ".lua". */
bool lap_model_is_slug(const char *text, size_t n);
/* `model` is a path ending in .lua, or a slug found on the plugin path. Reports to the context. */
LAP_MUST_CHECK bool lap_model_load(lap_ctx *ctx, const char *model, const lap_lua_options *options,
                                   lap_model **out);
void lap_model_free(lap_model *model);

const char *lap_model_name(const lap_model *m);
const char *lap_model_paper(const lap_model *m);     /* or NULL */
const char *lap_model_authors(const lap_model *m);   /* of the paper, or NULL */
int64_t lap_model_year(const lap_model *m);          /* of the paper, or 0 */
const char *lap_model_doc(const lap_model *m);       /* or NULL */
const char *lap_model_family(const lap_model *m);    /* or NULL */
const char *lap_model_reference(const lap_model *m); /* where its reference cases come from, or NULL */
uint32_t lap_model_n_params(const lap_model *m);
const lap_model_param *lap_model_param_at(const lap_model *m, uint32_t i);
/* For made-up tensors, once built: sizes of symbols, and values of elements, where an axis's name is a
 * coordinate. */
lap_model_extents lap_model_dims(const lap_model *m);
lap_model_extents lap_model_made(const lap_model *m);

typedef struct lap_build_options {
    const char *params_json; /* object; NULL: all defaults */
    /* Names of the inputs and checkpoint weights that exist; NULL: optional inputs are absent and
     * every weight is taken to exist. */
    uint32_t n_inputs;
    const char *const *inputs;
    uint32_t n_weights;
    const char *const *weights;
    bool for_bench; /* parameters as the model proposes to be timed, where params_json is silent */
} lap_build_options;

/* Checks parameters against the schema, asks `refuse`, runs `build`. The graph is verified. */
LAP_MUST_CHECK bool lap_model_build(lap_model *m, const lap_build_options *options, lap_graph **out);
/* Values of all parameters in the last build: a JSON object. */
const char *lap_model_built_with(const lap_model *m);
/* Inputs declared for the parameters of the last build. */
uint32_t lap_model_n_inputs(const lap_model *m);
const lap_model_input *lap_model_input_at(const lap_model *m, uint32_t i);

#endif
