/* SPDX-License-Identifier: Apache-2.0
 * test_pattern.c - the constructors of plugins/lib/pattern.lua and random combinations of them, against
 * brute force pair by pair: who sees whom, the class of random tiles, density, and the compiled attend.
 *
 * LAP_PATTERNS sets how many (default 300), LAP_SEED the first. A tile called empty must be empty, one called
 * full must be full; the share of such tiles that are found is held up too. */
#include "tests/unit/graphs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "codegen/image.h"
#include "codegen/llvm/llvm.h"
#include "frontends/lua/lua.h"
#include "ir/eval.h"
#include "ir/fold.h"
#include "passes/attend.h"
#include "passes/cost.h"
#include "passes/passes.h"
#include "runtime/exec.h"
#include "tests/support/process.h"
#include "tests/support/wide_target.h"

enum { N = 48, WIDE = 8, MOST_TEXT = 4096 }; /* tokens; as a grid of rows of 8 */

/* ---- patterns as text, and as a set of pairs made without the compiler */

typedef bool seen_set[N][N];

typedef struct maker {
    uint64_t state;
    bool is_grid;
    char text[MOST_TEXT];
} maker;

static int64_t pick(maker *m, int64_t lo, int64_t hi)
{
    m->state = m->state * 6364136223846793005u + 1442695040888963407u;
    return lo + (int64_t)((m->state >> 33) % (uint64_t)(hi - lo + 1));
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

typedef bool rule(int64_t i, int64_t j, int64_t a, int64_t b);

static bool causal(int64_t i, int64_t j, int64_t a, int64_t b) { return (void)a, (void)b, j <= i; }
static bool sliding(int64_t i, int64_t j, int64_t a, int64_t b) { return i - j <= a && j - i <= b; }
static bool window(int64_t i, int64_t j, int64_t a, int64_t b) { return (void)b, j <= i && i - j < a; }
static bool dilated(int64_t i, int64_t j, int64_t a, int64_t b)
{
    return (void)b, (i > j ? i - j : j - i) % a == 0;
}
static bool strided(int64_t i, int64_t j, int64_t a, int64_t b)
{
    return (void)b, j % a == a - 1 || i / a == j / a;
}
static bool block(int64_t i, int64_t j, int64_t a, int64_t b) { return (void)b, i / a == j / a; }
static bool band(int64_t i, int64_t j, int64_t a, int64_t b)
{
    return i / a - j / a <= b && j / a - i / a <= b;
}
static bool grid(int64_t i, int64_t j, int64_t a, int64_t b) { return (void)b, i % a == j % a; }
static bool sinks(int64_t i, int64_t j, int64_t a, int64_t b) { return (void)i, (void)b, j < a; }
static bool global(int64_t i, int64_t j, int64_t a, int64_t b) { return (void)b, i < a || j < a; }
static bool clamped(int64_t i, int64_t j, int64_t a, int64_t b)
{
    (void)b;
    int64_t first = least(most(i - a / 2, 0), N - a);
    return j >= first && j < first + a;
}
static bool band_sinks(int64_t i, int64_t j, int64_t a, int64_t b)
{
    return (i - j <= a && j - i <= a) || (j < b && j <= i);
}
static bool random_blocks(int64_t i, int64_t j, int64_t a, int64_t b)
{
    int64_t mixed = (i / a * 7919 + j / a * 10457 + b * 7331 + 4099) % 32749;
    return mixed * mixed % 32749 < 9824; /* 0.3 of them */
}
static bool shifted(int64_t i, int64_t j, int64_t a, int64_t b) { return (i + b) / a == j / a; }

static const struct {
    const char *text; /* of i, j and two numbers */
    rule *rule;
    int64_t a_least, a_most, b_most;
} rules[] = {
    {"pattern.causal(%s, %s)", causal, 0, 0, 0},
    {"pattern.sliding(%s, %s, { before = %lld, after = %lld })", sliding, 0, 12, 12},
    {"pattern.window(%s, %s, %lld)", window, 1, 16, 0},
    {"pattern.dilated(%s, %s, %lld)", dilated, 1, 9, 0},
    {"pattern.strided(%s, %s, %lld)", strided, 1, 12, 0},
    {"pattern.block(%s, %s, %lld)", block, 1, 20, 0},
    {"pattern.block_band(%s, %s, %lld, %lld)", band, 1, 9, 3},
    {"pattern.grid(%s, %s, %lld)", grid, 1, 12, 0},
    {"pattern.sinks(%s, %s, %lld)", sinks, 0, 20, 0},
    {"pattern.global(%s, %s, %lld)", global, 0, 10, 0},
    {"pattern.clamped(%s, %s, %lld, 48)", clamped, 1, 20, 0},
    {"pattern.band_sinks(%s, %s, %lld, %lld)", band_sinks, 0, 9, 6},
    {"pattern.random_blocks(%s, %s, %lld, 0.3, %lld)", random_blocks, 1, 16, 50},
    {"pattern.shift(pattern.block, %4$lld)(%1$s, %2$s, %3$lld)", shifted, 1, 12, 9},
};
enum { N_RULES = sizeof rules / sizeof *rules };

static void append(maker *m, const char *format, ...)
{
    size_t n = strlen(m->text);
    va_list args;
    va_start(args, format);
    assert_true(vsnprintf(m->text + n, MOST_TEXT - n, format, args) < (int)(MOST_TEXT - n));
    va_end(args);
}

/* A constructor, over all tokens or, on a grid, along one of its axes. */
static void make_leaf(maker *m, int64_t which, seen_set out)
{
    int64_t r = which < N_RULES ? which : pick(m, 0, N_RULES - 1);
    int64_t a = pick(m, rules[r].a_least, rules[r].a_most), b = pick(m, 0, rules[r].b_most);
    bool along = m->is_grid && rules[r].rule != clamped && pick(m, 0, 1) == 0;
    bool fast = pick(m, 0, 1) == 1;
    const char *i = !along ? "i"
                    : fast ? "(i % 8)"
                           : "(i // 8)",
               *j = !along ? "j"
                    : fast ? "(j % 8)"
                           : "(j // 8)";
    append(m, rules[r].text, i, j, (long long)a, (long long)b);
    for (int64_t x = 0; x < N; x++) {
        for (int64_t y = 0; y < N; y++) {
            out[x][y] = !along ? rules[r].rule(x, y, a, b)
                        : fast ? rules[r].rule(x % WIDE, y % WIDE, a, b)
                               : rules[r].rule(x / WIDE, y / WIDE, a, b);
        }
    }
}

static void make(maker *m, int depth, seen_set out)
{
    static const char *const joins[] = {"pattern.union(", "pattern.intersection(", "pattern.minus(",
                                        "pattern.complement("};
    if (depth == 0 || pick(m, 0, 3) == 0) {
        make_leaf(m, N_RULES, out);
        return;
    }
    int64_t join = pick(m, 0, 3);
    append(m, "%s", joins[join]);
    make(m, depth - 1, out);
    seen_set other;
    if (join != 3) {
        append(m, ", ");
        make(m, depth - 1, other);
    }
    append(m, ")");
    for (int x = 0; x < N; x++) {
        for (int y = 0; y < N; y++) {
            bool a = out[x][y], b = join != 3 && other[x][y];
            out[x][y] = join == 0 ? a || b : join == 1 ? a && b : join == 2 ? a && !b : !a;
        }
    }
}

/* ---- the compiler's view */

static lap_graph *build(lap_ctx *ctx, const char *folder, const char *expression)
{
    const char *path = lap_arena_printf(ctx->arena, "%s/seen.lua", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "local pattern = require 'lib.pattern'\n"
            "return { name = 'seen', inputs = { q = 'i=%d d=4', k = 'j=%d d=4', v = 'j=%d e=4' },\n"
            "build = function(g, p, t)\nlocal i, j = t.q:index 'i', t.k:index 'j'\nlocal seen = %s\n"
            "g:output('seen', seen:int() + 0 * (i + j), 'i j')\n"
            "g:output('o', g:attend { keys = 'j', score = t.q:dot(t.k, 'd'), value = t.v,\n"
            "where = seen & (i + j):ge(0) }.out, 'i e')\nend }\n",
            N, N, N, expression);
    fclose(f);
    const char *plugins = LAP_SOURCE_DIR "/plugins";
    lap_lua_options options = {.plugin_path = &plugins, .n_plugin_path = 1};
    lap_model *model;
    lap_graph *g = NULL;
    bool ok =
        lap_model_load(ctx, path, &options, &model) && lap_model_build(model, &(lap_build_options){0}, &g);
    if (!ok) {
        lap_errors_print(ctx, stderr);
    }
    assert_true(ok);
    lap_model_free(model);
    return g;
}

static lap_ref where_of(const lap_graph *g)
{
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        const lap_node *n = lap_node_at(g, (lap_ref){i});
        if (n->op == LAP_OP_ATTEND) {
            return n->args[lap_node_attr(n, LAP_ATTR_PARTS)->parts.at[0].where];
        }
    }
    fail_msg("no attend");
    return LAP_NONE;
}

