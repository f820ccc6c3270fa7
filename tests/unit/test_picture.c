/* SPDX-License-Identifier: Apache-2.0
 * test_picture.c - pictures of patterns: pairs against brute force over the definition, classes of tiles
 * against the pairs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "frontends/compiler/picture.h"
#include "tests/support/process.h"

#ifndef LAP_SOURCE_DIR
#define LAP_SOURCE_DIR "."
#endif

static const char *const path[] = {LAP_SOURCE_DIR "/plugins"};

typedef struct sizes {
    uint32_t n;
    const char *names[6];
    int64_t values[6];
} sizes;

/* The pictures of a model, of made-up data. */
static lap_session *draw(const char *model, const char *params, const sizes *dims, lap_pictures *out)
{
    lap_session *s = lap_session_new();
    lap_load_options load = {
        .model = model, .params_json = params, .plugin_path = path, .n_plugin_path = 1, .dtype = LAP_F32};
    lap_views none = {0};
    lap_tensors inputs = {0}, weights = {0};
    lap_fill_options fill = {.inputs = &none,
                             .weights = &none,
                             .make_inputs = true,
                             .make_weights = true,
                             .seed = 3,
                             .n_dims = dims->n,
                             .dim_names = dims->names,
                             .dims = dims->values};
    lap_compile_options compile = {.engine = LAP_ENGINE_CPU, .n_threads = 1};
    if (!lap_session_load(s, &load) || !lap_session_fill(s, &fill, &inputs, &weights) ||
        !lap_pictures_make(s, &compile, &inputs, &weights, out)) {
        fail_msg("%s", lap_session_message(s));
    }
    return s;
}

/* An empty tile has no pair, a full one all. */
static void check_classes(const lap_picture *p, unsigned counts[3])
{
    for (uint32_t i = 0; i < p->n_planes; i++) {
        const lap_picture_plane *plane = &p->planes[i];
        assert_non_null(plane->classes);
        for (int64_t r = 0; r < p->tile_rows * p->tiles; r++) {
            int64_t q0 = r / p->tiles * p->use->tile_rows, t0 = r % p->tiles * p->use->tile_keys;
            int64_t n = 0, seen = 0, c = plane->classes[r];
            for (int64_t q = q0; q < q0 + p->use->tile_rows && q < p->queries.size; q++) {
                for (int64_t t = t0; t < t0 + p->use->tile_keys && t < p->tokens.size; t++, n++) {
                    seen += lap_picture_sees(p, plane, q, t);
                }
            }
            assert_true((c & LAP_TILE_SOME) != 0 || seen == 0);
            assert_true((c & LAP_TILE_ALL) == 0 || seen == n);
            assert_true((c & LAP_TILE_UNMASKED) == 0 || seen == n);
            counts[(c & LAP_TILE_SOME) == 0 ? 0 : (c & LAP_TILE_ALL) != 0 ? 2 : 1]++;
        }
    }
}

static void causal_windows(void **state)
{
    (void)state;
    const sizes dims = {3, {"B", "N", "M"}, {1, 330, 330}};
    lap_pictures all;
    lap_session *s = draw("attention", "{\"causal\": true, \"window\": 90, \"heads\": 2}", &dims, &all);
    assert_int_equal(all.n, 1);
    const lap_picture *p = &all.at[0];
    assert_null(p->missing);
    assert_int_equal(p->n_planes, 1);
    assert_false(p->is_from_data);
    for (int64_t i = 0; i < 330; i++) {
        for (int64_t j = 0; j < 330; j++) {
            assert_int_equal(lap_picture_sees(p, &p->planes[0], i, j), j <= i && i - j <= 90);
        }
    }
    unsigned counts[3] = {0};
    assert_true(p->has_tiles);
    check_classes(p, counts);
    assert_true(counts[0] > 0 && counts[1] > 0 && counts[2] > 0);
    lap_session_free(s);
}

static int64_t clamped(int64_t centre, int64_t size, int64_t extent)
{
    int64_t first = centre - size / 2;
    return first < 0 ? 0 : first > extent - size ? extent - size : first;
}

static void neighbourhoods_of_a_grid(void **state)
{
    (void)state;
    const sizes dims = {6, {"B", "Y", "X", "G", "R", "D"}, {1, 6, 9, 1, 2, 4}};
    lap_pictures all;
    lap_session *s = draw("fna", "{\"kernel_size\": [3, 5]}", &dims, &all);
    const lap_picture *p = &all.at[0];
    assert_int_equal(p->queries.n, 2);
    assert_int_equal(p->queries.size, 54);
    assert_int_equal(p->tokens.size, 54);
    for (int64_t q = 0; q < 54; q++) {
        int64_t y0 = clamped(q / 9, 3, 6), x0 = clamped(q % 9, 5, 9);
        for (int64_t t = 0; t < 54; t++) {
            bool sees = t / 9 >= y0 && t / 9 < y0 + 3 && t % 9 >= x0 && t % 9 < x0 + 5;
            assert_int_equal(lap_picture_sees(p, &p->planes[0], q, t), sees);
        }
    }
    lap_session_free(s);
}

