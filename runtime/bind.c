/* SPDX-License-Identifier: Apache-2.0
 * bind.c - from the shapes of inputs: sizes, checks, the memory plan and the load steps.
 *
 * An extent that has no value is an error only where it is needed: a program may hold a branch for
 * other sizes. Buffers of such a branch get no memory, and a launch that touches one is refused. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/exec_state.h"

bool lap_room_grow(lap_room *room, size_t n, lap_fault *fault)
{
    if (room->at && n <= room->n) {
        return true;
    }
    lap_room_free(room);
    room->at = lap_memory_new(n);
    if (!room->at) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory: %zu bytes are needed at once", n);
    }
    room->n = n;
    return true;
}

void lap_room_free(lap_room *room)
{
    lap_memory_free(room->at);
    *room = (lap_room){0};
}

size_t lap_exec_equations(lap_exec *exec, const lap_image_leaf *leaf, const lap_tensor *tensor, size_t n)
{
    for (uint32_t axis = 0; axis < leaf->rank; axis++) {
        exec->equations[n++] = (lap_equation){leaf->shape[axis], tensor->shape[axis], leaf};
    }
    return n;
}

bool lap_exec_is_same_shape(const lap_tensor *a, const lap_tensor *b)
{
    return a->rank == b->rank && memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0;
}

/* ---- sizes --------------------------------------------------------------------------------- */

static bool check_input(lap_exec *exec, uint32_t i, const lap_tensor *given, lap_fault *fault)
{
    const lap_image_leaf *leaf = &exec->image.leaves[LAP_LEAF_INPUT][i];
    exec->is_given[i] = !(leaf->is_optional && !given->data && given->rank == 0);
    if (!exec->is_given[i]) {
        return true;
    }
    if (given->dtype != leaf->dtype) {
        return lap_fault_at(fault, LAP_BAD_INPUT, leaf->place, "%s is %s, expected %s", leaf->name,
                            lap_dtype_text(given->dtype), lap_dtype_text(leaf->dtype));
    }
    if (given->rank != leaf->rank) {
        return lap_fault_at(fault, LAP_BAD_INPUT, leaf->place, "%s has %u axes, expected %u", leaf->name,
                            given->rank, leaf->rank);
    }
    size_t count;
    return lap_tensor_count(given, &count) ||
           lap_fault_at(fault, LAP_BAD_INPUT, leaf->place, "%s is too large", leaf->name);
}

static void mark_symbols(const lap_image *image, const lap_image_leaf *leaf, bool *marks)
{
    for (uint32_t axis = 0; axis < leaf->rank; axis++) {
        const lap_image_dim *dim = &image->dims[leaf->shape[axis]];
        for (uint32_t w = 0; w < dim->n_words; w++) {
            int64_t op = dim->words[w];
            w += op == LAP_DIM_CONST || op == LAP_DIM_SYMBOL || op == LAP_DIM_TRUNC;
            if (op == LAP_DIM_SYMBOL) {
                marks[dim->words[w]] = true;
            }
        }
    }
}

/* Symbols of absent inputs only are 0; any other one without a value is an error. */
static bool settle_rest(lap_exec *exec, lap_fault *fault)
{
    const lap_image *image = &exec->image;
    bool *is_absent = calloc(image->n_symbols + 1u, sizeof(bool));
    if (!is_absent) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    }
    for (uint32_t i = 0; i < image->n_leaves[LAP_LEAF_INPUT]; i++) {
        if (!exec->is_given[i]) {
            mark_symbols(image, &image->leaves[LAP_LEAF_INPUT][i], is_absent);
        }
    }
    bool ok = true;
    for (uint32_t i = 0; ok && i < image->n_symbols; i++) {
        if (!exec->symbols.is_known[i]) {
            ok = is_absent[i] ||
                 lap_fault_set(fault, LAP_BAD_INPUT,
                               "%s cannot be found from the shapes of inputs and weights", image->symbols[i]);
            exec->symbols.value[i] = 0;
            exec->symbols.is_known[i] = ok;
        }
    }
    free(is_absent);
    return ok;
}

