/* SPDX-License-Identifier: Apache-2.0
 * eval_foreign.c - operations of C libraries: operands as dense tensors, then their reference function. */
#include "ir/eval_state.h"
#include "ir/foreign.h"

typedef struct foreign {
    const lap_node *node;
    lap_foreign_tensor in[LAP_FOREIGN_MAX_OPERANDS], out[LAP_FOREIGN_MAX_OPERANDS];
    lap_ref result[LAP_FOREIGN_MAX_OPERANDS]; /* nodes that read them */
} foreign;

static bool report(lap_eval_run *run, const foreign *f, const lap_fault *fault)
{
    return lap_error(run->ctx, f->node->loc, "%s", fault->text);
}

/* Memory and extents of a tensor over these axes. */
static bool make_tensor(lap_eval_run *run, const foreign *f, lap_dtype dtype, uint32_t n,
                        const int64_t *sizes, lap_foreign_tensor *out, lap_tensor *out_plain)
{
    if (n > LAP_FOREIGN_MAX_RANK) {
        return lap_error(run->ctx, f->node->loc, "a foreign operation takes tensors of at most %d axes",
                         LAP_FOREIGN_MAX_RANK);
    }
    lap_tensor t = {.dtype = lap_foreign_storage(dtype), .rank = n};
    *out = (lap_foreign_tensor){.dtype = t.dtype, .rank = n};
    for (uint32_t a = 0; a < n; a++) {
        t.shape[a] = out->dims[a] = sizes[a];
    }
    size_t count;
    if (!lap_tensor_count(&t, &count) || !lap_dtype_bytes(t.dtype, count, &t.n_bytes) ||
        t.n_bytes > LAP_EVAL_MAX_BYTES) {
        return lap_error(run->ctx, f->node->loc, "a tensor of the foreign operation is too large");
    }
    char *bytes = lap_arena_alloc(run->ctx->arena, t.n_bytes + 64);
    out->data = t.data = bytes + (64 - (uintptr_t)bytes % 64);
    *out_plain = t;
    return true;
}

static bool fill(lap_eval_run *run, const lap_view *x, const lap_view *absent, const lap_space_axes *space,
                 lap_tensor *to)
{
    const uint8_t *gone = absent->buffer ? absent->buffer->data : NULL;
    size_t i = 0;
    lap_walk walk;
    lap_walk_points(&walk, space, 2, (const lap_view *[]){x, absent});
    for (; !walk.is_over; lap_walk_next(&walk), i++) {
        bool is_absent = gone && gone[walk.at[1]];
        uint8_t poison = lap_view_poison(x, walk.at[0]);
        if (poison && !is_absent) {
            return lap_eval_poisoned(run, poison);
        }
        if (x->kind == LAP_F32) {
            lap_tensor_set(to, i, is_absent ? 0 : lap_view_double(x, walk.at[0]));
        } else {
            lap_tensor_set_int(to, i, is_absent ? 0 : lap_view_int(x, walk.at[0]));
        }
    }
    return true;
}

static bool take_operand(lap_eval_run *run, foreign *f, uint32_t i)
{
    const lap_node *node = lap_node_at(run->g, f->node->args[i]);
    const lap_view *x = lap_eval_arg(run, f->node, i);
    lap_names order = lap_foreign_order(run->g, f->node, i);
    lap_space_axes space = {0};
    for (uint32_t a = 0; a < order.n; a++) {
        lap_space_add(&space, order.at[a], x->size[lap_view_find(x, order.at[a])]);
    }
    lap_tensor to;
    lap_view absent;
    if (!make_tensor(run, f, lap_dtype_compute(node->dtype), space.n, space.size, &f->in[i], &to) ||
        !lap_eval_absent(run, node->n_axes, node->axes, NULL, f->node->loc, &absent)) {
        return false;
    }
    bool ok = fill(run, x, &absent, &space, &to);
    lap_view_drop(run, &absent);
    return ok;
}

static bool give(lap_eval_run *run, lap_ref ref, lap_name which, const lap_node *result, const lap_tensor *t)
{
    lap_view out;
    if (!lap_view_of_node(run, result, &out)) {
        return false;
    }
    for (size_t i = 0; i < out.buffer->n; i++) {
        if (out.kind == LAP_F32) {
            ((double *)out.buffer->data)[i] = lap_tensor_get(t, i);
        } else if (out.kind == LAP_I64) {
            ((int64_t *)out.buffer->data)[i] = lap_tensor_get_int(t, i);
        } else {
            ((uint8_t *)out.buffer->data)[i] = lap_tensor_get_int(t, i) != 0;
        }
    }
    return lap_eval_give_result(run, ref, which, &out);
}

static bool make_result(lap_eval_run *run, foreign *f, uint32_t i, lap_tensor *out)
{
    int64_t sizes[LAP_EVAL_AXES];
    f->out[i] = (lap_foreign_tensor){.dtype = LAP_FOREIGN_UNREAD};
    if (!lap_ref_some(f->result[i])) {
        return true;
    }
    const lap_node *result = lap_node_at(run->g, f->result[i]);
    for (uint32_t a = 0; a < result->n_axes && a < LAP_EVAL_AXES; a++) {
        if (!lap_eval_size(run, result->axes[a].size, result->loc, &sizes[a])) {
            return false;
        }
    }
    return make_tensor(run, f, result->dtype, result->n_axes, sizes, &f->out[i], out);
}

bool lap_eval_foreign(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    lap_fault fault = {0};
    lap_names outs = lap_attr_names(node, LAP_ATTR_OUTS);
    foreign *f = lap_arena_alloc(run->ctx->arena, sizeof *f);
    lap_tensor *results = lap_arena_array(run->ctx->arena, (size_t)outs.n + 1, sizeof *results);
    *f = (foreign){.node = node};
    const lap_foreign_op *op =
        lap_foreign_find(run->foreign, lap_text(run->ctx, lap_attr_name(node, LAP_ATTR_NAME)), node->n_args,
                         outs.n, NULL, &fault);
    if (!op) {
        return report(run, f, &fault);
    }
    bool ok = lap_foreign_results(run->g, ref, f->result);
    for (uint32_t i = 0; ok && i < node->n_args; i++) {
        ok = take_operand(run, f, i);
    }
    for (uint32_t i = 0; ok && i < outs.n; i++) {
        ok = make_result(run, f, i, &results[i]);
    }
    if (!ok) {
        return false;
    }
    if (!lap_foreign_call(op, op->reference, f->in, f->out, NULL, &fault)) {
        return report(run, f, &fault);
    }
    for (uint32_t i = 0; ok && i < outs.n; i++) {
        ok = !lap_ref_some(f->result[i]) ||
             give(run, ref, outs.at[i], lap_node_at(run->g, f->result[i]), &results[i]);
    }
    return ok;
}
