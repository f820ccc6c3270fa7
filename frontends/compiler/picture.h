/* SPDX-License-Identifier: Apache-2.0
 * picture.h - what can be drawn of a model's patterns: which tokens each query sees, and the classes of
 * tiles.
 *
 * Pairs come from the evaluator, classes from the compiled code (passes/attend_classes.c): neither is worked
 * out here. Everything lives in the session's arena. */
#ifndef LAP_FRONTENDS_COMPILER_PICTURE_H
#define LAP_FRONTENDS_COMPILER_PICTURE_H

#include "frontends/compiler/session.h"
#include "passes/pattern.h"

typedef struct lap_picture_axis {
    const char *name;
    int64_t size;
} lap_picture_axis;

/* A grid of tokens, flat with the last axis fastest. */
typedef struct lap_picture_grid {
    uint32_t n;
    const lap_picture_axis *axis;
    int64_t size;
} lap_picture_grid;

/* The pattern for one value of the axes that are no tokens: a head, a batch. bits: queries x tokens. */
typedef struct lap_picture_plane {
    const char *label; /* "h = 0 .. 3", or "" */
    double pairs;
    const uint8_t *bits;
    const int64_t *classes; /* [tile rows, tiles] of its tiles, or NULL */
} lap_picture_plane;

typedef struct lap_picture {
    lap_loc loc;
    uint32_t n_times; /* attends with this pattern from this line */
    uint32_t part, n_parts;
    const lap_attend_use *use;
    lap_picture_grid queries, tokens;
    const char *keys; /* names of the key axes */
    bool is_shared, is_from_data;
    const char *missing; /* why there is no picture, or NULL */
    uint32_t n_planes, n_planes_all;
    const lap_picture_plane *planes;
    bool has_tiles; /* the tiles lie over queries x tokens as they are */
    int64_t tile_rows, tiles;
} lap_picture;

typedef struct lap_pictures {
    uint32_t n;
    const lap_picture *at;
} lap_pictures;

static inline bool lap_picture_sees(const lap_picture *p, const lap_picture_plane *plane, int64_t query,
                                    int64_t token)
{
    size_t bit = (size_t)query * (size_t)p->tokens.size + (size_t)token;
    return (plane->bits[bit / 8] >> bit % 8 & 1) != 0;
}

/* Of all attends of a loaded and filled session; compiles and runs where the code must be asked. */
LAP_MUST_CHECK bool lap_pictures_make(lap_session *s, const lap_compile_options *options,
                                      const lap_tensors *inputs, const lap_tensors *weights,
                                      lap_pictures *out);

#endif
