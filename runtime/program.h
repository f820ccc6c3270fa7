/* SPDX-License-Identifier: Apache-2.0
 * program.h - the contract between compiled code and the runtime: image format and kernel ABI.
 *
 * A program is an image (bytes, little endian, position independent: sizes, tensors, buffers,
 * steps) and a table of kernel functions. JIT and ahead-of-time code use the same image and the same
 * runtime; only where the functions come from differs. Includes nothing of the compiler. */
#ifndef LAP_RUNTIME_PROGRAM_H
#define LAP_RUNTIME_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#define LAP_IMAGE_MAGIC   0x3150414cu /* "LAP1" */
#define LAP_IMAGE_VERSION 2u

/* One kernel: iterations begin <= i < end of its grid loop. buffer[slot] are element 0 of the
 * launch's operands, dim[i] the values of the kernel's extents (in the order of the image's kernel
 * record), scratch this thread's scratch memory (64-byte aligned). Returns 0, or 1 + the number of
 * the image's message that a `fail` met. Kernels do not allocate, and touch nothing else. */
typedef int32_t lap_kernel_fn(void *const *buffer, const int64_t *dim, int64_t begin, int64_t end,
                              void *scratch);

/* Postfix code of extents: a word of lap_dim_op, followed by its operand word where noted. */
typedef enum lap_dim_op {
    LAP_DIM_CONST,  /* operand: the value */
    LAP_DIM_SYMBOL, /* operand: number of the symbol */
    LAP_DIM_ADD,
    LAP_DIM_SUB,
    LAP_DIM_MUL,
    LAP_DIM_EXACT, /* a / b; an error unless b divides a */
    LAP_DIM_FLOOR, /* floor(a / b); 0 when b is 0 */
    LAP_DIM_MIN,
    LAP_DIM_MAX,
    LAP_DIM_TRUNC /* operand: bits of the double c; trunc(c * a) */
} lap_dim_op;

typedef enum lap_buffer_kind {
    LAP_BUF_INPUT,
    LAP_BUF_WEIGHT,
    LAP_BUF_CONST,
    LAP_BUF_TEMP,
    LAP_BUF_PACKED,
    LAP_BUF_OUTPUT
} lap_buffer_kind;
/* Tensors that a program has from outside. */
typedef enum lap_leaf_kind {
    LAP_LEAF_INPUT,
    LAP_LEAF_WEIGHT,
    LAP_LEAF_OUTPUT,
    LAP_N_LEAF_KINDS
} lap_leaf_kind;
typedef enum lap_step_kind {
    LAP_STEP_LAUNCH,
    LAP_STEP_LOOP,
    LAP_STEP_BRANCH,
    LAP_STEP_COPY,
    LAP_STEP_FOREIGN
} lap_step_kind;

/* Image layout. All integers are u32 unless noted; i64 words and byte arrays are aligned to 8 from the
 * image's start; strings are u32 length, bytes, a zero byte, then padding to 4.
 *   header:   magic, version, total size, n_symbols, n_dims, n_inputs, n_weights, n_outputs,
 *             n_buffers, n_kernels, n_steps (all, nested included), n_top (steps of the top list),
 *             n_checks, n_messages
 *   string    name of the model
 *   symbols:  string each
 *   dims:     string text, n_words, then (aligned) n_words i64 of postfix code, each
 *             -- an extent is a number into this table
 *   tensors:  (inputs, weights, outputs) string name, dtype, rank, is_optional, string place
 *             "file:line" or "", rank x dim, rank x crop (buffer number + 1, 0 none)
 *   buffers:  kind, dtype, dim count, leaf, first step, last step (numbers of steps in the order
 *             they are met when bodies are read in place; TEMP only), n_bytes, then (aligned) the bytes
 *   kernels:  string name, string place, grid dim, dim scratch bytes per thread, dim cost per iteration
 *             in 1/16 ns (a guess), n_dims, n_dims x dim
 *   steps:    kind, on_load, kernel, dim limit, counter+1, test+1, reverse, n_test, first body step,
 *             n_body, first other step, n_other, from, to, n_buffers, n_buffers x buffer; a foreign
 *             step then has string name, string place, n_inputs, n_outputs, n_words, n_words words:
 *             per operand and result buffer + 1 (0: nobody reads it), rank, rank x dim
 *             -- the top list is steps[0 .. n_top); every other step is in one list of one step before
 *             it, and a list is contiguous. on_load counts in the top list.
 *   checks:   dim a, rel, dim b, string message, string place; rel: 0 =, 1 not =, 2 <, 3 <=, 4 >, 5 >=
 *   messages: string text, string place
 * dtype numbers are the rows of runtime/dtypes.def. */

#endif
