/* SPDX-License-Identifier: Apache-2.0
 * test_grad.c - gradients against central differences of the reference evaluator.
 *
 * Each graph of tests/grad has one output; its loss is the output's product with a fixed pattern,
 * summed. The gradient graph is verified and must read back as printed. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/eval.h"
#include "passes/grad.h"
#include "tests/support/random_graph.h"

#ifndef LAP_SOURCE_DIR
#define LAP_SOURCE_DIR "."
#endif

#define MOST_LEAVES 16

typedef struct problem {
    lap_ctx *ctx;
    lap_graph *g;
    lap_ref loss;
    uint32_t n;
    lap_ref leaf[MOST_LEAVES], d[MOST_LEAVES];
    const char *name[MOST_LEAVES];
    lap_tensor value[MOST_LEAVES];
} problem;

static void fail_with(lap_ctx *ctx, const char *what)
{
    lap_errors_print(ctx, stderr);
    fail_msg("%s", what);
}

static size_t read_file(const char *path, char *text, size_t room)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(text, 1, room, f);
    fclose(f);
    assert_true(n < room);
    text[n] = '\0';
    return n;
}

static void add_output(problem *p, const char *name, lap_ref value)
{
    const lap_node *n = lap_node_at(p->g, value);
    lap_names *groups = lap_arena_array(p->ctx->arena, n->n_axes, sizeof *groups);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        groups[i] = lap_names_copy(p->ctx->arena, 1, &n->axes[i].name);
    }
    lap_graph_add_output(
        p->g, &(lap_output){.name = lap_intern(p->ctx, name), .value = value, .layout = {n->n_axes, groups}});
}

/* Leaves with values that are the same on every machine. */
static void add_leaves(problem *p)
{
    uint32_t n = lap_graph_n_nodes(p->g);
    unsigned seed = 7;
    for (uint32_t ix = 1; ix <= n; ix++) {
        const lap_node *x = lap_node_at(p->g, (lap_ref){ix});
        if (x->op != LAP_OP_INPUT && x->op != LAP_OP_WEIGHT) {
            continue;
        }
        assert_true(p->n < MOST_LEAVES);
        lap_tensor *t = &p->value[p->n];
        *t = (lap_tensor){.dtype = LAP_F32, .rank = x->n_axes};
        size_t count = 1;
        for (uint32_t i = 0; i < x->n_axes; i++) {
            assert_true(lap_dim_is_const(p->ctx, x->axes[i].size, &t->shape[i]));
            count *= (size_t)t->shape[i];
        }
        float *data = lap_arena_array(p->ctx->arena, count, sizeof *data);
        for (size_t i = 0; i < count; i++) {
            data[i] = (float)(rand_r(&seed) % 2000) / 1000.0f - 1.0f;
        }
        t->data = data;
        t->n_bytes = count * sizeof *data;
        p->leaf[p->n] = (lap_ref){ix};
        p->name[p->n++] = lap_text(p->ctx, lap_attr_name(x, LAP_ATTR_NAME));
    }
}

/* cos of a number that differs from element to element. */
static lap_ref pattern(problem *p, lap_ref y)
{
    const lap_node *n = lap_node_at(p->g, y);
    lap_ref sum = lap_const_f(p->g, 0.3);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        lap_ref index = lap_index(p->g, (lap_axis){n->axes[i].name, n->axes[i].size, LAP_NONE});
        sum = lap_map2(p->g, LAP_FN_ADD, lap_map2(p->g, LAP_FN_MUL, sum, lap_const_f(p->g, 1.7)), index);
    }
    return lap_map1(p->g, LAP_FN_COS, sum);
}

static double evaluate(problem *p, lap_eval_result *out)
{
    lap_eval_io io = {p->n, p->name, p->value};
    if (!lap_eval(p->g, &io, &io, out)) {
        fail_with(p->ctx, "the graph does not run");
    }
    for (uint32_t i = 0; i < out->n; i++) {
        if (strcmp(out->names[i], "loss") == 0) {
            return lap_tensor_get(&out->tensors[i], 0);
        }
    }
    fail_msg("no loss");
    return 0;
}

