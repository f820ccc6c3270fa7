/* SPDX-License-Identifier: Apache-2.0
 * setup.c - opens what the options name. */
#include "frontends/cli/setup.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/compiler/plugin_path.h"

void lap_cli_message(const char *message)
{
    bool is_bare = strncmp(message, "error:", 6) == 0;
    fprintf(stderr, "%s%s\n", is_bare ? "lappet: " : "", message);
}

lap_code lap_setup_failure(lap_setup *s)
{
    lap_cli_message(lap_session_message(s->session));
    return lap_session_code(s->session);
}

void lap_setup_tuning_warn(const lap_setup *s)
{
    const char *text = lap_session_warning(s->session);
    if (*text != '\0') {
        fprintf(stderr, "lappet: warning: %s\n", text);
    }
}

static bool fault(lap_setup *s, const lap_fault *f)
{
    lap_session_fault(s->session, f);
    lap_setup_failure(s);
    return false;
}

static bool ends_with(const char *text, size_t n, const char *suffix)
{
    size_t k = strlen(suffix);
    return n >= k && memcmp(text + n - k, suffix, k) == 0;
}

/* ---- parameters ---------------------------------------------------------------------------- */

static bool read_params(lap_setup *s)
{
    cJSON *object = cJSON_CreateObject();
    bool good = object != NULL;
    for (uint32_t i = 0; i < s->args->n[LAP_OPT_PARAM] && good; i++) {
        size_t n;
        const char *value;
        good = lap_args_pair(LAP_OPT_PARAM, s->args->values[LAP_OPT_PARAM][i], &n, &value);
        if (!good) {
            break;
        }
        lap_ctx *ctx = lap_session_ctx(s->session);
        const char *name = lap_text(ctx, lap_intern_n(ctx, s->args->values[LAP_OPT_PARAM][i], n));
        cJSON *json = cJSON_ParseWithOpts(value, NULL, true);
        if (json == NULL || (cJSON_IsNumber(json) && !isfinite(json->valuedouble))) {
            cJSON_Delete(json);
            json = cJSON_CreateString(value);
        }
        cJSON_DeleteItemFromObjectCaseSensitive(object, name);
        good = json != NULL && cJSON_AddItemToObject(object, name, json);
    }
    char *text = good ? cJSON_PrintUnformatted(object) : NULL;
    cJSON_Delete(object);
    if (text != NULL) {
        s->load.params_json = lap_arena_copy(lap_session_ctx(s->session)->arena, text, strlen(text) + 1);
        cJSON_free(text);
    }
    return good;
}

/* ---- files --------------------------------------------------------------------------------- */

static lap_safetensors *open_file(lap_setup *s, const char *path)
{
    lap_fault f = {0};
    lap_safetensors *file = lap_safetensors_open(path, &f);
    if (file == NULL) {
        fault(s, &f);
        return NULL;
    }
    s->files[s->n_files++] = file;
    return file;
}

static bool add_npy(lap_setup *s, const char *name, const char *path)
{
    lap_fault f = {0};
    lap_npy *array = lap_npy_open(path, &f);
    if (array == NULL) {
        return fault(s, &f);
    }
    s->arrays[s->n_arrays++] = array;
    lap_views_add(lap_session_ctx(s->session), &s->inputs, name, lap_npy_view(array));
    return true;
}

/* NAME=F.safetensors:TENSOR; without :TENSOR the tensor NAME is meant. */
static bool add_member(lap_setup *s, const char *name, const char *path)
{
    const char *mark = strstr(path, ".safetensors:");
    size_t n = mark != NULL ? (size_t)(mark - path) + strlen(".safetensors") : strlen(path);
    lap_ctx *ctx = lap_session_ctx(s->session);
    const char *tensor = mark != NULL ? path + n + 1 : name;
    lap_safetensors *file = open_file(s, lap_arena_printf(ctx->arena, "%.*s", (int)n, path));
    if (file == NULL) {
        return false;
    }
    const lap_tensor_view *view = lap_safetensors_find(file, tensor);
    if (view == NULL) {
        lap_cli_error("%.*s has no tensor '%s'", (int)n, path, tensor);
        return false;
    }
    lap_views_add(ctx, &s->inputs, name, view);
    return true;
}

static bool add_input(lap_setup *s, const char *text)
{
    size_t n = strlen(text);
    const char *value = strchr(text, '=');
    lap_ctx *ctx = lap_session_ctx(s->session);
    if (value == NULL && ends_with(text, n, ".safetensors")) {
        lap_safetensors *file = open_file(s, text);
        if (file != NULL) {
            lap_views_read(ctx, &s->inputs, file, "");
        }
        return file != NULL;
    }
    size_t n_name;
    if (!lap_args_pair(LAP_OPT_IN, text, &n_name, &value)) {
        return false;
    }
    const char *name = lap_text(ctx, lap_intern_n(ctx, text, n_name));
    if (ends_with(text, n, ".npy")) {
        return add_npy(s, name, value);
    }
    if (ends_with(text, n, ".safetensors") || strstr(value, ".safetensors:") != NULL) {
        return add_member(s, name, value);
    }
    lap_cli_error("--in %s: the file is neither .npy nor .safetensors", text);
    return false;
}

