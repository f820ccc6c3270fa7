/* SPDX-License-Identifier: Apache-2.0
 * safetensors.c - reads safetensors files; nothing of a file is used before all of it is checked.
 *
 * The bytes of the tensors must cover the rest of the file exactly, without holes or overlaps: no
 * byte of the file is then without meaning, and none has two. */
#include "runtime/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/file.h"
#include "runtime/json.h"

enum { MAX_HEADER = 100 * 1000 * 1000, MAX_TENSORS = 1000 * 1000 };

typedef struct entry {
    const char *name;
    lap_tensor_view view;
    uint64_t begin, end; /* offsets as written */
    void *converted;     /* made by read, or NULL */
} entry;

typedef struct meta_pair {
    const char *key, *value;
} meta_pair;

struct lap_safetensors {
    lap_mapping mapping;
    char *strings; /* all names, as long as the header */
    entry *entries;
    uint32_t *by_name, *by_offset;
    meta_pair *meta;
    size_t n, capacity, n_meta, meta_capacity;
};

typedef struct reader {
    lap_safetensors *file;
    lap_json json;
    char *text; /* where the next string goes */
    const char *path;
    lap_fault *fault;
} reader;

static bool bad(reader *r, const char *what)
{
    return lap_fault_set(r->fault, LAP_BAD_INPUT, "'%s' is not a safetensors file: %s", r->path, what);
}

static bool bad_tensor(reader *r, const char *name, const char *what)
{
    return lap_fault_set(r->fault, LAP_BAD_INPUT, "'%s': tensor '%.200s' %s", r->path, name, what);
}

static bool bad_json(reader *r)
{
    return lap_fault_set(r->fault, LAP_BAD_INPUT, "'%s' is not a safetensors file: header, byte %zu: %s",
                         r->path, (size_t)(r->json.at - r->json.begin), r->json.error);
}

static bool no_memory(reader *r)
{
    return lap_fault_set(r->fault, LAP_BAD_INPUT, "out of memory reading '%s'", r->path);
}

/* Room for one more of `size` bytes. */
static bool grow(void **items, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity) {
        return true;
    }
    size_t wanted = *capacity ? *capacity * 2 : 16;
    void *more = realloc(*items, wanted * size);
    if (!more) {
        return false;
    }
    *items = more;
    *capacity = wanted;
    return true;
}

/* ---- syntax -------------------------------------------------------------------------------- */

static bool read_meta(reader *r)
{
    lap_safetensors *file = r->file;
    if (!lap_json_enter(&r->json, '{')) {
        return bad_json(r);
    }
    while (lap_json_next(&r->json, '{')) {
        void *items = file->meta;
        if (!grow(&items, file->n_meta, &file->meta_capacity, sizeof *file->meta)) {
            return no_memory(r);
        }
        file->meta = items;
        meta_pair *m = &file->meta[file->n_meta];
        if (lap_json_key(&r->json, &r->text, &m->key) && lap_json_string(&r->json, &r->text, &m->value)) {
            file->n_meta++;
        }
    }
    return !r->json.error || bad_json(r);
}

static bool read_dtype(reader *r, entry *e)
{
    const char *text;
    char *mark = r->text;
    if (!lap_json_string(&r->json, &r->text, &text)) {
        return bad_json(r);
    }
    r->text = mark;
    return lap_storage_find(text, strlen(text), &e->view.storage) ||
           bad_tensor(r, e->name, "has an element type that is not known");
}

static bool read_shape(reader *r, entry *e)
{
    if (!lap_json_enter(&r->json, '[')) {
        return bad_json(r);
    }
    while (lap_json_next(&r->json, '[')) {
        uint64_t extent;
        if (!lap_json_uint(&r->json, &extent)) {
            return bad_json(r);
        }
        if (e->view.rank == LAP_MAX_RANK) {
            return bad_tensor(r, e->name, "has more than 16 axes");
        }
        if (extent > (uint64_t)INT64_MAX) {
            return bad_tensor(r, e->name, "has an extent that is too large");
        }
        e->view.shape[e->view.rank++] = (int64_t)extent;
    }
    return !r->json.error || bad_json(r);
}

static bool read_offsets(reader *r, entry *e)
{
    uint64_t *to[2] = {&e->begin, &e->end};
    int n = 0;
    if (!lap_json_enter(&r->json, '[')) {
        return bad_json(r);
    }
    while (lap_json_next(&r->json, '[')) {
        uint64_t value;
        if (!lap_json_uint(&r->json, &value)) {
            return bad_json(r);
        }
        if (n == 2) {
            return bad_tensor(r, e->name, "has more than two offsets");
        }
        *to[n++] = value;
    }
    if (r->json.error) {
        return bad_json(r);
    }
    return n == 2 || bad_tensor(r, e->name, "needs two offsets");
}

typedef struct field {
    const char *key;
    bool (*read)(reader *r, entry *e);
} field;
static const field fields[] = {{"dtype", read_dtype}, {"shape", read_shape}, {"data_offsets", read_offsets}};
enum { N_FIELDS = sizeof fields / sizeof *fields };

