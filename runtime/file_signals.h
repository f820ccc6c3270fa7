/* SPDX-License-Identifier: Apache-2.0
 * file_signals.h - what signals about files mean to a program. */
#ifndef LAP_RUNTIME_FILE_SIGNALS_H
#define LAP_RUNTIME_FILE_SIGNALS_H

/* From here on reading beyond the end of a mapped file that was made shorter (SIGBUS) ends the process with
 * a message that names the file and with the code of bad input, and a file that grows beyond the limit
 * (SIGXFSZ) is a failed write. For programs: a library leaves signals to who uses it. */
void lap_file_signals_catch(void);

#endif
