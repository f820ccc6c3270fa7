/* SPDX-License-Identifier: Apache-2.0
 * graph.c - the primitives that make nodes, leaves, regions and outputs.
 *
 * `emit` is the whole binding of an operation: its name, operands, and attributes by their names in
 * the op table. The prelude builds every method on it. */
#include "frontends/lua/binding.h"

#include <string.h>

#include "runtime/json.h"

enum { MAX_TENSOR_NAME = 1000 };

static uint32_t read_refs(lua_State *L, int at, const lap_ref **out)
{
    luaL_checktype(L, at, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, at);
    lap_ref *refs = lap_arena_array(lap_lua_of(L)->ctx->arena, (size_t)n + 1, sizeof *refs);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, at, (lua_Integer)i + 1);
        refs[i] = lap_lua_lift(L, -1);
        if (!lap_ref_some(refs[i])) {
            lap_lua_raise(L);
        }
        lua_pop(L, 1);
    }
    *out = refs;
    return (uint32_t)n;
}

/* { dtype = "f32", { name, size, count? }, ... } */
static lap_type read_type(lua_State *L, int at)
{
    luaL_checktype(L, at, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, at);
    lap_axis *axes = lap_arena_array(lap_lua_of(L)->ctx->arena, (size_t)n + 1, sizeof *axes);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, at, (lua_Integer)i + 1);
        luaL_checktype(L, -1, LUA_TTABLE);
        lua_rawgeti(L, -1, 1);
        axes[i].name = lap_lua_check_name(L, -1, "axis name");
        lua_rawgeti(L, -2, 2);
        axes[i].size = lap_lua_check_dim(L, -1, "the size of an axis");
        lua_rawgeti(L, -3, 3);
        axes[i].count = lua_isnil(L, -1) ? LAP_NONE : lap_lua_value(L, -1);
        lua_pop(L, 4);
    }
    lua_getfield(L, at, "dtype");
    lap_dtype dtype = lap_lua_check_dtype(L, -1);
    lua_pop(L, 1);
    return (lap_type){dtype, (uint32_t)n, axes};
}

static uint32_t read_regions(lua_State *L, int at, const lap_region_id **out)
{
    if (lua_isnoneornil(L, at)) {
        return 0;
    }
    lua_Unsigned n = lua_rawlen(L, at);
    lap_region_id *ids = lap_arena_array(lap_lua_of(L)->ctx->arena, (size_t)n + 1, sizeof *ids);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, at, (lua_Integer)i + 1);
        ids[i].ix = (uint32_t)luaL_checkinteger(L, -1);
        lua_pop(L, 1);
    }
    *out = ids;
    return (uint32_t)n;
}

/* The compute type that constants of an op take: fill and base follow operand 0. */
static lap_dtype scalar_type(const lap_graph *g, lap_op op, uint32_t n_args, const lap_ref *args)
{
    if ((op != LAP_OP_AT && op != LAP_OP_SCATTER) || n_args == 0) {
        return LAP_NO_DTYPE;
    }
    lap_dtype t = lap_node_at(g, args[0])->dtype;
    if (t == LAP_NO_DTYPE) {
        return t;
    }
    t = lap_dtype_compute(t);
    return op == LAP_OP_SCATTER && t == LAP_BOOL ? LAP_NO_DTYPE : t;
}

/* emit(op, args, attrs?, regions?, type?) */
static int prim_emit(lua_State *L)
{
    lua_settop(L, 5);
    size_t length;
    const char *name = luaL_checklstring(L, 1, &length);
    lap_op op;
    if (!lap_op_find(name, length, &op)) {
        lap_lua_fail(L, "no operation '%s'", name);
    }
    lap_graph *g = lap_lua_graph(L);
    lap_attr attrs[LAP_N_ATTRS];
    lap_type type;
    lap_emit_args e = {.op = op, .attrs = attrs};
    e.n_args = read_refs(L, 2, &e.args);
    if (!lua_isnil(L, 3)) {
        e.n_attrs = lap_lua_attrs(L, op, 3, scalar_type(g, op, e.n_args, e.args), attrs);
    }
    e.n_regions = read_regions(L, 4, &e.regions);
    if (!lua_isnil(L, 5)) {
        type = read_type(L, 5);
        e.type = &type;
    }
    lap_lua_push_value(L, lap_emit(g, &e));
    return 1;
}

