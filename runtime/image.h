/* SPDX-License-Identifier: Apache-2.0
 * image.h - a program image, checked whole and taken apart; the parts point into the image.
 *
 * After lap_image_open every number in it (dims, buffers, kernels, steps, symbols) is in range, the
 * steps form a tree, and the code of extents runs on a stack of LAP_EXTENT_STACK. */
#ifndef LAP_RUNTIME_IMAGE_H
#define LAP_RUNTIME_IMAGE_H

#include "runtime/program.h"
#include "runtime/tensor.h"

enum { LAP_EXTENT_STACK = 256, LAP_STEP_DEPTH = 64 };

typedef struct lap_image_dim {
    const char *text;
    const int64_t *words;
    uint32_t n_words;
} lap_image_dim;
typedef struct lap_image_leaf {
    const char *name, *place;
    lap_dtype dtype;
    uint32_t rank;
    bool is_optional;
    const uint32_t *shape; /* dims */
    const uint32_t *crop;  /* buffers + 1 */
} lap_image_leaf;
typedef struct lap_image_buffer {
    lap_buffer_kind kind;
    lap_dtype dtype;
    uint32_t count, leaf, first, last;
    const void *bytes;
    size_t n_bytes;
} lap_image_buffer;
typedef struct lap_image_kernel {
    const char *name, *place;
    uint32_t grid, scratch, cost, n_dims;
    const uint32_t *dims;
} lap_image_kernel;
typedef struct lap_image_step {
    lap_step_kind kind;
    bool on_load, reverse;
    uint32_t kernel, limit, n_test, body, n_body, other, n_other, from, to, n_buffers;
    int32_t counter, test; /* -1: none */
    const uint32_t *buffers;
    const char *name, *place;     /* of a foreign operation */
    uint32_t n_inputs, n_outputs; /* its operands, then its results: */
    const uint32_t *operands;     /* buffer + 1, rank, rank x dim */
} lap_image_step;
typedef enum lap_image_rel {
    LAP_IMAGE_EQ,
    LAP_IMAGE_NE,
    LAP_IMAGE_LT,
    LAP_IMAGE_LE,
    LAP_IMAGE_GT,
    LAP_IMAGE_GE,
    LAP_N_IMAGE_RELS
} lap_image_rel;
typedef struct lap_image_check {
    uint32_t a, b;
    lap_image_rel rel;
    const char *message, *place;
} lap_image_check;
typedef struct lap_image_message {
    const char *text, *place;
} lap_image_message;

typedef struct lap_image {
    const char *name;
    uint32_t n_symbols, n_dims, n_leaves[LAP_N_LEAF_KINDS], n_buffers, n_kernels, n_steps, n_top, n_checks,
        n_messages;
    const char **symbols;
    lap_image_dim *dims;
    lap_image_leaf *leaves[LAP_N_LEAF_KINDS];
    lap_image_buffer *buffers;
    lap_image_kernel *kernels;
    lap_image_step *steps;
    lap_image_check *checks;
    lap_image_message *messages;
    void *copy; /* of an image that was not aligned, or NULL */
} lap_image;

/* The bytes must outlive the result. After a failure there is nothing to close. */
bool lap_image_open(lap_image *image, const void *bytes, size_t n, lap_fault *fault);
void lap_image_close(lap_image *image);

#endif
