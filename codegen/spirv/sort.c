/* SPDX-License-Identifier: Apache-2.0
 * sort.c - the first k of n keys in order, one after the other: each round finds the best key that
 * comes after the last one chosen.
 *
 * The order is total (ties to the lower index), so nothing needs to be marked as taken and there is no
 * memory but one candidate per invocation. O(n k / invocations). */
#include "codegen/spirv/emitter.h"

enum { KEYS, KEYS0, N, OUT, OUT0, COUNT };

/* Whether key x at index i comes before y at index j, as an expression of names. */
static const char *before(lap_shader *e, bool is_float, bool smallest, const char *x, const char *i,
                          const char *y, const char *j)
{
    const char *sign = smallest ? "<" : ">";
    if (!is_float) {
        return lap_glsl_print(e, "(%s == %s ? %s < %s : %s %s %s)", x, y, i, j, x, sign, y);
    }
    return lap_glsl_print(e,
                          "(isnan(%s) || isnan(%s) ? (isnan(%s) == isnan(%s) ? %s < %s : isnan(%s)) "
                          ": %s == %s ? %s < %s : %s %s %s)",
                          x, y, x, y, i, j, y, x, y, i, j, x, sign, y);
}

static void look(lap_shader *e, const lap_node *n, const char *type, bool is_float, bool smallest)
{
    const char *index = lap_glsl_print(e, "(%s + i)", lap_glsl_value(e, n->args[KEYS0], LAP_GLSL_INT));
    const char *key = lap_glsl_element(e, n->args[KEYS], index);
    lap_glsl_open(e, "if (i < n) ");
    lap_glsl_line(e, "%s x = %s(%s);", type, type, key);
    lap_glsl_line(e, "bool is_left = last < 0 || %s;",
                  before(e, is_float, smallest, "lowest", "last", "x", "i"));
    lap_glsl_open(e, "if (is_left && (place < 0 || %s)) ",
                  before(e, is_float, smallest, "x", "i", "best", "place"));
    lap_glsl_line(e, "best = x;");
    lap_glsl_line(e, "place = i;");
    lap_glsl_close(e, "");
    lap_glsl_close(e, "");
    lap_glsl_line(e, "i += GROUP;");
}

static void scan(lap_shader *e, const lap_node *n, const char *type, bool is_float, bool smallest)
{
    lap_glsl_line(e, "%s best = %s(0);", type, type);
    lap_glsl_line(e, "int place = -1, i = lane;");
    lap_glsl_open(e, "if (i < n) do ");
    for (int times = 0; times < LAP_SORT_AT_ONCE; times++) {
        look(e, n, type, is_float, smallest);
    }
    lap_glsl_close(e, " while (i < n);");
}

static void meet(lap_shader *e, const char *share, bool is_float, bool smallest)
{
    lap_glsl_line(e, "%s[lane] = best;", share);
    lap_glsl_line(e, "share_i[lane] = place;");
    lap_glsl_line(e, "SYNC();");
    lap_glsl_line(e, "best = %s[0];", share);
    lap_glsl_line(e, "place = share_i[0];");
    lap_glsl_open(e, "for (int i = 1; i < GROUP; i++) ");
    lap_glsl_line(e, "int other = share_i[i];");
    lap_glsl_open(e, "if (other >= 0 && (place < 0 || %s)) ",
                  before(e, is_float, smallest, lap_glsl_print(e, "%s[i]", share), "other", "best", "place"));
    lap_glsl_line(e, "best = %s[i];", share);
    lap_glsl_line(e, "place = other;");
    lap_glsl_close(e, "");
    lap_glsl_close(e, "");
    lap_glsl_line(e, "SYNC();");
}

void lap_glsl_emit_sort(lap_shader *e, const lap_node *n)
{
    bool is_float = lap_dtype_compute(lap_glsl_buffer_elem(e, n->args[KEYS])) == LAP_F32;
    bool smallest = lap_attr_i(n, LAP_ATTR_SMALLEST, 0) != 0;
    const char *type = is_float ? "float" : "int64_t", *share = is_float ? "share_f" : "share_l";
    lap_glsl_use(e, is_float ? LAP_PART_SHARE_FLOAT : LAP_PART_SHARE_LONG);
    lap_glsl_use(e, LAP_PART_SHARE_INT);
    lap_glsl_open(e, " ");
    lap_glsl_line(e, "int n = int(%s), count = int(%s), last = -1;", lap_glsl_value_of(e, n->args[N]),
                  lap_glsl_value_of(e, n->args[COUNT]));
    lap_glsl_line(e, "%s lowest = %s(0);", type, type);
    lap_glsl_open(e, "for (int r = 0; r < count; r++) ");
    scan(e, n, type, is_float, smallest);
    meet(e, share, is_float, smallest);
    lap_glsl_open(e, "if (lane == 0) ");
    lap_glsl_put_element(e, n->args[OUT],
                         lap_glsl_print(e, "(%s + r)", lap_glsl_value(e, n->args[OUT0], LAP_GLSL_INT)),
                         lap_glsl_convert(e, "place", LAP_GLSL_INT,
                                          lap_glsl_stored_as(lap_glsl_buffer_elem(e, n->args[OUT]))));
    lap_glsl_close(e, "");
    lap_glsl_line(e, "last = place;");
    lap_glsl_line(e, "lowest = best;");
    lap_glsl_close(e, "");
    lap_glsl_close(e, "");
}
