/* SPDX-License-Identifier: Apache-2.0
 * test_site.c - sites of programs: equal kernels have equal keys whatever their names, others have others;
 * and each has its own schedule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "passes/lower.h"
#include "passes/passes.h"

static const lap_target toy = {.name = "toy",
                               .vector_f32 = 8,
                               .n_registers = 16,
                               .mma_rows = 6,
                               .mma_cols = 16,
                               .l1_bytes = 32 << 10,
                               .l2_bytes = 512 << 10,
                               .l3_bytes = 8 << 20};

typedef struct lowered {
    lap_ctx *ctx;
    lap_program *program;
    lap_lowering *lowering;
    uint32_t n;
    const lap_site *sites;
} lowered;

static lowered lower(const char *text, lap_choose_schedule *choose, void *user)
{
    lowered r = {.ctx = lap_ctx_new(0)};
    lap_graph *g;
    lap_pass_options options = {.choose = choose, .choose_user = user, .kept = &r.lowering};
    if (!lap_graph_parse(r.ctx, "t", text, strlen(text), &g) || !lap_lower(g, &toy, &options, &r.program)) {
        lap_errors_print(r.ctx, stderr);
        fail_msg("cannot lower:\n%s", text);
    }
    r.sites = lap_sites_of(r.lowering, &r.n);
    return r;
}

/* y = x w: x over A and K, w over K and B, with names and types given. */
static const char *product(lap_ctx *ctx, const char *type, const char *i, const char *k, const char *j,
                           const char *size)
{
    return lap_arena_printf(ctx->arena,
                            "lap 1\ngraph @m {\n"
                            "  %%1 = input %s[%s=%s %s=64] {name=\"x\" layout=\"%s %s\"}\n"
                            "  %%2 = input f32[%s=64 %s=96] {name=\"w\" layout=\"%s %s\"}\n"
                            "  %%3 = map f32[%s=%s %s=64 %s=96] %%1 %%2 {fn=mul}\n"
                            "  %%4 = reduce f32[%s=%s %s=96] %%3 {red=sum over=\"%s\"}\n"
                            "  output \"y\" %%4 {layout=\"%s %s\"}\n}\n",
                            type, i, size, k, i, k, k, j, k, j, i, size, k, j, i, size, j, k, i, j);
}

static uint64_t key_of(const char *type, const char *i, const char *k, const char *j, const char *size)
{
    lap_ctx *ctx = lap_ctx_new(0);
    lowered r = lower(product(ctx, type, i, k, j, size), NULL, NULL);
    assert_int_equal(r.n, 1);
    assert_string_equal(r.sites[0].what, "contract");
    assert_true(r.sites[0].knobs >> LAP_KNOB_CONTRACT_ROWS & 1);
    assert_false(r.sites[0].knobs >> LAP_KNOB_ATTEND_ROWS & 1);
    uint64_t key = r.sites[0].key;
    lap_ctx_free(r.ctx);
    lap_ctx_free(ctx);
    return key;
}

static void test_keys(void **state)
{
    (void)state;
    uint64_t key = key_of("f32", "i", "k", "j", "N");
    assert_true(key == key_of("f32", "i", "k", "j", "N"));
    assert_true(key == key_of("f32", "rows", "depth", "columns", "LENGTH"));
    assert_true(key == key_of("f32", "z", "y", "x", "k"));
    assert_true(key == key_of("f32", "i", "k", "j", "dim"));
    assert_true(key != key_of("bf16", "i", "k", "j", "N"));
    assert_true(key != key_of("f32", "i", "k", "j", "2*N"));
    assert_true(key != key_of("f32", "i", "k", "j", "128"));
}

static bool choose(void *user, const lap_site *site, lap_schedule *out)
{
    *out = site->schedule;
    out->v[LAP_KNOB_CONTRACT_ROWS] = *(int32_t *)user;
    return true;
}

static int64_t tile_rows(const lap_program *p)
{
    for (uint32_t k = 0; k < p->n_kernels; k++) {
        for (uint32_t i = 1; i <= lap_graph_n_nodes(p->kernels[k].graph); i++) {
            const lap_node *n = lap_node_at(p->kernels[k].graph, (lap_ref){i});
            if (n->op == LAP_OP_MMA) {
                return lap_attr_i(n, LAP_ATTR_ROWS, 0);
            }
        }
    }
    return 0;
}

/* A chosen schedule changes its kernels and nothing else: same buffers, same number of steps, same key. */
static void test_choice(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    int32_t rows = 3;
    const char *text = product(ctx, "f32", "i", "k", "j", "N");
    lowered a = lower(text, NULL, NULL), b = lower(text, choose, &rows);
    assert_int_equal(tile_rows(a.program), 6);
    assert_int_equal(tile_rows(b.program), 3);
    assert_int_equal(a.program->n_buffers, b.program->n_buffers);
    assert_int_equal(a.program->n_steps, b.program->n_steps);
    assert_int_equal(a.program->n_kernels, b.program->n_kernels);
    assert_true(a.sites[0].key == b.sites[0].key);
    assert_int_equal(b.sites[0].schedule.v[LAP_KNOB_CONTRACT_ROWS], 3);
    lap_ctx_free(a.ctx);
    lap_ctx_free(b.ctx);
    lap_ctx_free(ctx);
}

static bool size_of(void *user, lap_name symbol, int64_t *out)
{
    (void)symbol;
    *out = *(int64_t *)user;
    return true;
}

/* One site alone: its operands are inputs, its result is the output; the whole program stays as it was. */
static void test_alone(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    lowered r = lower(product(ctx, "f32", "i", "k", "j", "N"), NULL, NULL);
    uint32_t n_buffers = r.program->n_buffers;
    int64_t n = 100;
    lap_schedule schedule = r.sites[0].schedule;
    for (int32_t rows = 1; rows <= 4; rows++) {
        schedule.v[LAP_KNOB_CONTRACT_ROWS] = rows;
        const lap_alone *alone = lap_site_alone(r.lowering, &r.sites[0], &schedule, size_of, &n);
        assert_non_null(alone);
        assert_int_equal(alone->n_symbols, 1);
        assert_int_equal(alone->program.n_inputs, 3);
        assert_int_equal(alone->program.n_weights, 0);
        assert_int_equal(alone->program.n_outputs, 1);
        assert_int_equal(tile_rows(&alone->program), rows);
        for (uint32_t i = 0; i < alone->program.n_outputs; i++) {
            uint32_t buffer = alone->buffers[LAP_LEAF_OUTPUT][i];
            assert_true(buffer < n_buffers);
            assert_int_equal(r.program->buffers[buffer].kind, LAP_BUF_OUTPUT);
        }
    }
    lap_ctx_free(r.ctx);
    lap_ctx_free(ctx);
}

/* Every value worth trying is within the bounds that a record is held to, on every target. */
static void test_tries(void **state)
{
    (void)state;
    lap_schedule base = lap_schedule_default(&toy);
    for (int knob = 0; knob < LAP_N_KNOBS; knob++) {
        int32_t tries[LAP_MAX_TRIES];
        uint32_t n = lap_knob_tries((lap_knob)knob, &toy, tries);
        for (uint32_t i = 0; i < n; i++) {
            lap_schedule s = base, again = base;
            char text[LAP_SCHEDULE_TEXT];
            s.v[knob] = tries[i];
            assert_true(lap_schedule_parse(lap_schedule_show(&s, &base, text), &again, NULL));
            assert_true(lap_schedule_same(&s, &again));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_tries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
