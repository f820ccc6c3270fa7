/* SPDX-License-Identifier: Apache-2.0
 * random_region.c - productions with bodies.
 *
 * A state's next value is half the state plus a bounded term, or a remainder, so that ranges and
 * errors hold however often the body runs. */
#include <math.h>

#include "tests/support/random_maker.h"

#define STATE_SIZE 4.0
#define STATE_ERR  4e-5

static lap_type type_of(random_maker *m, lap_ref ref) { return lap_node_type(lap_node_at(m->g, ref)); }

/* The values that may be used in the body: what is there already and the parameters. */
static uint32_t open_body(random_maker *m)
{
    m->depth++;
    return m->n_values;
}

/* What was made inside is gone, and so are the axes whose counts were computed there. */
static void close_body(random_maker *m, uint32_t n_values)
{
    m->depth--;
    m->n_values = n_values;
}

static void fill_body(random_maker *m)
{
    int64_t n = random_int(m, 1, 4);
    for (int64_t i = 0; i < n; i++) {
        random_step(m);
    }
}

/* Start values of a state over some axes. */
static random_value make_start(random_maker *m, bool is_float)
{
    random_value v = random_pick(m, is_float ? LAP_F32 : LAP_I64);
    if (random_ragged(m, v.axes) || v.err > STATE_ERR / 2) {
        random_axes axes = (random_axes)1 << random_any_axis(m);
        v = is_float ? random_float_leaf(m, axes, -2, 2, false) : random_int_leaf(m, axes, 0, 6);
    }
    return is_float ? random_clamp(m, v, -STATE_SIZE, STATE_SIZE) : random_into(m, v, 0, 6);
}

static random_value param(random_maker *m, lap_ref ref, random_value like)
{
    like.ref = ref;
    return random_add(m, like);
}

static random_value state_param(random_maker *m, lap_ref ref, random_value start)
{
    bool is_float = start.kind == LAP_F32;
    return param(m, ref,
                 (random_value){.kind = start.kind,
                                .lo = is_float ? -STATE_SIZE : 0,
                                .hi = is_float ? STATE_SIZE : 6,
                                .err = is_float ? STATE_ERR : 0,
                                .frac = is_float ? -1 : 0});
}

/* The next value of a state: over its axes only, in its range, with its error. */
static lap_ref next_state(random_maker *m, random_value state)
{
    random_value v = random_pick_within(m, state.kind, state.axes);
    if (state.kind == LAP_I64) {
        v = random_map2(m, LAP_FN_ADD, state, random_into(m, v, 0, 100));
        return random_map2(m, LAP_FN_MOD, v, random_const_i(m, 7)).ref;
    }
    v = random_map1(m, LAP_FN_TANH, v);
    random_value half = random_map2(m, LAP_FN_MUL, state, random_const_f(m, 0.5));
    double room = STATE_ERR / 2.5;
    if (v.err > room) {
        v = random_map2(m, LAP_FN_MUL, v, random_const_f(m, fmax(1.0 / 64, exp2(floor(log2(room / v.err))))));
    }
    return random_map2(m, LAP_FN_ADD, half, v).ref;
}

/* ---- scan */

typedef struct body_maker {
    uint32_t n_states, n_inputs, n_outs;
    random_axes shared; /* of all states, where they are to meet: recurrences per row */
    random_value start[3], input[3], state[3];
    lap_ref args[6], params[8], results[8];
    lap_type types[8];
    lap_name state_names[3], out_names[3];
    random_value out[3];
} body_maker;

static void make_states(random_maker *m, body_maker *b)
{
    b->n_states = (uint32_t)random_int(m, 1, 2);
    for (uint32_t i = 0; i < b->n_states; i++) {
        b->start[i] =
            b->shared ? random_float_leaf(m, random_chance(m, 80) ? b->shared : random_subset(m, b->shared),
                                          -STATE_SIZE, STATE_SIZE, false)
                      : make_start(m, i > 0 || random_chance(m, 75));
        b->args[i] = b->start[i].ref;
        b->types[i] = type_of(m, b->args[i]);
        b->state_names[i] = random_name(m, "s");
    }
}

