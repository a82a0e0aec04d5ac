/* tests/unit/embed_batch.h - a batch of documents for embed_documents over the scripted provider, and what is asserted of
 * its outcome. One test, one process: the state is `t`.
 */
#ifndef REEMBED_TESTS_EMBED_BATCH_H
#define REEMBED_TESTS_EMBED_BATCH_H

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scripted_provider.h"
#include "worker/embed.h"

enum { DIMENSIONS = 8, MAX_DOCUMENTS = 400 };

struct embed_batch {
    struct embedder *embedder;
    struct embed_session *session;
    struct arena *arena;
    struct provider_options options;
    struct embed_policy policy;
    struct document documents[MAX_DOCUMENTS];
    struct document_result results[MAX_DOCUMENTS];
    float vectors[MAX_DOCUMENTS * DIMENSIONS];
    struct embed_usage usage;
    struct err err;
    atomic_bool cancel;
    size_t before, after, waits, stop_before, stop_wait;
    int64_t longest_wait;
};

extern struct embed_batch t;

/* .init and .fini of a suite; finish() may be followed by a new arena and other options. */
void start(void);
void finish(void);

/* A document's text; texts made by numbered() live in t.arena. */
void set(size_t i, const char *text);
const char *numbered(const char *prefix, size_t i);
void set_plain(size_t count);

/* Embeds the first `count` documents. */
enum rc run(size_t count);

/* Calls that held the canary and nothing else. */
size_t canary_calls(void);
bool has_vector_of(size_t i, const char *bytes, size_t length);
size_t accepted_prefix(size_t i); /* bytes of the text that its vector is of */
void assert_embedded(size_t i);
void assert_failed(size_t i, enum document_reason reason);

#endif
