/* SPDX-License-Identifier: Apache-2.0
 * memory.c - buffers in shaders: where they lie, loads and stores of every element type.
 *
 * Operands and large scratch are storage buffers with one array of their element type. Small scratch of
 * constant size is shared memory, in whole words. f16 and bf16 are read as their bits, so that no
 * driver rounds; two i4 share a byte and eight a word, which atomic operations change. */
#include "codegen/spirv/emitter.h"

uint32_t lap_glsl_buffer_number(const lap_shader *e, lap_ref buffer)
{
    const lap_node *n = lap_node_at(e->g, buffer);
    LAP_ENSURE(n->op == LAP_OP_BUFFER);
    uint32_t slot = (uint32_t)lap_attr_i(n, LAP_ATTR_SLOT, 0);
    bool is_global = lap_attr_i(n, LAP_ATTR_SPACE, LAP_SPACE_GLOBAL) == LAP_SPACE_GLOBAL;
    return is_global ? slot : e->n_globals + slot;
}

lap_dtype lap_glsl_buffer_elem(const lap_shader *e, lap_ref buffer)
{
    return (lap_dtype)lap_attr_i(lap_node_at(e->g, buffer), LAP_ATTR_ELEM, LAP_F32);
}

lap_glsl_type lap_glsl_stored_as(lap_dtype elem)
{
    switch (elem) {
    case LAP_I64:
        return LAP_GLSL_LONG;
    case LAP_I32:
    case LAP_I8:
    case LAP_I4:
        return LAP_GLSL_INT;
    case LAP_BOOL:
        return LAP_GLSL_BOOL;
    default:
        return LAP_GLSL_FLOAT;
    }
}

/* Type of the array's elements. */
static const char *array_type(lap_shader *e, lap_dtype elem, bool is_shared)
{
    switch (elem) {
    case LAP_I64:
        e->needs |= 1u << LAP_VK_NEED_INT64;
        return "int64_t";
    case LAP_I32:
        return "int";
    case LAP_F16:
    case LAP_BF16:
        e->needs |= is_shared ? 0 : 1u << LAP_VK_NEED_HALVES;
        return is_shared ? "uint" : "uint16_t";
    case LAP_I8:
        e->needs |= is_shared ? 0 : 1u << LAP_VK_NEED_BYTES;
        return is_shared ? "int" : "int8_t";
    case LAP_BOOL:
        e->needs |= is_shared ? 0 : 1u << LAP_VK_NEED_BYTES;
        return is_shared ? "uint" : "uint8_t";
    case LAP_I4:
        return "uint";
    default:
        return "float";
    }
}

static const char *place_of(lap_shader *e, uint32_t number, const char *index)
{
    if (number < e->n_globals) {
        return lap_glsl_print(e, e->by_address ? "g%u.at[%s]" : "g%u[%s]", number, index);
    }
    uint32_t scratch = number - e->n_globals;
    return e->is_shared[number] ? lap_glsl_print(e, "s%u[%s]", scratch, index)
                                : lap_glsl_print(e, "s%u[o%u + %s]", scratch, scratch, index);
}

/* ---- elements ---- */

static const char *nibble(lap_shader *e, uint32_t number, const char *index)
{
    const char *word = place_of(e, number, lap_glsl_print(e, "(%s >> 3)", index));
    return lap_glsl_print(e, "bitfieldExtract(int(%s), (%s & 7) * 4, 4)", word, index);
}

const char *lap_glsl_element(lap_shader *e, lap_ref buffer, const char *index)
{
    uint32_t number = lap_glsl_buffer_number(e, buffer);
    lap_dtype elem = lap_glsl_buffer_elem(e, buffer);
    const char *at = place_of(e, number, index);
    switch (elem) {
    case LAP_F16:
        lap_glsl_use(e, LAP_PART_FROM_F16);
        return lap_glsl_print(e, "lap_from_f16(uint(%s))", at);
    case LAP_BF16:
        lap_glsl_use(e, LAP_PART_FROM_BF16);
        return lap_glsl_print(e, "lap_from_bf16(uint(%s))", at);
    case LAP_I8:
        return lap_glsl_print(e, "int(%s)", at);
    case LAP_I4:
        return nibble(e, number, index);
    case LAP_BOOL:
        return lap_glsl_print(e, "(uint(%s) != 0u)", at);
    default:
        return at;
    }
}

