/* SPDX-License-Identifier: Apache-2.0
 * attend_block.c - the blocks of keys that a block of queries goes through in a streaming attend.
 *
 * Without a predicate a block is a run of panels. With one, or with keys that may be absent, it is made of
 * panels that some row sees, picked one after another wherever they lie: what nobody sees costs a test, and a
 * span of panels that nobody sees one. */
#include "passes/attend_job.h"

typedef lap_attend_job job;

static lap_coord c_int(job *j, int64_t v) { return lap_coord_const(j->k->c, v); }
static lap_dim d_int(job *j, int64_t v) { return lap_dim_const(j->l->ctx, v); }

lap_region_id lap_attend_if(job *j, lap_ref cond)
{
    if (!lap_ref_some(cond)) {
        return (lap_region_id){0};
    }
    lap_region_id region = lap_k_if(j->k->k, cond);
    j->k->stack[j->k->depth++] = region;
    return region;
}

void lap_attend_end_if(job *j, lap_region_id region, lap_ref cond)
{
    if (lap_ref_some(cond)) {
        lap_k_end_if(j->k->k, region, cond);
        j->k->depth--;
    }
}

static lap_ref predicate_admits(job *j, lap_span rows, lap_span keys, lap_extent_of of)
{
    lap_kctx *k = j->k;
    lap_ref where = j->n->args[j->part->where];
    lap_skip s = {.k = k,
                  .n_rows = rows.n,
                  .n_keys = keys.n,
                  .row = lap_coord_stand_in(k->c, d_int(j, lap_attend_block_rows(j))),
                  .key = lap_coord_stand_in(k->c, d_int(j, j->block_keys))};
    lap_tiles_split(&j->t, j->t.m, lap_coord_add(k->c, lap_coord_add(k->c, j->t.m0, rows.first), s.row));
    lap_tiles_split(&j->t, j->t.r.n, lap_coord_add(k->c, keys.first, s.key));
    return lap_attend_holds(&s, where, lap_env_for(k, where, j->t.env.n, j->t.axes, j->t.coords), of);
}

/* Whether some or all of these elements of merged axes are present; NONE: not known, as where there are
 * several axes, or the count is not the same for the whole block. */
static lap_ref are_present(job *j, lap_axis_list axes, lap_span of_axes, lap_extent_of of)
{
    lap_kctx *k = j->k;
    if (axes.n != 1 || !lap_ref_some(axes.at[0].count)) {
        return LAP_NONE;
    }
    lap_ref count = axes.at[0].count;
    const lap_node *n = lap_node_at(j->l->g, count);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_axis_find(j->t.r.batch.at, j->t.r.batch.n, n->axes[i].name) == NULL) {
            return LAP_NONE;
        }
    }
    lap_ref there =
        lap_pull_ref(k, count, lap_env_for(k, count, j->t.env.n, j->t.axes, j->t.coords), LAP_NONE);
    lap_coord end = lap_coord_add(k->c, of_axes.first, of == LAP_OF_ALL ? of_axes.n : c_int(j, 1));
    return lap_map2(k->k, LAP_FN_LE, lap_coord_ref(k->c, end), there);
}

lap_ref lap_attend_admits(job *j, lap_span rows, lap_span keys, lap_extent_of of)
{
    lap_span from_start = {lap_coord_add(j->k->c, j->t.m0, rows.first), rows.n};
    bool asks[3] = {j->part->where >= 0, j->is_ragged, of == LAP_OF_SOME}; /* absent rows may see anything */
    lap_ref knows[3] = {asks[0] ? predicate_admits(j, rows, keys, of) : LAP_NONE,
                        are_present(j, j->t.r.n, keys, of), are_present(j, j->t.m, from_start, of)};
    lap_ref all = LAP_NONE;
    for (int i = 0; i < 3; i++) {
        if (asks[i] && !lap_ref_some(knows[i]) && of == LAP_OF_ALL) {
            return LAP_NONE;
        }
        all = asks[i] ? lap_mask_both(j->k, all, knows[i]) : all;
    }
    return all;
}

