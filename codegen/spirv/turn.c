/* SPDX-License-Identifier: Apache-2.0
 * turn.c - the transposing copy: neighbouring invocations write neighbouring elements. */
#include "codegen/spirv/emitter.h"

enum { TO, TO0, LD, FROM, FROM0, STRIDE, ROWS, COLS };

static const char *index_of(lap_shader *e, const lap_node *n, int operand)
{
    return lap_glsl_value(e, n->args[operand], LAP_GLSL_INT);
}

void lap_glsl_emit_turn(lap_shader *e, const lap_node *n)
{
    const char *from = lap_glsl_print(e, "(%s + i * %s + j)", index_of(e, n, FROM0), index_of(e, n, STRIDE));
    const char *to = lap_glsl_print(e, "(%s + j * %s + i)", index_of(e, n, TO0), index_of(e, n, LD));
    lap_glsl_open(e, " ");
    lap_glsl_line(e, "int j = 0;");
    lap_glsl_open(e, "if (j < %s) do ", index_of(e, n, COLS));
    lap_glsl_line(e, "int i = lane;");
    lap_glsl_open(e, "if (i < %s) do ", index_of(e, n, ROWS));
    lap_glsl_put_element(e, n->args[TO], to, lap_glsl_element(e, n->args[FROM], from));
    lap_glsl_close(e, lap_glsl_print(e, " while ((i += GROUP) < %s);", index_of(e, n, ROWS)));
    lap_glsl_close(e, lap_glsl_print(e, " while (++j < %s);", index_of(e, n, COLS)));
    lap_glsl_close(e, "");
}
