/* SPDX-License-Identifier: Apache-2.0
 * emit.c - lap_emit, the one way to make a node: check, infer, fold, share, place. */
#include "ir/attr.h"
#include "ir/fold.h"
#include "ir/infer.h"
#include "ir/store.h"

#include <string.h>

const lap_attr *lap_emit_attr(const lap_emit_args *e, lap_attr_key key)
{
    for (uint32_t i = 0; i < e->n_attrs; i++) {
        if (e->attrs[i].key == key) {
            return &e->attrs[i];
        }
    }
    return NULL;
}

lap_names lap_emit_names(const lap_emit_args *e, lap_attr_key key)
{
    const lap_attr *a = lap_emit_attr(e, key);
    return a ? a->names : (lap_names){0, NULL};
}

/* ---- is it well formed? --------------------------------------------------------------------- */

static bool check_attrs(lap_graph *g, const lap_emit_args *e)
{
    for (uint32_t i = 0; i < e->n_attrs; i++) {
        if (!lap_op_takes(e->op, e->attrs[i].key, NULL)) {
            return lap_error(g->ctx, g->loc, "%s takes no attribute '%s'", lap_op_text(e->op),
                             lap_attr_text(e->attrs[i].key));
        }
        for (uint32_t j = 0; j < i; j++) {
            if (e->attrs[j].key == e->attrs[i].key) {
                return lap_error(g->ctx, g->loc, "%s has attribute '%s' twice", lap_op_text(e->op),
                                 lap_attr_text(e->attrs[i].key));
            }
        }
    }
    size_t n;
    const char *missing = lap_op_lacks(e->op, e->n_attrs, e->attrs, &n);
    return missing == NULL ||
           lap_error(g->ctx, g->loc, "%s needs attribute '%.*s'", lap_op_text(e->op), (int)n, missing);
}

/* Silent about a missing operand: the mistake that made it has been reported. */
static bool check_args(lap_graph *g, const lap_emit_args *e)
{
    if ((int64_t)e->n_args < lap_op_min_args(e->op) ||
        (lap_op_max_args(e->op) >= 0 && (int64_t)e->n_args > lap_op_max_args(e->op))) {
        return lap_error(g->ctx, g->loc, "%s has %u operands, which is too %s", lap_op_text(e->op), e->n_args,
                         (int64_t)e->n_args < lap_op_min_args(e->op) ? "few" : "many");
    }
    for (uint32_t i = 0; i < e->n_args; i++) {
        if (!lap_ref_some(e->args[i])) {
            return false;
        }
        const lap_node *a = lap_node_at(g, e->args[i]);
        if (a->op == LAP_OP_BUFFER && e->op != LAP_OP_LOAD && e->op != LAP_OP_STORE && e->op != LAP_OP_MMA &&
            e->op != LAP_OP_TURN && e->op != LAP_OP_SORT) {
            return lap_error(g->ctx, g->loc, "a buffer has no value: load from it");
        }
        bool multi = lap_op_traits(a->op) & LAP_TRAIT_MULTI;
        if (multi != (e->op == LAP_OP_RESULT)) {
            return lap_error(g->ctx, g->loc,
                             multi ? "'%s' has several results: pick one"
                                   : "'%s' has one value, no results to pick from",
                             lap_op_text(a->op));
        }
    }
    return true;
}

/* Silent about results that were not made, as above. */
static bool check_regions(lap_graph *g, const lap_emit_args *e)
{
    if (e->n_regions != lap_op_regions(e->op)) {
        return lap_error(g->ctx, g->loc, "%s has %u regions, expected %u", lap_op_text(e->op), e->n_regions,
                         lap_op_regions(e->op));
    }
    for (uint32_t i = 0; i < e->n_regions; i++) {
        const lap_region *r = lap_region_at(g, e->regions[i]);
        for (uint32_t j = 0; j < r->n_params; j++) {
            if (!lap_ref_some(r->params[j])) {
                return false;
            }
        }
        for (uint32_t j = 0; j < r->n_results; j++) {
            if (!lap_ref_some(r->results[j])) {
                return false;
            }
            if (lap_op_traits(lap_node_at(g, r->results[j])->op) & LAP_TRAIT_MULTI) {
                return lap_error(g->ctx, g->loc, "a body returns '%s', which has several results: pick one",
                                 lap_op_text(lap_node_at(g, r->results[j])->op));
            }
        }
    }
    return true;
}

static bool check_form(lap_graph *g, const lap_emit_args *e)
{
    if (e->op == LAP_OP_NONE || (unsigned)e->op >= LAP_N_OPS) {
        LAP_BUG("no operation %u", (unsigned)e->op);
    }
    if (!(lap_op_level(e->op) & (unsigned)g->level)) {
        return lap_error(g->ctx, g->loc, "'%s' is not an operation of this level", lap_op_text(e->op));
    }
    return check_regions(g, e) && check_args(g, e) && check_attrs(g, e);
}

/* ---- where does it live? -------------------------------------------------------------------- */

