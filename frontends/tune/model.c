/* SPDX-License-Identifier: Apache-2.0
 * model.c - walks kernels and adds up cycles.
 *
 * Integers that follow from sizes and loop counters are computed, all else is unknown: an unknown condition
 * counts as holding, an unknown extent as a guess. */
#include "frontends/tune/model.h"

#include <math.h>
#include <string.h>

#include "ir/build.h"

/* Cycles, and what they are worth; guesses that need to be right only beside each other. */
static const double HERTZ = 3e9, LAUNCH = 2e-6, ROUND = 1.0, SCALAR = 0.5, ACCESS = 0.5, TILE = 20.0,
                    WIDE_FN = 0.5, OUT_OF_L1 = 1.3, OUT_OF_L2 = 1.35, BARRIER = 30.0;
enum { ADDRESSES = 8, GUESSED_ROUNDS = 32, MOST_SCRATCH = 64 << 20, MOST_VISITS = 200000 };

typedef struct walker {
    lap_ctx *ctx;
    lap_graph *g;
    const lap_target *t;
    lap_dim_value *value;
    void *user;
    int64_t *v; /* by node */
    bool *is_known;
    bool in_lanes;
    uint32_t n_visits;
    bool fits;
} walker;

static double region(walker *w, lap_region_id id);

/* ---- integers ------------------------------------------------------------------------------ */

