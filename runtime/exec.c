/* SPDX-License-Identifier: Apache-2.0
 * exec.c - opens a program, gives it memory of inputs and outputs, crops results. */
#include "runtime/exec.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/exec_state.h"

/* ---- opening and closing ------------------------------------------------------------------- */

static void mark_load_step(const lap_exec *exec, const lap_image_step *s)
{
    const lap_image *image = &exec->image;
    if (s->kind == LAP_STEP_LAUNCH) {
        const lap_image_kernel *k = &image->kernels[s->kernel];
        exec->on_load_dim[k->grid] = true;
        for (uint32_t i = 0; i < k->n_dims; i++) {
            exec->on_load_dim[k->dims[i]] = true;
        }
    } else if (s->kind == LAP_STEP_LOOP) {
        exec->on_load_dim[s->limit] = true;
    } else if (s->kind == LAP_STEP_FOREIGN) {
        const uint32_t *at = s->operands;
        for (uint32_t i = 0; i < s->n_inputs + s->n_outputs; i++, at += 2 + at[1]) {
            for (uint32_t axis = 0; axis < at[1]; axis++) {
                exec->on_load_dim[at[2 + axis]] = true;
            }
        }
    }
    for (uint32_t i = 0; i < s->n_body; i++) {
        mark_load_step(exec, &image->steps[s->body + i]);
    }
    for (uint32_t i = 0; i < s->n_other; i++) {
        mark_load_step(exec, &image->steps[s->other + i]);
    }
}

static void mark_load(const lap_exec *exec)
{
    const lap_image *image = &exec->image;
    for (uint32_t i = 0; i < image->n_buffers; i++) {
        if (image->buffers[i].kind == LAP_BUF_PACKED) {
            exec->on_load_dim[image->buffers[i].count] = true;
        }
    }
    for (uint32_t i = 0; i < image->n_top; i++) {
        if (image->steps[i].on_load) {
            mark_load_step(exec, &image->steps[i]);
        }
    }
}

static void *array(size_t n, size_t size, bool *ok)
{
    void *items = calloc(n ? n : 1, size);
    *ok = *ok && items;
    return items;
}

static size_t most_equations(const lap_image *image)
{
    size_t n = 0;
    for (int kind = LAP_LEAF_INPUT; kind <= LAP_LEAF_WEIGHT; kind++) {
        for (uint32_t i = 0; i < image->n_leaves[kind]; i++) {
            n += image->leaves[kind][i].rank;
        }
    }
    return n;
}

static uint32_t most_slots(const lap_image *image)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < image->n_steps; i++) {
        most = image->steps[i].n_buffers > most ? image->steps[i].n_buffers : most;
    }
    return most;
}

static bool make_arrays(lap_exec *exec)
{
    const lap_image *image = &exec->image;
    uint32_t n_in = image->n_leaves[LAP_LEAF_INPUT], n_out = image->n_leaves[LAP_LEAF_OUTPUT];
    uint32_t n_weights = image->n_leaves[LAP_LEAF_WEIGHT];
    bool ok = true;
    exec->weights = array(n_weights, sizeof *exec->weights, &ok);
    exec->weight_memory = array(n_weights, sizeof *exec->weight_memory, &ok);
    exec->weight_symbols.value = array(image->n_symbols, sizeof(int64_t), &ok);
    exec->weight_symbols.is_known = array(image->n_symbols, sizeof(bool), &ok);
    exec->inputs = array(n_in, sizeof *exec->inputs, &ok);
    exec->is_given = array(n_in, sizeof *exec->is_given, &ok);
    exec->outputs = array(n_out, sizeof *exec->outputs, &ok);
    exec->symbols.value = array(image->n_symbols, sizeof(int64_t), &ok);
    exec->symbols.is_known = array(image->n_symbols, sizeof(bool), &ok);
    exec->dims = array(image->n_dims, sizeof *exec->dims, &ok);
    exec->dim_state = array(image->n_dims, sizeof *exec->dim_state, &ok);
    exec->equations = array(most_equations(image), sizeof *exec->equations, &ok);
    exec->at = array(image->n_buffers, sizeof *exec->at, &ok);
    exec->n_bytes = array(image->n_buffers, sizeof *exec->n_bytes, &ok);
    exec->items = array(image->n_buffers, sizeof *exec->items, &ok);
    exec->staged = array(n_in, sizeof *exec->staged, &ok);
    exec->made = array(n_out, sizeof *exec->made, &ok);
    exec->on_load_dim = array(image->n_dims, sizeof *exec->on_load_dim, &ok);
    exec->loaded_dims = array(image->n_dims, sizeof *exec->loaded_dims, &ok);
    exec->slots = array(most_slots(image), sizeof *exec->slots, &ok);
    exec->kernel_start = array(image->n_kernels + 1u, sizeof *exec->kernel_start, &ok);
    for (uint32_t k = 0; ok && k < image->n_kernels; k++) {
        exec->kernel_start[k + 1] = exec->kernel_start[k] + image->kernels[k].n_dims;
    }
    exec->kernel_dims =
        ok ? array(exec->kernel_start[image->n_kernels], sizeof *exec->kernel_dims, &ok) : NULL;
    return ok;
}

