/* SPDX-License-Identifier: Apache-2.0
 * records.h - what tuning found out, as lines of text.
 *
 *   lappet-tuning 1
 *   target TEXT             the machine, the device and the compiler: what follows was found there
 *   SUM KEY BUCKET WHAT OUTCOME SECONDS PREDICTED SCHEDULE REASON
 *
 * SUM is of the target's text and of the rest of the line. A line that is damaged, or of another target, is
 * left out and counted; nothing of a file is believed beyond its bounds. Several files' lines in one file are
 * a file too. */
#ifndef LAP_FRONTENDS_COMPILER_RECORDS_H
#define LAP_FRONTENDS_COMPILER_RECORDS_H

#include "passes/site.h"

enum { LAP_RECORD_WORD = 64, LAP_RECORD_REASON = 200, LAP_TARGET_TEXT = 512 };

typedef enum lap_record_outcome { LAP_RECORD_BEST, LAP_RECORD_LOST, LAP_RECORD_REJECTED } lap_record_outcome;
const char *lap_record_outcome_text(lap_record_outcome outcome);

typedef struct lap_record {
    uint64_t key;
    char bucket[LAP_RECORD_WORD], what[LAP_RECORD_WORD];
    lap_record_outcome outcome;
    double seconds, predicted; /* 0: not known */
    lap_schedule schedule;
    char reason[LAP_RECORD_REASON]; /* "" for the best */
} lap_record;

typedef struct lap_records {
    uint32_t n, capacity;
    lap_record *at;
    uint32_t n_damaged, n_foreign; /* lines left out */
} lap_records;

/* Adds the lines of `bytes` that were found on the target; schedules differ from `base`. False: out of
 * memory. */
bool lap_records_parse(lap_records *r, const void *bytes, size_t n, const char *target,
                       const lap_schedule *base);
/* The same of a file. False where it cannot be read or is no such file; one that does not exist is empty. */
bool lap_records_read(lap_records *r, const char *path, const char *target, const lap_schedule *base,
                      lap_fault *fault);
void lap_records_free(lap_records *r);
bool lap_records_add(lap_records *r, const lap_record *record);
/* The best schedule of a kernel, or NULL. */
const lap_record *lap_records_best(const lap_records *r, uint64_t key, const char *bucket);

/* Puts the records in place of those that the file has of the same kernels and buckets, all others kept:
 * under a lock, and whole or not at all. */
bool lap_records_merge(const char *path, const char *target, const lap_schedule *base, uint32_t n,
                       const lap_record *records, lap_fault *fault);

/* Sizes of a site's symbols, rounded down to powers of two: "0.10.10"; "?" where one is not known. */
const char *lap_bucket_of(const lap_site *site, lap_dim_value *value, void *user, char out[LAP_RECORD_WORD]);

#endif
