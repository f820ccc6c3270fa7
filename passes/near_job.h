/* SPDX-License-Identifier: Apache-2.0
 * near_job.h - the kernel of an attend over windows of a grid while it is made; see lower_near.c. */
#ifndef LAP_PASSES_NEAR_JOB_H
#define LAP_PASSES_NEAR_JOB_H

#include "passes/near.h"

/* Q, K or V in scratch, by strides. Of the outermost axis only what a window needs is kept, in a ring. */
typedef struct lap_near_strip {
    lap_ref strip;
    lap_dim slot, row, part, plane, column; /* outer row, row, part of the channels, channel, lanes' axis */
    int64_t width;                          /* channels of a part; 0: all are one */
    int64_t lead;            /* columns left free, so that those of queries begin at whole vectors */
    int64_t n_slots, n_rows; /* of a ring; 0: all are kept */
} lap_near_strip;
typedef struct lap_near_spot {
    lap_coord slot, row, part, plane, column;
} lap_near_spot;

typedef struct lap_near_job {
    lap_lowering *l;
    lap_kctx *k;
    lap_ref op;
    const lap_node *n;
    lap_near near;
    lap_norm norm;
    /* roles of the window's axes, by number or -1: outer, rows of a register block, lanes */
    int z, t, x;
    bool is_folded; /* one axis only: lanes are `segment` apart along the rows' axis */
    /* the schedule */
    int64_t lanes, rows, cols;                      /* queries in lanes; queries x keys in registers */
    int64_t queries_at_once, vectors, keys_at_once; /* queries x vectors of value channels in registers */
    int64_t tiles, run, z_run; /* vectors across a strip; most rows and outer rows of a run */
    int64_t kz, ky, kx;        /* keys of the window: outer axis, rows, lanes; folded: all are kx */
    int64_t columns;           /* of K and V that the run's queries see */
    lap_dim n_depth, n_wide, segment;
    uint32_t n_axes;
    lap_axis *axes;
    lap_coord *env;
    lap_coord r[LAP_NEAR_AXES], start[LAP_NEAR_AXES], limit[LAP_NEAR_AXES];
    lap_coord_window window[LAP_NEAR_AXES];
    int64_t span[LAP_NEAR_AXES];        /* most queries of a run */
    lap_coord n_rows, n_outer, z_first; /* of this run; its first outer row of keys */
    lap_coord row, tile, z_slot;        /* the block at work, and its outer row of keys */
    lap_ref product;                    /* the contraction, or its multiple that the score reads */
    lap_ref keys, queries, factor;      /* the sides without what only scales them, and that */
    lap_near_strip queries_in, keys_in, values_in;
    lap_ref s, top, scale; /* scratch */
} lap_near_job;

/* Flat addresses in scratch. */
lap_coord lap_near_s(lap_near_job *j, lap_coord t, lap_coord wz, lap_coord wy, lap_coord wx, lap_coord lane);
lap_coord lap_near_at(lap_near_job *j, const lap_near_strip *strip, const lap_near_spot *at);

/* near_block.c: the register blocks at j->row, j->tile: S = Q K', and the results P V. */
void lap_near_scores(lap_near_job *j);
void lap_near_weigh(lap_near_job *j);

/* near_rows.c: score edits and weights of the block's rows. */
void lap_near_normalise(lap_near_job *j);

/* near_pack.c: K and V into scratch, outer rows and rows `from` .. `to` - 1 of the run; Q of a block of rows.
 */
typedef struct lap_near_range {
    lap_coord from, to;
} lap_near_range;
void lap_near_pack_keys(lap_near_job *j, lap_near_range slots, lap_near_range rows);
void lap_near_pack_queries(lap_near_job *j);
/* Sets merged axes from a flat coordinate. */
void lap_near_set_merged(lap_near_job *j, lap_axis_list axes, lap_coord flat);

/* lower_near.c: arithmetic on coordinates, and what several files ask. */
lap_region_id lap_near_begin_if(lap_near_job *j, lap_ref cond);
void lap_near_end_if(lap_near_job *j, lap_region_id region, lap_ref cond);
lap_coord lap_near_i(lap_near_job *j, int64_t v);
lap_dim lap_near_d(lap_near_job *j, int64_t v);
lap_coord lap_near_sum(lap_near_job *j, lap_coord a, lap_coord b);
lap_coord lap_near_times(lap_near_job *j, lap_coord a, lap_coord b);
void lap_near_set(lap_near_job *j, lap_name name, lap_coord at);
/* Sets the query's coordinate along an axis from its position among its residue. */
void lap_near_set_query(lap_near_job *j, int axis, lap_coord p);
const lap_coord *lap_near_env(lap_near_job *j, lap_ref node);
/* The key that stands at place u of the padded axis: places outside the clamped windows hold what the
 * windows there lack, so that every window is a run of places. */
lap_coord lap_near_pad(lap_near_job *j, int axis, lap_coord u);
/* Sets the query of row t of the block and this lane. */
void lap_near_set_row(lap_near_job *j, lap_coord t, lap_coord lane);
/* Position along the axes of rows and lanes of row t of the block. */
lap_coord lap_near_row(lap_near_job *j, lap_coord t, lap_coord lane);
lap_coord lap_near_lane(lap_near_job *j, lap_coord lane);
/* Lanes of row t of the block that are queries; rows of the block that are; queries of a row of the run. */
lap_coord lap_near_lanes(lap_near_job *j, lap_coord t);
lap_coord lap_near_across(lap_near_job *j);
lap_coord lap_near_rows(lap_near_job *j);

#endif
