/* SPDX-License-Identifier: Apache-2.0
 * eval.c - the evaluator's driver: values on demand, in the order of ids, freed after the last read.
 *
 * Only what outputs, requirements and regions ask for is evaluated, so an arm of a branch that is not
 * taken costs nothing and cannot fail. Values of a region die when one run of it ends; values that
 * a region reads from outside live as long as the region that owns them. */
#include "ir/eval.h"

#include <stdlib.h>
#include <string.h>

#include "ir/eval_state.h"

/* ---- reads */

static void count_read(lap_eval_run *run, lap_ref ref, lap_region_id reader)
{
    lap_eval_slot *slot = &run->slots[ref.ix];
    slot->readers++;
    if (lap_node_at(run->g, ref)->region.ix != reader.ix) {
        slot->is_kept = true;
    }
}

static void keep(lap_eval_run *run, lap_ref ref)
{
    if (lap_ref_some(ref)) {
        run->slots[ref.ix].is_kept = true;
        run->slots[ref.ix].readers++;
    }
}

static void count_reads(lap_eval_run *run)
{
    lap_graph *g = run->g;
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        const lap_node *n = lap_node_at(g, (lap_ref){i});
        for (uint32_t a = 0; a < n->n_args; a++) {
            count_read(run, n->args[a], n->region);
        }
        for (uint32_t a = 0; a < n->n_axes; a++) {
            keep(run, n->axes[a].count);
        }
    }
    for (uint32_t r = 0; r < lap_graph_n_regions(g); r++) {
        const lap_region *region = lap_region_at(g, (lap_region_id){r});
        for (uint32_t i = 0; i < region->n_results; i++) {
            keep(run, region->results[i]);
        }
    }
    for (uint32_t i = 0; i < run->n_outputs; i++) {
        const lap_output *o = lap_eval_output_at(run, i);
        keep(run, o->value);
        for (uint32_t c = 0; c < o->n_crops; c++) {
            keep(run, o->crop_counts[c]);
        }
    }
}

static bool is_product(const lap_node *n)
{
    return n->op == LAP_OP_MAP && lap_attr_i(n, LAP_ATTR_FN, -1) == LAP_FN_MUL && n->dtype == LAP_F32;
}

/* Products that only a sum reads, directly or through products, are multiplied out by the sum. */
static void find_deferred(lap_eval_run *run)
{
    for (uint32_t i = lap_graph_n_nodes(run->g); i > 0; i--) {
        const lap_node *n = lap_node_at(run->g, (lap_ref){i});
        bool is_sum = n->op == LAP_OP_REDUCE && lap_attr_i(n, LAP_ATTR_RED, -1) == LAP_RED_SUM;
        if (!is_sum && !run->slots[i].is_deferred) {
            continue;
        }
        for (uint32_t a = 0; a < n->n_args; a++) {
            lap_eval_slot *slot = &run->slots[n->args[a].ix];
            if (slot->readers == 1 && !slot->is_kept && is_product(lap_node_at(run->g, n->args[a]))) {
                slot->is_deferred = true;
            }
        }
    }
}

/* ---- slots */

const lap_view *lap_eval_arg(lap_eval_run *run, const lap_node *node, uint32_t i)
{
    return run->slots[node->args[i].ix].view;
}

bool lap_eval_give(lap_eval_run *run, lap_ref ref, const lap_view *take_view)
{
    lap_eval_slot *slot = &run->slots[ref.ix];
    if (!slot->view) {
        slot->view = lap_arena_alloc(run->ctx->arena, sizeof *slot->view);
    }
    *slot->view = *take_view;
    slot->status = LAP_EVAL_DONE;
    slot->left = slot->readers;
    return true;
}

bool lap_eval_give_result(lap_eval_run *run, lap_ref ref, lap_name which, const lap_view *take_view)
{
    lap_eval_slot *slot = &run->slots[ref.ix];
    for (uint32_t i = 0; i < slot->n_results; i++) {
        if (lap_name_same(slot->results[i].name, which)) {
            slot->results[i].view = *take_view;
            return true;
        }
    }
    lap_view unread = *take_view;
    lap_view_drop(run, &unread);
    return true;
}

bool lap_eval_is_asked(lap_eval_run *run, lap_ref multi, lap_name which)
{
    const lap_eval_slot *slot = &run->slots[multi.ix];
    for (uint32_t i = 0; i < slot->n_results; i++) {
        if (lap_name_same(slot->results[i].name, which)) {
            return true;
        }
    }
    return false;
}

