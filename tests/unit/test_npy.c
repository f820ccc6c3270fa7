/* SPDX-License-Identifier: Apache-2.0
 * test_npy.c - reading, refusing and writing npy files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "runtime/npy.h"
#include "tests/support/damage.h"
#include "tests/support/process.h"

static unsigned char *make(unsigned version, const char *header, size_t n_data, size_t *out_n)
{
    size_t start = version == 1 ? 10 : 12, n = strlen(header);
    *out_n = start + n + n_data;
    unsigned char *bytes = calloc(1, *out_n);
    memcpy(bytes, "\x93NUMPY", 6);
    bytes[6] = (unsigned char)version;
    bytes[8] = (unsigned char)n;
    bytes[9] = (unsigned char)(n >> 8);
    memcpy(bytes + start, header, n);
    return bytes;
}

static void refuse(const char *header, size_t n_data, const char *message)
{
    size_t n;
    lap_fault fault = {0};
    unsigned char *bytes = make(1, header, n_data, &n);
    assert_null(lap_npy_parse(bytes, n, "t", &fault));
    if (!strstr(fault.text, message)) {
        fail_msg("'%s' does not say '%s'", fault.text, message);
    }
    free(bytes);
}

#define H(descr, order, shape) "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }"

static void test_reads(void **state)
{
    (void)state;
    for (unsigned version = 1; version <= 3; version++) {
        size_t n;
        unsigned char *bytes = make(version, H("<f8", "False", "(2, 3)") "   \n", 48, &n);
        lap_npy *file = lap_npy_parse(bytes, n, "t", NULL);
        assert_non_null(file);
        const lap_tensor_view *v = lap_npy_view(file);
        assert_int_equal(v->storage, LAP_ST_F64);
        assert_int_equal(v->rank, 2);
        assert_int_equal(v->shape[1], 3);
        lap_tensor t;
        assert_true(lap_npy_read(file, LAP_NO_DTYPE, &t, NULL));
        assert_int_equal(t.dtype, LAP_F32);
        assert_int_equal(t.n_bytes, 24);
        lap_npy_close(file);
        free(bytes);
    }
}

static void test_reads_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
        uint32_t rank;
    } rows[] = {
        {H("<f4", "False", "()"), 4, 0},
        {H("|b1", "False", "(5,)"), 5, 1},
        {H("<i8", "True", "(1, 2, 1)"), 16, 3},
        {"{\"shape\":(0,9),\"descr\":\"|u1\",\"fortran_order\":False}", 0, 2},
        {H("<i1", "False", "(3)"), 3, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n;
        lap_fault fault = {0};
        unsigned char *bytes = make(1, rows[i].header, rows[i].n_data, &n);
        lap_npy *file = lap_npy_parse(bytes, n, "t", &fault);
        if (!file) {
            fail_msg("%s: %s", rows[i].header, fault.text);
        }
        assert_int_equal(lap_npy_view(file)->rank, rows[i].rank);
        lap_npy_close(file);
        free(bytes);
    }
}

static void test_refuses(void **state)
{
    (void)state;
    refuse("", 0, "not a dict");
    refuse("{}", 0, "needs");
    refuse(H(">f4", "False", "(1,)"), 4, "big-endian");
    refuse(H("<c8", "False", "(1,)"), 8, "not known");
    refuse(H("|O", "False", "(1,)"), 8, "not known");
    refuse("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4, "plain");
    refuse(H("<f4", "True", "(2, 3)"), 24, "Fortran");
    refuse(H("<f4", "None", "(2, 3)"), 24, "fortran_order");
    refuse(H("<f4", "False", "(2, 3)"), 23, "has 23 bytes of elements, its shape needs 24");
    refuse(H("<f4", "False", "(2, 3)"), 25, "has 25 bytes of elements, its shape needs 24");
    refuse(H("<f4", "False", "(2 3)"), 24, "tuple");
    refuse(H("<f4", "False", "(-2,)"), 8, "tuple");
    refuse(H("<f4", "False", "(2,,)"), 8, "tuple");
    refuse(H("<f4", "False", "(2,"), 8, "tuple");
    refuse(H("<f4", "False", "(99999999999999999999,)"), 8, "too large");
    refuse(H("<f4", "False", "(0, 4294967296, 4294967296)"), 0, "too large");
    refuse(H("<f4", "False", "(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)"), 4, "16 axes");
    refuse(H("<f4", "False", "(1,)") " import os", 4, "after the header");
    refuse("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 4, "twice");
    refuse("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", 4, "not known");
    lap_fault fault = {0};
    assert_null(lap_npy_parse("\x93NUMPY\x04\0\0\0", 10, "t", &fault));
    assert_non_null(strstr(fault.text, "version"));
    assert_null(lap_npy_open("/nonexistent/x.npy", &fault));
}

static bool reads(const void *bytes, size_t n)
{
    lap_npy *file = lap_npy_parse(bytes, n, "t", NULL);
    lap_npy_close(file);
    return file != NULL;
}

static void test_survives_changes(void **state)
{
    (void)state;
    size_t n;
    unsigned char *bytes = make(2, H("<f4", "False", "(2, 3)") "\n", 24, &n);
    damage_all(bytes, n, reads);
    free(bytes);
}

static void test_writes(void **state)
{
    (void)state;
    char *folder = folder_new();
    const char *path = folder_path(folder, "x.npy");
    float f[6] = {1, 2, 3, 4, 5, -6};
    lap_fault fault = {0};
    for (uint32_t rank = 0; rank <= LAP_MAX_RANK; rank++) {
        lap_tensor t = {LAP_F32, rank, {0}, f, 24}, back;
        for (uint32_t i = 0; i < rank; i++) {
            t.shape[i] = i + 1 == rank ? 6 : 1;
        }
        assert_true(lap_npy_write(path, &t, &fault));
        lap_npy *file = lap_npy_open(path, &fault);
        assert_non_null(file);
        assert_true(lap_npy_read(file, LAP_F32, &back, &fault));
        assert_int_equal(back.rank, rank);
        assert_memory_equal(back.shape, t.shape, rank * sizeof *t.shape);
        assert_memory_equal(back.data, f, rank ? 24 : 4);
        assert_int_equal((uintptr_t)back.data % 64, 0);
        lap_npy_close(file);
    }
    lap_tensor odd = {LAP_BF16, 0, {0}, f, 2};
    assert_false(lap_npy_write(path, &odd, &fault));
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_reads_shapes),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_writes),
        cmocka_unit_test(test_survives_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
