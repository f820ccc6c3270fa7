/* SPDX-License-Identifier: Apache-2.0
 * print_attr.c - characters, names, types and attributes of the text form. */
#include "ir/print.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

/* ---- characters ----------------------------------------------------------------------------- */

static void put_bytes(lap_writer *w, const char *bytes, size_t n)
{
    lap_arena_grow(w->ctx->arena, &w->text, w->n, n + 1, &w->capacity, 1);
    memcpy(w->text + w->n, bytes, n);
    w->n += n;
    w->text[w->n] = '\0';
}

void lap_write(lap_writer *w, const char *text) { put_bytes(w, text, strlen(text)); }

void lap_writef(lap_writer *w, const char *format, ...)
{
    char small[64]; /* numbers only */
    va_list args;
    va_start(args, format);
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    LAP_ENSURE(n >= 0 && (size_t)n < sizeof small);
    put_bytes(w, small, (size_t)n);
}

static void put_string_bytes(lap_writer *w, const char *text)
{
    for (const char *c = text; *c; c++) {
        unsigned char u = (unsigned char)*c;
        if (u == '"' || u == '\\') {
            lap_writef(w, "\\%c", u);
        } else if (u == '\n') {
            lap_write(w, "\\n");
        } else if (u < 0x20 || u == 0x7f) {
            lap_writef(w, "\\x%02x", u);
        } else {
            put_bytes(w, c, 1);
        }
    }
}

void lap_write_string(lap_writer *w, const char *text)
{
    lap_write(w, "\"");
    put_string_bytes(w, text);
    lap_write(w, "\"");
}

/* A name on its own: bare where it can be. */
void lap_write_name(lap_writer *w, lap_name name)
{
    const char *text = lap_text(w->ctx, name);
    if (lap_text_is_word(text, strlen(text))) {
        lap_write(w, text);
    } else {
        lap_write_string(w, text);
    }
}

/* A name as a word of a string; the backslash is doubled because the string has escapes as well. */
static void put_word(lap_writer *w, lap_name name)
{
    const char *text = lap_text(w->ctx, name);
    if (!*text) {
        lap_write(w, "\\\\e");
    }
    for (const char *c = text; *c; c++) {
        bool is_digit = *c >= '0' && *c <= '9';
        if (lap_text_is_word(c, 1) || (c > text && (is_digit || *c == '.'))) {
            put_bytes(w, c, 1);
        } else {
            lap_writef(w, "\\\\x%02x", (unsigned char)*c);
        }
    }
}

/* ---- attributes ----------------------------------------------------------------------------- */

/* Without blanks, so that an extent is one word. */
void lap_write_dim(lap_writer *w, lap_dim d)
{
    for (const char *c = lap_dim_show(w->ctx, d); *c; c++) {
        if (*c != ' ') {
            put_bytes(w, c, 1);
        }
    }
}

static void put_float(lap_writer *w, double f)
{
    if (isnan(f)) {
        lap_write(w, "nan");
        return;
    }
    if (isinf(f)) {
        lap_write(w, f < 0 ? "-inf" : "inf");
        return;
    }
    char text[40];
    snprintf(text, sizeof text, "%.17g", f);
    lap_write(w, text);
    if (!strpbrk(text, ".e")) {
        lap_write(w, ".0");
    }
}

static void put_scalar(lap_writer *w, lap_scalar s)
{
    if (s.dtype == LAP_F32) {
        put_float(w, s.f);
    } else if (s.dtype == LAP_BOOL) {
        lap_write(w, s.i ? "true" : "false");
    } else {
        lap_writef(w, "%lld", (long long)s.i);
    }
}

void lap_write_value(lap_writer *w, lap_ref ref) { lap_writef(w, "%%%u", w->number[ref.ix]); }

void lap_write_type(lap_writer *w, lap_type type)
{
    lap_write(w, lap_dtype_text(type.dtype));
    for (uint32_t i = 0; i < type.n_axes; i++) {
        lap_write(w, i ? " " : "[");
        lap_write_name(w, type.axes[i].name);
        lap_write(w, "=");
        lap_write_dim(w, type.axes[i].size);
        if (lap_ref_some(type.axes[i].count)) {
            lap_write(w, "?");
            lap_write_value(w, type.axes[i].count);
        }
    }
    lap_write(w, type.n_axes ? "]" : "");
}

