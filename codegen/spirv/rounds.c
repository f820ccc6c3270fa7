/* SPDX-License-Identifier: Apache-2.0
 * rounds.c - how often a workgroup goes round its loops, at most.
 *
 * A driver may end a shader's loops after a number of rounds, as Mesa's llvmpipe does after 65535 of all
 * loops together, and results are wrong without a word. The host compares this extent with what the
 * device is known to allow, and shares the work out among launches (resume.c). */
#include "codegen/spirv/emitter.h"

static lap_dim number(lap_shader *e, int64_t v) { return lap_dim_const(e->ctx, v); }

lap_dim lap_glsl_most_trips(lap_shader *e, lap_ref extent)
{
    enum { UNKNOWN = 1 << 20 };
    const lap_glsl_bound *b = &e->bound[extent.ix];
    return b->has_upper ? b->upper : b->is_known ? b->most : number(e, UNKNOWN);
}

/* Most rounds of a loop with this extent when `at_once` iterations share one. Loops test at their end,
 * and where lanes run under a mask a loop that should not be run goes round once. */
static lap_dim trips(lap_shader *e, lap_ref extent, uint32_t at_once)
{
    lap_dim rounds = lap_dim_ceildiv(e->ctx, lap_glsl_most_trips(e, extent), number(e, at_once));
    int64_t c;
    return lap_dim_is_const(e->ctx, rounds, &c) && c > 0 ? rounds : lap_dim_add(e->ctx, rounds, number(e, 1));
}

lap_dim lap_glsl_meet_rounds(lap_shader *e, lap_ref ref, const lap_node *n)
{
    bool meets = e->run[ref.ix] == LAP_RUN_LANES && e->meets;
    return number(e, meets ? (int64_t)(n->n_args - 1) * e->target->group_size : 0);
}

static lap_dim for_rounds(lap_shader *e, lap_ref ref, const lap_node *n)
{
    lap_dim body = lap_dim_add(e->ctx, lap_glsl_region_rounds(e, n->regions[0]), number(e, 1));
    bool in_lanes = e->run[ref.ix] == LAP_RUN_LANES;
    if (e->run[ref.ix] == LAP_RUN_GRID) {
        return body;
    }
    lap_dim loop = lap_dim_mul(e->ctx, trips(e, n->args[0], in_lanes ? e->target->group_size : 1), body);
    return lap_dim_add(e->ctx, loop, lap_glsl_meet_rounds(e, ref, n));
}

static lap_dim mma_rounds(lap_shader *e, const lap_node *n)
{
    enum { DEPTH = 10 };
    uint32_t group = e->target->group_size;
    lap_dim depth = lap_dim_add(e->ctx, trips(e, n->args[DEPTH], 1), number(e, 1));
    return lap_dim_mul(e->ctx, depth, number(e, (lap_glsl_mma_blocks(e, n) + group - 1) / group));
}

static lap_dim turn_rounds(lap_shader *e, const lap_node *n)
{
    enum { ROWS = 6, COLS = 7 };
    lap_dim row = lap_dim_add(e->ctx, trips(e, n->args[ROWS], e->target->group_size), number(e, 1));
    return lap_dim_mul(e->ctx, trips(e, n->args[COLS], 1), row);
}

static lap_dim sort_rounds(lap_shader *e, const lap_node *n)
{
    enum { N = 2, COUNT = 5 };
    lap_dim scan = lap_dim_add(e->ctx, trips(e, n->args[N], e->target->group_size * LAP_SORT_AT_ONCE),
                               number(e, e->target->group_size + 1));
    return lap_dim_mul(e->ctx, trips(e, n->args[COUNT], 1), scan);
}

lap_dim lap_glsl_node_rounds(lap_shader *e, lap_ref ref)
{
    const lap_node *n = lap_node_at(e->g, ref);
    switch (n->op) {
    case LAP_OP_FOR:
        return for_rounds(e, ref, n);
    case LAP_OP_IF:
        return lap_glsl_region_rounds(e, n->regions[0]);
    case LAP_OP_MMA:
        return mma_rounds(e, n);
    case LAP_OP_TURN:
        return turn_rounds(e, n);
    case LAP_OP_SORT:
        return sort_rounds(e, n);
    default:
        return number(e, 0);
    }
}

lap_dim lap_glsl_region_rounds(lap_shader *e, lap_region_id id)
{
    lap_dim sum = number(e, 0);
    uint32_t n_nodes;
    const lap_ref *nodes = lap_region_nodes(e->g, id, &n_nodes);
    for (uint32_t i = 0; i < n_nodes; i++) {
        sum = lap_dim_add(e->ctx, sum, lap_glsl_node_rounds(e, nodes[i]));
    }
    return sum;
}