/* The gradient graph verifies, and reads back as printed. */
static void check_text(problem *p)
{
    if (!lap_graph_verify(p->g)) {
        lap_graph_print(p->g, stderr);
        fail_with(p->ctx, "the gradient is no right graph");
    }
    const char *text = lap_graph_text(p->g);
    lap_graph *back = NULL;
    if (!lap_graph_parse(p->ctx, "back.lap", text, strlen(text), &back)) {
        fputs(text, stderr);
        fail_with(p->ctx, "the gradient does not read back");
    }
    assert_string_equal(lap_graph_text(back), text);
}

static void make_problem(problem *p, const char *path, bool with_gradient)
{
    static char text[1 << 16];
    size_t n = read_file(path, text, sizeof text);
    *p = (problem){.ctx = lap_ctx_new(0)};
    if (!lap_graph_parse(p->ctx, strrchr(path, '/') + 1, text, n, &p->g)) {
        fail_with(p->ctx, "the graph does not parse");
    }
    add_leaves(p);
    lap_ref y = lap_graph_output(p->g, 0)->value, d = pattern(p, y);
    const lap_node *product = lap_node_at(p->g, lap_map2(p->g, LAP_FN_MUL, y, d));
    lap_name names[16];
    for (uint32_t i = 0; i < product->n_axes; i++) {
        names[i] = product->axes[i].name;
    }
    p->loss =
        lap_reduce(p->g, LAP_RED_SUM, lap_map2(p->g, LAP_FN_MUL, y, d), (lap_names){product->n_axes, names});
    add_output(p, "loss", p->loss);
    if (!with_gradient) {
        return;
    }
    if (!lap_grad(p->g, 1, &y, &d, p->n, p->leaf, p->d)) {
        fail_with(p->ctx, "no gradient");
    }
    for (uint32_t i = 0; i < p->n; i++) {
        const lap_node *got = lap_node_at(p->g, p->d[i]), *want = lap_node_at(p->g, p->leaf[i]);
        assert_int_equal(got->n_axes, want->n_axes);
        for (uint32_t k = 0; k < want->n_axes; k++) {
            const lap_axis *a = lap_node_axis(got, want->axes[k].name);
            assert_non_null(a);
            assert_true(lap_dim_same(a->size, want->axes[k].size) && !lap_ref_some(a->count));
        }
        lap_output o = {.name = lap_intern(p->ctx, lap_arena_printf(p->ctx->arena, "d.%s", p->name[i])),
                        .value = p->d[i],
                        .layout = lap_node_attr(want, LAP_ATTR_LAYOUT)->layout};
        lap_graph_add_output(p->g, &o);
    }
    check_text(p);
}

static const lap_tensor *result(const lap_eval_result *out, const char *name)
{
    for (uint32_t i = 0; i < out->n; i++) {
        if (strcmp(out->names[i], name) == 0) {
            return &out->tensors[i];
        }
    }
    fail_msg("no output '%s'", name);
    return NULL;
}

static void check_gradients(const char *path)
{
    problem p, plain;
    make_problem(&p, path, true);
    make_problem(&plain, path, false);
    lap_eval_result out, moved;
    evaluate(&p, &out);
    for (uint32_t i = 0; i < p.n; i++) {
        const lap_tensor *d = result(&out, lap_arena_printf(p.ctx->arena, "d.%s", p.name[i]));
        float *x = plain.value[i].data;
        size_t count = plain.value[i].n_bytes / sizeof *x;
        bool is_moved = false;
        for (size_t k = 0; k < count; k++) {
            const float step = 0x1p-9f, at = x[k];
            x[k] = at + step;
            double up = evaluate(&plain, &moved), width = x[k];
            x[k] = at - step;
            width -= x[k];
            double slope = (up - evaluate(&plain, &moved)) / width, got = lap_tensor_get(d, k);
            x[k] = at;
            if (!(fabs(got - slope) <= 2e-3 * (1 + fabs(slope)))) {
                lap_graph_print(p.g, stderr);
                fail_msg("%s: d %s[%zu] is %g, differences give %g", path, p.name[i], k, got, slope);
            }
            is_moved = is_moved || slope != 0;
        }
        assert_true(is_moved);
    }
    lap_ctx_free(plain.ctx);
    lap_ctx_free(p.ctx);
}