static void put_names(lap_writer *w, lap_names names)
{
    lap_write(w, "\"");
    for (uint32_t i = 0; i < names.n; i++) {
        lap_write(w, i ? " " : "");
        put_word(w, names.at[i]);
    }
    lap_write(w, "\"");
}

static void put_dims(lap_writer *w, lap_dim_list dims)
{
    lap_write(w, "[");
    for (uint32_t i = 0; i < dims.n; i++) {
        lap_write(w, i ? " " : "");
        lap_write_dim(w, dims.at[i]);
    }
    lap_write(w, "]");
}

void lap_write_layout(lap_writer *w, lap_layout layout)
{
    lap_write(w, "\"");
    for (uint32_t i = 0; i < layout.n; i++) {
        lap_names group = layout.groups[i];
        lap_write(w, i ? " " : "");
        lap_write(w, group.n == 0 ? "1" : group.n > 1 ? "(" : "");
        for (uint32_t j = 0; j < group.n; j++) {
            lap_write(w, j ? " " : "");
            put_word(w, group.at[j]);
        }
        lap_write(w, group.n > 1 ? ")" : "");
    }
    lap_write(w, "\"");
}

static void put_operand(lap_writer *w, const char *word, int32_t number)
{
    if (number >= 0) {
        lap_write(w, " ");
        lap_write(w, word);
        lap_writef(w, "=%d", number);
    }
}

static void put_part(lap_writer *w, const lap_part *p)
{
    lap_write(w, "{keys=");
    put_names(w, p->keys);
#define PUT(field) put_operand(w, #field, p->field);
    LAP_PART_OPERANDS(PUT)
#undef PUT
    lap_write(w, "}");
}

static void put_parts(lap_writer *w, lap_parts parts)
{
    lap_write(w, "[");
    for (uint32_t i = 0; i < parts.n; i++) {
        lap_write(w, i ? " " : "");
        put_part(w, &parts.at[i]);
    }
    lap_write(w, "]");
}

static void put_enum(lap_writer *w, lap_attr_kind kind, int64_t value)
{
    const char *text = lap_enum_text(kind, value);
    if (text) {
        lap_write(w, text);
    } else {
        lap_writef(w, "%lld", (long long)value); /* a broken graph still prints */
    }
}

void lap_write_attr(lap_writer *w, const lap_attr *a)
{
    lap_attr_kind kind = lap_attr_kind_of(a->key);
    lap_write(w, lap_attr_text(a->key));
    lap_write(w, "=");
    switch (kind) {
    case LAP_KIND_INT:
        lap_writef(w, "%lld", (long long)a->i);
        break;
    case LAP_KIND_FLOAT:
        put_float(w, a->f);
        break;
    case LAP_KIND_BOOL:
        lap_write(w, a->i ? "true" : "false");
        break;
    case LAP_KIND_STR:
        lap_write_string(w, lap_text(w->ctx, a->name));
        break;
    case LAP_KIND_NAME:
        lap_write_name(w, a->name);
        break;
    case LAP_KIND_NAMES:
        put_names(w, a->names);
        break;
    case LAP_KIND_DIM:
        lap_write_dim(w, a->dim);
        break;
    case LAP_KIND_DIMS:
        put_dims(w, a->dims);
        break;
    case LAP_KIND_SCALAR:
        put_scalar(w, a->scalar);
        break;
    case LAP_KIND_LAYOUT:
        lap_write_layout(w, a->layout);
        break;
    case LAP_KIND_PARTS:
        put_parts(w, a->parts);
        break;
    case LAP_KIND_TYPE:
        lap_write_type(w, a->type);
        break;
    case LAP_KIND_FN:
    case LAP_KIND_RED:
    case LAP_KIND_MODE:
    case LAP_KIND_NORM:
    case LAP_KIND_LOOP:
    case LAP_KIND_SPACE:
    case LAP_KIND_DTYPE:
        put_enum(w, kind, a->i);
        break;
    }
}
