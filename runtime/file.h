/* SPDX-License-Identifier: Apache-2.0
 * file.h - files mapped read-only, and files that appear whole or not at all. */
#ifndef LAP_RUNTIME_FILE_H
#define LAP_RUNTIME_FILE_H

#include "runtime/tensor.h"

typedef struct lap_mapping {
    const unsigned char *bytes;
    size_t n;
} lap_mapping;

/* Maps a regular file; an empty one gives n = 0. A file that is made shorter from then on raises SIGBUS
 * where its old end is read (file_signals.h). */
bool lap_file_map(const char *path, lap_mapping *out, lap_fault *fault);
/* The same as a copy, which no change of the file reaches. */
bool lap_file_read(const char *path, lap_mapping *out, lap_fault *fault);
void lap_file_unmap(lap_mapping *mapping);

/* A file being written beside `path`, which replaces it at commit. Devices and pipes are written
 * to directly. After a failure, and instead of commit, call abandon: nothing is left behind. */
typedef struct lap_file_writer {
    int fd;
    bool is_direct, is_named; /* no renaming; the temporary name exists */
    char *path, *temporary;
    size_t n_pending;
    unsigned char pending[1 << 14];
} lap_file_writer;

bool lap_file_begin(lap_file_writer *w, const char *path, lap_fault *fault);
bool lap_file_put(lap_file_writer *w, const void *bytes, size_t n, lap_fault *fault);
bool lap_file_commit(lap_file_writer *w, lap_fault *fault);
void lap_file_abandon(lap_file_writer *w);

#endif
