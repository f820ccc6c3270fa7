/* SPDX-License-Identifier: Apache-2.0
 * test_sharing.c - warnings of axes shared by accident: none for any model of the repository. What must be
 * warned of is in sharing.cases. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "frontends/compiler/session.h"

#ifndef LAP_SOURCE_DIR
#define LAP_SOURCE_DIR "."
#endif

static const char *const path[] = {LAP_SOURCE_DIR "/plugins", LAP_SOURCE_DIR "/tests/library",
                                   LAP_SOURCE_DIR "/examples"};

/* The model of a case, with the inputs, weights and parameters of the case. */
static unsigned warnings_of(const char *file)
{
    lap_fault fault = {0};
    lap_safetensors *tensors = lap_safetensors_open(file, &fault);
    assert_non_null(tensors);
    lap_session *s = lap_session_new();
    lap_views inputs = {0}, weights = {0};
    lap_views_read(lap_session_ctx(s), &inputs, tensors, "in.");
    lap_views_read(lap_session_ctx(s), &weights, tensors, "w.");
    static const char *const none[] = {""};
    lap_load_options load = {.model = lap_safetensors_meta(tensors, "pattern"),
                             .params_json = lap_safetensors_meta(tensors, "params"),
                             .dtype = LAP_F32,
                             .plugin_path = path,
                             .n_plugin_path = sizeof path / sizeof *path,
                             .n_inputs = inputs.n,
                             .inputs = inputs.names,
                             .n_weights = weights.n,
                             .weights = weights.n > 0 ? weights.names : none};
    if (!lap_session_load(s, &load)) {
        fail_msg("%s: %s", file, lap_session_message(s));
    }
    size_t n = lap_warning_count(lap_session_ctx(s));
    for (size_t i = 0; i < n; i++) {
        print_error("%s: %s\n", file, lap_warning_text(lap_session_ctx(s), i));
    }
    lap_session_free(s);
    lap_safetensors_close(tensors);
    return (unsigned)n;
}

static void no_model_is_warned_of(void **state)
{
    (void)state;
    glob_t files;
    assert_int_equal(glob(LAP_SOURCE_DIR "/tests/patterns/*/*.safetensors", 0, NULL, &files), 0);
    assert_int_equal(glob(LAP_SOURCE_DIR "/tests/library/*.safetensors", GLOB_APPEND, NULL, &files), 0);
    assert_int_equal(glob(LAP_SOURCE_DIR "/tests/examples/*.safetensors", GLOB_APPEND, NULL, &files), 0);
    assert_true(files.gl_pathc > 200);
    unsigned n = 0;
    for (size_t i = 0; i < files.gl_pathc; i++) {
        n += warnings_of(files.gl_pathv[i]);
    }
    globfree(&files);
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_model_is_warned_of)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
