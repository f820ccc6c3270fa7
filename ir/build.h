/* SPDX-License-Identifier: Apache-2.0
 * build.h - making nodes: every producer (Lua, parser, passes, lowering) goes through lap_emit.
 *
 * lap_emit infers the type, folds what can be folded, and returns the existing node where an equal
 * one exists. Mistakes of the user are reported at `loc` and give LAP_NONE. */
#ifndef LAP_IR_BUILD_H
#define LAP_IR_BUILD_H

#include "ir/attr.h"
#include "ir/graph.h"

/* The place that nodes made from here on carry. */
void lap_set_loc(lap_graph *g, lap_loc loc);
lap_loc lap_get_loc(const lap_graph *g);

/* The general form. `type` is needed for ops whose type is declared, not inferred: input, weight,
 * full, index, param, foreign, rename with counts (axes), and result at kernel level; else NULL.
 * Args, attrs, type and regions are copied. */
typedef struct lap_emit_args {
    lap_op op;
    uint32_t n_args;
    const lap_ref *args;
    uint32_t n_attrs;
    const lap_attr *attrs; /* any order */
    uint32_t n_regions;
    const lap_region_id *regions;
    const lap_type *type;
} lap_emit_args;
lap_ref lap_emit(lap_graph *g, const lap_emit_args *e);
/* The attribute as given, or NULL; the names, or none. */
const lap_attr *lap_emit_attr(const lap_emit_args *e, lap_attr_key key);
lap_names lap_emit_names(const lap_emit_args *e, lap_attr_key key);

/* Leaves and scalars. */
lap_ref lap_const_f(lap_graph *g, double value);
lap_ref lap_const_i(lap_graph *g, int64_t value);
lap_ref lap_const_b(lap_graph *g, bool value);
lap_ref lap_dim_node(lap_graph *g, lap_dim d);
lap_ref lap_index(lap_graph *g, lap_axis axis);
lap_ref lap_full(lap_graph *g, lap_scalar value, uint32_t n_axes, const lap_axis *axes);

/* Elementwise; operands aligned by name. */
lap_ref lap_map1(lap_graph *g, lap_fn fn, lap_ref a);
lap_ref lap_map2(lap_graph *g, lap_fn fn, lap_ref a, lap_ref b);
lap_ref lap_map3(lap_graph *g, lap_fn fn, lap_ref a, lap_ref b, lap_ref c);

lap_ref lap_reduce(lap_graph *g, lap_red red, lap_ref x, lap_names over);
/* out[..] = x[src = index..]; fill NULL: reading outside is an error. */
lap_ref lap_at(lap_graph *g, lap_ref x, lap_names src, const lap_ref *index, const lap_scalar *fill);
lap_ref lap_rename(lap_graph *g, lap_ref x, lap_names from, lap_names to);
lap_ref lap_ragged(lap_graph *g, lap_ref x, lap_name axis, lap_ref count);
/* The same value with a size that is stated, not proved: becomes a check. */
lap_ref lap_expect(lap_graph *g, lap_ref x, lap_name axis, lap_dim size);
lap_ref lap_result(lap_graph *g, lap_ref multi, const char *which);

/* Regions. Begin makes the parameters and directs effects into the region; nodes find their region
 * by their operands. End closes it with its results. Begin/end nest. */
lap_region_id lap_region_begin(lap_graph *g, uint32_t n_params, const lap_type *params, lap_ref *out_params);
void lap_region_end(lap_graph *g, lap_region_id id, uint32_t n_results, const lap_ref *results);
/* A copy of the nodes of region `id` (of `from`, may be `g`) with its parameters replaced by `args`;
 * out_results has one ref per result. Outer values map through `map` (NULL: identity). */
void lap_region_inline(lap_graph *g, lap_graph *from, lap_region_id id, const lap_ref *args,
                       lap_ref (*map)(void *user, lap_ref outer), void *user, lap_ref *out_results);

void lap_graph_add_output(lap_graph *g, const lap_output *out);
/* Records a relation between extents. Proved: nothing. Refuted: reports `message`, false. */
LAP_MUST_CHECK bool lap_graph_assume(lap_graph *g, lap_dim a, lap_rel rel, lap_dim b, const char *message);
/* Refuses sizes or data unless `cond` holds everywhere. A relation between extents is assumed, so that
 * it is decided before what is built on it; all else, and what a region may not reach, is a node. */
LAP_MUST_CHECK bool lap_require(lap_graph *g, lap_ref cond, const char *message);

/* Rebuilding: makes a graph anew from `old`, in order. `rule` sees each node with its operands
 * already mapped and returns the replacement, or LAP_NONE to copy. Only leaves and what outputs,
 * effects and regions need is kept, so a rewrite is also dead-code removal; equal nodes merge (CSE). */
typedef struct lap_rewrite lap_rewrite;
typedef lap_ref lap_rewrite_rule(lap_rewrite *rw, const lap_node *old, lap_ref old_ref,
                                 const lap_ref *new_args);
struct lap_rewrite {
    lap_graph *from, *to;
    lap_rewrite_rule *rule;
    void *user;
    const lap_ref *mapped;
    struct lap_copier *copier;
};
/* The rule sees a node with regions before they are copied. NULL: a mistake was reported. A NULL
 * rule copies. mapped[old ref] is the new node, or none where not yet made or not needed. */
lap_graph *lap_graph_rewrite(lap_graph *old, lap_rewrite_rule *rule, void *user);
/* The copy of a region, for a rule that makes a node with it anew; copied once. */
lap_region_id lap_rewrite_region(lap_rewrite *rw, lap_region_id old);
/* The type of an old node with its counts mapped, for ops whose type is declared. */
lap_type lap_rewrite_type(lap_rewrite *rw, const lap_node *old);
/* The node itself, anew, with these operands. */
lap_ref lap_rewrite_copy(lap_rewrite *rw, const lap_node *old, const lap_ref *new_args);

#endif
