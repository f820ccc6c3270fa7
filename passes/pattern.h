/* SPDX-License-Identifier: Apache-2.0
 * pattern.h - the pattern of an attend as values of its graph: which pairs there are, and which tokens they
 * join.
 *
 * A predicate says of a pair whether it is seen; a list says by index maps where its keys stand. Both are
 * followed to what queries and keys are made of, so that windows, rolls, routes and pruned tokens are pairs
 * of places there. Nothing is decided here: whoever asks evaluates the values. */
#ifndef LAP_PASSES_PATTERN_H
#define LAP_PASSES_PATTERN_H

#include "ir/graph.h"

/* Tokens along the axes of the value that they are read from; place[i] is an i64 value over rows and keys,
 * below 0 or beyond the size where there is no such token. */
typedef struct lap_tokens {
    uint32_t n;
    lap_axis axis[LAP_MAX_AXES];
    lap_ref place[LAP_MAX_AXES];
} lap_tokens;

typedef struct lap_pattern {
    lap_names keys;
    lap_ref seen; /* a condition over rows and keys; none: every pair is seen */
    lap_tokens queries, tokens;
    bool is_shared;    /* both are tokens of one value */
    bool is_from_data; /* depends on inputs or weights, not on coordinates alone */
    bool is_inside;    /* depends on the state of a loop, and has no value outside it */
} lap_pattern;

/* The pattern of one part. Adds the values to the graph. */
lap_pattern lap_pattern_of(lap_graph *g, lap_ref attend, const lap_part *part);

#endif
