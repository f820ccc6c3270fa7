/* SPDX-License-Identifier: Apache-2.0
 * search.c - the order of things: what there is to tune, what it costs, one kernel after the other.
 *
 * This process lowers and looks on. Whatever compiles, runs or touches a device is a child of it, so it has
 * no threads and no device when it makes the next one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/spirv/spirv.h"
#include "frontends/tune/model.h"
#include "frontends/tune/race.h"
#include "frontends/tune/space.h"
#include "frontends/tune/tuner.h"
#include "passes/passes.h"
#include "runtime/threads.h"

/* For one kernel, where the user sets no bound. */
static const double KERNEL_SECONDS = 4.4, DEVICE_SECONDS = 11.0, DEVICE_PATIENCE = 60.0, LEAST_RACE = 0.3;

/* ---- the target ---------------------------------------------------------------------------- */

typedef struct device_answer {
    uint32_t code; /* lap_code */
    lap_vk_info info;
    char text[512];
} device_answer;

static void ask_device(void *user, int in, int out)
{
    (void)in;
    const lap_compile_options *o = user;
    lap_fault fault = {0};
    lap_vk *vk = lap_vk_open(o->device, &fault);
    device_answer a = {.code = vk != NULL ? LAP_OK : (uint32_t)fault.code};
    if (vk != NULL) {
        a.info = *lap_vk_info_of(vk);
    }
    snprintf(a.text, sizeof a.text, "%.*s", (int)sizeof a.text - 1, fault.text);
    (void)lap_write_whole(out, &a, sizeof a);
}

static bool find_device(lap_tuner *t, char target[LAP_TARGET_TEXT], lap_fault *fault)
{
    lap_child child;
    device_answer a;
    lap_compile_options options = *t->o->compile;
    bool heard = lap_child_start(&child, ask_device, &options) &&
                 lap_child_receive(&child, &a, sizeof a, DEVICE_PATIENCE, t->o->interrupted);
    lap_child_stop(&child);
    if (!heard || a.code != LAP_OK) {
        return lap_fault_set(fault, heard ? (lap_code)a.code : LAP_NO_DEVICE, "%s",
                             heard ? a.text : child.reason);
    }
    t->target = lap_vk_target(a.info.subgroup_size);
    lap_target_of_device(&a.info, target);
    return true;
}

static bool find_target(lap_tuner *t, char target[LAP_TARGET_TEXT], lap_fault *fault)
{
    const lap_compile_options *o = t->o->compile;
    t->n_threads = o->n_threads != 0 ? o->n_threads : lap_processors();
    if (o->engine == LAP_ENGINE_VULKAN) {
        return find_device(t, target, fault);
    }
    t->machine = lap_machine_new(o->triple, o->cpu, fault);
    if (t->machine == NULL) {
        return false;
    }
    t->target = lap_machine_target(t->machine);
    lap_target_of_machine(t->machine, o->n_threads, target);
    return true;
}

/* ---- what there is to tune ----------------------------------------------------------------- */

static bool lower(lap_tuner *t, lap_fault *fault)
{
    t->base = lap_schedule_default(t->target);
    lap_pass_options passes = {.schedule = &t->base, .kept = &t->lowering};
    if (!lap_lower(lap_session_graph(t->session), t->target, &passes, &t->program)) {
        const char *text = lap_error_count(t->ctx) > 0 ? lap_error_text(t->ctx, 0) : "it cannot be lowered";
        return lap_fault_set(fault, LAP_BAD_INPUT, "%s", text);
    }
    int64_t most = 1;
    const lap_sizes *sizes = lap_session_sizes(t->session);
    for (uint32_t i = 0; i < sizes->n; i++) {
        most = sizes->at[i].value > most ? sizes->at[i].value : most;
    }
    t->captured = lap_arena_array(t->ctx->arena, t->program->n_buffers + 1u, sizeof *t->captured);
    t->zeros = calloc((size_t)most, 1);
    return t->zeros != NULL || lap_fault_set(fault, LAP_BAD_INPUT, "out of memory");
}

