/* SPDX-License-Identifier: Apache-2.0
 * pattern.c - see pattern.h.
 *
 * A walk goes from a factor of the score's contraction down to its source, through views, projections and
 * elementwise operations, and composes the index maps on the way: coord[a] is where along axis a of the node
 * at hand a row or key is read, or none where a summed axis has a part in it. */
#include "passes/pattern.h"

#include <string.h>

#include "ir/build.h"

enum { MOST_FACTORS = 8, DEEPEST_PRODUCT = 64, MOST_PLACES = 512, MOST_VISITS = 256 };

typedef struct place {
    lap_ref node;
    lap_ref coord[LAP_MAX_AXES]; /* by axis of the node */
} place;

typedef struct chain {
    uint32_t n;
    place *at; /* from the factor to its source, as far as the places of `cover` are known */
} chain;

static bool has_axis(const lap_graph *g, lap_ref r, lap_name name)
{
    return lap_ref_some(r) && lap_node_axis(lap_node_at(g, r), name) != NULL;
}

static bool has_any(const lap_graph *g, lap_ref r, lap_names names)
{
    for (uint32_t i = 0; i < names.n; i++) {
        if (has_axis(g, r, names.at[i])) {
            return true;
        }
    }
    return false;
}

/* ---- the contraction of a score ------------------------------------------------------------ */

typedef struct factors {
    uint32_t n;
    lap_ref at[MOST_FACTORS];
} factors;

static void split_product(const lap_graph *g, lap_ref r, lap_names over, unsigned depth, factors *out)
{
    const lap_node *n = lap_node_at(g, r);
    bool is_product = n->op == LAP_OP_MAP && lap_attr_i(n, LAP_ATTR_FN, 0) == LAP_FN_MUL;
    if (is_product && depth < DEEPEST_PRODUCT && out->n < MOST_FACTORS) {
        split_product(g, n->args[0], over, depth + 1, out);
        split_product(g, n->args[1], over, depth + 1, out);
    } else if (has_any(g, r, over) && out->n < MOST_FACTORS) {
        out->at[out->n++] = r;
    }
}

/* The factor of most axes among those that vary over some key, or over none. */
static lap_ref widest(const lap_graph *g, const factors *f, lap_names keys, bool with_keys)
{
    lap_ref best = LAP_NONE;
    for (uint32_t i = 0; i < f->n; i++) {
        if (has_any(g, f->at[i], keys) == with_keys &&
            (!lap_ref_some(best) || lap_node_at(g, f->at[i])->n_axes > lap_node_at(g, best)->n_axes)) {
            best = f->at[i];
        }
    }
    return best;
}

/* The factors of the first contraction in the score that makes pairs; false: there is none. */
static bool find_factors(const lap_graph *g, lap_ref r, lap_names keys, uint32_t *visits, lap_ref *q,
                         lap_ref *k)
{
    const lap_node *n = lap_node_at(g, r);
    if (++*visits > MOST_VISITS || !has_any(g, r, keys)) {
        return false;
    }
    if (n->op == LAP_OP_REDUCE && lap_attr_i(n, LAP_ATTR_RED, 0) == LAP_RED_SUM) {
        factors f = {0};
        split_product(g, n->args[0], lap_attr_names(n, LAP_ATTR_OVER), 0, &f);
        *q = widest(g, &f, keys, false);
        *k = widest(g, &f, keys, true);
        return lap_ref_some(*q) && lap_ref_some(*k);
    }
    for (uint32_t i = 0; n->op == LAP_OP_MAP && i < n->n_args; i++) {
        if (find_factors(g, n->args[i], keys, visits, q, k)) {
            return true;
        }
    }
    return false;
}

/* ---- following a factor to its source ------------------------------------------------------ */

/* The index map `e` of a node's axes at the coordinates of that node; none where one of them is unknown. */
static lap_ref compose(lap_graph *g, lap_ref e, const lap_node *n, const lap_ref *coord)
{
    static const lap_scalar outside = {.dtype = LAP_I64, .i = -1};
    const lap_node *map = lap_node_at(g, e);
    lap_name src[LAP_MAX_AXES];
    lap_ref index[LAP_MAX_AXES];
    uint32_t n_src = 0;
    for (uint32_t i = 0; i < map->n_axes; i++) {
        const lap_axis *a = lap_node_axis(n, map->axes[i].name);
        lap_ref c = a != NULL ? coord[a - n->axes] : LAP_NONE;
        if (!lap_ref_some(c)) {
            return LAP_NONE;
        }
        const lap_node *at = lap_node_at(g, c);
        if (at->op == LAP_OP_INDEX && lap_name_same(at->axes[0].name, map->axes[i].name)) {
            continue;
        }
        src[n_src] = map->axes[i].name;
        index[n_src++] = c;
    }
    return n_src == 0 ? e : lap_at(g, e, (lap_names){n_src, src}, index, &outside);
}

