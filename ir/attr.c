/* SPDX-License-Identifier: Apache-2.0
 * attr.c - attributes as values: copying, hashing, comparing, by kind. */
#include "ir/attr.h"

#include <string.h>

uint64_t lap_hash_word(uint64_t h, uint64_t word)
{
    h ^= word + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
    h *= 0xff51afd7ed558ccdu;
    return h ^ (h >> 32);
}

lap_names lap_names_copy(lap_arena *arena, uint32_t n, const lap_name *at)
{
    return (lap_names){n, n ? lap_arena_copy(arena, at, n * sizeof *at) : NULL};
}

lap_names lap_names_of(lap_ctx *ctx, const char *words)
{
    lap_name *at = NULL;
    size_t n = 0, capacity = 0;
    for (const char *w = words + strspn(words, " "); *w; w += strspn(w, " ")) {
        size_t length = strcspn(w, " ");
        lap_arena_grow(ctx->arena, &at, n, 1, &capacity, sizeof *at);
        at[n++] = lap_intern_n(ctx, w, length);
        w += length;
    }
    return (lap_names){(uint32_t)n, at};
}

static uint64_t scalar_bits(lap_scalar s)
{
    uint64_t bits;
    memcpy(&bits, &s.i, sizeof bits);
    return bits;
}

bool lap_scalar_same(lap_scalar a, lap_scalar b)
{
    return a.dtype == b.dtype && scalar_bits(a) == scalar_bits(b);
}

static lap_layout copy_layout(lap_arena *arena, lap_layout layout)
{
    lap_names *groups = lap_arena_array(arena, layout.n, sizeof *groups);
    for (uint32_t i = 0; i < layout.n; i++) {
        groups[i] = lap_names_copy(arena, layout.groups[i].n, layout.groups[i].at);
    }
    return (lap_layout){layout.n, groups};
}

static lap_parts copy_parts(lap_arena *arena, lap_parts parts)
{
    lap_part *at = lap_arena_array(arena, parts.n, sizeof *at);
    for (uint32_t i = 0; i < parts.n; i++) {
        at[i] = parts.at[i];
        at[i].keys = lap_names_copy(arena, parts.at[i].keys.n, parts.at[i].keys.at);
    }
    return (lap_parts){parts.n, at};
}

lap_attr lap_attr_copy(lap_arena *arena, const lap_attr *a)
{
    lap_attr out = *a;
    switch (lap_attr_kind_of(a->key)) {
    case LAP_KIND_NAMES:
        out.names = lap_names_copy(arena, a->names.n, a->names.at);
        break;
    case LAP_KIND_DIMS:
        out.dims.at = a->dims.n ? lap_arena_copy(arena, a->dims.at, a->dims.n * sizeof(lap_dim)) : NULL;
        break;
    case LAP_KIND_LAYOUT:
        out.layout = copy_layout(arena, a->layout);
        break;
    case LAP_KIND_PARTS:
        out.parts = copy_parts(arena, a->parts);
        break;
    case LAP_KIND_TYPE:
        out.type.axes =
            a->type.n_axes ? lap_arena_copy(arena, a->type.axes, a->type.n_axes * sizeof(lap_axis)) : NULL;
        break;
    default:
        break;
    }
    return out;
}

static uint64_t hash_names(uint64_t h, lap_names names)
{
    h = lap_hash_word(h, names.n);
    for (uint32_t i = 0; i < names.n; i++) {
        h = lap_hash_word(h, names.at[i].ix);
    }
    return h;
}

uint64_t lap_axes_hash(uint64_t h, uint32_t n, const lap_axis *axes)
{
    for (uint32_t i = 0; i < n; i++) {
        h = lap_hash_word(h, (uint64_t)axes[i].name.ix << 32 | axes[i].size.ix);
        h = lap_hash_word(h, axes[i].count.ix);
    }
    return h;
}

