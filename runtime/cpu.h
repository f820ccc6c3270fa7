/* SPDX-License-Identifier: Apache-2.0
 * cpu.h - instruction sets that code needs and this processor has, as bits (runtime/cpus.def). */
#ifndef LAP_RUNTIME_CPU_H
#define LAP_RUNTIME_CPU_H

#include <stddef.h>
#include <stdint.h>

typedef enum lap_cpu_feature {
#define LAP_CPU(enum_, name, arch, where, bit, level, doc) LAP_CPU_##enum_,
#include "runtime/cpus.def"
#undef LAP_CPU
    LAP_N_CPU_FEATURES
} lap_cpu_feature;

/* What this processor and its system support. */
uint64_t lap_cpu_features(void);
/* Name of the lowest bit of `bits`, "" for none. */
const char *lap_cpu_text(uint64_t bits);
/* The bit of a feature by LLVM's name, 0 when it is none of these. */
uint64_t lap_cpu_bit(const char *name, size_t n);
/* Bits that the x86-64 level 2, 3 or 4 implies. */
uint64_t lap_cpu_level(int level);

#endif