static bool solve(lap_exec *exec, const lap_tensor *inputs, lap_fault *fault)
{
    const lap_image *image = &exec->image;
    size_t n = 0;
    for (uint32_t i = 0; i < image->n_leaves[LAP_LEAF_INPUT]; i++) {
        if (!check_input(exec, i, &inputs[i], fault)) {
            return false;
        }
        exec->inputs[i] = inputs[i];
        if (exec->is_given[i]) {
            n = lap_exec_equations(exec, &image->leaves[LAP_LEAF_INPUT][i], &inputs[i], n);
        }
    }
    for (uint32_t i = 0; i < image->n_leaves[LAP_LEAF_WEIGHT]; i++) {
        n = lap_exec_equations(exec, &image->leaves[LAP_LEAF_WEIGHT][i], &exec->weights[i], n);
    }
    memcpy(exec->symbols.value, exec->weight_symbols.value, image->n_symbols * sizeof(int64_t));
    memcpy(exec->symbols.is_known, exec->weight_symbols.is_known, image->n_symbols * sizeof(bool));
    return lap_extent_solve(image, exec->equations, n, &exec->symbols, LAP_TAKE_LEAST, fault) &&
           settle_rest(exec, fault);
}

static void evaluate_dims(lap_exec *exec)
{
    const lap_image *image = &exec->image;
    for (uint32_t i = 0; i < image->n_dims; i++) {
        exec->dims[i] = 0;
        exec->dim_state[i] = (uint8_t)lap_extent_eval(&image->dims[i], &exec->symbols, &exec->dims[i]);
    }
    for (uint32_t k = 0; k < image->n_kernels; k++) {
        int64_t *to = exec->kernel_dims + exec->kernel_start[k];
        for (uint32_t i = 0; i < image->kernels[k].n_dims; i++) {
            to[i] = exec->dims[image->kernels[k].dims[i]];
        }
    }
}

static bool holds(int64_t a, lap_image_rel rel, int64_t b)
{
    switch (rel) {
    case LAP_IMAGE_EQ:
        return a == b;
    case LAP_IMAGE_NE:
        return a != b;
    case LAP_IMAGE_LT:
        return a < b;
    case LAP_IMAGE_LE:
        return a <= b;
    case LAP_IMAGE_GT:
        return a > b;
    default:
        return a >= b;
    }
}

static bool check_relations(const lap_exec *exec, lap_fault *fault)
{
    static const char *const signs[] = {"=", "not equal to", "<", "<=", ">", ">="};
    const lap_image *image = &exec->image;
    for (uint32_t i = 0; i < image->n_checks; i++) {
        const lap_image_check *c = &image->checks[i];
        const char *a_text = image->dims[c->a].text, *b_text = image->dims[c->b].text;
        const char *colon = c->message[0] ? ": " : "";
        uint32_t sides[] = {c->a, c->b};
        for (int s = 0; s < 2; s++) {
            lap_extent_state state = (lap_extent_state)exec->dim_state[sides[s]];
            if (state != LAP_EXTENT_OK) {
                return lap_fault_at(fault, LAP_BAD_INPUT, c->place, "%s%s%s %s", c->message, colon,
                                    image->dims[sides[s]].text, lap_extent_trouble(state));
            }
        }
        if (!holds(exec->dims[c->a], c->rel, exec->dims[c->b])) {
            return lap_fault_at(fault, LAP_BAD_INPUT, c->place, "%s%s%s (%lld) must be %s %s (%lld)",
                                c->message, colon, a_text, (long long)exec->dims[c->a], signs[c->rel], b_text,
                                (long long)exec->dims[c->b]);
        }
    }
    return true;
}

static bool leaf_shape(const lap_image *image, const lap_image_leaf *leaf, const lap_symbols *symbols,
                       lap_tensor *out, lap_fault *fault)
{
    *out = (lap_tensor){.dtype = leaf->dtype, .rank = leaf->rank};
    for (uint32_t axis = 0; axis < leaf->rank; axis++) {
        const lap_image_dim *dim = &image->dims[leaf->shape[axis]];
        lap_extent_state state = lap_extent_eval(dim, symbols, &out->shape[axis]);
        if (state != LAP_EXTENT_OK) {
            return lap_fault_at(fault, LAP_BAD_INPUT, leaf->place, "an axis of %s is %s, which %s",
                                leaf->name, dim->text, lap_extent_trouble(state));
        }
        if (out->shape[axis] < 0) {
            return lap_fault_at(fault, LAP_BAD_INPUT, leaf->place,
                                "an axis of %s is %s = %lld, which is negative", leaf->name, dim->text,
                                (long long)out->shape[axis]);
        }
    }
    size_t count;
    if (!lap_tensor_count(out, &count) || !lap_dtype_bytes(leaf->dtype, count, &out->n_bytes)) {
        return lap_fault_at(fault, LAP_BAD_INPUT, leaf->place, "%s is too large", leaf->name);
    }
    return true;
}

