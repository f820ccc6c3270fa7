/* SPDX-License-Identifier: Apache-2.0
 * eval_region.c - operations with bodies: scan, loop, branch, call.
 *
 * Each run of a body gets its parameters as views and gives its results as views; nothing is copied
 * but what a scan emits. */
#include <stdlib.h>

#include "ir/eval_state.h"

static void drop_all(lap_eval_run *run, lap_view *views, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        lap_view_drop(run, &views[i]);
    }
}

/* The states that the operands start with; kept. */
static lap_view *new_views(lap_eval_run *run, uint32_t n)
{
    return lap_arena_array(run->ctx->arena, n ? n : 1, sizeof(lap_view));
}

/* ---- scan */

typedef struct scan {
    const lap_node *node;
    lap_name along;
    lap_names states, outs;
    int64_t steps;
    lap_view *state, *param, *result, *emitted;
} scan;

/* One step's slice of an operand; whole where it lacks the axis. */
static lap_view slice(const lap_view *x, lap_name along, int64_t step)
{
    lap_view out = lap_view_keep(x);
    int place = lap_view_find(x, along);
    if (place < 0) {
        return out;
    }
    out.at += step * x->stride[place];
    out.n_axes--;
    for (uint32_t i = (uint32_t)place; i < out.n_axes; i++) {
        out.name[i] = x->name[i + 1];
        out.size[i] = x->size[i + 1];
        out.stride[i] = x->stride[i + 1];
    }
    return out;
}

static bool new_emitted(lap_eval_run *run, scan *s, const lap_region *body)
{
    for (uint32_t i = 0; i < s->outs.n; i++) {
        const lap_node *value = lap_node_at(run->g, body->results[s->states.n + i]);
        lap_name names[LAP_EVAL_AXES];
        int64_t sizes[LAP_EVAL_AXES];
        if (value->n_axes + 1 > LAP_EVAL_AXES) {
            return lap_error(run->ctx, s->node->loc, "the reference evaluator takes at most %d axes",
                             LAP_EVAL_AXES);
        }
        names[0] = s->along;
        sizes[0] = s->steps;
        for (uint32_t a = 0; a < value->n_axes; a++) {
            names[a + 1] = value->axes[a].name;
            if (!lap_eval_size(run, value->axes[a].size, value->loc, &sizes[a + 1])) {
                return false;
            }
        }
        if (!lap_view_new(run, lap_dtype_compute(value->dtype), value->n_axes + 1, names, sizes, s->node->loc,
                          &s->emitted[i])) {
            return false;
        }
    }
    return true;
}

/* Copies what one step emits to its place. */
static bool emit(lap_eval_run *run, const lap_view *value, const lap_view *to, int64_t step, lap_loc loc)
{
    lap_view row = slice(to, to->name[0], step);
    lap_space_axes space;
    lap_space_of(&space, &row);
    bool ok = !value->buffer->poison || lap_eval_add_poison(run, to->buffer, loc);
    lap_walk walk;
    for (lap_walk_points(&walk, &space, 2, (const lap_view *[]){value, &row}); ok && !walk.is_over;
         lap_walk_next(&walk)) {
        if (row.kind == LAP_F32) {
            ((double *)row.buffer->data)[walk.at[1]] = lap_view_double(value, walk.at[0]);
        } else if (row.kind == LAP_I64) {
            ((int64_t *)row.buffer->data)[walk.at[1]] = lap_view_int(value, walk.at[0]);
        } else {
            ((uint8_t *)row.buffer->data)[walk.at[1]] = (uint8_t)lap_view_int(value, walk.at[0]);
        }
        if (value->buffer->poison) {
            row.buffer->poison[walk.at[1]] = value->buffer->poison[walk.at[0]];
        }
    }
    lap_view_drop(run, &row);
    return ok;
}

static bool step_index(lap_eval_run *run, int64_t step, lap_loc loc, lap_view *out)
{
    if (!lap_view_new(run, LAP_I64, 0, NULL, NULL, loc, out)) {
        return false;
    }
    *(int64_t *)out->buffer->data = step;
    return true;
}

static bool scan_step(lap_eval_run *run, scan *s, int64_t step)
{
    const lap_node *node = s->node;
    for (uint32_t i = 0; i < node->n_args; i++) {
        s->param[i] =
            i < s->states.n ? lap_view_keep(&s->state[i]) : slice(lap_eval_arg(run, node, i), s->along, step);
    }
    const lap_region *body = lap_region_at(run->g, node->regions[0]);
    if (body->n_params > node->n_args && !step_index(run, step, node->loc, &s->param[node->n_args])) {
        drop_all(run, s->param, node->n_args);
        return false;
    }
    bool ok = lap_eval_region(run, node->regions[0], s->param, s->result);
    for (uint32_t i = 0; ok && i < s->states.n; i++) {
        lap_view_drop(run, &s->state[i]);
        ok = lap_view_align(run, &s->result[i], lap_node_at(run->g, node->args[i]), &s->state[i]);
    }
    for (uint32_t i = 0; ok && i < s->outs.n; i++) {
        ok = emit(run, &s->result[s->states.n + i], &s->emitted[i], step, node->loc);
    }
    drop_all(run, s->result, s->states.n + s->outs.n);
    return ok;
}

