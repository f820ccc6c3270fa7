/* SPDX-License-Identifier: Apache-2.0
 * plan.c - which values are stored, and around what their kernels are built.
 *
 * One walk from the readers to the operands. A value is stored when it must be (results of
 * operations, outputs, operands that a kernel reads again and again) or when several kernels would
 * compute it again at a price; everything else fuses into its one reader. A row reduction joins the
 * kernel that reads it when that kernel can compute it once per row; a contraction takes the
 * elementwise kernel that reads it as its epilogue. */
#include "passes/plan.h"

#include "passes/attend.h"

/* Elements of the result do not outnumber the source's: no source element is read twice, as far as
 * slices, splits, merges and transposes go. */
static bool is_injective(lap_lowering *l, const lap_node *n)
{
    const lap_node *x = lap_node_at(l->g, n->args[0]);
    lap_dim out = lap_dim_const(l->ctx, 1), in = out;
    for (uint32_t i = 0; i < n->n_axes; i++) {
        out = lap_dim_mul(l->ctx, out, n->axes[i].size);
    }
    for (uint32_t i = 0; i < x->n_axes; i++) {
        in = lap_dim_mul(l->ctx, in, x->axes[i].size);
    }
    return lap_plan_of(l, n->args[0])->cost == 0 || lap_dim_compare(l->ctx, out, LAP_REL_LE, in) == LAP_YES;
}

static bool is_stored(const lap_plan_node *p) { return p->kind != LAP_STORE_INLINE; }

static bool same_set(uint32_t na, const lap_name *a, uint32_t nb, const lap_name *b)
{
    for (uint32_t i = 0; i < na; i++) {
        if (!lap_names_has((lap_names){nb, b}, a[i])) {
            return false;
        }
    }
    return na == nb;
}

/* A reduction that runs well inside one row: along the memory of what it reads. */
static bool reduces_along_memory(lap_lowering *l, const lap_node *n)
{
    lap_names over = lap_attr_names(n, LAP_ATTR_OVER);
    lap_red red = (lap_red)lap_attr_i(n, LAP_ATTR_RED, 0);
    if (n->n_axes == 0 || red == LAP_RED_ARGMAX || red == LAP_RED_ARGMIN) {
        return true;
    }
    return lap_names_has(over, lap_plan_of(l, n->args[0])->fastest);
}

static void force(lap_lowering *l, lap_ref r)
{
    lap_plan_node *p = lap_plan_of(l, r);
    const lap_node *n = lap_node_at(l->g, r);
    p->is_live = true;
    if (p->kind == LAP_STORE_INLINE && n->op != LAP_OP_PARAM) {
        p->kind = LAP_STORE_MAP;
    }
}

void lap_plan_want(lap_lowering *l, lap_ref r, lap_ref home)
{
    lap_plan_node *p = lap_plan_of(l, r);
    p->is_live = true;
    if (p->n_homes == 0) {
        p->home = home;
        p->n_homes = 1;
    } else if (!lap_ref_same(p->home, home)) {
        p->n_homes = 2;
    }
}

/* Passes the readers of an inlined node on to an operand. */
static void pass_on(lap_lowering *l, const lap_plan_node *from, lap_ref to)
{
    lap_plan_node *p = lap_plan_of(l, to);
    uint32_t depth = is_stored(from) ? 1 : from->depth + 1;
    lap_plan_want(l, to, from->home);
    p->depth = depth > p->depth ? depth : p->depth;
    if (from->n_homes > 1) {
        p->n_homes = 2;
    }
}

static bool joins_map(lap_lowering *l, lap_ref r, const lap_name **out_names)
{
    lap_plan_node *p = lap_plan_of(l, r), *h = lap_plan_of(l, p->home);
    const lap_node *n = lap_node_at(l->g, r), *home = lap_node_at(l->g, p->home);
    return p->n_homes == 1 && h->kind == LAP_STORE_MAP && home->op != LAP_OP_REDUCE &&
           home->region.ix == n->region.ix && lap_plan_trace(l, r, p->home, out_names);
}

static bool try_rows(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    const lap_name *names;
    lap_plan_node *h = lap_plan_of(l, lap_plan_of(l, r)->home);
    if (lap_node_is_ragged(n) || n->n_axes == 0 || !joins_map(l, r, &names)) {
        return false;
    }
    if (!reduces_along_memory(l, n)) { /* inside the lanes, once per element */
        return !h->has_rows && n->n_axes == lap_node_at(l->g, lap_plan_of(l, r)->home)->n_axes;
    }
    if (!h->has_rows) {
        h->has_rows = true;
        h->rows = (lap_names){n->n_axes, names};
        return true;
    }
    return same_set(n->n_axes, names, h->rows.n, h->rows.at);
}

