/* SPDX-License-Identifier: Apache-2.0
 * grad_region.c - gradients of bodies: a scan runs the other way round, a branch takes the same side.
 *
 * The states before each step are kept by running the scan once more; each step's body is copied into
 * the reverse scan and differentiated there. Values from outside that a body reads, and inputs that
 * every step sees whole, have their gradients summed in states of the reverse scan. */
#include "passes/grad_run.h"

/* ---- values from outside -------------------------------------------------------------------- */

typedef struct captures {
    lap_grad_run *r;
    lap_region_id region;
    bool *seen; /* by node */
    lap_ref *at;
    size_t n, capacity;
} captures;

static bool is_inside(const lap_graph *g, lap_region_id inner, lap_region_id outer)
{
    while (inner.ix != outer.ix && inner.ix != 0) {
        inner = lap_region_at(g, inner)->parent;
    }
    return inner.ix == outer.ix;
}

static void capture(captures *c, lap_ref x)
{
    if (c->seen[x.ix] || is_inside(c->r->g, lap_node_at(c->r->g, x)->region, c->region)) {
        return;
    }
    c->seen[x.ix] = true;
    if (lap_grad_leads(c->r, x)) {
        lap_arena_grow(c->r->ctx->arena, &c->at, c->n, 1, &c->capacity, sizeof(lap_ref));
        c->at[c->n++] = x;
    }
}

static void capture_results(captures *c, lap_region_id id)
{
    const lap_region *region = lap_region_at(c->r->g, id);
    for (uint32_t i = 0; i < region->n_results; i++) {
        capture(c, region->results[i]);
    }
}

uint32_t lap_grad_captured(lap_grad_run *r, lap_region_id region, const lap_ref **out)
{
    captures c = {.r = r,
                  .region = region,
                  .seen = lap_arena_array(r->ctx->arena, (size_t)lap_graph_n_nodes(r->g) + 1, sizeof(bool))};
    uint32_t n_nodes = lap_graph_n_nodes(r->g);
    for (uint32_t ix = 1; ix <= n_nodes; ix++) {
        const lap_node *n = lap_node_at(r->g, (lap_ref){ix});
        if (!is_inside(r->g, n->region, region)) {
            continue;
        }
        for (uint32_t i = 0; i < n->n_args; i++) {
            capture(&c, n->args[i]);
        }
        for (uint32_t i = 0; i < n->n_regions; i++) {
            capture_results(&c, n->regions[i]);
        }
    }
    capture_results(&c, region);
    *out = c.at;
    return (uint32_t)c.n;
}

/* ---- scan ----------------------------------------------------------------------------------- */

typedef struct reverse {
    lap_grad_run *r;
    lap_graph *g;
    const lap_node *n;
    const lap_grad_results *d;
    const lap_region *body;
    lap_names states, outs;
    lap_name along;
    uint32_t n_inputs, n_captured;
    const lap_ref *captured;
    const lap_ref *before; /* by state: its values before each step, over `along` */
    /* of the reverse scan */
    lap_ref *args; /* states first, then inputs */
    lap_type *params;
    lap_name *state_names, *out_names;
    uint32_t n_states, n_args, n_outs;
    uint32_t n_whole; /* the last states: sums for inputs seen whole */
} reverse;

static lap_names names_of(const lap_name *at, uint32_t n) { return (lap_names){n, at}; }

static bool has_axis(const lap_graph *g, lap_ref x, lap_name axis)
{
    return lap_node_axis(lap_node_at(g, x), axis) != NULL;
}

static lap_name numbered(const reverse *v, const char *stem, uint32_t i)
{
    return lap_intern(v->r->ctx, lap_arena_printf(v->r->ctx->arena, "%s%u", stem, i));
}

/* A scan along the same axis with another body and other names. */
static lap_ref emit_scan(const reverse *v, bool is_reversed, uint32_t n_args, const lap_ref *args,
                         lap_names states, lap_names outs, lap_region_id body)
{
    bool reversed = lap_attr_i(v->n, LAP_ATTR_REVERSE, 0) != 0;
    lap_attr attrs[] = {
        lap_attr_make_name(LAP_ATTR_ALONG, v->along),
        lap_attr_make_dim(LAP_ATTR_STEPS, lap_attr_dim(v->n, LAP_ATTR_STEPS)),
        lap_attr_make_i(LAP_ATTR_REVERSE, reversed != is_reversed),
        lap_attr_make_names(LAP_ATTR_STATES, states),
        lap_attr_make_names(LAP_ATTR_OUTS, outs),
    };
    return lap_emit(v->g, &(lap_emit_args){.op = LAP_OP_SCAN,
                                           .n_args = n_args,
                                           .args = args,
                                           .n_attrs = 5,
                                           .attrs = attrs,
                                           .n_regions = 1,
                                           .regions = &body});
}

