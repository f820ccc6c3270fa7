/* SPDX-License-Identifier: Apache-2.0
 * value.c - reading a value inside a kernel: a load where it is stored, else its expression at the
 * given coordinates.
 *
 * Integer values stay coordinates in normal form, so index maps of views compose and bounds that are
 * provable need no check. A value read twice at the same coordinates is computed once: the memo
 * remembers it while the region in which it was made is open. */
#include "passes/scan.h"
#include "passes/window.h"

#include <string.h>

struct lap_memo {
    lap_ref node, mask;
    uint32_t n_env;
    const lap_coord *env;
    lap_region_id region;
    lap_val val;
};

lap_ref lap_val_ref(lap_kctx *k, lap_val v) { return v.is_coord ? lap_coord_ref(k->c, v.coord) : v.ref; }

lap_val lap_val_of(lap_kctx *k, lap_ref value)
{
    if (lap_node_at(k->k, value)->dtype == LAP_I64) {
        return (lap_val){.coord = lap_coord_opaque(k->c, value), .is_coord = true};
    }
    return (lap_val){.ref = value};
}

lap_ref lap_mask_both(lap_kctx *k, lap_ref a, lap_ref b)
{
    if (!lap_ref_some(a)) {
        return b;
    }
    return lap_ref_some(b) ? lap_map2(k->k, LAP_FN_AND, a, b) : a;
}

static bool is_open(const lap_kctx *k, lap_region_id region)
{
    for (uint32_t d = 0; d < k->depth; d++) {
        if (k->stack[d].ix == region.ix) {
            return true;
        }
    }
    return false;
}

static const lap_memo *memo_find(lap_kctx *k, lap_ref node, uint32_t n, const lap_coord *env, lap_ref mask)
{
    for (uint32_t i = k->n_memo; i-- > 0;) {
        const lap_memo *m = &k->memo[i];
        if (!lap_ref_same(m->node, node) || !lap_ref_same(m->mask, mask) || m->n_env != n ||
            (n > 0 && memcmp(m->env, env, n * sizeof *env) != 0)) {
            continue;
        }
        if (is_open(k, m->region)) {
            return m;
        }
    }
    return NULL;
}

void lap_know(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask, lap_val val)
{
    lap_arena *arena = k->l->ctx->arena;
    uint32_t n = lap_node_at(k->l->g, node)->n_axes;
    if (k->depth == 0) {
        return;
    }
    lap_arena_grow(arena, &k->memo, k->n_memo, 1, &k->memo_capacity, sizeof *k->memo);
    k->memo[k->n_memo++] = (lap_memo){.node = node,
                                      .mask = mask,
                                      .n_env = n,
                                      .val = val,
                                      .env = lap_arena_copy(arena, env, n * sizeof *env),
                                      .region = k->stack[k->depth - 1]};
}

const lap_coord *lap_env_for(lap_kctx *k, lap_ref to, uint32_t n_axes, const lap_axis *axes,
                             const lap_coord *env)
{
    const lap_node *n = lap_node_at(k->l->g, to);
    lap_coord *out = lap_arena_array(k->l->ctx->arena, n->n_axes + 1, sizeof *out);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        const lap_axis *a = lap_axis_find(axes, n_axes, n->axes[i].name);
        if (a == NULL) {
            lap_error(k->l->ctx, n->loc, "this value varies over axis '%s', its reader does not",
                      lap_text(k->l->ctx, n->axes[i].name));
            k->l->failed = true;
            out[i] = lap_coord_const(k->c, 0);
            continue;
        }
        out[i] = env[a - axes];
    }
    return out;
}

lap_ref lap_present(lap_kctx *k, uint32_t n_axes, const lap_axis *axes, const lap_coord *env,
                    const lap_names *only)
{
    lap_ref all = LAP_NONE;
    for (uint32_t i = 0; i < n_axes; i++) {
        if (!lap_ref_some(axes[i].count) || (only != NULL && !lap_names_has(*only, axes[i].name))) {
            continue;
        }
        const lap_coord *sub = lap_env_for(k, axes[i].count, n_axes, axes, env);
        lap_val count = lap_pull(k, axes[i].count, sub, LAP_NONE);
        lap_ref below = lap_map2(k->k, LAP_FN_LT, lap_coord_ref(k->c, env[i]), lap_val_ref(k, count));
        all = lap_mask_both(k, all, below);
    }
    return all;
}

