/* SPDX-License-Identifier: Apache-2.0
 * attend_classes.c - what a streaming attend knows of its tiles: empty, full or partial.
 *
 * The kernel asks while it runs. For a picture of the pattern the same questions are a kernel of their own,
 * which writes the answers, so that what is drawn is what is computed. */
#include "passes/attend_job.h"

static lap_ref bit_where(lap_attend_job *j, lap_ref holds, bool missing, int64_t bit)
{
    lap_graph *g = j->k->k;
    lap_ref yes = lap_const_i(g, bit), no = lap_const_i(g, 0);
    return lap_ref_some(holds) ? lap_map3(g, LAP_FN_SELECT, holds, yes, no) : missing ? yes : no;
}

/* The class of tile `tile` of the block of rows against panel `panel`; a tile is done without a mask where
 * all rows of its block see all of the panel. */
static lap_ref class_of(lap_attend_job *j, lap_coord tile, lap_coord panel)
{
    lap_span keys = lap_attend_panel_keys(j, panel, 1), rows = lap_attend_tile_rows(j, tile);
    lap_ref some = bit_where(j, lap_attend_admits(j, rows, keys, LAP_OF_SOME), true, LAP_TILE_SOME);
    lap_ref all = bit_where(j, lap_attend_admits(j, rows, keys, LAP_OF_ALL), false, LAP_TILE_ALL);
    lap_ref plain = bit_where(j, lap_attend_admits(j, lap_attend_all_rows(j), keys, LAP_OF_ALL), false,
                              LAP_TILE_UNMASKED);
    return lap_map2(j->k->k, LAP_FN_ADD, lap_map2(j->k->k, LAP_FN_ADD, some, all), plain);
}

/* An output of the program beside those of the graph. */
static uint32_t add_output(lap_attend_job *j, uint32_t n, const lap_dim *shape)
{
    lap_lowering *l = j->l;
    lap_leaf leaf = {.name = lap_fresh(l->ctx, "classes"),
                     .dtype = LAP_I64,
                     .rank = n,
                     .shape = lap_arena_copy(l->ctx->arena, shape, n * sizeof *shape),
                     .loc = j->n->loc};
    uint32_t number = lap_graph_n_outputs(l->g) + l->n_extra;
    lap_arena_grow(l->ctx->arena, &l->extra, l->n_extra, 1, &l->extra_capacity, sizeof *l->extra);
    l->extra[l->n_extra++] = leaf;
    return lap_program_buffer(l, (lap_buffer){.kind = LAP_BUF_OUTPUT,
                                              .elem = LAP_I64,
                                              .count = lap_dims_product(l->ctx, n, shape),
                                              .leaf = number});
}

/* Writes the classes [outer, tile rows, panels] of an attend whose job is planned. */
static void write_classes(lap_attend_job *j)
{
    lap_kctx *k = j->k;
    lap_ctx *ctx = j->l->ctx;
    lap_dim shape[3] = {lap_dim_const(ctx, 1),
                        lap_dim_ceildiv(ctx, j->t.m_total, lap_dim_const(ctx, j->t.rows)),
                        lap_dim_ceildiv(ctx, j->n_keys, lap_dim_const(ctx, j->t.cols))};
    for (uint32_t i = 0; i < j->t.n_outer; i++) {
        shape[0] = lap_dim_mul(ctx, shape[0], j->t.outer[i].size);
    }
    uint32_t buffer = add_output(j, 3, shape);
    lap_coord one, tile, panel, row = lap_coord_const(k->c, 0);
    lap_tiles_grid(&j->t, lap_dim_const(ctx, 1), &one);
    for (uint32_t i = 0; i < j->t.n_outer; i++) {
        row = lap_coord_add(k->c, lap_coord_mul(k->c, row, lap_coord_dim(k->c, j->t.outer[i].size)),
                            *lap_tiles_coord(&j->t, j->t.outer[i].name));
    }
    row = lap_coord_mul(k->c, row, lap_coord_dim(k->c, shape[1]));
    row = lap_coord_add(k->c, row, lap_coord_floordiv(k->c, j->t.m0, lap_coord_const(k->c, j->t.rows)));
    lap_k_loop tiles = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_dim_const(ctx, j->t.tiles_per_block),
                                    lap_coord_ref(k->c, lap_tiles_n(&j->t)), 0, NULL, &tile);
    lap_k_loop panels = lap_kctx_for(k, LAP_LOOP_SERIAL, shape[2], LAP_NONE, 0, NULL, &panel);
    lap_coord at = lap_coord_mul(k->c, lap_coord_add(k->c, row, tile), lap_coord_dim(k->c, shape[2]));
    lap_k_store(k->k, lap_kctx_buffer(k, buffer), lap_coord_ref(k->c, lap_coord_add(k->c, at, panel)),
                class_of(j, tile, panel), LAP_NONE);
    lap_kctx_end(k, &panels, NULL, NULL);
    lap_kctx_end(k, &tiles, NULL, NULL);
    lap_kctx_launch(k, "classes");
}

static lap_names names_of(lap_ctx *ctx, uint32_t n, const lap_axis *axes)
{
    lap_name *names = lap_arena_array(ctx->arena, n + 1, sizeof *names);
    for (uint32_t i = 0; i < n; i++) {
        names[i] = axes[i].name;
    }
    return (lap_names){n, names};
}

void lap_attend_note(lap_lowering *l, lap_ref attend, lap_attend_form form)
{
    lap_attend_use use = {.attend = attend, .form = form, .output = -1};
    if (form == LAP_ATTEND_TILES || form == LAP_ATTEND_FEW_OR_TILES) {
        lap_attend_job j = {.l = l, .op = attend};
        lap_attend_plan(&j);
        use.tile_rows = j.t.rows;
        use.tile_keys = j.t.cols;
        use.block_rows = (uint32_t)lap_attend_block_rows(&j);
        use.block_keys = j.block_keys;
        use.outer = names_of(l->ctx, j.t.n_outer, j.t.outer);
        use.rows = names_of(l->ctx, j.t.m.n, j.t.m.at);
        use.keys = names_of(l->ctx, j.t.r.n.n, j.t.r.n.at);
        if (l->writes_classes && j.part->where >= 0 && j.n->region.ix == 0) {
            use.output = (int32_t)(lap_graph_n_outputs(l->g) + l->n_extra);
            write_classes(&j);
        }
    }
    lap_arena_grow(l->ctx->arena, &l->attends, l->n_attends, 1, &l->attend_capacity, sizeof *l->attends);
    l->attends[l->n_attends++] = use;
}
