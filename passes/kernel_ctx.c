/* SPDX-License-Identifier: Apache-2.0
 * kernel_ctx.c - one kernel under construction: buffers, loops, and its place in the program.
 *
 * Equal kernels are one kernel: layers of a model share their code. */
#include "passes/lower.h"

#include <string.h>

uint32_t lap_program_buffer(lap_lowering *l, lap_buffer b)
{
    lap_arena_grow(l->ctx->arena, &l->buffers, l->n_buffers, 1, &l->buffer_capacity, sizeof *l->buffers);
    l->buffers[l->n_buffers] = b;
    return l->n_buffers++;
}

const lap_step *lap_program_step(lap_lowering *l, lap_step s)
{
    lap_steps *list = l->steps;
    lap_arena_grow(l->ctx->arena, &list->at, list->n, 1, &list->capacity, sizeof *list->at);
    list->at[list->n] = s;
    return &list->at[list->n++];
}

lap_kctx *lap_kctx_new(lap_lowering *l, lap_loc loc)
{
    lap_kctx *k = lap_arena_alloc(l->ctx->arena, sizeof *k);
    k->l = l;
    k->k = lap_graph_new(l->ctx, "kernel", LAP_LEVEL_KERNEL);
    k->c = lap_coords_new(k->k);
    k->loc = loc;
    lap_set_loc(k->k, loc);
    return k;
}

lap_coord lap_kctx_grid(lap_kctx *k, lap_dim extent)
{
    lap_coord index;
    k->grid = lap_kctx_for(k, LAP_LOOP_GRID, extent, LAP_NONE, 0, NULL, &index);
    return index;
}

lap_ref lap_kctx_buffer(lap_kctx *k, uint32_t buffer)
{
    uint32_t slot = 0;
    while (slot < k->n_slots && k->slot_buffers[slot] != buffer) {
        slot++;
    }
    if (slot == k->n_slots) {
        lap_arena_grow(k->l->ctx->arena, &k->slot_buffers, k->n_slots, 1, &k->slot_capacity,
                       sizeof(uint32_t));
        k->slot_buffers[k->n_slots++] = buffer;
    }
    return lap_k_global(k->k, slot, k->l->buffers[buffer].elem);
}

lap_ref lap_kctx_scratch(lap_kctx *k, lap_dtype elem, lap_dim count)
{
    return lap_k_scratch(k->k, k->n_scratch++, elem, count);
}

lap_k_loop lap_kctx_for(lap_kctx *k, lap_loop_kind kind, lap_dim bound, lap_ref extent, uint32_t n,
                        const lap_ref *init, lap_coord *out_index)
{
    LAP_ENSURE(k->depth < sizeof k->stack / sizeof *k->stack);
    lap_ref e = lap_ref_some(extent) ? extent : lap_dim_node(k->k, bound);
    lap_k_loop loop = lap_k_for(k->k, kind, e, n, init);
    k->stack[k->depth++] = loop.region;
    *out_index = lap_coord_var(k->c, loop.index, bound);
    if (kind == LAP_LOOP_VECTOR) {
        k->in_vector = true;
        k->lane = *out_index;
        k->lanes = bound;
    }
    return loop;
}

lap_region_id lap_kctx_if(lap_kctx *k, lap_ref cond)
{
    LAP_ENSURE(k->depth < sizeof k->stack / sizeof *k->stack);
    lap_region_id region = lap_k_if(k->k, cond);
    k->stack[k->depth++] = region;
    return region;
}

void lap_kctx_end_if(lap_kctx *k, lap_region_id region, lap_ref cond)
{
    lap_k_end_if(k->k, region, cond);
    k->depth--;
}

void lap_kctx_end(lap_kctx *k, lap_k_loop *loop, const lap_ref *next, lap_ref *out_final)
{
    lap_k_end(k->k, loop, next, out_final);
    k->depth--;
    if (loop->kind == LAP_LOOP_VECTOR) {
        k->in_vector = false;
    }
}

void lap_nest_open(lap_kctx *k, lap_nest *nest, lap_loop_kind kind, lap_dim bound, lap_coord *out_index)
{
    LAP_ENSURE(nest->n < LAP_MAX_AXES);
    nest->at[nest->n++] = lap_kctx_for(k, kind, bound, LAP_NONE, 0, NULL, out_index);
}

