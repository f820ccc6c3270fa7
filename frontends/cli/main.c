/* SPDX-License-Identifier: Apache-2.0
 * main.c - the command `lappet`. */
#include <stdio.h>

#include "frontends/cli/args.h"
#include "runtime/file_signals.h"

int main(int argc, char **argv)
{
    lap_file_signals_catch();
    lap_args args;
    if (!lap_args_parse(argc, argv, &args)) {
        lap_args_free(&args);
        return LAP_BAD_INPUT;
    }
    lap_code code = args.command != NULL ? args.command->run(&args) : LAP_OK;
    lap_args_free(&args);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        lap_cli_error("cannot write to standard output");
        return code == LAP_OK ? LAP_BAD_INPUT : (int)code;
    }
    return (int)code;
}
