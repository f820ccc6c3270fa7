/* SPDX-License-Identifier: Apache-2.0
 * foreign.h - operations that a C library adds to the language: what such a library exports.
 *
 * The library defines `lap_foreign_ops`, which gives its operations, the last one followed by NULL;
 * `lappet run --foreign LIB.so` loads it. An operation is a pure function of its operands: the
 * compiler may call it once for two equal uses, and not at all where nobody reads a result. This
 * header stands alone. */
#ifndef LAP_RUNTIME_FOREIGN_H
#define LAP_RUNTIME_FOREIGN_H

#include <stddef.h>
#include <stdint.h>

#define LAP_FOREIGN_VERSION      1u
#define LAP_FOREIGN_MAX_RANK     16
#define LAP_FOREIGN_MAX_OPERANDS 64

/* Element types; BOOL is a byte, 0 or 1. Operands are F32, I64 or BOOL, however they are stored;
 * results are of the type that the script declares, a 4-bit integer as I8. */
typedef enum lap_foreign_dtype {
    LAP_FOREIGN_F32,
    LAP_FOREIGN_F16,
    LAP_FOREIGN_BF16,
    LAP_FOREIGN_I64,
    LAP_FOREIGN_I32,
    LAP_FOREIGN_I8,
    LAP_FOREIGN_BOOL = 7,
    LAP_FOREIGN_UNREAD = 255 /* no tensor: a result that nobody reads */
} lap_foreign_dtype;

/* A dense row-major tensor. `data` is NULL for a result that nobody reads (type UNREAD, rank 0: leave
 * it alone), and where only shapes are asked about. Elements beyond a run-time extent are 0 in
 * operands, and ignored in results. */
typedef struct lap_foreign_tensor {
    void *data;
    uint32_t dtype; /* a lap_foreign_dtype */
    uint32_t rank;
    int64_t dims[LAP_FOREIGN_MAX_RANK];
} lap_foreign_tensor;

/* Fills outputs[i].data from inputs[i].data. Returns 0; or anything else after writing the reason
 * into message, a text of at most n_message bytes with the zero byte. Called from one thread. */
typedef int lap_foreign_fn(void *user, const lap_foreign_tensor *inputs, const lap_foreign_tensor *outputs,
                           char *message, size_t n_message);

/* Fields are only ever added at the end; struct_size says which ones the library knows. */
typedef struct lap_foreign_op {
    uint32_t struct_size; /* sizeof(lap_foreign_op) */
    uint32_t version;     /* LAP_FOREIGN_VERSION */
    const char *name;     /* as in g:foreign("name", ..) */
    uint32_t n_inputs, n_outputs;
    lap_foreign_fn *shape;     /* refuses extents and types; every data is NULL. May be NULL */
    lap_foreign_fn *reference; /* what the operation means: plain and exact. Never NULL */
    lap_foreign_fn *cpu;       /* the same, fast; NULL: the reference */
    void *user;                /* handed to the functions */
} lap_foreign_op;

#ifdef __cplusplus
extern "C" {
#endif
__attribute__((visibility("default"))) const lap_foreign_op *const *lap_foreign_ops(void);
#ifdef __cplusplus
}
#endif

#endif
