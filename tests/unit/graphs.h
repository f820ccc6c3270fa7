/* SPDX-License-Identifier: Apache-2.0
 * graphs.h - short ways to make graphs in tests. */
#ifndef LAP_TESTS_UNIT_GRAPHS_H
#define LAP_TESTS_UNIT_GRAPHS_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <string.h>

#include "ir/infer.h"

static inline int make_graph(void **state)
{
    lap_ctx *ctx = lap_ctx_new(0);
    lap_graph *g = lap_graph_new(ctx, "test", LAP_LEVEL_GRAPH);
    lap_set_loc(g, lap_loc_make(ctx, "model.lua", 7, (lap_loc){0}));
    *state = g;
    return 0;
}

static inline int free_graph(void **state)
{
    lap_ctx_free(lap_graph_ctx(*state));
    return 0;
}

static inline lap_dim dim_of(lap_graph *g, const char *text)
{
    lap_dim d;
    const char *why = NULL;
    assert_true(lap_dim_parse(lap_graph_ctx(g), text, strlen(text), &d, &why));
    return d;
}

static inline lap_name name_of(lap_graph *g, const char *text) { return lap_intern(lap_graph_ctx(g), text); }

static inline lap_names names_of(lap_graph *g, const char *words)
{
    return lap_names_of(lap_graph_ctx(g), words);
}

/* The axes of "b=2 n=N". */
static inline lap_type type_of(lap_graph *g, lap_dtype dtype, const char *text)
{
    lap_axis *axes = lap_arena_array(lap_graph_ctx(g)->arena, 16, sizeof *axes);
    lap_type t = {dtype, 0, axes};
    for (const char *at = text + strspn(text, " "); *at; at += strspn(at, " ")) {
        size_t word = strcspn(at, " "), name = strcspn(at, "=");
        const char *why = NULL;
        lap_axis *a = &axes[t.n_axes++];
        a->name = lap_intern_n(lap_graph_ctx(g), at, name);
        assert_true(lap_dim_parse(lap_graph_ctx(g), at + name + 1, word - name - 1, &a->size, &why));
        at += word;
    }
    return t;
}

static inline lap_axis axis_of(lap_graph *g, const char *text) { return type_of(g, LAP_I64, text).axes[0]; }

static inline lap_ref leaf_of(lap_graph *g, lap_op op, const char *name, lap_dtype dtype, const char *axes)
{
    lap_type t = type_of(g, dtype, axes);
    lap_names *groups = lap_arena_array(lap_graph_ctx(g)->arena, 16, sizeof *groups);
    for (uint32_t i = 0; i < t.n_axes; i++) {
        groups[i] = (lap_names){1, &t.axes[i].name};
    }
    const lap_attr attrs[] = {
        lap_attr_make_name(LAP_ATTR_NAME, name_of(g, name)),
        lap_attr_make_layout(LAP_ATTR_LAYOUT, (lap_layout){t.n_axes, groups}),
    };
    return lap_emit(g, &(lap_emit_args){.op = op, .n_attrs = 2, .attrs = attrs, .type = &t});
}

static inline lap_ref input_of(lap_graph *g, const char *name, lap_dtype dtype, const char *axes)
{
    return leaf_of(g, LAP_OP_INPUT, name, dtype, axes);
}

static inline void output_of(lap_graph *g, const char *name, lap_ref value)
{
    lap_graph_add_output(g, &(lap_output){.name = name_of(g, name), .value = value});
}

static inline const char *shown(lap_graph *g, lap_ref x)
{
    assert_true(lap_ref_some(x));
    return lap_type_show(lap_graph_ctx(g), lap_node_at(g, x));
}

#define assert_same(a, b) assert_int_equal((a).ix, (b).ix)

/* The operation failed, and its only message has these words. */
static inline void assert_refused(lap_graph *g, lap_ref x, const char *words)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    assert_false(lap_ref_some(x));
    assert_int_equal(lap_error_count(ctx), 1);
    if (!strstr(lap_error_text(ctx, 0), words)) {
        fail_msg("expected '%s' in '%s'", words, lap_error_text(ctx, 0));
    }
    lap_errors_clear(ctx);
}

#endif
