/* SPDX-License-Identifier: Apache-2.0
 * test_exec.c - programs with kernels written in C go through the image and the runtime. */
#include "tests/unit/exec_rig.h"

#include <stdatomic.h>

/* ---- kernels ------------------------------------------------------------------------------- */

static atomic_int doublings;

static int32_t k_double(void *const *b, const int64_t *d, int64_t begin, int64_t end, void *scratch)
{
    (void)d;
    (void)scratch;
    if (begin == 0) {
        atomic_fetch_add(&doublings, 1);
    }
    for (int64_t i = begin; i < end; i++) {
        ((float *)b[1])[i] = 2 * ((const float *)b[0])[i];
    }
    return 0;
}

static int32_t k_mul(void *const *b, const int64_t *d, int64_t begin, int64_t end, void *scratch)
{
    (void)scratch;
    for (int64_t i = begin; i < end && i < d[0]; i++) {
        ((float *)b[2])[i] = ((const float *)b[0])[i] * ((const float *)b[1])[i];
    }
    return 0;
}

static int32_t k_add_one(void *const *b, const int64_t *d, int64_t begin, int64_t end, void *scratch)
{
    (void)d;
    (void)scratch;
    for (int64_t i = begin; i < end; i++) {
        ((float *)b[1])[i] = ((const float *)b[0])[i] + 1;
    }
    return 0;
}

/* out = 2 * w * x + 1, with 2 * w made on load. */
static rig *chain(uint32_t n_threads)
{
    rig *r = rig_new();
    r->inputs[r->p.n_inputs++] = leaf(r, "x", LAP_F32, "N");
    r->weights[r->p.n_weights++] = leaf(r, "w", LAP_F32, "N");
    r->outputs[r->p.n_outputs++] = leaf(r, "y", LAP_F32, "N");
    uint32_t x = buffer(r, LAP_BUF_INPUT, LAP_F32, "N", 0), w = buffer(r, LAP_BUF_WEIGHT, LAP_F32, "N", 0);
    uint32_t packed = buffer(r, LAP_BUF_PACKED, LAP_F32, "N", 0),
             t = buffer(r, LAP_BUF_TEMP, LAP_F32, "N", 0);
    uint32_t y = buffer(r, LAP_BUF_OUTPUT, LAP_F32, "N", 0);
    r->steps[0] = LAUNCH(r, kernel(r, k_double, "N", NULL), w, packed);
    r->steps[0].on_load = true;
    r->steps[1] = LAUNCH(r, kernel(r, k_mul, "N", NULL), x, packed, t);
    r->steps[2] = LAUNCH(r, kernel(r, k_add_one, "N", NULL), t, y);
    r->p.n_steps = 3;
    r->checks[r->p.n_checks++] =
        (lap_check){dim(r, "N%4"), LAP_REL_EQ, dim(r, "0"), "N must be a multiple of 4",
                    lap_loc_make(r->ctx, "m.lua", 9, (lap_loc){0})};
    start(r, n_threads);
    return r;
}

static void test_runs(void **state)
{
    (void)state;
    enum { N = 20000 };
    for (uint32_t threads = 1; threads <= 3; threads++) {
        rig *r = chain(threads);
        float *x = malloc(N * sizeof *x), *w = malloc(N * sizeof *w), *y = malloc(N * sizeof *y);
        for (int i = 0; i < N; i++) {
            x[i] = (float)i;
            w[i] = (float)(i % 7);
        }
        lap_tensor in = floats(x, N), weight = floats(w, N), out = floats(y, N);
        says(r, lap_exec_run(r->exec, &in, &out, &r->fault), "not given");
        ok(r, lap_exec_set_weight_tensors(r->exec, &weight, &r->fault));
        atomic_store(&doublings, 0);
        for (int run = 0; run < 3; run++) {
            memset(y, 0, N * sizeof *y);
            ok(r, lap_exec_run(r->exec, &in, &out, &r->fault));
            for (int i = 0; i < N; i++) {
                assert_true(y[i] == 2.0f * (float)(i % 7) * (float)i + 1.0f);
            }
        }
        assert_int_equal(atomic_load(&doublings), 1);
        int64_t n;
        assert_true(lap_exec_symbol(r->exec, "N", &n) && n == N);
        assert_false(lap_exec_symbol(r->exec, "M", &n));
        assert_true(lap_exec_workspace(r->exec) >= 2 * N * sizeof *x);
        out.data = NULL;
        ok(r, lap_exec_run(r->exec, &in, &out, &r->fault));
        assert_int_equal((uintptr_t)out.data % 64, 0);
        assert_true(((float *)out.data)[3] == 19.0f);
        free(x);
        free(w);
        free(y);
        rig_free(r);
    }
}

