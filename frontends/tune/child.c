/* SPDX-License-Identifier: Apache-2.0
 * child.c - processes with limits, and the messages to and from them. */
#include "frontends/tune/child.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

bool lap_read_whole(int from, void *bytes, size_t n)
{
    char *at = bytes;
    while (n > 0) {
        ssize_t got = read(from, at, n);
        if (got <= 0 && !(got < 0 && errno == EINTR)) {
            return false;
        }
        at += got > 0 ? got : 0;
        n -= got > 0 ? (size_t)got : 0;
    }
    return true;
}

bool lap_write_whole(int to, const void *bytes, size_t n)
{
    const char *at = bytes;
    while (n > 0) {
        ssize_t put = write(to, at, n);
        if (put < 0 && errno != EINTR) {
            return false;
        }
        at += put > 0 ? put : 0;
        n -= put > 0 ? (size_t)put : 0;
    }
    return true;
}

/* No files, no core; an hour of the processor bounds what even a lost parent would leave behind. */
static void set_limits(void)
{
    const struct rlimit none = {0, 0}, hour = {3600, 3600};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)setrlimit(RLIMIT_FSIZE, &none);
    (void)setrlimit(RLIMIT_CPU, &hour);
}

static _Noreturn void live(lap_child_body *body, void *user, pid_t parent, int in, int out)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS};
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++) {
        signal(crashes[i], SIG_DFL); /* no handler of the parent's makes more of it */
    }
    signal(SIGINT, SIG_IGN); /* the terminal's goes to parent and child: the parent decides */
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent) { /* else it died before that took effect */
        set_limits();
        body(user, in, out);
    }
    _exit(0);
}

bool lap_child_start(lap_child *c, lap_child_body *body, void *user)
{
    int down[2] = {-1, -1}, up[2] = {-1, -1};
    *c = (lap_child){.to = -1, .from = -1};
    pid_t parent = getpid();
    fflush(NULL);
    if (pipe(down) != 0 || pipe(up) != 0 || (c->pid = fork()) < 0) {
        snprintf(c->reason, sizeof c->reason, "no process could be made: %s", strerror(errno));
        for (int i = 0; i < 2; i++) {
            close(down[i]);
            close(up[i]);
        }
        c->pid = 0;
        return false;
    }
    if (c->pid == 0) {
        close(down[1]);
        close(up[0]);
        live(body, user, parent, down[0], up[1]);
    }
    close(down[0]);
    close(up[1]);
    c->to = down[1];
    c->from = up[0];
    return true;
}

/* Waits for its end; what that was. */
static void reap(lap_child *c, char *how, size_t n)
{
    int status = 0;
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) {
        snprintf(how, n, "crashed: %s", strsignal(WTERMSIG(status)));
    } else {
        snprintf(how, n, "ended with code %d", WEXITSTATUS(status));
    }
    close(c->to);
    close(c->from);
    c->pid = 0;
}

void lap_child_stop(lap_child *c)
{
    char how[LAP_REASON];
    if (c->pid > 0) {
        kill(c->pid, SIGKILL);
        reap(c, how, sizeof how);
    }
}

bool lap_child_send(lap_child *c, const void *message, size_t n)
{
    void (*old)(int) = signal(SIGPIPE, SIG_IGN);
    bool sent = c->pid > 0 && lap_write_whole(c->to, message, n);
    signal(SIGPIPE, old);
    if (!sent && c->pid > 0) {
        kill(c->pid, SIGKILL);
        reap(c, c->reason, sizeof c->reason);
    }
    return sent;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool lap_child_receive(lap_child *c, void *message, size_t n, double seconds,
                       const volatile sig_atomic_t *interrupted)
{
    double end = now() + seconds;
    char *at = message;
    while (n > 0) {
        double left = end - now();
        struct pollfd p = {.fd = c->from, .events = POLLIN};
        int ready = c->pid > 0 && left > 0 ? poll(&p, 1, (int)(1e3 * (left < 1e5 ? left : 1e5)) + 1) : 0;
        ssize_t got = ready > 0 ? read(c->from, at, n) : 0;
        if (interrupted != NULL && *interrupted) {
            snprintf(c->reason, sizeof c->reason, "interrupted");
            lap_child_stop(c);
            return false;
        }
        if (ready == 0 && left <= 0) {
            snprintf(c->reason, sizeof c->reason, "no answer within %.2g s", seconds);
            lap_child_stop(c);
            return false;
        }
        if (c->pid == 0 || (ready > 0 && got == 0)) {
            if (c->pid > 0) {
                reap(c, c->reason, sizeof c->reason);
            }
            return false;
        }
        at += got > 0 ? got : 0;
        n -= got > 0 ? (size_t)got : 0;
    }
    return true;
}
