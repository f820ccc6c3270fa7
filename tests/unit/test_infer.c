/* SPDX-License-Identifier: Apache-2.0
 * test_infer.c - type rules: axes, element types, extents, and what mistakes are told. */
#include <stdio.h>

#include "tests/unit/graphs.h"

static void test_map_union(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "b=2 n=N"), y = input_of(g, "y", LAP_F32, "n=N d=64");
    assert_string_equal(shown(g, lap_map2(g, LAP_FN_MUL, x, y)), "f32[b=2 n=N d=64]");
    assert_string_equal(shown(g, lap_map2(g, LAP_FN_LT, x, y)), "bool[b=2 n=N d=64]");
    lap_ref i = input_of(g, "i", LAP_I32, "n=N"), h = input_of(g, "h", LAP_BF16, "n=N");
    assert_string_equal(shown(g, lap_map2(g, LAP_FN_ADD, i, i)), "i64[n=N]");
    assert_string_equal(shown(g, lap_map2(g, LAP_FN_ADD, i, h)), "f32[n=N]");
    assert_string_equal(shown(g, lap_map2(g, LAP_FN_DIV, i, i)), "f32[n=N]");
}

static void test_sizes_differ(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=12"), y = input_of(g, "y", LAP_F32, "n=13"),
            z = input_of(g, "z", LAP_F32, "n=M");
    assert_refused(g, lap_map2(g, LAP_FN_MUL, x, y), "model.lua:7: error: axis 'n' is 12 here and 13 there");
    assert_false(lap_ref_some(lap_map2(g, LAP_FN_MUL, x, y)));
    assert_non_null(
        strstr(lap_error_text(lap_graph_ctx(g), 0), "hint: rename one of them with :as('n -> ...')"));
    lap_errors_clear(lap_graph_ctx(g));
    assert_true(lap_ref_some(lap_map2(g, LAP_FN_MUL, x, z)));
    assert_int_equal(lap_graph_n_checks(g), 1);
    assert_string_equal(lap_graph_check(g, 0)->message, "axis 'n' is 12 here and M there");
}

static void test_reduce(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "b=2 n=N"), m = input_of(g, "m", LAP_BOOL, "b=2 n=N");
    assert_string_equal(shown(g, lap_reduce(g, LAP_RED_SUM, x, names_of(g, "b n"))), "f32");
    assert_string_equal(shown(g, lap_reduce(g, LAP_RED_SUM, m, names_of(g, "n"))), "i64[b=2]");
    assert_string_equal(shown(g, lap_reduce(g, LAP_RED_ANY, m, names_of(g, "n"))), "bool[b=2]");
    assert_string_equal(shown(g, lap_reduce(g, LAP_RED_ARGMAX, x, names_of(g, "n"))), "i64[b=2]");
    assert_refused(g, lap_reduce(g, LAP_RED_SUM, x, names_of(g, "k")), "no axis 'k' in f32[b=2 n=N]");
    assert_refused(g, lap_reduce(g, LAP_RED_ARGMAX, x, names_of(g, "b n")),
                   "argmax acts on one axis, found 2");
    assert_refused(g, lap_reduce(g, LAP_RED_SUM, x, names_of(g, "n n")), "axis 'n' is named twice");
}

static lap_ref read_at(lap_graph *g, lap_ref x, const char *src, lap_ref index)
{
    return lap_at(g, x, names_of(g, src), &index, NULL);
}

