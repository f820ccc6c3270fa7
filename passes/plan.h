/* SPDX-License-Identifier: Apache-2.0
 * plan.h - what the parts of the plan share: who reads a value, and what that asks of it. */
#ifndef LAP_PASSES_PLAN_H
#define LAP_PASSES_PLAN_H

#include "passes/scan.h"

enum { LAP_PLAN_CHEAP = 3 }; /* what costs no more may be computed again */

/* `r` is read by the kernel of `home`. */
void lap_plan_want(lap_lowering *l, lap_ref r, lap_ref home);
/* The same for operands of a kernel root: stored unless they are views of what is stored. */
void lap_plan_want_operand(lap_lowering *l, lap_ref r, lap_ref home);
/* The same for what the scan `home` reads in every step, or at more coordinates than it has. */
void lap_plan_want_repeated(lap_lowering *l, lap_ref r, lap_ref home);
/* A scan that is one kernel: its body stays in place, and operands read once are computed there. */
void lap_plan_scan(lap_lowering *l, lap_ref scan);
/* A value of its body that changes from step to step. */
void lap_plan_in_scan(lap_lowering *l, lap_ref r, const lap_scan_form *form);

#endif
