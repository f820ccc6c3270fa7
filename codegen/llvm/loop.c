/* SPDX-License-Identifier: Apache-2.0
 * loop.c - counting loops: the grid range, serial and unrolled loops, in scalar code or in lanes.
 *
 * Inside a vector loop a serial loop keeps scalar control flow: when its extent differs between
 * lanes it runs to the largest, and lanes that have ended keep their carried values. */
#include "codegen/llvm/emitter.h"

enum { MAX_UNROLL = 64 };

lap_counted lap_counted_begin(lap_emitter *e, LLVMValueRef from, LLVMValueRef to, LLVMValueRef step,
                              uint32_t n, LLVMValueRef *init)
{
    lap_counted loop = {.to = to, .step = step, .n = n, .init = init};
    loop.before = LLVMGetInsertBlock(e->b);
    loop.body = lap_block(e, "loop");
    loop.after = lap_block(e, "done");
    LLVMValueRef any = LLVMBuildICmp(e->b, LLVMIntSLT, from, to, "");
    LLVMBuildCondBr(e->b, any, loop.body, loop.after);
    LLVMPositionBuilderAtEnd(e->b, loop.body);
    loop.index = LLVMBuildPhi(e->b, e->i64, "i");
    LLVMAddIncoming(loop.index, &from, &loop.before, 1);
    loop.phi = lap_arena_array(e->ctx->arena, n + 1, sizeof *loop.phi);
    for (uint32_t i = 0; i < n; i++) {
        loop.phi[i] = LLVMBuildPhi(e->b, LLVMTypeOf(init[i]), "c");
        LLVMAddIncoming(loop.phi[i], &init[i], &loop.before, 1);
    }
    return loop;
}

void lap_counted_end(lap_emitter *e, lap_counted *loop, LLVMValueRef const *next, LLVMValueRef *final)
{
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->b);
    LLVMValueRef index = LLVMBuildNSWAdd(e->b, loop->index, loop->step, "");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, index, loop->to, ""), loop->body, loop->after);
    LLVMAddIncoming(loop->index, &index, &latch, 1);
    LLVMPositionBuilderAtEnd(e->b, loop->after);
    for (uint32_t i = 0; i < loop->n; i++) {
        LLVMValueRef value = next[i];
        LLVMAddIncoming(loop->phi[i], &value, &latch, 1);
        LLVMValueRef phi = LLVMBuildPhi(e->b, LLVMTypeOf(value), "");
        LLVMAddIncoming(phi, &loop->init[i], &loop->before, 1);
        LLVMAddIncoming(phi, &value, &latch, 1);
        final[i] = phi;
    }
}

/* What the loops of this file share. */
typedef struct serial {
    const lap_node *n;
    const lap_region *body;
    uint32_t n_carried;
    LLVMValueRef *current, *next, *final; /* one per carried value */
    LLVMValueRef extent;                  /* scalar */
    LLVMValueRef extents;                 /* per lane, or NULL */
} serial;

static bool is_varying(const lap_emitter *e, lap_ref param) { return e->lanes > 1 && e->varying[param.ix]; }

static LLVMValueRef shaped(lap_emitter *e, lap_lval x, bool as_vector)
{
    return as_vector ? lap_spread(e, x) : x.v;
}

/* Lanes beyond their own extent are off, and keep what they carry. */
static void emit_round(lap_emitter *e, serial *s, lap_lval index)
{
    LLVMValueRef outer = e->mask, mine = NULL;
    e->values[s->body->params[0].ix] = index;
    for (uint32_t i = 0; i < s->n_carried; i++) {
        e->values[s->body->params[i + 1].ix] = lap_uniform(s->current[i]);
    }
    if (s->extents) {
        LLVMValueRef at = lap_splat(e, index.v, e->lanes);
        mine = LLVMBuildICmp(e->b, LLVMIntSLT, at, s->extents, "");
        e->mask = lap_mask_and(e, mine, outer);
    }
    lap_emit_region(e, s->n->regions[0]);
    for (uint32_t i = 0; i < s->n_carried; i++) {
        lap_ref result = s->body->results[i];
        s->next[i] = shaped(e, lap_value(e, result), is_varying(e, s->body->params[i + 1]));
        if (mine) {
            s->next[i] = LLVMBuildSelect(e->b, mine, s->next[i], s->current[i], "");
        }
    }
    e->mask = outer;
}