static void test_at(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "b=2 n=N d=64"), i = input_of(g, "i", LAP_I64, "b=2 q=5 r=3");
    assert_string_equal(shown(g, read_at(g, x, "n", i)), "f32[b=2 q=5 r=3 d=64]");
    assert_refused(g, read_at(g, x, "m", i), "no axis 'm' in f32[b=2 n=N d=64]");
    assert_refused(g, read_at(g, x, "n", input_of(g, "f", LAP_F32, "q=5")),
                   "the index of axis 'n' is f32[q=5], expected integers");
    /* An index over an axis that the value has aligns with it. */
    assert_string_equal(shown(g, read_at(g, x, "n", input_of(g, "j", LAP_I64, "d=64"))), "f32[b=2 d=64]");
    lap_scalar half = lap_scalar_f(0.5);
    lap_ref whole = input_of(g, "w", LAP_I64, "n=N");
    assert_refused(g, lap_at(g, whole, names_of(g, "n"), &i, &half),
                   "the fill is 0.5, but the values are i64");
}

/* i ends at len[p]; read at p = route[q r], it ends at len[route]. */
static void test_at_reindexes_counts(void **state)
{
    lap_graph *g = *state;
    lap_ref len = input_of(g, "len", LAP_I64, "p=P"), x = input_of(g, "x", LAP_F32, "p=P i=16");
    lap_ref ragged = lap_ragged(g, x, name_of(g, "i"), len);
    assert_string_equal(shown(g, ragged), "f32[p=P i=16?]");
    lap_ref route = input_of(g, "route", LAP_I64, "q=5 r=3");
    lap_ref read = read_at(g, ragged, "p", route);
    assert_string_equal(shown(g, read), "f32[q=5 r=3 i=16?]");
    lap_ref count = lap_node_axis(lap_node_at(g, read), name_of(g, "i"))->count;
    assert_same(count, read_at(g, len, "p", route));
    /* Two reads at the same places share their extents, so they align. */
    lap_ref y = lap_ragged(g, input_of(g, "y", LAP_F32, "p=P i=16"), name_of(g, "i"), len);
    assert_true(lap_ref_some(lap_map2(g, LAP_FN_MUL, read, read_at(g, y, "p", route))));
    lap_ref other = read_at(g, y, "p", input_of(g, "other", LAP_I64, "q=5 r=3"));
    assert_refused(g, lap_map2(g, LAP_FN_MUL, read, other), "axis 'i' has two different run-time extents");
}

/* Extents that hang on each other without end are refused, not followed. */
static void test_endless_counts(void **state)
{
    lap_graph *g = *state;
    lap_ref count = input_of(g, "len", LAP_I64, "p=P"), route = input_of(g, "route", LAP_I64, "q=5");
    for (int i = 0; i < 200; i++) {
        char axes[32], name[16];
        snprintf(name, sizeof name, "c%d", i);
        snprintf(axes, sizeof axes, "p=P a%d=4", i);
        lap_ref x = input_of(g, name, LAP_I64, axes);
        snprintf(name, sizeof name, "a%d", i);
        count = lap_ragged(g, x, name_of(g, name), count);
    }
    assert_refused(g, read_at(g, count, "p", route), "run-time extents depend on each other too deeply");
    lap_ref wide = input_of(g, "x", LAP_F32, "n=N");
    for (int i = 0; i < 80 && lap_ref_some(wide); i++) {
        char axis[32];
        snprintf(axis, sizeof axis, "w%d=2", i);
        wide = lap_map2(g, LAP_FN_ADD, wide, input_of(g, axis, LAP_F32, axis));
    }
    assert_refused(g, wide, "map has 33 axes, at most 32 are allowed");
}

static void test_rename(void **state)
{
    lap_graph *g = *state;
    lap_ref len = input_of(g, "len", LAP_I64, "b=B"),
            x = lap_ragged(g, input_of(g, "x", LAP_F32, "b=B n=N"), name_of(g, "n"), len);
    lap_ref y = lap_rename(g, x, names_of(g, "b n"), names_of(g, "c m"));
    assert_string_equal(shown(g, y), "f32[c=B m=N?]");
    lap_ref count = lap_node_axis(lap_node_at(g, y), name_of(g, "m"))->count;
    assert_string_equal(shown(g, count), "i64[c=B]");
    assert_string_equal(shown(g, lap_rename(g, x, names_of(g, "b n"), names_of(g, "n b"))), "f32[n=B b=N?]");
    assert_refused(g, lap_rename(g, x, names_of(g, "b"), names_of(g, "n")), "cannot rename 'b' to 'n'");
    assert_refused(g, lap_rename(g, x, names_of(g, "b"), names_of(g, "c d")),
                   "rename has 1 axes and 2 new names");
    assert_refused(g, lap_ragged(g, x, name_of(g, "k"), len), "no axis 'k'");
    assert_string_equal(shown(g, lap_expect(g, x, name_of(g, "b"), dim_of(g, "7"))), "f32[b=7 n=N?]");
    assert_int_equal(lap_graph_n_checks(g), 1);
}

