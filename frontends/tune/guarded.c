/* SPDX-License-Identifier: Apache-2.0
 * guarded.c - memory shared with children, between pages that nobody may touch. */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "frontends/tune/child.h"

/* As floats of any width these are NaN, as integers no plausible index. */
enum { PATTERN = 0xff, ALIGN = 64 };

bool lap_guarded_new(size_t n, lap_guarded *out)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (n > SIZE_MAX / 2) {
        return false;
    }
    size_t padded = (n + ALIGN - 1) / ALIGN * ALIGN, inner = (padded + page - 1) / page * page;
    inner = inner == 0 ? page : inner;
    unsigned char *all = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) {
        return false;
    }
    if (mprotect(all + page, inner, PROT_READ | PROT_WRITE) != 0) {
        munmap(all, inner + 2 * page);
        return false;
    }
    *out = (lap_guarded){
        .data = all + page + inner - padded, .start = all + page, .n = n, .n_pages_bytes = inner};
    return true;
}

void lap_guarded_free(lap_guarded *g)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (g->start != NULL) {
        munmap(g->start - page, g->n_pages_bytes + 2 * page);
    }
    *g = (lap_guarded){0};
}

void lap_guarded_poison(lap_guarded *g) { memset(g->start, PATTERN, g->n_pages_bytes); }

static bool is_pattern(const unsigned char *at, const unsigned char *end)
{
    while (at < end && *at == PATTERN) {
        at++;
    }
    return at == end;
}

bool lap_guarded_is_whole(const lap_guarded *g)
{
    return is_pattern(g->start, g->data) && is_pattern(g->data + g->n, g->start + g->n_pages_bytes);
}

void lap_guarded_seal(lap_guarded *g) { (void)mprotect(g->start, g->n_pages_bytes, PROT_READ); }
