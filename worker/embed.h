/* worker/embed.h - what one worker does with a batch of documents.
 *
 * Documents go in, each comes out embedded, skipped or failed with a reason. On the way: invalid UTF-8 and empty
 * content are set aside, the prefix is put in front, equal texts are sent once, the texts are cut into requests under
 * the provider's limits (items, tokens, bytes, padded tokens), failed requests are retried, halved or bisected, and
 * texts that are too long are treated by the provider's `on_too_long`.
 *
 * No document is failed for what is not its own fault. A transport failure, an overload or a broken reply is retried
 * by the policy and then ends the batch with RC_RETRY; a refused key or an empty quota ends it with RC_HALT. A text
 * that the provider refuses on its own is recorded only once there is evidence that the provider works: another text
 * that was embedded since that request first failed, or the canary text, asked then. Without that evidence the
 * configuration is taken to be at fault: RC_HALT (a 4xx, an unusable vector) or RC_RETRY (a 5xx).
 *
 * Cost of one refused text among n in a request: at most 2 * ceil(log2 n) + 1 requests (not counting retries of 5xx
 * answers, and one of the canary where nothing else can tell).
 *
 * Threads: one batch belongs to one thread, as does its session. Callbacks are called on that thread.
 */
#ifndef REEMBED_WORKER_EMBED_H
#define REEMBED_WORKER_EMBED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "embed/embedder.h"

enum document_status {
    DOCUMENT_PENDING = 0, /* nothing decided: only after a return that is not RC_OK */
    DOCUMENT_EMBEDDED,
    DOCUMENT_SKIPPED, /* left out by policy */
    DOCUMENT_FAILED,
};

enum document_reason {
    REASON_NONE = 0,
    REASON_CONTENT_TOO_LARGE,
    REASON_INVALID_ENCODING,
    REASON_EMPTY_CONTENT,
    REASON_PERMANENT_API_ERROR,
    REASON_INVALID_VECTOR,
};

/* "content_too_large", ...: the words of reembed.failures. NULL for REASON_NONE. */
const char *document_reason_name(enum document_reason reason);

struct document {
    const char *bytes; /* borrowed until embed_documents returns; not NUL-terminated; may be NULL when length is 0 */
    size_t length;
    bool cut;   /* the reader gave the beginning only: counts as truncated, or as too large where that is no option */
    bool query; /* takes the query prefix instead of the document prefix */
};

struct document_result {
    enum document_status status;
    enum document_reason reason; /* REASON_NONE when embedded or pending */
    bool truncated;
    uint32_t tokens;    /* used for this text where known; 0 for a second document of equal text */
    uint32_t attempts;  /* requests that held this text */
    int http_status;    /* of the refusal; 0 when there was none */
    const char *detail; /* for people; in the arena; NULL when embedded */
};

/* Attempts of one request, the first one counted, with full jitter between first_ms and cap_ms. */
struct request_retry {
    unsigned attempts; /* 0: 6 */
    int64_t first_ms;  /* 0: 500 */
    int64_t cap_ms;    /* 0: 30,000; a longer Retry-After is obeyed nevertheless */
};

struct embed_policy {
    struct request_retry retry;

    /* A short text that every working model embeds, without a prefix. NULL: the batch itself is the only evidence: a
     * batch of two or more texts that are all refused alone with the same status ends with RC_HALT. */
    const char *canary;
    size_t canary_length;

    const atomic_bool *cancel; /* aborts requests under way and waits; NULL: never */

    /* Flow control of the whole process; each may be NULL. `items` and `tokens` (an estimate) are those of one request.
     * before_request may block; false means stop: the batch ends with RC_CLOSED. Each true is followed by exactly one
     * after_request, also where one call of the session sends several requests. wait sleeps before a retry and returns false when it was cut short: RC_CLOSED; without it the
     * thread sleeps in short steps that look at `cancel`. */
    bool (*before_request)(void *context, size_t items, size_t tokens);
    void (*after_request)(void *context, const struct request_outcome *outcome);
    bool (*wait)(void *context, int64_t milliseconds);
    void *context;
};

/* Embeds `count` documents. vectors: room for count x dimensions floats; row i is set when results[i] is
 * DOCUMENT_EMBEDDED. *usage is added to, whatever the outcome. Details and scratch memory come from `arena`.
 *
 * RC_OK: every document has an outcome.
 * RC_RETRY: the provider is away or overloaded beyond the policy's attempts. RC_HALT: it refused for good.
 * RC_CLOSED: cancelled. RC_FATAL: memory, broken invariant.
 * After these four, documents that are not DOCUMENT_PENDING have their final outcome all the same and may be stored.
 */
enum rc embed_documents(struct embed_session *session, const struct embed_policy *policy,
                        const struct document *documents, size_t count, size_t dimensions, float *vectors,
                        struct document_result *results, struct embed_usage *usage, struct arena *arena,
                        struct err *err);

/* The prefix that is put before a document or query: the one given in the options ("" for none), else the one that
 * the model is known for. Never NULL; lives as long as the embedder. */
const char *embed_prefix(const struct embedder *embedder, bool query);

#endif
