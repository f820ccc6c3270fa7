/* SPDX-License-Identifier: Apache-2.0
 * binding.h - what the files of the Lua binding share.
 *
 * C binds the primitives of the graph only; every other method is Lua in prelude/, embedded in the
 * binary. A mistake is reported to the context with its Lua place, then raised as a Lua error that
 * no script can catch; nothing here prints or keeps global state. */
#ifndef LAP_FRONTENDS_LUA_BINDING_H
#define LAP_FRONTENDS_LUA_BINDING_H

#include <lauxlib.h>
#include <lua.h>

#include "frontends/lua/lua.h"
#include "ir/build.h"

/* One sandboxed interpreter. Reached from any lua_State through its extra space. */
typedef struct lap_lua {
    lap_ctx *ctx;
    lua_State *state;
    lap_graph *graph; /* being built, else NULL */
    size_t bytes, max_bytes;
    uint64_t steps, max_steps;
    double started; /* processor time when the running call began */
    bool is_failed; /* reported: scripts may not catch it */
    uint32_t depth; /* open regions */
    uint32_t n_fresh;
    const char *model_source; /* chunk name of the model file, or NULL */
    const char *model_text;   /* its text, in the arena */
    lap_loc model_loc;        /* where `build` is defined */
    const char *const *path;
    uint32_t n_path;
} lap_lua;

static inline lap_lua *lap_lua_of(lua_State *L) { return *(lap_lua **)lua_getextraspace(L); }

/* state.c */
LAP_MUST_CHECK bool lap_lua_new(lap_ctx *ctx, const lap_lua_options *options, lap_lua **out);
void lap_lua_free(lap_lua *l);
/* Calls the function below n_args values in protected mode; what it raises is reported. */
LAP_MUST_CHECK bool lap_lua_call(lap_lua *l, int n_args, int n_results);
/* Reads a script file whole into the arena; reports. `at` is who asks. */
LAP_MUST_CHECK bool lap_lua_read(lap_lua *l, lap_loc at, const char *path, char **out_text,
                                 size_t *out_length);
/* Loads Lua source as a function that sees only the sandbox, pushed; reports. */
LAP_MUST_CHECK bool lap_lua_load(lap_lua *l, const char *chunk, const char *text, size_t length);
/* Counts work done in C against the limit of steps. */
void lap_lua_charge(lua_State *L, uint64_t steps);

/* sandbox.c: opens the permitted libraries and `require`. */
void lap_lua_open_sandbox(lua_State *L);
/* Path of `name` on the plugin path, in the arena; NULL: not found. *out_shown is how messages name it. */
const char *lap_lua_find(lap_lua *l, const char *name, const char **out_shown);
/* pattern.c: find, match, gmatch, gsub and rep, bounded by the limit of steps. */
void lap_lua_open_pattern(lua_State *L);
/* prelude.c: runs the embedded Lua; leaves nothing. The table of primitives is at stack top, popped. */
void lap_lua_open_prelude(lua_State *L);

/* where.c */
lap_loc lap_lua_where(lua_State *L);
/* Reports at the innermost line of user code and raises. */
_Noreturn void lap_lua_fail(lua_State *L, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Raises after something was reported to the context. */
_Noreturn void lap_lua_raise(lua_State *L);
/* Message handler of protected calls: reports errors that scripts raise themselves. */
int lap_lua_on_error(lua_State *L);

/* value.c: tensors. */
void lap_lua_open_value(lua_State *L); /* adds to the table of primitives at the top */
bool lap_lua_is_value(lua_State *L, int at);
lap_ref lap_lua_value(lua_State *L, int at);
/* A tensor, or a scalar node for a number, boolean or extent. */
lap_ref lap_lua_lift(lua_State *L, int at);
/* Pushes the tensor; LAP_NONE means that a mistake was reported, and raises. */
void lap_lua_push_value(lua_State *L, lap_ref ref);
/* The graph being built; raises outside `build`. Nodes made next carry the place of the caller. */
lap_graph *lap_lua_graph(lua_State *L);

/* dim.c: extents; constants are plain integers in Lua. */
void lap_lua_open_dim(lua_State *L);
bool lap_lua_is_dim(lua_State *L, int at);
/* An extent, or a number that is whole; false otherwise. */
bool lap_lua_to_dim(lua_State *L, int at, lap_dim *out);
lap_dim lap_lua_check_dim(lua_State *L, int at, const char *what);
void lap_lua_push_dim(lua_State *L, lap_dim d);
/* a / b, with the check that b divides a. */
lap_dim lap_lua_divide(lua_State *L, lap_dim a, lap_dim b);
const char *lap_lua_kind(lua_State *L, int at); /* "a tensor", "an extent", "nil", ... */

/* names.c: axis names and lists of them. */
void lap_lua_open_names(lua_State *L);
lap_name lap_lua_check_name(lua_State *L, int at, const char *what);
lap_name lap_lua_name(lua_State *L, const char *text, size_t length, const char *what);
lap_names lap_lua_names(lua_State *L, int at); /* a list of strings */

/* layout.c */
typedef enum lap_unsized { LAP_UNSIZED_SHARED, LAP_UNSIZED_FRESH, LAP_UNSIZED_OUTPUT } lap_unsized;
/* Reads "b (y=H x=W) c=dim 1". `sizes`: stack index of a table of extents, or 0. Axes have size 0 and
 * count none where unsized in an output; out_sized tells. Everything lives in the arena. */
typedef struct lap_lua_layout {
    lap_layout groups;
    uint32_t n_axes;
    lap_axis *axes;
    bool *is_sized;
} lap_lua_layout;
lap_lua_layout lap_lua_read_layout(lua_State *L, const char *spec, int sizes, lap_unsized unsized);

/* args.c: attributes of an op from a Lua table. */
uint32_t lap_lua_attrs(lua_State *L, lap_op op, int at, lap_dtype fill, lap_attr *out);
lap_dtype lap_lua_check_dtype(lua_State *L, int at);

/* graph.c: nodes, leaves, regions, outputs. */
void lap_lua_open_graph(lua_State *L);

/* sharing.c: warnings where axes are aligned that were hardly meant to be. */
void lap_lua_open_sharing(lua_State *L);
/* Two operands of a scalar function that are one coordinate. */
void lap_lua_look_same(lua_State *L, lap_fn fn, lap_ref a, lap_ref b);

/* grad.c */
void lap_lua_open_grad(lua_State *L);

/* model.c */
void lap_lua_open_model(lua_State *L);

/* json.c */
struct cJSON;
void lap_lua_push_json(lua_State *L, const struct cJSON *j);
struct cJSON *lap_lua_to_json(lua_State *L, int at); /* NULL where a value has no JSON */

#endif
