/* coordinator/sweep.h - the exact walk over documents and target, window by window, both ways.
 *
 * What is missing, stale or orphaned and not noted yet goes into the change log, so that the drainer settles it. Each
 * window is a statement of its own: no long transaction, no lock on the documents.
 */
#ifndef REEMBED_COORDINATOR_SWEEP_H
#define REEMBED_COORDINATOR_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "coordinator/migration.h"
#include "db/connection.h"

/* eligible = current + missing + stale + excused + failed */
struct sweep_counts {
    int64_t eligible; /* documents that should have a vector */
    int64_t current;  /* that have one of their present content */
    int64_t missing;  /* that have none, for no reason that is recorded */
    int64_t stale;    /* that have one of an older content */
    int64_t excused;  /* skipped for their present content */
    int64_t failed;   /* failed for it */
    int64_t orphaned; /* vectors without a document */
    int64_t noted;    /* of missing, stale and orphaned: put into the change log by this sweep */
    int64_t queued;   /* the same, and those that were in it already */
};

/* Runs a statement with whatever retries its caller has. */
typedef enum rc (*sweep_exec)(void *context, struct db *db, const char *sql, const struct params *params,
                              PGresult **ret_result, struct err *err);

/* `note` false: only measures; nothing is written. `going` (may be NULL) is asked between windows; false: RC_CLOSED.
 * `second` (may be NULL): an idle connection to the same server, that takes every other window; most of the time goes
 * into hashing documents. It is idle again afterwards, or lost. */
enum rc sweep(struct db *db, struct db *second, const struct migration *migration, bool note, sweep_exec exec,
              bool (*going)(void *context), void *context, struct sweep_counts *ret_counts, struct err *err);

#endif
