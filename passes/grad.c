/* SPDX-License-Identifier: Apache-2.0
 * grad.c - reverse mode: which values matter, and the walk from the seeds down. */
#include "passes/grad.h"

#include <string.h>

#include "passes/grad_run.h"
#include "passes/soft_form.h"

typedef void value_rule(lap_grad_run *r, const lap_node *n, lap_ref v, lap_ref d);
typedef void results_rule(lap_grad_run *r, const lap_node *n, lap_ref v, const lap_grad_results *d);

static value_rule *const value_rules[LAP_N_OPS] = {
    [LAP_OP_MAP] = lap_grad_map, [LAP_OP_REDUCE] = lap_grad_reduce,     [LAP_OP_RENAME] = lap_grad_rename,
    [LAP_OP_AT] = lap_grad_at,   [LAP_OP_SCATTER] = lap_grad_scattered, [LAP_OP_CUSTOM] = lap_grad_custom,
};

static results_rule *const results_rules[LAP_N_OPS] = {
    [LAP_OP_ATTEND] = lap_grad_attend, [LAP_OP_TOPK] = lap_grad_topk, [LAP_OP_SCAN] = lap_grad_scan,
    [LAP_OP_BRANCH] = lap_grad_branch, [LAP_OP_CALL] = lap_grad_call,
};

bool lap_grad_fail(lap_grad_run *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    lap_verror(r->ctx, lap_get_loc(r->g), format, args);
    va_end(args);
    r->is_failed = true;
    return false;
}

bool lap_grad_is_float(const lap_node *n)
{
    return n->dtype != LAP_NO_DTYPE && lap_dtype_compute(n->dtype) == LAP_F32;
}

/* ---- which values matter -------------------------------------------------------------------- */

/* Operand i passes a gradient on. */
static bool passes_on(const lap_node *n, uint32_t i)
{
    if (n->op == LAP_OP_MAP) {
        return !lap_grad_is_flat((lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0), i);
    }
    return n->op != LAP_OP_CUSTOM || i > 0;
}

static bool leads(const lap_grad_run *r, const lap_node *n)
{
    if (n->dtype != LAP_NO_DTYPE && !lap_grad_is_float(n)) {
        return false;
    }
    for (uint32_t i = 0; i < n->n_args; i++) {
        if (r->entries[n->args[i].ix].leads && passes_on(n, i)) {
            return true;
        }
    }
    for (uint32_t i = 0; i < n->n_regions && n->op != LAP_OP_CUSTOM; i++) {
        const lap_region *region = lap_region_at(r->g, n->regions[i]);
        for (uint32_t k = 0; k < region->n_results; k++) {
            if (r->entries[region->results[k].ix].leads) {
                return true;
            }
        }
    }
    return false;
}

/* Rules make nodes while the walk goes on: their entries are made when first asked for. */
static lap_grad_entry *entry(lap_grad_run *r, lap_ref x)
{
    uint32_t n = lap_graph_n_nodes(r->g);
    if (x.ix > r->n_known) {
        lap_arena_grow(r->ctx->arena, &r->entries, (size_t)r->n_known + 1, n - r->n_known, &r->capacity,
                       sizeof(lap_grad_entry));
        memset(&r->entries[r->n_known + 1], 0, (n - r->n_known) * sizeof(lap_grad_entry));
        while (r->n_known < n) {
            uint32_t ix = ++r->n_known;
            r->entries[ix].leads = ix > r->stop && leads(r, lap_node_at(r->g, (lap_ref){ix}));
        }
    }
    return &r->entries[x.ix];
}

/* Entries up to the last node that there is now, with the wanted values marked. */
static void begin(lap_grad_run *r, uint32_t n_wrt, const lap_ref *wrt)
{
    uint32_t n = lap_graph_n_nodes(r->g);
    lap_arena_grow(r->ctx->arena, &r->entries, 0, (size_t)n + 1, &r->capacity, sizeof(lap_grad_entry));
    memset(r->entries, 0, ((size_t)n + 1) * sizeof(lap_grad_entry));
    for (uint32_t i = 0; i < n_wrt; i++) {
        r->entries[wrt[i].ix].is_wanted = true;
    }
    for (r->n_known = 1; r->n_known <= n; r->n_known++) {
        lap_grad_entry *e = &r->entries[r->n_known];
        e->leads =
            e->is_wanted || (r->n_known > r->stop && leads(r, lap_node_at(r->g, (lap_ref){r->n_known})));
    }
    r->n_known = n;
}

bool lap_grad_leads(lap_grad_run *r, lap_ref x)
{
    return entry(r, x)->leads && lap_grad_is_float(lap_node_at(r->g, x));
}

void lap_grad_push(lap_grad_run *r, lap_ref x, lap_ref d)
{
    if (!lap_grad_leads(r, x) || !lap_ref_some(d)) {
        r->is_failed = r->is_failed || !lap_ref_some(d);
        return;
    }
    lap_type type = lap_node_type(lap_node_at(r->g, x));
    lap_ref fitted = lap_grad_fit(r, d, &type);
    lap_grad_entry *e = entry(r, x);
    lap_ref d_before = e->d, total_before = e->total;
    bool is_wanted = e->is_wanted;
    lap_ref sum = lap_grad_add(r, d_before, fitted);
    lap_ref total = is_wanted ? lap_grad_add(r, total_before, fitted) : LAP_NONE;
    r->is_failed = r->is_failed || !lap_ref_some(fitted) || !lap_ref_some(sum);
    e = entry(r, x);
    e->d = sum;
    e->total = total;
    r->next = x.ix > r->next ? x.ix : r->next;
}

