/* SPDX-License-Identifier: Apache-2.0
 * text.h - the text form of a graph: the grammar, and the pieces that printer and parser share.
 *
 *   file      = "lap" "1" ("graph" | "kernel") @name "{" statement* "}"
 *   statement = "assume" extent rel extent "message"
 *             | "output" "name" %value "{" "layout" = words ["crop" = "[" (axis = %count)* "]"] "}"
 *             | "func" @number region                  a region that several nodes share
 *             | [%value =] op [type] %operand* ["{" (key = attribute)* "}"] (region | @number)*
 *   region    = "{" ["(" (%value type),* ")"] statement* ["yield" %value*] "}"
 *   type      = element ["[" (axis = extent ["?" %count])* "]"]
 *
 * Operands stand on the line of their operation. A comment at the end of a statement's first line that
 * reads "file:line <- file:line" is its source place, "?" is no place; any other comment is ignored
 * and the place is the line of the text itself. Checks come first, so that the ones found again while
 * nodes are made are known already. Lists of names are strings of words; what is no identifier in
 * them is written \xHH, and \e is the empty name. */
#ifndef LAP_IR_TEXT_H
#define LAP_IR_TEXT_H

#include "ir/graph.h"

/* Names of the small enums: one row per kind of attribute that has them. */
const char *lap_enum_text(lap_attr_kind kind, int64_t value); /* NULL: no such value */
bool lap_enum_find(lap_attr_kind kind, const char *text, size_t n, int64_t *out);
bool lap_kind_is_enum(lap_attr_kind kind);

const char *lap_rel_text(lap_rel rel);
bool lap_rel_find(const char *text, size_t n, lap_rel *out);

/* Whether the text is [A-Za-z_][A-Za-z0-9_.]*, which needs no quotes. */
bool lap_text_is_word(const char *text, size_t n);
/* Ops whose type is declared: the text gives it to lap_emit. */
bool lap_op_is_typed(lap_op op);

#endif
