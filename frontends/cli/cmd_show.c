/* SPDX-License-Identifier: Apache-2.0
 * cmd_show.c - lappet show: patterns and kernels as one page that needs nothing else, or patterns as text.
 *
 * The page is show.html, embedded in the binary, with the document in it. */
#include <stdlib.h>
#include <string.h>

#include "frontends/cli/document.h"
#include "frontends/cli/show.h"
#include "runtime/file.h"

__asm__(".pushsection .rodata\n.global lap_show_page\n.global lap_show_page_end\n"
        ".hidden lap_show_page\n.hidden lap_show_page_end\n"
        "lap_show_page:\n.incbin \"frontends/cli/show.html\"\nlap_show_page_end:\n.byte 0\n.popsection\n");
extern const char lap_show_page[], lap_show_page_end[];

static const char mark[] = "@DATA@";

/* JSON within a page: no character that could end the element it stands in. */
static void put_data(FILE *to, const char *json)
{
    for (const char *c = json; *c != '\0'; c++) {
        if (*c == '<' || *c == '>' || *c == '&') {
            fprintf(to, "\\u%04x", (unsigned)*c);
        } else {
            fputc(*c, to);
        }
    }
}

static char *page_of(cJSON *document, size_t *out_n)
{
    char *text = NULL, *json = cJSON_PrintUnformatted(document);
    FILE *memory = json != NULL ? open_memstream(&text, out_n) : NULL;
    const char *at = strstr(lap_show_page, mark);
    if (memory != NULL && at != NULL) {
        fwrite(lap_show_page, 1, (size_t)(at - lap_show_page), memory);
        put_data(memory, json);
        fputs(at + strlen(mark), memory);
    }
    if (memory != NULL && fclose(memory) != 0) {
        free(text);
        text = NULL;
    }
    cJSON_free(json);
    return text;
}

static lap_code write_page(lap_setup *s, const char *path, cJSON *document)
{
    size_t n = 0;
    char *page = page_of(document, &n);
    lap_fault fault = {0};
    lap_file_writer w;
    lap_code code = LAP_OK;
    if (page == NULL) {
        lap_cli_error("out of memory");
        return LAP_BAD_INPUT;
    }
    if (strcmp(path, "-") == 0) {
        fwrite(page, 1, n, stdout);
    } else if (!lap_file_begin(&w, path, &fault)) {
        code = LAP_BAD_INPUT;
    } else if (!lap_file_put(&w, page, n, &fault) || !lap_file_commit(&w, &fault)) {
        lap_file_abandon(&w);
        code = LAP_BAD_INPUT;
    }
    if (code != LAP_OK) {
        lap_session_fault(s->session, &fault);
        code = lap_setup_failure(s);
    }
    free(page);
    return code;
}

static lap_code show(lap_setup *s)
{
    lap_tensors inputs = {0}, weights = {0};
    lap_pictures pictures = {0};
    if (!lap_setup_load(s) || !lap_setup_fill(s, &inputs, &weights)) {
        return lap_session_code(s->session);
    }
    if (!lap_pictures_make(s->session, &s->compile, &inputs, &weights, &pictures)) {
        return lap_setup_failure(s);
    }
    const char *path = lap_args_get(s->args, LAP_OPT_OUTPUT, NULL);
    bool as_json = lap_args_has(s->args, LAP_OPT_JSON);
    lap_code code = LAP_OK;
    if (path != NULL || as_json) {
        cJSON *document = lap_show_document(s, &pictures);
        code = path != NULL ? write_page(s, path, document) : LAP_OK;
        if (as_json && code == LAP_OK) {
            lap_document_print(document);
        } else {
            cJSON_Delete(document);
        }
    }
    if (code == LAP_OK && !as_json && (path == NULL || lap_args_has(s->args, LAP_OPT_TEXT))) {
        lap_show_text(s, &pictures);
    }
    return code;
}

lap_code lap_cmd_show(const lap_args *args)
{
    lap_setup s;
    lap_code code = lap_setup_init(&s, args) ? show(&s) : LAP_BAD_INPUT;
    lap_setup_free(&s);
    return code;
}
