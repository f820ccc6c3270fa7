/* SPDX-License-Identifier: Apache-2.0
 * cost_density.c - counts the points at which a predicate over coordinates holds.
 *
 * The predicate becomes a flat list of operations, each over a vector of points along the longest
 * axis; the other axes are walked. Anything that reads data makes the predicate uncountable. */
#include <math.h>

#include "passes/cost.h"

enum { MAX_STEPS = 512, MAX_AXES = 12, LANES = 512, MAX_BINDINGS = 48, MAX_DEPTH = 64 };
#define MAX_POINTS ((double)(1 << 27))

typedef enum step_kind { CONSTANT, COORDINATE, FUNCTION } step_kind;
typedef struct step {
    step_kind kind;
    lap_fn fn;
    uint32_t arg[3];
    double value;
    uint32_t axis;
} step;

/* Names of axes in scope and the step that gives each coordinate. */
typedef struct scope {
    uint32_t n;
    lap_name names[MAX_BINDINGS];
    uint32_t steps[MAX_BINDINGS];
} scope;

typedef struct counter {
    lap_graph *g;
    lap_dim_value *value;
    void *user;
    uint32_t n_steps, n_axes;
    step steps[MAX_STEPS];
    int64_t extent[MAX_AXES], at[MAX_AXES];
    double lanes[MAX_STEPS][LANES];
} counter;

static bool add_step(counter *c, step s, uint32_t *out)
{
    if (c->n_steps == MAX_STEPS) {
        return false;
    }
    *out = c->n_steps;
    c->steps[c->n_steps++] = s;
    return true;
}

static bool bind(scope *s, lap_name name, uint32_t step_)
{
    if (s->n == MAX_BINDINGS) {
        return false;
    }
    s->names[s->n] = name;
    s->steps[s->n++] = step_;
    return true;
}

static bool look_up(const scope *s, lap_name name, uint32_t *out)
{
    for (uint32_t i = s->n; i-- > 0;) {
        if (lap_name_same(s->names[i], name)) {
            *out = s->steps[i];
            return true;
        }
    }
    return false;
}

static bool flatten(counter *c, lap_ref ref, const scope *s, unsigned depth, uint32_t *out);

static bool flatten_map(counter *c, const lap_node *n, const scope *s, unsigned depth, uint32_t *out)
{
    step made = {.kind = FUNCTION, .fn = (lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0)};
    for (uint32_t i = 0; i < n->n_args; i++) {
        if (!flatten(c, n->args[i], s, depth + 1, &made.arg[i])) {
            return false;
        }
    }
    return add_step(c, made, out);
}

static bool flatten_rename(counter *c, const lap_node *n, const scope *s, unsigned depth, uint32_t *out)
{
    lap_names from = lap_attr_names(n, LAP_ATTR_FROM), to = lap_attr_names(n, LAP_ATTR_TO);
    scope inner = *s;
    for (uint32_t i = 0; i < from.n; i++) {
        uint32_t coordinate;
        if (!look_up(s, to.at[i], &coordinate) || !bind(&inner, from.at[i], coordinate)) {
            return false;
        }
    }
    return flatten(c, n->args[0], &inner, depth + 1, out);
}

static bool function(counter *c, lap_fn fn, uint32_t a, uint32_t b, uint32_t third, uint32_t *out)
{
    return add_step(c, (step){.kind = FUNCTION, .fn = fn, .arg = {a, b, third}}, out);
}

/* inside = inside and 0 <= index < size */
static bool guard(counter *c, uint32_t index, double size, uint32_t *inside)
{
    uint32_t zero, limit, low, high, both;
    return add_step(c, (step){.kind = CONSTANT}, &zero) &&
           add_step(c, (step){.kind = CONSTANT, .value = size}, &limit) &&
           function(c, LAP_FN_GE, index, zero, 0, &low) && function(c, LAP_FN_LT, index, limit, 0, &high) &&
           function(c, LAP_FN_AND, low, high, 0, &both) && function(c, LAP_FN_AND, *inside, both, 0, inside);
}

