/* SPDX-License-Identifier: Apache-2.0
 * type.c - the tables behind scalar functions and small enums. */
#include "ir/type.h"

#include <string.h>

#include "ir/base/ctx.h"

typedef enum result_rule {
    RULE_FLOAT,
    RULE_KEEP,
    RULE_BOOL,
    RULE_INT,
    RULE_ARG2,
    RULE_F16,
    RULE_BF16,
    RULE_I32,
    RULE_I8,
    RULE_I4
} result_rule;

typedef struct fn_row {
    const char *text;
    unsigned arity, cost;
    result_rule rule;
} fn_row;

static const fn_row fns[] = {
#define LAP_FN(enum_, text, arity, result, cost, doc) {#text, arity, cost, RULE_##result},
#include "ir/fns.def"
#undef LAP_FN
};

const char *lap_fn_text(lap_fn fn)
{
    LAP_ENSURE((unsigned)fn < LAP_N_FNS);
    return fns[fn].text;
}

unsigned lap_fn_arity(lap_fn fn)
{
    LAP_ENSURE((unsigned)fn < LAP_N_FNS);
    return fns[fn].arity;
}

unsigned lap_fn_cost(lap_fn fn)
{
    LAP_ENSURE((unsigned)fn < LAP_N_FNS);
    return fns[fn].cost;
}

bool lap_fn_find(const char *text, size_t n, lap_fn *out)
{
    for (unsigned i = 0; i < LAP_N_FNS; i++) {
        if (strlen(fns[i].text) == n && memcmp(fns[i].text, text, n) == 0) {
            *out = (lap_fn)i;
            return true;
        }
    }
    return false;
}

static lap_dtype keep(unsigned arity, const lap_dtype *operands)
{
    for (unsigned i = 0; i < arity; i++) {
        if (lap_dtype_compute(operands[i]) == LAP_F32) {
            return LAP_F32;
        }
    }
    return LAP_I64;
}

static lap_dtype common(lap_dtype a, lap_dtype b)
{
    a = lap_dtype_compute(a);
    return a == lap_dtype_compute(b) ? a : LAP_F32;
}

lap_dtype lap_fn_type(lap_fn fn, const lap_dtype *operands)
{
    LAP_ENSURE((unsigned)fn < LAP_N_FNS);
    switch (fns[fn].rule) {
    case RULE_FLOAT:
        return LAP_F32;
    case RULE_KEEP:
        return keep(fns[fn].arity, operands);
    case RULE_BOOL:
        return LAP_BOOL;
    case RULE_INT:
        return LAP_I64;
    case RULE_ARG2:
        return common(operands[1], operands[2]);
    case RULE_F16:
        return LAP_F16;
    case RULE_BF16:
        return LAP_BF16;
    case RULE_I32:
        return LAP_I32;
    case RULE_I8:
        return LAP_I8;
    case RULE_I4:
        return LAP_I4;
    }
    LAP_BUG("function %u has no result rule", (unsigned)fn);
}

static const char *row(const char *const *table, size_t n, unsigned i)
{
    LAP_ENSURE(i < n);
    return table[i];
}

const char *lap_red_text(lap_red r)
{
    static const char *const texts[LAP_N_REDS] = {"sum", "max", "min",    "prod",
                                                  "any", "all", "argmax", "argmin"};
    return row(texts, LAP_N_REDS, r);
}

const char *lap_mode_text(lap_mode m)
{
    static const char *const texts[LAP_N_MODES] = {"set", "add", "max"};
    return row(texts, LAP_N_MODES, m);
}

const char *lap_norm_text(lap_norm n)
{
    static const char *const texts[LAP_N_NORMS] = {"softmax", "sum", "none"};
    return row(texts, LAP_N_NORMS, n);
}

const char *lap_loop_text(lap_loop_kind k)
{
    static const char *const texts[LAP_N_LOOPS] = {"grid", "serial", "vector", "unroll"};
    return row(texts, LAP_N_LOOPS, k);
}

const char *lap_space_text(lap_space s)
{
    static const char *const texts[LAP_N_SPACES] = {"global", "scratch"};
    return row(texts, LAP_N_SPACES, s);
}
