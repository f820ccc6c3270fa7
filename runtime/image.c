/* SPDX-License-Identifier: Apache-2.0
 * image.c - reads a program image. Every read is checked against the end; every table's length is
 * checked against the bytes that are left before memory is taken for it. */
#include "runtime/image.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/foreign.h"
#include "runtime/view.h"

typedef struct reader {
    const unsigned char *bytes;
    size_t at, end;
    const char *wrong; /* the first mistake, or NULL */
    lap_image *image;
} reader;

static void fail(reader *r, const char *wrong)
{
    if (!r->wrong) {
        r->wrong = wrong;
        r->at = r->end;
    }
}

static uint32_t word(reader *r)
{
    if (r->end - r->at < 4) {
        fail(r, "ends too early");
        return 0;
    }
    const unsigned char *p = r->bytes + r->at;
    r->at += 4;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t word_below(reader *r, uint32_t limit)
{
    uint32_t value = word(r);
    if (value >= limit) {
        fail(r, "has a number out of range");
        return 0;
    }
    return value;
}

/* n bytes after padding to `align`, which is a power of two. */
static const void *span(reader *r, size_t n, size_t align)
{
    size_t start = (r->at + align - 1) & ~(align - 1);
    if (r->wrong || start > r->end || n > r->end - start) {
        fail(r, "ends too early");
        return NULL;
    }
    r->at = start + n;
    return r->bytes + start;
}

static const char *string(reader *r)
{
    size_t n = word(r);
    const char *text = span(r, n + 1, 1);
    span(r, 0, 4);
    if (r->wrong || memchr(text, 0, n + 1) != text + n) {
        fail(r, "has a string that does not end");
        return "";
    }
    return text;
}

/* n words, each below `limit`. */
static const uint32_t *numbers(reader *r, uint32_t n, uint32_t limit)
{
    const uint32_t *at = span(r, (size_t)n * 4, 4);
    for (uint32_t i = 0; at && i < n; i++) {
        if (at[i] >= limit) {
            fail(r, "has a number out of range");
            return NULL;
        }
    }
    return at;
}

/* A table of n records, each of which takes at least `least` bytes of the image. */
static void *table(reader *r, uint32_t n, size_t size, size_t least)
{
    if (r->wrong || n > (r->end - r->at) / least) {
        fail(r, "ends too early");
        return NULL;
    }
    void *items = calloc(n ? n : 1, size);
    if (!items) {
        fail(r, "needs more memory than there is");
    }
    return items;
}

/* ---- extents ------------------------------------------------------------------------------- */

typedef struct dim_op {
    int n_in;
    bool has_operand;
} dim_op;

static const dim_op dim_ops[] = {
    [LAP_DIM_CONST] = {0, true},  [LAP_DIM_SYMBOL] = {0, true}, [LAP_DIM_ADD] = {2, false},
    [LAP_DIM_SUB] = {2, false},   [LAP_DIM_MUL] = {2, false},   [LAP_DIM_EXACT] = {2, false},
    [LAP_DIM_FLOOR] = {2, false}, [LAP_DIM_MIN] = {2, false},   [LAP_DIM_MAX] = {2, false},
    [LAP_DIM_TRUNC] = {1, true},
};

/* The code leaves one value and never holds more than the stack. */
static bool is_code(const lap_image_dim *d, uint32_t n_symbols)
{
    int depth = 0;
    for (uint32_t i = 0; i < d->n_words; i++) {
        int64_t op = d->words[i];
        if (op < 0 || op > LAP_DIM_TRUNC || depth < dim_ops[op].n_in) {
            return false;
        }
        depth += 1 - dim_ops[op].n_in;
        if (depth > LAP_EXTENT_STACK) {
            return false;
        }
        if (dim_ops[op].has_operand && ++i == d->n_words) {
            return false;
        }
        if (op == LAP_DIM_SYMBOL && (d->words[i] < 0 || d->words[i] >= n_symbols)) {
            return false;
        }
    }
    return depth == 1;
}

static void read_dims(reader *r)
{
    lap_image *image = r->image;
    image->dims = table(r, image->n_dims, sizeof *image->dims, 12);
    for (uint32_t i = 0; !r->wrong && i < image->n_dims; i++) {
        lap_image_dim *d = &image->dims[i];
        d->text = string(r);
        d->n_words = word(r);
        d->words = span(r, (size_t)d->n_words * 8, 8);
        if (!r->wrong && !is_code(d, image->n_symbols)) {
            fail(r, "has an extent whose code is wrong");
        }
    }
}

/* ---- the other tables ---------------------------------------------------------------------- */

static void read_symbols(reader *r)
{
    lap_image *image = r->image;
    image->symbols = table(r, image->n_symbols, sizeof *image->symbols, 8);
    for (uint32_t i = 0; !r->wrong && i < image->n_symbols; i++) {
        image->symbols[i] = string(r);
    }
}

static void read_leaves(reader *r, lap_leaf_kind kind)
{
    lap_image *image = r->image;
    uint32_t n = image->n_leaves[kind];
    image->leaves[kind] = table(r, n, sizeof(lap_image_leaf), 28);
    for (uint32_t i = 0; !r->wrong && i < n; i++) {
        lap_image_leaf *leaf = &image->leaves[kind][i];
        leaf->name = string(r);
        leaf->dtype = (lap_dtype)word_below(r, LAP_N_DTYPES);
        leaf->rank = word_below(r, LAP_MAX_RANK + 1);
        leaf->is_optional = word_below(r, 2);
        leaf->place = string(r);
        leaf->shape = numbers(r, leaf->rank, image->n_dims);
        leaf->crop = numbers(r, leaf->rank, kind == LAP_LEAF_OUTPUT ? image->n_buffers + 1 : 1);
    }
}

static void read_buffers(reader *r)
{
    static const int leaf_kinds[] = {
        [LAP_BUF_INPUT] = LAP_LEAF_INPUT,
        [LAP_BUF_WEIGHT] = LAP_LEAF_WEIGHT,
        [LAP_BUF_CONST] = -1,
        [LAP_BUF_TEMP] = -1,
        [LAP_BUF_PACKED] = -1,
        [LAP_BUF_OUTPUT] = LAP_LEAF_OUTPUT,
    };
    lap_image *image = r->image;
    image->buffers = table(r, image->n_buffers, sizeof *image->buffers, 28);
    for (uint32_t i = 0; !r->wrong && i < image->n_buffers; i++) {
        lap_image_buffer *b = &image->buffers[i];
        b->kind = (lap_buffer_kind)word_below(r, LAP_BUF_OUTPUT + 1);
        b->dtype = (lap_dtype)word_below(r, LAP_N_DTYPES);
        b->count = word_below(r, image->n_dims);
        b->leaf = word(r);
        b->first = word(r);
        b->last = word(r);
        b->n_bytes = word(r);
        b->bytes = span(r, b->n_bytes, 8);
        int kind = leaf_kinds[b->kind];
        if (kind >= 0 && b->leaf >= image->n_leaves[kind]) {
            fail(r, "has a buffer of no tensor");
        } else if (b->first > b->last) {
            fail(r, "has a buffer that ends before it begins");
        }
    }
}

static void read_kernels(reader *r)
{
    lap_image *image = r->image;
    image->kernels = table(r, image->n_kernels, sizeof *image->kernels, 28);
    for (uint32_t i = 0; !r->wrong && i < image->n_kernels; i++) {
        lap_image_kernel *k = &image->kernels[i];
        k->name = string(r);
        k->place = string(r);
        k->grid = word_below(r, image->n_dims);
        k->scratch = word_below(r, image->n_dims);
        k->cost = word_below(r, image->n_dims);
        k->n_dims = word(r);
        k->dims = numbers(r, k->n_dims, image->n_dims);
    }
}

/* A buffer that a step reads or writes by itself: one element at least of this type. */
static int32_t cell(reader *r, lap_dtype dtype)
{
    uint32_t value = word_below(r, r->image->n_buffers + 1);
    if (!r->wrong && value > 0 && r->image->buffers[value - 1].dtype != dtype) {
        fail(r, "has a step whose counter or test has a wrong type");
    }
    return (int32_t)value - 1;
}

static bool is_writable(const lap_image *image, uint32_t buffer)
{
    lap_buffer_kind kind = image->buffers[buffer].kind;
    return kind == LAP_BUF_TEMP || kind == LAP_BUF_PACKED || kind == LAP_BUF_OUTPUT;
}

/* The words of a foreign step's operands and results. */
static bool is_use(const lap_image *image, const lap_image_step *s, uint32_t n_words)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < s->n_inputs + s->n_outputs; i++) {
        if (n_words - at < 2) {
            return false;
        }
        uint32_t buffer = s->operands[at], rank = s->operands[at + 1];
        bool is_input = i < s->n_inputs;
        if (buffer > image->n_buffers || rank > LAP_MAX_RANK || rank > n_words - at - 2 ||
            (buffer == 0 && is_input)) {
            return false;
        }
        if (buffer > 0 &&
            (image->buffers[buffer - 1].dtype == LAP_I4 || !(is_input || is_writable(image, buffer - 1)))) {
            return false;
        }
        for (uint32_t axis = 0; axis < rank; axis++) {
            if (s->operands[at + 2 + axis] >= image->n_dims) {
                return false;
            }
        }
        at += 2 + rank;
    }
    return at == n_words;
}

