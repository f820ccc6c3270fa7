/* SPDX-License-Identifier: Apache-2.0
 * emitter.h - state of turning one program into an LLVM module, shared by the files of this folder.
 *
 * Every value is an lval: uniform (a scalar, the same for all lanes), affine (i64 only: the scalar
 * of lane 0 and the stride between lanes), or varying (a vector of `lanes` elements). In scalar code
 * lanes is 1 and all values are uniform. f32 is float, i64 is i64, bool is i1. */
#ifndef LAP_CODEGEN_LLVM_EMITTER_H
#define LAP_CODEGEN_LLVM_EMITTER_H

#include <llvm-c/Core.h>

#include "codegen/image.h"
#include "codegen/llvm/machine.h"
#include "ir/kernel.h"

typedef struct lap_lval {
    LLVMValueRef v, stride;
} lap_lval; /* stride NULL unless affine */

typedef struct lap_memory {
    LLVMValueRef pointer;
    lap_dtype elem;
} lap_memory;

typedef struct lap_emitter {
    const lap_program *program;
    const lap_machine *machine;
    lap_ctx *ctx;
    LLVMContextRef llvm;
    LLVMModuleRef module;
    LLVMBuilderRef b;
    LLVMTypeRef f16, f32, f64, i1, i8, i16, i32, i64, ptr, none;
    /* the kernel being emitted */
    lap_graph *g;
    LLVMValueRef fn;
    lap_kernel_dims dims;
    LLVMValueRef *dim_values; /* parallel to dims */
    LLVMValueRef *globals;    /* by slot */
    LLVMValueRef *scratch;    /* by number */
    uint32_t n_globals, n_scratch;
    LLVMValueRef begin, end; /* range of the grid loop */
    lap_lval *values;        /* by node */
    lap_lval **finals;       /* by `for` node: results */
    bool *varying;           /* by node, of the vector loop being emitted */
    /* the lanes being emitted for */
    uint32_t lanes;
    LLVMValueRef mask; /* lanes that are active; NULL: all */
} lap_emitter;

/* ---- module.c: programs */
/* The whole program as a verified, optimised module; false: fault. The caller owns what out_* name. */
typedef struct lap_module {
    LLVMContextRef llvm;
    LLVMModuleRef module;
    LLVMBuilderRef builder;
} lap_module;
bool lap_module_make(const lap_program *p, const lap_machine *machine, const char *prefix, lap_module *out,
                     lap_fault *fault);
void lap_module_free(lap_module *m);
bool lap_module_object(const lap_module *m, const lap_machine *machine, LLVMCodeGenFileType form,
                       LLVMMemoryBufferRef *out, lap_fault *fault);
/* Attributes that every generated function carries. */
void lap_function_mark(lap_emitter *e, LLVMValueRef fn);
void lap_function_alone(lap_emitter *e, LLVMValueRef fn); /* internal, never inlined */
void lap_pointer_mark(lap_emitter *e, LLVMValueRef fn, uint32_t param, const char *name, uint64_t value);

/* ---- emit.c: kernels, regions and effects */
LLVMValueRef lap_emit_kernel(lap_emitter *e, uint32_t kernel);
void lap_emit_region(lap_emitter *e, lap_region_id id);
LLVMBasicBlockRef lap_block(lap_emitter *e, const char *name);

/* ---- loop.c: loops */
void lap_emit_for(lap_emitter *e, lap_ref ref, const lap_node *n);
void lap_emit_serial_for(lap_emitter *e, lap_ref ref, const lap_node *n); /* in order, whatever its kind */
/* A counting loop, bottom-tested: i = from, from+step, .. while i < to. Phis of carried values are
 * made from `init`, which must be LLVM values of their final type. */
typedef struct lap_counted {
    LLVMBasicBlockRef before, body, after;
    LLVMValueRef index, to, step;
    uint32_t n;
    LLVMValueRef *init, *phi;
} lap_counted;
lap_counted lap_counted_begin(lap_emitter *e, LLVMValueRef from, LLVMValueRef to, LLVMValueRef step,
                              uint32_t n, LLVMValueRef *init);
/* next[i] becomes the phi's next; final[i] receives the value after the loop (may be `init`). */
void lap_counted_end(lap_emitter *e, lap_counted *loop, LLVMValueRef const *next, LLVMValueRef *final);

/* ---- vector.c: vector loops */
/* How the vector loop is run: lanes 1 means scalar code. */
void lap_emit_vector_for(lap_emitter *e, lap_ref ref, const lap_node *n);

/* ---- sums.c: each vector of f32, all of as many lanes, becomes the sum of its lanes. */
void lap_sum_lanes(lap_emitter *e, uint32_t n, LLVMValueRef *x);