static const char *check_members(lap_ctx *ctx, lap_graph *g, seen_set want)
{
    static const float zeros[N * 4];
    const char *names[] = {"k", "q", "v"};
    lap_tensor tensors[3];
    for (int i = 0; i < 3; i++) {
        tensors[i] = (lap_tensor){
            .dtype = LAP_F32, .rank = 2, .shape = {N, 4}, .data = (void *)zeros, .n_bytes = sizeof zeros};
    }
    lap_eval_io inputs = {.n = 3, .names = names, .tensors = tensors}, weights = {0};
    lap_eval_result got;
    assert_true(lap_eval(g, &inputs, &weights, &got));
    const int64_t *seen = got.tensors[0].data;
    for (int x = 0; x < N; x++) {
        for (int y = 0; y < N; y++) {
            if ((seen[x * N + y] != 0) != want[x][y]) {
                return lap_arena_printf(ctx->arena, "pair %d %d is %s", x, y,
                                        want[x][y] ? "seen" : "not seen");
            }
        }
    }
    return NULL;
}

static bool no_symbols(void *user, lap_name symbol, int64_t *out)
{
    return (void)user, (void)symbol, (void)out, false;
}

static const char *check_density(lap_ctx *ctx, lap_graph *g, lap_ref where, seen_set want)
{
    double n = 0;
    for (int x = 0; x < N; x++) {
        for (int y = 0; y < N; y++) {
            n += want[x][y];
        }
    }
    const lap_node *w = lap_node_at(g, where);
    if (w->n_axes != 2) {
        return NULL; /* the fold found that one axis does not matter */
    }
    double got = lap_cost_density(g, where, no_symbols, NULL);
    return fabs(got - n / (N * N)) < 1e-9
               ? NULL
               : lap_arena_printf(ctx->arena, "density %g, expected %g", got, n / (N * N));
}

