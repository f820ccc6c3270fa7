/* SPDX-License-Identifier: Apache-2.0
 * sizes.c - symbols from shapes: each extent with one unknown is solved by bisection (extents grow
 * with their symbols), then the symbols that no tensor fixes are searched among small values. */
#include "frontends/compiler/sizes.h"

#include <string.h>

#define MAX_EXTENT ((int64_t)1 << 40)
#define MAX_TRIALS 20000u

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
    sizes->at[sizes->n++] = (lap_size){symbol, value, true};
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

typedef struct unknowns {
    const lap_sizes *sizes;
    uint32_t n;
    lap_name first;
} unknowns;

static void count_unknown(void *user, lap_name symbol)
{
    unknowns *u = user;
    if (find(u->sizes, symbol) == NULL && (u->n == 0 || !lap_name_same(u->first, symbol))) {
        u->first = u->n == 0 ? symbol : u->first;
        u->n++;
    }
}

static unknowns unknowns_of(lap_sizes *sizes, lap_dim d)
{
    unknowns u = {.sizes = sizes};
    lap_dim_symbols(sizes->ctx, d, count_unknown, &u);
    return u;
}

typedef struct trial {
    lap_sizes *sizes;
    lap_name symbol;
    int64_t value;
} trial;

static bool trial_value(void *user, lap_name symbol, int64_t *out)
{
    trial *t = user;
    if (lap_name_same(t->symbol, symbol)) {
        *out = t->value;
        return true;
    }
    return lap_sizes_value(t->sizes, symbol, out);
}

/* The symbol's value at which d is `want`. An exact division that does not come out gives no value
 * at some points, so every bisection step looks at the next few values too. */
static bool solve(lap_sizes *sizes, lap_dim d, lap_name symbol, int64_t want, int64_t *out)
{
    trial t = {sizes, symbol, 0};
    int64_t got;
    for (t.value = 0; t.value <= 64; t.value++) {
        if (lap_dim_eval(sizes->ctx, d, trial_value, &t, &got) && got == want) {
            *out = t.value;
            return true;
        }
    }
    int64_t lo = 65, hi = MAX_EXTENT;
    while (lo < hi) {
        t.value = lo + (hi - lo) / 2;
        int64_t middle = t.value;
        bool known = false;
        for (int k = 0; k < 64 && !known; k++, t.value += !known) {
            known = lap_dim_eval(sizes->ctx, d, trial_value, &t, &got);
        }
        if (known && got == want) {
            *out = t.value;
            return true;
        }
        if (!known || got > want) {
            hi = middle;
        } else {
            lo = middle + 1;
        }
    }
    t.value = lo;
    *out = lo;
    return lap_dim_eval(sizes->ctx, d, trial_value, &t, &got) && got == want;
}

void lap_sizes_solve(lap_sizes *sizes, lap_specs specs, const lap_views *given)
{
    for (bool progress = true; progress;) {
        progress = false;
        for (uint32_t i = 0; i < specs.n; i++) {
            const lap_tensor_view *t = lap_views_find(given, specs.at[i].name);
            if (t == NULL || t->rank != specs.at[i].rank) {
                continue;
            }
            for (uint32_t k = 0; k < t->rank; k++) {
                unknowns u = unknowns_of(sizes, specs.at[i].shape[k]);
                int64_t value;
                if (u.n == 1 && solve(sizes, specs.at[i].shape[k], u.first, t->shape[k], &value)) {
                    lap_sizes_set(sizes, u.first, value);
                    progress = true;
                }
            }
        }
    }
}

static bool holds(int64_t a, lap_rel rel, int64_t b)
{
    switch (rel) {
    case LAP_REL_EQ:
        return a == b;
    case LAP_REL_NE:
        return a != b;
    case LAP_REL_LT:
        return a < b;
    case LAP_REL_LE:
        return a <= b;
    case LAP_REL_GT:
        return a > b;
    case LAP_REL_GE:
        return a >= b;
    }
    return false;
}

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
        const lap_check *c = lap_graph_check(g, i);
        int64_t a, b;
        if (!lap_dim_eval(sizes->ctx, c->a, lap_sizes_value, sizes, &a) ||
            !lap_dim_eval(sizes->ctx, c->b, lap_sizes_value, sizes, &b) || !holds(a, c->rel, b)) {
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
        sizes->at[sizes->n - 1].is_given = false;
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