lap_coord lap_dest_base(lap_kctx *k, const lap_dest *d)
{
    if (!d->has_counter) {
        return lap_coord_const(k->c, 0);
    }
    lap_ref t = lap_k_load(k->k, lap_kctx_buffer(k, d->counter), lap_const_i(k->k, 0), LAP_NONE);
    return lap_coord_mul(k->c, lap_coord_opaque(k->c, t), lap_coord_dim(k->c, d->counter_stride));
}

lap_coord lap_dest_address(lap_kctx *k, const lap_dest *d, uint32_t n_axes, const lap_axis *axes,
                           const lap_coord *env)
{
    lap_coord address = lap_coord_const(k->c, 0);
    for (uint32_t i = 0; i < d->n; i++) {
        const lap_axis *a = lap_axis_find(axes, n_axes, d->order[i]);
        LAP_ENSURE(a != NULL);
        lap_coord step = lap_coord_mul(k->c, env[a - axes], lap_coord_dim(k->c, d->stride[i]));
        address = lap_coord_add(k->c, address, step);
    }
    return lap_coord_add(k->c, address, lap_dest_base(k, d));
}

lap_coord lap_address(lap_kctx *k, lap_ref node, const lap_coord *env)
{
    const lap_node *n = lap_node_at(k->l->g, node);
    lap_dest d = lap_dest_of(k->l, node);
    return lap_dest_address(k, &d, n->n_axes, n->axes, env);
}

/* Whether the lanes run along whole rows of what is stored there, so that the next row follows in memory. */
static bool reads_rows(lap_kctx *k, const lap_plan_node *p, lap_coord address)
{
    lap_dim step, row = lap_dim_const(k->l->ctx, 1);
    lap_coord rest;
    if (!k->in_vector || !lap_coord_affine(k->c, address, k->lane, &step, &rest) ||
        !lap_dim_same(step, row)) {
        return false;
    }
    for (uint32_t i = p->n_order; i-- > 0;) {
        row = lap_dim_mul(k->l->ctx, row, p->size[i]);
        if (lap_dim_same(row, k->lanes)) {
            return true;
        }
    }
    return false;
}

static lap_val pull_stored(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask)
{
    const lap_plan_node *p = lap_plan_of(k->l, node);
    lap_coord address = lap_address(k, node, env);
    uint32_t bits = lap_dtype_bits(k->l->buffers[p->buffer].elem);
    int64_t ahead = k->ahead > 0 && reads_rows(k, p, address) ? k->ahead * 8 / bits : 0;
    lap_ref index = lap_coord_ref(k->c, address);
    lap_ref v = lap_k_load_ahead(k->k, lap_kctx_buffer(k, p->buffer), index, mask, ahead);
    return p->is_place ? (lap_val){.coord = lap_coord_var(k->c, v, p->places), .is_coord = true}
                       : lap_val_of(k, v);
}

/* A parameter that stands for one step of an outer value: that value at the loop's counter. */
static lap_val pull_alias(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask)
{
    const lap_plan_node *p = lap_plan_of(k->l, node);
    const lap_node *n = lap_node_at(k->l->g, node), *outer = lap_node_at(k->l->g, p->alias);
    lap_coord *sub = lap_arena_array(k->l->ctx->arena, outer->n_axes + 1, sizeof *sub);
    for (uint32_t i = 0; i < outer->n_axes; i++) {
        if (p->has_counter && lap_name_same(outer->axes[i].name, p->alias_axis)) {
            lap_ref t =
                lap_k_load(k->k, lap_kctx_buffer(k, p->alias_counter), lap_const_i(k->k, 0), LAP_NONE);
            sub[i] = lap_coord_opaque(k->c, t);
            continue;
        }
        const lap_axis *a = lap_axis_find(n->axes, n->n_axes, outer->axes[i].name);
        LAP_ENSURE(a != NULL);
        sub[i] = env[a - n->axes];
    }
    return lap_pull(k, p->alias, sub, mask);
}

