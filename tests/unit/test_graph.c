/* SPDX-License-Identifier: Apache-2.0
 * test_graph.c - storage, sharing, placing in regions, rewriting. */
#include "tests/unit/graphs.h"

static void test_tables(void **state)
{
    (void)state;
    lap_op op;
    lap_attr_key key;
    for (unsigned i = 1; i < LAP_N_OPS; i++) {
        const char *text = lap_op_text((lap_op)i);
        assert_true(lap_op_find(text, strlen(text), &op));
        assert_int_equal(op, i);
        assert_true(lap_op_level(op) != 0 && lap_op_doc(op)[0] != '\0');
    }
    for (unsigned i = 0; i < LAP_N_ATTRS; i++) {
        const char *text = lap_attr_text((lap_attr_key)i);
        assert_true(lap_attr_find(text, strlen(text), &key));
        assert_int_equal(key, i);
    }
    assert_false(lap_op_find("attends", 7, &op));
    assert_false(lap_attr_find("nam", 3, &key));
}

static void test_takes(void **state)
{
    (void)state;
    bool required = false;
    assert_true(lap_op_takes(LAP_OP_AT, LAP_ATTR_SRC, &required));
    assert_true(required);
    assert_true(lap_op_takes(LAP_OP_AT, LAP_ATTR_FILL, &required));
    assert_false(required);
    assert_true(lap_op_takes(LAP_OP_INPUT, LAP_ATTR_OPTIONAL, NULL));
    assert_false(lap_op_takes(LAP_OP_MAP, LAP_ATTR_NAME, NULL));
    assert_false(lap_op_takes(LAP_OP_BUFFER, LAP_ATTR_STEPS, NULL));
}

static void test_sharing(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=N d=8"), y = input_of(g, "y", LAP_F32, "d=8");
    assert_same(x, input_of(g, "x", LAP_F32, "n=N d=8"));
    lap_ref sum = lap_map2(g, LAP_FN_ADD, x, y);
    assert_same(sum, lap_map2(g, LAP_FN_ADD, x, y));
    assert_same(sum, lap_map2(g, LAP_FN_ADD, y, x));
    assert_true(lap_map2(g, LAP_FN_SUB, x, y).ix != lap_map2(g, LAP_FN_SUB, y, x).ix);
    lap_set_loc(g, lap_loc_make(lap_graph_ctx(g), "other.lua", 1, (lap_loc){0}));
    assert_same(sum, lap_map2(g, LAP_FN_ADD, x, y));
    assert_int_equal(lap_loc_line(lap_graph_ctx(g), lap_node_at(g, sum)->loc), 7);
}

static void test_many_nodes(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_I64, "n=N"), first = lap_map2(g, LAP_FN_ADD, x, lap_const_i(g, 1));
    const lap_node *kept = lap_node_at(g, first);
    for (int64_t i = 2; i < 5000; i++) {
        assert_true(lap_ref_some(lap_map2(g, LAP_FN_ADD, x, lap_const_i(g, i))));
    }
    assert_ptr_equal(kept, lap_node_at(g, first));
    for (int64_t i = 1; i < 5000; i += 7) {
        uint32_t before = lap_graph_n_nodes(g);
        lap_map2(g, LAP_FN_ADD, x, lap_const_i(g, i));
        assert_int_equal(lap_graph_n_nodes(g), before);
    }
}

static void test_attrs_are_copied(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=N d=8");
    lap_name over[] = {name_of(g, "d")};
    lap_ref sum = lap_reduce(g, LAP_RED_SUM, x, (lap_names){1, over});
    over[0] = name_of(g, "n");
    assert_true(lap_names_has(lap_attr_names(lap_node_at(g, sum), LAP_ATTR_OVER), name_of(g, "d")));
    assert_string_equal(shown(g, sum), "f32[n=N]");
}

