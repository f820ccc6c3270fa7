/* SPDX-License-Identifier: Apache-2.0
 * lower_window.c - reductions over sliding windows: a block of the source in scratch, then tiles of
 * neighbours that share what they read.
 *
 * The taps are expanded, the one that moves along the tile innermost, so that each element of the source
 * is read once per tile and sums stay in registers. Borders cost nothing: scratch holds what stands
 * outside. */
#include "passes/window.h"

#include <string.h>

/* Places of a block along the tile, along other windows, in lanes; a tile's multiply-adds. */
enum { TILE_BLOCK = 64, OTHER_BLOCK = 8, LANE_BLOCK = 512, TILE_MOST = 14, TILE_FEW = 6, BODY_MOST = 768 };
enum { FEW_LANES = 8 };

typedef struct slide {
    int64_t block, length; /* places of a block, elements of the source behind them */
    int64_t stride;        /* in scratch */
    lap_coord origin, index;
    lap_coord count; /* places in this block */
} slide;

struct lap_window_frame {
    lap_lowering *l;
    lap_kctx *k;
    lap_ref node;
    const lap_node *n;
    const lap_dest *dest;
    lap_windows w;
    slide at[LAP_WINDOW_PAIRS];
    int lane_pair, tile_pair; /* -1: none */
    slide lane;               /* where the lanes' axis is no window's */
    int64_t tile;
    lap_ref scratch;
    lap_coord *grid; /* by axis of dest */
    uint32_t n_read;
    lap_coord read_at[BODY_MOST + LAP_WINDOW_TAPS]; /* addresses read in this tile, and what was there */
    lap_ref read[BODY_MOST + LAP_WINDOW_TAPS];
};
typedef struct lap_window_frame frame;

static int pair_of(const frame *f, lap_name p)
{
    for (uint32_t i = 0; i < f->w.n; i++) {
        if (lap_name_same(f->w.pairs[i].p, p)) {
            return (int)i;
        }
    }
    return -1;
}

static lap_coord constant(const frame *f, int64_t v) { return lap_coord_const(f->k->c, v); }

/* ---- reading the source ---- */

bool lap_window_pull(lap_kctx *k, lap_ref node, const lap_coord *env, lap_ref *out)
{
    frame *f = k->window;
    if (!lap_ref_same(node, f->w.source)) {
        return false;
    }
    const lap_node *n = lap_node_at(k->l->g, node);
    lap_coord at = f->lane_pair < 0 ? f->lane.index : constant(f, 0);
    for (uint32_t i = 0; i < f->w.n; i++) {
        const lap_window_pair *p = &f->w.pairs[i];
        lap_coord place = lap_coord_sub(k->c, env[lap_node_axis(n, p->p) - n->axes], f->at[i].origin);
        lap_coord tap = env[lap_node_axis(n, p->k) - n->axes];
        lap_coord sum = lap_coord_add(k->c, place, lap_coord_mul(k->c, tap, constant(f, p->dilation)));
        at = lap_coord_add(k->c, at, lap_coord_mul(k->c, sum, constant(f, f->at[i].stride)));
    }
    for (uint32_t i = 0; i < f->n_read; i++) {
        if (lap_coord_same(f->read_at[i], at)) {
            *out = f->read[i];
            return true;
        }
    }
    *out = lap_k_load(k->k, f->scratch, lap_coord_ref(k->c, at), LAP_NONE);
    LAP_ENSURE(f->n_read < BODY_MOST + LAP_WINDOW_TAPS);
    f->read_at[f->n_read] = at;
    f->read[f->n_read++] = *out;
    return true;
}

/* ---- the shape ---- */

static int64_t at_most(const frame *f, lap_dim extent, int64_t block)
{
    int64_t size;
    return lap_dim_is_const(f->l->ctx, extent, &size) && size < block && size > 0 ? size : block;
}

static int64_t choose_tile(const frame *f)
{
    if (f->tile_pair < 0) {
        return 1;
    }
    int64_t most = f->l->target->n_registers >= 32 ? TILE_MOST : TILE_FEW, size;
    while (most > 1 && most * f->w.n_taps > BODY_MOST) {
        most--;
    }
    if (!lap_dim_is_const(f->l->ctx, f->w.pairs[f->tile_pair].extent, &size) || size <= 0) {
        return most;
    }
    int64_t tiles = (size + most - 1) / most;
    return (size + tiles - 1) / tiles; /* even ones */
}

static int64_t halo(const lap_window_pair *p) { return p->dilation * (p->taps - 1); }

