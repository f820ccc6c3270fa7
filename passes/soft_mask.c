/* SPDX-License-Identifier: Apache-2.0
 * soft_mask.c - see soft_mask.h.
 *
 *   where(seen, s, -inf)    s + where(seen, 0, -inf)    s + (1 - seen) * -1e9    and scaled by factors > 0
 *
 * That a row keeps a key is shown by a key that it sees: the first, the last, or the one at the row's own
 * coordinate. The predicate there is written anew, and the builder's folding finds it true or not. */
#include "passes/soft_mask.h"

#include "ir/fold.h"

#include <math.h>

#define LOW       LAP_SOFT_LOW
#define MAX_DEPTH 24

typedef struct splitter {
    lap_graph *g;
    lap_ref where;
    bool takes_low, has_low;
} splitter;

static bool fn_of(const lap_graph *g, lap_ref r, lap_fn *out)
{
    const lap_node *n = lap_node_at(g, r);
    *out = (lap_fn)lap_attr_i(n, LAP_ATTR_FN, LAP_N_FNS);
    return n->op == LAP_OP_MAP;
}

static bool number(const lap_graph *g, lap_ref r, double *out)
{
    lap_scalar c;
    if (!lap_fold_splat(g, r, &c)) {
        return false;
    }
    *out = c.dtype == LAP_F32 ? c.f : (double)c.i;
    return true;
}

/* A score, times `factor`, that gives its key no weight. */
static bool is_mask(splitter *s, lap_ref r, double factor)
{
    double v;
    if (!number(s->g, r, &v) || !(v * factor <= LOW)) {
        return false;
    }
    bool is_low = isfinite(v);
    s->has_low = s->has_low || (is_low && s->takes_low);
    return !is_low || s->takes_low;
}

static void keep(splitter *s, lap_ref seen)
{
    s->where = lap_ref_some(s->where) ? lap_map2(s->g, LAP_FN_AND, s->where, seen) : seen;
}

/* (1 - seen) * low */
static bool split_penalty(splitter *s, const lap_ref *args, double factor)
{
    double one;
    lap_fn fn;
    if (!fn_of(s->g, args[0], &fn) || fn != LAP_FN_SUB) {
        return false;
    }
    const lap_ref *terms = lap_node_at(s->g, args[0])->args;
    lap_ref seen = terms[1];
    if (fn_of(s->g, seen, &fn) && fn == LAP_FN_FLOAT) {
        seen = lap_node_at(s->g, seen)->args[0];
    }
    double v;
    if (lap_node_at(s->g, seen)->dtype != LAP_BOOL || !number(s->g, terms[0], &one) || one != 1 ||
        !number(s->g, args[1], &v) || !isfinite(v) || !is_mask(s, args[1], factor)) {
        return false;
    }
    keep(s, seen);
    return true;
}

static lap_ref split(splitter *s, lap_ref r, double factor, unsigned depth);

static lap_ref split_scaled(splitter *s, lap_ref r, lap_fn fn, double factor, unsigned depth)
{
    const lap_ref *args = lap_node_at(s->g, r)->args;
    double c;
    if (fn == LAP_FN_MUL && split_penalty(s, args, factor)) {
        return lap_const_f(s->g, 0);
    }
    if (!number(s->g, args[1], &c) || !(c > 0) || !isfinite(c)) {
        return r;
    }
    lap_ref scale = args[1], inner = split(s, args[0], fn == LAP_FN_MUL ? factor * c : factor / c, depth + 1);
    return lap_map2(s->g, fn, inner, scale);
}

/* r without its masks; the conditions go to s->where. */
static lap_ref split(splitter *s, lap_ref r, double factor, unsigned depth)
{
    lap_fn fn;
    if (depth > MAX_DEPTH || !fn_of(s->g, r, &fn) || lap_node_at(s->g, r)->dtype != LAP_F32) {
        return r;
    }
    const lap_ref *args = lap_node_at(s->g, r)->args;
    lap_ref a = args[0], b = lap_node_at(s->g, r)->n_args > 1 ? args[1] : LAP_NONE;
    switch (fn) {
    case LAP_FN_SELECT:
        if (is_mask(s, args[2], factor)) {
            keep(s, a);
            return split(s, b, factor, depth + 1);
        }
        if (is_mask(s, args[1], factor)) {
            lap_ref rest = args[2];
            keep(s, lap_map1(s->g, LAP_FN_NOT, a));
            return split(s, rest, factor, depth + 1);
        }
        return r;
    case LAP_FN_ADD:
        a = split(s, a, factor, depth + 1);
        return lap_map2(s->g, fn, a, split(s, b, factor, depth + 1));
    case LAP_FN_SUB:
        return lap_map2(s->g, fn, split(s, a, factor, depth + 1), b);
    case LAP_FN_MUL:
    case LAP_FN_DIV:
        return split_scaled(s, r, fn, factor, depth);
    default:
        return r;
    }
}

