/* SPDX-License-Identifier: Apache-2.0
 * cmd_check.c - lappet check: case files, one line each. */
#include <string.h>
#include <unistd.h>

#include "frontends/cli/document.h"
#include "frontends/cli/interrupt.h"
#include "frontends/cli/setup.h"
#include "frontends/compiler/case.h"

/* One line, whatever the message's notes and hints. */
static void print_case(const char *path, const lap_case_report *r)
{
    printf("%s %s%s", r->code == LAP_OK ? "PASS" : "FAIL", path, *r->text != '\0' ? ": " : "");
    for (const char *c = r->text; *c != '\0'; c++) {
        fputs(*c == '\n' ? "; " : (char[]){*c, '\0'}, stdout);
    }
    putchar('\n');
    fflush(stdout);
}

static void add_case(cJSON *list, const char *path, const lap_case_report *r)
{
    cJSON *entry = cJSON_CreateObject();
    lap_document_text(entry, "case", path);
    cJSON_AddBoolToObject(entry, "passed", r->code == LAP_OK);
    if (*r->text != '\0') {
        lap_document_text(entry, "message", r->text);
    }
    cJSON_AddNumberToObject(entry, "compile_s", r->compile_s);
    cJSON_AddNumberToObject(entry, "run_s", r->run_s);
    cJSON_AddItemToArray(list, entry);
}

static void print_document(cJSON *list, const char *target, uint32_t n_passed, uint32_t n_failed)
{
    cJSON *d = cJSON_CreateObject();
    lap_document_text(d, "target", target);
    cJSON_AddItemToObject(d, "cases", list);
    cJSON_AddNumberToObject(d, "passed", n_passed);
    cJSON_AddNumberToObject(d, "failed", n_failed);
    lap_document_print(d);
}

static lap_code check(const lap_setup *s)
{
    const lap_args *args = s->args;
    lap_case_options options = {.engine = s->compile.engine,
                                .plugin_path = s->load.plugin_path,
                                .n_plugin_path = s->load.n_plugin_path,
                                .cpu = s->compile.cpu,
                                .n_threads = s->compile.n_threads,
                                .schedule = s->compile.schedule,
                                .tuning = s->compile.tuning,
                                .foreign = s->load.foreign};
    lap_interrupts old;
    bool writes = options.engine == LAP_ENGINE_AOT; /* other engines have nothing to remove */
    options.interrupted = writes ? lap_interrupts_catch(&old) : NULL;
    cJSON *list = lap_args_has(args, LAP_OPT_JSON) ? cJSON_CreateArray() : NULL;
    lap_code code = LAP_OK;
    uint32_t n_passed = 0;
    bool has_warned = false;
    for (uint32_t i = 0; i < args->n_operands && !(writes && *options.interrupted); i++) {
        lap_case_report r;
        n_passed += lap_case_run(args->operands[i], &options, &r);
        if (r.warning[0] != '\0' && !has_warned) { /* the same of each case */
            fprintf(stderr, "lappet: warning: %s\n", r.warning);
            has_warned = true;
        }
        code = r.code > code ? r.code : code;
        if (list != NULL) {
            add_case(list, args->operands[i], &r);
        } else {
            print_case(args->operands[i], &r);
        }
    }
    uint32_t n_failed = args->n_operands - n_passed; /* those not reached, too */
    if (writes) {
        code = *options.interrupted ? LAP_BAD_INPUT : code;
        lap_interrupts_restore(&old);
    }
    if (list != NULL) {
        print_document(list, lap_engine_text(options.engine), n_passed, n_failed);
    } else {
        printf("%u passed, %u failed\n", n_passed, n_failed);
    }
    return code;
}

lap_code lap_cmd_check(const lap_args *args)
{
    lap_setup s;
    lap_code code = LAP_BAD_INPUT;
    if (lap_setup_init(&s, args)) {
        code = check(&s);
    }
    lap_setup_free(&s);
    return code;
}
