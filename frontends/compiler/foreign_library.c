/* SPDX-License-Identifier: Apache-2.0
 * foreign_library.c - dlopen and the one symbol that is looked for. */
#include "frontends/compiler/foreign_library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef const lap_foreign_op *const *foreign_ops(void);

bool lap_foreign_load(lap_foreign_libraries *libraries, const char *path, lap_fault *fault)
{
    char local[4096];
    int n = snprintf(local, sizeof local, "%s%s", strchr(path, '/') != NULL ? "" : "./", path);
    if (n < 0 || (size_t)n >= sizeof local) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "the path of a library is too long");
    }
    if (libraries->n == LAP_FOREIGN_LIBRARIES) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "more than %d libraries of foreign operations",
                             LAP_FOREIGN_LIBRARIES);
    }
    void *handle = dlopen(local, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "cannot load the library: %s", dlerror());
    }
    void *symbol = dlsym(handle, "lap_foreign_ops");
    foreign_ops *ops;
    memcpy(&ops, &symbol, sizeof ops);
    bool good = symbol != NULL
                    ? lap_foreign_add(&libraries->table, ops(), path, fault)
                    : lap_fault_set(fault, LAP_BAD_INPUT, "%s: it has no function lap_foreign_ops", path);
    if (!good) {
        dlclose(handle);
        return false;
    }
    libraries->handles[libraries->n++] = handle;
    return true;
}

void lap_foreign_unload(lap_foreign_libraries *libraries)
{
    while (libraries->n > 0) {
        dlclose(libraries->handles[--libraries->n]);
    }
    libraries->table.n = 0;
}