static lap_rel rel_of(lap_fn fn, bool *out_is_rel)
{
    static const struct {
        lap_fn fn;
        lap_rel rel;
    } rows[] = {{LAP_FN_LT, LAP_REL_LT}, {LAP_FN_LE, LAP_REL_LE}, {LAP_FN_GT, LAP_REL_GT},
                {LAP_FN_GE, LAP_REL_GE}, {LAP_FN_EQ, LAP_REL_EQ}, {LAP_FN_NE, LAP_REL_NE}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].fn == fn) {
            *out_is_rel = true;
            return rows[i].rel;
        }
    }
    *out_is_rel = false;
    return LAP_REL_EQ;
}

/* Integer functions that the normal form knows. */
static bool map_coord(lap_kctx *k, lap_fn fn, const lap_val *v, lap_val *out)
{
    out->is_coord = true;
    if (fn == LAP_FN_NEG) {
        out->coord = lap_coord_sub(k->c, lap_coord_const(k->c, 0), v[0].coord);
        return true;
    }
    if ((fn == LAP_FN_IDIV || fn == LAP_FN_MOD) && !lap_coord_divides(k->c, v[1].coord)) {
        return false; /* data may be zero or negative: the function's own rules */
    }
    return lap_coord_map(k->c, fn, v[0].coord, v[1].coord, &out->coord);
}

static lap_val map_vals(lap_kctx *k, lap_fn fn, uint32_t n, const lap_val *v)
{
    bool ints = true;
    for (uint32_t i = 0; i < n; i++) {
        ints = ints && v[i].is_coord;
    }
    lap_val out = {0};
    if (ints && map_coord(k, fn, v, &out)) {
        return out;
    }
    bool is_rel;
    lap_rel rel = rel_of(fn, &is_rel);
    if (ints && is_rel) {
        lap_truth t = lap_coord_compare(k->c, v[0].coord, rel, v[1].coord);
        if (t != LAP_UNKNOWN) {
            return (lap_val){.ref = lap_const_b(k->k, t == LAP_YES)};
        }
    }
    lap_ref r[3] = {{0}};
    for (uint32_t i = 0; i < n; i++) {
        r[i] = lap_val_ref(k, v[i]);
    }
    lap_ref made = n == 1   ? lap_map1(k->k, fn, r[0])
                   : n == 2 ? lap_map2(k->k, fn, r[0], r[1])
                            : lap_map3(k->k, fn, r[0], r[1], r[2]);
    lap_dtype type = lap_node_at(k->k, made)->dtype;
    if (type != lap_dtype_compute(type)) { /* rounded to a storage type, computed with as before */
        made = lap_map1(k->k, lap_dtype_compute(type) == LAP_F32 ? LAP_FN_FLOAT : LAP_FN_INT, made);
    }
    return lap_val_of(k, made);
}

static lap_val pull_map(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask)
{
    const lap_node *n = lap_node_at(k->l->g, node);
    lap_fn fn = (lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0);
    lap_val v[3];
    for (uint32_t i = 0; i < n->n_args; i++) {
        lap_ref arm = mask;
        if (fn == LAP_FN_SELECT && i > 0 && lap_plan_of(k->l, n->args[i])->may_fail) {
            lap_ref cond = lap_val_ref(k, v[0]);
            arm = lap_mask_both(k, mask, i == 1 ? cond : lap_map1(k->k, LAP_FN_NOT, cond));
        }
        v[i] = lap_pull(k, n->args[i], lap_env_for(k, n->args[i], n->n_axes, n->axes, env), arm);
    }
    return map_vals(k, fn, n->n_args, v);
}

static lap_ref in_range(lap_kctx *k, lap_coord e, lap_dim size)
{
    lap_coord zero = lap_coord_const(k->c, 0), end = lap_coord_dim(k->c, size);
    lap_ref ok = LAP_NONE;
    if (lap_coord_compare(k->c, e, LAP_REL_GE, zero) != LAP_YES) {
        ok = lap_map2(k->k, LAP_FN_GE, lap_coord_ref(k->c, e), lap_const_i(k->k, 0));
    }
    if (lap_coord_compare(k->c, e, LAP_REL_LT, end) != LAP_YES) {
        ok =
            lap_mask_both(k, ok, lap_map2(k->k, LAP_FN_LT, lap_coord_ref(k->c, e), lap_dim_node(k->k, size)));
    }
    return ok;
}

