/* SPDX-License-Identifier: Apache-2.0
 * archive.c - writes an ar file with a symbol index, so that no `ar` of the right kind is needed.
 *
 * Layout: "!<arch>\n"; member "/": count and offsets (big endian), names; the object. Members have
 * a 60-byte text header and start at even offsets. */
#include <stdlib.h>
#include <string.h>

#include "codegen/aot/parts.h"

#define MAGIC  "!<arch>\n"
#define HEADER 60u

static void put_header(char *at, const char *name, size_t size)
{
    char text[2 * HEADER];
    snprintf(text, sizeof text, "%-16s%-12d%-6d%-6d%-8o%-10zu`\n", name, 0, 0, 0, 0644u, size);
    memcpy(at, text, HEADER);
}

static void put_big_endian(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (unsigned char)(value >> (24 - 8 * i));
    }
}

static size_t even(size_t n) { return n + n % 2; }

bool lap_aot_archive(const char *member, const void *bytes, size_t n, uint32_t n_symbols,
                     const char *const *symbols, char **out_bytes, size_t *out_size, lap_fault *fault)
{
    size_t index = 4 + 4 * (size_t)n_symbols;
    for (uint32_t i = 0; i < n_symbols; i++) {
        index += strlen(symbols[i]) + 1;
    }
    size_t object_at = strlen(MAGIC) + HEADER + even(index);
    size_t total = object_at + HEADER + even(n);
    char *out = total < UINT32_MAX ? calloc(1, total + 1) : NULL;
    if (out == NULL) {
        return lap_fault_set(fault, LAP_BAD_INPUT,
                             "the archive is too large\nhint: do not embed the weights");
    }
    memcpy(out, MAGIC, strlen(MAGIC));
    put_header(out + strlen(MAGIC), "/", even(index));
    unsigned char *at = (unsigned char *)out + strlen(MAGIC) + HEADER;
    put_big_endian(at, n_symbols);
    char *name = (char *)at + 4 + 4 * (size_t)n_symbols;
    for (uint32_t i = 0; i < n_symbols; i++) {
        put_big_endian(at + 4 + 4 * (size_t)i, (uint32_t)object_at);
        memcpy(name, symbols[i], strlen(symbols[i]) + 1);
        name += strlen(symbols[i]) + 1;
    }
    char label[16];
    snprintf(label, sizeof label, "%.13s/", member);
    put_header(out + object_at, label, n);
    memcpy(out + object_at + HEADER, bytes, n);
    if (n % 2 != 0) {
        out[object_at + HEADER + n] = '\n';
    }
    *out_bytes = out;
    *out_size = total;
    return true;
}
