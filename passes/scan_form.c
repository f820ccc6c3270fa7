/* SPDX-License-Identifier: Apache-2.0
 * scan_form.c - which scans become one kernel, and how: rows, locals, order of a step.
 *
 * Every axis of a state along which no step reads at another place is a row axis: found by following,
 * from the results of the body down, at which axis of the result each value is read. Values that
 * several results need, or that would be computed once per element of a larger one, become locals. */
#include "passes/plan.h"
#include "passes/scan_flow.h"

#include <string.h>

/* Elements of one row's step: beyond, kernels per step use registers and threads better. */
enum { ROW_MOST = 1 << 15, SYMBOL_GUESS = 512, FACTOR_MOST = 1 << 13, FEW_LANES = 8 };

static bool depends(const lap_scan_former *m, lap_ref r)
{
    const lap_scan_facts *f = lap_scan_fact(m, r);
    return f != NULL && f->depends;
}

static bool has_counts(const lap_node *n)
{
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_ref_some(n->axes[i].count)) {
            return true;
        }
    }
    return false;
}

static bool may_stand(const lap_node *n)
{
    switch (n->op) {
    case LAP_OP_CONST:
    case LAP_OP_FULL:
    case LAP_OP_DIM:
    case LAP_OP_INDEX:
    case LAP_OP_PARAM:
    case LAP_OP_MAP:
    case LAP_OP_AT:
    case LAP_OP_RENAME:
    case LAP_OP_CUSTOM:
    case LAP_OP_REDUCE:
        return !has_counts(n);
    default:
        return false;
    }
}

static bool learn_nodes(lap_scan_former *m)
{
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        const lap_node *n = lap_node_at(m->l->g, m->nodes[i]);
        lap_scan_facts *f = lap_scan_fact(m, m->nodes[i]);
        if (!may_stand(n)) {
            return false;
        }
        f->axes = lap_arena_array(m->l->ctx->arena, n->n_axes + 1, sizeof *f->axes);
        f->depends = n->op == LAP_OP_PARAM;
        for (uint32_t a = 0; a < lap_scan_n_operands(n); a++) {
            f->depends = f->depends || depends(m, n->args[a]);
        }
    }
    return true;
}

/* ---- rows ---- */

/* No row, no iteration of the grid: what does not vary over such an axis would not be written. */
static bool writes_all(lap_scan_former *m, const lap_axis *row)
{
    lap_ctx *ctx = m->l->ctx;
    if (lap_dim_compare(ctx, row->size, LAP_REL_GT, lap_dim_const(ctx, 0)) == LAP_YES) {
        return true;
    }
    lap_names states = lap_attr_names(m->n, LAP_ATTR_STATES);
    for (uint32_t i = 0; i < m->f->body->n_results; i++) {
        bool is_state = i < m->f->n_states;
        const char *last =
            is_state ? lap_arena_printf(ctx->arena, "last_%s", lap_text(ctx, states.at[i])) : "";
        lap_ref read =
            is_state ? lap_result_named(m->l, m->f->op, last) : m->f->result[i - m->f->n_states];
        if (lap_ref_some(read) && lap_node_axis(lap_node_at(m->l->g, read), row->name) == NULL) {
            return false;
        }
    }
    return true;
}

static void choose_rows(lap_scan_former *m)
{
    const lap_region *body = m->f->body;
    uint32_t most = 1;
    for (uint32_t i = 0; i < m->f->n_states; i++) {
        most += lap_node_at(m->l->g, body->params[i])->n_axes;
    }
    m->rows = lap_arena_array(m->l->ctx->arena, most, sizeof *m->rows);
    for (uint32_t i = 0; i < m->f->n_states; i++) {
        const lap_node *p = lap_node_at(m->l->g, body->params[i]);
        for (uint32_t a = 0; a < p->n_axes; a++) {
            bool is_row = lap_axis_find(m->rows, m->n_rows, p->axes[a].name) == NULL;
            for (uint32_t s = 0; s < m->f->n_states && is_row; s++) {
                const lap_node *q = lap_node_at(m->l->g, body->params[s]);
                const lap_axis *b = lap_node_axis(q, p->axes[a].name);
                is_row = b == NULL || lap_scan_seen_as(lap_scan_fact(m, body->params[s])->axes[b - q->axes],
                                                       p->axes[a].name);
            }
            if (is_row && writes_all(m, &p->axes[a])) {
                m->rows[m->n_rows++] = p->axes[a];
            }
        }
    }
}

