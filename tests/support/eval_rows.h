/* SPDX-License-Identifier: Apache-2.0
 * eval_rows.h - rows of a table: a graph without its frame, the tensors given (weights start with
 * "w."), and the outputs expected, or "! words" that the only error contains. */
#ifndef LAP_TESTS_SUPPORT_EVAL_ROWS_H
#define LAP_TESTS_SUPPORT_EVAL_ROWS_H

#include "tests/unit/graphs.h"

#include "tests/support/tensor_text.h"

typedef struct test_eval_row {
    const char *what, *graph, *given, *expected;
} test_eval_row;

void test_eval_check(const test_eval_row *row);

#define CHECK_ROWS(rows)                                                                                     \
    for (size_t i = 0; i < sizeof(rows) / sizeof *(rows); i++) {                                             \
        test_eval_check(&(rows)[i]);                                                                         \
    }

#define X      "%1 = input f32[n=N] {name=\"x\" layout=\"n\"}\n"
#define XI     "%1 = input i64[n=N] {name=\"x\" layout=\"n\"}\n"
#define XY     X "%2 = input f32[n=N] {name=\"y\" layout=\"n\"}\n"
#define OUT(v) "output \"o\" %" v " {layout=\"n\"}\n"
#define MATRIX "%1 = input f32[a=A b=B] {name=\"x\" layout=\"a b\"}\n"

#endif