/* result(multi, which, type?) */
static int prim_result(lua_State *L)
{
    lap_graph *g = lap_lua_graph(L);
    lap_ref multi = lap_lua_value(L, 1);
    const char *which = luaL_checkstring(L, 2);
    if (lua_isnoneornil(L, 3)) {
        lap_lua_push_value(L, lap_result(g, multi, which));
        return 1;
    }
    lap_type type = read_type(L, 3);
    lap_attr attr = lap_attr_make_name(LAP_ATTR_WHICH, lap_intern(lap_lua_of(L)->ctx, which));
    lap_emit_args e = {
        .op = LAP_OP_RESULT, .n_args = 1, .args = &multi, .n_attrs = 1, .attrs = &attr, .type = &type};
    lap_lua_push_value(L, lap_emit(g, &e));
    return 1;
}

static int prim_ragged(lua_State *L)
{
    lap_graph *g = lap_lua_graph(L);
    lap_ref x = lap_lua_value(L, 1), count = lap_lua_lift(L, 3);
    lap_lua_push_value(L, lap_ragged(g, x, lap_lua_check_name(L, 2, "axis name"), count));
    return 1;
}

static int prim_expect(lua_State *L)
{
    lap_graph *g = lap_lua_graph(L);
    lap_ref x = lap_lua_value(L, 1);
    lap_name axis = lap_lua_check_name(L, 2, "axis name");
    lap_lua_push_value(L, lap_expect(g, x, axis, lap_lua_check_dim(L, 3, "the size")));
    return 1;
}

static int prim_index(lua_State *L)
{
    lap_graph *g = lap_lua_graph(L);
    lap_axis a = {.name = lap_lua_check_name(L, 1, "axis name")};
    a.size = lap_lua_check_dim(L, 2, "the size of an index");
    a.count = lua_isnoneornil(L, 3) ? LAP_NONE : lap_lua_value(L, 3);
    lap_lua_push_value(L, lap_index(g, a));
    return 1;
}

/* A name of a tensor, which files, messages and headers can hold: UTF-8 without control characters. */
static const char *check_tensor_name(lua_State *L, int at, const char *what)
{
    if (lua_type(L, at) != LUA_TSTRING) {
        lap_lua_fail(L, "expected the name of %s, found %s", what, lap_lua_kind(L, at));
    }
    size_t length;
    const char *name = lua_tolstring(L, at, &length);
    bool is_plain = length > 0 && length <= MAX_TENSOR_NAME && lap_utf8_valid(name, length);
    for (size_t i = 0; i < length && is_plain; i++) {
        is_plain = (unsigned char)name[i] >= 0x20 && name[i] != 0x7f;
    }
    if (!is_plain) {
        lap_lua_fail(L, "'%.100s' is no name of %s", name, what);
    }
    return name;
}

