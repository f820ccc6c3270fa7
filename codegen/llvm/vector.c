/* SPDX-License-Identifier: Apache-2.0
 * vector.c - vector loops: iterations in lanes, reductions in as many accumulators.
 *
 * The loop runs in stages: the widest that pays (several registers for reductions, which hides
 * latency), then narrower ones, the last masked or scalar, so that each iteration runs once. A
 * carried value becomes a vector of partial results that starts at the neutral element, halves from
 * stage to stage, and meets its initial value at the end. */
#include <math.h>

#include "codegen/carried.h"
#include "codegen/llvm/emitter.h"

enum { MAX_STRAIGHT = 4, MAX_STRAIGHT_NODES = 160 };

typedef struct vector_loop {
    const lap_node *n;
    const lap_region *body;
    uint32_t n_carried, size; /* nodes of the body */
    int *fn; /* combining function of each carried value, or CARRIED_SAME: it never changes */
    LLVMValueRef *current, *next;
    LLVMValueRef extent;
    int64_t count; /* extent, -1: not known */
} vector_loop;

/* ---- may it run in lanes? ---- */

static bool mark_region(lap_emitter *e, lap_region_id id, uint32_t *size);

static bool mark_for(lap_emitter *e, const lap_node *n, uint32_t *size)
{
    const lap_region *body = lap_region_at(e->g, n->regions[0]);
    bool by_extent = e->varying[n->args[0].ix];
    e->varying[body->params[0].ix] = false;
    for (uint32_t i = 1; i < n->n_args; i++) {
        e->varying[body->params[i].ix] = by_extent || e->varying[n->args[i].ix];
    }
    for (bool is_stable = false; !is_stable;) {
        if (!mark_region(e, n->regions[0], size)) {
            return false;
        }
        is_stable = true;
        for (uint32_t i = 1; i < n->n_args; i++) {
            bool *param = &e->varying[body->params[i].ix];
            if (e->varying[body->results[i - 1].ix] && !*param) {
                *param = true;
                is_stable = false;
            }
        }
    }
    return true;
}

/* Instructions of a node, roughly. */
static uint32_t weight(const lap_node *n)
{
    if (n->op != LAP_OP_MAP) {
        return 1;
    }
    switch ((lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0)) {
    case LAP_FN_EXP:
    case LAP_FN_EXP2:
    case LAP_FN_LOG:
    case LAP_FN_TANH:
    case LAP_FN_SIGMOID:
    case LAP_FN_ERF:
        return 20;
    case LAP_FN_SIN:
    case LAP_FN_COS:
    case LAP_FN_POW:
        return 40;
    case LAP_FN_IDIV:
    case LAP_FN_MOD:
        return 8;
    default:
        return 1;
    }
}

/* Which nodes of the region differ between lanes; false when an operation has no form in lanes. */
static bool mark_region(lap_emitter *e, lap_region_id id, uint32_t *size)
{
    uint32_t n_nodes = 0;
    const lap_ref *nodes = lap_region_nodes(e->g, id, &n_nodes);
    for (uint32_t i = 0; i < n_nodes; i++) {
        const lap_node *n = lap_node_at(e->g, nodes[i]);
        bool varies = false;
        for (uint32_t j = 0; j < n->n_args; j++) {
            varies = varies || e->varying[n->args[j].ix];
        }
        *size += weight(n);
        if (n->op == LAP_OP_MMA || n->op == LAP_OP_TURN || n->op == LAP_OP_SORT) {
            return false;
        }
        if (n->op == LAP_OP_FOR && !mark_for(e, n, size)) {
            return false;
        }
        if (n->op == LAP_OP_IF && !mark_region(e, n->regions[0], size)) {
            return false;
        }
        if (n->op == LAP_OP_RESULT) {
            const lap_node *loop = lap_node_at(e->g, n->args[0]);
            const lap_region *body = lap_region_at(e->g, loop->regions[0]);
            varies = false;
            for (uint32_t j = 1; j < loop->n_args; j++) {
                varies = varies || e->varying[body->params[j].ix];
            }
        }
        if (n->op != LAP_OP_PARAM) {
            e->varying[nodes[i].ix] = varies && n->op != LAP_OP_FOR && n->op != LAP_OP_IF;
        }
    }
    return true;
}

