/* SPDX-License-Identifier: Apache-2.0
 * reduce.c - reductions computed where they are read: loops over the reduced axes, each to its run-time
 * extent, axes whose extents vary over others inside those. */
#include "passes/lower.h"

lap_names lap_order_ragged(lap_lowering *l, lap_names names, uint32_t n_axes, const lap_axis *axes)
{
    lap_name *out = lap_arena_array(l->ctx->arena, names.n + 1, sizeof *out);
    uint32_t n = 0;
    while (n < names.n) {
        uint32_t before = n;
        for (uint32_t i = 0; i < names.n; i++) {
            const lap_axis *a = lap_axis_find(axes, n_axes, names.at[i]);
            bool waits = lap_names_has((lap_names){n, out}, names.at[i]);
            const lap_node *count = a != NULL && lap_ref_some(a->count) ? lap_node_at(l->g, a->count) : NULL;
            for (uint32_t o = 0; count != NULL && o < names.n && !waits; o++) {
                waits = o != i && lap_node_axis(count, names.at[o]) != NULL &&
                        !lap_names_has((lap_names){n, out}, names.at[o]);
            }
            if (!waits) {
                out[n++] = names.at[i];
            }
        }
        LAP_ENSURE(n > before);
    }
    return (lap_names){n, out};
}

lap_ref lap_axis_extent(lap_kctx *k, const lap_axis *a, uint32_t n_axes, const lap_axis *axes,
                        const lap_coord *env, lap_ref mask)
{
    if (!lap_ref_some(a->count)) {
        return LAP_NONE;
    }
    const lap_coord *sub = lap_env_for(k, a->count, n_axes, axes, env);
    lap_coord count = lap_pull(k, a->count, sub, mask).coord;
    return lap_coord_ref(k->c, lap_coord_clamp(k->c, count, lap_coord_dim(k->c, a->size)));
}

typedef struct fold {
    lap_red red;
    lap_fn fn;
    bool is_arg;
    lap_ref x;
    const lap_axis *axes;
    uint32_t n_axes;
    lap_coord *env;
    lap_names over;
    lap_ref mask;
} fold;

static lap_ref fold_neutral(lap_kctx *k, lap_red red, lap_dtype dtype)
{
    bool f = lap_dtype_compute(dtype) == LAP_F32;
    switch (red) {
    case LAP_RED_SUM:
        return f ? lap_const_f(k->k, 0) : lap_const_i(k->k, 0);
    case LAP_RED_PROD:
        return f ? lap_const_f(k->k, 1) : lap_const_i(k->k, 1);
    case LAP_RED_MAX:
    case LAP_RED_ARGMAX:
        return f ? lap_const_f(k->k, -__builtin_inf()) : lap_const_i(k->k, INT64_MIN);
    case LAP_RED_MIN:
    case LAP_RED_ARGMIN:
        return f ? lap_const_f(k->k, __builtin_inf()) : lap_const_i(k->k, INT64_MAX);
    case LAP_RED_ANY:
        return lap_const_b(k->k, false);
    case LAP_RED_ALL:
    case LAP_N_REDS:
        break;
    }
    return lap_const_b(k->k, true);
}

static lap_ref as_compute(lap_kctx *k, lap_ref v, bool want_float)
{
    return want_float && lap_node_at(k->k, v)->dtype != LAP_F32 ? lap_map1(k->k, LAP_FN_FLOAT, v) : v;
}

/* Loops over axes over.at[i..]; `acc` holds (value) or (best, index so far). */
static void fold_loops(lap_kctx *k, fold *f, uint32_t i, lap_coord flat, uint32_t n_acc, lap_ref *acc)
{
    if (i == f->over.n) {
        lap_ref v = lap_pull_ref(k, f->x, f->env, f->mask);
        if (!f->is_arg) {
            acc[0] = lap_map2(k->k, f->fn, acc[0], v);
            return;
        }
        bool is_f = lap_node_at(k->k, acc[0])->dtype == LAP_F32;
        v = as_compute(k, v, is_f);
        lap_ref better = lap_map2(k->k, f->red == LAP_RED_ARGMAX ? LAP_FN_GT : LAP_FN_LT, v, acc[0]);
        /* the first element always counts, whatever its value */
        better = lap_map2(k->k, LAP_FN_OR, better, lap_map2(k->k, LAP_FN_LT, acc[1], lap_const_i(k->k, 0)));
        acc[1] = lap_map3(k->k, LAP_FN_SELECT, better, lap_coord_ref(k->c, flat), acc[1]);
        acc[0] = lap_map3(k->k, LAP_FN_SELECT, better, v, acc[0]);
        return;
    }
    const lap_axis *a = lap_axis_find(f->axes, f->n_axes, f->over.at[i]);
    LAP_ENSURE(a != NULL);
    lap_ref extent = lap_axis_extent(k, a, f->n_axes, f->axes, f->env, f->mask);
    bool is_vector = i + 1 == f->over.n && !k->in_vector && !f->is_arg;
    lap_coord index;
    lap_k_loop loop =
        lap_kctx_for(k, is_vector ? LAP_LOOP_VECTOR : LAP_LOOP_SERIAL, a->size, extent, n_acc, acc, &index);
    f->env[a - f->axes] = index;
    lap_ref inner[2] = {loop.carried[0], n_acc > 1 ? loop.carried[1] : LAP_NONE};
    lap_coord below = lap_coord_add(k->c, lap_coord_mul(k->c, flat, lap_coord_dim(k->c, a->size)), index);
    fold_loops(k, f, i + 1, below, n_acc, inner);
    lap_kctx_end(k, &loop, inner, acc);
}

lap_val lap_pull_reduce(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask)
{
    static const lap_fn fns[LAP_N_REDS] = {LAP_FN_ADD, LAP_FN_MAX, LAP_FN_MIN, LAP_FN_MUL,
                                           LAP_FN_OR,  LAP_FN_AND, LAP_FN_MAX, LAP_FN_MIN};
    const lap_node *n = lap_node_at(k->l->g, node), *x = lap_node_at(k->l->g, n->args[0]);
    lap_red red = (lap_red)lap_attr_i(n, LAP_ATTR_RED, 0);
    fold f = {.red = red,
              .fn = fns[red],
              .is_arg = red == LAP_RED_ARGMAX || red == LAP_RED_ARGMIN,
              .x = n->args[0],
              .axes = x->axes,
              .n_axes = x->n_axes,
              .mask = mask,
              .over = lap_order_ragged(k->l, lap_attr_names(n, LAP_ATTR_OVER), x->n_axes, x->axes)};
    f.env = lap_arena_array(k->l->ctx->arena, x->n_axes + 1, sizeof *f.env);
    for (uint32_t i = 0; i < x->n_axes; i++) {
        const lap_axis *a = lap_axis_find(n->axes, n->n_axes, x->axes[i].name);
        f.env[i] = a != NULL ? env[a - n->axes] : lap_coord_const(k->c, 0);
    }
    lap_ref acc[2] = {fold_neutral(k, red, x->dtype), lap_const_i(k->k, -1)};
    fold_loops(k, &f, 0, lap_coord_const(k->c, 0), f.is_arg ? 2 : 1, acc);
    if (f.is_arg) {
        return lap_val_of(k, lap_map2(k->k, LAP_FN_MAX, acc[1], lap_const_i(k->k, 0)));
    }
    return lap_val_of(k, acc[0]);
}
