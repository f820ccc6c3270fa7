/* SPDX-License-Identifier: Apache-2.0
 * lower_contract.c - contractions as register tiles over packed panels, with an elementwise epilogue.
 *
 *   pack B into panels [k][cols]                    (weights: once, when they are bound; few rows of A read
 *                                                    what they can of it in place)
 *   grid: batch x blocks of m x groups of panels
 *     for each panel, for each tile: mma -> acc; epilogue reads acc, writes the result
 *
 * A block of A stays in the second-level cache while the panels pass; a panel stays there while the
 * tiles of the block pass. */
#include "passes/tiles.h"

typedef struct job {
    lap_lowering *l;
    lap_ref node, reduce;
    lap_tiles t;
    lap_panels b, place; /* packed, and as B lies in memory */
    lap_dim n_place;     /* the first panels, which are read in place */
    bool has_b, has_place;
    lap_ref acc;
    lap_dim n_panels;
    uint32_t panels; /* of a group */
} job;

/* Rows of the tile: the result at (row, column), reading the contraction from acc. */
static void epilogue(job *j, lap_coord m, lap_coord rows, lap_coord n0, lap_ref n_cols)
{
    lap_kctx *k = j->t.k;
    lap_lowering *l = j->l;
    const lap_node *node = lap_node_at(l->g, j->node), *reduce = lap_node_at(l->g, j->reduce);
    const lap_plan_node *plan = lap_plan_of(l, j->node);
    lap_coord row, column;
    lap_k_loop over_rows = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_dim_const(l->ctx, j->t.rows),
                                        lap_coord_ref(k->c, rows), 0, NULL, &row);
    lap_tiles_split(&j->t, j->t.m, lap_coord_add(k->c, m, row));
    lap_k_loop over_cols =
        lap_kctx_for(k, LAP_LOOP_VECTOR, lap_dim_const(l->ctx, j->t.cols), n_cols, 0, NULL, &column);
    lap_tiles_split(&j->t, j->t.r.n, lap_coord_add(k->c, n0, column));
    lap_coord *inner = lap_arena_array(l->ctx->arena, reduce->n_axes + 1, sizeof *inner);
    lap_coord *env = lap_arena_array(l->ctx->arena, node->n_axes + 1, sizeof *env);
    for (uint32_t i = 0; i < reduce->n_axes; i++) {
        inner[i] = *lap_tiles_coord(&j->t, reduce->axes[i].name);
        const lap_axis *a = lap_node_axis(node, plan->anchor_names[i]);
        LAP_ENSURE(a != NULL);
        env[a - node->axes] = inner[i];
    }
    lap_coord index = lap_coord_add(k->c, lap_coord_mul(k->c, row, lap_coord_const(k->c, j->t.cols)), column);
    k->n_overrides = 1;
    k->overrides[0] = (lap_override){.node = j->reduce, .env = inner, .buffer = j->acc, .index = index};
    lap_ref present = lap_present(k, node->n_axes, node->axes, env, NULL);
    lap_ref v = lap_ref_same(j->node, j->reduce) ? lap_pull_ref(k, j->node, env, present)
                                                 : lap_val_ref(k, lap_pull_expr(k, j->node, env, present));
    k->n_overrides = 0;
    lap_dest dest = lap_dest_of(l, j->node);
    lap_ref at = lap_coord_ref(k->c, lap_dest_address(k, &dest, node->n_axes, node->axes, env));
    lap_k_store(k->k, lap_kctx_buffer(k, dest.buffer), at, v, present);
    lap_kctx_end(k, &over_cols, NULL, NULL);
    lap_kctx_end(k, &over_rows, NULL, NULL);
}

