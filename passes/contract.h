/* SPDX-License-Identifier: Apache-2.0
 * contract.h - sums of products seen as contractions: which axes play which role.
 *
 * Roles come from the names: batch = in both factors and the result, m = in A alone, n = in B alone,
 * k = summed. B is read along n in vectors, A is broadcast. */
#ifndef LAP_PASSES_CONTRACT_H
#define LAP_PASSES_CONTRACT_H

#include "passes/lower.h"

enum { LAP_MAX_FACTORS = 16 };

typedef struct lap_factors {
    uint32_t n;
    lap_ref at[LAP_MAX_FACTORS];
} lap_factors;
typedef struct lap_axis_list {
    uint32_t n;
    const lap_axis *at;
} lap_axis_list;

typedef struct lap_roles {
    lap_factors a, b;
    lap_axis_list batch, m, n, k;
    bool has_ragged_k;
    bool is_lenient; /* packed with 0 where a read is outside */
} lap_roles;

/* False when the sum has no factors that make it a contraction worth a register tile. */
bool lap_contract_roles(lap_lowering *l, lap_ref reduce, lap_roles *out);
/* Whether some factor has the axis. */
bool lap_factors_have(lap_lowering *l, const lap_factors *f, lap_name name);
/* Whether all factors depend on weights and extents alone. */
bool lap_factors_static(lap_lowering *l, const lap_factors *f);
/* Whether both factors are bf16 as they are stored, and the knob asks for dot products of such. */
bool lap_roles_take_dot(lap_lowering *l, const lap_roles *r, lap_knob knob);
/* What A and B are packed as. */
static inline lap_dtype lap_packed_as(bool dot) { return dot ? LAP_BF16 : LAP_F32; }
/* Swaps the parts of A and B. */
void lap_roles_swap(lap_roles *r);

/* The flat address of a value that is a view of one stored tensor of floats, without conditions. */
bool lap_view_address(lap_kctx *k, lap_ref node, const lap_coord *env, uint32_t *out_buffer,
                      lap_coord *out_address);
/* Product of the factors at coordinates given for axes by name; 0 where an axis of `k` is absent. */
typedef struct lap_env_list {
    uint32_t n;
    const lap_axis *axes;
    const lap_coord *coords;
} lap_env_list;
lap_ref lap_factors_value(lap_kctx *k, const lap_factors *f, const lap_env_list *env, lap_ref mask,
                          bool zero_absent);

/* B's panels (pack.c): [batch that B has][panel of n][k][cols]; columns beyond n mean nothing. */
typedef struct lap_panels {
    uint32_t buffer;
    lap_ref scratch; /* instead: the panels of one batch, made inside the kernel that reads them */
    bool in_place;   /* instead: B itself, in `buffer` */
    const lap_roles *r;
    lap_dim stride; /* from one step of k to the next: cols, or B's own */
    lap_axis_list batch;
    lap_dim n_total, k_total, n_panels;
    uint32_t cols;
    lap_dtype elem;
} lap_panels;
/* A kernel of their own writes them, from panel `first` on. */
lap_panels lap_pack_panels(lap_lowering *l, const lap_roles *r, uint32_t cols, lap_dtype elem, lap_dim first,
                           lap_loc loc);
/* B as it lies in memory: true, and *out, where n runs along memory and k in even steps. Its last panel may
 * be short: then it must not be read. */
bool lap_panels_in_place(lap_kctx *k, const lap_roles *r, uint32_t cols, lap_dtype elem, lap_panels *out);
/* Scratch for them in kernel k, and the loops that write it at the batch coordinates of env (none for panels
 * that are not in scratch). */
lap_panels lap_panels_inside(lap_kctx *k, const lap_roles *r, uint32_t cols, lap_dtype elem);
void lap_pack_inside(lap_kctx *k, const lap_roles *r, const lap_panels *p, const lap_env_list *env);
lap_ref lap_panels_buffer(lap_kctx *k, const lap_panels *p);
/* Element offset of panel p for the batch coordinates in env. */
lap_coord lap_panel_offset(lap_kctx *k, const lap_panels *p, const lap_env_list *env, lap_coord panel);

#endif
