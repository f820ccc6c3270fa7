/* SPDX-License-Identifier: Apache-2.0
 * eval_state.h - what the files of the evaluator share: values as strided views, walks, the run.
 *
 * A value is a view: a kind (double, int64_t or uint8_t), a buffer, and per named axis a size and a
 * stride, so renaming, slicing, broadcasting and reordering copy nothing. `poison` of a buffer, when
 * there is any, has a byte per element: 0, or 1 + the number of the read that went outside. */
#ifndef LAP_IR_EVAL_STATE_H
#define LAP_IR_EVAL_STATE_H

#include "ir/eval.h"

#define LAP_EVAL_AXES      LAP_MAX_AXES /* of one value, or of one walk */
#define LAP_EVAL_OPERANDS  36           /* most operands of one walk */
#define LAP_EVAL_CHUNK     256          /* elements computed at a time */
#define LAP_EVAL_MAX_BYTES ((size_t)4 << 30)

typedef struct lap_eval_buffer {
    struct lap_eval_buffer *previous, *next; /* all live buffers, so that none outlives the context */
    uint32_t refs;
    size_t n, bytes;
    void *data;
    uint8_t *poison;
} lap_eval_buffer;

typedef struct lap_view {
    lap_dtype kind;          /* LAP_F32: double, LAP_I64: int64_t, LAP_BOOL: uint8_t */
    lap_eval_buffer *buffer; /* NULL: no value */
    int64_t at;              /* first element */
    uint32_t n_axes;
    lap_name name[LAP_EVAL_AXES];
    int64_t size[LAP_EVAL_AXES], stride[LAP_EVAL_AXES];
} lap_view;

typedef struct lap_named_view {
    lap_name name;
    lap_view view;
} lap_named_view;

/* A read that went outside: what to say when its element is used. */
typedef struct lap_eval_origin {
    lap_loc loc;
    const char *text;
} lap_eval_origin;

typedef enum lap_eval_status { LAP_EVAL_NOT_YET, LAP_EVAL_DEFERRED, LAP_EVAL_DONE } lap_eval_status;

typedef struct lap_eval_slot {
    lap_eval_status status;
    lap_view *view; /* single values */
    uint32_t n_results;
    lap_named_view *results; /* operations with several */
    uint32_t readers, left;  /* reads in all, and those still to come in this run of the region */
    bool is_kept;            /* read by outputs, regions or as an extent: lives as long as its region */
    bool is_deferred;        /* a product that its sum multiplies out */
} lap_eval_slot;

typedef struct lap_symbol_value {
    lap_name name;
    int64_t value;
} lap_symbol_value;

typedef struct lap_eval_run {
    lap_graph *g;
    lap_ctx *ctx;
    const lap_eval_io *inputs, *weights;
    const lap_foreign_table *foreign;
    uint32_t n_outputs;
    const lap_output *only; /* asked for in place of the graph's outputs, or NULL */
    lap_eval_slot *slots; /* by node */
    lap_symbol_value *symbols;
    uint32_t n_symbols;
    size_t symbols_capacity;
    lap_eval_buffer *buffers;
    size_t live_bytes;
    lap_eval_origin origins[255];
    uint32_t n_origins;
    lap_ref *pending; /* stack of refs to evaluate */
    size_t n_pending, pending_capacity;
    uint8_t *is_pending;
} lap_eval_run;

static inline const lap_output *lap_eval_output_at(const lap_eval_run *run, uint32_t i)
{
    return run->only != NULL ? &run->only[i] : lap_graph_output(run->g, i);
}

/* ---- eval_value.c: buffers, views, extents */
LAP_MUST_CHECK bool lap_eval_size(lap_eval_run *run, lap_dim dim, lap_loc loc, int64_t *out);
/* A new dense value over these axes, zeroed. */
LAP_MUST_CHECK bool lap_view_new(lap_eval_run *run, lap_dtype kind, uint32_t n, const lap_name *names,
                                 const int64_t *sizes, lap_loc loc, lap_view *out);
/* The same over the axes of a node. */
LAP_MUST_CHECK bool lap_view_of_node(lap_eval_run *run, const lap_node *node, lap_view *out);
/* Scratch that counts towards the bound and ends with lap_eval_release. */
lap_eval_buffer *lap_eval_alloc(lap_eval_run *run, size_t n, size_t size, lap_loc loc);
void lap_eval_release(lap_eval_run *run, lap_eval_buffer *buffer);
LAP_MUST_CHECK bool lap_eval_add_poison(lap_eval_run *run, lap_eval_buffer *buffer, lap_loc loc);
lap_view lap_view_keep(const lap_view *view); /* one more reader of the buffer */
void lap_view_drop(lap_eval_run *run, lap_view *view);
int lap_view_find(const lap_view *view, lap_name name); /* -1: no such axis */
int64_t lap_view_stride(const lap_view *view, lap_name name);
double lap_view_double(const lap_view *view, int64_t at);
int64_t lap_view_int(const lap_view *view, int64_t at);
static inline uint8_t lap_view_poison(const lap_view *view, int64_t at)
{
    return view->buffer->poison ? view->buffer->poison[at] : 0;
}
/* The value over the axes of `like`, in its order, broadcast over those it lacks; keeps the buffer. */
LAP_MUST_CHECK bool lap_view_align(lap_eval_run *run, const lap_view *view, const lap_node *like,
                                   lap_view *out);