static void test_refuses_shapes(void **state)
{
    (void)state;
    rig *r = chain(1);
    float x[12] = {0}, w[8] = {0}, y[12];
    lap_tensor in = floats(x, 12), weight = floats(w, 8), out = floats(y, 12);
    ok(r, lap_exec_set_weight_tensors(r->exec, &weight, &r->fault));
    says(r, lap_exec_run(r->exec, &in, &out, &r->fault), "x has an axis of 12, expected N = 8");
    assert_string_equal(r->fault.place, "m.lua:7");
    in = floats(x, 8);
    out = floats(y, 7);
    says(r, lap_exec_run(r->exec, &in, &out, &r->fault), "output y needs 32 bytes");
    in.n_bytes = 31;
    says(r, lap_exec_run(r->exec, &in, &out, &r->fault), "x has 31 bytes");
    in.rank = 0;
    says(r, lap_exec_run(r->exec, &in, &out, &r->fault), "x has 0 axes, expected 1");
    in = floats(x, 8);
    in.dtype = LAP_I32;
    says(r, lap_exec_run(r->exec, &in, &out, &r->fault), "x is i32, expected f32");
    weight.shape[0] = 7;
    ok(r, lap_exec_set_weight_tensors(r->exec, &weight, &r->fault));
    in = floats(x, 7);
    says(r, lap_exec_run(r->exec, &in, &out, &r->fault), "N must be a multiple of 4");
    assert_string_equal(r->fault.place, "m.lua:9");
    weight.rank = 2;
    weight.shape[1] = 1;
    says(r, lap_exec_set_weight_tensors(r->exec, &weight, &r->fault), "2 axes, expected 1");
    says(r, lap_exec_run(r->exec, &in, &out, &r->fault), "not given");
    rig_free(r);
}

/* Inputs and outputs at odd addresses are copied. */
static void test_unaligned(void **state)
{
    (void)state;
    rig *r = chain(1);
    unsigned char x_bytes[33], y_bytes[33];
    float one[8] = {1, 1, 1, 1, 1, 1, 1, 1}, y;
    memcpy(x_bytes + 1, one, 32);
    lap_tensor in = floats((float *)(void *)(x_bytes + 1), 8),
               out = floats((float *)(void *)(y_bytes + 1), 8);
    lap_tensor weight = floats(one, 8);
    ok(r, lap_exec_set_weight_tensors(r->exec, &weight, &r->fault));
    ok(r, lap_exec_run(r->exec, &in, &out, &r->fault));
    assert_ptr_equal(out.data, y_bytes + 1);
    memcpy(&y, y_bytes + 29, 4);
    assert_true(y == 3.0f);
    rig_free(r);
}

static void test_memory_limit(void **state)
{
    (void)state;
    rig *r = chain(1);
    lap_exec_close(r->exec);
    r->exec = lap_exec_open(r->image, r->n_image, r->fns, &(lap_exec_options){1, 4096}, &r->fault);
    lap_tensor weight = floats(calloc(8192, 4), 8192), in = {LAP_F32, 1, {8192}, NULL, 0};
    ok(r, lap_exec_set_weight_tensors(r->exec, &weight, &r->fault));
    says(r, lap_exec_bind(r->exec, &in, &r->fault), "allowed are 4096");
    free(weight.data);
    rig_free(r);
}

