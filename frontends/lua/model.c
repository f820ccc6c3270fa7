/* SPDX-License-Identifier: Apache-2.0
 * model.c - a model script: loading, its schema, and building its graph.
 *
 * The schema itself is checked by the prelude (schema.lua); this file moves values in and out. One
 * Lua state serves all builds of a model, and each build starts its names and graph anew. */
#include "frontends/lua/binding.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <string.h>

enum { MAX_SLUG = 128 };

struct lap_model {
    lap_ctx *ctx;
    lap_lua *lua;
    const char *name, *paper, *authors, *doc, *family, *reference, *built_with;
    int64_t year;
    uint32_t n_params, n_inputs;
    lap_model_param *params;
    lap_model_input *inputs;
    lap_model_extents dims, made;
};

/* What a protected call works on: its second argument is this. */
typedef struct request {
    lap_model *model;
    const lap_build_options *options;
    const cJSON *params;
} request;

static request *request_of(lua_State *L) { return lua_touserdata(L, 1); }

/* A string field in the arena, or NULL. */
static const char *text_field(lua_State *L, int at, const char *key)
{
    lua_getfield(L, at, key);
    const char *text = lua_tostring(L, -1);
    if (text) {
        text = lap_arena_printf(lap_lua_of(L)->ctx->arena, "%s", text);
    }
    lua_pop(L, 1);
    return text;
}

static bool bool_field(lua_State *L, int at, const char *key)
{
    lua_getfield(L, at, key);
    bool b = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return b;
}

static int64_t int_field(lua_State *L, int at, const char *key)
{
    lua_getfield(L, at, key);
    int64_t n = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return n;
}

static const char *json_field(lua_State *L, int at, const char *key)
{
    lua_getfield(L, at, key);
    const char *text = NULL;
    cJSON *j = lua_isnil(L, -1) ? NULL : lap_lua_to_json(L, -1);
    char *printed = j ? cJSON_PrintUnformatted(j) : NULL;
    cJSON_Delete(j);
    if (printed) {
        text = lap_arena_printf(lap_lua_of(L)->ctx->arena, "%s", printed);
        cJSON_free(printed);
    }
    lua_pop(L, 1);
    return text;
}

static void read_param(lua_State *L, lap_model_param *p)
{
    int at = lua_gettop(L);
    *p = (lap_model_param){text_field(L, at, "name"), text_field(L, at, "type"), text_field(L, at, "doc"),
                           json_field(L, at, "default"), bool_field(L, at, "required")};
}

static void read_input(lua_State *L, lap_model_input *input)
{
    int at = lua_gettop(L);
    lua_getfield(L, at, "dtype");
    lap_dtype dtype = lap_lua_check_dtype(L, -1);
    lua_pop(L, 1);
    *input = (lap_model_input){text_field(L, at, "name"), text_field(L, at, "layout"), dtype,
                               bool_field(L, at, "optional")};
}

static lap_model_extents read_extents(lua_State *L, int at, const char *key, lap_ctx *ctx)
{
    lua_getfield(L, at, key);
    int list = lua_gettop(L);
    uint32_t n = (uint32_t)lua_rawlen(L, list);
    lap_model_extent *all = lap_arena_array(ctx->arena, n + 1, sizeof *all);
    for (uint32_t i = 0; i < n; i++) {
        lua_rawgeti(L, list, (lua_Integer)i + 1);
        all[i].name = text_field(L, list + 1, "name");
        const char *text = text_field(L, list + 1, "extent"), *why;
        lua_pop(L, 1);
        if (!lap_dim_parse(ctx, text, strlen(text), &all[i].extent, &why)) {
            lap_lua_fail(L, "'%s' of '%s' in %s: %s", text, all[i].name, key, why);
        }
    }
    lua_pop(L, 1);
    return (lap_model_extents){n, all};
}

static int call_prim(lua_State *L, const char *name, int n_args)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "lap.prim");
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
    lua_insert(L, -n_args - 1);
    lua_call(L, n_args, 1);
    return lua_gettop(L);
}

