/* SPDX-License-Identifier: Apache-2.0
 * tensors.c - named sets of tensors. */
#include "frontends/compiler/tensors.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ALIGNMENT 64

static int64_t find(uint32_t n, const char *const *names, const char *name)
{
    for (uint32_t i = n; i-- > 0;) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

void lap_views_add(lap_ctx *ctx, lap_views *set, const char *name, const lap_tensor_view *view)
{
    lap_arena_grow(ctx->arena, &set->names, set->n, 1, &set->capacity, sizeof *set->names);
    lap_arena_grow(ctx->arena, &set->at, set->n, 1, &set->capacity_at, sizeof *set->at);
    set->names[set->n] = lap_text(ctx, lap_intern(ctx, name));
    set->at[set->n++] = *view;
}

const lap_tensor_view *lap_views_find(const lap_views *set, const char *name)
{
    int64_t i = find(set->n, set->names, name);
    return i < 0 ? NULL : &set->at[i];
}

void lap_views_read(lap_ctx *ctx, lap_views *set, const lap_safetensors *file, const char *prefix)
{
    size_t length = strlen(prefix);
    for (uint32_t i = 0; i < lap_safetensors_n(file); i++) {
        const char *name = lap_safetensors_name(file, i);
        if (strncmp(name, prefix, length) == 0) {
            lap_views_add(ctx, set, name + length, lap_safetensors_at(file, i));
        }
    }
}

void lap_tensors_add(lap_ctx *ctx, lap_tensors *set, const char *name, const lap_tensor *tensor)
{
    lap_arena_grow(ctx->arena, &set->names, set->n, 1, &set->capacity, sizeof *set->names);
    lap_arena_grow(ctx->arena, &set->at, set->n, 1, &set->capacity_at, sizeof *set->at);
    set->names[set->n] = lap_text(ctx, lap_intern(ctx, name));
    set->at[set->n++] = *tensor;
}

const lap_tensor *lap_tensors_find(const lap_tensors *set, const char *name)
{
    int64_t i = find(set->n, set->names, name);
    return i < 0 ? NULL : &set->at[i];
}

bool lap_tensor_make(lap_ctx *ctx, lap_dtype dtype, uint32_t rank, const int64_t *shape, lap_tensor *out,
                     lap_fault *fault)
{
    *out = (lap_tensor){.dtype = dtype, .rank = rank};
    size_t count;
    if (!lap_shape_count(rank, shape, &count) || !lap_dtype_bytes(dtype, count, &out->n_bytes) ||
        out->n_bytes > SIZE_MAX - ALIGNMENT) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "a tensor of shape %s is too large",
                             lap_shape_show(ctx, rank < LAP_MAX_RANK ? rank : LAP_MAX_RANK, shape));
    }
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0 && out->n_bytes / (size_t)page > (size_t)pages) {
        return lap_fault_set(
            fault, LAP_BAD_INPUT, "a tensor of shape %s needs %zu MiB, this machine has %zu MiB",
            lap_shape_show(ctx, rank, shape), out->n_bytes >> 20, (size_t)pages * (size_t)page >> 20);
    }
    for (uint32_t i = 0; i < rank; i++) {
        out->shape[i] = shape[i];
    }
    uintptr_t at = (uintptr_t)lap_arena_alloc(ctx->arena, out->n_bytes + ALIGNMENT);
    out->data = (void *)((at + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    return true;
}

bool lap_tensor_take(lap_ctx *ctx, const lap_tensor_view *view, lap_dtype dtype, const char *name,
                     lap_tensor *out, lap_fault *fault)
{
    lap_dtype type = dtype == LAP_NO_DTYPE ? lap_storage_nearest(view->storage) : dtype;
    if (lap_view_as(view, type, out)) {
        return true;
    }
    return lap_tensor_make(ctx, type, view->rank, view->shape, out, fault) &&
           lap_tensor_convert_into(view, name, out, fault);
}

static const char *family_member(lap_ctx *ctx, const char *name, const char *mark, uint32_t k)
{
    return lap_arena_printf(ctx->arena, "%.*s%u%s", (int)(mark - name), name, k,
                            mark + strlen(LAP_FAMILY_MARK));
}

static bool same_shape(const lap_tensor_view *a, const lap_tensor_view *b)
{
    return a->rank == b->rank && memcmp(a->shape, b->shape, a->rank * sizeof a->shape[0]) == 0;
}

/* Number of members of a family; all must have one shape. */
static bool count_members(lap_ctx *ctx, const lap_views *set, const char *name, const char *mark,
                          uint32_t *out_n, lap_fault *fault)
{
    const lap_tensor_view *first = NULL;
    for (uint32_t n = 0;; n++) {
        const char *member = family_member(ctx, name, mark, n);
        const lap_tensor_view *v = lap_views_find(set, member);
        if (v == NULL) {
            *out_n = n;
            return true;
        }
        first = first == NULL ? v : first;
        if (!same_shape(v, first)) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "weight '%s' is %s, but '%s' is %s", member,
                                 lap_shape_show(ctx, v->rank, v->shape), family_member(ctx, name, mark, 0),
                                 lap_shape_show(ctx, first->rank, first->shape));
        }
    }
}

