/* SPDX-License-Identifier: Apache-2.0
 * picture.c - see picture.h.
 *
 * A pattern's values are evaluated over rows and keys, then every seen pair is marked at the tokens that it
 * joins. Axes that are neither (heads, batches) give a plane each; planes that are alike are one. */
#include "frontends/compiler/picture.h"

#include <string.h>

#include "frontends/compiler/session_state.h"
#include "ir/eval.h"
#include "passes/cost.h"

enum { MOST_PICTURES = 32, MOST_PLANES = 16, MOST_TOKENS = 1 << 14 };
#define MOST_STEPS 2e8 /* of the evaluator and of drawing: about three seconds */

typedef struct vars {
    uint32_t n;
    lap_name name[LAP_MAX_AXES];
    int64_t size[LAP_MAX_AXES];
} vars;

/* An evaluated value: a dense tensor over named axes; no tensor: true, everywhere. */
typedef struct value {
    lap_ref ref;
    const lap_tensor *t;
} value;

typedef struct drawer {
    lap_graph *g;
    lap_ctx *ctx;
    lap_sizes *sizes;
    const lap_tensors *results;
    lap_pattern p;
    lap_picture *out;
    value seen, query[LAP_MAX_AXES], token[LAP_MAX_AXES];
    vars planes, rows, keys;
} drawer;

static int64_t extent(drawer *d, lap_dim dim)
{
    int64_t n;
    return lap_dim_eval(d->ctx, dim, lap_sizes_value, d->sizes, &n) && n > 0 ? n : 0;
}

static uint32_t find_var(const vars *v, lap_name name)
{
    return lap_names_find((lap_names){v->n, v->name}, name);
}

static double count_of(const vars *v)
{
    double n = 1.0;
    for (uint32_t i = 0; i < v->n; i++) {
        n *= (double)v->size[i];
    }
    return n;
}

/* The axes of a value that are not in `but` become variables. */
static void add_vars(drawer *d, vars *to, lap_ref r, const vars *but, const vars *also)
{
    for (uint32_t i = 0; lap_ref_some(r) && i < lap_node_at(d->g, r)->n_axes; i++) {
        const lap_axis *a = &lap_node_at(d->g, r)->axes[i];
        bool is_new = find_var(to, a->name) == to->n && (but == NULL || find_var(but, a->name) == but->n) &&
                      (also == NULL || find_var(also, a->name) == also->n);
        if (is_new && to->n < LAP_MAX_AXES) {
            to->name[to->n] = a->name;
            to->size[to->n++] = extent(d, a->size);
        }
    }
}

static void name_vars(drawer *d)
{
    vars keys = {0}, all = {0};
    d->planes = d->rows = d->keys = (vars){0};
    add_vars(d, &all, d->p.seen, NULL, NULL);
    for (uint32_t i = 0; i < d->p.tokens.n; i++) {
        add_vars(d, &all, d->p.tokens.place[i], NULL, NULL);
    }
    for (uint32_t i = 0; i < all.n; i++) {
        if (lap_names_has(d->p.keys, all.name[i])) {
            keys.name[keys.n] = all.name[i];
            keys.size[keys.n++] = all.size[i];
        }
    }
    for (uint32_t i = 0; i < d->p.queries.n; i++) {
        add_vars(d, &d->rows, d->p.queries.place[i], &keys, NULL);
    }
    d->keys = keys;
    add_vars(d, &d->planes, d->p.seen, &d->rows, &d->keys);
    for (uint32_t i = 0; i < d->p.tokens.n; i++) {
        add_vars(d, &d->planes, d->p.tokens.place[i], &d->rows, &d->keys);
    }
}

/* ---- values -------------------------------------------------------------------------------- */

static lap_output output_of(drawer *d, lap_ref r)
{
    const lap_node *n = lap_node_at(d->g, r);
    lap_names *groups = lap_arena_array(d->ctx->arena, n->n_axes + 1, sizeof *groups);
    lap_name *names = lap_arena_array(d->ctx->arena, n->n_axes + 1, sizeof *names);
    for (uint32_t i = 0; i < n->n_axes; i++) {
        names[i] = n->axes[i].name;
        groups[i] = (lap_names){1, &names[i]};
    }
    return (lap_output){
        .name = lap_intern(d->ctx, "pattern"), .value = r, .layout = {n->n_axes, groups}, .loc = n->loc};
}

