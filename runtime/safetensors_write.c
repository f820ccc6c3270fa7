/* SPDX-License-Identifier: Apache-2.0
 * safetensors_write.c - writes safetensors files.
 *
 * Tensors are laid out widest element first, so that every one is aligned in the file; the header
 * is padded so that the first one is. Equal calls write equal bytes. */
#include "runtime/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/file.h"
#include "runtime/json.h"

typedef struct text {
    char *at;
    size_t n, capacity;
    bool failed;
} text;

static void put(text *t, const char *bytes, size_t n)
{
    if (t->failed || n == 0) {
        return;
    }
    if (n > t->capacity - t->n) {
        size_t wanted = (t->n + n) * 2 + 256;
        char *more = realloc(t->at, wanted);
        if (!more) {
            t->failed = true;
            return;
        }
        t->at = more;
        t->capacity = wanted;
    }
    memcpy(t->at + t->n, bytes, n);
    t->n += n;
}

static void put_text(text *t, const char *string) { put(t, string, strlen(string)); }

static void put_number(text *t, uint64_t value)
{
    char digits[24];
    put(t, digits, (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)value));
}

static void put_quoted(text *t, const char *string)
{
    put(t, "\"", 1);
    for (const char *c = string; *c; c++) {
        char escaped[8];
        if (*c == '"' || *c == '\\') {
            put(t, (char[]){'\\', *c}, 2);
        } else if ((unsigned char)*c < 0x20) {
            put(t, escaped,
                (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)(unsigned char)*c));
        } else {
            put(t, c, 1);
        }
    }
    put(t, "\"", 1);
}

typedef struct job {
    uint32_t n;
    const char *const *names;
    const lap_tensor *tensors;
    const char *const *meta;
    uint32_t *order;
    size_t *begin; /* by tensor, n_bytes to go with it */
    size_t *size;
} job;

static bool check_text(const char *string, lap_fault *fault)
{
    return lap_utf8_valid(string, strlen(string)) ||
           lap_fault_set(fault, LAP_BAD_INPUT, "a name for a safetensors file is not UTF-8");
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool names_differ(const job *j, lap_fault *fault)
{
    const char **sorted = malloc((j->n ? j->n : 1) * sizeof *sorted);
    if (!sorted) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    }
    const char *twice = NULL;
    for (uint32_t i = 0; i < j->n; i++) {
        sorted[i] = j->names[i];
    }
    qsort(sorted, j->n, sizeof *sorted, compare_names);
    for (uint32_t i = 1; i < j->n; i++) {
        twice = strcmp(sorted[i], sorted[i - 1]) == 0 ? sorted[i] : twice;
    }
    bool ok = !twice || lap_fault_set(fault, LAP_BAD_INPUT, "two tensors to write are named '%s'", twice);
    free(sorted);
    return ok;
}

static bool check(const job *j, lap_fault *fault)
{
    for (const char *const *m = j->meta; m && *m; m++) {
        if (!check_text(*m, fault)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < j->n; i++) {
        const lap_tensor *t = &j->tensors[i];
        size_t count;
        if (!check_text(j->names[i], fault)) {
            return false;
        }
        if (!lap_tensor_count(t, &count) || !lap_dtype_bytes(t->dtype, count, &j->size[i]) ||
            j->size[i] > t->n_bytes) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "tensor '%s' is larger than its memory", j->names[i]);
        }
    }
    return names_differ(j, fault);
}

/* Places the tensors: stable, by falling width. */
static void place(job *j)
{
    size_t at = 0;
    uint32_t k = 0;
    for (unsigned bits = 64; bits > 0; bits /= 2) {
        for (uint32_t i = 0; i < j->n; i++) {
            if (lap_dtype_bits(j->tensors[i].dtype) == bits) {
                j->order[k++] = i;
                j->begin[i] = at;
                at += j->size[i];
            }
        }
    }
}

static void put_header(const job *j, text *t)
{
    put_text(t, "{");
    if (j->meta && *j->meta) {
        put_text(t, "\"__metadata__\":{");
        for (const char *const *m = j->meta; *m; m += 2) {
            put_text(t, m == j->meta ? "" : ",");
            put_quoted(t, m[0]);
            put_text(t, ":");
            put_quoted(t, m[1] ? m[1] : "");
            if (!m[1]) {
                break;
            }
        }
        put_text(t, j->n ? "}," : "}");
    }
    for (uint32_t k = 0; k < j->n; k++) {
        uint32_t i = j->order[k];
        const lap_tensor *x = &j->tensors[i];
        put_text(t, k ? "," : "");
        put_quoted(t, j->names[i]);
        put_text(t, ":{\"dtype\":");
        put_quoted(t, lap_dtype_tensor_name(x->dtype));
        put_text(t, ",\"shape\":[");
        for (uint32_t a = 0; a < x->rank; a++) {
            put_text(t, a ? "," : "");
            put_number(t, (uint64_t)x->shape[a]);
        }
        put_text(t, "],\"data_offsets\":[");
        put_number(t, j->begin[i]);
        put_text(t, ",");
        put_number(t, j->begin[i] + j->size[i]);
        put_text(t, "]}");
    }
    put_text(t, "}");
    while (t->n % 8 != 0 && !t->failed) {
        put_text(t, " ");
    }
}

static bool put_file(const job *j, const text *header, lap_file_writer *w, lap_fault *fault)
{
    unsigned char size[8];
    for (int i = 0; i < 8; i++) {
        size[i] = (unsigned char)((uint64_t)header->n >> (8 * i));
    }
    if (!lap_file_put(w, size, 8, fault) || !lap_file_put(w, header->at, header->n, fault)) {
        return false;
    }
    for (uint32_t k = 0; k < j->n; k++) {
        uint32_t i = j->order[k];
        if (!lap_file_put(w, j->tensors[i].data, j->size[i], fault)) {
            return false;
        }
    }
    return lap_file_commit(w, fault);
}

static bool write_job(job *j, const char *path, lap_fault *fault)
{
    if (!check(j, fault)) {
        return false;
    }
    place(j);
    text header = {0};
    put_header(j, &header);
    if (header.failed) {
        free(header.at);
        return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    }
    lap_file_writer w;
    bool ok = lap_file_begin(&w, path, fault) && put_file(j, &header, &w, fault);
    if (!ok) {
        lap_file_abandon(&w);
    }
    free(header.at);
    return ok;
}

bool lap_safetensors_write(const char *path, uint32_t n, const char *const *names, const lap_tensor *tensors,
                           const char *const *meta, lap_fault *fault)
{
    size_t room = n ? n : 1;
    job j = {n,
             names,
             tensors,
             meta,
             malloc(room * sizeof *j.order),
             malloc(room * sizeof *j.begin),
             malloc(room * sizeof *j.size)};
    bool ok = j.order && j.begin && j.size ? write_job(&j, path, fault)
                                           : lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    free(j.order);
    free(j.begin);
    free(j.size);
    return ok;
}
