/* SPDX-License-Identifier: Apache-2.0
 * parse_attr.c - types, attributes and lists of the text form, by the kind of attrs.def. */
#include "ir/parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers and names ---------------------------------------------------------------------- */

/* A number token as a C string; false when it is too long to be one. */
static bool number_text(const lap_token *t, char out[64])
{
    if (t->n >= 64) {
        return false;
    }
    memcpy(out, t->at, t->n);
    out[t->n] = '\0';
    return true;
}

static bool read_int(const lap_token *t, int64_t *out)
{
    char text[64], *end;
    if (t->kind != LAP_TOKEN_NUMBER || !number_text(t, text)) {
        return false;
    }
    errno = 0;
    long long v = strtoll(text, &end, 10);
    *out = v;
    return *end == '\0' && errno == 0;
}

static bool read_float(const lap_token *t, double *out)
{
    char text[64], *end;
    bool is_word = lap_token_is(t, LAP_TOKEN_WORD, "inf") || lap_token_is(t, LAP_TOKEN_WORD, "nan") ||
                   lap_token_is(t, LAP_TOKEN_NUMBER, "-inf");
    if ((t->kind != LAP_TOKEN_NUMBER && !is_word) || !number_text(t, text)) {
        return false;
    }
    if (!is_word && strspn(text, "0123456789.eE+-") != t->n) {
        return false;
    }
    *out = strtod(text, &end); /* out of range rounds to infinity or zero, as printed */
    return *end == '\0' && end != text;
}

static bool read_bool(const lap_token *t, int64_t *out)
{
    *out = lap_token_is(t, LAP_TOKEN_WORD, "true");
    return *out || lap_token_is(t, LAP_TOKEN_WORD, "false");
}

/* Leaves the token behind when it could be read as `what`. */
static bool take_read(lap_parser *p, bool was_read, const char *what)
{
    if (!was_read) {
        return lap_parse_expected(p, what);
    }
    lap_lex_next(&p->lex);
    return true;
}

static bool parse_int(lap_parser *p, int64_t *out)
{
    return take_read(p, read_int(&p->lex.token, out), "an integer");
}

static bool parse_scalar(lap_parser *p, lap_scalar *out)
{
    const lap_token *t = &p->lex.token;
    int64_t i;
    double f;
    bool was_read = true;
    if (read_bool(t, &i)) {
        *out = lap_scalar_b(i != 0);
    } else if (read_int(t, &i)) {
        *out = lap_scalar_i(i);
    } else if (read_float(t, &f)) {
        *out = lap_scalar_f(f);
    } else {
        was_read = false;
    }
    return take_read(p, was_read, "a number, true or false");
}

bool lap_parse_string(lap_parser *p, const char *what, lap_name *out)
{
    const lap_token *t = &p->lex.token;
    size_t n = 0;
    if (t->kind != LAP_TOKEN_STRING) {
        return lap_parse_expected(p, what);
    }
    const char *text = lap_lex_unescape(p->ctx, t->at, t->n, &n);
    if (!text) {
        return lap_parse_expected(p, "a string whose escapes are \\\" \\\\ \\n \\xHH");
    }
    *out = lap_intern_n(p->ctx, text, n);
    lap_lex_next(&p->lex);
    return true;
}

static bool parse_name(lap_parser *p, lap_name *out)
{
    const lap_token *t = &p->lex.token;
    if (t->kind != LAP_TOKEN_WORD) {
        return lap_parse_string(p, "a name", out);
    }
    *out = lap_intern_n(p->ctx, t->at, t->n);
    lap_lex_next(&p->lex);
    return true;
}

bool lap_parse_extent(lap_parser *p, lap_dim *out)
{
    lap_token before = p->lex.token;
    const char *text, *error = NULL;
    size_t n;
    lap_lex_extent(&p->lex, &text, &n);
    if (n == 0 || !lap_dim_parse(p->ctx, text, n, out, &error)) {
        p->lex.token = before;
        return lap_parse_expected(p, n > 0 && error ? error : "an extent");
    }
    return true;
}

