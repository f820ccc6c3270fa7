/* SPDX-License-Identifier: Apache-2.0
 * exec_foreign.c - steps that call an operation of a C library. */
#include "runtime/exec_state.h"

bool lap_exec_check_foreign(const lap_exec *exec, lap_fault *fault)
{
    for (uint32_t i = 0; i < exec->image.n_steps; i++) {
        const lap_image_step *s = &exec->image.steps[i];
        if (s->kind == LAP_STEP_FOREIGN &&
            !lap_foreign_find(exec->foreign, s->name, s->n_inputs, s->n_outputs, s->place, fault)) {
            return false;
        }
    }
    return true;
}

/* One operand or result from its words; what the operation sees is exactly its buffer. */
static bool tensor_of(const lap_exec *exec, const lap_image_step *s, const uint32_t *words,
                      lap_foreign_tensor *out, lap_fault *fault)
{
    const lap_image *image = &exec->image;
    uint32_t buffer = words[0] - 1;
    if (words[0] == 0) {
        *out = (lap_foreign_tensor){.dtype = LAP_FOREIGN_UNREAD};
        return true;
    }
    if (!exec->at[buffer]) {
        return lap_exec_no_operand(exec, buffer, fault);
    }
    lap_tensor t = {.dtype = image->buffers[buffer].dtype, .rank = words[1]};
    *out = (lap_foreign_tensor){.data = exec->at[buffer], .dtype = t.dtype, .rank = t.rank};
    for (uint32_t axis = 0; axis < t.rank; axis++) {
        uint32_t dim = words[2 + axis];
        if (exec->dim_state[dim] != LAP_EXTENT_OK) {
            return lap_fault_at(fault, LAP_BAD_INPUT, s->place, "%s %s", image->dims[dim].text,
                                lap_extent_trouble((lap_extent_state)exec->dim_state[dim]));
        }
        t.shape[axis] = out->dims[axis] = exec->dims[dim];
    }
    size_t count, n_bytes;
    return (lap_tensor_count(&t, &count) && lap_dtype_bytes(t.dtype, count, &n_bytes) &&
            n_bytes == exec->n_bytes[buffer]) ||
           lap_fault_at(fault, LAP_BAD_INPUT, s->place,
                        "a tensor of '%s' does not have the size of its shape", s->name);
}

bool lap_exec_foreign(lap_exec *exec, const lap_image_step *s, lap_fault *fault)
{
    lap_foreign_tensor tensors[2 * LAP_FOREIGN_MAX_OPERANDS];
    const lap_foreign_op *op =
        lap_foreign_find(exec->foreign, s->name, s->n_inputs, s->n_outputs, s->place, fault);
    const uint32_t *at = s->operands;
    for (uint32_t i = 0; op && i < s->n_inputs + s->n_outputs; i++, at += 2 + at[1]) {
        if (!tensor_of(exec, s, at, &tensors[i], fault)) {
            return false;
        }
    }
    return op && lap_foreign_call(op, op->cpu ? op->cpu : op->reference, tensors, tensors + s->n_inputs,
                                  s->place, fault);
}
