/* SPDX-License-Identifier: Apache-2.0
 * test_dim.c - extents against their values: known identities, and random expressions at random points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/dim.h"
#include "runtime/program.h"

enum { N_SYMBOLS = 3 };

static const char *const names[N_SYMBOLS] = {"H", "W", "s"};

typedef struct point {
    lap_ctx *ctx;
    int64_t at[N_SYMBOLS];
} point;

static bool value_at(void *user, lap_name symbol, int64_t *out)
{
    const point *p = user;
    for (int i = 0; i < N_SYMBOLS; i++) {
        if (!strcmp(lap_text(p->ctx, symbol), names[i])) {
            *out = p->at[i];
            return true;
        }
    }
    return false;
}

static lap_dim read(lap_ctx *ctx, const char *text)
{
    lap_dim d = {0};
    const char *error = NULL;
    if (!lap_dim_parse(ctx, text, strlen(text), &d, &error)) {
        fail_msg("'%s': %s", text, error);
    }
    return d;
}

static void assert_shows(lap_ctx *ctx, const char *text, const char *shown)
{
    lap_dim d = read(ctx, text);
    assert_string_equal(lap_dim_show(ctx, d), shown);
    assert_int_equal(read(ctx, shown).ix, d.ix);
}

static void identities(void **state)
{
    (void)state;
    static const char *const equal[][2] = {
        {"H+W-H", "W"},
        {"(H+W)*(H-W)", "H*H-W*W"},
        {"H/7*7", "H"},
        {"(6*H+4)//2", "3*H+2"},
        {"(H//2)//3", "H//6"},
        {"(2*H+1)//4", "H//2"},
        {"(W*H+0)//W", "H"},
        {"H//2*2+H%2", "H"},
        {"(H%8)%8", "H%8"},
        {"(8*H+W%8)//8", "H"},
        {"(8*H+W%8)%8", "W%8"},
        {"min(H,H+1)", "H"},
        {"max(H,0)", "H"},
        {"min(H,max(H,W))", "H"},
        {"max(min(H,W),W)", "W"},
        {"(H*W*s)/W", "H*s"},
        {"(H*H-W*W)/(H-W)", "H+W"},
        {"H/s*s", "H"},
        {"(H/s+1)*s", "H+s"},
        {"(H//s)//1", "H//s"},
        {"H//-2", "(-H)//2"},
        {"trunc(1.5*5)", "7"},
        {"-7//2", "-4"},
        {"7%-2", "-1"},
        {"H//0", "0"},
        {"(s*H+s-1)//s", "H+(s-1)//s"},
        {"(H+H%4+5)//8", "(H+H%4+13)//8-1"},
        {"H//W//1", "H//W"},
        {"(2*H)//(2*W)", "H//W"},
        {"H/2//3", "H//6"},
        {"(H//4*4)//2", "H//4*2"},
    };
    lap_ctx *ctx = lap_ctx_new(0);
    for (size_t i = 0; i < sizeof equal / sizeof *equal; i++) {
        lap_dim a = read(ctx, equal[i][0]), b = read(ctx, equal[i][1]);
        if (a.ix != b.ix) {
            fail_msg("%s is %s, but %s is %s", equal[i][0], lap_dim_show(ctx, a), equal[i][1],
                     lap_dim_show(ctx, b));
        }
    }
    lap_ctx_free(ctx);
}

static void text(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    assert_shows(ctx, "1+2*H//s", "(2*H)//s+1");
    assert_shows(ctx, "H/2+W/3", "(3*H+2*W)/6");
    assert_shows(ctx, "-(H//s)", "-(H//s)");
    assert_shows(ctx, "H-H", "0");
    assert_shows(ctx, "3-5", "-2");
    assert_shows(ctx, "x.1*_y", "_y*x.1");
    assert_shows(ctx, "trunc(0.1*(H+1))", "trunc(0.10000000000000001*(H+1))");
    assert_shows(ctx, "min(W,H)*max(3,s)", "min(H,W)*max(s,3)");
    assert_shows(ctx, "H/W", "H/W");
    assert_shows(ctx, "9223372036854775807*H*2", "overflow()");
    assert_shows(ctx, "9223372036854775807+1", "overflow()");
    lap_ctx_free(ctx);
}

static void bad_text(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",        "+",        "H+",         "(H",          "H)",  "min(H)",
        "max(1,2", "trunc(H)", "trunc(0.5*", "5/2",         "H/0", "99999999999999999999",
        "H W",     "#",        "trunc(e*H)", "overflow(1)", "2**H"};
    lap_ctx *ctx = lap_ctx_new(0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lap_dim d;
        const char *error = NULL;
        if (lap_dim_parse(ctx, bad[i], strlen(bad[i]), &d, &error)) {
            fail_msg("'%s' was read as %s", bad[i], lap_dim_show(ctx, d));
        }
        assert_non_null(error);
    }
    char deep[4001];
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    lap_dim d;
    const char *error;
    assert_false(lap_dim_parse(ctx, deep, sizeof deep - 1, &d, &error));
    lap_ctx_free(ctx);
}

static void comparisons(void **state)
{
    (void)state;
    static const struct {
        const char *a;
        lap_rel rel;
        const char *b;
        lap_truth truth;
    } rows[] = {
        {"H", LAP_REL_GE, "0", LAP_YES},
        {"H+1", LAP_REL_GT, "H", LAP_YES},
        {"H", LAP_REL_LT, "0", LAP_NO},
        {"H%4", LAP_REL_LT, "4", LAP_YES},
        {"H%4", LAP_REL_LE, "2", LAP_UNKNOWN},
        {"H//2", LAP_REL_LE, "H", LAP_YES},
        {"H", LAP_REL_EQ, "W", LAP_UNKNOWN},
        {"H", LAP_REL_NE, "H+1", LAP_YES},
        {"max(H,W)", LAP_REL_GE, "W", LAP_YES},
        {"min(H,W)", LAP_REL_LE, "H+3", LAP_YES},
        {"H%s", LAP_REL_LT, "s", LAP_YES},
        {"H*W+1", LAP_REL_EQ, "0", LAP_NO},
        {"H//2*2", LAP_REL_GE, "H-1", LAP_YES},
        {"trunc(0.5*H)", LAP_REL_GE, "0", LAP_YES},
        {"overflow()", LAP_REL_EQ, "overflow()", LAP_UNKNOWN},
    };
    lap_ctx *ctx = lap_ctx_new(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lap_truth truth = lap_dim_compare(ctx, read(ctx, rows[i].a), rows[i].rel, read(ctx, rows[i].b));
        if (truth != rows[i].truth) {
            fail_msg("%s against %s (%d): %d", rows[i].a, rows[i].b, (int)rows[i].rel, (int)truth);
        }
    }
    lap_ctx_free(ctx);
}

/* ---- random expressions ---- */

