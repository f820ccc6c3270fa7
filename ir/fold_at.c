/* SPDX-License-Identifier: Apache-2.0
 * fold_at.c - rules for reads and renames: identities, reads of constants, chains of names. */
#include "ir/fold.h"

/* The axis that the index counts, where it runs over exactly `axis`. */
static bool is_whole_axis(const lap_graph *g, lap_ref index, const lap_axis *axis, lap_name *out)
{
    const lap_node *n = lap_node_at(g, index);
    if (n->op != LAP_OP_INDEX || !lap_dim_same(n->axes[0].size, axis->size) ||
        !lap_ref_same(n->axes[0].count, axis->count)) {
        return false;
    }
    *out = n->axes[0].name;
    return true;
}

/* Whether every value of the index lies on the axis. */
static bool is_inside(lap_graph *g, lap_ref index, lap_dim size)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    const lap_node *n = lap_node_at(g, index);
    lap_dim at;
    if (n->op == LAP_OP_INDEX) {
        return lap_dim_compare(ctx, n->axes[0].size, LAP_REL_LE, size) == LAP_YES;
    }
    return lap_fold_extent(g, index, &at) && lap_dim_compare(ctx, at, LAP_REL_LT, size) == LAP_YES &&
           lap_dim_compare(ctx, at, LAP_REL_GE, lap_dim_const(ctx, 0)) == LAP_YES;
}

static lap_ref fold_at_number(lap_graph *g, const lap_emit_args *e, const lap_type *type)
{
    lap_scalar value;
    if (!lap_fold_splat(g, e->args[0], &value)) {
        return LAP_NONE;
    }
    const lap_attr *fill = lap_emit_attr(e, LAP_ATTR_FILL);
    if (fill && lap_scalar_same(fill->scalar, value)) {
        return lap_fold_number(g, value, type);
    }
    lap_names src = lap_emit_names(e, LAP_ATTR_SRC);
    const lap_node *x = lap_node_at(g, e->args[0]);
    for (uint32_t i = 0; i < src.n; i++) {
        if (!is_inside(g, e->args[i + 1], lap_node_axis(x, src.at[i])->size)) {
            return LAP_NONE;
        }
    }
    return lap_fold_number(g, value, type);
}

/* Indices that are the whole axis under its own name fall away; under another name they rename.
 * Only when no other operand has that name, or the two would be aligned by accident. */
static lap_ref fold_identity(lap_graph *g, const lap_emit_args *e)
{
    lap_arena *arena = lap_graph_ctx(g)->arena;
    const lap_node *x = lap_node_at(g, e->args[0]);
    lap_names src = lap_emit_names(e, LAP_ATTR_SRC);
    lap_name *rest = lap_arena_array(arena, src.n, sizeof *rest);
    lap_ref *index = lap_arena_array(arena, src.n, sizeof *index);
    uint32_t n = 0;
    for (uint32_t i = 0; i < src.n; i++) {
        lap_name name;
        if (!is_whole_axis(g, e->args[i + 1], lap_node_axis(x, src.at[i]), &name) ||
            !lap_name_same(name, src.at[i])) {
            rest[n] = src.at[i];
            index[n++] = e->args[i + 1];
        }
    }
    lap_name to;
    if (n == 1 && src.n == 1 && is_whole_axis(g, index[0], lap_node_axis(x, rest[0]), &to) &&
        !lap_node_axis(x, to)) {
        return lap_rename(g, e->args[0], (lap_names){1, rest}, (lap_names){1, &to});
    }
    if (n == src.n) {
        return LAP_NONE;
    }
    const lap_attr *fill = lap_emit_attr(e, LAP_ATTR_FILL);
    return n == 0 ? e->args[0]
                  : lap_at(g, e->args[0], (lap_names){n, rest}, index, fill ? &fill->scalar : NULL);
}