void lap_nest_close(lap_kctx *k, lap_nest *nest)
{
    while (nest->n > 0) {
        lap_kctx_end(k, &nest->at[--nest->n], NULL, NULL);
    }
}

/* The kernel's text without places: what decides whether two kernels are the same. */
static const char *kernel_text(lap_kctx *k)
{
    char *text = lap_graph_text(k->k);
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (*from == ' ' && from[1] == ';') {
            while (from[1] != '\0' && from[1] != '\n') {
                from++;
            }
            continue;
        }
        *to++ = *from;
    }
    *to = '\0';
    return text;
}

const char *lap_axes_text(lap_lowering *l, uint32_t n, const lap_axis *axes)
{
    const char *text = "";
    for (uint32_t i = 0; i < n; i++) {
        text =
            lap_arena_printf(l->ctx->arena, "%s%s%s", text, i > 0 ? " " : "", lap_text(l->ctx, axes[i].name));
    }
    return text;
}

static void refuse_overflow(lap_kctx *k)
{
    for (uint32_t i = 1; i <= lap_graph_n_nodes(k->k); i++) {
        const lap_node *n = lap_node_at(k->k, (lap_ref){i});
        if (n->op == LAP_OP_DIM && lap_dim_same(lap_attr_dim(n, LAP_ATTR_DIM), LAP_DIM_OVERFLOW)) {
            k->l->failed = true;
            lap_error(k->l->ctx, n->loc, "a size or an index here needs more than 64 bits");
            return;
        }
    }
}

void lap_kctx_launch(lap_kctx *k, const char *what)
{
    lap_lowering *l = k->l;
    lap_kctx_end(k, &k->grid, NULL, NULL);
    refuse_overflow(k);
    const char *text = kernel_text(k);
    uint32_t number = 0;
    while (number < l->n_kernels && strcmp(l->kernel_texts[number], text) != 0) {
        number++;
    }
    if (number == l->n_kernels) {
        size_t capacity = l->kernel_capacity;
        lap_arena_grow(l->ctx->arena, &l->kernel_texts, number, 1, &capacity, sizeof *l->kernel_texts);
        lap_arena_grow(l->ctx->arena, &l->kernels, number, 1, &l->kernel_capacity, sizeof *l->kernels);
        l->kernel_texts[number] = text;
        const char *name = lap_arena_printf(l->ctx->arena, "k%u_%s", number, what);
        l->kernels[number] = (lap_kernel){.graph = k->k, .name = name, .roles = k->roles, .loc = k->loc};
        l->n_kernels++;
    }
    if (l->site != NULL) {
        l->site->what = what;
        l->site->roles = k->roles != NULL ? k->roles : "";
    }
    if (l->homes[l->now.ix] == 0 || strcmp(what, "copy") != 0) {
        l->homes[l->now.ix] = number + 1; /* packs come before what reads them, copies compute nothing */
    }
    lap_program_step(l, (lap_step){.kind = LAP_STEP_LAUNCH,
                                   .on_load = l->is_static,
                                   .counter = -1,
                                   .test = -1,
                                   .launch = {.kernel = number,
                                              .n_buffers = k->n_slots,
                                              .buffers = k->slot_buffers,
                                              .what = what,
                                              .roles = k->roles,
                                              .loc = k->loc,
                                              .root = l->now}});
}

lap_dim lap_dims_product(lap_ctx *ctx, uint32_t n, const lap_dim *sizes)
{
    lap_dim total = lap_dim_const(ctx, 1);
    for (uint32_t i = 0; i < n; i++) {
        total = lap_dim_mul(ctx, total, sizes[i]);
    }
    return total;
}

void lap_coord_split(lap_kctx *k, lap_coord flat, uint32_t n, const lap_dim *sizes, lap_coord *out)
{
    const lap_dim one = lap_dim_const(k->l->ctx, 1);
    lap_dim below = one;
    uint32_t first = 0; /* the slowest axis that is not of one element needs no remainder */
    while (first + 1 < n && lap_dim_same(sizes[first], one)) {
        out[first++] = lap_coord_const(k->c, 0);
    }
    for (uint32_t i = n; i-- > first;) {
        lap_coord c = lap_coord_floordiv(k->c, flat, lap_coord_dim(k->c, below));
        out[i] = i == first ? c : lap_coord_mod(k->c, c, lap_coord_dim(k->c, sizes[i]));
        below = lap_dim_mul(k->l->ctx, below, sizes[i]);
    }
}
