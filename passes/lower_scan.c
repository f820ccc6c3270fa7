/* SPDX-License-Identifier: Apache-2.0
 * lower_scan.c - a scan as one kernel: the grid runs over its rows, one of them in blocks of lanes; time
 * runs inside, and states and locals stand in scratch that stays in cache. */
#include "passes/scan.h"

#include <string.h>

/* Lanes of a block; its states and locals should fit in half of the first cache. */
enum { LANES_MOST = 512, LANES_LEAST = 16, SYMBOL_GUESS = 512 };

/* Scratch of a state or a local: its axes that are no rows, then the block's lanes if it varies there. */
typedef struct memory {
    lap_ref node;
    lap_ref scratch;
    lap_dtype elem;
    uint32_t n;
    const lap_axis **axes;
    lap_dim *stride;
    bool has_lanes;
} memory;

struct lap_scan_frame {
    const lap_scan_form *form;
    lap_lowering *l;
    lap_kctx *k;
    const lap_node *n;
    lap_name along;
    lap_coord *rows; /* coordinates of the form's rows, the last one within the loops over lanes */
    lap_coord first, lanes, lane, time;
    int64_t block; /* lanes of a block */
    uint32_t n_memories;
    memory *memories;
};
typedef struct lap_scan_frame frame;

static const lap_axis *lane_axis(const frame *f)
{
    return f->form->has_lanes ? &f->form->rows[f->form->n_rows - 1] : NULL;
}

static bool in_lanes(const frame *f, const lap_node *n)
{
    return lane_axis(f) != NULL && lap_node_axis(n, lane_axis(f)->name) != NULL;
}

static int64_t row_of(const frame *f, lap_name name)
{
    const lap_axis *a = lap_axis_find(f->form->rows, f->form->n_rows, name);
    return a != NULL ? a - f->form->rows : -1;
}

/* ---- memory ---- */

static memory *memory_of(const frame *f, lap_ref node)
{
    for (uint32_t i = 0; i < f->n_memories; i++) {
        if (lap_ref_same(f->memories[i].node, node)) {
            return &f->memories[i];
        }
    }
    return NULL;
}

static void add_memory(frame *f, lap_ref node, lap_dtype elem)
{
    const lap_node *n = lap_node_at(f->l->g, node);
    lap_ctx *ctx = f->l->ctx;
    memory m = {.node = node,
                .elem = elem,
                .axes = lap_arena_array(ctx->arena, n->n_axes + 1, sizeof *m.axes),
                .stride = lap_arena_array(ctx->arena, n->n_axes + 1, sizeof *m.stride),
                .has_lanes = in_lanes(f, n)};
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (row_of(f, n->axes[i].name) < 0) {
            m.axes[m.n++] = &n->axes[i];
        }
    }
    lap_dim below = lap_dim_const(ctx, m.has_lanes ? f->block : 1);
    for (uint32_t i = m.n; i-- > 0;) {
        m.stride[i] = below;
        below = lap_dim_mul(ctx, below, m.axes[i]->size);
    }
    m.scratch = lap_kctx_scratch(f->k, elem, below);
    f->memories[f->n_memories++] = m;
}

static lap_ref address(const frame *f, const memory *m, const lap_coord *env)
{
    const lap_node *n = lap_node_at(f->l->g, m->node);
    lap_coord at = m->has_lanes ? f->lane : lap_coord_const(f->k->c, 0);
    for (uint32_t i = 0; i < m->n; i++) {
        const lap_axis *a = lap_node_axis(n, m->axes[i]->name);
        lap_coord step = lap_coord_mul(f->k->c, env[a - n->axes], lap_coord_dim(f->k->c, m->stride[i]));
        at = lap_coord_add(f->k->c, at, step);
    }
    return lap_coord_ref(f->k->c, at);
}

/* Whether a value is read in the row that is being computed. */
static bool is_this_row(const frame *f, const lap_node *n, const lap_coord *env)
{
    for (uint32_t i = 0; i < n->n_axes; i++) {
        int64_t row = row_of(f, n->axes[i].name);
        if (row >= 0 && !lap_coord_same(env[i], f->rows[row])) {
            return false;
        }
    }
    return true;
}

