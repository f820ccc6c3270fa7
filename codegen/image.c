/* SPDX-License-Identifier: Apache-2.0
 * image.c - writes a program as the image that the runtime reads.
 *
 * The tables of symbols and extents stand before everything that refers to them, so the image is
 * written twice: the first time only to number them. */
#include "codegen/image.h"

#include <string.h>

#include "codegen/image_kernel.h"
#include "runtime/program.h"

typedef struct bytes {
    unsigned char *at;
    size_t n, capacity;
} bytes;

typedef struct dim_entry {
    lap_dim dim;
    int64_t *words;
    size_t n, capacity;
} dim_entry;

typedef struct writer {
    const lap_program *p;
    lap_ctx *ctx;
    lap_arena *arena;
    bytes out;
    lap_name *symbols;
    size_t n_symbols, symbol_capacity;
    dim_entry *dims;
    size_t n_dims, dim_capacity;
    uint32_t *dim_numbers; /* by id of the extent, number + 1 */
    size_t n_dim_numbers, dim_numbers_capacity;
    const lap_step **steps; /* in image order */
    uint32_t *first_body, *first_other;
    size_t n_steps, step_capacity;
    lap_image_messages messages;
    const lap_image_life *lives;
    const lap_kernel_dims *kernel_dims; /* NULL: those of the kernel functions */
} writer;

/* ---- bytes --------------------------------------------------------------------------------- */

static void put(writer *w, const void *data, size_t n)
{
    lap_arena_grow(w->arena, &w->out.at, w->out.n, n, &w->out.capacity, 1);
    if (n > 0) {
        memcpy(w->out.at + w->out.n, data, n);
    }
    w->out.n += n;
}

static void put_word(writer *w, uint32_t value)
{
    unsigned char le[4] = {(unsigned char)value, (unsigned char)(value >> 8), (unsigned char)(value >> 16),
                           (unsigned char)(value >> 24)};
    put(w, le, sizeof le);
}

static void align(writer *w, size_t to)
{
    static const unsigned char zeros[8];
    put(w, zeros, (to - w->out.n % to) % to);
}

static void put_wide(writer *w, int64_t value)
{
    put_word(w, (uint32_t)((uint64_t)value & 0xffffffffu));
    put_word(w, (uint32_t)((uint64_t)value >> 32));
}

static void put_string(writer *w, const char *text)
{
    size_t n = strlen(text);
    put_word(w, (uint32_t)n);
    put(w, text, n + 1);
    align(w, 4);
}

static void put_place(writer *w, lap_loc loc) { put_string(w, loc.ix ? lap_loc_show(w->ctx, loc) : ""); }

/* ---- extents ------------------------------------------------------------------------------- */

static uint32_t symbol_number(void *user, lap_name name)
{
    writer *w = user;
    for (size_t i = 0; i < w->n_symbols; i++) {
        if (lap_name_same(w->symbols[i], name)) {
            return (uint32_t)i;
        }
    }
    lap_arena_grow(w->arena, &w->symbols, w->n_symbols, 1, &w->symbol_capacity, sizeof *w->symbols);
    w->symbols[w->n_symbols] = name;
    return (uint32_t)w->n_symbols++;
}

static void put_code(void *user, int64_t word)
{
    writer *w = user;
    dim_entry *d = &w->dims[w->n_dims - 1];
    lap_arena_grow(w->arena, &d->words, d->n, 1, &d->capacity, sizeof *d->words);
    d->words[d->n++] = word;
}

static uint32_t dim_number(writer *w, lap_dim d)
{
    if (d.ix >= w->n_dim_numbers) {
        size_t more = d.ix + 1 - w->n_dim_numbers;
        lap_arena_grow(w->arena, &w->dim_numbers, w->n_dim_numbers, more, &w->dim_numbers_capacity,
                       sizeof *w->dim_numbers);
        memset(w->dim_numbers + w->n_dim_numbers, 0, more * sizeof *w->dim_numbers);
        w->n_dim_numbers += more;
    }
    if (w->dim_numbers[d.ix] == 0) {
        lap_arena_grow(w->arena, &w->dims, w->n_dims, 1, &w->dim_capacity, sizeof *w->dims);
        w->dims[w->n_dims++] = (dim_entry){.dim = d};
        lap_dim_encode(w->ctx, d, symbol_number, put_code, w);
        w->dim_numbers[d.ix] = (uint32_t)w->n_dims;
    }
    return w->dim_numbers[d.ix] - 1;
}

static void put_dim(writer *w, lap_dim d) { put_word(w, dim_number(w, d)); }

