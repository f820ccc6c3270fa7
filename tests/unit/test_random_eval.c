/* SPDX-License-Identifier: Apache-2.0
 * test_random_eval.c - random graphs: valid, evaluated, and the same after printing and rewriting.
 *
 * LAP_GRAPHS sets how many (default 300), LAP_SEED where to start. A graph that fails is printed
 * smaller. */
#include "tests/unit/graphs.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/random_graph.h"
#include "tests/support/tensor_text.h"

static uint64_t setting(const char *name, uint64_t missing)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : missing;
}

static bool evaluate(lap_graph *g, lap_eval_result *out, const char **out_why)
{
    lap_eval_io inputs, weights;
    lap_ctx *ctx = lap_graph_ctx(g);
    if (!test_random_tensors(g, &inputs, &weights)) {
        *out_why = "its leaves have no shapes";
        return false;
    }
    if (!lap_eval(g, &inputs, &weights, out)) {
        *out_why = lap_error_count(ctx) ? lap_error_text(ctx, 0) : "no reason given";
        return false;
    }
    return true;
}

typedef enum verdict { AGREES, INVALID, DIFFERS } verdict;

/* What a graph may become without another result: the graph parsed from its text, and a copy. */
static verdict judge(lap_ctx *ctx, lap_graph *g, const char **out_why)
{
    lap_eval_result want, got;
    lap_graph *parsed, *copy;
    const char *text = lap_graph_text(g);
    if (!lap_graph_verify(g)) {
        *out_why = lap_error_text(ctx, 0);
        return INVALID;
    }
    if (!evaluate(g, &want, out_why)) {
        return INVALID;
    }
    if (!lap_graph_parse(ctx, "text", text, strlen(text), &parsed)) {
        *out_why = lap_error_text(ctx, 0);
        return DIFFERS;
    }
    if (strcmp(text, lap_graph_text(parsed)) != 0) {
        *out_why =
            lap_arena_printf(ctx->arena, "prints another text after parsing:\n%s", lap_graph_text(parsed));
        return DIFFERS;
    }
    copy = lap_graph_rewrite(parsed, NULL, NULL);
    return copy && evaluate(copy, &got, out_why) && test_results_close(ctx->arena, &got, &want, out_why)
               ? AGREES
               : DIFFERS;
}

/* Whether the text meets the verdict `user` points to. */
static bool text_fails(void *user, const char *text)
{
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *g;
    const char *why;
    bool fails =
        lap_graph_parse(ctx, "text", text, strlen(text), &g) && judge(ctx, g, &why) == *(const verdict *)user;
    lap_ctx_free(ctx);
    return fails;
}

static void test_graphs(void **state)
{
    (void)state;
    uint64_t first = setting("LAP_SEED", 1), n = setting("LAP_GRAPHS", 300);
    for (uint64_t seed = first; seed < first + n; seed++) {
        lap_ctx *ctx = lap_ctx_new(0);
        lap_graph *g = test_random_graph(ctx, seed, 4 + (unsigned)(seed % 16));
        const char *why = NULL;
        verdict v = judge(ctx, g, &why);
        if (v != AGREES) {
            fprintf(stderr, "seed %llu: %s\n%s", (unsigned long long)seed, why,
                    test_shrink(ctx->arena, lap_graph_text(g), text_fails, &v));
            fail_msg("seed %llu", (unsigned long long)seed);
        }
        lap_ctx_free(ctx);
    }
}

static bool has_exp(void *user, const char *text)
{
    (void)user;
    return strstr(text, "fn=exp") != NULL;
}

/* The shrinker leaves little more than what fails. */
static void test_shrinks(void **state)
{
    (void)state;
    unsigned found = 0;
    for (uint64_t seed = 1; seed < 1000 && found < 5; seed++) {
        lap_ctx *ctx = lap_ctx_new(0);
        lap_graph *live = lap_graph_rewrite(test_random_graph(ctx, seed, 20), NULL, NULL);
        const char *text = lap_graph_text(live);
        if (has_exp(NULL, text)) {
            const char *least = test_shrink(ctx->arena, text, has_exp, NULL);
            unsigned lines = 0;
            for (const char *c = least; *c; c++) {
                lines += *c == '\n';
            }
            if (!has_exp(NULL, least) || lines > 12) {
                fail_msg("seed %llu: %s", (unsigned long long)seed, least);
            }
            found++;
        }
        lap_ctx_free(ctx);
    }
    assert_true(found > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graphs),
        cmocka_unit_test(test_shrinks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