/* The same scan, emitting each state as it is before the step. */
static const lap_ref *states_before(const reverse *v)
{
    lap_arena *arena = v->r->ctx->arena;
    uint32_t n = v->states.n;
    lap_type *types = lap_arena_array(arena, v->body->n_params, sizeof *types);
    lap_ref *params = lap_arena_array(arena, v->body->n_params, sizeof *params);
    lap_ref *results = lap_arena_array(arena, v->body->n_results + (size_t)n, sizeof *results);
    lap_name *names = lap_arena_array(arena, n, sizeof *names);
    lap_ref *before = lap_arena_array(arena, n, sizeof *before);
    for (uint32_t i = 0; i < v->body->n_params; i++) {
        types[i] = lap_node_type(lap_node_at(v->g, v->body->params[i]));
    }
    lap_region_id id = lap_region_begin(v->g, v->body->n_params, types, params);
    lap_region_inline(v->g, v->g, v->n->regions[0], params, NULL, NULL, results);
    for (uint32_t i = 0; i < n; i++) {
        names[i] = numbered(v, "s", i);
        results[n + i] = params[i]; /* what was emitted is not needed here */
    }
    lap_region_end(v->g, id, 2 * n, results);
    lap_ref scan = emit_scan(v, false, v->n->n_args, v->n->args, v->states, names_of(names, n), id);
    for (uint32_t i = 0; i < n; i++) {
        before[i] = lap_ref_some(scan) ? lap_result(v->g, scan, lap_text(v->r->ctx, names[i])) : LAP_NONE;
    }
    return before;
}

static bool is_float_state(const reverse *v, uint32_t i)
{
    return lap_grad_is_float(lap_node_at(v->g, v->body->params[i]));
}

/* Inputs that every step sees whole are like captured values. */
static bool is_whole(const reverse *v, uint32_t i)
{
    return !has_axis(v->g, v->n->args[v->states.n + i], v->along);
}

static lap_type float_type(const lap_graph *g, lap_ref x)
{
    lap_type type = lap_node_type(lap_node_at(g, x));
    type.dtype = LAP_F32;
    return type;
}

static void add_state(reverse *v, lap_name name, lap_ref start, lap_type type)
{
    v->state_names[v->n_states++] = name;
    v->params[v->n_args] = type;
    v->args[v->n_args++] = start;
}

static void add_input(reverse *v, lap_ref x)
{
    lap_type type = lap_node_type(lap_node_at(v->g, x));
    type.n_axes = lap_axes_without(v->r->ctx, type.n_axes, type.axes, names_of(&v->along, 1), &type.axes);
    v->params[v->n_args] = type;
    v->args[v->n_args++] = x;
}

static void add_sum(reverse *v, const char *stem, uint32_t i, lap_ref x)
{
    lap_type type = float_type(v->g, x);
    add_state(v, numbered(v, stem, i), lap_grad_zeros(v->r, &type), type);
}

/* States: d of each float state, a sum per captured value, a sum per input seen whole that matters.
 * Inputs: the states before each step, the inputs, d of what was emitted and read. */
static void add_operands(reverse *v)
{
    for (uint32_t i = 0; i < v->states.n; i++) {
        if (is_float_state(v, i)) {
            lap_type type = float_type(v->g, v->n->args[i]);
            const char *last =
                lap_arena_printf(v->r->ctx->arena, "last_%s", lap_text(v->r->ctx, v->states.at[i]));
            lap_ref d = lap_grad_of(v->r, v->d, last);
            add_state(v, numbered(v, "d", i),
                      lap_ref_some(d) ? lap_grad_fit(v->r, d, &type) : lap_grad_zeros(v->r, &type), type);
        }
    }
    for (uint32_t i = 0; i < v->n_captured; i++) {
        add_sum(v, "o", i, v->captured[i]);
    }
    for (uint32_t i = 0; i < v->n_inputs; i++) {
        if (is_whole(v, i) && lap_grad_leads(v->r, v->n->args[v->states.n + i])) {
            add_sum(v, "w", i, v->n->args[v->states.n + i]);
            v->n_whole++;
        }
    }
    for (uint32_t i = 0; i < v->states.n; i++) {
        add_input(v, v->before[i]);
    }
    for (uint32_t i = 0; i < v->n_inputs; i++) {
        add_input(v, v->n->args[v->states.n + i]);
    }
    for (uint32_t i = 0; i < v->outs.n; i++) {
        lap_ref d = lap_grad_of(v->r, v->d, lap_text(v->r->ctx, v->outs.at[i]));
        if (lap_ref_some(d)) { /* steps beyond a run-time extent run too: they emit nothing that is read */
            lap_type dense = lap_node_type(lap_node_at(v->g, d));
            lap_axis *axes = lap_arena_copy(v->r->ctx->arena, dense.axes, dense.n_axes * sizeof *axes);
            for (uint32_t k = 0; k < dense.n_axes; k++) {
                axes[k].count = lap_name_same(axes[k].name, v->along) ? LAP_NONE : axes[k].count;
            }
            dense.axes = axes;
            add_input(v, lap_grad_fit(v->r, d, &dense));
        }
    }
}

