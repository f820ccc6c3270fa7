/* SPDX-License-Identifier: Apache-2.0
 * cmd_build.c - lappet build: an ahead-of-time artefact and its header. */
#include <stdlib.h>
#include <string.h>

#include "codegen/aot/aot.h"
#include "codegen/spirv/spirv.h"
#include "frontends/cli/document.h"
#include "frontends/cli/interrupt.h"
#include "frontends/cli/setup.h"
#include "frontends/compiler/plugin_path.h"
#include "runtime/file.h"

enum { MAX_LEVELS = 8 };

/* One session per processor and width of devices: each has a graph and a program of its own. */
typedef struct levels {
    uint32_t n_setups, n, n_tiers;
    lap_setup setups[MAX_LEVELS + LAP_N_VK_TARGETS];
    lap_aot_level at[MAX_LEVELS];
    lap_aot_tier tiers[LAP_N_VK_TARGETS];
    lap_machine *platform;
} levels;

/* Lowered for the processor, or for the tier where one is given. */
static lap_code add_setup(levels *l, const lap_args *args, const char *cpu, const lap_target *tier)
{
    lap_setup *s = &l->setups[l->n_setups++];
    if (!lap_setup_init(s, args)) {
        return LAP_BAD_INPUT;
    }
    s->compile.engine = tier != NULL ? LAP_ENGINE_VULKAN : LAP_ENGINE_AOT;
    s->compile.tier = tier;
    s->compile.cpu = cpu != NULL ? lap_arena_printf(lap_session_ctx(s->session)->arena, "%s", cpu) : NULL;
    bool is_first = l->n_setups == 1;
    if (is_first && !lap_setup_load(s)) {
        return lap_session_code(s->session);
    }
    if (!is_first && !lap_session_load(s->session, &s->load)) {
        return lap_setup_failure(s);
    }
    lap_session_guess_sizes(s->session);
    if (!lap_session_lower(s->session, &s->compile)) {
        return lap_setup_failure(s);
    }
    lap_setup_tuning_warn(s);
    return LAP_OK;
}

static lap_code add_level(levels *l, const lap_args *args, const char *cpu)
{
    lap_code code = add_setup(l, args, cpu, NULL);
    if (code == LAP_OK) {
        lap_session *s = l->setups[l->n_setups - 1].session;
        l->at[l->n++] = (lap_aot_level){lap_session_program(s), lap_session_machine(s)};
    }
    return code;
}

static lap_code add_tiers(levels *l, const lap_args *args)
{
    lap_code code = LAP_OK;
    for (uint32_t i = 0; i < LAP_N_VK_TARGETS && code == LAP_OK; i++) {
        uint32_t least;
        const lap_target *target = lap_vk_target_at(i, &least);
        code = add_setup(l, args, NULL, target);
        if (code == LAP_OK) {
            l->tiers[l->n_tiers++] =
                (lap_aot_tier){lap_session_program(l->setups[l->n_setups - 1].session), target, least};
        }
    }
    return code;
}

/* The most demanding processor first: the first level that a machine can run is taken. */
static int by_demand(const void *a, const void *b)
{
    const lap_target *x = lap_machine_target(((const lap_aot_level *)a)->machine);
    const lap_target *y = lap_machine_target(((const lap_aot_level *)b)->machine);
    return x->vector_f32 != y->vector_f32 ? (x->vector_f32 < y->vector_f32 ? 1 : -1)
                                          : strcmp(y->name, x->name);
}

static lap_code add_levels(levels *l, const lap_args *args)
{
    const char *list = lap_args_get(args, LAP_OPT_CPU, NULL);
    if (list == NULL || *list == '\0') {
        return add_level(l, args, NULL);
    }
    while (*list != '\0') {
        char cpu[64];
        size_t n = strcspn(list, ",");
        if (l->n == MAX_LEVELS || n == 0 || n >= sizeof cpu) {
            lap_cli_error("--cpu takes up to %d processors separated by ','", MAX_LEVELS);
            return LAP_BAD_INPUT;
        }
        memcpy(cpu, list, n);
        cpu[n] = '\0';
        lap_code code = add_level(l, args, cpu);
        if (code != LAP_OK) {
            return code;
        }
        list += n + (list[n] == ',');
    }
    qsort(l->at, l->n, sizeof l->at[0], by_demand);
    return LAP_OK;
}

/* Which targets the artefact is for. The sessions are told by their engine. */
static bool read_targets(lap_args *args, bool *out_cpu, bool *out_vulkan)
{
    const char *list = lap_args_get(args, LAP_OPT_TARGET, "cpu");
    static const char *const texts[] = {"cpu", "vulkan", "cpu,vulkan", "vulkan,cpu"};
    size_t i = 0;
    while (i < sizeof texts / sizeof texts[0] && strcmp(list, texts[i]) != 0) {
        i++;
    }
    if (i == sizeof texts / sizeof texts[0]) {
        lap_cli_error("--target of 'build' is cpu, vulkan or cpu,vulkan, not '%.100s'", list);
        return false;
    }
    *out_cpu = i != 1;
    *out_vulkan = i != 0;
    args->n[LAP_OPT_TARGET] = 0;
    if (!*out_cpu && lap_args_has(args, LAP_OPT_CPU)) {
        lap_cli_error("--cpu is of no use with --target vulkan");
        return false;
    }
    return true;
}

