/* SPDX-License-Identifier: Apache-2.0
 * progress.c - see progress.h. */
#include "frontends/tune/progress.h"

#include <stdarg.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 20 };
static const double EVERY = 0.1; /* seconds between two drawings */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void lap_progress_begin(lap_progress *p, FILE *to)
{
    *p = (lap_progress){.to = to, .is_terminal = to != NULL && isatty(fileno(to))};
}

static void clear(lap_progress *p)
{
    if (p->is_dirty) {
        fputs("\r\033[K", p->to);
        p->is_dirty = false;
    }
}

void lap_progress_kernel(lap_progress *p, uint32_t number, uint32_t of, const char *name)
{
    p->number = number;
    p->of = of;
    p->name = name;
    p->shown = 0.0;
}

void lap_progress_step(lap_progress *p, double seconds, uint32_t n, uint32_t all, double best, double base)
{
    if (!p->is_terminal || (now() - p->shown < EVERY && n < all)) {
        return;
    }
    double part = p->budget > 0.0 ? (p->done + seconds) / p->budget : 0.0;
    int full = (int)(WIDTH * (part > 1.0 ? 1.0 : part));
    double left = p->budget - p->done - seconds;
    clear(p);
    fprintf(p->to, "[%.*s%.*s] %u/%u %.40s: %u of %u, best %.4g ms (%.2fx), %.0f s left", full,
            "####################", WIDTH - full, "....................", p->number, p->of, p->name, n, all,
            1e3 * best, best > 0.0 ? base / best : 1.0, left > 0.0 ? left : 0.0);
    fflush(p->to);
    p->is_dirty = true;
    p->shown = now();
}

void lap_progress_say(lap_progress *p, const char *format, ...)
{
    va_list args;
    if (p->to == NULL) {
        return;
    }
    clear(p);
    va_start(args, format);
    vfprintf(p->to, format, args);
    va_end(args);
    fputc('\n', p->to);
    fflush(p->to);
}

void lap_progress_end(lap_progress *p)
{
    if (p->to != NULL) {
        clear(p);
        fflush(p->to);
    }
}
