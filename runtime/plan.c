/* SPDX-License-Identifier: Apache-2.0
 * plan.c - places buffers with known lifetimes in one block of memory.
 *
 * `placed` is kept sorted by offset, so the gaps that an item may use are met in one walk over it. */
#include "runtime/plan.h"

#include <stdlib.h>

static bool overlap(const lap_plan_item *a, const lap_plan_item *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static int by_size(const void *a, const void *b)
{
    const lap_plan_item *x = *(lap_plan_item *const *)a, *y = *(lap_plan_item *const *)b;
    if (x->size != y->size) {
        return x->size > y->size ? -1 : 1;
    }
    return x < y ? -1 : x > y;
}

/* Offset of the smallest gap for `item`, or past everything alive with it. */
static size_t best_offset(lap_plan_item *const *placed, uint32_t n, const lap_plan_item *item, size_t size)
{
    size_t best = SIZE_MAX, best_gap = SIZE_MAX, end = 0;
    for (uint32_t i = 0; i < n; i++) {
        const lap_plan_item *other = placed[i];
        if (!overlap(other, item)) {
            continue;
        }
        if (other->offset > end && other->offset - end >= size && other->offset - end < best_gap) {
            best = end;
            best_gap = other->offset - end;
        }
        size_t other_end = other->offset + other->size;
        end = other_end > end ? other_end : end;
    }
    return best == SIZE_MAX ? end : best;
}

static void insert(lap_plan_item **placed, uint32_t n, lap_plan_item *item)
{
    uint32_t i = n;
    while (i > 0 && placed[i - 1]->offset > item->offset) {
        placed[i] = placed[i - 1];
        i--;
    }
    placed[i] = item;
}

/* Rounds sizes up to whole lines, at least one; false on overflow of the sum of all. */
static bool round_sizes(lap_plan_item *items, uint32_t n)
{
    size_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        size_t size = items[i].size;
        if (size > (size_t)PTRDIFF_MAX - LAP_PLAN_ALIGN) {
            return false;
        }
        size = (size + LAP_PLAN_ALIGN - 1) / LAP_PLAN_ALIGN * LAP_PLAN_ALIGN;
        items[i].size = size ? size : LAP_PLAN_ALIGN;
        if (__builtin_add_overflow(sum, items[i].size, &sum) || sum > (size_t)PTRDIFF_MAX) {
            return false;
        }
    }
    return true;
}

bool lap_plan(lap_plan_item *items, uint32_t n, size_t *out_total)
{
    *out_total = 0;
    if (n == 0) {
        return true;
    }
    lap_plan_item **order = malloc(n * sizeof *order);
    lap_plan_item **placed = malloc(n * sizeof *placed);
    bool ok = order && placed && round_sizes(items, n);
    for (uint32_t i = 0; ok && i < n; i++) {
        order[i] = &items[i];
    }
    if (ok) {
        qsort(order, n, sizeof(lap_plan_item *), by_size);
    }
    for (uint32_t i = 0; ok && i < n; i++) {
        lap_plan_item *item = order[i];
        item->offset = best_offset(placed, i, item, item->size);
        insert(placed, i, item);
        size_t end = item->offset + item->size;
        *out_total = end > *out_total ? end : *out_total;
    }
    free(order);
    free(placed);
    return ok;
}