/* ---- words of a string ---------------------------------------------------------------------- */

typedef struct words {
    lap_parser *p;
    int line;
    const char *at, *end;
} words;

static bool words_of_string(lap_parser *p, const char *what, words *out)
{
    lap_name text;
    int line = p->lex.token.line;
    if (!lap_parse_string(p, what, &text)) {
        return false;
    }
    const char *at = lap_text(p->ctx, text);
    *out = (words){p, line, at, at + strlen(at)};
    return true;
}

static bool bad_words(const words *w, const char *what)
{
    return lap_error(w->p->ctx, lap_loc_make(w->p->ctx, w->p->lex.file, w->line, (lap_loc){0}),
                     "expected %s, found '%.40s'", what, w->at);
}

static bool at_end(words *w)
{
    while (w->at < w->end && *w->at == ' ') {
        w->at++;
    }
    return w->at == w->end;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One name: letters, digits, dots and _, others as \xHH; \e is empty. */
static bool take_word(words *w, lap_name *out)
{
    char *text = lap_arena_array(w->p->ctx->arena, (size_t)(w->end - w->at) + 1, 1);
    const char *c = w->at;
    size_t n = 0;
    for (; c < w->end && *c != ' ' && *c != '(' && *c != ')'; c++) {
        if (lap_text_is_word((char[]){'a', *c}, 2) && (lap_text_is_word(c, 1) || c > w->at)) {
            text[n++] = *c;
        } else if (w->end - c >= 4 && c[0] == '\\' && c[1] == 'x' && hex_digit(c[2]) >= 0 &&
                   hex_digit(c[3]) >= 0 && 16 * hex_digit(c[2]) + hex_digit(c[3]) != 0) {
            text[n++] = (char)(16 * hex_digit(c[2]) + hex_digit(c[3]));
            c += 3;
        } else if (w->end - c >= 2 && c == w->at && c[0] == '\\' && c[1] == 'e') {
            c++;
        } else {
            return bad_words(w, "a name");
        }
    }
    if (c == w->at) {
        return bad_words(w, "a name");
    }
    w->at = c;
    *out = lap_intern_n(w->p->ctx, text, n);
    return true;
}

/* Names up to the end of the string, or to `stop`, which is taken too. */
static bool take_names(words *w, char stop, lap_names *out)
{
    lap_name names[LAP_MAX_NAMES];
    uint32_t n = 0;
    while (!at_end(w) && *w->at != stop) {
        if (n == LAP_MAX_NAMES) {
            return bad_words(w, "fewer names");
        }
        if (!take_word(w, &names[n++])) {
            return false;
        }
    }
    if (stop != '\0') {
        if (w->at == w->end) {
            return bad_words(w, "')'");
        }
        w->at++;
    }
    *out = lap_names_copy(w->p->ctx->arena, n, names);
    return true;
}

static bool parse_names(lap_parser *p, lap_names *out)
{
    words w;
    return words_of_string(p, "a string of names", &w) && take_names(&w, '\0', out);
}

static bool take_group(words *w, lap_names *out)
{
    if (*w->at == '(') {
        w->at++;
        return take_names(w, ')', out);
    }
    if (*w->at == '1' && (w->at + 1 == w->end || w->at[1] == ' ')) {
        w->at++;
        *out = (lap_names){0, NULL};
        return true;
    }
    lap_name name;
    if (!take_word(w, &name)) {
        return false;
    }
    *out = lap_names_copy(w->p->ctx->arena, 1, &name);
    return true;
}

bool lap_parse_layout(lap_parser *p, lap_layout *out)
{
    words w;
    lap_names groups[LAP_MAX_NAMES];
    uint32_t n = 0;
    if (!words_of_string(p, "a layout string", &w)) {
        return false;
    }
    while (!at_end(&w)) {
        if (n == LAP_MAX_NAMES) {
            return bad_words(&w, "fewer axes");
        }
        if (!take_group(&w, &groups[n++])) {
            return false;
        }
    }
    *out = (lap_layout){n, n ? lap_arena_copy(p->ctx->arena, groups, n * sizeof *groups) : NULL};
    return true;
}

/* ---- lists ---------------------------------------------------------------------------------- */

/* Reads one item of a list into items[i]. */
typedef bool item_reader(lap_parser *p, void *items, uint32_t i);

/* Items up to the closing bracket; the opening one has been taken. */
static bool parse_items(lap_parser *p, item_reader *read_item, void *items, uint32_t *out_n)
{
    for (*out_n = 0; !lap_parse_skip(p, "]"); ++*out_n) {
        if (*out_n == LAP_MAX_NAMES || p->lex.token.kind == LAP_TOKEN_END) {
            return lap_parse_expected(p, "']'");
        }
        if (!read_item(p, items, *out_n)) {
            return false;
        }
    }
    return true;
}

static bool parse_list(lap_parser *p, item_reader *read_item, void *items, uint32_t *out_n)
{
    return lap_parse_take(p, "[") && parse_items(p, read_item, items, out_n);
}

/* ---- types ---------------------------------------------------------------------------------- */

bool lap_parse_at_type(const lap_parser *p)
{
    lap_dtype dtype;
    return p->lex.token.kind == LAP_TOKEN_WORD && lap_dtype_find(p->lex.token.at, p->lex.token.n, &dtype);
}

static bool read_axis(lap_parser *p, void *axes, uint32_t i)
{
    lap_axis *out = (lap_axis *)axes + i;
    *out = (lap_axis){.count = LAP_NONE};
    if (!parse_name(p, &out->name) || !lap_parse_take(p, "=") || !lap_parse_extent(p, &out->size)) {
        return false;
    }
    return !lap_parse_skip(p, "?") || lap_parse_value(p, &out->count);
}

bool lap_parse_type(lap_parser *p, lap_type *out)
{
    lap_axis axes[LAP_MAX_NAMES];
    uint32_t n = 0;
    const lap_token *t = &p->lex.token;
    if (t->kind != LAP_TOKEN_WORD || !lap_dtype_find(t->at, t->n, &out->dtype)) {
        return lap_parse_expected(p, "a type");
    }
    lap_lex_next(&p->lex);
    if (lap_parse_skip(p, "[") && !parse_items(p, read_axis, axes, &n)) {
        return false;
    }
    out->n_axes = n;
    out->axes = n ? lap_arena_copy(p->ctx->arena, axes, n * sizeof *axes) : NULL;
    return true;
}

typedef struct crop {
    lap_name axis;
    lap_ref count;
} crop;

static bool read_crop(lap_parser *p, void *crops, uint32_t i)
{
    crop *out = (crop *)crops + i;
    return parse_name(p, &out->axis) && lap_parse_take(p, "=") && lap_parse_value(p, &out->count);
}

bool lap_parse_crop(lap_parser *p, lap_output *out)
{
    crop crops[LAP_MAX_NAMES];
    uint32_t n;
    if (!parse_list(p, read_crop, crops, &n)) {
        return false;
    }
    lap_name *axes = lap_arena_array(p->ctx->arena, n, sizeof *axes);
    lap_ref *counts = lap_arena_array(p->ctx->arena, n, sizeof *counts);
    for (uint32_t i = 0; i < n; i++) {
        axes[i] = crops[i].axis;
        counts[i] = crops[i].count;
    }
    out->n_crops = n;
    out->crop_axes = axes;
    out->crop_counts = counts;
    return true;
}

/* ---- attributes ----------------------------------------------------------------------------- */

static bool read_dim(lap_parser *p, void *dims, uint32_t i)
{
    return lap_parse_extent(p, (lap_dim *)dims + i);
}

static bool parse_dims(lap_parser *p, lap_dim_list *out)
{
    lap_dim dims[LAP_MAX_NAMES];
    uint32_t n;
    if (!parse_list(p, read_dim, dims, &n)) {
        return false;
    }
    *out = (lap_dim_list){n, n ? lap_arena_copy(p->ctx->arena, dims, n * sizeof *dims) : NULL};
    return true;
}

/* One "word=value" of a part. */
static bool parse_part_field(lap_parser *p, lap_part *out)
{
    lap_token key = p->lex.token;
    lap_lex_next(&p->lex);
    if (lap_token_is(&key, LAP_TOKEN_WORD, "keys")) {
        return lap_parse_take(p, "=") && parse_names(p, &out->keys);
    }
    int32_t *operand = NULL;
#define FIND(field) operand = lap_token_is(&key, LAP_TOKEN_WORD, #field) ? &out->field : operand;
    LAP_PART_OPERANDS(FIND)
#undef FIND
    if (!operand) {
        p->lex.token = key;
        return lap_parse_expected(p, "keys, score, where, after or value");
    }
    int64_t i = 0;
    if (!lap_parse_take(p, "=") || !parse_int(p, &i)) {
        return false;
    }
    *operand = i >= 0 && i < LAP_MAX_OPERANDS ? (int32_t)i : LAP_MAX_OPERANDS; /* refused by its rule */
    return true;
}

static bool read_part(lap_parser *p, void *parts, uint32_t i)
{
    lap_part *out = (lap_part *)parts + i;
    *out = (lap_part){.score = -1, .where = -1, .after = -1, .value = -1};
    if (!lap_parse_take(p, "{")) {
        return false;
    }
    while (!lap_parse_skip(p, "}")) {
        if (!parse_part_field(p, out)) {
            return false;
        }
    }
    return true;
}

static bool parse_parts(lap_parser *p, lap_parts *out)
{
    lap_part parts[LAP_MAX_NAMES];
    uint32_t n;
    if (!parse_list(p, read_part, parts, &n)) {
        return false;
    }
    *out = (lap_parts){n, n ? lap_arena_copy(p->ctx->arena, parts, n * sizeof *parts) : NULL};
    return true;
}

static bool parse_enum(lap_parser *p, lap_attr_key key, int64_t *out)
{
    const lap_token *t = &p->lex.token;
    return take_read(p, t->kind == LAP_TOKEN_WORD && lap_enum_find(lap_attr_kind_of(key), t->at, t->n, out),
                     lap_arena_printf(p->ctx->arena, "a value of '%s'", lap_attr_text(key)));
}

bool lap_parse_attr(lap_parser *p, lap_attr_key key, lap_attr *out)
{
    memset(out, 0, sizeof *out);
    out->key = key;
    switch (lap_attr_kind_of(key)) {
    case LAP_KIND_INT:
        return parse_int(p, &out->i);
    case LAP_KIND_FLOAT:
        return take_read(p, read_float(&p->lex.token, &out->f), "a number");
    case LAP_KIND_BOOL:
        return take_read(p, read_bool(&p->lex.token, &out->i), "true or false");
    case LAP_KIND_STR:
        return lap_parse_string(p, "a string", &out->name);
    case LAP_KIND_NAME:
        return parse_name(p, &out->name);
    case LAP_KIND_NAMES:
        return parse_names(p, &out->names);
    case LAP_KIND_DIM:
        return lap_parse_extent(p, &out->dim);
    case LAP_KIND_DIMS:
        return parse_dims(p, &out->dims);
    case LAP_KIND_SCALAR:
        return parse_scalar(p, &out->scalar);
    case LAP_KIND_LAYOUT:
        return lap_parse_layout(p, &out->layout);
    case LAP_KIND_PARTS:
        return parse_parts(p, &out->parts);
    case LAP_KIND_TYPE:
        return lap_parse_type(p, &out->type);
    case LAP_KIND_FN:
    case LAP_KIND_RED:
    case LAP_KIND_MODE:
    case LAP_KIND_NORM:
    case LAP_KIND_LOOP:
    case LAP_KIND_SPACE:
    case LAP_KIND_DTYPE:
        return parse_enum(p, key, &out->i);
    }
    return false;
}
