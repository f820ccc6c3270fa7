/* SPDX-License-Identifier: Apache-2.0
 * infer_region.c - type rules of scan, loop, branch, call and custom.
 *
 * Parameters of a body: scan: the states, the inputs without the axis, the step (i64); loop: the
 * states; branch: none; call: the operands; custom: the gradient of the value. Results of a body:
 * scan: the next states, the emitted values; loop: the next states, the test; branch and call: the
 * outs; custom: one gradient per operand after the first. */
#include "ir/infer_rules.h"

#include <string.h>

static lap_type type_of(lap_graph *g, lap_ref ref) { return lap_node_type(lap_node_at(g, ref)); }

static bool count_is(lap_graph *g, lap_op op, const char *what, size_t found, size_t expected)
{
    return found == expected ||
           lap_error(lap_graph_ctx(g), lap_get_loc(g), "the body of %s has %zu %s, expected %zu",
                     lap_op_text(op), found, what, expected);
}

/* What the parameter is called in messages. */
static const char *operand_text(lap_graph *g, const lap_emit_args *e, uint32_t i)
{
    lap_names states = lap_emit_names(e, LAP_ATTR_STATES);
    lap_ctx *ctx = lap_graph_ctx(g);
    return i < states.n ? lap_arena_printf(ctx->arena, "state '%s'", lap_text(ctx, states.at[i]))
                        : lap_arena_printf(ctx->arena, "operand %u of %s", i, lap_op_text(e->op));
}

/* The parameter stands for a value of this type: the same axes, whatever their order. */
static bool param_is(lap_graph *g, const char *what, lap_ref param, const lap_type *want)
{
    lap_type have = type_of(g, param);
    return lap_infer_fits(g, what, want, &have) && lap_infer_fits(g, what, &have, want);
}

/* A value that leaves a body may not end at an extent computed inside it. */
static bool leaves(lap_graph *g, const char *what, lap_region_id body, const lap_type *t)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    for (uint32_t i = 0; i < t->n_axes; i++) {
        if (!lap_ref_some(t->axes[i].count)) {
            continue;
        }
        lap_region_id at = lap_node_at(g, t->axes[i].count)->region;
        while (at.ix != body.ix && at.ix != 0) {
            at = lap_region_at(g, at)->parent;
        }
        if (at.ix == body.ix) {
            return lap_error(ctx, lap_get_loc(g),
                             "%s leaves a body, but the extent of its axis '%s' is computed inside", what,
                             lap_text(ctx, t->axes[i].name));
        }
    }
    return true;
}

static bool states_hold(lap_graph *g, const lap_emit_args *e, const lap_region *body, uint32_t n)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    for (uint32_t i = 0; i < n; i++) {
        lap_type start = type_of(g, e->args[i]), next = type_of(g, body->results[i]);
        const char *what = operand_text(g, e, i);
        if (!param_is(g, what, body->params[i], &start) ||
            !lap_infer_fits(g, lap_arena_printf(ctx->arena, "the next value of %s", what), &next, &start)) {
            return false;
        }
    }
    return true;
}

/* ---- scan ----------------------------------------------------------------------------------- */

static bool scan_inputs(lap_graph *g, const lap_emit_args *e, const lap_region *body, uint32_t n_states)
{
    lap_name along = lap_emit_attr(e, LAP_ATTR_ALONG)->name;
    lap_dim steps = lap_emit_attr(e, LAP_ATTR_STEPS)->dim;
    for (uint32_t i = n_states; i < e->n_args; i++) {
        lap_type x = type_of(g, e->args[i]);
        const lap_axis *a = lap_axis_find(x.axes, x.n_axes, along);
        if (a && !lap_infer_same_size(g, along, a->size, steps)) {
            return false;
        }
        x.n_axes = lap_axes_without(lap_graph_ctx(g), x.n_axes, x.axes, (lap_names){1, &along}, &x.axes);
        if (!param_is(g, operand_text(g, e, i), body->params[i], &x)) {
            return false;
        }
    }
    lap_type step = {LAP_I64, 0, NULL};
    return param_is(g, "the step of scan", body->params[e->n_args], &step);
}

