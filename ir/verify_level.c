/* SPDX-License-Identifier: Apache-2.0
 * verify_level.c - invariants of the kernel level (contract: ir/kernel.h).
 *
 *   values    have no axes; a buffer is read by load, store, mma, turn and sort alone
 *   buffers   global slots are distinct and dense from 0; scratch numbers are distinct; the
 *             accumulator of mma is f32 scratch; sort writes i64
 *   loops     exactly one grid loop, outermost, over a dim or a constant, carrying nothing; all other
 *             effects inside it; unroll over a constant; vector loops combine each carried value in
 *             one add, mul, min, max, and or or, and read it nowhere else */
#include "ir/verify.h"

static const lap_node *arg(const lap_verifier *v, const lap_node *n, uint32_t i)
{
    return lap_node_at(v->g, n->args[i]);
}

static void verify_buffers_read(lap_verifier *v)
{
    static const bool reads[LAP_N_OPS] = {
        [LAP_OP_LOAD] = true,
        [LAP_OP_STORE] = true,
        [LAP_OP_MMA] = true,
        [LAP_OP_TURN] = true,
        [LAP_OP_SORT] = true,
    };
    for (uint32_t i = 0; i < v->n->n_args; i++) {
        if (arg(v, v->n, i)->op == LAP_OP_BUFFER && !reads[v->n->op]) {
            lap_verify_fail(v, "reads a buffer as a value");
        }
    }
}

static bool is_scratch(const lap_node *n, lap_dtype elem)
{
    return lap_attr_i(n, LAP_ATTR_SPACE, -1) == LAP_SPACE_SCRATCH &&
           lap_attr_i(n, LAP_ATTR_ELEM, -1) == (int64_t)elem;
}

static bool is_reduction(lap_fn fn)
{
    static const bool reduces[LAP_N_FNS] = {
        [LAP_FN_ADD] = true,    [LAP_FN_MUL] = true, [LAP_FN_MIN] = true, [LAP_FN_MAX] = true,
        [LAP_FN_LARGER] = true, [LAP_FN_AND] = true, [LAP_FN_OR] = true,
    };
    return reduces[fn];
}

/* next = fn(carried, x), or the carried value unchanged. */
static void verify_vector(lap_verifier *v)
{
    const lap_region *body = lap_region_at(v->g, v->n->regions[0]);
    for (uint32_t i = 0; i < body->n_results && i + 1 < body->n_params; i++) {
        lap_ref carried = body->params[i + 1];
        if (lap_ref_same(body->results[i], carried)) {
            continue;
        }
        const lap_node *next = lap_node_at(v->g, body->results[i]);
        bool is_fold = next->op == LAP_OP_MAP && next->n_args == 2 &&
                       is_reduction((lap_fn)lap_attr_i(next, LAP_ATTR_FN, 0)) &&
                       lap_ref_same(next->args[0], carried) != lap_ref_same(next->args[1], carried);
        if (!is_fold || v->n_uses[carried.ix] != 1) {
            lap_verify_fail(v, "is a vector loop whose carried value %u is not folded in one step", i);
        }
    }
}

static void verify_for(lap_verifier *v)
{
    lap_loop_kind kind = (lap_loop_kind)lap_attr_i(v->n, LAP_ATTR_KIND, 0);
    lap_op extent = arg(v, v->n, 0)->op;
    if (kind == LAP_LOOP_GRID) {
        if (v->n->region.ix != 0) {
            lap_verify_fail(v, "is a grid loop inside another region");
        }
        if (v->n->n_args != 1) {
            lap_verify_fail(v, "is a grid loop that carries values");
        }
        if (extent != LAP_OP_DIM && extent != LAP_OP_CONST) {
            lap_verify_fail(v, "is a grid loop whose extent is not a dim");
        }
    } else if (kind == LAP_LOOP_UNROLL && extent != LAP_OP_CONST) {
        lap_verify_fail(v, "is of kind %s, and its extent is not a constant", lap_loop_text(kind));
    } else if (kind == LAP_LOOP_VECTOR) {
        verify_vector(v);
    }
}

