/* SPDX-License-Identifier: Apache-2.0
 * window.c - recognises windows: a source whose indices are p + d*k, each in one place. */
#include "passes/window.h"

typedef struct finder {
    lap_lowering *l;
    lap_quasi *q;
    const lap_node *reduce;
    lap_names over;
    lap_windows *w;
    uint32_t n_plain; /* axes of the result that indices use without a tap */
    lap_name plain[LAP_MAX_AXES];
    bool is_shadowed[LAP_MAX_AXES], tap_shadowed[LAP_MAX_AXES]; /* their names mean a source's axis now */
} finder;

static bool has_counts(const lap_node *n)
{
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_ref_some(n->axes[i].count)) {
            return true;
        }
    }
    return false;
}

static bool uses_another(finder *f, lap_qx e, lap_name p, lap_name k)
{
    for (uint32_t i = 0; i < f->over.n; i++) {
        if (!lap_name_same(f->over.at[i], k) && lap_quasi_uses(f->q, e, f->over.at[i].ix)) {
            return true;
        }
    }
    for (uint32_t i = 0; i < f->reduce->n_axes; i++) {
        lap_name name = f->reduce->axes[i].name;
        if (!lap_name_same(name, p) && lap_quasi_uses(f->q, e, name.ix)) {
            return true;
        }
    }
    return false;
}

/* An index of one tap and one place: p + d*k + rest. */
static bool add_pair(finder *f, lap_qx e, const lap_axis *p, lap_name k, bool is_filled)
{
    lap_ctx *ctx = f->l->ctx;
    lap_dim stride;
    lap_qx rest;
    int64_t one, dilation, taps;
    const lap_node *x = lap_node_at(f->l->g, f->reduce->args[0]);
    if (uses_another(f, e, p->name, k) || f->w->n == LAP_WINDOW_PAIRS ||
        !lap_quasi_affine(f->q, e, p->name.ix, &stride, &rest) || !lap_dim_is_const(ctx, stride, &one) ||
        one != 1 || !lap_quasi_affine(f->q, rest, k.ix, &stride, &rest) ||
        !lap_dim_is_const(ctx, stride, &dilation) || dilation < 1 || dilation > LAP_WINDOW_TAPS ||
        !lap_dim_is_const(ctx, lap_node_axis(x, k)->size, &taps) || taps < 1 || taps > LAP_WINDOW_TAPS) {
        return false;
    }
    for (uint32_t i = 0; i < f->w->n; i++) {
        if (lap_name_same(f->w->pairs[i].p, p->name) || lap_name_same(f->w->pairs[i].k, k)) {
            return false;
        }
    }
    f->w->pairs[f->w->n++] = (lap_window_pair){
        .p = p->name, .k = k, .taps = taps, .dilation = dilation, .extent = p->size, .is_filled = is_filled};
    return true;
}

static bool take_index(finder *f, lap_ref index, bool is_filled)
{
    if (lap_node_at(f->l->g, index)->dtype == LAP_F32 || !lap_plan_of(f->l, index)->is_plain) {
        return false;
    }
    lap_qx e = lap_index_expression(f->l, f->q, index);
    const lap_name *tap = NULL;
    const lap_axis *place = NULL;
    for (uint32_t i = 0; i < f->over.n; i++) {
        tap = lap_quasi_uses(f->q, e, f->over.at[i].ix) ? &f->over.at[i] : tap;
    }
    for (uint32_t i = 0; i < f->reduce->n_axes; i++) {
        const lap_axis *a = &f->reduce->axes[i];
        if (!lap_quasi_uses(f->q, e, a->name.ix)) {
            continue;
        }
        place = a;
        if (tap == NULL && f->n_plain < LAP_MAX_AXES) {
            f->plain[f->n_plain++] = a->name;
        }
    }
    return tap == NULL || (place != NULL && add_pair(f, e, place, *tap, is_filled));
}

