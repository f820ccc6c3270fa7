/* SPDX-License-Identifier: Apache-2.0
 * model.h - the C interface of an artefact, for any model; an artefact renames lap_model_X to NAME_X.
 *
 * `inputs` and `outputs` point to the artefact header's structures: per tensor, in order, a pointer
 * and then one int64_t per axis. All fields have 8 bytes, so they are walked without generated code. */
#ifndef LAP_RUNTIME_MODEL_H
#define LAP_RUNTIME_MODEL_H

#include "runtime/exec.h"
#include "runtime/vk/vk_program.h"

#define LAP_EXPORT __attribute__((visibility("default")))
#define LAP_HIDDEN __attribute__((visibility("hidden")))

/* What ahead-of-time compilation gives, in three tables. First, the program for several processors, best
 * first, ended by an entry without image. */
typedef struct lap_model_level {
    const char *cpu;
    uint64_t needs; /* bits of runtime/cpu.h */
    const void *image;
    uint64_t image_size;
    lap_kernel_fn *const *kernels;
} lap_model_level;
extern const lap_model_level lap_model_levels[] LAP_HIDDEN;
/* Then the program for Vulkan devices, by the width of their subgroups, the widest first, ended by an
 * entry without image; and how it is opened, NULL where there is none. */
typedef struct lap_model_tier {
    uint64_t least_subgroup;
    const void *image;
    uint64_t image_size;
    const lap_vk_kernel *kernels;
} lap_model_tier;
extern const lap_model_tier lap_model_tiers[] LAP_HIDDEN;
typedef struct lap_model_device_ops {
    struct lap_vk *(*open)(const char *which, lap_fault *fault);
    lap_exec *(*bind)(struct lap_vk *device, lap_fault *fault);
    const char *(*name)(const struct lap_vk *device);
    void (*close)(struct lap_vk *device);
} lap_model_device_ops;
extern const lap_model_device_ops *const lap_model_devices LAP_HIDDEN;
extern const lap_model_device_ops lap_model_on_vulkan LAP_HIDDEN;
/* And the bytes of a safetensors file, size 0: none. */
extern const unsigned char lap_model_weights[] LAP_HIDDEN;
extern const uint64_t lap_model_weights_size LAP_HIDDEN;

typedef struct lap_model lap_model;

/* weights_path may be NULL when the weights are embedded or there are none. NULL on failure. */
LAP_EXPORT lap_model *lap_model_open(const char *weights_path);
/* The same on a chosen target: "cpu", "vulkan", or both in the order of preference, "vulkan,cpu": the next
 * one is taken where the one before is not to be had. NULL: what LAPPET_TARGET says, else a Vulkan device
 * where the artefact has code for it, and nothing else then. `device` as for lap_vk_open. */
LAP_EXPORT lap_model *lap_model_open_on(const char *weights_path, const char *targets, const char *device);
/* What the model runs on: the name of the device, or of the processor that the code is for. */
LAP_EXPORT const char *lap_model_device(const lap_model *model);
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