static bool read_foreign(reader *r, lap_image_step *s)
{
    s->name = string(r);
    s->place = string(r);
    s->n_inputs = word_below(r, LAP_FOREIGN_MAX_OPERANDS + 1);
    s->n_outputs = word_below(r, LAP_FOREIGN_MAX_OPERANDS + 1);
    uint32_t n_words = word(r);
    s->operands = span(r, (size_t)n_words * 4, 4);
    return r->wrong || is_use(r->image, s, n_words);
}

static void read_step(reader *r, lap_image_step *s)
{
    lap_image *image = r->image;
    s->kind = (lap_step_kind)word_below(r, LAP_STEP_FOREIGN + 1);
    s->on_load = word_below(r, 2);
    s->kernel = word(r);
    s->limit = word(r);
    s->counter = cell(r, LAP_I64);
    s->test = cell(r, LAP_BOOL);
    s->reverse = word_below(r, 2);
    s->n_test = word(r);
    s->body = word(r);
    s->n_body = word(r);
    s->other = word(r);
    s->n_other = word(r);
    s->from = word(r);
    s->to = word(r);
    s->n_buffers = word(r);
    s->buffers = numbers(r, s->n_buffers, image->n_buffers);
    if (r->wrong) {
        return;
    }
    bool nests = s->kind == LAP_STEP_LOOP || s->kind == LAP_STEP_BRANCH;
    bool ok = true;
    if (!nests && (s->n_body > 0 || s->n_other > 0)) {
        ok = false;
    } else if (s->kind == LAP_STEP_LAUNCH) {
        ok = s->kernel < image->n_kernels;
    } else if (s->kind == LAP_STEP_LOOP) {
        ok = s->limit < image->n_dims && s->n_test <= s->n_body && s->n_other == 0 &&
             (s->counter < 0 || is_writable(image, (uint32_t)s->counter));
    } else if (s->kind == LAP_STEP_BRANCH) {
        ok = s->test >= 0;
    } else if (s->kind == LAP_STEP_FOREIGN) {
        ok = read_foreign(r, s);
    } else {
        ok = s->from < image->n_buffers && s->to < image->n_buffers && is_writable(image, s->to) &&
             image->buffers[s->from].dtype == image->buffers[s->to].dtype;
    }
    if (!ok) {
        fail(r, "has a step that makes no sense");
    }
}

