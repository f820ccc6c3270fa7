/* SPDX-License-Identifier: Apache-2.0
 * npy.c - reads and writes npy files.
 *
 * The header is a Python dict of three known keys; exactly that is read, no more of Python. */
#include "runtime/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/file.h"

struct lap_npy {
    lap_mapping mapping;
    char *name;
    lap_tensor_view view;
    void *converted;
};

static const unsigned char magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

typedef struct cursor {
    const char *at, *end;
} cursor;

static bool bad(lap_fault *fault, const char *name, const char *what)
{
    return lap_fault_set(fault, LAP_BAD_INPUT, "'%s' is not an npy file that can be read: %s", name, what);
}

static void skip_space(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n')) {
        c->at++;
    }
}

static bool take(cursor *c, char wanted)
{
    skip_space(c);
    if (c->at == c->end || *c->at != wanted) {
        return false;
    }
    c->at++;
    return true;
}

static bool take_word(cursor *c, const char *word)
{
    skip_space(c);
    size_t n = strlen(word);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) {
        return false;
    }
    c->at += n;
    return true;
}

/* A quoted string without escapes. */
static bool take_string(cursor *c, const char **out, size_t *out_n)
{
    skip_space(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) {
        return false;
    }
    char quote = *c->at++;
    *out = c->at;
    while (c->at < c->end && *c->at != quote && *c->at != '\\') {
        c->at++;
    }
    *out_n = (size_t)(c->at - *out);
    return c->at < c->end && *c->at++ == quote;
}

static const char *read_descr(cursor *c, lap_tensor_view *v)
{
    const char *text;
    size_t n;
    if (!take_string(c, &text, &n)) {
        return "the element type is not a plain one";
    }
    for (int s = 0; s < LAP_N_STORAGES; s++) {
        const char *code = lap_storage_npy((lap_storage)s);
        bool is_byte = code[0] == '|'; /* their byte order may be written as any */
        if (n == 3 && code[0] && memcmp(text + 1, code + 1, 2) == 0 && (text[0] == code[0] || is_byte)) {
            v->storage = (lap_storage)s;
            return NULL;
        }
    }
    return n > 0 && text[0] == '>' ? "big-endian elements" : "its element type is not known";
}

static const char *read_order(cursor *c, bool *out_is_fortran)
{
    *out_is_fortran = take_word(c, "True");
    return *out_is_fortran || take_word(c, "False") ? NULL : "fortran_order is not True or False";
}

static const char *read_shape(cursor *c, lap_tensor_view *v)
{
    if (!take(c, '(')) {
        return "the shape is not a tuple";
    }
    while (!take(c, ')')) {
        if (v->rank == LAP_MAX_RANK) {
            return "more than 16 axes";
        }
        skip_space(c);
        int64_t extent = 0;
        const char *start = c->at;
        while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
            if (__builtin_mul_overflow(extent, INT64_C(10), &extent) ||
                __builtin_add_overflow(extent, (int64_t)(*c->at - '0'), &extent)) {
                return "an extent is too large";
            }
            c->at++;
        }
        if (c->at == start) {
            return "the shape is not a tuple of numbers";
        }
        v->shape[v->rank++] = extent;
        if (!take(c, ',')) {
            return take(c, ')') ? NULL : "the shape is not a tuple of numbers";
        }
    }
    return NULL;
}

static const char *const keys[] = {"descr", "fortran_order", "shape"};

/* One value by key number; what is wrong, or NULL. */
static const char *read_value(cursor *c, unsigned key, lap_tensor_view *v, bool *is_fortran)
{
    return key == 0 ? read_descr(c, v) : key == 1 ? read_order(c, is_fortran) : read_shape(c, v);
}

static const char *read_dict(cursor *c, lap_tensor_view *v, bool *is_fortran)
{
    unsigned seen = 0;
    if (!take(c, '{')) {
        return "the header is not a dict";
    }
    while (!take(c, '}')) {
        const char *text;
        size_t n;
        unsigned key = 0;
        if (!take_string(c, &text, &n) || !take(c, ':')) {
            return "the header is not a dict";
        }
        while (key < 3 && (strlen(keys[key]) != n || memcmp(text, keys[key], n) != 0)) {
            key++;
        }
        if (key == 3 || seen & 1u << key) {
            return "the header has a key that is not known, or one twice";
        }
        seen |= 1u << key;
        const char *wrong = read_value(c, key, v, is_fortran);
        if (wrong) {
            return wrong;
        }
        if (!take(c, ',')) {
            if (!take(c, '}')) {
                return "the header is not a dict";
            }
            break;
        }
    }
    skip_space(c);
    if (c->at != c->end) {
        return "text after the header's dict";
    }
    return seen == 7 ? NULL : "the header needs descr, fortran_order and shape";
}

/* Axes longer than 1: with one or none both orders are the same. */
static unsigned long_axes(const lap_tensor_view *v)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < v->rank; i++) {
        n += v->shape[i] > 1;
    }
    return n;
}

