/* SPDX-License-Identifier: Apache-2.0
 * test_random_passes.c - random graphs give the same results after the graph passes as before.
 *
 * LAP_GRAPHS sets how many (default 500), LAP_SEED the first. A graph that fails is printed smaller. */
#include "tests/unit/graphs.h"

#include <stdio.h>
#include <stdlib.h>

#include "codegen/llvm/llvm.h"
#include "passes/passes.h"
#include "tests/support/random_graph.h"

static uint64_t setting(const char *name, uint64_t missing)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : missing;
}

/* Whether the passes change what the graph gives; graphs that give nothing at all do not count. */
static bool changes(lap_ctx *ctx, lap_graph *g, const lap_target *target, const char **out_why)
{
    lap_eval_io inputs, weights;
    lap_eval_result want, got;
    lap_graph *after;
    if (!test_random_tensors(g, &inputs, &weights) || !lap_eval(g, &inputs, &weights, &want)) {
        return false;
    }
    if (!lap_passes_run(g, target, &(lap_pass_options){.verify = true}, &after) ||
        !lap_eval(after, &inputs, &weights, &got)) {
        *out_why = lap_error_count(ctx) ? lap_error_text(ctx, 0) : "no reason given";
        return true;
    }
    return !test_results_close(ctx->arena, &got, &want, out_why);
}

static bool text_fails(void *user, const char *text)
{
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *g;
    const char *why;
    bool fails = lap_graph_parse(ctx, "text", text, strlen(text), &g) && changes(ctx, g, user, &why);
    lap_ctx_free(ctx);
    return fails;
}

static void test_graphs(void **state)
{
    (void)state;
    lap_fault fault;
    lap_machine *machine = lap_machine_new(NULL, NULL, &fault);
    assert_non_null(machine);
    lap_target target = *lap_machine_target(machine);
    uint64_t first = setting("LAP_SEED", 1), n = setting("LAP_GRAPHS", 500);
    for (uint64_t seed = first; seed < first + n; seed++) {
        lap_ctx *ctx = lap_ctx_new(0);
        lap_graph *g = test_random_graph(ctx, seed, 4 + (unsigned)(seed % 20));
        const char *why = NULL;
        if (changes(ctx, g, &target, &why)) {
            fprintf(stderr, "seed %llu: %s\n%s", (unsigned long long)seed, why,
                    test_shrink(ctx->arena, lap_graph_text(g), text_fails, &target));
            fail_msg("seed %llu", (unsigned long long)seed);
        }
        lap_ctx_free(ctx);
    }
    lap_machine_free(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_graphs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
