/* SPDX-License-Identifier: Apache-2.0
 * test_foreign_exec.c - foreign steps in programs: calls, absent operations, images that lie. */
#include <stdio.h>

#include "runtime/image.h"
#include "runtime/view.h"
#include "tests/unit/exec_rig.h"

/* y[i] = x[n - 1 - i], and how many times it was asked. */
static int reverse(void *user, const lap_foreign_tensor *in, const lap_foreign_tensor *out, char *message,
                   size_t n_message)
{
    ++*(int *)user;
    int64_t n = 1, m = 1;
    for (uint32_t i = 0; i < in->rank; i++) {
        n *= in->dims[i];
    }
    for (uint32_t i = 0; i < out->rank; i++) {
        m *= out->dims[i];
    }
    if (in->dtype != LAP_FOREIGN_F32 || out->dtype != LAP_FOREIGN_F32 || n != m) {
        snprintf(message, n_message, "not alike");
        return 1;
    }
    for (int64_t i = 0; i < n; i++) {
        ((float *)out->data)[i] = ((const float *)in->data)[n - 1 - i];
    }
    return 0;
}

static rig *reversing(void)
{
    rig *r = rig_new();
    r->inputs[r->p.n_inputs++] = leaf(r, "x", LAP_F32, "N");
    r->outputs[r->p.n_outputs++] = leaf(r, "y", LAP_F32, "N");
    uint32_t x = buffer(r, LAP_BUF_INPUT, LAP_F32, "N", 0), y = buffer(r, LAP_BUF_OUTPUT, LAP_F32, "N", 0);
    lap_dim *shape = lap_arena_array(r->ctx->arena, 1, sizeof *shape);
    shape[0] = dim(r, "N");
    lap_foreign_operand *operands = lap_arena_array(r->ctx->arena, 3, sizeof *operands);
    operands[0] = (lap_foreign_operand){(int32_t)x, 1, shape};
    operands[1] = (lap_foreign_operand){(int32_t)y, 1, shape};
    operands[2] = (lap_foreign_operand){-1, 0, NULL};
    lap_foreign_use *use = lap_arena_alloc(r->ctx->arena, sizeof *use);
    *use = (lap_foreign_use){lap_intern(r->ctx, "reverse"), lap_loc_make(r->ctx, "m.lua", 9, (lap_loc){0}), 1,
                             2, operands};
    r->steps[0] = (lap_step){.kind = LAP_STEP_FOREIGN, .counter = -1, .test = -1, .foreign = use};
    r->p.n_steps = 1;
    start(r, 1);
    return r;
}

static lap_foreign_op reverse_op(int *calls)
{
    return (lap_foreign_op){.struct_size = sizeof(lap_foreign_op),
                            .version = LAP_FOREIGN_VERSION,
                            .name = "reverse",
                            .n_inputs = 1,
                            .n_outputs = 2,
                            .reference = reverse,
                            .user = calls};
}

static void test_calls(void **state)
{
    (void)state;
    rig *r = reversing();
    float x[] = {1, 2, 3}, y[3] = {0};
    lap_tensor in = floats(x, 3), out = floats(y, 3);
    says(r, lap_exec_run(r->exec, &in, &out, &r->fault), "no foreign operation 'reverse' is loaded");
    assert_int_equal(r->fault.code, LAP_NO_DEVICE);
    assert_string_equal(r->fault.place, "m.lua:9");
    int calls = 0;
    lap_foreign_op op = reverse_op(&calls);
    lap_foreign_table table = {1, {&op}};
    lap_exec_set_foreign(r->exec, &table);
    ok(r, lap_exec_run(r->exec, &in, &out, &r->fault));
    assert_int_equal(calls, 1);
    assert_true(y[0] == 3 && y[1] == 2 && y[2] == 1);
    op.n_inputs = 2;
    lap_exec_set_foreign(r->exec, &table);
    says(r, lap_exec_run(r->exec, &in, &out, &r->fault), "'reverse' takes 2 operands and gives 2 results");
    rig_free(r);
}

/* Whatever an image says, an operation sees only memory of the sizes it is told. */
static void test_hostile_images(void **state)
{
    (void)state;
    rig *r = reversing();
    int calls = 0;
    lap_foreign_op op = reverse_op(&calls);
    lap_foreign_table table = {1, {&op}};
    unsigned char *copy = lap_memory_new(r->n_image);
    for (size_t i = 0; i < r->n_image; i++) {
        for (unsigned change = 1; change < 256; change = change * 2 + 1) {
            memcpy(copy, r->image, r->n_image);
            copy[i] ^= (unsigned char)change;
            lap_image image;
            if (!lap_image_open(&image, copy, r->n_image, NULL)) {
                continue;
            }
            bool calls_it = image.n_steps == 1 && image.steps[0].kind == LAP_STEP_FOREIGN;
            lap_image_close(&image);
            lap_exec *exec = lap_exec_open(copy, r->n_image, r->fns,
                                           &(lap_exec_options){.n_threads = 1, .max_bytes = 1 << 20}, NULL);
            float *x = malloc(3 * sizeof *x);
            memset(x, 0, 3 * sizeof *x);
            lap_tensor in = floats(x, 3), out = {.dtype = LAP_F32};
            if (calls_it && lap_exec_n_inputs(exec) == 1 && lap_exec_n_outputs(exec) == 1) {
                lap_exec_set_foreign(exec, &table);
                (void)lap_exec_run(exec, &in, &out, NULL);
            }
            lap_exec_close(exec);
            free(x);
        }
    }
    assert_true(calls > 0);
    lap_memory_free(copy);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_hostile_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
