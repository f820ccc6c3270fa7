/* SPDX-License-Identifier: Apache-2.0
 * fuzz_text.c - any bytes as the text of a graph: refused with a message, or a right graph that
 * prints to a text which reads and prints the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ir/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lap_ctx *ctx = lap_ctx_new((size_t)1 << 28);
    lap_graph *g = NULL, *again = NULL;
    if (lap_graph_parse(ctx, "fuzz.lap", (const char *)data, n, &g)) {
        const char *text = lap_graph_text(g);
        if (!lap_graph_parse(ctx, "again.lap", text, strlen(text), &again) ||
            strcmp(lap_graph_text(again), text) != 0) {
            abort();
        }
    } else if (lap_error_count(ctx) == 0) {
        abort();
    }
    lap_ctx_free(ctx);
    return 0;
}