static void put_dims(writer *w)
{
    for (size_t i = 0; i < w->n_dims; i++) {
        put_string(w, lap_dim_show(w->ctx, w->dims[i].dim));
        put_word(w, (uint32_t)w->dims[i].n);
        align(w, 8);
        for (size_t k = 0; k < w->dims[i].n; k++) {
            put_wide(w, w->dims[i].words[k]);
        }
    }
}

/* ---- tables -------------------------------------------------------------------------------- */

static void put_leaves(writer *w, uint32_t n, const lap_leaf *leaves)
{
    for (uint32_t i = 0; i < n; i++) {
        const lap_leaf *leaf = &leaves[i];
        put_string(w, lap_text(w->ctx, leaf->name));
        put_word(w, leaf->dtype);
        put_word(w, leaf->rank);
        put_word(w, leaf->is_optional);
        put_place(w, leaf->loc);
        for (uint32_t axis = 0; axis < leaf->rank; axis++) {
            put_dim(w, leaf->shape[axis]);
        }
        for (uint32_t axis = 0; axis < leaf->rank; axis++) {
            put_word(w, leaf->crop && leaf->crop[axis] >= 0 ? (uint32_t)leaf->crop[axis] + 1 : 0);
        }
    }
}

static void put_buffers(writer *w)
{
    for (uint32_t i = 0; i < w->p->n_buffers; i++) {
        const lap_buffer *b = &w->p->buffers[i];
        const lap_image_life *life = &w->lives[i];
        bool is_temp = b->kind == LAP_BUF_TEMP && !life->keeps;
        size_t n = b->kind == LAP_BUF_CONST ? b->n_bytes : 0;
        put_word(w, b->kind == LAP_BUF_TEMP && life->keeps ? LAP_BUF_PACKED : b->kind);
        put_word(w, b->elem);
        put_dim(w, b->count);
        put_word(w, b->leaf);
        put_word(w, is_temp ? life->first : 0);
        put_word(w, is_temp ? life->last : 0);
        LAP_ENSURE(n <= UINT32_MAX);
        put_word(w, (uint32_t)n);
        align(w, 8);
        put(w, b->bytes, n);
    }
}

static void put_kernels(writer *w)
{
    for (uint32_t k = 0; k < w->p->n_kernels; k++) {
        lap_kernel_dims dims = w->kernel_dims ? w->kernel_dims[k] : lap_kernel_dims_of(w->p, k);
        lap_image_grid grid = lap_image_grid_of(w->p, k);
        put_string(w, w->p->kernels[k].name);
        put_place(w, w->p->kernels[k].loc);
        put_dim(w, grid.extent);
        put_dim(w, lap_kernel_scratch_of(w->p, k).total);
        put_dim(w, grid.cost);
        put_word(w, dims.n);
        for (uint32_t i = 0; i < dims.n; i++) {
            put_dim(w, dims.at[i]);
        }
    }
}

static size_t append_list(writer *w, const lap_step *steps, uint32_t n)
{
    size_t first = w->n_steps;
    lap_arena_grow(w->arena, &w->steps, w->n_steps, n, &w->step_capacity, sizeof(const lap_step *));
    for (uint32_t i = 0; i < n; i++) {
        w->steps[w->n_steps++] = &steps[i];
    }
    return first;
}

static uint32_t count_steps(const lap_step *steps, uint32_t n)
{
    uint32_t count = n;
    for (uint32_t i = 0; i < n; i++) {
        count += count_steps(steps[i].body, steps[i].n_body) + count_steps(steps[i].other, steps[i].n_other);
    }
    return count;
}

/* Numbers all steps: the top list first, then the lists of each step in turn. */
static void order_steps(writer *w)
{
    uint32_t n = count_steps(w->p->steps, w->p->n_steps);
    w->first_body = lap_arena_array(w->arena, (size_t)n + 1, sizeof *w->first_body);
    w->first_other = lap_arena_array(w->arena, (size_t)n + 1, sizeof *w->first_other);
    append_list(w, w->p->steps, w->p->n_steps);
    for (size_t i = 0; i < w->n_steps; i++) {
        const lap_step *s = w->steps[i];
        w->first_body[i] = (uint32_t)append_list(w, s->body, s->n_body);
        w->first_other[i] = (uint32_t)append_list(w, s->other, s->n_other);
    }
}

static void put_foreign(writer *w, const lap_foreign_use *use)
{
    uint32_t n = use->n_inputs + use->n_outputs, n_words = 0;
    for (uint32_t i = 0; i < n; i++) {
        n_words += 2 + use->operands[i].rank;
    }
    put_string(w, lap_text(w->ctx, use->name));
    put_place(w, use->loc);
    put_word(w, use->n_inputs);
    put_word(w, use->n_outputs);
    put_word(w, n_words);
    for (uint32_t i = 0; i < n; i++) {
        const lap_foreign_operand *o = &use->operands[i];
        put_word(w, (uint32_t)(o->buffer + 1));
        put_word(w, o->rank);
        for (uint32_t axis = 0; axis < o->rank; axis++) {
            put_dim(w, o->shape[axis]);
        }
    }
}

