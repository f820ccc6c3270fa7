/* SPDX-License-Identifier: Apache-2.0
 * machine.c - processors: LLVM's target machine, and the numbers that passes plan with.
 *
 * Levels are data: the first row whose features the processor has gives vectors, registers and the
 * register tile. Cache sizes are those of this machine when generating for it, else usual ones. */
#include "codegen/llvm/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <llvm-c/Core.h>
#include <llvm-c/Target.h>

typedef struct level {
    const char *name, *arch; /* first letters of the triple */
    const char *needs[4];    /* features, all of them */
    uint32_t vector_f32, n_registers, mma_rows, mma_cols;
    bool has_masked;
    lap_abilities can;
} level;

/* Rows of one architecture from strong to weak; the last needs nothing. */
static const level levels[] = {
    {"x86-64-v4",
     "x86_64",
     {"avx512f", "avx512dq", "avx512bw", "avx512vl"},
     16,
     32,
     6,
     64,
     true,
     {.round = true, .half = true, .scale = true}},
    {"x86-64-v3", "x86_64", {"avx2", "fma", "f16c"}, 8, 16, 6, 16, false, {.round = true, .half = true}},
    {"x86-64-v2", "x86_64", {"sse4.1"}, 4, 16, 6, 8, false, {.round = true}},
    {"x86-64", "x86_64", {NULL}, 4, 16, 6, 8, false, {.round = false}},
    {"armv8-a", "aarch64", {NULL}, 4, 32, 8, 12, false, {.round = true, .half = true}},
    {"generic", "", {NULL}, 4, 16, 4, 8, false, {.round = false}},
};

/* Features that a processor name implies: LLVM's C interface does not tell. */
typedef struct named_cpu {
    const char *name, *features;
} named_cpu;
#define V3     "avx2,fma,f16c,sse4.1"
#define V4     "avx512f,avx512dq,avx512bw,avx512vl," V3
#define V4_DOT "avx512bf16," V4
static const named_cpu named[] = {
    {"x86-64-v4", V4},
    {"skylake-avx512", V4},
    {"cascadelake", V4},
    {"icelake-client", V4},
    {"tigerlake", V4},
    {"cooperlake", V4_DOT},
    {"emeraldrapids", V4_DOT},
    {"icelake-server", V4},
    {"sapphirerapids", V4_DOT},
    {"graniterapids", V4_DOT},
    {"znver4", V4_DOT},
    {"znver5", V4_DOT},
    {"x86-64-v3", V3},
    {"haswell", V3},
    {"broadwell", V3},
    {"skylake", V3},
    {"alderlake", V3},
    {"raptorlake", V3},
    {"meteorlake", V3},
    {"sierraforest", V3},
    {"znver1", V3},
    {"znver2", V3},
    {"znver3", V3},
    {"x86-64-v2", "sse4.1"},
    {"nehalem", "sse4.1"},
    {"westmere", "sse4.1"},
    {"sandybridge", "sse4.1"},
    {"ivybridge", "sse4.1,f16c"},
};

/* Processors that do more products of bf16 in pairs than of f32 in the same time. Intel's since Sapphire
 * Rapids do half as many with vectors: their dot products leave the pipes to the matrix unit. */
static const char *const fast_dot[] = {"znver5", "neoverse-n2", "neoverse-v1", "neoverse-v2"};

static bool has_word(const char *list, const char *word, size_t n, char mark)
{
    for (const char *at = list; at && *at;) {
        const char *end = strchr(at, ',');
        size_t length = end ? (size_t)(end - at) : strlen(at);
        size_t skip = mark && *at == mark ? 1 : 0;
        if ((mark == 0 || skip) && length == n + skip && strncmp(at + skip, word, n) == 0) {
            return true;
        }
        at = end ? end + 1 : NULL;
    }
    return false;
}

static bool cpu_has(const lap_machine *m, const char *feature)
{
    if (has_word(m->features, feature, strlen(feature), '+')) {
        return true;
    }
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        if (strcmp(named[i].name, m->cpu) == 0) {
            return has_word(named[i].features, feature, strlen(feature), 0);
        }
    }
    return false;
}

static const level *level_of(const lap_machine *m)
{
    for (size_t i = 0; i + 1 < sizeof levels / sizeof *levels; i++) {
        const level *l = &levels[i];
        bool fits = strncmp(m->triple, l->arch, strlen(l->arch)) == 0;
        for (size_t j = 0; fits && j < 4 && l->needs[j]; j++) {
            fits = cpu_has(m, l->needs[j]);
        }
        if (fits) {
            return l;
        }
    }
    return &levels[sizeof levels / sizeof *levels - 1];
}