static lap_ref scatter_of(lap_graph *g, lap_ref x, lap_ref index, const char *over, const char *target,
                          const char *size)
{
    lap_dim sizes[] = {dim_of(g, size)};
    const lap_attr attrs[] = {
        lap_attr_make_names(LAP_ATTR_OVER, names_of(g, over)),
        lap_attr_make_names(LAP_ATTR_TARGET, names_of(g, target)),
        lap_attr_make_dims(LAP_ATTR_SIZES, (lap_dim_list){1, sizes}),
        lap_attr_make_i(LAP_ATTR_MODE, LAP_MODE_ADD),
        lap_attr_make_scalar(LAP_ATTR_BASE, lap_scalar_f(0)),
    };
    return lap_emit(
        g,
        &(lap_emit_args){
            .op = LAP_OP_SCATTER, .n_args = 2, .args = (lap_ref[]){x, index}, .n_attrs = 5, .attrs = attrs});
}

static void test_scatter(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "b=2 n=N d=4"), i = input_of(g, "i", LAP_I64, "b=2 n=N");
    assert_string_equal(shown(g, scatter_of(g, x, i, "n", "c", "10")), "f32[b=2 d=4 c=10]");
    assert_string_equal(shown(g, scatter_of(g, x, i, "n", "n", "10")), "f32[b=2 d=4 n=10]");
    assert_refused(g, scatter_of(g, x, i, "n", "d", "10"), "scatter writes axis 'd', which the value keeps");
    assert_refused(g, scatter_of(g, x, i, "k", "c", "10"), "no axis 'k' to scatter over in f32[b=2 n=N d=4]");
    assert_refused(g, scatter_of(g, x, x, "n", "c", "10"), "expected integers");
}

static lap_ref topk_of(lap_graph *g, lap_ref x, const char *k, lap_ref run_time)
{
    const lap_attr attrs[] = {
        lap_attr_make_name(LAP_ATTR_AXIS, name_of(g, "n")),
        lap_attr_make_name(LAP_ATTR_INTO, name_of(g, "r")),
        lap_attr_make_dim(LAP_ATTR_DIM, dim_of(g, k)),
        lap_attr_make_i(LAP_ATTR_SMALLEST, 0),
    };
    return lap_emit(g, &(lap_emit_args){.op = LAP_OP_TOPK,
                                        .n_args = lap_ref_some(run_time) ? 2 : 1,
                                        .args = (lap_ref[]){x, run_time},
                                        .n_attrs = 4,
                                        .attrs = attrs});
}