/* Open, with neither kernels nor a device. */
static lap_exec *open_image(const void *image, size_t n_bytes, uint32_t n_threads,
                            const lap_exec_options *options, lap_fault *fault)
{
    lap_exec *exec = calloc(1, sizeof *exec);
    if (!exec) {
        lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
        return NULL;
    }
    if (!lap_image_open(&exec->image, image, n_bytes, fault)) {
        free(exec);
        return NULL;
    }
    exec->max_bytes = options ? options->max_bytes : 0;
    exec->pool = lap_pool_new(n_threads);
    if (!make_arrays(exec) || !exec->pool) {
        lap_exec_close(exec);
        lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
        return NULL;
    }
    mark_load(exec);
    return exec;
}

lap_exec *lap_exec_open(const void *image, size_t n_bytes, lap_kernel_fn *const *kernels,
                        const lap_exec_options *options, lap_fault *fault)
{
    lap_exec *exec = open_image(image, n_bytes, options ? options->n_threads : 0, options, fault);
    if (exec) {
        exec->kernels = kernels;
    }
    return exec;
}

lap_exec *lap_exec_open_on(const void *image, size_t n_bytes, const lap_device_ops *device, void *self,
                           const lap_exec_options *options, lap_fault *fault)
{
    lap_exec *exec = open_image(image, n_bytes, 1, options, fault);
    if (exec) {
        exec->device = device;
        exec->device_self = self;
    }
    return exec;
}

void lap_exec_close(lap_exec *exec)
{
    if (!exec) {
        return;
    }
    const lap_image *image = &exec->image;
    for (uint32_t i = 0; exec->weight_memory && i < image->n_leaves[LAP_LEAF_WEIGHT]; i++) {
        lap_memory_free(exec->weight_memory[i]);
    }
    for (uint32_t i = 0; exec->staged && i < image->n_leaves[LAP_LEAF_INPUT]; i++) {
        lap_room_free(&exec->staged[i]);
    }
    for (uint32_t i = 0; exec->made && i < image->n_leaves[LAP_LEAF_OUTPUT]; i++) {
        lap_room_free(&exec->made[i]);
    }
    lap_room_free(&exec->arena);
    lap_room_free(&exec->packed);
    lap_room_free(&exec->scratch);
    void *const arrays[] = {exec->weights,
                            exec->weight_memory,
                            exec->weight_symbols.value,
                            exec->weight_symbols.is_known,
                            exec->inputs,
                            exec->is_given,
                            exec->outputs,
                            exec->symbols.value,
                            exec->symbols.is_known,
                            exec->dims,
                            exec->dim_state,
                            exec->equations,
                            exec->at,
                            exec->n_bytes,
                            exec->items,
                            exec->staged,
                            exec->made,
                            exec->on_load_dim,
                            exec->loaded_dims,
                            exec->slots,
                            exec->kernel_start,
                            exec->kernel_dims};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        free(arrays[i]);
    }
    lap_pool_free(exec->pool);
    if (exec->device) {
        exec->device->close(exec->device_self);
    }
    lap_image_close(&exec->image);
    free(exec);
}

/* ---- a run --------------------------------------------------------------------------------- */

static bool is_bound_to(const lap_exec *exec, const lap_tensor *inputs)
{
    if (!exec->is_bound) {
        return false;
    }
    for (uint32_t i = 0; i < exec->image.n_leaves[LAP_LEAF_INPUT]; i++) {
        const lap_image_leaf *leaf = &exec->image.leaves[LAP_LEAF_INPUT][i];
        bool is_given = !(leaf->is_optional && !inputs[i].data && inputs[i].rank == 0);
        if (is_given != exec->is_given[i] ||
            (is_given &&
             (inputs[i].dtype != leaf->dtype || !lap_exec_is_same_shape(&inputs[i], &exec->inputs[i])))) {
            return false;
        }
    }
    return true;
}

static bool is_aligned(const void *memory, lap_dtype dtype)
{
    size_t align = lap_dtype_bits(dtype) / 8;
    return align < 2 || (uintptr_t)memory % align == 0;
}

