/* SPDX-License-Identifier: Apache-2.0
 * fuzz_npy.c - any bytes as an npy file: refused, or readable to the last element. */
#include "runtime/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lap_npy *file = lap_npy_parse(data, n, "fuzz", NULL);
    if (!file) {
        return 0;
    }
    for (int dtype = 0; dtype <= LAP_NO_DTYPE; dtype++) {
        lap_tensor t;
        size_t count;
        if (lap_npy_read(file, (lap_dtype)dtype, &t, NULL) && lap_tensor_count(&t, &count) && count > 0) {
            lap_tensor_get(&t, count - 1);
        }
    }
    lap_npy_close(file);
    return 0;
}
