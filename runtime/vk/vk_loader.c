/* SPDX-License-Identifier: Apache-2.0
 * vk_loader.c - opens the Vulkan loader and makes an instance, with the validation layer on request.
 *
 * Linking the loader would make it a dependency of every artefact; opened at run time it is one of
 * those programs alone that use a device. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/vk/vk_state.h"

enum { GLOBAL, INSTANCE, DEVICE };

/* Functions of one level by `find`; false when one is missing that may not be. */
static const char *find_level(lap_vk_loader *api, int level, VkDevice device)
{
#define FIND(name)                                                                                           \
    (level == DEVICE ? api->GetDeviceProcAddr(device, "vk" #name)                                            \
                     : api->find(level == GLOBAL ? NULL : api->instance, "vk" #name))
#define LAP_VK_FN(level_, name)                                                                              \
    if (level_ == level && (api->name = (PFN_vk##name)FIND(name)) == NULL) {                                 \
        return "vk" #name;                                                                                   \
    }
#define LAP_VK_OPTIONAL(level_, name)                                                                        \
    if (level_ == level) {                                                                                   \
        api->name = (PFN_vk##name)FIND(name);                                                                \
    }
#include "runtime/vk/vk_api.def"
#undef LAP_VK_FN
#undef LAP_VK_OPTIONAL
#undef FIND
    return NULL;
}

static bool missing(const char *name, lap_fault *fault)
{
    return lap_fault_set(fault, LAP_NO_DEVICE, "the Vulkan loader has no %s", name);
}

static VKAPI_ATTR VkBool32 VKAPI_CALL hear(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                           VkDebugUtilsMessageTypeFlagsEXT types,
                                           const VkDebugUtilsMessengerCallbackDataEXT *data, void *user)
{
    (void)severity;
    (void)types;
    lap_vk_loader *api = user;
    size_t left = sizeof api->complaints - api->n_complaints;
    int n = snprintf(api->complaints + api->n_complaints, left, "%s\n", data->pMessage);
    api->n_complaints += n < 0 ? 0 : (size_t)n < left ? (size_t)n : left - 1;
    return VK_FALSE;
}

static bool wants_checks(void)
{
    const char *text = getenv("LAPPET_VULKAN_CHECKS");
    return text && *text != '\0' && strcmp(text, "0") != 0;
}

static const char validation[] = "VK_LAYER_KHRONOS_validation";

static bool has_layer(lap_vk_loader *api, const char *name)
{
    uint32_t n = 0;
    if (api->EnumerateInstanceLayerProperties(&n, NULL) != VK_SUCCESS) {
        return false;
    }
    VkLayerProperties *all = calloc(n + 1u, sizeof *all);
    bool found = false;
    if (all && api->EnumerateInstanceLayerProperties(&n, all) == VK_SUCCESS) {
        for (uint32_t i = 0; i < n; i++) {
            found = found || strcmp(all[i].layerName, name) == 0;
        }
    }
    free(all);
    return found;
}

static bool make_instance(lap_vk_loader *api, bool is_checked, lap_fault *fault)
{
    static const VkValidationFeatureEnableEXT wanted[] = {
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
    static const char *const layers[] = {validation};
    static const char *const extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME,
                                             VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME};
    VkDebugUtilsMessengerCreateInfoEXT messenger = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity =
            VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = hear,
        .pUserData = api};
    VkValidationFeaturesEXT features = {.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
                                        .pNext = &messenger,
                                        .enabledValidationFeatureCount = 1,
                                        .pEnabledValidationFeatures = wanted};
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                     .pApplicationName = "lappet",
                                     .apiVersion = VK_API_VERSION_1_2};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                 .pNext = is_checked ? &features : NULL,
                                 .pApplicationInfo = &application,
                                 .enabledLayerCount = is_checked ? 1 : 0,
                                 .ppEnabledLayerNames = layers,
                                 .enabledExtensionCount = is_checked ? 2 : 0,
                                 .ppEnabledExtensionNames = extensions};
    VkResult result = api->CreateInstance(&info, NULL, &api->instance);
    if (result != VK_SUCCESS) {
        api->instance = VK_NULL_HANDLE;
        return lap_fault_set(fault, LAP_NO_DEVICE, "no Vulkan instance can be made (code %d)", (int)result);
    }
    const char *name = find_level(api, INSTANCE, NULL);
    if (name) {
        return missing(name, fault);
    }
    return !is_checked || !api->CreateDebugUtilsMessengerEXT ||
           api->CreateDebugUtilsMessengerEXT(api->instance, &messenger, NULL, &api->messenger) ==
               VK_SUCCESS ||
           lap_fault_set(fault, LAP_NO_DEVICE, "the validation layer's messages cannot be heard");
}

static bool open_library(lap_vk_loader *api, lap_fault *fault)
{
    static const char *const names[] = {"libvulkan.so.1", "libvulkan.so"};
    const char *path = getenv("LAPPET_VULKAN_LOADER");
    for (size_t i = 0; !api->library && i < (path ? 1 : sizeof names / sizeof *names); i++) {
        api->library = dlopen(path ? path : names[i], RTLD_NOW | RTLD_LOCAL);
    }
    if (!api->library) {
        return lap_fault_set(fault, LAP_NO_DEVICE, "there is no Vulkan loader (%s)", path ? path : names[0]);
    }
    *(void **)&api->find = dlsym(api->library, "vkGetInstanceProcAddr");
    return api->find || missing("vkGetInstanceProcAddr", fault);
}

bool lap_vk_loader_open(lap_vk_loader *api, lap_fault *fault)
{
    if (!open_library(api, fault)) {
        return false;
    }
    const char *name = find_level(api, GLOBAL, NULL);
    if (name) {
        return missing(name, fault);
    }
    if (api->EnumerateInstanceVersion(&api->version) != VK_SUCCESS || api->version < VK_API_VERSION_1_2) {
        return lap_fault_set(fault, LAP_NO_DEVICE, "the Vulkan loader is older than 1.2");
    }
    bool is_checked = wants_checks();
    if (is_checked && !has_layer(api, validation)) {
        return lap_fault_set(fault, LAP_NO_DEVICE, "LAPPET_VULKAN_CHECKS is set, but there is no layer %s",
                             validation);
    }
    return make_instance(api, is_checked, fault);
}

void lap_vk_loader_close(lap_vk_loader *api)
{
    if (api->messenger) {
        api->DestroyDebugUtilsMessengerEXT(api->instance, api->messenger, NULL);
    }
    if (api->instance && api->DestroyInstance) {
        api->DestroyInstance(api->instance, NULL);
    }
    if (api->library) {
        dlclose(api->library);
    }
    memset(api, 0, sizeof *api);
}

bool lap_vk_loader_device(lap_vk_loader *api, VkDevice device, lap_fault *fault)
{
    const char *name = find_level(api, DEVICE, device);
    return !name || missing(name, fault);
}

bool lap_vk_loader_devices(lap_vk_loader *api, VkPhysicalDevice **out, uint32_t *out_n, lap_fault *fault)
{
    *out_n = 0;
    VkResult result = api->EnumeratePhysicalDevices(api->instance, out_n, NULL);
    *out = calloc(*out_n + 1u, sizeof **out);
    if (!*out) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    }
    if (result == VK_SUCCESS && *out_n > 0) {
        result = api->EnumeratePhysicalDevices(api->instance, out_n, *out);
    }
    if (result != VK_SUCCESS || *out_n == 0) {
        free(*out);
        *out = NULL;
        return lap_fault_set(fault, LAP_NO_DEVICE, "the Vulkan loader knows no device");
    }
    return true;
}
