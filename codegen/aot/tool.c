/* SPDX-License-Identifier: Apache-2.0
 * tool.c - runs linkers and the like: found on the path, started directly, never through a shell. */
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "codegen/aot/parts.h"

#define MAX_ARGS 64
#define MAX_NAME 128

extern char **environ;

static bool find_on_path(const char *name, char out[LAP_AOT_PATH])
{
    const char *path = getenv("PATH");
    for (const char *at = path != NULL ? path : ""; *at != '\0';) {
        size_t n = strcspn(at, ":");
        int length = snprintf(out, LAP_AOT_PATH, "%.*s/%s", (int)n, at, name);
        if (n > 0 && length < LAP_AOT_PATH && access(out, X_OK) == 0) {
            return true;
        }
        at += n + (at[n] == ':');
    }
    return false;
}

/* Candidate number i of the list, with the architecture put in; false at the end. */
static bool candidate(const char *list, unsigned i, const char *arch, char out[MAX_NAME])
{
    const char *at = list;
    for (; i > 0; i--) {
        at += strcspn(at, " ");
        at += *at == ' ';
    }
    size_t n = strcspn(at, " "), used = 0;
    for (size_t k = 0; k < n && used + 1 < MAX_NAME; k++) {
        if (at[k] == '%') {
            used += (size_t)snprintf(out + used, MAX_NAME - used, "%s", arch);
            k++;
        } else {
            out[used++] = at[k];
        }
    }
    out[used < MAX_NAME ? used : MAX_NAME - 1] = '\0';
    return n > 0;
}

/* Starts the program with its messages going to `report`; its exit status, or -1. */
static int run(const char *path, char *const *argv, int report)
{
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0) {
        return -1;
    }
    pid_t child;
    bool started = posix_spawn_file_actions_adddup2(&actions, report, STDOUT_FILENO) == 0 &&
                   posix_spawn_file_actions_adddup2(&actions, report, STDERR_FILENO) == 0 &&
                   posix_spawn(&child, path, &actions, NULL, argv, environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    int status = -1;
    if (!started) {
        return -1;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool report_failure(FILE *report, const char *name, lap_fault *fault)
{
    char said[700] = "";
    rewind(report);
    size_t n = fread(said, 1, sizeof said - 1, report);
    while (n > 0 && (said[n - 1] == '\n' || said[n - 1] == ' ')) {
        n--;
    }
    said[n] = '\0';
    return lap_fault_set(fault, LAP_BAD_INPUT, "%s failed%s%s", name, n > 0 ? ":\n" : "", said);
}

bool lap_aot_tool(const char *what, const char *list, const char *arch, const char *const *args,
                  lap_fault *fault)
{
    char name[MAX_NAME], path[LAP_AOT_PATH], tried[512] = "";
    for (unsigned i = 0; candidate(list, i, arch, name); i++) {
        if (!find_on_path(name, path)) {
            size_t n = strlen(tried);
            snprintf(tried + n, sizeof tried - n, "%s%s", n > 0 ? ", " : "", name);
            continue;
        }
        char *argv[MAX_ARGS + 2] = {name};
        unsigned n_args = 0;
        while (args[n_args] != NULL && n_args < MAX_ARGS) {
            argv[n_args + 1] = (char *)(uintptr_t)args[n_args];
            n_args++;
        }
        FILE *report = tmpfile();
        if (report == NULL) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "cannot make a temporary file: %s", strerror(errno));
        }
        bool good = run(path, argv, fileno(report)) == 0 || report_failure(report, name, fault);
        fclose(report);
        return good;
    }
    return lap_fault_set(fault, LAP_NO_DEVICE, "found no %s for %s (tried %s)", what, arch, tried);
}
