/* SPDX-License-Identifier: Apache-2.0
 * alone.c - programs cut from a program: the kernels of one site, and a program that shows its buffers.
 *
 * Buffers are flat arrays by now, so a site needs no graph of its own: what its kernels read becomes inputs,
 * and what they write outputs, with the very contents that the whole program gives them. */
#include <string.h>

#include "passes/lower.h"
#include "passes/site.h"

typedef struct cutter {
    lap_lowering *l;
    lap_alone *out;
    uint32_t first_own; /* buffers from here on are the site's own */
    lap_dim_value *value;
    void *user;
    lap_steps steps;
    bool *reads, *writes; /* by buffer of the whole program */
    uint32_t *buffer_of;  /* number + 1 in the cut one */
    uint32_t *kernel_of;  /* the same of kernels */
    lap_leaf *leaves[LAP_N_LEAF_KINDS];
    uint32_t n_leaves[LAP_N_LEAF_KINDS];
    uint32_t *sources[LAP_N_LEAF_KINDS];
    lap_buffer *buffers;
    lap_kernel *kernels;
    uint32_t n_buffers, n_kernels, n_symbols;
    size_t symbol_capacity;
    lap_name *symbols;
} cutter;

/* ---- branches ------------------------------------------------------------------------------ */

/* An integer of a kernel made of constants and extents. */
static bool known(const cutter *c, const lap_graph *g, lap_ref ref, int64_t *out)
{
    const lap_node *n = lap_node_at(g, ref);
    int64_t a, b;
    if (n->op == LAP_OP_CONST) {
        const lap_attr *v = lap_node_attr(n, LAP_ATTR_VALUE);
        *out = v->scalar.i;
        return v->scalar.dtype != LAP_F32;
    }
    if (n->op == LAP_OP_DIM) {
        return lap_dim_eval(c->l->ctx, lap_attr_dim(n, LAP_ATTR_DIM), c->value, c->user, out);
    }
    if (n->op != LAP_OP_MAP || lap_attr_i(n, LAP_ATTR_FN, 0) != LAP_FN_LE || !known(c, g, n->args[0], &a) ||
        !known(c, g, n->args[1], &b)) {
        return false;
    }
    *out = a <= b;
    return true;
}

/* The value of a cell that one of the steps writes. */
static bool known_test(const cutter *c, uint32_t buffer, int64_t *out)
{
    for (uint32_t i = 0; i < c->steps.n; i++) {
        const lap_step *s = &c->steps.at[i];
        if (s->kind != LAP_STEP_LAUNCH || s->launch.n_buffers != 1 || s->launch.buffers[0] != buffer) {
            continue;
        }
        const lap_graph *g = c->l->kernels[s->launch.kernel].graph;
        for (uint32_t k = 1; k <= lap_graph_n_nodes(g); k++) {
            const lap_node *n = lap_node_at(g, (lap_ref){k});
            if (n->op == LAP_OP_STORE) {
                return known(c, g, n->args[2], out);
            }
        }
    }
    return false;
}

static void add_step(cutter *c, lap_step s)
{
    lap_arena_grow(c->l->ctx->arena, &c->steps.at, c->steps.n, 1, &c->steps.capacity, sizeof *c->steps.at);
    c->steps.at[c->steps.n++] = s;
}

static void take_steps(cutter *c, const lap_step *steps, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        int64_t test;
        const lap_step *s = &steps[i];
        if (s->kind == LAP_STEP_BRANCH && known_test(c, (uint32_t)s->test, &test)) {
            take_steps(c, test != 0 ? s->body : s->other, test != 0 ? s->n_body : s->n_other);
        } else {
            add_step(c, *s);
        }
    }
}

/* ---- who reads and writes what ------------------------------------------------------------- */

static void mark_operand(const lap_graph *g, lap_ref ref, const lap_launch *launch, bool *marks)
{
    const lap_node *n = lap_node_at(g, ref);
    if (n->op == LAP_OP_BUFFER && lap_attr_i(n, LAP_ATTR_SPACE, LAP_SPACE_GLOBAL) == LAP_SPACE_GLOBAL) {
        marks[launch->buffers[lap_attr_i(n, LAP_ATTR_SLOT, 0)]] = true;
    }
}