static bool choose_shape(frame *f)
{
    const lap_dest *d = f->dest;
    const lap_axis *last = lap_node_axis(f->n, d->order[d->n - 1]);
    int64_t size;
    f->lane_pair = pair_of(f, last->name);
    f->tile_pair = -1;
    for (uint32_t i = 0; i + 1 < d->n; i++) {
        int pair = pair_of(f, d->order[i]);
        f->tile_pair = pair >= 0 ? pair : f->tile_pair;
    }
    if (lap_dim_is_const(f->l->ctx, last->size, &size) && size < FEW_LANES) {
        return false;
    }
    f->tile = choose_tile(f);
    f->lane.block = f->lane.length = at_most(f, last->size, f->l->target->vector_f32);
    int64_t below = f->lane_pair < 0 ? f->lane.block : 1, elements = below;
    for (uint32_t i = d->n; i-- > 0;) {
        int pair = pair_of(f, d->order[i]);
        if (pair < 0) {
            continue;
        }
        const lap_window_pair *p = &f->w.pairs[pair];
        slide *s = &f->at[pair];
        bool is_lane = pair == f->lane_pair, is_tile = pair == f->tile_pair;
        s->block = at_most(f, p->extent, is_lane ? LANE_BLOCK : is_tile ? TILE_BLOCK : OTHER_BLOCK);
        s->block = is_tile ? (s->block + f->tile - 1) / f->tile * f->tile : s->block;
        if (!p->is_filled && !(lap_dim_is_const(f->l->ctx, p->extent, &size) && size == s->block)) {
            return false; /* what is beyond the last place may not be read */
        }
        s->length = s->block + halo(p);
        s->stride = below;
        below *= s->length;
        elements = below;
    }
    return elements * 4 <= (int64_t)f->l->target->l2_bytes;
}

/* ---- the parts of the kernel ---- */

static void open_grid(frame *f)
{
    const lap_dest *d = f->dest;
    lap_ctx *ctx = f->l->ctx;
    lap_kctx *k = f->k;
    lap_dim *sizes = lap_arena_array(ctx->arena, d->n + 1, sizeof *sizes);
    for (uint32_t i = 0; i < d->n; i++) {
        int pair = pair_of(f, d->order[i]);
        int64_t block = pair >= 0 ? f->at[pair].block : i + 1 == d->n ? f->lane.block : 1;
        sizes[i] = lap_dim_ceildiv(ctx, d->size[i], lap_dim_const(ctx, block));
    }
    f->grid = lap_arena_array(ctx->arena, d->n + 1, sizeof *f->grid);
    lap_coord_split(k, lap_kctx_grid(k, lap_dims_product(ctx, d->n, sizes)), d->n, sizes, f->grid);
    for (uint32_t i = 0; i < d->n; i++) {
        int pair = pair_of(f, d->order[i]);
        slide *s = pair >= 0 ? &f->at[pair] : i + 1 == d->n ? &f->lane : NULL;
        if (s != NULL) {
            s->origin = lap_coord_mul(k->c, f->grid[i], constant(f, s->block));
            lap_coord rest = lap_coord_sub(k->c, lap_coord_dim(k->c, d->size[i]), s->origin);
            s->count = lap_coord_min(k->c, rest, constant(f, s->block));
        }
    }
}

/* Coordinates of a value over the result's axes and the taps: places where the slides stand. */
static lap_coord *env_of(const frame *f, const lap_node *n)
{
    const lap_dest *d = f->dest;
    lap_coord *env = lap_arena_array(f->l->ctx->arena, n->n_axes + 1, sizeof *env);
    for (uint32_t a = 0; a < n->n_axes; a++) {
        env[a] = constant(f, 0);
        for (uint32_t i = 0; i < d->n; i++) {
            if (!lap_name_same(d->order[i], n->axes[a].name)) {
                continue;
            }
            int pair = pair_of(f, d->order[i]);
            const slide *s = pair >= 0 ? &f->at[pair] : i + 1 == d->n ? &f->lane : NULL;
            env[a] = s != NULL ? lap_coord_add(f->k->c, s->origin, s->index) : f->grid[i];
        }
    }
    return env;
}

static lap_k_loop open_lanes(frame *f, lap_coord count)
{
    slide *s = f->lane_pair >= 0 ? &f->at[f->lane_pair] : &f->lane;
    return lap_kctx_for(f->k, LAP_LOOP_VECTOR, lap_dim_const(f->l->ctx, s->length),
                        lap_coord_ref(f->k->c, count), 0, NULL, &s->index);
}

/* Elements of the source behind the places that this block has. */
static lap_coord behind(const frame *f, int pair)
{
    return lap_coord_add(f->k->c, f->at[pair].count, constant(f, halo(&f->w.pairs[pair])));
}

