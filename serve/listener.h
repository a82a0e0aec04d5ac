/* serve/listener.h - from "HOST:PORT" to a listening socket. Threads: any; nothing is kept. */
#ifndef REEMBED_SERVE_LISTENER_H
#define REEMBED_SERVE_LISTENER_H

#include <stdbool.h>

#include "base/err.h"

enum { LISTENER_TEXT = 128 };

struct listener {
    int socket;              /* owned by whoever has the struct */
    bool loopback;           /* only this machine can reach it */
    char url[LISTENER_TEXT]; /* "http://127.0.0.1:9843/", with the port that was really taken */
};

/* "localhost:9843", "[::1]:9843", "0.0.0.0:9843", ":9843" (this machine only); port 0 takes a free one. Nothing is bound
 * when `loopback_only` and the address is not one of this machine alone: RC_INVALID/ERR_USAGE, as for an address that
 * can't be read, resolved or bound. */
enum rc listener_open(const char *address, bool loopback_only, struct listener *ret_listener, struct err *err);

/* Whether a Host header names this machine by number or as localhost: a name that a stranger's DNS resolves to
 * 127.0.0.1 is neither. */
bool listener_host_is_local(const char *host);

#endif
