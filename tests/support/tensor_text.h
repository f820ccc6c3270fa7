/* SPDX-License-Identifier: Apache-2.0
 * tensor_text.h - tensors written as "x f32[2 3] 1 2 3 4 5 6", several separated by ';'. */
#ifndef LAP_TESTS_SUPPORT_TENSOR_TEXT_H
#define LAP_TESTS_SUPPORT_TENSOR_TEXT_H

#include "ir/base/arena.h"
#include "ir/eval.h"

/* Missing numbers are 0; numbers may be inf, -inf and nan. Stops the program at a mistake in the text. */
lap_eval_io test_tensors(lap_arena *arena, const char *text);
/* "f32[2 3] 1 2 3 4 5 6" */
const char *test_tensor_show(lap_arena *arena, const lap_tensor *tensor);
/* Whether shapes and element types agree and |a - b| <= atol + rtol |b| everywhere (integers equal,
 * NaN with NaN, infinities equal). Otherwise out_why says where. */
bool test_tensor_close(lap_arena *arena, const lap_tensor *a, const lap_tensor *b, double rtol, double atol,
                       const char **out_why);
/* A tensor of zeros in the arena. */
lap_tensor test_tensor_new(lap_arena *arena, lap_dtype dtype, uint32_t rank, const int64_t *shape);

#endif
