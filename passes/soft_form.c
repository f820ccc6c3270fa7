/* SPDX-License-Identifier: Apache-2.0
 * soft_form.c - see soft_form.h. Every form is e / sum(e) with e = exp(score - shift):
 *
 *   sum_j (e / sum_j e) v    sum_j e (1 / sum_j e) v    (sum_j e v) / (sum_j e)
 *   sum_j exp(score - shift - log sum_j e) v            e = where(seen, exp(..), 0)
 *
 * A shift that the keys do not have cancels out, so any is as good as the row's maximum; but for rows of
 * masked keys alone, whose weights are all 0 where the shift is not as low as they are. */
#include "passes/soft_form.h"

#include "ir/fold.h"

#include <math.h>
#include <string.h>

typedef struct finder {
    const lap_graph *g;
    lap_soft_form *f;
} finder;

static const lap_node *node(const finder *f, lap_ref r) { return lap_node_at(f->g, r); }

/* Takes a node of the form as inside of it. */
static bool inside(finder *f, lap_ref r)
{
    if (f->f->n_inner == LAP_SOFT_INNER) {
        return false;
    }
    f->f->inner[f->f->n_inner++] = r;
    return true;
}

static bool is_fn(const finder *f, lap_ref r, lap_fn fn)
{
    const lap_node *n = node(f, r);
    return n->op == LAP_OP_MAP && n->dtype == LAP_F32 && lap_attr_i(n, LAP_ATTR_FN, LAP_N_FNS) == fn;
}

static bool is_number(const finder *f, lap_ref r, double want)
{
    lap_scalar c;
    return lap_fold_splat(f->g, r, &c) && c.dtype == LAP_F32 && c.f == want;
}