static void collect(lap_tuner *t, lap_tune_report *r)
{
    uint32_t n;
    lap_sizes *sizes = lap_session_sizes(t->session);
    const lap_site *sites = lap_sites_of(t->lowering, &n);
    r->at = lap_arena_array(t->ctx->arena, n + 1u, sizeof *r->at);
    for (uint32_t i = 0; i < n; i++) {
        lap_tuned_kernel k = {.site = &sites[i], .n_uses = 1, .schedule = t->base, .trouble = ""};
        lap_bucket_of(&sites[i], lap_sizes_value, sizes, k.bucket);
        uint32_t same = 0;
        while (same < r->n &&
               (r->at[same].site->key != sites[i].key || strcmp(r->at[same].bucket, k.bucket) != 0)) {
            same++;
        }
        if (same < r->n) {
            r->at[same].n_uses++;
        } else if (!sites[i].is_static) {
            r->at[r->n++] = k;
        }
    }
}

/* Predicted prices; the race of each kernel measures the default anyway. */
static int by_price(const void *a, const void *b)
{
    const lap_tuned_kernel *x = a, *y = b;
    double px = x->before * x->n_uses, py = y->before * y->n_uses;
    return px != py ? (px < py ? 1 : -1)
                    : (x->site->node.ix > y->site->node.ix) - (x->site->node.ix < y->site->node.ix);
}

static double predict(lap_tuner *t, const lap_site *site, const lap_schedule *schedule)
{
    lap_sizes *sizes = lap_session_sizes(t->session);
    const lap_alone *a = lap_site_alone(t->lowering, site, schedule, lap_sizes_value, sizes);
    double seconds =
        a != NULL ? lap_model_seconds(&a->program, t->target, t->n_threads, lap_sizes_value, sizes) : 0.0;
    return isfinite(seconds) ? seconds : 0.0;
}

static void order(lap_tuner *t, lap_tune_report *r)
{
    for (uint32_t i = 0; i < r->n; i++) {
        r->at[i].before = predict(t, r->at[i].site, &t->base);
    }
    qsort(r->at, r->n, sizeof *r->at, by_price);
    for (uint32_t i = 0; i < r->n; i++) {
        r->at[i].before = 0.0;
    }
}

/* All buffers that some kernel to be tuned reads. */
static bool capture(lap_tuner *t, lap_tune_report *r, lap_fault *fault)
{
    uint32_t n = 0;
    bool *is_wanted = lap_arena_array(t->ctx->arena, t->program->n_buffers + 1u, sizeof *is_wanted);
    uint32_t *wanted = lap_arena_array(t->ctx->arena, t->program->n_buffers + 1u, sizeof *wanted);
    for (uint32_t i = 0; i < r->n; i++) {
        const lap_alone *a = lap_site_alone(t->lowering, r->at[i].site, &t->base, lap_sizes_value,
                                            lap_session_sizes(t->session));
        for (uint32_t k = a != NULL ? a->n_symbols : 0; a != NULL && k < a->program.n_inputs; k++) {
            is_wanted[a->buffers[LAP_LEAF_INPUT][k]] = true;
        }
        for (uint32_t k = 0; a != NULL && k < a->program.n_weights; k++) {
            is_wanted[a->buffers[LAP_LEAF_WEIGHT][k]] = true;
        }
    }
    for (uint32_t i = 0; i < t->program->n_buffers; i++) {
        if (is_wanted[i]) {
            wanted[n++] = i;
        }
    }
    lap_verdict v;
    if (!lap_capture(t, n, wanted, &v, fault)) {
        return false;
    }
    static const char *const texts[] = {[LAP_CHECK_AGREES] = "the default agrees with the evaluator",
                                        [LAP_CHECK_DIFFERS] = "the default differs from the evaluator",
                                        [LAP_CHECK_UNKNOWN] =
                                            "the default was not compared with the evaluator"};
    r->checked = lap_arena_printf(t->ctx->arena, "%s%s%s%s", texts[v.kind], v.sizes,
                                  v.text[0] != '\0' ? ": " : "", v.text);
    return v.kind != LAP_CHECK_DIFFERS ||
           lap_fault_set(fault, LAP_MISMATCH, "%s; nothing is tuned", r->checked);
}