/* ---- a key for every row -------------------------------------------------------------------- */

typedef enum choice { FIRST, LAST, OWN, N_CHOICES } choice;

typedef struct chooser {
    lap_graph *g;
    lap_names keys;
    lap_ref key[LAP_MAX_AXES]; /* what stands for the coordinate of each */
} chooser;

/* The condition with the keys' coordinates replaced; none where it reads anything but coordinates. */
static lap_ref at_keys(chooser *c, lap_ref r, unsigned depth)
{
    const lap_node *n = lap_node_at(c->g, r);
    if (n->op == LAP_OP_INDEX && lap_names_has(c->keys, n->axes[0].name)) {
        return c->key[lap_names_find(c->keys, n->axes[0].name)];
    }
    if (n->op == LAP_OP_INDEX || n->op == LAP_OP_CONST || n->op == LAP_OP_DIM) {
        return r;
    }
    if (n->op == LAP_OP_FULL) {
        return lap_fold_number(c->g, lap_node_attr(n, LAP_ATTR_VALUE)->scalar,
                               &(lap_type){.dtype = n->dtype});
    }
    if (n->op != LAP_OP_MAP || depth > MAX_DEPTH) {
        return LAP_NONE;
    }
    lap_ref args[3], from[3];
    uint32_t n_args = n->n_args;
    lap_fn fn = (lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0);
    for (uint32_t i = 0; i < n_args; i++) {
        from[i] = n->args[i];
    }
    for (uint32_t i = 0; i < n_args; i++) {
        args[i] = at_keys(c, from[i], depth + 1);
        if (!lap_ref_some(args[i])) {
            return LAP_NONE;
        }
    }
    return n_args == 1   ? lap_map1(c->g, fn, args[0])
           : n_args == 2 ? lap_map2(c->g, fn, args[0], args[1])
                         : lap_map3(c->g, fn, args[0], args[1], args[2]);
}

/* A row axis as long as the key axis, each used once. */
static lap_ref own_coordinate(lap_graph *g, const lap_node *where, lap_names keys, const lap_axis *key,
                              uint32_t *used)
{
    for (uint32_t i = 0; i < where->n_axes; i++) {
        const lap_axis *a = &where->axes[i];
        if (!(*used >> i & 1) && !lap_names_has(keys, a->name) && !lap_ref_some(a->count) &&
            lap_dim_same(a->size, key->size)) {
            *used |= (uint32_t)1 << i;
            return lap_index(g, *a);
        }
    }
    return LAP_NONE;
}

static bool choose(chooser *c, const lap_node *where, choice which)
{
    lap_ctx *ctx = lap_graph_ctx(c->g);
    uint32_t used = 0;
    lap_dim one = lap_dim_const(ctx, 1);
    for (uint32_t i = 0; i < c->keys.n; i++) {
        const lap_axis *key = lap_node_axis(where, c->keys.at[i]);
        c->key[i] = lap_const_i(c->g, 0);
        if (key == NULL) {
            continue; /* the condition does not read it */
        }
        if (lap_ref_some(key->count)) {
            return false;
        }
        if (which == OWN) {
            c->key[i] = own_coordinate(c->g, where, c->keys, key, &used);
        } else if (which == LAST) {
            c->key[i] = lap_dim_node(c->g, lap_dim_sub(ctx, key->size, one));
        }
        if (!lap_ref_some(c->key[i])) {
            return false;
        }
    }
    return true;
}

/* Whether every row provably has a key (sizes of 0 aside: then there is no row, or nothing is masked). */
static bool keeps_a_key(lap_graph *g, lap_ref where, lap_names keys)
{
    if (keys.n > LAP_MAX_AXES) {
        return false;
    }
    lap_node rows = *lap_node_at(g, where);
    for (choice which = FIRST; which < N_CHOICES; which++) {
        chooser c = {.g = g, .keys = keys};
        lap_ref seen = choose(&c, &rows, which) ? at_keys(&c, where, 0) : LAP_NONE;
        double v;
        if (lap_ref_some(seen) && number(g, seen, &v) && v != 0) {
            return true;
        }
    }
    return false;
}

lap_soft_mask lap_soft_mask_split(lap_graph *g, lap_ref score, lap_names keys, lap_low_rows low)
{
    splitter s = {.g = g, .takes_low = true};
    lap_ref bare = split(&s, score, 1, 0);
    if (s.has_low && low != LAP_LOW_NAN && !keeps_a_key(g, s.where, keys)) {
        s = (splitter){.g = g};
        bare = low == LAP_LOW_EVEN ? split(&s, score, 1, 0) : LAP_NONE;
    }
    return (lap_soft_mask){bare, s.where};
}
