/* SPDX-License-Identifier: Apache-2.0
 * cpu.c - asks the processor, and whether the system saves its registers. */
#include "runtime/cpu.h"

#include <string.h>

#if defined __x86_64__
#include <cpuid.h>
#elif defined __aarch64__
#include <sys/auxv.h>
#endif

typedef struct row {
    const char *name;
    int arch, where, bit, level;
} row;

enum { X86, AARCH64 };
/* Words of what the processor says of itself. */
enum { LEAF1_ECX, LEAF7_EBX, LEAF7_ECX, LEAF7_EDX, LEAF71_EAX, HWCAP, HWCAP2, N_WORDS };

static const row rows[] = {
#define LAP_CPU(enum_, name_, arch_, where_, bit_, level_, doc_) {name_, arch_, where_, bit_, level_},
#include "runtime/cpus.def"
#undef LAP_CPU
};

#if defined __x86_64__
static const int here = X86;

static uint64_t enabled_state(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static void ask(uint32_t word[N_WORDS])
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) {
        return;
    }
    word[LEAF1_ECX] = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        word[LEAF7_EBX] = b;
        word[LEAF7_ECX] = c;
        word[LEAF7_EDX] = d;
        unsigned n_sub = a;
        if (n_sub >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
            word[LEAF71_EAX] = a;
        }
    }
}

/* Features whose registers the system does not save are of no use. */
static uint64_t usable(uint64_t features, const uint32_t word[N_WORDS])
{
    const uint32_t has_xgetbv = 1u << 27;
    uint64_t state = (word[LEAF1_ECX] & has_xgetbv) != 0 ? enabled_state() : 0;
    const uint64_t ymm = 0x6, zmm = 0xe6;
    for (int i = LAP_CPU_AVX; i <= LAP_CPU_AVX512FP16; i++) {
        uint64_t needs = i == LAP_CPU_BMI2 ? 0 : i >= LAP_CPU_AVX512F ? zmm : ymm;
        if ((state & needs) != needs) {
            features &= ~((uint64_t)1 << i);
        }
    }
    return features;
}
#elif defined __aarch64__
static const int here = AARCH64;

static void ask(uint32_t word[N_WORDS])
{
    word[HWCAP] = (uint32_t)getauxval(AT_HWCAP);
    word[HWCAP2] = (uint32_t)getauxval(AT_HWCAP2);
}

static uint64_t usable(uint64_t features, const uint32_t word[N_WORDS])
{
    (void)word;
    return features;
}
#else
static const int here = -1;

static void ask(uint32_t word[N_WORDS]) { (void)word; }

static uint64_t usable(uint64_t features, const uint32_t word[N_WORDS])
{
    (void)word;
    return features;
}
#endif

uint64_t lap_cpu_features(void)
{
    uint32_t word[N_WORDS] = {0};
    ask(word);
    uint64_t features = 0;
    for (int i = 0; i < LAP_N_CPU_FEATURES; i++) {
        if (rows[i].arch == here && (word[rows[i].where] >> rows[i].bit & 1) != 0) {
            features |= (uint64_t)1 << i;
        }
    }
    return usable(features, word);
}

const char *lap_cpu_text(uint64_t bits)
{
    for (int i = 0; i < LAP_N_CPU_FEATURES; i++) {
        if ((bits >> i & 1) != 0) {
            return rows[i].name;
        }
    }
    return "";
}

uint64_t lap_cpu_bit(const char *name, size_t n)
{
    for (int i = 0; i < LAP_N_CPU_FEATURES; i++) {
        if (strlen(rows[i].name) == n && memcmp(rows[i].name, name, n) == 0) {
            return (uint64_t)1 << i;
        }
    }
    return 0;
}

uint64_t lap_cpu_level(int level)
{
    uint64_t bits = 0;
    for (int i = 0; i < LAP_N_CPU_FEATURES; i++) {
        if (rows[i].level <= level) {
            bits |= (uint64_t)1 << i;
        }
    }
    return bits;
}
