/* SPDX-License-Identifier: Apache-2.0
 * vk_pipeline.c - modules to pipelines, compiled by the driver when a program first needs them.
 *
 * The workgroup's size and the subgroup's are constants of specialisation, sizes of tensors are not: a
 * change of shape compiles nothing. */
#include <stdlib.h>

#include "runtime/vk/vk_exec.h"

static bool make_layouts(lap_vk *vk, const lap_vk_kernel *kernel, lap_vk_pipeline *out, lap_fault *fault)
{
    uint32_t n = lap_vk_bindings(kernel);
    VkDescriptorSetLayoutBinding *bindings = calloc(n, sizeof *bindings);
    if (!bindings) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    }
    for (uint32_t i = 0; i < n; i++) {
        bindings[i] = (VkDescriptorSetLayoutBinding){
            .binding = i,
            .descriptorType =
                i == LAP_VK_PARAMS ? VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
            .descriptorCount = 1,
            .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    }
    VkDescriptorSetLayoutCreateInfo set = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                           .bindingCount = n,
                                           .pBindings = bindings};
    VkResult result = vk->api.CreateDescriptorSetLayout(vk->device, &set, NULL, &out->set);
    free(bindings);
    if (result != VK_SUCCESS) {
        out->set = VK_NULL_HANDLE;
        return lap_vk_failed(vk, result, "a layout", fault);
    }
    VkPushConstantRange pushed = {VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(lap_vk_share)};
    VkPipelineLayoutCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                       .setLayoutCount = 1,
                                       .pSetLayouts = &out->set,
                                       .pushConstantRangeCount = 1,
                                       .pPushConstantRanges = &pushed};
    result = vk->api.CreatePipelineLayout(vk->device, &info, NULL, &out->layout);
    if (result != VK_SUCCESS) {
        out->layout = VK_NULL_HANDLE;
        return lap_vk_failed(vk, result, "a layout", fault);
    }
    return true;
}

static bool make_pipeline(lap_vk *vk, const lap_vk_kernel *kernel, VkShaderModule module,
                          lap_vk_pipeline *out, lap_fault *fault)
{
    const lap_vk_info *info = &vk->info;
    uint32_t group;
    bool is_full = lap_vk_has_full_subgroups(info, kernel, &group);
    int32_t values[] = {(int32_t)group, is_full ? (int32_t)info->subgroup_size : 0};
    VkSpecializationMapEntry entries[] = {{0, 0, sizeof *values}, {1, sizeof *values, sizeof *values}};
    VkSpecializationInfo special = {2, entries, sizeof values, values};
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo size = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = info->subgroup_size};
    VkComputePipelineCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = is_full ? &size : NULL,
                  .flags = is_full ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module,
                  .pName = "main",
                  .pSpecializationInfo = &special},
        .layout = out->layout};
    VkResult result = vk->api.CreateComputePipelines(vk->device, vk->cache, 1, &create, NULL, &out->pipeline);
    if (result != VK_SUCCESS) {
        out->pipeline = VK_NULL_HANDLE;
        return lap_vk_failed(vk, result, "a pipeline", fault);
    }
    return true;
}

bool lap_vk_pipeline_make(lap_vk *vk, const lap_vk_kernel *kernel, const char *name, lap_vk_pipeline *out,
                          lap_fault *fault)
{
    *out = (lap_vk_pipeline){VK_NULL_HANDLE};
    VkShaderModuleCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                     .codeSize = (size_t)kernel->n_words * sizeof *kernel->words,
                                     .pCode = kernel->words};
    VkShaderModule module = VK_NULL_HANDLE;
    VkResult result = vk->api.CreateShaderModule(vk->device, &info, NULL, &module);
    if (result != VK_SUCCESS) {
        return lap_vk_failed(vk, result, name, fault);
    }
    bool ok = make_layouts(vk, kernel, out, fault) && make_pipeline(vk, kernel, module, out, fault);
    vk->api.DestroyShaderModule(vk->device, module, NULL);
    if (!ok) {
        lap_vk_pipeline_free(vk, out);
    }
    return ok;
}

void lap_vk_pipeline_free(lap_vk *vk, lap_vk_pipeline *p)
{
    if (p->pipeline) {
        vk->api.DestroyPipeline(vk->device, p->pipeline, NULL);
    }
    if (p->layout) {
        vk->api.DestroyPipelineLayout(vk->device, p->layout, NULL);
    }
    if (p->set) {
        vk->api.DestroyDescriptorSetLayout(vk->device, p->set, NULL);
    }
    *p = (lap_vk_pipeline){VK_NULL_HANDLE};
}