enum { MOST_VALUES = MOST_PICTURES * (2 * LAP_MAX_AXES + 1) };

typedef struct wanted {
    uint32_t n;
    lap_ref ref[MOST_VALUES];
    lap_output output[MOST_VALUES];
    value *to[MOST_VALUES];
} wanted;

static void want(drawer *d, wanted *w, value *v, lap_ref ref)
{
    *v = (value){.ref = ref};
    if (lap_ref_some(ref)) {
        w->ref[w->n] = ref;
        w->output[w->n] = output_of(d, ref);
        w->to[w->n++] = v;
    }
}

static void want_values(drawer *d, wanted *w)
{
    want(d, w, &d->seen, d->p.seen);
    for (uint32_t i = 0; i < d->p.queries.n; i++) {
        want(d, w, &d->query[i], d->p.queries.place[i]);
    }
    for (uint32_t i = 0; i < d->p.tokens.n; i++) {
        want(d, w, &d->token[i], d->p.tokens.place[i]);
    }
}

/* What each point of the variables adds to the place in a value's tensor. */
static const int64_t *offsets(drawer *d, const value *v, const vars *at)
{
    size_t n = (size_t)count_of(at);
    int64_t *out = lap_arena_array(d->ctx->arena, n + 1, sizeof *out);
    const lap_node *node = v->t != NULL ? lap_node_at(d->g, v->ref) : NULL;
    int64_t stride[LAP_MAX_AXES] = {0}, below = 1;
    for (uint32_t i = node != NULL ? node->n_axes : 0; i-- > 0;) {
        uint32_t var = find_var(at, node->axes[i].name);
        if (var < at->n) {
            stride[var] = below;
        }
        below *= v->t->shape[i];
    }
    for (size_t i = 0; i < n; i++) {
        size_t rest = i;
        for (uint32_t k = at->n; k-- > 0;) {
            out[i] += (int64_t)(rest % (size_t)at->size[k]) * stride[k];
            rest /= (size_t)at->size[k];
        }
    }
    return out;
}

/* A value's place as the sum of those of the plane, the row and the key. */
typedef struct reader {
    const value *v;
    const int64_t *plane, *row, *key;
} reader;

static reader open_reader(drawer *d, const value *v)
{
    return (reader){v, offsets(d, v, &d->planes), offsets(d, v, &d->rows), offsets(d, v, &d->keys)};
}

static int64_t read_at(const reader *r, size_t plane, size_t row, size_t key)
{
    return lap_tensor_get_int(r->v->t, (size_t)(r->plane[plane] + r->row[row] + r->key[key]));
}

/* The flat number of a token, or -1. */
static int64_t token_at(const reader *readers, const lap_picture_grid *grid, size_t plane, size_t row,
                        size_t key)
{
    int64_t flat = 0;
    for (uint32_t i = 0; i < grid->n; i++) {
        int64_t at = read_at(&readers[i], plane, row, key);
        if (at < 0 || at >= grid->axis[i].size) {
            return -1;
        }
        flat = flat * grid->axis[i].size + at;
    }
    return flat;
}

/* ---- planes -------------------------------------------------------------------------------- */

typedef struct readers {
    reader seen, query[LAP_MAX_AXES], token[LAP_MAX_AXES];
} readers;

static lap_picture_plane draw_plane(drawer *d, const readers *r, size_t plane)
{
    lap_picture *p = d->out;
    size_t n_bits = (size_t)p->queries.size * (size_t)p->tokens.size;
    uint8_t *bits = lap_arena_array(d->ctx->arena, n_bits / 8 + 1, 1);
    lap_picture_plane out = {.label = "", .bits = bits};
    size_t n_rows = (size_t)count_of(&d->rows), n_keys = (size_t)count_of(&d->keys);
    for (size_t row = 0; row < n_rows; row++) {
        int64_t query = token_at(r->query, &p->queries, plane, row, 0);
        for (size_t key = 0; key < n_keys && query >= 0; key++) {
            if (d->seen.t != NULL && read_at(&r->seen, plane, row, key) == 0) {
                continue;
            }
            int64_t token = token_at(r->token, &p->tokens, plane, row, key);
            size_t bit = (size_t)query * (size_t)p->tokens.size + (size_t)token;
            if (token >= 0 && (bits[bit / 8] >> bit % 8 & 1) == 0) {
                bits[bit / 8] |= (uint8_t)(1u << bit % 8);
                out.pairs++;
            }
        }
    }
    return out;
}

