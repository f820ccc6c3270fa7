/* SPDX-License-Identifier: Apache-2.0
 * tensor.h - a dense row-major tensor by reference, and the error every runtime call can give. */
#ifndef LAP_RUNTIME_TENSOR_H
#define LAP_RUNTIME_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/dtype.h"

#define LAP_MAX_RANK 16

typedef struct lap_tensor {
    lap_dtype dtype;
    uint32_t rank;
    int64_t shape[LAP_MAX_RANK];
    void *data; /* not owned; aligned to 64 bytes when the runtime made it */
    size_t n_bytes;
} lap_tensor;

/* Exit codes of the command line (docs: README.md), carried from where the mistake is found. */
typedef enum lap_code {
    LAP_OK = 0,
    LAP_MISMATCH = 1,
    LAP_BAD_INPUT = 2,
    LAP_NO_DEVICE = 3,
    LAP_INTERNAL = 4
} lap_code;
typedef struct lap_fault {
    lap_code code;
    char text[1024];
    char place[256];
} lap_fault;
/* Fills `fault` (may be NULL) and returns false. The text starts in lower case; no place. */
bool lap_fault_set(lap_fault *fault, lap_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with the script's place, "file:line" (NULL or empty: none). */
bool lap_fault_at(lap_fault *fault, lap_code code, const char *place, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* "file:line: error: text", or "error: text" without a place; returns `out`. */
const char *lap_fault_show(const lap_fault *fault, char *out, size_t n);

/* Elements; false on overflow or a negative extent. */
bool lap_tensor_count(const lap_tensor *t, size_t *out);
/* Element i as a number, whatever the type (i64 exactly up to 2^53; use _int for integers). */
double lap_tensor_get(const lap_tensor *t, size_t i);
int64_t lap_tensor_get_int(const lap_tensor *t, size_t i);
/* Rounds `value` to the element type: floats to nearest; integers toward zero, saturating, NaN to 0. */
void lap_tensor_set(lap_tensor *t, size_t i, double value);
/* Keeps the low bits where the type is narrower. */
void lap_tensor_set_int(lap_tensor *t, size_t i, int64_t value);

float lap_f32_from_f16(uint16_t bits);
float lap_f32_from_bf16(uint16_t bits);
uint16_t lap_f16_from_f64(double value); /* to nearest, ties to even; one rounding */
uint16_t lap_bf16_from_f64(double value);

#endif
