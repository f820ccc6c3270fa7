/* SPDX-License-Identifier: Apache-2.0
 * two.c - two artefacts in one program: nothing of one is seen by the other. */
#include <stdio.h>

#include "first.h"
#include "second.h"

int main(int argc, char **argv)
{
    first *a = argc > 1 ? first_open(argv[1]) : NULL;
    second *b = argc > 1 ? second_open(argv[1]) : NULL;
    const float x[] = {1, 2, 3};
    first_inputs in_a = {.x = x, .x_dims = {1, 3}};
    second_inputs in_b = {.x = x, .x_dims = {1, 3}};
    first_outputs out_a = {0};
    second_outputs out_b = {0};
    if (a == NULL || b == NULL || first_run(a, &in_a, &out_a) != 0 || second_run(b, &in_b, &out_b) != 0) {
        printf("%s%s\n", first_error(a), second_error(b));
        return 1;
    }
    if (out_a.y[0] != out_b.y[0] || out_a.y == out_b.y) {
        return 1;
    }
    first_close(a);
    second_close(b);
    puts("good");
    return 0;
}
