/* embed/http/transport.h - one request and its answer over a connection that is kept.
 *
 * Certificates are checked, redirects are not followed, compressed answers are taken but count by their unpacked size,
 * everything has a limit: connecting, the whole exchange, the size. A cancel is obeyed within CANCEL_MS.
 * Threads: a transport belongs to one thread at a time.
 */
#ifndef REEMBED_EMBED_HTTP_TRANSPORT_H
#define REEMBED_EMBED_HTTP_TRANSPORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "embed/http/endpoint.h"
#include "embed/http/retry_after.h"

enum { TRANSPORT_CANCEL_MS = 100, TRANSPORT_REFUSAL_MAX = 64 * 1024 };

struct transport;

struct transport_request {
    const char *url;
    const char *body; /* NULL: GET */
    size_t length;
    int64_t timeout_ms;        /* of the whole exchange; 0: no limit */
    int64_t stall_ms;          /* without a byte, in whole seconds; 0: no limit of its own */
    size_t max_answer;         /* bytes, unpacked */
    const char *tokens_header; /* lower case; NULL: none */
    const atomic_bool *cancel; /* NULL: never */

    /* Instead of the transport's own header lines, the key included; NULL-ended, borrowed. NULL: those. The answer is then
     * taken as it is, uncompressed, as whoever asks for a range of it must. */
    const char *const *headers;
    /* Sees each header line as it came, the status line first; NULL: nobody looks. */
    void (*see)(void *context, const char *line, size_t length);

    /* Takes the body of an answer with status 2xx, piece by piece; false gives the transfer up. */
    bool (*take)(void *context, const char *bytes, size_t length);
    void *context;
};

enum transport_end {
    TRANSPORT_ANSWERED,  /* completely */
    TRANSPORT_GIVEN_UP,  /* `take` said so; status and headers are known */
    TRANSPORT_TOO_LARGE, /* the same, over max_answer */
    TRANSPORT_CUT_OFF,   /* the connection ended after the headers of the answer */
    TRANSPORT_FAILED,    /* no answer: not reached, refused, timeout, certificate */
    TRANSPORT_CANCELLED,
    TRANSPORT_NO_MEMORY,
};

struct transport_answer {
    enum transport_end end;
    long status;
    bool sent;        /* the request left, whole or in part: it may have been worked on */
    bool certificate; /* FAILED because the server's certificate is not trusted */
    struct retry_after retry;
    bool has_tokens;
    uint64_t tokens;
    char location[256];  /* of a redirect */
    char problem[256];   /* for people, when it didn't end with ANSWERED */
    const char *refusal; /* body of an answer that is not 2xx, its first TRANSPORT_REFUSAL_MAX bytes; borrowed */
    size_t refusal_length;
};

enum rc transport_open(const struct endpoint *endpoint, struct transport **ret_transport, struct err *err);
struct transport *transport_close(struct transport *transport); /* NULL is fine; returns NULL */

void transport_exchange(struct transport *transport, const struct transport_request *request,
                        struct transport_answer *ret_answer);

#endif