static uint64_t random_state;

static uint32_t pick(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % n;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return b == 0 ? 0 : a / b - (a % b != 0 && (a < 0) != (b < 0));
}

typedef struct both {
    lap_dim d;
    int64_t value;
} both;

/* The same expression as an extent and, by plain arithmetic, as its value at the point. */
static both random_dim(lap_ctx *ctx, const point *p, int depth)
{
    if (depth == 0 || pick(6) == 0) {
        uint32_t i = pick(N_SYMBOLS + 2);
        if (i < N_SYMBOLS) {
            return (both){lap_dim_symbol(ctx, lap_intern(ctx, names[i])), p->at[i]};
        }
        int64_t c = (int64_t)pick(13) - 4;
        return (both){lap_dim_const(ctx, c), c};
    }
    both a = random_dim(ctx, p, depth - 1), b = random_dim(ctx, p, depth - 1);
    switch (pick(9)) {
    case 0:
        return (both){lap_dim_add(ctx, a.d, b.d), a.value + b.value};
    case 1:
        return (both){lap_dim_sub(ctx, a.d, b.d), a.value - b.value};
    case 2:
        return (both){lap_dim_mul(ctx, a.d, b.d), a.value * b.value};
    case 3:
        return (both){lap_dim_min(ctx, a.d, b.d), a.value < b.value ? a.value : b.value};
    case 4:
        return (both){lap_dim_max(ctx, a.d, b.d), a.value > b.value ? a.value : b.value};
    case 5: {
        uint32_t i = pick(N_SYMBOLS);
        both s = {lap_dim_symbol(ctx, lap_intern(ctx, names[i])), p->at[i]};
        return pick(2) ? (both){lap_dim_floordiv(ctx, a.d, s.d), floor_div(a.value, s.value)}
                       : (both){lap_dim_mod(ctx, a.d, s.d), a.value - floor_div(a.value, s.value) * s.value};
    }
    case 6: {
        both product = {lap_dim_mul(ctx, a.d, b.d), a.value * b.value};
        both out = {{0}, 0};
        if (b.value == 0 || !lap_dim_div(ctx, product.d, b.d, &out.d)) {
            return product;
        }
        out.value = a.value;
        return out;
    }
    default: {
        int64_t k = (int64_t)pick(9) - 2;
        lap_dim c = lap_dim_const(ctx, k);
        return pick(2) ? (both){lap_dim_floordiv(ctx, a.d, c), floor_div(a.value, k)}
                       : (both){lap_dim_mod(ctx, a.d, c), a.value - floor_div(a.value, k) * k};
    }
    }
}

