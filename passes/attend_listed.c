/* SPDX-License-Identifier: Apache-2.0
 * attend_listed.c - keys in blocks that a list of the queries names: K[.., r, j] = X[.., list(.., r), j].
 *
 * The panels of X are packed once for all queries, block after block; a tile of keys is then found by its
 * block's number, so that a live block costs what a block of dense attention does. */
#include "passes/attend.h"

/* X of an operand that reads blocks by `listed->index`; learns the index from the first. */
static bool take_source(lap_lowering *l, lap_ref r, const lap_roles *score, lap_listed *listed,
                        lap_axis *out_source)
{
    const lap_node *n = lap_node_at(l->g, r);
    if (lap_plan_of(l, r)->kind != LAP_STORE_INLINE || n->op != LAP_OP_AT || n->n_args != 2 ||
        lap_node_attr(n, LAP_ATTR_FILL) != NULL) {
        return false;
    }
    if (lap_ref_some(listed->index) && !lap_ref_same(listed->index, n->args[1])) {
        return false;
    }
    listed->index = n->args[1];
    const lap_node *x = lap_node_at(l->g, n->args[0]);
    *out_source = *lap_node_axis(x, lap_attr_names(n, LAP_ATTR_SRC).at[0]);
    const lap_axis_list rows[2] = {score->batch, score->m};
    for (int i = 0; i < 2; i++) {
        if (lap_axis_find(rows[i].at, rows[i].n, out_source->name) != NULL) {
            return false; /* the same name for blocks of queries and of keys */
        }
    }
    return lap_node_axis(x, score->n.at[0].name) == NULL && lap_node_axis(x, score->n.at[1].name) != NULL &&
           !lap_ref_some(out_source->count);
}

/* The list's axes: rows of the batch, and the first of the keys' two. */
static bool is_list(lap_lowering *l, const lap_roles *score, lap_ref index)
{
    const lap_node *n = lap_node_at(l->g, index);
    bool by_entry = false;
    for (uint32_t i = 0; i < n->n_axes; i++) {
        bool is_entry = lap_name_same(n->axes[i].name, score->n.at[0].name);
        if (!is_entry && lap_axis_find(score->batch.at, score->batch.n, n->axes[i].name) == NULL) {
            return false;
        }
        by_entry = by_entry || is_entry;
    }
    return by_entry && n->dtype != LAP_F32 && !lap_plan_of(l, index)->is_affine;
}

static lap_axis_list pair(lap_lowering *l, lap_axis a, lap_axis b)
{
    lap_axis *at = lap_arena_array(l->ctx->arena, 2, sizeof *at);
    at[0] = a;
    at[1] = b;
    return (lap_axis_list){2, at};
}

bool lap_attend_listed(lap_lowering *l, const lap_node *op, const lap_part *part, const lap_roles *score,
                       const lap_roles *value, lap_listed *out)
{
    lap_axis k, v;
    *out = (lap_listed){.keys = *score, .values = *value};
    if (score->n.n != 2 || score->b.n != 1 || part->where >= 0 ||
        !take_source(l, score->b.at[0], score, out, &k) ||
        !take_source(l, op->args[part->value], score, out, &v) || !is_list(l, score, out->index)) {
        return false;
    }
    int64_t cols;
    const lap_axis *entry = &score->n.at[0], *inner = &score->n.at[1];
    if (lap_ref_some(entry->count) || lap_ref_some(inner->count) ||
        !lap_dim_is_const(l->ctx, inner->size, &out->block) || out->block < 1) {
        return false;
    }
    cols = lap_panel_cols(l, inner->size, LAP_KNOB_ATTEND_COLS);
    out->reads[0] = score->b.at[0];
    out->reads[1] = op->args[part->value];
    out->sizes[0] = k.size;
    out->sizes[1] = v.size;
    out->keys.b.at[0] = lap_node_at(l->g, score->b.at[0])->args[0];
    out->keys.n = pair(l, k, *inner);
    out->values.b.at[0] = lap_node_at(l->g, op->args[part->value])->args[0];
    out->values.k = pair(l, v, *inner);
    return out->block % cols == 0;
}

/* Number of the block for coordinates of the list's axes; fails at run time where there is none. */
static lap_coord listed_block(lap_kctx *k, const lap_listed *listed, const lap_coord *env)
{
    lap_lowering *l = k->l;
    lap_coord block = lap_pull(k, listed->index, env, LAP_NONE).coord;
    for (int i = 0; i < 2; i++) {
        const lap_node *n = lap_node_at(l->g, listed->reads[i]);
        lap_ref at = lap_coord_ref(k->c, block);
        lap_ref bad = lap_map2(k->k, LAP_FN_OR, lap_map2(k->k, LAP_FN_LT, at, lap_const_i(k->k, 0)),
                               lap_map2(k->k, LAP_FN_GE, at, lap_dim_node(k->k, listed->sizes[i])));
        const char *text = lap_arena_printf(l->ctx->arena, "index outside axis '%s' of %s",
                                            lap_text(l->ctx, lap_attr_names(n, LAP_ATTR_SRC).at[0]),
                                            lap_dim_show(l->ctx, listed->sizes[i]));
        lap_set_loc(k->k, n->loc);
        lap_k_fail(k->k, bad, text);
        lap_set_loc(k->k, k->loc);
    }
    return block;
}

lap_coord lap_listed_key(lap_tiles *t, const lap_listed *listed, lap_coord key)
{
    lap_coords *c = t->k->c;
    lap_coord block = lap_coord_const(c, listed->block), entry = lap_coord_floordiv(c, key, block);
    *lap_tiles_coord(t, t->r.n.at[0].name) = entry;
    const lap_coord *env = lap_env_for(t->k, listed->index, t->env.n, t->axes, t->coords);
    lap_coord source = listed_block(t->k, listed, env);
    return lap_coord_add(c, lap_coord_mul(c, source, block), lap_coord_mod(c, key, block));
}
