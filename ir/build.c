/* SPDX-License-Identifier: Apache-2.0
 * build.c - lap_emit: check, infer, fold, share, place; and the constructors on top of it. */
#include "ir/attr.h"
#include "ir/fold.h"
#include "ir/infer.h"
#include "ir/store.h"

#include <string.h>

void lap_set_loc(lap_graph *g, lap_loc loc) { g->loc = loc; }

lap_loc lap_get_loc(const lap_graph *g) { return g->loc; }

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
    for (unsigned key = 0; key < LAP_N_ATTRS; key++) {
        bool required = false, found = false;
        if (!lap_op_takes(e->op, (lap_attr_key)key, &required) || !required) {
            continue;
        }
        for (uint32_t i = 0; i < e->n_attrs; i++) {
            found = found || e->attrs[i].key == (lap_attr_key)key;
        }
        if (!found) {
            return lap_error(g->ctx, g->loc, "%s needs attribute '%s'", lap_op_text(e->op),
                             lap_attr_text((lap_attr_key)key));
        }
    }
    return true;
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
            e->op != LAP_OP_SORT) {
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
    for (uint32_t i = 0; i < n->n_axes; i++) {
        h = lap_hash_word(h, (uint64_t)n->axes[i].name.ix << 32 | n->axes[i].size.ix);
        h = lap_hash_word(h, n->axes[i].count.ix);
    }
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

/* ---- constructors --------------------------------------------------------------------------- */

static lap_ref emit_const(lap_graph *g, lap_scalar value)
{
    lap_attr a = lap_attr_make_scalar(LAP_ATTR_VALUE, value);
    return lap_emit(g, &(lap_emit_args){.op = LAP_OP_CONST, .n_attrs = 1, .attrs = &a});
}

lap_ref lap_const_f(lap_graph *g, double value) { return emit_const(g, lap_scalar_f(value)); }

lap_ref lap_const_i(lap_graph *g, int64_t value) { return emit_const(g, lap_scalar_i(value)); }

lap_ref lap_const_b(lap_graph *g, bool value) { return emit_const(g, lap_scalar_b(value)); }

lap_ref lap_dim_node(lap_graph *g, lap_dim d)
{
    lap_attr a = lap_attr_make_dim(LAP_ATTR_DIM, d);
    return lap_emit(g, &(lap_emit_args){.op = LAP_OP_DIM, .n_attrs = 1, .attrs = &a});
}

lap_ref lap_index(lap_graph *g, lap_axis axis)
{
    lap_attr a = lap_attr_make_name(LAP_ATTR_AXIS, axis.name);
    lap_type type = {LAP_I64, 1, &axis};
    return lap_emit(g, &(lap_emit_args){.op = LAP_OP_INDEX, .n_attrs = 1, .attrs = &a, .type = &type});
}

lap_ref lap_full(lap_graph *g, lap_scalar value, uint32_t n_axes, const lap_axis *axes)
{
    lap_attr a = lap_attr_make_scalar(LAP_ATTR_VALUE, value);
    lap_type type = {value.dtype, n_axes, axes};
    return lap_emit(g, &(lap_emit_args){.op = LAP_OP_FULL, .n_attrs = 1, .attrs = &a, .type = &type});
}

static lap_ref emit_map(lap_graph *g, lap_fn fn, uint32_t n, const lap_ref *args)
{
    lap_attr a = lap_attr_make_i(LAP_ATTR_FN, fn);
    return lap_emit(g,
                    &(lap_emit_args){.op = LAP_OP_MAP, .n_args = n, .args = args, .n_attrs = 1, .attrs = &a});
}

lap_ref lap_map1(lap_graph *g, lap_fn fn, lap_ref a) { return emit_map(g, fn, 1, &a); }

lap_ref lap_map2(lap_graph *g, lap_fn fn, lap_ref a, lap_ref b)
{
    return emit_map(g, fn, 2, (lap_ref[]){a, b});
}

lap_ref lap_map3(lap_graph *g, lap_fn fn, lap_ref a, lap_ref b, lap_ref c)
{
    return emit_map(g, fn, 3, (lap_ref[]){a, b, c});
}

lap_ref lap_reduce(lap_graph *g, lap_red red, lap_ref x, lap_names over)
{
    lap_attr attrs[] = {lap_attr_make_i(LAP_ATTR_RED, red), lap_attr_make_names(LAP_ATTR_OVER, over)};
    return lap_emit(
        g, &(lap_emit_args){.op = LAP_OP_REDUCE, .n_args = 1, .args = &x, .n_attrs = 2, .attrs = attrs});
}

lap_ref lap_at(lap_graph *g, lap_ref x, lap_names src, const lap_ref *index, const lap_scalar *fill)
{
    lap_attr attrs[2] = {lap_attr_make_names(LAP_ATTR_SRC, src)};
    if (fill) {
        attrs[1] = lap_attr_make_scalar(LAP_ATTR_FILL, *fill);
    }
    lap_ref *args = lap_arena_array(g->ctx->arena, (size_t)src.n + 1, sizeof *args);
    args[0] = x;
    for (uint32_t i = 0; i < src.n; i++) {
        args[i + 1] = index[i];
    }
    return lap_emit(
        g, &(lap_emit_args){
               .op = LAP_OP_AT, .n_args = src.n + 1, .args = args, .n_attrs = fill ? 2 : 1, .attrs = attrs});
}

static lap_ref emit_rename(lap_graph *g, lap_ref x, lap_names from, lap_names to, const lap_type *type)
{
    lap_attr attrs[] = {lap_attr_make_names(LAP_ATTR_FROM, from), lap_attr_make_names(LAP_ATTR_TO, to)};
    return lap_emit(
        g, &(lap_emit_args){
               .op = LAP_OP_RENAME, .n_args = 1, .args = &x, .n_attrs = 2, .attrs = attrs, .type = type});
}

lap_ref lap_rename(lap_graph *g, lap_ref x, lap_names from, lap_names to)
{
    return emit_rename(g, x, from, to, NULL);
}

/* The same value with one axis replaced by `axis`, which has its name. */
static lap_ref with_axis(lap_graph *g, lap_ref x, lap_axis axis)
{
    if (!lap_ref_some(x)) {
        return LAP_NONE;
    }
    const lap_node *n = lap_node_at(g, x);
    if (!lap_node_axis(n, axis.name)) {
        lap_error(g->ctx, g->loc, "no axis '%s' in %s", lap_text(g->ctx, axis.name),
                  lap_type_show(g->ctx, n));
        return LAP_NONE;
    }
    lap_axis *axes = lap_arena_copy(g->ctx->arena, n->axes, n->n_axes * sizeof *axes);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_name_same(axes[i].name, axis.name)) {
            axes[i] = axis;
        }
    }
    lap_type type = {n->dtype, n->n_axes, axes};
    return emit_rename(g, x, (lap_names){0, NULL}, (lap_names){0, NULL}, &type);
}

