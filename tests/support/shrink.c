/* SPDX-License-Identifier: Apache-2.0
 * shrink.c - makes the text of a failing graph smaller while it still fails.
 *
 * Works on statements: outputs and checks are dropped, a value is replaced by one of its operands or
 * by a leaf of the same type, extents become 1 or 2. Each try is printed anew by the library, which
 * drops what nobody reads; tries that do not parse are refused, so no rule of the IR is repeated here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/random_graph.h"

typedef struct shrinker {
    lap_arena *arena;
    test_fails *fails;
    void *user;
    const char *text;
    unsigned tries;
} shrinker;

#define MOST_TRIES 4000

/* The text without dead statements and with its values renumbered; NULL where it is no graph. */
static char *normal_form(shrinker *s, const char *text)
{
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *g;
    char *out = NULL;
    if (lap_graph_parse(ctx, "shrink", text, strlen(text), &g) && lap_graph_n_outputs(g) > 0) {
        lap_graph *clean = lap_graph_rewrite(g, NULL, NULL);
        const char *made = clean ? lap_graph_text(clean) : NULL;
        out = made ? lap_arena_copy(s->arena, made, strlen(made) + 1) : NULL;
    }
    lap_ctx_free(ctx);
    return out;
}

/* Keeps the text if it is smaller, other than what there is, and still fails. */
static bool keep_if_fails(shrinker *s, const char *text)
{
    if (s->tries >= MOST_TRIES) {
        return false;
    }
    s->tries++;
    char *made = normal_form(s, text);
    if (!made || strlen(made) >= strlen(s->text) || !s->fails(s->user, made)) {
        return false;
    }
    s->text = made;
    return true;
}

/* ---- lines */

typedef struct line {
    const char *at;
    size_t n;
} line;

static bool next_line(const char **at, line *out)
{
    if (**at == '\0') {
        return false;
    }
    out->at = *at;
    out->n = strcspn(*at, "\n");
    *at += out->n + ((*at)[out->n] == '\n');
    return true;
}

static bool starts(line l, const char *word)
{
    size_t blanks = strspn(l.at, " ");
    return blanks < l.n && strncmp(l.at + blanks, word, strlen(word)) == 0;
}

/* The text with `l` replaced by `with`. */
static const char *splice(shrinker *s, line l, const char *with)
{
    return lap_arena_printf(s->arena, "%.*s%s%s", (int)(l.at - s->text), s->text, with, l.at + l.n);
}

static bool drop_statements(shrinker *s, const char *word)
{
    bool any = false;
    line l;
    for (const char *at = s->text; next_line(&at, &l);) {
        if (starts(l, word) && keep_if_fails(s, splice(s, l, ""))) {
            any = true;
            at = s->text;
        }
    }
    return any;
}

/* ---- values */

/* The number after "%" at this place; 0: there is none. */
/* Whether a line makes a leaf. */
static bool is_leaf_line(line l)
{
    const char *word = l.n > 0 ? memchr(l.at, '=', l.n) : NULL;
    size_t rest = word ? l.n - (size_t)(word - l.at) : 0;
    return word && *l.at == '%' &&
           ((rest > 8 && strncmp(word, "= input ", 8) == 0) ||
            (rest > 9 && strncmp(word, "= weight ", 9) == 0));
}

/* Leaves that nothing reads stay in a rebuilt graph: dropped here, where the text still parses. */
static bool drop_leaves(shrinker *s)
{
    bool moved = false;
    const char *at = s->text;
    line l;
    while (next_line(&at, &l)) {
        line trimmed = l;
        while (trimmed.n > 0 && *trimmed.at == ' ') {
            trimmed.at++;
            trimmed.n--;
        }
        if (is_leaf_line(trimmed) && keep_if_fails(s, splice(s, l, ""))) {
            moved = true;
            at = s->text;
        }
    }
    return moved;
}

static unsigned value_at(const char *at) { return *at == '%' ? (unsigned)strtoul(at + 1, NULL, 10) : 0; }

/* The text with every later use of value `from` replaced by `to`, without the line that makes it. */
static const char *with_replaced(shrinker *s, line made, unsigned from, unsigned to)
{
    size_t n = 0, room = strlen(s->text) * 2 + 64;
    char *out = lap_arena_alloc(s->arena, room);
    for (const char *at = s->text; *at && n + 16 < room;) {
        if (at == made.at) {
            at += made.n;
        } else if (at > made.at && value_at(at) == from) {
            n += (size_t)snprintf(out + n, room - n, "%%%u", to);
            at += 1 + strspn(at + 1, "0123456789");
        } else {
            out[n++] = *at++;
        }
    }
    out[n] = '\0';
    return out;
}

