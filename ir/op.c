/* SPDX-License-Identifier: Apache-2.0
 * op.c - the tables of operations and attributes, read from ops.def and attrs.def. */
#include "ir/graph.h"

#include <string.h>

enum { GRAPH = LAP_LEVEL_GRAPH, KERNEL = LAP_LEVEL_KERNEL, BOTH = LAP_LEVEL_BOTH };
enum {
    PURE = LAP_TRAIT_PURE,
    LEAF = LAP_TRAIT_LEAF,
    MULTI = LAP_TRAIT_MULTI,
    EFFECT = LAP_TRAIT_EFFECT,
    ROOT = LAP_TRAIT_ROOT
};

typedef struct op_row {
    const char *text;
    unsigned level;
    int min_args, max_args;
    unsigned n_regions, traits;
    const char *attrs, *doc;
} op_row;

static const op_row ops[LAP_N_OPS] = {
    [LAP_OP_NONE] = {.text = "none", .attrs = "", .doc = "no operation"},
#define LAP_OP(enum_, text, level, min, max, regions, traits, attrs, doc)                                    \
    [LAP_OP_##enum_] = {#text, level, min, max, regions, traits, attrs, doc},
#include "ir/ops.def"
#undef LAP_OP
};

typedef struct attr_row {
    const char *text;
    lap_attr_kind kind;
} attr_row;

static const attr_row attrs[LAP_N_ATTRS] = {
#define LAP_ATTR(enum_, text, kind, doc) [LAP_ATTR_##enum_] = {#text, LAP_KIND_##kind},
#include "ir/attrs.def"
#undef LAP_ATTR
};

static const op_row *row(lap_op op)
{
    if ((unsigned)op >= LAP_N_OPS) {
        LAP_BUG("no operation %u", (unsigned)op);
    }
    return &ops[op];
}

const char *lap_op_text(lap_op op) { return row(op)->text; }

const char *lap_op_doc(lap_op op) { return row(op)->doc; }

unsigned lap_op_level(lap_op op) { return row(op)->level; }

unsigned lap_op_traits(lap_op op) { return row(op)->traits; }

int lap_op_min_args(lap_op op) { return row(op)->min_args; }

int lap_op_max_args(lap_op op) { return row(op)->max_args; }

unsigned lap_op_regions(lap_op op) { return row(op)->n_regions; }

static bool spells(const char *word, const char *text, size_t n)
{
    return strlen(word) == n && memcmp(word, text, n) == 0;
}

bool lap_op_find(const char *text, size_t n, lap_op *out)
{
    for (unsigned i = 1; i < LAP_N_OPS; i++) {
        if (spells(ops[i].text, text, n)) {
            *out = (lap_op)i;
            return true;
        }
    }
    return false;
}

bool lap_op_takes(lap_op op, lap_attr_key key, bool *out_required)
{
    const char *want = lap_attr_text(key);
    size_t n = strlen(want);
    for (const char *at = row(op)->attrs; *at;) {
        size_t length = strcspn(at, " ");
        bool required = length == 0 || at[length - 1] != '?';
        if ((required ? length : length - 1) == n && memcmp(at, want, n) == 0) {
            if (out_required) {
                *out_required = required;
            }
            return true;
        }
        at += length;
        at += strspn(at, " ");
    }
    return false;
}

static bool has_attr(uint32_t n, const lap_attr *attrs_of, const char *word, size_t length)
{
    for (uint32_t i = 0; i < n; i++) {
        if (spells(lap_attr_text(attrs_of[i].key), word, length)) {
            return true;
        }
    }
    return false;
}

const char *lap_op_lacks(lap_op op, uint32_t n, const lap_attr *attrs_of, size_t *out_length)
{
    for (const char *at = row(op)->attrs; *at;) {
        size_t length = strcspn(at, " ");
        if (length > 0 && at[length - 1] != '?' && !has_attr(n, attrs_of, at, length)) {
            *out_length = length;
            return at;
        }
        at += length;
        at += *at == ' ';
    }
    return NULL;
}

const char *lap_attr_text(lap_attr_key key)
{
    if ((unsigned)key >= LAP_N_ATTRS) {
        LAP_BUG("no attribute %u", (unsigned)key);
    }
    return attrs[key].text;
}

lap_attr_kind lap_attr_kind_of(lap_attr_key key)
{
    if ((unsigned)key >= LAP_N_ATTRS) {
        LAP_BUG("no attribute %u", (unsigned)key);
    }
    return attrs[key].kind;
}

bool lap_attr_find(const char *text, size_t n, lap_attr_key *out)
{
    for (unsigned i = 0; i < LAP_N_ATTRS; i++) {
        if (spells(attrs[i].text, text, n)) {
            *out = (lap_attr_key)i;
            return true;
        }
    }
    return false;
}
