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

/* The one atom of e that uses the leaf, and its factor; out_rest: e without it. */
static bool only_atom(lap_quasi *q, lap_qx e, uint32_t id, lap_qatom *out, int64_t *out_factor,
                      lap_qx *out_rest)
{
    lap_qexpr x = lap_qexpr_of(q, e);
    lap_dim one = lap_dim_const(q->ctx, 1);
    uint32_t found = x.n;
    for (uint32_t i = 0; i < x.n; i++) {
        if (!lap_quasi_uses(q, lap_quasi_of_term(q, (lap_qterm){x.at[i].atom, one}), id)) {
            continue;
        }
        if (found < x.n || !lap_dim_is_const(q->ctx, x.at[i].c, out_factor)) {
            return false;
        }
        found = i;
    }
    if (found == x.n) {
        return false;
    }
    *out = q->atoms[x.at[found].atom];
    *out_rest = lap_quasi_sub(q, e, lap_quasi_of_term(q, x.at[found]));
    return true;
}

/* Whether the atom, times this factor, is factor * (leaf // factor). */
static bool is_run(lap_quasi *q, const lap_qatom *atom, int64_t factor)
{
    int64_t by;
    if (atom->kind != LAP_Q_FLOOR || !lap_quasi_is_const(q, atom->b, &by) || by != factor || by < 1) {
        return false;
    }
    lap_qexpr x = lap_qexpr_of(q, atom->a);
    int64_t one = 0, zero = 1;
    return x.n == 1 && q->atoms[x.at[0].atom].kind == LAP_Q_LEAF &&
           lap_dim_is_const(q->ctx, x.at[0].c, &one) && one == 1 && lap_dim_is_const(q->ctx, x.c, &zero) &&
           zero == 0;
}

static bool clamped(lap_quasi *q, lap_qx e, uint32_t id, uint32_t depth, lap_quasi_window *out)
{
    lap_qatom atom;
    lap_qx rest;
    int64_t factor;
    if (depth == 0 || !only_atom(q, e, id, &atom, &factor, &rest)) {
        return false;
    }
    if ((atom.kind == LAP_Q_LEAF && factor == 1) || is_run(q, &atom, factor)) {
        *out = (lap_quasi_window){.shift = rest, .run = factor};
        return true;
    }
    if ((atom.kind != LAP_Q_MIN && atom.kind != LAP_Q_MAX) || factor != 1) {
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
