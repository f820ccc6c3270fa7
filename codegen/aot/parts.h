/* SPDX-License-Identifier: Apache-2.0
 * parts.h - the steps of an ahead-of-time build, for build.c. */
#ifndef LAP_CODEGEN_AOT_PARTS_H
#define LAP_CODEGEN_AOT_PARTS_H

#include <stdio.h>

#include <llvm-c/Core.h>

#include "codegen/aot/aot.h"

/* Functions of an artefact: lap_model_open becomes NAME_open, and so on. */
extern const char *const lap_aot_functions[];
extern const uint32_t lap_aot_n_functions;

/* Any of the programs: all have the same inputs, outputs and weights. */
static inline const lap_program *lap_aot_program(const lap_aot_options *o)
{
    return o->n_levels > 0 ? o->levels[0].program : o->tiers[0].program;
}

/* What the artefact's platform is, and the least demanding code outside of kernels is made for. */
static inline const lap_machine *lap_aot_machine(const lap_aot_options *o)
{
    return o->platform != NULL ? o->platform : o->levels[o->n_levels - 1].machine;
}

/* header.c: the C header. */
void lap_aot_header(const lap_aot_options *o, FILE *to);

/* table.c: an object with the levels, the tiers and the embedded weights. Level i's module has the symbol
 * prefix that lap_aot_prefix writes. Result by malloc. */
void lap_aot_prefix(uint32_t level, char out[32]);
bool lap_aot_table(const lap_aot_options *o, char **out_bytes, size_t *out_size, lap_fault *fault);

/* tiers.c: the tiers' tables, the last entry all zero, as global data of the module. */
typedef struct lap_aot_data {
    LLVMContextRef llvm;
    LLVMModuleRef module;
    LLVMTypeRef pointer, word;
} lap_aot_data;
LLVMValueRef lap_aot_define(const lap_aot_data *d, const char *name, LLVMValueRef value, unsigned alignment);
/* Data without a name; NULL for no bytes. */
LLVMValueRef lap_aot_bytes(const lap_aot_data *d, const void *bytes, size_t n);
bool lap_aot_tiers(const lap_aot_data *d, const lap_aot_options *o, lap_fault *fault);

/* archive.c: an ar file with one member that defines `symbols`. Result by malloc. */
bool lap_aot_archive(const char *member, const void *bytes, size_t n, uint32_t n_symbols,
                     const char *const *symbols, char **out_bytes, size_t *out_size, lap_fault *fault);

/* tool.c: programs of the system. `list` names candidates, separated by spaces, "%s" standing for the
 * architecture; the first one on the path is run with `args` (its name is put before them, NULL ends
 * them) and must succeed. */
bool lap_aot_tool(const char *what, const char *list, const char *arch, const char *const *args,
                  lap_fault *fault);

/* link.c: the object of everything, and what is made of it, inside the folder `scratch`. */
typedef struct lap_aot_link {
    const lap_aot_options *options;
    const char *arch, *scratch, *runtime;
    uint32_t n_objects;
    const char *const *objects;
} lap_aot_link;
bool lap_aot_link_artefact(lap_ctx *ctx, const lap_aot_link *link, const char *out_path, lap_fault *fault);

/* scratch.c: a temporary folder inside `folder`, and its removal with the files in it. */
bool lap_scratch_new(const char *folder, char out[LAP_AOT_PATH], lap_fault *fault);
void lap_scratch_remove(const char *path);
/* Reads and writes whole files. */
bool lap_scratch_write(const char *path, const void *bytes, size_t n, lap_fault *fault);
bool lap_scratch_read(const char *path, char **out_bytes, size_t *out_n, lap_fault *fault);

#endif
