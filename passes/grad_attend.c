/* SPDX-License-Identifier: Apache-2.0
 * grad_attend.c - the gradient of attend, flash style: nothing but weights that can be made again.
 *
 * With W the weights before `after` A, v the values, o the result, G = do v + dW the gradient of the
 * final weights W A, and R = sum over keys of all parts of G W A:
 *   softmax  ds = W (G A - R + dlse + dsum sum), and the keys at the maximum share dmax - dsum sum
 *   sum      ds = (G A - R) / D, D = max(sum, eps);  none  ds = G A;  both + dsum + dlse / sum
 * A denominator held up by eps does not move: R is 0 there. R is do o + the sum of dW W A. */
#include "passes/grad_run.h"

typedef struct attend {
    lap_grad_run *r;
    lap_graph *g;
    const lap_node *n;
    lap_ref v;    /* the node */
    lap_ref bare; /* the same without `after`: its weights are W */
    const lap_grad_results *d;
    lap_parts parts;
    lap_norm norm;
    lap_ref spent; /* R, by row; none: 0 */
    lap_ref peak;  /* gradient of the score of each key at the maximum */
} attend;

static lap_ref two(const attend *a, lap_fn fn, lap_ref x, lap_ref y) { return lap_map2(a->g, fn, x, y); }

static lap_ref pick(const attend *a, lap_ref cond, lap_ref x)
{
    return lap_map3(a->g, LAP_FN_SELECT, cond, x, lap_const_f(a->g, 0));
}

static lap_ref operand(const attend *a, int32_t i) { return i < 0 ? LAP_NONE : a->n->args[i]; }

static lap_ref times(const attend *a, lap_ref x, lap_ref factor)
{
    return lap_ref_some(factor) ? two(a, LAP_FN_MUL, x, factor) : x;
}

static const char *weights_name(const attend *a, uint32_t part)
{
    return part == 0 ? "weights" : lap_arena_printf(a->r->ctx->arena, "weights%u", part + 1);
}

/* ---- the weights before `after` ------------------------------------------------------------- */

static lap_ref bare_attend(const attend *a)
{
    bool has_after = false;
    lap_part *parts = lap_arena_copy(a->r->ctx->arena, a->parts.at, a->parts.n * sizeof *parts);
    for (uint32_t i = 0; i < a->parts.n; i++) {
        has_after = has_after || parts[i].after >= 0;
    }
    if (!has_after) {
        return a->v;
    }
    lap_ref *args = lap_arena_array(a->r->ctx->arena, a->n->n_args, sizeof *args);
    uint32_t n_args = 0;
    for (uint32_t i = 0; i < a->parts.n; i++) {
        int32_t *const kept[] = {&parts[i].score, &parts[i].where};
        for (uint32_t k = 0; k < 2; k++) {
            if (*kept[k] >= 0) {
                args[n_args] = a->n->args[*kept[k]];
                *kept[k] = (int32_t)n_args++;
            }
        }
        parts[i].after = parts[i].value = -1;
    }
    lap_attr *attrs = lap_arena_copy(a->r->ctx->arena, a->n->attrs, a->n->n_attrs * sizeof *attrs);
    for (uint32_t i = 0; i < a->n->n_attrs; i++) {
        if (attrs[i].key == LAP_ATTR_PARTS) {
            attrs[i].parts.at = parts;
        }
    }
    return lap_emit(
        a->g,
        &(lap_emit_args){
            .op = LAP_OP_ATTEND, .n_args = n_args, .args = args, .n_attrs = a->n->n_attrs, .attrs = attrs});
}

/* ---- rows ----------------------------------------------------------------------------------- */

static lap_ref row_result(const attend *a, const char *which) { return lap_result(a->g, a->v, which); }