static lap_ref scalar_node(lap_graph *k, lap_scalar s)
{
    return s.dtype == LAP_F32   ? lap_const_f(k, s.f)
           : s.dtype == LAP_I64 ? lap_const_i(k, s.i)
                                : lap_const_b(k, s.i != 0);
}

lap_ref lap_scalar_as(lap_graph *k, lap_scalar s, lap_dtype dtype)
{
    lap_dtype want = lap_dtype_compute(dtype);
    double value = s.dtype == LAP_F32 ? s.f : (double)s.i;
    if (want == s.dtype) {
        return scalar_node(k, s);
    }
    return want == LAP_F32   ? lap_const_f(k, value)
           : want == LAP_I64 ? lap_const_i(k, (int64_t)value)
                             : lap_const_b(k, value != 0);
}

lap_ref lap_zero_as(lap_graph *k, lap_dtype dtype) { return lap_scalar_as(k, lap_scalar_i(0), dtype); }

/* Fails where `bad` holds, unless that has been tested already. */
static void fail_once(lap_kctx *k, lap_ref bad, const char *text)
{
    for (uint32_t i = k->n_tests; i-- > 0;) {
        if (lap_ref_same(k->tests[i].cond, bad) && is_open(k, k->tests[i].region)) {
            return;
        }
    }
    lap_k_fail(k->k, bad, text);
    if (k->depth > 0) {
        lap_arena_grow(k->l->ctx->arena, &k->tests, k->n_tests, 1, &k->test_capacity, sizeof *k->tests);
        k->tests[k->n_tests++] = (lap_tested){bad, k->stack[k->depth - 1]};
    }
}

static lap_val pull_at(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask)
{
    lap_lowering *l = k->l;
    const lap_node *n = lap_node_at(l->g, node), *x = lap_node_at(l->g, n->args[0]);
    lap_names src = lap_attr_names(n, LAP_ATTR_SRC);
    const lap_attr *fill = lap_node_attr(n, LAP_ATTR_FILL);
    lap_coord *sub = lap_arena_array(l->ctx->arena, x->n_axes + 1, sizeof *sub);
    lap_ref inside = LAP_NONE;
    for (uint32_t i = 0; i < x->n_axes; i++) {
        uint32_t s = lap_names_find(src, x->axes[i].name);
        if (s == src.n) {
            const lap_axis *a = lap_axis_find(n->axes, n->n_axes, x->axes[i].name);
            LAP_ENSURE(a != NULL);
            sub[i] = env[a - n->axes];
            continue;
        }
        lap_ref arg = n->args[1 + s];
        lap_val v = lap_pull(k, arg, lap_env_for(k, arg, n->n_axes, n->axes, env), mask);
        sub[i] = v.is_coord ? v.coord : lap_coord_opaque(k->c, lap_map1(k->k, LAP_FN_INT, v.ref));
        lap_ref ok = in_range(k, sub[i], x->axes[i].size);
        if (lap_ref_some(ok) && fill == NULL && !k->is_lenient) {
            lap_set_loc(k->k, n->loc);
            lap_ref bad = lap_mask_both(k, mask, lap_map1(k->k, LAP_FN_NOT, ok));
            const char *text =
                lap_arena_printf(l->ctx->arena, "index outside axis '%s' of %s",
                                 lap_text(l->ctx, x->axes[i].name), lap_dim_show(l->ctx, x->axes[i].size));
            fail_once(k, bad, text);
            lap_set_loc(k->k, k->loc);
        }
        inside = lap_mask_both(k, inside, ok);
    }
    lap_val v = lap_pull(k, n->args[0], sub, lap_mask_both(k, mask, inside));
    if (fill == NULL || !lap_ref_some(inside)) {
        return v;
    }
    lap_ref other = lap_scalar_as(k->k, fill->scalar, x->dtype);
    return lap_val_of(k, lap_map3(k->k, LAP_FN_SELECT, inside, lap_val_ref(k, v), other));
}

