/* SPDX-License-Identifier: Apache-2.0
 * lower_region.c - scan, loop and branch as steps around the kernels of their regions.
 *
 * States live in buffers of their own. A round computes everything from the old states, then the
 * new states are copied in; values that are parameters or come from outside go through a second
 * buffer first, since another copy may overwrite them. */
#include "passes/lower.h"

#include <string.h>

static void copy_into(lap_lowering *l, lap_ref value, lap_ref like)
{
    lap_dest d = lap_dest_of(l, like);
    lap_lower_map(l, value, &d, false);
}

static bool is_safe_source(lap_lowering *l, lap_ref value, lap_region_id region)
{
    const lap_node *n = lap_node_at(l->g, value);
    const lap_plan_node *p = lap_plan_of(l, value);
    return n->op != LAP_OP_PARAM && n->region.ix == region.ix &&
           (p->kind == LAP_STORE_MAP || p->kind == LAP_STORE_CONTRACT || p->kind == LAP_STORE_ROOT);
}

/* New states into the buffers of the parameters. */
static void replace_states(lap_lowering *l, lap_region_id region, uint32_t n_states)
{
    const lap_region *body = lap_region_at(l->g, region);
    lap_dest *second = lap_arena_array(l->ctx->arena, n_states + 1, sizeof *second);
    for (uint32_t i = 0; i < n_states; i++) {
        if (lap_ref_same(body->results[i], body->params[i]) || is_safe_source(l, body->results[i], region)) {
            continue;
        }
        second[i] = lap_dest_of(l, body->params[i]);
        lap_buffer b = l->buffers[second[i].buffer];
        second[i].buffer = lap_program_buffer(l, b);
        lap_lower_map(l, body->results[i], &second[i], false);
    }
    for (uint32_t i = 0; i < n_states; i++) {
        if (lap_ref_same(body->results[i], body->params[i])) {
            continue;
        }
        if (is_safe_source(l, body->results[i], region)) {
            copy_into(l, body->results[i], body->params[i]);
        } else {
            uint32_t to = lap_plan_of(l, body->params[i])->buffer;
            lap_program_step(
                l, (lap_step){
                       .kind = LAP_STEP_COPY, .counter = -1, .test = -1, .from = second[i].buffer, .to = to});
        }
    }
}

static uint32_t scalar_buffer(lap_lowering *l, lap_dtype t)
{
    return lap_program_buffer(
        l, (lap_buffer){.kind = LAP_BUF_TEMP, .elem = t, .count = lap_dim_const(l->ctx, 1)});
}

static void start_states(lap_lowering *l, const lap_node *n, const lap_region *body, uint32_t n_states)
{
    for (uint32_t i = 0; i < n_states; i++) {
        lap_plan_of(l, body->params[i])->kind = LAP_STORE_ROOT;
        lap_place_node(l, body->params[i]);
        lap_buffer *state = &l->buffers[lap_plan_of(l, body->params[i])->buffer];
        state->elem = lap_dtype_compute(state->elem); /* only the start is rounded */
        copy_into(l, n->args[i], body->params[i]);
    }
}

/* One emitted value of a scan: written at the step's place along the axis. */
static void write_emitted(lap_lowering *l, lap_ref value, lap_ref result, lap_name along, uint32_t counter)
{
    lap_dest d = lap_dest_of(l, result);
    lap_name *order = lap_arena_array(l->ctx->arena, d.n + 1, sizeof *order);
    lap_dim *size = lap_arena_array(l->ctx->arena, d.n + 1, sizeof *size),
            *stride = lap_arena_array(l->ctx->arena, d.n + 1, sizeof *stride);
    uint32_t n = 0;
    for (uint32_t i = 0; i < d.n; i++) {
        if (lap_name_same(d.order[i], along)) {
            d.counter_stride = d.stride[i];
            continue;
        }
        order[n] = d.order[i];
        size[n] = d.size[i];
        stride[n++] = d.stride[i];
    }
    d = (lap_dest){.buffer = d.buffer,
                   .n = n,
                   .order = order,
                   .size = size,
                   .stride = stride,
                   .has_counter = true,
                   .counter = counter,
                   .counter_stride = d.counter_stride,
                   .merge = d.merge};
    lap_lower_map(l, value, &d, false);
}

static void finish(lap_lowering *l, lap_steps *outer, lap_step s, const lap_steps *body)
{
    s.kind = LAP_STEP_LOOP;
    s.n_body = body->n;
    s.body = body->at;
    l->steps = outer;
    lap_program_step(l, s);
}

static void copy_last(lap_lowering *l, lap_ref op, const lap_region *body, lap_names states,
                      const char *prefix)
{
    for (uint32_t i = 0; i < states.n; i++) {
        const char *name = lap_arena_printf(l->ctx->arena, "%s%s", prefix, lap_text(l->ctx, states.at[i]));
        lap_ref result = lap_result_named(l, op, name);
        if (lap_ref_some(result)) {
            copy_into(l, body->params[i], result);
        }
    }
}

