/* coordinator/flow.h - flow control towards the target's provider, for the whole migration and not for a thread.
 *
 * Every request asks for a permit first. The window limits the requests in flight of this process: it is halved when
 * the server says "too many" and grows by one for each window's worth of successes. What the server's Retry-After asks
 * for, requests and tokens a minute, and the budget are shared by all processes through the database. When everything
 * fails the breaker opens: nothing is sent but the canary text, until it is answered.
 *
 * A thread of its own holds the database connection; workers wait for it and touch none themselves.
 * Threads: flow_before, flow_after and flow_wait from any worker; the others from the owner.
 */
#ifndef REEMBED_COORDINATOR_FLOW_H
#define REEMBED_COORDINATOR_FLOW_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "coordinator/run.h"
#include "embed/embedder.h"

struct flow;

/* Connects and starts the thread. */
enum rc flow_open(struct run *run, struct embedder *embedder, struct flow **ret_flow, struct err *err);

/* After the pool is idle. NULL is fine; returns NULL. */
struct flow *flow_close(struct flow *flow);

/* The callbacks of struct embed_policy; `context` is the flow. */
bool flow_before(void *context, size_t items, size_t tokens);
void flow_after(void *context, const struct request_outcome *outcome);
bool flow_wait(void *context, int64_t milliseconds);

#endif