static bool has_body(line l)
{
    return memchr(l.at, '{', l.n) && strstr(l.at, "{  ;") && strstr(l.at, "{  ;") < l.at + l.n;
}

/* Tries the operands of the statement in place of its value. */
static bool try_operands(shrinker *s, line l, unsigned made)
{
    const char *end = l.at + l.n;
    const char *comment = strstr(l.at, "  ;");
    end = comment && comment < end ? comment : end;
    const char *at = memchr(l.at, '=', l.n);
    for (; at && at < end; at++) {
        unsigned operand = value_at(at);
        if (operand != 0 && operand != made && keep_if_fails(s, with_replaced(s, l, made, operand))) {
            return true;
        }
    }
    return false;
}

/* The words of the type in "  %7 = map f32[a=2 b=N3] ..."; false where it ends at a count or has none. */
static bool type_of(line l, line *out)
{
    const char *at = strstr(l.at, " = ");
    if (!at || at > l.at + l.n) {
        return false;
    }
    at += 3;
    at += strcspn(at, " \n");
    if (*at != ' ') {
        return false;
    }
    at++;
    size_t n = strcspn(at, "[ \n");
    if (at[n] == '[') {
        n = strcspn(at, "]\n") + 1;
    }
    *out = (line){at, n};
    return strncmp(at, "f32", 3) == 0 || strncmp(at, "i64", 3) == 0 || strncmp(at, "bool", 4) == 0;
}

/* The names of the type's axes: "a b" of "f32[a=2 b=N3]". */
static const char *layout_of(shrinker *s, line type)
{
    const char *out = "", *end = type.at + type.n, *at = type.at + strcspn(type.at, "[\n");
    while (at + 1 < end) {
        size_t name = strcspn(at + 1, "=");
        out = lap_arena_printf(s->arena, "%s%s%.*s", out, *out ? " " : "", (int)name, at + 1);
        at += 1 + strcspn(at + 1, " ]");
    }
    return out;
}

static unsigned count_lines(const char *text)
{
    unsigned n = 0;
    for (; *text; text++) {
        n += *text == '\n';
    }
    return n;
}

/* Puts an input of the same type in place of the value. */
static bool try_leaf(shrinker *s, line l, unsigned made)
{
    line type;
    if (starts(l, "yield") || strstr(l.at, " = input") == memchr(l.at, ' ', l.n) || !type_of(l, &type) ||
        memchr(type.at, '?', type.n)) {
        return false;
    }
    const char *layout = layout_of(s, type);
    bool is_float = type.at[0] == 'f';
    const char *with =
        lap_arena_printf(s->arena, "%%%u = input %.*s {name=\"%c%u%s\" layout=\"%s\"}", made, (int)type.n,
                         type.at, is_float ? 'x' : 'i', made, is_float ? ":e:-1:1" : ":0:1", layout);
    const char *text = splice(s, l, with);
    char *shown = normal_form(s, text);
    /* longer perhaps, but with fewer statements */
    if (!shown || count_lines(shown) >= count_lines(s->text) || s->tries++ >= MOST_TRIES ||
        !s->fails(s->user, shown)) {
        return false;
    }
    s->text = shown;
    return true;
}

static bool replace_values(shrinker *s)
{
    bool any = false;
    line l;
    for (const char *at = s->text; next_line(&at, &l);) {
        unsigned made = value_at(l.at + strspn(l.at, " "));
        if (made == 0 || has_body(l)) {
            continue;
        }
        if (try_leaf(s, l, made) || try_operands(s, l, made)) {
            any = true;
            at = s->text;
        }
    }
    return any;
}

