/* embed/wordpiece.h - the BERT tokenizer, id for id what the Python package `tokenizers` gives.
 *
 * Reads the tokenizer.json of a model folder: a WordPiece vocabulary behind a BertNormalizer and a BertPreTokenizer,
 * with added tokens (matched before or after normalising) and a TemplateProcessing, BertProcessing or
 * RobertaProcessing post-processor. Anything else is refused by name. The file's own truncation and padding are not
 * obeyed: they are settings of the program that wrote the file.
 *
 * Any bytes may be encoded, U+0000 included; a byte that is not part of valid UTF-8 counts as U+FFFD, which the usual
 * normaliser removes. Threads: a loaded tokenizer is read only and may be shared by all.
 */
#ifndef REEMBED_EMBED_WORDPIECE_H
#define REEMBED_EMBED_WORDPIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct wordpiece;

/* What an encoding gives. Zero-initialise; reused from text to text; wordpiece_ids_free gives the memory back. */
struct wordpiece_ids {
    uint32_t *ids; /* special tokens included */
    size_t count;
    size_t capacity;
    bool truncated; /* the text has more tokens than max_tokens allowed */
};

/* RC_INVALID with what is wrong with the file and what to do, RC_FATAL without memory. */
enum rc wordpiece_load(const char *path, struct wordpiece **ret_tokenizer, struct err *err);

/* The same from memory; `name` stands for the file in messages. */
enum rc wordpiece_parse(const char *json, size_t length, const char *name, struct wordpiece **ret_tokenizer,
                        struct err *err);

struct wordpiece *wordpiece_free(struct wordpiece *tokenizer); /* NULL is fine; returns NULL */

/* Fills *ids with the ids of one text. max_tokens counts special tokens, 0: no limit; it keeps the beginning of the
 * text, and reading stops as soon as it is known that there is more. Fewer than the special tokens alone give just
 * those. RC_OK, or RC_FATAL without memory. */
enum rc wordpiece_encode(const struct wordpiece *tokenizer, const char *bytes, size_t length, size_t max_tokens,
                         struct wordpiece_ids *ids);

void wordpiece_ids_free(struct wordpiece_ids *ids); /* leaves it empty and usable */

uint32_t wordpiece_pad_id(const struct wordpiece *tokenizer);
uint32_t wordpiece_highest_id(const struct wordpiece *tokenizer);  /* a model needs a row for it */
size_t wordpiece_special_count(const struct wordpiece *tokenizer); /* tokens added to each text */

#endif
