/* SPDX-License-Identifier: Apache-2.0
 * header.c - writes the artefact's C header: self-contained, documented, usable from C99 and C++.
 *
 * The structures hold, per tensor in order, a pointer and its extents: all of 8 bytes, so that the
 * runtime can walk them without generated code (runtime/model.h). */
#include <ctype.h>
#include <string.h>

#include "codegen/aot/parts.h"
#include "runtime/version.h"

static const char *c_type(lap_dtype t)
{
    switch (t) {
    case LAP_F32:
        return "float";
    case LAP_F16:
    case LAP_BF16:
        return "uint16_t";
    case LAP_I64:
        return "int64_t";
    case LAP_I32:
        return "int32_t";
    case LAP_I8:
        return "int8_t";
    case LAP_I4:
    case LAP_BOOL:
    case LAP_N_DTYPES:
        return "uint8_t";
    }
    return "void";
}

static bool is_keyword(const char *text)
{
    static const char *const words[] = {
        "alignas", "alignof",   "and",      "asm",      "auto",      "bool",     "break",   "case",
        "catch",   "char",      "class",    "const",    "constexpr", "continue", "default", "delete",
        "do",      "double",    "else",     "enum",     "explicit",  "export",   "extern",  "false",
        "float",   "for",       "friend",   "goto",     "if",        "inline",   "int",     "long",
        "mutable", "namespace", "new",      "not",      "operator",  "or",       "private", "protected",
        "public",  "register",  "restrict", "return",   "short",     "signed",   "sizeof",  "static",
        "struct",  "switch",    "template", "this",     "throw",     "true",     "try",     "typedef",
        "typeid",  "typename",  "union",    "unsigned", "using",     "virtual",  "void",    "volatile",
        "while",   "xor",
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i], text) == 0) {
            return true;
        }
    }
    return false;
}

const char *lap_aot_identifier(lap_ctx *ctx, const char *text)
{
    bool starts_badly = !isalpha((unsigned char)text[0]) && text[0] != '_';
    char *name = lap_arena_printf(ctx->arena, "%s%s", starts_badly ? "m" : "", text);
    for (char *c = name; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) || (unsigned char)*c > 127) {
            *c = '_';
        }
    }
    return is_keyword(name) ? lap_arena_printf(ctx->arena, "%s_", name) : name;
}

/* Field names of the leaves, distinct even where different names give one identifier. */
static const char **field_names(lap_ctx *ctx, uint32_t n, const lap_leaf *leaves)
{
    const char **names = lap_arena_array(ctx->arena, n + 1, sizeof *names);
    for (uint32_t i = 0; i < n; i++) {
        names[i] = lap_aot_identifier(ctx, lap_text(ctx, leaves[i].name));
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(names[i], names[k]) == 0) {
                names[i] = lap_arena_printf(ctx->arena, "%s_%u", names[i], i);
                k = UINT32_MAX;
            }
        }
    }
    return names;
}

static const char *shape_text(lap_ctx *ctx, const lap_leaf *leaf)
{
    const char *text = "[";
    for (uint32_t i = 0; i < leaf->rank; i++) {
        text = lap_arena_printf(ctx->arena, "%s%s%s", text, i > 0 ? ", " : "",
                                lap_dim_show(ctx, leaf->shape[i]));
    }
    return lap_arena_printf(ctx->arena, "%s]", text);
}

/* Names come from scripts: nothing in them may end a comment or a line. */
static void put_safely(const char *text, FILE *to)
{
    for (const char *c = text; *c != '\0'; c++) {
        bool ends_comment = *c == '/' && c > text && c[-1] == '*';
        bool starts_comment = *c == '*' && c > text && c[-1] == '/';
        fputc((unsigned char)*c < ' ' || *c == '\\' || ends_comment || starts_comment ? ' ' : *c, to);
    }
}

static void write_fields(lap_ctx *ctx, uint32_t n, const lap_leaf *leaves, const char *qualifier, FILE *to)
{
    const char **names = field_names(ctx, n, leaves);
    for (uint32_t i = 0; i < n; i++) {
        const lap_leaf *leaf = &leaves[i];
        fprintf(to, "    %s%s *%s;  /* ", qualifier, c_type(leaf->dtype), names[i]);
        put_safely(lap_text(ctx, leaf->name), to);
        fprintf(to, ": %s %s%s */\n", lap_dtype_text(leaf->dtype), shape_text(ctx, leaf),
                leaf->is_optional ? ", may be NULL" : "");
        if (leaf->rank > 0) {
            fprintf(to, "    int64_t %s_dims[%u];\n", names[i], leaf->rank);
        }
    }
    if (n == 0) {
        fputs("    void *none;\n", to);
    }
}

static void write_weights(lap_ctx *ctx, const lap_program *p, bool is_embedded, FILE *to)
{
    fprintf(to, " *\n * Weights%s:%s\n", is_embedded ? " (embedded)" : "", p->n_weights == 0 ? " none" : "");
    for (uint32_t i = 0; i < p->n_weights; i++) {
        fputs(" *   ", to);
        put_safely(lap_text(ctx, p->weights[i].name), to);
        fprintf(to, ": %s %s\n", lap_dtype_text(p->weights[i].dtype), shape_text(ctx, &p->weights[i]));
    }
}

