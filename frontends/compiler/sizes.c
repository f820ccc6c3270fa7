/* SPDX-License-Identifier: Apache-2.0
 * sizes.c - symbols from shapes, by the solver of the runtime, so that both find the same; those that no
 * tensor fixes are searched among small values. */
#include "frontends/compiler/sizes.h"

#include <string.h>

#include "ir/check.h"
#include "runtime/extent.h"

enum { MAX_TRIALS = 20000 };

static lap_size *find(const lap_sizes *sizes, lap_name symbol)
{
    for (uint32_t i = 0; i < sizes->n; i++) {
        if (lap_name_same(sizes->at[i].symbol, symbol)) {
            return &sizes->at[i];
        }
    }
    return NULL;
}

void lap_sizes_set(lap_sizes *sizes, lap_name symbol, int64_t value)
{
    lap_size *known = find(sizes, symbol);
    if (known != NULL) {
        known->value = value;
        return;
    }
    lap_arena_grow(sizes->ctx->arena, &sizes->at, sizes->n, 1, &sizes->capacity, sizeof *sizes->at);
    sizes->at[sizes->n++] = (lap_size){symbol, value};
}

bool lap_sizes_value(void *user, lap_name symbol, int64_t *out)
{
    const lap_size *size = find(user, symbol);
    if (size == NULL) {
        return false;
    }
    *out = size->value;
    return true;
}

typedef struct search_for {
    lap_name symbol;
    bool found;
} search_for;

static void match(void *user, lap_name symbol)
{
    search_for *f = user;
    f->found = f->found || lap_name_same(f->symbol, symbol);
}

static bool specs_use(lap_graph *g, lap_specs specs, lap_name symbol)
{
    search_for f = {symbol, false};
    for (uint32_t i = 0; i < specs.n && !f.found; i++) {
        const lap_node *leaf = lap_node_at(g, specs.at[i].ref);
        for (uint32_t k = 0; k < leaf->n_axes; k++) {
            lap_dim_symbols(lap_graph_ctx(g), leaf->axes[k].size, match, &f);
        }
    }
    return f.found;
}

bool lap_sizes_uses(lap_graph *g, const lap_leaves *leaves, lap_name symbol)
{
    return specs_use(g, leaves->inputs, symbol) || specs_use(g, leaves->weights, symbol);
}

/* ---- solved from shapes --------------------------------------------------------------------- */

/* The shapes given as the runtime solves them: extents in its code, symbols by number. */
typedef struct shapes {
    lap_sizes *sizes;
    lap_image image;
    lap_name *names; /* of the image's symbols */
    int64_t *words;  /* of the extent being encoded */
    size_t n_words;
    lap_equation *equations;
    size_t n_equations;
    size_t symbol_capacity, dim_capacity, word_capacity, equation_capacity;
} shapes;

static uint32_t symbol_number(void *user, lap_name name)
{
    shapes *s = user;
    for (uint32_t i = 0; i < s->image.n_symbols; i++) {
        if (lap_name_same(s->names[i], name)) {
            return i;
        }
    }
    lap_arena_grow(s->sizes->ctx->arena, &s->names, s->image.n_symbols, 1, &s->symbol_capacity,
                   sizeof *s->names);
    s->names[s->image.n_symbols] = name;
    return s->image.n_symbols++;
}

static void put_word(void *user, int64_t word)
{
    shapes *s = user;
    lap_arena_grow(s->sizes->ctx->arena, &s->words, s->n_words, 1, &s->word_capacity, sizeof *s->words);
    s->words[s->n_words++] = word;
}

static void add_equation(shapes *s, const lap_image_leaf *leaf, lap_dim extent, int64_t actual)
{
    lap_ctx *ctx = s->sizes->ctx;
    s->n_words = 0;
    lap_dim_encode(ctx, extent, symbol_number, put_word, s);
    if (s->n_words > LAP_EXTENT_STACK) {
        return; /* more than the runtime evaluates: it says so when the program is opened */
    }
    lap_arena_grow(ctx->arena, &s->image.dims, s->image.n_dims, 1, &s->dim_capacity, sizeof *s->image.dims);
    lap_arena_grow(ctx->arena, &s->equations, s->n_equations, 1, &s->equation_capacity, sizeof *s->equations);
    s->equations[s->n_equations++] = (lap_equation){s->image.n_dims, actual, leaf};
    s->image.dims[s->image.n_dims++] =
        (lap_image_dim){.text = lap_dim_show(ctx, extent),
                        .words = lap_arena_copy(ctx->arena, s->words, s->n_words * sizeof *s->words),
                        .n_words = (uint32_t)s->n_words};
}

/* A tensor of another rank is left to the binding to refuse. */
static void add_shapes(shapes *s, lap_graph *g, lap_specs specs, const lap_views *given)
{
    lap_ctx *ctx = s->sizes->ctx;
    for (uint32_t i = 0; i < specs.n; i++) {
        const lap_spec *spec = &specs.at[i];
        const lap_tensor_view *t = lap_views_find(given, spec->name);
        if (t == NULL || t->rank != spec->rank) {
            continue;
        }
        lap_loc loc = lap_node_at(g, spec->ref)->loc;
        lap_image_leaf leaf = {.name = spec->name, .place = loc.ix != 0 ? lap_loc_show(ctx, loc) : ""};
        const lap_image_leaf *kept = lap_arena_copy(ctx->arena, &leaf, sizeof leaf);
        for (uint32_t k = 0; k < t->rank; k++) {
            add_equation(s, kept, spec->shape[k], t->shape[k]);
        }
    }
}