static uint64_t hash_part(uint64_t h, const lap_part *p)
{
    h = hash_names(h, p->keys);
    h = lap_hash_word(h, (uint64_t)(uint32_t)p->score << 32 | (uint32_t)p->where);
    return lap_hash_word(h, (uint64_t)(uint32_t)p->after << 32 | (uint32_t)p->value);
}

uint64_t lap_attr_hash(uint64_t h, const lap_attr *a)
{
    h = lap_hash_word(h, a->key);
    switch (lap_attr_kind_of(a->key)) {
    case LAP_KIND_STR:
    case LAP_KIND_NAME:
        return lap_hash_word(h, a->name.ix);
    case LAP_KIND_NAMES:
        return hash_names(h, a->names);
    case LAP_KIND_DIM:
        return lap_hash_word(h, a->dim.ix);
    case LAP_KIND_DIMS:
        for (uint32_t i = 0; i < a->dims.n; i++) {
            h = lap_hash_word(h, a->dims.at[i].ix);
        }
        return h;
    case LAP_KIND_SCALAR:
        return lap_hash_word(lap_hash_word(h, a->scalar.dtype), scalar_bits(a->scalar));
    case LAP_KIND_LAYOUT:
        for (uint32_t i = 0; i < a->layout.n; i++) {
            h = hash_names(h, a->layout.groups[i]);
        }
        return h;
    case LAP_KIND_PARTS:
        for (uint32_t i = 0; i < a->parts.n; i++) {
            h = hash_part(h, &a->parts.at[i]);
        }
        return h;
    case LAP_KIND_TYPE:
        return lap_axes_hash(lap_hash_word(h, a->type.dtype), a->type.n_axes, a->type.axes);
    default:
        return lap_hash_word(h, (uint64_t)a->i); /* the integers; a FLOAT shares their bits */
    }
}

static bool same_names(lap_names a, lap_names b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.at, b.at, a.n * sizeof *a.at) == 0);
}

static bool same_layout(lap_layout a, lap_layout b)
{
    bool same = a.n == b.n;
    for (uint32_t i = 0; same && i < a.n; i++) {
        same = same_names(a.groups[i], b.groups[i]);
    }
    return same;
}

static bool same_parts(lap_parts a, lap_parts b)
{
    bool same = a.n == b.n;
    for (uint32_t i = 0; same && i < a.n; i++) {
        const lap_part *p = &a.at[i], *q = &b.at[i];
        same = same_names(p->keys, q->keys) && p->score == q->score && p->where == q->where &&
               p->after == q->after && p->value == q->value;
    }
    return same;
}

bool lap_attr_same(const lap_attr *a, const lap_attr *b)
{
    if (a->key != b->key) {
        return false;
    }
    switch (lap_attr_kind_of(a->key)) {
    case LAP_KIND_STR:
    case LAP_KIND_NAME:
        return lap_name_same(a->name, b->name);
    case LAP_KIND_NAMES:
        return same_names(a->names, b->names);
    case LAP_KIND_DIM:
        return lap_dim_same(a->dim, b->dim);
    case LAP_KIND_DIMS:
        return a->dims.n == b->dims.n &&
               (a->dims.n == 0 || memcmp(a->dims.at, b->dims.at, a->dims.n * sizeof(lap_dim)) == 0);
    case LAP_KIND_SCALAR:
        return lap_scalar_same(a->scalar, b->scalar);
    case LAP_KIND_LAYOUT:
        return same_layout(a->layout, b->layout);
    case LAP_KIND_PARTS:
        return same_parts(a->parts, b->parts);
    case LAP_KIND_TYPE:
        return a->type.dtype == b->type.dtype && a->type.n_axes == b->type.n_axes &&
               (a->type.n_axes == 0 ||
                memcmp(a->type.axes, b->type.axes, a->type.n_axes * sizeof(lap_axis)) == 0);
    default:
        return a->i == b->i;
    }
}
