/* SPDX-License-Identifier: Apache-2.0
 * infer.c - type rules: the table, leaves, map, reduce, and the union of axes by name. */
#include "ir/infer.h"
#include "ir/infer_rules.h"
#include "runtime/foreign.h"
#include "runtime/tensor.h"

#include <math.h>
#include <string.h>

/* ---- axes ----------------------------------------------------------------------------------- */

bool lap_infer_need(lap_graph *g, const lap_node *x, lap_name name)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    return lap_node_axis(x, name) ||
           lap_error(ctx, lap_get_loc(g), "no axis '%s' in %s", lap_text(ctx, name), lap_type_show(ctx, x));
}

bool lap_infer_axes(lap_graph *g, lap_op op, uint32_t n)
{
    return n <= LAP_MAX_AXES ||
           lap_error(lap_graph_ctx(g), lap_get_loc(g), "%s has %u axes, at most %d are allowed",
                     lap_op_text(op), n, LAP_MAX_AXES);
}

bool lap_infer_unique(lap_graph *g, const char *what, lap_names names)
{
    for (uint32_t i = 1; i < names.n; i++) {
        if (lap_names_has((lap_names){i, names.at}, names.at[i])) {
            lap_ctx *ctx = lap_graph_ctx(g);
            return lap_error(ctx, lap_get_loc(g), "%s '%s' is named twice", what, lap_text(ctx, names.at[i]));
        }
    }
    return true;
}

bool lap_infer_same_size(lap_graph *g, lap_name name, lap_dim a, lap_dim b)
{
    if (lap_dim_same(a, b)) {
        return true;
    }
    lap_ctx *ctx = lap_graph_ctx(g);
    const char *axis = lap_text(ctx, name);
    const char *why = lap_arena_printf(ctx->arena, "axis '%s' is %s here and %s there", axis,
                                       lap_dim_show(ctx, a), lap_dim_show(ctx, b));
    if (lap_dim_compare(ctx, a, LAP_REL_EQ, b) == LAP_NO) {
        return lap_error(ctx, lap_get_loc(g), "%s\nhint: rename one of them with :as('%s -> ...')", why,
                         axis);
    }
    return lap_graph_assume(g, a, LAP_REL_EQ, b, why);
}

static bool unify(lap_graph *g, lap_axis *have, const lap_axis *other)
{
    if (!lap_infer_same_size(g, have->name, have->size, other->size)) {
        return false;
    }
    if (!lap_ref_some(other->count) || lap_ref_same(other->count, have->count)) {
        return true;
    }
    if (lap_ref_some(have->count)) {
        lap_ctx *ctx = lap_graph_ctx(g);
        const char *axis = lap_text(ctx, have->name);
        return lap_error(ctx, lap_get_loc(g),
                         "axis '%s' has two different run-time extents, made at %s and %s\n"
                         "hint: rename one of them with :as('%s -> ...')",
                         axis, lap_loc_show(ctx, lap_node_at(g, have->count)->loc),
                         lap_loc_show(ctx, lap_node_at(g, other->count)->loc), axis);
    }
    *have = *other;
    return true;
}

bool lap_axes_union(lap_graph *g, uint32_t na, const lap_axis *a, uint32_t nb, const lap_axis *b,
                    uint32_t *out_n, const lap_axis **out)
{
    lap_axis *all = lap_arena_array(lap_graph_ctx(g)->arena, (size_t)na + nb, sizeof *all);
    uint32_t n = 0;
    for (uint32_t i = 0; i < na; i++) {
        all[n++] = a[i];
    }
    for (uint32_t i = 0; i < nb; i++) {
        uint32_t at = 0;
        while (at < n && !lap_name_same(all[at].name, b[i].name)) {
            at++;
        }
        if (at == n) {
            all[n++] = b[i];
        } else if (!unify(g, &all[at], &b[i])) {
            return false;
        }
    }
    *out_n = n;
    *out = all;
    return true;
}

static bool does_not_fit(lap_graph *g, const char *what, const lap_type *have, const lap_type *want,
                         const char *why)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    return lap_error(ctx, lap_get_loc(g), "%s is %s, expected %s%s", what,
                     lap_axes_show(ctx, have->dtype, have->n_axes, have->axes),
                     lap_axes_show(ctx, want->dtype, want->n_axes, want->axes), why);
}

bool lap_infer_fits(lap_graph *g, const char *what, const lap_type *have, const lap_type *want)
{
    if (lap_dtype_compute(have->dtype) != lap_dtype_compute(want->dtype)) {
        return does_not_fit(g, what, have, want, "");
    }
    lap_ctx *ctx = lap_graph_ctx(g);
    for (uint32_t i = 0; i < have->n_axes; i++) {
        const lap_axis *w = lap_axis_find(want->axes, want->n_axes, have->axes[i].name);
        if (!w) {
            return does_not_fit(g, what, have, want,
                                lap_arena_printf(ctx->arena, ": it may not have axis '%s'",
                                                 lap_text(ctx, have->axes[i].name)));
        }
        lap_axis both = *w;
        if (!unify(g, &both, &have->axes[i])) {
            return false;
        }
    }
    return true;
}

