/* coordinator/column.h - a target that is placed in a column of the documents (docs/placement.md).
 *
 * The keeper, a thread of the run, copies the side table into the column and keeps it in step afterwards: SQL alone, no
 * model. It holds the lease of the column's space, as a drainer does. The finisher brings the column about: makes it,
 * waits for the copy, builds the index, compares every row.
 */
#ifndef REEMBED_COORDINATOR_COLUMN_H
#define REEMBED_COORDINATOR_COLUMN_H

#include "base/err.h"
#include "coordinator/run.h"
#include "coordinator/sweep.h"

/* Thread body; `argument` is the run. */
void *column_keeper_thread(void *argument);

/* One step of the finisher towards a column that queries may go to. *ret_ready: it is one. RC_AGAIN: something is under
 * way elsewhere (the copy, an index build). RC_RETRY: also when the documents are too busy for the short lock. `going`
 * is asked between the windows of the comparison, as by sweep(). */
enum rc column_step(struct run *run, struct db *db, bool (*going)(void *context), void *context, bool *ret_ready,
                    struct err *err);

struct column_counts {
    int64_t differing; /* documents whose column is not what the side table holds */
    int64_t noted;     /* of these: not logged before, and logged now, so that the keeper mends them */
};

/* One walk over all documents. `going` (may be NULL) is asked between windows; false: RC_CLOSED. Any thread, with its own
 * connection. */
enum rc column_compare(struct db *db, const struct migration *migration, sweep_exec exec, void *context,
                       bool (*going)(void *context), void *going_context, struct column_counts *ret_counts,
                       struct err *err);

/* Waits until the column has every vector that the side table has now. RC_CLOSED: the run stops, or `going` said no. */
enum rc column_settle(struct run *run, struct db *db, bool (*going)(void *context), void *context, struct err *err);

#endif
