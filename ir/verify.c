/* SPDX-License-Identifier: Apache-2.0
 * verify.c - every invariant of a graph. A broken one is a mistake of a pass (or of hostile text).
 *
 *   form      operand count, attributes (allowed, required, sorted, once, in range), number of
 *             regions, level (verify_form.c)
 *   order     operands, counts and results exist and come before their readers; no reader of a node
 *             that gives no value; several results are read through `result` only
 *   scope     what a node reads stands in its region or around it, for every owner of a shared
 *             region; a pure node stands in the innermost region it depends on; a region has one
 *             owner, or only calls; parameters stand in their region and nowhere else
 *   types     element type and axes are those that inference gives; axes are named once, are not
 *             negative; counts are integers that vary over axes of their value alone
 *   outputs   named once, at the graph's level, layout covers the axes once each, crops are scalars
 *   kernel    see verify_level.c */
#include "ir/verify.h"

#include "ir/infer.h"
#include "ir/store.h"
#include "runtime/tensor.h"

#include <string.h>

bool lap_verify_fail_at(lap_verifier *v, lap_loc loc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    v->is_broken = true;
    lap_verror(v->ctx, loc, format, args);
    va_end(args);
    return false;
}

bool lap_verify_fail(lap_verifier *v, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *what = lap_arena_vprintf(v->ctx->arena, format, args);
    va_end(args);
    return lap_verify_fail_at(v, v->n->loc, "broken graph: %s (node %u) %s", lap_op_text(v->n->op), v->ref.ix,
                              what);
}

/* ---- order ---------------------------------------------------------------------------------- */

static bool is_before(lap_verifier *v, lap_ref read, const char *what, uint32_t i)
{
    if (!lap_ref_some(read) || read.ix >= v->ref.ix) {
        return lap_verify_fail(v, "has %s %u, node %u, which does not come before it", what, i, read.ix);
    }
    return true;
}

static bool gives_value(const lap_node *n)
{
    return !(lap_op_traits(n->op) & (LAP_TRAIT_EFFECT | LAP_TRAIT_MULTI)) || n->op == LAP_OP_FOREIGN;
}

static bool verify_operands(lap_verifier *v)
{
    bool ok = true;
    for (uint32_t i = 0; i < v->n->n_args; i++) {
        if (!is_before(v, v->n->args[i], "operand", i)) {
            ok = false;
            continue;
        }
        const lap_node *a = lap_node_at(v->g, v->n->args[i]);
        bool is_multi = lap_op_traits(a->op) & LAP_TRAIT_MULTI;
        if (v->n->op == LAP_OP_RESULT ? !is_multi : !gives_value(a)) {
            ok = lap_verify_fail(v, "reads operand %u, a %s, which gives %s", i, lap_op_text(a->op),
                                 v->n->op == LAP_OP_RESULT ? "one value" : "no value");
        }
        v->n_uses[v->n->args[i].ix]++;
    }
    for (uint32_t i = 0; i < v->n->n_axes; i++) {
        if (lap_ref_some(v->n->axes[i].count)) {
            ok = is_before(v, v->n->axes[i].count, "the count of axis", i) && ok;
        }
    }
    return ok;
}

static bool verify_regions(lap_verifier *v)
{
    bool ok = true;
    for (uint32_t i = 0; i < v->n->n_regions; i++) {
        lap_region_id id = v->n->regions[i];
        if (id.ix == 0 || id.ix >= lap_graph_n_regions(v->g)) {
            ok = lap_verify_fail(v, "has region %u, which the graph lacks", id.ix);
            continue;
        }
        const lap_region *r = lap_region_at(v->g, id);
        for (uint32_t k = 0; k < r->n_results; k++) {
            ok = is_before(v, r->results[k], "as result of its region", k) && ok;
        }
        lap_ref first = v->owner[id.ix];
        bool is_call = v->n->op == LAP_OP_CALL;
        if (lap_ref_some(first) && (!is_call || lap_node_at(v->g, first)->op != LAP_OP_CALL)) {
            ok = lap_verify_fail(v, "shares region %u with node %u: only calls may", id.ix, first.ix);
        }
        if (!lap_ref_some(first)) {
            v->owner[id.ix] = v->ref;
        }
    }
    return ok;
}

