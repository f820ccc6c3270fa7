/* SPDX-License-Identifier: Apache-2.0
 * file_signals.c - signals about files as errors; SIGBUS of a mapped file names the file.
 *
 * The system says only which address could not be read, so the handler looks for it in the list of the
 * process's mappings; it calls nothing that a handler may not call, and there is no table to keep. */
#include "runtime/file_signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "runtime/tensor.h"

enum { MAX_LINE = 4096 + 128, MAX_BLOCK = 1024 };

/* A file read line by line without the C library's streams. */
typedef struct line_reader {
    int fd;
    size_t at, n;
    char block[MAX_BLOCK];
} line_reader;

static bool next_byte(line_reader *r, char *out)
{
    if (r->at == r->n) {
        ssize_t n = read(r->fd, r->block, sizeof r->block);
        if (n <= 0) {
            return false;
        }
        r->at = 0;
        r->n = (size_t)n;
    }
    *out = r->block[r->at++];
    return true;
}

/* What does not fit is cut off. */
static bool next_line(line_reader *r, char *line, size_t size)
{
    size_t n = 0;
    char c = '\0';
    while (next_byte(r, &c) && c != '\n') {
        if (n + 1 < size) {
            line[n++] = c;
        }
    }
    line[n] = '\0';
    return n > 0;
}

static uintptr_t read_hex(const char **text)
{
    uintptr_t value = 0;
    for (;; ++*text) {
        char c = **text;
        if (c >= '0' && c <= '9') {
            value = value << 4 | (uintptr_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            value = value << 4 | (uintptr_t)(c - 'a' + 10);
        } else {
            return value;
        }
    }
}

/* The file mapped at the address, in `line`; lines are "begin-end access offset device inode path". */
static const char *find_file(uintptr_t address, char *line, size_t size)
{
    line_reader r = {.fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
    const char *found = NULL;
    while (r.fd >= 0 && !found && next_line(&r, line, size)) {
        const char *text = line;
        uintptr_t begin = read_hex(&text);
        text += *text == '-';
        uintptr_t end = read_hex(&text);
        found = address >= begin && address < end ? strchr(text, '/') : NULL;
    }
    if (r.fd >= 0) {
        close(r.fd);
    }
    return found;
}

static void say(const char *text)
{
    size_t n = strlen(text);
    while (n > 0) {
        ssize_t done = write(STDERR_FILENO, text, n);
        if (done <= 0) {
            return;
        }
        text += done;
        n -= (size_t)done;
    }
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    char line[MAX_LINE];
    const char *file =
        info->si_code == BUS_ADRERR ? find_file((uintptr_t)info->si_addr, line, sizeof line) : NULL;
    if (!file) {
        signal(number, SIG_DFL); /* no file of ours: the access is tried again, and ends the process */
        return;
    }
    say(program_invocation_short_name);
    say(": error: '");
    say(file);
    say("' became shorter while it was read\n");
    _exit(LAP_BAD_INPUT);
}

void lap_file_signals_catch(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &action, NULL);
    signal(SIGXFSZ, SIG_IGN);
}
