/* SPDX-License-Identifier: Apache-2.0
 * turn.c - transposing copies: runs of four from as many rows as there are lanes, turned in registers.
 *
 * The quarters of a register are filled from memory, rows four apart in one quarter each, so that only
 * shuffles within quarters remain: two for each vector that is stored. */
#include "codegen/llvm/emitter.h"

enum { ARG_TO, ARG_LD, ARG_FROM, ARG_STRIDE, ARG_ROWS, ARG_COLS, N_ARGS, RUN = 4, MOST_LANES = 64 };

typedef struct turn {
    lap_dtype to, from;
    uint32_t lanes;
    LLVMValueRef args[N_ARGS];
    LLVMValueRef row[MOST_LANES]; /* pointers to the rows of a block */
    LLVMValueRef first, mask;     /* of a block: its first row; rows that exist, NULL: all */
} turn;

static LLVMValueRef offset(lap_emitter *e, LLVMTypeRef type, LLVMValueRef pointer, LLVMValueRef index)
{
    return LLVMBuildGEP2(e->b, type, pointer, &index, 1, "");
}

static void store_column(lap_emitter *e, const turn *t, LLVMValueRef column, LLVMValueRef v)
{
    LLVMValueRef at = LLVMBuildMul(e->b, column, t->args[ARG_LD], "");
    at = LLVMBuildAdd(e->b, at, t->first, "");
    LLVMValueRef pointer = offset(e, lap_stored_type(e, t->to), t->args[ARG_TO], at);
    v = t->from == t->to ? v : lap_to_stored(e, v, t->to);
    unsigned align = lap_dtype_bits(t->to) / 8;
    if (!t->mask) {
        LLVMSetAlignment(LLVMBuildStore(e->b, v, pointer), align);
        return;
    }
    LLVMTypeRef types[2] = {LLVMTypeOf(v), e->ptr};
    LLVMValueRef args[4] = {v, pointer, LLVMConstInt(e->i32, align, false), t->mask};
    lap_intrinsic2(e, "llvm.masked.store", types, 2, 4, args);
}

static LLVMValueRef scaled(lap_emitter *e, LLVMValueRef v, int64_t by)
{
    return LLVMBuildMul(e->b, v, lap_i64(e, by), "");
}

static LLVMValueRef load_run(lap_emitter *e, const turn *t, LLVMValueRef pointer, uint32_t n)
{
    LLVMTypeRef type = lap_stored_type(e, t->from);
    LLVMValueRef v = LLVMBuildLoad2(e->b, lap_vector_of(type, n), pointer, "");
    LLVMSetAlignment(v, lap_dtype_bits(t->from) / 8);
    return t->from == t->to ? v : lap_from_stored(e, v, t->from);
}

/* Elements of a and b within each quarter: the two from `at` on of each, in turn or one after the other. */
static LLVMValueRef shuffle(lap_emitter *e, LLVMValueRef a, LLVMValueRef b, uint32_t at, bool in_turn)
{
    uint32_t n = lap_lanes_of(a);
    LLVMValueRef order[MOST_LANES];
    for (uint32_t i = 0; i < n; i++) {
        uint32_t in = i % RUN, second = in_turn ? in % 2 : in / 2, which = in_turn ? in / 2 : in % 2;
        order[i] = LLVMConstInt(e->i32, i / RUN * RUN + at + which + (second ? n : 0), false);
    }
    return LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(order, n), "");
}

