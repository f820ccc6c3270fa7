/* SPDX-License-Identifier: Apache-2.0
 * wordpiece.c - BERT's two steps: words by white space and punctuation, then the longest known pieces.
 *
 * The text is normalised first: control characters go, letters lose case and accents, and every Chinese
 * character stands alone. The vocabulary is one block of text with a table of hashes over its lines. */
#include "wordpiece.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { MAX_WORD = 100, MAX_EXPANSION = 8 }; /* characters of a word; of one character, decomposed */

typedef struct piece {
    const char *text;
    size_t n;
} piece;

struct wordpiece {
    char *text;
    piece *pieces;
    uint32_t n_pieces, n_slots;
    uint32_t *slots; /* piece + 1, 0: free; n_slots is a power of two */
    int64_t first, last, unknown;
};

static uint32_t hash_of(const char *text, size_t n, bool is_inner)
{
    uint32_t h = is_inner ? 2166136261u ^ 0x23232323u : 2166136261u;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char)text[i]) * 16777619u;
    }
    return h;
}

/* Pieces that continue a word are written "##piece". */
static bool is_inner_piece(piece p) { return p.n > 2 && p.text[0] == '#' && p.text[1] == '#'; }

static piece bare(piece p) { return is_inner_piece(p) ? (piece){p.text + 2, p.n - 2} : p; }

static int64_t find(const wordpiece *w, const char *text, size_t n, bool is_inner)
{
    uint32_t slot = hash_of(text, n, is_inner) & (w->n_slots - 1);
    for (; w->slots[slot] != 0; slot = (slot + 1) & (w->n_slots - 1)) {
        piece p = w->pieces[w->slots[slot] - 1], b = bare(p);
        if (is_inner_piece(p) == is_inner && b.n == n && memcmp(b.text, text, n) == 0) {
            return (int64_t)w->slots[slot] - 1;
        }
    }
    return -1;
}

static char *read_all(const char *path, size_t *out_n)
{
    FILE *from = fopen(path, "rb");
    if (from == NULL) {
        return NULL;
    }
    char *text = NULL;
    size_t n = 0, room = 0, got = 1;
    while (got > 0) {
        if (n + 1 >= room) {
            room = room > 0 ? 2 * room : 1 << 16;
            char *more = realloc(text, room);
            if (more == NULL) {
                break;
            }
            text = more;
        }
        got = fread(text + n, 1, room - n - 1, from);
        n += got;
    }
    bool is_whole = got == 0 && !ferror(from) && text != NULL;
    fclose(from);
    if (!is_whole) {
        free(text);
        return NULL;
    }
    text[n] = '\0';
    *out_n = n;
    return text;
}

static bool index_lines(wordpiece *w, size_t n_bytes)
{
    uint32_t lines = 1;
    for (size_t i = 0; i < n_bytes; i++) {
        lines += w->text[i] == '\n';
    }
    w->n_slots = 16;
    while (w->n_slots < 2 * lines) {
        w->n_slots *= 2;
    }
    w->pieces = calloc(lines, sizeof *w->pieces);
    w->slots = calloc(w->n_slots, sizeof *w->slots);
    if (w->pieces == NULL || w->slots == NULL) {
        return false;
    }
    for (char *line = w->text, *end; *line != '\0'; line = end + (*end != '\0')) {
        end = line + strcspn(line, "\n");
        size_t n = (size_t)(end - line);
        n -= n > 0 && line[n - 1] == '\r';
        piece p = {line, n};
        w->pieces[w->n_pieces++] = p;
        uint32_t slot = hash_of(bare(p).text, bare(p).n, is_inner_piece(p)) & (w->n_slots - 1);
        while (w->slots[slot] != 0) {
            slot = (slot + 1) & (w->n_slots - 1);
        }
        w->slots[slot] = w->n_pieces;
    }
    w->first = find(w, "[CLS]", 5, false);
    w->last = find(w, "[SEP]", 5, false);
    w->unknown = find(w, "[UNK]", 5, false);
    return w->first >= 0 && w->last >= 0 && w->unknown >= 0;
}

wordpiece *wordpiece_open(const char *vocabulary_path)
{
    wordpiece *w = calloc(1, sizeof *w);
    size_t n = 0;
    if (w == NULL) {
        return NULL;
    }
    w->text = read_all(vocabulary_path, &n);
    if (w->text == NULL || n > UINT32_MAX / 4 || !index_lines(w, n)) {
        wordpiece_close(w);
        return NULL;
    }
    return w;
}

void wordpiece_close(wordpiece *w)
{
    if (w != NULL) {
        free(w->slots);
        free(w->pieces);
        free(w->text);
        free(w);
    }
}

