/* SPDX-License-Identifier: Apache-2.0
 * lower.c - the driver: places what is stored, makes the kernels in order, collects the program. */
#include "passes/lower.h"

#include <string.h>

#include "passes/lower_foreign.h"
#include "passes/scan.h"

void lap_plan_put(lap_lowering *l, lap_ref node, const lap_dest *d)
{
    lap_plan_node *p = lap_plan_of(l, node);
    p->buffer = d->buffer;
    p->n_order = d->n;
    p->order = d->order;
    p->size = d->size;
    p->stride = d->stride;
}

void lap_plan_place(lap_lowering *l, lap_ref node, uint32_t n, const lap_name *order, lap_buffer_kind kind,
                    uint32_t leaf)
{
    lap_dest d = lap_dest_make(l, node, 0, n, order);
    lap_dim count = lap_dims_product(l->ctx, d.n, d.size);
    lap_dtype elem = lap_node_at(l->g, node)->dtype;
    if (elem == LAP_I4 && kind != LAP_BUF_INPUT && kind != LAP_BUF_WEIGHT) {
        elem = LAP_I8; /* packed pairs would be written by two iterations */
    }
    d.buffer = lap_program_buffer(l, (lap_buffer){.kind = kind, .elem = elem, .count = count, .leaf = leaf});
    lap_plan_put(l, node, &d);
}

uint32_t lap_layout_order(lap_lowering *l, lap_layout layout, const lap_name **out)
{
    uint32_t n = 0, total = 0;
    for (uint32_t i = 0; i < layout.n; i++) {
        total += layout.groups[i].n;
    }
    lap_name *names = lap_arena_array(l->ctx->arena, total + 1, sizeof *names);
    for (uint32_t i = 0; i < layout.n; i++) {
        for (uint32_t j = 0; j < layout.groups[i].n; j++) {
            names[n++] = layout.groups[i].at[j];
        }
    }
    *out = names;
    return n;
}

lap_dim *lap_layout_shape(lap_lowering *l, lap_layout layout, const lap_node *n)
{
    lap_dim *shape = lap_arena_array(l->ctx->arena, layout.n + 1, sizeof *shape);
    for (uint32_t i = 0; i < layout.n; i++) {
        shape[i] = lap_dim_const(l->ctx, 1);
        for (uint32_t j = 0; j < layout.groups[i].n; j++) {
            shape[i] = lap_dim_mul(l->ctx, shape[i], lap_node_axis(n, layout.groups[i].at[j])->size);
        }
    }
    return shape;
}

static void place_leaf(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    lap_layout layout = lap_node_attr(n, LAP_ATTR_LAYOUT)->layout;
    const lap_name *order;
    uint32_t rank = lap_layout_order(l, layout, &order);
    bool is_input = n->op == LAP_OP_INPUT;
    lap_leaf **list = is_input ? &l->inputs : &l->weights;
    uint32_t number = is_input ? l->n_inputs++ : l->n_weights++;
    (*list)[number] = (lap_leaf){.name = lap_attr_name(n, LAP_ATTR_NAME),
                                 .dtype = n->dtype,
                                 .rank = layout.n,
                                 .shape = lap_layout_shape(l, layout, n),
                                 .loc = n->loc,
                                 .is_optional = lap_attr_i(n, LAP_ATTR_OPTIONAL, 0) != 0};
    lap_plan_place(l, r, rank, order, is_input ? LAP_BUF_INPUT : LAP_BUF_WEIGHT, number);
}

/* The output that can take this node's buffer as its own, or -1. */
static int64_t output_of(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    for (uint32_t i = 0; i < lap_graph_n_outputs(l->g); i++) {
        const lap_output *o = lap_graph_output(l->g, i);
        if (lap_ref_same(o->value, r) && n->region.ix == 0 && !lap_node_is_ragged(n) && o->n_crops == 0 &&
            !lap_plan_of(l, r)->is_static && n->dtype != LAP_I4) {
            return i;
        }
    }
    return -1;
}

/* Memory order: an output's layout, else the axes as they come with the wanted ones fastest. */
void lap_place_node(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    lap_plan_node *p = lap_plan_of(l, r);
    int64_t output = output_of(l, r);
    if (output >= 0) {
        const lap_name *order;
        uint32_t rank = lap_layout_order(l, lap_graph_output(l->g, (uint32_t)output)->layout, &order);
        lap_plan_place(l, r, rank, order, LAP_BUF_OUTPUT, (uint32_t)output);
        return;
    }
    lap_name *order = lap_arena_array(l->ctx->arena, n->n_axes + 1, sizeof *order);
    uint32_t count = 0;
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (!lap_names_has(p->inner, n->axes[i].name)) {
            order[count++] = n->axes[i].name;
        }
    }
    for (uint32_t i = 0; i < p->inner.n; i++) {
        order[count++] = p->inner.at[i];
    }
    lap_plan_place(l, r, count, order, p->is_static ? LAP_BUF_PACKED : LAP_BUF_TEMP, 0);
}