/* The operand whose places are the node's own; none: they are not followed further. */
static lap_ref source_of(const lap_graph *g, const lap_node *n)
{
    lap_ref best = LAP_NONE;
    switch (n->op) {
    case LAP_OP_AT:
    case LAP_OP_RENAME:
    case LAP_OP_REDUCE:
    case LAP_OP_CUSTOM:
        return n->args[0];
    case LAP_OP_MAP:
        for (uint32_t i = 0; i < n->n_args; i++) {
            const lap_node *x = lap_node_at(g, n->args[i]);
            if (lap_dtype_compute(x->dtype) == LAP_F32 &&
                (!lap_ref_some(best) || x->n_axes > lap_node_at(g, best)->n_axes)) {
                best = n->args[i];
            }
        }
        return best;
    default:
        return LAP_NONE;
    }
}

/* Where axis `a` of the operand is read. */
static lap_ref coord_below(lap_graph *g, const lap_node *n, const lap_ref *coord, lap_name a)
{
    lap_names src = lap_attr_names(n, LAP_ATTR_SRC), from = lap_attr_names(n, LAP_ATTR_FROM);
    lap_names to = lap_attr_names(n, LAP_ATTR_TO);
    if (n->op == LAP_OP_AT && lap_names_has(src, a)) {
        return compose(g, n->args[1 + lap_names_find(src, a)], n, coord);
    }
    lap_name above = n->op == LAP_OP_RENAME && lap_names_has(from, a) ? to.at[lap_names_find(from, a)] : a;
    const lap_axis *axis = lap_node_axis(n, above);
    return axis != NULL ? coord[axis - n->axes] : LAP_NONE; /* summed: every place of it */
}

static bool covers(const lap_graph *g, const place *p, lap_names cover)
{
    for (uint32_t i = 0; i < cover.n; i++) {
        bool is_known = false;
        for (uint32_t a = 0; a < lap_node_at(g, p->node)->n_axes; a++) {
            is_known = is_known || has_axis(g, p->coord[a], cover.at[i]);
        }
        if (!is_known) {
            return false;
        }
    }
    return true;
}

/* `own`: axes of rows and keys, which a factor is read at as they are. */
static chain follow(lap_graph *g, lap_ref factor, lap_names own, lap_names cover)
{
    chain c = {0};
    size_t capacity = 0;
    place p = {.node = factor};
    const lap_node *n = lap_node_at(g, factor);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        lap_axis plain = {.name = n->axes[i].name, .size = n->axes[i].size};
        p.coord[i] = lap_names_has(own, plain.name) ? lap_index(g, plain) : LAP_NONE;
        n = lap_node_at(g, factor);
    }
    while (covers(g, &p, cover) && c.n < MOST_PLACES) {
        lap_arena_grow(lap_graph_ctx(g)->arena, &c.at, c.n, 1, &capacity, sizeof *c.at);
        c.at[c.n++] = p;
        place below = {.node = source_of(g, lap_node_at(g, p.node))};
        if (!lap_ref_some(below.node)) {
            break;
        }
        for (uint32_t i = 0; i < lap_node_at(g, below.node)->n_axes; i++) {
            lap_name a = lap_node_at(g, below.node)->axes[i].name;
            below.coord[i] = coord_below(g, lap_node_at(g, p.node), p.coord, a);
        }
        p = below;
    }
    return c;
}

/* ---- tokens -------------------------------------------------------------------------------- */

static void add_token_axis(lap_graph *g, lap_tokens *t, const place *p, uint32_t axis)
{
    t->axis[t->n] = lap_node_at(g, p->node)->axes[axis];
    t->place[t->n++] = p->coord[axis];
}