/* Emitted values: anything made in the body that does not end at an extent of the body. */
static void make_outs(random_maker *m, body_maker *b, random_axes along)
{
    b->n_outs = 0;
    for (uint32_t i = 0; i < 2; i++) {
        random_value v = random_pick(m, random_chance(m, 70)   ? LAP_F32
                                        : random_chance(m, 50) ? LAP_I64
                                                               : LAP_BOOL);
        if ((v.axes & along) || random_ragged(m, v.axes) ||
            random_count(m, v.axes | along) > RANDOM_MOST_ELEMENTS) {
            continue;
        }
        b->out[b->n_outs] = v;
        b->results[b->n_states + b->n_outs] = v.ref;
        b->out_names[b->n_outs++] = random_name(m, "y");
    }
}

static void add_states(random_maker *m, const body_maker *b, lap_ref node, const char *prefix)
{
    for (uint32_t i = 0; i < b->n_states; i++) {
        if (random_chance(m, 70) || i == 0) {
            random_value v = b->state[i];
            const char *which =
                lap_arena_printf(m->ctx->arena, "%s%s", prefix, lap_text(m->ctx, b->state_names[i]));
            v.ref = lap_result(m->g, node, which);
            random_add(m, v);
        }
    }
}

static void make_inputs(random_maker *m, body_maker *b, uint32_t along)
{
    random_axes bit = (random_axes)1 << along;
    b->n_inputs = (uint32_t)random_int(m, 1, 2);
    for (uint32_t i = 0; i < b->n_inputs; i++) {
        random_axes axes = bit | (random_chance(m, 60) ? (random_axes)1 << random_any_axis(m) : 0);
        axes = b->shared && random_chance(m, 80) ? bit | random_subset(m, b->shared) : axes;
        random_value v = random_chance(m, 80) ? random_float_leaf(m, axes, -2, 2, random_chance(m, 40))
                                              : random_int_leaf(m, axes, 0, 5);
        if (random_chance(m, 10)) {
            v = random_float_leaf(m, axes & ~bit, -1, 1, true);
        }
        b->input[i] = v;
        b->args[b->n_states + i] = v.ref;
        lap_type t = type_of(m, v.ref);
        t.n_axes = lap_axes_without(m->ctx, t.n_axes, t.axes, (lap_names){1, &m->axis[along].name}, &t.axes);
        b->types[b->n_states + i] = t;
    }
}

static lap_ref emit_scan(random_maker *m, const body_maker *b, uint32_t along, lap_region_id body)
{
    const lap_attr attrs[] = {
        lap_attr_make_name(LAP_ATTR_ALONG, m->axis[along].name),
        lap_attr_make_dim(LAP_ATTR_STEPS, m->axis[along].dim),
        lap_attr_make_i(LAP_ATTR_REVERSE, random_chance(m, 40)),
        lap_attr_make_names(LAP_ATTR_STATES, (lap_names){b->n_states, b->state_names}),
        lap_attr_make_names(LAP_ATTR_OUTS, (lap_names){b->n_outs, b->out_names}),
    };
    return lap_emit(m->g, &(lap_emit_args){.op = LAP_OP_SCAN,
                                           .n_args = b->n_states + b->n_inputs,
                                           .args = b->args,
                                           .n_attrs = 5,
                                           .attrs = attrs,
                                           .n_regions = 1,
                                           .regions = &body});
}

/* Steps that keep to the rows, and some that reduce over them or read beside. */
static void fill_rows(random_maker *m)
{
    static random_rule *const rules[] = {random_make_binary, random_make_binary, random_make_unary,
                                         random_make_select, random_make_reduce, random_make_dot,
                                         random_make_shift};
    int64_t n = random_int(m, 1, 6);
    for (int64_t i = 0; i < n; i++) {
        rules[random_int(m, 0, (int64_t)(sizeof rules / sizeof *rules) - 1)](m);
    }
}

