/* SPDX-License-Identifier: Apache-2.0
 * compile.c - glslang and SPIRV-Tools, both in this process.
 *
 * glslang makes its table of built-in functions on first use and keeps it (about 0.1 s). Modules are
 * not optimised here: every driver does that again, and the text is already close to what runs. */
#include "codegen/spirv/compile.h"

#include <string.h>

#include <glslang/Include/glslang_c_interface.h>
#include <glslang/Public/resource_limits_c.h>
#include <spirv-tools/libspirv.h>

static bool refuse(lap_fault *fault, const char *name, const char *what, const char *log)
{
    return lap_fault_set(fault, LAP_INTERNAL, "kernel %s: %s: %s", name, what, log ? log : "no reason given");
}

static bool generate(lap_ctx *ctx, const char *name, glslang_program_t *program, const uint32_t **out_words,
                     uint32_t *out_n, lap_fault *fault)
{
    glslang_spv_options_t options = {.disable_optimizer = true};
    glslang_program_SPIRV_generate_with_options(program, GLSLANG_STAGE_COMPUTE, &options);
    const char *log = glslang_program_SPIRV_get_messages(program);
    if (log && *log != '\0') {
        return refuse(fault, name, "glslang", log);
    }
    size_t n = glslang_program_SPIRV_get_size(program);
    uint32_t *words = lap_arena_array(ctx->arena, n, sizeof *words);
    glslang_program_SPIRV_get(program, words);
    *out_words = words;
    *out_n = (uint32_t)n;
    return true;
}

static bool translate(lap_ctx *ctx, const char *name, const char *glsl, const uint32_t **out_words,
                      uint32_t *out_n, lap_fault *fault)
{
    enum { VERSION = 460 };
    glslang_input_t input = {.language = GLSLANG_SOURCE_GLSL,
                             .stage = GLSLANG_STAGE_COMPUTE,
                             .client = GLSLANG_CLIENT_VULKAN,
                             .client_version = GLSLANG_TARGET_VULKAN_1_2,
                             .target_language = GLSLANG_TARGET_SPV,
                             .target_language_version = GLSLANG_TARGET_SPV_1_5,
                             .code = glsl,
                             .default_version = VERSION,
                             .default_profile = GLSLANG_NO_PROFILE,
                             .messages = GLSLANG_MSG_SPV_RULES_BIT | GLSLANG_MSG_VULKAN_RULES_BIT,
                             .resource = glslang_default_resource()};
    int rules = GLSLANG_MSG_SPV_RULES_BIT | GLSLANG_MSG_VULKAN_RULES_BIT;
    glslang_shader_t *shader = glslang_shader_create(&input);
    glslang_program_t *program = glslang_program_create();
    bool ok = shader && program;
    if (!ok) {
        lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
    } else if (!glslang_shader_preprocess(shader, &input) || !glslang_shader_parse(shader, &input)) {
        ok = refuse(fault, name, "glslang", glslang_shader_get_info_log(shader));
    } else {
        glslang_program_add_shader(program, shader);
        ok = glslang_program_link(program, rules)
                 ? generate(ctx, name, program, out_words, out_n, fault)
                 : refuse(fault, name, "glslang", glslang_program_get_info_log(program));
    }
    if (program) {
        glslang_program_delete(program);
    }
    if (shader) {
        glslang_shader_delete(shader);
    }
    return ok;
}

static bool validate(const char *name, const uint32_t *words, uint32_t n, lap_fault *fault)
{
    spv_context context = spvContextCreate(SPV_ENV_VULKAN_1_2);
    spv_diagnostic diagnostic = NULL;
    spv_result_t result = spvValidateBinary(context, words, n, &diagnostic);
    bool ok = result == SPV_SUCCESS;
    if (!ok) {
        refuse(fault, name, "SPIRV-Tools refuses the module", diagnostic ? diagnostic->error : NULL);
    }
    spvDiagnosticDestroy(diagnostic);
    spvContextDestroy(context);
    return ok;
}

bool lap_spirv_compile(lap_ctx *ctx, const char *name, const char *glsl, const uint32_t **out_words,
                       uint32_t *out_n, lap_fault *fault)
{
    if (!glslang_initialize_process()) {
        return lap_fault_set(fault, LAP_INTERNAL, "glslang cannot start");
    }
    return translate(ctx, name, glsl, out_words, out_n, fault) && validate(name, *out_words, *out_n, fault);
}

bool lap_spirv_disassemble(lap_ctx *ctx, const uint32_t *words, uint32_t n, const char **out,
                           lap_fault *fault)
{
    spv_context context = spvContextCreate(SPV_ENV_VULKAN_1_2);
    spv_text text = NULL;
    spv_result_t result = spvBinaryToText(
        context, words, n, SPV_BINARY_TO_TEXT_OPTION_INDENT | SPV_BINARY_TO_TEXT_OPTION_FRIENDLY_NAMES, &text,
        NULL);
    if (result == SPV_SUCCESS) {
        *out = lap_arena_copy(ctx->arena, text->str, text->length + 1);
    } else {
        lap_fault_set(fault, LAP_INTERNAL, "SPIRV-Tools cannot show a module");
    }
    spvTextDestroy(text);
    spvContextDestroy(context);
    return result == SPV_SUCCESS;
}
