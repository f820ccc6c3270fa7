/* SPDX-License-Identifier: Apache-2.0
 * vk_state.h - what an open device holds; shared by the files of this folder, and by nobody else. */
#ifndef LAP_RUNTIME_VK_VK_STATE_H
#define LAP_RUNTIME_VK_VK_STATE_H

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include "runtime/vk/vk.h"

/* The loader and one instance. */
typedef struct lap_vk_loader {
    void *library;
    PFN_vkGetInstanceProcAddr find;
    VkInstance instance;
    VkDebugUtilsMessengerEXT messenger;
    uint32_t version;      /* of the loader */
    char complaints[4096]; /* of the validation layer, since they were last asked for */
    size_t n_complaints;
#define LAP_VK_FN(level, name)       PFN_vk##name name;
#define LAP_VK_OPTIONAL(level, name) PFN_vk##name name;
#include "runtime/vk/vk_api.def"
#undef LAP_VK_FN
#undef LAP_VK_OPTIONAL
} lap_vk_loader;

/* One block of device memory, with one buffer over it. */
typedef struct lap_vk_block {
    VkBuffer buffer;
    VkDeviceMemory memory;
    size_t size;
    char *host;              /* mapped and coherent, or NULL */
    VkDeviceAddress address; /* 0: the device knows none */
} lap_vk_block;

struct lap_vk {
    lap_vk_loader api;
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue;
    uint32_t family;
    VkPhysicalDeviceMemoryProperties memories;
    VkDeviceSize storage_align, uniform_align;
    uint32_t max_groups; /* in a dispatch */
    bool is_lost;
    VkPipelineCache cache;
    char *cache_path;    /* NULL: none is kept */
    size_t cached_bytes; /* of the cache as it was read */
    lap_vk_info info;
    uint32_t mishaps[LAP_N_VK_MISHAPS]; /* calls until one fails, 0: none */
};

/* ---- vk_loader.c */
bool lap_vk_loader_open(lap_vk_loader *api, lap_fault *fault);
void lap_vk_loader_close(lap_vk_loader *api);
bool lap_vk_loader_device(lap_vk_loader *api, VkDevice device, lap_fault *fault);
/* The instance's devices, by malloc. */
bool lap_vk_loader_devices(lap_vk_loader *api, VkPhysicalDevice **out, uint32_t *out_n, lap_fault *fault);

/* ---- vk_device.c */
/* A failing call as a fault: loss of the device, lack of memory, others. False. */
bool lap_vk_failed(lap_vk *vk, VkResult result, const char *what, lap_fault *fault);
bool lap_vk_mishap_now(lap_vk *vk, lap_vk_mishap mishap);

/* ---- vk_memory.c */
typedef enum lap_vk_where {
    LAP_VK_ON_DEVICE, /* mapped too where that costs nothing */
    LAP_VK_ON_HOST    /* seen by the device */
} lap_vk_where;
bool lap_vk_block_grow(lap_vk *vk, lap_vk_block *block, lap_vk_where where, size_t size, lap_fault *fault);
void lap_vk_block_free(lap_vk *vk, lap_vk_block *block);

/* ---- vk_cache.c */
void lap_vk_cache_open(lap_vk *vk);
void lap_vk_cache_save(lap_vk *vk);

/* ---- vk_pipeline.c */
typedef struct lap_vk_pipeline {
    VkDescriptorSetLayout set;
    VkPipelineLayout layout;
    VkPipeline pipeline;
} lap_vk_pipeline;
bool lap_vk_pipeline_make(lap_vk *vk, const lap_vk_kernel *kernel, const char *name, lap_vk_pipeline *out,
                          lap_fault *fault);
void lap_vk_pipeline_free(lap_vk *vk, lap_vk_pipeline *p);

#endif
