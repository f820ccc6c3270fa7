/* SPDX-License-Identifier: Apache-2.0
 * value.c - values as GLSL expressions: constants, conversions, scalar functions.
 *
 * Each node is a variable vN of its type; constants stand where they are read. */
#include <math.h>
#include <string.h>

#include "codegen/spirv/emitter.h"

const char *lap_glsl_type_text(lap_glsl_type t)
{
    static const char *const texts[] = {"float", "bool", "int", "int64_t"};
    return texts[t];
}

const char *lap_glsl_float(lap_shader *e, double v)
{
    float f = (float)v;
    if (!isfinite(f)) {
        return isnan(f) ? "uintBitsToFloat(0x7fc00000u)"
               : f > 0  ? "uintBitsToFloat(0x7f800000u)"
                        : "uintBitsToFloat(0xff800000u)";
    }
    char *text = lap_glsl_print(e, "%.9g", (double)f);
    return strpbrk(text, ".e") ? (f < 0 ? lap_glsl_print(e, "(%s)", text) : text)
                               : lap_glsl_print(e, f < 0 ? "(%s.0)" : "%s.0", text);
}

static const char *int_text(lap_shader *e, int64_t v, lap_glsl_type as)
{
    if (as == LAP_GLSL_INT) {
        return lap_glsl_print(e, v < 0 ? "int(0x%xu)" : "%u", (unsigned)(uint64_t)v);
    }
    e->needs |= 1u << LAP_VK_NEED_INT64;
    return lap_glsl_print(e, v < 0 ? "int64_t(0x%llxUL)" : "int64_t(0x%llxL)", (unsigned long long)v);
}

static const char *const_text(lap_shader *e, const lap_node *n, lap_glsl_type as)
{
    lap_scalar s = lap_node_attr(n, LAP_ATTR_VALUE)->scalar;
    bool is_float = lap_dtype_compute(s.dtype) == LAP_F32;
    switch (as) {
    case LAP_GLSL_FLOAT:
        return lap_glsl_float(e, is_float ? s.f : (double)s.i);
    case LAP_GLSL_BOOL:
        return (is_float ? s.f != 0 : s.i != 0) ? "true" : "false";
    default:
        return is_float ? NULL : int_text(e, s.i, as);
    }
}

const char *lap_glsl_convert(lap_shader *e, const char *v, lap_glsl_type from, lap_glsl_type to)
{
    if (from == to) {
        return v;
    }
    if (from == LAP_GLSL_LONG || to == LAP_GLSL_LONG) {
        e->needs |= 1u << LAP_VK_NEED_INT64;
    }
    if (to == LAP_GLSL_BOOL) {
        return lap_glsl_print(e, from == LAP_GLSL_FLOAT ? "(%s != 0.0)" : "(%s != 0)", v);
    }
    if (from == LAP_GLSL_FLOAT) {
        lap_glsl_use(e, LAP_PART_TO_LONG);
        return lap_glsl_print(e, to == LAP_GLSL_LONG ? "lap_long(%s)" : "int(lap_long(%s))", v);
    }
    return lap_glsl_print(e, "%s(%s)", lap_glsl_type_text(to), v);
}

const char *lap_glsl_value(lap_shader *e, lap_ref ref, lap_glsl_type as)
{
    const lap_node *n = lap_node_at(e->g, ref);
    if (n->op == LAP_OP_CONST) {
        const char *text = const_text(e, n, as);
        if (text) {
            return text;
        }
    }
    return lap_glsl_convert(e, lap_glsl_value_of(e, ref), e->type[ref.ix], as);
}

const char *lap_glsl_value_of(lap_shader *e, lap_ref ref)
{
    const lap_node *n = lap_node_at(e->g, ref);
    return n->op == LAP_OP_CONST ? const_text(e, n, e->type[ref.ix]) : lap_glsl_print(e, "v%u", ref.ix);
}

const char *lap_glsl_neutral(lap_shader *e, lap_fn fn, lap_glsl_type type)
{
    bool is_float = type == LAP_GLSL_FLOAT;
    switch (fn) {
    case LAP_FN_MUL:
        return is_float ? "1.0" : int_text(e, 1, type);
    case LAP_FN_MIN:
        return is_float ? lap_glsl_float(e, (double)INFINITY) : int_text(e, INT64_MAX, type);
    case LAP_FN_MAX:
    case LAP_FN_LARGER:
        return is_float ? lap_glsl_float(e, -(double)INFINITY) : int_text(e, INT64_MIN, type);
    case LAP_FN_AND:
        return "true";
    case LAP_FN_OR:
        return "false";
    default:
        return is_float ? "0.0" : int_text(e, 0, type);
    }
}

/* ---- integers ---- */

