/* SPDX-License-Identifier: Apache-2.0
 * attend_score.h - scores around a contraction of queries and keys, and the same scores of other rows. */
#ifndef LAP_PASSES_ATTEND_SCORE_H
#define LAP_PASSES_ATTEND_SCORE_H

#include "passes/attend_graph.h"

/* Scores around a contraction some of whose rows no factor with keys has: rows that share keys. */
typedef struct lap_score {
    lap_ref attend, contraction;
    uint32_t part;
    lap_names keys, rows; /* rows: those */
} lap_score;
bool lap_score_find(const lap_graph *g, lap_ref attend, uint32_t part, lap_score *out);
bool lap_score_has_any(const lap_node *n, lap_names names);
/* Names that no script can write: axis.suffix. */
lap_names lap_score_own_names(lap_ctx *ctx, lap_names rows, const char *suffix);

/* What the rows `from` become: axes `to`, or places that indices name. */
typedef struct lap_mover {
    lap_graph *g;
    lap_ref contraction;
    lap_names from, to;
    const lap_ref *index; /* instead of `to`, or NULL */
    bool is_twin;         /* instead, the contraction anew: from, to are the axes that it sums over */
    uint32_t n_nodes;
    lap_ref *made[2]; /* by node: outside of the contraction, inside */
} lap_mover;
lap_mover lap_mover_new(lap_graph *g, lap_names from);
lap_mover lap_mover_twin(lap_graph *g, lap_ref contraction, const char *suffix);
/* A value that does not read the contraction, at those rows. */
lap_ref lap_mover_place(lap_mover *m, lap_ref r);
/* A value that is elementwise around the contraction, or not around it at all; NONE stays. */
lap_ref lap_mover_move(lap_mover *m, lap_ref r);

#endif
