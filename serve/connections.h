/* serve/connections.h - how long a client may take.
 *
 * The time limit of libmicrohttpd begins anew with each byte, so that a client that sends one byte now and then would be
 * served for ever. Here a request must be there as a whole, and its answer taken, within a fixed time; what comes later is
 * shut down. The time that we need ourselves in between does not count.
 * Threads: any. Lock: of its own, never held across a call out but shutdown(2).
 */
#ifndef REEMBED_SERVE_CONNECTIONS_H
#define REEMBED_SERVE_CONNECTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct connections;

/* Starts the thread that watches. `most`: connections at a time. */
enum rc connections_open(size_t most, int64_t limit_ms, struct connections **ret_connections, struct err *err);
struct connections *connections_close(struct connections *all); /* NULL is fine; returns NULL */

/* A connection begins; the number to name it by, or -1 when there are too many. The file descriptor stays valid until
 * connections_remove. */
int connections_add(struct connections *all, int fd);
void connections_remove(struct connections *all, int number);

void connections_wait(struct connections *all, int number); /* the client's turn: the time begins */
void connections_work(struct connections *all, int number); /* ours */

size_t connections_count(struct connections *all);

#endif
