/* SPDX-License-Identifier: Apache-2.0
 * steps.c - runs the steps of a program: launches over the pool, loops, branches, copies. */
#include <string.h>
#include <time.h>

#include "runtime/exec_state.h"

typedef struct launch {
    lap_kernel_fn *fn;
    void *const *slots;
    const int64_t *dims;
    char *scratch;
    size_t stride;
} launch;

/* Subnormal numbers are 0 while a kernel runs. Processors take a hundred times longer for them, and they
 * come by themselves: decayed states, weights that count nothing, unused lanes of a vector. */
static uint64_t flush_subnormal(void)
{
#if defined(__x86_64__)
    enum { INPUTS = 1 << 6, RESULTS = 1 << 15 };
    unsigned mode = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(mode | INPUTS | RESULTS);
#elif defined(__aarch64__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | UINT64_C(1) << 24));
#else
    uint64_t mode = 0;
#endif
    return mode;
}

static void restore(uint64_t mode)
{
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr((unsigned)mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
    (void)mode;
#endif
}

static int32_t launch_range(void *user, int64_t begin, int64_t end, uint32_t thread)
{
    const launch *l = user;
    uint64_t mode = flush_subnormal();
    int32_t code = l->fn(l->slots, l->dims, begin, end, l->scratch + thread * l->stride);
    restore(mode);
    return code;
}

static bool kernel_failed(const lap_exec *exec, const lap_image_kernel *k, int32_t code, lap_fault *fault)
{
    if (code < 0 || (uint32_t)code > exec->image.n_messages) {
        return lap_fault_set(fault, LAP_INTERNAL, "kernel %s gave the unknown code %d", k->name, (int)code);
    }
    const lap_image_message *m = &exec->image.messages[code - 1];
    return lap_fault_at(fault, LAP_BAD_INPUT, m->place, "%s", m->text);
}

bool lap_exec_no_operand(const lap_exec *exec, uint32_t buffer, lap_fault *fault)
{
    const lap_image *image = &exec->image;
    const lap_image_buffer *b = &image->buffers[buffer];
    if (b->kind == LAP_BUF_INPUT && !exec->is_given[b->leaf]) {
        const lap_image_leaf *leaf = &image->leaves[LAP_LEAF_INPUT][b->leaf];
        return lap_fault_at(fault, LAP_BAD_INPUT, leaf->place, "%s is needed but not given", leaf->name);
    }
    return lap_fault_set(fault, LAP_BAD_INPUT, "%s elements are needed, which %s", image->dims[b->count].text,
                         lap_extent_trouble((lap_extent_state)exec->dim_state[b->count]));
}

static bool dims_have_values(const lap_exec *exec, const lap_image_kernel *k, lap_fault *fault)
{
    for (uint32_t i = 0; i <= k->n_dims + 1; i++) {
        uint32_t dim = i < k->n_dims ? k->dims[i] : i == k->n_dims ? k->grid : k->scratch;
        if (exec->dim_state[dim] != LAP_EXTENT_OK) {
            return lap_fault_at(fault, LAP_BAD_INPUT, k->place, "%s %s", exec->image.dims[dim].text,
                                lap_extent_trouble((lap_extent_state)exec->dim_state[dim]));
        }
    }
    return true;
}

/* Loops that would take years are a mistake in a size, not work to be done. */
static bool can_end(const lap_exec *exec, const lap_image_kernel *k, lap_fault *fault)
{
    const int64_t most = INT64_C(1) << 62; /* in 1/16 ns: nine years */
    int64_t total;
    lap_extent_state cost = (lap_extent_state)exec->dim_state[k->cost];
    bool is_endless =
        cost == LAP_EXTENT_OVERFLOW ||
        (cost == LAP_EXTENT_OK &&
         (__builtin_mul_overflow(exec->dims[k->cost], exec->dims[k->grid], &total) || total > most));
    return !is_endless || lap_fault_at(fault, LAP_BAD_INPUT, k->place, "this would take years: %s x %s steps",
                                       exec->image.dims[k->grid].text, exec->image.dims[k->cost].text);
}

bool lap_exec_can_launch(const lap_exec *exec, const lap_image_kernel *k, lap_fault *fault)
{
    return dims_have_values(exec, k, fault) && can_end(exec, k, fault);
}

/* Iterations worth a turn at the counter: about 2 microseconds, and some ranges per thread. */
static int64_t grain_of(const lap_exec *exec, const lap_image_kernel *k, int64_t n)
{
    enum { TURN = 2000 * 16, RANGES = 8 };
    int64_t cost = exec->dim_state[k->cost] != LAP_EXTENT_OK ? TURN : exec->dims[k->cost];
    cost = cost > 0 ? cost : 1;
    int64_t least = TURN / cost + 1;
    int64_t even = n / ((int64_t)lap_pool_threads(exec->pool) * RANGES);
    return even > least ? even : least;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool run_launch(lap_exec *exec, const lap_image_step *s, lap_fault *fault)
{
    const lap_image_kernel *k = &exec->image.kernels[s->kernel];
    if (!lap_exec_can_launch(exec, k, fault)) {
        return false;
    }
    for (uint32_t i = 0; i < s->n_buffers; i++) {
        exec->slots[i] = exec->at[s->buffers[i]];
        if (!exec->slots[i]) {
            return lap_exec_no_operand(exec, s->buffers[i], fault);
        }
    }
    int64_t n = exec->dims[k->grid];
    launch l = {exec->kernels[s->kernel], exec->slots, exec->kernel_dims + exec->kernel_start[s->kernel],
                exec->scratch.at, exec->scratch_stride};
    double start = exec->spent ? seconds() : 0.0;
    int32_t code = lap_pool_run(exec->pool, n, grain_of(exec, k, n), launch_range, &l);
    if (exec->spent) {
        exec->spent[s->kernel].seconds += seconds() - start;
        exec->spent[s->kernel].launches++;
    }
    return code == 0 || kernel_failed(exec, k, code, fault);
}

static bool run_list(lap_exec *exec, uint32_t first, uint32_t n, lap_fault *fault);

void *lap_exec_cell(const lap_exec *exec, int32_t buffer, size_t size, lap_fault *fault)
{
    if (exec->n_bytes[buffer] < size || !exec->at[buffer]) {
        lap_fault_set(fault, LAP_INTERNAL, "buffer %d of the program has no element", (int)buffer);
        return NULL;
    }
    return exec->at[buffer];
}

static bool run_loop(lap_exec *exec, const lap_image_step *s, lap_fault *fault)
{
    if (exec->dim_state[s->limit] != LAP_EXTENT_OK) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "%s %s", exec->image.dims[s->limit].text,
                             lap_extent_trouble((lap_extent_state)exec->dim_state[s->limit]));
    }
    int64_t *counter = s->counter < 0 ? NULL : lap_exec_cell(exec, s->counter, sizeof *counter, fault);
    const uint8_t *test = s->test < 0 ? NULL : lap_exec_cell(exec, s->test, sizeof *test, fault);
    if ((s->counter >= 0 && !counter) || (s->test >= 0 && !test)) {
        return false;
    }
    int64_t limit = exec->dims[s->limit];
    for (int64_t i = 0; i < limit; i++) {
        if (counter) {
            *counter = s->reverse ? limit - 1 - i : i;
        }
        if (!run_list(exec, s->body, s->n_test, fault)) {
            return false;
        }
        if (test && !*test) {
            return true;
        }
        if (!run_list(exec, s->body + s->n_test, s->n_body - s->n_test, fault)) {
            return false;
        }
    }
    return true;
}