static bool stack(lap_ctx *ctx, const lap_views *set, const char *name, const char *mark, uint32_t n,
                  lap_dtype dtype, lap_tensor *out, lap_fault *fault)
{
    const lap_tensor_view *first = lap_views_find(set, family_member(ctx, name, mark, 0));
    if (first->rank + 1 > LAP_MAX_RANK || lap_dtype_bits(dtype) < 8) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "weight family '%s' cannot be stacked", name);
    }
    int64_t shape[LAP_MAX_RANK] = {n};
    memcpy(shape + 1, first->shape, first->rank * sizeof *shape);
    if (!lap_tensor_make(ctx, dtype, first->rank + 1, shape, out, fault)) {
        return false;
    }
    for (uint32_t k = 0; k < n; k++) {
        const char *member = family_member(ctx, name, mark, k);
        lap_tensor slice = {.dtype = dtype, .rank = first->rank, .n_bytes = out->n_bytes / n};
        memcpy(slice.shape, first->shape, sizeof slice.shape);
        slice.data = (char *)out->data + k * slice.n_bytes;
        if (!lap_tensor_convert_into(lap_views_find(set, member), member, &slice, fault)) {
            return false;
        }
    }
    return true;
}

bool lap_views_weight(lap_ctx *ctx, const lap_views *set, const char *name, lap_dtype dtype, lap_tensor *out,
                      bool *out_found, lap_fault *fault)
{
    const lap_tensor_view *whole = lap_views_find(set, name);
    *out_found = whole != NULL;
    if (whole != NULL) {
        return lap_tensor_take(ctx, whole, dtype, name, out, fault);
    }
    const char *mark = strstr(name, LAP_FAMILY_MARK);
    if (mark == NULL) {
        return true;
    }
    uint32_t n = 0;
    if (!count_members(ctx, set, name, mark, &n, fault)) {
        return false;
    }
    *out_found = n > 0;
    return n == 0 || stack(ctx, set, name, mark, n, dtype, out, fault);
}

const char *lap_shape_show(lap_ctx *ctx, uint32_t rank, const int64_t *shape)
{
    const char *text = "[";
    for (uint32_t i = 0; i < rank; i++) {
        text = lap_arena_printf(ctx->arena, "%s%s%lld", text, i > 0 ? ", " : "", (long long)shape[i]);
    }
    return lap_arena_printf(ctx->arena, "%s]", text);
}

const char *lap_tensor_show(lap_ctx *ctx, const lap_tensor *t)
{
    return lap_arena_printf(ctx->arena, "%s%s", lap_dtype_text(t->dtype),
                            lap_shape_show(ctx, t->rank, t->shape));
}
