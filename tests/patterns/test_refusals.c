/* SPDX-License-Identifier: Apache-2.0
 * test_refusals.c - every row of a refusals.txt is refused: exit code 2 and the message.
 *
 * Rows, `#` starts a comment:
 *   --param dim=10 --dim H=9 | PART OF THE MESSAGE
 *       `lappet run` of the folder's pattern with made-up tensors
 *   default: in.mask i64[2 2] 1 0; w.gamma f32[3]; -w.bias | PART OF THE MESSAGE
 *       `lappet run` with the parameters and tensors of default.safetensors, but for those replaced
 *       (missing numbers are 0) or left out
 * The evaluator runs them unless the words name a target: conditions on sizes and data are the same
 * nodes for every target, and nothing has to be compiled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <cjson/cJSON.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/base/arena.h"
#include "runtime/safetensors.h"
#include "tests/support/process.h"
#include "tests/support/tensor_text.h"

typedef struct refusals {
    const char *path; /* .../SLUG/refusals.txt */
    char *scratch;
} refusals;

/* What a row runs: words, each of its own memory. */
typedef struct command {
    const char *argv[128];
    int n;
    lap_arena *arena;
} command;

static void add(command *c, const char *word)
{
    assert_true(c->n + 1 < (int)(sizeof c->argv / sizeof c->argv[0]));
    c->argv[c->n++] = word;
}

static void add_words(command *c, char *words)
{
    for (char *rest = words, *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
        add(c, word);
    }
}

/* The names to leave out, "-NAME", become " NAME " in `out`; what remains of `edits` are tensors. */
static void split_edits(char *edits, char *out)
{
    for (char *at = edits; *(at += strspn(at, " ;")) != '\0'; at += strcspn(at, ";")) {
        if (*at == '-') {
            size_t n = strcspn(at, ";");
            out += sprintf(out, " %.*s ", (int)(n - 1), at + 1);
            memset(at, ' ', n);
        }
    }
}

static bool is_edited(const char *name, const lap_eval_io *new, const char *absent)
{
    for (uint32_t i = 0; i < new->n; i++) {
        if (strcmp(name, new->names[i]) == 0) {
            return true;
        }
    }
    const char *at = strstr(absent, name);
    return at != NULL && at[-1] == ' ' && at[strlen(name)] == ' ';
}

/* Writes the tensors whose names start with `prefix`, those of the file and the new ones. */
static void write_tensors(lap_arena *arena, lap_safetensors *file, const lap_eval_io *new, const char *absent,
                          const char *prefix, const char *to)
{
    size_t skip = strlen(prefix);
    uint32_t n_old = lap_safetensors_n(file), n = 0;
    const char **names = lap_arena_array(arena, n_old + new->n, sizeof *names);
    lap_tensor *tensors = lap_arena_array(arena, n_old + new->n, sizeof *tensors);
    for (uint32_t i = 0; i < n_old; i++) {
        const char *name = lap_safetensors_name(file, i);
        if (strncmp(name, prefix, skip) == 0 && !is_edited(name, new, absent)) {
            names[n] = name + skip;
            assert_true(lap_safetensors_read(file, i, LAP_NO_DTYPE, &tensors[n++], NULL));
        }
    }
    for (uint32_t i = 0; i < new->n; i++) {
        if (strncmp(new->names[i], prefix, skip) == 0) {
            names[n] = new->names[i] + skip;
            tensors[n++] = new->tensors[i];
        }
    }
    assert_true(lap_safetensors_write(to, n, names, tensors, NULL, NULL));
}

/* The parameters of a case as options. */
static void add_params(command *c, const lap_safetensors *file)
{
    const char *text = lap_safetensors_meta(file, "params");
    cJSON *params = cJSON_Parse(text != NULL ? text : "{}");
    for (const cJSON *p = params->child; p != NULL; p = p->next) {
        char *value = cJSON_PrintUnformatted(p);
        add(c, "--param");
        add(c, lap_arena_printf(c->arena, "%s=%s", p->string, value));
        free(value);
    }
    cJSON_Delete(params);
}