static bool deeper(lap_graph *g, lap_region_id id, lap_region_id *deepest)
{
    const lap_region_store *r = lap_store_region(g, id);
    if (!r->is_open) {
        return lap_error(g->ctx, g->loc,
                         "a value made in a body is used outside it\n"
                         "hint: return it from the body as a state or an emitted value");
    }
    if (r->pub.depth > lap_store_region(g, *deepest)->pub.depth) {
        *deepest = id;
    }
    return true;
}

static bool place(lap_graph *g, const lap_node *n, lap_region_id *out)
{
    *out = (lap_region_id){0};
    for (uint32_t i = 0; i < n->n_args; i++) {
        if (!deeper(g, lap_node_at(g, n->args[i])->region, out)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_ref_some(n->axes[i].count) && !deeper(g, lap_node_at(g, n->axes[i].count)->region, out)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < n->n_regions; i++) {
        const lap_region_store *r = lap_store_region(g, n->regions[i]);
        if (r->is_open || !deeper(g, r->needs, out)) {
            return r->is_open ? lap_error(g->ctx, g->loc, "a body is used before its end") : false;
        }
    }
    if (!(lap_op_traits(n->op) & LAP_TRAIT_PURE)) {
        *out = g->open;
    }
    return true;
}

/* ---- sharing -------------------------------------------------------------------------------- */

static uint64_t hash_node(const lap_node *n)
{
    uint64_t h = lap_hash_word(n->op, n->dtype);
    for (uint32_t i = 0; i < n->n_args; i++) {
        h = lap_hash_word(h, n->args[i].ix);
    }
    h = lap_axes_hash(h, n->n_axes, n->axes);
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        h = lap_attr_hash(h, &n->attrs[i]);
    }
    for (uint32_t i = 0; i < n->n_regions; i++) {
        h = lap_hash_word(h, n->regions[i].ix);
    }
    return h;
}

static bool same_node(const lap_node *a, const lap_node *b)
{
    if (a->op != b->op || a->dtype != b->dtype || a->n_args != b->n_args || a->n_axes != b->n_axes ||
        a->n_attrs != b->n_attrs || a->n_regions != b->n_regions) {
        return false;
    }
    bool same = (a->n_args == 0 || memcmp(a->args, b->args, a->n_args * sizeof *a->args) == 0) &&
                (a->n_axes == 0 || memcmp(a->axes, b->axes, a->n_axes * sizeof *a->axes) == 0) &&
                (a->n_regions == 0 || memcmp(a->regions, b->regions, a->n_regions * sizeof *a->regions) == 0);
    for (uint32_t i = 0; same && i < a->n_attrs; i++) {
        same = lap_attr_same(&a->attrs[i], &b->attrs[i]);
    }
    return same;
}

static lap_ref find_same(const lap_graph *g, const lap_node *n, uint64_t hash)
{
    if (g->table_size == 0) {
        return LAP_NONE;
    }
    for (size_t i = hash & (g->table_size - 1);; i = (i + 1) & (g->table_size - 1)) {
        if (!lap_ref_some(g->table[i])) {
            return LAP_NONE;
        }
        if (g->hashes[i] == hash && same_node(lap_node_at(g, g->table[i]), n)) {
            return g->table[i];
        }
    }
}

static void put(lap_graph *g, uint64_t hash, lap_ref ref)
{
    size_t i = hash & (g->table_size - 1);
    while (lap_ref_some(g->table[i])) {
        i = (i + 1) & (g->table_size - 1);
    }
    g->table[i] = ref;
    g->hashes[i] = hash;
}

static void remember(lap_graph *g, uint64_t hash, lap_ref ref)
{
    if (2 * (g->n_table + 1) > g->table_size) {
        size_t old_size = g->table_size;
        const lap_ref *old = g->table;
        const uint64_t *old_hashes = g->hashes;
        g->table_size = old_size ? 2 * old_size : 256;
        g->table = lap_arena_array(g->ctx->arena, g->table_size, sizeof *g->table);
        g->hashes = lap_arena_array(g->ctx->arena, g->table_size, sizeof *g->hashes);
        for (size_t i = 0; i < old_size; i++) {
            if (lap_ref_some(old[i])) {
                put(g, old_hashes[i], old[i]);
            }
        }
    }
    put(g, hash, ref);
    g->n_table++;
}

static bool commutes(const lap_node *n)
{
    switch (n->op == LAP_OP_MAP ? (lap_fn)lap_attr_i(n, LAP_ATTR_FN, LAP_N_FNS) : LAP_N_FNS) {
    case LAP_FN_ADD:
    case LAP_FN_MUL:
    case LAP_FN_MIN:
    case LAP_FN_MAX:
    case LAP_FN_EQ:
    case LAP_FN_NE:
    case LAP_FN_AND:
    case LAP_FN_OR:
        return true;
    default:
        return false;
    }
}

/* The same sum with its operands the other way round. The order of its axes may differ: no rule
 * reads it, so the older node serves. */
