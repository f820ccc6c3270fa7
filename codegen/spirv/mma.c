/* SPDX-License-Identifier: Apache-2.0
 * mma.c - the register tile: each invocation owns blocks of it, and keeps one block in registers. */
#include "codegen/spirv/emitter.h"

typedef struct tile {
    const lap_node *n;
    uint32_t rows, cols;         /* of the tile */
    uint32_t own_rows, own_cols; /* of a block */
    bool init;
} tile;

enum { ACC, ACC0, LD, A, A0, SM, SK, M, B, B0, SB, DEPTH };

/* The largest divisor of n that is at most `most`. */
static uint32_t divisor(uint32_t n, uint32_t most)
{
    uint32_t d = most < n ? most : n;
    while (n % d != 0) {
        d--;
    }
    return d;
}

static const char *index_of(lap_shader *e, const tile *t, int operand)
{
    return lap_glsl_value(e, t->n->args[operand], LAP_GLSL_INT);
}

static const char *acc_index(lap_shader *e, uint32_t i, uint32_t j)
{
    return lap_glsl_print(e, "ac + %u * ld + %u", i, j);
}

static void start(lap_shader *e, const tile *t)
{
    for (uint32_t i = 0; i < t->own_rows; i++) {
        for (uint32_t j = 0; j < t->own_cols; j++) {
            const char *v = t->init ? "0.0" : lap_glsl_element(e, t->n->args[ACC], acc_index(e, i, j));
            lap_glsl_line(e, "float c%u_%u = %s;", i, j, v);
        }
    }
}

static void step_a(lap_shader *e, const tile *t)
{
    for (uint32_t i = 0; i < t->own_rows; i++) {
        lap_glsl_line(e, "float a%u = %s;", i,
                      lap_glsl_element(e, t->n->args[A], lap_glsl_print(e, "ia%u", i)));
        lap_glsl_line(e, "ia%u += sk;", i);
    }
}

static void step_column(lap_shader *e, const tile *t, uint32_t j, const char *b)
{
    lap_glsl_line(e, "float b%u = %s;", j, b);
    for (uint32_t i = 0; i < t->own_rows; i++) {
        lap_glsl_line(e, "c%u_%u += a%u * b%u;", i, j, i, j);
    }
}

static void step(lap_shader *e, const tile *t)
{
    step_a(e, t);
    for (uint32_t j = 0; j < t->own_cols; j++) {
        step_column(e, t, j, lap_glsl_element(e, t->n->args[B], lap_glsl_print(e, "(ib + %u)", j)));
    }
}

/* Every invocation needs the whole row of b: the subgroup loads it once and hands it round. */
static void step_together(lap_shader *e, const tile *t)
{
    uint32_t width = e->target->group_size;
    step_a(e, t);
    for (uint32_t j = 0; j < t->own_cols; j++) {
        if (j % width == 0) {
            const char *index = lap_glsl_print(e, "(ib + int(gl_SubgroupInvocationID) + %u)", j);
            lap_glsl_line(e, "float d%u = %s;", j / width, lap_glsl_element(e, t->n->args[B], index));
        }
        step_column(e, t, j, lap_glsl_print(e, "subgroupShuffle(d%u, %uu)", j / width, j % width));
    }
}

typedef void step_fn(lap_shader *e, const tile *t);

static void sum(lap_shader *e, const tile *t, step_fn *one)
{
    const char *depth = index_of(e, t, DEPTH);
    lap_glsl_line(e, "int k = 0;");
    lap_glsl_open(e, "if (k < %s) do ", depth);
    one(e, t);
    lap_glsl_line(e, "ib += sb;");
    lap_glsl_close(e, lap_glsl_print(e, " while (++k < %s);", depth));
}

static void finish(lap_shader *e, const tile *t)
{
    for (uint32_t i = 0; i < t->own_rows; i++) {
        for (uint32_t j = 0; j < t->own_cols; j++) {
            lap_glsl_put_element(e, t->n->args[ACC], acc_index(e, i, j), lap_glsl_print(e, "c%u_%u", i, j));
        }
    }
}

static void emit_block(lap_shader *e, const tile *t, uint32_t n_col_blocks)
{
    lap_glsl_line(e, "int r = block / %u * %u, c = block %% %u * %u;", n_col_blocks, t->own_rows,
                  n_col_blocks, t->own_cols);
    lap_glsl_line(e, "int ld = %s, sk = %s, sb = %s, ac = %s + r * ld + c, ib = %s + c;", index_of(e, t, LD),
                  index_of(e, t, SK), index_of(e, t, SB), index_of(e, t, ACC0), index_of(e, t, B0));
    for (uint32_t i = 0; i < t->own_rows; i++) {
        lap_glsl_line(e, "int ia%u = %s + min(r + %u, %s - 1) * %s;", i, index_of(e, t, A0), i,
                      index_of(e, t, M), index_of(e, t, SM));
    }
    start(e, t);
    uint32_t width = e->target->group_size;
    if (n_col_blocks == 1 && t->own_cols % width == 0 && t->rows == t->own_rows * width) {
        lap_glsl_open(e, "if (SUBGROUP == %u && GROUP == %u) ", width, width);
        sum(e, t, step_together);
        lap_glsl_close(e, " else {");
        e->depth++;
        sum(e, t, step);
        lap_glsl_close(e, "");
    } else {
        sum(e, t, step);
    }
    finish(e, t);
}

static tile tile_of(const lap_shader *e, const lap_node *n)
{
    tile t = {.n = n,
              .rows = (uint32_t)lap_attr_i(n, LAP_ATTR_ROWS, 1),
              .cols = (uint32_t)lap_attr_i(n, LAP_ATTR_COLS, 1),
              .init = lap_attr_i(n, LAP_ATTR_INIT, 0) != 0};
    t.own_rows = divisor(t.rows, e->target->own_rows);
    t.own_cols = divisor(t.cols, e->target->own_cols);
    return t;
}

uint32_t lap_glsl_mma_blocks(const lap_shader *e, const lap_node *n)
{
    tile t = tile_of(e, n);
    return t.rows / t.own_rows * (t.cols / t.own_cols);
}

void lap_glsl_emit_mma(lap_shader *e, const lap_node *n)
{
    tile t = tile_of(e, n);
    lap_glsl_open(e, " ");
    lap_glsl_line(e, "int block = lane;");
    lap_glsl_open(e, "if (block < %u) do ", lap_glsl_mma_blocks(e, n));
    emit_block(e, &t, t.cols / t.own_cols);
    lap_glsl_close(e, lap_glsl_print(e, " while ((block += GROUP) < %u);", lap_glsl_mma_blocks(e, n)));
    lap_glsl_close(e, "");
}
