/* SPDX-License-Identifier: Apache-2.0
 * lex.h - tokens of the text form; one token of look-ahead, bounded work per byte. */
#ifndef LAP_IR_LEX_H
#define LAP_IR_LEX_H

#include "ir/base/ctx.h"

typedef enum lap_token_kind {
    LAP_TOKEN_END,    /* of the text */
    LAP_TOKEN_WORD,   /* identifier, may hold dots */
    LAP_TOKEN_VALUE,  /* %name, without the % */
    LAP_TOKEN_GLOBAL, /* @name or @"name" */
    LAP_TOKEN_NUMBER, /* -?digit..., checked when its value is read */
    LAP_TOKEN_STRING, /* with its escapes still in it, without the quotes */
    LAP_TOKEN_PUNCT   /* any other single byte */
} lap_token_kind;

typedef struct lap_token {
    lap_token_kind kind;
    bool is_quoted; /* GLOBAL: spelled as a string */
    bool begins_line;
    const char *at;
    size_t n;
    const char *start; /* first byte of the spelling */
    int line;
    const char *comment; /* the one between the token before and the end of that token's line */
    size_t n_comment;
} lap_token;

typedef struct lap_lexer {
    lap_ctx *ctx;
    const char *file, *text, *end, *pos;
    int line;
    lap_token token; /* the next one */
} lap_lexer;

void lap_lex_init(lap_lexer *lex, lap_ctx *ctx, const char *file, int line, const char *text, size_t length);
void lap_lex_next(lap_lexer *lex);
/* The bytes from the start of the next token up to a blank, '?', ']', '}', ',' or ';' outside
 * parentheses: the spelling of an extent. The next token is then the one after them. */
void lap_lex_extent(lap_lexer *lex, const char **out_text, size_t *out_n);
/* Bytes of a string with its escapes undone, in the arena; NULL: a bad escape. */
char *lap_lex_unescape(lap_ctx *ctx, const char *text, size_t n, size_t *out_n);

bool lap_token_is(const lap_token *t, lap_token_kind kind, const char *text);
/* "'%12'", "the end of the file": how messages call it. */
const char *lap_token_show(lap_ctx *ctx, const lap_token *t);

#endif
