/* SPDX-License-Identifier: Apache-2.0
 * file.c - files mapped or read, and files that appear whole or not at all.
 *
 * New files start without a name (O_TMPFILE) where the file system can, so that an interrupt
 * leaves nothing; they get a temporary name only for the moment before the rename. */
#include "runtime/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool fail(lap_fault *fault, const char *verb, const char *path)
{
    return lap_fault_set(fault, LAP_BAD_INPUT, "cannot %s '%s': %s", verb, path, strerror(errno));
}

/* The size of a regular file that memory can hold. */
static bool size_of(int fd, const char *path, size_t *out, lap_fault *fault)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return fail(fault, "read", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "cannot read '%s': not a regular file", path);
    }
    if ((uintmax_t)st.st_size > (uintmax_t)PTRDIFF_MAX) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "cannot read '%s': too large", path);
    }
    *out = (size_t)st.st_size;
    return true;
}

static bool map_open(int fd, const char *path, size_t n, lap_mapping *out, lap_fault *fault)
{
    void *bytes = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        return fail(fault, "map", path);
    }
    *out = (lap_mapping){bytes, n};
    return true;
}

static bool read_open(int fd, const char *path, size_t n, lap_mapping *out, lap_fault *fault)
{
    unsigned char *bytes = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED) {
        return fail(fault, "read", path);
    }
    *out = (lap_mapping){bytes, n};
    for (size_t at = 0; at < n;) {
        ssize_t done = read(fd, bytes + at, n - at < (1u << 30) ? n - at : (1u << 30));
        if (done > 0) {
            at += (size_t)done;
        } else if (done == 0) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "'%s' became shorter while it was read", path);
        } else if (errno != EINTR) {
            return fail(fault, "read", path);
        }
    }
    return true;
}

typedef bool take(int fd, const char *path, size_t n, lap_mapping *out, lap_fault *fault);

static bool open_with(take *taken, const char *path, lap_mapping *out, lap_fault *fault)
{
    *out = (lap_mapping){NULL, 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return fail(fault, "open", path);
    }
    size_t n = 0;
    bool ok = size_of(fd, path, &n, fault) && (n == 0 || taken(fd, path, n, out, fault));
    close(fd);
    if (!ok) {
        lap_file_unmap(out);
    }
    return ok;
}

bool lap_file_map(const char *path, lap_mapping *out, lap_fault *fault)
{
    return open_with(map_open, path, out, fault);
}

bool lap_file_read(const char *path, lap_mapping *out, lap_fault *fault)
{
    return open_with(read_open, path, out, fault);
}

void lap_file_unmap(lap_mapping *mapping)
{
    if (mapping->bytes) {
        munmap((void *)(uintptr_t)mapping->bytes, mapping->n);
    }
    *mapping = (lap_mapping){NULL, 0};
}

/* ---- writing ------------------------------------------------------------------------------- */

static mode_t new_file_mode(void)
{
    mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

/* The folder of the writer's path, ending in '/'; the caller frees it. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? strndup(path, (size_t)(slash - path) + 1) : strdup("./");
}

static bool open_named(lap_file_writer *w, lap_fault *fault)
{
    w->fd = mkostemp(w->temporary, O_CLOEXEC);
    if (w->fd < 0) {
        return fail(fault, "write", w->path);
    }
    w->is_named = true;
    return fchmod(w->fd, new_file_mode()) == 0 || fail(fault, "write", w->path);
}

static bool open_beside(lap_file_writer *w, lap_fault *fault)
{
    size_t n = strlen(w->path) + 8;
    w->temporary = malloc(n);
    char *folder = folder_of(w->path);
    if (!w->temporary || !folder) {
        free(folder);
        return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    }
    snprintf(w->temporary, n, "%s.XXXXXX", w->path);
    w->fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    free(folder);
    return w->fd >= 0 || open_named(w, fault);
}

static bool begin(lap_file_writer *w, const char *path, lap_fault *fault)
{
    struct stat st;
    bool exists = stat(path, &st) == 0;
    /* A link is followed: what it points to is replaced. */
    w->path = exists ? realpath(path, NULL) : strdup(path);
    if (!w->path) {
        return fail(fault, "write", path);
    }
    if (exists && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return fail(fault, "write", path);
    }
    if (exists && !S_ISREG(st.st_mode)) {
        w->is_direct = true;
        w->fd = open(w->path, O_WRONLY | O_CLOEXEC);
        return w->fd >= 0 || fail(fault, "write", path);
    }
    if (exists && access(w->path, W_OK) != 0) {
        return fail(fault, "write", path);
    }
    return open_beside(w, fault);
}

