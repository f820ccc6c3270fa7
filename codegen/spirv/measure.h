/* SPDX-License-Identifier: Apache-2.0
 * measure.h - what a Vulkan device reaches: multiply-add rate and memory bandwidth, as our shaders see them.
 */
#ifndef LAP_CODEGEN_SPIRV_MEASURE_H
#define LAP_CODEGEN_SPIRV_MEASURE_H

#include "runtime/vk/vk.h"

/* GFLOP/s of f32 multiply-adds in registers; GB/s of a copy (read and written). About a second. */
bool lap_vk_measure_peak(lap_vk *vk, double *out_gflops, lap_fault *fault);
bool lap_vk_measure_bandwidth(lap_vk *vk, double *out_gbytes, lap_fault *fault);

#endif
