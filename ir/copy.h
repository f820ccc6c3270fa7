/* SPDX-License-Identifier: Apache-2.0
 * copy.h - copying nodes from one graph to another, or within one: for rewrite.c and inline.c. */
#ifndef LAP_IR_COPY_H
#define LAP_IR_COPY_H

#include "ir/build.h"

typedef struct lap_copier {
    lap_graph *from, *to;
    lap_region_id root; /* what is copied; nodes outside it map through `outer` */
    lap_ref *mapped;    /* by old node */
    bool *needed;       /* by old node */
    uint32_t *regions;  /* by old region: new region + 1 */
    lap_ref (*outer)(void *user, lap_ref outer);
    void *user;
    lap_rewrite *rewrite; /* asked first, or NULL */
} lap_copier;

/* A copier with nothing mapped and nothing needed. */
void lap_copier_init(lap_copier *c, lap_graph *from, lap_graph *to, lap_region_id root);
/* Marks what a region's results and effects need; call for the root before lap_copier_need_operands. */
void lap_copier_need(lap_copier *c, lap_ref ref);
void lap_copier_need_body(lap_copier *c, lap_region_id id);
/* Spreads the marks to operands, extents and bodies. */
void lap_copier_need_operands(lap_copier *c);
/* Copies the needed nodes of a region into the open region. */
void lap_copier_body(lap_copier *c, lap_region_id id);
lap_region_id lap_copier_region(lap_copier *c, lap_region_id id);
lap_ref lap_copier_map(lap_copier *c, lap_ref old);
lap_type lap_copier_type(lap_copier *c, const lap_node *old);
lap_ref lap_copier_node(lap_copier *c, const lap_node *old, const lap_ref *new_args);

#endif
