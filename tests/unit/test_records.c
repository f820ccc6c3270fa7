/* SPDX-License-Identifier: Apache-2.0
 * test_records.c - tuning records: what is written is read again, what is damaged, foreign or out of bounds
 * is not, and neither two writers, a full disk nor a kill loses what was there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frontends/compiler/records.h"
#include "runtime/file.h"
#include "tests/support/process.h"

#define TARGET "cpu toy threads=1"
static const lap_target toy = {.vector_f32 = 8, .n_registers = 16, .mma_rows = 6, .mma_cols = 16};

static lap_schedule base(void) { return lap_schedule_default(&toy); }

static lap_record record(uint64_t key, lap_record_outcome outcome, int32_t tiles)
{
    lap_record r = {.key = key, .outcome = outcome, .seconds = 1e-3, .schedule = base()};
    r.schedule.v[LAP_KNOB_ATTEND_TILES] = tiles;
    strcpy(r.bucket, "0.10");
    strcpy(r.what, "attend");
    strcpy(r.reason, outcome == LAP_RECORD_BEST ? "" : "slower\nby far");
    return r;
}

static lap_records read_all(const char *path, const char *target)
{
    lap_records r = {0};
    lap_fault fault = {0};
    lap_schedule b = base();
    if (!lap_records_read(&r, path, target, &b, &fault)) {
        fail_msg("%s", fault.text);
    }
    return r;
}

static bool merge(const char *path, uint32_t n, const lap_record *records, lap_fault *fault)
{
    lap_schedule b = base();
    return lap_records_merge(path, TARGET, &b, n, records, fault);
}

static char *folder;

static int make_folder(void **state)
{
    (void)state;
    folder = folder_new();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static void test_round_trip(void **state)
{
    (void)state;
    const char *path = folder_path(folder, "deep/er/t.txt");
    lap_record first[] = {record(1, LAP_RECORD_BEST, 4), record(1, LAP_RECORD_LOST, 8)};
    lap_record second[] = {record(2, LAP_RECORD_REJECTED, 16), record(2, LAP_RECORD_BEST, 32)};
    lap_record again[] = {record(1, LAP_RECORD_BEST, 2)};
    assert_true(merge(path, 2, first, NULL));
    assert_true(merge(path, 2, second, NULL));
    lap_records r = read_all(path, TARGET);
    assert_int_equal(r.n, 4);
    assert_int_equal(lap_records_best(&r, 1, "0.10")->schedule.v[LAP_KNOB_ATTEND_TILES], 4);
    assert_int_equal(lap_records_best(&r, 2, "0.10")->schedule.v[LAP_KNOB_ATTEND_TILES], 32);
    assert_string_equal(r.at[2].reason, "slower by far");
    assert_null(lap_records_best(&r, 1, "0.11"));
    assert_null(lap_records_best(&r, 3, "0.10"));
    lap_records_free(&r);
    assert_true(merge(path, 1, again, NULL)); /* what a later search found replaces all of the earlier one */
    r = read_all(path, TARGET);
    assert_int_equal(r.n, 3);
    assert_int_equal(lap_records_best(&r, 1, "0.10")->schedule.v[LAP_KNOB_ATTEND_TILES], 2);
    lap_records_free(&r);
    r = read_all(path, "cpu other threads=1");
    assert_int_equal(r.n, 0);
    assert_int_equal(r.n_foreign, 3);
    lap_records_free(&r);
}

/* The sum as the file's format states it. */
static uint64_t fnv(uint64_t h, const char *text)
{
    for (; *text != '\0'; text++) {
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    }
    return h;
}

/* Rows that are whole, but say what no record may. */
static void test_hostile_rows(void **state)
{
    (void)state;
    static const struct {
        const char *rest;
        uint32_t taken;
    } rows[] = {
        {"0000000000000001 0.10 attend best 0.001 0.001 attend.tiles=4 ", 1},
        {"0000000000000001 0.10 attend best 0.001 0.001 default ", 1},
        {"0000000000000001 0.10 attend best 0.001 0.001 attend.tiles=0 ", 0},
        {"0000000000000001 0.10 attend best 0.001 0.001 attend.tiles=257 ", 0},
        {"0000000000000001 0.10 attend best 0.001 0.001 attend.tiles=-1 ", 0},
        {"0000000000000001 0.10 attend best 0.001 0.001 attend.tiles=99999999999999999999 ", 0},
        {"0000000000000001 0.10 attend best 0.001 0.001 attend.bites=4 ", 0},
        {"0000000000000001 0.10 attend best 0.001 0.001 attend.tiles=4;x ", 0},
        {"0000000000000001 0.10 attend best nan 0.001 default ", 0},
        {"0000000000000001 0.10 attend best -1 0.001 default ", 0},
        {"0000000000000001 0.10 attend best 1e999 0.001 default ", 0},
        {"0000000000000001 0.10 attend won 0.001 0.001 default ", 0},
        {"000000000000001 0.10 attend best 0.001 0.001 default ", 0},
        {"0000000000000001 0.10 attend best 0.001 0.001 default", 0},
        {"0000000000000001 0.10 attend best 0.001", 0},
        {"0000000000000001", 0},
        {"", 0},
    };
    lap_schedule b = base();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[1024];
        uint64_t sum = fnv(fnv(fnv(14695981039346656037u, TARGET), "\n"), rows[i].rest);
        int n = snprintf(text, sizeof text, "lappet-tuning 1\ntarget " TARGET "\n%016llx %s\n",
                         (unsigned long long)sum, rows[i].rest);
        lap_records r = {0};
        assert_true(lap_records_parse(&r, text, (size_t)n, TARGET, &b));
        if (r.n != rows[i].taken || r.n_damaged != 1 - rows[i].taken) {
            fail_msg("row %zu '%s': %u taken, %u damaged", i, rows[i].rest, r.n, r.n_damaged);
        }
        lap_records_free(&r);
    }
}

