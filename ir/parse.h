/* SPDX-License-Identifier: Apache-2.0
 * parse.h - the parser's state, shared by parse.c and parse_attr.c.
 *
 * Functions return false after a mistake of grammar, which ends the parse. A mistake of meaning (an
 * unknown value, a type that does not fit) is reported, sets `is_failed` and lets the parse go on. */
#ifndef LAP_IR_PARSE_H
#define LAP_IR_PARSE_H

#include "ir/build.h"
#include "ir/lex.h"
#include "ir/text.h"

/* Limits on hostile text: rules that compare operands or names pairwise stay fast below these. */
#define LAP_MAX_REGION_DEPTH 64
#define LAP_MAX_OPERANDS     4096
#define LAP_MAX_NAMES        256
#define LAP_MAX_MISTAKES     50

/* What %name and @name stand for; `ref` is none where the definition was a mistake. */
typedef struct lap_binding {
    bool is_value, is_func;
    lap_ref ref;
    lap_region_id region;
} lap_binding;

typedef struct lap_parser {
    lap_ctx *ctx;
    lap_graph *graph;
    lap_lexer lex;
    lap_binding *bindings; /* by lap_name */
    size_t n_bindings, capacity;
    uint32_t depth;
    uint32_t n_mistakes;
    bool is_failed;
} lap_parser;

/* "expected ..., found 'token'" at the next token; false. */
bool lap_parse_expected(lap_parser *p, const char *what);
/* A mistake of meaning at `line`: true while the parse may go on. */
bool lap_parse_mistake(lap_parser *p, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool lap_parse_skip(lap_parser *p, const char *punct);                /* the next token, if it is this one */
LAP_MUST_CHECK bool lap_parse_take(lap_parser *p, const char *punct); /* must be this one */

/* The value that the next token names; none (and a mistake) when nothing before has that name. */
LAP_MUST_CHECK bool lap_parse_value(lap_parser *p, lap_ref *out);
LAP_MUST_CHECK bool lap_parse_string(lap_parser *p, const char *what, lap_name *out);
LAP_MUST_CHECK bool lap_parse_extent(lap_parser *p, lap_dim *out);
/* Whether the next token begins a type, and the type. */
bool lap_parse_at_type(const lap_parser *p);
LAP_MUST_CHECK bool lap_parse_type(lap_parser *p, lap_type *out);
LAP_MUST_CHECK bool lap_parse_layout(lap_parser *p, lap_layout *out);
/* "[axis=%count ...]" */
LAP_MUST_CHECK bool lap_parse_crop(lap_parser *p, lap_output *out);
/* The place that the comment before the next token states; false when it states none. */
bool lap_parse_comment(const lap_parser *p, lap_loc *out);
/* The attribute after "key=". */
LAP_MUST_CHECK bool lap_parse_attr(lap_parser *p, lap_attr_key key, lap_attr *out);

#endif
