/* serve/process.h - the metrics of the process itself, and of the run beside it. Threads: any. */
#ifndef REEMBED_SERVE_PROCESS_H
#define REEMBED_SERVE_PROCESS_H

#include <stdbool.h>

#include "base/measurements.h"
#include "base/strbuf.h"

/* `run` NULL: there is no run in this process, and its families are left out. */
void process_metrics(const struct measurements *run, bool database_up, size_t connections, struct strbuf *out);

/* Why the backfill is held back now; THROTTLE_NONE: it is not. */
enum measured_throttle process_throttle(const struct measurements *run);

/* The threads of the run are there and the database took a heartbeat recently enough for the leases to hold. */
bool process_lease_alive(const struct measurements *run);

#endif