bool lap_exec_shape(const lap_exec *exec, unsigned kind, uint32_t i, const int64_t *symbols,
                    lap_tensor *out_shape, lap_fault *fault)
{
    const lap_image *image = &exec->image;
    lap_symbols all = {calloc(image->n_symbols + 1u, sizeof(int64_t)),
                       calloc(image->n_symbols + 1u, sizeof(bool))};
    bool ok = all.value && all.is_known;
    if (ok) {
        memcpy(all.value, symbols, image->n_symbols * sizeof *symbols);
        memset(all.is_known, 1, image->n_symbols * sizeof(bool));
        ok = leaf_shape(image, &image->leaves[kind][i], &all, out_shape, fault);
    } else {
        lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    }
    free(all.value);
    free(all.is_known);
    return ok;
}

static bool shape_outputs(lap_exec *exec, lap_fault *fault)
{
    const lap_image *image = &exec->image;
    for (uint32_t i = 0; i < image->n_leaves[LAP_LEAF_OUTPUT]; i++) {
        if (!leaf_shape(image, &image->leaves[LAP_LEAF_OUTPUT][i], &exec->symbols, &exec->outputs[i],
                        fault)) {
            return false;
        }
    }
    return true;
}

/* ---- memory -------------------------------------------------------------------------------- */

/* The tensor behind a buffer of a leaf, NULL for the others. */
static const lap_tensor *tensor_of(const lap_exec *exec, const lap_image_buffer *b)
{
    switch (b->kind) {
    case LAP_BUF_INPUT:
        return &exec->inputs[b->leaf];
    case LAP_BUF_WEIGHT:
        return &exec->weights[b->leaf];
    case LAP_BUF_OUTPUT:
        return &exec->outputs[b->leaf];
    default:
        return NULL;
    }
}

static bool is_absent(const lap_exec *exec, const lap_image_buffer *b)
{
    return (b->kind == LAP_BUF_INPUT && !exec->is_given[b->leaf]) ||
           exec->dim_state[b->count] != LAP_EXTENT_OK;
}

static bool size_buffers(lap_exec *exec, lap_fault *fault)
{
    const lap_image *image = &exec->image;
    for (uint32_t i = 0; i < image->n_buffers; i++) {
        const lap_image_buffer *b = &image->buffers[i];
        const lap_tensor *t = tensor_of(exec, b);
        size_t count = exec->dims[b->count] > 0 ? (size_t)exec->dims[b->count] : 0, have;
        exec->at[i] = NULL;
        exec->n_bytes[i] = 0;
        if (is_absent(exec, b)) {
            continue;
        }
        if (!lap_dtype_bytes(b->dtype, count, &exec->n_bytes[i])) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "%s elements of workspace are too many",
                                 image->dims[b->count].text);
        }
        if ((t && (!lap_tensor_count(t, &have) || have != count || t->dtype != b->dtype)) ||
            (b->kind == LAP_BUF_CONST && exec->n_bytes[i] > b->n_bytes)) {
            return lap_fault_set(fault, LAP_INTERNAL,
                                 "buffer %u of the program does not have the size of its contents", i);
        }
    }
    return true;
}

static size_t machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    size_t bytes;
    if (pages <= 0 || size <= 0 || __builtin_mul_overflow((size_t)pages, (size_t)size, &bytes)) {
        return SIZE_MAX;
    }
    return bytes;
}

/* Bytes for PACKED buffers, each on its own line. */
static bool packed_bytes(const lap_exec *exec, size_t *out)
{
    size_t sum = 0;
    for (uint32_t i = 0; i < exec->image.n_buffers; i++) {
        if (exec->image.buffers[i].kind == LAP_BUF_PACKED) {
            size_t lines = exec->n_bytes[i] / LAP_PLAN_ALIGN + 1;
            if (__builtin_add_overflow(sum, lines * LAP_PLAN_ALIGN, &sum)) {
                return false;
            }
        }
    }
    *out = sum;
    return true;
}

static bool scratch_bytes(lap_exec *exec, size_t *out)
{
    const lap_image *image = &exec->image;
    int64_t most = 0;
    for (uint32_t k = 0; k < image->n_kernels; k++) {
        int64_t n = exec->dims[image->kernels[k].scratch];
        most = n > most ? n : most;
    }
    size_t lines = (size_t)most / LAP_PLAN_ALIGN + 2;
    return !__builtin_mul_overflow(lines, (size_t)LAP_PLAN_ALIGN, &exec->scratch_stride) &&
           !__builtin_mul_overflow(exec->scratch_stride, (size_t)lap_pool_threads(exec->pool), out);
}

