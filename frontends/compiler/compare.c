/* SPDX-License-Identifier: Apache-2.0
 * compare.c - elementwise comparison of tensors. */
#include "frontends/compiler/compare.h"

#include <math.h>
#include <string.h>

/* An infinity has no neighbourhood: relative to it everything would be close. */
static bool is_close(double got, double want, lap_tolerance t)
{
    return got == want || (isfinite(want) && fabs(got - want) <= t.atol + t.rtol * fabs(want));
}

static const char *place(lap_ctx *ctx, const lap_tensor *t, size_t i)
{
    int64_t index[LAP_MAX_RANK];
    for (uint32_t k = t->rank; k-- > 0;) {
        index[k] = (int64_t)(i % (size_t)t->shape[k]);
        i /= (size_t)t->shape[k];
    }
    return lap_shape_show(ctx, t->rank, index);
}

typedef struct finding {
    size_t n_wrong, worst;
    double excess;
} finding;

static void note(finding *f, size_t i, double excess)
{
    if (f->n_wrong++ == 0 || excess > f->excess) {
        f->worst = i;
        f->excess = excess;
    }
}

static finding compare_integers(const lap_tensor *got, const lap_tensor *want, size_t n)
{
    finding f = {0};
    for (size_t i = 0; i < n; i++) {
        int64_t a = lap_tensor_get_int(got, i), b = lap_tensor_get_int(want, i);
        if (a != b) {
            note(&f, i, fabs((double)a - (double)b));
        }
    }
    return f;
}

static finding compare_floats(const lap_tensor *got, const lap_tensor *want, size_t n, lap_tolerance t)
{
    finding f = {0};
    for (size_t i = 0; i < n; i++) {
        double a = lap_tensor_get(got, i), b = lap_tensor_get(want, i);
        if (!is_close(a, b, t)) {
            double excess = fabs(a - b) - t.rtol * fabs(b);
            note(&f, i, isnan(excess) ? INFINITY : excess);
        }
    }
    return f;
}

const char *lap_tensor_difference(lap_ctx *ctx, const char *name, const lap_tensor *got,
                                  const lap_tensor *want, lap_tolerance tolerance)
{
    if (got->rank != want->rank || memcmp(got->shape, want->shape, got->rank * sizeof got->shape[0]) != 0) {
        return lap_arena_printf(ctx->arena, "output '%s' is %s, expected %s", name,
                                lap_shape_show(ctx, got->rank, got->shape),
                                lap_shape_show(ctx, want->rank, want->shape));
    }
    size_t n;
    if (!lap_tensor_count(want, &n)) {
        return lap_arena_printf(ctx->arena, "output '%s' is too large", name);
    }
    bool is_integer = lap_dtype_compute(got->dtype) != LAP_F32 && lap_dtype_compute(want->dtype) != LAP_F32;
    finding f = is_integer ? compare_integers(got, want, n) : compare_floats(got, want, n, tolerance);
    if (f.n_wrong == 0) {
        return NULL;
    }
    return lap_arena_printf(
        ctx->arena, "output '%s': %zu of %zu elements differ, most at %s: got %.9g, expected %.9g", name,
        f.n_wrong, n, place(ctx, want, f.worst), lap_tensor_get(got, f.worst), lap_tensor_get(want, f.worst));
}