/* ---- steps --------------------------------------------------------------------------------- */

/* sum += counter, and goes on while sum < limit */
static int32_t k_sum(void *const *b, const int64_t *d, int64_t begin, int64_t end, void *scratch)
{
    (void)d;
    (void)begin;
    (void)end;
    (void)scratch;
    *(int64_t *)b[0] += *(const int64_t *)b[1];
    return 0;
}

static int32_t k_below(void *const *b, const int64_t *d, int64_t begin, int64_t end, void *scratch)
{
    (void)d;
    (void)begin;
    (void)end;
    (void)scratch;
    *(uint8_t *)b[1] = *(const int64_t *)b[0] < *(const int64_t *)b[2];
    return 0;
}

static int32_t k_negate(void *const *b, const int64_t *d, int64_t begin, int64_t end, void *scratch)
{
    (void)d;
    (void)begin;
    (void)end;
    (void)scratch;
    *(int64_t *)b[0] = -*(int64_t *)b[0];
    return 0;
}

/* y = x; while y < limit, at most R rounds: y += round; then y = -y unless y < limit */
static rig *looping(bool reverse)
{
    rig *r = rig_new();
    r->inputs[r->p.n_inputs++] = leaf(r, "x", LAP_I64, "");
    r->inputs[r->p.n_inputs++] = leaf(r, "limit", LAP_I64, "");
    r->inputs[r->p.n_inputs++] = leaf(r, "rounds", LAP_F32, "R");
    r->outputs[r->p.n_outputs++] = leaf(r, "y", LAP_I64, "");
    uint32_t x = buffer(r, LAP_BUF_INPUT, LAP_I64, "1", 0), limit = buffer(r, LAP_BUF_INPUT, LAP_I64, "1", 1);
    uint32_t y = buffer(r, LAP_BUF_OUTPUT, LAP_I64, "1", 0), sum = buffer(r, LAP_BUF_TEMP, LAP_I64, "1", 0);
    uint32_t counter = buffer(r, LAP_BUF_TEMP, LAP_I64, "1", 0),
             test = buffer(r, LAP_BUF_TEMP, LAP_BOOL, "1", 0);
    uint32_t below = kernel(r, k_below, "1", NULL), add = kernel(r, k_sum, "1", NULL);
    uint32_t negate = kernel(r, k_negate, "1", NULL);
    lap_step *body = lap_arena_array(r->ctx->arena, 2, sizeof *body),
             *other = lap_arena_array(r->ctx->arena, 1, sizeof *other);
    body[0] = LAUNCH(r, below, sum, test, limit);
    body[1] = LAUNCH(r, add, sum, counter);
    other[0] = LAUNCH(r, negate, sum);
    r->steps[0] = (lap_step){.kind = LAP_STEP_COPY, .from = x, .to = sum, .counter = -1, .test = -1};
    r->steps[1] = (lap_step){.kind = LAP_STEP_LOOP,
                             .limit = dim(r, "R"),
                             .counter = (int32_t)counter,
                             .test = (int32_t)test,
                             .reverse = reverse,
                             .n_test = 1,
                             .n_body = 2,
                             .body = body};
    r->steps[2] = LAUNCH(r, below, sum, test, limit);
    r->steps[3] = (lap_step){
        .kind = LAP_STEP_BRANCH, .counter = -1, .test = (int32_t)test, .n_other = 1, .other = other};
    r->steps[4] = (lap_step){.kind = LAP_STEP_COPY, .from = sum, .to = y, .counter = -1, .test = -1};
    r->p.n_steps = 5;
    start(r, 1);
    return r;
}

static int64_t loop_result(rig *r, int64_t x, int64_t limit, int64_t rounds)
{
    float *unused = calloc((size_t)rounds + 1, sizeof *unused);
    lap_tensor in[] = {{LAP_I64, 0, {0}, &x, 8}, {LAP_I64, 0, {0}, &limit, 8}, floats(unused, rounds)};
    int64_t y = 12345;
    lap_tensor out = {LAP_I64, 0, {0}, &y, 8};
    ok(r, lap_exec_run(r->exec, in, &out, &r->fault));
    free(unused);
    return y;
}

