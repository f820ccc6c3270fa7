/* SPDX-License-Identifier: Apache-2.0
 * child.h - work that may crash, hang or write astray, done in a process of its own.
 *
 * Parent and child talk in messages of a size that both know. A child has limits, dies with its parent, and
 * shares no memory with it but what lap_guarded gives. */
#ifndef LAP_FRONTENDS_TUNE_CHILD_H
#define LAP_FRONTENDS_TUNE_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { LAP_REASON = 200 };

typedef struct lap_child {
    pid_t pid; /* 0: none */
    int to, from;
    char reason[LAP_REASON]; /* why it is of no use any more; "" while it is */
} lap_child;

/* What the child does: reads commands from `in`, writes answers to `out`. It ends when this returns. */
typedef void lap_child_body(void *user, int in, int out);

/* False, with the reason, when no process could be made. */
bool lap_child_start(lap_child *c, lap_child_body *body, void *user);
/* Kills it where it still lives. */
void lap_child_stop(lap_child *c);
/* False when the child is gone. */
bool lap_child_send(lap_child *c, const void *message, size_t n);
/* An answer within so many seconds. False, the child ended and `reason` set, when it hung, crashed or left;
 * or when *interrupted (may be NULL) became true. */
bool lap_child_receive(lap_child *c, void *message, size_t n, double seconds,
                       const volatile sig_atomic_t *interrupted);

/* For bodies: whole messages; false when the parent is gone. */
bool lap_read_whole(int from, void *bytes, size_t n);
bool lap_write_whole(int to, const void *bytes, size_t n);

/* Memory that a child shares with its parent, with pages that nobody may touch before and behind it. `data`
 * ends close to the one behind; what is left between is filled with a pattern. */
typedef struct lap_guarded {
    unsigned char *data, *start; /* of the tensor; of the pages in use */
    size_t n, n_pages_bytes;
} lap_guarded;
bool lap_guarded_new(size_t n, lap_guarded *out);
void lap_guarded_free(lap_guarded *g);
/* Fills all of it with the pattern, so that what is not written shows. */
void lap_guarded_poison(lap_guarded *g);
/* Whether the pattern around the data is whole. */
bool lap_guarded_is_whole(const lap_guarded *g);
/* From now on only to be read, here and in children made later. */
void lap_guarded_seal(lap_guarded *g);

#endif
