/* SPDX-License-Identifier: Apache-2.0
 * document.h - the one JSON document of --json. */
#ifndef LAP_FRONTENDS_CLI_DOCUMENT_H
#define LAP_FRONTENDS_CLI_DOCUMENT_H

#include <cjson/cJSON.h>
#include <stdint.h>

/* Prints the document with a final newline and deletes it. */
void lap_document_print(cJSON *document);
/* Text, or null for NULL. */
void lap_document_text(cJSON *object, const char *key, const char *text);
/* [2, 64, 16]. */
cJSON *lap_document_shape(uint32_t rank, const int64_t *shape);

#endif