static const char *int_map(lap_shader *e, lap_fn fn, lap_glsl_type type, const char *a, const char *b)
{
    bool is_long = type == LAP_GLSL_LONG;
    switch (fn) {
    case LAP_FN_ADD:
        return lap_glsl_print(e, "(%s + %s)", a, b);
    case LAP_FN_SUB:
        return lap_glsl_print(e, "(%s - %s)", a, b);
    case LAP_FN_MUL:
        return lap_glsl_print(e, "(%s * %s)", a, b);
    case LAP_FN_MIN:
        return lap_glsl_print(e, "min(%s, %s)", a, b);
    case LAP_FN_MAX:
        return lap_glsl_print(e, "max(%s, %s)", a, b);
    case LAP_FN_NEG:
        return lap_glsl_print(e, "(-%s)", a);
    case LAP_FN_ABS:
        return lap_glsl_print(e, "max(%s, -%s)", a, a);
    case LAP_FN_SIGN:
        return lap_glsl_print(e, "clamp(%s, %s, %s)", a, int_text(e, -1, type), int_text(e, 1, type));
    case LAP_FN_IDIV:
        lap_glsl_use(e, is_long ? LAP_PART_IDIV_LONG : LAP_PART_IDIV);
        return lap_glsl_print(e, "lap_idiv(%s, %s)", a, b);
    case LAP_FN_MOD:
        lap_glsl_use(e, is_long ? LAP_PART_MOD_LONG : LAP_PART_MOD);
        return lap_glsl_print(e, "lap_mod(%s, %s)", a, b);
    default:
        LAP_BUG("no integer form of '%s'", lap_fn_text(fn));
    }
}

/* Division by a positive constant needs no cases where the dividend is natural, and is a shift for a
 * power of two. NULL: neither. */
static const char *divide_const(lap_shader *e, lap_fn fn, lap_glsl_type type, lap_ref left, lap_ref right)
{
    const lap_node *n = lap_node_at(e->g, right);
    if (n->op != LAP_OP_CONST || lap_dtype_compute(n->dtype) != LAP_I64) {
        return NULL;
    }
    int64_t c = lap_node_attr(n, LAP_ATTR_VALUE)->scalar.i;
    if (c <= 0 || c > INT32_MAX) {
        return NULL;
    }
    const char *a = lap_glsl_value(e, left, type);
    bool is_power = (c & (c - 1)) == 0;
    if (is_power && fn == LAP_FN_IDIV) {
        return lap_glsl_print(e, "(%s >> %d)", a, __builtin_ctzll((uint64_t)c));
    }
    if (is_power) {
        return lap_glsl_print(e, "(%s & %s)", a, int_text(e, c - 1, type));
    }
    if (e->type[left.ix] == LAP_GLSL_INT && e->bound[left.ix].is_natural && type == LAP_GLSL_INT) {
        return lap_glsl_print(e, "int(uint(%s) %c %lldu)", a, fn == LAP_FN_IDIV ? '/' : '%', (long long)c);
    }
    return NULL;
}

/* ---- floats ---- */

static const char *called(lap_shader *e, lap_glsl_part part, const char *name, const char *a)
{
    lap_glsl_use(e, part);
    return lap_glsl_print(e, "%s(%s)", name, a);
}

static const char *called2(lap_shader *e, lap_glsl_part part, const char *name, const char *a, const char *b)
{
    lap_glsl_use(e, part);
    return lap_glsl_print(e, "%s(%s, %s)", name, a, b);
}