/* Gives a value in the place of what an output gives, whatever its axes: the smallest that will do. */
static bool try_output(shrinker *s, line output)
{
    line l;
    const char *name = strchr(output.at, '"'), *rest = strchr(output.at, '%');
    if (!name || !rest || rest > output.at + output.n) {
        return false;
    }
    unsigned old = value_at(rest);
    for (const char *at = s->text; next_line(&at, &l) && l.at < output.at;) {
        unsigned made = value_at(l.at + strspn(l.at, " "));
        line type;
        if (made == 0 || made >= old || strncmp(l.at, "  %", 3) != 0 || !type_of(l, &type) ||
            memchr(type.at, '?', type.n)) {
            continue;
        }
        const char *with = lap_arena_printf(s->arena, "output %.*s%%%u {layout=\"%s\"}", (int)(rest - name),
                                            name, made, layout_of(s, type));
        char *shown = normal_form(s, splice(s, output, with));
        if (shown && count_lines(shown) < count_lines(s->text) && s->tries++ < MOST_TRIES &&
            s->fails(s->user, shown)) {
            s->text = shown;
            return true;
        }
    }
    return false;
}

static bool retarget_outputs(shrinker *s)
{
    bool any = false;
    line l;
    for (const char *at = s->text; next_line(&at, &l);) {
        if (starts(l, "output") && try_output(s, l)) {
            any = true;
            at = s->text;
        }
    }
    return any;
}

/* ---- extents */

/* The text with each whole word `from` replaced by `to`. */
static const char *with_word(shrinker *s, const char *from, size_t n, const char *to)
{
    size_t used = 0, room = strlen(s->text) * 2 + 64;
    char *out = lap_arena_alloc(s->arena, room);
    static const char *const inside = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";
    for (const char *at = s->text; *at && used + 64 < room;) {
        bool begins = at == s->text || !strchr(inside, at[-1]);
        if (begins && strncmp(at, from, n) == 0 && (at[n] == '\0' || !strchr(inside, at[n]))) {
            used += (size_t)snprintf(out + used, room - used, "%s", to);
            at += n;
        } else {
            out[used++] = *at++;
        }
    }
    out[used] = '\0';
    return out;
}

/* "a3=7" becomes "a3=1", "N7" becomes "N1": shapes only, so the length may stay. */
static bool try_extent(shrinker *s, const char *from, size_t n, const char *to)
{
    const char *text = with_word(s, from, n, to);
    char *made = normal_form(s, text);
    if (!made || strcmp(made, s->text) == 0 || s->tries++ >= MOST_TRIES || !s->fails(s->user, made)) {
        return false;
    }
    s->text = made;
    return true;
}

static bool shrink_extents(shrinker *s)
{
    bool any = false;
    for (const char *at = strchr(s->text, '='); at && s->tries < MOST_TRIES;) {
        const char *begin = at;
        while (begin > s->text && begin[-1] != ' ' && begin[-1] != '[' && begin[-1] != '\n') {
            begin--;
        }
        size_t name = (size_t)(at - begin), value = strspn(at + 1, "0123456789");
        bool in_type =
            value > 0 && (at[1 + value] == ' ' || at[1 + value] == ']') && strtol(at + 1, NULL, 10) > 1;
        bool changed = false;
        if (in_type) {
            changed = try_extent(s, begin, name + 1 + value,
                                 lap_arena_printf(s->arena, "%.*s=1", (int)name, begin)) ||
                      (strtol(at + 1, NULL, 10) > 2 &&
                       try_extent(s, begin, name + 1 + value,
                                  lap_arena_printf(s->arena, "%.*s=2", (int)name, begin)));
        } else if (at[1] >= 'N' && at[1] <= 'S' && strtol(at + 2, NULL, 10) > 1) {
            size_t n = 1 + strspn(at + 2, "0123456789");
            changed = try_extent(s, at + 1, n, lap_arena_printf(s->arena, "%c1", at[1]));
        }
        any = any || changed;
        at = changed ? strchr(s->text, '=') : strchr(at + 1, '=');
    }
    return any;
}

const char *test_shrink(lap_arena *arena, const char *text, test_fails *fails, void *user)
{
    shrinker s = {.arena = arena, .fails = fails, .user = user, .text = text};
    char *clean = normal_form(&s, text);
    if (clean && fails(user, clean)) {
        s.text = clean;
    }
    for (bool moved = true; moved && s.tries < MOST_TRIES;) {
        moved = drop_statements(&s, "output");
        moved = drop_statements(&s, "require") || moved;
        moved = replace_values(&s) || moved;
        moved = retarget_outputs(&s) || moved;
        moved = drop_leaves(&s) || moved;
        moved = shrink_extents(&s) || moved;
    }
    return s.text;
}