/* A nested list lies behind its step and is the next one in order: then the steps form a tree. */
static void claim(reader *r, uint32_t step, uint32_t first, uint32_t n, uint8_t *depth)
{
    if (n == 0) {
        return;
    }
    if (first <= step || first > r->image->n_steps || n > r->image->n_steps - first ||
        depth[step] >= LAP_STEP_DEPTH) {
        fail(r, "has steps out of order or nested too deeply");
        return;
    }
    for (uint32_t i = first; i < first + n; i++) {
        if (depth[i] != 0) {
            fail(r, "has a step in two lists");
            return;
        }
        depth[i] = (uint8_t)(depth[step] + 1);
    }
}

static void check_tree(reader *r)
{
    lap_image *image = r->image;
    uint8_t *depth = calloc(image->n_steps + 1u, 1);
    if (!depth) {
        fail(r, "needs more memory than there is");
        return;
    }
    memset(depth, 1, image->n_top);
    for (uint32_t i = 0; !r->wrong && i < image->n_steps; i++) {
        const lap_image_step *s = &image->steps[i];
        if (depth[i] == 0) {
            fail(r, "has a step in no list");
        } else {
            claim(r, i, s->body, s->n_body, depth);
            claim(r, i, s->other, s->n_other, depth);
        }
    }
    free(depth);
}