/* Room for each result that somebody reads. */
static void find_results(lap_eval_run *run)
{
    for (uint32_t i = 1; i <= lap_graph_n_nodes(run->g); i++) {
        const lap_node *n = lap_node_at(run->g, (lap_ref){i});
        if (n->op != LAP_OP_RESULT || lap_eval_is_asked(run, n->args[0], lap_attr_name(n, LAP_ATTR_WHICH))) {
            continue;
        }
        lap_eval_slot *slot = &run->slots[n->args[0].ix];
        lap_named_view *more = lap_arena_array(run->ctx->arena, slot->n_results + 1, sizeof *more);
        for (uint32_t k = 0; k < slot->n_results; k++) {
            more[k] = slot->results[k];
        }
        more[slot->n_results++].name = lap_attr_name(n, LAP_ATTR_WHICH);
        slot->results = more;
    }
}

static void clear(lap_eval_run *run, lap_ref ref)
{
    lap_eval_slot *slot = &run->slots[ref.ix];
    if (slot->view && slot->view->buffer) {
        lap_view_drop(run, slot->view);
    }
    for (uint32_t i = 0; i < slot->n_results; i++) {
        if (slot->results[i].view.buffer) {
            lap_view_drop(run, &slot->results[i].view);
        }
    }
    slot->status = LAP_EVAL_NOT_YET;
}

/* Frees operands after their last read; those of a deferred product are read by its sum. */
static void read_once(lap_eval_run *run, lap_ref reader)
{
    const lap_node *n = lap_node_at(run->g, reader);
    for (uint32_t a = 0; a < n->n_args; a++) {
        lap_eval_slot *slot = &run->slots[n->args[a].ix];
        if (slot->status == LAP_EVAL_DEFERRED) {
            slot->status = LAP_EVAL_DONE;
            read_once(run, n->args[a]);
        } else if (!slot->is_kept && slot->left > 0 && --slot->left == 0) {
            if (slot->view && slot->view->buffer) {
                lap_view_drop(run, slot->view);
            }
            for (uint32_t i = 0; i < slot->n_results; i++) {
                if (slot->results[i].view.buffer) {
                    lap_view_drop(run, &slot->results[i].view);
                }
            }
        }
    }
}

/* ---- nodes */

static bool eval_same(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    lap_view out;
    return lap_view_align(run, lap_eval_arg(run, node, 0), node, &out) && lap_eval_give(run, ref, &out);
}

static bool eval_rename(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    lap_view source = *lap_eval_arg(run, node, 0);
    lap_names from = lap_attr_names(node, LAP_ATTR_FROM), to = lap_attr_names(node, LAP_ATTR_TO);
    for (uint32_t a = 0; a < source.n_axes; a++) {
        for (uint32_t i = 0; i < from.n; i++) {
            if (lap_name_same(source.name[a], from.at[i])) {
                source.name[a] = to.at[i];
                break;
            }
        }
    }
    lap_view out;
    return lap_view_align(run, &source, node, &out) && lap_eval_give(run, ref, &out);
}

static bool eval_result(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    const lap_eval_slot *multi = &run->slots[node->args[0].ix];
    lap_name which = lap_attr_name(node, LAP_ATTR_WHICH);
    for (uint32_t i = 0; i < multi->n_results; i++) {
        if (lap_name_same(multi->results[i].name, which) && multi->results[i].view.buffer) {
            lap_view kind, out;
            lap_dtype want = lap_dtype_compute(node->dtype);
            if (!lap_view_convert(run, &multi->results[i].view, want, node->loc, &kind)) {
                return false;
            }
            bool ok = lap_view_align(run, &kind, node, &out);
            lap_view_drop(run, &kind);
            return ok && lap_eval_give(run, ref, &out);
        }
    }
    return lap_error(run->ctx, node->loc, "there is no result '%s'", lap_text(run->ctx, which));
}

static bool eval_require(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    (void)ref;
    const lap_node *source = lap_node_at(run->g, node->args[0]);
    const lap_view *x = lap_eval_arg(run, node, 0);
    lap_view absent;
    if (!lap_eval_absent(run, source->n_axes, source->axes, NULL, node->loc, &absent)) {
        return false;
    }
    bool ok = lap_eval_no_poison(run, x, &absent), holds = true;
    const uint8_t *gone = absent.buffer ? absent.buffer->data : NULL;
    lap_space_axes space;
    lap_space_of(&space, x);
    lap_walk walk;
    for (lap_walk_points(&walk, &space, 2, (const lap_view *[]){x, &absent}); !walk.is_over;
         lap_walk_next(&walk)) {
        holds = holds && (lap_view_double(x, walk.at[0]) != 0 || (gone && gone[walk.at[1]]));
    }
    lap_view_drop(run, &absent);
    run->slots[ref.ix].status = LAP_EVAL_DONE;
    return ok && (holds || lap_error(run->ctx, node->loc, "%s",
                                     lap_text(run->ctx, lap_attr_name(node, LAP_ATTR_MESSAGE))));
}