/* How much speaks for running this row axis in lanes: what is fastest in memory, then size. */
static int64_t lane_votes(lap_scan_former *m, const lap_axis *row)
{
    const lap_region *body = m->f->body;
    int64_t size, votes = lap_dim_is_const(m->l->ctx, row->size, &size) ? size : SYMBOL_GUESS;
    votes = votes < SYMBOL_GUESS ? votes : SYMBOL_GUESS;
    for (uint32_t i = m->f->n_states; i < body->n_params && i < m->n->n_args; i++) {
        const lap_plan_node *p = lap_plan_of(m->l, m->n->args[i]);
        if (lap_scan_is_seen(m, body->params[i]) && p->fastest_of > 0 &&
            lap_name_same(p->fastest, row->name)) {
            votes += votes < FEW_LANES ? 0 : SYMBOL_GUESS;
        }
    }
    return votes;
}

static void choose_lanes(lap_scan_former *m, int64_t inner)
{
    int64_t best = 0;
    uint32_t lane = 0;
    for (uint32_t i = 0; i < m->n_rows; i++) {
        int64_t votes = lane_votes(m, &m->rows[i]);
        if (votes >= best) {
            best = votes;
            lane = i;
        }
    }
    m->f->has_lanes = m->n_rows > 0 && (best >= FEW_LANES || best >= inner);
    if (m->f->has_lanes) {
        lap_axis chosen = m->rows[lane];
        m->rows[lane] = m->rows[m->n_rows - 1];
        m->rows[m->n_rows - 1] = chosen;
    }
    m->f->n_rows = m->n_rows;
    m->f->rows = m->rows;
}

/* Elements of a value beside its rows. */
static int64_t inner_count(lap_scan_former *m, const lap_node *n)
{
    int64_t total = 1, size;
    for (uint32_t i = 0; i < n->n_axes && total <= ROW_MOST; i++) {
        if (lap_axis_find(m->rows, m->n_rows, n->axes[i].name) == NULL) {
            total *= lap_dim_is_const(m->l->ctx, n->axes[i].size, &size) ? size : SYMBOL_GUESS;
        }
    }
    return total;
}

/* A product with a large matrix from outside is better off in register tiles. */
static bool has_large_factor(lap_scan_former *m, lap_ref r)
{
    const lap_node *n = lap_node_at(m->l->g, r);
    for (uint32_t i = 0; i < n->n_args; i++) {
        const lap_node *x = lap_node_at(m->l->g, n->args[i]);
        if (lap_is_product(m->l, n->args[i]) && has_large_factor(m, n->args[i])) {
            return true;
        }
        if (!depends(m, n->args[i]) && x->n_axes >= 2 && inner_count(m, x) > FACTOR_MOST) {
            return true;
        }
    }
    return false;
}

static bool pays(lap_scan_former *m)
{
    int64_t most = 1;
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        const lap_node *n = lap_node_at(m->l->g, m->nodes[i]);
        if (!depends(m, m->nodes[i])) {
            continue;
        }
        int64_t count = inner_count(m, n);
        most = count > most ? count : most;
        if (lap_plan_of(m->l, m->nodes[i])->is_contraction && has_large_factor(m, n->args[0])) {
            return false;
        }
    }
    choose_lanes(m, most);
    return most <= ROW_MOST;
}

/* ---- locals ---- */

static void read_by(lap_scan_former *m, lap_ref r, int64_t reader, bool is_repeated)
{
    lap_scan_facts *f = lap_scan_fact(m, r);
    if (f != NULL) {
        f->reader = f->reader == 0 || f->reader == reader ? reader : LAP_SCAN_MANY;
        f->is_repeated = f->is_repeated || is_repeated;
    }
}

