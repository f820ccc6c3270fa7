/* SPDX-License-Identifier: Apache-2.0
 * infer_index.c - type rules of at, scatter, rename and topk: where axes are replaced.
 *
 * A ragged axis whose count varies over a replaced axis follows it: i[p] read at p = idx is i[idx]. */
#include "ir/infer_rules.h"

static bool is_index(lap_graph *g, const lap_node *index, lap_name axis)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    return lap_dtype_compute(index->dtype) == LAP_I64 ||
           lap_error(ctx, lap_get_loc(g), "the index of axis '%s' is %s, expected integers",
                     lap_text(ctx, axis), lap_type_show(ctx, index));
}

/* ---- at ------------------------------------------------------------------------------------- */

static bool follow_at(lap_graph *g, lap_axis *axis, lap_names src, const lap_ref *index, bool filled)
{
    if (!lap_ref_some(axis->count)) {
        return true;
    }
    const lap_node *count = lap_node_at(g, axis->count);
    lap_arena *arena = lap_graph_ctx(g)->arena;
    lap_name *names = lap_arena_array(arena, count->n_axes, sizeof *names);
    lap_ref *at = lap_arena_array(arena, count->n_axes, sizeof *at);
    uint32_t n = 0;
    for (uint32_t i = 0; i < count->n_axes; i++) {
        uint32_t k = lap_names_find(src, count->axes[i].name);
        if (k < src.n) {
            names[n] = count->axes[i].name;
            at[n++] = index[k];
        }
    }
    if (n > 0) {
        lap_scalar none = lap_scalar_i(0); /* where the value has a fill, a row outside is empty */
        axis->count = lap_at(g, axis->count, (lap_names){n, names}, at, filled ? &none : NULL);
        if (lap_ref_some(axis->count) && lap_node_axis(lap_node_at(g, axis->count), axis->name) != NULL) {
            const char *name = lap_text(lap_graph_ctx(g), axis->name);
            return lap_error(lap_graph_ctx(g), lap_get_loc(g),
                             "the extent of axis '%s' would vary along the axis itself\n"
                             "hint: rename it in the index with :as('%s -> ...')",
                             name, name);
        }
    }
    return lap_ref_some(axis->count);
}

static bool check_at(lap_graph *g, const lap_emit_args *e, const lap_node *x, lap_names src)
{
    if (e->n_args != src.n + 1) {
        return lap_error(lap_graph_ctx(g), lap_get_loc(g), "at replaces %u axes with %u indices", src.n,
                         e->n_args - 1);
    }
    for (uint32_t i = 0; i < src.n; i++) {
        if (!lap_infer_need(g, x, src.at[i]) || !is_index(g, lap_node_at(g, e->args[i + 1]), src.at[i])) {
            return false;
        }
    }
    const lap_attr *fill = lap_emit_attr(e, LAP_ATTR_FILL);
    lap_scalar value = fill ? fill->scalar : (lap_scalar){0};
    return lap_infer_unique(g, "axis", src) && (!fill || lap_infer_scalar(g, "the fill", x->dtype, &value));
}

/* Axes: those before the first replaced one, the indices', those after it. */
bool lap_infer_at(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    const lap_node *x = lap_node_at(g, e->args[0]);
    lap_names src = lap_emit_names(e, LAP_ATTR_SRC);
    if (!check_at(g, e, x, src)) {
        return false;
    }
    bool filled = lap_emit_attr(e, LAP_ATTR_FILL);
    lap_axis *kept = lap_arena_array(lap_graph_ctx(g)->arena, x->n_axes, sizeof *kept);
    uint32_t n_kept = 0, n_before = UINT32_MAX;
    for (uint32_t i = 0; i < x->n_axes; i++) {
        if (lap_names_has(src, x->axes[i].name)) {
            n_before = n_before == UINT32_MAX ? n_kept : n_before;
            continue;
        }
        kept[n_kept] = x->axes[i];
        if (!follow_at(g, &kept[n_kept++], src, e->args + 1, filled)) {
            return false;
        }
    }
    n_before = n_before == UINT32_MAX ? n_kept : n_before;
    *out = (lap_type){x->dtype, n_before, kept};
    for (uint32_t i = 0; i < src.n; i++) {
        const lap_node *index = lap_node_at(g, e->args[i + 1]);
        if (!lap_axes_union(g, out->n_axes, out->axes, index->n_axes, index->axes, &out->n_axes,
                            &out->axes)) {
            return false;
        }
    }
    return lap_axes_union(g, out->n_axes, out->axes, n_kept - n_before, kept + n_before, &out->n_axes,
                          &out->axes);
}