/* What the model can run on, and how that is chosen. */
static void write_targets(const lap_aot_options *o, FILE *to)
{
    const char *n = o->name;
    if (o->n_tiers == 0) {
        return;
    }
    fputs(" *\n * It runs on Vulkan devices: the Vulkan loader (libvulkan.so.1) is found when the model is\n"
          " * opened. LAPPET_DEVICE names the device, by number or by a part of its name.\n",
          to);
    fprintf(
        to,
        o->n_levels > 0
            ? " * It runs on the processor as well, but only where that is asked for: by %s_open_on or by\n"
              " * LAPPET_TARGET=cpu, or LAPPET_TARGET=vulkan,cpu for where there is no device that will do.\n"
            : " * It has no code for processors: without a device that will do, %s_open fails.\n",
        n);
}

static void write_head(const lap_aot_options *o, const char *guard, FILE *to)
{
    const lap_program *p = lap_aot_program(o);
    const char *n = o->name;
    fprintf(to, "/* %s.h - ", n);
    put_safely(o->doc != NULL && *o->doc != '\0' ? o->doc : "a model", to);
    fprintf(to, "\n * Made by lappet %s.\n *\n", LAP_VERSION);
    fprintf(to, " *   %s *model = %s_open(%s);\n", n, n,
            o->weights != NULL ? "NULL" : "\"weights.safetensors\"");
    fprintf(to, " *   %s_inputs in = { ... };\n *   %s_outputs out = { 0 };\n", n, n);
    fprintf(to, " *   if (model == NULL || %s_run(model, &in, &out) != 0) { puts(%s_error(model)); }\n", n,
            n);
    fprintf(to, " *   %s_close(model);\n *\n", n);
    fputs(" * Tensors are dense and row-major. Sizes named by a letter or word are free, and are found\n"
          " * from the dims of the inputs; shapes that do not fit are an error, never undefined.\n"
          " * A handle serves one thread at a time; different handles are independent.\n"
          " * Link with -lm -lpthread -ldl.\n",
          to);
    write_targets(o, to);
    write_weights(p->ctx, p, o->weights != NULL, to);
    fprintf(to, " */\n#ifndef %s\n#define %s\n\n#include <stdint.h>\n\n", guard, guard);
}

static void write_functions(const char *n, bool is_embedded, FILE *to)
{
    fprintf(
        to,
        "typedef struct %s %s;\n\n"
        "/* Opens the model. `weights_path` names a safetensors file, which is mapped%s.\n"
        " * It must not be made shorter while the model is open: its pages would be gone (SIGBUS).\n"
        " * NULL on failure: then %s_error(NULL) says why. */\n"
        "%s *%s_open(const char *weights_path);\n"
        "/* The same on a chosen target: \"cpu\", \"vulkan\", or \"vulkan,cpu\", where the next one is "
        "taken\n"
        " * if the one before is not there; NULL: what the environment's LAPPET_TARGET says, else Vulkan if\n"
        " * the model has code for it. `device`: a Vulkan device's number or a part of its name; NULL: what\n"
        " * LAPPET_DEVICE says, else the best. */\n"
        "%s *%s_open_on(const char *weights_path, const char *targets, const char *device);\n"
        "/* The name of the device, or of the processor that the code is for. */\n"
        "const char *%s_device(const %s *model);\n"
        "void %s_close(%s *model);\n"
        "/* 0 when done, else an error code: 2 bad input, 3 the processor or device lacks something, 4 a "
        "bug. */\n"
        "int %s_run(%s *model, const %s_inputs *inputs, %s_outputs *outputs);\n"
        "/* What the last failing call said, or \"\". */\n"
        "const char *%s_error(const %s *model);\n"
        "/* Threads to run on from the next run on; 0: one per processor. */\n"
        "void %s_threads(%s *model, uint32_t n);\n"
        "/* The API version of the library, to be compared with the header's. */\n"
        "int %s_version(void);\n",
        n, n, is_embedded ? "; NULL takes the\n * embedded weights" : "", n, n, n, n, n, n, n, n, n, n, n, n,
        n, n, n, n, n, n);
}

void lap_aot_header(const lap_aot_options *o, FILE *to)
{
    const lap_program *p = lap_aot_program(o);
    lap_ctx *ctx = p->ctx;
    char *upper = lap_arena_printf(ctx->arena, "%s", o->name);
    for (char *c = upper; *c != '\0'; c++) {
        *c = (char)toupper((unsigned char)*c);
    }
    write_head(o, lap_arena_printf(ctx->arena, "LAPPET_%s_H", upper), to);
    fprintf(to, "#define %s_VERSION %d\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n", upper,
            LAP_API_VERSION);
    fprintf(to, "typedef struct %s_inputs {\n", o->name);
    write_fields(ctx, p->n_inputs, p->inputs, "const ", to);
    fprintf(to, "} %s_inputs;\n\n", o->name);
    fputs("/* A pointer that is NULL is set to memory of the model, valid until its next call; else results\n"
          " * go where it points, which must have room for the largest shape. dims are always set. */\n",
          to);
    fprintf(to, "typedef struct %s_outputs {\n", o->name);
    write_fields(ctx, p->n_outputs, p->outputs, "", to);
    fprintf(to, "} %s_outputs;\n\n", o->name);
    write_functions(o->name, o->weights != NULL, to);
    fputs("\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n", to);
}
