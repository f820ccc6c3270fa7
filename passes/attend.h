/* SPDX-License-Identifier: Apache-2.0
 * attend.h - what the lowerings of attend share. */
#ifndef LAP_PASSES_ATTEND_H
#define LAP_PASSES_ATTEND_H

#include "passes/contract.h"
#include "passes/tiles.h"

/* The streaming lowering: tiles of queries against blocks of keys, nothing of their product stored.
 * False where the attend does not have its shape; nothing is emitted then. */
bool lap_attend_tiles(lap_lowering *l, lap_ref attend);
/* Whether it takes this attend with this contraction as its score's; the plan remembers it. */
bool lap_attend_tiles_take(lap_lowering *l, lap_ref attend, lap_ref contraction);
/* Whether rows without keys come out right by scaling their sum, 0, once: with 0 or with NaN. */
bool lap_attend_may_scale_empty(const lap_node *attend);
/* Few queries that share their keys (attend_few.h): keys and values read in place, their parts merged. */
void lap_attend_few(lap_lowering *l, lap_ref attend);
/* Whether an attend may come to have that form, so that its values need not be stored for it. */
bool lap_attend_few_hopes(lap_lowering *l, lap_ref attend);
/* Windows of a grid (near.h): shifted vectors. False where the attend does not have that shape. */
bool lap_attend_near(lap_lowering *l, lap_ref attend);

/* Records how an attend is computed, for people; with its classes of tiles where they are asked for. */
void lap_attend_note(lap_lowering *l, lap_ref attend, lap_attend_form form);

/* Whether all that is read of an attend is per row, its weights never. */
bool lap_attend_asks_only_rows(lap_lowering *l, lap_ref attend);
/* Roles of the score's contraction with the keys on the vector side. */
bool lap_attend_score_roles(lap_lowering *l, lap_ref contraction, lap_names keys, lap_roles *out);
/* Value as the second contraction's B: batch from the score's batch, n new axes, k the keys. */
bool lap_attend_value_roles(lap_lowering *l, const lap_node *op, const lap_part *part, const lap_roles *score,
                            lap_roles *out);

/* What is to be done about reads that may fail (attend_reads.c): nothing, all that is packed is wanted or
 * sure; tests of pairs; or only a form that reads no more than it wants will do. value NULL: none is read. */
typedef enum lap_attend_test { LAP_TEST_NONE, LAP_TEST_PAIRS, LAP_TEST_IMPOSSIBLE } lap_attend_test;
lap_attend_test lap_attend_reads(lap_lowering *l, const lap_part *part, const lap_roles *score,
                                 const lap_roles *value);

/* The score without a constant positive factor that the exponent can take; that factor, or 1. */
lap_ref lap_attend_unscaled(lap_lowering *l, lap_ref score, lap_ref contraction, lap_norm norm,
                            double *out_factor);

/* Keys in blocks that a list names (attend_listed.c): the roles of keys and values in their sources. */
typedef struct lap_listed {
    lap_ref index; /* the list: number of a block */
    int64_t block; /* keys of a block */
    lap_roles keys, values;
    lap_ref reads[2]; /* what reads the sources by the list, and blocks there are: keys, values */
    lap_dim sizes[2];
} lap_listed;
bool lap_attend_listed(lap_lowering *l, const lap_node *op, const lap_part *part, const lap_roles *score,
                       const lap_roles *value, lap_listed *out);
/* Where the key with this number stands among the packed ones; fails at run time where its block does not. */
lap_coord lap_listed_key(lap_tiles *t, const lap_listed *listed, lap_coord key);

/* A block of rows and keys of an attend, as its predicate sees them: `row` and `key` are the variables
 * (stand-ins) counted from the block's start, the environment of the predicate is written in them. */
typedef struct lap_skip {
    lap_kctx *k;
    lap_coord row, key, n_rows, n_keys;
} lap_skip;
typedef enum lap_extent_of { LAP_OF_SOME, LAP_OF_ALL } lap_extent_of;
/* SOME: a condition that holds wherever the block has a pair that `where` admits; NONE: it may always.
 * ALL: one that holds only where `where` admits all pairs of the block; NONE: never known. */
lap_ref lap_attend_holds(const lap_skip *s, lap_ref where, const lap_coord *env, lap_extent_of of);

#endif
