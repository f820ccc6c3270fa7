/* SPDX-License-Identifier: Apache-2.0
 * fuzz_safetensors.c - any bytes as a safetensors file: refused, or every tensor can be read. */
#include <stdlib.h>
#include <string.h>

#include "runtime/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_all(lap_safetensors *file)
{
    for (uint32_t i = 0; i < lap_safetensors_n(file); i++) {
        lap_tensor t;
        if (lap_safetensors_find(file, lap_safetensors_name(file, i)) != lap_safetensors_at(file, i)) {
            abort();
        }
        for (int dtype = 0; dtype <= LAP_NO_DTYPE; dtype++) {
            size_t count;
            if (lap_safetensors_read(file, i, (lap_dtype)dtype, &t, NULL) && lap_tensor_count(&t, &count) &&
                count > 0) {
                lap_tensor_get(&t, count - 1);
            }
        }
    }
    for (uint32_t i = 0; i < lap_safetensors_n_meta(file); i++) {
        if (!lap_safetensors_meta(file, lap_safetensors_meta_key(file, i))) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lap_safetensors *file = lap_safetensors_parse(data, n, "fuzz", NULL);
    if (file) {
        read_all(file);
        lap_safetensors_close(file);
    }
    return 0;
}
