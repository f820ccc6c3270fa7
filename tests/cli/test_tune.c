/* SPDX-License-Identifier: Apache-2.0
 * test_tune.c - lappet tune from outside: what it leaves, who uses it, and what it stands. */
#include "tests/support/command_rig.h"

#include <cjson/cJSON.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "frontends/compiler/records.h"
#include "frontends/compiler/tuned.h"

#define MIX "tests/cli/models/mix.lua"

static int set_up(void **state)
{
    make_folder(state);
    setenv("LAPPET_CACHE", folder_path(folder, "cache"), 1);
    return 0;
}

static cJSON *json(const char *line)
{
    expect(line, 0, "{", "");
    cJSON *d = cJSON_Parse(result.out);
    if (d == NULL) {
        fail_msg("%s: no JSON: %s", line, result.out);
    }
    return d;
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    assert_true(cJSON_IsString(item));
    return item->valuestring;
}

/* The user's records, wherever they are. */
static const char *records_path(void)
{
    process_result *r = malloc(sizeof *r);
    static char path[512];
    process_run((const char *[]){"find", folder, "-name", "tuning-*.txt", NULL}, r);
    snprintf(path, sizeof path, "%.*s", (int)strcspn(r->out, "\n"), r->out);
    free(r);
    return path;
}

/* A record for the first kernel of the model that `what` is: one with this schedule. */
static void write_record(const char *path, const char *what, const char *schedule)
{
    cJSON *d = json("tune " MIX " --threads 1 --explain --json"), *k;
    lap_fault fault = {0};
    lap_machine *machine = lap_machine_new(NULL, NULL, &fault);
    assert_non_null(machine);
    lap_schedule base = lap_schedule_default(lap_machine_target(machine));
    lap_record r = {.outcome = LAP_RECORD_BEST, .seconds = 1e-6, .schedule = base};
    cJSON_ArrayForEach(k, cJSON_GetObjectItemCaseSensitive(d, "kernels"))
    {
        if (strcmp(text_of(k, "kernel"), what) == 0) {
            r.key = strtoull(text_of(k, "key"), NULL, 16);
            snprintf(r.bucket, sizeof r.bucket, "%s", text_of(k, "bucket"));
            snprintf(r.what, sizeof r.what, "%s", what);
        }
    }
    assert_true(r.key != 0);
    assert_true(lap_schedule_parse(schedule, &r.schedule, &fault));
    assert_true(lap_records_merge(path, text_of(d, "target"), &base, 1, &r, &fault));
    lap_machine_free(machine);
    cJSON_Delete(d);
}

static void test_usage(void **state)
{
    (void)state;
    expect("tune", 2, "", "'tune' needs MODEL");
    expect("tune " MIX " --target ref", 2, "", "for the targets cpu and vulkan");
    expect("tune " MIX " --budget 0", 2, "", "--budget needs a number from");
    expect("tune " MIX " --budget x", 2, "", "--budget needs a number from");
    expect("tune no_such_model", 2, "", "no model 'no_such_model'");
    expect("run " MIX " --tuning @/none.txt", 2, "", "cannot read the tuning records");
    expect("run " MIX " --tuning " MIX, 2, "", "does not hold tuning records");
    expect("run " MIX " --tuning " MIX " --no-tuning", 2, "", "--tuning is of no use");
    expect("tune " MIX " --target vulkan --device none-such", 3, "", "no Vulkan device 'none-such'");
}

/* Found, kept, used by the other commands, and told. */
static void test_life(void **state)
{
    (void)state;
    cJSON *d = json("bench " MIX " --threads 1 --seconds 0.05 --json");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(d, "tuned")));
    cJSON_Delete(d);
    d = json("tune " MIX " --threads 1 --budget 6 --json");
    const cJSON *kernels = cJSON_GetObjectItemCaseSensitive(d, "kernels");
    assert_int_equal(cJSON_GetArraySize(kernels), 2);
    assert_non_null(strstr(text_of(d, "check"), "agrees with the evaluator"));
    const cJSON *k;
    cJSON_ArrayForEach(k, kernels)
    {
        assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(k, "trouble")));
        assert_true(cJSON_GetObjectItemCaseSensitive(k, "tuned_s")->valuedouble <=
                    cJSON_GetObjectItemCaseSensitive(k, "default_s")->valuedouble);
    }
    cJSON_Delete(d);
    expect("tune " MIX " --threads 1 --explain", 0, "record", "");
    d = json("bench " MIX " --threads 1 --seconds 0.05 --json");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(d, "tuned")));
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(d, "tuned_kernels")->valueint, 2);
    cJSON_Delete(d);
    expect("bench " MIX " --threads 1 --seconds 0.05", 0, "2 of 2 tuned", "");
    expect("bench " MIX " --threads 1 --seconds 0.05 --no-tuning", 0, "", "");
    assert_null(strstr(result.out, "tuned"));
    expect("bench " MIX " --threads 1 --seconds 0.05 --dim N=900", 0, "0 of 2 tuned",
           "");                                                                /* another bucket */
    expect("bench " MIX " --threads 2 --seconds 0.05", 0, "0 of 2 tuned", ""); /* another target */
}

