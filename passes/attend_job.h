/* SPDX-License-Identifier: Apache-2.0
 * attend_job.h - one streaming attend being lowered (attend_tiles.c), its sizes (attend_sizes.c) and the
 * blocks of keys it goes through (attend_block.c). */
#ifndef LAP_PASSES_ATTEND_JOB_H
#define LAP_PASSES_ATTEND_JOB_H

#include "passes/attend.h"
#include "passes/tiles.h"

typedef struct lap_attend_job {
    lap_lowering *l;
    lap_kctx *k;
    lap_ref op;
    const lap_node *n;
    const lap_part *part;
    lap_norm norm;
    lap_ref contraction;
    lap_ref score; /* score = factor * this, factor > 0: applied with the exponent */
    double factor;
    lap_tiles t;
    lap_roles value;
    lap_panels kp, vp;
    lap_ref s, p, acc; /* scratch: block of scores, of weights (the same, but for dot products), of results */
    bool dot_values;   /* weights and values are multiplied in pairs along the keys */
    lap_ref max, sum, shift,
        shrink; /* per row; shift: taken from the exponents, shrink: factor of old results */
    uint32_t panels, block_keys, depth; /* of a block of keys; keys of one step of P V */
    bool is_single;                     /* one block holds all keys: nothing runs from block to block */
    uint32_t s_stride;                  /* of the rows of s */
    lap_dim n_keys, n_wide, wide;       /* keys, value width, width padded to panels */
    bool is_ragged;                     /* keys may be absent */
    bool is_picked;        /* blocks are made of panels that the predicate admits, or that are there */
    lap_ref picked;        /* scratch: the numbers of these panels, of up to two blocks */
    lap_coord n_live;      /* panels of the block */
    lap_coord keys;        /* keys in them */
    lap_coord first, key0; /* not picked: the first panel, its first key */
    lap_listed listed;     /* keys in blocks that a list names */
    bool is_listed;
    bool tests_pairs;
    bool has_out; /* values are weighed; else the rows' statistics are all that is asked */
} lap_attend_job;

static inline int64_t lap_attend_block_rows(const lap_attend_job *j)
{
    return (int64_t)j->t.rows * j->t.tiles_per_block;
}

/* Sets everything up to the sizes of tiles and the kernel's context; `l` and `op` are set. */
void lap_attend_plan(lap_attend_job *j);
/* Fails for a pair that is wanted and whose query, key or value is read at no place (attend_reads.c). */
void lap_attend_test_pair(lap_attend_job *j, lap_ref wanted);
/* Sizes of tiles and blocks: the schedule's, no larger than what is known to be there. */
void lap_attend_choose_sizes(lap_attend_job *j);
/* Small keys and values that one block of queries reads are packed by its kernel, and stay in cache. */
bool lap_attend_packs_inside(lap_attend_job *j);
/* Where keys and values are read: in place, in scratch or in panels of a kernel of their own. */
void lap_attend_make_panels(lap_attend_job *j, bool inside);

typedef struct lap_span {
    lap_coord first, n;
} lap_span;
lap_span lap_attend_all_rows(lap_attend_job *j);
lap_span lap_attend_tile_rows(lap_attend_job *j, lap_coord tile);
/* The keys of n panels from `panel` on. */
lap_span lap_attend_panel_keys(lap_attend_job *j, lap_coord panel, int64_t n);
/* Number of the panel in a slot of the block. */
lap_coord lap_attend_panel(lap_attend_job *j, lap_coord slot);
/* Emits the body once, for all blocks of keys; n_live and keys are set. */
void lap_attend_each_block(lap_attend_job *j, void (*body)(lap_attend_job *j));
/* Whether some pair, or all, of these rows of the block and these keys are there and admitted by the
 * predicate. NONE: nothing is known. */
lap_ref lap_attend_admits(lap_attend_job *j, lap_span rows, lap_span keys, lap_extent_of of);
/* Leaves out keys at both ends that these rows do not see; how many at the start. Whether keys are left;
 * NONE: it is not known. */
lap_ref lap_attend_narrow(lap_attend_job *j, lap_span rows, lap_span *keys, lap_coord *out_before);
/* What follows happens where `cond` holds; NONE: always. */
lap_region_id lap_attend_if(lap_attend_job *j, lap_ref cond);
void lap_attend_end_if(lap_attend_job *j, lap_region_id region, lap_ref cond);

#endif