static lap_val pull_input(lap_kctx *k, uint32_t i, lap_ref param, const lap_coord *env, lap_ref mask)
{
    const frame *f = k->scan;
    if (i >= f->n->n_args) {
        return (lap_val){.coord = f->time, .is_coord = true};
    }
    const lap_node *n = lap_node_at(k->l->g, param), *x = lap_node_at(k->l->g, f->n->args[i]);
    lap_coord *sub = lap_arena_array(k->l->ctx->arena, x->n_axes + 1, sizeof *sub);
    for (uint32_t a = 0; a < x->n_axes; a++) {
        const lap_axis *own = lap_axis_find(n->axes, n->n_axes, x->axes[a].name);
        sub[a] = own != NULL ? env[own - n->axes] : f->time;
    }
    return lap_pull(k, f->n->args[i], sub, mask);
}

lap_val lap_scan_pull(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask)
{
    const frame *f = k->scan;
    const lap_node *n = lap_node_at(k->l->g, node);
    LAP_ENSURE(f != NULL);
    const memory *m = memory_of(f, node);
    if (m != NULL && is_this_row(f, n, env)) {
        return lap_val_of(k, lap_k_load(k->k, m->scratch, address(f, m, env), mask));
    }
    if (n->op != LAP_OP_PARAM) {
        return lap_pull_expr(k, node, env, mask);
    }
    uint32_t i = 0;
    while (!lap_ref_same(f->form->body->params[i], node)) {
        i++;
    }
    LAP_ENSURE(i >= f->form->n_states); /* rows do not mix */
    return pull_input(k, i, node, env, mask);
}

/* ---- loops over one value's elements ---- */

typedef struct nest {
    lap_nest loops;
    const lap_axis *axes[LAP_MAX_AXES]; /* of the loops over axes that are no rows */
    lap_coord index[LAP_MAX_AXES];
    uint32_t n_axes;
} nest;

static void open_nest(frame *f, const lap_node *n, nest *s)
{
    bool lanes = in_lanes(f, n);
    s->loops.n = s->n_axes = 0;
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (row_of(f, n->axes[i].name) < 0) {
            s->axes[s->n_axes++] = &n->axes[i];
        }
    }
    for (uint32_t i = 0; i < s->n_axes; i++) {
        lap_loop_kind kind = !lanes && i + 1 == s->n_axes ? LAP_LOOP_VECTOR : LAP_LOOP_SERIAL;
        lap_nest_open(f->k, &s->loops, kind, s->axes[i]->size, &s->index[i]);
    }
    if (lanes) {
        s->loops.at[s->loops.n++] = lap_kctx_for(f->k, LAP_LOOP_VECTOR, lap_dim_const(f->l->ctx, f->block),
                                                 lap_coord_ref(f->k->c, f->lanes), 0, NULL, &f->lane);
        f->rows[f->form->n_rows - 1] = lap_coord_add(f->k->c, f->first, f->lane);
    }
}

/* Coordinates of a value whose axes are rows and the nest's. */
static lap_coord *env_of(const frame *f, const nest *s, const lap_node *n)
{
    lap_coord *env = lap_arena_array(f->l->ctx->arena, n->n_axes + 1, sizeof *env);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        int64_t row = row_of(f, n->axes[i].name);
        env[i] = row >= 0 ? f->rows[row] : lap_coord_const(f->k->c, 0);
        for (uint32_t a = 0; a < s->n_axes && row < 0; a++) {
            env[i] = lap_name_same(s->axes[a]->name, n->axes[i].name) ? s->index[a] : env[i];
        }
    }
    return env;
}

