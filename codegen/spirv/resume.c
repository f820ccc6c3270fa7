/* SPDX-License-Identifier: Apache-2.0
 * resume.c - one iteration of the grid in several launches, for drivers that end loops.
 *
 * What happens in the grid's body is counted in steps: a round of a loop is one, and so is all that is done
 * between two loops. A launch does the steps FROM .. TO - 1: it walks past the others, whose effects are in
 * memory. Scratch lies in storage and stays; what loops carry is kept in words of state; all else is pure
 * and computed anew. TO is ALL where one launch does everything, which then keeps nothing. */
#include "codegen/spirv/emitter.h"

static lap_dim number(lap_shader *e, int64_t v) { return lap_dim_const(e->ctx, v); }

static uint32_t words_of(lap_glsl_type type) { return type == LAP_GLSL_LONG ? 2 : 1; }

/* ---- whether, and where ---- */

/* The body of the grid; region 0, which has no such loop, where there is none. */
static lap_region_id grid_body(const lap_shader *e)
{
    uint32_t n_nodes;
    const lap_ref *nodes = lap_region_nodes(e->g, (lap_region_id){0}, &n_nodes);
    for (uint32_t i = 0; i < n_nodes; i++) {
        const lap_node *n = lap_node_at(e->g, nodes[i]);
        if (n->op == LAP_OP_FOR && e->run[nodes[i].ix] == LAP_RUN_GRID) {
            return n->regions[0];
        }
    }
    return (lap_region_id){0};
}

/* A loop of one round is no loop: its body is part of what is around it. */
static bool is_single(const lap_shader *e, lap_ref ref, const lap_node *n)
{
    const lap_node *extent = n->op == LAP_OP_FOR ? lap_node_at(e->g, n->args[0]) : NULL;
    return extent && n->n_args == 1 && e->run[ref.ix] == LAP_RUN_SERIAL && extent->op == LAP_OP_CONST &&
           lap_node_attr(extent, LAP_ATTR_VALUE)->scalar.i == 1;
}

static bool plan_region(lap_shader *e, lap_region_id id);

static bool plan_loop(lap_shader *e, lap_ref ref, const lap_node *n)
{
    enum { SHORT = 1024 };
    if (is_single(e, ref, n)) {
        e->piece[ref.ix] = LAP_PIECE_INSIDE;
        return plan_region(e, n->regions[0]);
    }
    const lap_region *body = lap_region_at(e->g, n->regions[0]);
    int64_t rounds;
    bool is_short = lap_dim_is_const(e->ctx, lap_glsl_node_rounds(e, ref), &rounds) && rounds <= SHORT;
    if (is_short && n->n_args == 1) {
        e->piece[ref.ix] = LAP_PIECE_EFFECT;
        return true;
    }
    e->piece[ref.ix] = LAP_PIECE_LOOP;
    e->state_at[ref.ix] = e->n_state;
    for (uint32_t i = 1; i < body->n_params; i++) {
        e->n_state += words_of(e->type[body->params[i].ix]);
    }
    return e->type[body->params[0].ix] == LAP_GLSL_INT;
}

/* False: the node needs what another launch has done, and nobody has kept it. */
static bool plan_node(lap_shader *e, lap_ref ref, const lap_node *n)
{
    switch (n->op) {
    case LAP_OP_FOR:
        return plan_loop(e, ref, n);
    case LAP_OP_LOAD:
        return !e->is_stored[lap_glsl_buffer_number(e, n->args[0])];
    case LAP_OP_IF:
        e->piece[ref.ix] = LAP_PIECE_INSIDE;
        return plan_region(e, n->regions[0]);
    case LAP_OP_STORE:
    case LAP_OP_FAIL:
    case LAP_OP_MMA:
    case LAP_OP_TURN:
    case LAP_OP_SORT:
        e->piece[ref.ix] = LAP_PIECE_EFFECT;
        return true;
    default:
        return true;
    }
}

