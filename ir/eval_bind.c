/* SPDX-License-Identifier: Apache-2.0
 * eval_bind.c - sizes: solves the symbols from the shapes of leaves, then decides the checks.
 *
 * Each memory axis of a leaf is one equation: the product of its group's extents is what the tensor
 * has. Equations with one unknown are solved, in turn, until none is left. */
#include <math.h>
#include <string.h>

#include "ir/check.h"
#include "ir/eval_state.h"

#define SEARCH_LIMIT ((int64_t)1 << 22) /* values tried for an extent that is no monomial */

typedef struct equation {
    lap_dim dim;
    int64_t have;
    lap_name tensor;
    lap_loc loc;
    bool is_done;
} equation;

/* ---- tensors by name */

static const lap_tensor *find_tensor(const lap_eval_io *io, const char *name)
{
    for (uint32_t i = 0; io && i < io->n; i++) {
        if (strcmp(io->names[i], name) == 0) {
            return &io->tensors[i];
        }
    }
    return NULL;
}

const lap_tensor *lap_eval_member(const lap_eval_run *run, const lap_node *leaf, int64_t k)
{
    const char *name = lap_text(run->ctx, lap_attr_name(leaf, LAP_ATTR_NAME));
    const char *open = strchr(name, '{'), *close = open ? strchr(open, '}') : NULL;
    if (!close) {
        return NULL;
    }
    return find_tensor(run->weights, lap_arena_printf(run->ctx->arena, "%.*s%lld%s", (int)(open - name), name,
                                                      (long long)k, close + 1));
}

const lap_tensor *lap_eval_tensor(const lap_eval_run *run, const lap_node *leaf)
{
    return find_tensor(leaf->op == LAP_OP_INPUT ? run->inputs : run->weights,
                       lap_text(run->ctx, lap_attr_name(leaf, LAP_ATTR_NAME)));
}

/* ---- equations */

static bool given(void *user, lap_name symbol, int64_t *out)
{
    const lap_eval_run *run = user;
    for (uint32_t i = 0; i < run->n_symbols; i++) {
        if (lap_name_same(run->symbols[i].name, symbol)) {
            *out = run->symbols[i].value;
            return true;
        }
    }
    return false;
}

typedef struct trial {
    lap_eval_run *run;
    lap_name unknown;
    int64_t value;
} trial;

static bool tried(void *user, lap_name symbol, int64_t *out)
{
    const trial *t = user;
    if (lap_name_same(symbol, t->unknown)) {
        *out = t->value;
        return true;
    }
    return given(t->run, symbol, out);
}

static bool hits(trial *t, const equation *e, int64_t value)
{
    int64_t got;
    t->value = value;
    return lap_dim_eval(t->run->ctx, e->dim, tried, t, &got) && got == e->have;
}

/* Whether the extent is scale * value^power at a value. */
static bool is_power(trial *t, const equation *e, int64_t value, int64_t scale, int power)
{
    int64_t got, want = scale;
    for (int i = 0; i < power; i++) {
        if (__builtin_mul_overflow(want, value, &want)) {
            return false;
        }
    }
    t->value = value;
    return lap_dim_eval(t->run->ctx, e->dim, tried, t, &got) && got == want;
}

/* c * s^p = have: c from s = 1, p from s = 2. One place more tells min(6, s) from s. */
static bool solve_monomial(trial *t, const equation *e, int64_t *out)
{
    int64_t one, two;
    t->value = 1;
    if (!lap_dim_eval(t->run->ctx, e->dim, tried, t, &one) || one <= 0 || e->have % one != 0) {
        return false;
    }
    t->value = 2;
    if (!lap_dim_eval(t->run->ctx, e->dim, tried, t, &two)) {
        return false;
    }
    int64_t scale = one;
    for (int p = 1; p <= 8; p++) {
        if (__builtin_mul_overflow(scale, 2, &scale) || scale > two) {
            return false;
        }
        if (scale == two) {
            int64_t root = llround(pow((double)(e->have / one), 1.0 / p));
            *out = root;
            return root > 0 && is_power(t, e, 3, one, p) && is_power(t, e, root + 1, one, p) &&
                   hits(t, e, root);
        }
    }
    return false;
}