/* leaf(op, name, spec, sizes, dtype, optional, line): a weight, or an input with the line of its layout. */
static int prim_leaf(lua_State *L)
{
    lap_lua *l = lap_lua_of(L);
    lua_settop(L, 7);
    lap_graph *g = lap_lua_graph(L);
    bool is_input = strcmp(luaL_checkstring(L, 1), "input") == 0;
    const char *name = check_tensor_name(L, 2, is_input ? "an input" : "a weight");
    if (lua_type(L, 3) == LUA_TTABLE) {
        luaL_tolstring(L, 3, NULL);
        lua_replace(L, 3);
    }
    if (lua_type(L, 3) != LUA_TSTRING) {
        lap_lua_fail(L, "the layout of '%s' must be a string, found %s", name, lap_lua_kind(L, 3));
    }
    if (is_input && !lua_isnil(L, 7)) {
        lap_set_loc(g, lap_loc_make(l->ctx, l->model_source + 1, (int)lua_tointeger(L, 7), (lap_loc){0}));
    }
    lap_lua_layout layout = lap_lua_read_layout(L, lua_tostring(L, 3), lua_isnil(L, 4) ? 0 : 4,
                                                is_input ? LAP_UNSIZED_SHARED : LAP_UNSIZED_FRESH);
    lap_type type = {lap_lua_check_dtype(L, 5), layout.n_axes, layout.axes};
    lap_attr attrs[] = {lap_attr_make_name(LAP_ATTR_NAME, lap_intern(l->ctx, name)),
                        lap_attr_make_layout(LAP_ATTR_LAYOUT, layout.groups),
                        lap_attr_make_i(LAP_ATTR_OPTIONAL, 1)};
    lap_emit_args e = {.op = is_input ? LAP_OP_INPUT : LAP_OP_WEIGHT,
                       .n_attrs = lua_toboolean(L, 6) ? 3 : 2,
                       .attrs = attrs,
                       .type = &type};
    lap_lua_push_value(L, lap_emit(g, &e));
    return 1;
}

