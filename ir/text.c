/* SPDX-License-Identifier: Apache-2.0
 * text.c - names of the small enums and relations in the text form. */
#include "ir/text.h"

#include <string.h>

static const char *fn_text(int64_t i) { return lap_fn_text((lap_fn)i); }
static const char *red_text(int64_t i) { return lap_red_text((lap_red)i); }
static const char *mode_text(int64_t i) { return lap_mode_text((lap_mode)i); }
static const char *norm_text(int64_t i) { return lap_norm_text((lap_norm)i); }
static const char *loop_text(int64_t i) { return lap_loop_text((lap_loop_kind)i); }
static const char *space_text(int64_t i) { return lap_space_text((lap_space)i); }
static const char *dtype_text(int64_t i) { return lap_dtype_text((lap_dtype)i); }

typedef struct enum_row {
    lap_attr_kind kind;
    int64_t n;
    const char *(*text)(int64_t);
} enum_row;

static const enum_row enums[] = {
    {LAP_KIND_FN, LAP_N_FNS, fn_text},          {LAP_KIND_RED, LAP_N_REDS, red_text},
    {LAP_KIND_MODE, LAP_N_MODES, mode_text},    {LAP_KIND_NORM, LAP_N_NORMS, norm_text},
    {LAP_KIND_LOOP, LAP_N_LOOPS, loop_text},    {LAP_KIND_SPACE, LAP_N_SPACES, space_text},
    {LAP_KIND_DTYPE, LAP_N_DTYPES, dtype_text},
};

static const enum_row *enum_of(lap_attr_kind kind)
{
    for (size_t i = 0; i < sizeof enums / sizeof *enums; i++) {
        if (enums[i].kind == kind) {
            return &enums[i];
        }
    }
    return NULL;
}

static bool spells(const char *word, const char *text, size_t n)
{
    return strlen(word) == n && memcmp(word, text, n) == 0;
}

bool lap_kind_is_enum(lap_attr_kind kind) { return enum_of(kind) != NULL; }

const char *lap_enum_text(lap_attr_kind kind, int64_t value)
{
    const enum_row *e = enum_of(kind);
    return e && value >= 0 && value < e->n ? e->text(value) : NULL;
}

bool lap_enum_find(lap_attr_kind kind, const char *text, size_t n, int64_t *out)
{
    const enum_row *e = enum_of(kind);
    for (int64_t i = 0; e && i < e->n; i++) {
        if (spells(e->text(i), text, n)) {
            *out = i;
            return true;
        }
    }
    return false;
}

static const char *const rels[] = {
    [LAP_REL_EQ] = "eq", [LAP_REL_NE] = "ne", [LAP_REL_LT] = "lt",
    [LAP_REL_LE] = "le", [LAP_REL_GT] = "gt", [LAP_REL_GE] = "ge",
};

const char *lap_rel_text(lap_rel rel) { return rels[rel]; }

bool lap_rel_find(const char *text, size_t n, lap_rel *out)
{
    for (size_t i = 0; i < sizeof rels / sizeof *rels; i++) {
        if (spells(rels[i], text, n)) {
            *out = (lap_rel)i;
            return true;
        }
    }
    return false;
}

bool lap_text_is_word(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '.'))) {
            return false;
        }
    }
    return n > 0;
}

bool lap_op_is_typed(lap_op op)
{
    static const bool typed[LAP_N_OPS] = {
        [LAP_OP_INPUT] = true, [LAP_OP_WEIGHT] = true,  [LAP_OP_FULL] = true,   [LAP_OP_INDEX] = true,
        [LAP_OP_PARAM] = true, [LAP_OP_FOREIGN] = true, [LAP_OP_RENAME] = true, [LAP_OP_RESULT] = true,
    };
    return (unsigned)op < LAP_N_OPS && typed[op];
}