static const char *float_map(lap_shader *e, lap_fn fn, const char *a, const char *b)
{
    switch (fn) {
    case LAP_FN_ADD:
        return lap_glsl_print(e, "(%s + %s)", a, b);
    case LAP_FN_SUB:
        return lap_glsl_print(e, "(%s - %s)", a, b);
    case LAP_FN_MUL:
        return lap_glsl_print(e, "(%s * %s)", a, b);
    case LAP_FN_DIV:
        return lap_glsl_print(e, "(%s / %s)", a, b);
    case LAP_FN_IDIV:
        return lap_glsl_print(e, "floor(%s / %s)", a, b);
    case LAP_FN_MOD:
        return lap_glsl_print(e, "(%s - floor(%s / %s) * %s)", a, a, b, b);
    case LAP_FN_POW:
        return called2(e, LAP_PART_POW, "lap_pow", a, b);
    case LAP_FN_MIN:
        return called2(e, LAP_PART_MIN, "lap_min", a, b);
    case LAP_FN_MAX:
        return called2(e, LAP_PART_MAX, "lap_max", a, b);
    case LAP_FN_LARGER:
        return called2(e, LAP_PART_LARGER, "lap_larger", a, b);
    case LAP_FN_NEG:
        return lap_glsl_print(e, "(-%s)", a);
    case LAP_FN_ABS:
        return lap_glsl_print(e, "abs(%s)", a);
    case LAP_FN_SIGN:
        return called(e, LAP_PART_SIGN, "lap_sign", a);
    case LAP_FN_EXP:
        return called(e, LAP_PART_EXP, "lap_exp", a);
    case LAP_FN_EXP2:
        return called(e, LAP_PART_EXP2, "lap_exp2", a);
    case LAP_FN_LOG:
        return called(e, LAP_PART_LOG, "lap_log", a);
    case LAP_FN_SQRT:
        return lap_glsl_print(e, "sqrt(%s)", a);
    case LAP_FN_TANH:
        return called(e, LAP_PART_TANH, "lap_tanh", a);
    case LAP_FN_SIGMOID:
        return called(e, LAP_PART_SIGMOID, "lap_sigmoid", a);
    case LAP_FN_ERF:
        return called(e, LAP_PART_ERF, "lap_erf", a);
    case LAP_FN_SIN:
        return called2(e, LAP_PART_CIRCLE, "lap_circle", a, "0");
    case LAP_FN_COS:
        return called2(e, LAP_PART_CIRCLE, "lap_circle", a, "1");
    case LAP_FN_FLOOR:
        return lap_glsl_print(e, "floor(%s)", a);
    case LAP_FN_ROUND:
        return lap_glsl_print(e, "roundEven(%s)", a);
    default:
        LAP_BUG("no float form of '%s'", lap_fn_text(fn));
    }
}

static const char *bool_map(lap_shader *e, lap_fn fn, const char *a, const char *b)
{
    switch (fn) {
    case LAP_FN_AND:
        return lap_glsl_print(e, "(%s && %s)", a, b);
    case LAP_FN_OR:
        return lap_glsl_print(e, "(%s || %s)", a, b);
    case LAP_FN_NOT:
        return lap_glsl_print(e, "(!%s)", a);
    default:
        LAP_BUG("no bool form of '%s'", lap_fn_text(fn));
    }
}

const char *lap_glsl_combine(lap_shader *e, lap_fn fn, lap_glsl_type type, const char *a, const char *b)
{
    switch (type) {
    case LAP_GLSL_FLOAT:
        return float_map(e, fn, a, b);
    case LAP_GLSL_BOOL:
        return bool_map(e, fn, a, b);
    default:
        return int_map(e, fn, type, a, b);
    }
}

/* ---- maps ---- */

static const char *sign_of(lap_fn fn)
{
    switch (fn) {
    case LAP_FN_LT:
        return "<";
    case LAP_FN_LE:
        return "<=";
    case LAP_FN_GT:
        return ">";
    case LAP_FN_GE:
        return ">=";
    case LAP_FN_EQ:
        return "==";
    case LAP_FN_NE:
        return "!=";
    default:
        return NULL;
    }
}

/* Type that the operands are compared in: the widest of theirs. */
static lap_glsl_type common_type(const lap_shader *e, const lap_node *n)
{
    lap_glsl_type t = LAP_GLSL_INT;
    for (uint32_t i = 0; i < n->n_args; i++) {
        lap_glsl_type own = e->type[n->args[i].ix];
        t = own == LAP_GLSL_FLOAT || t == LAP_GLSL_FLOAT ? LAP_GLSL_FLOAT
            : own == LAP_GLSL_LONG                       ? LAP_GLSL_LONG
                                                         : t;
    }
    return t;
}

static const char *saturated(lap_shader *e, const lap_node *n, lap_fn fn, lap_glsl_type to)
{
    static const char *const limits[][2] = {{"-0x80000000L", "0x7fffffffL"}, {"-128", "127"}, {"-8", "7"}};
    int row = fn == LAP_FN_TO_I32 ? 0 : fn == LAP_FN_TO_I8 ? 1 : 2;
    bool is_long =
        row == 0 || e->type[n->args[0].ix] == LAP_GLSL_LONG || e->type[n->args[0].ix] == LAP_GLSL_FLOAT;
    lap_glsl_type as = is_long ? LAP_GLSL_LONG : LAP_GLSL_INT;
    lap_glsl_use(e, is_long ? LAP_PART_LIMIT_LONG : LAP_PART_LIMIT);
    const char *v = lap_glsl_print(e, "lap_limit(%s, %s, %s)", lap_glsl_value(e, n->args[0], as),
                                   limits[row][0], limits[row][1]);
    return lap_glsl_convert(e, v, as, to);
}