/* Operands of the differentiation of one step, in the order of the states and emitted values. */
typedef struct step {
    const lap_ref *before, *inputs, *emitted; /* parameters of the reverse body */
    lap_ref *values, *cotangents, *wrt;
    uint32_t n_seeds, n_wrt;
} step;

static void add_seeds(const reverse *v, step *s, const lap_ref *params, const lap_ref *results)
{
    uint32_t n_states = 0, n_emitted = 0;
    for (uint32_t i = 0; i < v->states.n; i++) {
        if (is_float_state(v, i)) {
            s->values[s->n_seeds] = results[i];
            s->cotangents[s->n_seeds++] = params[n_states++];
        }
    }
    for (uint32_t i = 0; i < v->outs.n; i++) {
        if (lap_ref_some(lap_grad_of(v->r, v->d, lap_text(v->r->ctx, v->outs.at[i])))) {
            s->values[s->n_seeds] = results[v->states.n + i];
            s->cotangents[s->n_seeds++] = s->emitted[n_emitted++];
        }
    }
}

static void add_wrt(const reverse *v, step *s)
{
    for (uint32_t i = 0; i < v->states.n; i++) {
        if (is_float_state(v, i)) {
            s->wrt[s->n_wrt++] = s->before[i];
        }
    }
    for (uint32_t i = 0; i < v->n_captured; i++) {
        s->wrt[s->n_wrt++] = v->captured[i];
    }
    for (uint32_t pass = 0; pass < 2; pass++) { /* those seen whole are states, the others emitted */
        for (uint32_t i = 0; i < v->n_inputs; i++) {
            if (lap_grad_leads(v->r, v->n->args[v->states.n + i]) && is_whole(v, i) == (pass == 0)) {
                s->wrt[s->n_wrt++] = s->inputs[i];
            }
        }
    }
}

static bool differentiate_step(reverse *v, const lap_ref *params, lap_ref *out_results)
{
    lap_arena *arena = v->r->ctx->arena;
    step s = {.before = params + v->n_states};
    s.inputs = s.before + v->states.n;
    s.emitted = s.inputs + v->n_inputs;
    size_t most = (size_t)v->states.n + v->outs.n;
    s.values = lap_arena_array(arena, most, sizeof *s.values);
    s.cotangents = lap_arena_array(arena, most, sizeof *s.cotangents);
    s.wrt = lap_arena_array(arena, (size_t)v->n_states + v->n_inputs, sizeof *s.wrt);
    lap_ref *args = lap_arena_array(arena, v->body->n_params, sizeof *args);
    lap_ref *results = lap_arena_array(arena, v->body->n_results, sizeof *results);
    for (uint32_t i = 0; i < v->n->n_args; i++) { /* the states before, then the inputs */
        args[i] = s.before[i];
    }
    args[v->n->n_args] = params[v->n_args]; /* the step */
    lap_region_inline(v->g, v->g, v->n->regions[0], args, NULL, NULL, results);
    add_seeds(v, &s, params, results);
    add_wrt(v, &s);
    if (!lap_grad_from(v->g, params[0].ix - 1, s.n_seeds, s.values, s.cotangents, s.n_wrt, s.wrt,
                       out_results)) {
        return false;
    }
    for (uint32_t i = 0; i < v->n_states; i++) { /* sums over the steps; the states' own are not summed */
        if (s.wrt[i].ix < params[0].ix || i >= v->n_states - v->n_whole) {
            out_results[i] = lap_grad_add(v->r, params[i], out_results[i]);
        }
    }
    return true;
}