static void lower_scan(lap_lowering *l, lap_ref op)
{
    const lap_node *n = lap_node_at(l->g, op);
    const lap_region *body = lap_region_at(l->g, n->regions[0]);
    lap_names states = lap_attr_names(n, LAP_ATTR_STATES), outs = lap_attr_names(n, LAP_ATTR_OUTS);
    lap_name along = lap_attr_name(n, LAP_ATTR_ALONG);
    uint32_t counter = scalar_buffer(l, LAP_I64);
    start_states(l, n, body, states.n);
    for (uint32_t i = states.n; i < body->n_params; i++) {
        lap_plan_node *p = lap_plan_of(l, body->params[i]);
        if (i < n->n_args) {
            p->kind = LAP_STORE_ALIAS;
            p->alias = n->args[i];
            p->alias_axis = along;
            p->alias_counter = counter;
            p->has_counter = lap_node_axis(lap_node_at(l->g, n->args[i]), along) != NULL;
        } else {
            p->kind = LAP_STORE_ROOT;
            p->buffer = counter;
        }
    }
    lap_steps *outer = l->steps, inner = {0};
    l->steps = &inner;
    lap_lower_nodes(l, n->regions[0]);
    for (uint32_t i = 0; i < outs.n; i++) {
        lap_ref result = lap_result_named(l, op, lap_text(l->ctx, outs.at[i]));
        if (lap_ref_some(result)) {
            write_emitted(l, body->results[states.n + i], result, along, counter);
        }
    }
    replace_states(l, n->regions[0], states.n);
    finish(l, outer,
           (lap_step){.limit = lap_attr_dim(n, LAP_ATTR_STEPS),
                      .counter = (int32_t)counter,
                      .test = -1,
                      .reverse = lap_attr_i(n, LAP_ATTR_REVERSE, 0) != 0},
           &inner);
    copy_last(l, op, body, states, "last_");
}

static void lower_loop(lap_lowering *l, lap_ref op)
{
    const lap_node *n = lap_node_at(l->g, op);
    const lap_region *body = lap_region_at(l->g, n->regions[0]);
    lap_names states = lap_attr_names(n, LAP_ATTR_STATES);
    uint32_t counter = scalar_buffer(l, LAP_I64), test = scalar_buffer(l, LAP_BOOL);
    start_states(l, n, body, states.n);
    lap_steps *outer = l->steps, inner = {0};
    l->steps = &inner;
    lap_lower_nodes(l, n->regions[0]);
    lap_dest d = lap_dest_make(l, body->results[states.n], test, 0, NULL);
    lap_lower_map(l, body->results[states.n], &d, false);
    uint32_t n_test = inner.n;
    replace_states(l, n->regions[0], states.n);
    finish(l, outer,
           (lap_step){.limit = lap_attr_dim(n, LAP_ATTR_LIMIT),
                      .counter = (int32_t)counter,
                      .test = (int32_t)test,
                      .n_test = n_test},
           &inner);
    copy_last(l, op, body, states, "");
}

static lap_steps lower_arm(lap_lowering *l, lap_ref op, lap_region_id id)
{
    const lap_region *arm = lap_region_at(l->g, id);
    lap_names outs = lap_attr_names(lap_node_at(l->g, op), LAP_ATTR_OUTS);
    lap_steps *outer = l->steps, inner = {0};
    l->steps = &inner;
    lap_lower_nodes(l, id);
    for (uint32_t i = 0; i < outs.n; i++) {
        lap_ref result = lap_result_named(l, op, lap_text(l->ctx, outs.at[i]));
        if (lap_ref_some(result)) {
            copy_into(l, arm->results[i], result);
        }
    }
    l->steps = outer;
    return inner;
}

static void lower_branch(lap_lowering *l, lap_ref op)
{
    const lap_node *n = lap_node_at(l->g, op);
    uint32_t test = scalar_buffer(l, LAP_BOOL);
    lap_dest d = lap_dest_make(l, n->args[0], test, 0, NULL);
    lap_lower_map(l, n->args[0], &d, false);
    lap_steps yes = lower_arm(l, op, n->regions[0]), no = lower_arm(l, op, n->regions[1]);
    lap_program_step(l, (lap_step){.kind = LAP_STEP_BRANCH,
                                   .counter = -1,
                                   .test = (int32_t)test,
                                   .n_body = yes.n,
                                   .body = yes.at,
                                   .n_other = no.n,
                                   .other = no.at});
}

void lap_lower_region_op(lap_lowering *l, lap_ref op)
{
    switch (lap_node_at(l->g, op)->op) {
    case LAP_OP_SCAN:
        lower_scan(l, op);
        break;
    case LAP_OP_LOOP:
        lower_loop(l, op);
        break;
    default:
        lower_branch(l, op);
        break;
    }
}