static bool is_space(int32_t c)
{
    utf8proc_category_t k = utf8proc_category(c);
    return c == '\t' || c == '\n' || c == '\r' || k == UTF8PROC_CATEGORY_ZS || k == UTF8PROC_CATEGORY_ZL ||
           k == UTF8PROC_CATEGORY_ZP;
}

static bool is_control(int32_t c)
{
    utf8proc_category_t k = utf8proc_category(c);
    return c == 0xfffd || k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF ||
           k == UTF8PROC_CATEGORY_CS || k == UTF8PROC_CATEGORY_CO || k == UTF8PROC_CATEGORY_CN;
}

static bool is_punctuation(int32_t c)
{
    if (c < 128) {
        return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    }
    utf8proc_category_t k = utf8proc_category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

static bool is_chinese(int32_t c)
{
    static const int32_t blocks[][2] = {
        {0x4e00, 0x9fff},   {0x3400, 0x4dbf},   {0x20000, 0x2a6df}, {0x2a700, 0x2b73f},
        {0x2b740, 0x2b81f}, {0x2b820, 0x2ceaf}, {0xf900, 0xfaff},   {0x2f800, 0x2fa1f},
    };
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        if (c >= blocks[i][0] && c <= blocks[i][1]) {
            return true;
        }
    }
    return false;
}

/* A word so far, in UTF-8, and where each of its characters starts. */
typedef struct word {
    char text[4 * MAX_WORD];
    size_t starts[MAX_WORD + 1], n; /* characters; MAX_WORD + 1: too long to be looked up */
} word;

typedef struct output {
    int64_t *ids;
    size_t n;
} output;

static void put(output *out, int64_t id)
{
    if (out->n < WORDPIECE_MAX - 1) { /* room for the last mark */
        out->ids[out->n++] = id;
    }
}

/* The longest piece that starts the word, then the longest that continues it; all or "unknown". */
static void end_word(const wordpiece *w, word *v, output *out)
{
    int64_t found[MAX_WORD];
    size_t n_found = 0, at = 0, n = v->n;
    v->n = 0;
    while (n <= MAX_WORD && at < n) {
        size_t end = n;
        int64_t id = -1;
        while (end > at &&
               (id = find(w, v->text + v->starts[at], v->starts[end] - v->starts[at], at > 0)) < 0) {
            end--;
        }
        if (id < 0) {
            break;
        }
        found[n_found++] = id;
        at = end;
    }
    if (at < n) {
        put(out, w->unknown);
        return;
    }
    for (size_t i = 0; i < n_found; i++) {
        put(out, found[i]);
    }
}

static void add(word *v, int32_t c)
{
    if (v->n >= MAX_WORD) {
        v->n = MAX_WORD + 1;
        return;
    }
    size_t at = v->n > 0 ? v->starts[v->n] : 0;
    v->starts[v->n++] = at;
    v->starts[v->n] = at + (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)v->text + at);
}

/* One character without accents and case; punctuation and Chinese characters are words of their own. */
static void take(const wordpiece *w, word *v, int32_t c, output *out)
{
    int32_t parts[MAX_EXPANSION];
    int last_class = 0;
    bool stands_alone = is_chinese(c);
    if (is_space(c) || stands_alone) {
        end_word(w, v, out);
    }
    if (is_space(c) || is_control(c)) {
        return;
    }
    utf8proc_ssize_t n = utf8proc_decompose_char(c, parts, MAX_EXPANSION, UTF8PROC_DECOMPOSE, &last_class);
    for (utf8proc_ssize_t i = 0; i < n && i < MAX_EXPANSION; i++) {
        int32_t letter = utf8proc_tolower(parts[i]);
        if (utf8proc_category(parts[i]) == UTF8PROC_CATEGORY_MN) {
            continue;
        }
        if (!is_punctuation(letter)) {
            add(v, letter);
            continue;
        }
        end_word(w, v, out);
        add(v, letter);
        end_word(w, v, out);
    }
    if (stands_alone) {
        end_word(w, v, out);
    }
}

size_t wordpiece_encode(const wordpiece *w, const char *text, int64_t ids[WORDPIECE_MAX])
{
    output out = {ids, 0};
    word v = {.n = 0};
    put(&out, w->first);
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
    utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(text);
    while (left > 0) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate(at, left, &c);
        if (n > 0) {
            take(w, &v, c, &out);
        }
        n = n > 0 ? n : 1;
        at += n;
        left -= n;
    }
    end_word(w, &v, &out);
    ids[out.n++] = w->last;
    return out.n;
}
