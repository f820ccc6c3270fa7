/* SPDX-License-Identifier: Apache-2.0
 * test_llvm_cross.c - aarch64 objects, linked with a C main that checks them, run under qemu. */
#include "tests/unit/llvm_rig.h"

#include "tests/support/process.h"

enum { N = 37 };

/* out[i] = pow(tanh(x), 2) + erf(x) + exp(x) + log(|x| + 1) + sin(x), plus the f16 and bf16 of x. */
static void math_kernel(rig *r)
{
    lap_graph *k = rig_kernel(r, "math");
    lap_ref x = lap_k_global(k, 0, LAP_F32), out = lap_k_global(k, 1, LAP_F32),
            half = lap_k_global(k, 2, LAP_F16);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, lap_const_i(k, 1), 0, NULL);
    lap_k_loop v = lap_k_for(k, LAP_LOOP_VECTOR, rig_size(r, k, "N", N), 0, NULL);
    lap_ref a = lap_k_load(k, x, v.index, LAP_NONE);
    lap_ref sum = lap_map2(k, LAP_FN_POW, lap_map1(k, LAP_FN_TANH, a), lap_const_f(k, 2));
    sum = lap_map2(k, LAP_FN_ADD, sum, lap_map1(k, LAP_FN_ERF, a));
    sum = lap_map2(k, LAP_FN_ADD, sum, lap_map1(k, LAP_FN_EXP, a));
    lap_ref size = lap_map2(k, LAP_FN_ADD, lap_map1(k, LAP_FN_ABS, a), lap_const_f(k, 1));
    sum = lap_map2(k, LAP_FN_ADD, sum, lap_map1(k, LAP_FN_LOG, size));
    sum = lap_map2(k, LAP_FN_ADD, sum, lap_map1(k, LAP_FN_SIN, a));
    lap_k_store(k, out, v.index, sum, LAP_NONE);
    lap_k_store(k, half, v.index, a, LAP_NONE);
    lap_k_end(k, &v, NULL, NULL);
    lap_k_end(k, &grid, NULL, NULL);
}

/* out[0] = max of x where a flag is set, out[1] = sum of x[table[i]]. */
static void fold_kernel(rig *r)
{
    lap_graph *k = rig_kernel(r, "fold");
    lap_ref x = lap_k_global(k, 0, LAP_F32), flags = lap_k_global(k, 1, LAP_BOOL),
            table = lap_k_global(k, 2, LAP_I8);
    lap_ref out = lap_k_global(k, 3, LAP_F32);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, lap_const_i(k, 1), 0, NULL);
    lap_ref init[2] = {lap_const_f(k, 0), lap_const_f(k, 0)}, next[2], final[2];
    lap_k_loop v = lap_k_for(k, LAP_LOOP_VECTOR, rig_size(r, k, "N", N), 2, init);
    lap_ref flag = lap_k_load(k, flags, v.index, LAP_NONE);
    next[0] = lap_map2(k, LAP_FN_MAX, v.carried[0], lap_k_load(k, x, v.index, flag));
    lap_ref at = lap_k_load(k, table, v.index, LAP_NONE);
    next[1] = lap_map2(k, LAP_FN_ADD, v.carried[1], lap_k_load(k, x, at, LAP_NONE));
    lap_k_end(k, &v, next, final);
    lap_k_store(k, out, lap_const_i(k, 0), final[0], LAP_NONE);
    lap_k_store(k, out, lap_const_i(k, 1), final[1], LAP_NONE);
    lap_k_end(k, &grid, NULL, NULL);
}

/* The product of 5 rows of 4 and 4 rows of 12, and the order of x. */
static void tile_kernel(rig *r)
{
    lap_graph *k = rig_kernel(r, "tile");
    lap_ref x = lap_k_global(k, 0, LAP_F32), out = lap_k_global(k, 1, LAP_F32),
            order = lap_k_global(k, 2, LAP_I32);
    lap_ref zero = lap_const_i(k, 0);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, lap_const_i(k, 1), 0, NULL);
    lap_k_mma_args m = {.acc = out,
                        .acc0 = zero,
                        .ld = lap_const_i(k, 12),
                        .a = x,
                        .a0 = zero,
                        .sm = lap_const_i(k, 4),
                        .sk = lap_const_i(k, 1),
                        .m = lap_const_i(k, 5),
                        .b = x,
                        .b0 = lap_const_i(k, 20),
                        .sb = lap_const_i(k, 12),
                        .depth = lap_const_i(k, 1),
                        .rows = 8,
                        .cols = 12,
                        .init = true};
    lap_k_mma(k, &m);
    lap_k_sort(k, x, zero, rig_size(r, k, "N", N), order, zero, lap_const_i(k, 9), false);
    lap_k_end(k, &grid, NULL, NULL);
}

