/* SPDX-License-Identifier: Apache-2.0
 * test_bind.c - sizes from shapes, optional inputs, and the placing of buffers. */
#include "tests/unit/exec_rig.h"

#include "runtime/plan.h"

static int32_t k_add_one(void *const *b, const int64_t *d, int64_t begin, int64_t end, void *scratch)
{
    (void)d;
    (void)scratch;
    for (int64_t i = begin; i < end; i++) {
        ((float *)b[1])[i] = ((const float *)b[0])[i] + 1;
    }
    return 0;
}

/* ---- sizes --------------------------------------------------------------------------------- */

/* Binds inputs with these extents; the value of `symbol`, or -1 with the message in the rig. */
static int64_t solve(rig **out, const char *axes, const int64_t *actual, const char *symbol)
{
    rig *r = *out = rig_new();
    r->inputs[r->p.n_inputs++] = leaf(r, "x", LAP_F32, axes);
    start(r, 1);
    lap_tensor in = {LAP_F32, r->inputs[0].rank, {0}, NULL, 0};
    memcpy(in.shape, actual, in.rank * sizeof *actual);
    int64_t value;
    return lap_exec_bind(r->exec, &in, &r->fault) && lap_exec_symbol(r->exec, symbol, &value) ? value : -1;
}

static void test_solves(void **state)
{
    (void)state;
    static const struct {
        const char *axes;
        int64_t actual[3];
        const char *symbol;
        int64_t value;
        const char *message;
    } rows[] = {
        {"S*S", {36}, "S", 6, NULL},
        {"S*S", {37}, "S", -1, "x has an axis of 37, which is not S*S for any S"},
        {"S*S", {0}, "S", 0, NULL},
        {"2*M+1 M", {7, 3}, "M", 3, NULL},
        {"2*M+1 M", {8, 3}, "M", -1, "which is not 2*M+1 for any M"},
        {"2*M+1 M", {9, 3}, "M", -1, "x has an axis of 3, expected M = 4"},
        {"N*M M 3", {12, 4, 3}, "N", 3, NULL},
        {"N*M M 3", {12, 4, 2}, "N", -1, "x has an axis of 2, expected 3"},
        {"N//2 N", {3, 7}, "N", 7, NULL},
        {"N//2", {3}, "N", 6, NULL},
        {"min(N,4)", {4}, "N", 4, NULL},
        {"N//2 M*N", {3, 13}, "N", -1, "not"},
        {"N*M N", {0, 0}, "M", 1, NULL},
        {"N*M", {12}, "N", -1, "cannot be found"},
        {"max(9-N,0)", {5}, "N", 4, NULL},
        {"N+M N-M", {9, 5}, "N", -1, "cannot be found"},
        {"(N*N+N)/2", {10}, "N", 4, NULL},
        {"N*N*N", {INT64_C(1) << 60}, "N", INT64_C(1) << 20, NULL},
        {"N+1", {0}, "N", -1, "for any N"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig *r;
        int64_t value = solve(&r, rows[i].axes, rows[i].actual, rows[i].symbol);
        if (value != rows[i].value) {
            fail_msg("%s: %lld, %s", rows[i].axes, (long long)value, r->fault.text);
        }
        if (rows[i].message && !strstr(r->fault.text, rows[i].message)) {
            fail_msg("'%s' does not say '%s'", r->fault.text, rows[i].message);
        }
        rig_free(r);
    }
}

static void test_optional_input(void **state)
{
    (void)state;
    rig *r = rig_new();
    r->inputs[0] = leaf(r, "x", LAP_F32, "N");
    r->inputs[1] = leaf(r, "bias", LAP_F32, "N H");
    r->inputs[1].is_optional = true;
    r->p.n_inputs = 2;
    r->outputs[r->p.n_outputs++] = leaf(r, "y", LAP_F32, "N");
    uint32_t x = buffer(r, LAP_BUF_INPUT, LAP_F32, "N", 0), y = buffer(r, LAP_BUF_OUTPUT, LAP_F32, "N", 0);
    uint32_t bias = buffer(r, LAP_BUF_INPUT, LAP_F32, "N*H", 1);
    r->steps[0] = LAUNCH(r, kernel(r, k_add_one, "N", NULL), x, y);
    r->p.n_steps = 1;
    start(r, 1);
    float a[4] = {1, 2, 3, 4}, b[4];
    lap_tensor in[2] = {floats(a, 4), {0}}, out = floats(b, 4);
    ok(r, lap_exec_run(r->exec, in, &out, &r->fault));
    assert_true(b[3] == 5);
    in[1] = (lap_tensor){LAP_F32, 2, {4, 1}, a, sizeof a};
    ok(r, lap_exec_run(r->exec, in, &out, &r->fault));
    in[1].shape[0] = 2;
    in[1].shape[1] = 2;
    says(r, lap_exec_run(r->exec, in, &out, &r->fault), "bias has an axis of 2, expected N = 4");
    lap_exec_close(r->exec);
    r->steps[0] = LAUNCH(r, 0, bias, y);
    start(r, 1);
    in[1] = (lap_tensor){0};
    says(r, lap_exec_run(r->exec, in, &out, &r->fault), "bias is needed but not given");
    rig_free(r);
}

static void test_plan(void **state)
{
    (void)state;
    unsigned seed = 20240817;
    for (int round = 0; round < 200; round++) {
        lap_plan_item items[40];
        uint32_t n = (uint32_t)rand_r(&seed) % 40;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t first = (uint32_t)rand_r(&seed) % 20;
            items[i] = (lap_plan_item){.size = (size_t)rand_r(&seed) % 1000,
                                       .first = first,
                                       .last = first + (uint32_t)rand_r(&seed) % 5};
        }
        size_t total, sum = 0;
        assert_true(lap_plan(items, n, &total));
        for (uint32_t i = 0; i < n; i++) {
            sum += items[i].size;
            assert_int_equal(items[i].offset % LAP_PLAN_ALIGN, 0);
            assert_true(items[i].offset + items[i].size <= total);
            for (uint32_t j = 0; j < i; j++) {
                bool together = items[i].first <= items[j].last && items[j].first <= items[i].last;
                bool apart = items[i].offset + items[i].size <= items[j].offset ||
                             items[j].offset + items[j].size <= items[i].offset;
                assert_true(!together || apart);
            }
        }
        assert_true(total <= sum);
    }
    lap_plan_item huge[2] = {{.size = SIZE_MAX / 2 - 200, .last = 1},
                             {.size = SIZE_MAX / 2 - 200, .last = 1}};
    size_t total;
    assert_false(lap_plan(huge, 2, &total));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_solves),
        cmocka_unit_test(test_optional_input),
        cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
