/* SPDX-License-Identifier: Apache-2.0
 * weights.c - binds weights: in place where the stored type is the declared one, else converted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/exec_state.h"

enum { MAX_NAME = 4096, MAX_FAMILY = 1 << 20 };

typedef struct source {
    lap_exec_lookup *find;
    void *user;
} source;

static void forget(lap_exec *exec)
{
    for (uint32_t i = 0; i < exec->image.n_leaves[LAP_LEAF_WEIGHT]; i++) {
        lap_memory_free(exec->weight_memory[i]);
        exec->weight_memory[i] = NULL;
    }
    exec->has_weights = exec->is_bound = exec->is_loaded = false;
}

static bool check_rank(const lap_image_leaf *leaf, uint32_t rank, const char *name, lap_fault *fault)
{
    return rank == leaf->rank || lap_fault_at(fault, LAP_BAD_INPUT, leaf->place,
                                              "weight '%s' has %u axes, expected %u", name, rank, leaf->rank);
}

/* One tensor as the weight: in place or converted. */
static bool bind_view(lap_exec *exec, uint32_t i, const lap_tensor_view *v, lap_fault *fault)
{
    const lap_image_leaf *leaf = &exec->image.leaves[LAP_LEAF_WEIGHT][i];
    if (!check_rank(leaf, v->rank, leaf->name, fault)) {
        return false;
    }
    if (lap_view_as(v, leaf->dtype, &exec->weights[i])) {
        return true;
    }
    if (!lap_tensor_convert(v, leaf->dtype, leaf->name, &exec->weights[i], fault)) {
        return false;
    }
    exec->weight_memory[i] = exec->weights[i].data;
    return true;
}

/* ---- families ------------------------------------------------------------------------------ */

/* The braces in a family's name; false when it is no family. */
static bool braces(const char *name, const char **open, const char **close)
{
    *open = strchr(name, '{');
    *close = *open ? strchr(*open, '}') : NULL;
    return *close != NULL;
}

/* Name of member k. */
static bool member_name(const char *name, uint32_t k, char *out, size_t n)
{
    const char *open, *close;
    if (!braces(name, &open, &close)) {
        return false;
    }
    int length = snprintf(out, n, "%.*s%u%s", (int)(open - name), name, k, close + 1);
    return length > 0 && (size_t)length < n;
}

static uint32_t family_size(const source *from, const char *name)
{
    char member[MAX_NAME];
    uint32_t n = 0;
    while (n < MAX_FAMILY && member_name(name, n, member, sizeof member) && from->find(from->user, member)) {
        n++;
    }
    return n;
}

static bool check_member(const lap_image_leaf *leaf, const char *name, const lap_tensor_view *v,
                         const lap_tensor_view *first, lap_fault *fault)
{
    if (!check_rank(leaf, v->rank + 1, name, fault)) {
        return false;
    }
    return memcmp(v->shape, first->shape, v->rank * sizeof *v->shape) == 0 ||
           lap_fault_at(fault, LAP_BAD_INPUT, leaf->place,
                        "weight '%s' has another shape than the first of its family", name);
}

/* Memory for n tensors like `first`; *member is one of them in it. */
static bool stack_new(lap_exec *exec, uint32_t i, uint32_t n, const lap_tensor_view *first,
                      lap_tensor *member, lap_fault *fault)
{
    const lap_image_leaf *leaf = &exec->image.leaves[LAP_LEAF_WEIGHT][i];
    lap_tensor *all = &exec->weights[i];
    *all = (lap_tensor){.dtype = leaf->dtype, .rank = leaf->rank, .shape = {n}};
    *member = (lap_tensor){.dtype = leaf->dtype, .rank = first->rank};
    memcpy(all->shape + 1, first->shape, first->rank * sizeof *first->shape);
    memcpy(member->shape, first->shape, sizeof member->shape);
    size_t count, one_count;
    if (!lap_tensor_count(all, &count) || !lap_dtype_bytes(leaf->dtype, count, &all->n_bytes) ||
        !lap_tensor_count(member, &one_count) || !lap_dtype_bytes(leaf->dtype, one_count, &member->n_bytes)) {
        return lap_fault_at(fault, LAP_BAD_INPUT, leaf->place, "weight '%s' is too large", leaf->name);
    }
    if (one_count * lap_dtype_bits(leaf->dtype) % 8 != 0) {
        return lap_fault_at(fault, LAP_BAD_INPUT, leaf->place, "weight '%s' has parts that end within a byte",
                            leaf->name);
    }
    all->data = exec->weight_memory[i] = lap_memory_new(all->n_bytes);
    return all->data || lap_fault_set(fault, LAP_BAD_INPUT, "out of memory: weight '%s' needs %zu bytes",
                                      leaf->name, all->n_bytes);
}

