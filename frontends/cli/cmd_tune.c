/* SPDX-License-Identifier: Apache-2.0
 * cmd_tune.c - lappet tune: searches schedules, or says which ones a model has. */
#include "frontends/cli/document.h"
#include "frontends/cli/interrupt.h"
#include "frontends/cli/setup.h"
#include "frontends/tune/tune.h"

static const char *schedule_text(const lap_setup *s, const lap_schedule *schedule, const lap_schedule *base)
{
    char text[LAP_SCHEDULE_TEXT];
    lap_schedule_show(schedule, base, text);
    return text[0] != '\0' ? lap_arena_printf(lap_session_ctx(s->session)->arena, "%s", text) : "default";
}

static void add_site(const lap_setup *s, cJSON *entry, const lap_site *site)
{
    char key[32];
    snprintf(key, sizeof key, "%016llx", (unsigned long long)site->key);
    lap_document_text(entry, "kernel", site->what);
    lap_document_text(entry, "place", lap_loc_show(lap_session_ctx(s->session), site->loc));
    lap_document_text(entry, "roles", site->roles);
    lap_document_text(entry, "key", key);
}

/* ---- tuning -------------------------------------------------------------------------------- */

static void document_report(const lap_setup *s, const lap_tune_report *r)
{
    cJSON *d = cJSON_CreateObject();
    lap_document_text(d, "model", s->load.model);
    lap_document_text(d, "target", r->target);
    lap_document_text(d, "records", *r->path != '\0' ? r->path : NULL);
    lap_document_text(d, "check", r->checked);
    cJSON_AddNumberToObject(d, "seconds", r->seconds);
    cJSON_AddBoolToObject(d, "complete", r->is_complete);
    cJSON *whole = cJSON_AddObjectToObject(d, "whole");
    cJSON_AddNumberToObject(whole, "default_s", r->before);
    cJSON_AddNumberToObject(whole, "tuned_s", r->after);
    lap_document_text(whole, "taken_back", *r->taken_back != '\0' ? r->taken_back : NULL);
    cJSON *list = cJSON_AddArrayToObject(d, "kernels");
    for (uint32_t i = 0; i < r->n; i++) {
        const lap_tuned_kernel *k = &r->at[i];
        cJSON *entry = cJSON_CreateObject();
        add_site(s, entry, k->site);
        lap_document_text(entry, "bucket", k->bucket);
        cJSON_AddNumberToObject(entry, "uses", k->n_uses);
        lap_document_text(entry, "schedule", schedule_text(s, &k->schedule, &r->base));
        cJSON_AddNumberToObject(entry, "default_s", k->before);
        cJSON_AddNumberToObject(entry, "tuned_s", k->after);
        cJSON_AddNumberToObject(entry, "timed", k->n_timed);
        cJSON_AddNumberToObject(entry, "rejected", k->n_rejected);
        lap_document_text(entry, "trouble", *k->trouble != '\0' ? k->trouble : NULL);
        cJSON_AddItemToArray(list, entry);
    }
    lap_document_print(d);
}

static void print_report(const lap_tune_report *r)
{
    double before = 0.0, after = 0.0;
    uint32_t n_better = 0, n_timed = 0, n_rejected = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        const lap_tuned_kernel *k = &r->at[i];
        before += k->before * k->n_uses;
        after += k->after * k->n_uses;
        n_better += k->after < k->before;
        n_timed += k->n_timed;
        n_rejected += k->n_rejected;
    }
    if (r->n == 0) {
        printf("the model has no kernels with schedules\n");
        return;
    }
    printf("%s\n", r->checked);
    printf("%u of %u kernels better, %.4g ms by default schedules, now %.4g ms (%.2fx)\n", n_better, r->n,
           1e3 * before, 1e3 * after, after > 0.0 ? before / after : 1.0);
    if (r->after > 0.0) {
        printf("the whole model: %.4g ms by default, now %.4g ms (%.2fx)%s%s\n", 1e3 * r->before,
               1e3 * r->after, r->before / r->after, *r->taken_back != '\0' ? "; taken back: " : "",
               r->taken_back);
    }
    printf("schedules timed: %u, rejected: %u, in %.1f s%s\n", n_timed, n_rejected, r->seconds,
           r->is_complete ? "" : "; time was short");
    printf("records: %s\n", *r->path != '\0' ? r->path : "none kept (LAPPET_CACHE is empty)");
}