/* (request, name for a model without one, model table) */
static int describe(lua_State *L)
{
    lap_model *m = request_of(L)->model;
    lua_pushvalue(L, 3);
    lua_setfield(L, LUA_REGISTRYINDEX, "lap.model");
    lua_getfield(L, 3, "build");
    lua_Debug ar;
    if (lua_isfunction(L, -1) && !lua_iscfunction(L, -1)) {
        lua_getinfo(L, ">S", &ar);
        if (ar.source[0] == '@') {
            m->lua->model_loc = lap_loc_make(m->ctx, ar.source + 1, ar.linedefined, (lap_loc){0});
        }
    }
    lua_settop(L, 3);
    lua_pushvalue(L, 3);
    lua_pushvalue(L, 2);
    int at = call_prim(L, "describe", 2);
    m->name = text_field(L, at, "name");
    m->paper = text_field(L, at, "paper");
    m->authors = text_field(L, at, "authors");
    m->year = int_field(L, at, "year");
    m->doc = text_field(L, at, "doc");
    m->family = text_field(L, at, "family");
    m->reference = text_field(L, at, "reference");
    lua_getfield(L, at, "params");
    m->n_params = (uint32_t)lua_rawlen(L, -1);
    m->params = lap_arena_array(m->ctx->arena, m->n_params + 1, sizeof *m->params);
    for (uint32_t i = 0; i < m->n_params; i++) {
        lua_rawgeti(L, at + 1, (lua_Integer)i + 1);
        read_param(L, &m->params[i]);
        lua_pop(L, 1);
    }
    return 0;
}

/* "dir/name.lua" -> "name" */
static const char *stem_of(lap_ctx *ctx, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *start = slash ? slash + 1 : path;
    return lap_arena_printf(ctx->arena, "%.*s", (int)strcspn(start, "."), start);
}

static bool ends_in_lua(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".lua") == 0;
}

static bool load(lap_model *m, const char *path, const char *shown)
{
    lap_lua *l = m->lua;
    lua_State *L = l->state;
    const char *chunk = lap_arena_printf(m->ctx->arena, "@%s", shown);
    char *text;
    size_t length;
    if (!lap_lua_read(l, (lap_loc){0}, path, &text, &length)) {
        return false;
    }
    l->model_source = chunk;
    l->model_text = text;
    l->model_loc = lap_loc_make(m->ctx, shown, 1, (lap_loc){0});
    if (!lap_lua_load(l, chunk, text, length) || !lap_lua_call(l, 0, 1)) {
        return false;
    }
    if (!lua_istable(L, -1)) {
        return lap_error(m->ctx, l->model_loc, "a model script returns a table, this one returns %s",
                         lap_lua_kind(L, -1));
    }
    request r = {.model = m};
    lua_pushcfunction(L, describe);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, &r);
    lua_insert(L, -2);
    lua_pushstring(L, stem_of(m->ctx, shown));
    lua_insert(L, -2);
    return lap_lua_call(l, 3, 0);
}

bool lap_model_is_slug(const char *text, size_t n)
{
    bool good = n > 0 && n <= MAX_SLUG;
    for (size_t i = 0; i < n && good; i++) {
        good = (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= '0' && text[i] <= '9') || text[i] == '_';
    }
    return good;
}

bool lap_model_load(lap_ctx *ctx, const char *model, const lap_lua_options *options, lap_model **out)
{
    lap_model *m = lap_arena_alloc(ctx->arena, sizeof *m);
    m->ctx = ctx;
    if (!lap_lua_new(ctx, options, &m->lua)) {
        return false;
    }
    const char *path = model, *shown = model;
    if (!ends_in_lua(model)) {
        bool is_slug = lap_model_is_slug(model, strlen(model));
        path = is_slug ? lap_lua_find(m->lua, model, &shown) : NULL;
    }
    if (!path) {
        lap_lua_free(m->lua);
        return lap_error(
            ctx, (lap_loc){0},
            "no model '%s' on the plugin path\nhint: 'lappet list' names the patterns; a file ends in .lua",
            model);
    }
    if (!load(m, path, shown)) {
        lap_lua_free(m->lua);
        return false;
    }
    *out = m;
    return true;
}

void lap_model_free(lap_model *model)
{
    if (model) {
        lap_lua_free(model->lua);
    }
}

