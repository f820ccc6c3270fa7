/* SPDX-License-Identifier: Apache-2.0
 * test_verify.c - each invariant of a graph, broken by hand: nodes are put into the store directly,
 * since no builder makes them. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <string.h>

#include "ir/store.h"

static lap_graph *read_graph(lap_ctx *ctx, const char *level, const char *body)
{
    const char *text = lap_arena_printf(ctx->arena, "lap 1\n%s @g {\n%s}\n", level, body);
    lap_graph *g = NULL;
    if (!lap_graph_parse(ctx, "g.lap", text, strlen(text), &g)) {
        lap_errors_print(ctx, stderr);
        fail_msg("the graph to be broken is not right to begin with");
    }
    return g;
}

static const char plain[] = "  %1 = input f32[b=B n=N] {name=\"x\" layout=\"b n\"}\n"
                            "  %2 = map f32[b=B n=N] %1 {fn=exp}\n"
                            "  %3 = input i64[b=B] {name=\"k\" layout=\"b\"}\n"
                            "  %4 = scan %1 {along=t steps=3 reverse=false states=\"s\" outs=\"\"} {\n"
                            "    (%5 f32[b=B n=N], %6 i64)\n"
                            "    %7 = map f32[b=B n=N] %5 {fn=neg}\n"
                            "    yield %7\n"
                            "  }\n"
                            "  %8 = result f32[b=B n=N] %4 {which=\"last_s\"}\n"
                            "  output \"y\" %8 {layout=\"b n\"}\n";

static void setup(lap_ctx **ctx, lap_graph **g)
{
    *ctx = lap_ctx_new(0);
    *g = read_graph(*ctx, "graph", plain);
    assert_true(lap_graph_verify(*g));
}

static lap_ref find(lap_graph *g, lap_op op, uint32_t nth)
{
    for (uint32_t ix = 1; ix <= lap_graph_n_nodes(g); ix++) {
        if (lap_node_at(g, (lap_ref){ix})->op == op && nth-- == 0) {
            return (lap_ref){ix};
        }
    }
    fail_msg("no such node");
    return LAP_NONE;
}

static lap_node *change(lap_graph *g, lap_ref ref) { return (lap_node *)lap_node_at(g, ref); }

/* The graph is refused with one message at least that says `want`; frees the context. */
static void is_broken(lap_graph *g, const char *want)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    assert_false(lap_graph_verify(g));
    bool found = false;
    for (size_t i = 0; i < lap_error_count(ctx); i++) {
        found = found || strstr(lap_error_text(ctx, i), want);
    }
    if (!found) {
        lap_errors_print(ctx, stderr);
        fail_msg("no message '%s'", want);
    }
    lap_ctx_free(ctx);
}

static const lap_attr fn_exp = {.key = LAP_ATTR_FN, .i = LAP_FN_EXP};

/* exp of `arg`, with the type of `like`. */
static lap_ref add_map(lap_graph *g, lap_ref arg, lap_ref like)
{
    lap_node n = *lap_node_at(g, like);
    n.op = LAP_OP_MAP;
    n.n_args = 1;
    n.args = lap_arena_copy(lap_graph_ctx(g)->arena, &arg, sizeof arg);
    n.n_attrs = 1;
    n.attrs = &fn_exp;
    n.n_regions = 0;
    return lap_store_add(g, &n);
}

/* ---- form ----------------------------------------------------------------------------------- */

static void test_form(void **state)
{
    (void)state;
    lap_ctx *ctx;
    lap_graph *g;
    setup(&ctx, &g);
    change(g, find(g, LAP_OP_MAP, 0))->op = LAP_OP_NONE;
    is_broken(g, "is no operation");

    setup(&ctx, &g);
    change(g, find(g, LAP_OP_MAP, 0))->n_args = 0;
    is_broken(g, "map (node 2) has 0 operands, expected 1 to 3");

    setup(&ctx, &g);
    change(g, find(g, LAP_OP_SCAN, 0))->n_regions = 0;
    is_broken(g, "has 0 regions, expected 1");

    setup(&ctx, &g);
    change(g, find(g, LAP_OP_MAP, 0))->region.ix = 77;
    is_broken(g, "stands in region 77, which the graph lacks");

    setup(&ctx, &g);
    g->level = LAP_LEVEL_KERNEL;
    is_broken(g, "is not an operation of this level");
}

