/* SPDX-License-Identifier: Apache-2.0
 * test_minilm.c - tokens and embeddings of the example against those of the authors' code.
 *
 * Needs the weights that `make demo` fetches; without them it is skipped. The twenty sentences run as
 * one padded batch, so that the mask is tested too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "examples/sentence-encoder/wordpiece.h"
#include "runtime/npy.h"
#include "runtime/safetensors.h"
#include "tests/support/process.h"

#define EXAMPLE  LAP_SOURCE_DIR "/examples/sentence-encoder"
#define EXPECTED EXAMPLE "/expected/embeddings.safetensors"
#define MODEL    LAP_SOURCE_DIR "/build/demo/model"

enum { N_SENTENCES = 20, WIDTH = 384 };

static lap_safetensors *expected;

static bool is_there(const char *path) { return access(path, R_OK) == 0; }

static const lap_tensor_view *expect(const char *name)
{
    const lap_tensor_view *v = lap_safetensors_find(expected, name);
    assert_non_null(v);
    return v;
}

static int open_expected(void **state)
{
    (void)state;
    lap_fault fault = {0};
    expected = lap_safetensors_open(EXPECTED, &fault);
    return expected != NULL ? 0 : -1;
}

static int close_expected(void **state)
{
    (void)state;
    lap_safetensors_close(expected);
    return 0;
}

static void test_tokens(void **state)
{
    (void)state;
    if (!is_there(MODEL "/vocab.txt")) {
        print_message("[  SKIP  ] no vocabulary in build/demo/model: make demo fetches it\n");
        skip();
    }
    wordpiece *w = wordpiece_open(MODEL "/vocab.txt");
    FILE *from = fopen(EXAMPLE "/expected/sentences.txt", "r");
    assert_non_null(w);
    assert_non_null(from);
    const int64_t *want = expect("input_ids")->data, *mask = expect("attention_mask")->data;
    char line[8192];
    size_t row = 0, columns = (size_t)expect("input_ids")->shape[1];
    for (; fgets(line, sizeof line, from) != NULL; row++) {
        line[strcspn(line, "\n")] = '\0';
        int64_t ids[WORDPIECE_MAX];
        size_t n = wordpiece_encode(w, line, ids);
        for (size_t i = 0; i < columns; i++) {
            assert_int_equal(mask[row * columns + i], i < n);
            assert_true(i >= n || ids[i] == want[row * columns + i]);
        }
    }
    assert_int_equal(row, N_SENTENCES);
    fclose(from);
    wordpiece_close(w);
}

static void test_broken_text(void **state)
{
    (void)state;
    char *folder = folder_new();
    static const char vocabulary[] = "[CLS]\n[SEP]\n[UNK]\na\n##b\nc";
    wordpiece *w = wordpiece_open(folder_write(folder, "vocab.txt", vocabulary, sizeof vocabulary - 1));
    assert_non_null(w);
    int64_t ids[WORDPIECE_MAX];
    assert_int_equal(wordpiece_encode(w, "\xff\xc3(\xe2\x82 ab", ids), 5);
    assert_int_equal(ids[1], 2);
    assert_int_equal(wordpiece_encode(w, "", ids), 2);
    char text[2048];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(wordpiece_encode(w, text, ids), 3); /* one word too long to be known */
    for (size_t i = 1; i < sizeof text - 1; i += 2) {
        text[i] = ' ';
    }
    assert_int_equal(wordpiece_encode(w, text, ids), WORDPIECE_MAX);
    wordpiece_close(w);
    assert_null(wordpiece_open(folder_write(folder, "empty.txt", "", 0)));
    assert_null(wordpiece_open("/nowhere/vocab.txt"));
    folder_remove(folder);
}

static void compare(const char *target)
{
    char *folder = folder_new(), line[4096];
    char out[1024];
    snprintf(out, sizeof out, "%s", folder_path(folder, "out.safetensors"));
    snprintf(line, sizeof line,
             "%s run " EXAMPLE "/minilm.lua --weights " MODEL "/model.safetensors --in input_ids=" EXPECTED
             ":input_ids --in attention_mask=" EXPECTED ":attention_mask -o %s --target %s",
             getenv("LAPPET"), out, target);
    static process_result result;
    process_line(line, &result);
    if (result.status != 0) {
        print_error("%s\n%s\n", line, result.err);
    }
    assert_int_equal(result.status, 0);
    lap_fault fault = {0};
    lap_safetensors *got = lap_safetensors_open(out, &fault);
    assert_non_null(got);
    const lap_tensor_view *v = lap_safetensors_find(got, "embedding");
    assert_non_null(v);
    assert_int_equal(v->rank, 2);
    assert_int_equal(v->shape[0], N_SENTENCES);
    assert_int_equal(v->shape[1], WIDTH);
    const float *a = v->data, *b = expect("embedding")->data;
    for (size_t i = 0; i < N_SENTENCES * WIDTH; i++) {
        assert_true(fabsf(a[i] - b[i]) <= 1e-5f);
    }
    lap_safetensors_close(got);
    folder_remove(folder);
}

static void test_embeddings(void **state)
{
    (void)state;
    if (!is_there(MODEL "/model.safetensors") || getenv("LAPPET") == NULL) {
        print_message("[  SKIP  ] no weights in build/demo/model: make demo fetches them\n");
        skip();
    }
    compare("cpu");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_broken_text),
        cmocka_unit_test(test_embeddings),
    };
    return cmocka_run_group_tests(tests, open_expected, close_expected);
}
