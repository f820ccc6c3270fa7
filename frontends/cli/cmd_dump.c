/* SPDX-License-Identifier: Apache-2.0
 * cmd_dump.c - lappet dump: a stage of the compilation as text. */
#include <stdlib.h>
#include <string.h>

#include "codegen/spirv/spirv.h"
#include "frontends/cli/setup.h"
#include "runtime/file.h"

typedef lap_code stage_fn(lap_setup *s, FILE *to);

static lap_code lower(lap_setup *s)
{
    return lap_session_lower(s->session, &s->compile) ? LAP_OK : lap_setup_failure(s);
}

static lap_code dump_graph(lap_setup *s, FILE *to)
{
    lap_graph_print(lap_session_graph(s->session), to);
    return LAP_OK;
}

static lap_code dump_program(lap_setup *s, void (*print)(const lap_program *p, FILE *to), FILE *to)
{
    lap_code code = lower(s);
    if (code == LAP_OK) {
        print(lap_session_program(s->session), to);
    }
    return code;
}

static lap_code dump_fused(lap_setup *s, FILE *to) { return dump_program(s, lap_program_print_fused, to); }

static lap_code dump_loop(lap_setup *s, FILE *to) { return dump_program(s, lap_program_print, to); }

static lap_code dump_code(lap_setup *s, lap_emit_form form, FILE *to)
{
    lap_code code = lower(s);
    if (code != LAP_OK) {
        return code;
    }
    char *bytes = NULL;
    size_t n;
    lap_fault fault = {0};
    if (!lap_llvm_emit(lap_session_program(s->session), lap_session_machine(s->session), "lap_model", form,
                       &bytes, &n, &fault)) {
        lap_session_fault(s->session, &fault);
        return lap_setup_failure(s);
    }
    fwrite(bytes, 1, n, to);
    free(bytes);
    return LAP_OK;
}

static lap_code dump_llvm(lap_setup *s, FILE *to) { return dump_code(s, LAP_EMIT_LLVM, to); }

static lap_code dump_asm(lap_setup *s, FILE *to) { return dump_code(s, LAP_EMIT_ASM, to); }

/* Kernels as the device of the command line gets them. */
static lap_code dump_shaders(lap_setup *s, bool as_spirv, FILE *to)
{
    s->compile.engine = LAP_ENGINE_VULKAN;
    if (!lap_session_lower(s->session, &s->compile)) {
        return lap_setup_failure(s);
    }
    const lap_program *p = lap_session_program(s->session);
    const lap_target *target = lap_session_target(s->session);
    for (uint32_t k = 0; k < p->n_kernels; k++) {
        const char *text = NULL;
        lap_fault fault = {0};
        if (!as_spirv) {
            text = lap_spirv_glsl(p, target, k);
        } else if (!lap_spirv_text(p, target, k, &text, &fault)) {
            lap_session_fault(s->session, &fault);
            return lap_setup_failure(s);
        }
        fprintf(to, "%s kernel %s\n%s\n", as_spirv ? ";" : "//", p->kernels[k].name, text);
    }
    return LAP_OK;
}

static lap_code dump_glsl(lap_setup *s, FILE *to) { return dump_shaders(s, false, to); }

static lap_code dump_spirv(lap_setup *s, FILE *to) { return dump_shaders(s, true, to); }

typedef struct stage {
    const char *name;
    stage_fn *dump;
} stage;

static const stage stages[] = {
    {"graph", dump_graph}, {"fused", dump_fused}, {"loop", dump_loop},   {"llvm", dump_llvm},
    {"asm", dump_asm},     {"glsl", dump_glsl},   {"spirv", dump_spirv},
};
enum { N_STAGES = sizeof stages / sizeof stages[0] };

static const stage *find_stage(const char *name)
{
    const char *names[N_STAGES];
    for (int i = 0; i < N_STAGES; i++) {
        if (strcmp(stages[i].name, name) == 0) {
            return &stages[i];
        }
        names[i] = stages[i].name;
    }
    const char *near = lap_nearest(name, names, N_STAGES);
    lap_cli_error("there is no stage '%s'\nhint: %s%s%s", name, near != NULL ? "did you mean '" : "",
                  near != NULL ? near : "stages are graph, fused, loop, llvm, asm, glsl and spirv",
                  near != NULL ? "'?" : "");
    return NULL;
}

/* The text is complete before any of it is shown: a failure leaves no half of it. */
static lap_code dump(lap_setup *s, const stage *what)
{
    char *text = NULL;
    size_t n = 0;
    FILE *memory = open_memstream(&text, &n);
    if (memory == NULL) {
        lap_cli_error("out of memory");
        return LAP_BAD_INPUT;
    }
    lap_code code = !lap_setup_load(s) ? lap_session_code(s->session) : what->dump(s, memory);
    fclose(memory);
    const char *path = lap_args_get(s->args, LAP_OPT_OUTPUT, "-");
    if (code == LAP_OK && strcmp(path, "-") == 0) {
        fwrite(text, 1, n, stdout);
    } else if (code == LAP_OK) {
        lap_file_writer w;
        lap_fault fault = {0};
        bool written = lap_file_begin(&w, path, &fault);
        if (written && !(lap_file_put(&w, text, n, &fault) && lap_file_commit(&w, &fault))) {
            lap_file_abandon(&w);
            written = false;
        }
        if (!written) {
            lap_session_fault(s->session, &fault);
            code = lap_setup_failure(s);
        }
    }
    free(text);
    return code;
}

lap_code lap_cmd_dump(const lap_args *args)
{
    const stage *what = find_stage(lap_args_get(args, LAP_OPT_STAGE, "graph"));
    if (what == NULL) {
        return LAP_BAD_INPUT;
    }
    lap_setup s;
    lap_code code = lap_setup_init(&s, args) ? dump(&s, what) : LAP_BAD_INPUT;
    lap_setup_free(&s);
    return code;
}
