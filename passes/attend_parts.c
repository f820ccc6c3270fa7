/* SPDX-License-Identifier: Apache-2.0
 * attend_parts.c - attends of several parts under one normaliser, as attends of one part each whose rows
 * are joined: m = max m_i, f_i = s_i exp(m_i - m), s = sum f_i, out = sum o_i f_i / s.
 *
 * Each part has the lowering that suits its keys: a window beside a few global keys, a list beside a cache.
 * Milakov and Gimelshein 2018. */
#include "passes/attend_graph.h"

#include <stdlib.h>
#include <string.h>

lap_ref lap_attend_one_part(lap_graph *g, const lap_part *part, uint32_t n_args, const lap_ref *args,
                            lap_norm norm)
{
    const lap_attr attrs[] = {lap_attr_make_parts(LAP_ATTR_PARTS, (lap_parts){1, part}),
                              lap_attr_make_i(LAP_ATTR_NORM, norm), lap_attr_make_f(LAP_ATTR_EMPTY, 0)};
    return lap_emit(g, &(lap_emit_args){.op = LAP_OP_ATTEND,
                                        .n_args = n_args,
                                        .args = args,
                                        .n_attrs = sizeof attrs / sizeof *attrs,
                                        .attrs = attrs});
}

int32_t lap_attend_weights_of(const lap_graph *g, const lap_node *result)
{
    const char *which = lap_text(lap_graph_ctx(g), lap_attr_name(result, LAP_ATTR_WHICH));
    if (strncmp(which, "weights", 7) != 0) {
        return -1;
    }
    return which[7] == '\0' ? 0 : (int32_t)strtol(which + 7, NULL, 10) - 1;
}

typedef struct joiner {
    lap_graph *g;
    lap_node n; /* the attend of several parts */
    lap_parts parts;
    lap_norm norm;
    lap_ref *part;     /* attends of one part */
    lap_ref max, base; /* of all parts; what is taken from exponents */
    lap_ref *share;    /* of each part: its sum against the base of all */
    lap_ref sum, scale;
} joiner;

static lap_ref zero(joiner *j) { return lap_const_f(j->g, 0); }
static lap_ref two(joiner *j, lap_fn fn, lap_ref a, lap_ref b) { return lap_map2(j->g, fn, a, b); }

static lap_ref one_part(joiner *j, uint32_t i)
{
    lap_part part = j->parts.at[i];
    lap_ref args[4];
    uint32_t n = 0;
    int32_t *const operands[] = {&part.score, &part.where, &part.after, &part.value};
    for (size_t k = 0; k < sizeof operands / sizeof *operands; k++) {
        if (*operands[k] >= 0) {
            args[n] = j->n.args[*operands[k]];
            *operands[k] = (int32_t)n++;
        }
    }
    return lap_attend_one_part(j->g, &part, n, args,
                               j->norm == LAP_NORM_SOFTMAX ? LAP_NORM_SOFTMAX : LAP_NORM_NONE);
}

static lap_ref of_part(joiner *j, uint32_t i, const char *which)
{
    return lap_result(j->g, j->part[i], which);
}

/* exp(max of a part - base of all) */
static lap_ref rescale(joiner *j, uint32_t i)
{
    return lap_map1(j->g, LAP_FN_EXP, two(j, LAP_FN_SUB, of_part(j, i, "max"), j->base));
}

static void join_softmax(joiner *j)
{
    lap_ref low = lap_const_f(j->g, -__builtin_inf()), high = lap_const_f(j->g, __builtin_inf());
    j->max = of_part(j, 0, "max");
    for (uint32_t i = 1; i < j->parts.n; i++) {
        j->max = two(j, LAP_FN_MAX, j->max, of_part(j, i, "max"));
    }
    lap_ref is_finite = two(j, LAP_FN_AND, two(j, LAP_FN_GT, j->max, low), two(j, LAP_FN_LT, j->max, high));
    j->base = lap_map3(j->g, LAP_FN_SELECT, is_finite, j->max, zero(j));
    for (uint32_t i = 0; i < j->parts.n; i++) {
        j->share[i] = two(j, LAP_FN_MUL, of_part(j, i, "sum"), rescale(j, i));
    }
}

/* The parts' rows joined. */
static void join(joiner *j)
{
    lap_arena *arena = lap_graph_ctx(j->g)->arena;
    j->part = lap_arena_array(arena, j->parts.n, sizeof *j->part);
    j->share = lap_arena_array(arena, j->parts.n, sizeof *j->share);
    for (uint32_t i = 0; i < j->parts.n; i++) {
        j->part[i] = one_part(j, i);
        j->share[i] = of_part(j, i, "sum");
    }
    j->max = j->base = zero(j);
    if (j->norm == LAP_NORM_SOFTMAX) {
        join_softmax(j);
    }
    j->sum = j->share[0];
    for (uint32_t i = 1; i < j->parts.n; i++) {
        j->sum = two(j, LAP_FN_ADD, j->sum, j->share[i]);
    }
    const lap_attr *eps = lap_node_attr(&j->n, LAP_ATTR_EPS);
    lap_ref d = eps != NULL ? two(j, LAP_FN_MAX, j->sum, lap_const_f(j->g, eps->f)) : j->sum;
    lap_ref one = lap_const_f(j->g, 1);
    j->scale = j->norm == LAP_NORM_NONE ? one
                                        : lap_map3(j->g, LAP_FN_SELECT, two(j, LAP_FN_EQ, d, zero(j)),
                                                   zero(j), two(j, LAP_FN_DIV, one, d));
}

