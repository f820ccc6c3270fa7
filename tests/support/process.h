/* SPDX-License-Identifier: Apache-2.0
 * process.h - runs a program and catches what it says. */
#ifndef LAP_TESTS_SUPPORT_PROCESS_H
#define LAP_TESTS_SUPPORT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct process_result {
    int status; /* exit status; 128 + N when signal N ended it; -1 when it did not start */
    double seconds;
    char out[1 << 16]; /* standard output and error, cut at the end */
    char err[1 << 14];
} process_result;

/* argv[0] is looked for on the path unless it holds a slash; argv ends with NULL. */
void process_run(const char *const *argv, process_result *out);
/* The same, with SIGINT sent after so many microseconds. */
void process_interrupt(const char *const *argv, unsigned after_us, process_result *out);
/* The same with the words of `line`, split at spaces. */
void process_line(const char *line, process_result *out);
/* Whether NAME --version runs; says so where it does not, for tests that skip then. */
bool process_has(const char *name);

/* A fresh folder under the temporary folder, and its removal with all that is in it. */
char *folder_new(void);
void folder_remove(char *folder);
/* Writes text to FOLDER/NAME; returns the path (static memory, of the last few calls). */
const char *folder_write(const char *folder, const char *name, const char *bytes, size_t n);
const char *folder_path(const char *folder, const char *name);

#endif