/* Axes of one source that the query and the key of a pair need not share. */
static bool share_source(lap_graph *g, const chain *q, const chain *k, lap_pattern *out)
{
    for (uint32_t i = q->n; i-- > 0;) {
        for (uint32_t j = k->n; j-- > 0;) {
            const place *a = &q->at[i], *b = &k->at[j];
            if (!lap_ref_same(a->node, b->node)) {
                continue;
            }
            out->queries.n = out->tokens.n = 0;
            for (uint32_t x = 0; x < lap_node_at(g, a->node)->n_axes; x++) {
                bool is_known = lap_ref_some(a->coord[x]) && lap_ref_some(b->coord[x]);
                bool varies = is_known && (lap_node_at(g, a->coord[x])->n_axes > 0 ||
                                           lap_node_at(g, b->coord[x])->n_axes > 0);
                if (varies && !lap_ref_same(a->coord[x], b->coord[x])) {
                    add_token_axis(g, &out->queries, a, x);
                    add_token_axis(g, &out->tokens, b, x);
                }
            }
            return out->tokens.n > 0;
        }
    }
    return false;
}

/* Axes of a source of its own that vary over `names`. */
static void take_tokens(lap_graph *g, const chain *c, lap_names names, lap_tokens *out)
{
    const place *p = &c->at[c->n - 1];
    out->n = 0;
    for (uint32_t x = 0; x < lap_node_at(g, p->node)->n_axes; x++) {
        if (has_any(g, p->coord[x], names)) {
            add_token_axis(g, out, p, x);
        }
    }
}

/* Without a contraction rows and keys are tokens themselves. */
static void take_axes(lap_graph *g, uint32_t n, const lap_axis *axes, lap_tokens *out)
{
    out->n = 0;
    for (uint32_t i = 0; i < n; i++) {
        out->axis[out->n] = axes[i];
        out->place[out->n++] = lap_index(g, (lap_axis){.name = axes[i].name, .size = axes[i].size});
    }
}

typedef struct names_list {
    uint32_t n;
    lap_name at[LAP_MAX_AXES];
} names_list;

static lap_names as_names(const names_list *l) { return (lap_names){l->n, l->at}; }

static void add_name(names_list *l, lap_name name)
{
    if (l->n < LAP_MAX_AXES && !lap_names_has(as_names(l), name)) {
        l->at[l->n++] = name;
    }
}

/* A batch: query and key are at one and the same place of it. */
static bool is_batch(const lap_graph *g, lap_ref k, const place *source, lap_name name)
{
    for (uint32_t x = 0; has_axis(g, k, name) && x < lap_node_at(g, source->node)->n_axes; x++) {
        const lap_node *at = lap_ref_some(source->coord[x]) ? lap_node_at(g, source->coord[x]) : NULL;
        if (at != NULL && at->op == LAP_OP_INDEX && lap_name_same(at->axes[0].name, name)) {
            return true;
        }
    }
    return false;
}

/* Rows that a query has alone, or that say with a key where it stands. */
static names_list rows_of(lap_graph *g, lap_ref q, lap_ref k, const chain *keys, const lap_pattern *p,
                          lap_names own)
{
    names_list rows = {0};
    const place *source = &keys->at[keys->n - 1];
    for (uint32_t i = 0; i < lap_node_at(g, q)->n_axes; i++) {
        lap_name name = lap_node_at(g, q)->axes[i].name;
        if (!lap_names_has(own, name) || is_batch(g, k, source, name)) {
            continue;
        }
        bool is_row = !has_axis(g, k, name);
        for (uint32_t x = 0; x < lap_node_at(g, source->node)->n_axes && !is_row; x++) {
            is_row = has_axis(g, source->coord[x], name) && has_any(g, source->coord[x], p->keys);
        }
        if (is_row) {
            add_name(&rows, name);
        }
    }
    return rows;
}

/* Those that the condition or the keys' places vary over, if there are any: groups of heads that share keys
 * are no tokens. */
static names_list rows_that_matter(const lap_graph *g, const names_list *rows, const lap_pattern *p)
{
    names_list out = {0};
    for (uint32_t i = 0; i < rows->n; i++) {
        bool matters = has_axis(g, p->seen, rows->at[i]);
        for (uint32_t k = 0; k < p->tokens.n && !matters; k++) {
            matters = has_axis(g, p->tokens.place[k], rows->at[i]);
        }
        if (matters) {
            add_name(&out, rows->at[i]);
        }
    }
    return out.n > 0 ? out : *rows;
}

