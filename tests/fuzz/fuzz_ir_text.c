/* SPDX-License-Identifier: Apache-2.0
 * fuzz_ir_text.c - any bytes as the text of a graph: refused with a message, or a graph that prints,
 * parses to the same text again, and is lowered or refused. */
#include "ir/graph.h"
#include "passes/passes.h"

#include <setjmp.h>
#include <string.h>

static const lap_target target = {.name = "fuzz",
                                  .vector_f32 = 8,
                                  .n_registers = 16,
                                  .mma_rows = 6,
                                  .mma_cols = 16,
                                  .l1_bytes = 32768,
                                  .l2_bytes = 1 << 20,
                                  .l3_bytes = 1 << 24,
                                  .has_masked = true};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void out_of_memory(void *user) { longjmp(*(jmp_buf *)user, 1); }

static void print_again(lap_graph *g)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    LAP_ENSURE(lap_graph_verify(g));
    const char *text = lap_graph_text(g);
    lap_graph *again;
    if (!lap_graph_parse(ctx, "printed", text, strlen(text), &again)) {
        lap_errors_print(ctx, stderr);
        LAP_BUG("a printed graph is not read:\n%s", text);
    }
    const char *second = lap_graph_text(again);
    if (strcmp(text, second) != 0) {
        LAP_BUG("a graph changes when read again:\n%s\n%s", text, second);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lap_ctx *ctx = lap_ctx_new((size_t)64 << 20);
    jmp_buf spent;
    lap_arena_on_oom(ctx->arena, out_of_memory, &spent);
    lap_graph *g;
    if (setjmp(spent) == 0) {
        if (!lap_graph_parse(ctx, "fuzz", (const char *)data, n, &g)) {
            LAP_ENSURE(lap_error_count(ctx) > 0);
        } else {
            print_again(g);
            lap_program *program;
            if (lap_graph_level(g) == LAP_LEVEL_GRAPH &&
                !lap_lower(g, &target, &(lap_pass_options){.verify = true}, &program)) {
                LAP_ENSURE(lap_error_count(ctx) > 0);
            }
        }
    }
    lap_ctx_free(ctx);
    return 0;
}