static void test_attributes(void **state)
{
    (void)state;
    lap_ctx *ctx;
    lap_graph *g;
    setup(&ctx, &g);
    change(g, find(g, LAP_OP_MAP, 0))->n_attrs = 0;
    is_broken(g, "needs attribute 'fn'");

    setup(&ctx, &g);
    const lap_attr twice[] = {fn_exp, fn_exp};
    change(g, find(g, LAP_OP_MAP, 0))->n_attrs = 2;
    change(g, find(g, LAP_OP_MAP, 0))->attrs = twice;
    is_broken(g, "has attribute 'fn' out of order or twice");

    setup(&ctx, &g);
    const lap_attr foreign[] = {fn_exp, {.key = LAP_ATTR_RED, .i = LAP_RED_SUM}};
    change(g, find(g, LAP_OP_MAP, 0))->n_attrs = 2;
    change(g, find(g, LAP_OP_MAP, 0))->attrs = foreign;
    is_broken(g, "takes no attribute 'red'");

    setup(&ctx, &g);
    const lap_attr outside = {.key = LAP_ATTR_FN, .i = LAP_N_FNS};
    change(g, find(g, LAP_OP_MAP, 0))->attrs = &outside;
    is_broken(g, "has attribute 'fn' out of range");

    setup(&ctx, &g);
    const lap_attr unknown = {.key = LAP_N_ATTRS};
    change(g, find(g, LAP_OP_MAP, 0))->attrs = &unknown;
    is_broken(g, "has an unknown attribute");
}

/* ---- order ---------------------------------------------------------------------------------- */

static void test_order(void **state)
{
    (void)state;
    lap_ctx *ctx;
    lap_graph *g;
    setup(&ctx, &g);
    lap_ref self = find(g, LAP_OP_MAP, 0);
    change(g, self)->args = &self;
    is_broken(g, "has operand 0, node 2, which does not come before it");

    setup(&ctx, &g);
    const lap_ref none = LAP_NONE;
    change(g, find(g, LAP_OP_MAP, 0))->args = &none;
    is_broken(g, "has operand 0, node 0, which");

    setup(&ctx, &g);
    lap_axis *axes = (lap_axis *)lap_node_at(g, find(g, LAP_OP_MAP, 0))->axes;
    axes[1].count = find(g, LAP_OP_RESULT, 0);
    is_broken(g, "has the count of axis 1, node 8, which does not come before it");

    setup(&ctx, &g);
    lap_ref *results = (lap_ref *)lap_region_at(g, (lap_region_id){1})->results;
    results[0] = find(g, LAP_OP_RESULT, 0);
    is_broken(g, "as result of its region 0, node 8");

    setup(&ctx, &g);
    add_map(g, find(g, LAP_OP_SCAN, 0), find(g, LAP_OP_MAP, 0));
    is_broken(g, "reads operand 0, a scan, which gives no value");

    setup(&ctx, &g);
    lap_ref value = find(g, LAP_OP_MAP, 0);
    change(g, find(g, LAP_OP_RESULT, 0))->args = &value;
    is_broken(g, "reads operand 0, a map, which gives one value");
}

/* ---- scope ---------------------------------------------------------------------------------- */

