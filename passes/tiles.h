/* SPDX-License-Identifier: Apache-2.0
 * tiles.h - the left operand of register tiles: rows of A over merged m, read in place where its
 * address is affine, else packed into scratch. Shared by contractions and attend. */
#ifndef LAP_PASSES_TILES_H
#define LAP_PASSES_TILES_H

#include "passes/contract.h"

typedef struct lap_tiles {
    lap_lowering *l;
    lap_kctx *k;
    lap_roles r;
    lap_axis_list m; /* the part of m that tiles run over; the rest joins the grid */
    uint32_t n_outer;
    lap_axis outer[64]; /* grid axes: batch, then the rest of m */
    bool dot;           /* factors of bf16, multiplied in pairs along k; set before the plan */
    bool a_direct;
    uint32_t a_buffer;
    lap_dim a_sm, a_sk;
    lap_coord a_rest;
    lap_ref a_scratch;
    bool a_across; /* packed with the rows of the block side by side: what lies together in A is theirs */
    uint32_t rows, cols, tiles_per_block;
    lap_dim m_total, k_total;
    lap_env_list env; /* coordinates of all axes of both factors */
    lap_axis *axes;
    lap_coord *coords;
    lap_coord m0, m_rows; /* first row of the block, rows in it */
} lap_tiles;

/* Chooses how A is read and which axes join the grid. k, r, rows, cols, tiles_per_block are set. */
void lap_tiles_plan(lap_tiles *t);
/* Opens the grid over outer axes, blocks of m, and `extra` more; gives the extra coordinate, packs A. */
void lap_tiles_grid(lap_tiles *t, lap_dim extra, lap_coord *out_extra);
/* Sets the coordinates of merged axes from a flat one. */
void lap_tiles_split(lap_tiles *t, lap_axis_list axes, lap_coord flat);
lap_coord *lap_tiles_coord(lap_tiles *t, lap_name name);
/* acc[acc0 + i*ld + j] for tile number `tile` of the block against the panel at b0. */
void lap_tiles_mma(lap_tiles *t, lap_coord tile, lap_ref acc, lap_coord acc0, lap_dim ld, const lap_panels *b,
                   lap_coord b0);
lap_coord lap_tiles_n(lap_tiles *t);                    /* tiles in this block */
lap_coord lap_tiles_rows(lap_tiles *t, lap_coord tile); /* valid rows of a tile */
lap_dim lap_axes_product(lap_lowering *l, lap_axis_list axes);
/* min(total - start, most) */
lap_coord lap_coord_clip(lap_kctx *k, lap_dim total, lap_coord start, int64_t most);
/* Rows of a tile beside panels of `cols`: the knob's, or more where few columns leave registers; and
 * where m is known the number of those that takes least time for it. */
uint32_t lap_tile_rows(lap_lowering *l, lap_dim m, uint32_t cols, lap_knob knob);
/* Columns of a panel over n: the knob's in whole vectors, or fewer when n is known to be small. */
uint32_t lap_panel_cols(lap_lowering *l, lap_dim n, lap_knob knob);

#endif