static void test_topk(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "b=2 n=N"), k = input_of(g, "k", LAP_I64, "h=8");
    lap_ref top = topk_of(g, x, "4", LAP_NONE);
    assert_string_equal(shown(g, lap_result(g, top, "values")), "f32[b=2 r=4]");
    assert_string_equal(shown(g, lap_result(g, top, "index")), "i64[b=2 r=4]");
    assert_int_equal(lap_graph_n_checks(g), 1);
    assert_refused(g, lap_result(g, top, "indices"), "topk has no result 'indices'");
    assert_refused(g, topk_of(g, input_of(g, "y", LAP_F32, "n=3"), "4", LAP_NONE),
                   "topk takes 4 of the 3 entries of axis 'n'");
    lap_ref ragged = lap_result(g, topk_of(g, x, "N", k), "index");
    assert_string_equal(shown(g, ragged), "i64[b=2 r=N? h=8]");
    assert_same(lap_node_axis(lap_node_at(g, ragged), name_of(g, "r"))->count, k);
    lap_ref len = input_of(g, "len", LAP_I64, "b=2");
    lap_ref packed =
        lap_result(g, topk_of(g, lap_ragged(g, x, name_of(g, "n"), len), "4", LAP_NONE), "values");
    assert_same(lap_node_axis(lap_node_at(g, packed), name_of(g, "r"))->count,
                lap_map2(g, LAP_FN_MIN, len, lap_const_i(g, 4)));
    assert_refused(g, lap_map1(g, LAP_FN_EXP, top), "'topk' has several results: pick one");
    assert_refused(g, lap_result(g, x, "values"), "no results to pick from");
}

static lap_ref attend_of(lap_graph *g, uint32_t n, const lap_ref *args, uint32_t n_parts,
                         const lap_part *parts)
{
    const lap_attr attrs[] = {
        lap_attr_make_parts(LAP_ATTR_PARTS, (lap_parts){n_parts, parts}),
        lap_attr_make_i(LAP_ATTR_NORM, LAP_NORM_SOFTMAX),
        lap_attr_make_f(LAP_ATTR_EMPTY, 0),
    };
    return lap_emit(
        g, &(lap_emit_args){.op = LAP_OP_ATTEND, .n_args = n, .args = args, .n_attrs = 3, .attrs = attrs});
}

static void test_attend(void **state)
{
    lap_graph *g = *state;
    lap_ref args[] = {
        input_of(g, "score", LAP_F32, "b=2 h=8 i=N j=N"),  input_of(g, "where", LAP_BOOL, "i=N j=N"),
        input_of(g, "value", LAP_F32, "b=2 h=8 j=N d=64"), input_of(g, "slot", LAP_F32, "s=4 h=8"),
        input_of(g, "memory", LAP_F32, "s=4 h=8 d=64"),
    };
    const lap_part parts[] = {{names_of(g, "j"), 0, 1, -1, 2}, {names_of(g, "s"), 3, -1, -1, 4}};
    lap_ref both = attend_of(g, 5, args, 2, parts);
    assert_string_equal(shown(g, lap_result(g, both, "out")), "f32[b=2 h=8 i=N d=64]");
    assert_string_equal(shown(g, lap_result(g, both, "lse")), "f32[b=2 h=8 i=N]");
    assert_string_equal(shown(g, lap_result(g, both, "weights")), "f32[b=2 h=8 i=N j=N]");
    assert_string_equal(shown(g, lap_result(g, both, "weights2")), "f32[s=4 h=8 b=2 i=N]");
    assert_refused(g, lap_result(g, both, "weights3"), "attend has no result 'weights3'");
    assert_refused(g, lap_result(g, both, "weights02"), "attend has no result 'weights02'");

    const lap_part maps[] = {{names_of(g, "j"), 0, 1, -1, -1}};
    lap_ref map = attend_of(g, 2, args, 1, maps);
    assert_string_equal(shown(g, lap_result(g, map, "weights")), "f32[b=2 h=8 i=N j=N]");
    assert_refused(g, lap_result(g, map, "out"), "attend without values has no result 'out'");
}