/* The least positive solution, or 0 when only that is one. */
static bool search(trial *t, const equation *e, int64_t *out)
{
    int64_t most = e->have < 64 ? 64 : e->have < SEARCH_LIMIT ? e->have : SEARCH_LIMIT;
    for (int64_t v = 1; v <= most; v++) {
        if (hits(t, e, v)) {
            *out = v;
            return true;
        }
    }
    *out = 0;
    return hits(t, e, 0);
}

typedef struct unknowns {
    lap_eval_run *run;
    uint32_t n;
    lap_name name;
} unknowns;

static void note_symbol(void *user, lap_name symbol)
{
    unknowns *u = user;
    int64_t value;
    if (!given(u->run, symbol, &value)) {
        u->n++;
        u->name = symbol;
    }
}

/* An equation without unknowns. */
static bool decide(lap_eval_run *run, const equation *e)
{
    const char *tensor = lap_text(run->ctx, e->tensor);
    int64_t value;
    if (!lap_eval_size(run, e->dim, e->loc, &value)) {
        return false;
    }
    if (value == e->have) {
        return true;
    }
    if (lap_dim_is_const(run->ctx, e->dim, &value)) {
        return lap_error(run->ctx, e->loc, "%s has an axis of %lld, expected %lld", tensor,
                         (long long)e->have, (long long)value);
    }
    return lap_error(run->ctx, e->loc, "%s has an axis of %lld, expected %s = %lld", tensor,
                     (long long)e->have, lap_dim_show(run->ctx, e->dim), (long long)value);
}

/* Solves or decides one equation; `out_moved` when that was possible. Extents that are no monomial may
 * have several solutions (9//2 = 8//2), so they are searched only when nothing else is left. */
static bool settle(lap_eval_run *run, equation *e, bool searches, bool *out_moved)
{
    unknowns u = {.run = run};
    lap_dim_symbols(run->ctx, e->dim, note_symbol, &u);
    if (u.n > 1) {
        return true;
    }
    if (u.n == 0) {
        e->is_done = *out_moved = true;
        return decide(run, e);
    }
    int64_t value;
    trial t = {run, u.name, 0};
    if (!solve_monomial(&t, e, &value)) {
        if (!searches) {
            return true;
        }
        if (!search(&t, e, &value)) {
            return lap_error(run->ctx, e->loc, "%s has an axis of %lld, which is not %s for any %s",
                             lap_text(run->ctx, e->tensor), (long long)e->have,
                             lap_dim_show(run->ctx, e->dim), lap_text(run->ctx, u.name));
        }
    }
    e->is_done = *out_moved = true;
    lap_arena_grow(run->ctx->arena, &run->symbols, run->n_symbols, 1, &run->symbols_capacity,
                   sizeof *run->symbols);
    run->symbols[run->n_symbols++] = (lap_symbol_value){u.name, value};
    return true;
}

