/* SPDX-License-Identifier: Apache-2.0
 * call.c - a C program around an artefact: tests/cli/models/linear.lua with out = 2. */
#include <stdio.h>
#include <string.h>

#include "linear.h"

static int fail(const char *what, const linear *model)
{
    printf("%s: %s\n", what, linear_error(model));
    return 1;
}

int main(int argc, char **argv)
{
    if (linear_version() != LINEAR_VERSION) {
        return fail("version", NULL);
    }
    if (linear_open("/no/such/weights.safetensors") != NULL || *linear_error(NULL) == '\0') {
        return fail("open of a missing file", NULL);
    }
    if (linear_open_on(argc > 1 ? argv[1] : NULL, "nowhere", NULL) != NULL || *linear_error(NULL) == '\0') {
        return fail("open on no target", NULL);
    }
    linear *model = linear_open(argc > 1 ? argv[1] : NULL);
    if (model == NULL) {
        return fail("open", NULL);
    }
    if (*linear_device(model) == '\0') {
        return fail("device", model);
    }
    const float x[] = {1, 2, 3, 4, 5, 6};
    const float want[] = {1, 2, 4, 5};
    linear_inputs in = {.x = x, .x_dims = {2, 3}};
    linear_outputs out = {0};
    linear_threads(model, 2);
    if (linear_run(model, &in, &out) != 0) {
        return fail("run", model);
    }
    if (out.y_dims[0] != 2 || out.y_dims[1] != 2 || memcmp(out.y, want, sizeof want) != 0) {
        return fail("result", model);
    }
    float mine[4] = {0};
    linear_outputs into = {.y = mine};
    if (linear_run(model, &in, &into) != 0 || into.y != mine || memcmp(mine, want, sizeof want) != 0) {
        return fail("run into memory of the caller", model);
    }
    in.x_dims[1] = 5;
    if (linear_run(model, &in, &out) != 2 || *linear_error(model) == '\0') {
        return fail("a wrong shape", model);
    }
    in.x_dims[1] = 3;
    in.x_dims[0] = -1;
    if (linear_run(model, &in, &out) != 2) {
        return fail("a negative shape", model);
    }
    in.x_dims[0] = 1;
    if (linear_run(model, &in, &out) != 0 || out.y_dims[0] != 1) {
        return fail("another shape", model);
    }
    linear_close(model);
    linear_close(NULL);
    puts("good");
    return 0;
}