bool lap_infer_scan(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    (void)out;
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_names states = lap_emit_names(e, LAP_ATTR_STATES), outs = lap_emit_names(e, LAP_ATTR_OUTS);
    lap_name along = lap_emit_attr(e, LAP_ATTR_ALONG)->name;
    const lap_region *body = lap_region_at(g, e->regions[0]);
    if (states.n > e->n_args) {
        return lap_error(ctx, lap_get_loc(g), "scan has %u states and %u operands", states.n, e->n_args);
    }
    if (!count_is(g, e->op, "parameters", body->n_params, (size_t)e->n_args + 1) ||
        !count_is(g, e->op, "results", body->n_results, (size_t)states.n + outs.n) ||
        !lap_infer_unique(g, "state", states) || !lap_infer_unique(g, "emitted value", outs) ||
        !states_hold(g, e, body, states.n) || !scan_inputs(g, e, body, states.n)) {
        return false;
    }
    for (uint32_t i = 0; i < outs.n; i++) {
        lap_type t = type_of(g, body->results[states.n + i]);
        const char *what = lap_arena_printf(ctx->arena, "'%s'", lap_text(ctx, outs.at[i]));
        if (lap_axis_find(t.axes, t.n_axes, along)) {
            return lap_error(ctx, lap_get_loc(g), "%s has axis '%s' already, which the scan adds", what,
                             lap_text(ctx, along));
        }
        if (!leaves(g, what, e->regions[0], &t)) {
            return false;
        }
    }
    return true;
}

/* The axis that emitted values gain: it ends where the inputs do. */
static bool scan_axis(lap_graph *g, const lap_node *m, lap_axis *out)
{
    *out = (lap_axis){lap_attr_name(m, LAP_ATTR_ALONG), lap_attr_dim(m, LAP_ATTR_STEPS), LAP_NONE};
    for (uint32_t i = lap_attr_names(m, LAP_ATTR_STATES).n; i < m->n_args; i++) {
        const lap_axis *a = lap_node_axis(lap_node_at(g, m->args[i]), out->name), *both;
        uint32_t n;
        if (a && !lap_axes_union(g, 1, out, 1, a, &n, &both)) {
            return false;
        }
        *out = a ? both[0] : *out;
    }
    return true;
}

bool lap_infer_scan_result(lap_graph *g, const lap_node *m, const char *which, lap_type *out)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_names states = lap_attr_names(m, LAP_ATTR_STATES), outs = lap_attr_names(m, LAP_ATTR_OUTS);
    lap_name name = lap_intern(ctx, which);
    for (uint32_t i = 0; i < outs.n; i++) {
        if (!lap_name_same(outs.at[i], name)) {
            continue;
        }
        lap_type t = type_of(g, lap_region_at(g, m->regions[0])->results[states.n + i]);
        lap_axis axis;
        *out = (lap_type){lap_dtype_compute(t.dtype), 0, NULL};
        return scan_axis(g, m, &axis) &&
               lap_axes_union(g, t.n_axes, t.axes, 1, &axis, &out->n_axes, &out->axes);
    }
    for (uint32_t i = 0; i < states.n && strncmp(which, "last_", 5) == 0; i++) {
        if (strcmp(lap_text(ctx, states.at[i]), which + 5) == 0) {
            *out = type_of(g, m->args[i]);
            out->dtype = lap_dtype_compute(out->dtype);
            return true;
        }
    }
    return lap_infer_no_result(g, m, which);
}

/* ---- loop ----------------------------------------------------------------------------------- */

bool lap_infer_loop(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    (void)out;
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_names states = lap_emit_names(e, LAP_ATTR_STATES);
    const lap_region *body = lap_region_at(g, e->regions[0]);
    if (states.n != e->n_args) {
        return lap_error(ctx, lap_get_loc(g), "loop has %u states and %u operands", states.n, e->n_args);
    }
    if (!count_is(g, e->op, "parameters", body->n_params, e->n_args) ||
        !count_is(g, e->op, "results", body->n_results, (size_t)e->n_args + 1) ||
        !lap_infer_unique(g, "state", states) || !states_hold(g, e, body, states.n)) {
        return false;
    }
    lap_type test = type_of(g, body->results[states.n]);
    return (test.dtype == LAP_BOOL && test.n_axes == 0) ||
           lap_error(ctx, lap_get_loc(g), "the test of loop is %s, expected one condition",
                     lap_axes_show(ctx, test.dtype, test.n_axes, test.axes));
}

bool lap_infer_loop_result(lap_graph *g, const lap_node *m, const char *which, lap_type *out)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_names states = lap_attr_names(m, LAP_ATTR_STATES);
    for (uint32_t i = 0; i < states.n; i++) {
        if (strcmp(lap_text(ctx, states.at[i]), which) == 0) {
            *out = type_of(g, m->args[i]);
            out->dtype = lap_dtype_compute(out->dtype);
            return true;
        }
    }
    return lap_infer_no_result(g, m, which);
}

/* ---- branch, call, custom ------------------------------------------------------------------- */