/* The source of this block into scratch: tap 0 of the places it has, and of those behind
 * the last. A tile beyond the last place reads what was there before, and writes nothing. */
static void fill_scratch(frame *f)
{
    lap_kctx *k = f->k;
    lap_nest nest = {0};
    int64_t elements = f->lane_pair < 0 ? f->lane.block : 1;
    for (uint32_t i = 0; i < f->w.n; i++) {
        elements *= f->at[i].length;
    }
    f->scratch = lap_kctx_scratch(k, LAP_F32, lap_dim_const(f->l->ctx, elements));
    for (uint32_t i = 0; i < f->dest->n; i++) {
        int pair = pair_of(f, f->dest->order[i]);
        if (pair >= 0 && pair != f->lane_pair) {
            slide *s = &f->at[pair];
            nest.at[nest.n++] = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_dim_const(f->l->ctx, s->length),
                                             lap_coord_ref(k->c, behind(f, pair)), 0, NULL, &s->index);
        }
    }
    lap_coord count = f->lane_pair < 0 ? f->lane.count : behind(f, f->lane_pair);
    lap_k_loop loop = open_lanes(f, count);
    lap_coord to = f->lane_pair < 0 ? f->lane.index : constant(f, 0);
    for (uint32_t i = 0; i < f->w.n; i++) {
        to = lap_coord_add(k->c, to, lap_coord_mul(k->c, f->at[i].index, constant(f, f->at[i].stride)));
    }
    const lap_node *n = lap_node_at(f->l->g, f->w.source);
    lap_ref v = lap_val_ref(k, lap_pull_expr(k, f->w.source, env_of(f, n), LAP_NONE));
    lap_k_store(k->k, f->scratch, lap_coord_ref(k->c, to), v, LAP_NONE);
    lap_kctx_end(k, &loop, NULL, NULL);
    lap_nest_close(k, &nest);
}

static lap_ref neutral(const frame *f, lap_red red)
{
    double v = red == LAP_RED_SUM ? 0 : red == LAP_RED_MAX ? -__builtin_inf() : __builtin_inf();
    return lap_const_f(f->k->k, v);
}

static void set_place(frame *f, lap_coord tile, int64_t place)
{
    if (f->tile_pair >= 0) {
        f->at[f->tile_pair].index = lap_coord_add(f->k->c, tile, constant(f, place));
    }
}

/* One place of the tile after the other takes the tap at which the taps' coordinates stand. */
static void take_tap(frame *f, lap_coord tile, lap_fn fn, const lap_coord *taps, lap_ref *acc)
{
    const lap_node *r = lap_node_at(f->l->g, f->w.reduce), *x = lap_node_at(f->l->g, r->args[0]);
    for (int64_t t = 0; t < f->tile; t++) {
        set_place(f, tile, t);
        lap_coord *env = env_of(f, x);
        for (uint32_t i = 0; i < f->w.n; i++) {
            env[lap_node_axis(x, f->w.pairs[i].k) - x->axes] = taps[i];
        }
        acc[t] = lap_map2(f->k->k, fn, acc[t], lap_pull_ref(f->k, r->args[0], env, LAP_NONE));
    }
}

/* Loops over the taps beside the tile's, which are expanded: each read serves as many places as it can. */
static void reduce_taps(frame *f, lap_coord tile, lap_fn fn, uint32_t pair, lap_coord *taps, lap_ref *acc)
{
    if (pair < f->w.n && (int)pair == f->tile_pair) {
        reduce_taps(f, tile, fn, pair + 1, taps, acc);
        return;
    }
    if (pair < f->w.n) {
        lap_k_loop loop = lap_kctx_for(f->k, LAP_LOOP_SERIAL, lap_dim_const(f->l->ctx, f->w.pairs[pair].taps),
                                       LAP_NONE, (uint32_t)f->tile, acc, &taps[pair]);
        lap_ref next[TILE_MOST];
        memcpy(next, loop.carried, (size_t)f->tile * sizeof *next);
        reduce_taps(f, tile, fn, pair + 1, taps, next);
        lap_kctx_end(f->k, &loop, next, acc);
        return;
    }
    f->n_read = 0;
    int64_t n = f->tile_pair >= 0 ? f->w.pairs[f->tile_pair].taps : 1;
    for (int64_t i = 0; i < n; i++) {
        if (f->tile_pair >= 0) {
            taps[f->tile_pair] = constant(f, i);
        }
        take_tap(f, tile, fn, taps, acc);
    }
}