static LLVMValueRef neutral(lap_emitter *e, int fn, lap_dtype type)
{
    LLVMTypeRef t = lap_scalar_type(e, type);
    bool is_float = lap_dtype_compute(type) == LAP_F32;
    switch (fn) {
    case LAP_FN_MUL:
        return lap_const_of(t, 1);
    case LAP_FN_MIN:
        return is_float ? LLVMConstReal(t, INFINITY) : lap_i64(e, INT64_MAX);
    case LAP_FN_LARGER:
    case LAP_FN_MAX:
        return is_float ? LLVMConstReal(t, -INFINITY) : lap_i64(e, INT64_MIN);
    case LAP_FN_AND:
        return LLVMConstInt(e->i1, 1, false);
    default:
        return LLVMConstNull(t);
    }
}

/* ---- one pass over the body ---- */

static lap_dtype carried_type(lap_emitter *e, const vector_loop *v, uint32_t i)
{
    return lap_node_at(e->g, v->body->params[i + 1])->dtype;
}

static void emit_lanes(lap_emitter *e, vector_loop *v, LLVMValueRef index, LLVMValueRef mask)
{
    e->mask = mask;
    e->values[v->body->params[0].ix] = (lap_lval){index, e->lanes > 1 ? lap_i64(e, 1) : NULL};
    for (uint32_t i = 0; i < v->n_carried; i++) {
        e->values[v->body->params[i + 1].ix] = lap_uniform(v->current[i]);
    }
    lap_emit_region(e, v->n->regions[0]);
    for (uint32_t i = 0; i < v->n_carried; i++) {
        lap_lval next = lap_value(e, v->body->results[i]);
        v->next[i] = v->fn[i] == LAP_CARRIED_SAME ? v->current[i] : lap_spread(e, next);
        if (mask && v->fn[i] != LAP_CARRIED_SAME) {
            v->next[i] = LLVMBuildSelect(e->b, mask, v->next[i], v->current[i], "");
        }
    }
    e->mask = NULL;
}

/* Lanes whose index is below the extent. */
static LLVMValueRef tail_mask(lap_emitter *e, vector_loop *v, LLVMValueRef index)
{
    LLVMValueRef left = LLVMBuildSub(e->b, v->extent, index, "");
    LLVMValueRef args[2] = {left, lap_i64(e, e->lanes)};
    left = lap_intrinsic(e, "llvm.smin", e->i64, 2, args);
    LLVMValueRef bound = lap_splat(e, LLVMBuildTrunc(e->b, left, e->i32, ""), e->lanes);
    return LLVMBuildICmp(e->b, LLVMIntSLT, lap_iota(e, e->i32, e->lanes, 1), bound, "");
}

/* ---- stages ---- */

/* Half of the partial results against the other half, until `lanes` are left. */
static LLVMValueRef fold_lanes(lap_emitter *e, lap_fn fn, lap_dtype type, LLVMValueRef x, uint32_t lanes)
{
    while (lap_lanes_of(x) > lanes) {
        x = lap_combine(e, fn, type, lap_half(e, x, 0), lap_half(e, x, 1));
    }
    return x;
}

/* The extreme of all lanes: one test for NaN instead of one per step shortens the chain. */
static LLVMValueRef fold_extreme(lap_emitter *e, LLVMRealPredicate keeps_first, LLVMValueRef x)
{
    LLVMValueRef is_nan = lap_bool_any(e, LLVMBuildFCmp(e->b, LLVMRealUNO, x, x, ""));
    while (lap_lanes_of(x) > 1) {
        LLVMValueRef a = lap_half(e, x, 0), b = lap_half(e, x, 1);
        x = LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, keeps_first, a, b, ""), a, b, "");
    }
    return LLVMBuildSelect(e->b, is_nan, LLVMConstReal(e->f32, NAN), x, "");
}