static void put_nibble(lap_shader *e, uint32_t number, const char *index, const char *v)
{
    const char *word = place_of(e, number, lap_glsl_print(e, "(%s >> 3)", index));
    lap_glsl_line(e, "atomicAnd(%s, ~(15u << ((%s & 7) * 4)));", word, index);
    lap_glsl_line(e, "atomicOr(%s, (uint(%s) & 15u) << ((%s & 7) * 4));", word, v, index);
}

static const char *limited(lap_shader *e, lap_glsl_type from, const char *v, const char *low,
                           const char *high)
{
    lap_glsl_use(e, from == LAP_GLSL_LONG ? LAP_PART_LIMIT_LONG : LAP_PART_LIMIT);
    return lap_glsl_print(e, "lap_limit(%s, %s, %s)", v, low, high);
}

/* v as the bits that the array holds; integers are LONG or INT. */
static const char *bits_of(lap_shader *e, lap_dtype elem, bool is_shared, lap_glsl_type from, const char *v)
{
    const char *array = array_type(e, elem, is_shared);
    switch (elem) {
    case LAP_F16:
        lap_glsl_use(e, LAP_PART_TO_F16);
        return lap_glsl_print(e, "%s(lap_to_f16(%s))", array, v);
    case LAP_BF16:
        lap_glsl_use(e, LAP_PART_TO_BF16);
        return lap_glsl_print(e, "%s(lap_to_bf16(%s))", array, v);
    case LAP_I32:
        return from == LAP_GLSL_INT
                   ? v
                   : lap_glsl_print(e, "int(%s)", limited(e, from, v, "-0x80000000L", "0x7fffffffL"));
    case LAP_I8:
        return lap_glsl_print(e, "%s(int(%s))", array, limited(e, from, v, "-128", "127"));
    case LAP_I4:
        return lap_glsl_print(e, "int(%s)", limited(e, from, v, "-8", "7"));
    case LAP_BOOL:
        return lap_glsl_print(e, "%s(uint(%s))", array, v);
    default:
        return v;
    }
}

/* The type that a value of type `from` is stored from. */
static lap_glsl_type stores_from(lap_dtype elem, lap_glsl_type from)
{
    bool is_int = from == LAP_GLSL_INT || from == LAP_GLSL_LONG;
    switch (elem) {
    case LAP_I64:
        return LAP_GLSL_LONG;
    case LAP_I32:
    case LAP_I8:
    case LAP_I4:
        return is_int ? from : from == LAP_GLSL_BOOL ? LAP_GLSL_INT : LAP_GLSL_LONG;
    default:
        return lap_glsl_stored_as(elem);
    }
}

static void put_element(lap_shader *e, lap_ref buffer, const char *index, lap_glsl_type from, const char *v)
{
    uint32_t number = lap_glsl_buffer_number(e, buffer);
    lap_dtype elem = lap_glsl_buffer_elem(e, buffer);
    const char *bits = bits_of(e, elem, e->is_shared[number], from, v);
    if (elem == LAP_I4) {
        put_nibble(e, number, index, bits);
    } else {
        lap_glsl_line(e, "%s = %s;", place_of(e, number, index), bits);
    }
}

void lap_glsl_put_element(lap_shader *e, lap_ref buffer, const char *index, const char *v)
{
    lap_dtype elem = lap_glsl_buffer_elem(e, buffer);
    put_element(e, buffer, index, lap_glsl_stored_as(elem), v);
}

/* ---- statements ---- */

/* A place that is known to be none is never reached, but GLSL refuses it. */
static const char *index_text(lap_shader *e, lap_ref ref)
{
    const lap_node *n = lap_node_at(e->g, ref);
    bool is_none = n->op == LAP_OP_CONST && lap_node_attr(n, LAP_ATTR_VALUE)->scalar.i < 0;
    return is_none ? "0" : lap_glsl_value(e, ref, LAP_GLSL_INT);
}