/* ---- the walk ------------------------------------------------------------------------------- */

/* A result hands its gradient to its node, which is gone through later: its id is smaller. */
static void hand_to_node(lap_grad_run *r, lap_ref result, lap_ref node)
{
    lap_grad_entry *e = entry(r, node);
    if (!r->entries[result.ix].is_handed) {
        r->entries[result.ix].is_handed = true;
        r->entries[result.ix].next_result = e->first_result;
        e->first_result = result;
    }
}

static void go_through_results(lap_grad_run *r, const lap_node *n, lap_ref v)
{
    uint32_t count = 0;
    for (lap_ref at = r->entries[v.ix].first_result; lap_ref_some(at); at = r->entries[at.ix].next_result) {
        count++;
    }
    lap_name *which = lap_arena_array(r->ctx->arena, count, sizeof *which);
    lap_ref *d = lap_arena_array(r->ctx->arena, count, sizeof *d);
    uint32_t i = 0;
    for (lap_ref at = r->entries[v.ix].first_result; lap_ref_some(at); at = r->entries[at.ix].next_result) {
        which[i] = lap_attr_name(lap_node_at(r->g, at), LAP_ATTR_WHICH);
        d[i++] = r->entries[at.ix].d;
        r->entries[at.ix].d = LAP_NONE;
        r->entries[at.ix].is_handed = false;
    }
    r->entries[v.ix].first_result = LAP_NONE;
    results_rule *rule = results_rules[n->op];
    if (!rule) {
        lap_grad_fail(r, "no gradient through '%s'\nhint: give one with g:custom", lap_op_text(n->op));
        return;
    }
    rule(r, n, v, &(lap_grad_results){count, which, d});
}

/* Attention written by hand: through the attend that it will become, so that no weights are stored. */
static bool go_through_attention(lap_grad_run *r, const lap_node *n, lap_ref v, lap_ref d)
{
    lap_soft_form f;
    if (r->stop > 0 || n->region.ix != 0 || !lap_soft_form_of(r->g, v, &f) ||
        !lap_soft_form_is_closed(r->g, v, &f)) {
        return false;
    }
    for (uint32_t i = 0; i < f.n_inner; i++) {
        if (r->entries[f.inner[i].ix].is_wanted) {
            return false;
        }
    }
    lap_type type = lap_node_type(n);
    lap_ref out = lap_soft_form_attend(r->g, &f, &type);
    if (!lap_ref_some(out)) {
        return false;
    }
    r->entries[v.ix].d = LAP_NONE;
    lap_grad_push(r, out, d);
    return true;
}

static void go_through(lap_grad_run *r, lap_ref v)
{
    const lap_node *n = lap_node_at(r->g, v);
    lap_ref d = r->entries[v.ix].d;
    lap_set_loc(r->g, n->loc);
    if (lap_ref_some(r->entries[v.ix].first_result)) {
        go_through_results(r, n, v);
    } else if (!lap_ref_some(d) || v.ix <= r->stop || !leads(r, n)) {
        return; /* nothing arrived, or a wanted value without paths to others */
    } else if (n->op == LAP_OP_RESULT) {
        hand_to_node(r, v, n->args[0]);
    } else if (go_through_attention(r, n, v, d)) {
        return;
    } else if (value_rules[n->op]) {
        r->entries[v.ix].d = LAP_NONE;
        value_rules[n->op](r, n, v, d);
    } else {
        lap_grad_fail(r, "no gradient through '%s'\nhint: give one with g:custom", lap_op_text(n->op));
    }
}

static bool check_floats(lap_grad_run *r, const char *what, uint32_t n, const lap_ref *refs)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!lap_ref_some(refs[i])) {
            return false;
        }
        const lap_node *x = lap_node_at(r->g, refs[i]);
        if (!lap_grad_is_float(x)) {
            return lap_grad_fail(r, "%s %u of a gradient is %s, expected floats", what, i + 1,
                                 lap_type_show(r->ctx, x));
        }
    }
    return true;
}

bool lap_grad_from(lap_graph *g, uint32_t stop, uint32_t n_seeds, const lap_ref *values,
                   const lap_ref *cotangents, uint32_t n_wrt, const lap_ref *wrt, lap_ref *out)
{
    lap_grad_run r = {.g = g, .ctx = lap_graph_ctx(g), .stop = stop};
    lap_loc loc = lap_get_loc(g);
    if (!check_floats(&r, "value", n_seeds, values) || !check_floats(&r, "cotangent", n_seeds, cotangents) ||
        !check_floats(&r, "wanted value", n_wrt, wrt)) {
        return false;
    }
    begin(&r, n_wrt, wrt);
    for (uint32_t i = 0; i < n_seeds; i++) {
        lap_grad_push(&r, values[i], cotangents[i]);
    }
    while (r.next > 0 && !r.is_failed) {
        go_through(&r, (lap_ref){r.next--});
    }
    lap_set_loc(g, loc);
    for (uint32_t i = 0; i < n_wrt && !r.is_failed; i++) {
        lap_type type = lap_node_type(lap_node_at(g, wrt[i]));
        out[i] = r.entries[wrt[i].ix].total;
        out[i] = lap_ref_some(out[i]) ? out[i] : lap_grad_zeros(&r, &type);
        r.is_failed = !lap_ref_some(out[i]);
    }
    return !r.is_failed;
}

bool lap_grad(lap_graph *g, uint32_t n_seeds, const lap_ref *values, const lap_ref *cotangents,
              uint32_t n_wrt, const lap_ref *wrt, lap_ref *out)
{
    return lap_grad_from(g, 0, n_seeds, values, cotangents, n_wrt, wrt, out);
}
