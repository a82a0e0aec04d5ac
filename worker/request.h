/* worker/request.h - inside worker/embed.c: the texts of one batch on their way through requests.
 *
 * An item is one distinct text and all documents that have it. Items are sent in ranges of `items`; request_solve
 * gives every item of a range its outcome, whatever it takes. Everything here belongs to the thread that runs
 * embed_documents and lives in the batch's arena.
 */
#ifndef REEMBED_WORKER_REQUEST_H
#define REEMBED_WORKER_REQUEST_H

#include "worker/embed.h"

#define REQUEST_NO_DOCUMENT   SIZE_MAX
#define REQUEST_MIN_CUT_BYTES 16 /* of a text without its prefix: less says nothing of the document */

struct request_item {
    const char *bytes; /* prefix included */
    size_t length;
    size_t prefix_length;
    size_t tokens;         /* of the text, as the provider counts or estimates them */
    size_t first_document; /* the others by `same_text` of the batch */
    size_t number;         /* place in the batch, to sort stably */
    uint32_t attempts;
    bool query;
    bool cut; /* shortened here or by the reader */
};

/* Why a text that was sent alone is thought to be at fault. Recorded as failed once the provider is seen to work. */
struct request_suspect {
    struct request_item item; /* a copy: ranges are reordered */
    enum document_reason reason;
    bool server_error; /* a 5xx, not a refusal */
    int http_status;
    const char *detail;
};

struct request_batch {
    struct embed_session *session;
    const struct embed_policy *policy;
    const struct provider_options *options;
    struct embed_limits limits; /* read again for each range: a server's limit may be learned on the way */
    const struct document *documents;
    size_t dimensions;
    float *vectors;                  /* the caller's, a row a document */
    struct document_result *results; /* the caller's */
    struct embed_usage *usage;
    struct arena *arena;
    struct err err; /* of the last failed request; the caller's `err` when the batch fails */

    struct request_item *items;
    size_t item_count;
    size_t *same_text; /* document → next document of the same text, or REQUEST_NO_DOCUMENT */

    /* scratch for one request, item_count entries each */
    struct text *texts;
    struct text_result *text_results;
    float *rows;

    uint32_t attempts;      /* requests sent so far */
    size_t item_cap;        /* fewer than the limits say, since a request was too many; 0: none */
    size_t accepted_length; /* of the last text that had to be cut; 0: none yet */
    struct text known_good; /* a text that was embedded; bytes NULL: none yet */

    struct request_suspect *suspects; /* item_count entries */
    size_t suspect_count;
};

/* --- request_send.c --- */

/* What became of a request after all retries. */
struct request_reply {
    enum request_failure failure; /* REQUEST_OK, _TOO_MANY, _REJECTED or _SERVER: all that is decided here */
    int http_status;
    const char *detail; /* in the arena; NULL when REQUEST_OK */
};

/* Sends texts[0 ... count - 1] and retries by the policy, which allows so many requests without a useful answer; 5xx
 * answers are counted apart, up to `server_attempts`, so that a weak network can't hide what a text does. RC_OK: see
 * *ret_reply, and on REQUEST_OK text_results and rows. RC_RETRY, RC_HALT, RC_CLOSED, RC_FATAL with batch->err filled:
 * the batch is over. */
enum rc request_send(struct request_batch *batch, size_t count, size_t tokens, unsigned server_attempts,
                     struct request_reply *ret_reply);

/* Attempts by the policy, at least 1. */
unsigned request_attempts(const struct embed_policy *policy);

/* Sends a text that a working provider embeds: the canary, else one that it embedded before. RC_OK: it works; otherwise
 * as request_send, with RC_HALT when even this is refused. */
bool request_has_arbiter(const struct request_batch *batch);
enum rc request_ask_arbiter(struct request_batch *batch);

/* --- request_solve.c --- */

/* Gives each of items[first ... first + count - 1] an outcome, or makes it a suspect. May reorder within the range.
 * Errors as request_send. */
enum rc request_solve(struct request_batch *batch, size_t first, size_t count);

/* After the last range: what is to be thought of the suspects that no later success has settled. */
enum rc request_settle(struct request_batch *batch);

/* --- embed.c --- */

/* Sets the outcome of all documents of an item. `row` is the vector when embedded, else NULL. */
void request_finish(struct request_batch *batch, const struct request_item *item, enum document_status status,
                    enum document_reason reason, const struct text_result *result, const float *row);

#endif