static bool bind_family(lap_exec *exec, uint32_t i, const source *from, lap_fault *fault)
{
    const lap_image_leaf *leaf = &exec->image.leaves[LAP_LEAF_WEIGHT][i];
    uint32_t n = family_size(from, leaf->name);
    char name[MAX_NAME];
    lap_tensor member;
    if (!member_name(leaf->name, 0, name, sizeof name) || n == 0) {
        return lap_fault_at(fault, LAP_BAD_INPUT, leaf->place, "no weights '%s'", leaf->name);
    }
    const lap_tensor_view *first = from->find(from->user, name);
    if (!check_member(leaf, name, first, first, fault) || !stack_new(exec, i, n, first, &member, fault)) {
        return false;
    }
    for (uint32_t k = 0; k < n; k++) {
        member_name(leaf->name, k, name, sizeof name);
        const lap_tensor_view *v = from->find(from->user, name);
        member.data = (char *)exec->weights[i].data + k * member.n_bytes;
        if (!check_member(leaf, name, v, first, fault) || !lap_tensor_convert_into(v, name, &member, fault)) {
            return false;
        }
    }
    return true;
}

/* ---- all of them --------------------------------------------------------------------------- */

static bool bind_one(lap_exec *exec, uint32_t i, const source *from, lap_fault *fault)
{
    const lap_image_leaf *leaf = &exec->image.leaves[LAP_LEAF_WEIGHT][i];
    const char *open, *close;
    const lap_tensor_view *v = from->find(from->user, leaf->name);
    if (!v && braces(leaf->name, &open, &close)) {
        return bind_family(exec, i, from, fault);
    }
    return v ? bind_view(exec, i, v, fault)
             : lap_fault_at(fault, LAP_BAD_INPUT, leaf->place, "no weight '%s'", leaf->name);
}

/* The sizes that weights decide by themselves. */
static bool solve_weights(lap_exec *exec, lap_fault *fault)
{
    const lap_image *image = &exec->image;
    size_t n = 0;
    for (uint32_t i = 0; i < image->n_leaves[LAP_LEAF_WEIGHT]; i++) {
        n = lap_exec_equations(exec, &image->leaves[LAP_LEAF_WEIGHT][i], &exec->weights[i], n);
    }
    memset(exec->weight_symbols.is_known, 0, image->n_symbols * sizeof(bool));
    return lap_extent_solve(image, exec->equations, n, &exec->weight_symbols, LAP_LEAVE_OPEN, fault);
}

bool lap_exec_set_weights_by(lap_exec *exec, lap_exec_lookup *find, void *user, lap_fault *fault)
{
    source from = {find, user};
    forget(exec);
    for (uint32_t i = 0; i < exec->image.n_leaves[LAP_LEAF_WEIGHT]; i++) {
        if (!bind_one(exec, i, &from, fault)) {
            forget(exec);
            return false;
        }
    }
    exec->has_weights = solve_weights(exec, fault);
    if (!exec->has_weights) {
        forget(exec);
    }
    return exec->has_weights;
}

static const lap_tensor_view *find_in_file(void *user, const char *name)
{
    return lap_safetensors_find(user, name);
}

bool lap_exec_set_weights(lap_exec *exec, const lap_safetensors *file, lap_fault *fault)
{
    return lap_exec_set_weights_by(exec, find_in_file, (void *)(uintptr_t)file, fault);
}

typedef struct tensor_list {
    const lap_exec *exec;
    const lap_tensor *tensors;
    lap_tensor_view view;
} tensor_list;

static const lap_tensor_view *find_in_list(void *user, const char *name)
{
    tensor_list *list = user;
    const lap_image *image = &list->exec->image;
    for (uint32_t i = 0; i < image->n_leaves[LAP_LEAF_WEIGHT]; i++) {
        if (strcmp(image->leaves[LAP_LEAF_WEIGHT][i].name, name) == 0) {
            list->view = lap_view_of(&list->tensors[i]);
            return &list->view;
        }
    }
    return NULL;
}

bool lap_exec_set_weight_tensors(lap_exec *exec, const lap_tensor *weights, lap_fault *fault)
{
    tensor_list list = {.exec = exec, .tensors = weights};
    return lap_exec_set_weights_by(exec, find_in_list, &list, fault);
}