static bool plan_region(lap_shader *e, lap_region_id id)
{
    uint32_t n_nodes;
    const lap_ref *nodes = lap_region_nodes(e->g, id, &n_nodes);
    for (uint32_t i = 0; i < n_nodes; i++) {
        if (!plan_node(e, nodes[i], lap_node_at(e->g, nodes[i]))) {
            return false;
        }
    }
    return true;
}

void lap_glsl_resume_plan(lap_shader *e)
{
    int64_t rounds;
    lap_region_id body = grid_body(e);
    e->meets = true;
    bool is_small = lap_dim_is_const(e->ctx, lap_glsl_region_rounds(e, body), &rounds) &&
                    rounds <= e->target->most_rounds;
    e->resumes = e->target->most_rounds > 0 && body.ix != 0 && !is_small;
    e->n_state = 1;
    e->resumes = e->resumes && plan_region(e, body);
}

/* ---- what the host must know ---- */

static lap_dim region_steps(lap_shader *e, lap_region_id id)
{
    lap_dim sum = number(e, 1);
    uint32_t n_nodes;
    const lap_ref *nodes = lap_region_nodes(e->g, id, &n_nodes);
    for (uint32_t i = 0; i < n_nodes; i++) {
        const lap_node *n = lap_node_at(e->g, nodes[i]);
        if (e->piece[nodes[i].ix] == LAP_PIECE_LOOP) {
            lap_dim trips = lap_glsl_most_trips(e, n->args[0]);
            sum = lap_dim_add(e->ctx, sum, lap_dim_add(e->ctx, trips, number(e, 1)));
        } else if (e->piece[nodes[i].ix] == LAP_PIECE_INSIDE) {
            sum = lap_dim_add(e->ctx, sum, region_steps(e, n->regions[0]));
        }
    }
    return sum;
}

lap_dim lap_glsl_steps(lap_shader *e) { return e->resumes ? region_steps(e, grid_body(e)) : number(e, 1); }

/* Of all pieces together: drivers that run lanes under a mask go through each loop of a launch once, even
 * where it has no round in it. */
static lap_dim pieces_rounds(lap_shader *e, lap_region_id id)
{
    lap_dim sum = number(e, 1);
    uint32_t n_nodes;
    const lap_ref *nodes = lap_region_nodes(e->g, id, &n_nodes);
    for (uint32_t i = 0; i < n_nodes; i++) {
        const lap_node *n = lap_node_at(e->g, nodes[i]);
        lap_glsl_piece piece = e->resumes ? e->piece[nodes[i].ix] : LAP_PIECE_EFFECT;
        lap_dim one = piece == LAP_PIECE_INSIDE ? pieces_rounds(e, n->regions[0])
                      : piece == LAP_PIECE_LOOP ? lap_glsl_region_rounds(e, n->regions[0])
                                                : lap_glsl_node_rounds(e, nodes[i]);
        if (piece == LAP_PIECE_LOOP) {
            one = lap_dim_add(e->ctx, one, lap_glsl_meet_rounds(e, nodes[i], n));
        }
        sum = lap_dim_add(e->ctx, sum, lap_dim_add(e->ctx, one, number(e, piece == LAP_PIECE_LOOP)));
    }
    return sum;
}

lap_dim lap_glsl_step_rounds(lap_shader *e, bool meets)
{
    e->meets = meets;
    return pieces_rounds(e, grid_body(e));
}

/* ---- text ---- */

void lap_glsl_resume_begin(lap_shader *e)
{
    lap_glsl_line(e, "int at = 0;"); /* the step that the walk has come to */
    lap_glsl_line(e, "int state0 = int(gl_WorkGroupID.x) * %u;", e->n_state);
    lap_glsl_line(e, "if (FROM == 0 && TO != ALL && lane == 0) state[state0] = 0u;");
    lap_glsl_line(e, "if (FROM > 0 && state[state0] != 0u) return;");
}

void lap_glsl_open_effect(lap_shader *e)
{
    e->has_effects = true;
    lap_glsl_open(e, "if (FROM <= at) ");
}