/* A tile against a panel: packed or in place, where both exist by the panel's number. */
static void multiply(job *j, lap_coord tile, lap_coord panel, lap_coord b0, lap_coord place0)
{
    lap_kctx *k = j->t.k;
    lap_coord acc0 = lap_coord_const(k->c, 0);
    lap_dim ld = lap_dim_const(j->l->ctx, j->t.cols);
    if (j->has_place != j->has_b) {
        lap_tiles_mma(&j->t, tile, j->acc, acc0, ld, j->has_b ? &j->b : &j->place, j->has_b ? b0 : place0);
        return;
    }
    lap_ref is_place = lap_map2(k->k, LAP_FN_LT, lap_coord_ref(k->c, panel), lap_dim_node(k->k, j->n_place));
    lap_ref is_packed = lap_map1(k->k, LAP_FN_NOT, is_place);
    lap_region_id region = lap_kctx_if(k, is_place);
    lap_tiles_mma(&j->t, tile, j->acc, acc0, ld, &j->place, place0);
    lap_kctx_end_if(k, region, is_place);
    region = lap_kctx_if(k, is_packed);
    lap_tiles_mma(&j->t, tile, j->acc, acc0, ld, &j->b, b0);
    lap_kctx_end_if(k, region, is_packed);
}

static void panels(job *j, lap_coord group)
{
    lap_kctx *k = j->t.k;
    lap_ctx *ctx = j->l->ctx;
    lap_coord p, tile;
    lap_coord first = lap_coord_mul(k->c, group, lap_coord_const(k->c, j->panels));
    lap_coord n_panels = lap_coord_clip(k, j->n_panels, first, j->panels);
    lap_k_loop over_panels = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_dim_const(ctx, j->panels),
                                          lap_coord_ref(k->c, n_panels), 0, NULL, &p);
    lap_coord panel = lap_coord_add(k->c, first, p);
    lap_coord zero = lap_coord_const(k->c, 0);
    lap_coord b0 = j->has_b ? lap_panel_offset(k, &j->b, &j->t.env, panel) : zero;
    lap_coord place0 = j->has_place ? lap_panel_offset(k, &j->place, &j->t.env, panel) : zero;
    lap_k_loop over_tiles = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_dim_const(ctx, j->t.tiles_per_block),
                                         lap_coord_ref(k->c, lap_tiles_n(&j->t)), 0, NULL, &tile);
    multiply(j, tile, panel, b0, place0);
    lap_coord n0 = lap_coord_mul(k->c, panel, lap_coord_const(k->c, j->t.cols));
    lap_ref n_cols = LAP_NONE;
    lap_dim n_total = lap_axes_product(j->l, j->t.r.n);
    lap_dim all = lap_dim_mul(ctx, j->n_panels, lap_dim_const(ctx, j->t.cols));
    if (lap_dim_compare(ctx, all, LAP_REL_EQ, n_total) != LAP_YES) {
        n_cols = lap_coord_ref(k->c, lap_coord_clip(k, n_total, n0, j->t.cols));
    }
    lap_coord m = lap_coord_add(k->c, j->t.m0, lap_coord_mul(k->c, tile, lap_coord_const(k->c, j->t.rows)));
    epilogue(j, m, lap_tiles_rows(&j->t, tile), n0, n_cols);
    lap_kctx_end(k, &over_tiles, NULL, NULL);
    lap_kctx_end(k, &over_panels, NULL, NULL);
}

/* Lanes should run along the result's fastest axis, unless B is packed once anyway. */
static void choose_sides(job *j, lap_roles *r)
{
    const lap_plan_node *plan = lap_plan_of(j->l, j->node);
    const lap_node *reduce = lap_node_at(j->l->g, j->reduce);
    if (lap_factors_static(j->l, &r->b) || plan->n_order == 0) {
        return;
    }
    lap_name fastest = plan->order[plan->n_order - 1];
    for (uint32_t i = 0; i < reduce->n_axes; i++) {
        if (lap_name_same(plan->anchor_names[i], fastest) &&
            lap_axis_find(r->m.at, r->m.n, reduce->axes[i].name) != NULL) {
            lap_roles_swap(r);
            return;
        }
    }
}

/* 1 where d is at most `most`, else 0. */
static lap_dim at_most(lap_ctx *ctx, lap_dim d, int64_t most)
{
    lap_dim zero = lap_dim_const(ctx, 0), one = lap_dim_const(ctx, 1);
    return lap_dim_min(ctx, lap_dim_max(ctx, lap_dim_sub(ctx, lap_dim_const(ctx, most + 1), d), zero), one);
}