static bool give_scan(lap_eval_run *run, lap_ref ref, const scan *s)
{
    bool ok = true;
    for (uint32_t i = 0; ok && i < s->states.n; i++) {
        const char *name = lap_arena_printf(run->ctx->arena, "last_%s", lap_text(run->ctx, s->states.at[i]));
        ok = lap_eval_give_result(run, ref, lap_intern(run->ctx, name), &s->state[i]);
    }
    for (uint32_t i = 0; ok && i < s->outs.n; i++) {
        ok = lap_eval_give_result(run, ref, s->outs.at[i], &s->emitted[i]);
    }
    return ok;
}

bool lap_eval_scan(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    scan s = {.node = node,
              .along = lap_attr_name(node, LAP_ATTR_ALONG),
              .states = lap_attr_names(node, LAP_ATTR_STATES),
              .outs = lap_attr_names(node, LAP_ATTR_OUTS)};
    const lap_region *body = lap_region_at(run->g, node->regions[0]);
    bool is_reverse = lap_attr_i(node, LAP_ATTR_REVERSE, 0);
    s.state = new_views(run, s.states.n);
    s.param = new_views(run, body->n_params + node->n_args);
    s.result = new_views(run, body->n_results);
    s.emitted = new_views(run, s.outs.n);
    bool ok = lap_eval_size(run, lap_attr_dim(node, LAP_ATTR_STEPS), node->loc, &s.steps) &&
              new_emitted(run, &s, body);
    for (uint32_t i = 0; ok && i < s.states.n; i++) {
        s.state[i] = lap_view_keep(lap_eval_arg(run, node, i));
    }
    for (int64_t t = 0; ok && t < s.steps; t++) {
        ok = scan_step(run, &s, is_reverse ? s.steps - 1 - t : t);
    }
    if (!ok) {
        drop_all(run, s.state, s.states.n);
        drop_all(run, s.emitted, s.outs.n);
        return false;
    }
    return give_scan(run, ref, &s);
}

/* ---- loop */

/* Whether the loop's test holds; reports a test that cannot be read. */
static bool read_test(lap_eval_run *run, const lap_view *test, bool *out_holds)
{
    static const lap_view none;
    *out_holds = true;
    if (!lap_eval_no_poison(run, test, &none)) {
        return false;
    }
    lap_space_axes space;
    lap_space_of(&space, test);
    lap_walk walk;
    for (lap_walk_points(&walk, &space, 1, &test); !walk.is_over; lap_walk_next(&walk)) {
        *out_holds = *out_holds && lap_view_double(test, walk.at[0]) != 0;
    }
    return true;
}

static bool loop_round(lap_eval_run *run, const lap_node *node, lap_view *state, lap_view *param,
                       lap_view *result, bool *out_goes_on)
{
    for (uint32_t i = 0; i < node->n_args; i++) {
        param[i] = lap_view_keep(&state[i]);
    }
    bool ok = lap_eval_region(run, node->regions[0], param, result) &&
              read_test(run, &result[node->n_args], out_goes_on);
    for (uint32_t i = 0; ok && *out_goes_on && i < node->n_args; i++) {
        lap_view_drop(run, &state[i]);
        ok = lap_view_align(run, &result[i], lap_node_at(run->g, node->args[i]), &state[i]);
    }
    drop_all(run, result, node->n_args + 1);
    return ok;
}

bool lap_eval_loop(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    lap_names names = lap_attr_names(node, LAP_ATTR_STATES);
    const lap_region *body = lap_region_at(run->g, node->regions[0]);
    lap_view *state = new_views(run, node->n_args), *param = new_views(run, node->n_args);
    lap_view *result = new_views(run, body->n_results);
    int64_t limit;
    if (names.n != node->n_args || body->n_results != node->n_args + 1 ||
        !lap_eval_size(run, lap_attr_dim(node, LAP_ATTR_LIMIT), node->loc, &limit)) {
        return lap_error(run->ctx, node->loc, "this loop's states do not fit its body");
    }
    for (uint32_t i = 0; i < node->n_args; i++) {
        state[i] = lap_view_keep(lap_eval_arg(run, node, i));
    }
    bool goes_on = true, ok = true;
    for (int64_t round = 0; ok && goes_on && round < limit; round++) {
        ok = loop_round(run, node, state, param, result, &goes_on);
    }
    if (!ok) {
        drop_all(run, state, node->n_args);
        return false;
    }
    for (uint32_t i = 0; ok && i < names.n; i++) {
        ok = lap_eval_give_result(run, ref, names.at[i], &state[i]);
    }
    return ok;
}

/* ---- branch, call */

static bool run_once(lap_eval_run *run, lap_ref ref, const lap_node *node, lap_region_id id,
                     lap_view *take_params)
{
    lap_names outs = lap_attr_names(node, LAP_ATTR_OUTS);
    const lap_region *body = lap_region_at(run->g, id);
    lap_view *result = new_views(run, body->n_results);
    bool ok = lap_eval_region(run, id, take_params, result);
    for (uint32_t i = 0; ok && i < outs.n && i < body->n_results; i++) {
        ok = lap_eval_give_result(run, ref, outs.at[i], &result[i]);
    }
    return ok;
}

bool lap_eval_branch(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    bool holds;
    return read_test(run, lap_eval_arg(run, node, 0), &holds) &&
           run_once(run, ref, node, node->regions[holds ? 0 : 1], NULL);
}

bool lap_eval_call(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    lap_view *param = new_views(run, node->n_args);
    for (uint32_t i = 0; i < node->n_args; i++) {
        param[i] = lap_view_keep(lap_eval_arg(run, node, i));
    }
    return run_once(run, ref, node, node->regions[0], param);
}
