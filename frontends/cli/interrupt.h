/* SPDX-License-Identifier: Apache-2.0
 * interrupt.h - lets a command that has files to remove end by itself when it is interrupted. */
#ifndef LAP_FRONTENDS_CLI_INTERRUPT_H
#define LAP_FRONTENDS_CLI_INTERRUPT_H

#include <signal.h>

typedef struct lap_interrupts {
    struct sigaction on_int, on_term;
} lap_interrupts;

/* From here on SIGINT and SIGTERM set the result to 1 instead of ending the process. */
const volatile sig_atomic_t *lap_interrupts_catch(lap_interrupts *old);
void lap_interrupts_restore(const lap_interrupts *old);

#endif
