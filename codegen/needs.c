/* SPDX-License-Identifier: Apache-2.0
 * needs.c - which instruction sets code for a processor may use. */
#include "codegen/needs.h"

#include <string.h>

#include "runtime/cpu.h"

uint64_t lap_machine_needs(const lap_machine *machine)
{
    const char *name = lap_machine_target(machine)->name;
    uint64_t bits = strncmp(name, "x86-64-v", 8) == 0 ? lap_cpu_level(name[8] - '0') : 0;
    bool is_x86 = strncmp(lap_machine_triple(machine), "x86_64", 6) == 0;
    const char *dot = is_x86 ? "avx512bf16" : "bf16";
    bits |= lap_machine_target(machine)->has_dot ? lap_cpu_bit(dot, strlen(dot)) : 0;
    for (const char *at = lap_machine_features(machine); at != NULL && *at != '\0';) {
        size_t n = strcspn(at, ",");
        if (n > 1 && *at == '+') {
            bits |= lap_cpu_bit(at + 1, n - 1);
        }
        at += n + (at[n] == ',');
    }
    return bits;
}

bool lap_machine_runs_here(const lap_machine *machine, lap_fault *fault)
{
    uint64_t lacking = lap_machine_needs(machine) & ~lap_cpu_features();
    return lacking == 0 ||
           lap_fault_set(fault, LAP_NO_DEVICE, "this processor lacks %s, which code for '%s' needs",
                         lap_cpu_text(lacking), lap_machine_cpu(machine));
}
