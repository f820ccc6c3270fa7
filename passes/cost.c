/* SPDX-License-Identifier: Apache-2.0
 * cost.c - counts useful operations node by node.
 *
 * One walk from the outputs down finds what is live and how often each region runs; the walk through
 * an attend's score marks what is computed per pair, which the density of its pattern scales. */
#include "passes/cost.h"

typedef struct census {
    lap_graph *g;
    lap_dim_value *value;
    void *user;
    uint32_t n_nodes;
    bool *live, *varies; /* read by an output; depends on an input */
    bool *absorbed;      /* counted by its reader: products of contractions, maps of scores */
    double *density;     /* part of the node's elements that a pattern needs */
    double *times;       /* per region: how often it runs */
    double *flops;       /* per node */
    bool is_known;
    lap_cost cost;
    double all_pairs;
} census;

static double extent(census *c, lap_dim d)
{
    int64_t n;
    if (!lap_dim_eval(lap_graph_ctx(c->g), d, c->value, c->user, &n)) {
        c->is_known = false;
        return 0.0;
    }
    return n > 0 ? (double)n : 0.0;
}

static double elements(census *c, const lap_node *n)
{
    double product = 1.0;
    for (uint32_t i = 0; i < n->n_axes; i++) {
        product *= extent(c, n->axes[i].size);
    }
    return product;
}

/* ---- what is live -------------------------------------------------------------------------- */

static double runs_of_body(census *c, const lap_node *owner)
{
    switch (owner->op) {
    case LAP_OP_SCAN:
        return extent(c, lap_attr_dim(owner, LAP_ATTR_STEPS));
    case LAP_OP_LOOP:
        return extent(c, lap_attr_dim(owner, LAP_ATTR_LIMIT));
    case LAP_OP_BRANCH:
        return 0.5;
    case LAP_OP_CUSTOM:
        return 0.0;
    default:
        return 1.0;
    }
}

static void enter_regions(census *c, const lap_node *owner)
{
    for (uint32_t r = 0; r < owner->n_regions; r++) {
        lap_region_id id = owner->regions[r];
        const lap_region *region = lap_region_at(c->g, id);
        c->times[id.ix] += c->times[owner->region.ix] * runs_of_body(c, owner);
        for (uint32_t i = 0; i < region->n_results; i++) {
            c->live[region->results[i].ix] = true;
        }
    }
}

/* What is read by what is live. */
static void mark_live(census *c)
{
    c->times[0] = 1.0;
    for (uint32_t i = c->n_nodes; i > 0; i--) {
        const lap_node *n = lap_node_at(c->g, (lap_ref){i});
        if (!c->live[i]) {
            continue;
        }
        for (uint32_t k = 0; k < n->n_args; k++) {
            c->live[n->args[k].ix] = true;
        }
        enter_regions(c, n);
    }
}

static void mark_varying(census *c)
{
    for (uint32_t i = 1; i <= c->n_nodes; i++) {
        const lap_node *n = lap_node_at(c->g, (lap_ref){i});
        bool varies = n->op == LAP_OP_INPUT || n->op == LAP_OP_PARAM;
        for (uint32_t k = 0; k < n->n_args && !varies; k++) {
            varies = c->varies[n->args[k].ix];
        }
        c->varies[i] = varies;
    }
}

/* ---- attends ------------------------------------------------------------------------------- */

static bool has_axes(const lap_node *n, uint32_t n_axes, const lap_axis *axes)
{
    for (uint32_t i = 0; i < n_axes; i++) {
        if (lap_node_axis(n, axes[i].name) == NULL) {
            return false;
        }
    }
    return true;
}

