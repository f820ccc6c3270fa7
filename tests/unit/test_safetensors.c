/* SPDX-License-Identifier: Apache-2.0
 * test_safetensors.c - reading, refusing and writing safetensors files; conversion of elements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/safetensors.h"
#include "tests/support/damage.h"
#include "tests/support/process.h"

/* A file of a header and n zero bytes; the caller frees it. */
static unsigned char *make(const char *header, size_t header_size, size_t n_data, size_t *out_n)
{
    *out_n = 8 + header_size + n_data;
    unsigned char *bytes = calloc(1, *out_n);
    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)((uint64_t)header_size >> (8 * i));
    }
    memcpy(bytes + 8, header, header_size);
    return bytes;
}

static lap_safetensors *parse(const char *header, size_t n_data, unsigned char **bytes, lap_fault *fault)
{
    size_t n;
    *bytes = make(header, strlen(header), n_data, &n);
    return lap_safetensors_parse(*bytes, n, "t", fault);
}

static void refuse(const char *header, size_t n_data, const char *message)
{
    lap_fault fault = {0};
    unsigned char *bytes;
    assert_null(parse(header, n_data, &bytes, &fault));
    assert_int_equal(fault.code, LAP_BAD_INPUT);
    if (!strstr(fault.text, message)) {
        fail_msg("'%s' does not say '%s'", fault.text, message);
    }
    free(bytes);
}

#define T(shape, begin, end) "{\"dtype\":\"F32\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end "]}"

static void test_reads(void **state)
{
    (void)state;
    unsigned char *bytes;
    lap_fault fault;
    lap_safetensors *file =
        parse("{\"__metadata__\":{\"k\":\"v\\n\\u00e9\"},\"b\":" T("2, 1", "4", "12") ", \"a\\/\":" T(
                  "", "0", "4") ",\"e\":" T("0,7", "12", "12") "}  ",
              12, &bytes, &fault);
    assert_non_null(file);
    assert_int_equal(lap_safetensors_n(file), 3);
    assert_string_equal(lap_safetensors_name(file, 0), "b");
    const lap_tensor_view *b = lap_safetensors_find(file, "b");
    assert_int_equal(b->rank, 2);
    assert_int_equal(b->shape[0], 2);
    assert_ptr_equal(b->data, bytes + 8 + bytes[0] + 4);
    assert_int_equal(lap_safetensors_find(file, "a/")->rank, 0);
    assert_int_equal(lap_safetensors_find(file, "e")->n_bytes, 0);
    assert_null(lap_safetensors_find(file, "x"));
    assert_string_equal(lap_safetensors_meta(file, "k"), "v\n\xc3\xa9");
    assert_null(lap_safetensors_meta(file, "l"));
    lap_safetensors_close(file);
    free(bytes);
}

static void test_refuses_syntax(void **state)
{
    (void)state;
    refuse("", 0, "start");
    refuse(" {}", 0, "start");
    refuse("{", 0, "expected");
    refuse("{} x", 0, "after the end");
    refuse("{\"a\"}", 0, "':'");
    refuse("{\"a\":1}", 0, "object");
    refuse("{\"a\":" T("1", "0", "4") "\"b\":1}", 4, "','");
    refuse("{\"a\":" T("1", "0", "4") ",}", 4, "string");
    refuse("{\"a\xff\":" T("1", "0", "4") "}", 4, "UTF-8");
    refuse("{\"a\xed\xa0\x80\":" T("1", "0", "4") "}", 4, "UTF-8");
    refuse("{\"a\\ud800\":" T("1", "0", "4") "}", 4, "surrogate");
    refuse("{\"a\\u0000\":" T("1", "0", "4") "}", 4, "zero byte");
    refuse("{\"a\n\":" T("1", "0", "4") "}", 4, "control");
    refuse("{\"a\\q\":" T("1", "0", "4") "}", 4, "escape");
    refuse("{\"a", 4, "without an end");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[[[1]]],\"data_offsets\":[0,4]}}", 4, "whole number");
    refuse("{\"a\":" T("-1", "0", "4") "}", 4, "whole number");
    refuse("{\"a\":" T("1.0", "0", "4") "}", 4, "whole number");
    refuse("{\"a\":" T("01", "0", "4") "}", 4, "leading zero");
    refuse("{\"__metadata__\":{\"k\":1}}", 0, "string");
    refuse("{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}}", 0, "twice");
    refuse("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "twice");
}

