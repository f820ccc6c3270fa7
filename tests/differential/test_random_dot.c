/* SPDX-License-Identifier: Apache-2.0
 * test_random_dot.c - random products and attends, most of bf16 by dot products, against the reference
 * evaluator: on this processor, and on one without the instruction, which multiplies and adds.
 *
 * Weights of an attend are rounded to bf16, by at most 2^-9 of each; values are at most 1/2, so that a result
 * may be off by less than the tolerance of random graphs. */
#include "ir/build.h"

static lap_graph *dot_graph(lap_ctx *ctx, uint64_t seed, unsigned n);

enum { N_GRAPHS = 200 };
#define RANDOM_GRAPH dot_graph

#include "tests/differential/random_rig.h"
#include "tests/unit/llvm_rig.h"

/* The name of a graph says which it is for, so that its text says all. */
enum { N_KINDS = 2 };
static const char *const processors[N_KINDS] = {"here", "lesser"};

/* ---- graphs */

typedef struct maker {
    lap_graph *g;
    uint32_t state;
} maker;

static int64_t chosen(maker *m, int64_t least, int64_t most)
{
    return least + rig_random(&m->state) % (uint32_t)(most - least + 1);
}

/* "m=7" or "m=M7": extents that are known, and such as only a run knows. */
static const char *axis_text(maker *m, char name, int64_t size)
{
    char symbol[2] = {chosen(m, 0, 1) != 0 ? (char)(name - 'a' + 'A') : '\0'};
    return lap_arena_printf(lap_graph_ctx(m->g)->arena, "%c=%s%lld", name, symbol, (long long)size);
}

/* A leaf with these axes in some order, mostly of bf16: its name says the range of its numbers. */
static lap_ref leaf(maker *m, const char *name, uint32_t n, const char **axes)
{
    const char *text = "", *left[4];
    memcpy(left, axes, n * sizeof *left);
    for (; n > 0; n--) {
        uint32_t at = (uint32_t)chosen(m, 0, n - 1);
        text = lap_arena_printf(lap_graph_ctx(m->g)->arena, "%s%s ", text, left[at]);
        left[at] = left[n - 1];
    }
    return input_of(m->g, name, chosen(m, 0, 4) == 0 ? LAP_F32 : LAP_BF16, text);
}

static void output(maker *m, lap_ref value)
{
    const lap_node *n = lap_node_at(m->g, value);
    lap_names *groups = lap_arena_array(lap_graph_ctx(m->g)->arena, n->n_axes, sizeof *groups);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        groups[i] = (lap_names){1, &n->axes[i].name};
    }
    lap_graph_add_output(
        m->g, &(lap_output){.name = name_of(m->g, "out"), .value = value, .layout = {n->n_axes, groups}});
}

static lap_ref product(maker *m, lap_ref a, lap_ref b, const char *over)
{
    return lap_reduce(m->g, LAP_RED_SUM, lap_map2(m->g, LAP_FN_MUL, a, b), names_of(m->g, over));
}

/* Batch, rows, columns and depth; with an epilogue now and then. */
static void contraction(maker *m)
{
    const char *b = axis_text(m, 'b', chosen(m, 1, 3)), *r = axis_text(m, 'm', chosen(m, 2, 40)),
               *c = axis_text(m, 'n', chosen(m, 4, 90)), *k = axis_text(m, 'k', chosen(m, 4, 40));
    bool is_batched = chosen(m, 0, 1) != 0;
    lap_ref x = leaf(m, "x1:e:-1:1", 3, (const char *[]){r, k, b});
    lap_ref y = leaf(m, "x2:e:-1:1", is_batched ? 3 : 2, (const char *[]){c, k, b});
    lap_ref z = product(m, x, y, "k");
    if (chosen(m, 0, 2) == 0) {
        z = lap_map1(m->g, LAP_FN_SIGMOID, z);
    }
    output(m, z);
}

