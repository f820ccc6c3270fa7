/* SPDX-License-Identifier: Apache-2.0
 * vk_device.c - devices: what they are, whether programs can run on them, choosing and opening one. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/vk/vk_state.h"

/* Features and properties of a device, as Vulkan hands them out. */
typedef struct facts {
    VkPhysicalDeviceProperties2 properties;
    VkPhysicalDeviceVulkan11Properties properties11;
    VkPhysicalDeviceVulkan12Properties properties12;
    VkPhysicalDeviceSubgroupSizeControlProperties sizes;
    VkPhysicalDeviceFeatures2 features;
    VkPhysicalDeviceVulkan11Features features11;
    VkPhysicalDeviceVulkan12Features features12;
    VkPhysicalDeviceSubgroupSizeControlFeatures control;
    bool has_control; /* the extension */
} facts;

static bool has_extension(lap_vk_loader *api, VkPhysicalDevice physical, const char *name)
{
    uint32_t n = 0;
    bool found = false;
    if (api->EnumerateDeviceExtensionProperties(physical, NULL, &n, NULL) != VK_SUCCESS) {
        return false;
    }
    VkExtensionProperties *all = calloc(n + 1u, sizeof *all);
    if (all && api->EnumerateDeviceExtensionProperties(physical, NULL, &n, all) == VK_SUCCESS) {
        for (uint32_t i = 0; i < n; i++) {
            found = found || strcmp(all[i].extensionName, name) == 0;
        }
    }
    free(all);
    return found;
}

static void learn(lap_vk_loader *api, VkPhysicalDevice physical, facts *f)
{
    *f = (facts){.properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                 .properties11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES,
                 .properties12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES,
                 .sizes.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES,
                 .features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                 .features11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
                 .features12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                 .control.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES};
    api->GetPhysicalDeviceProperties2(physical, &f->properties);
    if (f->properties.properties.apiVersion < VK_API_VERSION_1_2) {
        return; /* it would not know the structures that follow */
    }
    f->has_control = has_extension(api, physical, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
    f->properties.pNext = &f->properties11;
    f->properties11.pNext = &f->properties12;
    f->properties12.pNext = f->has_control ? &f->sizes : NULL;
    f->features.pNext = &f->features11;
    f->features11.pNext = &f->features12;
    f->features12.pNext = f->has_control ? &f->control : NULL;
    api->GetPhysicalDeviceProperties2(physical, &f->properties);
    api->GetPhysicalDeviceFeatures2(physical, &f->features);
}

/* Mesa's software driver counts the rounds of all loops of a shader and stops there, without a word. */
enum { LLVMPIPE_ROUNDS = 65535 };

/* ---- what is there ------------------------------------------------------------------------- */

static lap_vk_kind kind_of(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return LAP_VK_INTEGRATED;
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return LAP_VK_DISCRETE;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return LAP_VK_VIRTUAL;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return LAP_VK_SOFTWARE;
    default:
        return LAP_VK_OTHER;
    }
}

/* What every module takes for granted; NULL: all of it is there. */
static const char *lacking(const facts *f)
{
    const VkSubgroupFeatureFlags groups = VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_VOTE_BIT |
                                          VK_SUBGROUP_FEATURE_ARITHMETIC_BIT |
                                          VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
    if (f->properties.properties.apiVersion < VK_API_VERSION_1_2) {
        return "Vulkan 1.2";
    }
    if (!f->features12.vulkanMemoryModel) {
        return "the Vulkan memory model (vulkanMemoryModel)";
    }
    if (!f->properties12.shaderSignedZeroInfNanPreserveFloat32) {
        return "infinities and NaN that are kept (shaderSignedZeroInfNanPreserveFloat32)";
    }
    if ((f->properties11.subgroupSupportedOperations & groups) != groups ||
        (f->properties11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) == 0) {
        return "subgroup arithmetic and shuffles in compute shaders";
    }
    return f->features.features.robustBufferAccess ? NULL : "checked buffer accesses (robustBufferAccess)";
}