/* region(list of { x = tensor, drop = axis } or { dtype = ".." }) -> id, list of parameters */
static int prim_region(lua_State *L)
{
    lap_lua *l = lap_lua_of(L);
    lap_graph *g = lap_lua_graph(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    uint32_t n = (uint32_t)lua_rawlen(L, 1);
    lap_type *types = lap_arena_array(l->ctx->arena, n + 1, sizeof *types);
    for (uint32_t i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        int at = lua_gettop(L);
        lua_getfield(L, at, "dtype");
        lua_getfield(L, at, "x");
        lua_getfield(L, at, "drop");
        if (!lua_isnil(L, at + 2)) {
            const lap_node *x = lap_node_at(g, lap_lua_value(L, at + 2));
            lap_axis *axes = lap_arena_array(l->ctx->arena, x->n_axes + 1, sizeof *axes);
            lap_name drop = lua_isnil(L, at + 3) ? (lap_name){0} : lap_lua_check_name(L, at + 3, "axis name");
            types[i].dtype = x->dtype;
            types[i].axes = axes;
            for (uint32_t a = 0; a < x->n_axes; a++) {
                if (!lap_name_same(x->axes[a].name, drop)) {
                    axes[types[i].n_axes++] = x->axes[a];
                }
            }
        }
        if (!lua_isnil(L, at + 1)) {
            types[i].dtype = lap_lua_check_dtype(L, at + 1);
        }
        lua_settop(L, at - 1);
    }
    lap_ref *params = lap_arena_array(l->ctx->arena, n + 1, sizeof *params);
    lap_region_id id = lap_region_begin(g, n, types, params);
    l->depth++;
    lua_pushinteger(L, id.ix);
    lua_createtable(L, (int)n, 0);
    for (uint32_t i = 0; i < n; i++) {
        lap_lua_push_value(L, params[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
}

/* region_end(id, results) */
static int prim_region_end(lua_State *L)
{
    lap_lua *l = lap_lua_of(L);
    lap_region_id id = {(uint32_t)luaL_checkinteger(L, 1)};
    const lap_ref *results;
    uint32_t n = read_refs(L, 2, &results);
    lap_region_end(lap_lua_graph(L), id, n, results);
    l->depth--;
    return 0;
}

static void check_output_axes(lua_State *L, const char *name, const lap_node *v, const lap_lua_layout *layout)
{
    lap_ctx *ctx = lap_lua_of(L)->ctx;
    for (uint32_t i = 0; i < v->n_axes; i++) {
        if (!lap_axis_find(layout->axes, layout->n_axes, v->axes[i].name)) {
            lap_lua_fail(L, "output '%s' does not say where axis '%s' of %s goes", name,
                         lap_text(ctx, v->axes[i].name), lap_type_show(ctx, v));
        }
    }
    for (uint32_t i = 0; i < layout->n_axes; i++) {
        const lap_axis *a = lap_node_axis(v, layout->axes[i].name);
        if (!a) {
            lap_lua_fail(L, "output '%s' names axis '%s', which %s lacks", name,
                         lap_text(ctx, layout->axes[i].name), lap_type_show(ctx, v));
        }
        if (layout->is_sized[i] &&
            !lap_graph_assume(lap_lua_of(L)->graph, a->size, LAP_REL_EQ, layout->axes[i].size,
                              lap_arena_printf(ctx->arena,
                                               "axis '%s' of output '%s' has another size than its "
                                               "layout says",
                                               lap_text(ctx, a->name), name))) {
            lap_lua_raise(L);
        }
    }
}

/* Run-time extents that cut the output, in the order of the layout. */
static void read_crops(lua_State *L, const char *name, int at, const lap_lua_layout *layout, lap_output *out)
{
    lap_ctx *ctx = lap_lua_of(L)->ctx;
    if (lua_isnoneornil(L, at)) {
        return;
    }
    luaL_checktype(L, at, LUA_TTABLE);
    lap_name *axes = lap_arena_array(ctx->arena, layout->n_axes + 1, sizeof *axes);
    lap_ref *counts = lap_arena_array(ctx->arena, layout->n_axes + 1, sizeof *counts);
    for (uint32_t i = 0; i < layout->n_axes; i++) {
        lua_getfield(L, at, lap_text(ctx, layout->axes[i].name));
        if (!lua_isnil(L, -1)) {
            axes[out->n_crops] = layout->axes[i].name;
            counts[out->n_crops++] = lap_lua_lift(L, -1);
        }
        lua_pop(L, 1);
    }
    uint32_t n_given = 0;
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
        n_given++;
    }
    if (n_given != out->n_crops) {
        lap_lua_fail(L, "output '%s' crops an axis that its layout does not name", name);
    }
    out->crop_axes = axes;
    out->crop_counts = counts;
}

/* output(name, tensor, layout, crop?) */
static int prim_output(lua_State *L)
{
    lap_lua *l = lap_lua_of(L);
    lua_settop(L, 4);
    const char *name = check_tensor_name(L, 1, "an output");
    lap_graph *g = lap_lua_graph(L);
    lap_ref v = lap_lua_lift(L, 2);
    const char *spec = luaL_tolstring(L, 3, NULL);
    const lap_node *node = lap_node_at(g, v);
    if (node->dtype == LAP_NO_DTYPE) {
        lap_lua_fail(L, "output '%s' is an operation of several results\nhint: name one, as in o.out", name);
    }
    lap_lua_layout layout = lap_lua_read_layout(L, spec, 0, LAP_UNSIZED_OUTPUT);
    check_output_axes(L, name, node, &layout);
    lap_output out = {lap_intern(l->ctx, name), v, layout.groups, lap_get_loc(g), 0, NULL, NULL};
    for (uint32_t i = 0; i < lap_graph_n_outputs(g); i++) {
        if (lap_name_same(lap_graph_output(g, i)->name, out.name)) {
            lap_lua_fail(L, "output '%s' is given twice", name);
        }
    }
    read_crops(L, name, 4, &layout, &out);
    lap_graph_add_output(g, &out);
    return 0;
}

static int prim_n_outputs(lua_State *L)
{
    lua_pushinteger(L, lap_graph_n_outputs(lap_lua_graph(L)));
    return 1;
}

/* require(condition, message) */
static int prim_require(lua_State *L)
{
    if (!lap_require(lap_lua_graph(L), lap_lua_value(L, 1), luaL_checkstring(L, 2))) {
        lap_lua_raise(L);
    }
    return 0;
}

void lap_lua_open_graph(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"emit", prim_emit},           {"result", prim_result},         {"ragged", prim_ragged},
        {"expect", prim_expect},       {"index", prim_index},           {"leaf", prim_leaf},
        {"region", prim_region},       {"region_end", prim_region_end}, {"output", prim_output},
        {"n_outputs", prim_n_outputs}, {"require", prim_require},       {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