static bool has_key(const finder *f, lap_ref r)
{
    for (uint32_t i = 0; i < f->f->keys.n; i++) {
        if (lap_node_axis(node(f, r), f->f->keys.at[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static bool has_keys(const lap_node *n, lap_names keys)
{
    for (uint32_t i = 0; i < keys.n; i++) {
        if (lap_node_axis(n, keys.at[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* A fold over exactly the keys. */
static bool folds_keys(const finder *f, lap_ref r, lap_red red)
{
    const lap_node *n = node(f, r);
    if (n->op != LAP_OP_REDUCE || n->dtype != LAP_F32 || lap_attr_i(n, LAP_ATTR_RED, -1) != red) {
        return false;
    }
    lap_names over = lap_attr_names(n, LAP_ATTR_OVER);
    for (uint32_t i = 0; i < over.n; i++) {
        if (!lap_names_has(f->f->keys, over.at[i])) {
            return false;
        }
    }
    return over.n == f->f->keys.n;
}

/* The scores without the masks around them. */
static lap_ref unmasked(const finder *f, lap_ref r)
{
    while (is_fn(f, r, LAP_FN_SELECT)) {
        lap_scalar c;
        const lap_node *n = node(f, r);
        if (lap_fold_splat(f->g, n->args[2], &c)) {
            r = n->args[1];
        } else if (lap_fold_splat(f->g, n->args[1], &c)) {
            r = n->args[2];
        } else {
            break;
        }
    }
    return r;
}

/* The maximum of the scores over the keys, as it is written; perhaps held finite, or without gradient. */
static bool is_shift(finder *f, lap_ref r, lap_ref score)
{
    lap_scalar c;
    const lap_node *n = node(f, r);
    if (has_key(f, r) || !inside(f, r)) {
        return false;
    }
    if (n->op == LAP_OP_CUSTOM) {
        return is_shift(f, n->args[0], score);
    }
    if ((is_fn(f, r, LAP_FN_MAX) || is_fn(f, r, LAP_FN_LARGER)) && lap_fold_splat(f->g, n->args[1], &c)) {
        f->f->least_shift = fmax(f->f->least_shift, c.f);
        return isfinite(c.f) && is_shift(f, n->args[0], score);
    }
    if (!folds_keys(f, r, LAP_RED_MAX)) {
        return false;
    }
    lap_ref arg = n->args[0];
    while (node(f, arg)->op == LAP_OP_CUSTOM && inside(f, arg)) {
        arg = node(f, arg)->args[0];
    }
    return lap_ref_same(unmasked(f, arg), unmasked(f, score));
}

/* z = score - shift, or the score alone. */
static bool take_exponent(finder *f, lap_ref z)
{
    const lap_node *n = node(f, z);
    uint32_t before = f->f->n_inner;
    f->f->score = z;
    f->f->least_shift = -INFINITY;
    if (is_fn(f, z, LAP_FN_SUB) && inside(f, z) && is_shift(f, n->args[1], n->args[0])) {
        f->f->score = n->args[0];
    } else {
        f->f->n_inner = before;
        f->f->least_shift = 0.0;
    }
    return has_keys(node(f, f->f->score), f->f->keys);
}

/* e = exp(z), or where(seen, exp(z), 0). */
static bool take_exponential(finder *f, lap_ref e)
{
    const lap_node *n = node(f, e);
    if (!inside(f, e)) {
        return false;
    }
    if (is_fn(f, e, LAP_FN_SELECT) && is_number(f, n->args[2], 0)) {
        f->f->seen = n->args[0];
        e = n->args[1];
        n = node(f, e);
        if (!inside(f, e)) {
            return false;
        }
    }
    return is_fn(f, e, LAP_FN_EXP) && take_exponent(f, n->args[0]);
}

static bool is_total(finder *f, lap_ref t, lap_ref e)
{
    return folds_keys(f, t, LAP_RED_SUM) && lap_ref_same(node(f, t)->args[0], e) && inside(f, t);
}

/* exp(z - log sum exp z), with the logarithm beside the shift or behind it. */
static bool take_log_form(finder *f, lap_ref w)
{
    const lap_node *n = node(f, w);
    if (!is_fn(f, w, LAP_FN_EXP) || !is_fn(f, n->args[0], LAP_FN_SUB) || !inside(f, w) ||
        !inside(f, n->args[0])) {
        return false;
    }
    const lap_node *z = node(f, n->args[0]);
    lap_ref log = z->args[1];
    if (!is_fn(f, log, LAP_FN_LOG) || !inside(f, log)) {
        return false;
    }
    lap_ref t = node(f, log)->args[0];
    if (!folds_keys(f, t, LAP_RED_SUM) || !inside(f, t)) {
        return false;
    }
    lap_ref e = node(f, t)->args[0];
    return is_fn(f, e, LAP_FN_EXP) && lap_ref_same(node(f, e)->args[0], z->args[0]) && take_exponential(f, e);
}

/* w = e / sum e in any of its shapes. */
static bool take_weights(finder *f, lap_ref w)
{
    const lap_node *n = node(f, w);
    f->f->n_inner = 0;
    f->f->seen = LAP_NONE;
    f->f->is_log = false;
    if (is_fn(f, w, LAP_FN_DIV)) {
        return inside(f, w) && is_total(f, n->args[1], n->args[0]) && take_exponential(f, n->args[0]);
    }
    if (!is_fn(f, w, LAP_FN_MUL)) {
        f->f->is_log = true;
        return take_log_form(f, w);
    }
    for (int i = 0; i < 2; i++) {
        lap_ref inverse = n->args[1 - i];
        const lap_node *d = node(f, inverse);
        f->f->n_inner = 0;
        if (is_fn(f, inverse, LAP_FN_DIV) && is_number(f, d->args[0], 1) && inside(f, w) &&
            inside(f, inverse) && is_total(f, d->args[1], n->args[i]) && take_exponential(f, n->args[i])) {
            return true;
        }
    }
    return false;
}

/* sum_j w v */
static bool take_weighed(finder *f, lap_ref root)
{
    const lap_node *n = node(f, root);
    if (n->op != LAP_OP_REDUCE || n->dtype != LAP_F32 || lap_attr_i(n, LAP_ATTR_RED, -1) != LAP_RED_SUM ||
        !is_fn(f, n->args[0], LAP_FN_MUL)) {
        return false;
    }
    f->f->keys = lap_attr_names(n, LAP_ATTR_OVER);
    f->f->is_quotient = false;
    const lap_node *product = node(f, n->args[0]);
    for (int i = 0; i < 2; i++) {
        f->f->value = product->args[1 - i];
        if (take_weights(f, product->args[i]) && inside(f, n->args[0])) {
            return true;
        }
    }
    return false;
}

/* (sum_j e v) / (sum_j e) */
static bool take_quotient(finder *f, lap_ref root)
{
    const lap_node *n = node(f, root);
    if (!is_fn(f, root, LAP_FN_DIV)) {
        return false;
    }
    lap_ref above = n->args[0], below = n->args[1];
    const lap_node *a = node(f, above);
    if (a->op != LAP_OP_REDUCE || !is_fn(f, a->args[0], LAP_FN_MUL) || node(f, below)->op != LAP_OP_REDUCE) {
        return false;
    }
    f->f->keys = lap_attr_names(a, LAP_ATTR_OVER);
    f->f->is_quotient = true;
    f->f->is_log = false;
    const lap_node *product = node(f, a->args[0]);
    for (int i = 0; i < 2; i++) {
        f->f->n_inner = 0;
        f->f->seen = LAP_NONE;
        f->f->value = product->args[1 - i];
        if (folds_keys(f, above, LAP_RED_SUM) && is_total(f, below, product->args[i]) && inside(f, above) &&
            inside(f, a->args[0]) && take_exponential(f, product->args[i])) {
            return true;
        }
    }
    return false;
}

bool lap_soft_form_of(const lap_graph *g, lap_ref root, lap_soft_form *out)
{
    finder f = {g, out};
    *out = (lap_soft_form){0};
    if (!take_weighed(&f, root) && !take_quotient(&f, root)) {
        return false;
    }
    return has_keys(lap_node_at(g, out->value), out->keys);
}

static bool is_inner(const lap_soft_form *f, lap_ref r)
{
    for (uint32_t i = 0; i < f->n_inner; i++) {
        if (lap_ref_same(f->inner[i], r)) {
            return true;
        }
    }
    return false;
}

static bool reads_inner(const lap_node *n, const lap_soft_form *f)
{
    for (uint32_t i = 0; i < n->n_args; i++) {
        if (is_inner(f, n->args[i])) {
            return true;
        }
    }
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_ref_some(n->axes[i].count) && is_inner(f, n->axes[i].count)) {
            return true;
        }
    }
    return false;
}

bool lap_soft_form_is_closed(const lap_graph *g, lap_ref root, const lap_soft_form *f)
{
    uint32_t least = root.ix;
    for (uint32_t i = 0; i < f->n_inner; i++) {
        least = f->inner[i].ix < least ? f->inner[i].ix : least;
    }
    for (uint32_t i = least + 1; i <= lap_graph_n_nodes(g); i++) {
        lap_ref r = {i};
        if (!lap_ref_same(r, root) && !is_inner(f, r) && reads_inner(lap_node_at(g, r), f)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < lap_graph_n_regions(g); i++) {
        const lap_region *region = lap_region_at(g, (lap_region_id){i});
        for (uint32_t k = 0; k < region->n_results; k++) {
            if (is_inner(f, region->results[k])) {
                return false;
            }
        }
    }
    for (uint32_t i = 0; i < lap_graph_n_outputs(g); i++) {
        if (is_inner(f, lap_graph_output(g, i)->value)) {
            return false; /* crops are counts: integers */
        }
    }
    return true;
}