/* Memory of each input: the caller's, or a copy where that is not aligned. */
static bool place_inputs(lap_exec *exec, const lap_tensor *inputs, lap_fault *fault)
{
    const lap_image *image = &exec->image;
    for (uint32_t i = 0; i < image->n_buffers; i++) {
        const lap_image_buffer *b = &image->buffers[i];
        if (b->kind != LAP_BUF_INPUT || !exec->is_given[b->leaf]) {
            continue;
        }
        const lap_tensor *given = &inputs[b->leaf];
        const lap_image_leaf *leaf = &image->leaves[LAP_LEAF_INPUT][b->leaf];
        size_t need = exec->n_bytes[i];
        if (given->n_bytes < need || (!given->data && need > 0)) {
            return lap_fault_at(fault, LAP_BAD_INPUT, leaf->place,
                                "%s has %zu bytes, but its shape needs %zu", leaf->name,
                                given->data ? given->n_bytes : 0, need);
        }
        exec->at[i] = given->data;
        if (!given->data || !is_aligned(given->data, b->dtype)) {
            lap_room *room = &exec->staged[b->leaf];
            if (!lap_room_grow(room, need, fault)) {
                return false;
            }
            if (need > 0) {
                memcpy(room->at, given->data, need);
            }
            exec->at[i] = room->at;
        }
    }
    return true;
}

/* Memory of output i: the caller's where it is aligned, else the exec's. */
static void *output_memory(lap_exec *exec, uint32_t i, const lap_tensor *given, lap_fault *fault)
{
    const lap_image_leaf *leaf = &exec->image.leaves[LAP_LEAF_OUTPUT][i];
    size_t need = exec->outputs[i].n_bytes;
    if (given->data && given->n_bytes < need) {
        lap_fault_at(fault, LAP_BAD_INPUT, leaf->place, "output %s needs %zu bytes, given are %zu",
                     leaf->name, need, given->n_bytes);
        return NULL;
    }
    if (given->data && is_aligned(given->data, leaf->dtype)) {
        return given->data;
    }
    return lap_room_grow(&exec->made[i], need, fault) ? exec->made[i].at : NULL;
}

static bool place_outputs(lap_exec *exec, const lap_tensor *outputs, lap_fault *fault)
{
    const lap_image *image = &exec->image;
    for (uint32_t i = 0; i < image->n_leaves[LAP_LEAF_OUTPUT]; i++) {
        exec->outputs[i].data = output_memory(exec, i, &outputs[i], fault);
        if (!exec->outputs[i].data) {
            return false;
        }
    }
    for (uint32_t i = 0; i < image->n_buffers; i++) {
        if (image->buffers[i].kind == LAP_BUF_OUTPUT &&
            exec->dim_state[image->buffers[i].count] == LAP_EXTENT_OK) {
            exec->at[i] = exec->outputs[image->buffers[i].leaf].data;
        }
    }
    return true;
}

/* n packed 4-bit elements towards the front, low nibble first. */
static void move_nibbles(char *data, size_t to, size_t from, size_t n)
{
    unsigned char *bytes = (unsigned char *)data;
    for (size_t i = 0; i < n; i++) {
        unsigned value = bytes[(from + i) / 2] >> ((from + i) % 2 * 4) & 15u;
        unsigned shift = (unsigned)((to + i) % 2 * 4);
        bytes[(to + i) / 2] = (unsigned char)((bytes[(to + i) / 2] & ~(15u << shift)) | value << shift);
    }
}

/* Moves the rows that remain to the front: from row-major of `bound` to row-major of `exact`. */
static void crop_rows(char *data, uint32_t rank, const int64_t *bound, const int64_t *exact, lap_dtype dtype)
{
    size_t row = (size_t)exact[rank - 1], element = lap_dtype_bits(dtype) / 8;
    int64_t index[LAP_MAX_RANK] = {0};
    size_t n_rows = 1;
    for (uint32_t axis = 0; axis + 1 < rank; axis++) {
        n_rows *= (size_t)exact[axis];
    }
    for (size_t r = 0; r < n_rows; r++) {
        size_t from = 0;
        for (uint32_t axis = 0; axis < rank; axis++) {
            from = from * (size_t)bound[axis] + (size_t)index[axis];
        }
        if (element == 0) {
            move_nibbles(data, r * row, from, row);
        } else {
            memmove(data + r * row * element, data + from * element, row * element);
        }
        for (uint32_t axis = rank - 1; axis-- > 0 && ++index[axis] == exact[axis];) {
            index[axis] = 0;
        }
    }
}

