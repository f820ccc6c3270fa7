/* SPDX-License-Identifier: Apache-2.0
 * ctx.h - what one compile session shares: arena, interned names, source places, diagnostics, extents.
 *
 * Names, places and extents are ids that stay valid for the life of the context, in every graph
 * built with it. No globals: two contexts may be used by two threads. */
#ifndef LAP_IR_BASE_CTX_H
#define LAP_IR_BASE_CTX_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "ir/base/arena.h"

#define LAP_MUST_CHECK __attribute__((warn_unused_result))

/* An interned string: an axis name, a tensor name, a message. 0 is the empty string. */
typedef struct lap_name {
    uint32_t ix;
} lap_name;
/* A source place with the places that led to it (helper <- plugin <- script). 0: none. */
typedef struct lap_loc {
    uint32_t ix;
} lap_loc;

typedef struct lap_dims lap_dims; /* ir/dim.h */
typedef struct lap_interns lap_interns;
typedef struct lap_diag_list lap_diag_list;

typedef struct lap_ctx {
    lap_arena *arena;
    lap_interns *interns;
    lap_diag_list *diags;
    lap_dims *dims;
} lap_ctx;

/* A context with an arena of its own; `limit` bounds its memory (0: none). */
lap_ctx *lap_ctx_new(size_t limit);
void lap_ctx_free(lap_ctx *ctx);

lap_name lap_intern(lap_ctx *ctx, const char *text);
lap_name lap_intern_n(lap_ctx *ctx, const char *text, size_t length);
/* A name that no script can spell and no other call returns: `stem` followed by '.N'. */
lap_name lap_fresh(lap_ctx *ctx, const char *stem);
const char *lap_text(const lap_ctx *ctx, lap_name name);
static inline bool lap_name_same(lap_name a, lap_name b) { return a.ix == b.ix; }

lap_loc lap_loc_make(lap_ctx *ctx, const char *file, int line, lap_loc parent);
const char *lap_loc_file(const lap_ctx *ctx, lap_loc loc);
int lap_loc_line(const lap_ctx *ctx, lap_loc loc);
lap_loc lap_loc_parent(const lap_ctx *ctx, lap_loc loc);
/* "file:line", or "?" without a place; lives in the arena. */
const char *lap_loc_show(lap_ctx *ctx, lap_loc loc);

/* Records an error "file:line: error: ..." with a note per parent place; always returns false.
 * The message starts in lower case and has no full stop; "\nhint: ..." may follow it. */
bool lap_error(lap_ctx *ctx, lap_loc loc, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool lap_verror(lap_ctx *ctx, lap_loc loc, const char *format, va_list args);
size_t lap_error_count(const lap_ctx *ctx);
/* Message i, rendered with its notes, no final newline. */
const char *lap_error_text(const lap_ctx *ctx, size_t i);
void lap_errors_print(const lap_ctx *ctx, FILE *to);
void lap_errors_clear(lap_ctx *ctx);
/* Records "file:line: warning: ..." in the same form: what is allowed and was hardly meant. The same text
 * is kept once, and no more of them than a screenful. */
void lap_warning(lap_ctx *ctx, lap_loc loc, const char *format, ...) __attribute__((format(printf, 3, 4)));
size_t lap_warning_count(const lap_ctx *ctx);
const char *lap_warning_text(const lap_ctx *ctx, size_t i);

/* A condition that only a mistake of ours can break: says where and stops with status 4. */
_Noreturn void lap_bug(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define LAP_BUG(...)     lap_bug(__FILE__, __LINE__, __VA_ARGS__)
#define LAP_ENSURE(cond) ((cond) ? (void)0 : LAP_BUG("broken invariant: %s", #cond))

#endif