/* ---- scope ---------------------------------------------------------------------------------- */

static lap_region_id parent_of(const lap_verifier *v, lap_region_id r)
{
    return lap_region_at(v->g, r)->parent;
}

static bool is_around(const lap_verifier *v, lap_region_id outer, lap_region_id inner)
{
    while (inner.ix != outer.ix && inner.ix != 0) {
        inner = parent_of(v, inner);
    }
    return inner.ix == outer.ix;
}

/* Of two regions, one around the other. */
static lap_region_id deeper(const lap_verifier *v, lap_region_id a, lap_region_id b)
{
    return is_around(v, a, b) ? b : a;
}

/* Region `in` reads from region `from`, and so do the regions between them. */
static void capture(lap_verifier *v, lap_region_id in, lap_region_id from)
{
    for (; in.ix != from.ix && in.ix != 0; in = parent_of(v, in)) {
        v->captured[in.ix] = deeper(v, v->captured[in.ix], from);
    }
}

static bool sees(lap_verifier *v, lap_region_id in, lap_ref read, lap_region_id *deepest)
{
    lap_region_id from = lap_node_at(v->g, read)->region;
    if (!is_around(v, from, in)) {
        return lap_verify_fail(v, "reads node %u of region %u, which is not around region %u", read.ix,
                               from.ix, in.ix);
    }
    capture(v, in, from);
    *deepest = deeper(v, *deepest, from);
    return true;
}

static bool verify_owned(lap_verifier *v, lap_region_id *deepest)
{
    bool ok = true;
    for (uint32_t i = 0; i < v->n->n_regions; i++) {
        lap_region_id id = v->n->regions[i], ignored = {0};
        const lap_region *r = lap_region_at(v->g, id);
        for (uint32_t k = 0; k < r->n_results; k++) {
            ok = sees(v, id, r->results[k], &ignored) && ok;
        }
        if (!is_around(v, v->captured[id.ix], v->n->region)) {
            ok = lap_verify_fail(v, "has region %u, which reads from region %u, not around it", id.ix,
                                 v->captured[id.ix].ix);
        }
        capture(v, v->n->region, v->captured[id.ix]);
        *deepest = deeper(v, *deepest, v->captured[id.ix]);
    }
    return ok;
}

static bool verify_scope(lap_verifier *v)
{
    lap_region_id deepest = {0};
    bool ok = true;
    for (uint32_t i = 0; i < v->n->n_args; i++) {
        ok = sees(v, v->n->region, v->n->args[i], &deepest) && ok;
    }
    for (uint32_t i = 0; i < v->n->n_axes; i++) {
        if (lap_ref_some(v->n->axes[i].count)) {
            ok = sees(v, v->n->region, v->n->axes[i].count, &deepest) && ok;
        }
    }
    ok = verify_owned(v, &deepest) && ok;
    if (ok && (lap_op_traits(v->n->op) & LAP_TRAIT_PURE) && deepest.ix != v->n->region.ix) {
        ok = lap_verify_fail(v, "stands in region %u, but depends on region %u alone", v->n->region.ix,
                             deepest.ix);
    }
    return ok;
}

static void verify_param(lap_verifier *v)
{
    const lap_region *r = lap_region_at(v->g, v->n->region);
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n_params; i++) {
        n += lap_ref_same(r->params[i], v->ref);
    }
    if (n != 1) {
        lap_verify_fail(v, "is not a parameter of its region %u", v->n->region.ix);
    }
}

/* ---- types ---------------------------------------------------------------------------------- */

