/* SPDX-License-Identifier: Apache-2.0
 * scratch.c - the folder in which an artefact is put together before it appears under its name. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codegen/aot/parts.h"

bool lap_scratch_new(const char *folder, char out[LAP_AOT_PATH], lap_fault *fault)
{
    int n = snprintf(out, LAP_AOT_PATH, "%s/.lappet-XXXXXX", folder);
    if (n < 0 || n >= LAP_AOT_PATH - 256) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "the path '%s' is too long", folder);
    }
    if (mkdtemp(out) == NULL) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "cannot write to '%s': %s", folder, strerror(errno));
    }
    return true;
}

void lap_scratch_remove(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return;
    }
    for (struct dirent *e; (e = readdir(folder)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            unlinkat(dirfd(folder), e->d_name, 0);
        }
    }
    closedir(folder);
    rmdir(path);
}

bool lap_scratch_write(const char *path, const void *bytes, size_t n, lap_fault *fault)
{
    FILE *file = fopen(path, "wb");
    bool good = file != NULL && (n == 0 || fwrite(bytes, 1, n, file) == n);
    if (file != NULL) {
        good = fclose(file) == 0 && good;
    }
    return good || lap_fault_set(fault, LAP_BAD_INPUT, "cannot write '%s': %s", path, strerror(errno));
}

bool lap_scratch_read(const char *path, char **out_bytes, size_t *out_n, lap_fault *fault)
{
    FILE *file = fopen(path, "rb");
    long size = -1;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0) {
        size = ftell(file);
        rewind(file);
    }
    *out_bytes = size >= 0 ? malloc((size_t)size + 1) : NULL;
    bool good = *out_bytes != NULL && fread(*out_bytes, 1, (size_t)size, file) == (size_t)size;
    *out_n = good ? (size_t)size : 0;
    if (file != NULL) {
        fclose(file);
    }
    if (!good) {
        free(*out_bytes);
        *out_bytes = NULL;
        return lap_fault_set(fault, LAP_BAD_INPUT, "cannot read '%s'", path);
    }
    return true;
}
