/* SPDX-License-Identifier: Apache-2.0
 * infer_kernel.c - type rules of the kernel level: scalars and buffers. */
#include "ir/infer_rules.h"

#include <stdlib.h>

static bool is_buffer(lap_graph *g, lap_op op, const lap_node *n)
{
    return n->op == LAP_OP_BUFFER ||
           lap_error(lap_graph_ctx(g), lap_get_loc(g), "%s needs a buffer, found %s", lap_op_text(op),
                     lap_op_text(n->op));
}

static bool is_scalar(lap_graph *g, lap_op op, const char *what, const lap_node *n, lap_dtype want)
{
    return (n->op != LAP_OP_BUFFER && n->n_axes == 0 && n->dtype == want) ||
           lap_error(lap_graph_ctx(g), lap_get_loc(g), "the %s of %s is a %s of %s, expected one %s", what,
                     lap_op_text(op), lap_op_text(n->op), lap_dtype_text(n->dtype), lap_dtype_text(want));
}

/* Operands by letter: b buffer, i integer, c condition. */
static bool operands_are(lap_graph *g, const lap_emit_args *e, const char *kinds)
{
    for (uint32_t i = 0; i < e->n_args && kinds[i]; i++) {
        const lap_node *n = lap_node_at(g, e->args[i]);
        const char *what = lap_arena_printf(lap_graph_ctx(g)->arena, "operand %u", i);
        bool ok = kinds[i] == 'b'
                      ? is_buffer(g, e->op, n)
                      : kinds[i] == '.' || is_scalar(g, e->op, what, n, kinds[i] == 'i' ? LAP_I64 : LAP_BOOL);
        if (!ok) {
            return false;
        }
    }
    return true;
}

static lap_type scalar(lap_dtype dtype) { return (lap_type){dtype, 0, NULL}; }

bool lap_infer_buffer(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    lap_dtype elem = (lap_dtype)lap_emit_attr(e, LAP_ATTR_ELEM)->i;
    int64_t space = lap_emit_attr(e, LAP_ATTR_SPACE)->i;
    if ((unsigned)elem >= LAP_N_DTYPES || (uint64_t)space >= LAP_N_SPACES ||
        lap_emit_attr(e, LAP_ATTR_SLOT)->i < 0) {
        return lap_error(lap_graph_ctx(g), lap_get_loc(g), "no such buffer");
    }
    if ((space == LAP_SPACE_SCRATCH) != (lap_emit_attr(e, LAP_ATTR_COUNT) != NULL)) {
        return lap_error(lap_graph_ctx(g), lap_get_loc(g), "a scratch buffer, and no other, has a count");
    }
    *out = scalar(elem);
    return true;
}

bool lap_infer_for(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    (void)out;
    const lap_region *body = lap_region_at(g, e->regions[0]);
    if ((uint64_t)lap_emit_attr(e, LAP_ATTR_KIND)->i >= LAP_N_LOOPS) {
        return lap_error(lap_graph_ctx(g), lap_get_loc(g), "no such kind of loop");
    }
    if (!operands_are(g, e, "i")) {
        return false;
    }
    if (body->n_params != e->n_args || body->n_results != e->n_args - 1) {
        return lap_error(lap_graph_ctx(g), lap_get_loc(g),
                         "the body of for has %u parameters and %u results, "
                         "expected %u and %u",
                         body->n_params, body->n_results, e->n_args, e->n_args - 1);
    }
    for (uint32_t i = 1; i < e->n_args; i++) {
        lap_dtype want = lap_node_at(g, e->args[i])->dtype;
        if (!is_scalar(g, e->op, "carried value", lap_node_at(g, body->params[i]), want) ||
            !is_scalar(g, e->op, "next value", lap_node_at(g, body->results[i - 1]), want)) {
            return false;
        }
    }
    return is_scalar(g, e->op, "index", lap_node_at(g, body->params[0]), LAP_I64);
}

bool lap_infer_for_result(lap_graph *g, const lap_node *m, const char *which, lap_type *out)
{
    char *end;
    unsigned long i = strtoul(which, &end, 10);
    if (*which < '0' || *which > '9' || *end || i >= (unsigned long)m->n_args - 1) {
        return lap_infer_no_result(g, m, which);
    }
    *out = scalar(lap_node_at(g, m->args[i + 1])->dtype);
    return true;
}

bool lap_infer_if(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    *out = scalar(LAP_BOOL);
    const lap_region *body = lap_region_at(g, e->regions[0]);
    if (body->n_params || body->n_results) {
        return lap_error(lap_graph_ctx(g), lap_get_loc(g),
                         "the body of if has neither parameters nor results");
    }
    return operands_are(g, e, "c");
}

bool lap_infer_load(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    *out = scalar(lap_dtype_compute(lap_node_at(g, e->args[0])->dtype));
    return operands_are(g, e, "bic");
}

bool lap_infer_store(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    if (!operands_are(g, e, "bi.c")) {
        return false;
    }
    *out = scalar(lap_dtype_compute(lap_node_at(g, e->args[0])->dtype));
    return is_scalar(g, e->op, "value", lap_node_at(g, e->args[2]), out->dtype);
}

bool lap_infer_fail(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    *out = scalar(LAP_BOOL);
    return operands_are(g, e, "c");
}

bool lap_infer_mma(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    *out = scalar(LAP_F32);
    int64_t rows = lap_emit_attr(e, LAP_ATTR_ROWS)->i, cols = lap_emit_attr(e, LAP_ATTR_COLS)->i;
    if (rows < 1 || rows > 1024 || cols < 1 || cols > 65536) {
        return lap_error(lap_graph_ctx(g), lap_get_loc(g), "mma has a tile of %lld x %lld", (long long)rows,
                         (long long)cols);
    }
    const lap_attr *dot = lap_emit_attr(e, LAP_ATTR_DOT);
    lap_dtype a = lap_node_at(g, e->args[3])->dtype, b = lap_node_at(g, e->args[8])->dtype;
    if (dot != NULL && dot->i != 0 && (a != LAP_BF16 || b != LAP_BF16)) {
        return lap_error(lap_graph_ctx(g), lap_get_loc(g), "dot products are of bf16, found %s and %s",
                         lap_dtype_text(a), lap_dtype_text(b));
    }
    return operands_are(g, e, "biibiiiibiii");
}

bool lap_infer_turn(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    *out = scalar(LAP_F32);
    for (uint32_t i = 0; i < 4; i += 3) {
        lap_dtype elem = lap_node_at(g, e->args[i])->dtype;
        if (elem == LAP_I4 || lap_dtype_compute(elem) != LAP_F32) {
            return lap_error(lap_graph_ctx(g), lap_get_loc(g), "turn moves floats, found %s",
                             lap_dtype_text(elem));
        }
    }
    return operands_are(g, e, "biibiiii");
}

bool lap_infer_sort(lap_graph *g, const lap_emit_args *e, lap_type *out)
{
    *out = scalar(LAP_I64);
    return operands_are(g, e, "biibii");
}