typedef struct tally {
    uint64_t empty, full, found_empty, found_full;
} tally;

/* -1: nothing is known; else the constant. */
static int holds(lap_lowering *l, lap_ref where, const int64_t tile[4], lap_extent_of of)
{
    lap_kctx *k = lap_kctx_new(l, (lap_loc){0});
    lap_coords *c = k->c;
    lap_coord n_rows = lap_coord_const(c, tile[1]), n_keys = lap_coord_const(c, tile[3]);
    lap_skip s = {.k = k,
                  .n_rows = n_rows,
                  .n_keys = n_keys,
                  .row = lap_coord_stand_in(c, lap_dim_const(l->ctx, tile[1])),
                  .key = lap_coord_stand_in(c, lap_dim_const(l->ctx, tile[3]))};
    const lap_node *n = lap_node_at(l->g, where);
    lap_coord env[2];
    for (uint32_t i = 0; i < n->n_axes; i++) {
        bool is_row = strcmp(lap_text(l->ctx, n->axes[i].name), "i") == 0;
        env[i] = lap_coord_add(c, lap_coord_const(c, tile[is_row ? 0 : 2]), is_row ? s.row : s.key);
    }
    lap_ref r = lap_attend_holds(&s, where, env, of);
    lap_scalar v;
    if (!lap_ref_some(r)) {
        return -1;
    }
    assert_true(lap_fold_splat(k->k, r, &v));
    return v.i != 0;
}