/* Rows that a value does not vary over write it once. */
static lap_ref once(const frame *f, const lap_node *n)
{
    lap_ref mask = LAP_NONE;
    lap_coord zero = lap_coord_const(f->k->c, 0);
    for (uint32_t i = 0; i < f->form->n_rows; i++) {
        bool is_lane = f->form->has_lanes && i + 1 == f->form->n_rows;
        lap_coord at = is_lane ? f->first : f->rows[i];
        if (lap_node_axis(n, f->form->rows[i].name) == NULL &&
            lap_coord_compare(f->k->c, at, LAP_REL_EQ, zero) != LAP_YES) {
            lap_ref is_first =
                lap_map2(f->k->k, LAP_FN_EQ, lap_coord_ref(f->k->c, at), lap_const_i(f->k->k, 0));
            mask = lap_mask_both(f->k, mask, is_first);
        }
    }
    return mask;
}

/* A value at the nest's coordinates: `node`'s axes are among those of what the nest was opened for. */
static lap_ref value_at(frame *f, const nest *s, lap_ref node)
{
    return lap_pull_ref(f->k, node, env_of(f, s, lap_node_at(f->l->g, node)), LAP_NONE);
}

/* Computes a local, for its memory and for what follows in the same loops. */
static lap_ref new_value(frame *f, const nest *s, lap_ref node)
{
    const lap_coord *env = env_of(f, s, lap_node_at(f->l->g, node));
    lap_val v = lap_pull_expr(f->k, node, env, LAP_NONE);
    lap_know(f->k, node, env, LAP_NONE, v);
    return lap_val_ref(f->k, v);
}

static void store_memory(frame *f, const nest *s, const memory *m, lap_ref value)
{
    const lap_coord *env = env_of(f, s, lap_node_at(f->l->g, m->node));
    lap_k_store(f->k->k, m->scratch, address(f, m, env), value, LAP_NONE);
}

static void store_result(frame *f, const nest *s, lap_ref result, lap_ref value, bool has_time)
{
    const lap_node *n = lap_node_at(f->l->g, result);
    lap_coord *env = env_of(f, s, n);
    const lap_axis *along = lap_node_axis(n, f->along);
    if (has_time && along != NULL) {
        env[along - n->axes] = f->time;
    }
    lap_ref at = lap_coord_ref(f->k->c, lap_address(f->k, result, env));
    lap_k_store(f->k->k, lap_kctx_buffer(f->k, lap_plan_of(f->l, result)->buffer), at, value, once(f, n));
}

/* ---- the parts of the kernel ---- */

static int64_t known(const frame *f, lap_dim d)
{
    int64_t size;
    return lap_dim_is_const(f->l->ctx, d, &size) ? size : SYMBOL_GUESS;
}

static int64_t row_bytes(const frame *f, lap_ref node)
{
    const lap_node *n = lap_node_at(f->l->g, node);
    int64_t bytes = lap_dtype_bits(lap_dtype_compute(n->dtype)) / 8;
    for (uint32_t i = 0; i < n->n_axes && bytes < INT32_MAX; i++) {
        bytes *= row_of(f, n->axes[i].name) < 0 ? known(f, n->axes[i].size) : 1;
    }
    return bytes;
}

static void choose_block(frame *f)
{
    f->block = 1;
    if (!f->form->has_lanes) {
        return;
    }
    int64_t bytes = 0, width = f->l->target->vector_f32, size;
    for (uint32_t i = 0; i < f->form->n_states; i++) {
        bytes += row_bytes(f, f->form->body->params[i]);
    }
    for (uint32_t i = 0; i < f->form->n_locals; i++) {
        bytes += f->form->locals[i].state < 0 ? row_bytes(f, f->form->locals[i].node) : 0;
    }
    f->block = LANES_MOST;
    while (f->block > LANES_LEAST && f->block * bytes > f->l->target->l1_bytes / 2) {
        f->block /= 2;
    }
    if (lap_dim_is_const(f->l->ctx, lane_axis(f)->size, &size) && size > 0) {
        int64_t blocks = (size + f->block - 1) / f->block, even = (size + blocks - 1) / blocks;
        f->block = blocks == 1 ? size : (even + width - 1) / width * width;
    }
}