void random_make_scan(random_maker *m)
{
    body_maker b = {0};
    uint32_t along = random_any_axis(m);
    if (random_chance(m, 60)) {
        b.shared = (random_axes)1 << random_any_axis(m) | (random_axes)1 << random_any_axis(m);
        b.shared &= ~((random_axes)1 << along);
    }
    make_states(m, &b);
    for (uint32_t i = 0; i < b.n_states; i++) {
        if (b.start[i].axes >> along & 1) {
            return;
        }
    }
    make_inputs(m, &b, along);
    uint32_t n = b.n_states + b.n_inputs;
    b.types[n] = (lap_type){.dtype = LAP_I64};
    uint32_t outside = open_body(m);
    lap_region_id body = lap_region_begin(m->g, n + 1, b.types, b.params);
    for (uint32_t i = 0; i < n; i++) {
        bool is_state = i < b.n_states;
        random_value v = is_state ? state_param(m, b.params[i], b.start[i])
                                  : param(m, b.params[i], b.input[i - b.n_states]);
        if (is_state) {
            b.state[i] = v;
        }
    }
    param(m, b.params[n], (random_value){.kind = LAP_I64, .hi = (double)(m->axis[along].size - 1)});
    if (b.shared) {
        fill_rows(m);
    } else {
        fill_body(m);
    }
    for (uint32_t i = 0; i < b.n_states; i++) {
        b.results[i] = next_state(m, b.state[i]);
    }
    if (b.n_states == 2 && b.start[0].axes == b.start[1].axes && b.start[0].kind == LAP_F32 &&
        b.start[1].kind == LAP_F32 && random_chance(m, 15)) {
        b.results[random_int(m, 0, 1)] = b.params[random_int(m, 0, 1)];
    }
    make_outs(m, &b, (random_axes)1 << along);
    lap_region_end(m->g, body, b.n_states + b.n_outs, b.results);
    close_body(m, outside);
    lap_ref node = emit_scan(m, &b, along, body);
    add_states(m, &b, node, "last_");
    for (uint32_t i = 0; i < b.n_outs; i++) {
        random_value v = b.out[i];
        v.ref = lap_result(m->g, node, lap_text(m->ctx, b.out_names[i]));
        random_add(m, v);
    }
}

/* ---- loop */

void random_make_loop(random_maker *m)
{
    body_maker b = {0};
    make_states(m, &b);
    /* a counter decides when to stop */
    random_value counter = random_int_leaf(m, 0, 0, 6);
    b.start[b.n_states] = counter;
    b.args[b.n_states] = counter.ref;
    b.types[b.n_states] = (lap_type){.dtype = lap_node_at(m->g, counter.ref)->dtype};
    b.state_names[b.n_states++] = random_name(m, "s");
    uint32_t outside = open_body(m);
    lap_region_id body = lap_region_begin(m->g, b.n_states, b.types, b.params);
    for (uint32_t i = 0; i < b.n_states; i++) {
        b.state[i] = state_param(m, b.params[i], b.start[i]);
    }
    fill_body(m);
    for (uint32_t i = 0; i + 1 < b.n_states; i++) {
        b.results[i] = next_state(m, b.state[i]);
    }
    uint32_t last = b.n_states - 1;
    b.results[last] = lap_map2(m->g, LAP_FN_ADD, b.params[last], lap_const_i(m->g, 1));
    b.results[b.n_states] = lap_map2(m->g, LAP_FN_LT, b.params[last], lap_const_i(m->g, random_int(m, 0, 7)));
    lap_region_end(m->g, body, b.n_states + 1, b.results);
    close_body(m, outside);
    b.state[last].hi = 13;
    const lap_attr attrs[] = {
        lap_attr_make_dim(LAP_ATTR_LIMIT, lap_dim_const(m->ctx, random_int(m, 1, 5))),
        lap_attr_make_names(LAP_ATTR_STATES, (lap_names){b.n_states, b.state_names}),
    };
    lap_ref node = lap_emit(m->g, &(lap_emit_args){.op = LAP_OP_LOOP,
                                                   .n_args = b.n_states,
                                                   .args = b.args,
                                                   .n_attrs = 2,
                                                   .attrs = attrs,
                                                   .n_regions = 1,
                                                   .regions = &body});
    add_states(m, &b, node, "");
}

/* ---- branch, call, custom, require */

void random_make_branch(random_maker *m)
{
    random_value test = random_condition(m, 0);
    lap_region_id sides[2];
    random_value result[2];
    for (int i = 0; i < 2; i++) {
        uint32_t outside = open_body(m);
        sides[i] = lap_region_begin(m->g, 0, NULL, NULL);
        fill_body(m);
        result[i] = random_pick(m, LAP_F32);
        lap_region_end(m->g, sides[i], 1, &result[i].ref);
        close_body(m, outside);
    }
    if (random_ragged(m, result[0].axes | result[1].axes) ||
        random_count(m, result[0].axes | result[1].axes) > RANDOM_MOST_ELEMENTS) {
        return;
    }
    lap_name out = random_name(m, "y");
    const lap_attr attrs[] = {lap_attr_make_names(LAP_ATTR_OUTS, (lap_names){1, &out})};
    lap_ref node = lap_emit(m->g, &(lap_emit_args){.op = LAP_OP_BRANCH,
                                                   .n_args = 1,
                                                   .args = &test.ref,
                                                   .n_attrs = 1,
                                                   .attrs = attrs,
                                                   .n_regions = 2,
                                                   .regions = sides});
    random_value v = result[0];
    v.lo = fmin(v.lo, result[1].lo);
    v.hi = fmax(v.hi, result[1].hi);
    v.err = fmax(v.err, result[1].err);
    v.frac = v.frac < 0 || result[1].frac < 0 ? -1 : (int)fmax(v.frac, result[1].frac);
    v.ref = lap_result(m->g, node, lap_text(m->ctx, out));
    random_add(m, v);
}

