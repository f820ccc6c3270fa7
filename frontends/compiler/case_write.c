/* SPDX-License-Identifier: Apache-2.0
 * case_write.c - keeps a run as a case file, as case.h describes them. */
#include "frontends/compiler/case.h"

#include <string.h>

/* Compiled code sums in another order than the evaluator: what an honest difference of f32 looks like. */
#define RTOL "1e-4"
#define ATOL "1e-5"

/* What several leaves read is one tensor. */
static void add(lap_ctx *ctx, lap_tensors *all, const char *prefix, const char *name, const lap_tensor *t)
{
    const char *whole = lap_arena_printf(ctx->arena, "%s%s", prefix, name);
    if (lap_tensors_find(all, whole) == NULL) {
        lap_tensors_add(ctx, all, whole, t);
    }
}

/* A weight as checkpoints have it: a family "a.{k}.b" is one tensor per number. */
static void add_weight(lap_ctx *ctx, lap_tensors *all, const char *name, const lap_tensor *t)
{
    const char *mark = strstr(name, LAP_FAMILY_MARK);
    if (mark == NULL) {
        add(ctx, all, "w.", name, t);
        return;
    }
    int64_t n = t->shape[0];
    for (int64_t k = 0; k < n; k++) {
        lap_tensor one = {.dtype = t->dtype, .rank = t->rank - 1, .n_bytes = t->n_bytes / (size_t)n};
        memcpy(one.shape, t->shape + 1, one.rank * sizeof *one.shape);
        one.data = (char *)t->data + (size_t)k * one.n_bytes;
        add(ctx, all, "w.",
            lap_arena_printf(ctx->arena, "%.*s%lld%s", (int)(mark - name), name, (long long)k,
                             mark + strlen(LAP_FAMILY_MARK)),
            &one);
    }
}

/* "models/mixer.lua" -> "mixer". */
static const char *slug_of(lap_ctx *ctx, const char *model)
{
    const char *slash = strrchr(model, '/'), *name = slash != NULL ? slash + 1 : model;
    size_t n = strlen(name);
    n -= n > 4 && strcmp(name + n - 4, ".lua") == 0 ? 4 : 0;
    return lap_arena_printf(ctx->arena, "%.*s", (int)n, name);
}

bool lap_case_write(const char *path, lap_session *s, const lap_load_options *load, const lap_case_tensors *t)
{
    lap_ctx *ctx = lap_session_ctx(s);
    const char *slug = slug_of(ctx, load->model);
    if (!lap_model_is_slug(slug, strlen(slug))) {
        return lap_session_fail(s, LAP_BAD_INPUT,
                                "a case names its model by a slug, and '%s' is none\n"
                                "hint: slugs are lower-case letters, digits and underscores", slug);
    }
    lap_tensors all = {0};
    for (uint32_t i = 0; i < t->inputs->n; i++) {
        add(ctx, &all, "in.", t->inputs->names[i], &t->inputs->at[i]);
    }
    for (uint32_t i = 0; i < t->weights->n; i++) {
        add_weight(ctx, &all, t->weights->names[i], &t->weights->at[i]);
    }
    for (uint32_t i = 0; i < t->outputs->n; i++) {
        add(ctx, &all, "out.", t->outputs->names[i], &t->outputs->at[i]);
    }
    const char *params = lap_model_built_with(lap_session_model(s));
    const char *meta[] = {"pattern", slug,   "params", params,       "rtol",              RTOL,
                          "atol",    ATOL,   "provenance", "lappet run --case", NULL};
    lap_fault fault = {0};
    bool written = lap_safetensors_write(path, all.n, all.names, all.at, meta, &fault);
    return written || lap_session_fault(s, &fault);
}
