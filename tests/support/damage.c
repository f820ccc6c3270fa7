/* SPDX-License-Identifier: Apache-2.0
 * damage.c - cuts a file at every byte and changes every bit of it. */
#include "tests/support/damage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

void damage_all(const unsigned char *bytes, size_t n, damage_reader *read)
{
    for (size_t cut = 0; cut < n; cut++) {
        unsigned char *copy = malloc(cut ? cut : 1);
        memcpy(copy, bytes, cut);
        assert_false(read(copy, cut));
        free(copy);
    }
    unsigned char *copy = malloc(n);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        memcpy(copy, bytes, n);
        copy[bit / 8] ^= (unsigned char)(1u << bit % 8);
        (void)read(copy, n);
    }
    free(copy);
}
