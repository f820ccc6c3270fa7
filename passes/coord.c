/* SPDX-License-Identifier: Apache-2.0
 * coord.c - see coord.h: the simplifier of ir/quasi.h with kernel nodes as leaves. */
#include "passes/coord.h"

struct lap_coords {
    lap_graph *kernel;
    lap_quasi *q;
    uint32_t n_stand_ins;
};

enum { MOST_STAND_INS = 1 << 20 }; /* their numbers count down from the largest */

static const lap_fn fns[] = {
    [LAP_QUASI_ADD] = LAP_FN_ADD,       [LAP_QUASI_SUB] = LAP_FN_SUB, [LAP_QUASI_MUL] = LAP_FN_MUL,
    [LAP_QUASI_FLOORDIV] = LAP_FN_IDIV, [LAP_QUASI_MOD] = LAP_FN_MOD, [LAP_QUASI_MIN] = LAP_FN_MIN,
    [LAP_QUASI_MAX] = LAP_FN_MAX,
};

bool lap_quasi_op_of(lap_fn fn, lap_quasi_op *out)
{
    for (unsigned op = 0; op < sizeof fns / sizeof *fns; op++) {
        if (fns[op] == fn) {
            *out = (lap_quasi_op)op;
            return true;
        }
    }
    return false;
}

static lap_qx in(lap_coord c) { return (lap_qx){c.ix}; }
static lap_coord out(lap_qx e) { return (lap_coord){e.ix}; }

lap_coords *lap_coords_new(lap_graph *kernel)
{
    lap_ctx *ctx = lap_graph_ctx(kernel);
    lap_coords *c = lap_arena_alloc(ctx->arena, sizeof *c);
    c->kernel = kernel;
    c->q = lap_quasi_new(ctx);
    return c;
}

static void take_leaf(void *user, uint32_t id) { *(uint32_t *)user = id; }

lap_coord lap_coord_const(lap_coords *c, int64_t value) { return out(lap_quasi_const(c->q, value)); }
lap_coord lap_coord_dim(lap_coords *c, lap_dim d) { return out(lap_quasi_dim(c->q, d)); }
lap_coord lap_coord_var(lap_coords *c, lap_ref index, lap_dim extent)
{
    return out(lap_quasi_var(c->q, index.ix, extent));
}

lap_coord lap_coord_stand_in(lap_coords *c, lap_dim extent)
{
    LAP_ENSURE(c->n_stand_ins < MOST_STAND_INS);
    return out(lap_quasi_var(c->q, UINT32_MAX - c->n_stand_ins++ - 1, extent));
}

lap_coord lap_coord_opaque(lap_coords *c, lap_ref value)
{
    const lap_node *n = lap_node_at(c->kernel, value);
    if (n->op == LAP_OP_CONST) {
        return lap_coord_const(c, lap_node_attr(n, LAP_ATTR_VALUE)->scalar.i);
    }
    if (n->op == LAP_OP_DIM) {
        return lap_coord_dim(c, lap_attr_dim(n, LAP_ATTR_DIM));
    }
    return out(lap_quasi_opaque(c->q, value.ix));
}

lap_coord lap_coord_add(lap_coords *c, lap_coord a, lap_coord b)
{
    return out(lap_quasi_add(c->q, in(a), in(b)));
}
lap_coord lap_coord_sub(lap_coords *c, lap_coord a, lap_coord b)
{
    return out(lap_quasi_sub(c->q, in(a), in(b)));
}
lap_coord lap_coord_mul(lap_coords *c, lap_coord a, lap_coord b)
{
    return out(lap_quasi_mul(c->q, in(a), in(b)));
}
lap_coord lap_coord_floordiv(lap_coords *c, lap_coord a, lap_coord b)
{
    return out(lap_quasi_floordiv(c->q, in(a), in(b)));
}
lap_coord lap_coord_mod(lap_coords *c, lap_coord a, lap_coord b)
{
    return out(lap_quasi_mod(c->q, in(a), in(b)));
}
lap_coord lap_coord_min(lap_coords *c, lap_coord a, lap_coord b)
{
    return out(lap_quasi_min(c->q, in(a), in(b)));
}
lap_coord lap_coord_max(lap_coords *c, lap_coord a, lap_coord b)
{
    return out(lap_quasi_max(c->q, in(a), in(b)));
}

bool lap_coord_map(lap_coords *c, lap_fn fn, lap_coord a, lap_coord b, lap_coord *out_value)
{
    lap_quasi_op op;
    if (!lap_quasi_op_of(fn, &op)) {
        return false;
    }
    *out_value = out(lap_quasi_binary(c->q, op, in(a), in(b)));
    return true;
}

lap_coord lap_coord_clamp(lap_coords *c, lap_coord v, lap_coord most)
{
    return lap_coord_min(c, lap_coord_max(c, v, lap_coord_const(c, 0)), most);
}

lap_truth lap_coord_compare(lap_coords *c, lap_coord a, lap_rel rel, lap_coord b)
{
    return lap_quasi_compare(c->q, in(a), rel, in(b));
}

bool lap_coord_divides(lap_coords *c, lap_coord divisor)
{
    lap_dim d;
    int64_t value;
    if (!lap_quasi_is_dim(c->q, in(divisor), &d)) {
        return false;
    }
    return !lap_dim_is_const(lap_graph_ctx(c->kernel), d, &value) || value > 0;
}

bool lap_coord_affine(lap_coords *c, lap_coord e, lap_coord var, lap_dim *out_stride, lap_coord *out_rest)
{
    uint32_t id = 0;
    lap_quasi_leaves(c->q, in(var), take_leaf, &id);
    lap_qx rest;
    if (id == 0) { /* an extent of 1: the variable is the constant 0 */
        *out_stride = lap_dim_const(lap_graph_ctx(c->kernel), 0);
        *out_rest = e;
        return true;
    }
    bool ok = lap_quasi_affine(c->q, in(e), id, out_stride, &rest);
    *out_rest = out(rest);
    return ok;
}

bool lap_coord_clamped(lap_coords *c, lap_coord e, lap_coord var, lap_coord_window *out_window)
{
    uint32_t id = 0;
    lap_quasi_leaves(c->q, in(var), take_leaf, &id);
    lap_quasi_window w;
    if (id == 0 || !lap_quasi_clamped(c->q, in(e), id, &w)) {
        return false;
    }
    *out_window = (lap_coord_window){out(w.shift), out(w.lo), out(w.hi), w.run, w.has_lo, w.has_hi};
    return true;
}

bool lap_coord_is_const(lap_coords *c, lap_coord e, int64_t *out_value)
{
    return lap_quasi_is_const(c->q, in(e), out_value);
}

static uint32_t make_dim(void *user, lap_dim d) { return lap_dim_node(((lap_coords *)user)->kernel, d).ix; }

static uint32_t make_leaf(void *user, uint32_t id)
{
    (void)user;
    LAP_ENSURE(id < UINT32_MAX - MOST_STAND_INS - 1); /* stand-ins are never emitted */
    return id;
}

static uint32_t make_binary(void *user, lap_quasi_op op, uint32_t a, uint32_t b)
{
    return lap_map2(((lap_coords *)user)->kernel, fns[op], (lap_ref){a}, (lap_ref){b}).ix;
}

lap_ref lap_coord_ref(lap_coords *c, lap_coord e)
{
    lap_quasi_visitor v = {.user = c, .dim = make_dim, .leaf = make_leaf, .binary = make_binary};
    return (lap_ref){lap_quasi_emit(c->q, in(e), &v)};
}