static double scalar_value(lap_scalar v) { return v.dtype == LAP_F32 ? v.f : (double)v.i; }

static bool flatten_at(counter *c, const lap_node *n, const scope *s, unsigned depth, uint32_t *out)
{
    const lap_node *source = lap_node_at(c->g, n->args[0]);
    const lap_attr *fill = lap_node_attr(n, LAP_ATTR_FILL);
    lap_names src = lap_attr_names(n, LAP_ATTR_SRC);
    scope inner = *s;
    uint32_t inside, index, value, other;
    if (!add_step(c, (step){.kind = CONSTANT, .value = 1.0}, &inside)) {
        return false;
    }
    for (uint32_t i = 0; i < src.n; i++) {
        int64_t size;
        if (!flatten(c, n->args[i + 1], s, depth + 1, &index) || !bind(&inner, src.at[i], index) ||
            !lap_dim_eval(lap_graph_ctx(c->g), lap_node_axis(source, src.at[i])->size, c->value, c->user,
                          &size) ||
            !guard(c, index, (double)size, &inside)) {
            return false;
        }
    }
    if (!flatten(c, n->args[0], &inner, depth + 1, &value)) {
        return false;
    }
    double filled = fill != NULL ? scalar_value(fill->scalar) : 0.0;
    return add_step(c, (step){.kind = CONSTANT, .value = filled}, &other) &&
           function(c, LAP_FN_SELECT, inside, value, other, out);
}

static bool flatten(counter *c, lap_ref ref, const scope *s, unsigned depth, uint32_t *out)
{
    const lap_node *n = lap_node_at(c->g, ref);
    int64_t extent;
    if (depth > MAX_DEPTH) {
        return false;
    }
    switch (n->op) {
    case LAP_OP_CONST:
    case LAP_OP_FULL:
        return add_step(
            c, (step){.kind = CONSTANT, .value = scalar_value(lap_node_attr(n, LAP_ATTR_VALUE)->scalar)},
            out);
    case LAP_OP_DIM:
        return lap_dim_eval(lap_graph_ctx(c->g), lap_attr_dim(n, LAP_ATTR_DIM), c->value, c->user, &extent) &&
               add_step(c, (step){.kind = CONSTANT, .value = (double)extent}, out);
    case LAP_OP_INDEX:
        return look_up(s, n->axes[0].name, out);
    case LAP_OP_MAP:
        return flatten_map(c, n, s, depth, out);
    case LAP_OP_RENAME:
        return flatten_rename(c, n, s, depth, out);
    case LAP_OP_AT:
        return flatten_at(c, n, s, depth, out);
    default:
        return false;
    }
}

/* ---- evaluation ---------------------------------------------------------------------------- */

static double apply(lap_fn fn, double a, double b, double third)
{
    switch (fn) {
    case LAP_FN_ADD:
        return a + b;
    case LAP_FN_SUB:
        return a - b;
    case LAP_FN_MUL:
        return a * b;
    case LAP_FN_DIV:
        return a / b;
    case LAP_FN_IDIV:
        return b == 0.0 ? 0.0 : floor(a / b);
    case LAP_FN_MOD:
        return b == 0.0 ? 0.0 : a - floor(a / b) * b;
    case LAP_FN_MIN:
        return a < b ? a : b;
    case LAP_FN_MAX:
        return a > b ? a : b;
    case LAP_FN_LT:
        return a < b;
    case LAP_FN_LE:
        return a <= b;
    case LAP_FN_GT:
        return a > b;
    case LAP_FN_GE:
        return a >= b;
    case LAP_FN_EQ:
        return a == b;
    case LAP_FN_NE:
        return a != b;
    case LAP_FN_AND:
        return a != 0.0 && b != 0.0;
    case LAP_FN_OR:
        return a != 0.0 || b != 0.0;
    case LAP_FN_NOT:
        return a == 0.0;
    case LAP_FN_SELECT:
        return a != 0.0 ? b : third;
    case LAP_FN_NEG:
        return -a;
    case LAP_FN_ABS:
        return fabs(a);
    case LAP_FN_SQRT:
        return sqrt(a);
    case LAP_FN_FLOOR:
        return floor(a);
    case LAP_FN_ROUND:
        return nearbyint(a);
    case LAP_FN_INT:
        return trunc(a);
    case LAP_FN_FLOAT:
        return a;
    default:
        return NAN;
    }
}