static void test_control(void **state)
{
    (void)state;
    rig *r = looping(false);
    assert_int_equal(loop_result(r, 1, 100, 4), 1 + 0 + 1 + 2 + 3);
    assert_int_equal(loop_result(r, 1, 3, 10), -4);
    assert_int_equal(loop_result(r, 1, 1, 10), -1);
    assert_int_equal(loop_result(r, 1, 2, 0), 1);
    rig_free(r);
    r = looping(true);
    assert_int_equal(loop_result(r, 0, 5, 4), -5);
    rig_free(r);
}

static int32_t k_fill_rows(void *const *b, const int64_t *d, int64_t begin, int64_t end, void *scratch)
{
    (void)d;
    (void)scratch;
    for (int64_t i = begin; i < end; i++) {
        ((int32_t *)b[0])[i] = (int32_t)i;
    }
    if (begin == 0) {
        *(int64_t *)b[1] = 2;
        *(int64_t *)b[2] = 3;
    }
    return 0;
}

/* A 5 x 3 x 4 result of which 2 x 3 x 3 remain. */
static void test_crops(void **state)
{
    (void)state;
    rig *r = rig_new();
    lap_leaf y_leaf = leaf(r, "y", LAP_I32, "5 3 4");
    uint32_t y = buffer(r, LAP_BUF_OUTPUT, LAP_I32, "60", 0), a = buffer(r, LAP_BUF_TEMP, LAP_I64, "1", 0);
    uint32_t b = buffer(r, LAP_BUF_TEMP, LAP_I64, "1", 0);
    int32_t crop[] = {(int32_t)a, -1, (int32_t)b};
    y_leaf.crop = crop;
    r->outputs[r->p.n_outputs++] = y_leaf;
    r->steps[0] = LAUNCH(r, kernel(r, k_fill_rows, "60", NULL), y, a, b);
    r->p.n_steps = 1;
    start(r, 1);
    int32_t room[60];
    lap_tensor out = {LAP_I32, 0, {0}, room, sizeof room};
    ok(r, lap_exec_run(r->exec, NULL, &out, &r->fault));
    assert_int_equal(out.rank, 3);
    assert_int_equal(out.n_bytes, 72);
    for (int i = 0; i < 18; i++) {
        assert_int_equal(room[i], i / 9 * 12 + i / 3 % 3 * 4 + i % 3);
    }
    rig_free(r);
}

static int32_t k_fail(void *const *b, const int64_t *d, int64_t begin, int64_t end, void *scratch)
{
    (void)d;
    (void)scratch;
    for (int64_t i = begin; i < end; i++) {
        if (((const float *)b[0])[i] < 0) {
            return ((const float *)b[0])[i] < -1 ? 99 : 1;
        }
    }
    return 0;
}

static void test_fails(void **state)
{
    (void)state;
    rig *r = rig_new();
    r->inputs[r->p.n_inputs++] = leaf(r, "x", LAP_F32, "N");
    uint32_t x = buffer(r, LAP_BUF_INPUT, LAP_F32, "N", 0);
    r->steps[0] = LAUNCH(r, kernel(r, k_fail, "N", "x must not be negative"), x);
    r->p.n_steps = 1;
    start(r, 2);
    float data[100] = {0};
    lap_tensor in = floats(data, 100);
    ok(r, lap_exec_run(r->exec, &in, NULL, &r->fault));
    data[50] = -1;
    says(r, lap_exec_run(r->exec, &in, NULL, &r->fault), "x must not be negative");
    assert_int_equal(r->fault.code, LAP_BAD_INPUT);
    data[50] = -2;
    says(r, lap_exec_run(r->exec, &in, NULL, &r->fault), "unknown code");
    assert_int_equal(r->fault.code, LAP_INTERNAL);
    rig_free(r);
}

/* ---- weights ------------------------------------------------------------------------------- */

typedef struct shelf {
    uint32_t n;
    const char *const *names;
    const lap_tensor_view *views;
} shelf;