void lap_glsl_emit_load(lap_shader *e, lap_ref ref, const lap_node *n)
{
    lap_glsl_type own = e->type[ref.ix];
    const char *index = index_text(e, n->args[1]);
    const char *v = lap_glsl_element(e, n->args[0], index);
    v = lap_glsl_convert(e, v, lap_glsl_stored_as(lap_glsl_buffer_elem(e, n->args[0])), own);
    const char *type = lap_glsl_type_text(own);
    if (n->n_args < 3 || !lap_ref_some(n->args[2])) {
        lap_glsl_line(e, "%s v%u = %s;", type, ref.ix, v);
        return;
    }
    lap_glsl_line(e, "%s v%u = %s(0);", type, ref.ix, type);
    lap_glsl_line(e, "if (%s) v%u = %s;", lap_glsl_value(e, n->args[2], LAP_GLSL_BOOL), ref.ix, v);
}

/* Outside lanes the first invocation alone stores. */
void lap_glsl_emit_store(lap_shader *e, const lap_node *n)
{
    const char *cond = NULL;
    if (n->n_args > 3 && lap_ref_some(n->args[3])) {
        cond = lap_glsl_value(e, n->args[3], LAP_GLSL_BOOL);
    }
    if (!e->in_lanes) {
        cond = cond ? lap_glsl_print(e, "lane == 0 && %s", cond) : "lane == 0";
    }
    lap_dtype elem = lap_glsl_buffer_elem(e, n->args[0]);
    lap_glsl_type from = stores_from(elem, e->type[n->args[2].ix]);
    if (cond) {
        lap_glsl_open(e, "if (%s) ", cond);
    }
    put_element(e, n->args[0], index_text(e, n->args[1]), from, lap_glsl_value(e, n->args[2], from));
    if (cond) {
        lap_glsl_close(e, "");
    }
}

/* ---- declarations ---- */

static void declare_operand(lap_shader *e, uint32_t i, const char *type, uint32_t *binding)
{
    const char *access = e->is_stored[i] ? "" : "readonly ";
    if (e->by_address) {
        lap_glsl_line(
            e, "layout(buffer_reference, std430, buffer_reference_align = 4) %sbuffer R%u { %s at[]; };",
            access, i, type);
        uint32_t word = LAP_SHADER_FIRST_PARAM + e->params.n + 2 * i;
        lap_glsl_line(e, "R%u g%u = R%u(uvec2(%s, %s));", i, i, i, lap_glsl_word(e, word),
                      lap_glsl_word(e, word + 1));
    } else {
        lap_glsl_line(e, "layout(set = 0, binding = %u, std430) %srestrict buffer G%u { %s g%u[]; };",
                      *binding, access, i, type, i);
        *binding += 1;
    }
}

void lap_glsl_declare(lap_shader *e)
{
    uint32_t binding = LAP_VK_FIRST_BUFFER;
    for (uint32_t i = 0; i < e->n_globals + e->n_scratch; i++) {
        if (!lap_ref_some(e->buffers[i])) {
            binding += i < e->n_globals && !e->by_address; /* an operand that the kernel does not touch */
            continue;
        }
        const char *type = array_type(e, lap_glsl_buffer_elem(e, e->buffers[i]), e->is_shared[i]);
        if (i < e->n_globals) {
            declare_operand(e, i, type, &binding);
        } else if (!e->is_shared[i]) {
            uint32_t s = i - e->n_globals;
            lap_glsl_line(e, "layout(set = 0, binding = %u, std430) restrict buffer S%u { %s s%u[]; };",
                          binding++, s, type, s);
        } else {
            int64_t count = 0;
            lap_dim_is_const(e->ctx, lap_attr_dim(lap_node_at(e->g, e->buffers[i]), LAP_ATTR_COUNT), &count);
            lap_glsl_line(e, "shared %s s%u[%lld];", type, i - e->n_globals,
                          (long long)(count > 0 ? count : 1));
        }
    }
    if (e->resumes) {
        lap_glsl_line(e, "layout(set = 0, binding = %u, std430) restrict buffer State { uint state[]; };",
                      binding);
    }
}