lap_ref lap_attend_narrow(job *j, lap_span rows, lap_span *keys, lap_coord *out_before)
{
    enum { FEW = 4 }; /* as many tests cost less than the products that they save */
    lap_kctx *k = j->k;
    lap_graph *g = k->k;
    *out_before = c_int(j, 0);
    if (!j->is_picked || j->part->where < 0 || lap_plan_of(j->l, j->n->args[j->part->where])->n_reads > 0 ||
        j->t.cols % FEW != 0) {
        return lap_attend_admits(j, rows, *keys, LAP_OF_SOME);
    }
    lap_coord at, width = c_int(j, j->t.cols / FEW);
    lap_ref none[2] = {lap_const_i(g, j->t.cols), lap_const_i(g, 0)}, ends[2];
    lap_k_loop runs = lap_kctx_for(k, LAP_LOOP_SERIAL, d_int(j, FEW), LAP_NONE, 2, none, &at);
    lap_coord first = lap_coord_mul(k->c, at, width), end = lap_coord_add(k->c, first, width);
    lap_span some = {lap_coord_add(k->c, keys->first, first), width};
    lap_ref seen = lap_attend_admits(j, rows, some, LAP_OF_SOME);
    lap_ref next[2] = {lap_map2(g, LAP_FN_MIN, runs.carried[0], lap_coord_ref(k->c, first)),
                       lap_coord_ref(k->c, end)};
    for (int i = 0; i < 2 && lap_ref_some(seen); i++) {
        next[i] = lap_map3(g, LAP_FN_SELECT, seen, next[i], runs.carried[i]);
    }
    lap_kctx_end(k, &runs, next, ends);
    ends[1] = lap_map2(g, LAP_FN_MIN, ends[1], lap_coord_ref(k->c, keys->n));
    *out_before = lap_coord_opaque(k->c, ends[0]);
    lap_coord past = lap_coord_opaque(k->c, ends[1]);
    *keys = (lap_span){lap_coord_add(k->c, keys->first, *out_before), lap_coord_sub(k->c, past, *out_before)};
    return lap_map2(g, LAP_FN_LT, ends[0], ends[1]);
}

lap_span lap_attend_all_rows(job *j) { return (lap_span){c_int(j, 0), j->t.m_rows}; }

lap_span lap_attend_tile_rows(job *j, lap_coord tile)
{
    return (lap_span){lap_coord_mul(j->k->c, tile, c_int(j, j->t.rows)), lap_tiles_rows(&j->t, tile)};
}

lap_span lap_attend_panel_keys(job *j, lap_coord panel, int64_t n)
{
    lap_coord first = lap_coord_mul(j->k->c, panel, c_int(j, j->t.cols));
    return (lap_span){first, lap_coord_clip(j->k, j->n_keys, first, n * j->t.cols)};
}

static lap_dim n_panels(job *j) { return lap_dim_ceildiv(j->l->ctx, j->n_keys, d_int(j, j->t.cols)); }

lap_coord lap_attend_panel(job *j, lap_coord slot)
{
    lap_kctx *k = j->k;
    if (!j->is_picked) {
        return lap_coord_add(k->c, j->first, slot);
    }
    int64_t n;
    if (lap_dim_is_const(j->l->ctx, n_panels(j), &n) && n == 1) {
        return c_int(j, 0); /* what is read from memory has no bound that devices know */
    }
    lap_ref panel = lap_k_load(k->k, j->picked, lap_coord_ref(k->c, slot), LAP_NONE);
    return lap_coord_var(k->c, panel, n_panels(j));
}

static void in_turn(job *j, lap_coord block, void (*body)(job *j))
{
    lap_kctx *k = j->k;
    j->first = lap_coord_mul(k->c, block, c_int(j, j->panels));
    j->n_live = lap_coord_clip(k, n_panels(j), j->first, j->panels);
    lap_span keys = lap_attend_panel_keys(j, j->first, j->panels);
    j->key0 = keys.first;
    j->keys = keys.n;
    body(j);
}

/* A number of panels that are noted: never more than two blocks of them, which devices must see. */
static lap_ref few(job *j, lap_ref n)
{
    lap_graph *g = j->k->k;
    lap_ref natural = lap_map2(g, LAP_FN_MAX, n, lap_const_i(g, 0));
    return lap_map2(g, LAP_FN_MIN, natural, lap_const_i(g, 2 * (int64_t)j->panels));
}

/* Notes the panels of a span that are live, behind the n that are noted; returns how many are noted then. */
static lap_ref note_live(job *j, lap_coord first, lap_ref count, lap_ref n)
{
    lap_kctx *k = j->k;
    lap_graph *g = k->k;
    lap_coord p;
    lap_ref out;
    lap_k_loop panels = lap_kctx_for(k, LAP_LOOP_SERIAL, d_int(j, j->panels), count, 1, &n, &p);
    lap_coord panel = lap_coord_add(k->c, first, p);
    lap_ref seen =
        lap_attend_admits(j, lap_attend_all_rows(j), lap_attend_panel_keys(j, panel, 1), LAP_OF_SOME);
    lap_region_id region = lap_attend_if(j, seen);
    lap_k_store(g, j->picked, panels.carried[0], lap_coord_ref(k->c, panel), LAP_NONE);
    lap_attend_end_if(j, region, seen);
    lap_ref next = few(j, lap_map2(g, LAP_FN_ADD, panels.carried[0], lap_const_i(g, 1)));
    next = lap_ref_some(seen) ? lap_map3(g, LAP_FN_SELECT, seen, next, panels.carried[0]) : next;
    lap_kctx_end(k, &panels, &next, &out);
    return out;
}

