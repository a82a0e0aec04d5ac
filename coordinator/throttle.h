/* coordinator/throttle.h - how fast the backfill may go for the database's sake; the provider's limits are coordinator/flow.h.
 *
 * Decided here alone: documents a second (the limit is shared evenly by the live processes) and the lag of replicas. What
 * can't be measured counts as too much: the backfill waits and says why. Changes of documents are never held back.
 */
#ifndef REEMBED_COORDINATOR_THROTTLE_H
#define REEMBED_COORDINATOR_THROTTLE_H

#include <stddef.h>

#include "base/err.h"
#include "coordinator/run.h"
#include "db/connection.h"

/* Looks at the replicas, where a limit is set; about once a second, by the main thread. */
enum rc throttle_look(struct run *run, struct db *db, struct err *err);

/* Waits until `documents` more may be read. RC_CLOSED: the run stops. By the reader. */
enum rc throttle_wait(struct run *run, size_t documents);

#endif