static void reduce_tile(frame *f, lap_coord tile, lap_ref *acc)
{
    const lap_node *r = lap_node_at(f->l->g, f->w.reduce);
    lap_red red = (lap_red)lap_attr_i(r, LAP_ATTR_RED, 0);
    lap_fn fn = red == LAP_RED_SUM ? LAP_FN_ADD : red == LAP_RED_MAX ? LAP_FN_MAX : LAP_FN_MIN;
    lap_coord taps[LAP_WINDOW_PAIRS];
    for (int64_t t = 0; t < f->tile; t++) {
        acc[t] = neutral(f, red);
    }
    f->k->window = f;
    reduce_taps(f, tile, fn, 0, taps, acc);
    f->k->window = NULL;
}

static void write_tile(frame *f, lap_coord tile, const lap_ref *acc)
{
    lap_kctx *k = f->k;
    const lap_node *r = lap_node_at(f->l->g, f->w.reduce);
    for (int64_t t = 0; t < f->tile; t++) {
        set_place(f, tile, t);
        lap_coord *env = env_of(f, f->n);
        lap_ref mask = LAP_NONE;
        if (f->tile_pair >= 0) {
            const lap_window_pair *p = &f->w.pairs[f->tile_pair];
            lap_coord place = env[lap_node_axis(f->n, p->p) - f->n->axes],
                      end = lap_coord_dim(k->c, p->extent);
            if (lap_coord_compare(k->c, place, LAP_REL_LT, end) != LAP_YES) {
                mask = lap_map2(k->k, LAP_FN_LT, lap_coord_ref(k->c, place), lap_dim_node(k->k, p->extent));
            }
        }
        lap_know(k, f->w.reduce, env_of(f, r), mask, (lap_val){.ref = acc[t]});
        lap_val v = lap_ref_same(f->node, f->w.reduce) ? (lap_val){.ref = acc[t]}
                                                       : lap_pull_expr(k, f->node, env, mask);
        lap_ref at = lap_coord_ref(k->c, lap_dest_address(k, f->dest, f->n->n_axes, f->n->axes, env));
        lap_k_store(k->k, lap_kctx_buffer(k, f->dest->buffer), at, lap_val_ref(k, v), mask);
    }
}

static void compute(frame *f)
{
    lap_kctx *k = f->k;
    lap_nest nest = {0};
    lap_coord tile = constant(f, 0);
    for (uint32_t i = 0; i < f->dest->n; i++) {
        int pair = pair_of(f, f->dest->order[i]);
        if (pair < 0 || pair == f->lane_pair) {
            continue;
        }
        slide *s = &f->at[pair];
        int64_t step = pair == f->tile_pair ? f->tile : 1;
        lap_coord up = lap_coord_add(k->c, s->count, constant(f, step - 1));
        lap_coord n = lap_coord_floordiv(k->c, up, constant(f, step));
        nest.at[nest.n++] = lap_kctx_for(k, LAP_LOOP_SERIAL, lap_dim_const(f->l->ctx, s->block / step),
                                         lap_coord_ref(k->c, n), 0, NULL, &s->index);
        tile = pair == f->tile_pair ? lap_coord_mul(k->c, s->index, constant(f, step)) : tile;
    }
    lap_k_loop loop = open_lanes(f, f->lane_pair < 0 ? f->lane.count : f->at[f->lane_pair].count);
    lap_ref acc[TILE_MOST];
    reduce_tile(f, tile, acc);
    write_tile(f, tile, acc);
    lap_kctx_end(k, &loop, NULL, NULL);
    lap_nest_close(k, &nest);
}

bool lap_lower_window(lap_lowering *l, lap_ref node, const lap_dest *dest)
{
    frame *f = lap_arena_alloc(l->ctx->arena, sizeof *f);
    *f = (frame){.l = l, .node = node, .n = lap_node_at(l->g, node), .dest = dest};
    if (dest->n == 0 || dest->n != f->n->n_axes || l->buffers[dest->buffer].elem == LAP_I4 ||
        !lap_windows_of(l, node, &f->w)) {
        return false;
    }
    lap_kctx *k = f->k = lap_kctx_new(l, f->n->loc);
    if (!choose_shape(f)) {
        return false;
    }
    k->roles = lap_arena_printf(l->ctx->arena, "(%s) taps=%u tile=%lld",
                                lap_axes_text(l, f->n->n_axes, f->n->axes), f->w.n_taps, (long long)f->tile);
    f->lane.index = f->lane.origin = constant(f, 0);
    open_grid(f);
    fill_scratch(f);
    compute(f);
    lap_kctx_launch(k, "window");
    return true;
}
