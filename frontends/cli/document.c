/* SPDX-License-Identifier: Apache-2.0
 * document.c - the one JSON document of --json. */
#include "frontends/cli/document.h"

#include <stdio.h>

void lap_document_print(cJSON *document)
{
    char *text = cJSON_Print(document);
    if (text != NULL) {
        puts(text);
        cJSON_free(text);
    }
    cJSON_Delete(document);
}

void lap_document_text(cJSON *object, const char *key, const char *text)
{
    cJSON_AddItemToObject(object, key, text != NULL ? cJSON_CreateString(text) : cJSON_CreateNull());
}

cJSON *lap_document_shape(uint32_t rank, const int64_t *shape)
{
    cJSON *list = cJSON_CreateArray();
    for (uint32_t i = 0; i < rank; i++) {
        cJSON_AddItemToArray(list, cJSON_CreateNumber((double)shape[i]));
    }
    return list;
}