/* Applies the run-time bounds of output i to its memory and gives the exact shape. */
static bool crop_output(lap_exec *exec, uint32_t i, lap_tensor *out, lap_fault *fault)
{
    const lap_image_leaf *leaf = &exec->image.leaves[LAP_LEAF_OUTPUT][i];
    const lap_tensor *bound = &exec->outputs[i];
    bool cropped = false;
    *out = *bound;
    for (uint32_t axis = 0; axis < leaf->rank; axis++) {
        if (leaf->crop[axis] == 0) {
            continue;
        }
        const int64_t *count = lap_exec_cell(exec, (int32_t)leaf->crop[axis] - 1, sizeof *count, fault);
        if (!count) {
            return false;
        }
        int64_t exact = *count < 0 ? 0 : *count < bound->shape[axis] ? *count : bound->shape[axis];
        cropped |= exact != bound->shape[axis];
        out->shape[axis] = exact;
    }
    if (!cropped) {
        return true;
    }
    size_t n;
    lap_tensor_count(out, &n);
    lap_dtype_bytes(leaf->dtype, n, &out->n_bytes);
    if (n > 0) {
        crop_rows(bound->data, leaf->rank, bound->shape, out->shape, leaf->dtype);
    }
    return true;
}

static bool give_outputs(lap_exec *exec, lap_tensor *outputs, lap_fault *fault)
{
    for (uint32_t i = 0; i < exec->image.n_leaves[LAP_LEAF_OUTPUT]; i++) {
        lap_tensor exact;
        if (!crop_output(exec, i, &exact, fault)) {
            return false;
        }
        void *wanted = outputs[i].data;
        outputs[i] = exact;
        if (wanted && wanted != exact.data) {
            memcpy(wanted, exact.data, exact.n_bytes);
            outputs[i].data = wanted;
        }
    }
    return true;
}

bool lap_exec_run(lap_exec *exec, const lap_tensor *inputs, lap_tensor *outputs, lap_fault *fault)
{
    if (!is_bound_to(exec, inputs) && !lap_exec_bind(exec, inputs, fault)) {
        return false;
    }
    if (!place_inputs(exec, inputs, fault) || !place_outputs(exec, outputs, fault)) {
        return false;
    }
    bool done =
        exec->device ? exec->device->run(exec->device_self, exec, fault) : lap_exec_steps(exec, false, fault);
    return done && give_outputs(exec, outputs, fault);
}

/* ---- questions ----------------------------------------------------------------------------- */

uint32_t lap_exec_n_inputs(const lap_exec *exec) { return exec->image.n_leaves[LAP_LEAF_INPUT]; }

uint32_t lap_exec_n_weights(const lap_exec *exec) { return exec->image.n_leaves[LAP_LEAF_WEIGHT]; }

uint32_t lap_exec_n_outputs(const lap_exec *exec) { return exec->image.n_leaves[LAP_LEAF_OUTPUT]; }

const char *lap_exec_name(const lap_exec *exec, unsigned kind, uint32_t i)
{
    return exec->image.leaves[kind][i].name;
}

lap_dtype lap_exec_dtype(const lap_exec *exec, unsigned kind, uint32_t i)
{
    return exec->image.leaves[kind][i].dtype;
}

uint32_t lap_exec_rank(const lap_exec *exec, unsigned kind, uint32_t i)
{
    return exec->image.leaves[kind][i].rank;
}

bool lap_exec_is_optional(const lap_exec *exec, uint32_t input)
{
    return exec->image.leaves[LAP_LEAF_INPUT][input].is_optional;
}

const char *lap_exec_model(const lap_exec *exec) { return exec->image.name; }

bool lap_exec_output_shape(const lap_exec *exec, uint32_t i, lap_tensor *out_shape)
{
    *out_shape = exec->outputs[i];
    out_shape->data = NULL;
    return exec->is_bound;
}

uint32_t lap_exec_n_kernels(const lap_exec *exec) { return exec->image.n_kernels; }

void lap_exec_measure(lap_exec *exec, lap_exec_spent *by_kernel) { exec->spent = by_kernel; }

size_t lap_exec_workspace(const lap_exec *exec) { return exec->workspace; }

bool lap_exec_set_threads(lap_exec *exec, uint32_t n_threads, lap_fault *fault)
{
    lap_pool *pool = lap_pool_new(n_threads);
    if (!pool) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    }
    lap_pool_free(exec->pool);
    exec->pool = pool;
    exec->is_bound = false; /* scratch memory is per thread */
    return true;
}

void lap_exec_set_foreign(lap_exec *exec, const lap_foreign_table *foreign)
{
    exec->foreign = foreign;
    exec->is_bound = exec->is_loaded = false;
}

uint32_t lap_exec_threads(const lap_exec *exec) { return lap_pool_threads(exec->pool); }

uint32_t lap_exec_n_symbols(const lap_exec *exec) { return exec->image.n_symbols; }

const char *lap_exec_symbol_name(const lap_exec *exec, uint32_t i) { return exec->image.symbols[i]; }

bool lap_exec_symbol(const lap_exec *exec, const char *name, int64_t *out)
{
    for (uint32_t i = 0; exec->is_bound && i < exec->image.n_symbols; i++) {
        if (strcmp(exec->image.symbols[i], name) == 0) {
            *out = exec->symbols.value[i];
            return true;
        }
    }
    return false;
}
