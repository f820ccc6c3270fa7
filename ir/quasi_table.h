/* SPDX-License-Identifier: Apache-2.0
 * quasi_table.h - how quasi-affine expressions are stored; only the quasi*.c files include it. */
#ifndef LAP_IR_QUASI_TABLE_H
#define LAP_IR_QUASI_TABLE_H

#include "ir/base/idset.h"
#include "ir/quasi.h"

typedef enum lap_qatom_kind { LAP_Q_LEAF, LAP_Q_FLOOR, LAP_Q_MIN, LAP_Q_MAX, LAP_Q_MUL } lap_qatom_kind;

typedef struct lap_qatom {
    lap_qatom_kind kind;
    uint32_t id;     /* LEAF: the caller's; else the highest id inside */
    uint32_t height; /* 0 for leaves */
    lap_qx a, b;     /* operands of the others */
    bool is_bounded; /* LEAF: lo <= v < end */
    lap_dim lo, end;
    uint32_t stamp, memo; /* of a walk */
} lap_qatom;

typedef struct lap_qterm {
    uint32_t atom;
    lap_dim c;
} lap_qterm;

typedef struct lap_qexpr {
    uint32_t n;
    uint32_t height;     /* of the highest atom, 0 when there is none */
    const lap_qterm *at; /* rising atom numbers, no zero coefficient */
    lap_dim c;
    uint64_t asked;       /* epoch of `is_natural` */
    bool is_natural;      /* proved >= 0 */
    uint32_t stamp, memo; /* of a walk */
} lap_qexpr;

struct lap_quasi {
    lap_ctx *ctx;
    lap_qexpr *exprs;
    lap_qatom *atoms;
    lap_qx *facts; /* each >= 0 */
    size_t n_exprs, n_atoms, n_facts, exprs_capacity, atoms_capacity, facts_capacity;
    lap_idset expr_ids, atom_ids;
    uint64_t epoch; /* changes with the facts */
    uint32_t stamp, fuel;
};

/* quasi.c */
lap_qexpr lap_qexpr_of(const lap_quasi *q, lap_qx e);
lap_qx lap_quasi_of_atom(lap_quasi *q, const lap_qatom *atom);
lap_qx lap_quasi_of_term(lap_quasi *q, lap_qterm t);
lap_qx lap_quasi_plus(lap_quasi *q, lap_qx e, int64_t value);
/* quasi_walk.c: e and all its parts, each once, parts first. */
typedef struct lap_id_list {
    uint32_t *at;
    size_t n, capacity;
} lap_id_list;
lap_id_list lap_quasi_parts(lap_quasi *q, lap_qx e);
/* quasi_prove.c */
bool lap_quasi_is_natural(lap_quasi *q, lap_qx e);           /* e >= 0 is proved */
bool lap_quasi_is_below(lap_quasi *q, lap_qx e, lap_qx end); /* 0 <= e < end is proved */

#endif
