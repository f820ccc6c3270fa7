/* SPDX-License-Identifier: Apache-2.0
 * build.c - an ahead-of-time build from start to end: compile each level, link, write the header,
 * and only then give the results their names. */
#include "codegen/aot/aot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codegen/aot/parts.h"

static const char *const kind_texts[LAP_N_AOT_KINDS] = {"exe", "shared", "static", "object"};

const char *lap_aot_kind_text(lap_aot_kind kind) { return kind_texts[kind]; }

bool lap_aot_kind_find(const char *text, lap_aot_kind *out)
{
    for (int i = 0; i < LAP_N_AOT_KINDS; i++) {
        if (strcmp(text, kind_texts[i]) == 0) {
            *out = (lap_aot_kind)i;
            return true;
        }
    }
    return false;
}

typedef struct build {
    const lap_aot_options *options;
    lap_ctx *ctx;
    char scratch[LAP_AOT_PATH];
    const char *arch, *runtime;
    const char **objects;
    lap_fault *fault;
} build;

static const char *in_scratch(const build *b, const char *name)
{
    return lap_arena_printf(b->ctx->arena, "%s/%s", b->scratch, name);
}

static bool write_object(build *b, uint32_t i, char *bytes, size_t n)
{
    b->objects[i] = in_scratch(b, lap_arena_printf(b->ctx->arena, "part%u.o", i));
    bool good = lap_scratch_write(b->objects[i], bytes, n, b->fault);
    free(bytes);
    return good;
}

static bool goes_on(const build *b)
{
    bool stopped = b->options->interrupted != NULL && *b->options->interrupted != 0;
    return !stopped || lap_fault_set(b->fault, LAP_BAD_INPUT, "interrupted");
}

static bool compile(build *b)
{
    const lap_aot_options *o = b->options;
    b->objects = lap_arena_array(b->ctx->arena, o->n_levels + 1, sizeof *b->objects);
    for (uint32_t i = 0; i <= o->n_levels; i++) {
        char prefix[32];
        char *bytes = NULL;
        size_t n;
        lap_aot_prefix(i, prefix);
        bool good = i == o->n_levels ? lap_aot_table(o, &bytes, &n, b->fault)
                                     : lap_llvm_emit(o->levels[i].program, o->levels[i].machine, prefix,
                                                     LAP_EMIT_OBJECT, &bytes, &n, b->fault);
        if (!good || !write_object(b, i, bytes, n) || !goes_on(b)) {
            return false;
        }
    }
    return true;
}

static bool write_header(build *b, const char *path)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        return lap_fault_set(b->fault, LAP_BAD_INPUT, "cannot write '%s': %s", path, strerror(errno));
    }
    lap_aot_header(b->options, file);
    bool good = !ferror(file);
    good = fclose(file) == 0 && good;
    return good || lap_fault_set(b->fault, LAP_BAD_INPUT, "cannot write '%s': %s", path, strerror(errno));
}

static bool place(const build *b, const char *from, char *to, const char *before, const char *after)
{
    int n = snprintf(to, LAP_AOT_PATH, "%s/%s%s%s", b->options->folder, before, b->options->name, after);
    if (n < 0 || n >= LAP_AOT_PATH) {
        return lap_fault_set(b->fault, LAP_BAD_INPUT, "the path '%s' is too long", b->options->folder);
    }
    return rename(from, to) == 0 ||
           lap_fault_set(b->fault, LAP_BAD_INPUT, "cannot write '%s': %s", to, strerror(errno));
}

static bool make(build *b, lap_aot_result *out)
{
    static const char *const before[LAP_N_AOT_KINDS] = {"", "lib", "lib", ""};
    static const char *const after[LAP_N_AOT_KINDS] = {"", ".so", ".a", ".o"};
    const lap_aot_options *o = b->options;
    const char *artefact = in_scratch(b, "artefact"), *header = in_scratch(b, "header.h");
    if (!compile(b)) {
        return false;
    }
    lap_aot_link link = {.options = o,
                         .arch = b->arch,
                         .scratch = b->scratch,
                         .runtime = b->runtime,
                         .n_objects = o->n_levels + 1,
                         .objects = b->objects};
    return lap_aot_link_artefact(b->ctx, &link, artefact, b->fault) && write_header(b, header) &&
           goes_on(b) && place(b, artefact, out->artefact, before[o->kind], after[o->kind]) &&
           place(b, header, out->header, "", ".h");
}

static bool find_runtime(build *b)
{
    const char *triple = lap_machine_triple(lap_aot_machine(b->options));
    b->arch = lap_arena_printf(b->ctx->arena, "%.*s", (int)strcspn(triple, "-"), triple);
    if (strstr(triple, "linux") == NULL) {
        return lap_fault_set(b->fault, LAP_NO_DEVICE, "artefacts are made for Linux, not for '%s'", triple);
    }
    b->runtime = lap_arena_printf(b->ctx->arena, "%s/%s-linux-gnu", b->options->runtime, b->arch);
    if (access(lap_arena_printf(b->ctx->arena, "%s/liblappet_rt.a", b->runtime), R_OK) != 0) {
        return lap_fault_set(
            b->fault, LAP_NO_DEVICE,
            "this lappet has no runtime for '%s'\nhint: it is looked for in %s; building lappet where "
            "a cross compiler is installed makes it",
            b->arch, b->runtime);
    }
    return true;
}

/* Artefacts stand alone: they load no libraries. */
static bool calls_nothing(const lap_program *p, uint32_t n, const lap_step *steps, lap_fault *fault)
{
    for (uint32_t i = 0; i < n; i++) {
        const lap_step *s = &steps[i];
        if (s->kind == LAP_STEP_FOREIGN) {
            return lap_fault_at(
                fault, LAP_NO_DEVICE, lap_loc_show(p->ctx, s->foreign->loc),
                "an artefact cannot call the foreign operation '%s'\nhint: 'lappet run --foreign' can",
                lap_text(p->ctx, s->foreign->name));
        }
        if (!calls_nothing(p, s->n_body, s->body, fault) || !calls_nothing(p, s->n_other, s->other, fault)) {
            return false;
        }
    }
    return true;
}

bool lap_aot_build(const lap_aot_options *options, lap_aot_result *out, lap_fault *fault)
{
    build b = {.options = options, .ctx = lap_aot_program(options)->ctx, .fault = fault};
    const lap_program *program = lap_aot_program(options);
    if (!calls_nothing(program, program->n_steps, program->steps, fault) || !find_runtime(&b)) {
        return false;
    }
    if (mkdir(options->folder, 0777) != 0 && errno != EEXIST) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "cannot make the folder '%s': %s", options->folder,
                             strerror(errno));
    }
    if (!lap_scratch_new(options->folder, b.scratch, fault)) {
        return false;
    }
    bool good = make(&b, out);
    lap_scratch_remove(b.scratch);
    return good;
}
