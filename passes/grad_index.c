/* SPDX-License-Identifier: Apache-2.0
 * grad_index.c - gradients of reductions, reads, writes, renames and topk: each is the transpose of
 * the other, so a read's gradient is a scatter and the reverse. */
#include "passes/grad_run.h"

static lap_ref zero(lap_grad_run *r) { return lap_const_f(r->g, 0); }

/* ---- reduce --------------------------------------------------------------------------------- */

/* Elements that hold the maximum share its gradient. */
static lap_ref share_of_hits(lap_grad_run *r, lap_ref x, lap_names over, lap_ref v, lap_ref d)
{
    lap_ref hit = lap_map2(r->g, LAP_FN_EQ, x, v);
    lap_ref hits = lap_grad_sum(r, hit, over);
    return lap_map3(r->g, LAP_FN_SELECT, hit, lap_map2(r->g, LAP_FN_DIV, d, hits), zero(r));
}

/* The product of the others: with one zero among the elements only that one has a gradient. */
static lap_ref product_of_others(lap_grad_run *r, lap_ref x, lap_names over, lap_ref d)
{
    lap_graph *g = r->g;
    lap_ref is_zero = lap_map2(g, LAP_FN_EQ, x, zero(r));
    lap_ref n_zeros = lap_grad_sum(r, is_zero, over);
    lap_ref safe = lap_map3(g, LAP_FN_SELECT, is_zero, lap_const_f(g, 1), x);
    lap_ref product = lap_reduce(g, LAP_RED_PROD, safe, over);
    lap_ref at_zero =
        lap_map3(g, LAP_FN_SELECT, lap_map2(g, LAP_FN_EQ, n_zeros, lap_const_i(g, 1)), product, zero(r));
    lap_ref elsewhere = lap_map3(g, LAP_FN_SELECT, lap_map2(g, LAP_FN_EQ, n_zeros, lap_const_i(g, 0)),
                                 lap_map2(g, LAP_FN_DIV, product, safe), zero(r));
    return lap_map2(g, LAP_FN_MUL, d, lap_map3(g, LAP_FN_SELECT, is_zero, at_zero, elsewhere));
}

void lap_grad_reduce(lap_grad_run *r, const lap_node *n, lap_ref v, lap_ref d)
{
    lap_names over = lap_attr_names(n, LAP_ATTR_OVER);
    switch ((lap_red)lap_attr_i(n, LAP_ATTR_RED, 0)) {
    case LAP_RED_SUM:
        lap_grad_push(r, n->args[0], d);
        return;
    case LAP_RED_MAX:
    case LAP_RED_MIN:
        lap_grad_push(r, n->args[0], share_of_hits(r, n->args[0], over, v, d));
        return;
    case LAP_RED_PROD:
        lap_grad_push(r, n->args[0], product_of_others(r, n->args[0], over, d));
        return;
    case LAP_RED_ANY:
    case LAP_RED_ALL:
    case LAP_RED_ARGMAX:
    case LAP_RED_ARGMIN:
    case LAP_N_REDS:
        return;
    }
}

/* ---- rename, custom, call ------------------------------------------------------------------- */

void lap_grad_rename(lap_grad_run *r, const lap_node *n, lap_ref v, lap_ref d)
{
    (void)v;
    lap_names from = lap_attr_names(n, LAP_ATTR_FROM), to = lap_attr_names(n, LAP_ATTR_TO);
    lap_grad_push(r, n->args[0], from.n ? lap_rename(r->g, d, to, from) : d);
}

void lap_grad_custom(lap_grad_run *r, const lap_node *n, lap_ref v, lap_ref d)
{
    (void)v;
    lap_ref *out = lap_arena_array(r->ctx->arena, n->n_args, sizeof *out);
    lap_region_inline(r->g, r->g, n->regions[0], &d, NULL, NULL, out);
    for (uint32_t i = 1; i < n->n_args; i++) {
        lap_grad_push(r, n->args[i], out[i - 1]);
    }
}

/* The body is run again in place, and the walk goes on through it. */
void lap_grad_call(lap_grad_run *r, const lap_node *n, lap_ref v, const lap_grad_results *d)
{
    (void)v;
    lap_names outs = lap_attr_names(n, LAP_ATTR_OUTS);
    lap_ref *out = lap_arena_array(r->ctx->arena, outs.n, sizeof *out);
    lap_region_inline(r->g, r->g, n->regions[0], n->args, NULL, NULL, out);
    for (uint32_t i = 0; i < outs.n; i++) {
        lap_ref got = lap_grad_of(r, d, lap_text(r->ctx, outs.at[i]));
        if (lap_ref_some(got) && lap_ref_some(out[i])) {
            lap_grad_push(r, out[i], got);
        }
    }
}

/* ---- at, scatter, topk ---------------------------------------------------------------------- */

/* Extents of the named axes of a value. */
static const lap_dim *sizes_of(lap_grad_run *r, const lap_node *x, lap_names names)
{
    lap_dim *sizes = lap_arena_array(r->ctx->arena, names.n, sizeof *sizes);
    for (uint32_t i = 0; i < names.n; i++) {
        sizes[i] = lap_node_axis(x, names.at[i])->size;
    }
    return sizes;
}

