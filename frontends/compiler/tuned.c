/* SPDX-License-Identifier: Apache-2.0
 * tuned.c - see tuned.h. */
#include "frontends/compiler/tuned.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/cache.h"
#include "runtime/threads.h"
#include "runtime/version.h"

static uint64_t hash(const void *bytes, size_t n)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < n; i++) {
        h = (h ^ ((const unsigned char *)bytes)[i]) * UINT64_C(1099511628211);
    }
    return h;
}

/* The processor's name as the system has it, "?" where it does not say. */
static void read_model(char *out, size_t n)
{
    char text[2048] = "";
    int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0) {
        close(fd);
    }
    text[got > 0 ? got : 0] = '\0';
    const char *name = strstr(text, "model name");
    name = name != NULL ? strchr(name, ':') : NULL;
    snprintf(out, n, "%.*s", name != NULL ? (int)strcspn(name + 1, "\n") : 1, name != NULL ? name + 1 : "?");
}

void lap_target_of_machine(const lap_machine *machine, uint32_t n_threads, char out[LAP_TARGET_TEXT])
{
    char model[128];
    const lap_target *t = lap_machine_target(machine);
    const char *features = lap_machine_features(machine);
    read_model(model, sizeof model);
    snprintf(out, LAP_TARGET_TEXT,
             "cpu%s %.80s %.40s features=%016llx l1=%u l2=%u l3=%u threads=%u lappet=" LAP_VERSION, model,
             lap_machine_cpu(machine), lap_machine_triple(machine),
             (unsigned long long)hash(features, strlen(features)), t->l1_bytes, t->l2_bytes, t->l3_bytes,
             n_threads != 0 ? n_threads : lap_processors());
}

void lap_target_of_device(const lap_vk_info *info, char out[LAP_TARGET_TEXT])
{
    const uint64_t limits[] = {info->subgroup_size,   info->group_size, info->shared_bytes,
                               info->storage_buffers, info->has,        info->buffer_bytes,
                               info->allocation_bytes};
    uint8_t ids[48];
    memcpy(ids, info->uuid, 16);
    memcpy(ids + 16, info->driver_uuid, 16);
    memcpy(ids + 32, info->cache_uuid, 16);
    snprintf(out, LAP_TARGET_TEXT, "vulkan %.100s %.100s %08x ids=%016llx limits=%016llx lappet=" LAP_VERSION,
             info->name, info->driver, info->driver_version, (unsigned long long)hash(ids, sizeof ids),
             (unsigned long long)hash(limits, sizeof limits));
}

char *lap_records_path(const char *target)
{
    char name[64];
    snprintf(name, sizeof name, "tuning-%016llx.txt", (unsigned long long)hash(target, strlen(target)));
    return lap_cache_path(name);
}

static const char *count_warning(lap_ctx *ctx, const char *before, const char *path, const lap_records *r,
                                 uint32_t n_damaged)
{
    if (r->n_damaged == n_damaged) {
        return before;
    }
    return lap_arena_printf(ctx->arena, "%s%s%s: %u damaged lines of tuning records are ignored", before,
                            *before != '\0' ? "\n" : "", path, r->n_damaged - n_damaged);
}

static bool read_layer(lap_ctx *ctx, const char *path, const char *target, const lap_schedule *base,
                       lap_records *out, const char **warning, lap_fault *fault)
{
    uint32_t n_damaged = out->n_damaged, n = out->n, n_foreign = out->n_foreign;
    if (!lap_records_read(out, path, target, base, fault)) {
        return false;
    }
    *warning = count_warning(ctx, *warning, path, out, n_damaged);
    if (out->n == n && out->n_foreign > n_foreign) {
        *warning =
            lap_arena_printf(ctx->arena, "%s%s%s: its tuning records are for other targets and ignored",
                             *warning, **warning != '\0' ? "\n" : "", path);
    }
    return true;
}

bool lap_tuning_read(lap_ctx *ctx, const lap_tuning *tuning, const char *target, const lap_schedule *base,
                     lap_records *out, const char **out_warning, lap_fault *fault)
{
    *out_warning = "";
    for (uint32_t i = 0; i < tuning->n; i++) {
        if (access(tuning->files[i], R_OK) != 0) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "cannot read the tuning records '%.200s'",
                                 tuning->files[i]);
        }
        if (!read_layer(ctx, tuning->files[i], target, base, out, out_warning, fault)) {
            return false;
        }
    }
    char *own = lap_records_path(target);
    lap_fault ignored = {0};
    if (own != NULL && !read_layer(ctx, own, target, base, out, out_warning, &ignored)) {
        *out_warning = lap_arena_printf(ctx->arena, "%s%s%s", *out_warning, **out_warning != '\0' ? "\n" : "",
                                        ignored.text);
    }
    free(own);
    return true;
}
