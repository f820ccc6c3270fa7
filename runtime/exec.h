/* SPDX-License-Identifier: Apache-2.0
 * exec.h - runs a program image: sizes from shapes, one memory plan, launches over threads.
 *
 * open -> weights -> run, run, ... -> close. A run whose input shapes equal the last run's allocates
 * nothing. Sizes are solved from the shapes of inputs and weights; relations are checked then, with
 * the Lua line that stated them. One lap_exec serves one caller at a time. */
#ifndef LAP_RUNTIME_EXEC_H
#define LAP_RUNTIME_EXEC_H

#include "runtime/foreign_table.h"
#include "runtime/program.h"
#include "runtime/safetensors.h"
#include "runtime/tensor.h"

typedef struct lap_exec lap_exec;

typedef struct lap_exec_options {
    uint32_t n_threads; /* 0: one per processor this process may use */
    size_t max_bytes;   /* bound on workspace, 0: the memory of this machine */
} lap_exec_options;

/* The image is validated whole and must outlive the exec; kernels[i] is the function of kernel i. */
lap_exec *lap_exec_open(const void *image, size_t n_bytes, lap_kernel_fn *const *kernels,
                        const lap_exec_options *options, lap_fault *fault);
void lap_exec_close(lap_exec *exec);

uint32_t lap_exec_n_inputs(const lap_exec *exec);
uint32_t lap_exec_n_weights(const lap_exec *exec);
uint32_t lap_exec_n_outputs(const lap_exec *exec);
/* kind: a lap_leaf_kind. */
const char *lap_exec_name(const lap_exec *exec, unsigned kind, uint32_t i);
lap_dtype lap_exec_dtype(const lap_exec *exec, unsigned kind, uint32_t i);
uint32_t lap_exec_rank(const lap_exec *exec, unsigned kind, uint32_t i);

/* Binds weights by name from an open file, which must outlive the exec. Missing tensors, and ones
 * of a wrong rank or size, are errors; other storage types than declared convert once here. Names
 * with {k} are families: tensors NAME with {k} replaced by 0, 1, .. are stacked along the first axis.
 * After a failure the exec has no weights. */
bool lap_exec_set_weights(lap_exec *exec, const lap_safetensors *file, lap_fault *fault);
/* The same by any other lookup: NULL where there is no such tensor. */
typedef const lap_tensor_view *lap_exec_lookup(void *user, const char *name);
bool lap_exec_set_weights_by(lap_exec *exec, lap_exec_lookup *find, void *user, lap_fault *fault);
/* The same from memory that outlives the exec: one tensor per weight, in order; families stacked. */
bool lap_exec_set_weight_tensors(lap_exec *exec, const lap_tensor *weights, lap_fault *fault);

/* Foreign operations that the program may call; the table outlives the exec. Without one that the
 * program needs, binding fails with LAP_NO_DEVICE. */
void lap_exec_set_foreign(lap_exec *exec, const lap_foreign_table *foreign);

/* Solves sizes for these input shapes, checks relations, plans memory, runs the load steps.
 * Called by run when shapes changed. inputs[i].data may be NULL here. */
bool lap_exec_bind(lap_exec *exec, const lap_tensor *inputs, lap_fault *fault);
/* Shapes of outputs (upper bounds where the extent is decided at run time), after bind. */
bool lap_exec_output_shape(const lap_exec *exec, uint32_t i, lap_tensor *out_shape);
/* Input types must match the declared ones. outputs[i].data may point to memory of at least the
 * bound's size, or be NULL: then the tensor is set to memory of the exec, valid until the next call.
 * On return shapes are exact. An absent optional input has data NULL and rank 0. */
bool lap_exec_run(lap_exec *exec, const lap_tensor *inputs, lap_tensor *outputs, lap_fault *fault);

/* Time spent in launches of each kernel, and how many there were, added up by the runs that follow: arrays by
 * kernel that outlive them. NULL ends that. On this processor only. */
typedef struct lap_exec_spent {
    double seconds;
    uint64_t launches;
} lap_exec_spent;
uint32_t lap_exec_n_kernels(const lap_exec *exec);
void lap_exec_measure(lap_exec *exec, lap_exec_spent *by_kernel);

size_t lap_exec_workspace(const lap_exec *exec); /* bytes of the memory plan, after bind */
/* 0: one per processor. The next run binds again. */
bool lap_exec_set_threads(lap_exec *exec, uint32_t n_threads, lap_fault *fault);
uint32_t lap_exec_threads(const lap_exec *exec);
/* Shape of a tensor for given values of all symbols, in order. */
bool lap_exec_shape(const lap_exec *exec, unsigned kind, uint32_t i, const int64_t *symbols,
                    lap_tensor *out_shape, lap_fault *fault);
uint32_t lap_exec_n_symbols(const lap_exec *exec);
const char *lap_exec_symbol_name(const lap_exec *exec, uint32_t i);
bool lap_exec_is_optional(const lap_exec *exec, uint32_t input);
const char *lap_exec_model(const lap_exec *exec);
/* Value of a symbol such as "N" after bind. */
bool lap_exec_symbol(const lap_exec *exec, const char *name, int64_t *out);

#endif