const lap_ref *lap_results_of(lap_lowering *l, lap_ref multi, uint32_t *out_n)
{
    uint32_t n = 0, total = lap_graph_n_nodes(l->g);
    lap_ref *list = NULL;
    size_t capacity = 0;
    for (uint32_t i = multi.ix + 1; i <= total; i++) {
        const lap_node *x = lap_node_at(l->g, (lap_ref){i});
        if (x->op == LAP_OP_RESULT && lap_ref_same(x->args[0], multi) &&
            lap_plan_of(l, (lap_ref){i})->is_live) {
            lap_arena_grow(l->ctx->arena, &list, n, 1, &capacity, sizeof *list);
            list[n++] = (lap_ref){i};
        }
    }
    *out_n = n;
    return list;
}

lap_ref lap_result_named(lap_lowering *l, lap_ref multi, const char *which)
{
    uint32_t n;
    const lap_ref *list = lap_results_of(l, multi, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(lap_text(l->ctx, lap_attr_name(lap_node_at(l->g, list[i]), LAP_ATTR_WHICH)), which) == 0) {
            return list[i];
        }
    }
    return LAP_NONE;
}

/* What one step emits stands together in memory, unless a reader wants it otherwise. */
static void keep_step_together(lap_lowering *l, lap_ref result, lap_name along)
{
    const lap_node *n = lap_node_at(l->g, result);
    lap_plan_node *p = lap_plan_of(l, result);
    lap_name *inner = lap_arena_array(l->ctx->arena, n->n_axes + 1, sizeof *inner);
    uint32_t count = 0;
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (!lap_name_same(n->axes[i].name, along)) {
            inner[count++] = n->axes[i].name;
        }
    }
    p->inner = p->inner.n == 0 ? (lap_names){count, inner} : p->inner;
}

static void place_results(lap_lowering *l, lap_ref multi)
{
    const lap_node *m = lap_node_at(l->g, multi);
    uint32_t n;
    const lap_ref *list = lap_results_of(l, multi, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (m->op == LAP_OP_SCAN && lap_plan_of(l, multi)->scan == NULL) {
            lap_name along = lap_attr_name(m, LAP_ATTR_ALONG);
            if (lap_node_axis(lap_node_at(l->g, list[i]), along) != NULL && lap_place_in_output(l, list[i])) {
                continue;
            }
            keep_step_together(l, list[i], along);
        }
        lap_place_node(l, list[i]);
    }
}

static void lower_multi(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    switch (n->op) {
    case LAP_OP_FOREIGN:
        lap_lower_foreign(l, r);
        break;
    case LAP_OP_ATTEND:
        lap_lower_attend(l, r);
        break;
    case LAP_OP_TOPK:
        lap_lower_topk(l, r);
        break;
    case LAP_OP_SCAN:
        if (lap_plan_of(l, r)->scan != NULL) {
            lap_lower_scan(l, lap_plan_of(l, r)->scan);
            break;
        }
        lap_lower_region_op(l, r);
        break;
    case LAP_OP_LOOP:
    case LAP_OP_BRANCH:
        lap_lower_region_op(l, r);
        break;
    default:
        l->failed = true;
        lap_error(l->ctx, n->loc, "'%s' cannot be compiled for this target", lap_op_text(n->op));
    }
}

static void place(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    lap_store_kind kind = lap_plan_of(l, r)->kind;
    if ((lap_op_traits(n->op) & LAP_TRAIT_MULTI) != 0) {
        if (n->op != LAP_OP_FOREIGN) { /* it places its results itself */
            place_results(l, r);
        }
    } else if (kind == LAP_STORE_MAP || kind == LAP_STORE_CONTRACT || n->op == LAP_OP_SCATTER) {
        lap_place_node(l, r);
    }
}

void lap_lower_kernels(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    lap_store_kind kind = lap_plan_of(l, r)->kind;
    if (n->op == LAP_OP_REQUIRE) {
        lap_lower_require(l, r);
    } else if ((lap_op_traits(n->op) & LAP_TRAIT_MULTI) != 0) {
        lower_multi(l, r);
    } else if (kind == LAP_STORE_MAP) {
        lap_dest d = lap_dest_of(l, r);
        lap_lower_map(l, r, &d, true);
    } else if (kind == LAP_STORE_CONTRACT) {
        lap_lower_contract(l, r);
    } else if (n->op == LAP_OP_SCATTER) {
        lap_lower_scatter(l, r);
    }
}

