/* SPDX-License-Identifier: Apache-2.0
 * json.h - a strict cursor over JSON text in memory: no tree, bounded depth, no allocation.
 *
 * Usage: enter an object, take keys until there are none, take or skip each value. Every call gives
 * false on the first mistake, whose text is then in `error`; the cursor is dead after that. */
#ifndef LAP_RUNTIME_JSON_H
#define LAP_RUNTIME_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LAP_JSON_DEPTH = 32 };

typedef struct lap_json {
    const unsigned char *at, *end, *begin;
    const char *error; /* NULL until something is wrong */
    bool is_first;     /* no member of the innermost container was read yet */
    uint32_t depth;
} lap_json;

/* True for well-formed UTF-8 (no surrogates, no overlong forms). */
bool lap_utf8_valid(const void *bytes, size_t n);

/* Starts at the first value; the text must be UTF-8. */
bool lap_json_begin(lap_json *j, const void *text, size_t n);
/* Only white space is left. */
bool lap_json_finish(lap_json *j);
/* First byte of the next value ('{', '[', '"', a digit, ..), 0 at the end. */
int lap_json_peek(lap_json *j);

bool lap_json_enter(lap_json *j, char bracket); /* '{' or '[' */
/* Whether the innermost container has another member; false also at its end, then the container is
 * left. Look at j->error after the loop. For objects, take the key with lap_json_key. */
bool lap_json_next(lap_json *j, char bracket);
/* A decoded string, ended by a zero byte, in *into, which moves on; room for as many bytes as the
 * text has is always enough. Strings with a zero byte inside are refused. */
bool lap_json_string(lap_json *j, char **into, const char **out);
bool lap_json_key(lap_json *j, char **into, const char **out); /* string and colon */
/* A whole number without sign, fraction or exponent. */
bool lap_json_uint(lap_json *j, uint64_t *out);

#endif