/* Its axes are the results' or run apart from them, so that it can be computed on its own. */
static bool stands_alone(lap_scan_former *m, lap_ref r)
{
    const lap_node *n = lap_node_at(m->l->g, r);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        lap_name name = n->axes[i].name, seen = lap_scan_fact(m, r)->axes[i];
        bool is_row = lap_axis_find(m->rows, m->n_rows, name) != NULL;
        if (!lap_name_same(seen, name) && (is_row || !lap_scan_seen_elsewhere(seen))) {
            return false;
        }
    }
    return true;
}

static bool is_state_result(const lap_scan_former *m, lap_ref r)
{
    for (uint32_t i = 0; i < m->f->n_states; i++) {
        if (lap_ref_same(m->f->body->results[i], r)) {
            return true;
        }
    }
    return false;
}

static bool choose_locals(lap_scan_former *m)
{
    const lap_region *body = m->f->body;
    for (uint32_t i = 0; i < body->n_results; i++) {
        if (lap_scan_result_lives(m, i)) {
            read_by(m, body->results[i], LAP_SCAN_MANY - 1 - (int64_t)i, false);
        }
    }
    for (uint32_t i = m->n_nodes; i-- > 0;) {
        lap_ref r = m->nodes[i];
        const lap_node *n = lap_node_at(m->l->g, r);
        const lap_plan_node *p = lap_plan_of(m->l, r);
        lap_scan_facts *f = lap_scan_fact(m, r);
        bool is_result = n->op != LAP_OP_PARAM && is_state_result(m, r);
        bool is_wanted = (f->reader == LAP_SCAN_MANY || f->is_repeated) && p->cost > LAP_PLAN_CHEAP &&
                         !p->may_fail && stands_alone(m, r) && n->op != LAP_OP_PARAM;
        if (f->reader == 0 || !f->depends) {
            continue;
        }
        f->is_local = is_result || is_wanted;
        if (f->is_local && m->n_locals == LAP_SCAN_LOCALS) {
            return false;
        }
        if (f->is_local) {
            m->local[m->n_locals++] = r;
        }
        int64_t reader = f->is_local ? r.ix : f->reader;
        for (uint32_t a = 0; a < lap_scan_n_operands(n); a++) {
            bool is_source = n->op == LAP_OP_AT && a == 0;
            bool grows = n->op != LAP_OP_REDUCE && lap_node_at(m->l->g, n->args[a])->n_axes < n->n_axes;
            read_by(m, n->args[a], reader, is_source || grows || (f->is_repeated && !f->is_local));
        }
    }
    for (uint32_t i = 0; i < m->n_locals / 2; i++) {
        lap_ref last = m->local[m->n_locals - 1 - i];
        m->local[m->n_locals - 1 - i] = m->local[i];
        m->local[i] = last;
    }
    return true;
}

static uint32_t local_number(const lap_scan_former *m, lap_ref r)
{
    uint32_t i = 0;
    while (i < m->n_locals && !lap_ref_same(m->local[i], r)) {
        i++;
    }
    return i;
}

static void learn_reads(lap_scan_former *m)
{
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        const lap_node *n = lap_node_at(m->l->g, m->nodes[i]);
        lap_scan_facts *f = lap_scan_fact(m, m->nodes[i]);
        for (uint32_t s = 0; s < m->f->n_states; s++) {
            f->states |= lap_ref_same(m->f->body->params[s], m->nodes[i]) ? UINT64_C(1) << s : 0;
        }
        for (uint32_t a = 0; a < lap_scan_n_operands(n); a++) {
            const lap_scan_facts *x = lap_scan_fact(m, n->args[a]);
            if (x == NULL) {
                continue;
            }
            f->locals |= x->is_local ? UINT64_C(1) << local_number(m, n->args[a]) : x->locals;
            f->states |= x->is_local ? 0 : x->states;
        }
    }
}

/* ---- order of a step ---- */

static lap_ref action_node(const lap_scan_former *m, lap_scan_action a)
{
    return a.is_out ? m->f->body->results[m->f->n_states + a.number] : m->local[a.number];
}