/* Sums of f32 in one register each, all to the end. */
static void sum_carried(lap_emitter *e, vector_loop *v)
{
    LLVMValueRef *x = lap_arena_array(e->ctx->arena, v->n_carried + 1, sizeof *x);
    uint32_t *from = lap_arena_array(e->ctx->arena, v->n_carried + 1, sizeof *from), n = 0;
    for (uint32_t i = 0; i < v->n_carried; i++) {
        bool is_sum = v->fn[i] == LAP_FN_ADD && lap_dtype_compute(carried_type(e, v, i)) == LAP_F32;
        uint32_t lanes = lap_lanes_of(v->current[i]);
        if (is_sum && lanes > 1 && lanes <= e->machine->target.vector_f32) {
            from[n] = i;
            x[n++] = v->current[i];
        }
    }
    lap_sum_lanes(e, n, x);
    for (uint32_t i = 0; i < n; i++) {
        v->current[from[i]] = x[i];
    }
}

static void narrow_carried(lap_emitter *e, vector_loop *v, uint32_t lanes)
{
    if (lanes == 1) {
        sum_carried(e, v);
    }
    for (uint32_t i = 0; i < v->n_carried; i++) {
        LLVMValueRef *x = &v->current[i];
        if (v->fn[i] == LAP_CARRIED_SAME || lap_lanes_of(*x) <= lanes) {
            continue;
        }
        lap_dtype type = carried_type(e, v, i);
        bool is_extreme =
            (v->fn[i] == LAP_FN_MAX || v->fn[i] == LAP_FN_MIN) && lap_dtype_compute(type) == LAP_F32;
        if (lanes > 1 || !is_extreme) {
            *x = fold_lanes(e, (lap_fn)v->fn[i], type, *x, lanes);
            continue;
        }
        *x = fold_lanes(e, (lap_fn)v->fn[i], type, *x, e->machine->target.vector_f32);
        *x = fold_extreme(e, v->fn[i] == LAP_FN_MAX ? LLVMRealOGT : LLVMRealOLT, *x);
    }
}

static void take_next(vector_loop *v)
{
    for (uint32_t i = 0; i < v->n_carried; i++) {
        v->current[i] = v->next[i];
    }
}

/* Iterations from `from` while below `to`, e->lanes at a time; trips -1: decided at run time. */
static void emit_stage(lap_emitter *e, vector_loop *v, LLVMValueRef from, LLVMValueRef to, int64_t trips,
                       bool is_masked)
{
    if (trips == 0) {
        return;
    }
    if (trips > 0 && trips <= MAX_STRAIGHT && trips * v->size <= MAX_STRAIGHT_NODES) {
        for (int64_t i = 0; i < trips; i++) {
            LLVMValueRef at = LLVMBuildAdd(e->b, from, lap_i64(e, i * e->lanes), "");
            emit_lanes(e, v, at, is_masked ? tail_mask(e, v, at) : NULL);
            take_next(v);
        }
        return;
    }
    LLVMValueRef *init = lap_arena_copy(e->ctx->arena, v->current, (v->n_carried + 1) * sizeof *init);
    lap_counted loop = lap_counted_begin(e, from, to, lap_i64(e, e->lanes), v->n_carried, init);
    for (uint32_t i = 0; i < v->n_carried; i++) {
        v->current[i] = loop.phi[i];
    }
    emit_lanes(e, v, loop.index, is_masked ? tail_mask(e, v, loop.index) : NULL);
    lap_counted_end(e, &loop, v->next, v->current);
}

static uint32_t floor_power(int64_t n)
{
    uint32_t p = 1;
    while (2 * (int64_t)p <= n) {
        p *= 2;
    }
    return p;
}

static uint32_t first_lanes(lap_emitter *e, const vector_loop *v)
{
    uint32_t width = e->machine->target.vector_f32;
    if (v->count >= 0 && v->count < width) {
        uint32_t below = floor_power(v->count > 0 ? v->count : 1);
        bool is_odd = below != v->count && v->count > 1;
        return is_odd && e->machine->target.has_masked ? 2 * below : below;
    }
    uint32_t times = v->n_carried == 0 ? (v->size <= 8 ? 2 : 1) : v->size <= 12 ? 4 : v->size <= 40 ? 2 : 1;
    while (times > 1 && v->count >= 0 && (int64_t)times * width > v->count) {
        times /= 2;
    }
    return times * width;
}

