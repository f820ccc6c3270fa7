/* SPDX-License-Identifier: Apache-2.0
 * kernel.h - kernel level: builder for loops over buffers, and the program that launches kernels.
 *
 * A kernel is a lap_graph of level KERNEL: scalar nodes (no axes), buffers, loops. Values are f32,
 * i64 or bool; loads convert from the element type, stores round to it. Buffer indices count
 * elements. Pure nodes move to the outermost region they can; loads, stores and other effects stay
 * where they are emitted and happen in order.
 *
 *   for kind=grid    the outermost loop of a kernel, exactly one: its iterations are independent and
 *                    the runtime hands out ranges of them; its extent is a `dim` node. No carried values.
 *   for kind=vector  iterations run in lanes. Each carried value must be combined as
 *                    next = fn(carried, x) with fn add, mul, min, max, larger, and, or (x free of it), in any
 *                    order; stores of different iterations must not overlap and nothing that is
 *                    stored may be loaded by another iteration.
 *   for kind=serial  in order; carried values are arbitrary.
 *   for kind=unroll  serial with a constant extent, expanded by the backend.
 *
 *   mma: operands acc, acc0, ld, a, a0, sm, sk, m, b, b0, sb, K with acc, a, b buffers, all others i64:
 *        for i < rows, j < cols:  acc[acc0 + i*ld + j] = (init ? 0 : same) +
 *            sum over k < K of a[a0 + min(i, m-1)*sm + k*sk] * b[b0 + k*sb + j]
 *        acc is f32 scratch with room for rows x cols; m >= 1 rows of `a` exist, others repeat the last.
 *        dot: a and b are bf16 and sk is 1. Products may be added two at a time along k, by an instruction
 *        with its own rounding, which flushes subnormal numbers; a backend without one multiplies and adds.
 *   turn: operands to, to0, ld, from, from0, stride, rows, cols, all but the buffers i64:
 *        for i < rows, j < cols:  to[to0 + j*ld + i] = from[from0 + i*stride + j], both of floats.
 *   sort: operands keys, keys0, n, out, out0, k: out[out0 + r] = index (i64, 0..n-1) of the r-th key,
 *        r < k <= n, falling (or rising when smallest), ties to the lower index, NaN last. */
#ifndef LAP_IR_KERNEL_H
#define LAP_IR_KERNEL_H

#include "ir/build.h"
#include "runtime/program.h"

/* Buffers of a kernel. Slots count from 0 in order of the launch's operand list. */
lap_ref lap_k_global(lap_graph *k, uint32_t slot, lap_dtype elem);
lap_ref lap_k_scratch(lap_graph *k, uint32_t number, lap_dtype elem,
                      lap_dim count); /* per thread, 64-byte aligned */

/* Loops: begin gives the index and the carried values; end takes their next values and gives the
 * final ones (out_final may be NULL when there are none). */
typedef struct lap_k_loop {
    lap_region_id region;
    lap_ref index;
    lap_ref extent;
    uint32_t n;
    const lap_ref *init, *carried;
    lap_loop_kind kind;
} lap_k_loop;
lap_k_loop lap_k_for(lap_graph *k, lap_loop_kind kind, lap_ref extent, uint32_t n, const lap_ref *init);
void lap_k_end(lap_graph *k, const lap_k_loop *loop, const lap_ref *next, lap_ref *out_final);
lap_region_id lap_k_if(lap_graph *k, lap_ref cond);
void lap_k_end_if(lap_graph *k, lap_region_id region, lap_ref cond);

lap_ref lap_k_load(lap_graph *k, lap_ref buffer, lap_ref index, lap_ref mask); /* mask may be LAP_NONE */
/* The same; what lies `ahead` elements further on is likely to be read soon (0: nothing is known). */
lap_ref lap_k_load_ahead(lap_graph *k, lap_ref buffer, lap_ref index, lap_ref mask, int64_t ahead);
void lap_k_store(lap_graph *k, lap_ref buffer, lap_ref index, lap_ref value, lap_ref mask);
void lap_k_fail(lap_graph *k, lap_ref cond, const char *message);

typedef struct lap_k_mma_args {
    lap_ref acc, acc0, ld, a, a0, sm, sk, m, b, b0, sb, depth;
    uint32_t rows, cols;
    bool init, dot;
} lap_k_mma_args;
void lap_k_mma(lap_graph *k, const lap_k_mma_args *m);
typedef struct lap_k_turn_args {
    lap_ref to, to0, ld, from, from0, stride, rows, cols;
} lap_k_turn_args;
void lap_k_turn(lap_graph *k, const lap_k_turn_args *t);
void lap_k_sort(lap_graph *k, lap_ref keys, lap_ref keys0, lap_ref n, lap_ref out, lap_ref out0,
                lap_ref count, bool smallest);

/* ---- programs: what the passes hand to a backend ------------------------------------------- */

