/* SPDX-License-Identifier: Apache-2.0
 * tuned.h - tuning records as a compile uses them: which target they are for, and the layers that hold them.
 */
#ifndef LAP_FRONTENDS_COMPILER_TUNED_H
#define LAP_FRONTENDS_COMPILER_TUNED_H

#include "codegen/llvm/llvm.h"
#include "frontends/compiler/records.h"
#include "runtime/vk/vk.h"

/* Layers beside the user's own records (runtime/cache.h), which count before them. */
typedef struct lap_tuning {
    uint32_t n;
    const char *const *files;
} lap_tuning;

/* All that a choice depends on: processor, features, caches and threads, or device, driver and limits; and
 * the compiler. One line. */
void lap_target_of_machine(const lap_machine *machine, uint32_t n_threads, char out[LAP_TARGET_TEXT]);
void lap_target_of_device(const lap_vk_info *info, char out[LAP_TARGET_TEXT]);
/* The user's file for a target, by malloc; NULL: none is kept. */
char *lap_records_path(const char *target);

/* Reads all layers. A file that is given must be readable; what is wrong with the user's own, and how many
 * lines were left out, is said in *out_warning (in the arena; "" for nothing). */
bool lap_tuning_read(lap_ctx *ctx, const lap_tuning *tuning, const char *target, const lap_schedule *base,
                     lap_records *out, const char **out_warning, lap_fault *fault);

#endif
