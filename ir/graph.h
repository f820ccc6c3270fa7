/* SPDX-License-Identifier: Apache-2.0
 * graph.h - the one IR: nodes over named axes (graph level) or over scalars and buffers (kernel level).
 *
 * Nodes are ids into one array per graph; operands have smaller ids than their readers, in regions
 * too, so id order is a valid order of evaluation. Pure nodes are hash-consed: equal nodes are one
 * node, and the same `count` value is the same ragged axis. A node lives in the innermost region
 * whose parameters it depends on, so code that does not change in a loop stands outside it.
 * Everything is allocated in the context's arena. Never keep a lap_node pointer across a build call. */
#ifndef LAP_IR_GRAPH_H
#define LAP_IR_GRAPH_H

#include "ir/base/ctx.h"
#include "ir/dim.h"
#include "ir/type.h"

typedef struct lap_ref {
    uint32_t ix;
} lap_ref; /* 0: none */
typedef struct lap_region_id {
    uint32_t ix;
} lap_region_id; /* 0: the graph's own body */

#define LAP_NONE ((lap_ref){0})
static inline bool lap_ref_same(lap_ref a, lap_ref b) { return a.ix == b.ix; }
static inline bool lap_ref_some(lap_ref a) { return a.ix != 0; }

typedef enum lap_op {
    LAP_OP_NONE,
#define LAP_OP(enum_, text, level, min, max, regions, traits, attrs, doc) LAP_OP_##enum_,
#include "ir/ops.def"
#undef LAP_OP
    LAP_N_OPS
} lap_op;

typedef enum lap_level { LAP_LEVEL_GRAPH = 1, LAP_LEVEL_KERNEL = 2, LAP_LEVEL_BOTH = 3 } lap_level;
typedef enum lap_trait {
    LAP_TRAIT_PURE = 1,
    LAP_TRAIT_LEAF = 2,
    LAP_TRAIT_MULTI = 4,
    LAP_TRAIT_EFFECT = 8,
    LAP_TRAIT_ROOT = 16
} lap_trait;

enum { LAP_MAX_AXES = 32 }; /* of one value; all keys and rows of an attend together */

typedef struct lap_axis {
    lap_name name;
    lap_dim size;  /* static bound */
    lap_ref count; /* run-time extent over other axes (i64), or none */
} lap_axis;

typedef struct lap_names {
    uint32_t n;
    const lap_name *at;
} lap_names;
typedef struct lap_layout {
    uint32_t n;
    const lap_names *groups;
} lap_layout; /* an empty group is a unit axis */
typedef struct lap_dim_list {
    uint32_t n;
    const lap_dim *at;
} lap_dim_list;
typedef struct lap_scalar {
    lap_dtype dtype;
    union {
        double f;
        int64_t i;
    };
} lap_scalar; /* F32, I64 or BOOL (in i) */
/* The operands of a key set, in the order of the text form. */
#define LAP_PART_OPERANDS(X) X(score) X(where) X(after) X(value)
/* One key set of an attend; operand numbers, -1 where absent. `value` -1: no weighed sum asked. */
typedef struct lap_part {
    lap_names keys;
    int32_t score, where, after, value;
} lap_part;
typedef struct lap_parts {
    uint32_t n;
    const lap_part *at;
} lap_parts;
typedef struct lap_type {
    lap_dtype dtype;
    uint32_t n_axes;
    const lap_axis *axes;
} lap_type;

typedef enum lap_attr_key {
#define LAP_ATTR(enum_, text, kind, doc) LAP_ATTR_##enum_,
#include "ir/attrs.def"
#undef LAP_ATTR
    LAP_N_ATTRS
} lap_attr_key;
typedef enum lap_attr_kind {
    LAP_KIND_INT,
    LAP_KIND_FLOAT,
    LAP_KIND_BOOL,
    LAP_KIND_STR,
    LAP_KIND_NAME,
    LAP_KIND_NAMES,
    LAP_KIND_DIM,
    LAP_KIND_DIMS,
    LAP_KIND_SCALAR,
    LAP_KIND_FN,
    LAP_KIND_RED,
    LAP_KIND_MODE,
    LAP_KIND_NORM,
    LAP_KIND_LOOP,
    LAP_KIND_SPACE,
    LAP_KIND_DTYPE,
    LAP_KIND_LAYOUT,
    LAP_KIND_PARTS,
    LAP_KIND_TYPE
} lap_attr_kind;

typedef struct lap_attr {
    lap_attr_key key;
    union {            /* by the key's kind */
        int64_t i;     /* INT BOOL FN RED MODE NORM LOOP SPACE DTYPE */
        double f;      /* FLOAT */
        lap_name name; /* STR NAME */
        lap_names names;
        lap_dim dim;
        lap_dim_list dims;
        lap_scalar scalar;
        lap_layout layout;
        lap_parts parts;
        lap_type type;
    };
} lap_attr;

typedef struct lap_node {
    lap_op op;
    lap_dtype dtype;
    uint32_t n_args, n_axes, n_attrs, n_regions;
    const lap_ref *args;
    const lap_axis *axes;  /* bookkeeping order; no rule reads it */
    const lap_attr *attrs; /* sorted by key */
    const lap_region_id *regions;
    lap_region_id region; /* where the node lives */
    lap_loc loc;
} lap_node;

