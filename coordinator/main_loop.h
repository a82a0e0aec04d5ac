/* coordinator/main_loop.h - the main thread of a run: heartbeat, leases, progress, and the reasons to stop. */
#ifndef REEMBED_COORDINATOR_MAIN_LOOP_H
#define REEMBED_COORDINATOR_MAIN_LOOP_H

#include "base/err.h"
#include "coordinator/run.h"

/* Until the run stops. */
void main_loop(struct run *run, struct db *db);

/* One beat: sign of life, state, leases. Also used while the threads are being waited for. */
enum rc main_beat(struct run *run, struct db *db, bool last, struct err *err);

/* Gives the leases back, so that others need not wait for them to run out. */
void release_chunks(struct run *run, struct db *db);

#endif
