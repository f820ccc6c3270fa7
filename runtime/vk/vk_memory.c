/* SPDX-License-Identifier: Apache-2.0
 * vk_memory.c - blocks of memory, few and large: programs place their buffers in them by plan. */
#include "runtime/vk/vk_state.h"

/* The first type with all of `wanted`; UINT32_MAX: none. */
static uint32_t type_with(const lap_vk *vk, uint32_t allowed, VkMemoryPropertyFlags wanted)
{
    for (uint32_t i = 0; i < vk->memories.memoryTypeCount; i++) {
        if ((allowed >> i & 1) != 0 && (vk->memories.memoryTypes[i].propertyFlags & wanted) == wanted) {
            return i;
        }
    }
    return UINT32_MAX;
}

/* Device memory that the host reads as fast as its own is mapped: processors and integrated devices
 * have it. Elsewhere contents go through staging. */
static uint32_t choose_type(const lap_vk *vk, uint32_t allowed, lap_vk_where where, bool *out_mapped)
{
    const VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    const VkMemoryPropertyFlags host =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const VkMemoryPropertyFlags cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    const VkMemoryPropertyFlags on_device[] = {local | host | cached, local, 0};
    const VkMemoryPropertyFlags on_host[] = {host | cached, host};
    bool is_host = where == LAP_VK_ON_HOST;
    for (size_t i = 0; i < (is_host ? 2 : 3); i++) {
        VkMemoryPropertyFlags wanted = is_host ? on_host[i] : on_device[i];
        uint32_t type = type_with(vk, allowed, wanted);
        if (type != UINT32_MAX) {
            *out_mapped = (wanted & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0;
            return type;
        }
    }
    return UINT32_MAX;
}

static bool has_addresses(const lap_vk *vk)
{
    return (vk->info.has >> LAP_VK_NEED_ADDRESSES & 1) != 0 && vk->api.GetBufferDeviceAddress;
}

static bool take_memory(lap_vk *vk, lap_vk_block *block, lap_vk_where where, lap_fault *fault)
{
    VkMemoryRequirements needs;
    bool is_mapped = false;
    vk->api.GetBufferMemoryRequirements(vk->device, block->buffer, &needs);
    VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                       .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
    VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                 .pNext = has_addresses(vk) ? &flags : NULL,
                                 .allocationSize = needs.size,
                                 .memoryTypeIndex = choose_type(vk, needs.memoryTypeBits, where, &is_mapped)};
    if (info.memoryTypeIndex == UINT32_MAX) {
        return lap_fault_set(fault, LAP_NO_DEVICE, "%s has no memory of the kind that is needed",
                             vk->info.name);
    }
    VkResult result = lap_vk_mishap_now(vk, LAP_VK_NO_MEMORY)
                          ? VK_ERROR_OUT_OF_DEVICE_MEMORY
                          : vk->api.AllocateMemory(vk->device, &info, NULL, &block->memory);
    if (result != VK_SUCCESS) {
        block->memory = VK_NULL_HANDLE;
        return lap_vk_failed(vk, result, "memory", fault);
    }
    result = vk->api.BindBufferMemory(vk->device, block->buffer, block->memory, 0);
    void *host = NULL;
    if (result == VK_SUCCESS && is_mapped) {
        result = vk->api.MapMemory(vk->device, block->memory, 0, VK_WHOLE_SIZE, 0, &host);
    }
    block->host = host;
    if (result == VK_SUCCESS && has_addresses(vk)) {
        VkBufferDeviceAddressInfo where_is = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
                                              .buffer = block->buffer};
        block->address = vk->api.GetBufferDeviceAddress(vk->device, &where_is);
    }
    return result == VK_SUCCESS || lap_vk_failed(vk, result, "memory", fault);
}

bool lap_vk_block_grow(lap_vk *vk, lap_vk_block *block, lap_vk_where where, size_t size, lap_fault *fault)
{
    enum { LEAST = 256 };
    if (block->buffer && size <= block->size) {
        return true;
    }
    lap_vk_block_free(vk, block);
    size = size < LEAST ? LEAST : size;
    if (size > vk->info.allocation_bytes) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "%zu bytes are needed at once, %s gives %llu", size,
                             vk->info.name, (unsigned long long)vk->info.allocation_bytes);
    }
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                               .size = size,
                               .usage = (has_addresses(vk) ? VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT : 0) |
                                        VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
                                        VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT |
                                        VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    VkResult result = vk->api.CreateBuffer(vk->device, &info, NULL, &block->buffer);
    if (result != VK_SUCCESS) {
        block->buffer = VK_NULL_HANDLE;
        return lap_vk_failed(vk, result, "a buffer", fault);
    }
    if (!take_memory(vk, block, where, fault)) {
        lap_vk_block_free(vk, block);
        return false;
    }
    block->size = size;
    return true;
}

void lap_vk_block_free(lap_vk *vk, lap_vk_block *block)
{
    if (block->buffer) {
        vk->api.DestroyBuffer(vk->device, block->buffer, NULL);
    }
    if (block->memory) {
        vk->api.FreeMemory(vk->device, block->memory, NULL);
    }
    *block = (lap_vk_block){.size = 0};
}