static void find_tokens(lap_graph *g, const lap_part *part, const lap_node *op, lap_names own,
                        lap_pattern *out)
{
    lap_ref score = op->args[part->score], q, k;
    uint32_t visits = 0;
    if (find_factors(g, score, part->keys, &visits, &q, &k)) {
        chain keys = follow(g, k, own, part->keys);
        names_list rows = keys.n > 0 ? rows_of(g, q, k, &keys, out, own) : (names_list){0};
        chain queries = follow(g, q, own, as_names(&rows));
        if (keys.n > 0 && queries.n > 0) {
            out->is_shared = share_source(g, &queries, &keys, out);
            if (!out->is_shared) {
                take_tokens(g, &keys, part->keys, &out->tokens);
                names_list matter = rows_that_matter(g, &rows, out);
                take_tokens(g, &queries, as_names(&matter), &out->queries);
            }
            return;
        }
    }
    const lap_node *s = lap_node_at(g, score);
    const lap_axis *rows;
    uint32_t n_rows = lap_axes_without(lap_graph_ctx(g), s->n_axes, s->axes, part->keys, &rows);
    lap_axis keys[LAP_MAX_AXES];
    uint32_t n_keys = 0;
    for (uint32_t i = 0; i < s->n_axes; i++) {
        if (lap_names_has(part->keys, s->axes[i].name)) {
            keys[n_keys++] = s->axes[i];
        }
    }
    take_axes(g, n_rows, rows, &out->queries);
    take_axes(g, n_keys, keys, &out->tokens);
}

/* ---- pairs --------------------------------------------------------------------------------- */

static lap_ref both(lap_graph *g, lap_ref a, lap_ref b)
{
    return !lap_ref_some(a) ? b : !lap_ref_some(b) ? a : lap_map2(g, LAP_FN_AND, a, b);
}

/* True within the run-time extents of the operand's axes: what is absent of an output is 0. */
static lap_ref presence(lap_graph *g, lap_ref r)
{
    const lap_node *n = lap_node_at(g, r);
    lap_axis axes[LAP_MAX_AXES];
    uint32_t n_axes = 0;
    names_list want = {0};
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_ref_some(n->axes[i].count)) {
            add_name(&want, n->axes[i].name);
            const lap_node *count = lap_node_at(g, n->axes[i].count);
            for (uint32_t k = 0; k < count->n_axes; k++) {
                add_name(&want, count->axes[k].name);
            }
        }
    }
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_names_has(as_names(&want), n->axes[i].name)) {
            axes[n_axes++] = n->axes[i];
        }
    }
    lap_scalar yes = {.dtype = LAP_BOOL, .i = 1};
    return n_axes == 0 ? LAP_NONE : lap_full(g, yes, n_axes, axes);
}

/* Operands come before what reads them: one pass from the end reaches all. */
static void find_origin(lap_graph *g, lap_pattern *p)
{
    uint32_t n_nodes = lap_graph_n_nodes(g);
    bool *needed = lap_arena_array(lap_graph_ctx(g)->arena, (size_t)n_nodes + 1, sizeof *needed);
    needed[p->seen.ix] = true;
    for (uint32_t i = 0; i < p->queries.n; i++) {
        needed[p->queries.place[i].ix] = true;
    }
    for (uint32_t i = 0; i < p->tokens.n; i++) {
        needed[p->tokens.place[i].ix] = true;
    }
    for (uint32_t ix = n_nodes; ix > 0; ix--) {
        if (!needed[ix]) {
            continue;
        }
        const lap_node *n = lap_node_at(g, (lap_ref){ix});
        bool is_leaf = (lap_op_traits(n->op) & LAP_TRAIT_LEAF) != 0 || n->op == LAP_OP_PARAM;
        p->is_from_data = p->is_from_data || is_leaf;
        p->is_inside = p->is_inside || n->region.ix != 0;
        for (uint32_t i = 0; i < n->n_args; i++) {
            needed[n->args[i].ix] = true;
        }
        for (uint32_t i = 0; i < n->n_axes; i++) {
            needed[n->axes[i].count.ix] = true;
        }
    }
}

lap_pattern lap_pattern_of(lap_graph *g, lap_ref attend, const lap_part *part)
{
    const lap_node *op = lap_node_at(g, attend);
    lap_pattern out = {.keys = part->keys};
    names_list own = {0};
    const int32_t operands[] = {part->score, part->where};
    for (int i = 0; i < 2; i++) {
        if (operands[i] < 0) {
            continue;
        }
        lap_ref r = op->args[operands[i]];
        for (uint32_t a = 0; a < lap_node_at(g, r)->n_axes; a++) {
            add_name(&own, lap_node_at(g, r)->axes[a].name);
        }
        out.seen = both(g, out.seen, presence(g, r));
        op = lap_node_at(g, attend);
    }
    out.seen = part->where >= 0 ? both(g, op->args[part->where], out.seen) : out.seen;
    find_tokens(g, part, lap_node_at(g, attend), as_names(&own), &out);
    find_origin(g, &out);
    return out;
}