static bool has_fast_dot(const lap_machine *m)
{
    for (size_t i = 0; i < sizeof fast_dot / sizeof *fast_dot; i++) {
        if (strcmp(fast_dot[i], m->cpu) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_dot(const lap_machine *m, const level *l)
{
    bool is_x86 = strncmp(m->triple, "x86_64", 6) == 0;
    return is_x86 ? l->vector_f32 == 16 && cpu_has(m, "avx512bf16") : cpu_has(m, "bf16") || has_fast_dot(m);
}

static uint32_t cache_bytes(int name, uint32_t usual, bool is_here)
{
    long bytes = is_here ? sysconf(name) : 0;
    return bytes > 0 && bytes < (1L << 31) ? (uint32_t)bytes : usual;
}

static void describe(lap_machine *m, bool is_here)
{
    const level *l = level_of(m);
    m->can = l->can;
    m->target = (lap_target){
        .name = l->name,
        .vector_f32 = l->vector_f32,
        .n_registers = l->n_registers,
        .mma_rows = l->mma_rows,
        .mma_cols = l->mma_cols,
        .l1_bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, 32u << 10, is_here),
        .l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, 512u << 10, is_here),
        .l3_bytes = cache_bytes(_SC_LEVEL3_CACHE_SIZE, 8u << 20, is_here),
        .has_masked = l->has_masked,
        .has_dot = has_dot(m, l),
        .has_fast_dot = has_fast_dot(m),
    };
}

static void targets_start(void)
{
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeAArch64AsmParser();
}

/* LLVM prints a warning and goes on with an unknown processor; asked beforehand it can be refused. */
static bool cpu_is_known(const char *triple, const char *cpu)
{
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        if (strcmp(named[i].name, cpu) == 0) {
            return strncmp(triple, "x86_64", 6) == 0;
        }
    }
    if (strncmp(triple, "x86_64", 6) == 0) {
        return strcmp(cpu, "x86-64") == 0;
    }
    return strcmp(cpu, "generic") == 0 || strncmp(cpu, "cortex-", 7) == 0 ||
           strncmp(cpu, "neoverse-", 9) == 0 || strncmp(cpu, "apple-m", 7) == 0;
}

static bool make_llvm(lap_machine *m, lap_fault *fault)
{
    LLVMTargetRef target = NULL;
    char *error = NULL;
    if (LLVMGetTargetFromTriple(m->triple, &target, &error)) {
        lap_fault_set(fault, LAP_NO_DEVICE, "no code generator for '%s': %s", m->triple,
                      error ? error : "unknown");
        LLVMDisposeMessage(error);
        return false;
    }
    if (!LLVMTargetHasTargetMachine(target) || !LLVMTargetHasAsmBackend(target)) {
        return lap_fault_set(fault, LAP_NO_DEVICE, "no code generator for '%s'", m->triple);
    }
    m->llvm = LLVMCreateTargetMachine(target, m->triple, m->cpu, m->features, LLVMCodeGenLevelDefault,
                                      LLVMRelocPIC, LLVMCodeModelDefault);
    if (!m->llvm) {
        return lap_fault_set(fault, LAP_NO_DEVICE, "no code generator for '%s' on '%s'", m->cpu, m->triple);
    }
    m->layout = LLVMCreateTargetDataLayout(m->llvm);
    return true;
}

static char *take_message(char *text)
{
    char *copy = strdup(text ? text : "");
    LLVMDisposeMessage(text);
    return copy;
}

/* The first part of a triple: equal ones can run each other's code when the rest is this system's. */
static bool same_arch(const char *a, const char *b)
{
    size_t n = strcspn(a, "-");
    return n == strcspn(b, "-") && strncmp(a, b, n) == 0;
}

lap_machine *lap_machine_new(const char *triple, const char *cpu, lap_fault *fault)
{
    targets_start();
    lap_machine *m = calloc(1, sizeof *m);
    if (!m) {
        lap_fault_set(fault, LAP_INTERNAL, "out of memory");
        return NULL;
    }
    char *here = take_message(LLVMGetDefaultTargetTriple());
    m->triple = triple ? take_message(LLVMNormalizeTargetTriple(triple)) : strdup(here ? here : "");
    bool is_here = m->triple && here && same_arch(m->triple, here);
    bool is_native = !cpu || strcmp(cpu, "native") == 0;
    free(here);
    if (is_native && is_here) {
        m->cpu = take_message(LLVMGetHostCPUName());
        m->features = take_message(LLVMGetHostCPUFeatures());
    } else {
        bool is_x86 = m->triple && strncmp(m->triple, "x86_64", 6) == 0;
        m->cpu = strdup(!is_native ? cpu : is_x86 ? "x86-64-v3" : "generic");
        m->features = strdup("");
    }
    bool is_whole = m->triple && m->cpu && m->features;
    if (!is_whole) {
        lap_fault_set(fault, LAP_INTERNAL, "out of memory");
    } else if (!is_native && !cpu_is_known(m->triple, m->cpu)) {
        is_whole = lap_fault_set(fault, LAP_NO_DEVICE, "unknown processor '%s' for '%s'", m->cpu, m->triple);
    }
    if (!is_whole || !make_llvm(m, fault)) {
        lap_machine_free(m);
        return NULL;
    }
    describe(m, is_native && is_here);
    return m;
}

void lap_machine_free(lap_machine *machine)
{
    if (!machine) {
        return;
    }
    if (machine->layout) {
        LLVMDisposeTargetData(machine->layout);
    }
    if (machine->llvm) {
        LLVMDisposeTargetMachine(machine->llvm);
    }
    free(machine->triple);
    free(machine->cpu);
    free(machine->features);
    free(machine);
}

const lap_target *lap_machine_target(const lap_machine *machine) { return &machine->target; }

const char *lap_machine_triple(const lap_machine *machine) { return machine->triple; }

const char *lap_machine_cpu(const lap_machine *machine) { return machine->cpu; }

const char *lap_machine_features(const lap_machine *machine) { return machine->features; }