static void test_attend_mistakes(void **state)
{
    lap_graph *g = *state;
    lap_ref args[] = {input_of(g, "score", LAP_F32, "i=N j=M"), input_of(g, "value", LAP_F32, "j=M d=64")};
    const lap_part no_key[] = {{names_of(g, "k"), 0, -1, -1, 1}}, wild[] = {{names_of(g, "j"), 0, -1, -1, 2}};
    const lap_part where[] = {{names_of(g, "j"), 0, 0, -1, 1}},
                   mixed[] = {{names_of(g, "j"), 0, -1, -1, 1}, {names_of(g, "j"), 0, -1, -1, -1}};
    const lap_part none[] = {{names_of(g, ""), 0, -1, -1, 1}};
    assert_refused(g, attend_of(g, 2, args, 1, no_key), "no key axis 'k' in the score");
    assert_refused(g, attend_of(g, 2, args, 1, wild), "attend names operand 2 of 2");
    assert_refused(g, attend_of(g, 2, args, 1, where),
                   "the 'where' of attend is f32[i=N j=M], expected a condition");
    assert_refused(g, attend_of(g, 2, args, 2, mixed),
                   "some parts of attend have a value and some have none");
    assert_refused(g, attend_of(g, 2, args, 1, none), "a part without key axes");
    assert_refused(g, attend_of(g, 2, args, 0, NULL), "attend has no parts");
}

/* ---- bodies --------------------------------------------------------------------------------- */

static lap_ref branch_of(lap_graph *g, lap_ref test, lap_ref yes, lap_ref no)
{
    lap_region_id sides[2];
    for (uint32_t i = 0; i < 2; i++) {
        sides[i] = lap_region_begin(g, 0, NULL, NULL);
        lap_region_end(g, sides[i], 1, i ? &no : &yes);
    }
    lap_attr outs = lap_attr_make_names(LAP_ATTR_OUTS, names_of(g, "y"));
    return lap_emit(g, &(lap_emit_args){.op = LAP_OP_BRANCH,
                                        .n_args = 1,
                                        .args = &test,
                                        .n_attrs = 1,
                                        .attrs = &outs,
                                        .n_regions = 2,
                                        .regions = sides});
}

typedef lap_ref scan_body(lap_graph *g, lap_ref s, lap_ref x);

/* A scan over n with one state `s`, one input, and one emitted value `y`. */
static lap_ref scan_of(lap_graph *g, lap_ref start, lap_ref x, const char *steps, scan_body *next,
                       scan_body *emitted)
{
    lap_type params[3] = {
        lap_node_type(lap_node_at(g, start)), lap_node_type(lap_node_at(g, x)), {LAP_I64, 0, NULL}};
    params[1].n_axes = lap_axes_without(lap_graph_ctx(g), params[1].n_axes, params[1].axes, names_of(g, "n"),
                                        &params[1].axes);
    lap_ref p[3];
    lap_region_id id = lap_region_begin(g, 3, params, p);
    lap_ref results[] = {next(g, p[0], p[1]), emitted(g, p[0], p[1])};
    lap_region_end(g, id, 2, results);
    const lap_attr attrs[] = {
        lap_attr_make_name(LAP_ATTR_ALONG, name_of(g, "n")),
        lap_attr_make_dim(LAP_ATTR_STEPS, dim_of(g, steps)),
        lap_attr_make_i(LAP_ATTR_REVERSE, 0),
        lap_attr_make_names(LAP_ATTR_STATES, names_of(g, "s")),
        lap_attr_make_names(LAP_ATTR_OUTS, names_of(g, "y")),
    };
    return lap_emit(g, &(lap_emit_args){.op = LAP_OP_SCAN,
                                        .n_args = 2,
                                        .args = (lap_ref[]){start, x},
                                        .n_attrs = 5,
                                        .attrs = attrs,
                                        .n_regions = 1,
                                        .regions = &id});
}

static lap_ref plus(lap_graph *g, lap_ref s, lap_ref x) { return lap_map2(g, LAP_FN_ADD, s, x); }

static lap_ref as_int(lap_graph *g, lap_ref s, lap_ref x)
{
    (void)x;
    return lap_map1(g, LAP_FN_INT, s);
}

static lap_ref over_n(lap_graph *g, lap_ref s, lap_ref x)
{
    (void)x;
    return lap_map2(g, LAP_FN_ADD, s, lap_index(g, axis_of(g, "n=N")));
}