bool lap_file_begin(lap_file_writer *w, const char *path, lap_fault *fault)
{
    w->fd = -1;
    w->is_direct = w->is_named = false;
    w->path = w->temporary = NULL;
    w->n_pending = 0;
    bool good = begin(w, path, fault);
    if (!good) {
        lap_file_abandon(w);
    }
    return good;
}

static bool write_all(lap_file_writer *w, const unsigned char *bytes, size_t n, lap_fault *fault)
{
    while (n > 0) {
        ssize_t done = write(w->fd, bytes, n < (1u << 30) ? n : (1u << 30));
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return fail(fault, "write", w->path);
        }
        bytes += done;
        n -= (size_t)done;
    }
    return true;
}

static bool flush(lap_file_writer *w, lap_fault *fault)
{
    size_t n = w->n_pending;
    w->n_pending = 0;
    return write_all(w, w->pending, n, fault);
}

bool lap_file_put(lap_file_writer *w, const void *bytes, size_t n, lap_fault *fault)
{
    if (n > sizeof w->pending - w->n_pending && !flush(w, fault)) {
        return false;
    }
    if (n > sizeof w->pending) {
        return write_all(w, bytes, n, fault);
    }
    if (n > 0) {
        memcpy(w->pending + w->n_pending, bytes, n);
    }
    w->n_pending += n;
    return true;
}

/* Gives a nameless file a temporary name that nothing has. */
static bool name_it(lap_file_writer *w, lap_fault *fault)
{
    char link_path[64];
    snprintf(link_path, sizeof link_path, "/proc/self/fd/%d", w->fd);
    char *tail = w->temporary + strlen(w->temporary) - 6;
    for (unsigned attempt = 0; attempt < 1000; attempt++) {
        snprintf(tail, 7, "%06x", ((unsigned)getpid() * 1009u + attempt) & 0xffffffu);
        if (linkat(AT_FDCWD, link_path, AT_FDCWD, w->temporary, AT_SYMLINK_FOLLOW) == 0) {
            w->is_named = true;
            return true;
        }
        if (errno != EEXIST) {
            break;
        }
    }
    return fail(fault, "write", w->path);
}

bool lap_file_commit(lap_file_writer *w, lap_fault *fault)
{
    if (!flush(w, fault)) {
        return false;
    }
    if (!w->is_direct) {
        if (fsync(w->fd) != 0) {
            return fail(fault, "write", w->path);
        }
        if (!w->is_named && !name_it(w, fault)) {
            return false;
        }
        if (rename(w->temporary, w->path) != 0) {
            return fail(fault, "write", w->path);
        }
        w->is_named = false;
    }
    int fd = w->fd;
    w->fd = -1;
    if (close(fd) != 0) {
        return fail(fault, "write", w->path);
    }
    lap_file_abandon(w);
    return true;
}

void lap_file_abandon(lap_file_writer *w)
{
    if (w->is_named) {
        unlink(w->temporary);
        w->is_named = false;
    }
    if (w->fd >= 0) {
        close(w->fd);
        w->fd = -1;
    }
    free(w->path);
    free(w->temporary);
    w->path = w->temporary = NULL;
}
