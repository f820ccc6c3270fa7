/* SPDX-License-Identifier: Apache-2.0
 * random_graph.c - the maker: chance, axes, the list of values, leaves, outputs. */
#include "tests/support/random_graph.h"

#include <stdio.h>

#include "tests/support/random_maker.h"

/* ---- chance (splitmix64) */

uint64_t random_next(random_maker *m)
{
    uint64_t z = m->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t random_int(random_maker *m, int64_t lo, int64_t hi)
{
    return lo + (int64_t)(random_next(m) % (uint64_t)(hi - lo + 1));
}

bool random_chance(random_maker *m, int percent) { return random_int(m, 0, 99) < percent; }

lap_name random_name(random_maker *m, const char *stem)
{
    return lap_intern(m->ctx, lap_arena_printf(m->ctx->arena, "%s%u", stem, m->n_names++));
}

/* ---- axes */

uint32_t random_new_axis(random_maker *m, const char *stem, lap_dim dim, int64_t size)
{
    LAP_ENSURE(m->n_axes < RANDOM_MOST_AXES);
    m->axis[m->n_axes] = (random_axis){.name = random_name(m, stem), .dim = dim, .size = size};
    return m->n_axes++;
}

static uint32_t new_plain_axis(random_maker *m)
{
    static const int64_t sizes[] = {1, 2, 2, 3, 3, 4, 5, 7, 9};
    int64_t size = sizes[random_int(m, 0, 8)];
    lap_dim dim = lap_dim_const(m->ctx, size);
    if (random_chance(m, 40)) {
        lap_name symbol =
            lap_intern(m->ctx, lap_arena_printf(m->ctx->arena, "%c%lld", 'N' + (char)(m->n_symbols++ % 6),
                                                (long long)size));
        dim = lap_dim_symbol(m->ctx, symbol);
    }
    return random_new_axis(m, "a", dim, size);
}

uint32_t random_any_axis(random_maker *m)
{
    for (int tries = 0; tries < 8 && m->n_axes > 0; tries++) {
        uint32_t i = (uint32_t)random_int(m, 0, m->n_axes - 1);
        if (!lap_ref_some(m->axis[i].count) && random_chance(m, 80)) {
            return i;
        }
    }
    if (m->n_axes < RANDOM_MOST_AXES / 2) {
        return new_plain_axis(m);
    }
    return 0; /* the first axis is plain */
}

int64_t random_count(const random_maker *m, random_axes axes)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < m->n_axes; i++) {
        n *= axes >> i & 1 ? m->axis[i].size : 1;
        n = n > 1000000 ? 1000000 : n;
    }
    return n;
}

lap_names random_names_of(random_maker *m, random_axes axes)
{
    lap_name *names = lap_arena_array(m->ctx->arena, RANDOM_MOST_AXES, sizeof *names);
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_axes; i++) {
        if (axes >> i & 1) {
            names[n++] = m->axis[i].name;
        }
    }
    return (lap_names){n, names};
}

random_axes random_axes_of(random_maker *m, lap_ref ref)
{
    const lap_node *n = lap_node_at(m->g, ref);
    random_axes axes = 0;
    for (uint32_t i = 0; i < m->n_axes; i++) {
        axes |= lap_node_axis(n, m->axis[i].name) ? (random_axes)1 << i : 0;
    }
    return axes;
}

random_axes random_closed(const random_maker *m, random_axes axes, random_axes within)
{
    for (bool grows = true; grows;) {
        grows = false;
        for (uint32_t i = 0; i < m->n_axes; i++) {
            random_axes bit = (random_axes)1 << i;
            if ((within & bit) && !(axes & bit) && (m->axis[i].needs & axes)) {
                axes |= bit;
                grows = true;
            }
        }
    }
    return axes;
}

random_axes random_ragged(const random_maker *m, random_axes axes)
{
    random_axes out = 0;
    for (uint32_t i = 0; i < m->n_axes; i++) {
        out |= (axes >> i & 1) && lap_ref_some(m->axis[i].count) ? (random_axes)1 << i : 0;
    }
    return out;
}