static void add_case(command *c, const refusals *r, const char *path, char *edits)
{
    lap_fault fault = {0};
    lap_safetensors *file = lap_safetensors_open(path, &fault);
    if (file == NULL) {
        fail_msg("%s: %s", path, fault.text);
    }
    char *absent = lap_arena_alloc(c->arena, 2 * strlen(edits) + 2);
    split_edits(edits, absent);
    lap_eval_io new = test_tensors(c->arena, edits);
    const char *inputs = folder_path(r->scratch, "inputs.safetensors");
    const char *weights = folder_path(r->scratch, "weights.safetensors");
    write_tensors(c->arena, file, &new, absent, "in.", inputs);
    write_tensors(c->arena, file, &new, absent, "w.", weights);
    add(c, "--in");
    add(c, inputs);
    add(c, "--weights");
    add(c, weights);
    add_params(c, file);
    lap_safetensors_close(file);
}

/* Runs one row and compares; false when it is not refused as the row says. */
static bool run_row(const refusals *r, lap_arena *arena, char *words, const char *message)
{
    static process_result result;
    const char *binary = getenv("LAPPET");
    char *folder = dirname(lap_arena_printf(arena, "%s", r->path)), *colon = strchr(words, ':');
    command c = {.arena = arena};
    add(&c, binary != NULL ? binary : "build/lappet");
    add(&c, "run");
    add(&c, strrchr(folder, '/') + 1);
    bool has_target = strstr(words, "--target") != NULL;
    if (colon != NULL && *words != '-') {
        *colon = '\0';
        add_case(&c, r, lap_arena_printf(arena, "%s/%s.safetensors", folder, words), colon + 1);
    } else {
        add(&c, "--seed");
        add(&c, "1");
        add_words(&c, words);
    }
    if (!has_target) {
        add(&c, "--target");
        add(&c, "ref");
    }
    process_run(c.argv, &result);
    if (result.status == 2 && strstr(result.err, message) != NULL) {
        return true;
    }
    print_error("expected: exit code 2, '%s'\nfound: %d, %s%s\n", message, result.status, result.err,
                result.out);
    return false;
}

static void test_rows(void **state)
{
    const refusals *r = *state;
    FILE *file = fopen(r->path, "r");
    assert_non_null(file);
    char line[4096];
    unsigned n = 0, n_wrong = 0;
    for (unsigned number = 1; fgets(line, sizeof line, file) != NULL; number++) {
        line[strcspn(line, "\n")] = '\0';
        char *words = line + strspn(line, " "), *bar = strstr(words, " | ");
        if (*words == '#' || *words == '\0') {
            continue;
        }
        if (bar == NULL) {
            fail_msg("%s:%u: expected WORDS | MESSAGE", r->path, number);
        }
        *bar = '\0';
        lap_arena *arena = lap_arena_new(0);
        const char *shown = lap_arena_printf(arena, "%s", words);
        if (!run_row(r, arena, words, bar + 3)) {
            print_error("%s:%u: %s\n\n", r->path, number, shown);
            n_wrong++;
        }
        lap_arena_free(arena);
        n++;
    }
    fclose(file);
    assert_true(n > 0);
    assert_int_equal(n_wrong, 0);
}

static int make_folder(void **state)
{
    ((refusals *)*state)->scratch = folder_new();
    return 0;
}

static int remove_folder(void **state)
{
    folder_remove(((refusals *)*state)->scratch);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2 || strrchr(argv[1], '/') == NULL) {
        fprintf(stderr, "usage: test_refusals .../SLUG/refusals.txt\n");
        return 2;
    }
    refusals r = {.path = argv[1]};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(test_rows, make_folder, remove_folder, &r)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
