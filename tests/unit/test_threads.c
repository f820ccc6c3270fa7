/* SPDX-License-Identifier: Apache-2.0
 * test_threads.c - every iteration runs once, codes are the first range's, jobs follow each other fast. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "runtime/threads.h"

typedef struct job {
    uint8_t *done;
    int64_t fail_from;
    uint32_t n_threads;
} job;

static int32_t mark(void *user, int64_t begin, int64_t end, uint32_t thread)
{
    job *j = user;
    if (thread >= j->n_threads) {
        return -1;
    }
    for (int64_t i = begin; i < end; i++) {
        j->done[i]++;
    }
    return j->fail_from >= 0 && end > j->fail_from ? (int32_t)(begin / 10) + 1 : 0;
}

static void once(lap_pool *pool, int64_t n, int64_t grain)
{
    job j = {calloc((size_t)n + 1, 1), -1, lap_pool_threads(pool)};
    assert_int_equal(lap_pool_run(pool, n, grain, mark, &j), 0);
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(j.done[i], 1);
    }
    assert_int_equal(j.done[n], 0);
    free(j.done);
}

static void test_every_iteration_once(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 2, 7, 64, 1000, 12345};
    for (uint32_t threads = 1; threads <= 5; threads++) {
        lap_pool *pool = lap_pool_new(threads);
        assert_int_equal(lap_pool_threads(pool), threads);
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            for (int64_t grain = 0; grain < 2000; grain = grain * 7 + 1) {
                once(pool, sizes[s], grain);
            }
        }
        lap_pool_free(pool);
    }
}

static void test_many_jobs(void **state)
{
    (void)state;
    lap_pool *pool = lap_pool_new(4);
    for (int i = 0; i < 3000; i++) {
        once(pool, 1 + i % 100, 1 + i % 3);
        if (i % 500 == 0) {
            usleep(2000); /* let them sleep */
        }
    }
    lap_pool_free(pool);
}

static void test_first_code(void **state)
{
    (void)state;
    lap_pool *pool = lap_pool_new(4);
    for (int i = 0; i < 300; i++) {
        job j = {calloc(1000, 1), 137, 4};
        assert_int_equal(lap_pool_run(pool, 1000, 10, mark, &j), 14);
        free(j.done);
    }
    lap_pool_free(pool);
}

static void test_default_size(void **state)
{
    (void)state;
    lap_pool *pool = lap_pool_new(0);
    assert_in_range(lap_pool_threads(pool), 1, 1024);
    once(pool, 100, 1);
    lap_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_iteration_once),
        cmocka_unit_test(test_many_jobs),
        cmocka_unit_test(test_first_code),
        cmocka_unit_test(test_default_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
