/* SPDX-License-Identifier: Apache-2.0
 * print.h - the writer shared by print.c and print_attr.c. */
#ifndef LAP_IR_PRINT_H
#define LAP_IR_PRINT_H

#include "ir/text.h"

typedef struct lap_writer {
    lap_graph *g;
    lap_ctx *ctx;
    char *text; /* in the arena, ends in NUL */
    size_t n, capacity;
    uint32_t depth;
    uint32_t *number; /* by node; 0: not printed yet */
    uint32_t n_values;
    lap_ref *owner;      /* by region: the first node that owns it */
    lap_ref *site;       /* by region: the statement it prints before, when shared */
    uint32_t *func;      /* by region: its number, when shared */
    uint32_t *funcs_at;  /* by node: the first shared region that prints before it */
    uint32_t *next_func; /* by region: the next one at the same node */
    uint32_t n_funcs;
} lap_writer;

void lap_write(lap_writer *w, const char *text);
/* For numbers: at most 63 characters. */
void lap_writef(lap_writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void lap_write_string(lap_writer *w, const char *text);
void lap_write_name(lap_writer *w, lap_name name);
void lap_write_dim(lap_writer *w, lap_dim d);
void lap_write_value(lap_writer *w, lap_ref ref);
void lap_write_type(lap_writer *w, lap_type type);
void lap_write_layout(lap_writer *w, lap_layout layout);
void lap_write_attr(lap_writer *w, const lap_attr *a);

#endif