static bool try_epilogue(lap_lowering *l, lap_ref r)
{
    lap_plan_node *h = lap_plan_of(l, lap_plan_of(l, r)->home);
    const lap_name *names;
    if (h->has_rows || lap_node_at(l->g, lap_plan_of(l, r)->home)->n_axes != lap_node_at(l->g, r)->n_axes ||
        !joins_map(l, r, &names)) {
        return false;
    }
    h->anchor = r;
    h->kind = LAP_STORE_CONTRACT;
    h->anchor_names = names;
    return true;
}

/* Decides whether an elementwise value with its readers known is stored. */
static bool store_map(lap_lowering *l, lap_ref r)
{
    const lap_plan_node *p = lap_plan_of(l, r);
    const lap_node *n = lap_node_at(l->g, r);
    if (p->is_affine || p->cost == 0 || (p->is_guarded && p->may_fail)) {
        return false; /* a guarded read must not be made for its own sake */
    }
    if (lap_node_at(l->g, p->home)->region.ix != n->region.ix && p->cost > 1) {
        return true; /* computed once outside the loop */
    }
    return p->n_homes > 1 && !p->is_product && (p->cost > LAP_PLAN_CHEAP || p->n_reads > 1);
}

static void count_reads(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    lap_plan_node *p = lap_plan_of(l, r);
    for (uint32_t i = 0; i < n->n_args; i++) {
        const lap_plan_node *a = lap_plan_of(l, n->args[i]);
        p->n_reads += a->is_affine ? 0 : a->cost == 0 && a->n_reads == 0 ? 1 : a->n_reads;
    }
}

void lap_plan_want_operand(lap_lowering *l, lap_ref r, lap_ref home)
{
    const lap_plan_node *p = lap_plan_of(l, r);
    const lap_node *n = lap_node_at(l->g, r);
    if (p->is_affine) {
        lap_plan_want(l, r, home);
    } else if (p->is_view || (n->op == LAP_OP_AT && p->cost <= LAP_PLAN_CHEAP)) {
        lap_plan_want(l, r, home);
        lap_plan_of(l, r)->n_homes = 2;
    } else if (p->cost == 0 && n->op != LAP_OP_REDUCE) {
        lap_plan_want(l, r, home);
    } else {
        force(l, r);
    }
}

/* The stored value behind r should keep the summed axes fastest, so that they merge into one stride. */
static void want_inner(lap_lowering *l, lap_ref r, lap_names over)
{
    const lap_node *n = lap_node_at(l->g, r);
    lap_plan_node *p = lap_plan_of(l, r);
    if (over.n < 2 || (n->op != LAP_OP_RESULT && n->op != LAP_OP_MAP) || p->inner.n > 0) {
        return;
    }
    for (uint32_t i = 0; i < over.n; i++) {
        if (lap_node_axis(n, over.at[i]) == NULL) {
            return;
        }
    }
    p->inner = over;
}

static void want_factors(lap_lowering *l, lap_ref r, lap_ref home, lap_names over)
{
    const lap_node *n = lap_node_at(l->g, r);
    if (lap_is_product(l, r)) {
        lap_plan_of(l, r)->is_product = true;
        lap_plan_want(l, r, home);
        want_factors(l, n->args[0], home, over);
        want_factors(l, n->args[1], home, over);
        return;
    }
    lap_plan_want_operand(l, r, home);
    want_inner(l, r, over);
}

static void want_counts(lap_lowering *l, const lap_node *n, lap_ref home)
{
    for (uint32_t i = 0; i < n->n_axes; i++) {
        lap_ref count = n->axes[i].count;
        if (!lap_ref_some(count)) {
            continue;
        }
        const lap_plan_node *p = lap_plan_of(l, count);
        const lap_node *c = lap_node_at(l->g, count);
        if (p->is_affine || (p->cost == 0 && c->op != LAP_OP_REDUCE)) {
            lap_plan_want(l, count, home);
            lap_plan_of(l, count)->n_homes = 2;
        } else {
            force(l, count);
        }
    }
}

/* Whether a gather of stored elements is read no more than a few times: then a copy, as large as the
 * bounds of its axes, costs more than it saves. */