static void test_scope(void **state)
{
    (void)state;
    lap_ctx *ctx;
    lap_graph *g;
    setup(&ctx, &g);
    add_map(g, find(g, LAP_OP_MAP, 1), find(g, LAP_OP_MAP, 0));
    is_broken(g, "of region 1, which is not around region 0");

    setup(&ctx, &g);
    lap_ref outside = add_map(g, find(g, LAP_OP_INPUT, 0), find(g, LAP_OP_MAP, 0));
    change(g, outside)->region.ix = 1;
    is_broken(g, "stands in region 1, but depends on region 0 alone");

    setup(&ctx, &g);
    lap_store_add(g, lap_node_at(g, find(g, LAP_OP_SCAN, 0)));
    is_broken(g, "shares region 1 with node");

    setup(&ctx, &g);
    lap_store_add(g, lap_node_at(g, find(g, LAP_OP_PARAM, 0)));
    is_broken(g, "is not a parameter of its region 1");

    setup(&ctx, &g);
    const lap_region_id lacking = {9};
    change(g, find(g, LAP_OP_SCAN, 0))->regions = &lacking;
    is_broken(g, "has region 9, which the graph lacks");
}

/* A function may be shared, but not where a value that it reads is out of sight. */
static void test_shared_scope(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *g = read_graph(ctx, "graph",
                              "  %1 = input f32 {name=\"x\" layout=\"\"}\n"
                              "  %2 = scan %1 {along=t steps=3 reverse=false states=\"s\" outs=\"\"} {\n"
                              "    (%3 f32, %4 i64)\n"
                              "    func @f {\n"
                              "      (%5 f32)\n"
                              "      %6 = map f32 %5 %3 {fn=add}\n"
                              "      yield %6\n"
                              "    }\n"
                              "    %7 = call %3 {name=\"f\" outs=\"y\"} @f\n"
                              "    %8 = result f32 %7 {which=\"y\"}\n"
                              "    yield %8\n"
                              "  }\n");
    lap_node call = *lap_node_at(g, find(g, LAP_OP_CALL, 0));
    lap_ref x = find(g, LAP_OP_INPUT, 0);
    call.args = &x;
    call.region.ix = 0;
    lap_store_add(g, &call);
    is_broken(g, "which reads from region 1, not around it");
}

/* ---- types ---------------------------------------------------------------------------------- */

static void test_types(void **state)
{
    (void)state;
    lap_ctx *ctx;
    lap_graph *g;
    setup(&ctx, &g);
    change(g, find(g, LAP_OP_MAP, 0))->dtype = LAP_I64;
    is_broken(g, "is i64[b=B n=N], but its operands give f32[b=B n=N]");

    setup(&ctx, &g);
    change(g, find(g, LAP_OP_MAP, 0))->n_axes = 1;
    is_broken(g, "is f32[b=B], but its operands give f32[b=B n=N]");

    setup(&ctx, &g);
    lap_axis *axes = (lap_axis *)lap_node_at(g, find(g, LAP_OP_MAP, 0))->axes;
    axes[1].size = lap_dim_const(ctx, 5);
    is_broken(g, "is f32[b=B n=5], but its operands give");

    setup(&ctx, &g);
    axes = (lap_axis *)lap_node_at(g, find(g, LAP_OP_INPUT, 0))->axes;
    axes[1].name = axes[0].name;
    is_broken(g, "has axis 'b' twice");

    setup(&ctx, &g);
    axes = (lap_axis *)lap_node_at(g, find(g, LAP_OP_INPUT, 0))->axes;
    axes[1].size = lap_dim_const(ctx, -1);
    is_broken(g, "has axis 'n' of negative size");

    setup(&ctx, &g);
    axes = (lap_axis *)lap_node_at(g, find(g, LAP_OP_PARAM, 0))->axes;
    axes[1].count = find(g, LAP_OP_INPUT, 0);
    is_broken(g, "has axis 'n' whose count is no integer");

    setup(&ctx, &g);
    axes = (lap_axis *)lap_node_at(g, find(g, LAP_OP_PARAM, 0))->axes;
    axes[0].count = find(g, LAP_OP_INPUT, 1);
    is_broken(g, "has axis 'b' whose count varies over 'b'");
}