static const lap_tensor_view *find(void *user, const char *name)
{
    const shelf *s = user;
    for (uint32_t i = 0; i < s->n; i++) {
        if (strcmp(s->names[i], name) == 0) {
            return &s->views[i];
        }
    }
    return NULL;
}

static int32_t k_copy(void *const *b, const int64_t *d, int64_t begin, int64_t end, void *scratch)
{
    (void)d;
    (void)scratch;
    memcpy((float *)b[1] + begin, (const float *)b[0] + begin, (size_t)(end - begin) * sizeof(float));
    return 0;
}

static void test_families(void **state)
{
    (void)state;
    rig *r = rig_new();
    r->weights[r->p.n_weights++] = leaf(r, "layer.{k}.w", LAP_F32, "L C");
    r->outputs[r->p.n_outputs++] = leaf(r, "y", LAP_F32, "L C");
    uint32_t w = buffer(r, LAP_BUF_WEIGHT, LAP_F32, "L*C", 0),
             y = buffer(r, LAP_BUF_OUTPUT, LAP_F32, "L*C", 0);
    r->steps[0] = LAUNCH(r, kernel(r, k_copy, "L*C", NULL), w, y);
    r->p.n_steps = 1;
    start(r, 1);
    const double first[2] = {1, 2};
    const float second[2] = {3, 4};
    const uint8_t third[2] = {5, 6};
    lap_tensor_view views[] = {
        {LAP_ST_U8, 1, {2}, third, 2}, {LAP_ST_F64, 1, {2}, first, 16}, {LAP_ST_F32, 1, {2}, second, 8}};
    const char *names[] = {"layer.2.w", "layer.0.w", "layer.1.w"};
    shelf s = {3, names, views};
    ok(r, lap_exec_set_weights_by(r->exec, find, &s, &r->fault));
    lap_tensor out = {0};
    ok(r, lap_exec_run(r->exec, NULL, &out, &r->fault));
    assert_int_equal(out.shape[0], 3);
    assert_int_equal(out.shape[1], 2);
    for (int i = 0; i < 6; i++) {
        assert_true(((float *)out.data)[i] == (float)(i + 1));
    }
    views[0].shape[0] = 1;
    says(r, lap_exec_set_weights_by(r->exec, find, &s, &r->fault), "another shape");
    views[0].rank = 0;
    says(r, lap_exec_set_weights_by(r->exec, find, &s, &r->fault), "axes");
    s.n = 1;
    says(r, lap_exec_set_weights_by(r->exec, find, &s, &r->fault), "no weights 'layer.{k}.w'");
    rig_free(r);
}

/* ---- the image ---------------------------------------------------------------- */

/* Cut or changed images are refused or opened, never more. */
static void test_hostile_images(void **state)
{
    (void)state;
    rig *r = looping(false);
    for (size_t cut = 0; cut < r->n_image; cut++) {
        unsigned char *copy = lap_memory_new(cut);
        memcpy(copy, r->image, cut);
        assert_null(lap_exec_open(copy, cut, r->fns, &(lap_exec_options){.n_threads = 1}, NULL));
        lap_memory_free(copy);
    }
    unsigned char *copy = lap_memory_new(r->n_image);
    for (size_t i = 0; i < r->n_image; i++) {
        for (unsigned change = 1; change < 256; change = change * 3 + 1) {
            memcpy(copy, r->image, r->n_image);
            copy[i] ^= (unsigned char)change;
            lap_exec_close(
                lap_exec_open(copy, r->n_image, r->fns, &(lap_exec_options){.n_threads = 1}, NULL));
        }
    }
    lap_memory_free(copy);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),           cmocka_unit_test(test_refuses_shapes),
        cmocka_unit_test(test_unaligned),      cmocka_unit_test(test_control),
        cmocka_unit_test(test_memory_limit),   cmocka_unit_test(test_crops),
        cmocka_unit_test(test_fails),          cmocka_unit_test(test_families),
        cmocka_unit_test(test_hostile_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