/* A block of the first n that are noted; the others move to the front. */
static void work_off(job *j, lap_ref n, lap_ref noted, void (*body)(job *j))
{
    lap_kctx *k = j->k;
    j->n_live = lap_coord_var(k->c, n, d_int(j, (int64_t)j->panels + 1));
    lap_coord r, last = lap_coord_sub(k->c, j->n_live, c_int(j, 1));
    lap_span end = lap_attend_panel_keys(j, lap_attend_panel(j, last), 1); /* it alone may be short */
    j->keys = lap_coord_add(k->c, lap_coord_mul(k->c, last, c_int(j, j->t.cols)), end.n);
    body(j);
    lap_ref rest =
        lap_map2(k->k, LAP_FN_MIN, lap_map2(k->k, LAP_FN_SUB, noted, n), lap_const_i(k->k, j->panels));
    lap_k_loop moves = lap_kctx_for(k, LAP_LOOP_SERIAL, d_int(j, j->panels), rest, 0, NULL, &r);
    lap_ref to = lap_coord_ref(k->c, r),
            from = lap_coord_ref(k->c, lap_coord_add(k->c, r, c_int(j, j->panels)));
    lap_k_store(k->k, j->picked, to, lap_k_load(k->k, j->picked, from, LAP_NONE), LAP_NONE);
    lap_kctx_end(k, &moves, NULL, NULL);
}

/* One span more than there are: in it what is left is worked off. */
static void by_picking(job *j, void (*body)(job *j))
{
    lap_kctx *k = j->k;
    lap_graph *g = k->k;
    lap_coord s;
    lap_dim n_spans = lap_dim_ceildiv(j->l->ctx, n_panels(j), d_int(j, j->panels));
    lap_ref zero = lap_const_i(g, 0), most = lap_const_i(g, j->panels);
    lap_k_loop spans = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_dim_add(j->l->ctx, n_spans, d_int(j, 1)),
                                    LAP_NONE, 1, &zero, &s);
    lap_ref is_end = lap_map2(g, LAP_FN_EQ, lap_coord_ref(k->c, s), lap_dim_node(g, n_spans));
    lap_coord first = lap_coord_mul(k->c, s, c_int(j, j->panels));
    lap_ref count = lap_coord_ref(k->c, lap_coord_clip(k, n_panels(j), first, j->panels));
    lap_ref seen =
        lap_attend_admits(j, lap_attend_all_rows(j), lap_attend_panel_keys(j, first, j->panels), LAP_OF_SOME);
    if (lap_ref_some(seen)) {
        count = lap_map3(g, LAP_FN_SELECT, seen, count, zero);
    }
    count = lap_map3(g, LAP_FN_SELECT, is_end, zero, count);
    lap_ref noted = note_live(j, first, count, spans.carried[0]), n = lap_map2(g, LAP_FN_MIN, noted, most);
    lap_ref rest = lap_map2(g, LAP_FN_AND, is_end, lap_map2(g, LAP_FN_GT, noted, zero));
    lap_ref go = lap_map2(g, LAP_FN_OR, rest, lap_map2(g, LAP_FN_GE, noted, most));
    lap_region_id region = lap_attend_if(j, go);
    work_off(j, n, noted, body);
    lap_attend_end_if(j, region, go);
    lap_ref next = few(j, lap_map3(g, LAP_FN_SELECT, go, lap_map2(g, LAP_FN_SUB, noted, n), noted)), out;
    lap_kctx_end(k, &spans, &next, &out);
}

static bool varies_over(const lap_node *n, lap_axis_list axes)
{
    for (uint32_t i = 0; i < axes.n; i++) {
        if (lap_node_axis(n, axes.at[i].name) != NULL) {
            return true;
        }
    }
    return false;
}

/* Blocks up to the count of ragged keys, where it is the same for all rows of the block; else NONE: all. */
static lap_ref blocks_there(job *j)
{
    lap_coords *c = j->k->c;
    lap_axis_list keys = j->t.r.n, inner = {keys.n - 1, keys.at + 1};
    lap_ref count = keys.at[0].count;
    if (!lap_ref_some(count) || varies_over(lap_node_at(j->l->g, count), keys) ||
        varies_over(lap_node_at(j->l->g, count), j->t.r.m)) {
        return LAP_NONE;
    }
    lap_ref there = lap_axis_extent(j->k, &keys.at[0], j->t.env.n, j->t.axes, j->t.coords, LAP_NONE);
    lap_coord each = lap_coord_dim(c, lap_axes_product(j->l, inner));
    lap_coord n = lap_coord_mul(c, lap_coord_opaque(c, there), each);
    n = lap_coord_add(c, n, c_int(j, j->block_keys - 1));
    return lap_coord_ref(c, lap_coord_floordiv(c, n, c_int(j, j->block_keys)));
}

void lap_attend_each_block(job *j, void (*body)(job *j))
{
    lap_coord block = lap_coord_const(j->k->c, 0);
    if (j->is_picked) {
        by_picking(j, body);
        return;
    }
    if (j->is_single) {
        in_turn(j, block, body);
        return;
    }
    lap_dim n_blocks = lap_dim_ceildiv(j->l->ctx, j->n_keys, d_int(j, j->block_keys));
    lap_k_loop blocks = lap_kctx_for(j->k, LAP_LOOP_SERIAL, n_blocks, blocks_there(j), 0, NULL, &block);
    in_turn(j, block, body);
    lap_kctx_end(j->k, &blocks, NULL, NULL);
}