void lap_verify_kernel_node(lap_verifier *v)
{
    if (v->n->n_axes > 0) {
        lap_verify_fail(v, "has axes");
    }
    verify_buffers_read(v);
    bool is_effect = (lap_op_traits(v->n->op) & LAP_TRAIT_EFFECT) || v->n->op == LAP_OP_LOAD;
    bool is_grid = v->n->op == LAP_OP_FOR && lap_attr_i(v->n, LAP_ATTR_KIND, 0) == LAP_LOOP_GRID;
    if (is_effect && !is_grid && v->n->region.ix == 0) {
        lap_verify_fail(v, "stands outside the grid loop");
    }
    if (v->n->op == LAP_OP_MMA && !is_scratch(arg(v, v->n, 0), LAP_F32)) {
        lap_verify_fail(v, "accumulates into something that is not f32 scratch");
    }
    if (v->n->op == LAP_OP_SORT && lap_attr_i(arg(v, v->n, 3), LAP_ATTR_ELEM, -1) != LAP_I64) {
        lap_verify_fail(v, "writes its order to a buffer that is not i64");
    }
}

/* Buffers of one space by slot: distinct, and below `n_max` (their number) where dense. */
static void verify_slots(lap_verifier *v, lap_space space, uint32_t n, const lap_ref *buffers)
{
    bool *taken = lap_arena_array(v->ctx->arena, n, sizeof *taken);
    for (uint32_t i = 0; i < n; i++) {
        v->ref = buffers[i];
        v->n = lap_node_at(v->g, buffers[i]);
        int64_t slot = lap_attr_i(v->n, LAP_ATTR_SLOT, -1);
        if (space == LAP_SPACE_GLOBAL && (slot < 0 || slot >= (int64_t)n)) {
            lap_verify_fail(v, "has slot %lld of %u: slots are dense", (long long)slot, n);
            continue;
        }
        bool is_taken = false;
        if (space == LAP_SPACE_GLOBAL) {
            is_taken = taken[slot];
            taken[slot] = true;
        }
        for (uint32_t k = 0; space == LAP_SPACE_SCRATCH && k < i; k++) {
            is_taken = is_taken || lap_attr_i(lap_node_at(v->g, buffers[k]), LAP_ATTR_SLOT, -1) == slot;
        }
        if (is_taken) {
            lap_verify_fail(v, "has slot %lld, which another buffer has", (long long)slot);
        }
    }
}

void lap_verify_kernel(lap_verifier *v)
{
    uint32_t n_nodes = lap_graph_n_nodes(v->g), n_grids = 0, n[LAP_N_SPACES] = {0};
    lap_ref *buffers[LAP_N_SPACES];
    for (unsigned s = 0; s < LAP_N_SPACES; s++) {
        buffers[s] = lap_arena_array(v->ctx->arena, n_nodes, sizeof(lap_ref));
    }
    lap_loc loc = {0};
    for (v->ref.ix = 1; v->ref.ix <= n_nodes; v->ref.ix++) {
        v->n = lap_node_at(v->g, v->ref);
        if (v->n->op == LAP_OP_BUFFER) {
            int64_t space = lap_attr_i(v->n, LAP_ATTR_SPACE, 0);
            buffers[space][n[space]++] = v->ref;
        } else if (v->n->op == LAP_OP_FOR) {
            n_grids += lap_attr_i(v->n, LAP_ATTR_KIND, 0) == LAP_LOOP_GRID;
            loc = v->n->loc;
            verify_for(v);
        }
    }
    if (n_grids != 1) {
        lap_verify_fail_at(v, loc, "broken graph: kernel '%s' has %u grid loops, expected one",
                           lap_graph_name(v->g), n_grids);
    }
    for (unsigned s = 0; s < LAP_N_SPACES; s++) {
        verify_slots(v, (lap_space)s, n[s], buffers[s]);
    }
}
