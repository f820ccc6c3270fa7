/* SPDX-License-Identifier: Apache-2.0
 * sharing.c - warnings where two token axes are aligned because they have one name.
 *
 * Operands align by name, so queries and keys over the same axis meet at their own place alone, and a value
 * over the axis of the queries is the same for every key. Both are allowed, and hardly ever meant. A score
 * is judged by its contractions: one whose factors all have the key axis makes no pairs. A square (a norm)
 * and a product with a factor that is free of the keys (a learned direction) are scores of the keys
 * themselves. */
#include "frontends/lua/binding.h"

#include <string.h>

enum { MOST_VISITS = 256, MOST_FACTORS = 8, DEEPEST_PRODUCT = 64 };

typedef struct search {
    lap_graph *g;
    uint32_t n_visits;
    bool is_shared, is_apart; /* some contraction aligns the keys with themselves, some makes pairs */
} search;

typedef struct factors {
    uint32_t n;
    lap_ref at[MOST_FACTORS];
    bool is_whole;
} factors;

static bool varies(const lap_node *n, lap_names over)
{
    for (uint32_t i = 0; i < over.n; i++) {
        if (lap_node_axis(n, over.at[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* The factors of a product that vary over the axes summed. A product that does has a factor that does, so
 * the two bounds hold all visits, also where factors are products of one value with itself. */
static void split_product(const lap_graph *g, lap_ref r, lap_names over, unsigned depth, factors *out)
{
    const lap_node *n = lap_node_at(g, r);
    if (!out->is_whole || !varies(n, over)) {
        return;
    }
    if (n->op == LAP_OP_MAP && lap_attr_i(n, LAP_ATTR_FN, 0) == LAP_FN_MUL) {
        out->is_whole = depth < DEEPEST_PRODUCT;
        split_product(g, n->args[0], over, depth + 1, out);
        split_product(g, n->args[1], over, depth + 1, out);
        return;
    }
    out->is_whole = out->n < MOST_FACTORS;
    if (out->is_whole) {
        out->at[out->n++] = r;
    }
}

static void judge_sum(search *s, const lap_node *sum, lap_name key)
{
    factors f = {.is_whole = true};
    split_product(s->g, sum->args[0], lap_attr_names(sum, LAP_ATTR_OVER), 0, &f);
    uint32_t n_with = 0;
    bool is_square = true;
    for (uint32_t i = 0; i < f.n; i++) {
        n_with += lap_node_axis(lap_node_at(s->g, f.at[i]), key) != NULL;
        is_square = is_square && lap_ref_same(f.at[i], f.at[0]);
    }
    if (f.n < 2 || !f.is_whole || is_square || n_with == 0) {
        return;
    }
    s->is_shared = s->is_shared || n_with == f.n;
    s->is_apart = s->is_apart || n_with < f.n;
}

/* The contractions that the score is elementwise around. `key` is the key axis as `r` names it. */
static void judge(search *s, lap_ref r, lap_name key)
{
    const lap_node *n = lap_node_at(s->g, r);
    if (++s->n_visits > MOST_VISITS || lap_node_axis(n, key) == NULL) {
        return;
    }
    if (n->op == LAP_OP_MAP) {
        for (uint32_t i = 0; i < n->n_args; i++) {
            judge(s, n->args[i], key);
        }
    } else if (n->op == LAP_OP_RENAME) {
        lap_names from = lap_attr_names(n, LAP_ATTR_FROM), to = lap_attr_names(n, LAP_ATTR_TO);
        uint32_t at = lap_names_find(to, key);
        judge(s, n->args[0], at < to.n ? from.at[at] : key);
    } else if (n->op == LAP_OP_REDUCE && lap_attr_i(n, LAP_ATTR_RED, 0) == LAP_RED_SUM) {
        judge_sum(s, n, key);
    }
}

/* A name for the other axis, as one would write it: "n -> m". */
static const char *other_name(lap_ctx *ctx, lap_name axis)
{
    const char *name = lap_text(ctx, axis);
    return strcmp(name, "n") == 0   ? "m"
           : strcmp(name, "i") == 0 ? "j"
                                    : lap_arena_printf(ctx->arena, "k%s", name);
}

static void look_at_score(lap_graph *g, lap_ref score, lap_names keys)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    for (uint32_t i = 0; i < keys.n; i++) {
        search s = {.g = g};
        judge(&s, score, keys.at[i]);
        if (s.is_shared && !s.is_apart && s.n_visits <= MOST_VISITS) {
            const char *n = lap_text(ctx, keys.at[i]), *m = other_name(ctx, keys.at[i]);
            lap_warning(
                ctx, lap_get_loc(g),
                "queries and keys share the axis '%s', so each query meets the key at its own place "
                "alone\nhint: give the keys an axis of their own: q, k, v = q:queries(\"%s -> %s\", k, "
                "v), keys = \"%s\"",
                n, n, m, m);
            return;
        }
    }
}

/* An axis of the rows with the extent of the key axis, which x has: what x was meant to be renamed from. */
static const lap_axis *twin_of(const lap_axis *key, const lap_node *x, const lap_node *rows, lap_names keys)
{
    for (uint32_t i = 0; i < x->n_axes; i++) {
        const lap_axis *a = &x->axes[i];
        if (!lap_names_has(keys, a->name) && lap_node_axis(rows, a->name) != NULL &&
            lap_dim_same(a->size, key->size)) {
            return a;
        }
    }
    return NULL;
}

/* What the keys do not vary: the value, or all that weighs them. */
static void look_at_part(lap_graph *g, const lap_node *op, const lap_part *p)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    const lap_node *score = lap_node_at(g, op->args[p->score]);
    const lap_node *value = p->value >= 0 ? lap_node_at(g, op->args[p->value]) : NULL;
    look_at_score(g, op->args[p->score], p->keys);
    for (uint32_t i = 0; i < p->keys.n && value != NULL; i++) {
        const lap_axis *in_score = lap_node_axis(score, p->keys.at[i]);
        const lap_axis *in_value = lap_node_axis(value, p->keys.at[i]);
        bool is_in_where = p->where >= 0 && lap_node_axis(lap_node_at(g, op->args[p->where]), p->keys.at[i]);
        bool is_in_after = p->after >= 0 && lap_node_axis(lap_node_at(g, op->args[p->after]), p->keys.at[i]);
        const char *key = lap_text(ctx, p->keys.at[i]);
        const lap_axis *twin =
            in_score != NULL && in_value == NULL ? twin_of(in_score, value, score, p->keys) : NULL;
        if (twin != NULL) {
            const char *n = lap_text(ctx, twin->name);
            lap_warning(
                ctx, lap_get_loc(g),
                "the value %s has the axis '%s' of the queries and no key axis '%s', so all keys of a "
                "query have the same value\nhint: rename it as the keys are: v:as(\"%s -> %s\")",
                lap_type_show(ctx, value), n, key, n, key);
        }
        twin = in_score == NULL && in_value != NULL && !is_in_where && !is_in_after
                   ? twin_of(in_value, score, score, p->keys)
                   : NULL;
        if (twin != NULL) {
            const char *n = lap_text(ctx, twin->name);
            lap_warning(
                ctx, lap_get_loc(g),
                "the score %s has no key axis '%s', so all keys weigh the same\nhint: rename the keys "
                "in it: k:as(\"%s -> %s\")",
                lap_type_show(ctx, score), key, n, key);
        }
    }
}

/* look_attend(node) */
static int prim_look_attend(lua_State *L)
{
    lap_graph *g = lap_lua_graph(L);
    const lap_node *op = lap_node_at(g, lap_lua_value(L, 1));
    lap_parts parts = lap_node_attr(op, LAP_ATTR_PARTS)->parts;
    for (uint32_t i = 0; i < parts.n; i++) {
        look_at_part(g, op, &parts.at[i]);
    }
    return 0;
}

/* look_scores(x, names): x is normalised over these axes. */
static int prim_look_scores(lua_State *L)
{
    look_at_score(lap_lua_graph(L), lap_lua_value(L, 1), lap_lua_names(L, 2));
    return 0;
}

void lap_lua_look_same(lua_State *L, lap_fn fn, lap_ref a, lap_ref b)
{
    lap_graph *g = lap_lua_of(L)->graph;
    if (!lap_ref_same(a, b) || !lap_ref_some(a) || lap_node_at(g, a)->op != LAP_OP_INDEX) {
        return;
    }
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_name axis = lap_node_at(g, a)->axes[0].name;
    const char *n = lap_text(ctx, axis), *m = other_name(ctx, axis);
    lap_warning(
        ctx, lap_get_loc(g),
        "both operands of '%s' are the coordinate along '%s'\nhint: where one is meant to be that of the "
        "keys, give them an axis of their own: k:as(\"%s -> %s\"):index \"%s\"",
        lap_fn_text(fn), n, n, m, m);
}

void lap_lua_open_sharing(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"look_attend", prim_look_attend}, {"look_scores", prim_look_scores}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
