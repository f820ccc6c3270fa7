/* SPDX-License-Identifier: Apache-2.0
 * test_arena.c - arena: contents, limits, cleanups, growth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/base/arena.h"

static void gives_zeroed_aligned_memory(void **state)
{
    (void)state;
    lap_arena *arena = lap_arena_new(0);
    unsigned char *kept[300];
    for (size_t i = 0; i < 300; i++) {
        size_t size = i * 37;
        kept[i] = lap_arena_alloc(arena, size);
        assert_int_equal((uintptr_t)kept[i] % _Alignof(max_align_t), 0);
        for (size_t j = 0; j < size; j++) {
            assert_int_equal(kept[i][j], 0);
        }
        memset(kept[i], (int)i, size);
    }
    for (size_t i = 0; i < 300; i++) {
        for (size_t j = 0; j < i * 37; j++) {
            assert_int_equal(kept[i][j], i & 255);
        }
    }
    unsigned char *large = lap_arena_alloc(arena, 5 << 20);
    memset(large, 1, 5 << 20);
    assert_int_equal(kept[7][3], 7);
    lap_arena_free(arena);
    lap_arena_free(NULL);
}

static void copies_and_prints(void **state)
{
    (void)state;
    lap_arena *arena = lap_arena_new(0);
    assert_string_equal(lap_arena_printf(arena, "%s-%d", "ab", 12), "ab-12");
    assert_string_equal(lap_arena_copy(arena, "xyz", 4), "xyz");
    assert_non_null(lap_arena_copy(arena, NULL, 0));
    lap_arena_free(arena);
}

static void grows(void **state)
{
    (void)state;
    lap_arena *arena = lap_arena_new(0);
    int *items = NULL;
    size_t capacity = 0;
    for (size_t i = 0; i < 1000; i++) {
        lap_arena_grow(arena, &items, i, 1, &capacity, sizeof *items);
        assert_true(capacity > i);
        items[i] = (int)i * 3;
    }
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(items[i], i * 3);
    }
    lap_arena_free(arena);
}

static void note_order(void *user)
{
    static int next;
    *(int *)user = ++next;
}

static void cleans_up_last_first(void **state)
{
    (void)state;
    int first = 0, second = 0;
    lap_arena *arena = lap_arena_new(0);
    lap_arena_cleanup(arena, note_order, &first);
    lap_arena_cleanup(arena, note_order, &second);
    lap_arena_free(arena);
    assert_int_equal(second, 1);
    assert_int_equal(first, 2);
}

static void jump_out(void *user) { longjmp(*(jmp_buf *)user, 1); }

static void limit_calls_the_handler(void **state)
{
    (void)state;
    jmp_buf out;
    lap_arena *arena = lap_arena_new(100000);
    lap_arena_on_oom(arena, jump_out, &out);
    volatile size_t total = 0;
    if (!setjmp(out)) {
        for (;;) {
            memset(lap_arena_alloc(arena, 1000), 1, 1000);
            total += 1000;
        }
    }
    assert_in_range(total, 50000, 100000);
    volatile int jumps = 0;
    if (!setjmp(out)) {
        lap_arena_array(arena, SIZE_MAX / 2, 3);
    } else {
        jumps++;
    }
    assert_int_equal(jumps, 1);
    if (!setjmp(out)) {
        lap_arena_alloc(arena, SIZE_MAX - 3);
    } else {
        jumps++;
    }
    assert_int_equal(jumps, 2);
    lap_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_zeroed_aligned_memory),
        cmocka_unit_test(copies_and_prints),
        cmocka_unit_test(grows),
        cmocka_unit_test(cleans_up_last_first),
        cmocka_unit_test(limit_calls_the_handler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
