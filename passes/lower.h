/* SPDX-License-Identifier: Apache-2.0
 * lower.h - what the lowering passes share: the plan of a graph, the program being made, and
 * reading values inside a kernel.
 *
 * Values that the plan stores have a buffer; all others are computed where they are read
 * (lap_pull), at coordinates in normal form, so views cost nothing and producers fuse into readers. */
#ifndef LAP_PASSES_LOWER_H
#define LAP_PASSES_LOWER_H

#include "ir/kernel.h"
#include "ir/quasi.h"
#include "passes/coord.h"
#include "passes/passes.h"
#include "passes/site.h"

typedef enum lap_store_kind {
    LAP_STORE_INLINE,   /* computed by its readers */
    LAP_STORE_LEAF,     /* input or weight */
    LAP_STORE_MAP,      /* a kernel of loops over its axes, with row reductions inside */
    LAP_STORE_CONTRACT, /* the same around a contraction: its epilogue */
    LAP_STORE_ROOT,     /* written by the kernel of an operation: attend, topk, scatter, regions */
    LAP_STORE_ALIAS,    /* parameter of a region: reads another buffer */
    LAP_STORE_LOCAL     /* parameter or scratch of a scan that is one kernel (scan.h) */
} lap_store_kind;

typedef struct lap_scan_form lap_scan_form;

/* A value that stands in an output: axes outer and inner are its axis `whole` = outer*width + inner, of
 * which there are `bound`. */
typedef struct lap_merge {
    lap_name outer, inner, whole;
    lap_dim width, bound;
} lap_merge;

typedef struct lap_plan_node {
    lap_store_kind kind;
    bool is_live, is_view; /* view: rename, or `at` by coordinates alone */
    bool is_affine;        /* integer made of coordinates and extents alone */
    bool is_plain;         /* affine, and held by the normal form of coordinates as it is */
    bool is_static;        /* depends on weights and extents alone */
    bool is_place;         /* an integer of data: all that is stored of it is 0 .. places-1 */
    lap_dim places;
    bool may_fail;         /* reads outside may be an error */
    bool is_guarded;       /* some reader wants it only where a condition holds */
    bool is_contraction;
    bool has_rows;    /* MAP: reductions are computed per row (axes of `rows`) */
    uint32_t n_homes; /* 0, 1, 2 = many: stored readers */
    lap_ref home;
    uint32_t depth, affine_depth; /* operations between its kernel's result and it; below it, all affine */
    lap_name fastest;
    uint32_t fastest_of;          /* of the largest tensor read: its fastest axis as named here, its rank */
    bool is_product;              /* a product that a contraction multiplies out */
    uint32_t cost, n_reads;       /* arithmetic per element; stored operands read */
    lap_ref anchor;               /* CONTRACT: the contraction; attend: the contraction of its score */
    bool is_near;                 /* attend: over windows of a grid (near.h) */
    bool is_few;                  /* attend: by few queries, always or perhaps (attend_few.h) */
    const lap_name *anchor_names; /* CONTRACT: the node's axis for each axis of the anchor */
    lap_names rows;               /* MAP with has_rows: axes that its reductions vary over */
    lap_names inner;              /* axes wanted fastest in memory, in order */
    /* where it is stored */
    uint32_t buffer;
    uint32_t n_order;
    const lap_name *order; /* slowest first */
    const lap_dim *size, *stride;
    lap_ref alias;
    lap_name alias_axis;
    uint32_t alias_counter;
    bool has_counter;
    const lap_scan_form *scan; /* scan: its form as one kernel, or NULL */
    const lap_merge *merge;    /* placed within an output, or NULL */
} lap_plan_node;

typedef struct lap_steps {
    uint32_t n;
    size_t capacity;
    lap_step *at;
} lap_steps;