static bool read_files(lap_setup *s)
{
    const lap_args *a = s->args;
    s->files = calloc(a->n[LAP_OPT_IN] + 2, sizeof(lap_safetensors *));
    s->arrays = calloc(a->n[LAP_OPT_IN] + 1, sizeof(lap_npy *));
    if (s->files == NULL || s->arrays == NULL) {
        lap_cli_error("out of memory");
        return false;
    }
    for (uint32_t i = 0; i < a->n[LAP_OPT_IN]; i++) {
        if (!add_input(s, a->values[LAP_OPT_IN][i])) {
            return false;
        }
    }
    const char *weights = lap_args_get(a, LAP_OPT_WEIGHTS, NULL);
    if (weights == NULL) {
        return true;
    }
    s->has_weights = true;
    lap_safetensors *file = open_file(s, weights);
    if (file != NULL) {
        lap_views_read(lap_session_ctx(s->session), &s->weights, file, "");
    }
    return file != NULL;
}

static bool load_foreign(lap_setup *s)
{
    for (uint32_t i = 0; i < s->args->n[LAP_OPT_FOREIGN]; i++) {
        lap_fault f = {0};
        if (!lap_foreign_load(&s->foreign, s->args->values[LAP_OPT_FOREIGN][i], &f)) {
            return fault(s, &f);
        }
    }
    s->load.foreign = &s->foreign.table;
    return true;
}

/* ---- other options ------------------------------------------------------------------------- */

static bool read_dims(lap_setup *s)
{
    const lap_args *a = s->args;
    lap_ctx *ctx = lap_session_ctx(s->session);
    s->n_dims = a->n[LAP_OPT_DIM];
    s->dim_names = lap_arena_array(ctx->arena, s->n_dims + 1, sizeof *s->dim_names);
    s->dims = lap_arena_array(ctx->arena, s->n_dims + 1, sizeof *s->dims);
    for (uint32_t i = 0; i < s->n_dims; i++) {
        const char *text = a->values[LAP_OPT_DIM][i], *value;
        size_t n;
        if (!lap_args_pair(LAP_OPT_DIM, text, &n, &value)) {
            return false;
        }
        char *end;
        errno = 0;
        long long size = strtoll(value, &end, 10);
        if (end == value || *end != '\0' || errno != 0 || size < 0) {
            lap_cli_error("--dim %s: the size is not a whole number", text);
            return false;
        }
        s->dim_names[i] = lap_text(ctx, lap_intern_n(ctx, text, n));
        s->dims[i] = size;
    }
    return true;
}

static bool read_choices(lap_setup *s)
{
    static const char *const dtypes[] = {"f32", "bf16", "f16"};
    const char *dtype = lap_args_get(s->args, LAP_OPT_DTYPE, "f32");
    bool known = false;
    for (int i = 0; i < 3; i++) {
        known = known || strcmp(dtype, dtypes[i]) == 0;
    }
    if (!known || !lap_dtype_find(dtype, strlen(dtype), &s->load.dtype)) {
        lap_cli_error("--dtype is f32, bf16 or f16, not '%s'", dtype);
        return false;
    }
    const char *target = lap_args_get(s->args, LAP_OPT_TARGET, "cpu");
    if (!lap_engine_find(target, &s->compile.engine)) {
        lap_cli_error("there is no target '%s'\nhint: targets are cpu, ref, aot and vulkan", target);
        return false;
    }
    int64_t threads;
    if (!lap_args_int(s->args, LAP_OPT_THREADS, 1, 4096, 0, &threads) ||
        !lap_args_int(s->args, LAP_OPT_SEED, INT64_MIN, INT64_MAX, 0, &s->seed)) {
        return false;
    }
    s->compile.n_threads = (uint32_t)threads;
    s->compile.device = lap_args_get(s->args, LAP_OPT_DEVICE, NULL);
    s->compile.cpu = lap_args_get(s->args, LAP_OPT_CPU, NULL);
    s->compile.schedule = lap_args_get(s->args, LAP_OPT_SCHEDULE, NULL);
    s->compile.triple = lap_args_get(s->args, LAP_OPT_TRIPLE, NULL);
    s->tuning = (lap_tuning){s->args->n[LAP_OPT_TUNING], s->args->values[LAP_OPT_TUNING]};
    if (lap_args_has(s->args, LAP_OPT_UNTUNED) && s->tuning.n > 0) {
        lap_cli_error("--tuning is of no use with --no-tuning");
        return false;
    }
    s->compile.tuning = lap_args_has(s->args, LAP_OPT_UNTUNED) ? NULL : &s->tuning;
    return true;
}