static lap_ref scan_of(lap_graph *g, lap_ref start, lap_ref x,
                       lap_ref (*body)(lap_graph *g, lap_ref s, lap_ref x, lap_ref t))
{
    lap_type params[3] = {
        lap_node_type(lap_node_at(g, start)), lap_node_type(lap_node_at(g, x)), {LAP_I64, 0, NULL}};
    params[1].n_axes = lap_axes_without(lap_graph_ctx(g), params[1].n_axes, params[1].axes, names_of(g, "n"),
                                        &params[1].axes);
    lap_ref p[3];
    lap_region_id id = lap_region_begin(g, 3, params, p);
    lap_ref next = body(g, p[0], p[1], p[2]);
    lap_region_end(g, id, 2, (lap_ref[]){next, next});
    const lap_attr attrs[] = {
        lap_attr_make_name(LAP_ATTR_ALONG, name_of(g, "n")),
        lap_attr_make_dim(LAP_ATTR_STEPS, dim_of(g, "N")),
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

static lap_ref decay(lap_graph *g, lap_ref s, lap_ref x, lap_ref t)
{
    (void)t;
    lap_ref a = lap_map1(g, LAP_FN_EXP, input_of(g, "a", LAP_F32, "d=8"));
    return lap_map2(g, LAP_FN_ADD, lap_map2(g, LAP_FN_MUL, s, a), x);
}

static void test_regions(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=N d=8");
    lap_ref scan = scan_of(g, lap_full(g, lap_scalar_f(0), 1, type_of(g, LAP_F32, "d=8").axes), x, decay);
    const lap_node *n = lap_node_at(g, scan);
    assert_string_equal(shown(g, lap_result(g, scan, "last_s")), "f32[d=8]");
    assert_string_equal(shown(g, lap_result(g, scan, "y")), "f32[d=8 n=N]");
    uint32_t n_body;
    const lap_ref *body = lap_region_nodes(g, n->regions[0], &n_body);
    assert_int_equal(n_body, 2); /* exp(a) does not change: it stands outside */
    for (uint32_t i = 0; i < n_body; i++) {
        assert_true(body[i].ix < scan.ix);
        assert_same(lap_node_at(g, body[i])->region, n->regions[0]);
    }
    assert_int_equal(lap_region_at(g, n->regions[0])->depth, 1);
    assert_int_equal(n->region.ix, 0);
    /* A value of the body does not exist outside it. */
    assert_refused(g, lap_map1(g, LAP_FN_NEG, body[0]), "used outside it");
}

/* A scan inside a body that does not depend on it stands outside, with its own body. */
static lap_ref nested(lap_graph *g, lap_ref s, lap_ref x, lap_ref t)
{
    lap_ref start = lap_full(g, lap_scalar_f(1), 1, type_of(g, LAP_F32, "d=8").axes);
    lap_ref inner = scan_of(g, start, input_of(g, "x", LAP_F32, "n=N d=8"), decay);
    return lap_map2(g, LAP_FN_ADD, decay(g, s, x, t), lap_result(g, inner, "last_s"));
}

static void test_nested_scan_moves_out(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=N d=8");
    lap_ref outer = scan_of(g, lap_full(g, lap_scalar_f(0), 1, type_of(g, LAP_F32, "d=8").axes), x, nested);
    uint32_t n, found = 0;
    const lap_ref *nodes = lap_region_nodes(g, (lap_region_id){0}, &n);
    for (uint32_t i = 0; i < n; i++) {
        const lap_node *node = lap_node_at(g, nodes[i]);
        if (node->op == LAP_OP_SCAN) {
            found++;
            assert_int_equal(lap_region_at(g, node->regions[0])->parent.ix, 0);
            assert_int_equal(lap_region_at(g, node->regions[0])->depth, 1);
        }
    }
    assert_int_equal(found, 2);
    assert_true(lap_ref_some(outer));
}

static void test_checks(void **state)
{
    lap_graph *g = *state;
    assert_true(lap_graph_assume(g, dim_of(g, "N*2"), LAP_REL_EQ, dim_of(g, "N+N"), "same"));
    assert_int_equal(lap_graph_n_checks(g), 0);
    assert_true(lap_graph_assume(g, dim_of(g, "N"), LAP_REL_EQ, dim_of(g, "M"), "N is M"));
    assert_true(lap_graph_assume(g, dim_of(g, "M"), LAP_REL_EQ, dim_of(g, "N"), "again"));
    assert_int_equal(lap_graph_n_checks(g), 1);
    assert_string_equal(lap_graph_check(g, 0)->message, "N is M");
    assert_false(lap_graph_assume(g, dim_of(g, "3"), LAP_REL_GE, dim_of(g, "4"), "too small"));
    assert_int_equal(lap_error_count(lap_graph_ctx(g)), 1);
}

/* ---- rewriting ------------------------------------------------------------------------------ */

static lap_ref sub_for_add(lap_rewrite *rw, const lap_node *old, lap_ref old_ref, const lap_ref *args)
{
    (void)old_ref;
    if (old->op == LAP_OP_MAP && lap_attr_i(old, LAP_ATTR_FN, 0) == LAP_FN_ADD) {
        return lap_map2(rw->to, LAP_FN_SUB, args[0], args[1]);
    }
    return LAP_NONE;
}

static uint32_t count_fn(lap_graph *g, lap_fn fn)
{
    uint32_t n = 0;
    for (uint32_t i = 1; i <= lap_graph_n_nodes(g); i++) {
        const lap_node *node = lap_node_at(g, (lap_ref){i});
        n += node->op == LAP_OP_MAP && lap_attr_i(node, LAP_ATTR_FN, 0) == fn;
    }
    return n;
}

static void test_rewrite(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=N d=8");
    lap_map1(g, LAP_FN_TANH, x); /* dead */
    lap_ref cond =
        lap_reduce(g, LAP_RED_ALL, lap_map2(g, LAP_FN_GT, x, lap_const_f(g, 0)), names_of(g, "n d"));
    lap_attr message = lap_attr_make_name(LAP_ATTR_MESSAGE, name_of(g, "not positive"));
    lap_emit(g, &(lap_emit_args){
                    .op = LAP_OP_REQUIRE, .n_args = 1, .args = &cond, .n_attrs = 1, .attrs = &message});
    lap_ref scan = scan_of(g, lap_full(g, lap_scalar_f(0), 1, type_of(g, LAP_F32, "d=8").axes), x, decay);
    output_of(g, "y", lap_result(g, scan, "y"));
    assert_true(lap_graph_assume(g, dim_of(g, "N"), LAP_REL_GE, dim_of(g, "2"), "two tokens"));

    lap_graph *copy = lap_graph_rewrite(g, NULL, NULL);
    assert_non_null(copy);
    assert_int_equal(lap_graph_n_nodes(copy), lap_graph_n_nodes(g) - 1);
    assert_int_equal(count_fn(copy, LAP_FN_TANH), 0);
    assert_int_equal(lap_graph_n_checks(copy), 1);
    assert_int_equal(lap_graph_n_outputs(copy), 1);
    assert_string_equal(shown(copy, lap_graph_output(copy, 0)->value), "f32[d=8 n=N]");
    assert_int_equal(lap_loc_line(lap_graph_ctx(g), lap_node_at(copy, (lap_ref){1})->loc), 7);

    lap_graph *changed = lap_graph_rewrite(g, sub_for_add, NULL);
    assert_int_equal(count_fn(changed, LAP_FN_ADD), 0);
    assert_int_equal(count_fn(changed, LAP_FN_SUB), 1);
}

static void test_rewrite_ragged(void **state)
{
    lap_graph *g = *state;
    lap_ref len = input_of(g, "len", LAP_I64, "b=B"), x = input_of(g, "x", LAP_F32, "b=B n=N");
    lap_ref ragged = lap_ragged(g, x, name_of(g, "n"), len);
    lap_ref renamed = lap_rename(g, ragged, names_of(g, "b"), names_of(g, "c"));
    output_of(g, "y", lap_reduce(g, LAP_RED_SUM, lap_map1(g, LAP_FN_EXP, renamed), names_of(g, "n")));
    lap_graph *copy = lap_graph_rewrite(g, NULL, NULL);
    assert_non_null(copy);
    assert_int_equal(lap_graph_n_nodes(copy), lap_graph_n_nodes(g) - 1); /* one rename does both */
    assert_string_equal(shown(copy, lap_graph_output(copy, 0)->value), "f32[c=B]");
}

static lap_ref twice(void *user, lap_ref outer)
{
    (void)user;
    return outer;
}

static void test_inline(void **state)
{
    lap_graph *g = *state;
    lap_type t = type_of(g, LAP_F32, "d=8");
    lap_ref a = input_of(g, "a", LAP_F32, "d=8"), b = input_of(g, "b", LAP_F32, "d=8"), p[2], out;
    lap_region_id id = lap_region_begin(g, 2, (lap_type[]){t, t}, p);
    lap_ref body = lap_map2(g, LAP_FN_MUL, lap_map2(g, LAP_FN_SUB, p[0], p[1]), a);
    lap_region_end(g, id, 1, &body);
    lap_region_inline(g, g, id, (lap_ref[]){b, a}, NULL, NULL, &out);
    assert_same(out, lap_map2(g, LAP_FN_MUL, lap_map2(g, LAP_FN_SUB, b, a), a));
    lap_region_inline(g, g, id, (lap_ref[]){b, a}, twice, NULL, &out);
    assert_same(out, lap_map2(g, LAP_FN_MUL, lap_map2(g, LAP_FN_SUB, b, a), a));
}

static void test_malformed(void **state)
{
    lap_graph *g = *state;
    lap_ref x = input_of(g, "x", LAP_F32, "n=N");
    lap_attr fn = lap_attr_make_i(LAP_ATTR_FN, LAP_FN_ADD),
             name = lap_attr_make_name(LAP_ATTR_NAME, name_of(g, "n"));
    assert_refused(
        g,
        lap_emit(g, &(lap_emit_args){.op = LAP_OP_MAP, .n_args = 1, .args = &x, .n_attrs = 1, .attrs = &fn}),
        "add takes 2 operands, found 1");
    assert_refused(g, lap_emit(g, &(lap_emit_args){.op = LAP_OP_MAP, .n_args = 1, .args = &x}),
                   "needs attribute 'fn'");
    assert_refused(
        g,
        lap_emit(g,
                 &(lap_emit_args){.op = LAP_OP_MAP, .n_args = 1, .args = &x, .n_attrs = 1, .attrs = &name}),
        "takes no attribute 'name'");
    assert_refused(g,
                   lap_emit(g, &(lap_emit_args){.op = LAP_OP_LOAD, .n_args = 2, .args = (lap_ref[]){x, x}}),
                   "not an operation of this level");
    assert_refused(g, lap_emit(g, &(lap_emit_args){.op = LAP_OP_CALL}), "has 0 regions, expected 1");
    /* What follows a mistake stays silent. */
    assert_false(lap_ref_some(lap_map1(g, LAP_FN_EXP, LAP_NONE)));
    assert_int_equal(lap_error_count(lap_graph_ctx(g)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_takes),
        cmocka_unit_test_setup_teardown(test_sharing, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_many_nodes, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_attrs_are_copied, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_regions, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_nested_scan_moves_out, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_checks, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_rewrite, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_rewrite_ragged, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_inline, make_graph, free_graph),
        cmocka_unit_test_setup_teardown(test_malformed, make_graph, free_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
