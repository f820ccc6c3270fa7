/* SPDX-License-Identifier: Apache-2.0
 * site.c - makes the kernels of each root, again where another schedule is chosen for it; their keys. */
#include "passes/site.h"

#include <string.h>

#include "passes/lower.h"

typedef struct mark {
    uint32_t n_buffers, n_kernels, n_steps;
} mark;

static mark mark_of(const lap_lowering *l)
{
    return (mark){l->n_buffers, l->n_kernels, l->steps->n};
}

/* Forgets what was made since. */
static void rewind_to(lap_lowering *l, mark m)
{
    l->n_buffers = m.n_buffers;
    l->n_kernels = m.n_kernels;
    l->steps->n = m.n_steps;
}

/* ---- keys ---------------------------------------------------------------------------------- */

/* FNV-1a. */
static uint64_t mix(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ at[i]) * UINT64_C(1099511628211);
    }
    return h;
}

typedef struct hasher {
    lap_lowering *l;
    uint64_t h;
    uint32_t n;
    size_t capacity;
    lap_name *symbols;
} hasher;

static void put(hasher *h, uint64_t word) { h->h = mix(h->h, &word, sizeof word); }

static void add_symbol(void *user, lap_name symbol)
{
    hasher *h = user;
    for (uint32_t i = 0; i < h->n; i++) {
        if (lap_name_same(h->symbols[i], symbol)) {
            return;
        }
    }
    lap_arena_grow(h->l->ctx->arena, &h->symbols, h->n, 1, &h->capacity, sizeof *h->symbols);
    h->symbols[h->n++] = symbol;
}

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

/* A word of an extent: a symbol by its number, all else as it is. */
static void put_word(hasher *h, const char *word, size_t n)
{
    for (uint32_t i = 0; i < h->n; i++) {
        const char *name = lap_text(h->l->ctx, h->symbols[i]);
        if (strlen(name) == n && memcmp(name, word, n) == 0) {
            put(h, i);
            return;
        }
    }
    h->h = mix(h->h, word, n);
}

static void put_extent(hasher *h, lap_dim d)
{
    lap_dim_symbols(h->l->ctx, d, add_symbol, h);
    for (const char *c = lap_dim_show(h->l->ctx, d); *c != '\0';) {
        size_t n = 0;
        while (is_letter(c[n]) || (n > 0 && c[n] >= '0' && c[n] <= '9')) {
            n++;
        }
        if (n > 0) {
            put_word(h, c, n);
        } else {
            h->h = mix(h->h, c, n = 1);
        }
        c += n;
    }
}

/* The next extent in a kernel's text, which ends at a brace; NULL: there is none. */
static const char *next_extent(const char *text)
{
    const char *dim = strstr(text, "{dim="), *count = strstr(text, " count=");
    return dim == NULL || (count != NULL && count < dim) ? count : dim;
}

/* The text without its extents, then these, in which symbols are numbers. */
static void put_kernel(hasher *h, uint32_t kernel)
{
    lap_graph *g = h->l->kernels[kernel].graph;
    const char *from = h->l->kernel_texts[kernel];
    for (const char *at; (at = next_extent(from)) != NULL;) {
        h->h = mix(h->h, from, (size_t)(at - from));
        from = at + strcspn(at, "}");
    }
    h->h = mix(h->h, from, strlen(from));
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        const lap_node *n = lap_node_at(g, (lap_ref){i});
        if (n->op == LAP_OP_DIM) {
            put_extent(h, lap_attr_dim(n, LAP_ATTR_DIM));
        } else if (n->op == LAP_OP_BUFFER && lap_node_attr(n, LAP_ATTR_COUNT) != NULL) {
            put_extent(h, lap_attr_dim(n, LAP_ATTR_COUNT));
        }
    }
}

static void put_steps(hasher *h, const lap_step *steps, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const lap_step *s = &steps[i];
        put(h, s->kind);
        put(h, s->on_load);
        if (s->kind == LAP_STEP_LAUNCH) {
            put_kernel(h, s->launch.kernel);
            for (uint32_t b = 0; b < s->launch.n_buffers; b++) {
                const lap_buffer *buffer = &h->l->buffers[s->launch.buffers[b]];
                put(h, buffer->kind == LAP_BUF_PACKED || buffer->kind == LAP_BUF_WEIGHT);
            }
        }
        put_steps(h, s->body, s->n_body);
        put_steps(h, s->other, s->n_other);
    }
}

static void set_key(lap_lowering *l, lap_site *site, mark before)
{
    hasher h = {.l = l, .h = UINT64_C(14695981039346656037)};
    put_steps(&h, l->steps->at + before.n_steps, l->steps->n - before.n_steps);
    site->key = h.h;
    site->symbols = (lap_names){h.n, h.symbols};
}

/* ---- making -------------------------------------------------------------------------------- */

static void make(lap_lowering *l, lap_site *site)
{
    lap_site *outer = l->site;
    lap_schedule base = l->schedule;
    l->site = site;
    l->schedule = site->schedule;
    lap_lower_kernels(l, site->node);
    l->schedule = base;
    l->site = outer;
}

/* With the chosen schedule; where that cannot be lowered, with the base one after all. */
static void make_chosen(lap_lowering *l, lap_site *site, mark before, const lap_schedule *chosen)
{
    lap_schedule base = site->schedule;
    rewind_to(l, before);
    site->schedule = *chosen;
    make(l, site);
    if (l->failed) {
        l->failed = false;
        lap_errors_clear(l->ctx);
        rewind_to(l, before);
        site->schedule = base;
        make(l, site);
    }
}

void lap_site_lower(lap_lowering *l, lap_ref node)
{
    lap_site site = {.node = node,
                     .loc = lap_node_at(l->g, node)->loc,
                     .is_static = l->is_static,
                     .what = "",
                     .roles = "",
                     .schedule = l->schedule};
    mark before = mark_of(l);
    lap_schedule chosen;
    make(l, &site);
    site.knobs &= l->searched;
    if (site.knobs == 0 || l->failed || !l->wants_sites) {
        return;
    }
    set_key(l, &site, before);
    if (l->choose != NULL && l->choose(l->choose_user, &site, &chosen) &&
        !lap_schedule_same(&chosen, &site.schedule)) {
        make_chosen(l, &site, before, &chosen);
    }
    lap_arena_grow(l->ctx->arena, &l->sites, l->n_sites, 1, &l->site_capacity, sizeof *l->sites);
    l->sites[l->n_sites++] = site;
}

const lap_site *lap_sites_of(const lap_lowering *l, uint32_t *out_n)
{
    *out_n = l->n_sites;
    return l->sites;
}

bool lap_site_again(lap_lowering *l, const lap_site *site, const lap_schedule *schedule, lap_steps *out)
{
    lap_site again = *site;
    lap_steps *steps = l->steps;
    lap_ref now = l->now;
    uint32_t home = l->homes[site->node.ix];
    *out = (lap_steps){0};
    again.schedule = *schedule;
    l->steps = out;
    l->is_static = site->is_static;
    l->now = site->node;
    make(l, &again);
    l->homes[site->node.ix] = home;
    l->now = now;
    l->is_static = false;
    l->steps = steps;
    bool made = !l->failed;
    if (!made) {
        l->failed = false;
        lap_errors_clear(l->ctx);
    }
    return made;
}