static void emit_unrolled(lap_emitter *e, serial *s, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        emit_round(e, s, lap_uniform(lap_i64(e, i)));
        for (uint32_t j = 0; j < s->n_carried; j++) {
            s->current[j] = s->next[j];
        }
    }
    for (uint32_t j = 0; j < s->n_carried; j++) {
        s->final[j] = s->current[j];
    }
}

static void emit_counted(lap_emitter *e, serial *s, LLVMValueRef from)
{
    LLVMValueRef *init = lap_arena_copy(e->ctx->arena, s->current, (s->n_carried + 1) * sizeof *init);
    lap_counted loop = lap_counted_begin(e, from, s->extent, lap_i64(e, 1), s->n_carried, init);
    for (uint32_t i = 0; i < s->n_carried; i++) {
        s->current[i] = loop.phi[i];
    }
    emit_round(e, s, lap_uniform(loop.index));
    lap_counted_end(e, &loop, s->next, s->final);
}

static void set_extent(lap_emitter *e, serial *s)
{
    lap_lval extent = lap_value(e, s->n->args[0]);
    s->extent = extent.v;
    if (!lap_is_vector(extent.v) && !extent.stride) {
        return;
    }
    s->extents = lap_spread(e, extent);
    if (e->mask) {
        LLVMValueRef none = LLVMConstNull(LLVMTypeOf(s->extents));
        s->extents = LLVMBuildSelect(e->b, e->mask, s->extents, none, "");
    }
    s->extent = lap_intrinsic(e, "llvm.vector.reduce.smax", LLVMTypeOf(s->extents), 1, &s->extents);
}

static void emit_serial(lap_emitter *e, lap_ref ref, const lap_node *n, lap_loop_kind kind)
{
    lap_arena *arena = e->ctx->arena;
    serial s = {.n = n, .body = lap_region_at(e->g, n->regions[0]), .n_carried = n->n_args - 1};
    s.current = lap_arena_array(arena, s.n_carried + 1, sizeof *s.current);
    s.next = lap_arena_array(arena, s.n_carried + 1, sizeof *s.next);
    s.final = lap_arena_array(arena, s.n_carried + 1, sizeof *s.final);
    set_extent(e, &s);
    for (uint32_t i = 0; i < s.n_carried; i++) {
        s.current[i] = shaped(e, lap_value(e, n->args[i + 1]), is_varying(e, s.body->params[i + 1]));
    }
    bool is_const = LLVMIsAConstantInt(s.extent) != NULL;
    int64_t count = is_const ? LLVMConstIntGetSExtValue(s.extent) : -1;
    if (kind == LAP_LOOP_GRID) {
        s.extent = e->end;
        emit_counted(e, &s, e->begin);
    } else if (count >= 0 && count <= (kind == LAP_LOOP_UNROLL ? MAX_UNROLL : 1)) {
        emit_unrolled(e, &s, count);
    } else {
        emit_counted(e, &s, lap_i64(e, 0));
    }
    e->finals[ref.ix] = lap_arena_array(arena, s.n_carried + 1, sizeof **e->finals);
    for (uint32_t i = 0; i < s.n_carried; i++) {
        e->finals[ref.ix][i] = lap_uniform(s.final[i]);
    }
}

void lap_emit_for(lap_emitter *e, lap_ref ref, const lap_node *n)
{
    lap_loop_kind kind = (lap_loop_kind)lap_attr_i(n, LAP_ATTR_KIND, LAP_LOOP_SERIAL);
    if (kind == LAP_LOOP_VECTOR && e->lanes == 1) {
        lap_emit_vector_for(e, ref, n);
    } else {
        emit_serial(e, ref, n, kind);
    }
}

void lap_emit_serial_for(lap_emitter *e, lap_ref ref, const lap_node *n)
{
    emit_serial(e, ref, n, LAP_LOOP_SERIAL);
}