/* Lanes of the stage after one of `lanes`; *is_last when it must take all that is left. */
static uint32_t next_lanes(lap_emitter *e, uint32_t lanes, int64_t left, bool *is_last)
{
    const lap_target *t = &e->machine->target;
    if (t->has_masked) {
        *is_last = true;
        return lanes < t->vector_f32 ? lanes : t->vector_f32;
    }
    uint32_t less = left >= 0 ? floor_power(left) : lanes > t->vector_f32 ? t->vector_f32 : 1;
    *is_last = less == 1;
    return less;
}

static void emit_stages(lap_emitter *e, vector_loop *v)
{
    LLVMValueRef at = lap_i64(e, 0);
    int64_t done = 0;
    uint32_t lanes = first_lanes(e, v);
    bool is_last = lanes == 1;
    for (;;) {
        int64_t left = v->count >= 0 ? v->count - done : -1;
        bool is_masked = is_last && lanes > 1;
        narrow_carried(e, v, lanes);
        e->lanes = lanes;
        int64_t whole = is_last ? left : left < 0 ? -1 : left / lanes * lanes;
        int64_t trips = whole < 0 ? -1 : (whole + lanes - 1) / lanes;
        LLVMValueRef to = v->extent;
        if (!is_last) {
            LLVMValueRef rest = LLVMBuildSub(e->b, v->extent, at, "");
            rest = LLVMBuildAnd(e->b, rest, lap_i64(e, -(int64_t)lanes), "");
            to = LLVMBuildAdd(e->b, at, rest, "");
        }
        emit_stage(e, v, at, to, trips, is_masked);
        done += whole > 0 ? whole : 0;
        if (is_last || (v->count >= 0 && done >= v->count)) {
            break;
        }
        at = to;
        lanes = next_lanes(e, lanes, v->count >= 0 ? v->count - done : -1, &is_last);
    }
    narrow_carried(e, v, 1);
    e->lanes = 1;
}

/* ---- the loop ---- */

/* Whether the body can run in lanes; finds how its carried values combine. */
static bool plan(lap_emitter *e, vector_loop *v)
{
    for (uint32_t i = 0; i < v->n_carried; i++) {
        v->fn[i] = lap_carried_fn(e->g, v->body->results[i], v->body->params[i + 1]);
        if (v->fn[i] == LAP_CARRIED_NONE) {
            return false;
        }
        e->varying[v->body->params[i + 1].ix] = v->fn[i] != LAP_CARRIED_SAME;
    }
    e->varying[v->body->params[0].ix] = true;
    return mark_region(e, v->n->regions[0], &v->size);
}

void lap_emit_vector_for(lap_emitter *e, lap_ref ref, const lap_node *n)
{
    lap_arena *arena = e->ctx->arena;
    vector_loop v = {.n = n, .body = lap_region_at(e->g, n->regions[0]), .n_carried = n->n_args - 1};
    v.fn = lap_arena_array(arena, v.n_carried + 1, sizeof *v.fn);
    v.current = lap_arena_array(arena, v.n_carried + 1, sizeof *v.current);
    v.next = lap_arena_array(arena, v.n_carried + 1, sizeof *v.next);
    if (!plan(e, &v)) {
        lap_emit_serial_for(e, ref, n);
        return;
    }
    v.extent = lap_value(e, n->args[0]).v;
    v.count = -1;
    if (LLVMIsAConstantInt(v.extent)) {
        v.count = LLVMConstIntGetSExtValue(v.extent);
        v.count = v.count > 0 ? v.count : 0;
    }
    uint32_t lanes = first_lanes(e, &v);
    for (uint32_t i = 0; i < v.n_carried; i++) {
        LLVMValueRef init = lap_value(e, n->args[i + 1]).v;
        v.current[i] = v.fn[i] == LAP_CARRIED_SAME
                           ? init
                           : lap_splat(e, neutral(e, v.fn[i], carried_type(e, &v, i)), lanes);
    }
    emit_stages(e, &v);
    e->finals[ref.ix] = lap_arena_array(arena, v.n_carried + 1, sizeof **e->finals);
    for (uint32_t i = 0; i < v.n_carried; i++) {
        LLVMValueRef init = lap_value(e, n->args[i + 1]).v, all = v.current[i];
        if (v.fn[i] != LAP_CARRIED_SAME) {
            all = lap_combine(e, (lap_fn)v.fn[i], carried_type(e, &v, i), init, all);
        }
        e->finals[ref.ix][i] = lap_uniform(all);
    }
}