/* ---- value.c: values */
static inline lap_lval lap_uniform(LLVMValueRef v) { return (lap_lval){v, NULL}; }
bool lap_is_vector(LLVMValueRef v);
LLVMTypeRef lap_scalar_type(const lap_emitter *e, lap_dtype compute);
LLVMTypeRef lap_vector_of(LLVMTypeRef scalar, uint32_t lanes);
/* The type with `scalar` elements and as many lanes as `like`. */
LLVMTypeRef lap_like(LLVMValueRef like, LLVMTypeRef scalar);
uint32_t lap_lanes_of(LLVMValueRef v);
LLVMValueRef lap_splat(lap_emitter *e, LLVMValueRef scalar, uint32_t lanes);
LLVMValueRef lap_const_of(LLVMTypeRef type, double value); /* number or vector of it; integers too */
LLVMValueRef lap_i64(const lap_emitter *e, int64_t v);
LLVMValueRef lap_iota(lap_emitter *e, LLVMTypeRef scalar, uint32_t lanes, int64_t stride);
/* All lanes as a vector (or the scalar when lanes is 1). */
LLVMValueRef lap_spread(lap_emitter *e, lap_lval x);
lap_lval lap_value(lap_emitter *e, lap_ref ref);
/* Conversion between compute types of a scalar or a vector. */
LLVMValueRef lap_convert(lap_emitter *e, LLVMValueRef v, lap_dtype from, lap_dtype to);
LLVMValueRef lap_intrinsic(lap_emitter *e, const char *name, LLVMTypeRef overload, uint32_t n,
                           LLVMValueRef *args);
LLVMValueRef lap_intrinsic2(lap_emitter *e, const char *name, const LLVMTypeRef *overloads,
                            uint32_t n_overloads, uint32_t n, LLVMValueRef *args);
LLVMValueRef lap_flags(LLVMValueRef v, LLVMFastMathFlags flags);
LLVMValueRef lap_bool_any(lap_emitter *e, LLVMValueRef mask); /* of a vector of bool, or of a bool */
/* The lower (0) or upper (1) lanes of v, which has an even number; and their inverse. */
LLVMValueRef lap_half(lap_emitter *e, LLVMValueRef v, uint32_t which);
LLVMValueRef lap_concat(lap_emitter *e, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef lap_mask_and(lap_emitter *e, LLVMValueRef a, LLVMValueRef b); /* either may be NULL */

/* ---- map.c: scalar functions */
lap_lval lap_emit_map(lap_emitter *e, const lap_node *n);
/* fn on operands of one compute type, scalars or vectors alike. */
LLVMValueRef lap_combine(lap_emitter *e, lap_fn fn, lap_dtype type, LLVMValueRef a, LLVMValueRef b);

/* ---- memory.c: loads and stores */
lap_memory lap_memory_of(lap_emitter *e, lap_ref buffer);
LLVMTypeRef lap_stored_type(const lap_emitter *e, lap_dtype elem);
LLVMValueRef lap_element(lap_emitter *e, lap_memory m, LLVMValueRef index); /* its address; not for i4 */
/* Bits in memory to the compute type, and back (rounding, saturating). */
LLVMValueRef lap_from_stored(lap_emitter *e, LLVMValueRef v, lap_dtype elem);
LLVMValueRef lap_to_stored(lap_emitter *e, LLVMValueRef v, lap_dtype elem);
lap_lval lap_emit_load(lap_emitter *e, const lap_node *n);
void lap_emit_store(lap_emitter *e, const lap_node *n);

/* ---- math.c: functions without a library */
LLVMValueRef lap_math(lap_emitter *e, lap_fn fn, LLVMValueRef x);
LLVMValueRef lap_math_pow(lap_emitter *e, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef lap_math_floor(lap_emitter *e, LLVMValueRef x);
LLVMValueRef lap_math_round(lap_emitter *e, LLVMValueRef x);

/* ---- mma.c, sort.c: operations in functions of their own */
void lap_emit_mma(lap_emitter *e, const lap_node *n);
void lap_emit_turn(lap_emitter *e, const lap_node *n);
void lap_emit_sort(lap_emitter *e, const lap_node *n);
enum { LAP_MOST_SELECTED = 256 };
/* The first `count` of n floats by selection, in a function that has nothing else to do: to `out` where
 * 0 < count <= LAP_MOST_SELECTED and count <= n < 2^31. `room`: that many i64 and 16 more. Branches to
 * `otherwise`, before anything is written, where a key is no number (select.c). */
void lap_emit_select(lap_emitter *e, lap_memory keys, LLVMValueRef n, lap_memory out, LLVMValueRef count,
                     bool smallest, LLVMValueRef room, LLVMBasicBlockRef otherwise);

#endif