/* Any bit changed, any end cut off: nothing is taken that was not written. */
static void test_damage(void **state)
{
    (void)state;
    const char *path = folder_path(folder, "t.txt");
    lap_record records[] = {record(1, LAP_RECORD_BEST, 4), record(1, LAP_RECORD_LOST, 8)};
    lap_mapping file;
    lap_schedule b = base();
    assert_true(merge(path, 2, records, NULL));
    assert_true(lap_file_read(path, &file, NULL));
    for (size_t i = 0; i < file.n; i++) {
        for (int bit = 0; bit < 9; bit++) { /* the ninth: cut off here */
            size_t n = bit == 8 ? i : file.n;
            unsigned char *copy = malloc(n + 1);
            memcpy(copy, file.bytes, n);
            if (bit < 8) {
                copy[i] ^= (unsigned char)(1u << bit);
            }
            lap_records r = {0};
            assert_true(lap_records_parse(&r, copy, n, TARGET, &b));
            assert_true(r.n <= 2);
            for (uint32_t k = 0; k < r.n; k++) {
                int32_t tiles = r.at[k].schedule.v[LAP_KNOB_ATTEND_TILES];
                assert_true(tiles == 4 || tiles == 8);
            }
            lap_records_free(&r);
            free(copy);
        }
    }
    lap_file_unmap(&file);
    lap_records r = {0};
    lap_fault fault = {0};
    const char *other = folder_write(folder, "other.txt", "something else\n", 15);
    assert_false(lap_records_read(&r, other, TARGET, &b, &fault));
    assert_non_null(strstr(fault.text, "does not hold tuning records"));
}

/* Two tuners at once: each writes its own kernels one by one. */
static void test_two_writers(void **state)
{
    (void)state;
    enum { EACH = 25, WRITERS = 3 };
    const char *path = folder_path(folder, "t.txt");
    pid_t pids[WRITERS];
    for (uint64_t w = 0; w < WRITERS; w++) {
        pids[w] = fork();
        if (pids[w] == 0) {
            for (uint64_t i = 0; i < EACH; i++) {
                lap_record r = record(100 * (w + 1) + i, LAP_RECORD_BEST, 4);
                if (!merge(path, 1, &r, NULL)) {
                    _exit(1);
                }
            }
            _exit(0);
        }
    }
    for (int w = 0; w < WRITERS; w++) {
        int status;
        waitpid(pids[w], &status, 0);
        assert_int_equal(status, 0);
    }
    lap_records r = read_all(path, TARGET);
    assert_int_equal(r.n, WRITERS * EACH);
    lap_records_free(&r);
}

/* A writer that is killed leaves what was there, or what it wrote, but no half. */
static void test_killed_writer(void **state)
{
    (void)state;
    const char *path = folder_path(folder, "t.txt");
    lap_record first = record(1, LAP_RECORD_BEST, 4);
    assert_true(merge(path, 1, &first, NULL));
    for (unsigned i = 0; i < 40; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            for (uint64_t k = 2;; k++) {
                lap_record r = record(k % 20 + 2, LAP_RECORD_BEST, 8);
                (void)merge(path, 1, &r, NULL);
            }
        }
        usleep(1000 + 700 * i);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        lap_records r = read_all(path, TARGET);
        assert_int_equal(r.n_damaged, 0);
        assert_non_null(lap_records_best(&r, 1, "0.10"));
        lap_records_free(&r);
    }
}

/* A full disk, and a place that cannot be written: an error, and nothing lost. */
static void test_no_room(void **state)
{
    (void)state;
    const char *path = folder_path(folder, "t.txt");
    lap_record first = record(1, LAP_RECORD_BEST, 4), second = record(2, LAP_RECORD_BEST, 4);
    assert_true(merge(path, 1, &first, NULL));
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit few = {64, 64};
        lap_fault fault = {0};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &few);
        _exit(!merge(path, 1, &second, &fault) && strstr(fault.text, "write") != NULL ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    lap_records r = read_all(path, TARGET);
    assert_int_equal(r.n, 1);
    assert_int_equal(r.n_damaged, 0);
    lap_records_free(&r);
    lap_fault fault = {0};
    assert_false(merge("/proc/none/t.txt", 1, &first, &fault));
    assert_non_null(strstr(fault.text, "/proc/none"));
}

/* A pipe or a folder in the place of the records: an error at once. */
static void test_no_file(void **state)
{
    (void)state;
    const char *path = folder_path(folder, "t.txt");
    lap_record first = record(1, LAP_RECORD_BEST, 4);
    for (int i = 0; i < 2; i++) {
        lap_fault fault = {0};
        assert_int_equal(i == 0 ? mkfifo(path, 0600) : mkdir(path, 0700), 0);
        alarm(20);
        assert_false(merge(path, 1, &first, &fault));
        alarm(0);
        assert_non_null(strstr(fault.text, "not a regular file"));
        assert_int_equal(i == 0 ? unlink(path) : rmdir(path), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, make_folder, remove_folder),
        cmocka_unit_test(test_hostile_rows),
        cmocka_unit_test_setup_teardown(test_damage, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_two_writers, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_killed_writer, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_no_room, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_no_file, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