static void verify_axes(lap_verifier *v)
{
    for (uint32_t i = 0; i < v->n->n_axes; i++) {
        const lap_axis *a = &v->n->axes[i];
        const char *name = lap_text(v->ctx, a->name);
        if (lap_axis_find(v->n->axes, i, a->name)) {
            lap_verify_fail(v, "has axis '%s' twice", name);
        }
        if (lap_dim_compare(v->ctx, a->size, LAP_REL_LT, (lap_dim){0}) == LAP_YES) {
            lap_verify_fail(v, "has axis '%s' of negative size", name);
        }
        if (!lap_ref_some(a->count)) {
            continue;
        }
        const lap_node *count = lap_node_at(v->g, a->count);
        if (lap_dtype_compute(count->dtype) != LAP_I64) {
            lap_verify_fail(v, "has axis '%s' whose count is no integer", name);
        }
        for (uint32_t k = 0; k < count->n_axes; k++) {
            if (lap_name_same(count->axes[k].name, a->name) || !lap_node_axis(v->n, count->axes[k].name)) {
                lap_verify_fail(v, "has axis '%s' whose count varies over '%s'", name,
                                lap_text(v->ctx, count->axes[k].name));
            }
        }
    }
}

/* Inference looks up the counts it derives among the nodes, so the regions around the node at hand
 * are opened again for the time being. */
static lap_region_id open_around(lap_verifier *v, lap_region_id in, bool is_open)
{
    lap_region_id before = v->g->open;
    for (lap_region_id r = in; r.ix != 0; r = parent_of(v, r)) {
        lap_store_region(v->g, r)->is_open = is_open;
    }
    v->g->open = in;
    return before;
}

static void verify_type(lap_verifier *v)
{
    lap_type declared = lap_node_type(v->n), type;
    lap_emit_args e = {
        .op = v->n->op,
        .n_args = v->n->n_args,
        .args = v->n->args,
        .n_attrs = v->n->n_attrs,
        .attrs = v->n->attrs,
        .n_regions = v->n->n_regions,
        .regions = v->n->regions,
        .type = &declared,
    };
    lap_loc loc = lap_get_loc(v->g);
    lap_set_loc(v->g, v->n->loc);
    lap_region_id open = open_around(v, v->n->region, true);
    bool ok = lap_infer(v->g, &e, &type);
    open_around(v, v->n->region, false);
    v->g->open = open;
    lap_set_loc(v->g, loc);
    if (!ok) {
        v->is_broken = true;
    } else if (!lap_node_has_type(v->n, &type)) {
        lap_verify_fail(v, "is %s, but its operands give %s", lap_type_show(v->ctx, v->n),
                        lap_axes_show(v->ctx, type.dtype, type.n_axes, type.axes));
    }
}

/* ---- outputs -------------------------------------------------------------------------------- */

static void verify_layout(lap_verifier *v, const lap_output *o, const lap_node *n)
{
    const char *name = lap_text(v->ctx, o->name);
    uint32_t n_named = 0;
    if (o->layout.n > LAP_MAX_RANK) {
        lap_verify_fail_at(v, o->loc, "output '%s' has %u axes in memory, at most %d are possible", name,
                           o->layout.n, LAP_MAX_RANK);
    }
    for (uint32_t i = 0; i < o->layout.n; i++) {
        for (uint32_t k = 0; k < o->layout.groups[i].n; k++, n_named++) {
            if (!lap_node_axis(n, o->layout.groups[i].at[k])) {
                lap_verify_fail_at(v, o->loc, "the layout of output '%s' names axis '%s', which %s lacks",
                                   name, lap_text(v->ctx, o->layout.groups[i].at[k]),
                                   lap_type_show(v->ctx, n));
            }
        }
    }
    for (uint32_t i = 0; i < n->n_axes; i++) {
        uint32_t times = 0;
        for (uint32_t k = 0; k < o->layout.n; k++) {
            for (uint32_t j = 0; j < o->layout.groups[k].n; j++) {
                times += lap_name_same(o->layout.groups[k].at[j], n->axes[i].name);
            }
        }
        if (times != 1) {
            lap_verify_fail_at(v, o->loc,
                               "the layout of output '%s' names axis '%s' of %s %u times, expected once",
                               name, lap_text(v->ctx, n->axes[i].name), lap_type_show(v->ctx, n), times);
        }
    }
}