/* Emitted values come as early as what they read allows, each local in its turn. */
static lap_scan_action *order_actions(lap_scan_former *m)
{
    lap_scan_action *list = lap_arena_array(m->l->ctx->arena, m->n_locals + m->f->n_outs + 1, sizeof *list);
    uint32_t n = 0;
    for (uint32_t i = 0; i <= m->n_locals; i++) {
        for (uint32_t o = 0; o < m->f->n_outs; o++) {
            lap_ref r = m->f->body->results[m->f->n_states + o];
            const lap_scan_facts *f = lap_scan_fact(m, r);
            uint64_t needs = f == NULL ? 0 : f->is_local ? UINT64_C(1) << local_number(m, r) : f->locals;
            uint32_t after = needs == 0 ? 0 : 64 - (uint32_t)__builtin_clzll(needs);
            if (lap_ref_some(m->f->result[o]) && after == i) {
                list[n++] = (lap_scan_action){.is_out = true, .number = o};
            }
        }
        if (i < m->n_locals) {
            list[n++] = (lap_scan_action){.number = i};
        }
    }
    m->f->actions = list;
    m->f->n_actions = n;
    return list;
}

/* The state's old value is read by an action, other than out of a local's memory. */
static bool reads_state(const lap_scan_former *m, lap_scan_action a, uint32_t state)
{
    const lap_scan_facts *f = lap_scan_fact(m, action_node(m, a));
    return f != NULL && !(a.is_out && f->is_local) && (f->states >> state & 1) != 0;
}

static bool may_replace(lap_scan_former *m, uint32_t local, uint32_t state)
{
    const lap_scan_form *f = m->f;
    const lap_node *n = lap_node_at(m->l->g, m->local[local]);
    const lap_node *p = lap_node_at(m->l->g, f->body->params[state]);
    if (!lap_ref_same(f->body->results[state], m->local[local]) || p->n_axes != n->n_axes ||
        n->dtype != lap_dtype_compute(p->dtype) ||
        !lap_scan_reads_own(m, m->local[local], f->body->params[state])) {
        return false;
    }
    for (uint32_t s = 0; s < f->n_states; s++) {
        if (s != state && lap_ref_same(f->body->results[s], f->body->params[state])) {
            return false;
        }
    }
    bool is_after = false;
    for (uint32_t i = 0; i < f->n_actions; i++) {
        if (is_after && reads_state(m, f->actions[i], state)) {
            return false;
        }
        is_after = is_after || (!f->actions[i].is_out && f->actions[i].number == local);
    }
    return true;
}

/* The state that a local replaces in place: nothing reads the old value once it is made. */
static int32_t replaces(lap_scan_former *m, uint32_t local)
{
    for (uint32_t s = 0; s < m->f->n_states; s++) {
        if (may_replace(m, local, s)) {
            return (int32_t)s;
        }
    }
    return -1;
}

/* Axes of the loops that compute a node: all but the grid's. */
static bool same_loops(lap_scan_former *m, lap_ref a, lap_ref b)
{
    const lap_node *x = lap_node_at(m->l->g, a), *y = lap_node_at(m->l->g, b);
    if (x->n_axes != y->n_axes) {
        return false;
    }
    for (uint32_t i = 0; i < x->n_axes; i++) {
        if (lap_node_axis(y, x->axes[i].name) == NULL) {
            return false;
        }
    }
    return true;
}

/* Iterations run in any order: what one stores, no other reads. */
static bool may_join(lap_scan_former *m, const lap_scan_action *actions, uint32_t first, uint32_t i)
{
    lap_ref r = action_node(m, actions[i]);
    const lap_scan_facts *f = lap_scan_fact(m, r);
    bool is_copy = f == NULL || (actions[i].is_out && f->is_local);
    int32_t state = actions[i].is_out ? -1 : m->f->locals[actions[i].number].state;
    if (!same_loops(m, action_node(m, actions[first]), r)) {
        return false;
    }
    for (uint32_t j = first; j < i; j++) {
        lap_ref other = action_node(m, actions[j]);
        if (!actions[j].is_out && !is_copy && (f->locals >> actions[j].number & 1) != 0 &&
            !lap_scan_reads_own(m, r, other)) {
            return false;
        }
        if (state >= 0 && reads_state(m, actions[j], (uint32_t)state) &&
            !lap_scan_reads_own(m, other, m->f->body->params[state])) {
            return false;
        }
    }
    return true;
}