static lap_eval_rule *rule_of(lap_op op)
{
    static lap_eval_rule *const rules[LAP_N_OPS] = {
        [LAP_OP_INPUT] = lap_eval_leaf,      [LAP_OP_WEIGHT] = lap_eval_leaf,
        [LAP_OP_CONST] = lap_eval_leaf,      [LAP_OP_DIM] = lap_eval_leaf,
        [LAP_OP_FULL] = lap_eval_leaf,       [LAP_OP_INDEX] = lap_eval_leaf,
        [LAP_OP_MAP] = lap_eval_map,         [LAP_OP_REDUCE] = lap_eval_reduce,
        [LAP_OP_AT] = lap_eval_at,           [LAP_OP_SCATTER] = lap_eval_scatter,
        [LAP_OP_ATTEND] = lap_eval_attend,   [LAP_OP_TOPK] = lap_eval_topk,
        [LAP_OP_SCAN] = lap_eval_scan,       [LAP_OP_LOOP] = lap_eval_loop,
        [LAP_OP_BRANCH] = lap_eval_branch,   [LAP_OP_CALL] = lap_eval_call,
        [LAP_OP_FOREIGN] = lap_eval_foreign, [LAP_OP_CUSTOM] = eval_same,
        [LAP_OP_RENAME] = eval_rename,       [LAP_OP_RESULT] = eval_result,
        [LAP_OP_REQUIRE] = eval_require,
    };
    return rules[op];
}

static bool eval_node(lap_eval_run *run, lap_ref ref)
{
    lap_eval_slot *slot = &run->slots[ref.ix];
    const lap_node *node = lap_node_at(run->g, ref);
    if (slot->is_deferred) {
        slot->status = LAP_EVAL_DEFERRED;
        return true;
    }
    lap_eval_rule *rule = rule_of(node->op);
    if (!rule) {
        return lap_error(run->ctx, node->loc, "'%s' has no value here", lap_op_text(node->op));
    }
    if (!rule(run, ref, node)) {
        return false;
    }
    slot->status = LAP_EVAL_DONE;
    slot->left = slot->readers;
    read_once(run, ref);
    return true;
}

/* ---- demand */

static void push(lap_eval_run *run, lap_ref ref)
{
    if (!lap_ref_some(ref) || run->slots[ref.ix].status != LAP_EVAL_NOT_YET || run->is_pending[ref.ix]) {
        return;
    }
    lap_arena_grow(run->ctx->arena, &run->pending, run->n_pending, 1, &run->pending_capacity,
                   sizeof *run->pending);
    run->pending[run->n_pending++] = ref;
    run->is_pending[ref.ix] = 1;
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = ((const lap_ref *)a)->ix, y = ((const lap_ref *)b)->ix;
    return (x > y) - (x < y);
}

bool lap_eval_demand(lap_eval_run *run, uint32_t n, const lap_ref *refs)
{
    size_t base = run->n_pending;
    for (uint32_t i = 0; i < n; i++) {
        push(run, refs[i]);
    }
    for (size_t i = base; i < run->n_pending; i++) {
        const lap_node *node = lap_node_at(run->g, run->pending[i]);
        for (uint32_t a = 0; a < node->n_args; a++) {
            push(run, node->args[a]);
            const lap_node *arg = lap_node_at(run->g, node->args[a]);
            for (uint32_t x = 0; x < arg->n_axes; x++) {
                push(run, arg->axes[x].count);
            }
        }
        for (uint32_t a = 0; a < node->n_axes; a++) {
            push(run, node->axes[a].count);
        }
    }
    size_t count = run->n_pending - base;
    if (count == 0) {
        return true;
    }
    lap_ref *list = malloc(count * sizeof *list);
    if (!list) {
        return lap_error(run->ctx, (lap_loc){0}, "out of memory");
    }
    memcpy(list, run->pending + base, count * sizeof *list);
    qsort(list, count, sizeof *list, by_id);
    for (size_t i = 0; i < count; i++) {
        run->is_pending[list[i].ix] = 0;
    }
    run->n_pending = base;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        ok = run->slots[list[i].ix].status != LAP_EVAL_NOT_YET || eval_node(run, list[i]);
    }
    free(list);
    return ok;
}