static void evaluate_step(counter *c, const step *s, double *out, int64_t first, uint32_t n)
{
    if (s->kind == FUNCTION) {
        const double *a = c->lanes[s->arg[0]], *b = c->lanes[s->arg[1]], *third = c->lanes[s->arg[2]];
        for (uint32_t i = 0; i < n; i++) {
            out[i] = apply(s->fn, a[i], b[i], third[i]);
        }
        return;
    }
    bool is_inner = s->kind == COORDINATE && s->axis == 0;
    double start = s->kind == CONSTANT ? s->value : is_inner ? (double)first : (double)c->at[s->axis];
    for (uint32_t i = 0; i < n; i++) {
        out[i] = start + (is_inner ? (double)i : 0.0);
    }
}

/* Points that hold along axis 0 at the current place of the others. */
static double count_row(counter *c, uint32_t result)
{
    double total = 0.0;
    for (int64_t first = 0; first < c->extent[0]; first += LANES) {
        uint32_t n = c->extent[0] - first < LANES ? (uint32_t)(c->extent[0] - first) : LANES;
        for (uint32_t i = 0; i <= result; i++) {
            evaluate_step(c, &c->steps[i], c->lanes[i], first, n);
        }
        for (uint32_t i = 0; i < n; i++) {
            total += c->lanes[result][i] != 0.0;
        }
    }
    return total;
}

static double count(counter *c, uint32_t result)
{
    double rows = 1.0;
    for (uint32_t i = 1; i < c->n_axes; i++) {
        rows *= (double)c->extent[i];
    }
    double points = rows * (double)c->extent[0];
    if (points == 0.0) {
        return 1.0;
    }
    uint64_t stride = points > MAX_POINTS ? (uint64_t)(points / MAX_POINTS) + 1 : 1;
    double held = 0.0, seen = 0.0;
    for (uint64_t row = stride / 2; (double)row < rows; row += stride) {
        uint64_t rest = row;
        for (uint32_t i = 1; i < c->n_axes; i++) {
            c->at[i] = (int64_t)(rest % (uint64_t)c->extent[i]);
            rest /= (uint64_t)c->extent[i];
        }
        held += count_row(c, result);
        seen += (double)c->extent[0];
    }
    return seen > 0.0 ? held / seen : 1.0;
}

/* Coordinates of the predicate's axes, the longest as number 0. */
static bool open_axes(counter *c, const lap_node *n, scope *s)
{
    if (n->n_axes == 0 || n->n_axes > MAX_AXES) {
        return false;
    }
    uint32_t longest = 0;
    int64_t extent[MAX_AXES];
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (!lap_dim_eval(lap_graph_ctx(c->g), n->axes[i].size, c->value, c->user, &extent[i])) {
            return false;
        }
        longest = extent[i] > extent[longest] ? i : longest;
    }
    c->n_axes = n->n_axes;
    for (uint32_t i = 0; i < n->n_axes; i++) {
        uint32_t axis = i == longest ? 0 : i == 0 ? longest : i, made;
        c->extent[axis] = extent[i];
        if (!add_step(c, (step){.kind = COORDINATE, .axis = axis}, &made) ||
            !bind(s, n->axes[i].name, made)) {
            return false;
        }
    }
    return true;
}

double lap_cost_density(lap_graph *g, lap_ref predicate, lap_dim_value *value, void *user)
{
    counter *c = lap_arena_alloc(lap_graph_ctx(g)->arena, sizeof *c);
    *c = (counter){.g = g, .value = value, .user = user};
    scope s = {0};
    uint32_t result;
    if (!open_axes(c, lap_node_at(g, predicate), &s) || !flatten(c, predicate, &s, 0, &result)) {
        return 1.0;
    }
    return count(c, result);
}
