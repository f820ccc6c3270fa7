/* SPDX-License-Identifier: Apache-2.0
 * grad_fit.c - gradients brought to the axes of their values, and small pieces of rules. */
#include "passes/grad_run.h"

static bool is_named(lap_names names, lap_name name) { return lap_names_has(names, name); }

lap_ref lap_grad_sum(lap_grad_run *r, lap_ref x, lap_names over)
{
    return over.n && lap_ref_some(x) ? lap_reduce(r->g, LAP_RED_SUM, x, over) : x;
}

lap_ref lap_grad_add(lap_grad_run *r, lap_ref a, lap_ref b)
{
    return !lap_ref_some(a) ? b : !lap_ref_some(b) ? a : lap_map2(r->g, LAP_FN_ADD, a, b);
}

lap_ref lap_grad_of(const lap_grad_run *r, const lap_grad_results *d, const char *which)
{
    lap_name name = lap_intern(r->ctx, which);
    for (uint32_t i = 0; i < d->n; i++) {
        if (lap_name_same(d->which[i], name)) {
            return d->d[i];
        }
    }
    return LAP_NONE;
}

static lap_names names_beyond(lap_grad_run *r, const lap_node *a, uint32_t n, const lap_axis *axes)
{
    lap_name *names = lap_arena_array(r->ctx->arena, a->n_axes, sizeof *names);
    uint32_t n_names = 0;
    for (uint32_t i = 0; i < a->n_axes; i++) {
        if (!lap_axis_find(axes, n, a->axes[i].name)) {
            names[n_names++] = a->axes[i].name;
        }
    }
    return (lap_names){n_names, names};
}

lap_names lap_grad_axes_beyond(lap_grad_run *r, lap_ref a, lap_ref b)
{
    if (!lap_ref_some(a) || !lap_ref_some(b)) {
        return (lap_names){0, NULL};
    }
    const lap_node *other = lap_node_at(r->g, b);
    return names_beyond(r, lap_node_at(r->g, a), other->n_axes, other->axes);
}

/* The same value with these axes declared: sizes as they are, counts anew. */
static lap_ref declare(lap_grad_run *r, lap_ref d, const lap_axis *axes)
{
    lap_type type = lap_node_type(lap_node_at(r->g, d));
    type.axes = axes;
    lap_attr attrs[] = {lap_attr_make_names(LAP_ATTR_FROM, (lap_names){0, NULL}),
                        lap_attr_make_names(LAP_ATTR_TO, (lap_names){0, NULL})};
    return lap_emit(
        r->g, &(lap_emit_args){
                  .op = LAP_OP_RENAME, .n_args = 1, .args = &d, .n_attrs = 2, .attrs = attrs, .type = &type});
}

/* d without the run-time extent of one axis: 0 where it was absent. */
static lap_ref settle_axis(lap_grad_run *r, lap_ref d, lap_name name)
{
    const lap_node *n = lap_node_at(r->g, d);
    const lap_axis *axis = lap_node_axis(n, name);
    lap_ref index = lap_index(r->g, (lap_axis){axis->name, axis->size, LAP_NONE});
    lap_ref kept =
        lap_map3(r->g, LAP_FN_SELECT, lap_map2(r->g, LAP_FN_LT, index, axis->count), d, lap_const_f(r->g, 0));
    if (!lap_ref_some(kept)) {
        return LAP_NONE;
    }
    n = lap_node_at(r->g, kept);
    lap_axis *axes = lap_arena_copy(r->ctx->arena, n->axes, n->n_axes * sizeof *axes);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_name_same(axes[i].name, name)) {
            axes[i].count = LAP_NONE;
        }
    }
    return declare(r, kept, axes);
}

static bool varies_over(const lap_grad_run *r, lap_ref count, lap_names names)
{
    const lap_node *n = lap_node_at(r->g, count);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (is_named(names, n->axes[i].name)) {
            return true;
        }
    }
    return false;
}

lap_ref lap_grad_settle(lap_grad_run *r, lap_ref d, lap_names names)
{
    const lap_node *n = lap_ref_some(d) ? lap_node_at(r->g, d) : NULL;
    for (uint32_t i = 0; n && i < n->n_axes && lap_ref_some(d); i++) {
        const lap_axis *a = &n->axes[i];
        if (lap_ref_some(a->count) && !is_named(names, a->name) && varies_over(r, a->count, names)) {
            d = settle_axis(r, d, a->name);
        }
    }
    return d;
}