static bool read_field(reader *r, entry *e, unsigned *seen)
{
    const char *key;
    char *mark = r->text;
    if (!lap_json_key(&r->json, &r->text, &key)) {
        return bad_json(r);
    }
    r->text = mark;
    for (unsigned i = 0; i < N_FIELDS; i++) {
        if (strcmp(key, fields[i].key) == 0) {
            if (*seen & 1u << i) {
                return bad_tensor(r, e->name, "says the same twice");
            }
            *seen |= 1u << i;
            return fields[i].read(r, e);
        }
    }
    return bad_tensor(r, e->name, "has a field that is not known");
}

static bool read_tensor(reader *r, const char *name)
{
    lap_safetensors *file = r->file;
    if (file->n == MAX_TENSORS) {
        return bad(r, "more than a million tensors");
    }
    void *items = file->entries;
    if (!grow(&items, file->n, &file->capacity, sizeof *file->entries)) {
        return no_memory(r);
    }
    file->entries = items;
    entry *e = &file->entries[file->n];
    *e = (entry){.name = name};
    unsigned seen = 0;
    if (!lap_json_enter(&r->json, '{')) {
        return bad_json(r);
    }
    while (lap_json_next(&r->json, '{')) {
        if (!read_field(r, e, &seen)) {
            return false;
        }
    }
    if (r->json.error) {
        return bad_json(r);
    }
    file->n++;
    return seen == (1u << N_FIELDS) - 1 || bad_tensor(r, name, "needs dtype, shape and data_offsets");
}

static bool read_header(reader *r)
{
    bool has_meta = false;
    if (!lap_json_enter(&r->json, '{')) {
        return bad_json(r);
    }
    while (lap_json_next(&r->json, '{')) {
        const char *name;
        if (!lap_json_key(&r->json, &r->text, &name)) {
            return bad_json(r);
        }
        bool is_meta = strcmp(name, "__metadata__") == 0;
        if (is_meta && has_meta) {
            return bad(r, "metadata is there twice");
        }
        has_meta |= is_meta;
        if (!(is_meta ? read_meta(r) : read_tensor(r, name))) {
            return false;
        }
    }
    return lap_json_finish(&r->json) || bad_json(r);
}

/* ---- meaning ------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b, void *user)
{
    const entry *entries = user;
    return strcmp(entries[*(const uint32_t *)a].name, entries[*(const uint32_t *)b].name);
}

static int compare_offsets(const void *a, const void *b, void *user)
{
    const entry *x = &((const entry *)user)[*(const uint32_t *)a];
    const entry *y = &((const entry *)user)[*(const uint32_t *)b];
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    return x->end < y->end ? -1 : x->end > y->end;
}

static int compare_meta(const void *a, const void *b)
{
    return strcmp(((const meta_pair *)a)->key, ((const meta_pair *)b)->key);
}

static uint32_t *sorted(const lap_safetensors *file, int (*compare)(const void *, const void *, void *))
{
    uint32_t *order = malloc((file->n ? file->n : 1) * sizeof *order);
    for (size_t i = 0; order && i < file->n; i++) {
        order[i] = (uint32_t)i;
    }
    if (order) {
        qsort_r(order, file->n, sizeof *order, compare, file->entries);
    }
    return order;
}

static bool check_names(reader *r)
{
    lap_safetensors *file = r->file;
    for (size_t i = 1; i < file->n; i++) {
        const char *name = file->entries[file->by_name[i]].name;
        if (strcmp(name, file->entries[file->by_name[i - 1]].name) == 0) {
            return bad_tensor(r, name, "is there twice");
        }
    }
    if (file->n_meta > 0) {
        qsort(file->meta, file->n_meta, sizeof *file->meta, compare_meta);
    }
    for (size_t i = 1; i < file->n_meta; i++) {
        if (strcmp(file->meta[i].key, file->meta[i - 1].key) == 0) {
            return bad(r, "a metadata key is there twice");
        }
    }
    return true;
}

/* Sizes match shapes, and the tensors cover `n` bytes in order, exactly. */
static bool check_offsets(reader *r, const unsigned char *bytes, size_t n)
{
    lap_safetensors *file = r->file;
    uint64_t at = 0;
    for (size_t i = 0; i < file->n; i++) {
        entry *e = &file->entries[file->by_offset[i]];
        size_t count, size;
        if (e->end < e->begin || e->end > n) {
            return lap_fault_set(r->fault, LAP_BAD_INPUT,
                                 "'%s': tensor '%.200s' is at bytes %llu to %llu of the %zu there are",
                                 r->path, e->name, (unsigned long long)e->begin, (unsigned long long)e->end,
                                 n);
        }
        if (!lap_shape_count(e->view.rank, e->view.shape, &count) ||
            !lap_storage_bytes(e->view.storage, count, &size)) {
            return bad_tensor(r, e->name, "is too large");
        }
        if (size != e->end - e->begin) {
            return lap_fault_set(r->fault, LAP_BAD_INPUT,
                                 "'%s': tensor '%.200s' has %llu bytes, its shape needs %zu", r->path,
                                 e->name, (unsigned long long)(e->end - e->begin), size);
        }
        if (e->begin != at) {
            return bad_tensor(r, e->name, e->begin < at ? "overlaps another" : "follows a hole");
        }
        at = e->end;
        e->view.data = bytes + e->begin;
        e->view.n_bytes = size;
    }
    return at == n || lap_fault_set(r->fault, LAP_BAD_INPUT,
                                    "'%s' is not a safetensors file: %zu bytes after the last tensor",
                                    r->path, n - (size_t)at);
}