/* What inference refuses, the verifier refuses: regions against their operations. */
static void test_region_types(void **state)
{
    (void)state;
    lap_ctx *ctx;
    lap_graph *g;
    setup(&ctx, &g);
    lap_store_region(g, (lap_region_id){1})->pub.n_params = 1;
    is_broken(g, "parameters");

    setup(&ctx, &g);
    lap_store_region(g, (lap_region_id){1})->pub.n_results = 0;
    is_broken(g, "results");

    setup(&ctx, &g);
    lap_ref *results = (lap_ref *)lap_region_at(g, (lap_region_id){1})->results;
    results[0] = find(g, LAP_OP_PARAM, 1); /* the step: i64 where the state is f32 */
    is_broken(g, "i64");

    setup(&ctx, &g);
    lap_attr which = {.key = LAP_ATTR_WHICH, .name = lap_intern(ctx, "z")};
    change(g, find(g, LAP_OP_RESULT, 0))->attrs = &which;
    is_broken(g, "scan has no result 'z'");
}

/* ---- outputs -------------------------------------------------------------------------------- */

static void test_outputs(void **state)
{
    (void)state;
    lap_ctx *ctx;
    lap_graph *g;
    setup(&ctx, &g);
    lap_graph_add_output(g, lap_graph_output(g, 0));
    is_broken(g, "output 'y' is given twice");

    setup(&ctx, &g);
    g->outputs[0].value = find(g, LAP_OP_MAP, 1);
    is_broken(g, "output 'y' is no value of the graph");

    setup(&ctx, &g);
    g->outputs[0].value = (lap_ref){999};
    is_broken(g, "output 'y' is no value of the graph");

    setup(&ctx, &g);
    g->outputs[0].layout.n = 1;
    is_broken(g, "names axis 'n' of f32[b=B n=N] 0 times");

    setup(&ctx, &g);
    lap_name axis = lap_intern(ctx, "c");
    lap_ref count = find(g, LAP_OP_INPUT, 1);
    g->outputs[0].n_crops = 1;
    g->outputs[0].crop_axes = &axis;
    g->outputs[0].crop_counts = &count;
    assert_false(lap_graph_verify(g));
    is_broken(g, "is cropped along 'c', which it lacks");
}

/* ---- kernel level --------------------------------------------------------------------------- */

static void kernel_is_broken(const char *body, const char *want)
{
    lap_ctx *ctx = lap_ctx_new(0);
    const char *text = lap_arena_printf(ctx->arena, "lap 1\nkernel @k {\n%s}\n", body);
    lap_graph *g = NULL;
    assert_false(lap_graph_parse(ctx, "k.lap", text, strlen(text), &g));
    bool found = false;
    for (size_t i = 0; i < lap_error_count(ctx); i++) {
        found = found || strstr(lap_error_text(ctx, i), want);
    }
    if (!found) {
        lap_errors_print(ctx, stderr);
        fail_msg("no message '%s'", want);
    }
    lap_ctx_free(ctx);
}

#define BUFFERS                                                                                              \
    "  %a = buffer {space=global slot=0 elem=f32}\n  %b = buffer {space=scratch slot=0 elem=f32 count=8}\n"  \
    "  %n = dim {dim=N}\n  %8 = const {value=8}\n  %z = const {value=0.0}\n"
#define GRID(body) BUFFERS "  %g = for %n {kind=grid} {\n    (%i i64)\n" body "  }\n"

static void test_grid(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *g = read_graph(ctx, "kernel", GRID("    %x = load %a %i\n    store %a %i %x\n"));
    assert_true(lap_graph_verify(g));
    lap_ctx_free(ctx);
    kernel_is_broken(BUFFERS, "has 0 grid loops, expected one");
    kernel_is_broken(GRID("") "  %h = for %8 {kind=grid} {\n    (%j i64)\n  }\n", "has 2 grid loops");
    kernel_is_broken(GRID("    %h = for %8 {kind=grid} {\n    (%j i64)\n    }\n"),
                     "is a grid loop inside another region");
    kernel_is_broken(BUFFERS "  %g = for %n %z {kind=grid} {\n    (%i i64, %c f32)\n    yield %c\n  }\n",
                     "is a grid loop that carries values");
    kernel_is_broken(BUFFERS "  %m = map %n %n {fn=mod}\n  %g = for %m {kind=grid} {\n    (%i i64)\n  }\n",
                     "is a grid loop whose extent is not a dim");
    kernel_is_broken(BUFFERS "  store %a %8 %z\n"
                             "  %g = for %n {kind=grid} {\n    (%i i64)\n  }\n",
                     "store (node 6) stands outside the grid loop");
    kernel_is_broken(GRID("") "  %x = load %a %8\n", "stands outside the grid loop");
}