static void mark_launch(const cutter *c, const lap_launch *launch)
{
    const lap_graph *g = c->l->kernels[launch->kernel].graph;
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        const lap_node *n = lap_node_at(g, (lap_ref){i});
        bool writes_first = n->op == LAP_OP_STORE || n->op == LAP_OP_MMA || n->op == LAP_OP_TURN;
        for (uint32_t a = 0; a < n->n_args; a++) {
            bool writes = n->op == LAP_OP_SORT ? a == 3 : writes_first && a == 0;
            mark_operand(g, n->args[a], launch, writes ? c->writes : c->reads);
        }
    }
}

static void mark_steps(const cutter *c, const lap_step *steps, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const lap_step *s = &steps[i];
        if (s->kind == LAP_STEP_LAUNCH) {
            mark_launch(c, &s->launch);
        } else if (s->kind == LAP_STEP_COPY) {
            c->reads[s->from] = c->writes[s->to] = true;
        } else {
            if (s->counter >= 0) {
                c->writes[s->counter] = true;
            }
            if (s->test >= 0) {
                c->reads[s->test] = true;
            }
            mark_steps(c, s->body, s->n_body);
            mark_steps(c, s->other, s->n_other);
        }
    }
}

/* Drops launches that write the site's own buffers alone, which nothing reads: tests of branches taken. */
static void drop_unread(cutter *c)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->steps.n; i++) {
        const lap_step *s = &c->steps.at[i];
        bool matters = s->kind != LAP_STEP_LAUNCH;
        for (uint32_t b = 0; !matters && b < s->launch.n_buffers; b++) {
            uint32_t buffer = s->launch.buffers[b];
            matters = c->writes[buffer] && (buffer < c->first_own || c->reads[buffer]);
        }
        if (matters) {
            c->steps.at[kept++] = *s;
        }
    }
    c->steps.n = kept;
}

/* ---- the cut program ----------------------------------------------------------------------- */

static uint32_t add_leaf(cutter *c, lap_leaf_kind kind, lap_name name, lap_dtype dtype, lap_dim count,
                         uint32_t source)
{
    lap_dim *shape = lap_arena_copy(c->l->ctx->arena, &count, sizeof count);
    uint32_t number = c->n_leaves[kind]++;
    c->leaves[kind][number] = (lap_leaf){.name = name, .dtype = dtype, .rank = 1, .shape = shape};
    c->sources[kind][number] = source;
    return number;
}

static void add_buffer(cutter *c, uint32_t old)
{
    lap_buffer b = c->l->buffers[old];
    lap_name name = lap_intern(c->l->ctx, lap_arena_printf(c->l->ctx->arena, "b%u", old));
    if (old < c->first_own && b.kind != LAP_BUF_CONST) {
        bool is_static = b.kind == LAP_BUF_WEIGHT || b.kind == LAP_BUF_PACKED;
        lap_leaf_kind kind = c->writes[old] ? LAP_LEAF_OUTPUT : is_static ? LAP_LEAF_WEIGHT : LAP_LEAF_INPUT;
        static const lap_buffer_kind kinds[] = {LAP_BUF_INPUT, LAP_BUF_WEIGHT, LAP_BUF_OUTPUT};
        b.leaf = add_leaf(c, kind, name, b.elem, b.count, old);
        b.kind = kinds[kind];
    }
    c->buffers[c->n_buffers++] = b;
    c->buffer_of[old] = c->n_buffers;
}

static uint32_t map_kernel(cutter *c, uint32_t old)
{
    if (c->kernel_of[old] == 0) {
        c->out->texts[c->n_kernels] = c->l->kernel_texts[old];
        c->kernels[c->n_kernels++] = c->l->kernels[old];
        c->kernel_of[old] = c->n_kernels;
    }
    return c->kernel_of[old] - 1;
}

