/* SPDX-License-Identifier: Apache-2.0
 * idset.h - hash set of ids, for hash-consing: the items stand in the caller's array. */
#ifndef LAP_IR_BASE_IDSET_H
#define LAP_IR_BASE_IDSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ir/base/arena.h"

#define LAP_NO_ID UINT32_MAX

/* Zero it to begin with an empty set. */
typedef struct lap_idset {
    struct lap_idset_slot *slots;
    size_t capacity, count;
} lap_idset;

/* Whether item `id` is the wanted one that `user` describes. */
typedef bool lap_idset_same(const void *user, uint32_t id);

uint32_t lap_idset_find(const lap_idset *set, uint32_t hash, lap_idset_same *same, const void *user);
void lap_idset_add(lap_arena *arena, lap_idset *set, uint32_t hash, uint32_t id);

/* Hash of bytes; chain calls by passing the hash so far, 0 at first. */
uint32_t lap_hash(uint32_t hash, const void *bytes, size_t n);

#endif