static void test_refuses_meaning(void **state)
{
    (void)state;
    refuse("{\"a\":" T("1", "0", "4") ",\"a\":" T("1", "4", "8") "}", 8, "twice");
    refuse("{\"a\":" T("1", "0", "4") "}", 8, "bytes after");
    refuse("{\"a\":" T("1", "0", "4") "}", 3, "at bytes 0 to 4 of the 3");
    refuse("{\"a\":" T("1", "4", "8") "}", 8, "hole");
    refuse("{\"a\":" T("2", "0", "8") ",\"b\":" T("1", "4", "8") "}", 8, "overlaps");
    refuse("{\"a\":" T("2", "0", "4") "}", 4, "has 4 bytes, its shape needs 8");
    refuse("{\"a\":" T("1", "4", "0") "}", 4, "at bytes 4 to 0 of the 4");
    refuse("{\"a\":" T("1", "0", "18446744073709551616") "}", 4, "too large");
    refuse("{\"a\":" T("9223372036854775808", "0", "4") "}", 4, "too large");
    refuse("{\"a\":" T("4294967296,4294967296", "0", "0") "}", 0, "too large");
    refuse("{\"a\":" T("0,4294967296,4294967296", "0", "0") "}", 0, "too large");
    refuse("{\"a\":" T("4611686018427387904", "0", "0") "}", 0, "too large");
    refuse("{\"a\":" T("1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "0", "4") "}", 4, "16 axes");
    refuse("{\"a\":{\"dtype\":\"F31\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "not known");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 4, "needs dtype");
    refuse("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[]}}", 4, "twice");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"x\":1}}", 4, "not known");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0]}}", 4, "two offsets");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4,4]}}", 4, "two offsets");
}

static void test_refuses_sizes(void **state)
{
    (void)state;
    lap_fault fault;
    unsigned char bytes[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}'};
    assert_null(lap_safetensors_parse(bytes, 16, "t", &fault));
    assert_non_null(strstr(fault.text, "a header of 18446744073709551615 bytes"));
    assert_null(lap_safetensors_parse(bytes, 7, "t", &fault));
    assert_null(lap_safetensors_parse(NULL, 0, "t", &fault));
    assert_null(lap_safetensors_open("/nonexistent/file", &fault));
    assert_null(lap_safetensors_open("/", &fault));
    assert_non_null(strstr(fault.text, "regular"));
}

static bool reads(const void *bytes, size_t n)
{
    lap_safetensors *file = lap_safetensors_parse(bytes, n, "t", NULL);
    lap_safetensors_close(file);
    return file != NULL;
}

static void test_survives_changes(void **state)
{
    (void)state;
    const char *header =
        "{\"__metadata__\":{\"k\":\"\\u00e9\"},\"a\":" T("2,1", "0", "8") ",\"b\":" T("1", "8", "12") "}";
    size_t n;
    unsigned char *bytes = make(header, strlen(header), 12, &n);
    damage_all(bytes, n, reads);
    free(bytes);
}

static void test_writes(void **state)
{
    (void)state;
    char *folder = folder_new();
    const char *path = folder_path(folder, "x.safetensors");
    float f[3] = {1, -2, 3};
    int64_t w[2] = {-5, INT64_MAX};
    uint8_t flag = 1, four[2] = {0x21, 0x03};
    lap_tensor tensors[] = {{LAP_BOOL, 0, {0}, &flag, 1},
                            {LAP_F32, 2, {3, 1}, f, 12},
                            {LAP_I64, 1, {2}, w, 16},
                            {LAP_I4, 1, {3}, four, 2}};
    const char *names[] = {"flag", "odd \"name\"\n", "w", "four"};
    const char *meta[] = {"a\\", "\t", "b", "2", NULL};
    lap_fault fault = {0};
    assert_true(lap_safetensors_write(path, 4, names, tensors, meta, &fault));
    lap_safetensors *file = lap_safetensors_open(path, &fault);
    assert_non_null(file);
    assert_int_equal(lap_safetensors_n(file), 4);
    assert_string_equal(lap_safetensors_meta(file, "a\\"), "\t");
    assert_int_equal(lap_safetensors_n_meta(file), 2);
    for (int i = 0; i < 4; i++) {
        lap_tensor read;
        const lap_tensor_view *v = lap_safetensors_find(file, names[i]);
        assert_non_null(v);
        assert_true(lap_view_as(v, tensors[i].dtype, &read));
        assert_int_equal(read.n_bytes, tensors[i].n_bytes);
        assert_memory_equal(read.data, tensors[i].data, read.n_bytes);
    }
    lap_safetensors_close(file);
    struct stat st;
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666 & ~mask);
    unlink(path);

    const char *same[] = {"x", "x"};
    assert_false(lap_safetensors_write(path, 2, same, tensors, NULL, &fault));
    assert_int_not_equal(access(path, F_OK), 0);
    assert_false(lap_safetensors_write("/nonexistent/dir/file", 1, names, tensors, NULL, &fault));
    assert_false(lap_safetensors_write(folder, 1, names, tensors, NULL, &fault));
    folder_remove(folder);
}

static void test_full_disk(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0) {
        print_message("no /dev/full: a full disk cannot be had here\n");
        skip();
    }
    float f[3] = {0};
    lap_tensor t = {LAP_F32, 1, {3}, f, 12};
    const char *name = "x";
    lap_fault fault = {0};
    assert_false(lap_safetensors_write("/dev/full", 1, &name, &t, NULL, &fault));
    assert_non_null(strstr(fault.text, "No space"));
}

static void convert_ok(lap_storage from, const void *data, size_t n_bytes, lap_dtype to, double want)
{
    lap_tensor_view v = {.storage = from, .rank = 0, .data = data, .n_bytes = n_bytes};
    lap_tensor out;
    assert_true(lap_tensor_convert(&v, to, "x", &out, NULL));
    assert_true(lap_tensor_get(&out, 0) == want);
    lap_memory_free(out.data);
}