static bool run_branch(lap_exec *exec, const lap_image_step *s, lap_fault *fault)
{
    const uint8_t *test = lap_exec_cell(exec, s->test, sizeof *test, fault);
    if (!test) {
        return false;
    }
    return *test ? run_list(exec, s->body, s->n_body, fault) : run_list(exec, s->other, s->n_other, fault);
}

static bool run_copy(lap_exec *exec, const lap_image_step *s, lap_fault *fault)
{
    if (!exec->at[s->from] || !exec->at[s->to]) {
        return lap_exec_no_operand(exec, exec->at[s->from] ? s->to : s->from, fault);
    }
    if (exec->n_bytes[s->from] != exec->n_bytes[s->to]) {
        return lap_fault_set(fault, LAP_INTERNAL, "buffers %u and %u of the program differ in size", s->from,
                             s->to);
    }
    memmove(exec->at[s->to], exec->at[s->from], exec->n_bytes[s->to]);
    return true;
}

static bool run_step(lap_exec *exec, const lap_image_step *s, lap_fault *fault)
{
    switch (s->kind) {
    case LAP_STEP_LAUNCH:
        return run_launch(exec, s, fault);
    case LAP_STEP_LOOP:
        return run_loop(exec, s, fault);
    case LAP_STEP_BRANCH:
        return run_branch(exec, s, fault);
    case LAP_STEP_COPY:
        return run_copy(exec, s, fault);
    case LAP_STEP_FOREIGN:
        return lap_exec_foreign(exec, s, fault);
    }
    return false;
}

static bool run_list(lap_exec *exec, uint32_t first, uint32_t n, lap_fault *fault)
{
    for (uint32_t i = first; i < first + n; i++) {
        if (!run_step(exec, &exec->image.steps[i], fault)) {
            return false;
        }
    }
    return true;
}

bool lap_exec_steps(lap_exec *exec, bool on_load, lap_fault *fault)
{
    for (uint32_t i = 0; i < exec->image.n_top; i++) {
        const lap_image_step *s = &exec->image.steps[i];
        if (s->on_load == on_load && !run_step(exec, s, fault)) {
            return false;
        }
    }
    return true;
}