static void list_existing(lap_setup *s)
{
    lap_ctx *ctx = lap_session_ctx(s->session);
    uint32_t n_with = s->args->n[LAP_OPT_WITH];
    const char **inputs = lap_arena_array(ctx->arena, s->inputs.n + n_with + 1, sizeof *inputs);
    for (uint32_t i = 0; i < s->inputs.n; i++) {
        inputs[i] = s->inputs.names[i];
    }
    for (uint32_t i = 0; i < n_with; i++) {
        inputs[s->inputs.n + i] = s->args->values[LAP_OPT_WITH][i];
    }
    s->load.inputs = inputs;
    s->load.n_inputs = s->inputs.n + n_with;
    if (s->has_weights) {
        static const char *const none[] = {""};
        s->load.weights = s->weights.n > 0 ? s->weights.names : none;
        s->load.n_weights = s->weights.n;
    }
}

bool lap_setup_init(lap_setup *s, const lap_args *args)
{
    *s = (lap_setup){.args = args, .session = lap_session_new()};
    if (s->session == NULL) {
        lap_cli_error("out of memory");
        return false;
    }
    lap_ctx *ctx = lap_session_ctx(s->session);
    s->load.plugin_path = lap_plugin_path(ctx, &s->load.n_plugin_path);
    s->load.model = args->n_operands > 0 ? args->operands[0] : NULL;
    if (!read_choices(s) || !read_params(s) || !read_dims(s) || !read_files(s) || !load_foreign(s)) {
        return false;
    }
    list_existing(s);
    return true;
}

void lap_setup_free(lap_setup *s)
{
    lap_session_free(s->session);
    for (uint32_t i = 0; i < s->n_files; i++) {
        lap_safetensors_close(s->files[i]);
    }
    for (uint32_t i = 0; i < s->n_arrays; i++) {
        lap_npy_close(s->arrays[i]);
    }
    lap_foreign_unload(&s->foreign);
    free(s->files);
    free(s->arrays);
}

/* Whether the model reads the tensor, by its name or as a member of a family "a.{k}.b". */
static bool is_read(lap_specs weights, const char *name)
{
    for (uint32_t i = 0; i < weights.n; i++) {
        const char *mark = strstr(weights.at[i].name, "{k}");
        if (mark == NULL) {
            if (strcmp(weights.at[i].name, name) == 0) {
                return true;
            }
            continue;
        }
        size_t n = (size_t)(mark - weights.at[i].name);
        size_t digits = strncmp(name, weights.at[i].name, n) == 0 ? strspn(name + n, "0123456789") : 0;
        if (digits > 0 && strcmp(name + n + digits, mark + 3) == 0) {
            return true;
        }
    }
    return false;
}

/* A checkpoint with tensors that nothing reads is often the wrong one, or wrongly named. */
static void warn_of_unread(const lap_setup *s)
{
    lap_specs weights = lap_session_leaves(s->session)->weights;
    uint32_t n_unread = 0;
    const char *first = NULL;
    for (uint32_t i = 0; i < s->weights.n; i++) {
        if (!is_read(weights, s->weights.names[i])) {
            first = first == NULL ? s->weights.names[i] : first;
            n_unread++;
        }
    }
    if (n_unread > 0) {
        fprintf(stderr,
                "lappet: warning: the model does not read %u of the %u tensors of the weights file, such as "
                "'%s'\n",
                n_unread, s->weights.n, first);
    }
}

void lap_setup_warn(lap_setup *s)
{
    const lap_ctx *ctx = lap_session_ctx(s->session);
    for (size_t i = 0; i < lap_warning_count(ctx); i++) {
        lap_cli_message(lap_warning_text(ctx, i));
    }
}

bool lap_setup_load(lap_setup *s)
{
    bool is_loaded = lap_session_load(s->session, &s->load);
    lap_setup_warn(s);
    if (is_loaded) {
        warn_of_unread(s);
        return true;
    }
    lap_setup_failure(s);
    return false;
}

bool lap_setup_fill(lap_setup *s, lap_tensors *inputs, lap_tensors *weights)
{
    lap_fill_options fill = {.inputs = &s->inputs,
                             .weights = &s->weights,
                             .make_inputs = true,
                             .make_weights = !s->has_weights,
                             .seed = (uint64_t)s->seed,
                             .n_dims = s->n_dims,
                             .dim_names = s->dim_names,
                             .dims = s->dims};
    if (lap_session_fill(s->session, &fill, inputs, weights)) {
        return true;
    }
    lap_setup_failure(s);
    return false;
}
