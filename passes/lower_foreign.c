/* SPDX-License-Identifier: Apache-2.0
 * lower_foreign.c - operations of C libraries: dense row-major operands in, results out.
 *
 * An operand that already stands in memory as the operation wants it is handed over; any other is
 * copied. Results stand in the order of their declared types, never in an output's own memory, whose
 * layout may differ. */
#include "passes/lower_foreign.h"

#include "ir/foreign.h"
#include "runtime/foreign_table.h"

/* Stored whole, in this order, by its compute type. */
static bool stands(lap_lowering *l, lap_ref r, lap_names order)
{
    const lap_node *n = lap_node_at(l->g, r);
    const lap_plan_node *p = lap_plan_of(l, r);
    if (p->kind == LAP_STORE_INLINE || p->kind == LAP_STORE_ALIAS || n->op == LAP_OP_PARAM ||
        lap_node_is_ragged(n) || p->n_order != order.n ||
        l->buffers[p->buffer].elem != lap_dtype_compute(n->dtype)) {
        return false;
    }
    for (uint32_t i = 0; i < order.n; i++) {
        if (!lap_name_same(p->order[i], order.at[i])) {
            return false;
        }
    }
    return true;
}

static bool fits(lap_lowering *l, const lap_node *foreign, uint32_t rank)
{
    l->failed = l->failed || rank > LAP_FOREIGN_MAX_RANK;
    return rank <= LAP_FOREIGN_MAX_RANK ||
           lap_error(l->ctx, foreign->loc, "a foreign operation takes tensors of at most %d axes",
                     LAP_FOREIGN_MAX_RANK);
}

static lap_foreign_operand operand(lap_lowering *l, const lap_node *foreign, uint32_t i)
{
    lap_ref r = foreign->args[i];
    const lap_node *n = lap_node_at(l->g, r);
    lap_names order = lap_foreign_order(l->g, foreign, i);
    lap_dest d = lap_dest_make(l, r, 0, order.n, order.at);
    d.buffer = lap_plan_of(l, r)->buffer;
    if (fits(l, foreign, order.n) && !stands(l, r, order)) {
        d.buffer = lap_program_buffer(l, (lap_buffer){.kind = LAP_BUF_TEMP,
                                                      .elem = lap_dtype_compute(n->dtype),
                                                      .count = lap_dims_product(l->ctx, d.n, d.size)});
        d.zero_absent = true;
        lap_lower_map(l, r, &d, false);
    }
    return (lap_foreign_operand){.buffer = (int32_t)d.buffer, .rank = order.n, .shape = d.size};
}

/* Where `result`, whose type all live nodes of that name share, is written. */
static void place_result(lap_lowering *l, lap_ref foreign, lap_ref result, lap_foreign_operand *out)
{
    const lap_node *n = lap_node_at(l->g, result);
    lap_buffer_kind kind = lap_plan_of(l, result)->is_static ? LAP_BUF_PACKED : LAP_BUF_TEMP;
    lap_plan_place(l, result, n->n_axes, lap_node_names(l->ctx, n).at, kind, 0);
    const lap_dest place = lap_dest_of(l, result);
    uint32_t n_live;
    const lap_ref *live = lap_results_of(l, foreign, &n_live);
    for (uint32_t i = 0; i < n_live; i++) {
        lap_name which = lap_attr_name(lap_node_at(l->g, live[i]), LAP_ATTR_WHICH);
        if (lap_name_same(which, lap_attr_name(n, LAP_ATTR_WHICH))) {
            lap_plan_put(l, live[i], &place);
        }
    }
    *out = (lap_foreign_operand){.buffer = (int32_t)place.buffer, .rank = place.n, .shape = place.size};
}

void lap_lower_foreign(lap_lowering *l, lap_ref foreign)
{
    const lap_node *n = lap_node_at(l->g, foreign);
    lap_names outs = lap_attr_names(n, LAP_ATTR_OUTS);
    lap_ref *results = lap_arena_array(l->ctx->arena, (size_t)outs.n + 1, sizeof *results);
    if (!lap_foreign_results(l->g, foreign, results)) {
        l->failed = true;
        return;
    }
    lap_foreign_operand *all = lap_arena_array(l->ctx->arena, (size_t)n->n_args + outs.n + 1, sizeof *all);
    for (uint32_t i = 0; i < n->n_args; i++) {
        all[i] = operand(l, n, i);
    }
    for (uint32_t i = 0; i < outs.n; i++) {
        all[n->n_args + i].buffer = -1;
        if (lap_ref_some(results[i]) && fits(l, n, lap_node_at(l->g, results[i])->n_axes)) {
            place_result(l, foreign, results[i], &all[n->n_args + i]);
        }
    }
    lap_foreign_use *use = lap_arena_alloc(l->ctx->arena, sizeof *use);
    *use = (lap_foreign_use){.name = lap_attr_name(n, LAP_ATTR_NAME),
                             .loc = n->loc,
                             .n_inputs = n->n_args,
                             .n_outputs = outs.n,
                             .operands = all};
    lap_program_step(
        l, (lap_step){
               .kind = LAP_STEP_FOREIGN, .on_load = l->is_static, .counter = -1, .test = -1, .foreign = use});
}