static lap_code tune(lap_setup *s)
{
    lap_tensors inputs = {0}, weights = {0};
    lap_progress progress;
    lap_interrupts old;
    lap_tune_options o = {.compile = &s->compile, .load = &s->load, .progress = &progress};
    lap_fault fault = {0};
    lap_tune_report report;
    if (!lap_args_number(s->args, LAP_OPT_BUDGET, 0.1, 1e6, 0.0, &o.budget) || !lap_setup_load(s) ||
        !lap_setup_fill(s, &inputs, &weights)) {
        return lap_session_code(s->session) != LAP_OK ? lap_session_code(s->session) : LAP_BAD_INPUT;
    }
    lap_fill_options fill = {
        .weights = &s->weights, .make_weights = !s->has_weights, .seed = (uint64_t)s->seed};
    o.fill = &fill;
    lap_progress_begin(&progress, stderr);
    o.interrupted = lap_interrupts_catch(&old);
    bool done = lap_tune(s->session, &o, &inputs, &weights, &report, &fault);
    lap_interrupts_restore(&old);
    lap_progress_end(&progress);
    if (!done) {
        lap_session_fault(s->session, &fault);
        return lap_setup_failure(s);
    }
    if (lap_args_has(s->args, LAP_OPT_JSON)) {
        document_report(s, &report);
    } else {
        print_report(&report);
    }
    return LAP_OK;
}

/* ---- explaining ---------------------------------------------------------------------------- */

static void document_site(const lap_setup *s, cJSON *list, const lap_site *site, const lap_record *r,
                          double predicted)
{
    lap_schedule base = lap_schedule_default(lap_session_target(s->session));
    cJSON *entry = cJSON_CreateObject();
    char bucket[LAP_RECORD_WORD];
    add_site(s, entry, site);
    lap_document_text(entry, "bucket",
                      lap_bucket_of(site, lap_sizes_value, lap_session_sizes(s->session), bucket));
    lap_document_text(entry, "schedule", schedule_text(s, &site->schedule, &base));
    lap_document_text(entry, "from", r != NULL ? "record" : "default");
    cJSON_AddNumberToObject(entry, "predicted_s", predicted);
    if (r != NULL) {
        cJSON_AddNumberToObject(entry, "measured_s", r->seconds);
    } else {
        cJSON_AddNullToObject(entry, "measured_s");
    }
    cJSON_AddItemToArray(list, entry);
}

static void print_site(const lap_setup *s, const lap_site *site, const lap_record *r, double predicted)
{
    lap_schedule base = lap_schedule_default(lap_session_target(s->session));
    char measured[32] = "-";
    if (r != NULL) {
        snprintf(measured, sizeof measured, "%.4g", 1e3 * r->seconds);
    }
    printf("%-9s %-36s %-8s %10.4g %10s  %s\n", site->what,
           lap_loc_show(lap_session_ctx(s->session), site->loc), r != NULL ? "record" : "default",
           1e3 * predicted, measured, schedule_text(s, &site->schedule, &base));
}

static lap_code explain(lap_setup *s)
{
    lap_tensors inputs = {0}, weights = {0};
    if (!lap_setup_load(s) || !lap_setup_fill(s, &inputs, &weights)) {
        return lap_session_code(s->session);
    }
    if (!lap_session_lower(s->session, &s->compile)) {
        return lap_setup_failure(s);
    }
    lap_setup_tuning_warn(s);
    uint32_t n;
    const lap_site *sites = lap_sites_of(lap_session_lowering(s->session), &n);
    bool as_json = lap_args_has(s->args, LAP_OPT_JSON);
    cJSON *list = as_json ? cJSON_CreateArray() : NULL;
    if (!as_json) {
        printf("%-9s %-36s %-8s %10s %10s  %s\n", "kernel", "place", "from", "predicted", "measured",
               "schedule");
    }
    for (uint32_t i = 0; i < n; i++) {
        const lap_record *r = lap_session_record(s->session, &sites[i]);
        double predicted = lap_tune_predict(s->session, &sites[i], s->compile.n_threads);
        if (as_json) {
            document_site(s, list, &sites[i], r, predicted);
        } else {
            print_site(s, &sites[i], r, predicted);
        }
    }
    if (as_json) {
        cJSON *d = cJSON_CreateObject();
        lap_document_text(d, "model", s->load.model);
        lap_document_text(d, "target", lap_session_tuned_for(s->session));
        cJSON_AddItemToObject(d, "kernels", list);
        lap_document_print(d);
    } else {
        printf("times in ms; records are for: %s\n", lap_session_tuned_for(s->session));
    }
    return LAP_OK;
}

lap_code lap_cmd_tune(const lap_args *args)
{
    lap_setup s;
    lap_code code = LAP_BAD_INPUT;
    if (lap_setup_init(&s, args)) {
        if (s.compile.engine != LAP_ENGINE_CPU && s.compile.engine != LAP_ENGINE_VULKAN) {
            lap_cli_error("'tune' is for the targets cpu and vulkan");
        } else {
            code = lap_args_has(args, LAP_OPT_EXPLAIN) ? explain(&s) : tune(&s);
        }
    }
    lap_setup_free(&s);
    return code;
}
