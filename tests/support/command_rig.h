/* SPDX-License-Identifier: Apache-2.0
 * command_rig.h - runs the command from outside, beside a scratch folder that each test has for itself.
 *
 * LAPPET names the binary; the working folder is the source tree. */
#ifndef LAP_TESTS_SUPPORT_COMMAND_RIG_H
#define LAP_TESTS_SUPPORT_COMMAND_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/process.h"

static char *folder;          /* of the running test */
static process_result result; /* of the last line */

static inline const char *lappet_path(void)
{
    const char *path = getenv("LAPPET");
    return path != NULL ? path : "build/lappet";
}

static inline int make_folder(void **state)
{
    (void)state;
    folder = folder_new();
    return 0;
}

static inline int remove_folder(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

/* Runs words separated by spaces, in which @ is the scratch folder and ! the binary. Nothing may hang. */
static inline void run_line(const char *line)
{
    char text[8192];
    size_t n = 0;
    for (const char *c = line; *c != '\0'; c++) {
        const char *put = *c == '@' ? folder : *c == '!' ? lappet_path() : (char[]){*c, '\0'};
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", put);
        assert_true(n < sizeof text);
    }
    text[n] = '\0';
    process_line(text, &result);
    assert_true(result.seconds < 60.0);
}

/* The same, with the exit code and pieces of standard output and error that it must have. */
static inline void expect_line(const char *line, int status, const char *in_out, const char *in_err)
{
    run_line(line);
    bool good =
        result.status == status && strstr(result.out, in_out) != NULL && strstr(result.err, in_err) != NULL;
    if (!good) {
        print_error("%s\nstatus %d, expected %d\nout: %s\nerr: %s\nexpected: '%s' '%s'\n", line,
                    result.status, status, result.out, result.err, in_out, in_err);
    }
    assert_true(good);
}

/* `lappet ARGUMENTS`. */
static inline void expect(const char *arguments, int status, const char *in_out, const char *in_err)
{
    char line[4096];
    int n = snprintf(line, sizeof line, "! %s", arguments);
    assert_true(n < (int)sizeof line);
    expect_line(line, status, in_out, in_err);
}

static inline const char *write_text(const char *name, const char *text)
{
    return folder_write(folder, name, text, strlen(text));
}

static inline bool exists(const char *name) { return access(folder_path(folder, name), F_OK) == 0; }

/* Unfinished writes leave nothing: neither hidden files nor temporary names. */
static inline void assert_no_leftovers(void)
{
    process_result r;
    process_run((const char *[]){"find", folder, "-name", ".*", "-o", "-name", "*.??????", NULL}, &r);
    assert_string_equal(r.out, "");
}

#endif
