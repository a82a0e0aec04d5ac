/* embed/http/endpoint.h - from provider.url and a dialect to the addresses that are asked.
 *
 * Decided here, before anything is sent: http and https only; a key (or a password in the address) leaves over plain
 * http to this machine alone. Ownership: the endpoint owns its strings. Threads: read-only once made.
 */
#ifndef REEMBED_EMBED_HTTP_ENDPOINT_H
#define REEMBED_EMBED_HTTP_ENDPOINT_H

#include <stdbool.h>

#include "base/err.h"
#include "embed/embedder.h"
#include "embed/http/dialect.h"

struct endpoint {
    char *url;      /* to post texts to */
    char *info_url; /* to ask for limits; NULL: none */
    char *shown;    /* `url` without user, password and query: for messages */
    char *header;   /* "Name: value" with the key; NULL: no key */
    bool plain_key; /* a key over plain http: no proxy may be between */
};

/* RC_INVALID for what the user must change. Passwords in the address are registered with log_secret. */
enum rc endpoint_make(const struct dialect *dialect, const struct provider_options *options,
                      struct endpoint *ret_endpoint, struct err *err);
void endpoint_free(struct endpoint *endpoint); /* an endpoint of zeros is fine */

/* "localhost", *.localhost, 127.0.0.0/8, ::1, also in brackets. */
bool endpoint_is_loopback(const char *host);

#endif