static void push_strings(lua_State *L, uint32_t n, const char *const *strings)
{
    if (!strings) {
        lua_pushnil(L);
        return;
    }
    lua_newtable(L);
    for (uint32_t i = 0; i < n; i++) {
        lua_pushstring(L, strings[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* The parameters of the build as a JSON object. */
static const char *read_values(lua_State *L, int at, lap_ctx *ctx)
{
    const char *text = "{";
    lua_getfield(L, at, "params");
    int list = lua_gettop(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, list);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, list, i);
        text = lap_arena_printf(ctx->arena, "%s%s\"%s\": %s", text, i > 1 ? ", " : "",
                                text_field(L, list + 1, "name"), json_field(L, list + 1, "value"));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return lap_arena_printf(ctx->arena, "%s}", text);
}

/* (request) */
static int build(lua_State *L)
{
    const request *r = request_of(L);
    lap_model *m = r->model;
    const lap_build_options *o = r->options;
    lua_getfield(L, LUA_REGISTRYINDEX, "lap.model");
    if (r->params) {
        lap_lua_push_json(L, r->params);
    } else {
        lua_newtable(L);
    }
    push_strings(L, o ? o->n_inputs : 0, o ? o->inputs : NULL);
    push_strings(L, o ? o->n_weights : 0, o ? o->weights : NULL);
    lua_pushboolean(L, o != NULL && o->for_bench);
    int at = call_prim(L, "run", 5);
    m->dims = read_extents(L, at, "dims", m->ctx);
    m->made = read_extents(L, at, "made", m->ctx);
    m->built_with = read_values(L, at, m->ctx);
    lua_getfield(L, at++, "inputs");
    m->n_inputs = (uint32_t)lua_rawlen(L, at);
    m->inputs = lap_arena_array(m->ctx->arena, m->n_inputs + 1, sizeof *m->inputs);
    for (uint32_t i = 0; i < m->n_inputs; i++) {
        lua_rawgeti(L, at, (lua_Integer)i + 1);
        read_input(L, &m->inputs[i]);
        lua_pop(L, 1);
    }
    return 0;
}

static bool run_build(lap_model *m, const lap_build_options *options, const cJSON *params, lap_graph **out)
{
    lap_lua *l = m->lua;
    request r = {m, options, params};
    l->graph = lap_graph_new(m->ctx, m->name, LAP_LEVEL_GRAPH);
    l->is_failed = false;
    l->depth = 0;
    l->steps = 0;
    m->n_inputs = 0;
    lua_settop(l->state, 0);
    lua_pushcfunction(l->state, build);
    lua_pushlightuserdata(l->state, &r);
    bool ok = lap_lua_call(l, 1, 0);
    lap_graph *g = l->graph;
    l->graph = NULL;
    if (!ok || !lap_graph_verify(g)) {
        return false;
    }
    *out = g;
    return true;
}

bool lap_model_build(lap_model *m, const lap_build_options *options, lap_graph **out)
{
    const char *text = options ? options->params_json : NULL;
    cJSON *params = NULL;
    if (text) {
        params = cJSON_Parse(text);
        if (!cJSON_IsObject(params)) {
            cJSON_Delete(params);
            return lap_error(m->ctx, (lap_loc){0}, "the parameters of '%s' are no JSON object", m->name);
        }
    }
    bool ok = run_build(m, options, params, out);
    cJSON_Delete(params);
    return ok;
}

const char *lap_model_name(const lap_model *m) { return m->name; }
const char *lap_model_paper(const lap_model *m) { return m->paper; }
const char *lap_model_authors(const lap_model *m) { return m->authors; }
int64_t lap_model_year(const lap_model *m) { return m->year; }
const char *lap_model_doc(const lap_model *m) { return m->doc; }
const char *lap_model_family(const lap_model *m) { return m->family; }
const char *lap_model_reference(const lap_model *m) { return m->reference; }
uint32_t lap_model_n_params(const lap_model *m) { return m->n_params; }
const lap_model_param *lap_model_param_at(const lap_model *m, uint32_t i) { return &m->params[i]; }
const char *lap_model_built_with(const lap_model *m) { return m->built_with; }
lap_model_extents lap_model_dims(const lap_model *m) { return m->dims; }
lap_model_extents lap_model_made(const lap_model *m) { return m->made; }
uint32_t lap_model_n_inputs(const lap_model *m) { return m->n_inputs; }
const lap_model_input *lap_model_input_at(const lap_model *m, uint32_t i) { return &m->inputs[i]; }

/* setup(g, params): registers what a build reads. line_of(input): the line that declares it. */
static int prim_setup(lua_State *L)
{
    lua_settop(L, 2);
    lua_setfield(L, LUA_REGISTRYINDEX, "lap.p");
    lua_setfield(L, LUA_REGISTRYINDEX, "lap.g");
    return 0;
}

static bool is_word_char(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* The first line, from `inputs` on, where the name is assigned; else where it occurs; else 1. */
static int prim_line_of(lua_State *L)
{
    const char *text = lap_lua_of(L)->model_text, *name = luaL_checkstring(L, 1);
    size_t length = strlen(name);
    const char *from = strstr(text, "inputs"), *best = NULL;
    for (const char *p = from ? from : text; (p = strstr(p, name)) != NULL; p += length) {
        if ((p > text && is_word_char(p[-1])) || is_word_char(p[length])) {
            continue;
        }
        best = best ? best : p;
        size_t gap = strspn(p + length, " \t\"]");
        if (p[length + gap] == '=' && p[length + gap + 1] != '=') {
            best = p;
            break;
        }
    }
    lua_Integer line = 1;
    for (const char *p = text; best && p < best; p++) {
        line += *p == '\n';
    }
    lua_pushinteger(L, line);
    return 1;
}

void lap_lua_open_model(lua_State *L)
{
    static const luaL_Reg functions[] = {{"setup", prim_setup}, {"line_of", prim_line_of}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
