/* SPDX-License-Identifier: Apache-2.0
 * args.c - parses the command line by the tables. */
#include "frontends/cli/args.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef struct option_row {
    const char *text;
    char letter;
    const char *value;
    bool is_multi;
    const char *doc;
} option_row;

static const option_row options[LAP_N_OPTIONS] = {
#define LAP_OPTION(enum_, text_, letter_, value_, multi_, doc_) {text_, letter_, value_, multi_, doc_},
#include "frontends/cli/options.def"
#undef LAP_OPTION
};

static const lap_command commands[] = {
#define LAP_COMMAND(name_, operands_, min_, max_, options_, doc_)                                            \
    {#name_, operands_, min_, max_, options_, doc_, lap_cmd_##name_},
#include "frontends/cli/commands.def"
#undef LAP_COMMAND
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

void lap_cli_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("lappet: error: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

/* ---- words --------------------------------------------------------------------------------- */

#define MAX_WORD 40

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

/* Edit distance of two short words. */
static unsigned distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > MAX_WORD || m > MAX_WORD) {
        return MAX_WORD;
    }
    unsigned row[MAX_WORD + 1];
    for (size_t j = 0; j <= m; j++) {
        row[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= n; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned above = row[j];
            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[m];
}

const char *lap_nearest(const char *text, const char *const *words, uint32_t n)
{
    const char *best = NULL;
    unsigned best_distance = 1 + (unsigned)strlen(text) / 3;
    for (uint32_t i = 0; i < n; i++) {
        unsigned d = distance(text, words[i]);
        if (d <= best_distance && (best == NULL || d < best_distance)) {
            best = words[i];
            best_distance = d;
        }
    }
    return best;
}

static void hint_nearest(const char *text, const char *const *words, uint32_t n, const char *before)
{
    const char *near = lap_nearest(text, words, n);
    if (near != NULL) {
        fprintf(stderr, "hint: did you mean '%s%s'?\n", before, near);
    }
}

/* ---- tables -------------------------------------------------------------------------------- */

static bool takes(const lap_command *command, lap_option option)
{
    if (option == LAP_OPT_HELP) {
        return true;
    }
    size_t n = strlen(options[option].text);
    for (const char *at = command->options; *at != '\0';) {
        size_t length = strcspn(at, " ");
        if (length == n && memcmp(at, options[option].text, n) == 0) {
            return true;
        }
        at += length + (at[length] == ' ');
    }
    return false;
}

static const lap_command *find_command(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    const char *names[N_COMMANDS];
    for (int i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i].name;
    }
    lap_cli_error("there is no command '%s'", name);
    hint_nearest(name, names, N_COMMANDS, "");
    return NULL;
}

static int find_long(const char *text, size_t n)
{
    for (int i = 0; i < LAP_N_OPTIONS; i++) {
        if (strlen(options[i].text) == n && memcmp(options[i].text, text, n) == 0) {
            return i;
        }
    }
    return -1;
}

static int find_letter(char letter)
{
    for (int i = 0; i < LAP_N_OPTIONS; i++) {
        if (options[i].letter == letter) {
            return i;
        }
    }
    return -1;
}

static bool unknown_option(const lap_command *command, const char *text)
{
    lap_cli_error("'%s' takes no option '%s'", command->name, text);
    const char *names[LAP_N_OPTIONS];
    uint32_t n = 0;
    for (int i = 0; i < LAP_N_OPTIONS; i++) {
        if (takes(command, (lap_option)i)) {
            names[n++] = options[i].text;
        }
    }
    char word[MAX_WORD + 1] = "";
    const char *bare = text + strspn(text, "-");
    snprintf(word, sizeof word, "%.*s", (int)strcspn(bare, "="), bare);
    hint_nearest(word, names, n, "--");
    return false;
}

/* ---- help ---------------------------------------------------------------------------------- */

void lap_args_help(FILE *to)
{
    fputs("usage: lappet COMMAND ...\n\nA compiler for attention variants. MODEL is a Lua file or a "
          "pattern's slug.\n\n",
          to);
    for (int i = 0; i < N_COMMANDS; i++) {
        fprintf(to, "  %-8s %-8s  %s\n", commands[i].name, commands[i].operands, commands[i].doc);
    }
    fputs("\n'lappet COMMAND --help' shows the options of a command.\n"
          "LAPPET_PLUGINS may name the folders of patterns, separated by ':'.\n"
          "Exit codes: 0 done, 1 a comparison failed, 2 bad usage or input, 3 no such target, 4 internal "
          "error.\n",
          to);
}

static void command_help(const lap_command *command, FILE *to)
{
    fprintf(to, "usage: lappet %s%s%s [options]\n\n%s\n\n", command->name,
            *command->operands != '\0' ? " " : "", command->operands, command->doc);
    for (int i = 0; i < LAP_N_OPTIONS; i++) {
        if (!takes(command, (lap_option)i)) {
            continue;
        }
        char left[64];
        char letter[8] = "";
        if (options[i].letter != 0) {
            snprintf(letter, sizeof letter, "-%c, ", options[i].letter);
        }
        snprintf(left, sizeof left, "%s--%s%s%s", letter, options[i].text,
                 options[i].value != NULL ? " " : "", options[i].value != NULL ? options[i].value : "");
        fprintf(to, "  %-22s %s\n", left, options[i].doc);
    }
}

/* ---- parsing ------------------------------------------------------------------------------- */

/* Whether NAME of `NAME=VALUE` was given before. */
static bool repeats_name(const lap_args *args, int option, const char *value)
{
    size_t n = strcspn(value, "=");
    bool found = false;
    for (uint32_t i = 0; i < args->n[option] && value[n] == '='; i++) {
        found = found || strncmp(args->values[option][i], value, n + 1) == 0;
    }
    return found;
}

static bool take_option(lap_args *args, int option, const char *spelled, const char *attached, int argc,
                        char **argv, int *at)
{
    if (option < 0 || !takes(args->command, (lap_option)option)) {
        return unknown_option(args->command, spelled);
    }
    const option_row *row = &options[option];
    const char *value = attached;
    if (row->value == NULL && attached != NULL) {
        lap_cli_error("--%s takes no value", row->text);
        return false;
    }
    if (row->value != NULL && value == NULL) {
        if (*at + 1 >= argc) {
            lap_cli_error("--%s needs %s", row->text, row->value);
            return false;
        }
        value = argv[++*at];
    }
    if (row->value != NULL && !row->is_multi && args->n[option] > 0) {
        lap_cli_error("--%s is given twice", row->text);
        return false;
    }
    if (option != LAP_OPT_WITH && row->is_multi && repeats_name(args, option, value)) {
        lap_cli_error("--%s %.*s is given twice", row->text, (int)strcspn(value, "="), value);
        return false;
    }
    args->values[option][args->n[option]++] = value != NULL ? value : "";
    return true;
}

static bool take_argument(lap_args *args, int argc, char **argv, int *at, bool *only_operands)
{
    const char *text = argv[*at];
    if (*only_operands || text[0] != '-' || text[1] == '\0') {
        args->operands[args->n_operands++] = text;
        return true;
    }
    if (strcmp(text, "--") == 0) {
        *only_operands = true;
        return true;
    }
    if (text[1] == '-') {
        size_t n = strcspn(text + 2, "=");
        const char *attached = text[2 + n] == '=' ? text + 3 + n : NULL;
        return take_option(args, find_long(text + 2, n), text, attached, argc, argv, at);
    }
    return take_option(args, find_letter(text[1]), text, text[2] != '\0' ? text + 2 : NULL, argc, argv, at);
}

static bool check_operands(const lap_args *args)
{
    const lap_command *c = args->command;
    if ((int)args->n_operands < c->min) {
        lap_cli_error("'%s' needs %s\nhint: lappet %s --help", c->name, c->operands, c->name);
        return false;
    }
    if (c->max >= 0 && (int)args->n_operands > c->max) {
        lap_cli_error("'%s' takes %s%s; '%s' is too many\nhint: lappet %s --help", c->name,
                      c->max == 0 ? "no operands" : "one ", c->max == 0 ? "" : c->operands,
                      args->operands[c->max], c->name);
        return false;
    }
    return true;
}

static bool parse_command(int argc, char **argv, lap_args *out)
{
    if (argc < 2) {
        lap_args_help(stderr);
        return false;
    }
    const char *first = argv[1];
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || strcmp(first, "help") == 0) {
        lap_args_help(stdout);
        return true;
    }
    if (strcmp(first, "--version") == 0) {
        puts("lappet " LAP_VERSION);
        return true;
    }
    if (first[0] == '-') {
        lap_cli_error("the first argument is a command, not '%s'\nhint: lappet --help", first);
        return false;
    }
    out->command = find_command(first);
    return out->command != NULL;
}

static void allocate(lap_args *args, int argc)
{
    args->operands = calloc((size_t)argc + 1, sizeof *args->operands);
    bool failed = args->operands == NULL;
    for (int i = 0; i < LAP_N_OPTIONS; i++) {
        args->values[i] = calloc((size_t)argc + 1, sizeof *args->values[i]);
        failed = failed || args->values[i] == NULL;
    }
    if (failed) {
        lap_cli_error("out of memory");
        exit(LAP_BAD_INPUT);
    }
}

bool lap_args_parse(int argc, char **argv, lap_args *out)
{
    *out = (lap_args){0};
    if (!parse_command(argc, argv, out)) {
        return false;
    }
    if (out->command == NULL) {
        return true;
    }
    allocate(out, argc);
    bool only_operands = false;
    for (int i = 2; i < argc; i++) {
        if (!take_argument(out, argc, argv, &i, &only_operands)) {
            return false;
        }
        if (out->n[LAP_OPT_HELP] > 0) {
            command_help(out->command, stdout);
            out->command = NULL;
            return true;
        }
    }
    return check_operands(out);
}

void lap_args_free(lap_args *args)
{
    free(args->operands);
    for (int i = 0; i < LAP_N_OPTIONS; i++) {
        free(args->values[i]);
    }
}

/* ---- values -------------------------------------------------------------------------------- */

const char *lap_args_get(const lap_args *args, lap_option option, const char *missing)
{
    return args->n[option] > 0 ? args->values[option][args->n[option] - 1] : missing;
}

bool lap_args_int(const lap_args *args, lap_option option, int64_t min, int64_t max, int64_t missing,
                  int64_t *out)
{
    const char *text = lap_args_get(args, option, NULL);
    *out = missing;
    if (text == NULL) {
        return true;
    }
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < min || value > max) {
        lap_cli_error("--%s needs a whole number from %lld to %lld, not '%s'", options[option].text,
                      (long long)min, (long long)max, text);
        return false;
    }
    *out = value;
    return true;
}

bool lap_args_number(const lap_args *args, lap_option option, double min, double max, double missing,
                     double *out)
{
    const char *text = lap_args_get(args, option, NULL);
    *out = missing;
    if (text == NULL) {
        return true;
    }
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= min && value <= max)) {
        lap_cli_error("--%s needs a number from %g to %g, not '%s'", options[option].text, min, max, text);
        return false;
    }
    *out = value;
    return true;
}

bool lap_args_pair(lap_option option, const char *text, size_t *out_n_name, const char **out_value)
{
    size_t n = strcspn(text, "=");
    if (n == 0 || text[n] == '\0' || text[n + 1] == '\0') {
        lap_cli_error("--%s needs %s, not '%s'", options[option].text, options[option].value, text);
        return false;
    }
    *out_n_name = n;
    *out_value = text + n + 1;
    return true;
}
