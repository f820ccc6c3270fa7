/* SPDX-License-Identifier: Apache-2.0
 * foreign_library.h - libraries of foreign operations, loaded because the user named them. */
#ifndef LAP_FRONTENDS_COMPILER_FOREIGN_LIBRARY_H
#define LAP_FRONTENDS_COMPILER_FOREIGN_LIBRARY_H

#include "runtime/foreign_table.h"

enum { LAP_FOREIGN_LIBRARIES = 64 };

typedef struct lap_foreign_libraries {
    uint32_t n;
    void *handles[LAP_FOREIGN_LIBRARIES];
    lap_foreign_table table;
} lap_foreign_libraries;

/* Loads the file at `path`, never one of the system's search path. Runs what the library runs when it
 * is loaded. */
bool lap_foreign_load(lap_foreign_libraries *libraries, const char *path, lap_fault *fault);
void lap_foreign_unload(lap_foreign_libraries *libraries);

#endif
