/* SPDX-License-Identifier: Apache-2.0
 * link.c - one object of code, tables and runtime, and the artefact made of it.
 *
 * A relocatable link joins everything; then all symbols but the model's functions become local and
 * those take the model's name. Libraries and programs are linked by the system's C compiler driver,
 * which knows where libc is. */
#include <stdlib.h>
#include <string.h>

#include "codegen/aot/parts.h"

const char *const lap_aot_functions[] = {"open",  "open_on", "run",    "close",
                                         "error", "threads", "device", "version"};
const uint32_t lap_aot_n_functions = sizeof lap_aot_functions / sizeof lap_aot_functions[0];

enum { MAX_ARGS = 48 };
typedef struct arg_list {
    const char *at[MAX_ARGS];
    uint32_t n;
} arg_list;

static void add(arg_list *a, const char *arg)
{
    LAP_ENSURE(a->n + 1 < MAX_ARGS);
    a->at[a->n++] = arg;
}

/* Tools of the architecture first: the host's own ones are found by their bare names. */
static bool is_host(const char *arch)
{
#if defined __x86_64__
    return strcmp(arch, "x86_64") == 0;
#elif defined __aarch64__
    return strcmp(arch, "aarch64") == 0;
#else
    return false;
#endif
}

static bool join(lap_ctx *ctx, const lap_aot_link *l, const char *out, lap_fault *fault)
{
    const char *tools =
        is_host(l->arch) ? "%s-linux-gnu-ld ld ld.lld-19 ld.lld" : "%s-linux-gnu-ld ld.lld-19 ld.lld";
    arg_list a = {0};
    add(&a, "-r");
    add(&a, "-o");
    add(&a, out);
    for (uint32_t i = 0; i < lap_aot_n_functions; i++) {
        add(&a, "-u");
        add(&a, lap_arena_printf(ctx->arena, "lap_model_%s", lap_aot_functions[i]));
    }
    for (uint32_t i = 0; i < l->n_objects; i++) {
        add(&a, l->objects[i]);
    }
    add(&a, lap_arena_printf(ctx->arena, "%s/liblappet_rt.a", l->runtime));
    return lap_aot_tool("linker", tools, l->arch, a.at, fault);
}

/* Tools differ in whether they keep symbols by their old or their new names: both are said. */
static bool name_symbols(lap_ctx *ctx, const lap_aot_link *l, const char *object, lap_fault *fault)
{
    const char *tools = is_host(l->arch) ? "%s-linux-gnu-objcopy objcopy llvm-objcopy-19 llvm-objcopy"
                                         : "%s-linux-gnu-objcopy llvm-objcopy-19 llvm-objcopy";
    arg_list a = {0};
    for (uint32_t i = 0; i < lap_aot_n_functions; i++) {
        const char *f = lap_aot_functions[i], *name = l->options->name;
        add(&a, lap_arena_printf(ctx->arena, "--keep-global-symbol=lap_model_%s", f));
        add(&a, lap_arena_printf(ctx->arena, "--keep-global-symbol=%s_%s", name, f));
        add(&a, lap_arena_printf(ctx->arena, "--redefine-sym=lap_model_%s=%s_%s", f, name, f));
    }
    add(&a, object);
    return lap_aot_tool("objcopy", tools, l->arch, a.at, fault);
}

static bool drive(const lap_aot_link *l, const char *const *args, lap_fault *fault)
{
    const char *tools =
        is_host(l->arch) ? "cc gcc clang clang-19 %s-linux-gnu-gcc" : "%s-linux-gnu-gcc %s-linux-gnu-clang";
    return lap_aot_tool("C compiler driver (for linking)", tools, l->arch, args, fault);
}

static bool link_shared(lap_ctx *ctx, const lap_aot_link *l, const char *object, const char *out,
                        lap_fault *fault)
{
    const char *soname = lap_arena_printf(ctx->arena, "-Wl,-soname,lib%s.so", l->options->name);
    const char *args[] = {
        "-shared", "-o",        out,    soname, "-Wl,--no-undefined", "-Wl,--as-needed", object,
        "-lm",     "-lpthread", "-ldl", NULL};
    return drive(l, args, fault);
}

static bool link_exe(lap_ctx *ctx, const lap_aot_link *l, const char *object, const char *out,
                     lap_fault *fault)
{
    const char *start = lap_arena_printf(ctx->arena, "%s/lappet_main.o", l->runtime);
    const char *archive = lap_arena_printf(ctx->arena, "%s/liblappet_rt.a", l->runtime);
    const char *args[] = {"-pie",      "-o",   out, "-Wl,--as-needed", start, object, archive, "-lm",
                          "-lpthread", "-ldl", NULL};
    return drive(l, args, fault);
}

static bool make_archive(lap_ctx *ctx, const lap_aot_link *l, const char *object, const char *out,
                         lap_fault *fault)
{
    const char **symbols = lap_arena_array(ctx->arena, lap_aot_n_functions, sizeof *symbols);
    for (uint32_t i = 0; i < lap_aot_n_functions; i++) {
        symbols[i] = lap_arena_printf(ctx->arena, "%s_%s", l->options->name, lap_aot_functions[i]);
    }
    char *bytes = NULL, *archive = NULL;
    size_t n, n_archive;
    const char *member = lap_arena_printf(ctx->arena, "%.10s.o", l->options->name);
    bool good =
        lap_scratch_read(object, &bytes, &n, fault) &&
        lap_aot_archive(member, bytes, n, lap_aot_n_functions, symbols, &archive, &n_archive, fault) &&
        lap_scratch_write(out, archive, n_archive, fault);
    free(bytes);
    free(archive);
    return good;
}

bool lap_aot_link_artefact(lap_ctx *ctx, const lap_aot_link *l, const char *out_path, lap_fault *fault)
{
    lap_aot_kind kind = l->options->kind;
    const char *object =
        kind == LAP_AOT_OBJECT ? out_path : lap_arena_printf(ctx->arena, "%s/joined.o", l->scratch);
    if (!join(ctx, l, object, fault)) {
        return false;
    }
    if (kind == LAP_AOT_EXE) {
        return link_exe(ctx, l, object, out_path, fault);
    }
    if (!name_symbols(ctx, l, object, fault)) {
        return false;
    }
    switch (kind) {
    case LAP_AOT_SHARED:
        return link_shared(ctx, l, object, out_path, fault);
    case LAP_AOT_STATIC:
        return make_archive(ctx, l, object, out_path, fault);
    default:
        return true;
    }
}