/* Queries against keys, dense or causal, scaled; keys and values of one head or of all. */
static void attend(maker *m)
{
    lap_graph *g = m->g;
    const char *h = axis_text(m, 'h', chosen(m, 1, 3)), *i = axis_text(m, 'i', chosen(m, 2, 40)),
               *j = axis_text(m, 'j', chosen(m, 4, 300)), *d = axis_text(m, 'd', chosen(m, 4, 33)),
               *e = axis_text(m, 'e', chosen(m, 1, 40));
    uint32_t n = chosen(m, 0, 1) != 0 ? 3 : 2;
    lap_ref q = leaf(m, "x1:r:-2:2", 3, (const char *[]){i, d, h});
    lap_ref key = leaf(m, "x2:r:-2:2", n, (const char *[]){j, d, h});
    lap_ref value = leaf(m, "x3:r:-0.5:0.5", n, (const char *[]){j, e, h});
    lap_ref score = lap_map2(g, LAP_FN_MUL, product(m, q, key, "d"), lap_const_f(g, 0.25));
    const lap_node *s = lap_node_at(g, score);
    lap_ref args[3] = {score, value};
    lap_part part = {.keys = names_of(g, "j"), .score = 0, .value = 1, .where = -1, .after = -1};
    uint32_t n_args = 2;
    if (chosen(m, 0, 1) != 0) {
        lap_ref row = lap_index(g, *lap_node_axis(s, name_of(g, "i"))),
                place = lap_index(g, *lap_node_axis(s, name_of(g, "j")));
        args[2] =
            lap_map2(g, LAP_FN_LE, place, lap_map2(g, LAP_FN_ADD, row, lap_const_i(g, chosen(m, 0, 300))));
        part.where = 2;
        n_args = 3;
    }
    const lap_attr attrs[] = {lap_attr_make_parts(LAP_ATTR_PARTS, (lap_parts){1, &part}),
                              lap_attr_make_i(LAP_ATTR_NORM, LAP_NORM_SOFTMAX),
                              lap_attr_make_f(LAP_ATTR_EMPTY, 0)};
    lap_ref op = lap_emit(
        g,
        &(lap_emit_args){.op = LAP_OP_ATTEND, .n_args = n_args, .args = args, .n_attrs = 3, .attrs = attrs});
    output(m, lap_result(g, op, "out"));
}

static lap_graph *dot_graph(lap_ctx *ctx, uint64_t seed, unsigned n)
{
    (void)n;
    maker m = {lap_graph_new(ctx, processors[seed / 2 % N_KINDS], LAP_LEVEL_GRAPH),
               (uint32_t)seed * 2654435761u};
    (seed % 2 == 0 ? contraction : attend)(&m);
    return m.g;
}

/* ---- two processors */

struct backend {
    lap_machine *machine[N_KINDS];
};

struct compiled {
    lap_jit *jit;
    lap_exec *exec;
};

static backend *backend_open(lap_fault *fault)
{
    backend *b = calloc(1, sizeof *b);
    const char *cpus[8];
    size_t n = rig_cpus(cpus);
    for (size_t i = 0; i < N_KINDS; i++) {
        b->machine[i] = lap_machine_new(NULL, i == 0 || n < 2 ? NULL : cpus[1], fault);
    }
    return b;
}

static void backend_close(backend *b)
{
    for (size_t i = 0; i < N_KINDS; i++) {
        lap_machine_free(b->machine[i]);
    }
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
    const lap_machine *machine = b->machine[strcmp(lap_graph_name(g), processors[0]) == 0 ? 0 : 1];
    lap_schedule schedule = lap_schedule_default(lap_machine_target(machine));
    /* few rows have a form of their own, which is not meant here */
    if (!lap_schedule_parse("contract.dot=1,attend.dot=1,few.most=1", &schedule, fault)) {
        return NULL;
    }
    lap_pass_options passes = {.verify = true, .schedule = &schedule};
    if (!lap_lower(g, lap_machine_target(machine), &passes, &program)) {
        lap_fault_set(fault, LAP_BAD_INPUT, "lower: %s",
                      lap_error_count(ctx) ? lap_error_text(ctx, 0) : "no reason given");
        return NULL;
    }
    compiled *c = calloc(1, sizeof *c);
    const void *image = lap_image_write(program, &n_bytes);
    lap_exec_options options = {.n_threads = 1};
    c->jit = lap_jit_new(program, machine, fault);
    c->exec = c->jit ? lap_exec_open(image, n_bytes, lap_jit_kernels(c->jit), &options, fault) : NULL;
    if (!c->exec) {
        release(c);
        return NULL;
    }
    return c;
}

int main(void) { return random_main(); }