static void lower_node(lap_lowering *l, lap_ref r)
{
    l->is_static = lap_plan_of(l, r)->is_static && lap_node_at(l->g, r)->op != LAP_OP_REQUIRE;
    l->now = r;
    place(l, r);
    lap_site_lower(l, r);
    l->is_static = false;
}

void lap_lower_nodes(lap_lowering *l, lap_region_id region)
{
    uint32_t n;
    const lap_ref *nodes = lap_region_nodes(l->g, region, &n);
    for (uint32_t i = 0; i < n && !l->failed; i++) {
        if (lap_plan_of(l, nodes[i])->is_live) {
            lower_node(l, nodes[i]);
        }
    }
}

static void place_leaves(lap_lowering *l)
{
    uint32_t n = lap_graph_n_nodes(l->g);
    l->inputs = lap_arena_array(l->ctx->arena, n + 1, sizeof *l->inputs);
    l->weights = lap_arena_array(l->ctx->arena, n + 1, sizeof *l->weights);
    for (uint32_t i = 1; i <= n; i++) {
        if ((lap_op_traits(lap_node_at(l->g, (lap_ref){i})->op) & LAP_TRAIT_LEAF) != 0) {
            place_leaf(l, (lap_ref){i}); /* dead ones too: their shapes are checked and bind sizes */
        }
    }
}

lap_lowering *lap_lowering_new(lap_graph *g, const lap_target *target, const lap_pass_options *options)
{
    lap_lowering *l = lap_arena_alloc(lap_graph_ctx(g)->arena, sizeof *l);
    *l = (lap_lowering){.g = g,
                        .ctx = lap_graph_ctx(g),
                        .target = target,
                        .base = lap_schedule_default(target)};
    if (options != NULL) {
        l->base = options->schedule != NULL ? *options->schedule : l->base;
        l->choose = options->choose;
        l->choose_user = options->choose_user;
        l->writes_classes = options->writes_classes;
        l->wants_sites = options->choose != NULL || options->kept != NULL;
    }
    for (int knob = 0; l->wants_sites && knob < LAP_N_KNOBS; knob++) {
        int32_t tries[LAP_MAX_TRIES];
        l->searched |= (uint64_t)(lap_knob_tries((lap_knob)knob, target, tries) > 0) << knob;
    }
    l->schedule = l->base;
    l->homes = lap_arena_array(l->ctx->arena, lap_graph_n_nodes(g) + 1, sizeof *l->homes);
    l->is_written = lap_arena_array(l->ctx->arena, lap_graph_n_outputs(g) + 1, sizeof *l->is_written);
    return l;
}

/* What is computed in place belongs to the kernel of its reader. */
static const uint32_t *homes_of(lap_lowering *l)
{
    for (uint32_t i = lap_graph_n_nodes(l->g); i > 0; i--) {
        const lap_plan_node *p = lap_plan_of(l, (lap_ref){i});
        if (l->homes[i] == 0 && p->is_live && p->kind == LAP_STORE_INLINE) {
            l->homes[i] = l->homes[p->home.ix];
        }
    }
    l->homes[0] = 0;
    return l->homes;
}

lap_program *lap_lower_graph(lap_graph *g, const lap_target *target, const lap_pass_options *options)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_steps top = {0};
    lap_lowering *l = lap_lowering_new(g, target, options);
    l->steps = &top;
    lap_plan_make(l);
    place_leaves(l);
    lap_lower_nodes(l, (lap_region_id){0});
    if (!l->failed) {
        lap_lower_outputs(l);
    }
    if (l->failed) {
        return NULL;
    }
    if (options != NULL && options->kept != NULL) {
        *options->kept = l;
    }
    lap_program *p = lap_arena_alloc(ctx->arena, sizeof *p);
    *p = (lap_program){.ctx = ctx,
                       .name = lap_graph_name(g),
                       .n_inputs = l->n_inputs,
                       .n_weights = l->n_weights,
                       .n_outputs = lap_graph_n_outputs(g) + l->n_extra,
                       .inputs = l->inputs,
                       .weights = l->weights,
                       .outputs = l->outputs,
                       .n_buffers = l->n_buffers,
                       .buffers = l->buffers,
                       .n_kernels = l->n_kernels,
                       .kernels = l->kernels,
                       .n_steps = top.n,
                       .steps = top.at,
                       .n_checks = lap_graph_n_checks(g),
                       .n_attends = l->n_attends,
                       .attends = l->attends,
                       .source = g,
                       .homes = homes_of(l)};
    lap_check *checks = lap_arena_array(ctx->arena, p->n_checks + 1, sizeof *checks);
    for (uint32_t i = 0; i < p->n_checks; i++) {
        checks[i] = *lap_graph_check(g, i);
    }
    p->checks = checks;
    return p;
}