struct lap_lowering {
    lap_graph *g;
    lap_ctx *ctx;
    const lap_target *target;
    lap_schedule base;     /* what plans are made by */
    lap_schedule schedule; /* of the kernels being made */
    lap_choose_schedule *choose;
    void *choose_user;
    bool wants_sites;
    uint64_t searched; /* knobs that have values to try */
    lap_site *site; /* whose kernels are being made, or NULL */
    uint32_t n_sites;
    size_t site_capacity;
    lap_site *sites;
    lap_plan_node *plan;         /* by ref.ix */
    bool *is_written;            /* by output: a value stands in it already */
    const lap_scan_form **scans; /* by region: the scan whose body it is, when that is one kernel */
    uint32_t n_inputs, n_weights;
    lap_leaf *inputs, *weights, *outputs;
    uint32_t n_buffers;
    size_t buffer_capacity;
    lap_buffer *buffers;
    uint32_t n_kernels;
    size_t kernel_capacity;
    lap_kernel *kernels;
    const char **kernel_texts;
    lap_steps *steps; /* the list being filled: the top one, or a body's */
    uint32_t *homes;  /* by node: 1 + the kernel that computes it (lap_program) */
    bool is_static;   /* the step being made depends on weights and extents alone */
    uint32_t n_attends, n_extra;
    size_t attend_capacity, extra_capacity;
    lap_attend_use *attends;
    lap_leaf *extra;     /* outputs beside those of the graph */
    bool writes_classes; /* they have the classes of attends */
    lap_ref now;         /* the value that kernels are being made for */
    bool failed;
};

/* A knob of the schedule in use; who asks declares that it is worth trying other values. */
static inline int32_t lap_knob_value(const lap_lowering *l, lap_knob knob)
{
    if (l->site != NULL) {
        l->site->knobs |= UINT64_C(1) << knob;
    }
    return l->schedule.v[knob];
}
/* The same where the plan depends on it: not to be searched. */
static inline int32_t lap_knob_planned(const lap_lowering *l, lap_knob knob) { return l->base.v[knob]; }
static inline lap_plan_node *lap_plan_of(const lap_lowering *l, lap_ref r) { return &l->plan[r.ix]; }

/* Where a kernel writes: a buffer in the order of the named axes, at an offset. */
typedef struct lap_dest {
    uint32_t buffer;
    uint32_t n;
    const lap_name *order;
    const lap_dim *size, *stride;
    bool has_counter;
    uint32_t counter;
    lap_dim counter_stride;
    bool zero_absent;
    const lap_merge *merge; /* only what is below the bound is written */
} lap_dest;

/* trace.c: the axes of `home` that are r's coordinates where home's kernel reads r; false when it
 * reads r at others too. */
bool lap_plan_trace(lap_lowering *l, lap_ref r, lap_ref home, const lap_name **out_names);
/* Whether the kernel of `home`, an attend, computes the reduction r itself (attend_tiles.c). */
bool lap_attend_takes(lap_lowering *l, lap_ref home, lap_ref r);
/* An expression deeper than this is stored halfway: what computes in place recurses. */
enum { LAP_DEEPEST = 400 };
/* plan_facts.c: what the operands alone say of r; theirs must be known. */
void lap_plan_learn(lap_lowering *l, lap_ref r);
/* Fills l->plan. */
bool lap_plan_make(lap_lowering *l);
/* The place that a stored node has. */
void lap_plan_put(lap_lowering *l, lap_ref node, const lap_dest *d);
/* Gives a stored node its memory order and buffer. */
void lap_plan_place(lap_lowering *l, lap_ref node, uint32_t n, const lap_name *order, lap_buffer_kind kind,
                    uint32_t leaf);
/* Places a node in the output that reads it through a merge; false: there is none (output_view.c). Its writer
 * must keep to the bound. */
bool lap_place_in_output(lap_lowering *l, lap_ref r);
/* Places a node that a kernel writes: an output's order, or its own with the wanted axes fastest. */
void lap_place_node(lap_lowering *l, lap_ref r);
uint32_t lap_program_buffer(lap_lowering *l, lap_buffer b);
/* Axes of a layout in memory order, and its memory axes' extents. */
uint32_t lap_layout_order(lap_lowering *l, lap_layout layout, const lap_name **out);
lap_dim *lap_layout_shape(lap_lowering *l, lap_layout layout, const lap_node *n);
const lap_step *lap_program_step(lap_lowering *l, lap_step s);

/* ---- one kernel under construction (kernel_ctx.c) ---- */
typedef struct lap_memo lap_memo;
typedef struct lap_val {
    lap_ref ref;
    lap_coord coord;
    bool is_coord;
} lap_val;
/* `node` at coordinates `env` stands in scratch at `index`. */
typedef struct lap_override {
    lap_ref node;
    const lap_coord *env;
    lap_ref buffer;
    lap_coord index;
} lap_override;