static lap_ref ragged_inside(lap_graph *g, lap_ref s, lap_ref x)
{
    lap_ref k = lap_index(g, axis_of(g, "k=4"));
    return lap_map2(g, LAP_FN_ADD, lap_ragged(g, k, name_of(g, "k"), as_int(g, s, x)), x);
}

static void test_scan(void **state)
{
    lap_graph *g = *state;
    lap_ref start = input_of(g, "s", LAP_F32, "d=8"), x = input_of(g, "x", LAP_F32, "n=N d=8");
    lap_ref len = input_of(g, "len", LAP_I64, "");
    lap_ref ragged = lap_ragged(g, x, name_of(g, "n"), len);
    lap_ref scan = scan_of(g, start, ragged, "N", plus, as_int);
    assert_string_equal(shown(g, lap_result(g, scan, "last_s")), "f32[d=8]");
    assert_string_equal(shown(g, lap_result(g, scan, "y")), "i64[d=8 n=N?]");
    assert_refused(g, lap_result(g, scan, "s"), "scan has no result 's'");
    assert_refused(g, scan_of(g, start, x, "N+1", plus, plus), "axis 'n' is N here and N+1 there");
    assert_refused(g, scan_of(g, start, x, "N", as_int, plus),
                   "the next value of state 's' is i64[d=8], expected f32[d=8]");
    assert_refused(g, scan_of(g, start, x, "N", plus, over_n),
                   "'y' has axis 'n' already, which the scan adds");
    lap_ref none = input_of(g, "z", LAP_F32, ""), row = input_of(g, "r", LAP_F32, "n=N");
    assert_refused(g, scan_of(g, none, row, "N", plus, ragged_inside),
                   "'y' leaves a body, but the extent of its axis 'k' is computed inside");
}

static void test_branch(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=N"), y = input_of(g, "y", LAP_F32, "d=4"),
            i = input_of(g, "i", LAP_I64, "n=N");
    lap_ref test = lap_map2(g, LAP_FN_GT, lap_dim_node(g, dim_of(g, "N")), lap_const_i(g, 9));
    assert_string_equal(shown(g, lap_result(g, branch_of(g, test, x, y), "y")), "f32[n=N d=4]");
    assert_refused(g, branch_of(g, test, x, i),
                   "a result of branch is f32[n=N] on one side and i64[n=N] on the other");
    assert_refused(g, branch_of(g, x, x, y), "the test of branch is f32[n=N], expected one condition");
}

static lap_ref loop_of(lap_graph *g, lap_ref start, lap_ref (*next)(lap_graph *g, lap_ref s), bool tested)
{
    lap_type t = lap_node_type(lap_node_at(g, start));
    lap_ref s;
    lap_region_id id = lap_region_begin(g, 1, &t, &s);
    lap_ref results[] = {next(g, s), tested ? lap_const_b(g, true) : s};
    lap_region_end(g, id, 2, results);
    const lap_attr attrs[] = {
        lap_attr_make_dim(LAP_ATTR_LIMIT, dim_of(g, "10")),
        lap_attr_make_names(LAP_ATTR_STATES, names_of(g, "s")),
    };
    return lap_emit(g, &(lap_emit_args){.op = LAP_OP_LOOP,
                                        .n_args = 1,
                                        .args = &start,
                                        .n_attrs = 2,
                                        .attrs = attrs,
                                        .n_regions = 1,
                                        .regions = &id});
}

static lap_ref half(lap_graph *g, lap_ref s) { return lap_map2(g, LAP_FN_MUL, s, lap_const_f(g, 0.5)); }

static lap_ref wider(lap_graph *g, lap_ref s)
{
    return lap_map2(g, LAP_FN_ADD, s, input_of(g, "k", LAP_F32, "k=3"));
}

static lap_ref wrong(lap_graph *g, lap_ref s) { return lap_reduce(g, LAP_RED_SUM, s, names_of(g, "zz")); }