/* What a part's weights and weighed values are multiplied by. */
static lap_ref factor_of(joiner *j, uint32_t i)
{
    return j->norm == LAP_NORM_SOFTMAX ? two(j, LAP_FN_MUL, j->share[i], j->scale) : j->scale;
}

/* Whether a row has any key, for norms that do not show it: how many the parts admit. */
static lap_ref has_keys(joiner *j)
{
    if (j->norm == LAP_NORM_SOFTMAX) {
        return two(j, LAP_FN_NE, j->max, lap_const_f(j->g, -__builtin_inf()));
    }
    lap_ref any = LAP_NONE;
    for (uint32_t i = 0; i < j->parts.n; i++) {
        lap_part part = j->parts.at[i];
        const lap_node score = *lap_node_at(j->g, j->n.args[part.score]);
        lap_scalar one = {.dtype = LAP_F32, .f = 1};
        lap_ref args[3] = {lap_full(j->g, one, score.n_axes, score.axes)};
        uint32_t n = 1;
        int32_t *const others[] = {&part.where, &part.value}; /* keys that only a value has count too */
        for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
            if (*others[k] >= 0) {
                args[n] = j->n.args[*others[k]];
                *others[k] = (int32_t)n++;
            }
        }
        part.score = 0;
        part.after = -1;
        lap_ref count = lap_result(j->g, lap_attend_one_part(j->g, &part, n, args, LAP_NORM_NONE), "sum");
        lap_ref some = two(j, LAP_FN_GT, count, zero(j));
        any = lap_ref_some(any) ? two(j, LAP_FN_OR, any, some) : some;
    }
    return any;
}

static lap_ref joined_out(joiner *j)
{
    lap_ref all = LAP_NONE;
    for (uint32_t i = 0; i < j->parts.n; i++) {
        lap_ref own = two(j, LAP_FN_MUL, of_part(j, i, "out"), factor_of(j, i));
        all = lap_ref_some(all) ? two(j, LAP_FN_ADD, all, own) : own;
    }
    double empty = lap_attr_f(&j->n, LAP_ATTR_EMPTY, 0);
    return empty == 0 ? all : lap_map3(j->g, LAP_FN_SELECT, has_keys(j), all, lap_const_f(j->g, empty));
}

static lap_ref joined(joiner *j, const lap_node *result)
{
    const char *which = lap_text(lap_graph_ctx(j->g), lap_attr_name(result, LAP_ATTR_WHICH));
    if (strcmp(which, "out") == 0) {
        return joined_out(j);
    }
    if (strcmp(which, "max") == 0) {
        return j->max;
    }
    if (strcmp(which, "sum") == 0) {
        return j->sum;
    }
    if (strcmp(which, "lse") == 0) {
        return two(j, LAP_FN_ADD, lap_map1(j->g, LAP_FN_LOG, j->sum), j->base);
    }
    uint32_t part = (uint32_t)lap_attend_weights_of(j->g, result);
    return two(j, LAP_FN_MUL, of_part(j, part, "weights"), factor_of(j, part));
}

static bool has_parts(const lap_graph *g, const lap_node *n)
{
    const lap_node *attend = n->op == LAP_OP_RESULT ? lap_node_at(g, n->args[0]) : NULL;
    return attend != NULL && attend->op == LAP_OP_ATTEND &&
           lap_node_attr(attend, LAP_ATTR_PARTS)->parts.n > 1;
}

static lap_ref join_result(lap_rewrite *rw, const lap_node *old, lap_ref old_ref, const lap_ref *new_args)
{
    (void)old_ref;
    if (!has_parts(rw->from, old)) {
        return LAP_NONE;
    }
    joiner j = {.g = rw->to, .n = *lap_node_at(rw->to, new_args[0])};
    j.parts = lap_node_attr(&j.n, LAP_ATTR_PARTS)->parts;
    j.norm = (lap_norm)lap_attr_i(&j.n, LAP_ATTR_NORM, LAP_NORM_SOFTMAX);
    join(&j);
    lap_ref made = joined(&j, old);
    lap_type want = lap_rewrite_type(rw, old);
    if (lap_node_has_type(lap_node_at(rw->to, made), &want)) {
        return made;
    }
    lap_scalar none = {.dtype = LAP_F32, .f = 0}; /* rows that other parts have alone */
    return two(&j, LAP_FN_ADD, made, lap_full(rw->to, none, want.n_axes, want.axes));
}

lap_graph *lap_join_parts(lap_graph *g, const lap_target *target, const lap_pass_options *options)
{
    (void)target;
    (void)options;
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        if (has_parts(g, lap_node_at(g, (lap_ref){i}))) {
            lap_graph *made = lap_graph_rewrite(g, join_result, NULL);
            return made == NULL ? NULL
                                : lap_graph_rewrite(made, NULL, NULL); /* without the attends that were */
        }
    }
    return g;
}