static uint32_t needs_met(const facts *f)
{
    const bool has[LAP_N_VK_NEEDS] = {[LAP_VK_NEED_INT64] = f->features.features.shaderInt64,
                                      [LAP_VK_NEED_FLOAT64] = f->features.features.shaderFloat64,
                                      [LAP_VK_NEED_ADDRESSES] = f->features12.bufferDeviceAddress,
                                      [LAP_VK_NEED_BYTES] = f->features12.storageBuffer8BitAccess,
                                      [LAP_VK_NEED_HALVES] = f->features11.storageBuffer16BitAccess};
    uint32_t bits = 0;
    for (int i = 0; i < LAP_N_VK_NEEDS; i++) {
        bits |= has[i] ? 1u << i : 0;
    }
    return bits;
}

static void describe_memory(lap_vk_loader *api, VkPhysicalDevice physical, lap_vk_info *out)
{
    VkPhysicalDeviceMemoryProperties memories;
    api->GetPhysicalDeviceMemoryProperties(physical, &memories);
    for (uint32_t i = 0; i < memories.memoryHeapCount; i++) {
        bool is_local = (memories.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0;
        if (is_local && memories.memoryHeaps[i].size > out->memory_bytes) {
            out->memory_bytes = memories.memoryHeaps[i].size;
        }
    }
}

static void describe(lap_vk_loader *api, VkPhysicalDevice physical, const facts *f, lap_vk_info *out)
{
    const VkPhysicalDeviceProperties *p = &f->properties.properties;
    const VkPhysicalDeviceLimits *limits = &p->limits;
    uint32_t size = f->properties11.subgroupSize;
    *out = (lap_vk_info){.kind = kind_of(p->deviceType),
                         .version = p->apiVersion,
                         .driver_version = p->driverVersion,
                         .vendor = p->vendorID,
                         .device = p->deviceID,
                         .subgroup_size = size,
                         .group_size =
                             limits->maxComputeWorkGroupInvocations < limits->maxComputeWorkGroupSize[0]
                                 ? limits->maxComputeWorkGroupInvocations
                                 : limits->maxComputeWorkGroupSize[0],
                         .shared_bytes = limits->maxComputeSharedMemorySize,
                         .storage_buffers = limits->maxPerStageDescriptorStorageBuffers,
                         .buffer_bytes = limits->maxStorageBufferRange,
                         .allocation_bytes = f->properties11.maxMemoryAllocationSize,
                         .has = needs_met(f)};
    out->has_full_subgroups = f->control.subgroupSizeControl && f->control.computeFullSubgroups &&
                              size >= f->sizes.minSubgroupSize && size <= f->sizes.maxSubgroupSize &&
                              (f->sizes.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0;
    if (f->properties12.driverID == VK_DRIVER_ID_MESA_LLVMPIPE) {
        out->most_rounds = LLVMPIPE_ROUNDS;
    }
    snprintf(out->name, sizeof out->name, "%s", p->deviceName);
    snprintf(out->driver, sizeof out->driver, "%.120s %.120s", f->properties12.driverName,
             f->properties12.driverInfo);
    memcpy(out->uuid, f->properties11.deviceUUID, sizeof out->uuid);
    memcpy(out->driver_uuid, f->properties11.driverUUID, sizeof out->driver_uuid);
    memcpy(out->cache_uuid, p->pipelineCacheUUID, sizeof out->cache_uuid);
    describe_memory(api, physical, out);
    const char *lacks = lacking(f);
    if (lacks) {
        snprintf(out->lacks, sizeof out->lacks, "%s", lacks);
    }
}

bool lap_vk_list(lap_vk_info **out, uint32_t *out_n, lap_fault *fault)
{
    lap_vk_loader api = {.library = NULL};
    VkPhysicalDevice *physical = NULL;
    *out = NULL;
    *out_n = 0;
    bool ok = lap_vk_loader_open(&api, fault) && lap_vk_loader_devices(&api, &physical, out_n, fault);
    if (ok) {
        *out = calloc(*out_n, sizeof **out);
        ok = *out || lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    }
    for (uint32_t i = 0; ok && i < *out_n; i++) {
        facts f;
        learn(&api, physical[i], &f);
        describe(&api, physical[i], &f, &(*out)[i]);
    }
    free(physical);
    lap_vk_loader_close(&api);
    return ok;
}

/* ---- choosing ------------------------------------------------------------------------------ */

static bool is_part(const char *part, const char *whole)
{
    size_t n = strlen(part);
    for (; strlen(whole) >= n; whole++) {
        size_t i = 0;
        while (i < n && tolower((unsigned char)part[i]) == tolower((unsigned char)whole[i])) {
            i++;
        }
        if (i == n) {
            return true;
        }
    }
    return false;
}

/* Number of the device that `which` names, UINT32_MAX: none. */
static uint32_t find_named(const char *which, const facts *all, uint32_t n)
{
    char *end;
    unsigned long number = strtoul(which, &end, 10);
    if (*which != '\0' && *end == '\0') {
        return number < n ? (uint32_t)number : UINT32_MAX;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (is_part(which, all[i].properties.properties.deviceName)) {
            return i;
        }
    }
    return UINT32_MAX;
}

/* The first of the best kind that can run programs; else the first, whose lack is then reported. */
static uint32_t find_best(const facts *all, uint32_t n)
{
    static const lap_vk_kind order[] = {LAP_VK_DISCRETE, LAP_VK_INTEGRATED, LAP_VK_VIRTUAL, LAP_VK_SOFTWARE,
                                        LAP_VK_OTHER};
    for (size_t k = 0; k < sizeof order / sizeof *order; k++) {
        for (uint32_t i = 0; i < n; i++) {
            if (kind_of(all[i].properties.properties.deviceType) == order[k] && !lacking(&all[i])) {
                return i;
            }
        }
    }
    return 0;
}

static bool choose(lap_vk *vk, const char *which, facts *out, lap_fault *fault)
{
    VkPhysicalDevice *physical;
    uint32_t n;
    if (!lap_vk_loader_devices(&vk->api, &physical, &n, fault)) {
        return false;
    }
    facts *all = calloc(n, sizeof *all);
    if (!all) {
        free(physical);
        return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    }
    for (uint32_t i = 0; i < n; i++) {
        learn(&vk->api, physical[i], &all[i]);
    }
    which = which ? which : getenv("LAPPET_DEVICE");
    uint32_t chosen = which ? find_named(which, all, n) : find_best(all, n);
    bool ok = chosen != UINT32_MAX;
    if (ok) {
        vk->physical = physical[chosen];
        *out = all[chosen];
        out->properties.pNext = out->features.pNext = NULL;
        describe(&vk->api, vk->physical, out, &vk->info);
        ok = vk->info.lacks[0] == '\0' ||
             lap_fault_set(fault, LAP_NO_DEVICE, "%s lacks %s", vk->info.name, vk->info.lacks);
    } else {
        lap_fault_set(fault, LAP_NO_DEVICE, "there is no Vulkan device '%s', but %u other%s", which, n,
                      n == 1 ? "" : "s");
    }
    free(all);
    free(physical);
    return ok;
}

/* ---- opening ------------------------------------------------------------------------------- */

static bool find_queue(lap_vk *vk, lap_fault *fault)
{
    VkQueueFamilyProperties families[64];
    uint32_t n = sizeof families / sizeof *families;
    vk->api.GetPhysicalDeviceQueueFamilyProperties(vk->physical, &n, families);
    for (uint32_t i = 0; i < n; i++) {
        if (families[i].queueCount > 0 && (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) != 0) {
            vk->family = i;
            return true;
        }
    }
    return lap_fault_set(fault, LAP_NO_DEVICE, "%s has no queue for compute", vk->info.name);
}

static bool make_device(lap_vk *vk, const facts *f, lap_fault *fault)
{
    static const char *const extensions[] = {VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME};
    float priority = 1;
    VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                     .queueFamilyIndex = vk->family,
                                     .queueCount = 1,
                                     .pQueuePriorities = &priority};
    VkPhysicalDeviceSubgroupSizeControlFeatures control = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES,
        .subgroupSizeControl = true,
        .computeFullSubgroups = true};
    VkPhysicalDeviceVulkan12Features features12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .pNext = vk->info.has_full_subgroups ? &control : NULL,
        .storageBuffer8BitAccess = f->features12.storageBuffer8BitAccess,
        .bufferDeviceAddress = f->features12.bufferDeviceAddress,
        .vulkanMemoryModel = true};
    VkPhysicalDeviceVulkan11Features features11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
        .pNext = &features12,
        .storageBuffer16BitAccess = f->features11.storageBuffer16BitAccess};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &features11,
                                          .features = {.robustBufferAccess = true,
                                                       .shaderInt64 = f->features.features.shaderInt64,
                                                       .shaderFloat64 = f->features.features.shaderFloat64}};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = &features,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .enabledExtensionCount = vk->info.has_full_subgroups ? 1 : 0,
                               .ppEnabledExtensionNames = extensions};
    VkResult result = vk->api.CreateDevice(vk->physical, &info, NULL, &vk->device);
    if (result != VK_SUCCESS) {
        vk->device = VK_NULL_HANDLE;
        return lap_vk_failed(vk, result, "the device", fault);
    }
    return lap_vk_loader_device(&vk->api, vk->device, fault);
}