/* Requirements of a region, whose conditions nobody else asks for. */
static bool demand_effects(lap_eval_run *run, lap_region_id id)
{
    uint32_t n;
    const lap_ref *nodes = lap_region_nodes(run->g, id, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (lap_node_at(run->g, nodes[i])->op == LAP_OP_REQUIRE && !lap_eval_demand(run, 1, &nodes[i])) {
            return false;
        }
    }
    return true;
}

static void clear_region(lap_eval_run *run, lap_region_id id)
{
    const lap_region *region = lap_region_at(run->g, id);
    for (uint32_t i = 0; i < region->n_params; i++) {
        clear(run, region->params[i]);
    }
    uint32_t n;
    const lap_ref *nodes = lap_region_nodes(run->g, id, &n);
    for (uint32_t i = 0; i < n; i++) {
        clear(run, nodes[i]);
    }
}

bool lap_eval_region(lap_eval_run *run, lap_region_id id, lap_view *take_params, lap_view *out_results)
{
    const lap_region *region = lap_region_at(run->g, id);
    for (uint32_t i = 0; i < region->n_results; i++) {
        out_results[i].buffer = NULL;
    }
    bool ok = true;
    for (uint32_t i = 0; i < region->n_params; i++) {
        const lap_node *param = lap_node_at(run->g, region->params[i]);
        lap_view kind = {0}, view;
        ok = ok && lap_view_convert(run, &take_params[i], lap_dtype_compute(param->dtype), param->loc, &kind);
        ok = ok && lap_view_align(run, &kind, param, &view) && lap_eval_give(run, region->params[i], &view);
        lap_view_drop(run, &kind);
        lap_view_drop(run, &take_params[i]);
    }
    ok = ok && demand_effects(run, id) && lap_eval_demand(run, region->n_results, region->results);
    for (uint32_t i = 0; ok && i < region->n_results; i++) {
        out_results[i] = lap_view_keep(run->slots[region->results[i].ix].view);
    }
    clear_region(run, id);
    return ok;
}

/* ---- runs */

static void free_buffers(void *user)
{
    lap_eval_run *run = user;
    while (run->buffers) {
        run->buffers->refs = 1;
        lap_eval_release(run, run->buffers);
    }
}

/* What the graph gives, and what it requires; or the values of `only`. */
static bool evaluate(lap_graph *g, uint32_t n_only, const lap_output *only, const lap_foreign_table *foreign,
                     const lap_eval_io *inputs, const lap_eval_io *weights, lap_eval_result *out)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_eval_run *run = lap_arena_alloc(ctx->arena, sizeof *run);
    uint32_t n = lap_graph_n_nodes(g) + 1;
    *run = (lap_eval_run){.g = g, .ctx = ctx, .inputs = inputs, .weights = weights, .foreign = foreign};
    run->only = only;
    run->n_outputs = only != NULL ? n_only : lap_graph_n_outputs(g);
    run->slots = lap_arena_array(ctx->arena, n, sizeof *run->slots);
    run->is_pending = lap_arena_array(ctx->arena, n, 1);
    lap_arena_cleanup(ctx->arena, free_buffers, run);
    *out = (lap_eval_result){0};
    count_reads(run);
    find_deferred(run);
    find_results(run);
    bool ok = lap_eval_bind(run) && (only != NULL || demand_effects(run, (lap_region_id){0})) &&
              lap_eval_outputs(run, out);
    free_buffers(run);
    return ok;
}

bool lap_eval_with(lap_graph *g, const lap_foreign_table *foreign, const lap_eval_io *inputs,
                   const lap_eval_io *weights, lap_eval_result *out)
{
    return evaluate(g, 0, NULL, foreign, inputs, weights, out);
}

bool lap_eval_values(lap_graph *g, uint32_t n, const lap_output *values, const lap_foreign_table *foreign,
                     const lap_eval_io *inputs, const lap_eval_io *weights, lap_eval_result *out)
{
    static const lap_output none;
    return evaluate(g, n, n > 0 ? values : &none, foreign, inputs, weights, out);
}

bool lap_eval(lap_graph *g, const lap_eval_io *inputs, const lap_eval_io *weights, lap_eval_result *out)
{
    return lap_eval_with(g, NULL, inputs, weights, out);
}
