/* SPDX-License-Identifier: Apache-2.0
 * tensor_text.c - tensors from and to text, and their comparison. */
#include "tests/support/tensor_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void wrong(const char *text, const char *what)
{
    fprintf(stderr, "tensor text '%s': %s\n", text, what);
    abort();
}

lap_tensor test_tensor_new(lap_arena *arena, lap_dtype dtype, uint32_t rank, const int64_t *shape)
{
    lap_tensor t = {.dtype = dtype, .rank = rank};
    size_t n;
    for (uint32_t i = 0; i < rank; i++) {
        t.shape[i] = shape[i];
    }
    if (rank > LAP_MAX_RANK || !lap_tensor_count(&t, &n) || !lap_dtype_bytes(dtype, n, &t.n_bytes)) {
        wrong("", "too large");
    }
    char *bytes = lap_arena_alloc(arena, t.n_bytes + 128);
    t.data = bytes + (64 - (uintptr_t)bytes % 64);
    return t;
}

/* One tensor from [text, end). */
static lap_tensor read_tensor(lap_arena *arena, const char *text, const char *end, const char **out_name)
{
    text += strspn(text, " \n");
    size_t name = strcspn(text, " ");
    *out_name = lap_arena_printf(arena, "%.*s", (int)name, text);
    const char *at = text + name + 1;
    size_t type = strcspn(at, "[");
    lap_dtype dtype;
    if (!lap_dtype_find(at, type, &dtype)) {
        wrong(text, "no such element type");
    }
    int64_t shape[LAP_MAX_RANK];
    uint32_t rank = 0;
    char *next;
    for (at += type + 1; *(at += strspn(at, " ")) != ']'; at = next) {
        shape[rank++] = strtoll(at, &next, 10);
        if (next == at || rank == LAP_MAX_RANK) {
            wrong(text, "a shape looks like [2 3]");
        }
    }
    lap_tensor t = test_tensor_new(arena, dtype, rank, shape);
    size_t n;
    lap_tensor_count(&t, &n);
    at++;
    for (size_t i = 0; i < n && (at += strspn(at, " \n")) < end; i++, at = next) {
        if (lap_dtype_compute(dtype) == LAP_F32) {
            lap_tensor_set(&t, i, strtod(at, &next));
        } else {
            lap_tensor_set_int(&t, i, strtoll(at, &next, 10));
        }
        if (next == at) {
            wrong(text, "expected a number");
        }
    }
    return t;
}

lap_eval_io test_tensors(lap_arena *arena, const char *text)
{
    size_t n = 1;
    for (const char *c = text; *c; c++) {
        n += *c == ';';
    }
    const char **names = lap_arena_array(arena, n, sizeof *names);
    lap_tensor *tensors = lap_arena_array(arena, n, sizeof *tensors);
    uint32_t count = 0;
    for (const char *at = text; *(at += strspn(at, " \n;"));) {
        const char *end = at + strcspn(at, ";");
        tensors[count] = read_tensor(arena, at, end, &names[count]);
        count++;
        at = end;
    }
    return (lap_eval_io){.n = count, .names = names, .tensors = tensors};
}

const char *test_tensor_show(lap_arena *arena, const lap_tensor *t)
{
    const char *out = lap_arena_printf(arena, "%s[", lap_dtype_text(t->dtype));
    for (uint32_t i = 0; i < t->rank; i++) {
        out = lap_arena_printf(arena, "%s%s%lld", out, i ? " " : "", (long long)t->shape[i]);
    }
    out = lap_arena_printf(arena, "%s]", out);
    size_t n = 0;
    lap_tensor_count(t, &n);
    for (size_t i = 0; i < n && i < 64; i++) {
        if (lap_dtype_compute(t->dtype) == LAP_F32) {
            out = lap_arena_printf(arena, "%s %.9g", out, lap_tensor_get(t, i));
        } else {
            out = lap_arena_printf(arena, "%s %lld", out, (long long)lap_tensor_get_int(t, i));
        }
    }
    return n > 64 ? lap_arena_printf(arena, "%s ..", out) : out;
}

static bool close_floats(double a, double b, double rtol, double atol)
{
    if (isnan(a) || isnan(b)) {
        return isnan(a) && isnan(b);
    }
    return isinf(a) || isinf(b) ? a == b : fabs(a - b) <= atol + rtol * fabs(b);
}

bool test_tensor_close(lap_arena *arena, const lap_tensor *a, const lap_tensor *b, double rtol, double atol,
                       const char **out_why)
{
    bool same = a->dtype == b->dtype && a->rank == b->rank;
    for (uint32_t i = 0; same && i < a->rank; i++) {
        same = a->shape[i] == b->shape[i];
    }
    size_t n = 0;
    if (!same || !lap_tensor_count(b, &n)) {
        *out_why = lap_arena_printf(arena, "%s, expected %s", test_tensor_show(arena, a),
                                    test_tensor_show(arena, b));
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        bool is_float = lap_dtype_compute(a->dtype) == LAP_F32;
        double x = lap_tensor_get(a, i), y = lap_tensor_get(b, i);
        if (is_float ? !close_floats(x, y, rtol, atol)
                     : lap_tensor_get_int(a, i) != lap_tensor_get_int(b, i)) {
            *out_why = lap_arena_printf(arena, "element %zu is %.9g, expected %.9g, in %s", i, x, y,
                                        test_tensor_show(arena, a));
            return false;
        }
    }
    return true;
}