static lap_code add_programs(levels *l, const lap_args *args, bool for_cpu, bool for_vulkan)
{
    lap_code code = for_cpu ? add_levels(l, args) : LAP_OK;
    if (code != LAP_OK || !for_vulkan) {
        return code;
    }
    lap_fault fault = {0};
    const char *triple = lap_args_get(args, LAP_OPT_TRIPLE, NULL);
    l->platform = for_cpu ? NULL : lap_machine_new(triple, NULL, &fault);
    if (!for_cpu && l->platform == NULL) {
        lap_cli_error("%s", fault.text);
        return fault.code;
    }
    return add_tiers(l, args);
}

/* The name given, which is to be an identifier of C; else the model's own, without folder and ending, made
 * one. NULL after saying what is wrong. */
static const char *artefact_name(lap_ctx *ctx, const lap_args *args)
{
    const char *given = lap_args_get(args, LAP_OPT_NAME, NULL);
    if (given != NULL) {
        const char *name = lap_aot_identifier(ctx, given);
        if (strcmp(name, given) != 0) {
            lap_cli_error("--name %.100s: not a name that C can use\nhint: such as '%.100s'", given, name);
            return NULL;
        }
        return name;
    }
    const char *slash = strrchr(args->operands[0], '/');
    const char *base = slash != NULL ? slash + 1 : args->operands[0];
    size_t n = strlen(base);
    bool is_script = n > 4 && strcmp(base + n - 4, ".lua") == 0;
    return lap_aot_identifier(ctx, lap_arena_printf(ctx->arena, "%.*s", (int)(is_script ? n - 4 : n), base));
}

static void report(const lap_args *args, const lap_aot_options *o, const lap_aot_result *r)
{
    if (!lap_args_has(args, LAP_OPT_JSON)) {
        printf("%s\n%s\n", r->artefact, r->header);
        return;
    }
    cJSON *d = cJSON_CreateObject();
    lap_document_text(d, "name", o->name);
    lap_document_text(d, "kind", lap_aot_kind_text(o->kind));
    lap_document_text(d, "artefact", r->artefact);
    lap_document_text(d, "header", r->header);
    lap_document_text(d, "triple", lap_machine_triple(o->n_levels > 0 ? o->levels[0].machine : o->platform));
    cJSON *targets = cJSON_AddArrayToObject(d, "targets");
    if (o->n_levels > 0) {
        cJSON_AddItemToArray(targets, cJSON_CreateString("cpu"));
    }
    if (o->n_tiers > 0) {
        cJSON_AddItemToArray(targets, cJSON_CreateString("vulkan"));
    }
    cJSON *cpus = cJSON_AddArrayToObject(d, "cpus");
    for (uint32_t i = 0; i < o->n_levels; i++) {
        cJSON_AddItemToArray(cpus, cJSON_CreateString(lap_machine_cpu(o->levels[i].machine)));
    }
    lap_document_print(d);
}

static bool build_interruptibly(lap_aot_options *o, lap_aot_result *out, lap_fault *fault)
{
    lap_interrupts old;
    o->interrupted = lap_interrupts_catch(&old);
    bool built = lap_aot_build(o, out, fault);
    lap_interrupts_restore(&old);
    return built;
}

static lap_code build(levels *l, const lap_args *args, lap_aot_options *o)
{
    lap_fault fault = {0};
    lap_mapping weights = {0};
    lap_session *s = l->setups[0].session;
    const char *path = lap_args_get(args, LAP_OPT_WEIGHTS, NULL);
    if (lap_args_has(args, LAP_OPT_EMBED)) {
        if (path == NULL) {
            lap_cli_error("--embed-weights needs --weights FILE");
            return LAP_BAD_INPUT;
        }
        if (!lap_file_read(path, &weights, &fault)) {
            lap_session_fault(s, &fault);
            return lap_setup_failure(&l->setups[0]);
        }
        o->weights = weights.bytes;
        o->n_weights = weights.n;
    }
    lap_aot_result result;
    bool built = build_interruptibly(o, &result, &fault);
    lap_file_unmap(&weights);
    if (!built) {
        lap_session_fault(s, &fault);
        return lap_setup_failure(&l->setups[0]);
    }
    report(args, o, &result);
    return LAP_OK;
}

lap_code lap_cmd_build(const lap_args *args)
{
    lap_aot_options o = {.folder = lap_args_get(args, LAP_OPT_OUTPUT, NULL)};
    const char *kind = lap_args_get(args, LAP_OPT_KIND, "shared");
    if (o.folder == NULL) {
        lap_cli_error("'build' needs -o DIR, the folder to write to");
        return LAP_BAD_INPUT;
    }
    if (!lap_aot_kind_find(kind, &o.kind)) {
        lap_cli_error("--kind is exe, shared, static or object, not '%s'", kind);
        return LAP_BAD_INPUT;
    }
    levels l = {0};
    lap_args of_sessions = *args;
    bool for_cpu, for_vulkan;
    if (!read_targets(&of_sessions, &for_cpu, &for_vulkan)) {
        return LAP_BAD_INPUT;
    }
    lap_code code = add_programs(&l, &of_sessions, for_cpu, for_vulkan);
    if (code == LAP_OK) {
        lap_session *s = l.setups[0].session;
        o.name = artefact_name(lap_session_ctx(s), args);
        o.doc = lap_model_doc(lap_session_model(s));
        o.runtime = lap_runtime_folder(lap_session_ctx(s));
        o.n_levels = l.n;
        o.levels = l.at;
        o.n_tiers = l.n_tiers;
        o.tiers = l.tiers;
        o.platform = l.platform;
        code = o.name != NULL ? build(&l, args, &o) : LAP_BAD_INPUT;
    }
    for (uint32_t i = 0; i < l.n_setups; i++) {
        lap_setup_free(&l.setups[i]);
    }
    lap_machine_free(l.platform);
    return code;
}