static const char *check_tile(lap_lowering *l, lap_ref where, seen_set want, const int64_t tile[4], tally *t)
{
    bool any = false, all = true;
    for (int64_t x = tile[0]; x < tile[0] + tile[1]; x++) {
        for (int64_t y = tile[2]; y < tile[2] + tile[3]; y++) {
            any = any || want[x][y];
            all = all && want[x][y];
        }
    }
    int some = holds(l, where, tile, LAP_OF_SOME), every = holds(l, where, tile, LAP_OF_ALL);
    t->empty += !any;
    t->full += all;
    t->found_empty += !any && some == 0;
    t->found_full += all && every == 1;
    if (some == 0 && any) {
        return "a tile with pairs is called empty";
    }
    return every == 1 && !all ? "a tile without some pairs is called full" : NULL;
}

static const char *check_tiles(maker *m, lap_graph *g, lap_ref where, seen_set want, tally *t)
{
    lap_lowering *l = lap_lowering_new(g, &wide, NULL);
    assert_true(lap_plan_make(l));
    for (int i = 0; i < 40; i++) {
        int64_t rows = pick(m, 1, 12), keys = pick(m, 1, 16);
        const int64_t tile[4] = {pick(m, 0, N - rows), rows, pick(m, 0, N - keys), keys};
        const char *why = check_tile(l, where, want, tile, t);
        if (why != NULL) {
            return lap_arena_printf(lap_graph_ctx(g)->arena, "%s: rows %d + %d, keys %d + %d", why,
                                    (int)tile[0], (int)rows, (int)tile[2], (int)keys);
        }
    }
    return NULL;
}

static uint64_t setting(const char *name, uint64_t missing)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : missing;
}

/* ---- compiled */

enum { D = 4, N_INPUTS = 3 };
typedef float rows_of[N][D];

/* Softmax over the keys that a row sees; 0 where there are none. */
static void attend_plainly(const rows_of k, const rows_of q, const rows_of v, seen_set seen, rows_of out)
{
    for (int i = 0; i < N; i++) {
        double sum = 0, all[D] = {0};
        for (int j = 0; j < N; j++) {
            double s = 0;
            for (int d = 0; d < D; d++) {
                s += (double)q[i][d] * k[j][d];
            }
            double w = seen[i][j] ? exp(s) : 0;
            sum += w;
            for (int d = 0; d < D; d++) {
                all[d] += w * v[j][d];
            }
        }
        for (int d = 0; d < D; d++) {
            out[i][d] = sum > 0 ? (float)(all[d] / sum) : 0;
        }
    }
}

/* The attend by tiles and blocks so small that there are several, which the pattern's panels fill in turn. */
static const char *check_compiled(maker *m, lap_graph *g, const lap_machine *machine, seen_set seen)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    rows_of x[N_INPUTS], want;
    lap_tensor in[N_INPUTS], out[2] = {{0}};
    for (int t = 0; t < N_INPUTS; t++) {
        for (int i = 0; i < N * D; i++) {
            x[t][i / D][i % D] = (float)pick(m, -100, 100) / 100;
        }
        in[t] =
            (lap_tensor){.dtype = LAP_F32, .rank = 2, .shape = {N, D}, .data = x[t], .n_bytes = sizeof x[t]};
    }
    attend_plainly(x[0], x[1], x[2], seen, want);
    lap_fault fault = {0};
    lap_schedule schedule = lap_schedule_default(lap_machine_target(machine));
    assert_true(
        lap_schedule_parse("attend.cols=4,attend.panels=2,attend.rows=4,attend.masked=2", &schedule, &fault));
    lap_program *program;
    assert_true(lap_lower(g, lap_machine_target(machine),
                          &(lap_pass_options){.verify = true, .schedule = &schedule}, &program));
    size_t n_bytes = 0;
    const void *image = lap_image_write(program, &n_bytes);
    lap_jit *jit = lap_jit_new(program, machine, &fault);
    assert_non_null(jit);
    lap_exec *exec =
        lap_exec_open(image, n_bytes, lap_jit_kernels(jit), &(lap_exec_options){.n_threads = 1}, &fault);
    const char *why = NULL;
    if (!exec || !lap_exec_set_weight_tensors(exec, NULL, &fault) || !lap_exec_run(exec, in, out, &fault)) {
        why = lap_arena_printf(ctx->arena, "%s", fault.text);
    }
    for (int i = 0; i < N * D && why == NULL; i++) {
        double got = ((const float *)out[1].data)[i], expected = want[i / D][i % D];
        if (!(fabs(got - expected) < 1e-5)) {
            why = lap_arena_printf(ctx->arena, "row %d has %g, expected %g", i / D, got, expected);
        }
    }
    lap_exec_close(exec);
    lap_jit_free(jit);
    return why;
}