/* ---- one kernel ---------------------------------------------------------------------------- */

typedef struct attempt {
    lap_tuner *t;
    lap_tuned_kernel *k;
    uint32_t n;
    lap_candidate candidates[LAP_MOST_CANDIDATES];
    lap_bench_site benches[LAP_MOST_CANDIDATES];
    lap_entry entries[LAP_MOST_CANDIDATES];
    uint32_t n_outputs;
    const uint32_t *buffers;
    lap_guarded *outputs;
    lap_tensor *shapes;
} attempt;

static bool make_outputs(attempt *a)
{
    lap_tuner *t = a->t;
    const lap_alone *alone =
        lap_site_alone(t->lowering, a->k->site, &t->base, lap_sizes_value, lap_session_sizes(t->session));
    if (alone == NULL) {
        return false;
    }
    a->buffers = alone->buffers[LAP_LEAF_OUTPUT];
    a->outputs = lap_arena_array(t->ctx->arena, alone->program.n_outputs + 1u, sizeof *a->outputs);
    a->shapes = lap_arena_array(t->ctx->arena, alone->program.n_outputs + 1u, sizeof *a->shapes);
    for (uint32_t i = 0; i < alone->program.n_outputs; i++) {
        size_t count, n_bytes;
        if (!lap_buffer_bytes(t, a->buffers[i], &count, &n_bytes) ||
            !lap_guarded_new(n_bytes, &a->outputs[i])) {
            return false;
        }
        a->n_outputs = i + 1;
        a->shapes[i] = (lap_tensor){.dtype = t->program->buffers[a->buffers[i]].elem,
                                    .rank = 1,
                                    .shape = {(int64_t)count},
                                    .n_bytes = n_bytes};
    }
    return true;
}

static bool make_entries(attempt *a)
{
    lap_tuner *t = a->t;
    lap_space_query q = {.lowering = t->lowering,
                         .site = a->k->site,
                         .target = t->target,
                         .n_threads = t->n_threads,
                         .value = lap_sizes_value,
                         .user = lap_session_sizes(t->session),
                         .interrupted = t->o->interrupted};
    uint32_t n = lap_tune_space(&q, a->candidates);
    for (uint32_t i = 0; i < n; i++) {
        if (a->candidates[i].is_bad) {
            a->k->n_rejected++;
            continue; /* kept in the list of candidates for the records */
        }
        a->benches[i] = (lap_bench_site){.tuner = t,
                                         .site = a->k->site,
                                         .schedule = a->candidates[i].schedule,
                                         .n_outputs = a->n_outputs,
                                         .output_buffers = a->buffers,
                                         .outputs = a->outputs};
        a->entries[i].runner = (lap_runner){lap_bench_prepare, lap_bench_run, &a->benches[i]};
        a->n = i + 1;
    }
    return a->n > 0;
}

static void show(void *user, double seconds, uint32_t n_done, uint32_t best)
{
    const attempt *a = user;
    lap_progress_step(a->t->o->progress, seconds, n_done, a->n, a->entries[best].seconds,
                      a->entries[0].seconds);
}

static lap_record record_of(const attempt *a, uint32_t i)
{
    static const lap_record_outcome outcomes[] = {[LAP_UNTRIED] = LAP_RECORD_LOST,
                                                  [LAP_REJECTED] = LAP_RECORD_REJECTED,
                                                  [LAP_LOST] = LAP_RECORD_LOST,
                                                  [LAP_WON] = LAP_RECORD_BEST};
    lap_record r = {.key = a->k->site->key,
                    .outcome =
                        a->candidates[i].is_bad ? LAP_RECORD_REJECTED : outcomes[a->entries[i].outcome],
                    .seconds = a->entries[i].seconds,
                    .predicted = a->candidates[i].predicted,
                    .schedule = a->candidates[i].schedule};
    snprintf(r.bucket, sizeof r.bucket, "%s", a->k->bucket);
    snprintf(r.what, sizeof r.what, "%s", a->k->site->what);
    const char *reason = a->candidates[i].is_bad ? a->candidates[i].reason : a->entries[i].reason;
    snprintf(r.reason, sizeof r.reason, "%s",
             a->entries[i].outcome == LAP_UNTRIED && i < a->n ? "not tried" : reason);
    return r;
}

