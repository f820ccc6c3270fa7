/* SPDX-License-Identifier: Apache-2.0
 * parse_place.c - source places in comments: "file:line <- file:line", innermost first. */
#include "ir/parse.h"

#include <string.h>

#define MAX_PLACES 64

typedef struct place {
    const char *file;
    int line;
} place;

/* "file:123", the file perhaps in quotes; moves `*at` behind it. */
static bool read_place(lap_ctx *ctx, const char **at, const char *end, place *out)
{
    const char *c = *at, *from = c;
    size_t n = 0;
    if (c < end && *c == '"') {
        for (c++; c < end && *c != '"'; c += *c == '\\' && end - c > 1 ? 2 : 1) {
        }
        out->file = c < end ? lap_lex_unescape(ctx, from + 1, (size_t)(c - from - 1), &n) : NULL;
        c += c < end;
    } else {
        while (c < end && *c != ' ' && *c != ':') {
            c++;
        }
        n = (size_t)(c - from);
        out->file = n ? lap_text(ctx, lap_intern_n(ctx, from, n)) : NULL;
    }
    if (!out->file || end - c < 2 || *c != ':' || c[1] < '0' || c[1] > '9') {
        return false;
    }
    long line = 0;
    for (c++; c < end && *c >= '0' && *c <= '9'; c++) {
        line = line < 100000000 ? 10 * line + (*c - '0') : line;
    }
    out->line = (int)line;
    *at = c;
    return true;
}

bool lap_parse_comment(const lap_parser *p, lap_loc *out)
{
    const lap_token *t = &p->lex.token;
    const char *c = t->comment, *end = c + t->n_comment;
    place places[MAX_PLACES];
    size_t n = 0;
    while (c < end && *c == ' ') {
        c++;
    }
    while (end > c && (end[-1] == ' ' || end[-1] == '\r')) {
        end--;
    }
    if (end - c == 1 && *c == '?') {
        *out = (lap_loc){0};
        return true;
    }
    for (; c < end && n < MAX_PLACES; n++) {
        if (n > 0) {
            if (end - c < 4 || memcmp(c, " <- ", 4) != 0) {
                return false;
            }
            c += 4;
        }
        if (!read_place(p->ctx, &c, end, &places[n])) {
            return false;
        }
    }
    *out = (lap_loc){0};
    for (size_t i = n; i > 0; i--) {
        *out = lap_loc_make(p->ctx, places[i - 1].file, places[i - 1].line, *out);
    }
    return n > 0 && c == end;
}
