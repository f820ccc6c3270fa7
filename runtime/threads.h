/* SPDX-License-Identifier: Apache-2.0
 * threads.h - a pool of threads that shares out the iterations of a loop.
 *
 * The caller works too. Workers spin for some microseconds after a job and then sleep; a job never
 * waits for a worker that has not woken up. Which thread does which iterations is not fixed, so
 * iterations must write disjoint data; results then do not depend on the number of threads. */
#ifndef LAP_RUNTIME_THREADS_H
#define LAP_RUNTIME_THREADS_H

#include "runtime/tensor.h"

typedef struct lap_pool lap_pool;

/* Processors that this process may use. */
uint32_t lap_processors(void);

/* Iterations begin <= i < end, on thread 0 (the caller) .. n-1. 0, or a code that stops the job. */
typedef int32_t lap_pool_fn(void *user, int64_t begin, int64_t end, uint32_t thread);

/* n_threads with the caller; 0: one per processor this process may use. Fewer when the system gives
 * fewer. NULL only when memory is out. */
lap_pool *lap_pool_new(uint32_t n_threads);
void lap_pool_free(lap_pool *pool);
uint32_t lap_pool_threads(const lap_pool *pool);

/* Runs iterations 0 .. n-1 in ranges of about `grain`; inline when there is one range or one thread.
 * Returns the code of the failing range that begins first, or 0. One job at a time, not nested. */
int32_t lap_pool_run(lap_pool *pool, int64_t n, int64_t grain, lap_pool_fn *fn, void *user);

#endif