static const char *own_map(lap_shader *e, lap_ref ref, const lap_node *n, lap_fn fn)
{
    lap_glsl_type to = e->type[ref.ix];
    const char *v =
        fn == LAP_FN_TO_F16 || fn == LAP_FN_TO_BF16 ? lap_glsl_value(e, n->args[0], LAP_GLSL_FLOAT) : NULL;
    switch (fn) {
    case LAP_FN_TO_F16:
        lap_glsl_use(e, LAP_PART_TO_F16);
        return called(e, LAP_PART_FROM_F16, "lap_from_f16", lap_glsl_print(e, "lap_to_f16(%s)", v));
    case LAP_FN_TO_BF16:
        lap_glsl_use(e, LAP_PART_TO_BF16);
        return called(e, LAP_PART_FROM_BF16, "lap_from_bf16", lap_glsl_print(e, "lap_to_bf16(%s)", v));
    case LAP_FN_TO_I32:
    case LAP_FN_TO_I8:
    case LAP_FN_TO_I4:
        return saturated(e, n, fn, to);
    default:
        return lap_glsl_value(e, n->args[0], to);
    }
}

static bool is_own(lap_fn fn)
{
    return fn == LAP_FN_INT || fn == LAP_FN_FLOAT || fn == LAP_FN_TO_F16 || fn == LAP_FN_TO_BF16 ||
           fn == LAP_FN_TO_I32 || fn == LAP_FN_TO_I8 || fn == LAP_FN_TO_I4;
}

/* Integer functions of which an operand is wider than the result are computed in its width. */
static lap_glsl_type width_of(const lap_shader *e, lap_fn fn, const lap_node *n, lap_glsl_type to)
{
    bool is_ring = fn == LAP_FN_ADD || fn == LAP_FN_SUB || fn == LAP_FN_MUL || fn == LAP_FN_NEG;
    return to == LAP_GLSL_INT && !is_ring && common_type(e, n) == LAP_GLSL_LONG ? LAP_GLSL_LONG : to;
}

static const char *arithmetic(lap_shader *e, lap_ref ref, const lap_node *n, lap_fn fn)
{
    lap_glsl_type to = e->type[ref.ix], as = width_of(e, fn, n, to);
    const char *v = NULL;
    if ((as == LAP_GLSL_INT || as == LAP_GLSL_LONG) && (fn == LAP_FN_IDIV || fn == LAP_FN_MOD)) {
        v = divide_const(e, fn, as, n->args[0], n->args[1]);
    }
    if (!v) {
        const char *a = lap_glsl_value(e, n->args[0], as);
        v = lap_glsl_combine(e, fn, as, a, n->n_args > 1 ? lap_glsl_value(e, n->args[1], as) : NULL);
    }
    return lap_glsl_convert(e, v, as, to);
}

/* A 32-bit value against a constant that is beyond its range: the constant's sign decides. Said here
 * since Mesa 22.3 compares a widened value with a constant wrongly. NULL: not such a case. */
static const char *compare_beyond(lap_shader *e, lap_fn fn, const lap_node *n)
{
    for (int side = 0; side < 2; side++) {
        const lap_node *c = lap_node_at(e->g, n->args[side]);
        bool is_beyond = c->op == LAP_OP_CONST && e->type[n->args[side].ix] == LAP_GLSL_LONG &&
                         e->type[n->args[1 - side].ix] == LAP_GLSL_INT;
        if (!is_beyond) {
            continue;
        }
        bool right_is_more = (lap_node_attr(c, LAP_ATTR_VALUE)->scalar.i > 0) == (side == 1);
        bool holds =
            fn == LAP_FN_NE || (fn != LAP_FN_EQ && (fn == LAP_FN_LT || fn == LAP_FN_LE) == right_is_more);
        return holds ? "true" : "false";
    }
    return NULL;
}

const char *lap_glsl_map(lap_shader *e, lap_ref ref, const lap_node *n)
{
    lap_fn fn = (lap_fn)lap_attr_i(n, LAP_ATTR_FN, 0);
    const char *sign = sign_of(fn);
    const char *decided = sign ? compare_beyond(e, fn, n) : NULL;
    if (decided) {
        return decided;
    }
    if (sign) {
        lap_glsl_type as = common_type(e, n);
        return lap_glsl_print(e, "(%s %s %s)", lap_glsl_value(e, n->args[0], as), sign,
                              lap_glsl_value(e, n->args[1], as));
    }
    if (fn == LAP_FN_SELECT) {
        lap_glsl_type to = e->type[ref.ix];
        return lap_glsl_print(e, "(%s ? %s : %s)", lap_glsl_value(e, n->args[0], LAP_GLSL_BOOL),
                              lap_glsl_value(e, n->args[1], to), lap_glsl_value(e, n->args[2], to));
    }
    return is_own(fn) ? own_map(e, ref, n, fn) : arithmetic(e, ref, n, fn);
}
