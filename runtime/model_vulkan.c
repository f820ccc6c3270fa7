/* SPDX-License-Identifier: Apache-2.0
 * model_vulkan.c - an artefact's code for Vulkan devices. Artefacts without such code do not name
 * lap_model_on_vulkan and are linked without this file and without runtime/vk. */
#include "runtime/model.h"
#include "runtime/vk/vk.h"

static lap_exec *bind(lap_vk *vk, lap_fault *fault)
{
    uint32_t width = lap_vk_info_of(vk)->subgroup_size;
    const lap_model_tier *tier = lap_model_tiers;
    while (tier->image && width < tier->least_subgroup) {
        tier++;
    }
    if (!tier->image) {
        lap_fault_set(fault, LAP_NO_DEVICE, "%s has subgroups of %u, too few for this model",
                      lap_vk_info_of(vk)->name, width);
        return NULL;
    }
    return lap_vk_exec_open(vk, tier->image, (size_t)tier->image_size, tier->kernels, NULL, fault);
}

static const char *name(const lap_vk *vk) { return lap_vk_info_of(vk)->name; }

const lap_model_device_ops lap_model_on_vulkan = {lap_vk_open, bind, name, lap_vk_close};
