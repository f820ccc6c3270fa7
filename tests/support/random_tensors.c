/* SPDX-License-Identifier: Apache-2.0
 * random_tensors.c - tensors for the leaves of a random graph, from nothing but their names. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/random_graph.h"
#include "tests/support/tensor_text.h"

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t hash(const char *text)
{
    uint64_t h = 14695981039346656037u;
    for (; *text; text++) {
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    }
    return h;
}

/* "N3" is 3. */
static bool symbol_value(void *user, lap_name symbol, int64_t *out)
{
    const char *text = lap_text(user, symbol);
    *out = strtoll(text + 1, NULL, 10);
    return text[0] != '\0' && text[1] >= '0' && text[1] <= '9';
}

typedef struct range {
    char form;
    double lo, hi;
} range; /* form: e, r or i */

/* What the name says; any other name means floats between -1 and 1, or small counts. */
static range range_of(const char *name, bool is_float)
{
    range r = {is_float ? 'e' : 'i', is_float ? -1 : 0, 1};
    const char *at = strchr(name, ':');
    if (!at || (is_float != (name[0] == 'x'))) {
        return r;
    }
    if (is_float) {
        r.form = at[1];
        at = strchr(at + 1, ':');
    }
    char *next;
    if (at) {
        r.lo = strtod(at + 1, &next);
        r.hi = *next == ':' ? strtod(next + 1, NULL) : r.lo;
    }
    return r;
}

static void fill(lap_tensor *t, const char *name)
{
    size_t n = 0;
    lap_tensor_count(t, &n);
    bool is_float = lap_dtype_compute(t->dtype) == LAP_F32;
    range r = range_of(name, is_float);
    for (size_t i = 0; i < n; i++) {
        uint64_t z = mix(hash(name) + (i + 1) * 0x9e3779b97f4a7c15u);
        if (!is_float) {
            lap_tensor_set_int(t, i, (int64_t)r.lo + (int64_t)(z % (uint64_t)(r.hi - r.lo + 1)));
        } else if (r.form == 'e') {
            lap_tensor_set(t, i, r.lo + (double)(z % (uint64_t)((r.hi - r.lo) * 8 + 1)) / 8);
        } else {
            lap_tensor_set(t, i, (float)(r.lo + (r.hi - r.lo) * (double)(z >> 11) * 0x1p-53));
        }
    }
}

static bool shape_of(lap_graph *g, const lap_node *leaf, int64_t *shape, uint32_t *rank)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    const lap_attr *layout = lap_node_attr(leaf, LAP_ATTR_LAYOUT);
    *rank = layout->layout.n;
    if (*rank > LAP_MAX_RANK) {
        return false;
    }
    for (uint32_t i = 0; i < *rank; i++) {
        shape[i] = 1;
        for (uint32_t k = 0; k < layout->layout.groups[i].n; k++) {
            int64_t size;
            if (!lap_dim_eval(ctx, lap_node_axis(leaf, layout->layout.groups[i].at[k])->size, symbol_value,
                              ctx, &size) ||
                size < 0 || __builtin_mul_overflow(shape[i], size, &shape[i]) || shape[i] > 1000000) {
                return false;
            }
        }
    }
    return true;
}

bool test_random_tensors(lap_graph *g, lap_eval_io *out_inputs, lap_eval_io *out_weights)
{
    lap_arena *arena = lap_graph_ctx(g)->arena;
    uint32_t n = lap_graph_n_nodes(g);
    lap_eval_io *const to[] = {out_inputs, out_weights};
    for (int k = 0; k < 2; k++) {
        lap_op op = k == 0 ? LAP_OP_INPUT : LAP_OP_WEIGHT;
        const char **names = lap_arena_array(arena, n + 1, sizeof *names);
        lap_tensor *tensors = lap_arena_array(arena, n + 1, sizeof *tensors);
        uint32_t count = 0;
        for (uint32_t i = 1; i <= n; i++) {
            const lap_node *leaf = lap_node_at(g, (lap_ref){i});
            int64_t shape[LAP_MAX_RANK];
            uint32_t rank;
            if (leaf->op != op) {
                continue;
            }
            if (!shape_of(g, leaf, shape, &rank)) {
                return false;
            }
            names[count] = lap_text(lap_graph_ctx(g), lap_attr_name(leaf, LAP_ATTR_NAME));
            tensors[count] = test_tensor_new(arena, leaf->dtype, rank, shape);
            fill(&tensors[count], names[count]);
            count++;
        }
        *to[k] = (lap_eval_io){count, names, tensors};
    }
    return true;
}

bool test_results_close(lap_arena *arena, const lap_eval_result *got, const lap_eval_result *want,
                        const char **out_why)
{
    if (got->n != want->n) {
        *out_why = lap_arena_printf(arena, "%u outputs, expected %u", got->n, want->n);
        return false;
    }
    for (uint32_t i = 0; i < want->n; i++) {
        const char *why = NULL;
        if (strcmp(got->names[i], want->names[i]) != 0 ||
            !test_tensor_close(arena, &got->tensors[i], &want->tensors[i], TEST_RANDOM_RTOL, TEST_RANDOM_ATOL,
                               &why)) {
            *out_why = lap_arena_printf(arena, "output %s: %s", want->names[i], why ? why : "another name");
            return false;
        }
    }
    return true;
}
