/* SPDX-License-Identifier: Apache-2.0
 * bus_error.h - what becomes of a program when a file that it has mapped is made shorter. */
#ifndef LAP_RUNTIME_BUS_ERROR_H
#define LAP_RUNTIME_BUS_ERROR_H

/* From here on reading beyond the new end of such a file ends the process with a message that names the
 * file and with the code of bad input. For programs: a library leaves signals to who uses it. */
void lap_bus_errors_catch(void);

#endif