static void read_steps(reader *r)
{
    lap_image *image = r->image;
    image->steps = table(r, image->n_steps, sizeof *image->steps, 60);
    for (uint32_t i = 0; !r->wrong && i < image->n_steps; i++) {
        read_step(r, &image->steps[i]);
    }
    if (!r->wrong) {
        check_tree(r);
    }
}

static void read_checks(reader *r)
{
    lap_image *image = r->image;
    image->checks = table(r, image->n_checks, sizeof *image->checks, 28);
    for (uint32_t i = 0; !r->wrong && i < image->n_checks; i++) {
        lap_image_check *c = &image->checks[i];
        c->a = word_below(r, image->n_dims);
        c->rel = (lap_image_rel)word_below(r, LAP_N_IMAGE_RELS);
        c->b = word_below(r, image->n_dims);
        c->message = string(r);
        c->place = string(r);
    }
    image->messages = table(r, image->n_messages, sizeof *image->messages, 16);
    for (uint32_t i = 0; !r->wrong && i < image->n_messages; i++) {
        image->messages[i].text = string(r);
        image->messages[i].place = string(r);
    }
}

/* Output extents that are decided at run time come from an i64 buffer. */
static void check_crops(reader *r)
{
    const lap_image *image = r->image;
    for (uint32_t i = 0; !r->wrong && i < image->n_leaves[LAP_LEAF_OUTPUT]; i++) {
        const lap_image_leaf *leaf = &image->leaves[LAP_LEAF_OUTPUT][i];
        for (uint32_t axis = 0; axis < leaf->rank; axis++) {
            uint32_t crop = leaf->crop[axis];
            if (crop > 0 && image->buffers[crop - 1].dtype != LAP_I64) {
                fail(r, "has an output bounded by a buffer of a wrong type");
            }
        }
    }
}

static void read_header(reader *r, size_t n)
{
    lap_image *image = r->image;
    if (word(r) != LAP_IMAGE_MAGIC) {
        fail(r, "has no signature");
    }
    if (word(r) != LAP_IMAGE_VERSION) {
        fail(r, "has another version");
    }
    if (word(r) != n) {
        fail(r, "has another size than it says");
    }
    uint32_t *const counts[] = {&image->n_symbols,   &image->n_dims,      &image->n_leaves[0],
                                &image->n_leaves[1], &image->n_leaves[2], &image->n_buffers,
                                &image->n_kernels,   &image->n_steps,     &image->n_top,
                                &image->n_checks,    &image->n_messages};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        *counts[i] = word_below(r, 1u << 30);
    }
    if (image->n_top > image->n_steps) {
        fail(r, "has a number out of range");
    }
    image->name = string(r);
}

static void read_all(reader *r, size_t n)
{
    read_header(r, n);
    read_symbols(r);
    read_dims(r);
    for (int kind = 0; kind < LAP_N_LEAF_KINDS; kind++) {
        read_leaves(r, (lap_leaf_kind)kind);
    }
    read_buffers(r);
    read_kernels(r);
    read_steps(r);
    read_checks(r);
    check_crops(r);
    if (!r->wrong && r->at != r->end) {
        fail(r, "has bytes after its end");
    }
}

bool lap_image_open(lap_image *image, const void *bytes, size_t n, lap_fault *fault)
{
    *image = (lap_image){0};
    if ((uintptr_t)bytes % 8 != 0) {
        image->copy = lap_memory_new(n);
        if (!image->copy) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
        }
        bytes = memcpy(image->copy, bytes, n);
    }
    reader r = {.bytes = bytes, .end = n, .image = image};
    read_all(&r, n);
    if (r.wrong) {
        lap_image_close(image);
        return lap_fault_set(fault, LAP_BAD_INPUT, "the program image %s", r.wrong);
    }
    return true;
}

void lap_image_close(lap_image *image)
{
    free(image->symbols);
    free(image->dims);
    for (int kind = 0; kind < LAP_N_LEAF_KINDS; kind++) {
        free(image->leaves[kind]);
    }
    free(image->buffers);
    free(image->kernels);
    free(image->steps);
    free(image->checks);
    free(image->messages);
    lap_memory_free(image->copy);
    *image = (lap_image){0};
}