typedef struct code {
    int64_t at[1 << 15];
    size_t n;
} code;

static uint32_t number_of(void *user, lap_name symbol)
{
    const point *p = ((void **)user)[0];
    for (uint32_t i = 0; i < N_SYMBOLS; i++) {
        if (!strcmp(lap_text(p->ctx, symbol), names[i])) {
            return i;
        }
    }
    fail_msg("unknown symbol");
    return 0;
}

static void put_word(void *user, int64_t word)
{
    code *c = ((void **)user)[1];
    assert_true(c->n < sizeof c->at / sizeof *c->at);
    c->at[c->n++] = word;
}

static int64_t run_code(const code *c, const point *p)
{
    int64_t stack[256];
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        lap_dim_op op = (lap_dim_op)c->at[i];
        assert_true(n < 255);
        if (op == LAP_DIM_CONST || op == LAP_DIM_SYMBOL) {
            i++;
            stack[n++] = op == LAP_DIM_CONST ? c->at[i] : p->at[c->at[i]];
            continue;
        }
        assert_true(n >= 2);
        int64_t b = stack[--n], a = stack[n - 1];
        switch (op) {
        case LAP_DIM_ADD:
            a += b;
            break;
        case LAP_DIM_SUB:
            a -= b;
            break;
        case LAP_DIM_MUL:
            a *= b;
            break;
        case LAP_DIM_EXACT:
            assert_int_equal(a % b, 0);
            a /= b;
            break;
        case LAP_DIM_FLOOR:
            a = floor_div(a, b);
            break;
        case LAP_DIM_MIN:
            a = a < b ? a : b;
            break;
        case LAP_DIM_MAX:
            a = a > b ? a : b;
            break;
        default:
            fail_msg("unexpected code %d", (int)op);
        }
        stack[n - 1] = a;
    }
    assert_int_equal(n, 1);
    return stack[0];
}