static bool has_names(const lap_node *n, lap_names names)
{
    for (uint32_t i = 0; i < names.n; i++) {
        if (lap_node_axis(n, names.at[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* Marks what is computed per pair below `ref`: maps belong to the attend, the rest to the pattern. */
static void mark_score(census *c, lap_ref ref, lap_names keys, const lap_node *where, double density)
{
    const lap_node *n = lap_node_at(c->g, ref);
    if (!has_names(n, keys) || (n->op != LAP_OP_MAP && n->op != LAP_OP_REDUCE && n->op != LAP_OP_RENAME)) {
        return;
    }
    if (where != NULL && has_axes(n, where->n_axes, where->axes)) {
        c->density[ref.ix] = density;
    }
    if (n->op == LAP_OP_REDUCE) {
        return;
    }
    c->absorbed[ref.ix] = true;
    for (uint32_t i = 0; i < n->n_args; i++) {
        mark_score(c, n->args[i], keys, where, density);
    }
}

/* Elements over the union of the axes of up to three operands. */
static double union_elements(census *c, const lap_node *const *nodes, int n_nodes)
{
    double product = 1.0;
    for (int k = 0; k < n_nodes; k++) {
        for (uint32_t i = 0; nodes[k] != NULL && i < nodes[k]->n_axes; i++) {
            bool seen = false;
            for (int j = 0; j < k && !seen; j++) {
                seen = nodes[j] != NULL && lap_node_axis(nodes[j], nodes[k]->axes[i].name) != NULL;
            }
            product *= seen ? 1.0 : extent(c, nodes[k]->axes[i].size);
        }
    }
    return product;
}

static const lap_node *operand(census *c, const lap_node *n, int32_t i)
{
    return i >= 0 ? lap_node_at(c->g, n->args[i]) : NULL;
}

static void count_part(census *c, lap_ref attend_ref, const lap_part *part)
{
    const lap_node *attend = lap_node_at(c->g, attend_ref);
    const lap_node *score = operand(c, attend, part->score), *where = operand(c, attend, part->where);
    const lap_node *nodes[] = {score, where, operand(c, attend, part->value)};
    double density =
        where != NULL ? lap_cost_density(c->g, attend->args[part->where], c->value, c->user) : 1.0;
    double times = c->times[attend->region.ix];
    double pairs = union_elements(c, nodes, 2);
    c->all_pairs += times * pairs;
    c->cost.pairs += times * pairs * density;
    if (nodes[2] != NULL) {
        c->flops[attend_ref.ix] += times * 2.0 * density * union_elements(c, nodes, 3);
    }
    if (score != NULL) {
        mark_score(c, attend->args[part->score], part->keys, where, density);
    }
}

/* Readers come after what they read, so going down marks a score before its parts are counted. */
static void count_attend(census *c, lap_ref ref)
{
    const lap_parts *parts = &lap_node_attr(lap_node_at(c->g, ref), LAP_ATTR_PARTS)->parts;
    for (uint32_t i = 0; i < parts->n; i++) {
        count_part(c, ref, &parts->at[i]);
    }
}

/* ---- everything else ----------------------------------------------------------------------- */

static bool is_fn(const lap_node *n, lap_fn fn)
{
    return n->op == LAP_OP_MAP && lap_attr_i(n, LAP_ATTR_FN, -1) == (int64_t)fn;
}

/* A sum of a product, possibly masked by a select. */
static bool find_product(census *c, const lap_node *reduce, lap_ref *out)
{
    lap_ref ref = reduce->args[0];
    const lap_node *n = lap_node_at(c->g, ref);
    if (lap_attr_i(reduce, LAP_ATTR_RED, -1) != LAP_RED_SUM) {
        return false;
    }
    if (is_fn(n, LAP_FN_SELECT)) {
        ref = n->args[1];
        n = lap_node_at(c->g, ref);
    }
    *out = ref;
    return is_fn(n, LAP_FN_MUL) && n->dtype == LAP_F32;
}

static void count_reduce(census *c, lap_ref ref, const lap_node *n)
{
    double work = elements(c, lap_node_at(c->g, n->args[0])) * c->density[ref.ix] * c->times[n->region.ix];
    lap_ref product;
    if (find_product(c, n, &product)) {
        c->absorbed[product.ix] = true;
        c->absorbed[n->args[0].ix] = true;
        c->flops[ref.ix] += 2.0 * work;
    } else if (n->dtype == LAP_F32) {
        c->flops[ref.ix] += work;
    }
}

static void count_node(census *c, lap_ref ref)
{
    const lap_node *n = lap_node_at(c->g, ref);
    if (!c->live[ref.ix] || !c->varies[ref.ix]) {
        return;
    }
    switch (n->op) {
    case LAP_OP_ATTEND:
        count_attend(c, ref);
        break;
    case LAP_OP_REDUCE:
        count_reduce(c, ref, n);
        break;
    case LAP_OP_MAP:
        if (n->dtype == LAP_F32 && !c->absorbed[ref.ix]) {
            c->flops[ref.ix] += elements(c, n) * c->times[n->region.ix];
        }
        break;
    case LAP_OP_TOPK:
    case LAP_OP_SCATTER:
        c->flops[ref.ix] += elements(c, lap_node_at(c->g, n->args[0])) * c->times[n->region.ix];
        break;
    default:
        break;
    }
}

static census new_census(lap_graph *g, lap_dim_value *value, void *user)
{
    lap_arena *arena = lap_graph_ctx(g)->arena;
    uint32_t n = lap_graph_n_nodes(g);
    census c = {.g = g, .value = value, .user = user, .n_nodes = n, .is_known = true};
    c.live = lap_arena_array(arena, n + 1u, sizeof *c.live);
    c.varies = lap_arena_array(arena, n + 1u, sizeof *c.varies);
    c.absorbed = lap_arena_array(arena, n + 1u, sizeof *c.absorbed);
    c.density = lap_arena_array(arena, n + 1u, sizeof *c.density);
    c.flops = lap_arena_array(arena, n + 1u, sizeof *c.flops);
    c.times = lap_arena_array(arena, lap_graph_n_regions(g) + 1u, sizeof *c.times);
    for (uint32_t i = 0; i <= n; i++) {
        c.density[i] = 1.0;
    }
    return c;
}

static census take_census(lap_graph *g, lap_dim_value *value, void *user)
{
    census c = new_census(g, value, user);
    for (uint32_t i = 0; i < lap_graph_n_outputs(g); i++) {
        c.live[lap_graph_output(g, i)->value.ix] = true;
    }
    mark_live(&c);
    mark_varying(&c);
    for (uint32_t i = c.n_nodes; i > 0; i--) {
        count_node(&c, (lap_ref){i});
    }
    return c;
}

bool lap_cost_of(lap_graph *g, lap_dim_value *value, void *user, lap_cost *out)
{
    census c = take_census(g, value, user);
    for (uint32_t i = 1; i <= c.n_nodes; i++) {
        c.cost.flops += c.flops[i];
    }
    *out = c.cost;
    out->density = c.all_pairs > 0.0 ? c.cost.pairs / c.all_pairs : 1.0;
    return c.is_known;
}

bool lap_cost_of_nodes(lap_graph *g, lap_dim_value *value, void *user, const double **out_flops)
{
    census c = take_census(g, value, user);
    *out_flops = c.flops;
    return c.is_known;
}

enum { PRODUCTS_PER_STEP = 8 }; /* sums of products are what the evaluator is quick at */

/* Elements that one evaluation of a node goes through. */
static double steps_of(census *c, const lap_node *n)
{
    double steps = elements(c, n);
    const lap_parts *parts = n->op == LAP_OP_ATTEND ? &lap_node_attr(n, LAP_ATTR_PARTS)->parts : NULL;
    for (uint32_t i = 0; parts != NULL && i < parts->n; i++) {
        const lap_part *p = &parts->at[i];
        const lap_node *nodes[] = {operand(c, n, p->score), operand(c, n, p->where), operand(c, n, p->value)};
        steps += union_elements(c, nodes, 3);
    }
    bool goes_through_operand = n->op == LAP_OP_REDUCE || n->op == LAP_OP_TOPK || n->op == LAP_OP_SCATTER;
    return goes_through_operand ? steps + elements(c, lap_node_at(c->g, n->args[0])) : steps;
}

bool lap_cost_of_evaluating(lap_graph *g, uint32_t n, const lap_ref *values, lap_dim_value *value, void *user,
                            double *out_steps)
{
    census c = new_census(g, value, user);
    for (uint32_t i = 0; i < n; i++) {
        c.live[values[i].ix] = true;
    }
    mark_live(&c);
    *out_steps = 0.0;
    for (uint32_t i = c.n_nodes; i > 0; i--) {
        const lap_node *node = lap_node_at(g, (lap_ref){i});
        lap_ref product;
        bool is_contraction = node->op == LAP_OP_REDUCE && find_product(&c, node, &product) &&
                              lap_ref_same(product, node->args[0]);
        if (is_contraction) {
            c.absorbed[product.ix] = true;
        }
        double steps = c.live[i] && !c.absorbed[i] ? steps_of(&c, node) * c.times[node->region.ix] : 0.0;
        *out_steps += is_contraction ? steps / PRODUCTS_PER_STEP : steps;
    }
    return c.is_known;
}