static bool is_seldom_read(lap_lowering *l, const lap_node *attend, const lap_part *p)
{
    enum { FEW = 4 };
    const lap_node *value = lap_node_at(l->g, attend->args[p->value]);
    const lap_node *score = lap_node_at(l->g, attend->args[p->score]);
    if (value->op != LAP_OP_AT || lap_plan_of(l, value->args[0])->cost > 0) {
        return false;
    }
    int64_t times = 1, extent;
    for (uint32_t i = 0; i < score->n_axes; i++) { /* rows that share an element */
        const lap_axis *axis = &score->axes[i];
        if (lap_node_axis(value, axis->name) != NULL || lap_names_has(p->keys, axis->name)) {
            continue;
        }
        if (!lap_dim_is_const(l->ctx, axis->size, &extent) || extent > FEW || (times *= extent) > FEW) {
            return false;
        }
    }
    return true;
}

static void want_attend_operands(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    const lap_parts parts = lap_node_attr(n, LAP_ATTR_PARTS)->parts;
    bool few = lap_attend_few_hopes(l, r);
    for (uint32_t i = 0; i < parts.n; i++) {
        const lap_part *p = &parts.at[i];
        const int32_t in_place[] = {p->score, p->where, p->after};
        for (size_t k = 0; k < sizeof in_place / sizeof *in_place; k++) {
            if (in_place[k] >= 0) {
                lap_plan_want(l, n->args[in_place[k]], r);
            }
        }
        if (p->value >= 0 && (few || is_seldom_read(l, n, p))) {
            lap_plan_want(l, n->args[p->value], r);
        } else if (p->value >= 0) {
            lap_plan_want_operand(l, n->args[p->value], r);
        }
    }
}

static void force_results_of(lap_lowering *l, const lap_node *n)
{
    for (uint32_t i = 0; i < n->n_regions; i++) {
        const lap_region *region = lap_region_at(l->g, n->regions[i]);
        for (uint32_t j = 0; j < region->n_results; j++) {
            force(l, region->results[j]);
        }
    }
}

static void want_root_operands(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    for (uint32_t i = 0; i < n->n_args; i++) {
        switch (n->op) {
        case LAP_OP_REQUIRE:
            lap_plan_want(l, n->args[i], r);
            break;
        case LAP_OP_SCAN:
        case LAP_OP_LOOP:
        case LAP_OP_BRANCH:
            lap_plan_want_operand(l, n->args[i], r);
            break;
        default:
            lap_plan_want_operand(l, n->args[i], r);
        }
    }
}

/* What is stored, or not, whoever reads it; false where that depends on the readers. */
static bool decide_by_op(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    lap_plan_node *p = lap_plan_of(l, r);
    if ((lap_op_traits(n->op) & LAP_TRAIT_LEAF) != 0) {
        p->kind = LAP_STORE_LEAF;
    } else if (n->op == LAP_OP_PARAM) {
        p->kind = p->kind == LAP_STORE_INLINE ? LAP_STORE_ROOT : p->kind;
    } else if (n->op == LAP_OP_RESULT) {
        p->kind = LAP_STORE_ROOT;
        lap_plan_of(l, n->args[0])->is_live = true;
    } else if (n->op == LAP_OP_ATTEND) {
        p->is_live = true;
        want_attend_operands(l, r);
    } else if ((lap_op_traits(n->op) & (LAP_TRAIT_MULTI | LAP_TRAIT_EFFECT)) != 0 ||
               n->op == LAP_OP_SCATTER) {
        p->is_live = true;
        p->kind = n->op == LAP_OP_SCATTER ? LAP_STORE_ROOT : p->kind;
        p->scan = n->op == LAP_OP_SCAN ? lap_scan_form_of(l, r) : NULL;
        if (p->scan != NULL) {
            lap_plan_scan(l, r);
        } else {
            force_results_of(l, n);
            want_root_operands(l, r);
        }
    } else {
        return false;
    }
    return true;
}

/* Whether a value whose readers are known has a kernel of its own or joins that of a reader. */
static void decide_by_readers(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    lap_plan_node *p = lap_plan_of(l, r);
    count_reads(l, r);
    if (n->op == LAP_OP_REDUCE && p->kind == LAP_STORE_INLINE) {
        bool fused = p->is_contraction ? try_epilogue(l, r) : try_rows(l, r);
        bool in_place = !fused && p->n_homes == 1 && lap_attend_takes(l, p->home, r);
        if (!fused && !in_place) {
            p->kind = LAP_STORE_MAP;
        }
    } else if (p->kind == LAP_STORE_INLINE && store_map(l, r)) {
        p->kind = LAP_STORE_MAP;
    }
    if (p->depth > LAP_DEEPEST && !p->is_affine && !is_stored(p)) {
        if (p->is_guarded && p->may_fail) {
            l->failed = true;
            (void)lap_error(l->ctx, n->loc, "an expression of more than %d operations under one condition",
                            LAP_DEEPEST);
        }
        force(l, r);
    }
    if (is_stored(p)) {
        p->home = r;
        p->n_homes = 1;
    }
}