static void open_grid(frame *f)
{
    const lap_scan_form *form = f->form;
    lap_ctx *ctx = f->l->ctx;
    uint32_t n = form->n_rows;
    lap_dim *sizes = lap_arena_array(ctx->arena, n + 1, sizeof *sizes);
    f->rows = lap_arena_array(ctx->arena, n + 1, sizeof *f->rows);
    for (uint32_t i = 0; i < n; i++) {
        sizes[i] = form->rows[i].size;
    }
    if (form->has_lanes) {
        sizes[n - 1] = lap_dim_ceildiv(ctx, sizes[n - 1], lap_dim_const(ctx, f->block));
    }
    lap_coord flat = lap_kctx_grid(f->k, lap_dims_product(ctx, n, sizes));
    lap_coord_split(f->k, flat, n, sizes, f->rows);
    f->lane = f->first = lap_coord_const(f->k->c, 0);
    if (form->has_lanes) {
        f->first = lap_coord_mul(f->k->c, f->rows[n - 1], lap_coord_const(f->k->c, f->block));
        lap_coord rest = lap_coord_sub(f->k->c, lap_coord_dim(f->k->c, lane_axis(f)->size), f->first);
        f->lanes = lap_coord_min(f->k->c, rest, lap_coord_const(f->k->c, f->block));
    }
}

static void make_memories(frame *f)
{
    const lap_scan_form *form = f->form;
    f->memories = lap_arena_array(f->l->ctx->arena, 2 * form->n_states + form->n_locals + 1, sizeof(memory));
    for (uint32_t i = 0; i < form->n_states; i++) {
        lap_ref p = form->body->params[i];
        add_memory(f, p, lap_dtype_compute(lap_node_at(f->l->g, p)->dtype)); /* only the start is rounded */
    }
    for (uint32_t i = 0; i < form->n_locals; i++) {
        const lap_scan_local *v = &form->locals[i];
        if (v->state < 0) {
            lap_dtype t = lap_node_at(f->l->g, v->node)->dtype;
            add_memory(f, v->node, t == LAP_I4 ? LAP_I8 : t);
        } else {
            f->memories[f->n_memories] = f->memories[v->state];
            f->memories[f->n_memories++].node = v->node;
        }
    }
}

static void start_states(frame *f)
{
    for (uint32_t i = 0; i < f->form->n_states; i++) {
        nest s;
        open_nest(f, lap_node_at(f->l->g, f->form->body->params[i]), &s);
        store_memory(f, &s, &f->memories[i], value_at(f, &s, f->n->args[i]));
        lap_nest_close(f->k, &s.loops);
    }
}

static void run_action(frame *f, const nest *s, lap_scan_action a)
{
    if (!a.is_out) {
        lap_ref node = f->form->locals[a.number].node;
        store_memory(f, s, &f->memories[f->form->n_states + a.number], new_value(f, s, node));
        return;
    }
    lap_ref value = value_at(f, s, f->form->body->results[f->form->n_states + a.number]);
    store_result(f, s, f->form->result[a.number], value, true);
}

static void run_actions(frame *f)
{
    const lap_scan_form *form = f->form;
    nest s;
    for (uint32_t i = 0; i < form->n_actions; i++) {
        lap_scan_action a = form->actions[i];
        if (!a.joins) {
            lap_ref node =
                a.is_out ? form->body->results[form->n_states + a.number] : form->locals[a.number].node;
            open_nest(f, lap_node_at(f->l->g, node), &s);
        }
        run_action(f, &s, a);
        if (i + 1 == form->n_actions || !form->actions[i + 1].joins) {
            lap_nest_close(f->k, &s.loops);
        }
    }
}

static void copy_state(frame *f, const lap_node *n, lap_ref from, const memory *to)
{
    nest s;
    open_nest(f, n, &s);
    store_memory(f, &s, to, value_at(f, &s, from));
    lap_nest_close(f->k, &s.loops);
}

static bool is_replaced(const lap_scan_form *form, uint32_t state)
{
    lap_ref r = form->body->results[state];
    for (uint32_t i = 0; i < form->n_locals; i++) {
        if (form->locals[i].state == (int32_t)state) {
            return true;
        }
    }
    return lap_ref_same(r, form->body->params[state]);
}

static bool is_state(const lap_scan_form *form, lap_ref r)
{
    for (uint32_t i = 0; i < form->n_states; i++) {
        if (lap_ref_same(form->body->params[i], r)) {
            return true;
        }
    }
    return false;
}

