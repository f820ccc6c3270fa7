/* SPDX-License-Identifier: Apache-2.0
 * test_lower.c - what fuses into what: each graph of tests/passes lowers to the kernels that its
 * second line counts ("; kernels: pack=1 contract=1"), and every kernel obeys the verifier. A line
 * "; ahead: 2" counts the reads of memory that fetch what lies ahead of them. */
#include "ir/kernel.h"
#include "passes/passes.h"
#include "tests/support/wide_target.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifndef LAP_SOURCE_DIR
#define LAP_SOURCE_DIR "."
#endif

static char *read_file(const char *path, size_t *out_size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = malloc(1 << 20);
    *out_size = fread(text, 1, (1 << 20) - 1, f);
    text[*out_size] = '\0';
    fclose(f);
    return text;
}

/* Launches of the kernels whose name ends in `what`, or of all (NULL), nested steps included. */
static unsigned count_launches(const lap_program *p, uint32_t n, const lap_step *steps, const char *what)
{
    unsigned total = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (steps[i].kind == LAP_STEP_LAUNCH) {
            const char *name = strchr(p->kernels[steps[i].launch.kernel].name, '_');
            total += what == NULL || (name != NULL && strcmp(name + 1, what) == 0);
        }
        total += count_launches(p, steps[i].n_body, steps[i].body, what);
        total += count_launches(p, steps[i].n_other, steps[i].other, what);
    }
    return total;
}

static void check_counts(const lap_program *p, const char *text, const char *file)
{
    const char *at = strstr(text, "; kernels:");
    assert_non_null(at);
    at += strlen("; kernels:");
    unsigned all = 0;
    char name[32];
    unsigned want;
    int used;
    while (sscanf(at, " %31[a-z]=%u%n", name, &want, &used) == 2) {
        unsigned got = count_launches(p, p->n_steps, p->steps, name);
        if (got != want) {
            print_error("%s: %u kernels '%s', expected %u\n", file, got, name, want);
        }
        assert_int_equal(got, want);
        all += want;
        at += used;
    }
    assert_int_equal(all, count_launches(p, p->n_steps, p->steps, NULL));
}

static void check_ahead(const lap_program *p, const char *text, const char *file)
{
    const char *at = strstr(text, "; ahead:");
    unsigned got = 0, want;
    for (uint32_t k = 0; at != NULL && k < p->n_kernels; k++) {
        const lap_graph *g = p->kernels[k].graph;
        for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
            got += lap_attr_i(lap_node_at(g, (lap_ref){i}), LAP_ATTR_AHEAD, 0) > 0;
        }
    }
    if (at != NULL && (sscanf(at, "; ahead: %u", &want) != 1 || got != want)) {
        fail_msg("%s: %u reads fetch ahead", file, got);
    }
}

static void test_fusion(void **state)
{
    (void)state;
    DIR *folder = opendir(LAP_SOURCE_DIR "/tests/passes");
    assert_non_null(folder);
    unsigned n = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        size_t length = strlen(entry->d_name), size;
        if (length < 4 || strcmp(entry->d_name + length - 4, ".lap") != 0) {
            continue;
        }
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", LAP_SOURCE_DIR "/tests/passes", entry->d_name);
        char *text = read_file(path, &size);
        lap_ctx *ctx = lap_ctx_new(0);
        lap_graph *g;
        lap_program *p = NULL;
        const lap_pass_options options = {.verify = true};
        if (!lap_graph_parse(ctx, entry->d_name, text, size, &g) || !lap_lower(g, &wide, &options, &p)) {
            lap_errors_print(ctx, stderr);
            fail();
        }
        check_counts(p, text, entry->d_name);
        check_ahead(p, text, entry->d_name);
        for (uint32_t k = 0; k < p->n_kernels; k++) {
            if (!lap_graph_verify(p->kernels[k].graph)) {
                lap_errors_print(ctx, stderr);
                fail();
            }
        }
        lap_ctx_free(ctx);
        free(text);
        n++;
    }
    closedir(folder);
    assert_true(n >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fusion)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