static lap_ref reverse_scan(reverse *v)
{
    lap_arena *arena = v->r->ctx->arena;
    lap_ref *params = lap_arena_array(arena, (size_t)v->n_args + 1, sizeof *params);
    lap_ref *results = lap_arena_array(arena, (size_t)v->n_states + v->n_inputs, sizeof *results);
    v->params[v->n_args] = (lap_type){LAP_I64, 0, NULL};
    for (uint32_t i = 0; i < v->n_inputs; i++) {
        if (!is_whole(v, i) && lap_grad_leads(v->r, v->n->args[v->states.n + i])) {
            v->out_names[v->n_outs++] = numbered(v, "x", i);
        }
    }
    lap_region_id id = lap_region_begin(v->g, v->n_args + 1, v->params, params);
    bool ok = differentiate_step(v, params, results);
    lap_region_end(v->g, id, ok ? v->n_states + v->n_outs : 0, results);
    return ok ? emit_scan(v, true, v->n_args, v->args, names_of(v->state_names, v->n_states),
                          names_of(v->out_names, v->n_outs), id)
              : LAP_NONE;
}

static void push_last(reverse *v, lap_ref scan, const char *stem, uint32_t i, lap_ref x)
{
    const char *which = lap_arena_printf(v->r->ctx->arena, "last_%s%u", stem, i);
    lap_grad_push(v->r, x, lap_result(v->g, scan, which));
}

static void push_all(reverse *v, lap_ref scan)
{
    for (uint32_t i = 0; i < v->states.n; i++) {
        if (is_float_state(v, i)) {
            push_last(v, scan, "d", i, v->n->args[i]);
        }
    }
    for (uint32_t i = 0; i < v->n_captured; i++) {
        push_last(v, scan, "o", i, v->captured[i]);
    }
    for (uint32_t i = 0; i < v->n_inputs; i++) {
        lap_ref x = v->n->args[v->states.n + i];
        if (!lap_grad_leads(v->r, x)) {
            continue;
        }
        if (is_whole(v, i)) {
            push_last(v, scan, "w", i, x);
        } else {
            lap_grad_push(v->r, x, lap_result(v->g, scan, lap_text(v->r->ctx, numbered(v, "x", i))));
        }
    }
}

void lap_grad_scan(lap_grad_run *r, const lap_node *n, lap_ref node, const lap_grad_results *d)
{
    (void)node;
    lap_arena *arena = r->ctx->arena;
    reverse v = {.r = r,
                 .g = r->g,
                 .n = n,
                 .d = d,
                 .body = lap_region_at(r->g, n->regions[0]),
                 .states = lap_attr_names(n, LAP_ATTR_STATES),
                 .outs = lap_attr_names(n, LAP_ATTR_OUTS),
                 .along = lap_attr_name(n, LAP_ATTR_ALONG)};
    v.n_inputs = n->n_args - v.states.n;
    v.n_captured = lap_grad_captured(r, n->regions[0], &v.captured);
    size_t most = 2 * (size_t)n->n_args + v.n_captured + v.outs.n + v.states.n + 1;
    v.args = lap_arena_array(arena, most, sizeof *v.args);
    v.params = lap_arena_array(arena, most, sizeof *v.params);
    v.state_names = lap_arena_array(arena, most, sizeof *v.state_names);
    v.out_names = lap_arena_array(arena, most, sizeof *v.out_names);
    v.before = states_before(&v);
    for (uint32_t i = 0; i < v.states.n; i++) {
        if (!lap_ref_some(v.before[i])) {
            r->is_failed = true;
            return;
        }
    }
    add_operands(&v);
    lap_ref scan = reverse_scan(&v);
    if (!lap_ref_some(scan)) {
        r->is_failed = true;
        return;
    }
    push_all(&v, scan);
}

/* ---- branch --------------------------------------------------------------------------------- */

/* The sides have no parameters, so what they compute stands outside them: each result is one of two
 * values there. */
void lap_grad_branch(lap_grad_run *r, const lap_node *n, lap_ref v, const lap_grad_results *d)
{
    (void)v;
    lap_names outs = lap_attr_names(n, LAP_ATTR_OUTS);
    lap_ref zero = lap_const_f(r->g, 0);
    for (uint32_t i = 0; i < outs.n; i++) {
        lap_ref got = lap_grad_of(r, d, lap_text(r->ctx, outs.at[i]));
        if (!lap_ref_some(got)) {
            continue;
        }
        lap_ref yes = lap_region_at(r->g, n->regions[0])->results[i];
        lap_ref no = lap_region_at(r->g, n->regions[1])->results[i];
        lap_grad_push(r, yes, lap_map3(r->g, LAP_FN_SELECT, n->args[0], got, zero));
        lap_grad_push(r, no, lap_map3(r->g, LAP_FN_SELECT, n->args[0], zero, got));
    }
}
