/* SPDX-License-Identifier: Apache-2.0
 * test_raise.c - attention written by hand becomes attend: each file of tests/raise has a graph, the
 * line "; becomes", and the graph after the passes; both give the same results. LAP_ACCEPT=1 writes
 * the second anew. */
#include "tests/unit/graphs.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "passes/passes.h"
#include "tests/support/random_graph.h"

#define FOLDER LAP_SOURCE_DIR "/tests/raise"
#define SPLIT  "\n; becomes\n"

static const lap_target wide = {.name = "test",
                                .vector_f32 = 16,
                                .n_registers = 32,
                                .mma_rows = 6,
                                .mma_cols = 64,
                                .l1_bytes = 32768,
                                .l2_bytes = 1 << 20,
                                .l3_bytes = 1 << 24,
                                .has_masked = true};

static char text[1 << 18];

static void read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
}

static void write_file(const char *path, const char *before, size_t n, const char *after)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fprintf(f, "%.*s%s%s", (int)n, before, SPLIT, after);
    fclose(f);
}

static void check_results(lap_ctx *ctx, lap_graph *before, lap_graph *after, const char *file)
{
    lap_eval_io inputs, weights;
    lap_eval_result want, got;
    const char *why;
    assert_true(test_random_tensors(before, &inputs, &weights));
    assert_true(lap_eval(before, &inputs, &weights, &want));
    assert_true(lap_eval(after, &inputs, &weights, &got));
    if (!test_results_close(ctx->arena, &got, &want, &why)) {
        fail_msg("%s: %s", file, why);
    }
}

static void check_file(const char *file)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", FOLDER, file);
    read_file(path);
    const char *split = strstr(text, SPLIT);
    size_t n = split != NULL ? (size_t)(split - text) : strlen(text);
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *before, *after;
    if (!lap_graph_parse(ctx, file, text, n, &before) ||
        !lap_passes_run(before, &wide, &(lap_pass_options){.verify = true}, &after)) {
        lap_errors_print(ctx, stderr);
        fail_msg("%s", file);
    }
    const char *got = lap_graph_text(after);
    if (getenv("LAP_ACCEPT") != NULL) {
        write_file(path, text, n, got);
    } else if (split == NULL || strcmp(got, split + strlen(SPLIT)) != 0) {
        fail_msg("%s becomes\n%s", file, got);
    }
    check_results(ctx, before, after, file);
    lap_ctx_free(ctx);
}

static void test_files(void **state)
{
    (void)state;
    DIR *folder = opendir(FOLDER);
    assert_non_null(folder);
    unsigned n = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        size_t length = strlen(entry->d_name);
        if (length > 4 && strcmp(entry->d_name + length - 4, ".lap") == 0) {
            check_file(entry->d_name);
            n++;
        }
    }
    closedir(folder);
    assert_true(n >= 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