/* *out_rest: how many bytes follow the header. */
static const char *parse(const unsigned char *bytes, size_t n, lap_tensor_view *v, size_t *out_rest)
{
    if (n < 10 || memcmp(bytes, magic, sizeof magic) != 0) {
        return "no npy signature";
    }
    unsigned version = bytes[6];
    if (version < 1 || version > 3 || bytes[7] != 0) {
        return "a version other than 1, 2 or 3";
    }
    size_t start = version == 1 ? 10 : 12;
    if (n < start) {
        return "too short";
    }
    size_t length = bytes[8] | (size_t)bytes[9] << 8;
    if (version > 1) {
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    }
    if (length > n - start) {
        return "header longer than the file";
    }
    cursor c = {(const char *)bytes + start, (const char *)bytes + start + length};
    bool is_fortran = false;
    const char *wrong = read_dict(&c, v, &is_fortran);
    if (wrong) {
        return wrong;
    }
    size_t count;
    if (!lap_shape_count(v->rank, v->shape, &count) || !lap_storage_bytes(v->storage, count, &v->n_bytes)) {
        return "its shape is too large";
    }
    if (is_fortran && long_axes(v) > 1) {
        return "elements in Fortran order (save a contiguous copy)";
    }
    v->data = bytes + start + length;
    *out_rest = n - start - length;
    return NULL;
}

lap_npy *lap_npy_parse(const void *bytes, size_t n, const char *name, lap_fault *fault)
{
    lap_npy *file = calloc(1, sizeof *file);
    if (file) {
        file->name = strdup(name);
    }
    if (!file || !file->name) {
        lap_npy_close(file);
        lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
        return NULL;
    }
    size_t rest = 0;
    const char *wrong = parse(bytes, n, &file->view, &rest);
    if (wrong || rest != file->view.n_bytes) {
        (void)(wrong ? bad(fault, name, wrong)
                     : lap_fault_set(fault, LAP_BAD_INPUT,
                                     "'%s' has %zu bytes of elements, its shape needs %zu", name, rest,
                                     file->view.n_bytes));
        lap_npy_close(file);
        return NULL;
    }
    return file;
}

lap_npy *lap_npy_open(const char *path, lap_fault *fault)
{
    lap_mapping mapping;
    if (!lap_file_map(path, &mapping, fault)) {
        return NULL;
    }
    lap_npy *file = lap_npy_parse(mapping.bytes, mapping.n, path, fault);
    if (!file) {
        lap_file_unmap(&mapping);
        return NULL;
    }
    file->mapping = mapping;
    return file;
}

void lap_npy_close(lap_npy *file)
{
    if (!file) {
        return;
    }
    lap_file_unmap(&file->mapping);
    lap_memory_free(file->converted);
    free(file->name);
    free(file);
}

const lap_tensor_view *lap_npy_view(const lap_npy *file) { return &file->view; }

bool lap_npy_read(lap_npy *file, lap_dtype dtype, lap_tensor *out, lap_fault *fault)
{
    dtype = dtype == LAP_NO_DTYPE ? lap_storage_nearest(file->view.storage) : dtype;
    if (lap_view_as(&file->view, dtype, out)) {
        return true;
    }
    if (!lap_tensor_convert(&file->view, dtype, file->name, out, fault)) {
        return false;
    }
    lap_memory_free(file->converted);
    file->converted = out->data;
    return true;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* The header after its ten first bytes; ends in a line feed that fills a multiple of 64. */
static size_t make_header(const lap_tensor *t, const char *code, char *to, size_t room)
{
    size_t n = (size_t)snprintf(to, room, "{'descr': '%s', 'fortran_order': False, 'shape': (", code);
    for (uint32_t i = 0; i < t->rank; i++) {
        n += (size_t)snprintf(to + n, room - n, i == 0 ? "%lld," : " %lld,", (long long)t->shape[i]);
    }
    n -= t->rank > 1; /* the comma of a tuple of several */
    n += (size_t)snprintf(to + n, room - n, "), }");
    while ((n + 11) % 64 != 0) {
        to[n++] = ' ';
    }
    to[n++] = '\n';
    return n;
}

bool lap_npy_write(const char *path, const lap_tensor *tensor, lap_fault *fault)
{
    const char *code = lap_storage_npy(lap_storage_of(tensor->dtype));
    if (!code[0]) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "cannot write '%s': npy files have no type for %s", path,
                             lap_dtype_text(tensor->dtype));
    }
    size_t count, size;
    if (!lap_tensor_count(tensor, &count) || !lap_dtype_bytes(tensor->dtype, count, &size) ||
        size > tensor->n_bytes) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "tensor for '%s' is larger than its memory", path);
    }
    char header[640];
    size_t n = make_header(tensor, code, header, sizeof header);
    unsigned char front[10] = {[6] = 1};
    memcpy(front, magic, sizeof magic);
    front[8] = (unsigned char)n;
    front[9] = (unsigned char)(n >> 8);
    lap_file_writer w;
    bool ok = lap_file_begin(&w, path, fault) && lap_file_put(&w, front, sizeof front, fault) &&
              lap_file_put(&w, header, n, fault) && lap_file_put(&w, tensor->data, size, fault) &&
              lap_file_commit(&w, fault);
    if (!ok) {
        lap_file_abandon(&w);
    }
    return ok;
}
