/* SPDX-License-Identifier: Apache-2.0
 * kernels.h - where a model's time goes: its kernels, the dearest first. */
#ifndef LAP_FRONTENDS_CLI_KERNELS_H
#define LAP_FRONTENDS_CLI_KERNELS_H

#include <cjson/cJSON.h>

#include "frontends/compiler/session.h"

typedef struct lap_kernel_times {
    uint32_t n, n_runs;
    lap_exec_spent *spent; /* by kernel */
    const double *flops;   /* useful ones of a run, by kernel; NULL: unknown */
} lap_kernel_times;

/* Runs a compiled and bound session for about `seconds`, on this processor, and adds up its kernels. */
LAP_MUST_CHECK bool lap_kernel_times_take(lap_session *s, const lap_tensors *inputs, double seconds,
                                          lap_kernel_times *out);
void lap_kernel_times_print(lap_session *s, const lap_kernel_times *t);
cJSON *lap_kernel_times_document(lap_session *s, const lap_kernel_times *t);

#endif
