/* SPDX-License-Identifier: Apache-2.0
 * model.h - how long kernels should take: what ranks schedules before any is timed. */
#ifndef LAP_FRONTENDS_TUNE_MODEL_H
#define LAP_FRONTENDS_TUNE_MODEL_H

#include "ir/kernel.h"
#include "passes/target.h"

/* Seconds of one run (load steps apart) with these sizes on so many threads; INFINITY where a register tile
 * does not fit the registers or scratch memory is out of all proportion. Known to no lowering: kernels are
 * walked with their real extents at some rounds of each loop, so that ragged last tiles and blocks that
 * nobody sees count as what they are. Only the order of results means something. */
double lap_model_seconds(const lap_program *p, const lap_target *target, uint32_t n_threads,
                         lap_dim_value *value, void *user);

#endif
