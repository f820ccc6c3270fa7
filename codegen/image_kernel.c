/* SPDX-License-Identifier: Apache-2.0
 * image_kernel.c - what an image says of one kernel: its extents, scratch memory, messages and cost.
 *
 * Backends and the image writer both ask here, so that they agree on every number. */
#include "codegen/image_kernel.h"

/* ---- extents and scratch ------------------------------------------------------------------- */

typedef struct dim_list {
    lap_ctx *ctx;
    lap_dim *at;
    size_t n, capacity;
} dim_list;

/* Constants are no arguments. */
static void add_dim(dim_list *list, lap_dim d)
{
    int64_t value;
    if (lap_dim_is_const(list->ctx, d, &value)) {
        return;
    }
    for (size_t i = 0; i < list->n; i++) {
        if (lap_dim_same(list->at[i], d)) {
            return;
        }
    }
    lap_arena_grow(list->ctx->arena, &list->at, list->n, 1, &list->capacity, sizeof *list->at);
    list->at[list->n++] = d;
}

static bool is_scratch(const lap_node *n)
{
    return n->op == LAP_OP_BUFFER && lap_attr_i(n, LAP_ATTR_SPACE, LAP_SPACE_GLOBAL) == LAP_SPACE_SCRATCH;
}

/* Bytes of a scratch buffer, in whole lines. */
static lap_dim scratch_bytes(lap_ctx *ctx, const lap_node *n)
{
    enum { LINE = 64 };
    lap_dtype elem = (lap_dtype)lap_attr_i(n, LAP_ATTR_ELEM, LAP_F32);
    lap_dim bits =
        lap_dim_mul(ctx, lap_attr_dim(n, LAP_ATTR_COUNT), lap_dim_const(ctx, lap_dtype_bits(elem)));
    lap_dim lines = lap_dim_ceildiv(ctx, bits, lap_dim_const(ctx, LINE * 8));
    return lap_dim_mul(ctx, lines, lap_dim_const(ctx, LINE));
}

lap_kernel_scratch lap_kernel_scratch_of(const lap_program *p, uint32_t kernel)
{
    const lap_graph *g = p->kernels[kernel].graph;
    lap_ctx *ctx = p->ctx;
    uint32_t n_nodes = lap_graph_n_nodes(g), n = 0;
    for (uint32_t i = 1; i <= n_nodes; i++) {
        const lap_node *node = lap_node_at(g, (lap_ref){i});
        uint32_t slot = (uint32_t)lap_attr_i(node, LAP_ATTR_SLOT, 0);
        n = is_scratch(node) && slot >= n ? slot + 1 : n;
    }
    lap_dim *offset = lap_arena_array(ctx->arena, (size_t)n + 1, sizeof *offset);
    for (uint32_t i = 1; i <= n_nodes; i++) {
        const lap_node *node = lap_node_at(g, (lap_ref){i});
        if (is_scratch(node)) {
            offset[lap_attr_i(node, LAP_ATTR_SLOT, 0)] = scratch_bytes(ctx, node);
        }
    }
    lap_dim total = lap_dim_const(ctx, 0);
    for (uint32_t i = 0; i < n; i++) {
        lap_dim bytes = offset[i];
        offset[i] = total;
        total = lap_dim_add(ctx, total, bytes);
    }
    return (lap_kernel_scratch){n, offset, total};
}

lap_kernel_dims lap_kernel_dims_of(const lap_program *p, uint32_t kernel)
{
    const lap_graph *g = p->kernels[kernel].graph;
    dim_list list = {.ctx = p->ctx};
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        const lap_node *node = lap_node_at(g, (lap_ref){i});
        if (node->op == LAP_OP_DIM) {
            add_dim(&list, lap_attr_dim(node, LAP_ATTR_DIM));
        }
    }
    lap_kernel_scratch scratch = lap_kernel_scratch_of(p, kernel);
    for (uint32_t i = 0; i < scratch.n; i++) {
        add_dim(&list, scratch.offset[i]);
    }
    return (lap_kernel_dims){(uint32_t)list.n, list.at};
}

/* ---- messages ------------------------------------------------------------------------------ */

lap_image_messages lap_image_messages_of(const lap_program *p)
{
    lap_image_messages list = {0};
    size_t n = 0, capacity = 0;
    for (uint32_t k = 0; k < p->n_kernels; k++) {
        const lap_graph *g = p->kernels[k].graph;
        for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
            const lap_node *node = lap_node_at(g, (lap_ref){i});
            if (node->op != LAP_OP_FAIL) {
                continue;
            }
            lap_image_fail fail = {lap_attr_name(node, LAP_ATTR_MESSAGE), node->loc};
            size_t at = 0;
            while (at < n &&
                   !(lap_name_same(list.at[at].message, fail.message) && list.at[at].loc.ix == fail.loc.ix)) {
                at++;
            }
            if (at == n) {
                lap_arena_grow(p->ctx->arena, &list.at, n, 1, &capacity, sizeof *list.at);
                list.at[n++] = fail;
            }
        }
    }
    list.n = (uint32_t)n;
    return list;
}

