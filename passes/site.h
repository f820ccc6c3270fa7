/* SPDX-License-Identifier: Apache-2.0
 * site.h - the places of a program that have schedules of their own: the kernels that one root becomes.
 *
 * A root is placed in memory once; its kernels may then be made again and again with other numbers. The knobs
 * that its lowering asks for are its search space, and its key is what the default numbers make of it, so
 * that neither names nor lines of a script matter, and equal kernels have equal keys. */
#ifndef LAP_PASSES_SITE_H
#define LAP_PASSES_SITE_H

#include "ir/kernel.h"
#include "passes/schedule.h"

typedef struct lap_lowering lap_lowering;

typedef struct lap_site {
    lap_ref node; /* the root, in the lowering's graph */
    lap_loc loc;
    bool is_static;        /* runs when weights are bound, once */
    uint64_t knobs;        /* bits 1 << lap_knob: what its lowering asked for */
    const char *what;      /* "attend": of its last kernel */
    const char *roles;     /* of that kernel's axes, or "" */
    uint64_t key;          /* of the kernels that the base schedule makes */
    lap_names symbols;     /* of their extents, in the order of the key */
    lap_schedule schedule; /* the one in use */
} lap_site;

/* The schedule for a site whose key is known; false: the base one. */
typedef bool lap_choose_schedule(void *user, const lap_site *site, lap_schedule *out);

/* All sites of a lowered program that read knobs with values to try, in order. */
const lap_site *lap_sites_of(const lap_lowering *l, uint32_t *out_n);

/* A program of one site's kernels alone. What they read is inputs and weights, what they write outputs, all
 * as flat tensors; inputs of one byte an element, which come first, say how large the symbols are. */
typedef struct lap_alone {
    lap_program program;
    uint32_t n_symbols;
    const lap_name *symbols;                   /* of inputs 0 .. n_symbols-1 */
    const uint32_t *buffers[LAP_N_LEAF_KINDS]; /* of the whole program, by leaf; 0 for symbols */
    const char **texts;                        /* of its kernels: equal ones make equal code */
} lap_alone;
/* Makes the site's kernels with a schedule, for these sizes: of branches that sizes decide one side is left.
 * The whole program stays as it was. NULL when they cannot be made so (nothing is reported). */
const lap_alone *lap_site_alone(lap_lowering *l, const lap_site *site, const lap_schedule *schedule,
                                lap_dim_value *value, void *user);

/* The program with more outputs: the contents of these buffers as flat tensors, after those it has. What
 * weights alone decide is computed in each run. */
const lap_program *lap_program_showing(const lap_program *p, uint32_t n, const uint32_t *buffers);

#endif