/* Few rows of A do not repay packing B: whole panels are then read in place, where the rows of one do not all
 * meet in the same sets of the second cache: a step whose largest power of two is s leaves room for as many
 * rows as s goes into it. */
static lap_dim count_in_place(const job *j)
{
    enum { FEW = 256, PAGE = 4096 };
    lap_ctx *ctx = j->l->ctx;
    lap_dim rows = j->t.k_total, fits = lap_dim_const(ctx, 0), cols = lap_dim_const(ctx, j->t.cols);
    int64_t bytes = lap_dtype_bits(j->place.elem) / 8;
    for (int64_t s = PAGE; s > PAGE / 4; s /= 2) {
        lap_dim rest = lap_dim_mod(ctx, j->place.stride, lap_dim_const(ctx, s / bytes));
        lap_dim is_spread = lap_dim_min(ctx, rest, lap_dim_const(ctx, 1));
        lap_dim has_room = at_most(ctx, rows, j->l->target->l2_bytes / (s / 2));
        fits = lap_dim_max(ctx, fits, lap_dim_mul(ctx, is_spread, has_room));
    }
    lap_dim whole = lap_dim_floordiv(ctx, j->place.n_total, cols);
    return lap_dim_mul(ctx, lap_dim_mul(ctx, fits, at_most(ctx, j->t.m_total, FEW)), whole);
}

/* Where the panels of B are read. */
static void find_panels(job *j, lap_loc loc)
{
    lap_ctx *ctx = j->l->ctx;
    lap_dtype elem = lap_packed_as(j->t.dot);
    lap_dim zero = lap_dim_const(ctx, 0), cols = lap_dim_const(ctx, j->t.cols);
    j->n_panels = lap_dim_ceildiv(ctx, lap_axes_product(j->l, j->t.r.n), cols);
    j->has_place = lap_panels_in_place(j->t.k, &j->t.r, j->t.cols, elem, &j->place);
    j->n_place = j->has_place ? count_in_place(j) : zero;
    j->has_place = j->has_place && lap_dim_compare(ctx, j->n_place, LAP_REL_EQ, zero) != LAP_YES;
    j->has_b = lap_dim_compare(ctx, j->n_place, LAP_REL_EQ, j->n_panels) != LAP_YES;
    if (j->has_b) {
        j->b = lap_pack_panels(j->l, &j->t.r, j->t.cols, elem, j->n_place, loc);
    }
}

void lap_lower_contract(lap_lowering *l, lap_ref node)
{
    job j = {.l = l, .node = node, .reduce = lap_plan_of(l, node)->anchor};
    j.t = (lap_tiles){.l = l, .tiles_per_block = (uint32_t)lap_knob_value(l, LAP_KNOB_CONTRACT_TILES)};
    LAP_ENSURE(lap_contract_roles(l, j.reduce, &j.t.r));
    choose_sides(&j, &j.t.r);
    j.t.dot = lap_roles_take_dot(l, &j.t.r, LAP_KNOB_CONTRACT_DOT);
    lap_loc loc = lap_node_at(l->g, j.reduce)->loc;
    j.t.k = lap_kctx_new(l, loc);
    j.t.cols = lap_panel_cols(l, lap_axes_product(l, j.t.r.n), LAP_KNOB_CONTRACT_COLS);
    j.t.rows = lap_tile_rows(l, lap_axes_product(l, j.t.r.m), j.t.cols, LAP_KNOB_CONTRACT_ROWS);
    lap_tiles_plan(&j.t);
    j.panels =
        (uint32_t)lap_knob_value(l, j.t.a_direct ? LAP_KNOB_CONTRACT_DIRECT : LAP_KNOB_CONTRACT_PACKED);
    find_panels(&j, loc);
    lap_coord group;
    lap_tiles_grid(&j.t, lap_dim_ceildiv(l->ctx, j.n_panels, lap_dim_const(l->ctx, j.panels)), &group);
    j.acc = lap_kctx_scratch(j.t.k, LAP_F32, lap_dim_const(l->ctx, (int64_t)j.t.rows * j.t.cols));
    panels(&j, group);
    lap_kctx_launch(j.t.k, "contract");
}