/* The product of 5 rows of 7 and 7 rows of 20, all bf16, by pairs. */
static void dot_kernel(rig *r)
{
    lap_graph *k = rig_kernel(r, "dot");
    lap_ref x = lap_k_global(k, 0, LAP_BF16), out = lap_k_global(k, 1, LAP_F32), zero = lap_const_i(k, 0);
    lap_k_loop grid = lap_k_for(k, LAP_LOOP_GRID, lap_const_i(k, 1), 0, NULL);
    lap_k_mma(k, &(lap_k_mma_args){.acc = out,
                                   .acc0 = zero,
                                   .ld = lap_const_i(k, 20),
                                   .a = x,
                                   .a0 = zero,
                                   .sm = lap_const_i(k, 7),
                                   .sk = lap_const_i(k, 1),
                                   .m = lap_const_i(k, 5),
                                   .b = x,
                                   .b0 = lap_const_i(k, 35),
                                   .sb = lap_const_i(k, 20),
                                   .depth = lap_const_i(k, 7),
                                   .rows = 5,
                                   .cols = 20,
                                   .init = true,
                                   .dot = true});
    lap_k_end(k, &grid, NULL, NULL);
}

static const char main_c[] =
    "#include <math.h>\n#include <stdint.h>\n#include <stdio.h>\n"
    "typedef int32_t fn(void *const *, const int64_t *, int64_t, int64_t, void *);\n"
    "extern fn *const some_kernels[]; extern const unsigned char some_image[]; extern const uint64_t "
    "some_image_size;\n"
    "enum { N = 37 };\n"
    "int main(void) {\n"
    "  float x[N], y[N], f[2], c[96]; __fp16 h[N]; uint8_t flag[N]; int8_t table[N]; int32_t order[9];\n"
    "  uint16_t pairs[175]; float product[100]; double value[175];\n"
    "  int64_t dim[1] = {N}; int bad = 0; float top = 0, sum = 0;\n"
    "  for (int i = 0; i < N; i++) { x[i] = (float)(i * 29 % N) / 5 - 3; flag[i] = i % 3 == 0; table[i] = "
    "(int8_t)(N - 1 - i);\n"
    "    top = flag[i] && x[i] > top ? x[i] : top; sum += x[i]; }\n"
    "  void *math[] = {x, y, h}, *fold[] = {x, flag, table, f}, *tile[] = {x, c, order};\n"
    "  bad += some_kernels[0](math, dim, 0, 1, 0) != 0;\n"
    "  bad += some_kernels[1](fold, dim, 0, 1, 0) != 0;\n"
    "  bad += some_kernels[2](tile, dim, 0, 1, 0) != 0;\n"
    "  for (int i = 0; i < N; i++) { double a = x[i], t = tanh(a);\n"
    "    double want = t * t + erf(a) + exp(a) + log(fabs(a) + 1) + sin(a);\n"
    "    bad += fabs(y[i] - want) > 2e-6 * (1 + fabs(want)); bad += h[i] != (__fp16)x[i]; }\n"
    "  bad += f[0] != top; bad += fabsf(f[1] - sum) > 1e-4f;\n"
    "  for (int i = 0; i < 8; i++) for (int j = 0; j < 12; j++)\n"
    "    bad += c[i * 12 + j] != x[(i < 5 ? i : 4) * 4] * x[20 + j];\n"
    "  for (int i = 0; i < 175; i++) { float v = (float)(i * 37 % 29 - 14); uint32_t bits; value[i] = v;\n"
    "    __builtin_memcpy(&bits, &v, 4); pairs[i] = (uint16_t)(bits >> 16); }\n"
    "  void *dot[] = {pairs, product}; bad += some_kernels[3](dot, dim, 0, 1, 0) != 0;\n"
    "  for (int i = 0; i < 100; i++) { double want = 0; for (int k = 0; k < 7; k++)\n"
    "    want += value[i / 20 * 7 + k] * value[35 + k * 20 + i % 20]; bad += product[i] != want; }\n"
    "  for (int i = 1; i < 9; i++) bad += x[order[i]] > x[order[i - 1]];\n"
    "  bad += some_image_size < 16;\n"
    "  printf(\"%d bad\\n\", bad);\n  return bad != 0;\n}\n";

static void check_processor(const char *cpu)
{
    if (!process_has("aarch64-linux-gnu-gcc") || !process_has("qemu-aarch64")) {
        skip();
    }
    rig r = rig_new();
    math_kernel(&r);
    fold_kernel(&r);
    tile_kernel(&r);
    dot_kernel(&r);
    r.program.ctx = r.ctx;
    r.program.name = "cross";
    r.program.kernels = r.kernels;
    char *folder = folder_new(), command[512];
    lap_fault fault = {0};
    lap_machine *m = lap_machine_new("aarch64-linux-gnu", cpu, &fault);
    assert_non_null(m);
    assert_true(lap_machine_target(m)->has_dot == (cpu != NULL));
    char *bytes = NULL;
    size_t size = 0;
    assert_true(lap_llvm_emit(&r.program, m, "some", LAP_EMIT_OBJECT, &bytes, &size, &fault));
    folder_write(folder, "some.o", bytes, size);
    folder_write(folder, "main.c", main_c, strlen(main_c));
    snprintf(command, sizeof command,
             "cd %s && aarch64-linux-gnu-gcc -O1 -static main.c some.o -lm -o main && "
             "qemu-aarch64 -cpu max ./main",
             folder);
    int status = system(command);
    folder_remove(folder);
    assert_int_equal(status, 0);
    free(bytes);
    lap_machine_free(m);
    rig_free(&r);
}

static void test_aarch64(void **state)
{
    (void)state;
    check_processor(NULL);
    check_processor("neoverse-n2"); /* has dot products of bf16 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_aarch64)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