random_axes random_subset(random_maker *m, random_axes axes)
{
    random_axes out = axes & random_next(m);
    while (axes && !out) {
        out = axes & random_next(m);
    }
    return out;
}

/* ---- values */

random_value random_add(random_maker *m, random_value v)
{
    if (!lap_ref_some(v.ref)) {
        fprintf(stderr, "random graph: refused: %s\n",
                lap_error_count(m->ctx) ? lap_error_text(m->ctx, lap_error_count(m->ctx) - 1) : "?");
        LAP_BUG("the maker of random graphs made a mistake");
    }
    v.axes = random_axes_of(m, v.ref);
    if (v.frac < 0 && v.kind == LAP_F32 && (v.err > 1e-4 || random_size(v) > 300)) {
        v.is_final = true;
    }
    bool is_comparable = v.err <= 2e-4 + 2e-4 * random_size(v) || v.kind != LAP_F32;
    if (m->n_values < RANDOM_MOST_VALUES && is_comparable) {
        m->value[m->n_values++] = v;
    }
    return v;
}

static bool suits(const random_value *v, lap_dtype kind, random_axes within, bool exact)
{
    return v->kind == kind && !v->is_final && !(v->axes & ~within) && (!exact || v->frac >= 0);
}

static random_value pick(random_maker *m, lap_dtype kind, random_axes within, bool exact)
{
    uint32_t recent = m->n_values > 8 && random_chance(m, 60) ? m->n_values - 8 : 0;
    for (int tries = 0; tries < 24 && m->n_values > 0; tries++) {
        const random_value *v = &m->value[random_int(m, tries < 12 ? recent : 0, m->n_values - 1)];
        if (suits(v, kind, within, exact)) {
            return *v;
        }
    }
    random_axes axes = within;
    if (within == ~(random_axes)0) {
        axes = (random_axes)1 << random_any_axis(m) | (random_axes)1 << random_any_axis(m);
    } else {
        axes = random_subset(m, within & ~random_ragged(m, within));
    }
    if (kind == LAP_BOOL) {
        return random_condition(m, axes);
    }
    return kind == LAP_F32 ? random_float_leaf(m, axes, -2, 2, exact || random_chance(m, 50))
                           : random_int_leaf(m, axes, -3, 6);
}

random_value random_pick(random_maker *m, lap_dtype kind) { return pick(m, kind, ~(random_axes)0, false); }
random_value random_pick_exact(random_maker *m) { return pick(m, LAP_F32, ~(random_axes)0, true); }

random_value random_pick_within(random_maker *m, lap_dtype kind, random_axes axes)
{
    return pick(m, kind, axes, false);
}

/* ---- leaves */

typedef struct symbols {
    random_maker *m;
    bool all_known;
    lap_name last;
    uint32_t n;
} symbols;

static void note(void *user, lap_name symbol)
{
    symbols *s = user;
    bool known = false;
    for (uint32_t i = 0; i < s->m->n_introduced; i++) {
        known = known || lap_name_same(s->m->introduced[i], symbol);
    }
    s->all_known = s->all_known && known;
    s->last = symbol;
    s->n++;
}

/* Whether all symbols of the extent are solved elsewhere. */
static bool is_known(random_maker *m, lap_dim dim, symbols *out)
{
    *out = (symbols){.m = m, .all_known = true};
    lap_dim_symbols(m->ctx, dim, note, out);
    return out->all_known;
}