lap_vk *lap_vk_open(const char *which, lap_fault *fault)
{
    lap_vk *vk = calloc(1, sizeof *vk);
    if (!vk) {
        lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
        return NULL;
    }
    facts f;
    if (!lap_vk_loader_open(&vk->api, fault) || !choose(vk, which, &f, fault) || !find_queue(vk, fault) ||
        !make_device(vk, &f, fault)) {
        lap_vk_close(vk);
        return NULL;
    }
    vk->api.GetPhysicalDeviceMemoryProperties(vk->physical, &vk->memories);
    vk->api.GetDeviceQueue(vk->device, vk->family, 0, &vk->queue);
    vk->storage_align = f.properties.properties.limits.minStorageBufferOffsetAlignment;
    vk->uniform_align = f.properties.properties.limits.minUniformBufferOffsetAlignment;
    vk->max_groups = f.properties.properties.limits.maxComputeWorkGroupCount[0];
    lap_vk_cache_open(vk);
    return vk;
}

void lap_vk_close(lap_vk *vk)
{
    if (!vk) {
        return;
    }
    if (vk->device && vk->api.DestroyDevice) {
        lap_vk_cache_save(vk);
        vk->api.DestroyDevice(vk->device, NULL);
    }
    lap_vk_loader_close(&vk->api);
    free(vk->cache_path);
    free(vk);
}

const lap_vk_info *lap_vk_info_of(const lap_vk *vk) { return &vk->info; }

const char *lap_vk_complaint(lap_vk *vk)
{
    bool is_any = vk->api.n_complaints > 0;
    vk->api.n_complaints = 0;
    return is_any ? vk->api.complaints : NULL;
}

/* ---- failures ------------------------------------------------------------------------------ */

bool lap_vk_failed(lap_vk *vk, VkResult result, const char *what, lap_fault *fault)
{
    switch (result) {
    case VK_ERROR_DEVICE_LOST:
        vk->is_lost = true;
        return lap_fault_set(fault, LAP_NO_DEVICE, "the device %s was lost", vk->info.name);
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
        return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory on %s: no room for %s", vk->info.name,
                             what);
    default:
        return lap_fault_set(fault, LAP_NO_DEVICE, "%s refuses %s (code %d)", vk->info.name, what,
                             (int)result);
    }
}

void lap_vk_inject(lap_vk *vk, lap_vk_mishap mishap, uint32_t after) { vk->mishaps[mishap] = after + 1; }

bool lap_vk_mishap_now(lap_vk *vk, lap_vk_mishap mishap)
{
    return vk->mishaps[mishap] > 0 && --vk->mishaps[mishap] == 0;
}