/* R without the part of eps: do o, and the given gradients of weights. */
static lap_ref spent_by_row(const attend *a)
{
    lap_ref spent = LAP_NONE, d_out = lap_grad_of(a->r, a->d, "out");
    if (lap_ref_some(d_out)) {
        lap_ref sum = row_result(a, "sum");
        spent = lap_grad_sum(a->r, two(a, LAP_FN_MUL, d_out, row_result(a, "out")),
                             lap_grad_axes_beyond(a->r, d_out, sum));
    }
    for (uint32_t i = 0; i < a->parts.n; i++) {
        lap_ref d = lap_grad_of(a->r, a->d, weights_name(a, i));
        if (lap_ref_some(d)) {
            lap_ref product = two(a, LAP_FN_MUL, d, row_result(a, weights_name(a, i)));
            spent = lap_grad_add(a->r, spent, lap_grad_sum(a->r, product, a->parts.at[i].keys));
        }
    }
    const lap_attr *eps = lap_node_attr(a->n, LAP_ATTR_EPS);
    if (eps && lap_ref_some(spent)) {
        spent = pick(a, two(a, LAP_FN_GE, row_result(a, "sum"), lap_const_f(a->g, eps->f)), spent);
    }
    return spent;
}

/* Where the part's score is the row's maximum. */
static lap_ref hit(const attend *a, const lap_part *p)
{
    lap_ref at = two(a, LAP_FN_EQ, operand(a, p->score), row_result(a, "max"));
    return p->where < 0 ? at : two(a, LAP_FN_AND, at, operand(a, p->where));
}

static lap_ref peak_by_row(const attend *a)
{
    lap_ref d_max = lap_grad_of(a->r, a->d, "max"), d_sum = lap_grad_of(a->r, a->d, "sum");
    if (a->norm != LAP_NORM_SOFTMAX || (!lap_ref_some(d_max) && !lap_ref_some(d_sum))) {
        return LAP_NONE;
    }
    lap_ref peak = d_max, hits = LAP_NONE;
    if (lap_ref_some(d_sum)) {
        lap_ref back = two(a, LAP_FN_MUL, d_sum, row_result(a, "sum"));
        peak = lap_grad_add(a->r, peak, lap_map1(a->g, LAP_FN_NEG, back));
    }
    for (uint32_t i = 0; i < a->parts.n; i++) {
        hits = lap_grad_add(a->r, hits, lap_grad_sum(a->r, hit(a, &a->parts.at[i]), a->parts.at[i].keys));
    }
    return two(a, LAP_FN_DIV, peak, hits);
}

/* dsum and dlse as they reach a score that is in the sum as it is. */
static lap_ref plain_rows(const attend *a)
{
    lap_ref d_sum = lap_grad_of(a->r, a->d, "sum"), d_lse = lap_grad_of(a->r, a->d, "lse");
    if (!lap_ref_some(d_lse)) {
        return d_sum;
    }
    return lap_grad_add(a->r, d_sum, two(a, LAP_FN_DIV, d_lse, row_result(a, "sum")));
}

/* ---- one part ------------------------------------------------------------------------------- */

/* G: the gradient of the part's final weights; none: nothing reads them. */
static lap_ref of_weights(const attend *a, uint32_t i, lap_ref w)
{
    const lap_part *p = &a->parts.at[i];
    lap_ref d_out = lap_grad_of(a->r, a->d, "out"), d = lap_grad_of(a->r, a->d, weights_name(a, i));
    if (!lap_ref_some(d_out)) {
        return d;
    }
    lap_ref seen = lap_grad_sum(a->r, two(a, LAP_FN_MUL, d_out, operand(a, p->value)),
                                lap_grad_axes_beyond(a->r, d_out, w));
    return lap_grad_add(a->r, seen, d);
}

static lap_ref less_spent(const attend *a, lap_ref g)
{
    if (!lap_ref_some(a->spent)) {
        return g;
    }
    return lap_ref_some(g) ? two(a, LAP_FN_SUB, g, a->spent) : lap_map1(a->g, LAP_FN_NEG, a->spent);
}

