/* SPDX-License-Identifier: Apache-2.0
 * model.h - the C interface of an artefact, for any model; an artefact renames lap_model_X to NAME_X.
 *
 * `inputs` and `outputs` point to the artefact header's structures: per tensor, in order, a pointer
 * and then one int64_t per axis. All fields have 8 bytes, so they are walked without generated code. */
#ifndef LAP_RUNTIME_MODEL_H
#define LAP_RUNTIME_MODEL_H

#include "runtime/exec.h"

#define LAP_EXPORT __attribute__((visibility("default")))
#define LAP_HIDDEN __attribute__((visibility("hidden")))

/* What ahead-of-time compilation gives: the program for several processors, best first, ended by an
 * entry without image; and the bytes of a safetensors file, size 0: none. */
typedef struct lap_model_level {
    const char *cpu;
    uint64_t needs; /* bits of runtime/cpu.h */
    const void *image;
    uint64_t image_size;
    lap_kernel_fn *const *kernels;
} lap_model_level;
extern const lap_model_level lap_model_levels[] LAP_HIDDEN;
extern const unsigned char lap_model_weights[] LAP_HIDDEN;
extern const uint64_t lap_model_weights_size LAP_HIDDEN;

typedef struct lap_model lap_model;

/* weights_path may be NULL when the weights are embedded or there are none. NULL on failure. */
LAP_EXPORT lap_model *lap_model_open(const char *weights_path);
LAP_EXPORT void lap_model_close(lap_model *model);
/* 0 or a lap_code. Output pointers that are NULL are set to memory of the model, valid until its next
 * call; others have room for the largest result. dims of outputs are set. */
LAP_EXPORT int lap_model_run(lap_model *model, const void *inputs, void *outputs);
/* What the last failing call said, "" when none failed; NULL model: of this thread's last open. */
LAP_EXPORT const char *lap_model_error(const lap_model *model);
/* Threads from the next run on; 0: one per processor. */
LAP_EXPORT void lap_model_threads(lap_model *model, uint32_t n);
LAP_EXPORT int lap_model_version(void);

/* For the executable: the program behind the model, and the code of the last failing call. */
lap_exec *lap_model_exec(lap_model *model);
lap_code lap_model_code(const lap_model *model);

#endif