/* A layout over the axes in random order; axes share a memory axis where that can be solved. */
static lap_layout random_layout(random_maker *m, random_axes axes, bool is_leaf)
{
    lap_names all = random_names_of(m, axes);
    lap_name *order = (lap_name *)all.at;
    for (uint32_t i = all.n; i > 1; i--) {
        uint32_t k = (uint32_t)random_int(m, 0, i - 1);
        lap_name t = order[i - 1];
        order[i - 1] = order[k];
        order[k] = t;
    }
    lap_names *groups = lap_arena_array(m->ctx->arena, all.n + 1, sizeof *groups);
    uint32_t n = 0;
    if (random_chance(m, 5)) {
        groups[n++] = (lap_names){0, NULL};
    }
    for (uint32_t i = 0; i < all.n; i++) {
        symbols s;
        uint32_t axis = 0;
        while (!lap_name_same(m->axis[axis].name, order[i])) {
            axis++;
        }
        bool known = is_known(m, m->axis[axis].dim, &s);
        bool joins = i > 0 && n > 0 && groups[n - 1].n > 0 && (!is_leaf || known) && random_chance(m, 20);
        if (joins) {
            groups[n - 1].n++;
            continue;
        }
        groups[n++] = (lap_names){1, &order[i]};
        if (is_leaf && !known && s.n == 1) {
            m->introduced[m->n_introduced++] = s.last;
        }
    }
    return (lap_layout){n, groups};
}

static lap_ref leaf(random_maker *m, lap_dtype dtype, random_axes axes, const char *name)
{
    lap_axis list[RANDOM_MOST_AXES];
    lap_type type = {.dtype = dtype, .axes = list};
    for (uint32_t i = 0; i < m->n_axes; i++) {
        if (axes >> i & 1) {
            list[type.n_axes++] = (lap_axis){m->axis[i].name, m->axis[i].dim, LAP_NONE};
        }
    }
    const lap_attr attrs[] = {
        lap_attr_make_name(LAP_ATTR_NAME, lap_intern(m->ctx, name)),
        lap_attr_make_layout(LAP_ATTR_LAYOUT, random_layout(m, axes, true)),
    };
    lap_op op = random_chance(m, 60) ? LAP_OP_INPUT : LAP_OP_WEIGHT;
    return lap_emit(m->g, &(lap_emit_args){.op = op, .n_attrs = 2, .attrs = attrs, .type = &type});
}

random_value random_float_leaf(random_maker *m, random_axes axes, double lo, double hi, bool exact)
{
    static const lap_dtype types[] = {LAP_F32, LAP_F32, LAP_F32, LAP_F16, LAP_BF16};
    const char *name =
        lap_arena_printf(m->ctx->arena, "x%u:%c:%g:%g", m->n_leaves++, exact ? 'e' : 'r', lo, hi);
    lap_ref ref = leaf(m, exact ? types[random_int(m, 0, 4)] : LAP_F32, axes, name);
    return random_add(
        m, (random_value){.ref = ref, .kind = LAP_F32, .lo = lo, .hi = hi, .frac = exact ? 3 : -1});
}

random_value random_int_leaf(random_maker *m, random_axes axes, int64_t lo, int64_t hi)
{
    static const lap_dtype types[] = {LAP_I64, LAP_I64, LAP_I32, LAP_I8, LAP_I4};
    const char *name =
        lap_arena_printf(m->ctx->arena, "i%u:%lld:%lld", m->n_leaves++, (long long)lo, (long long)hi);
    lap_ref ref = leaf(m, types[random_int(m, 0, hi < 8 && lo >= -8 ? 4 : 1)], axes, name);
    return random_add(m, (random_value){.ref = ref, .kind = LAP_I64, .lo = (double)lo, .hi = (double)hi});
}

/* ---- graphs */

static void add_output(random_maker *m, const random_value *v, uint32_t number)
{
    lap_name axis;
    lap_ref count;
    lap_output o = {.name = lap_intern(m->ctx, lap_arena_printf(m->ctx->arena, "o%u", number)),
                    .value = v->ref};
    o.layout = random_layout(m, v->axes, false);
    /* an axis that has a memory axis to itself may end early */
    uint32_t group = (uint32_t)random_int(m, 0, o.layout.n ? o.layout.n - 1 : 0);
    if (o.layout.n > 0 && o.layout.groups[group].n == 1 && random_chance(m, 15)) {
        axis = o.layout.groups[group].at[0];
        uint32_t place = 0;
        while (!lap_name_same(m->axis[place].name, axis)) {
            place++;
        }
        if (!lap_ref_some(m->axis[place].count)) {
            count = random_map1(m, LAP_FN_INT, random_index_within(m, 0, 0, m->axis[place].size)).ref;
            o.n_crops = 1;
            o.crop_axes = &axis;
            o.crop_counts = &count;
        }
    }
    lap_graph_add_output(m->g, &o);
}