static int64_t floor_div(int64_t a, int64_t b)
{
    return b == 0 || b == -1 ? (b == 0 ? 0 : -a) : a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static bool fold(lap_fn fn, int64_t a, int64_t b, int64_t c, int64_t *out)
{
    switch (fn) {
    case LAP_FN_ADD:
        return !__builtin_add_overflow(a, b, out);
    case LAP_FN_SUB:
        return !__builtin_sub_overflow(a, b, out);
    case LAP_FN_MUL:
        return !__builtin_mul_overflow(a, b, out);
    case LAP_FN_IDIV:
        *out = floor_div(a, b);
        return true;
    case LAP_FN_MOD:
        return !__builtin_mul_overflow(floor_div(a, b), b, out) && !__builtin_sub_overflow(a, *out, out);
    case LAP_FN_MIN:
        *out = a < b ? a : b;
        return true;
    case LAP_FN_MAX:
        *out = a > b ? a : b;
        return true;
    case LAP_FN_LT:
        *out = a < b;
        return true;
    case LAP_FN_LE:
        *out = a <= b;
        return true;
    case LAP_FN_GT:
        *out = a > b;
        return true;
    case LAP_FN_GE:
        *out = a >= b;
        return true;
    case LAP_FN_EQ:
        *out = a == b;
        return true;
    case LAP_FN_NE:
        *out = a != b;
        return true;
    case LAP_FN_AND:
        *out = a && b;
        return true;
    case LAP_FN_OR:
        *out = a || b;
        return true;
    case LAP_FN_NOT:
        *out = !a;
        return true;
    case LAP_FN_SELECT:
        *out = a ? b : c;
        return true;
    default:
        return false;
    }
}

static bool known_map(const walker *w, const lap_node *n, int64_t *out)
{
    int64_t a[3] = {0};
    lap_fn fn = (lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0);
    if (n->dtype != LAP_I64 && n->dtype != LAP_BOOL) {
        return false;
    }
    for (uint32_t i = 0; i < n->n_args && i < 3; i++) {
        uint32_t ix = n->args[i].ix;
        a[i] = w->v[ix];
        if (!w->is_known[ix]) {
            return false;
        }
    }
    return fold(fn, a[0], a[1], a[2], out);
}

static void learn(walker *w, uint32_t ix, const lap_node *n)
{
    int64_t v = 0;
    bool is_known = false;
    if (n->op == LAP_OP_CONST) {
        const lap_attr *value = lap_node_attr(n, LAP_ATTR_VALUE);
        v = value->scalar.i;
        is_known = value->scalar.dtype == LAP_I64 || value->scalar.dtype == LAP_BOOL;
    } else if (n->op == LAP_OP_DIM) {
        is_known = lap_dim_eval(w->ctx, lap_attr_dim(n, LAP_ATTR_DIM), w->value, w->user, &v);
    } else if (n->op == LAP_OP_MAP) {
        is_known = known_map(w, n, &v);
    }
    w->v[ix] = v;
    w->is_known[ix] = is_known;
}

static int64_t extent(const walker *w, lap_ref ref)
{
    int64_t n = w->is_known[ref.ix] ? w->v[ref.ix] : GUESSED_ROUNDS;
    return n > 0 ? n : 0;
}

/* ---- what things cost ---------------------------------------------------------------------- */

static uint32_t divisor(uint32_t n, uint32_t most)
{
    uint32_t d = most < n ? most : n;
    while (n % d != 0) {
        d--;
    }
    return d;
}

/* A device's group shares out blocks of the tile, a block's columns once per row of it. */
static double group_tile(const walker *w, uint32_t rows, uint32_t cols, double depth)
{
    uint32_t own_rows = divisor(rows, w->t->own_rows), own_cols = divisor(cols, w->t->own_cols);
    uint32_t blocks = rows * cols / (own_rows * own_cols);
    double waves = (blocks + w->t->group_size - 1) / w->t->group_size;
    return BARRIER +
           waves * (depth * (own_rows * own_cols + own_rows + own_cols) + 2.0 * own_rows * own_cols);
}

static double tile(walker *w, const lap_node *n)
{
    enum { M = 7, DEPTH = 11 };
    uint32_t rows = (uint32_t)lap_attr_i(n, LAP_ATTR_ROWS, 1),
             cols = (uint32_t)lap_attr_i(n, LAP_ATTR_COLS, 1);
    double depth = (double)extent(w, n->args[DEPTH]);
    if (w->t->group_size > 0) {
        return group_tile(w, rows, cols, depth);
    }
    uint32_t vectors = (cols + w->t->vector_f32 - 1) / w->t->vector_f32;
    w->fits = w->fits && rows * vectors + vectors + 1 <= w->t->n_registers;
    /* each row has an address of its own: beyond those that registers hold, loads wait for addresses */
    double load = 1.2 * rows + 0.5 * vectors + (rows > ADDRESSES ? 0.6 * (rows - ADDRESSES) : 0.0);
    double step = ROUND + fmax(0.5 * rows * vectors, load);
    if (4.0 * depth * (rows + cols) > w->t->l1_bytes) {
        step *= OUT_OF_L1;
    }
    return TILE + 1.5 * rows * vectors + depth * step;
}

static double map_cost(const walker *w, const lap_node *n)
{
    double additions = lap_fn_cost((lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0));
    if (n->dtype == LAP_F32) {
        return additions * (w->in_lanes ? WIDE_FN : 1.0);
    }
    return w->in_lanes ? 0.25 * additions : SCALAR * additions;
}

static double rounds(walker *w, const lap_node *n, int64_t from, int64_t to)
{
    const lap_region *body = lap_region_at(w->g, n->regions[0]);
    int64_t at = from + (to - from) / 2;
    if (to <= from) {
        return 0.0;
    }
    for (uint32_t i = 0; i < body->n_params; i++) {
        w->v[body->params[i].ix] = i == 0 ? at : 0;
        w->is_known[body->params[i].ix] = i == 0;
    }
    return (double)(to - from) * (region(w, n->regions[0]) + ROUND);
}

/* The first and the last round and some between, each for those around it. */
static double loop(walker *w, const lap_node *n, int64_t count, uint32_t samples)
{
    double sum = 0.0;
    if (count <= samples) {
        for (int64_t i = 0; i < count; i++) {
            sum += rounds(w, n, i, i + 1);
        }
        return sum;
    }
    sum = rounds(w, n, 0, 1) + rounds(w, n, count - 1, count);
    for (uint32_t i = 0; i + 2 < samples; i++) {
        sum += rounds(w, n, 1 + (count - 2) * i / (samples - 2), 1 + (count - 2) * (i + 1) / (samples - 2));
    }
    return sum;
}

static double for_cost(walker *w, const lap_node *n)
{
    lap_loop_kind kind = (lap_loop_kind)lap_attr_i(n, LAP_ATTR_KIND, LAP_LOOP_SERIAL);
    int64_t count = extent(w, n->args[0]);
    if (kind != LAP_LOOP_VECTOR) {
        return loop(w, n, count, w->n_visits < MOST_VISITS / 2 ? 4 : 3);
    }
    int64_t lanes = w->t->group_size > 0 ? w->t->group_size : w->t->vector_f32;
    w->in_lanes = true;
    double one = rounds(w, n, 0, 1);
    w->in_lanes = false;
    return one * (double)((count + lanes - 1) / lanes) + (w->t->group_size > 0 ? BARRIER / 4 : 2.0);
}

static double node_cost(walker *w, const lap_node *n)
{
    enum { ROWS = 6, KEYS = 2 };
    switch (n->op) {
    case LAP_OP_MAP:
        return map_cost(w, n);
    case LAP_OP_LOAD:
        return ACCESS;
    case LAP_OP_STORE:
        return 2 * ACCESS;
    case LAP_OP_FOR:
        return for_cost(w, n);
    case LAP_OP_IF:
        return w->is_known[n->args[0].ix] && w->v[n->args[0].ix] == 0 ? 1.0 : region(w, n->regions[0]);
    case LAP_OP_MMA:
        return tile(w, n);
    case LAP_OP_TURN:
        return (double)extent(w, n->args[ROWS]) * (double)extent(w, n->args[ROWS + 1]) * 2.0 /
               w->t->vector_f32;
    case LAP_OP_SORT:
        return 10.0 * (double)extent(w, n->args[KEYS]);
    default:
        return 0.0;
    }
}

static double region(walker *w, lap_region_id id)
{
    uint32_t n;
    const lap_ref *nodes = lap_region_nodes(w->g, id, &n);
    double sum = 0.0;
    for (uint32_t i = 0; i < n && w->n_visits < MOST_VISITS; i++, w->n_visits++) {
        const lap_node *node = lap_node_at(w->g, nodes[i]);
        learn(w, nodes[i].ix, node);
        sum += node_cost(w, node);
    }
    return sum;
}

/* ---- kernels and steps --------------------------------------------------------------------- */

static double scratch_bytes(const walker *w)
{
    double sum = 0.0;
    for (uint32_t i = 1; i <= lap_graph_n_nodes(w->g); i++) {
        const lap_node *n = lap_node_at(w->g, (lap_ref){i});
        int64_t count;
        if (n->op == LAP_OP_BUFFER && lap_node_attr(n, LAP_ATTR_COUNT) != NULL &&
            lap_dim_eval(w->ctx, lap_attr_dim(n, LAP_ATTR_COUNT), w->value, w->user, &count)) {
            sum += (double)count * lap_dtype_bits((lap_dtype)lap_attr_i(n, LAP_ATTR_ELEM, LAP_F32)) / 8;
        }
    }
    return sum;
}

static double kernel_seconds(walker *w, uint32_t n_threads)
{
    enum { GRID_SAMPLES = 5 };
    uint32_t n_nodes = lap_graph_n_nodes(w->g);
    w->v = lap_arena_array(w->ctx->arena, n_nodes + 1u, sizeof *w->v);
    w->is_known = lap_arena_array(w->ctx->arena, n_nodes + 1u, sizeof *w->is_known);
    uint32_t n;
    const lap_ref *nodes = lap_region_nodes(w->g, (lap_region_id){0}, &n);
    double cycles = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        const lap_node *node = lap_node_at(w->g, nodes[i]);
        learn(w, nodes[i].ix, node);
        if (node->op != LAP_OP_FOR) {
            continue;
        }
        int64_t count = extent(w, node->args[0]);
        double all = loop(w, node, count, GRID_SAMPLES), each = count > 0 ? all / (double)count : 0.0;
        cycles += each * (double)((count + n_threads - 1) / n_threads);
    }
    double bytes = scratch_bytes(w);
    w->fits = w->fits && bytes <= MOST_SCRATCH;
    return LAUNCH + cycles / HERTZ * (bytes > 0.75 * w->t->l2_bytes ? OUT_OF_L2 : 1.0);
}

static double steps_seconds(const lap_program *p, const lap_step *steps, uint32_t n, walker *w,
                            uint32_t n_threads)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        const lap_step *s = &steps[i];
        if (s->on_load) {
            continue;
        }
        if (s->kind == LAP_STEP_LAUNCH) {
            w->g = p->kernels[s->launch.kernel].graph;
            w->n_visits = 0;
            sum += kernel_seconds(w, n_threads);
        }
        sum += steps_seconds(p, s->body, s->n_body, w, n_threads) +
               steps_seconds(p, s->other, s->n_other, w, n_threads);
    }
    return sum;
}

double lap_model_seconds(const lap_program *p, const lap_target *target, uint32_t n_threads,
                         lap_dim_value *value, void *user)
{
    walker w = {.ctx = p->ctx, .t = target, .value = value, .user = user, .fits = true};
    double seconds = steps_seconds(p, p->steps, p->n_steps, &w, n_threads > 0 ? n_threads : 1);
    return w.fits ? seconds : INFINITY;
}