static bool outs_leave(lap_graph *g, const lap_emit_args *e, lap_names outs, lap_region_id id)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    const lap_region *body = lap_region_at(g, id);
    if (!count_is(g, e->op, "results", body->n_results, outs.n)) {
        return false;
    }
    for (uint32_t i = 0; i < outs.n; i++) {
        lap_type t = type_of(g, body->results[i]);
        if (!leaves(g, lap_arena_printf(ctx->arena, "'%s'", lap_text(ctx, outs.at[i])), id, &t)) {
            return false;
        }
    }
    return lap_infer_unique(g, "result", outs);
}

/* A result of a branch has the axes of both sides; the element types must agree. */
static bool branch_type(lap_graph *g, const lap_region_id *sides, uint32_t i, lap_type *out)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_type a = type_of(g, lap_region_at(g, sides[0])->results[i]);
    lap_type b = type_of(g, lap_region_at(g, sides[1])->results[i]);
    out->dtype = lap_dtype_compute(a.dtype);
    if (out->dtype != lap_dtype_compute(b.dtype)) {
        return lap_error(ctx, lap_get_loc(g), "a result of branch is %s on one side and %s on the other",
                         lap_axes_show(ctx, a.dtype, a.n_axes, a.axes),
                         lap_axes_show(ctx, b.dtype, b.n_axes, b.axes));
    }
    return lap_axes_union(g, a.n_axes, a.axes, b.n_axes, b.axes, &out->n_axes, &out->axes);
}

bool lap_infer_branch(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_names outs = lap_emit_names(e, LAP_ATTR_OUTS);
    const lap_node *test = lap_node_at(g, e->args[0]);
    if (test->dtype != LAP_BOOL || test->n_axes != 0) {
        return lap_error(ctx, lap_get_loc(g), "the test of branch is %s, expected one condition",
                         lap_type_show(ctx, test));
    }
    lap_type side;
    for (uint32_t r = 0; r < 2; r++) {
        if (!count_is(g, e->op, "parameters", lap_region_at(g, e->regions[r])->n_params, 0) ||
            !outs_leave(g, e, outs, e->regions[r])) {
            return false;
        }
    }
    for (uint32_t i = 0; i < outs.n; i++) {
        if (!branch_type(g, e->regions, i, &side)) {
            return false;
        }
    }
    (void)out;
    return true;
}

static bool find_out(lap_graph *g, const lap_node *m, const char *which, uint32_t *out_i)
{
    lap_names outs = lap_attr_names(m, LAP_ATTR_OUTS);
    for (uint32_t i = 0; i < outs.n; i++) {
        if (strcmp(lap_text(lap_graph_ctx(g), outs.at[i]), which) == 0) {
            *out_i = i;
            return true;
        }
    }
    return lap_infer_no_result(g, m, which);
}

bool lap_infer_branch_result(lap_graph *g, const lap_node *m, const char *which, lap_type *out)
{
    uint32_t i;
    return find_out(g, m, which, &i) && branch_type(g, m->regions, i, out);
}

bool lap_infer_call(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    (void)out;
    const lap_region *body = lap_region_at(g, e->regions[0]);
    if (!count_is(g, e->op, "parameters", body->n_params, e->n_args)) {
        return false;
    }
    for (uint32_t i = 0; i < e->n_args; i++) {
        lap_type x = type_of(g, e->args[i]);
        if (!param_is(g, operand_text(g, e, i), body->params[i], &x)) {
            return false;
        }
    }
    return outs_leave(g, e, lap_emit_names(e, LAP_ATTR_OUTS), e->regions[0]);
}

bool lap_infer_call_result(lap_graph *g, const lap_node *m, const char *which, lap_type *out)
{
    uint32_t i;
    if (!find_out(g, m, which, &i)) {
        return false;
    }
    *out = type_of(g, lap_region_at(g, m->regions[0])->results[i]);
    out->dtype = lap_dtype_compute(out->dtype);
    return true;
}

bool lap_infer_custom(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    const lap_region *rule = lap_region_at(g, e->regions[0]);
    lap_type value = type_of(g, e->args[0]);
    value.dtype = lap_dtype_compute(value.dtype);
    if (!count_is(g, e->op, "parameters", rule->n_params, 1) ||
        !count_is(g, e->op, "results", rule->n_results, (size_t)e->n_args - 1) ||
        !param_is(g, "the gradient given to custom", rule->params[0], &value)) {
        return false;
    }
    for (uint32_t i = 1; i < e->n_args; i++) {
        lap_type x = type_of(g, e->args[i]), d = type_of(g, rule->results[i - 1]);
        if (!lap_infer_fits(g, lap_arena_printf(ctx->arena, "gradient %u of custom", i), &d, &x)) {
            return false;
        }
    }
    *out = value;
    return true;
}
