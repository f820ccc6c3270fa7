/* SPDX-License-Identifier: Apache-2.0
 * contract.c - roles of the axes of a sum of products, reading factors, packing panels. */
#include "passes/contract.h"

#include <string.h>

static bool covers(const lap_node *a, const lap_node *b)
{
    for (uint32_t i = 0; i < b->n_axes; i++) {
        if (lap_node_axis(a, b->axes[i].name) == NULL) {
            return false;
        }
    }
    return true;
}

bool lap_is_product(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    if (n->op != LAP_OP_MAP || n->dtype != LAP_F32 || lap_attr_i(n, LAP_ATTR_FN, 0) != LAP_FN_MUL) {
        return false;
    }
    const lap_node *a = lap_node_at(l->g, n->args[0]), *b = lap_node_at(l->g, n->args[1]);
    return !covers(a, b) && !covers(b, a);
}

static bool flatten(lap_lowering *l, lap_ref r, lap_factors *out)
{
    const lap_node *n = lap_node_at(l->g, r);
    if (lap_is_product(l, r)) {
        return flatten(l, n->args[0], out) && flatten(l, n->args[1], out);
    }
    if (out->n == LAP_MAX_FACTORS) {
        return false;
    }
    out->at[out->n++] = r;
    return true;
}

static bool within(const lap_node *f, const lap_factors *all, lap_lowering *l)
{
    for (uint32_t i = 0; i < f->n_axes; i++) {
        bool found = false;
        for (uint32_t j = 0; j < all->n && !found; j++) {
            found = lap_node_axis(lap_node_at(l->g, all->at[j]), f->axes[i].name) != NULL;
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

bool lap_factors_have(lap_lowering *l, const lap_factors *f, lap_name name)
{
    for (uint32_t i = 0; i < f->n; i++) {
        if (lap_node_axis(lap_node_at(l->g, f->at[i]), name) != NULL) {
            return true;
        }
    }
    return false;
}

/* A: the factor with most axes. B: the one that adds most. The rest joins whichever covers it. */
static bool partition(lap_lowering *l, const lap_factors *all, lap_roles *out)
{
    uint32_t a = 0, b = UINT32_MAX, best = 0;
    for (uint32_t i = 1; i < all->n; i++) {
        a = lap_node_at(l->g, all->at[i])->n_axes > lap_node_at(l->g, all->at[a])->n_axes ? i : a;
    }
    const lap_node *na = lap_node_at(l->g, all->at[a]);
    for (uint32_t i = 0; i < all->n; i++) {
        const lap_node *f = lap_node_at(l->g, all->at[i]);
        uint32_t fresh = 0;
        for (uint32_t j = 0; j < f->n_axes; j++) {
            fresh += lap_node_axis(na, f->axes[j].name) == NULL;
        }
        if (i != a && fresh > best) {
            best = fresh;
            b = i;
        }
    }
    if (b == UINT32_MAX) {
        return false;
    }
    out->a = (lap_factors){1, {all->at[a]}};
    out->b = (lap_factors){1, {all->at[b]}};
    for (uint32_t i = 0; i < all->n; i++) {
        if (i == a || i == b) {
            continue;
        }
        const lap_node *f = lap_node_at(l->g, all->at[i]);
        lap_factors one_b = {1, {all->at[b]}}, one_a = {1, {all->at[a]}};
        if (within(f, &one_b, l)) {
            out->b.at[out->b.n++] = all->at[i];
        } else if (within(f, &one_a, l)) {
            out->a.at[out->a.n++] = all->at[i];
        } else {
            return false;
        }
    }
    return true;
}

/* Known product of extents, or `large` once it is symbolic or beyond. */
static int64_t known_size(lap_lowering *l, lap_axis_list axes, int64_t large)
{
    int64_t total = 1, size;
    for (uint32_t i = 0; i < axes.n; i++) {
        if (!lap_dim_is_const(l->ctx, axes.at[i].size, &size) || total * size > large) {
            return large;
        }
        total *= size;
    }
    return total;
}

static bool is_worth_it(lap_lowering *l, const lap_roles *r)
{
    int64_t m = known_size(l, r->m, 1024), n = known_size(l, r->n, 1024), k = known_size(l, r->k, 1024);
    return m >= 2 && n >= 4 && k >= 4 && m * n >= 16;
}

void lap_roles_swap(lap_roles *r)
{
    lap_factors f = r->a;
    r->a = r->b;
    r->b = f;
    lap_axis_list x = r->m;
    r->m = r->n;
    r->n = x;
}

bool lap_factors_static(lap_lowering *l, const lap_factors *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        if (!lap_plan_of(l, f->at[i])->is_static) {
            return false;
        }
    }
    return true;
}

static bool is_stored_bf16(lap_lowering *l, const lap_factors *f)
{
    return f->n == 1 && lap_node_at(l->g, f->at[0])->dtype == LAP_BF16;
}

bool lap_roles_take_dot(lap_lowering *l, const lap_roles *r, lap_knob knob)
{
    return lap_knob_value(l, knob) != 0 && is_stored_bf16(l, &r->a) && is_stored_bf16(l, &r->b);
}

bool lap_contract_roles(lap_lowering *l, lap_ref reduce, lap_roles *out)
{
    const lap_node *n = lap_node_at(l->g, reduce), *x = lap_node_at(l->g, n->args[0]);
    lap_factors all = {0};
    *out = (lap_roles){0};
    if (n->op != LAP_OP_REDUCE || lap_attr_i(n, LAP_ATTR_RED, 0) != LAP_RED_SUM || x->dtype != LAP_F32 ||
        !flatten(l, n->args[0], &all) || all.n < 2 || !partition(l, &all, out)) {
        return false;
    }
    lap_axis *lists = lap_arena_array(l->ctx->arena, 4 * (x->n_axes + 1), sizeof *lists);
    lap_axis *batch = lists, *m = lists + x->n_axes, *nn = m + x->n_axes, *k = nn + x->n_axes;
    uint32_t count[4] = {0};
    for (uint32_t i = 0; i < x->n_axes; i++) {
        lap_axis axis = x->axes[i];
        bool in_a = lap_factors_have(l, &out->a, axis.name), in_b = lap_factors_have(l, &out->b, axis.name);
        if (lap_node_axis(n, axis.name) == NULL) {
            k[count[3]++] = axis;
            out->has_ragged_k = out->has_ragged_k || lap_ref_some(axis.count);
        } else if (in_a && in_b) {
            batch[count[0]++] = axis;
        } else if (in_a) {
            m[count[1]++] = axis;
        } else {
            nn[count[2]++] = axis;
        }
    }
    out->batch = (lap_axis_list){count[0], batch};
    out->m = (lap_axis_list){count[1], m};
    out->n = (lap_axis_list){count[2], nn};
    out->k = (lap_axis_list){count[3], k};
    if (out->m.n == 0 || out->n.n == 0 || !is_worth_it(l, out)) {
        return false;
    }
    if (lap_factors_static(l, &out->a) && !lap_factors_static(l, &out->b)) {
        lap_roles_swap(out); /* weights are packed once */
    }
    return is_worth_it(l, out);
}

bool lap_contract_roles_ok(lap_lowering *l, lap_ref reduce)
{
    lap_roles r;
    return lap_contract_roles(l, reduce, &r);
}

bool lap_view_address(lap_kctx *k, lap_ref node, const lap_coord *env, uint32_t *out_buffer,
                      lap_coord *out_address)
{
    lap_lowering *l = k->l;
    const lap_node *n = lap_node_at(l->g, node);
    const lap_plan_node *p = lap_plan_of(l, node);
    if (p->kind != LAP_STORE_INLINE && p->kind != LAP_STORE_ALIAS) {
        *out_buffer = p->buffer;
        *out_address = lap_address(k, node, env);
        return lap_dtype_compute(l->buffers[p->buffer].elem) == LAP_F32;
    }
    if (p->kind != LAP_STORE_INLINE || (n->op != LAP_OP_RENAME && n->op != LAP_OP_AT)) {
        return false;
    }
    const lap_node *x = lap_node_at(l->g, n->args[0]);
    lap_names src = lap_attr_names(n, n->op == LAP_OP_AT ? LAP_ATTR_SRC : LAP_ATTR_FROM);
    lap_names to = n->op == LAP_OP_AT ? (lap_names){0} : lap_attr_names(n, LAP_ATTR_TO);
    lap_coord *sub = lap_arena_array(l->ctx->arena, x->n_axes + 1, sizeof *sub);
    for (uint32_t i = 0; i < x->n_axes; i++) {
        lap_name name = x->axes[i].name;
        uint32_t s = lap_names_find(src, name);
        if (n->op == LAP_OP_AT && s < src.n) {
            lap_ref arg = n->args[1 + s];
            if (!lap_plan_of(l, arg)->is_plain) {
                return false;
            }
            sub[i] = lap_pull(k, arg, lap_env_for(k, arg, n->n_axes, n->axes, env), LAP_NONE).coord;
            if (lap_coord_compare(k->c, sub[i], LAP_REL_GE, lap_coord_const(k->c, 0)) != LAP_YES ||
                lap_coord_compare(k->c, sub[i], LAP_REL_LT, lap_coord_dim(k->c, x->axes[i].size)) !=
                    LAP_YES) {
                return false;
            }
            continue;
        }
        name = s < src.n ? to.at[s] : name;
        const lap_axis *a = lap_node_axis(n, name);
        LAP_ENSURE(a != NULL);
        sub[i] = env[a - n->axes];
    }
    return lap_view_address(k, n->args[0], sub, out_buffer, out_address);
}

lap_ref lap_factors_value(lap_kctx *k, const lap_factors *f, const lap_env_list *env, lap_ref mask,
                          bool zero_absent)
{
    lap_ref product = LAP_NONE, present = LAP_NONE;
    for (uint32_t i = 0; i < f->n; i++) {
        const lap_node *n = lap_node_at(k->l->g, f->at[i]);
        const lap_coord *sub = lap_env_for(k, f->at[i], env->n, env->axes, env->coords);
        lap_ref here = lap_present(k, n->n_axes, n->axes, sub, NULL);
        lap_ref v = lap_pull_ref(k, f->at[i], sub, lap_mask_both(k, mask, here));
        present = lap_mask_both(k, present, here);
        product = lap_ref_some(product) ? lap_map2(k->k, LAP_FN_MUL, product, v) : v;
    }
    lap_dtype t = lap_node_at(k->k, product)->dtype;
    product = t == LAP_F32 ? product : lap_map1(k->k, LAP_FN_FLOAT, product);
    lap_ref keep = zero_absent ? lap_mask_both(k, mask, present) : mask;
    return lap_ref_some(keep) ? lap_map3(k->k, LAP_FN_SELECT, keep, product, lap_const_f(k->k, 0)) : product;
}
