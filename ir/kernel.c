/* SPDX-License-Identifier: Apache-2.0
 * kernel.c - builder of kernels. A kernel that does not infer is a mistake of the passes, so it stops. */
#include "ir/kernel.h"

static lap_ref must(lap_graph *k, lap_ref made)
{
    if (!lap_ref_some(made)) {
        lap_ctx *ctx = lap_graph_ctx(k);
        size_t n = lap_error_count(ctx);
        LAP_BUG("kernel '%s': %s", lap_graph_name(k),
                n ? lap_error_text(ctx, n - 1) : "an operand is missing");
    }
    return made;
}

static lap_ref emit_op(lap_graph *k, lap_op op, uint32_t n_args, const lap_ref *args, uint32_t n_attrs,
                       const lap_attr *attrs)
{
    return must(
        k, lap_emit(k, &(lap_emit_args){
                           .op = op, .n_args = n_args, .args = args, .n_attrs = n_attrs, .attrs = attrs}));
}

lap_ref lap_k_global(lap_graph *k, uint32_t slot, lap_dtype elem)
{
    const lap_attr attrs[] = {
        lap_attr_make_i(LAP_ATTR_SPACE, LAP_SPACE_GLOBAL),
        lap_attr_make_i(LAP_ATTR_SLOT, slot),
        lap_attr_make_i(LAP_ATTR_ELEM, elem),
    };
    return emit_op(k, LAP_OP_BUFFER, 0, NULL, 3, attrs);
}

lap_ref lap_k_scratch(lap_graph *k, uint32_t number, lap_dtype elem, lap_dim count)
{
    const lap_attr attrs[] = {
        lap_attr_make_i(LAP_ATTR_SPACE, LAP_SPACE_SCRATCH),
        lap_attr_make_i(LAP_ATTR_SLOT, number),
        lap_attr_make_i(LAP_ATTR_ELEM, elem),
        lap_attr_make_dim(LAP_ATTR_COUNT, count),
    };
    return emit_op(k, LAP_OP_BUFFER, 0, NULL, 4, attrs);
}

/* ---- loops ---------------------------------------------------------------------------------- */

lap_k_loop lap_k_for(lap_graph *k, lap_loop_kind kind, lap_ref extent, uint32_t n, const lap_ref *init)
{
    lap_arena *arena = lap_graph_ctx(k)->arena;
    lap_type *types = lap_arena_array(arena, (size_t)n + 1, sizeof *types);
    lap_ref *params = lap_arena_array(arena, (size_t)n + 1, sizeof *params);
    types[0] = (lap_type){LAP_I64, 0, NULL};
    for (uint32_t i = 0; i < n; i++) {
        types[i + 1] = lap_node_type(lap_node_at(k, init[i]));
    }
    lap_k_loop loop = {.extent = extent, .n = n, .kind = kind};
    loop.init = n ? lap_arena_copy(arena, init, n * sizeof *init) : NULL;
    loop.region = lap_region_begin(k, n + 1, types, params);
    loop.index = params[0];
    loop.carried = params + 1;
    return loop;
}

void lap_k_end(lap_graph *k, const lap_k_loop *loop, const lap_ref *next, lap_ref *out_final)
{
    lap_ctx *ctx = lap_graph_ctx(k);
    lap_region_end(k, loop->region, loop->n, next);
    lap_ref *args = lap_arena_array(ctx->arena, (size_t)loop->n + 1, sizeof *args);
    args[0] = loop->extent;
    for (uint32_t i = 0; i < loop->n; i++) {
        args[i + 1] = loop->init[i];
    }
    lap_attr kind = lap_attr_make_i(LAP_ATTR_KIND, loop->kind);
    lap_ref made = must(k, lap_emit(k, &(lap_emit_args){
                                           .op = LAP_OP_FOR,
                                           .n_args = loop->n + 1,
                                           .args = args,
                                           .n_attrs = 1,
                                           .attrs = &kind,
                                           .n_regions = 1,
                                           .regions = &loop->region,
                                       }));
    for (uint32_t i = 0; i < loop->n && out_final; i++) {
        out_final[i] = must(k, lap_result(k, made, lap_arena_printf(ctx->arena, "%u", i)));
    }
}

lap_region_id lap_k_if(lap_graph *k, lap_ref cond)
{
    must(k, cond);
    return lap_region_begin(k, 0, NULL, NULL);
}

void lap_k_end_if(lap_graph *k, lap_region_id region, lap_ref cond)
{
    lap_region_end(k, region, 0, NULL);
    must(k,
         lap_emit(k, &(lap_emit_args){
                         .op = LAP_OP_IF, .n_args = 1, .args = &cond, .n_regions = 1, .regions = &region}));
}