static void put_step(writer *w, size_t i)
{
    const lap_step *s = w->steps[i];
    bool is_launch = s->kind == LAP_STEP_LAUNCH, is_loop = s->kind == LAP_STEP_LOOP,
         is_copy = s->kind == LAP_STEP_COPY;
    bool nests = is_loop || s->kind == LAP_STEP_BRANCH;
    put_word(w, s->kind);
    put_word(w, s->on_load);
    put_word(w, is_launch ? s->launch.kernel : 0);
    put_word(w, is_loop ? dim_number(w, s->limit) : 0);
    put_word(w, is_loop ? (uint32_t)(s->counter + 1) : 0);
    put_word(w, nests ? (uint32_t)(s->test + 1) : 0);
    put_word(w, is_loop && s->reverse);
    put_word(w, is_loop ? s->n_test : 0);
    put_word(w, nests && s->n_body ? w->first_body[i] : 0);
    put_word(w, nests ? s->n_body : 0);
    put_word(w, nests && s->n_other ? w->first_other[i] : 0);
    put_word(w, nests ? s->n_other : 0);
    put_word(w, is_copy ? s->from : 0);
    put_word(w, is_copy ? s->to : 0);
    put_word(w, is_launch ? s->launch.n_buffers : 0);
    for (uint32_t b = 0; is_launch && b < s->launch.n_buffers; b++) {
        put_word(w, s->launch.buffers[b]);
    }
    if (s->kind == LAP_STEP_FOREIGN) {
        put_foreign(w, s->foreign);
    }
}

_Static_assert(LAP_REL_EQ == 0 && LAP_REL_NE == 1 && LAP_REL_LT == 2 && LAP_REL_LE == 3 && LAP_REL_GT == 4 &&
                   LAP_REL_GE == 5,
               "the image numbers relations so");

static void put_checks(writer *w)
{
    for (uint32_t i = 0; i < w->p->n_checks; i++) {
        const lap_check *c = &w->p->checks[i];
        put_dim(w, c->a);
        put_word(w, c->rel);
        put_dim(w, c->b);
        put_string(w, c->message ? c->message : "");
        put_place(w, c->loc);
    }
    for (uint32_t i = 0; i < w->messages.n; i++) {
        put_string(w, lap_text(w->ctx, w->messages.at[i].message));
        put_place(w, w->messages.at[i].loc);
    }
}

static void put_all(writer *w)
{
    const lap_program *p = w->p;
    const size_t counts[] = {w->n_symbols, w->n_dims,  p->n_inputs, p->n_weights, p->n_outputs, p->n_buffers,
                             p->n_kernels, w->n_steps, p->n_steps,  p->n_checks,  w->messages.n};
    w->out.n = 0;
    put_word(w, LAP_IMAGE_MAGIC);
    put_word(w, LAP_IMAGE_VERSION);
    put_word(w, 0);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        put_word(w, (uint32_t)counts[i]);
    }
    put_string(w, p->name);
    for (size_t i = 0; i < w->n_symbols; i++) {
        put_string(w, lap_text(w->ctx, w->symbols[i]));
    }
    put_dims(w);
    put_leaves(w, p->n_inputs, p->inputs);
    put_leaves(w, p->n_weights, p->weights);
    put_leaves(w, p->n_outputs, p->outputs);
    put_buffers(w);
    put_kernels(w);
    for (size_t i = 0; i < w->n_steps; i++) {
        put_step(w, i);
    }
    put_checks(w);
}

const void *lap_image_write(const lap_program *p, size_t *out_size)
{
    return lap_image_write_with(p, NULL, out_size);
}

const void *lap_image_write_with(const lap_program *p, const lap_kernel_dims *dims, size_t *out_size)
{
    enum { SIZE_AT = 8 };
    writer w = {.p = p, .ctx = p->ctx, .arena = p->ctx->arena, .kernel_dims = dims};
    w.messages = lap_image_messages_of(p);
    w.lives = lap_image_lives(p);
    order_steps(&w);
    put_all(&w);
    put_all(&w);
    size_t n = w.out.n;
    LAP_ENSURE(n <= UINT32_MAX);
    w.out.n = SIZE_AT;
    put_word(&w, (uint32_t)n);
    *out_size = n;
    return w.out.at;
}
