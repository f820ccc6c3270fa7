/* SPDX-License-Identifier: Apache-2.0
 * measure.h - what this machine can do, by running generated code: the yardsticks of `bench`. */
#ifndef LAP_CODEGEN_LLVM_MEASURE_H
#define LAP_CODEGEN_LLVM_MEASURE_H

#include "codegen/llvm/llvm.h"

/* Multiply-add peak of n_threads threads (0: one per processor) in GFLOP/s, with the vectors of
 * `machine`, which must be this one. BF16: of its dot products, where it has them. */
bool lap_measure_peak(const lap_machine *machine, lap_dtype computed_in, uint32_t n_threads,
                      double *out_gflops, lap_fault *fault);
/* Bytes read per ns from memory that no cache holds, by n_threads threads. */
bool lap_measure_bandwidth(uint32_t n_threads, double *out_gbytes, lap_fault *fault);

#endif
