/* SPDX-License-Identifier: Apache-2.0
 * across.c - loops across lanes: iterations write what lies side by side, lanes what lies far apart.
 *
 * A square of as many iterations as lanes is computed first, turned in registers, and stored row by row;
 * a scatter would touch a cache line per element. What is not a whole square runs in order. */
#include "codegen/llvm/emitter.h"

enum { MAX_SIDE = 16 };

/* The one vector loop of the body; NULL when the loop does not have the form. */
static const lap_node *inner_loop(const lap_emitter *e, const lap_node *n)
{
    uint32_t n_nodes;
    const lap_ref *nodes = lap_region_nodes(e->g, n->regions[0], &n_nodes);
    const lap_node *inner = NULL;
    for (uint32_t i = 0; i < n_nodes; i++) {
        const lap_node *x = lap_node_at(e->g, nodes[i]);
        if (x->op == LAP_OP_FOR && inner == NULL) {
            inner = x;
        } else if (x->op == LAP_OP_FOR || x->op == LAP_OP_IF || (lap_op_traits(x->op) & LAP_TRAIT_EFFECT)) {
            return NULL;
        }
    }
    bool is_vector = inner != NULL && lap_attr_i(inner, LAP_ATTR_KIND, 0) == LAP_LOOP_VECTOR;
    return is_vector && inner->n_args == 1 ? inner : NULL;
}

/* The body's one effect, a store of f32 without a mask of its own; NULL: it has others. */
static const lap_node *only_store(const lap_emitter *e, const lap_node *inner)
{
    uint32_t n_nodes;
    const lap_ref *nodes = lap_region_nodes(e->g, inner->regions[0], &n_nodes);
    const lap_node *store = NULL;
    for (uint32_t i = 0; i < n_nodes; i++) {
        const lap_node *x = lap_node_at(e->g, nodes[i]);
        if (x->op == LAP_OP_STORE && store == NULL) {
            store = x;
        } else if (x->op == LAP_OP_FOR || x->op == LAP_OP_IF || (lap_op_traits(x->op) & LAP_TRAIT_EFFECT)) {
            return NULL;
        }
    }
    return store != NULL && store->n_args == 3 ? store : NULL;
}

static void emit_pure(lap_emitter *e, lap_region_id region)
{
    uint32_t n_nodes;
    const lap_ref *nodes = lap_region_nodes(e->g, region, &n_nodes);
    for (uint32_t i = 0; i < n_nodes; i++) {
        lap_op op = lap_node_at(e->g, nodes[i])->op;
        if (op != LAP_OP_STORE && op != LAP_OP_FOR) {
            lap_emit_node(e, nodes[i]);
        }
    }
}

/* Rows become columns: blocks of 1, 2, 4, ... elements change places across the diagonal. */
static void turn(lap_emitter *e, LLVMValueRef *row, uint32_t side)
{
    for (uint32_t step = 1; step < side; step *= 2) {
        for (uint32_t i = 0; i < side; i++) {
            if (i & step) {
                continue;
            }
            LLVMValueRef low[MAX_SIDE], high[MAX_SIDE];
            for (uint32_t l = 0; l < side; l++) {
                low[l] = LLVMConstInt(e->i32, l & step ? side + l - step : l, false);
                high[l] = LLVMConstInt(e->i32, l & step ? side + l : l + step, false);
            }
            LLVMValueRef a = row[i], b = row[i + step];
            row[i] = LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(low, side), "");
            row[i + step] = LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(high, side), "");
        }
    }
}

/* Iterations first .. first + side against lanes from .. from + side. */
static void emit_square(lap_emitter *e, const lap_node *n, const lap_node *inner, const lap_node *store,
                        LLVMValueRef first, LLVMValueRef from, uint32_t side)
{
    const lap_region *outer_body = lap_region_at(e->g, n->regions[0]);
    const lap_region *inner_body = lap_region_at(e->g, inner->regions[0]);
    LLVMValueRef row[MAX_SIDE];
    lap_lval index = {NULL, NULL};
    for (uint32_t i = 0; i < side; i++) {
        LLVMValueRef at = LLVMBuildAdd(e->b, first, lap_i64(e, i), "");
        e->values[outer_body->params[0].ix] = lap_uniform(at);
        emit_pure(e, n->regions[0]);
        e->lanes = side;
        e->values[inner_body->params[0].ix] = (lap_lval){from, lap_i64(e, 1)};
        emit_pure(e, inner->regions[0]);
        LLVMValueRef v = lap_spread(e, lap_value(e, store->args[2]));
        row[i] = lap_convert(e, v, lap_node_at(e->g, store->args[2])->dtype, LAP_F32);
        index = i == 0 ? lap_value(e, store->args[1]) : index;
        e->lanes = 1;
    }
    LAP_ENSURE(index.stride != NULL);
    turn(e, row, side);
    lap_memory m = lap_memory_of(e, store->args[0]);
    for (uint32_t i = 0; i < side; i++) {
        LLVMValueRef far = LLVMBuildMul(e->b, index.stride, lap_i64(e, i), "");
        LLVMValueRef pointer = lap_element(e, m, LLVMBuildAdd(e->b, index.v, far, ""));
        LLVMSetAlignment(LLVMBuildStore(e->b, row[i], pointer), 4);
    }
}

static void emit_squares(lap_emitter *e, const lap_node *n, const lap_node *inner, const lap_node *store,
                         LLVMValueRef lanes, uint32_t side)
{
    LLVMValueRef zero = lap_i64(e, 0), step = lap_i64(e, side);
    lap_counted over_lanes = lap_counted_begin(e, zero, lanes, step, 0, NULL);
    lap_counted over_rounds = lap_counted_begin(e, zero, lap_value(e, n->args[0]).v, step, 0, NULL);
    emit_square(e, n, inner, store, over_rounds.index, over_lanes.index, side);
    lap_counted_end(e, &over_rounds, NULL, NULL);
    lap_counted_end(e, &over_lanes, NULL, NULL);
}

bool lap_emit_across_for(lap_emitter *e, lap_ref ref, const lap_node *n)
{
    uint32_t side = e->machine->target.vector_f32;
    const lap_node *extent = lap_node_at(e->g, n->args[0]);
    const lap_node *inner = e->lanes == 1 && n->n_args == 1 ? inner_loop(e, n) : NULL;
    const lap_node *store = inner != NULL ? only_store(e, inner) : NULL;
    if (store == NULL || side < 4 || side > MAX_SIDE || extent->op != LAP_OP_CONST ||
        lap_node_attr(extent, LAP_ATTR_VALUE)->scalar.i % side != 0 ||
        lap_memory_of(e, store->args[0]).elem != LAP_F32 ||
        lap_node_at(e->g, inner->args[0])->region.ix == n->regions[0].ix || !lap_vector_marks(e, inner)) {
        return false;
    }
    LLVMValueRef lanes = lap_value(e, inner->args[0]).v;
    LLVMValueRef rest = LLVMBuildAnd(e->b, lanes, lap_i64(e, (int64_t)side - 1), "");
    LLVMValueRef is_whole = LLVMBuildICmp(e->b, LLVMIntEQ, rest, lap_i64(e, 0), "");
    LLVMBasicBlockRef whole = lap_block(e, "squares"), part = lap_block(e, "part"),
                      done = lap_block(e, "done");
    LLVMBuildCondBr(e->b, is_whole, whole, part);
    LLVMPositionBuilderAtEnd(e->b, whole);
    emit_squares(e, n, inner, store, lanes, side);
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, part);
    lap_emit_serial_for(e, ref, n);
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, done);
    return true;
}