/* ---- rename --------------------------------------------------------------------------------- */

static bool follow_rename(lap_graph *g, lap_axis *axis, lap_names from, lap_names to)
{
    if (!lap_ref_some(axis->count)) {
        return true;
    }
    const lap_node *count = lap_node_at(g, axis->count);
    lap_arena *arena = lap_graph_ctx(g)->arena;
    lap_name *sub_from = lap_arena_array(arena, count->n_axes, sizeof *sub_from);
    lap_name *sub_to = lap_arena_array(arena, count->n_axes, sizeof *sub_to);
    uint32_t n = 0;
    for (uint32_t i = 0; i < count->n_axes; i++) {
        uint32_t k = lap_names_find(from, count->axes[i].name);
        if (k < from.n) {
            sub_from[n] = from.at[k];
            sub_to[n++] = to.at[k];
        }
    }
    if (n > 0) {
        axis->count = lap_rename(g, axis->count, (lap_names){n, sub_from}, (lap_names){n, sub_to});
    }
    return lap_ref_some(axis->count);
}

static bool check_rename(lap_graph *g, const lap_node *x, lap_names from, lap_names to)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    if (from.n != to.n) {
        return lap_error(ctx, lap_get_loc(g), "rename has %u axes and %u new names", from.n, to.n);
    }
    for (uint32_t i = 0; i < from.n; i++) {
        if (!lap_infer_need(g, x, from.at[i])) {
            return false;
        }
        if (lap_node_axis(x, to.at[i]) && !lap_names_has(from, to.at[i])) {
            return lap_error(ctx, lap_get_loc(g), "cannot rename '%s' to '%s': %s has that axis already",
                             lap_text(ctx, from.at[i]), lap_text(ctx, to.at[i]), lap_type_show(ctx, x));
        }
    }
    return lap_infer_unique(g, "axis", from) && lap_infer_unique(g, "axis", to);
}

/* A declared type gives new sizes (stated, so they become checks) and run-time extents. */
static bool declared_rename(lap_graph *g, const lap_type *want, uint32_t n, lap_axis *axes)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    if (want->n_axes != n) {
        return lap_error(ctx, lap_get_loc(g), "rename declares %u axes for a value of %u", want->n_axes, n);
    }
    for (uint32_t i = 0; i < n; i++) {
        const lap_axis *w = lap_axis_find(want->axes, want->n_axes, axes[i].name);
        if (!w) {
            return lap_error(ctx, lap_get_loc(g), "rename does not declare axis '%s'",
                             lap_text(ctx, axes[i].name));
        }
        if (!lap_dim_same(w->size, axes[i].size)) {
            const char *why =
                lap_arena_printf(ctx->arena, "axis '%s' is %s, expected %s", lap_text(ctx, w->name),
                                 lap_dim_show(ctx, axes[i].size), lap_dim_show(ctx, w->size));
            if (!lap_graph_assume(g, axes[i].size, LAP_REL_EQ, w->size, why)) {
                return false;
            }
        }
        if (!lap_infer_count(g, w)) {
            return false;
        }
        axes[i] = *w;
    }
    return true;
}