/* Marks names that below an `at` mean its source's axes; false when an index uses a marked one. */
static bool pass_at(finder *f, const lap_node *n)
{
    lap_names src = lap_attr_names(n, LAP_ATTR_SRC);
    for (uint32_t s = 0; s < src.n; s++) {
        const lap_node *index = lap_node_at(f->l->g, n->args[1 + s]);
        for (uint32_t i = 0; i < f->reduce->n_axes; i++) {
            if (f->is_shadowed[i] && lap_node_axis(index, f->reduce->axes[i].name) != NULL) {
                return false;
            }
        }
        for (uint32_t i = 0; i < f->over.n; i++) {
            if (f->tap_shadowed[i] && lap_node_axis(index, f->over.at[i]) != NULL) {
                return false;
            }
        }
        if (!take_index(f, n->args[1 + s], lap_node_attr(n, LAP_ATTR_FILL) != NULL)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < f->reduce->n_axes; i++) {
        f->is_shadowed[i] = f->is_shadowed[i] || lap_names_has(src, f->reduce->axes[i].name);
    }
    for (uint32_t i = 0; i < f->over.n; i++) {
        f->tap_shadowed[i] = f->tap_shadowed[i] || lap_names_has(src, f->over.at[i]);
    }
    return true;
}

/* Below the source nothing varies over a pair's axes by another way. */
static bool is_clean(const finder *f, const lap_node *base)
{
    for (uint32_t i = 0; i < f->over.n; i++) {
        if (!f->tap_shadowed[i] && lap_node_axis(base, f->over.at[i]) != NULL) {
            return false;
        }
    }
    for (uint32_t w = 0; w < f->w->n; w++) {
        for (uint32_t i = 0; i < f->reduce->n_axes; i++) {
            lap_name p = f->reduce->axes[i].name;
            if (lap_name_same(p, f->w->pairs[w].p) && !f->is_shadowed[i] && lap_node_axis(base, p) != NULL) {
                return false;
            }
        }
        for (uint32_t i = 0; i < f->n_plain; i++) {
            if (lap_name_same(f->plain[i], f->w->pairs[w].p)) {
                return false;
            }
        }
    }
    return true;
}

static bool find_pairs(finder *f, lap_ref source)
{
    const lap_node *n = lap_node_at(f->l->g, source);
    if (n->op != LAP_OP_AT || lap_dtype_compute(n->dtype) != LAP_F32 || has_counts(n)) {
        return false;
    }
    while (n->op == LAP_OP_AT && lap_plan_of(f->l, source)->kind == LAP_STORE_INLINE) {
        if (!pass_at(f, n)) {
            return false;
        }
        source = n->args[0];
        n = lap_node_at(f->l->g, source);
    }
    return f->w->n == f->over.n && is_clean(f, n);
}

/* The other factor: the same for all places. */
static bool is_of_taps(const finder *f, lap_ref r)
{
    const lap_node *n = lap_node_at(f->l->g, r);
    for (uint32_t i = 0; i < f->w->n; i++) {
        if (lap_node_axis(n, f->w->pairs[i].p) != NULL) {
            return false;
        }
    }
    return !has_counts(n);
}

static bool find(lap_lowering *l, lap_ref reduce, lap_windows *out)
{
    const lap_node *n = lap_node_at(l->g, reduce), *x = lap_node_at(l->g, n->args[0]);
    lap_red red = (lap_red)lap_attr_i(n, LAP_ATTR_RED, 0);
    bool is_product = x->op == LAP_OP_MAP && lap_attr_i(x, LAP_ATTR_FN, 0) == LAP_FN_MUL &&
                      lap_plan_of(l, n->args[0])->kind == LAP_STORE_INLINE;
    if ((red != LAP_RED_SUM && red != LAP_RED_MAX && red != LAP_RED_MIN) || has_counts(n) ||
        n->n_axes > LAP_MAX_AXES || lap_dtype_compute(n->dtype) != LAP_F32) {
        return false;
    }
    for (uint32_t i = 0; i < (is_product ? 2 : 1); i++) {
        lap_ref source = is_product ? x->args[i] : n->args[0];
        finder f = {.l = l,
                    .q = lap_quasi_new(l->ctx),
                    .reduce = n,
                    .over = lap_attr_names(n, LAP_ATTR_OVER),
                    .w = out};
        *out = (lap_windows){.reduce = reduce, .source = source, .n_taps = 1};
        if (f.over.n <= LAP_WINDOW_PAIRS && find_pairs(&f, source) &&
            (!is_product || is_of_taps(&f, x->args[1 - i]))) {
            for (uint32_t w = 0; w < out->n; w++) {
                out->n_taps *= (uint32_t)out->pairs[w].taps;
            }
            return out->n_taps > 1 && out->n_taps <= LAP_WINDOW_TAPS;
        }
    }
    return false;
}

bool lap_windows_of(lap_lowering *l, lap_ref node, lap_windows *out)
{
    const lap_node *n = lap_node_at(l->g, node);
    lap_ref found = LAP_NONE;
    if (lap_plan_of(l, node)->has_rows || has_counts(n)) {
        return false;
    }
    if (n->op == LAP_OP_REDUCE) {
        return find(l, node, out);
    }
    for (uint32_t i = 1; i < node.ix; i++) {
        lap_ref r = {i};
        const lap_plan_node *p = lap_plan_of(l, r);
        if (lap_node_at(l->g, r)->op != LAP_OP_REDUCE || p->kind != LAP_STORE_INLINE || !p->is_live ||
            p->n_homes != 1 || !lap_ref_same(p->home, node)) {
            continue;
        }
        const lap_name *names;
        const lap_node *x = lap_node_at(l->g, r);
        if (lap_ref_some(found) || x->n_axes != n->n_axes || !lap_plan_trace(l, r, node, &names)) {
            return false;
        }
        for (uint32_t a = 0; a < x->n_axes; a++) {
            if (!lap_name_same(names[a], x->axes[a].name)) {
                return false;
            }
        }
        found = r;
    }
    return lap_ref_some(found) && find(l, found, out);
}