static void pass_on_contraction(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    lap_plan_node *p = lap_plan_of(l, r);
    if (is_stored(p)) {
        p->kind = LAP_STORE_CONTRACT;
        p->anchor = r;
        p->anchor_names = lap_node_names(l->ctx, n).at;
    }
    want_factors(l, n->args[0], p->home, lap_attr_names(n, LAP_ATTR_OVER));
}

static void pass_on_operands(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    const lap_plan_node *p = lap_plan_of(l, r);
    for (uint32_t i = 0; i < n->n_args; i++) {
        const lap_plan_node *a = lap_plan_of(l, n->args[i]);
        bool is_of_scan = lap_plan_of(l, p->home)->scan != NULL && !is_stored(p);
        if (n->op == LAP_OP_AT && i == 0 && a->cost > 0 && !a->is_affine && !a->is_view &&
            (!is_injective(l, n) || a->cost > LAP_PLAN_CHEAP)) {
            force(l, n->args[i]);
            continue;
        }
        if (is_of_scan && a->cost > LAP_PLAN_CHEAP && !a->is_affine && !a->is_view &&
            lap_node_at(l->g, n->args[i])->n_axes < n->n_axes) {
            lap_plan_want_repeated(l, n->args[i], p->home); /* by several elements of one step */
            continue;
        }
        pass_on(l, p, n->args[i]);
        bool is_arm = i > 0 && n->op == LAP_OP_MAP && lap_attr_i(n, LAP_ATTR_FN, 0) == LAP_FN_SELECT;
        lap_plan_node *arm = lap_plan_of(l, n->args[i]);
        arm->is_guarded = arm->is_guarded || is_arm || (p->is_guarded && !is_stored(p));
    }
}

/* In falling order: all readers of r have been decided. */
static void decide(lap_lowering *l, lap_ref r)
{
    const lap_node *n = lap_node_at(l->g, r);
    lap_plan_node *p = lap_plan_of(l, r);
    if (!p->is_live && (lap_op_traits(n->op) & LAP_TRAIT_EFFECT) == 0) {
        return;
    }
    want_counts(l, n, r);
    const lap_scan_form *scan = l->scans[n->region.ix];
    if (scan != NULL && lap_scan_depends(scan, r)) {
        lap_plan_in_scan(l, r, scan);
        return;
    }
    if (decide_by_op(l, r)) {
        return;
    }
    decide_by_readers(l, r);
    if (n->op == LAP_OP_REDUCE && p->is_contraction) {
        pass_on_contraction(l, r);
        return;
    }
    if (n->op == LAP_OP_REDUCE && is_stored(p) && reduces_along_memory(l, n)) {
        p->has_rows = true;
        p->rows = lap_node_names(l->ctx, n);
    }
    pass_on_operands(l, r);
}

static void force_results(lap_lowering *l)
{
    for (uint32_t i = 0; i < lap_graph_n_outputs(l->g); i++) {
        const lap_output *o = lap_graph_output(l->g, i);
        const lap_plan_node *p = lap_plan_of(l, o->value);
        if (p->is_affine || p->is_view || lap_node_at(l->g, o->value)->op == LAP_OP_CUSTOM) {
            lap_plan_of(l, o->value)->is_live = true;
            lap_plan_of(l, o->value)->n_homes = 2; /* copied to the output */
            lap_plan_of(l, o->value)->home = o->value;
        } else {
            force(l, o->value);
        }
        for (uint32_t c = 0; c < o->n_crops; c++) {
            force(l, o->crop_counts[c]);
        }
    }
}

bool lap_plan_make(lap_lowering *l)
{
    uint32_t n = lap_graph_n_nodes(l->g);
    l->plan = lap_arena_array(l->ctx->arena, n + 1, sizeof *l->plan);
    l->scans = lap_arena_array(l->ctx->arena, lap_graph_n_regions(l->g) + 1, sizeof *l->scans);
    for (uint32_t i = 1; i <= n; i++) {
        lap_plan_learn(l, (lap_ref){i});
    }
    force_results(l);
    for (uint32_t i = n; i > 0; i--) {
        decide(l, (lap_ref){i});
    }
    return !l->failed;
}