static lap_ref find_commuted(lap_graph *g, const lap_node *n)
{
    if (!commutes(n)) {
        return LAP_NONE;
    }
    const lap_ref args[2] = {n->args[1], n->args[0]};
    lap_emit_args e = {.op = LAP_OP_MAP, .n_args = 2, .args = args, .n_attrs = n->n_attrs, .attrs = n->attrs};
    lap_type type;
    if (!lap_infer(g, &e, &type)) {
        return LAP_NONE;
    }
    lap_node other = *n;
    other.args = args;
    other.n_axes = type.n_axes;
    other.axes = type.axes;
    return find_same(g, &other, hash_node(&other));
}

static const lap_attr *sorted_attrs(lap_arena *arena, uint32_t n, const lap_attr *attrs)
{
    lap_attr *out = lap_arena_array(arena, n, sizeof *out);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t j = i;
        for (; j > 0 && out[j - 1].key > attrs[i].key; j--) {
            out[j] = out[j - 1];
        }
        out[j] = attrs[i];
    }
    return out;
}

static lap_region_id common_ancestor(const lap_graph *g, lap_region_id a, lap_region_id b)
{
    while (a.ix != b.ix) {
        const lap_region *ra = lap_region_at(g, a), *rb = lap_region_at(g, b);
        if (ra->depth >= rb->depth) {
            a = ra->parent;
        } else {
            b = rb->parent;
        }
    }
    return a;
}

/* A node may stand further out than where its bodies were begun: they move with it. A body that
 * several calls share stands where all of them see it. */
static void adopt_regions(lap_graph *g, const lap_node *n)
{
    for (uint32_t i = 0; i < n->n_regions; i++) {
        lap_region_store *r = lap_store_region(g, n->regions[i]);
        r->pub.parent = r->is_owned ? common_ancestor(g, r->pub.parent, n->region) : n->region;
        r->is_owned = true;
    }
    for (uint32_t i = n->n_regions ? 1 : (uint32_t)g->n_regions; i < g->n_regions; i++) {
        g->regions[i]->pub.depth = lap_store_region(g, g->regions[i]->pub.parent)->pub.depth + 1;
    }
}

/* The node gets memory of its own only now that it is known to be new. */
static lap_ref add_node(lap_graph *g, lap_node *n)
{
    lap_arena *arena = g->ctx->arena;
    n->args = n->n_args ? lap_arena_copy(arena, n->args, n->n_args * sizeof *n->args) : NULL;
    n->axes = n->n_axes ? lap_arena_copy(arena, n->axes, n->n_axes * sizeof *n->axes) : NULL;
    n->regions = n->n_regions ? lap_arena_copy(arena, n->regions, n->n_regions * sizeof *n->regions) : NULL;
    lap_attr *attrs = lap_arena_array(arena, n->n_attrs, sizeof *attrs);
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        attrs[i] = lap_attr_copy(arena, &n->attrs[i]);
    }
    n->attrs = attrs;
    n->loc = g->loc;
    return lap_store_add(g, n);
}

static lap_ref emit_node(lap_graph *g, const lap_emit_args *e)
{
    lap_type type = {LAP_NO_DTYPE, 0, NULL};
    if (!check_form(g, e) || !lap_infer(g, e, &type)) {
        return LAP_NONE;
    }
    lap_ref folded = lap_fold(g, e, &type);
    if (lap_ref_some(folded)) {
        return folded;
    }
    lap_node n = {
        .op = e->op,
        .dtype = type.dtype,
        .n_args = e->n_args,
        .args = e->args,
        .n_axes = type.n_axes,
        .axes = type.axes,
        .n_attrs = e->n_attrs,
        .attrs = sorted_attrs(g->ctx->arena, e->n_attrs, e->attrs),
        .n_regions = e->n_regions,
        .regions = e->regions,
    };
    bool pure = lap_op_traits(e->op) & LAP_TRAIT_PURE;
    uint64_t hash = pure ? hash_node(&n) : 0;
    lap_ref known = pure ? find_same(g, &n, hash) : LAP_NONE;
    if (pure && !lap_ref_some(known)) {
        known = find_commuted(g, &n);
    }
    if (!place(g, &n, &n.region)) {
        return LAP_NONE;
    }
    if (lap_ref_some(known)) {
        return known;
    }
    lap_ref ref = add_node(g, &n);
    adopt_regions(g, &n);
    if (pure) {
        remember(g, hash, ref);
    }
    return ref;
}

/* Making a node may make others: extents that follow their axes, simpler forms. A script can chain
 * extents so that this never ends, hence the limits. */
lap_ref lap_emit(lap_graph *g, const lap_emit_args *e)
{
    enum { MAX_NESTING = 64, MAX_WORK = 20000 };
    g->work = g->nesting == 0 ? 0 : g->work + 1;
    if (g->nesting >= MAX_NESTING || g->work > MAX_WORK) {
        if (g->work <= MAX_WORK + 1) {
            lap_error(g->ctx, g->loc, "run-time extents depend on each other too deeply");
        }
        g->work = MAX_WORK + 1;
        return LAP_NONE;
    }
    g->nesting++;
    lap_ref ref = emit_node(g, e);
    g->nesting--;
    return ref;
}
