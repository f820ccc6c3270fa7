/* SPDX-License-Identifier: Apache-2.0
 * fuzz_records.c - any bytes as tuning records: no knob out of its bounds, whatever they say. */
#include <stdint.h>
#include <stdlib.h>

#include "frontends/compiler/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const lap_target target = {.vector_f32 = 8, .n_registers = 16, .mma_rows = 6, .mma_cols = 16};
    lap_schedule base = lap_schedule_default(&target), again;
    lap_records r = {0};
    char text[LAP_SCHEDULE_TEXT];
    if (!lap_records_parse(&r, data, n, "cpu toy", &base)) {
        abort();
    }
    for (uint32_t i = 0; i < r.n; i++) {
        again = base;
        lap_schedule_show(&r.at[i].schedule, &base, text);
        if (!lap_schedule_parse(text, &again, NULL) || !lap_schedule_same(&again, &r.at[i].schedule)) {
            abort();
        }
        (void)lap_records_best(&r, r.at[i].key, r.at[i].bucket);
    }
    lap_records_free(&r);
    return 0;
}