static bool plan_temps(lap_exec *exec, size_t *out_total)
{
    const lap_image *image = &exec->image;
    uint32_t n = 0;
    for (uint32_t i = 0; i < image->n_buffers; i++) {
        const lap_image_buffer *b = &image->buffers[i];
        if (b->kind == LAP_BUF_TEMP) {
            exec->items[n++] = (lap_plan_item){.size = exec->n_bytes[i], .first = b->first, .last = b->last};
        }
    }
    return lap_plan(exec->items, n, out_total);
}

static bool take_memory(lap_exec *exec, lap_fault *fault)
{
    size_t temps, packed, scratch, sum, most = exec->max_bytes ? exec->max_bytes : machine_memory();
    if (!plan_temps(exec, &temps) || !packed_bytes(exec, &packed) || !scratch_bytes(exec, &scratch) ||
        __builtin_add_overflow(temps, packed, &sum) || __builtin_add_overflow(sum, scratch, &sum)) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "the program needs more memory than can be addressed");
    }
    if (sum > most) {
        return lap_fault_set(fault, LAP_BAD_INPUT,
                             "the program needs %zu bytes of workspace, allowed are %zu", sum, most);
    }
    exec->workspace = sum;
    if (packed > exec->packed.n) {
        exec->is_loaded = false;
    }
    return lap_room_grow(&exec->arena, temps, fault) && lap_room_grow(&exec->packed, packed, fault) &&
           lap_room_grow(&exec->scratch, scratch, fault);
}

static void place_buffers(lap_exec *exec)
{
    const lap_image *image = &exec->image;
    uint32_t n_temps = 0;
    char *packed = exec->packed.at;
    for (uint32_t i = 0; i < image->n_buffers; i++) {
        const lap_image_buffer *b = &image->buffers[i];
        void *at = NULL;
        if (b->kind == LAP_BUF_TEMP) {
            at = (char *)exec->arena.at + exec->items[n_temps++].offset;
        } else if (b->kind == LAP_BUF_PACKED) {
            at = packed;
            packed += (exec->n_bytes[i] / LAP_PLAN_ALIGN + 1) * LAP_PLAN_ALIGN;
        } else if (b->kind == LAP_BUF_CONST) {
            at = (void *)(uintptr_t)b->bytes;
        } else if (b->kind == LAP_BUF_WEIGHT) {
            at = exec->weights[b->leaf].data;
        }
        exec->at[i] = is_absent(exec, b) ? NULL : at;
    }
}

static bool place_all(lap_exec *exec, lap_fault *fault)
{
    bool ok = take_memory(exec, fault);
    if (ok) {
        place_buffers(exec);
    }
    return ok;
}

/* ---- the load phase ------------------------------------------------------------------------ */

static bool is_load_current(const lap_exec *exec)
{
    for (uint32_t i = 0; i < exec->image.n_dims; i++) {
        if (exec->on_load_dim[i] && exec->loaded_dims[i] != exec->dims[i]) {
            return false;
        }
    }
    return exec->is_loaded;
}

static bool load(lap_exec *exec, lap_fault *fault)
{
    if (is_load_current(exec)) {
        return true;
    }
    exec->is_loaded = false;
    bool done =
        exec->device ? exec->device->load(exec->device_self, exec, fault) : lap_exec_steps(exec, true, fault);
    if (!done) {
        return false;
    }
    memcpy(exec->loaded_dims, exec->dims, exec->image.n_dims * sizeof *exec->dims);
    exec->is_loaded = true;
    return true;
}

bool lap_exec_bind(lap_exec *exec, const lap_tensor *inputs, lap_fault *fault)
{
    exec->is_bound = false;
    if (exec->image.n_leaves[LAP_LEAF_WEIGHT] > 0 && !exec->has_weights) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "the model's weights are not given");
    }
    if (!lap_exec_check_foreign(exec, fault) || !solve(exec, inputs, fault)) {
        return false;
    }
    evaluate_dims(exec);
    if (!check_relations(exec, fault) || !shape_outputs(exec, fault) || !size_buffers(exec, fault)) {
        return false;
    }
    if (exec->device ? !exec->device->bind(exec->device_self, exec, fault) : !place_all(exec, fault)) {
        return false;
    }
    exec->is_bound = load(exec, fault);
    return exec->is_bound;
}
