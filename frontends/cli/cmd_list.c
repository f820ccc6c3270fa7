/* SPDX-License-Identifier: Apache-2.0
 * cmd_list.c - lappet list: every pattern on the plugin path. */
#include <string.h>

#include "frontends/cli/document.h"
#include "frontends/cli/setup.h"
#include "frontends/compiler/plugin_path.h"

static const char *const targets[] = {"cpu", "aot", "vulkan", "ref"};
enum { N_TARGETS = sizeof targets / sizeof targets[0] };

static const char *or_dash(const char *text) { return text != NULL && *text != '\0' ? text : "-"; }

static void list_row(const lap_model *m, const char *slug)
{
    printf("%-22s %-12s", slug, or_dash(lap_model_family(m)));
    for (int i = 0; i < N_TARGETS; i++) {
        printf(" %s", targets[i]);
    }
    printf("  %s\n", or_dash(lap_model_paper(m)));
}

static void list_entry(cJSON *list, const lap_model *m, const char *slug)
{
    cJSON *entry = cJSON_CreateObject();
    lap_document_text(entry, "slug", slug);
    lap_document_text(entry, "family", lap_model_family(m));
    lap_document_text(entry, "paper", lap_model_paper(m));
    cJSON *names = cJSON_AddArrayToObject(entry, "targets");
    for (int i = 0; i < N_TARGETS; i++) {
        cJSON_AddItemToArray(names, cJSON_CreateString(targets[i]));
    }
    cJSON_AddItemToArray(list, entry);
}

/* One pattern in a session of its own: a broken module is said and does not hide the others. */
static lap_code list_one(const lap_load_options *path, const char *slug, cJSON *list)
{
    lap_session *s = lap_session_new();
    if (s == NULL) {
        lap_cli_error("out of memory");
        return LAP_BAD_INPUT;
    }
    lap_load_options load = *path;
    load.model = slug;
    lap_code code = LAP_OK;
    if (!lap_session_open_model(s, &load)) {
        lap_cli_message(lap_session_message(s));
        code = lap_session_code(s);
    } else if (list != NULL) {
        list_entry(list, lap_session_model(s), slug);
    } else {
        list_row(lap_session_model(s), slug);
    }
    lap_session_free(s);
    return code;
}

lap_code lap_cmd_list(const lap_args *args)
{
    lap_setup s;
    if (!lap_setup_init(&s, args)) {
        lap_setup_free(&s);
        return LAP_BAD_INPUT;
    }
    uint32_t n;
    const char **slugs =
        lap_plugin_slugs(lap_session_ctx(s.session), s.load.plugin_path, s.load.n_plugin_path, &n);
    cJSON *list = lap_args_has(args, LAP_OPT_JSON) ? cJSON_CreateArray() : NULL;
    lap_code code = LAP_OK;
    for (uint32_t i = 0; i < n; i++) {
        lap_code one = list_one(&s.load, slugs[i], list);
        code = one > code ? one : code;
    }
    if (n == 0) {
        lap_cli_error("found no patterns\nhint: name their folder in LAPPET_PLUGINS");
        code = LAP_BAD_INPUT;
    }
    if (list != NULL) {
        lap_document_print(list);
    }
    lap_setup_free(&s);
    return code;
}
