/* SPDX-License-Identifier: Apache-2.0
 * test_random_cpu.c - random graphs: compiled for this processor against the reference evaluator. */
#include "codegen/llvm/llvm.h"

enum { N_GRAPHS = 2000 };

#include "tests/differential/random_rig.h"

struct backend {
    lap_machine *machine;
};

struct compiled {
    lap_jit *jit;
    lap_exec *exec;
};

static backend *backend_open(lap_fault *fault)
{
    backend *b = calloc(1, sizeof *b);
    b->machine = lap_machine_new(NULL, NULL, fault);
    return b;
}

static void backend_close(backend *b)
{
    lap_machine_free(b->machine);
    free(b);
}

static void release(compiled *c)
{
    if (c) {
        lap_exec_close(c->exec);
        lap_jit_free(c->jit);
        free(c);
    }
}

static lap_exec *exec_of(const compiled *c) { return c->exec; }

static compiled *compile(lap_ctx *ctx, lap_graph *g, const backend *b, lap_fault *fault)
{
    lap_program *program;
    size_t n_bytes;
    lap_schedule schedule = lap_schedule_default(lap_machine_target(b->machine));
    /* blocks so short that graphs of this size have several */
    if (!lap_schedule_parse("few.block=8,few.part=16,attend.cols=4,attend.panels=2,attend.masked=2",
                            &schedule, fault)) {
        return NULL;
    }
    lap_pass_options passes = {.verify = true, .schedule = &schedule};
    if (!lap_lower(g, lap_machine_target(b->machine), &passes, &program)) {
        const char *why = lap_error_count(ctx) ? lap_error_text(ctx, 0) : "no reason given";
        lap_fault_set(fault, LAP_BAD_INPUT, "lower: %s", why);
        return NULL;
    }
    compiled *c = calloc(1, sizeof *c);
    const void *image = lap_image_write(program, &n_bytes);
    lap_exec_options options = {.n_threads = 1};
    c->jit = lap_jit_new(program, b->machine, fault);
    c->exec = c->jit ? lap_exec_open(image, n_bytes, lap_jit_kernels(c->jit), &options, fault) : NULL;
    if (!c->exec) {
        release(c);
        return NULL;
    }
    return c;
}

int main(void) { return random_main(); }
