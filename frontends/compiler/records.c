/* SPDX-License-Identifier: Apache-2.0
 * records.c - reads and writes tuning records. */
#include "frontends/compiler/records.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/cache.h"
#include "runtime/file.h"

#define MAGIC  "lappet-tuning 1"
#define TARGET "target "
enum { MOST_LINE = 4096, MOST_RECORDS = 1 << 16, MOST_BYTES = 16 << 20 };

static const char *const outcomes[] = {"best", "lost", "rejected"};

const char *lap_record_outcome_text(lap_record_outcome outcome) { return outcomes[outcome]; }

/* FNV-1a over the target, a line feed and the rest of the line. */
static uint64_t mix(uint64_t h, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char)bytes[i]) * UINT64_C(1099511628211);
    }
    return h;
}

static uint64_t sum_of(const char *target, const char *rest)
{
    uint64_t h = mix(UINT64_C(14695981039346656037), target, strlen(target));
    return mix(mix(h, "\n", 1), rest, strlen(rest));
}

/* ---- reading ------------------------------------------------------------------------------- */

static bool take_hex(const char **at, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < 16; i++, (*at)++) {
        char c = **at;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) {
            return false;
        }
        *out = *out << 4 | (uint64_t)digit;
    }
    bool ends = **at == ' ';
    *at += ends;
    return ends;
}

/* A word of printable characters and the space after it. */
static bool take_word(const char **at, char *out, size_t n)
{
    size_t length = strcspn(*at, " ");
    if (length == 0 || length >= n || (*at)[length] != ' ') {
        return false;
    }
    memcpy(out, *at, length);
    out[length] = '\0';
    *at += length + 1;
    return true;
}

static bool take_seconds(const char **at, double *out)
{
    char word[LAP_RECORD_WORD], *end;
    if (!take_word(at, word, sizeof word) || !isdigit((unsigned char)word[0])) {
        return false;
    }
    *out = strtod(word, &end);
    return *end == '\0' && isfinite(*out) && *out >= 0.0;
}

static bool take_outcome(const char **at, lap_record_outcome *out)
{
    char word[LAP_RECORD_WORD];
    if (!take_word(at, word, sizeof word)) {
        return false;
    }
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        if (strcmp(word, outcomes[i]) == 0) {
            *out = (lap_record_outcome)i;
            return true;
        }
    }
    return false;
}

static bool is_printable(const char *text)
{
    while (*text >= ' ' && *text <= '~') {
        text++;
    }
    return *text == '\0';
}

/* Reason and all else after the sum, which is right by now. */
static bool parse_rest(const char *at, const lap_schedule *base, lap_record *r)
{
    char schedule[LAP_SCHEDULE_TEXT];
    lap_fault fault = {0};
    *r = (lap_record){.schedule = *base};
    if (!take_hex(&at, &r->key) || !take_word(&at, r->bucket, sizeof r->bucket) ||
        !take_word(&at, r->what, sizeof r->what) || !take_outcome(&at, &r->outcome) ||
        !take_seconds(&at, &r->seconds) || !take_seconds(&at, &r->predicted) ||
        !take_word(&at, schedule, sizeof schedule) || strlen(at) >= sizeof r->reason) {
        return false;
    }
    memcpy(r->reason, at, strlen(at) + 1);
    return strcmp(schedule, "default") == 0 || lap_schedule_parse(schedule, &r->schedule, &fault);
}

bool lap_records_add(lap_records *r, const lap_record *record)
{
    if (r->n == r->capacity) {
        uint32_t capacity = r->capacity == 0 ? 64 : 2 * r->capacity;
        lap_record *at = realloc(r->at, capacity * sizeof *at);
        if (at == NULL) {
            return false;
        }
        r->at = at;
        r->capacity = capacity;
    }
    r->at[r->n++] = *record;
    return true;
}

static bool parse_line(lap_records *r, const char *line, const char *target, const lap_schedule *base)
{
    uint64_t sum;
    lap_record record;
    const char *rest = line;
    if (!is_printable(line) || !take_hex(&rest, &sum) || sum != sum_of(target, rest) ||
        !parse_rest(rest, base, &record) || r->n >= MOST_RECORDS) {
        r->n_damaged++;
        return true;
    }
    return lap_records_add(r, &record);
}

bool lap_records_parse(lap_records *r, const void *bytes, size_t n, const char *target,
                       const lap_schedule *base)
{
    const char *at = bytes, *end = at + n;
    char line[MOST_LINE];
    bool is_ours = false, good = true;
    while (at < end && good) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop != NULL ? stop : end) - at);
        bool is_whole = stop != NULL && length < sizeof line && memchr(at, '\0', length) == NULL;
        if (is_whole) {
            memcpy(line, at, length);
            line[length] = '\0';
        }
        at += length + 1;
        if (!is_whole) { /* the last line lacks its end, or is no text */
            r->n_damaged++;
        } else if (strncmp(line, TARGET, strlen(TARGET)) == 0) {
            is_ours = strcmp(line + strlen(TARGET), target) == 0;
        } else if (strcmp(line, MAGIC) != 0 && is_ours) {
            good = parse_line(r, line, target, base);
        } else if (strcmp(line, MAGIC) != 0) {
            r->n_foreign++;
        }
    }
    return good;
}

