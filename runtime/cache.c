/* SPDX-License-Identifier: Apache-2.0
 * cache.c - see cache.h. */
#include "runtime/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char *joined(const char *a, const char *b, const char *c)
{
    size_t n = strlen(a) + strlen(b) + strlen(c) + 1;
    char *text = malloc(n);
    if (text) {
        snprintf(text, n, "%s%s%s", a, b, c);
    }
    return text;
}

char *lap_cache_path(const char *name)
{
    const char *own = getenv("LAPPET_CACHE"), *shared = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (own) {
        return *own != '\0' ? joined(own, "/", name) : NULL;
    }
    if (shared && *shared == '/') {
        return joined(shared, "/lappet/", name);
    }
    return home && *home == '/' ? joined(home, "/.cache/lappet/", name) : NULL;
}

void lap_cache_make_folders(const char *path)
{
    char *part = joined(path, "", "");
    for (char *at = part && *part ? strchr(part + 1, '/') : NULL; at; at = strchr(at + 1, '/')) {
        *at = '\0';
        (void)mkdir(part, 0700);
        *at = '/';
    }
    free(part);
}