/* All that follows without a search, then one search, and again. */
static bool solve_all(lap_eval_run *run, equation *equations, size_t n)
{
    for (bool searches = false, moved = true; moved || !searches;) {
        searches = !moved;
        moved = false;
        for (size_t i = 0; i < n && !(searches && moved); i++) {
            if (!equations[i].is_done && !settle(run, &equations[i], searches, &moved)) {
                return false;
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (!equations[i].is_done) {
            return lap_error(run->ctx, equations[i].loc,
                             "%s has an axis of %lld: cannot tell the extents of %s",
                             lap_text(run->ctx, equations[i].tensor), (long long)equations[i].have,
                             lap_dim_show(run->ctx, equations[i].dim));
        }
    }
    return true;
}

/* ---- leaves */

static bool group_extent(lap_eval_run *run, const lap_node *leaf, lap_names group, lap_dim *out)
{
    *out = lap_dim_const(run->ctx, 1);
    for (uint32_t i = 0; i < group.n; i++) {
        const lap_axis *axis = lap_node_axis(leaf, group.at[i]);
        if (!axis) {
            return lap_error(run->ctx, leaf->loc, "the layout names an axis '%s' that is not there",
                             lap_text(run->ctx, group.at[i]));
        }
        *out = lap_dim_mul(run->ctx, *out, axis->size);
    }
    return true;
}

/* Shape of the leaf's tensor: of the stacked one where it is a family. 0 members: no tensor. */
static bool leaf_shape(lap_eval_run *run, const lap_node *leaf, int64_t *out_shape, uint32_t *out_rank)
{
    const lap_tensor *t = lap_eval_tensor(run, leaf);
    uint32_t skip = 0;
    if (!t && leaf->op == LAP_OP_WEIGHT) {
        t = lap_eval_member(run, leaf, 0);
        int64_t members = t ? 1 : 0;
        for (const lap_tensor *m; t && (m = lap_eval_member(run, leaf, members)); members++) {
            if (m->rank != t->rank || memcmp(m->shape, t->shape, t->rank * sizeof *t->shape) != 0) {
                return lap_error(run->ctx, leaf->loc, "the tensors of %s differ in shape",
                                 lap_text(run->ctx, lap_attr_name(leaf, LAP_ATTR_NAME)));
            }
        }
        if (t) {
            out_shape[0] = members;
            skip = 1;
        }
    }
    *out_rank = t ? t->rank + skip : 0;
    for (uint32_t i = 0; t && i < t->rank; i++) {
        out_shape[i + skip] = t->shape[i];
    }
    return true;
}

/* Whether there is a tensor for the leaf. */
static bool leaf_given(lap_eval_run *run, const lap_node *leaf)
{
    return lap_eval_tensor(run, leaf) || (leaf->op == LAP_OP_WEIGHT && lap_eval_member(run, leaf, 0));
}

static bool add_equations(lap_eval_run *run, const lap_node *leaf, equation **equations, size_t *n,
                          size_t *capacity)
{
    lap_name name = lap_attr_name(leaf, LAP_ATTR_NAME);
    const lap_attr *layout = lap_node_attr(leaf, LAP_ATTR_LAYOUT);
    int64_t shape[LAP_MAX_RANK + 1];
    uint32_t rank = 0;
    if (!leaf_given(run, leaf)) {
        if (lap_attr_i(leaf, LAP_ATTR_OPTIONAL, 0)) {
            return true;
        }
        return lap_error(run->ctx, leaf->loc, "there is no %s '%s'", lap_op_text(leaf->op),
                         lap_text(run->ctx, name));
    }
    if (!leaf_shape(run, leaf, shape, &rank)) {
        return false;
    }
    uint32_t n_groups = layout ? layout->layout.n : 0;
    if (rank != n_groups) {
        return lap_error(run->ctx, leaf->loc, "%s has %u axes, expected %u", lap_text(run->ctx, name), rank,
                         n_groups);
    }
    for (uint32_t i = 0; i < rank; i++) {
        equation e = {.have = shape[i], .tensor = name, .loc = leaf->loc};
        if (!group_extent(run, leaf, layout->layout.groups[i], &e.dim)) {
            return false;
        }
        lap_arena_grow(run->ctx->arena, equations, *n, 1, capacity, sizeof **equations);
        (*equations)[(*n)++] = e;
    }
    return true;
}

bool lap_eval_bind(lap_eval_run *run)
{
    equation *equations = NULL;
    size_t n = 0, capacity = 0;
    for (uint32_t i = 1; i <= lap_graph_n_nodes(run->g); i++) {
        const lap_node *leaf = lap_node_at(run->g, (lap_ref){i});
        bool is_leaf = leaf->op == LAP_OP_INPUT || leaf->op == LAP_OP_WEIGHT;
        if (is_leaf && !add_equations(run, leaf, &equations, &n, &capacity)) {
            return false;
        }
    }
    if (!solve_all(run, equations, n)) {
        return false;
    }
    for (uint32_t i = 0; i < lap_graph_n_checks(run->g); i++) {
        const lap_check *c = lap_graph_check(run->g, i);
        if (lap_check_decide(run->ctx, c, given, run) != LAP_HOLDS) {
            return lap_check_report(run->ctx, c, given, run);
        }
    }
    return true;
}
