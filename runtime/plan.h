/* SPDX-License-Identifier: Apache-2.0
 * plan.h - places buffers with known lifetimes in one block of memory. */
#ifndef LAP_RUNTIME_PLAN_H
#define LAP_RUNTIME_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LAP_PLAN_ALIGN = 64 };

typedef struct lap_plan_item {
    size_t size;          /* bytes */
    uint32_t first, last; /* steps between which the contents are needed, both included */
    size_t offset;        /* result, a multiple of LAP_PLAN_ALIGN */
} lap_plan_item;

/* Largest first, each in the smallest gap that fits among items alive at the same time. False when
 * the total overflows or memory for the work is out. */
bool lap_plan(lap_plan_item *items, uint32_t n, size_t *out_total);

#endif