static const char *label_of(drawer *d, size_t plane, size_t last)
{
    const char *text = "";
    size_t below = (size_t)count_of(&d->planes);
    for (uint32_t i = 0; i < d->planes.n; i++) {
        below /= (size_t)d->planes.size[i];
        size_t from = plane / below % (size_t)d->planes.size[i],
               to = last / below % (size_t)d->planes.size[i];
        text = lap_arena_printf(d->ctx->arena, from == to ? "%s%s%s %zu" : "%s%s%s %zu to %zu", text,
                                i > 0 ? ", " : "", lap_text(d->ctx, d->planes.name[i]), from, to);
    }
    return text;
}

/* The axes in order, from the last of `all` on, and whether the places are those axes as they are. */
static bool are_axes(drawer *d, const lap_tokens *t, lap_names all)
{
    if (t->n > all.n) {
        return false;
    }
    for (uint32_t i = 0; i < t->n; i++) {
        const lap_node *n = lap_node_at(d->g, t->place[i]);
        if (n->op != LAP_OP_INDEX || !lap_name_same(n->axes[0].name, all.at[all.n - t->n + i])) {
            return false;
        }
    }
    return true;
}

/* The plane's classes: those at its coordinates of the axes outside tiles, at 0 of the others. */
static const int64_t *classes_at(drawer *d, const lap_tensor *t, size_t plane)
{
    const lap_node *attend = lap_node_at(d->g, d->out->use->attend);
    lap_names outer = d->out->use->outer;
    int64_t flat = 0;
    for (uint32_t i = 0; i < outer.n; i++) {
        uint32_t var = find_var(&d->planes, outer.at[i]);
        size_t below = 1;
        for (uint32_t k = var + 1; k < d->planes.n; k++) {
            below *= (size_t)d->planes.size[k];
        }
        int64_t size = 1;
        for (uint32_t a = 0; a < attend->n_args; a++) {
            const lap_axis *axis = lap_node_axis(lap_node_at(d->g, attend->args[a]), outer.at[i]);
            size = axis != NULL ? extent(d, axis->size) : size;
        }
        flat = flat * size + (var < d->planes.n ? (int64_t)(plane / below % (size_t)d->planes.size[var]) : 0);
    }
    return flat < t->shape[0] ? (const int64_t *)t->data + flat * t->shape[1] * t->shape[2] : NULL;
}

static void draw_planes(drawer *d)
{
    lap_picture *p = d->out;
    readers r = {.seen = open_reader(d, &d->seen)};
    for (uint32_t i = 0; i < p->queries.n; i++) {
        r.query[i] = open_reader(d, &d->query[i]);
    }
    for (uint32_t i = 0; i < p->tokens.n; i++) {
        r.token[i] = open_reader(d, &d->token[i]);
    }
    const lap_tensor *classes = p->use->output >= 0 ? &d->results->at[p->use->output] : NULL;
    p->has_tiles = p->use->tile_rows > 0 && p->use->rows.n > 0 && are_axes(d, &d->p.queries, p->use->rows) &&
                   are_axes(d, &d->p.tokens, p->use->keys) && d->p.tokens.n == p->use->keys.n;
    p->tile_rows = classes != NULL ? classes->shape[1] : 0;
    p->tiles = classes != NULL ? classes->shape[2] : 0;
    double all = count_of(&d->planes);
    uint32_t n = all < MOST_PLANES ? (uint32_t)all : MOST_PLANES;
    lap_picture_plane *planes = lap_arena_array(d->ctx->arena, n + 1, sizeof *planes);
    size_t n_bytes = (size_t)p->queries.size * (size_t)p->tokens.size / 8 + 1, first = 0;
    for (uint32_t i = 0; i < n; i++) {
        lap_picture_plane plane = draw_plane(d, &r, i);
        plane.classes = classes != NULL ? classes_at(d, classes, i) : NULL;
        bool is_new = p->n_planes == 0 || memcmp(planes[p->n_planes - 1].bits, plane.bits, n_bytes) != 0;
        if (is_new) {
            first = i;
            planes[p->n_planes++] = plane;
        }
        planes[p->n_planes - 1].label = label_of(d, first, i);
    }
    p->n_planes_all = all < 1e9 ? (uint32_t)all : 1000000000u;
    p->planes = planes;
}

