/* SPDX-License-Identifier: Apache-2.0
 * lex.c - tokens of the text form.
 *
 * The text is bytes with a length, never a C string: a NUL is an unexpected byte like any other. */
#include "ir/lex.h"

#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static bool is_wordy(char c) { return is_letter(c) || is_digit(c) || c == '.'; }

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* Skips blanks and comments; keeps the first comment that begins on the current line. */
static void skip(lap_lexer *lex, lap_token *t)
{
    while (lex->pos < lex->end && (is_blank(*lex->pos) || *lex->pos == ';')) {
        if (*lex->pos != ';') {
            if (*lex->pos == '\n') {
                lex->line++;
                t->begins_line = true;
            }
            lex->pos++;
            continue;
        }
        const char *from = lex->pos + 1;
        while (lex->pos < lex->end && *lex->pos != '\n') {
            lex->pos++;
        }
        if (!t->begins_line && !t->comment) {
            t->comment = from;
            t->n_comment = (size_t)(lex->pos - from);
        }
    }
}

static void take_wordy(lap_lexer *lex)
{
    while (lex->pos < lex->end && is_wordy(*lex->pos)) {
        lex->pos++;
    }
}

/* Up to the closing quote, which must be on the same line. */
static bool take_string(lap_lexer *lex, lap_token *t)
{
    const char *c = lex->pos + 1;
    while (c < lex->end && *c != '"' && *c != '\n') {
        c += *c == '\\' && c + 1 < lex->end && c[1] != '\n' ? 2 : 1;
    }
    if (c >= lex->end || *c != '"') {
        return false;
    }
    t->at = lex->pos + 1;
    t->n = (size_t)(c - t->at);
    lex->pos = c + 1;
    return true;
}

static void take_number(lap_lexer *lex)
{
    lex->pos++;
    while (lex->pos < lex->end) {
        bool is_sign = (*lex->pos == '-' || *lex->pos == '+') && (lex->pos[-1] == 'e' || lex->pos[-1] == 'E');
        if (!is_wordy(*lex->pos) && !is_sign) {
            return;
        }
        lex->pos++;
    }
}

static void take(lap_lexer *lex, lap_token *t)
{
    char c = *lex->pos, next = lex->pos + 1 < lex->end ? lex->pos[1] : '\0';
    t->at = lex->pos;
    if (is_letter(c)) {
        t->kind = LAP_TOKEN_WORD;
        take_wordy(lex);
    } else if ((c == '%' || c == '@') && is_wordy(next)) {
        t->kind = c == '%' ? LAP_TOKEN_VALUE : LAP_TOKEN_GLOBAL;
        t->at = ++lex->pos;
        take_wordy(lex);
    } else if (is_digit(c) || (c == '-' && is_wordy(next))) {
        t->kind = LAP_TOKEN_NUMBER;
        take_number(lex);
    } else if (c == '@' && next == '"') {
        lex->pos++;
        t->kind = LAP_TOKEN_GLOBAL;
        t->is_quoted = take_string(lex, t);
        t->kind = t->is_quoted ? LAP_TOKEN_GLOBAL : LAP_TOKEN_PUNCT;
    } else if (c == '"' && take_string(lex, t)) {
        t->kind = LAP_TOKEN_STRING;
        return;
    } else {
        t->kind = LAP_TOKEN_PUNCT;
        lex->pos++;
    }
    if (!t->is_quoted) {
        t->n = (size_t)(lex->pos - t->at);
    }
}

void lap_lex_next(lap_lexer *lex)
{
    lap_token t = {.kind = LAP_TOKEN_END, .at = lex->end};
    skip(lex, &t);
    t.start = lex->pos;
    t.line = lex->line;
    if (lex->pos < lex->end) {
        take(lex, &t);
    }
    lex->token = t;
}

void lap_lex_init(lap_lexer *lex, lap_ctx *ctx, const char *file, int line, const char *text, size_t length)
{
    *lex =
        (lap_lexer){.ctx = ctx, .file = file, .line = line, .text = text, .end = text + length, .pos = text};
    lap_lex_next(lex);
}

void lap_lex_extent(lap_lexer *lex, const char **out_text, size_t *out_n)
{
    const char *c = lex->token.start;
    uint32_t depth = 0;
    for (; c < lex->end && *c != '\n' && *c != ';'; c++) {
        if (depth == 0 && (is_blank(*c) || *c == '?' || *c == ']' || *c == '}' || *c == ',')) {
            break;
        }
        depth += *c == '(';
        depth -= *c == ')' && depth > 0;
    }
    *out_text = lex->token.start;
    *out_n = (size_t)(c - lex->token.start);
    lex->line = lex->token.line;
    lex->pos = c;
    lap_lex_next(lex);
}

static int hex_digit(char c) { return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

char *lap_lex_unescape(lap_ctx *ctx, const char *text, size_t n, size_t *out_n)
{
    char *out = lap_arena_array(ctx->arena, n + 1, 1);
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == '\\') {
            if (i + 1 >= n) {
                return NULL;
            }
            c = text[++i];
            if (c == 'n') {
                c = '\n';
            } else if (c == 'x' && i + 2 < n && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
                c = (char)(16 * hex_digit(text[i + 1]) + hex_digit(text[i + 2]));
                i += 2;
            } else if (c != '"' && c != '\\') {
                return NULL;
            }
        }
        if (c == '\0') {
            return NULL; /* names are C strings */
        }
        out[m++] = c;
    }
    *out_n = m;
    return out;
}

bool lap_token_is(const lap_token *t, lap_token_kind kind, const char *text)
{
    return t->kind == kind && strlen(text) == t->n && memcmp(text, t->at, t->n) == 0;
}

const char *lap_token_show(lap_ctx *ctx, const lap_token *t)
{
    if (t->kind == LAP_TOKEN_END) {
        return "the end of the text";
    }
    if (t->kind == LAP_TOKEN_PUNCT && (*t->at < 0x20 || *t->at >= 0x7f)) {
        return lap_arena_printf(ctx->arena, "byte 0x%02x", (unsigned char)*t->at);
    }
    const char *before = t->kind == LAP_TOKEN_VALUE ? "%" : t->kind == LAP_TOKEN_GLOBAL ? "@" : "";
    return lap_arena_printf(ctx->arena, "'%s%.*s'", before, (int)(t->n < 40 ? t->n : 40), t->at);
}
