/* SPDX-License-Identifier: Apache-2.0
 * sums.c - sums over the lanes of several vectors at once.
 *
 * A vector folds by adding its halves. Two vectors fold for the price of one when a half of each is put
 * into the lanes that the other leaves: so many vectors end as the lanes of one. */
#include "codegen/llvm/emitter.h"

enum { MAX_LANES = 256 };

/* Half `which` of each segment: of all of a, then of all of b (b may be a: then of a alone). */
static LLVMValueRef halves(lap_emitter *e, LLVMValueRef a, LLVMValueRef b, uint32_t segment, uint32_t which)
{
    uint32_t lanes = lap_lanes_of(a), n = 0;
    LLVMValueRef order[MAX_LANES];
    for (uint32_t v = 0; v < (a == b ? 1 : 2); v++) {
        for (uint32_t at = which * segment / 2; at < lanes; at += segment) {
            for (uint32_t i = 0; i < segment / 2; i++) {
                order[n++] = LLVMConstInt(e->i32, v * lanes + at + i, false);
            }
        }
    }
    return LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(order, n), "");
}

static LLVMValueRef fold(lap_emitter *e, LLVMValueRef a, LLVMValueRef b, uint32_t segment)
{
    return lap_combine(e, LAP_FN_ADD, LAP_F32, halves(e, a, b, segment, 0), halves(e, a, b, segment, 1));
}

/* n: a power of two, at most the lanes of a vector. */
static void sum_some(lap_emitter *e, uint32_t n, LLVMValueRef *x)
{
    uint32_t segment = lap_lanes_of(x[0]), left = n;
    LLVMValueRef part[MAX_LANES];
    for (uint32_t i = 0; i < n; i++) {
        part[i] = x[i];
    }
    for (; segment > 1; segment /= 2) {
        for (uint32_t i = 0; i < (left + 1) / 2; i++) {
            part[i] = fold(e, part[2 * i], part[left > 1 ? 2 * i + 1 : 0], segment);
        }
        left = (left + 1) / 2;
    }
    for (uint32_t i = 0; i < n; i++) {
        x[i] = LLVMBuildExtractElement(e->b, part[0], LLVMConstInt(e->i32, i, false), "");
    }
}

void lap_sum_lanes(lap_emitter *e, uint32_t n, LLVMValueRef *x)
{
    uint32_t done = 0;
    while (done < n) {
        uint32_t some = lap_lanes_of(x[done]);
        while (some > n - done) {
            some /= 2;
        }
        sum_some(e, some, x + done);
        done += some;
    }
}
