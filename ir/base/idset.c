/* SPDX-License-Identifier: Apache-2.0
 * idset.c - open addressing with linear probing; ids are never removed. */
#include "ir/base/idset.h"

#include <string.h>

typedef struct lap_idset_slot {
    uint32_t hash, id1; /* id + 1; 0: free */
} slot;

uint32_t lap_idset_find(const lap_idset *set, uint32_t hash, lap_idset_same *same, const void *user)
{
    if (!set->capacity) {
        return LAP_NO_ID;
    }
    size_t mask = set->capacity - 1;
    for (size_t i = hash & mask; set->slots[i].id1; i = (i + 1) & mask) {
        if (set->slots[i].hash == hash && same(user, set->slots[i].id1 - 1)) {
            return set->slots[i].id1 - 1;
        }
    }
    return LAP_NO_ID;
}

static void place(slot *slots, size_t capacity, slot s)
{
    size_t mask = capacity - 1;
    size_t i = s.hash & mask;
    while (slots[i].id1) {
        i = (i + 1) & mask;
    }
    slots[i] = s;
}

void lap_idset_add(lap_arena *arena, lap_idset *set, uint32_t hash, uint32_t id)
{
    if (set->count * 4 >= set->capacity * 3) {
        size_t capacity = set->capacity ? set->capacity * 2 : 64;
        slot *slots = lap_arena_array(arena, capacity, sizeof *slots);
        for (size_t i = 0; i < set->capacity; i++) {
            if (set->slots[i].id1) {
                place(slots, capacity, set->slots[i]);
            }
        }
        set->slots = slots;
        set->capacity = capacity;
    }
    place(set->slots, set->capacity, (slot){hash, id + 1});
    set->count++;
}

uint32_t lap_hash(uint32_t hash, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint64_t h = hash ^ 0x9e3779b97f4a7c15u;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = (h ^ word) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    for (; n; n--, p++) {
        h = (h ^ *p) * 0x100000001b3u;
    }
    h ^= h >> 29;
    h *= 0xc4ceb9fe1a85ec53u;
    return (uint32_t)(h ^ (h >> 32));
}