/* A function of two operands, called once or twice. */
void random_make_call(random_maker *m)
{
    random_axes axes = (random_axes)1 << random_any_axis(m);
    axes |= random_chance(m, 50) ? (random_axes)1 << random_any_axis(m) : 0;
    random_value arg[2] = {random_float_leaf(m, axes, -2, 2, false),
                           random_float_leaf(m, axes, -2, 2, false)};
    lap_type types[2] = {type_of(m, arg[0].ref), type_of(m, arg[1].ref)};
    lap_ref params[2];
    uint32_t outside = open_body(m);
    lap_region_id body = lap_region_begin(m->g, 2, types, params);
    random_value like = {.kind = LAP_F32, .lo = -3, .hi = 3, .err = STATE_ERR, .frac = -1};
    param(m, params[0], like);
    param(m, params[1], like);
    fill_body(m);
    random_value y = random_map1(m, LAP_FN_TANH, random_pick_within(m, LAP_F32, axes));
    random_value sum = random_map2(m, LAP_FN_ADD, y, param(m, params[0], like));
    sum = random_map2(m, LAP_FN_MUL, sum, random_const_f(m, 0.5));
    lap_region_end(m->g, body, 1, &sum.ref);
    close_body(m, outside);
    lap_name out = random_name(m, "y");
    const lap_attr attrs[] = {
        lap_attr_make_name(LAP_ATTR_NAME, random_name(m, "f")),
        lap_attr_make_names(LAP_ATTR_OUTS, (lap_names){1, &out}),
    };
    for (int i = 0; i < (random_chance(m, 70) ? 2 : 1); i++) {
        const lap_ref args[] = {arg[0].ref, arg[1].ref};
        lap_ref node = lap_emit(m->g, &(lap_emit_args){.op = LAP_OP_CALL,
                                                       .n_args = 2,
                                                       .args = args,
                                                       .n_attrs = 2,
                                                       .attrs = attrs,
                                                       .n_regions = 1,
                                                       .regions = &body});
        random_value v = sum;
        v.ref = lap_result(m->g, node, lap_text(m->ctx, out));
        if (lap_ref_some(v.ref) && random_axes_of(m, v.ref) != axes) {
            random_add(m, v);
            return;
        }
        arg[0] = random_add(m, v);
    }
}

void random_make_custom(random_maker *m)
{
    random_value v = random_pick(m, LAP_F32), x = random_pick(m, LAP_F32);
    lap_type t = type_of(m, v.ref);
    t.dtype = LAP_F32;
    lap_ref d;
    lap_region_id body = lap_region_begin(m->g, 1, &t, &d);
    lap_ref grad = lap_map2(m->g, LAP_FN_MUL, d, lap_const_f(m->g, 0.5));
    lap_region_end(m->g, body, 1, &grad);
    const lap_ref args[] = {v.ref, x.ref};
    if (x.axes != v.axes) {
        return;
    }
    v.ref = lap_emit(
        m->g,
        &(lap_emit_args){.op = LAP_OP_CUSTOM, .n_args = 2, .args = args, .n_regions = 1, .regions = &body});
    random_add(m, v);
}

/* A condition that holds: integers stay in their range. */
void random_make_require(random_maker *m)
{
    random_value v = random_pick(m, LAP_I64);
    if (m->depth > 0) {
        return;
    }
    lap_ref ok = lap_map2(m->g, LAP_FN_GE, v.ref, lap_const_i(m->g, (int64_t)v.lo));
    const lap_attr attrs[] = {lap_attr_make_name(LAP_ATTR_MESSAGE, lap_intern(m->ctx, "out of range"))};
    lap_emit(m->g,
             &(lap_emit_args){.op = LAP_OP_REQUIRE, .n_args = 1, .args = &ok, .n_attrs = 1, .attrs = attrs});
}
