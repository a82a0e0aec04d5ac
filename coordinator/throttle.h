/* coordinator/throttle.h - how fast the backfill may go for the database's sake; the provider's limits are coordinator/flow.h.
 *
 * Decided here alone: active hours, the lag of replicas, the rate at which the server writes WAL, sessions that wait for
 * locks, and documents a second (which the live processes share evenly). What can't be measured counts as too much: the
 * backfill waits and says why, in the worker's note and in the measurements. Nothing is read before the first look.
 * Changes of documents are never held back.
 */
#ifndef REEMBED_COORDINATOR_THROTTLE_H
#define REEMBED_COORDINATOR_THROTTLE_H

#include <stddef.h>

#include "base/err.h"
#include "coordinator/run.h"
#include "db/connection.h"

/* Before the threads start: asks whether the database knows the time zone. RC_INVALID/ERR_USAGE: it does not. */
enum rc throttle_begin(struct run *run, struct db *db, struct err *err);

/* Looks at what limits are set for; about once a second, by the main thread. */
enum rc throttle_look(struct run *run, struct db *db, struct err *err);

/* Waits until `documents` more may be read. RC_CLOSED: the run stops. By the reader. */
enum rc throttle_wait(struct run *run, size_t documents);

#endif
