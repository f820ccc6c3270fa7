/* SPDX-License-Identifier: Apache-2.0
 * process.c - runs a program and catches what it says, through temporary files. */
#include "tests/support/process.h"

#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void read_all(FILE *file, char *to, size_t size)
{
    rewind(file);
    size_t n = fread(to, 1, size - 1, file);
    to[n] = '\0';
    fclose(file);
}

static void run(const char *const *argv, long interrupt_us, process_result *out)
{
    *out = (process_result){.status = -1};
    FILE *said = tmpfile(), *errors = tmpfile();
    if (said == NULL || errors == NULL) {
        return;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fileno(said), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fileno(errors), STDERR_FILENO);
    pid_t child;
    double start = now();
    int failed = posix_spawnp(&child, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    int status = 0;
    if (failed == 0 && interrupt_us >= 0) {
        usleep((useconds_t)interrupt_us);
        kill(child, SIGINT);
    }
    if (failed == 0 && waitpid(child, &status, 0) == child) {
        out->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    out->seconds = now() - start;
    read_all(said, out->out, sizeof out->out);
    read_all(errors, out->err, sizeof out->err);
}

void process_run(const char *const *argv, process_result *out) { run(argv, -1, out); }

void process_interrupt(const char *const *argv, unsigned after_us, process_result *out)
{
    run(argv, after_us, out);
}

void process_line(const char *line, process_result *out)
{
    const char *argv[64];
    int n = 0;
    char *copy = strdup(line);
    for (char *rest = copy, *word; n < 63 && (word = strtok_r(rest, " ", &rest)) != NULL;) {
        argv[n++] = word;
    }
    argv[n] = NULL;
    process_run(argv, out);
    free(copy);
}

bool process_has(const char *name)
{
    process_result *r = malloc(sizeof *r);
    if (r == NULL) {
        abort();
    }
    process_run((const char *[]){name, "--version", NULL}, r);
    bool runs = r->status == 0;
    if (!runs) {
        fprintf(stderr, "%s is not installed: what needs it is not tried\n", name);
    }
    free(r);
    return runs;
}

char *folder_new(void)
{
    const char *base = getenv("TMPDIR");
    char *path = NULL;
    if (asprintf(&path, "%s/lappet-test-XXXXXX", base != NULL ? base : "/tmp") < 0 || mkdtemp(path) == NULL) {
        abort();
    }
    return path;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

void folder_remove(char *folder)
{
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

const char *folder_path(const char *folder, const char *name)
{
    static char paths[8][1024];
    static unsigned turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

const char *folder_write(const char *folder, const char *name, const char *bytes, size_t n)
{
    const char *path = folder_path(folder, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, n, file) != n || fclose(file) != 0) {
        abort();
    }
    return path;
}