static void convert_bad(lap_storage from, const void *data, size_t n_bytes, lap_dtype to)
{
    lap_tensor_view v = {.storage = from, .rank = 0, .data = data, .n_bytes = n_bytes};
    lap_tensor out;
    lap_fault fault;
    assert_false(lap_tensor_convert(&v, to, "x", &out, &fault));
    assert_int_equal(fault.code, LAP_BAD_INPUT);
}

static void test_converts(void **state)
{
    (void)state;
    double d = 0.1, whole = 7, nan_ = NAN;
    uint64_t big = UINT64_C(1) << 63, small = 5;
    uint8_t u = 200;
    int64_t wide = INT64_C(3000000000);
    convert_ok(LAP_ST_F64, &d, 8, LAP_F32, (double)0.1f);
    convert_ok(LAP_ST_F64, &whole, 8, LAP_I8, 7);
    convert_bad(LAP_ST_F64, &d, 8, LAP_I64);
    convert_bad(LAP_ST_F64, &nan_, 8, LAP_I64);
    convert_bad(LAP_ST_U64, &big, 8, LAP_I64);
    convert_ok(LAP_ST_U64, &small, 8, LAP_F32, 5);
    convert_ok(LAP_ST_U8, &u, 1, LAP_I32, 200);
    convert_ok(LAP_ST_U8, &u, 1, LAP_BOOL, 1);
    convert_bad(LAP_ST_U8, &u, 1, LAP_I8);
    convert_bad(LAP_ST_I64, &wide, 8, LAP_I32);
    convert_bad(LAP_ST_I64, &wide, 4, LAP_I64);
}

/* Long enough for several blocks, from an odd address. */
static void test_converts_long(void **state)
{
    (void)state;
    enum { N = 1301 };
    unsigned char *bytes = malloc(8 * N + 1);
    lap_tensor_view v = {.storage = LAP_ST_F64, .rank = 1, .shape = {N}, .data = bytes + 1, .n_bytes = 8 * N};
    for (int i = 0; i < N; i++) {
        double x = i - 0.25;
        memcpy(bytes + 1 + 8 * i, &x, 8);
    }
    lap_tensor out, four;
    assert_false(lap_view_as(&v, LAP_F32, &out));
    assert_true(lap_tensor_convert(&v, LAP_F16, "x", &out, NULL));
    for (int i = 0; i < N; i += 50) {
        assert_true(lap_tensor_get(&out, (size_t)i) == lap_f32_from_f16(lap_f16_from_f64(i - 0.25)));
    }
    lap_memory_free(out.data);
    for (int i = 0; i < N; i++) {
        bytes[1 + i] = (unsigned char)(i % 9);
    }
    v.storage = LAP_ST_U8;
    assert_true(lap_tensor_convert(&v, LAP_I4, "x", &four, NULL) == false);
    for (int i = 0; i < N; i++) {
        bytes[1 + i] %= 7;
    }
    assert_true(lap_tensor_convert(&v, LAP_I4, "x", &four, NULL));
    lap_tensor_view packed = lap_view_of(&four);
    assert_true(lap_tensor_convert(&packed, LAP_F32, "x", &out, NULL));
    for (int i = 0; i < N; i++) {
        assert_true(lap_tensor_get(&out, (size_t)i) == i % 9 % 7);
    }
    lap_memory_free(out.data);
    lap_memory_free(four.data);
    free(bytes);
}

/* All 16-bit patterns go to f32 and back; halves between two neighbours round to even. */
static void test_halves(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        float f = lap_f32_from_f16((uint16_t)bits), b = lap_f32_from_bf16((uint16_t)bits);
        if (!isnan(f)) {
            assert_int_equal(lap_f16_from_f64((double)f), bits);
        }
        if (!isnan(b)) {
            assert_int_equal(lap_bf16_from_f64((double)b), bits);
        }
    }
    assert_int_equal(lap_f16_from_f64(65519.99), 0x7bff);
    assert_int_equal(lap_f16_from_f64(65520), 0x7c00);
    assert_int_equal(lap_f16_from_f64(1 + 0x1p-11), 0x3c00);
    assert_int_equal(lap_f16_from_f64(1 + 0x1.8p-10), 0x3c02);
    assert_int_equal(lap_f16_from_f64(0x1p-25), 0);
    assert_int_equal(lap_f16_from_f64(0x1.00001p-25), 1);
    assert_true(isnan(lap_f32_from_f16(lap_f16_from_f64(NAN))));
    assert_true(isinf(lap_f32_from_bf16(lap_bf16_from_f64(1e39))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_refuses_syntax),
        cmocka_unit_test(test_refuses_meaning),
        cmocka_unit_test(test_refuses_sizes),
        cmocka_unit_test(test_survives_changes),
        cmocka_unit_test(test_writes),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_converts),
        cmocka_unit_test(test_converts_long),
        cmocka_unit_test(test_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