/* An output that reads a leaf per symbol, so that every extent is decided by what is left of a graph. */
static void add_sizes(random_maker *m)
{
    lap_ref sum = LAP_NONE;
    for (uint32_t i = 0; i < m->n_axes; i++) {
        int64_t value;
        bool is_symbol = !lap_dim_is_const(m->ctx, m->axis[i].dim, &value) &&
                         lap_text(m->ctx, m->axis[i].name)[0] == 'a' && !lap_ref_some(m->axis[i].count);
        if (!is_symbol) {
            continue;
        }
        random_value v = random_float_leaf(m, (random_axes)1 << i, -1, 1, true);
        lap_ref one = lap_reduce(m->g, LAP_RED_SUM, v.ref, (lap_names){1, &m->axis[i].name});
        sum = lap_ref_some(sum) ? lap_map2(m->g, LAP_FN_ADD, sum, one) : one;
    }
    if (lap_ref_some(sum)) {
        lap_graph_add_output(m->g, &(lap_output){.name = lap_intern(m->ctx, "sizes"), .value = sum});
    }
}

void random_step(random_maker *m)
{
    static const struct {
        random_rule *rule;
        int weight;
        bool has_body;
    } rules[] = {
        {random_make_unary, 10, false},      {random_make_binary, 12, false}, {random_make_compare, 4, false},
        {random_make_logic, 3, false},       {random_make_select, 6, false},  {random_make_cast, 3, false},
        {random_make_integer, 6, false},     {random_make_reduce, 10, false}, {random_make_dot, 8, false},
        {random_make_arg, 2, false},         {random_make_at, 6, false},      {random_make_shift, 5, false},
        {random_make_masked_read, 3, false}, {random_make_window, 6, false},  {random_make_scatter, 5, false},
        {random_make_topk, 5, false},        {random_make_rename, 4, false},  {random_make_ragged, 4, false},
        {random_make_routed, 2, false},      {random_make_attend, 9, false},  {random_make_near, 4, false},
        {random_make_listed, 3, false},      {random_make_soft, 4, false},    {random_make_custom, 1, false},
        {random_make_require, 2, false},     {random_make_scan, 5, true},     {random_make_loop, 3, true},
        {random_make_branch, 2, true},       {random_make_call, 3, true},
    };
    const int n = sizeof rules / sizeof *rules;
    int total = 0;
    for (int i = 0; i < n; i++) {
        total += rules[i].weight;
    }
    int64_t at = random_int(m, 0, total - 1);
    for (int i = 0; i < n; i++) {
        at -= rules[i].weight;
        if (at < 0) {
            if (!rules[i].has_body || m->depth < 2) {
                rules[i].rule(m);
            }
            return;
        }
    }
}

lap_graph *test_random_graph(lap_ctx *ctx, uint64_t seed, unsigned n)
{
    random_maker *m = lap_arena_alloc(ctx->arena, sizeof *m);
    *m = (random_maker){.ctx = ctx, .state = seed * 0x2545f4914f6cdd1du + 1};
    m->g = lap_graph_new(ctx, "random", LAP_LEVEL_GRAPH);
    new_plain_axis(m);
    random_pick(m, LAP_F32);
    for (unsigned i = 0; i < n; i++) {
        lap_set_loc(m->g, lap_loc_make(ctx, "random.lua", (int)i + 1, (lap_loc){0}));
        random_step(m);
    }
    uint32_t n_outputs = (uint32_t)random_int(m, 1, 3), made = m->n_values;
    for (uint32_t i = 0; i < n_outputs; i++) {
        int64_t back = random_int(m, 0, made > 6 ? 5 : made - 1);
        random_value v = m->value[i == 0 ? made - 1 : made - 1 - (uint32_t)back];
        add_output(m, &v, i);
    }
    add_sizes(m);
    return m->g;
}
