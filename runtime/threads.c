/* SPDX-License-Identifier: Apache-2.0
 * threads.c - a pool of threads that shares out the iterations of a loop.
 *
 * `gate` holds in one word whether the job is open and how many workers are inside. Workers enter
 * by compare-and-swap while it is open; the caller works, closes the gate and waits for those inside.
 * So sleepers cost a job nothing, and a late one cannot touch a job that is over. `epoch` counts jobs;
 * workers spin on it, then sleep on it (futex). */
#include "runtime/threads.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_THREADS = 1024, SPINS = 3000, OPEN = 1, INSIDE = 2, LINE = 64 };

typedef struct worker {
    lap_pool *pool;
    pthread_t thread;
    uint32_t number;
} worker;

struct lap_pool {
    _Alignas(LINE) atomic_uint epoch;
    _Alignas(LINE) atomic_uint gate; /* OPEN, plus INSIDE per worker */
    atomic_uint sleepers;
    atomic_bool is_ending;
    _Alignas(LINE) atomic_uint_least64_t next; /* first iteration that nobody has taken */
    /* the job, written while the gate is closed */
    _Alignas(LINE) lap_pool_fn *fn;
    void *user;
    uint64_t n, grain;
    pthread_mutex_t lock; /* of the two below */
    int32_t code;
    uint64_t code_at;
    uint32_t n_threads;
    worker *workers;
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

static void futex_wait(atomic_uint *word, unsigned seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake_all(atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0);
}

static void report(lap_pool *pool, uint64_t begin, int32_t code)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->code == 0 || begin < pool->code_at) {
        pool->code = code;
        pool->code_at = begin;
    }
    pthread_mutex_unlock(&pool->lock);
    /* Ranges below this one are taken already and will finish; the others need not start. */
    atomic_store_explicit(&pool->next, pool->n, memory_order_relaxed);
}

static void work(lap_pool *pool, uint32_t thread)
{
    uint64_t n = pool->n, grain = pool->grain;
    for (;;) {
        uint64_t begin = atomic_fetch_add_explicit(&pool->next, grain, memory_order_relaxed);
        if (begin >= n) {
            return;
        }
        uint64_t end = n - begin < grain ? n : begin + grain;
        int32_t code = pool->fn(pool->user, (int64_t)begin, (int64_t)end, thread);
        if (code != 0) {
            report(pool, begin, code);
        }
    }
}

static bool enter(lap_pool *pool)
{
    unsigned gate = atomic_load_explicit(&pool->gate, memory_order_relaxed);
    while (gate & OPEN) {
        if (atomic_compare_exchange_weak_explicit(&pool->gate, &gate, gate + INSIDE, memory_order_acquire,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

/* Waits until the epoch is not `seen`; the new one. */
static unsigned await_epoch(lap_pool *pool, unsigned seen)
{
    for (int i = 0; i < SPINS; i++) {
        unsigned now = atomic_load_explicit(&pool->epoch, memory_order_acquire);
        if (now != seen) {
            return now;
        }
        relax();
    }
    atomic_fetch_add(&pool->sleepers, 1);
    unsigned now;
    while ((now = atomic_load(&pool->epoch)) == seen) {
        futex_wait(&pool->epoch, seen);
    }
    atomic_fetch_sub(&pool->sleepers, 1);
    return now;
}

static void *worker_main(void *user)
{
    const worker *self = user;
    lap_pool *pool = self->pool;
    unsigned seen = 0;
    for (;;) {
        seen = await_epoch(pool, seen);
        if (atomic_load(&pool->is_ending)) {
            return NULL;
        }
        if (enter(pool)) {
            work(pool, self->number);
            atomic_fetch_sub_explicit(&pool->gate, INSIDE, memory_order_release);
        }
    }
}

static void next_epoch(lap_pool *pool)
{
    atomic_fetch_add(&pool->epoch, 1);
    if (atomic_load(&pool->sleepers) > 0) {
        futex_wake_all(&pool->epoch);
    }
}

uint32_t lap_processors(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        return (uint32_t)CPU_COUNT(&set);
    }
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (uint32_t)n : 1;
}

lap_pool *lap_pool_new(uint32_t n_threads)
{
    n_threads = n_threads ? n_threads : lap_processors();
    n_threads = n_threads < 1 ? 1 : n_threads > MAX_THREADS ? MAX_THREADS : n_threads;
    lap_pool *pool = aligned_alloc(LINE, sizeof *pool);
    worker *workers = calloc(n_threads, sizeof *workers);
    if (!pool || !workers) {
        free(pool);
        free(workers);
        return NULL;
    }
    *pool = (lap_pool){.workers = workers, .n_threads = 1};
    pthread_mutex_init(&pool->lock, NULL);
    while (pool->n_threads < n_threads) {
        worker *w = &workers[pool->n_threads];
        *w = (worker){.pool = pool, .number = pool->n_threads};
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
            break;
        }
        pool->n_threads++;
    }
    return pool;
}

void lap_pool_free(lap_pool *pool)
{
    if (!pool) {
        return;
    }
    atomic_store(&pool->is_ending, true);
    next_epoch(pool);
    for (uint32_t i = 1; i < pool->n_threads; i++) {
        pthread_join(pool->workers[i].thread, NULL);
    }
    pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool);
}

uint32_t lap_pool_threads(const lap_pool *pool) { return pool->n_threads; }

static void await_workers(lap_pool *pool)
{
    for (unsigned i = 1; atomic_load_explicit(&pool->gate, memory_order_acquire) != 0; i++) {
        if (i % SPINS == 0) {
            sched_yield(); /* a worker inside may be waiting for this processor */
        }
        relax();
    }
}

int32_t lap_pool_run(lap_pool *pool, int64_t n, int64_t grain, lap_pool_fn *fn, void *user)
{
    if (n <= 0) {
        return 0;
    }
    if (pool->n_threads == 1 || n <= grain) {
        return fn(user, 0, n, 0);
    }
    /* At most n / threads, so that the counter, which every thread oversteps once, cannot overflow. */
    int64_t most = n / pool->n_threads;
    grain = grain > most ? most : grain;
    grain = grain < 1 ? 1 : grain;
    pool->fn = fn;
    pool->user = user;
    pool->n = (uint64_t)n;
    pool->grain = (uint64_t)grain;
    pool->code = 0;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->gate, OPEN, memory_order_release);
    next_epoch(pool);
    work(pool, 0);
    atomic_fetch_and_explicit(&pool->gate, ~(unsigned)OPEN, memory_order_acq_rel);
    await_workers(pool);
    return pool->code;
}
