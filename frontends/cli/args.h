/* SPDX-License-Identifier: Apache-2.0
 * args.h - the command line, parsed by the tables commands.def and options.def. */
#ifndef LAP_FRONTENDS_CLI_ARGS_H
#define LAP_FRONTENDS_CLI_ARGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "runtime/tensor.h"
#include "runtime/version.h"

typedef enum lap_option {
#define LAP_OPTION(enum_, text, letter, value, multi, doc) LAP_OPT_##enum_,
#include "frontends/cli/options.def"
#undef LAP_OPTION
    LAP_N_OPTIONS
} lap_option;

typedef struct lap_command lap_command;

typedef struct lap_args {
    const lap_command *command;
    uint32_t n_operands;
    const char **operands;
    uint32_t n[LAP_N_OPTIONS];          /* how often each option was given */
    const char **values[LAP_N_OPTIONS]; /* their values, in order; "" for a switch */
} lap_args;

struct lap_command {
    const char *name, *operands;
    int min, max;
    const char *options; /* names that it takes, separated by spaces */
    const char *doc;
    lap_code (*run)(const lap_args *args);
};

/* Commands in commands.def call these (frontends/cli/cmd_*.c); their result is the exit code. */
#define LAP_COMMAND(name, operands, min, max, options, doc) lap_code lap_cmd_##name(const lap_args *args);
#include "frontends/cli/commands.def"
#undef LAP_COMMAND

/* Parses; on a mistake says it on stderr and returns false. --help prints help and gives a
 * command of NULL. */
bool lap_args_parse(int argc, char **argv, lap_args *out);
void lap_args_free(lap_args *args);
void lap_args_help(FILE *to);

/* The last value given, or `missing`. */
const char *lap_args_get(const lap_args *args, lap_option option, const char *missing);
static inline bool lap_args_has(const lap_args *args, lap_option option) { return args->n[option] > 0; }
/* Numbers in a range; a mistake is said on stderr. */
bool lap_args_int(const lap_args *args, lap_option option, int64_t min, int64_t max, int64_t missing,
                  int64_t *out);
bool lap_args_number(const lap_args *args, lap_option option, double min, double max, double missing,
                     double *out);
/* Splits NAME=VALUE: *out_value follows the first '='; false (said on stderr) without one. */
bool lap_args_pair(lap_option option, const char *text, size_t *out_n_name, const char **out_value);

/* "lappet: error: ..." on stderr. */
void lap_cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The word among `n` nearest to `text`, or NULL when none is near. */
const char *lap_nearest(const char *text, const char *const *words, uint32_t n);

#endif