static void keep_records(const attempt *a, uint32_t n_candidates)
{
    a->k->records = lap_arena_array(a->t->ctx->arena, n_candidates + 1u, sizeof *a->k->records);
    for (uint32_t i = 0; i < n_candidates; i++) {
        a->k->records[a->k->n_records++] = record_of(a, i);
    }
}

static bool save(const lap_tuner *t, const lap_tuned_kernel *k, const lap_tune_report *r, lap_fault *fault)
{
    return *r->path == '\0' ||
           lap_records_merge(r->path, r->target, &t->base, k->n_records, k->records, fault);
}

static void note_result(attempt *a, const lap_race *race)
{
    lap_tuned_kernel *k = a->k;
    k->before = a->entries[0].seconds;
    k->after = a->entries[race->winner].seconds;
    k->schedule = a->candidates[race->winner].schedule;
    for (uint32_t i = 0; i < a->n; i++) {
        k->n_timed += a->entries[i].seconds > 0.0;
        k->n_rejected += a->entries[i].outcome == LAP_REJECTED;
    }
}

static bool try_kernel(attempt *a, double deadline, const lap_tune_report *r, lap_fault *fault)
{
    lap_tuner *t = a->t;
    if (!make_outputs(a) || !make_entries(a)) {
        a->k->trouble = "its kernels cannot be taken out of the model";
        return true;
    }
    uint32_t n_candidates = a->n + a->k->n_rejected;
    lap_race race = {.n = a->n,
                     .entries = a->entries,
                     .n_outputs = a->n_outputs,
                     .outputs = a->outputs,
                     .shapes = a->shapes,
                     .budget = fmax(deadline - lap_seconds(), LEAST_RACE),
                     .by_cpu = t->machine != NULL && t->n_threads == 1,
                     .interrupted = t->o->interrupted,
                     .progress = show,
                     .progress_user = a};
    if (!lap_race_run(&race)) {
        a->k->trouble = lap_arena_printf(t->ctx->arena, "its default schedule: %s", a->entries[0].reason);
        return true;
    }
    note_result(a, &race);
    keep_records(a, n_candidates);
    return save(t, a->k, r, fault);
}

static void say_result(const lap_tuner *t, const lap_tuned_kernel *k, uint32_t number, uint32_t of)
{
    char schedule[LAP_SCHEDULE_TEXT];
    const char *place = lap_loc_show(t->ctx, k->site->loc);
    if (*k->trouble != '\0') {
        lap_progress_say(t->o->progress, "%u/%u %s %s: not tuned: %s", number, of, k->site->what, place,
                         k->trouble);
        return;
    }
    lap_schedule_show(&k->schedule, &t->base, schedule);
    lap_progress_say(t->o->progress, "%u/%u %s %s: %.4g ms, default %.4g ms (%.2fx): %s", number, of,
                     k->site->what, place, 1e3 * k->after, 1e3 * k->before, k->before / k->after,
                     schedule[0] != '\0' ? schedule : "default");
}

static bool is_interrupted(const lap_tuner *t) { return t->o->interrupted != NULL && *t->o->interrupted; }

static bool tune_kernel(lap_tuner *t, lap_tune_report *r, uint32_t i, double deadline, lap_fault *fault)
{
    attempt a = {.t = t, .k = &r->at[i]};
    double start = lap_seconds();
    const char *name =
        lap_arena_printf(t->ctx->arena, "%s %s", a.k->site->what, lap_loc_show(t->ctx, a.k->site->loc));
    lap_progress_kernel(t->o->progress, i + 1, r->n, name);
    bool good = try_kernel(&a, deadline, r, fault);
    for (uint32_t o = 0; o < a.n_outputs; o++) {
        lap_guarded_free(&a.outputs[o]);
    }
    t->o->progress->done += lap_seconds() - start;
    if (!is_interrupted(t)) {
        say_result(t, a.k, i + 1, r->n);
    }
    return good;
}

/* ---- all ----------------------------------------------------------------------------------- */