static lap_step *map_steps(cutter *c, const lap_step *steps, uint32_t n)
{
    lap_arena *arena = c->l->ctx->arena;
    lap_step *out = lap_arena_array(arena, (size_t)n + 1, sizeof *out);
    for (uint32_t i = 0; i < n; i++) {
        lap_step s = steps[i];
        uint32_t *buffers = lap_arena_array(arena, (size_t)s.launch.n_buffers + 1, sizeof *buffers);
        for (uint32_t b = 0; s.kind == LAP_STEP_LAUNCH && b < s.launch.n_buffers; b++) {
            buffers[b] = c->buffer_of[s.launch.buffers[b]] - 1;
        }
        s.launch.buffers = buffers;
        s.launch.kernel = s.kind == LAP_STEP_LAUNCH ? map_kernel(c, s.launch.kernel) : 0;
        s.counter = s.counter >= 0 ? (int32_t)c->buffer_of[s.counter] - 1 : -1;
        s.test = s.test >= 0 ? (int32_t)c->buffer_of[s.test] - 1 : -1;
        s.from = s.kind == LAP_STEP_COPY ? c->buffer_of[s.from] - 1 : 0;
        s.to = s.kind == LAP_STEP_COPY ? c->buffer_of[s.to] - 1 : 0;
        s.body = map_steps(c, s.body, s.n_body);
        s.other = map_steps(c, s.other, s.n_other);
        out[i] = s;
    }
    return out;
}

static void add_symbol(void *user, lap_name symbol)
{
    cutter *c = user;
    for (uint32_t i = 0; i < c->n_symbols; i++) {
        if (lap_name_same(c->symbols[i], symbol)) {
            return;
        }
    }
    lap_arena_grow(c->l->ctx->arena, &c->symbols, c->n_symbols, 1, &c->symbol_capacity, sizeof *c->symbols);
    c->symbols[c->n_symbols++] = symbol;
}

/* All that the shapes of inputs and weights decide. */
static void find_symbols(cutter *c, uint32_t n, const lap_leaf *leaves)
{
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t axis = 0; axis < leaves[i].rank; axis++) {
            lap_dim_symbols(c->l->ctx, leaves[i].shape[axis], add_symbol, c);
        }
    }
}

static void add_sizes(cutter *c)
{
    for (uint32_t i = 0; i < c->n_symbols; i++) {
        lap_dim size = lap_dim_symbol(c->l->ctx, c->symbols[i]);
        lap_name name = lap_intern(c->l->ctx, lap_arena_printf(c->l->ctx->arena, "size%u", i));
        uint32_t leaf = add_leaf(c, LAP_LEAF_INPUT, name, LAP_I8, size, 0);
        c->buffers[c->n_buffers++] =
            (lap_buffer){.kind = LAP_BUF_INPUT, .elem = LAP_I8, .count = size, .leaf = leaf};
    }
}

static void allocate(cutter *c)
{
    lap_lowering *l = c->l;
    lap_arena *arena = l->ctx->arena;
    size_t n = (size_t)l->n_buffers + c->n_symbols + 1;
    c->out = lap_arena_alloc(arena, sizeof *c->out);
    c->reads = lap_arena_array(arena, l->n_buffers + 1u, sizeof *c->reads);
    c->writes = lap_arena_array(arena, l->n_buffers + 1u, sizeof *c->writes);
    c->buffer_of = lap_arena_array(arena, l->n_buffers + 1u, sizeof *c->buffer_of);
    c->kernel_of = lap_arena_array(arena, l->n_kernels + 1u, sizeof *c->kernel_of);
    c->kernels = lap_arena_array(arena, l->n_kernels + 1u, sizeof *c->kernels);
    c->out->texts = lap_arena_array(arena, l->n_kernels + 1u, sizeof *c->out->texts);
    c->buffers = lap_arena_array(arena, n, sizeof *c->buffers);
    for (int kind = 0; kind < LAP_N_LEAF_KINDS; kind++) {
        c->leaves[kind] = lap_arena_array(arena, n, sizeof *c->leaves[kind]);
        c->sources[kind] = lap_arena_array(arena, n, sizeof *c->sources[kind]);
    }
}

