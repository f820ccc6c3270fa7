/* SPDX-License-Identifier: Apache-2.0
 * store.h - inside a graph: for graph.c, emit.c, build.c, region.c and verify.c only.
 *
 * Nodes stand in chunks, so a node never moves once made. Each region keeps the list of its nodes;
 * `table` is an open-addressing hash table of the pure ones. */
#ifndef LAP_IR_STORE_H
#define LAP_IR_STORE_H

#include "ir/build.h"

#define LAP_CHUNK_BITS 9
#define LAP_CHUNK_SIZE (1u << LAP_CHUNK_BITS)

typedef struct lap_region_store {
    lap_region pub;
    bool is_open, is_owned; /* under construction; a node has it */
    lap_region_id needs;    /* deepest region outside that the body reads from; set at the end */
    lap_ref *nodes;
    size_t n_nodes, capacity;
} lap_region_store;

struct lap_graph {
    lap_ctx *ctx;
    const char *name;
    lap_level level;
    lap_loc loc;
    lap_node **chunks;
    size_t n_chunks, chunk_capacity;
    uint32_t n_nodes;
    lap_region_store **regions;
    size_t n_regions, region_capacity;
    lap_region_id open;     /* innermost region under construction */
    unsigned nesting, work; /* of one emit: nodes made on the way, and how deep */
    lap_ref *table;
    uint64_t *hashes; /* of the table's entries */
    size_t n_table, table_size;
    lap_output *outputs;
    size_t n_outputs, output_capacity;
    lap_check *checks;
    size_t n_checks, check_capacity;
};

lap_region_store *lap_store_region(const lap_graph *g, lap_region_id id);
/* A new region inside the open one; becomes the open one. */
lap_region_id lap_store_add_region(lap_graph *g);
/* Appends a node, listing it in its region unless it is a parameter. Copies the record only. */
lap_ref lap_store_add(lap_graph *g, const lap_node *node);

#endif