static bool is_outer_value(const lap_verifier *v, lap_ref ref)
{
    return lap_ref_some(ref) && ref.ix <= lap_graph_n_nodes(v->g) && lap_node_at(v->g, ref)->region.ix == 0 &&
           gives_value(lap_node_at(v->g, ref));
}

static void verify_output(lap_verifier *v, uint32_t at)
{
    const lap_output *o = lap_graph_output(v->g, at);
    const char *name = lap_text(v->ctx, o->name);
    for (uint32_t i = 0; i < at; i++) {
        if (lap_name_same(lap_graph_output(v->g, i)->name, o->name)) {
            lap_verify_fail_at(v, o->loc, "output '%s' is given twice", name);
            break;
        }
    }
    if (!is_outer_value(v, o->value)) {
        lap_verify_fail_at(v, o->loc, "output '%s' is no value of the graph", name);
        return;
    }
    const lap_node *n = lap_node_at(v->g, o->value);
    verify_layout(v, o, n);
    for (uint32_t i = 0; i < o->n_crops; i++) {
        if (!lap_node_axis(n, o->crop_axes[i])) {
            lap_verify_fail_at(v, o->loc, "output '%s' is cropped along '%s', which it lacks", name,
                               lap_text(v->ctx, o->crop_axes[i]));
        }
        if (!is_outer_value(v, o->crop_counts[i]) || lap_node_at(v->g, o->crop_counts[i])->n_axes > 0 ||
            lap_dtype_compute(lap_node_at(v->g, o->crop_counts[i])->dtype) != LAP_I64) {
            lap_verify_fail_at(v, o->loc, "output '%s' is cropped by something that is not one integer",
                               name);
        }
    }
}

/* ---- the graph ------------------------------------------------------------------------------ */

static void count_results(lap_verifier *v)
{
    for (uint32_t r = 1; r < lap_graph_n_regions(v->g); r++) {
        const lap_region *region = lap_region_at(v->g, (lap_region_id){r});
        for (uint32_t i = 0; i < region->n_results; i++) {
            v->n_uses[region->results[i].ix] += region->results[i].ix <= lap_graph_n_nodes(v->g);
        }
    }
}

/* Nodes that inference adds while it runs are not looked at: none are added to a right graph. */
bool lap_graph_verify(lap_graph *g)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    uint32_t n = lap_graph_n_nodes(g), n_regions = lap_graph_n_regions(g);
    lap_verifier v = {
        .g = g,
        .ctx = ctx,
        .owner = lap_arena_array(ctx->arena, n_regions, sizeof(lap_ref)),
        .captured = lap_arena_array(ctx->arena, n_regions, sizeof(lap_region_id)),
        .n_uses = lap_arena_array(ctx->arena, (size_t)n + 1, sizeof(uint32_t)),
    };
    bool is_kernel = lap_graph_level(g) == LAP_LEVEL_KERNEL;
    for (v.ref.ix = 1; v.ref.ix <= n; v.ref.ix++) {
        v.n = lap_node_at(g, v.ref);
        bool ok = lap_verify_form(&v);
        ok = verify_operands(&v) && ok;
        ok = verify_regions(&v) && ok;
        if (!ok || !verify_scope(&v)) {
            continue;
        }
        verify_axes(&v);
        verify_type(&v);
        if (v.n->op == LAP_OP_PARAM) {
            verify_param(&v);
        }
        if (is_kernel) {
            lap_verify_kernel_node(&v);
        }
    }
    count_results(&v);
    for (uint32_t i = 0; i < lap_graph_n_outputs(g); i++) {
        verify_output(&v, i);
    }
    if (is_kernel && !v.is_broken) {
        lap_verify_kernel(&v);
    }
    return !v.is_broken;
}
