/* SPDX-License-Identifier: Apache-2.0
 * fuzz_records.c - any bytes as tuning records: no knob out of its bounds, whatever they say. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/compiler/records.h"

#define TARGET "cpu toy"
enum { MOST = 4000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(const lap_schedule *base, const void *bytes, size_t n)
{
    lap_records r = {0};
    char text[LAP_SCHEDULE_TEXT];
    if (!lap_records_parse(&r, bytes, n, TARGET, base)) {
        abort();
    }
    for (uint32_t i = 0; i < r.n; i++) {
        lap_schedule again = *base;
        lap_schedule_show(&r.at[i].schedule, base, text);
        if (!lap_schedule_parse(text, &again, NULL) || !lap_schedule_same(&again, &r.at[i].schedule)) {
            abort();
        }
        (void)lap_records_best(&r, r.at[i].key, r.at[i].bucket);
    }
    lap_records_free(&r);
}

static uint64_t sum(const char *text, size_t n, uint64_t h)
{
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    }
    return h;
}

/* As they are; and as one line with the right sum, since no fuzzer finds that. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const lap_target target = {.vector_f32 = 8, .n_registers = 16, .mma_rows = 6, .mma_cols = 16};
    lap_schedule base = lap_schedule_default(&target);
    size_t length = n < MOST ? n : MOST;
    char *line = malloc(length + 256);
    if (line == NULL) {
        return 0;
    }
    check(&base, data, n);
    uint64_t h = sum(TARGET "\n", strlen(TARGET) + 1, UINT64_C(14695981039346656037));
    int head = snprintf(line, 256, "lappet-tuning 1\ntarget " TARGET "\n%016llx ",
                        (unsigned long long)sum((const char *)data, length, h));
    memcpy(line + head, data, length);
    line[(size_t)head + length] = '\n';
    check(&base, line, (size_t)head + length + 1);
    free(line);
    return 0;
}