static lap_ref of_softmax_score(const attend *a, const lap_part *p, lap_ref w, lap_ref g)
{
    lap_ref d_sum = lap_grad_of(a->r, a->d, "sum");
    lap_ref ds = lap_grad_add(a->r, less_spent(a, g), lap_grad_of(a->r, a->d, "lse"));
    if (lap_ref_some(d_sum)) {
        ds = lap_grad_add(a->r, ds, two(a, LAP_FN_MUL, d_sum, row_result(a, "sum")));
    }
    ds = lap_ref_some(ds) ? two(a, LAP_FN_MUL, w, ds) : ds;
    return lap_ref_some(a->peak) ? lap_grad_add(a->r, ds, pick(a, hit(a, p), a->peak)) : ds;
}

static lap_ref of_plain_score(const attend *a, const lap_part *p, lap_ref g)
{
    lap_ref ds = g;
    if (a->norm == LAP_NORM_SUM) {
        const lap_attr *eps = lap_node_attr(a->n, LAP_ATTR_EPS);
        lap_ref sum = row_result(a, "sum"),
                norm = eps ? two(a, LAP_FN_MAX, sum, lap_const_f(a->g, eps->f)) : sum;
        ds = less_spent(a, g);
        if (lap_ref_some(ds)) {
            ds = pick(a, two(a, LAP_FN_NE, norm, lap_const_f(a->g, 0)), two(a, LAP_FN_DIV, ds, norm));
        }
    }
    ds = lap_grad_add(a->r, ds, plain_rows(a));
    return lap_ref_some(ds) && p->where >= 0 ? pick(a, operand(a, p->where), ds) : ds;
}

static void push_if(const attend *a, lap_ref x, lap_ref d)
{
    if (lap_ref_some(x) && lap_ref_some(d)) {
        lap_grad_push(a->r, x, d);
    }
}

static void part(const attend *a, uint32_t i)
{
    const lap_part *p = &a->parts.at[i];
    lap_ref score = operand(a, p->score), value = operand(a, p->value), after = operand(a, p->after);
    lap_ref d_out = lap_grad_of(a->r, a->d, "out");
    if (lap_ref_some(d_out) && lap_ref_some(value) && lap_grad_leads(a->r, value)) {
        lap_grad_push(a->r, value, two(a, LAP_FN_MUL, row_result(a, weights_name(a, i)), d_out));
    }
    bool is_after_led = lap_ref_some(after) && lap_grad_leads(a->r, after);
    if (!lap_grad_leads(a->r, score) && !is_after_led) {
        return;
    }
    lap_ref w = lap_result(a->g, a->bare, weights_name(a, i));
    lap_ref g = of_weights(a, i, w);
    if (is_after_led && lap_ref_some(g)) {
        push_if(a, after, two(a, LAP_FN_MUL, w, g));
    }
    g = lap_ref_some(g) ? times(a, g, after) : g;
    if (lap_grad_leads(a->r, score)) {
        push_if(a, score,
                a->norm == LAP_NORM_SOFTMAX ? of_softmax_score(a, p, w, g) : of_plain_score(a, p, g));
    }
}

void lap_grad_attend(lap_grad_run *r, const lap_node *n, lap_ref v, const lap_grad_results *d)
{
    attend a = {.r = r,
                .g = r->g,
                .n = n,
                .v = v,
                .d = d,
                .parts = lap_node_attr(n, LAP_ATTR_PARTS)->parts,
                .norm = (lap_norm)lap_attr_i(n, LAP_ATTR_NORM, 0)};
    if (a.norm != LAP_NORM_SOFTMAX && lap_ref_some(lap_grad_of(r, d, "max"))) {
        lap_grad_fail(r, "no gradient to 'max' of norm '%s'", lap_norm_text(a.norm));
        return;
    }
    bool is_score_led = false;
    for (uint32_t i = 0; i < a.parts.n; i++) {
        is_score_led = is_score_led || lap_grad_leads(r, operand(&a, a.parts.at[i].score));
    }
    a.bare = bare_attend(&a);
    if (is_score_led) {
        a.spent = a.norm == LAP_NORM_NONE ? LAP_NONE : spent_by_row(&a);
        a.peak = peak_by_row(&a);
    }
    for (uint32_t i = 0; i < a.parts.n; i++) {
        part(&a, i);
    }
}