bool lap_records_read(lap_records *r, const char *path, const char *target, const lap_schedule *base,
                      lap_fault *fault)
{
    lap_mapping file;
    struct stat st;
    if (stat(path, &st) != 0 && errno == ENOENT) {
        return true;
    }
    if (st.st_size > MOST_BYTES) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "'%.200s' is too large for tuning records", path);
    }
    if (!lap_file_read(path, &file, fault)) {
        return false;
    }
    size_t n = strlen(MAGIC);
    bool good = file.n == 0 || (file.n > n && memcmp(file.bytes, MAGIC "\n", n + 1) == 0);
    good = good ? lap_records_parse(r, file.bytes, file.n, target, base) ||
                      lap_fault_set(fault, LAP_BAD_INPUT, "out of memory")
                : lap_fault_set(fault, LAP_BAD_INPUT, "'%.200s' does not hold tuning records", path);
    lap_file_unmap(&file);
    return good;
}

void lap_records_free(lap_records *r)
{
    free(r->at);
    *r = (lap_records){0};
}

const lap_record *lap_records_best(const lap_records *r, uint64_t key, const char *bucket)
{
    const lap_record *best = NULL; /* the last one: later searches know better */
    for (uint32_t i = 0; i < r->n; i++) {
        const lap_record *c = &r->at[i];
        if (c->key == key && c->outcome == LAP_RECORD_BEST && strcmp(c->bucket, bucket) == 0) {
            best = c;
        }
    }
    return best;
}

/* ---- writing ------------------------------------------------------------------------------- */

static bool put_record(lap_file_writer *w, const char *target, const lap_schedule *base, const lap_record *r,
                       lap_fault *fault)
{
    char schedule[LAP_SCHEDULE_TEXT], reason[LAP_RECORD_REASON], rest[MOST_LINE], line[MOST_LINE + 32];
    snprintf(reason, sizeof reason, "%s", r->reason);
    for (char *c = reason; *c != '\0'; c++) {
        *c = *c >= ' ' && *c <= '~' ? *c : ' ';
    }
    lap_schedule_show(&r->schedule, base, schedule);
    snprintf(rest, sizeof rest, "%016llx %s %s %s %.9g %.9g %s %s", (unsigned long long)r->key, r->bucket,
             r->what, outcomes[r->outcome], r->seconds, r->predicted,
             schedule[0] != '\0' ? schedule : "default", reason);
    int n = snprintf(line, sizeof line, "%016llx %s\n", (unsigned long long)sum_of(target, rest), rest);
    return lap_file_put(w, line, (size_t)n, fault);
}

static bool replaces(uint32_t n, const lap_record *records, const lap_record *old)
{
    for (uint32_t i = 0; i < n; i++) {
        if (records[i].key == old->key && strcmp(records[i].bucket, old->bucket) == 0) {
            return true;
        }
    }
    return false;
}

static bool write_file(const char *path, const char *target, const lap_schedule *base, const lap_records *old,
                       uint32_t n, const lap_record *records, lap_fault *fault)
{
    lap_file_writer w;
    char head[LAP_TARGET_TEXT + 64];
    int length = snprintf(head, sizeof head, MAGIC "\n" TARGET "%s\n", target);
    if (!lap_file_begin(&w, path, fault)) {
        return false;
    }
    bool good = lap_file_put(&w, head, (size_t)length, fault);
    for (uint32_t i = 0; i < old->n && good; i++) {
        good = replaces(n, records, &old->at[i]) || put_record(&w, target, base, &old->at[i], fault);
    }
    for (uint32_t i = 0; i < n && good; i++) {
        good = put_record(&w, target, base, &records[i], fault);
    }
    good = good && lap_file_commit(&w, fault);
    if (!good) {
        lap_file_abandon(&w);
    }
    return good;
}

/* Opening a pipe would wait for its other end. */
static bool is_file_or_none(const char *path, lap_fault *fault)
{
    struct stat st;
    return stat(path, &st) != 0 || S_ISREG(st.st_mode) ||
           lap_fault_set(fault, LAP_BAD_INPUT, "cannot write '%.200s': not a regular file", path);
}

/* Who writes holds the lock of a file beside it, which stays: removing it would let two hold it. */
static int lock(const char *path, lap_fault *fault)
{
    char name[4096];
    if (snprintf(name, sizeof name, "%s.lock", path) >= (int)sizeof name) {
        lap_fault_set(fault, LAP_BAD_INPUT, "the path of the tuning records is too long");
        return -1;
    }
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    while (fd >= 0 && flock(fd, LOCK_EX) != 0) {
        if (errno != EINTR) {
            close(fd);
            fd = -1;
        }
    }
    if (fd < 0) {
        lap_fault_set(fault, LAP_BAD_INPUT, "cannot lock '%.200s': %s", name, strerror(errno));
    }
    return fd;
}

bool lap_records_merge(const char *path, const char *target, const lap_schedule *base, uint32_t n,
                       const lap_record *records, lap_fault *fault)
{
    lap_records old = {0};
    lap_fault ignored = {0};
    lap_cache_make_folders(path);
    int fd = lock(path, fault);
    if (fd < 0) {
        return false;
    }
    (void)lap_records_read(&old, path, target, base, &ignored); /* what is no record is lost with this */
    bool good = is_file_or_none(path, fault) && write_file(path, target, base, &old, n, records, fault);
    lap_records_free(&old);
    close(fd);
    return good;
}

/* ---- buckets ------------------------------------------------------------------------------- */

const char *lap_bucket_of(const lap_site *site, lap_dim_value *value, void *user, char out[LAP_RECORD_WORD])
{
    size_t n = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < site->symbols.n; i++) {
        int64_t size, log = 0;
        if (!value(user, site->symbols.at[i], &size) || n + 8 > LAP_RECORD_WORD) {
            return memcpy(out, "?", 2);
        }
        for (; size > 1; size /= 2) {
            log++;
        }
        n += (size_t)snprintf(out + n, LAP_RECORD_WORD - n, "%s%d", n > 0 ? "." : "", (int)log);
    }
    return n > 0 ? out : memcpy(out, "-", 2);
}
