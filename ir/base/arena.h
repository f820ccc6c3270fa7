/* SPDX-License-Identifier: Apache-2.0
 * arena.h - bump allocation: everything a compile makes lives in one arena and dies with it. */
#ifndef LAP_IR_BASE_ARENA_H
#define LAP_IR_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

typedef struct lap_arena lap_arena;

/* Called when memory is exhausted or `limit` is reached; must not return (longjmp or exit). */
typedef void lap_oom_handler(void *user);

/* A new arena that hands out at most `limit` bytes (0: no limit). The default handler prints
 * "out of memory" and exits with status 2. */
lap_arena *lap_arena_new(size_t limit);
void lap_arena_on_oom(lap_arena *arena, lap_oom_handler *handler, void *user);
/* Runs the registered cleanups, last first, then frees everything. NULL is allowed. */
void lap_arena_free(lap_arena *arena);

/* Zeroed memory, aligned for any object; never NULL. */
void *lap_arena_alloc(lap_arena *arena, size_t size);
/* The same for n items of `size` bytes; overflow counts as out of memory. */
void *lap_arena_array(lap_arena *arena, size_t n, size_t size);
void *lap_arena_copy(lap_arena *arena, const void *bytes, size_t size);
/* Formatted text of any length. */
char *lap_arena_printf(lap_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *lap_arena_vprintf(lap_arena *arena, const char *format, va_list args);
/* Runs fn(user) when the arena is freed. */
void lap_arena_cleanup(lap_arena *arena, void (*fn)(void *user), void *user);

/* Grows *items (a plain pointer to items of `size` bytes) so that n more fit; *capacity follows.
 * The old block stays in the arena until the end. */
void lap_arena_grow(lap_arena *arena, void *items, size_t count, size_t n, size_t *capacity, size_t size);

#endif