/* Each kernel has its share of the time left, a dear one more where the user's bound is tight. */
static bool tune_all(lap_tuner *t, lap_tune_report *r, double start, lap_fault *fault)
{
    double each = t->o->compile->engine == LAP_ENGINE_VULKAN ? DEVICE_SECONDS : KERNEL_SECONDS;
    double end = start + (t->o->budget > 0.0 ? t->o->budget : each * r->n);
    t->o->progress->budget = end - start;
    t->o->progress->done = lap_seconds() - start;
    r->is_complete = true;
    for (uint32_t i = 0; i < r->n && !is_interrupted(t); i++) {
        double now = lap_seconds(), share = fmax((end - now) / (r->n - i), fmin(end - now, each));
        if (now >= end && i > 0) {
            r->is_complete = false;
            r->at[i].trouble = "the time was used up before";
        } else if (!tune_kernel(t, r, i, now + share, fault)) {
            return false;
        }
    }
    return !is_interrupted(t) || lap_fault_set(fault, LAP_BAD_INPUT, "interrupted; what was found is kept");
}

/* What is better alone may be worse beside the others: then the default stays the best. */
static bool take_back(lap_tuner *t, lap_tune_report *r, lap_fault *fault)
{
    for (uint32_t i = 0; i < r->n; i++) {
        lap_tuned_kernel *k = &r->at[i];
        if (k->n_records == 0 || lap_schedule_same(&k->schedule, &t->base)) {
            continue;
        }
        for (uint32_t c = 0; c < k->n_records; c++) {
            lap_record *record = &k->records[c];
            if (record->outcome == LAP_RECORD_BEST) {
                record->outcome = LAP_RECORD_LOST;
                snprintf(record->reason, sizeof record->reason, "%s", r->taken_back);
            }
        }
        k->records[0].outcome = LAP_RECORD_BEST;
        k->records[0].reason[0] = '\0';
        k->schedule = t->base;
        k->after = k->before;
        if (!save(t, k, r, fault)) {
            return false;
        }
    }
    return true;
}

static bool check_whole(lap_tuner *t, lap_tune_report *r, lap_fault *fault)
{
    bool any = false;
    for (uint32_t i = 0; i < r->n; i++) {
        any = any || !lap_schedule_same(&r->at[i].schedule, &t->base);
    }
    return !any || lap_whole_gains(t, r) || is_interrupted(t) || take_back(t, r, fault);
}

static bool tune(lap_tuner *t, lap_tune_report *r, double start, lap_fault *fault)
{
    if (!find_target(t, r->target, fault) || !lower(t, fault)) {
        return false;
    }
    r->base = t->base;
    char *path = lap_records_path(r->target);
    r->path = path != NULL ? lap_arena_printf(t->ctx->arena, "%s", path) : "";
    free(path);
    collect(t, r);
    if (r->n == 0) {
        r->is_complete = true;
        return true;
    }
    order(t, r);
    return capture(t, r, fault) && tune_all(t, r, start, fault) && check_whole(t, r, fault);
}

bool lap_tune(lap_session *s, const lap_tune_options *o, const lap_tensors *inputs,
              const lap_tensors *weights, lap_tune_report *out, lap_fault *fault)
{
    lap_tuner t = {.session = s, .o = o, .ctx = lap_session_ctx(s), .inputs = inputs, .weights = weights};
    double start = lap_seconds();
    *out = (lap_tune_report){.path = "", .checked = "", .taken_back = ""};
    bool good = tune(&t, out, start, fault);
    out->seconds = lap_seconds() - start;
    for (uint32_t i = 0; t.captured != NULL && i < t.program->n_buffers; i++) {
        lap_guarded_free(&t.captured[i]);
    }
    free(t.zeros);
    lap_machine_free(t.machine);
    return good;
}

double lap_tune_predict(lap_session *s, const lap_site *site, uint32_t n_threads)
{
    lap_tuner t = {.session = s,
                   .ctx = lap_session_ctx(s),
                   .target = lap_session_target(s),
                   .n_threads = n_threads != 0 ? n_threads : lap_processors(),
                   .lowering = lap_session_lowering(s)};
    return predict(&t, site, &site->schedule);
}