static lap_val pull_rename(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask)
{
    const lap_node *n = lap_node_at(k->l->g, node), *x = lap_node_at(k->l->g, n->args[0]);
    lap_names from = lap_attr_names(n, LAP_ATTR_FROM), to = lap_attr_names(n, LAP_ATTR_TO);
    lap_coord *sub = lap_arena_array(k->l->ctx->arena, x->n_axes + 1, sizeof *sub);
    for (uint32_t i = 0; i < x->n_axes; i++) {
        uint32_t s = lap_names_find(from, x->axes[i].name);
        const lap_axis *a = lap_node_axis(n, s < from.n ? to.at[s] : x->axes[i].name);
        LAP_ENSURE(a != NULL);
        sub[i] = env[a - n->axes];
    }
    return lap_pull(k, n->args[0], sub, mask);
}

lap_val lap_pull_expr(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask)
{
    const lap_node *n = lap_node_at(k->l->g, node);
    switch (n->op) {
    case LAP_OP_CONST:
    case LAP_OP_FULL:
        return lap_val_of(k, scalar_node(k->k, lap_node_attr(n, LAP_ATTR_VALUE)->scalar));
    case LAP_OP_DIM:
        return (lap_val){.coord = lap_coord_dim(k->c, lap_attr_dim(n, LAP_ATTR_DIM)), .is_coord = true};
    case LAP_OP_INDEX:
        return (lap_val){.coord = env[0], .is_coord = true};
    case LAP_OP_MAP:
        return pull_map(k, node, env, mask);
    case LAP_OP_AT:
        return pull_at(k, node, env, mask);
    case LAP_OP_RENAME:
        return pull_rename(k, node, env, mask);
    case LAP_OP_CUSTOM:
        return lap_pull(k, n->args[0], lap_env_for(k, n->args[0], n->n_axes, n->axes, env), mask);
    case LAP_OP_REDUCE:
        return lap_pull_reduce(k, node, env, mask);
    default:
        LAP_BUG("'%s' cannot be computed in place", lap_op_text(n->op));
    }
}

static bool pull_row_value(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask, lap_val *out)
{
    const lap_node *n = lap_node_at(k->l->g, node);
    for (uint32_t i = 0; i < k->n_row_values; i++) {
        const lap_row_value *v = &k->row_values[i];
        bool is_here = lap_ref_same(v->node, node);
        for (uint32_t a = 0; a < n->n_axes && is_here; a++) {
            is_here = a == v->axis || lap_coord_same(env[a], v->env[a]);
        }
        if (is_here) {
            *out = lap_val_of(k, lap_k_load(k->k, v->scratch, lap_coord_ref(k->c, env[v->axis]), mask));
            return true;
        }
    }
    return false;
}

lap_val lap_pull(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask)
{
    const lap_node *n = lap_node_at(k->l->g, node);
    for (uint32_t i = 0; i < k->n_overrides; i++) {
        const lap_override *o = &k->overrides[i];
        if (lap_ref_same(o->node, node)) {
            LAP_ENSURE(n->n_axes == 0 || memcmp(o->env, env, n->n_axes * sizeof *env) == 0);
            return lap_val_of(k, lap_k_load(k->k, o->buffer, lap_coord_ref(k->c, o->index), LAP_NONE));
        }
    }
    lap_ref slid;
    if (k->window != NULL && lap_window_pull(k, node, env, &slid)) {
        return (lap_val){.ref = slid};
    }
    const lap_memo *found = memo_find(k, node, n->n_axes, env, mask);
    if (found != NULL) {
        return found->val;
    }
    lap_val kept;
    if (pull_row_value(k, node, env, mask, &kept)) {
        return kept;
    }
    const lap_plan_node *plan = lap_plan_of(k->l, node);
    lap_store_kind kind = plan->is_plain ? LAP_STORE_INLINE : plan->kind; /* coordinates are never loaded */
    lap_val v = kind == LAP_STORE_INLINE  ? lap_pull_expr(k, node, env, mask)
                : kind == LAP_STORE_ALIAS ? pull_alias(k, node, env, mask)
                : kind == LAP_STORE_LOCAL ? lap_scan_pull(k, node, env, mask)
                                          : pull_stored(k, node, env, mask);
    lap_know(k, node, env, mask, v);
    return v;
}

lap_ref lap_pull_ref(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref mask)
{
    return lap_val_ref(k, lap_pull(k, node, env, mask));
}
