/* SPDX-License-Identifier: Apache-2.0
 * test_kernel.c - the kernel builder: loops, where nodes stand, types. */
#include "tests/unit/graphs.h"

#include <stdlib.h>

#include "ir/kernel.h"

static int make_kernel(void **state)
{
    lap_ctx *ctx = lap_ctx_new(0);
    *state = lap_graph_new(ctx, "kernel", LAP_LEVEL_KERNEL);
    return 0;
}

static uint32_t count_op(lap_graph *k, lap_region_id id, lap_op op)
{
    uint32_t n, found = 0;
    const lap_ref *nodes = lap_region_nodes(k, id, &n);
    for (uint32_t i = 0; i < n; i++) {
        found += lap_node_at(k, nodes[i])->op == op;
    }
    return found;
}

/* out[i] = sum over j of a[i*M + j] * s[0], written as a loop nest. */
static void test_row_sums(void **state)
{
    lap_graph *k = *state;
    lap_ref a = lap_k_global(k, 0, LAP_BF16), out = lap_k_global(k, 1, LAP_F32);
    lap_ref columns = lap_dim_node(k, dim_of(k, "M"));
    lap_k_loop rows = lap_k_for(k, LAP_LOOP_GRID, lap_dim_node(k, dim_of(k, "N")), 0, NULL);
    lap_ref zero = lap_const_f(k, 0);
    lap_k_loop sum = lap_k_for(k, LAP_LOOP_VECTOR, columns, 1, &zero);
    lap_ref start = lap_map2(k, LAP_FN_MUL, rows.index, columns);
    lap_ref x = lap_k_load(k, a, lap_map2(k, LAP_FN_ADD, start, sum.index), LAP_NONE);
    lap_ref next = lap_map2(k, LAP_FN_ADD, sum.carried[0], x), total;
    lap_k_end(k, &sum, &next, &total);
    lap_k_store(k, out, rows.index, total, LAP_NONE);
    lap_k_end(k, &rows, NULL, NULL);

    assert_int_equal(lap_node_at(k, x)->dtype, LAP_F32);
    assert_int_equal(lap_node_at(k, total)->dtype, LAP_F32);
    assert_string_equal(lap_text(lap_graph_ctx(k), lap_attr_name(lap_node_at(k, total), LAP_ATTR_WHICH)),
                        "0");
    assert_same(lap_node_at(k, start)->region, rows.region); /* moved out of the inner loop */
    assert_same(lap_node_at(k, x)->region, sum.region);
    assert_same(lap_node_at(k, next)->region, sum.region);
    assert_int_equal(count_op(k, (lap_region_id){0}, LAP_OP_FOR), 1);
    assert_int_equal(count_op(k, rows.region, LAP_OP_FOR), 1);
    assert_int_equal(count_op(k, rows.region, LAP_OP_STORE), 1);
    assert_int_equal(lap_region_at(k, sum.region)->n_params, 2);
    assert_int_equal(lap_region_at(k, sum.region)->depth, 2);
}

static void test_if_and_effects(void **state)
{
    lap_graph *k = *state;
    lap_ref keys = lap_k_scratch(k, 0, LAP_F32, dim_of(k, "N")),
            order = lap_k_scratch(k, 1, LAP_I64, dim_of(k, "N"));
    lap_ref zero = lap_const_i(k, 0), n = lap_dim_node(k, dim_of(k, "N"));
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, n, 0, NULL);
    lap_ref cond = lap_map2(k, LAP_FN_LT, grid.index, lap_const_i(k, 3));
    lap_region_id then = lap_k_if(k, cond);
    lap_ref first = lap_k_load(k, keys, grid.index, cond);
    lap_k_store(k, keys, zero, first, cond);
    lap_k_fail(k, lap_map2(k, LAP_FN_GT, first, lap_const_f(k, 9)), "too large");
    lap_k_sort(k, keys, zero, n, order, zero, lap_const_i(k, 2), true);
    lap_k_end_if(k, then, cond);
    lap_k_end(k, &grid, NULL, NULL);
    static const lap_op effects[] = {LAP_OP_LOAD, LAP_OP_STORE, LAP_OP_FAIL, LAP_OP_SORT};
    for (size_t i = 0; i < sizeof effects / sizeof *effects; i++) {
        assert_int_equal(count_op(k, then, effects[i]), 1);
    }
    assert_int_equal(count_op(k, grid.region, LAP_OP_IF), 1);
}

/* Two loads of one place are two nodes: a store may stand between them. */
static void test_loads_are_not_shared(void **state)
{
    lap_graph *k = *state;
    lap_ref a = lap_k_global(k, 0, LAP_I8), zero = lap_const_i(k, 0);
    lap_ref first = lap_k_load(k, a, zero, LAP_NONE), second = lap_k_load(k, a, zero, LAP_NONE);
    assert_true(first.ix != second.ix);
    assert_int_equal(lap_node_at(k, first)->dtype, LAP_I64);
    assert_same(a, lap_k_global(k, 0, LAP_I8));
}