bool lap_sizes_solve(lap_sizes *sizes, lap_graph *g, const lap_leaves *leaves, const lap_views *inputs,
                     const lap_views *weights, lap_fault *fault)
{
    shapes s = {.sizes = sizes};
    add_shapes(&s, g, leaves->inputs, inputs);
    add_shapes(&s, g, leaves->weights, weights);
    uint32_t n = s.image.n_symbols;
    lap_arena *arena = sizes->ctx->arena;
    lap_symbols symbols = {lap_arena_array(arena, n + 1, sizeof(int64_t)),
                           lap_arena_array(arena, n + 1, sizeof(bool))};
    s.image.symbols = lap_arena_array(arena, n + 1, sizeof *s.image.symbols);
    for (uint32_t i = 0; i < n; i++) {
        s.image.symbols[i] = lap_text(sizes->ctx, s.names[i]);
        symbols.is_known[i] = lap_sizes_value(sizes, s.names[i], &symbols.value[i]);
    }
    if (!lap_extent_solve(&s.image, s.equations, s.n_equations, &symbols, LAP_TAKE_LEAST, fault)) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (symbols.is_known[i]) {
            lap_sizes_set(sizes, s.names[i], symbols.value[i]);
        }
    }
    return true;
}

/* ---- chosen --------------------------------------------------------------------------------- */

static bool shapes_at_least(lap_sizes *sizes, lap_specs specs, int64_t least)
{
    for (uint32_t i = 0; i < specs.n; i++) {
        for (uint32_t k = 0; k < specs.at[i].rank; k++) {
            int64_t extent;
            if (!lap_dim_eval(sizes->ctx, specs.at[i].shape[k], lap_sizes_value, sizes, &extent) ||
                extent < least) {
                return false;
            }
        }
    }
    return true;
}

static bool all_hold(lap_sizes *sizes, lap_graph *g, const lap_leaves *leaves, int64_t least)
{
    for (uint32_t i = 0; i < lap_graph_n_checks(g); i++) {
        if (lap_check_decide(sizes->ctx, lap_graph_check(g, i), lap_sizes_value, sizes) != LAP_HOLDS) {
            return false;
        }
    }
    return shapes_at_least(sizes, leaves->inputs, least) && shapes_at_least(sizes, leaves->weights, least) &&
           shapes_at_least(sizes, leaves->outputs, least);
}

static void open_symbol(void *user, lap_name symbol)
{
    lap_sizes *sizes = user;
    if (find(sizes, symbol) == NULL) {
        lap_sizes_set(sizes, symbol, 1);
    }
}

static void open_symbols(lap_sizes *sizes, lap_graph *g, lap_specs specs)
{
    for (uint32_t i = 0; i < specs.n; i++) {
        const lap_node *leaf = lap_node_at(g, specs.at[i].ref);
        for (uint32_t k = 0; k < leaf->n_axes; k++) {
            lap_dim_symbols(sizes->ctx, leaf->axes[k].size, open_symbol, sizes);
        }
    }
}

/* Counts through combinations of candidate values like an odometer, likeliest first. */
static bool search(lap_sizes *sizes, lap_graph *g, const lap_leaves *leaves, uint32_t first, int64_t least)
{
    static const int64_t values[] = {8, 16, 4, 2, 1, 12, 32, 6, 3, 14, 64, 7, 9, 5, 10, 24, 28, 48, 56, 128};
    enum { N = sizeof values / sizeof values[0] };
    uint32_t n = sizes->n - first;
    uint8_t *digit = lap_arena_alloc(sizes->ctx->arena, n + 1);
    for (uint32_t round = 0; round < MAX_TRIALS; round++) {
        for (uint32_t i = 0; i < n; i++) {
            sizes->at[first + i].value = values[digit[i]];
        }
        if (all_hold(sizes, g, leaves, least)) {
            return true;
        }
        uint32_t i = 0;
        while (i < n && ++digit[i] == N) {
            digit[i++] = 0;
        }
        if (i == n) {
            return false;
        }
    }
    return false;
}

bool lap_sizes_choose(lap_sizes *sizes, lap_graph *g, const lap_leaves *leaves)
{
    for (uint32_t i = 0; i < lap_graph_n_checks(g); i++) {
        const lap_check *c = lap_graph_check(g, i);
        if (lap_check_decide(sizes->ctx, c, lap_sizes_value, sizes) == LAP_BROKEN) {
            return lap_check_report(sizes->ctx, c, lap_sizes_value, sizes); /* whatever the others are */
        }
    }
    uint32_t first = sizes->n;
    open_symbols(sizes, g, leaves->inputs);
    open_symbols(sizes, g, leaves->weights);
    /* Empty tensors only where a given size asks for them. */
    if (sizes->n == first || search(sizes, g, leaves, first, 1) || search(sizes, g, leaves, first, 0)) {
        return true;
    }
    const char *names = "";
    for (uint32_t i = first; i < sizes->n; i++) {
        names = lap_arena_printf(sizes->ctx->arena, "%s%s%s", names, i > first ? ", " : "",
                                 lap_text(sizes->ctx, sizes->at[i].symbol));
    }
    sizes->n = first;
    return lap_error(
        sizes->ctx, (lap_loc){0},
        "found no sizes that satisfy the model's checks for %s\nhint: give them with --dim NAME=N", names);
}

bool lap_sizes_shape(lap_sizes *sizes, const lap_spec *spec, int64_t *out_shape)
{
    for (uint32_t k = 0; k < spec->rank; k++) {
        if (!lap_dim_eval(sizes->ctx, spec->shape[k], lap_sizes_value, sizes, &out_shape[k]) ||
            out_shape[k] < 0) {
            return false;
        }
    }
    return true;
}
