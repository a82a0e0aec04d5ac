/* embed/http/exchange.h - one request to the server and what its answer means; shared by the parts of the provider.
 *
 * What was learned of the server (base64 or not, dimensions asked for or not, its limits) is kept beside the address
 * and shared by all sessions; plain atomics, since a stale value costs one request and nothing else.
 */
#ifndef REEMBED_EMBED_HTTP_EXCHANGE_H
#define REEMBED_EMBED_HTTP_EXCHANGE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"
#include "embed/embedder.h"
#include "embed/http/dialect.h"
#include "embed/http/endpoint.h"
#include "embed/http/refusal.h"
#include "embed/http/reply.h"
#include "embed/http/request.h"
#include "embed/http/transport.h"

enum {
    BYTES_PER_TOKEN = 4,
    ANSWER_HEAD = 2048, /* bytes of an answer kept for saying what it was instead of vectors */
};

enum encoding { ENCODING_UNTRIED, ENCODING_BASE64, ENCODING_FLOATS };
enum asking { ASKING_OFF, ASKING_ON, ASKING_NEVER }; /* for dimensions */

struct provider {
    struct provider_options options;
    const struct dialect *dialect;
    struct reply_shape shape;
    struct endpoint endpoint;
    struct request_form *form;
    atomic_int encoding;
    atomic_int asking;
    atomic_bool right_size_seen; /* the server has sent a vector of the wanted dimensions */
    atomic_size_t dimensions;    /* of its vectors; 0: not known yet */
    /* 0: nothing learned */
    atomic_size_t max_items, max_request_tokens, max_request_bytes, max_text_tokens;
    pthread_mutex_t info_mutex;
    bool info_known; /* under info_mutex */
};

struct session {
    struct provider *provider;
    struct transport *transport;
    struct strbuf body;
    struct reply reply;
    const struct request_gate *gate; /* borrowed; NULL: none */
    size_t head_length;
    char head[ANSWER_HEAD + 1];
};

/* One embed_session_embed. */
struct call {
    struct session *session;
    size_t dimensions;
    float *vectors;
    struct text_result *results;
    struct request_outcome *outcome;
    const atomic_bool *cancel;
    struct arena *arena;
    struct err *err;
    bool again; /* a request was sent: the next one asks the gate */
};

/* The texts of one request; text i is text places[i] of the call. Either all are queries, or none is. */
struct part {
    struct text *texts;
    size_t *places;
    size_t count;
};

enum answer {
    ANSWER_VECTORS,    /* each text has its result */
    ANSWER_TOO_LONG,   /* `refusal` says which and how much */
    ANSWER_ENCODING,   /* refused the encoding */
    ANSWER_DIMENSIONS, /* refused to be asked for dimensions */
    ANSWER_OTHER_SIZE, /* vectors, but all of one other size */
    ANSWER_FAILED,     /* outcome->failure and *err are set */
};

/* Sends the part once. *ret_refusal is set for all but ANSWER_VECTORS, ANSWER_OTHER_SIZE and ANSWER_FAILED. */
enum answer exchange(struct call *call, struct request_choice choice, const struct part *part,
                     struct refusal *ret_refusal);

/* Fills the outcome and *err, returns ANSWER_FAILED. `status` 0 where no server said anything. */
enum answer exchange_fail(struct call *call, enum request_failure failure, long status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
enum answer exchange_fail_memory(struct call *call);

enum rc exchange_rc(enum request_failure failure);

/* Lowers a learned limit; 0 teaches nothing. */
void learn_lower(atomic_size_t *limit, size_t value);

/* The estimate: four bytes a token. */
size_t estimate_tokens(size_t length);

#endif