/* Windows, a roll and a mask per window: followed to the tokens that they are made of. */
static const char rolled[] =
    "return { inputs = { x = 'b n=N d=4' }, dims = { B = 2, N = 12 }, build = function(g, p, t)\n"
    "local x = t.x:roll('n', -2):split('n -> w i', { i = 4 })\n"
    "local k = (x * 2):as 'i -> j'\n"
    "local function label(i) return ((x:index 'w' * 4 + i + 2) // 12) end\n"
    "local where = label(x:index 'i'):eq(label(k:index 'j'))\n"
    "local o = g:attend { keys = 'j', score = x:dot(k, 'd'), value = k, where = where }\n"
    "g:output('o', o.out, 'b w i d') end }\n";

/* Rows of a batch keep tokens of their own; each head sees other distances. */
static const char pruned[] =
    "return { inputs = { x = 'b n=N d=4' }, dims = { B = 2, N = 9 }, build = function(g, p, t)\n"
    "local kept = t.x:sum('d'):ge(0.0):keep 'n -> m'\n"
    "local k = t.x:at('n', kept.index)\n"
    "local o = g:attend { keys = 'm', score = t.x:dot(k, 'd') + g:index('h', 2), value = k,\n"
    "  where = (t.x:index 'n' - k:index 'm'):abs():le(g:index('h', 2) * 9) }\n"
    "g:output('o', o.out, 'b h n d') g:output('kept', kept.count, 'b') end }\n";

static lap_session *draw_script(const char *text, lap_pictures *all)
{
    char *folder = folder_new();
    folder_write(folder, "model.lua", text, strlen(text));
    const sizes none = {0};
    lap_session *s = draw(folder_path(folder, "model.lua"), NULL, &none, all);
    folder_remove(folder);
    return s;
}

static void views_are_followed(void **state)
{
    (void)state;
    lap_pictures all;
    lap_session *s = draw_script(rolled, &all);
    assert_int_equal(all.n, 1);
    const lap_picture *p = &all.at[0];
    assert_true(p->is_shared);
    assert_string_equal(p->tokens.axis[0].name, "n");
    assert_int_equal(p->tokens.size, 12);
    for (int64_t q = 0; q < 12; q++) {
        for (int64_t t = 0; t < 12; t++) {
            int64_t rq = (q - 2 + 12) % 12, rt = (t - 2 + 12) % 12; /* where the roll puts them */
            bool sees = rq / 4 == rt / 4 && (rq + 2) / 12 == (rt + 2) / 12;
            assert_int_equal(lap_picture_sees(p, &p->planes[0], q, t), sees);
        }
    }
    lap_session_free(s);
}

static void data_and_heads_give_planes(void **state)
{
    (void)state;
    lap_pictures all;
    lap_session *s = draw_script(pruned, &all);
    const lap_picture *p = &all.at[0];
    assert_true(p->is_from_data);
    assert_int_equal(p->n_planes_all, 4);
    assert_int_equal(p->queries.size, 9);
    assert_int_equal(p->tokens.size, 9);
    for (uint32_t i = 0; i < p->n_planes; i++) {
        bool one = strstr(p->planes[i].label, "h 0") != NULL;
        for (int64_t q = 0; q < 9; q++) {
            int n = 0;
            for (int64_t t = 0; t < 9; t++) {
                n += lap_picture_sees(p, &p->planes[i], q, t);
            }
            assert_true(one ? n <= 1 : n > 0);
        }
    }
    lap_session_free(s);
}

static void too_many_tokens_are_said(void **state)
{
    (void)state;
    const sizes dims = {3, {"B", "N", "M"}, {1, 1, 40000}};
    lap_pictures all;
    lap_session *s = draw("attention", "{\"heads\": 1, \"dim_head\": 4}", &dims, &all);
    assert_non_null(all.at[0].missing);
    lap_session_free(s);
}

static void long_evaluations_are_refused(void **state)
{
    (void)state;
    const sizes dims = {3, {"B", "N", "M"}, {1, 15000, 15000}};
    lap_pictures all;
    lap_session *s = draw("attention", "{\"heads\": 1, \"dim_head\": 4, \"causal\": true}", &dims, &all);
    assert_int_equal(all.n, 1);
    assert_non_null(all.at[0].missing);
    assert_non_null(strstr(all.at[0].missing, "takes too long"));
    assert_non_null(strstr(all.at[0].missing, "--dim"));
    lap_session_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(causal_windows),           cmocka_unit_test(neighbourhoods_of_a_grid),
        cmocka_unit_test(views_are_followed),       cmocka_unit_test(data_and_heads_give_planes),
        cmocka_unit_test(too_many_tokens_are_said), cmocka_unit_test(long_evaluations_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
