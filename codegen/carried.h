/* SPDX-License-Identifier: Apache-2.0
 * carried.h - how the carried values of a vector loop combine; every backend asks here. */
#ifndef LAP_CODEGEN_CARRIED_H
#define LAP_CODEGEN_CARRIED_H

#include "ir/kernel.h"

enum { LAP_CARRIED_SAME = LAP_N_FNS, LAP_CARRIED_NONE };

/* The lap_fn by which `next` continues `carried`; SAME: it never changes; NONE: the kernel level does
 * not allow it in lanes. */
int lap_carried_fn(const lap_graph *g, lap_ref next, lap_ref carried);
/* Number of the loop's result that a `result` node stands for. */
uint32_t lap_carried_result(const lap_graph *g, const lap_node *result);

#endif
