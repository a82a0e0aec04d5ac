/* bench/embed/corpus.h - the texts of a benchmark, one JSON object a line: {"text": "..."}. */
#ifndef REEMBED_BENCH_EMBED_CORPUS_H
#define REEMBED_BENCH_EMBED_CORPUS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "embed/wordpiece.h"
#include "worker/embed.h"

struct encoded {
    uint32_t *ids;
    uint32_t length;
};

struct corpus {
    struct document *documents; /* owned, with their bytes; in the order of the file */
    size_t count;
    size_t bytes;
    struct encoded *encoded; /* owned; what the tokenizer makes of each */
    struct encoded *sorted;  /* owned; the same, shortest first */
    size_t tokens;
};

/* At most `limit` lines; 0: all. */
enum rc corpus_read(const char *path, size_t limit, struct corpus *ret_corpus, struct err *err);
enum rc corpus_encode(struct corpus *corpus, const struct wordpiece *tokenizer, size_t max_tokens, struct err *err);
void corpus_free(struct corpus *corpus);

#endif
