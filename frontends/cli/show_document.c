/* SPDX-License-Identifier: Apache-2.0
 * show_document.c - pictures of patterns as a document: the matrix in bins, the keys of chosen queries,
 * tiles.
 *
 * A page stays small whatever the sizes: beyond SIDE tokens an entry of the matrix stands for several pairs
 * (the part of them that is seen, of 255), and beyond MOST_CHOSEN queries every few along each axis can be
 * chosen. */
#include "frontends/cli/document.h"
#include "frontends/cli/show.h"

enum { SIDE = 256, MOST_CHOSEN = 1024, MOST_TILES = 1 << 14 };

static cJSON *grid_document(const lap_picture_grid *g)
{
    cJSON *list = cJSON_CreateArray();
    for (uint32_t i = 0; i < g->n; i++) {
        cJSON *axis = cJSON_CreateObject();
        lap_document_text(axis, "name", g->axis[i].name);
        cJSON_AddNumberToObject(axis, "size", (double)g->axis[i].size);
        cJSON_AddItemToArray(list, axis);
    }
    return list;
}

/* Numbers and how often each comes: [value, times, value, times, ..]. */
typedef struct runs {
    cJSON *list;
    int64_t value, times;
} runs;

static void end_run(runs *r)
{
    if (r->times > 0) {
        cJSON_AddItemToArray(r->list, cJSON_CreateNumber((double)r->value));
        cJSON_AddItemToArray(r->list, cJSON_CreateNumber((double)r->times));
    }
    r->times = 0;
}

static void add_to_runs(runs *r, int64_t value)
{
    if (r->times > 0 && r->value != value) {
        end_run(r);
    }
    r->value = value;
    r->times++;
}

/* ---- the matrix ---------------------------------------------------------------------------- */

static int64_t part_seen(const lap_picture *p, const lap_picture_plane *plane, int64_t query, int64_t token,
                         int64_t rows, int64_t columns)
{
    int64_t n = 0, seen = 0;
    for (int64_t q = query; q < query + rows && q < p->queries.size; q++) {
        for (int64_t t = token; t < token + columns && t < p->tokens.size; t++, n++) {
            seen += lap_picture_sees(p, plane, q, t);
        }
    }
    int64_t part = 255 * seen / n;
    return seen > 0 && part == 0 ? 1 : part;
}

static void add_matrix(cJSON *to, const lap_picture *p, const lap_picture_plane *plane)
{
    int64_t rows = (p->queries.size + SIDE - 1) / SIDE, columns = (p->tokens.size + SIDE - 1) / SIDE;
    cJSON *list = cJSON_AddArrayToObject(to, "matrix");
    for (int64_t q = 0; q < p->queries.size; q += rows) {
        runs r = {.list = cJSON_CreateArray()};
        for (int64_t t = 0; t < p->tokens.size; t += columns) {
            add_to_runs(&r, part_seen(p, plane, q, t, rows, columns));
        }
        end_run(&r);
        cJSON_AddItemToArray(list, r.list);
    }
}

/* ---- chosen queries ------------------------------------------------------------------------ */

/* The least step along every axis that leaves no more than MOST_CHOSEN queries. */
static int64_t step_of(const lap_picture_grid *g)
{
    for (int64_t step = 1;; step++) {
        double n = 1.0;
        for (uint32_t i = 0; i < g->n; i++) {
            n *= (double)((g->axis[i].size + step - 1) / step);
        }
        if (n <= MOST_CHOSEN || g->n == 0) {
            return step;
        }
    }
}

static bool is_chosen(const lap_picture_grid *g, int64_t query, int64_t step)
{
    for (uint32_t i = g->n; i-- > 0;) {
        if (query % g->axis[i].size % step != 0) {
            return false;
        }
        query /= g->axis[i].size;
    }
    return true;
}

/* Per chosen query its keys as [first, how many, first, how many, ..]. */
static void add_chosen(cJSON *to, const lap_picture *p, const lap_picture_plane *plane, int64_t step)
{
    cJSON *chosen = cJSON_AddArrayToObject(to, "chosen");
    for (int64_t q = 0; q < p->queries.size; q++) {
        if (!is_chosen(&p->queries, q, step)) {
            continue;
        }
        cJSON *list = cJSON_CreateArray();
        for (int64_t t = 0; t < p->tokens.size;) {
            int64_t first = t;
            while (t < p->tokens.size && lap_picture_sees(p, plane, q, t)) {
                t++;
            }
            if (t > first) {
                cJSON_AddItemToArray(list, cJSON_CreateNumber((double)first));
                cJSON_AddItemToArray(list, cJSON_CreateNumber((double)(t - first)));
            }
            t += t == first;
        }
        cJSON_AddItemToArray(chosen, list);
    }
}

/* ---- tiles --------------------------------------------------------------------------------- */

