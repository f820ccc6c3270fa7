/* SPDX-License-Identifier: Apache-2.0
 * exec_state.h - what a lap_exec holds; shared by the files that make it up and by devices (runtime/vk).
 *
 * exec.c opens and runs, steps.c runs steps, weights.c binds weights, bind.c turns shapes into sizes and
 * memory. */
#ifndef LAP_RUNTIME_EXEC_STATE_H
#define LAP_RUNTIME_EXEC_STATE_H

#include "runtime/exec.h"
#include "runtime/extent.h"
#include "runtime/image.h"
#include "runtime/plan.h"
#include "runtime/threads.h"

/* Memory that grows and is used again. */
typedef struct lap_room {
    void *at;
    size_t n;
} lap_room;

/* What runs programs in place of this processor's threads. Sizes and checks stay with lap_exec. */
typedef struct lap_device_ops {
    bool (*bind)(void *self, lap_exec *exec, lap_fault *fault); /* memory and commands for these sizes */
    bool (*load)(void *self, lap_exec *exec, lap_fault *fault); /* weights, then the load steps */
    /* The other steps; contents of inputs and outputs lie at exec->at. */
    bool (*run)(void *self, lap_exec *exec, lap_fault *fault);
    void (*close)(void *self);
} lap_device_ops;

struct lap_exec {
    lap_image image;
    lap_kernel_fn *const *kernels; /* NULL: a device has them */
    const lap_device_ops *device;  /* NULL: this processor */
    void *device_self;
    size_t max_bytes;
    lap_pool *pool;
    const lap_foreign_table *foreign;

    /* weights */
    bool has_weights;
    lap_tensor *weights;
    void **weight_memory;       /* of converted or stacked ones, else NULL */
    lap_symbols weight_symbols; /* what the weights alone decide */

    /* the binding */
    bool is_bound;
    lap_tensor *inputs; /* shapes of the binding; data is not used */
    bool *is_given;
    lap_tensor *outputs; /* bounds */
    lap_symbols symbols;
    int64_t *dims;
    uint8_t *dim_state;   /* lap_extent_state */
    int64_t *kernel_dims; /* of all kernels, one after the other */
    size_t *kernel_start; /* n_kernels + 1 */
    lap_equation *equations;

    /* memory */
    void **at;            /* element 0 of each buffer; NULL: may not be touched */
    size_t *n_bytes;      /* of each buffer */
    lap_plan_item *items; /* of TEMP buffers, in order */
    size_t workspace;
    lap_room arena, packed, scratch;
    size_t scratch_stride;
    lap_room *staged;     /* by input: copies of inputs that are not aligned */
    lap_room *made;       /* by output: memory of outputs that the caller gave none for */
    bool is_loaded;       /* PACKED buffers hold what the load steps make */
    bool *on_load_dim;    /* extents that the load steps depend on */
    int64_t *loaded_dims; /* their values at the last load */
    void **slots;         /* operands of the running launch */
    lap_exec_spent *spent; /* by kernel; NULL: nobody asks */
};

/* A program on a device. `self` belongs to the exec, but not after a failure. */
lap_exec *lap_exec_open_on(const void *image, size_t n_bytes, const lap_device_ops *device, void *self,
                           const lap_exec_options *options, lap_fault *fault);

bool lap_room_grow(lap_room *room, size_t n, lap_fault *fault);
void lap_room_free(lap_room *room);

/* Runs steps of the top list: those of the load phase, or the others. */
bool lap_exec_steps(lap_exec *exec, bool on_load, lap_fault *fault);
/* exec_foreign.c: whether every foreign operation of the program is there; and one call of one. */
bool lap_exec_check_foreign(const lap_exec *exec, lap_fault *fault);
bool lap_exec_foreign(lap_exec *exec, const lap_image_step *s, lap_fault *fault);
/* Whether the kernel's extents have values and its loops would end in our time; says what is wrong. */
bool lap_exec_can_launch(const lap_exec *exec, const lap_image_kernel *k, lap_fault *fault);
/* Says why a buffer has no memory; false. */
bool lap_exec_no_operand(const lap_exec *exec, uint32_t buffer, lap_fault *fault);
/* Memory of a buffer of one element that the runtime itself reads or writes; NULL with a fault. */
void *lap_exec_cell(const lap_exec *exec, int32_t buffer, size_t size, lap_fault *fault);
/* Equations of a tensor's axes, appended at exec->equations[n]; the new n. */
size_t lap_exec_equations(lap_exec *exec, const lap_image_leaf *leaf, const lap_tensor *tensor, size_t n);
bool lap_exec_is_same_shape(const lap_tensor *a, const lap_tensor *b);

#endif
