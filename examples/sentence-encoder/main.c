/* SPDX-License-Identifier: Apache-2.0
 * main.c - finds the sentences of a file that are nearest to a query.
 *
 *     sentence-encoder FOLDER SENTENCES QUERY [THREADS]
 *
 * FOLDER holds model.safetensors and vocab.txt. The model is the library that `lappet build` made of
 * minilm.lua; this program knows nothing of it but its header. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "minilm.h"
#include "wordpiece.h"

enum { WIDTH = 384, N_SHOWN = 5 };

typedef struct sentence {
    char *text;
    float at[WIDTH];
    float likeness;
} sentence;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int fail(const char *what, const char *which)
{
    fprintf(stderr, "sentence-encoder: error: %s%s\n", what, which);
    return 2;
}

static bool embed(minilm *model, const wordpiece *words, const char *text, float at[WIDTH])
{
    int64_t ids[WORDPIECE_MAX], mask[WORDPIECE_MAX];
    int64_t n = (int64_t)wordpiece_encode(words, text, ids);
    for (int64_t i = 0; i < n; i++) {
        mask[i] = 1;
    }
    minilm_inputs in = {
        .input_ids = ids,
        .input_ids_dims = {1, n},
        .attention_mask = mask,
        .attention_mask_dims = {1, n},
    };
    minilm_outputs out = {.embedding = at};
    return minilm_run(model, &in, &out) == 0;
}

/* Non-empty lines of a file; NULL when it cannot be read. */
static sentence *read_lines(const char *path, size_t *out_n)
{
    FILE *from = fopen(path, "r");
    if (from == NULL) {
        return NULL;
    }
    size_t n = 0, room = 64, size = 0;
    sentence *all = malloc(room * sizeof *all);
    char *line = NULL;
    while (all != NULL && getline(&line, &size, from) > 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] == '\0') {
            continue;
        }
        if (n == room) {
            room *= 2;
            sentence *more = realloc(all, room * sizeof *all);
            if (more == NULL) {
                break;
            }
            all = more;
        }
        all[n++] = (sentence){.text = line};
        line = NULL;
        size = 0;
    }
    free(line);
    fclose(from);
    *out_n = n;
    return all;
}

/* Nearest first; of equals, the one that sorts first. */
static int by_likeness(const void *a, const void *b)
{
    const sentence *x = a, *y = b;
    if (x->likeness != y->likeness) {
        return x->likeness < y->likeness ? 1 : -1;
    }
    return strcmp(x->text, y->text);
}

static int search(minilm *model, const wordpiece *words, sentence *all, size_t n, const char *query)
{
    float at[WIDTH];
    double start = now();
    for (size_t i = 0; i < n; i++) {
        if (!embed(model, words, all[i].text, all[i].at)) {
            return fail("", minilm_error(model));
        }
    }
    double read = now();
    if (!embed(model, words, query, at)) {
        return fail("", minilm_error(model));
    }
    double asked = now();
    for (size_t i = 0; i < n; i++) {
        all[i].likeness = 0;
        for (int d = 0; d < WIDTH; d++) {
            all[i].likeness += at[d] * all[i].at[d];
        }
    }
    qsort(all, n, sizeof *all, by_likeness);
    printf("\"%s\" is nearest to\n", query);
    for (size_t i = 0; i < n && i < N_SHOWN; i++) {
        printf("  %6.3f  %s\n", (double)all[i].likeness, all[i].text);
    }
    printf("%zu sentences in %.1f ms (%.2f ms each), the query in %.2f ms\n", n, 1e3 * (read - start),
           1e3 * (read - start) / (double)n, 1e3 * (asked - read));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 5) {
        return fail("usage: sentence-encoder FOLDER SENTENCES QUERY [THREADS]", "");
    }
    char weights[4096], vocabulary[4096];
    snprintf(weights, sizeof weights, "%s/model.safetensors", argv[1]);
    snprintf(vocabulary, sizeof vocabulary, "%s/vocab.txt", argv[1]);

    int status;
    size_t n = 0;
    double start = now();
    minilm *model = minilm_open(weights);
    wordpiece *words = wordpiece_open(vocabulary);
    double opened = now();
    sentence *all = read_lines(argv[2], &n);
    if (model == NULL) {
        status = fail("", minilm_error(NULL));
    } else if (words == NULL) {
        status = fail("no vocabulary in ", vocabulary);
    } else if (all == NULL || n == 0) {
        status = fail("no sentences in ", argv[2]);
    } else {
        printf("opened in %.1f ms\n", 1e3 * (opened - start));
        minilm_threads(model, argc == 5 ? (uint32_t)strtoul(argv[4], NULL, 10) : 0);
        status = search(model, words, all, n, argv[3]);
    }
    for (size_t i = 0; i < n && all != NULL; i++) {
        free(all[i].text);
    }
    free(all);
    wordpiece_close(words);
    minilm_close(model);
    return status;
}
