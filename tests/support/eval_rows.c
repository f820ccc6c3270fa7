/* SPDX-License-Identifier: Apache-2.0
 * eval_rows.c - runs the evaluator on a graph written as text and compares with text. */
#include "tests/support/eval_rows.h"

/* Splits "w.x" tensors off as weights "x". */
static void split_weights(lap_arena *arena, const lap_eval_io *all, lap_eval_io *inputs, lap_eval_io *weights)
{
    const char **names[2];
    lap_tensor *tensors[2];
    uint32_t n[2] = {0, 0};
    for (int k = 0; k < 2; k++) {
        names[k] = lap_arena_array(arena, all->n + 1, sizeof **names);
        tensors[k] = lap_arena_array(arena, all->n + 1, sizeof **tensors);
    }
    for (uint32_t i = 0; i < all->n; i++) {
        int k = strncmp(all->names[i], "w.", 2) == 0;
        names[k][n[k]] = all->names[i] + 2 * k;
        tensors[k][n[k]++] = all->tensors[i];
    }
    *inputs = (lap_eval_io){n[0], names[0], tensors[0]};
    *weights = (lap_eval_io){n[1], names[1], tensors[1]};
}

static void expect_error(lap_ctx *ctx, const test_eval_row *r)
{
    if (lap_error_count(ctx) != 1 || !strstr(lap_error_text(ctx, 0), r->expected + 2)) {
        fail_msg("%s: expected '%s', found %zu errors: '%s'", r->what, r->expected + 2, lap_error_count(ctx),
                 lap_error_count(ctx) ? lap_error_text(ctx, 0) : "");
    }
}

static void expect_outputs(lap_ctx *ctx, const test_eval_row *r, const lap_eval_result *got)
{
    lap_eval_io want = test_tensors(ctx->arena, r->expected);
    assert_int_equal(got->n, want.n);
    for (uint32_t i = 0; i < want.n; i++) {
        const char *why = NULL;
        assert_string_equal(got->names[i], want.names[i]);
        if (!test_tensor_close(ctx->arena, &got->tensors[i], &want.tensors[i], 1e-6, 1e-7, &why)) {
            fail_msg("%s: %s: %s", r->what, want.names[i], why);
        }
    }
}

void test_eval_check(const test_eval_row *r)
{
    lap_ctx *ctx = lap_ctx_new(0);
    const char *text = lap_arena_printf(ctx->arena, "lap 1\ngraph @test {\n%s}\n", r->graph);
    lap_graph *g;
    if (!lap_graph_parse(ctx, "test.lap", text, strlen(text), &g) || !lap_graph_verify(g)) {
        fail_msg("%s: %s", r->what, lap_error_text(ctx, 0));
    }
    lap_eval_io all = test_tensors(ctx->arena, r->given), inputs, weights;
    split_weights(ctx->arena, &all, &inputs, &weights);
    lap_eval_result got;
    bool ok = lap_eval(g, &inputs, &weights, &got);
    if (r->expected[0] == '!') {
        assert_false(ok);
        expect_error(ctx, r);
    } else if (!ok) {
        fail_msg("%s: %s", r->what, lap_error_text(ctx, 0));
    } else {
        expect_outputs(ctx, r, &got);
    }
    lap_ctx_free(ctx);
}