bool lap_infer_rename(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    const lap_node *x = lap_node_at(g, e->args[0]);
    lap_names from = lap_emit_names(e, LAP_ATTR_FROM), to = lap_emit_names(e, LAP_ATTR_TO);
    if (!check_rename(g, x, from, to)) {
        return false;
    }
    lap_axis *axes = lap_arena_array(lap_graph_ctx(g)->arena, x->n_axes, sizeof *axes);
    for (uint32_t i = 0; i < x->n_axes; i++) {
        axes[i] = x->axes[i];
        uint32_t k = lap_names_find(from, axes[i].name);
        if (k < from.n) {
            axes[i].name = to.at[k];
        }
        if (!e->type && !follow_rename(g, &axes[i], from, to)) {
            return false;
        }
    }
    *out = (lap_type){x->dtype, x->n_axes, axes};
    return !e->type || declared_rename(g, e->type, x->n_axes, axes);
}

/* ---- scatter -------------------------------------------------------------------------------- */

static bool check_scatter(lap_graph *g, const lap_emit_args *e, lap_names target, lap_dim_list sizes)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    const lap_node *x = lap_node_at(g, e->args[0]);
    lap_scalar base = lap_emit_attr(e, LAP_ATTR_BASE)->scalar;
    if (e->n_args != target.n + 1 || sizes.n != target.n) {
        return lap_error(ctx, lap_get_loc(g), "scatter writes %u axes with %u indices and %u sizes", target.n,
                         e->n_args - 1, sizes.n);
    }
    if ((uint64_t)lap_emit_attr(e, LAP_ATTR_MODE)->i >= LAP_N_MODES) {
        return lap_error(ctx, lap_get_loc(g), "no such mode of scatter");
    }
    for (uint32_t i = 0; i < target.n; i++) {
        if (!is_index(g, lap_node_at(g, e->args[i + 1]), target.at[i])) {
            return false;
        }
    }
    return lap_infer_unique(g, "axis", target) &&
           lap_infer_unique(g, "axis", lap_emit_names(e, LAP_ATTR_OVER)) &&
           lap_infer_scalar(g, "the base", x->dtype == LAP_BOOL ? LAP_I64 : x->dtype, &base);
}

bool lap_infer_scatter(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_names over = lap_emit_names(e, LAP_ATTR_OVER), target = lap_emit_names(e, LAP_ATTR_TARGET);
    lap_dim_list sizes = lap_emit_attr(e, LAP_ATTR_SIZES)->dims;
    const lap_node *x = lap_node_at(g, e->args[0]);
    if (!check_scatter(g, e, target, sizes)) {
        return false;
    }
    uint32_t n = x->n_axes;
    const lap_axis *axes = x->axes;
    for (uint32_t i = 0; i < target.n; i++) {
        const lap_node *index = lap_node_at(g, e->args[i + 1]);
        if (!lap_axes_union(g, n, axes, index->n_axes, index->axes, &n, &axes)) {
            return false;
        }
    }
    if (!lap_infer_axes(g, e->op, n)) {
        return false;
    }
    for (uint32_t i = 0; i < over.n; i++) {
        if (!lap_axis_find(axes, n, over.at[i])) {
            return lap_error(ctx, lap_get_loc(g), "no axis '%s' to scatter over in %s",
                             lap_text(ctx, over.at[i]), lap_axes_show(ctx, x->dtype, n, axes));
        }
    }
    const lap_axis *rest;
    uint32_t n_rest = lap_axes_without(ctx, n, axes, over, &rest);
    lap_axis *all = lap_arena_array(ctx->arena, (size_t)n_rest + target.n, sizeof *all);
    for (uint32_t i = 0; i < n_rest; i++) {
        all[i] = rest[i];
    }
    for (uint32_t i = 0; i < target.n; i++) {
        if (lap_axis_find(rest, n_rest, target.at[i])) {
            return lap_error(ctx, lap_get_loc(g),
                             "scatter writes axis '%s', which the value keeps\n"
                             "hint: scatter over it, or rename it",
                             lap_text(ctx, target.at[i]));
        }
        all[n_rest + i] = (lap_axis){target.at[i], sizes.at[i], LAP_NONE};
    }
    lap_dtype dtype = lap_dtype_compute(x->dtype);
    bool adds_bools = dtype == LAP_BOOL && lap_emit_attr(e, LAP_ATTR_MODE)->i == LAP_MODE_ADD;
    *out = (lap_type){adds_bools ? LAP_I64 : dtype, n_rest + target.n, all};
    return true;
}