static void add_classes(cJSON *to, lap_setup *s, const lap_picture *p, const lap_picture_plane *plane)
{
    int64_t n_empty = 0, n_full = 0, n_partial = 0, n = p->tile_rows * p->tiles;
    char *text = lap_arena_array(lap_session_ctx(s->session)->arena, (size_t)n + 1, 1);
    for (int64_t i = 0; i < n; i++) {
        int64_t c = plane->classes[i];
        n_empty += (c & LAP_TILE_SOME) == 0;
        n_full += (c & LAP_TILE_SOME) != 0 && (c & LAP_TILE_ALL) != 0;
        n_partial += (c & LAP_TILE_SOME) != 0 && (c & LAP_TILE_ALL) == 0;
        text[i] = (char)('0' + (c & 7));
    }
    cJSON_AddNumberToObject(to, "empty", (double)n_empty);
    cJSON_AddNumberToObject(to, "full", (double)n_full);
    cJSON_AddNumberToObject(to, "partial", (double)n_partial);
    if (n <= MOST_TILES) {
        lap_document_text(to, "classes", text);
    }
}

static void add_tiles(cJSON *to, const lap_picture *p)
{
    const lap_attend_use *use = p->use;
    cJSON *tiles = cJSON_AddObjectToObject(to, "tiles");
    cJSON_AddNumberToObject(tiles, "queries", use->tile_rows);
    cJSON_AddNumberToObject(tiles, "keys", use->tile_keys);
    cJSON_AddNumberToObject(tiles, "block_queries", use->block_rows);
    cJSON_AddNumberToObject(tiles, "block_keys", use->block_keys);
    cJSON_AddNumberToObject(tiles, "rows", (double)p->tile_rows);
    cJSON_AddNumberToObject(tiles, "columns", (double)p->tiles);
    cJSON_AddBoolToObject(tiles, "over", p->has_tiles);
}

static const char *form_text(lap_attend_form form)
{
    static const char *const texts[] = {"tiles of queries against panels of keys",
                                        "few queries, keys in parts", "few queries or tiles, by their number",
                                        "windows of a grid", "a row at a time"};
    return texts[form];
}

static cJSON *picture_document(lap_setup *s, const lap_picture *p)
{
    cJSON *d = cJSON_CreateObject();
    int64_t step = step_of(&p->queries);
    lap_document_text(d, "line", lap_show_place(s, p->loc));
    cJSON_AddNumberToObject(d, "times", p->n_times);
    cJSON_AddNumberToObject(d, "part", p->part);
    cJSON_AddNumberToObject(d, "parts", p->n_parts);
    lap_document_text(d, "form", form_text(p->use->form));
    lap_document_text(d, "keys", p->keys);
    cJSON_AddItemToObject(d, "queries", grid_document(&p->queries));
    cJSON_AddItemToObject(d, "tokens", grid_document(&p->tokens));
    cJSON_AddBoolToObject(d, "shared", p->is_shared);
    cJSON_AddBoolToObject(d, "from_data", p->is_from_data);
    cJSON_AddNumberToObject(d, "step", (double)step);
    cJSON_AddNumberToObject(d, "planes_all", p->n_planes_all);
    lap_document_text(d, "missing", p->missing);
    if (p->use->tile_rows > 0) {
        add_tiles(d, p);
    }
    cJSON *planes = cJSON_AddArrayToObject(d, "planes");
    for (uint32_t i = 0; i < p->n_planes; i++) {
        cJSON *plane = cJSON_CreateObject();
        lap_document_text(plane, "label", p->planes[i].label);
        cJSON_AddNumberToObject(plane, "pairs", p->planes[i].pairs);
        add_matrix(plane, p, &p->planes[i]);
        add_chosen(plane, p, &p->planes[i], step);
        if (p->planes[i].classes != NULL) {
            add_classes(plane, s, p, &p->planes[i]);
        }
        cJSON_AddItemToArray(planes, plane);
    }
    return d;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static const char *data_text(lap_setup *s)
{
    lap_arena *arena = lap_session_ctx(s->session)->arena;
    bool has_inputs = s->inputs.n > 0;
    return has_inputs && s->has_weights ? "the given inputs and weights"
           : s->has_weights ? lap_arena_printf(arena, "the given weights and inputs made up from seed %lld",
                                               (long long)s->seed)
           : has_inputs
               ? lap_arena_printf(arena, "the given inputs, and what is missing made up from seed %lld",
                                  (long long)s->seed)
               : lap_arena_printf(arena, "data made up from seed %lld", (long long)s->seed);
}

cJSON *lap_show_document(lap_setup *s, const lap_pictures *pictures)
{
    const lap_model *m = lap_session_model(s->session);
    cJSON *d = cJSON_CreateObject();
    lap_document_text(d, "name", lap_model_name(m));
    lap_document_text(d, "doc", lap_model_doc(m));
    lap_document_text(d, "paper", lap_model_paper(m));
    lap_document_text(d, "data", data_text(s));
    lap_document_text(d, "cpu", lap_machine_cpu(lap_session_machine(s->session)));
    const lap_sizes *all = lap_session_sizes(s->session);
    cJSON *sizes = cJSON_AddObjectToObject(d, "dims");
    for (uint32_t i = 0; i < all->n; i++) {
        const char *symbol = lap_text(all->ctx, all->at[i].symbol);
        cJSON_AddNumberToObject(sizes, symbol, (double)all->at[i].value);
    }
    cJSON *list = cJSON_AddArrayToObject(d, "patterns");
    for (uint32_t i = 0; i < pictures->n; i++) {
        cJSON_AddItemToArray(list, picture_document(s, &pictures->at[i]));
    }
    lap_show_kernels(s, d);
    return d;
}