/* `node` along `axis`, at the other coordinates of env, stands in scratch. */
typedef struct lap_row_value {
    lap_ref node;
    uint32_t axis;
    const lap_coord *env;
    lap_ref scratch;
} lap_row_value;

/* A condition that has been tested in a region: it fails there. */
typedef struct lap_tested {
    lap_ref cond;
    lap_region_id region;
} lap_tested;

typedef struct lap_kctx {
    lap_lowering *l;
    lap_graph *k;
    lap_coords *c;
    uint32_t n_slots;
    size_t slot_capacity;
    uint32_t *slot_buffers;
    uint32_t n_scratch;
    uint32_t depth;
    lap_region_id stack[256]; /* open regions */
    bool in_vector;
    lap_coord lane; /* the last vector loop's index, and its extent */
    lap_dim lanes;
    int64_t ahead; /* bytes ahead that rows which lie one after the other are fetched; 0: not */
    bool is_lenient; /* reads outside give 0 instead of failing: what is wanted is tested elsewhere */
    lap_memo *memo;
    size_t memo_capacity;
    uint32_t n_memo;
    lap_tested *tests;
    size_t test_capacity;
    uint32_t n_tests;
    uint32_t n_overrides;
    lap_override overrides[8];
    uint32_t n_row_values;
    lap_row_value row_values[4];
    lap_loc loc;
    const char *roles; /* for dumps: what the kernel's axes do */
    lap_k_loop grid;
    struct lap_scan_frame *scan;     /* the scan that this kernel is */
    struct lap_window_frame *window; /* the windows that this kernel reads */
} lap_kctx;

lap_kctx *lap_kctx_new(lap_lowering *l, lap_loc loc);
/* The grid loop over `extent`; its coordinate. */
lap_coord lap_kctx_grid(lap_kctx *k, lap_dim extent);
/* Closes the grid, adds the kernel (or finds an equal one) and its launch step. */
void lap_kctx_launch(lap_kctx *k, const char *what);
/* Names of axes, for dumps. */
const char *lap_axes_text(lap_lowering *l, uint32_t n, const lap_axis *axes);
lap_ref lap_kctx_buffer(lap_kctx *k, uint32_t buffer);
lap_ref lap_kctx_scratch(lap_kctx *k, lap_dtype elem, lap_dim count);
/* Loops that keep the stack of open regions. `extent` NONE: use the dim. */
lap_k_loop lap_kctx_for(lap_kctx *k, lap_loop_kind kind, lap_dim bound, lap_ref extent, uint32_t n,
                        const lap_ref *init, lap_coord *out_index);
void lap_kctx_end(lap_kctx *k, lap_k_loop *loop, const lap_ref *next, lap_ref *out_final);
lap_region_id lap_kctx_if(lap_kctx *k, lap_ref cond);
void lap_kctx_end_if(lap_kctx *k, lap_region_id region, lap_ref cond);

/* Loops inside one another that carry nothing: opened one by one, closed together. */
typedef struct lap_nest {
    uint32_t n;
    lap_k_loop at[LAP_MAX_AXES];
} lap_nest;
void lap_nest_open(lap_kctx *k, lap_nest *nest, lap_loop_kind kind, lap_dim bound, lap_coord *out_index);
void lap_nest_close(lap_kctx *k, lap_nest *nest);

/* Splits a flat coordinate over the axes (last fastest). */
void lap_coord_split(lap_kctx *k, lap_coord flat, uint32_t n, const lap_dim *sizes, lap_coord *out);
lap_dim lap_dims_product(lap_ctx *ctx, uint32_t n, const lap_dim *sizes);

/* ---- reading (value.c) ---- */
/* Value of `node` at env (one coord per axis of the node). `mask` NONE: always wanted; otherwise
 * nothing outside memory is read, and nothing fails, where it does not hold. */
lap_val lap_pull(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask);
lap_ref lap_pull_ref(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask);
/* The value of `node` at env is `val`, while the innermost open region is. */
void lap_know(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask, lap_val val);
/* Coordinates of `to`'s axes found by name among `from`'s. */
const lap_coord *lap_env_for(lap_kctx *k, lap_ref to, uint32_t n_axes, const lap_axis *axes,
                             const lap_coord *env);
/* These axes so that those whose counts vary over others of them stand inside the others. */
lap_names lap_order_ragged(lap_lowering *l, lap_names names, uint32_t n_axes, const lap_axis *axes);
/* The run-time extent of an axis at env, within its bound; NONE where it has none. */
lap_ref lap_axis_extent(lap_kctx *k, const lap_axis *a, uint32_t n_axes, const lap_axis *axes,
                        const lap_coord *env, lap_ref mask);
