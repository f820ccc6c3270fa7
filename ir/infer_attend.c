/* SPDX-License-Identifier: Apache-2.0
 * infer_attend.c - type rule of attend: rows are the union of the parts' axes minus their keys. */
#include "ir/infer_rules.h"

#include <stdlib.h>
#include <string.h>

typedef struct axes {
    uint32_t n;
    const lap_axis *at;
} axes;

static bool join(lap_graph *g, axes *all, const lap_axis *at, uint32_t n)
{
    return lap_axes_union(g, all->n, all->at, n, at, &all->n, &all->at);
}

/* The operand, or NULL where absent or out of range (which check_part reports). */
static const lap_node *operand(lap_graph *g, uint32_t n_args, const lap_ref *args, int32_t i)
{
    return i >= 0 && (uint32_t)i < n_args ? lap_node_at(g, args[i]) : NULL;
}

/* Axes of the part's weights, and those with its value's. */
static bool part_axes(lap_graph *g, uint32_t n_args, const lap_ref *args, const lap_part *p, axes *pair,
                      axes *full)
{
    const int32_t of_pair[] = {p->score, p->where, p->after};
    *pair = (axes){0, NULL};
    for (size_t i = 0; i < sizeof of_pair / sizeof *of_pair; i++) {
        const lap_node *x = operand(g, n_args, args, of_pair[i]);
        if (x && !join(g, pair, x->axes, x->n_axes)) {
            return false;
        }
    }
    *full = *pair;
    const lap_node *value = operand(g, n_args, args, p->value);
    return !value || join(g, full, value->axes, value->n_axes);
}

static bool check_operands(lap_graph *g, const lap_emit_args *e, const lap_part *p)
{
    const int32_t numbers[] = {p->score, p->where, p->after, p->value};
    lap_ctx *ctx = lap_graph_ctx(g);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i] < (i == 0 ? 0 : -1) || numbers[i] >= (int64_t)e->n_args) {
            return lap_error(ctx, lap_get_loc(g), "attend names operand %d of %u", numbers[i], e->n_args);
        }
    }
    const lap_node *where = operand(g, e->n_args, e->args, p->where);
    if (where && where->dtype != LAP_BOOL) {
        return lap_error(ctx, lap_get_loc(g), "the 'where' of attend is %s, expected a condition",
                         lap_type_show(ctx, where));
    }
    return p->keys.n > 0 || lap_error(ctx, lap_get_loc(g), "attend has a part without key axes");
}

/* A value that one part lacks would make `out` mean different things: all parts or none. */
static bool check_part(lap_graph *g, const lap_emit_args *e, const lap_part *p, const lap_part *first)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    axes pair, full;
    if (!check_operands(g, e, p) || !lap_infer_unique(g, "axis", p->keys) ||
        !part_axes(g, e->n_args, e->args, p, &pair, &full) || !lap_infer_axes(g, e->op, full.n)) {
        return false;
    }
    for (uint32_t i = 0; i < p->keys.n; i++) {
        if (!lap_axis_find(full.at, full.n, p->keys.at[i])) {
            return lap_error(ctx, lap_get_loc(g), "no key axis '%s' in the score %s",
                             lap_text(ctx, p->keys.at[i]), lap_axes_show(ctx, LAP_F32, full.n, full.at));
        }
    }
    if ((p->value < 0) != (first->value < 0)) {
        return lap_error(ctx, lap_get_loc(g), "some parts of attend have a value and some have none");
    }
    return true;
}

typedef enum wanted { ROWS, OUT } wanted;

static bool union_of_parts(lap_graph *g, uint32_t n_args, const lap_ref *args, lap_parts parts, wanted what,
                           axes *all)
{
    *all = (axes){0, NULL};
    for (uint32_t i = 0; i < parts.n; i++) {
        axes pair, full;
        const lap_axis *rest;
        if (!part_axes(g, n_args, args, &parts.at[i], &pair, &full)) {
            return false;
        }
        const axes *from = what == OUT ? &full : &pair;
        uint32_t n = lap_axes_without(lap_graph_ctx(g), from->n, from->at, parts.at[i].keys, &rest);
        if (!join(g, all, rest, n)) {
            return false;
        }
    }
    return true;
}

bool lap_infer_attend(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    (void)out;
    lap_ctx *ctx = lap_graph_ctx(g);
    lap_parts parts = lap_emit_attr(e, LAP_ATTR_PARTS)->parts;
    if (parts.n == 0) {
        return lap_error(ctx, lap_get_loc(g), "attend has no parts");
    }
    if ((uint64_t)lap_emit_attr(e, LAP_ATTR_NORM)->i >= LAP_N_NORMS) {
        return lap_error(ctx, lap_get_loc(g), "no such norm of attend");
    }
    for (uint32_t i = 0; i < parts.n; i++) {
        if (!check_part(g, e, &parts.at[i], &parts.at[0])) {
            return false;
        }
    }
    axes all;
    return union_of_parts(g, e->n_args, e->args, parts, OUT, &all) && lap_infer_axes(g, e->op, all.n);
}

/* Part number of "weights", "weights2", ..; n_parts and more: there is none. */
static uint32_t weights_part(const char *which)
{
    if (strncmp(which, "weights", 7) != 0) {
        return UINT32_MAX;
    }
    if (which[7] == '\0') {
        return 0;
    }
    char *end;
    unsigned long number = strtoul(which + 7, &end, 10);
    return *end == '\0' && which[7] >= '1' && which[7] <= '9' && number >= 2 && number < UINT32_MAX
               ? (uint32_t)number - 1
               : UINT32_MAX;
}

/* Weights have all rows, also those that only other parts have: the normaliser is shared. */
static bool infer_weights(lap_graph *g, const lap_node *m, lap_parts parts, uint32_t part, axes *all)
{
    axes pair, full;
    if (!union_of_parts(g, m->n_args, m->args, parts, ROWS, all) ||
        !part_axes(g, m->n_args, m->args, &parts.at[part], &pair, &full)) {
        return false;
    }
    const lap_axis *rows = all->at;
    uint32_t n_rows = all->n;
    *all = pair;
    for (uint32_t i = 0; i < parts.at[part].keys.n; i++) {
        const lap_axis *key = lap_axis_find(full.at, full.n, parts.at[part].keys.at[i]);
        if (!join(g, all, key, 1)) {
            return false;
        }
    }
    return join(g, all, rows, n_rows);
}

bool lap_infer_attend_result(lap_graph *g, const lap_node *m, const char *which, lap_type *out)
{
    lap_parts parts = lap_node_attr(m, LAP_ATTR_PARTS)->parts;
    axes all;
    bool ok;
    if (strcmp(which, "out") == 0) {
        if (parts.at[0].value < 0) {
            return lap_error(lap_graph_ctx(g), lap_get_loc(g), "attend without values has no result 'out'");
        }
        ok = union_of_parts(g, m->n_args, m->args, parts, OUT, &all);
    } else if (strcmp(which, "lse") == 0 || strcmp(which, "max") == 0 || strcmp(which, "sum") == 0) {
        ok = union_of_parts(g, m->n_args, m->args, parts, ROWS, &all);
    } else {
        uint32_t part = weights_part(which);
        if (part >= parts.n) {
            return lap_infer_no_result(g, m, which);
        }
        ok = infer_weights(g, m, parts, part, &all);
    }
    if (ok) {
        *out = (lap_type){LAP_F32, all.n, all.at};
    }
    return ok;
}