bool lap_infer_scalar(lap_graph *g, const char *what, lap_dtype dtype, lap_scalar *value)
{
    lap_dtype want = lap_dtype_compute(dtype);
    if (value->dtype == want) {
        return true;
    }
    if (value->dtype == LAP_F32) {
        double f = value->f;
        if (!(f >= -0x1p53 && f <= 0x1p53 && f == floor(f)) || (want == LAP_BOOL && f != 0 && f != 1)) {
            return lap_error(lap_graph_ctx(g), lap_get_loc(g), "%s is %g, but the values are %s", what, f,
                             lap_dtype_text(dtype));
        }
        *value = (lap_scalar){.dtype = want, .i = (int64_t)f};
    } else if (want == LAP_F32) {
        *value = lap_scalar_f((double)value->i);
    } else {
        *value = (lap_scalar){.dtype = want, .i = want == LAP_BOOL ? value->i != 0 : value->i};
    }
    return true;
}

/* ---- leaves --------------------------------------------------------------------------------- */

bool lap_infer_count(lap_graph *g, const lap_axis *a)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    if (!lap_ref_some(a->count)) {
        return true;
    }
    const lap_node *count = lap_node_at(g, a->count);
    bool has_value = !(lap_op_traits(count->op) & LAP_TRAIT_MULTI) && count->op != LAP_OP_BUFFER;
    return (has_value && lap_dtype_compute(count->dtype) == LAP_I64) ||
           lap_error(ctx, lap_get_loc(g), "the run-time extent of axis '%s' is %s, expected integers",
                     lap_text(ctx, a->name), lap_type_show(ctx, count));
}

/* The type is given; its axes must be distinct and their counts integers. */
static bool declared(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    if (!e->type || (unsigned)e->type->dtype >= LAP_N_DTYPES) {
        return lap_error(ctx, lap_get_loc(g), "%s needs a declared type", lap_op_text(e->op));
    }
    *out = *e->type;
    for (uint32_t i = 0; i < out->n_axes; i++) {
        const lap_axis *a = &out->axes[i];
        int64_t hi;
        if (lap_axis_find(out->axes, i, a->name)) {
            return lap_error(ctx, lap_get_loc(g), "axis '%s' is named twice", lap_text(ctx, a->name));
        }
        if (lap_dim_upper(ctx, a->size, &hi) && hi < 0) {
            return lap_error(ctx, lap_get_loc(g), "axis '%s' has negative size %s", lap_text(ctx, a->name),
                             lap_dim_show(ctx, a->size));
        }
        if (!lap_infer_count(g, a)) {
            return false;
        }
    }
    return true;
}

/* Every axis of the type stands in the layout once, and the reverse. */
static bool infer_leaf(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    if (!declared(g, e, out)) {
        return false;
    }
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_layout layout = lap_emit_attr(e, LAP_ATTR_LAYOUT)->layout;
    uint32_t n = 0;
    if (layout.n > LAP_MAX_RANK) {
        return lap_error(ctx, lap_get_loc(g), "'%s' has %u axes in memory, at most %d are possible",
                         lap_text(ctx, lap_emit_attr(e, LAP_ATTR_NAME)->name), layout.n, LAP_MAX_RANK);
    }
    for (uint32_t i = 0; i < layout.n; i++) {
        for (uint32_t j = 0; j < layout.groups[i].n; j++, n++) {
            if (!lap_axis_find(out->axes, out->n_axes, layout.groups[i].at[j])) {
                return lap_error(ctx, lap_get_loc(g), "the layout names axis '%s', which %s lacks",
                                 lap_text(ctx, layout.groups[i].at[j]),
                                 lap_axes_show(ctx, out->dtype, out->n_axes, out->axes));
            }
        }
    }
    if (n != out->n_axes) {
        return lap_error(ctx, lap_get_loc(g), "the layout of '%s' names %u axes, its type has %u",
                         lap_text(ctx, lap_emit_attr(e, LAP_ATTR_NAME)->name), n, out->n_axes);
    }
    return true;
}

static bool infer_const(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    (void)g;
    *out = (lap_type){lap_emit_attr(e, LAP_ATTR_VALUE)->scalar.dtype, 0, NULL};
    return true;
}

static bool infer_dim(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    (void)g, (void)e;
    *out = (lap_type){LAP_I64, 0, NULL};
    return true;
}

static bool infer_full(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    if (!declared(g, e, out)) {
        return false;
    }
    out->dtype = lap_emit_attr(e, LAP_ATTR_VALUE)->scalar.dtype;
    return true;
}