/* Counts of d that the type does not have go, those that it has come. */
static lap_ref settle_other_counts(lap_grad_run *r, lap_ref d, const lap_type *type)
{
    const lap_node *n = lap_node_at(r->g, d);
    for (uint32_t i = 0; i < n->n_axes && lap_ref_some(d); i++) {
        const lap_axis *a = &n->axes[i], *want = lap_axis_find(type->axes, type->n_axes, a->name);
        if (want && lap_ref_some(a->count) && !lap_ref_same(a->count, want->count)) {
            d = settle_axis(r, d, a->name);
        }
    }
    return d;
}

static lap_ref attach_counts(lap_grad_run *r, lap_ref d, const lap_type *type)
{
    const lap_node *n = lap_node_at(r->g, d);
    for (uint32_t i = 0; i < type->n_axes && lap_ref_some(d); i++) {
        const lap_axis *have = lap_node_axis(n, type->axes[i].name);
        if (have && lap_ref_some(type->axes[i].count) && !lap_ref_some(have->count)) {
            d = lap_ragged(r->g, d, have->name, type->axes[i].count);
        }
    }
    return d;
}

/* Zeros over the axes that d lacks and those that their counts vary over. */
static lap_ref spread(lap_grad_run *r, lap_ref d, const lap_type *type)
{
    const lap_node *n = lap_node_at(r->g, d);
    bool *is_needed = lap_arena_array(r->ctx->arena, type->n_axes, sizeof *is_needed);
    lap_axis *axes = lap_arena_array(r->ctx->arena, type->n_axes, sizeof *axes);
    uint32_t n_axes = 0, n_before;
    for (uint32_t i = 0; i < type->n_axes; i++) {
        is_needed[i] = !lap_node_axis(n, type->axes[i].name);
    }
    do { /* a count may itself vary over a ragged axis */
        n_before = n_axes;
        n_axes = 0;
        for (uint32_t i = 0; i < type->n_axes; i++) {
            if (!is_needed[i]) {
                continue;
            }
            axes[n_axes++] = type->axes[i];
            for (uint32_t k = 0; k < type->n_axes && lap_ref_some(type->axes[i].count); k++) {
                is_needed[k] =
                    is_needed[k] || lap_node_axis(lap_node_at(r->g, type->axes[i].count), type->axes[k].name);
            }
        }
    } while (n_axes != n_before);
    return n_axes ? lap_map2(r->g, LAP_FN_ADD, d, lap_full(r->g, lap_scalar_f(0), n_axes, axes)) : d;
}

lap_ref lap_grad_fit(lap_grad_run *r, lap_ref d, const lap_type *type)
{
    if (lap_ref_some(d)) {
        d = settle_other_counts(r, d, type);
    }
    if (lap_ref_some(d)) {
        d = lap_grad_sum(r, d, names_beyond(r, lap_node_at(r->g, d), type->n_axes, type->axes));
    }
    if (lap_ref_some(d)) {
        d = spread(r, d, type);
    }
    return lap_ref_some(d) ? attach_counts(r, d, type) : LAP_NONE;
}

lap_ref lap_grad_zeros(lap_grad_run *r, const lap_type *type)
{
    return lap_full(r->g, lap_scalar_f(0), type->n_axes, type->axes);
}

lap_ref lap_grad_scatter(lap_grad_run *r, lap_ref x, lap_names over, lap_names target, const lap_dim *sizes,
                         const lap_ref *index, lap_mode mode, lap_scalar base)
{
    lap_attr attrs[] = {
        lap_attr_make_names(LAP_ATTR_OVER, over),
        lap_attr_make_names(LAP_ATTR_TARGET, target),
        lap_attr_make_dims(LAP_ATTR_SIZES, (lap_dim_list){target.n, sizes}),
        lap_attr_make_i(LAP_ATTR_MODE, mode),
        lap_attr_make_scalar(LAP_ATTR_BASE, base),
    };
    lap_ref *args = lap_arena_array(r->ctx->arena, (size_t)target.n + 1, sizeof *args);
    args[0] = x;
    for (uint32_t i = 0; i < target.n; i++) {
        args[i + 1] = index[i];
    }
    return lap_emit(
        r->g, &(lap_emit_args){
                  .op = LAP_OP_SCATTER, .n_args = target.n + 1, .args = args, .n_attrs = 5, .attrs = attrs});
}
