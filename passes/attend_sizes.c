/* SPDX-License-Identifier: Apache-2.0
 * attend_sizes.c - sizes of a streaming attend, and where its keys and values are read. */
#include "ir/fold.h"
#include "passes/attend_job.h"

/* Rows of scores are a cache line apart from powers of two: they would all meet in a few sets. */
enum { LINE = 16 };

static lap_dim d_int(lap_attend_job *j, int64_t v) { return lap_dim_const(j->l->ctx, v); }

static uint32_t at_most(lap_lowering *l, uint32_t n, lap_dim total, uint32_t unit)
{
    int64_t size;
    if (!lap_dim_is_const(l->ctx, total, &size) || size < 1) {
        return n;
    }
    int64_t units = (size + unit - 1) / unit;
    return units < n ? (uint32_t)units : n;
}

static int64_t greatest_common(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static bool has_row(const lap_attend_job *j, const lap_node *n)
{
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_axis_find(j->t.r.m.at, j->t.r.m.n, n->axes[i].name) != NULL) {
            return true;
        }
    }
    return false;
}

/* After how many rows the predicate changes where it takes rows in blocks (row // 64); 0: it takes none. */
static int64_t row_period(lap_attend_job *j, lap_ref r, unsigned depth)
{
    enum { DEEP = 32 };
    const lap_node *n = lap_node_at(j->l->g, r);
    bool is_map = n->op == LAP_OP_MAP;
    lap_scalar by;
    int64_t period = 0;
    if (depth > DEEP || !has_row(j, n) || (!is_map && n->op != LAP_OP_AT)) {
        return 0;
    }
    if (is_map && lap_attr_i(n, LAP_ATTR_FN, 0) == LAP_FN_IDIV && lap_fold_splat(j->l->g, n->args[1], &by) &&
        by.dtype == LAP_I64 && by.i > 0) {
        return by.i;
    }
    for (uint32_t i = is_map ? 0 : 1; i < n->n_args; i++) {
        period = greatest_common(period, row_period(j, n->args[i], depth + 1));
    }
    return period;
}

/* Tiles and blocks of queries that end where blocks of the predicate do: one that reaches over an end sees
 * what both sides see. */
static void keep_to_period(lap_attend_job *j)
{
    enum { LEAST = 4 };
    int64_t period = row_period(j, j->n->args[j->part->where], 0);
    for (uint32_t rows = j->t.rows; rows >= LEAST && period > 0; rows--) {
        for (uint32_t tiles = period % rows == 0 ? j->t.tiles_per_block : 0; tiles > 0; tiles--) {
            int64_t block = (int64_t)rows * tiles;
            if (period % block == 0 || block % period == 0) {
                j->t.rows = rows;
                j->t.tiles_per_block = tiles;
                return;
            }
        }
    }
}

void lap_attend_choose_sizes(lap_attend_job *j)
{
    lap_lowering *l = j->l;
    bool is_masked = j->part->where >= 0;
    for (uint32_t i = 0; i < j->t.r.n.n; i++) {
        j->is_ragged = j->is_ragged || lap_ref_some(j->t.r.n.at[i].count);
    }
    lap_dim m = lap_axes_product(l, j->t.r.m), n = lap_axes_product(l, j->t.r.n);
    uint32_t panels = (uint32_t)lap_knob_value(l, LAP_KNOB_ATTEND_PANELS);
    j->t.cols = lap_panel_cols(l, j->is_listed ? j->t.r.n.at[1].size : n, LAP_KNOB_ATTEND_COLS);
    j->panels = at_most(l, panels, n, j->t.cols);
    j->block_keys = j->panels * j->t.cols;
    j->is_single = !is_masked && !j->is_listed &&
                   lap_dim_compare(l->ctx, n, LAP_REL_LE, d_int(j, j->block_keys)) == LAP_YES;
    j->is_picked = is_masked || (j->is_ragged && !j->is_single);
    uint32_t tiles =
        (uint32_t)lap_knob_value(l, j->is_picked ? LAP_KNOB_ATTEND_MASKED : LAP_KNOB_ATTEND_TILES);
    j->t.rows = lap_tile_rows(l, m, j->t.cols, LAP_KNOB_ATTEND_ROWS);
    j->t.tiles_per_block = at_most(l, tiles, m, j->t.rows);
    if (is_masked) {
        keep_to_period(j);
    }
    j->s_stride = j->block_keys + LINE;
    j->depth = (uint32_t)lap_knob_value(l, LAP_KNOB_ATTEND_DEPTH);
    if (j->is_picked) {
        j->depth = j->t.cols;
    } else if (j->is_listed) { /* a step stays within a block of the list */
        j->depth = j->block_keys % j->listed.block == 0 ? (uint32_t)j->listed.block : j->t.cols;
    } else if (j->is_single) {
        j->depth = j->block_keys;
    }
}

bool lap_attend_packs_inside(lap_attend_job *j)
{
    lap_ctx *ctx = j->l->ctx;
    lap_dim bytes = lap_dim_mul(ctx, j->t.k_total, d_int(j, (int64_t)4 * j->block_keys));
    bool is_static =
        lap_factors_static(j->l, &j->t.r.b) || (j->has_out && lap_factors_static(j->l, &j->value.b));
    return j->is_single && !is_static &&
           lap_dim_compare(ctx, j->t.m_total, LAP_REL_LE, d_int(j, lap_attend_block_rows(j))) == LAP_YES &&
           lap_dim_compare(ctx, bytes, LAP_REL_LE, d_int(j, j->l->target->l2_bytes / 4)) == LAP_YES;
}

/* In place where rows lie close together, else packed: far apart they would share few sets of a cache. */
static lap_panels panels_of(lap_attend_job *j, const lap_roles *r, uint32_t cols, bool dot, bool inside)
{
    enum { NEAR = 4 };
    lap_panels p;
    int64_t stride, width;
    lap_dtype elem = lap_packed_as(dot);
    if (lap_panels_in_place(j->k, r, cols, elem, &p) && lap_dim_is_const(j->l->ctx, p.n_total, &width) &&
        width % cols == 0 && lap_dim_is_const(j->l->ctx, p.stride, &stride) && stride >= cols &&
        stride <= (int64_t)NEAR * cols) {
        return p;
    }
    return inside ? lap_panels_inside(j->k, r, cols, elem)
                  : lap_pack_panels(j->l, r, cols, elem, d_int(j, 0), j->n->loc);
}

void lap_attend_make_panels(lap_attend_job *j, bool inside)
{
    lap_lowering *l = j->l;
    j->kp = panels_of(j, j->is_listed ? &j->listed.keys : &j->t.r, j->t.cols, j->t.dot, inside);
    if (!j->has_out) {
        return;
    }
    uint32_t v_cols = lap_panel_cols(l, lap_axes_product(l, j->value.n), LAP_KNOB_ATTEND_COLS);
    j->vp = panels_of(j, j->is_listed ? &j->listed.values : &j->value, v_cols, j->dot_values, inside);
    j->n_wide = j->vp.n_total;
    j->wide = lap_dim_mul(l->ctx, j->vp.n_panels, d_int(j, j->vp.cols));
}
