/* SPDX-License-Identifier: Apache-2.0
 * aot.h - ahead-of-time artefacts: a program and the runtime as an object, library or executable.
 *
 * The runtime's model functions (runtime/model.h) become NAME_open, NAME_run, ...; every other symbol
 * is made local, so that several artefacts can live in one program. */
#ifndef LAP_CODEGEN_AOT_AOT_H
#define LAP_CODEGEN_AOT_AOT_H

#include <signal.h>

#include "codegen/llvm/llvm.h"
#include "ir/kernel.h"

typedef enum lap_aot_kind {
    LAP_AOT_EXE,
    LAP_AOT_SHARED,
    LAP_AOT_STATIC,
    LAP_AOT_OBJECT,
    LAP_N_AOT_KINDS
} lap_aot_kind;
const char *lap_aot_kind_text(lap_aot_kind kind);
bool lap_aot_kind_find(const char *text, lap_aot_kind *out);

/* The program compiled for one processor. */
typedef struct lap_aot_level {
    const lap_program *program;
    const lap_machine *machine;
} lap_aot_level;

/* The program compiled for Vulkan devices whose subgroups are at least so wide. */
typedef struct lap_aot_tier {
    const lap_program *program;
    const lap_target *target;
    uint32_t least_subgroup;
} lap_aot_tier;

typedef struct lap_aot_options {
    const char *name; /* a C identifier, see lap_aot_identifier */
    const char *doc;  /* one line for the header, or NULL */
    lap_aot_kind kind;
    const char *folder;  /* made when it is missing */
    const char *runtime; /* folder with lib/TRIPLE/liblappet_rt.a */
    uint32_t n_levels;
    const lap_aot_level *levels; /* one platform, the most demanding first */
    uint32_t n_tiers;
    const lap_aot_tier *tiers;   /* the widest first; one level or tier is needed */
    const lap_machine *platform; /* of the artefact; NULL: that of the levels */
    const void *weights;
    size_t n_weights;                         /* bytes of a safetensors file to embed, or NULL */
    const volatile sig_atomic_t *interrupted; /* becomes 1 when the build is to stop, or NULL */
} lap_aot_options;

#define LAP_AOT_PATH 4096
typedef struct lap_aot_result {
    char artefact[LAP_AOT_PATH], header[LAP_AOT_PATH];
} lap_aot_result;

/* Writes FOLDER/NAME.h and the artefact, each whole or not at all. */
bool lap_aot_build(const lap_aot_options *options, lap_aot_result *out, lap_fault *fault);

/* Any text as a C identifier that is no keyword; in the arena. */
const char *lap_aot_identifier(lap_ctx *ctx, const char *text);

#endif