/* A coordinate read at a place is the place. */
static lap_ref fold_at_index(lap_graph *g, const lap_emit_args *e)
{
    const lap_node *x = lap_node_at(g, e->args[0]);
    return x->op == LAP_OP_INDEX && e->n_args == 2 && is_inside(g, e->args[1], x->axes[0].size) ? e->args[1]
                                                                                                : LAP_NONE;
}

lap_ref lap_fold_at(lap_graph *g, const lap_emit_args *e, const lap_type *type)
{
    lap_ref out = fold_at_number(g, e, type);
    if (!lap_ref_some(out)) {
        out = fold_at_index(g, e);
    }
    if (!lap_ref_some(out)) {
        out = fold_identity(g, e);
    }
    return lap_ref_some(out) && lap_node_has_type(lap_node_at(g, out), type) ? out : LAP_NONE;
}

/* ---- rename --------------------------------------------------------------------------------- */

static lap_name renamed(lap_names from, lap_names to, lap_name name)
{
    uint32_t i = lap_names_find(from, name);
    return i < from.n ? to.at[i] : name;
}

/* One rename of `x`, whose names go through up to two lists, ending at `type`; in x's axis order
 * and without names that stay. */
static lap_ref direct(lap_graph *g, lap_ref x, lap_names from1, lap_names to1, lap_names from2, lap_names to2,
                      const lap_type *type)
{
    const lap_node *n = lap_node_at(g, x);
    lap_arena *arena = lap_graph_ctx(g)->arena;
    lap_name *from = lap_arena_array(arena, n->n_axes, sizeof *from);
    lap_name *to = lap_arena_array(arena, n->n_axes, sizeof *to);
    uint32_t n_names = 0;
    for (uint32_t i = 0; i < n->n_axes; i++) {
        lap_name end = renamed(from2, to2, renamed(from1, to1, n->axes[i].name));
        if (!lap_name_same(end, n->axes[i].name)) {
            from[n_names] = n->axes[i].name;
            to[n_names++] = end;
        }
    }
    lap_attr attrs[] = {lap_attr_make_names(LAP_ATTR_FROM, (lap_names){n_names, from}),
                        lap_attr_make_names(LAP_ATTR_TO, (lap_names){n_names, to})};
    return lap_emit(
        g, &(lap_emit_args){
               .op = LAP_OP_RENAME, .n_args = 1, .args = &x, .n_attrs = 2, .attrs = attrs, .type = type});
}

static bool is_direct(const lap_node *x, lap_names from, lap_names to)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < x->n_axes && at < from.n; i++) {
        at += lap_name_same(from.at[at], x->axes[i].name);
    }
    for (uint32_t i = 0; i < from.n; i++) {
        if (lap_name_same(from.at[i], to.at[i])) {
            return false;
        }
    }
    return at == from.n;
}

lap_ref lap_fold_rename(lap_graph *g, const lap_emit_args *e, const lap_type *type)
{
    lap_names none = {0, NULL};
    lap_names from = lap_emit_names(e, LAP_ATTR_FROM), to = lap_emit_names(e, LAP_ATTR_TO);
    if (lap_node_has_type(lap_node_at(g, e->args[0]), type)) {
        bool stays = true;
        for (uint32_t i = 0; i < from.n; i++) {
            stays = stays && lap_name_same(from.at[i], to.at[i]);
        }
        if (stays) {
            return e->args[0];
        }
    }
    const lap_node *x = lap_node_at(g, e->args[0]);
    lap_scalar value;
    if (lap_fold_splat(g, e->args[0], &value)) {
        return lap_fold_number(g, value, type);
    }
    if (x->op == LAP_OP_INDEX) {
        return lap_index(g, type->axes[0]);
    }
    if (x->op == LAP_OP_RENAME) {
        return direct(g, x->args[0], lap_attr_names(x, LAP_ATTR_FROM), lap_attr_names(x, LAP_ATTR_TO), from,
                      to, type);
    }
    return is_direct(x, from, to) ? LAP_NONE : direct(g, e->args[0], from, to, none, none, type);
}
