/* SPDX-License-Identifier: Apache-2.0
 * build.c - the constructors on top of lap_emit, outputs and checks. */
#include "ir/fold.h"
#include "ir/store.h"

void lap_set_loc(lap_graph *g, lap_loc loc) { g->loc = loc; }

lap_loc lap_get_loc(const lap_graph *g) { return g->loc; }

/* ---- constructors --------------------------------------------------------------------------- */

static lap_ref emit_const(lap_graph *g, lap_scalar value)
{
    lap_attr a = lap_attr_make_scalar(LAP_ATTR_VALUE, value);
    return lap_emit(g, &(lap_emit_args){.op = LAP_OP_CONST, .n_attrs = 1, .attrs = &a});
}

lap_ref lap_const_f(lap_graph *g, double value) { return emit_const(g, lap_scalar_f(value)); }

lap_ref lap_const_i(lap_graph *g, int64_t value) { return emit_const(g, lap_scalar_i(value)); }

lap_ref lap_const_b(lap_graph *g, bool value) { return emit_const(g, lap_scalar_b(value)); }

lap_ref lap_dim_node(lap_graph *g, lap_dim d)
{
    lap_attr a = lap_attr_make_dim(LAP_ATTR_DIM, d);
    return lap_emit(g, &(lap_emit_args){.op = LAP_OP_DIM, .n_attrs = 1, .attrs = &a});
}

lap_ref lap_index(lap_graph *g, lap_axis axis)
{
    lap_attr a = lap_attr_make_name(LAP_ATTR_AXIS, axis.name);
    lap_type type = {LAP_I64, 1, &axis};
    return lap_emit(g, &(lap_emit_args){.op = LAP_OP_INDEX, .n_attrs = 1, .attrs = &a, .type = &type});
}

lap_ref lap_full(lap_graph *g, lap_scalar value, uint32_t n_axes, const lap_axis *axes)
{
    lap_attr a = lap_attr_make_scalar(LAP_ATTR_VALUE, value);
    lap_type type = {value.dtype, n_axes, axes};
    return lap_emit(g, &(lap_emit_args){.op = LAP_OP_FULL, .n_attrs = 1, .attrs = &a, .type = &type});
}

static lap_ref emit_map(lap_graph *g, lap_fn fn, uint32_t n, const lap_ref *args)
{
    lap_attr a = lap_attr_make_i(LAP_ATTR_FN, fn);
    return lap_emit(g,
                    &(lap_emit_args){.op = LAP_OP_MAP, .n_args = n, .args = args, .n_attrs = 1, .attrs = &a});
}

lap_ref lap_map1(lap_graph *g, lap_fn fn, lap_ref a) { return emit_map(g, fn, 1, &a); }

lap_ref lap_map2(lap_graph *g, lap_fn fn, lap_ref a, lap_ref b)
{
    return emit_map(g, fn, 2, (lap_ref[]){a, b});
}

lap_ref lap_map3(lap_graph *g, lap_fn fn, lap_ref a, lap_ref b, lap_ref c)
{
    return emit_map(g, fn, 3, (lap_ref[]){a, b, c});
}

lap_ref lap_reduce(lap_graph *g, lap_red red, lap_ref x, lap_names over)
{
    lap_attr attrs[] = {lap_attr_make_i(LAP_ATTR_RED, red), lap_attr_make_names(LAP_ATTR_OVER, over)};
    return lap_emit(
        g, &(lap_emit_args){.op = LAP_OP_REDUCE, .n_args = 1, .args = &x, .n_attrs = 2, .attrs = attrs});
}

lap_ref lap_at(lap_graph *g, lap_ref x, lap_names src, const lap_ref *index, const lap_scalar *fill)
{
    lap_attr attrs[2] = {lap_attr_make_names(LAP_ATTR_SRC, src)};
    if (fill) {
        attrs[1] = lap_attr_make_scalar(LAP_ATTR_FILL, *fill);
    }
    lap_ref *args = lap_arena_array(g->ctx->arena, (size_t)src.n + 1, sizeof *args);
    args[0] = x;
    for (uint32_t i = 0; i < src.n; i++) {
        args[i + 1] = index[i];
    }
    return lap_emit(
        g, &(lap_emit_args){
               .op = LAP_OP_AT, .n_args = src.n + 1, .args = args, .n_attrs = fill ? 2 : 1, .attrs = attrs});
}

static lap_ref emit_rename(lap_graph *g, lap_ref x, lap_names from, lap_names to, const lap_type *type)
{
    lap_attr attrs[] = {lap_attr_make_names(LAP_ATTR_FROM, from), lap_attr_make_names(LAP_ATTR_TO, to)};
    return lap_emit(
        g, &(lap_emit_args){
               .op = LAP_OP_RENAME, .n_args = 1, .args = &x, .n_attrs = 2, .attrs = attrs, .type = type});
}