uint32_t lap_program_message(const lap_program *p, const char *message, lap_loc loc)
{
    lap_image_messages list = lap_image_messages_of(p);
    lap_name name = lap_intern(p->ctx, message);
    for (uint32_t i = 0; i < list.n; i++) {
        if (lap_name_same(list.at[i].message, name) && list.at[i].loc.ix == loc.ix) {
            return i;
        }
    }
    LAP_BUG("no kernel has the message '%s'", message);
}

/* ---- cost ---------------------------------------------------------------------------------- */

typedef struct coster {
    lap_graph *g;
    lap_ctx *ctx;
} coster;

enum { GUESSED_ROUNDS = 32, SCALAR = 4, IN_LANES = 1, CALLED = 10 }; /* units of 1/16 ns */

static lap_dim region_cost(const coster *c, lap_region_id region, int64_t unit);

/* Value of a node as an extent, where it is one. */
static lap_dim extent_of(const coster *c, lap_ref ref)
{
    const lap_node *n = lap_node_at(c->g, ref);
    if (n->op == LAP_OP_DIM) {
        return lap_attr_dim(n, LAP_ATTR_DIM);
    }
    if (n->op == LAP_OP_CONST) {
        const lap_attr *value = lap_node_attr(n, LAP_ATTR_VALUE);
        if (value && value->scalar.dtype == LAP_I64 && value->scalar.i >= 0) {
            return lap_dim_const(c->ctx, value->scalar.i);
        }
    }
    return lap_dim_const(c->ctx, GUESSED_ROUNDS);
}

static lap_dim times(const coster *c, lap_dim d, int64_t factor)
{
    return lap_dim_mul(c->ctx, d, lap_dim_const(c->ctx, factor));
}

static int64_t map_cost(const lap_node *n, int64_t unit)
{
    return lap_fn_cost((lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0)) > 1 ? unit * CALLED : unit;
}

static lap_dim for_cost(const coster *c, const lap_node *n, int64_t unit)
{
    bool in_lanes = lap_attr_i(n, LAP_ATTR_KIND, LAP_LOOP_SERIAL) == LAP_LOOP_VECTOR;
    lap_dim body = region_cost(c, n->regions[0], in_lanes ? IN_LANES : unit);
    return lap_dim_mul(c->ctx, extent_of(c, n->args[0]), body);
}

static lap_dim node_cost(const coster *c, const lap_node *n, int64_t unit)
{
    enum { DEPTH = 11, KEYS = 2, ROWS = 6, SORT_KEY = 160 };
    switch (n->op) {
    case LAP_OP_MAP:
        return lap_dim_const(c->ctx, map_cost(n, unit));
    case LAP_OP_LOAD:
    case LAP_OP_STORE:
        return lap_dim_const(c->ctx, unit);
    case LAP_OP_FOR:
        return for_cost(c, n, unit);
    case LAP_OP_IF:
        return region_cost(c, n->regions[0], unit);
    case LAP_OP_MMA:
        return times(c, extent_of(c, n->args[DEPTH]),
                     lap_attr_i(n, LAP_ATTR_ROWS, 1) * lap_attr_i(n, LAP_ATTR_COLS, 1));
    case LAP_OP_TURN:
        return lap_dim_mul(c->ctx, extent_of(c, n->args[ROWS]), extent_of(c, n->args[ROWS + 1]));
    case LAP_OP_SORT:
        return times(c, extent_of(c, n->args[KEYS]), SORT_KEY);
    default:
        return lap_dim_const(c->ctx, 0);
    }
}

static lap_dim region_cost(const coster *c, lap_region_id region, int64_t unit)
{
    uint32_t n;
    const lap_ref *nodes = lap_region_nodes(c->g, region, &n);
    lap_dim sum = lap_dim_const(c->ctx, 0);
    for (uint32_t i = 0; i < n; i++) {
        sum = lap_dim_add(c->ctx, sum, node_cost(c, lap_node_at(c->g, nodes[i]), unit));
    }
    return sum;
}

lap_image_grid lap_image_grid_of(const lap_program *p, uint32_t kernel)
{
    coster c = {p->kernels[kernel].graph, p->ctx};
    for (uint32_t i = 1; i <= lap_graph_n_nodes(c.g); i++) {
        const lap_node *n = lap_node_at(c.g, (lap_ref){i});
        if (n->op == LAP_OP_FOR && lap_attr_i(n, LAP_ATTR_KIND, LAP_LOOP_SERIAL) == LAP_LOOP_GRID) {
            return (lap_image_grid){extent_of(&c, n->args[0]), region_cost(&c, n->regions[0], SCALAR)};
        }
    }
    LAP_BUG("kernel '%s' has no grid loop", p->kernels[kernel].name);
}