/* INPUT, WEIGHT, OUTPUT: leaf number. CONST: bytes. TEMP: planned by liveness, contents die with the
 * run. PACKED: made from weights by steps of the load phase, kept until sizes change. */
typedef struct lap_buffer {
    lap_buffer_kind kind;
    lap_dtype elem;
    lap_dim count;
    uint32_t leaf;
    const void *bytes;
    size_t n_bytes;
} lap_buffer;

/* An input, weight or output: memory axes as extents (element [i] of the tensor's shape). For an
 * output, crop[i] names an i64 buffer of one element that bounds axis i at run time (-1: none). */
typedef struct lap_leaf {
    lap_name name;
    lap_dtype dtype;
    uint32_t rank;
    const lap_dim *shape;
    bool is_optional;
    lap_loc loc;
    const int32_t *crop;
} lap_leaf;

/* One kernel on these buffers. The rest is for people: what it does, what its axes do (NULL: nothing to say),
 * whose line asked for it, and the value it is made for in the graph that was lowered. */
typedef struct lap_launch {
    uint32_t kernel;
    uint32_t n_buffers;
    const uint32_t *buffers;
    const char *what, *roles;
    lap_loc loc;
    lap_ref root;
} lap_launch;

/* A foreign operation's tensors: operands, then results; those that nobody reads have no buffer (-1). */
typedef struct lap_foreign_operand {
    int32_t buffer;
    uint32_t rank;
    const lap_dim *shape;
} lap_foreign_operand;
typedef struct lap_foreign_use {
    lap_name name;
    lap_loc loc;
    uint32_t n_inputs, n_outputs;
    const lap_foreign_operand *operands;
} lap_foreign_use;

/* LAUNCH: one kernel. LOOP: `limit` rounds of body, the round number in i64 buffer `counter`
 * (counting down from limit-1 when reverse), ended when the bool buffer `test` (-1: none), written by
 * the first n_test steps of the body, is 0. BRANCH: body, or other, by the bool buffer `test`.
 * COPY: buffer `from` to buffer `to`, whole. FOREIGN: one call of a C library's operation. */
typedef struct lap_step {
    lap_step_kind kind;
    bool on_load; /* depends on weights and sizes alone: run when they are bound */
    lap_launch launch;
    lap_dim limit;
    int32_t counter, test;
    bool reverse;
    uint32_t n_test;
    uint32_t n_body, n_other;
    const struct lap_step *body, *other;
    uint32_t from, to;
    const lap_foreign_use *foreign;
} lap_step;

typedef struct lap_kernel {
    lap_graph *graph;
    const char *name;
    const char *roles; /* what its axes do, as `dump --stage fused` shows it */
    lap_loc loc;
} lap_kernel; /* names are unique in the program */

/* How an attend is computed, for people: by tiles of rows against panels of keys, by windows of a grid, by
 * few queries, or a row at a time. Sizes are 0 where there are no tiles. Axes are flat, last fastest. */
typedef enum lap_attend_form {
    LAP_ATTEND_TILES,
    LAP_ATTEND_FEW,
    LAP_ATTEND_FEW_OR_TILES,
    LAP_ATTEND_NEAR,
    LAP_ATTEND_ROWS
} lap_attend_form;
/* A tile has some pair; all of its pairs; stands in a panel that is done without the mask. */
enum { LAP_TILE_SOME = 1, LAP_TILE_ALL = 2, LAP_TILE_UNMASKED = 4 };
typedef struct lap_attend_use {
    lap_ref attend; /* in the graph that was lowered */
    lap_attend_form form;
    uint32_t tile_rows, tile_keys, block_rows, block_keys;
    lap_names outer, rows, keys;
    int32_t output; /* the output with the classes [outer, tiles of rows, of keys], or -1 */
} lap_attend_use;

typedef struct lap_program {
    lap_ctx *ctx;
    const char *name;
    uint32_t n_inputs, n_weights, n_outputs;
    const lap_leaf *inputs, *weights, *outputs;
    uint32_t n_buffers;
    const lap_buffer *buffers;
    uint32_t n_kernels;
    const lap_kernel *kernels;
    uint32_t n_steps;
    const lap_step *steps;
    uint32_t n_checks;
    const lap_check *checks;
    lap_graph *source;     /* what was lowered */
    const uint32_t *homes; /* by node of it: 1 + the kernel that computes it; 0: none of its own */
    uint32_t n_attends;
    const lap_attend_use *attends;
} lap_program;

/* What products are of: bf16 where a register tile adds dot products, else f32. */
lap_dtype lap_program_computed_in(const lap_program *p);
/* Whether the kernel stores to the buffer of a slot. */
bool lap_kernel_writes(const lap_graph *kernel, uint32_t slot);

/* Text of a program: buffers, kernels, steps (the `loop` stage of `lappet dump`). */
void lap_program_print(const lap_program *p, FILE *to);
/* The launches alone, a line each: kernel, what, roles, Lua line (the `fused` stage). */
void lap_program_print_fused(const lap_program *p, FILE *to);

#endif
