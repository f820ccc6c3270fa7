/* SPDX-License-Identifier: Apache-2.0
 * arena.c - bump allocation in blocks that double up to a bound.
 *
 * Blocks come zeroed from calloc, so alloc need not clear. An allocation that would waste most of a
 * block gets a block of its own behind the current one. The arena stays valid when the handler for
 * exhausted memory jumps away: nothing is linked before it is complete. */
#include "ir/base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BLOCK = 1 << 14, LARGEST_BLOCK = 1 << 20 };

typedef struct block {
    struct block *next;
    size_t size, used;
    _Alignas(max_align_t) unsigned char bytes[];
} block;

typedef struct cleanup {
    struct cleanup *next;
    void (*fn)(void *user);
    void *user;
} cleanup;

struct lap_arena {
    block *blocks; /* the first one is filled */
    cleanup *cleanups;
    size_t limit, total, next_size;
    lap_oom_handler *handler;
    void *user;
};

static void exit_on_oom(void *user)
{
    (void)user;
    fputs("error: out of memory\n", stderr);
    exit(2);
}

static _Noreturn void out_of_memory(lap_arena *arena)
{
    arena->handler(arena->user);
    exit_on_oom(NULL);
    abort();
}

lap_arena *lap_arena_new(size_t limit)
{
    lap_arena *arena = calloc(1, sizeof *arena);
    if (!arena) {
        exit_on_oom(NULL);
        return NULL;
    }
    arena->limit = limit;
    arena->next_size = FIRST_BLOCK;
    arena->handler = exit_on_oom;
    return arena;
}

void lap_arena_on_oom(lap_arena *arena, lap_oom_handler *handler, void *user)
{
    arena->handler = handler ? handler : exit_on_oom;
    arena->user = user;
}

void lap_arena_free(lap_arena *arena)
{
    if (!arena) {
        return;
    }
    while (arena->cleanups) {
        cleanup *c = arena->cleanups;
        arena->cleanups = c->next;
        c->fn(c->user);
    }
    while (arena->blocks) {
        block *b = arena->blocks;
        arena->blocks = b->next;
        free(b);
    }
    free(arena);
}

static block *block_new(lap_arena *arena, size_t size)
{
    size_t bytes;
    if (__builtin_add_overflow(size, sizeof(block), &bytes)) {
        out_of_memory(arena);
    }
    if (arena->limit && (bytes > arena->limit || arena->total > arena->limit - bytes)) {
        out_of_memory(arena);
    }
    block *b = calloc(1, bytes);
    if (!b) {
        out_of_memory(arena);
    }
    b->size = size;
    arena->total += bytes;
    return b;
}

void *lap_arena_alloc(lap_arena *arena, size_t size)
{
    const size_t align = _Alignof(max_align_t);
    if (size > SIZE_MAX / 2) {
        out_of_memory(arena);
    }
    size = (size + (size == 0) + align - 1) & ~(align - 1);
    block *top = arena->blocks;
    if (!top || top->size - top->used < size) {
        if (top && size > arena->next_size / 4) {
            block *own = block_new(arena, size);
            own->used = size;
            own->next = top->next;
            top->next = own;
            return own->bytes;
        }
        size_t room = arena->next_size;
        if (arena->limit && arena->limit - arena->total < room + sizeof(block)) {
            room = size;
        }
        top = block_new(arena, room > size ? room : size);
        top->next = arena->blocks;
        arena->blocks = top;
        if (arena->next_size < LARGEST_BLOCK) {
            arena->next_size *= 2;
        }
    }
    void *at = top->bytes + top->used;
    top->used += size;
    return at;
}

void *lap_arena_array(lap_arena *arena, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        out_of_memory(arena);
    }
    return lap_arena_alloc(arena, bytes);
}

void *lap_arena_copy(lap_arena *arena, const void *bytes, size_t size)
{
    void *copy = lap_arena_alloc(arena, size);
    if (size) {
        memcpy(copy, bytes, size);
    }
    return copy;
}

char *lap_arena_vprintf(lap_arena *arena, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *text = lap_arena_alloc(arena, n < 0 ? 1 : (size_t)n + 1);
    if (n >= 0) {
        vsnprintf(text, (size_t)n + 1, format, again);
    }
    va_end(again);
    return text;
}

char *lap_arena_printf(lap_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = lap_arena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

void lap_arena_cleanup(lap_arena *arena, void (*fn)(void *user), void *user)
{
    cleanup *c = lap_arena_alloc(arena, sizeof *c);
    *c = (cleanup){arena->cleanups, fn, user};
    arena->cleanups = c;
}

void lap_arena_grow(lap_arena *arena, void *items, size_t count, size_t n, size_t *capacity, size_t size)
{
    size_t wanted;
    if (__builtin_add_overflow(count, n, &wanted)) {
        out_of_memory(arena);
    }
    if (wanted <= *capacity) {
        return;
    }
    size_t doubled = *capacity > SIZE_MAX / 2 ? wanted : *capacity * 2;
    size_t room = doubled > wanted ? doubled : wanted;
    room = room < 8 ? 8 : room;
    void *grown = lap_arena_array(arena, room, size);
    void *old;
    memcpy(&old, items, sizeof old);
    if (count) {
        memcpy(grown, old, count * size);
    }
    memcpy(items, &grown, sizeof grown);
    *capacity = room;
}
