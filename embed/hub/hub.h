/* embed/hub/hub.h - a hub of models: which server is asked, who gets to see the token, where redirects may lead.
 *
 * A hub answers for a file itself or sends to a store elsewhere. Redirects are followed by hand, at most HUB_HOPS_MAX:
 * the token goes to the hub's own scheme, host and port only, nothing that began with https goes on without it, and
 * what the hub itself said of the file (checksum, size) counts, not what the store says.
 * Threads: a hub belongs to one thread. Errors: RC_INVALID, ERR_USAGE for HF_ENDPOINT and HF_TOKEN; of a request RC_RETRY
 * for what may pass, RC_HALT, ERR_PROVIDER for what the hub refuses, RC_AGAIN where there is no such path.
 */
#ifndef REEMBED_EMBED_HUB_HUB_H
#define REEMBED_EMBED_HUB_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "embed/hub/checksum.h"

#define HUB_DEFAULT_ENDPOINT "https://huggingface.co"

enum { HUB_HOPS_MAX = 5, HUB_STALL_MS = 30000 };

struct hub;

struct hub_options {
    const char *endpoint; /* NULL or "": HUB_DEFAULT_ENDPOINT */
    const char *token;    /* NULL or "": none. Registered with log_secret */
    int64_t stall_ms;     /* give up after so long without a byte; 0: HUB_STALL_MS */
};

/* What is known when the answer begins. */
struct hub_answer {
    long status; /* 200 or 206 */
    struct checksum checksum;
    bool has_size;
    uint64_t size;   /* of the whole file */
    uint64_t from;   /* the first byte of this answer: 0, or of a 206 what its Content-Range says */
    char commit[65]; /* "" unless told */
    int64_t retry_after_ms;
};

struct hub_request {
    const char *path; /* below the endpoint, encoded, begins with '/' */
    uint64_t from;    /* the answer is wanted from this byte on */

    /* Called once, as soon as the hub has said which file it is: where it sends to a store, before that is asked.
     * False gives the request up (RC_CLOSED). May be NULL. */
    bool (*known)(void *context, const struct hub_answer *answer);
    /* Called once before the first byte, after `known`; the same. */
    bool (*begin)(void *context, const struct hub_answer *answer);
    /* Piece by piece; false gives the request up (RC_CLOSED). */
    bool (*take)(void *context, const char *bytes, size_t length);
    void *context;
};

enum rc hub_open(const struct hub_options *options, struct hub **ret_hub, struct err *err);
struct hub *hub_close(struct hub *hub); /* NULL is fine; returns NULL */

/* The endpoint as people may see it. */
const char *hub_name(const struct hub *hub);
bool hub_has_token(const struct hub *hub);

/* *ret_answer is filled as far as it came, also where the request failed. An empty body calls no one. */
enum rc hub_get(struct hub *hub, const struct hub_request *request, struct hub_answer *ret_answer, struct err *err);

/* The same into memory, at most `body`'s maximum. */
enum rc hub_get_text(struct hub *hub, const char *path, struct strbuf *body, struct err *err);

#endif