/* New states that are not made in place; one that is another's old value waits in memory of its own. */
static void replace_states(frame *f)
{
    const lap_scan_form *form = f->form;
    memory *held = lap_arena_array(f->l->ctx->arena, form->n_states + 1, sizeof *held);
    for (uint32_t i = 0; i < form->n_states; i++) {
        if (!is_replaced(form, i) && is_state(form, form->body->results[i])) {
            add_memory(f, form->body->params[i], f->memories[i].elem);
            held[i] = f->memories[--f->n_memories];
            copy_state(f, lap_node_at(f->l->g, held[i].node), form->body->results[i], &held[i]);
        }
    }
    for (uint32_t i = 0; i < form->n_states; i++) {
        const lap_node *n = lap_node_at(f->l->g, form->body->params[i]);
        if (is_replaced(form, i)) {
            continue;
        }
        nest s;
        open_nest(f, n, &s);
        if (is_state(form, form->body->results[i])) {
            const lap_coord *env = env_of(f, &s, n);
            lap_ref v = lap_k_load(f->k->k, held[i].scratch, address(f, &held[i], env), LAP_NONE);
            store_memory(f, &s, &f->memories[i], v);
        } else {
            store_memory(f, &s, &f->memories[i], value_at(f, &s, form->body->results[i]));
        }
        lap_nest_close(f->k, &s.loops);
    }
}

static void write_last(frame *f)
{
    lap_names states = lap_attr_names(f->n, LAP_ATTR_STATES);
    for (uint32_t i = 0; i < states.n; i++) {
        const char *name = lap_arena_printf(f->l->ctx->arena, "last_%s", lap_text(f->l->ctx, states.at[i]));
        lap_ref result = lap_result_named(f->l, f->form->op, name);
        if (!lap_ref_some(result)) {
            continue;
        }
        const memory *m = &f->memories[i];
        nest s;
        const lap_node *n = lap_node_at(f->l->g, m->node);
        open_nest(f, n, &s);
        lap_ref v = lap_k_load(f->k->k, m->scratch, address(f, m, env_of(f, &s, n)), LAP_NONE);
        store_result(f, &s, result, v, false);
        lap_nest_close(f->k, &s.loops);
    }
}

static const char *roles(const frame *f)
{
    const lap_scan_form *form = f->form;
    uint32_t n_grid = form->n_rows - (form->has_lanes ? 1 : 0);
    return lap_arena_printf(
        f->l->ctx->arena, "rows=(%s) lanes=(%s) time=(%s)", lap_axes_text(f->l, n_grid, form->rows),
        form->has_lanes ? lap_axes_text(f->l, 1, lane_axis(f)) : "", lap_text(f->l->ctx, f->along));
}

void lap_lower_scan(lap_lowering *l, const lap_scan_form *form)
{
    lap_lower_nodes(l, form->region); /* what does not change from step to step */
    const lap_node *n = lap_node_at(l->g, form->op);
    frame f = {.form = form, .l = l, .n = n, .along = lap_attr_name(n, LAP_ATTR_ALONG)};
    lap_kctx *k = f.k = lap_kctx_new(l, n->loc);
    k->scan = &f;
    choose_block(&f);
    k->roles = roles(&f);
    open_grid(&f);
    make_memories(&f);
    start_states(&f);
    lap_dim steps = lap_attr_dim(n, LAP_ATTR_STEPS);
    lap_k_loop loop = lap_kctx_for(k, LAP_LOOP_SERIAL, steps, LAP_NONE, 0, NULL, &f.time);
    if (lap_attr_i(n, LAP_ATTR_REVERSE, 0) != 0) {
        lap_coord last = lap_coord_sub(k->c, lap_coord_dim(k->c, steps), lap_coord_const(k->c, 1));
        f.time = lap_coord_sub(k->c, last, f.time);
    }
    run_actions(&f);
    replace_states(&f);
    lap_kctx_end(k, &loop, NULL, NULL);
    write_last(&f);
    lap_kctx_launch(k, "scan");
}
