/* SPDX-License-Identifier: Apache-2.0
 * wordpiece.h - sentences to the token numbers that an uncased BERT expects. */
#ifndef LAP_EXAMPLES_SENTENCE_ENCODER_WORDPIECE_H
#define LAP_EXAMPLES_SENTENCE_ENCODER_WORDPIECE_H

#include <stddef.h>
#include <stdint.h>

enum { WORDPIECE_MAX = 256 }; /* tokens of a sentence, the first and last mark included */

typedef struct wordpiece wordpiece;

/* Reads a vocabulary: one word piece a line, its number is the line's. NULL when it cannot be read or
 * lacks the marks that every sentence needs. */
wordpiece *wordpiece_open(const char *vocabulary_path);
void wordpiece_close(wordpiece *w);
/* Fills ids with "[CLS] pieces [SEP]" and returns how many; longer sentences are cut. Bytes that are
 * not UTF-8 are left out. */
size_t wordpiece_encode(const wordpiece *w, const char *text, int64_t ids[WORDPIECE_MAX]);

#endif