/* What follows is of this launch's steps only while `at` is below TO. Whoever opened the region closes it. */
static void step_over(lap_shader *e, const char *n)
{
    lap_glsl_line(e, "at += %s;", n);
    lap_glsl_open(e, "if (at < TO) ");
}

/* Bits of a kept value as the value, of which word `at` is the first. */
static const char *from_state(lap_shader *e, lap_glsl_type type, uint32_t at)
{
    const char *word = lap_glsl_print(e, "state[state0 + %u]", at);
    switch (type) {
    case LAP_GLSL_FLOAT:
        return lap_glsl_print(e, "uintBitsToFloat(%s)", word);
    case LAP_GLSL_BOOL:
        return lap_glsl_print(e, "(%s != 0u)", word);
    case LAP_GLSL_LONG:
        return lap_glsl_print(e, "(int64_t(state[state0 + %u]) << 32 | int64_t(%s))", at + 1, word);
    default:
        return lap_glsl_print(e, "int(%s)", word);
    }
}

static void to_state(lap_shader *e, lap_glsl_type type, uint32_t at, const char *v)
{
    const char *bits = lap_glsl_print(e, type == LAP_GLSL_FLOAT ? "floatBitsToUint(%s)" : "uint(%s)", v);
    lap_glsl_line(e, "state[state0 + %u] = %s;", at, bits);
    if (type == LAP_GLSL_LONG) {
        lap_glsl_line(e, "state[state0 + %u] = uint(%s >> 32);", at + 1, v);
    }
}

void lap_glsl_after_inside(lap_shader *e)
{
    e->has_effects = true; /* perhaps: a step of nothing does no harm */
    lap_glsl_open(e, "if (at < TO) ");
}

void lap_glsl_open_rounds(lap_shader *e, lap_ref ref, const lap_node *n)
{
    const lap_region *body = lap_region_at(e->g, n->regions[0]);
    uint32_t word = e->state_at[ref.ix];
    if (e->has_effects) {
        step_over(e, "1");
    }
    e->has_effects = false;
    lap_glsl_line(e, "int lo%u = max(FROM - at, 0), hi%u = min(%s, TO - at);", ref.ix, ref.ix,
                  lap_glsl_value(e, n->args[0], LAP_GLSL_INT));
    for (uint32_t i = 0; i < body->n_results; i++) {
        lap_glsl_type type = e->type[body->params[i + 1].ix];
        lap_glsl_line(e, "%s s%u_%u = %s;", lap_glsl_type_text(type), ref.ix, i,
                      lap_glsl_value(e, n->args[i + 1], type));
        lap_glsl_line(e, "if (FROM > at) s%u_%u = %s;", ref.ix, i, from_state(e, type, word));
        word += words_of(type);
    }
}

void lap_glsl_close_rounds(lap_shader *e, lap_ref ref, const lap_node *n)
{
    const lap_region *body = lap_region_at(e->g, n->regions[0]);
    uint32_t word = e->state_at[ref.ix];
    if (body->n_results > 0) {
        lap_glsl_open(e, "if (TO != ALL) ");
        lap_glsl_line(e, "SYNC();");
        lap_glsl_open(e, "if (lane == 0) ");
        for (uint32_t i = 0; i < body->n_results; i++) {
            lap_glsl_type type = e->type[body->params[i + 1].ix];
            to_state(e, type, word, lap_glsl_print(e, "c%u_%u", ref.ix, i));
            word += words_of(type);
        }
        lap_glsl_close(e, "");
        lap_glsl_close(e, "");
    }
    step_over(e, lap_glsl_print(e, "max(%s, 0)", lap_glsl_value(e, n->args[0], LAP_GLSL_INT)));
}

void lap_glsl_give_up(lap_shader *e, const char *cond)
{
    lap_glsl_open(e, "if (%s) ", cond);
    if (e->resumes) {
        lap_glsl_line(e, "if (TO != ALL && lane == 0) state[state0] = 1u;");
    }
    lap_glsl_line(e, "return;");
    lap_glsl_close(e, "");
}