static const lap_alone *cut(cutter *c)
{
    lap_lowering *l = c->l;
    add_sizes(c);
    for (uint32_t i = 0; i < l->n_buffers; i++) {
        if (c->reads[i] || c->writes[i]) {
            add_buffer(c, i);
        }
    }
    lap_step *steps = map_steps(c, c->steps.at, c->steps.n);
    c->out->n_symbols = c->n_symbols;
    c->out->symbols = c->symbols;
    for (int kind = 0; kind < LAP_N_LEAF_KINDS; kind++) {
        c->out->buffers[kind] = c->sources[kind];
    }
    c->out->program = (lap_program){.ctx = l->ctx,
                                    .name = lap_graph_name(l->g),
                                    .n_inputs = c->n_leaves[LAP_LEAF_INPUT],
                                    .n_weights = c->n_leaves[LAP_LEAF_WEIGHT],
                                    .n_outputs = c->n_leaves[LAP_LEAF_OUTPUT],
                                    .inputs = c->leaves[LAP_LEAF_INPUT],
                                    .weights = c->leaves[LAP_LEAF_WEIGHT],
                                    .outputs = c->leaves[LAP_LEAF_OUTPUT],
                                    .n_buffers = c->n_buffers,
                                    .buffers = c->buffers,
                                    .n_kernels = c->n_kernels,
                                    .kernels = c->kernels,
                                    .n_steps = c->steps.n,
                                    .steps = steps};
    return c->out;
}

const lap_alone *lap_site_alone(lap_lowering *l, const lap_site *site, const lap_schedule *schedule,
                                lap_dim_value *value, void *user)
{
    cutter c = {.l = l, .first_own = l->n_buffers, .value = value, .user = user};
    uint32_t n_kernels = l->n_kernels;
    lap_steps made;
    const lap_alone *out = NULL;
    if (lap_site_again(l, site, schedule, &made)) {
        find_symbols(&c, l->n_inputs, l->inputs);
        find_symbols(&c, l->n_weights, l->weights);
        allocate(&c);
        take_steps(&c, made.at, made.n);
        mark_steps(&c, c.steps.at, c.steps.n);
        drop_unread(&c);
        memset(c.reads, 0, l->n_buffers);
        memset(c.writes, 0, l->n_buffers);
        mark_steps(&c, c.steps.at, c.steps.n);
        out = cut(&c);
    }
    l->n_buffers = c.first_own;
    l->n_kernels = n_kernels;
    return out;
}

/* ---- showing buffers ----------------------------------------------------------------------- */

static lap_step *run_all(lap_ctx *ctx, const lap_step *steps, uint32_t n)
{
    lap_step *out = lap_arena_array(ctx->arena, (size_t)n + 1, sizeof *out);
    for (uint32_t i = 0; i < n; i++) {
        out[i] = steps[i];
        out[i].on_load = false;
    }
    return out;
}

const lap_program *lap_program_showing(const lap_program *p, uint32_t n, const uint32_t *buffers)
{
    lap_arena *arena = p->ctx->arena;
    lap_program *out = lap_arena_copy(arena, p, sizeof *p);
    lap_leaf *outputs = lap_arena_array(arena, (size_t)p->n_outputs + n + 1, sizeof *outputs);
    lap_buffer *all = lap_arena_array(arena, (size_t)p->n_buffers + 1, sizeof *all);
    memcpy(outputs, p->outputs, p->n_outputs * sizeof *outputs);
    memcpy(all, p->buffers, p->n_buffers * sizeof *all);
    for (uint32_t i = 0; i < p->n_buffers; i++) {
        all[i].kind = all[i].kind == LAP_BUF_PACKED ? LAP_BUF_TEMP : all[i].kind;
    }
    for (uint32_t i = 0; i < n; i++) {
        lap_buffer *b = &all[buffers[i]];
        LAP_ENSURE(b->kind == LAP_BUF_TEMP);
        lap_name name = lap_intern(p->ctx, lap_arena_printf(arena, "b%u", buffers[i]));
        outputs[p->n_outputs + i] = (lap_leaf){.name = name, .dtype = b->elem, .rank = 1, .shape = &b->count};
        b->kind = LAP_BUF_OUTPUT;
        b->leaf = p->n_outputs + i;
    }
    out->n_outputs = p->n_outputs + n;
    out->outputs = outputs;
    out->buffers = all;
    out->steps = run_all(p->ctx, p->steps, p->n_steps);
    return out;
}