lap_ref lap_ragged(lap_graph *g, lap_ref x, lap_name axis, lap_ref count)
{
    if (!lap_ref_some(x) || !lap_ref_some(count)) {
        return LAP_NONE;
    }
    const lap_axis *a = lap_node_axis(lap_node_at(g, x), axis);
    return with_axis(g, x, (lap_axis){axis, a ? a->size : (lap_dim){0}, count});
}

lap_ref lap_expect(lap_graph *g, lap_ref x, lap_name axis, lap_dim size)
{
    if (!lap_ref_some(x)) {
        return LAP_NONE;
    }
    const lap_axis *a = lap_node_axis(lap_node_at(g, x), axis);
    return with_axis(g, x, (lap_axis){axis, size, a ? a->count : LAP_NONE});
}

lap_ref lap_result(lap_graph *g, lap_ref multi, const char *which)
{
    lap_attr a = lap_attr_make_name(LAP_ATTR_WHICH, lap_intern(g->ctx, which));
    return lap_emit(
        g, &(lap_emit_args){.op = LAP_OP_RESULT, .n_args = 1, .args = &multi, .n_attrs = 1, .attrs = &a});
}

/* ---- outputs and checks --------------------------------------------------------------------- */

void lap_graph_add_output(lap_graph *g, const lap_output *out)
{
    lap_arena *arena = g->ctx->arena;
    lap_arena_grow(arena, &g->outputs, g->n_outputs, 1, &g->output_capacity, sizeof *out);
    lap_output *o = &g->outputs[g->n_outputs++];
    *o = *out;
    lap_attr layout = lap_attr_make_layout(LAP_ATTR_LAYOUT, out->layout);
    o->layout = lap_attr_copy(arena, &layout).layout;
    if (out->n_crops) {
        o->crop_axes = lap_arena_copy(arena, out->crop_axes, out->n_crops * sizeof *out->crop_axes);
        o->crop_counts = lap_arena_copy(arena, out->crop_counts, out->n_crops * sizeof *out->crop_counts);
    }
}

bool lap_graph_assume(lap_graph *g, lap_dim a, lap_rel rel, lap_dim b, const char *message)
{
    switch (lap_dim_compare(g->ctx, a, rel, b)) {
    case LAP_YES:
        return true;
    case LAP_NO:
        return lap_error(g->ctx, g->loc, "%s", message);
    case LAP_UNKNOWN:
        break;
    }
    for (size_t i = 0; i < g->n_checks; i++) {
        const lap_check *c = &g->checks[i];
        if (c->rel == rel && ((lap_dim_same(c->a, a) && lap_dim_same(c->b, b)) ||
                              (rel == LAP_REL_EQ && lap_dim_same(c->a, b) && lap_dim_same(c->b, a)))) {
            return true;
        }
    }
    lap_arena_grow(g->ctx->arena, &g->checks, g->n_checks, 1, &g->check_capacity, sizeof(lap_check));
    g->checks[g->n_checks++] = (lap_check){a, rel, b, lap_text(g->ctx, lap_intern(g->ctx, message)), g->loc};
    return true;
}

bool lap_require(lap_graph *g, lap_ref cond, const char *message)
{
    lap_dim a, b;
    lap_rel rel;
    if (g->open.ix == 0 && lap_fold_relation(g, cond, &a, &rel, &b)) {
        return lap_graph_assume(g, a, rel, b, message);
    }
    lap_attr attr = lap_attr_make_name(LAP_ATTR_MESSAGE, lap_intern(g->ctx, message));
    return lap_ref_some(lap_emit(
        g, &(lap_emit_args){.op = LAP_OP_REQUIRE, .n_args = 1, .args = &cond, .n_attrs = 1, .attrs = &attr}));
}