/* Runs of rows k, k + 4, k + 8, .. side by side. `at`: the runs of rows 0 .. 3, or NULL: by t->row. */
static LLVMValueRef quarters(lap_emitter *e, const turn *t, uint32_t k, LLVMValueRef column,
                             const LLVMValueRef *at)
{
    LLVMValueRef parts[MOST_LANES / RUN] = {NULL};
    LLVMTypeRef type = lap_stored_type(e, t->from);
    uint32_t n = t->lanes / RUN;
    for (uint32_t i = 0; i < n; i++) {
        LLVMValueRef pointer = !at      ? offset(e, type, t->row[RUN * i + k], column)
                               : i == 0 ? at[k]
                                        : offset(e, type, at[k], scaled(e, t->args[ARG_STRIDE], RUN * i));
        parts[i] = load_run(e, t, pointer, RUN);
    }
    for (; n > 1; n /= 2) {
        for (uint32_t i = 0; i < n / 2; i++) {
            parts[i] = lap_concat(e, parts[2 * i], parts[2 * i + 1]);
        }
    }
    return parts[0];
}

static void emit_runs(lap_emitter *e, const turn *t, LLVMValueRef to)
{
    uint32_t n = t->mask ? 0 : RUN; /* pointers that step along, instead of one for each row */
    LLVMTypeRef type = lap_stored_type(e, t->from);
    LLVMValueRef a[RUN], next[RUN], last[RUN];
    lap_counted loop = lap_counted_begin(e, lap_i64(e, 0), to, lap_i64(e, RUN), n, (LLVMValueRef *)t->row);
    for (uint32_t k = 0; k < RUN; k++) {
        a[k] = quarters(e, t, k, loop.index, n > 0 ? loop.phi : NULL);
        next[k] = n > 0 ? offset(e, type, loop.phi[k], lap_i64(e, RUN)) : NULL;
    }
    for (uint32_t half = 0; half < 2; half++) {
        LLVMValueRef low = shuffle(e, a[0], a[1], 2 * half, true),
                     high = shuffle(e, a[2], a[3], 2 * half, true);
        for (uint32_t i = 0; i < 2; i++) {
            LLVMValueRef column = LLVMBuildAdd(e->b, loop.index, lap_i64(e, 2 * half + i), "");
            store_column(e, t, column, shuffle(e, low, high, 2 * i, false));
        }
    }
    lap_counted_end(e, &loop, next, last);
}

static void emit_rest(lap_emitter *e, const turn *t, LLVMValueRef from)
{
    lap_counted loop = lap_counted_begin(e, from, t->args[ARG_COLS], lap_i64(e, 1), 0, NULL);
    LLVMTypeRef type = t->from == t->to ? lap_stored_type(e, t->from) : e->f32;
    LLVMValueRef v = LLVMGetPoison(LLVMVectorType(type, t->lanes));
    for (uint32_t i = 0; i < t->lanes; i++) {
        LLVMValueRef one = load_run(e, t, offset(e, lap_stored_type(e, t->from), t->row[i], loop.index), 1);
        v = LLVMBuildInsertElement(e->b, v, one, LLVMConstInt(e->i32, i, false), "");
    }
    store_column(e, t, loop.index, v);
    lap_counted_end(e, &loop, NULL, NULL);
}

/* All columns of the rows from `first` on; rows that do not exist repeat the last. */
static void emit_block(lap_emitter *e, turn *t, LLVMValueRef first, bool is_tail)
{
    LLVMValueRef last = LLVMBuildSub(e->b, t->args[ARG_ROWS], lap_i64(e, 1), "");
    t->first = first;
    t->mask = NULL;
    for (uint32_t i = 0; i < t->lanes; i++) {
        LLVMValueRef pair[2] = {LLVMBuildAdd(e->b, first, lap_i64(e, i), ""), last};
        LLVMValueRef at = is_tail ? lap_intrinsic(e, "llvm.smin", e->i64, 2, pair) : pair[0];
        at = LLVMBuildMul(e->b, at, t->args[ARG_STRIDE], "");
        t->row[i] = offset(e, lap_stored_type(e, t->from), t->args[ARG_FROM], at);
    }
    if (is_tail) {
        LLVMValueRef left = LLVMBuildSub(e->b, t->args[ARG_ROWS], first, "");
        LLVMValueRef bound = lap_splat(e, LLVMBuildTrunc(e->b, left, e->i32, ""), t->lanes);
        t->mask = LLVMBuildICmp(e->b, LLVMIntSLT, lap_iota(e, e->i32, t->lanes, 1), bound, "");
    }
    LLVMValueRef whole = LLVMBuildAnd(e->b, t->args[ARG_COLS], lap_i64(e, -RUN), "");
    emit_runs(e, t, whole);
    emit_rest(e, t, whole);
}

