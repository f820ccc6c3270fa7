/* SPDX-License-Identifier: Apache-2.0
 * ops.c - two operations for g:foreign: running sums along an axis, and the counts of each value.
 *
 * Needs nothing of lappet but foreign.h:
 *   cc -O2 -shared -fPIC -I DIRECTORY_OF_LAPPET ops.c -o ops.so */
#include <stdio.h>

#include "runtime/foreign.h"

static int64_t count(const lap_foreign_tensor *t, uint32_t first, uint32_t end)
{
    int64_t n = 1;
    for (uint32_t i = first; i < end; i++) {
        n *= t->dims[i];
    }
    return n;
}

/* ---- sums: f32 [.., n] -> f32 [.., n], y[i] = x[0] + .. + x[i] */

static int sums_shape(void *user, const lap_foreign_tensor *in, const lap_foreign_tensor *out, char *message,
                      size_t n_message)
{
    (void)user;
    if (in->dtype != LAP_FOREIGN_F32 || out->dtype != LAP_FOREIGN_F32 || in->rank == 0 ||
        in->rank != out->rank) {
        snprintf(message, n_message, "takes and gives f32 tensors of the same axes");
        return 1;
    }
    for (uint32_t i = 0; i < in->rank; i++) {
        if (in->dims[i] != out->dims[i]) {
            snprintf(message, n_message, "axis %u has %lld elements in and %lld out", i,
                     (long long)in->dims[i], (long long)out->dims[i]);
            return 1;
        }
    }
    return 0;
}

/* In double precision, as a reference should be. */
static int sums_reference(void *user, const lap_foreign_tensor *in, const lap_foreign_tensor *out,
                          char *message, size_t n_message)
{
    (void)user, (void)message, (void)n_message;
    int64_t rows = count(in, 0, in->rank - 1), n = in->dims[in->rank - 1];
    const float *x = in->data;
    float *y = out->data;
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) {
            sum += x[r * n + i];
            y[r * n + i] = (float)sum;
        }
    }
    return 0;
}

static int sums_cpu(void *user, const lap_foreign_tensor *in, const lap_foreign_tensor *out, char *message,
                    size_t n_message)
{
    (void)user, (void)message, (void)n_message;
    int64_t rows = count(in, 0, in->rank - 1), n = in->dims[in->rank - 1];
    const float *x = in->data;
    float *y = out->data;
    for (int64_t r = 0; r < rows; r++, x += n, y += n) {
        float sum = 0;
        for (int64_t i = 0; i < n; i++) {
            y[i] = sum += x[i];
        }
    }
    return 0;
}

/* ---- counts: i64 [n] -> counts i64 [k], total i64 []. Results come in the order of their names. */

static int counts_reference(void *user, const lap_foreign_tensor *in, const lap_foreign_tensor *out,
                            char *message, size_t n_message)
{
    (void)user;
    int64_t n = count(in, 0, in->rank), k = out[0].dtype == LAP_FOREIGN_UNREAD ? 0 : out[0].dims[0];
    const int64_t *x = in->data;
    int64_t *counts = out[0].data, *total = out[1].data;
    for (int64_t i = 0; i < k; i++) {
        counts[i] = 0;
    }
    for (int64_t i = 0; counts && i < n; i++) {
        if (x[i] < 0 || x[i] >= k) {
            snprintf(message, n_message, "element %lld is %lld, and there are %lld counts", (long long)i,
                     (long long)x[i], (long long)k);
            return 1;
        }
        counts[x[i]]++;
    }
    if (total) {
        *total = n;
    }
    return 0;
}

static int counts_shape(void *user, const lap_foreign_tensor *in, const lap_foreign_tensor *out,
                        char *message, size_t n_message)
{
    (void)user;
    for (int i = 0; i < 2; i++) {
        if (in->dtype != LAP_FOREIGN_I64 ||
            (out[i].dtype != LAP_FOREIGN_UNREAD &&
             (out[i].dtype != LAP_FOREIGN_I64 || out[i].rank != (i == 0 ? 1u : 0u)))) {
            snprintf(message, n_message, "takes integers, gives counts over one axis and their total");
            return 1;
        }
    }
    return 0;
}

const lap_foreign_op *const *lap_foreign_ops(void)
{
    static const lap_foreign_op sums = {
        .struct_size = sizeof sums,
        .version = LAP_FOREIGN_VERSION,
        .name = "sums",
        .n_inputs = 1,
        .n_outputs = 1,
        .shape = sums_shape,
        .reference = sums_reference,
        .cpu = sums_cpu,
    };
    static const lap_foreign_op counts = {
        .struct_size = sizeof counts,
        .version = LAP_FOREIGN_VERSION,
        .name = "counts",
        .n_inputs = 1,
        .n_outputs = 2,
        .shape = counts_shape,
        .reference = counts_reference,
    };
    static const lap_foreign_op *const all[] = {&sums, &counts, NULL};
    return all;
}