static void test_files(void **state)
{
    (void)state;
    glob_t files;
    assert_int_equal(glob(LAP_SOURCE_DIR "/tests/grad/*.lap", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        check_gradients(files.gl_pathv[i]);
    }
    assert_true(files.gl_pathc >= 10);
    globfree(&files);
}

/* ---- random graphs -------------------------------------------------------------------------- */

#define MOST_OUTPUTS 16

typedef struct random_problem {
    problem p;
    uint32_t n_losses;
    const char *loss[MOST_OUTPUTS];
    const char *d[MOST_OUTPUTS][MOST_LEAVES];
    lap_eval_io inputs, weights;
} random_problem;

/* A rule of one's own need not be the slope, and rounding has none. */
static bool has_slopes(lap_graph *g)
{
    for (uint32_t ix = 1; ix <= lap_graph_n_nodes(g); ix++) {
        const lap_node *n = lap_node_at(g, (lap_ref){ix});
        bool rounds = n->op == LAP_OP_MAP && (n->dtype == LAP_F16 || n->dtype == LAP_BF16);
        if (n->op == LAP_OP_CUSTOM || n->op == LAP_OP_LOOP || n->op == LAP_OP_FOREIGN || rounds) {
            return false;
        }
    }
    return true;
}

static void add_random_leaves(problem *p)
{
    uint32_t n = lap_graph_n_nodes(p->g);
    for (uint32_t ix = 1; ix <= n && p->n < MOST_LEAVES; ix++) {
        const lap_node *x = lap_node_at(p->g, (lap_ref){ix});
        if ((x->op == LAP_OP_INPUT || x->op == LAP_OP_WEIGHT) && x->dtype == LAP_F32) {
            p->leaf[p->n] = (lap_ref){ix};
            p->name[p->n++] = lap_text(p->ctx, lap_attr_name(x, LAP_ATTR_NAME));
        }
    }
}

/* Per float output a loss and the gradients of the leaves, in the leaves' layouts. */
static void add_random_losses(random_problem *r)
{
    problem *p = &r->p;
    uint32_t n_outputs = lap_graph_n_outputs(p->g);
    for (uint32_t o = 0; o < n_outputs && r->n_losses < MOST_OUTPUTS; o++) {
        lap_ref y = lap_graph_output(p->g, o)->value;
        if (lap_node_at(p->g, y)->dtype != LAP_F32) {
            continue;
        }
        lap_ref weight = pattern(p, y), product = lap_map2(p->g, LAP_FN_MUL, y, weight);
        const lap_node *n = lap_node_at(p->g, product);
        lap_name names[16];
        for (uint32_t i = 0; i < n->n_axes; i++) {
            names[i] = n->axes[i].name;
        }
        lap_names all = {n->n_axes, names};
        r->loss[r->n_losses] = lap_arena_printf(p->ctx->arena, "loss%u", o);
        add_output(p, r->loss[r->n_losses], lap_reduce(p->g, LAP_RED_SUM, product, all));
        assert_true(lap_grad(p->g, 1, &y, &weight, p->n, p->leaf, p->d));
        for (uint32_t i = 0; i < p->n; i++) {
            const lap_node *leaf = lap_node_at(p->g, p->leaf[i]);
            r->d[r->n_losses][i] = lap_arena_printf(p->ctx->arena, "d%u.%u", o, i);
            lap_output out = {.name = lap_intern(p->ctx, r->d[r->n_losses][i]),
                              .value = p->d[i],
                              .layout = lap_node_attr(leaf, LAP_ATTR_LAYOUT)->layout};
            lap_graph_add_output(p->g, &out);
        }
        r->n_losses++;
    }
}

static lap_tensor *tensor_of(random_problem *r, uint32_t leaf)
{
    bool is_input = lap_node_at(r->p.g, r->p.leaf[leaf])->op == LAP_OP_INPUT;
    const lap_eval_io *io = is_input ? &r->inputs : &r->weights;
    for (uint32_t i = 0; i < io->n; i++) {
        if (strcmp(io->names[i], r->p.name[leaf]) == 0) {
            return (lap_tensor *)&io->tensors[i];
        }
    }
    fail_msg("no tensor '%s'", r->p.name[leaf]);
    return NULL;
}

/* Central differences of two widths and both sides must agree before they say what the slope is. */
static uint32_t check_element(random_problem *r, uint64_t seed, const lap_eval_result *base, uint32_t leaf)
{
    static const float steps[4] = {0x1p-6f, -0x1p-6f, 0x1p-7f, -0x1p-7f};
    lap_tensor *t = tensor_of(r, leaf);
    size_t count, at = 0;
    uint32_t n_checked = 0;
    if (!lap_tensor_count(t, &count) || count == 0) {
        return 0;
    }
    at = (size_t)(seed * 7 + leaf * 3) % count;
    float *x = t->data, before = x[at];
    lap_eval_result moved[4];
    bool ok = true;
    for (int k = 0; k < 4 && ok; k++) {
        x[at] = before + steps[k];
        ok = lap_eval(r->p.g, &r->inputs, &r->weights, &moved[k]);
    }
    x[at] = before;
    for (uint32_t o = 0; o < r->n_losses && ok; o++) {
        double l[4], here = lap_tensor_get(result(base, r->loss[o]), 0);
        for (int k = 0; k < 4; k++) {
            l[k] = lap_tensor_get(result(&moved[k], r->loss[o]), 0);
        }
        double wide = (l[0] - l[1]) / 0x1p-5, slope = (l[2] - l[3]) / 0x1p-6,
               bend = (l[2] + l[3] - 2 * here) / 0x1p-7;
        double got = lap_tensor_get(result(base, r->d[o][leaf]), at);
        double tolerance = 1e-2 * (1 + fabs(slope)) + 3e-5 * fabs(here);
        bool is_smooth = fabs(wide - slope) <= tolerance / 2 && fabs(bend) <= 3 * tolerance;
        n_checked += is_smooth;
        if (is_smooth && !(fabs(got - slope) <= tolerance)) {
            lap_graph_print(r->p.g, stderr);
            fail_msg("seed %d: %s of %s[%zu] is %g, differences give %g", (int)seed, r->loss[o],
                     r->p.name[leaf], at, got, slope);
        }
    }
    return n_checked;
}

static void test_random(void **state)
{
    (void)state;
    uint32_t n_checked = 0;
    for (uint64_t seed = 1; seed <= 120; seed++) {
        random_problem r = {.p = {.ctx = lap_ctx_new(0)}};
        lap_eval_result base;
        r.p.g = test_random_graph(r.p.ctx, seed, 6 + (unsigned)seed % 25);
        if (has_slopes(r.p.g)) {
            add_random_leaves(&r.p);
            add_random_losses(&r);
            check_text(&r.p);
            assert_true(test_random_tensors(r.p.g, &r.inputs, &r.weights));
            if (!lap_eval(r.p.g, &r.inputs, &r.weights, &base)) {
                fail_with(r.p.ctx, "the graph does not run");
            }
            for (uint32_t i = 0; i < r.p.n; i++) {
                n_checked += check_element(&r, seed, &base, i);
            }
        }
        lap_ctx_free(r.p.ctx);
    }
    assert_true(n_checked > 200);
}

/* ---- refusals and paths --------------------------------------------------------------------- */

static lap_graph *read_graph(lap_ctx *ctx, const char *body)
{
    const char *text = lap_arena_printf(ctx->arena, "lap 1\ngraph @g {\n%s}\n", body);
    lap_graph *g = NULL;
    if (!lap_graph_parse(ctx, "g.lap", text, strlen(text), &g)) {
        fail_with(ctx, "the graph does not parse");
    }
    return g;
}

static lap_ref leaf_named(lap_graph *g, const char *name)
{
    for (uint32_t ix = 1; ix <= lap_graph_n_nodes(g); ix++) {
        const lap_node *n = lap_node_at(g, (lap_ref){ix});
        if (n->op == LAP_OP_INPUT &&
            strcmp(lap_text(lap_graph_ctx(g), lap_attr_name(n, LAP_ATTR_NAME)), name) == 0) {
            return (lap_ref){ix};
        }
    }
    fail_msg("no input '%s'", name);
    return LAP_NONE;
}

static const char two_paths[] = "  %x = input f32[b=2] {name=\"x\" layout=\"b\"}\n"
                                "  %z = input f32[b=2] {name=\"z\" layout=\"b\"}\n"
                                "  %1 = foreign f32[b=2] %x {name=\"odd\" outs=\"y\"}\n"
                                "  %2 = result %1 {which=\"y\"}\n"
                                "  %3 = map %2 %z {fn=mul}\n"
                                "  output \"y\" %3 {layout=\"b\"}\n";

/* An operation without a rule is refused where it matters, and there alone. */
static void test_unknown_rule(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *g = read_graph(ctx, two_paths);
    lap_ref y = lap_graph_output(g, 0)->value, one = lap_const_f(g, 1), x = leaf_named(g, "x"),
            z = leaf_named(g, "z"), d;
    assert_true(lap_grad(g, 1, &y, &one, 1, &z, &d));
    assert_int_equal(lap_error_count(ctx), 0);
    assert_false(lap_grad(g, 1, &y, &one, 1, &x, &d));
    assert_int_equal(lap_error_count(ctx), 1);
    assert_non_null(strstr(lap_error_text(ctx, 0), "g.lap:5: error: no gradient through 'foreign'"));
    assert_non_null(strstr(lap_error_text(ctx, 0), "give one with g:custom"));
    lap_ctx_free(ctx);
}

/* A value that the seed does not depend on has zeros; an integer has no gradient at all. */
static void test_unreached(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *g = read_graph(ctx, "  %x = input f32[b=2] {name=\"x\" layout=\"b\"}\n"
                                   "  %z = input f32[c=3] {name=\"z\" layout=\"c\"}\n"
                                   "  %k = input i64 {name=\"k\" layout=\"\"}\n"
                                   "  %1 = map %x {fn=floor}\n");
    lap_ref x = leaf_named(g, "x"), z = leaf_named(g, "z"), k = leaf_named(g, "k"), one = lap_const_f(g, 1),
            d[2];
    lap_ref y = lap_map1(g, LAP_FN_FLOOR, x);
    assert_true(lap_grad(g, 1, &y, &one, 2, (lap_ref[]){x, z}, d));
    assert_int_equal(lap_node_at(g, d[0])->op, LAP_OP_FULL);
    assert_int_equal(lap_node_at(g, d[1])->op, LAP_OP_FULL);
    assert_false(lap_grad(g, 1, &y, &one, 1, &k, d));
    assert_non_null(strstr(lap_error_text(ctx, 0), "wanted value 1 of a gradient is i64, expected floats"));
    lap_ctx_free(ctx);
}

/* lap.stop: a custom without operands passes nothing; straight-through passes all. */
static void test_stop(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *g = read_graph(ctx, "  %x = input f32[b=2] {name=\"x\" layout=\"b\"}\n"
                                   "  %1 = map %x {fn=exp}\n"
                                   "  %2 = custom %1 {\n    (%d f32[b=2])\n  }\n"
                                   "  %3 = map %x {fn=round}\n"
                                   "  %4 = custom %3 %x {\n    (%e f32[b=2])\n    yield %e\n  }\n"
                                   "  %5 = map %2 %4 {fn=add}\n"
                                   "  output \"y\" %5 {layout=\"b\"}\n");
    lap_ref y = lap_graph_output(g, 0)->value, x = leaf_named(g, "x"), d;
    lap_ref seed = leaf_named(g, "x");
    assert_true(lap_grad(g, 1, &y, &seed, 1, &x, &d));
    assert_int_equal(d.ix, seed.ix); /* the seed itself, through the straight path alone */
    lap_ctx_free(ctx);
}

/* The gradients of a contraction are contractions of the seed itself, not of the seed spread. */
static void test_products(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *g = read_graph(ctx, "  %x = input f32[m=2 k=3] {name=\"x\" layout=\"m k\"}\n"
                                   "  %w = input f32[n=4 k=3] {name=\"w\" layout=\"n k\"}\n"
                                   "  %d = input f32[m=2 n=4] {name=\"d\" layout=\"m n\"}\n"
                                   "  %1 = map %x %w {fn=mul}\n"
                                   "  %2 = reduce %1 {red=sum over=\"k\"}\n"
                                   "  output \"y\" %2 {layout=\"m n\"}\n");
    lap_ref y = lap_graph_output(g, 0)->value, seed = leaf_named(g, "d"), d[2];
    lap_ref wrt[] = {leaf_named(g, "x"), leaf_named(g, "w")};
    assert_true(lap_grad(g, 1, &y, &seed, 2, wrt, d));
    for (int i = 0; i < 2; i++) {
        const lap_node *product = lap_node_at(g, lap_node_at(g, d[i])->args[0]);
        assert_int_equal(product->n_axes, 3);
        assert_true(lap_ref_same(product->args[0], seed) || lap_ref_same(product->args[1], seed));
    }
    lap_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),     cmocka_unit_test(test_random), cmocka_unit_test(test_unknown_rule),
        cmocka_unit_test(test_unreached), cmocka_unit_test(test_stop),   cmocka_unit_test(test_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