/* ---- one attend ---------------------------------------------------------------------------- */

static lap_picture_grid grid_of(drawer *d, const lap_tokens *t)
{
    lap_picture_axis *axes = lap_arena_array(d->ctx->arena, t->n + 1, sizeof *axes);
    lap_picture_grid grid = {.n = t->n, .axis = axes, .size = 1};
    for (uint32_t i = 0; i < t->n; i++) {
        axes[i] = (lap_picture_axis){lap_text(d->ctx, t->axis[i].name), extent(d, t->axis[i].size)};
        bool fits = axes[i].size <= MOST_TOKENS && grid.size <= MOST_TOKENS;
        grid.size = fits ? grid.size * axes[i].size : (int64_t)MOST_TOKENS + 1;
    }
    return grid;
}

static const char *keys_text(drawer *d)
{
    const char *text = "";
    for (uint32_t i = 0; i < d->p.keys.n; i++) {
        text = lap_arena_printf(d->ctx->arena, "%s%s%s", text, i > 0 ? " " : "",
                                lap_text(d->ctx, d->p.keys.at[i]));
    }
    return text;
}

static bool fits_tensors(const drawer *d)
{
    bool fits = !lap_ref_some(d->p.seen) || lap_node_at(d->g, d->p.seen)->n_axes <= LAP_MAX_RANK;
    for (uint32_t i = 0; i < d->p.queries.n; i++) {
        fits = fits && lap_node_at(d->g, d->p.queries.place[i])->n_axes <= LAP_MAX_RANK;
    }
    for (uint32_t i = 0; i < d->p.tokens.n; i++) {
        fits = fits && lap_node_at(d->g, d->p.tokens.place[i])->n_axes <= LAP_MAX_RANK;
    }
    return fits;
}

/* Everything but the pairs; what cannot be drawn says why. */
static void describe(drawer *d)
{
    lap_picture *p = d->out;
    p->queries = grid_of(d, &d->p.queries);
    p->tokens = grid_of(d, &d->p.tokens);
    p->keys = keys_text(d);
    p->is_shared = d->p.is_shared;
    p->is_from_data = d->p.is_from_data;
    name_vars(d);
    double pairs = count_of(&d->rows) * count_of(&d->keys);
    if (!fits_tensors(d)) {
        p->missing = "the pattern varies over more axes than can be drawn";
    } else if (d->p.is_inside) {
        p->missing = "the pattern depends on the state of a loop, and has no value outside it";
    } else if (p->queries.size > MOST_TOKENS || p->tokens.size > MOST_TOKENS) {
        p->missing = "too many tokens to draw: choose smaller sizes with --dim";
    } else if (p->queries.size < 1 || p->tokens.size < 1 || pairs < 1.0 || count_of(&d->planes) < 1.0) {
        p->missing = "there are no tokens at these sizes";
    }
}

static bool is_same(const lap_pattern *a, const lap_pattern *b)
{
    bool same = lap_ref_same(a->seen, b->seen) && a->queries.n == b->queries.n && a->tokens.n == b->tokens.n;
    for (uint32_t i = 0; same && i < a->queries.n; i++) {
        same = lap_ref_same(a->queries.place[i], b->queries.place[i]);
    }
    for (uint32_t i = 0; same && i < a->tokens.n; i++) {
        same = lap_ref_same(a->tokens.place[i], b->tokens.place[i]);
    }
    return same;
}

typedef struct make_args {
    const lap_tensors *inputs, *weights;
    lap_tensors results; /* of a run, where some picture has classes */
    bool wants_classes;
    wanted wanted;
    uint32_t n;
    drawer *drawers[MOST_PICTURES];
    lap_picture pictures[MOST_PICTURES];
} make_args;

