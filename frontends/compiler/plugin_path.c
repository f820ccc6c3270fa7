/* SPDX-License-Identifier: Apache-2.0
 * plugin_path.c - finds the folders of patterns, relative to the executable so that a build and an
 * installation can be moved. */
#include "frontends/compiler/plugin_path.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frontends/lua/lua.h"

#define MAX_PATH 4096

const char *lap_executable_folder(lap_ctx *ctx)
{
    char path[MAX_PATH];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) {
        return NULL;
    }
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return NULL;
    }
    *slash = '\0';
    return lap_arena_copy(ctx->arena, path, strlen(path) + 1);
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

typedef struct folders {
    lap_ctx *ctx;
    const char **at;
    size_t n, capacity;
} folders;

static void add(folders *f, const char *path)
{
    lap_arena_grow(f->ctx->arena, &f->at, f->n, 1, &f->capacity, sizeof *f->at);
    f->at[f->n++] = path;
}

static void add_listed(folders *f, const char *list)
{
    while (*list != '\0') {
        size_t n = strcspn(list, ":");
        if (n > 0) {
            add(f, lap_arena_printf(f->ctx->arena, "%.*s", (int)n, list));
        }
        list += n + (list[n] == ':');
    }
}

const char *const *lap_plugin_path(lap_ctx *ctx, uint32_t *out_n)
{
    static const char *const beside[] = {"../share/lappet/plugins", "../plugins", "../../plugins"};
    folders f = {.ctx = ctx};
    const char *listed = getenv("LAPPET_PLUGINS");
    const char *here = lap_executable_folder(ctx);
    if (listed != NULL && *listed != '\0') {
        add_listed(&f, listed);
    } else if (here != NULL) {
        for (size_t i = 0; i < sizeof beside / sizeof beside[0] && f.n == 0; i++) {
            const char *folder = lap_arena_printf(ctx->arena, "%s/%s", here, beside[i]);
            if (is_folder(folder)) {
                add(&f, folder);
            }
        }
    }
    *out_n = (uint32_t)f.n;
    return f.at;
}

const char *lap_runtime_folder(lap_ctx *ctx)
{
    const char *here = lap_executable_folder(ctx);
    const char *built = lap_arena_printf(ctx->arena, "%s/lib", here != NULL ? here : ".");
    return is_folder(built) ? built
                            : lap_arena_printf(ctx->arena, "%s/../lib/lappet", here != NULL ? here : ".");
}

/* Length of the slug of a file "SLUG.lua", 0 when it is none. */
static size_t slug_length(const char *file)
{
    size_t n = strlen(file);
    bool is_script = n > 4 && strcmp(file + n - 4, ".lua") == 0;
    return is_script && lap_model_is_slug(file, n - 4) ? n - 4 : 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **lap_plugin_slugs(lap_ctx *ctx, const char *const *path, uint32_t n_path, uint32_t *out_n)
{
    folders slugs = {.ctx = ctx};
    for (uint32_t i = 0; i < n_path; i++) {
        DIR *folder = opendir(path[i]);
        if (folder == NULL) {
            continue;
        }
        for (struct dirent *e; (e = readdir(folder)) != NULL;) {
            size_t length = slug_length(e->d_name);
            if (length > 0) {
                add(&slugs, lap_text(ctx, lap_intern_n(ctx, e->d_name, length)));
            }
        }
        closedir(folder);
    }
    if (slugs.n > 0) {
        qsort(slugs.at, slugs.n, sizeof *slugs.at, by_text);
    }
    size_t kept = 0;
    for (size_t i = 0; i < slugs.n; i++) {
        if (kept == 0 || strcmp(slugs.at[kept - 1], slugs.at[i]) != 0) {
            slugs.at[kept++] = slugs.at[i];
        }
    }
    *out_n = (uint32_t)kept;
    return slugs.at;
}
