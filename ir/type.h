/* SPDX-License-Identifier: Apache-2.0
 * type.h - scalar functions and the small enums of attributes. */
#ifndef LAP_IR_TYPE_H
#define LAP_IR_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/dtype.h"

typedef enum lap_fn {
#define LAP_FN(enum_, text, arity, result, cost, doc) LAP_FN_##enum_,
#include "ir/fns.def"
#undef LAP_FN
    LAP_N_FNS
} lap_fn;

typedef enum lap_red {
    LAP_RED_SUM,
    LAP_RED_MAX,
    LAP_RED_MIN,
    LAP_RED_PROD,
    LAP_RED_ANY,
    LAP_RED_ALL,
    LAP_RED_ARGMAX,
    LAP_RED_ARGMIN,
    LAP_N_REDS
} lap_red;
typedef enum lap_mode { LAP_MODE_SET, LAP_MODE_ADD, LAP_MODE_MAX, LAP_N_MODES } lap_mode;
typedef enum lap_norm { LAP_NORM_SOFTMAX, LAP_NORM_SUM, LAP_NORM_NONE, LAP_N_NORMS } lap_norm;
typedef enum lap_loop_kind {
    LAP_LOOP_GRID,
    LAP_LOOP_SERIAL,
    LAP_LOOP_VECTOR,
    LAP_LOOP_UNROLL,
    LAP_N_LOOPS
} lap_loop_kind;
typedef enum lap_space { LAP_SPACE_GLOBAL, LAP_SPACE_SCRATCH, LAP_N_SPACES } lap_space;

const char *lap_fn_text(lap_fn fn);
unsigned lap_fn_arity(lap_fn fn);
/* About how many additions one evaluation takes. */
unsigned lap_fn_cost(lap_fn fn);
bool lap_fn_find(const char *text, size_t n, lap_fn *out);
/* Result type of fn on operands of these types. */
lap_dtype lap_fn_type(lap_fn fn, const lap_dtype *operands);

const char *lap_red_text(lap_red r);
const char *lap_mode_text(lap_mode m);
const char *lap_norm_text(lap_norm n);
const char *lap_loop_text(lap_loop_kind k);
const char *lap_space_text(lap_space s);

#endif
