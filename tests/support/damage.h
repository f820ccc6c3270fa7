/* SPDX-License-Identifier: Apache-2.0
 * damage.h - what every reader of files must stand: any beginning of a file, any bit changed. */
#ifndef LAP_TESTS_SUPPORT_DAMAGE_H
#define LAP_TESTS_SUPPORT_DAMAGE_H

#include <stdbool.h>
#include <stddef.h>

/* Reads what is there and closes it; whether it was taken. */
typedef bool damage_reader(const void *bytes, size_t n);

/* Every proper beginning of the bytes is refused; with one bit changed they are read or refused, without
 * harm (the sanitizers look on: each copy has memory of its own, of just its length). */
void damage_all(const unsigned char *bytes, size_t n, damage_reader *read);

#endif