/* From small combinations to large ones, for each level of processor that there is here. */
static void test_compiled(void **state)
{
    (void)state;
    static const char *const cpus[] = {NULL, "x86-64-v3", "x86-64"};
    char *folder = folder_new();
    uint64_t first = setting("LAP_SEED", 1), n = setting("LAP_PATTERNS", 300) / 5 + 1;
    for (uint64_t seed = first; seed < first + n; seed++) {
        lap_machine *machine = lap_machine_new(NULL, cpus[seed % 3], NULL);
        machine = machine != NULL ? machine : lap_machine_new(NULL, NULL, NULL);
        maker m = {.state = seed * 0x9e3779b97f4a7c15u, .is_grid = seed % 2 == 0};
        seen_set want;
        make(&m, (int)((seed - first) * 3 / n), want);
        lap_ctx *ctx = lap_ctx_new(0);
        const char *why = check_compiled(&m, build(ctx, folder, m.text), machine, want);
        if (why != NULL) {
            fail_msg("seed %llu: %s: %s", (unsigned long long)seed, m.text, why);
        }
        lap_ctx_free(ctx);
        lap_machine_free(machine);
    }
    folder_remove(folder);
}

static void check(maker *m, uint64_t seed, const char *folder, seen_set want, tally *t)
{
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *g = build(ctx, folder, m->text);
    lap_ref where = where_of(g);
    const char *why = check_members(ctx, g, want);
    why = why != NULL ? why : check_density(ctx, g, where, want);
    why = why != NULL ? why : check_tiles(m, g, where, want, t);
    if (why != NULL) {
        fail_msg("seed %llu: %s: %s", (unsigned long long)seed, m->text, why);
    }
    lap_ctx_free(ctx);
}

/* Each constructor by itself, all tiles that are empty or full found where that is promised. */
static void test_constructors(void **state)
{
    (void)state;
    char *folder = folder_new();
    for (int64_t r = 0; r < N_RULES; r++) {
        tally t = {0};
        for (uint64_t seed = 1; seed <= 6; seed++) {
            maker m = {.state = seed * 977 + (uint64_t)r};
            seen_set want;
            make_leaf(&m, r, want);
            check(&m, seed, folder, want, &t);
        }
        if (getenv("LAP_SHOW") != NULL) {
            printf("%-56s empty %llu of %llu, full %llu of %llu\n", rules[r].text,
                   (unsigned long long)t.found_empty, (unsigned long long)t.empty,
                   (unsigned long long)t.found_full, (unsigned long long)t.full);
        }
    }
    folder_remove(folder);
}

/* From small combinations to large ones, so that the first failure is a small one. */
static void test_combinations(void **state)
{
    (void)state;
    char *folder = folder_new();
    tally t = {0};
    uint64_t first = setting("LAP_SEED", 1), n = setting("LAP_PATTERNS", 300);
    for (uint64_t seed = first; seed < first + n; seed++) {
        maker m = {.state = seed * 0x9e3779b97f4a7c15u, .is_grid = seed % 2 == 0};
        seen_set want;
        make(&m, 1 + (int)((seed - first) * 3 / n), want);
        check(&m, seed, folder, want, &t);
    }
    printf("seeds %llu to %llu: found %llu of %llu empty tiles, %llu of %llu full ones\n",
           (unsigned long long)first, (unsigned long long)(first + n - 1), (unsigned long long)t.found_empty,
           (unsigned long long)t.empty, (unsigned long long)t.found_full, (unsigned long long)t.full);
    assert_true(t.found_empty * 2 > t.empty && t.found_full * 2 > t.full);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_constructors),
                                       cmocka_unit_test(test_combinations), cmocka_unit_test(test_compiled)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