static void test_loop(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=N"), i = input_of(g, "i", LAP_I64, "n=N");
    assert_string_equal(shown(g, lap_result(g, loop_of(g, x, half, true), "s")), "f32[n=N]");
    assert_refused(g, loop_of(g, i, half, true),
                   "the next value of state 's' is f32[n=N], expected i64[n=N]");
    assert_refused(g, loop_of(g, x, wider, true), "it may not have axis 'k'");
    assert_refused(g, loop_of(g, x, half, false), "the test of loop is f32[n=N], expected one condition");
    assert_refused(g, loop_of(g, x, wrong, true), "no axis 'zz' in f32[n=N]");
}

static void test_call_and_custom(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=N"), y = input_of(g, "y", LAP_F32, "n=7"),
            z = input_of(g, "z", LAP_F32, "m=7"), p;
    lap_type t = lap_node_type(lap_node_at(g, x));
    lap_region_id id = lap_region_begin(g, 1, &t, &p);
    lap_ref twice = lap_map2(g, LAP_FN_MUL, p, lap_const_f(g, 2));
    lap_region_end(g, id, 1, &twice);
    const lap_attr attrs[] = {
        lap_attr_make_name(LAP_ATTR_NAME, name_of(g, "twice")),
        lap_attr_make_names(LAP_ATTR_OUTS, names_of(g, "y")),
    };
    lap_emit_args call = {.op = LAP_OP_CALL,
                          .n_args = 1,
                          .args = &x,
                          .n_attrs = 2,
                          .attrs = attrs,
                          .n_regions = 1,
                          .regions = &id};
    assert_string_equal(shown(g, lap_result(g, lap_emit(g, &call), "y")), "f32[n=N]");
    call.args = &y; /* N must be 7: checked when sizes are bound */
    assert_true(lap_ref_some(lap_emit(g, &call)));
    assert_int_equal(lap_graph_n_checks(g), 1);
    call.args = &z;
    assert_refused(g, lap_emit(g, &call), "operand 0 of call is f32[m=7], expected f32[n=N]");
    call.n_args = 0;
    assert_refused(g, lap_emit(g, &call), "the body of call has 1 parameters, expected 0");

    lap_ref args[] = {x, y};
    lap_emit_args custom = {.op = LAP_OP_CUSTOM, .n_args = 2, .args = args, .n_regions = 1, .regions = &id};
    assert_string_equal(shown(g, lap_emit(g, &custom)), "f32[n=N]");
    args[1] = z;
    assert_refused(g, lap_emit(g, &custom), "gradient 1 of custom is f32[n=N], expected f32[m=7]");
}

static void test_leaves(void **state)
{
    lap_graph *g = *state;
    assert_refused(g, input_of(g, "x", LAP_F32, "n=N n=N"), "axis 'n' is named twice");
    assert_refused(g, lap_index(g, axis_of(g, "n=0-3")), "negative size");
    lap_attr message = lap_attr_make_name(LAP_ATTR_MESSAGE, name_of(g, "no"));
    lap_ref x = input_of(g, "x", LAP_F32, "n=N");
    assert_refused(
        g,
        lap_emit(
            g,
            &(lap_emit_args){.op = LAP_OP_REQUIRE, .n_args = 1, .args = &x, .n_attrs = 1, .attrs = &message}),
        "require needs a condition, found f32[n=N]");
    lap_attr which = lap_attr_make_name(LAP_ATTR_NAME, name_of(g, "y"));
    assert_refused(g, lap_emit(g, &(lap_emit_args){.op = LAP_OP_INPUT, .n_attrs = 1, .attrs = &which}),
                   "needs attribute 'layout'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_map_union, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_sizes_differ, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_reduce, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_at, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_at_reindexes_counts, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_endless_counts, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_rename, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_scatter, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_topk, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_attend, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_attend_mistakes, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_scan, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_branch, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_loop, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_call_and_custom, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_leaves, make_graph, free_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