/* Whether element env of a value with these axes is present; NONE: always. `only` NULL: all axes. */
lap_ref lap_present(lap_kctx *k, uint32_t n_axes, const lap_axis *axes, const lap_coord *env,
                    const lap_names *only);
lap_ref lap_mask_both(lap_kctx *k, lap_ref a, lap_ref b);
/* Flat address of stored node at env. */
lap_coord lap_address(lap_kctx *k, lap_ref node, const lap_coord *env);
/* The same for the expression of a node that is stored: what its own kernel computes. */
lap_val lap_pull_expr(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask);
/* A reduction's value at env, in loops of its own (reduce.c). */
lap_val lap_pull_reduce(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask);
/* Where the destination starts at the loop's present round. */
lap_coord lap_dest_base(lap_kctx *k, const lap_dest *dest);
/* Address in a destination of the value with these axes at env. */
lap_coord lap_dest_address(lap_kctx *k, const lap_dest *dest, uint32_t n_axes, const lap_axis *axes,
                           const lap_coord *env);
/* A constant in the compute type of `dtype`; zero or false in it. */
lap_ref lap_scalar_as(lap_graph *k, lap_scalar s, lap_dtype dtype);
lap_ref lap_zero_as(lap_graph *k, lap_dtype dtype);
lap_ref lap_val_ref(lap_kctx *k, lap_val v);
lap_val lap_val_of(lap_kctx *k, lap_ref value);

/* ---- kernels ---- */
lap_dest lap_dest_of(lap_lowering *l, lap_ref node);
/* Row-major destination over these axes of `node`. */
lap_dest lap_dest_make(lap_lowering *l, lap_ref node, uint32_t buffer, uint32_t n, const lap_name *order);
/* Computes `node` (its expression when it is not stored yet or `dest` is its own place) into dest. */
void lap_lower_map(lap_lowering *l, lap_ref node, const lap_dest *dest, bool is_own); /* lower_map.c */
/* An integer value over coordinates: their leaves are the names of the axes, those of any other value are its
 * node counted from the other end (bounds.c). */
lap_qx lap_index_expression(lap_lowering *l, lap_quasi *q, lap_ref r);
/* Whether every index of an `at` is provably inside its axis (bounds.c). */
bool lap_reads_inside(lap_lowering *l, lap_ref at);
/* A product to multiply out: neither factor only scales the other. */
bool lap_is_product(lap_lowering *l, lap_ref r);             /* contract.c */
bool lap_contract_roles_ok(lap_lowering *l, lap_ref reduce); /* contract.c */
void lap_lower_contract(lap_lowering *l, lap_ref node);
void lap_lower_attend(lap_lowering *l, lap_ref attend); /* lower_attend.c */
void lap_lower_topk(lap_lowering *l, lap_ref topk);     /* lower_index.c */
void lap_lower_scatter(lap_lowering *l, lap_ref scatter);
void lap_lower_require(lap_lowering *l, lap_ref require);
void lap_lower_outputs(lap_lowering *l);                     /* lower_output.c */
void lap_lower_region_op(lap_lowering *l, lap_ref op);       /* lower_region.c */
void lap_lower_nodes(lap_lowering *l, lap_region_id region); /* lower.c */
/* The kernels of a node that has its place, by the schedule in use. */
void lap_lower_kernels(lap_lowering *l, lap_ref node);
/* The same as a site (site.c): again where another schedule is chosen for it. */
void lap_site_lower(lap_lowering *l, lap_ref node);
/* Makes a site's kernels once more, as steps of their own; false when they cannot be. */
bool lap_site_again(lap_lowering *l, const lap_site *site, const lap_schedule *schedule, lap_steps *out);
const lap_ref *lap_results_of(lap_lowering *l, lap_ref multi, uint32_t *out_n);
lap_ref lap_result_named(lap_lowering *l, lap_ref multi, const char *which);

/* A lowering of the graph with nothing planned yet. */
lap_lowering *lap_lowering_new(lap_graph *g, const lap_target *target, const lap_pass_options *options);
/* The whole of lowering. NULL: reported. */
lap_program *lap_lower_graph(lap_graph *g, const lap_target *target, const lap_pass_options *options);

#endif