/* ---- topk ----------------------------------------------------------------------------------- */

bool lap_infer_topk(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    (void)out;
    lap_ctx *ctx = lap_graph_ctx(g);
    const lap_node *x = lap_node_at(g, e->args[0]);
    lap_name axis = lap_emit_attr(e, LAP_ATTR_AXIS)->name, into = lap_emit_attr(e, LAP_ATTR_INTO)->name;
    lap_dim k = lap_emit_attr(e, LAP_ATTR_DIM)->dim;
    if (!lap_infer_need(g, x, axis)) {
        return false;
    }
    if (!lap_name_same(axis, into) && lap_node_axis(x, into)) {
        return lap_error(ctx, lap_get_loc(g), "topk makes axis '%s', which %s has already",
                         lap_text(ctx, into), lap_type_show(ctx, x));
    }
    if (e->n_args > 1 && lap_dtype_compute(lap_node_at(g, e->args[1])->dtype) != LAP_I64) {
        return lap_error(ctx, lap_get_loc(g), "the k of topk is %s, expected integers",
                         lap_type_show(ctx, lap_node_at(g, e->args[1])));
    }
    lap_dim size = lap_node_axis(x, axis)->size;
    const char *why = lap_arena_printf(ctx->arena, "topk takes %s of the %s entries of axis '%s'",
                                       lap_dim_show(ctx, k), lap_dim_show(ctx, size), lap_text(ctx, axis));
    return lap_graph_assume(g, k, LAP_REL_LE, size, why) &&
           lap_graph_assume(g, k, LAP_REL_GE, lap_dim_const(ctx, 0), why);
}

/* The new axis ends at the run-time k, or where a ragged axis ends. */
static lap_ref topk_count(lap_graph *g, const lap_node *topk, const lap_axis *old, lap_dim k)
{
    if (topk->n_args > 1) {
        return topk->args[1];
    }
    if (!lap_ref_some(old->count) || lap_dim_same(old->size, k)) {
        return old->count;
    }
    return lap_map2(g, LAP_FN_MIN, old->count, lap_dim_node(g, k));
}

bool lap_infer_topk_result(lap_graph *g, const lap_node *m, const char *which, lap_type *out)
{
    const lap_node *x = lap_node_at(g, m->args[0]);
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_name axis = lap_attr_name(m, LAP_ATTR_AXIS), into = lap_attr_name(m, LAP_ATTR_INTO);
    bool values = lap_name_same(lap_intern(ctx, which), lap_intern(ctx, "values"));
    if (!values && !lap_name_same(lap_intern(ctx, which), lap_intern(ctx, "index"))) {
        return lap_infer_no_result(g, m, which);
    }
    lap_axis *axes = lap_arena_copy(ctx->arena, x->axes, x->n_axes * sizeof *axes);
    for (uint32_t i = 0; i < x->n_axes; i++) {
        if (lap_name_same(axes[i].name, axis)) {
            lap_dim k = lap_attr_dim(m, LAP_ATTR_DIM);
            lap_ref count = topk_count(g, m, &x->axes[i], k);
            axes[i] = (lap_axis){into, k, count};
        }
    }
    *out = (lap_type){values ? lap_dtype_compute(x->dtype) : LAP_I64, x->n_axes, axes};
    if (m->n_args < 2) {
        return true;
    }
    const lap_node *k = lap_node_at(g, m->args[1]);
    return lap_axes_union(g, out->n_axes, out->axes, k->n_axes, k->axes, &out->n_axes, &out->axes);
}
