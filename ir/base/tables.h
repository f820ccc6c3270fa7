/* SPDX-License-Identifier: Apache-2.0
 * tables.h - the tables behind a context; only ctx.c and their own files include it. */
#ifndef LAP_IR_BASE_TABLES_H
#define LAP_IR_BASE_TABLES_H

#include "ir/base/ctx.h"
#include "ir/base/idset.h"

typedef struct lap_place {
    lap_name file;
    int line;
    lap_loc parent;
} lap_place;

/* Names and places; row 0 of each stands for "none". */
struct lap_interns {
    const char **texts;
    size_t *lengths;
    size_t n_texts, texts_capacity, lengths_capacity;
    lap_idset names;
    uint64_t fresh;
    lap_place *places;
    size_t n_places, places_capacity;
    lap_idset place_ids;
};

typedef struct lap_diag_texts {
    const char **at;
    size_t n, capacity;
} lap_diag_texts;
struct lap_diag_list {
    lap_diag_texts errors, warnings;
};

lap_interns *lap_interns_new(lap_arena *arena);
lap_diag_list *lap_diag_list_new(lap_arena *arena);

#endif
