/* SPDX-License-Identifier: Apache-2.0
 * soft_attend.c - the attend that means what a soft form says: see soft_form.h. */
#include "passes/soft_form.h"
#include "passes/soft_mask.h"
#include "ir/attr.h"

#include <math.h>

static const lap_axis *key_axis(const lap_graph *g, const lap_soft_form *f, uint32_t i)
{
    return lap_node_axis(lap_node_at(g, f->value), f->keys.at[i]);
}

static bool has_ragged_keys(const lap_graph *g, const lap_soft_form *f, lap_ref score)
{
    for (uint32_t i = 0; i < f->keys.n; i++) {
        const lap_axis *of_score = lap_node_axis(lap_node_at(g, score), f->keys.at[i]);
        if (lap_ref_some(key_axis(g, f, i)->count) || lap_ref_some(of_score->count)) {
            return true;
        }
    }
    return false;
}

static bool has_all_keys(const lap_graph *g, const lap_soft_form *f, lap_ref r)
{
    for (uint32_t i = 0; i < f->keys.n; i++) {
        if (lap_node_axis(lap_node_at(g, r), f->keys.at[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* A sum over no keys at all is 0, though the quotient in it would be NaN. */
static lap_ref zero_without_keys(lap_graph *g, const lap_soft_form *f, lap_ref out)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_dim zero = lap_dim_const(ctx, 0);
    for (uint32_t i = 0; i < f->keys.n; i++) {
        lap_dim size = key_axis(g, f, i)->size;
        if (lap_dim_compare(ctx, size, LAP_REL_GT, zero) != LAP_YES) {
            lap_ref none = lap_map2(g, LAP_FN_EQ, lap_dim_node(g, size), lap_const_i(g, 0));
            out = lap_map3(g, LAP_FN_SELECT, none, lap_const_f(g, 0), out);
        }
    }
    return out;
}

/* A row of weights of 0 is 0 / 0. The logarithm of their sum is -inf; a finite score less that is no NaN. */
static lap_low_rows low_rows(const lap_soft_form *f)
{
    if (f->least_shift == -INFINITY) {
        return LAP_LOW_EVEN;
    }
    return f->least_shift > LAP_SOFT_LOW / 2 && !f->is_log ? LAP_LOW_NAN : LAP_LOW_UNKNOWN;
}

lap_ref lap_soft_form_attend(lap_graph *g, const lap_soft_form *f, const lap_type *want)
{
    lap_soft_mask m = lap_soft_mask_split(g, f->score, f->keys, low_rows(f));
    if (!lap_ref_some(m.score)) {
        return LAP_NONE;
    }
    if (lap_ref_some(f->seen)) {
        m.where = lap_ref_some(m.where) ? lap_map2(g, LAP_FN_AND, m.where, f->seen) : f->seen;
    }
    if (!has_all_keys(g, f, m.score) || !has_all_keys(g, f, f->value)) {
        return LAP_NONE;
    }
    bool is_ragged = has_ragged_keys(g, f, m.score);
    if (is_ragged && lap_ref_some(m.where) && !f->is_quotient) {
        return LAP_NONE; /* rows without keys give 0, rows with masked keys alone NaN */
    }
    double empty = is_ragged && !f->is_quotient ? 0.0 : (double)NAN;
    lap_part part = {.keys = f->keys, .score = 0, .where = -1, .after = -1, .value = 1};
    lap_ref args[3] = {m.score, f->value, m.where};
    if (lap_ref_some(m.where)) {
        part.where = 2;
    }
    const lap_attr attrs[] = {lap_attr_make_parts(LAP_ATTR_PARTS, (lap_parts){1, &part}),
                              lap_attr_make_i(LAP_ATTR_NORM, LAP_NORM_SOFTMAX),
                              lap_attr_make_f(LAP_ATTR_EMPTY, empty)};
    lap_ref attend = lap_emit(g, &(lap_emit_args){.op = LAP_OP_ATTEND,
                                                  .n_args = lap_ref_some(m.where) ? 3 : 2,
                                                  .args = args,
                                                  .n_attrs = sizeof attrs / sizeof *attrs,
                                                  .attrs = attrs});
    lap_ref out = lap_ref_some(attend) ? lap_result(g, attend, "out") : LAP_NONE;
    if (!lap_ref_some(out) || !lap_node_has_type(lap_node_at(g, out), want)) {
        return LAP_NONE;
    }
    return f->is_quotient || is_ragged ? out : zero_without_keys(g, f, out);
}