/* What was read outside is dropped by the scatter. */
void lap_grad_at(lap_grad_run *r, const lap_node *n, lap_ref v, lap_ref d)
{
    const lap_node *x = lap_node_at(r->g, n->args[0]), *out = lap_node_at(r->g, v);
    lap_names src = lap_attr_names(n, LAP_ATTR_SRC);
    lap_name *over = lap_arena_array(r->ctx->arena, out->n_axes, sizeof *over);
    uint32_t n_over = 0;
    for (uint32_t i = 0; i < out->n_axes; i++) {
        lap_name name = out->axes[i].name;
        if (lap_names_has(src, name) || !lap_node_axis(x, name)) {
            over[n_over++] = name;
        }
    }
    lap_names spent = {n_over, over};
    d = lap_grad_settle(r, d, spent);
    lap_grad_push(
        r, n->args[0],
        lap_grad_scatter(r, d, spent, src, sizes_of(r, x, src), n->args + 1, LAP_MODE_ADD, lap_scalar_f(0)));
}

/* Each source element's place in the row-major order of the axes scattered over. */
static lap_ref order_of(lap_grad_run *r, const lap_node *n, lap_names over)
{
    lap_ref order = lap_const_i(r->g, 0);
    for (uint32_t i = 0; i < over.n; i++) {
        const lap_axis *axis = NULL;
        for (uint32_t k = 0; k < n->n_args && !axis; k++) {
            axis = lap_node_axis(lap_node_at(r->g, n->args[k]), over.at[i]);
        }
        if (!axis) {
            return LAP_NONE;
        }
        lap_ref index = lap_index(r->g, (lap_axis){axis->name, axis->size, LAP_NONE});
        order = lap_map2(r->g, LAP_FN_ADD, lap_map2(r->g, LAP_FN_MUL, order, lap_dim_node(r->g, axis->size)),
                         index);
    }
    return order;
}

/* The elements whose write stayed: for `set` the last to a place. */
static lap_ref last_writes(lap_grad_run *r, const lap_node *n, lap_names over, lap_names target)
{
    const lap_dim *sizes = lap_node_attr(n, LAP_ATTR_SIZES)->dims.at;
    lap_scalar none = lap_scalar_i(-1);
    lap_ref order = order_of(r, n, over);
    lap_ref last = lap_grad_scatter(r, order, over, target, sizes, n->args + 1, LAP_MODE_MAX, none);
    return lap_map2(r->g, LAP_FN_EQ, lap_at(r->g, last, target, n->args + 1, &none), order);
}

void lap_grad_scattered(lap_grad_run *r, const lap_node *n, lap_ref v, lap_ref d)
{
    lap_names over = lap_attr_names(n, LAP_ATTR_OVER), target = lap_attr_names(n, LAP_ATTR_TARGET);
    lap_mode mode = (lap_mode)lap_attr_i(n, LAP_ATTR_MODE, 0);
    lap_scalar outside = lap_scalar_f(0);
    lap_ref back = lap_at(r->g, d, target, n->args + 1, &outside);
    if (mode == LAP_MODE_SET) {
        back = lap_map3(r->g, LAP_FN_SELECT, last_writes(r, n, over, target), back, zero(r));
    } else if (mode == LAP_MODE_MAX) {
        lap_ref hit = lap_map2(r->g, LAP_FN_EQ, n->args[0], lap_at(r->g, v, target, n->args + 1, &outside));
        const lap_dim *sizes = lap_node_attr(n, LAP_ATTR_SIZES)->dims.at;
        lap_ref hits = lap_grad_scatter(r, lap_map3(r->g, LAP_FN_SELECT, hit, lap_const_f(r->g, 1), zero(r)),
                                        over, target, sizes, n->args + 1, LAP_MODE_ADD, outside);
        lap_ref part = lap_map2(r->g, LAP_FN_DIV, back, lap_at(r->g, hits, target, n->args + 1, &outside));
        back = lap_map3(r->g, LAP_FN_SELECT, hit, part, zero(r));
    }
    lap_grad_push(r, n->args[0], back);
}

/* The largest hand their gradient back to where they came from. */
void lap_grad_topk(lap_grad_run *r, const lap_node *n, lap_ref v, const lap_grad_results *d)
{
    lap_ref values = lap_grad_of(r, d, "values"), x = n->args[0];
    if (!lap_ref_some(values)) {
        return;
    }
    lap_name axis = lap_attr_name(n, LAP_ATTR_AXIS), into = lap_attr_name(n, LAP_ATTR_INTO);
    lap_ref index = lap_result(r->g, v, "index");
    lap_names over = {1, &into};
    values = lap_grad_settle(r, values, over);
    lap_grad_push(r, x,
                  lap_grad_scatter(r, values, over, (lap_names){1, &axis},
                                   &lap_node_axis(lap_node_at(r->g, x), axis)->size, &index, LAP_MODE_ADD,
                                   lap_scalar_f(0)));
}
