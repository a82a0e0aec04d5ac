/* serve/server.h - the endpoints for people and their monitoring: /metrics, /healthz, /readyz, /api/status, the page.
 *
 * libmicrohttpd with a thread for each of a limited number of connections. The answers come from the sampler
 * (serve/sampler.h) and from the measurements of the run beside it, so nothing here can hold up the work.
 *
 * Who may ask: without a token the address must be one of this machine alone, and the Host header too, so that no page of
 * a stranger can read it by a name of its own. With a token everything but the page's text, /healthz and /readyz needs
 * `Authorization: Bearer TOKEN`; a browser adds that to no request of another site, so control is safe from those.
 * Threads: one owner.
 */
#ifndef REEMBED_SERVE_SERVER_H
#define REEMBED_SERVE_SERVER_H

#include <stdbool.h>

#include "base/err.h"
#include "base/measurements.h"

#define SERVE_DEFAULT_LISTEN "127.0.0.1:9843"
enum { SERVE_TOKEN_MIN = 16, SERVE_TOKEN_MAX = 512 };

struct serve_options {
    const char *listen;                      /* HOST:PORT */
    const char *database_url;                /* NULL: libpq's own PG* environment */
    const char *token;                       /* NULL: none */
    bool allow_control;                      /* needs a token */
    const struct measurements *measurements; /* of the run in this process; NULL: there is none */
};

struct server;

/* Binds and starts the threads; the strings are copied. The database need not be there. RC_INVALID/ERR_USAGE: the
 * address, the token, or control without one. */
enum rc server_open(const struct serve_options *options, struct server **ret_server, struct err *err);
struct server *server_close(struct server *server); /* NULL is fine; returns NULL; cuts off who is still connected */

/* "http://127.0.0.1:9843/", with the port that was really taken. */
const char *server_url(const struct server *server);

#endif