LAP_MUST_CHECK bool lap_view_convert(lap_eval_run *run, const lap_view *view, lap_dtype kind, lap_loc loc,
                                     lap_view *out);
/* A byte per element, 1 beyond a run-time extent, over the ragged axes among `only` (all when NULL)
 * and the axes that their extents vary over. No buffer in `out`: nothing is absent. */
LAP_MUST_CHECK bool lap_eval_absent(lap_eval_run *run, uint32_t n_axes, const lap_axis *axes,
                                    const lap_names *only, lap_loc loc, lap_view *out);
/* Reports the first poisoned element that is not absent and returns false. `absent` may lack a buffer. */
LAP_MUST_CHECK bool lap_eval_no_poison(lap_eval_run *run, const lap_view *view, const lap_view *absent);
uint8_t lap_eval_origin_of(lap_eval_run *run, lap_loc loc, const char *text);
bool lap_eval_poisoned(lap_eval_run *run, uint8_t poison); /* reports; returns false */

/* ---- eval_walk.c: iteration */
typedef struct lap_space_axes {
    uint32_t n;
    lap_name name[LAP_EVAL_AXES];
    int64_t size[LAP_EVAL_AXES];
} lap_space_axes;
typedef struct lap_walk {
    uint32_t n_axes, n_operands; /* the last axis is left to the caller */
    int64_t inner;               /* its size */
    int64_t size[LAP_EVAL_AXES], index[LAP_EVAL_AXES];
    int64_t stride[LAP_EVAL_OPERANDS][LAP_EVAL_AXES];
    int64_t step[LAP_EVAL_OPERANDS]; /* strides of the last axis */
    int64_t at[LAP_EVAL_OPERANDS];
    bool is_over;
} lap_walk;
void lap_space_of(lap_space_axes *space, const lap_view *view);
void lap_space_add(lap_space_axes *space, lap_name name, int64_t size); /* unless it is there */
int64_t lap_space_count(const lap_space_axes *space);                   /* -1: too large */
void lap_walk_init(lap_walk *walk, const lap_space_axes *space, uint32_t n, const lap_view *const *views);
/* The same with all axes in the walk: each step is one element. */
void lap_walk_points(lap_walk *walk, const lap_space_axes *space, uint32_t n, const lap_view *const *views);
void lap_walk_next(lap_walk *walk);
/* Offsets of a view over a space, in row-major order; NULL after an error. */
lap_eval_buffer *lap_walk_offsets(lap_eval_run *run, const lap_space_axes *space, const lap_view *view,
                                  lap_loc loc);

/* ---- operations: each fills the node's slot */
const lap_view *lap_eval_arg(lap_eval_run *run, const lap_node *node, uint32_t i);
LAP_MUST_CHECK bool lap_eval_give(lap_eval_run *run, lap_ref ref, const lap_view *take_view);
LAP_MUST_CHECK bool lap_eval_give_result(lap_eval_run *run, lap_ref ref, lap_name which,
                                         const lap_view *take_view);
bool lap_eval_is_asked(lap_eval_run *run, lap_ref multi, lap_name which); /* somebody reads this result */
/* Evaluates what these need and they themselves (eval.c). */
LAP_MUST_CHECK bool lap_eval_demand(lap_eval_run *run, uint32_t n, const lap_ref *refs);
/* One run of a region: parameters are taken, out_results (n_results views) are given. */
LAP_MUST_CHECK bool lap_eval_region(lap_eval_run *run, lap_region_id id, lap_view *take_params,
                                    lap_view *out_results);

typedef bool lap_eval_rule(lap_eval_run *run, lap_ref ref, const lap_node *node);
lap_eval_rule lap_eval_leaf, lap_eval_map, lap_eval_reduce, lap_eval_at, lap_eval_scatter, lap_eval_topk,
    lap_eval_attend, lap_eval_scan, lap_eval_loop, lap_eval_branch, lap_eval_call, lap_eval_foreign;
LAP_MUST_CHECK bool lap_eval_contract(lap_eval_run *run, lap_ref ref, const lap_node *node);
LAP_MUST_CHECK bool lap_eval_bind(lap_eval_run *run);                          /* eval_bind.c */
LAP_MUST_CHECK bool lap_eval_outputs(lap_eval_run *run, lap_eval_result *out); /* eval_output.c */
/* Tensor of a leaf by its own name, and member k of a family of weights; NULL: there is none. */
const lap_tensor *lap_eval_tensor(const lap_eval_run *run, const lap_node *leaf);
const lap_tensor *lap_eval_member(const lap_eval_run *run, const lap_node *leaf, int64_t k);

/* Value of a double after rounding to a storage type (eval_round.c). */
double lap_eval_round_f16(double x);
double lap_eval_round_bf16(double x);
int64_t lap_eval_to_int(double x);
int64_t lap_eval_saturate(lap_dtype type, int64_t x);

#endif