static bool infer_index(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    if (!declared(g, e, out)) {
        return false;
    }
    out->dtype = LAP_I64;
    if (out->n_axes != 1 || !lap_name_same(out->axes[0].name, lap_emit_attr(e, LAP_ATTR_AXIS)->name)) {
        return lap_error(lap_graph_ctx(g), lap_get_loc(g), "index has one axis, the one it counts");
    }
    return true;
}

static bool infer_param(lap_graph *g, const lap_emit_args *e, lap_type *out) { return declared(g, e, out); }

/* `order` names the axes of every operand, one operand after the other. */
static bool orders_operands(lap_graph *g, const lap_emit_args *e)
{
    lap_names order = lap_emit_names(e, LAP_ATTR_ORDER);
    uint32_t at = 0;
    bool fits = true;
    for (uint32_t i = 0; fits && i < e->n_args; i++) {
        const lap_node *a = lap_node_at(g, e->args[i]);
        fits = a->n_axes <= order.n - at;
        for (uint32_t k = 0; fits && k < a->n_axes; k++) {
            lap_name name = order.at[at + k];
            fits = lap_node_axis(a, name) && !lap_names_has((lap_names){k, order.at + at}, name);
        }
        at += fits ? a->n_axes : 0;
    }
    return (fits && at == order.n) || lap_error(lap_graph_ctx(g), lap_get_loc(g),
                                                "'order' does not name the axes of each operand in turn");
}

static bool infer_foreign(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    if (e->n_args > LAP_FOREIGN_MAX_OPERANDS ||
        lap_emit_names(e, LAP_ATTR_OUTS).n > LAP_FOREIGN_MAX_OPERANDS) {
        return lap_error(lap_graph_ctx(g), lap_get_loc(g),
                         "a foreign operation has at most %d operands and as many results",
                         LAP_FOREIGN_MAX_OPERANDS);
    }
    return (!lap_emit_attr(e, LAP_ATTR_ORDER) || orders_operands(g, e)) && declared(g, e, out);
}

/* ---- map, reduce, require ------------------------------------------------------------------- */

static bool infer_map(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    lap_fn fn = (lap_fn)lap_emit_attr(e, LAP_ATTR_FN)->i;
    lap_dtype operands[3] = {LAP_F32, LAP_F32, LAP_F32};
    if ((unsigned)fn >= LAP_N_FNS || e->n_args != lap_fn_arity(fn)) {
        return lap_error(lap_graph_ctx(g), lap_get_loc(g), "%s takes %u operands, found %u",
                         (unsigned)fn < LAP_N_FNS ? lap_fn_text(fn) : "an unknown function",
                         (unsigned)fn < LAP_N_FNS ? lap_fn_arity(fn) : 0, e->n_args);
    }
    out->n_axes = 0;
    out->axes = NULL;
    for (uint32_t i = 0; i < e->n_args; i++) {
        const lap_node *a = lap_node_at(g, e->args[i]);
        operands[i] = a->dtype;
        if (!lap_axes_union(g, out->n_axes, out->axes, a->n_axes, a->axes, &out->n_axes, &out->axes)) {
            return false;
        }
    }
    if (fn == LAP_FN_SELECT && operands[0] != LAP_BOOL) {
        return lap_error(lap_graph_ctx(g), lap_get_loc(g), "select needs a condition first, found %s",
                         lap_type_show(lap_graph_ctx(g), lap_node_at(g, e->args[0])));
    }
    out->dtype = lap_fn_type(fn, operands);
    return true;
}

static lap_dtype red_dtype(lap_red red, lap_dtype x)
{
    switch (red) {
    case LAP_RED_SUM:
    case LAP_RED_PROD:
        return lap_dtype_compute(x) == LAP_BOOL ? LAP_I64 : lap_dtype_compute(x);
    case LAP_RED_MAX:
    case LAP_RED_MIN:
        return lap_dtype_compute(x);
    case LAP_RED_ANY:
    case LAP_RED_ALL:
        return LAP_BOOL;
    default:
        return LAP_I64;
    }
}

static bool infer_reduce(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    const lap_node *x = lap_node_at(g, e->args[0]);
    lap_red red = (lap_red)lap_emit_attr(e, LAP_ATTR_RED)->i;
    lap_names over = lap_emit_names(e, LAP_ATTR_OVER);
    lap_ctx *ctx = lap_graph_ctx(g);
    if ((unsigned)red >= LAP_N_REDS) {
        return lap_error(ctx, lap_get_loc(g), "no such reduction");
    }
    for (uint32_t i = 0; i < over.n; i++) {
        if (!lap_infer_need(g, x, over.at[i])) {
            return false;
        }
    }
    if ((red == LAP_RED_ARGMAX || red == LAP_RED_ARGMIN) && over.n != 1) {
        return lap_error(ctx, lap_get_loc(g), "%s acts on one axis, found %u", lap_red_text(red), over.n);
    }
    out->dtype = red_dtype(red, x->dtype);
    out->n_axes = lap_axes_without(ctx, x->n_axes, x->axes, over, &out->axes);
    return lap_infer_unique(g, "axis", over);
}