static bool parse(reader *r, const unsigned char *bytes, size_t n)
{
    lap_safetensors *file = r->file;
    if (n < 8) {
        return bad(r, "too short");
    }
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--) {
        header = header << 8 | bytes[i];
    }
    if (header > MAX_HEADER || header > n - 8) {
        return lap_fault_set(r->fault, LAP_BAD_INPUT,
                             "'%s' is not a safetensors file: a header of %llu bytes, with %zu bytes "
                             "in the file (and 100 MB allowed)",
                             r->path, (unsigned long long)header, n - 8);
    }
    file->strings = r->text = malloc((size_t)header + 1);
    if (!r->text) {
        return no_memory(r);
    }
    if (!lap_json_begin(&r->json, bytes + 8, (size_t)header)) {
        return bad_json(r);
    }
    if (header == 0 || bytes[8] != '{') {
        return bad(r, "header does not start with '{'");
    }
    if (!read_header(r)) {
        return false;
    }
    file->by_name = sorted(file, compare_names);
    file->by_offset = sorted(file, compare_offsets);
    if (!file->by_name || !file->by_offset) {
        return no_memory(r);
    }
    return check_names(r) && check_offsets(r, bytes + 8 + header, n - 8 - (size_t)header);
}

/* ---- calls --------------------------------------------------------------------------------- */

lap_safetensors *lap_safetensors_parse(const void *bytes, size_t n, const char *name, lap_fault *fault)
{
    lap_safetensors *file = calloc(1, sizeof *file);
    reader r = {.file = file, .path = name, .fault = fault};
    if (!file) {
        no_memory(&r);
        return NULL;
    }
    if (!parse(&r, bytes, n)) {
        lap_safetensors_close(file);
        return NULL;
    }
    return file;
}

lap_safetensors *lap_safetensors_open(const char *path, lap_fault *fault)
{
    lap_mapping mapping;
    if (!lap_file_map(path, &mapping, fault)) {
        return NULL;
    }
    lap_safetensors *file = lap_safetensors_parse(mapping.bytes, mapping.n, path, fault);
    if (!file) {
        lap_file_unmap(&mapping);
        return NULL;
    }
    file->mapping = mapping;
    return file;
}

void lap_safetensors_close(lap_safetensors *file)
{
    if (!file) {
        return;
    }
    for (size_t i = 0; i < file->n; i++) {
        lap_memory_free(file->entries[i].converted);
    }
    lap_file_unmap(&file->mapping);
    free(file->strings);
    free(file->entries);
    free(file->by_name);
    free(file->by_offset);
    free(file->meta);
    free(file);
}

uint32_t lap_safetensors_n(const lap_safetensors *file) { return (uint32_t)file->n; }

const char *lap_safetensors_name(const lap_safetensors *file, uint32_t i) { return file->entries[i].name; }

const lap_tensor_view *lap_safetensors_at(const lap_safetensors *file, uint32_t i)
{
    return &file->entries[i].view;
}

const lap_tensor_view *lap_safetensors_find(const lap_safetensors *file, const char *name)
{
    size_t low = 0, high = file->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const entry *e = &file->entries[file->by_name[middle]];
        int order = strcmp(name, e->name);
        if (order == 0) {
            return &e->view;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

bool lap_safetensors_read(lap_safetensors *file, uint32_t i, lap_dtype dtype, lap_tensor *out,
                          lap_fault *fault)
{
    entry *e = &file->entries[i];
    dtype = dtype == LAP_NO_DTYPE ? lap_storage_nearest(e->view.storage) : dtype;
    if (lap_view_as(&e->view, dtype, out)) {
        return true;
    }
    if (!lap_tensor_convert(&e->view, dtype, e->name, out, fault)) {
        return false;
    }
    lap_memory_free(e->converted);
    e->converted = out->data;
    return true;
}

uint32_t lap_safetensors_n_meta(const lap_safetensors *file) { return (uint32_t)file->n_meta; }

const char *lap_safetensors_meta_key(const lap_safetensors *file, uint32_t i) { return file->meta[i].key; }

const char *lap_safetensors_meta(const lap_safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->n_meta; i++) {
        if (strcmp(file->meta[i].key, key) == 0) {
            return file->meta[i].value;
        }
    }
    return NULL;
}