static void join_loops(lap_scan_former *m, lap_scan_action *actions)
{
    for (uint32_t i = 1, first = 0; i < m->f->n_actions; i++) {
        actions[i].joins = may_join(m, actions, first, i);
        first = actions[i].joins ? first : i;
    }
}

static void finish(lap_scan_former *m)
{
    lap_scan_form *f = m->f;
    lap_scan_action *actions = order_actions(m);
    lap_scan_local *locals = lap_arena_array(m->l->ctx->arena, m->n_locals + 1, sizeof *locals);
    for (uint32_t i = 0; i < m->n_locals; i++) {
        locals[i] = (lap_scan_local){.node = m->local[i], .state = replaces(m, i)};
    }
    f->locals = locals;
    f->n_locals = m->n_locals;
    join_loops(m, actions);
    uint32_t last = m->nodes[m->n_nodes - 1].ix;
    bool *is_new = lap_arena_array(m->l->ctx->arena, last - f->first + 1, sizeof *is_new);
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        is_new[m->nodes[i].ix - f->first] = lap_scan_fact(m, m->nodes[i])->depends;
    }
    f->depends = is_new;
    uint8_t *reads = lap_arena_array(m->l->ctx->arena, f->body->n_params + 1, sizeof *reads);
    for (uint32_t i = 0; i < f->body->n_params; i++) {
        const lap_scan_facts *x = lap_scan_fact(m, f->body->params[i]);
        reads[i] = x->reader == 0 ? 0 : x->reader == LAP_SCAN_MANY || x->is_repeated ? 2 : 1;
    }
    f->reads = reads;
}

/* Parameters, of which there is at least the step's number, then the nodes. */
static void list_nodes(lap_scan_former *m)
{
    const lap_region *body = m->f->body;
    uint32_t n;
    const lap_ref *nodes = lap_region_nodes(m->l->g, m->f->region, &n);
    lap_ref *all = lap_arena_array(m->l->ctx->arena, n + body->n_params, sizeof *all);
    memcpy(all, body->params, body->n_params * sizeof *all);
    if (n > 0) {
        memcpy(all + body->n_params, nodes, n * sizeof *all);
    }
    m->nodes = all;
    m->n_nodes = n + body->n_params;
}

const lap_scan_form *lap_scan_form_of(lap_lowering *l, lap_ref op)
{
    lap_arena *arena = l->ctx->arena;
    const lap_node *n = lap_node_at(l->g, op);
    lap_scan_form *f = lap_arena_alloc(arena, sizeof *f);
    lap_names outs = lap_attr_names(n, LAP_ATTR_OUTS);
    *f = (lap_scan_form){.op = op,
                         .region = n->regions[0],
                         .body = lap_region_at(l->g, n->regions[0]),
                         .n_states = lap_attr_names(n, LAP_ATTR_STATES).n,
                         .n_outs = outs.n};
    lap_scan_former m = {.l = l, .n = n, .f = f};
    list_nodes(&m);
    if (m.n_nodes > LAP_DEEPEST || f->n_states > LAP_SCAN_LOCALS) {
        return NULL;
    }
    f->first = m.nodes[0].ix;
    m.at = lap_arena_array(arena, m.nodes[m.n_nodes - 1].ix - f->first + 1, sizeof *m.at);
    lap_ref *result = lap_arena_array(arena, outs.n + 1, sizeof *result);
    for (uint32_t i = 0; i < outs.n; i++) {
        result[i] = lap_result_named(l, op, lap_text(l->ctx, outs.at[i]));
    }
    f->result = result;
    if (!learn_nodes(&m)) {
        return NULL;
    }
    lap_scan_flow(&m);
    choose_rows(&m);
    if (!pays(&m) || !choose_locals(&m)) {
        return NULL;
    }
    learn_reads(&m);
    finish(&m);
    return f;
}