typedef struct lap_region {
    lap_region_id parent;
    uint32_t depth; /* 0 for the graph's body */
    uint32_t n_params, n_results;
    const lap_ref *params;
    const lap_ref *results;
} lap_region;

typedef struct lap_output {
    lap_name name;
    lap_ref value;
    lap_layout layout;
    lap_loc loc;
    uint32_t n_crops;
    const lap_name *crop_axes;
    const lap_ref *crop_counts;
} lap_output;
/* A relation between extents that was not proved: decided when sizes are bound. */
typedef struct lap_check {
    lap_dim a;
    lap_rel rel;
    lap_dim b;
    const char *message;
    lap_loc loc;
} lap_check;

typedef struct lap_graph lap_graph;

/* `op` rows */
const char *lap_op_text(lap_op op);
const char *lap_op_doc(lap_op op);
unsigned lap_op_level(lap_op op);
unsigned lap_op_traits(lap_op op);
int lap_op_min_args(lap_op op);
int lap_op_max_args(lap_op op);
unsigned lap_op_regions(lap_op op);
bool lap_op_find(const char *text, size_t n, lap_op *out);
/* Whether the op may carry the attribute, and whether it must. */
bool lap_op_takes(lap_op op, lap_attr_key key, bool *out_required);
/* An attribute that the op must carry and that is not among these, as so many characters; NULL: none. */
const char *lap_op_lacks(lap_op op, uint32_t n, const lap_attr *attrs, size_t *out_length);
const char *lap_attr_text(lap_attr_key key);
lap_attr_kind lap_attr_kind_of(lap_attr_key key);
bool lap_attr_find(const char *text, size_t n, lap_attr_key *out);

lap_graph *lap_graph_new(lap_ctx *ctx, const char *name, lap_level level);
lap_ctx *lap_graph_ctx(const lap_graph *g);
const char *lap_graph_name(const lap_graph *g);
lap_level lap_graph_level(const lap_graph *g);

uint32_t lap_graph_n_nodes(const lap_graph *g); /* valid refs are 1 .. n */
const lap_node *lap_node_at(const lap_graph *g, lap_ref ref);
const lap_region *lap_region_at(const lap_graph *g, lap_region_id id);
uint32_t lap_graph_n_regions(const lap_graph *g);
/* The nodes of one region in order; the list is made on demand and valid until the next emit. */
const lap_ref *lap_region_nodes(lap_graph *g, lap_region_id id, uint32_t *out_n);

uint32_t lap_graph_n_outputs(const lap_graph *g);
const lap_output *lap_graph_output(const lap_graph *g, uint32_t i);
uint32_t lap_graph_n_checks(const lap_graph *g);
const lap_check *lap_graph_check(const lap_graph *g, uint32_t i);

/* Attributes: the pointer is NULL, or the default given, where the node lacks the key. */
const lap_attr *lap_node_attr(const lap_node *n, lap_attr_key key);
int64_t lap_attr_i(const lap_node *n, lap_attr_key key, int64_t missing);
double lap_attr_f(const lap_node *n, lap_attr_key key, double missing);
lap_name lap_attr_name(const lap_node *n, lap_attr_key key);
lap_names lap_attr_names(const lap_node *n, lap_attr_key key);
lap_dim lap_attr_dim(const lap_node *n, lap_attr_key key);

/* Axes. */
const lap_axis *lap_axis_find(const lap_axis *axes, uint32_t n, lap_name name);
const lap_axis *lap_node_axis(const lap_node *n, lap_name name);
/* Where the name stands in the list; names.n when it does not. */
uint32_t lap_names_find(lap_names names, lap_name name);
bool lap_names_has(lap_names names, lap_name name);
/* The names of the node's axes, in its order. */
lap_names lap_node_names(lap_ctx *ctx, const lap_node *n);
/* Whether some axis ends at a run-time extent. */
bool lap_node_is_ragged(const lap_node *n);
/* The axes not named in `drop`, in order; returns how many. */
uint32_t lap_axes_without(lap_ctx *ctx, uint32_t n, const lap_axis *axes, lap_names drop,
                          const lap_axis **out);
lap_type lap_node_type(const lap_node *n);
/* Whether the node has exactly this element type and these axes, in whatever order. */
bool lap_node_has_type(const lap_node *n, const lap_type *type);
const char *lap_axes_show(lap_ctx *ctx, lap_dtype dtype, uint32_t n, const lap_axis *axes);
/* "f32[b=2 n=N d=64]", with ? on ragged axes; lives in the arena. */
const char *lap_type_show(lap_ctx *ctx, const lap_node *n);

/* Whole-graph text (ir/print.c) and its inverse (ir/parse.c). Printing numbers nodes in order;
 * parse(print(g)) prints the same text. Locations are printed as comments and read back. */
void lap_graph_print(lap_graph *g, FILE *to);
char *lap_graph_text(lap_graph *g); /* in the arena */
LAP_MUST_CHECK bool lap_graph_parse(lap_ctx *ctx, const char *file, const char *text, size_t length,
                                    lap_graph **out);
/* All broken invariants, reported to the context; true when there are none (ir/verify.c). */
LAP_MUST_CHECK bool lap_graph_verify(lap_graph *g);

#endif