static bool infer_require(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    const lap_node *x = lap_node_at(g, e->args[0]);
    *out = (lap_type){LAP_BOOL, 0, NULL};
    return x->dtype == LAP_BOOL ||
           lap_error(lap_graph_ctx(g), lap_get_loc(g), "require needs a condition, found %s",
                     lap_type_show(lap_graph_ctx(g), x));
}

/* ---- results -------------------------------------------------------------------------------- */

bool lap_infer_no_result(lap_graph *g, const lap_node *multi, const char *which)
{
    return lap_error(lap_graph_ctx(g), lap_get_loc(g), "%s has no result '%s'", lap_op_text(multi->op),
                     which);
}

bool lap_infer_result(lap_graph *g, lap_ref multi, lap_name which, lap_type *out)
{
    static lap_infer_result_rule *const rules[LAP_N_OPS] = {
        [LAP_OP_ATTEND] = lap_infer_attend_result, [LAP_OP_TOPK] = lap_infer_topk_result,
        [LAP_OP_SCAN] = lap_infer_scan_result,     [LAP_OP_LOOP] = lap_infer_loop_result,
        [LAP_OP_BRANCH] = lap_infer_branch_result, [LAP_OP_CALL] = lap_infer_call_result,
        [LAP_OP_FOR] = lap_infer_for_result,
    };
    const lap_node *m = lap_node_at(g, multi);
    const char *name = lap_text(lap_graph_ctx(g), which);
    return rules[m->op] ? rules[m->op](g, m, name, out) : lap_infer_no_result(g, m, name);
}

static bool infer_result(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    const lap_node *m = lap_node_at(g, e->args[0]);
    lap_name which = lap_emit_attr(e, LAP_ATTR_WHICH)->name;
    if (m->op != LAP_OP_FOREIGN) {
        return lap_infer_result(g, e->args[0], which, out);
    }
    if (!lap_names_has(lap_attr_names(m, LAP_ATTR_OUTS), which)) {
        return lap_infer_no_result(g, m, lap_text(lap_graph_ctx(g), which));
    }
    if (e->type) {
        return declared(g, e, out);
    }
    *out = lap_node_type(m);
    return true;
}

bool lap_infer(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    static lap_infer_rule *const rules[LAP_N_OPS] = {
        [LAP_OP_INPUT] = infer_leaf,        [LAP_OP_WEIGHT] = infer_leaf,
        [LAP_OP_CONST] = infer_const,       [LAP_OP_DIM] = infer_dim,
        [LAP_OP_FULL] = infer_full,         [LAP_OP_INDEX] = infer_index,
        [LAP_OP_MAP] = infer_map,           [LAP_OP_REDUCE] = infer_reduce,
        [LAP_OP_AT] = lap_infer_at,         [LAP_OP_SCATTER] = lap_infer_scatter,
        [LAP_OP_ATTEND] = lap_infer_attend, [LAP_OP_TOPK] = lap_infer_topk,
        [LAP_OP_SCAN] = lap_infer_scan,     [LAP_OP_LOOP] = lap_infer_loop,
        [LAP_OP_BRANCH] = lap_infer_branch, [LAP_OP_CALL] = lap_infer_call,
        [LAP_OP_FOREIGN] = infer_foreign,   [LAP_OP_CUSTOM] = lap_infer_custom,
        [LAP_OP_RENAME] = lap_infer_rename, [LAP_OP_RESULT] = infer_result,
        [LAP_OP_PARAM] = infer_param,       [LAP_OP_REQUIRE] = infer_require,
        [LAP_OP_BUFFER] = lap_infer_buffer, [LAP_OP_FOR] = lap_infer_for,
        [LAP_OP_IF] = lap_infer_if,         [LAP_OP_LOAD] = lap_infer_load,
        [LAP_OP_STORE] = lap_infer_store,   [LAP_OP_FAIL] = lap_infer_fail,
        [LAP_OP_TURN] = lap_infer_turn,     [LAP_OP_MMA] = lap_infer_mma,
        [LAP_OP_SORT] = lap_infer_sort,
    };
    *out = (lap_type){LAP_NO_DTYPE, 0, NULL};
    if (!rules[e->op]) {
        LAP_BUG("no type rule for %s", lap_op_text(e->op));
    }
    if (!rules[e->op](g, e, out)) {
        return false;
    }
    return lap_infer_axes(g, e->op, out->n_axes);
}