lap_ref lap_rename(lap_graph *g, lap_ref x, lap_names from, lap_names to)
{
    return emit_rename(g, x, from, to, NULL);
}

/* The same value with one axis replaced by `axis`, which has its name. */
static lap_ref with_axis(lap_graph *g, lap_ref x, lap_axis axis)
{
    if (!lap_ref_some(x)) {
        return LAP_NONE;
    }
    const lap_node *n = lap_node_at(g, x);
    if (!lap_node_axis(n, axis.name)) {
        lap_error(g->ctx, g->loc, "no axis '%s' in %s", lap_text(g->ctx, axis.name),
                  lap_type_show(g->ctx, n));
        return LAP_NONE;
    }
    lap_axis *axes = lap_arena_copy(g->ctx->arena, n->axes, n->n_axes * sizeof *axes);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_name_same(axes[i].name, axis.name)) {
            axes[i] = axis;
        }
    }
    lap_type type = {n->dtype, n->n_axes, axes};
    return emit_rename(g, x, (lap_names){0, NULL}, (lap_names){0, NULL}, &type);
}

lap_ref lap_ragged(lap_graph *g, lap_ref x, lap_name axis, lap_ref count)
{
    if (!lap_ref_some(x) || !lap_ref_some(count)) {
        return LAP_NONE;
    }
    const lap_axis *a = lap_node_axis(lap_node_at(g, x), axis);
    return with_axis(g, x, (lap_axis){axis, a ? a->size : (lap_dim){0}, count});
}

lap_ref lap_expect(lap_graph *g, lap_ref x, lap_name axis, lap_dim size)
{
    if (!lap_ref_some(x)) {
        return LAP_NONE;
    }
    const lap_axis *a = lap_node_axis(lap_node_at(g, x), axis);
    return with_axis(g, x, (lap_axis){axis, size, a ? a->count : LAP_NONE});
}

lap_ref lap_result(lap_graph *g, lap_ref multi, const char *which)
{
    lap_attr a = lap_attr_make_name(LAP_ATTR_WHICH, lap_intern(g->ctx, which));
    return lap_emit(
        g, &(lap_emit_args){.op = LAP_OP_RESULT, .n_args = 1, .args = &multi, .n_attrs = 1, .attrs = &a});
}

/* ---- outputs and checks --------------------------------------------------------------------- */

void lap_graph_add_output(lap_graph *g, const lap_output *out)
{
    lap_arena *arena = g->ctx->arena;
    lap_arena_grow(arena, &g->outputs, g->n_outputs, 1, &g->output_capacity, sizeof *out);
    lap_output *o = &g->outputs[g->n_outputs++];
    *o = *out;
    lap_attr layout = lap_attr_make_layout(LAP_ATTR_LAYOUT, out->layout);
    o->layout = lap_attr_copy(arena, &layout).layout;
    if (out->n_crops) {
        o->crop_axes = lap_arena_copy(arena, out->crop_axes, out->n_crops * sizeof *out->crop_axes);
        o->crop_counts = lap_arena_copy(arena, out->crop_counts, out->n_crops * sizeof *out->crop_counts);
    }
}

bool lap_graph_assume(lap_graph *g, lap_dim a, lap_rel rel, lap_dim b, const char *message)
{
    switch (lap_dim_compare(g->ctx, a, rel, b)) {
    case LAP_YES:
        return true;
    case LAP_NO:
        return lap_error(g->ctx, g->loc, "%s", message);
    case LAP_UNKNOWN:
        break;
    }
    for (size_t i = 0; i < g->n_checks; i++) {
        const lap_check *c = &g->checks[i];
        if (c->rel == rel && ((lap_dim_same(c->a, a) && lap_dim_same(c->b, b)) ||
                              (rel == LAP_REL_EQ && lap_dim_same(c->a, b) && lap_dim_same(c->b, a)))) {
            return true;
        }
    }
    lap_arena_grow(g->ctx->arena, &g->checks, g->n_checks, 1, &g->check_capacity, sizeof(lap_check));
    g->checks[g->n_checks++] = (lap_check){a, rel, b, lap_text(g->ctx, lap_intern(g->ctx, message)), g->loc};
    return true;
}

bool lap_require(lap_graph *g, lap_ref cond, const char *message)
{
    lap_dim a, b;
    lap_rel rel;
    if (g->open.ix == 0 && lap_fold_relation(g, cond, &a, &rel, &b)) {
        return lap_graph_assume(g, a, rel, b, message);
    }
    lap_attr attr = lap_attr_make_name(LAP_ATTR_MESSAGE, lap_intern(g->ctx, message));
    return lap_ref_some(lap_emit(
        g, &(lap_emit_args){.op = LAP_OP_REQUIRE, .n_args = 1, .args = &cond, .n_attrs = 1, .attrs = &attr}));
}
