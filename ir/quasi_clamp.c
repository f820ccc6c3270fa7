/* SPDX-License-Identifier: Apache-2.0
 * quasi_clamp.c - a clamped leaf, read off nested minima and maxima.
 *
 * Such functions are closed under min and max with anything free of the leaf, and under shifts, so
 * the nest is taken apart from outside and put together again as one pair of bounds. */
#include "ir/quasi_table.h"

enum { DEEPEST = 16 };

static lap_qx shifted(lap_quasi *q, bool is_there, lap_qx e, lap_qx by)
{
    return is_there ? lap_quasi_add(q, e, by) : e;
}

/* The one atom of e that uses the leaf, when its factor is 1; out_rest: e without it. */
static bool only_atom(lap_quasi *q, lap_qx e, uint32_t id, lap_qatom *out, lap_qx *out_rest)
{
    lap_qexpr x = lap_qexpr_of(q, e);
    lap_dim one = lap_dim_const(q->ctx, 1);
    uint32_t found = x.n;
    for (uint32_t i = 0; i < x.n; i++) {
        if (!lap_quasi_uses(q, lap_quasi_of_term(q, (lap_qterm){x.at[i].atom, one}), id)) {
            continue;
        }
        if (found < x.n || !lap_dim_same(x.at[i].c, one)) {
            return false;
        }
        found = i;
    }
    if (found == x.n) {
        return false;
    }
    *out = q->atoms[x.at[found].atom];
    *out_rest = lap_quasi_sub(q, e, lap_quasi_of_term(q, (lap_qterm){x.at[found].atom, one}));
    return true;
}

static bool clamped(lap_quasi *q, lap_qx e, uint32_t id, uint32_t depth, lap_quasi_window *out)
{
    lap_qatom atom;
    lap_qx rest;
    if (depth == 0 || !only_atom(q, e, id, &atom, &rest)) {
        return false;
    }
    if (atom.kind == LAP_Q_LEAF) {
        *out = (lap_quasi_window){.shift = rest};
        return true;
    }
    if (atom.kind != LAP_Q_MIN && atom.kind != LAP_Q_MAX) {
        return false;
    }
    bool in_a = lap_quasi_uses(q, atom.a, id), in_b = lap_quasi_uses(q, atom.b, id);
    lap_quasi_window w;
    if ((in_a && in_b) || !clamped(q, in_a ? atom.a : atom.b, id, depth - 1, &w)) {
        return false;
    }
    lap_qx bound = in_a ? atom.b : atom.a;
    if (atom.kind == LAP_Q_MIN) {
        w.hi = w.has_hi ? lap_quasi_min(q, w.hi, bound) : bound;
        w.has_hi = true;
    } else {
        w.lo = w.has_lo ? lap_quasi_max(q, w.lo, bound) : bound;
        w.hi = w.has_hi ? lap_quasi_max(q, w.hi, bound) : w.hi;
        w.has_lo = true;
    }
    w.shift = lap_quasi_add(q, w.shift, rest);
    w.lo = shifted(q, w.has_lo, w.lo, rest);
    w.hi = shifted(q, w.has_hi, w.hi, rest);
    *out = w;
    return true;
}

bool lap_quasi_clamped(lap_quasi *q, lap_qx e, uint32_t id, lap_quasi_window *out)
{
    return clamped(q, e, id, DEEPEST, out);
}
