/* SPDX-License-Identifier: Apache-2.0
 * interrupt.c - signals as a flag. */
#include "frontends/cli/interrupt.h"

/* The one thing that a signal handler may touch. */
static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

const volatile sig_atomic_t *lap_interrupts_catch(lap_interrupts *old)
{
    struct sigaction catch = {.sa_handler = interrupt};
    sigaction(SIGINT, &catch, &old->on_int);
    sigaction(SIGTERM, &catch, &old->on_term);
    return &interrupted;
}

void lap_interrupts_restore(const lap_interrupts *old)
{
    sigaction(SIGINT, &old->on_int, NULL);
    sigaction(SIGTERM, &old->on_term, NULL);
}