static void emit_turn(lap_emitter *e, turn *t)
{
    LLVMValueRef rows = t->args[ARG_ROWS];
    LLVMValueRef whole = LLVMBuildAnd(e->b, rows, lap_i64(e, -(int64_t)t->lanes), "");
    lap_counted blocks = lap_counted_begin(e, lap_i64(e, 0), whole, lap_i64(e, t->lanes), 0, NULL);
    emit_block(e, t, blocks.index, false);
    lap_counted_end(e, &blocks, NULL, NULL);
    lap_counted tail = lap_counted_begin(e, whole, rows, lap_i64(e, t->lanes), 0, NULL);
    emit_block(e, t, tail.index, true);
    lap_counted_end(e, &tail, NULL, NULL);
    LLVMBuildRetVoid(e->b);
}

static LLVMTypeRef turn_type(lap_emitter *e)
{
    LLVMTypeRef types[N_ARGS];
    for (int i = 0; i < N_ARGS; i++) {
        types[i] = i == ARG_TO || i == ARG_FROM ? e->ptr : e->i64;
    }
    return LLVMFunctionType(e->none, types, N_ARGS, false);
}

static LLVMValueRef turn_function(lap_emitter *e, turn *t)
{
    const char *name =
        lap_arena_printf(e->ctx->arena, "lap.turn.%s.%s", lap_dtype_text(t->from), lap_dtype_text(t->to));
    LLVMValueRef fn = LLVMGetNamedFunction(e->module, name);
    if (fn) {
        return fn;
    }
    LLVMValueRef outer = e->fn;
    LLVMBasicBlockRef block = LLVMGetInsertBlock(e->b);
    fn = e->fn = LLVMAddFunction(e->module, name, turn_type(e));
    lap_function_mark(e, fn);
    lap_function_alone(e, fn);
    for (int i = 0; i < N_ARGS; i++) {
        t->args[i] = LLVMGetParam(fn, (unsigned)i);
    }
    lap_pointer_mark(e, fn, ARG_TO, "noalias", 0);
    LLVMPositionBuilderAtEnd(e->b, lap_block(e, "entry"));
    emit_turn(e, t);
    e->fn = outer;
    LLVMPositionBuilderAtEnd(e->b, block);
    return fn;
}

void lap_emit_turn(lap_emitter *e, const lap_node *n)
{
    enum { TO, TO0, LD, FROM, FROM0, STRIDE, ROWS, COLS };
    LAP_ENSURE(e->lanes == 1);
    lap_memory to = lap_memory_of(e, n->args[TO]), from = lap_memory_of(e, n->args[FROM]);
    turn t = {.to = to.elem, .from = from.elem, .lanes = e->machine->target.vector_f32};
    LAP_ENSURE(t.lanes % RUN == 0 && t.lanes <= MOST_LANES);
    LLVMValueRef fn = turn_function(e, &t);
    LLVMValueRef args[N_ARGS] = {[ARG_TO] = lap_element(e, to, lap_value(e, n->args[TO0]).v),
                                 [ARG_LD] = lap_value(e, n->args[LD]).v,
                                 [ARG_FROM] = lap_element(e, from, lap_value(e, n->args[FROM0]).v),
                                 [ARG_STRIDE] = lap_value(e, n->args[STRIDE]).v,
                                 [ARG_ROWS] = lap_value(e, n->args[ROWS]).v,
                                 [ARG_COLS] = lap_value(e, n->args[COLS]).v};
    LLVMBuildCall2(e->b, turn_type(e), fn, args, N_ARGS, "");
}