static void check_value(lap_ctx *ctx, const point *p, both e, unsigned seed)
{
    int64_t got = 0, lo, hi;
    if (!lap_dim_eval(ctx, e.d, value_at, (void *)p, &got) || got != e.value) {
        fail_msg("seed %u: %s is %lld, expected %lld (H=%lld W=%lld s=%lld)", seed, lap_dim_show(ctx, e.d),
                 (long long)got, (long long)e.value, (long long)p->at[0], (long long)p->at[1],
                 (long long)p->at[2]);
    }
    if ((lap_dim_lower(ctx, e.d, &lo) && lo > e.value) || (lap_dim_upper(ctx, e.d, &hi) && hi < e.value)) {
        fail_msg("seed %u: %s has wrong bounds for %lld", seed, lap_dim_show(ctx, e.d), (long long)e.value);
    }
    code c = {.n = 0};
    lap_dim_encode(ctx, e.d, number_of, put_word, (void *[]){(void *)p, &c});
    assert_int_equal(run_code(&c, p), e.value);
}

static void check_text(lap_ctx *ctx, lap_ctx *other, lap_dim d, unsigned seed)
{
    const char *shown = lap_dim_show(ctx, d);
    if (read(ctx, shown).ix != d.ix) {
        fail_msg("seed %u: %s comes back as %s", seed, shown, lap_dim_show(ctx, read(ctx, shown)));
    }
    const char *again = lap_dim_show(other, read(other, shown));
    if (strcmp(again, shown) != 0) {
        fail_msg("seed %u: %s is %s in a new context", seed, shown, again);
    }
}

static void check_relations(lap_ctx *ctx, both a, both b, unsigned seed)
{
    for (int rel = LAP_REL_EQ; rel <= LAP_REL_GE; rel++) {
        bool holds[] = {a.value == b.value, a.value != b.value,
                        a.value<b.value, a.value <= b.value, a.value> b.value, a.value >= b.value};
        lap_truth truth = lap_dim_compare(ctx, a.d, (lap_rel)rel, b.d);
        if (truth != LAP_UNKNOWN && (truth == LAP_YES) != holds[rel]) {
            fail_msg("seed %u: %s and %s, relation %d", seed, lap_dim_show(ctx, a.d), lap_dim_show(ctx, b.d),
                     rel);
        }
    }
}

static void random_expressions(void **state)
{
    (void)state;
    const char *given = getenv("LAP_SEED");
    unsigned first = given ? (unsigned)atoi(given) : 1, n = given ? 1 : 1500;
    for (unsigned seed = first; seed < first + n; seed++) {
        random_state = seed * 0x9e3779b97f4a7c15u;
        lap_ctx *ctx = lap_ctx_new(0), *other = lap_ctx_new(0);
        point p = {ctx, {0}};
        for (int i = 0; i < N_SYMBOLS; i++) {
            p.at[i] = 1 + pick(9); /* divisors are taken to be positive */
        }
        both a = random_dim(ctx, &p, 3), b = random_dim(ctx, &p, 3);
        if (strstr(lap_dim_show(ctx, a.d), "overflow") || strstr(lap_dim_show(ctx, b.d), "overflow")) {
            fail_msg("seed %u: small numbers overflow", seed);
        }
        check_value(ctx, &p, a, seed);
        check_value(ctx, &p, b, seed);
        check_text(ctx, other, a.d, seed);
        check_relations(ctx, a, b, seed);
        lap_ctx_free(other);
        lap_ctx_free(ctx);
    }
}

static void hostile_growth(void **state)
{
    (void)state;
    lap_ctx *ctx = lap_ctx_new(0);
    lap_dim d = read(ctx, "H+W+s+a+b+c+1"), square = d, nest = d;
    for (int i = 0; i < 100; i++) {
        square = lap_dim_mul(ctx, square, square);
        nest = lap_dim_min(ctx, lap_dim_floordiv(ctx, lap_dim_mul(ctx, nest, nest), d),
                           lap_dim_add(ctx, nest, d));
    }
    assert_string_equal(lap_dim_show(ctx, square), "overflow()");
    assert_true(strlen(lap_dim_show(ctx, nest)) < 100000);
    lap_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identities),         cmocka_unit_test(text),
        cmocka_unit_test(bad_text),           cmocka_unit_test(comparisons),
        cmocka_unit_test(random_expressions), cmocka_unit_test(hostile_growth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
