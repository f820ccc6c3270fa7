/* SPDX-License-Identifier: Apache-2.0
 * vk_cache.c - compiled pipelines of earlier processes, in one file per device and driver.
 *
 * A driver should refuse a foreign cache, but drivers have crashed on them: the file starts with the
 * device's and the driver's identity and a checksum, and what does not match is not handed over. It is
 * written to a temporary file and renamed. Its folder is runtime/cache.h's; a cache that cannot be read or
 * written is no error. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/cache.h"
#include "runtime/vk/vk_state.h"

enum { MOST_BYTES = 64 << 20 };

typedef struct cache_head {
    char magic[8];
    uint8_t device[16], driver[16], cache[16];
    uint32_t vendor, model, driver_version, reserved;
    uint64_t n_bytes, sum;
} cache_head;

/* FNV-1a. */
static uint64_t sum_of(const unsigned char *bytes, size_t n)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < n; i++) {
        h = (h ^ bytes[i]) * UINT64_C(1099511628211);
    }
    return h;
}

static cache_head head_for(const lap_vk *vk, const unsigned char *bytes, size_t n)
{
    cache_head h = {.magic = "LAPVKC1",
                    .vendor = vk->info.vendor,
                    .model = vk->info.device,
                    .driver_version = vk->info.driver_version,
                    .n_bytes = n,
                    .sum = sum_of(bytes, n)};
    memcpy(h.device, vk->info.uuid, sizeof h.device);
    memcpy(h.driver, vk->info.driver_uuid, sizeof h.driver);
    memcpy(h.cache, vk->info.cache_uuid, sizeof h.cache);
    return h;
}

static char *path_of(const lap_vk *vk)
{
    char name[64] = "vulkan-";
    for (size_t i = 0; i < sizeof vk->info.uuid; i++) {
        snprintf(name + 7 + 2 * i, 3, "%02x", vk->info.uuid[i]);
    }
    return lap_cache_path(name);
}

/* Contents without the head, by malloc; NULL: none that fits this device. */
static unsigned char *read_cache(const lap_vk *vk, size_t *out_n)
{
    FILE *f = fopen(vk->cache_path, "rb");
    cache_head h;
    unsigned char *bytes = NULL;
    if (f && fread(&h, sizeof h, 1, f) == 1 && h.n_bytes <= MOST_BYTES) {
        size_t n = (size_t)h.n_bytes;
        bytes = malloc(n + 1);
        bool is_whole = bytes && fread(bytes, 1, n, f) == n && fgetc(f) == EOF;
        cache_head want = is_whole ? head_for(vk, bytes, n) : (cache_head){.n_bytes = 0};
        if (!is_whole || memcmp(&h, &want, sizeof h) != 0) {
            free(bytes);
            bytes = NULL;
        }
        *out_n = n;
    }
    if (f) {
        fclose(f);
    }
    return bytes;
}

void lap_vk_cache_open(lap_vk *vk)
{
    size_t n = 0;
    vk->cache_path = path_of(vk);
    unsigned char *bytes = vk->cache_path ? read_cache(vk, &n) : NULL;
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                      .initialDataSize = bytes ? n : 0,
                                      .pInitialData = bytes};
    if (vk->api.CreatePipelineCache(vk->device, &info, NULL, &vk->cache) != VK_SUCCESS) {
        vk->cache = VK_NULL_HANDLE;
    }
    vk->cached_bytes = bytes ? n : 0;
    free(bytes);
}

static void write_cache(const lap_vk *vk, const unsigned char *bytes, size_t n)
{
    size_t room = strlen(vk->cache_path) + 32;
    char *temporary = malloc(room);
    if (temporary) {
        snprintf(temporary, room, "%s.%ld", vk->cache_path, (long)getpid());
    }
    cache_head h = head_for(vk, bytes, n);
    lap_cache_make_folders(vk->cache_path);
    FILE *f = temporary ? fopen(temporary, "wb") : NULL;
    if (f) {
        bool ok = fwrite(&h, sizeof h, 1, f) == 1 && fwrite(bytes, 1, n, f) == n;
        ok = fclose(f) == 0 && ok;
        if (!ok || rename(temporary, vk->cache_path) != 0) {
            (void)unlink(temporary);
        }
    }
    free(temporary);
}

void lap_vk_cache_save(lap_vk *vk)
{
    if (!vk->cache) {
        return;
    }
    size_t n = 0;
    bool has_more = !vk->is_lost && vk->cache_path &&
                    vk->api.GetPipelineCacheData(vk->device, vk->cache, &n, NULL) == VK_SUCCESS &&
                    n != vk->cached_bytes && n > 0 && n <= MOST_BYTES;
    unsigned char *bytes = has_more ? malloc(n) : NULL;
    if (bytes && vk->api.GetPipelineCacheData(vk->device, vk->cache, &n, bytes) == VK_SUCCESS) {
        write_cache(vk, bytes, n);
    }
    free(bytes);
    vk->api.DestroyPipelineCache(vk->device, vk->cache, NULL);
    vk->cache = VK_NULL_HANDLE;
}