/* One more picture, unless there is one like it from the same line. */
static void add_picture(lap_session *s, make_args *a, const lap_attend_use *use, uint32_t part)
{
    lap_graph *g = lap_session_program(s)->source;
    lap_ctx *ctx = lap_session_ctx(s);
    lap_parts parts = lap_node_attr(lap_node_at(g, use->attend), LAP_ATTR_PARTS)->parts;
    lap_pattern p = lap_pattern_of(g, use->attend, &parts.at[part]);
    lap_loc loc = lap_node_at(g, use->attend)->loc;
    for (uint32_t i = 0; i < a->n; i++) {
        lap_picture *known = &a->pictures[i];
        if (known->loc.ix == loc.ix && known->part == part + 1 && is_same(&a->drawers[i]->p, &p)) {
            known->n_times++;
            return;
        }
    }
    if (a->n == MOST_PICTURES) {
        return;
    }
    lap_picture *picture = &a->pictures[a->n];
    *picture = (lap_picture){.loc = loc, .n_times = 1, .part = part + 1, .n_parts = parts.n, .use = use};
    drawer *d = lap_arena_alloc(ctx->arena, sizeof *d);
    *d = (drawer){
        .g = g, .ctx = ctx, .sizes = lap_session_sizes(s), .results = &a->results, .p = p, .out = picture};
    describe(d);
    a->drawers[a->n++] = d;
}

/* Adds what a picture needs, unless that and all before would take too long. */
static void want_picture(drawer *d, wanted *w, double *drawn)
{
    uint32_t before = w->n;
    double planes = count_of(&d->planes), steps = 0.0;
    double draws = count_of(&d->rows) * count_of(&d->keys) * (planes < MOST_PLANES ? planes : MOST_PLANES);
    want_values(d, w);
    bool is_known = lap_cost_of_evaluating(d->g, w->n, w->ref, lap_sizes_value, d->sizes, &steps);
    if (!is_known || steps + *drawn + draws > MOST_STEPS) {
        w->n = before;
        d->out->missing = d->p.is_from_data
                              ? "the pattern comes from data that takes too long to evaluate at these sizes: "
                                "choose smaller ones with --dim"
                              : "the pattern takes too long to evaluate at these sizes: choose smaller ones "
                                "with --dim";
    } else {
        *drawn += draws;
    }
}

/* Everything but the pairs, for all patterns, and what they are to be evaluated from. */
static bool describe_all(lap_session *s, void *user)
{
    make_args *a = user;
    const lap_program *program = lap_session_program(s);
    double drawn = 0.0;
    for (uint32_t i = 0; i < program->n_attends; i++) {
        const lap_attend_use *use = &program->attends[i];
        uint32_t n_parts = lap_node_attr(lap_node_at(program->source, use->attend), LAP_ATTR_PARTS)->parts.n;
        for (uint32_t part = 0; part < n_parts; part++) {
            add_picture(s, a, use, part);
        }
    }
    for (uint32_t i = 0; i < a->n; i++) {
        if (a->pictures[i].missing == NULL) {
            want_picture(a->drawers[i], &a->wanted, &drawn);
            a->wants_classes |= a->pictures[i].missing == NULL && a->pictures[i].use->output >= 0;
        }
    }
    return true;
}

/* All values at once: what several patterns are made from is evaluated once. */
static bool draw_all(lap_session *s, void *user)
{
    make_args *a = user;
    const wanted *w = &a->wanted;
    lap_eval_io inputs = {a->inputs->n, a->inputs->names, a->inputs->at};
    lap_eval_io weights = {a->weights->n, a->weights->names, a->weights->at};
    lap_eval_result result;
    if (w->n > 0 && !lap_eval_values(a->drawers[0]->g, w->n, w->output, NULL, &inputs, &weights, &result)) {
        return lap_session_fail_with_errors(s);
    }
    for (uint32_t i = 0; i < w->n; i++) {
        w->to[i]->t = &result.tensors[i];
    }
    for (uint32_t i = 0; i < a->n; i++) {
        if (a->pictures[i].missing == NULL) {
            draw_planes(a->drawers[i]);
        }
    }
    return true;
}

bool lap_pictures_make(lap_session *s, const lap_compile_options *options, const lap_tensors *inputs,
                       const lap_tensors *weights, lap_pictures *out)
{
    lap_compile_options copy = *options;
    copy.writes_classes = true;
    copy.tuning = NULL; /* records are for kernels without classes */
    make_args *a = lap_arena_alloc(lap_session_ctx(s)->arena, sizeof *a);
    *a = (make_args){.inputs = inputs, .weights = weights};
    if (!lap_session_lower(s, &copy) || !lap_session_guarded(s, describe_all, a)) {
        return false;
    }
    if (a->wants_classes && (!lap_session_compile(s, &copy) || !lap_session_bind(s, weights) ||
                             !lap_session_run(s, inputs, &a->results))) {
        return false;
    }
    *out = (lap_pictures){a->n, a->pictures};
    return lap_session_guarded(s, draw_all, a);
}