/* ---- effects -------------------------------------------------------------------------------- */

lap_ref lap_k_load(lap_graph *k, lap_ref buffer, lap_ref index, lap_ref mask)
{
    return lap_k_load_ahead(k, buffer, index, mask, 0);
}

lap_ref lap_k_load_ahead(lap_graph *k, lap_ref buffer, lap_ref index, lap_ref mask, int64_t ahead)
{
    lap_attr a = lap_attr_make_i(LAP_ATTR_AHEAD, ahead);
    return emit_op(k, LAP_OP_LOAD, lap_ref_some(mask) ? 3 : 2, (lap_ref[]){buffer, index, mask}, ahead > 0,
                   &a);
}

void lap_k_store(lap_graph *k, lap_ref buffer, lap_ref index, lap_ref value, lap_ref mask)
{
    emit_op(k, LAP_OP_STORE, lap_ref_some(mask) ? 4 : 3, (lap_ref[]){buffer, index, value, mask}, 0, NULL);
}

void lap_k_fail(lap_graph *k, lap_ref cond, const char *message)
{
    lap_attr a = lap_attr_make_name(LAP_ATTR_MESSAGE, lap_intern(lap_graph_ctx(k), message));
    emit_op(k, LAP_OP_FAIL, 1, &cond, 1, &a);
}

void lap_k_mma(lap_graph *k, const lap_k_mma_args *m)
{
    const lap_ref args[] = {m->acc, m->acc0, m->ld, m->a,  m->a0, m->sm,
                            m->sk,  m->m,    m->b,  m->b0, m->sb, m->depth};
    const lap_attr attrs[] = {
        lap_attr_make_i(LAP_ATTR_ROWS, m->rows),
        lap_attr_make_i(LAP_ATTR_COLS, m->cols),
        lap_attr_make_i(LAP_ATTR_INIT, m->init),
        lap_attr_make_i(LAP_ATTR_DOT, true),
    };
    emit_op(k, LAP_OP_MMA, 12, args, m->dot ? 4 : 3, attrs);
}

void lap_k_turn(lap_graph *k, const lap_k_turn_args *t)
{
    const lap_ref args[] = {t->to, t->to0, t->ld, t->from, t->from0, t->stride, t->rows, t->cols};
    emit_op(k, LAP_OP_TURN, 8, args, 0, NULL);
}

void lap_k_sort(lap_graph *k, lap_ref keys, lap_ref keys0, lap_ref n, lap_ref out, lap_ref out0,
                lap_ref count, bool smallest)
{
    const lap_ref args[] = {keys, keys0, n, out, out0, count};
    lap_attr a = lap_attr_make_i(LAP_ATTR_SMALLEST, smallest);
    emit_op(k, LAP_OP_SORT, 6, args, 1, &a);
}

/* The operand that an effect stores to; none: it stores nothing. */
static lap_ref stored_to(const lap_node *n)
{
    return n->op == LAP_OP_STORE || n->op == LAP_OP_TURN || n->op == LAP_OP_MMA ? n->args[0]
           : n->op == LAP_OP_SORT                                              ? n->args[3]
                                                                               : LAP_NONE;
}

bool lap_kernel_writes(const lap_graph *kernel, uint32_t slot)
{
    for (uint32_t i = 1; i <= lap_graph_n_nodes(kernel); i++) {
        lap_ref to = stored_to(lap_node_at(kernel, (lap_ref){i}));
        const lap_node *b = lap_ref_some(to) ? lap_node_at(kernel, to) : NULL;
        if (b != NULL && b->op == LAP_OP_BUFFER && lap_attr_i(b, LAP_ATTR_SPACE, 0) == LAP_SPACE_GLOBAL &&
            lap_attr_i(b, LAP_ATTR_SLOT, -1) == (int64_t)slot) {
            return true;
        }
    }
    return false;
}

/* ---- programs ------------------------------------------------------------------------------- */

lap_dtype lap_program_computed_in(const lap_program *p)
{
    for (uint32_t i = 0; i < p->n_kernels; i++) {
        const lap_graph *k = p->kernels[i].graph;
        for (uint32_t ix = 1; ix <= lap_graph_n_nodes(k); ix++) {
            const lap_node *n = lap_node_at(k, (lap_ref){ix});
            if (n->op == LAP_OP_MMA && lap_attr_i(n, LAP_ATTR_DOT, 0) != 0) {
                return LAP_BF16;
            }
        }
    }
    return LAP_F32;
}