static void test_loops(void **state)
{
    (void)state;
    kernel_is_broken(GRID("    %h = for %n {kind=unroll} {\n    (%j i64)\n    }\n"),
                     "is of kind unroll, and its extent is not a constant");
    kernel_is_broken(
        GRID("    %h = for %n %z {kind=vector} {\n    (%j i64, %c f32)\n    %d = map %c %j {fn=sub}\n"
             "    yield %d\n    }\n"),
        "carried value 0 is not folded in one step");
    kernel_is_broken(
        GRID("    %h = for %n %z {kind=vector} {\n    (%j i64, %c f32)\n    %e = map %c {fn=exp}\n"
             "    %d = map %c %e {fn=add}\n    yield %d\n    }\n"),
        "carried value 0 is not folded in one step");
    kernel_is_broken(
        GRID("    %h = for %n %z {kind=vector} {\n    (%j i64, %c f32)\n    %d = map %c %c {fn=add}\n"
             "    yield %d\n    }\n"),
        "carried value 0 is not folded in one step");
    lap_ctx *ctx = lap_ctx_new(0);
    read_graph(ctx, "kernel",
               GRID("    %h = for %n %z {kind=vector} {\n    (%j i64, %c f32)\n    %x = load %a %j\n"
                    "    %d = map %x %c {fn=max}\n    yield %d\n    }\n"));
    lap_ctx_free(ctx);
}

static void test_buffers(void **state)
{
    (void)state;
    kernel_is_broken(GRID("") "  %c = buffer {space=global slot=2 elem=f32}\n",
                     "has slot 2 of 2: slots are dense");
    kernel_is_broken(GRID("") "  %c = buffer {space=global slot=0 elem=i8}\n",
                     "has slot 0, which another buffer has");
    kernel_is_broken(GRID("") "  %c = buffer {space=scratch slot=0 elem=i64 count=8}\n",
                     "has slot 0, which another buffer has");
    kernel_is_broken(GRID("    mma %a %i %8 %a %i %8 %8 %8 %a %i %8 %8 {rows=1 cols=8 init=true}\n"),
                     "accumulates into something that is not f32 scratch");
    kernel_is_broken(GRID("    mma %a %i %8 %a %i %8 %8 %8 %a %i %8 %8 {rows=1 cols=8 init=true dot=true}\n"),
                     "dot products are of bf16, found f32 and f32");
    kernel_is_broken(GRID("    sort %a %i %8 %b %i %8 {smallest=true}\n"),
                     "writes its order to a buffer that is not i64");
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *g = read_graph(ctx, "kernel", GRID("    %x = map %i {fn=neg}\n"));
    lap_ref buffer = find(g, LAP_OP_BUFFER, 0);
    change(g, find(g, LAP_OP_MAP, 0))->args = &buffer;
    change(g, find(g, LAP_OP_MAP, 0))->region.ix = 0;
    is_broken(g, "reads a buffer as a value");
    ctx = lap_ctx_new(0);
    g = read_graph(ctx, "kernel", GRID(""));
    lap_axis axis = {lap_intern(ctx, "n"), lap_dim_const(ctx, 3), LAP_NONE};
    change(g, find(g, LAP_OP_CONST, 0))->n_axes = 1;
    change(g, find(g, LAP_OP_CONST, 0))->axes = &axis;
    is_broken(g, "has axes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),         cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_order),        cmocka_unit_test(test_scope),
        cmocka_unit_test(test_shared_scope), cmocka_unit_test(test_types),
        cmocka_unit_test(test_region_types), cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_grid),         cmocka_unit_test(test_loops),
        cmocka_unit_test(test_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