/* A schedule from a record gives the same results, in memory and as an artefact, which it changes. */
static void test_results(void **state)
{
    (void)state;
    write_record(folder_path(folder, "shipped.txt"), "attend",
                 "attend.rows=3,attend.cols=16,attend.panels=1");
    expect("tune " MIX " --threads 1 --explain --tuning @/shipped.txt", 0, "attend.rows=3", "");
    expect("run " MIX " --threads 1 --seed 1 -o @/a.safetensors --no-tuning", 0, "", "");
    expect("run " MIX " --threads 1 --seed 1 -o @/b.safetensors --tuning @/shipped.txt", 0, "", "");
    process_result *r = malloc(sizeof *r);
    expect("build " MIX " -o @/plain --no-tuning --kind object", 0, "", "");
    expect("build " MIX " -o @/same --kind object", 0, "", "");
    char a[512], b[512];
    snprintf(a, sizeof a, "%s", folder_path(folder, "plain/mix.o"));
    snprintf(b, sizeof b, "%s", folder_path(folder, "same/mix.o"));
    process_run((const char *[]){"cmp", a, b, NULL}, r);
    assert_int_equal(r->status, 0);
    free(r);
}

/* Damaged and foreign records are said and ignored. */
static void test_bad_records(void **state)
{
    (void)state;
    write_record(folder_path(folder, "shipped.txt"), "contract", "contract.rows=2");
    expect("tune " MIX " --threads 1 --explain --tuning @/shipped.txt", 0, "contract.rows=2", "");
    expect("tune " MIX " --threads 2 --explain --tuning @/shipped.txt", 0, "",
           "its tuning records are for other targets and ignored");
    assert_null(strstr(result.out, "contract.rows=2"));
    expect_line("sed -i s/contract.rows=2/contract.rows=3/ @/shipped.txt", 0, "", "");
    expect("run " MIX " --threads 1 --tuning @/shipped.txt", 0, "",
           "1 damaged lines of tuning records are ignored");
    expect("tune " MIX " --threads 1 --explain --tuning @/shipped.txt", 0, "default", "");
    assert_null(strstr(result.out, "contract.rows=3"));
}

/* Without a cache nothing is kept, and nothing fails; where it cannot be written, that is said. */
static void test_places(void **state)
{
    (void)state;
    setenv("LAPPET_CACHE", "", 1);
    expect("tune " MIX " --threads 1 --budget 2", 0, "none kept", "");
    setenv("LAPPET_CACHE", "/proc/none", 1);
    expect("tune " MIX " --threads 1 --budget 2", 2, "", "/proc/none");
    setenv("LAPPET_CACHE", folder_path(folder, "cache"), 1);
}

/* A full disk: an error, and no half of a file. */
static void test_full_disk(void **state)
{
    (void)state;
    const struct rlimit few = {100, 100};
    struct rlimit old;
    getrlimit(RLIMIT_FSIZE, &old);
    struct rlimit limit = {few.rlim_cur, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    run_line("! tune " MIX " --threads 1 --budget 2");
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(result.status, 2);
    assert_string_equal(records_path(), "");
}

/* Stopped at any time: the records are whole, nothing runs on. */
static void test_interrupts(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        process_interrupt(
            (const char *[]){lappet_path(), "tune", MIX, "--threads", "1", "--budget", "20", NULL},
            100000 + 250000 * i, &result);
        assert_true(result.seconds < 30.0);
        if (result.status != 2 && result.status != 130) {
            fail_msg("status %d: %s", result.status, result.err);
        }
        expect("tune " MIX " --threads 1 --explain", 0, "contract", "");
        assert_null(strstr(result.err, "damaged"));
    }
}

/* Two tuners at once: both find their kernels in the records afterwards. */
static void test_two_tuners(void **state)
{
    (void)state;
    pid_t other = fork();
    if (other == 0) {
        process_result *r = malloc(sizeof *r);
        process_run((const char *[]){lappet_path(), "tune", "tests/cli/models/linear.lua", "--dim", "B=64",
                                     "--dim", "N=300", "--threads", "1", "--budget", "3", NULL},
                    r);
        _exit(r->status);
    }
    expect("tune " MIX " --threads 1 --budget 5", 0, "", "");
    int status;
    waitpid(other, &status, 0);
    assert_int_equal(status, 0);
    expect("tune " MIX " --threads 1 --explain", 0, "record", "");
    expect("tune tests/cli/models/linear.lua --dim B=64 --dim N=300 --threads 1 --explain", 0, "record", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_usage, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_life, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_results, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_bad_records, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_places, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_full_disk, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_interrupts, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_two_tuners, set_up, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