static void test_mistakes(void **state)
{
    lap_graph *k = *state;
    lap_ref a = lap_k_global(k, 0, LAP_F32), zero = lap_const_i(k, 0), half = lap_const_f(k, 0.5);
    assert_refused(
        k, lap_emit(k, &(lap_emit_args){.op = LAP_OP_LOAD, .n_args = 2, .args = (lap_ref[]){zero, zero}}),
        "load needs a buffer");
    assert_refused(
        k, lap_emit(k, &(lap_emit_args){.op = LAP_OP_LOAD, .n_args = 2, .args = (lap_ref[]){a, half}}),
        "expected one i64");
    assert_refused(
        k, lap_emit(k, &(lap_emit_args){.op = LAP_OP_STORE, .n_args = 3, .args = (lap_ref[]){a, zero, zero}}),
        "expected one f32");
    assert_refused(k,
                   lap_emit(k, &(lap_emit_args){.op = LAP_OP_MAP,
                                                .n_args = 1,
                                                .args = &a,
                                                .n_attrs = 1,
                                                .attrs = &(lap_attr){.key = LAP_ATTR_FN, .i = LAP_FN_EXP}}),
                   "a buffer has no value");
}

static void test_rewrite_keeps_effects(void **state)
{
    lap_graph *k = *state;
    lap_ref out = lap_k_global(k, 0, LAP_F32), dead = lap_k_global(k, 1, LAP_F32);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, lap_dim_node(k, dim_of(k, "N")), 0, NULL);
    lap_k_load(k, dead, grid.index, LAP_NONE);
    lap_k_store(k, out, grid.index, lap_const_f(k, 1), LAP_NONE);
    lap_k_end(k, &grid, NULL, NULL);
    lap_graph *copy = lap_graph_rewrite(k, NULL, NULL);
    assert_non_null(copy);
    assert_int_equal(count_op(copy, (lap_region_id){0}, LAP_OP_FOR), 1);
    assert_int_equal(count_op(copy, (lap_region_id){0}, LAP_OP_BUFFER), 1);
    assert_int_equal(count_op(copy, (lap_region_id){1}, LAP_OP_STORE), 1);
    assert_int_equal(count_op(copy, (lap_region_id){1}, LAP_OP_LOAD), 0);
}

static lap_graph *fill_kernel(lap_ctx *ctx)
{
    lap_graph *k = lap_graph_new(ctx, "fill", LAP_LEVEL_KERNEL);
    lap_ref out = lap_k_global(k, 0, LAP_F32);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, lap_dim_node(k, dim_of(k, "N")), 0, NULL);
    lap_k_store(k, out, grid.index, lap_const_f(k, 1), LAP_NONE);
    lap_k_end(k, &grid, NULL, NULL);
    return k;
}

static void test_program_text(void **state)
{
    lap_ctx *ctx = lap_graph_ctx(*state);
    lap_dim n = dim_of(*state, "N"), one = dim_of(*state, "1");
    const lap_leaf output = {.name = name_of(*state, "y"), .dtype = LAP_F32, .rank = 1, .shape = &n};
    const lap_buffer buffers[] = {
        {.kind = LAP_BUF_OUTPUT, .elem = LAP_F32, .count = n},
        {.kind = LAP_BUF_TEMP, .elem = LAP_BOOL, .count = one},
    };
    const lap_kernel kernel = {.graph = fill_kernel(ctx), .name = "fill"};
    const uint32_t operands[] = {0};
    const lap_step body[] = {{.kind = LAP_STEP_LAUNCH, .launch = {0, 1, operands}}};
    const lap_step steps[] = {
        {.kind = LAP_STEP_LOOP, .limit = n, .counter = -1, .test = 1, .n_test = 1, .n_body = 1, .body = body},
        {.kind = LAP_STEP_BRANCH, .test = 1, .n_body = 1, .body = body},
        {.kind = LAP_STEP_COPY, .from = 0, .to = 0, .on_load = true},
    };
    const lap_check check = {n, LAP_REL_GE, one, "one token at least", {0}};
    const lap_program program = {
        .ctx = ctx,
        .name = "demo",
        .n_outputs = 1,
        .outputs = &output,
        .n_buffers = 2,
        .buffers = buffers,
        .n_kernels = 1,
        .kernels = &kernel,
        .n_steps = 3,
        .steps = steps,
        .n_checks = 1,
        .checks = &check,
    };
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    assert_non_null(to);
    lap_program_print(&program, to);
    fclose(to);
    static const char *const lines[] = {
        "program demo\n",
        "output 0 y: f32[N]",
        "buffer b0: output 0 f32[N]\n",
        "buffer b1: temp bool[1]\n",
        "check N >= 1  ; ?: one token at least\n",
        "kernel fill",
        "  loop N while b1 after 1 {\n    launch fill b0\n  }\n",
        "  branch b1 {\n    launch fill b0\n  } else {\n  }\n",
        "  on load: copy b0 b0\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (!strstr(text, lines[i])) {
            fail_msg("no '%s' in:\n%s", lines[i], text);
        }
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_row_sums, make_kernel, free_graph),
        cmocka_unit_test_setup_teardown(test_if_and_effects, make_kernel, free_graph),
        cmocka_unit_test_setup_teardown(test_loads_are_not_shared, make_kernel, free_graph),
        cmocka_unit_test_setup_teardown(test_mistakes, make_kernel, free_graph),
        cmocka_unit_test_setup_teardown(test_program_text, make_kernel, free_graph),
        cmocka_unit_test_setup_teardown(test_rewrite_keeps_effects, make_kernel, free_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
