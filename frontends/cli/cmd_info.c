/* SPDX-License-Identifier: Apache-2.0
 * cmd_info.c - lappet info: what a model takes and gives. */
#include "frontends/cli/document.h"
#include "frontends/cli/setup.h"

/* ---- text ---------------------------------------------------------------------------------- */

static void line(const char *label, const char *text)
{
    if (text != NULL && *text != '\0') {
        printf("%s: %s\n", label, text);
    }
}

static void print_params(const lap_model *m)
{
    printf("\nparameters\n");
    for (uint32_t i = 0; i < lap_model_n_params(m); i++) {
        const lap_model_param *p = lap_model_param_at(m, i);
        const char *value = p->is_required            ? "required"
                            : p->default_json != NULL ? p->default_json
                                                      : "optional";
        printf("  %-20s %-10s %-16s %s\n", p->name, p->type, value, p->doc != NULL ? p->doc : "");
    }
}

static void print_specs(lap_ctx *ctx, const char *title, lap_specs specs)
{
    printf("\n%s\n", title);
    for (uint32_t i = 0; i < specs.n; i++) {
        const lap_spec *spec = &specs.at[i];
        printf("  %-32s %-5s %s%s\n", spec->name, lap_dtype_text(spec->dtype), lap_spec_show(ctx, spec),
               spec->is_optional ? " optional" : "");
    }
}

static void print_declared(const lap_model *m)
{
    printf("\ndeclared inputs\n");
    for (uint32_t i = 0; i < lap_model_n_inputs(m); i++) {
        const lap_model_input *in = lap_model_input_at(m, i);
        printf("  %-32s %-5s \"%s\"%s\n", in->name, lap_dtype_text(in->dtype), in->layout,
               in->is_optional ? " optional" : "");
    }
}

/* `missing` says why there is no graph, or is NULL. */
static void print_info(lap_setup *s, const char *missing)
{
    const lap_model *m = lap_session_model(s->session);
    line("name", lap_model_name(m));
    line("doc", lap_model_doc(m));
    line("family", lap_model_family(m));
    line("paper", lap_model_paper(m));
    line("authors", lap_model_authors(m));
    if (lap_model_year(m) != 0) {
        printf("year: %lld\n", (long long)lap_model_year(m));
    }
    line("reference cases", lap_model_reference(m));
    print_params(m);
    if (missing != NULL) {
        printf("\nGive parameters with --param to see inputs, weights and outputs:\n%s\n", missing);
        return;
    }
    const lap_leaves *leaves = lap_session_leaves(s->session);
    lap_ctx *ctx = lap_session_ctx(s->session);
    print_declared(m);
    print_specs(ctx, "inputs", leaves->inputs);
    print_specs(ctx, "weights", leaves->weights);
    print_specs(ctx, "outputs", leaves->outputs);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static cJSON *params_document(const lap_model *m)
{
    cJSON *list = cJSON_CreateArray();
    for (uint32_t i = 0; i < lap_model_n_params(m); i++) {
        const lap_model_param *p = lap_model_param_at(m, i);
        cJSON *entry = cJSON_CreateObject();
        lap_document_text(entry, "name", p->name);
        lap_document_text(entry, "type", p->type);
        cJSON *value = p->default_json != NULL ? cJSON_Parse(p->default_json) : NULL;
        cJSON_AddItemToObject(entry, "default", value != NULL ? value : cJSON_CreateNull());
        cJSON_AddBoolToObject(entry, "required", p->is_required);
        lap_document_text(entry, "doc", p->doc);
        cJSON_AddItemToArray(list, entry);
    }
    return list;
}

static cJSON *specs_document(lap_ctx *ctx, lap_specs specs)
{
    cJSON *list = cJSON_CreateArray();
    for (uint32_t i = 0; i < specs.n; i++) {
        const lap_spec *spec = &specs.at[i];
        cJSON *entry = cJSON_CreateObject();
        lap_document_text(entry, "name", spec->name);
        lap_document_text(entry, "dtype", lap_dtype_text(spec->dtype));
        cJSON *shape = cJSON_AddArrayToObject(entry, "shape");
        for (uint32_t k = 0; k < spec->rank; k++) {
            int64_t value;
            bool is_number = lap_dim_is_const(ctx, spec->shape[k], &value);
            cJSON_AddItemToArray(shape, is_number ? cJSON_CreateNumber((double)value)
                                                  : cJSON_CreateString(lap_dim_show(ctx, spec->shape[k])));
        }
        cJSON_AddBoolToObject(entry, "optional", spec->is_optional);
        cJSON_AddItemToArray(list, entry);
    }
    return list;
}

static cJSON *declared_document(const lap_model *m)
{
    cJSON *list = cJSON_CreateArray();
    for (uint32_t i = 0; i < lap_model_n_inputs(m); i++) {
        const lap_model_input *in = lap_model_input_at(m, i);
        cJSON *entry = cJSON_CreateObject();
        lap_document_text(entry, "name", in->name);
        lap_document_text(entry, "dtype", lap_dtype_text(in->dtype));
        lap_document_text(entry, "layout", in->layout);
        cJSON_AddBoolToObject(entry, "optional", in->is_optional);
        cJSON_AddItemToArray(list, entry);
    }
    return list;
}

static void document_info(lap_setup *s, const char *missing)
{
    const lap_model *m = lap_session_model(s->session);
    cJSON *d = cJSON_CreateObject();
    lap_document_text(d, "name", lap_model_name(m));
    lap_document_text(d, "doc", lap_model_doc(m));
    lap_document_text(d, "family", lap_model_family(m));
    lap_document_text(d, "paper", lap_model_paper(m));
    lap_document_text(d, "authors", lap_model_authors(m));
    int64_t year = lap_model_year(m);
    cJSON_AddItemToObject(d, "year", year != 0 ? cJSON_CreateNumber((double)year) : cJSON_CreateNull());
    lap_document_text(d, "reference", lap_model_reference(m));
    cJSON_AddItemToObject(d, "params", params_document(m));
    if (missing != NULL) {
        lap_document_text(d, "missing", missing);
    } else {
        const lap_leaves *leaves = lap_session_leaves(s->session);
        lap_ctx *ctx = lap_session_ctx(s->session);
        cJSON_AddItemToObject(d, "declared_inputs", declared_document(m));
        cJSON_AddItemToObject(d, "inputs", specs_document(ctx, leaves->inputs));
        cJSON_AddItemToObject(d, "weights", specs_document(ctx, leaves->weights));
        cJSON_AddItemToObject(d, "outputs", specs_document(ctx, leaves->outputs));
    }
    lap_document_print(d);
}

/* A model whose parameters are still to be given is no mistake: its schema can be shown. */
static lap_code inform(lap_setup *s)
{
    if (!lap_session_open_model(s->session, &s->load)) {
        return lap_setup_failure(s);
    }
    const char *missing = NULL;
    bool is_loaded = lap_session_load(s->session, &s->load);
    lap_setup_warn(s);
    if (!is_loaded) {
        if (lap_args_has(s->args, LAP_OPT_PARAM) || lap_session_code(s->session) != LAP_BAD_INPUT) {
            return lap_setup_failure(s);
        }
        missing = lap_session_message(s->session);
    }
    (lap_args_has(s->args, LAP_OPT_JSON) ? document_info : print_info)(s, missing);
    return LAP_OK;
}

lap_code lap_cmd_info(const lap_args *args)
{
    lap_setup s;
    lap_code code = lap_setup_init(&s, args) ? inform(&s) : LAP_BAD_INPUT;
    lap_setup_free(&s);
    return code;
}
